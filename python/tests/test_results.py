"""What the functions return, and that it is true of the network as another program evaluates it."""

import warnings

import numpy as np
import pytest

import deltamax
from conftest import CLASSES, SHAPE, network, pictures


def unit(images):
    return images.astype(np.float32) / np.float32(255)


def same(a, b):
    assert a.proved.tolist() == b.proved.tolist() and a.attacked.tolist() == b.attacked.tolist()


def test_brackets_hold_for_the_network(model, images, logits):
    found = deltamax.certify(model, images, device="cpu")
    assert len(found) == len(images) and found.predicted.dtype == np.int64
    assert found.predicted.tolist() == logits(unit(images)).argmax(1).tolist()
    assert (found.proved > 0).all() and (found.proved < found.attacked).all()
    assert (found.rival_proved != found.predicted).all()
    assert found.label is None and found.method == ["crown"] * len(images) and (found.passes > 0).all()
    assert found.classes == ["0", "1", "2"] and "CPU" in found.device
    rng = np.random.default_rng(3)
    for x, c, radius in zip(unit(images).astype(np.float64), found.predicted, found.proved):
        points = np.clip(x + radius * rng.choice([-1, 1, 0.5], size=(64, *SHAPE)), 0, 1)
        assert (logits(points).argmax(1) == c).all()


def test_attacks_find_images_of_another_class(model, images, logits):
    found = deltamax.attack(model, images, device="cpu")
    hit = np.isfinite(found.attacked)
    assert hit.any() and found.images.shape == images.shape and found.images.dtype == np.float32
    assert (logits(found.images[hit]).argmax(1) == found.rival_attacked[hit]).all()
    moved = np.abs(found.images[hit] - unit(images)[hit].astype(np.float64)).reshape(hit.sum(), -1).max(1)
    assert (moved <= found.attacked[hit]).all() and (moved >= found.attacked[hit] - 1e-6).all()
    assert np.isnan(found.images[~hit]).all() and (found.rival_attacked[~hit] == -1).all()
    bracket = deltamax.certify(model, images, device="cpu")
    assert found.attacked.tolist() == bracket.attacked.tolist()
    assert found.rival_attacked.tolist() == bracket.rival_attacked.tolist()


def test_what_the_network_is_given(model, images, logits):
    given = {"mean": [0.5], "std": 0.25, "device": "cpu"}
    found = deltamax.certify(model, images, **given)
    expected = logits((unit(images) - np.float32(0.5)) / np.float32(0.25)).argmax(1)
    assert found.predicted.tolist() == expected.tolist()
    attacked = deltamax.attack(model, images, **given)
    assert attacked.attacked.tolist() == found.attacked.tolist() and (found.proved < found.attacked).all()
    assert deltamax.sweep(model, images, expected, variance=[0], **given).accuracy.tolist() == [1]
    assert deltamax.explain(model, images[0], **given).proved == found.proved[0]
    # As one layer more in the file.
    same(deltamax.certify(model, images, input_range=(-2, 2), device="cpu"), found)


def test_seconds_close_brackets(model, images):
    wider = deltamax.certify(model, images[:2], seconds=0.5, gap=0.05, device="cpu")
    assert (wider.proved >= deltamax.certify(model, images[:2], device="cpu").proved).all()
    assert any(method.endswith("+branch") for method in wider.method)


def test_an_image_that_nothing_breaks():
    # Of two equal logits but for a constant, which no image can overcome.
    import onnx
    from onnx import numpy_helper

    steady = onnx.load_from_string(network(classes=2))
    for tensor in steady.graph.initializer:
        if tensor.name == "w3":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((2, 12), np.float32), "w3"))
        if tensor.name == "b3":
            tensor.CopyFrom(numpy_helper.from_array(np.array([0, 1], np.float32), "b3"))
    found = deltamax.certify(steady.SerializeToString(), pictures(2), device="cpu")
    assert found.predicted.tolist() == [1, 1] and (found.proved > 0.999).all()
    assert np.isinf(found.attacked).all() and found.rival_attacked.tolist() == [-1, -1]
    hits = deltamax.attack(steady.SerializeToString(), pictures(2), device="cpu", rounds=2, steps=2)
    assert np.isinf(hits.attacked).all() and np.isnan(hits.images).all() and "0 broken" in repr(hits)


def test_choices_reach_the_library(model, images):
    crown = deltamax.certify(model, images, device="cpu")
    ibp = deltamax.certify(model, images, method="ibp", attack=False, device="cpu")
    assert (ibp.proved <= crown.proved).all() and (ibp.proved < crown.proved).any()
    assert np.isnan(ibp.attacked).all() and set(ibp.method) == {"ibp"}
    wide = deltamax.certify(model, images, branch=200, device="cpu")
    assert (wide.proved >= crown.proved).all() and set(wide.method) <= {"crown", "crown+branch"}
    lengths = deltamax.certify(model, images, norm="l2", attack=False, device="cpu")
    assert (lengths.proved > crown.proved).all()
    everywhere = deltamax.certify(model, images, runtime="any-f32", attack=False, device="cpu")
    assert (everywhere.proved < crown.proved).all() and (everywhere.proved > 0.9 * crown.proved).all()
    coarse = deltamax.certify(model, images, tolerance=0.5, attack=False, batch=2, device="cpu")
    assert (coarse.proved <= crown.proved * 1.001).all() and coarse.passes.sum() <= crown.passes.sum()


def test_a_path_and_bytes_are_one_model(model, images, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    whole = deltamax.certify(model, images, device="cpu")
    for source in (path, str(path), bytearray(model), memoryview(model)):
        same(whole, deltamax.certify(source, images, device="cpu"))


def test_strides_and_types_say_the_same(model, images):
    whole = deltamax.certify(model, images, device="cpu")
    floats = unit(images)
    packed = np.zeros(len(images), dtype=[("flag", "u1"), ("pixels", "f4", SHAPE)])
    packed["pixels"] = floats
    assert not packed["pixels"].flags.aligned
    last = np.ascontiguousarray(np.moveaxis(images, 1, -1))
    doubled = np.repeat(floats, 2, axis=3)[..., ::2]
    for form in (
        floats,
        np.asfortranarray(floats),
        floats[::-1].copy()[::-1],
        floats[..., ::-1].copy()[..., ::-1],
        floats.astype(">f4"),
        packed["pixels"],
        doubled,
        np.moveaxis(last, -1, 1),
    ):
        same(whole, deltamax.certify(model, form, device="cpu"))


def test_labels_and_tables(model, images):
    pandas = pytest.importorskip("pandas")
    labels = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
    found = deltamax.certify(model, images, labels, device="cpu")
    assert found.label.tolist() == labels.tolist() and "accuracy" in repr(found) and "6 images" in repr(found)
    table = found.to_pandas()
    assert isinstance(table, pandas.DataFrame) and len(table) == len(images)
    names = ["label", "predicted", "proved", "attacked", "rival_proved", "rival_attacked", "method", "passes"]
    assert list(table.columns) == names and table.proved.tolist() == found.proved.tolist()
    swept = deltamax.sweep(model, images, labels, variance=[0, 0.01], device="cpu")
    assert swept.to_pandas().variance.tolist() == [0, 0.01]
    broken = deltamax.attack(model, images, device="cpu")
    assert broken.to_pandas().attacked.tolist() == broken.attacked.tolist()


def test_a_sweep_counts(model, images, logits):
    labels = logits(unit(images)).argmax(1)
    labels[0] = (labels[0] + 1) % CLASSES
    found = deltamax.sweep(model, images, labels, variance=(0, 0.02), draws=4, seed=5, device="cpu")
    assert len(found) == 2 and found.accuracy[0] == pytest.approx(5 / 6) and found.draws.tolist() == [1, 4]
    assert found.confusion.shape == (2, CLASSES, CLASSES) and found.confusion.sum((1, 2)).tolist() == [6, 24]
    assert np.trace(found.confusion[1]) / 24 == pytest.approx(found.accuracy[1])
    assert (found.accuracy_low <= found.accuracy).all() and (found.accuracy <= found.accuracy_high).all()
    for c in range(CLASSES):
        assert np.isnan(found.class_rates[0, c]) == (c not in labels)
    again = deltamax.sweep(model, images, labels, variance=[0.02], draws=4, seed=5, device="cpu")
    assert again.confusion[0].tolist() == found.confusion[1].tolist()


def ball(image, delta, rival, predicted):
    """The property that some image within delta gives `rival` at least the logit of `predicted`, as VNN-LIB."""
    lines = [f"(declare-const X_{k} Real)" for k in range(image.size)]
    lines += [f"(declare-const Y_{k} Real)" for k in range(CLASSES)]
    for k, x in enumerate(image.ravel().tolist()):
        lines += [f"(assert (>= X_{k} {max(x - delta, 0):.9f}))", f"(assert (<= X_{k} {min(x + delta, 1):.9f}))"]
    return "\n".join([*lines, f"(assert (<= Y_{predicted} Y_{rival}))"])


def test_properties_are_decided(model, images, logits, tmp_path):
    bracket = deltamax.certify(model, images[:1], device="cpu")
    x, c, rival = unit(images)[0].astype(np.float64), bracket.predicted[0], bracket.rival_attacked[0]
    proved = deltamax.verify(model, ball(x, 0.9 * bracket.proved[0], rival, c), device="cpu")
    assert proved.result == "unsat" and proved.counterexample is None and proved.seconds > 0
    path = tmp_path / "broken.vnnlib"
    path.write_text(ball(x, 1.5 * bracket.attacked[0], rival, c))
    broken = deltamax.verify(model, path, device="cpu", timeout=60)
    assert broken.result == "sat" and broken.counterexample.dtype == np.float32
    found = logits(broken.counterexample.reshape(1, *SHAPE))[0]
    assert found[c] <= found[rival] and np.allclose(found, broken.output, atol=1e-4)


def test_an_image_is_explained(model, images, logits):
    found = deltamax.explain(model, images[0], delta=1 / 255, device="cpu")
    bracket = deltamax.certify(model, images[:1], device="cpu")
    assert found.predicted == bracket.predicted[0] and found.proved == pytest.approx(bracket.proved[0], rel=1e-3)
    assert found.proved < found.attacked and found.broken.shape == SHAPE and found.image.shape == SHAPE
    own = logits(found.image[None])[0]
    assert np.allclose(own, found.logits, atol=1e-5)
    assert (found.logit_bounds[:, 0] <= own).all() and (own <= found.logit_bounds[:, 1]).all()
    assert found.score_bounds.shape == (CLASSES, 2) and found.margins[found.predicted] == np.inf
    assert found.dominant == (found.margins > 0).all() == (found.proved > 1 / 255)
    assert found.curve_scores.shape == (len(found.curve_delta), CLASSES, 2)
    assert set(found.relevance) == {"gradient", "gradient_x_input", "integrated_gradients", "certified"}
    assert all(map.shape == SHAPE[1:] for map in found.relevance.values())
    assert set(np.unique(found.relevance["certified"])) <= {-1, 0, 1} and "proved" in repr(found)


def test_an_image_is_explained_by_either_norm(model, images):
    found = deltamax.explain(model, images[0], norm="l2", device="cpu")
    bracket = deltamax.certify(model, images[:1], norm="l2", device="cpu")
    assert found.proved == pytest.approx(bracket.proved[0], rel=1e-3)
    assert found.delta == pytest.approx(np.prod(SHAPE) ** 0.5 / 255)


def test_what_is_to_be_known_is_a_warning(images):
    with pytest.warns(UserWarning, match="the final Softmax is left out") as said:
        found = deltamax.certify(network(last="Softmax"), images, attack=False, device="cpu")
    assert len(found.notes) == 1 and said[0].filename == __file__
    with pytest.warns(UserWarning, match="nearly black") as said:
        deltamax.certify(network(), np.ones_like(images), attack=False, device="cpu")
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        deltamax.certify(network(), images[:1], attack=False, device="cpu")
