//! Sneakers, high-tops and slip-ons of the class Shoes.

use super::Scene;
use super::canvas::{BODY, PANEL};
use super::foot::{Last, Upper};
use super::line::{P, between, curve, ellipse, offset, shifted, stretch};
use super::material::{BLACK, CREAM, DARK_GREY, GUM, Material, Texture, WHITE, bright, dress, one_of, thread_for};
use super::trim::Lacing;
use crate::rng::Rng;

/// Rubber in a usual sole colour.
fn rubber(rng: &mut Rng) -> Material {
    let colour = match rng.below(10) {
        0..=4 => WHITE,
        5..=6 => CREAM,
        7 => BLACK,
        8 => GUM,
        _ => bright(rng),
    };
    Material::new(colour, 0.08, Texture::Plain)
}

pub fn sneaker(rng: &mut Rng, high: bool) -> Scene {
    let heel = rng.range(8.0, 12.5);
    let last = Last { ball: rng.range(5.0, 8.0), heel, spring: rng.range(1.5, 4.5) };
    let toe = last.ball + rng.range(11.0, 15.0);
    let collar = if high { heel + rng.range(38.0, 54.0) } else { heel + rng.range(26.0, 32.0) };
    let throat = (rng.range(31.0, 36.0), toe + rng.range(9.0, 13.0));
    let tongue = if high {
        (rng.range(49.0, 53.0), collar + rng.range(2.0, 7.0))
    } else {
        (rng.range(47.0, 52.0), heel + rng.range(35.0, 41.0))
    };
    let dip =
        if high { (72.0, collar - rng.range(1.0, 4.0)) } else { (rng.range(66.0, 72.0), heel + rng.range(20.0, 25.0)) };
    let base = if high && rng.below(2) == 0 { dress(rng) } else { bright(rng) };
    let accent = bright(rng);
    let texture = [Texture::Leather, Texture::Suede, Texture::Canvas, Texture::Mesh, Texture::Mesh][rng.below(5)];
    let shell = Material::new(base, if texture == Texture::Leather { 0.3 } else { 0.04 }, texture);
    let overlay = Material::new(
        if rng.below(3) == 0 { base } else { accent },
        0.2,
        [Texture::Leather, Texture::Suede][rng.below(2)],
    );
    let wall = rubber(rng);
    let outsole = if rng.below(2) == 0 {
        wall.shade(0.85)
    } else {
        Material::new([BLACK, GUM, accent][rng.below(3)], 0.1, Texture::Plain)
    };
    let lining = Material::new(one_of(rng, &[DARK_GREY, accent, CREAM, BLACK]), 0.0, Texture::Plain);
    let lace = Material::new([WHITE, WHITE, BLACK, accent][rng.below(4)], 0.05, Texture::Canvas);
    let (rows, slip_on) = (if high { 5 + rng.below(3) } else { 4 + rng.below(3) }, !high && rng.below(9) == 0);
    let (cap, side, quarter, tab) = (rng.below(3), rng.below(4), rng.below(3) > 0, rng.below(2) == 0);
    let tread = rng.below(3) > 0;
    let bow = rng.below(2) == 0;
    let lip = rng.range(1.0, 2.6);

    Scene::new(collar.max(tongue.1) + 4.0, move |c| {
        let front: [P; 6] = [
            (-0.3, last.bed(0.0) + 1.0),
            (1.2, last.bed(2.0) + 7.0),
            (8.0, toe - 1.0),
            (19.0, toe + 3.5),
            throat,
            tongue,
        ];
        let back_x = 96.5;
        let top: Vec<P> = vec![tongue, (tongue.0 + 5.5, tongue.1 - 3.5), dip, (88.0, collar - 2.5), (94.0, collar)];
        let back: Vec<P> = vec![
            (94.0, collar),
            (back_x, collar - 3.0),
            (back_x - 1.6, heel + 17.0),
            (99.0, heel + 7.0),
            (98.6, heel - 0.5),
        ];
        let upper = Upper::new(&last, &front, &top, &back);
        c.ground(6.0, 97.0, 1.0);
        upper.opening(c, 3.6, &lining, &overlay);
        // The tongue stands a little above the throat.
        let tip = if slip_on { (tongue.0, tongue.1) } else { (tongue.0 - 3.5, tongue.1 + 3.5) };
        let tongue_outline = curve(&[
            (throat.0, throat.1 - 4.0),
            (throat.0 + 3.0, throat.1 + 2.5),
            tip,
            (tip.0 + 5.0, tip.1 + 0.6),
            (tongue.0 + 4.0, tongue.1 - 8.0),
            (throat.0 + 8.0, throat.1 - 6.0),
        ]);
        c.paint(&tongue_outline, &shell.shade(0.93), BODY);
        upper.shell(c, &shell, 11.0);
        let thread = thread_for(overlay.colour);
        if cap > 0 {
            let edge = if cap == 1 {
                curve(&[(17.0, toe + 8.0), (21.0, toe - 2.0), (22.0, last.ball + 5.0), (28.0, last.ball - 1.0)])
            } else {
                curve(&[(4.0, toe), (12.0, last.ball + 9.0), (24.0, last.ball + 5.5), (38.0, last.ball + 2.0)])
            };
            let outline = [edge.clone(), vec![(-5.0, 0.0), (-5.0, toe + 8.0)]].concat();
            upper.panel(c, &outline, &edge, &overlay, thread);
        }
        if quarter {
            let edge = curve(&[(70.0, dip.1 + 9.0), (74.0, heel + 16.0), (78.0, heel + 8.0), (72.0, heel - 3.0)]);
            let outline =
                [edge.clone(), vec![(104.0, heel - 5.0), (104.0, collar - 6.0), (84.0, dip.1 - 4.0)]].concat();
            upper.panel(c, &outline, &edge, &overlay, thread);
        }
        // Eyelet stay along the lacing.
        if !slip_on {
            let stay = stretch(&upper.front, 0.58, 1.0);
            let lower = offset(&stay, -8.0);
            let outline = between(&offset(&stay, 1.0), &lower);
            upper.panel(c, &outline, &lower, &overlay, thread);
        }
        let accent_material = Material::new(accent, 0.25, Texture::Plain);
        match side {
            0 => {
                for k in 0..2 {
                    let x = 52.0 + 8.0 * k as f32;
                    let line = [(x, last.bed(x) - 2.0), (x + 7.0, throat.1 + 1.0)];
                    c.paint(&super::line::band(&line, 3.6, 2.6), &accent_material, PANEL);
                }
            }
            1 => {
                let chevron = [(47.0, heel + 14.0), (60.0, last.bed(60.0) + 7.0), (76.0, heel + 17.0)];
                c.paint(&super::line::band(&chevron, 2.6, 2.6), &accent_material, PANEL);
                c.paint(&super::line::band(&shifted(&chevron, 1.0, -4.6), 2.0, 2.0), &accent_material, PANEL);
            }
            2 => {
                let wave =
                    curve(&[(30.0, last.ball + 8.0), (48.0, heel + 14.0), (62.0, heel + 4.0), (84.0, heel + 14.0)]);
                c.paint(&super::line::band(&wave, 2.4, 1.4), &accent_material, PANEL);
            }
            _ if high => {
                c.paint(&ellipse((78.0, collar - 16.0), 6.0, 6.0, 0.0), &accent_material, PANEL);
                c.stroke(&ellipse((78.0, collar - 16.0), 4.6, 4.6, 0.0), 0.6, thread, 0.7);
            }
            _ => {}
        }
        // A padded collar.
        let collar_line = stretch(&upper.top, 0.25, 1.0);
        let low = shifted(&offset(&collar_line, -4.2), 0.0, 0.0);
        c.tone(&between(&collar_line, &low), -0.10, 0.8);
        c.seam(&low, 0.6);
        if tab {
            let outline = vec![(93.0, collar + 2.0), (99.0, collar + 2.0), (99.0, heel + 12.0), (95.0, heel + 12.0)];
            c.paint(&outline, &accent_material, PANEL);
        }
        c.no_clip();
        if !slip_on {
            let lacing = Lacing { from: 0.60, to: 0.97, rows, inset: 4.6, width: 2.1, bow };
            lacing.draw(c, &upper.front, &lace, &Material::new([0.3; 3], 0.6, Texture::Plain));
        } else {
            // Elastic at the throat.
            let stay = stretch(&upper.front, 0.84, 1.0);
            c.clip(&upper.outline);
            c.paint(
                &between(&offset(&stay, 1.0), &offset(&stay, -11.0)),
                &Material::new(DARK_GREY, 0.0, Texture::Layers),
                PANEL,
            );
            c.no_clip();
        }
        last.cup(c, lip, &wall, &outsole, tread);
        if high && cap == 1 {
            // The rubber toe of a basketball shoe.
            let bumper = curve(&[
                (-0.6, last.bed(0.0)),
                (0.6, last.ball + 8.0),
                (7.0, last.ball + 9.5),
                (14.0, last.ball + 5.0),
                (17.0, last.ball),
            ]);
            c.paint(&bumper, &wall, PANEL);
        }
    })
}
