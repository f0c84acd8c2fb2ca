// The box around an image, clipped to the range of pixels.
//   clip: x[element][lane] in [0,1], delta[lane] -> centre[element][lane], radius
// Every real value of [0,1] within delta of x lies in centre +- radius.

struct Params {
    elements: u32,
    lanes: u32,
    inflate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> centre: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> radius: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn clip(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = params.lanes / 4u;
    let i = id.y * groups.x * 64u + id.x;
    if (i >= params.elements * row) {
        return;
    }
    let d = delta[i % row];
    // One rounding each, so two steps outward are more than enough; halving is exact.
    let low = max(lower(x[i] - d, 2u), vec4<f32>(0.0));
    let high = min(raise(x[i] + d, 2u), vec4<f32>(1.0));
    let middle = 0.5 * (low + high);
    let half = raise(max(high - middle, middle - low), 2u);
    centre[i] = middle;
    radius[i] = raise(half + params.inflate * abs(middle), 3u);
}
