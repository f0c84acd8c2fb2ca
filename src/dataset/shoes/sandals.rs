//! Class Sandals: strappy, heeled, slides, flip-flops, gladiators, sport and fisherman sandals.

use super::Scene;
use super::canvas::{Edge, FLAT, STRAP};
use super::foot::{Heel, Last};
use super::line::{P, arc, band, between, curve, shifted};
use super::material::{
    BLACK, BROWN, COGNAC, CREAM, DARK_BROWN, GUM, Material, NUDE, TAN, Texture, WHITE, bright, dress, leather, one_of,
};
use super::straps::{Strap, ankle, base};
use super::trim::{buckle, metal, ribbon};
use crate::rng::Rng;

/// One of the class, in the shares of a catalogue.
pub fn scene(rng: &mut Rng) -> (&'static str, Scene) {
    match rng.below(100) {
        0..=21 => ("Flat", strappy(rng, false)),
        22..=45 => ("Heeled", strappy(rng, true)),
        46..=59 => ("Slide", slide(rng)),
        60..=70 => ("Flip Flops", flip_flop(rng)),
        71..=80 => ("Gladiator", gladiator(rng)),
        81..=91 => ("Athletic", sport(rng)),
        _ => ("Fisherman", fisherman(rng)),
    }
}

fn strap_material(rng: &mut Rng) -> Material {
    let colour = if rng.below(3) == 0 { bright(rng) } else { dress(rng) };
    leather(rng, colour)
}

fn strappy(rng: &mut Rng, heeled: bool) -> Scene {
    let platform = if heeled && rng.below(3) == 0 { rng.range(3.0, 8.0) } else { 0.0 };
    let thick = rng.range(1.6, 3.2) + if heeled { 0.0 } else { rng.range(0.0, 2.5) };
    let rise = if heeled { rng.range(14.0, 40.0) + platform * 0.6 } else { rng.range(0.3, 2.5) };
    let last = Last { ball: thick + platform, heel: thick + rise, spring: rng.range(0.3, 1.6) };
    let outside = strap_material(rng);
    let bed = Material::new(one_of(rng, &[TAN, NUDE, BROWN, BLACK, CREAM]), 0.08, Texture::Leather);
    let style = if heeled { [Heel::Block, Heel::Stiletto, Heel::Wedge][rng.below(3)] } else { Heel::Stacked(76.0) };
    let body = Material::new(
        one_of(rng, &[BLACK, TAN, GUM, DARK_BROWN, COGNAC]),
        0.1,
        [Texture::Plain, Texture::Layers, Texture::Cork][rng.below(3)],
    );
    let heel_material = if rng.below(2) == 0 { outside } else { body };
    let count = 1 + rng.below(3);
    let (w, shine, has_ankle, cup, bow) =
        (rng.range(5.0, 11.5), metal(rng), rng.below(4) > 0, rng.below(2) == 0, rng.below(6) == 0);
    let (cross, count) = (rng.below(3) == 0, if has_ankle || cup { count } else { count.max(2) });
    let ankle_y = last.heel + rng.range(22.0, 32.0);

    Scene::new(if has_ankle || cup { ankle_y + 8.0 } else { last.heel + 22.0 }, move |c| {
        let straps: Vec<Strap> = (0..count)
            .map(|k| {
                let x = 25.0 + 13.0 * k as f32;
                let lean = if cross && k % 2 == 1 { -7.0 } else { 5.0 };
                Strap { foot: x - 0.5 * w, width: w, up: 13.0 + 4.5 * k as f32, lean }
            })
            .collect();
        c.ground(3.0, if heeled { 40.0 } else { 97.0 }, 0.9);
        if heeled {
            c.ground(if style == Heel::Wedge { 30.0 } else { 86.0 }, 97.0, 0.8);
            last.heel(c, style, thick, &heel_material);
        }
        base(c, &last, thick, &bed, if heeled { &heel_material } else { &body });
        if platform > 0.0 {
            let outline = between(
                &last.line(-1.0, 47.0, 0.0),
                &[
                    (-0.6, last.spring * 0.5 + 1.2),
                    (6.0, 0.2),
                    (14.0, 0.0),
                    (39.0, 0.0),
                    (47.0, last.bed(47.0) - thick),
                ],
            );
            c.paint(&outline, &heel_material, Edge { bevel: 0.9, shadow: 0.0 });
        }
        if has_ankle {
            ankle(c, (82.0, ankle_y), 3.4, &outside, false, None);
        }
        straps.iter().for_each(|s| s.draw_far(c, &last, &outside));
        if cup {
            let counter = curve(&[
                (76.0, last.bed(76.0)),
                (84.0, last.heel + 9.0),
                (94.0, last.heel + 20.0),
                (98.5, last.heel + 19.0),
                (99.4, last.heel + 8.0),
                (98.2, last.heel),
            ]);
            let inside = shifted(&counter, -1.5, 3.0);
            c.paint(&inside, &outside.shade(0.6), FLAT);
            c.form(&counter, 0.8, 6.0);
            c.paint(&counter, &outside, STRAP);
            c.no_form();
        }
        if has_ankle {
            let stay = if cup {
                vec![(97.0, last.heel + 16.0), (96.0, ankle_y + 1.0)]
            } else {
                vec![(97.6, last.heel), (96.2, ankle_y + 1.0)]
            };
            c.paint(&band(&stay, 3.4, 3.4), &outside, STRAP);
        }
        straps.iter().for_each(|s| s.draw_near(c, &last, &outside));
        if has_ankle {
            ankle(c, (82.0, ankle_y), 3.6, &outside, true, Some(&shine));
        }
        if bow {
            let (x, y) = straps[0].crest(&last);
            ribbon(c, (x - 1.0, y - 2.0), 6.0, &outside.shade(0.95));
        }
        if !heeled {
            last.heel(c, style, thick, &body.shade(0.8));
        }
    })
}

fn slide(rng: &mut Rng) -> Scene {
    let thick = rng.range(3.5, 8.0);
    let wedge = rng.below(3) == 0;
    let last = Last {
        ball: thick,
        heel: thick + if wedge { rng.range(5.0, 16.0) } else { rng.range(0.5, 3.0) },
        spring: rng.range(0.5, 2.2),
    };
    let outside = strap_material(rng);
    let bed = Material::new(
        one_of(rng, &[TAN, BLACK, BROWN, CREAM, NUDE]),
        0.03,
        [Texture::Suede, Texture::Leather][rng.below(2)],
    );
    let body = Material::new(
        one_of(rng, &[BLACK, TAN, WHITE, DARK_BROWN]),
        0.05,
        [Texture::Cork, Texture::Plain][rng.below(2)],
    );
    let (bands, height, shine, from) = (1 + rng.below(2), rng.range(15.0, 21.0), metal(rng), rng.range(16.0, 24.0));

    Scene::new(last.heel.max(last.ball + height) + 5.0, move |c| {
        c.ground(3.0, 97.0, 1.0);
        if wedge {
            last.heel(c, Heel::Wedge, thick * 0.6, &body);
        }
        base(c, &last, thick, &bed, &body);
        let width = if bands == 1 { 31.0 } else { 15.0 };
        let straps: Vec<Strap> = (0..bands)
            .map(|k| Strap { foot: from + 18.0 * k as f32, width, up: height + 2.5 * k as f32, lean: 3.5 })
            .collect();
        straps.iter().for_each(|s| s.draw_far(c, &last, &outside));
        for (k, strap) in straps.iter().enumerate() {
            strap.draw_near(c, &last, &outside);
            if bands == 2 {
                let x = from + 18.0 * k as f32 + width * 0.45;
                buckle(c, (x, last.bed(x) + height * 0.5), 3.2, 1.5, &shine);
            }
        }
    })
}

fn flip_flop(rng: &mut Rng) -> Scene {
    let thick = rng.range(4.0, 8.0);
    let last = Last { ball: thick, heel: thick + rng.range(0.5, 3.5), spring: rng.range(0.5, 2.5) };
    let colour = bright(rng);
    let outside = if rng.below(2) == 0 { Material::new(colour, 0.3, Texture::Plain) } else { leather(rng, colour) };
    let body = Material::new(
        if rng.below(2) == 0 { bright(rng) } else { one_of(rng, &[BLACK, TAN, WHITE]) },
        0.05,
        Texture::Plain,
    );
    let bed = body.shade(rng.range(0.85, 1.15));
    let (w, post, end) = (rng.range(3.4, 6.5), rng.range(17.0, 22.0), rng.range(54.0, 64.0));
    let stripe = rng.below(2) == 0;

    Scene::new(last.heel + 18.0, move |c| {
        c.ground(3.0, 97.0, 1.0);
        base(c, &last, thick, &bed, &body);
        if stripe {
            let line = last.line(0.5, 97.0, -thick * 0.5);
            c.stroke(&line, thick * 0.16, outside.colour, 0.8);
        }
        let crest = (post + 12.0, last.bed(post) + 13.5);
        let far = curve(&[
            crest,
            (crest.0 + 10.0, crest.1 + 1.0),
            (end - 6.0, last.bed(end) + 10.0),
            (end + 4.0, last.bed(end) + 3.5),
        ]);
        c.paint(&band(&far, w * 0.8, w * 0.8), &outside.shade(0.65), Edge { bevel: 1.0, shadow: 0.35 });
        let toe = curve(&[(post, last.bed(post) + 2.0), (post + 4.0, last.bed(post) + 9.0), crest]);
        c.paint(&band(&toe, w * 0.55, w), &outside.shade(0.9), STRAP);
        let near = curve(&[
            crest,
            (crest.0 + 8.0, crest.1 - 1.6),
            (end - 8.0, last.bed(end) + 5.6),
            (end, last.bed(end) - 1.0),
        ]);
        c.form(&band(&near, w, w * 1.2), 0.5, w * 0.5);
        c.paint(&band(&near, w, w * 1.2), &outside, STRAP);
        c.no_form();
    })
}

fn gladiator(rng: &mut Rng) -> Scene {
    let thick = rng.range(1.8, 3.2);
    let last = Last { ball: thick, heel: thick + rng.range(0.5, 4.0), spring: rng.range(0.4, 1.5) };
    let outside = strap_material(rng);
    let bed = Material::new(one_of(rng, &[TAN, BROWN, NUDE, BLACK]), 0.05, Texture::Leather);
    let body = Material::new(one_of(rng, &[BLACK, TAN, DARK_BROWN]), 0.1, Texture::Layers);
    let (rings, w, shine, zip_back) = (2 + rng.below(4), rng.range(2.6, 4.2), metal(rng), rng.below(2) == 0);

    Scene::new(last.heel + 30.0 + 11.0 * rings as f32, move |c| {
        c.ground(3.0, 97.0, 0.9);
        base(c, &last, thick, &bed, &body);
        let straps: Vec<Strap> = (0..4)
            .map(|k| {
                let x = 22.0 + 11.0 * k as f32;
                Strap { foot: x, width: w * 1.2, up: 12.5 + 5.4 * k as f32, lean: 6.5 }
            })
            .collect();
        let y = |k: usize| last.heel + 27.0 + 11.0 * k as f32;
        (0..rings).for_each(|k| ankle(c, (79.0, y(k)), w, &outside, false, None));
        straps.iter().for_each(|s| s.draw_far(c, &last, &outside));
        // The back and the middle seam hold the straps together.
        let back = if zip_back { 6.0 } else { 3.4 };
        c.paint(
            &band(&curve(&[(96.6, last.heel), (95.0, y(0)), (93.0, y(rings - 1) + 3.0)]), back + 2.0, back),
            &outside,
            STRAP,
        );
        straps.iter().for_each(|s| s.draw_near(c, &last, &outside));
        let seam: Vec<P> =
            straps.iter().map(|s| s.crest(&last)).chain([(64.5, y(0) - 2.0), (64.6, y(rings - 1))]).collect();
        c.paint(&band(&curve(&seam), w, w), &outside.shade(0.95), STRAP);
        (0..rings).for_each(|k| ankle(c, (79.0, y(k)), w, &outside, true, (k % 2 == 0).then_some(&shine)));
        last.heel(c, Heel::Stacked(77.0), thick, &body.shade(0.85));
    })
}

fn sport(rng: &mut Rng) -> Scene {
    let thick = rng.range(6.0, 9.5);
    let last = Last { ball: thick, heel: thick + rng.range(2.0, 5.0), spring: rng.range(1.5, 3.5) };
    let colour = bright(rng);
    let outside = Material::new(colour, 0.05, Texture::Canvas);
    let bed = Material::new(one_of(rng, &[BLACK, DARK_BROWN, TAN]), 0.02, Texture::Suede);
    let body = Material::new(one_of(rng, &[BLACK, BLACK, DARK_BROWN, WHITE, GUM]), 0.08, Texture::Plain);
    let (w, lip, accent) = (rng.range(7.5, 10.0), rng.range(1.0, 3.0), bright(rng));

    Scene::new(last.heel + 40.0, move |c| {
        c.ground(6.0, 97.0, 1.0);
        base(c, &last, thick * 0.5, &bed, &body);
        let straps =
            [Strap { foot: 20.0, width: w, up: 15.0, lean: 5.0 }, Strap { foot: 52.0, width: w, up: 25.0, lean: -4.0 }];
        ankle(c, (81.0, last.heel + 30.0), w * 0.62, &outside, false, None);
        straps.iter().for_each(|s| s.draw_far(c, &last, &outside));
        let counter = curve(&[
            (80.0, last.heel),
            (86.0, last.heel + 14.0),
            (94.0, last.heel + 30.0),
            (98.0, last.heel + 29.0),
            (99.5, last.heel + 10.0),
            (98.5, last.heel),
        ]);
        c.form(&counter, 0.7, 5.0);
        c.paint(&counter, &outside.shade(0.9), STRAP);
        c.no_form();
        let side = curve(&[
            (36.0, last.bed(36.0) + 9.0),
            (52.0, last.bed(52.0) + 10.0),
            (70.0, last.heel + 17.0),
            (80.0, last.heel + 26.0),
        ]);
        c.paint(&band(&side, w * 0.55, w * 0.55), &outside.shade(0.92), STRAP);
        straps.iter().for_each(|s| s.draw_near(c, &last, &outside));
        ankle(c, (81.0, last.heel + 30.0), w * 0.62, &outside, true, None);
        let patch = arc((81.0, last.heel + 30.0), 14.5, 4.6, 0.14, 0.62, 0.78);
        c.paint(
            &band(&patch, w * 0.62, w * 0.62),
            &Material::new(accent, 0.1, Texture::Plain),
            Edge { bevel: 0.5, shadow: 0.3 },
        );
        last.cup(c, lip, &body, &body.shade(0.7), true);
    })
}

/// A closed toe of woven straps: half a shoe.
fn fisherman(rng: &mut Rng) -> Scene {
    let thick = rng.range(2.6, 5.0);
    let last = Last { ball: thick, heel: thick + rng.range(1.0, 4.5), spring: rng.range(0.8, 2.0) };
    let outside = strap_material(rng);
    let bed = Material::new(one_of(rng, &[TAN, BROWN, BLACK]), 0.05, Texture::Leather);
    let body = Material::new(one_of(rng, &[BLACK, TAN, DARK_BROWN, CREAM]), 0.1, Texture::Layers);
    let (shine, gaps) = (metal(rng), rng.range(0.5, 0.8));

    Scene::new(last.heel + 34.0, move |c| {
        c.ground(4.0, 97.0, 0.9);
        base(c, &last, thick, &bed, &body);
        let toe = last.ball + 12.0;
        let shape = [
            curve(&[
                (-0.6, last.bed(0.0)),
                (1.0, last.bed(1.0) + 6.0),
                (9.0, toe - 1.0),
                (22.0, toe + 3.0),
                (38.0, toe + 11.0),
                (48.0, toe + 16.0),
            ]),
            curve(&[(48.0, toe + 16.0), (54.0, toe + 8.0), (62.0, last.heel + 8.0), (64.0, last.heel - 1.0)]),
        ]
        .concat();
        ankle(c, (80.0, last.heel + 27.0), 4.0, &outside, false, None);
        c.paint(&shape, &outside.shade(0.45), FLAT);
        c.form(&shape, 0.9, 9.0);
        c.clip(&shape);
        for k in 0..6 {
            let x = 6.0 + 10.5 * k as f32;
            let line = curve(&[(x, last.bed(x) - 1.0), (x - 2.0, toe * 0.7), (x + 4.0, toe + 18.0)]);
            c.paint(&band(&line, 10.5 * gaps, 10.5 * gaps), &outside, STRAP);
        }
        let spine = curve(&[(-1.0, toe - 4.0), (20.0, toe - 2.0), (48.0, toe + 11.0)]);
        c.paint(&band(&spine, 5.0, 6.0), &outside.shade(0.96), STRAP);
        c.no_clip();
        c.no_form();
        let counter = curve(&[
            (72.0, last.bed(72.0)),
            (82.0, last.heel + 14.0),
            (93.0, last.heel + 28.0),
            (97.6, last.heel + 26.0),
            (98.6, last.heel + 9.0),
            (97.6, last.heel),
        ]);
        c.form(&counter, 0.8, 6.0);
        c.paint(&counter, &outside, STRAP);
        c.no_form();
        ankle(c, (80.0, last.heel + 27.0), 4.2, &outside, true, Some(&shine));
        last.heel(c, Heel::Stacked(75.0), thick, &body);
    })
}
