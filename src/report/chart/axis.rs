//! Axes: from values to positions, with ticks a person would choose.

/// How values are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Linear,
    /// By square root: noise variances then stand at their standard deviations.
    Sqrt,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A share in `[0,1]` as a percentage.
    Percent,
    /// A distance in pixel units.
    Delta,
    /// A plain number, up to three significant digits.
    Number,
    /// A whole number.
    Count,
}

impl Format {
    /// `v` in this format.
    pub fn write(self, v: f64) -> String {
        match self {
            Format::Percent => percent(v),
            Format::Delta | Format::Number => number(v),
            Format::Count => count(v),
        }
    }

    /// The name the page's script knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Format::Percent => "percent",
            Format::Delta => "delta",
            Format::Number => "number",
            Format::Count => "count",
        }
    }
}

/// `0.873` as `87.3%`; whole percentages without decimals.
pub fn percent(v: f64) -> String {
    let p = (v * 1000.0).round() / 10.0;
    if p == p.round() { format!("{p:.0}%") } else { format!("{p:.1}%") }
}

/// Three significant digits without an exponent (above `1e-6`) and without trailing zeros.
pub fn number(v: f64) -> String {
    if !v.is_finite() {
        return if v.is_nan() { "–".into() } else { "∞".into() };
    }
    if v == 0.0 {
        return "0".into();
    }
    let digits = (2 - v.abs().log10().floor() as i64).clamp(0, 8) as usize;
    let text = format!("{v:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').replace('-', "−")
    } else {
        text.replace('-', "−")
    }
}

/// A whole number with thin spaces between thousands.
pub fn count(v: f64) -> String {
    let digits = format!("{:.0}", v.abs());
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    if v < 0.0 { format!("−{out}") } else { out }
}

/// So many of something: `1 image`, `1 200 images`.
pub fn plural(n: usize, what: &str) -> String {
    format!("{} {what}{}", count(n as f64), if n == 1 { "" } else { "s" })
}

/// One axis of a chart.
#[derive(Clone, Debug)]
pub struct Axis {
    pub label: String,
    pub min: f64,
    pub max: f64,
    pub kind: Kind,
    pub format: Format,
    /// Positions and texts of the ticks.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `min` to `max` with about `wanted` round ticks.
    pub fn linear(label: &str, min: f64, max: f64, format: Format, wanted: usize) -> Axis {
        let max = if max > min { max } else { min + 1.0 };
        let ticks = round_ticks(min, max, wanted).into_iter().map(|t| (t, format.write(t))).collect();
        Axis { label: label.into(), min, max, kind: Kind::Linear, format, ticks }
    }

    /// Shares from 0 to 1.
    pub fn share(label: &str) -> Axis {
        Axis::linear(label, 0.0, 1.0, Format::Percent, 5)
    }

    /// Shares from 0 to 1, or from a multiple of 10 % where all of them, `lowest` included, are high.
    pub fn high_shares(label: &str, lowest: f64) -> Axis {
        let floor = if lowest > 0.5 { ((lowest - 0.05) * 10.0).floor() / 10.0 } else { 0.0 };
        Axis::linear(label, floor, 1.0, Format::Percent, 5)
    }

    /// Noise variances, one tick each, spaced by standard deviation.
    pub fn variance(levels: &[f64]) -> Axis {
        let max = levels.iter().copied().fold(0.0, f64::max);
        let min = levels.iter().copied().fold(max, f64::min).min(max);
        let max = if max > min { max } else { min + 1e-3 };
        let ticks = levels.iter().map(|&v| (v, number(v))).collect();
        Axis {
            label: "Noise (variance of the Gaussian)".into(),
            min,
            max,
            kind: Kind::Sqrt,
            format: Format::Number,
            ticks,
        }
    }

    /// Position of `v` in `[0,1]`, clamped.
    pub fn at(&self, v: f64) -> f64 {
        let f = |v: f64| match self.kind {
            Kind::Linear => v,
            Kind::Sqrt => v.max(0.0).sqrt(),
        };
        let (lo, hi) = (f(self.min), f(self.max));
        let at = ((f(v) - lo) / (hi - lo)).clamp(0.0, 1.0);
        if at.is_nan() { 0.0 } else { at }
    }

    /// What the page's script needs to invert [`Axis::at`]: kind, range, format.
    pub fn describe(&self, from: f64, to: f64) -> String {
        let kind = match self.kind {
            Kind::Linear => "linear",
            Kind::Sqrt => "sqrt",
        };
        format!("{kind},{},{},{from:.1},{to:.1},{}", self.min, self.max, self.format.name())
    }
}

/// Multiples of 1, 2 or 5 times a power of ten inside `[min, max]`.
fn round_ticks(min: f64, max: f64, wanted: usize) -> Vec<f64> {
    let raw = (max - min) / wanted.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|&s| s >= raw * 0.999).unwrap_or(power);
    let first = (min / step - 1e-9).ceil() as i64;
    let last = (max / step + 1e-9).floor() as i64;
    (first..=last.min(first + 50)).map(|i| i as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let axis = Axis::linear("", 0.0, 0.047, Format::Delta, 5);
        let texts: Vec<_> = axis.ticks.iter().map(|t| t.1.as_str()).collect();
        assert_eq!(texts, ["0", "0.01", "0.02", "0.03", "0.04"]);
        assert_eq!(round_ticks(0.0, 1.0, 5).len(), 6);
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(0.021_73), "0.0217");
        assert_eq!(number(-1234.5), "−1234");
        assert_eq!(percent(0.5), "50%");
        assert_eq!(percent(0.8734), "87.3%");
        assert_eq!(count(30217.0), "30\u{202f}217");
        assert_eq!(number(f64::INFINITY), "∞");
    }

    #[test]
    fn variances_stand_at_their_deviations() {
        let axis = Axis::variance(&[0.0, 0.01, 0.04]);
        assert!((axis.at(0.01) - 0.5).abs() < 1e-12);
        assert_eq!(Axis::variance(&[0.0]).at(0.0), 0.0);
    }
}
