//! Small parts: laces, buckles, zips, fur, bows.

use super::canvas::{Canvas, Edge, FLAT, STRAP};
use super::line::{Line, P, along, arc, band, ellipse, mix, offset, stretch};
use super::material::{Colour, GOLD, Material, SILVER, Texture};
use crate::rng::Rng;

/// Polished metal.
pub fn metal(rng: &mut Rng) -> Material {
    Material::new(if rng.below(3) == 0 { GOLD } else { SILVER }, 0.9, Texture::Plain)
}

/// Laces across the instep: `front` is the outline from toe to throat, laced between shares `from` and `to` of its length,
/// `rows` times; eyelets lie `inset` below it.
pub struct Lacing {
    pub from: f32,
    pub to: f32,
    pub rows: usize,
    pub inset: f32,
    pub width: f32,
    pub bow: bool,
}

impl Lacing {
    pub fn draw(&self, canvas: &mut Canvas, front: &[P], lace: &Material, eyelet: &Material) {
        let edge = stretch(front, self.from, self.to);
        // The outline runs from the toe upwards, so the shoe is on its right.
        let (inner, outer) = (offset(&edge, -self.inset), offset(&edge, 0.9));
        for k in 0..self.rows {
            let t = (k as f32 + 0.5) / self.rows as f32;
            let (low, high) = (along(&inner, t), along(&outer, (t + 0.05).min(1.0)));
            canvas.paint(&ellipse(low, 1.2, 1.2, 0.0), eyelet, Edge { bevel: 0.4, shadow: 0.3 });
            let back = along(&outer, (t + 0.55 / self.rows as f32).min(1.0));
            canvas.paint(
                &band(&[mix(low, back, 0.15), back], self.width * 0.8, self.width * 0.8),
                &lace.shade(0.8),
                STRAP,
            );
            canvas.paint(&band(&[low, high], self.width, self.width), lace, STRAP);
        }
        if self.bow {
            let knot = along(&offset(&edge, -self.inset * 0.2), 0.97);
            self.bow(canvas, knot, lace);
        }
    }

    fn bow(&self, canvas: &mut Canvas, knot: P, lace: &Material) {
        let w = self.width * 0.75;
        for (dx, dy, tilt) in [(-4.6, -1.4, 0.45), (4.8, -2.6, -0.55)] {
            let loop_line = ellipse((knot.0 + dx, knot.1 + dy), 4.6, 1.9, tilt);
            canvas.paint(&band(&loop_line, w, w), lace, STRAP);
        }
        for (dx, dy) in [(-3.0, -8.5), (4.5, -9.5)] {
            let end = super::line::curve(&[knot, (knot.0 + dx * 0.3, knot.1 + dy * 0.5), (knot.0 + dx, knot.1 + dy)]);
            canvas.paint(&band(&end, w, w), lace, STRAP);
        }
        canvas.paint(&ellipse(knot, 1.5, 1.2, 0.3), lace, STRAP);
    }
}

/// A frame with a prong.
pub fn buckle(canvas: &mut Canvas, at: P, size: f32, tilt: f32, metal: &Material) {
    let frame: Line = arc(at, size * 0.85, size, tilt, 0.125, 1.125);
    canvas.paint(&band(&frame, size * 0.34, size * 0.34), metal, Edge { bevel: 0.5, shadow: 0.5 });
    let (s, c) = tilt.sin_cos();
    let prong = [(at.0 - c * size, at.1 - s * size), (at.0 + c * size, at.1 + s * size)];
    canvas.paint(&band(&prong, size * 0.26, size * 0.2), metal, Edge { bevel: 0.4, shadow: 0.3 });
}

/// A zip along a curve.
pub fn zip(canvas: &mut Canvas, line: &[P], metal: &Material) {
    canvas.stroke(line, 1.8, [0.06; 3], 0.75);
    let length: f32 = line.windows(2).map(|w| ((w[0].0 - w[1].0).powi(2) + (w[0].1 - w[1].1).powi(2)).sqrt()).sum();
    let teeth = (length / 1.5) as usize;
    for k in 0..teeth {
        let p = along(line, (k as f32 + 0.5) / teeth as f32);
        canvas.paint(&ellipse(p, 0.6, 0.35, 0.0), metal, FLAT);
    }
    let (a, b) = (line[0], along(line, 0.07));
    canvas.paint(&band(&[a, b], 1.6, 1.2), metal, Edge { bevel: 0.4, shadow: 0.5 });
}

/// Curly fur along a curve, about `width` units thick.
pub fn fur(canvas: &mut Canvas, rng: &mut Rng, line: &[P], width: f32, colour: Colour) {
    let material = Material::new(colour, 0.0, Texture::Fur);
    let length: f32 = line.windows(2).map(|w| ((w[0].0 - w[1].0).powi(2) + (w[0].1 - w[1].1).powi(2)).sqrt()).sum();
    canvas.no_form();
    canvas.paint(&band(line, width, width), &material, Edge { bevel: width * 0.4, shadow: 0.35 });
    let tufts = (length / 1.7) as usize;
    for k in 0..tufts {
        let p = along(line, (k as f32 + 0.5) / tufts as f32);
        let (dx, dy) = (rng.range(-0.35, 0.35) * width, rng.range(-0.35, 0.4) * width);
        let r = width * rng.range(0.22, 0.42);
        let tuft = ellipse((p.0 + dx, p.1 + dy), r, r * rng.range(0.7, 1.0), rng.range(0.0, 3.0));
        canvas.paint(&tuft, &material.shade(rng.range(0.92, 1.06)), Edge { bevel: r * 0.5, shadow: 0.12 });
    }
}

/// A flat bow of ribbon.
pub fn ribbon(canvas: &mut Canvas, at: P, size: f32, material: &Material) {
    for side in [-1.0, 1.0] {
        let wing = super::line::curve(&[
            at,
            (at.0 + side * size * 0.7, at.1 + size * 0.55),
            (at.0 + side * size, at.1),
            (at.0 + side * size * 0.7, at.1 - size * 0.45),
            at,
        ]);
        canvas.paint(&wing, material, STRAP);
    }
    canvas.paint(&ellipse(at, size * 0.24, size * 0.28, 0.0), &material.shade(0.9), STRAP);
}
