//! Images whose channels come last, as tf2onnx and Keras export them.

use super::*;

/// A network that reads images of 5 rows, 6 columns and 3 channels in this order.
fn channels_last(turn_at: usize) -> Graph {
    let mut g = Graph::new(&[0, 5, 6, 3]).floats("m", &[3], &[0.5, 0.25, 0.125]).floats("s", &[3], &[2.0, 3.0, 4.0]);
    let turn = [("perm", A::Ints(vec![0, 3, 1, 2]))];
    let mut name = "x";
    if turn_at > 0 {
        g = g.node("Sub", &["x", "m"], "centred", &[]).node("Mul", &["centred", "s"], "scaled", &[]);
        name = "scaled";
    }
    g = g.node("Transpose", &[name], "first", &turn).floats("w", &[2, 3, 2, 2], &counting(24));
    g = g.node("Conv", &["first", "w"], "c", &[("strides", A::Ints(vec![2, 2]))]).node("Relu", &["c"], "r", &[]);
    g = g.node("Transpose", &["r"], "last", &[("perm", A::Ints(vec![0, 2, 3, 1]))]);
    g.node("Flatten", &["last"], "f", &[]).floats("d", &[12, 2], &counting(24)).node("MatMul", &["f", "d"], "y", &[])
}

/// The image `[row][column][channel]` of one `[channel][row][column]`.
fn interleaved(image: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    (0..c * h * w).map(|k| image[(k % c * h + k / c / w) * w + k / c % w]).collect()
}

#[test]
fn images_are_taken_channels_first_whatever_the_file_takes() {
    let image: Vec<f32> = (0..90).map(|k| (k * 37 % 90) as f32 / 90.0).collect();
    let exact = interleaved(&image, [3, 5, 6]);
    let pool = [("kernel_shape", A::Ints(vec![1, 2])), ("strides", A::Ints(vec![1, 2]))];
    let dense = |g: Graph, n: usize| {
        g.floats("d", &[n as i64, 2], &counting(2 * n)).node("Flatten", &["z"], "f", &[]).node(
            "MatMul",
            &["f", "d"],
            "y",
            &[],
        )
    };
    let x = || Graph::new(&[1, 5, 6, 3]);
    let turn = [("perm", A::Ints(vec![0, 3, 1, 2]))];
    for (k, (graph, gathers)) in [
        (channels_last(0), 0),
        (channels_last(1), 0),
        // No convolution at all.
        (dense(x().node("Relu", &["x"], "z", &[]), 90), 0),
        // Read in both orders.
        (
            {
                let g = x().node("Transpose", &["x"], "t", &turn).node("MaxPool", &["t"], "p", &pool);
                let g = g.node("Flatten", &["p"], "a", &[]).node("Flatten", &["x"], "b", &[]);
                dense(g.node("Concat", &["a", "b"], "z", &[("axis", A::Int(1))]), 45 + 90)
            },
            1,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let loaded = decode(&graph.bytes(), None).unwrap();
        assert!(loaded.channels_last && loaded.model.input == Shape::new(5, 6, 3), "{k}");
        let model = loaded.model.clone().channels_first().unwrap();
        model.validate().unwrap();
        assert_eq!(model.input, Shape::new(3, 5, 6), "{k}");
        assert_eq!(out(&model, &image), out(&loaded.model, &exact), "{k}");
        let moves = |n: &&Node| matches!(n.layer, Layer::Gather(_)) && n.inputs.contains(&0);
        assert_eq!(model.nodes.iter().filter(moves).count(), gathers, "{k}");
    }
    // A layer that minds the order of what it reads gets it back; charges stay with their layers.
    let shape = Shape::new(5, 6, 3);
    let pool = Pool { kernel: [2, 1], stride: [1, 1], pad: [0, 0], count_include_pad: true };
    let node =
        |name: &str, layer, inputs: &[usize], shape| Node { name: name.into(), layer, inputs: inputs.to_vec(), shape };
    let scale = || Layer::Scale { scale: counting(90), shift: counting(90) };
    let turn = (0..90).map(|k| Some(Source { input: 0, index: (k % 30 * 3 + k / 30) as u32 })).collect();
    let model = Model {
        input: shape,
        nodes: vec![
            node("turn", Layer::Gather(turn), &[0], Shape::new(3, 5, 6)),
            node("scale", scale(), &[0], shape),
            node("pool", Layer::AvgPool(pool), &[2], Shape::new(5, 5, 3)),
            node("both", Layer::AvgPool(pool), &[0], Shape::new(5, 5, 3)),
            node("sum", Layer::Add, &[3, 4], Shape::new(5, 5, 3)),
            node("channels_last_0", Layer::Relu, &[0], shape),
            node("more", Layer::Add, &[2, 6], shape),
            node("end", Layer::Add, &[7, 0], shape),
        ],
        classes: (0..90).map(|k| k.to_string()).collect(),
        folded: vec![Folding { node: 1, relative: 0.5, ..Folding::default() }],
    };
    let turned = model.clone().channels_first().unwrap();
    turned.validate().unwrap();
    assert_eq!(out(&turned, &image), out(&model, &exact));
    assert_eq!(turned.nodes[turned.folded[0].node].name, "scale");
    // Not images with channels last.
    let conv = |dims: &[i64], c: i64| {
        let g = Graph::new(dims).floats("w", &[1, c, 1, 1], &counting(c as usize));
        decode(&g.node("Conv", &["x", "w"], "y", &[]).bytes(), None).unwrap()
    };
    assert!(!conv(&[1, 3, 6, 6], 3).channels_last && !conv(&[1, 8, 6, 3], 8).channels_last);
    let one = Graph::new(&[1, 6, 6, 1]).node("Transpose", &["x"], "t", &[("perm", A::Ints(vec![0, 3, 1, 2]))]);
    let one = one.floats("w", &[1, 1, 2, 2], &counting(4)).node("Conv", &["t", "w"], "y", &[]).read();
    assert_eq!(one.input, Shape::new(1, 6, 6));
}

/// What reads turned values may see them in another shape than the input's: it gets them back in its own.
#[test]
fn turned_values_are_given_back_in_their_own_shape() {
    let turn = [("perm", A::Ints(vec![0, 3, 1, 2]))];
    let image: Vec<f32> = (0..64).map(|k| if k < 8 { 0.75 } else { 0.035_714_287 }).collect();
    let mean = image.iter().map(|v| f64::from(*v)).sum::<f64>() / 64.0;
    for pool in ["GlobalAveragePool", "GlobalMaxPool"] {
        let g = Graph::new(&[1, 8, 8, 1]).floats("two", &[], &[2.0]).floats("w", &[1, 2], &[1.0, 0.0]);
        let g = g.floats("b", &[2], &[0.0, 1.0]).node("Transpose", &["x"], "t", &turn);
        let g = g.node("Mul", &["t", "two"], "m", &[]).node(pool, &["m"], "p", &[]).node("Flatten", &["p"], "f", &[]);
        let loaded = decode(&g.node("Gemm", &["f", "w", "b"], "y", &[]).bytes(), None).unwrap();
        assert!(loaded.channels_last);
        let expected = if pool == "GlobalMaxPool" { 1.5 } else { 2.0 * mean };
        let y = out(&loaded.model.channels_first().unwrap(), &image);
        assert!((y[0] - expected).abs() < 1e-12 && y[1] == 1.0, "{pool} {y:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_left_of_damaged_files_can_be_turned(at in 0usize..10_000, bit in 0u8..8, more in 0usize..10_000) {
        let mut bytes = channels_last(1).bytes();
        let n = bytes.len();
        bytes[at % n] ^= 1 << bit;
        let first = decode(&bytes, None);
        bytes[more % n] = at as u8;
        for loaded in [first, decode(&bytes, None)].into_iter().flatten().filter(|l| l.channels_last) {
            prop_assert_eq!(loaded.model.channels_first().unwrap().validate(), Ok(()));
        }
    }
}
