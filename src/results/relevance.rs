//! Where a decision comes from: maps of single images, shares over many.

use super::Spread;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How relevance was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelevanceKind {
    /// Gradient of the logit.
    Gradient,
    /// Gradient times the difference from the background.
    GradientXInput,
    /// Integrated gradients from the background (Sundararajan et al. 2017).
    IntegratedGradients,
    /// Proved signs of the gradient over the whole noise box.
    Certified,
}

/// Signed relevance of every pixel for the predicted class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelevanceMap {
    /// How it was computed.
    pub kind: RelevanceKind,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[row][column]`, channels summed; positive speaks for the class. `Certified`: 1 where the sum over the channels is
    /// proved positive in the whole noise box, -1 where proved negative, 0 where undecided.
    pub values: Vec<f32>,
    /// `Certified`: half-width of the noise box.
    #[serde(default)]
    pub delta: Option<f64>,
    /// Where it lies, for photos with a plain background.
    #[serde(default)]
    pub shares: Option<Shares>,
    /// Concentration in `[0,1]`: 0 is evenly spread, 1 sits on a single pixel.
    #[serde(default)]
    pub gini: Option<f64>,
}

/// Where absolute relevance lies; the three shares add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Inside what is pictured.
    pub object: f64,
    /// At its edge.
    pub contour: f64,
    /// Outside.
    pub background: f64,
}

/// Shares of relevance over many test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RelevanceSummary {
    /// Of the noise in the images.
    pub variance: f64,
    /// How it was computed.
    pub kind: RelevanceKind,
    /// Number of images.
    pub images: usize,
    /// Share inside what is pictured.
    pub object: Spread,
    /// Share at its edge.
    pub contour: Spread,
    /// Share outside.
    pub background: Spread,
    /// Not of `Certified`, whose values are signs.
    #[serde(default)]
    pub gini: Option<Spread>,
    /// Of `Certified`.
    #[serde(default)]
    pub decided: Option<Decided>,
    /// The shares of every image, by its index in the test set.
    #[serde(default)]
    pub each: BTreeMap<usize, Shares>,
}

/// How many pixels have an influence of proved sign, over many test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Half-width of the noise boxes.
    pub delta: f64,
    /// Number of images.
    pub images: usize,
    /// Share of the pixels that are proved either way.
    pub share: Spread,
    /// Share of the pixels that are proved to speak for the class.
    pub positive: Spread,
}
