//! Text of a drawing as the outlines of its letters: the renderer knows no fonts, and every machine draws the same.

use std::fmt::Write;
use std::sync::LazyLock;

use resvg::usvg::roxmltree::{Document, Node};
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use super::chart::{PALETTE, escape};

/// Roboto (Apache License 2.0, `fonts/LICENSE-Roboto`), without hints: Latin, Greek, Cyrillic, signs.
static FONT: LazyLock<Option<Face<'static>>> =
    LazyLock::new(|| Face::parse(include_bytes!("fonts/Roboto.ttf"), 0).ok());

/// The drawing with a `<path>` for every `<text>`, of its class and style; `None` if it is no SVG.
pub fn outlined(svg: &str) -> Option<String> {
    let face = FONT.as_ref()?;
    let document = Document::parse(svg).ok()?;
    let (mut out, mut done) = (String::with_capacity(4 * svg.len()), 0);
    for node in document.descendants().filter(|n| n.has_tag_name("text")) {
        out += &svg[done..node.range().start];
        path(face, node, &mut out);
        done = node.range().end;
    }
    Some(out + &svg[done..])
}

/// Width, in ems, of the box for a character that the font lacks.
const MISSING: f32 = 0.6;

fn path(face: &Face<'_>, node: Node<'_, '_>, out: &mut String) {
    let attribute = |name| node.attribute(name).unwrap_or_default();
    let number = |name| attribute(name).parse().unwrap_or(0.0);
    let em = f32::from(face.units_per_em());
    let scale = size(attribute("class"), attribute("style")) / em;
    let glyphs: Vec<Option<GlyphId>> = node.text().unwrap_or_default().chars().map(|c| face.glyph_index(c)).collect();
    let advance = |glyph: Option<GlyphId>| {
        scale * glyph.map_or(MISSING * em, |g| f32::from(face.glyph_hor_advance(g).unwrap_or(0)))
    };
    let width: f32 = glyphs.iter().map(|g| advance(*g)).sum();
    let before = match attribute("text-anchor") {
        "middle" => 0.5 * width,
        "end" => width,
        _ => 0.0,
    };
    let mut pen = Pen { d: String::new(), at: [number("x") - before, number("y")], scale };
    for glyph in glyphs {
        match glyph {
            Some(glyph) => drop(face.outline_glyph(glyph, &mut pen)),
            None => pen.frame([0.06 * em, 0.0], [(MISSING - 0.06) * em, 0.7 * em], 0.06 * em),
        }
        pen.at[0] += advance(glyph);
    }
    let (class, style) = (escape(attribute("class")), escape(attribute("style")));
    let _ = write!(out, "<path d=\"{}\" class=\"{class}\" style=\"{style}\"/>", pen.d);
}

/// Size of text in user units: of its own style, or of the last rule of the palette for its classes.
fn size(class: &str, style: &str) -> f32 {
    /// Of elements without any.
    const USUAL: f32 = 12.0;
    let declared = |rules: &str| {
        let value = rules.split(';').find_map(|rule| rule.trim().strip_prefix("font-size:"))?;
        value.trim_end_matches("px").parse::<f32>().ok()
    };
    let of_classes = |rule: &str| {
        let (selector, rules) = rule.split_once('{')?;
        let mut wanted = selector.trim().strip_prefix("svg .")?.split('.');
        wanted.all(|w| class.split(' ').any(|c| c == w)).then(|| declared(rules))?
    };
    declared(style).or_else(|| PALETTE.rsplit('}').find_map(of_classes)).unwrap_or(USUAL)
}

/// Writes outlines as SVG does: `y` downward, in user units.
struct Pen {
    d: String,
    at: [f32; 2],
    scale: f32,
}

impl Pen {
    /// A box with a hole, which runs the other way round.
    fn frame(&mut self, [x0, y0]: [f32; 2], [x1, y1]: [f32; 2], line: f32) {
        let hole = [x0 + line, y0 + line, x1 - line, y1 - line];
        self.draw('M', &[[x0, y0], [x0, y1], [x1, y1], [x1, y0]]);
        self.close();
        self.draw('M', &[[hole[0], hole[1]], [hole[2], hole[1]], [hole[2], hole[3]], [hole[0], hole[3]]]);
        self.close();
    }

    fn draw(&mut self, command: char, points: &[[f32; 2]]) {
        self.d.push(command);
        for [x, y] in points {
            let _ = write!(self.d, " {:.3} {:.3}", self.at[0] + self.scale * x, self.at[1] - self.scale * y);
        }
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        self.draw('M', &[[x, y]]);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.draw('L', &[[x, y]]);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.draw('Q', &[[x1, y1], [x, y]]);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.draw('C', &[[x1, y1], [x2, y2], [x, y]]);
    }

    fn close(&mut self) {
        self.d.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_palette() {
        assert_eq!(
            (size("t", ""), size("lb halo", ""), size("hc", ""), size("hc on sm", "")),
            (12.0, 12.5, 12.5, 10.0)
        );
        assert_eq!((size("f", "fill:red;font-size:16px"), size("", "")), (16.0, 12.0));
    }

    #[test]
    fn anchors_and_characters_that_the_font_lacks_are_drawn() {
        let draw = |anchor: &str, text: &str| {
            let text = format!("<text x=\"50\" y=\"9\" text-anchor=\"{anchor}\" class=\"t\">{text}</text>");
            let drawn = outlined(&format!("<svg><g>{text}</g><path d=\"M0 0\"/></svg>")).expect("an SVG");
            assert!(drawn.starts_with("<svg><g><path d=\"M") && drawn.ends_with("</g><path d=\"M0 0\"/></svg>"));
            // Places are pairs, wherever the letters of commands stand.
            let d = drawn.split('"').nth(1).expect("an outline");
            let numbers: Vec<f32> = d.split([' ', 'M', 'L', 'Q', 'C', 'Z']).filter_map(|w| w.parse().ok()).collect();
            let x = || numbers.iter().step_by(2).copied();
            (x().fold(f32::INFINITY, f32::min), x().fold(f32::NEG_INFINITY, f32::max))
        };
        let [start, middle, end] = ["start", "middle", "end"].map(|anchor| draw(anchor, "Обувь ≥ δ"));
        assert!(start.0 > 50.0 && end.1 < 50.0, "{start:?} {end:?}");
        assert!((middle.0 - 0.5 * (start.0 + end.0)).abs() < 0.01, "{middle:?}");
        let missing = draw("start", "\u{4e00}");
        assert!(missing.1 - missing.0 > 3.0, "{missing:?}");
        assert!(outlined("<svg").is_none());
    }
}
