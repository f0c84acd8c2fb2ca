//! Dominance and relevance of single images, clean and noisy.

use crate::bounds::{Ball, Bounder, Method, Row};
use crate::error::Result;
use crate::network::{Network, largest};
use crate::relevance;
use crate::results::{ExampleLevel, Margin, Picture, ScorePoint};
use crate::tensor::Shape;

/// Bounds over one ball that dominance pictures need.
#[derive(Clone, Debug)]
pub struct Dominance {
    /// `[low, high]` of every logit.
    pub logits: Vec<[f64; 2]>,
    /// `[low, high]` of every softmax score, from bounds of all pairwise differences.
    pub scores: Vec<[f64; 2]>,
    /// Lower bound of `logit_class - logit_j` per rival j; 0 for the class itself.
    pub margins: Vec<f64>,
}

/// Proved intervals of logits, scores and margins over a ball.
pub fn dominance(bounder: &Bounder, ball: &Ball<'_>) -> Result<Dominance> {
    let k = bounder.net.model.outputs();
    let unit = |terms: &[(usize, f32)]| {
        let mut coefficients = vec![0.0; k];
        terms.iter().for_each(|(j, c)| coefficients[*j] = *c);
        Row { lane: 0, coefficients, constant: 0.0 }
    };
    let mut rows: Vec<Row> = (0..k).flat_map(|j| [unit(&[(j, 1.0)]), unit(&[(j, -1.0)])]).collect();
    for i in 0..k {
        rows.extend((0..k).map(|j| if i == j { unit(&[]) } else { unit(&[(i, 1.0), (j, -1.0)]) }));
    }
    let lower: Vec<f64> = bounder.row_bounds(ball, &rows)?.into_iter().map(f64::from).collect();
    let logits: Vec<[f64; 2]> = (0..k).map(|j| [lower[2 * j], -lower[2 * j + 1]]).collect();
    // difference[i][j] bounds logit_i - logit_j from below.
    let difference = |i: usize, j: usize| if i == j { 0.0 } else { lower[2 * k + i * k + j] };
    // A relative error of 1e-9 is far more than exp and the sum can lose.
    let scores = (0..k)
        .map(|i| {
            let low: f64 = (0..k).map(|j| (-difference(i, j)).exp()).sum();
            let high: f64 = (0..k).map(|j| difference(j, i).exp()).sum();
            [(1.0 / low) * (1.0 - 1e-9), ((1.0 / high) * (1.0 + 1e-9)).min(1.0)]
        })
        .collect();
    let margins = (0..k).map(|j| difference(ball.class, j)).collect();
    Ok(Dominance { logits, scores, margins })
}

/// What to compute for one image at one noise level.
pub struct Request<'a> {
    /// The image as the network sees it.
    pub image: &'a [f32],
    /// The image without noise, whose background tells object from background.
    pub clean: &'a [f32],
    pub shape: Shape,
    pub variance: f64,
    /// Half-width of the ball of the dominance picture.
    pub delta: f32,
    /// Delta max, where known.
    pub proved: Option<f64>,
    pub attacked: Option<f64>,
}

/// Dominance, score intervals as delta grows, and relevance of one image.
pub fn level(net: &Network, method: Method, request: &Request<'_>) -> Result<ExampleLevel> {
    let scores = net.scores(&[request.image])?.remove(0);
    let class = largest(&scores);
    let bounder = Bounder::new(net, method)?;
    let ball = Ball { image: request.image, class, delta: request.delta };
    let found = dominance(&bounder, &ball)?;
    let mut margins = Vec::new();
    for other in Method::ALL.into_iter().filter(|m| *m <= method) {
        let lower = Bounder::new(net, other)?.probe(&[ball])?.remove(0).margins;
        margins.extend((0..lower.len()).filter(|j| *j != class).map(|rival| Margin {
            rival,
            method: other.to_string(),
            lower: f64::from(lower[rival]),
        }));
    }
    let end = request.attacked.or(request.proved).filter(|d| *d > 0.0).unwrap_or(f64::from(request.delta)) * 1.25;
    let mut continuous = Vec::new();
    for step in 0..=24 {
        let delta = end * f64::from(step) / 24.0;
        let scores = dominance(&bounder, &Ball { delta: delta as f32, ..ball })?.scores;
        continuous.push(ScorePoint { delta, scores });
    }
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
        relevance: relevance::maps(net, request.image, request.clean, class)?,
    })
}
