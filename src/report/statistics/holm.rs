//! Many comparisons at once.

/// Adjusted p of each comparison by Holm's procedure with weights (Holm 1979): calling those below 0.05 clear errs with any
/// of them in at most 5 % of cases, however the comparisons depend on each other. A larger weight asks for less; weights that
/// add up to less than 1 leave the rest of the error unspent.
pub fn holm(tests: &[(f64, f64)]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..tests.len()).collect();
    order.sort_by(|&a, &b| (tests[a].0 / tests[a].1).total_cmp(&(tests[b].0 / tests[b].1)));
    let mut left = tests.iter().map(|t| t.1).sum::<f64>().max(1.0);
    let mut adjusted = vec![1.0; tests.len()];
    let mut largest = 0.0f64;
    for i in order {
        let (p, weight) = tests[i];
        largest = largest.max((p * left / weight).min(1.0));
        adjusted[i] = largest;
        left -= weight;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_and_weights() {
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&holm(&[(0.01, 1.0), (0.04, 1.0), (0.03, 1.0)]), &[0.03, 0.06, 0.06]));
        assert!(near(&holm(&[(0.02, 3.0), (0.03, 1.0)]), &[0.02 * 4.0 / 3.0, 0.03]));
        assert!(near(&holm(&[(0.01, 0.25), (0.01, 0.25)]), &[0.04, 0.04]));
        assert!(holm(&[]).is_empty());
    }
}
