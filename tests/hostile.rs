//! What a file holds must not matter to the program's health: readers of everything answer or refuse in one line, soon,
//! and within bounded memory, whatever the bytes are.
//!
//! Files are changed at random, always in the same way; `DELTAMAX_HOSTILE=20000` changes each as often as that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use deltamax::audit::Certificate;
use deltamax::certify::table;
use deltamax::dataset::{Source, load};
use deltamax::model::{Conv, Dense, Layer, Model, Node, Pool, onnx};
use deltamax::results::{CertifyRow, FORMAT, ModelResult, Study};
use deltamax::rng::Rng;
use deltamax::spec::vnnlib;
use deltamax::tensor::Shape;
use deltamax::verify::batch;

/// Counts what is allocated, so that a test can tell how much a reader took.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// More than this is not handed out: the test fails, the machine lives.
const CEILING: usize = 6 << 30;

// SAFETY: memory comes from and goes back to the system's allocator; only its size is counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        if held > CEILING {
            HELD.fetch_sub(layout.size(), Ordering::Relaxed);
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises about the layout are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `at` came from `alloc` with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Memory is that of the process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How often each file is changed.
fn times(usual: usize) -> usize {
    std::env::var("DELTAMAX_HOSTILE").map_or(usual, |n| n.parse().expect("DELTAMAX_HOSTILE is a number"))
}

const MIB: usize = 1 << 20;
/// Longer than any reader takes for a small file, on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Runs a reader, which must not panic, hang, or take much memory; its error in one line.
fn survives(what: &str, most: usize, read: impl FnOnce() -> Result<(), String>) -> Option<String> {
    let (before, since) = (HELD.load(Ordering::Relaxed), Instant::now());
    MOST.store(before, Ordering::Relaxed);
    let answer = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| panic!("{what}: panics"));
    let (used, took) = (MOST.load(Ordering::Relaxed).saturating_sub(before), since.elapsed());
    assert!(used <= most, "{what}: takes {} MiB, may take {}", used / MIB, most / MIB);
    assert!(took < PATIENCE, "{what}: takes {took:?}");
    let error = answer.err();
    if let Some(error) = &error {
        assert!(!error.trim_end().contains('\n') && error.len() < 4000, "{what}: {error}");
    }
    error
}

/// Text that readers of text find hard.
const WORDS: [&str; 16] = [
    "-1",
    "18446744073709551615",
    "9223372036854775808",
    "1e999",
    "-1e-999",
    "NaN",
    "inf",
    "0",
    "\"",
    "(((",
    "]",
    "{\"a\":",
    "null",
    "\u{feff}",
    "\r\n",
    "4294967295",
];

/// A few bytes changed, taken out, put in, doubled or cut off.
fn changed(bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=rng.below(4) {
        if out.is_empty() {
            return out;
        }
        let at = rng.below(out.len());
        let end = (at + 1 + rng.below(16)).min(out.len());
        match rng.below(8) {
            0 => out[at] ^= 1 << rng.below(8),
            1 => out[at] = [0, 0xFF, 0x7F, 0x80, 1][rng.below(5)],
            2 => drop(out.drain(at..end)),
            3 => {
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            4 => drop(out.splice(at..end, WORDS[rng.below(WORDS.len())].bytes())),
            5 => out.truncate(at),
            6 => out[at..end].fill(0xFF),
            _ => out[at] = rng.next_u32() as u8,
        }
    }
    out
}

/// Reads a file that is changed in many ways, beside whatever else it needs.
fn read_changed(path: &Path, whole: &[u8], count: usize, most: usize, read: impl Fn() -> Result<(), String>) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    std::fs::write(path, whole).unwrap();
    assert_eq!(survives(&name, most, &read), None, "as it should be");
    let mut refused = 0;
    for n in 0..times(count) {
        std::fs::write(path, changed(whole, &mut Rng::new(n as u64, 0xF0))).unwrap();
        refused += usize::from(survives(&format!("{name}, change {n}"), most, &read).is_some());
    }
    println!("{name}: {refused} of {} changes are refused", times(count));
    std::fs::write(path, whole).unwrap();
}

fn text<T>(answer: deltamax::error::Result<T>) -> Result<(), String> {
    answer.map(drop).map_err(|e| e.to_string())
}

fn node(name: &str, layer: Layer, input: usize, shape: Shape) -> Node {
    Node { name: name.into(), layer, inputs: vec![input], shape }
}

/// A convolution, a maximum and a dense layer.
fn network() -> Model {
    let conv = Conv { weight: vec![0.5; 18], bias: vec![0.1; 2], kernel: [3, 3], stride: [1, 1], pad: [1, 1] };
    let pool = Pool { kernel: [2, 2], stride: [2, 2], pad: [0, 0], count_include_pad: false };
    let dense = Dense { weight: vec![0.25; 16], bias: vec![0.0; 2] };
    let nodes = vec![
        node("conv", Layer::Conv(conv), 0, Shape::new(2, 4, 4)),
        node("relu", Layer::Relu, 1, Shape::new(2, 4, 4)),
        node("pool", Layer::MaxPool(pool), 2, Shape::new(2, 2, 2)),
        node("dense", Layer::Dense(dense), 3, Shape::flat(2)),
    ];
    Model { input: Shape::new(1, 4, 4), nodes, classes: vec!["0".into(), "1".into()], folded: vec![] }
}

#[test]
fn networks() {
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let path = dir.path().join("m.onnx");
    let bytes = onnx::encode(&network()).unwrap();
    read_changed(&path, &bytes, 1500, 512 * MIB, || text(onnx::read(&path)));
}

const PROPERTY: &str = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)
(assert (and (<= X_0 0.5) (>= X_0 -1e-3)))\n(assert (<= X_1 3)) ; note\n(assert (>= X_1 2))
(assert (or (<= Y_0 (+ 1 (* 0.25 Y_0))) (and (>= Y_0 7) (<= Y_0 X_0))))\n";

#[test]
fn properties() {
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let path = dir.path().join("p.vnnlib");
    let whole = PROPERTY.replace("(<= Y_0 X_0)", "(<= Y_0 9)");
    read_changed(&path, whole.as_bytes(), 3000, 64 * MIB, || text(vnnlib::read(&path)));
    let instances = dir.path().join("instances.csv");
    read_changed(&instances, b"m.onnx,p.vnnlib,1.5\n\"a,b\",c,30\n", 500, 64 * MIB, || {
        text(batch::read_instances(&instances))
    });
}

fn idx(dims: &[u32], bytes: &[u8]) -> Vec<u8> {
    let dims: Vec<u8> = [dims.len() as u8].into_iter().chain(dims.iter().flat_map(|d| d.to_be_bytes())).collect();
    [&[0, 0, 8], &dims[..], bytes].concat()
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn npy(kind: &str, dims: &str, bytes: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {dims}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(vec![]));
    for (name, bytes) in arrays {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut out = std::io::Cursor::new(vec![]);
    image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 7]))
        .write_to(&mut out, image::ImageFormat::Png)
        .unwrap();
    out.into_inner()
}

#[test]
fn data_of_every_format() {
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let folder = |name: &str| {
        let at = dir.path().join(name);
        std::fs::create_dir_all(&at).unwrap();
        at
    };
    let read = |at: &Path| text(load(&Source::new(at)));
    let most = 256 * MIB;
    let at = folder("idx");
    let (images, labels) = (idx(&[6, 2, 3], &[9; 36]), idx(&[6], &[0, 1, 0, 1, 0, 1]));
    for (name, bytes) in [("t10k-images-idx3-ubyte", &images), ("t10k-labels-idx1-ubyte", &labels)] {
        std::fs::write(at.join(name), bytes).unwrap();
    }
    read_changed(&at.join("t10k-images-idx3-ubyte"), &images, 500, most, || read(&at));
    read_changed(&at.join("t10k-labels-idx1-ubyte"), &labels, 300, most, || read(&at));
    std::fs::remove_file(at.join("t10k-images-idx3-ubyte")).unwrap();
    read_changed(&at.join("t10k-images-idx3-ubyte.gz"), &gz(&images), 500, most, || read(&at));

    let at = folder("npz").join("d.npz");
    let labels = [0i64, 1, 0, 1, 0, 1].map(i64::to_le_bytes).concat();
    let arrays = [("x_test.npy", npy("|u1", "(6, 2, 3)", &[9; 36])), ("y_test.npy", npy("<i8", "(6,)", &labels))];
    read_changed(&at, &npz(&arrays), 1000, most, || read(&at));

    let at = folder("cifar");
    let record: Vec<u8> = (0..2 * 3073).map(|k| if k % 3073 == 0 { (k / 3073) as u8 } else { 7 }).collect();
    let (batch, names) = (at.join("test_batch.bin"), at.join("batches.meta.txt"));
    std::fs::write(&names, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").unwrap();
    // Eight classes have no images.
    let two = || {
        let source = Source { classes: vec!["0".into(), "1".into()], ..Source::new(&at) };
        text(load(&source))
    };
    std::fs::remove_file(&names).unwrap();
    read_changed(&batch, &record, 200, most, two);

    let at = folder("pictures");
    for name in ["a/1.png", "a/2.png", "b/3.png", "b/4.png"] {
        std::fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
        std::fs::write(at.join(name), png(5, 4)).unwrap();
    }
    read_changed(&at.join("a/1.png"), &png(5, 4), 500, most, || read(&at));
    let list = "file,label\na/1.png,cat\na/2.png,ant\nb/3.png,cat\nb/4.png,\"an,t\"\n".replace("\"an,t\"", "ant");
    read_changed(&at.join("labels.csv"), list.as_bytes(), 500, most, || read(&at));
}

fn manifest() -> String {
    "{\"deltamax\":\"0.1.0\",\"command\":\"certify\",\"device\":\"cpu\",\"model\":\"m.onnx\",\"model_hash\":\"00\",\
     \"data\":\"d\",\"data_hash\":\"11\",\"classes\":[\"a\",\"b\"],\"split\":\"test\",\"method\":\"crown\",\
     \"variances\":[0.0,0.01],\"seed\":1,\"tolerance\":0.001,\"images\":2,\"shard\":[0,1],\"start\":0,\"end\":2}"
        .into()
}

#[test]
fn results() {
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let rows: String = ["0", "1"]
        .iter()
        .flat_map(|i| ["0", "0.01"].map(|v| format!("{i},\"f,{i}\",0,1,{v},0.25,inf,0,,crown,9,a,b,a,\n")))
        .collect();
    let (json, csv) = (dir.path().join("manifest.json"), dir.path().join("delta_max.csv"));
    std::fs::write(&csv, format!("{}\n{rows}", table::HEADER)).unwrap();
    let read = || {
        table::read_whole(dir.path()).map_err(|e| e.to_string()).and_then(|(manifest, rows)| {
            table::summarize(&rows);
            // To go on writing asks more of a folder.
            table::Table::resume(dir.path(), &manifest, |_| String::new()).map(drop).map_err(|e| e.to_string())
        })
    };
    read_changed(&json, manifest().as_bytes(), 1500, 64 * MIB, read);
    read_changed(&csv, format!("{}\n{rows}", table::HEADER).as_bytes(), 1500, 64 * MIB, read);

    let certificate = "{\"radius\":0.1,\"ball\":0.2,\"relu\":[{\"node\":1,\"lower\":[0.5],\"upper\":[1]}],\"inner\":[],\
                       \"branches\":{\"unstable\":[[1,0]],\"leaves\":[{\"rival\":0,\"assumed\":[{\"node\":1,\"neuron\":0,\
                       \"active\":true,\"beta\":0.5}],\"slopes\":[7]}]}}";
    let path = dir.path().join("0_0.json");
    let model = network();
    read_changed(&path, certificate.as_bytes(), 1500, 64 * MIB, || {
        let text = std::fs::read(&path).unwrap();
        let Ok(read) = serde_json::from_slice::<Certificate>(&text) else { return Ok(()) };
        let _ = deltamax::audit::check(&model, &[0.5; 16], 0, 0.01, deltamax::audit::Method::Crown, Some(&read));
        Ok(())
    });

    let mut study = Study { title: "t".into(), format: FORMAT, ..Default::default() };
    study.dataset.classes = vec!["a".into(), "b".into()];
    study.models.push(ModelResult {
        certify: vec![CertifyRow { index: 0, label: 1, proved: 0.1, ..Default::default() }],
        ..Default::default()
    });
    let path = dir.path().join("results.json");
    study.save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    read_changed(&path, &whole, 1500, 64 * MIB, || text(Study::load(&path)));
}

/// A file that unpacks to a thousand times its size.
#[test]
fn bombs() {
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("t10k-images-idx3-ubyte.gz"), gz(&idx(&[128, 1024, 1024], &vec![0; 128 * MIB]))).unwrap();
    std::fs::write(at("t10k-labels-idx1-ubyte"), idx(&[128], &[1; 128])).unwrap();
    let error = survives("a gzip bomb of pictures", 64 * MIB, || text(load(&Source::new(dir.path()))));
    assert!(error.is_some_and(|e| e.contains("t10k-images-idx3-ubyte.gz")));
    // Tiny images whose names take more room than they do.
    std::fs::write(at("t10k-images-idx3-ubyte.gz"), gz(&idx(&[32 << 20, 1, 1], &vec![0; 32 * MIB]))).unwrap();
    std::fs::write(at("t10k-labels-idx1-ubyte"), gz(&idx(&[32 << 20], &vec![1; 32 * MIB]))).unwrap();
    std::fs::rename(at("t10k-labels-idx1-ubyte"), at("t10k-labels-idx1-ubyte.gz")).unwrap();
    let error = survives("a gzip bomb of names", 256 * MIB, || text(load(&Source::new(dir.path()))));
    assert!(error.is_some());

    let zeros = npy("<f4", "(32, 1024, 1024)", &vec![0; 128 * MIB]);
    let labels = [0i64, 1].map(i64::to_le_bytes).concat().repeat(16);
    std::fs::write(at("d.npz"), npz(&[("x_test.npy", zeros), ("y_test.npy", npy("<i8", "(32,)", &labels))])).unwrap();
    let error = survives("a zip bomb", 64 * MIB, || text(load(&Source::new(at("d.npz")))));
    assert!(error.is_some_and(|e| e.contains("d.npz")));

    std::fs::write(at("p.vnnlib"), gz(&vec![b' '; 400 * MIB])).unwrap();
    survives("a gzip bomb of a property", 1024 * MIB, || text(vnnlib::read(at("p.vnnlib"))));

    // A graph of millions of empty tensors.
    let body = [0x2A, 0].repeat(8 * MIB);
    let mut graph = vec![0x3A, 0x80, 0x80, 0x80, 0x08];
    graph.extend(body);
    std::fs::write(at("m.onnx"), gz(&graph)).unwrap();
    let error = survives("a bomb of tensors", 128 * MIB, || text(onnx::read(at("m.onnx"))));
    assert!(error.is_some_and(|e| e.contains("m.onnx") && e.contains("more than")));

    // A picture that says it is huge.
    let mut huge = png(5, 4);
    huge[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    std::fs::create_dir_all(at("pictures/a")).unwrap();
    std::fs::create_dir_all(at("pictures/b")).unwrap();
    std::fs::write(at("pictures/a/1.png"), &huge).unwrap();
    std::fs::write(at("pictures/b/1.png"), png(5, 4)).unwrap();
    let error = survives("a huge picture", 64 * MIB, || text(load(&Source::new(at("pictures")))));
    assert!(error.is_some_and(|e| e.contains("1.png")));
}

/// What is nested without end is refused before the stack is.
#[test]
fn nesting() {
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(200_000), close.repeat(200_000));
    for body in [deep("(and ", ")"), deep("(or ", ")"), deep("(* 2 ", ")"), deep("(", ")"), "(".repeat(400_000)] {
        let property = format!("(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert {body})\n");
        let error = survives("a nested property", 256 * MIB, || vnnlib::parse(&property).map(drop));
        assert!(error.is_some());
    }
    let list = deep("[", "]");
    let path = dir.path().join("manifest.json");
    std::fs::write(&path, manifest().replace("[\"a\",\"b\"]", &list)).unwrap();
    assert!(survives("a nested manifest", 64 * MIB, || text(table::read_manifest(dir.path()))).is_some());
    std::fs::write(dir.path().join("results.json"), &list).unwrap();
    let study = || text(Study::load(&dir.path().join("results.json")));
    assert!(survives("nested results", 64 * MIB, study).is_some());
    let certificate = || serde_json::from_str::<Certificate>(&list).map(drop).map_err(|e| e.to_string());
    assert!(survives("a nested certificate", 64 * MIB, certificate).is_some());
    // Messages in messages, each in field 7 of a graph or 5 of a node.
    for tag in [0x3A, 0x0A, 0x2A, 0x6A] {
        let mut bytes = vec![];
        for _ in 0..20_000 {
            let mut length = bytes.len();
            let mut outer = vec![tag];
            while length >= 128 {
                outer.push(length as u8 | 128);
                length >>= 7;
            }
            outer.push(length as u8);
            bytes.splice(0..0, outer);
        }
        let error =
            survives("nested messages", 256 * MIB, || onnx::decode(&bytes, None).map(drop).map_err(|e| e.to_string()));
        assert!(error.is_some());
    }
}

/// Small texts that stand for something enormous.
#[test]
fn enormous_numbers_and_combinations() {
    let _one = alone();
    let declared = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (>= X_0 0))\n(assert (<= X_0 1))\n";
    // Alternatives of alternatives: each of a thousand is small enough, all together are not.
    let choice = "(or (<= Y_0 1) (<= Y_0 2))".repeat(16);
    let all = format!("(and {choice})").repeat(200);
    let error =
        survives("alternatives", 2048 * MIB, || vnnlib::parse(&format!("{declared}(assert (or {all}))")).map(drop));
    assert!(error.is_some_and(|e| e.contains("too many")));
    let long = format!("(<= (+ {}) 0)", "(* 0.1 Y_0) ".repeat(4000));
    let pairs = format!("(or {long} {long})").repeat(12);
    survives("long alternatives", 1024 * MIB, || vnnlib::parse(&format!("{declared}(assert (and {pairs}))")).map(drop));
    for number in
        ["1e999999999", "1e-999999999", "-1e400000", &"9".repeat(100_000), &format!("0.{}", "3".repeat(100_000))]
    {
        let text = format!("{declared}(assert (<= (* {number} (* {number} Y_0)) {number}))");
        survives("a long number", 256 * MIB, || vnnlib::parse(&text).map(drop));
    }
    for dims in ["4294967296,4294967296", "1,18446744073709551615", "16777216,16", "0", "1,1,1,1,1,1,1,99999999"] {
        let text = format!(
            "(vnnlib-version <2.0>)\n(declare-network N (declare-input X Real [{dims}]) (declare-output Y Real [1]))"
        );
        survives("a declared shape", 256 * MIB, || vnnlib::parse(&text).map(drop));
    }
}

/// Links that lead back, and things that are not files.
#[cfg(unix)]
#[test]
fn links_and_devices() {
    use std::os::unix::fs::symlink;
    let (_one, dir) = (alone(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    for name in ["loop/a", "loop/b", "zero", "list", "cifar", "run"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    for class in ["a", "b"] {
        std::fs::write(at("loop").join(class).join("1.png"), png(5, 4)).unwrap();
    }
    symlink("..", at("loop/a/back")).unwrap();
    let error = survives("a loop of links", 64 * MIB, || text(load(&Source::new(at("loop")))));
    assert!(error.is_some_and(|e| e.contains("back")));
    // A file without end.
    symlink("/dev/zero", at("zero/t10k-images-idx3-ubyte")).unwrap();
    symlink("/dev/zero", at("zero/t10k-labels-idx1-ubyte")).unwrap();
    symlink("/dev/zero", at("list/labels.csv")).unwrap();
    symlink("/dev/zero", at("cifar/test_batch.bin")).unwrap();
    for name in ["zero", "list", "cifar"] {
        let error = survives(name, 64 * MIB, || text(load(&Source::new(at(name)))));
        assert!(error.is_some_and(|e| e.contains(name)), "{name}");
    }
    for name in ["manifest.json", "delta_max.csv", "results.json"] {
        symlink("/dev/zero", at("run").join(name)).unwrap();
    }
    assert!(survives("a manifest", 64 * MIB, || text(table::read_manifest(&at("run")))).is_some());
    assert!(survives("results", 64 * MIB, || text(Study::load(&at("run/results.json")))).is_some());
    std::fs::remove_file(at("run/manifest.json")).unwrap();
    std::fs::write(at("run/manifest.json"), manifest()).unwrap();
    assert!(survives("a table", 64 * MIB, || text(table::read_whole(&at("run")))).is_some());
}
