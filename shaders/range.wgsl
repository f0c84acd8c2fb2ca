// Numbers beyond a magnitude are cleared, by their bits, so that infinities and NaN count as beyond everything. One
// thread per lane and slice of the elements.
//   values: -> x[element][lane], marks[slice][lane]     a lane that lost a value is marked
//   rows:   -> a[element][lane], sums[2 * slice][lane]  a row that lost a coefficient has an error of `lost` more

struct Params {
    elements: u32,
    lanes: u32,
    most: f32,
    lost: f32,
}

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read_write> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> marks: array<u32>;

@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

fn cleared(slice: u32, lane: u32) -> bool {
    let elements = slice_of(slice, params.elements);
    var lost = false;
    for (var k = elements.x; k < elements.y; k++) {
        let i = k * params.lanes + lane;
        if ((x[i] & MAGNITUDE) > bitcast<u32>(params.most)) {
            x[i] = 0u;
            lost = true;
        }
    }
    return lost;
}

@compute @workgroup_size(64, 1, 1)
fn values(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.lanes && cleared(id.y, id.x)) {
        marks[id.y * params.lanes + id.x] |= 1u;
    }
}

@compute @workgroup_size(64, 1, 1)
fn rows(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < params.lanes && cleared(id.y, id.x)) {
        let e = (2u * id.y + 1u) * params.lanes + id.x;
        sums[e] = raise_one(sums[e] + params.lost, 3u);
    }
}
