// Number of a thread in a grid of workgroups of 64 that was laid out by `ops::flat`: x first, then rows of x.
fn flat(id: vec3<u32>, groups: vec3<u32>) -> u32 {
    return id.y * groups.x * 64u + id.x;
}
