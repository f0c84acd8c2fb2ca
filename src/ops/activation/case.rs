//! Test cases of the activation kernels: bounds are judged against the function in f64.

use super::{BACKWARD, Curves, FOLLOW, FORWARD, INTERVAL, RELAX, backward, follow, forward, interval, relax};
use crate::model::activation::{Abs, Activation, Clip, HardSigmoid, HardSwish, LeakyRelu, Sigmoid, Tanh};
use crate::ops::case::{Case, Check, blank, random, rows, words};
use crate::ops::linear::RELAX as WORDS;
use crate::rng::Rng;

/// Values per curve, where there are several.
const PLANE: usize = 3;

fn settings() -> Vec<(&'static str, Vec<Activation>)> {
    let leaky = |slope| Activation::LeakyRelu(LeakyRelu { slope });
    let clip = |low, high| Activation::Clip(Clip { low, high });
    let hard = |alpha, beta| Activation::HardSigmoid(HardSigmoid { alpha, beta });
    vec![
        ("leaky rectifier", vec![leaky(0.01)]),
        ("a rectifier per channel", vec![leaky(0.25), leaky(-0.5), leaky(1.5), leaky(0.0)]),
        ("clip", vec![clip(0.0, 6.0)]),
        ("clip from above", vec![clip(f32::NEG_INFINITY, 0.3)]),
        ("absolute value", vec![Activation::Abs(Abs)]),
        ("hard sigmoid", vec![hard(0.2, 0.5)]),
        ("hard sigmoid, falling", vec![hard(-0.3, 0.1)]),
        ("hard swish", vec![Activation::HardSwish(HardSwish)]),
        ("sigmoid", vec![Activation::Sigmoid(Sigmoid)]),
        ("tanh", vec![Activation::Tanh(Tanh)]),
    ]
}

/// Centres and radii from a hair to far beyond where anything happens.
fn ranges(rng: &mut Rng, n: usize) -> [Vec<f32>; 2] {
    let centre = |rng: &mut Rng| rng.range(-1.0, 1.0) * 10f32.powf(rng.range(-2.0, 1.5));
    let radius = |rng: &mut Rng| match rng.below(8) {
        0 => 0.0,
        1 => rng.uniform() * 1e3,
        _ => 10f32.powf(rng.range(-6.0, 1.0)),
    };
    [(0..n).map(|_| centre(rng)).collect(), (0..n).map(|_| radius(rng)).collect()]
}

/// Places of the range where the claim is tried.
fn places(c: f32, r: f32) -> impl Iterator<Item = f64> {
    (0..=64).map(move |t| f64::from(c) + f64::from(r) * (f64::from(t) / 32.0 - 1.0))
}

/// Smallest and largest value over a range, as far as the places tell.
fn extent(f: &Activation, c: f32, r: f32) -> [f64; 2] {
    let kinks = f.function().pieces().into_iter().map(|p| p.from).filter(|x| (x - f64::from(c)).abs() <= f64::from(r));
    let values = places(c, r).chain(kinks).map(|x| f.value(x));
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[l, h], y| [l.min(y), h.max(y)])
}

pub(in crate::ops) fn cases() -> Vec<Case> {
    let mut rng = Rng::new(77, 0);
    let lanes = 16;
    let mut cases = Vec::new();
    for (label, f) in settings() {
        let elements = f.len() * PLANE;
        let n = elements * lanes;
        let of = {
            let f = f.clone();
            move |i: usize| if f.len() == 1 { f[0] } else { f[i / lanes / PLANE] }
        };
        let [xc, xr] = ranges(&mut rng, n);
        let (x, gy) = (xc.clone(), random(&mut rng, n));
        let (values, own) = (x.clone(), of.clone());
        let near = move |written: &[Vec<f32>]| {
            let off = |(i, (y, x)): (usize, (&f32, &f32))| {
                let exact = own(i).value(f64::from(*x));
                let far = (f64::from(*y) - exact).abs() > 1e-5 + 1e-6 * exact.abs();
                far.then(|| format!("f({x}) = {exact}, not {y}"))
            };
            written[0].iter().zip(&values).enumerate().filter_map(off).collect()
        };
        let curves = f.clone();
        cases.push(Case::new(
            &FORWARD,
            label,
            vec![x.clone()],
            vec![blank(n)],
            Check::Holds(Box::new(near)),
            move |d, r, w| forward(d, &Curves::new(d, &curves, PLANE)?, &r[0], &w[0], lanes),
        ));
        let curves = f.clone();
        let reads = vec![x, gy.clone()];
        let close = Check::Value { abs: 1e-6, rel: 1e-6 };
        cases.push(Case::new(&BACKWARD, label, reads, vec![blank(n)], close, move |d, r, w| {
            backward(d, &Curves::new(d, &curves, PLANE)?, &r[0], &r[1], &w[0], lanes)
        }));
        let (own, [cs, rs]) = (of.clone(), [xc.clone(), xr.clone()]);
        let contains = move |written: &[Vec<f32>]| {
            let fault = |i: usize| {
                let [low, high] = extent(&own(i), cs[i], rs[i]);
                let (c, r) = (f64::from(written[0][i]), f64::from(written[1][i]));
                // Places between those that were tried may reach a little further.
                let loose = (high - low) * 1.01 + 1e-4 + 1e-5 * high.abs().max(low.abs()).max(f64::from(cs[i].abs()));
                let fits = c - r <= low && high <= c + r && 2.0 * r <= loose;
                (!fits).then(|| format!("over {} +- {}: {c} +- {r} for [{low}, {high}]", cs[i], rs[i]))
            };
            (0..cs.len()).filter_map(fault).collect()
        };
        let curves = f.clone();
        cases.push(Case::new(
            &INTERVAL,
            label,
            vec![xc.clone(), xr.clone()],
            vec![blank(n), blank(n)],
            Check::Holds(Box::new(contains)),
            move |d, r, w| interval(d, &Curves::new(d, &curves, PLANE)?, &r[0], &r[1], &w[0], &w[1], lanes, 0.0),
        ));
        let (own, [cs, rs]) = (of, [xc.clone(), xr.clone()]);
        let bounds = move |written: &[Vec<f32>]| {
            let fault = |i: usize| {
                let (k, lane) = (i / lanes, i % lanes);
                let at = lane * elements + k;
                let [over, head, under, size] = std::array::from_fn(|j| f64::from(written[0][at * WORDS + j]));
                let foot = f64::from(written[1][at]);
                let f = own(i);
                let outside = places(cs[i], rs[i]).find(|&x| {
                    let slack = 1e-13 * (1.0 + x.abs() * f.function().steepest());
                    f.value(x) > over * x + head + slack || f.value(x) < under * x + foot - slack
                });
                let [low, high] = extent(&f, cs[i], rs[i]);
                let c = f64::from(cs[i]);
                // In the middle no line need be further from another than the function is long.
                let loose = (high - low) * 1.01 + 2e-4 + 2e-5 * (c.abs() + f64::from(rs[i])) * f.function().steepest();
                let wide = (over * c + head) - (under * c + foot) > loose;
                let fault = outside.is_some() || wide || size != c;
                fault.then(|| {
                    let lines = format!("{over} x + {head} and {under} x + {foot}, {size}");
                    format!("over {c} +- {}: {lines}; outside at {outside:?}, too wide: {wide}", rs[i])
                })
            };
            (0..cs.len()).filter_map(fault).collect()
        };
        let curves = f;
        cases.push(Case::new(
            &RELAX,
            label,
            vec![xc.clone(), xr, xc],
            vec![blank(n * WORDS), blank(n)],
            Check::Holds(Box::new(bounds)),
            move |d, r, w| relax(d, &Curves::new(d, &curves, PLANE)?, [&r[0], &r[1]], &r[2], [&w[0], &w[1]], lanes),
        ));
    }
    let n = 5 * lanes;
    let [a, z, table, feet] = [n, n, n * WORDS, n].map(|n| random(&mut rng, n));
    let images = words(&(0..3 * lanes).map(|_| rng.below(lanes) as u32).collect::<Vec<_>>());
    let close = Check::Value { abs: 1e-6, rel: 1e-6 };
    cases.push(Case::new(
        &FOLLOW,
        "5 elements",
        vec![a, z, table, feet, images],
        vec![blank(n)],
        close,
        move |d, r, w| follow(d, &r[0], &r[1], [&r[2], &r[3]], &rows(d, &r[4], lanes)?, &w[0]),
    ));
    cases
}
