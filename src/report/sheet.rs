//! Contact sheets: many small images on one white PNG, with captions.

use image::{ExtendedColorType, ImageEncoder, RgbImage, codecs::png};

use super::font;
use crate::tensor::Shape;

/// Colour of captions.
const INK: [u8; 3] = [70, 74, 80];
/// Colour of the hairline around an image.
const FRAME: [u8; 3] = [226, 228, 231];
/// White between images, in pixels.
const GAP: usize = 8;

/// A PNG of the images in rows of `columns`, each pixel drawn as a square of `scale`; images have one (grey) or three
/// (RGB) channels, `[channel][row][column]` in `[0,1]`. `captions` go below the images; fewer captions than images leave
/// the rest without, none saves the space. Captions too long for an image are cut.
pub fn contact_sheet(images: &[(&[f32], Shape)], columns: usize, scale: usize, captions: &[String]) -> Vec<u8> {
    let (columns, scale) = (columns.clamp(1, images.len().max(1)), scale.max(1));
    let cell_w = images.iter().map(|i| i.1.width * scale).max().unwrap_or(1);
    let cell_h = images.iter().map(|i| i.1.height * scale).max().unwrap_or(1);
    // Captions are drawn twice as large where there is room for them.
    let longest = captions.iter().map(|c| c.chars().count() * font::ADVANCE).max().unwrap_or(0);
    let text = if longest > 0 && 2 * longest <= cell_w { 2 } else { 1 };
    let caption_h = if captions.is_empty() { 0 } else { text * font::HEIGHT + 4 };
    let rows = images.len().div_ceil(columns).max(1);
    let width = GAP + columns * (cell_w + GAP);
    let height = GAP + rows * (cell_h + caption_h + GAP);
    let mut sheet = RgbImage::from_pixel(width as u32, height as u32, image::Rgb([255; 3]));
    let mut put = |x: usize, y: usize, colour: [u8; 3]| {
        if x < width && y < height {
            sheet.put_pixel(x as u32, y as u32, image::Rgb(colour));
        }
    };
    for (k, (pixels, shape)) in images.iter().enumerate() {
        let (left, top) = (GAP + k % columns * (cell_w + GAP), GAP + k / columns * (cell_h + caption_h + GAP));
        let (w, h) = (shape.width * scale, shape.height * scale);
        let plane = shape.width * shape.height;
        for y in 0..h {
            for x in 0..w {
                let at = y / scale * shape.width + x / scale;
                let channel = |c: usize| {
                    let value =
                        pixels.get(at + if shape.channels == 3 { c * plane } else { 0 }).copied().unwrap_or(1.0);
                    (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8
                };
                put(left + x, top + y, [channel(0), channel(1), channel(2)]);
            }
        }
        (left - 1..=left + w).for_each(|x| [top - 1, top + h].iter().for_each(|&y| put(x, y, FRAME)));
        (top - 1..=top + h).for_each(|y| [left - 1, left + w].iter().for_each(|&x| put(x, y, FRAME)));
        if let Some(caption) = captions.get(k) {
            font::draw(&font::cut(caption, cell_w / text), |x, y| {
                (0..text * text).for_each(|d| put(left + x * text + d % text, top + h + 4 + y * text + d / text, INK));
            });
        }
    }
    let mut file = Vec::new();
    let encoder = png::PngEncoder::new_with_quality(&mut file, png::CompressionType::Best, png::FilterType::Adaptive);
    encoder
        .write_image(sheet.as_raw(), width as u32, height as u32, ExtendedColorType::Rgb8)
        .expect("a sheet has at least one pixel and memory takes all bytes");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_captions_are_where_they_belong() {
        let (grey, colour) = (vec![0.0; 16 * 16], [vec![1.0; 256], vec![0.0; 512]].concat());
        let images = [(&grey[..], Shape::new(1, 16, 16)), (&colour[..], Shape::new(3, 16, 16))];
        let decode = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
        let plain = decode(&contact_sheet(&images, 2, 2, &[]));
        assert_eq!(plain.dimensions(), (8 + 2 * 40, 8 + 40));
        assert_eq!((plain.get_pixel(8, 8).0, plain.get_pixel(48, 8).0), ([0; 3], [255, 0, 0]));
        assert_eq!((plain.get_pixel(0, 0).0, plain.get_pixel(7, 20).0), ([255; 3], FRAME));
        let captioned = decode(&contact_sheet(&images, 2, 2, &["I".into(), "too long for it".into()]));
        assert_eq!(captioned.height(), plain.height() + 13);
        let inked = |from: u32, to: u32| {
            (from..to).any(|x| (41..captioned.height()).any(|y| captioned.get_pixel(x, y).0 == INK))
        };
        assert!(inked(8, 14) && !inked(20, 40) && inked(48, 80));
        assert!(!contact_sheet(&[], 4, 1, &[]).is_empty());
    }

    #[test]
    fn every_character_of_a_view_is_in_the_font() {
        let mut boxes = 0;
        font::draw("zoom 0.83, turned -7°, perspective Sandals, 110 (61 %)", |_, y| boxes += usize::from(y == 0));
        let mut same = 0;
        font::draw("\u{1F45F}", |_, y| same += usize::from(y == 0));
        assert_eq!(same, 5, "unknown characters are boxes");
        assert!(boxes > 0);
        assert_eq!(font::cut("Sandals", 30), "Sand…");
    }
}
