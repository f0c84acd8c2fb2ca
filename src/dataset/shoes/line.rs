//! Curves as dense polylines, in shoe units: a foot is 100 long with the toe at x = 0, the ground is y = 0, y points up.

/// A point or a vector.
pub type P = (f32, f32);
/// An open curve or a closed outline.
pub type Line = Vec<P>;

/// Points drawn for every span of a curve.
const STEPS: usize = 7;

/// A smooth curve through all points (Hermite, tangents weighted by the spans beside them, so it hardly overshoots).
pub fn curve(points: &[P]) -> Line {
    let n = points.len();
    if n < 3 {
        return points.to_vec();
    }
    let span = |i: usize| distance(points[i], points[i + 1]).max(1e-3);
    let slope = |i: usize| {
        let d = span(i);
        ((points[i + 1].0 - points[i].0) / d, (points[i + 1].1 - points[i].1) / d)
    };
    let inner = |i: usize| {
        let (a, b) = (span(i - 1), span(i));
        let (s, t) = (slope(i - 1), slope(i));
        ((s.0 * b + t.0 * a) / (a + b), (s.1 * b + t.1 * a) / (a + b))
    };
    let tangent = |i: usize| match i {
        0 => {
            let (s, m) = (slope(0), inner(1));
            (1.5 * s.0 - 0.5 * m.0, 1.5 * s.1 - 0.5 * m.1)
        }
        i if i == n - 1 => {
            let (s, m) = (slope(n - 2), inner(n - 2));
            (1.5 * s.0 - 0.5 * m.0, 1.5 * s.1 - 0.5 * m.1)
        }
        i => inner(i),
    };
    let mut line = vec![points[0]];
    for i in 0..n - 1 {
        let (d, m0, m1) = (span(i), tangent(i), tangent(i + 1));
        for k in 1..=STEPS {
            let t = k as f32 / STEPS as f32;
            let (t2, t3) = (t * t, t * t * t);
            let (a, b, c, e) = (2.0 * t3 - 3.0 * t2 + 1.0, t3 - 2.0 * t2 + t, 3.0 * t2 - 2.0 * t3, t3 - t2);
            let mix = |p: f32, q: f32, u: f32, v: f32| a * p + b * d * u + c * q + e * d * v;
            let (p, q) = (points[i], points[i + 1]);
            line.push((mix(p.0, q.0, m0.0, m1.0), mix(p.1, q.1, m0.1, m1.1)));
        }
    }
    line
}

/// The same points the other way round.
pub fn reversed(line: &[P]) -> Line {
    line.iter().rev().copied().collect()
}

/// The outline between two curves that run the same way.
pub fn between(a: &[P], b: &[P]) -> Line {
    [a.to_vec(), reversed(b)].concat()
}

/// Moves every point.
pub fn shifted(line: &[P], dx: f32, dy: f32) -> Line {
    line.iter().map(|p| (p.0 + dx, p.1 + dy)).collect()
}

/// The curve moved sideways by `d` units (to the left of its direction).
pub fn offset(line: &[P], d: f32) -> Line {
    (0..line.len())
        .map(|i| {
            let (a, b) = (line[i.saturating_sub(1)], line[(i + 1).min(line.len() - 1)]);
            let length = distance(a, b).max(1e-4);
            (line[i].0 - (b.1 - a.1) / length * d, line[i].1 + (b.0 - a.0) / length * d)
        })
        .collect()
}

/// A ribbon along a curve, `start` units wide at its beginning and `end` at its end.
pub fn band(line: &[P], start: f32, end: f32) -> Line {
    let n = line.len().max(2) - 1;
    let (left, right) = (offset(line, 1.0), offset(line, -1.0));
    let side = |other: &Line| -> Line {
        let at = |i: usize, p: &P, q: &P| {
            let half = 0.5 * (start + (end - start) * i as f32 / n as f32);
            (p.0 + (q.0 - p.0) * half, p.1 + (q.1 - p.1) * half)
        };
        line.iter().zip(other).enumerate().map(|(i, (p, q))| at(i, p, q)).collect()
    };
    between(&side(&left), &side(&right))
}

/// A tilted ellipse; `tilt` in radians, anticlockwise.
pub fn ellipse(centre: P, rx: f32, ry: f32, tilt: f32) -> Line {
    arc(centre, rx, ry, tilt, 0.0, 1.0)
}

/// Part of an ellipse from turn `from` to turn `to` (1 is once around, anticlockwise from the right).
pub fn arc(centre: P, rx: f32, ry: f32, tilt: f32, from: f32, to: f32) -> Line {
    let (s, c) = tilt.sin_cos();
    let count = 32;
    (0..=count)
        .map(|k| {
            let turn = from + (to - from) * k as f32 / count as f32;
            let (v, u) = (turn * std::f32::consts::TAU).sin_cos();
            (centre.0 + c * u * rx - s * v * ry, centre.1 + s * u * rx + c * v * ry)
        })
        .collect()
}

/// The point at share `t` of the curve's length.
pub fn along(line: &[P], t: f32) -> P {
    let total: f32 = line.windows(2).map(|w| distance(w[0], w[1])).sum();
    let mut left = total * t.clamp(0.0, 1.0);
    for w in line.windows(2) {
        let d = distance(w[0], w[1]);
        if left <= d {
            return mix(w[0], w[1], left / d.max(1e-6));
        }
        left -= d;
    }
    line[line.len() - 1]
}

/// The stretch of a curve between two shares of its length.
pub fn stretch(line: &[P], from: f32, to: f32) -> Line {
    let n = (line.len() / 2).max(8);
    (0..=n).map(|k| along(line, from + (to - from) * k as f32 / n as f32)).collect()
}

/// Height of a curve that runs along x, at `x`.
pub fn height_at(line: &[P], x: f32) -> f32 {
    let span = line.windows(2).find(|w| (w[0].0 - x) * (w[1].0 - x) <= 0.0 && w[0].0 != w[1].0);
    match span {
        Some(w) => w[0].1 + (w[1].1 - w[0].1) * (x - w[0].0) / (w[1].0 - w[0].0),
        None => line[if (line[0].0 - x).abs() < (line[line.len() - 1].0 - x).abs() { 0 } else { line.len() - 1 }].1,
    }
}

/// The point at share `t` between two points.
pub fn mix(a: P, b: P, t: f32) -> P {
    (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t)
}

fn distance(a: P, b: P) -> f32 {
    ((a.0 - b.0) * (a.0 - b.0) + (a.1 - b.1) * (a.1 - b.1)).sqrt()
}
