//! The product's jobs give on a GPU what they give on the CPU backend.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use deltamax::attack;
use deltamax::bounds::{Ball, Bounder, Decision, Method, Tree};
use deltamax::dataset::Dataset;
use deltamax::device::{Device, Traffic};
use deltamax::error::Result;
use deltamax::model::cnn::{self, Architecture};
use deltamax::model::{Layer, Model};
use deltamax::network::{Network, largest};
use deltamax::norm::Norm;
use deltamax::ops::peak;
use deltamax::progress::{Progress, Verbosity};
use deltamax::rng::Rng;
use deltamax::search::{self, Subject, search};
use deltamax::tensor::{Shape, interleave};
use deltamax::train::{Images, Settings, train};

use crate::nets::Net;

/// Images whose class is where they are bright.
fn data(images: usize) -> Dataset {
    let classes = ["left", "right", "top"].map(String::from).to_vec();
    let shape = Shape::new(2, 9, 8);
    let mut rng = Rng::new(11, 0);
    let mut data = Dataset::empty(shape, classes);
    for i in 0..images {
        let bright = |k: usize| match i % 3 {
            0 => k % 8 < 4,
            1 => k % 8 >= 4,
            _ => k % 72 < 32,
        };
        let pixels: Vec<f32> =
            (0..shape.len()).map(|k| 0.5 * rng.uniform() + if bright(k) { 0.4 } else { 0.0 }).collect();
        data.push(format!("{i}"), i % 3, &pixels);
    }
    data
}

fn settings() -> Settings {
    let architecture = Architecture::strided(&[6, 10], 12);
    Settings { architecture, epochs: 3, batch: 20, seed: 5, ..Settings::default() }
}

fn close(what: &str, gpu: &[f32], cpu: &[f32], tolerance: f32) -> std::result::Result<(), String> {
    let apart = |(g, c): &(&f32, &f32)| !((*g - *c).abs() <= tolerance * (1.0 + c.abs()));
    match gpu.iter().zip(cpu).position(|(g, c)| apart(&(g, c))) {
        None if gpu.len() == cpu.len() => Ok(()),
        None => Err(format!("{what}: {} values against {}", gpu.len(), cpu.len())),
        Some(i) => Err(format!("{what} {i}: {} on the GPU, {} on the CPU", gpu[i], cpu[i])),
    }
}

/// Ten steps and more of training: the same losses.
pub fn training(gpu: &Device) -> std::result::Result<(), String> {
    let run = |device: &Device| -> Result<Vec<f32>> {
        let mut quiet = Progress::start(Verbosity::Quiet, "", 1);
        let images = Images { train: &data(90), validation: None, test: &data(9) };
        let (_, epochs) = train(device, &images, &settings(), None, &mut quiet)?;
        Ok(epochs.iter().map(|e| e.loss as f32).collect())
    };
    let losses = [run(gpu), run(&Device::cpu())].map(|r| r.map_err(|e| e.to_string()));
    let [gpu, cpu] = losses;
    close("loss of epoch", &gpu?, &cpu?, 1e-3)
}

fn model() -> Result<Model> {
    let data = data(0);
    cnn::cnn(data.shape, &data.classes, &settings().architecture, 3)
}

/// The same data through max pooling.
fn pooled() -> Result<Model> {
    let data = data(0);
    let mut b = Net::new(data.shape, Rng::new(7, 0)).with_bias((2.0f32 / 20.0).sqrt());
    let v = b.conv3x3(0, 4);
    let v = b.relu(v);
    let v = b.max_pool(v, [3, 3], [2, 2], [1, 1]);
    let v = b.dense(v, 12);
    let v = b.relu(v);
    b.dense(v, 3);
    Ok(Model { classes: data.classes, ..b.finish() })
}

/// Logits and gradients of the input.
pub fn passes(gpu: &Device) -> std::result::Result<(), String> {
    let data = data(37);
    let run = |device: &Device| -> Result<[Vec<f32>; 2]> {
        let net = Network::new(device, &model()?)?;
        let x = interleave((0..data.len()).map(|i| data.image(i)), data.shape.len());
        let lanes = x.len() / data.shape.len();
        let values = net.forward(device.upload(&x)?, lanes, true)?;
        let logits = device.read(values.last().and_then(Option::as_ref).expect("logits"))?;
        let gradient = net.backward(&values, device.upload(&vec![1.0f32; 3 * lanes])?, lanes)?;
        Ok([logits, device.read(&gradient)?])
    };
    let [gpu, cpu] = [run(gpu), run(&Device::cpu())].map(|r| r.map_err(|e| e.to_string()));
    let ([gpu_logits, gpu_gradient], [logits, gradient]) = (gpu?, cpu?);
    close("logit", &gpu_logits, &logits, 1e-5)?;
    close("gradient", &gpu_gradient, &gradient, 1e-5)
}

/// Margins of every method: nearly those of the CPU, and never above what exact arithmetic allows.
pub fn bounds(gpu: &Device) -> std::result::Result<(), String> {
    let data = data(21);
    for (model, method) in [model, pooled].into_iter().flat_map(|m| Method::ALL.map(|method| (m, method))) {
        let run = |device: &Device, sound: bool| -> Result<[Vec<f32>; 2]> {
            let bounder = Bounder::new(&Network::new(device, &model()?)?, method)?;
            let bounder = if sound { bounder } else { bounder.without_charges() };
            let images: Vec<_> = (0..data.len()).map(|i| data.image(i)).collect();
            let ball = |i: usize| Ball { image: &images[i], class: data.labels[i], delta: 0.004 * (i % 5) as f32 };
            let outcomes = bounder.probe(&(0..data.len()).map(ball).collect::<Vec<_>>())?;
            let margins = outcomes.iter().flat_map(|o| o.margins.iter().copied().filter(|m| m.is_finite())).collect();
            Ok([margins, outcomes.iter().map(|o| o.radius).collect()])
        };
        let results = [run(gpu, true), run(&Device::cpu(), true), run(&Device::cpu(), false)];
        let [g, c, bare] = results.map(|r| r.map_err(|e| format!("{method}: {e}")));
        let ([gpu_margins, gpu_radii], [margins, radii], [bare, _]) = (g?, c?, bare?);
        close(&format!("{method}: margin"), &gpu_margins, &margins, 1e-3)?;
        close(&format!("{method}: radius"), &gpu_radii, &radii, 1e-3)?;
        // Without charges the CPU errs by some 1e-6; the GPU's charges are larger than that.
        let over = gpu_margins.iter().zip(&bare).position(|(g, b)| *g > b + 1e-6 * (1.0 + b.abs()));
        if let Some(i) = over {
            return Err(format!(
                "{method}: margin {i} is {} although the true bound is near {}",
                gpu_margins[i], bare[i]
            ));
        }
    }
    Ok(())
}

/// Branch and bound decides balls as on the CPU, but for a few at the edge of the budget.
pub fn branching(gpu: &Device) -> std::result::Result<(), String> {
    let data = data(21);
    for (name, model) in [("strided", model as fn() -> Result<Model>), ("pooled", pooled)] {
        let run = |device: &Device| -> Result<Vec<(Decision, usize)>> {
            let bounder = Bounder::new(&Network::new(device, &model()?)?, Method::Crown)?;
            let images: Vec<_> = (0..data.len()).map(|i| data.image(i)).collect();
            let ball = |i: usize| Ball { image: &images[i], class: data.labels[i], delta: 0.003 * (1 + i % 6) as f32 };
            let balls: Vec<Ball<'_>> = (0..data.len()).map(ball).collect();
            bounder.branch_balls(&balls, &vec![64; balls.len()])
        };
        let [gpu, cpu] = [run(gpu), run(&Device::cpu())].map(|r| r.map_err(|e| format!("{name}: {e}")));
        let (gpu, cpu) = (gpu?, cpu?);
        let split = cpu.iter().filter(|(_, domains)| *domains > 1).count();
        let proved = |d: &Decision| *d == Decision::Proved;
        let differ = gpu.iter().zip(&cpu).filter(|((g, _), (c, _))| proved(g) != proved(c)).count();
        if split < 3 || differ > 2 {
            return Err(format!("{name}: {split} balls were split, {differ} decided otherwise"));
        }
    }
    Ok(())
}

/// Whatever was bounded before, and however little room it took: the same balls get the same bounds.
pub fn room(gpu: &Device) -> std::result::Result<(), String> {
    let data = data(21);
    let run = |before: &[f32]| -> Result<Vec<Vec<f32>>> {
        let bounder = Bounder::new(&Network::new(gpu, &model()?)?, Method::Crown)?;
        let images: Vec<_> = (0..data.len()).map(|i| data.image(i)).collect();
        let probe = |delta: f32, of: std::ops::Range<usize>| {
            let ball = |i: usize| Ball { image: &images[i], class: data.labels[i], delta };
            bounder.probe(&of.map(ball).collect::<Vec<_>>())
        };
        for (i, delta) in before.iter().enumerate() {
            probe(*delta, i..data.len())?;
        }
        Ok(probe(0.02, 2..data.len())?.into_iter().map(|o| o.margins).collect())
    };
    let fresh = run(&[]).map_err(|e| e.to_string())?;
    for before in [&[1e-6f32][..], &[1e-6, 0.05]] {
        if run(before).map_err(|e| e.to_string())? != fresh {
            return Err(format!("other margins after balls of {before:?}"));
        }
    }
    Ok(())
}

/// A search moves its images to the device once, and then a few words for each of them and each probe; it waits at most
/// twice for each probe of a batch.
pub fn search_traffic(gpu: &Device) -> std::result::Result<(), String> {
    let data = data(60);
    for (model, method) in [model, pooled]
        .into_iter()
        .flat_map(|m| [Method::Ibp, Method::CrownIbp, Method::Crown].map(|method| (m, method)))
    {
        let run = || -> Result<(Traffic, u32, u32)> {
            let net = Network::new(gpu, &model()?)?;
            let bounder = Bounder::new(&net, method)?;
            let images: Vec<_> = (0..data.len()).map(|i| data.image(i)).collect();
            let subjects = Subject::classify(&net, &images)?;
            let (before, mut probes, mut rounds) = (gpu.traffic(), 0, 0);
            search(&bounder, &search::Settings::new(&bounder), subjects, |_, found| {
                // All images are in the first batch.
                (probes, rounds) = (probes + found.probes, rounds.max(found.probes));
                Ok(())
            })?;
            Ok((gpu.traffic().since(&before), probes, rounds))
        };
        let (t, probes, rounds) = run().map_err(|e| e.to_string())?;
        let once = 4 * data.shape.len() * data.len();
        let each = ((t.uploaded + t.downloaded) as f64 - once as f64) / f64::from(probes);
        if !(each <= 256.0) || t.waits > u64::from(2 * rounds) {
            return Err(format!("{method}: {each:.0} bytes per image and probe; {rounds} probes of a batch, {t:?}"));
        }
    }
    Ok(())
}

/// An attack moves every image to the device once and its hit back once, and besides a few words for each point and descent;
/// it waits once for each, and for the hits.
pub fn attack_traffic(device: &Device) -> std::result::Result<(), String> {
    let data = data(60);
    let settings = attack::Settings::default();
    for (norm, model) in Norm::ALL.into_iter().flat_map(|norm| [(norm, model as fn() -> Result<Model>), (norm, pooled)])
    {
        let run = || -> Result<(Traffic, usize)> {
            let net = Network::new(device, &model()?)?;
            let images = data.images(0..data.len());
            let images: Vec<&[f32]> = images.chunks(data.shape.len()).collect();
            let classes: Vec<usize> = net.scores(&images)?.iter().map(|s| largest(s)).collect();
            let before = device.traffic();
            let hits = attack::attack(&net, norm, &images, &classes, &[], &settings)?;
            Ok((device.traffic().since(&before), hits.iter().flatten().count()))
        };
        let (t, broken) = run().map_err(|e| e.to_string())?;
        let once = 4 * data.shape.len() * (data.len() + broken);
        let steps = settings.rounds * (settings.steps + 1) * data.len();
        let each = ((t.uploaded + t.downloaded) as f64 - once as f64) / steps as f64;
        // A hit too close to call costs another wait, of the four that are kept.
        let most = settings.rounds + 4;
        if !(each <= 8.0) || t.waits > most as u64 || broken < data.len() / 2 {
            return Err(format!("{norm}: {each:.1} bytes per image and step, {broken} broken, {t:?}"));
        }
    }
    Ok(())
}

/// Of a domain little more passes between host and device than a byte for each of its neurons, either way, once what is known
/// of the ball is there; a batch of them waits five times at most.
pub fn growth_traffic(device: &Device) -> std::result::Result<(), String> {
    let data = data(20);
    for model in [model, pooled] {
        let run = || -> Result<(Traffic, usize, usize)> {
            let model = model()?;
            let shapes = model.nodes.iter().filter(|node| node.layer == Layer::Relu).map(|node| node.shape.len());
            let (neurons, net) = (shapes.sum::<usize>(), Network::new(device, &model)?);
            let bounder = Bounder::new(&net, Method::Crown)?;
            let images: Vec<_> = (0..data.len()).map(|i| data.image(i)).collect();
            let balls: Vec<Ball<'_>> = Subject::classify(&net, &images)?
                .iter()
                .zip(&images)
                .map(|(subject, image)| Ball { image, class: subject.class, delta: 0.05 })
                .collect();
            let mut trees: Vec<Tree> = bounder.plant(&balls)?.into_iter().flatten().collect();
            let grow = |trees: &mut Vec<Tree>| -> Result<usize> {
                let mut open: Vec<&mut Tree> = trees.iter_mut().filter(|t| !t.is_proved() && !t.is_stuck()).collect();
                let most = vec![16; open.len()];
                Tree::grow(&mut open, &most)?;
                Ok(trees.iter().map(Tree::domains).sum())
            };
            // Each has rivals enough that its domains share a home; the next time it is there.
            grow(&mut trees)?;
            let planted = grow(&mut trees)?;
            let before = device.traffic();
            let all = grow(&mut trees)?;
            Ok((device.traffic().since(&before), all - planted, neurons))
        };
        let (t, domains, neurons) = run().map_err(|e| e.to_string())?;
        let each = (t.uploaded + t.downloaded) as f64 / domains as f64;
        // What is known of a domain's home takes some twenty bytes for each of its neurons, and as many of what it climbs to.
        if !(each <= 2.0 * neurons as f64 + 768.0) || t.waits > 5 {
            return Err(format!("{each:.0} bytes for each of {domains} domains of {neurons} neurons, {t:?}"));
        }
    }
    Ok(())
}

/// What passes between host and device is counted: every word, dispatch and wait.
pub fn traffic(device: &Device) -> std::result::Result<(), String> {
    let before = device.traffic();
    let run = || -> Result<Vec<f32>> {
        let buffer = device.upload(&[1.0f32; 64])?;
        peak::multiply_add(device, &buffer, 1)?;
        device.read(&buffer)
    };
    run().map_err(|e| e.to_string())?;
    let (t, gpu) = (device.traffic().since(&before), device.is_gpu());
    let counts = (t.uploaded, t.downloaded, t.dispatches, t.waits, t.submissions > 0);
    if counts == (256, 256, 1, u64::from(gpu), gpu) { Ok(()) } else { Err(format!("64 words, there and back: {t:?}")) }
}

/// Who waits for a GPU keeps nobody from sending it more: a batch is sent before the one before is read.
pub fn in_flight(gpu: &Device) -> std::result::Result<(), String> {
    let run = || -> Result<bool> {
        // Some drivers run a loop no further than this.
        const ROUNDS: u32 = 60_000;
        let (mut long, short) = (gpu.alloc(1 << 10)?, gpu.alloc(64)?);
        // To compile it takes longer than to run it.
        peak::multiply_add(gpu, &short, 1)?;
        gpu.sync()?;
        while long.len() < 1 << 24 {
            let started = Instant::now();
            peak::multiply_add(gpu, &long, ROUNDS)?;
            gpu.sync()?;
            if started.elapsed().as_secs_f64() > 0.2 {
                break;
            }
            long = gpu.alloc(2 * long.len())?;
        }
        let (before, read) = (gpu.traffic().submissions, AtomicBool::new(false));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| -> Result<()> {
                peak::multiply_add(gpu, &long, ROUNDS)?;
                gpu.read::<f32>(&long)?;
                read.store(true, Ordering::SeqCst);
                Ok(())
            });
            while gpu.traffic().submissions == before && !reader.is_finished() {
                std::thread::yield_now();
            }
            peak::multiply_add(gpu, &short, 1)?;
            gpu.write(&short, &[0.0f32])?;
            let sent = gpu.traffic().submissions == before + 2 && !read.load(Ordering::SeqCst);
            reader.join().expect("no panic").map(|()| sent)
        })
    };
    // A driver may itself take its time with what is sent, or be done too soon on a busy machine. Under a lock it would never be.
    for _ in 0..20 {
        if run().map_err(|e| e.to_string())? {
            return Ok(());
        }
    }
    Err("a batch was sent after the one before was read".into())
}

/// Two batches in flight find on a GPU what one finds, and the same every time.
pub fn flights(gpu: &Device) -> std::result::Result<(), String> {
    let data = data(90);
    for method in [Method::Ibp, Method::CrownIbp, Method::Crown] {
        let run = |(in_flight, learns): (usize, bool)| -> Result<Vec<f32>> {
            let net = Network::new(gpu, &model()?)?;
            let bounder = Bounder::new(&net, method)?;
            let images: Vec<_> = (0..data.len()).map(|i| data.image(i)).collect();
            let settings = search::Settings { batch: 20, in_flight, learns, ..search::Settings::new(&bounder) };
            let mut radii = vec![];
            search(&bounder, &settings, Subject::classify(&net, &images)?, |position, found| {
                assert_eq!(position, radii.len());
                radii.push(found.proved);
                Ok(())
            })?;
            Ok(radii)
        };
        let run = |how| run(how).map_err(|e| format!("{method}: {e}"));
        if run((2, true))? != run((2, true))? {
            return Err(format!("{method}: other radii the second time"));
        }
        // What was learned changes them within the tolerance.
        let (both, alone) = (run((2, false))?, run((1, false))?);
        close(&format!("{method}: radius of two flights and of one"), &both, &alone, 1e-6)?;
        if both.len() != data.len() {
            return Err(format!("{method}: {} radii", both.len()));
        }
    }
    Ok(())
}
