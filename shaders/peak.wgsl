// Multiply-adds in registers: the device's f32 peak.
//   multiply_add: -> out[lanes], 16 chains of vec4 per thread
//
// Eight chains at a time, four steps in a turn: else devices may copy registers between turns and the copies are
// what is measured.

struct Params {
    rounds: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;

// Columns are chains.
fn step(c: mat4x4<f32>, f: vec4<f32>, a: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(fma(c[0], f, a), fma(c[1], f, a), fma(c[2], f, a), fma(c[3], f, a));
}

// Where four neighbouring chains begin.
fn begin(first: f32) -> mat4x4<f32> {
    return mat4x4<f32>(vec4<f32>(first), vec4<f32>(first + 1.0), vec4<f32>(first + 2.0), vec4<f32>(first + 3.0));
}

fn total(c: mat4x4<f32>) -> vec4<f32> {
    return (c[0] + c[1]) + (c[2] + c[3]);
}

@compute @workgroup_size(64, 1, 1)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= arrayLength(&result)) {
        return;
    }
    let f = vec4<f32>(params.factor);
    let a = vec4<f32>(params.addend);
    var sum = vec4<f32>(0.0);
    for (var first = 0.0; first < 16.0; first += 8.0) {
        var near = begin(first);
        var far = begin(first + 4.0);
        var i = 0u;
        for (; i + 4u <= params.rounds; i += 4u) {
            for (var j = 0u; j < 4u; j++) {
                near = step(near, f, a);
                far = step(far, f, a);
            }
        }
        for (; i < params.rounds; i++) {
            near = step(near, f, a);
            far = step(far, f, a);
        }
        sum += total(near) + total(far);
    }
    result[id.x] = sum;
}
