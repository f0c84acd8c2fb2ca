//! What users choose of a certify run: checked and turned into settings in one place, whoever asks.

use std::ops::Range;

use super::Settings;
use super::depth::{self, Choice};
use crate::attack;
use crate::bounds::{Bounder, Method, Runtime};
use crate::close;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::norm::Norm;
use crate::search::{self, Subject};

/// Choices by the names of their flags.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How bounds are computed.
    pub method: Method,
    /// Which evaluations of the network radii hold for.
    pub runtime: Runtime,
    /// What radii are measured by.
    pub norm: Norm,
    /// Nonlinear layers that rows of neurons pass at most; `None`: all, or what fits `seconds`.
    pub depth: Option<usize>,
    /// Share of the best provable radius at which the search stops; `None`: what suits the method.
    pub tolerance: Option<f32>,
    /// Balls probed at once; `None`: what suits method and device.
    pub batch: Option<usize>,
    /// Bytes that the rows of one step of bounds may take; `None`: what suits the device.
    pub memory: Option<usize>,
    /// Domains of branch and bound per image; 0 for none, unless `seconds` are given.
    pub branch: usize,
    /// Seconds per image: of the search, and of branch and bound.
    pub seconds: Option<f64>,
    /// Share of the proved radius below which a bracket is not closed further; `None`: one in a hundred.
    pub gap: Option<f32>,
    /// Whether to look for the other end of the bracket.
    pub attack: bool,
}

/// Brackets whose ends are within this share of each other are not closed further.
const CLOSED: f32 = 0.01;

/// Seconds of an image's search from which on images go one at a time: rows come sooner, and all cores find enough to do
/// in one.
const SLOW: f64 = 5.0;

impl Options {
    /// Refuses choices that do not fit each other, before anything is read.
    ///
    /// # Errors
    /// [`Error::Usage`] with the flag.
    pub fn check(&self) -> Result<()> {
        if self.tolerance.is_some_and(|t| !(t > 0.0 && t < 1.0)) {
            return Err(Error::usage("--tolerance lies between 0 and 1"));
        }
        if self.batch == Some(0) {
            return Err(Error::usage("--batch is at least 1"));
        }
        if self.depth.is_some() && !self.method.refines() {
            let problem = "--depth is about bounds of neurons by rows of their own; give --method crown or alpha";
            return Err(Error::usage(problem));
        }
        if self.closes() && !self.method.refines() {
            let problem = "--branch and --seconds start from bounds by crown; give --method crown or alpha";
            return Err(Error::usage(problem));
        }
        if self.gap.is_some_and(|gap| !(gap > 0.0 && gap.is_finite())) {
            return Err(Error::usage("--gap is above 0"));
        }
        if self.seconds.is_some_and(|s| !(s > 0.0 && s.is_finite())) {
            return Err(Error::usage("--seconds is above 0"));
        }
        if self.gap.is_some() && !self.closes() {
            return Err(Error::usage("--gap says when to stop closing brackets; give --branch or --seconds too"));
        }
        Ok(())
    }

    /// Whether brackets are closed by branch and bound.
    pub fn closes(&self) -> bool {
        self.branch > 0 || self.seconds.is_some()
    }

    /// The bounds to certify by.
    ///
    /// # Errors
    /// As [`Bounder::new`] and [`Bounder::for_runtime`].
    pub fn bounder(&self, net: &Network) -> Result<Bounder> {
        let mut bounder = Bounder::new(net, self.method)?.for_runtime(self.runtime)?.for_norm(self.norm);
        bounder.memory = self.memory.unwrap_or(bounder.memory);
        bounder.depth = self.depth;
        Ok(bounder)
    }

    /// Where the network is deep: whether bounds are taken around images and, if no depth is chosen, that at which the first
    /// image keeps to the seconds; without any, a depth that takes minutes where all layers would take far longer.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn fit(&self, bounder: &mut Bounder, data: &Dataset) -> Result<Option<Choice>> {
        if data.is_empty() || !search::is_deep(bounder) {
            return Ok(None);
        }
        let subject = Subject::classify(&bounder.net, &[&data.image(0)])?.remove(0);
        bounder.around = depth::calls_for_around(bounder, &subject)?;
        if self.depth.is_some() {
            return Ok(None);
        }
        let choice = match self.seconds {
            Some(seconds) => depth::choose(bounder, &subject, seconds)?,
            None => match depth::unasked(bounder, self.closes()) {
                Some(choice) => choice,
                None => {
                    // Rows that keep to patches say as much as whole ones, for less.
                    bounder.depth = bounder.around.then(|| bounder.nonlinear_layers());
                    return Ok(None);
                }
            },
        };
        match choice.depth {
            Some(0) => bounder.method = Method::CrownIbp,
            depth => bounder.depth = depth,
        }
        Ok(Some(choice))
    }

    /// The settings of a run over these images, where [`fit`](Self::fit) chose so.
    pub fn settings(
        &self,
        bounder: &Bounder,
        chosen: Option<Choice>,
        variances: Vec<f64>,
        seed: u64,
        range: Range<usize>,
    ) -> Settings {
        let mut usual = search::Settings::new(bounder);
        if chosen.is_some_and(|c| c.expected > SLOW) {
            usual.batch = 1;
        }
        Settings {
            variances,
            seed,
            range,
            search: search::Settings {
                tolerance: self.tolerance.unwrap_or(usual.tolerance),
                batch: self.batch.unwrap_or(usual.batch),
                seconds: self.seconds,
                // Brackets are closed between two batches, in all of the memory.
                in_flight: if self.closes() { 1 } else { usual.in_flight },
                ..usual
            },
            attack: self.attack.then(attack::Settings::default),
            close: self.closes().then_some(close::Settings {
                domains: if self.branch > 0 { self.branch } else { usize::MAX },
                seconds: self.seconds,
                tolerance: self.gap.unwrap_or(CLOSED),
            }),
        }
    }
}
