//! This device beside what was measured earlier: ratios of rates.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Report;
use crate::error::{Error, Result};
use crate::input;

/// A rate that falls by more than this share is worse.
const WORSE: f64 = 0.05;

/// Rates now over rates then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// The device of the earlier report.
    pub device: String,
    /// What was measured both times, with its ratio.
    pub ratios: Vec<(String, f64)>,
    /// What was measured one time only.
    pub alone: Vec<String>,
}

/// An earlier report, as `deltamax bench --json` printed it: the last line of a file.
///
/// # Errors
/// If there is none.
pub fn read(path: &Path) -> Result<Report> {
    let text = input::read(path, 1 << 26)?;
    let line = text.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).map_err(|e| {
        let remedy = "write one with deltamax bench --json > FILE";
        Error::input(path, format!("does not end with a report of this version's bench ({e}); {remedy}"))
    })
}

impl Report {
    /// Every rate under its name.
    fn rates(&self) -> Vec<(String, f64)> {
        let kernels = self.kernels.iter().map(|k| (format!("{} of {}", k.kernel, k.work), k.gflops));
        let streams = self.streams.iter().map(|s| (s.kernel.clone(), s.gigabytes));
        let methods = self.methods.iter().map(|m| (format!("{}, {}", m.method, m.work), m.images_per_second));
        let branch = (format!("+branch, {}", self.branch.work), self.branch.images_per_second);
        let attack = (format!("attack, {}", self.attack.work), self.attack.images_per_second);
        let peak = ("peak".into(), self.peak_gflops);
        [peak].into_iter().chain(kernels).chain(streams).chain(methods).chain([branch, attack]).collect()
    }

    /// This report beside an earlier one.
    pub fn beside(&self, earlier: &Report) -> Against {
        let (now, then) = (self.rates(), earlier.rates());
        let find = |all: &[(String, f64)], name: &str| all.iter().find(|(n, _)| n == name).map(|(_, rate)| *rate);
        let ratio = |(name, rate): &(String, f64)| Some((name.clone(), rate / find(&then, name)?));
        let alone = |all: &[(String, f64)], others: &[(String, f64)]| -> Vec<String> {
            all.iter().map(|(name, _)| name.clone()).filter(|name| find(others, name).is_none()).collect()
        };
        Against {
            device: earlier.device.clone(),
            ratios: now.iter().filter_map(ratio).collect(),
            alone: [alone(&now, &then), alone(&then, &now)].concat(),
        }
    }
}

impl Against {
    /// What has become slower.
    pub fn worse(&self) -> Vec<&(String, f64)> {
        // Also what is no number.
        self.ratios.iter().filter(|(_, ratio)| !(*ratio >= 1.0 - WORSE)).collect()
    }

    /// Refuses a device that has become slower.
    ///
    /// # Errors
    /// With the number of rates, and the one that fell most.
    pub fn check(&self, path: &Path) -> Result<()> {
        let worse = self.worse();
        let Some((name, ratio)) = worse.iter().min_by(|a, b| a.1.total_cmp(&b.1)) else { return Ok(()) };
        let (n, of, file) = (worse.len(), self.ratios.len(), path.display());
        Err(Error::failed(format!(
            "{n} of {of} rates are more than 5 % below those of {file}; {name} is at {:.0} %",
            100.0 * ratio
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{AttackRate, BranchRate, KernelRate, StreamRate};
    use crate::device::Traffic;

    fn report(kernel: f64, stream: f64) -> Report {
        let (work, traffic) = ("3 images".to_string(), Traffic::default());
        let (one, images) = (1.0, 3);
        Report {
            device: "a device".into(),
            peak_gflops: 100.0,
            kernels: vec![KernelRate {
                kernel: "conv".into(),
                work: "layer".into(),
                gflops: kernel,
                share: 0.5,
                seconds: one,
                traffic,
            }],
            streams: vec![StreamRate { kernel: "relu".into(), gigabytes: stream, seconds: one, traffic }],
            methods: vec![],
            branch: BranchRate {
                work: work.clone(),
                images_per_second: one,
                domains_per_second: one,
                domains_per_image: one,
                median_radius: one,
                megaflop_per_image: one,
                over_floor: one,
                images,
                seconds: one,
                traffic,
            },
            attack: AttackRate {
                work,
                images_per_second: one,
                broken: one,
                median_distance: one,
                megaflop_per_image: one,
                over_floor: one,
                images,
                seconds: one,
                traffic,
            },
            predicted: vec![],
            against: None,
        }
    }

    #[test]
    fn what_is_more_than_a_twentieth_slower_is_worse() {
        let against = report(48.0, 9.0).beside(&report(50.0, 10.0));
        assert_eq!((against.ratios.len(), against.worse().len()), (5, 1));
        let said = against.check(Path::new("base.json")).unwrap_err().to_string();
        assert_eq!(said, "1 of 5 rates are more than 5 % below those of base.json; relu is at 90 %");
        assert!(report(48.0, 9.6).beside(&report(50.0, 10.0)).check(Path::new("x")).is_ok());
        let mut other = report(1.0, 1.0);
        other.kernels[0].work = "another".into();
        assert_eq!(other.beside(&report(1.0, 1.0)).alone, ["conv of another", "conv of layer"]);
        assert!(report(f64::NAN, 1.0).beside(&report(1.0, 1.0)).check(Path::new("x")).is_err());
    }

    #[test]
    fn the_last_line_of_a_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("base.json");
        let line = serde_json::to_string(&report(1.0, 2.0)).unwrap();
        std::fs::write(&path, format!("something else\n{line}\n")).unwrap();
        assert_eq!(read(&path).unwrap().streams[0].gigabytes, 2.0);
        for bad in ["", "\n", "{}", "hello"] {
            std::fs::write(&path, bad).unwrap();
            assert!(read(&path).is_err_and(|e| e.to_string().contains("bench --json > FILE")), "{bad}");
        }
    }
}
