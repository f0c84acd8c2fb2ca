//! `deltamax certify --noise`: how likely random noise is to change the class of every image.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde::Serialize;

use super::certify::CertifyArgs;
use crate::certify::classify;
use crate::dataset::Dataset;
use crate::error::Error;
use crate::network::Network;
use crate::noise::measured::{self, Settings};
use crate::noise::{largest, least};
use crate::output::Folder;
use crate::progress::Progress;
use crate::results::{quantile, short, write_atomically, write_json};
use crate::search::Subject;

const FILES: [&str; 3] = ["noise.csv", "sigma_max.csv", "noise.json"];

/// One image under noise of one variance.
struct Row {
    index: usize,
    variance: f64,
    measured: measured::Measured,
    proved: f64,
}

/// What was found at one variance.
#[derive(Serialize)]
struct Level {
    variance: f64,
    images: usize,
    /// Of the clean images.
    accuracy: f64,
    /// Mean share of draws that get the label, over all images.
    accuracy_measured: f64,
    /// The average accuracy over noise and images is at least this.
    accuracy_proved: f64,
    /// Share of rightly classified images whose class is proved to change with probability at most `risk`.
    risk_proved: f64,
    /// Share of them of which as much is measured.
    risk_measured: f64,
}

/// The largest noise, over rightly classified images.
#[derive(Serialize)]
struct Threshold {
    risk: f64,
    /// Median of the largest deviation at which the risk is proved.
    sigma_proved: f64,
    /// And at which it was measured.
    sigma_low: f64,
}

#[derive(Serialize)]
struct Summary {
    draws: usize,
    confidence: f64,
    method: String,
    levels: Vec<Level>,
    threshold: Option<Threshold>,
}

pub fn run(args: CertifyArgs) -> Result<()> {
    if !(args.confidence > 0.0 && args.confidence < 1.0 && args.risk > 0.0 && args.risk < 1.0) {
        bail!(Error::usage("--confidence and --risk lie between 0 and 1"));
    }
    let folder = Folder::open(&args.out, "certify --noise", &FILES, false)?;
    let (file, data) = args.data.load_with(&args.model, args.split, args.limit, &args.run)?;
    let device = args.run.open()?;
    let net = Network::new(&device, &file.model)?;
    let bounder = args.bounder(&net)?;
    let settings = Settings { draws: args.draws, confidence: args.confidence, risk: None, seed: args.run.seed };
    let decide = Settings { risk: Some(args.risk), ..settings };
    // Noise of no variance changes nothing.
    let variances: Vec<f64> = args.variance.iter().copied().filter(|v| *v > 0.0).collect();
    if variances.is_empty() && !args.search {
        bail!(Error::usage("--noise: give a --variance above 0, or --search"));
    }
    let batch = args.batch.unwrap_or(crate::search::Settings::new(&bounder).batch);
    let steps = variances.len() + usize::from(args.search);
    let mut progress = Progress::start(args.run.verbosity(), "noise", steps * data.len());
    let (mut rows, mut thresholds, mut subjects) = (vec![], vec![], Vec::<Subject>::new());
    for first in (0..data.len()).step_by(batch) {
        let block: Vec<usize> = (first..(first + batch).min(data.len())).collect();
        let images: Vec<&[f32]> = block.iter().map(|&i| data.image(i)).collect();
        let here = classify(&bounder, &images)?;
        let all: Vec<&Subject> = here.iter().collect();
        for &variance in &variances {
            let proved = least(&bounder, &all, variance.sqrt())?;
            for ((&index, subject), proved) in block.iter().zip(&all).zip(proved) {
                let measured = measured::measure(&net, subject, index as u32, variance.sqrt(), &settings)?;
                if measured.low > proved {
                    let problem = format!(
                        "image {index} at variance {variance}: proved to change with probability at most {proved}, measured at least {}; the device miscomputes",
                        measured.low
                    );
                    bail!(Error::device(problem));
                }
                rows.push(Row { index, variance, measured, proved });
                progress.advance(1);
            }
        }
        if args.search {
            let proved = largest(&bounder, &all, args.risk)?;
            for ((&index, subject), proved) in block.iter().zip(&all).zip(proved) {
                let start = if proved > 0.0 { 2.0 * proved } else { 0.01 };
                let [low, high] = measured::search(&net, subject, index as u32, start, &decide)?;
                thresholds.push((index, [proved, low.max(proved), high]));
                progress.advance(1);
            }
        }
        subjects.extend(here);
    }
    progress.finish(&format!("{} images on {}", data.len(), device.describe()));
    rows.sort_by(|a, b| a.variance.total_cmp(&b.variance).then(a.index.cmp(&b.index)));
    let method = args.method.to_string();
    if !variances.is_empty() {
        let text = noise_csv(&rows, &data, &subjects, &method);
        write_atomically(&folder.path().join("noise.csv"), text.as_bytes())?;
    }
    if args.search {
        let text = sigma_csv(&thresholds, &data, &subjects, args.risk, &method);
        write_atomically(&folder.path().join("sigma_max.csv"), text.as_bytes())?;
    }
    let right = |index: usize| subjects[index].class == data.labels[index];
    let summary = Summary {
        draws: args.draws,
        confidence: args.confidence,
        levels: variances.iter().map(|v| level(*v, &rows, args.risk, &right)).collect(),
        threshold: args.search.then(|| threshold(&thresholds, args.risk, &right)),
        method,
    };
    write_json(&folder.path().join("noise.json"), &summary)?;
    folder.finish()?;
    for l in &summary.levels {
        args.run.say(format!(
            "variance {:<6} {} images, average accuracy under noise measured {:.2} %, proved at least {:.2} %; of those right when clean, the class changes with probability at most {} for {:.2} % (proved), {:.2} % (measured)",
            short(l.variance),
            l.images,
            100.0 * l.accuracy_measured,
            100.0 * l.accuracy_proved,
            args.risk,
            100.0 * l.risk_proved,
            100.0 * l.risk_measured,
        ));
    }
    if let Some(t) = &summary.threshold {
        args.run.say(format!(
            "sigma max at risk {}, median of those right when clean: proved {:.4}, measured {:.4}",
            t.risk, t.sigma_proved, t.sigma_low
        ));
    }
    args.run.answer(&summary)
}

fn level(variance: f64, rows: &[Row], risk: f64, right: &impl Fn(usize) -> bool) -> Level {
    let rows: Vec<&Row> = rows.iter().filter(|r| r.variance == variance).collect();
    let of_right: Vec<&&Row> = rows.iter().filter(|r| right(r.index)).collect();
    let n = rows.len().max(1) as f64;
    let share =
        |kept: &dyn Fn(&Row) -> bool| of_right.iter().filter(|r| kept(r)).count() as f64 / of_right.len().max(1) as f64;
    let kept = |r: &Row| 1.0 - r.measured.changed as f64 / r.measured.draws.max(1) as f64;
    Level {
        variance,
        images: rows.len(),
        accuracy: of_right.len() as f64 / n,
        accuracy_measured: of_right.iter().map(|r| kept(r)).sum::<f64>() / n,
        accuracy_proved: of_right.iter().map(|r| 1.0 - r.proved).sum::<f64>() / n,
        risk_proved: share(&|r| r.proved <= risk),
        risk_measured: share(&|r| r.measured.high <= risk),
    }
}

fn threshold(rows: &[(usize, [f64; 3])], risk: f64, right: &impl Fn(usize) -> bool) -> Threshold {
    let median = |side: usize| {
        let mut values: Vec<f64> = rows.iter().filter(|(i, _)| right(*i)).map(|(_, s)| s[side]).collect();
        values.sort_by(f64::total_cmp);
        quantile(&values, 0.5)
    };
    Threshold { risk, sigma_proved: median(0), sigma_low: median(1) }
}

/// Index, file, label and predicted class.
pub(super) fn who(index: usize, data: &Dataset, subjects: &[Subject]) -> String {
    let name = &data.names[index];
    let name = if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\"").replace(['\n', '\r'], " "))
    } else {
        name.clone()
    };
    format!("{index},{name},{},{}", data.labels[index], subjects[index].class)
}

fn noise_csv(rows: &[Row], data: &Dataset, subjects: &[Subject], method: &str) -> String {
    let mut text =
        "index,file,label,predicted,variance,draws,changed,risk_low,risk_high,risk_proved,method\n".to_string();
    for r in rows {
        let (m, who) = (&r.measured, who(r.index, data, subjects));
        let variance = short(r.variance);
        let _ = writeln!(text, "{who},{variance},{},{},{},{},{},{method}", m.draws, m.changed, m.low, m.high, r.proved);
    }
    text
}

fn sigma_csv(rows: &[(usize, [f64; 3])], data: &Dataset, subjects: &[Subject], risk: f64, method: &str) -> String {
    let mut text = "index,file,label,predicted,risk,sigma_proved,sigma_low,sigma_high,method\n".to_string();
    for (index, [proved, low, high]) in rows {
        let who = who(*index, data, subjects);
        let _ = writeln!(text, "{who},{risk},{proved},{low},{high},{method}");
    }
    text
}
