//! SVG drawings as PNG, in the light palette and a font of our own, so that they look alike on every machine.

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::chart::PALETTE;
use super::outline::outlined;

/// Pixels per user unit.
const SCALE: f32 = 2.0;

/// Draws an SVG file of [`Svg::standalone`](super::chart::Svg::standalone); `None` if it is none.
pub fn png(svg: &str) -> Option<Vec<u8>> {
    let tree = Tree::from_str(&outlined(&light(svg))?, &Options::default()).ok()?;
    let size = tree.size().to_int_size().scale_by(SCALE)?;
    let mut pixels = Pixmap::new(size.width(), size.height())?;
    pixels.fill(paper());
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().ok()
}

/// The variables of the light palette, which comes first.
fn variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    let block = PALETTE.split(['{', '}']).nth(1).unwrap_or_default();
    block.split(';').filter_map(|entry| entry.trim().strip_prefix("--")?.split_once(':'))
}

fn paper() -> Color {
    let digits = variables().find(|(name, _)| *name == "paper").and_then(|(_, value)| value.strip_prefix('#'));
    let value = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).unwrap_or(0xffffff);
    Color::from_rgba8((value >> 16) as u8, (value >> 8) as u8, value as u8, 255)
}

/// With every variable replaced by its value: the renderer knows none.
fn light(svg: &str) -> String {
    variables().fold(svg.to_owned(), |text, (name, value)| text.replace(&format!("var(--{name})"), value))
}

#[cfg(test)]
mod tests {
    use super::super::chart::{Anchor, Svg};
    use super::*;

    #[test]
    fn text_and_colours_of_the_light_palette_are_drawn() {
        let draw = |text: &str| {
            let mut svg = Svg::new(100.0, 40.0, "t");
            svg.rect([0.0, 0.0], [10.0, 10.0], 0.0, "fill:var(--m1)", "");
            svg.text(50.0, 30.0, Anchor::Middle, "t", text);
            let png = png(&svg.standalone()).expect("an SVG");
            image::load_from_memory(&png).expect("a PNG").to_rgb8()
        };
        let picture = draw("δ ≥ 0.5 Schuhe Обувь");
        assert_eq!(picture.dimensions(), (272, 216));
        assert_eq!(picture.get_pixel(40, 104).0, [0xc9, 0x73, 0x0a]);
        assert_eq!(picture.get_pixel(271, 0).0, [0xfd, 0xfc, 0xfa]);
        assert!(picture != draw(""), "no text");
        assert!(!light(&format!("<style>{PALETTE}</style>")).contains("var("));
        assert!(png("<svg").is_none());
    }
}
