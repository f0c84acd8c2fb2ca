// Rows of linear lower bounds over sets from which a half-space is cut: a row leans on the form that is at most zero there.
// Rows are lanes and see whole layers, see src/ops/cut.rs.
//   least: a, centre[image][element], radius, rows, sums, form[image][element], words[image][3] -> result[row]
//          what each is at least, and after that, if there is room, how much it leans; one thread per row
//   lean:  result, centre, radius, rows, form, words -> a, sums    one thread per row and slice of the elements

// Weights tried at once, in two halves, and how often.
const WAYS: u32 = 8u;
const PASSES: u32 = 2u;
// Of the first weights, each to the one before, and the first to the one that would balance row and form.
const SPREAD: f32 = 4.0;
const LIGHTEST: f32 = 0.00390625;
// No weight is larger, so that no product overflows.
const HEAVIEST: f32 = 1e12;

@group(0) @binding(0) var<uniform> params: Params;

// least
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> centre: array<f32>;
@group(0) @binding(3) var<storage, read> radius: array<f32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
@group(0) @binding(5) var<storage, read> sums: array<f32>;
@group(0) @binding(6) var<storage, read> form: array<f32>;
// Constant of the form; what it is at the centre; how far it falls from there at most.
@group(0) @binding(7) var<storage, read> words: array<f32>;
@group(0) @binding(8) var<storage, read_write> result: array<f32>;

// lean
@group(0) @binding(1) var<storage, read> leaning: array<f32>;
@group(0) @binding(2) var<storage, read> lean_centre: array<f32>;
@group(0) @binding(3) var<storage, read> lean_radius: array<f32>;
@group(0) @binding(4) var<storage, read> lean_rows: array<u32>;
@group(0) @binding(5) var<storage, read> lean_form: array<f32>;
@group(0) @binding(6) var<storage, read> lean_words: array<f32>;
@group(0) @binding(7) var<storage, read_write> lean_a: array<f32>;
@group(0) @binding(8) var<storage, read_write> lean_sums: array<f32>;

// How far a row falls from its value at the centre that leans so much, for two times four weights.
fn falls(lane: u32, table: u32, ways: array<vec4<f32>, 2>) -> array<vec4<f32>, 2> {
    var fall = array<vec4<f32>, 2>(vec4<f32>(0.0), vec4<f32>(0.0));
    for (var k = 0u; k < layer_size(); k++) {
        let coefficient = vec4<f32>(a[k * params.lanes + lane]);
        let r = radius[table + k];
        let h = form[table + k];
        fall[0] += abs(coefficient + ways[0] * h) * r;
        fall[1] += abs(coefficient + ways[1] * h) * r;
    }
    return fall;
}

fn fall_by(lane: u32, table: u32, way: f32) -> f32 {
    var fall = 0.0;
    for (var k = 0u; k < layer_size(); k++) {
        fall += abs(a[k * params.lanes + lane] + way * form[table + k]) * radius[table + k];
    }
    return fall;
}

// The best weight so far between its neighbours, each with what it comes to, which rises up to the best and then falls.
struct Top {
    low: vec2<f32>,
    best: vec2<f32>,
    high: vec2<f32>,
}

fn tried(top: Top, way: vec2<f32>) -> Top {
    var next = top;
    if (way.y > top.best.y) {
        if (way.x > top.best.x) {
            next.low = top.best;
            // None yet, if the best was the last.
            if (top.high.x <= way.x) {
                next.high = way;
            }
        } else {
            next.high = top.best;
        }
        next.best = way;
    } else if (way.x > top.best.x && (top.high.x <= top.best.x || way.x < top.high.x)) {
        next.high = way;
    } else if (way.x < top.best.x && way.x > top.low.x) {
        next.low = way;
    }
    return next;
}

// Where the parabola through all three is highest.
fn vertex(top: Top) -> f32 {
    let left = (top.best.y - top.low.y) * (top.high.x - top.best.x);
    let right = (top.best.y - top.high.y) * (top.best.x - top.low.x);
    if (!(left + right > 0.0)) {
        return top.best.x;
    }
    return 0.5 * (left * (top.best.x + top.high.x) + right * (top.low.x + top.best.x)) / (left + right);
}

// The weight by which a row is about largest where it is least.
fn weight_of(lane: u32) -> f32 {
    let table = rows[lane] * layer_size();
    let middle = words[3u * rows[lane] + 1u];
    let fall = words[3u * rows[lane] + 2u];
    // Nothing leans on a form that is constant.
    if (!(fall > 0.0)) {
        return 0.0;
    }
    let own = fall_by(lane, table, 0.0);
    let none = vec2<f32>(0.0, -own);
    var top = Top(none, none, none);
    for (var pass_ = 0u; pass_ < PASSES; pass_++) {
        var ways = array<vec4<f32>, 2>(vec4<f32>(0.0), vec4<f32>(0.0));
        var way = min(LIGHTEST * own / fall, HEAVIEST / 65536.0);
        for (var j = 0u; j < WAYS; j++) {
            if (pass_ > 0u) {
                way = top.low.x + (top.high.x - top.low.x) * (f32(j + 1u) / f32(WAYS + 1u));
            }
            ways[j / 4u][j % 4u] = way;
            way *= SPREAD;
        }
        let fallen = falls(lane, table, ways);
        for (var j = 0u; j < WAYS; j++) {
            let here = ways[j / 4u][j % 4u];
            top = tried(top, vec2<f32>(here, here * middle - fallen[j / 4u][j % 4u]));
        }
    }
    // A row of few elements has kinks that no parabola follows.
    let last = vertex(top);
    return select(top.best.x, last, last * middle - fall_by(lane, table, last) > top.best.y);
}

@compute @workgroup_size(64, 1, 1)
fn least(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let weight = weight_of(lane);
    let table = rows[lane] * layer_size();
    var dot = 0.0;
    var span = 0.0;
    var k = 0u;
    while (k < layer_size()) {
        let end = min(k + params.block, layer_size());
        var part = vec2<f32>(0.0);
        for (; k < end; k++) {
            let more = weight * form[table + k];
            let coefficient = a[k * params.lanes + lane] + more;
            let c = centre[table + k];
            let r = radius[table + k];
            part.x += coefficient * c;
            // Roundings of the product with the centre, and of the coefficient itself.
            let off = params.g * abs(c) + 4.0 * params.unit * (abs(c) + r);
            part.y += abs(coefficient) * (r + off) + abs(more) * off;
        }
        dot += opaque_one(part.x);
        span += opaque_one(part.y);
    }
    let sum = gathered(lane);
    let constant = weight * words[3u * rows[lane]];
    let fall = up(up(span * (1.0 + 3.0 * params.g)) + sum.y);
    let rounding = up(8.0 * params.unit * (abs(dot) + abs(sum.x) + abs(constant)));
    result[lane] = down(down(down(dot + sum.x) + constant) - up(fall + rounding));
    if (params.charge > 0.0) {
        result[params.lanes + lane] = weight;
    }
}

@compute @workgroup_size(64, 1, 1)
fn lean(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let own = leaning[params.lanes + lane];
    let image = lean_rows[lane];
    let table = image * layer_size();
    let slice = slice_of(id.y, layer_size());
    var size = 0.0;
    var k = slice.x;
    while (k < slice.y) {
        let end = min(k + params.block, slice.y);
        var part = 0.0;
        for (; k < end; k++) {
            let more = own * lean_form[table + k];
            let sum = lean_a[k * params.lanes + lane] + more;
            lean_a[k * params.lanes + lane] = sum;
            part += (abs(sum) + abs(more)) * (abs(lean_centre[table + k]) + lean_radius[table + k]);
        }
        size += opaque_one(part);
    }
    // Two roundings of each coefficient, against the largest values that it is over.
    let error = up(up(4.0 * params.unit * size) * (1.0 + 2.0 * params.g));
    let c = 2u * id.y * params.lanes + lane;
    let e = c + params.lanes;
    let more = select(0.0, own * lean_words[3u * image], id.y == 0u);
    let sum = lean_sums[c] + more;
    lean_sums[c] = sum;
    lean_sums[e] = up(up(lean_sums[e] + error) + up(4.0 * params.unit * (abs(sum) + abs(more))));
}
