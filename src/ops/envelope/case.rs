//! Test cases of these kernels.

use super::{ENDS, ENDS_WORDS, JOIN, Layer, MAGNITUDE, MOVE, POINT, TAKE, TAKEN, THROUGH};
use crate::device::Buffer;
use crate::ops::case::{Case, Check, blank, random, rows, whole_rows, words};
use crate::ops::linear::{RELAX, SLICES};
use crate::ops::relax::relu_lines;
use crate::rng::Rng;
use crate::tensor::Shape;

const IMAGES: usize = 16;
const LANES: usize = 48;
const NEURONS: usize = 7;

/// A layer over boxes, and rows above it.
#[derive(Clone)]
struct Setting {
    inputs: usize,
    weight: Vec<f32>,
    bias: Vec<f32>,
    centre: Vec<f32>,
    radius: Vec<f32>,
    anchor: Vec<f32>,
    ends: Vec<f32>,
    lines: Vec<f32>,
    above: Vec<f32>,
    image: Vec<usize>,
}

impl Setting {
    fn new(inputs: usize, rng: &mut Rng) -> Setting {
        let weight = random(rng, inputs * NEURONS);
        let bias: Vec<f32> = (0..NEURONS).map(|_| 0.3 * rng.normal()).collect();
        let centre: Vec<f32> = (0..IMAGES * inputs).map(|_| 0.1 * rng.normal()).collect();
        let radius: Vec<f32> = (0..IMAGES * inputs).map(|_| 0.2 * rng.uniform()).collect();
        // Some have not moved.
        let anchor = |i: usize, rng: &mut Rng| if (i / inputs).is_multiple_of(4) { 0.0 } else { rng.range(-0.7, 0.7) };
        let anchor = (0..IMAGES * inputs).map(|i| anchor(i, rng)).collect();
        let (mut ends, mut lines) = (vec![], vec![]);
        for at in 0..IMAGES * NEURONS {
            let (image, neuron) = (at / NEURONS * inputs, at % NEURONS);
            let (mut middle, mut span, mut size) = (bias[neuron], 0.0, bias[neuron].abs());
            for k in 0..inputs {
                let (w, c, r) = (weight[k * NEURONS + neuron], centre[image + k], radius[image + k]);
                (middle, span, size) = (middle + w * c, span + w.abs() * r, size + w.abs() * (c.abs() + r));
            }
            ends.extend([middle + span, span]);
            let [slope, intercept, lower] = relu_lines(middle - span, middle + span);
            lines.extend([slope, intercept, lower, size]);
        }
        let image = (0..LANES).map(|l| if l < 16 { 1 } else { (l / 3) % IMAGES }).collect();
        let above = random(rng, NEURONS * LANES);
        Setting { inputs, weight, bias, centre, radius, anchor, ends, lines, above, image }
    }

    /// The line of a neuron for a row by its shift: its slopes, and what it is at the centre at least.
    fn line(&self, neuron: usize, lane: usize, shift: f32) -> (Vec<f64>, f64) {
        let image = self.image[lane] * self.inputs;
        let (mut slopes, mut held) = (vec![], 0.0);
        for k in 0..self.inputs {
            let w = self.weight[k * NEURONS + neuron];
            let anchor = self.anchor[image + k];
            let theta = f64::from((shift - if w < 0.0 { -anchor } else { anchor }).clamp(0.0, 1.0));
            slopes.push(theta * f64::from(w));
            held += theta * f64::from(w.abs()) * f64::from(self.radius[image + k]);
        }
        let most = f64::from(self.ends[(self.image[lane] * NEURONS + neuron) * ENDS_WORDS]);
        (slopes, (most - 2.0 * held).max(0.0) + held)
    }

    /// The neuron, and a line by its slopes and constant, at a point of the box of a row.
    fn values(&self, neuron: usize, lane: usize, line: &(Vec<f64>, f64), point: &[f64]) -> [f64; 2] {
        let image = self.image[lane] * self.inputs;
        let (mut z, mut above) = (f64::from(self.bias[neuron]), line.1);
        for (k, share) in point.iter().enumerate() {
            let (c, by) = (f64::from(self.centre[image + k]), share * f64::from(self.radius[image + k]));
            z += f64::from(self.weight[k * NEURONS + neuron]) * (c + by);
            above += line.0[k] * by;
        }
        [z.max(0.0), above]
    }

    /// What was taken of a row, and by which shift.
    fn takes(&self, rng: &mut Rng) -> Vec<f32> {
        let taken = |i: usize, rng: &mut Rng| match i / (NEURONS * LANES) {
            0 if i / LANES % NEURONS == 2 => 0.0,
            0 => rng.range(-1.0, 0.0),
            1 => rng.range(0.0, 1.0),
            _ => rng.uniform(),
        };
        (0..TAKEN * NEURONS * LANES).map(|i| taken(i, rng)).collect()
    }
}

/// The layer by its buffers: weight, bias, centre, radius.
fn layer(inputs: usize, r: &[Buffer]) -> Layer<'_> {
    Layer { input: Shape::flat(inputs), neurons: NEURONS, weight: &r[0], bias: &r[1], centre: &r[2], radius: &r[3] }
}

pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(29, 0);
    [5, 300].into_iter().flat_map(|n| setting_cases(&Setting::new(n, &mut rng), &mut rng)).collect()
}

fn setting_cases(s: &Setting, rng: &mut Rng) -> Vec<Case> {
    let (n, label) = (s.inputs, format!("{} inputs", s.inputs));
    let base = || vec![s.weight.clone(), s.bias.clone(), s.centre.clone(), s.radius.clone()];
    let with = |more: &[Vec<f32>]| [base(), more.to_vec()].concat();
    let close = || Check::Value { abs: 2e-5, rel: 1e-5 };
    let taken = s.takes(rng);
    let own = random(rng, n * LANES);
    let a = random(rng, n * LANES);
    let sums: Vec<f32> = (0..2 * SLICES * LANES).map(|_| 1e-3 * rng.uniform()).collect();
    let points: Vec<Vec<f64>> = (0..40)
        .map(|i| {
            (0..n)
                .map(|_| f64::from(if i % 2 == 0 { rng.range(-1.0, 1.0).signum() } else { rng.range(-1.0, 1.0) }))
                .collect()
        })
        .collect();
    vec![
        Case::new(&ENDS, &label, base(), vec![blank(IMAGES * NEURONS * ENDS_WORDS)], close(), move |d, r, w| {
            layer(n, r).ends(d, &w[0])
        }),
        Case::new(
            &TAKE,
            &label,
            with(&[s.anchor.clone(), s.ends.clone(), s.lines.clone(), whole_rows(&s.image)]),
            vec![s.above.clone(), blank(TAKEN * NEURONS * LANES)],
            taken_well(s.clone(), points),
            move |d, r, w| layer(n, r).take(d, &r[4], &r[5], &r[6], &rows(d, &r[7], LANES)?, &w[0], &w[1]),
        ),
        Case::new(
            &THROUGH,
            &label,
            with(&[s.anchor.clone(), taken.clone(), whole_rows(&s.image)]),
            vec![blank(n * LANES)],
            close(),
            move |d, r, w| layer(n, r).through(d, &r[5], &r[4], &rows(d, &r[6], LANES)?, &w[0]),
        ),
        Case::new(
            &JOIN,
            &label,
            with(&[taken.clone(), own.clone(), s.lines.clone(), whole_rows(&s.image)]),
            vec![a.clone(), sums.clone()],
            joined_well(s.clone(), [taken, own, a, sums]),
            move |d, r, w| layer(n, r).join(d, &r[4], &r[5], &r[6], &rows(d, &r[7], LANES)?, [&w[0], &w[1]], 1e-3),
        ),
        Case::new(
            &MOVE,
            &label,
            with(&[random(rng, n * IMAGES), words(&(0..3 * IMAGES as u32).collect::<Vec<_>>())]),
            vec![s.anchor.clone()],
            close(),
            move |d, r, w| layer(n, r).move_anchor(d, &r[4], &rows(d, &r[5], IMAGES)?, &w[0], 0.3),
        ),
        Case::new(
            &POINT,
            &label,
            with(&[s.anchor.clone(), whole_rows(&s.image)]),
            vec![blank(n * LANES)],
            close(),
            move |d, r, w| layer(n, r).point(d, &r[4], &rows(d, &r[5], LANES)?, &w[0]),
        ),
    ]
}

/// Lines that are taken are above the ReLU wherever in the box, and nearer where the anchor points to; what is not taken
/// stays as it was.
fn taken_well(s: Setting, points: Vec<Vec<f64>>) -> Check {
    let plane = NEURONS * LANES;
    let fault = move |out: &[Vec<f32>], neuron: usize, lane: usize| -> Option<String> {
        let at = neuron * LANES + lane;
        let [coefficient, shift, constant] = [0, 1, 2].map(|part| out[1][part * plane + at]);
        if coefficient == 0.0 {
            let same = out[0][at].to_bits() == s.above[at].to_bits();
            return (!same).then(|| "is not taken, and changed".to_string());
        }
        let moved = !s.image[lane].is_multiple_of(4);
        if coefficient != s.above[at] || out[0][at] != 0.0 || !(coefficient < 0.0 && moved) {
            return Some(format!("is taken as {coefficient}, was {}", s.above[at]));
        }
        let line = s.line(neuron, lane, shift);
        if (line.1 - f64::from(constant)).abs() > 1e-4 {
            return Some(format!("has the constant {constant}, should have {}", line.1));
        }
        let under = points.iter().map(|point| s.values(neuron, lane, &line, point)).find(|[z, y]| *y < z - 1e-4);
        let line_at = (s.image[lane] * NEURONS + neuron) * RELAX;
        let corner: Vec<f64> = (0..s.inputs)
            .map(|k| f64::from((s.anchor[s.image[lane] * s.inputs + k] / super::ARRIVED).clamp(-1.0, 1.0)))
            .collect();
        // The neuron itself there, and not what it lets through.
        let z = s.values(neuron, lane, &(s.line(neuron, lane, 9.0).0, 0.0), &corner)[1];
        let middle = s.ends[line_at / RELAX * ENDS_WORDS] - s.ends[line_at / RELAX * ENDS_WORDS + 1];
        let triangle = f64::from(s.lines[line_at]) * (f64::from(middle) + z) + f64::from(s.lines[line_at + 1]);
        let there = s.values(neuron, lane, &line, &corner)[1];
        under
            .map(|[z, y]| format!("has a line of {y} over {z}"))
            .or((there > triangle + 1e-4).then(|| format!("comes to {there} where the triangle has {triangle}")))
    };
    Check::Holds(Box::new(move |out| {
        let all = (0..NEURONS).flat_map(|neuron| (0..LANES).map(move |lane| (neuron, lane)));
        let mut faults: Vec<String> = all
            .filter_map(|(neuron, lane)| Some(format!("neuron {neuron}, row {lane} {}", fault(out, neuron, lane)?)))
            .collect();
        if out[1][..plane].iter().filter(|c| **c != 0.0).count() < plane / 16 {
            faults.push("hardly any line is taken".into());
        }
        faults
    }))
}

/// Coefficients and constants are sums within what is charged, and the charge is hardly more than it has to be.
fn joined_well(s: Setting, [taken, own, a, before]: [Vec<f32>; 4]) -> Check {
    let plane = NEURONS * LANES;
    Check::Holds(Box::new(move |out| {
        let total = |sums: &[f32], lane: usize, part: usize| -> f64 {
            (0..SLICES).map(|slice| f64::from(sums[(2 * slice + part) * LANES + lane])).sum()
        };
        let fault = |lane: usize| {
            let image = s.image[lane];
            let (mut constant, mut charge) = (total(&before, lane, 0), total(&before, lane, 1));
            for k in 0..s.inputs {
                constant -= f64::from(own[k * LANES + lane]) * f64::from(s.centre[image * s.inputs + k]);
            }
            for neuron in 0..NEURONS {
                let at = neuron * LANES + lane;
                constant += f64::from(taken[at]) * f64::from(taken[2 * plane + at]);
                let size = s.lines[(image * NEURONS + neuron) * RELAX + MAGNITUDE];
                charge += 1e-3 * f64::from(taken[at].abs()) * f64::from(size);
            }
            let (have, charged) = (total(&out[1], lane, 0), total(&out[1], lane, 1));
            let sums = (0..s.inputs).all(|k| {
                let at = k * LANES + lane;
                (out[0][at] - (a[at] + own[at])).abs() <= 1e-6
            });
            let good = sums && (have - constant).abs() <= 1e-4 && charged >= charge && charged <= 1.02 * charge + 1e-3;
            (!good).then(|| format!("row {lane}: {have} for {constant}, charged {charged} for {charge}"))
        };
        (0..LANES).filter_map(fault).collect()
    }))
}
