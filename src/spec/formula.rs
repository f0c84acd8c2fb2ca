//! Formulas over bounds on inputs, relations among them and linear constraints on outputs, and their normal form.

use std::collections::HashMap;

use super::case::narrow;
use super::decimal::Decimal;
use super::{Bound, Case, Linear, Range, Relation};

/// Bounds and constraints a normal form may hold; beyond that the property is refused.
const MAX_LITERALS: usize = 1 << 22;

/// A formula without negation.
#[derive(Clone, Debug, PartialEq)]
pub enum Formula {
    Input(InputBound),
    Relation(Relation),
    Output(Linear),
    And(Vec<Formula>),
    /// Empty: never holds.
    Or(Vec<Formula>),
}

/// A bound on one input.
#[derive(Clone, Debug, PartialEq)]
pub struct InputBound {
    pub input: usize,
    pub upper: bool,
    pub bound: Bound,
}

/// A conjunction.
#[derive(Clone, Debug, Default, PartialEq)]
struct Clause {
    bounds: Vec<InputBound>,
    relations: Vec<Relation>,
    outputs: Vec<Linear>,
}

impl Clause {
    fn len(&self) -> usize {
        let all = self.relations.iter().map(Relation::exact).chain(&self.outputs);
        let terms: usize = all.map(|l| 1 + l.terms.len()).sum();
        1 + self.bounds.len() + terms
    }

    fn and(&self, other: &Clause) -> Clause {
        Clause {
            bounds: [&self.bounds[..], &other.bounds].concat(),
            relations: [&self.relations[..], &other.relations].concat(),
            outputs: [&self.outputs[..], &other.outputs].concat(),
        }
    }
}

/// Moves what holds in every case from `formula` into `base`; the rest, with its alternatives, into `choices`.
fn separate(formula: Formula, base: &mut Clause, choices: &mut Vec<Vec<Formula>>) {
    match formula {
        Formula::Input(b) => base.bounds.push(b),
        Formula::Relation(r) => base.relations.push(r),
        Formula::Output(l) => base.outputs.push(l),
        Formula::And(parts) => parts.into_iter().for_each(|p| separate(p, base, choices)),
        Formula::Or(mut parts) if parts.len() == 1 => separate(parts.remove(0), base, choices),
        Formula::Or(parts) => choices.push(parts),
    }
}

/// The disjunctive normal form of a conjunction of formulas, apart from `base`, which holds in every clause.
fn normal(formulas: Vec<Formula>, base: &mut Clause) -> Result<Vec<Clause>, String> {
    let mut choices = vec![];
    formulas.into_iter().for_each(|f| separate(f, base, &mut choices));
    let mut clauses = vec![Clause::default()];
    let refuse = || Err("the property has too many combinations of alternatives; ask it in parts".to_string());
    for choice in choices {
        let (mut alternatives, mut literals) = (vec![], 0usize);
        for formula in choice {
            let mut own = Clause::default();
            let inner = normal(vec![formula], &mut own)?;
            literals += inner.iter().map(|c| own.len() + c.len()).sum::<usize>();
            if literals > MAX_LITERALS {
                return refuse();
            }
            alternatives.extend(inner.into_iter().map(|c| own.and(&c)));
        }
        let size = |c: &[Clause]| c.iter().map(Clause::len).sum::<usize>();
        let literals =
            size(&clauses).saturating_mul(alternatives.len()) + clauses.len().saturating_mul(size(&alternatives));
        if literals > MAX_LITERALS {
            return refuse();
        }
        clauses = clauses.iter().flat_map(|c| alternatives.iter().map(|a| c.and(a))).collect();
    }
    Ok(clauses)
}

/// The cases of a property that asserts all of `formulas`.
///
/// # Errors
/// An input without bounds, or too many alternatives.
pub fn cases(formulas: Vec<Formula>, inputs: usize) -> Result<Vec<Case>, String> {
    let mut base = Clause::default();
    let clauses = normal(formulas, &mut base)?;
    let mut common: Vec<[Option<Bound>; 2]> = vec![[None, None]; inputs];
    base.bounds.iter().for_each(|b| tighten(&mut common, b));
    // Clauses with the same inputs share one box.
    let mut groups: Vec<(Clause, Vec<Vec<Linear>>)> = vec![];
    let mut seen: HashMap<String, usize> = HashMap::new();
    for clause in clauses {
        let k = *seen.entry(key(&clause)).or_insert(groups.len());
        let outputs = [&base.outputs[..], &clause.outputs].concat();
        if k == groups.len() {
            groups.push((clause, vec![]));
        }
        groups[k].1.push(outputs);
    }
    if groups.len().saturating_mul(inputs) > MAX_LITERALS {
        return Err("the property has too many input boxes".into());
    }
    let mut cases = vec![];
    for (clause, disjuncts) in groups {
        let mut ends = common.clone();
        clause.bounds.iter().for_each(|b| tighten(&mut ends, b));
        let relations = [&base.relations[..], &clause.relations].concat();
        let lower = |[end, _]: &[Option<Bound>; 2]| end.as_ref().map_or(f32::NEG_INFINITY, |b| b.value.to_f32_down());
        let upper = |[_, end]: &[Option<Bound>; 2]| end.as_ref().map_or(f32::INFINITY, |b| b.value.to_f32_up());
        let (mut lower, mut upper): (Vec<f32>, Vec<f32>) = ends.iter().map(|e| (lower(e), upper(e))).unzip();
        let some_left = narrow(&relations, &mut lower, &mut upper);
        // An end that is not written may follow from relations.
        let mut exact = vec![];
        for (k, [low, high]) in ends.into_iter().enumerate() {
            let end = |written: Option<Bound>, follows: f32| {
                let derived = || follows.is_finite().then(|| Decimal::from_f64(follows.into()));
                written.or_else(|| Some(Bound { value: derived()?, strict: false }))
            };
            match (end(low, lower[k]), end(high, upper[k])) {
                (Some(lower), Some(upper)) => exact.push(Range { lower, upper }),
                (None, _) => return Err(format!("input {k} has no lower bound")),
                (_, None) => return Err(format!("input {k} has no upper bound")),
            }
        }
        if !some_left || exact.iter().any(Range::is_empty) {
            continue;
        }
        if let Some(k) = (0..inputs).find(|&k| !lower[k].is_finite() || !upper[k].is_finite()) {
            return Err(format!("the bounds of input {k} are beyond the range of 32 bit floats"));
        }
        cases.push(Case { lower, upper, exact, relations, disjuncts });
    }
    Ok(cases)
}

fn tighten(ends: &mut [[Option<Bound>; 2]], new: &InputBound) {
    let end = &mut ends[new.input][usize::from(new.upper)];
    let tighter = end.as_ref().is_none_or(|old| {
        let order = new.bound.value.cmp(&old.value);
        let order = if new.upper { order.reverse() } else { order };
        order.is_gt() || (order.is_eq() && new.bound.strict)
    });
    if tighter {
        *end = Some(new.bound.clone());
    }
}

/// Equal for equal lists of bounds and relations.
fn key(clause: &Clause) -> String {
    let bounds = clause.bounds.iter().map(|b| format!("{} {} {} {}", b.input, b.upper, b.bound.strict, b.bound.value));
    let term = |(k, a): &(usize, Decimal)| format!("{k} {a}");
    let relations = clause.relations.iter().map(Relation::exact).map(|l| {
        let terms: Vec<String> = l.terms.iter().map(term).collect();
        format!("{} {} {}", l.strict, l.constant, terms.join(" "))
    });
    bounds.chain(relations).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(input: usize, upper: bool, value: &str) -> Formula {
        let bound = Bound { value: Decimal::parse(value).unwrap(), strict: false };
        Formula::Input(InputBound { input, upper, bound })
    }

    fn output(k: usize) -> Formula {
        Formula::Output(Linear { terms: vec![(k, Decimal::one())], constant: Decimal::ZERO, strict: false })
    }

    #[test]
    fn boxes_are_intersected_and_shared() {
        let slab = |low: &str, high: &str, k| Formula::And(vec![input(0, false, low), input(0, true, high), output(k)]);
        let formulas = vec![
            input(0, false, "0"),
            input(0, true, "10"),
            Formula::Or(vec![slab("-1", "2", 0), slab("-1", "2", 1), slab("8", "20", 2), slab("11", "12", 3)]),
            output(4),
        ];
        let cases = cases(formulas, 1).unwrap();
        let boxes: Vec<_> = cases.iter().map(|c| (c.lower[0], c.upper[0], c.disjuncts.len())).collect();
        assert_eq!(boxes, [(0.0, 2.0, 2), (8.0, 10.0, 1)]);
        assert!(cases.iter().all(|c| c.disjuncts.iter().all(|d| d.len() == 2)));
    }

    #[test]
    fn products_of_alternatives() {
        let or = |a, b| Formula::Or(vec![output(a), output(b)]);
        let formulas = vec![input(0, false, "0"), input(0, true, "1"), or(0, 1), or(2, 3)];
        assert_eq!(cases(formulas, 1).unwrap()[0].disjuncts.len(), 4);
        let many = (0..40).map(|_| or(0, 1)).collect();
        assert!(cases(many, 0).unwrap_err().contains("too many"));
        assert!(cases(vec![Formula::Or(vec![])], 0).unwrap().is_empty());
    }

    #[test]
    fn missing_bounds_are_named() {
        assert_eq!(cases(vec![input(0, false, "0")], 1).unwrap_err(), "input 0 has no upper bound");
    }
}
