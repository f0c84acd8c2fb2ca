//! Confusion matrices as heat maps.

use super::{Anchor, Svg, fit, text_width};

/// Classes whose names have room beside a matrix.
const MOST_NAMED: usize = 25;

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
        if !self.named() {
            return self.draw_dots();
        }
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
                let (color, opacity) = shade(i == j, share);
                let at = [left + j as f64 * cell + 1.0, top + i as f64 * tall + 1.0];
                let tip = self.tip([i, j], count, total);
                svg.rect(at, [cell - 2.0, tall - 2.0], 3.0, "fill:var(--cell)", "");
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

    /// Whether there is room for the names of the classes.
    pub fn named(&self) -> bool {
        self.classes.len() <= MOST_NAMED
    }

    /// Of so many classes that their names would lie over each other: what was called what, without names and figures.
    fn draw_dots(&self) -> Svg {
        let cell = self.width / self.classes.len() as f64;
        let mut svg = Svg::new(self.width, self.width, &self.title);
        svg.rect([0.0, 0.0], [self.width, self.width], 3.0, "fill:var(--cell)", "");
        for (i, row) in self.counts.iter().enumerate() {
            let total: f64 = row.iter().sum();
            for (j, &count) in row.iter().enumerate().filter(|(_, n)| **n > 0.0) {
                let (color, opacity) = shade(i == j, count / total);
                let style = format!("fill:{color};fill-opacity:{opacity:.3}");
                svg.rect([j as f64 * cell, i as f64 * cell], [cell; 2], 0.0, &style, &self.tip([i, j], count, total));
            }
        }
        svg
    }

    fn tip(&self, [i, j]: [usize; 2], count: f64, total: f64) -> String {
        let share = if total > 0.0 { count / total } else { 0.0 };
        let (written, of, share) = (super::axis::count(count), super::axis::count(total), super::axis::percent(share));
        format!("{} called {}\n{written} of {of} ({share})", self.classes[i], self.classes[j])
    }
}

/// Colour and opacity of a share of a row; small errors are to be seen.
fn shade(right: bool, share: f64) -> (&'static str, f64) {
    let (color, opacity) = if right { ("var(--good)", share) } else { ("var(--bad)", share.sqrt()) };
    (color, opacity * 0.92)
}
