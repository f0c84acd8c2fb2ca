// Linear bounds through max pooling.
//   relax:   centre[input][lane], radius -> table[lane][output], picks    lines over and under each window's maximum
//   route:   a[output][row], picks, rows -> to[input][row]                coefficients handed to the picked inputs
//   forward: x[input][row], a[output][row], table, picks, rows -> y[output][row]    the line that a row uses on x

struct Params {
    channels: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    lanes: u32,
    layer_height: u32,
    layer_width: u32,
    step_y: u32,
    step_x: u32,
    offset_y: i32,
    offset_x: i32,
}

const LOWEST: f32 = -3.0e38;

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> centre: array<f32>;
@group(0) @binding(2) var<storage, read> radius: array<f32>;
@group(0) @binding(3) var<storage, read_write> table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> picks: array<u32>;

@group(0) @binding(1) var<storage, read> route_a: array<f32>;
@group(0) @binding(2) var<storage, read> route_picks: array<u32>;
@group(0) @binding(3) var<storage, read> route_rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> route_to: array<f32>;

@group(0) @binding(1) var<storage, read> forward_x: array<f32>;
@group(0) @binding(2) var<storage, read> forward_a: array<f32>;
@group(0) @binding(3) var<storage, read> forward_table: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> forward_picks: array<u32>;
@group(0) @binding(5) var<storage, read> forward_rows: array<u32>;
@group(0) @binding(6) var<storage, read_write> forward_y: array<f32>;

// Channel of an output, and the input row and column where its window starts; in the padding they wrap around to huge
// numbers.
fn window_of(output: u32) -> vec3<u32> {
    let ox = output % params.out_width;
    let oy = output / params.out_width % params.out_height;
    return vec3<u32>(output / (params.out_width * params.out_height), oy * params.stride_y - params.pad_y, ox * params.stride_x - params.pad_x);
}

// Upper slope, upper intercept, lower slope, magnitude; and the taps of the inputs that the lines are over, the upper one
// in the high half. With the highest input x in [l,u] and no other above s, the maximum is at most max(x, s), which lies
// below its chord; where s <= l it is x.
@compute @workgroup_size(64, 1, 1)
fn relax(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let elements = params.channels * params.out_height * params.out_width;
    if (i >= elements * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let output = i / params.lanes;
    let window = window_of(output);
    var best = LOWEST;
    var picked = vec2<f32>();
    var tap = 0u;
    var others = LOWEST;
    var highest = vec2<f32>(LOWEST);
    var top = 0u;
    for (var ky = 0u; ky < params.kernel_height; ky++) {
        let y = window.y + ky;
        for (var kx = 0u; kx < params.kernel_width; kx++) {
            let x = window.z + kx;
            if (y >= params.in_height || x >= params.in_width) {
                continue;
            }
            let j = ((window.x * params.in_height + y) * params.in_width + x) * params.lanes + lane;
            let range = ends(centre[j], radius[j]);
            let k = ky * params.kernel_width + kx;
            if (centre[j] > best) {
                best = centre[j];
                picked = range;
                tap = k;
            }
            if (range.y > highest.y) {
                others = highest.y;
                highest = range;
                top = k;
            } else {
                others = max(others, range.y);
            }
        }
    }
    var lines = vec4<f32>(1.0, 0.0, 1.0, 0.0);
    if (others > highest.x) {
        let slope = clamp((highest.y - others) / (highest.y - highest.x), 0.0, 1.0);
        lines.x = slope;
        lines.y = max(
            raise_one(others - lower_one(slope * highest.x, 2u), 2u),
            raise_one(highest.y - lower_one(slope * highest.y, 2u), 2u),
        );
    } else {
        tap = top;
        picked = highest;
    }
    lines.w = max(max(abs(picked.x), abs(picked.y)), max(abs(highest.x), abs(highest.y)));
    table[lane * elements + output] = lines;
    picks[lane * elements + output] = tap | (top << 16u);
}

fn pick_of(picks: u32, coefficient: f32) -> u32 {
    return select(picks & 0xffffu, picks >> 16u, coefficient < 0.0);
}

@compute @workgroup_size(64, 1, 1)
fn route(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.channels * params.in_height * params.in_width * params.lanes) {
        return;
    }
    let row = i % params.lanes;
    let input = i / params.lanes;
    let x = input % params.in_width;
    let y = input / params.in_width % params.in_height;
    let channel = input / (params.in_width * params.in_height);
    let layer = params.layer_height * params.layer_width;
    let start = (route_rows[row] * params.channels + channel) * layer;
    // Where the row's patch lies in the layer above. Outside of it nothing is picked.
    let top = i32(route_rows[params.lanes + row] * params.step_y) - params.offset_y;
    let left = i32(route_rows[2u * params.lanes + row] * params.step_x) - params.offset_x;
    let over_y = windows(y, params.stride_y, params.pad_y, params.kernel_height, params.out_height);
    let over_x = windows(x, params.stride_x, params.pad_x, params.kernel_width, params.out_width);
    var sum = 0.0;
    for (var oy = over_y.x; oy < over_y.y; oy++) {
        for (var ox = over_x.x; ox < over_x.y; ox++) {
            let tap = (y + params.pad_y - oy * params.stride_y) * params.kernel_width + x + params.pad_x - ox * params.stride_x;
            let coefficient = route_a[((channel * params.out_height + oy) * params.out_width + ox) * params.lanes + row];
            let ly = u32(top + i32(oy));
            let lx = u32(left + i32(ox));
            if (ly >= params.layer_height || lx >= params.layer_width) {
                continue;
            }
            if (pick_of(route_picks[start + ly * params.layer_width + lx], coefficient) == tap) {
                sum += coefficient;
            }
        }
    }
    route_to[i] = sum;
}

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let elements = params.channels * params.out_height * params.out_width;
    if (i >= elements * params.lanes) {
        return;
    }
    let row = i % params.lanes;
    let output = i / params.lanes;
    let window = window_of(output);
    let entry = forward_rows[row] * elements + output;
    let above = forward_a[i];
    let tap = pick_of(forward_picks[entry], above);
    let y = window.y + tap / params.kernel_width;
    let x = window.z + tap % params.kernel_width;
    let picked = forward_x[((window.x * params.in_height + y) * params.in_width + x) * params.lanes + row];
    forward_y[i] = line_at(forward_table[entry], picked, above);
}
