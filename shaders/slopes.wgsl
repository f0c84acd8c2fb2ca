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

const STEEPEST: f32 = 1152921504606846976.0; // 2^60

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> m: array<f32>;
@group(0) @binding(6) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn climb(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i >= params.elements * params.lanes) {
        return;
    }
    let at = i % params.lanes * params.elements + i / params.lanes;
    // Upper slope, upper intercept, lower slope, magnitude.
    var lines = table[at];
    y[i] = select(lines.z * z[i], lines.x * z[i] + lines.y, a[i] < 0.0);
    let gradient = clamp(max(a[i], 0.0) * z[i], -STEEPEST, STEEPEST);
    let mean = m[i] + (1.0 - params.beta1) * (gradient - m[i]);
    let square = v[i] + (1.0 - params.beta2) * (gradient * gradient - v[i]);
    m[i] = mean;
    v[i] = square;
    // Only an unstable neuron has an intercept.
    if (lines.y > 0.0) {
        let move_by = params.rate * mean / (sqrt(square * params.correct_v) + params.epsilon);
        lines.z = clamp(lines.z + move_by, 0.0, 1.0);
        table[at] = lines;
    }
}
