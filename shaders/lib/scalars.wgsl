// One number at a time: what `opaque` hides, and rounding outward by more than the rounding of what made it.

fn opaque_one(x: f32) -> f32 {
    return opaque(vec4<f32>(x)).x;
}

fn up(x: f32) -> f32 {
    return raise_one(x, 3u);
}

fn down(x: f32) -> f32 {
    return lower_one(x, 3u);
}
