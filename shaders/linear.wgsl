// Rows of linear lower bounds on their way back through a network. Rows are lanes: coefficients are
// [channel][window row][window column][lane], see src/ops/linear/. One thread per row, and per slice of the elements
// where there are slices; those of a row are in one workgroup where they come to one number.
//   seed:       w[element][output], b[output], rows[4] -> a, sums[2 * slice]     the fourth part: channels
//   relu:       table[image][element], bias[element], rows[3] -> a, sums    through a relaxed rectifier, with
//               constant and charge of the layer below
//   lift:       feet[image][element], rows, a -> sums    what lines below an activation add for coefficients above zero
//   affine:     bias[element], magnitude[image][element], rows -> a, sums    constant and charge of an affine layer
//   concretize: a, centre[image][element], radius, rows, sums -> bound[lane]
//   radius:     a, x[image][element], delta[image], rows, sums -> result[2][lane]
//   densify:    a, rows -> dense[element][lane]
//   pick:       from[element][old lane], source[lane] -> to[element][lane]; `width` old lanes, words of any kind;
//               NONE leaves the word as it is
//
// Every rounding may go either way by one unit in the last place; `raise` takes one step more than there are.

const NEGATED: u32 = 0x80000000u;
// Share of a sum's error that one which failed shrinks by.
const SHRINK: f32 = 0.7;

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> seed_w: array<f32>;
@group(0) @binding(2) var<storage, read> seed_b: array<f32>;
@group(0) @binding(3) var<storage, read> seed_rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> seed_a: array<f32>;
@group(0) @binding(5) var<storage, read_write> seed_sums: array<f32>;

@group(0) @binding(1) var<storage, read> relu_table: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> relu_bias: array<f32>;
@group(0) @binding(3) var<storage, read> relu_rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> relu_a: array<f32>;
@group(0) @binding(5) var<storage, read_write> relu_sums: array<f32>;

@group(0) @binding(1) var<storage, read> lift_feet: array<f32>;
@group(0) @binding(2) var<storage, read> lift_rows: array<u32>;
@group(0) @binding(3) var<storage, read> lift_a: array<f32>;
@group(0) @binding(4) var<storage, read_write> lift_sums: array<f32>;

@group(0) @binding(1) var<storage, read> affine_bias: array<f32>;
@group(0) @binding(2) var<storage, read> affine_magnitude: array<f32>;
@group(0) @binding(3) var<storage, read> affine_rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> affine_a: array<f32>;
@group(0) @binding(5) var<storage, read_write> affine_sums: array<f32>;

// concretize; radius has x for the centre and delta for the radius
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> centre: array<f32>;
@group(0) @binding(3) var<storage, read> radius_or_delta: array<f32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
@group(0) @binding(5) var<storage, read> sums: array<f32>;
@group(0) @binding(6) var<storage, read_write> result: array<f32>;

@group(0) @binding(2) var<storage, read> densify_rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> dense: array<f32>;

@group(0) @binding(1) var<storage, read> pick_from: array<u32>;
@group(0) @binding(2) var<storage, read> pick_source: array<u32>;
@group(0) @binding(3) var<storage, read_write> pick_to: array<u32>;

// A slice's constant and error with one more of each, and the rounding of the new constant.
fn added(constant: f32, error: f32, more_constant: f32, more_error: f32) -> vec2<f32> {
    let sum = constant + more_constant;
    return vec2<f32>(sum, up(up(error + more_error) + 2.0 * params.unit * abs(sum)));
}

// `g` times a sum that is itself wrong by a share of `g`.
fn charged(size: f32, g: f32) -> f32 {
    return up(up(g * size) * (1.0 + 2.0 * g));
}

@compute @workgroup_size(64, 1, 1)
fn seed(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let wanted = seed_rows[3u * params.lanes + lane];
    let unused = wanted == NONE;
    let output = select(wanted & ~NEGATED, 0u, unused);
    let flip = wanted & NEGATED;
    let outputs = params.step_y;
    let slice = slice_of(id.y, window_size());
    for (var k = slice.x; k < slice.y; k++) {
        let weight = bitcast<f32>(bitcast<u32>(seed_w[k * outputs + output]) ^ flip);
        seed_a[k * params.lanes + lane] = select(weight, 0.0, unused);
    }
    let bias = bitcast<f32>(bitcast<u32>(seed_b[output]) ^ flip);
    seed_sums[2u * id.y * params.lanes + lane] = select(bias, 0.0, unused || id.y > 0u);
    seed_sums[(2u * id.y + 1u) * params.lanes + lane] = 0.0;
}

// A coefficient below a relaxed neuron, and what it adds to the sums of its row.
struct Bent {
    coefficient: f32,
    sums: vec4<f32>,
}

fn bent_row(table: u32, i: u32, above: f32) -> Bent {
    if (i == NONE) {
        return Bent(0.0, vec4<f32>(0.0));
    }
    // Upper slope, upper intercept, lower slope, magnitude.
    let lines = relu_table[table + i];
    let coefficient = above * select(lines.z, lines.x, above < 0.0);
    let bend = min(above, 0.0) * lines.y;
    return Bent(coefficient, vec4<f32>(bend, coefficient * relu_bias[i], abs(coefficient) * lines.w, abs(bend)));
}

@compute @workgroup_size(64, 1, 1)
fn relu(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let place = place_of(relu_rows[lane], relu_rows[params.lanes + lane], relu_rows[2u * params.lanes + lane]);
    let slice = slice_of(id.y, window_size());
    // Intercepts, biases, magnitudes, and sizes of intercepts: those of max pooling have either sign, so that their sum
    // says nothing of its own error.
    var total = vec4<f32>(0.0);
    var k = slice.x;
    var spot = spot_of(k);
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = vec4<f32>(0.0);
        // Four at a time: what is read of one does not wait for what is written of another.
        while (k < end) {
            let k1 = min(k + 1u, end - 1u);
            let k2 = min(k + 2u, end - 1u);
            let k3 = min(k + 3u, end - 1u);
            let spot1 = next(spot);
            let spot2 = next(spot1);
            let spot3 = next(spot2);
            let i0 = element_at(place, k, spot);
            let i1 = element_at(place, k1, spot1);
            let i2 = element_at(place, k2, spot2);
            let i3 = element_at(place, k3, spot3);
            let above = vec4<f32>(
                relu_a[k * params.lanes + lane],
                relu_a[k1 * params.lanes + lane],
                relu_a[k2 * params.lanes + lane],
                relu_a[k3 * params.lanes + lane],
            );
            let b0 = bent_row(place.table, i0, above.x);
            let b1 = bent_row(place.table, i1, above.y);
            let b2 = bent_row(place.table, i2, above.z);
            let b3 = bent_row(place.table, i3, above.w);
            relu_a[k * params.lanes + lane] = b0.coefficient;
            part += b0.sums;
            if (k1 > k) {
                relu_a[k1 * params.lanes + lane] = b1.coefficient;
                part += b1.sums;
            }
            if (k2 > k1) {
                relu_a[k2 * params.lanes + lane] = b2.coefficient;
                part += b2.sums;
            }
            if (k3 > k2) {
                relu_a[k3 * params.lanes + lane] = b3.coefficient;
                part += b3.sums;
            }
            k += 4u;
            spot = next(spot3);
        }
        k = end;
        total += opaque(part);
    }
    let c = 2u * id.y * params.lanes + lane;
    let e = c + params.lanes;
    let bent = added(relu_sums[c], relu_sums[e], total.x, charged(total.w, params.g));
    let sum = added(bent.x, bent.y, total.y, charged(total.z, params.charge));
    relu_sums[c] = sum.x;
    relu_sums[e] = sum.y;
}

@compute @workgroup_size(64, 1, 1)
fn lift(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let place = place_of(lift_rows[lane], lift_rows[params.lanes + lane], lift_rows[2u * params.lanes + lane]);
    let slice = slice_of(id.y, window_size());
    var constant = 0.0;
    var size = 0.0;
    var k = slice.x;
    var spot = spot_of(k);
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = vec2<f32>(0.0);
        for (; k < end; k++) {
            let i = element_at(place, k, spot);
            spot = next(spot);
            if (i != NONE) {
                let foot = max(lift_a[k * params.lanes + lane], 0.0) * lift_feet[place.table + i];
                part += vec2<f32>(foot, abs(foot));
            }
        }
        constant += opaque_one(part.x);
        size += opaque_one(part.y);
    }
    let c = 2u * id.y * params.lanes + lane;
    let e = c + params.lanes;
    let sum = added(lift_sums[c], lift_sums[e], constant, charged(size, params.g));
    lift_sums[c] = sum.x;
    lift_sums[e] = sum.y;
}

@compute @workgroup_size(64, 1, 1)
fn affine(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let place = place_of(affine_rows[lane], affine_rows[params.lanes + lane], affine_rows[2u * params.lanes + lane]);
    let slice = slice_of(id.y, window_size());
    var constant = 0.0;
    var size = 0.0;
    var k = slice.x;
    var spot = spot_of(k);
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = vec2<f32>(0.0);
        for (; k < end; k++) {
            let i = element_at(place, k, spot);
            spot = next(spot);
            if (i == NONE) {
                affine_a[k * params.lanes + lane] = 0.0;
                continue;
            }
            let coefficient = affine_a[k * params.lanes + lane];
            part.x += coefficient * affine_bias[i];
            part.y += abs(coefficient) * affine_magnitude[place.table + i];
        }
        constant += opaque_one(part.x);
        size += opaque_one(part.y);
    }
    let error = charged(size, params.g);
    let c = 2u * id.y * params.lanes + lane;
    let e = c + params.lanes;
    let sum = added(affine_sums[c], affine_sums[e], constant, error);
    affine_sums[c] = sum.x;
    affine_sums[e] = sum.y;
}

// Eight neighbouring rows by their slices are a workgroup: what follows reads a whole row for one number.
const TOGETHER: u32 = 8u;

var<workgroup> parts: array<vec3<f32>, 64>;

// A row and a slice of it.
fn row_and_slice(group: vec3<u32>, groups: vec3<u32>, thread: u32) -> vec2<u32> {
    return vec2<u32>((group.y * groups.x + group.x) * TOGETHER + thread % TOGETHER, thread / TOGETHER);
}

// The sum over the slices of a row, for the threads of all.
fn over_slices(thread: u32, own: vec3<f32>) -> vec3<f32> {
    workgroupBarrier();
    parts[thread] = own;
    for (var others = TOGETHER * SLICES / 2u; others >= TOGETHER; others /= 2u) {
        workgroupBarrier();
        if (thread < others) {
            parts[thread] += parts[thread + others];
        }
    }
    workgroupBarrier();
    return parts[thread % TOGETHER];
}

@compute @workgroup_size(64, 1, 1)
fn concretize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let own = row_and_slice(group, groups, thread);
    let lane = min(own.x, params.lanes - 1u);
    let place = place_of(rows[lane], rows[params.lanes + lane], rows[2u * params.lanes + lane]);
    let slice = slice_of(own.y, window_size());
    var dot = 0.0;
    var span = 0.0;
    var k = slice.x;
    var spot = spot_of(k);
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = vec2<f32>(0.0);
        for (; k < end; k++) {
            let i = element_at(place, k, spot);
            spot = next(spot);
            if (i != NONE) {
                let coefficient = a[k * params.lanes + lane];
                let c = centre[place.table + i];
                part.x += coefficient * c;
                part.y += abs(coefficient) * (radius_or_delta[place.table + i] + params.g * abs(c));
            }
        }
        dot += opaque_one(part.x);
        span += opaque_one(part.y);
    }
    let all = over_slices(thread, vec3<f32>(dot, span, 0.0));
    if (own.y == 0u && own.x < params.lanes) {
        let sum = gathered(lane);
        let fall = up(up(all.y * (1.0 + 3.0 * params.g)) + sum.y);
        let rounding = up(4.0 * params.unit * (abs(all.x) + abs(sum.x)));
        result[lane] = down(down(all.x + sum.x) - up(fall + rounding));
    }
}

// How much a row can fall within the distance `d` of the image, rounded up, and its slope there. Every thread of its
// workgroup asks for the same row's.
fn fall_within(thread: u32, lane: u32, image: u32, slice: vec2<u32>, d: f32) -> vec2<f32> {
    let n = layer_size();
    var fall = 0.0;
    var slope = 0.0;
    var k = slice.x;
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = 0.0;
        for (; k < end; k++) {
            let coefficient = a[k * params.lanes + lane];
            let pixel = centre[image * n + k];
            let room = select(up(1.0 - pixel), pixel, coefficient > 0.0);
            part += abs(coefficient) * min(room, d);
            slope += select(0.0, abs(coefficient), room > d);
        }
        fall += opaque_one(part);
    }
    let all = over_slices(thread, vec3<f32>(fall, slope, 0.0));
    return vec2<f32>(up(all.x * (1.0 + 2.0 * params.g)), all.y);
}

@compute @workgroup_size(64, 1, 1)
fn radius(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let own = row_and_slice(group, groups, thread);
    let lane = min(own.x, params.lanes - 1u);
    let image = rows[lane];
    let n = layer_size();
    let slice = slice_of(own.y, n);
    var dot = 0.0;
    var size = 0.0;
    var slope = 0.0;
    var k = slice.x;
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = vec2<f32>(0.0);
        for (; k < end; k++) {
            let coefficient = a[k * params.lanes + lane];
            let pixel = centre[image * n + k];
            part += vec2<f32>(coefficient * pixel, abs(coefficient) * abs(pixel));
            slope += abs(coefficient);
        }
        dot += opaque_one(part.x);
        size += opaque_one(part.y);
    }
    let all = over_slices(thread, vec3<f32>(dot, size, slope));
    // All or nothing.
    dot = all.x * params.charge;
    size = all.y * params.charge;
    slope = all.z;
    // A lower bound of the row at the image itself.
    let sum = gathered(lane);
    let rounding = up(4.0 * params.unit * (abs(dot) + abs(sum.x)));
    let error = up(up(sum.y + rounding) + up(params.g * (1.0 + 2.0 * params.g) * size));
    let base = down(down(dot + sum.x) - error);

    let goal = radius_or_delta[image];
    let bound = down(base - fall_within(thread, lane, image, slice, goal).x);
    var best = select(0.0, goal, bound > 0.0);
    // Newton's method from the left on a convex falling function: every iterate is a candidate.
    var d = 1.0;
    var ahead = max(base, 0.0) * CAUTION;
    if (ahead < slope) {
        d = ahead / slope;
    }
    for (var i = 0u; i < 4u; i++) {
        let fall = fall_within(thread, lane, image, slice, d);
        let left = down(base - fall.x);
        if (left > 0.0) {
            best = max(best, d);
            ahead = left * CAUTION;
            if (ahead < fall.y) {
                d = min(d + ahead / fall.y, 1.0);
            } else {
                d = 1.0;
            }
        } else {
            d *= min(CAUTION, 1.0 - SHRINK * params.g);
        }
    }
    if (own.y == 0u && own.x < params.lanes) {
        result[lane] = bound;
        result[params.lanes + lane] = best;
    }
}

@compute @workgroup_size(64, 1, 1)
fn densify(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let k = i / params.lanes;
    let lane = i % params.lanes;
    if (k >= layer_size()) {
        return;
    }
    let place = place_of(0u, densify_rows[params.lanes + lane], densify_rows[2u * params.lanes + lane]);
    let y = u32(i32(k / params.width % params.height) - place.y);
    let x = u32(i32(k % params.width) - place.x);
    let channel = k / (params.width * params.height);
    var value = 0.0;
    if (y < params.size_y && x < params.size_x) {
        value = a[((channel * params.size_y + y) * params.size_x + x) * params.lanes + lane];
    }
    dense[i] = value;
}

@compute @workgroup_size(64, 1, 1)
fn pick(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let element = i / params.lanes;
    let source = pick_source[i % params.lanes];
    if (element < params.channels && source != NONE) {
        pick_to[i] = pick_from[element * params.width + source];
    }
}
