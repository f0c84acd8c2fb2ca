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
    let at = |y: f32| [0.5, y].map(|x| Decimal::from_f64(f64::from(x)));
    assert!(!first.contains(&at(first.upper[1])) && first.contains(&at(0.05)));
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
        ("(assert (<= (- X_0 Y_0) 1))", "a further output"),
        ("(assert (<= (+ X_0 (* 1e-200 X_0) (* 1e-200 X_1)) 1))(declare-const X_1 Real)", "'X_1' is neither"),
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
fn relations_among_inputs() {
    let head = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)";
    let cases = |text: &str| parse(&format!("{head}{text}(assert (<= Y_0 0))")).map(|s| s.cases);
    // Bounds with factors are bounds, also where they are written as a chain.
    let plain = cases("(assert (<= -1 (* 4 X_0) 2))(assert (<= 0 (* -2 X_1) 1))").unwrap();
    assert_eq!((&plain[0].lower[..], &plain[0].upper[..]), (&[-0.25f32, -0.5][..], &[0.5f32, 0.0][..]));
    assert!(plain[0].relations.is_empty() && plain[0].exact[0].upper.value == Decimal::parse("0.5").unwrap());
    // An end may follow from a relation, and boxes are narrowed by them.
    let unit = "(assert (<= 0 X_0 1))(assert (>= X_1 0))";
    let case = &cases(&format!("{unit}(assert (<= (+ X_0 X_1 X_1) 0.5))")).unwrap()[0];
    // Outward, by the next float.
    assert!(case.upper[0] >= 0.5 && case.upper[0] < 0.500_001 && case.upper[1] >= 0.25 && case.upper[1] < 0.250_001);
    assert_eq!(case.relations.len(), 1);
    let d = |t: &str| Decimal::parse(t).unwrap();
    assert!(case.contains(&[d("0.3"), d("0.1")]) && !case.contains(&[d("0.3"), d("0.1000001")]));
    assert!(cases(&format!("{unit}(assert (<= X_0 X_1))")).unwrap_err().contains("input 1 has no upper bound"));
    assert!(cases(&format!("{unit}(assert (<= X_1 1))(assert (>= (+ X_0 X_1) 2.1))")).unwrap().is_empty());
    // A third is no decimal.
    let third = &cases(&format!("{unit}(assert (<= X_1 1))(assert (<= (* 3 X_0) 1))")).unwrap()[0];
    assert!(third.relations.len() == 1 && third.upper[0] > 0.333_333 && third.upper[0] < 0.333_334);
    // Alternatives with different relations are different cases.
    let text = format!("{unit}(assert (<= X_1 1))(assert (or (<= X_0 X_1) (>= X_0 X_1) (<= X_0 X_1)))");
    assert_eq!(cases(&text).unwrap().iter().map(|c| c.disjuncts.len()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn texts_as_editors_save_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.vnnlib");
    let wide = |bytes: fn(u16) -> [u8; 2]| format!("\u{feff}{V1}").encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    let latin: Vec<u8> = [b"; propri\xe9t\xe9 \xb1 0.1\r\n", V1.as_bytes()].concat();
    let old = format!("; lines end as they did\r{}", V1.replace('\n', "\r"));
    let marked = format!("\u{feff}{V1}");
    assert_eq!(parse(&marked).unwrap(), parse(V1).unwrap());
    for bytes in [marked.into_bytes(), wide(u16::to_le_bytes), wide(u16::to_be_bytes), latin, old.into_bytes()] {
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), parse(V1).unwrap(), "{:?}", &bytes[..8]);
    }
    std::fs::write(&path, b"(declare-const X_\xe9 Real)").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("line 1, column 16"));
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
