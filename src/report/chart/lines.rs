//! Lines with bands: training curves, rates against noise, distributions, intervals against delta.

use super::{Anchor, Axis, Format, Svg, fit, text_width};
use std::fmt::Write;

/// One line, or a band with or without a line.
#[derive(Clone, Debug, Default)]
pub struct Series {
    pub name: String,
    /// CSS colour.
    pub color: String,
    /// `[x, y]` by rising x.
    pub points: Vec<[f64; 2]>,
    /// `[x, low, high]` by rising x: shaded, or where the line has dots an upright bar beside each.
    pub band: Vec<[f64; 3]>,
    pub dashed: bool,
    /// Drawn thin and pale: one of several repetitions of a line.
    pub thin: bool,
    pub dots: bool,
    /// Not named at the right end nor in the legend (a companion of another series).
    pub unlabelled: bool,
}

/// A vertical rule with a word.
#[derive(Clone, Debug)]
pub struct Mark {
    pub x: f64,
    pub text: String,
    pub color: String,
    pub dashed: bool,
}

/// A line chart.
#[derive(Clone, Debug)]
pub struct Lines {
    pub width: f64,
    pub height: f64,
    /// What the chart shows, for screen readers.
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    pub marks: Vec<Mark>,
    /// Names in rows above the plot, for lines that end in one place; else each name stands at its line's end.
    pub legend: bool,
}

/// Room left of the plot, or more where the labels of ticks are wider.
const LEFT: f64 = 46.0;

impl Lines {
    /// The drawing.
    pub fn draw(&self) -> Svg {
        let mut svg = Svg::new(self.width, self.height, &self.title);
        let named = || self.series.iter().filter(|s| !(s.unlabelled || s.points.is_empty() && s.band.is_empty()));
        let widest = named().map(|s| text_width(&s.name)).fold(0.0, f64::max);
        let right = if widest > 0.0 && !self.legend { (widest + 14.0).min(self.width * 0.3) } else { 20.0 };
        let keys = if self.legend { keys(named(), self.width) } else { Vec::new() };
        let top = keys.last().map_or(26.0, |k| k.1 + 16.0) + if self.marks.is_empty() { 0.0 } else { 16.0 };
        let deltas = self.x.format == Format::Delta;
        let bottom = if deltas { 58.0 } else { 44.0 };
        let ticks = self.y.ticks.iter().map(|t| text_width(&t.1) + 10.0);
        let (x0, x1) = (ticks.fold(LEFT, f64::max).min(self.width * 0.25), self.width - right);
        let (y0, y1) = (self.height - bottom, top);
        let px = |v: f64| x0 + (x1 - x0) * self.x.at(v);
        let py = |v: f64| y0 + (y1 - y0) * self.y.at(v);
        svg.attribute("data-x", &self.x.describe(x0, x1));
        svg.attribute("data-y", &self.y.describe(y0, y1));

        for (v, text) in &self.y.ticks {
            svg.line([x0, py(*v)], [x1, py(*v)], "gr");
            svg.text(x0 - 7.0, py(*v) + 4.0, Anchor::End, "t", text);
        }
        svg.text(2.0, 13.0, Anchor::Start, "t", &self.y.label);
        let mut taken = f64::NEG_INFINITY;
        for (v, text) in &self.x.ticks {
            svg.line([px(*v), y0], [px(*v), y0 + 4.0], "ax");
            let half = text_width(text) / 2.0;
            if px(*v) - half > taken {
                svg.text(px(*v), y0 + 17.0, Anchor::Middle, "t", text);
                if deltas {
                    let grey = if *v == 0.0 { "of 255".into() } else { super::axis::number(v * 255.0) };
                    svg.text(px(*v), y0 + 31.0, Anchor::Middle, "f", &grey);
                }
                taken = px(*v) + half + 6.0;
            }
        }
        svg.line([x0, y0], [x1, y0], "ax");
        if self.y.min < 0.0 && self.y.max > 0.0 {
            svg.line([x0, py(0.0)], [x1, py(0.0)], "ax");
        }
        svg.text((x0 + x1) / 2.0, self.height - 5.0, Anchor::Middle, "t", &self.x.label);

        // Areas of several lines would lie over one another; bars stand side by side.
        let bars: Vec<&Series> = self.series.iter().filter(|s| s.dots && !s.band.is_empty()).collect();
        let step = (14.0 / bars.len().max(2) as f64).min(4.0);
        for (k, s) in bars.iter().enumerate() {
            let aside = (k as f64 - (bars.len() - 1) as f64 / 2.0) * step;
            let bar = |b: &[f64; 3]| {
                let (x, low, high) = (px(b[0]) + aside, py(b[1]), py(b[2]));
                format!("M{:.1} {low:.1}h4M{:.1} {high:.1}h4M{x:.1} {low:.1}V{high:.1}", x - 2.0, x - 2.0)
            };
            let d: String = s.band.iter().filter(|b| b[2] > b[1]).map(bar).collect();
            svg.path(&d, "wh", &format!("stroke:{}", s.color), "");
        }
        for s in &self.series {
            if s.band.len() > 1 && !s.dots {
                let mut d = String::new();
                let upper = s.band.iter().map(|b| (b[0], b[2]));
                let lower = s.band.iter().rev().map(|b| (b[0], b[1]));
                for (i, (x, y)) in upper.chain(lower).enumerate() {
                    let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, px(x), py(y));
                }
                d.push('Z');
                svg.path(&d, "bd", &format!("fill:{}", s.color), "");
            }
        }
        let mut word_end = f64::NEG_INFINITY;
        for m in &self.marks {
            let class = if m.dashed { "mk ds" } else { "mk" };
            let d = format!("M{:.1} {:.1}V{:.1}", px(m.x), y0, y1 - 4.0);
            svg.path(&d, class, &format!("stroke:{}", m.color), "");
            // The word stands above its rule, moved aside where it would run into its neighbour or off the chart.
            let half = text_width(&m.text) / 2.0;
            let at = px(m.x).max(word_end + half + 8.0).min(self.width - half);
            word_end = at + half;
            svg.text(at, y1 - 8.0, Anchor::Middle, "t", &m.text);
        }
        for s in &self.series {
            let mut d = String::new();
            for (i, p) in s.points.iter().enumerate() {
                let _ = write!(d, "{}{:.1} {:.1}", if i == 0 { 'M' } else { 'L' }, px(p[0]), py(p[1]));
            }
            if s.points.len() > 1 {
                let pale = if s.thin { ";stroke-width:.9;opacity:.5" } else { "" };
                svg.path(&d, if s.dashed { "ln ds" } else { "ln" }, &format!("stroke:{}{pale}", s.color), &s.name);
            }
            if s.dots || s.points.len() == 1 {
                for p in &s.points {
                    let tip = format!("{}\n{}: {}", s.name, self.x.format.write(p[0]), self.y.format.write(p[1]));
                    svg.circle([px(p[0]), py(p[1])], 3.6, &format!("fill:{};stroke:var(--paper)", s.color), &tip);
                }
            }
        }
        let mut labels: Vec<(f64, &Series)> = named()
            .map(|s| {
                let end = s.points.last().map(|p| p[1]);
                (py(end.or(s.band.last().map(|b| (b[1] + b[2]) / 2.0)).unwrap_or(self.y.min)), s)
            })
            .collect();
        for (x, y, s) in keys {
            svg.circle([x + 4.0, y - 4.2], 4.0, &format!("fill:{}", s.color), "");
            svg.text(x + 12.0, y, Anchor::Start, "lb", &s.name);
        }
        if self.legend {
            return svg;
        }
        let ends: Vec<f64> = labels.iter().map(|l| l.0).collect();
        spread(&mut labels, y1, y0);
        for (y, s) in labels {
            if !s.dots || ends.iter().all(|e| (e - y).abs() > 1.0) {
                svg.circle([x1 + 6.0, y], 2.4, &format!("fill:{}", s.color), "");
            }
            svg.text(x1 + 12.0, y + 4.2, Anchor::Start, "lb", &fit(&s.name, right - 12.0));
        }
        svg
    }
}

/// Places of the names above the plot: x, baseline, series; a new row where one is full.
fn keys<'a>(named: impl Iterator<Item = &'a Series>, width: f64) -> Vec<(f64, f64, &'a Series)> {
    let (mut x, mut y) = (0.0, 32.0);
    named
        .map(|s| {
            let wide = text_width(&s.name) + 30.0;
            if x > 0.0 && x + wide > width {
                (x, y) = (0.0, y + 18.0);
            }
            x += wide;
            (x - wide, y, s)
        })
        .collect()
}

/// Moves labels apart so that none overlap, each as near its line's end as can be.
fn spread<T>(labels: &mut [(f64, T)], top: f64, bottom: f64) {
    const STEP: f64 = 14.5;
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut last = top - STEP;
    for l in labels.iter_mut() {
        l.0 = l.0.max(last + STEP);
        last = l.0;
    }
    let mut next = bottom + STEP;
    for l in labels.iter_mut().rev() {
        l.0 = l.0.min(next - STEP);
        next = l.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_do_not_overlap_and_stay_in_order() {
        let mut labels = vec![(100.0, 'a'), (101.0, 'b'), (99.0, 'c'), (20.0, 'd')];
        spread(&mut labels, 10.0, 110.0);
        assert_eq!(labels.iter().map(|l| l.1).collect::<String>(), "dcab");
        assert!(labels.windows(2).all(|w| w[1].0 - w[0].0 >= 14.4));
        assert!(labels.last().unwrap().0 <= 110.0);
    }

    #[test]
    fn a_chart_without_data_is_still_a_chart() {
        let chart = Lines {
            width: 440.0,
            height: 260.0,
            title: "empty".into(),
            x: Axis::variance(&[]),
            y: Axis::share("Share"),
            series: vec![Series { name: "none".into(), ..Default::default() }],
            marks: vec![],
            legend: false,
        };
        assert!(chart.draw().inline().contains("<svg"));
    }
}
