//! Where images of a family turn into another class: along rays of parameters, first as f32 sees it, then checked by an
//! enclosure in f64.

use rayon::prelude::*;

use super::Family;
use crate::device::Fit;
use crate::error::Result;
use crate::model::enclosure;
use crate::network::{Network, largest};
use crate::search::Subject;

/// Places along a ray that are looked at first: evenly, and below the first of those by halves.
const PLACES: usize = 64;
const HALVES: i32 = 12;
/// Places between two, when a change is narrowed down, and how often.
const FINER: usize = 16;
const ROUNDS: usize = 4;
/// Images through the network at once.
const BATCH: usize = 1024;
/// How often an enclosure may stay undecided before a change is given up, each time a little further.
const TRIES: i32 = 12;
/// How much further a change may be sought that is clear, as a share of what the ends of a bracket may be apart: so near that
/// the bracket can be closed all the same.
const NEAR: f64 = 0.3;

/// One image, and the family whose changes of class are looked for.
pub struct Question<'a> {
    /// The image with its class.
    pub subject: &'a Subject,
    /// What it turns into.
    pub family: Family,
}

/// An image of another class, for certain.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// The largest of the parameters, by magnitude.
    pub scale: f64,
    /// The parameters.
    pub t: Vec<f64>,
    /// What the image is taken for.
    pub class: usize,
    /// Whether every runtime that computes in f32 sees the class lost, sums in any order. Else the other class leads by less
    /// than such roundings may be.
    pub clear: bool,
}

impl Turn {
    /// Whether it is to take the place of another: it is nearer, unless that is clear and hardly further.
    pub(super) fn is_better(&self, than: Option<&Turn>, gap: f64) -> bool {
        let room = |clear: bool| if clear { 1.0 + NEAR * gap } else { 1.0 };
        than.is_none_or(|than| {
            self.scale * room(than.clear && !self.clear) < than.scale * room(self.clear && !than.clear)
        })
    }
}

/// A ray of parameters, the largest of which is 1, and places on it, rising.
pub(super) struct Ray {
    pub question: usize,
    pub way: Vec<f64>,
    pub places: Vec<f64>,
}

impl Ray {
    /// From a place up to another, both beyond zero.
    pub fn between(question: usize, way: Vec<f64>, [low, high]: [f64; 2]) -> Ray {
        let places = (1..=FINER).map(|i| low + (high - low) * i as f64 / FINER as f64).collect();
        Ray { question, way, places }
    }

    /// The ray on which parameters lie.
    pub fn through(question: usize, t: &[f64], from: f64) -> Option<Ray> {
        let scale = t.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        (scale > 0.0).then(|| Ray::between(question, t.iter().map(|v| v / scale).collect(), [from, scale]))
    }

    fn at(&self, scale: f64) -> Vec<f64> {
        self.way.iter().map(|w| w * scale).collect()
    }
}

/// For every question the nearest change that was found, for brackets whose ends may be this share apart.
pub(super) fn search(net: &Network, questions: &[Question<'_>], gap: f64) -> Result<Vec<Option<Turn>>> {
    let mut rays = vec![];
    for (question, q) in questions.iter().enumerate() {
        let step = q.family.end / PLACES as f64;
        let near = (1..=HALVES).rev().map(|i| step * 0.5f64.powi(i));
        let places: Vec<f64> = near.chain((1..=PLACES).map(|i| step * i as f64)).collect();
        rays.extend(ways(&q.family).into_iter().map(|way| Ray { question, way, places: places.clone() }));
    }
    nearest(net, questions, rays, gap)
}

/// Where rays start: along the axes, and between them.
fn ways(family: &Family) -> Vec<Vec<f64>> {
    let n = family.parameters();
    if !family.both {
        return (1..1usize << n).map(|k| (0..n).map(|d| (k >> d & 1) as f64).collect()).collect();
    }
    let digit = |k: usize, d: usize| (k / 3usize.pow(d as u32) % 3) as f64 - 1.0;
    let all = (0..3usize.pow(n as u32)).map(|k| (0..n).map(|d| digit(k, d)).collect::<Vec<f64>>());
    all.filter(|way| way.iter().any(|w| *w != 0.0)).collect()
}

/// For every question the nearest change along any of the rays, narrowed down and checked.
pub(super) fn nearest(
    net: &Network,
    questions: &[Question<'_>],
    mut rays: Vec<Ray>,
    gap: f64,
) -> Result<Vec<Option<Turn>>> {
    for round in 0..=ROUNDS {
        let found = changes(net, questions, &rays)?;
        // Rays that cannot be the nearest any more are left out.
        let mut best = vec![f64::INFINITY; questions.len()];
        for (ray, change) in rays.iter().zip(&found) {
            if let Some([_, high]) = change {
                best[ray.question] = best[ray.question].min(*high);
            }
        }
        let kept = rays.into_iter().zip(found).filter_map(|(ray, change)| {
            let [low, high] = change?;
            let near = if round < ROUNDS { low < best[ray.question] } else { high <= best[ray.question] };
            near.then(|| match round {
                ROUNDS => Ray { places: vec![high], ..ray },
                _ => Ray::between(ray.question, ray.way, [low, high]),
            })
        });
        rays = kept.collect();
    }
    let turns: Vec<Option<Turn>> =
        rays.par_iter().map(|ray| certain(net, &questions[ray.question], ray, gap)).collect();
    let mut all: Vec<Option<Turn>> = questions.iter().map(|_| None).collect();
    for (ray, turn) in rays.iter().zip(turns) {
        let own = &mut all[ray.question];
        if let Some(turn) = turn.filter(|t| t.is_better(own.as_ref(), gap)) {
            *own = Some(turn);
        }
    }
    Ok(all)
}

/// For every ray the first of its places at which f32 sees another class, and the one before it.
fn changes(net: &Network, questions: &[Question<'_>], rays: &[Ray]) -> Result<Vec<Option<[f64; 2]>>> {
    let places: Vec<(usize, usize)> =
        rays.iter().enumerate().flat_map(|(r, ray)| (0..ray.places.len()).map(move |p| (r, p))).collect();
    let class = |part: &[(usize, usize)]| -> Result<Vec<usize>> {
        let image = |(r, p): &(usize, usize)| {
            let ray = &rays[*r];
            questions[ray.question].family.image(&ray.at(ray.places[*p]))
        };
        let images: Vec<Vec<f32>> = part.par_iter().map(image).collect();
        let images: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
        Ok(net.scores(&images)?.iter().map(|scores| largest(scores)).collect())
    };
    let classes = Fit::new(BATCH).run(&places, class)?;
    let mut found: Vec<Option<[f64; 2]>> = vec![None; rays.len()];
    for ((r, p), class) in places.into_iter().zip(classes) {
        let ray = &rays[r];
        if found[r].is_none() && class != questions[ray.question].subject.class {
            // Places of a finer look begin behind the one before.
            let before = match p {
                0 if ray.places.len() == FINER => 2.0 * ray.places[0] - ray.places[1],
                0 => 0.0,
                _ => ray.places[p - 1],
            };
            found[r] = Some([before, ray.places[p]]);
        }
    }
    Ok(found)
}

/// The change at the last place of a ray, or a little beyond, where it is certain: at the first place where it is clear, or
/// else where the other class leads most.
fn certain(net: &Network, question: &Question<'_>, ray: &Ray, gap: f64) -> Option<Turn> {
    let (start, own) = (*ray.places.last()?, question.subject.class);
    let mut most: Option<(f64, Turn)> = None;
    for i in 0..TRIES {
        let further = if i == 0 { 0.0 } else { 1e-5 * f64::from(1 << i) };
        let scale = start * (1.0 + further);
        if scale > question.family.end || most.is_some() && further > NEAR * gap {
            break;
        }
        let t = ray.at(scale);
        let image = question.family.image(&t);
        let other = enclosure::largest(&enclosure::forward(&net.model, &image)).filter(|(class, _)| *class != own);
        let Some((class, lead)) = other else { continue };
        let rounded = enclosure::forward_in_f32(&net.model, &image);
        let clear = enclosure::lead(&rounded, class, own) > 0.0;
        if clear || most.as_ref().is_none_or(|(l, _)| lead > *l) {
            most = Some((lead, Turn { scale, t, class, clear }));
        }
        if clear {
            break;
        }
    }
    most.map(|(_, turn)| turn)
}
