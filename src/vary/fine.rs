//! Boxes of parameters of which so little is missing that what f32 loses to rounding decides: the margin at the middle in f64, and how
//! much it falls from there at most, by bounds of its slopes.
//!
//! An image of the box is the middle one plus `theta_i sum_k s_k h_k d_ki + e_i` in pixel i, h being half the sides of the box,
//! `|s_k| <= 1`, `|e_i|` at most the slack of the kind, and theta the share in `[0,1]` that clipping leaves: 1 where nothing is
//! clipped, 0 where all is. So its margin is at least that of the middle less
//! `sum_k h_k |sum_i g_i theta_i d_ki| + sum_i |g_i| slack` for some slopes g within the bounds. Changes of pixels that move
//! together cancel there as they do in the network, and what is rounded is as small as the box.

use super::leaf::{Leaf, zonotope};
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
    let middle = |(question, leaf, _): &(&Question<'_>, &Leaf, Vec<usize>)| {
        let image: Vec<f64> = question.family.exact(&leaf.middle());
        let errors = vec![OFF; image.len()];
        enclosure::values_near(&bounder.net.model, image, errors)
    };
    let middles: Vec<Vec<enclosure::Known>> = asked.iter().map(middle).collect();
    let mut rows: Vec<(usize, usize, f64)> = vec![];
    let mut all = vec![true; asked.len()];
    for (at, (question, _, rivals)) in asked.iter().enumerate() {
        let known = middles[at].last().expect("a network has outputs");
        let leads = rivals.iter().map(|&rival| (rival, enclosure::lead(known, question.subject.class, rival)));
        let leads: Vec<(usize, f64)> = leads.collect();
        all[at] = leads.iter().all(|(_, lead)| *lead > 0.0);
        if all[at] {
            rows.extend(leads.into_iter().map(|(rival, lead)| (at, rival, lead)));
        }
    }
    if rows.is_empty() {
        return Ok(all);
    }
    let set = |at: usize| zonotope(&asked[at].0.family, asked[at].1, asked[at].0.subject.class);
    let zonotopes: Vec<_> = rows.iter().map(|(at, _, _)| set(*at)).collect();
    let rivals: Vec<usize> = rows.iter().map(|(_, rival, _)| *rival).collect();
    let points: Vec<&[enclosure::Known]> = rows.iter().map(|(at, _, _)| &middles[*at][..]).collect();
    let falls = match bounder.falls(&zonotopes, &rivals, &points) {
        // Beyond what f32 can follow nothing is known.
        Err(Error::Usage(_)) => return Ok(vec![false; asked.len()]),
        falls => falls?,
    };
    for ((at, _, lead), slopes) in rows.into_iter().zip(falls) {
        all[at] &= lead > fall(asked[at].0, asked[at].1, &slopes);
    }
    Ok(all)
}

/// How much a margin of these slopes falls at most from the middle of a box.
fn fall(question: &Question<'_>, leaf: &Leaf, slopes: &[[f64; 2]]) -> f64 {
    let (half, at) = (leaf.half(), leaf.middle());
    let slack = question.family.kind.slack();
    let mut sums = vec![[0.0; 2]; half.len()];
    let mut loose = 0.0;
    for (i, &[low, high]) in slopes.iter().enumerate() {
        loose += low.abs().max(high.abs()) * (slack + OFF);
        let reach: f64 = question.family.directions_at(i).zip(&half).map(|(d, h)| (d * h).abs()).sum();
        let [least, most] = left_by_clipping(question.family.value(i, &at), reach);
        let ends = [low * least, low * most, high * least, high * most];
        let [low, high] = ends.iter().fold([f64::INFINITY, -f64::INFINITY], |[a, b], &v| [v.min(a), v.max(b)]);
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

/// The share of a change from `middle` by up to `reach` that clipping to `[0,1]` leaves, at least and at most.
fn left_by_clipping(middle: f64, reach: f64) -> [f64; 2] {
    let (from, to) = (middle - reach - OFF, middle + reach + OFF);
    // Seen from the upper end, as far as it is from the lower one.
    let below = |inside: f64, beyond: f64| ((inside - OFF) / (beyond + OFF)).clamp(0.0, 1.0);
    if from >= 0.0 && to <= 1.0 {
        [1.0; 2]
    } else if to <= 0.0 || from >= 1.0 {
        [0.0; 2]
    } else if (OFF..=1.0 - OFF).contains(&middle) {
        [below(1.0 - middle, to - middle).min(below(middle, middle - from)), 1.0]
    } else {
        // Outside, most is left of what goes to the other end, or as far as it gets.
        let (outside, inside) = if middle > 0.5 { (middle - 1.0, 1.0 - from) } else { (-middle, to) };
        let inside = (inside + OFF).min(1.0);
        [0.0, (inside / (outside.max(0.0) - OFF + inside).max(inside)).min(1.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn clipping_leaves_between_these_shares() {
        let mut rng = Rng::new(7, 1);
        for _ in 0..3000 {
            let (middle, reach) = (f64::from(rng.range(-1.0, 2.0)), f64::from(rng.range(0.001, 1.0)));
            let [least, most] = left_by_clipping(middle, reach);
            let share = |k: i32| {
                let z = middle + reach * f64::from(k) / 200.0;
                (z.clamp(0.0, 1.0) - middle.clamp(0.0, 1.0)) / (z - middle)
            };
            let shares = (-200..=200).filter(|k| *k != 0).map(share);
            let (low, high) = shares.fold((1.0f64, 0.0f64), |(a, b), s| (a.min(s), b.max(s)));
            assert!(least <= low + 1e-9 && high <= most + 1e-9, "{middle} {reach}: {low} {high} in {least} {most}");
            assert!(least > low - 0.02 && most < high + 0.02, "{middle} {reach}: {low} {high} in {least} {most}");
        }
        assert_eq!((left_by_clipping(0.5, 0.4), left_by_clipping(1.5, 0.4)), ([1.0; 2], [0.0; 2]));
    }
}
