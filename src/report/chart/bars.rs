//! Bars: plain ones in rows, and stacks of shares.

use super::{Anchor, Svg, fit, text_width};

/// One bar of a group.
#[derive(Clone, Debug)]
pub struct Bar {
    pub name: String,
    pub value: f64,
    /// Written behind the bar.
    pub text: String,
    pub color: String,
    pub apart: bool,
}

/// Horizontal bars from zero.
pub struct Bars {
    pub width: f64,
    pub title: String,
    pub bars: Vec<Bar>,
    /// The value of a full bar and the longest text of all charts that share its scale; `None` for a chart alone.
    pub scale: Option<(f64, String)>,
}

impl Bars {
    /// The drawing.
    pub fn draw(&self) -> Svg {
        const ROW: f64 = 23.0;
        let name = self.bars.iter().map(|b| text_width(&b.name)).fold(0.0, f64::max);
        let left = (name + 13.0).min(self.width * 0.36);
        let (most, longest) = self.scale.as_ref().map_or((f64::MIN_POSITIVE, ""), |s| (s.0, &s.1));
        let right = self.bars.iter().map(|b| text_width(&b.text)).fold(text_width(longest), f64::max) + 18.0;
        let gaps = self.bars.iter().skip(1).filter(|b| b.apart).count() as f64 * 10.0;
        let mut svg = Svg::new(self.width, self.bars.len() as f64 * ROW + gaps + 6.0, &self.title);
        let most = self.bars.iter().map(|b| b.value).fold(most, f64::max);
        let mut y = 3.0;
        for (i, b) in self.bars.iter().enumerate() {
            if b.apart && i > 0 {
                y += 10.0;
            }
            let long = (self.width - left - right) * (b.value / most).clamp(0.0, 1.0);
            svg.text(left - 9.0, y + 15.0, Anchor::End, "lb", &fit(&b.name, left - 9.0));
            let style = format!("fill:{};fill-opacity:.85", b.color);
            svg.rect([left, y + 3.0], [long.max(1.5), ROW - 8.0], 3.0, &style, &format!("{}\n{}", b.name, b.text));
            svg.text(left + long + 7.0, y + 15.0, Anchor::Start, "t", &b.text);
            y += ROW;
        }
        svg
    }
}

/// Vertical stacks of shares, one per column, each adding up to 1.
pub struct Stack<'a> {
    pub width: f64,
    pub height: f64,
    pub title: String,
    /// Written under each column.
    pub columns: Vec<String>,
    /// Images of each column, written under its name where they differ.
    pub sizes: Vec<usize>,
    /// `[column][part]`.
    pub shares: Vec<Vec<f64>>,
    /// Name and CSS colour of each part, drawn from the bottom up.
    pub parts: &'a [(String, String)],
    /// The part to draw at the bottom (the true class).
    pub first: usize,
    /// Written under the columns' names.
    pub label: String,
}

impl Stack<'_> {
    /// The drawing.
    pub fn draw(&self) -> Svg {
        let mut svg = Svg::new(self.width, self.height, &self.title);
        let sized = if self.sizes.is_empty() { 0.0 } else { 14.0 };
        let bottom = self.height - sized - if self.label.is_empty() { 20.0 } else { 36.0 };
        let step = self.width / self.columns.len().max(1) as f64;
        let order = std::iter::once(self.first).chain((0..self.parts.len()).filter(|&p| p != self.first));
        let order: Vec<usize> = order.collect();
        let drawn = |p: usize| self.shares.iter().any(|s| s.get(p).is_some_and(|s| *s > 0.0));
        self.parts.iter().enumerate().filter(|(p, _)| drawn(*p)).for_each(|(_, (name, color))| svg.key(name, color));
        for (i, (column, shares)) in self.columns.iter().zip(&self.shares).enumerate() {
            let x = i as f64 * step;
            let mut y = bottom;
            for &p in &order {
                let Some((name, color)) = self.parts.get(p) else { continue };
                let share = shares.get(p).copied().unwrap_or(0.0);
                let tall = share * (bottom - 2.0);
                if tall <= 0.0 {
                    continue;
                }
                y -= tall;
                let opacity = if p == self.first { 0.42 } else { 0.95 };
                let style = format!("fill:{color};fill-opacity:{opacity}");
                let tip = format!("{column}: {} called {name}", super::axis::percent(share));
                svg.rect([x + 2.0, y], [step - 4.0, (tall - 1.0).max(0.6)], 2.0, &style, &tip);
                if tall > 17.0 && step > 30.0 {
                    let class = super::ink::on(color, opacity, "var(--paper)");
                    let text = format!("{:.0}", share * 100.0);
                    svg.text(x + step / 2.0, y + tall / 2.0 + 4.0, Anchor::Middle, class, &text);
                }
            }
            let text = if text_width(column) > step { fit(column, step) } else { column.clone() };
            svg.text(x + step / 2.0, bottom + 15.0, Anchor::Middle, "t", &text);
            if let Some(n) = self.sizes.get(i) {
                svg.text(x + step / 2.0, bottom + 29.0, Anchor::Middle, "f", &super::axis::count(*n as f64));
            }
        }
        svg.text(self.width / 2.0, self.height - 4.0, Anchor::Middle, "f", &self.label);
        svg
    }
}
