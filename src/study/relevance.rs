//! Where relevance lies over the test images.

use super::Settings;
use crate::bounds::Ball;
use crate::dataset::Dataset;
use crate::error::Result;
use crate::explain;
use crate::network::Network;
use crate::progress::Progress;
use crate::relevance::{self, Regions};
use crate::results::{Decided, RelevanceKind, RelevanceMap, RelevanceSummary, Shares, Spread};
use crate::sweep;
use crate::terminal::counted;

/// Integrated gradients are measured on this many images at most: each takes many gradients.
const INTEGRATED: usize = 128;

/// The sign of the influence of every pixel is proved on this many images at most.
const CERTIFIED: usize = 64;

/// Further trainings are measured on this many images: enough to see whether they look elsewhere.
const REPEATED: usize = 64;

/// Where the relevance of the predicted class lies, over the first test images, per noise level and kind. Of a further
/// training (`repeat`) on fewer, and nothing is proved.
pub fn summary(
    net: &Network,
    test: &Dataset,
    settings: &Settings,
    name: &str,
    repeat: bool,
) -> Result<Vec<RelevanceSummary>> {
    let limit = if repeat { REPEATED } else { usize::MAX };
    let count = settings.relevance_limit.min(test.len()).min(limit);
    let variances = &settings.sweep.variances;
    let mut progress = Progress::start(settings.verbosity, &format!("{name}: relevance"), count * variances.len());
    let bounder = settings.bounder(net)?;
    let mut summaries = Vec::new();
    for &variance in variances {
        let images = sweep::noisy(&net.device, test, 0, count, variance, settings.sweep.seed, 0)?;
        let images: Vec<&[f32]> = images.chunks(test.shape.len()).collect();
        let (mut plain, mut integrated, mut certified) = (Vec::new(), Vec::new(), Vec::new());
        for (start, batch) in images.chunks(128).enumerate().map(|(b, c)| (b * 128, c)) {
            let classes: Vec<usize> = net.scores(batch)?.iter().map(|s| crate::network::largest(s)).collect();
            let regions: Vec<Regions> =
                (0..batch.len()).map(|k| Regions::of(test.shape, &test.image(start + k))).collect();
            for (k, gradient) in relevance::gradients(net, batch, &classes)?.iter().enumerate() {
                plain.push(relevance::map(RelevanceKind::Gradient, test.shape, gradient, &regions[k]));
                if start + k < INTEGRATED {
                    let values = relevance::integrated(net, batch[k], &test.image(start + k), classes[k])?;
                    let kind = RelevanceKind::IntegratedGradients;
                    integrated.push(relevance::map(kind, test.shape, &values, &regions[k]));
                }
                progress.advance(1);
            }
            let delta = explain::CERTIFIED_SHARE * settings.delta;
            let balls = batch.iter().zip(&classes).map(|(image, &class)| Ball { image, class, delta });
            let most = if repeat { 0 } else { CERTIFIED.saturating_sub(start) };
            let balls: Vec<Ball<'_>> = balls.take(most).collect();
            certified.extend(relevance::certified(&bounder, &balls, &regions)?);
        }
        summaries.extend([&integrated, &plain, &certified].into_iter().filter_map(|maps| summarized(variance, maps)));
    }
    progress.finish(&format!(
        "{name}: relevance of {} at {}",
        counted(count, "image"),
        counted(variances.len(), "noise level")
    ));
    Ok(summaries)
}

/// Mean and spread of the shares of maps of one kind; `None` without any relevance.
fn summarized(variance: f64, maps: &[RelevanceMap]) -> Option<RelevanceSummary> {
    let found: Vec<Shares> = maps.iter().filter_map(|m| m.shares).collect();
    let spread = |value: fn(&Shares) -> f64| Spread::of(&found.iter().map(value).collect::<Vec<_>>());
    let concentration: Vec<f64> = maps.iter().filter_map(|m| m.gini).collect();
    let signs = |counts: fn(&f32) -> bool| {
        let share = |m: &RelevanceMap| m.values.iter().filter(|v| counts(v)).count() as f64 / m.values.len() as f64;
        Spread::of(&maps.iter().map(share).collect::<Vec<_>>())
    };
    let decided =
        |delta: f64| Decided { delta, images: maps.len(), share: signs(|v| *v != 0.0), positive: signs(|v| *v > 0.0) };
    (!found.is_empty()).then(|| RelevanceSummary {
        variance,
        kind: maps[0].kind,
        images: found.len(),
        object: spread(|m| m.object),
        contour: spread(|m| m.contour),
        background: spread(|m| m.background),
        gini: (!concentration.is_empty()).then(|| Spread::of(&concentration)),
        decided: maps[0].delta.map(decided),
        each: maps.iter().enumerate().filter_map(|(i, m)| Some((i, m.shares?))).collect(),
    })
}
