// What kernels are told of rows, and what constants and errors of a row come to: `sums` [2 * slice][lane], one pair per slice
// of its elements.

struct Params {
    channels: u32,
    height: u32,
    width: u32,
    size_y: u32,
    size_x: u32,
    step_y: u32,
    step_x: u32,
    offset_y: i32,
    offset_x: i32,
    lanes: u32,
    zero: u32,
    block: u32,
    g: f32,
    unit: f32,
    floor: f32,
    charge: f32,
}

// Keeps candidates on the safe side of the root; any candidate is checked before it counts.
const CAUTION: f32 = 0.99999;

// Sum of a row's constants, and a bound on all its errors so far, that of this sum included.
fn gathered(lane: u32) -> vec2<f32> {
    var constant = 0.0;
    var size = 0.0;
    var error = params.floor;
    for (var s = 0u; s < SLICES; s++) {
        let c = sums[2u * s * params.lanes + lane];
        constant += c;
        size += abs(c);
        error = up(error + sums[(2u * s + 1u) * params.lanes + lane]);
    }
    return vec2<f32>(constant, up(error + up(2.0 * f32(SLICES + 2u) * params.unit * size)));
}
