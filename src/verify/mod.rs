//! Does a property hold? Attack first, then bounds of rising cost, then splitting of the input where it has few
//! dimensions. An answer is `sat` only with a counterexample checked in exact terms, `unsat` only if every alternative
//! of every box is refuted by sound bounds.

mod attack;
pub mod batch;
mod refute;
mod split;
mod witness;

use std::time::Instant;

use crate::bounds::{Bounder, Method};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::spec::Spec;
use attack::{Attack, Effort};
use refute::{Part, Test};
pub use witness::Witness;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// When to give up.
    pub deadline: Instant,
    /// The costliest bounds to try.
    pub method: Method,
    /// Seed of the attacks.
    pub seed: u64,
}

/// The answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The property is violated, as this input shows.
    Sat(Box<Witness>),
    /// Proved: no input violates the property.
    Unsat,
    /// Neither was found, and more time would not help.
    Unknown,
    /// Neither was found in time.
    Timeout,
}

impl Verdict {
    /// The word of the verification competition.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Sat(_) => "sat",
            Verdict::Unsat => "unsat",
            Verdict::Unknown => "unknown",
            Verdict::Timeout => "timeout",
        }
    }
}

/// Most inputs that vary for splitting them to be worth the while.
const SPLITTABLE: usize = 12;

/// Answers whether some input violates `spec`.
///
/// # Errors
/// If property and network do not fit each other, the network cannot be bounded in f32, or the device fails; never for
/// lack of time.
pub fn verify(net: &Network, spec: &Spec, settings: &Settings) -> Result<Verdict> {
    check_fit(net, spec)?;
    let tests = refute::tests(spec, net.model.outputs());
    let mut attack = Attack::new(net, spec, &tests, settings);
    let verdict = match decide(net, spec, settings, &tests, &mut attack) {
        Err(Error::Timeout) => Verdict::Timeout,
        other => other?,
    };
    // A counterexample by a hair is one all the same, only less welcome: an f32 runtime may see it otherwise.
    Ok(match (verdict, attack.narrow.take()) {
        (Verdict::Unknown | Verdict::Timeout, Some(witness)) => Verdict::Sat(Box::new(witness)),
        (verdict, _) => verdict,
    })
}

/// Whether the property speaks of as many inputs and outputs as the network has.
///
/// # Errors
/// [`Error::Usage`] with both numbers.
pub fn check_fit(net: &Network, spec: &Spec) -> Result<()> {
    let (inputs, outputs) = (net.model.input.len(), net.model.outputs());
    if (spec.inputs, spec.outputs) == (inputs, outputs) {
        return Ok(());
    }
    Err(Error::usage(format!(
        "the property has {} inputs and {} outputs, the network {inputs} and {outputs}; give the files that belong together",
        spec.inputs, spec.outputs
    )))
}

fn decide(
    net: &Network,
    spec: &Spec,
    settings: &Settings,
    tests: &[Vec<Vec<Test>>],
    attack: &mut Attack,
) -> Result<Verdict> {
    let mut open = Part::whole(spec);
    if open.is_empty() {
        return Ok(Verdict::Unsat);
    }
    if let Some(found) = attack.run(&open, Effort::Quick)? {
        return Ok(Verdict::Sat(Box::new(found)));
    }
    for method in Method::ALL.into_iter().filter(|&m| m <= settings.method) {
        if method == Method::Crown
            && let Some(found) = attack.run(&open, Effort::Normal)?
        {
            return Ok(Verdict::Sat(Box::new(found)));
        }
        let bounder = bounder(net, spec, settings, method)?;
        let mut left = vec![];
        for batch in open.chunks(refute::batch(&bounder)) {
            let rests = refute::refute(&bounder, tests, batch, true)?;
            left.extend(rests.into_iter().filter(|r| r.part.is_some()));
        }
        // Where a linear bound is smallest is a good place to look.
        if method > Method::Ibp
            && let Some(found) = attack.points(&split::candidates(&left))?
        {
            return Ok(Verdict::Sat(Box::new(found)));
        }
        let left: Vec<Part> = left.into_iter().filter_map(|r| r.part).collect();
        open = left;
        if open.is_empty() {
            return Ok(Verdict::Unsat);
        }
    }
    let varying = |p: &Part| p.lower.iter().zip(&p.upper).filter(|(l, u)| l < u).count();
    if settings.method >= Method::CrownIbp && open.iter().all(|p| varying(p) <= SPLITTABLE) {
        return split::split(&bounder(net, spec, settings, settings.method)?, tests, open, attack);
    }
    let found = attack.run(&open, Effort::Thorough)?;
    Ok(found.map_or(Verdict::Unknown, |w| Verdict::Sat(Box::new(w))))
}

fn bounder(net: &Network, spec: &Spec, settings: &Settings, method: Method) -> Result<Bounder> {
    let ends = spec.cases.iter().flat_map(|c| c.lower.iter().chain(&c.upper));
    let peak = ends.fold(0.0, |m, v| f64::from(v.abs()).max(m));
    let mut bounder = Bounder::for_inputs(net, method, peak)?;
    bounder.deadline = Some(settings.deadline);
    Ok(bounder)
}
