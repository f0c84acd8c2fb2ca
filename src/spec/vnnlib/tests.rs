use proptest::prelude::*;

use super::*;

const V1: &str = "; two boxes
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(assert (<= X_1 0.1)) (assert (>= X_1 -0.1))
(assert (or
  (and (>= X_0 0) (<= X_0 1) (<= Y_0 Y_1))
  (and (>= X_0 2) (<= X_0 3) (<= Y_0 Y_1))
  (and (>= X_0 0) (<= X_0 1) (> (+ (* 2 Y_0) (- 1.5)) (- Y_1 0.25)))))
";

#[test]
fn version_1_with_two_boxes() {
    let spec = parse(V1).unwrap();
    assert_eq!((spec.inputs, spec.outputs, spec.cases.len()), (2, 2, 2));
    let [first, second] = &spec.cases[..] else { panic!("two cases") };
    assert_eq!((first.lower[0], first.upper[0], second.lower[0], second.upper[0]), (0.0, 1.0, 2.0, 3.0));
    assert_eq!((first.disjuncts.len(), second.disjuncts.len()), (2, 1));
    // The box is rounded outward, the exact one is kept.
    assert!(f64::from(first.upper[1]) > 0.1 && f64::from(first.lower[1]) < -0.1);
    assert!(!first.contains(&[0.5, first.upper[1]]) && first.contains(&[0.5, 0.05]));
    // 2 y0 - 1.5 > y1 - 0.25, that is y1 - 2 y0 + 1.25 < 0.
    let last = &first.disjuncts[1][0];
    assert!(last.strict && last.holds(&[1.0, 0.5]) && !last.holds(&[1.0, 0.75]));
}

#[test]
fn version_2_core() {
    let text = "(vnnlib-version <2.0>)
        (declare-network N (declare-input X float32 [1, 2]) (declare-output Y Real [3]))
        (assert (and (<= (* -1.0 X[0,0]) 0.5) (<= X [0, 0] 1e0) (== X[0,1] 0.25)))
        (assert (or (== Y[0] 1) (and (<= Y[2] Y[1]) (<= Y[2] Y[0]))))";
    let spec = parse(text).unwrap();
    assert_eq!((spec.inputs, spec.outputs, spec.network.as_deref()), (2, 3, Some("N")));
    let case = &spec.cases[0];
    assert_eq!((&case.lower[..], &case.upper[..]), (&[-0.5f32, 0.25][..], &[1.0f32, 0.25][..]));
    assert_eq!(case.disjuncts.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
    assert!(case.disjuncts[0].iter().all(|l| l.holds(&[1.0, 0.0, 0.0])));
}

#[test]
fn a_scalar_output_needs_no_index() {
    let text = "(declare-network N (declare-input X Real [1]) (declare-output Y Real []))
        (assert (<= X[0] 1)) (assert (>= X[0] 0)) (assert (<= Y 0)) (assert (>= Y[] -1))";
    assert_eq!(parse(text).unwrap().cases[0].disjuncts, parse(text).unwrap().cases[0].disjuncts);
    assert_eq!(parse(text).unwrap().outputs, 1);
}

#[test]
fn contradictory_inputs_leave_no_case() {
    let spec = parse(
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (<= X_0 0))(assert (>= X_0 1))(assert (<= Y_0 0))",
    );
    assert!(spec.unwrap().cases.is_empty());
}

#[test]
fn errors_name_line_and_column() {
    let head = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n";
    for (text, needle) in [
        ("(assert (<= X_1 0))", "line 3, column 13: 'X_1' is neither"),
        ("(assert (<= X_0 abc))", "'abc'"),
        ("(assert (<= X_0))", "compares two sides"),
        ("(assert (<= (* X_0 Y_0) 1))", "not linear"),
        ("(assert (<= (+ X_0 Y_0) 1))", "inputs and outputs together"),
        ("(assert (<= (* 2 X_0) 1))", "plain bounds"),
        ("(assert (not (<= X_0 1)))", "'not' is not supported"),
        ("(assert (<= X_0 1)", "line 3, column 1: '(' is never closed"),
        ("(assert (<= X_0 1)))", "')' without"),
        ("(declare-const X_0 Real)", "declared already on line 1"),
        ("(declare-const X_2 Real)", "not all of X_0 to X_2"),
        ("(declare-const Z Real)", "X_0, X_1"),
        ("(declare-const X_1 Int)", "type Real"),
        ("(push 1)", "'push'"),
        ("hello", "in parentheses"),
        ("(assert (>= X_0 1))", "input 0 has no upper bound"),
        ("(assert (<= X_0[1] 1))", "tensor 'X_0' is not declared"),
        ("(vnnlib-version <3.0>)", "not supported"),
        ("(declare-network a (declare-hidden H Real [1]))", "only one declare-input"),
        ("(declare-network a (declare-input X Real [2,0]))", "empty or too large"),
    ] {
        let error = parse(&format!("{head}{text}")).unwrap_err();
        assert!(error.contains(needle) && !error.contains('\n'), "{text}: {error}");
    }
    assert!(parse("").unwrap_err().contains("no input"));
}

#[test]
fn numbers_do_not_grow_without_bound() {
    let head = "(declare-const X_0 Real)(declare-const Y_0 Real)";
    let text = format!("{head}(assert (<= (* Y_0 {}) 0))", "1e300 ".repeat(1000));
    assert!(parse(&text).unwrap_err().contains("too many digits"));
}

#[test]
fn compressed_files_are_read() {
    use std::io::Write;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.vnnlib.gz");
    let mut gz = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    gz.write_all(V1.as_bytes()).unwrap();
    let bytes = gz.finish().unwrap();
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read(&path).unwrap(), parse(V1).unwrap());
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("p.vnnlib.gz") && error.contains("damaged"), "{error}");
    std::fs::write(&path, [0xffu8, 0xfe, 0]).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("not a text file"));
}

proptest! {
    #[test]
    fn damaged_text_never_panics(at in 0..V1.len(), byte in 0u8..128, cut in 0..V1.len()) {
        let mut bytes = V1.as_bytes().to_vec();
        bytes[at] = byte;
        let _ = parse(&String::from_utf8(bytes).unwrap());
        let _ = parse(&V1[..cut]);
    }
}
