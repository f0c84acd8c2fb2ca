//! How far a photo may change before its class does.

use serde::{Deserialize, Serialize};

use super::Picture;

/// What changes, and in which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Every pixel and channel by so much at most, in units of `[0,1]`.
    Pixels,
    /// All of them together by this Euclidean length.
    Length,
    /// By random noise of this deviation: changed in so small a share of draws that it is let pass.
    Noise,
    /// The same taken from every pixel.
    BrightnessDown,
    /// The same added to every pixel.
    BrightnessUp,
    /// A share of the distance from middle grey lost.
    ContrastDown,
    /// The same gained.
    ContrastUp,
    /// A share of all light lost.
    LightDown,
    /// The same gained.
    LightUp,
    /// A share of the light of each colour, lost or gained.
    WhiteBalance,
    /// A share of the picture replaced by one out of focus.
    Defocus,
    /// A share of the picture replaced by one moved sideways.
    MotionBlur,
}

/// How far one kind of change may go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stays {
    /// Of what.
    pub change: Change,
    /// The class is proved to stay up to this; of noise: with this.
    pub proved: f64,
    /// Of noise: the largest with which it was measured to stay.
    #[serde(default)]
    pub measured: Option<f64>,
    /// The class is lost here, for certain; of noise: as measured.
    #[serde(default)]
    pub lost: Option<f64>,
    /// Nothing beyond was looked at.
    pub end: f64,
    /// A picture at the proved end, or the measured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Picture>,
    /// A picture of another class, and which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<(Picture, usize)>,
}

/// How far one test photo may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Photo {
    /// Its position in the test set.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// The class that the network gives it, which is the one that stays.
    pub predicted: usize,
    /// By kinds of change, without pictures.
    pub stays: Vec<Stays>,
}
