// Elementwise affine map with one factor and one shift per value (folded normalisation), the same for every lane.
//   forward:  x[elements][lanes], scale[elements], shift[elements] -> y[elements][lanes]   y = scale x + shift
//   backward: gy[elements][lanes], scale[elements] -> gx[elements][lanes]                  gx = scale gy
//   interval: xc, xr [elements][lanes], scale, shift -> yc, yr [elements][lanes]           centre and radius, sound

struct Params {
    elements: u32,
    lanes: u32,
    // Relative error of the centre against |scale| |x| + |shift|.
    error: f32,
    inflate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> scale: array<f32>;
@group(0) @binding(3) var<storage, read> shift: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

@group(0) @binding(3) var<storage, read_write> gx: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read> xr: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> interval_scale: array<f32>;
@group(0) @binding(4) var<storage, read> interval_shift: array<f32>;
@group(0) @binding(5) var<storage, read_write> yc: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> yr: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let quads = params.lanes / 4u;
    if (i < params.elements * quads) {
        let k = i / quads;
        y[i] = scale[k] * x[i] + shift[k];
    }
}

@compute @workgroup_size(64, 1, 1)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let quads = params.lanes / 4u;
    if (i < params.elements * quads) {
        gx[i] = scale[i / quads] * x[i];
    }
}

@compute @workgroup_size(64, 1, 1)
fn interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let quads = params.lanes / 4u;
    if (i >= params.elements * quads) {
        return;
    }
    let k = i / quads;
    let c = settle(x[i]);
    let r = settle_radius(x[i], xr[i]);
    let raw_factor = vec4<f32>(interval_scale[k]);
    let raw_offset = vec4<f32>(interval_shift[k]);
    let factor = settle(raw_factor);
    let offset = settle(raw_offset);
    // What a flushed factor may miss is below 2^-126 |c|: the error share of 2^-100 |c| covers it.
    let size = select(max(abs(factor), bitcast<vec4<f32>>(vec4<u32>(TINY_BITS))), vec4<f32>(0.0), is_zero(raw_factor));
    let centre = settle(factor * c + offset);
    let radius = size * r + params.error * (size * (abs(c) + r) + abs(offset)) + params.inflate * abs(centre);
    let exact = (is_zero(raw_factor) | (is_zero(c) & is_zero(r))) & !is_subnormal(raw_offset);
    yc[i] = centre;
    // Seven roundings of at most one unit in the last place, and flushed subnormals.
    yr[i] = select(raise(radius, 10u), inflated(vec4<f32>(0.0), centre, params.inflate), exact);
}
