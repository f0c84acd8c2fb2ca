//! The auditor accepts what the bounder proves, by every method, and rejects what was tampered with; the command line
//! from certify to audit.

mod folded;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use deltamax::audit::{self, Claim, Sample};
use deltamax::bounds::{Ball, Bounder, Depth, Method};
use deltamax::device::Device;
use deltamax::model::cnn::{Architecture, cnn};
use deltamax::model::{Layer, Model, onnx};
use deltamax::network::Network;
use deltamax::rng::Rng;
use deltamax::search::{self, Subject};
use deltamax::tensor::Shape;

use crate::nets::{Net, image};

fn classes(n: usize) -> Vec<String> {
    (0..n).map(|i| i.to_string()).collect()
}

fn strided(seed: u64) -> Model {
    let architecture = Architecture::strided(&[4, 6], 12);
    cnn(Shape::new(1, 8, 8), &classes(4), &architecture, seed).unwrap()
}

fn net(input: Shape, seed: u64) -> Net {
    Net::new(input, Rng::new(seed, 3)).with_bias((2.0f32 / 20.0).sqrt())
}

fn dense(seed: u64) -> Model {
    net(Shape::new(1, 3, 4), seed).layers(&[14, 14, 4])
}

/// Stem, residual block with a scale, average pooling, logits.
fn residual(seed: u64) -> Model {
    let mut b = net(Shape::new(2, 6, 6), seed);
    let stem = b.conv3x3(0, 3);
    let stem = b.relu(stem);
    let v = b.conv3x3(stem, 3);
    let v = b.relu(v);
    let v = b.conv3x3(v, 3);
    let v = b.same(Layer::Add, &[v, stem]);
    let n = b.shape(v).len();
    let (scale, shift) = (b.weights(n, 2), b.weights(n, 20));
    let v = b.same(Layer::Scale { scale, shift }, &[v]);
    let v = b.relu(v);
    let v = b.average_pool(v, [2, 2], [2, 2], [0, 0], false);
    b.dense(v, 3);
    b.finish()
}

/// Max pooling over windows that overlap, twice: the rectified values have many zeros in common.
fn pooled(seed: u64) -> Model {
    let mut b = net(Shape::new(1, 8, 8), seed);
    let mut v = 0;
    for _ in 0..2 {
        v = b.conv3x3(v, 4);
        v = b.relu(v);
        v = b.max_pool(v, [3, 3], [2, 2], [1, 1]);
    }
    b.dense(v, 3);
    b.finish()
}

/// A ReLU of what is never negative: of a ReLU, of a sum of ReLUs, of a maximum of ReLUs. Its inputs' lower ends are zero, but
/// not after f32 has rounded them outward.
fn rectified_twice(seed: u64, between: usize) -> Model {
    let mut b = net(Shape::new(2, 5, 5), seed);
    let first = b.conv3x3(0, 4);
    let first = b.relu(first);
    let v = b.conv3x3(first, 4);
    let v = b.relu(v);
    let v = match between {
        0 => b.relu(v),
        1 => b.same(Layer::Add, &[v, first]),
        _ => b.max_pool(v, [2, 2], [1, 1], [0, 0]),
    };
    let v = b.relu(v);
    let v = b.dense(v, 8);
    let v = b.relu(v);
    b.dense(v, 3);
    b.finish()
}

fn images(model: &Model, count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(seed, 4);
    (0..count).map(|_| image(model, &mut rng)).collect()
}

/// What the search proves about each image.
fn proved(model: &Model, images: &[Vec<f32>], method: Method) -> Vec<Claim> {
    let net = Network::new(&Device::cpu(), model).unwrap();
    let bounder = Bounder::new(&net, method).unwrap();
    let refs: Vec<&[f32]> = images.iter().map(Vec::as_slice).collect();
    let subjects = Subject::classify(&net, &refs).unwrap();
    let classes: Vec<usize> = subjects.iter().map(|s| s.class).collect();
    let (mut claims, mut balls) = (Vec::new(), vec![]);
    search::search(&bounder, &search::Settings::new(&bounder), subjects, |index, found| {
        let method = method.to_string().parse().unwrap();
        let radius = f64::from(found.proved);
        balls.push(found.ball);
        claims.push(Claim { index, variance: 0.0, class: classes[index], radius, method, certificate: None });
        Ok(())
    })
    .unwrap();
    let pools = model.nodes.iter().any(|n| matches!(n.layer, Layer::MaxPool(_)));
    if bounder.method == Method::Alpha {
        for claim in claims.iter_mut().filter(|c| c.radius > 0.0) {
            let ball = Ball { image: &images[claim.index], class: claim.class, delta: balls[claim.index] };
            let proof = bounder.proofs(&[ball]).unwrap().remove(0);
            // What alpha proves of a ball depends on the batch that the ball is in; a proof is made by itself.
            let share = f64::from(proof.radius) / claim.radius;
            assert!(share >= if pools { 0.9 } else { 0.99 }, "{share}");
            claim.radius = f64::from(proof.radius);
            // Through the file's format.
            claim.certificate =
                Some(serde_json::from_str(&serde_json::to_string(&proof.certificate).unwrap()).unwrap());
        }
    }
    claims
}

#[test]
fn the_certificates_of_alpha_prove_more_than_standard_slopes() {
    let (model, mut better) = (strided(3), 0);
    let images = images(&model, 16, 9);
    for (alpha, crown) in proved(&model, &images, Method::Alpha).iter().zip(proved(&model, &images, Method::Crown)) {
        assert!(alpha.radius >= 0.998 * crown.radius, "{} {}", alpha.radius, crown.radius);
        better += usize::from(alpha.radius > 1.005 * crown.radius);
        if alpha.radius == 0.0 {
            continue;
        }
        let ask = |slopes| audit::check(&model, &images[alpha.index], alpha.class, alpha.radius, alpha.method, slopes);
        assert!(matches!(ask(alpha.certificate.as_ref()), Ok(audit::Verdict::Proved { .. })));
        // A tampered certificate proves less.
        let mut flat = alpha.certificate.clone().unwrap();
        flat.relu.iter_mut().for_each(|s| s.lower.fill(1.0));
        flat.relu.iter_mut().for_each(|s| s.upper.fill(1.0));
        assert!(!matches!(ask(Some(&flat)), Ok(audit::Verdict::Proved { .. })) || alpha.radius >= 0.9);
    }
    assert!(better >= 4, "{better} of 16 radii grew");
}

#[test]
fn what_the_bounder_proves_is_accepted_and_half_as_much_again_is_not() {
    let (mut checked, mut refused) = (0, 0);
    for model in [strided(1), strided(2), residual(1), residual(2), pooled(1), pooled(2), pooled(3)] {
        let images = images(&model, 24, 6);
        for method in Method::ALL {
            let mut claims = proved(&model, &images, method);
            let audit = |claims: &[Claim]| {
                audit::folder(
                    claims.to_vec(),
                    &model,
                    deltamax::norm::Norm::Linf,
                    |i, _| Ok(images[i].clone()),
                    0.0,
                    Sample::All,
                    || {},
                )
                .unwrap()
            };
            let report = audit(&claims);
            assert!(report.failures.is_empty(), "{method}: {:?}", report.failures);
            checked += report.checked;
            claims.iter_mut().for_each(|c| c.radius = (1.5 * c.radius).min(1.0));
            refused += audit(&claims).failures.len();
        }
    }
    // Far beyond what the same method proves; a few images have a whole pixel range to spare.
    assert!(checked > 200 && refused > checked * 9 / 10, "{refused} of {checked}");
}

#[test]
fn domains_prove_what_branching_proves_and_no_domain_may_be_missing() {
    let (mut proved_by_domains, mut homes) = (0, 0);
    let models = [(strided(4), Method::Crown), (residual(4), Method::Alpha), (pooled(4), Method::Crown)];
    for (model, method) in models.into_iter().chain((0..6).map(|seed| (dense(seed), Method::Crown))) {
        let images = images(&model, 6, 8);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let bounder = Bounder::new(&net, method).unwrap();
        for claim in proved(&model, &images, method).iter().filter(|c| c.radius > 0.0 && c.radius < 0.8) {
            let (image, delta) = (&images[claim.index], 1.1 * claim.radius as f32);
            let ball = Ball { image, class: claim.class, delta };
            let Some(found) = bounder.branch_proof(&ball, 200, Depth::NONE).unwrap() else { continue };
            let decided = bounder.branch_balls(&[ball], &[200]).unwrap().remove(0).0;
            assert_eq!(decided, deltamax::bounds::Decision::Proved);
            assert!(found.radius > 0.99 * delta, "{} of {delta}", found.radius);
            let certificate: audit::Certificate =
                serde_json::from_str(&serde_json::to_string(&found.certificate).unwrap()).unwrap();
            let ask = |certificate: &audit::Certificate, radius: f32| {
                audit::check(&model, image, claim.class, radius.into(), claim.method, Some(certificate))
            };
            let accepted = |verdict| matches!(verdict, Ok(audit::Verdict::Proved { .. }));
            assert!(accepted(ask(&certificate, found.radius)));
            assert!(!accepted(ask(&certificate, 2.0 * found.radius)));
            homes += certificate.branches.as_ref().unwrap().homes.len();
            let leaves = &certificate.branches.as_ref().unwrap().leaves;
            proved_by_domains += usize::from(leaves.len() > model.outputs() - 1);
            for k in 0..leaves.len() {
                let mut less = certificate.clone();
                less.branches.as_mut().unwrap().leaves.remove(k);
                assert!(ask(&less, found.radius).unwrap_err().to_string().contains("do not cover"));
            }
        }
    }
    assert!(proved_by_domains >= 8 && homes > 8, "{proved_by_domains} balls were halved, {homes} neurons bounded anew");
}

#[test]
fn ends_of_neurons_that_were_halved_are_proved_again_and_no_part_may_be_missing() {
    let (mut halved, mut farther) = (0, 0);
    for seed in 0..20 {
        let model = dense(seed);
        let images = images(&model, 6, 8);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        let bounder = Bounder::new(&net, Method::Crown).unwrap();
        for claim in proved(&model, &images, Method::Crown).iter().filter(|c| c.radius > 0.0 && c.radius < 0.7) {
            let ball = Ball { image: &images[claim.index], class: claim.class, delta: 1.4 * claim.radius as f32 };
            let depth = Depth { domains: 24, until: None };
            let plain = bounder.branch_proof(&ball, 9, Depth::NONE).unwrap();
            let Some(found) = bounder.branch_proof(&ball, 9, depth).unwrap() else { continue };
            farther += usize::from(plain.is_none());
            let text = serde_json::to_string(&found.certificate).unwrap();
            let certificate: audit::Certificate = serde_json::from_str(&text).unwrap();
            let ask = |certificate: &audit::Certificate, radius: f32| {
                audit::check(&model, ball.image, claim.class, radius.into(), claim.method, Some(certificate))
            };
            assert!(matches!(ask(&certificate, found.radius), Ok(audit::Verdict::Proved { .. })), "seed {seed}");
            assert!(!matches!(ask(&certificate, 2.0 * found.radius), Ok(audit::Verdict::Proved { .. })));
            for (at, neurons) in certificate.halved.iter().enumerate() {
                for (which, end) in neurons.ends.iter().enumerate().filter(|(_, end)| end.parts.len() > 1) {
                    halved += 1;
                    let mut less = certificate.clone();
                    less.halved[at].ends[which].parts.remove(end.parts.len() / 2);
                    let refused = ask(&less, found.radius).unwrap_err().to_string();
                    assert!(refused.contains("do not cover"), "{refused}");
                    let mut odd = certificate.clone();
                    odd.halved[at].ends[which].parts[0].assumed[0].node = neurons.node + 1;
                    assert!(ask(&odd, found.radius).is_err(), "a part speaks of what is above it");
                }
            }
        }
    }
    assert!(halved > 40 && farther > 1, "{halved} ends were halved, {farther} balls proved by that alone");
}

#[test]
fn slopes_of_neurons_that_only_the_auditor_finds_stable_are_tried() {
    let mut halved = 0;
    for (seed, between) in (0..4).flat_map(|seed| (0..3).map(move |between| (seed, between))) {
        let model = rectified_twice(seed, between);
        let images = images(&model, 4, 40 + seed);
        let net = Network::new(&Device::cpu(), &model).unwrap();
        for method in [Method::Crown, Method::Alpha] {
            let bounder = Bounder::new(&net, method).unwrap();
            for claim in proved(&model, &images, method).iter().filter(|c| c.radius > 0.0 && c.radius < 0.8) {
                let image = &images[claim.index];
                let ask = |certificate: Option<&audit::Certificate>, radius: f64| {
                    audit::check(&model, image, claim.class, radius, claim.method, certificate).unwrap()
                };
                let verdict = ask(claim.certificate.as_ref(), claim.radius);
                assert!(matches!(verdict, audit::Verdict::Proved { .. }), "{seed} {between} {method}: {verdict:?}");
                for grown in [1.06, 1.12, 1.25] {
                    let ball = Ball { image, class: claim.class, delta: grown * claim.radius as f32 };
                    let Some(found) = bounder.branch_proof(&ball, 300, Depth::NONE).unwrap() else { break };
                    let text = serde_json::to_string(&found.certificate).unwrap();
                    let certificate: audit::Certificate = serde_json::from_str(&text).unwrap();
                    let verdict = ask(Some(&certificate), f64::from(found.radius));
                    assert!(matches!(verdict, audit::Verdict::Proved { .. }), "{seed} {between} {method}: {verdict:?}");
                    halved += 1;
                }
            }
        }
    }
    assert!(halved > 40, "{halved} balls were halved");
}

pub fn idx(path: &Path, dims: &[usize], bytes: &[u8]) {
    let mut file = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|&d| file.extend((d as u32).to_be_bytes()));
    file.extend(bytes);
    fs::write(path, file).unwrap();
}

pub fn deltamax(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_deltamax")).args(args).output().unwrap()
}

pub fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

#[test]
fn from_certify_to_audit() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut rng = Rng::new(9, 9);
    let mut bytes = |n: usize, below: usize| (0..n).map(|_| rng.below(below) as u8).collect::<Vec<u8>>();
    fs::create_dir(at("data")).unwrap();
    idx(&at("data/t10k-images-idx3-ubyte"), &[30, 8, 8], &bytes(30 * 64, 256));
    let labels: Vec<u8> = (0..30).map(|i| i % 5).collect();
    idx(&at("data/t10k-labels-idx1-ubyte"), &[30], &labels);
    onnx::write(&strided(5), at("model.onnx")).unwrap();
    let (model, data, out) = (at("model.onnx"), at("data"), at("out"));
    let arguments = ["certify", "--model", path(&model), "--data", path(&data), "--out", path(&out)];
    let more = ["--classes", "4,1,2,0", "--limit", "12", "--variance", "0,0.01", "--device", "cpu", "--no-attack"];
    let done = deltamax(&[&arguments[..], &more].concat());
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let audit = |more: &[&str]| {
        let done = deltamax(&[&["audit", path(&out)], more].concat());
        let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        (done.status.code(), text)
    };
    let (code, text) = audit(&[]);
    assert!(code == Some(0) && text.contains("of 24 rows: all proofs hold"), "{text}");
    let (code, text) = audit(&["--sample", "5", "--json", "--quiet"]);
    assert!(code == Some(0) && text.contains("\"checked\":5,\"accepted\":5"), "{text}");
    assert_eq!(audit(&["--sample", "0"]).0, Some(2));

    // An enlarged radius.
    let table = out.join("delta_max.csv");
    let honest = fs::read_to_string(&table).unwrap();
    let mut lines: Vec<String> = honest.lines().map(String::from).collect();
    let row = lines.iter().skip(1).position(|l| l.split(',').nth(5) != Some("0")).unwrap() + 1;
    let mut fields: Vec<String> = lines[row].split(',').map(String::from).collect();
    fields[5] = (1.5 * fields[5].parse::<f64>().unwrap()).to_string();
    let image = fields[0].clone();
    lines[row] = fields.join(",");
    fs::write(&table, lines.join("\n") + "\n").unwrap();
    let (code, text) = audit(&[]);
    assert!(code == Some(1) && text.contains(&format!("image {image} at variance 0: radius")), "{text}");
    fs::write(&table, &honest).unwrap();

    // A slope out of range in a certificate.
    fs::create_dir(out.join("certificates")).unwrap();
    let certificate = out.join(format!("certificates/{image}_0.json"));
    let slopes = |first: &str| {
        let mut list = ["0.5"; 12];
        list[0] = first;
        let list = list.join(",");
        format!("{{\"relu\":[{{\"node\":5,\"lower\":[{list}],\"upper\":[{list}]}}]}}")
    };
    fs::write(&certificate, slopes("1.25")).unwrap();
    let (code, text) = audit(&[]);
    assert!(code == Some(1) && text.contains("neuron 0 of") && text.contains("1.25"), "{text}");
    fs::remove_file(&certificate).unwrap();

    // Rows of neurons that end early, by choice, are walked by the auditor as they were.
    let near = at("near");
    let certify = |more: &[&str]| {
        let usual = ["certify", "--model", path(&model), "--data", path(&data), "--classes", "4,1,2,0", "--limit", "5"];
        let done = deltamax(&[&usual[..], &["--device", "cpu", "--no-attack", "--out", path(&near)], more].concat());
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, said) = certify(&["--depth", "1"]);
    assert!(code == Some(0), "{said}");
    assert!(fs::read_to_string(near.join("manifest.json")).unwrap().contains("\"depth\": 1,"));
    let done = deltamax(&["audit", path(&near)]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let (code, said) = certify(&["--depth", "2", "--resume"]);
    assert!(code == Some(1) && said.contains("another --depth (1, not 2)"), "{said}");
    let (code, said) = certify(&["--depth", "2", "--method", "ibp"]);
    assert!(code == Some(2) && said.contains("--method crown"), "{said}");

    // Another network, other data.
    onnx::write(&strided(6), at("other.onnx")).unwrap();
    let (code, text) = audit(&["--model", path(&at("other.onnx"))]);
    assert!(code == Some(1) && text.contains("other.onnx") && text.contains("not the model"), "{text}");
    let mut file = fs::read(at("data/t10k-images-idx3-ubyte")).unwrap();
    file[40] ^= 1;
    fs::write(at("data/t10k-images-idx3-ubyte"), file).unwrap();
    let (code, text) = audit(&[]);
    assert!(code == Some(1) && text.contains("not the data"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("deltamax: ")).count(), 1, "{text}");
}
