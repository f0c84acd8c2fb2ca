//! Every product kernel on layers of every kind, every elementwise kernel on a million words.

use criterion::{Throughput, criterion_main};
use deltamax::bench::{elementwise, products};

fn kernels() {
    let mut c = deltamax_benches::criterion();
    let device = deltamax_benches::device();
    let runs = [("products", products(&device)), ("elementwise", elementwise(&device))];
    for (name, runs) in runs {
        let mut group = c.benchmark_group(name);
        for measured in runs.expect("buffers") {
            group.throughput(match name {
                "products" => Throughput::Elements(measured.amount as u64),
                _ => Throughput::Bytes(measured.amount as u64),
            });
            group.bench_function(format!("{} {}", measured.kernel, measured.work).trim_end(), |b| {
                b.iter(|| (measured.run)().and_then(|()| device.sync()).expect("no fault"));
            });
        }
    }
}

criterion_main!(kernels);
