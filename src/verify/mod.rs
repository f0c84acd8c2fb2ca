//! Does a property hold? Attack first, then bounds of rising cost, then splitting: of the input where it has few
//! dimensions, else by the signs of neurons.
//!
//! An answer is `sat` only with a counterexample checked in exact terms, `unsat` only if every alternative of
//! every box is refuted by sound bounds. Properties of one network go through attacks and bounds together.

mod attack;
pub mod batch;
mod corner;
mod exact;
mod joint;
mod loaded;
mod query;
mod refute;
mod signs;
mod split;
mod thin;
mod witness;

use std::time::Duration;

use crate::bounds::{Bounder, Method};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::spec::Spec;
use crate::terminal::counted;
use attack::Effort;
use query::{Queries, members};
use refute::Part;

pub use loaded::Loaded;
pub use query::Answered;
pub use witness::Witness;

/// How hard to try.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The costliest bounds to try on whole boxes. From `crown` on, boxes that stay open are split by signs, over bounds
    /// by `alpha`.
    pub method: Method,
    /// Seed of the attacks.
    pub seed: u64,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Property<'a> {
    /// What is asked.
    pub spec: &'a Spec,
    /// How much time it may use. Of a step over several properties each uses an equal share.
    pub limit: Duration,
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

/// Most inputs that vary for splitting them to be the best that is left.
const SPLITTABLE: usize = 12;
/// Most inputs that vary for splitting them to be worth the while where signs do not decide.
const FEW: usize = 20;
/// Share of the time left that splitting by signs takes, and where inputs are split afterwards.
const SIGNS: [f64; 2] = [0.8, 0.4];

/// Share of the time left that the search of corners takes before splitting.
const CORNERS: f64 = 0.05;

/// Answers whether some input violates the property.
///
/// # Errors
/// If property and network do not fit each other, the network cannot be bounded in f32, or the device fails; never for
/// lack of time.
pub fn verify(net: &Network, property: Property<'_>, settings: &Settings) -> Result<Verdict> {
    let mut answer = None;
    verify_all(net, &[property], settings, &mut |_, verdict, _| {
        answer = Some(verdict);
        Ok(())
    })?;
    answer.unwrap_or(Ok(Verdict::Unknown))
}

/// Answers several properties of one network together, each as soon as it is known: in the order of `answered` calls,
/// with the error of one that cannot be asked of this network.
///
/// # Errors
/// If the device fails, or what `answered` returns; what was not answered until then stays so.
pub fn verify_all<'a>(
    net: &Network,
    properties: &[Property<'a>],
    settings: &Settings,
    answered: &'a mut Answered<'a>,
) -> Result<()> {
    let (mut queries, open) = Queries::new(net, properties, settings.seed, answered)?;
    let mut open = thin::run(net, &mut queries, open)?;
    attack::run(net, &mut queries, &open, Effort::Quick)?;
    for method in Method::ALL.into_iter().filter(|&m| m <= settings.method) {
        if method == Method::Crown {
            attack::run(net, &mut queries, &open, Effort::Normal)?;
        }
        open.retain(|p| queries.is_open(p.query));
        let Some(bounder) = bounder(net, &queries, &open, method)? else { return Ok(()) };
        let mut left = vec![];
        for batch in open.chunks(refute::batch(&bounder)) {
            let rests = split::bound(&bounder, &mut queries, batch.to_vec())?;
            left.extend(rests.into_iter().filter_map(|r| r.part));
        }
        open = left;
    }
    open.retain(|p| queries.is_open(p.query));
    queries.take_edges()?;
    corner::run(net, &mut queries, &open, CORNERS)?;
    queries.take_edges()?;
    open.retain(|p| queries.is_open(p.query));
    finish(net, &mut queries, open, settings.method)
}

/// What bounds alone do not decide: splitting, property by property, or a longer attack.
fn finish(net: &Network, queries: &mut Queries<'_>, open: Vec<Part>, method: Method) -> Result<()> {
    let varying = |p: &Part| p.lower.iter().zip(&p.upper).filter(|(l, u)| l < u).count();
    let mut rest: Vec<Vec<Part>> = vec![];
    for parts in open.chunk_by(|a, b| a.query == b.query) {
        if method.relaxes() && parts.iter().all(|p| varying(p) <= SPLITTABLE) {
            let Some(bounder) = bounder(net, queries, parts, method)? else { continue };
            split::split(&bounder, queries, parts.to_vec())?;
            queries.give_up(&[parts[0].query], false)?;
        } else {
            match rest.last_mut() {
                // A GPU takes the points of all at once; a CPU gains nothing by it, and answers sooner one by one.
                Some(all) if net.device.is_gpu() => all.extend_from_slice(parts),
                Some(_) | None => rest.push(parts.to_vec()),
            }
        }
    }
    for mut parts in rest {
        let few = method.relaxes() && parts.iter().all(|p| varying(p) <= FEW);
        let mut late = false;
        if method.refines()
            && let Some(bounder) = bounder(net, queries, &parts, Method::Alpha)?
        {
            (parts, late) = signs::branch(&bounder, queries, parts, SIGNS[usize::from(few)])?;
        }
        match bounder(net, queries, &parts, method)? {
            Some(bounder) if few => split::split(&bounder, queries, parts.clone())?,
            Some(_) | None => attack::run(net, queries, &parts, Effort::Thorough)?,
        }
        queries.give_up(&members(parts.iter().map(|p| p.query)), late)?;
    }
    Ok(())
}

/// Bounds for the inputs of these parts; none if there are none.
fn bounder(net: &Network, queries: &Queries<'_>, open: &[Part], method: Method) -> Result<Option<Bounder>> {
    let peak = open.iter().map(|p| queries.all()[p.query].peak).reduce(f64::max);
    peak.map(|peak| Bounder::for_inputs(net, method, peak)).transpose()
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
        "the property has {} and {}, the network {inputs} and {outputs}; give the files that belong together",
        counted(spec.inputs, "input"),
        counted(spec.outputs, "output")
    )))
}
