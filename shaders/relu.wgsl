// Rectifier, elementwise.
//   forward: x[len] -> y[len]

struct Params {
    len: u32,
    inflate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i < params.len / 4u) {
        y[i] = max(x[i], vec4<f32>(0.0));
    }
}
