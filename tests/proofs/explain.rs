//! What an explanation says of every class holds, also of more classes than it compares in pairs.

use deltamax::bounds::{Bounder, Method};
use deltamax::device::Device;
use deltamax::explain::{self, Request};
use deltamax::network::Network;
use deltamax::norm::Norm;
use deltamax::rng::Rng;

use crate::nets::{image, mlp_of, point, weights};

#[test]
fn scores_of_many_classes_stay_within_their_bounds() {
    const CLASSES: usize = 23;
    let mut rng = Rng::new(5, 0);
    let layers =
        vec![(weights(&mut rng, 12 * 8, 8), vec![0.1; 12]), (weights(&mut rng, CLASSES * 12, 12), vec![0.0; CLASSES])];
    let model = mlp_of(8, &layers);
    let net = Network::new(&Device::cpu(), &model).unwrap();
    let image = image(&model, &mut rng);
    let (shape, delta) = (model.input, 0.02);
    let request = Request {
        image: &image,
        clean: &image,
        shape,
        variance: 0.0,
        delta,
        class: None,
        proved: None,
        attacked: None,
    };
    let bounder = Bounder::new(&net, Method::Crown).unwrap();
    let level = explain::level(&bounder, &request).unwrap();
    let mut tightest = f64::INFINITY;
    for _ in 0..200 {
        let logits: Vec<f64> =
            net.scores(&[&point(&image, delta, &mut rng)]).unwrap()[0].iter().map(|x| f64::from(*x)).collect();
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        for class in 0..CLASSES {
            let (score, [low, high]) = (logits[class].exp() / sum, level.score_bounds[class]);
            assert!(low <= score + 1e-6 && score <= high + 1e-6, "class {class}: {score} not in {low} to {high}");
            tightest = tightest.min(high - low);
        }
        for m in &level.margins {
            let margin = logits[level.predicted] - logits[m.rival];
            assert!(m.lower <= margin + 1e-5, "rival {}: {margin} below {}", m.rival, m.lower);
        }
    }
    assert!(tightest < 0.1, "bounds that say nothing: {tightest}");
    // In a ball of that length, which the box holds, no less is proved.
    let length = explain::level(&bounder.for_norm(Norm::L2), &request).unwrap();
    for (l, m) in length.margins.iter().zip(&level.margins) {
        assert!((l.rival, &l.method) == (m.rival, &m.method) && l.lower >= m.lower - 1e-5, "{l:?} below {m:?}");
    }
    assert!(length.margins.iter().zip(&level.margins).any(|(l, m)| l.lower > m.lower + 1e-3), "the box again");
    assert!(level.continuous.iter().all(|p| p.scores.len() == CLASSES && p.margins.len() == CLASSES));
}
