use deltamax::*;
fn main() {
    let device = device::Device::open(&std::env::args().nth(1).unwrap_or("cpu".into()).parse().unwrap()).unwrap();
    let peak = bench::peak(&device).unwrap();
    println!("{} peak {:.1}", device.describe(), peak / 1e9);
    for r in bench::kernels(&device, peak).unwrap() {
        println!("{:20} {:24} {:8.1} {:.2}", r.kernel, r.work, r.gflops, r.share);
    }
    let s = dataset::load(&dataset::Source::new("/work/shared/data/fashion-mnist")).unwrap();
    let model = model::cnn::cnn(s.test.shape, &s.test.classes, &Default::default(), 0).unwrap();
    let net = network::Network::new(&device, &model).unwrap();
    for (m, n) in [(bounds::Method::Ibp, 2000), (bounds::Method::CrownIbp, 500), (bounds::Method::Crown, 200)] {
        println!("{:?}", bench::method(&net, &s.test, m, n).unwrap());
    }
}
