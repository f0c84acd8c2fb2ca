//! Parts of one run, joined: the same as the run in one piece, without gaps or duplicates.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::jobs::{json, put_text};
use super::{World, binary, done, folder, misused, refused, text};

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("a file")
}

/// Runs a command under an array task.
fn as_task(at: &Path, line: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = binary(at, line).envs(variables.iter().copied()).output().expect("the binary starts");
    (output.status.code(), text(&output).1)
}

#[test]
fn shards_of_certify_join_to_the_same_bytes() {
    let dir = folder();
    let at = dir.path();
    // More images than are searched at once, and variances that do not rise.
    let certify = "certify --model MODEL --data SHOES --method crown-ibp --variance 0.002,0 --split train --limit 40 --batch 8 --device cpu";
    done(at, &format!("{certify} --shard 0/1 --out whole"));
    for (i, batch) in [(0, 8), (1, 3), (2, 64)] {
        done(at, &format!("{certify} --shard {i}/3 --out part{i}").replace("--batch 8", &format!("--batch {batch}")));
    }
    // One that was stopped in the middle of a row.
    let table = at.join("part1/delta_max.csv");
    let rows = read(&table);
    put_text(&table, &rows[..rows.len() / 3]);
    done(at, &format!("{certify} --shard 1/3 --out part1 --resume"));
    assert_eq!(read(&table), rows);
    let said: Value = serde_json::from_str(&done(at, "merge part2 part0 part1 --out joined --json")).expect("JSON");
    assert_eq!(said["rows"], 80);
    for name in ["delta_max.csv", "summary.json"] {
        assert_eq!(read(at.join("whole").join(name)), read(at.join("joined").join(name)), "{name}");
    }
    assert_eq!(json(&at.join("joined/manifest.json"))["shard"], serde_json::json!([0, 1]));

    // Several devices share the same parts.
    let several = certify.replace("--device cpu", "--device cpu,cpu");
    let said: Value = serde_json::from_str(&done(at, &format!("{several} --out shared --json"))).expect("JSON");
    assert_eq!((said[0]["images"].as_u64(), at.join("shared.parts").exists()), (Some(40), false));
    for name in ["delta_max.csv", "summary.json"] {
        assert_eq!(read(at.join("whole").join(name)), read(at.join("shared").join(name)), "{name}");
    }
    let said = several.replace("MODEL", &World::path("model.onnx")).replace("SHOES", &World::path("shoes"));
    assert_eq!(json(&at.join("shared/manifest.json"))["command"], format!("deltamax {said} --out shared --json"));
    refused(at, &format!("{several} --out shared"), &["shared/delta_max.csv", "another --out"]);
    refused(at, &format!("{several} --out shared --resume"), &["one --device goes on"]);
    misused(at, &format!("{several} --out x --shard 0/2"), &["--shard"]);
    let missing = certify.replace("--device cpu", "--device cpu,99");
    refused(at, &format!("{missing} --out again"), &["adapter"]);
    // As a run that was stopped leaves it.
    done(at, &format!("{certify} --shard 0/8 --out again.parts/part0"));
    refused(at, &format!("{several} --out again"), &["again.parts", "--resume"]);
    done(at, &format!("{several} --out again --resume"));
    assert_eq!(read(at.join("whole/delta_max.csv")), read(at.join("again/delta_max.csv")));
    misused(at, "predict --model MODEL --data SHOES --out x.csv --device cpu,cpu", &["one --device"]);
}

/// Results of a study without what tells of a run alone.
fn found(study: &Path) -> Value {
    fn timeless(value: &mut Value) {
        match value {
            Value::Object(map) => {
                ["seconds", "started", "command"].iter().for_each(|key| drop(map.remove(*key)));
                map.values_mut().for_each(timeless);
            }
            Value::Array(values) => values.iter_mut().for_each(timeless),
            _ => {}
        }
    }
    let mut results = json(&study.join("results.json"));
    timeless(&mut results);
    results
}

#[test]
fn shards_of_a_study_join_to_the_same_results() {
    let dir = folder();
    let at = dir.path();
    let study = "study --count 80 --size 8 --epochs 1 --repeats 2 --variance 0,0.005 --method ibp --limit 9 --noisy 2 --photos 0 --proved-noise 1 --device cpu";
    done(at, &format!("{study} --out whole"));
    (0..4).for_each(|i| drop(done(at, &format!("{study} --shard {i}/4 --out part{i}"))));
    done(at, "merge part3 part1 part0 part2 --out joined");
    assert!(found(&at.join("whole")) == found(&at.join("joined")), "results differ");
    let command = json(&at.join("joined/results.json"))["command"].as_str().expect("text").to_string();
    assert_eq!(command, format!("deltamax {study} --out part0"));
    for name in ["no-DA.onnx", "no-DA-2.onnx", "all-DA.onnx", "all-DA-2.onnx"] {
        let [whole, joined] = ["whole", "joined"].map(|folder| fs::read(at.join(folder).join(name)));
        assert!(whole.is_ok() && whole.ok() == joined.ok(), "{name}");
    }
    assert!(read(at.join("joined/report.html")).contains("<svg"));
    let several = format!("{study},cpu --out shared");
    done(at, &several);
    assert!(found(&at.join("whole")) == found(&at.join("shared")), "results differ");
    assert_eq!(json(&at.join("shared/results.json"))["command"], format!("deltamax {several}"));
    assert!(at.join("shared/all-DA-2.onnx").exists() && !at.join("shared.parts").exists());
    misused(at, &format!("{several} --shard 0/2 --quiet"), &["--shard"]);

    misused(at, "merge part0 part1 part3 --out gap", &["shard 2/4 is missing"]);
    refused(at, "merge part0 part1 part1 part3 --out twice", &["shard 1/4 is given twice"]);
    done(at, &format!("{study} --seed 1 --shard 2/4 --out other"));
    refused(at, "merge part0 part1 other part3 --out mixed", &["other", "--seed (1, not 0)", "study this shard again"]);
    fs::copy(at.join("part0/no-DA.onnx"), at.join("part1/DA-slippers.onnx")).expect("a copy");
    refused(at, "merge part0 part1 part2 part3 --out changed", &["DA-slippers.onnx", "study this shard again"]);
    put_text(&at.join("part2/study_part.json"), "{");
    refused(at, "merge part0 part1 part2 part3 --out broken", &["part2/study_part.json", "study --shard"]);
    misused(at, &format!("{study} --shard 0/7 --out many --quiet"), &["6 trainings", "not 7"]);
    refused(at, "merge whole joined --out pieces", &["whole", "in one piece", "study --shard"]);

    // Models that are there already.
    let given =
        "study --models MODEL twin.onnx --data SHOES --variance 0,0.005 --method ibp --limit 4 --noisy 2 --device cpu";
    fs::copy(World::path("model.onnx"), at.join("twin.onnx")).expect("a copy");
    done(at, &format!("{given} --out given"));
    (0..2).for_each(|i| drop(done(at, &format!("{given} --shard {i}/2 --out given{i}"))));
    done(at, "merge given0 given1 --out again");
    assert!(found(&at.join("given")) == found(&at.join("again")), "results differ");
    misused(at, "merge given0 given1 --out page --report", &["--report"]);
}

#[test]
fn gaps_and_duplicates_are_refused_by_name() {
    let dir = folder();
    let at = dir.path();
    let certify = "certify --model MODEL --data SHOES --method ibp --no-attack --limit 11 --device cpu";
    for i in 0..3 {
        done(at, &format!("{certify} --shard {i}/3 --out part{i}"));
    }
    done(at, "merge part0 part1 part2 --out joined");

    // Certificates come along, and a folder is equal to itself.
    let alpha =
        "certify --model MODEL --data SHOES --method alpha --no-attack --limit 4 --device cpu --certificates all";
    (0..2).for_each(|i| drop(done(at, &format!("{alpha} --shard {i}/2 --out alpha{i}"))));
    done(at, "merge alpha0 alpha1 --out alpha");
    assert!(done(at, "audit alpha").contains("checked 4 of 4 rows: all proofs hold"));
    assert!(done(at, "compare alpha alpha --out same").contains("no difference on 4 images"));

    misused(at, "merge part0 part2 --out x", &["shard 1/3 is missing", "folders"]);
    misused(at, "merge part1 --out x", &["shards 0/3 and 2/3 are missing"]);
    refused(at, "merge part0 part1 part1 part2 --out x", &["part1", "given twice"]);
    refused(at, "merge part0 part1 part2 --out joined", &["joined", "another --out"]);
    refused(at, "merge part0 nowhere --out x", &["nowhere", "check the path"]);
    done(at, "certify --model MODEL --data SHOES --method ibp --limit 9 --device cpu --shard 1/3 --out other --quiet");
    refused(
        at,
        "merge part0 other part2 --out x",
        &[
            "other",
            "another data, another --limit (9, not 11), another --no-attack",
            "certify this shard again as part0 was",
        ],
    );
    let table = at.join("part1/delta_max.csv");
    let text = read(&table);
    let short: String = text.lines().take(2).map(|l| format!("{l}\n")).collect();
    fs::write(&table, short).expect("written");
    refused(at, "merge part0 part1 part2 --out x", &["part1", "--resume"]);
    put_text(&table, &format!("{text}{}\n", text.lines().nth(1).expect("a row")));
    refused(at, "merge part0 part1 part2 --out x", &["part1/delta_max.csv", "two rows", "remove one"]);
}

#[test]
fn shards_of_noise_and_light_join_to_the_same_bytes() {
    let dir = folder();
    let at = dir.path();
    let usual = "--model MODEL --data SHOES --split train --limit 5 --device cpu --quiet";
    let noise =
        format!("certify --noise gaussian --variance 0.001,0.0001 --search --draws 200 --certificates 3 {usual}");
    let light = format!("certify --vary brightness,darken --gap 0.05 {usual}");
    for (name, line, tables, summary) in [
        ("n", &noise, &["noise.csv", "sigma_max.csv"][..], "noise.json"),
        ("v", &light, &["vary.csv"][..], "vary.json"),
    ] {
        done(at, &format!("{line} --shard 0/1 --out {name}whole"));
        (0..3).for_each(|i| drop(done(at, &format!("{line} --shard {i}/3 --out {name}{i}"))));
        // One that was stopped in the middle of a row, and one before it had any.
        for (i, share) in [(1, 2), (2, 1000)] {
            for table in tables {
                let table = at.join(format!("{name}{i}")).join(table);
                let rows = read(&table);
                put_text(&table, &rows[..rows.len() / share]);
            }
            let before = at.join(format!("{name}{i}")).join(tables[0]);
            let part = format!("{name}{i}");
            refused(at, &format!("{line} --shard {i}/3 --out {part}"), &[&part, "--resume"]);
            done(at, &format!("{line} --shard {i}/3 --out {part} --resume"));
            assert!(read(&before).ends_with('\n'));
        }
        done(at, &format!("merge {name}2 {name}0 {name}1 --out {name}joined"));
        for file in tables.iter().chain([&summary]) {
            let [whole, joined] = ["whole", "joined"].map(|n| read(at.join(format!("{name}{n}")).join(file)));
            assert_eq!(whole, joined, "{file}");
        }
        assert_eq!(json(&at.join(format!("{name}joined/manifest.json")))["shard"], serde_json::json!([0, 1]));
        misused(at, &format!("merge {name}0 {name}2 --out x"), &["shard 1/3 is missing"]);
        refused(at, &format!("merge {name}0 {name}1 {name}2 --out {name}joined"), &["joined", "another --out"]);
        misused(at, &format!("merge {name}0 {name}1 {name}2 --report --out x"), &["--report"]);
        // Other results are not written over.
        let radii = format!("certify --method ibp --no-attack {usual} --out {name}0");
        refused(at, &radii, &["something else", "another --out"]);
        refused(at, &format!("{radii} --resume"), &["something else", "another --out"]);
    }
    assert!(at.join("vjoined/pictures/0.png").is_file() && at.join("vjoined/pictures/3.png").is_file());
    refused(at, "merge n0 v1 n2 --out x", &["v1", "another question"]);
    let other = noise.replace("--draws 200", "--draws 300 --risk 0.02");
    refused(
        at,
        &format!("{other} --shard 0/3 --out n0 --resume"),
        &["--draws (200, not 300)", "--risk (0.01, not 0.02)"],
    );
    refused(at, &format!("{} --out v0 --resume", light.replace("--gap 0.05", "")), &["--gap (0.05, not 0.01)"]);

    // More images than before; and what audit says of all of it.
    let longer = noise.replace("--limit 5", "--limit 6").replace("--certificates 3", "--certificates all");
    refused(at, &format!("{longer} --out nwhole --resume"), &["without --certificates"]);
    let plain = longer.replace("--certificates all", "");
    done(at, &format!("{plain} --out nwhole --resume"));
    assert_eq!(read(at.join("nwhole/noise.csv")).lines().count(), 13);
    let said = done(at, "audit njoined");
    assert!(said.contains("all proofs hold"), "{said}");
    refused(at, "audit vjoined", &["light and lens"]);
    let table = at.join("njoined/noise.csv");
    let rows = read(&table);
    let certified = |row: &&str| {
        let cells: Vec<&str> = row.split(',').collect();
        let path = at.join(format!("njoined/certificates/{}_{}.json.gz", cells[0], cells[4]));
        path.is_file() && cells[9].parse::<f64>().is_ok_and(|p| p < 1.0)
    };
    let row = rows.lines().skip(1).find(certified).expect("a row with a certificate");
    let proved = row.split(',').nth(9).expect("a probability");
    let less = row.replace(&format!(",{proved},"), &format!(",{},", 0.5 * proved.parse::<f64>().expect("a number")));
    put_text(&table, &rows.replace(row, &less));
    let output = binary(at, "audit njoined").output().expect("the binary starts");
    let said = text(&output).1;
    assert!(output.status.code() == Some(1) && said.contains("is not proved, only"), "{said}");
}

#[test]
fn shards_of_a_sweep_join_to_the_same_bytes() {
    let dir = folder();
    let at = dir.path();
    let sweep = "sweep --model MODEL --data SHOES --variance 0,0.01 --split train --draws 2 --limit 31 --device cpu";
    done(at, &format!("{sweep} --out whole"));
    for i in 0..3 {
        let variables = [("SLURM_ARRAY_TASK_ID", format!("{i}"))];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let (code, err) = as_task(at, &format!("{sweep} --shard auto/3 --out part{i}"), &variables);
        assert_eq!(code, Some(0), "{err}");
    }
    let said = done(at, "merge part2 part0 part1 --out joined");
    assert!(said.contains("variance 0.01") && said.contains("accuracy"), "{said}");
    for name in ["confusion.csv", "sweep.json"] {
        assert_eq!(read(at.join("whole").join(name)), read(at.join("joined").join(name)), "{name}");
    }

    done(at, &format!("{sweep},cpu --out shared"));
    assert_eq!(read(at.join("whole/sweep.json")), read(at.join("shared/sweep.json")));

    misused(at, "merge part0 part2 --out x", &["shard 1/3 is missing"]);
    refused(at, "merge part0 part1 part2 part1 --out x", &["part1", "given twice"]);
    refused(at, "merge part0 part1 part2 --out joined", &["joined/confusion.csv", "give another"]);
    refused(at, "merge whole --out x", &["whole", "in one piece"]);
    refused(at, "merge part0 whole --out x", &["whole/sweep_part.json"]);
    done(at, &format!("{sweep} --shard 1/3 --out other").replace("--draws 2 --limit 31", "--seed 3 --limit 30"));
    let hints = ["other: its run had another data", "--limit (30, not 31)", "--draws (3, not 2)", "--seed (3, not 0)"];
    refused(at, "merge part0 other part2 --out x", &hints);
    // Fewer answers than images.
    let part = at.join("part1/sweep_part.json");
    put_text(&part, &read(&part).replace("\"labels\": [", "\"labels\": [0,").replace("\"labels\":[", "\"labels\":[0,"));
    refused(at, "merge part0 part1 part2 --out x", &["part1/sweep_part.json", "again"]);
    misused(at, "merge part0 part1 part2 --report --out x", &["--report"]);
}

#[test]
fn shards_of_a_list_of_properties_join_in_its_order() {
    let dir = folder();
    let at = dir.path();
    let declared: String = (0..16 * 16 * 3).map(|i| format!("(declare-const X_{i} Real)\n")).collect();
    let boxed: String = (0..16 * 16 * 3).map(|i| format!("(assert (<= X_{i} 1))\n(assert (>= X_{i} 0))\n")).collect();
    let outputs: String = (0..4).map(|i| format!("(declare-const Y_{i} Real)\n")).collect();
    let mut list = String::new();
    // The last line stands twice.
    for (k, threshold) in ["1e9", "-1e9", "2e9", "-2e9", "3e9", "-1e9"].into_iter().enumerate() {
        let name = format!("p{}.vnnlib", if k == 5 { 1 } else { k });
        put_text(&at.join(&name), &format!("{declared}{outputs}{boxed}(assert (>= Y_0 {threshold}))\n"));
        list += &format!("{},{name},60\n", World::path("model.onnx"));
    }
    put_text(&at.join("list.csv"), &list);
    done(at, "verify --batch list.csv --out whole.csv --device cpu");
    for i in 0..3 {
        done(at, &format!("verify --batch list.csv --shard {i}/3 --out part{i}.csv --device cpu"));
    }
    done(at, "merge part2.csv part0.csv part1.csv --batch list.csv --out joined.csv");
    assert_eq!(done(at, "merge joined.csv --batch list.csv --out -"), read(at.join("joined.csv")));
    done(at, "merge whole.csv --batch list.csv --out sorted.csv");
    done(at, "verify --batch list.csv --out shared.csv --device cpu,cpu");
    assert!(!at.join("shared.csv.parts").exists());
    // Seconds are those of a clock.
    let answers = |name: &str| -> Vec<String> {
        let text = read(at.join(name));
        text.lines()
            .map(|l| l.rsplit_once(',').expect("fields").0.rsplit_once('/').map_or(l, |(_, p)| p).into())
            .collect()
    };
    assert_eq!(answers("joined.csv"), answers("sorted.csv"));
    assert_eq!(answers("joined.csv"), answers("shared.csv"));
    // A line that cannot be read is said at the end, and the others are answered.
    put_text(&at.join("bad.csv"), &list.replacen("p2.vnnlib", "missing.vnnlib", 1));
    let failed =
        binary(at, "verify --batch bad.csv --out bad-answers.csv --device cpu,cpu").output().expect("it starts");
    let (code, err) = (failed.status.code(), text(&failed).1);
    assert!(code == Some(1) && err.contains("missing.vnnlib") && err.contains("part 2/6"), "{err}");
    assert_eq!(read(at.join("bad-answers.csv")).lines().count(), read(at.join("joined.csv")).lines().count());
    refused(at, "verify --batch list.csv --out shared.csv --device cpu,cpu", &["shared.csv", "another --out"]);
    let words: Vec<String> =
        answers("joined.csv").iter().skip(1).map(|l| l.split(',').nth(2).expect("a word").into()).collect();
    assert_eq!(words, ["unsat", "sat", "unsat", "sat", "unsat", "sat"]);

    let merge = "merge part0.csv part2.csv --batch list.csv --out x.csv";
    refused(at, merge, &["list.csv: line 3 (", "p2.vnnlib) and 1 more have no answer", "all shards"]);
    let again = "merge part0.csv part1.csv part1.csv part2.csv --batch list.csv --out x.csv";
    refused(at, again, &["part1.csv", "p2.vnnlib, a second time"]);
    refused(at, "merge part0.csv --batch list.csv --out joined.csv", &["joined.csv", "another --out"]);
    refused(at, "merge part0.csv part1.csv --out x", &["part0.csv", "--batch"]);
    refused(at, "merge list.csv --batch list.csv --out x.csv", &["list.csv", "not a results file"]);
    let rows = read(at.join("part1.csv"));
    put_text(&at.join("part1.csv"), &rows[..rows.len() - 4]);
    refused(at, &merge.replace("part2", "part1"), &["part1.csv", "cut off", "--resume"]);
    misused(at, "verify --batch list.csv --shard 0/3 --device cpu", &["--out"]);
}

#[test]
fn array_tasks_know_their_part() {
    let dir = folder();
    let at = dir.path();
    let line = "certify --model MODEL --data SHOES --method ibp --no-attack --limit 6 --device cpu --quiet";
    let slurm = |id, last, count| {
        [("TASK_ID", id), ("TASK_MIN", "0"), ("TASK_MAX", last), ("TASK_COUNT", count)]
            .map(|(name, value)| (format!("SLURM_ARRAY_{name}"), value))
    };
    let run = |shard: &str, variables: &[(String, &str)]| {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        as_task(at, &format!("{line} --shard {shard} --resume --out {}", shard.replace('/', "-")), &variables)
    };
    assert_eq!(run("auto", &slurm("1", "2", "3")).0, Some(0));
    assert_eq!(json(&at.join("auto/manifest.json"))["shard"], serde_json::json!([1, 3]));
    // The same task again, alone.
    let (code, err) = run("auto", &slurm("1", "1", "1"));
    assert!(code == Some(2) && err.contains("auto/N"), "{err}");
    assert_eq!(run("auto/3", &[("JOB_COMPLETION_INDEX".into(), "2")]).0, Some(0));
    assert_eq!(json(&at.join("auto-3/manifest.json"))["shard"], serde_json::json!([2, 3]));
}

/// The scripts for Slurm, run by hand as its tasks.
#[test]
#[cfg(unix)]
fn scripts_for_a_cluster_do_what_they_say() {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    let dir = folder();
    let at = &dir.path().join("it's mine");
    fs::create_dir(at).expect("a folder");
    let certify = "certify --model MODEL --data SHOES --method ibp --no-attack --limit 7 --device cpu --quiet";
    done(at, &format!("{certify} --shard 0/1 --out whole"));
    let submit = |rest: &str| format!("submit --shards 3 --out run {rest}");
    let refuse = |rest: &str, hints: &[&str]| misused(at, &submit(rest), hints);
    refuse("-- train --data SHOES", &["submit runs certify, sweep, study and verify --batch, not 'train'"]);
    refuse("-- certify --model MODEL", &["certify of each task", "--data"]);
    refuse(&format!("-- {certify} --shard 0/2"), &["--shard", "cannot be used multiple times"]);
    refuse(&format!("-- {certify} --methods ibp"), &["--methods"]);
    refuse("-- verify MODEL p.vnnlib", &["--batch"]);
    refuse(&format!("--sbatch 10 -- {certify}"), &["--sbatch", "'10'"]);
    refuse("--shards 0", &["--shards"]);
    refused(at, &format!("submit --shards 3 --out 10% -- {certify}"), &["10%", "another --out"]);

    // sbatch takes no quotes in the names of logs; blanks it does.
    let out = dir.path().join("a run");
    let submit = |flags: &str| {
        let mut command = binary(at, &format!("submit --shards 3 --gpus 0 --sbatch=--time=5 {flags}"));
        command.arg("--out").arg(&out).arg("--").args(super::words(certify));
        command
    };
    let (said, err) = text(&submit("").output().expect("the binary starts"));
    assert!(said.lines().count() == 2 && said.starts_with("job=$(sbatch --parsable '"), "{said}{err}");
    let bash = |script: &str, task: usize| {
        let mut bash = Command::new("bash");
        bash.arg(out.join(script)).env("SLURM_ARRAY_TASK_ID", task.to_string()).current_dir("/");
        let output = bash.output().expect("a shell");
        assert!(output.status.success(), "{script}: {}", text(&output).1);
    };
    (0..3).for_each(|task| bash("array.sbatch", task));
    bash("merge.sbatch", 0);
    assert_eq!(read(at.join("whole/delta_max.csv")), read(out.join("whole/delta_max.csv")));

    // A scheduler that takes everything.
    fs::create_dir(at.join("bin")).expect("a folder");
    put_text(&at.join("bin/sbatch"), "#!/bin/sh\necho \"$*\" >> calls\necho '41;there'\n");
    fs::set_permissions(at.join("bin/sbatch"), fs::Permissions::from_mode(0o755)).expect("allowed");
    let (said, err) = text(&submit("--go").env("PATH", at.join("bin")).output().expect("the binary starts"));
    assert!(said.starts_with("array 41 of 3 tasks, then job 41: "), "{said}{err}");
    let calls = read(at.join("calls"));
    let second = "--parsable --dependency=afterok:41 --kill-on-invalid-dep=yes ";
    assert!(calls.lines().count() == 2 && calls.lines().nth(1).is_some_and(|l| l.starts_with(second)), "{calls}");
    let (_, err) = text(&submit("--go").env("PATH", at.join("nowhere")).output().expect("the binary starts"));
    assert!(err.starts_with("deltamax: sbatch cannot be started") && err.contains("leave out --go"), "{err}");
}
