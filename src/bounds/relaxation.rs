//! What stands in place of every nonlinear layer: lines between the bounds of its inputs, and signs assumed for neurons.

use super::known::Known;
use super::shelf::{self, Tables};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::network::Placed;
use crate::ops::linear::RELAX;
use crate::ops::{activation, relax, select};

/// Lines of one entry of a table of relaxations, in the order of the kernels that make and read them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    /// `f(z) <= upper * z + intercept`.
    pub upper: f32,
    pub intercept: f32,
    /// `lower * z <= f(z)`; activations and max pooling have an intercept of their own, or an input it is over.
    pub lower: f32,
    /// What a walk is charged against.
    pub magnitude: f32,
}

impl Line {
    /// The entries of a table.
    pub fn all(table: &[f32]) -> impl ExactSizeIterator<Item = Line> + '_ {
        table.chunks_exact(RELAX).map(|words| Line {
            upper: words[0],
            intercept: words[1],
            lower: words[2],
            magnitude: words[3],
        })
    }

    /// Changes entry `k` of a table.
    pub fn change(table: &mut [f32], k: usize, change: impl FnOnce(&mut Line)) {
        let words = &mut table[k * RELAX..][..RELAX];
        let mut line = Line { upper: words[0], intercept: words[1], lower: words[2], magnitude: words[3] };
        change(&mut line);
        words.copy_from_slice(&[line.upper, line.intercept, line.lower, line.magnitude]);
    }

    /// Whether a ReLU's neuron may have either sign: only then has its upper line an intercept.
    pub fn is_unstable(&self) -> bool {
        self.intercept > 0.0
    }
}

/// Signs assumed for neurons before one ReLU, as in `ops::signs`; `[slot][lane]`.
pub(super) struct Signs {
    pub targets: Buffer,
    pub beta: Buffer,
}

/// Relaxations of a batch, by node. Made on the way forward; lower lines of ReLUs are moved by `alpha` and by branching.
#[derive(Default)]
pub(super) struct Relaxations {
    /// Of ReLUs, activations and max pooling, `[lane][element][RELAX]`.
    lines: Vec<Option<Buffer>>,
    /// Intercepts of the lines below activations, `[lane][element]`.
    feet: Vec<Option<Buffer>>,
    /// Which inputs of max pooling its lines are over, `[lane][element]`.
    picks: Vec<Option<Buffer>>,
    /// Signs assumed of neurons before ReLUs.
    signs: Vec<Option<Signs>>,
}

/// The relaxations of one lane, on the host.
pub(super) struct RelaxedLane {
    pub lines: Tables,
    feet: Tables,
    picks: Tables<u32>,
}

impl Relaxations {
    /// For a network whose nonlinear layers are not exchanged for lines.
    pub fn none(nodes: usize) -> Relaxations {
        let empty = || (0..nodes).map(|_| None).collect();
        Relaxations { lines: empty(), feet: empty(), picks: empty(), signs: (0..nodes).map(|_| None).collect() }
    }

    /// Those of these lanes, with other `lines` and signs.
    pub fn place(
        d: &Device,
        width: usize,
        lanes: &[&RelaxedLane],
        lines: Vec<Option<Vec<f32>>>,
        signs: Vec<Option<Signs>>,
    ) -> Result<Relaxations> {
        let lines = lines.into_iter().map(|table| table.map(|t| d.upload(&t)).transpose());
        Ok(Relaxations {
            lines: lines.collect::<Result<_>>()?,
            feet: shelf::place(d, width, lanes.iter().map(|l| &l.feet))?,
            picks: shelf::place(d, width, lanes.iter().map(|l| &l.picks))?,
            signs,
        })
    }

    /// Every lane, for [`place`](Self::place).
    pub fn lanes(&self, d: &Device, width: usize, count: usize) -> Result<Vec<RelaxedLane>> {
        let lines = shelf::all_lanes(d, &self.lines, width, count)?;
        let feet = shelf::all_lanes(d, &self.feet, width, count)?;
        let picks = shelf::all_lanes(d, &self.picks, width, count)?;
        let lanes = lines.into_iter().zip(feet).zip(picks);
        Ok(lanes.map(|((lines, feet), picks)| RelaxedLane { lines, feet, picks }).collect())
    }

    /// Relaxes node `i` between the bounds of what it reads, if it is to be.
    pub fn relax(&mut self, known: &Known<'_>, i: usize) -> Result<()> {
        let net = &known.bounder.net;
        let (d, lanes) = (known.bounder.device(), known.region.lanes);
        let [c, r] = known.interval(net.model.nodes[i].inputs[0]);
        match net.layer(i) {
            Placed::Relu => self.lines[i] = Some(relax_relu(known, i)?),
            Placed::Activation(f) => {
                let table = d.alloc(c.len() * RELAX)?;
                let feet = d.alloc(c.len())?;
                let size = known.relaxation_magnitude(i)?;
                activation::relax(d, f, [c, r], &size, [&table, &feet], lanes)?;
                (self.lines[i], self.feet[i]) = (Some(table), Some(feet));
            }
            Placed::MaxPool(g) => {
                let table = d.alloc(g.output.len() * lanes * RELAX)?;
                let picks = d.alloc(g.output.len() * lanes)?;
                select::relax(d, g, [c, r], [&table, &picks], lanes)?;
                (self.lines[i], self.picks[i]) = (Some(table), Some(picks));
            }
            Placed::Affine(_) | Placed::AvgPool(_) | Placed::Add | Placed::Scale { .. } | Placed::Gather(_) => {}
        }
        Ok(())
    }

    /// Relaxes ReLU node `i` anew over its tighter inputs, with the lower slopes that it has.
    pub fn relax_again(&mut self, known: &Known<'_>, i: usize) -> Result<()> {
        let d = known.bounder.device();
        let Some(old) = &self.lines[i] else { return Ok(()) };
        let table = relax_relu(known, i)?;
        let (old, mut new): (Vec<f32>, Vec<f32>) = (d.read(old)?, d.read(&table)?);
        for (k, old) in Line::all(&old).enumerate() {
            Line::change(&mut new, k, |new| {
                if new.is_unstable() {
                    new.lower = old.lower;
                }
            });
        }
        d.write(&table, &new)?;
        self.lines[i] = Some(table);
        Ok(())
    }

    /// The lines of node `i`, if it is relaxed.
    pub fn lines(&self, i: usize) -> Option<&Buffer> {
        self.lines[i].as_ref()
    }

    /// The lines of a node that is.
    pub fn relaxed(&self, i: usize) -> &Buffer {
        self.lines(i).expect("relaxed on the way forward")
    }

    /// Lines and intercepts below of activation node `i`.
    pub fn activation(&self, i: usize) -> [&Buffer; 2] {
        [self.relaxed(i), self.feet[i].as_ref().expect("relaxed on the way forward")]
    }

    /// Lines and picks of max pooling node `i`.
    pub fn max_pool(&self, i: usize) -> [&Buffer; 2] {
        [self.relaxed(i), self.picks[i].as_ref().expect("relaxed on the way forward")]
    }

    /// Signs assumed of neurons before ReLU node `i`.
    pub fn signs(&self, i: usize) -> Option<&Signs> {
        self.signs[i].as_ref()
    }
}

fn relax_relu(known: &Known<'_>, i: usize) -> Result<Buffer> {
    let d = known.bounder.device();
    let [c, r] = known.interval(known.bounder.net.model.nodes[i].inputs[0]);
    let table = d.alloc(c.len() * RELAX)?;
    relax::relu(d, [c, r], &known.relaxation_magnitude(i)?, &table, known.region.lanes)?;
    Ok(table)
}
