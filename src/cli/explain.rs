//! `deltamax explain`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use super::common::{self, RunArgs, command_line};
use super::inputs::{self, ModelArgs};
use crate::bounds::{Bounder, Method};
use crate::dataset::{self, Fit};
use crate::explain;
use crate::network::Network;
use crate::norm::Norm;
use crate::output::Folder;
use crate::reading::NetworkFile;
use crate::report::explanation;
use crate::results::{ExampleLevel, Picture, write_json};

/// Dominance, delta max and relevance of one image.
#[derive(Args)]
#[command(after_help = "Example: deltamax explain --model all-DA.onnx --image boot.jpg --delta 0.004")]
pub struct ExplainArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A picture; brought to the model's size
    #[arg(long)]
    image: PathBuf,
    /// Resize the picture to this side in pixels, or to WIDTHxHEIGHT (default: what the network takes)
    #[arg(long, value_parser = inputs::sides, value_name = "N|WxH")]
    size: Option<[usize; 2]>,
    /// How a picture of another aspect is brought there
    #[arg(long, value_enum, default_value_t)]
    fit: Fit,
    /// Radius of the noise box, pixels in [0,1] [default: 1/255, with --norm l2 the length of that on every pixel]
    #[arg(long, value_parser = common::length, allow_negative_numbers = true)]
    delta: Option<f32>,
    /// What radii are measured by
    #[arg(long, value_enum, default_value_t)]
    norm: Norm,
    /// How bounds are computed
    #[arg(long, value_enum, default_value_t = Method::Crown)]
    method: Method,
    /// Leave out how far the picture may change otherwise: its Euclidean length, random noise, light, contrast and blur
    #[arg(long)]
    radius_only: bool,
    /// Folder for explanation.html, explanation.json and the figures
    #[arg(long, default_value = "explanation")]
    out: PathBuf,
    /// Replace what stands there, whoever wrote it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// What is written and answered.
#[derive(Serialize)]
struct Answer {
    norm: Norm,
    #[serde(flatten)]
    level: ExampleLevel,
}

pub fn run(args: ExplainArgs) -> Result<()> {
    common::check_delta(args.delta, args.norm)?;
    let main = ["figures", "explanation.json", "explanation.html"];
    let folder = Folder::open(&args.out, "explain", &main, args.force)?;
    let NetworkFile { model, notes, .. } = args.model.read(args.size, &args.run)?;
    let path = &args.model.model;
    let image = dataset::load_image(&args.image, model.input, args.fit).map_err(|e| e.about(path))?;
    let device = args.run.open()?;
    let net = Network::new(&device, &model)?;
    let bounder = Bounder::new(&net, args.method).map_err(|e| e.about(path))?.for_norm(args.norm);
    let found = explain::bracket(&bounder, &image)?;
    let delta = args.delta.unwrap_or(explain::usual_delta(args.norm, model.input));
    let request = explain::Request {
        image: &image,
        clean: &image,
        shape: model.input,
        variance: 0.0,
        delta,
        class: Some(found.class),
        proved: Some(found.proved),
        attacked: found.hit.as_ref().map(|h| f64::from(h.distance)),
    };
    let mut level = explain::level(&bounder, &request)?;
    if !args.radius_only {
        level.stays = explain::stays(&bounder, &image, &found, args.run.seed)?;
    }
    let classes: Vec<String> =
        (0..model.outputs()).map(|j| model.classes.get(j).cloned().unwrap_or_else(|| j.to_string())).collect();
    args.run.say(format!(
        "{}: {}, proved up to {}, {}",
        args.image.display(),
        classes[level.predicted],
        args.norm.text(found.proved),
        match &found.hit {
            Some(h) => format!("attacked at {}: {}", args.norm.text(h.distance.into()), classes[h.class]),
            None => "no attack succeeded".into(),
        }
    ));
    let verdict = if level.dominant { "dominates: proved" } else { "is not proved to dominate" };
    args.run.say(format!("within {} it {verdict}", args.norm.text(delta.into())));
    for (class, s) in classes.iter().zip(&level.score_bounds) {
        args.run.say(format!("  {class:16} score {:.3} .. {:.3}", s[0], s[1]));
    }
    let answer = Answer { norm: args.norm, level };
    write_json(&folder.path().join("explanation.json"), &answer)?;
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let subject = explanation::Subject {
        image: name(&args.image),
        model: name(path),
        notes,
        classes,
        shape: model.input,
        level: answer.level.clone(),
        norm: args.norm,
        rival: found.rival,
        stays: format!(
            "Proved for every change up to the first figure, found at the second. Of noise: the class changes in at most {} of 100 draws, measured with a confidence of {} %.",
            100.0 * explain::RISK,
            100.0 * explain::CONFIDENCE
        ),
        broken: found.hit.map(|h| (Picture::from_chw(model.input, &h.image), h.class)),
        command: command_line(),
        device: device.describe(),
    };
    explanation::write(&subject, folder.path())?;
    folder.finish()?;
    args.run.say(args.out.join("explanation.html").display());
    args.run.answer(&answer)
}
