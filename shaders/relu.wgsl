// Rectifier, elementwise.
//   forward:  x[len] -> y[len]                     y = max(x, 0)
//   backward: x[len], gy[len] -> gx[len]           gx = gy where x > 0, else 0
//   interval: xc[len], xr[len] -> yc[len], yr[len] centre and radius, sound

struct Params {
    len: u32,
    inflate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read> gy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gx: array<vec4<f32>>;

@group(0) @binding(1) var<storage, read> xc: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> xr: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> yc: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> yr: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len / 4u) {
        y[i] = max(x[i], vec4<f32>(0.0));
    }
}

@compute @workgroup_size(64, 1, 1)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len / 4u) {
        gx[i] = select(vec4<f32>(0.0), gy[i], x[i] > vec4<f32>(0.0));
    }
}

@compute @workgroup_size(64, 1, 1)
fn interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.len / 4u) {
        return;
    }
    let zero = vec4<f32>(0.0);
    let c = settle(xc[i]);
    let r = settle_radius(xc[i], xr[i]);
    let lo = c - r;
    let hi = c + r;
    let point = is_zero(r);
    // Where lower(lo, 1) > 0, and raise(hi, 1) <= 0.
    let tiny = bitcast<vec4<f32>>(vec4<u32>(TINY_BITS));
    let stable = (lo >= tiny) | (point & (c > zero));
    let dead = (hi <= -tiny) | (point & (c <= zero));
    // Halving is exact, so an unstable interval is [0, hi] to the bit.
    let half = 0.5 * raise(hi, 1u);
    let centre = select(select(half, c, stable), zero, dead);
    let radius = select(select(half, r, stable), zero, dead);
    yc[i] = centre;
    yr[i] = inflated(radius, centre, params.inflate);
}
