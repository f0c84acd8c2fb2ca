//! What deltamax says of a network, and whether it is true.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use deltamax::attack;
use deltamax::audit;
use deltamax::bounds::{Ball, Bounder, Decision, Method};
use deltamax::close::{self, Bracket};
use deltamax::device::Device;
use deltamax::error::Result;
use deltamax::model::{Model, reference};
use deltamax::network::Network;
use deltamax::search::{self, Subject};
use deltamax::spec::vnnlib;
use deltamax::verify::{self, Property, Verdict};

use crate::exact::{Exact, Place};
use crate::truth::{Line, Truth};

/// Something that deltamax said and that is not so.
#[derive(Clone, Debug)]
pub struct Fault {
    /// In one or two words: who said it.
    pub by: String,
    pub what: String,
}

/// How much was asked and answered, so that silence does not pass for truth.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub counts: BTreeMap<String, usize>,
    pub faults: Vec<Fault>,
}

impl Tally {
    pub fn count(&mut self, what: &str) {
        *self.counts.entry(what.into()).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> usize {
        self.counts.get(what).copied().unwrap_or(0)
    }

    fn fault(&mut self, by: impl Into<String>, what: impl Into<String>) {
        self.faults.push(Fault { by: by.into(), what: what.into() });
    }

    pub fn merge(mut self, other: Tally) -> Tally {
        other.counts.into_iter().for_each(|(what, n)| *self.counts.entry(what).or_default() += n);
        self.faults.extend(other.faults);
        self
    }
}

/// Asks everything about a network and judges the answers.
pub struct Judge<'a> {
    pub model: &'a Model,
    /// The same without anything folded, where the file is to be audited.
    pub audited: &'a Model,
    pub truth: &'a Truth,
    pub images: &'a [Vec<f32>],
    /// Per image directions in which the class is looked for being lost: both if there is one pixel.
    pub steps: Vec<Vec<Vec<i8>>>,
    pub tally: Tally,
}

impl<'a> Judge<'a> {
    pub fn new(model: &'a Model, truth: &'a Truth, images: &'a [Vec<f32>]) -> Self {
        let steps = images.iter().map(|image| directions(model, image)).collect();
        Judge { model, audited: model, truth, images, steps, tally: Tally::default() }
    }

    fn one_pixel(&self) -> bool {
        self.model.input.len() == 1
    }

    /// Where the class of an image is lost on the lines through it.
    fn loss(&self, image: usize, class: usize) -> Option<Place> {
        let lost = |step: &Vec<i8>| {
            let line = Line { from: &self.images[image], step, clip: true, until: Exact::from(1.0) };
            self.truth.loss(&line, class)
        };
        self.steps[image].iter().filter_map(lost).min_by(Place::compare)
    }

    /// Runs a question; panics are faults, errors are refusals.
    fn ask<T>(&mut self, by: &str, question: impl FnOnce(&Self) -> Result<T>) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| question(self))) {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                let text = error.to_string();
                if text.contains('\n') {
                    self.tally.fault(by, format!("an error of several lines: {text}"));
                }
                let words: Vec<&str> = text.split(' ').take(6).collect();
                self.tally.count(&format!("refused by {by}: {}", words.join(" ")));
                None
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
                self.tally.fault(format!("panic of {by}"), text);
                None
            }
        }
    }

    /// A claim that the class of an image holds up to a radius.
    fn claim(&mut self, by: &str, image: usize, loss: Option<&Place>, radius: f32) {
        let Some(loss) = loss.filter(|_| radius > 0.0) else { return };
        if loss.compare(&Place::of(Exact::from(radius))).is_le() {
            let x = &self.images[image];
            self.tally.fault(by, format!("proves {radius:?} at {x:?}; lost at {:?}", loss.near()));
        }
    }

    /// Radii by every method, brackets, attacks and audits.
    pub fn certify(&mut self, methods: &[Method], branch: bool) {
        let Some(net) = self.ask("placing", |s| Network::new(&Device::cpu(), s.model)) else { return };
        let refs: Vec<&[f32]> = self.images.iter().map(Vec::as_slice).collect();
        let Some(subjects) = self.ask("classes", |_| Subject::classify(&net, &refs)) else { return };
        let losses: Vec<Option<Place>> = subjects.iter().enumerate().map(|(i, s)| self.loss(i, s.class)).collect();
        let hits = self.attacks(&net, &subjects, &losses);
        for &method in methods {
            let by = method.to_string();
            let Some(bounder) = self.ask(&by, |_| Bounder::new(&net, method)) else { continue };
            let found = self.ask(&by, |_| {
                let mut found = vec![];
                search::search(&bounder, &search::Settings::new(&bounder), subjects.clone(), |_, f| {
                    found.push(f);
                    Ok(())
                })?;
                Ok(found)
            });
            let Some(found) = found else { continue };
            self.tally.count(&format!("{by} answered"));
            if found.iter().any(|f| f.proved > 0.0) {
                self.tally.count(&format!("{by} proved"));
            }
            for (i, f) in found.iter().enumerate() {
                self.claim(&by, i, losses[i].as_ref(), f.proved);
            }
            self.just_beyond(&bounder, &subjects, &losses);
            if method != Method::Alpha {
                let radii: Vec<f32> = found.iter().map(|f| f.proved).collect();
                self.audit(method, &subjects, &radii, &losses);
            }
            if branch && method == Method::Crown {
                let brackets: Vec<Bracket> = found
                    .iter()
                    .zip(&hits)
                    .map(|(f, hit)| Bracket { proved: f.proved, attacked: hit.filter(|(d, _)| *d > f.proved) })
                    .collect();
                self.branch(&bounder, &subjects, &brackets, &losses);
            }
        }
    }

    /// The balls on which the classes are only just lost.
    fn just_beyond(&mut self, bounder: &Bounder, subjects: &[Subject], losses: &[Option<Place>]) {
        let by = bounder.method.to_string();
        for share in [1.0000002f64, 1.001, 1.5] {
            let delta = |l: &Option<Place>| l.as_ref().map_or(1.0, |l| (l.near() * share).min(1.0)) as f32;
            let balls: Vec<Ball<'_>> = subjects
                .iter()
                .zip(losses)
                .map(|(s, l)| Ball { image: &s.image, class: s.class, delta: delta(l) })
                .collect();
            let Some(outcomes) = self.ask(&by, |_| bounder.probe(&balls)) else { return };
            let radii: Vec<f32> = outcomes.iter().map(|o| o.radius).collect();
            for (i, radius) in radii.into_iter().enumerate() {
                self.claim(&format!("{by} probe"), i, losses[i].as_ref(), radius);
            }
        }
    }

    fn branch(&mut self, bounder: &Bounder, subjects: &[Subject], brackets: &[Bracket], losses: &[Option<Place>]) {
        // Where time is what limits, the ends of neurons are halved as well.
        for (by, seconds) in [("branch", None), ("branch deep", Some(1e6))] {
            let settings = close::Settings { domains: 48, seconds, tolerance: 0.01 };
            let spent = vec![0.0; subjects.len()];
            let closed = self.ask(by, |_| close::close(bounder, &settings, subjects, brackets, &spent));
            for (i, close::Closed { bracket, .. }) in closed.into_iter().flatten().enumerate() {
                self.claim(by, i, losses[i].as_ref(), bracket.proved);
                self.reached(by, i, losses[i].as_ref(), bracket.attacked.map(|(d, _)| d));
                if bracket.proved > brackets[i].proved {
                    self.tally.count(&format!("{by} proved more"));
                }
            }
        }
        let balls: Vec<Ball<'_>> = subjects
            .iter()
            .zip(losses)
            .filter_map(|(s, l)| Some((s, l.as_ref()?.near())))
            .filter(|(_, loss)| *loss > 0.0 && *loss < 0.9)
            .map(|(s, loss)| Ball { image: &s.image, class: s.class, delta: (loss as f32).next_up() })
            .collect();
        let budgets = vec![32; balls.len()];
        let decided = self.ask("branch balls", |_| bounder.branch_balls(&balls, &budgets));
        for (ball, (decision, _)) in balls.iter().zip(decided.into_iter().flatten()) {
            if decision == Decision::Proved {
                let i = subjects.iter().position(|s| s.image == ball.image).expect("one of them");
                self.claim("branch ball", i, losses[i].as_ref(), ball.delta);
            }
        }
    }

    /// A claim that another class is known at a distance.
    fn reached(&mut self, by: &str, image: usize, loss: Option<&Place>, distance: Option<f32>) {
        let Some(distance) = distance.filter(|_| self.one_pixel()) else { return };
        if loss.is_none_or(|l| l.compare(&Place::of(Exact::from(distance))).is_gt()) {
            let (x, truth) = (&self.images[image], loss.map_or(f64::INFINITY, Place::near));
            self.tally.fault(format!("attack of {by}"), format!("breaks {x:?} at {distance:?}; lost at {truth:?}"));
        }
    }

    fn attacks(&mut self, net: &Network, subjects: &[Subject], losses: &[Option<Place>]) -> Vec<Option<(f32, usize)>> {
        let settings = attack::Settings { rounds: 4, steps: 4, guess: 0.1 };
        let images: Vec<&[f32]> = subjects.iter().map(|s| s.image.as_slice()).collect();
        let classes: Vec<usize> = subjects.iter().map(|s| s.class).collect();
        let hits =
            self.ask("attack", |_| attack::attack(net, deltamax::norm::Norm::Linf, &images, &classes, &[], &settings));
        let hits = hits.unwrap_or_else(|| vec![None; images.len()]);
        for (i, hit) in hits.iter().enumerate() {
            let Some(hit) = hit else { continue };
            self.tally.count("attacked");
            let y = self.truth.at(&hit.image);
            let inside = hit.image.iter().all(|v| (0.0..=1.0).contains(v));
            if !inside || y[hit.class].compare(&y[classes[i]]).is_le() {
                let (a, b) = (y[hit.class].near(), y[classes[i]].near());
                let what = format!("{:?} has {a:?} for class {} and {b:?} for {}", hit.image, hit.class, classes[i]);
                self.tally.fault("attack", what);
            }
            self.reached("attack", i, losses[i].as_ref(), Some(hit.distance));
        }
        hits.into_iter().map(|h| h.map(|h| (h.distance, h.class))).collect()
    }

    /// The auditor on what was proved, and on what is not so.
    fn audit(&mut self, method: Method, subjects: &[Subject], radii: &[f32], losses: &[Option<Place>]) {
        let by = format!("audit {method}");
        let name: audit::Method = method.to_string().parse().expect("the auditor's name for it");
        for (i, subject) in subjects.iter().enumerate() {
            let beyond = losses[i].as_ref().map_or(1.0, |l| l.near() * 1.000_000_01);
            for radius in [f64::from(radii[i]), beyond] {
                let check = |s: &Self| audit::check(s.audited, &s.images[i], subject.class, radius, name, None);
                let Some(verdict) = self.ask(&by, check) else { continue };
                let accepted = matches!(verdict, audit::Verdict::Proved { .. });
                if accepted && losses[i].as_ref().is_some_and(|l| l.compare(&Place::of(Exact::from(radius))).is_le()) {
                    let (x, loss) = (&self.images[i], losses[i].as_ref().map(Place::near));
                    self.tally.fault(&by[..], format!("accepts {radius:?} at {x:?}; lost at {loss:?}"));
                }
                if radius == f64::from(radii[i]) && radius > 0.0 {
                    self.tally.count(if accepted { "audit accepted" } else { "audit refused" });
                }
            }
        }
    }

    /// Properties over boxes: an interval of one pixel, or boxes with lines through them.
    pub fn verify(&mut self, questions: &[Question], limit: Duration) {
        let Some(net) = self.ask("placing", |s| Network::new(&Device::cpu(), s.model)) else { return };
        for question in questions {
            let text = question.text(self.model.outputs());
            let spec = vnnlib::parse(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
            let settings = verify::Settings { method: question.method, seed: 1 };
            let property = Property { spec: &spec, limit };
            let Some(verdict) = self.ask("verify", |_| verify::verify(&net, property, &settings)) else { continue };
            self.tally.count(&format!("verify {}", verdict.word()));
            match verdict {
                Verdict::Sat(witness) => {
                    let x = &witness.input;
                    let inside = question.ranges.iter().zip(x).all(|((l, u), x)| l <= x && x <= u);
                    let y = self.truth.at(x);
                    if !inside || !question.holds(&y) {
                        let y: Vec<f64> = y.iter().map(Exact::near).collect();
                        self.tally.fault("verify sat", format!("{x:?} gives {y:?}: {question:?}"));
                    }
                }
                Verdict::Unsat => {
                    let met = question.lines().any(|(from, step, until)| {
                        let line = Line { from: &from, step: &step, clip: false, until };
                        question.any.iter().any(|all| self.truth.meets(&line, all))
                    });
                    if met {
                        self.tally.fault("verify unsat", format!("{question:?}"));
                    }
                }
                Verdict::Unknown | Verdict::Timeout => {}
            }
        }
    }
}

/// `sum c_j y_j + constant <= 0`.
pub type Condition = (Vec<Exact>, Exact);

/// Whether within these ranges all conditions of one of the lists can hold.
#[derive(Clone)]
pub struct Question {
    pub method: Method,
    pub ranges: Vec<(f32, f32)>,
    pub any: Vec<Vec<Condition>>,
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let condition = |(c, k): &Condition| (c.iter().map(Exact::near).collect::<Vec<_>>(), k.near());
        let any: Vec<Vec<_>> = self.any.iter().map(|all| all.iter().map(condition).collect()).collect();
        write!(f, "{} over {:?}: one of {any:?} at most zero", self.method, self.ranges)
    }
}

/// An f64 in full.
fn decimal(v: f64) -> String {
    let text = format!("{:.170}", v.abs());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if v < 0.0 { format!("-{text}") } else { text.into() }
}

impl Question {
    fn text(&self, outputs: usize) -> String {
        let mut text = String::new();
        (0..self.ranges.len()).for_each(|k| text += &format!("(declare-const X_{k} Real)\n"));
        (0..outputs).for_each(|k| text += &format!("(declare-const Y_{k} Real)\n"));
        for (k, (low, high)) in self.ranges.iter().enumerate() {
            let (low, high) = (decimal((*low).into()), decimal((*high).into()));
            text += &format!("(assert (>= X_{k} {low}))\n(assert (<= X_{k} {high}))\n");
        }
        let condition = |(c, constant): &Condition| {
            let term = |(j, c): (usize, &Exact)| format!("(* {} Y_{j})", decimal(c.near()));
            let terms: Vec<String> = c.iter().enumerate().filter(|(_, c)| !c.is_zero()).map(term).collect();
            format!("(<= (+ {} {}) 0)", terms.join(" "), decimal(constant.near()))
        };
        let all = |all: &Vec<Condition>| format!("(and {})", all.iter().map(condition).collect::<Vec<_>>().join(" "));
        let any: Vec<String> = self.any.iter().map(all).collect();
        text + &format!("(assert (or {}))\n", any.join(" "))
    }

    fn holds(&self, y: &[Exact]) -> bool {
        let value =
            |(c, constant): &Condition| c.iter().zip(y).fold(constant.clone(), |sum, (c, y)| sum.plus(&c.times(y)));
        self.any.iter().any(|all| all.iter().all(|condition| value(condition).sign().is_le()))
    }

    /// Lines that lie in the box: all of it if there is one pixel.
    fn lines(&self) -> impl Iterator<Item = (Vec<f32>, Vec<i8>, Exact)> {
        let least = self.ranges.iter().map(|(l, u)| u - l).fold(f32::INFINITY, f32::min);
        // Rounded down twice, so that the far end lies inside.
        let least = if self.ranges.len() == 1 {
            Exact::from(self.ranges[0].1).minus(&Exact::from(self.ranges[0].0))
        } else {
            Exact::from(least.next_down().next_down().max(0.0))
        };
        let corners = 1usize << self.ranges.len().min(4);
        (0..corners).map(move |corner| {
            let up = |k: &usize| corner >> (k % 4) & 1 == 0;
            let all = 0..self.ranges.len();
            let from = all.clone().map(|k| if up(&k) { self.ranges[k].0 } else { self.ranges[k].1 }).collect();
            let step = all.map(|k| if up(&k) { 1 } else { -1 }).collect();
            (from, step, least.clone())
        })
    }
}

/// Both directions of one pixel; of several, those in which a lead falls and some that are as good as any.
fn directions(model: &Model, image: &[f32]) -> Vec<Vec<i8>> {
    let n = image.len();
    if n == 1 {
        return vec![vec![1], vec![-1]];
    }
    let outputs = |x: &[f32]| reference::forward(model, x).pop().expect("outputs");
    let y = outputs(image);
    let class = (0..y.len()).fold(0, |best, j| if y[j] > y[best] { j } else { best });
    let mut steps = vec![];
    for rival in (0..y.len()).filter(|j| *j != class).take(2) {
        for h in [1e-3f32, 0.2] {
            let lead = |x: &[f32]| {
                let y = outputs(x);
                y[class] - y[rival]
            };
            let slope = |k: usize| {
                let mut x = image.to_vec();
                let side = if x[k] + h <= 1.0 { h } else { -h };
                x[k] += side;
                let falls = (lead(&x) < lead(image)) == (side > 0.0);
                if falls { 1 } else { -1 }
            };
            steps.push((0..n).map(slope).collect());
        }
    }
    steps.push((0..n).map(|k| [1, -1, 0][k % 3]).collect());
    steps.sort();
    steps.dedup();
    steps
}
