//! `deltamax gate`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use super::common::SayArgs;
use crate::error::Error;
use crate::output::Target;
use crate::report::{compare, junit};
use crate::results::{Judged, Requirements};

/// Whether a model is good enough to go on: exit code 0 if so, 1 if not, for pipelines.
///
/// The folder is a study or the result of certify. A model trained several times has to meet everything in every training.
/// Of a study with several models one that does is enough, unless --model names them.
#[derive(Args)]
#[command(
    after_help = "Example: deltamax gate study --require \"accuracy>=0.9,class>=0.8,proved@2/255>=0.7\" --junit gate.xml\n         deltamax gate proofs --require \"accuracy>=0.9,median>=1/255\""
)]
pub struct GateArgs {
    /// Folder of study or certify
    dir: PathBuf,
    /// What is required: accuracy and class (the weakest class), both also under noise of a variance as accuracy@0.005;
    /// proved@D, the share right and proved at delta D; median, the median proved delta max. Both by the norm of the folder
    #[arg(long, value_name = "LIST")]
    require: Requirements,
    /// Only these models of a study; all of them have to meet everything
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    model: Vec<String>,
    /// Also write what was met and missed as JUnit XML; - is standard output
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Replace FILE, whoever wrote it
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    output: SayArgs,
}

pub fn run(args: GateArgs) -> Result<()> {
    let own = |head: &[u8]| head.starts_with(junit::HEAD.as_bytes());
    let target = args.junit.as_ref().map(|path| Target::choose(path, own, args.force)).transpose()?;
    if target.as_ref().is_some_and(Target::is_standard) {
        super::common::reserve(&args.output)?;
    }
    let mut runs = compare::read(std::slice::from_ref(&args.dir))?;
    runs.first().map_or(Ok(()), |run| args.require.check_norm(run.norm))?;
    let known: Vec<String> = runs.iter().map(|r| r.result.name.clone()).collect();
    if let Some(unknown) = args.model.iter().find(|m| !known.contains(m)) {
        let problem = format!("has no model {unknown}; it has {}", known.join(", "));
        bail!(Error::input(&args.dir, problem));
    }
    runs.retain(|r| args.model.is_empty() || args.model.contains(&r.result.name));
    let judged: Vec<Judged> = runs.iter().flat_map(|r| args.require.judge(&r.result)).collect();
    let meets = |name: &str| judged.iter().filter(|j| j.model == name).all(|j| j.met);
    let ready: Vec<&str> = runs.iter().map(|r| r.result.name.as_str()).filter(|n| meets(n)).collect();
    let passed = if args.model.is_empty() { !ready.is_empty() } else { ready.len() == runs.len() };
    // Where every model named has to pass, none is spared.
    let spares: &[&str] = if args.model.is_empty() { &ready } else { &[] };
    if let Some(target) = target {
        target.write(junit::junit(&judged, spares).as_bytes())?;
    }
    for j in &judged {
        let word = if j.met { "met    " } else { "not met" };
        args.output.say(format!("{word}  {}  {}: {}", j.model, j.requirement, junit::message(j)));
    }
    args.output.answer(&serde_json::json!({ "passed": passed, "ready": ready, "judged": judged }))?;
    if !passed {
        let missed: Vec<String> = judged
            .iter()
            .filter(|j| !j.met)
            .map(|j| format!("{} {} ({})", j.model, j.requirement, junit::message(j)))
            .collect();
        bail!(Error::failed(format!("the gate stays shut: {}", missed.join("; "))));
    }
    args.output.say(format!("ready: {}", ready.join(", ")));
    Ok(())
}
