//! Requirements as a test report that pipelines read: JUnit XML.

use crate::results::Judged;
use maud::{PreEscaped, html};

/// How such a file begins.
pub const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"deltamax gate\"";

/// One suite per model, one case per requirement. `ready` are the models that meet everything: where there is one, what the
/// others miss is skipped rather than failed, since nobody has to ship them.
pub fn junit(judged: &[Judged], ready: &[&str]) -> String {
    let mut models: Vec<&str> = Vec::new();
    judged.iter().for_each(|j| {
        if !models.contains(&j.model.as_str()) {
            models.push(&j.model)
        }
    });
    let spared = |j: &Judged| !ready.is_empty() && !ready.contains(&j.model.as_str());
    let count = |test: &dyn Fn(&Judged) -> bool, of: Option<&str>| {
        judged.iter().filter(|j| of.is_none_or(|m| m == j.model) && !j.met && test(j)).count()
    };
    let failed = |of: Option<&str>| count(&|j| !spared(j), of);
    let skipped = |of: Option<&str>| count(&|j| spared(j), of);
    let suites = html! {
        @for model in &models {
            @let cases: Vec<&Judged> = judged.iter().filter(|j| j.model == *model).collect();
            testsuite name=(model) tests=(cases.len()) failures=(failed(Some(model))) skipped=(skipped(Some(model))) errors="0" {
                @for j in cases {
                    testcase classname=(format!("deltamax.{model}")) name=(j.requirement) {
                        @if j.met { } @else if spared(j) { skipped message=(message(j)) {} } @else { failure message=(message(j)) type="requirement" {} }
                    }
                }
            }
        }
    };
    let counts = html! { (PreEscaped(format!(" tests=\"{}\" failures=\"{}\" skipped=\"{}\"", judged.len(), failed(None), skipped(None)))) };
    // XML has no control characters but these three.
    let text = format!("{HEAD}{}>{}</testsuites>\n", counts.into_string(), suites.into_string());
    text.chars().filter(|c| !c.is_control() || "\n\t\r".contains(*c)).collect()
}

/// What was measured: `0.91 in the worst of 3 trainings (0.91, 0.93, 0.94)`.
pub fn message(j: &Judged) -> String {
    let least = j.values.iter().copied().fold(f64::INFINITY, f64::min);
    match &j.values[..] {
        [] => "not measured".into(),
        [one] => short(*one),
        all => {
            let each: Vec<String> = all.iter().map(|v| short(*v)).collect();
            format!("{} in the worst of {} trainings ({})", short(least), all.len(), each.join(", "))
        }
    }
}

/// Four decimals, without trailing zeros.
fn short(v: f64) -> String {
    let text = format!("{v:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(model: &str, values: &[f64], met: bool) -> Judged {
        let requirement = "accuracy>=0.9".to_string();
        Judged { model: model.into(), requirement, least: 0.9, values: values.to_vec(), met }
    }

    #[test]
    fn what_fails_and_what_is_spared() {
        let all = [judged("a\"<&\u{1}", &[0.8, 0.95], false), judged("b", &[0.95], true)];
        let text = junit(&all, &[]);
        assert!(text.starts_with(HEAD) && text.contains("tests=\"2\" failures=\"1\" skipped=\"0\""), "{text}");
        assert!(text.contains("name=\"a&quot;&lt;&amp;\"") && text.contains("name=\"accuracy&gt;=0.9\""), "{text}");
        assert!(text.contains("<failure message=\"0.8 in the worst of 2 trainings (0.8, 0.95)\""), "{text}");
        let spared = junit(&all, &["b"]);
        assert!(spared.contains("failures=\"0\" skipped=\"1\"") && spared.contains("<skipped message"), "{spared}");
        assert_eq!(message(&judged("c", &[], false)), "not measured");
    }
}
