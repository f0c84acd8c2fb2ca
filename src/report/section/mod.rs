//! The sections of the page, each from the study alone; a section without data is left out.

pub mod brackets;
pub mod closing;
pub mod data;
pub mod distribution;
pub mod dominance;
pub mod example;
pub mod gallery;
pub mod light;
pub mod noise;
pub mod price;
pub mod relevance;
pub mod risk;
pub mod robustness;
pub mod training;
pub mod verdict;

use super::chart;
use super::figure::Figures;
use super::findings::Reading;
use crate::results::{ModelResult, Picture, Study};
use maud::{Markup, html};

/// Classes that are shown one by one; of more, those that matter most.
pub const CLASSES: usize = 12;

/// Those that are shown of so many classes, in their order: of many the ones of the highest score; what has none is left out
/// then.
pub fn shown(classes: usize, score: impl Fn(usize) -> Option<f64>) -> Vec<usize> {
    if classes <= CLASSES {
        return (0..classes).collect();
    }
    let mut scored: Vec<(usize, f64)> = (0..classes).filter_map(|c| Some((c, score(c)?))).collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut most: Vec<usize> = scored.into_iter().take(CLASSES).map(|s| s.0).collect();
    most.sort_unstable();
    most
}

/// What a caption says where [`shown`] are not all classes, but those that `which`, and where the others stand.
pub fn of_many(study: &Study, which: &str, table: &str) -> String {
    match study.dataset.classes.len() {
        n if n > CLASSES => format!(" Of {n} classes the {CLASSES} {which}; {table}.csv has all."),
        _ => String::new(),
    }
}

/// What a section is made from: the study, and the figures drawn so far.
pub struct Page<'a> {
    pub study: &'a Study,
    /// What the study's figures say.
    pub reading: &'a Reading,
    pub figures: Figures,
}

/// One section of the page.
pub struct Section {
    pub id: &'static str,
    /// Word in the navigation.
    pub nav: &'static str,
    pub title: String,
    /// One or two sentences under the title.
    pub lead: String,
    pub body: Markup,
}

impl Page<'_> {
    pub fn class(&self, class: usize) -> &str {
        self.study.dataset.classes.get(class).map_or("?", String::as_str)
    }
}

/// A model's name with its colour.
pub fn model_chip(study: &Study, model: usize) -> Markup {
    html! { span.chip style={ "--k:" (chart::model_color(model)) } { (study.models[model].name) } }
}

/// Names and colours of all classes; nothing where there are more than colours: pictures then say names when pointed at.
pub fn class_legend(study: &Study) -> Markup {
    if study.dataset.classes.len() > CLASSES {
        return html! {};
    }
    html! {
        p.legend {
            @for (c, name) in study.dataset.classes.iter().enumerate() {
                span.chip style={ "--k:" (chart::class_color(c)) } { (name) }
            }
        }
    }
}

/// Names and colours of all models.
pub fn model_legend(study: &Study) -> Markup {
    html! { p.legend { @for m in 0..study.models.len() { (model_chip(study, m)) } } }
}

/// A figure with its caption, and links to the files of what was drawn for it: what was registered since the figure before.
pub fn figure(figures: &mut Figures, title: &str, body: Markup, caption: &str) -> Markup {
    html! { figure { h3 { (title) } (body) figcaption { (caption) } (figures.links(title)) } }
}

/// A table of a column for each model and a row for each of `rows`, whose cells are made from row and model.
pub fn by_model<R>(
    study: &Study,
    models: &[(usize, &ModelResult)],
    head: &str,
    rows: &[R],
    title: impl Fn(&R) -> Markup,
    cell: impl Fn(&ModelResult, &R) -> Markup,
) -> Markup {
    html! {
        table.stays {
            thead { tr { th { (head) } @for (i, _) in models { th { (model_chip(study, *i)) } } } }
            tbody { @for row in rows {
                tr {
                    th scope="row" { (title(row)) }
                    @for (_, m) in models { td data-label=(m.name) { (cell(m, row)) } }
                }
            } }
        }
    }
}

/// What a reader may want to see next, folded away; paper shows it.
pub fn fold(summary: &str, body: Markup) -> Markup {
    html! { details.more { summary { (summary) } div { (body) } } }
}

/// A picture.
pub fn image(picture: &Picture, alt: &str) -> Markup {
    html! { img src=(super::picture::uri(picture)) alt=(alt) width=(picture.width) height=(picture.height); }
}

/// A choice the page's script offers: which of the children marked `data-<key>` are shown.
pub struct Choice<'a> {
    pub key: &'a str,
    pub label: &'a str,
    pub options: Vec<String>,
    /// What is shown first; `None` is everything.
    pub first: Option<usize>,
}

/// Wraps `body` so that the script can narrow it down; without scripts everything is shown.
pub fn choose(choices: &[Choice], body: Markup) -> Markup {
    let choices = choices.iter().filter(|c| c.options.len() > 1);
    let text = serde_json::json!(choices.map(|c| (c.key, c.label, &c.options, c.first)).collect::<Vec<_>>());
    html! { div.choose data-choices=(text.to_string()) { (body) } }
}

/// The noise levels of the first model, as options of a [`Choice`].
pub fn levels(variances: &[f64]) -> Vec<String> {
    variances.iter().map(|&v| if v == 0.0 { "clean".into() } else { chart::number(v) }).collect()
}

/// `Sandals 100, Slippers 12`: test images per class.
pub fn class_sizes(study: &Study) -> String {
    const MOST: usize = 12;
    let counts = &study.dataset.test_counts;
    let of = study.dataset.classes.iter().zip(counts).take(MOST);
    let shown: Vec<String> = of.map(|(name, &n)| format!("{name} {}", chart::count(n as f64))).collect();
    let rest = if counts.len() > MOST { format!(" and {} classes more", counts.len() - MOST) } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

/// Class of a grid with one panel per model: few models get larger panels.
pub fn grid(study: &Study) -> &'static str {
    if study.models.len() <= 2 { "grid two" } else { "grid" }
}

/// `clean` or `variance 0.005`.
pub fn level_name(variance: f64) -> String {
    if variance == 0.0 { "clean".into() } else { format!("variance {}", chart::number(variance)) }
}
