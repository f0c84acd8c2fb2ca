//! Confusion matrices as heat maps.

use super::{Anchor, Svg, fit, text_width};

/// A confusion matrix: rows are true classes, columns predicted ones.
pub struct Heat<'a> {
    pub width: f64,
    pub title: String,
    pub classes: &'a [String],
    /// Images of each true class, where known.
    pub sizes: &'a [usize],
    /// Counts, `[true][predicted]`.
    pub counts: &'a [Vec<f64>],
}

impl Heat<'_> {
    /// Shares of each row as colour and figure, counts on hover.
    pub fn draw(&self) -> Svg {
        let n = self.classes.len().max(1);
        let longest = self.classes.iter().map(|c| text_width(c)).fold(0.0, f64::max);
        let size = |i: usize| self.sizes.get(i).map_or(String::new(), |n| format!(" ({n})"));
        let row = |i: usize| text_width(&self.classes[i]) + text_width(&size(i));
        let left = ((0..self.classes.len()).map(row).fold(0.0, f64::max) + 12.0).min(self.width * 0.36);
        let turned = longest > (self.width - left - 2.0) / n as f64 - 4.0;
        // Turned names lean over the right edge.
        let cell = (self.width - left - if turned { 2.0 + (longest * 0.5).min(60.0) } else { 2.0 }) / n as f64;
        let top = if turned { (longest * 0.72 + 16.0).min(96.0) } else { 22.0 };
        let tall = cell.min(52.0);
        let mut svg = Svg::new(self.width, top + tall * n as f64 + 4.0, &self.title);
        for (i, name) in self.classes.iter().enumerate() {
            let middle = left + (i as f64 + 0.5) * cell;
            if turned {
                svg.turned_text([middle - 2.0, top - 6.0], -42.0, Anchor::Start, "t", &fit(name, 110.0));
            } else {
                svg.text(middle, top - 8.0, Anchor::Middle, "t", name);
            }
            let y = top + (i as f64 + 0.5) * tall + 4.0;
            let name = fit(name, left - 8.0 - text_width(&size(i)));
            svg.text(left - 8.0, y, Anchor::End, "t", &format!("{name}{}", size(i)));
        }
        for (i, row) in self.counts.iter().enumerate() {
            let total: f64 = row.iter().sum();
            for (j, &count) in row.iter().enumerate() {
                let share = if total > 0.0 { count / total } else { 0.0 };
                let color = if i == j { "var(--good)" } else { "var(--bad)" };
                let at = [left + j as f64 * cell + 1.0, top + i as f64 * tall + 1.0];
                let tip = format!(
                    "{} called {}\n{} of {} ({})",
                    self.classes[i],
                    self.classes[j],
                    super::axis::count(count),
                    super::axis::count(total),
                    super::axis::percent(share)
                );
                svg.rect(at, [cell - 2.0, tall - 2.0], 3.0, "fill:var(--cell)", "");
                let opacity = if i == j { share } else { share.sqrt() };
                let opacity = opacity * 0.92;
                let style = format!("fill:{color};fill-opacity:{opacity:.3}");
                svg.rect(at, [cell - 2.0, tall - 2.0], 3.0, &style, &tip);
                if total > 0.0 && (share >= 0.005 || i == j) && cell > 21.0 {
                    let ink = super::ink::on(color, opacity, "var(--cell)");
                    let class = if cell < 34.0 { format!("{ink} sm") } else { ink.into() };
                    let middle = [at[0] + cell / 2.0 - 1.0, at[1] + tall / 2.0 + 3.4];
                    svg.text(middle[0], middle[1], Anchor::Middle, &class, &format!("{:.0}", share * 100.0));
                }
            }
        }
        svg
    }
}
