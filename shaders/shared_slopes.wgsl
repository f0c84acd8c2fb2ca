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

@compute @workgroup_size(64, 1, 1)
fn corner(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= window_size() * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let place = place_of(corner_rows[lane], corner_rows[params.lanes + lane], corner_rows[2u * params.lanes + lane]);
    let at = element(place, i / params.lanes);
    if (at == NONE) {
        corner_x[i] = 0.0;
        return;
    }
    let entry = place.table + at;
    corner_x[i] = corner_centre[entry] + select(corner_radius[entry], -corner_radius[entry], corner_a[i] > 0.0);
}

@compute @workgroup_size(64, 1, 1)
fn bend(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= window_size() * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let place = place_of(bend_rows[lane], bend_rows[params.lanes + lane], bend_rows[2u * params.lanes + lane]);
    let at = element(place, i / params.lanes);
    if (at == NONE) {
        bend_y[i] = 0.0;
        bend_a[i] = 0.0;
        return;
    }
    let lines = bend_table[place.table + at];
    let z = bend_z[i];
    let above = bend_a[i];
    bend_y[i] = line_at(lines, z, above);
    // Only an unstable neuron has an intercept.
    bend_a[i] = select(0.0, bend_weight[lane] * max(above, 0.0) * z, lines.y > 0.0);
}

@compute @workgroup_size(64, 1, 1)
fn collect(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.images * layer_size()) {
        return;
    }
    let image = i / layer_size();
    let k = i % layer_size();
    let y = i32(k / params.width % params.height);
    let x = i32(k % params.width);
    let channel = k / (params.height * params.width);
    var sum = 0.0;
    for (var lane = collect_span[image]; lane < collect_span[params.images + image]; lane++) {
        var at = k;
        if (!is_dense()) {
            let place = place_of(0u, collect_rows[params.lanes + lane], collect_rows[2u * params.lanes + lane]);
            let inside_y = u32(y - place.y);
            let inside_x = u32(x - place.x);
            if (inside_y >= params.size_y || inside_x >= params.size_x) {
                continue;
            }
            at = (channel * params.size_y + inside_y) * params.size_x + inside_x;
        }
        sum += collect_share[at * params.lanes + lane];
    }
    collect_gradient[i] += sum;
}

@compute @workgroup_size(64, 1, 1)
fn step(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.images * layer_size()) {
        return;
    }
    let moment = moments(step_m[i], step_v[i], limited(step_gradient[i]));
    step_m[i] = moment.x;
    step_v[i] = moment.y;
    if (step_table[i].y > 0.0) {
        step_table[i].z = clamp(step_table[i].z + adam_step(params.rate, moment), 0.0, 1.0);
    }
}
