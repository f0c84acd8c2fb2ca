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

@compute @workgroup_size(64, 1, 1)
fn multiply_add(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= arrayLength(&result)) {
        return;
    }
    let f = vec4<f32>(params.factor);
    let a = vec4<f32>(params.addend);
    var sum = vec4<f32>(0.0);
    for (var first = 0.0; first < 16.0; first += 8.0) {
        var c0 = vec4<f32>(first + 0.0);
        var c1 = vec4<f32>(first + 1.0);
        var c2 = vec4<f32>(first + 2.0);
        var c3 = vec4<f32>(first + 3.0);
        var c4 = vec4<f32>(first + 4.0);
        var c5 = vec4<f32>(first + 5.0);
        var c6 = vec4<f32>(first + 6.0);
        var c7 = vec4<f32>(first + 7.0);
        var i = 0u;
        for (; i + 4u <= params.rounds; i += 4u) {
            for (var j = 0u; j < 4u; j++) {
                c0 = fma(c0, f, a);
                c1 = fma(c1, f, a);
                c2 = fma(c2, f, a);
                c3 = fma(c3, f, a);
                c4 = fma(c4, f, a);
                c5 = fma(c5, f, a);
                c6 = fma(c6, f, a);
                c7 = fma(c7, f, a);
            }
        }
        for (; i < params.rounds; i++) {
            c0 = fma(c0, f, a);
            c1 = fma(c1, f, a);
            c2 = fma(c2, f, a);
            c3 = fma(c3, f, a);
            c4 = fma(c4, f, a);
            c5 = fma(c5, f, a);
            c6 = fma(c6, f, a);
            c7 = fma(c7, f, a);
        }
        sum += ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7));
    }
    result[id.x] = sum;
}
