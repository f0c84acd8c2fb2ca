//! Class Shoes: oxfords, loafers and pumps; sneakers are in [`super::sneakers`].

use super::canvas::{BODY, Edge, FLAT, STRAP};
use super::foot::{Heel, Last, Upper};
use super::line::{P, along, between, curve, ellipse, offset, shifted, stretch};
use super::material::{BLACK, CREAM, DARK_BROWN, Material, TAN, Texture, bright, dress, leather, one_of, thread_for};
use super::trim::{Lacing, buckle, metal, ribbon};
use super::{Scene, slippers, sneakers};
use crate::rng::Rng;

fn oxford(rng: &mut Rng) -> Scene {
    let thick = rng.range(2.2, 4.0);
    let heel = thick + rng.range(4.5, 7.5);
    let last = Last { ball: thick, heel, spring: rng.range(1.0, 2.6) };
    let point = rng.range(0.0, 1.0);
    let toe = last.ball + rng.range(10.0, 13.0);
    let throat = (rng.range(37.0, 41.0), toe + rng.range(9.0, 12.0));
    let tongue = (rng.range(52.0, 56.0), heel + rng.range(29.0, 34.0));
    let dip = (rng.range(68.0, 74.0), heel + rng.range(18.0, 22.0));
    let counter = heel + rng.range(24.0, 28.0);
    let base = dress(rng);
    let shell = leather(rng, base);
    let panel = if rng.below(4) == 0 { leather(rng, base) } else { shell.shade(rng.range(0.88, 1.0)) };
    let sole = Material::new([BLACK, DARK_BROWN, TAN, CREAM][rng.below(4)], 0.15, Texture::Layers);
    let lining = Material::new(one_of(rng, &[TAN, CREAM, BLACK]), 0.05, Texture::Leather);
    let lace = Material::new(base.map(|v| v * 0.6), 0.05, Texture::Plain);
    let (cap, derby, brogue, bow) = (rng.below(3), rng.below(2) == 0, rng.below(4) == 0, rng.below(2) == 0);
    let rows = 3 + rng.below(3);

    Scene::new(tongue.1 + 3.0, move |c| {
        let tip = -1.0 - 2.0 * point;
        let front: [P; 6] = [
            (tip, last.bed(0.0) + 0.5),
            (1.0 - 1.5 * point, last.bed(1.0) + 5.0 - 2.0 * point),
            (8.0, toe - 2.0 - 2.5 * point),
            (20.0, toe + 1.5 - point),
            throat,
            tongue,
        ];
        let top = [tongue, (tongue.0 + 5.0, tongue.1 - 4.5), dip, (86.0, counter - 2.0), (95.0, counter)];
        let back = [(95.0, counter), (96.6, counter - 3.0), (97.4, heel + 9.0), (97.0, heel - 0.5)];
        let upper = Upper::new(&last, &front, &top, &back);
        c.ground(4.0, 60.0, 0.8);
        c.ground(74.0, 97.0, 0.9);
        upper.opening(c, 3.4, &lining, &shell);
        let tongue_outline = curve(&[
            (throat.0, throat.1 - 3.0),
            (tongue.0 - 3.0, tongue.1 - 3.0),
            (tongue.0 - 2.0, tongue.1 + 2.2),
            (tongue.0 + 3.0, tongue.1 + 1.6),
            (tongue.0 + 4.0, tongue.1 - 8.0),
        ]);
        c.paint(&tongue_outline, &shell.shade(0.9), BODY);
        upper.shell(c, &shell, 11.0);
        let thread = thread_for(base);
        if cap > 0 {
            let edge = if cap == 1 {
                curve(&[(20.0, toe + 6.0), (22.5, toe - 3.0), (23.0, last.ball - 2.0)])
            } else {
                curve(&[(26.0, toe + 8.0), (24.0, toe), (34.0, last.ball + 6.0), (46.0, last.ball + 1.0)])
            };
            let outline = [edge.clone(), vec![(-6.0, -2.0), (-6.0, toe + 8.0)]].concat();
            upper.panel(c, &outline, &edge, &panel, thread);
            if brogue {
                for k in 0..9 {
                    let p = along(&shifted(&edge, -1.6, 0.0), (k as f32 + 0.5) / 9.0);
                    c.paint(&ellipse(p, 0.55, 0.55, 0.0), &shell.shade(0.35), FLAT);
                }
            }
        }
        // Facing with eyelets; open below on a derby.
        let facing = if derby {
            curve(&[
                (throat.0 + 1.0, throat.1 + 2.0),
                (throat.0 + 2.0, throat.1 - 7.0),
                (56.0, heel + 12.0),
                (66.0, heel + 3.0),
                (70.0, heel - 3.0),
            ])
        } else {
            curve(&[
                (throat.0 - 5.0, throat.1 + 1.0),
                (throat.0 + 3.0, throat.1 - 8.0),
                (54.0, heel + 15.0),
                (64.0, heel + 8.0),
                (72.0, heel - 3.0),
            ])
        };
        let outline =
            [facing.clone(), vec![(104.0, heel - 4.0), (104.0, counter + 4.0), (60.0, tongue.1 + 6.0)]].concat();
        upper.panel(c, &outline, &facing, &panel, thread);
        let edge = curve(&[(81.0, counter + 4.0), (83.0, heel + 12.0), (80.0, heel - 3.0)]);
        let outline = [edge.clone(), vec![(104.0, heel - 4.0), (104.0, counter + 4.0)]].concat();
        upper.panel(c, &outline, &edge, &shell, thread);
        c.seam(&shifted(&stretch(&upper.top, 0.15, 1.0), 0.0, -1.6), 0.5);
        c.no_clip();
        let lacing = Lacing { from: 0.66, to: 0.96, rows, inset: 4.0, width: 1.3, bow };
        lacing.draw(c, &upper.front, &lace, &panel.shade(0.5));
        last.plate(c, -1.5 - 2.0 * point, 98.5, thick, &sole);
        c.stroke(&last.line(-1.0 - 2.0 * point, 97.5, -0.5), 0.6, [1.0; 3], 0.16);
        last.heel(c, Heel::Stacked(74.0), thick, &sole);
    })
}

fn loafer(rng: &mut Rng) -> Scene {
    let thick = rng.range(2.0, 4.5);
    let heel = thick + rng.range(1.5, 6.0);
    let last = Last { ball: thick, heel, spring: rng.range(1.0, 2.5) };
    let toe = last.ball + rng.range(9.5, 13.0);
    let tongue = (rng.range(44.0, 51.0), heel + rng.range(23.0, 29.0));
    let dip = (rng.range(66.0, 74.0), heel + rng.range(13.0, 18.0));
    let counter = heel + rng.range(20.0, 25.0);
    let base = dress(rng);
    let shell = leather(rng, base);
    let sole = Material::new([BLACK, DARK_BROWN, TAN, CREAM][rng.below(4)], 0.12, Texture::Layers);
    let lining = Material::new(one_of(rng, &[TAN, CREAM, BLACK]), 0.05, Texture::Leather);
    let (style, shine) = (rng.below(4), metal(rng));

    Scene::new(tongue.1 + 4.0, move |c| {
        let front = [
            (-0.8, last.bed(0.0) + 0.5),
            (0.8, last.bed(2.0) + 5.5),
            (8.0, toe - 1.5),
            (20.0, toe + 2.0),
            (33.0, toe + 7.5),
            tongue,
        ];
        let top = [
            tongue,
            (tongue.0 + 4.0, tongue.1 - 4.0),
            (dip.0 - 8.0, dip.1 + 0.6),
            dip,
            (87.0, counter - 2.5),
            (95.0, counter),
        ];
        let back = [(95.0, counter), (96.6, counter - 2.5), (97.6, heel + 8.0), (97.0, heel - 0.5)];
        let upper = Upper::new(&last, &front, &top, &back);
        c.ground(4.0, 60.0, 0.8);
        c.ground(72.0, 97.0, 0.9);
        upper.opening(c, 4.4, &lining, &shell);
        upper.shell(c, &shell, 11.0);
        let thread = thread_for(base);
        // The raised seam of a moccasin toe.
        let apron = curve(&[(9.0, toe + 2.0), (14.0, toe - 3.0), (28.0, toe + 0.0), (44.0, heel + 12.5)]);
        c.seam(&apron, 1.2);
        c.tone(&between(&apron, &shifted(&apron, 0.0, -1.8)), 0.25, 0.6);
        for k in 0..13 {
            let p = along(&apron, (k as f32 + 0.5) / 13.0);
            c.stroke(&[(p.0 - 0.3, p.1 + 0.9), (p.0 + 0.3, p.1 - 0.9)], 0.6, [0.0; 3], 0.35);
        }
        // The strap across, its ends sewn in at the side.
        let strap = curve(&[(35.0, toe + 9.5), (41.0, heel + 13.0), (50.0, heel + 5.0), (56.0, heel - 3.0)]);
        if style < 3 {
            c.paint(&super::line::band(&strap, 6.5, 7.5), &shell.shade(0.94), STRAP);
            c.stitches(&offset(&strap, 2.6), thread, 0.4);
        }
        match style {
            0 => {
                let slot = stretch(&strap, 0.12, 0.38);
                c.paint(&super::line::band(&slot, 1.5, 1.5), &shell.shade(0.35), FLAT);
            }
            1 => {
                let bit = stretch(&strap, 0.05, 0.45);
                c.paint(&super::line::band(&bit, 1.6, 1.6), &shine, STRAP);
                buckle(c, along(&strap, 0.42), 2.4, 0.7, &shine);
            }
            2 => {
                for k in 0..2 {
                    let p = along(&strap, 0.18 + 0.1 * k as f32);
                    let tassel = curve(&[p, (p.0 - 3.0, p.1 - 1.5), (p.0 - 4.0, p.1 - 7.0)]);
                    c.paint(&super::line::band(&tassel, 1.0, 3.4), &shell.shade(0.85), STRAP);
                }
            }
            _ => {}
        }
        let edge = curve(&[(80.0, counter + 4.0), (82.0, heel + 9.0), (79.0, heel - 3.0)]);
        c.seam(&edge, 0.9);
        c.stitches(&shifted(&edge, 1.0, 0.0), thread, 0.4);
        c.seam(&shifted(&stretch(&upper.top, 0.12, 1.0), 0.0, -1.7), 0.5);
        c.no_clip();
        last.plate(c, -1.6, 98.4, thick, &sole);
        last.heel(c, Heel::Stacked(73.0), thick, &sole);
    })
}

fn pump(rng: &mut Rng) -> Scene {
    let flat = rng.below(4) == 0;
    let thick = rng.range(1.4, 2.2);
    let platform = if !flat && rng.below(5) == 0 { rng.range(3.0, 6.0) } else { 0.0 };
    let heel = if flat { thick + rng.range(1.0, 3.0) } else { rng.range(17.0, 42.0) + platform };
    let last = Last { ball: thick + platform, heel, spring: rng.range(0.5, 1.8) };
    let point = rng.range(0.0, 1.0);
    let toe = last.ball + rng.range(7.5, 10.0);
    let throat = (rng.range(22.0, 30.0), toe + rng.range(1.5, 4.5));
    let counter = heel + rng.range(19.0, 25.0);
    let base = if rng.below(3) == 0 { bright(rng) } else { dress(rng) };
    let shell = leather(rng, base);
    let lining = Material::new(one_of(rng, &[TAN, CREAM, super::material::NUDE]), 0.05, Texture::Leather);
    let style = match rng.below(3) {
        _ if flat => Heel::Stacked(78.0),
        0 => Heel::Block,
        1 if heel < 36.0 => Heel::Wedge,
        _ => Heel::Stiletto,
    };
    let heel_material = if rng.below(3) == 0 { Material::new(TAN, 0.1, Texture::Layers) } else { shell };
    let (bow, strap, shine) = (rng.below(5) == 0, rng.below(4) == 0, metal(rng));

    Scene::new(counter + 6.0, move |c| {
        let front = [
            (-1.0 - 2.5 * point, last.bed(0.0) + 0.3),
            (1.5 - 2.0 * point, last.bed(1.0) + 4.0 - 2.0 * point),
            (9.0, toe - 2.0 - 1.5 * point),
            (17.0, toe),
            throat,
        ];
        let mid = |x: f32, up: f32| (x, last.bed(x) + up);
        let top = [
            throat,
            mid(throat.0 + 7.0, 8.5),
            mid(48.0, 7.5),
            mid(64.0, 8.5),
            mid(80.0, 12.5),
            (92.0, counter - 2.0),
            (97.0, counter),
        ];
        let back = [(97.0, counter), (98.8, counter - 2.5), (99.0, heel + 9.0), (98.0, heel - 0.5)];
        let upper = Upper::new(&last, &front, &top, &back);
        c.ground(4.0, if flat { 96.0 } else { 38.0 }, 0.8);
        if !flat {
            c.ground(if style == Heel::Wedge { 30.0 } else { 84.0 }, 97.0, 0.8);
        }
        if !flat {
            last.heel(c, style, thick, &heel_material);
        }
        // Foot bed inside, then the far side.
        let bed = between(&last.line(throat.0 - 3.0, 96.0, 4.5), &last.line(throat.0 - 3.0, 96.0, 0.0));
        c.paint(&bed, &lining.shade(1.02), FLAT);
        upper.opening(c, 6.5, &lining, &shell);
        upper.shell(c, &shell, 8.0);
        c.seam(&shifted(&upper.top, 0.0, -1.1), 0.45);
        c.no_clip();
        if bow {
            ribbon(c, (throat.0 - 3.0, throat.1 - 0.5), 5.0, &shell.shade(0.92));
        }
        if strap {
            let line =
                curve(&[(60.0, last.bed(60.0) + 8.0), (59.0, last.bed(60.0) + 15.0), (64.0, last.bed(64.0) + 21.0)]);
            let far =
                curve(&[(64.0, last.bed(64.0) + 21.0), (70.0, last.bed(70.0) + 18.0), (72.0, last.bed(72.0) + 11.0)]);
            c.paint(&super::line::band(&far, 2.4, 2.4), &shell.shade(0.6), STRAP);
            c.paint(&super::line::band(&line, 2.6, 2.6), &shell, STRAP);
            buckle(c, line[line.len() / 3], 1.7, 1.4, &shine);
        }
        if platform > 0.0 {
            let outline = between(
                &last.line(-1.5, 46.0, 0.3),
                &[
                    (-1.0, last.spring * 0.6 + 1.0),
                    (6.0, 0.2),
                    (14.0, 0.0),
                    (38.0, 0.0),
                    (46.0, last.bed(46.0) - thick),
                ],
            );
            c.paint(&outline, &shell.shade(0.92), Edge { bevel: 0.9, shadow: 0.2 });
        }
        last.plate(
            c,
            -1.5 - 2.5 * point,
            98.6,
            if platform > 0.0 { 1.0 } else { thick },
            &Material::new(if platform > 0.0 { shell.colour } else { BLACK }, 0.15, Texture::Plain),
        );
        if flat {
            last.heel(c, style, thick, &Material::new(BLACK, 0.1, Texture::Plain));
        }
    })
}

/// One of the class, in the shares of a catalogue.
pub fn scene(rng: &mut Rng) -> (&'static str, Scene) {
    match rng.below(100) {
        0..=30 => ("Sneakers", sneakers::sneaker(rng, false)),
        31..=41 => ("High Tops", sneakers::sneaker(rng, true)),
        42..=58 => ("Oxfords", oxford(rng)),
        59..=73 => ("Loafers", loafer(rng)),
        74..=79 => ("Clogs", slippers::mule(rng, true)),
        _ => ("Pumps", pump(rng)),
    }
}
