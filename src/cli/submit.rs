//! `deltamax submit`: a run as an array of jobs on a cluster. The scheduler does the work; this writes what it is told.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use super::common::{self, SayArgs};
use crate::error::Error;
use crate::output::{Folder, write_atomically};
use crate::terminal::shell_word;

/// Spread a run over a cluster: a job per shard, and one that joins them.
#[derive(Args)]
#[command(after_help = "Example:
  deltamax submit --shards 100 --out run --sbatch=--partition=gpu -- certify --model all-DA.onnx --data shoes

Writes array.sbatch and merge.sbatch and says how to submit them; --go does. All nodes have to see the folder of --out, the
model, the images and this program under the same paths. A task that is requeued goes on where it was stopped.")]
pub struct SubmitArgs {
    /// Which scheduler
    #[arg(long, value_enum, default_value_t)]
    engine: Engine,
    /// How many parts, each a task of its own
    #[arg(long, value_name = "N", value_parser = common::whole::<1_000_000>)]
    shards: usize,
    /// Folder for the scripts, logs, parts and the whole
    #[arg(long)]
    out: PathBuf,
    /// GPUs of each task; 0 leaves them out
    #[arg(long, value_name = "N", default_value_t = 1)]
    gpus: u32,
    /// Option of sbatch for both jobs, such as --sbatch=--time=04:00:00; may be given several times
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    sbatch: Vec<String>,
    /// Submit at once
    #[arg(long)]
    go: bool,
    /// Replace scripts of the same names, whoever wrote them
    #[arg(long)]
    force: bool,
    /// What to run: certify, sweep, study or verify --batch with its flags, but for --shard, --out and --resume
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    #[command(flatten)]
    output: SayArgs,
}

/// Schedulers that scripts are written for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Engine {
    /// Slurm, from version 20 on
    #[default]
    Slurm,
}

/// The scripts.
const SCRIPTS: [&str; 2] = ["array.sbatch", "merge.sbatch"];

/// `check` reads a command line as this program would, and says what is wrong with it.
pub fn run(args: SubmitArgs, check: impl Fn(&[String]) -> Result<(), clap::Error>) -> Result<()> {
    let Engine::Slurm = args.engine;
    let run = Run::new(&args)?;
    run.check(check)?;
    run.check_words(&args)?;
    let folder = Folder::open(&args.out, "submit", &SCRIPTS, args.force)?;
    write_atomically(&folder.path().join(SCRIPTS[0]), run.array(&args).as_bytes())?;
    write_atomically(&folder.path().join(SCRIPTS[1]), run.merge(&args).as_bytes())?;
    folder.finish()?;
    common::make_folder(&run.out.join("log"))?;
    let [array, merge] = SCRIPTS.map(|name| run.out.join(name));
    if !args.go {
        let [array, merge] = [&array, &merge].map(|script| word(script));
        let commands = [
            format!("job=$(sbatch --parsable {array})"),
            format!("sbatch --dependency=afterok:${{job%%;*}} --kill-on-invalid-dep=yes {merge}"),
        ];
        commands.iter().for_each(|line| args.output.say(line));
        return args.output.answer(&serde_json::json!({ "commands": commands }));
    }
    let first = sbatch(&array, &[])?;
    let after = [format!("--dependency=afterok:{first}"), "--kill-on-invalid-dep=yes".into()];
    let second = sbatch(&merge, &after)?;
    args.output.say(format!("array {first} of {} tasks, then job {second}: {}", args.shards, run.whole().display()));
    args.output.answer(&serde_json::json!({ "array": first, "merge": second, "whole": run.whole() }))
}

/// What is run, by absolute paths.
struct Run {
    program: PathBuf,
    /// Where relative paths of the command start.
    from: PathBuf,
    out: PathBuf,
    shards: usize,
    command: Vec<String>,
    /// The list of `verify --batch`, whose parts are files.
    list: Option<String>,
}

impl Run {
    fn new(args: &SubmitArgs) -> Result<Run> {
        let here = || Error::io(".", "reading");
        let program = std::env::current_exe().map_err(here())?;
        let from = std::env::current_dir().map_err(here())?;
        let out = from.join(&args.out);
        let value = |words: &[String]| match words {
            [flag, value] if flag == "--batch" => Some(value.clone()),
            [word, ..] => word.strip_prefix("--batch=").map(Into::into),
            [] => None,
        };
        let command = args.command.clone();
        let list = (command[0] == "verify")
            .then(|| (1..command.len()).find_map(|i| value(&command[i..command.len().min(i + 2)])));
        Ok(Run { program, from, out, shards: args.shards, command, list: list.flatten() })
    }

    /// Refuses now what every task would refuse.
    fn check(&self, check: impl Fn(&[String]) -> Result<(), clap::Error>) -> Result<()> {
        let command = self.command[0].as_str();
        if !["certify", "sweep", "study", "verify"].contains(&command) {
            bail!(Error::usage(format!("submit runs certify, sweep, study and verify --batch, not '{command}'")));
        }
        if command == "verify" && self.list.is_none() {
            bail!(Error::usage("submit spreads a list of properties: verify --batch LIST"));
        }
        let own = ["--shard".into(), format!("0/{}", self.shards), "--out".into(), "part".into()];
        let resume = self.resumes().then(|| "--resume".to_string());
        let words =
            std::iter::once("deltamax".to_string()).chain(self.command.iter().cloned()).chain(own).chain(resume);
        if let Err(wrong) = check(&words.collect::<Vec<_>>()) {
            let text = wrong.to_string();
            let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
            let line = lines.collect::<Vec<_>>().join(" ");
            bail!(Error::usage(format!("{command} of each task: {}", line.trim_start_matches("error: "))));
        }
        Ok(())
    }

    /// Refuses what a script cannot say.
    fn check_words(&self, args: &SubmitArgs) -> Result<()> {
        if let Some(option) = args.sbatch.iter().find(|o| !o.starts_with('-') || o.contains(char::is_control)) {
            bail!(Error::usage(format!(
                "--sbatch takes options of sbatch, such as --sbatch=--time=60, not '{option}'"
            )));
        }
        if let Some(path) = [&self.program, &self.from, &self.out].into_iter().find(|path| path.to_str().is_none()) {
            bail!(Error::input(path, "is no UTF-8, which a script has to be; use another name"));
        }
        // sbatch has its own idea of quotes, and of percent signs.
        if self.out.to_string_lossy().contains(|c: char| c.is_control() || "'\"\\%".contains(c)) {
            bail!(Error::input(&args.out, "sbatch takes no name with quotes, % or \\; give another --out"));
        }
        Ok(())
    }

    /// Whether the command goes on where it was stopped. A sweep is over before that would pay, and a study begins a part again.
    fn resumes(&self) -> bool {
        !["sweep", "study"].contains(&self.command[0].as_str())
    }

    /// Where the parts are, up to their number.
    fn part(&self) -> PathBuf {
        self.out.join("part")
    }

    fn ending(&self) -> &'static str {
        if self.list.is_some() { ".csv" } else { "" }
    }

    fn whole(&self) -> PathBuf {
        self.out.join(format!("whole{}", self.ending()))
    }

    fn array(&self, args: &SubmitArgs) -> String {
        let gpus = if args.gpus > 0 { format!("#SBATCH --gres=gpu:{}\n", args.gpus) } else { String::new() };
        let words = self.command.iter().map(|w| shell_word(w)).collect::<Vec<_>>().join(" ");
        let Run { shards, .. } = self;
        format!(
            "{}#SBATCH --array=0-{}\n{gpus}{}\
            # N is written out: a task that is submitted again alone would count itself as the whole array.\n\
            exec {} {words} --shard \"$SLURM_ARRAY_TASK_ID/{shards}\" --out {}\"$SLURM_ARRAY_TASK_ID\"{}{}\n",
            self.head(&format!("{shards} tasks"), "deltamax", "%a"),
            shards - 1,
            self.user(args),
            word(&self.program),
            word(&self.part()),
            self.ending(),
            if self.resumes() { " --resume" } else { "" },
        )
    }

    fn merge(&self, args: &SubmitArgs) -> String {
        let list = self.list.as_ref().map_or(String::new(), |list| format!(" --batch {}", shell_word(list)));
        format!(
            "{}{}exec {} merge {}{{0..{}}}{}{list} --out {}\n",
            self.head("joins what the tasks of array.sbatch found", "deltamax-merge", "merge"),
            self.user(args),
            word(&self.program),
            word(&self.part()),
            self.shards - 1,
            self.ending(),
            word(&self.whole()),
        )
    }

    /// How a script begins. What is said goes to the end of its log, also after it was requeued.
    fn head(&self, what: &str, name: &str, log: &str) -> String {
        format!(
            "#!/bin/bash\n# deltamax submit: {what}.\n#SBATCH --job-name={name}\n#SBATCH --requeue\n\
            #SBATCH --open-mode=append\n#SBATCH --output='{}/log/{log}.txt'\n",
            self.out.display()
        )
    }

    /// The user's options, which come last and so count, and the folder that the command means.
    fn user(&self, args: &SubmitArgs) -> String {
        let options: String = args.sbatch.iter().map(|option| format!("#SBATCH {option}\n")).collect();
        format!("{options}cd {} || exit\n", word(&self.from))
    }
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

/// Submits a script; the number of its job.
fn sbatch(script: &Path, options: &[String]) -> Result<u64> {
    let done = Command::new("sbatch").arg("--parsable").args(options).arg(script).output();
    let output = done.map_err(|e| {
        Error::failed(format!("sbatch cannot be started ({e}); run this where Slurm's commands are, or leave out --go"))
    })?;
    let said = String::from_utf8_lossy(&output.stdout);
    let number = said.trim().split(';').next().and_then(|job| job.parse().ok());
    match number.filter(|_| output.status.success()) {
        Some(number) => Ok(number),
        None => {
            let why = String::from_utf8_lossy(&output.stderr);
            bail!(Error::failed(format!("sbatch {}: {}", script.display(), why.trim().replace('\n', "; "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(command: &str) -> SubmitArgs {
        SubmitArgs {
            engine: Engine::Slurm,
            shards: 12,
            out: "my run".into(),
            gpus: 1,
            sbatch: vec!["--time=10".into()],
            go: false,
            force: false,
            command: command.split('|').map(Into::into).collect(),
            output: SayArgs { quiet: true, json: false },
        }
    }

    fn run(args: &SubmitArgs) -> Run {
        let [program, from] = ["/opt/deltamax", "/home/me/it's"].map(PathBuf::from);
        Run { program, from, out: "/data/my run".into(), ..Run::new(args).unwrap() }
    }

    #[test]
    fn scripts_are_quoted() {
        let certify = args("certify|--model|a b.onnx|--data|$HOME");
        assert_eq!(
            run(&certify).array(&certify),
            "#!/bin/bash
# deltamax submit: 12 tasks.
#SBATCH --job-name=deltamax
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output='/data/my run/log/%a.txt'
#SBATCH --array=0-11
#SBATCH --gres=gpu:1
#SBATCH --time=10
cd '/home/me/it'\\''s' || exit
# N is written out: a task that is submitted again alone would count itself as the whole array.
exec /opt/deltamax certify --model 'a b.onnx' --data '$HOME' --shard \"$SLURM_ARRAY_TASK_ID/12\" --out '/data/my run/part'\"$SLURM_ARRAY_TASK_ID\" --resume
"
        );
        let merge = run(&certify).merge(&certify);
        assert!(merge.ends_with("\nexec /opt/deltamax merge '/data/my run/part'{0..11} --out '/data/my run/whole'\n"));
        let verify = args("verify|--timeout|5|--batch|the list.csv");
        let [array, merge] = [run(&verify).array(&verify), run(&verify).merge(&verify)];
        assert!(array.contains("--out '/data/my run/part'\"$SLURM_ARRAY_TASK_ID\".csv --resume\n"), "{array}");
        let joined = "merge '/data/my run/part'{0..11}.csv --batch 'the list.csv' --out '/data/my run/whole.csv'\n";
        assert!(merge.ends_with(joined), "{merge}");
        let sweep = SubmitArgs { gpus: 0, ..args("sweep") };
        let array = run(&sweep).array(&sweep);
        assert!(!array.contains("gres") && !array.contains("--resume"), "{array}");
    }
}
