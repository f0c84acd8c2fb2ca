//! Colours and surfaces of shoes.

use crate::rng::Rng;

/// Red, green and blue in [0,1], as displayed.
pub type Colour = [f32; 3];

/// How a surface looks close up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Texture {
    Plain,
    /// Soft mottling and a fine grain.
    Leather,
    /// Dull, brushed.
    Suede,
    /// A weave of threads.
    Canvas,
    /// Rows of small holes.
    Mesh,
    /// Curls.
    Fur,
    /// Horizontal layers: stacked leather, wood.
    Layers,
    /// Speckles: cork, rope.
    Cork,
}

/// A surface.
#[derive(Clone, Copy, Debug)]
pub struct Material {
    pub colour: Colour,
    /// Strength of highlights: 0 felt, 0.3 leather, 1 patent leather.
    pub gloss: f32,
    pub texture: Texture,
}

impl Material {
    pub const fn new(colour: Colour, gloss: f32, texture: Texture) -> Self {
        Material { colour, gloss, texture }
    }

    /// The same surface, darker (below 1) or lighter.
    pub fn shade(self, by: f32) -> Self {
        Material { colour: self.colour.map(|v| (v * by).clamp(0.0, 1.0)), ..self }
    }
}

pub const BLACK: Colour = [0.10, 0.10, 0.11];
pub const WHITE: Colour = [0.93, 0.93, 0.92];
pub const CREAM: Colour = [0.91, 0.86, 0.76];
pub const TAN: Colour = [0.76, 0.58, 0.39];
pub const COGNAC: Colour = [0.60, 0.35, 0.17];
pub const BROWN: Colour = [0.36, 0.22, 0.14];
pub const DARK_BROWN: Colour = [0.22, 0.14, 0.10];
pub const GREY: Colour = [0.52, 0.52, 0.53];
pub const DARK_GREY: Colour = [0.27, 0.27, 0.29];
pub const TAUPE: Colour = [0.55, 0.47, 0.40];
pub const NAVY: Colour = [0.13, 0.17, 0.30];
pub const BLUE: Colour = [0.22, 0.36, 0.66];
pub const RED: Colour = [0.70, 0.13, 0.14];
pub const BURGUNDY: Colour = [0.38, 0.09, 0.13];
pub const PINK: Colour = [0.90, 0.60, 0.66];
pub const NUDE: Colour = [0.86, 0.70, 0.58];
pub const OLIVE: Colour = [0.38, 0.38, 0.24];
pub const TEAL: Colour = [0.12, 0.45, 0.46];
pub const YELLOW: Colour = [0.90, 0.74, 0.20];
pub const PURPLE: Colour = [0.36, 0.22, 0.46];
pub const GOLD: Colour = [0.80, 0.66, 0.36];
pub const SILVER: Colour = [0.74, 0.75, 0.77];
pub const GUM: Colour = [0.66, 0.45, 0.26];

/// Sober colours of dress leather.
const DRESS: [(Colour, f32); 12] = [
    (BLACK, 9.0),
    (DARK_BROWN, 3.0),
    (BROWN, 4.0),
    (COGNAC, 4.0),
    (TAN, 3.0),
    (BURGUNDY, 1.5),
    (TAUPE, 2.0),
    (NAVY, 1.0),
    (GREY, 1.0),
    (NUDE, 1.0),
    (OLIVE, 0.7),
    (CREAM, 0.7),
];

/// Anything goes.
const BRIGHT: [(Colour, f32); 18] = [
    (BLACK, 6.0),
    (WHITE, 3.5),
    (DARK_GREY, 2.0),
    (GREY, 2.5),
    (NAVY, 2.5),
    (BLUE, 1.5),
    (RED, 2.0),
    (PINK, 1.5),
    (TEAL, 0.8),
    (PURPLE, 0.8),
    (YELLOW, 0.6),
    (OLIVE, 0.8),
    (BROWN, 2.0),
    (TAN, 2.0),
    (CREAM, 1.0),
    (BURGUNDY, 0.8),
    (GOLD, 0.7),
    (SILVER, 0.7),
];

/// Warm colours of house shoes and sheepskin.
const COSY: [(Colour, f32); 11] = [
    (TAN, 4.0),
    (COGNAC, 2.5),
    (BROWN, 2.5),
    (GREY, 2.0),
    (BLACK, 2.5),
    (TAUPE, 2.0),
    (PINK, 1.2),
    (NAVY, 1.0),
    (BURGUNDY, 1.0),
    (CREAM, 0.8),
    (PURPLE, 0.4),
];

fn pick(rng: &mut Rng, palette: &[(Colour, f32)]) -> Colour {
    let total: f32 = palette.iter().map(|c| c.1).sum();
    let mut left = rng.uniform() * total;
    let mut chosen = palette[0].0;
    for &(colour, weight) in palette {
        chosen = colour;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    vary(rng, chosen)
}

/// A neighbour of a colour: lighter or darker, warmer or cooler.
pub fn vary(rng: &mut Rng, colour: Colour) -> Colour {
    let (light, warm) = (rng.range(0.86, 1.14), rng.range(-0.025, 0.025));
    [colour[0] * light + warm, colour[1] * light, colour[2] * light - warm].map(|v| v.clamp(0.03, 0.96))
}

/// One of a few colours, or a neighbour of it.
pub fn one_of(rng: &mut Rng, colours: &[Colour]) -> Colour {
    let chosen = colours[rng.below(colours.len())];
    vary(rng, chosen)
}

pub fn dress(rng: &mut Rng) -> Colour {
    pick(rng, &DRESS)
}

pub fn bright(rng: &mut Rng) -> Colour {
    pick(rng, &BRIGHT)
}

pub fn cosy(rng: &mut Rng) -> Colour {
    pick(rng, &COSY)
}

/// Smooth, grained, suede or patent leather.
pub fn leather(rng: &mut Rng, colour: Colour) -> Material {
    match rng.below(10) {
        0..=4 => Material::new(colour, rng.range(0.25, 0.45), Texture::Leather),
        5..=6 => Material::new(colour, rng.range(0.12, 0.25), Texture::Leather),
        7..=8 => Material::new(colour, 0.02, Texture::Suede),
        _ => Material::new(colour, rng.range(0.7, 1.0), Texture::Plain),
    }
}

/// Sewing thread that shows on a colour.
pub fn thread_for(colour: Colour) -> Colour {
    if luminance(colour) > 0.5 { colour.map(|v| v * 0.55) } else { colour.map(|v| v * 0.6 + 0.34) }
}

/// Brightness as seen.
fn luminance(c: Colour) -> f32 {
    0.3 * c[0] + 0.59 * c[1] + 0.11 * c[2]
}
