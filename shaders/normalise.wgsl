// Batch normalisation while a network learns. Values are [channel][position][lane], `moments` [2][channel]: means, and
// variances. Sums over values of a channel are of all positions and the first `count` lanes.
//   moments:   x -> moments, running                           of the values; running means of both move by `share`
//   place:     gamma, beta, moments -> scale, shift, size      [channel][position] each; size = |scale|
//   gradients: gy, x, moments, gamma -> by_gamma, by_beta      added; with `radius` of radii, whose map has no shift
//   backward:  gy, x, moments, gamma, by_gamma, by_beta -> gx  through the moments too

struct Params {
    channels: u32,
    plane: u32,
    lanes: u32,
    count: u32,
    radius: u32,
    share: f32,
}

// Added to variances.
const EPSILON: f32 = 0.00001;

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> new_moments: array<f32>;
@group(0) @binding(3) var<storage, read_write> running: array<f32>;

@group(0) @binding(1) var<storage, read> place_gamma: array<f32>;
@group(0) @binding(2) var<storage, read> place_beta: array<f32>;
@group(0) @binding(3) var<storage, read> place_moments: array<f32>;
@group(0) @binding(4) var<storage, read_write> scale: array<f32>;
@group(0) @binding(5) var<storage, read_write> shift: array<f32>;
@group(0) @binding(6) var<storage, read_write> size: array<f32>;

@group(0) @binding(1) var<storage, read> gy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> moments_of_x: array<f32>;
@group(0) @binding(4) var<storage, read> gamma: array<f32>;
@group(0) @binding(5) var<storage, read_write> by_gamma: array<f32>;
@group(0) @binding(6) var<storage, read_write> by_beta: array<f32>;

@group(0) @binding(5) var<storage, read> sum_by_gamma: array<f32>;
@group(0) @binding(6) var<storage, read> sum_by_beta: array<f32>;
@group(0) @binding(7) var<storage, read_write> gx: array<vec4<f32>>;

var<workgroup> shares: array<vec4<f32>, 64>;

// The sum over all threads of a workgroup.
fn total(thread: u32, share: vec4<f32>) -> f32 {
    workgroupBarrier();
    shares[thread] = share;
    for (var others = 32u; others > 0u; others /= 2u) {
        workgroupBarrier();
        if (thread < others) {
            shares[thread] = shares[thread] + shares[thread + others];
        }
    }
    workgroupBarrier();
    return dot(shares[0], vec4<f32>(1.0));
}

// Which of four lanes hold images.
fn used(quad: u32) -> vec4<bool> {
    return vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.count);
}

// One workgroup per channel.
@compute @workgroup_size(64, 1, 1)
fn moments(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let quads = params.lanes / 4u;
    let n = params.plane * quads;
    let first = group.x * n;
    var sum = vec4<f32>(0.0);
    for (var i = thread; i < n; i += 64u) {
        sum += select(vec4<f32>(0.0), values[first + i], used(i % quads));
    }
    let number = f32(params.plane * params.count);
    let mean = total(thread, sum) / number;
    var squares = vec4<f32>(0.0);
    for (var i = thread; i < n; i += 64u) {
        let off = select(vec4<f32>(0.0), values[first + i] - mean, used(i % quads));
        squares += off * off;
    }
    let variance = total(thread, squares) / number;
    if (thread == 0u) {
        let second = params.channels + group.x;
        new_moments[group.x] = mean;
        new_moments[second] = variance;
        running[group.x] += params.share * (mean - running[group.x]);
        running[second] += params.share * (variance * (number / max(number - 1.0, 1.0)) - running[second]);
    }
}

@compute @workgroup_size(64, 1, 1)
fn place(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.channels * params.plane) {
        let channel = i / params.plane;
        let factor = place_gamma[channel] / sqrt(place_moments[params.channels + channel] + EPSILON);
        scale[i] = factor;
        shift[i] = place_beta[channel] - place_moments[channel] * factor;
        size[i] = abs(factor);
    }
}

// One workgroup per channel.
@compute @workgroup_size(64, 1, 1)
fn gradients(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let n = params.plane * (params.lanes / 4u);
    let first = group.x * n;
    let mean = select(moments_of_x[group.x], 0.0, params.radius != 0u);
    var plain = vec4<f32>(0.0);
    var weighted = vec4<f32>(0.0);
    for (var i = thread; i < n; i += 64u) {
        let g = gy[first + i];
        plain += g;
        weighted += g * (x[first + i] - mean);
    }
    let beta = total(thread, plain);
    let raw = total(thread, weighted) / sqrt(moments_of_x[params.channels + group.x] + EPSILON);
    if (thread == 0u) {
        if (params.radius != 0u) {
            by_gamma[group.x] += sign(gamma[group.x]) * raw;
        } else {
            by_gamma[group.x] += raw;
            by_beta[group.x] += beta;
        }
    }
}

@compute @workgroup_size(64, 1, 1)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let quads = params.lanes / 4u;
    if (i >= params.channels * params.plane * quads) {
        return;
    }
    let channel = i / (params.plane * quads);
    let steep = 1.0 / sqrt(moments_of_x[params.channels + channel] + EPSILON);
    let normal = steep * (x[i] - moments_of_x[channel]);
    let through = (sum_by_beta[channel] + normal * sum_by_gamma[channel]) / f32(params.plane * params.count);
    gx[i] = select(vec4<f32>(0.0), steep * gamma[channel] * (gy[i] - through), used(i % quads));
}
