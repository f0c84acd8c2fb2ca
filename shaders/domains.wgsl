// Tables of domains from those of the boxes that they are parts of, and what a climb leaves; see src/ops/domains.rs.
//   spread:  from[home][word], home[lane] -> to[lane][word]
//   lines:   from[home][neuron], home[lane], steps[lane][neuron / 4] -> to[lane][neuron]     with the domain's own slopes
//   assume:  targets[slot][lane] -> table[lane][neuron]                                       the identity where a sign is assumed
//   slopes:  lines[lane][neuron] -> packed[lane][neuron / 4]
//   weakest: lines[lane][neuron], above[neuron][lane], z -> found[0: loss, 1: neuron][lane]

struct Params {
    // Words or neurons of a lane.
    elements: u32,
    lanes: u32,
    slots: u32,
}

const NONE: u32 = 0xffffffffu;
const INACTIVE: u32 = 0x80000000u;

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> words: array<u32>;
@group(0) @binding(2) var<storage, read> home: array<u32>;
@group(0) @binding(3) var<storage, read_write> to: array<u32>;

@group(0) @binding(1) var<storage, read> from_lines: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> steps: array<u32>;
@group(0) @binding(4) var<storage, read_write> to_lines: array<vec4<f32>>;

@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> table: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read_write> packed: array<u32>;

@group(0) @binding(2) var<storage, read> above: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read_write> found: array<u32>;

var<workgroup> losses: array<f32, 64>;
var<workgroup> neurons: array<u32, 64>;

@compute @workgroup_size(64, 1, 1)
fn spread(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    let own = home[i / params.elements];
    if (own == NONE) {
        to[i] = 0u;
    } else {
        to[i] = words[own * params.elements + i % params.elements];
    }
}

@compute @workgroup_size(64, 1, 1)
fn lines(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    let lane = i / params.elements;
    let neuron = i % params.elements;
    let own = home[lane];
    var line = vec4<f32>(0.0);
    if (own != NONE) {
        line = from_lines[own * params.elements + neuron];
    }
    // Of neurons that may have either sign alone.
    if (line.y > 0.0) {
        let four = steps[lane * ((params.elements + 3u) / 4u) + neuron / 4u];
        line.z = f32((four >> (8u * (neuron % 4u))) & 255u) / 255.0;
    }
    to_lines[i] = line;
}

@compute @workgroup_size(64, 1, 1)
fn assume(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.slots * params.lanes) {
        return;
    }
    if (targets[i] != NONE) {
        let at = (i % params.lanes) * params.elements + (targets[i] & ~INACTIVE);
        table[at] = vec4<f32>(1.0, 0.0, 1.0, table[at].w);
    }
}

@compute @workgroup_size(64, 1, 1)
fn slopes(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let fours = (params.elements + 3u) / 4u;
    if (i >= fours * params.lanes) {
        return;
    }
    let lane = i / fours;
    let first = 4u * (i % fours);
    var four = 0u;
    for (var k = 0u; k < 4u; k++) {
        if (first + k < params.elements) {
            let slope = from_lines[lane * params.elements + first + k].z;
            four |= u32(floor(clamp(slope, 0.0, 1.0) * 255.0 + 0.5)) << (8u * k);
        }
    }
    packed[i] = four;
}

// One workgroup for a lane.
@compute @workgroup_size(64, 1, 1)
fn weakest(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = group.x;
    var loss = 0.0;
    var neuron = NONE;
    for (var k = local.x; k < params.elements; k += 64u) {
        let line = from_lines[lane * params.elements + k];
        if (line.y > 0.0) {
            let a = above[k * params.lanes + lane];
            let value = z[k * params.lanes + lane];
            let own = select(a * (max(value, 0.0) - line.z * value), -a * line.y, a < 0.0);
            if (own > loss || neuron == NONE) {
                loss = own;
                neuron = k;
            }
        }
    }
    losses[local.x] = loss;
    neurons[local.x] = neuron;
    workgroupBarrier();
    if (local.x == 0u) {
        // The first among equals.
        for (var t = 1u; t < 64u; t++) {
            let larger = losses[t] > loss || (losses[t] == loss && neurons[t] < neuron);
            if (neurons[t] != NONE && (neuron == NONE || larger)) {
                loss = losses[t];
                neuron = neurons[t];
            }
        }
        found[lane] = bitcast<u32>(loss);
        found[params.lanes + lane] = neuron;
    }
}
