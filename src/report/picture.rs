//! Pictures of the page: PNG as data URIs, relevance laid over the photo.

use crate::results::{Picture, RelevanceKind, RelevanceMap, base64, quantile};
use image::{ExtendedColorType, ImageEncoder, codecs::png};

/// Larger sides are shrunk by whole factors: the page shows pictures small, and stays small itself.
const LARGEST: usize = 128;

/// A PNG of the picture as a `data:` URI.
pub fn uri(picture: &Picture) -> String {
    let small = shrink(picture);
    let color = if small.channels == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    encode(&small.bytes, small.width, small.height, color)
}

fn encode(bytes: &[u8], width: usize, height: usize, color: ExtendedColorType) -> String {
    let mut file = Vec::new();
    let encoder = png::PngEncoder::new_with_quality(&mut file, png::CompressionType::Best, png::FilterType::Adaptive);
    match encoder.write_image(bytes, width as u32, height as u32, color) {
        Ok(()) => format!("data:image/png;base64,{}", base64(&file)),
        Err(_) => String::from("data:,"), // an empty picture has no PNG
    }
}

fn shrink(picture: &Picture) -> Picture {
    let by = picture.width.max(picture.height).div_ceil(LARGEST).max(1);
    if by == 1 {
        return picture.clone();
    }
    let (width, height, channels) = (picture.width / by, picture.height / by, picture.channels);
    let mut bytes = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            for c in 0..channels {
                let mut sum = 0usize;
                for dy in 0..by {
                    for dx in 0..by {
                        sum += picture.bytes[((y * by + dy) * picture.width + x * by + dx) * channels + c] as usize;
                    }
                }
                bytes.push((sum / (by * by)) as u8);
            }
        }
    }
    Picture { width, height, channels, bytes }
}

/// The absolute relevance that is painted at full strength: one value for all maps of a figure, so that their colours
/// compare. The 99th percentile, since a single pixel should not make the rest pale.
pub fn common_scale<'a>(maps: impl Iterator<Item = &'a RelevanceMap>) -> f64 {
    let mut all: Vec<f64> = maps.flat_map(|m| m.values.iter().map(|v| f64::from(v.abs()))).collect();
    all.sort_by(f64::total_cmp);
    let scale = quantile(&all, 0.99);
    if scale > 0.0 { scale } else { all.last().copied().unwrap_or(0.0) }
}

/// Relevance over the photo in grey: red speaks for the class, blue against it, full strength at `scale`. The photo stays
/// to be seen under it, white where nothing is.
pub fn overlay(map: &RelevanceMap, photo: &Picture, scale: f64) -> Picture {
    const RED: [f32; 3] = [200.0, 16.0, 38.0];
    const BLUE: [f32; 3] = [22.0, 82.0, 200.0];
    let luma = photo.luma();
    let same = photo.width == map.width && photo.height == map.height;
    let scale = if map.kind == RelevanceKind::Certified { 1.0 } else { scale.max(f64::MIN_POSITIVE) };
    let mut bytes = Vec::with_capacity(map.values.len() * 3);
    for (p, &value) in map.values.iter().enumerate() {
        let grey = if same { 70.0 + 185.0 * luma[p] } else { 255.0 };
        let color = if value >= 0.0 { RED } else { BLUE };
        // Square root: faint relevance stays visible. Sixteen steps: the PNG stays small.
        let strength = ((f64::from(value.abs()) / scale).min(1.0).sqrt() * 15.0).round() as f32 / 15.0;
        bytes.extend(color.map(|c| (grey + (c - grey) * strength * 0.78) as u8));
    }
    Picture { width: map.width, height: map.height, channels: 3, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_pictures_are_shrunk_and_empty_ones_do_no_harm() {
        let big = Picture { width: 300, height: 200, channels: 1, bytes: vec![7; 60000] };
        let small = shrink(&big);
        assert_eq!((small.width, small.height, small.bytes[0]), (100, 66, 7));
        assert!(uri(&big).starts_with("data:image/png;base64,iVBOR"));
        assert!(uri(&Picture::default()).starts_with("data:"));
    }

    #[test]
    fn one_bright_pixel_does_not_set_the_scale() {
        let mut values = vec![1.0; 400];
        values[7] = 1000.0;
        let map = RelevanceMap {
            kind: RelevanceKind::Gradient,
            height: 20,
            width: 20,
            values,
            delta: None,
            shares: None,
            gini: None,
        };
        assert!(common_scale([&map].into_iter()) < 2.0);
    }
}
