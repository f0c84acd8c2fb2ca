//! Runs on a real Slurm of two nodes, on this machine: tasks are requeued, killed, and lost with their node, and what they
//! find together is what one process finds, to the byte. Ignored, with the reason, where Slurm is not installed.

mod cluster;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use cluster::{Cluster, kill, stop, words};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_deltamax");

/// Rows that come one at a time, for long enough that a task can be met in the middle. Brackets are closed one by one, since
/// those closed side by side share the device.
const CERTIFY: &str =
    "certify --model model.onnx --data shoes --method crown --branch 1000 --no-attack --batch 1 --device cpu";

/// Of the images made, this many are the test part of the model's split, which is what is certified.
const IMAGES: usize = 120;
const SHARDS: usize = 4;

fn main() {
    let args = Arguments::from_args();
    let missing = cluster::missing();
    let shared: Arc<Mutex<Option<World>>> = Arc::default();
    let trial = |name: &'static str, test: fn(&World) -> Result<(), String>| {
        let (missing, shared) = (missing.clone(), shared.clone());
        Trial::ignorable_test(name, move || {
            if let Some(reason) = missing {
                return Ok(Completion::ignored_with(reason));
            }
            let mut world = shared.lock().map_err(|_| "another test broke the cluster")?;
            if world.is_none() {
                *world = Some(World::new()?);
            }
            test(world.as_ref().expect("made above")).map(|()| Completion::Completed).map_err(Failed::from)
        })
    };
    let trials = vec![
        trial("requeued_and_lost_tasks_go_on", requeued_and_lost),
        trial("a_killed_task_is_submitted_again_alone", killed),
        trial("sweeps_and_lists_are_joined", others),
    ];
    let conclusion = libtest_mimic::run(&args, trials);
    // The daemons end before the process does.
    drop(shared.lock().map(|mut world| world.take()));
    conclusion.exit();
}

/// The cluster, and what is run on it.
struct World {
    cluster: Cluster,
    dir: TempDir,
}

impl World {
    fn new() -> Result<World, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        // Its own folder: the path of results has a space.
        let work = dir.path().join("my work");
        fs::create_dir(&work).map_err(|e| e.to_string())?;
        let world = World { cluster: Cluster::start(dir.path())?, dir };
        world.run(&format!("shoes --out shoes --count {} --size 16", 5 * IMAGES))?;
        world.run("train --data shoes --epochs 1 --channels 8,16 --hidden 32 --device cpu --out model.onnx")?;
        world.run(&format!("{CERTIFY} --shard 0/1 --out whole"))?;
        Ok(world)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("my work").join(name)
    }

    fn read(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(self.path(name)).map_err(|e| format!("{name}: {e}"))
    }

    /// Runs the program, which must succeed; its standard output.
    fn run(&self, line: &str) -> Result<String, String> {
        let mut command = Command::new(BINARY);
        command.current_dir(self.path("")).args(words(line)).envs([self.cluster.variable()]);
        let output = command.output().map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{line}\n{}{}", text(&output.stdout), text(&output.stderr))),
        }
    }

    /// Submits a command; the number of the array.
    fn submit(&self, out: &str, command: &str) -> Result<u64, String> {
        let gpus = usize::from(self.cluster.gpus);
        let line = format!("submit --shards {SHARDS} --gpus {gpus} --out {out} --go --json -- {command}");
        let said: Value = serde_json::from_str(&self.run(&line)?).map_err(|e| e.to_string())?;
        said["array"].as_u64().ok_or_else(|| format!("no array in {said}"))
    }

    /// Waits until a task has written some rows, and not all, and holds it there: it cannot end before what is to happen to it.
    fn meet(&self, out: &str, task: usize) -> Result<u32, String> {
        let table = self.path(&format!("{out}/part{task}/delta_max.csv"));
        self.cluster.wait(&format!("rows of task {task}"), |_| {
            fs::read_to_string(&table).is_ok_and(|text| text.lines().count() > 2)
        })?;
        let process = process(&table).ok_or_else(|| format!("task {task} was over before it could be met"))?;
        stop(&process.to_string())?;
        let rows = fs::read_to_string(&table).map_err(|e| e.to_string())?.lines().count() - 1;
        if rows >= IMAGES / SHARDS { Err(format!("task {task} had all of its rows")) } else { Ok(process) }
    }

    fn same_as_whole(&self, out: &str) -> Result<(), String> {
        for name in ["delta_max.csv", "summary.json"] {
            if self.read(&format!("whole/{name}"))? != self.read(&format!("{out}/whole/{name}"))? {
                return Err(format!("{out}: {name} is not that of the run in one piece"));
            }
        }
        Ok(())
    }
}

/// The process that has this file open.
fn process(file: &Path) -> Option<u32> {
    let has = |entry: &fs::DirEntry| {
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { return false };
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == file))
    };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    fs::read_dir("/proc").ok()?.flatten().filter(has).find_map(number)
}

fn requeued_and_lost(world: &World) -> Result<(), String> {
    let array = world.submit("run", CERTIFY)?;
    world.meet("run", 0)?;
    world.cluster.call("scontrol", &words(&format!("requeue {array}_0")))?;
    let lost = world.meet("run", 1)?;
    let at = world.cluster.call("squeue", &words(&format!("-h -j {array}_1 -o %N")))?;
    let node = at.trim().trim_start_matches('n').parse().map_err(|_| format!("task 1 runs at {at:?}"))?;
    world.cluster.lose(node, lost)?;
    world.cluster.wait("task 1 to leave the lost node", |c| {
        c.call("squeue", &words(&format!("-h -j {array}_1 -o %N"))).is_ok_and(|at| at.trim() != format!("n{node}"))
    })?;
    world.cluster.start_node(node)?;
    world.cluster.drain()?;
    world.same_as_whole("run")?;
    // Both came to their end once, in the log that they began with.
    for task in [0, 1] {
        let log = world.read(&format!("run/log/{task}.txt"))?;
        if log.matches("images in").count() != 1 {
            return Err(format!("task {task} said: {log}"));
        }
    }
    Ok(())
}

fn killed(world: &World) -> Result<(), String> {
    world.submit("again", CERTIFY)?;
    let task = world.meet("again", 1)?;
    kill(&task.to_string())?;
    world.cluster.drain()?;
    if world.path("again/whole/delta_max.csv").exists() {
        return Err("parts were joined though one of them failed".into());
    }
    // Slurm now counts one task; the part is the same.
    let array = world.path("again/array.sbatch").display().to_string();
    world.cluster.call("sbatch", &["--array=1".into(), array])?;
    world.cluster.drain()?;
    world.cluster.call("sbatch", &[world.path("again/merge.sbatch").display().to_string()])?;
    world.cluster.drain()?;
    world.same_as_whole("again")
}

fn others(world: &World) -> Result<(), String> {
    let sweep = "sweep --model model.onnx --data shoes --variance 0,0.01 --draws 2 --limit 30 --device cpu";
    world.run(&format!("{sweep} --out swept"))?;
    world.submit("sweeps", sweep)?;
    world.cluster.drain()?;
    for name in ["confusion.csv", "sweep.json"] {
        if world.read(&format!("swept/{name}"))? != world.read(&format!("sweeps/whole/{name}"))? {
            return Err(format!("{name} of the sweep is not that of the run in one piece"));
        }
    }
    let property = |threshold: &str| {
        let inputs =
            (0..16 * 16 * 3).map(|i| format!("(declare-const X_{i} Real)(assert (<= X_{i} 1))(assert (>= X_{i} 0))\n"));
        let outputs = (0..4).map(|i| format!("(declare-const Y_{i} Real)\n"));
        inputs.chain(outputs).collect::<String>() + &format!("(assert (>= Y_0 {threshold}))\n")
    };
    let mut list = String::new();
    for (k, threshold) in ["1e9", "-1e9", "2e9", "-2e9", "3e9"].into_iter().enumerate() {
        fs::write(world.path(&format!("p{k}.vnnlib")), property(threshold)).map_err(|e| e.to_string())?;
        list += &format!("model.onnx,p{k}.vnnlib,60\n");
    }
    fs::write(world.path("list.csv"), list).map_err(|e| e.to_string())?;
    world.submit("lists", "verify --batch list.csv --device cpu")?;
    world.cluster.drain()?;
    let answers = world.read("lists/whole.csv")?;
    let words: Vec<&str> = answers.lines().skip(1).filter_map(|l| l.split(',').nth(2)).collect();
    if words == ["unsat", "sat", "unsat", "sat", "unsat"] { Ok(()) } else { Err(answers) }
}
