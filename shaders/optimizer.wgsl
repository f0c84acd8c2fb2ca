// Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019).
//   adam: grad[len] -> param[len], m[len], v[len]

struct Params {
    len: u32,
    // Step size over the bias correction of m.
    rate: f32,
    // 1 / bias correction of v.
    correct_v: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    // Share of the parameter that remains: 1 - rate * decay.
    remains: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> grad: array<f32>;
@group(0) @binding(2) var<storage, read_write> param: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn adam(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.len) {
        return;
    }
    let moment = moments(m[i], v[i], grad[i]);
    m[i] = moment.x;
    v[i] = moment.y;
    param[i] = params.remains * param[i] - adam_step(params.rate, moment);
}
