//! The sets of inputs that bounds speak of: balls, clipped to [0,1], ellipsoids, zonotopes and boxes.
//!
//! A region knows what it is to each step of a bound: the interval that the first layers read, the least value of a row
//! over the set, how far a ball may grow until that value is zero, and the point where a row is least.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::around::Around;
use super::cut::Cut;
use super::rows::Coefficients;
use super::shelf::{self, Copies};
use super::zonotope::Frame;
use super::{Ball, Bounder, Cloud, Zonotope};
use crate::device::{Buffer, Device};
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::ops::linear::{self, Rows, SLICES};
use crate::ops::{ball, cut, ellipsoid, shared_slopes, targets};
use crate::rounding::{ETA, to_f32_up};
use crate::tensor;

/// Sets of inputs on the device, one per lane.
pub(crate) struct Region {
    pub count: usize,
    pub lanes: usize,
    /// About how large they are: the mean of their radii.
    pub size: f64,
    /// The boxes around the sets `[element][lane]`, the radius inflated for the consumers of the input.
    centre: Buffer,
    radius: Buffer,
    /// What the sets are, all `[lane][element]`, radii `[lane]`.
    body: Body<Buffer, Buffer>,
    /// Centre and radius `[lane][element]`, once they were asked for.
    tables: OnceLock<[Buffer; 2]>,
    /// Of clouds, by lane: the neurons that were bounded by forms of the input.
    forms: Option<Mutex<Vec<Vec<Form>>>>,
    /// Where the sets, and all values, are deviations from those at images.
    around: Option<Around>,
    /// What no input that counts is beyond, once it is known; of boxes and balls in the maximum norm.
    cuts: Option<cut::Forms>,
}

/// A neuron that was bounded by a form of the input, from below or, negated, from above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    pub node: usize,
    pub negated: bool,
    pub neuron: usize,
}

/// What sets are beyond the boxes around them.
enum Body<T, R> {
    /// Nothing.
    Box,
    /// Balls in the maximum norm around images, for rows that are walked down to them.
    Ball { image: T, delta: R },
    /// The `x` with `sum ((x_i - centre_i) / axis_i)^2 <= radius^2`; `axes` are pairs: towards smaller and larger values.
    Ellipsoid { centre: T, axes: T, radius: R },
    /// Few directions, and a little around them.
    Zonotope(Frame<T>),
}

/// One lane of a [`Region`], on the host.
pub(super) struct Inputs {
    centre: Vec<f32>,
    radius: Vec<f32>,
    body: Body<Vec<f32>, f32>,
    /// What the box makes of the first ReLU's neurons, once that was asked for.
    pub ends: OnceLock<Option<Vec<f32>>>,
}

impl Region {
    pub fn balls(bounder: &Bounder, balls: &[Ball<'_>]) -> Result<Region> {
        let d = bounder.device();
        let lanes = tensor::lanes(balls.len());
        let x = bounder.images(balls)?;
        let mut deltas = vec![0.0; lanes];
        balls.iter().zip(&mut deltas).for_each(|(b, d)| *d = b.delta);
        let delta = d.upload(&deltas)?;
        let (centre, radius) = (d.alloc(x.len())?, d.alloc(x.len())?);
        ball::clip(d, &x, &delta, [&centre, &radius], lanes, bounder.inflation(0))?;
        let body = match bounder.norm {
            Norm::L2 => {
                let centre = shelf::transpose(d, &x, lanes)?;
                // A pixel at its end goes no further.
                let axes = d.alloc(2 * x.len())?;
                ball::axes(d, &centre, &axes)?;
                Body::Ellipsoid { centre, axes, radius: delta }
            }
            Norm::Linf if bounder.method.relaxes() => Body::Ball { image: shelf::transpose(d, &x, lanes)?, delta },
            Norm::Linf => Body::Box,
        };
        Ok(Region {
            count: balls.len(),
            lanes,
            size: mean(balls.iter().map(|b| b.delta)),
            centre,
            radius,
            body,
            tables: OnceLock::new(),
            forms: None,
            around: None,
            cuts: None,
        })
    }

    /// [`balls`](Self::balls) as deviations from their images.
    pub fn around(bounder: &Bounder, balls: &[Ball<'_>]) -> Result<Region> {
        let (d, elements, inflate) = (bounder.device(), bounder.net.model.input.len(), f64::from(bounder.inflation(0)));
        let plain = Region::balls(bounder, balls)?;
        let (mut centre, mut radius) = (vec![0.0; elements * plain.lanes], vec![0.0; elements * plain.lanes]);
        for (lane, ball) in balls.iter().enumerate() {
            let delta = f64::from(ball.delta);
            for (k, x) in ball.image.iter().map(|x| f64::from(*x)).enumerate() {
                let (at, above) = (k * plain.lanes + lane, (1.0 - x).next_up());
                (centre[at], radius[at]) = around(-x.min(delta), above.min(delta), inflate);
            }
        }
        let body = match plain.body {
            Body::Ellipsoid { centre, axes, radius } => {
                Body::Ellipsoid { centre: d.zeros(centre.len())?, axes, radius }
            }
            other @ (Body::Box | Body::Ball { .. } | Body::Zonotope(_)) => other,
        };
        let images: Vec<&[f32]> = balls.iter().map(|b| b.image).collect();
        let around = Some(Around::new(bounder, &images, plain.lanes));
        Ok(Region { centre: d.upload(&centre)?, radius: d.upload(&radius)?, body, around, ..plain })
    }

    /// What all values are deviations from, if they are.
    pub fn reference(&self) -> Option<&Around> {
        self.around.as_ref()
    }

    /// Boxes by their ends `[channel][row][column]`, rounded outward.
    ///
    /// # Errors
    /// [`Error::Usage`] for a box that reaches beyond the magnitude the bounder was made for.
    pub fn boxes(bounder: &Bounder, boxes: &[(&[f32], &[f32])]) -> Result<Region> {
        let elements = bounder.net.model.input.len();
        let inflate = f64::from(bounder.inflation(0));
        let mut inputs = Vec::with_capacity(boxes.len());
        for (lower, upper) in boxes {
            assert!(lower.len() == elements && upper.len() == elements, "a box has an end for every input");
            let (mut centre, mut radius) = (Vec::with_capacity(elements), Vec::with_capacity(elements));
            for (&l, &u) in lower.iter().zip(*upper) {
                let peak = f64::from(l.abs().max(u.abs()));
                if l > u || peak > bounder.peak || !peak.is_finite() {
                    return Err(Error::usage(format!("an input range [{l}, {u}] is empty or beyond {}", bounder.peak)));
                }
                let (c, r) = around(f64::from(l), f64::from(u), inflate);
                centre.push(c);
                radius.push(r);
            }
            inputs.push(Inputs { centre, radius, body: Body::Box, ends: OnceLock::new() });
        }
        Region::place(bounder, &inputs.iter().collect::<Vec<_>>())
    }

    /// Ellipsoids in [0,1], the boxes around which are all of it.
    pub fn clouds(bounder: &Bounder, clouds: &[Cloud<'_>]) -> Result<Region> {
        let elements = bounder.net.model.input.len();
        let (c, r) = around(0.0, 1.0, f64::from(bounder.inflation(0)));
        let inputs = |cloud: &Cloud<'_>| {
            assert!(cloud.centre.len() == elements && cloud.axes.len() == 2 * elements, "a value for every input");
            let body =
                Body::Ellipsoid { centre: cloud.centre.to_vec(), axes: cloud.axes.to_vec(), radius: cloud.radius };
            Inputs { centre: vec![c; elements], radius: vec![r; elements], body, ends: OnceLock::new() }
        };
        let region = Region::place(bounder, &clouds.iter().map(inputs).collect::<Vec<_>>().iter().collect::<Vec<_>>())?;
        Ok(Region { forms: Some(Mutex::new(vec![vec![]; clouds.len()])), ..region })
    }

    /// Zonotopes within the boxes that they come with.
    pub fn zonotopes(bounder: &Bounder, zonotopes: &[Zonotope]) -> Result<Region> {
        let inflate = f64::from(bounder.inflation(0));
        let inputs = zonotopes.iter().map(|z| {
            let box_ = z.lower.iter().zip(&z.upper).map(|(l, u)| around(f64::from(*l), f64::from(*u), inflate));
            let (centre, radius) = box_.unzip();
            Inputs { centre, radius, body: Body::Zonotope(Frame::new(z)), ends: OnceLock::new() }
        });
        Region::place(bounder, &inputs.collect::<Vec<_>>().iter().collect::<Vec<_>>())
    }

    /// Whether every form of the input that a bound rests on costs something, so that none is used without need.
    pub fn is_random(&self) -> bool {
        self.forms.is_some()
    }

    /// Takes note that a neuron of a lane was bounded by a form of the input.
    pub fn note(&self, lane: usize, form: Form) {
        if let Some(forms) = &self.forms {
            forms.lock().unwrap_or_else(PoisonError::into_inner)[lane].push(form);
        }
    }

    /// By lane, the neurons that were bounded by forms of the input so far, margins apart; none where they cost nothing.
    pub fn forms(&self) -> Vec<Vec<Form>> {
        self.forms.as_ref().map_or(vec![], |forms| forms.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// One lane for each of these, repeated as they may be.
    pub fn place(bounder: &Bounder, inputs: &[&Inputs]) -> Result<Region> {
        let (d, elements, lanes) = (bounder.device(), bounder.net.model.input.len(), tensor::lanes(inputs.len()));
        let place = |of: fn(&Inputs) -> &[f32]| d.upload(&tensor::interleave(inputs.iter().map(|i| of(i)), elements));
        let table = |of: &dyn Fn(&Inputs) -> Option<&[f32]>| {
            d.upload(&shelf::by_lane(lanes, inputs.iter().map(|i| of(i)).collect::<Vec<_>>().into_iter()))
        };
        let radii = |of: &dyn Fn(&Inputs) -> f32| {
            let mut all: Vec<f32> = inputs.iter().map(|i| of(i)).collect();
            all.resize(lanes, 0.0);
            d.upload(&all)
        };
        // All are of one kind.
        let body = match inputs.first().map(|i| &i.body) {
            None | Some(Body::Box) => Body::Box,
            Some(Body::Ball { .. }) => Body::Ball {
                image: table(&|i| i.body.ball().map(|(image, _)| &image[..]))?,
                delta: radii(&|i| i.body.ball().map_or(0.0, |(_, delta)| *delta))?,
            },
            Some(Body::Ellipsoid { .. }) => Body::Ellipsoid {
                centre: table(&|i| i.body.ellipsoid().map(|(centre, _, _)| &centre[..]))?,
                axes: table(&|i| i.body.ellipsoid().map(|(_, axes, _)| &axes[..]))?,
                radius: radii(&|i| i.body.ellipsoid().map_or(0.0, |(_, _, radius)| *radius))?,
            },
            Some(Body::Zonotope(first)) => {
                Body::Zonotope(first.each(|k, _| table(&|i| i.body.zonotope().map(|f| &f.part(k)[..])))?)
            }
        };
        let (centre, radius) = (place(|i| &i.centre)?, place(|i| &i.radius)?);
        let size = mean(inputs.iter().map(|i| i.radius.iter().fold(0.0, |m: f32, r| m.max(*r))));
        let (count, tables) = (inputs.len(), OnceLock::new());
        Ok(Region { count, lanes, size, centre, radius, body, tables, forms: None, around: None, cuts: None })
    }

    /// Copies of sets, so many.
    pub fn copied(&self, d: &Device, copies: &Copies, count: usize) -> Result<Region> {
        let table = |from: &Buffer| copies.table(d, from);
        let body = match &self.body {
            Body::Box => Body::Box,
            Body::Ball { image, delta } => Body::Ball { image: table(image)?, delta: table(delta)? },
            Body::Ellipsoid { centre, axes, radius } => {
                Body::Ellipsoid { centre: table(centre)?, axes: table(axes)?, radius: table(radius)? }
            }
            Body::Zonotope(frame) => Body::Zonotope(frame.each(|_, part| table(part))?),
        };
        let cuts = self
            .cuts
            .as_ref()
            .map(|c| -> Result<_> { Ok(cut::Forms { form: table(&c.form)?, words: table(&c.words)? }) });
        Ok(Region {
            count,
            lanes: copies.lanes(),
            size: self.size,
            centre: copies.columns(d, &self.centre)?,
            radius: copies.columns(d, &self.radius)?,
            body,
            tables: OnceLock::new(),
            forms: None,
            around: None,
            cuts: cuts.transpose()?,
        })
    }

    /// The sets that [`place`](Self::place) makes of these, all boxes or balls of the maximum norm, without what is cut off.
    pub fn cut(self, bounder: &Bounder, inputs: &[&Inputs], cuts: &[Option<&Cut>]) -> Result<Region> {
        let boxes = inputs.iter().map(|i| [&i.centre[..], &i.radius]);
        let forms = Cut::place(bounder.device(), self.lanes, cuts.iter().copied().zip(boxes))?;
        Ok(Region { cuts: Some(forms), ..self })
    }

    /// Whether something is cut off.
    pub fn is_cut(&self) -> bool {
        self.cuts.is_some()
    }

    /// Rows over whole inputs that lean on what is cut off, with their sums, where something is.
    pub fn lean(
        &self,
        bounder: &Bounder,
        c: &Coefficients,
        rows: &Rows,
        sums: &Buffer,
    ) -> Result<Option<(Coefficients, Buffer)>> {
        let Some(forms) = self.cuts.as_ref().filter(|_| c.window.is_dense()) else { return Ok(None) };
        let d = bounder.device();
        let [centre, radius] = self.tables(d)?;
        let (leant, own) = (c.copy(d)?, d.alloc(sums.len())?);
        d.copy(sums, &own)?;
        let (least, g) =
            (self.least(bounder, c, rows, sums, forms, 2 * rows.lanes)?, bounder.sum_error(c.window.elements()));
        cut::lean(d, c.window.layer, &least, [centre, radius], rows, forms, [&leant.a, &own], g)?;
        Ok(Some((leant, own)))
    }

    /// Of rows over whole inputs, in so many words: what each is at least on what the forms leave, and how much it leans on its
    /// own.
    fn least(
        &self,
        bounder: &Bounder,
        c: &Coefficients,
        rows: &Rows,
        sums: &Buffer,
        forms: &cut::Forms,
        words: usize,
    ) -> Result<Buffer> {
        let d = bounder.device();
        let [centre, radius] = self.tables(d)?;
        let (least, g) = (d.alloc(words)?, bounder.sum_error(c.window.elements()));
        cut::least(d, c.window.layer, &c.a, [centre, radius], rows, sums, forms, &least, g, bounder.floor())?;
        Ok(least)
    }

    /// Every lane, for [`place`](Self::place).
    pub fn inputs(&self, d: &Device) -> Result<Vec<Inputs>> {
        let rows = |table: &Buffer| shelf::lanes(d, table, self.lanes, self.count);
        let bodies: Vec<Body<Vec<f32>, f32>> = match &self.body {
            Body::Box => (0..self.count).map(|_| Body::Box).collect(),
            Body::Ball { image, delta } => {
                let parts = rows(image)?.into_iter().zip(d.read::<f32>(delta)?);
                parts.map(|(image, delta)| Body::Ball { image, delta }).collect()
            }
            Body::Ellipsoid { centre, axes, radius } => {
                let parts = rows(centre)?.into_iter().zip(rows(axes)?).zip(d.read::<f32>(radius)?);
                parts.map(|((centre, axes), radius)| Body::Ellipsoid { centre, axes, radius }).collect()
            }
            Body::Zonotope(frame) => {
                let parts = frame.each(|_, part| rows(part))?;
                let lane = |l: usize| parts.each(|_, lanes| Ok(lanes[l].clone())).map(Body::Zonotope);
                (0..self.count).map(lane).collect::<Result<_>>()?
            }
        };
        let [centre, radius] = [&self.centre, &self.radius].map(|side| shelf::columns(d, side, self.lanes, self.count));
        let parts = centre?.into_iter().zip(radius?).zip(bodies);
        Ok(parts.map(|((centre, radius), body)| Inputs { centre, radius, body, ends: OnceLock::new() }).collect())
    }

    /// Whether rows tell more of the values of the first layers than the boxes around the sets.
    pub fn is_round(&self) -> bool {
        match self.body {
            Body::Ellipsoid { .. } | Body::Zonotope(_) => true,
            Body::Box | Body::Ball { .. } => false,
        }
    }

    /// Centre and radius of the boxes around the sets, `[element][lane]`.
    pub fn interval(&self) -> [&Buffer; 2] {
        [&self.centre, &self.radius]
    }

    /// [`interval`](Self::interval) as tables `[lane][element]`.
    pub fn tables(&self, d: &Device) -> Result<&[Buffer; 2]> {
        shelf::transposed(d, &self.tables, self.interval(), self.lanes)
    }

    /// Least values of rows over their sets.
    pub fn concretise(&self, bounder: &Bounder, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Buffer> {
        let d = bounder.device();
        if let Some(frame) = self.body.zonotope() {
            return d.upload(&frame.concretise(bounder, c, rows, sums)?);
        }
        if let Some(forms) = self.cuts.as_ref().filter(|_| c.window.is_dense()) {
            return self.least(bounder, c, rows, sums, forms, rows.lanes);
        }
        let [centre, radius] = self.tables(d)?;
        let lower = concretise(bounder, [centre, radius], c, rows, sums)?;
        if let Some(form) = self.form(bounder, c, rows, sums)? {
            targets::most(d, &form, &lower)?;
        }
        Ok(lower)
    }

    /// What [`ellipsoid::ellipsoid`] says of rows, where the sets are ellipsoids.
    fn form(&self, bounder: &Bounder, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Option<Buffer>> {
        let Some((centre, axes, radius)) = self.body.ellipsoid() else { return Ok(None) };
        let d = bounder.device();
        let (form, g) = (d.alloc(3 * rows.lanes)?, bounder.sum_error(c.window.elements()));
        ellipsoid::ellipsoid(d, &c.window, &c.a, [centre, axes, radius], rows, sums, &form, g, bounder.floor())?;
        Ok(Some(form))
    }

    /// Least values of rows over their sets, and after those the radius at which each would be zero; nothing where the sets
    /// do not grow by one number.
    pub fn reach(&self, bounder: &Bounder, c: &Coefficients, rows: &Rows, sums: &Buffer) -> Result<Option<Buffer>> {
        let d = bounder.device();
        match &self.body {
            Body::Box | Body::Zonotope(_) => Ok(None),
            Body::Ellipsoid { .. } => self.form(bounder, c, rows, sums),
            Body::Ball { image, delta } => {
                let leant = self.lean(bounder, c, rows, sums)?;
                let (c, sums) = leant.as_ref().map_or((c, sums), |(c, sums)| (c, sums));
                let g = bounder.sum_error(c.window.elements());
                let result = d.alloc(2 * rows.lanes)?;
                let of = linear::Ball { image, delta, is_origin: self.around.is_some() };
                linear::radius(d, c.window.layer, &c.a, &of, rows, sums, &result, g, bounder.floor())?;
                Ok(Some(result))
            }
        }
    }

    /// Where in its set each row is least, like its coefficients; of a zonotope, in the box around it, and where it leans on
    /// what is cut off, perhaps a little beyond that.
    pub fn corner(&self, bounder: &Bounder, c: &Coefficients, rows: &Rows) -> Result<Buffer> {
        let d = bounder.device();
        let leant = self.lean(bounder, c, rows, &d.zeros(2 * SLICES * rows.lanes)?)?;
        let c = leant.as_ref().map_or(c, |(c, _)| c);
        let x = d.alloc(c.a.len())?;
        match self.body.ellipsoid() {
            None => {
                let [centre, radius] = self.tables(d)?;
                shared_slopes::corner(d, &c.window, &c.a, [centre, radius], rows, &x)?;
            }
            Some((centre, axes, radius)) => {
                let sums = d.zeros(2 * SLICES * rows.lanes)?;
                if let Some(form) = self.form(bounder, c, rows, &sums)? {
                    ellipsoid::farthest(d, &c.window, &c.a, [centre, axes, radius], rows, &form, &x)?;
                }
            }
        }
        Ok(x)
    }
}

impl Inputs {
    /// The largest magnitude of every input.
    pub fn sizes(&self) -> impl Iterator<Item = f64> + '_ {
        self.centre.iter().zip(&self.radius).map(|(c, r)| f64::from(c.abs()) + f64::from(*r))
    }

    /// Whether something can be cut off the set, so that bounds tell of it.
    pub fn can_be_cut(&self) -> bool {
        match self.body {
            Body::Box | Body::Ball { .. } => true,
            Body::Ellipsoid { .. } | Body::Zonotope(_) => false,
        }
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&self.centre[..]) + size_of_val(&self.radius[..])
    }
}

impl<T, R> Body<T, R> {
    fn ball(&self) -> Option<(&T, &R)> {
        match self {
            Body::Ball { image, delta } => Some((image, delta)),
            Body::Box | Body::Ellipsoid { .. } | Body::Zonotope(_) => None,
        }
    }

    fn ellipsoid(&self) -> Option<(&T, &T, &R)> {
        match self {
            Body::Ellipsoid { centre, axes, radius } => Some((centre, axes, radius)),
            Body::Box | Body::Ball { .. } | Body::Zonotope(_) => None,
        }
    }

    fn zonotope(&self) -> Option<&Frame<T>> {
        match self {
            Body::Zonotope(frame) => Some(frame),
            Body::Box | Body::Ball { .. } | Body::Ellipsoid { .. } => None,
        }
    }
}

/// Least values of rows over boxes `[lane][element]` of any value.
pub(super) fn concretise(
    bounder: &Bounder,
    [centre, radius]: [&Buffer; 2],
    c: &Coefficients,
    rows: &Rows,
    sums: &Buffer,
) -> Result<Buffer> {
    let d = bounder.device();
    let lower = d.alloc(rows.lanes)?;
    let g = bounder.sum_error(c.window.elements());
    linear::concretize(d, &c.window, &c.a, [centre, radius], rows, sums, &lower, g, bounder.floor())?;
    Ok(lower)
}

fn mean(radii: impl ExactSizeIterator<Item = f32>) -> f64 {
    let count = radii.len().max(1);
    radii.map(f64::from).sum::<f64>() / count as f64
}

/// Centre and radius of `[lower, upper]`, the radius inflated by a share of |centre|; never subnormal.
pub(super) fn around(l: f64, u: f64, inflate: f64) -> (f32, f32) {
    let middle = (0.5 * (l + u)) as f32;
    let centre = if middle.is_subnormal() { 0.0 } else { middle };
    let c = f64::from(centre);
    let radius = (u - c).max(c - l) + inflate * c.abs();
    // A few roundings of f64, each far below one unit in the last place of f32.
    let radius = to_f32_up(radius * (1.0 + 4.0 * f64::EPSILON));
    // Not `max`, which passes over NaN.
    let radius = if radius > 0.0 && radius < ETA { ETA } else { radius };
    (centre, if radius <= 0.0 { 0.0 } else { radius })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn centre_and_radius_cover_the_range() {
        let mut rng = Rng::new(9, 1);
        for _ in 0..20_000 {
            let scale = 10f32.powf(rng.range(-40.0, 10.0));
            let (a, b) =
                (rng.range(-1.0, 1.0) * scale, rng.range(-1.0, 1.0) * 10f32.powf(rng.range(-8.0, 0.0)) * scale);
            let (l, u) = (a.min(b), a.max(b));
            let (c, r) = around(f64::from(l), f64::from(u), 1e-5);
            let (c, r) = (f64::from(c), f64::from(r));
            assert!(c - r <= f64::from(l) && f64::from(u) <= c + r, "[{l}, {u}]: {c} ± {r}");
        }
        assert_eq!(around(0.25, 0.25, 0.0), (0.25, 0.0));
    }
}
