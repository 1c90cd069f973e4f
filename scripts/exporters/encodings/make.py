"""Makes tests/fixtures/encodings: one small network as a frozen TensorFlow graph and as a TensorFlow Lite file.

    python -m venv venv && venv/bin/pip install tensorflow-cpu==2.21.0
    venv/bin/python scripts/exporters/encodings/make.py

y = softmax(relu(x @ W + b) @ V + c) with numbers for W, b, V and c that the test repeats to know the answer. A layer without a bias would leave out an operand, which tract does not read.
"""

import pathlib

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

OUT = pathlib.Path(__file__).resolve().parents[3] / "tests/fixtures/encodings"

W = tf.constant([[(i * 3 + j) % 5 - 2.0 for j in range(8)] for i in range(4)])
B = tf.constant([j - 3.0 for j in range(8)])
V = tf.constant([[((i + 2 * j) % 3 - 1.0) / 8 for j in range(3)] for i in range(8)])
C = tf.constant([0.5, -0.25, 1.0])


def network(rows):
    @tf.function(input_signature=[tf.TensorSpec([rows, 4], tf.float32, name="x")])
    def f(x):
        return tf.identity(tf.nn.softmax(tf.matmul(tf.nn.relu(tf.matmul(x, W) + B), V) + C), name="y")

    return f.get_concrete_function()


# One batch fits all in TensorFlow; tract reads a TensorFlow Lite file with the shapes it was converted at.
frozen = convert_variables_to_constants_v2(network(None)).graph.as_graph_def()
(OUT / "dense.pb").write_bytes(frozen.SerializeToString(deterministic=True))
lite = tf.lite.TFLiteConverter.from_concrete_functions([network(2)]).convert()
(OUT / "dense.tflite").write_bytes(lite)

interpreter = tf.lite.Interpreter(model_content=lite)
interpreter.allocate_tensors()
x = tf.constant([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.0, 0.25]])
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x.numpy())
interpreter.invoke()
print(network(None)(x).numpy().tolist())
print(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist())
