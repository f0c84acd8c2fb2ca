// Signs assumed for neurons, with multipliers. Lane i of the boxes is one box; see src/ops/signs.rs.
//   assume: rows[lane], target[slot][box], beta -> a[element][lane]      what a row may ask of such neurons
//   follow: z[element][box], target[slot][box] -> y[element][box]      what the neurons let through
//   climb:  a[element][box], z, target -> y, beta[slot][box], m, v
//           the same, and one step of Adam on the multipliers

struct Params {
    // Lanes of `a`.
    lanes: u32,
    // Lanes of the boxes.
    boxes: u32,
    slots: u32,
    // Step size over the bias correction of m.
    rate: f32,
    // 1 / bias correction of v.
    correct_v: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
}

const NONE: u32 = 0xffffffffu;
const INACTIVE: u32 = 0x80000000u;
// Largest multiplier.
const MOST: f32 = 1024.0;

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> rows: array<u32>;
@group(0) @binding(2) var<storage, read> assumed: array<u32>;
@group(0) @binding(3) var<storage, read> multiplier: array<f32>;
@group(0) @binding(4) var<storage, read_write> coefficient: array<f32>;

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> z: array<f32>;
@group(0) @binding(3) var<storage, read> target_of: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> beta: array<f32>;
@group(0) @binding(6) var<storage, read_write> m: array<f32>;
@group(0) @binding(7) var<storage, read_write> v: array<f32>;

@group(0) @binding(1) var<storage, read> value: array<f32>;
@group(0) @binding(2) var<storage, read> sign_of: array<u32>;
@group(0) @binding(3) var<storage, read_write> through: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn assume(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let box = rows[lane];
    for (var slot = 0u; slot < params.slots; slot++) {
        let entry = assumed[slot * params.boxes + box];
        if (entry == NONE) {
            continue;
        }
        let at = (entry & ~INACTIVE) * params.lanes + lane;
        let b = multiplier[slot * params.boxes + box];
        coefficient[at] = select(coefficient[at] - b, b, (entry & INACTIVE) != 0u);
    }
}

@compute @workgroup_size(64, 1, 1)
fn follow(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.boxes) {
        return;
    }
    for (var slot = 0u; slot < params.slots; slot++) {
        let entry = sign_of[slot * params.boxes + lane];
        if (entry != NONE) {
            let at = (entry & ~INACTIVE) * params.boxes + lane;
            through[at] = select(value[at], 0.0, (entry & INACTIVE) != 0u);
        }
    }
}

@compute @workgroup_size(64, 1, 1)
fn climb(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.boxes) {
        return;
    }
    for (var slot = 0u; slot < params.slots; slot++) {
        let i = slot * params.boxes + lane;
        let entry = target_of[i];
        if (entry == NONE) {
            continue;
        }
        let at = (entry & ~INACTIVE) * params.boxes + lane;
        let inactive = (entry & INACTIVE) != 0u;
        y[at] = select(z[at], 0.0, inactive);
        let moment = moments(m[i], v[i], limited(select(-z[at], z[at], inactive)));
        m[i] = moment.x;
        v[i] = moment.y;
        beta[i] = clamp(beta[i] + adam_step(params.rate * abs(a[at]), moment), 0.0, MOST);
    }
}
