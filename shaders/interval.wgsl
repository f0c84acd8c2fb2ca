// What training through interval bounds needs beside the kernels of the layers.
//   ends:       a, b [len] -> low, high [len]    low = share (a - b), high = share (a + b)
//   absolute:   w[weights] -> size[weights]      size = |w|
//   take_signs: w, g [weights] -> sum[weights]   sum += g where w > 0, sum -= g where w < 0

struct Params {
    len: u32,
    share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> low: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> high: array<vec4<f32>>;

@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> size: array<f32>;

@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn ends(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len / 4u) {
        low[i] = params.share * (a[i] - b[i]);
        high[i] = params.share * (a[i] + b[i]);
    }
}

@compute @workgroup_size(64, 1, 1)
fn absolute(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len) {
        size[i] = abs(w[i]);
    }
}

@compute @workgroup_size(64, 1, 1)
fn take_signs(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len) {
        sum[i] = sum[i] + sign(w[i]) * g[i];
    }
}
