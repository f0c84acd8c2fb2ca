//! Counterexamples that lie where f32 numbers do not: at decimals, in boxes between two floats, at the very edge of a
//! condition, on relations among inputs, and at corners that no gradient leads to.

use super::*;

/// `y0 = x0 + x1`, `y1 = max(x0 - x1, 0)`.
fn sum() -> Model {
    let first: &[f32] = &[1.0, 0.0, 0.0, 1.0, 1.0, -1.0, -1.0, 0.0, 0.0, -1.0];
    mlp(2, &[(first, &[0.0; 5]), (&[1.0, 1.0, 0.0, -1.0, -1.0, 0.0, 0.0, 1.0, 0.0, 0.0], &[0.0; 2])])
}

const UNIT: [(&str, &str); 2] = [("0", "1"), ("0", "1")];

fn quick(model: &Model, text: &str) -> &'static str {
    let start = Instant::now();
    let word = answer_with(model, text, Method::Crown, 20.0).word();
    assert!(start.elapsed() < Duration::from_secs(10), "{word} after {:?}", start.elapsed());
    word
}

#[test]
fn inputs_that_are_no_floats() {
    let ask = |ranges: [(&str, &str); 2], condition: &str| quick(&sum(), &property(&ranges, 2, condition));
    let tenth = [("0.1", "0.1"), ("0", "1")];
    let fixed = [("0.1", "0.1"), ("0.7", "0.7")];
    let between = [("0.10000000001", "0.10000000002"), ("0.3", "0.3")];
    for (ranges, condition, word) in [
        (tenth, "(>= Y_0 0.9)", "sat"),
        (fixed, "(>= Y_0 0.5)", "sat"),
        (fixed, "(>= Y_0 0.80000001)", "unsat"),
        // 0.1 + 0.7 is 0.8 of decimals, whatever it is of floats.
        (fixed, "(>= Y_0 0.8)", "sat"),
        (fixed, "(> Y_0 0.8)", "unsat"),
        (fixed, "(and (<= Y_0 0.8) (>= Y_0 0.8))", "sat"),
        (fixed, "(and (<= Y_0 0.8) (>= Y_1 0.1))", "unsat"),
        (between, "(>= Y_0 0.4)", "sat"),
        (between, "(>= Y_0 0.41)", "unsat"),
        (between, "(<= Y_0 0.4)", "unsat"),
    ] {
        assert_eq!(ask(ranges, condition), word, "{ranges:?} {condition}");
    }
}

#[test]
fn conditions_that_hold_at_their_very_edge() {
    for (ranges, condition, word) in [
        (UNIT, "(<= Y_1 0)", "sat"),
        (UNIT, "(>= Y_0 2)", "sat"),
        (UNIT, "(>= Y_0 2.0001)", "unsat"),
        (UNIT, "(<= Y_1 -0.0001)", "unsat"),
        // Only f64 sees this, and only on the last of many small boxes.
        (UNIT, "(<= Y_1 -0.000001)", "unsat"),
        ([("0", "0.1"), ("0", "0.3")], "(>= Y_0 0.4)", "sat"),
        ([("0.75", "0.75"), ("0.5", "0.5")], "(>= Y_0 1.25)", "sat"),
        ([("0.75", "0.75"), ("0.5", "0.5")], "(>= Y_0 1.2500001)", "unsat"),
        ([("-1", "1"), ("-1", "1")], "(and (<= Y_0 -2) (<= Y_1 0))", "sat"),
    ] {
        assert_eq!(quick(&sum(), &property(&ranges, 2, condition)), word, "{ranges:?} {condition}");
    }
}

#[test]
fn relations_are_kept_by_points_and_used_by_proofs() {
    let ask = |relations: &[&str], condition: &str| {
        let relations: String = relations.iter().map(|r| format!("(assert {r})\n")).collect();
        quick(&sum(), &(property(&UNIT, 2, condition) + &relations))
    };
    for (relations, condition, word) in [
        (&["(<= (+ X_0 X_1) 1.0)"][..], "(>= Y_0 1.5)", "unsat"),
        (&["(<= (+ X_0 X_1) 1.0)"], "(>= Y_0 1)", "sat"),
        (&["(<= (+ X_0 X_1) 1.0)"], "(>= Y_0 0.99)", "sat"),
        (&["(= X_0 (+ X_1 0.1))"], "(>= Y_0 1.8)", "sat"),
        (&["(= X_0 (+ X_1 0.1))"], "(>= Y_1 0.11)", "unsat"),
        (&["(= X_0 (+ X_1 0.1))"], "(>= Y_1 0.1)", "sat"),
        (&["(< X_0 X_1)"], "(and (> Y_0 1.9) (<= Y_1 0))", "sat"),
        (&["(< X_0 X_1)"], "(>= Y_1 0.001)", "unsat"),
        (&["(>= X_0 X_1)", "(<= (* 3 X_0) 1)"], "(>= Y_0 0.67)", "unsat"),
        (&["(>= X_0 X_1)", "(<= (* 3 X_0) 1)"], "(>= Y_0 0.66)", "sat"),
        (&["(>= (+ X_0 X_1) 1.5)", "(<= (- X_0 X_1) -0.6)"], "(>= Y_0 0)", "unsat"),
    ] {
        assert_eq!(ask(relations, condition), word, "{relations:?} {condition}");
    }
}

#[test]
fn points_are_printed_as_what_was_checked() {
    let folder = Folder::new();
    folder.write("p.vnnlib", &property(&[("0.1", "0.1"), ("0", "0.7")], 2, "(>= Y_0 0.8)"));
    let out = folder.run(&["net.onnx", "p.vnnlib"]);
    assert!(text(&out.stdout).starts_with("sat\n((X_0 0.1)\n (X_1 0.7)\n"), "{out:?}");
}

#[test]
fn corners_that_satisfy_clauses() {
    // Clauses of three literals that a planted corner satisfies: y0 is the number of those that do not hold. Between
    // corners inputs cost, so that nothing but a corner will do.
    let (n, clauses) = (24, 96);
    let mut rng = Rng::new(8, 5);
    let planted: Vec<bool> = (0..n).map(|_| rng.below(2) == 1).collect();
    let (mut weight, mut bias) = (vec![], vec![]);
    while bias.len() < clauses {
        let mut inputs: Vec<usize> = (0..n).collect();
        rng.shuffle(&mut inputs);
        let literals: Vec<(usize, bool)> = inputs[..3].iter().map(|&k| (k, rng.below(2) == 1)).collect();
        if literals.iter().any(|(k, sign)| planted[*k] == *sign) {
            let mut row = vec![0.0; n];
            literals.iter().for_each(|(k, sign)| row[*k] = if *sign { -1.0 } else { 1.0 });
            bias.push(1.0 - literals.iter().filter(|l| !l.1).count() as f32);
            weight.extend(row);
        }
    }
    // y1 = sum of |2 x - 1|, n at corners only.
    for (k, sign) in (0..n).flat_map(|k| [(k, 2.0), (k, -2.0)]) {
        weight.extend((0..n).map(|i| if i == k { sign } else { 0.0 }));
        bias.push(-0.5 * sign);
    }
    let last = |first: f32, second: f32| [vec![first; clauses], vec![second; 2 * n]].concat();
    let model = mlp(n, &[(&weight, &bias), (&[last(1.0, 0.0), last(0.0, 1.0)].concat(), &[0.0; 2])]);
    let text = property(&vec![("0", "1"); n], 2, &format!("(and (<= Y_0 0) (>= Y_1 {n}))"));
    assert_eq!(quick(&model, &text), "sat");
}
