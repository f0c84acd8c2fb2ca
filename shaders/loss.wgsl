// Softmax cross-entropy.
//   softmax_cross_entropy: logits[classes][lanes], labels[lanes], weights[lanes] -> loss[lanes], grad[classes][lanes]
// loss = weight (ln(sum exp(z)) - z_label); grad = share weight (softmax(z) - onehot) / count. Both are zero from lane
// `count` on.

struct Params {
    classes: u32,
    lanes: u32,
    count: u32,
    share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> labels: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> loss: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> grad: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn softmax_cross_entropy(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let quad = flat(id, groups);
    let quads = params.lanes / 4u;
    if (quad >= quads) {
        return;
    }
    let label = labels[quad];
    let used = vec4<u32>(quad * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.count);
    var top = logits[quad];
    for (var k = 1u; k < params.classes; k++) {
        top = max(top, logits[k * quads + quad]);
    }
    var sum = vec4<f32>(0.0);
    var own = vec4<f32>(0.0);
    for (var k = 0u; k < params.classes; k++) {
        let z = logits[k * quads + quad] - top;
        sum += exp(z);
        own = select(own, z, label == vec4<u32>(k));
    }
    loss[quad] = select(vec4<f32>(0.0), weights[quad] * (log(sum) - own), used);
    let share = params.share * weights[quad];
    for (var k = 0u; k < params.classes; k++) {
        let chance = exp(logits[k * quads + quad] - top) / sum;
        let hot = select(vec4<f32>(0.0), vec4<f32>(1.0), label == vec4<u32>(k));
        grad[k * quads + quad] = select(vec4<f32>(0.0), share * ((chance - hot) / f32(params.count)), used);
    }
}
