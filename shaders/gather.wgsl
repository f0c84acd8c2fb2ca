// Data movement: y[k] = x[index[k]] for every lane.
//   forward: x[sources][lanes], index[elements] -> y[elements][lanes]
// The index NOWHERE gives zero, or leaves y[k] as it is when `keep` is set.

struct Params {
    elements: u32,
    lanes: u32,
    keep: u32,
}

const NOWHERE: u32 = 0xffffffffu;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let quads = params.lanes / 4u;
    if (i >= params.elements * quads) {
        return;
    }
    let source = index[i / quads];
    if (source != NOWHERE) {
        y[i] = x[source * quads + i % quads];
    } else if (params.keep == 0u) {
        y[i] = vec4<f32>(0.0);
    }
}
