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
}

const LOWEST: f32 = -3.0e38;

@group(0) @binding(0) var<uniform> p: Params;

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

fn up(x: f32) -> f32 {
    return raise(vec4<f32>(x), 2u).x;
}

fn down(x: f32) -> f32 {
    return lower(vec4<f32>(x), 2u).x;
}

// Channel of an output, and the input row and column where its window starts; in the padding they wrap around to huge
// numbers.
fn window_of(output: u32) -> vec3<u32> {
    let ox = output % p.out_width;
    let oy = output / p.out_width % p.out_height;
    return vec3<u32>(output / (p.out_width * p.out_height), oy * p.stride_y - p.pad_y, ox * p.stride_x - p.pad_x);
}

// Upper slope, upper intercept, lower slope, magnitude; and the taps of the inputs that the lines are over, the upper one
// in the high half. With the highest input x in [l,u] and no other above s, the maximum is at most max(x, s), which lies
// below its chord; where s <= l it is x.
@compute @workgroup_size(64, 1, 1)
fn relax(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let elements = p.channels * p.out_height * p.out_width;
    if (i >= elements * p.lanes) {
        return;
    }
    let lane = i % p.lanes;
    let output = i / p.lanes;
    let window = window_of(output);
    var best = LOWEST;
    var picked = vec2<f32>();
    var tap = 0u;
    var others = LOWEST;
    var highest = vec2<f32>(LOWEST);
    var top = 0u;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        let y = window.y + ky;
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let x = window.z + kx;
            if (y >= p.in_height || x >= p.in_width) {
                continue;
            }
            let j = ((window.x * p.in_height + y) * p.in_width + x) * p.lanes + lane;
            let ends = vec2<f32>(down(centre[j] - radius[j]), up(centre[j] + radius[j]));
            let k = ky * p.kernel_width + kx;
            if (centre[j] > best) {
                best = centre[j];
                picked = ends;
                tap = k;
            }
            if (ends.y > highest.y) {
                others = highest.y;
                highest = ends;
                top = k;
            } else {
                others = max(others, ends.y);
            }
        }
    }
    var lines = vec4<f32>(1.0, 0.0, 1.0, 0.0);
    if (others > highest.x) {
        let slope = clamp((highest.y - others) / (highest.y - highest.x), 0.0, 1.0);
        lines.x = slope;
        lines.y = max(up(others - down(slope * highest.x)), up(highest.y - down(slope * highest.y)));
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

// First and one past the last window that covers an input row or column.
fn windows(input: u32, stride: u32, pad: u32, kernel: u32, count: u32) -> vec2<u32> {
    let end = input + pad + 1u;
    return vec2<u32>((max(end, kernel) - kernel + stride - 1u) / stride, min((end - 1u) / stride + 1u, count));
}

@compute @workgroup_size(64, 1, 1)
fn route(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    if (i >= p.channels * p.in_height * p.in_width * p.lanes) {
        return;
    }
    let row = i % p.lanes;
    let input = i / p.lanes;
    let x = input % p.in_width;
    let y = input / p.in_width % p.in_height;
    let channel = input / (p.in_width * p.in_height);
    let start = route_rows[row] * p.channels * p.out_height * p.out_width;
    let over_y = windows(y, p.stride_y, p.pad_y, p.kernel_height, p.out_height);
    let over_x = windows(x, p.stride_x, p.pad_x, p.kernel_width, p.out_width);
    var sum = 0.0;
    for (var oy = over_y.x; oy < over_y.y; oy++) {
        for (var ox = over_x.x; ox < over_x.y; ox++) {
            let tap = (y + p.pad_y - oy * p.stride_y) * p.kernel_width + x + p.pad_x - ox * p.stride_x;
            let output = (channel * p.out_height + oy) * p.out_width + ox;
            let coefficient = route_a[output * p.lanes + row];
            if (pick_of(route_picks[start + output], coefficient) == tap) {
                sum += coefficient;
            }
        }
    }
    route_to[i] = sum;
}

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let elements = p.channels * p.out_height * p.out_width;
    if (i >= elements * p.lanes) {
        return;
    }
    let row = i % p.lanes;
    let output = i / p.lanes;
    let window = window_of(output);
    let entry = forward_rows[row] * elements + output;
    let above = forward_a[i];
    let tap = pick_of(forward_picks[entry], above);
    let y = window.y + tap / p.kernel_width;
    let x = window.z + tap % p.kernel_width;
    let picked = forward_x[((window.x * p.in_height + y) * p.in_width + x) * p.lanes + row];
    let lines = forward_table[entry];
    forward_y[i] = select(lines.z * picked, lines.x * picked + lines.y, above < 0.0);
}
