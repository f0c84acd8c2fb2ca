//! Radii as people read them, by norm: in sentences, tables and charts. The words around them are in `norm.rs`.

use super::chart::{Axis, Format, number};
use crate::norm::Norm;

/// Round radii, rising: grey levels of 255, or lengths.
const GREY: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
const LENGTHS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

impl Norm {
    /// `0.0217 (5.5/255)`, below one grey level with a second decimal; of lengths `0.217`.
    pub(super) fn size(self, radius: f64) -> String {
        match self {
            Norm::Linf => format!("{} ({}/255)", number(radius), grey(radius)),
            Norm::L2 => number(radius),
        }
    }

    /// `5.53/255`, or `0.217`.
    pub(super) fn short(self, radius: f64) -> String {
        format!("{}{}", self.bare(radius), self.unit().2)
    }

    /// The same without the unit, for ranges.
    pub(super) fn bare(self, radius: f64) -> String {
        match self {
            Norm::Linf => number((radius * 25500.0).round() / 100.0),
            Norm::L2 => number(radius),
        }
    }

    /// A radius in a sentence: `5.5/255`, below one grey level with a second decimal; or `0.217`.
    pub(super) fn plain(self, radius: f64) -> String {
        match self {
            Norm::Linf => format!("{}/255", grey(radius)),
            Norm::L2 => number(radius),
        }
    }

    /// A radius of [`round`](Self::round), in titles.
    pub(super) fn mark(self, radius: f64) -> String {
        match self {
            Norm::Linf => format!("{}/255", number((radius * 2550.0).round() / 10.0)),
            Norm::L2 => number(radius),
        }
    }

    /// A difference of radii, without the unit.
    pub(super) fn signed(self, difference: f64) -> String {
        format!("{}{}", if difference > 0.0 { "+" } else { "" }, self.bare(difference))
    }

    /// The largest round radius of at most this; the smallest where there is none.
    pub(super) fn round(self, most: f64) -> f64 {
        let (all, unit): (&[f64], f64) = match self {
            Norm::Linf => (&GREY, 255.0),
            Norm::L2 => (&LENGTHS, 1.0),
        };
        all.iter().rev().find(|r| *r / unit <= most).unwrap_or(&all[0]) / unit
    }

    /// The axis of a quantity that is a radius.
    pub(super) fn axis(self, label: &str, [min, max]: [f64; 2], ticks: usize) -> Axis {
        Axis::linear(&format!("{label}{}", self.label()), min, max, self.format(), ticks)
    }

    /// The axis along which pixels move farther and farther.
    pub(super) fn axis_of_moves(self, most: f64, ticks: usize) -> Axis {
        Axis::linear(&format!("Delta: {}", self.moves()), 0.0, most, self.format(), ticks)
    }

    /// How its ticks are written.
    fn format(self) -> Format {
        match self {
            Norm::Linf => Format::Delta,
            Norm::L2 => Format::Number,
        }
    }

    /// What a second row of such an axis has, where it has one.
    pub(super) fn second_row(self) -> Option<&'static str> {
        match self {
            Norm::Linf => Some("grey levels of 255"),
            Norm::L2 => None,
        }
    }
}

/// In grey levels, two digits after the point below one.
fn grey(radius: f64) -> String {
    let grey = radius * 255.0;
    let step = if grey.abs() < 1.0 { 100.0 } else { 10.0 };
    number((grey * step).round() / step)
}

/// Of what is in pixel units by its nature: deviations of noise, brightness.
pub(super) fn pixels(value: f64) -> String {
    Norm::Linf.size(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_no_grey_levels() {
        let [linf, l2] = [Norm::Linf, Norm::L2];
        assert_eq!((linf.size(0.0217), l2.size(0.217)), ("0.0217 (5.5/255)".into(), "0.217".into()));
        assert_eq!((linf.short(0.0217), l2.short(0.217)), ("5.53/255".into(), "0.217".into()));
        assert_eq!((linf.signed(0.01), l2.signed(-0.5)), ("+2.55".into(), "−0.5".into()));
        assert_eq!((linf.mark(2.0 / 255.0), l2.mark(0.25)), ("2/255".into(), "0.25".into()));
        assert_eq!((linf.round(0.01), linf.round(0.0)), (2.0 / 255.0, 0.1 / 255.0));
        assert_eq!((l2.round(0.3), l2.round(0.0), l2.round(99.0)), (0.25, 0.001, 10.0));
        assert_eq!(
            (linf.axis("d", [0.0, 1.0], 4).label, l2.axis("d", [0.0, 1.0], 4).label),
            ("d".into(), "d (Euclidean length)".into())
        );
    }
}
