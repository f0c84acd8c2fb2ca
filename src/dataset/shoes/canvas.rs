//! A small studio: outlines become surfaces with soft volume, grain, highlights and shadows on white.

use tiny_skia::{FillRule, Mask, Path, PathBuilder, Transform};

use super::line::{Line, P, band, stretch};
use super::material::{Colour, Material};
use super::surface::Surface;

/// A picture in the making; all lengths in shoe units (see [`super::line`]).
pub struct Canvas {
    side: usize,
    /// Pixels per unit, and the pixel of the origin.
    scale: f32,
    origin: P,
    rgb: Vec<Colour>,
    /// How much of a pixel the shoe covers.
    cover: Vec<f32>,
    /// Slope of the body that surfaces follow.
    form: Vec<[f32; 2]>,
    clip: Option<Vec<u8>>,
    mask: Mask,
    seed: u32,
}

/// A window of the canvas, in pixels.
#[derive(Clone, Copy)]
struct Window {
    x: usize,
    y: usize,
    w: usize,
    h: usize,
}

/// How the edge of a surface looks.
#[derive(Clone, Copy)]
pub struct Edge {
    /// Width of its rounding in units; 0 is flat.
    pub bevel: f32,
    /// Darkness of the shadow it throws on what is below, 0 to 1.
    pub shadow: f32,
}

/// A panel sewn onto the body.
pub const PANEL: Edge = Edge { bevel: 0.7, shadow: 0.30 };
/// The body itself.
pub const BODY: Edge = Edge { bevel: 0.9, shadow: 0.0 };
/// A strap that stands off.
pub const STRAP: Edge = Edge { bevel: 1.2, shadow: 0.55 };
/// Print, holes.
pub const FLAT: Edge = Edge { bevel: 0.0, shadow: 0.0 };

impl Canvas {
    /// A white picture of `side` pixels; `place` maps shoe units: pixels per unit and the pixel of the origin.
    pub fn new(side: usize, scale: f32, origin: P, seed: u32) -> Self {
        Canvas {
            side,
            scale,
            origin,
            rgb: vec![[1.0; 3]; side * side],
            cover: vec![0.0; side * side],
            form: vec![[0.0; 2]; side * side],
            clip: None,
            mask: Mask::new(side as u32, side as u32).expect("a canvas has at least one pixel"),
            seed,
        }
    }

    /// Shadow on the ground under the sole between `from` and `to`.
    pub fn ground(&mut self, from: f32, to: f32, strength: f32) {
        let middle = (from + to) / 2.0;
        let soft = super::line::ellipse((middle + 1.0, 0.2), (to - from) / 2.0 + 3.0, 2.8, 0.0);
        let tight = super::line::ellipse((middle, 0.3), (to - from) / 2.0 + 0.5, 1.1, 0.0);
        for (outline, blur, dark) in [(soft, 3.2, 0.34), (tight, 0.9, 0.55)] {
            let Some(window) = self.rasterise(&outline, 3.0 * blur) else { continue };
            let field = self.blurred(window, blur);
            self.each(window, |canvas, at, k| {
                let keep = 1.0 - dark * strength * field[k];
                canvas.rgb[at] = canvas.rgb[at].map(|v| v * keep);
            });
        }
    }

    /// Makes the surfaces painted from now on follow a rounded body; `roundness` 1 is a foot, `width` how far the
    /// rounding reaches in units.
    pub fn form(&mut self, outline: &Line, roundness: f32, width: f32) {
        self.form.iter_mut().for_each(|f| *f = [0.0; 2]);
        for (radius, weight) in [(width, 0.62), (width * 0.4, 0.38)] {
            let Some(window) = self.rasterise(outline, 2.0) else { return };
            let field = self.blurred(window, radius);
            let gain = roundness * weight * 3.4 * radius * self.scale;
            let slopes = slopes(&field, window);
            self.each(window, |canvas, at, k| {
                canvas.form[at][0] -= gain * slopes[k][0];
                canvas.form[at][1] += gain * slopes[k][1];
            });
        }
    }

    /// Surfaces lie flat again.
    pub fn no_form(&mut self) {
        self.form.iter_mut().for_each(|f| *f = [0.0; 2]);
    }

    /// Restricts painting to an outline.
    pub fn clip(&mut self, outline: &Line) {
        self.clip = None;
        self.clip = self.rasterise(outline, 0.0).map(|_| self.mask.data().to_vec());
    }

    pub fn no_clip(&mut self) {
        self.clip = None;
    }

    /// Paints a closed outline.
    pub fn paint(&mut self, outline: &Line, material: &Material, edge: Edge) {
        let margin = if edge.shadow > 0.0 { 5.0 } else { 1.0 };
        let Some(window) = self.rasterise(outline, margin) else { return };
        if edge.shadow > 0.0 {
            let field = self.blurred(window, 1.5);
            // The shadow falls down and to the right.
            let (dx, dy) = ((0.5 * self.scale) as usize, (1.1 * self.scale).round() as usize);
            self.each(window, |canvas, at, k| {
                let (x, y) = (k % window.w, k / window.w);
                if x >= dx && y >= dy {
                    let keep = 1.0 - edge.shadow * canvas.cover[at] * field[k - dy * window.w - dx];
                    canvas.rgb[at] = canvas.rgb[at].map(|v| v * keep);
                }
            });
        }
        let bevel = if edge.bevel > 0.0 {
            let radius = edge.bevel.max(0.8 / self.scale);
            let gain = 1.5 * radius * self.scale;
            let mut bevel = slopes(&self.blurred(window, radius), window);
            bevel.iter_mut().for_each(|s| *s = [-gain * s[0], gain * s[1]]);
            bevel
        } else {
            Vec::new()
        };
        let surface = Surface::new(material, self.seed);
        self.each(window, |canvas, at, k| {
            let cover = f32::from(canvas.mask.data()[at]) / 255.0;
            if cover == 0.0 {
                return;
            }
            let mut slope = canvas.form[at];
            if let Some(b) = bevel.get(k) {
                slope = [slope[0] + b[0], slope[1] + b[1]];
            }
            let place = canvas.place(at);
            let colour = surface.colour(slope, place);
            blend(&mut canvas.rgb[at], colour, cover);
            canvas.cover[at] = canvas.cover[at].max(cover);
        });
    }

    /// Darkens (or lightens, below 0) an area with soft borders.
    pub fn tone(&mut self, outline: &Line, amount: f32, blur: f32) {
        let Some(window) = self.rasterise(outline, 2.5 * blur) else { return };
        let field = self.blurred(window, blur);
        self.each(window, |canvas, at, k| {
            let clip = canvas.clip.as_ref().map_or(canvas.cover[at], |c| f32::from(c[at]) / 255.0);
            let by = amount * field[k] * clip;
            canvas.rgb[at] = canvas.rgb[at].map(|v| if by >= 0.0 { v * (1.0 - by) } else { v - by * (1.0 - v) });
        });
    }

    /// Draws an open curve as a flat line.
    pub fn stroke(&mut self, line: &[P], width: f32, colour: Colour, opacity: f32) {
        let Some(window) = self.rasterise(&band(line, width, width), 1.0) else { return };
        self.each(window, |canvas, at, _| {
            let cover = f32::from(canvas.mask.data()[at]) / 255.0 * opacity;
            blend(&mut canvas.rgb[at], colour, cover);
        });
    }

    /// A seam: a dark groove with a light lip.
    pub fn seam(&mut self, line: &[P], strength: f32) {
        self.stroke(&super::line::shifted(line, 0.0, -0.5), 0.5, [1.0; 3], 0.22 * strength);
        self.stroke(line, 0.6, [0.0; 3], 0.5 * strength);
    }

    /// A row of stitches.
    pub fn stitches(&mut self, line: &[P], colour: Colour, opacity: f32) {
        if self.scale < 1.6 {
            // Too small to be told apart.
            return self.stroke(line, 0.5, colour, 0.6 * opacity);
        }
        let length: f32 = line.windows(2).map(|w| ((w[0].0 - w[1].0).powi(2) + (w[0].1 - w[1].1).powi(2)).sqrt()).sum();
        let count = (length / 1.9).ceil().max(1.0);
        for k in 0..count as usize {
            let from = k as f32 / count;
            self.stroke(&stretch(line, from, from + 0.6 / count), 0.5, colour, opacity);
        }
    }

    /// The picture averaged down by `factor`, as bytes `[row][column][red, green, blue]`.
    pub fn finish(&self, factor: usize) -> Vec<u8> {
        let side = self.side / factor;
        let mut out = Vec::with_capacity(side * side * 3);
        let share = 255.0 / (factor * factor) as f32;
        for y in 0..side {
            for x in 0..side {
                for c in 0..3 {
                    let rows = (0..factor).map(|v| (y * factor + v) * self.side + x * factor);
                    let sum: f32 = rows.flat_map(|r| r..r + factor).map(|at| self.rgb[at][c].clamp(0.0, 1.0)).sum();
                    out.push((sum * share + 0.5) as u8);
                }
            }
        }
        out
    }

    /// Unit coordinates of a pixel's centre.
    fn place(&self, at: usize) -> P {
        let (x, y) = ((at % self.side) as f32 + 0.5, (at / self.side) as f32 + 0.5);
        ((x - self.origin.0) / self.scale, (self.origin.1 - y) / self.scale)
    }

    fn path(&self, outline: &[P]) -> Option<Path> {
        let mut builder = PathBuilder::new();
        for (i, p) in outline.iter().enumerate() {
            let (x, y) = (self.origin.0 + p.0 * self.scale, self.origin.1 - p.1 * self.scale);
            if i == 0 { builder.move_to(x, y) } else { builder.line_to(x, y) }
        }
        builder.close();
        builder.finish()
    }

    /// Fills the mask with an outline (and the clip); the window holds it and `margin` units around.
    fn rasterise(&mut self, outline: &[P], margin: f32) -> Option<Window> {
        let path = self.path(outline)?;
        self.mask.data_mut().fill(0);
        self.mask.fill_path(&path, FillRule::Winding, true, Transform::identity());
        if let Some(clip) = &self.clip {
            for (m, &c) in self.mask.data_mut().iter_mut().zip(clip) {
                *m = (u16::from(*m) * u16::from(c) / 255) as u8;
            }
        }
        let (bounds, margin, side) = (path.bounds(), margin * self.scale + 1.0, self.side as f32);
        let low = |v: f32| (v - margin).clamp(0.0, side) as usize;
        let high = |v: f32| (v + margin).ceil().clamp(0.0, side) as usize;
        let (x, y) = (low(bounds.left()), low(bounds.top()));
        let (w, h) = (high(bounds.right()).saturating_sub(x), high(bounds.bottom()).saturating_sub(y));
        (w > 1 && h > 1).then_some(Window { x, y, w, h })
    }

    /// The mask inside a window, blurred by about `radius` units.
    fn blurred(&self, window: Window, radius: f32) -> Vec<f32> {
        let mut field = Vec::with_capacity(window.w * window.h);
        for y in window.y..window.y + window.h {
            let row = &self.mask.data()[y * self.side + window.x..][..window.w];
            field.extend(row.iter().map(|&v| f32::from(v) / 255.0));
        }
        let radius = radius * self.scale;
        for _ in 0..2 {
            blur_rows(&mut field, window.w, radius);
            blur_columns(&mut field, window.w, radius);
        }
        field
    }

    fn each(&mut self, window: Window, mut f: impl FnMut(&mut Self, usize, usize)) {
        for y in 0..window.h {
            for x in 0..window.w {
                f(self, (window.y + y) * self.side + window.x + x, y * window.w + x);
            }
        }
    }
}

/// Moves a pixel towards a colour.
fn blend(pixel: &mut Colour, colour: Colour, share: f32) {
    pixel.iter_mut().zip(colour).for_each(|(v, c)| *v += share * (c - *v));
}

/// Box blur of rows, `radius` pixels to either side; the border goes on as it is.
fn blur_rows(field: &mut [f32], width: usize, radius: f32) {
    let mut sums = vec![0.0; width + 1];
    for row in field.chunks_mut(width) {
        for x in 0..width {
            sums[x + 1] = sums[x] + row[x];
        }
        let (first, last) = (row[0], row[width - 1]);
        // Integral of the row up to the real position `p`.
        let upto = |p: f32| -> f32 {
            if p <= 0.0 {
                first * p
            } else if p >= width as f32 {
                sums[width] + last * (p - width as f32)
            } else {
                let k = p as usize;
                sums[k] + (p - k as f32) * (sums[k + 1] - sums[k])
            }
        };
        let share = 1.0 / (2.0 * radius + 1.0);
        for (x, v) in row.iter_mut().enumerate() {
            let centre = x as f32 + 0.5;
            *v = (upto(centre + 0.5 + radius) - upto(centre - 0.5 - radius)) * share;
        }
    }
}

fn blur_columns(field: &mut [f32], width: usize, radius: f32) {
    let height = field.len() / width;
    let mut turned = vec![0.0; field.len()];
    for y in 0..height {
        for x in 0..width {
            turned[x * height + y] = field[y * width + x];
        }
    }
    blur_rows(&mut turned, height, radius);
    for y in 0..height {
        for x in 0..width {
            field[y * width + x] = turned[x * height + y];
        }
    }
}

/// Central differences, right and down.
fn slopes(field: &[f32], window: Window) -> Vec<[f32; 2]> {
    let (w, h) = (window.w, window.h);
    let at = |x: usize, y: usize| field[y * w + x];
    let mut out = Vec::with_capacity(w * h);
    for y in 0..h {
        for x in 0..w {
            let dx = at((x + 1).min(w - 1), y) - at(x.saturating_sub(1), y);
            let dy = at(x, (y + 1).min(h - 1)) - at(x, y.saturating_sub(1));
            out.push([0.5 * dx, 0.5 * dy]);
        }
    }
    out
}
