//! Projected gradient descent on the largest left side of an alternative's constraints (Madry et al. 2018): where it
//! falls to zero the alternative holds. All points of a round go through the network together.

use std::time::Instant;

use rayon::prelude::*;

use super::Settings;
use super::refute::{Part, Test};
use super::witness::Witness;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::rng::Rng;
use crate::spec::Spec;
use crate::tensor;

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// From the middle and one random point.
    Quick,
    /// From a handful of random points and corners.
    Normal,
    /// Many times over, for half of the time that is left.
    Thorough,
}

pub(super) struct Attack<'a> {
    net: &'a Network,
    spec: &'a Spec,
    tests: &'a [Vec<Vec<Test>>],
    /// Where counterexamples may lie, by case: f32 numbers inside the box as written.
    inner: Vec<Option<(Vec<f32>, Vec<f32>)>>,
    settings: &'a Settings,
    rng: Rng,
    /// A counterexample too close to call for f32 arithmetic; a clearer one is still looked for.
    pub narrow: Option<Witness>,
}

/// One point on its way.
struct Point {
    case: usize,
    disjunct: usize,
    x: Vec<f32>,
    momentum: Vec<f32>,
    value: f32,
}

/// Points looked at for each start of an attack on a box of few dimensions.
const SCATTER: usize = 256;
/// A box of more varying inputs is too large to scatter points over.
const SCATTERED: usize = 16;

impl<'a> Attack<'a> {
    pub fn new(net: &'a Network, spec: &'a Spec, tests: &'a [Vec<Vec<Test>>], settings: &'a Settings) -> Self {
        let inner = spec.cases.iter().map(|c| c.inner()).collect();
        Attack { net, spec, tests, inner, settings, rng: Rng::new(settings.seed, 4), narrow: None }
    }

    /// Looks for a clear counterexample to any open alternative.
    pub fn run(&mut self, open: &[Part], effort: Effort) -> Result<Option<Witness>> {
        let (rounds, steps) = match effort {
            Effort::Quick => (2, 20),
            Effort::Normal => (4, 40),
            Effort::Thorough => (200, 60),
        };
        let now = Instant::now();
        let half = now + self.settings.deadline.saturating_duration_since(now) / 2;
        for round in 0..rounds {
            if effort == Effort::Thorough && Instant::now() > half {
                break;
            }
            let first = effort == Effort::Quick && round == 0;
            let mut points = vec![];
            for part in open {
                points.extend(self.starts(part, first)?);
            }
            for chunk in points.chunks_mut(self.lanes()) {
                if let Some(found) = self.descend(chunk, steps, 1.0)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// Where to start for every open alternative of a part.
    fn starts(&mut self, part: &Part, first: bool) -> Result<Vec<Point>> {
        let (case, few) = (part.case, part.lower.iter().zip(&part.upper).filter(|(l, u)| l < u).count() <= SCATTERED);
        let tries = if few && !first { SCATTER } else { 1 };
        let mut drawn: Vec<Vec<f32>> = Vec::with_capacity(tries);
        drawn.extend((0..tries).map_while(|_| self.start(case, first)));
        if drawn.is_empty() {
            return Ok(vec![]);
        }
        let scores = if tries > 1 {
            self.check_deadline()?;
            self.net.scores(&drawn.iter().map(Vec::as_slice).collect::<Vec<_>>())?
        } else {
            vec![]
        };
        let mut points = Vec::with_capacity(part.open.len());
        for &disjunct in &part.open {
            let tests = &self.tests[case][disjunct];
            let value = |y: &Vec<f32>| tests.iter().map(|t| t.value(|k| y[k])).fold(f32::NEG_INFINITY, f32::max);
            let values: Vec<f32> = scores.iter().map(value).collect();
            let best = (0..values.len()).min_by(|&a, &b| values[a].total_cmp(&values[b]));
            // Without scattered points every alternative gets a start of its own.
            let own = if tries == 1 { self.start(case, first) } else { best.map(|b| drawn[b].clone()) };
            let Some(x) = own else { continue };
            points.push(Point { case, disjunct, momentum: vec![0.0; x.len()], x, value: f32::INFINITY });
        }
        Ok(points)
    }

    /// Tries these points (case, disjunct, input), pulled into the box as written, and what lies a little way down the
    /// slope from them.
    pub fn points(&mut self, points: &[(usize, usize, Vec<f32>)]) -> Result<Option<Witness>> {
        for chunk in points.chunks(self.lanes()) {
            self.check_deadline()?;
            let place = |(case, disjunct, x): &(usize, usize, Vec<f32>)| {
                let (low, high) = self.inner[*case].as_ref()?;
                let x = x.iter().zip(low.iter().zip(high)).map(|(x, (l, u))| x.clamp(*l, *u)).collect();
                let momentum = vec![0.0; low.len()];
                Some(Point { case: *case, disjunct: *disjunct, x, momentum, value: f32::INFINITY })
            };
            let mut chunk: Vec<Point> = chunk.iter().filter_map(place).collect();
            if !chunk.is_empty()
                && let Some(found) = self.descend(&mut chunk, 10, 0.2)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Points that fit the device at once.
    fn lanes(&self) -> usize {
        let widest = (0..=self.net.model.output()).map(|v| self.net.model.shape(v).len()).sum::<usize>();
        let budget = if self.net.device.is_gpu() { 1 << 26 } else { 1 << 23 };
        (budget / widest.max(1) / tensor::LANE_BLOCK).clamp(1, 256) * tensor::LANE_BLOCK
    }

    fn check_deadline(&self) -> Result<()> {
        if Instant::now() >= self.settings.deadline { Err(Error::Timeout) } else { Ok(()) }
    }

    /// The middle of the box, or a random point of it, every third time a random corner.
    fn start(&mut self, case: usize, middle: bool) -> Option<Vec<f32>> {
        let (low, high) = self.inner[case].as_ref()?;
        let corner = self.rng.below(3) == 0;
        let pick = |(l, u): (&f32, &f32)| {
            let t = match (middle, corner) {
                (true, _) => 0.5,
                (false, true) => self.rng.below(2) as f32,
                (false, false) => self.rng.uniform(),
            };
            (l + t * (u - l)).clamp(*l, *u)
        };
        Some(low.iter().zip(high).map(pick).collect())
    }

    /// `steps` steps down the gradient; `reach` scales their length.
    fn descend(&mut self, points: &mut [Point], steps: usize, reach: f32) -> Result<Option<Witness>> {
        for step in 0..=steps {
            self.check_deadline()?;
            let left = 1.0 - step as f32 / steps as f32;
            // The first step crosses the whole box; later ones refine.
            let share = if step == 0 { 1.0 } else { 0.5 * left.powf(1.5) + 0.002 };
            if let Some(found) = self.advance(points, (step < steps).then_some(reach * share))? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Evaluates all points, confirms the best if it looks like a counterexample, and moves them down the gradient by a
    /// share of half their box.
    fn advance(&mut self, points: &mut [Point], share: Option<f32>) -> Result<Option<Witness>> {
        let (d, tests) = (&self.net.device, self.tests);
        let (elements, outputs) = (self.net.model.input.len(), self.net.model.outputs());
        let lanes = tensor::lanes(points.len());
        let x = d.upload(&tensor::interleave(points.iter().map(|p| p.x.as_slice()), elements))?;
        let values = self.net.forward(x, lanes, share.is_some())?;
        let logits: Vec<f32> = d.read(values[self.net.model.output()].as_ref().expect("kept"))?;
        let mut seed = vec![0.0f32; outputs * lanes];
        for (lane, p) in points.iter_mut().enumerate() {
            // The constraint furthest from holding is the one to work on.
            let mut worst = (f32::NEG_INFINITY, None);
            for test in &tests[p.case][p.disjunct] {
                let value = test.value(|k| logits[k * lanes + lane]);
                if value > worst.0 {
                    worst = (value, Some(test));
                }
            }
            p.value = worst.0;
            for (k, a) in worst.1.iter().flat_map(|t| t.coefficients.iter().enumerate()) {
                seed[k * lanes + lane] = -a;
            }
        }
        if let Some(best) = points.iter().min_by(|a, b| a.value.total_cmp(&b.value)).filter(|p| p.value <= 0.0) {
            let case = &self.spec.cases[best.case];
            if let Some(found) = Witness::confirm(&self.net.model, case, &case.disjuncts[best.disjunct], &best.x) {
                if found.clear {
                    return Ok(Some(found));
                }
                if self.narrow.as_ref().is_none_or(|n| n.margin < found.margin) {
                    self.narrow = Some(found);
                }
            }
        }
        let Some(share) = share else { return Ok(None) };
        let (gradient, _) = self.net.backward(&values, d.upload(&seed)?, lanes, false)?;
        let gradient = tensor::deinterleave(&d.read::<f32>(&gradient)?, elements, points.len());
        let inner = &self.inner;
        points.par_iter_mut().zip(gradient.par_chunks(elements)).for_each(|(p, gradient)| {
            let Some((low, high)) = &inner[p.case] else { return };
            // Inputs may have very different ranges: a step is a share of each.
            let size = gradient.iter().zip(low.iter().zip(high)).map(|(g, (l, u))| g.abs() * (u - l)).sum::<f32>();
            for k in 0..elements {
                let half = 0.5 * (high[k] - low[k]);
                p.momentum[k] = 0.75 * p.momentum[k] + gradient[k] * half / size.max(f32::MIN_POSITIVE);
                let direction = p.momentum[k].signum() * f32::from(p.momentum[k] != 0.0);
                p.x[k] = (p.x[k] + share * half * direction).clamp(low[k], high[k]);
            }
        });
        Ok(None)
    }
}
