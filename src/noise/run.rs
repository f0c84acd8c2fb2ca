//! A test set under noise: what is proved and what is measured of every image, row by row.

use super::measured::{self, Settings as Draws};
use super::{Proved, certificate, largest, least};
use crate::bounds::Bounder;
use crate::certify::classify;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::results::certificate::NoiseCertificate;
use crate::results::{RiskRow, SigmaRow};
use crate::search::Subject;

/// What to ask.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Of the noise, each above 0.
    pub variances: Vec<f64>,
    /// Also look for the largest noise that changes the class with probability at most this.
    pub search: Option<f64>,
    /// How to measure; nothing is to be decided.
    pub draws: Draws,
    /// Which images of the data, in order.
    pub images: Vec<usize>,
    /// Images bounded together.
    pub batch: usize,
}

/// Where the rows of a run go, in order. Those at a variance come by variance; those of the largest noise have none.
pub trait Sink {
    /// Whether the row is there already.
    fn knows(&self, index: usize, variance: Option<f64>) -> bool;

    /// Whether what proves an image's rows is to be kept, which takes another pass of bounds.
    fn wants_proof(&self, index: usize) -> bool;

    /// Takes what proves a row, before it comes.
    ///
    /// # Errors
    /// What stops the run.
    fn proof(&mut self, index: usize, variance: Option<f64>, certificate: &NoiseCertificate) -> Result<()>;

    /// Takes a row.
    ///
    /// # Errors
    /// What stops the run.
    fn risk(&mut self, row: RiskRow) -> Result<()>;

    /// Takes the row of a largest noise.
    ///
    /// # Errors
    /// What stops the run.
    fn sigma(&mut self, row: SigmaRow) -> Result<()>;
}

/// In memory, from the beginning, without proofs and largest noise.
impl Sink for Vec<RiskRow> {
    fn knows(&self, _: usize, _: Option<f64>) -> bool {
        false
    }

    fn wants_proof(&self, _: usize) -> bool {
        false
    }

    fn proof(&mut self, _: usize, _: Option<f64>, _: &NoiseCertificate) -> Result<()> {
        Ok(())
    }

    fn risk(&mut self, row: RiskRow) -> Result<()> {
        self.push(row);
        Ok(())
    }

    fn sigma(&mut self, _: SigmaRow) -> Result<()> {
        Ok(())
    }
}

struct Run<'a> {
    bounder: &'a Bounder,
    data: &'a Dataset,
    settings: &'a Settings,
}

/// Asks every image at every variance, and then for its largest noise, but what the sink knows.
///
/// # Errors
/// A fault of the device, or of the sink; a measured probability that is surely above the proved one is a fault.
pub fn run(
    bounder: &Bounder,
    data: &Dataset,
    settings: &Settings,
    sink: &mut impl Sink,
    progress: &mut Progress,
) -> Result<()> {
    let run = Run { bounder, data, settings };
    let levels = settings.variances.iter().copied().map(Some).chain(settings.search.map(|_| None));
    for level in levels {
        let todo = progress.left(settings.images.iter().copied(), |i| sink.knows(i, level));
        for block in todo.chunks(settings.batch.max(1)) {
            let images: Vec<_> = block.iter().map(|&i| data.image(i)).collect();
            let subjects = classify(bounder, &images)?;
            let all: Vec<&Subject> = subjects.iter().collect();
            let proved = match (level, settings.search) {
                (Some(variance), _) => least(bounder, &all, variance.sqrt())?,
                (None, Some(risk)) => largest(bounder, &all, risk)?,
                (None, None) => vec![],
            };
            for ((&index, subject), proved) in block.iter().zip(&subjects).zip(proved) {
                let risk = run.keep(sink, index, level, subject, &proved)?;
                match (level, settings.search) {
                    (Some(variance), _) => sink.risk(run.risk(index, subject, variance, risk)?)?,
                    (None, Some(most)) => {
                        // What the certificate proves is not what the search did.
                        let sigma = if risk <= most { proved.sigma } else { 0.0 };
                        sink.sigma(run.sigma(index, subject, most, sigma)?)?;
                    }
                    (None, None) => {}
                }
                progress.advance(1);
            }
        }
    }
    Ok(())
}

impl Run<'_> {
    /// Keeps what proves a row if the sink wants it. Gives the probability that is proved then.
    fn keep(
        &self,
        sink: &mut impl Sink,
        index: usize,
        level: Option<f64>,
        subject: &Subject,
        proved: &Proved,
    ) -> Result<f64> {
        if !sink.wants_proof(index) || proved.risk >= 1.0 || proved.sigma == 0.0 {
            return Ok(proved.risk);
        }
        let (risk, certificate) = certificate(self.bounder, subject, proved)?;
        sink.proof(index, level, &certificate)?;
        Ok(risk.max(proved.risk))
    }

    fn risk(&self, index: usize, subject: &Subject, variance: f64, proved: f64) -> Result<RiskRow> {
        let net = &self.bounder.net;
        let m = measured::measure(net, subject, index as u32, variance.sqrt(), &self.settings.draws)?;
        if m.low > proved {
            let problem = format!(
                "image {index} at variance {variance}: proved to change with probability at most {proved}, measured at least {}; the device miscomputes",
                m.low
            );
            return Err(Error::device(problem));
        }
        Ok(RiskRow {
            index,
            file: self.data.names[index].clone(),
            label: self.data.labels[index],
            predicted: subject.class,
            variance,
            draws: m.draws,
            changed: m.changed,
            risk_low: m.low,
            risk_high: m.high,
            risk_proved: proved,
            method: self.bounder.method.to_string(),
        })
    }

    fn sigma(&self, index: usize, subject: &Subject, risk: f64, proved: f64) -> Result<SigmaRow> {
        let start = if proved > 0.0 { 2.0 * proved } else { 0.01 };
        let decide = Draws { risk: Some(risk), ..self.settings.draws };
        let [low, high] = measured::search(&self.bounder.net, subject, index as u32, start, &decide)?;
        Ok(SigmaRow {
            index,
            file: self.data.names[index].clone(),
            label: self.data.labels[index],
            predicted: subject.class,
            risk,
            sigma_proved: proved,
            sigma_low: low.max(proved),
            sigma_high: high,
            method: self.bounder.method.to_string(),
        })
    }
}
