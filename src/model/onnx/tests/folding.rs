//! Constants: exact, or charged for all that is lost, or not folded, or refused.

use num_rational::BigRational;

use super::super::super::enclosure;
use super::super::super::pixels::Pixels;
use super::super::decode_unfolded;
use super::*;

/// Whether the outputs of the file at `x` can be `truth`, by its model as used and as the file has it, and how wide the
/// former's bounds are.
fn holds(bytes: &[u8], x: &[f32], truth: &[f64]) -> (bool, f64) {
    let inside = |model: &Model| {
        let (y, e) = enclosure::forward(model, x);
        let near = |((y, e), t): ((&f64, &f64), &f64)| (y - t).abs() <= e + 1e-15 * t.abs();
        (y.iter().zip(&e).zip(truth).all(near), e.into_iter().fold(0.0, f64::max))
    };
    let (folded, unfolded) = (decode(bytes, None).unwrap().model, decode_unfolded(bytes, None).unwrap());
    let (held, width) = inside(&folded);
    (held && inside(&unfolded).0, width)
}

fn doubles(mut g: Graph, name: &str, dims: &[i64], values: &[f64]) -> Graph {
    let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    g.0.initializer.push(tensor(name, dims, data_type::DOUBLE, raw));
    g
}

const STATISTICS: [&str; 5] = ["z", "gamma", "beta", "mean", "var"];

#[test]
fn products_that_underflow_are_not_folded() {
    let g = Graph::new(&[1, 1, 1, 1]).floats("a", &[1, 1, 1, 1], &[1e-20]).floats("b", &[2, 1, 1, 1], &[1e20, 0.0]);
    let g = g.floats("c", &[2], &[0.0, 0.5]).floats("gamma", &[1], &[1e-20]).floats("beta", &[1], &[0.0]);
    let g = g.floats("mean", &[1], &[0.0]).floats("var", &[1], &[1.0]).floats("big", &[1], &[1e20]);
    let g = g.node("Conv", &["x", "a"], "z", &[]);
    let g = g.node("BatchNormalization", &STATISTICS, "n", &[("epsilon", A::Float(0.0))]);
    let bytes = g.node("Conv", &["n", "b", "c"], "s", &[]).node("Mul", &["s", "big"], "y", &[]).bytes();
    let model = decode(&bytes, None).unwrap().model;
    assert!(matches!(model.nodes[1].layer, Layer::Scale { .. }));
    let [small, big] = [1e-20f32, 1e20].map(f64::from);
    let (held, width) = holds(&bytes, &[0.875], &[0.875 * small * small * big * big, 0.5 * big]);
    assert!(held && width < 1e7, "{width}");
}

#[test]
fn factors_beyond_f32_are_folded_or_taken_in_two_steps() {
    // A quotient that no f32 holds, behind a layer with weights and behind one without.
    for between in ["Identity", "Relu"] {
        let g = Graph::new(&[1, 1]).floats("w", &[1, 1], &[1e20]).floats("d", &[], &[3e38]);
        let g = g.floats("v", &[1, 2], &[3e18, 0.0]).floats("c", &[2], &[0.0, 0.5]);
        let g =
            g.node("MatMul", &["x", "w"], "m", &[]).node(between, &["m"], "r", &[]).node("Div", &["r", "d"], "q", &[]);
        let bytes = g.node("Gemm", &["q", "v", "c"], "y", &[]).bytes();
        let truth = 0.875 * f64::from(1e20f32) / f64::from(3e38f32) * f64::from(3e18f32);
        let (held, width) = holds(&bytes, &[0.875], &[truth, 0.5]);
        assert!(held && width < 1e-6, "{between} {width}");
        let kinds = |scale: bool| {
            let nodes = decode(&bytes, None).unwrap().model.nodes;
            nodes.iter().filter(|n| matches!(n.layer, Layer::Scale { .. }) == scale).count()
        };
        assert_eq!((kinds(true), kinds(false)), if between == "Relu" { (2, 3) } else { (0, 2) });
    }
    // One that f32 does hold stays as it is.
    let g = Graph::new(&[1, 1]).floats("c", &[1], &[1e-39]).node("Mul", &["x", "c"], "y", &[]);
    let Layer::Scale { scale, .. } = &g.read().nodes[0].layer.clone() else { panic!("a factor") };
    assert_eq!(scale, &[1e-39]);
    let far = doubles(Graph::new(&[1, 1]), "c", &[1], &[1e-90]).node("Mul", &["x", "c"], "y", &[]);
    assert!(far.error().contains("'Mul_0' (Mul): no 32 bit float comes near its factor 1e-90"));
}

#[test]
fn subnormal_weights_are_kept_and_noted() {
    let g = Graph::new(&[1, 1]).floats("w", &[1, 2], &[1e-39, -1e-45]).node("MatMul", &["x", "w"], "y", &[]);
    let loaded = decode(&g.bytes(), None).unwrap();
    let Layer::Dense(d) = &loaded.model.nodes[0].layer else { panic!("a dense layer") };
    assert_eq!((&d.weight[..], loaded.model.folded.len()), (&[1e-39f32, -1e-45][..], 0));
    assert!(loaded.warnings.len() == 1 && loaded.warnings[0].starts_with("2 weights are below 2^-126"));
}

#[test]
fn weights_in_64_bits_are_charged_for_what_32_lose() {
    let g = || doubles(Graph::new(&[1, 2]), "w", &[2, 1], &[0.1, -0.7]);
    let bytes = doubles(g(), "b", &[1], &[0.3]).node("Gemm", &["x", "w", "b"], "y", &[]).bytes();
    let mut model = decode(&bytes, None).unwrap().model;
    let truth = [0.1 * 0.75 - 0.7 * 0.25 + 0.3];
    let (held, width) = holds(&bytes, &[0.75, 0.25], &truth);
    assert!(held && width < 1e-7, "{width}");
    model.folded.clear();
    let (y, e) = enclosure::forward(&model, &[0.75, 0.25]);
    assert!((y[0] - truth[0]).abs() > e[0], "the charge is not needed");
    // What underflows in a bias is charged, and in a weight refused.
    let bytes = doubles(g(), "b", &[1], &[1e-60]).node("Gemm", &["x", "w", "b"], "y", &[]).bytes();
    assert!(decode(&bytes, None).unwrap().model.folded[0].absolute >= f32::MIN_POSITIVE);
    for lost in [1e-60, 1e-40, 1e60] {
        let g = doubles(Graph::new(&[1, 1]), "w", &[1, 1], &[lost]).node("MatMul", &["x", "w"], "y", &[]);
        assert!(g.error().contains("no 32 bit float comes near its weight"), "{lost}");
    }
    let g = doubles(Graph::new(&[1, 1]), "c", &[1], &[1e60]).node("Add", &["x", "c"], "y", &[]);
    assert!(g.error().contains("does not fit into 32 bits"));
}

#[test]
fn constants_are_computed_without_loss_or_charged() {
    let g = || Graph::new(&[1, 1]).floats("s", &[1], &[1e-30]).floats("t", &[1], &[1e30]).floats("d", &[1], &[3.0]);
    // In f32 the first product is zero.
    let g0 = g().node("Mul", &["s", "s"], "ss", &[]).node("Mul", &["t", "t"], "tt", &[]);
    let g0 = g0.node("Mul", &["ss", "tt"], "one", &[]).node("Div", &["one", "d"], "third", &[]);
    let bytes = g0.node("Mul", &["x", "third"], "m", &[]).node("Add", &["m", "third"], "y", &[]).bytes();
    let [s, t] = [1e-30f32, 1e30].map(f64::from);
    let third = s * s * (t * t) / 3.0;
    let (held, width) = holds(&bytes, &[0.75], &[1.75 * third]);
    assert!(held && width < 1e-6, "{width}");
    // What cancels keeps its error: 3 (1/3) - 1 is next to nothing, but not known to be.
    let g1 =
        g().floats("e", &[1], &[1.0]).node("Div", &["e", "d"], "third", &[]).node("Mul", &["third", "d"], "p", &[]);
    let g1 = g1.node("Sub", &["p", "e"], "zero", &[]);
    assert!(g1.node("Mul", &["x", "zero"], "y", &[]).error().contains("no 32 bit float comes near its factor"));
    // Exact results are no charge.
    let g2 = g().floats("h", &[1], &[0.5]).node("Mul", &["h", "d"], "c", &[]).node("Mul", &["x", "c"], "y", &[]);
    assert!(g2.read().folded.is_empty());
    let zero = g().floats("o", &[1], &[0.0]).node("Div", &["d", "o"], "c", &[]).node("Mul", &["x", "c"], "y", &[]);
    zero.error();
}

#[test]
fn a_shift_that_cancels_is_charged_for_its_own_size() {
    // beta - mean / sqrt(3), nearly zero.
    let (beta, mean) = (5.278_461_8e14f32, 9.142_564e14f32);
    let g = Graph::new(&[1, 1, 1, 1]).floats("gamma", &[1], &[1.0]).floats("beta", &[1], &[beta]);
    let g = g.floats("mean", &[1], &[mean]).floats("var", &[1], &[3.0]).node("Identity", &["x"], "z", &[]);
    let model = g.node("BatchNormalization", &STATISTICS, "y", &[("epsilon", A::Float(0.0))]).read();
    let root = "57735026918962576450914878050195745564760175127013/100000000000000000000000000000000000000000000000000";
    let root: BigRational = root.parse().unwrap();
    let rational = |v: f32| BigRational::from_float(v).unwrap();
    let Layer::Scale { shift, .. } = &model.nodes[0].layer else { panic!("a layer of its own") };
    let off = rational(shift[0]) - (rational(beta) - rational(mean) * root);
    let charge = rational(model.folded[0].absolute);
    assert!(off <= charge && -off <= charge && model.folded[0].absolute < 1.0);
}

#[test]
fn the_file_as_it_is_has_every_constant_in_a_layer_of_its_own() {
    let g = Graph::new(&[1, 1, 1, 2]).floats("w", &[2, 1, 1, 1], &[0.5, -1.5]).floats("b", &[1, 2, 1, 1], &[0.25, 0.5]);
    let g = ["gamma", "beta", "mean"].iter().fold(g, |g, name| g.floats(name, &[2], &[0.7, -0.3]));
    let g = g.floats("var", &[2], &[0.7, 1.3]).node("Conv", &["x", "w"], "a", &[]).node("Add", &["a", "b"], "z", &[]);
    let g = g.node("BatchNormalization", &STATISTICS, "n", &[]).node("Relu", &["n"], "r", &[]);
    let g = g.node("Transpose", &["r"], "t", &[("perm", A::Ints(vec![0, 2, 3, 1]))]).node("Flatten", &["t"], "f", &[]);
    let g = g.floats("v", &[2, 4], &counting(8)).floats("c", &[2], &[1.0, 2.0]);
    let gemm = [("alpha", A::Float(0.3)), ("transB", A::Int(1))];
    let bytes = g.node("Gemm", &["f", "v", "c"], "y", &gemm).bytes();
    let folded = decode(&bytes, None).unwrap().model;
    let file = decode_unfolded(&bytes, None).unwrap();
    let kinds = |model: &Model| -> String {
        let kind = |n: &Node| match &n.layer {
            Layer::Conv(_) => 'c',
            Layer::Dense(_) => 'd',
            Layer::Scale { .. } => 's',
            Layer::Relu => 'r',
            Layer::Gather(_) => 'g',
            Layer::Activation(_) | Layer::MaxPool(_) | Layer::AvgPool(_) | Layer::Add => '?',
        };
        model.nodes.iter().map(kind).collect()
    };
    assert_eq!((kinds(&folded), kinds(&file)), ("crd".into(), "cssrgds".into()));
    let Layer::Dense(d) = &file.nodes[5].layer else { panic!("a dense layer") };
    assert_eq!(d.weight, counting(8));
    // Only batch normalisation makes constants that the file does not have.
    let charged: Vec<usize> = file.folded.iter().map(|f| f.node).collect();
    assert_eq!(charged, [2]);
}

/// What the file has in place of folded constants is evaluated in as many digits as asked for: the same numbers as its own
/// network and the folded one, and far nearer.
#[test]
fn folded_constants_are_known_to_any_number_of_digits() {
    let g = Graph::new(&[1, 2, 1, 1]).floats("w", &[2, 2, 1, 1], &[0.5, -1.5, 0.3, 0.7]);
    let g = g.floats("gamma", &[2], &[1.1, -0.3]).floats("beta", &[2], &[0.7, 0.1]).floats("mean", &[2], &[0.3, 2.0]);
    let g = g.floats("var", &[2], &[0.9, 1.7]).floats("d", &[1], &[3.0]).node("Conv", &["x", "w"], "z", &[]);
    let g = g.node("BatchNormalization", &STATISTICS, "n", &[]).node("Relu", &["n"], "r", &[]);
    let g = g.node("Div", &["r", "d"], "q", &[]).node(
        "BatchNormalization",
        &["q", "gamma", "beta", "mean", "var"],
        "y",
        &[],
    );
    let bytes = g.bytes();
    let (folded, file) = (decode(&bytes, None).unwrap().model, decode_unfolded(&bytes, None).unwrap());
    assert!(folded.nodes.len() < file.nodes.len() && folded.folded.iter().all(Folding::is_known));
    let pixels = Pixels { range: [0.0, 255.0], mean: vec![123.675, 116.28], std: vec![58.395, 57.12] };
    let models = [folded, file].map(|model| [model.clone(), model.over_pixels(&pixels).unwrap()]);
    for over in 0..2 {
        let x = [0.3, 0.8];
        let ends = |model: &Model| {
            let coarse = enclosure::forward(model, &x);
            let fine = [0.0, 1e60, 1e200].map(|e| enclosure::forward_finely(model, &x, &(vec![0.0; 2], vec![e; 2])));
            for ((y, e), k) in fine.iter().flat_map(|(y, e)| y.iter().zip(e).zip(0..)) {
                assert!((y - coarse.0[k]).abs() <= e + coarse.1[k] && *e < 1e-14 && coarse.1[k] > 1e-8, "{y} {e}");
            }
            fine.map(|(y, _)| y)
        };
        let [a, b] = [0, 1].map(|m| ends(&models[m][over]));
        let all = a.iter().chain(&b).flatten().zip((0..2).cycle());
        all.for_each(|(y, k)| assert!((y - a[0][k]).abs() <= 1e-15 * y.abs().max(1.0), "{y}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Reading compares the folded network with the file's own: whatever the constants, they agree.
    #[test]
    fn foldings_of_nasty_constants_agree_with_the_file(bits in proptest::collection::vec(any::<u32>(), 24), powers: bool) {
        let value = |k: usize| {
            let (mantissa, exponent) = (1.0 + (bits[k] & 0xffff) as f32 / 65536.0, (bits[k] >> 20) as i32 % 290 - 170);
            let exponent = if powers { exponent.clamp(-60, 60) } else { exponent };
            let sign = if bits[k] & 0x1_0000 == 0 { 1.0 } else { -1.0 };
            let zero = bits[k] & 0x1e_0000 == 0;
            if zero { 0.0 } else { (f64::from(sign * mantissa) * 2f64.powi(exponent)) as f32 }
        };
        let pair = |k: usize| [value(k), value(k + 1)];
        let g = Graph::new(&[1, 1, 1, 2]).floats("w", &[2, 1, 1, 1], &pair(0)).floats("b", &[2], &pair(2));
        let g = g.floats("gamma", &[2], &pair(4)).floats("beta", &[2], &pair(6)).floats("mean", &[2], &pair(8));
        let g = g.floats("var", &[2], &pair(10).map(f32::abs)).floats("p", &[2, 1, 1], &pair(12));
        let g = g.floats("q", &[1], &[value(14)]).floats("v", &[4, 2], &(15..23).map(value).collect::<Vec<_>>());
        let g = g.node("Conv", &["x", "w", "b"], "z", &[]).node("BatchNormalization", &STATISTICS, "n", &[]);
        let g = g.node("Mul", &["n", "p"], "m", &[]).node("Div", &["m", "q"], "d", &[]).node("Flatten", &["d"], "f", &[]);
        let bytes = g.node("Gemm", &["f", "v"], "y", &[("alpha", A::Float(value(23)))]).bytes();
        if let Err(e) = decode(&bytes, None) {
            let e = e.to_string();
            prop_assert!(!e.contains("fault") && !e.contains('\n'), "{}", e);
        }
    }
}
