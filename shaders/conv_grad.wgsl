// Gradients of convolutions, and of dense layers as the 1x1 case. Activations are [channel][row][column][lane], weights
// [in][kernel row][kernel column][out].
//   input_grad:  gy[out], w -> gx[in]                    gx = transposed w * gy
//   input_grad_few, input_grad_one: the same for at most four input channels, and for one
//   weight_grad: x[in], gy[out] -> gw                    summed over positions and lanes
//   bias_grad:   gy[out] -> gb                           summed over positions and lanes
//
// A thread of the first three computes eight channels (four, one) at one position for a few lanes; neighbouring threads are
// neighbouring lanes, so that weights are uniform among them.

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> w: array<vec4<f32>>;

// input_grad; binding 1 is gy
@group(0) @binding(3) var<storage, read_write> gx: array<vec4<f32>>;

// weight_grad
@group(0) @binding(2) var<storage, read> gy: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> gw: array<f32>;

// bias_grad; binding 1 is gy
@group(0) @binding(2) var<storage, read_write> gb: array<f32>;

// Where the weights of four neighbouring input channels begin; past the last, those of the last.
fn channel_weights(channel: u32) -> vec4<u32> {
    let taps = params.kernel_height * params.kernel_width;
    return min(vec4<u32>(channel) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.in_channels - 1u)) * taps * params.out_channels;
}

// Weights from the i-th on of four outputs, zero past the last of them.
fn up_to_last(i: u32, output: u32) -> vec4<f32> {
    let kept = vec4<u32>(output) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.out_channels);
    return select(vec4<f32>(0.0), weights(i), kept);
}

// Weights of four input channels, whose own begin at `rows`, and four outputs of one tap; columns are outputs.
fn output_weights(rows: vec4<u32>, tap: u32, output: u32) -> mat4x4<f32> {
    let i = rows + vec4<u32>(tap * params.out_channels + output);
    // One branch where weights are whole vectors.
    if (params.out_channels % 4u == 0u) {
        let j = i / 4u;
        return transpose(mat4x4<f32>(w[j.x], w[j.y], w[j.z], w[j.w]));
    }
    return transpose(mat4x4<f32>(
        up_to_last(i.x, output),
        up_to_last(i.y, output),
        up_to_last(i.z, output),
        up_to_last(i.w, output),
    ));
}

fn store_grad(channel: u32, at: u32, half: u32, near: vec4<f32>, far: vec4<f32>) {
    if (channel < params.in_channels) {
        gx[at] = near;
        gx[at + half] = far;
    }
}

// Eight lanes per thread, as in forward.
@compute @workgroup_size(64, 1, 1)
fn input_grad(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let half = params.lanes / 8u;
    let place = position_lane(id, groups, half);
    let positions = params.in_height * params.in_width;
    if (place.x >= positions) {
        return;
    }
    let channel = id.z * 8u;
    let pad_y = place.x / params.in_width + params.pad_y;
    let pad_x = place.x % params.in_width + params.pad_x;
    let step = params.out_height * params.out_width * 2u * half;
    let rows_a = channel_weights(channel);
    let rows_b = channel_weights(channel + 4u);
    let read = band(channel, params.in_channels, params.in_group, params.out_group);

    var block = Tile();
    var total = Tile();
    var filled = 0u;
    // Kernel rows that read this row are `stride` apart; the first one is where the remainder vanishes.
    for (var ky = pad_y % params.stride_y; ky < min(params.kernel_height, pad_y + 1u); ky += params.stride_y) {
        let from_y = (pad_y - ky) / params.stride_y;
        for (var kx = pad_x % params.stride_x; kx < min(params.kernel_width, pad_x + 1u); kx += params.stride_x) {
            let from_x = (pad_x - kx) / params.stride_x;
            if (from_y >= params.out_height || from_x >= params.out_width) {
                continue;
            }
            let tap = ky * params.kernel_width + kx;
            let origin = (from_y * params.out_width + from_x) * 2u * half + place.y;
            for (var output = read.x / 4u * 4u; output < read.y; output += 4u) {
                let wa = output_weights(rows_a, tap, output);
                let wb = output_weights(rows_b, tap, output);
                let end = params.out_channels - 1u;
                let at0 = origin + output * step;
                let at1 = origin + min(output + 1u, end) * step;
                let at2 = origin + min(output + 2u, end) * step;
                let at3 = origin + min(output + 3u, end) * step;
                block.near_a = accumulate(block.near_a, x[at0], wa[0]);
                block.near_b = accumulate(block.near_b, x[at0], wb[0]);
                block.far_a = accumulate(block.far_a, x[at0 + half], wa[0]);
                block.far_b = accumulate(block.far_b, x[at0 + half], wb[0]);
                block.near_a = accumulate(block.near_a, x[at1], wa[1]);
                block.near_b = accumulate(block.near_b, x[at1], wb[1]);
                block.far_a = accumulate(block.far_a, x[at1 + half], wa[1]);
                block.far_b = accumulate(block.far_b, x[at1 + half], wb[1]);
                block.near_a = accumulate(block.near_a, x[at2], wa[2]);
                block.near_b = accumulate(block.near_b, x[at2], wb[2]);
                block.far_a = accumulate(block.far_a, x[at2 + half], wa[2]);
                block.far_b = accumulate(block.far_b, x[at2 + half], wb[2]);
                block.near_a = accumulate(block.near_a, x[at3], wa[3]);
                block.near_b = accumulate(block.near_b, x[at3], wb[3]);
                block.far_a = accumulate(block.far_a, x[at3 + half], wa[3]);
                block.far_b = accumulate(block.far_b, x[at3 + half], wb[3]);
                filled += 4u;
                if (filled == params.block) {
                    total = close_tile(total, block);
                    block = Tile();
                    filled = 0u;
                }
            }
        }
    }
    let to = positions * 2u * half;
    let at = channel * to + place.x * 2u * half + place.y;
    total = close_tile(total, block);
    store_grad(channel, at, half, total.near_a[0], total.far_a[0]);
    store_grad(channel + 1u, at + to, half, total.near_a[1], total.far_a[1]);
    store_grad(channel + 2u, at + 2u * to, half, total.near_a[2], total.far_a[2]);
    store_grad(channel + 3u, at + 3u * to, half, total.near_a[3], total.far_a[3]);
    store_grad(channel + 4u, at + 4u * to, half, total.near_b[0], total.far_b[0]);
    store_grad(channel + 5u, at + 5u * to, half, total.near_b[1], total.far_b[1]);
    store_grad(channel + 6u, at + 6u * to, half, total.near_b[2], total.far_b[2]);
    store_grad(channel + 7u, at + 7u * to, half, total.near_b[3], total.far_b[3]);
}

// Four channels for eight lanes: those of images are one or three.
@compute @workgroup_size(64, 1, 1)
fn input_grad_few(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let half = params.lanes / 8u;
    let place = position_lane(id, groups, half);
    let positions = params.in_height * params.in_width;
    if (place.x >= positions) {
        return;
    }
    let pad_y = place.x / params.in_width + params.pad_y;
    let pad_x = place.x % params.in_width + params.pad_x;
    let step = params.out_height * params.out_width * 2u * half;
    let rows = channel_weights(0u);
    let end = params.out_channels - 1u;

    var near = mat4x4<f32>();
    var far = mat4x4<f32>();
    var near_total = mat4x4<f32>();
    var far_total = mat4x4<f32>();
    var filled = 0u;
    for (var ky = pad_y % params.stride_y; ky < min(params.kernel_height, pad_y + 1u); ky += params.stride_y) {
        let from_y = (pad_y - ky) / params.stride_y;
        for (var kx = pad_x % params.stride_x; kx < min(params.kernel_width, pad_x + 1u); kx += params.stride_x) {
            let from_x = (pad_x - kx) / params.stride_x;
            if (from_y >= params.out_height || from_x >= params.out_width) {
                continue;
            }
            let tap = ky * params.kernel_width + kx;
            let origin = (from_y * params.out_width + from_x) * 2u * half + place.y;
            for (var output = 0u; output < params.out_channels; output += 4u) {
                let wa = output_weights(rows, tap, output);
                let at0 = origin + output * step;
                let at1 = origin + min(output + 1u, end) * step;
                let at2 = origin + min(output + 2u, end) * step;
                let at3 = origin + min(output + 3u, end) * step;
                near = accumulate(near, x[at0], wa[0]);
                far = accumulate(far, x[at0 + half], wa[0]);
                near = accumulate(near, x[at1], wa[1]);
                far = accumulate(far, x[at1 + half], wa[1]);
                near = accumulate(near, x[at2], wa[2]);
                far = accumulate(far, x[at2 + half], wa[2]);
                near = accumulate(near, x[at3], wa[3]);
                far = accumulate(far, x[at3 + half], wa[3]);
                filled += 4u;
                if (filled == params.block) {
                    near_total = close(near_total, near);
                    far_total = close(far_total, far);
                    near = mat4x4<f32>();
                    far = mat4x4<f32>();
                    filled = 0u;
                }
            }
        }
    }
    let to = positions * 2u * half;
    let at = place.x * 2u * half + place.y;
    near_total = close(near_total, near);
    far_total = close(far_total, far);
    store_grad(0u, at, half, near_total[0], far_total[0]);
    store_grad(1u, at + to, half, near_total[1], far_total[1]);
    store_grad(2u, at + 2u * to, half, near_total[2], far_total[2]);
    store_grad(3u, at + 3u * to, half, near_total[3], far_total[3]);
}

// One channel, of grey images, for eight lanes.
@compute @workgroup_size(64, 1, 1)
fn input_grad_one(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let half = params.lanes / 8u;
    let place = position_lane(id, groups, half);
    if (place.x >= params.in_height * params.in_width) {
        return;
    }
    let pad_y = place.x / params.in_width + params.pad_y;
    let pad_x = place.x % params.in_width + params.pad_x;
    let step = params.out_height * params.out_width * 2u * half;
    let end = params.out_channels - 1u;

    var near = vec4<f32>();
    var far = vec4<f32>();
    var near_total = vec4<f32>();
    var far_total = vec4<f32>();
    var filled = 0u;
    for (var ky = pad_y % params.stride_y; ky < min(params.kernel_height, pad_y + 1u); ky += params.stride_y) {
        let from_y = (pad_y - ky) / params.stride_y;
        for (var kx = pad_x % params.stride_x; kx < min(params.kernel_width, pad_x + 1u); kx += params.stride_x) {
            let from_x = (pad_x - kx) / params.stride_x;
            if (from_y >= params.out_height || from_x >= params.out_width) {
                continue;
            }
            let tap = ky * params.kernel_width + kx;
            let origin = (from_y * params.out_width + from_x) * 2u * half + place.y;
            for (var output = 0u; output < params.out_channels; output += 4u) {
                let w4 = up_to_last(tap * params.out_channels + output, output);
                let at0 = origin + output * step;
                let at1 = origin + min(output + 1u, end) * step;
                let at2 = origin + min(output + 2u, end) * step;
                let at3 = origin + min(output + 3u, end) * step;
                near = fma(x[at0], vec4<f32>(w4.x), near);
                far = fma(x[at0 + half], vec4<f32>(w4.x), far);
                near = fma(x[at1], vec4<f32>(w4.y), near);
                far = fma(x[at1 + half], vec4<f32>(w4.y), far);
                near = fma(x[at2], vec4<f32>(w4.z), near);
                far = fma(x[at2 + half], vec4<f32>(w4.z), far);
                near = fma(x[at3], vec4<f32>(w4.w), near);
                far = fma(x[at3 + half], vec4<f32>(w4.w), far);
                filled += 4u;
                if (filled == params.block) {
                    near_total += opaque(near);
                    far_total += opaque(far);
                    near = vec4<f32>();
                    far = vec4<f32>();
                    filled = 0u;
                }
            }
        }
    }
    let at = place.x * 2u * half + place.y;
    gx[at] = near_total + opaque(near);
    gx[at + half] = far_total + opaque(far);
}

// Products of four inputs' and four outputs' lanes, summed over this thread's share of positions and lanes.
var<workgroup> shares: array<mat4x4<f32>, 64>;

// acc + x * gy, per lane; columns are outputs
fn multiply(acc: mat4x4<f32>, x: vec4<f32>, gy: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(fma(x, gy[0], acc[0]), fma(x, gy[1], acc[1]), fma(x, gy[2], acc[2]), fma(x, gy[3], acc[3]));
}

fn over_lanes(acc: mat4x4<f32>) -> vec4<f32> {
    return vec4<f32>(1.0) * acc;
}

// One workgroup per tap, four inputs and four outputs: sixteen threads along lanes, four along positions, or all along
// lanes if there is one position.
@compute @workgroup_size(16, 4, 1)
fn weight_grad(
    @builtin(workgroup_id) tile: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = params.lanes / 4u;
    let output = tile.x * 4u;
    let tap = tile.y;
    let channel = tile.z * 4u;
    let ky = tap / params.kernel_width;
    let kx = tap % params.kernel_width;
    let positions = params.out_height * params.out_width;
    let x_step = params.in_height * params.in_width * row;
    let gy_step = positions * row;
    let channels = min(vec4<u32>(channel) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.in_channels - 1u)) * x_step;
    let outputs = min(vec4<u32>(output) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.out_channels - 1u)) * gy_step;

    var acc0 = mat4x4<f32>();
    var acc1 = mat4x4<f32>();
    var acc2 = mat4x4<f32>();
    var acc3 = mat4x4<f32>();
    let dense = positions == 1u;
    let first_lane = select(local.x, thread, dense);
    let lane_step = select(16u, 64u, dense);
    for (var position = select(local.y, 0u, dense); position < positions; position += 4u) {
        let from_y = position / params.out_width * params.stride_y + ky;
        let from_x = position % params.out_width * params.stride_x + kx;
        let reads_y = from_y >= params.pad_y && from_y < params.in_height + params.pad_y;
        let reads_x = from_x >= params.pad_x && from_x < params.in_width + params.pad_x;
        if (!reads_y || !reads_x) {
            continue;
        }
        let origin = ((from_y - params.pad_y) * params.in_width + from_x - params.pad_x) * row;
        for (var lane = first_lane; lane < row; lane += lane_step) {
            let xi = channels + vec4<u32>(origin + lane);
            let gi = outputs + vec4<u32>(position * row + lane);
            let g = mat4x4<f32>(gy[gi.x], gy[gi.y], gy[gi.z], gy[gi.w]);
            acc0 = multiply(acc0, x[xi.x], g);
            acc1 = multiply(acc1, x[xi.y], g);
            acc2 = multiply(acc2, x[xi.z], g);
            acc3 = multiply(acc3, x[xi.w], g);
        }
    }
    shares[thread] = mat4x4<f32>(over_lanes(acc0), over_lanes(acc1), over_lanes(acc2), over_lanes(acc3));
    for (var others = 32u; others > 0u; others /= 2u) {
        workgroupBarrier();
        if (thread < others) {
            shares[thread] = shares[thread] + shares[thread + others];
        }
    }
    workgroupBarrier();
    let i = thread / 4u;
    let o = thread % 4u;
    if (thread < 16u && channel + i < params.in_channels && output + o < params.out_channels) {
        let taps = params.kernel_height * params.kernel_width;
        gw[((channel + i) * taps + tap) * params.out_channels + output + o] = shares[0][i][o];
    }
}

var<workgroup> sums: array<vec4<f32>, 64>;

// One workgroup per output.
@compute @workgroup_size(64, 1, 1)
fn bias_grad(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let plane = params.out_height * params.out_width * (params.lanes / 4u);
    var sum = vec4<f32>(0.0);
    for (var i = thread; i < plane; i += 64u) {
        sum += x[tile.x * plane + i];
    }
    sums[thread] = sum;
    for (var others = 32u; others > 0u; others /= 2u) {
        workgroupBarrier();
        if (thread < others) {
            sums[thread] = sums[thread] + sums[thread + others];
        }
    }
    workgroupBarrier();
    if (thread == 0u) {
        gb[tile.x] = dot(sums[0], vec4<f32>(1.0));
    }
}
