// Which neurons have rows of their own, and what becomes of the bounds of those; see src/ops/targets/. Values are
// [element][lane], elements in the order of places and then channels; rows are [4][row]: image, row, column, channel.
//   ends:      centre, radius, marks[slice][lane] -> lower, upper    both zero where nothing is known
//   count:     lower, upper -> counts[lane][slice]                   targets of a lane in a slice of the elements
//   offsets:   counts, total[1]                                      how many come before; one workgroup
//   list:      lower, upper, centre, counts -> list[2][capacity]     image; neuron, negated where the centre is below zero
//   place:     list, total -> rows
//   unit:      rows -> a[channel][row]                               one at the row's channel
//   put:       bounds[row], rows -> lower, upper, faults[1]
//   undecided: bounds, rows -> which[row], total                     rows whose bound is not above zero, the last one repeated
//                                                              to fill its block; one workgroup
//   narrow:    list, total, lower, upper -> centre, radius, faults
//   less:      rows, magnitude -> bounds                             less `share` of the neurons' magnitudes
//   most:      other[row] -> bounds                                  the larger of two
//   margins:   class[image] -> a[output][row], rows[3]               rows of all margins

struct Params {
    channels: u32,
    height: u32,
    width: u32,
    lanes: u32,
    images: u32,
    capacity: u32,
    first: u32,
    rows: u32,
    count: u32,
    every: u32,
    flip: u32,
    share: f32,
}

const NEGATED: u32 = 0x80000000u;
const NONE: u32 = 0xffffffffu;
// Faults: a bound that is no number, a lower end above the upper one.
const NOT_FINITE: u32 = 1u;
const CROSSED: u32 = 2u;
const INFINITE: u32 = 0x7f800000u;

@group(0) @binding(0) var<uniform> params: Params;

// ends
@group(0) @binding(1) var<storage, read> ends_centre: array<f32>;
@group(0) @binding(2) var<storage, read> ends_radius: array<f32>;
@group(0) @binding(3) var<storage, read> marks: array<u32>;
@group(0) @binding(4) var<storage, read_write> ends_lower: array<f32>;
@group(0) @binding(5) var<storage, read_write> ends_upper: array<f32>;

// count and list
@group(0) @binding(1) var<storage, read> low_ends: array<f32>;
@group(0) @binding(2) var<storage, read> high_ends: array<f32>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
@group(0) @binding(3) var<storage, read> list_centre: array<f32>;
@group(0) @binding(4) var<storage, read> list_offsets: array<u32>;
@group(0) @binding(5) var<storage, read_write> list: array<u32>;

// offsets
@group(0) @binding(1) var<storage, read_write> offsets: array<u32>;
@group(0) @binding(2) var<storage, read_write> offsets_total: array<u32>;

// place and narrow
@group(0) @binding(1) var<storage, read> listed: array<u32>;
@group(0) @binding(2) var<storage, read> total: array<u32>;
@group(0) @binding(3) var<storage, read_write> placed: array<u32>;
@group(0) @binding(3) var<storage, read> narrow_lower: array<f32>;
@group(0) @binding(4) var<storage, read> narrow_upper: array<f32>;
@group(0) @binding(5) var<storage, read_write> centre: array<f32>;
@group(0) @binding(6) var<storage, read_write> radius: array<f32>;
@group(0) @binding(7) var<storage, read_write> narrow_faults: array<atomic<u32>>;

// put and undecided
@group(0) @binding(1) var<storage, read> bounds: array<u32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> put_lower: array<f32>;
@group(0) @binding(4) var<storage, read_write> put_upper: array<f32>;
@group(0) @binding(5) var<storage, read_write> faults: array<atomic<u32>>;
@group(0) @binding(3) var<storage, read_write> which: array<u32>;
@group(0) @binding(4) var<storage, read_write> which_total: array<u32>;

// unit, less, most, margins
@group(0) @binding(1) var<storage, read> own_rows: array<u32>;
@group(0) @binding(2) var<storage, read_write> unit_a: array<f32>;
@group(0) @binding(2) var<storage, read> magnitude: array<f32>;
@group(0) @binding(3) var<storage, read_write> less_bounds: array<f32>;
@group(0) @binding(1) var<storage, read> other: array<u32>;
@group(0) @binding(2) var<storage, read_write> most_bounds: array<u32>;
@group(0) @binding(1) var<storage, read> class_of: array<u32>;
@group(0) @binding(2) var<storage, read_write> margin_a: array<f32>;
@group(0) @binding(3) var<storage, read_write> margin_rows: array<u32>;

var<workgroup> parts: array<u32, 256>;

fn plane() -> u32 {
    return params.height * params.width;
}

fn elements() -> u32 {
    return params.channels * plane();
}

// Where the value's element number `t` of a lane stands.
fn at(t: u32, lane: u32) -> u32 {
    return (t % params.channels * plane() + t / params.channels) * params.lanes + lane;
}

fn wanted(low: f32, high: f32) -> bool {
    return (low < 0.0 && high > 0.0) || (params.every == 1u && low < high);
}

@compute @workgroup_size(64, 1, 1)
fn ends_of(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= elements() * params.lanes) {
        return;
    }
    let lane = i % params.lanes;
    var known = lane < params.images;
    for (var s = 0u; s < SLICES; s++) {
        known = known && marks[s * params.lanes + lane] == 0u;
    }
    let both = ends(ends_centre[i], ends_radius[i]);
    ends_lower[i] = select(0.0, both.x, known);
    ends_upper[i] = select(0.0, both.y, known);
}

@compute @workgroup_size(64, 1, 1)
fn count(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let slice = slice_of(id.y, elements());
    var found = 0u;
    for (var t = slice.x; t < slice.y; t++) {
        let i = at(t, lane);
        found += select(0u, 1u, wanted(low_ends[i], high_ends[i]));
    }
    counts[lane * SLICES + id.y] = found;
}

// The sum of what threads before this one bring.
fn before(thread: u32, own: u32) -> u32 {
    parts[thread] = own;
    workgroupBarrier();
    var sum = 0u;
    for (var i = 0u; i < thread; i++) {
        sum += parts[i];
    }
    return sum;
}

@compute @workgroup_size(256, 1, 1)
fn offsets_of(@builtin(local_invocation_index) thread: u32) {
    let n = params.lanes * SLICES;
    let share = (n + 255u) / 256u;
    let first = min(thread * share, n);
    let end = min(first + share, n);
    var own = 0u;
    for (var i = first; i < end; i++) {
        own += offsets[i];
    }
    var sum = before(thread, own);
    for (var i = first; i < end; i++) {
        let here = offsets[i];
        offsets[i] = sum;
        sum += here;
    }
    if (thread == 255u) {
        offsets_total[0] = sum;
    }
}

@compute @workgroup_size(64, 1, 1)
fn list_of(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let slice = slice_of(id.y, elements());
    var to = list_offsets[lane * SLICES + id.y];
    for (var t = slice.x; t < slice.y; t++) {
        let i = at(t, lane);
        if (wanted(low_ends[i], high_ends[i])) {
            if (to < params.capacity) {
                list[to] = lane;
                list[params.capacity + to] = (i / params.lanes) | select(0u, NEGATED, list_centre[i] < 0.0);
            }
            to++;
        }
    }
}

@compute @workgroup_size(64, 1, 1)
fn place(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= params.rows) {
        return;
    }
    let n = min(total[0], params.capacity);
    let t = params.first + row;
    var image = 0u;
    var neuron = 0u;
    if (n > 0u) {
        image = listed[min(t, n - 1u)];
        neuron = listed[params.capacity + min(t, n - 1u)];
    }
    let element = neuron & ~NEGATED;
    placed[row] = image;
    placed[params.rows + row] = element % plane() / params.width;
    placed[2u * params.rows + row] = element % params.width;
    let channel = (element / plane()) | ((neuron & NEGATED) ^ params.flip);
    placed[3u * params.rows + row] = select(NONE, channel, t < n && row < params.count);
}

@compute @workgroup_size(64, 1, 1)
fn unit(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.channels * params.rows) {
        return;
    }
    let wanted = own_rows[3u * params.rows + i % params.rows];
    let mine = wanted != NONE && (wanted & ~NEGATED) == i / params.rows;
    unit_a[i] = select(0.0, select(1.0, -1.0, (wanted & NEGATED) != 0u), mine);
}

// Where the neuron of a row stands.
fn neuron_at(image: u32, y: u32, x: u32, channel: u32) -> u32 {
    return (((channel & ~NEGATED) * params.height + y) * params.width + x) * params.lanes + image;
}

@compute @workgroup_size(64, 1, 1)
fn put(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= params.count) {
        return;
    }
    let channel = rows[3u * params.rows + row];
    if (channel == NONE) {
        return;
    }
    let i = neuron_at(rows[row], rows[params.rows + row], rows[2u * params.rows + row], channel);
    if ((bounds[row] & INFINITE) == INFINITE) {
        atomicOr(&faults[0], NOT_FINITE);
        return;
    }
    let bound = bitcast<f32>(bounds[row]);
    if ((channel & NEGATED) != 0u) {
        put_upper[i] = min(put_upper[i], -bound);
    } else {
        put_lower[i] = max(put_lower[i], bound);
    }
}

fn is_undecided(row: u32) -> bool {
    return rows[3u * params.rows + row] != NONE && !(bitcast<f32>(bounds[row]) > 0.0);
}

@compute @workgroup_size(256, 1, 1)
fn undecided(@builtin(local_invocation_index) thread: u32) {
    let share = (params.count + 255u) / 256u;
    let first = min(thread * share, params.count);
    let end = min(first + share, params.count);
    var own = 0u;
    for (var row = first; row < end; row++) {
        own += select(0u, 1u, is_undecided(row));
    }
    var to = before(thread, own);
    for (var row = first; row < end; row++) {
        if (is_undecided(row)) {
            which[to] = row;
            to++;
        }
    }
    storageBarrier();
    if (thread == 255u) {
        which_total[0] = to;
        let padded = min((to + 15u) / 16u * 16u, params.rows);
        for (var row = to; row < padded; row++) {
            which[row] = which[to - 1u];
        }
    }
}

@compute @workgroup_size(64, 1, 1)
fn narrow(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let t = flat(id, groups);
    if (t >= min(total[0], params.capacity)) {
        return;
    }
    let i = (listed[params.capacity + t] & ~NEGATED) * params.lanes + listed[t];
    let low = narrow_lower[i];
    let high = narrow_upper[i];
    let old = ends(centre[i], radius[i]);
    if (params.every == 0u && low <= old.x && high >= old.y) {
        return;
    }
    if (low > high) {
        atomicOr(&narrow_faults[0], CROSSED);
        return;
    }
    let middle = settle(vec4<f32>(0.5 * (low + high))).x;
    let around = raise_one(max(high - middle, middle - low), 2u);
    centre[i] = middle;
    radius[i] = raise_one(around + params.share * abs(middle), 3u);
}

@compute @workgroup_size(64, 1, 1)
fn less(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= params.count || own_rows[3u * params.rows + row] == NONE) {
        return;
    }
    let r = params.rows;
    let i = neuron_at(own_rows[row], own_rows[r + row], own_rows[2u * r + row], own_rows[3u * r + row]);
    less_bounds[row] = lower_one(less_bounds[row] - raise_one(params.share * magnitude[i], 2u), 2u);
}

@compute @workgroup_size(64, 1, 1)
fn most(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= params.rows) {
        return;
    }
    let larger = bitcast<f32>(other[row]) > bitcast<f32>(most_bounds[row]);
    // A fault must not hide behind the larger of two.
    if (larger || (other[row] & INFINITE) == INFINITE) {
        most_bounds[row] = other[row];
    }
}

@compute @workgroup_size(64, 1, 1)
fn margins(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= params.rows) {
        return;
    }
    let rivals = params.channels - 1u;
    let used = row < params.count;
    let image = select(0u, (params.first + row) / rivals, used);
    let class_ = class_of[image];
    var rival = (params.first + row) % rivals;
    rival += select(0u, 1u, rival >= class_);
    for (var k = 0u; k < params.channels; k++) {
        let sign = select(0.0, 1.0, k == class_) - select(0.0, 1.0, k == rival);
        margin_a[k * params.rows + row] = select(0.0, sign, used);
    }
    margin_rows[row] = image;
    margin_rows[params.rows + row] = 0u;
    margin_rows[2u * params.rows + row] = 0u;
}
