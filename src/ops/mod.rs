//! Operations, each a file, or a folder where it needs several: parameter struct, kernels, CPU twins, the calls that
//! dispatch them, and test cases.

/// The WGSL of an operation: `shaders/<op>.wgsl`, and after it the snippets of `shaders/lib/` that it uses. Shader text
/// is put together nowhere else.
macro_rules! shader {
    ($op:literal $(, $snippet:literal)*) => {
        concat!(
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $op, ".wgsl")),
            $(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/lib/", $snippet, ".wgsl"))),*
        )
    };
}

pub mod activation;
pub mod add;
#[cfg(test)]
mod adversary;
pub mod ball;
pub mod case;
pub mod conv;
pub mod conv_grad;
pub mod cut;
pub mod descent;
pub mod domains;
pub mod ellipsoid;
pub mod envelope;
pub mod gather;
pub mod interval;
pub mod linear;
pub mod loss;
pub mod noise;
pub mod normalise;
pub mod optimizer;
pub mod peak;
pub mod pool;
pub mod range;
pub mod relax;
pub mod relu;
pub mod scale;
pub mod select;
pub mod shared_slopes;
pub mod signs;
pub mod slopes;
pub mod targets;
pub mod worst;

use crate::kernel::Kernel;
use crate::rounding;

/// Every kernel of the product.
pub fn kernels() -> Vec<&'static Kernel> {
    [
        activation::KERNELS,
        add::KERNELS,
        ball::KERNELS,
        conv::KERNELS,
        conv_grad::KERNELS,
        cut::KERNELS,
        descent::KERNELS,
        domains::KERNELS,
        ellipsoid::KERNELS,
        envelope::KERNELS,
        gather::KERNELS,
        interval::KERNELS,
        linear::KERNELS,
        loss::KERNELS,
        noise::KERNELS,
        normalise::KERNELS,
        optimizer::KERNELS,
        peak::KERNELS,
        pool::KERNELS,
        range::KERNELS,
        relax::KERNELS,
        relu::KERNELS,
        scale::KERNELS,
        select::KERNELS,
        shared_slopes::KERNELS,
        signs::KERNELS,
        slopes::KERNELS,
        targets::KERNELS,
        worst::KERNELS,
    ]
    .concat()
}

/// Test cases of every kernel.
pub fn cases() -> Vec<case::Case> {
    [
        activation::cases(),
        add::cases(),
        ball::cases(),
        conv::cases(),
        cut::cases(),
        descent::cases(),
        domains::cases(),
        envelope::cases(),
        gather::cases(),
        interval::cases(),
        linear::cases(),
        loss::cases(),
        noise::cases(),
        normalise::cases(),
        optimizer::cases(),
        peak::cases(),
        pool::cases(),
        range::cases(),
        relax::cases(),
        relu::cases(),
        scale::cases(),
        select::cases(),
        shared_slopes::cases(),
        signs::cases(),
        slopes::cases(),
        targets::cases(),
        worst::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Every constant that shaders have a name for, with the bits of what twins and host take for it. The other numbers of a
/// proof (`UNIT`, `ETA`, limits, lengths of blocks) reach shaders as parameters.
pub fn constants() -> Vec<(&'static str, u32)> {
    vec![
        ("ARRIVED", envelope::ARRIVED.to_bits()),
        ("BETWEEN", envelope::BETWEEN.to_bits()),
        ("CROSSED", targets::CROSSED),
        ("CAUTION", linear::CAUTION.to_bits()),
        ("EPSILON", normalise::EPSILON.to_bits()),
        ("FARTHEST", ellipsoid::FARTHEST.to_bits()),
        ("FARTHEST_ANCHOR", envelope::FARTHEST_ANCHOR.to_bits()),
        ("FLATTEST", envelope::FLATTEST.to_bits()),
        ("HEAVIEST", cut::HEAVIEST.to_bits()),
        ("HALVINGS", activation::table::HALVINGS as u32),
        ("INFINITE", targets::INFINITE),
        ("INACTIVE", signs::INACTIVE),
        ("LARGEST_SUBNORMAL", rounding::LARGEST_SUBNORMAL),
        ("LEAST", descent::LEAST.to_bits()),
        ("LIGHTEST", cut::LIGHTEST.to_bits()),
        ("LOWEST", select::LOWEST.to_bits()),
        ("MAGNITUDE", rounding::MAGNITUDE),
        ("MOST", signs::MOST.to_bits()),
        ("NEARER", activation::twin::NEARER.to_bits()),
        ("NEGATED", linear::NEGATED),
        ("NONE", descent::NONE),
        ("WITHIN", descent::WITHIN.to_bits()),
        ("NONE", linear::NONE),
        ("NONE", signs::NONE),
        ("NOT_FINITE", targets::NOT_FINITE),
        ("NOWHERE", gather::NOWHERE),
        ("PASSES", cut::PASSES as u32),
        ("PIECES", activation::table::PIECES as u32),
        ("RAISED_BITS", rounding::RAISED.to_bits()),
        ("SHARES", conv::SHARES as u32),
        ("SHRINK", linear::SHRINK.to_bits()),
        ("SLICES", linear::SLICES as u32),
        ("SPREAD", cut::SPREAD.to_bits()),
        ("SQUARES_LOST", ellipsoid::SQUARES_LOST.to_bits()),
        ("STEADY", envelope::STEADY.to_bits()),
        ("STEEPEST", optimizer::STEEPEST.to_bits()),
        ("STEPS", activation::twin::STEPS as u32),
        ("TOGETHER", linear::TOGETHER as u32),
        ("TINY_BITS", rounding::TINY.to_bits()),
        ("WAYS", cut::WAYS as u32),
    ]
}

/// Grid of a flat kernel over `n` work items: x first, then rows of x. The shader recovers
/// `i = id.y * num_workgroups.x * workgroup.x + id.x` and checks it against the length.
pub fn flat(n: usize) -> [usize; 3] {
    const ROW: usize = 1 << 20;
    [n.min(ROW), n.div_ceil(ROW), 1]
}

/// Values one CPU task of an elementwise twin handles.
const CHUNK: usize = 1 << 14;

/// Values one CPU task handles when it must hold whole groups of `unit` values.
fn chunk_of(unit: usize) -> usize {
    groups_of(unit) * unit
}

/// As many groups.
fn groups_of(unit: usize) -> usize {
    (CHUNK / unit).max(1)
}
