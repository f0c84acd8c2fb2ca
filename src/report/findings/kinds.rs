//! Every kind of sentence a page may say of its figures, with the statistic behind it: the rows of `docs/findings.md`.

/// Name, what it says, what it rests on.
pub const KINDS: [(&str, &str, &str); 23] = [
    (
        "verdict",
        "Which model to take; that several are tied; that each is best in something; that none meets what was required",
        "Paired comparisons of every two models in three figures: accuracy averaged over the classes, clean and at the strongest noise, and median proved delta max. Requirements are met where every training reaches them",
    ),
    (
        "best figure",
        "A figure in bold in the table of the first card",
        "It is clearly better than that of every other model: paired comparisons in that figure",
    ),
    (
        "identical",
        "Some models are the same one",
        "SHA-256 of the files of all trainings; without them, every answer and every radius alike",
    ),
    (
        "constant",
        "A model gives one answer to all images, and is left out of the comparisons in words",
        "All clean test images, of several classes, are called one class in a training; nothing is compared",
    ),
    (
        "guessing",
        "A model may as well guess, and is left out of the comparisons in words; none is ready where all may",
        "Permutation test (Pitman 1937) of accuracy on clean images, averaged over the classes: answers dealt to the images at random are as good in one case of twenty or more, in any training",
    ),
    (
        "robustness",
        "Which model is the most robust, or which are too close to call",
        "Paired comparisons of median proved delta max",
    ),
    (
        "rankings",
        "Whether accuracy and robustness tell the models apart, and in one order",
        "Paired comparisons of accuracy on clean images and of median proved delta max; only clear ones are named",
    ),
    ("rivals", "Which class most often ends a proof", "A count over the images certified; nothing is compared"),
    ("gap", "How far attacks are above proofs", "Median of attacked over proved; nothing is compared"),
    (
        "under-noise",
        "Whether delta max is smaller where noise is already in the image",
        "Paired comparison of the same images and trainings, noisiest against clean",
    ),
    (
        "accuracy",
        "Whether augmentation helps accuracy",
        "Paired comparisons with the model without augmentation, clean and at the strongest noise",
    ),
    (
        "drift",
        "Whether other classes are pulled toward the augmented class",
        "Paired comparisons of the share of other classes' images called so: noisiest against clean, and against the model without augmentation",
    ),
    (
        "confusions",
        "Which classes fall under noise, and what they are called instead",
        "Paired comparisons of every class's rate and (of up to twelve classes) of every confusion, noisiest against clean",
    ),
    (
        "background",
        "Whether the models turn to the background under noise",
        "Paired comparisons of the share of relevance there, noisiest against clean",
    ),
    (
        "certified-relevance",
        "How much of the relevance is proved",
        "Means with standard deviations over images; nothing is compared",
    ),
    (
        "claim-class",
        "Published claim: the augmented class loses accuracy on clean images",
        "Paired comparisons of that class's rate",
    ),
    (
        "claim-contour",
        "Published claim: the all-augmented model looks at the contour",
        "Paired comparisons of the share of relevance on the contour, clean",
    ),
    (
        "claim-background",
        "Published claim: noise draws the models to the background, the all-augmented one least",
        "Paired comparisons of the share on the background, and of its change",
    ),
    ("claim-drift", "Published claim: augmenting one class pulls others toward it", "As drift"),
    (
        "claim-noise, claim-robust, claim-price",
        "Published claims: under noise the all-augmented model classifies best; augmentation makes more robust; it costs accuracy",
        "Paired comparisons of accuracy and of median proved delta max",
    ),
    (
        "claim-dominance, claim-stable-space",
        "Published claims on the delta max of the example image",
        "One image: it counts where all trainings of one model are above all trainings of the other",
    ),
    (
        "claim-example",
        "Published claim on the class of the noisy example image",
        "One image: it counts where it is so in every training",
    ),
    (
        "claim-overlap",
        "Published claim: intervals may overlap without dominance being lost",
        "A proof by example: pictures that show it are counted",
    ),
];

/// The text of `docs/findings.md`.
pub fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    for (name, says, rests) in KINDS {
        text += &format!("| {name} | {says} | {rests} |\n");
    }
    text
}

const INTRODUCTION: &str = "# What the report says, and what it rests on

The pages of `study` and `compare` write their sentences from their figures. A sentence that one figure is larger than another is written only if a
comparison found it, and every comparison is the same one (`src/report/statistics/`).

**One comparison.** Both sides are measured on the same test images, by one or more trainings that differ in their seeds. Two tests have to agree, and the larger p counts:

- a sign test over images, each with one vote. For a single training and answers right or wrong this is McNemar's exact test. A handful of images cannot pass it.
- a t test of the difference. Its variance is that of drawing other images (in pairs; for medians by bootstrap with a fixed seed) plus that of training again, so that a
  difference which another seed would turn round does not count. Degrees of freedom by Welch and Satterthwaite.

**Many comparisons.** Everything that a page could ask is asked, and all p are adjusted together by Holm's procedure: a page calls any difference clear that is none in at most one
case of twenty. Half of that error is given to the comparisons that decide which model to take. Intervals are 95 % intervals of the single comparison and may leave out zero where the
adjusted p does not allow a sentence; the page then says that the difference may be chance. All answers stand in `figures/comparisons.csv`.

**One training.** Where a model was trained once, or came as a file, the comparison is of these very models: it says nothing about training again.

| sentence | says | rests on |
|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    /// Write it anew with `UPDATE_DOCS=1 cargo test --release --lib findings_document`.
    #[test]
    fn the_findings_document_is_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/findings.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), document(), "UPDATE_DOCS=1 writes docs/findings.md anew");
    }
}
