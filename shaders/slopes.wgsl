// Better lower lines of rectifiers for one row per image; lane i is image i. See src/ops/slopes.rs.
//   follow: a[element][lane], z, table[lane][element] -> y[element][lane]
//           the row's line on z
//   climb:  a, z -> y, table, m[element][lane], v
//           the same, and one step of Adam on the lower slopes of unstable neurons

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
@group(0) @binding(3) var<storage, read> lines_of: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> followed: array<f32>;

// Where the lines of value i stand.
fn entry(i: u32) -> u32 {
    return i % params.lanes * params.elements + i / params.lanes;
}

@compute @workgroup_size(64, 1, 1)
fn follow(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    followed[i] = line_at(lines_of[entry(i)], z[i], a[i]);
}

@compute @workgroup_size(64, 1, 1)
fn climb(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    let at = entry(i);
    var lines = table[at];
    y[i] = line_at(lines, z[i], a[i]);
    // Only an unstable neuron has an intercept.
    if (lines.y > 0.0) {
        let moment = moments(m[i], v[i], limited(max(a[i], 0.0) * z[i]));
        m[i] = moment.x;
        v[i] = moment.y;
        lines.z = clamp(lines.z + adam_step(params.rate, moment), 0.0, 1.0);
        table[at] = lines;
    }
}
