//! The data and its augmentation.

use super::{Page, Section, figure, image};
use crate::report::chart::{Bar, Bars, class_color, count, percent, plural};
use crate::report::figure::{Table, row};
use maud::{Markup, html};

/// Classes, counts, samples.
pub fn section(page: &mut Page) -> Option<Section> {
    let data = &page.study.dataset;
    if data.classes.is_empty() {
        return None;
    }
    let (samples, balance) = (samples(page), balance(page));
    let trained = data.train_counts.iter().any(|&n| n > 0);
    let body = html! {
        (samples)
        @if trained { (super::fold("How many of each, and how they were augmented", html! { (balance) (rebalanced(page)) (augmentation(page)) })) }
    };
    let (train, test) = (data.train_counts.iter().sum::<usize>(), data.test_counts.iter().sum::<usize>());
    // What the program drew is not called a photo.
    let nav = if data.drawn() { "Drawings" } else { "Photos" };
    let what = format!("The {}", nav.to_lowercase());
    let title = if data.name.is_empty() { what } else { format!("{what}: {}", data.name) };
    let numbers = match train {
        0 => plural(test, "test image"),
        _ => format!("{} training and {}", count(train as f64), plural(test, "test image")),
    };
    let lead = format!(
        "{numbers} of {} classes, {} by {} pixels{}. Test images: {}.",
        data.classes.len(),
        data.shape.width,
        data.shape.height,
        if data.shape.channels == 3 { " in colour" } else { "" },
        super::class_sizes(page.study)
    );
    Some(Section { id: "data", nav, title, lead, body })
}

fn balance(page: &mut Page) -> Markup {
    let data = &page.study.dataset;
    let total: usize = data.train_counts.iter().sum();
    let mut table = Table::new(&["class", "train", "test"]);
    let mut bars = Vec::new();
    for (c, name) in data.classes.iter().enumerate() {
        let (train, test) = (*data.train_counts.get(c).unwrap_or(&0), *data.test_counts.get(c).unwrap_or(&0));
        table.rows.push(row![name.as_str(), train, test]);
        bars.push(Bar {
            name: name.clone(),
            value: train as f64,
            text: format!("{} ({})", count(train as f64), percent(train as f64 / total.max(1) as f64)),
            color: class_color(c),
            apart: false,
        });
    }
    if total == 0 {
        return html! {};
    }
    let largest = bars.iter().map(|b| b.value).fold(0.0, f64::max);
    let smallest = bars.iter().map(|b| b.value).fold(f64::MAX, f64::min);
    let caption = if smallest > 0.0 && largest > 1.5 * smallest {
        format!(
            "Training images per class, before augmentation. The largest class has {} times as many images as the smallest: a model can score well by favouring it.",
            crate::report::chart::number(largest / smallest)
        )
    } else {
        "Training images per class, before augmentation.".to_string()
    };
    let draw =
        |width: f64| Bars { width, title: "Training images per class".into(), bars: bars.clone(), scale: None }.draw();
    let svg = page.figures.responsive("class-balance", "Images per class", 560.0, draw, Some(table));
    figure(&mut page.figures, "How many of each", html! { div.medium { (svg) } }, &caption)
}

fn samples(page: &mut Page) -> Markup {
    let data = &page.study.dataset;
    if data.samples.is_empty() {
        return html! {};
    }
    let seen = |classes: std::ops::Range<usize>| {
        html! {
            div.samples {
                @for (c, name) in classes.map(|c| (c, &data.classes[c])) {
                    @let of_class: Vec<_> = data.samples.iter().filter(|s| s.label == c).take(8).collect();
                    @if !of_class.is_empty() {
                        div {
                            h4 { span.chip style={ "--k:" (class_color(c)) } { (name) } }
                            div.thumbs { @for s in of_class { (image(&s.picture, name)) } }
                        }
                    }
                }
            }
        }
    };
    let (all, first) = (data.classes.len(), data.classes.len().min(super::CLASSES));
    let body = html! {
        (seen(0..first))
        @if first < all { (super::fold(&format!("The other {} classes", all - first), seen(first..all))) }
    };
    let which = if data.train_counts.iter().sum::<usize>() > 0 { "Training images" } else { "Test images" };
    figure(&mut page.figures, "What they look like", body, &format!("{which} of every class, as the models see them."))
}

fn rebalanced(page: &mut Page) -> Markup {
    let study = page.study;
    if study.models.iter().all(|m| m.train_counts.is_empty()) || study.dataset.classes.len() > super::CLASSES {
        return html! {};
    }
    let mut table = Table::new(&["model", "class", "images"]);
    let mut panels = Vec::new();
    let most = study.models.iter().flat_map(|m| &m.train_counts).copied().max().unwrap_or(1);
    for m in study.models.iter().filter(|m| m.train_counts.len() == study.dataset.classes.len()) {
        let bars = m.train_counts.iter().enumerate().map(|(c, &n)| {
            table.rows.push(row![m.name.as_str(), study.dataset.classes[c].as_str(), n]);
            let augmented = if m.augmented.contains(&c) { " augmented" } else { "" };
            Bar {
                name: study.dataset.classes[c].clone(),
                value: n as f64,
                text: format!("{}{augmented}", count(n as f64)),
                color: class_color(c),
                apart: false,
            }
        });
        let bars: Vec<Bar> = bars.collect();
        let scale = Some((most as f64, format!("{} augmented", count(most as f64))));
        let chart = Bars { width: 340.0, title: format!("Training images of {}", m.name), bars, scale };
        panels.push((
            m.name.clone(),
            page.figures.add(&format!("training-images-{}", m.name), &chart.title, &chart.draw(), None),
        ));
    }
    page.figures.table("training-images", "Training images per model and class", table);
    let body = html! {
        div.grid { @for (name, svg) in panels { div.panel { h4 { (name) } (svg) } } }
    };
    figure(
        &mut page.figures,
        "What each model was trained on",
        body,
        "Training images per class after augmentation: extra images are altered copies, made to even out the classes.",
    )
}

fn augmentation(page: &mut Page) -> Markup {
    let data = &page.study.dataset;
    if data.augmentation.is_empty() {
        return html! {};
    }
    let body = html! {
        div.augmented {
            @for a in data.augmentation.iter().take(8) {
                div.row {
                    div.shot { (image(&a.original, page.class(a.label))) small { b { (page.class(a.label)) } } }
                    @for v in a.variants.iter().take(7) {
                        div.shot { (image(&v.picture, &v.what)) small { (v.what) } }
                    }
                }
            }
        }
    };
    figure(
        &mut page.figures,
        "Augmentation",
        body,
        "First in each row the image, then copies with a changed size (zoom 0.8: a fifth smaller), perspective or angle; pixels that open are filled with the background.",
    )
}
