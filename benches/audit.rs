//! Radii proved again, in f64 rounded outward.

use criterion::{Throughput, criterion_main};
use deltamax::audit::{Claim, Sample, folder};
use deltamax::bench::radii;
use deltamax::bounds::{Bounder, Method};
use deltamax::norm::Norm;

fn audit() {
    let mut c = deltamax_benches::criterion();
    let device = deltamax_benches::device();
    let (net, data) = deltamax_benches::trained(&device).expect("a network");
    let mut group = c.benchmark_group("audit");
    for method in [Method::Ibp, Method::CrownIbp, Method::Crown] {
        let bounder = Bounder::new(&net, method).expect("weights of a sane size");
        let subjects = deltamax_benches::subjects(&net, &data, 8).expect("no fault");
        let (proved, _) = radii(&bounder, subjects.clone()).expect("no fault");
        let claim = |(index, (radius, subject)): (usize, (&f32, &deltamax::search::Subject))| Claim {
            index,
            variance: 0.0,
            class: subject.class,
            radius: f64::from(*radius),
            method: method.name().parse().expect("a method that the auditor knows"),
            certificate: None,
        };
        let claims: Vec<Claim> = proved.iter().zip(&subjects).enumerate().map(claim).collect();
        group.throughput(Throughput::Elements(claims.len() as u64));
        group.bench_function(method.name(), |b| {
            b.iter(|| {
                let image = |index: usize, _| Ok(subjects[index].image.clone());
                let report =
                    folder(claims.clone(), &net.model, Norm::Linf, image, 0.0, Sample::All, || {}).expect("images");
                assert!(report.failures.is_empty(), "{:?}", report.failures);
            });
        });
    }
}

criterion_main!(audit);
