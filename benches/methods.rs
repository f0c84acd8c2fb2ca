//! The search for the radii of a few images, by every method.

use criterion::{BatchSize, Throughput, criterion_main};
use deltamax::bench::radii;
use deltamax::bounds::{Bounder, Method};

fn methods() {
    let mut c = deltamax_benches::criterion();
    let device = deltamax_benches::device();
    let (net, data) = deltamax_benches::trained(&device).expect("a network");
    let mut group = c.benchmark_group("methods");
    for (method, count) in [(Method::Ibp, 64), (Method::CrownIbp, 32), (Method::Crown, 16), (Method::Alpha, 16)] {
        let bounder = Bounder::new(&net, method).expect("weights of a sane size");
        let subjects = deltamax_benches::subjects(&net, &data, count).expect("no fault");
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(method.name(), |b| {
            b.iter_batched(|| subjects.clone(), |s| radii(&bounder, s).expect("no fault"), BatchSize::PerIteration);
        });
    }
}

criterion_main!(methods);
