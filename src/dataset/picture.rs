//! Picture files to pixels: decoding, upright orientation, white behind transparency, one size.

use std::io::Cursor;
use std::path::Path;

use image::imageops::{FilterType, crop_imm, resize};
use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageReader, Limits, Luma, Pixel, Rgb, RgbImage};

use super::{Fit, pixels};
use crate::error::{Error, Result};
use crate::input;
use crate::tensor::Shape;

/// Largest side that is decoded.
const MAX_SIDE: u32 = 16_384;
/// Most memory the decoder may take for one picture.
const MAX_BYTES: u64 = 1 << 30;
/// Averages over the area that a pixel comes from, and has no rounding that differs between platforms.
const FILTER: FilterType = FilterType::Triangle;

/// One picture file as the input of a model: `[channel][row][column]` in `[0,1]`, one (grey) or three (RGB) channels.
/// Brought to the size as `how` says.
pub fn load_image(path: impl AsRef<Path>, shape: Shape, how: Fit) -> Result<Vec<f32>> {
    if ![1, 3].contains(&shape.channels) || shape.is_empty() {
        return Err(Error::usage(format!("the model takes {shape}; a picture fills one or three channels")));
    }
    let picture = fit(&decode(path.as_ref())?, shape.width, shape.height, how);
    Ok(bytes(&picture, shape.channels).into_iter().map(pixels::value).collect())
}

/// How the names of pictures end.
pub(super) const ENDINGS: [&str; 11] =
    ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff", "gif"];

/// Whether a file name is that of a picture this crate reads.
pub(super) fn is_picture(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, e)| e);
    ENDINGS.iter().any(|e| extension.eq_ignore_ascii_case(e))
}

/// Decodes a picture, of several the first: upright, RGB, transparency on white. A file that ends early is an error.
pub(super) fn decode(path: &Path) -> Result<RgbImage> {
    let bytes = input::read(path, MAX_BYTES)?;
    let broken = |why: String| {
        let why = why.replace('\n', " ");
        Error::input(path, format!("not a readable picture ({why}); replace or remove the file"))
    };
    if bytes.starts_with(&[0xFF, 0xD8]) && !jpeg_is_whole(&bytes) {
        return Err(broken("the JPEG ends early".into()));
    }
    let mut reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(|e| broken(e.to_string()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| broken(e.to_string()))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|e| broken(e.to_string()))?;
    picture.apply_orientation(orientation);
    if picture.width() == 0 || picture.height() == 0 {
        return Err(broken("it has no pixels".into()));
    }
    if !picture.color().has_alpha() {
        return Ok(picture.into_rgb8());
    }
    let rgba = picture.into_rgba8();
    Ok(RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0.map(u32::from);
        Rgb([r, g, b].map(|v| ((v * a + 255 * (255 - a) + 127) / 255) as u8))
    }))
}

/// The decoder fills what is missing of a JPEG with grey, so the end marker is looked for here. In compressed data 0xFF is
/// followed by 0, so after the last start of scan the marker is what it seems.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    let scan = bytes.windows(2).rposition(|w| w == [0xFF, 0xDA]);
    scan.is_some_and(|at| bytes[at..].windows(2).any(|w| w == [0xFF, 0xD9]))
}

/// Brings a picture to a size. Padded, the sides that open take the border's median colour.
pub(super) fn fit(picture: &RgbImage, width: usize, height: usize, fit: Fit) -> RgbImage {
    fit_buffer(picture, width, height, fit)
}

/// [`fit`] for values that are not 8-bit pictures; `from` has one or three channels.
pub(super) fn fit_values(image: &[f32], from: Shape, to: Shape, fit: Fit) -> Vec<f32> {
    let plane = from.height * from.width;
    if from.channels == 3 {
        let picture = ImageBuffer::from_fn(from.width as u32, from.height as u32, |x, y| {
            let at = y as usize * from.width + x as usize;
            Rgb([image[at], image[plane + at], image[2 * plane + at]])
        });
        planes(&fit_buffer(&picture, to.width, to.height, fit), 3)
    } else {
        let picture = ImageBuffer::from_fn(from.width as u32, from.height as u32, |x, y| {
            Luma([image[y as usize * from.width + x as usize]])
        });
        planes(&fit_buffer(&picture, to.width, to.height, fit), 1)
    }
}

/// The same image in one or three channels: grey in each of them, or its luminance.
pub(super) fn in_channels(image: &[f32], from: usize, to: usize) -> Vec<f32> {
    match (from, to) {
        (1, 3) => image.repeat(3),
        (3, 1) => {
            let plane = image.len() / 3;
            let luminance = |k: usize| 0.2126 * image[k] + 0.7152 * image[plane + k] + 0.0722 * image[2 * plane + k];
            (0..plane).map(|k| luminance(k).clamp(0.0, 1.0)).collect()
        }
        _ => image.to_vec(),
    }
}

fn planes<P: Pixel<Subpixel = f32>>(picture: &ImageBuffer<P, Vec<f32>>, channels: usize) -> Vec<f32> {
    (0..channels).flat_map(|c| picture.pixels().map(move |p| p.channels()[c].clamp(0.0, 1.0))).collect()
}

fn fit_buffer<P>(
    picture: &ImageBuffer<P, Vec<P::Subpixel>>,
    width: usize,
    height: usize,
    fit: Fit,
) -> ImageBuffer<P, Vec<P::Subpixel>>
where
    P: Pixel + 'static,
    P::Subpixel: PartialOrd + 'static,
{
    let (width, height) = (width as u32, height as u32);
    let (w, h) = picture.dimensions();
    if (w, h) == (width, height) {
        return picture.clone();
    }
    match fit {
        Fit::Pad => {}
        Fit::Stretch => return resize(picture, width, height, FILTER),
        Fit::Crop => {
            // The largest part of the picture that has the aspect of the size.
            let scale = f64::min(f64::from(w) / f64::from(width), f64::from(h) / f64::from(height));
            let part = |side: u32, most: u32| ((f64::from(side) * scale).round() as u32).clamp(1, most);
            let (part_w, part_h) = (part(width, w), part(height, h));
            let middle = crop_imm(picture, (w - part_w) / 2, (h - part_h) / 2, part_w, part_h).to_image();
            return resize(&middle, width, height, FILTER);
        }
    }
    // The largest rectangle of the picture's aspect, at least one pixel wide and high.
    let scale = f64::min(f64::from(width) / f64::from(w), f64::from(height) / f64::from(h));
    let inner_w = ((f64::from(w) * scale).round() as u32).clamp(1, width);
    let inner_h = ((f64::from(h) * scale).round() as u32).clamp(1, height);
    let inner = resize(picture, inner_w, inner_h, FILTER);
    if (inner_w, inner_h) == (width, height) {
        return inner;
    }
    let mut out = ImageBuffer::from_pixel(width, height, border_colour(picture));
    image::imageops::replace(&mut out, &inner, i64::from((width - inner_w) / 2), i64::from((height - inner_h) / 2));
    out
}

/// Median of the outermost pixels, channel by channel.
fn border_colour<P: Pixel>(picture: &ImageBuffer<P, Vec<P::Subpixel>>) -> P
where
    P::Subpixel: PartialOrd,
{
    let (w, h) = picture.dimensions();
    let mut colour = *picture.get_pixel(0, 0);
    for c in 0..colour.channels().len() {
        let mut edge: Vec<P::Subpixel> = Vec::with_capacity(2 * (w + h) as usize);
        edge.extend((0..w).flat_map(|x| [(x, 0), (x, h - 1)]).map(|(x, y)| picture.get_pixel(x, y).channels()[c]));
        edge.extend((0..h).flat_map(|y| [(0, y), (w - 1, y)]).map(|(x, y)| picture.get_pixel(x, y).channels()[c]));
        edge.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        colour.channels_mut()[c] = edge[edge.len() / 2];
    }
    colour
}

/// Whether red, green and blue agree everywhere.
pub(super) fn is_grey(picture: &RgbImage) -> bool {
    picture.pixels().all(|p| p[0] == p[1] && p[1] == p[2])
}

/// Pixels as `[channel][row][column]`; one channel is the luminance (Rec. 709 weights).
pub(super) fn bytes(picture: &RgbImage, channels: usize) -> Vec<u8> {
    if channels == 3 {
        return (0..3).flat_map(|c| picture.pixels().map(move |p| p[c])).collect();
    }
    let luminance =
        |p: &Rgb<u8>| (2126 * u32::from(p[0]) + 7152 * u32::from(p[1]) + 722 * u32::from(p[2]) + 5000) / 10000;
    picture.pixels().map(|p| luminance(p) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_aspect_is_kept_and_the_border_continued() {
        // A dark bar on a light ground, twice as wide as high.
        let picture = RgbImage::from_fn(8, 4, |x, _| if (3..5).contains(&x) { Rgb([0; 3]) } else { Rgb([200; 3]) });
        let square = fit(&picture, 16, 16, Fit::Pad);
        assert_eq!(square.get_pixel(8, 0).0, [200; 3]);
        assert_eq!(square.get_pixel(8, 15).0, [200; 3]);
        assert_eq!(square.get_pixel(7, 8).0, [0; 3]);
        let flat = Shape::new(1, 4, 8);
        let values = |p: &RgbImage| -> Vec<f32> { bytes(p, 1).into_iter().map(pixels::value).collect() };
        let grey = values(&picture);
        assert_eq!(fit_values(&grey, flat, flat, Fit::Pad), grey);
        let fitted = fit_values(&grey, flat, Shape::new(1, 16, 16), Fit::Pad);
        // Cut to its middle, the bar fills four fifths; stretched, it keeps its quarter.
        let column =
            |fit_to: Fit| (0..16).filter(|&x| fit(&picture, 16, 16, fit_to).get_pixel(x, 8).0[0] < 100).count();
        assert_eq!((column(Fit::Pad), column(Fit::Stretch), column(Fit::Crop)), (4, 4, 8));
        let close = fitted.iter().zip(values(&square)).all(|(a, b)| (a - b).abs() < 0.005);
        assert!(close, "8-bit and float resizing agree");
    }

    #[test]
    fn transparency_is_white_and_truncation_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let png = dir.path().join("a.png");
        image::RgbaImage::from_pixel(2, 2, image::Rgba([10, 10, 10, 0])).save(&png).unwrap();
        assert_eq!(load_image(&png, Shape::new(3, 2, 2), Fit::Pad).unwrap(), vec![1.0; 12]);
        let jpg = dir.path().join("b.jpg");
        RgbImage::from_fn(40, 40, |x, y| Rgb([(x * y) as u8, x as u8, y as u8])).save(&jpg).unwrap();
        assert_eq!(load_image(&jpg, Shape::new(1, 8, 8), Fit::Pad).unwrap().len(), 64);
        for path in [&png, &jpg] {
            let bytes = std::fs::read(path).unwrap();
            for keep in [0, 1, 5, bytes.len() / 2, bytes.len() - 20] {
                std::fs::write(path, &bytes[..keep]).unwrap();
                let message = load_image(path, Shape::new(3, 8, 8), Fit::Pad).unwrap_err().to_string();
                assert!(message.contains("not a readable picture") && !message.contains('\n'), "{keep}: {message}");
            }
        }
        assert!(load_image(&png, Shape::flat(784), Fit::Pad).unwrap_err().to_string().contains("channels"));
    }
}
