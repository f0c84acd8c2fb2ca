// Rows of linear lower bounds where they end, over ellipsoids. Rows are lanes, see src/ops/linear/; one thread per row, or
// per coefficient.
//   ellipsoid:  a, centre[image][element], radius[image], rows, sums, axes[image][element] -> result[3][lane]
//   farthest:   a, centre[image][element], radius[image], rows, result[3][lane], axes -> x, like a

// More than what squares lose to flushing, and enough for a square root of a normal number.
const SQUARES_LOST: f32 = 8.077936e-28; // 2^-90
// Reaches are no larger.
const FARTHEST: f32 = 1e12;

@group(0) @binding(0) var<uniform> params: Params;

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> centre: array<f32>;
@group(0) @binding(3) var<storage, read> radius: array<f32>;
@group(0) @binding(4) var<storage, read> rows: array<u32>;
// Half axes towards smaller and larger values.
@group(0) @binding(6) var<storage, read> axes: array<vec2<f32>>;

// ellipsoid
@group(0) @binding(5) var<storage, read> sums: array<f32>;
@group(0) @binding(7) var<storage, read_write> form: array<f32>;

// farthest
@group(0) @binding(5) var<storage, read> farthest_form: array<f32>;
@group(0) @binding(7) var<storage, read_write> farthest_x: array<f32>;

// The half axis along which a coefficient makes the row fall.
fn half_axis(at: u32, coefficient: f32) -> f32 {
    let axis = axes[at];
    return select(axis.y, axis.x, coefficient > 0.0);
}

@compute @workgroup_size(64, 1, 1)
fn ellipsoid(@builtin(global_invocation_id) id: vec3<u32>) {
    let lane = id.x;
    if (lane >= params.lanes) {
        return;
    }
    let place = place_of(rows[lane], rows[params.lanes + lane], rows[2u * params.lanes + lane]);
    let n = window_size();
    var total = vec3<f32>(0.0);
    var k = 0u;
    var spot = spot_of(k);
    while (k < n) {
        let end = min(k + params.block, n);
        var part = vec3<f32>(0.0);
        for (; k < end; k++) {
            let i = element_at(place, k, spot);
            spot = next(spot);
            if (i != NONE) {
                let coefficient = a[k * params.lanes + lane];
                let c = centre[place.table + i];
                let step = coefficient * half_axis(place.table + i, coefficient);
                part += vec3<f32>(coefficient * c, abs(coefficient) * abs(c), step * step);
            }
        }
        total += opaque(vec4<f32>(part, 0.0)).xyz;
    }
    // A lower bound of the row at the centre, and an upper one of its norm in units of the axes.
    let sum = gathered(lane);
    let rounding = up(4.0 * params.unit * (abs(total.x) + abs(sum.x)));
    let error = up(up(sum.y + rounding) + up(params.g * (1.0 + 2.0 * params.g) * total.y));
    let base = down(down(total.x + sum.x) - error);
    let norm = up(sqrt(total.z + SQUARES_LOST) * (1.0 + params.g + 16.0 * params.unit));
    var reach = 0.0;
    if (base > 0.0) {
        reach = FARTHEST;
        if (base < norm * FARTHEST) {
            reach = base * CAUTION / norm;
        }
    }
    form[lane] = down(base - up(radius[rows[lane]] * norm));
    form[params.lanes + lane] = reach;
    form[2u * params.lanes + lane] = norm;
}

@compute @workgroup_size(64, 1, 1)
fn farthest(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat(id, groups);
    if (i >= params.lanes * window_size()) {
        return;
    }
    let lane = i % params.lanes;
    let place = place_of(rows[lane], rows[params.lanes + lane], rows[2u * params.lanes + lane]);
    let at = element(place, i / params.lanes);
    var x = 0.0;
    if (at != NONE) {
        let axis = half_axis(place.table + at, a[i]);
        let share = a[i] * axis / farthest_form[2u * params.lanes + lane];
        x = clamp(centre[place.table + at] - radius[rows[lane]] * axis * share, 0.0, 1.0);
    }
    farthest_x[i] = x;
}
