//! Adam, one step over one parameter buffer.

use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

use super::CHUNK;
use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel};
use crate::ops::case::{Case, Check, random};
use crate::rng::Rng;
use crate::vectorise;

/// Gradients count as no steeper than this (2^60), so that their squares do not overflow.
pub(super) const STEEPEST: f32 = (1u64 << 60) as f32;

/// Step size and decay rates of Adam (Kingma and Ba 2015).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    pub rate: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    /// Decoupled weight decay (Loshchilov and Hutter 2019): a parameter shrinks by `rate * decay` per step.
    pub decay: f32,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { rate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.0 }
    }
}

impl Adam {
    /// One step, counted from 1.
    pub(super) fn step(&self, step: u32) -> Step {
        let Adam { rate, beta1, beta2, epsilon, .. } = *self;
        let power = |beta: f32| 1.0 - f64::from(beta).powf(f64::from(step.max(1)));
        let (rate, correct_v) = ((f64::from(rate) / power(beta1)) as f32, (1.0 / power(beta2)) as f32);
        Step { rate, correct_v, beta1, beta2, epsilon }
    }
}

/// What kernels are told of a step, in this order; `shaders/lib/adam.wgsl` reads it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Step {
    /// Step size over the bias correction of m.
    pub rate: f32,
    /// `1 / bias correction of v`.
    pub correct_v: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
}

impl Step {
    /// Takes one more gradient into the running means of the gradient and of its square.
    #[inline(always)]
    pub fn take(&self, m: &mut f32, v: &mut f32, gradient: f32) {
        *m += (1.0 - self.beta1) * (gradient - *m);
        *v += (1.0 - self.beta2) * (gradient * gradient - *v);
    }

    /// How far to go, with this in place of `self.rate`.
    #[inline(always)]
    pub fn length(&self, rate: f32, m: f32, v: f32) -> f32 {
        rate * m / ((v * self.correct_v).sqrt() + self.epsilon)
    }
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    len: u32,
    step: Step,
    /// Share of the parameter that remains: `1 - rate * decay`.
    remains: f32,
}

impl Params {
    fn new(len: usize, adam: &Adam, step: u32) -> Self {
        Params { len: len as u32, step: adam.step(step), remains: 1.0 - adam.rate * adam.decay }
    }
}

pub static ADAM: Kernel = Kernel {
    name: "optimizer_adam",
    source: shader!("optimizer", "adam", "flat"),
    entry: "adam",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 1,
    writes: 3,
    twin: adam_twin,
};

pub static KERNELS: &[&Kernel] = &[&ADAM];

/// One step, counted from 1: all buffers have one word per parameter; `m` and `v` are zero before the first.
pub fn adam(
    device: &Device,
    grad: &Buffer,
    param: &Buffer,
    m: &Buffer,
    v: &Buffer,
    adam: &Adam,
    step: u32,
) -> Result<()> {
    let params = Params::new(param.len(), adam, step);
    device.run(&ADAM, &params, &[grad], &[param, m, v], super::flat(param.len()))
}

fn adam_twin(call: Call<'_>) {
    let p: Params = call.params();
    let ([grad], [param, m, v]) = call.buffers();
    let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
    param.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)).zip(moments).for_each(|((param, grad), (m, v))| {
        adam_chunk(p, grad, param, m, v);
    });
}

vectorise!(fn adam_chunk = adam_body(p: Params, grad: &[f32], param: &mut [f32], m: &mut [f32], v: &mut [f32]));

#[inline(always)]
fn adam_body(p: Params, grad: &[f32], param: &mut [f32], m: &mut [f32], v: &mut [f32]) {
    let n = param.len();
    let (grad, m, v) = (&grad[..n], &mut m[..n], &mut v[..n]);
    for i in 0..n {
        let (mut mean, mut square) = (m[i], v[i]);
        p.step.take(&mut mean, &mut square, grad[i]);
        (m[i], v[i]) = (mean, square);
        param[i] = p.remains * param[i] - p.step.length(p.step.rate, mean, square);
    }
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(7, 0);
    let mut case = |len: usize, setting: Adam, step: u32| {
        let [grad, param, m, v] = std::array::from_fn(|_| random(&mut rng, len));
        let v = v.into_iter().map(f32::abs).collect();
        let check = Check::Value { abs: 1e-6, rel: 1e-5 };
        let label = format!("{len} parameters, step {step}");
        Case::new(&ADAM, label, vec![grad], vec![param, m, v], check, move |device, r, w| {
            adam(device, &r[0], &w[0], &w[1], &w[2], &setting, step)
        })
    };
    let usual = Adam::default();
    vec![case(1, usual, 1), case(137, Adam { decay: 0.1, rate: 0.01, ..usual }, 10), case(1000, usual, 100_000)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm as printed in the paper, in f64.
    #[test]
    fn follows_the_paper() {
        let device = Device::cpu();
        let setting = Adam { rate: 0.05, decay: 0.02, ..Adam::default() };
        let [beta1, beta2, rate] = [setting.beta1, setting.beta2, setting.rate].map(f64::from);
        let mut expected = [1.0, -2.0, 0.5];
        let param = device.upload(&expected.map(|x| x as f32)).unwrap();
        let (m, v) = (device.zeros(3).unwrap(), device.zeros(3).unwrap());
        let (mut m64, mut v64) = ([0.0; 3], [0.0; 3]);
        for step in 1..=50 {
            // Gradient of the sum of (x - 3)^2, with one dead parameter.
            let grad: Vec<f32> =
                device.read::<f32>(&param).unwrap().iter().map(|x| 2.0 * (x - 3.0)).take(2).chain([0.0]).collect();
            for k in 0..3 {
                let g = f64::from(grad[k]);
                m64[k] = beta1 * m64[k] + (1.0 - beta1) * g;
                v64[k] = beta2 * v64[k] + (1.0 - beta2) * g * g;
                let (mean, square) = (m64[k] / (1.0 - beta1.powi(step)), v64[k] / (1.0 - beta2.powi(step)));
                expected[k] -= rate * f64::from(setting.decay) * expected[k];
                expected[k] -= rate * mean / (square.sqrt() + 1e-8);
            }
            adam(&device, &device.upload(&grad).unwrap(), &param, &m, &v, &setting, step as u32).unwrap();
        }
        for (got, expected) in device.read::<f32>(&param).unwrap().iter().zip(expected) {
            assert!((f64::from(*got) - expected).abs() < 1e-4, "{got} {expected}");
        }
    }
}
