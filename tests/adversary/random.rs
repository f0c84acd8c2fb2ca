//! Random networks by number: what is wrong with number n can be seen again by asking for it alone.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rayon::prelude::*;

use deltamax::bounds::Method;
use deltamax::model::{Model, onnx, reference};

use crate::ask::{Condition, Judge, Question, Tally};
use crate::exact::Exact;
use crate::file::Chain;
use crate::make::{self, Choices, Input, Style};
use crate::truth::Truth;

/// How many networks, and the number of the first: `DELTAMAX_ADVERSARY=20000 DELTAMAX_ADVERSARY_FIRST=0`.
pub fn wanted(usual: u64) -> std::ops::Range<u64> {
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, not '{text}'")),
        Err(_) => usual,
    };
    let first = number("DELTAMAX_ADVERSARY_FIRST", 0);
    first..first + number("DELTAMAX_ADVERSARY", usual)
}

/// The words that networks of this number are made of, with simpler ones to go back to.
fn words(number: u64) -> impl ValueTree<Value = Vec<u32>> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    vec(any::<u32>(), 800).new_tree(&mut runner).expect("nothing to refuse")
}

/// How often a fault is tried on something simpler.
const SIMPLER: usize = 150;
/// Faults of one kind that are made simpler.
const SHOWN: usize = 2;

/// Judges all numbers; panics with the faults found, each kind with its simplest network.
pub fn run(numbers: std::ops::Range<u64>, judged: impl Fn(u64, &[u32]) -> (Tally, String) + Sync) -> Tally {
    let one = |number: u64| {
        let (tally, _) = judged(number, &words(number).current());
        let by = tally.faults.first().map(|f| (f.by.clone(), number));
        (tally, by.into_iter().collect::<Vec<_>>())
    };
    let merge = |a: (Tally, Vec<(String, u64)>), b: (Tally, Vec<(String, u64)>)| (a.0.merge(b.0), [a.1, b.1].concat());
    let (tally, mut faulty) = numbers.clone().into_par_iter().map(one).reduce(Default::default, merge);
    tally.counts.iter().for_each(|(what, n)| println!("{n:8} {what}"));
    faulty.sort();
    let mut report = String::new();
    for kind in faulty.chunk_by(|a, b| a.0 == b.0) {
        report += &format!(
            "{} networks: {}; numbers {:?}\n",
            kind.len(),
            kind[0].0,
            &kind.iter().map(|k| k.1).take(12).collect::<Vec<_>>()
        );
        for (by, number) in kind.iter().take(SHOWN) {
            let (fault, network) = simplest(*number, by, &judged);
            report += &format!("  number {number}: {by} {fault}\n  {network}\n");
        }
    }
    if let Ok(path) = std::env::var("DELTAMAX_ADVERSARY_REPORT") {
        std::fs::write(path, &report).expect("a place for the report");
    }
    assert!(report.is_empty(), "of the networks {numbers:?}\n{report}");
    tally
}

/// A network as simple as can be found that shows the same fault.
fn simplest(number: u64, by: &str, judged: &impl Fn(u64, &[u32]) -> (Tally, String)) -> (String, String) {
    let mut tree = words(number);
    let mut best = (String::new(), String::new());
    for _ in 0..SIMPLER {
        let (tally, network) = judged(number, &tree.current());
        let more = match tally.faults.into_iter().find(|f| f.by == by) {
            Some(fault) => {
                best = (fault.what, network);
                tree.simplify()
            }
            None => tree.complicate(),
        };
        if !more {
            break;
        }
    }
    best
}

/// A network of every layer and wiring.
pub fn network(number: u64, words: &[u32]) -> (Tally, String) {
    let mut c = Choices::new(words);
    let input = match number % 12 {
        0..8 => Input::Pixel,
        8..11 => Input::Few,
        _ => Input::Plane,
    };
    let made = make::network(&mut c, input);
    let truth = Truth::of(&made.model);
    let mut judge = Judge::new(&made.model, &truth, &made.images);
    judge.certify(&Method::ALL, true);
    if number.is_multiple_of(2) {
        let questions = questions(&mut c, &made.model, 2);
        judge.verify(&questions, Duration::from_millis(40));
    }
    let mut tally = judge.tally;
    let kind = if made.style == Style::Ordinary { "ordinary" } else { "nasty" };
    tally.count(&format!("{kind} networks"));
    if tally.of("crown proved") > 0 {
        tally.count(&format!("{kind} networks proved by crown"));
    }
    (tally, format!("{:?} {:?}", made.images, made.model))
}

/// Properties that hold by a little, or do not.
fn questions(c: &mut Choices<'_>, model: &Model, count: usize) -> Vec<Question> {
    let n = model.input.len();
    let outputs = model.outputs();
    let mut all = vec![];
    for _ in 0..count {
        let range = |c: &mut Choices<'_>| {
            let low = 2.0 * c.unit() - 1.0;
            (low, if c.chance(20) { low } else { low + c.unit() })
        };
        let ranges: Vec<(f32, f32)> = (0..n).map(|_| range(c)).collect();
        let points: Vec<Vec<f64>> = (0..=8)
            .map(|k| ranges.iter().map(|(l, u)| l + (u - l) * k as f32 / 8.0).collect::<Vec<f32>>())
            .map(|x| reference::forward(model, &x).pop().expect("outputs"))
            .collect();
        let condition = |c: &mut Choices<'_>| -> Condition {
            let mut coefficients = vec![0.0f64; outputs];
            coefficients[c.below(outputs)] = [1.0, -1.0][c.below(2)];
            let other = c.below(outputs);
            coefficients[other] += if c.chance(30) { 0.25 } else { -coefficients[other].signum() };
            let value = |y: &Vec<f64>| coefficients.iter().zip(y).map(|(c, y)| c * y).sum::<f64>();
            let least = points.iter().map(value).fold(f64::INFINITY, f64::min);
            let size = least.abs().max(1e-3);
            let off = [0.0, 1e-7, -1e-7, 1e-3, -1e-3, 0.3][c.below(6)] * size;
            let constant = (off - least).clamp(-1e30, 1e30);
            (coefficients.into_iter().map(Exact::from).collect(), Exact::from(constant as f32))
        };
        let any = (0..=c.below(2)).map(|_| (0..=c.below(2)).map(|_| condition(c)).collect()).collect();
        let method = if c.chance(30) { Method::Alpha } else { Method::Crown };
        all.push(Question { method, ranges, any });
    }
    all
}

/// The nearest f32 that is a number.
fn finite(v: f64) -> f32 {
    v.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

/// A file of one pixel whose operators a reader likes to fold.
pub fn file(number: u64, words: &[u32]) -> (Tally, String) {
    let mut c = Choices::new(words);
    let mut chain = Chain::new(&[1, 1, 1, 1]);
    let mut description = String::new();
    let width = 1 + c.below(2);
    let mut n = 1;
    let mut size = 0;
    let layers = 1 + c.below(5);
    for _ in 0..layers {
        let power = [0, 0, 0, 20, -20, 40, -40, 66, -66, -100][c.below(10)];
        let value = |c: &mut Choices<'_>| match c.below(8) {
            0..=5 => 2.4 * c.unit() - 1.2,
            6 => 1.0,
            _ => -1.0,
        };
        let power = if size + power > 70 || size + power < -140 { -power } else { power };
        let grown = |c: &mut Choices<'_>| finite(f64::from(value(c)) * 2f64.powi(power));
        match c.below(6) {
            0 | 1 => {
                let weight: Vec<f32> = (0..n * width).map(|_| grown(&mut c)).collect();
                let bias: Vec<f32> =
                    (0..width).map(|_| finite(f64::from(value(&mut c)) * 2f64.powi(size + power))).collect();
                description += &format!(" conv {weight:?} {bias:?}");
                chain.conv(&weight, &bias);
                n = width;
                size += power;
            }
            2 | 3 => {
                let roots: Vec<u64> = (0..n).map(|_| [3, 1, 2, 5, 7][c.below(5)]).collect();
                let [scale, bias, mean] = [power, size + power, size]
                    .map(|p| -> Vec<f32> { (0..n).map(|_| finite(f64::from(value(&mut c)) * 2f64.powi(p))).collect() });
                description += &format!(" normalise {scale:?} {bias:?} {mean:?} {roots:?}");
                chain.normalise(&scale, &bias, &mean, &roots);
                size += power;
            }
            4 => {
                let divisor = [3, 1, 5][c.below(3)];
                // A division by little makes values large.
                let power = if (-140..=70).contains(&(size - power)) { power } else { -power };
                description += &format!(" divide {divisor} {power}");
                chain.divide(divisor, power);
                size -= power;
            }
            _ => {
                description += " relu";
                chain.relu();
            }
        }
    }
    // Back to values near one, and to two classes of which one is near the other's value in the middle.
    let last = 2f64.powi((-size).clamp(-140, 120)) as f32;
    let mut weight = vec![0.0; 2 * n];
    weight[0] = last;
    let x = [0.5];
    let middle = {
        let mut probe = Truth { outputs: chain.scalars.clone(), ..chain.truth.clone() };
        probe.outputs.truncate(1);
        probe.at(&x)[0].times(&Exact::from(last)).near()
    };
    let bias = if middle.abs() < 1e30 { middle as f32 } else { 0.0 };
    description += &format!(" conv {weight:?} [0, {bias}]");
    chain.conv(&weight, &[0.0, bias]);
    chain.flatten();
    let mut tally = Tally::default();
    let bytes = chain.bytes();
    match (onnx::decode(&bytes, None), onnx::decode_unfolded(&bytes, None)) {
        (Ok(loaded), Ok(unfolded)) => {
            let truth = chain.truth();
            let images: Vec<Vec<f32>> = [0.0, 0.9, c.unit(), 0.4].map(|v| vec![v]).to_vec();
            let mut judge = Judge { audited: &unfolded, ..Judge::new(&loaded.model, &truth, &images) };
            judge.certify(&Method::ALL, number.is_multiple_of(4));
            tally = judge.tally;
        }
        (Err(error), _) | (_, Err(error)) => {
            let words: Vec<String> = error.to_string().split(' ').rev().take(6).map(String::from).collect();
            tally.count(&format!("file refused: {}", words.into_iter().rev().collect::<Vec<_>>().join(" ")));
        }
    }
    tally.count("files");
    if tally.of("crown proved") > 0 {
        tally.count("files proved by crown");
    }
    (tally, description)
}
