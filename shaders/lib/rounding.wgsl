// Outward rounding by integer steps on the bit pattern: holds under either rounding, with flushed subnormals and
// through reassociation. Same arithmetic as src/rounding.rs. Subnormals are told by their bits, for a comparison of
// floats may flush them.

const MAGNITUDE: u32 = 0x7fffffffu;
const LARGEST_SUBNORMAL: u32 = 0x7fffffu;
const TINY_BITS: u32 = 0x0d800000u; // 2^-100
const RAISED_BITS: u32 = 0x0e000000u; // 2^-99

fn magnitude_bits(x: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(x) & vec4<u32>(MAGNITUDE);
}

fn is_zero(x: vec4<f32>) -> vec4<bool> {
    return magnitude_bits(x) == vec4<u32>(0u);
}

fn is_subnormal(x: vec4<f32>) -> vec4<bool> {
    return magnitude_bits(x) - vec4<u32>(1u) < vec4<u32>(LARGEST_SUBNORMAL);
}

// At least x plus `steps` units in the last place; 2^-99 where |x| < 2^-100.
fn raise(x: vec4<f32>, steps: u32) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let moved = select(bits - vec4<u32>(steps), bits + vec4<u32>(steps), bits <= vec4<u32>(MAGNITUDE));
    return bitcast<vec4<f32>>(select(moved, vec4<u32>(RAISED_BITS), magnitude_bits(x) < vec4<u32>(TINY_BITS)));
}

fn lower(x: vec4<f32>, steps: u32) -> vec4<f32> {
    return -raise(-x, steps);
}

fn raise_one(x: f32, steps: u32) -> f32 {
    return raise(vec4<f32>(x), steps).x;
}

fn lower_one(x: f32, steps: u32) -> f32 {
    return lower(vec4<f32>(x), steps).x;
}

// Ends of centre +- radius, rounded outward.
fn ends(centre: f32, radius: f32) -> vec2<f32> {
    return vec2<f32>(lower_one(centre - radius, 2u), raise_one(centre + radius, 2u));
}

// x, or zero where it is subnormal.
fn settle(x: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(select(bitcast<vec4<u32>>(x), vec4<u32>(0u), is_subnormal(x)));
}

// Radius around settle(centre) that still covers centre +- radius; never subnormal.
fn settle_radius(centre: vec4<f32>, radius: vec4<f32>) -> vec4<f32> {
    return select(radius, raise(radius, 1u), is_subnormal(centre) | is_subnormal(radius));
}

// radius + share * |centre|, rounded up; exactly the radius where there is nothing to add.
fn inflated(radius: vec4<f32>, centre: vec4<f32>, share: f32) -> vec4<f32> {
    let nothing = is_zero(centre) | is_zero(vec4<f32>(share));
    return select(raise(radius + share * abs(centre), 3u), radius, nothing);
}
