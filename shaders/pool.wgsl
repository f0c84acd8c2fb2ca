// Pooling over windows of one channel. Activations are [channel][row][column][lane].
//   max_forward:      x -> y                 largest value of the window, padding left out
//   max_backward:     x, gy -> gx            gradient to the first maximum of every window, gathered per input value
//   max_interval:     xc, xr -> yc, yr       centre and radius, sound
//   average_forward:  x -> y                 mean of the window
//   average_backward: gy -> gx
//   average_interval: xc, xr -> yc, yr       centre and radius, sound

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
    // 1: the mean divides by the full window even where it hangs over the border.
    include_pad: u32,
    zero: u32,
    // Relative error of a mean against the mean of magnitudes.
    error: f32,
    inflate: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read> gy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gx: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read> xr: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> yc: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> yr: array<vec4<f32>>;

// One activation value: four lanes at (channel, row, column).
struct Place {
    quad: u32,
    column: u32,
    row: u32,
    channel: u32,
}

fn place(i: u32, height: u32, width: u32) -> Place {
    let quads = params.lanes / 4u;
    let pixel = i / quads;
    return Place(i % quads, pixel % width, pixel / width % height, pixel / (width * height));
}

fn input_at(channel: u32, row: u32, column: u32, quad: u32) -> u32 {
    return ((channel * params.in_height + row) * params.in_width + column) * (params.lanes / 4u) + quad;
}

fn output_at(channel: u32, row: u32, column: u32, quad: u32) -> u32 {
    return ((channel * params.out_height + row) * params.out_width + column) * (params.lanes / 4u) + quad;
}

// First and one past the last input row or column of a window.
fn window(output: u32, stride: u32, pad: u32, kernel: u32, size: u32) -> vec2<u32> {
    let start = output * stride;
    return vec2<u32>(max(start, pad) - pad, min(max(start + kernel, pad) - pad, size));
}

fn rows_of(output: u32) -> vec2<u32> {
    return window(output, params.stride_y, params.pad_y, params.kernel_height, params.in_height);
}

fn columns_of(output: u32) -> vec2<u32> {
    return window(output, params.stride_x, params.pad_x, params.kernel_width, params.in_width);
}

// 1 / number of values a mean is over.
fn share(rows: vec2<u32>, columns: vec2<u32>) -> f32 {
    let inside = (rows.y - rows.x) * (columns.y - columns.x);
    return 1.0 / f32(select(inside, params.kernel_height * params.kernel_width, params.include_pad == 1u));
}

fn outputs() -> u32 {
    return params.channels * params.out_height * params.out_width * (params.lanes / 4u);
}

fn inputs() -> u32 {
    return params.channels * params.in_height * params.in_width * (params.lanes / 4u);
}

@compute @workgroup_size(64, 1, 1)
fn max_forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= outputs()) {
        return;
    }
    let o = place(i, params.out_height, params.out_width);
    let rows = rows_of(o.row);
    let columns = columns_of(o.column);
    var best = x[input_at(o.channel, rows.x, columns.x, o.quad)];
    for (var row = rows.x; row < rows.y; row++) {
        for (var column = columns.x; column < columns.y; column++) {
            best = max(best, x[input_at(o.channel, row, column, o.quad)]);
        }
    }
    y[i] = best;
}

@compute @workgroup_size(64, 1, 1)
fn max_backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= inputs()) {
        return;
    }
    let here = place(i, params.in_height, params.in_width);
    let value = x[i];
    let over_rows = windows(here.row, params.stride_y, params.pad_y, params.kernel_height, params.out_height);
    let over_columns = windows(here.column, params.stride_x, params.pad_x, params.kernel_width, params.out_width);
    var sum = vec4<f32>(0.0);
    for (var oy = over_rows.x; oy < over_rows.y; oy++) {
        for (var ox = over_columns.x; ox < over_columns.y; ox++) {
            let rows = rows_of(oy);
            let columns = columns_of(ox);
            var wins = vec4<bool>(true);
            for (var row = rows.x; row < rows.y; row++) {
                for (var column = columns.x; column < columns.y; column++) {
                    let j = input_at(here.channel, row, column, here.quad);
                    let other = x[j];
                    wins = wins & ((other < value) | ((other == value) & vec4<bool>(j >= i)));
                }
            }
            sum += select(vec4<f32>(0.0), gy[output_at(here.channel, oy, ox, here.quad)], wins);
        }
    }
    gx[i] = sum;
}

@compute @workgroup_size(64, 1, 1)
fn max_interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= outputs()) {
        return;
    }
    let o = place(i, params.out_height, params.out_width);
    let rows = rows_of(o.row);
    let columns = columns_of(o.column);
    var lo = vec4<f32>(-0x1p127);
    var hi = vec4<f32>(-0x1p127);
    for (var row = rows.x; row < rows.y; row++) {
        for (var column = columns.x; column < columns.y; column++) {
            let j = input_at(o.channel, row, column, o.quad);
            let c = settle(x[j]);
            let r = settle_radius(x[j], xr[j]);
            lo = max(lo, select(lower(c - r, 1u), c, is_zero(r)));
            hi = max(hi, select(raise(c + r, 1u), c, is_zero(r)));
        }
    }
    let point = lo == hi;
    let centre = select(settle(0.5 * lo + 0.5 * hi), hi, point);
    let radius = select(raise(max(hi - centre, centre - lo), 2u), vec4<f32>(0.0), point);
    yc[i] = centre;
    yr[i] = inflated(radius, centre, params.inflate);
}

@compute @workgroup_size(64, 1, 1)
fn average_forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= outputs()) {
        return;
    }
    let o = place(i, params.out_height, params.out_width);
    let rows = rows_of(o.row);
    let columns = columns_of(o.column);
    var sum = vec4<f32>(0.0);
    for (var row = rows.x; row < rows.y; row++) {
        var part = vec4<f32>(0.0);
        for (var column = columns.x; column < columns.y; column++) {
            part += x[input_at(o.channel, row, column, o.quad)];
        }
        sum += opaque(part);
    }
    y[i] = sum * share(rows, columns);
}

@compute @workgroup_size(64, 1, 1)
fn average_backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= inputs()) {
        return;
    }
    let here = place(i, params.in_height, params.in_width);
    let over_rows = windows(here.row, params.stride_y, params.pad_y, params.kernel_height, params.out_height);
    let over_columns = windows(here.column, params.stride_x, params.pad_x, params.kernel_width, params.out_width);
    var sum = vec4<f32>(0.0);
    for (var oy = over_rows.x; oy < over_rows.y; oy++) {
        var part = vec4<f32>(0.0);
        for (var ox = over_columns.x; ox < over_columns.y; ox++) {
            part += x[output_at(here.channel, oy, ox, here.quad)] * share(rows_of(oy), columns_of(ox));
        }
        sum += opaque(part);
    }
    y[i] = sum;
}

@compute @workgroup_size(64, 1, 1)
fn average_interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= outputs()) {
        return;
    }
    let o = place(i, params.out_height, params.out_width);
    let rows = rows_of(o.row);
    let columns = columns_of(o.column);
    var sum = vec4<f32>(0.0);
    var size = vec4<f32>(0.0);
    var spread = vec4<f32>(0.0);
    for (var row = rows.x; row < rows.y; row++) {
        var row_sum = vec4<f32>(0.0);
        var row_size = vec4<f32>(0.0);
        var row_spread = vec4<f32>(0.0);
        for (var column = columns.x; column < columns.y; column++) {
            let j = input_at(o.channel, row, column, o.quad);
            let c = settle(x[j]);
            row_sum += c;
            row_size += abs(c);
            row_spread += settle_radius(x[j], xr[j]);
        }
        sum += opaque(row_sum);
        size += opaque(row_size);
        spread += opaque(row_spread);
    }
    let part = share(rows, columns);
    let centre = settle(sum * part);
    // The sums behind the radius may themselves be short by the error share: hence once more.
    let radius = (spread + params.error * size) * part;
    let floor = bitcast<f32>(TINY_BITS);
    let grown = raise(radius + 2.0 * params.error * radius + params.inflate * abs(centre) + floor, 8u);
    yc[i] = centre;
    yr[i] = select(grown, vec4<f32>(0.0), is_zero(size) & is_zero(spread));
}
