//! Networks whose values may overflow as far as products of norms tell, those whose values really do, and weights that a
//! device may flush.

use deltamax::bounds::{Ball, Bounder, Method};
use deltamax::device::Device;
use deltamax::model::{Model, reference};
use deltamax::network::Network;
use deltamax::search;

use crate::nets::{mlp, mlp_of};

/// `relu(k (a - b) + 1)` for two copies of one number, many times over: values stay near one while every layer's norm is
/// `2 k - 1`.
fn deep(depth: usize, k: f32) -> Model {
    let mut layers = vec![(vec![1.0, 1.0], vec![0.0, 0.0])];
    layers.extend((0..depth).map(|_| (vec![k, 1.0 - k, k, 1.0 - k], vec![0.0, 0.0])));
    layers.push((vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 0.5]));
    mlp_of(1, &layers)
}

fn proved(model: &Model, image: &[f32], method: Method) -> f32 {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let bounder = Bounder::new(&net, method).unwrap();
    let subjects = search::Subject::classify(&net, &[image]).unwrap();
    let mut radius = 0.0;
    let settings = search::Settings::new(&bounder);
    search::search(&bounder, &settings, subjects, |_, found| {
        radius = found.proved;
        Ok(())
    })
    .unwrap();
    radius
}

/// One number handed on, beside seven rectifiers that are shut but read with weights of eight.
fn quiet(depth: usize) -> Model {
    let mut weight = vec![0.0; 64];
    weight[0] = 1.0;
    weight[1..8].fill(8.0);
    let mut bias = vec![-1.0; 8];
    bias[0] = 0.0;
    let mut first = vec![0.0; 8];
    first[0] = 1.0;
    let mut layers = vec![(first, bias.clone())];
    layers.extend((0..depth).map(|_| (weight.clone(), bias.clone())));
    let mut last = vec![0.0; 16];
    last[0] = 1.0;
    layers.push((last, vec![0.0, 0.5]));
    mlp_of(1, &layers)
}

#[test]
fn bounds_prove_what_products_of_norms_would_refuse() {
    // 57 to the 30th is 5e52; the class is kept down to 0.5.
    let model = quiet(30);
    for method in Method::ALL {
        let radius = proved(&model, &[0.9], method);
        assert!(radius > 0.39 && radius < 0.4, "{method}: {radius}");
    }
}

#[test]
fn exploding_bounds_are_no_error() {
    // 2 to the 45th is 4e13, and so much larger do intervals become; the network itself is the identity.
    let model = deep(45, 1.5);
    for method in Method::ALL {
        let radius = proved(&model, &[0.9], method);
        assert!((0.0..0.4).contains(&radius), "{method}: {radius}");
    }
}

#[test]
fn values_that_leave_the_range_prove_nothing_and_spoil_no_other_image() {
    // Values of 1e20 from the first pixel on, squared and cubed by the next layers: beyond f32. Where the pixel is zero
    // nothing is large, and the second pixel decides.
    let k = 1e20f32;
    let layers = vec![
        (vec![k, 0.0, 0.0, 1.0], vec![0.0, 0.0]),
        (vec![k, 0.0, 0.0, 1.0], vec![0.0, 0.0]),
        (vec![0.0, 1.0, 0.0, 0.0], vec![0.0, 0.5]),
    ];
    let model = mlp_of(2, &layers);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    for method in Method::ALL {
        let bounder = Bounder::new(&net, method).unwrap();
        let balls = [[0.9, 0.9], [0.0, 0.9]];
        let balls: Vec<Ball<'_>> = balls.iter().map(|image| Ball { image, class: 0, delta: 1e-30 }).collect();
        let outcomes = bounder.probe(&balls).unwrap();
        assert!(outcomes[0].radius == 0.0 && outcomes[0].worst().0 < 0.0, "{method}: {:?}", outcomes[0]);
        assert!(outcomes[1].radius == 1e-30 && outcomes[1].worst().0 > 0.3, "{method}: {:?}", outcomes[1]);
    }
    let crown = Bounder::new(&net, Method::Crown).unwrap();
    let ball = Ball { image: &[0.9, 0.9], class: 0, delta: 0.1 };
    assert!(matches!(crown.branch_balls(&[ball], &[16]).unwrap()[0].0, deltamax::bounds::Decision::Open));
    assert!(crown.gradient_bounds(&[ball]).unwrap_err().to_string().contains("smaller --delta"));
}

#[test]
fn a_single_layer_beyond_f32_is_refused_by_name() {
    let model = mlp(2, &[(&[1.0; 4], &[0.0; 2]), (&[1e25; 4], &[0.0; 2])]);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let error = Bounder::new(&net, Method::Crown).err().unwrap().to_string();
    assert!(error.contains("'n2'") && !error.contains('\n'), "{error}");
}

#[test]
fn subnormal_weights_are_charged_as_if_they_were_zero() {
    // 1e-39 x, times 1e20 and 1e19 again: on a device that flushes, logit 0 is zero and class 1 wins; really it is x.
    let layers = vec![(vec![1e-39], vec![0.0]), (vec![1e20], vec![0.0]), (vec![1e19, 0.0], vec![0.0, 0.5])];
    let model = mlp_of(1, &layers);
    let exact = reference::forward(&model, &[0.9]).pop().unwrap();
    assert!(exact[0] > exact[1]);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    for method in Method::ALL {
        let bounder = Bounder::new(&net, method).unwrap();
        let outcome = bounder.probe(&[Ball { image: &[0.9], class: 1, delta: 0.0 }]).unwrap();
        assert!(outcome[0].worst().0 <= 0.0, "{method} proves the class that only a flushing device sees");
    }
}
