//! How likely random noise is to change the class of an image.

use serde::{Deserialize, Serialize};

/// One image under noise of one variance, as in `noise.csv`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RiskRow {
    /// Of the image.
    pub index: usize,
    /// What it is called.
    pub file: String,
    /// Its class.
    pub label: usize,
    /// The class that the network gives the clean image.
    pub predicted: usize,
    /// Of the noise, in squared pixel units.
    pub variance: f64,
    /// How often noise was drawn,
    pub draws: usize,
    /// and changed the class.
    pub changed: usize,
    /// The probability that it changes lies above this,
    pub risk_low: f64,
    /// and below this: measured.
    pub risk_high: f64,
    /// It is at most this: proved.
    pub risk_proved: f64,
    /// Name of the method of bounds.
    pub method: String,
}

/// The largest noise of one image, as in `sigma_max.csv`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SigmaRow {
    /// Of the image.
    pub index: usize,
    /// What it is called.
    pub file: String,
    /// Its class.
    pub label: usize,
    /// The class that the network gives the clean image.
    pub predicted: usize,
    /// How often the class may change.
    pub risk: f64,
    /// With noise of this deviation it changes no more often: proved.
    pub sigma_proved: f64,
    /// With noise of this deviation it changes no more often,
    pub sigma_low: f64,
    /// and with this it does: measured.
    pub sigma_high: f64,
    /// Name of the method of bounds.
    pub method: String,
}
