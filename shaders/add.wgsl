// Sum of two values, elementwise.
//   forward:    a[len], b[len] -> y[len]           y = a + b
//   accumulate: x[len] -> y[len]                   y += x
//   interval:   ac, ar, bc, br -> yc, yr, [len]    centre and radius, sound

struct Params {
    len: u32,
    // Share of |centre|: rounding of the centre plus the charge of its consumer.
    inflate: f32,
    // The charge of the consumer alone.
    consumer: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read_write> sum: array<vec4<f32>>;

@group(0) @binding(1) var<storage, read> ac: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> ar: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bc: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> br: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> yc: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> yr: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len / 4u) {
        y[i] = a[i] + b[i];
    }
}

@compute @workgroup_size(64, 1, 1)
fn accumulate(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.len / 4u) {
        sum[i] = sum[i] + a[i];
    }
}

@compute @workgroup_size(64, 1, 1)
fn interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.len / 4u) {
        return;
    }
    let ca = settle(ac[i]);
    let cb = settle(bc[i]);
    let ra = settle_radius(ac[i], ar[i]);
    let rb = settle_radius(bc[i], br[i]);
    let centre = settle(ca + cb);
    // Four roundings of at most one unit in the last place, and flushed subnormals.
    let radius = raise(ra + rb + params.inflate * abs(centre), 6u);
    let exact = is_zero(ra) & is_zero(rb) & (is_zero(ca) | is_zero(cb));
    yc[i] = centre;
    yr[i] = select(radius, inflated(vec4<f32>(0.0), centre, params.consumer), exact);
}
