//! NumPy archives (`.npz`): one array of images and one of labels, or such a pair each for training and test.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::classes::{Choice, tally};
use super::idx::PER_IMAGE;
use super::rest::{Seen, are, some};
use super::source::{Found, Images};
use super::{Dataset, Source};
use crate::error::{Error, Result};
use crate::input;
use crate::tensor::Shape;
use crate::terminal::{self, counted};

/// Names under which a pair of images and labels is found.
const TRAIN: [(&str, &str); 4] = [
    ("x_train", "y_train"),
    ("train_images", "train_labels"),
    ("images_train", "labels_train"),
    ("train_x", "train_y"),
];
const TEST: [(&str, &str); 4] =
    [("x_test", "y_test"), ("test_images", "test_labels"), ("images_test", "labels_test"), ("test_x", "test_y")];
const WHOLE: [(&str, &str); 7] = [
    ("images", "labels"),
    ("x", "y"),
    ("data", "labels"),
    ("data", "target"),
    ("images", "y"),
    ("x", "labels"),
    ("arr_0", "arr_1"),
];

/// Images `[N,H,W]`, `[N,H,W,C]` or `[N,C,H,W]` (C is 1 or 3), or rows `[N,K]` that are squares or what the network takes, of
/// integers 0..255 or floats in [0,1] or [0,255]; labels are integers `[N]` or `[N,1]`, or one of each row `[N,K]` is 1. Keys as in Keras (`x_train`, `y_train`, …), MedMNIST (`train_images`, …) or `images`/`labels`.
pub(super) fn read(path: &Path, source: &Source) -> Result<Found> {
    let broken = |e: zip::result::ZipError| Error::input(path, format!("not a readable .npz archive ({e})"));
    let file = input::open(path)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(broken)?;
    let keys: Vec<String> = archive.file_names().flatten().map(|n| n.trim_end_matches(".npy").to_string()).collect();
    let pair = |names: &[(&str, &str)]| {
        let key = |wanted: &str| keys.iter().find(|k| k.eq_ignore_ascii_case(wanted)).cloned();
        names.iter().find_map(|(x, y)| Some((key(x)?, key(y)?)))
    };
    let mut part = |names: Option<(String, String)>| -> Result<Option<Part>> {
        names.map(|(images, labels)| read_part(path, source, &mut archive, images, &labels)).transpose()
    };
    let (train, mut test) = (part(pair(&TRAIN))?, part(pair(&TEST))?);
    let (mut train, mut whole) = match (&train, &test) {
        (None, None) => (None, part(pair(&WHOLE))?),
        (Some(_), None) => (None, train),
        _ => (train, None),
    };
    into_unit_range(path, train.iter_mut().chain(&mut test).chain(&mut whole))?;
    let parts: Vec<&Part> = train.iter().chain(&test).chain(&whole).collect();
    let Some(first) = parts.first() else {
        let problem =
            format!("holds {}; expected images and labels, or x_train, y_train, x_test, y_test", keys.join(", "));
        return Err(Error::input(path, problem));
    };
    let shape = first.shape;
    if let Some(other) = parts.iter().find(|p| p.shape != shape) {
        return Err(Error::input(path, format!("training images are {shape}, test images {}", other.shape)));
    }
    let labels: Vec<usize> = parts.iter().flat_map(|p| &p.labels).copied().collect();
    let choice = Choice::of_numbers(path, &labels, source)?;
    let convert = |part: Option<Part>, name: &str| {
        part.map_or(Dataset::empty(shape, choice.names.clone()), |p| p.into_dataset(name, &choice))
    };
    let left = left_out(path, &mut archive, &keys, &parts);
    let images = match whole {
        Some(whole) => Images::Whole(whole.into_dataset("image", &choice)),
        None => Images::Split(convert(train, "train"), convert(test, "test")),
    };
    let mut seen = Seen::new("beside the .npz file");
    seen.add(path);
    let mut found = images.chosen(choice, &tally(labels), seen);
    found.notes.extend(left);
    Ok(found)
}

/// What there is to say of arrays that are not read.
fn left_out(path: &Path, archive: &mut Archive, keys: &[String], parts: &[&Part]) -> Vec<String> {
    let read = |key: &String| parts.iter().any(|p| p.keys.contains(key));
    let is_there = |wanted: &str| keys.iter().any(|k| k.eq_ignore_ascii_case(wanted));
    let (mut count, mut images, mut others) = (0usize, vec![], vec![]);
    for key in keys.iter().filter(|k| !read(k)) {
        let dims = Array::open(path, archive, key).map_or(vec![], |(header, _)| header.dims);
        if dims.len() < 3 && !parts.iter().any(|p| dims.len() > 1 && p.each == dims[1..]) {
            others.push(key.clone());
            continue;
        }
        count = dims[0].saturating_add(count);
        let pair = TRAIN.iter().chain(&TEST).find(|(x, _)| key.eq_ignore_ascii_case(x));
        let missing = pair.filter(|(_, y)| !is_there(y)).map(|(_, y)| format!(" (without {y})"));
        images.push(key.clone() + &missing.unwrap_or_default());
    }
    let mut notes = vec![];
    if !images.is_empty() {
        notes.push(format!("{} of {} {} left out", counted(count, "image"), some(&images), are(count)));
    }
    if !others.is_empty() {
        let n = others.len();
        notes.push(format!("{} {} left out: {}", counted(n, "other array"), are(n), some(&others)));
    }
    notes
}

/// Images as `[image][channel][row][column]`, and their labels in the file.
struct Part {
    /// Of images and labels.
    keys: [String; 2],
    /// Dimensions of one image in the file.
    each: Vec<usize>,
    kind: Kind,
    shape: Shape,
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

impl Part {
    fn into_dataset(self, prefix: &str, choice: &Choice) -> Dataset {
        let mut data = Dataset::empty(self.shape, choice.names.clone());
        for (i, (pixels, &class)) in self.pixels.chunks(self.shape.len()).zip(&self.labels).enumerate() {
            if let Some(label) = choice.label(class) {
                data.push(format!("{prefix}-{i:05}"), label, pixels);
            }
        }
        data
    }
}

type Archive = ZipArchive<BufReader<File>>;

fn read_part(
    path: &Path,
    source: &Source,
    archive: &mut Archive,
    images_key: String,
    labels_key: &str,
) -> Result<Part> {
    let images = Array::read(path, archive, &images_key)?;
    let labels = Array::read(path, archive, labels_key)?;
    let count = images.dims.first().copied().unwrap_or(0);
    let labels_fit = matches!(labels.dims[..], [n] | [n, _] if n == count);
    if !labels_fit {
        let problem =
            format!("{images_key} is {:?} but {labels_key} is {:?}; one label per image", images.dims, labels.dims);
        return Err(Error::input(path, problem));
    }
    let each = images.dims.get(1..).unwrap_or_default();
    let row = |n: usize| {
        let taken = source.network.as_ref().is_some_and(|net| net.is_flat() && net.input.len() == n);
        let side = n.isqrt();
        if side * side == n { Some(Shape::new(1, side, side)) } else { taken.then_some(Shape::new(1, 1, n)) }
    };
    // Channels last is NumPy's habit, so it is tried first.
    let (shape, last) = match (each, if let [n] = each { row(*n) } else { None }) {
        (_, Some(row)) => (row, false),
        (&[h, w], _) => (Shape::new(1, h, w), false),
        (&[h, w, c], _) if c == 1 || c == 3 => (Shape::new(c, h, w), true),
        (&[c, h, w], _) if c == 1 || c == 3 => (Shape::new(c, h, w), false),
        _ => {
            let problem = format!(
                "{images_key} is {:?}; expected [N,H,W], [N,H,W,C] or [N,C,H,W], C 1 or 3, or rows of square grey images",
                images.dims
            );
            return Err(Error::input(path, problem));
        }
    };
    if count == 0 || shape.is_empty() {
        return Err(Error::input(path, format!("{images_key} is empty")));
    }
    let mut pixels: Vec<f32> = images.values().map(|v| v as f32).collect();
    if last && shape.channels > 1 {
        let plane = shape.height * shape.width;
        for image in pixels.chunks_mut(shape.len()) {
            let turned = image.to_vec();
            for (k, v) in turned.into_iter().enumerate() {
                image[k % shape.channels * plane + k / shape.channels] = v;
            }
        }
    }
    let label = |v: f64| {
        let whole = v.fract() == 0.0 && (0.0..100_000.0).contains(&v);
        whole.then_some(v as usize).ok_or_else(|| {
            Error::input(path, format!("{labels_key} has the label {v}; labels are whole numbers from 0"))
        })
    };
    let labels = match labels.dims[..] {
        [_, k] if k > 1 => one_hot(&labels.values().collect::<Vec<f64>>(), k).ok_or_else(|| {
            let problem =
                format!("{labels_key} is {:?}; one label per image, or rows of zeros and a single 1", labels.dims);
            Error::input(path, problem)
        })?,
        _ => labels.values().map(label).collect::<Result<_>>()?,
    };
    let each = each.to_vec();
    Ok(Part { keys: [images_key, labels_key.to_string()], each, kind: images.kind, shape, pixels, labels })
}

/// Where in each row of `k` the 1 is, if all else are zeros.
fn one_hot(values: &[f64], k: usize) -> Option<Vec<usize>> {
    let place = |row: &[f64]| {
        let one = row.iter().position(|v| *v == 1.0)?;
        (row.iter().filter(|v| **v != 0.0).count() == 1).then_some(one)
    };
    values.chunks_exact(k).map(place).collect()
}

/// Brings all arrays of a file to [0,1]: integers are bytes, truth values 0 and 1, and floats what their maximum says.
///
/// # Errors
/// What is neither bytes nor in [0,1], what may be either, and arrays on different scales.
fn into_unit_range<'a>(path: &Path, parts: impl Iterator<Item = &'a mut Part>) -> Result<()> {
    let refuse = |problem: String| Err(Error::input(path, problem));
    let mut first: Option<(String, f32, bool)> = None;
    let (mut largest, mut integer) = (0.0f32, false);
    for Part { keys: [key, _], kind, pixels, .. } in parts {
        if let Some(at) = pixels.iter().position(|v| !v.is_finite()) {
            return refuse(format!("{key} has {} at value {at}; pixels must be finite", pixels[at]));
        }
        let (low, high) = pixels.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        if low < 0.0 || high > 255.0 {
            return refuse(format!(
                "{key} spans {low} to {high}; pixels are in [0,1] or 0 to 255, without normalisation"
            ));
        }
        let bytes = match kind.letter {
            'f' if high > 1.0 && high <= 2.0 => {
                return refuse(format!(
                    "{key} are floats up to {high}: neither within [0,1] nor clearly 0 to 255; clip them, or save bytes"
                ));
            }
            'f' => high > 1.0,
            letter => letter != 'b',
        };
        match &first {
            Some((other, most, scale)) if *scale != bytes => {
                return refuse(format!(
                    "{other} reaches {most} and {key} {high}: one is in [0,1], the other 0 to 255; save both alike"
                ));
            }
            Some(_) => {}
            None => first = Some((key.clone(), high, bytes)),
        }
        largest = largest.max(high);
        integer |= bytes && kind.letter != 'f';
        if bytes {
            pixels.iter_mut().for_each(|v| *v /= 255.0);
        }
    }
    if integer && largest <= 1.0 {
        let path = path.display();
        terminal::note(format_args!(
            "{path}: integers up to {largest} are taken as bytes of 0 to 255, nearly black; save floats where 1 is white"
        ));
    }
    Ok(())
}

/// One `.npy` array in C order.
struct Array {
    dims: Vec<usize>,
    /// As in the file: a byte may become eight as a number.
    bytes: Vec<u8>,
    kind: Kind,
}

impl Array {
    /// What an array is, and its file from the first value on.
    fn open<'a>(path: &Path, archive: &'a mut Archive, key: &str) -> Result<(Header, ZipFile<'a, BufReader<File>>)> {
        let broken = |why: &str| Error::input(path, format!("array {key}: {why}"));
        let name = [format!("{key}.npy"), key.to_string()].into_iter().find(|n| archive.index_for_name(n).is_some());
        let name = name.ok_or_else(|| broken("not found"))?;
        let mut entry = archive.by_name(&name).map_err(|e| broken(&format!("unreadable ({e})")))?;
        let cut = |_| broken("cut short or damaged; write the file again");

        let mut start = [0; 8];
        entry.read_exact(&mut start).map_err(cut)?;
        if &start[..6] != b"\x93NUMPY" {
            return Err(broken("not a NumPy array"));
        }
        let mut length = [0; 4];
        entry.read_exact(&mut length[..if start[6] == 1 { 2 } else { 4 }]).map_err(cut)?;
        let length = u64::from(u32::from_le_bytes(length));
        let mut header = String::new();
        entry.by_ref().take(length.min(1 << 16)).read_to_string(&mut header).map_err(cut)?;
        Ok((Header::parse(&header).map_err(|why| broken(&why))?, entry))
    }

    fn read(path: &Path, archive: &mut Archive, key: &str) -> Result<Array> {
        let broken = |why: &str| Error::input(path, format!("array {key}: {why}"));
        let cut = |_| broken("cut short or damaged; write the file again");
        let (Header { kind, dims }, entry) = Array::open(path, archive, key)?;
        let (stored, plain) = (entry.compressed_size(), entry.compression() == CompressionMethod::Stored);
        let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64)).unwrap_or(u64::MAX);
        let total = count.saturating_mul(kind.bytes as u64);
        let images = dims.first().map_or(0, |&n| n as u64);
        let kept = total.saturating_add(PER_IMAGE.saturating_mul(images));
        if if plain { total > stored } else { kept > input::room(stored) } {
            return Err(broken(&format!("declares {dims:?} values, more than the file can hold")));
        }
        let mut bytes = Vec::new();
        entry.take(total).read_to_end(&mut bytes).map_err(cut)?;
        if bytes.len() as u64 != total {
            return Err(cut(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(Array { dims, bytes, kind })
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.bytes.chunks_exact(self.kind.bytes).map(|b| self.kind.value(b))
    }
}

struct Header {
    kind: Kind,
    dims: Vec<usize>,
}

/// Type of the values: `f`, `i`, `u` or `b` (bool) and its width.
#[derive(Clone, Copy)]
struct Kind {
    letter: char,
    bytes: usize,
    big_endian: bool,
}

impl Header {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
    fn parse(text: &str) -> std::result::Result<Header, String> {
        let after = |key: &str| {
            let at = text.find(key).ok_or(format!("its header lacks {key}"))?;
            text[at + key.len()..]
                .split_once(':')
                .map(|(_, rest)| rest.trim_start())
                .ok_or("damaged header".to_string())
        };
        let descr = after("'descr'")?.split('\'').nth(1).ok_or("values that are not plain numbers")?;
        let mut letters = descr.chars();
        let (order, letter) = (letters.next().unwrap_or(' '), letters.next().unwrap_or(' '));
        let bytes = letters.as_str().parse().unwrap_or(0);
        if !matches!((letter, bytes), ('f', 2 | 4 | 8) | ('i' | 'u', 1 | 2 | 4 | 8) | ('b', 1)) {
            return Err(format!("values of type {descr}; expected uint8, another integer type or float"));
        }
        if !after("'fortran_order'")?.starts_with("False") {
            return Err("stored in Fortran order; save np.ascontiguousarray(array)".to_string());
        }
        let shape = after("'shape'")?;
        let inside = shape.strip_prefix('(').and_then(|s| s.split_once(')')).ok_or("damaged header")?.0;
        let dims = inside.split(',').map(str::trim).filter(|d| !d.is_empty());
        let dims =
            dims.map(|d| d.parse().map_err(|_| format!("a dimension {d:?}"))).collect::<std::result::Result<_, _>>()?;
        Ok(Header { kind: Kind { letter, bytes, big_endian: order == '>' }, dims })
    }
}

impl Kind {
    fn value(self, bytes: &[u8]) -> f64 {
        let mut raw = [0; 8];
        raw[..self.bytes].copy_from_slice(bytes);
        if self.big_endian {
            raw[..self.bytes].reverse();
        }
        let bits = u64::from_le_bytes(raw);
        let unused = 64 - 8 * self.bytes as u32;
        match (self.letter, self.bytes) {
            ('f', 2) => half::f16::from_bits(bits as u16).to_f64(),
            ('f', 4) => f64::from(f32::from_bits(bits as u32)),
            ('f', _) => f64::from_bits(bits),
            ('i', _) => ((bits << unused) as i64 >> unused) as f64,
            _ => bits as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::write::{SimpleFileOptions, ZipWriter};

    use super::super::load;
    use super::*;

    fn npy(descr: &str, dims: &str, bytes: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {dims}, }}\n");
        let mut out = b"\x93NUMPY\x01\x00".to_vec();
        out.extend((header.len() as u16).to_le_bytes());
        out.extend(header.as_bytes());
        out.extend(bytes);
        out
    }

    fn npz(path: &Path, arrays: &[(&str, Vec<u8>)]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in arrays {
            zip.start_file(format!("{name}.npy"), SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn channels_last_bytes_and_a_split_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let images: Vec<u8> = (0..24).collect();
        let labels: Vec<u8> = [1i64, 0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let pair = |x: &'static str, y: &'static str| {
            [(x, npy("|u1", "(2, 2, 2, 3)", &images)), (y, npy("<i8", "(2,)", &labels))]
        };
        let [a, b] = pair("x_train", "y_train");
        let [c, d] = pair("x_test", "y_test");
        npz(&path, &[a, b, c, d]);
        for given in [&path, &dir.path().to_path_buf()] {
            let splits = load(&Source::new(given)).unwrap();
            assert_eq!((splits.test.shape, splits.test.labels.clone()), (Shape::new(3, 2, 2), vec![1, 0]));
            assert_eq!(splits.train.image(1)[4..8], [13.0, 16.0, 19.0, 22.0].map(|v| v / 255.0));
        }
    }

    #[test]
    fn arrays_that_are_not_read_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let images = |n: u8| npy("|u1", &format!("({n}, 1, 2)"), &vec![9; 2 * usize::from(n)]);
        let labels = |n: u8| npy("|u1", &format!("({n},)"), &(0..n).map(|k| k % 2).collect::<Vec<_>>());
        let said = |arrays: &[(&str, Vec<u8>)]| {
            npz(&path, arrays);
            load(&Source::new(&path)).unwrap().notes
        };
        let part = |x: &'static str, y: &'static str, n: u8| [(x, images(n)), (y, labels(n))];
        let medical =
            [("train_images", "train_labels", 4), ("test_images", "test_labels", 2), ("val_images", "val_labels", 3)];
        let notes = said(&medical.map(|(x, y, n)| part(x, y, n)).concat());
        assert_eq!(notes, ["3 images of val_images are left out", "1 other array is left out: val_labels"]);
        let train = part("x_train", "y_train", 4);
        let halved = [&train[..], &[("x_test", images(1))]].concat();
        assert_eq!(said(&halved), ["1 image of x_test (without y_test) is left out"]);
        let more = [&train[..], &part("images", "labels", 2), &[("names", npy("<U3", "(1,)", &[0; 12]))]].concat();
        assert_eq!(said(&more), ["2 images of images are left out", "2 other arrays are left out: labels, names"]);
        assert!(said(&train).is_empty());
        // In a folder, what else is there; of two files, one is to be named.
        super::super::testing::put(dir.path(), "loose.png", 3, [1; 3]);
        assert_eq!(load(&Source::new(dir.path())).unwrap().notes, ["1 picture beside the .npz file is left out"]);
        std::fs::copy(&path, dir.path().join("e.npz")).unwrap();
        let message = load(&Source::new(dir.path())).unwrap_err().to_string();
        assert!(message.contains("holds d.npz, e.npz; give one of them as --data"), "{message}");
    }

    #[test]
    fn floats_with_or_without_channels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let labels = npy("<i4", "(4, 1)", &[0i32, 1, 0, 1].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        let values: Vec<f32> = (0..16).map(|v| v as f32 / 16.0).collect();
        for dims in ["(4, 2, 2)", "(4, 1, 2, 2)", "(4, 2, 2, 1)"] {
            npz(&path, &[("images", npy("<f4", dims, &floats(&values))), ("labels", labels.clone())]);
            let splits = load(&Source { test_share: 0.5, ..Source::new(&path) }).unwrap();
            assert_eq!((splits.test.shape, splits.test.counts()), (Shape::new(1, 2, 2), vec![1, 1]));
        }
        let big: Vec<u8> = values.iter().flat_map(|v| f64::from(*v * 100.0).to_be_bytes()).collect();
        npz(&path, &[("X", npy(">f8", "(4, 2, 2)", &big)), ("Y", labels)]);
        let splits = load(&Source { test_share: 0.0, ..Source::new(&path) }).unwrap();
        let high = splits.train.images(0..4).iter().copied().fold(0.0, f32::max);
        assert_eq!(high, 93.75 / 255.0);
    }

    #[test]
    fn one_scale_for_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let labels = || npy("|u1", "(2,)", &[0, 1]);
        let read = |train: Vec<u8>, test: Vec<u8>| {
            npz(&path, &[("x_train", train), ("y_train", labels()), ("x_test", test), ("y_test", labels())]);
            load(&Source::new(&path)).map_err(|e| e.to_string())
        };
        let floats = |values: [f32; 4]| npy("<f4", "(2, 1, 2)", &floats(&values));
        let bytes = |descr: &str, values: [u8; 4]| npy(descr, "(2, 1, 2)", &values);
        let message = read(floats([0.0, 200.0, 3.0, 4.0]), floats([0.0, 0.5, 1.0, 1.0])).unwrap_err();
        assert!(
            message.contains("x_train reaches 200 and x_test 1") && message.contains("save both alike"),
            "{message}"
        );
        assert!(
            read(bytes("|u1", [0, 9, 9, 9]), floats([0.0, 0.5, 1.0, 1.0])).unwrap_err().contains("save both alike")
        );
        let message = read(floats([0.0, 1.0001, 0.3, 0.4]), floats([0.0; 4])).unwrap_err();
        assert!(
            message.contains("x_train") && message.contains("1.0001") && message.contains("clip them"),
            "{message}"
        );
        let splits = read(bytes("|u1", [0, 1, 1, 0]), bytes("|u1", [0, 51, 0, 0])).unwrap();
        assert_eq!((splits.train.image(0)[1], splits.test.image(0)[1]), (1.0 / 255.0, 0.2));
        let splits = read(bytes("|b1", [0, 1, 1, 0]), bytes("|b1", [0, 1, 0, 0])).unwrap();
        assert_eq!(splits.train.image(0)[..], [0.0, 1.0], "truth values are white or black");
    }

    #[test]
    fn rows_are_squares_and_labels_may_be_one_of_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let labels = || ("labels", npy("|u1", "(2, 3)", &[0, 0, 1, 1, 0, 0]));
        npz(&path, &[("images", npy("|u1", "(2, 4)", &[0, 51, 102, 255, 0, 0, 0, 0])), labels()]);
        let all = load(&Source { test_share: 0.0, ..Source::new(&path) });
        assert!(all.unwrap_err().to_string().contains("class 1 has no images"));
        let network = |n: usize| Some(super::super::Network::new(Shape::flat(n), &["0", "1", "2"].map(String::from)));
        let of = |n: usize| load(&Source { test_share: 0.0, network: network(n), ..Source::new(&path) });
        let square = of(4).unwrap().train;
        assert_eq!((square.shape, square.labels.clone()), (Shape::new(1, 2, 2), vec![0, 2]));
        assert_eq!(square.image(1)[..], [0.0, 0.2, 0.4, 1.0]);
        npz(&path, &[("images", npy("|u1", "(2, 3)", &[0; 6])), labels()]);
        assert_eq!(of(3).unwrap().train.shape, Shape::new(1, 1, 3));
        assert!(of(4).unwrap_err().to_string().contains("rows of square grey images"));
        npz(&path, &[("images", npy("|u1", "(2, 4)", &[0; 8])), ("labels", npy("|u1", "(2, 2)", &[1, 1, 0, 1]))]);
        assert!(of(4).unwrap_err().to_string().contains("a single 1"));
    }

    #[test]
    fn bad_archives_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.npz");
        let labels = || ("labels", npy("|u1", "(2,)", &[0, 1]));
        let error = || {
            let message = load(&Source::new(&path)).unwrap_err().to_string();
            assert!(message.contains("d.npz") && !message.contains('\n'), "{message}");
            message
        };
        let case = |images: Vec<u8>, expected: &str| {
            npz(&path, &[("images", images), labels()]);
            let message = error();
            assert!(message.contains(expected), "{message}");
        };
        case(npy("<f4", "(2, 1, 2)", &floats(&[0.0, f32::NAN, 1.0, 1.0])), "NaN");
        case(npy("<f4", "(2, 1, 2)", &floats(&[0.0, -1.5, 1.0, 1.0])), "-1.5");
        case(npy("|u1", "(3, 1, 2)", &[0; 6]), "one label per image");
        case(npy("|u1", "(2, 5)", &[0; 10]), "expected [N,H,W]");
        case(npy("|u1", "(2, 1, 3)", &[0; 5]), "cut short");
        case(npy("|u1", "(2, 4000000000, 4000000000)", &[0; 5]), "more than the file can hold");
        case(npy("|O", "(2, 1, 2)", &[0; 5]), "type |O");
        case(b"nonsense that is long enough".to_vec(), "not a NumPy array");
        npz(&path, &[("weights", npy("|u1", "(2,)", &[0, 1]))]);
        assert!(error().contains("weights"));
        npz(&path, &[("images", npy("|u1", "(2, 1, 2)", &[0; 4])), labels()]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(error().contains("not a readable .npz"));
    }
}
