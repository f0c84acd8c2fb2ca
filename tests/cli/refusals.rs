//! What must be refused: one line that names the file and the remedy, and nothing half written.

use std::fs;
use std::io::Write;
use std::path::Path;

use deltamax::model::{Layer, onnx};

use super::{World, binary, done, fails, files, folder, misused, refused};

const CERTIFY: &str = "certify --data SHOES --method ibp --limit 4 --device cpu --out out --quiet";
const TRAIN: &str = "train --epochs 1 --channels 4 --hidden 8 --device cpu --out out.onnx --quiet";

fn put(path: impl AsRef<Path>, content: &[u8]) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, content).expect("written");
}

/// A picture of the shoes.
fn picture() -> Vec<u8> {
    files(Path::new(&World::path("shoes"))).into_values().find(|bytes| !bytes.is_empty()).expect("a picture")
}

#[test]
fn models() {
    let dir = folder();
    let at = dir.path();
    let whole = fs::read(World::path("model.onnx")).expect("a model");
    put(at.join("cut.onnx"), &whole[..whole.len() / 2]);
    put(at.join("empty.onnx"), b"");
    put(at.join("picture.onnx"), &picture());
    put(at.join("notes.onnx"), b"hello, this is no model");
    let model = onnx::read(World::path("model.onnx")).expect("a model");
    let weight = model.nodes.iter().find_map(|n| if let Layer::Conv(c) = &n.layer { Some(c.weight[0]) } else { None });
    let weight = weight.expect("a convolution").to_le_bytes();
    let place = whole.windows(4).position(|w| w == weight).expect("the weight is in the file");
    let mut nan = whole.clone();
    nan[place..place + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    put(at.join("nan.onnx"), &nan);
    refused(at, &format!("{CERTIFY} --model nowhere.onnx"), &["nowhere.onnx", "check the path"]);
    for file in ["cut.onnx", "empty.onnx", "picture.onnx", "notes.onnx"] {
        refused(at, &format!("{CERTIFY} --model {file}"), &[file]);
    }
    refused(at, &format!("{CERTIFY} --model nan.onnx"), &["nan.onnx", "NaN"]);
    refused(at, "sweep --data SHOES --model cut.onnx --device cpu --out out", &["cut.onnx"]);
    refused(at, "explain --image x.png --model cut.onnx --device cpu --out out", &["cut.onnx"]);
}

#[test]
fn models_and_data_that_do_not_fit() {
    let dir = folder();
    let at = dir.path();
    let certify = format!("{CERTIFY} --model MODEL");
    refused(at, &format!("{certify} --size 20"), &["3x20x20", "3x16x16", "--size"]);
    refused(at, &format!("{certify} --classes Boots,boots"), &["Boots twice"]);
    refused(at, &format!("{certify} --classes Boots,Hats"), &["Hats", "Sandals, Shoes"]);
    for class in ["Boots", "Hats", "Shoes", "Slippers"] {
        put(at.join("hats").join(class).join("1.png"), &picture());
        put(at.join("hats").join(class).join("2.png"), &picture());
    }
    let line = "certify --model MODEL --data hats --device cpu --out out";
    refused(at, line, &["hats", "Sandals", "--classes Boots,Hats,Shoes,Slippers"]);
}

#[test]
fn folders_of_pictures() {
    let dir = folder();
    let at = dir.path();
    let good = picture();
    let train = |data: &str| format!("{TRAIN} --data {data}");
    refused(at, &train("nowhere"), &["nowhere", "--data"]);
    fs::create_dir(at.join("empty")).expect("made");
    refused(at, &train("empty"), &["empty", "folder of images for each class"]);
    put(at.join("notes.txt"), b"hello");
    refused(at, &train("notes.txt"), &["notes.txt", "not a data set"]);
    put(at.join("flat/1.png"), &good);
    refused(at, &train("flat"), &["flat", "folder of its own"]);
    put(at.join("single/Shoes/1.png"), &good);
    refused(at, &train("single"), &["only the class Shoes"]);
    for name in ["Boots/1.png", "Boots/2.png", "Shoes/1.png", "Shoes/2.png"] {
        put(at.join("tree").join(name), &good);
    }
    fs::create_dir(at.join("tree/Clogs")).expect("made");
    refused(at, &train("tree"), &["Clogs", "remove it"]);
    put(at.join("tree/Clogs/1.png"), &good);
    refused(at, &train("tree"), &["Clogs", "needs two"]);
    fs::remove_dir_all(at.join("tree/Clogs")).expect("removed");
    put(at.join("tree/Shoes/2.png"), &good[..good.len() / 2]);
    refused(at, &train("tree"), &["Shoes/2.png", "replace or remove"]);
    put(at.join("tree/Shoes/2.png"), b"hello");
    refused(at, &train("tree"), &["Shoes/2.png", "replace or remove"]);
    put(at.join("tree/Shoes/2.png"), &good);
    image::RgbImage::new(9, 9).save(at.join("tree/Boots/3.png")).expect("written");
    refused(at, &train("tree"), &["Boots/3.png", "--size"]);
    put(at.join("tree/labels.csv"), b"Boots/1.png,0\nBoots/7.png,1\n");
    refused(at, &train("tree"), &["labels.csv", "Boots/7.png"]);
}

#[test]
fn other_data_files() {
    let dir = folder();
    let at = dir.path();
    let train = |data: &str| format!("{TRAIN} --data {data}");
    let header = |magic: u32, dims: &[u32]| {
        std::iter::once(&magic).chain(dims).flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>()
    };
    let images = [header(0x0803, &[3, 2, 2]), vec![9; 12]].concat();
    put(at.join("idx/train-images-idx3-ubyte"), &images[..images.len() - 1]);
    put(at.join("idx/train-labels-idx1-ubyte"), &[header(0x0801, &[3]), vec![0, 1, 0]].concat());
    refused(at, &train("idx"), &["train-images-idx3-ubyte"]);
    put(at.join("idx/train-images-idx3-ubyte"), &images);
    put(at.join("idx/train-labels-idx1-ubyte"), &[header(0x0801, &[2]), vec![0, 1]].concat());
    refused(at, &train("idx"), &["idx", "2", "3"]);
    fs::remove_file(at.join("idx/train-labels-idx1-ubyte")).expect("removed");
    refused(at, &train("idx"), &["idx", "labels"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&images).expect("packed");
    let packed = packed.finish().expect("packed");
    fs::remove_dir_all(at.join("idx")).expect("removed");
    put(at.join("idx/train-images-idx3-ubyte.gz"), &packed[..packed.len() - 9]);
    put(at.join("idx/train-labels-idx1-ubyte"), &[header(0x0801, &[3]), vec![0, 1, 0]].concat());
    refused(at, &train("idx"), &["train-images-idx3-ubyte.gz"]);
    put(at.join("cifar/data_batch_1.bin"), &[0; 3072]);
    refused(at, &train("cifar"), &["data_batch_1.bin", "3073"]);
    put(at.join("notes.npz"), b"hello");
    refused(at, &train("notes.npz"), &["notes.npz", ".npz"]);
    if cfg!(unix) {
        refused(at, &train("/dev/null"), &["/dev/null", "not a data set"]);
    }
    put(at.join("only/t10k-images-idx3-ubyte"), &[header(0x0803, &[2, 4, 4]), vec![9; 32]].concat());
    put(at.join("only/t10k-labels-idx1-ubyte"), &[header(0x0801, &[2]), vec![0, 1]].concat());
    refused(at, &train("only"), &["only", "those for training"]);
}

#[test]
fn places_that_cannot_be_written() {
    let dir = folder();
    let at = dir.path();
    put(at.join("file"), b"in the way");
    refused(at, "shoes --count 4 --size 8 --out file/shoes", &["file"]);
    refused(at, "train --data SHOES --epochs 1 --device cpu --quiet --out file/m.onnx", &["file/m.onnx"]);
    refused(at, "certify --model MODEL --data SHOES --device cpu --out file/x", &["file/x"]);
    refused(at, "certify --model MODEL --data SHOES --device cpu --out file", &["file", "name another"]);
    refused(at, "sweep --model MODEL --data SHOES --device cpu --out file", &["file", "name another"]);
    refused(at, "study --device cpu --quiet --out file", &["file", "name another"]);
    fs::create_dir(at.join("taken")).expect("made");
    put(at.join("taken/mine.txt"), b"keep");
    refused(at, "shoes --count 4 --size 8 --out taken", &["taken", "new folder"]);
    refused(at, "train --data SHOES --epochs 1 --device cpu --quiet --out taken", &["taken", "name a file"]);
    // What is read is not written over.
    fs::copy(World::path("model.onnx"), at.join("model.onnx")).expect("copied");
    let predict = "predict --model model.onnx --data SHOES --device cpu --quiet --out";
    refused(at, &format!("{predict} ./model.onnx"), &["model.onnx", "another --out"]);
    for name in ["Boots/1.png", "Boots/2.png", "Shoes/1.png", "Shoes/2.png"] {
        put(at.join("tree").join(name), &picture());
    }
    refused(at, "train --data tree --device cpu --quiet --out tree/Boots/2.png", &["2.png", "another --out"]);
}

#[test]
fn results_that_cannot_be_continued() {
    let dir = folder();
    let at = dir.path();
    let certify = format!("{CERTIFY} --model MODEL");
    done(at, &certify);
    refused(at, &certify, &["out/delta_max.csv", "--resume", "another --out"]);
    refused(at, &format!("{certify} --resume --seed 1"), &["out/manifest.json", "another --out"]);
    refused(at, &format!("{certify} --resume --shard 0/2"), &["out/manifest.json", "another --out"]);
    let table = at.join("out/delta_max.csv");
    let text = fs::read_to_string(&table).expect("a table");
    put(&table, text.replacen("\n0,", "\nzero,", 1).as_bytes());
    refused(at, &format!("{certify} --resume"), &["delta_max.csv", "row 1"]);
    put(&table, b"hello\n");
    refused(
        at,
        &format!("{certify} --resume"),
        &["delta_max.csv", "columns are not those of certify", "another --out"],
    );
    put(&table, text.as_bytes());
    put(at.join("out/manifest.json"), b"{}");
    refused(at, &format!("{certify} --resume"), &["manifest.json", "not a manifest"]);
    fs::remove_file(at.join("out/manifest.json")).expect("removed");
    refused(at, &format!("{certify} --resume"), &["manifest.json", "it is missing", "another --out"]);
    refused(at, "report out", &["out/manifest.json", "it is missing"]);
    refused(at, "compare nowhere --out c", &["nowhere"]);
    fs::create_dir(at.join("study")).expect("a folder");
    refused(at, "report study", &["study/results.json", "check the path"]);
    put(at.join("study/results.json"), b"{\"models\":");
    refused(at, "report study", &["study/results.json", "deltamax study"]);
}

#[test]
fn radii_that_are_not_proved() {
    let dir = folder();
    let at = dir.path();
    done(at, &format!("{CERTIFY} --model MODEL"));
    let table = at.join("out/delta_max.csv");
    let text = fs::read_to_string(&table).expect("a table");
    let row = text.lines().nth(1).expect("a row");
    let mut cells: Vec<&str> = row.split(',').collect();
    (cells[5], cells[6]) = ("0.5", "0.6");
    put(&table, text.replacen(row, &cells.join(","), 1).as_bytes());
    let output = binary(at, "audit out --quiet").output().expect("the binary starts");
    let (out, err) = super::text(&output);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""), "{err}");
    assert!(err.contains("image 0 at variance 0") && err.contains("1 of 4 checked rows are not proved"), "{err}");
    put(&table, text.as_bytes());
    refused(at, "audit nowhere", &["nowhere/manifest.json", "check the path"]);
    refused(at, &format!("audit out --model {}", table.display()), &["delta_max.csv", "--model"]);
    refused(at, "audit out --data out", &["out"]);
    misused(at, "audit out --sample 0", &["--sample"]);
}

#[test]
fn properties_to_verify() {
    let dir = folder();
    let at = dir.path();
    refused(at, "verify MODEL nowhere.vnnlib", &["nowhere.vnnlib", "check the path"]);
    put(at.join("notes.vnnlib"), b"hello");
    refused(at, "verify MODEL notes.vnnlib", &["notes.vnnlib"]);
    put(at.join("cut.vnnlib"), b"(declare-const X_0 Real)\n(assert (<= X_0 ");
    refused(at, "verify MODEL cut.vnnlib", &["cut.vnnlib"]);
    put(at.join("small.vnnlib"), b"(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (<= X_0 1))\n(assert (>= X_0 0))\n(assert (<= Y_0 0))\n");
    refused(at, "verify MODEL small.vnnlib", &["small.vnnlib"]);
    refused(at, "verify --batch nowhere.csv --out o.csv", &["nowhere.csv", "check the path"]);
    put(at.join("short.csv"), b"MODEL,small.vnnlib\n");
    refused(at, "verify --batch short.csv --out o.csv", &["short.csv: line 1", "three fields"]);
    put(at.join("list.csv"), b"nowhere.onnx,small.vnnlib,5\n");
    put(at.join("old.csv"), b"onnx,vnnlib,result,seconds\n");
    refused(at, "verify --batch list.csv --out old.csv", &["old.csv", "--resume"]);
    put(at.join("other.csv"), b"image,label\n");
    refused(at, "verify --batch list.csv --out other.csv --resume", &["other.csv", "choose another --out"]);
    misused(at, "verify MODEL small.vnnlib --timeout soon", &["--timeout"]);
}

#[test]
fn pictures_to_explain() {
    let dir = folder();
    let at = dir.path();
    let explain = "explain --model MODEL --device cpu --out out --image";
    refused(at, &format!("{explain} nowhere.png"), &["nowhere.png", "check the path"]);
    put(at.join("notes.png"), b"hello");
    refused(at, &format!("{explain} notes.png"), &["notes.png", "not a readable picture"]);
    let good = picture();
    put(at.join("cut.png"), &good[..good.len() / 2]);
    refused(at, &format!("{explain} cut.png"), &["cut.png", "not a readable picture"]);
    fs::create_dir(at.join("pictures")).expect("made");
    refused(at, &format!("{explain} pictures"), &["pictures", "name a file"]);
    put(at.join("good.png"), &good);
    put(at.join("file"), b"in the way");
    refused(at, "explain --model MODEL --device cpu --image good.png --out file", &["file", "name another place"]);
}

#[test]
fn devices_that_are_not_there() {
    let dir = folder();
    let line = "certify --model MODEL --data SHOES --method ibp --limit 4 --out out --quiet";
    for device in ["gpu", "0"] {
        let line = format!("{line} --device {device}");
        let mut command = binary(dir.path(), &line);
        command.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
        // Other systems have adapters that these variables do not hide.
        if cfg!(target_os = "linux") {
            fails(dir.path(), command, 1, &line, &["no GPU adapter", "--device cpu"]);
        }
    }
    refused(dir.path(), &format!("{line} --device 99"), &["adapter"]);
    misused(dir.path(), &format!("{line} --device tpu"), &["--device", "auto, gpu, cpu"]);
}

#[test]
fn wrong_usage() {
    let dir = folder();
    let at = dir.path();
    let certify = format!("{CERTIFY} --model MODEL");
    for shard in ["2/2", "x/2", "1", "0/0"] {
        misused(at, &format!("{certify} --shard {shard}"), &["--shard", "i/N"]);
    }
    for variance in ["-1", "2", "0,0", "nan"] {
        misused(at, &format!("{certify} --variance {variance}"), &["--variance"]);
        misused(at, &format!("sweep --model MODEL --data SHOES --out o --variance {variance}"), &["--variance"]);
    }
    misused(at, &format!("{certify} --variance zero"), &["--variance"]);
    for wrong in ["--certified 0", "--certified -1/255", "--certified 2", "--certified 2/0", "--certified small"] {
        misused(at, &format!("{TRAIN} --data SHOES {wrong}"), &["--certified", "2/255"]);
    }
    misused(at, &format!("{TRAIN} --data SHOES --mix 0.5"), &["--certified"]);
    misused(at, &format!("{TRAIN} --data SHOES --certified 2/255 --mix 1.5"), &["--mix", "at most 1"]);
    misused(at, &format!("{TRAIN} --data SHOES --noise -0.1"), &["--noise", "variance"]);
    misused(at, &format!("{TRAIN} --data SHOES --arch vgg"), &["--arch", "cnn7"]);
    misused(at, &format!("{TRAIN} --data SHOES --arch cnn3"), &["--arch", "--hidden"]);
    misused(at, &format!("{TRAIN} --data SHOES --patience 3"), &["--validation"]);
    misused(at, &format!("{TRAIN} --data SHOES --validation 1"), &["--validation", "below 1"]);
    misused(at, &format!("{TRAIN} --data SHOES --resume"), &["--checkpoint"]);
    misused(at, &format!("{TRAIN} --data SHOES --weight-decay -1"), &["--weight-decay", "at least 0"]);
    misused(at, "study --certified 0 --quick", &["--certified", "2/255"]);
    misused(at, "study --mix 0.1 --quick", &["--certified"]);
    misused(at, "study --certified 0.1 --mix 2 --quick", &["--mix", "at most 1"]);
    misused(at, "study --noise-aug=3 --quick", &["--noise-aug", "variance"]);
    misused(at, "certify --model MODEL --data SHOES --out o --method best", &["--method", "crown"]);
    misused(at, &format!("{certify} --tolerance 2"), &["--tolerance"]);
    misused(at, &format!("{certify} --batch 0"), &["--batch"]);
    misused(at, "certify --model MODEL --data SHOES --out o --limit 0", &["--limit"]);
    misused(at, "sweep --model MODEL --data SHOES --out o --draws 0 --device cpu", &["--draws"]);
    misused(at, "explain --model MODEL --image x.png --delta 2", &["--delta"]);
    misused(at, "study --variance 0.1", &["--variance", "0"]);
    misused(at, "shoes --count 0 --out o", &["--count"]);
    misused(at, "nonsense", &["nonsense"]);
    let train = "train --data SHOES --device cpu --quiet --out m.onnx";
    for (flag, hint) in [
        ("--epochs 0", "--epochs"),
        ("--epochs many", "--epochs"),
        ("--batch 0", "--batch"),
        ("--hidden 0", "--hidden"),
        ("--channels 0", "--channels"),
        ("--hidden 999999999999", "--hidden"),
        ("--channels 100000000,32", "--channels"),
        ("--rate nan", "--rate"),
        ("--rate inf", "--rate"),
        ("--rate 0", "--rate"),
        ("--channels 4,4,4,4,4,4", "too small"),
        ("--augment Hats", "Hats"),
        ("--size 0", "--size"),
    ] {
        misused(at, &format!("{train} {flag}"), &[hint]);
    }
    for rate in ["1e9", "1e30"] {
        let line = format!("{train} --epochs 1 --rate {rate} --channels 4 --hidden 8");
        refused(at, &line, &["diverged", "smaller --rate"]);
    }
    for flag in [
        "--delta nan",
        "--delta 7",
        "--delta -1",
        "--limit 0",
        "--classes Boots,Shoes",
        "--size 5000",
        "--size 4",
        "--count 0",
        "--count 24",
        "--count 99999999999",
        "--epochs 0",
        "--count 100 --data SHOES",
    ] {
        misused(at, &format!("study --quick --device cpu --out s {flag}"), &[&flag[..6]]);
    }
    misused(at, "bench --images 0", &["--images"]);
    misused(at, "bench --images 2000", &["--images"]);
    put(at.join("base.json"), b"{}");
    refused(at, "bench --device cpu --against base.json", &["base.json", "bench --json > FILE"]);
    refused(at, "bench --device cpu --against nowhere.json", &["nowhere.json", "check the path"]);
}
