//! What `--out` may name, and what it never destroys.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{World, binary, done, files, folder, misused, plain, refused, text};

const PREDICT: &str = "predict --model MODEL --data SHOES --limit 5 --device cpu";
const TRAIN: &str = "train --data SHOES --epochs 1 --channels 4 --hidden 8 --device cpu";
const SWEEP: &str = "sweep --model MODEL --data SHOES --variance 0 --limit 5 --device cpu --quiet";
const CERTIFY: &str = "certify --model MODEL --data SHOES --method ibp --limit 5 --device cpu --quiet";

fn put(path: impl AsRef<Path>, content: &str) {
    fs::write(path, content).expect("written");
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("a file")
}

/// A list for `verify --batch` whose one property every image has.
fn list(at: &Path) {
    let declared: String = (0..16 * 16 * 3).map(|i| format!("(declare-const X_{i} Real)\n")).collect();
    let boxed: String = (0..16 * 16 * 3).map(|i| format!("(assert (<= X_{i} 1))\n(assert (>= X_{i} 0))\n")).collect();
    let outputs: String = (0..4).map(|i| format!("(declare-const Y_{i} Real)\n")).collect();
    put(at.join("p.vnnlib"), &format!("{declared}{outputs}{boxed}(assert (>= Y_0 1e9))\n"));
    put(at.join("list.csv"), &format!("{},p.vnnlib,60\n", World::path("model.onnx")));
}

#[test]
fn a_dash_is_standard_output() {
    let dir = folder();
    let at = dir.path();
    done(at, &format!("{PREDICT} --out scores.csv"));
    done(at, &format!("{TRAIN} --out m.onnx"));
    for (line, file) in [(PREDICT, "scores.csv"), (TRAIN, "m.onnx")] {
        let output = binary(at, &format!("{line} --out -")).output().expect("the binary starts");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && err.contains("accuracy"), "{err}");
        assert!(output.stdout == fs::read(at.join(file)).expect("a file"), "{line}");
        misused(at, &format!("{line} --out - --json"), &["--json", "--out"]);
        assert!(!at.join("-").exists());
    }
    list(at);
    let out = done(at, "verify --batch list.csv --out - --device cpu");
    assert!(out.starts_with("onnx,vnnlib,result,seconds\n") && out.contains(",unsat,"), "{out}");
    misused(at, "verify --batch list.csv --out - --resume --device cpu", &["--resume"]);
    misused(at, "verify --batch list.csv --out - --json --device cpu", &["--json"]);
    for line in [
        SWEEP,
        CERTIFY,
        "merge scores.csv",
        "compare scores.csv",
        "explain --model MODEL --image x.png",
        "study --quick",
        "shoes",
    ] {
        misused(at, &format!("{line} --out -"), &["--out -", "folder"]);
    }
}

#[test]
fn a_file_of_another_kind_is_not_replaced() {
    let dir = folder();
    let at = dir.path();
    put(at.join("mine.txt"), "keep");
    put(at.join("empty"), "");
    for line in [PREDICT, TRAIN] {
        refused(at, &format!("{line} --out mine.txt"), &["mine.txt", "not written by this command", "--force"]);
    }
    done(at, &format!("{PREDICT} --out empty"));
    // Its own it may replace, the other command's not.
    done(at, &format!("{PREDICT} --out empty"));
    refused(at, &format!("{TRAIN} --out empty"), &["empty", "--force"]);
    done(at, &format!("{TRAIN} --out m.onnx"));
    done(at, &format!("{TRAIN} --out m.onnx"));
    refused(at, &format!("{PREDICT} --out m.onnx"), &["m.onnx", "--force"]);
    done(at, &format!("{PREDICT} --out mine.txt --force"));
    assert!(read(at.join("mine.txt")).starts_with("index,"));
    let mut mode = fs::metadata(at.join("empty")).expect("a file").permissions();
    mode.set_readonly(true);
    fs::set_permissions(at.join("empty"), mode).expect("set");
    refused(at, &format!("{PREDICT} --out empty"), &["empty", "read-only"]);
    // Nor is what stands where a file is written first.
    put(at.join("scores.csv.tmp"), "keep");
    done(at, &format!("{PREDICT} --out scores.csv"));
    assert_eq!(read(at.join("scores.csv.tmp")), "keep");

    list(at);
    put(at.join("mine.csv"), "keep");
    refused(at, "verify --batch list.csv --out mine.csv --device cpu", &["mine.csv", "--force"]);
    refused(at, "verify --batch list.csv --out mine.csv --device cpu --resume", &["mine.csv", "not a results file"]);
    done(at, "verify --batch list.csv --out mine.csv --device cpu --force");
    assert_eq!(read(at.join("mine.csv")).lines().count(), 2);
}

#[test]
fn folders_keep_what_others_put_there() {
    let dir = folder();
    let at = dir.path();
    let out = at.join("out");
    fs::create_dir(&out).expect("made");
    put(out.join("notes.txt"), "keep");
    put(out.join("sweep.json"), "keep");
    refused(at, &format!("{SWEEP} --out out"), &["out/sweep.json", "not made by this command", "--force"]);
    fs::remove_file(out.join("sweep.json")).expect("removed");
    done(at, &format!("{SWEEP} --out out"));
    let first = files(&out);
    done(at, &format!("{SWEEP} --out out"));
    assert!(first == files(&out));
    assert_eq!(read(out.join("notes.txt")), "keep");
    // Two commands may share a folder, also one that has figures.
    done(at, &format!("{CERTIFY} --out proofs"));
    done(at, "compare proofs proofs --out out --quiet");
    done(at, &format!("{SWEEP} --out out"));
    done(at, "compare proofs proofs --out out --quiet");
    assert!(out.join("compare.html").is_file() && out.join("confusion.csv").is_file());
    assert!(files(&out).keys().all(|p| !p.to_string_lossy().contains("deltamax-")));

    fs::create_dir(at.join("pictures")).expect("made");
    fs::create_dir(at.join("pictures/figures")).expect("made");
    put(at.join("pictures/figures/mine.svg"), "keep");
    refused(at, "compare proofs proofs --out pictures", &["pictures/figures", "--force"]);
    done(at, "compare proofs proofs --out pictures --force --quiet");
    assert_eq!(read(at.join("pictures/figures/mine.svg")), "keep");

    fs::create_dir(at.join("app")).expect("made");
    put(at.join("app/manifest.json"), "{\"name\": \"keep\"}");
    refused(at, &format!("{CERTIFY} --out app"), &["app/manifest.json", "not made by certify", "another --out"]);
    refused(at, &format!("{CERTIFY} --out app --resume"), &["app/manifest.json", "another --out"]);
    for i in 0..2 {
        done(at, &format!("{CERTIFY} --shard {i}/2 --out part{i}"));
    }
    refused(at, "merge part0 part1 --out app", &["app/manifest.json"]);
    fs::create_dir(at.join("shoes.tmp")).expect("made");
    put(at.join("shoes.tmp/mine"), "keep");
    done(at, "shoes --count 4 --size 8 --out shoes --quiet");
    assert_eq!(read(at.join("shoes.tmp/mine")), "keep");
    refused(at, "shoes --count 4 --size 8 --out shoes", &["shoes", "not empty"]);
}

#[test]
fn one_run_at_a_time_writes_into_a_folder() {
    let dir = folder();
    let at = dir.path();
    let image = files(Path::new(&World::path("shoes"))).into_keys().find(|p| p.is_file()).expect("a picture");
    fs::copy(image, at.join("shoe.png")).expect("copied");
    done(at, &format!("{CERTIFY} --out proofs"));
    for i in 0..2 {
        done(at, &format!("{CERTIFY} --shard {i}/2 --out part{i}"));
    }
    let build = at.join("out/.deltamax-build");
    fs::create_dir_all(&build).expect("made");
    let lock = File::create(build.join("lock")).expect("made");
    lock.lock().expect("a lock");
    for line in [
        SWEEP,
        "explain --model MODEL --image shoe.png --device cpu",
        "compare proofs proofs",
        "study --quick --device cpu",
        "merge part0 part1",
        "shoes --count 4 --size 8",
    ] {
        refused(at, &format!("{line} --out out"), &["out", "another run is writing here"]);
    }
    refused(at, "report out", &["out", "another run is writing here"]);
    drop(lock);
    // What a killed run left is no hindrance.
    fs::create_dir(build.join("files")).expect("made");
    put(build.join("files/half.json"), "{");
    done(at, &format!("{SWEEP} --out out"));
    assert!(!build.exists() && !at.join("out/half.json").exists());

    list(at);
    done(at, "verify --batch list.csv --device cpu --quiet");
    let results = File::open(at.join("results.csv")).expect("results");
    results.lock().expect("a lock");
    refused(at, "verify --batch list.csv --device cpu --resume", &["results.csv", "another run is writing here"]);
    refused(at, "verify --batch list.csv --device cpu --force", &["results.csv", "another run is writing here"]);
}

/// A run that is killed while it puts its results in place is finished by the next one.
#[test]
fn an_order_is_finished() {
    let dir = folder();
    let at = dir.path();
    done(at, &format!("{SWEEP} --out out"));
    let (table, json) = (read(at.join("out/confusion.csv")), read(at.join("out/sweep.json")));
    let build = at.join("out/.deltamax-build");
    fs::create_dir_all(build.join("files")).expect("made");
    fs::rename(at.join("out/sweep.json"), build.join("files/sweep.json")).expect("moved");
    put(at.join("out/sweep.json"), "old");
    let order = |files: &str| format!(r#"{{"command":"sweep","force":false,"listing":"Whole","files":[{files}]}}"#);
    put(build.join("order.json"), &order(r#""confusion.csv","sweep.json""#));
    // It fails itself, but not before that.
    let mut command = binary(at, &format!("{SWEEP} --out out").replace("MODEL", "nowhere.onnx"));
    assert_eq!(command.output().expect("the binary starts").status.code(), Some(1));
    assert_eq!((read(at.join("out/confusion.csv")), read(at.join("out/sweep.json"))), (table, json));
    assert!(!build.exists());
    // One that somebody made up leads nowhere.
    put(at.join("outside"), "keep");
    fs::create_dir_all(build.join("files")).expect("made");
    put(build.join("order.json"), &order(r#""../outside","/etc/outside","""#));
    put(at.join("out/.deltamax"), r#"{"sweep":["../outside","confusion.csv","sweep.json"]}"#);
    done(at, &format!("{SWEEP} --out out"));
    assert_eq!(read(at.join("outside")), "keep");
}

#[test]
fn a_study_that_fails_leaves_the_old_one() {
    let dir = folder();
    let at = dir.path();
    let study = "study --count 120 --size 16 --epochs 1 --variance 0 --method ibp --limit 2 --photos 0 --device cpu --out s --quiet";
    done(at, study);
    put(at.join("s/notes.txt"), "keep");
    put(at.join("s/figures/mine.svg"), "keep");
    let before = files(&at.join("s"));
    // Models are larger than what the disk takes.
    let output = with_small_files(at, &format!("{study} --seed 1"), 8);
    let (_, err) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.lines().count() == 1 && err.contains("writing failed"), "{err}");
    assert!(before == files(&at.join("s")), "the old study was touched");
    // The same into a folder that is not there leaves nothing.
    let output = with_small_files(at, &study.replace("--out s", "--out new/s"), 8);
    assert!(output.status.code() == Some(1) && !at.join("new").exists());
    // The next one takes its place, and takes away what it does not have itself.
    let list = read(at.join("s/.deltamax"));
    put(at.join("s/.deltamax"), &list.replacen("\"figures/", "\"figures/gone.svg\",\n\"figures/", 1));
    put(at.join("s/figures/gone.svg"), "of the old study");
    done(at, &format!("{study} --seed 1"));
    let after = files(&at.join("s"));
    assert!(before[&at.join("s/results.json")] != after[&at.join("s/results.json")]);
    assert!(before[&at.join("s/no-DA.onnx")] != after[&at.join("s/no-DA.onnx")]);
    assert_eq!((read(at.join("s/notes.txt")), read(at.join("s/figures/mine.svg"))), ("keep".into(), "keep".into()));
    assert!(!at.join("s/figures/gone.svg").exists() && !at.join("s/.deltamax-build").exists());
    // Writing the page again keeps the models.
    done(at, "report s --quiet");
    done(at, "report s --quiet");
    assert!(at.join("s/no-DA.onnx").is_file());
}

/// Runs the binary where no file may grow beyond so many blocks of 512 bytes: the next write fails, as on a full disk.
fn with_small_files(at: &Path, line: &str, blocks: usize) -> std::process::Output {
    let command = plain(at, line);
    let words: Vec<String> = command.get_args().map(|w| format!("'{}'", w.to_string_lossy())).collect();
    let program = command.get_program().to_string_lossy().into_owned();
    let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{program}' {}", words.join(" "));
    Command::new("sh").current_dir(at).args(["-c", &line]).output().expect("a shell")
}

#[test]
#[cfg(unix)]
fn a_full_disk_leaves_no_half_file() {
    let dir = folder();
    let at = dir.path();
    let long = "--variance 0,0.001,0.002,0.003,0.004,0.005";
    let certify = format!("{CERTIFY} {long}").replace("--limit 5", "--limit 20");
    let all = |line: &str| line.replace("--limit 5", "--limit 20").replace("--quiet", "");
    for (line, blocks) in [(all(PREDICT), 1), (TRAIN.to_string(), 1), (all(SWEEP), 0)] {
        let output = with_small_files(at, &format!("{line} --out out --quiet"), blocks);
        let (_, err) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{line}\n{err}");
        assert!(err.lines().count() == 1 && err.contains("writing failed"), "{line}\n{err}");
        assert!(files(at).is_empty(), "{line} left {:?}", files(at).keys());
    }
    // Rows are kept that were whole, and the run goes on from there.
    let output = with_small_files(at, &format!("{certify} --out out"), 8);
    let (_, err) = text(&output);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.lines().count() == 1 && err.contains("of 120 rows are kept") && err.contains("--resume"), "{err}");
    let kept = read(at.join("out/delta_max.csv"));
    assert!(kept.ends_with('\n') && kept.lines().count() > 2 && !at.join("out/summary.json").exists());
    done(at, &format!("{certify} --out out --resume"));
    let whole = read(at.join("out/delta_max.csv"));
    assert!(whole.starts_with(&kept) && whole.lines().count() == 121);
    let output = with_small_files(at, &format!("{certify} --out none"), 0);
    assert!(output.status.code() == Some(1) && !at.join("none/delta_max.csv").exists());
    done(at, &format!("{certify} --out none"));

    list(at);
    let row = read(at.join("list.csv"));
    put(at.join("list.csv"), &row.repeat(40));
    let output = with_small_files(at, "verify --batch list.csv --device cpu --quiet", 1);
    let (_, err) = text(&output);
    assert!(output.status.code() == Some(1) && err.lines().count() == 1, "{err}");
    let kept = read(at.join("results.csv"));
    assert!(kept.ends_with('\n') && !kept.contains("error") && kept.lines().count() < 41, "{kept}");
    done(at, "verify --batch list.csv --device cpu --quiet --resume");
}

#[test]
fn folders_and_files_are_told_apart() {
    let dir = folder();
    let at = dir.path();
    fs::create_dir(at.join("there")).expect("made");
    put(at.join("file"), "keep");
    list(at);
    refused(at, &format!("{PREDICT} --out there"), &["there", "is a folder"]);
    refused(at, "verify --batch list.csv --device cpu --out there", &["there", "is a folder"]);
    refused(at, &format!("{PREDICT} --out nowhere/scores.csv"), &["nowhere/scores.csv", "check the path"]);
    refused(at, &format!("{TRAIN} --out nowhere/m.onnx"), &["nowhere/m.onnx", "check the path"]);
    refused(at, "verify --batch list.csv --device cpu --out nowhere/r.csv", &["nowhere/r.csv", "check the path"]);
    refused(at, "verify --batch list.csv --device cpu --witnesses file --out r.csv", &["file", "name another"]);
    for line in [SWEEP, "compare there there", "merge there", "explain --model MODEL --image x.png"] {
        for out in ["file", "file/below"] {
            refused(at, &format!("{line} --out {out}"), &["file", "name another"]);
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_are_followed() {
        let dir = folder();
        let at = dir.path();
        fs::create_dir(at.join("far")).expect("made");
        symlink("far/scores.csv", at.join("link.csv")).expect("linked");
        symlink("link.csv", at.join("chain.csv")).expect("linked");
        done(at, &format!("{PREDICT} --out direct.csv"));
        for _ in 0..2 {
            done(at, &format!("{PREDICT} --out chain.csv"));
            assert_eq!(read(at.join("far/scores.csv")), read(at.join("direct.csv")));
        }
        let is_link = |name: &str| at.join(name).symlink_metadata().expect("there").is_symlink();
        assert!(is_link("link.csv") && is_link("chain.csv"));
        put(at.join("far/mine"), "keep");
        symlink("far/mine", at.join("mine")).expect("linked");
        refused(at, &format!("{PREDICT} --out mine"), &["mine", "--force"]);
        symlink("round", at.join("round")).expect("linked");
        let output = binary(at, &format!("{PREDICT} --out round")).output().expect("the binary starts");
        let (_, err) = text(&output);
        assert!(output.status.code() == Some(1) && err.lines().count() == 1 && err.contains("round"), "{err}");
        // Of folders too, there or not.
        symlink("far", at.join("here")).expect("linked");
        symlink("far/new", at.join("soon")).expect("linked");
        for out in ["here", "soon"] {
            done(at, &format!("{SWEEP} --out {out}"));
            assert!(is_link(out));
        }
        assert!(at.join("far/sweep.json").is_file() && at.join("far/new/sweep.json").is_file());
    }

    /// A result folder from elsewhere may hold links to anywhere.
    #[test]
    fn links_inside_a_folder_are_not_followed() {
        let dir = folder();
        let at = dir.path();
        put(at.join("mine"), "keep");
        fs::create_dir_all(at.join("out")).expect("made");
        fs::create_dir_all(at.join("else")).expect("made");
        symlink("../mine", at.join("out/sweep.json")).expect("linked");
        symlink("../else", at.join("out/figures")).expect("linked");
        symlink("../else", at.join("out/certificates")).expect("linked");
        refused(at, &format!("{SWEEP} --out out"), &["out/sweep.json", "--force"]);
        refused(at, &format!("{CERTIFY} --out out"), &["out/certificates", "another --out"]);
        done(at, &format!("{CERTIFY} --out proofs"));
        refused(at, "compare proofs proofs --out out", &["out/figures", "link"]);
        refused(at, "compare proofs proofs --out out --force", &["out/figures", "link"]);
        // Even where a list calls them the program's own.
        put(at.join("out/.deltamax"), r#"{"sweep":["sweep.json","figures/a.svg"]}"#);
        put(at.join("else/a.svg"), "keep");
        done(at, &format!("{SWEEP} --out out"));
        assert_eq!((read(at.join("mine")), read(at.join("else/a.svg"))), ("keep".into(), "keep".into()));
    }

    #[test]
    fn fifos_are_written_through() {
        let dir = folder();
        let at = dir.path();
        done(at, &format!("{PREDICT} --out direct.csv"));
        let fifo = at.join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().is_ok_and(|s| s.success()));
        symlink("fifo", at.join("link")).expect("linked");
        for out in ["fifo", "link"] {
            let fifo = fifo.clone();
            let reader = std::thread::spawn(move || read(fifo));
            done(at, &format!("{PREDICT} --out {out}"));
            assert_eq!(reader.join().expect("read"), read(at.join("direct.csv")));
            assert!(fs::metadata(at.join("fifo")).expect("there").file_type().is_fifo());
        }
        list(at);
        let reader = {
            let fifo = fifo.clone();
            std::thread::spawn(move || read(fifo))
        };
        done(at, "verify --batch list.csv --device cpu --out fifo --quiet");
        assert!(reader.join().expect("read").contains(",unsat,"));
        let output = binary(at, "verify --batch list.csv --device cpu --out fifo --resume").output().expect("it runs");
        assert!(output.status.code() == Some(1) && text(&output).1.contains("leave out --resume"));
    }

    /// What a link says that leads to standard output, the output is given, and words go elsewhere.
    #[test]
    #[cfg(target_os = "linux")]
    fn other_names_of_standard_output() {
        let dir = folder();
        let at = dir.path();
        done(at, &format!("{PREDICT} --out direct.csv"));
        symlink("/proc/self/fd/1", at.join("stdout")).expect("linked");
        assert_eq!(done(at, &format!("{PREDICT} --out stdout")), read(at.join("direct.csv")));
        let caught = File::create(at.join("caught.csv")).expect("made");
        let status = plain(at, &format!("{PREDICT} --out stdout --quiet")).stdout(caught).status();
        assert!(status.is_ok_and(|s| s.success()) && read(at.join("caught.csv")) == read(at.join("direct.csv")));
    }

    /// Devices of the test's own; making them takes rights that not everybody has.
    #[test]
    #[cfg(target_os = "linux")]
    fn devices_are_written_through() {
        let dir = folder();
        let at = dir.path();
        let node = |name: &str, minor: &str| {
            let made = Command::new("mknod").arg(at.join(name)).args(["c", "1", minor]).stderr(Stdio::null()).status();
            made.is_ok_and(|s| s.success()) && fs::OpenOptions::new().write(true).open(at.join(name)).is_ok()
        };
        if !node("null", "3") || !node("full", "7") {
            return;
        }
        list(at);
        done(at, &format!("{PREDICT} --out null"));
        done(at, "verify --batch list.csv --device cpu --out null --quiet");
        for line in [PREDICT, TRAIN, "verify --batch list.csv --device cpu"] {
            let output = binary(at, &format!("{line} --out full --quiet")).output().expect("the binary starts");
            let (_, err) = text(&output);
            assert_eq!(output.status.code(), Some(1), "{line}\n{err}");
            assert!(err.lines().count() == 1 && err.contains("full") && err.contains("free some space"), "{err}");
        }
        for name in ["null", "full"] {
            assert!(fs::metadata(at.join(name)).expect("there").file_type().is_char_device());
        }
    }

    #[test]
    fn folders_that_may_not_be_written() {
        let dir = folder();
        let at = dir.path();
        fs::create_dir(at.join("locked")).expect("made");
        fs::set_permissions(at.join("locked"), fs::Permissions::from_mode(0o555)).expect("set");
        // Some users may write anywhere.
        if File::create(at.join("locked/x")).is_err() {
            for line in [SWEEP, CERTIFY, "shoes --count 4 --size 8"] {
                for out in ["locked", "locked/below"] {
                    refused(at, &format!("{line} --out {out}"), &["locked", "check who may write there"]);
                }
            }
            refused(at, &format!("{PREDICT} --out locked/s.csv"), &["locked/s.csv", "check who may write there"]);
        }
        fs::set_permissions(at.join("locked"), fs::Permissions::from_mode(0o755)).expect("set");
    }
}
