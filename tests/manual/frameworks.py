"""Makes a small network in each framework as docs/models.md says, and compares `deltamax predict` with the framework's own scores.

    python tests/manual/frameworks.py DELTAMAX [pytorch] [keras] [sklearn]

DELTAMAX is the binary. Needs numpy, and for each framework what its function imports. Prints the largest difference of the logits, relative to the
largest, and fails above 1e-5.
"""

import csv
import pathlib
import subprocess
import sys
import tempfile

import numpy


def predicted(binary, model, images, flags, folder):
    """Logits by deltamax of `images`, uint8 [n, h, w, c] or floats."""
    data, table = folder / "data.npz", folder / "scores.csv"
    numpy.savez(data, x_test=images, y_test=numpy.arange(len(images)) % 3)
    command = [binary, "predict", "--model", model, "--data", data, "--out", table, "--device", "cpu", "--force", *flags]
    print("$", *map(str, command))
    subprocess.run(command, check=True)
    with open(table, newline="") as file:
        rows = list(csv.reader(file))[1:]
    return numpy.array([[float(v) for v in row[4:]] for row in rows])


def pytorch(folder):
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU6(), torch.nn.MaxPool2d(3, 2, ceil_mode=True),
        torch.nn.Flatten(), torch.nn.Linear(8 * 16 * 16, 3),
    )
    model(torch.rand(16, 3, 32, 32))
    model.eval()
    path = folder / "net.onnx"
    torch.onnx.export(model, (torch.rand(1, 3, 32, 32),), str(path), input_names=["image"], output_names=["logits"],
                      dynamic_axes={"image": {0: "batch"}}, dynamo=False)
    images = numpy.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=numpy.uint8)
    x = (torch.tensor(images).permute(0, 3, 1, 2).double() / 255 - 0.5) / 0.25
    with torch.no_grad():
        return path, images, ["--mean", "0.5", "--std", "0.25"], model.double()(x).numpy()


def keras(folder):
    import tensorflow as tf
    import tf2onnx

    tf.keras.utils.set_random_seed(0)
    layers = tf.keras.layers
    image = tf.keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    logits = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    model = tf.keras.Model(image, layers.Softmax()(logits))
    path = folder / "net.onnx"
    tf2onnx.convert.from_keras(model, [tf.TensorSpec((None, 32, 32, 3), tf.float32, name="image")], output_path=str(path))
    images = numpy.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=numpy.uint8)
    return path, images, ["--fit", "stretch"], tf.keras.Model(image, logits).predict(images.astype("float32"), verbose=0)


def sklearn(folder):
    from skl2onnx import to_onnx
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    keep = y < 3
    x, y = x[keep].astype("float32"), y[keep]
    mlp = MLPClassifier((32,), max_iter=60, random_state=0).fit(x, y)
    path = folder / "net.onnx"
    path.write_bytes(to_onnx(mlp, x[:1], options={"zipmap": False}).SerializeToString())
    images = x[:6].reshape(6, 8, 8) / 16
    hidden = numpy.maximum(x[:6] @ mlp.coefs_[0] + mlp.intercepts_[0], 0)
    return path, images, ["--input-range", "0..16"], hidden @ mlp.coefs_[1] + mlp.intercepts_[1]


def main(binary, names):
    for make in [pytorch, keras, sklearn]:
        if names and make.__name__ not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            path, images, flags, own = make(folder)
            logits = predicted(binary, path, images, flags, folder)
            difference = numpy.abs(logits - own).max() / numpy.abs(own).max()
            print(f"{make.__name__}: logits differ by {difference:.1e}")
            if not difference < 1e-5:
                sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
