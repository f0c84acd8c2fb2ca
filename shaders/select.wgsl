// Linear bounds through max pooling.
//   relax: centre[input][lane], radius -> table[lane][output]    lines over and under each window's maximum
//   route: a[output][row], table, rows -> to[input][row]         coefficients handed to the picked inputs

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

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> picks: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> to: array<f32>;

fn up(x: f32) -> f32 {
    return raise(vec4<f32>(x), 2u).x;
}

fn down(x: f32) -> f32 {
    return lower(vec4<f32>(x), 2u).x;
}

// Upper slope, upper intercept, lower slope, picked tap: the input with the largest lower bound. Where no other input
// can exceed it, the maximum is that input.
@compute @workgroup_size(64, 1, 1)
fn relax(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.y * groups.x * 64u + id.x;
    let elements = p.channels * p.out_height * p.out_width;
    if (i >= elements * p.lanes) {
        return;
    }
    let lane = i % p.lanes;
    let output = i / p.lanes;
    let ox = output % p.out_width;
    let oy = output / p.out_width % p.out_height;
    let channel = output / (p.out_width * p.out_height);
    var best = LOWEST;
    var tap = 0u;
    var first = LOWEST;
    var second = LOWEST;
    var first_tap = 0u;
    for (var ky = 0u; ky < p.kernel_height; ky++) {
        // Places in the padding wrap around to huge numbers.
        let y = oy * p.stride_y + ky - p.pad_y;
        for (var kx = 0u; kx < p.kernel_width; kx++) {
            let x = ox * p.stride_x + kx - p.pad_x;
            if (y >= p.in_height || x >= p.in_width) {
                continue;
            }
            let j = ((channel * p.in_height + y) * p.in_width + x) * p.lanes + lane;
            let low = down(centre[j] - radius[j]);
            let high = up(centre[j] + radius[j]);
            let k = ky * p.kernel_width + kx;
            if (low > best) {
                best = low;
                tap = k;
            }
            if (high > first) {
                second = first;
                first = high;
                first_tap = k;
            } else {
                second = max(second, high);
            }
        }
    }
    let others = select(first, second, tap == first_tap);
    let dominates = best >= others;
    table[lane * elements + output] =
        vec4<f32>(select(0.0, 1.0, dominates), select(first, 0.0, dominates), 1.0, f32(tap));
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
    let start = rows[row] * p.channels * p.out_height * p.out_width;
    let over_y = windows(y, p.stride_y, p.pad_y, p.kernel_height, p.out_height);
    let over_x = windows(x, p.stride_x, p.pad_x, p.kernel_width, p.out_width);
    var sum = 0.0;
    for (var oy = over_y.x; oy < over_y.y; oy++) {
        for (var ox = over_x.x; ox < over_x.y; ox++) {
            let tap = (y + p.pad_y - oy * p.stride_y) * p.kernel_width + x + p.pad_x - ox * p.stride_x;
            let output = (channel * p.out_height + oy) * p.out_width + ox;
            if (picks[start + output].w == f32(tap)) {
                sum += a[output * p.lanes + row];
            }
        }
    }
    to[i] = sum;
}
