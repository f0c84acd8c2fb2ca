//! Test cases of the kernels for rows of linear bounds: patches that hang over the layer, and whole layers.

use super::{AFFINE, CONCRETIZE, DENSIFY, LIFT, NEGATED, NONE, PICK, RADIUS, RELAX, RELU, SEED, SLICES, Window};
use super::{Ball, affine, concretize, densify, lift, pick, radius, relu, seed};
use crate::ops::case::{Case, Check, blank, random, rows, words};
use crate::ops::ellipsoid::{FARTHEST_POINT, LEAST, ellipsoid, farthest};
use crate::rng::Rng;
use crate::rounding::sum_error;
use crate::tensor::Shape;

const LANES: usize = 48;

/// A window with its rows, and the layer element behind every element of every row's window.
#[derive(Clone)]
struct Setting {
    label: &'static str,
    window: Window,
    /// How many there are, in the order of the rows.
    images: usize,
    rows: Vec<u32>,
}

impl Setting {
    /// Rows for neurons from `first` on, over so many images.
    fn new(label: &'static str, images: usize, window: Window, first: [usize; 2], rng: &mut Rng) -> Setting {
        let image = (0..LANES).map(|lane| (lane * images / LANES) as u32);
        let mut place = || first.map(|at| (at + rng.below(3)) as u32);
        // The last sixteen rows look at two places only.
        let shared = [place(), place()];
        let places: Vec<[u32; 2]> =
            (0..LANES).map(|l| if l < LANES - 16 { place() } else { shared[l / 5 % 2] }).collect();
        let rows = image.chain(places.iter().map(|p| p[0])).chain(places.iter().map(|p| p[1])).collect();
        Setting { label, window, images, rows }
    }

    /// `(element of the window, element of the layer)` for everything inside the layer.
    fn inside(&self, lane: usize) -> Vec<(usize, usize)> {
        let w = &self.window;
        let place = |d: usize| self.rows[(1 + d) * LANES + lane] as isize;
        let at = |d: usize, i: usize| place(d) * w.step[d] as isize - w.offset[d] + i as isize;
        let mut pairs = Vec::new();
        for k in 0..w.elements() {
            let (c, y, x) = (k / (w.size[0] * w.size[1]), k / w.size[1] % w.size[0], k % w.size[1]);
            let (y, x) = (at(0, y), at(1, x));
            if (0..w.layer.height as isize).contains(&y) && (0..w.layer.width as isize).contains(&x) {
                pairs.push((k, (c * w.layer.height + y as usize) * w.layer.width + x as usize));
            }
        }
        pairs
    }

    fn image(&self, lane: usize) -> usize {
        self.rows[lane] as usize
    }

    fn rows_word(&self) -> Vec<f32> {
        words(&self.rows)
    }
}

/// Test cases of the linear-bound kernels.
pub(in crate::ops) fn cases() -> Vec<Case> {
    let mut rng = Rng::new(7, 0);
    let small = Window::dense(Shape::new(2, 3, 5));
    let long = Window::dense(Shape::flat(600));
    let patch = Window { layer: Shape::new(3, 4, 6), size: [3, 2], step: [2, 1], offset: [1, 1] };
    // Neurons at the far end of layers too wide and too tall for sixteen bits.
    let wide = Window { layer: Shape::new(1, 2, 65_540), size: [2, 3], step: [1, 1], offset: [1, 1] };
    let tall = Window { layer: Shape::new(1, 65_540, 1), size: [3, 1], step: [1, 1], offset: [1, 0] };
    let settings = [
        ("whole layer", 3, small, [0, 0]),
        ("whole layer, many blocks", 3, long, [0, 0]),
        ("patch over the edge", 3, patch, [0, 0]),
        ("patch of a wide layer", 3, wide, [0, 65_538]),
        ("patch of a tall layer", 3, tall, [65_538, 0]),
        ("whole layer, an image for every row", LANES, small, [0, 0]),
    ]
    .map(|(label, images, window, first)| Setting::new(label, images, window, first, &mut rng));
    let mut cases: Vec<Case> = settings.iter().flat_map(|s| setting_cases(s, &mut rng)).collect();
    // Part of a larger patch, the same for every row.
    let larger = Window { size: [4, 3], offset: [2, 0], ..patch };
    let around = patch.around(&larger).expect("both are patches of one layer");
    let inner = patch.within(&around);
    let reads = vec![random(&mut rng, inner.elements() * LANES), settings[2].rows_word()];
    let to = vec![blank(around.elements() * LANES)];
    cases.push(Case::new(&DENSIFY, "patch within a patch", reads, to, Check::Exact, move |d, r, w| {
        densify(d, &inner, &r[0], &rows(d, &r[1], LANES)?, &w[0])
    }));
    let source: Vec<u32> = (0..16).map(|i| if i % 5 == 4 { NONE } else { rng.below(LANES) as u32 }).collect();
    let reads = vec![random(&mut rng, 7 * LANES), words(&source)];
    cases.push(Case::new(&PICK, "16 of 48 rows", reads, vec![random(&mut rng, 7 * 16)], Check::Exact, |d, r, w| {
        pick(d, &r[0], &d.upload(&d.read::<u32>(&r[1])?)?, &w[0], [LANES, 16])
    }));
    cases
}

fn setting_cases(s: &Setting, rng: &mut Rng) -> Vec<Case> {
    let (n, layer) = (s.window.elements(), s.window.layer.len());
    let window = s.window;
    let a = random(rng, n * LANES);
    let sums: Vec<f32> = (0..2 * SLICES * LANES)
        .map(|i| if (i / LANES).is_multiple_of(2) { rng.range(-1.0, 1.0) } else { 1e-5 * rng.uniform() })
        .collect();
    let table: Vec<f32> = (0..s.images * layer * RELAX).map(|_| rng.uniform()).collect();
    let magnitude: Vec<f32> = (0..s.images * layer).map(|_| rng.uniform()).collect();
    // Errors differ between devices by their unit roundoff; soundness is checked at the end of the walk.
    let close = || Check::Value { abs: 1e-3, rel: 1e-5 };
    let mut cases = vec![
        seed_case(s, rng),
        Case::new(
            &RELU,
            s.label,
            vec![table, random(rng, layer), s.rows_word()],
            vec![a.clone(), sums.clone()],
            close(),
            move |d, r, w| {
                relu(d, &window, &r[0], &r[1], &rows(d, &r[2], LANES)?, &w[0], &w[1], sum_error(n), 2.0 * sum_error(n))
            },
        ),
        Case::new(
            &AFFINE,
            s.label,
            vec![random(rng, layer), magnitude, s.rows_word()],
            vec![a.clone(), sums.clone()],
            close(),
            move |d, r, w| affine(d, &window, &r[0], &r[1], &rows(d, &r[2], LANES)?, &w[0], &w[1], sum_error(n)),
        ),
        Case::new(
            &LIFT,
            s.label,
            vec![random(rng, s.images * layer), s.rows_word(), a.clone()],
            vec![sums.clone()],
            close(),
            move |d, r, w| lift(d, &window, &r[0], &rows(d, &r[1], LANES)?, &r[2], &w[0], sum_error(n)),
        ),
        Case::new(
            &DENSIFY,
            s.label,
            vec![a.clone(), s.rows_word()],
            vec![blank(layer * LANES)],
            Check::Exact,
            move |d, r, w| densify(d, &window, &r[0], &rows(d, &r[1], LANES)?, &w[0]),
        ),
        concretize_case(s, rng, a.clone(), sums.clone()),
    ];
    cases.extend(ellipsoid_cases(s, rng, &a, sums.clone()));
    if s.window.is_dense() {
        cases.extend([false, true].map(|is_origin| radius_case(s, rng, a.clone(), sums.clone(), is_origin)));
    }
    cases
}

fn seed_case(s: &Setting, rng: &mut Rng) -> Case {
    const OUTPUTS: usize = 5;
    let channels = (0..LANES)
        .map(|_| match rng.below(8) {
            0 => u32::MAX,
            i => rng.below(OUTPUTS) as u32 | if i % 2 == 0 { NEGATED } else { 0 },
        })
        .collect::<Vec<u32>>();
    let own = [&s.rows[..], &channels].concat();
    let (window, n) = (s.window, s.window.elements());
    Case::new(
        &SEED,
        s.label,
        vec![random(rng, n * OUTPUTS), random(rng, OUTPUTS), words(&own)],
        vec![blank(n * LANES), blank(2 * SLICES * LANES)],
        Check::Value { abs: 0.0, rel: 0.0 },
        move |d, r, w| seed(d, &window, OUTPUTS, &r[0], &r[1], &rows(d, &r[2], LANES)?, &w[0], &w[1]),
    )
}

/// Constant less error of a row, exactly.
fn offset(sums: &[f32], lane: usize) -> f64 {
    let word = |i: usize| f64::from(sums[i * LANES + lane]);
    (0..SLICES).map(|s| word(2 * s) - word(2 * s + 1)).sum()
}

fn concretize_case(s: &Setting, rng: &mut Rng, a: Vec<f32>, sums: Vec<f32>) -> Case {
    let (window, n, layer) = (s.window, s.window.elements(), s.window.layer.len());
    let centre = random(rng, s.images * layer);
    let radius: Vec<f32> = (0..s.images * layer).map(|_| 0.1 * rng.uniform()).collect();
    let exact: Vec<f64> = (0..LANES)
        .map(|lane| {
            let term = |(k, i): (usize, usize)| {
                let (a, i) = (f64::from(a[k * LANES + lane]), s.image(lane) * layer + i);
                a * f64::from(centre[i]) - a.abs() * f64::from(radius[i])
            };
            offset(&sums, lane) + s.inside(lane).into_iter().map(term).sum::<f64>()
        })
        .collect();
    let check = Check::Holds(Box::new(move |out| below(&out[0], &exact, 5e-3)));
    Case::new(
        &CONCRETIZE,
        s.label,
        vec![a, centre, radius, s.rows_word(), sums],
        vec![blank(LANES)],
        check,
        move |d, r, w| {
            concretize(d, &window, &r[0], [&r[1], &r[2]], &rows(d, &r[3], LANES)?, &r[4], &w[0], sum_error(n), 1e-30)
        },
    )
}

/// Faults of lower bounds: above the exact value, or below it by more than `slack`.
fn below(bounds: &[f32], exact: &[f64], slack: f64) -> Vec<String> {
    let pairs = bounds.iter().zip(exact).enumerate();
    pairs
        .filter(|&(_, (&b, &e))| !(f64::from(b) <= e && f64::from(b) >= e - slack))
        .map(|(i, (b, e))| format!("row {i}: {b} against exactly {e}"))
        .collect()
}

fn radius_case(s: &Setting, rng: &mut Rng, a: Vec<f32>, mut sums: Vec<f32>, is_origin: bool) -> Case {
    let layer = s.window.layer;
    let n = layer.len();
    // Most rows start positive, so that there is a radius to find.
    sums[..LANES].iter_mut().for_each(|c| *c += 0.3 * n as f32 * rng.uniform());
    let x: Vec<f32> = (0..s.images * n).map(|_| rng.uniform()).collect();
    let delta: Vec<f32> = (0..s.images).map(|_| 0.1 * rng.uniform()).collect();
    let (form, goal) = (s.clone(), delta.clone());
    let (fa, fx, fs) = (a.clone(), x.clone(), sums.clone());
    // The row's exact least value within distance d of its image.
    let least = move |lane: usize, d: f64| {
        let term = |k: usize| {
            let (a, x) = (f64::from(fa[k * LANES + lane]), f64::from(fx[form.image(lane) * n + k]));
            let middle = if is_origin { 0.0 } else { a * x };
            middle - a.abs() * d.min(if a > 0.0 { x } else { 1.0 - x })
        };
        offset(&fs, lane) + (0..n).map(term).sum::<f64>()
    };
    let (form, fa, fx) = (s.clone(), a.clone(), x.clone());
    // How steeply it falls there.
    let steepness = move |lane: usize, d: f64| -> f64 {
        let pixel = |k: usize| (f64::from(fa[k * LANES + lane]), f64::from(fx[form.image(lane) * n + k]));
        let slopes = (0..n).map(pixel).map(|(a, x)| if d < if a > 0.0 { x } else { 1.0 - x } { a.abs() } else { 0.0 });
        slopes.sum()
    };
    let images = s.clone();
    let check = Check::Holds(Box::new(move |out| {
        let (bounds, radii) = out[0].split_at(LANES);
        let exact: Vec<f64> = (0..LANES).map(|l| least(l, f64::from(goal[images.image(l)]))).collect();
        let mut faults = below(bounds, &exact, 1e-2);
        for (lane, &r) in radii.iter().enumerate() {
            let proved = r == 0.0 || least(lane, f64::from(r)) > 0.0;
            // The third of Newton's iterates: rounding decides whether the fourth and last proves, so it is not asked for.
            let newton =
                (0..3).fold(0.0, |d: f64, _| (d + least(lane, d).max(0.0) / steepness(lane, d).max(1e-9)).min(1.0));
            let largest = f64::from(r) >= 0.99 * newton;
            if !(proved && largest && (0.0..=1.0).contains(&r)) {
                faults.push(format!("row {lane}: radius {r}, where the form is {}", least(lane, f64::from(r))));
            }
        }
        faults
    }));
    Case::new(
        &RADIUS,
        s.label,
        vec![a, x, delta, s.rows_word(), sums],
        vec![blank(2 * LANES)],
        check,
        move |d, r, w| {
            let ball = Ball { image: &r[1], delta: &r[2], is_origin };
            radius(d, layer, &r[0], &ball, &rows(d, &r[3], LANES)?, &r[4], &w[0], sum_error(n), 1e-30)
        },
    )
}

/// Least values over ellipsoids and the points where they are taken, for rows of which most are positive at the centre.
fn ellipsoid_cases(s: &Setting, rng: &mut Rng, a: &[f32], mut sums: Vec<f32>) -> [Case; 2] {
    let (window, n, layer) = (s.window, s.window.elements(), s.window.layer.len());
    sums[..LANES].iter_mut().for_each(|c| *c += (n as f32).sqrt() * rng.uniform());
    let centre: Vec<f32> = (0..s.images * layer).map(|_| rng.uniform()).collect();
    // An image at the edge of what pixels can be falls no further.
    let axes: Vec<f32> =
        (0..2 * s.images * layer).map(|_| if rng.below(4) == 0 { 0.0 } else { 0.1 * rng.uniform() }).collect();
    let radius: Vec<f32> = (0..s.images).map(|_| 3.0 * rng.uniform()).collect();
    let half = |at: usize, a: f32| if a > 0.0 { axes[2 * at] } else { axes[2 * at + 1] };
    // Exact value at the centre, and norm.
    let form = |lane: usize| -> [f64; 2] {
        let (mut base, mut square) = (offset(&sums, lane), 0.0);
        for (k, i) in s.inside(lane) {
            let (a, at) = (a[k * LANES + lane], s.image(lane) * layer + i);
            base += f64::from(a) * f64::from(centre[at]);
            square += (f64::from(a) * f64::from(half(at, a))).powi(2);
        }
        [base, square.sqrt()]
    };
    let forms: Vec<[f64; 2]> = (0..LANES).map(form).collect();
    let goal: Vec<f64> = (0..LANES).map(|lane| f64::from(radius[s.image(lane)])).collect();
    let exact: Vec<f64> = forms.iter().zip(&goal).map(|([base, norm], goal)| base - goal * norm).collect();
    let known = forms.clone();
    let check = Check::Holds(Box::new(move |out| {
        let (bounds, rest) = out[0].split_at(LANES);
        let mut faults = below(bounds, &exact, 1e-2);
        for (lane, [base, norm]) in known.iter().enumerate() {
            let (reach, own) = (f64::from(rest[lane]), f64::from(rest[LANES + lane]));
            let nearly = (base - 2e-2).max(0.0) / (norm * 1.001 + 1e-12) * 0.999;
            if !(own >= *norm && own <= norm * 1.001 + 1e-12)
                || reach * norm > base.max(0.0)
                || reach < nearly.min(1e11)
            {
                faults.push(format!("row {lane}: reach {reach}, norm {own}; the form is {base} - r * {norm}"));
            }
        }
        faults
    }));
    // The result of the first kernel, as far as the second reads it.
    let norms: Vec<f32> = (0..3 * LANES).map(|i| (forms[i % LANES][1] as f32).max(1e-12)).collect();
    let reads = |last: Vec<f32>| vec![a.to_vec(), centre.clone(), radius.clone(), s.rows_word(), last, axes.clone()];
    [
        Case::new(&LEAST, s.label, reads(sums.clone()), vec![blank(3 * LANES)], check, move |d, r, w| {
            let set = [&r[1], &r[5], &r[2]];
            ellipsoid(d, &window, &r[0], set, &rows(d, &r[3], LANES)?, &r[4], &w[0], sum_error(n), 1e-30)
        }),
        Case::new(
            &FARTHEST_POINT,
            s.label,
            reads(norms),
            vec![blank(n * LANES)],
            Check::Value { abs: 1e-5, rel: 1e-5 },
            move |d, r, w| farthest(d, &window, &r[0], [&r[1], &r[5], &r[2]], &rows(d, &r[3], LANES)?, &r[4], &w[0]),
        ),
    ]
}
