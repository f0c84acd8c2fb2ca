//! A cluster of two nodes on this machine, on ports of the loopback that happen to be free, with files in one folder.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What has to be installed: Debian's `slurm-wlm` and `munge`.
const PROGRAMS: [&str; 6] = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue"];

/// Why there can be no cluster here, if there cannot.
pub fn missing() -> Option<String> {
    let user = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root = user.lines().any(|l| l.split_whitespace().take(2).eq(["Uid:", "0"]));
    let lacking = PROGRAMS.iter().find(|name| find(name).is_none());
    match lacking {
        Some(name) => Some(format!("no {name} here; install slurm-wlm and munge")),
        None if !root => Some("Slurm's daemons run tasks for root only".into()),
        None => None,
    }
}

fn find(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|d| Path::new(d).join(name))
        .find(|p| p.is_file())
}

/// Running daemons. They end with this.
pub struct Cluster {
    at: PathBuf,
    /// Whether nodes have a GPU, which is none: a file that Slurm takes for one.
    pub gpus: bool,
}

impl Cluster {
    /// Starts the daemons with their files in `at`, and waits until both nodes are idle.
    pub fn start(at: &Path) -> Result<Cluster, String> {
        for folder in ["munge", "state", "spool/n1", "spool/n2", "log"] {
            fs::create_dir_all(at.join(folder)).map_err(|e| e.to_string())?;
        }
        let allow =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| e.to_string());
        // Munge wants to be sure that nobody else writes here, and that others find its socket.
        allow(at, 0o755)?;
        allow(&at.join("munge"), 0o755)?;
        let key = at.join("munge/munge.key");
        fs::write(&key, [0x5a; 128]).map_err(|e| e.to_string())?;
        allow(&key, 0o600)?;
        // Slurm takes character devices only; these have the numbers of /dev/null.
        let gpus = ["gpu1", "gpu2"].iter().all(|name| {
            let mut mknod = Command::new("mknod");
            mknod.arg(at.join(name)).args(["c", "1", "3"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
        });
        let lines = if gpus {
            [1, 2].map(|n| format!("NodeName=n{n} Name=gpu File={}/gpu{n}\n", at.display())).concat()
        } else {
            String::new()
        };
        fs::write(at.join("gres.conf"), lines).map_err(|e| e.to_string())?;
        fs::write(at.join("slurm.conf"), configuration(at, gpus)?).map_err(|e| e.to_string())?;
        let cluster = Cluster { at: at.into(), gpus };
        let munge = |name: &str| at.join("munge").join(name).display().to_string();
        let flags = [
            format!("--key-file={}", munge("munge.key")),
            format!("--socket={}", munge("munge.sock")),
            format!("--pid-file={}", munge("munged.pid")),
            format!("--log-file={}", munge("munged.log")),
            format!("--seed-file={}", munge("munged.seed")),
        ];
        cluster.call("munged", &[&["--force".into(), "--num-threads=1".into()], &flags[..]].concat())?;
        cluster.call("slurmctld", &["-c".into(), "-f".into(), cluster.configuration()])?;
        cluster.start_node(1)?;
        cluster.start_node(2)?;
        cluster.wait("both nodes to be idle", |c| {
            c.call("sinfo", &words("-h -N -o %T")).is_ok_and(|s| s == "idle\nidle\n")
        })?;
        Ok(cluster)
    }

    fn configuration(&self) -> String {
        self.at.join("slurm.conf").display().to_string()
    }

    pub fn start_node(&self, n: usize) -> Result<(), String> {
        self.call("slurmd", &["-f".into(), self.configuration(), "-N".into(), format!("n{n}")]).map(drop)
    }

    /// What is to be set for Slurm's commands.
    pub fn variable(&self) -> (&'static str, String) {
        ("SLURM_CONF", self.configuration())
    }

    /// Runs one of Slurm's commands or daemons, which put themselves in the background.
    pub fn call(&self, name: &str, arguments: &[String]) -> Result<String, String> {
        let program = find(name).ok_or_else(|| format!("no {name}"))?;
        let (variable, value) = self.variable();
        let mut command = Command::new("timeout");
        command.arg("20").arg(program).args(arguments).env(variable, value).stdin(Stdio::null());
        let output = command.output().map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{name} {}: {}{}", arguments.join(" "), text(&output.stdout), text(&output.stderr))),
        }
    }

    /// Waits for what has to come within two minutes.
    pub fn wait(&self, what: &str, mut come: impl FnMut(&Cluster) -> bool) -> Result<(), String> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(120) {
            if come(self) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        let queue = self.call("squeue", &words("-h -o %F_%K,%T,%N,%r"));
        Err(format!("waited too long for {what}; the queue: {queue:?}"))
    }

    /// Waits until no job is left.
    pub fn drain(&self) -> Result<(), String> {
        self.wait("all jobs", |c| {
            sleep(Duration::from_millis(300));
            c.call("squeue", &words("-h")).is_ok_and(|s| s.is_empty())
        })
    }

    /// Takes a node away: its daemon and the task on it end at once, and nobody reports that.
    pub fn lose(&self, n: usize, task: u32) -> Result<(), String> {
        let daemon = fs::read_to_string(self.at.join(format!("n{n}.pid"))).map_err(|e| e.to_string())?;
        let parent = fs::read_to_string(format!("/proc/{task}/stat")).map_err(|e| e.to_string())?;
        let parent = parent.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)).ok_or("no parent")?.to_string();
        let name = fs::read_to_string(format!("/proc/{parent}/cmdline")).unwrap_or_default();
        if !name.contains("slurmstepd") {
            return Err(format!("process {parent} is {name}, not what runs the task"));
        }
        for process in [daemon.trim(), &parent, &task.to_string()] {
            kill(process)?;
        }
        self.call("scontrol", &words(&format!("update NodeName=n{n} State=DOWN Reason=lost"))).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.call("scancel", &words("--user=root"));
        let _ = self.call("scontrol", &words("shutdown"));
        for file in ["n1.pid", "n2.pid", "ctld.pid", "munge/munged.pid"] {
            let file = self.at.join(file);
            // Daemons remove it as their last act.
            for _ in 0..if file.ends_with("munged.pid") { 0 } else { 50 } {
                if !file.exists() {
                    break;
                }
                sleep(Duration::from_millis(100));
            }
            if let Ok(process) = fs::read_to_string(&file) {
                let _ = kill(process.trim());
            }
        }
    }
}

pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(Into::into).collect()
}

/// Ends a process of ours without a chance to tidy up.
pub fn kill(process: &str) -> Result<(), String> {
    signal("-KILL", process)
}

/// Holds a process of ours where it is. Slurm lets it go on before it ends it.
pub fn stop(process: &str) -> Result<(), String> {
    signal("-STOP", process)
}

fn signal(name: &str, process: &str) -> Result<(), String> {
    let status = Command::new("kill").args([name, process]).stderr(Stdio::null()).status();
    if status.is_ok_and(|s| s.success()) { Ok(()) } else { Err(format!("no process {process}")) }
}

/// `slurm.conf`. Jobs may start again after five seconds instead of two minutes (`cred_expire`), daemons listen on the
/// loopback only, and tasks are watched by their processes alone.
fn configuration(at: &Path, gpus: bool) -> Result<String, String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").map_err(|e| e.to_string())?;
    let (host, at) = (host.trim(), at.display());
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let port = |i: usize| listeners[i].local_addr().map(|a| a.port()).map_err(|e| e.to_string());
    let mut text = format!(
        "ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={at}/munge/munge.sock,cred_expire=5
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={at}/state
SlurmdSpoolDir={at}/spool/%n
SlurmctldPidFile={at}/ctld.pid
SlurmdPidFile={at}/%n.pid
SlurmctldLogFile={at}/log/ctld
SlurmdLogFile={at}/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=1
PartitionName=ci Nodes=n1,n2 Default=YES MaxTime=00:30:00 State=UP
",
        port(0)?
    );
    let gres = if gpus { " Gres=gpu:1" } else { "" };
    text += if gpus { "GresTypes=gpu\n" } else { "" };
    for n in [1, 2] {
        let port = port(n)?;
        text += &format!(
            "NodeName=n{n} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 RealMemory=500{gres} State=UNKNOWN\n"
        );
    }
    Ok(text)
}
