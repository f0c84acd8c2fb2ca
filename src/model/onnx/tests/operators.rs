//! Operators against results by hand.

use super::*;

/// What a graph of one operator over the input `x` makes of the numbers 1, 2, 3, …
fn of(input: &[i64], op: &str, others: &[&str], attributes: &[(&str, A)], make: impl Fn(Graph) -> Graph) -> Vec<f64> {
    let inputs = [&["x"], others].concat();
    let model = make(Graph::new(input)).node(op, &inputs, "y", attributes).read();
    out(&model, &counting(model.input.len()))
}

fn plain(g: Graph) -> Graph {
    g
}

#[test]
fn sums_means_and_extremes_of_several_values() {
    let two = |op: &str| {
        let g = Graph::new(&[1, 3]).floats("c", &[3], &[2.5, 2.5, 1.0]).node("Neg", &["x"], "n", &[]);
        g.node(op, &["x", "n", "c", "x"], "y", &[]).read()
    };
    let x = [1.0, -2.0, 4.0];
    assert_eq!(out(&two("Sum"), &x), [3.5, 0.5, 5.0]);
    assert_eq!(out(&two("Mean"), &x), [0.875, 0.125, 1.25]);
    assert_eq!(out(&two("Max"), &x), [2.5, 2.5, 4.0]);
    assert_eq!(out(&two("Min"), &x), [-1.0, -2.0, -4.0]);
    // A maximum with zero is a rectifier.
    let g = Graph::new(&[1, 2]).floats("z", &[], &[0.0]).node("Max", &["z", "x"], "y", &[]);
    assert_eq!(g.read().nodes[0].layer, Layer::Relu);
    // A channel's mean taken off every place of the channel.
    let g = Graph::new(&[1, 2, 1, 2]).node("ReduceMean", &["x"], "m", &[("axes", A::Ints(vec![3]))]);
    assert_eq!(out(&g.node("Sub", &["x", "m"], "y", &[]).read(), &[1.0, 3.0, 5.0, 9.0]), [-1.0, 1.0, -2.0, 2.0]);
}

#[test]
fn reductions_along_any_axes() {
    let axes = |list: &[i64]| [("axes", A::Ints(list.to_vec())), ("keepdims", A::Int(0))];
    let of = |op, list: &[i64]| of(&[1, 2, 2, 3], op, &[], &axes(list), plain);
    assert_eq!(of("ReduceSum", &[2, 3]), [21.0, 57.0]);
    assert_eq!(of("ReduceMean", &[1]), [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    assert_eq!(of("ReduceSum", &[-1, 1]), [6.0 + 24.0, 15.0 + 33.0]);
    assert_eq!(of("ReduceMax", &[2]), [4.0, 5.0, 6.0, 10.0, 11.0, 12.0]);
    assert_eq!(of("ReduceMin", &[1, 3]), [1.0, 4.0]);
    // Whatever is summed, the input stays the image that it is.
    for list in [&[3][..], &[0, 1, 2, 3]] {
        let g = Graph::new(&[1, 3, 2, 5]).node("ReduceSum", &["x"], "y", &axes(list)).read();
        assert_eq!((g.input, out(&g, &[1.0; 30])[0]), (Shape::new(3, 2, 5), 30.0 / f64::from(g.outputs() as u32)));
    }
    let norm = Graph::new(&[1, 3]).node("ReduceL1", &["x"], "y", &axes(&[1])).read();
    assert_eq!(out(&norm, &[1.0, -2.0, 4.0]), [7.0]);
}

#[test]
fn values_are_repeated() {
    let axis = [("axis", A::Int(1))];
    assert_eq!(of(&[1, 2], "Concat", &["x", "x"], &axis, plain), [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    assert_eq!(of(&[1, 2, 1], "Expand", &["s"], &[], |g| g.ints("s", &[2, 2])), [1.0, 1.0, 2.0, 2.0]);
    assert_eq!(of(&[1, 2], "Tile", &["s"], &[], |g| g.ints("s", &[1, 2])), [1.0, 2.0, 1.0, 2.0]);
    assert_eq!(of(&[1, 3], "Gather", &["s"], &axis, |g| g.ints("s", &[2, 0, 2])), [3.0, 1.0, 3.0]);
    // Whole rows of [1, 2, 2] by two numbers each, then single values by three.
    let rows = |g: Graph| g.ints_of("s", &[2, 2], &[0, 1, 0, -2]);
    assert_eq!(of(&[1, 2, 2], "GatherND", &["s"], &[], rows), [3.0, 4.0, 1.0, 2.0]);
    let values = |g: Graph| g.ints_of("s", &[1, 2, 3], &[0, 1, 0, 0, 0, -1]);
    assert_eq!(of(&[1, 2, 2], "GatherND", &["s"], &[], values), [3.0, 2.0]);
    // A copy counts in gradients as often as it is there: through a dense layer the model is linear.
    let g =
        Graph::new(&[1, 2]).node("Concat", &["x", "x"], "c", &axis).floats("w", &[4, 1], &[1.0, 10.0, 100.0, 1000.0]);
    assert_eq!(out(&g.node("MatMul", &["c", "w"], "y", &[]).read(), &[1.0, 2.0]), [2121.0]);
    let g = Graph::new(&[1, 1]).ints("s", &[1, 5000]).node("Expand", &["x", "s"], "y", &[]);
    assert!(g.error().contains("more than 1024 times"));
}

#[test]
fn images_are_resized_to_the_nearest_value() {
    let scales = |g: Graph| g.floats("s", &[4], &[1.0, 1.0, 2.0, 1.5]).floats("r", &[0], &[]);
    let attributes = [("coordinate_transformation_mode", A::Text("asymmetric")), ("nearest_mode", A::Text("floor"))];
    let row = [1.0, 1.0, 2.0];
    let expected: Vec<f64> = [row, row, row.map(|v| v + 2.0), row.map(|v| v + 2.0)].concat();
    assert_eq!(of(&[1, 1, 2, 2], "Resize", &["r", "s"], &attributes, scales), expected);
    assert_eq!(of(&[1, 1, 2, 2], "Upsample", &["s"], &[], scales), expected);
    let sizes = |g: Graph| g.ints("z", &[1, 1, 1, 2]);
    assert_eq!(of(&[1, 1, 1, 4], "Resize", &["", "", "z"], &[], sizes), [1.0, 3.0]);
    let cubic = [("mode", A::Text("cubic"))];
    assert!(scales(Graph::new(&[1, 1, 2, 2])).node("Resize", &["x", "r", "s"], "y", &cubic).error().contains("linear"));
}

#[test]
fn images_are_resized_by_lines() {
    let mode = |from: &'static str| [("mode", A::Text("linear")), ("coordinate_transformation_mode", A::Text(from))];
    let sizes = |g: Graph| g.ints("z", &[1, 1, 1, 4]);
    let row = |dims: &[i64], from| of(dims, "Resize", &["", "", "z"], &mode(from), sizes);
    assert_eq!(row(&[1, 1, 1, 2], "half_pixel"), [1.0, 1.25, 1.75, 2.0]);
    assert_eq!(row(&[1, 1, 1, 2], "asymmetric"), [1.0, 1.5, 2.0, 2.0]);
    let thirds = row(&[1, 1, 1, 2], "align_corners");
    assert!(thirds.iter().zip([1.0, 4.0 / 3.0, 5.0 / 3.0, 2.0]).all(|(y, e)| (y - e).abs() < 1e-7), "{thirds:?}");
    // Seven values to four: at 0, 2, 4, 6.
    assert_eq!(row(&[1, 1, 1, 7], "align_corners"), [1.0, 3.0, 5.0, 7.0]);
    let scales = |g: Graph| g.floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let image = of(&[1, 1, 2, 2], "Resize", &["", "s"], &mode("half_pixel"), scales);
    assert_eq!((image.len(), &image[..4], image[5], image[15]), (16, &[1.0, 1.25, 1.75, 2.0][..], 1.75, 4.0));
    let upsampled =
        of(&[1, 1, 2, 1], "Upsample", &["s"], &mode("asymmetric")[..1], |g| g.floats("s", &[4], &[1.0, 1.0, 2.0, 1.0]));
    assert_eq!(upsampled, [1.0, 1.5, 2.0, 2.0]);
    let strange =
        sizes(Graph::new(&[1, 1, 1, 2])).node("Resize", &["x", "", "", "z"], "y", &mode("tf_crop_and_resize"));
    assert!(!strange.error().is_empty());
}

#[test]
fn blocks_become_channels_and_back() {
    let size = ("blocksize", A::Int(2));
    let to_depth = |g: Graph| g.node("SpaceToDepth", &["x"], "d", std::slice::from_ref(&size));
    assert_eq!(
        of(&[1, 1, 2, 4], "SpaceToDepth", &[], std::slice::from_ref(&size), plain),
        [1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]
    );
    let back = to_depth(Graph::new(&[1, 2, 2, 4])).node("DepthToSpace", &["d"], "b", std::slice::from_ref(&size));
    let back = back.node("Relu", &["b"], "y", &[]).read();
    assert_eq!(back.nodes.len(), 1);
    let x = counting(16);
    assert_eq!(out(&back, &x), x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    let crd = of(&[1, 4, 1, 2], "DepthToSpace", &[], &[size, ("mode", A::Text("CRD"))], plain);
    assert_eq!(crd, [1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]);
}

#[test]
fn padding_of_every_kind() {
    let padded = |mode, value: f32| {
        let pads = |g: Graph| g.ints("p", &[0, 2, 0, 1]).floats("v", &[], &[value]);
        of(&[1, 3], "Pad", &["p", "v"], &[("mode", A::Text(mode))], pads)
    };
    assert_eq!(padded("constant", 0.5), [0.5, 0.5, 1.0, 2.0, 3.0, 0.5]);
    assert_eq!(padded("edge", 0.0), [1.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
    assert_eq!(padded("reflect", 0.0), [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    assert_eq!(padded("wrap", 0.0), [2.0, 3.0, 1.0, 2.0, 3.0, 1.0]);
    // Constants stand beside values that are moved.
    let g = Graph::new(&[1, 2]).floats("c", &[1, 1], &[7.5]);
    assert_eq!(out(&g.node("Concat", &["c", "x"], "y", &[("axis", A::Int(1))]).read(), &[1.0, 2.0]), [7.5, 1.0, 2.0]);
}

#[test]
fn pooling_with_dilation_and_windows_beyond_the_border() {
    let list = |name: &'static str, v: &[i64]| (name, A::Ints(v.to_vec()));
    let dilated = [list("kernel_shape", &[1, 2]), list("dilations", &[1, 2]), list("pads", &[0, 1, 0, 1])];
    assert_eq!(of(&[1, 1, 1, 4], "MaxPool", &[], &dilated, plain), [2.0, 3.0, 4.0, 3.0]);
    assert_eq!(of(&[1, 1, 1, 4], "AveragePool", &[], &dilated, plain), [2.0, 2.0, 3.0, 3.0]);
    let ceil = |include| {
        let more = [("ceil_mode", A::Int(1)), ("count_include_pad", A::Int(include))];
        let window = [list("kernel_shape", &[1, 3]), list("strides", &[1, 2]), list("pads", &[0, 1, 0, 0])];
        of(&[1, 1, 1, 5], "AveragePool", &[], &[&window[..], &more].concat(), plain)
    };
    // The last window holds one value, and nothing that counts beside it.
    for (have, want) in [(ceil(1), [1.0, 3.0, 4.5]), (ceil(0), [1.5, 3.0, 4.5])] {
        assert!(have.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{have:?} {want:?}");
    }
}

#[test]
fn matrices_on_either_side_of_several_vectors() {
    let weights = |g: Graph| g.floats("w", &[1, 2, 3], &counting(6));
    let right = weights(Graph::new(&[1, 2, 2])).node("MatMul", &["x", "w"], "y", &[]).read();
    assert_eq!(out(&right, &counting(4)), [9.0, 12.0, 15.0, 19.0, 26.0, 33.0]);
    let left = Graph::new(&[1, 2, 2]).floats("w", &[3, 2], &counting(6)).node("MatMul", &["w", "x"], "y", &[]).read();
    assert_eq!(out(&left, &counting(4)), [7.0, 10.0, 15.0, 22.0, 23.0, 34.0]);
    let two = Graph::new(&[1, 2, 2]).node("MatMul", &["x", "x"], "y", &[]).error();
    assert!(two.contains("two computed values"));
}

#[test]
fn transposed_convolutions() {
    let list = |name: &'static str, v: &[i64]| (name, A::Ints(v.to_vec()));
    let kernel = |g: Graph| g.floats("w", &[1, 1, 1, 3], &[1.0, 10.0, 100.0]);
    let of = |attributes: &[(&str, A)]| of(&[1, 1, 1, 2], "ConvTranspose", &["w"], attributes, kernel);
    assert_eq!(of(&[]), [1.0, 12.0, 120.0, 200.0]);
    assert_eq!(of(&[list("strides", &[1, 2])]), [1.0, 10.0, 102.0, 20.0, 200.0]);
    assert_eq!(of(&[list("strides", &[1, 2]), list("pads", &[0, 1, 0, 1])]), [10.0, 102.0, 20.0]);
    let wide = [list("strides", &[1, 2]), list("output_padding", &[0, 1]), list("pads", &[0, 1, 0, 1])];
    assert_eq!(of(&wide), [10.0, 102.0, 20.0, 200.0]);
    assert_eq!(of(&[list("dilations", &[1, 2])]), [1.0, 2.0, 10.0, 20.0, 100.0, 200.0]);
    let groups = |g: Graph| g.floats("w", &[2, 1, 1, 1], &[2.0, 3.0]).floats("b", &[2], &[0.5, 0.0]);
    let grouped = super::operators::of(&[1, 2, 1, 1], "ConvTranspose", &["w", "b"], &[("group", A::Int(2))], groups);
    assert_eq!(grouped, [2.5, 6.0]);
}

#[test]
fn stored_integers_are_the_numbers_they_stand_for() {
    let scaled = |axis| {
        let mut g = Graph::new(&[1, 2]).floats("s", &[2], &[0.1, 0.5]);
        g.0.initializer.push(tensor("q", &[2, 2], data_type::INT8, vec![1, 0xFE, 3, 4]));
        g.0.initializer.push(tensor("z", &[2], data_type::INT8, vec![0, 1]));
        g.node("DequantizeLinear", &["q", "s", "z"], "w", &[("axis", A::Int(axis))])
            .node("MatMul", &["x", "w"], "y", &[])
            .read()
    };
    let tenth = f64::from(0.1f32);
    for (axis, weights) in [(0, [tenth, -2.0 * tenth, 1.0, 1.5]), (1, [tenth, -1.5, 3.0 * tenth, 1.5])] {
        let model = scaled(axis);
        let (first, second) = (out(&model, &[1.0, 0.0]), out(&model, &[0.0, 1.0]));
        // Products that are no f32 are charged for.
        let share = model.folded.first().map_or(0.0, |f| f64::from(f.relative));
        for (have, want) in first.iter().chain(&second).zip(weights) {
            assert!((have - want).abs() <= share * have.abs() && share < 1e-7, "{have} {want}");
        }
        assert_eq!(model.folded.len(), axis as usize, "three tenths");
    }
    let live = Graph::new(&[1, 2]).floats("s", &[], &[0.1]).node("DequantizeLinear", &["x", "s"], "y", &[]);
    assert!(live.error().contains("export the float network"));
}

#[test]
fn shape_arithmetic_of_every_exporter() {
    // Flatten by Shape, Slice, ReduceProd and Concat.
    let g = Graph::new(&[0, 2, 3, 1]).node("Shape", &["x"], "s", &[]).ints("1", &[1]).ints("4", &[4]).ints("0", &[0]);
    let g = g.node("Slice", &["s", "1", "4", "0"], "rest", &[]).node("Slice", &["s", "0", "1", "0"], "batch", &[]);
    let g = g.node("ReduceProd", &["rest"], "n", &[]).node("Concat", &["batch", "n"], "to", &[("axis", A::Int(0))]);
    assert_eq!(g.node("Reshape", &["x", "to"], "f", &[]).node("Relu", &["f"], "y", &[]).read().outputs(), 6);
    // A size chosen by a comparison.
    let g = Graph::new(&[1, 4]).ints("a", &[4, 2]).ints("b", &[2, 2]).ints("c", &[7, 7]).node(
        "Equal",
        &["a", "b"],
        "e",
        &[],
    );
    let g = g.node("Where", &["e", "b", "b"], "s", &[]).node("Mod", &["c", "a"], "m", &[]).node(
        "Min",
        &["m", "s"],
        "t",
        &[],
    );
    // 7 mod 4 = 3 and 7 mod 2 = 1, of which with 2 the smaller.
    let g = g.ints("two", &[2, 2]).node("Div", &["two", "t"], "d", &[]).node("Reshape", &["x", "two"], "r", &[]);
    assert_eq!(g.node("Tile", &["r", "d"], "y", &[]).read().outputs(), 8);
}

#[test]
fn values_are_chosen_by_a_constant_mask() {
    // Of x and twice x, and of x and a constant on either side; the mask broadcasts.
    let of_two = Graph::new(&[1, 3]).ints("m", &[0, 1, 0]).node("Add", &["x", "x"], "z", &[]);
    assert_eq!(out(&of_two.node("Where", &["m", "x", "z"], "y", &[]).read(), &[1.0, 2.0, 3.0]), [2.0, 2.0, 6.0]);
    let filled = |order: [&str; 3]| {
        let g = Graph::new(&[1, 2, 2]).ints_of("m", &[2, 1], &[0, 1]).floats("c", &[2], &[7.0, 8.0]);
        out(&g.node("Where", &order, "y", &[]).read(), &[1.0, 2.0, 3.0, 4.0])
    };
    assert_eq!(filled(["m", "c", "x"]), [1.0, 2.0, 7.0, 8.0]);
    assert_eq!(filled(["m", "x", "c"]), [7.0, 8.0, 3.0, 4.0]);
}
