//! The published study's claims, asked of this study's figures.

use super::{Roles, Told, list, relevance_kind};
use crate::report::chart::number;
use crate::report::statistics::{Answer, Measure};
use crate::results::{Claim, ExampleLevel, ModelResult, Study, Verdict};

/// Classes of the published study.
const CLASSES: [&str; 4] = ["sandals", "slippers", "shoes", "boots"];

/// Whether the classes are those of the published study; else its claims are asked by analogy.
pub fn published_classes(study: &Study) -> bool {
    let classes: Vec<String> = study.dataset.classes.iter().map(|c| c.to_lowercase()).collect();
    classes.len() == CLASSES.len() && CLASSES.iter().all(|c| classes.iter().any(|k| k == c))
}

/// One entry per claim of the study, in its order; empty unless the three kinds of model are there, and are three.
pub fn claims(told: &Told) -> Vec<Claim> {
    let roles = Roles::of(told.study);
    let (Some(none), Some(one), Some(all)) = (roles.none, roles.one, roles.all) else { return Vec::new() };
    if [none, one, all].iter().any(|m| !told.kept().contains(m)) {
        return Vec::new();
    }
    let three = Three { told, none, one, all };
    vec![
        three.class_falls(),
        three.contour(),
        three.dominance(),
        three.background(),
        three.example_flips(),
        three.overlap(),
        three.drift(),
        three.accuracy_under_noise(),
        three.stable_space(),
        three.whole_test_set(),
        three.accuracy_is_not_all(),
    ]
}

struct Three<'a> {
    told: &'a Told<'a>,
    none: usize,
    one: usize,
    all: usize,
}

/// What the figures say of one part of a claim.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Yes,
    No,
    NotClear,
}

impl Part {
    /// Of "the first is larger".
    fn more(x: &Answer) -> Part {
        match (x.more(), x.less()) {
            (true, _) => Part::Yes,
            (_, true) => Part::No,
            _ => Part::NotClear,
        }
    }

    /// Of "the first is smaller".
    fn less(x: &Answer) -> Part {
        match Part::more(x) {
            Part::Yes => Part::No,
            Part::No => Part::Yes,
            Part::NotClear => Part::NotClear,
        }
    }
}

fn verdict(parts: &[Part]) -> Verdict {
    let has = |p: Part| parts.contains(&p);
    match (has(Part::Yes), has(Part::No), has(Part::NotClear)) {
        (false, false, false) => Verdict::NotMeasured,
        (true, false, false) => Verdict::Holds,
        (true, _, _) => Verdict::Partly,
        (false, true, _) => Verdict::DoesNotHold,
        (false, false, true) => Verdict::NotClear,
    }
}

fn claim(kind: &str, text: impl Into<String>, verdict: Verdict, evidence: impl Into<String>) -> Claim {
    Claim { kind: kind.into(), claim: text.into(), verdict, evidence: evidence.into() }
}

fn not_measured(kind: &str, text: impl Into<String>) -> Claim {
    claim(kind, text, Verdict::NotMeasured, "Not measured in this run.")
}

impl Three<'_> {
    fn models(&self) -> [usize; 3] {
        [self.none, self.one, self.all]
    }

    fn model(&self, m: usize) -> &ModelResult {
        &self.told.study.models[m]
    }

    /// The augmented class of the second model.
    fn class(&self) -> usize {
        self.model(self.one).augmented[0]
    }

    fn noise(&self) -> Option<f64> {
        self.models().iter().filter_map(|&m| self.told.noisiest(m)).reduce(f64::max)
    }

    fn answer(&self, a: usize, b: usize, measure: Measure) -> Option<Answer> {
        self.told.compared.models(a, b, measure)
    }

    /// `all-DA against no-DA: +3 points (95%: …)`
    fn against(&self, a: usize, b: usize, measure: Measure, x: &Answer) -> String {
        format!("{} against {}: {}", self.told.name(a), self.told.name(b), self.told.effect(measure, x))
    }

    /// A claim that the first model of every couple has more, or less, of a measure.
    fn of_couples(
        &self,
        kind: &str,
        text: impl Into<String>,
        measure: Option<Measure>,
        couples: [(usize, usize); 2],
        part: fn(&Answer) -> Part,
    ) -> Claim {
        let text = text.into();
        let answers = measure.map(|m| couples.map(|(a, b)| Some((m, a, b, self.answer(a, b, m)?))));
        let Some([Some(x), Some(y)]) = answers else { return not_measured(kind, text) };
        let evidence = [&x, &y].map(|(m, a, b, answer)| self.against(*a, *b, *m, answer));
        claim(kind, text, verdict(&[part(&x.3), part(&y.3)]), format!("{}.", evidence.join("; ")))
    }

    fn augmented_against_none(&self) -> [(usize, usize); 2] {
        [(self.one, self.none), (self.all, self.none)]
    }

    fn all_against_others(&self) -> [(usize, usize); 2] {
        [(self.all, self.none), (self.all, self.one)]
    }

    fn class_falls(&self) -> Claim {
        let name = self.told.class(self.class());
        let text = format!("On clean images a smaller share of {name} is rightly classified after augmentation.");
        let measure = Some(Measure::Class(self.class(), 0.0));
        self.of_couples("claim-class", text, measure, self.augmented_against_none(), Part::less)
    }

    fn contour(&self) -> Claim {
        let text = "The all-augmented model looks at the contour of the object more than the others.";
        let measure = relevance_kind(self.model(self.all)).map(|kind| Measure::Contour(kind, 0.0));
        self.of_couples("claim-contour", text, measure, self.all_against_others(), Part::more)
    }

    fn background(&self) -> Claim {
        const KIND: &str = "claim-background";
        let text = "As noise grows the models take the background into account, the all-augmented one least.";
        let found = || {
            let kind = relevance_kind(self.model(self.all))?;
            let measure = Measure::Turned(kind, self.noise()?);
            let own = [self.none, self.one].map(|m| self.told.against_clean(m, |v| Measure::Background(kind, v)));
            let [Some(a), Some(b)] = own else { return None };
            let x = self.answer(self.all, self.none, measure)?;
            let y = self.answer(self.all, self.one, measure)?;
            Some((kind, measure, [a, b], [x, y]))
        };
        let Some((kind, measure, own, less)) = found() else { return not_measured(KIND, text) };
        let clean = |m: usize, x: &Answer| {
            format!("{} {}", self.told.name(m), self.told.effect(Measure::Background(kind, 0.0), x))
        };
        let evidence = format!(
            "Change of the background's share from clean to noisiest: {}, {}. {}; {}.",
            clean(self.none, &own[0]),
            clean(self.one, &own[1]),
            self.against(self.all, self.none, measure, &less[0]),
            self.against(self.all, self.one, measure, &less[1])
        );
        let parts = [Part::more(&own[0]), Part::more(&own[1]), Part::less(&less[0]), Part::less(&less[1])];
        claim(KIND, text, verdict(&parts), evidence)
    }

    fn drift(&self) -> Claim {
        const KIND: &str = "claim-drift";
        let (class, name) = (self.class(), self.told.class(self.class()));
        let text = format!("Augmenting {name} alone biases the model toward {name} under noise.");
        let own = self.told.against_clean(self.one, |v| Measure::Pull(class, v));
        let measure = self.noise().map(|v| Measure::Pull(class, v));
        let other = measure.and_then(|m| Some((m, self.answer(self.one, self.none, m)?)));
        let (Some(own), Some((measure, other))) = (own, other) else { return not_measured(KIND, text) };
        let evidence = format!(
            "Images of other classes called {name} by {}, noisiest against clean: {}. At the strongest noise {}.",
            self.told.name(self.one),
            self.told.effect(measure, &own),
            self.against(self.one, self.none, measure, &other)
        );
        claim(KIND, text, verdict(&[Part::more(&own), Part::more(&other)]), evidence)
    }

    fn accuracy_under_noise(&self) -> Claim {
        let text = "Under the highest noise the all-augmented model classifies best.";
        self.of_couples("claim-noise", text, self.noise().map(Measure::Accuracy), self.all_against_others(), Part::more)
    }

    fn whole_test_set(&self) -> Claim {
        let text = "Augmentation makes the model more robust (asked of one image there, of the whole test set here).";
        self.of_couples("claim-robust", text, Some(Measure::Radius(0.0)), self.augmented_against_none(), Part::more)
    }

    fn accuracy_is_not_all(&self) -> Claim {
        const KIND: &str = "claim-price";
        let text = "Augmentation costs a little accuracy and buys robustness: accuracy is not the only figure.";
        let [accuracy, radius] = [Measure::Accuracy(0.0), Measure::Radius(0.0)];
        let found = [accuracy, radius].map(|m| self.answer(self.all, self.none, m));
        let [Some(x), Some(y)] = found else { return not_measured(KIND, text) };
        let evidence = format!(
            "{} against {}: accuracy {}; median proved delta max {}.",
            self.told.name(self.all),
            self.told.name(self.none),
            self.told.effect(accuracy, &x),
            self.told.effect(radius, &y)
        );
        claim(KIND, text, verdict(&[Part::less(&x), Part::more(&y)]), evidence)
    }

    fn overlap(&self) -> Claim {
        const KIND: &str = "claim-overlap";
        let text = "Class intervals can overlap without dominance being lost.";
        let levels = self.told.study.models.iter().flat_map(|m| &m.examples).flat_map(|e| &e.levels);
        let boxes: Vec<&ExampleLevel> = levels.filter(|l| l.dominant).collect();
        let overlap = |l: &&&ExampleLevel| {
            let own = l.logit_bounds[l.predicted][0];
            l.logit_bounds.iter().enumerate().any(|(c, b)| c != l.predicted && b[1] >= own)
        };
        let count = boxes.iter().filter(overlap).count();
        match (count, boxes.len()) {
            (_, 0) => not_measured(KIND, text),
            (0, n) => {
                let evidence = format!(
                    "None of the {n} dominance pictures with proved dominance shows it; wider {} may.",
                    self.told.study.norm.balls()
                );
                claim(KIND, text, Verdict::NotClear, evidence)
            }
            (_, n) => {
                let evidence = format!(
                    "{count} of {n} dominance pictures with proved dominance have overlapping logit intervals."
                );
                claim(KIND, text, Verdict::Holds, evidence)
            }
        }
    }

    /// The main example image.
    fn example(&self) -> Option<(usize, usize, Vec<f64>)> {
        let e = self.model(self.none).examples.first()?;
        Some((e.index, e.label, e.levels.iter().map(|l| l.variance).collect()))
    }

    /// Proved delta max of the main example in every training of a model.
    fn radii(&self, model: usize, index: usize, variance: f64) -> Vec<f64> {
        let row = |t: crate::results::Trained<'_>| t.rows_at(variance).find(|r| r.index == index).map(|r| r.proved);
        self.model(model).trained().filter_map(row).collect()
    }

    fn dominance(&self) -> Claim {
        const KIND: &str = "claim-dominance";
        let text = "On the clean example image, dominance is more distinct for the models trained with augmentation.";
        let found = self.example().map(|(index, ..)| self.models().map(|m| self.radii(m, index, 0.0)));
        let Some([a, b, c]) = found.filter(|f| f.iter().all(|r| !r.is_empty())) else {
            return not_measured(KIND, text);
        };
        let show = |m: usize, r: &[f64]| format!("{} {}", self.told.name(m), super::ranged(r, number));
        let evidence = format!(
            "Dominance of this one image is proved up to {}, {}, {}{}.",
            show(self.none, &a),
            show(self.one, &b),
            show(self.all, &c),
            in_trainings(a.len())
        );
        claim(KIND, text, verdict(&[above(&b, &a), above(&c, &a)]), evidence)
    }

    fn stable_space(&self) -> Claim {
        const KIND: &str = "claim-stable-space";
        let text = "The example image's delta max is highest for the all-augmented model at every noise level.";
        let Some((index, _, variances)) = self.example() else { return not_measured(KIND, text) };
        let level = |v: &f64| {
            let [a, b, c] = self.models().map(|m| self.radii(m, index, *v));
            (!a.is_empty() && !b.is_empty() && !c.is_empty()).then(|| (a.len(), [above(&c, &a), above(&c, &b)]))
        };
        let Some(levels) = variances.iter().map(level).collect::<Option<Vec<_>>>().filter(|l| !l.is_empty()) else {
            return not_measured(KIND, text);
        };
        let wins = levels.iter().filter(|l| l.1 == [Part::Yes; 2]).count();
        let evidence = format!(
            "{} has the highest proved delta max of this one image at {wins} of {} noise levels{}.",
            self.told.name(self.all),
            levels.len(),
            in_trainings(levels[0].0)
        );
        let parts: Vec<Part> = levels
            .iter()
            .map(|l| match l.1 {
                [Part::Yes, Part::Yes] => Part::Yes,
                two if two.contains(&Part::No) => Part::No,
                _ => Part::NotClear,
            })
            .collect();
        claim(KIND, text, verdict(&parts), evidence)
    }

    fn example_flips(&self) -> Claim {
        const KIND: &str = "claim-example";
        let text = "At the highest noise, only the model without augmentation misclassifies the example image.";
        let found = self.example().and_then(|(index, label, v)| Some((index, label, *v.last()?)));
        let Some((index, label, noise)) = found else { return not_measured(KIND, text) };
        let right = |m: usize| {
            let rows = self.model(m).trained().filter_map(move |t| t.rows_at(noise).find(|r| r.index == index));
            let all: Vec<bool> = rows.map(|r| r.predicted == label).collect();
            (all.iter().filter(|r| **r).count(), all.len())
        };
        let [a, b, c] = self.models().map(right);
        if [a, b, c].iter().any(|r| r.1 == 0) {
            return not_measured(KIND, text);
        }
        let each = |m: usize, (hits, of): (usize, usize)| match of {
            1 => format!("{} by {}", if hits == 1 { "rightly" } else { "wrongly" }, self.told.name(m)),
            _ => format!("rightly in {hits} of {of} trainings of {}", self.told.name(m)),
        };
        let shown = [each(self.none, a), each(self.one, b), each(self.all, c)];
        let evidence = format!(
            "This one image ({}) is classified {} at noise variance {}.",
            self.told.class(label),
            list(&shown),
            number(noise)
        );
        let always = |(hits, of): (usize, usize), wanted: bool| match (hits == of, hits == 0) {
            (true, _) if wanted => Part::Yes,
            (_, true) if !wanted => Part::Yes,
            (true, _) | (_, true) => Part::No,
            _ => Part::NotClear,
        };
        let parts = [always(a, false), always(b, true), always(c, true)];
        // All three parts are one statement: it falls with any of them, and holds with all.
        let judged = match parts {
            [Part::Yes, Part::Yes, Part::Yes] => Verdict::Holds,
            _ if parts.contains(&Part::No) => Verdict::DoesNotHold,
            _ => Verdict::NotClear,
        };
        claim(KIND, text, judged, evidence)
    }
}

/// Whether every training of the first is above every training of the second.
fn above(first: &[f64], second: &[f64]) -> Part {
    let least = |v: &[f64]| v.iter().copied().fold(f64::INFINITY, f64::min);
    let most = |v: &[f64]| v.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least(first) > most(second) {
        Part::Yes
    } else if most(first) < least(second) {
        Part::No
    } else {
        Part::NotClear
    }
}

fn in_trainings(count: usize) -> String {
    if count > 1 {
        format!(" (the range over {count} trainings; what counts is that the ranges are apart)")
    } else {
        String::new()
    }
}
