//! Dominance and relevance of single images, clean and noisy.

mod stays;

pub use stays::{CONFIDENCE, RISK, noise_and_light, stays};

use crate::attack;
use crate::bounds::{Ball, Bounder, Method, Row};
use crate::certify;
use crate::error::Result;
use crate::network::largest;
use crate::norm::Norm;
use crate::relevance;
use crate::results::{ExampleLevel, Margin, Picture, ScorePoint};
use crate::search;
use crate::tensor::Shape;

/// Bounds over one ball that dominance pictures need.
#[derive(Clone, Debug)]
struct Dominance {
    /// `[low, high]` of every logit.
    logits: Vec<[f64; 2]>,
    /// `[low, high]` of every softmax score, from bounds of all pairwise differences.
    scores: Vec<[f64; 2]>,
    /// Lower bound of `logit_class - logit_j` per rival j; 0 for the class itself.
    margins: Vec<f64>,
}

/// Classes of which every pair is compared, the nearest to an image; pairs of others are as far apart as their logits.
/// Comparing all pairs costs the square of the number of classes.
const PAIRED: usize = 10;

/// Proved intervals of logits, scores and margins over each ball. `logits[ball][class]`, of its image, says which classes
/// are near.
fn dominance(bounder: &Bounder, balls: &[Ball<'_>], logits: &[f32]) -> Result<Vec<Dominance>> {
    let k = logits.len();
    let mut near: Vec<usize> = (0..k).collect();
    near.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    near.truncate(PAIRED);
    let unit = |lane: usize, terms: &[(usize, f32)]| {
        let mut coefficients = vec![0.0; k];
        terms.iter().for_each(|(j, c)| coefficients[*j] = *c);
        Row { lane, coefficients, constant: 0.0 }
    };
    let pairs = |class: usize| {
        let near = &near;
        let compared = move |i: usize, j: usize| i == class || near.contains(&i) && near.contains(&j);
        (0..k).flat_map(move |i| (0..k).map(move |j| (i, j))).filter(move |&(i, j)| i != j && compared(i, j))
    };
    let mut rows = Vec::new();
    for (lane, ball) in balls.iter().enumerate() {
        rows.extend((0..k).flat_map(|j| [unit(lane, &[(j, 1.0)]), unit(lane, &[(j, -1.0)])]));
        rows.extend(pairs(ball.class).map(|(i, j)| unit(lane, &[(i, 1.0), (j, -1.0)])));
    }
    let mut lower = bounder.row_bounds(balls, &rows)?.into_iter().map(f64::from);
    let mut next = || lower.next().expect("a bound for every row");
    let mut all = Vec::with_capacity(balls.len());
    for ball in balls {
        let logits: Vec<[f64; 2]> = (0..k).map(|_| [next(), -next()]).collect();
        // Bounds of logit_i - logit_j from below, by logits alone and of pairs.
        let apart = |i: usize, j: usize| if i == j { 0.0 } else { (logits[i][0] - logits[j][1]).next_down() };
        let mut differences: Vec<Vec<f64>> = (0..k).map(|i| (0..k).map(|j| apart(i, j)).collect()).collect();
        pairs(ball.class).for_each(|(i, j)| differences[i][j] = next());
        all.push(of_differences(ball.class, logits, &differences));
    }
    Ok(all)
}

/// Puts the bounds of one ball together; `differences[i][j]` bounds `logit_i - logit_j` from below.
fn of_differences(class: usize, logits: Vec<[f64; 2]>, differences: &[Vec<f64>]) -> Dominance {
    let k = logits.len();
    // A relative error of 1e-9 is far more than exp and the sum can lose.
    let scores = (0..k)
        .map(|i| {
            let low: f64 = (0..k).map(|j| (-differences[i][j]).exp()).sum();
            let high: f64 = (0..k).map(|j| differences[j][i].exp()).sum();
            [(1.0 / low) * (1.0 - 1e-9), ((1.0 / high) * (1.0 + 1e-9)).min(1.0)]
        })
        .collect();
    Dominance { logits, scores, margins: differences[class].clone() }
}

/// Delta max of one image.
#[derive(Clone, Debug)]
pub struct Bracket {
    /// The class of the image.
    pub class: usize,
    /// The class is proved on the ball of this radius.
    pub proved: f64,
    /// The class that stops the proof.
    pub rival: usize,
    /// The nearest image of another class that an attack found.
    pub hit: Option<attack::Hit>,
}

/// Proves and attacks one image, values in `[0,1]` from a file of 8-bit pixels.
///
/// # Errors
/// If the attack breaks what was proved: the device miscomputes.
pub fn bracket(bounder: &Bounder, image: &[f32]) -> Result<Bracket> {
    let subjects = certify::classify(bounder, &[image])?;
    let class = subjects[0].class;
    let mut found = None;
    search::search(bounder, &search::Settings::new(bounder), subjects, |_, f| {
        found = Some(f);
        Ok(())
    })?;
    let found = found.expect("one image gives one result");
    let hit =
        attack::attack(&bounder.net, bounder.norm, &[image], &[class], &[], &attack::Settings::default())?.remove(0);
    let (proved, attacked) = certify::ends(bounder, "the image", found.proved, hit.as_ref().map(|h| h.distance))?;
    let hit = hit.zip(attacked).map(|(hit, distance)| attack::Hit { distance, ..hit });
    Ok(Bracket { class, proved: f64::from(proved), rival: found.rival, hit })
}

/// The radius of a dominance picture where none was asked for: that of one grey level on every pixel.
pub fn usual_delta(norm: Norm, shape: Shape) -> f32 {
    norm.spread(1.0 / 255.0, shape.len())
}

/// The noise box of certified relevance is this much narrower than that of the dominance picture: bounds of a gradient
/// widen much faster than those of the logits.
pub const CERTIFIED_SHARE: f32 = 0.25;

/// Points of the curve of score intervals against delta.
const CURVE: usize = 16;

/// What to compute for one image at one noise level.
pub struct Request<'a> {
    /// The image as the network sees it.
    pub image: &'a [f32],
    /// The image without noise, whose background tells object from background.
    pub clean: &'a [f32],
    /// Of both images.
    pub shape: Shape,
    /// Of the noise in `image`, for the record.
    pub variance: f64,
    /// Radius of the ball of the dominance picture.
    pub delta: f32,
    /// The predicted class, where known, and delta max.
    pub class: Option<usize>,
    /// The proved end of the bracket, where known.
    pub proved: Option<f64>,
    /// The attacked end.
    pub attacked: Option<f64>,
}

/// Dominance, score intervals as delta grows, and relevance of one image.
pub fn level(bounder: &Bounder, request: &Request<'_>) -> Result<ExampleLevel> {
    let (net, method) = (&bounder.net, bounder.method);
    let scores = net.scores(&[request.image])?.remove(0);
    let class = request.class.unwrap_or_else(|| largest(&scores));
    let ball = Ball { image: request.image, class, delta: request.delta };
    let found = dominance(bounder, &[ball], &scores)?.remove(0);
    let mut margins = Vec::new();
    for other in Method::ALL.into_iter().filter(|m| *m <= method) {
        let lower = Bounder::new(net, other)?.for_norm(bounder.norm).probe(&[ball])?.remove(0).margins;
        margins.extend((0..lower.len()).filter(|j| *j != class).map(|rival| Margin {
            rival,
            method: other.to_string(),
            lower: f64::from(lower[rival]),
        }));
    }
    let end = request.attacked.or(request.proved).filter(|d| *d > 0.0).unwrap_or(f64::from(request.delta)) * 1.25;
    let deltas: Vec<f64> = (0..=CURVE).map(|step| end * step as f64 / CURVE as f64).collect();
    let balls: Vec<Ball<'_>> = deltas.iter().map(|&delta| Ball { delta: delta as f32, ..ball }).collect();
    let curve = dominance(bounder, &balls, &scores)?;
    let point = |(delta, d): (f64, Dominance)| {
        // JSON knows no infinity.
        let margins = d.margins.into_iter().map(|m| m.max(f64::MIN)).collect();
        ScorePoint { delta, scores: d.scores, margins }
    };
    let continuous = deltas.into_iter().zip(curve).map(point).collect();
    let mut relevance = relevance::maps(net, request.image, request.clean, class)?;
    let regions = relevance::Regions::of(request.shape, request.clean);
    let narrow = Ball { delta: CERTIFIED_SHARE * request.delta, ..ball };
    relevance.extend(relevance::certified(bounder, &[narrow], &[regions])?);
    Ok(ExampleLevel {
        variance: request.variance,
        picture: Picture::from_chw(request.shape, request.image),
        predicted: class,
        logits: scores.iter().map(|s| f64::from(*s)).collect(),
        delta: f64::from(request.delta),
        logit_bounds: found.logits,
        score_bounds: found.scores,
        dominant: (0..scores.len()).all(|j| j == class || found.margins[j] > 0.0),
        margins,
        proved: request.proved,
        attacked: request.attacked,
        continuous,
        relevance,
        stays: vec![],
    })
}
