// Gaussian noise from a counter-based generator.
//   gaussian: x[elements][lanes], ids[lanes] -> y[elements][lanes]   y = x + sigma N(0, 1), clipped to [0, 1] if asked
// One Philox4x32-10 block (counter = elements / 4, image, draw, 0) gives the four normals of four consecutive elements.
// Logarithm and sine are polynomials of our own, so that the noise agrees between devices to about 1e-6.

struct Params {
    elements: u32,
    lanes: u32,
    seed_low: u32,
    seed_high: u32,
    draw: u32,
    clip: u32,
    sigma: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> ids: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

// High word of the 64-bit product, by 16-bit halves.
fn mul_high(a: u32, b: vec4<u32>) -> vec4<u32> {
    let a0 = vec4<u32>(a & 0xffffu);
    let a1 = vec4<u32>(a >> 16u);
    let b0 = b & vec4<u32>(0xffffu);
    let b1 = b >> vec4<u32>(16u);
    let low = a0 * b0;
    let cross = a1 * b0 + (low >> vec4<u32>(16u));
    let other = a0 * b1 + (cross & vec4<u32>(0xffffu));
    return a1 * b1 + (cross >> vec4<u32>(16u)) + (other >> vec4<u32>(16u));
}

struct Words {
    w0: vec4<u32>,
    w1: vec4<u32>,
    w2: vec4<u32>,
    w3: vec4<u32>,
}

fn philox(counter: Words) -> Words {
    var c = counter;
    var k0 = params.seed_low;
    var k1 = params.seed_high;
    for (var round = 0u; round < 10u; round++) {
        let h0 = mul_high(0xd2511f53u, c.w0);
        let l0 = c.w0 * 0xd2511f53u;
        let h1 = mul_high(0xcd9e8d57u, c.w2);
        let l1 = c.w2 * 0xcd9e8d57u;
        c = Words(h1 ^ c.w1 ^ vec4<u32>(k0), l1, h0 ^ c.w3 ^ vec4<u32>(k1), l0);
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    return c;
}

// -ln(n / 2^24) for integers 1 <= n <= 2^24: n = m 2^e with m in [sqrt(1/2), sqrt(2)).
fn minus_log(n: vec4<u32>) -> vec4<f32> {
    let shifted = bitcast<vec4<u32>>(vec4<f32>(n)) + vec4<u32>(0x3f800000u - 0x3f3504f3u);
    let e = vec4<f32>(vec4<i32>(shifted >> vec4<u32>(23u)) - vec4<i32>(127 + 24));
    let f = bitcast<vec4<f32>>((shifted & vec4<u32>(0x7fffffu)) + vec4<u32>(0x3f3504f3u)) - 1.0;
    var q = vec4<f32>(-0.07902744);
    q = q * f + 0.1262232;
    q = q * f - 0.12998184;
    q = q * f + 0.14214496;
    q = q * f - 0.16641281;
    q = q * f + 0.20001045;
    q = q * f - 0.25000306;
    q = q * f + 0.3333333;
    let log_m = f - f * f * (0.5 - f * q);
    return -(e * 0.6931472 + log_m);
}

struct Pair {
    a: vec4<f32>,
    b: vec4<f32>,
}

// Two independent normals from two words (Box and Muller 1958).
fn normals(first: vec4<u32>, second: vec4<u32>) -> Pair {
    let radius = sqrt(max(2.0 * minus_log((first >> vec4<u32>(8u)) + vec4<u32>(1u)), vec4<f32>(0.0)));
    // The angle is (quadrant + t) quarter turns with t in [-1/2, 1/2).
    let angle = second >> vec4<u32>(8u);
    let quadrant = (angle + vec4<u32>(1u << 21u)) >> vec4<u32>(22u);
    let t = vec4<f32>(vec4<i32>(angle) - vec4<i32>(quadrant << vec4<u32>(22u))) * 0x1p-22;
    let z = t * t;
    let sine = t * (1.5707963 + z * (-0.6459635 + z * (0.07968022 + z * -0.0046021492)));
    let cosine = 1.0 + z * (-1.2337005 + z * (0.2536692 + z * (-0.02086007 + z * 0.00090362807)));
    let odd = (quadrant & vec4<u32>(1u)) == vec4<u32>(1u);
    let flip_sin = (quadrant & vec4<u32>(2u)) == vec4<u32>(2u);
    let flip_cos = ((quadrant + vec4<u32>(1u)) & vec4<u32>(2u)) == vec4<u32>(2u);
    let c = select(cosine, sine, odd);
    let s = select(sine, cosine, odd);
    return Pair(radius * select(c, -c, flip_cos), radius * select(s, -s, flip_sin));
}

fn put(element: u32, quad: u32, noise: vec4<f32>) {
    if (element < params.elements) {
        let i = element * (params.lanes / 4u) + quad;
        let value = x[i] + params.sigma * noise;
        y[i] = select(value, clamp(value, vec4<f32>(0.0), vec4<f32>(1.0)), params.clip == 1u);
    }
}

@compute @workgroup_size(64, 1, 1)
fn gaussian(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    let quads = params.lanes / 4u;
    let group = i / quads;
    let quad = i % quads;
    if (group * 4u >= params.elements) {
        return;
    }
    let words = philox(Words(vec4<u32>(group), ids[quad], vec4<u32>(params.draw), vec4<u32>(0u)));
    let low = normals(words.w0, words.w1);
    let high = normals(words.w2, words.w3);
    put(group * 4u, quad, low.a);
    put(group * 4u + 1u, quad, low.b);
    put(group * 4u + 2u, quad, high.a);
    put(group * 4u + 3u, quad, high.b);
}
