//! What GPUs would take for what was measured here, by their data sheets and the dispatches that were counted.

use serde::{Deserialize, Serialize};

use super::Report;
use crate::device::Traffic;

/// A GPU as its data sheet has it.
#[derive(Clone, Copy, Debug)]
pub struct Gpu {
    /// What it is called.
    pub name: &'static str,
    /// Floating-point operations per second in f32, two per multiply-add, outside tensor cores.
    pub peak: f64,
    /// Bytes per second between its memory and its cores.
    pub bandwidth: f64,
}

/// A GPU of a data centre, and one of a laptop.
pub const GPUS: [Gpu; 2] = [
    Gpu { name: "H100 SXM", peak: 66.9e12, bandwidth: 3.35e12 },
    Gpu { name: "RTX 4060 Laptop", peak: 14.6e12, bandwidth: 256e9 },
];

/// Seconds from one dispatch to the next where kernels have nothing to do.
pub const DISPATCH: f64 = 5e-6;

impl Gpu {
    /// Seconds for so many operations and what was counted meanwhile: whichever of operations and memory takes longer, and the
    /// start of each kernel. An estimate, optimistic where kernels reach less than the peak, and where the host is waited for;
    /// the other way round where it was counted on batches smaller than a GPU takes.
    pub fn seconds(&self, operations: f64, traffic: &Traffic) -> f64 {
        let busy = (operations / self.peak).max(traffic.bound as f64 / self.bandwidth);
        busy + DISPATCH * traffic.dispatches as f64
    }
}

/// Something that was measured, beside what [`GPUS`] would take.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Predicted {
    /// What was measured.
    pub what: String,
    /// Here.
    pub seconds: f64,
    /// By each of [`GPUS`].
    pub predicted: Vec<f64>,
}

impl Report {
    /// Everything that was measured, in the order of the report.
    pub fn predictions(&self) -> Vec<Predicted> {
        let one = |what: String, seconds: f64, operations: f64, traffic: &Traffic| Predicted {
            what,
            seconds,
            predicted: GPUS.iter().map(|gpu| gpu.seconds(operations, traffic)).collect(),
        };
        let kernels = self
            .kernels
            .iter()
            .map(|k| one(format!("{} of {}", k.kernel, k.work), k.seconds, 1e9 * k.gflops * k.seconds, &k.traffic));
        let streams = self.streams.iter().map(|s| one(s.kernel.clone(), s.seconds, 0.0, &s.traffic));
        let searches =
            self.methods.iter().map(|m| (&*m.method, &m.work, m.seconds, m.megaflop_per_image, m.images, &m.traffic));
        let (b, a) = (&self.branch, &self.attack);
        let searches = searches.chain([
            ("+branch", &b.work, b.seconds, b.megaflop_per_image, b.images, &b.traffic),
            ("attack", &a.work, a.seconds, a.megaflop_per_image, a.images, &a.traffic),
        ]);
        let searches = searches.map(|(name, work, seconds, megaflop, images, traffic)| {
            one(format!("{name}, {work}"), seconds, 1e6 * megaflop * images as f64, traffic)
        });
        kernels.chain(streams).chain(searches).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_longest_counts() {
        let gpu = Gpu { name: "one", peak: 1e12, bandwidth: 1e11 };
        let traffic = |bound, dispatches| Traffic { bound, dispatches, ..Traffic::default() };
        // A millisecond of operations, of memory, and of starts.
        assert!((gpu.seconds(1e9, &traffic(1_000_000, 0)) - 1e-3).abs() < 1e-9);
        assert!((gpu.seconds(1e6, &traffic(100_000_000, 0)) - 1e-3).abs() < 1e-9);
        assert!((gpu.seconds(0.0, &traffic(0, 200)) - 1e-3).abs() < 1e-9);
    }
}
