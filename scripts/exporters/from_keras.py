"""Keras on TensorFlow by its own export, which is tf2onnx's: functional and sequential models, weights from a seed."""

import os

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", TF_ENABLE_ONEDNN_OPTS="0")

import tempfile
from importlib.metadata import version

import keras
import numpy as np
import onnx
from keras import layers

from fixture import Fixtures

OPSET = 17


def dense():
    return keras.Sequential([
        keras.Input((6,), name="x"),
        layers.Rescaling(0.5, offset=-1),
        layers.Dense(16, activation="relu"),
        layers.BatchNormalization(),
        layers.Dropout(0.2),
        layers.Dense(3, activation="softmax"),
    ])


def cnn():
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Rescaling(1 / 2)(image)
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.SeparableConv2D(8, 3, padding="same", activation="swish")(x)
    x = layers.MaxPooling2D(2)(layers.Add()([x, y]))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Dense(4, activation="softmax")(x))


def upsampling():
    image = keras.Input((6, 6, 2), name="image")
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="leaky_relu")(image)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    x = layers.Conv2D(2, 1, activation="sigmoid")(layers.AveragePooling2D(2)(x))
    return keras.Model(image, x)


def lstm(**settings):
    series = keras.Input((8, 3), name="series")
    x = layers.LSTM(8, return_sequences=True, **settings)(series)
    x = layers.LSTM(6)(x)
    return keras.Model(series, layers.Dense(2)(x))


def bidirectional():
    series = keras.Input((8, 3), name="series")
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(series)
    return keras.Model(series, layers.TimeDistributed(layers.Dense(2))(x))


def gru(**settings):
    series = keras.Input((5, 3), name="series")
    return keras.Model(series, layers.Dense(2)(layers.GRU(6, **settings)(series)))


def text():
    """Tokens of any length: an embedding, convolutions over time, the largest of each."""
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 8)(tokens)
    x = layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(tokens, layers.Dense(1, activation="sigmoid")(x))


def attention():
    x = keras.Input((6, 8), name="x")
    y = layers.MultiHeadAttention(2, 4)(x, x)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    # The exact gelu is made of Erfc, which the exporter has no ONNX for.
    y = layers.Dense(8, activation=lambda z: keras.activations.gelu(z, approximate=True))(y)
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(y)))


MODELS = {
    "dense": (dense, [(1, 6), (5, 6)]),
    "cnn": (cnn, [(1, 12, 12, 3), (3, 12, 12, 3)]),
    "upsampling": (upsampling, [(1, 6, 6, 2), (2, 6, 6, 2)]),
    "lstm": (lstm, [(1, 8, 3), (4, 8, 3)]),
    "lstm-relu": (lambda: lstm(activation="relu"), [(1, 8, 3), (4, 8, 3)]),
    "bidirectional": (bidirectional, [(1, 8, 3), (4, 8, 3)]),
    # The exporter writes a rolled GRU as a Loop, an unrolled one without.
    "gru-rolled": (gru, [(1, 5, 3), (4, 5, 3)]),
    "gru-unrolled": (lambda: gru(unroll=True), [(1, 5, 3), (4, 5, 3)]),
    "text": (text, [(1, 7), (3, 12)]),
    "attention": (attention, [(1, 6, 8), (3, 6, 8)]),
}


def main():
    packages = ("tensorflow-cpu", "keras", "tf2onnx", "onnx")
    fixtures = Fixtures("keras", {package: version(package) for package in packages})
    for name, (make, shapes) in MODELS.items():
        keras.backend.clear_session()
        keras.utils.set_random_seed(7)
        random = np.random.default_rng(7)
        model = make()
        for layer in model.layers:
            # As after training: statistics that are not 0 and 1.
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_mean.assign(random.normal(0, 0.5, layer.moving_mean.shape))
                layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
        cases = []
        for shape in shapes:
            if model.inputs[0].dtype == "int32":
                x = random.integers(0, 50, shape, dtype=np.int32)
            else:
                x = random.standard_normal(shape, dtype=np.float32)
            cases.append(({model.inputs[0].name: x}, [model(x, training=False).numpy()]))
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/{name}.onnx"
            model.export(file, format="onnx", opset_version=OPSET, verbose=False)
            exported = onnx.load(file)
        fixtures.write(name, exported, *cases)


if __name__ == "__main__":
    main()
