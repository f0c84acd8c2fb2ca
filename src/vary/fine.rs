//! Boxes of parameters of which so little is missing that what f32 loses to rounding decides: the margin at the middle in f64, and how
//! much it falls from there at most, by bounds of its gradient.
//!
//! An image of the box is the middle one plus `theta_i sum_k s_k h_k d_ki + e_i` in pixel i, h being half the sides of the box,
//! `|s_k| <= 1`, `|e_i|` at most [`SLACK`], and theta the share in `[0,1]` that clipping leaves: 1 where nothing is clipped, 0
//! where all is. So its margin is at least that of the middle less `sum_k h_k |sum_i g_i theta_i d_ki| + sum_i |g_i| SLACK` for
//! some gradient g within the bounds. Changes of pixels that move together cancel there as they do in the network, and what
//! is rounded is as small as the box.

use super::leaf::{Leaf, SLACK, zonotope};
use super::turn::Question;
use crate::bounds::{Bounder, Margin, Runtime};
use crate::error::{Error, Result};
use crate::model::enclosure;
use crate::rounding::ROOM;

/// What the middle image may be off by in f64.
const OFF: f64 = 1e-12;

/// Gradients are those of the weights as stored, and of real arithmetic.
fn speaks_of(bounder: &Bounder) -> bool {
    bounder.runtime == Runtime::Exact && bounder.net.model.folded.is_empty()
}

/// For each question what f32 loses to rounding: by how much bounds of the image alone stay below its margins in f64, at most.
///
/// # Errors
/// A fault of the device.
pub(super) fn losses(bounder: &Bounder, questions: &[Question<'_>]) -> Result<Vec<f64>> {
    if !speaks_of(bounder) {
        return Ok(vec![0.0; questions.len()]);
    }
    let mut losses = Vec::with_capacity(questions.len());
    // Sets that are bounded together have as many parameters.
    for alike in questions.chunk_by(|a, b| a.family.parameters() == b.family.parameters()) {
        let point = |q: &Question<'_>| Leaf(vec![[0.0; 2]; q.family.parameters()]);
        let points: Vec<_> = alike.iter().map(|q| zonotope(&q.family, &point(q), q.subject.class)).collect();
        for (question, margins) in alike.iter().zip(bounder.zonotopes(&points)?) {
            let known = enclosure::forward(&bounder.net.model, &question.subject.image);
            let loss = |(rival, margin): (usize, &Margin)| {
                enclosure::lead(&known, question.subject.class, rival) - f64::from(margin.lower)
            };
            let rivals = margins.iter().enumerate().filter(|(rival, _)| *rival != question.subject.class);
            losses.push(rivals.map(loss).fold(0.0, f64::max));
        }
    }
    Ok(losses)
}

/// For each of some boxes, with the rivals over which nothing is proved yet: whether its class leads over them as well.
///
/// # Errors
/// A fault of the device.
pub(super) fn proved(bounder: &Bounder, asked: &[(&Question<'_>, &Leaf, Vec<usize>)]) -> Result<Vec<bool>> {
    if !speaks_of(bounder) {
        return Ok(vec![false; asked.len()]);
    }
    let mut rows: Vec<(usize, usize, f64)> = vec![];
    let mut all = vec![true; asked.len()];
    for (at, (question, leaf, rivals)) in asked.iter().enumerate() {
        let image: Vec<f64> = question.family.exact(&leaf.middle());
        let errors = vec![OFF; image.len()];
        let known = enclosure::forward_near(&bounder.net.model, image, errors);
        let leads = rivals.iter().map(|&rival| (rival, enclosure::lead(&known, question.subject.class, rival)));
        let leads: Vec<(usize, f64)> = leads.collect();
        all[at] = leads.iter().all(|(_, lead)| *lead > 0.0);
        if all[at] {
            rows.extend(leads.into_iter().map(|(rival, lead)| (at, rival, lead)));
        }
    }
    let zonotopes: Vec<_> = rows
        .iter()
        .map(|(at, _, _)| zonotope(&asked[*at].0.family, asked[*at].1, asked[*at].0.subject.class))
        .collect();
    let rivals: Vec<usize> = rows.iter().map(|(_, rival, _)| *rival).collect();
    if rows.is_empty() {
        return Ok(all);
    }
    let gradients = match bounder.margin_gradients(&zonotopes, &rivals) {
        // Beyond what f32 can follow nothing is known.
        Err(Error::Usage(_)) => return Ok(vec![false; asked.len()]),
        gradients => gradients?,
    };
    for ((at, _, lead), gradient) in rows.into_iter().zip(gradients) {
        all[at] &= lead > fall(asked[at].0, asked[at].1, &gradient);
    }
    Ok(all)
}

/// How much a margin of these gradients falls at most from the middle of a box.
fn fall(question: &Question<'_>, leaf: &Leaf, gradient: &[[f64; 2]]) -> f64 {
    let (half, at) = (leaf.half(), leaf.middle());
    let middle: Vec<f64> = (0..gradient.len()).map(|i| question.family.value(i, &at)).collect();
    let mut sums = vec![[0.0; 2]; half.len()];
    let mut loose = 0.0;
    for (i, &[low, high]) in gradient.iter().enumerate() {
        loose += low.abs().max(high.abs()) * (SLACK + OFF);
        let reach: f64 = question.family.directions_at(i).zip(&half).map(|(d, h)| (d * h).abs()).sum();
        let (from, to) = (middle[i] - reach - OFF, middle[i] + reach + OFF);
        // Where some of the box is clipped, any share of the change may be left.
        let [low, high] = match (from >= 0.0 && to <= 1.0, to <= 0.0 || from >= 1.0) {
            (true, _) => [low, high],
            (false, true) => [0.0; 2],
            (false, false) => [low.min(0.0), high.max(0.0)],
        };
        for (sum, direction) in sums.iter_mut().zip(question.family.directions_at(i)) {
            let (a, b) = (low * direction, high * direction);
            sum[0] += a.min(b);
            sum[1] += a.max(b);
            // Terms cancel in the sums, their roundings do not.
            loose += a.abs().max(b.abs()) * ROOM * half.iter().fold(0.0, |m: f64, h| m.max(*h));
        }
    }
    let moved: f64 = sums.iter().zip(&half).map(|([low, high], h)| h * low.abs().max(high.abs())).sum();
    (moved + loose) * (1.0 + ROOM)
}
