// Multiply-adds in registers: the device's f32 peak.
//   multiply_add: -> out[lanes], 16 chains of vec4 per thread

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
    var c0 = vec4<f32>(0.0);
    var c1 = vec4<f32>(1.0);
    var c2 = vec4<f32>(2.0);
    var c3 = vec4<f32>(3.0);
    var c4 = vec4<f32>(4.0);
    var c5 = vec4<f32>(5.0);
    var c6 = vec4<f32>(6.0);
    var c7 = vec4<f32>(7.0);
    var c8 = vec4<f32>(8.0);
    var c9 = vec4<f32>(9.0);
    var c10 = vec4<f32>(10.0);
    var c11 = vec4<f32>(11.0);
    var c12 = vec4<f32>(12.0);
    var c13 = vec4<f32>(13.0);
    var c14 = vec4<f32>(14.0);
    var c15 = vec4<f32>(15.0);
    for (var i = 0u; i < params.rounds; i++) {
        c0 = fma(c0, f, a);
        c1 = fma(c1, f, a);
        c2 = fma(c2, f, a);
        c3 = fma(c3, f, a);
        c4 = fma(c4, f, a);
        c5 = fma(c5, f, a);
        c6 = fma(c6, f, a);
        c7 = fma(c7, f, a);
        c8 = fma(c8, f, a);
        c9 = fma(c9, f, a);
        c10 = fma(c10, f, a);
        c11 = fma(c11, f, a);
        c12 = fma(c12, f, a);
        c13 = fma(c13, f, a);
        c14 = fma(c14, f, a);
        c15 = fma(c15, f, a);
    }
    result[id.x] = ((c0 + c1) + (c2 + c3)) + ((c4 + c5) + (c6 + c7)) + (((c8 + c9) + (c10 + c11)) + ((c12 + c13) + (c14 + c15)));
}
