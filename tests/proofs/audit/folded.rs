//! Networks whose files hold batch normalisation and factors: certified with these folded into weights, audited as the
//! file has them.

use super::*;
use crate::nets::weights;

/// A message of the protobuf format under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut v: u64) {
        while v > 127 {
            self.0.push(v as u8 | 128);
            v >>= 7;
        }
        self.0.push(v as u8);
    }

    fn int(mut self, tag: u64, v: i64) -> Self {
        self.varint(tag << 3);
        self.varint(v as u64);
        self
    }

    fn bytes(mut self, tag: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.varint(tag << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend(bytes.as_ref());
        self
    }
}

/// An ONNX graph, by the field numbers of the standard.
struct File(Message);

impl File {
    fn value(name: &str, dims: &[i64]) -> Message {
        let dim = |shape: Message, d: &i64| shape.bytes(1, Message::default().int(1, *d).0);
        let shape = dims.iter().fold(Message::default(), dim);
        let tensor = Message::default().int(1, 1).bytes(2, shape.0);
        Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, tensor.0).0)
    }

    fn new(input: &[i64]) -> Self {
        let output = Message::default().bytes(1, "y");
        File(Message::default().bytes(11, File::value("x", input).0).bytes(12, output.0))
    }

    fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = dims.iter().fold(Message::default(), |t, d| t.int(1, *d));
        self.0 = self.0.bytes(5, tensor.int(2, 1).bytes(8, name).bytes(9, raw).0);
        self
    }

    /// Attributes are one float or several integers.
    fn node(mut self, op: &str, inputs: &[&str], output: &str, alpha: Option<f32>, ints: &[(&str, &[i64])]) -> Self {
        let mut node = inputs.iter().fold(Message::default(), |n, i| n.bytes(1, i)).bytes(2, output).bytes(4, op);
        for (name, values) in ints {
            let attribute = values.iter().fold(Message::default().bytes(1, name), |a, v| a.int(8, *v));
            node = node.bytes(5, attribute.0);
        }
        if let Some(alpha) = alpha {
            let mut attribute = Message::default().bytes(1, "alpha");
            attribute.varint(2 << 3 | 5);
            attribute.0.extend(alpha.to_le_bytes());
            node = node.bytes(5, attribute.0);
        }
        self.0 = self.0.bytes(1, node.0);
        self
    }

    fn finish(self) -> Vec<u8> {
        Message::default().int(1, 8).bytes(7, self.0.0).bytes(8, Message::default().int(2, 17).0).0
    }
}

/// Stem, residual block, both normalised; products and sums with constants; a scaled matrix.
fn normalised(seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed, 5);
    let mut file = File::new(&[1, 1, 6, 6]);
    let mut positive = Rng::new(seed, 6);
    for layer in ["1", "2"] {
        for name in ["gamma", "beta", "mean", "var"] {
            let values: Vec<f32> = (0..3)
                .map(|_| if name == "var" { 0.3 + positive.uniform() } else { 0.5 + 0.4 * rng.normal() })
                .collect();
            file = file.floats(&format!("{name}{layer}"), &[3], &values);
        }
    }
    file = file.floats("w1", &[3, 1, 3, 3], &weights(&mut rng, 27, 9)).floats("b1", &[3], &weights(&mut rng, 3, 20));
    file = file.floats("w2", &[3, 3, 3, 3], &weights(&mut rng, 81, 27)).floats("c", &[3, 1, 1], &[0.3, -0.7, 1.1]);
    file = file.floats("d", &[], &[3.0]).floats("v", &[108, 3], &weights(&mut rng, 324, 108));
    let pads: &[(&str, &[i64])] = &[("pads", &[1, 1, 1, 1])];
    let norm = |k: &str, input: &str| -> Vec<String> {
        std::iter::once(input.to_string()).chain(["gamma", "beta", "mean", "var"].map(|n| format!("{n}{k}"))).collect()
    };
    let [first, second] = [norm("1", "a"), norm("2", "e")];
    fn names(v: &[String]) -> Vec<&str> {
        v.iter().map(String::as_str).collect()
    }
    file = file.node("Conv", &["x", "w1", "b1"], "a", None, pads);
    file = file.node("BatchNormalization", &names(&first), "n1", None, &[]).node("Relu", &["n1"], "r1", None, &[]);
    file = file.node("Conv", &["r1", "w2"], "e", None, pads);
    file = file.node("BatchNormalization", &names(&second), "n2", None, &[]);
    file = file.node("Mul", &["n2", "c"], "m", None, &[]).node("Add", &["m", "r1"], "s", None, &[]);
    file = file.node("Relu", &["s"], "r2", None, &[]).node("Div", &["r2", "d"], "q", None, &[]);
    file = file.node("Flatten", &["q"], "f", None, &[]);
    file.node("Gemm", &["f", "v"], "y", Some(1.7), &[]).finish()
}

fn audited(claims: &[Claim], forms: (&Model, &Model), images: &[Vec<f32>]) -> audit::Report {
    let (certified, file) = forms;
    let carried = audit::Forms::new(certified, file).unwrap();
    let carry = |c: &Claim| Claim { certificate: c.certificate.clone().map(|c| carried.carry(c)), ..c.clone() };
    let claims: Vec<Claim> = claims.iter().map(carry).collect();
    audit::folder(claims, file, deltamax::norm::Norm::Linf, |i, _| Ok(images[i].clone()), 0.0, Sample::All, || {})
        .unwrap()
}

#[test]
fn folded_networks_are_audited_as_their_files_have_them() {
    let mut checked = 0;
    for seed in 1..4 {
        let bytes = normalised(seed);
        let folded = onnx::decode(&bytes, None).unwrap().model;
        let file = onnx::decode_unfolded(&bytes, None).unwrap();
        assert!(folded.nodes.len() + 3 <= file.nodes.len() && !folded.folded.is_empty());
        let images = images(&folded, 12, 6);
        for method in Method::ALL {
            let claims = proved(&folded, &images, method);
            let report = audited(&claims, (&folded, &file), &images);
            assert!(report.failures.is_empty(), "{method}: {:?}", report.failures);
            checked += report.checked;
        }
        // Domains, by the same indices.
        let net = Network::new(&Device::cpu(), &folded).unwrap();
        let bounder = Bounder::new(&net, Method::Crown).unwrap();
        for mut claim in
            proved(&folded, &images, Method::Crown).into_iter().filter(|c| c.radius > 0.0 && c.radius < 0.8)
        {
            let delta = 1.1 * claim.radius as f32;
            let ball = Ball { image: &images[claim.index], class: claim.class, delta };
            let Some(found) = bounder.branch_proof(&ball, 100, Depth::NONE).unwrap() else { continue };
            claim.radius = found.radius.into();
            claim.certificate =
                Some(serde_json::from_str(&serde_json::to_string(&found.certificate).unwrap()).unwrap());
            let report = audited(&[claim], (&folded, &file), &images);
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn a_wrong_fold_is_refused() {
    let (mut wrong, mut right) = (0, 0);
    for seed in 0..4 {
        let mut rng = Rng::new(seed, 5);
        // Linear, so that radii are as large as they may be.
        let g = File::new(&[1, 1, 3, 3]).floats("w", &[2, 1, 2, 2], &weights(&mut rng, 8, 4));
        let g =
            g.floats("gamma", &[2], &[0.7, 1.3]).floats("beta", &[2], &[0.1, -0.2]).floats("mean", &[2], &[0.2, 0.1]);
        let g = g.floats("var", &[2], &[0.6, 1.9]).floats("v", &[8, 2], &weights(&mut rng, 16, 8));
        let g = g.node("Conv", &["x", "w"], "a", None, &[]);
        let g = g.node("BatchNormalization", &["a", "gamma", "beta", "mean", "var"], "n", None, &[]);
        let bytes = g.node("Flatten", &["n"], "f", None, &[]).node("MatMul", &["f", "v"], "y", None, &[]).finish();
        let folded = onnx::decode(&bytes, None).unwrap().model;
        let file = onnx::decode_unfolded(&bytes, None).unwrap();
        let images = images(&folded, 16, seed);
        let honest = audited(&proved(&folded, &images, Method::Crown), (&folded, &file), &images);
        assert!(honest.failures.is_empty(), "{:?}", honest.failures);
        right += honest.checked;
        for factor in [1.0 + 1e-3, 1.0 - 1e-3] {
            let mut tampered = folded.clone();
            let Layer::Conv(conv) = &mut tampered.nodes[0].layer else { panic!("a convolution first") };
            conv.weight[..4].iter_mut().for_each(|w| *w *= factor);
            wrong += audited(&proved(&tampered, &images, Method::Crown), (&folded, &file), &images).failures.len();
        }
    }
    assert!(right > 30 && wrong > right / 2, "{wrong} of {right}");
}
