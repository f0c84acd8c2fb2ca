// Elements are shared out among slices, so that few lanes still keep many threads busy.

const SLICES: u32 = 8u;

// First and one past the last of `n` elements in a slice.
fn slice_of(slice: u32, n: u32) -> vec2<u32> {
    let share = (n + SLICES - 1u) / SLICES;
    return min(vec2<u32>(slice, slice + 1u) * share, vec2<u32>(n));
}
