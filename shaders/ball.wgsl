// The box around an image, clipped to the range of pixels.
//   clip: x[element][lane] in [0,1], delta[lane] -> centre[element][lane], radius
//   axes: x[n] -> axes[n]                                                    1 towards 0 and towards 1, where there is room
// Every real value of [0,1] within delta of x lies in centre +- radius.

struct Params {
    elements: u32,
    lanes: u32,
    inflate: f32,
    zero: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> centre: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> radius: array<vec4<f32>>;

@group(0) @binding(1) var<storage, read> point: array<f32>;
@group(0) @binding(2) var<storage, read_write> axes: array<vec2<f32>>;

@compute @workgroup_size(64, 1, 1)
fn axes_at(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.elements) {
        axes[i] = vec2<f32>(select(0.0, 1.0, point[i] > 0.0), select(0.0, 1.0, point[i] < 1.0));
    }
}

@compute @workgroup_size(64, 1, 1)
fn clip(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let row = params.lanes / 4u;
    let i = flat(id, groups);
    if (i >= params.elements * row) {
        return;
    }
    let d = delta[i % row];
    // From one half on the room above is exact.
    let room = vec4<f32>(1.0) - x[i];
    let above = select(room, raise(room, 2u), x[i] < vec4<f32>(0.5));
    let fall = min(x[i], d);
    let rise = min(above, d);
    let middle = opaque(x[i] + 0.5 * (rise - fall));
    let shift = middle - x[i];
    // Two roundings of up to two units in the last place each.
    let half = raise(max(fall + shift, rise - shift), 5u);
    centre[i] = middle;
    radius[i] = raise(half + params.inflate * abs(middle), 3u);
}
