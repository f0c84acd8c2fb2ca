//! Brackets closed by branch and bound, after crown, whose time does not count.

use criterion::{Throughput, criterion_main};
use deltamax::bench::{closing, radii};
use deltamax::bounds::{Bounder, Method};
use deltamax::close::{Bracket, close};

fn branch() {
    let mut c = deltamax_benches::criterion();
    let device = deltamax_benches::device();
    let (net, data) = deltamax_benches::trained(&device).expect("a network");
    let bounder = Bounder::new(&net, Method::Crown).expect("weights of a sane size");
    let subjects = deltamax_benches::subjects(&net, &data, 8).expect("no fault");
    let (proved, _) = radii(&bounder, subjects.clone()).expect("no fault");
    let brackets: Vec<Bracket> = proved.into_iter().map(|proved| Bracket { proved, attacked: None }).collect();
    let mut group = c.benchmark_group("branch");
    group.throughput(Throughput::Elements(subjects.len() as u64));
    group.bench_function("50 domains an image", |b| {
        b.iter(|| close(&bounder, &closing(50), &subjects, &brackets, &vec![0.0; subjects.len()]).expect("no fault"));
    });
}

criterion_main!(branch);
