//! Findings about delta max: which model is most robust, by how much, and whether accuracy would have told.

use super::{both_units, delta, finding, list, plain, share};
use crate::report::chart::{number, percent};
use crate::report::stats;
use crate::results::{Finding, ModelResult, Study, quantile};

/// Robustness of one model over the clean test set.
#[derive(Clone, Debug)]
pub struct Robust {
    /// Index of the model in the study.
    pub model: usize,
    /// Median proved delta max over the images and its 95 % bootstrap interval.
    pub median: f64,
    pub interval: [f64; 2],
    /// Share of images rightly classified, as certified.
    pub clean: f64,
    /// Share of images right and proved at [`reference_delta`].
    pub certified: f64,
    /// Share of images right and not broken by an attack there; `None` when no attack was run.
    pub attacked: Option<f64>,
    pub images: usize,
}

/// The delta at which certified accuracies are compared: a round number of grey levels near the largest median.
pub fn reference_delta(study: &Study) -> f64 {
    let best = study.models.iter().map(|m| stats::median(m.rows_at(0.0).map(|r| r.proved))).fold(0.0, f64::max);
    const GREY: [f64; 9] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
    let grey = GREY.into_iter().rev().find(|g| g / 255.0 <= best).unwrap_or(GREY[0]);
    grey / 255.0
}

/// One entry per model with certified clean images.
pub fn robustness(study: &Study) -> Vec<Robust> {
    let at = reference_delta(study);
    let measured = |(model, m): (usize, &ModelResult)| {
        let all: Vec<f64> = m.rows_at(0.0).map(|r| r.proved).collect();
        if all.is_empty() {
            return None;
        }
        let (proved, broken) = stats::right_radii(m.rows_at(0.0));
        let n = all.len();
        let tried = m.rows_at(0.0).any(|r| r.attacked.is_some());
        Some(Robust {
            model,
            median: stats::median(all.iter().copied()),
            interval: stats::bootstrap_median(&all, study.seed),
            clean: proved.len() as f64 / n as f64,
            certified: stats::share_at_least(&proved, at, n),
            attacked: tried.then(|| stats::share_at_least(&broken, at, n)),
            images: n,
        })
    };
    study.models.iter().enumerate().filter_map(measured).collect()
}

pub(super) fn findings(study: &Study) -> Vec<Finding> {
    let all = robustness(study);
    let mut out = Vec::new();
    out.extend(most_robust(study, &all));
    out.extend(rankings(study, &all));
    out.extend(rivals(study));
    out.extend(gap(study));
    out.extend(under_noise(study));
    out
}

fn most_robust(study: &Study, all: &[Robust]) -> Option<Finding> {
    let mut order: Vec<&Robust> = all.iter().collect();
    order.sort_by(|a, b| b.median.total_cmp(&a.median));
    let best = order.first()?;
    let name = |r: &Robust| &study.models[r.model].name;
    let mut figures: Vec<_> =
        order.iter().map(|r| delta(format!("{}, median proved delta max", name(r)), r.median)).collect();
    let mut sentence = format!(
        "Half of its {} test images keep their class under any noise of up to {} per pixel, proved (95% bootstrap interval {} to {})",
        best.images,
        both_units(best.median),
        number(best.interval[0]),
        number(best.interval[1])
    );
    let mut title = format!("{} is the most robust model", name(best));
    if let Some(second) = order.get(1) {
        let ratio = best.median / second.median;
        sentence += &format!("; {} follows with {}", name(second), both_units(second.median));
        let [first, other] = [best, second].map(|r| study.models[r.model].rows_at(0.0));
        if let Some([low, high]) = stats::bootstrap_ratio(&stats::proved_pairs(first, other), study.seed) {
            sentence += &format!(", a factor of {} ({} to {})", number(ratio), number(low), number(high));
            figures.push(plain("ratio of the two best", ratio));
            if low <= 1.0 {
                title = format!("{} and {} are too close to call on robustness", name(best), name(second));
            }
        }
    }
    sentence.push('.');
    Some(finding(title, sentence, figures))
}

/// Whether accuracy and robustness put the models in the same order.
fn rankings(study: &Study, all: &[Robust]) -> Option<Finding> {
    if all.len() < 2 {
        return None;
    }
    let name = |r: &Robust| study.models[r.model].name.clone();
    // Where one model's figure is within `tie` of the next, the order between them says nothing.
    let order = |key: &dyn Fn(&Robust) -> f64, tie: &dyn Fn(f64) -> f64| {
        let mut sorted: Vec<&Robust> = all.iter().collect();
        sorted.sort_by(|a, b| key(b).total_cmp(&key(a)));
        let mut text = name(sorted[0]);
        let mut ties = 0;
        for pair in sorted.windows(2) {
            let tied = key(pair[0]) - key(pair[1]) <= tie(key(pair[0]));
            ties += usize::from(tied);
            text += &format!(" {} {}", if tied { "≈" } else { ">" }, name(pair[1]));
        }
        (sorted.iter().map(|r| r.model).collect::<Vec<_>>(), text, ties)
    };
    let clean = |r: &Robust| study.models[r.model].clean_accuracy().unwrap_or(r.clean);
    let accurate = order(&clean, &|_| 0.005);
    let robust = order(&|r| r.median, &|m| 0.03 * m);
    let title = if accurate.2 + 1 == all.len() && robust.2 + 1 < all.len() {
        "Clean accuracy does not tell the models apart; robustness does"
    } else if accurate.0 == robust.0 {
        "Accuracy and robustness rank the models alike"
    } else {
        "Accuracy alone would have ranked the models differently"
    };
    let ties = if accurate.2 + robust.2 > 0 { " ≈ marks differences too small to count." } else { "" };
    let sentence = format!("By clean accuracy: {}. By median proved delta max: {}.{ties}", accurate.1, robust.1);
    let figures =
        all.iter().map(|r| share(format!("{}, clean accuracy", study.models[r.model].name), clean(r))).collect();
    Some(finding(title, sentence, figures))
}

/// The class that most often ends the proof.
fn rivals(study: &Study) -> Option<Finding> {
    let classes = study.dataset.classes.len();
    let mut parts = Vec::new();
    let mut figures = Vec::new();
    let mut named = Vec::new();
    for m in &study.models {
        let mut counts = vec![0usize; classes];
        m.rows_at(0.0).filter_map(|r| r.rival_proved).for_each(|r| counts[r] += 1);
        let total: usize = counts.iter().sum();
        let Some((rival, &count)) = counts.iter().enumerate().max_by_key(|c| c.1).filter(|_| total > 0) else {
            continue;
        };
        let value = count as f64 / total as f64;
        parts.push(format!("{} for {} ({} of images)", study.dataset.classes[rival], m.name, percent(value)));
        figures.push(share(format!("{}: {}", m.name, study.dataset.classes[rival]), value));
        named.push(rival);
    }
    let &first = named.first()?;
    let title = if named.iter().all(|&r| r == first) {
        format!("{} is the rival that ends most proofs", study.dataset.classes[first])
    } else {
        "The rival that ends most proofs depends on the model".to_string()
    };
    Some(finding(title, format!("Most frequent limiting class: {}.", list(&parts)), figures))
}

/// How much is left between proof and attack.
fn gap(study: &Study) -> Option<Finding> {
    let mut parts = Vec::new();
    let mut figures = Vec::new();
    for m in &study.models {
        let ratios =
            stats::sorted(m.rows_at(0.0).filter(|r| r.proved > 0.0).filter_map(|r| Some(r.attacked? / r.proved)));
        let middle = quantile(&ratios, 0.5);
        if middle.is_finite() {
            parts.push(format!("{} for {}", number(middle), m.name));
            figures.push(plain(format!("{}, median attacked / proved", m.name), middle));
        }
    }
    if parts.is_empty() {
        return None;
    }
    let sentence = format!(
        "The smallest noise that an attack found to change the class is this many times the proved one, at the median: {}. The exact threshold lies between the two.",
        list(&parts)
    );
    Some(finding("How tight the brackets are", sentence, figures))
}

/// Median delta max of noisy images against that of the same images clean.
fn under_noise(study: &Study) -> Option<Finding> {
    let mut parts = Vec::new();
    let mut figures = Vec::new();
    let mut turned = Vec::new();
    let mut shared = Vec::new();
    for m in &study.models {
        let levels = m.certified_variances();
        let (Some(&first), Some(&last)) = (levels.first(), levels.last()) else { continue };
        let rows = stats::pairs(m.rows_at(last), m.rows_at(first));
        let pairs: Vec<[f64; 2]> = rows.iter().map(|p| p.map(|r| r.proved)).collect();
        let [after, before] = [0, 1].map(|side| stats::median(pairs.iter().map(|p| p[side])));
        if first == last || before.is_nan() || before <= 0.0 {
            continue;
        }
        let spread = stats::bootstrap_ratio(&pairs, study.seed)
            .map_or(String::new(), |[low, high]| format!(" (95%: {} to {})", percent(low), percent(high)));
        parts.push(format!("{} {}{spread}", m.name, percent(after / before)));
        turned.push(format!("{} for {}", rows.iter().filter(|[a, b]| a.predicted != b.predicted).count(), m.name));
        figures.push(share(format!("{}, noisiest / clean", m.name), after / before));
        shared.push((pairs.len(), last));
    }
    let (images, last) = *shared.iter().min_by_key(|s| s.0)?;
    let least = if shared.iter().all(|s| s.0 == images) { "" } else { "at least " };
    let sentence = format!(
        "Median delta max at variance {} as a share of the clean one, over the same {least}{images} images: {}. Images that the noise turned to another class count with the radius of that class: {}.",
        number(last),
        list(&parts),
        list(&turned)
    );
    let all = |test: fn(f64) -> bool| figures.iter().all(|f| test(f.value));
    let title = if all(|v| v < 0.98) {
        "Noise already in the photo eats into delta max"
    } else if all(|v| v > 1.02) {
        "Delta max is larger where noise is already in the photo"
    } else if all(|v| (0.98..=1.02).contains(&v)) {
        "Noise already in the photo leaves delta max as it was"
    } else {
        "Noise already in the photo changes delta max one way or the other"
    };
    Some(finding(title, sentence, figures))
}
