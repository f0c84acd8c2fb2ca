// Convolution, and dense layers as the 1x1 case. Activations are [channel][row][column][lane], weights
// [in][kernel row][kernel column][out].
//   forward:     x[in], w, b[out] -> y[out]              y = w * x + b
//   interval:    xc[in], w, b, xr[in] -> yc[out], yr[out]    centre and radius, sound
//   forward_sliced, interval_sliced: the same by eight threads, each for its share of the input channels
//
// A thread computes eight channels at one position for a few lanes; neighbouring threads are neighbouring lanes, so that
// weights are uniform among them.

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> b: array<f32>;

// forward
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// interval; binding 1 is xc
@group(0) @binding(4) var<storage, read> xr: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> yc: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> yr: array<vec4<f32>>;

// Kernel rows or columns [first, end) that fall inside an input of `size` for the window that starts at `start - pad`.
fn inside(start: u32, pad: u32, size: u32, kernel: u32) -> vec2<u32> {
    let first = max(start, pad) - start;
    let end = min(start + kernel, size + pad);
    return vec2<u32>(first, max(end, start + first) - start);
}

// The input channels [first, end) of eight outputs.
fn read_by(output: u32) -> vec2<u32> {
    return band(output, params.out_channels, params.out_group, params.in_group);
}

fn store(channel: u32, at: u32, half: u32, near: vec4<f32>, far: vec4<f32>) {
    if (channel < params.out_channels) {
        let bias = vec4<f32>(b[channel]);
        y[at] = near + bias;
        y[at + half] = far + bias;
    }
}

// Products of eight lanes of one input, and its weights towards eight channels.
fn add_products(block: Tile, near: vec4<f32>, far: vec4<f32>, wa: vec4<f32>, wb: vec4<f32>) -> Tile {
    return Tile(
        accumulate(block.near_a, near, wa),
        accumulate(block.near_b, near, wb),
        accumulate(block.far_a, far, wa),
        accumulate(block.far_b, far, wb),
    );
}

// The same of four lanes, of centres, and of radii with the weights' magnitudes.
fn add_spans(block: Tile, centre: vec4<f32>, radius: vec4<f32>, wa: vec4<f32>, wb: vec4<f32>) -> Tile {
    return Tile(
        accumulate(block.near_a, centre, wa),
        accumulate(block.near_b, centre, wb),
        accumulate(block.far_a, radius, abs(wa)),
        accumulate(block.far_b, radius, abs(wb)),
    );
}

// Sums over the input channels [first, end) at a position for eight lanes: four of the first half of the lanes, four of
// the second.
fn forward_sums(place: vec2<u32>, output: u32, first: u32, end: u32) -> Tile {
    let half = params.lanes / 8u;
    let start_y = place.x / params.out_width * params.stride_y;
    let start_x = place.x % params.out_width * params.stride_x;
    let rows = inside(start_y, params.pad_y, params.in_height, params.kernel_height);
    let columns = inside(start_x, params.pad_x, params.in_width, params.kernel_width);
    let x_step = params.in_height * params.in_width * 2u * half;
    let w_step = params.kernel_height * params.kernel_width * params.out_channels;

    var block = Tile();
    var total = Tile();
    var filled = 0u;
    for (var ky = rows.x; ky < rows.y; ky++) {
        for (var kx = columns.x; kx < columns.y; kx++) {
            let origin = (start_y + ky - params.pad_y) * params.in_width + start_x + kx - params.pad_x;
            var xi = origin * 2u * half + place.y + first * x_step;
            var wi = (ky * params.kernel_width + kx) * params.out_channels + output + first * w_step;
            var left = end - first;
            while (left > 0u) {
                let take = min(left, params.block - filled);
                var i = 0u;
                // Four in a turn, where weights are whole vectors: between two turns, all that is carried over may be copied.
                if (params.out_channels % 4u == 0u) {
                    for (; i + 4u <= take; i += 4u) {
                        for (var j = 0u; j < 4u; j++) {
                            block = add_products(block, x[xi], x[xi + half], w[wi / 4u], w[wi / 4u + 1u]);
                            xi += x_step;
                            wi += w_step;
                        }
                    }
                }
                for (; i < take; i++) {
                    block = add_products(block, x[xi], x[xi + half], weights(wi), weights(wi + 4u));
                    xi += x_step;
                    wi += w_step;
                }
                left -= take;
                filled += take;
                if (filled == params.block) {
                    total = close_tile(total, block);
                    block = Tile();
                    filled = 0u;
                }
            }
        }
    }
    return close_tile(total, block);
}

fn store_forward(place: vec2<u32>, output: u32, sums: Tile) {
    let half = params.lanes / 8u;
    let step = params.out_height * params.out_width * 2u * half;
    let at = output * step + place.x * 2u * half + place.y;
    store(output, at, half, sums.near_a[0], sums.far_a[0]);
    store(output + 1u, at + step, half, sums.near_a[1], sums.far_a[1]);
    store(output + 2u, at + 2u * step, half, sums.near_a[2], sums.far_a[2]);
    store(output + 3u, at + 3u * step, half, sums.near_a[3], sums.far_a[3]);
    store(output + 4u, at + 4u * step, half, sums.near_b[0], sums.far_b[0]);
    store(output + 5u, at + 5u * step, half, sums.near_b[1], sums.far_b[1]);
    store(output + 6u, at + 6u * step, half, sums.near_b[2], sums.far_b[2]);
    store(output + 7u, at + 7u * step, half, sums.near_b[3], sums.far_b[3]);
}

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let place = position_lane(id, groups, params.lanes / 8u);
    if (place.x < params.out_height * params.out_width) {
        let output = id.z * 8u;
        let read = read_by(output);
        store_forward(place, output, forward_sums(place, output, read.x, read.y));
    }
}

// A workgroup's threads are eight columns of lanes by eight shares of the input channels, where a thread to itself for
// all of them would leave most of a device idle.
const SHARES: u32 = 8u;

var<workgroup> parts: array<Tile, 64>;

// The input channels [first, end) of a share.
fn share_of(share: u32, output: u32) -> vec2<u32> {
    let read = read_by(output);
    let size = (read.y - read.x + SHARES - 1u) / SHARES;
    return min(vec2<u32>(read.x) + vec2<u32>(share, share + 1u) * size, vec2<u32>(read.y));
}

fn add_tile(a: Tile, b: Tile) -> Tile {
    return Tile(a.near_a + b.near_a, a.near_b + b.near_b, a.far_a + b.far_a, a.far_b + b.far_b);
}

// Adds up the parts of a column of lanes, for the thread of its first share.
fn joined(thread: u32, own: Tile) -> Tile {
    parts[thread] = own;
    for (var others = 32u; others >= 8u; others /= 2u) {
        workgroupBarrier();
        if (thread < others) {
            parts[thread] = add_tile(parts[thread], parts[thread + others]);
        }
    }
    return parts[thread];
}

// Where a thread of a workgroup of shares stands: position and column of lanes.
fn shared_place(group: vec3<u32>, groups: vec3<u32>, thread: u32, columns: u32) -> vec2<u32> {
    let i = (group.y * groups.x + group.x) * 8u + thread % 8u;
    return vec2<u32>(i / columns, i % columns);
}

@compute @workgroup_size(64, 1, 1)
fn forward_sliced(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = shared_place(group, groups, thread, params.lanes / 8u);
    let output = group.z * 8u;
    let within = place.x < params.out_height * params.out_width;
    var own = Tile();
    if (within) {
        let share = share_of(thread / 8u, output);
        own = forward_sums(place, output, share.x, share.y);
    }
    let sums = joined(thread, own);
    if (within && thread < 8u) {
        store_forward(place, output, sums);
    }
}

fn store_interval(channel: u32, at: u32, centre_sum: vec4<f32>, radius_sum: vec4<f32>) {
    if (channel < params.out_channels) {
        let bias = b[channel];
        let fixed = raise(vec4<f32>(params.bias_error * abs(bias) + params.floor), 3u);
        let centre = centre_sum + vec4<f32>(bias);
        let radius = raise(radius_sum * params.scale + fixed, 3u);
        yc[at] = centre;
        yr[at] = raise(radius + params.inflate * abs(centre), 3u);
    }
}

// Sums over the input channels [first, end) at a position for four lanes, of centres under w and of radii under |w|.
fn interval_sums(place: vec2<u32>, output: u32, first: u32, end: u32) -> Tile {
    let row = params.lanes / 4u;
    let start_y = place.x / params.out_width * params.stride_y;
    let start_x = place.x % params.out_width * params.stride_x;
    let rows = inside(start_y, params.pad_y, params.in_height, params.kernel_height);
    let columns = inside(start_x, params.pad_x, params.in_width, params.kernel_width);
    let x_step = params.in_height * params.in_width * row;
    let w_step = params.kernel_height * params.kernel_width * params.out_channels;

    var block = Tile();
    var total = Tile();
    var filled = 0u;
    for (var ky = rows.x; ky < rows.y; ky++) {
        for (var kx = columns.x; kx < columns.y; kx++) {
            let origin = (start_y + ky - params.pad_y) * params.in_width + start_x + kx - params.pad_x;
            var xi = origin * row + place.y + first * x_step;
            var wi = (ky * params.kernel_width + kx) * params.out_channels + output + first * w_step;
            var left = end - first;
            while (left > 0u) {
                let take = min(left, params.block - filled);
                var i = 0u;
                // Four in a turn, where weights are whole vectors: between two turns, all that is carried over may be copied.
                if (params.out_channels % 4u == 0u) {
                    for (; i + 4u <= take; i += 4u) {
                        for (var j = 0u; j < 4u; j++) {
                            block = add_spans(block, x[xi], xr[xi], w[wi / 4u], w[wi / 4u + 1u]);
                            xi += x_step;
                            wi += w_step;
                        }
                    }
                }
                for (; i < take; i++) {
                    block = add_spans(block, x[xi], xr[xi], weights(wi), weights(wi + 4u));
                    xi += x_step;
                    wi += w_step;
                }
                left -= take;
                filled += take;
                if (filled == params.block) {
                    total = close_tile(total, block);
                    block = Tile();
                    filled = 0u;
                }
            }
        }
    }
    return close_tile(total, block);
}

fn store_intervals(place: vec2<u32>, output: u32, sums: Tile) {
    let row = params.lanes / 4u;
    let step = params.out_height * params.out_width * row;
    let at = output * step + place.x * row + place.y;
    store_interval(output, at, sums.near_a[0], sums.far_a[0]);
    store_interval(output + 1u, at + step, sums.near_a[1], sums.far_a[1]);
    store_interval(output + 2u, at + 2u * step, sums.near_a[2], sums.far_a[2]);
    store_interval(output + 3u, at + 3u * step, sums.near_a[3], sums.far_a[3]);
    store_interval(output + 4u, at + 4u * step, sums.near_b[0], sums.far_b[0]);
    store_interval(output + 5u, at + 5u * step, sums.near_b[1], sums.far_b[1]);
    store_interval(output + 6u, at + 6u * step, sums.near_b[2], sums.far_b[2]);
    store_interval(output + 7u, at + 7u * step, sums.near_b[3], sums.far_b[3]);
}

@compute @workgroup_size(64, 1, 1)
fn interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let place = position_lane(id, groups, params.lanes / 4u);
    if (place.x < params.out_height * params.out_width) {
        let output = id.z * 8u;
        let read = read_by(output);
        store_intervals(place, output, interval_sums(place, output, read.x, read.y));
    }
}

@compute @workgroup_size(64, 1, 1)
fn interval_sliced(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = shared_place(group, groups, thread, params.lanes / 4u);
    let output = group.z * 8u;
    let within = place.x < params.out_height * params.out_width;
    var own = Tile();
    if (within) {
        let share = share_of(thread / 8u, output);
        own = interval_sums(place, output, share.x, share.y);
    }
    let sums = joined(thread, own);
    if (within && thread < 8u) {
        store_intervals(place, output, sums);
    }
}
