// Better lower lines of rectifiers for one row per image; lane i is image i. See src/ops/slopes.rs.
//   climb:  a[element][lane], z -> y[element][lane], table[lane][element], m[element][lane], v
//           the row's line on z, and one step of Adam on the lower slopes

struct Params {
    elements: u32,
    lanes: u32,
    // Step size over the bias correction of m.
    rate: f32,
    // 1 / bias correction of v.
    correct_v: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> m: array<f32>;
@group(0) @binding(6) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn climb(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    let at = i % params.lanes * params.elements + i / params.lanes;
    var lines = table[at];
    y[i] = line_at(lines, z[i], a[i]);
    let moment = moments(m[i], v[i], limited(max(a[i], 0.0) * z[i]));
    m[i] = moment.x;
    v[i] = moment.y;
    // Only an unstable neuron has an intercept.
    if (lines.y > 0.0) {
        lines.z = clamp(lines.z + adam_step(params.rate, moment), 0.0, 1.0);
        table[at] = lines;
    }
}
