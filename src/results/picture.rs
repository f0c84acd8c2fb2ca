//! A small image inside `results.json`: 8-bit samples as base64 text.

use crate::tensor::Shape;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 8-bit image, grey (1 channel) or RGB (3).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `[row][column][channel]`.
    #[serde(serialize_with = "to_base64")]
    pub bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Raw {
    width: usize,
    height: usize,
    channels: usize,
    #[serde(deserialize_with = "from_base64")]
    bytes: Vec<u8>,
}

impl TryFrom<Raw> for Picture {
    type Error = String;

    fn try_from(r: Raw) -> Result<Picture, String> {
        let expected = r.width.checked_mul(r.height).and_then(|n| n.checked_mul(r.channels));
        if !matches!(r.channels, 1 | 3) || expected != Some(r.bytes.len()) {
            return Err(format!("a picture of {}x{}x{} with {} bytes", r.width, r.height, r.channels, r.bytes.len()));
        }
        Ok(Picture { width: r.width, height: r.height, channels: r.channels, bytes: r.bytes })
    }
}

impl Picture {
    /// From bytes in `[row][column][channel]` order given as floats in `[0,1]`.
    pub fn new(height: usize, width: usize, values: Vec<f32>, channels: usize) -> Picture {
        assert_eq!(values.len(), height * width * channels, "one value per sample");
        Picture { width, height, channels, bytes: values.into_iter().map(to_byte).collect() }
    }

    /// From pixels as the models see them, `[channel][row][column]` in `[0,1]`. One channel stays grey, three are RGB;
    /// of any other number the first is shown.
    pub fn from_chw(shape: Shape, pixels: &[f32]) -> Picture {
        assert_eq!(pixels.len(), shape.len(), "one value per pixel and channel");
        let channels = if shape.channels == 3 { 3 } else { 1 };
        let plane = shape.height * shape.width;
        let bytes = (0..plane).flat_map(|p| (0..channels).map(move |c| to_byte(pixels[c * plane + p]))).collect();
        Picture { width: shape.width, height: shape.height, channels, bytes }
    }

    /// The samples as floats in `[0,1]`, `[channel][row][column]`.
    pub fn planes(&self) -> (Vec<f32>, Shape) {
        let shape = Shape::new(self.channels, self.height, self.width);
        let plane = self.height * self.width;
        let at = |i: usize| f32::from(self.bytes[i % plane * self.channels + i / plane]) / 255.0;
        ((0..self.bytes.len()).map(at).collect(), shape)
    }

    /// Brightness of every pixel in `[0,1]`, `[row][column]`.
    pub fn luma(&self) -> Vec<f32> {
        self.bytes
            .chunks_exact(self.channels.max(1))
            .map(|p| match *p {
                [r, g, b] => (0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)) / 255.0,
                _ => f32::from(p[0]) / 255.0,
            })
            .collect()
    }
}

fn to_byte(v: f32) -> u8 {
    (v.clamp(0.0, 1.0) * 255.0).round() as u8
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, &b| w << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= chunk.len() { symbol } else { '=' });
        }
    }
    out
}

/// The inverse of [`base64`]; `None` for any other text.
fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut word = 0u32;
        for &symbol in chunk {
            word = word << 6 | ALPHABET.iter().position(|&a| a == symbol)? as u32;
        }
        word <<= 6 * (4 - chunk.len());
        out.extend((0..chunk.len().saturating_sub(1)).map(|i| (word >> (16 - 8 * i)) as u8));
    }
    Some(out)
}

fn to_base64<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&base64(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(d)?;
    decode(&text).ok_or_else(|| serde::de::Error::custom("a picture's bytes are not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_known_answers_and_round_trip() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
            assert_eq!(decode(coded).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode("a"), None);
        assert_eq!(decode("a*=="), None);
    }

    #[test]
    fn channels_become_innermost_and_wrong_sizes_are_refused() {
        let p = Picture::from_chw(Shape::new(3, 1, 2), &[1.0, 0.0, 0.0, 1.0, 0.0, 2.0]);
        assert_eq!(p.bytes, [255, 0, 0, 0, 255, 255]);
        let text = serde_json::to_string(&p).unwrap();
        assert_eq!(serde_json::from_str::<Picture>(&text).unwrap(), p);
        assert!(serde_json::from_str::<Picture>(&text.replace("\"width\":2", "\"width\":3")).is_err());
    }
}
