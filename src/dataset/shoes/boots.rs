//! Class Boots: ankle, chelsea, chukka, combat, knee-high, heeled, winter and rain boots.

use super::Scene;
use super::canvas::{BODY, Edge, FLAT, PANEL, STRAP};
use super::foot::{Heel, Last, Upper};
use super::line::{P, along, band, between, curve, ellipse, height_at, offset, shifted, stretch};
use super::material::{
    BLACK, BROWN, CREAM, DARK_BROWN, DARK_GREY, GREY, GUM, Material, TAN, Texture, WHITE, bright, cosy, dress, leather,
    one_of, thread_for,
};
use super::trim::{Lacing, buckle, fur, metal, zip};
use crate::rng::Rng;

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Ankle,
    Chelsea,
    Chukka,
    Combat,
    Knee,
    Heeled,
    Winter,
    Rain,
}

/// One of the class, in the shares of a catalogue.
pub fn scene(rng: &mut Rng) -> (&'static str, Scene) {
    let (name, style) = match rng.below(100) {
        0..=17 => ("Ankle", Style::Ankle),
        18..=29 => ("Chelsea", Style::Chelsea),
        30..=41 => ("Chukka", Style::Chukka),
        42..=56 => ("Combat", Style::Combat),
        57..=73 => ("Knee High", Style::Knee),
        74..=87 => ("Heeled", Style::Heeled),
        88..=92 => ("Winter", Style::Winter),
        _ => ("Rain", Style::Rain),
    };
    (name, boot(rng, style))
}

fn boot(rng: &mut Rng, style: Style) -> Scene {
    use Style::*;
    let lug = matches!(style, Combat | Winter) || (style == Chelsea && rng.below(3) == 0);
    // On a sneaker's sole: hardly told from a high-top.
    let casual = match style {
        Chukka => rng.below(5) < 3,
        Ankle => rng.below(5) == 0,
        _ => false,
    };
    let thick = match style {
        _ if casual => rng.range(4.5, 7.0),
        Combat | Winter => rng.range(5.0, 7.0),
        Rain => rng.range(3.5, 5.0),
        _ if lug => rng.range(4.0, 6.0),
        _ => rng.range(1.8, 3.4),
    };
    let (low, high) = match style {
        _ if casual => (2.0, 4.5),
        Heeled => (16.0, 36.0),
        Knee => {
            if rng.below(2) == 0 {
                (2.0, 6.0)
            } else {
                (14.0, 32.0)
            }
        }
        Ankle => (3.0, 12.0),
        Chukka => (1.5, 4.5),
        Rain => (1.5, 3.5),
        _ => (3.0, 6.0),
    };
    let heel = thick + rng.range(low, high);
    let last = Last { ball: thick, heel, spring: rng.range(0.8, 2.4) };
    let (shaft_low, shaft_high) = match style {
        Ankle => (34.0, 60.0),
        Chelsea => (40.0, 56.0),
        Chukka => (29.0, 41.0),
        Combat => (56.0, 86.0),
        Knee => (110.0, 160.0),
        Heeled => (40.0, 72.0),
        Winter => (60.0, 84.0),
        Rain => (70.0, 118.0),
    };
    let top_y = heel + rng.range(shaft_low, shaft_high);
    let slim = matches!(style, Heeled | Knee);
    let point = if slim { rng.range(0.2, 1.0) } else { rng.range(0.0, 0.35) };
    let toe = last.ball + rng.range(10.0, 13.5) + if lug { 2.0 } else { 0.0 };
    let base = match style {
        Rain => bright(rng),
        Winter => cosy(rng),
        _ if casual && rng.below(2) == 0 => bright(rng),
        _ => dress(rng),
    };
    let shell = match style {
        Rain => Material::new(base, rng.range(0.6, 0.95), Texture::Plain),
        Winter => Material::new(base, 0.03, Texture::Suede),
        _ => leather(rng, base),
    };
    let panel = if rng.below(3) == 0 { leather(rng, base) } else { shell.shade(rng.range(0.86, 1.0)) };
    let sole_colour = match style {
        Rain => one_of(rng, &[BLACK, WHITE, base, DARK_GREY]),
        _ if casual => one_of(rng, &[WHITE, CREAM, BLACK, GUM]),
        _ if lug => one_of(rng, &[BLACK, BLACK, DARK_BROWN, CREAM]),
        _ => one_of(rng, &[BLACK, DARK_BROWN, BROWN, TAN, GUM]),
    };
    let sole =
        Material::new(sole_colour, 0.1, if lug || casual || style == Rain { Texture::Plain } else { Texture::Layers });
    let lining = Material::new(one_of(rng, &[TAN, CREAM, BLACK, GREY]), 0.02, Texture::Leather);
    let lace = Material::new(one_of(rng, &[BLACK, base.map(|v| v * 0.6), TAN]), 0.05, Texture::Canvas);
    let (shine, trim, cap, hair) = (metal(rng), rng.below(4), rng.below(3) > 0, Rng::new(u64::from(rng.next_u32()), 0));
    let elastic = Material::new(one_of(rng, &[BLACK, DARK_GREY, base.map(|v| v * 0.55)]), 0.0, Texture::Layers);
    let (front_x, back_x) = match style {
        Knee => (rng.range(44.0, 50.0), rng.range(96.0, 103.0)),
        Rain => (rng.range(44.0, 49.0), rng.range(95.0, 100.0)),
        Heeled => (rng.range(52.0, 58.0), rng.range(93.0, 97.0)),
        Chukka => (rng.range(51.0, 55.0), rng.range(94.0, 96.0)),
        _ => (rng.range(49.0, 55.0), rng.range(94.0, 98.0)),
    };
    let slant = rng.range(-2.0, 3.5);
    let heel_style = match style {
        Heeled if rng.below(3) == 0 => Heel::Stiletto,
        Heeled if rng.below(4) == 0 => Heel::Wedge,
        Knee | Ankle | Heeled if heel > 13.0 => Heel::Block,
        _ => Heel::Stacked(74.0),
    };
    let heel_material = if slim && rng.below(2) == 0 { shell } else { sole };
    let laced = matches!(style, Combat | Chukka | Winter) || (style == Ankle && (trim == 0 || casual));
    let cuff = matches!(style, Winter) || (style == Ankle && trim == 3);
    let wool = one_of(rng, &[CREAM, WHITE, TAN, GREY]);

    Scene::new(top_y + 8.0, move |c| {
        let shin = front_x - 0.5;
        let front = [
            (-0.8 - 2.2 * point, last.bed(0.0) + 0.5),
            (0.6 - 1.6 * point, last.bed(1.0) + 5.5 - 2.0 * point),
            (8.0, toe - 1.5 - 2.5 * point),
            (20.0, toe + 2.5 - point),
            (36.0, toe + 11.0 + 0.18 * heel),
            (shin - 4.0, heel + 30.0),
            (shin, heel + 38.0 + 0.1 * (top_y - heel - 40.0)),
            (front_x, top_y + slant.max(0.0)),
        ];
        // On a low shaft the shin is all there is above the instep.
        let front: Vec<P> =
            front.iter().enumerate().filter(|&(i, p)| i != 6 || p.1 < top_y - 6.0).map(|(_, p)| *p).collect();
        let front: Vec<P> = front.into_iter().filter(|p| p.1 < top_y - 4.0 || p.0 == front_x).collect();
        let start = (front_x, top_y + slant.max(0.0));
        let end = (back_x, top_y - slant.min(0.0) * 0.5);
        let top =
            [start, (front_x * 0.7 + back_x * 0.3, top_y - 1.2), (front_x * 0.3 + back_x * 0.7, top_y - 1.2), end];
        let mut back = vec![end];
        if top_y > heel + 95.0 {
            back.push((back_x + 0.6, heel + 0.66 * (top_y - heel)));
        }
        if top_y > heel + 52.0 {
            back.push((95.2, heel + 42.0));
        }
        back.extend([(93.6, heel + 27.0), (96.4, heel + 13.0), (97.8, heel + 5.0), (97.2, heel - 0.5)]);
        let upper = Upper::new(&last, &front, &top, &back);
        if lug || casual || style == Rain || heel_style == Heel::Wedge {
            c.ground(5.0, 97.0, 1.0);
        } else {
            c.ground(4.0, if heel > 15.0 { 40.0 } else { 60.0 }, 0.8);
            c.ground(if heel_style == Heel::Stiletto { 90.0 } else { 76.0 }, 97.0, 0.9);
        }
        if !lug && heel > 13.0 {
            last.heel(c, heel_style, thick, &heel_material);
        }
        upper.opening(c, if top_y > heel + 90.0 { 5.0 } else { 4.0 }, &lining, &shell);
        if laced {
            let tongue = curve(&[
                (front_x - 5.0, top_y - 12.0),
                (front_x - 3.5, top_y + 3.5),
                (front_x + 3.0, top_y + 4.0),
                (front_x + 8.0, top_y - 6.0),
            ]);
            c.paint(&tongue, &panel.shade(0.9), BODY);
        }
        upper.shell(c, &shell, 12.0);
        let thread = thread_for(base);
        // Soft folds where the ankle bends.
        if style != Rain {
            for (k, y) in [heel + 22.0, heel + 28.0, heel + 35.0].into_iter().enumerate() {
                let fold = curve(&[(44.0 + 2.0 * k as f32, y + 3.0), (58.0, y), (70.0, y + 1.0)]);
                c.tone(&band(&fold, 1.2, 3.4), 0.16, 1.2);
                c.tone(&shifted(&band(&fold, 1.0, 2.6), 0.0, 2.4), -0.06, 1.0);
            }
        }
        if cap && lug {
            let edge = curve(&[(21.0, toe + 8.0), (24.0, toe - 2.0), (25.0, last.ball - 2.0)]);
            let outline = [edge.clone(), vec![(-8.0, -2.0), (-8.0, toe + 8.0)]].concat();
            upper.panel(c, &outline, &edge, &panel, thread);
        }
        if style != Rain && style != Knee {
            let edge = curve(&[(82.0, heel + 34.0), (84.0, heel + 18.0), (80.0, heel - 3.0)]);
            let outline = [edge.clone(), vec![(108.0, heel - 4.0), (108.0, heel + 34.0)]].concat();
            upper.panel(c, &outline, &edge, &panel, thread);
        }
        match style {
            Chelsea => {
                let gore = curve(&[
                    (60.0, top_y + 3.0),
                    (63.0, heel + 28.0),
                    (68.0, heel + 18.0),
                    (75.0, heel + 17.0),
                    (80.0, heel + 27.0),
                    (84.0, top_y + 3.0),
                ]);
                upper.panel(c, &gore, &gore, &elastic, thread);
            }
            Chukka | Combat | Winter => {
                let edge = curve(&[
                    (front_x + 9.0, top_y + 4.0),
                    (front_x + 6.0, heel + 34.0),
                    (46.0, heel + 15.0),
                    (36.0, toe + 2.0),
                ]);
                let outline = [edge.clone(), vec![(28.0, toe + 16.0), (30.0, top_y + 6.0)]].concat();
                upper.panel(c, &outline, &edge, &panel, thread);
                let vamp = curve(&[(36.0, toe + 3.0), (48.0, heel + 12.0), (62.0, heel + 4.0), (66.0, heel - 3.0)]);
                c.seam(&vamp, 0.9);
            }
            Knee | Ankle | Heeled => {
                let seam = curve(&[(39.0, toe + 13.0), (46.0, heel + 10.0), (58.0, heel - 2.0)]);
                c.seam(&seam, 0.7);
                if trim != 1 && !laced {
                    let x = 0.55 * front_x + 0.45 * back_x;
                    zip(c, &curve(&[(x, top_y - 2.0), (x + 1.0, heel + 30.0), (x + 2.0, heel + 10.0)]), &shine);
                }
            }
            Rain => {
                let ridge = band(&[(30.0, top_y - 4.0), (110.0, top_y - 4.0)], 2.6, 2.6);
                c.paint(&ridge, &shell.shade(0.82), PANEL);
                let foot = curve(&[(-5.0, toe), (20.0, last.ball + 7.0), (50.0, heel + 6.0), (104.0, heel + 8.0)]);
                c.paint(&[foot.clone(), vec![(104.0, -2.0), (-5.0, -2.0)]].concat(), &shell.shade(0.92), PANEL);
                let shine_line =
                    curve(&[(front_x + 8.0, top_y - 9.0), (front_x + 8.5, heel + 50.0), (front_x + 5.0, heel + 34.0)]);
                c.tone(&band(&shine_line, 3.4, 1.2), -0.5, 1.2);
            }
        }
        if matches!(style, Knee | Ankle | Heeled) && trim >= 1 {
            let y = if style == Knee && trim == 1 { top_y - 14.0 } else { heel + 27.0 };
            let left = upper.front.iter().find(|p| p.1 > y).map_or(40.0, |p| p.0) - 1.0;
            let strap = curve(&[(left, y + 3.0), (0.5 * (left + back_x), y - 1.5), (104.0, y + 1.0)]);
            if trim < 3 {
                c.paint(&band(&strap, 4.4, 4.4), &panel.shade(0.92), STRAP);
                c.stitches(&offset(&strap, 1.6), thread, 0.35);
                c.no_clip();
                buckle(c, along(&strap, 0.45), 3.1, 0.0, &shine);
                c.clip(&upper.outline);
            }
        }
        c.seam(&shifted(&upper.top, 0.0, -1.8), 0.5);
        if style == Chelsea {
            c.no_clip();
            let tab = curve(&[
                (back_x - 5.5, top_y - 5.0),
                (back_x - 5.0, top_y + 3.6),
                (back_x - 1.6, top_y + 3.8),
                (back_x - 1.0, top_y - 6.0),
            ]);
            c.paint(&band(&tab, 1.8, 1.8), &elastic.shade(0.9), STRAP);
        }
        c.no_clip();
        if laced {
            let rows = ((top_y - toe) / 8.5) as usize;
            let (from, rows) = if style == Chukka { (0.80, 3) } else { (0.50, rows.clamp(4, 9)) };
            let lacing = Lacing { from, to: 0.97, rows, inset: 4.2, width: 1.8, bow: trim != 2 };
            lacing.draw(c, &upper.front, &lace, &shine);
        }
        if lug {
            last.lugs(c, thick, &sole, 72.0);
            c.stroke(&last.line(-1.0, 98.0, -0.8), 0.5, thread, 0.4);
        } else if style == Rain || casual {
            last.cup(c, 1.0, &sole, &sole.shade(0.8), true);
        } else {
            let plate = if heel_style == Heel::Wedge { heel_material } else { sole };
            last.plate(c, -1.6 - 2.2 * point, 98.6, thick, &plate);
            if heel <= 13.0 {
                last.heel(c, heel_style, thick, &heel_material);
            }
        }
        if cuff {
            let far = upper.far_edge(4.0);
            let mut hair = hair.clone();
            fur(c, &mut hair, &shifted(&far, 0.0, 0.5), 4.0, wool.map(|v| v * 0.9));
            fur(c, &mut hair, &shifted(&upper.top, 0.0, -0.5), 6.5, wool);
        }
        if style == Winter && trim == 2 {
            let p = (70.0, height_at(&upper.top, 70.0) - 16.0);
            c.paint(&ellipse(p, 3.0, 3.0, 0.0), &panel.shade(0.8), Edge { bevel: 0.8, shadow: 0.3 });
            c.paint(
                &between(
                    &stretch(&[(p.0 - 2.0, p.1), (p.0 + 2.0, p.1)], 0.0, 1.0),
                    &[(p.0 - 2.0, p.1 - 0.8), (p.0 + 2.0, p.1 - 0.8)],
                ),
                &shine,
                FLAT,
            );
        }
    })
}
