//! Charts as SVG text: colours come from CSS variables, so one drawing serves light, dark and print.

mod axis;
mod bars;
mod heat;
mod ink;
mod lines;
mod range;

pub use axis::{Axis, Format, count, number, percent, plural};
pub use bars::{Bar, Bars, Stack};
pub use heat::Heat;
pub use lines::{Lines, Mark, Series};
pub use range::{Range, Ranges};

use std::fmt::Write;

/// Colours and text classes every chart relies on; part of the page and of each SVG file.
pub const PALETTE: &str = include_str!("../palette.css");

/// Number of model colours in the palette; further models start over.
const MODELS: usize = 6;
/// Number of class colours in the palette.
const CLASSES: usize = 10;

/// CSS colour of a model, the same in every figure.
pub fn model_color(model: usize) -> String {
    format!("var(--m{})", model % MODELS)
}

/// CSS colour of a class, the same in every figure.
pub fn class_color(class: usize) -> String {
    format!("var(--c{})", class % CLASSES)
}

/// A drawing under construction, in user units.
pub struct Svg {
    width: f64,
    height: f64,
    title: String,
    attributes: String,
    body: String,
    /// Names and CSS colours that the page explains beside the drawing.
    key: Vec<(String, String)>,
}

/// Where text is anchored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// An empty drawing; `title` is what a screen reader says.
    pub fn new(width: f64, height: f64, title: &str) -> Svg {
        Svg { width, height, title: title.into(), attributes: String::new(), body: String::new(), key: vec![] }
    }

    /// Says what a colour stands for in a file of its own; on the page a legend for several drawings does.
    pub fn key(&mut self, name: &str, color: &str) {
        self.key.push((name.into(), color.into()));
    }

    /// Adds an attribute to the root element, for the page's script.
    pub fn attribute(&mut self, name: &str, value: &str) {
        let _ = write!(self.attributes, " {name}=\"{}\"", escape(value));
    }

    /// Text of class `class` with its baseline at `(x, y)`.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let _ =
            write!(self.body, "<text x=\"{}\" y=\"{}\"{anchor} class=\"{class}\">{}</text>", n(x), n(y), escape(text));
    }

    /// A straight line of class `class`.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], class: &str) {
        let _ = write!(
            self.body,
            "<line x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\" class=\"{class}\"/>",
            n(from[0]),
            n(from[1]),
            n(to[0]),
            n(to[1])
        );
    }

    /// A rectangle; `style` is CSS, `tip` is shown when the pointer rests on it (empty for none).
    pub fn rect(&mut self, at: [f64; 2], size: [f64; 2], radius: f64, style: &str, tip: &str) {
        let _ = write!(
            self.body,
            "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"{}\" style=\"{}\"",
            n(at[0]),
            n(at[1]),
            n(size[0].max(0.0)),
            n(size[1].max(0.0)),
            n(radius),
            escape(style)
        );
        self.close_with_tip("rect", tip);
    }

    pub fn circle(&mut self, at: [f64; 2], radius: f64, style: &str, tip: &str) {
        let _ = write!(
            self.body,
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" style=\"{}\"",
            n(at[0]),
            n(at[1]),
            n(radius),
            escape(style)
        );
        self.close_with_tip("circle", tip);
    }

    /// A path; `name` is what the page's script calls it (empty for none).
    pub fn path(&mut self, d: &str, class: &str, style: &str, name: &str) {
        let _ = write!(self.body, "<path d=\"{d}\" class=\"{class}\" style=\"{}\"", escape(style));
        if !name.is_empty() {
            let _ = write!(self.body, " data-n=\"{}\"", escape(name));
        }
        self.body.push_str("/>");
    }

    /// Text turned by `degrees` around its anchor.
    pub fn turned_text(&mut self, at: [f64; 2], degrees: f64, anchor: Anchor, class: &str, text: &str) {
        let _ = write!(self.body, "<g transform=\"translate({} {}) rotate({})\">", n(at[0]), n(at[1]), n(degrees));
        self.text(0.0, 0.0, anchor, class, text);
        self.body.push_str("</g>");
    }

    fn close_with_tip(&mut self, element: &str, tip: &str) {
        if tip.is_empty() {
            self.body.push_str("/>");
        } else {
            let _ = write!(self.body, "><title>{}</title></{element}>", escape(tip));
        }
    }

    /// The element for the page, which brings the palette.
    pub fn inline(&self) -> String {
        self.element("", [0.0; 3], "")
    }

    /// A file of its own: with its title, the key to its colours, and room around it.
    pub fn standalone(&self) -> String {
        const MARGIN: f64 = 18.0;
        const HEAD: f64 = 50.0;
        const ROW: f64 = 20.0;
        let title = escape(&self.title);
        let size = (16.0 * self.width / (16.0 / 12.5 * text_width(&self.title))).min(16.0);
        let mut head = format!(
            "<style>{PALETTE}svg{{background:var(--paper)}}</style>\
             <text x=\"0\" y=\"-22\" style=\"font-size:{}px;fill:var(--ink)\">{title}</text>",
            n(size)
        );
        let (mut x, mut y) = (0.0, self.height + ROW);
        for (name, color) in &self.key {
            let wide = 30.0 + text_width(name);
            if x > 0.0 && x + wide > self.width {
                (x, y) = (0.0, y + ROW);
            }
            let (dot, at, name) = (n(x + 6.0), n(x + 15.0), escape(name));
            let _ = write!(
                head,
                "<circle cx=\"{dot}\" cy=\"{}\" r=\"4.5\" style=\"fill:{color}\"/>\
                 <text x=\"{at}\" y=\"{}\" class=\"lb\">{name}</text>",
                n(y - 4.0),
                n(y)
            );
            x += wide;
        }
        let foot = if self.key.is_empty() { MARGIN } else { y - self.height + MARGIN };
        let root = format!(" xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\"", n(self.width + 2.0 * MARGIN));
        self.element(&root, [MARGIN, HEAD, foot], &head)
    }

    /// Room is left at the sides, at the top and at the bottom.
    fn element(&self, extra: &str, [side, top, bottom]: [f64; 3], head: &str) -> String {
        let (title, body) = (escape(&self.title), &self.body);
        format!(
            "<svg{extra} viewBox=\"{} {} {} {}\" role=\"img\" aria-label=\"{title}\"{}>{head}{body}</svg>",
            n(-side),
            n(-top),
            n(self.width + 2.0 * side),
            n(self.height + top + bottom),
            self.attributes,
        )
    }
}

/// Escapes text for XML content and double-quoted attributes; control characters, which XML forbids, become spaces.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push('\n'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A coordinate with at most one decimal; never NaN or infinite, which no viewer draws.
fn n(v: f64) -> String {
    let v = if v.is_finite() { (v * 10.0).round() / 10.0 } else { 0.0 };
    format!("{}", if v == 0.0 { 0.0 } else { v })
}

/// Rough width of text in user units at the size of the class `lb` (12.5 units), in a wide font: pages are lettered in
/// whatever the reader's system has.
pub fn text_width(text: &str) -> f64 {
    let width = |c: char| match c {
        'i' | 'l' | 'j' | 't' | 'f' | 'r' | 'I' | '.' | ',' | ':' | ';' | '\'' | ' ' | '|' => 4.5,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 12.0,
        c if c.is_uppercase() => 9.0,
        _ => 7.8,
    };
    text.chars().map(width).sum()
}

/// `text` cut to about `width` user units, with an ellipsis where something is missing.
pub fn fit(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.into();
    }
    let mut out = String::new();
    for c in text.chars() {
        if text_width(&out) + 14.0 > width {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_numbers_are_always_drawable() {
        let mut svg = Svg::new(10.0, 10.0, "a \"b\" <c>");
        svg.text(f64::NAN, f64::INFINITY, Anchor::Start, "t", "</svg><script>&");
        let text = svg.inline();
        assert!(text.contains("&lt;/svg&gt;&lt;script&gt;&amp;") && text.contains("a &quot;b&quot; &lt;c&gt;"));
        assert!(!text.contains("NaN") && !text.contains("inf"));
        assert!(svg.standalone().starts_with("<svg xmlns"));
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(fit("Boots", 100.0), "Boots");
        assert!(fit("Extraordinarily long class name", 60.0).ends_with('…'));
        assert!(text_width(&fit("WWWWWWWWWWWWWWWWWW", 60.0)) <= 62.0);
    }
}
