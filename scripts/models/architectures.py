"""Writes well-known architectures as ONNX files from code alone, with seeded random weights.

The files stand in for downloaded ones wherever shape and cost matter and meaning does not: tests, benchmarks, capacity. They
hold what an exporter leaves in an inference graph (batch normalisation folded, PyTorch's operators and scopes). Needs numpy
and onnx; `--check` also onnxruntime. The digests of what it must write are in models/generated.sha256, and any other bytes
are an error.
"""

import argparse
import hashlib
import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto

from graph import Graph

MODELS = Path(__file__).resolve().parents[2] / "models"
PINNED = MODELS / "generated.sha256"

# The gain that keeps variance through a ReLU: a rectified unit normal has variance 1/2 - 1/(2 pi), which is 0.34.
AFTER_RELU = 2.93


class Weights:
    """Seeded uniform weights, the same bits on every machine and under every numpy.

    Draws come from PCG64's raw stream, which numpy promises to keep, and take integer steps and one rounded product to become
    float32: no distribution code and no library's logarithm is involved.
    """

    def __init__(self, seed):
        self._stream = np.random.PCG64(seed)

    def around(self, mean, deviation, *shape):
        """Float32 of `shape`, uniform about `mean` with standard deviation `deviation`."""
        return self._scaled(self._steps(shape), deviation) + np.float32(mean)

    def kernel(self, gain, *shape):
        """Weights [out, in, ...] that turn unit variance on their inputs into variance `gain` on their output.

        Filters over several channels sum to zero. The mean that every activation leaves on its output would otherwise drown
        the input a few layers on, and all inputs would get one answer.
        """
        steps = self._steps(shape)
        if shape[1] > 1:
            within = tuple(range(1, len(shape)))
            steps -= steps.sum(axis=within, keepdims=True) // math.prod(shape[1:])
        return self._scaled(steps, math.sqrt(gain / math.prod(shape[1:])))

    def _steps(self, shape):
        """Integers of `shape`, uniform between -2^24 and 2^24."""
        return (self._stream.random_raw(math.prod(shape)) >> np.uint64(40)).astype(np.int64).reshape(shape) * 2 - 0xFFFFFF

    @staticmethod
    def _scaled(steps, deviation):
        return steps.astype(np.float32) * np.float32(deviation * math.sqrt(3) / 2**24)

    def bias(self, size):
        return self.around(0, 0.1, size)


class ConvNet:
    """A convolutional network under construction: a graph and the weights it draws."""

    def __init__(self, name, seed):
        self.graph = Graph(name)
        self._weights = Weights(seed)

    def conv(self, x, name, channels, kernel, stride=1, depthwise=False, gain=AFTER_RELU):
        inputs = self.graph.shapes[x][1]
        weight = self._weights.kernel(gain, channels, 1 if depthwise else inputs, kernel, kernel)
        bias = self._weights.bias(channels)
        return self.graph.conv(x, name, weight, bias, stride, inputs if depthwise else 1)

    def classify(self, x, scope):
        """Pools [1, channels, height, width] to the 1,000 logits that end a network for ImageNet."""
        g = self.graph
        x = g.flatten(g.global_average_pool(x, "pool"), "flatten")
        weight = self._weights.kernel(AFTER_RELU, 1000, g.shapes[x][1])
        g.output(g.gemm(x, "logits", weight, self._weights.bias(1000), scope))
        return g


def mobilenetv2():
    """MobileNetV2 1.0 at 224 x 224 (Sandler et al. 2018, table 2)."""
    net = ConvNet("mobilenetv2", seed=2)
    g = net.graph

    def relu6(x):
        limits = [g.constant("relu6.min", np.float32(0)), g.constant("relu6.max", np.float32(6))]
        return g.same("Clip", [x, *limits], f"{x}.relu6")

    x = relu6(net.conv(g.input("image", (1, 3, 224, 224)), "features.0", 32, 3, stride=2, gain=1))
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    block = 0
    for expansion, channels, repeats, first_stride in stages:
        for repeat in range(repeats):
            block += 1
            scope = f"features.{block}"
            stride = first_stride if repeat == 0 else 1
            residual = x if repeat else None
            hidden = expansion * g.shapes[x][1]
            if expansion > 1:
                x = relu6(net.conv(x, f"{scope}.expand", hidden, 1, gain=1))
            x = relu6(net.conv(x, f"{scope}.depthwise", hidden, 3, stride, depthwise=True))
            x = net.conv(x, f"{scope}.project", channels, 1)
            if residual:
                x = g.same("Add", [residual, x], f"{scope}.add")
    x = relu6(net.conv(x, f"features.{block + 1}", 1280, 1, gain=1))
    return net.classify(x, "classifier")


def resnet50():
    """ResNet-50 at 224 x 224 (He et al. 2015, table 1), its strides on the 3 x 3 convolutions as torchvision has them."""
    net = ConvNet("resnet50", seed=50)
    g = net.graph

    def relu(x):
        return g.same("Relu", [x], f"{x}.relu")

    x = relu(net.conv(g.input("image", (1, 3, 224, 224)), "stem", 64, 7, stride=2, gain=1))
    x = g.max_pool(x, "stem.pool", kernel=3, stride=2, pad=1)
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=1):
        for block in range(blocks):
            scope = f"layer{stage}.{block}"
            stride = 2 if block == 0 and stage > 1 else 1
            y = relu(net.conv(x, f"{scope}.conv1", width, 1))
            y = relu(net.conv(y, f"{scope}.conv2", width, 3, stride))
            y = net.conv(y, f"{scope}.conv3", 4 * width, 1, gain=1)
            if block == 0:
                x = net.conv(x, f"{scope}.downsample", 4 * width, 1, stride, gain=1)
            x = relu(g.same("Add", [y, x], f"{scope}.add"))
    return net.classify(x, "fc")


def minilm(length):
    """A sentence encoder of MiniLM-L6's shape (Wang et al. 2020) for `length` tokens: 6 layers of BERT, 384 wide, 12 heads.

    The weights are the same for every length.
    """
    layers, hidden, heads, inner, vocabulary, positions = 6, 384, 12, 1536, 30522, 512
    g = Graph(f"minilm-{length}")
    weights = Weights(seed=6)

    def linear(x, scope, outputs):
        weight = g.parameter(f"{scope}.weight", weights.kernel(1, outputs, g.shapes[x][-1]).T)
        bias = g.parameter(f"{scope}.bias", weights.bias(outputs))
        return g.same("Add", [g.matmul(x, weight, f"{scope}.matmul"), bias], scope)

    def layer_norm(x, scope, name=None):
        scale = g.parameter(f"{scope}.weight", weights.around(1, 0.1, hidden))
        bias = g.parameter(f"{scope}.bias", weights.bias(hidden))
        return g.same("LayerNormalization", [x, scale, bias], name or scope, axis=-1, epsilon=1e-12)

    def scalar(name, value):
        return g.constant(name, np.float32(value))

    def gelu(x, scope):
        y = g.same("Div", [x, scalar("gelu.sqrt2", math.sqrt(2))], f"{scope}.div")
        y = g.same("Erf", [y], f"{scope}.erf")
        y = g.same("Add", [y, scalar("one", 1)], f"{scope}.add")
        y = g.same("Mul", [x, y], f"{scope}.mul")
        return g.same("Mul", [y, scalar("gelu.half", 0.5)], scope)

    def embed(ids, scope, rows, deviation):
        table = g.parameter(f"{scope}.weight", weights.around(0, deviation, rows, hidden))
        return g.op("Gather", [table, ids], scope, (1, length, hidden), axis=0)

    def attend(x, mask, scope):
        def split(name, perm):
            y = g.reshape(linear(x, f"{scope}.{name}", hidden), f"{scope}.{name}.heads", (1, length, heads, hidden // heads))
            return g.transpose(y, f"{scope}.{name}.transpose", perm)

        query, key, value = split("query", [0, 2, 1, 3]), split("key", [0, 2, 3, 1]), split("value", [0, 2, 1, 3])
        scores = g.matmul(query, key, f"{scope}.scores")
        scores = g.same("Div", [scores, scalar("attention.scale", math.sqrt(hidden // heads))], f"{scope}.scaled")
        shares = g.same("Softmax", [g.same("Add", [scores, mask], f"{scope}.masked")], f"{scope}.softmax", axis=-1)
        y = g.transpose(g.matmul(shares, value, f"{scope}.context"), f"{scope}.transpose", [0, 2, 1, 3])
        y = g.reshape(y, f"{scope}.merge", (1, length, hidden))
        return linear(y, f"{scope}.output", hidden)

    ids, attention, types = (
        g.input(name, (1, length), TensorProto.INT64) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    mask = g.op("Unsqueeze", [attention, g.constant("mask.axes", np.array([1, 2]))], "mask.unsqueeze", (1, 1, 1, length))
    mask = g.same("Cast", [mask], "mask.cast", to=TensorProto.FLOAT)
    mask = g.op("Sub", [scalar("one", 1), mask], "mask.sub", g.shapes[mask])
    mask = g.same("Mul", [mask, scalar("mask.lowest", np.finfo(np.float32).min)], "mask")

    order = g.constant("position_ids", np.arange(length, dtype=np.int64).reshape(1, length))
    x = g.same("Add", [embed(ids, "words", vocabulary, 0.05), embed(types, "token_types", 2, 0.01)], "embeddings.add")
    x = g.same("Add", [x, embed(order, "positions", positions, 0.01)], "embeddings")
    x = layer_norm(x, "embeddings.norm")
    for layer in range(layers):
        scope = f"layer.{layer}"
        x = g.same("Add", [attend(x, mask, f"{scope}.attention"), x], f"{scope}.attention.add")
        x = layer_norm(x, f"{scope}.attention.norm")
        y = linear(gelu(linear(x, f"{scope}.intermediate", inner), f"{scope}.gelu"), f"{scope}.output", hidden)
        last = layer == layers - 1
        x = layer_norm(g.same("Add", [y, x], f"{scope}.add"), f"{scope}.norm", "last_hidden_state" if last else None)
    g.output(x)
    return g


ARCHITECTURES = {
    "mobilenetv2": mobilenetv2,
    "minilm-16": lambda: minilm(16),
    "minilm-128": lambda: minilm(128),
    "resnet50": resnet50,
}


def example(shape, kind, seed):
    """An input a network would meet: a smooth picture of unit variance, token ids, or ones for a mask."""
    random = np.random.default_rng(seed)
    if kind == "input_ids":
        return random.integers(1000, 30000, shape)
    if kind == "attention_mask":
        return np.ones(shape, np.int64)
    if kind == "token_type_ids":
        return np.zeros(shape, np.int64)
    picture = np.kron(random.standard_normal((*shape[:2], 14, 14)), np.ones((16, 16)))
    return picture.astype(np.float32)


def check(path):
    """Runs the model under onnxruntime on two inputs; outputs must be finite, of sensible size, and follow the input."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    first, second = (
        session.run(None, {i.name: example(i.shape, i.name, seed) for i in session.get_inputs()})[0] for seed in (1, 2)
    )
    deviation, change = first.std(), (first - second).std()
    print(f"  onnxruntime: mean {first.mean():.3f}, deviation {deviation:.3f}, change between inputs {change:.3f}")
    if not (np.isfinite(first).all() and 0.1 < deviation < 10 and change > 0.1 * deviation):
        sys.exit(f"error: {path}: these outputs are not those of a working network")


def pinned():
    """File name -> sha256, from models/generated.sha256."""
    return {name: digest for digest, name in (line.split() for line in PINNED.read_text().splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"what to write, of {', '.join(ARCHITECTURES)} (default: all)")
    parser.add_argument("--out", metavar="DIR", type=Path, default=MODELS / "generated", help="default: models/generated")
    parser.add_argument("--check", action="store_true", help="also run what was written under onnxruntime")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - ARCHITECTURES.keys():
        parser.error(f"no such architecture: {', '.join(sorted(unknown))} (choose from {', '.join(ARCHITECTURES)})")

    strays = []
    for name in arguments.names or ARCHITECTURES:
        path = arguments.out / f"{name}.onnx"
        graph = ARCHITECTURES[name]()
        digest = graph.write(
            path,
            f"The architecture {name} with seeded random weights. It has learned nothing.",
            {"task": "none: random weights", "source": "generated by scripts/models/architectures.py"},
        )
        print(f"{path}: {path.stat().st_size:,} bytes, {graph.parameters:,} parameters, {graph.macs:,} MACs\n  sha256 {digest}")
        if digest != pinned().get(path.name):
            strays.append(path.name)
        if arguments.check:
            check(path)
    if strays:
        sys.exit(f"error: not the bytes that {PINNED} pins: {', '.join(strays)}")


if __name__ == "__main__":
    main()
