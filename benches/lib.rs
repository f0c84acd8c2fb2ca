//! What the benchmarks have in common: a device, and a network that was trained on made-up shoes, as `deltamax bench` does
//! with more of both.

use std::time::Duration;

use criterion::Criterion;
use deltamax::dataset::{Dataset, shoes};
use deltamax::device::{Choice, Device};
use deltamax::error::Result;
use deltamax::network::Network;
use deltamax::progress::{Progress, Verbosity};
use deltamax::search::Subject;
use deltamax::train;

/// Ten samples in some seconds: what is measured takes milliseconds and more.
pub fn criterion() -> Criterion {
    let usual = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500));
    usual.measurement_time(Duration::from_secs(3)).configure_from_args()
}

/// The device that `DELTAMAX_DEVICE` names as `--device` does; the CPU backend if it is not set.
///
/// # Panics
/// If there is no such device.
pub fn device() -> Device {
    let name = std::env::var("DELTAMAX_DEVICE").unwrap_or_else(|_| "cpu".into());
    let choice: Choice = name.parse().unwrap_or_else(|problem| panic!("DELTAMAX_DEVICE is '{name}': {problem}"));
    Device::open(&choice).unwrap_or_else(|error| panic!("{error}"))
}

/// A small convolutional network on this device, and the images it was trained on.
///
/// # Errors
/// A fault of the device.
pub fn trained(device: &Device) -> Result<(Network, Dataset)> {
    let data = shoes::dataset(300, 16, 0);
    let settings = train::Settings { epochs: 3, ..train::Settings::default() };
    let mut quiet = Progress::start(Verbosity::Quiet, "", 0);
    let images = train::Images { train: &data, validation: None, test: &data.subset(&[]) };
    let (model, _) = train::train(device, &images, &settings, None, &mut quiet)?;
    Ok((Network::new(device, &model)?, data))
}

/// The first images, with their classes.
///
/// # Errors
/// A fault of the device.
pub fn subjects(net: &Network, data: &Dataset, count: usize) -> Result<Vec<Subject>> {
    Subject::classify(net, &(0..count).map(|i| data.image(i)).collect::<Vec<_>>())
}
