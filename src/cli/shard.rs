//! What `--shard` takes.

use crate::shard::Shard;

/// Help of the flag.
pub const HELP: &str = "Only part i of N, i from 0; auto/N takes i from the array task of Slurm or the completion index of \
Kubernetes that runs this, auto also N from Slurm";

/// Reads `i/N`, `auto/N` or `auto`.
pub fn parse(text: &str) -> Result<Shard, String> {
    named(text, |name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn named(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Shard, String> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let expected = || "expected i/N with i from 0 to N-1, auto/N or auto".to_string();
    let (index, of) = match text.split_once('/') {
        Some(("auto", of)) => (task(&variable)?, number(of).ok_or_else(expected)?),
        Some((index, of)) => (number(index).ok_or_else(expected)?, number(of).ok_or_else(expected)?),
        None if text == "auto" => (task(&variable)?, array(&variable)?),
        None => return Err(expected()),
    };
    let shard = Shard { index, of };
    match shard.exists() {
        true => Ok(shard),
        false if text.starts_with("auto") => {
            Err(format!("this is task {index}; of {of} parts the last is {}", of.max(1) - 1))
        }
        false => Err(expected()),
    }
}

/// Which task of its array this process is.
fn task(variable: &impl Fn(&str) -> Option<String>) -> Result<usize, String> {
    let names = ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"];
    let [slurm, kubernetes] = names.map(variable);
    let (name, value) = match (slurm, kubernetes) {
        (Some(_), Some(_)) => return Err(format!("both {} and {} are set; give i/N", names[0], names[1])),
        (Some(value), None) => (names[0], value),
        (None, Some(value)) => (names[1], value),
        (None, None) => return Err(format!("neither {} nor {} is set; give i/N", names[0], names[1])),
    };
    value.parse().map_err(|_| format!("{name} is '{value}', no number; give i/N"))
}

/// How many tasks Slurm's array has. A task that is submitted again alone is an array of its own, which would make it the
/// whole: only an array that counts from 0 and has several tasks says how many parts there are.
fn array(variable: &impl Fn(&str) -> Option<String>) -> Result<usize, String> {
    let names = ["SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT"];
    let [Some(0), Some(last), Some(count)] = names.map(|name| variable(name).and_then(|v| v.parse::<usize>().ok()))
    else {
        return Err("how many parts there are is not known here; give auto/N".into());
    };
    if count < 2 || last + 1 != count {
        return Err(format!(
            "an array of {count} tasks up to {last} does not say how many parts there are; give auto/N"
        ));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_from_the_flag_or_the_scheduler() {
        let slurm = |id: &str, min: &str, max: &str, count: &str| {
            [("TASK_ID", id), ("TASK_MIN", min), ("TASK_MAX", max), ("TASK_COUNT", count)]
                .map(|(name, value)| (format!("SLURM_ARRAY_{name}"), value.to_string()))
                .to_vec()
        };
        let kubernetes = vec![("JOB_COMPLETION_INDEX".to_string(), "2".to_string())];
        let both = [slurm("1", "0", "3", "4"), kubernetes.clone()].concat();
        let read = |text: &str, set: &[(String, String)]| {
            named(text, |name| set.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())).map(|s| [s.index, s.of])
        };
        assert_eq!(read("1/3", &both), Ok([1, 3]));
        assert_eq!(read("auto", &slurm("3", "0", "3", "4")), Ok([3, 4]));
        // Task 3 of the array 0-3, submitted again alone.
        assert_eq!(read("auto/4", &slurm("3", "3", "3", "1")), Ok([3, 4]));
        assert_eq!(read("auto/3", &kubernetes), Ok([2, 3]));
        for (text, set, hint) in [
            ("auto", slurm("3", "3", "3", "1"), "auto/N"),
            ("auto", slurm("0", "0", "0", "1"), "auto/N"),
            ("auto", slurm("4", "0", "4", "3"), "auto/N"),
            ("auto", kubernetes.clone(), "auto/N"),
            ("auto/2", kubernetes, "this is task 2; of 2 parts the last is 1"),
            ("auto/4", both, "both"),
            ("auto/4", vec![], "neither"),
            ("auto/4", slurm("x", "0", "3", "4"), "'x'"),
            ("auto/x", slurm("1", "0", "3", "4"), "i/N"),
            ("3/3", vec![], "i/N"),
            ("0/0", vec![], "i/N"),
        ] {
            assert!(read(text, &set).is_err_and(|e| e.contains(hint)), "{text} {set:?}");
        }
    }
}
