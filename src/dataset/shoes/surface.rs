//! What light does to a material: shading, highlights and grain.

use super::line::P;
use super::material::{Colour, Material, Texture};

/// Towards the light: from the upper left, in front.
const LIGHT: [f32; 3] = [-0.38, 0.66, 0.65];
/// Halfway between the light and the eye: where highlights are.
const HALF: [f32; 3] = [-0.209, 0.363, 0.908];

/// A material under the studio's light.
pub struct Surface {
    material: Material,
    seed: u32,
}

impl Surface {
    pub fn new(material: &Material, seed: u32) -> Self {
        Surface { material: *material, seed }
    }

    /// Colour of a surface with this slope (right, up) at this place.
    pub fn colour(&self, slope: [f32; 2], place: P) -> Colour {
        let Material { colour, gloss, texture } = self.material;
        let (tint, bump) = self.grain(texture, place);
        let (sx, sy) = (slope[0] + bump, slope[1] + bump);
        let length = (sx * sx + sy * sy + 1.0).sqrt();
        let n = [sx / length, sy / length, 1.0 / length];
        let dot = |v: [f32; 3]| n[0] * v[0] + n[1] * v[1] + n[2] * v[2];
        let diffuse = dot(LIGHT).max(-0.2);
        // White ground throws light back from below.
        let bounce = 0.10 * (-n[1]).max(0.0);
        let light = 0.36 + 0.80 * diffuse + bounce;
        let shine = dot(HALF).max(0.0);
        let s4 = shine * shine * shine * shine;
        let (s8, s24) = (s4 * s4, s4 * s4 * s4 * s4 * s4 * s4);
        let rim = 1.0 - n[2];
        let extra =
            gloss * (0.10 * s8 + 0.34 * s24 * s24 + 0.32 * rim * rim * (0.4 + 0.6 * (n[1] + 0.5).clamp(0.0, 1.0)));
        colour.map(|c| c * light * tint + extra * (1.0 - 0.5 * c))
    }

    /// Brightness and slope added by the texture.
    fn grain(&self, texture: Texture, (x, y): P) -> (f32, f32) {
        let noise = |fx: f32, fy: f32, k: u32| noise(x * fx, y * fy, self.seed.wrapping_add(k)) - 0.5;
        match texture {
            Texture::Plain => (1.0, 0.0),
            Texture::Leather => {
                (1.0 + 0.10 * noise(0.10, 0.13, 1) + 0.05 * noise(0.9, 0.9, 2), 0.10 * noise(1.1, 1.1, 3))
            }
            Texture::Suede => (1.0 + 0.14 * noise(0.12, 0.2, 1) + 0.16 * noise(0.8, 0.5, 2), 0.25 * noise(1.3, 1.3, 3)),
            Texture::Canvas => {
                let thread = |v: f32| (v * 1.1 - (v * 1.1).floor() - 0.5).abs() - 0.25;
                (1.0 + 0.06 * noise(0.2, 0.2, 1) + 0.16 * (thread(x) + thread(y)), 0.12 * noise(1.5, 1.5, 3))
            }
            Texture::Mesh => {
                let u = x * 0.55 + 0.5 * (y * 0.55).floor().rem_euclid(2.0);
                let (u, v) = (u - u.floor() - 0.5, y * 0.55 - (y * 0.55).floor() - 0.5);
                (if u * u + v * v < 0.07 { 0.72 } else { 1.04 }, 0.0)
            }
            Texture::Fur => (1.0 + 0.14 * noise(0.45, 0.45, 1) + 0.16 * noise(1.1, 1.1, 2), 0.7 * noise(0.6, 0.6, 3)),
            Texture::Layers => (1.0 + 0.22 * noise(0.05, 1.3, 1) + 0.06 * noise(0.8, 0.8, 2), 0.0),
            Texture::Cork => (1.0 + 0.42 * noise(0.8, 0.8, 1) + 0.2 * noise(1.6, 1.6, 2), 0.2 * noise(0.9, 0.9, 3)),
        }
    }
}

/// Smooth value noise in [0,1].
fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (fx, fy) = (x.floor(), y.floor());
    let (tx, ty) = (x - fx, y - fy);
    let (ix, iy) = (fx as i32 as u32, fy as i32 as u32);
    let at = |dx: u32, dy: u32| {
        let mut h =
            ix.wrapping_add(dx).wrapping_mul(0x9E37_79B1) ^ iy.wrapping_add(dy).wrapping_mul(0x85EB_CA77) ^ seed;
        h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
        h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
        (h >> 8) as f32 / (1 << 24) as f32
    };
    let (sx, sy) = (tx * tx * (3.0 - 2.0 * tx), ty * ty * (3.0 - 2.0 * ty));
    let top = at(0, 0) + (at(1, 0) - at(0, 0)) * sx;
    let bottom = at(0, 1) + (at(1, 1) - at(0, 1)) * sx;
    top + (bottom - top) * sy
}
