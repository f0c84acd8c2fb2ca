// Activations by tables of short lines, see src/ops/activation/. Values are [element][lane].
//   forward:  curves, x -> y
//   backward: curves, x, gy -> gx
//   interval: curves, xc, xr -> yc, yr
//   relax:    curves, xc, xr, size -> lines[lane][element], feet[lane][element]    a line above, a line below, and `size`
//   follow:   a, z, lines, feet, rows -> y    the line that a row with coefficients a uses, whose image is rows[lane]
//
// Table: a head of four words per curve (first segment, segments, error of slopes, steepest slope), then segments of
// eight (start, anchor, value, slope; below, above, bend, last segment of the piece).

struct Params {
    elements: u32,
    lanes: u32,
    // Curves in the table, and values that share one where there are several.
    curves: u32,
    plane: u32,
    inflate: f32,
    unit: f32,
}

const HALVINGS: u32 = 16u;
const PIECES: u32 = 16u;
const STEPS: u32 = 12u;
// A tangent is left for a chord that is this much lower: less is the table's own error.
const NEARER: f32 = 7.62939453125e-6; // 2^-17

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec4<u32>>;

@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> gy: array<f32>;
@group(0) @binding(4) var<storage, read_write> gx: array<f32>;

@group(0) @binding(2) var<storage, read> xc: array<f32>;
@group(0) @binding(3) var<storage, read> xr: array<f32>;
@group(0) @binding(4) var<storage, read_write> yc: array<f32>;
@group(0) @binding(5) var<storage, read_write> yr: array<f32>;

@group(0) @binding(4) var<storage, read> size: array<f32>;
@group(0) @binding(5) var<storage, read_write> lines: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> feet: array<f32>;

@group(0) @binding(1) var<storage, read> follow_a: array<f32>;
@group(0) @binding(3) var<storage, read> follow_lines: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> follow_feet: array<f32>;
@group(0) @binding(5) var<storage, read> follow_rows: array<u32>;
@group(0) @binding(6) var<storage, read_write> follow_y: array<f32>;

struct Curve {
    first: u32,
    count: u32,
    slope_error: f32,
    steepest: f32,
}

// Where a function less a line is highest, and how high at most.
struct Top {
    height: f32,
    at: f32,
}

fn curve_of(element: u32) -> Curve {
    let c = select(element / params.plane, 0u, params.curves == 1u);
    let head = table[c];
    // Heads fill whole segments.
    let heads = (params.curves + 1u) / 2u;
    return Curve(heads + head.x, head.y, bitcast<f32>(head.z), bitcast<f32>(head.w));
}

fn front(c: Curve, j: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(table[2u * (c.first + j)]);
}

fn back(c: Curve, j: u32) -> vec4<u32> {
    return table[2u * (c.first + j) + 1u];
}

fn last_of(c: Curve, j: u32) -> u32 {
    return back(c, j).w;
}

// The last segment that begins at or before v.
fn find(c: Curve, v: f32) -> u32 {
    var low = 0u;
    var high = c.count;
    for (var i = 0u; i < HALVINGS && high - low > 1u; i++) {
        let middle = (low + high) / 2u;
        if (front(c, middle).x <= v) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

fn on_line(s: vec4<f32>, v: f32) -> f32 {
    return s.z + s.w * (v - s.y);
}

// At least side * (f(v) - slope * v), v being in segment j.
fn height(c: Curve, j: u32, v: f32, slope: f32, side: f32) -> f32 {
    let s = front(c, j);
    let gaps = bitcast<vec2<f32>>(back(c, j).xy);
    let gap = select(gaps.x, gaps.y, side > 0.0);
    let more = abs(s.z) + abs(s.w) * (abs(v) + abs(s.y)) + abs(slope * v) + gap;
    return raise_one(side * (on_line(s, v) - slope * v) + gap + 8.0 * params.unit * more, 4u);
}

fn higher(top: Top, c: Curve, j: u32, v: f32, slope: f32, side: f32) -> Top {
    let h = height(c, j, v, slope, side);
    if (h > top.height) {
        return Top(h, v);
    }
    return top;
}

// The highest that side * (f(v) - slope * v) gets for v in [low, high], which begin in segments j and end in last.
fn highest(c: Curve, low: f32, high: f32, from_segment: u32, to_segment: u32, slope: f32, side: f32) -> Top {
    var top = higher(Top(-3.0e38, low), c, from_segment, low, slope, side);
    var j = from_segment;
    for (var piece = 0u; piece < PIECES && j <= to_segment; piece++) {
        let last = min(last_of(c, j), to_segment);
        let a = max(low, front(c, j).x);
        let b = min(high, front(c, last + 1u).x);
        top = higher(top, c, j, a, slope, side);
        top = higher(top, c, last, b, slope, side);
        if (bitcast<f32>(back(c, j).z) * side < 0.0) {
            // Bends the other way: highest where slopes of segments pass that of the line.
            var k = j;
            var end = last + 1u;
            for (var i = 0u; i < HALVINGS && k < end; i++) {
                let middle = (k + end) / 2u;
                if (side * front(c, middle).w > side * slope) {
                    k = middle + 1u;
                } else {
                    end = middle;
                }
            }
            let left = select(k - 1u, j, k == j);
            let right = min(k, last);
            top = higher(top, c, left, clamp(front(c, left).x, a, b), slope, side);
            top = higher(top, c, left, clamp(front(c, left + 1u).x, a, b), slope, side);
            top = higher(top, c, right, clamp(front(c, right).x, a, b), slope, side);
            top = higher(top, c, right, clamp(front(c, right + 1u).x, a, b), slope, side);
        }
        j = last + 1u;
    }
    top.height = raise_one(top.height + c.slope_error * (high - low), 4u);
    return top;
}

// The function's slope at v in segment j, between those of the segments around it: lines follow ranges smoothly.
fn slope_at(c: Curve, j: u32, v: f32) -> f32 {
    let s = front(c, j);
    let end = front(c, j + 1u);
    let last = last_of(c, j);
    let middle = 0.5 * s.x + 0.5 * end.x;
    if (v < middle && j > 0u && last_of(c, max(j, 1u) - 1u) == last) {
        let before = front(c, j - 1u);
        let m = 0.5 * before.x + 0.5 * s.x;
        return before.w + (s.w - before.w) * ((v - m) / (middle - m));
    }
    if (v >= middle && j < last) {
        let m = 0.5 * end.x + 0.5 * front(c, j + 2u).x;
        return s.w + (end.w - s.w) * ((v - middle) / (m - middle));
    }
    return s.w;
}

// Slope and constant of a line on this side of the function over [low, high], near it in the middle.
fn line_over(c: Curve, low: f32, high: f32, side: f32) -> vec2<f32> {
    let from_segment = find(c, low);
    let to_segment = find(c, high);
    let middle = clamp(0.5 * low + 0.5 * high, low, high);
    let centre = find(c, middle);
    let bend = bitcast<f32>(back(c, from_segment).z);
    let tangent = slope_at(c, centre, middle);
    if (from_segment == to_segment || (last_of(c, from_segment) == last_of(c, to_segment) && bend * side < 0.0)) {
        let top = highest(c, low, high, from_segment, to_segment, tangent, side);
        return vec2<f32>(tangent, side * top.height);
    }
    var left = vec2<f32>(low, on_line(front(c, from_segment), low));
    var right = vec2<f32>(high, on_line(front(c, to_segment), high));
    var best = vec2<f32>(0.0);
    var least = 3.0e38;
    for (var i = 0u; i <= STEPS; i++) {
        var slope = tangent;
        if (i > 0u) {
            slope = clamp((right.y - left.y) / (right.x - left.x), -c.steepest, c.steepest);
        }
        let top = highest(c, low, high, from_segment, to_segment, slope, side);
        let there = top.height + side * slope * middle;
        if (there < least) {
            least = there - select(0.0, NEARER, i == 0u);
            best = vec2<f32>(slope, side * top.height);
        }
        if (i > 0u) {
            if (!(top.at > left.x && top.at < right.x)) {
                break;
            }
            let point = vec2<f32>(top.at, on_line(front(c, find(c, top.at)), top.at));
            if (top.at < middle) {
                left = point;
            } else {
                right = point;
            }
        }
    }
    return best;
}

@compute @workgroup_size(64, 1, 1)
fn forward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.elements * params.lanes) {
        let c = curve_of(i / params.lanes);
        y[i] = on_line(front(c, find(c, x[i])), x[i]);
    }
}

@compute @workgroup_size(64, 1, 1)
fn backward(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.elements * params.lanes) {
        let c = curve_of(i / params.lanes);
        gx[i] = gy[i] * front(c, find(c, x[i])).w;
    }
}

// The ends of an interval, which is settled first.
fn settled_ends(i: u32) -> vec2<f32> {
    let centre = settle(vec4<f32>(xc[i]));
    let radius = settle_radius(vec4<f32>(xc[i]), vec4<f32>(xr[i]));
    let low = lower(centre - radius, 1u).x;
    let high = raise(centre + radius, 1u).x;
    if (radius.x == 0.0) {
        return vec2<f32>(centre.x);
    }
    return vec2<f32>(low, high);
}

@compute @workgroup_size(64, 1, 1)
fn interval(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    let c = curve_of(i / params.lanes);
    let range = settled_ends(i);
    let from_segment = find(c, range.x);
    let to_segment = find(c, range.y);
    let high = highest(c, range.x, range.y, from_segment, to_segment, 0.0, 1.0).height;
    let low = -highest(c, range.x, range.y, from_segment, to_segment, 0.0, -1.0).height;
    let centre = settle(vec4<f32>(0.5 * low + 0.5 * high));
    let radius = raise(vec4<f32>(max(high - centre.x, centre.x - low)), 3u);
    yc[i] = centre.x;
    yr[i] = inflated(radius, centre, params.inflate).x;
}

@compute @workgroup_size(64, 1, 1)
fn relax(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.elements * params.lanes) {
        return;
    }
    let element = i / params.lanes;
    let c = curve_of(element);
    let range = settled_ends(i);
    let above = line_over(c, range.x, range.y, 1.0);
    let below = line_over(c, range.x, range.y, -1.0);
    let at = i % params.lanes * params.elements + element;
    lines[at] = vec4<f32>(above.x, above.y, below.x, size[i]);
    feet[at] = below.y;
}

@compute @workgroup_size(64, 1, 1)
fn follow(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i < params.elements * params.lanes) {
        let at = follow_rows[i % params.lanes] * params.elements + i / params.lanes;
        let l = follow_lines[at];
        follow_y[i] = select(l.z * x[i] + follow_feet[at], l.x * x[i] + l.y, follow_a[i] < 0.0);
    }
}
