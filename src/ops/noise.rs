//! Gaussian noise from a counter-based generator: the same random words on every device, whatever the batch.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::chunk_of;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;
use crate::tensor::LANE_BLOCK;
use crate::vectorise;

/// What noise to add.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    pub seed: u64,
    /// Which of several independent draws for the same image.
    pub draw: u32,
    /// Standard deviation, in pixel units.
    pub sigma: f32,
    /// Clip the result to `[0, 1]`.
    pub clip: bool,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    elements: u32,
    lanes: u32,
    seed_low: u32,
    seed_high: u32,
    draw: u32,
    clip: u32,
    sigma: f32,
}

impl Params {
    fn new(elements: usize, lanes: usize, noise: &Noise) -> Self {
        Params {
            elements: elements as u32,
            lanes: lanes as u32,
            seed_low: noise.seed as u32,
            seed_high: (noise.seed >> 32) as u32,
            draw: noise.draw,
            clip: u32::from(noise.clip),
            sigma: noise.sigma,
        }
    }
}

pub static GAUSSIAN: Kernel = Kernel {
    name: "noise_gaussian",
    source: shader!("noise", "flat"),
    entry: "gaussian",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 2,
    writes: 1,
    twin: gaussian_twin,
};

pub static KERNELS: &[&Kernel] = &[&GAUSSIAN];

/// `y = x + sigma N(0, 1)`: x and y `[elements][lanes]`; `ids[lanes]` are u32 names of the images, which with seed, draw
/// and element determine the noise. Philox4x32-10 (Salmon et al. 2011) and Box-Muller; devices agree to about
/// `1e-6 sigma`.
pub fn gaussian(
    device: &Device,
    x: &Buffer,
    ids: &Buffer,
    y: &Buffer,
    elements: usize,
    lanes: usize,
    noise: &Noise,
) -> Result<()> {
    let threads = super::flat(elements.div_ceil(4) * lanes / 4);
    device.run(&GAUSSIAN, &Params::new(elements, lanes, noise), &[x, ids], &[y], threads)
}

type Words = [u32; LANE_BLOCK];
type Block = [f32; LANE_BLOCK];

fn gaussian_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([x, ids], [y]) = call.buffers();
    let unit = 4 * p.lanes as usize;
    let task = chunk_of(unit);
    let len = (p.elements * p.lanes) as usize;
    y[..len].par_chunks_mut(task).zip(x[..len].par_chunks(task)).enumerate().for_each(|(t, (y, x))| {
        for (i, (y, x)) in y.chunks_mut(unit).zip(x.chunks(unit)).enumerate() {
            group(p, (t * (task / unit) + i) as u32, as_u32(ids), x, y);
        }
    });
}

vectorise!(fn group = group_body(p: Params, index: u32, ids: &[u32], x: &[f32], y: &mut [f32]));

/// Up to four consecutive elements of all lanes.
#[inline(always)]
fn group_body(p: Params, index: u32, ids: &[u32], x: &[f32], y: &mut [f32]) {
    let blocks = p.lanes as usize / LANE_BLOCK;
    let (x, y): (&[Block], &mut [Block]) = (x.as_chunks().0, y.as_chunks_mut().0);
    for (block, ids) in ids.as_chunks().0.iter().take(blocks).enumerate() {
        let words =
            philox([[index; LANE_BLOCK], *ids, [p.draw; LANE_BLOCK], [0; LANE_BLOCK]], [p.seed_low, p.seed_high]);
        let (low, high) = (normals(words[0], words[1]), normals(words[2], words[3]));
        let noise = [low[0], low[1], high[0], high[1]];
        for (k, noise) in noise.iter().enumerate().take(y.len() / blocks) {
            let i = k * blocks + block;
            for lane in 0..LANE_BLOCK {
                let value = x[i][lane] + p.sigma * noise[lane];
                y[i][lane] = if p.clip == 1 { value.clamp(0.0, 1.0) } else { value };
            }
        }
    }
}

/// [`crate::rng::philox`] on sixteen counters at once.
#[inline(always)]
fn philox(mut c: [Words; 4], mut key: [u32; 2]) -> [Words; 4] {
    for _ in 0..10 {
        for lane in 0..LANE_BLOCK {
            let p0 = u64::from(c[0][lane]) * 0xd251_1f53;
            let p1 = u64::from(c[2][lane]) * 0xcd9e_8d57;
            c[0][lane] = (p1 >> 32) as u32 ^ c[1][lane] ^ key[0];
            c[2][lane] = (p0 >> 32) as u32 ^ c[3][lane] ^ key[1];
            (c[1][lane], c[3][lane]) = (p1 as u32, p0 as u32);
        }
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// `-ln(n / 2^24)` for integers `1 <= n <= 2^24`: `n = m 2^e` with m in `[sqrt(1/2), sqrt(2))`. Relative error about
/// 2e-7; the formula of the shader.
#[inline(always)]
fn minus_log(n: u32) -> f32 {
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let shifted = (n as i32 as f32).to_bits().wrapping_add(0x3f80_0000 - ROOT_HALF);
    let e = ((shifted >> 23) as i32 - (127 + 24)) as f32;
    let f = f32::from_bits((shifted & 0x7f_ffff) + ROOT_HALF) - 1.0;
    let mut q = -0.079_027_44;
    for a in [0.126_223_2, -0.129_981_84, 0.142_144_96, -0.166_412_81, 0.200_010_45, -0.250_003_06, 0.333_333_3] {
        q = q * f + a;
    }
    let log_m = f - f * f * (0.5 - f * q);
    -(e * std::f32::consts::LN_2 + log_m)
}

/// Two independent normals from two words (Box and Muller 1958).
#[inline(always)]
fn normals(first: Words, second: Words) -> [Block; 2] {
    let mut out = [[0.0; LANE_BLOCK]; 2];
    for lane in 0..LANE_BLOCK {
        let radius = (2.0 * minus_log((first[lane] >> 8) + 1)).max(0.0).sqrt();
        // The angle is (quadrant + t) quarter turns with t in [-1/2, 1/2).
        let angle = second[lane] >> 8;
        let quadrant = (angle + (1 << 21)) >> 22;
        let t = (angle as i32 - (quadrant << 22) as i32) as f32 * (0.25 / (1 << 20) as f32);
        let z = t * t;
        let sine = t * (std::f32::consts::FRAC_PI_2 + z * (-0.645_963_5 + z * (0.079_680_22 + z * -0.004_602_149)));
        let cosine = 1.0 + z * (-1.233_700_5 + z * (0.253_669_2 + z * (-0.020_860_07 + z * 0.000_903_628_07)));
        let odd = quadrant & 1 == 1;
        let (c, s) = (if odd { sine } else { cosine }, if odd { cosine } else { sine });
        out[0][lane] = radius * if (quadrant + 1) & 2 == 2 { -c } else { c };
        out[1][lane] = radius * if quadrant & 2 == 2 { -s } else { s };
    }
    out
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(8, 0);
    let mut case = |elements: usize, lanes: usize, noise: Noise| {
        let ids: Vec<u32> = (0..lanes as u32).map(|i| i * 1000 + 7).collect();
        let reads = vec![random(&mut rng, elements * lanes), bytemuck::cast_slice(&ids).to_vec()];
        let label = format!("{elements} elements, {lanes} lanes");
        let check = Check::Value { abs: 1e-6, rel: 2e-6 };
        Case::new(&GAUSSIAN, label, reads, vec![blank(elements * lanes)], check, move |device, r, w| {
            gaussian(device, &r[0], &r[1], &w[0], elements, lanes, &noise)
        })
    };
    vec![
        case(1, 16, Noise { seed: 1, draw: 0, sigma: 1.0, clip: false }),
        case(30, 80, Noise { seed: u64::MAX - 5, draw: 3, sigma: 0.1, clip: true }),
        case(255, 48, Noise { seed: 1 << 40, draw: u32::MAX, sigma: 1.0, clip: false }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(ids: &[u32], elements: usize, noise: &Noise) -> Vec<f32> {
        let device = Device::cpu();
        let x = device.zeros(elements * ids.len()).unwrap();
        let (ids, y) = (device.upload(ids).unwrap(), device.alloc(x.len()).unwrap());
        gaussian(&device, &x, &ids, &y, elements, ids.len(), noise).unwrap();
        device.read(&y).unwrap()
    }

    #[test]
    fn words_are_philox() {
        let counter = std::array::from_fn(|w| std::array::from_fn(|i| (w * 37 + i * 1_000_003) as u32));
        let words = philox(counter, [5, u32::MAX]);
        for lane in 0..LANE_BLOCK {
            let expected = crate::rng::philox(counter.map(|c: Words| c[lane]), [5, u32::MAX]);
            assert_eq!(words.map(|w| w[lane]), expected);
        }
    }

    #[test]
    fn logarithm_and_angle_are_accurate() {
        for n in (1..=1 << 24).step_by(997).chain([1, 2, (1 << 24) - 1, 1 << 24]) {
            let (got, exact) = (f64::from(minus_log(n)), -(f64::from(n) / (1 << 24) as f64).ln());
            assert!((got - exact).abs() <= 3e-7 * exact, "{n}: {got} {exact}");
        }
        for angle in (0..1u32 << 24).step_by(4099) {
            let [c, s] = normals([0x8000_0000; LANE_BLOCK], [angle << 8 | 0xff; LANE_BLOCK]);
            let radius = (-2.0 * ((0x80_0001) as f64 / (1 << 24) as f64).ln()).sqrt();
            let turn = std::f64::consts::TAU * f64::from(angle) / (1 << 24) as f64;
            assert!((f64::from(c[0]) - radius * turn.cos()).abs() < 5e-7);
            assert!((f64::from(s[0]) - radius * turn.sin()).abs() < 5e-7);
        }
    }

    #[test]
    fn moments_are_normal() {
        let ids: Vec<u32> = (0..32).collect();
        let noise = Noise { seed: 42, draw: 0, sigma: 1.0, clip: false };
        let values = draw(&ids, 3200, &noise);
        let moment = |k: i32| values.iter().map(|&v| f64::from(v).powi(k)).sum::<f64>() / values.len() as f64;
        // Four standard errors of 102,400 draws.
        assert!(moment(1).abs() < 0.0125 && moment(3).abs() < 0.05);
        assert!((moment(2) - 1.0).abs() < 0.018);
        assert!((moment(4) - 3.0).abs() < 0.125);
    }

    #[test]
    fn noise_belongs_to_the_image_not_to_the_lane() {
        let noise = Noise { seed: 9, draw: 2, sigma: 0.5, clip: false };
        let forward: Vec<u32> = (100..148).collect();
        let backward: Vec<u32> = forward.iter().rev().copied().collect();
        let (a, b) = (draw(&forward, 10, &noise), draw(&backward, 10, &noise));
        for k in 0..10 {
            for lane in 0..48 {
                assert_eq!(a[k * 48 + lane], b[k * 48 + 47 - lane]);
            }
        }
        assert_ne!(a, draw(&forward, 10, &Noise { draw: 3, ..noise }));
        assert_ne!(a, draw(&forward, 10, &Noise { seed: 10, ..noise }));
    }

    #[test]
    fn clipped_noise_stays_in_range() {
        let noise = Noise { seed: 9, draw: 2, sigma: 5.0, clip: true };
        assert!(draw(&[7; 16], 40, &noise).iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
