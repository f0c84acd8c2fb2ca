//! Straps of sandals and the open foot bed under them.

use super::canvas::{Canvas, Edge, STRAP};
use super::foot::Last;
use super::line::{Line, P, along, arc, band, between, curve, offset};
use super::material::{Material, thread_for};
use super::trim::buckle;

/// A band over the foot, seen from the side: it leaves the bed upright and bends away at its crest; behind it the inside
/// of the far end shows.
pub struct Strap {
    /// Where its front edge leaves the bed.
    pub foot: f32,
    pub width: f32,
    /// Height over the bed, and how far the crest lies behind the foot.
    pub up: f32,
    pub lean: f32,
}

impl Strap {
    /// Middle of the highest edge.
    pub fn crest(&self, last: &Last) -> P {
        (self.foot + self.lean + 0.55 * self.width, last.bed(self.foot + 0.5 * self.width) + self.up)
    }

    fn outline(&self, last: &Last, dx: f32, dy: f32) -> Line {
        let Strap { foot, width, up, lean } = *self;
        let middle = last.bed(foot + 0.5 * width);
        let at = |u: f32, share: f32, height: f32| (foot + u * width + share * lean + dx, middle + height * up + dy);
        let ends = [last.bed(foot) - 0.6, last.bed(foot + width) - 0.6].map(|y| y + dy);
        let front = curve(&[(foot + dx, ends[0]), at(0.0, 0.12, 0.45), at(0.05, 0.5, 0.8), at(0.16, 1.0, 0.96)]);
        let top = [at(0.16, 1.0, 0.96), at(0.55, 1.0, 1.02), at(0.92, 1.0, 1.0)];
        let back = curve(&[at(0.92, 1.0, 1.0), at(1.0, 0.62, 0.78), at(1.02, 0.2, 0.45), (foot + width + dx, ends[1])]);
        [front, curve(&top), back].concat()
    }

    pub fn draw_far(&self, c: &mut Canvas, last: &Last, inside: &Material) {
        c.paint(&self.outline(last, 3.4, 2.4), &inside.shade(0.55), Edge { bevel: 0.7, shadow: 0.3 });
    }

    pub fn draw_near(&self, c: &mut Canvas, last: &Last, outside: &Material) {
        let outline = self.outline(last, 0.0, 0.0);
        // Rounded along its length, flat across.
        let [left, right] = [self.foot - 40.0, self.foot + self.width + 40.0];
        let top = self.crest(last).1;
        c.form(&vec![(left, top - self.up), (right, top - self.up), (right, top), (left, top)], 0.8, 0.45 * self.up);
        c.paint(&outline, outside, Edge { bevel: 0.7, shadow: 0.5 });
        c.no_form();
        if self.width > 5.0 {
            let thread = thread_for(outside.colour);
            c.clip(&outline);
            c.stitches(&offset(&outline, -1.2), thread, 0.35);
            c.no_clip();
        }
    }
}

/// Sole and the visible foot bed.
pub fn base(c: &mut Canvas, last: &Last, thick: f32, bed: &Material, sole: &Material) {
    let depth = 4.2;
    let near = last.line(-0.5, 98.5, 0.0);
    let far: Line = near
        .iter()
        .map(|&(x, y)| {
            let t = ((x + 0.5) / 99.0).clamp(0.0, 1.0);
            (x, y + depth * (4.0 * t * (1.0 - t)).sqrt().min(0.95))
        })
        .collect();
    c.paint(&between(&far, &near), bed, Edge { bevel: 0.8, shadow: 0.0 });
    last.plate(c, -1.0, 99.0, thick, sole);
    c.stroke(&last.line(0.0, 98.0, -0.3), 0.5, [1.0; 3], 0.25);
}

/// A strap around the ankle, with a buckle on the near side; `far` is painted first by the caller.
pub fn ankle(c: &mut Canvas, centre: P, width: f32, material: &Material, near: bool, shine: Option<&Material>) {
    let (from, to) = if near { (0.47, 1.03) } else { (0.0, 0.5) };
    let ring = arc(centre, 14.5, 4.6, 0.14, from, to);
    let surface = if near { *material } else { material.shade(0.6) };
    c.paint(&band(&ring, width, width), &surface, STRAP);
    if let (true, Some(shine)) = (near, shine) {
        buckle(c, along(&ring, 0.42), width * 0.62, 0.0, shine);
    }
}
