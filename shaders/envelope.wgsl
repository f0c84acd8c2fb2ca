// Upper lines of ReLUs over boxes, a line for each row, see src/ops/envelope.rs. The layer is weight[input][neuron], rows are lanes.
//   box_ends:    weight, bias, centre[image][input], radius -> ends[image][neuron][2]      one thread per neuron and image
//                largest value, and how far that is from the one at the centre
//   take:        weight, radius, anchor[image][input], ends, lines[image][neuron][4], rows -> a[neuron][row], taken[3][neuron][row]
//                one thread per row and neuron; coefficients that are taken, shifts, constants
//   through:     taken, weight, anchor, rows -> own[input][row]                            one thread per row and input
//   join:        taken, own, centre, radius, lines, rows -> a[input][row], sums            one thread per row and slice
//   point:       anchor, centre, radius, rows -> x[input][row]                             one thread per row and input
//   move_anchor: a, radius, rows -> anchor                                                 one thread per row

struct Params {
    elements: u32,
    lanes: u32,
    neurons: u32,
    zero: u32,
    block: u32,
    neuron_block: u32,
    unit: f32,
    rate: f32,
    charge: f32,
    count: u32,
}

// Anchors are at most this in magnitude.
const FARTHEST_ANCHOR: f32 = 2.0;
// Lines are compared at the corner that the anchor points to, reached at this share of one.
const ARRIVED: f32 = 0.8;
// So many times the mean coefficient counts as one where anchors move.
const STEADY: f32 = 2.0;
// The least share of a neuron's span that is taken for the slope of its sum by the shift.
const FLATTEST: f32 = 1e-3;
// Makes of the distance of a share from its ends whether it is between them.
const BETWEEN: f32 = 1e4;

@group(0) @binding(0) var<uniform> params: Params;

// ends
@group(0) @binding(1) var<storage, read> ends_weight: array<f32>;
@group(0) @binding(2) var<storage, read> ends_bias: array<f32>;
@group(0) @binding(3) var<storage, read> ends_centre: array<f32>;
@group(0) @binding(4) var<storage, read> ends_radius: array<f32>;
@group(0) @binding(5) var<storage, read_write> ends_of: array<f32>;

// take
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> radius: array<f32>;
@group(0) @binding(3) var<storage, read> anchor: array<f32>;
@group(0) @binding(4) var<storage, read> ends_read: array<f32>;
@group(0) @binding(5) var<storage, read> lines: array<f32>;
@group(0) @binding(6) var<storage, read> rows: array<u32>;
@group(0) @binding(7) var<storage, read_write> above: array<f32>;
@group(0) @binding(8) var<storage, read_write> taken: array<f32>;

// through
@group(0) @binding(1) var<storage, read> through_taken: array<f32>;
@group(0) @binding(2) var<storage, read> through_weight: array<f32>;
@group(0) @binding(3) var<storage, read> through_anchor: array<f32>;
@group(0) @binding(4) var<storage, read> through_rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> through_own: array<f32>;

// join
@group(0) @binding(1) var<storage, read> join_taken: array<f32>;
@group(0) @binding(2) var<storage, read> join_own: array<f32>;
@group(0) @binding(3) var<storage, read> join_centre: array<f32>;
@group(0) @binding(4) var<storage, read> join_radius: array<f32>;
@group(0) @binding(5) var<storage, read> join_lines: array<f32>;
@group(0) @binding(6) var<storage, read> join_rows: array<u32>;
@group(0) @binding(7) var<storage, read_write> join_a: array<f32>;
@group(0) @binding(8) var<storage, read_write> sums: array<f32>;

// move_anchor
@group(0) @binding(1) var<storage, read> move_a: array<f32>;
@group(0) @binding(2) var<storage, read> move_radius: array<f32>;
@group(0) @binding(3) var<storage, read> move_rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> moved: array<f32>;

// point
@group(0) @binding(1) var<storage, read> point_anchor: array<f32>;
@group(0) @binding(2) var<storage, read> point_centre: array<f32>;
@group(0) @binding(3) var<storage, read> point_radius: array<f32>;
@group(0) @binding(4) var<storage, read> point_rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> point_of: array<f32>;

// The share of an input; the same wherever it is made, since nothing here rounds but the one subtraction.
fn share(shift: f32, at: f32, w: f32) -> f32 {
    return clamp(shift - select(at, -at, w < 0.0), 0.0, 1.0);
}

fn bounded(shift: f32) -> f32 {
    return clamp(shift, -FARTHEST_ANCHOR, 1.0 + FARTHEST_ANCHOR);
}

@compute @workgroup_size(64, 1, 1)
fn box_ends(@builtin(global_invocation_id) id: vec3<u32>) {
    let neuron = id.x;
    if (neuron >= params.neurons) {
        return;
    }
    let table = id.y * params.elements;
    var middle = ends_bias[neuron];
    var span = 0.0;
    var k = 0u;
    while (k < params.elements) {
        let end = min(k + params.block, params.elements);
        var part = vec2<f32>(0.0);
        for (; k < end; k++) {
            let w = ends_weight[k * params.neurons + neuron];
            part.x += w * ends_centre[table + k];
            part.y += abs(w) * ends_radius[table + k];
        }
        middle += opaque_one(part.x);
        span += opaque_one(part.y);
    }
    let at = 2u * (id.y * params.neurons + neuron);
    ends_of[at] = middle + span;
    ends_of[at + 1u] = span;
}

@compute @workgroup_size(64, 1, 1)
fn take(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    let neuron = id.y;
    if (lane >= params.lanes) {
        return;
    }
    let image = rows[lane];
    let table = image * params.elements;
    let u = ends_read[2u * (image * params.neurons + neuron)];
    let span = ends_read[2u * (image * params.neurons + neuron) + 1u];
    let slope = lines[4u * (image * params.neurons + neuron)];
    let intercept = lines[4u * (image * params.neurons + neuron) + 1u];
    let plane = params.neurons * params.lanes;
    let at = neuron * params.lanes + lane;
    let a = above[at];
    taken[at] = 0.0;
    taken[plane + at] = 0.0;
    taken[2u * plane + at] = 0.0;
    if (!(a < 0.0 && intercept > 0.0 && span > 0.0 && u > 0.0)) {
        return;
    }
    var lean = 0.0;
    var farthest = 0.0;
    for (var k = 0u; k < params.elements; k++) {
        let w = anchor[table + k];
        lean += weight[k * params.neurons + neuron] * (w * radius[table + k]);
        farthest = max(farthest, abs(w));
    }
    // Where nothing has moved all shares are equal, and the line is the triangle's.
    if (farthest == 0.0) {
        return;
    }
    var shift = bounded(0.5 * u / span + lean / span);
    var held = 0.0;
    var slant = 0.0;
    for (var k = 0u; k < params.elements; k++) {
        let w = weight[k * params.neurons + neuron];
        let theta = share(shift, anchor[table + k], w);
        let size = abs(w) * radius[table + k];
        held += theta * size;
        slant += clamp(min(theta, 1.0 - theta) * BETWEEN, 0.0, 1.0) * size;
    }
    shift = bounded(shift + (0.5 * u - held) / max(slant, FLATTEST * span));
    held = 0.0;
    var there = 0.0;
    var plain = 0.0;
    var k = 0u;
    while (k < params.elements) {
        let end = min(k + params.block, params.elements);
        var part = 0.0;
        for (; k < end; k++) {
            let w = weight[k * params.neurons + neuron];
            let r = radius[table + k];
            let theta = share(shift, anchor[table + k], w);
            let moved = w * (clamp(anchor[table + k] / ARRIVED, -1.0, 1.0) * r);
            part += theta * (abs(w) * r);
            there += theta * moved;
            plain += moved;
        }
        held += opaque_one(part);
    }
    let constant = max(u - 2.0 * held, 0.0) + held;
    if (constant + there < slope * (u - span + plain) + intercept) {
        taken[at] = a;
        taken[plane + at] = shift;
        taken[2u * plane + at] = constant;
        above[at] = 0.0;
    }
}

@compute @workgroup_size(64, 1, 1)
fn through(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    let element = id.y;
    if (lane >= params.lanes) {
        return;
    }
    let at = through_anchor[through_rows[lane] * params.elements + element];
    let plane = params.neurons * params.lanes;
    var total = 0.0;
    var neuron = 0u;
    while (neuron < params.neurons) {
        let end = min(neuron + params.neuron_block, params.neurons);
        var part = 0.0;
        for (; neuron < end; neuron++) {
            let a = through_taken[neuron * params.lanes + lane];
            if (a != 0.0) {
                let w = through_weight[element * params.neurons + neuron];
                let theta = share(through_taken[plane + neuron * params.lanes + lane], at, w);
                part += theta * w * a;
            }
        }
        total += opaque_one(part);
    }
    through_own[element * params.lanes + lane] = total;
}

@compute @workgroup_size(64, 1, 1)
fn join(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let table = join_rows[lane] * params.elements;
    let slice = slice_of(id.y, params.elements);
    var constant = 0.0;
    var off = 0.0;
    var k = slice.x;
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = 0.0;
        for (; k < end; k++) {
            let more = join_own[k * params.lanes + lane];
            let sum = join_a[k * params.lanes + lane] + more;
            join_a[k * params.lanes + lane] = sum;
            part -= more * join_centre[table + k];
            off += abs(sum) * (abs(join_centre[table + k]) + join_radius[table + k]);
        }
        constant += opaque_one(part);
    }
    let plane = params.neurons * params.lanes;
    let share = slice_of(id.y, params.neurons);
    var error = off * (2.0 * params.unit);
    for (var neuron = share.x; neuron < share.y; neuron++) {
        let at = neuron * params.lanes + lane;
        let magnitude = join_lines[4u * (join_rows[lane] * params.neurons + neuron) + 3u];
        constant += join_taken[at] * join_taken[2u * plane + at];
        error += up(params.charge * (abs(join_taken[at]) * magnitude));
    }
    let c = 2u * id.y * params.lanes + lane;
    let e = c + params.lanes;
    let sum = sums[c] + constant;
    sums[c] = sum;
    sums[e] = up(up(sums[e] + up(1.01 * error)) + up(2.0 * params.unit * abs(sum)));
}

@compute @workgroup_size(64, 1, 1)
fn move_anchor(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.count) {
        return;
    }
    let table = move_rows[lane] * params.elements;
    var sum = 0.0;
    for (var k = 0u; k < params.elements; k++) {
        sum += abs(move_a[k * params.lanes + lane] * move_radius[table + k]);
    }
    let mean = sum / f32(params.elements);
    if (!(mean > 0.0)) {
        return;
    }
    for (var k = 0u; k < params.elements; k++) {
        let by = clamp(move_a[k * params.lanes + lane] * move_radius[table + k] / (STEADY * mean), -1.0, 1.0);
        moved[table + k] = clamp(moved[table + k] - params.rate * by, -FARTHEST_ANCHOR, FARTHEST_ANCHOR);
    }
}

@compute @workgroup_size(64, 1, 1)
fn point(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let at = point_rows[lane] * params.elements + id.y;
    let share = clamp(point_anchor[at] / ARRIVED, -1.0, 1.0);
    point_of[id.y * params.lanes + lane] = point_centre[at] + share * point_radius[at];
}
