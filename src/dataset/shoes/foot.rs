//! What every shoe stands on: the foot bed, soles and heels; and the closed upper above it.

use super::canvas::{BODY, Canvas, Edge, FLAT, PANEL};
use super::line::{Line, P, between, curve, height_at, reversed, shifted};
use super::material::{BLACK, Colour, Material, Texture};

/// The line the foot stands on, seen from the side.
#[derive(Clone, Copy)]
pub struct Last {
    /// Height of the bed under the ball of the foot.
    pub ball: f32,
    /// Height of the bed under the heel.
    pub heel: f32,
    /// How far the toe is lifted.
    pub spring: f32,
}

impl Last {
    /// Height of the bed at `x`.
    pub fn bed(&self, x: f32) -> f32 {
        let t = ((x - 30.0) / 46.0).clamp(0.0, 1.0);
        let toe = ((20.0 - x) / 20.0).max(0.0);
        self.ball + (self.heel - self.ball) * t * t * (3.0 - 2.0 * t) + self.spring * toe * toe
    }

    /// The bed from `from` to `to`, moved up by `up`.
    pub fn line(&self, from: f32, to: f32, up: f32) -> Line {
        (0..=28).map(|k| from + (to - from) * k as f32 / 28.0).map(|x| (x, self.bed(x) + up)).collect()
    }

    /// The underside of a sole `thick` units thick, rounded up at both ends.
    fn underside(&self, from: f32, to: f32, thick: f32) -> Line {
        let lift = |x: f32| {
            let end = ((from + 5.0 - x) / 5.0).max((x - to + 4.0) / 4.0).max(0.0);
            end * end * thick * 0.6
        };
        self.line(from, to, 0.0).into_iter().map(|(x, y)| (x, (y - thick + lift(x)).max(0.0))).collect()
    }

    /// A sole of even thickness.
    pub fn plate(&self, canvas: &mut Canvas, from: f32, to: f32, thick: f32, material: &Material) {
        let outline = between(&self.line(from, to, 0.0), &self.underside(from, to, thick));
        canvas.no_form();
        canvas.paint(&outline, material, Edge { bevel: thick * 0.3, shadow: 0.0 });
    }

    /// A thick rubber sole that cups the upper by `lip`, down to the ground; `outsole` is the strip underneath.
    pub fn cup(&self, canvas: &mut Canvas, lip: f32, wall: &Material, outsole: &Material, tread: bool) {
        let (from, to) = (-1.0, 100.0);
        let top: Line = self.line(from, to, lip);
        let rise = self.spring + 0.5;
        let toe = (from + 0.4, self.bed(from) + lip - 3.0);
        let bottom =
            curve(&[toe, (4.0, rise * 0.75 + 0.6), (10.0, rise * 0.22 + 0.2), (17.0, 0.0), (60.0, 0.0), (91.0, 0.0)]);
        let heel = curve(&[(91.0, 0.0), (97.5, 0.9), (to + 0.6, 4.2), (to, self.bed(to) + lip)]);
        let outline = between(&top, &[bottom.clone(), heel].concat());
        canvas.no_form();
        canvas.form(&outline, 0.35, 4.0);
        canvas.paint(&outline, wall, Edge { bevel: 0.9, shadow: 0.25 });
        canvas.clip(&outline);
        let strip = shifted(&bottom, 0.0, 1.9);
        canvas.paint(
            &between(&[strip, vec![(101.0, 2.4)]].concat(), &[bottom.clone(), vec![(102.0, -1.0)]].concat()),
            outsole,
            FLAT,
        );
        if tread {
            for k in 0..26 {
                let x = 6.0 + 3.6 * k as f32;
                let y = height_at(&bottom, x);
                canvas.stroke(&[(x, y - 0.4), (x + 0.5, y + 1.6)], 0.8, [0.05; 3], 0.55);
            }
        }
        canvas.stroke(&self.line(from, to, lip - 1.3), 0.45, [0.0; 3], 0.18);
        canvas.no_clip();
        canvas.no_form();
    }

    /// A lug sole: a plate with teeth.
    pub fn lugs(&self, canvas: &mut Canvas, thick: f32, material: &Material, heel_front: f32) {
        self.plate(canvas, -1.0, 99.0, thick * 0.6, material);
        let step = 5.6;
        for k in 0..18 {
            let x = 5.0 + step * k as f32;
            if x > 95.0 {
                break;
            }
            let top = self.bed(x) - thick * 0.45;
            let bottom = if x > heel_front { 0.0 } else { (self.bed(x) - thick).max(0.0) };
            if x > heel_front - 5.0 && x < heel_front {
                continue;
            }
            let tooth = vec![(x, top), (x + 0.3, bottom), (x + step * 0.72, bottom), (x + step * 0.78, top)];
            canvas.paint(&tooth, &material.shade(0.9), Edge { bevel: 0.4, shadow: 0.0 });
        }
        if self.heel - thick > 1.0 {
            let block = vec![
                (heel_front, self.bed(heel_front) - thick * 0.4),
                (heel_front + 0.8, 1.4),
                (98.0, 1.4),
                (98.8, self.heel - thick * 0.4),
            ];
            canvas.paint(&block, material, Edge { bevel: 0.6, shadow: 0.0 });
        }
    }

    /// A heel under the seat.
    pub fn heel(&self, canvas: &mut Canvas, style: Heel, thick: f32, material: &Material) {
        let top = |x: f32| self.bed(x) - 0.35 * thick;
        let outline = match style {
            Heel::Stacked(front) => {
                vec![(front, top(front)), (front + 1.5, 0.0), (96.6, 0.0), (97.8, top(97.0) * 0.5), (98.0, top(98.0))]
            }
            Heel::Block => {
                let front = curve(&[(72.0, top(72.0)), (77.0, top(76.0) - 3.0), (79.5, self.heel * 0.4), (80.0, 0.0)]);
                let back = curve(&[(98.0, top(98.0)), (97.5, self.heel * 0.5), (95.5, 0.0)]);
                between(&front, &back)
            }
            Heel::Stiletto => {
                let front = curve(&[
                    (71.0, top(71.0)),
                    (80.0, top(78.0) - 3.0),
                    (88.0, self.heel * 0.62),
                    (91.0, self.heel * 0.3),
                    (92.0, 0.0),
                ]);
                let back = curve(&[(98.5, top(98.0)), (97.6, self.heel * 0.6), (95.8, self.heel * 0.25), (95.2, 0.0)]);
                between(&front, &back)
            }
            Heel::Wedge => {
                let floor = curve(&[(22.0, 0.0), (60.0, 0.0), (95.0, 0.0)]);
                let back = curve(&[(95.0, 0.0), (97.0, self.heel * 0.45), (98.5, top(98.0))]);
                between(&self.line(22.0, 98.5, 0.4 - thick), &[floor, back].concat())
            }
        };
        canvas.no_form();
        canvas.form(&outline, 0.6, 5.0);
        canvas.paint(&outline, material, Edge { bevel: 0.6, shadow: 0.0 });
        canvas.clip(&outline);
        canvas.tone(
            &vec![(60.0, self.heel - thick - 3.0), (100.0, self.heel - thick - 3.0), (100.0, 60.0), (60.0, 60.0)],
            0.35,
            1.6,
        );
        if !matches!(style, Heel::Wedge) {
            let lift = vec![(60.0, 1.3), (100.0, 1.3), (100.0, -1.0), (60.0, -1.0)];
            canvas.paint(&lift, &Material::new(BLACK, 0.1, Texture::Plain), FLAT);
        }
        canvas.no_clip();
        canvas.no_form();
    }
}

/// Kinds of heel; the number is where a stacked heel begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Heel {
    Stacked(f32),
    Block,
    Stiletto,
    Wedge,
}

/// A closed upper: its outline and the curves it is made of.
pub struct Upper {
    pub outline: Line,
    /// From the toe up to the throat.
    pub front: Line,
    /// From the throat along the opening to the back.
    pub top: Line,
}

impl Upper {
    /// Closed along the bed of `last`.
    pub fn new(last: &Last, front: &[P], top: &[P], back: &[P]) -> Self {
        let (front, top, back) = (curve(front), curve(top), curve(back));
        let base = reversed(&last.line(front[0].0, back[back.len() - 1].0, -1.0));
        let outline = [front.clone(), top.clone(), back.clone(), base].concat();
        Upper { outline, front, top }
    }

    /// The inside of the far side, seen through the opening; `lift` is how far the far edge rises above the near one.
    pub fn opening(&self, canvas: &mut Canvas, lift: f32, lining: &Material, outside: &Material) {
        let far = self.far_edge(lift);
        let n = self.top.len() - 1;
        let rim: Line = far
            .iter()
            .enumerate()
            .map(|(i, p)| {
                let t = i as f32 / n as f32;
                (p.0, p.1 + 1.1 * (4.0 * t * (1.0 - t)).sqrt())
            })
            .collect();
        canvas.no_form();
        canvas.paint(&between(&rim, &self.top), outside, BODY);
        let inside = between(&far, &shifted(&self.top, 0.0, -2.0));
        canvas.paint(&inside, &lining.shade(0.86), FLAT);
        canvas.clip(&inside);
        canvas.tone(&between(&shifted(&self.top, 0.0, lift * 0.55), &shifted(&self.top, 0.0, -4.0)), 0.5, 1.4);
        canvas.no_clip();
    }

    /// The far edge of the opening.
    pub fn far_edge(&self, lift: f32) -> Line {
        let n = (self.top.len() - 1) as f32;
        let up = |i: usize| {
            let t = i as f32 / n;
            (4.0 * t * (1.0 - t)).sqrt()
        };
        self.top.iter().enumerate().map(|(i, p)| (p.0, p.1 + lift * up(i))).collect()
    }

    /// Paints the shell and leaves the canvas clipped to it with its volume, ready for panels.
    pub fn shell(&self, canvas: &mut Canvas, material: &Material, width: f32) {
        canvas.no_clip();
        canvas.form(&self.outline, 1.0, width);
        canvas.paint(&self.outline, material, BODY);
        canvas.clip(&self.outline);
    }

    /// A panel sewn on, with a row of stitches along `edge`.
    pub fn panel(&self, canvas: &mut Canvas, outline: &Line, edge: &[P], material: &Material, thread: Colour) {
        canvas.paint(outline, material, PANEL);
        canvas.seam(edge, 0.7);
        canvas.stitches(edge, thread, 0.45);
    }
}
