//! Test cases as data: inputs of one dispatch and what its outputs must satisfy. Every kernel has at least one;
//! `tests/kernels.rs` runs them all, on the GPU and on the twin.

use bytemuck::Pod;

use crate::device::Device;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::rng::Rng;

/// One dispatch with its inputs.
pub struct Case {
    pub kernel: &'static Kernel,
    /// What is odd about it: `"one channel, stride 2"`.
    pub label: String,
    /// Bytes of the parameter struct.
    pub params: Vec<u8>,
    pub reads: Vec<Vec<f32>>,
    /// Content of the written buffers before the dispatch.
    pub writes: Vec<Vec<f32>>,
    pub threads: [usize; 3],
    pub check: Check,
}

/// What the outputs must satisfy.
pub enum Check {
    /// Every written word is a float with `|gpu - twin| <= abs + rel * |twin|`.
    Value { abs: f32, rel: f32 },
    /// Every written word has the same bits on both.
    Exact,
    /// The first two written buffers are the centre and radius of intervals. On both devices they contain the exact
    /// ones (lower and upper end, computed in f64), and are wider by at most `rel` of the exact width plus `abs`.
    /// Further buffers are compared as by [`Check::Value`].
    Interval { exact: Vec<[f64; 2]>, abs: f64, rel: f64 },
}

impl Case {
    pub fn new<P: Pod>(
        kernel: &'static Kernel,
        label: impl Into<String>,
        params: &P,
        reads: Vec<Vec<f32>>,
        writes: Vec<Vec<f32>>,
        threads: [usize; 3],
        check: Check,
    ) -> Case {
        let params = bytemuck::bytes_of(params).to_vec();
        Case { kernel, label: label.into(), params, reads, writes, threads, check }
    }

    /// Runs the dispatch and returns the written buffers.
    pub fn run(&self, device: &Device) -> Result<Vec<Vec<f32>>> {
        let upload = |data: &Vec<Vec<f32>>| data.iter().map(|d| device.upload(d)).collect::<Result<Vec<_>>>();
        let (reads, writes) = (upload(&self.reads)?, upload(&self.writes)?);
        let (r, w): (Vec<_>, Vec<_>) = (reads.iter().collect(), writes.iter().collect());
        device.run_bytes(self.kernel, &self.params, &r, &w, self.threads)?;
        writes.iter().map(|b| device.read(b)).collect()
    }

    /// The first few faults of these outputs against the twin's, one line each; empty when all is well.
    pub fn faults(&self, outputs: &[Vec<f32>], twin: &[Vec<f32>]) -> Vec<String> {
        let mut faults = Vec::new();
        match &self.check {
            Check::Value { abs, rel } => compare(outputs, twin, 0, *abs, *rel, &mut faults),
            Check::Exact => {
                for (b, (out, twin)) in outputs.iter().zip(twin).enumerate() {
                    let differ = out.iter().zip(twin).enumerate().filter(|(_, (o, t))| o.to_bits() != t.to_bits());
                    faults.extend(differ.map(|(i, (o, t))| {
                        format!("write {b}, word {i}: {:#010x}, twin {:#010x}", o.to_bits(), t.to_bits())
                    }));
                }
            }
            Check::Interval { exact, abs, rel } => {
                for (name, buffers) in [("device", outputs), ("twin", twin)] {
                    let [centre, radius, ..] = buffers else { return vec!["an interval is two buffers".into()] };
                    let words = centre.iter().zip(radius).zip(exact).enumerate();
                    for (i, ((&c, &r), &[low, high])) in words {
                        let (c, r) = (f64::from(c), f64::from(r));
                        let contained = c - r <= low && high <= c + r;
                        let tight = 2.0 * r <= (high - low) * (1.0 + rel) + abs;
                        if !(contained && tight) {
                            let what = if contained { "is looser than allowed over" } else { "does not contain" };
                            faults.push(format!("word {i}: {name} {c} +- {r} {what} [{low}, {high}]"));
                        }
                    }
                }
                compare(outputs, twin, 2, *abs as f32, *rel as f32, &mut faults);
            }
        }
        faults.truncate(10);
        faults
    }
}

fn compare(outputs: &[Vec<f32>], twin: &[Vec<f32>], skip: usize, abs: f32, rel: f32, faults: &mut Vec<String>) {
    for (b, (out, twin)) in outputs.iter().zip(twin).enumerate().skip(skip) {
        for (i, (o, t)) in out.iter().zip(twin).enumerate() {
            let close = (o - t).abs() <= abs + rel * t.abs();
            if !close {
                faults.push(format!("write {b}, word {i}: {o}, twin {t}"));
            }
        }
    }
}

/// Random values in [-1, 1) for a case's inputs, with a few exact zeros among them.
pub fn random(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| if rng.below(16) == 0 { 0.0 } else { rng.range(-1.0, 1.0) }).collect()
}

/// Output buffers start as NaN, so that a word a kernel forgets is noticed.
pub fn blank(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}
