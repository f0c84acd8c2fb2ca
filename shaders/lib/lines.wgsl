// The value at z of the line that a row with this coefficient uses. Lines are an entry of a relaxation table: upper slope,
// upper intercept, lower slope, magnitude.
fn line_at(lines: vec4<f32>, z: f32, coefficient: f32) -> f32 {
    return select(lines.z * z, lines.x * z + lines.y, coefficient < 0.0);
}
