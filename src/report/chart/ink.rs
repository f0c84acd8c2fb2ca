//! Letters on coloured cells: black or white, whichever can be read, in the light palette and in the dark one.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::PALETTE;

type Rgb = [f64; 3];

/// The variables of the light and of the dark palette.
static THEMES: LazyLock<[HashMap<&'static str, Rgb>; 2]> = LazyLock::new(|| {
    let mut blocks = PALETTE.split(['{', '}']).skip(1).step_by(2).map(colors);
    [(); 2].map(|()| blocks.next().unwrap_or_default())
});

/// The variables of one block that are plain colours.
fn colors(block: &'static str) -> HashMap<&'static str, Rgb> {
    let entry = |entry: &'static str| {
        let (name, value) = entry.trim().strip_prefix("--")?.split_once(':')?;
        Some((name, rgb(value)?))
    };
    block.split(';').filter_map(entry).collect()
}

/// `#1b2` or `#11bb22`, from 0 to 1.
fn rgb(value: &str) -> Option<Rgb> {
    let digits = value.strip_prefix('#')?;
    let wide: String = if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.into() };
    let value = u32::from_str_radix(&wide, 16).ok().filter(|_| wide.len() == 6)?;
    Some([16, 8, 0].map(|shift| f64::from(value >> shift & 255) / 255.0))
}

/// Relative luminance, as the Web Content Accessibility Guidelines define it.
fn luminance(color: Rgb) -> f64 {
    let [r, g, b] = color.map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Class of a text on a cell of this CSS colour and opacity that lies on `back`. One of black and white has a contrast
/// of at least 4.5 with any colour.
pub fn on(fill: &str, opacity: f64, back: &str) -> &'static str {
    let white = |theme: &HashMap<&str, Rgb>| {
        let of = |color: &str| {
            let name = color.strip_prefix("var(--")?.strip_suffix(')')?;
            theme.get(name).copied()
        };
        let (Some(fill), Some(back)) = (of(fill), of(back)) else { return false };
        let shown: Rgb = std::array::from_fn(|i| fill[i] * opacity + back[i] * (1.0 - opacity));
        let light = luminance(shown);
        1.05 / (light + 0.05) > (light + 0.05) / 0.05
    };
    match [&THEMES[0], &THEMES[1]].map(white) {
        [false, false] => "hc",
        [true, false] => "hc lw",
        [false, true] => "hc dw",
        [true, true] => "hc lw dw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_those_that_can_be_read() {
        assert_eq!(on("var(--ink)", 1.0, "var(--paper)"), "hc lw");
        assert_eq!(on("var(--ink)", 0.0, "var(--paper)"), "hc dw");
        assert_eq!(on("var(--good)", 0.05, "var(--cell)"), "hc dw");
        assert_eq!(luminance([1.0; 3]), 1.0);
    }
}
