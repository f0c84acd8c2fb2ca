// What kernels are told of a convolution, and eight channels by a few lanes of it in registers; `w` are its packed weights.

struct Params {
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    in_group: u32,
    out_group: u32,
    lanes: u32,
    zero: u32,
    block: u32,
    scale: f32,
    bias_error: f32,
    floor: f32,
    inflate: f32,
}

// Eight channels of four lanes, twice: two stretches of lanes, or centres and radii. Columns are channels.
struct Tile {
    near_a: mat4x4<f32>,
    near_b: mat4x4<f32>,
    far_a: mat4x4<f32>,
    far_b: mat4x4<f32>,
}

// Channels [first, end) on the other side that eight neighbours from `channel` on, of so many, have products with, where a
// group has so many channels on this side and on the other.
fn band(channel: u32, channels: u32, own: u32, other: u32) -> vec2<u32> {
    let last = min(channel + 7u, channels - 1u);
    return vec2<u32>(channel / own, last / own + 1u) * other;
}

// acc + x * transposed w
fn accumulate(acc: mat4x4<f32>, x: vec4<f32>, w: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(x, vec4<f32>(w.x), acc[0]),
        fma(x, vec4<f32>(w.y), acc[1]),
        fma(x, vec4<f32>(w.z), acc[2]),
        fma(x, vec4<f32>(w.w), acc[3]),
    );
}

// The sum of closed blocks plus one more.
fn close(total: mat4x4<f32>, block: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        total[0] + opaque(block[0]),
        total[1] + opaque(block[1]),
        total[2] + opaque(block[2]),
        total[3] + opaque(block[3]),
    );
}

fn close_tile(total: Tile, block: Tile) -> Tile {
    return Tile(
        close(total.near_a, block.near_a),
        close(total.near_b, block.near_b),
        close(total.far_a, block.far_a),
        close(total.far_b, block.far_b),
    );
}

fn position_lane(id: vec3<u32>, groups: vec3<u32>, columns: u32) -> vec2<u32> {
    let i = flat(id, groups);
    return vec2<u32>(i / columns, i % columns);
}

fn weights(i: u32) -> vec4<f32> {
    if (params.out_channels % 4u == 0u) {
        return w[i / 4u];
    }
    let j = vec4<u32>(i, i + 1u, i + 2u, i + 3u);
    return vec4<f32>(w[j.x / 4u][j.x % 4u], w[j.y / 4u][j.y % 4u], w[j.z / 4u][j.z % 4u], w[j.w / 4u][j.w % 4u]);
}
