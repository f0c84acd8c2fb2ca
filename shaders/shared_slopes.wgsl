// Lower slopes that all rows for neurons of one image share. Rows are lanes and see windows, as in linear.wgsl; see
// src/ops/shared_slopes.rs.
//   corner:  a[element][lane], centre[image][element], radius, rows -> x[element][lane]    where each row is least
//   bend:    z[element][lane], table[image][element], rows, weight[lane] -> y[element][lane], a
//            the row's lines on z; coefficients become shares of the gradient
//   collect: share[element][lane], rows, span[2][image] -> gradient[image][element]        adds up an image's rows
//   step:    gradient[image][element] -> table, m, v                                       one step of Adam

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
    images: u32,
    // Step size over the bias correction of m.
    rate: f32,
    // 1 / bias correction of v.
    correct_v: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

const NONE: u32 = 0xffffffffu;

const STEEPEST: f32 = 1152921504606846976.0; // 2^60

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> corner_a: array<f32>;
@group(0) @binding(2) var<storage, read> corner_centre: array<f32>;
@group(0) @binding(3) var<storage, read> corner_radius: array<f32>;
@group(0) @binding(4) var<storage, read> corner_rows: array<u32>;
@group(0) @binding(5) var<storage, read_write> corner_x: array<f32>;

@group(0) @binding(1) var<storage, read> bend_z: array<f32>;
@group(0) @binding(2) var<storage, read> bend_table: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bend_rows: array<u32>;
@group(0) @binding(4) var<storage, read> bend_weight: array<f32>;
@group(0) @binding(5) var<storage, read_write> bend_y: array<f32>;
@group(0) @binding(6) var<storage, read_write> bend_a: array<f32>;

@group(0) @binding(1) var<storage, read> collect_share: array<f32>;
@group(0) @binding(2) var<storage, read> collect_rows: array<u32>;
@group(0) @binding(3) var<storage, read> collect_span: array<u32>;
@group(0) @binding(4) var<storage, read_write> collect_gradient: array<f32>;

@group(0) @binding(1) var<storage, read> step_gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> step_table: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> step_m: array<f32>;
@group(0) @binding(4) var<storage, read_write> step_v: array<f32>;

fn layer_size() -> u32 {
    return params.channels * params.height * params.width;
}

fn is_dense() -> bool {
    return params.step_y == 0u && params.step_x == 0u;
}

// Top left corner of the window of the neuron at this row and column.
fn corner_of(neuron: vec2<u32>) -> vec2<i32> {
    return vec2<i32>(neuron) * vec2<i32>(i32(params.step_y), i32(params.step_x))
        - vec2<i32>(params.offset_y, params.offset_x);
}

// Index in the layer of element k of a window; NONE outside the layer.
fn element(neuron: vec2<u32>, k: u32) -> u32 {
    if (is_dense()) {
        return k;
    }
    let corner = corner_of(neuron);
    let y = u32(corner.x + i32(k / params.size_x % params.size_y));
    let x = u32(corner.y + i32(k % params.size_x));
    let channel = k / (params.size_y * params.size_x);
    return select(NONE, (channel * params.height + y) * params.width + x, y < params.height && x < params.width);
}

@compute @workgroup_size(64, 1, 1)
fn corner(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i >= params.channels * params.size_y * params.size_x * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let neuron = vec2<u32>(corner_rows[params.lanes + lane], corner_rows[2u * params.lanes + lane]);
    let at = element(neuron, i / params.lanes);
    if (at == NONE) {
        corner_x[i] = 0.0;
        return;
    }
    let entry = corner_rows[lane] * layer_size() + at;
    corner_x[i] = corner_centre[entry] + select(corner_radius[entry], -corner_radius[entry], corner_a[i] > 0.0);
}

@compute @workgroup_size(64, 1, 1)
fn bend(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i >= params.channels * params.size_y * params.size_x * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let neuron = vec2<u32>(bend_rows[params.lanes + lane], bend_rows[2u * params.lanes + lane]);
    let at = element(neuron, i / params.lanes);
    if (at == NONE) {
        bend_y[i] = 0.0;
        bend_a[i] = 0.0;
        return;
    }
    // Upper slope, upper intercept, lower slope, magnitude.
    let lines = bend_table[bend_rows[lane] * layer_size() + at];
    let z = bend_z[i];
    let above = bend_a[i];
    bend_y[i] = select(lines.z * z, lines.x * z + lines.y, above < 0.0);
    // Only an unstable neuron has an intercept.
    bend_a[i] = select(0.0, bend_weight[lane] * max(above, 0.0) * z, lines.y > 0.0);
}

@compute @workgroup_size(64, 1, 1)
fn collect(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i >= params.images * layer_size()) {
        return;
    }
    let image = i / layer_size();
    let k = i % layer_size();
    let place = vec2<i32>(i32(k / params.width % params.height), i32(k % params.width));
    let channel = k / (params.height * params.width);
    var sum = 0.0;
    for (var lane = collect_span[image]; lane < collect_span[params.images + image]; lane++) {
        var at = k;
        if (!is_dense()) {
            let neuron = vec2<u32>(collect_rows[params.lanes + lane], collect_rows[2u * params.lanes + lane]);
            let inside = vec2<u32>(place - corner_of(neuron));
            if (inside.x >= params.size_y || inside.y >= params.size_x) {
                continue;
            }
            at = (channel * params.size_y + inside.x) * params.size_x + inside.y;
        }
        sum += collect_share[at * params.lanes + lane];
    }
    collect_gradient[i] += sum;
}

@compute @workgroup_size(64, 1, 1)
fn step(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i >= params.images * layer_size()) {
        return;
    }
    let gradient = clamp(step_gradient[i], -STEEPEST, STEEPEST);
    let mean = step_m[i] + (1.0 - params.beta1) * (gradient - step_m[i]);
    let square = step_v[i] + (1.0 - params.beta2) * (gradient * gradient - step_v[i]);
    step_m[i] = mean;
    step_v[i] = square;
    if (step_table[i].y > 0.0) {
        let move_by = params.rate * mean / (sqrt(square * params.correct_v) + params.epsilon);
        step_table[i].z = clamp(step_table[i].z + move_by, 0.0, 1.0);
    }
}
