//! Class Slippers: mules, moccasins, fur-lined and ballet slippers.

use super::Scene;
use super::canvas::{Edge, FLAT, STRAP};
use super::foot::{Last, Upper};
use super::line::{Line, P, along, between, curve, shifted, stretch};
use super::material::{
    BLACK, CREAM, DARK_BROWN, GREY, GUM, Material, TAN, Texture, WHITE, cosy, dress, leather, one_of, thread_for,
};
use super::trim::{fur, ribbon};
use crate::rng::Rng;

/// One of the class, in the shares of a catalogue.
pub fn scene(rng: &mut Rng) -> (&'static str, Scene) {
    match rng.below(100) {
        0..=37 => ("Mules", mule(rng, false)),
        38..=62 => ("Moccasins", closed(rng, true)),
        63..=82 => ("Fur Lined", closed(rng, false)),
        _ => ("Ballet", ballet(rng)),
    }
}

/// Suede, felt, knit or soft leather.
fn soft(rng: &mut Rng) -> Material {
    let colour = cosy(rng);
    match rng.below(6) {
        0..=2 => Material::new(colour, 0.02, Texture::Suede),
        3 => Material::new(colour, 0.0, Texture::Canvas),
        4 => Material::new(colour, 0.0, Texture::Fur),
        _ => leather(rng, colour),
    }
}

fn sole_of(rng: &mut Rng) -> Material {
    Material::new(one_of(rng, &[BLACK, DARK_BROWN, TAN, GUM, CREAM, GREY]), 0.05, Texture::Plain)
}

fn soft_last(rng: &mut Rng) -> (Last, f32) {
    let thick = rng.range(1.6, 5.5);
    (Last { ball: thick, heel: thick + rng.range(0.2, 2.5), spring: rng.range(0.6, 2.4) }, thick)
}

/// Closed in front, open behind: a slipper, or a clog of firm leather for the street.
pub fn mule(rng: &mut Rng, clog: bool) -> Scene {
    let (last, thick) = soft_last(rng);
    let shell = if clog {
        let colour = dress(rng);
        leather(rng, colour)
    } else {
        soft(rng)
    };
    let sole = sole_of(rng);
    let wool = one_of(rng, &[CREAM, CREAM, WHITE, TAN, GREY]);
    let (fleece, cuff, seam) = (!clog && rng.below(3) > 0, !clog && rng.below(2) == 0, rng.below(2) == 0);
    let toe = last.ball + rng.range(12.0, 16.0);
    let throat = (rng.range(42.0, 52.0), toe + rng.range(8.0, 13.0));
    let end = rng.range(58.0, 70.0);
    let hair = Rng::new(u64::from(rng.next_u32()), 0);
    let insole = if fleece {
        Material::new(wool, 0.0, Texture::Fur)
    } else {
        Material::new(one_of(rng, &[TAN, BLACK, GREY]), 0.0, Texture::Suede)
    };
    let rim = rng.range(2.0, 4.5);

    Scene::new(throat.1 + 6.0, move |c| {
        let mut hair = hair.clone();
        c.ground(3.0, 97.0, 1.0);
        // The heel's bed, thick and soft.
        let near = last.line(-0.4, 98.4, 0.0);
        let far: Line = near
            .iter()
            .map(|&(x, y)| {
                let t = ((x + 0.4) / 98.8).clamp(0.0, 1.0);
                (x, y + (4.6 + if fleece { 1.6 } else { 0.0 }) * (4.0 * t * (1.0 - t)).sqrt().min(0.9))
            })
            .collect();
        c.paint(&between(&far, &near), &insole, Edge { bevel: 1.4, shadow: 0.0 });
        let front =
            [(-0.8, last.bed(0.0) + 0.4), (0.4, last.bed(1.0) + 7.0), (8.0, toe - 0.5), (20.0, toe + 2.8), throat];
        let top =
            [throat, (throat.0 + 5.0, throat.1 - 6.0), (end - 3.0, last.bed(end) + 6.0), (end, last.bed(end) + 0.4)];
        let back = [(end, last.bed(end) + 0.4), (end + 0.3, last.bed(end) - 0.2), (end, last.bed(end) - 0.6)];
        let upper = Upper::new(&last, &front, &top, &back);
        upper.opening(c, 5.0, &insole, &shell);
        upper.shell(c, &shell, 10.0);
        let thread = thread_for(shell.colour);
        if seam {
            let apron = curve(&[(7.0, toe + 1.0), (14.0, toe - 4.0), (28.0, toe), (throat.0 - 3.0, throat.1 - 4.0)]);
            c.seam(&apron, 1.0);
            c.stitches(&shifted(&apron, 0.0, -1.3), thread, 0.5);
        }
        c.stitches(&shifted(&upper.top, -1.6, -1.0), thread, 0.4);
        c.no_clip();
        last.plate(c, -1.2, 98.8, thick, &sole);
        c.stitches(&last.line(0.0, 97.0, -0.7), thread_for(sole.colour), 0.4);
        if cuff {
            fur(c, &mut hair, &shifted(&stretch(&upper.top, 0.0, 0.86), 0.0, 0.6), 3.0 + rim, wool);
        }
    })
}

fn closed(rng: &mut Rng, moccasin: bool) -> Scene {
    let (last, thick) = soft_last(rng);
    let shell = soft(rng);
    let sole = sole_of(rng);
    let wool = one_of(rng, &[CREAM, CREAM, WHITE, TAN, GREY]);
    let toe = last.ball + rng.range(11.0, 14.5);
    let lined = !moccasin || rng.below(3) > 0;
    let tall = if moccasin { rng.range(0.0, 4.0) } else { rng.range(2.0, 18.0) };
    let tongue = (rng.range(43.0, 50.0), last.heel + 23.0 + rng.range(0.0, 5.0) + tall);
    let counter = last.heel + rng.range(18.0, 23.0) + tall;
    let dip = (rng.range(66.0, 72.0), last.heel + rng.range(13.0, 17.0) + tall);
    let hair = Rng::new(u64::from(rng.next_u32()), 0);
    let (bow, rim) = (rng.below(3) == 0, rng.range(3.2, 6.0));

    Scene::new(tongue.1.max(counter) + 5.0, move |c| {
        let mut hair = hair.clone();
        let front: [P; 6] = [
            (-0.8, last.bed(0.0) + 0.4),
            (0.5, last.bed(1.0) + 6.8),
            (8.0, toe - 0.5),
            (20.0, toe + 2.8),
            (33.0, toe + 8.0),
            tongue,
        ];
        let top = [tongue, (tongue.0 + 5.0, tongue.1 - 4.0), dip, (87.0, counter - 1.5), (94.5, counter)];
        let back = [(94.5, counter), (97.0, counter - 3.0), (98.0, last.heel + 8.0), (97.2, last.heel - 0.5)];
        let upper = Upper::new(&last, &front, &top, &back);
        c.ground(3.0, 97.0, 1.0);
        let lining = if lined { Material::new(wool, 0.0, Texture::Fur) } else { shell.shade(0.7) };
        upper.opening(c, 4.6, &lining, &shell);
        upper.shell(c, &shell, 11.0);
        let thread = thread_for(shell.colour);
        if moccasin {
            let apron = curve(&[(8.0, toe + 2.0), (13.0, toe - 3.5), (28.0, toe - 0.5), (45.0, last.heel + 13.0)]);
            c.seam(&apron, 1.2);
            for k in 0..14 {
                let p = along(&apron, (k as f32 + 0.5) / 14.0);
                c.stroke(&[(p.0 - 0.4, p.1 + 1.2), (p.0 + 0.4, p.1 - 1.0)], 0.7, thread, 0.6);
            }
            let tie = shifted(&stretch(&upper.top, 0.2, 1.0), 0.0, -3.0);
            c.stroke(&tie, 1.1, shell.colour.map(|v| v * 0.6), 0.8);
        } else {
            let seam = curve(&[(30.0, toe + 9.0), (40.0, last.heel + 8.0), (46.0, last.heel - 3.0)]);
            c.seam(&seam, 0.9);
            c.stitches(&shifted(&seam, 1.2, 0.0), thread, 0.5);
        }
        c.no_clip();
        last.plate(c, -1.2, 98.8, thick, &sole);
        c.stitches(&last.line(0.0, 97.0, -0.7), thread_for(sole.colour), 0.35);
        if lined {
            fur(c, &mut hair, &shifted(&upper.top, 0.0, 0.4), rim, wool);
        }
        if bow {
            ribbon(c, (tongue.0 - 3.0, tongue.1 - 5.0), 4.6, &shell.shade(0.75));
        }
    })
}

fn ballet(rng: &mut Rng) -> Scene {
    let thick = rng.range(0.9, 2.2);
    let last = Last { ball: thick, heel: thick + rng.range(0.2, 1.6), spring: rng.range(0.4, 1.6) };
    let shell = soft(rng);
    let toe = last.ball + rng.range(8.0, 11.0);
    let throat = (rng.range(24.0, 33.0), toe + rng.range(2.5, 5.0));
    let counter = last.heel + rng.range(16.0, 21.0);
    let lining = Material::new(one_of(rng, &[CREAM, TAN, GREY]), 0.0, Texture::Suede);
    let (bow, strap) = (rng.below(2) == 0, rng.below(2) == 0);
    let sole = sole_of(rng);

    Scene::new(counter + 5.0, move |c| {
        let front =
            [(-0.6, last.bed(0.0) + 0.3), (0.8, last.bed(1.0) + 5.0), (8.0, toe - 1.0), (17.0, toe + 1.0), throat];
        let top = [
            throat,
            (throat.0 + 8.0, throat.1 - 4.0),
            (50.0, last.heel + 8.5),
            (72.0, last.heel + 9.5),
            (88.0, counter - 3.0),
            (95.0, counter),
        ];
        let back = [(95.0, counter), (97.0, counter - 2.0), (97.8, last.heel + 7.0), (97.0, last.heel - 0.5)];
        let upper = Upper::new(&last, &front, &top, &back);
        c.ground(3.0, 97.0, 0.9);
        c.paint(&between(&last.line(20.0, 95.0, 4.5), &last.line(20.0, 95.0, 0.0)), &lining, FLAT);
        upper.opening(c, 6.0, &lining, &shell);
        upper.shell(c, &shell, 8.0);
        // Gathers along an elastic edge.
        c.seam(&shifted(&upper.top, 0.0, -1.5), 0.7);
        for k in 0..16 {
            let p = along(&upper.top, (k as f32 + 0.5) / 16.0);
            c.stroke(&[(p.0, p.1 - 1.4), (p.0 + 0.4, p.1 - 4.2)], 0.6, [0.0; 3], 0.16);
        }
        c.no_clip();
        last.plate(c, -1.0, 98.2, thick, &sole);
        if strap {
            let x = 56.0;
            let line = curve(&[(x, last.bed(x) + 7.0), (x - 2.0, last.bed(x) + 14.0), (x + 3.0, last.bed(x) + 19.0)]);
            c.paint(&super::line::band(&line, 3.4, 3.4), &shell.shade(0.9), STRAP);
        }
        if bow {
            ribbon(c, (throat.0 - 2.0, throat.1 - 0.5), 4.6, &shell.shade(0.9));
        }
    })
}
