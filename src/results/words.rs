//! What the report says of the results: findings, claims, and which model to take.

use super::Judged;
use serde::{Deserialize, Serialize};

/// A sentence that the figures support.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which kind of sentence this is: its row in the table of `docs/findings.md`.
    #[serde(default)]
    pub kind: String,
    /// Short, e.g. `Boots turn into Shoes`.
    pub title: String,
    /// What is found, in one sentence.
    pub sentence: String,
    /// The numbers behind the sentence, named.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

/// A named number. `unit` is `""`, `"%"` (the value is a share in `[0,1]`) or `"delta"`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it is, in words.
    pub name: String,
    /// In its unit.
    pub value: f64,
    /// See [`Figure`].
    #[serde(default)]
    pub unit: String,
}

/// Whether a claim of the published study is seen in these results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is seen.
    Holds,
    /// For some models, classes or noise levels.
    Partly,
    /// The opposite is seen.
    DoesNotHold,
    /// These images and trainings do not tell.
    NotClear,
    /// These results do not say.
    NotMeasured,
}

/// A claim of the published study and what these results say about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// As in [`Finding::kind`].
    #[serde(default)]
    pub kind: String,
    /// The claim, in one sentence.
    pub claim: String,
    /// Whether it is seen.
    pub verdict: Verdict,
    /// The figures that say so.
    pub evidence: String,
}

/// Which model to take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    /// Its kind.
    pub outcome: Outcome,
    /// Names of the models it is about: the one to take, those that are tied, or none.
    pub models: Vec<String>,
    /// The outcome in one sentence.
    pub sentence: String,
    /// Figures of the models it is about, in words.
    #[serde(default)]
    pub why: Vec<String>,
    /// What speaks against them.
    #[serde(default)]
    pub cautions: Vec<String>,
    /// Models that are the same file, by name.
    #[serde(default)]
    pub identical: Vec<Vec<String>>,
    /// Every model against every requirement.
    #[serde(default)]
    pub judged: Vec<Judged>,
}

/// How a comparison of models ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// One model is clearly better than each other in something, and clearly worse in nothing.
    Best,
    /// No difference between the models that remain is more than chance.
    Tied,
    /// Each of the models that remain is clearly better than another in something.
    EachItsOwn,
    /// No model reaches what was required.
    NoneReady,
    /// There is but one model.
    #[default]
    Single,
}
