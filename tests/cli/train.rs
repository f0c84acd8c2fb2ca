//! `train`: what is learned, how it is kept, and what is written.

use std::fs;

use deltamax::model::onnx;
use serde_json::Value;

use super::jobs::json;
use super::{done, folder, refused};

/// Of the same layers and seed: more is proved of the certified one, of which every epoch says what its boxes were.
#[test]
fn certified_training_and_noise() {
    let dir = folder();
    let at = dir.path();
    let train = "train --data SHOES --epochs 6 --channels 4 --hidden 8 --device cpu --seed 5 --json";
    let history = |line: &str| -> Value {
        serde_json::from_str::<Value>(done(at, line).lines().last().expect("a line")).expect("JSON")["history"].take()
    };
    let plain = history(&format!("{train} --out plain.onnx"));
    assert!(plain[5].get("delta").is_none() && plain[5].get("train_proved").is_none(), "{plain}");
    let epochs = history(&format!("{train} --certified 2/255 --mix 0.7 --out one.onnx"));
    let deltas: Vec<f64> = (0..6).filter_map(|e| epochs[e]["delta"].as_f64()).collect();
    assert!(deltas.len() == 6 && deltas[0] < deltas[1] && (deltas[5] - 2.0 / 255.0).abs() < 1e-6, "{deltas:?}");
    assert!((0..6).all(|e| epochs[e]["train_proved"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p))), "{epochs}");
    done(at, &format!("{train} --certified 0.00784313725490196 --mix 0.7 --out two.onnx"));
    assert!(fs::read(at.join("one.onnx")).unwrap() == fs::read(at.join("two.onnx")).unwrap());
    // Nothing but worst cases: no images are attacked, and those shown are as they are.
    let worst = history(&format!("{train} --certified 2/255 --mix 1 --out worst.onnx"));
    let [accuracy, proved] = ["train_accuracy", "train_proved"].map(|of| worst[5][of].as_f64().expect("a share"));
    assert!(accuracy >= proved && accuracy > 0.3, "{worst}");
    let median = |model: &str| {
        let certify = "certify --data SHOES --method ibp --limit 16 --device cpu --no-attack --quiet";
        done(at, &format!("{certify} --model {model}.onnx --out of-{model}"));
        json(&at.join(format!("of-{model}/summary.json")))[0]["proved_quantiles"][2].as_f64().expect("a number")
    };
    let (plain, certified) = (median("plain"), median("one"));
    assert!(certified > 3.0 * plain, "{certified} against {plain}");
    done(at, &format!("{train} --noise 0.01 --out noisy.onnx"));
    done(at, &format!("{train} --noise 0.01 --out again.onnx"));
    let [noisy, again, plain] = ["noisy", "again", "plain"].map(|m| fs::read(at.join(format!("{m}.onnx"))).unwrap());
    assert!(noisy == again && noisy != plain);
}

/// Normalisations are in the weights of the file, which the last epoch was tried with.
#[test]
fn named_architectures_are_folded() {
    let dir = folder();
    let at = dir.path();
    for (arch, more) in [("cnn3", "--certified 1/255 --mix 1"), ("resnet8", "")] {
        let train = format!("train --data SHOES --arch {arch} {more} --epochs 2 --device cpu --json");
        let told: Value =
            serde_json::from_str(done(at, &format!("{train} --out {arch}.onnx")).lines().last().expect("a line"))
                .unwrap();
        done(at, &format!("{train} --out again.onnx"));
        let path = at.join(format!("{arch}.onnx"));
        assert!(fs::read(&path).unwrap() == fs::read(at.join("again.onnx")).unwrap());
        let model = onnx::read(&path).expect("a model");
        assert!(model.nodes.iter().all(|n| n.layer.scale().is_none()));
        let predicted =
            done(at, &format!("predict --model {arch}.onnx --data SHOES --device cpu --out {arch}.csv --json"));
        let predicted: Value = serde_json::from_str(predicted.lines().last().expect("a line")).expect("JSON");
        assert_eq!(predicted["accuracy"], told["history"][1]["test_accuracy"], "{arch}");
    }
}

/// A training that was ended after some epoch and one that was not, with all that a checkpoint has to remember: noise,
/// attacks, a best epoch.
#[test]
fn a_training_goes_on_where_it_was_ended() {
    let dir = folder();
    let at = dir.path();
    let train = "train --data SHOES --device cpu --seed 5 --quiet --epochs 5 --validation 0.3 --noise 0.01";
    let small = "--channels 4 --hidden 8";
    let each = [
        &format!("{small} --patience 5"),
        &format!("{small} --certified 2/255 --balance"),
        "--arch cnn3 --certified 2/255",
    ];
    for (k, more) in each.into_iter().enumerate() {
        let line = format!("{train} {more}");
        done(at, &format!("{line} --out whole-{k}.onnx --checkpoint whole-{k}"));
        let kept = fs::read(at.join(format!("whole-{k}"))).expect("a checkpoint");
        // Ended after the first whole epoch: whatever the machine is slow at, there are more to come.
        let part = at.join(format!("part-{k}"));
        let mut child = super::plain(at, &format!("{line} --out part-{k}.onnx --checkpoint part-{k}"))
            .spawn()
            .expect("the binary starts");
        while !part.exists() && child.try_wait().expect("a state").is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let _ = child.kill();
        child.wait().expect("an end");
        refused(at, &format!("{line} --out part-{k}.onnx --checkpoint part-{k}"), &["part-", "--resume"]);
        done(at, &format!("{line} --out part-{k}.onnx --checkpoint part-{k} --resume"));
        let [whole, part] =
            ["whole", "part"].map(|name| fs::read(at.join(format!("{name}-{k}.onnx"))).expect("a model"));
        assert!(whole == part && kept == fs::read(at.join(format!("part-{k}"))).unwrap(), "{more}");
        // Nothing is learned where all is done.
        done(at, &format!("{line} --out done.onnx --checkpoint part-{k} --resume"));
        assert!(fs::read(at.join("done.onnx")).unwrap() == whole);
    }
    let line = format!("{train} {small} --patience 5 --out m.onnx --resume --checkpoint");
    refused(
        at,
        &format!("{line} whole-1"),
        &["whole-1", "another training", "balanced true there, false here", "--checkpoint"],
    );
    refused(at, &format!("{line} whole-0 --rate 0.001"), &["whole-0", "rate 0.002 there, 0.001 here"]);
    refused(at, &format!("{line} whole-0 --weight-decay 0"), &["whole-0", "decay"]);
    refused(at, &format!("{line} whole-0 --augment all"), &["whole-0", "training images differ"]);
    refused(at, &format!("{line} whole-0.onnx"), &["whole-0.onnx", "no checkpoint"]);
    refused(at, &format!("{line} ."), &["folder", "--checkpoint"]);
    refused(at, &format!("{line} -"), &["standard output", "--checkpoint"]);
    refused(at, &format!("{line} m.onnx"), &["m.onnx", "--checkpoint"]);
    let mut bytes = fs::read(at.join("whole-0")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(at.join("damaged"), &bytes).unwrap();
    refused(at, &format!("{line} damaged"), &["damaged", "remove it"]);
    fs::write(at.join("short"), &bytes[..last / 2]).unwrap();
    refused(at, &format!("{line} short"), &["short", "remove it"]);
}

/// The model is that of the epoch that loses least on images held out, which are not learned from; so is what is told of it.
#[test]
fn the_best_epoch_is_kept() {
    let dir = folder();
    let at = dir.path();
    // Steps that are too large at first: an epoch on the way is worse than the one before.
    let train = "train --data SHOES --channels 4 --hidden 8 --device cpu --seed 2 --rate 0.08 --json --validation 0.3";
    let history = |line: &str| -> Vec<Value> {
        let told: Value = serde_json::from_str(done(at, line).lines().last().expect("a line")).expect("JSON");
        told["history"].as_array().expect("epochs").clone()
    };
    let losses = |epochs: &[Value]| -> Vec<f64> {
        epochs.iter().map(|e| e["validation_loss"].as_f64().expect("a loss")).collect()
    };
    let all = losses(&history(&format!("{train} --epochs 8 --out all.onnx")));
    let worse = (1..all.len()).find(|&e| all[e] >= all[..e].iter().copied().fold(f64::MAX, f64::min));
    let epochs = history(&format!("{train} --epochs 8 --patience 1 --out best.onnx"));
    assert_eq!((Some(epochs.len() - 1), losses(&epochs)), (worse, all[..epochs.len()].to_vec()));
    let accuracy = epochs[epochs.len() - 2]["test_accuracy"].as_f64().expect("an accuracy");
    let predicted = done(at, "predict --model best.onnx --data SHOES --device cpu --out scores.csv --json");
    let predicted: Value = serde_json::from_str(predicted.lines().last().expect("a line")).expect("JSON");
    assert_eq!(predicted["accuracy"].as_f64(), Some(accuracy), "{predicted}");
    let boxes = history(&format!("{train} --epochs 4 --certified 2/255 --out boxes.onnx"));
    let judged: Vec<bool> = boxes.iter().map(|e| !e["validation_loss"].is_null()).collect();
    assert_eq!(judged, [false, true, true, true], "epochs while boxes grow are not compared");
}
