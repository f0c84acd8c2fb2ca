//! Softmax cross-entropy and its gradient.

use bytemuck::{Pod, Zeroable};

use crate::device::{Buffer, Device};
use crate::error::Result;
use crate::kernel::{Call, Kernel, as_u32};
use crate::ops::case::{Case, Check, blank, random};
use crate::rng::Rng;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    classes: u32,
    lanes: u32,
    count: u32,
    share: f32,
}

pub static SOFTMAX_CROSS_ENTROPY: Kernel = Kernel {
    name: "loss_softmax_cross_entropy",
    source: shader!("loss", "flat"),
    entry: "softmax_cross_entropy",
    workgroup: [64, 1, 1],
    params: size_of::<Params>(),
    reads: 3,
    writes: 2,
    twin: softmax_cross_entropy_twin,
};

pub static KERNELS: &[&Kernel] = &[&SOFTMAX_CROSS_ENTROPY];

/// Logits and grad `[classes][lanes]`, labels `[lanes]` of u32 below `classes`, weights and loss `[lanes]`. The first `count`
/// lanes hold images: `loss = weight (ln(sum exp(z)) - z_label)` for each, `grad` that of `share` times their mean. The other
/// lanes get zeros.
#[allow(clippy::too_many_arguments)]
pub fn softmax_cross_entropy(
    device: &Device,
    logits: &Buffer,
    labels: &Buffer,
    weights: &Buffer,
    loss: &Buffer,
    grad: &Buffer,
    classes: usize,
    count: usize,
    lanes: usize,
    share: f32,
) -> Result<()> {
    let params = Params { classes: classes as u32, lanes: lanes as u32, count: count as u32, share };
    device.run(&SOFTMAX_CROSS_ENTROPY, &params, &[logits, labels, weights], &[loss, grad], super::flat(lanes / 4))
}

fn softmax_cross_entropy_twin(call: Call<'_>) {
    let p: Params = call.params();
    let (classes, lanes, count) = (p.classes as usize, p.lanes as usize, p.count as usize);
    let ([logits, labels, weights], [loss, grad]) = call.buffers();
    for (lane, &label) in as_u32(labels)[..lanes].iter().enumerate() {
        let at = |k: usize| k * lanes + lane;
        let top = (0..classes).fold(f32::MIN, |top, k| top.max(logits[at(k)]));
        let mut sum = 0.0;
        let mut own = 0.0;
        for k in 0..classes {
            let z = logits[at(k)] - top;
            grad[at(k)] = z.exp();
            sum += grad[at(k)];
            own = if k as u32 == label { z } else { own };
        }
        loss[lane] = if lane < count { weights[lane] * (sum.ln() - own) } else { 0.0 };
        let share = p.share * weights[lane];
        for k in 0..classes {
            let hot = if k as u32 == label { 1.0 } else { 0.0 };
            grad[at(k)] = if lane < count { share * ((grad[at(k)] / sum - hot) / count as f32) } else { 0.0 };
        }
    }
}

/// Test cases of these kernels.
pub fn cases() -> Vec<Case> {
    let mut rng = Rng::new(6, 0);
    let mut case = |classes: usize, count: usize, spread: f32, share: f32| {
        let lanes = crate::tensor::lanes(count);
        let logits = random(&mut rng, classes * lanes).into_iter().map(|z| z * spread).collect();
        let labels: Vec<u32> = (0..lanes).map(|_| rng.below(classes) as u32).collect();
        let weights = random(&mut rng, lanes).into_iter().map(f32::abs).collect();
        let reads = vec![logits, bytemuck::cast_slice(&labels).to_vec(), weights];
        let label = format!("{classes} classes, {count} images, logits up to {spread}");
        let writes = vec![blank(lanes), blank(classes * lanes)];
        let check = Check::Value { abs: 1e-6, rel: 1e-4 };
        Case::new(&SOFTMAX_CROSS_ENTROPY, label, reads, writes, check, move |device, r, w| {
            softmax_cross_entropy(device, &r[0], &r[1], &r[2], &w[0], &w[1], classes, count, lanes, share)
        })
    };
    vec![case(10, 65, 5.0, 1.0), case(2, 1, 1.0, 0.25), case(4, 16, 80.0, 1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(logits: &[f32], labels: &[u32], weights: &[f32], classes: usize, count: usize) -> (Vec<f32>, Vec<f32>) {
        let device = Device::cpu();
        let (z, l) = (device.upload(logits).unwrap(), device.upload(labels).unwrap());
        let w = device.upload(weights).unwrap();
        let (loss, grad) = (device.alloc(labels.len()).unwrap(), device.alloc(logits.len()).unwrap());
        softmax_cross_entropy(&device, &z, &l, &w, &loss, &grad, classes, count, labels.len(), 1.0).unwrap();
        (device.read(&loss).unwrap(), device.read(&grad).unwrap())
    }

    fn loss64(z: &[f64], label: usize) -> f64 {
        let top = z.iter().copied().fold(f64::MIN, f64::max);
        z.iter().map(|z| (z - top).exp()).sum::<f64>().ln() + top - z[label]
    }

    #[test]
    fn agrees_with_f64_and_its_finite_differences() {
        let (classes, count, lanes) = (7, 19, 32);
        let mut rng = Rng::new(3, 3);
        let logits: Vec<f32> = (0..classes * lanes).map(|_| rng.range(-4.0, 4.0)).collect();
        let labels: Vec<u32> = (0..lanes).map(|_| rng.below(classes) as u32).collect();
        let weights: Vec<f32> = (0..lanes).map(|_| rng.range(0.0, 2.0)).collect();
        let (loss, grad) = run(&logits, &labels, &weights, classes, count);
        for lane in 0..lanes {
            let z: Vec<f64> = (0..classes).map(|k| f64::from(logits[k * lanes + lane])).collect();
            let label = labels[lane] as usize;
            let weight = if lane < count { f64::from(weights[lane]) } else { 0.0 };
            assert!((f64::from(loss[lane]) - weight * loss64(&z, label)).abs() < 4e-6);
            for k in 0..classes {
                let shifted = |h: f64| {
                    let mut z = z.clone();
                    z[k] += h;
                    loss64(&z, label)
                };
                let slope = (shifted(1e-5) - shifted(-1e-5)) / 2e-5 / count as f64;
                assert!((f64::from(grad[k * lanes + lane]) - weight * slope).abs() < 2e-7);
            }
        }
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let mut logits = vec![-1e30; 32];
        logits[..16].fill(1e30);
        let (loss, grad) = run(&logits, &[0; 16], &[1.0; 16], 2, 16);
        assert_eq!((loss[0], grad[0], grad[16]), (0.0, 0.0, 0.0));
    }
}
