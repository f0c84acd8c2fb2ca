//! Weights in other files: where they may lie, and that they count for what a model is.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::{fingerprint, load};
use super::*;

/// A network whose weights are `entries` of another file.
fn outside(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut g = Graph::new(&[1, 2]).floats("w", &[2, 2], &[]).node("MatMul", &["x", "w"], "y", &[]);
    let entry = |(k, v): &(&str, &str)| proto::Entry { key: k.to_string(), value: v.to_string() };
    g.0.initializer[0].raw_data = None;
    g.0.initializer[0].data_location = Some(1);
    g.0.initializer[0].external_data = entries.iter().map(entry).collect();
    g.bytes()
}

fn weights(values: [f32; 4]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn sha(parts: &[&[u8]]) -> String {
    Sha256::digest(parts.concat()).iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn external_data_stays_in_the_folder_and_is_as_long_as_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("model");
    std::fs::create_dir_all(inner.join("sub")).unwrap();
    std::fs::write(inner.join("w.bin"), [&[0; 4][..], &weights([1.0, 2.0, 3.0, 4.0])].concat()).unwrap();
    std::fs::write(dir.path().join("secret.bin"), [0; 64]).unwrap();
    std::fs::copy(inner.join("w.bin"), inner.join("sub/v.bin")).unwrap();
    let at = |entries: &[(&str, &str)]| {
        let path = inner.join("m.onnx");
        std::fs::write(&path, outside(entries)).unwrap();
        let (model, identity) = (load(&path).map(|l| l.model), fingerprint(&path));
        assert_eq!(model.is_ok(), identity.is_ok());
        model.map_err(|e| e.to_string())
    };
    for location in ["w.bin", "./w.bin", "sub/v.bin"] {
        let model = at(&[("location", location), ("offset", "4"), ("length", "16")]).unwrap();
        assert_eq!(out(&model, &[1.0, 10.0]), [31.0, 42.0]);
    }
    let absolute = inner.join("w.bin").to_string_lossy().into_owned();
    for (location, offset, length, problem) in [
        ("../secret.bin", "0", "16", "outside the model's folder"),
        ("sub/../../secret.bin", "0", "16", "outside the model's folder"),
        (absolute.as_str(), "0", "16", "outside the model's folder"),
        ("w.bin", "5", "16", "too short"),
        ("w.bin", "18446744073709551615", "16", "too short"),
        ("w.bin", "-1", "16", "offset '-1'"),
        ("w.bin", "0", "18446744073709551615", "its shape needs 16"),
        ("none", "0", "16", "cannot be read"),
        ("sub", "0", "16", "not a file"),
    ] {
        let error = at(&[("location", location), ("offset", offset), ("length", length)]).unwrap_err();
        assert!(error.contains(problem) && error.contains("m.onnx") && !error.contains('\n'), "{error}");
    }
    assert!(at(&[("offset", "0")]).unwrap_err().contains("without a location"));
    assert!(decode(&outside(&[("location", "w.bin")]), None).is_err());
}

#[test]
fn claims_beyond_the_file_reserve_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    std::fs::write(dir.path().join("w.bin"), [0; 16]).unwrap();
    let mut g = Graph::new(&[1, 2]).node("MatMul", &["x", "w"], "y", &[]);
    let location = proto::Entry { key: "location".into(), value: "w.bin".into() };
    g.0.initializer.push(proto::Tensor {
        data_location: Some(1),
        external_data: vec![location],
        raw_data: None,
        ..tensor("w", &[1 << 15, 1 << 15], data_type::DOUBLE, vec![])
    });
    std::fs::write(&path, g.bytes()).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("too short"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_within_the_folder_only() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("model");
    std::fs::create_dir(&inner).unwrap();
    let place = |name: &Path| std::fs::write(name, weights([1.0, 0.0, 0.0, 1.0])).unwrap();
    place(&dir.path().join("secret.bin"));
    place(&inner.join("w.bin"));
    std::os::unix::fs::symlink("../secret.bin", inner.join("out.bin")).unwrap();
    std::os::unix::fs::symlink("..", inner.join("up")).unwrap();
    std::os::unix::fs::symlink("w.bin", inner.join("in.bin")).unwrap();
    std::os::unix::fs::symlink("loop.bin", inner.join("loop.bin")).unwrap();
    let path = inner.join("m.onnx");
    for (location, problem) in [
        ("in.bin", ""),
        ("out.bin", "outside the model's folder"),
        ("up/secret.bin", "outside the model's folder"),
        ("loop.bin", "cannot be read"),
    ] {
        std::fs::write(&path, outside(&[("location", location)])).unwrap();
        let error = load(&path).map(|_| ()).map_err(|e| e.to_string());
        assert!(error.as_ref().err().map_or("", |e| e).contains(problem) && error.is_ok() == problem.is_empty());
    }
}

#[test]
fn the_identity_of_a_model_covers_its_other_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let whole = encode(&sample()).unwrap();
    assert_eq!(fingerprint(at("whole.onnx", &whole)).unwrap(), sha(&[&whole]));
    let file = outside(&[("location", "w.bin"), ("offset", "2")]);
    let path = at("m.onnx", &file);
    let mut seen = vec![];
    for values in [[1.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 0.0, 1.0]] {
        at("w.bin", &[&[7, 7], &weights(values)[..], &[9]].concat());
        seen.push(fingerprint(&path).unwrap());
        assert_eq!(seen[seen.len() - 1], sha(&[&file, &weights(values)]));
    }
    assert_ne!(seen[0], seen[1]);
    // What no tensor reads does not count.
    at("w.bin", &[&[0, 0], &weights([-1.0, 0.0, 0.0, 1.0])[..], &[0]].concat());
    assert_eq!(fingerprint(&path).unwrap(), seen[1]);
    // Constants of nodes count too.
    let mut g = Graph::new(&[1, 2]).node("Constant", &[], "w", &[]).node("MatMul", &["x", "w"], "y", &[]);
    let location = proto::Entry { key: "location".into(), value: "w.bin".into() };
    let value = proto::Tensor {
        data_location: Some(1),
        external_data: vec![location, proto::Entry { key: "offset".into(), value: "2".into() }],
        raw_data: None,
        ..tensor("", &[2, 2], data_type::FLOAT, vec![])
    };
    g.0.node[0].attribute.push(proto::Attribute { name: "value".into(), t: Some(value), ..Default::default() });
    let file = g.bytes();
    assert_eq!(fingerprint(at("c.onnx", &file)).unwrap(), sha(&[&file, &weights([-1.0, 0.0, 0.0, 1.0])]));
    assert!(fingerprint(at("empty.onnx", b"")).unwrap_err().to_string().contains("not an ONNX model"));
}
