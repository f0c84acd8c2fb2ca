// The part of a layer that a row of linear bounds sees (`linear::Window`), by the sizes in `params`. Rows hold
// [3][lane]: image, row and column of the neuron.

const NONE: u32 = 0xffffffffu;

// Where a row's window lies, and where its image's table starts.
struct Place {
    table: u32,
    y: i32,
    x: i32,
}

fn layer_size() -> u32 {
    return params.channels * params.height * params.width;
}

fn window_size() -> u32 {
    return params.channels * params.size_y * params.size_x;
}

// The window is the whole layer.
fn is_dense() -> bool {
    return params.step_y == 0u && params.step_x == 0u;
}

fn place_of(image: u32, row: u32, column: u32) -> Place {
    let y = i32(row) * i32(params.step_y) - params.offset_y;
    let x = i32(column) * i32(params.step_x) - params.offset_x;
    return Place(image * layer_size(), y, x);
}

// Index in the layer of element k of a window; NONE outside the layer.
fn element(place: Place, k: u32) -> u32 {
    return element_at(place, k, spot_of(k));
}

// Column, row and channel in a window of its element k. Loops go from one to the next: dividing for every element takes
// longer than what is done with it.
fn spot_of(k: u32) -> vec3<u32> {
    if (is_dense()) {
        return vec3<u32>(0u);
    }
    return vec3<u32>(k % params.size_x, k / params.size_x % params.size_y, k / (params.size_y * params.size_x));
}

// That of the next element.
fn next(spot: vec3<u32>) -> vec3<u32> {
    let x = spot.x + 1u;
    let y = spot.y + 1u;
    if (x < params.size_x) {
        return vec3<u32>(x, spot.yz);
    }
    return select(vec3<u32>(0u, 0u, spot.z + 1u), vec3<u32>(0u, y, spot.z), y < params.size_y);
}

// `element` k, which is at this spot of the window.
fn element_at(place: Place, k: u32, spot: vec3<u32>) -> u32 {
    if (is_dense()) {
        return k;
    }
    let y = u32(place.y + i32(spot.y));
    let x = u32(place.x + i32(spot.x));
    return select(NONE, (spot.z * params.height + y) * params.width + x, y < params.height && x < params.width);
}
