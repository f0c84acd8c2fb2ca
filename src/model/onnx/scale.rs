//! `y = scale x + shift` with constants: part of the layer before where that loses next to nothing, else a layer of its
//! own.

use super::super::{Layer, Origin, Ratio};
use super::build::{Builder, Live};
use super::error::OnnxResult;
use super::near::{Charge, Near};
use super::op::Op;

/// When constants may go into the weights of the layer before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Where the charge is small.
    Always,
    /// Where it is nothing.
    Free,
    /// Only where they cannot be kept: no f32 holds them.
    Needed,
}

/// Applies constants to `x`. Both vectors have the same length, a divisor of that of `x`: each constant is for as many
/// consecutive values.
pub fn apply(b: &mut Builder, op: &Op, x: Live, scale: &[Near], shift: &[Near], merge: Merge) -> OnnxResult<Live> {
    let ratio = |(s, t): (&Near, &Near)| {
        let exact = s.error == 0.0 && t.error == 0.0;
        exact.then_some(Ratio { factor: s.value, offset: 0.0, divisor: [1.0, 0.0], root: false, shift: t.value })
    };
    let ratios = scale.iter().zip(shift).map(ratio).collect();
    apply_ratios(b, op, x, [scale, shift], ratios, merge)
}

/// [`apply`], where it is known which ratios the constants are of.
pub fn apply_ratios(
    b: &mut Builder,
    op: &Op,
    x: Live,
    [scale, shift]: [&[Near]; 2],
    ratios: Option<Vec<Ratio>>,
    merge: Merge,
) -> OnnxResult<Live> {
    if scale.iter().all(|s| s.is(1.0)) && shift.iter().all(|t| t.is(0.0)) {
        return Ok(x);
    }
    let kept = || scale.iter().all(|&s| Charge::default().weight(s).is_some());
    let wanted = match merge {
        Merge::Always | Merge::Free => true,
        Merge::Needed => !kept(),
    };
    if b.merging && wanted && merged(b, &x, [scale, shift], &ratios, merge == Merge::Free) {
        return Ok(x);
    }
    layer(b, op, x, scale, shift, ratios)
}

/// Puts the constants into the weights of the layer that makes `x`, which nothing else reads. False, and nothing is
/// changed, if that layer has no weights, has charges already, or holds a weight that no f32 comes near.
fn merged(b: &mut Builder, x: &Live, [scale, shift]: [&[Near]; 2], ratios: &Option<Vec<Ratio>>, free: bool) -> bool {
    if !x.sole || x.id == 0 || b.folded.iter().any(|f| f.node + 1 == x.id) {
        return false;
    }
    let layer = &mut b.nodes[x.id - 1].layer;
    let Some([weight, bias]) = layer.affine_mut() else { return false };
    let out = bias.len();
    let (Some(scale), Some(shift)) = (per_output(scale, out), per_output(shift, out)) else { return false };
    let mut charge = Charge::default();
    let factor = |(k, &w): (usize, &f32)| charge.weight(Near::from(w) * scale[k * out / weight.len()]);
    let Some(new) = weight.iter().enumerate().map(factor).collect::<Option<Vec<f32>>>() else { return false };
    let biases = bias.iter().zip(scale.iter().zip(&shift));
    let constant = |(&v, (&s, &t)): (&f32, (&Near, &Near))| charge.shift(Near::from(v) * s + t);
    let Some(biases) = biases.map(constant).collect::<Option<Vec<f32>>>() else { return false };
    if free && !charge.is_free() {
        return false;
    }
    let ratios = ratios.as_ref().filter(|_| !charge.is_free());
    let origin = ratios.map(|ratios| Origin { layer: Some(layer.clone()), ratios: ratios.clone() });
    if let Some([weight, bias]) = layer.affine_mut() {
        (*weight, *bias) = (new, biases);
    }
    b.folded.extend(charge.folding(x.id - 1, origin));
    true
}

/// One constant for each of `out` groups of consecutive values, if every group has one.
fn per_output(values: &[Near], out: usize) -> Option<Vec<Near>> {
    let n = values.len();
    if out.is_multiple_of(n) {
        return Some((0..out).map(|o| values[o / (out / n)]).collect());
    }
    let groups = values.chunks_exact(n / out).take(if n.is_multiple_of(out) { out } else { 0 });
    let constants: Vec<Near> = groups.filter(|g| g.iter().all(|v| v == &g[0])).map(|g| g[0]).collect();
    (constants.len() == out).then_some(constants)
}

/// A layer of their own. A factor beyond the range of f32 is a power of two, of which f32 is sure, times one within it.
fn layer(
    b: &mut Builder,
    op: &Op,
    x: Live,
    scale: &[Near],
    shift: &[Near],
    ratios: Option<Vec<Ratio>>,
) -> OnnxResult<Live> {
    let n = x.len();
    let each = n / scale.len();
    b.spend(op, 2 * n)?;
    let spread = |v: &[f32]| -> Vec<f32> { (0..n).map(|k| v[k / each]).collect() };
    let mut charge = Charge::default();
    let (mut powers, mut factors) = (vec![], vec![]);
    for &s in scale {
        let power = match charge.weight(s) {
            Some(_) => 1.0,
            None if s.value.abs() < 1.0 => FAR.recip(),
            None => FAR,
        };
        let Some(factor) = charge.weight(s * Near::from(1.0 / power)) else {
            return op.fail(format!("no 32 bit float comes near its factor {:e}; export the network again", s.value));
        };
        powers.push(power);
        factors.push(factor);
    }
    let shift = spread(&shifts(op, shift, &mut charge)?);
    let mut from = x.id;
    if powers.iter().any(|&p| p != 1.0) {
        b.spend(op, 2 * n)?;
        let layer = Layer::Scale { scale: spread(&powers), shift: vec![0.0; n] };
        from = b.push(op, layer, vec![from], x.dims.clone())?.id;
    }
    let live = b.push(op, Layer::Scale { scale: spread(&factors), shift }, vec![from], x.dims)?;
    // Of two steps, none is the whole.
    let origin = ratios.filter(|_| from == x.id).map(|ratios| Origin { layer: None, ratios });
    b.folded.extend(charge.folding(live.id - 1, origin));
    Ok(live)
}

/// With it and its inverse, the product of two f32 reaches far beyond the range of one.
const FAR: f32 = (1u128 << 120) as f32;

/// Constants to be added, as f32.
pub fn shifts(op: &Op, values: &[Near], charge: &mut Charge) -> OnnxResult<Vec<f32>> {
    let stored = |&v: &Near| {
        let error =
            || op.error(format!("its constant {:e} does not fit into 32 bits; export the network again", v.value));
        charge.shift(v).ok_or_else(error)
    };
    values.iter().map(stored).collect()
}
