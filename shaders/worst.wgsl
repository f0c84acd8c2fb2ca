// The last layer over intervals of its inputs, folded with the question which class wins: of the rivals of each lane's
// label, the logits as far above the label's as the radii allow.
//   raise_rivals: z[classes], r[inputs], w, labels -> v[classes]    v_k = z_k + sum_i |w_ik - w_iy| r_i
//   radius_grad:  g[classes], w, labels -> gr[inputs]               gr_i = sum_k g_k |w_ik - w_iy|
//   weight_grad:  g[classes], r[inputs], w, labels -> gw            gw += the gradient of those sums
// Values are [..][lane], w and gw [input][class], y the label of a lane.

struct Params {
    inputs: u32,
    classes: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read> r: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<f32>;
@group(0) @binding(4) var<storage, read> labels: array<u32>;
@group(0) @binding(5) var<storage, read_write> v: array<f32>;

@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> grad_w: array<f32>;
@group(0) @binding(3) var<storage, read> grad_labels: array<u32>;
@group(0) @binding(4) var<storage, read_write> gr: array<f32>;

@group(0) @binding(5) var<storage, read_write> gw: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn raise_rivals(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.classes * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let rival = i / params.lanes;
    let label = labels[lane];
    var sum = 0.0;
    for (var k = 0u; k < params.inputs; k++) {
        sum += abs(w[k * params.classes + rival] - w[k * params.classes + label]) * r[k * params.lanes + lane];
    }
    v[i] = z[i] + sum;
}

@compute @workgroup_size(64, 1, 1)
fn radius_grad(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.inputs * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    let row = i / params.lanes * params.classes;
    let own = grad_w[row + grad_labels[lane]];
    var sum = 0.0;
    for (var rival = 0u; rival < params.classes; rival++) {
        sum += g[rival * params.lanes + lane] * abs(grad_w[row + rival] - own);
    }
    gr[i] = sum;
}

@compute @workgroup_size(64, 1, 1)
fn weight_grad(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.inputs * params.classes) {
        return;
    }
    let output = i % params.classes;
    let input = i / params.classes;
    let row = input * params.classes;
    var sum = 0.0;
    for (var lane = 0u; lane < params.lanes; lane++) {
        let label = labels[lane];
        // A weight of the label's takes part in the difference to every rival's.
        let all = label == output;
        var slope = 0.0;
        for (var rival = select(output, 0u, all); rival < select(output + 1u, params.classes, all); rival++) {
            slope += g[rival * params.lanes + lane] * sign(w[row + rival] - w[row + label]);
        }
        sum += select(slope, -slope, all) * r[input * params.lanes + lane];
    }
    gw[i] = gw[i] + sum;
}
