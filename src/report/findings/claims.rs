//! The published study's claims, re-examined on this study's figures.

use super::noise::relevance_of;
use super::{Roles, both_units, ends, pull};
use crate::report::chart::{number, percent};
use crate::report::stats;
use crate::results::{Claim, ExampleLevel, ModelResult, RelevanceSummary, Study, Verdict};

/// One entry per claim of the study, in its order; empty unless the three kinds of model are there.
pub fn claims(study: &Study) -> Vec<Claim> {
    let roles = Roles::of(study);
    let (Some(none), Some(one), Some(all)) = (roles.none, roles.one, roles.all) else { return Vec::new() };
    let three = Three { study, none, one, all };
    vec![
        three.slippers_fall(),
        three.contour(),
        three.dominance(),
        three.background(),
        three.example_flips(),
        three.overlap(),
        three.drift(),
        three.accuracy_under_noise(),
        three.stable_space(),
        three.whole_test_set(),
        three.accuracy_is_not_all(),
    ]
}

/// Accuracies nearer than this are called equal.
const CLEAR: f64 = 0.005;

struct Three<'a> {
    study: &'a Study,
    none: &'a ModelResult,
    one: &'a ModelResult,
    all: &'a ModelResult,
}

fn claim(text: impl Into<String>, verdict: Verdict, evidence: impl Into<String>) -> Claim {
    Claim { claim: text.into(), verdict, evidence: evidence.into() }
}

fn judged(text: &str, holds: Option<bool>, evidence: String) -> Claim {
    let verdict = match holds {
        Some(true) => Verdict::Holds,
        Some(false) => Verdict::DoesNotHold,
        None => Verdict::NotMeasured,
    };
    claim(text, verdict, if holds.is_some() { evidence } else { "Not measured in this run.".into() })
}

/// The main example's levels.
fn levels(m: &ModelResult) -> &[ExampleLevel] {
    m.examples.first().map_or(&[], |e| &e.levels)
}

impl Three<'_> {
    fn models(&self) -> [&ModelResult; 3] {
        [self.none, self.one, self.all]
    }

    fn slippers_fall(&self) -> Claim {
        let class = self.one.augmented[0];
        let name = &self.study.dataset.classes[class];
        let text = format!(
            "Clean confusion matrices are about equal, except that a smaller share of {name} is rightly classified after augmentation."
        );
        let rates = self.models().map(|m| m.sweep.first().and_then(|l| l.class_rate(class)));
        let [Some(a), Some(b), Some(c)] = rates else { return judged(&text, None, String::new()) };
        let evidence = format!(
            "{name} rightly classified: {} {}, {} {}, {} {}.",
            percent(a),
            self.none.name,
            percent(b),
            self.one.name,
            percent(c),
            self.all.name
        );
        let verdict = match (b < a - CLEAR, c < a - CLEAR) {
            (true, true) => Verdict::Holds,
            (false, false) => Verdict::DoesNotHold,
            _ => Verdict::Partly,
        };
        claim(text, verdict, evidence)
    }

    fn contour(&self) -> Claim {
        let text = "The all-augmented model looks at the contour of the object more than the others.";
        let shares: Vec<_> = self.models().iter().filter_map(|m| relevance_of(m).first().copied()).collect();
        let [a, b, c] = shares[..] else { return judged(text, None, String::new()) };
        let show = |m: &ModelResult, s: &RelevanceSummary| format!("{} {}", m.name, super::spread(&s.contour));
        let evidence = format!(
            "Share of relevance on the contour over the test images: {}, {}, {}.",
            show(self.none, a),
            show(self.one, b),
            show(self.all, c)
        );
        // More than two standard errors of the difference: the spread over images is wide, their number large.
        let more = |x: &RelevanceSummary, y: &RelevanceSummary| {
            let error = |s: &RelevanceSummary| s.contour.deviation.powi(2) / s.images.max(1) as f64;
            x.contour.mean - y.contour.mean > 2.0 * (error(x) + error(y)).sqrt()
        };
        judged(text, Some(more(c, a) && more(c, b)), evidence)
    }

    fn dominance(&self) -> Claim {
        let text = "On the clean example image, dominance is more distinct for the models trained with augmentation.";
        let proved = self.models().map(|m| levels(m).first().and_then(|l| l.proved));
        let [Some(a), Some(b), Some(c)] = proved else { return judged(text, None, String::new()) };
        let evidence = format!(
            "Dominance of the example is proved up to {} ({}), {} ({}), {} ({}).",
            number(a),
            self.none.name,
            number(b),
            self.one.name,
            number(c),
            self.all.name
        );
        let verdict = match (b > a, c > a) {
            (true, true) => Verdict::Holds,
            (false, false) => Verdict::DoesNotHold,
            _ => Verdict::Partly,
        };
        claim(text, verdict, evidence)
    }

    fn background(&self) -> Claim {
        let text = "As noise grows the models take the background into account, the all-augmented one least.";
        let moved: Vec<f64> = self
            .models()
            .iter()
            .filter_map(|m| {
                let all = relevance_of(m);
                let (first, last) = (all.first()?, all.last()?);
                (first.variance < last.variance).then_some(last.background.mean - first.background.mean)
            })
            .collect();
        let [a, b, c] = moved[..] else { return judged(text, None, String::new()) };
        let evidence = format!(
            "Change of the background's share from clean to noisiest: {} {}, {} {}, {} {}.",
            self.none.name,
            super::points(a),
            self.one.name,
            super::points(b),
            self.all.name,
            super::points(c)
        );
        let verdict = match (a > 0.0 && b > 0.0, c < a && c < b) {
            (true, true) => Verdict::Holds,
            (false, false) => Verdict::DoesNotHold,
            _ => Verdict::Partly,
        };
        claim(text, verdict, evidence)
    }

    fn example_flips(&self) -> Claim {
        let text = "At the highest noise, only the model without augmentation misclassifies the example image.";
        let label = self.none.examples.first().map(|e| e.label);
        let called = self.models().map(|m| levels(m).last().map(|l| l.predicted));
        let (Some(label), [Some(a), Some(b), Some(c)]) = (label, called) else {
            return judged(text, None, String::new());
        };
        let name = |c: usize| &self.study.dataset.classes[c];
        let evidence = if a == b && b == c {
            format!("The noisiest example ({}) is called {} by all three.", name(label), name(a))
        } else {
            format!(
                "The noisiest example ({}) is called {} by {}, {} by {}, {} by {}.",
                name(label),
                name(a),
                self.none.name,
                name(b),
                self.one.name,
                name(c),
                self.all.name
            )
        };
        judged(text, Some(a != label && b == label && c == label), evidence)
    }

    fn overlap(&self) -> Claim {
        let text = "Class intervals can overlap without dominance being lost.";
        let boxes: Vec<&ExampleLevel> =
            self.study.models.iter().flat_map(|m| &m.examples).flat_map(|e| &e.levels).filter(|l| l.dominant).collect();
        let overlap = |l: &&&ExampleLevel| {
            let own = l.logit_bounds[l.predicted][0];
            l.logit_bounds.iter().enumerate().any(|(c, b)| c != l.predicted && b[1] >= own)
        };
        let count = boxes.iter().filter(overlap).count();
        let evidence = format!(
            "{count} of {} dominance pictures with proved dominance have overlapping logit intervals.",
            boxes.len()
        );
        if count == 0 && !boxes.is_empty() {
            let evidence = format!(
                "None of the {} dominance pictures with proved dominance shows it; wider boxes may.",
                boxes.len()
            );
            return claim(text, Verdict::NotMeasured, evidence);
        }
        judged(text, (!boxes.is_empty()).then_some(true), evidence)
    }

    fn drift(&self) -> Claim {
        let class = self.one.augmented[0];
        let name = &self.study.dataset.classes[class];
        let text = format!("Augmenting {name} alone biases the model toward {name} under noise.");
        let (Some((clean, noisy)), Some((_, base))) = (ends(self.one), ends(self.none)) else {
            return judged(&text, None, String::new());
        };
        let (before, after, other) = (pull(clean, class), pull(noisy, class), pull(base, class));
        let evidence = format!(
            "Images of other classes called {name}: by {} {} clean and {} at the strongest noise; by {} {} at the strongest noise.",
            self.one.name,
            percent(before),
            percent(after),
            self.none.name,
            percent(other)
        );
        let verdict = match (after - before > 0.02, after - other > 0.02) {
            (true, true) => Verdict::Holds,
            (false, false) => Verdict::DoesNotHold,
            _ => Verdict::Partly,
        };
        claim(text, verdict, evidence)
    }

    fn accuracy_under_noise(&self) -> Claim {
        let text = "Under the highest noise the all-augmented model classifies best.";
        let rates = self.models().map(|m| ends(m).map(|e| e.1.accuracy.mean));
        let [Some(a), Some(b), Some(c)] = rates else { return judged(text, None, String::new()) };
        let evidence = format!(
            "Accuracy at the noisiest level: {} {}, {} {}, {} {}.",
            self.none.name,
            percent(a),
            self.one.name,
            percent(b),
            self.all.name,
            percent(c)
        );
        let lead = c - a.max(b);
        let verdict = match lead {
            l if l > CLEAR => Verdict::Holds,
            l if l > 0.0 => Verdict::Partly,
            _ => Verdict::DoesNotHold,
        };
        claim(text, verdict, evidence)
    }

    fn stable_space(&self) -> Claim {
        let text = "The example image's delta max is highest for the all-augmented model at every noise level.";
        let curve = |m: &ModelResult| levels(m).iter().map(|l| l.proved).collect::<Option<Vec<f64>>>();
        let curves = self.models().map(curve);
        let [Some(a), Some(b), Some(c)] = &curves else { return judged(text, None, String::new()) };
        let wins = c.iter().zip(a.iter().zip(b)).filter(|(c, (a, b))| c > a && c > b).count();
        if c.is_empty() {
            return judged(text, None, String::new());
        }
        let evidence =
            format!("{} has the highest proved delta max at {wins} of {} noise levels.", self.all.name, c.len());
        let verdict = match wins {
            w if w == c.len() => Verdict::Holds,
            0 => Verdict::DoesNotHold,
            _ => Verdict::Partly,
        };
        claim(text, verdict, evidence)
    }

    fn medians(&self) -> Option<[f64; 3]> {
        let medians = self.models().map(|m| stats::median(m.rows_at(0.0).map(|r| r.proved)));
        medians.iter().all(|m| m.is_finite()).then_some(medians)
    }

    fn whole_test_set(&self) -> Claim {
        let text = "Augmentation makes the model more robust (asked of one image there, of the whole test set here).";
        let Some([a, b, c]) = self.medians() else { return judged(text, None, String::new()) };
        let evidence = format!(
            "Median proved delta max: {} {}, {} {}, {} {}.",
            self.none.name,
            both_units(a),
            self.one.name,
            both_units(b),
            self.all.name,
            both_units(c)
        );
        let verdict = match (b > a, c > a) {
            (true, true) => Verdict::Holds,
            (false, false) => Verdict::DoesNotHold,
            _ => Verdict::Partly,
        };
        claim(text, verdict, evidence)
    }

    fn accuracy_is_not_all(&self) -> Claim {
        let text = "Augmentation costs a little accuracy and buys robustness: accuracy is not the only figure.";
        let (Some([a, _, c]), Some(x), Some(y)) =
            (self.medians(), self.none.clean_accuracy(), self.all.clean_accuracy())
        else {
            return judged(text, None, String::new());
        };
        let evidence = format!(
            "{} against {}: accuracy {}, median proved delta max {} times as large.",
            self.all.name,
            self.none.name,
            super::points(y - x),
            number(c / a)
        );
        judged(text, Some(y < x && c > a), evidence)
    }
}
