//! What stands in place of every nonlinear layer: lines between the bounds of its inputs, and signs assumed for neurons.

use super::around::Around;
use super::envelope::Envelope;
use super::known::{FOLDING_UNIT, Known};
use super::shelf::{self, Copies, Tables};
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::network::Placed;
use crate::ops::linear::RELAX;
use crate::ops::{activation, domains, relax, select};
use crate::rounding::up;

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
    /// Intercepts of the lines below, where those of ReLUs and max pooling are not through zero, `[lane][element]`.
    feet: Vec<Option<Buffer>>,
    /// What the lines of other bounds of the same rows are apart, in units of [`FOLDING_UNIT`], `[lane][element]`.
    gaps: Vec<Option<Buffer>>,
    /// Which inputs of max pooling its lines are over, `[lane][element]`.
    picks: Vec<Option<Buffer>>,
    /// Signs assumed of neurons before ReLUs.
    signs: Vec<Option<Signs>>,
    /// Where every lane has a row of its own.
    pub envelope: Option<Envelope>,
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
        Relaxations {
            lines: empty(),
            feet: empty(),
            gaps: empty(),
            picks: empty(),
            signs: (0..nodes).map(|_| None).collect(),
            envelope: None,
        }
    }

    /// `width` lanes, of which these are the first.
    pub fn place(d: &Device, width: usize, lanes: &[&RelaxedLane]) -> Result<Relaxations> {
        let nodes = lanes.first().map_or(0, |l| l.lines.len());
        Ok(Relaxations {
            lines: shelf::place(d, width, lanes.iter().map(|l| &l.lines))?,
            feet: shelf::place(d, width, lanes.iter().map(|l| &l.feet))?,
            picks: shelf::place(d, width, lanes.iter().map(|l| &l.picks))?,
            ..Relaxations::none(nodes)
        })
    }

    /// Copies of these with signs assumed in them; of node `i`, if its lower slopes can be chosen, `slopes(i)` are those, as
    /// in [`domains::lines`].
    pub fn copied(
        &self,
        d: &Device,
        copies: &Copies,
        slopes: impl Fn(usize) -> Option<Vec<u32>>,
        signs: Vec<Option<Signs>>,
    ) -> Result<Relaxations> {
        let lanes = copies.lanes();
        let lines = |(i, from): (usize, &Option<Buffer>)| -> Result<Option<Buffer>> {
            let Some(from) = from else { return Ok(None) };
            let Some(slopes) = slopes(i) else { return copies.table(d, from).map(Some) };
            let to = d.alloc(copies.words(from))?;
            domains::lines(d, from, [&copies.home, &d.upload(&slopes)?], &to)?;
            if let Some(signs) = &signs[i] {
                domains::assume(d, &signs.targets, &to, lanes)?;
            }
            Ok(Some(to))
        };
        Ok(Relaxations {
            lines: self.lines.iter().enumerate().map(lines).collect::<Result<_>>()?,
            feet: copies.tables(d, &self.feet)?,
            picks: copies.tables(d, &self.picks)?,
            signs,
            ..Relaxations::none(self.lines.len())
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
        if let Some(around) = known.around() {
            return self.relax_around(known, around, i);
        }
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

    /// [`relax`](Self::relax) over deviations from images.
    fn relax_around(&mut self, known: &Known<'_>, around: &Around, i: usize) -> Result<()> {
        let d = known.bounder.device();
        let below = known.bounder.net.model.nodes[i].inputs[0];
        let lines = match known.bounder.net.layer(i) {
            Placed::Relu => {
                let magnitude: Vec<f32> = d.read(&known.relaxation_magnitude(i)?)?;
                around.relu_lines(below, &known.deviations(below)?, &magnitude)
            }
            Placed::MaxPool(g) => {
                let lines = around.max_lines(g, below, &known.deviations(below)?);
                self.picks[i] = Some(d.upload(&lines.picks)?);
                lines
            }
            Placed::Activation(_) => unreachable!("networks with activations are not bounded around images"),
            Placed::Affine(_) | Placed::AvgPool(_) | Placed::Add | Placed::Scale { .. } | Placed::Gather(_) => {
                return Ok(());
            }
        };
        let gaps: Vec<f32> =
            lines.gaps.iter().map(|gap| if *gap > 0.0 { up(gap / FOLDING_UNIT) } else { 0.0 }).collect();
        (self.lines[i], self.feet[i]) = (Some(d.upload(&lines.table)?), Some(d.upload(&lines.feet)?));
        self.gaps[i] = Some(d.upload(&gaps)?);
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

    /// Intercepts of the lines below of node `i`, if they have any.
    pub fn feet(&self, i: usize) -> Option<&Buffer> {
        self.feet[i].as_ref()
    }

    /// How far node `i` may be from its lines on their other sides, if anyone asks, in units of [`FOLDING_UNIT`].
    pub fn gaps(&self, i: usize) -> Option<&Buffer> {
        self.gaps[i].as_ref()
    }

    /// Lines and intercepts below of activation node `i`.
    pub fn activation(&self, i: usize) -> [&Buffer; 2] {
        [self.relaxed(i), self.feet(i).expect("relaxed on the way forward")]
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
