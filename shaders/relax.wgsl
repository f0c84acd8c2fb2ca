// Tables for rows of linear bounds; one workgroup turns a tile of sixteen elements by sixteen lanes.
//   relu:            centre[element][lane], radius, extra -> table[lane][element]    lines over and under max(z, 0)
//   transpose_lanes: values[element][lane] -> turned[lane][element]
//   magnitude:       centre, radius -> size[element][lane]                    at least |z|, elementwise

struct Params {
    elements: u32,
    lanes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> centre: array<f32>;
@group(0) @binding(2) var<storage, read> radius: array<f32>;
@group(0) @binding(3) var<storage, read> extra: array<f32>;
@group(0) @binding(4) var<storage, read_write> table: array<vec4<f32>>;

@group(0) @binding(2) var<storage, read_write> turned: array<f32>;
@group(0) @binding(3) var<storage, read_write> size: array<f32>;

// Seventeen to a row, so that neither a row nor a column meets one memory bank only.
var<workgroup> lines: array<vec4<f32>, 272>;
var<workgroup> values: array<f32, 272>;

// Upper slope, upper intercept, lower slope, room for the magnitude. Any slopes in [0,1] are sound: the intercept is rounded up to suit.
fn relu_lines(range: vec2<f32>) -> vec4<f32> {
    let low = range.x;
    let high = range.y;
    if (high <= 0.0) {
        return vec4<f32>(0.0);
    }
    if (low >= 0.0) {
        return vec4<f32>(1.0, 0.0, 1.0, 0.0);
    }
    let slope = clamp(high / (high - low), 0.0, 1.0);
    let intercept = max(raise_one(-slope * low, 2u), raise_one(high - lower_one(slope * high, 2u), 2u));
    return vec4<f32>(slope, intercept, select(0.0, 1.0, high > -low), 0.0);
}

@compute @workgroup_size(16, 16, 1)
fn relu(
    @builtin(workgroup_id) tile: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if (id.y < params.elements) {
        let i = id.y * params.lanes + id.x;
        var entry = relu_lines(ends(centre[i], radius[i]));
        entry.w = extra[i];
        lines[local.y * 17u + local.x] = entry;
    }
    workgroupBarrier();
    let element = tile.y * 16u + local.x;
    if (element < params.elements) {
        table[(tile.x * 16u + local.y) * params.elements + element] = lines[local.x * 17u + local.y];
    }
}

@compute @workgroup_size(16, 16, 1)
fn transpose_lanes(
    @builtin(workgroup_id) tile: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(global_invocation_id) id: vec3<u32>,
) {
    if (id.y < params.elements) {
        values[local.y * 17u + local.x] = centre[id.y * params.lanes + id.x];
    }
    workgroupBarrier();
    let element = tile.y * 16u + local.x;
    if (element < params.elements) {
        turned[(tile.x * 16u + local.y) * params.elements + element] = values[local.x * 17u + local.y];
    }
}

@compute @workgroup_size(64, 1, 1)
fn magnitude(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.elements) {
        size[i] = raise_one(abs(centre[i]) + radius[i], 2u);
    }
}
