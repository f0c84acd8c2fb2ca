//! Properties of one network on their way to an answer. They share the device, and with it the time: what a step takes
//! is divided evenly over the properties in it.

use std::time::{Duration, Instant};

use super::refute::{Part, Test, tests};
use super::witness::Witness;
use super::{Property, Verdict, check_fit};
use crate::error::{Error, Result};
use crate::interrupt;
use crate::network::Network;
use crate::rng::Rng;
use crate::spec::Spec;

/// Hears every answer as soon as it is known: position of the property, answer, time used.
pub type Answered<'a> = dyn FnMut(usize, Result<Verdict>, Duration) -> Result<()> + 'a;

/// One property.
pub(super) struct Query<'a> {
    pub spec: &'a Spec,
    /// `[case][disjunct][term]`.
    pub tests: Vec<Vec<Vec<Test>>>,
    /// Where counterexamples are looked for, by case: see [`Case::inner`](crate::spec::Case::inner).
    pub inner: Vec<(Vec<f32>, Vec<f32>)>,
    /// Of its own, so that attacks do not depend on who else is asked about.
    pub rng: Rng,
    /// Largest magnitude of an input.
    pub peak: f64,
    /// Parts not refuted yet; with the last of them the property is proved.
    parts: usize,
    limit: Duration,
    used: Duration,
    /// A counterexample too close to call for f32 arithmetic; a clearer one is still looked for.
    narrow: Option<Witness>,
    verdict: Option<Verdict>,
    told: bool,
}

/// All properties asked about at once.
pub(super) struct Queries<'a> {
    all: Vec<Query<'a>>,
    /// Until when time has been divided.
    since: Instant,
    answered: &'a mut Answered<'a>,
}

impl<'a> Query<'a> {
    fn new(net: &Network, property: &Property<'a>, seed: u64) -> Query<'a> {
        let spec = property.spec;
        let ends = spec.cases.iter().flat_map(|c| c.lower.iter().chain(&c.upper));
        Query {
            spec,
            tests: tests(spec, net.model.outputs()),
            inner: spec.cases.iter().map(|c| c.inner()).collect(),
            rng: Rng::new(seed, 4),
            peak: ends.fold(0.0, |m, v| f64::from(v.abs()).max(m)),
            parts: 0,
            limit: property.limit,
            used: Duration::ZERO,
            narrow: None,
            verdict: None,
            told: false,
        }
    }

    /// Neither decided nor out of time.
    pub fn is_open(&self) -> bool {
        self.verdict.is_none() && !self.told
    }

    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.used)
    }

    /// Moves `x` into the box of a case, and towards where its relations hold.
    pub fn pull(&self, case: usize, x: &mut [f32]) {
        let (low, high) = &self.inner[case];
        x.iter_mut().zip(low.iter().zip(high)).for_each(|(x, (l, u))| *x = x.clamp(*l, *u));
        self.spec.cases[case].pull(x, low, high);
    }

    /// How far above zero f32 arithmetic may see an alternative that holds at its very edge; any distance where the box is a
    /// single point, at which there is nothing else to try.
    pub fn edge(&self, case: usize, disjunct: usize, outputs: &[f32]) -> f32 {
        let (low, high) = &self.inner[case];
        if low == high {
            return f32::INFINITY;
        }
        1e-5 * self.tests[case][disjunct].iter().map(|t| t.size(outputs)).fold(0.0, f32::max)
    }

    /// Checks whether `x`, where f32 arithmetic gave these outputs, is a counterexample to an alternative, in the time that
    /// passes through the network have.
    pub fn examine(&mut self, net: &Network, case: usize, disjunct: usize, x: &[f32], outputs: &[f32]) {
        let case = &self.spec.cases[case];
        if let Some(found) =
            Witness::confirm(&net.model, case, &case.disjuncts[disjunct], x, Some(outputs), net.deadline)
        {
            self.offer(found);
        }
    }

    /// Takes note of a counterexample; a clear one decides.
    fn offer(&mut self, witness: Witness) {
        if witness.clear {
            self.verdict = Some(Verdict::Sat(Box::new(witness)));
        } else if self.narrow.as_ref().is_none_or(|n| n.margin < witness.margin) {
            self.narrow = Some(witness);
        }
    }

    /// A part was cut in two.
    pub fn halved(&mut self) {
        self.parts += 1;
    }

    /// A part was refuted.
    pub fn refuted(&mut self) {
        self.parts -= 1;
        if self.parts == 0 && self.is_open() {
            self.verdict = Some(Verdict::Unsat);
        }
    }
}

impl<'a> Queries<'a> {
    /// The queries and all of their parts. A property that does not fit the network is answered with the error.
    pub fn new(
        net: &Network,
        properties: &[Property<'a>],
        seed: u64,
        answered: &'a mut Answered<'a>,
    ) -> Result<(Queries<'a>, Vec<Part>)> {
        let mut queries = Queries { all: vec![], since: Instant::now(), answered };
        let mut parts = vec![];
        for (i, property) in properties.iter().enumerate() {
            let mut query = Query::new(net, property, seed);
            if let Err(error) = check_fit(net, property.spec).and_then(|()| net.range(query.peak, 1.0).map(drop)) {
                query.told = true;
                (queries.answered)(i, Err(error), query.used)?;
            } else {
                let own = Part::whole(i, property.spec);
                query.parts = own.len();
                if own.is_empty() {
                    query.verdict = Some(Verdict::Unsat);
                }
                parts.extend(own);
            }
            queries.all.push(query);
        }
        let who: Vec<usize> = (0..queries.all.len()).filter(|&i| !queries.all[i].told).collect();
        queries.charge(&who)?;
        Ok((queries, parts))
    }

    pub fn all(&self) -> &[Query<'a>] {
        &self.all
    }

    pub fn get(&mut self, i: usize) -> &mut Query<'a> {
        &mut self.all[i]
    }

    pub fn is_open(&self, i: usize) -> bool {
        self.all[i].is_open()
    }

    /// When the first of `who` is out of time if they share all of it from now on.
    pub fn deadline(&self, who: &[usize]) -> Instant {
        let least = who.iter().map(|&i| self.all[i].left()).min().unwrap_or_default();
        self.since + least.saturating_mul(who.len() as u32)
    }

    /// When all of `who` are out of time.
    pub fn end(&self, who: &[usize]) -> Instant {
        self.since + who.iter().map(|&i| self.all[i].left()).sum::<Duration>()
    }

    /// What `run` finds before all of `who` are out of time, which is charged to them; `None` if it does not.
    pub fn in_time<T>(
        &mut self,
        net: &Network,
        who: &[usize],
        run: impl FnOnce(&Network, &mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        match run(&net.until(self.end(who)), self) {
            Err(Error::Timeout) => self.charge(who).map(|()| None),
            found => found.map(Some),
        }
    }

    /// Divides the time since the last call evenly over `who`, and tells the answers of those that are decided or out
    /// of time.
    pub fn charge(&mut self, who: &[usize]) -> Result<()> {
        interrupt::check()?;
        let now = Instant::now();
        let share = (now - self.since) / who.len().max(1) as u32;
        self.since = now;
        for &i in who {
            let query = &mut self.all[i];
            query.used += share;
            if query.is_open() && query.left().is_zero() {
                query.verdict = Some(Verdict::Timeout);
            }
            let Some(verdict) = query.verdict.take() else { continue };
            query.told = true;
            // A counterexample by a hair is one all the same, only less welcome: an f32 runtime may see it otherwise.
            let verdict = match (verdict, query.narrow.take()) {
                (Verdict::Unknown | Verdict::Timeout, Some(witness)) => Verdict::Sat(Box::new(witness)),
                (verdict, _) => verdict,
            };
            (self.answered)(i, Ok(verdict), query.used)?;
        }
        Ok(())
    }

    /// Takes counterexamples at which a condition holds at its very edge, with nothing to spare over real numbers: where the
    /// cheap searches found no clearer one, there may be none, and splitting would look for it until time is over.
    pub fn take_edges(&mut self) -> Result<()> {
        let at_edge = |q: &Query<'_>| q.is_open() && q.narrow.as_ref().is_some_and(|w| w.margin == 0.0);
        let who: Vec<usize> = (0..self.all.len()).filter(|&i| at_edge(&self.all[i])).collect();
        for &i in &who {
            self.all[i].verdict = self.all[i].narrow.take().map(|w| Verdict::Sat(Box::new(w)));
        }
        if who.is_empty() { Ok(()) } else { self.charge(&who) }
    }

    /// Nothing is left to try for `who`; where they are `late`, for want of time.
    pub fn give_up(&mut self, who: &[usize], late: bool) -> Result<()> {
        for &i in who {
            if self.is_open(i) {
                self.all[i].verdict = Some(if late { Verdict::Timeout } else { Verdict::Unknown });
            }
        }
        self.charge(who)
    }
}

/// The distinct queries of some parts or points.
pub(super) fn members(queries: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut who: Vec<usize> = queries.collect();
    who.sort_unstable();
    who.dedup();
    who
}
