//! Test cases as data: inputs of one dispatch and what its outputs must satisfy. Every kernel has at least one;
//! `tests/kernels/` runs them all, on the GPU and on the twin.

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::ops::linear::Rows;
use crate::rng::Rng;

/// Dispatches through the op's public function: device, the buffers read, the buffers written.
type Dispatch = dyn Fn(&Device, &[Buffer], &[Buffer]) -> Result<()> + Send + Sync;

/// Faults of the written buffers, one line each.
type Judgement = dyn Fn(&[Vec<f32>]) -> Vec<String> + Send + Sync;

/// One dispatch with its inputs.
pub struct Case {
    /// The kernel that is dispatched.
    pub kernel: &'static Kernel,
    /// What is odd about it: `"one channel, stride 2"`.
    pub label: String,
    reads: Vec<Vec<f32>>,
    writes: Vec<Vec<f32>>,
    check: Check,
    dispatch: Box<Dispatch>,
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
    /// On both devices the written buffers have no faults by this judgement.
    Holds(Box<Judgement>),
}

impl Case {
    /// `writes` is the content of the written buffers before the dispatch, see [`blank`].
    pub fn new(
        kernel: &'static Kernel,
        label: impl Into<String>,
        reads: Vec<Vec<f32>>,
        writes: Vec<Vec<f32>>,
        check: Check,
        dispatch: impl Fn(&Device, &[Buffer], &[Buffer]) -> Result<()> + Send + Sync + 'static,
    ) -> Case {
        Case { kernel, label: label.into(), reads, writes, check, dispatch: Box::new(dispatch) }
    }

    /// Runs the dispatch and returns the written buffers.
    pub fn run(&self, device: &Device) -> Result<Vec<Vec<f32>>> {
        let upload = |data: &Vec<Vec<f32>>| data.iter().map(|d| device.upload(d)).collect::<Result<Vec<_>>>();
        let (reads, writes) = (upload(&self.reads)?, upload(&self.writes)?);
        (self.dispatch)(device, &reads, &writes)?;
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
            Check::Holds(judge) => {
                for (name, buffers) in [("device", outputs), ("twin", twin)] {
                    faults.extend(judge(buffers).into_iter().map(|fault| format!("{name}: {fault}")));
                }
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

/// Words of rows that see the whole layers of these images.
pub fn whole_rows(images: &[usize]) -> Vec<f32> {
    let images = images.iter().map(|&i| i as u32);
    words(&images.clone().chain(std::iter::repeat_n(0, 2 * images.len())).collect::<Vec<_>>())
}

/// Random values in [-1, 1) for a case's inputs, with a few exact zeros among them.
pub fn random(rng: &mut Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| if rng.below(16) == 0 { 0.0 } else { rng.range(-1.0, 1.0) }).collect()
}

/// Values that break careless rounding: zeros, subnormals, magnitudes from 2^-130 to 2^60.
pub fn awkward(rng: &mut Rng, len: usize) -> Vec<f32> {
    let mut value = || {
        let mantissa = rng.next_u32() & 0x807f_ffff;
        match rng.below(8) {
            0 => 0.0,
            1 => f32::from_bits(mantissa),
            2 => f32::from_bits(mantissa & 0x8000_0007 | 1 << 23),
            3 => f32::from_bits(mantissa | 27 << 23),
            4 => f32::from_bits(mantissa | (rng.below(187) as u32) << 23),
            _ => f32::from_bits(mantissa | 126 << 23),
        }
    };
    (0..len).map(|_| value()).collect()
}

/// Inputs of a case are f32; these are the bits of others.
pub fn words(words: &[u32]) -> Vec<f32> {
    bytemuck::cast_slice(words).to_vec()
}

/// Rows of linear bounds whose words are one of the case's inputs; a dispatch wants them wrapped.
pub fn rows(device: &Device, words: &Buffer, lanes: usize) -> Result<Rows> {
    Ok(Rows { count: lanes, lanes, plane: [1, 1], buffer: device.upload(&device.read::<u32>(words)?)? })
}

/// Output buffers start as NaN, so that a word a kernel forgets is noticed.
pub fn blank(len: usize) -> Vec<f32> {
    vec![f32::NAN; len]
}
