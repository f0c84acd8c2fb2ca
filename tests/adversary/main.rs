//! A standing adversary: networks made to break a verifier, and everything deltamax says of them held against exact
//! arithmetic. A false proof is the worst fault this program can have, and reading alone has found some that random
//! networks with pleasant weights never showed.
//!
//! A few hundred networks are judged each time; `DELTAMAX_ADVERSARY=20000 cargo test --release --test adversary` judges as
//! many as wanted. Every network has a number; `DELTAMAX_ADVERSARY_FIRST=n DELTAMAX_ADVERSARY=1` shows number n again.

mod ask;
mod command;
mod exact;
mod file;
mod joins;
mod kinds;
mod make;
#[path = "../common/nets.rs"]
mod nets;
mod random;
mod truth;

/// Networks of every layer kind and wiring, every method, branching, attacks, `verify` and the auditor.
#[test]
fn random_networks_are_judged_truly() {
    let tally = random::run(random::wanted(240), random::network);
    let share = |part: &str, whole: &str| tally.of(part) as f64 / tally.of(whole).max(1) as f64;
    let proved = share("ordinary networks proved by crown", "ordinary networks");
    // Far from few: what says nothing is never wrong.
    assert!(tally.of("ordinary networks") < 10 || proved > 0.5, "{proved}: only so many ordinary networks are proved");
}

/// Files with operators that readers fold into others.
#[test]
fn folded_files_are_judged_truly() {
    let tally = random::run(random::wanted(240), random::file);
    let proved = tally.of("files proved by crown") as f64 / tally.of("files") as f64;
    assert!(tally.of("files") < 10 || proved > 0.1, "only {proved} of the files are proved anything about");
}

/// Affine values that are read more than once.
#[test]
fn cancelling_joins_are_judged_truly() {
    let (tally, faults) = joins::run(if random::wanted(0).is_empty() { 2 } else { 12 });
    tally.counts.iter().for_each(|(what, n)| println!("{n:8} {what}"));
    let n = faults.len();
    let shown: Vec<String> = faults.into_iter().take(4).collect();
    assert!(n == 0, "{n} graphs:\n{}", shown.join("\n"));
    let proved = tally.of("networks proved by crown") as f64 / tally.of("networks") as f64;
    assert!(proved > 0.3, "only {proved} of the networks are proved anything about");
}
