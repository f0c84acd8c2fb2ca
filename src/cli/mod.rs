//! Flags become plain settings here, once; errors become one line and an exit code (0 done, 1 failed, 2 wrong usage,
//! 130 ended by Ctrl-C).

pub mod audit;
mod bench;
mod certify;
pub mod common;
mod compare;
mod devices;
mod explain;
mod gate;
pub mod inputs;
mod merge;
mod noise;
mod page;
mod predict;
mod several;
mod shard;
mod shell;
mod shoes;
mod study;
mod submit;
mod sweep;
mod train;
mod values;
mod vary;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::Error;
use crate::{interrupt, terminal};

/// How much noise an image classifier can take: measured, attacked and proved.
#[derive(Parser)]
#[command(
    name = "deltamax",
    version,
    max_term_width = 110,
    after_help = "--out replaces what the same command wrote before, and nothing else unless --force is given. Where one file is \
                  written, `-` is standard output, links are followed, and devices are written through."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log what happens inside (-vv: more)
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    /// The whole case study: train, sweep, prove, report
    Study(study::StudyArgs),
    /// Write made-up shoe photos as a folder tree
    Shoes(shoes::ShoesArgs),
    /// Train a classifier and write it as ONNX
    Train(train::TrainArgs),
    /// Class and logits of every image
    Predict(predict::PredictArgs),
    /// Accuracy and confusion matrices under Gaussian noise
    Sweep(sweep::SweepArgs),
    /// Prove a delta max for every image of a test set
    Certify(certify::CertifyArgs),
    /// Prove certified radii again, by separate code on the CPU
    Audit(audit::AuditArgs),
    /// Relevance and dominance of one image
    Explain(explain::ExplainArgs),
    /// Runs of different models or dates side by side
    Compare(compare::CompareArgs),
    /// Whether a model is good enough to go on, for pipelines
    Gate(gate::GateArgs),
    /// Write the page of a study or of certify again
    Report(page::ReportArgs),
    /// Join the shards of one run
    Merge(merge::MergeArgs),
    /// Spread a run over a cluster: a job per shard, and one that joins them
    Submit(submit::SubmitArgs),
    /// Prove or refute a VNN-LIB property of an ONNX network
    Verify(verify::VerifyArgs),
    /// Throughput of every kernel and method, share of the device's peak
    Bench(bench::BenchArgs),
    /// List adapters and what `--device auto` would take
    Devices(devices::DevicesArgs),
    /// Completions of commands and flags for a shell
    Completions(shell::CompletionsArgs),
    /// Manual pages
    Man(shell::ManArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => return explain_usage(&asked),
    };
    log(cli.verbose);
    interrupt::watch();
    let done = match cli.command {
        Command::Study(args) => study::run(args),
        Command::Shoes(args) => shoes::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Gate(args) => gate::run(args),
        Command::Report(args) => page::run(args),
        Command::Train(args) => train::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Certify(args) => certify::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Submit(args) => submit::run(args, |words| Cli::try_parse_from(words).map(drop)),
        Command::Verify(args) => verify::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Devices(args) => devices::run(args),
        Command::Completions(args) => shell::completions(args, Cli::command()),
        Command::Man(args) => shell::man(args, Cli::command()),
    };
    // What the command itself says went wrong counts first.
    match done.and(terminal::finish().map_err(Into::into)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("{error:#}").replace('\n', " ");
            terminal::note(format_args!("deltamax: {line}"));
            let usage = matches!(error.downcast_ref(), Some(Error::Usage(_)));
            ExitCode::from(if usage { 2 } else { 1 })
        }
    }
}

/// Prints help and version, which come as errors too, or what is wrong with the flags.
fn explain_usage(asked: &clap::Error) -> ExitCode {
    match asked.print() {
        Err(e) if !asked.use_stderr() && e.kind() != std::io::ErrorKind::BrokenPipe => {
            terminal::note(format_args!("deltamax: {}", Error::io("standard output", "writing")(e)));
            ExitCode::FAILURE
        }
        Ok(()) | Err(_) => ExitCode::from(asked.exit_code() as u8),
    }
}

fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    // Says on standard error that it cannot write there, and panics.
    lines.log_internal_errors(false).init();
}
