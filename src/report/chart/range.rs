//! Intervals in rows: dominance pictures and quantiles.

use super::{Anchor, Axis, Svg, fit, text_width};

/// One row: a thin interval, a thick one inside it, and a point.
#[derive(Clone, Debug, Default)]
pub struct Range {
    pub name: String,
    /// CSS colour.
    pub color: String,
    pub whole: [f64; 2],
    /// Drawn thick inside `whole`.
    pub core: Option<[f64; 2]>,
    pub point: Option<f64>,
    /// Drawn as small rings: repeated measurements of the point.
    pub each: Vec<f64>,
    pub tip: String,
    /// Set off from the row above by some space.
    pub apart: bool,
}

/// Rows of intervals on one axis.
pub struct Ranges {
    pub width: f64,
    pub title: String,
    pub x: Axis,
    pub rows: Vec<Range>,
    /// Intervals without a core are drawn thick.
    pub thick: bool,
}

impl Ranges {
    /// The drawing.
    pub fn draw(&self) -> Svg {
        const ROW: f64 = 22.0;
        let longest = self.rows.iter().map(|r| text_width(&r.name)).fold(0.0, f64::max);
        let left = (longest + 13.0).min(self.width * 0.42);
        let gaps = self.rows.iter().skip(1).filter(|r| r.apart).count() as f64 * 10.0;
        let bottom = self.rows.len() as f64 * ROW + gaps + 8.0;
        let deltas = self.x.format == super::Format::Delta;
        let foot = if deltas { 52.0 } else { 38.0 };
        let mut svg = Svg::new(self.width, bottom + foot, &self.title);
        let (x0, x1) = (left, self.width - 20.0);
        let px = |v: f64| x0 + (x1 - x0) * self.x.at(v);
        for (v, text) in &self.x.ticks {
            svg.line([px(*v), 2.0], [px(*v), bottom], "gr");
            svg.text(px(*v), bottom + 15.0, Anchor::Middle, "t", text);
            if deltas && *v != 0.0 {
                svg.text(px(*v), bottom + 29.0, Anchor::Middle, "f", &super::axis::number(v * 255.0));
            } else if deltas {
                svg.text(px(*v), bottom + 29.0, Anchor::Middle, "f", "of 255");
            }
        }
        let half = text_width(&self.x.label) / 2.0;
        let middle = ((x0 + x1) / 2.0).min(self.width - half);
        svg.text(middle, bottom + foot - 4.0, Anchor::Middle, "t", &self.x.label);
        let mut y = 4.0;
        for (i, r) in self.rows.iter().enumerate() {
            if r.apart && i > 0 {
                y += 10.0;
            }
            let middle = y + ROW / 2.0;
            svg.text(left - 9.0, middle + 4.0, Anchor::End, "lb", &fit(&r.name, left - 9.0));
            let (from, to) = (px(r.whole[0]), px(r.whole[1]));
            let thin = if self.thick { 10.0 } else { 2.0 };
            let faint = if self.thick { "fill-opacity:.38" } else { "fill-opacity:.7" };
            let size = [(to - from).max(2.0), thin];
            let style = format!("fill:{};{faint}", r.color);
            svg.rect([from, middle - thin / 2.0], size, thin / 2.0, &style, if self.thick { &r.tip } else { "" });
            if let Some(core) = r.core {
                let (from, to) = (px(core[0]), px(core[1]));
                let style = format!("fill:{};fill-opacity:.55", r.color);
                svg.rect([from, middle - 5.0], [(to - from).max(2.0), 10.0], 3.0, &style, &r.tip);
            }
            for p in &r.each {
                let style = format!("fill:var(--paper);stroke:{};stroke-width:1.4", r.color);
                svg.circle([px(*p), middle], 3.2, &style, &r.tip);
            }
            if let Some(p) = r.point {
                let style = format!("fill:{};stroke:var(--paper)", r.color);
                svg.circle([px(p), middle], 4.6, &style, &r.tip);
            }
            y += ROW;
        }
        svg
    }
}
