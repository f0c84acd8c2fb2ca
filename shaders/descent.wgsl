// Steps of projected gradient descent and what they find; see src/ops/descent/. Values are [element][lane], a lane a point.
//   step_in_ball: gradient, radius[lane] -> momentum, x                       sixteen points by sixteen parts
//   pull:         centre, radius[lane] -> x, distance[lane]                   the same
//   step_in_box:  gradient, low, high -> momentum, x                          the same
//   judge:        logits, classes[2][lane], distance[lane], slot[lane] -> seed, found[3][lane], which[lane]
//   take:         from, which[lane] -> to                                     lanes of slot `number`
//   resize:       which[lane], found[3][lane] -> radius[lane]

struct Params {
    elements: u32,
    lanes: u32,
    euclidean: u32,
    number: u32,
    share: f32,
    over: f32,
}

const NONE: u32 = 0xffffffffu;
const LEAST: f32 = 7.888609052210118e-31; // 2^-100
const WITHIN: f32 = 0.9998779296875; // 1 - 2^-13

@group(0) @binding(0) var<uniform> params: Params;

// step_in_ball
@group(0) @binding(1) var<storage, read> ball_gradient: array<f32>;
@group(0) @binding(2) var<storage, read> ball_radius: array<f32>;
@group(0) @binding(3) var<storage, read_write> ball_momentum: array<f32>;
@group(0) @binding(4) var<storage, read_write> ball_x: array<f32>;

// pull
@group(0) @binding(1) var<storage, read> centre: array<f32>;
@group(0) @binding(2) var<storage, read> radius: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> distance_to: array<f32>;

// step_in_box
@group(0) @binding(1) var<storage, read> box_gradient: array<f32>;
@group(0) @binding(2) var<storage, read> low: array<f32>;
@group(0) @binding(3) var<storage, read> high: array<f32>;
@group(0) @binding(4) var<storage, read_write> box_momentum: array<f32>;
@group(0) @binding(5) var<storage, read_write> box_x: array<f32>;

// judge
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> classes: array<u32>;
@group(0) @binding(3) var<storage, read> distances: array<f32>;
@group(0) @binding(4) var<storage, read> slot: array<u32>;
@group(0) @binding(5) var<storage, read_write> seed: array<f32>;
@group(0) @binding(6) var<storage, read_write> found: array<u32>;
@group(0) @binding(7) var<storage, read_write> which: array<u32>;

// take
@group(0) @binding(1) var<storage, read> taken: array<f32>;
@group(0) @binding(2) var<storage, read> taken_which: array<u32>;
@group(0) @binding(3) var<storage, read_write> taken_to: array<f32>;

// resize
@group(0) @binding(1) var<storage, read> resize_which: array<u32>;
@group(0) @binding(2) var<storage, read> resize_found: array<f32>;
@group(0) @binding(3) var<storage, read_write> resize_radius: array<f32>;

var<workgroup> parts: array<f32, 256>;

// The sum over all parts of a point.
fn total(own: f32, thread: vec3<u32>) -> f32 {
    parts[thread.y * 16u + thread.x] = own;
    workgroupBarrier();
    var sum = 0.0;
    for (var part = 0u; part < 16u; part++) {
        sum += parts[part * 16u + thread.x];
    }
    workgroupBarrier();
    return sum;
}

fn largest(own: f32, thread: vec3<u32>) -> f32 {
    parts[thread.y * 16u + thread.x] = own;
    workgroupBarrier();
    var most = 0.0;
    for (var part = 0u; part < 16u; part++) {
        most = max(most, parts[part * 16u + thread.x]);
    }
    workgroupBarrier();
    return most;
}

// How far a pixel takes part in a direction: not beyond its ends.
fn free(value: f32, direction: f32) -> f32 {
    let stuck = (value <= 0.0 && direction < 0.0) || (value >= 1.0 && direction > 0.0);
    return select(direction, 0.0, stuck);
}

@compute @workgroup_size(16, 16, 1)
fn step_in_ball(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    var magnitude = 0.0;
    for (var k = thread.y; k < params.elements; k += 16u) {
        magnitude += abs(ball_gradient[k * params.lanes + id.x]);
    }
    let size = max(total(magnitude, thread), 1.17549435e-38);
    let length = ball_radius[id.x] * params.share / params.over;
    var square = 0.0;
    for (var k = thread.y; k < params.elements; k += 16u) {
        let i = k * params.lanes + id.x;
        let m = 0.75 * ball_momentum[i] + ball_gradient[i] / size;
        ball_momentum[i] = m;
        if (params.euclidean == 0u) {
            ball_x[i] = ball_x[i] + length * sign(m);
        } else {
            let part = free(ball_x[i], m);
            square += part * part;
        }
    }
    if (params.euclidean == 1u) {
        let share = length / max(sqrt(total(square, thread)), LEAST);
        for (var k = thread.y; k < params.elements; k += 16u) {
            let i = k * params.lanes + id.x;
            ball_x[i] = ball_x[i] + share * free(ball_x[i], ball_momentum[i]);
        }
    }
}

// How far a point is from its centre.
fn apart(lane: u32, thread: vec3<u32>) -> f32 {
    var square = 0.0;
    var most = 0.0;
    for (var k = thread.y; k < params.elements; k += 16u) {
        let change = x[k * params.lanes + lane] - centre[k * params.lanes + lane];
        square += change * change;
        most = max(most, abs(change));
    }
    if (params.euclidean == 1u) {
        return sqrt(total(square, thread));
    }
    return largest(most, thread);
}

@compute @workgroup_size(16, 16, 1)
fn pull(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let r = radius[id.x];
    var share = 1.0;
    if (params.euclidean == 1u) {
        share = min(r / max(apart(id.x, thread), LEAST), 1.0);
    }
    for (var k = thread.y; k < params.elements; k += 16u) {
        let i = k * params.lanes + id.x;
        let c = centre[i];
        let near = select(clamp(x[i], c - r, c + r), c + share * (x[i] - c), params.euclidean == 1u);
        x[i] = clamp(near, 0.0, 1.0);
    }
    let far = apart(id.x, thread);
    if (thread.y == 0u) {
        distance_to[id.x] = far;
    }
}

@compute @workgroup_size(16, 16, 1)
fn step_in_box(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    var magnitude = 0.0;
    for (var k = thread.y; k < params.elements; k += 16u) {
        let i = k * params.lanes + id.x;
        magnitude += abs(box_gradient[i]) * (0.5 * (high[i] - low[i]));
    }
    let size = max(total(magnitude, thread), 1.17549435e-38);
    for (var k = thread.y; k < params.elements; k += 16u) {
        let i = k * params.lanes + id.x;
        let half = 0.5 * (high[i] - low[i]);
        let m = 0.75 * box_momentum[i] + box_gradient[i] * half / size;
        box_momentum[i] = m;
        box_x[i] = clamp(box_x[i] + half * params.share / params.over * sign(m), low[i], high[i]);
    }
}

@compute @workgroup_size(64, 1, 1)
fn judge(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let own = classes[lane];
    let goal = classes[params.lanes + lane];
    var first = 0u;
    var rival = min(select(0u, 1u, own == 0u), params.elements - 1u);
    for (var k = 0u; k < params.elements; k++) {
        let logit = logits[k * params.lanes + lane];
        first = select(first, k, logit > logits[first * params.lanes + lane]);
        rival = select(rival, k, k != own && logit > logits[rival * params.lanes + lane]);
    }
    rival = select(goal, rival, goal == NONE);
    for (var k = 0u; k < params.elements; k++) {
        seed[k * params.lanes + lane] = select(select(0.0, 1.0, k == rival), -1.0, k == own);
    }
    // The centre itself has its class, whatever f32 says.
    let far = distances[lane];
    let hit = first != own && far > 0.0;
    let nearer = hit && far < bitcast<f32>(found[lane]);
    if (nearer) {
        found[lane] = bitcast<u32>(far);
        found[params.lanes + lane] = params.number;
    }
    if (hit) {
        found[2u * params.lanes + lane] = 1u;
    }
    which[lane] = select(NONE, slot[lane], nearer);
}

@compute @workgroup_size(64, 1, 1)
fn take(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.elements * params.lanes && taken_which[i % params.lanes] == params.number) {
        taken_to[i] = taken[i];
    }
}

@compute @workgroup_size(64, 1, 1)
fn resize(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let nearest = resize_found[lane];
    let smaller = nearest * (1.0 - params.share);
    let larger = min(resize_radius[lane] * (1.0 + params.share), nearest * WITHIN);
    resize_radius[lane] = select(larger, smaller, resize_which[lane] != NONE);
}
