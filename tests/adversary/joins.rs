//! Every small graph in which one affine value is read by two or three layers whose paths cancel behind a join. The
//! coefficients are large, what is left of them is small: a rounding that is charged against what is left, rather than
//! where it happens, comes to light.

use rayon::prelude::*;

use deltamax::bounds::Method;
use deltamax::model::{Layer, Model, Pool, Source};
use deltamax::rng::Rng;
use deltamax::tensor::Shape;

use crate::ask::{Judge, Tally};
use crate::nets::{dense, finish, model, push};
use crate::truth::Truth;

/// Who reads the affine value `h = (h0, h1)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reader {
    Relu,
    /// The rectifier of the opposite.
    Opposite,
    Concat,
    /// The sum with another affine value.
    Add,
    Slice,
    MaxPool,
}

const READERS: [Reader; 6] =
    [Reader::Relu, Reader::Opposite, Reader::Concat, Reader::Add, Reader::Slice, Reader::MaxPool];

/// How the paths come together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Join {
    /// A concatenation and a dense layer.
    Dense,
    /// Factors, and a chain of additions.
    Sum,
}

/// The graph; its class 1 is lost somewhere above the image, if nothing but rounding is in the way.
pub fn graph(readers: &[Reader], join: Join, rectified: bool, rng: &mut Rng) -> Model {
    let mut m = model(Shape::new(1, 1, 1));
    let size = 10f32.powf(rng.range(5.5, 10.0));
    // Kinks among the images, or so near to zero that a rectifier's line all but passes values on; `h0 > h1` behind.
    let kink = if rng.below(3) == 0 { rng.range(-0.2, 0.3) } else { rng.range(-1e-6, 5e-6) };
    let h = [size * rng.range(0.8, 1.2), size * rng.range(0.3, 0.6)];
    let h = push(&mut m, dense(&h, &[-kink * h[0], -kink * h[1] - rng.unit_or(size)]), &[0], Shape::flat(2));
    let pair = Shape::flat(2);
    let mut parts = vec![];
    for reader in readers {
        let part = match reader {
            Reader::Relu => push(&mut m, Layer::Relu, &[h], pair),
            Reader::Opposite => {
                let minus = Layer::Scale { scale: vec![-1.0; 2], shift: vec![0.0; 2] };
                let minus = push(&mut m, minus, &[h], pair);
                push(&mut m, Layer::Relu, &[minus], pair)
            }
            Reader::Concat => h,
            Reader::Add => {
                let other = push(&mut m, dense(&[rng.range(-1.0, 1.0), 1.0], &[0.5, 0.0]), &[0], pair);
                push(&mut m, Layer::Add, &[h, other], pair)
            }
            Reader::Slice => {
                let first = Layer::Gather(vec![Some(Source { input: 0, index: 0 })]);
                push(&mut m, first, &[h], Shape::flat(1))
            }
            Reader::MaxPool => {
                let both = (0..2).map(|index| Some(Source { input: 0, index })).collect();
                let row = push(&mut m, Layer::Gather(both), &[h], Shape::new(1, 1, 2));
                let pool = Pool { kernel: [1, 2], stride: [1, 2], pad: [0, 0], count_include_pad: false };
                push(&mut m, Layer::MaxPool(pool), &[row], Shape::flat(1))
            }
        };
        parts.push(part);
    }
    // Of h0 on every path little is left: the last of those that pass it on takes off what the others sum up to.
    let near = |rng: &mut Rng| (1.0 + rng.range(-1e-5, 1e-5)) * [1.0, -1.0][rng.below(2)];
    let mut factors: Vec<f32> = parts.iter().map(|_| near(rng)).collect();
    let passing: Vec<usize> = (0..readers.len()).filter(|&k| readers[k] != Reader::Opposite).collect();
    if let Some((&last, others)) = passing.split_last().filter(|(_, others)| !others.is_empty()) {
        factors[last] = -others.iter().map(|&k| factors[k]).sum::<f32>() + rng.range(-3e-6, 3e-6);
    }
    let total = match join {
        Join::Dense => {
            let lengths: Vec<usize> = parts.iter().map(|&v| m.shape(v).len()).collect();
            let part = |(input, &n): (usize, &usize)| {
                (0..n).map(move |index| Some(Source { input: input as u32, index: index as u32 }))
            };
            let map: Vec<Option<Source>> = lengths.iter().enumerate().flat_map(part).collect();
            let weight: Vec<f32> =
                lengths.iter().zip(&factors).flat_map(|(&n, &f)| [f, 0.0].into_iter().take(n)).collect();
            let all = Shape::flat(map.len());
            let all = push(&mut m, Layer::Gather(map), &parts, all);
            push(&mut m, dense(&weight, &[0.0]), &[all], Shape::flat(1))
        }
        Join::Sum => {
            let mut total = None;
            for (&part, &factor) in parts.iter().zip(&factors) {
                let n = m.shape(part).len();
                let first = Layer::Gather(vec![Some(Source { input: 0, index: 0 })]);
                let first = if n == 1 { part } else { push(&mut m, first, &[part], Shape::flat(1)) };
                let scaled = Layer::Scale { scale: vec![factor], shift: vec![0.0] };
                let scaled = push(&mut m, scaled, &[first], Shape::flat(1));
                total = Some(match total {
                    None => scaled,
                    Some(sum) => push(&mut m, Layer::Add, &[sum, scaled], Shape::flat(1)),
                });
            }
            total.expect("a reader at least")
        }
    };
    // Where the class is to be lost.
    let at = [0.9995, rng.range(0.6, 0.95)][rng.below(2)];
    let truth = Truth { outputs: vec![], ..Truth::of(&m) };
    let there = Truth { outputs: vec![truth.scalars.len() - 1], ..truth }.at(&[at])[0].near() as f32;
    let sign = [1.0, -1.0][rng.below(2)];
    let scaled = Layer::Scale { scale: vec![sign], shift: vec![-sign * there] };
    let mut v = push(&mut m, scaled, &[total], Shape::flat(1));
    if rectified {
        v = push(&mut m, Layer::Relu, &[v], Shape::flat(1));
    }
    push(&mut m, dense(&[65536.0, 0.0], &[0.0, 1.0]), &[v], Shape::flat(2));
    finish(m)
}

trait UnitOr {
    fn unit_or(&mut self, size: f32) -> f32;
}

impl UnitOr for Rng {
    /// Something of the order of one, or of `size`.
    fn unit_or(&mut self, size: f32) -> f32 {
        if self.below(2) == 0 { self.uniform() } else { 0.1 * size * self.uniform() }
    }
}

/// Lists of two or three different readers, in every order that matters.
fn lists() -> Vec<Vec<Reader>> {
    let mut lists = vec![];
    for (i, &a) in READERS.iter().enumerate() {
        for (j, &b) in READERS.iter().enumerate().skip(i + 1) {
            lists.push(vec![a, b]);
            lists.extend(READERS[j + 1..].iter().map(|&c| vec![a, b, c]));
        }
    }
    lists
}

/// Judges `draws` networks of every graph.
pub fn run(draws: u64) -> (Tally, Vec<String>) {
    let mut graphs = vec![];
    for readers in lists() {
        for join in [Join::Dense, Join::Sum] {
            graphs.extend([true, false].map(|rectified| (readers.clone(), join, rectified)));
        }
    }
    let one = |(g, (readers, join, rectified)): (usize, &(Vec<Reader>, Join, bool))| {
        let mut all = (Tally::default(), vec![]);
        for draw in 0..draws {
            let mut rng = Rng::new(draw, g as u64);
            let m = graph(readers, *join, *rectified, &mut rng);
            let truth = Truth::of(&m);
            let images = vec![vec![0.5], vec![rng.uniform()], vec![0.0], vec![0.002]];
            let mut judge = Judge::new(&m, &truth, &images);
            judge.certify(&[Method::CrownIbp, Method::Crown, Method::Alpha], draw % 4 == 0);
            if let Some(fault) = judge.tally.faults.first() {
                let what =
                    format!("{readers:?} {join:?} {rectified} draw {draw}: {} {}\n  {m:?}", fault.by, fault.what);
                all.1.push(what);
            }
            judge.tally.count("networks");
            if judge.tally.of("crown proved") > 0 {
                judge.tally.count("networks proved by crown");
            }
            all.0 = all.0.merge(judge.tally);
        }
        all
    };
    let merge = |a: (Tally, Vec<String>), b: (Tally, Vec<String>)| (a.0.merge(b.0), [a.1, b.1].concat());
    graphs.par_iter().enumerate().map(one).reduce(Default::default, merge)
}
