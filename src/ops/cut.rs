//! Rows of linear bounds over sets from which a half-space is cut (Lagrange duality; Kotha et al., "Provably Bounding Neural
//! Network Preimages", 2023, cut by what an output must be).
//!
//! Where `form . x + constant <= 0` for all inputs that count, a row plus any positive multiple of the form is a lower bound
//! of the row there, and may be much the larger at its least.

use rayon::prelude::*;

use super::linear::places::{BLOCK, Block, Places, check_tables};
use super::linear::twin::{Blocked, gather_sums};
use super::linear::{Params, Rows, SLICES, Window};
use crate::device::{Buffer, Device};
use crate::dispatch;
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::rounding::{down, up};
use crate::simd::{Lanes, Shared, each};
use crate::tensor::Shape;

const fn row(name: &'static str, entry: &'static str, counts: [usize; 2], twin: fn(Call<'_>)) -> Kernel {
    Kernel::of::<Params>(
        shader!("cut", "flat", "opaque", "rounding", "scalars", "slices", "sums", "window"),
        name,
        entry,
        counts,
        twin,
    )
}

/// What rows are at least, and how much they lean. Reads A, centres, radii, rows, sums, forms, words; writes the result.
pub static LEAST: Kernel = row("cut_least", "least", [7, 1], least_twin);
/// Rows with so much of their forms. Reads the result of [`LEAST`], centres, radii, rows, forms, words; changes A, sums.
pub static LEAN: Kernel = row("cut_lean", "lean", [6, 2], lean_twin);

pub static KERNELS: &[&Kernel] = &[&LEAST, &LEAN];

/// Weights tried at once.
pub(super) const WAYS: usize = 8;
pub(super) const PASSES: usize = 2;
/// Of the first weights, each to the one before, and the first to the one that would balance row and form.
pub(super) const SPREAD: f32 = 4.0;
pub(super) const LIGHTEST: f32 = 1.0 / 256.0;
/// No weight is larger, so that no product overflows: coefficients of forms are at most 2.
pub(super) const HEAVIEST: f32 = 1e12;

/// Words per form: its constant; what it is at the centre of its box; how far it falls from there at most.
pub const WORDS: usize = 3;

/// Forms of the input, at most zero wherever bounds are asked for.
pub struct Forms {
    /// `[image][element]`, at most 2 in magnitude.
    pub form: Buffer,
    /// `[image][WORDS]`.
    pub words: Buffer,
}

/// For rows over the whole of `layer`: `result` gets what each is at least over its box `centre ± radius` `[image][element]`,
/// where its form is at most zero, and after that, if there is room, the weight from zero up by which it leans on that to be
/// about the largest there. `g` bounds the relative error of a sum over the layer.
#[allow(clippy::too_many_arguments)]
pub fn least(
    device: &Device,
    layer: Shape,
    a: &Buffer,
    [centre, radius]: [&Buffer; 2],
    rows: &Rows,
    sums: &Buffer,
    forms: &Forms,
    result: &Buffer,
    g: f32,
    floor: f32,
) -> Result<()> {
    let charge = if result.len() > rows.lanes { 1.0 } else { 0.0 };
    let params = Params { floor, charge, ..Params::new(&Window::dense(layer), layer.len(), rows.lanes, g) };
    let reads = [a, centre, radius, &rows.buffer, sums, &forms.form, &forms.words];
    device.run(&LEAST, &params, &reads, &[result], [rows.lanes, 1, 1])
}

/// Adds to every row so much of its form as [`least()`] found, whose `result` this is, and to its errors what that rounds.
#[allow(clippy::too_many_arguments)]
pub fn lean(
    device: &Device,
    layer: Shape,
    result: &Buffer,
    [centre, radius]: [&Buffer; 2],
    rows: &Rows,
    forms: &Forms,
    [a, sums]: [&Buffer; 2],
    g: f32,
) -> Result<()> {
    let params = Params::new(&Window::dense(layer), layer.len(), rows.lanes, g);
    let reads = [result, centre, radius, &rows.buffer, &forms.form, &forms.words];
    device.run(&LEAN, &params, &reads, &[a, sums], [rows.lanes, SLICES, 1])
}

fn least_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([a, centre, radius, rows, sums, form, words], [result]) = call.buffers();
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(centre.len(), 1), (radius.len(), 1), (form.len(), 1)]);
    assert!(a.len() >= (p.channels * p.height * p.width) as usize * lanes);
    let (lower, weight) = result.split_at_mut(lanes);
    let mut weight: Vec<&mut [f32]> = weight.chunks_mut(BLOCK).collect();
    weight.resize_with(lanes / BLOCK, Default::default);
    lower.par_chunks_mut(BLOCK).zip(weight).enumerate().for_each(|(block, (lower, weight))| {
        let lane = block * BLOCK;
        let places = Places::new(&p, rows, lane);
        let mut own = Vec::new();
        gather(&p, &places, &a[lane..], [radius, form], &mut own);
        let word = |part: usize| -> Block { each(|i| words[rows[lane + i] as usize * WORDS + part]) };
        let best = weights(&own, &word(1), &word(2));
        let (mut dot, mut span) = ([0.0; BLOCK], [0.0; BLOCK]);
        leaning_sums(&p, &places, &a[lane..], [centre, radius, form], &best, &mut dot, &mut span);
        let (constant, error) = gather_sums(&p, sums, lane);
        let more = word(0);
        for i in 0..BLOCK {
            let more = best[i] * more[i];
            let fall = up(up(span[i] * (1.0 + 3.0 * p.g)) + error[i]);
            let rounding = up(8.0 * p.unit * (dot[i].abs() + constant[i].abs() + more.abs()));
            lower[i] = down(down(down(dot[i] + constant[i]) + more) - up(fall + rounding));
        }
        if p.charge > 0.0 {
            weight.copy_from_slice(&best);
        }
    });
}

/// Coefficients, radii and forms of one element of sixteen rows.
type Element = [Block; 3];

dispatch! {
    /// The elements of sixteen rows side by side: they are gone through several times.
    fn gather = gather_lanes(p: &Params, places: &Places, a: &[f32], tables: [&[f32]; 2], own: &mut Vec<Element>)
}

#[inline(always)]
unsafe fn gather_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    a: &[f32],
    [radius, form]: [&[f32]; 2],
    own: &mut Vec<Element>,
) {
    let (lanes, elements) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    own.resize(elements, [[0.0; BLOCK]; 3]);
    let (mut radius, mut form) = (places.entries::<1>(radius), places.entries::<1>(form));
    for (at, own) in places.elements(0..elements).zip(own) {
        unsafe {
            L::load(a.as_ptr().add(at.element * lanes)).store(own[0].as_mut_ptr());
            let [r] = radius.at::<L>(at);
            let [h] = form.at::<L>(at);
            r.store(own[1].as_mut_ptr());
            h.store(own[2].as_mut_ptr());
        }
    }
}

/// The weight by which each row is about largest where it is least; `middle` and `fall` of its form.
fn weights(own: &[Element], middle: &Block, fall: &Block) -> Block {
    let mut falls_by = [[0.0; BLOCK]; WAYS];
    falls(own, &[[0.0; BLOCK]], &mut falls_by);
    let none = falls_by[0];
    let mut top: [Top; BLOCK] = each(|i| Top::at(-none[i]));
    for pass in 0..PASSES {
        let way = |j: usize, i: usize| match pass {
            // Nothing leans on a form that is constant.
            _ if !(fall[i] > 0.0) => 0.0,
            0 => (LIGHTEST * none[i] / fall[i]).min(HEAVIEST / 65536.0) * SPREAD.powi(j as i32),
            _ => top[i].low.0 + (top[i].high.0 - top[i].low.0) * ((j + 1) as f32 / (WAYS + 1) as f32),
        };
        let ways: [Block; WAYS] = each(|j| each(|i| way(j, i)));
        falls(own, &ways, &mut falls_by);
        for (way, fallen) in ways.iter().zip(&falls_by) {
            for i in 0..BLOCK {
                top[i].try_way((way[i], way[i] * middle[i] - fallen[i]));
            }
        }
    }
    // A row of few elements has kinks that no parabola follows.
    let last: Block = each(|i| if fall[i] > 0.0 { top[i].vertex() } else { 0.0 });
    falls(own, &[last], &mut falls_by);
    each(|i| if last[i] * middle[i] - falls_by[0][i] > top[i].best.1 { last[i] } else { top[i].best.0 })
}

/// The best weight so far between its neighbours, each with what it comes to, which rises up to the best and then falls.
#[derive(Clone, Copy)]
struct Top {
    low: (f32, f32),
    best: (f32, f32),
    high: (f32, f32),
}

impl Top {
    /// Nothing but the weight zero, which comes to so much.
    fn at(none: f32) -> Top {
        Top { low: (0.0, none), best: (0.0, none), high: (0.0, none) }
    }

    fn try_way(&mut self, way: (f32, f32)) {
        let Top { low, best, high } = self;
        if way.1 > best.1 {
            if way.0 > best.0 {
                *low = *best;
                // None yet, if the best was the last.
                if high.0 <= way.0 {
                    *high = way;
                }
            } else {
                *high = *best;
            }
            *best = way;
        } else if way.0 > best.0 && (high.0 <= best.0 || way.0 < high.0) {
            *high = way;
        } else if way.0 < best.0 && way.0 > low.0 {
            *low = way;
        }
    }

    /// Where the parabola through all three is highest.
    fn vertex(&self) -> f32 {
        let Top { low, best, high } = self;
        let left = (best.1 - low.1) * (high.0 - best.0);
        let right = (best.1 - high.1) * (best.0 - low.0);
        if !(left + right > 0.0) {
            return best.0;
        }
        0.5 * (left * (best.0 + high.0) + right * (low.0 + best.0)) / (left + right)
    }
}

dispatch! {
    /// `sum |A + way form| r` of sixteen rows, for one way or for as many as are tried at once.
    fn falls = falls_lanes(own: &[Element], ways: &[Block], total: &mut [Block; WAYS])
}

#[inline(always)]
unsafe fn falls_lanes<L: Lanes>(own: &[Element], ways: &[Block], total: &mut [Block; WAYS]) {
    unsafe {
        match ways {
            [_] => falls_of::<L, 1>(own, ways, total),
            _ => falls_of::<L, WAYS>(own, ways, total),
        }
    }
}

#[inline(always)]
unsafe fn falls_of<L: Lanes, const N: usize>(own: &[Element], ways: &[Block], total: &mut [Block; WAYS]) {
    unsafe {
        let ways: [L; N] = each(|j| L::load(ways[j].as_ptr()));
        let mut sums = [L::splat(0.0); N];
        for [a, r, h] in own {
            let (a, r, h) = (L::load(a.as_ptr()), L::load(r.as_ptr()), L::load(h.as_ptr()));
            for (sum, way) in sums.iter_mut().zip(ways) {
                *sum = sum.mul_acc(a.mul_acc(way, h).abs(), r);
            }
        }
        for (total, sum) in total.iter_mut().zip(sums) {
            sum.store(total.as_mut_ptr());
        }
    }
}

dispatch! {
    /// `sum A c` and `sum |A| r` of sixteen rows that lean, with what rounds.
    fn leaning_sums = leaning_sums_lanes(
        p: &Params, places: &Places, a: &[f32], tables: [&[f32]; 3], weight: &Block, dot: &mut Block, span: &mut Block
    )
}

#[inline(always)]
unsafe fn leaning_sums_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    a: &[f32],
    [centre, radius, form]: [&[f32]; 3],
    weight: &Block,
    dot: &mut Block,
    span: &mut Block,
) {
    let (lanes, elements) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    unsafe {
        let mut sums = Blocked::<L, 3>::new(p.block);
        let (weight, g, roundings) = (L::load(weight.as_ptr()), L::splat(p.g), L::splat(4.0 * p.unit));
        let [mut form, mut centre, mut radius] = [form, centre, radius].map(|table| places.entries::<1>(table));
        for at in places.elements(0..elements) {
            let [h] = form.at::<L>(at);
            let [c] = centre.at::<L>(at);
            let [r] = radius.at::<L>(at);
            let more = weight.mul(h);
            let coefficient = L::load(a.as_ptr().add(at.element * lanes)).add(more);
            let off = g.mul(c.abs()).mul_acc(roundings, c.abs().add(r));
            sums.add([(coefficient, c), (coefficient.abs(), r.add(off)), (more.abs(), off)]);
        }
        let [dots, spans, offs] = sums.values();
        *dot = dots;
        *span = each(|i| up(spans[i] + offs[i]));
    }
}

fn lean_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([result, centre, radius, rows, form, words], [a, sums]) = call.buffers();
    let weight = &result[p.lanes as usize..];
    let (lanes, rows) = (p.lanes as usize, as_u32(rows));
    check_tables(&p, rows, &[(centre.len(), 1), (radius.len(), 1), (form.len(), 1)]);
    assert!(a.len() >= (p.channels * p.height * p.width) as usize * lanes && sums.len() >= 2 * SLICES * lanes);
    let (a, sums) = (Shared(a.as_mut_ptr()), Shared(sums.as_mut_ptr()));
    (0..lanes / BLOCK).into_par_iter().for_each(|block| {
        let lane = block * BLOCK;
        let places = Places::new(&p, rows, lane);
        let mut size = [0.0; BLOCK];
        add(&p, &places, (a, lane), [centre, radius, form], weight[lane..].as_chunks().0, &mut size);
        for i in 0..BLOCK {
            let error = up(up(4.0 * p.unit * size[i]) * (1.0 + 2.0 * p.g));
            let more = weight[lane + i] * words[rows[lane + i] as usize * WORDS];
            // Blocks have lanes of their own.
            unsafe {
                let (c, e) = (sums.get().add(lane + i), sums.get().add(lanes + lane + i));
                *c += more;
                *e = up(up(*e + error) + up(4.0 * p.unit * ((*c).abs() + more.abs())));
            }
        }
    });
}

dispatch! {
    /// Sixteen rows with their weights of their forms, and `sum (|A| + |what was added|) (|c| + r)`.
    fn add = add_lanes(
        p: &Params, places: &Places, a: (Shared, usize), tables: [&[f32]; 3], weight: &[Block], size: &mut Block
    )
}

#[inline(always)]
unsafe fn add_lanes<L: Lanes>(
    p: &Params,
    places: &Places,
    (a, lane): (Shared, usize),
    [centre, radius, form]: [&[f32]; 3],
    weight: &[Block],
    size: &mut Block,
) {
    let (lanes, elements) = (p.lanes as usize, (p.channels * p.height * p.width) as usize);
    unsafe {
        let weight = L::load(weight[0].as_ptr());
        let mut sums = Blocked::<L, 1>::new(p.block);
        let [mut form, mut centre, mut radius] = [form, centre, radius].map(|table| places.entries::<1>(table));
        for at in places.elements(0..elements) {
            let pointer = a.get().add(at.element * lanes + lane);
            let [h] = form.at::<L>(at);
            let [c] = centre.at::<L>(at);
            let [r] = radius.at::<L>(at);
            let more = weight.mul(h);
            let sum = L::load(pointer).add(more);
            sum.store(pointer);
            sums.add([(sum.abs().add(more.abs()), c.abs().add(r))]);
        }
        [*size] = sums.values();
    }
}

/// Test cases of the kernels for cut sets: several images, one of whose forms is constant.
pub(super) fn cases() -> Vec<super::case::Case> {
    case::cases()
}

mod case {
    use super::*;
    use crate::ops::case::{Case, Check, blank, random, rows, whole_rows};
    use crate::rng::Rng;
    use crate::rounding::sum_error;

    const IMAGES: usize = 3;
    const LANES: usize = 48;

    /// Boxes, rows and forms of a layer.
    #[derive(Clone)]
    struct Setting {
        n: usize,
        a: Vec<f32>,
        centre: Vec<f32>,
        radius: Vec<f32>,
        image: Vec<usize>,
        form: Vec<f32>,
        words: Vec<f32>,
    }

    impl Setting {
        fn new(n: usize, rng: &mut Rng) -> Setting {
            let (a, centre) = (random(rng, n * LANES), random(rng, IMAGES * n));
            let radius: Vec<f32> = (0..IMAGES * n).map(|_| 0.1 * rng.uniform()).collect();
            let mut form = random(rng, IMAGES * n);
            form[2 * n..].fill(0.0);
            let word = |image: usize| {
                let own = image * n..(image + 1) * n;
                let dot: f32 = own.clone().map(|k| form[k] * centre[k]).sum();
                let fall: f32 = own.map(|k| form[k].abs() * radius[k]).sum();
                // The form is below zero in a corner of the box only.
                let constant = 0.8 * fall - dot;
                [constant, dot + constant, fall]
            };
            let words = (0..IMAGES).flat_map(word).collect();
            // Of one image, of several, in order and not.
            let image = (0..LANES).map(|l| if l < 16 { 0 } else { (l / 3) % IMAGES }).collect();
            Setting { n, a, centre, radius, image, form, words }
        }

        /// Coefficient of a row, and of its form.
        fn at(&self, k: usize, lane: usize) -> (f64, f64) {
            (f64::from(self.a[k * LANES + lane]), f64::from(self.form[self.image[lane] * self.n + k]))
        }

        /// What the row itself is at the centre of its box, its constant apart.
        fn constant(&self, lane: usize) -> f64 {
            let centre = |k: usize| f64::from(self.centre[self.image[lane] * self.n + k]);
            (0..self.n).map(|k| self.at(k, lane).0 * centre(k)).sum()
        }

        /// How far above that it is at its least that leans so much.
        fn value(&self, lane: usize, weight: f64) -> f64 {
            let fall = |k: usize| {
                let (a, h) = self.at(k, lane);
                (a + weight * h).abs() * f64::from(self.radius[self.image[lane] * self.n + k])
            };
            weight * f64::from(self.words[WORDS * self.image[lane] + 1]) - (0..self.n).map(fall).sum::<f64>()
        }
    }

    pub(super) fn cases() -> Vec<Case> {
        let mut rng = Rng::new(17, 0);
        [5, 600].into_iter().flat_map(|n| setting_cases(&Setting::new(n, &mut rng), &mut rng)).collect()
    }

    fn setting_cases(s: &Setting, rng: &mut Rng) -> [Case; 2] {
        let (layer, own, setting) = (Shape::flat(s.n), s.clone(), s.clone());
        let sums: Vec<f32> = (0..2 * SLICES * LANES)
            .map(|i| if (i / LANES).is_multiple_of(2) { rng.range(-1.0, 1.0) } else { 1e-5 * rng.uniform() })
            .collect();
        let given = sums.clone();
        let total = |sums: &[f32], lane: usize, part: usize| -> f64 {
            (0..SLICES).map(|s| f64::from(sums[(2 * s + part) * LANES + lane])).sum()
        };
        let held = Check::Holds(Box::new(move |out| {
            let fault = |lane: usize| {
                let (lower, weight) = (f64::from(out[0][lane]), f64::from(out[0][LANES + lane]));
                let own = own.constant(lane) + total(&given, lane, 0) - total(&given, lane, 1);
                let grid = (0..2000).map(|j| f64::from(j) * 1e-2);
                let best = grid.map(|w| setting.value(lane, w)).fold(f64::NEG_INFINITY, f64::max);
                let (none, here) = (setting.value(lane, 0.0), setting.value(lane, weight));
                let holds = weight >= 0.0 && lower <= own + here && lower >= own + here - 5e-3;
                // Of few elements the sum has few kinks, and the weights that are tried may miss them.
                let share = if setting.n < 100 { 0.1 } else { 0.01 };
                let good = holds && here >= best - share * (best - none) - 1e-4;
                (!good).then(|| format!("row {lane}: weight {weight} gives {here}, the best {best}, said {lower}"))
            };
            (0..LANES).filter_map(fault).collect()
        }));
        let forms = |form: &Buffer, words: &Buffer, d: &Device| -> Result<Forms> {
            Ok(Forms { form: d.upload(&d.read::<f32>(form)?)?, words: d.upload(&d.read::<f32>(words)?)? })
        };
        let (a, c, r) = (s.a.clone(), s.centre.clone(), s.radius.clone());
        let reads = vec![a, c, r, whole_rows(&s.image), sums.clone(), s.form.clone(), s.words.clone()];
        let (label, g) = (format!("{} elements", s.n), sum_error(s.n));
        let least_case = Case::new(&LEAST, &label, reads, vec![blank(2 * LANES)], held, move |d, r, w| {
            let (rows, forms) = (rows(d, &r[3], LANES)?, forms(&r[5], &r[6], d)?);
            least(d, layer, &r[0], [&r[1], &r[2]], &rows, &r[4], &forms, &w[0], g, 1e-30)
        });
        // Of each its least value, which nobody reads, and its weight.
        let weight: Vec<f32> = (0..2 * LANES).map(|l| if l % 4 == 0 { 0.0 } else { 3.0 * rng.uniform() }).collect();
        let (own, given, before, n) = (s.clone(), weight.clone(), sums.clone(), s.n);
        let leant = Check::Holds(Box::new(move |out| {
            let fault = |lane: usize| {
                let (image, weight) = (own.image[lane], f64::from(given[LANES + lane]));
                let off = |k: usize| {
                    let (a, h) = own.at(k, lane);
                    let size = own.centre[image * n + k].abs() + own.radius[image * n + k];
                    (f64::from(out[0][k * LANES + lane]) - (a + weight * h)).abs() * f64::from(size)
                };
                let constant = total(&before, lane, 0) + weight * f64::from(own.words[WORDS * image]);
                let off = (0..n).map(off).sum::<f64>() + (total(&out[1], lane, 0) - constant).abs();
                let charged = total(&out[1], lane, 1) - total(&before, lane, 1);
                let good = off <= charged && charged <= 1e-3;
                (!good).then(|| format!("row {lane}: off by {off}, charged {charged}"))
            };
            (0..LANES).filter_map(fault).collect()
        }));
        let reads =
            vec![weight, s.centre.clone(), s.radius.clone(), whole_rows(&s.image), s.form.clone(), s.words.clone()];
        let writes = vec![s.a.clone(), sums];
        let lean_case = Case::new(&LEAN, label, reads, writes, leant, move |d, r, w| {
            let rows = rows(d, &r[3], LANES)?;
            lean(d, layer, &r[0], [&r[1], &r[2]], &rows, &forms(&r[4], &r[5], d)?, [&w[0], &w[1]], g)
        });
        [least_case, lean_case]
    }
}
