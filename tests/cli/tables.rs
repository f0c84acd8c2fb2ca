//! What stands beside the rows of a certified folder: pages, names of classes; and what shells and `man` are told.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{World, done, folder, misused, refused};

fn put(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// The page of certify, of a resumed run and of joined shards: pictures where the images can be read, none elsewhere.
#[test]
fn certified_folders_have_a_page() {
    let dir = folder();
    let at = dir.path();
    let certify = "certify --model MODEL --data SHOES --method ibp --limit 11 --device cpu";
    misused(at, &format!("{certify} --variance 0.01 --report --out x"), &["--report", "add 0 to --variance"]);
    let said = done(at, &format!("{certify} --limit 5 --report --out whole").replace("--limit 11 ", ""));
    assert!(said.ends_with("whole/report.html\n"), "{said}");
    let page = |folder: &str| fs::read_to_string(at.join(folder).join("report.html")).expect("a page");
    let text = page("whole");
    assert!(text.contains("Delta max of 5 images") && text.contains("<img src=\"data:image/png"));
    done(at, &format!("{certify} --report --resume --out whole"));
    assert!(page("whole").contains("Delta max of 11 images"));
    (0..2).for_each(|i| drop(done(at, &format!("{certify} --shard {i}/2 --out part{i}"))));
    done(at, "merge part0 part1 --report --out joined");
    assert!(page("joined").contains("Delta max of 11 images") && page("joined").contains("<img src=\"data:image/png"));
    // The same page from what lies in the folder, and without the images that it names.
    fs::remove_file(at.join("joined/report.html")).expect("removed");
    assert_eq!(done(at, "report joined"), "joined/report.html\n");
    let facts = at.join("joined/manifest.json");
    let words = fs::read_to_string(&facts).expect("a manifest");
    put(&facts, &words.replace(&World::path("shoes"), "/nowhere"));
    done(at, "report joined");
    assert!(!page("joined").contains("<img src=\"data:image/png"));
    refused(at, "report joined --data nothing", &["nothing"]);
    done(at, "report joined --data SHOES");
    assert!(page("joined").contains("<img src=\"data:image/png"));
    // Nothing of others is replaced.
    fs::create_dir(at.join("own")).expect("a folder");
    put(&at.join("own/report.html"), "mine");
    refused(at, &format!("{certify} --report --out own"), &["own/report.html", "another folder"]);
}

#[test]
fn classes_are_named_beside_their_numbers() {
    let dir = folder();
    done(dir.path(), "certify --model MODEL --data SHOES --method ibp --limit 5 --device cpu --out out --quiet");
    let names = json(&dir.path().join("out/manifest.json"))["classes"].clone();
    let text = fs::read_to_string(dir.path().join("out/delta_max.csv")).expect("a table");
    let header: Vec<&str> = text.lines().next().expect("a header").split(',').collect();
    for row in text.lines().skip(1).map(|l| l.split(',').collect::<Vec<_>>()) {
        for class in ["label", "predicted", "rival_proved", "rival_attacked"] {
            let cell = |name: &str| row[header.iter().position(|h| *h == name).expect("a column")];
            let name = cell(class).parse::<usize>().map_or("", |c| names[c].as_str().expect("a name"));
            assert_eq!(cell(&format!("{class}_name")), name, "{row:?}");
        }
    }
}

#[test]
fn shells_and_man_know_every_command() {
    let dir = folder();
    let at = dir.path();
    let help = done(at, "--help");
    let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
    let commands: Vec<&str> = commands.filter_map(|l| l.split_whitespace().next()).filter(|c| *c != "help").collect();
    for shell in ["bash", "zsh", "fish"] {
        let script = done(at, &format!("completions {shell}"));
        assert!(commands.iter().all(|c| script.contains(c)) && script.contains("certificates"), "{shell}");
    }
    assert!(done(at, "man").contains(".TH deltamax 1"));
    done(at, "man pages");
    done(at, "man pages");
    for command in commands {
        let page = fs::read_to_string(at.join(format!("pages/deltamax-{command}.1"))).expect("a page");
        assert!(page.contains("Example") && page.contains("\\-\\-help"), "{command}");
    }
    put(&at.join("own.1"), "mine");
    fs::create_dir(at.join("own")).expect("a folder");
    fs::rename(at.join("own.1"), at.join("own/deltamax.1")).expect("moved");
    refused(at, "man own", &["own/deltamax.1"]);
}
