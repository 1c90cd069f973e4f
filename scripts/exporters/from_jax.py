"""JAX by jax2onnx: plain functions and Flax (NNX) modules, weights from a seed."""

import os

os.environ.update(JAX_PLATFORMS="cpu")

from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax2onnx import to_onnx

from fixture import Fixtures

OPSET = 18


def mlp():
    """A plain function over a tree of parameters."""
    keys = jax.random.split(jax.random.key(7), 3)
    sizes = [(6, 16), (16, 16), (16, 3)]
    layers = [(jax.random.normal(k, s) / s[0] ** 0.5, jnp.full(s[1], 0.1)) for k, s in zip(keys, sizes)]

    def forward(x):
        for weight, bias in layers[:-1]:
            x = jax.nn.gelu(x @ weight + bias)
        weight, bias = layers[-1]
        return jax.nn.softmax(x @ weight + bias)

    return forward


def heads():
    """A plain function of two inputs with reductions, comparisons and einsum."""
    keys = jax.random.split(jax.random.key(7), 2)
    left, right = jax.random.normal(keys[0], (4, 8)), jax.random.normal(keys[1], (4, 8))

    def forward(x, y):
        a, b = jnp.tanh(x @ left), jnp.where(y > 0, y, 0.1 * y) @ right
        scores = jnp.einsum("bi,bj->bij", a, b)
        soft = jax.nn.logsumexp(50 * scores, axis=2)
        return scores.max(axis=-1), jnp.log1p(jnp.exp(scores)).mean(axis=1), soft

    return forward


class Cnn(nnx.Module):
    """Convolutions, batch normalisation and pooling on images [batch, height, width, channels]."""

    def __init__(self, rngs):
        self.first = nnx.Conv(3, 8, (3, 3), use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.second = nnx.Conv(8, 8, (3, 3), strides=2, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, image):
        x = nnx.max_pool(nnx.relu(self.norm(self.first(image))), window_shape=(2, 2), strides=(2, 2))
        x = nnx.silu(self.second(x))
        return self.out(self.dropout(x.mean(axis=(1, 2))))


class Block(nnx.Module):
    """A transformer's block: attention and an MLP, layer normalisation before each."""

    def __init__(self, rngs):
        self.before = nnx.LayerNorm(16, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(4, 16, decode=False, rngs=rngs)
        self.between = nnx.LayerNorm(16, rngs=rngs)
        self.up = nnx.Linear(16, 32, rngs=rngs)
        self.down = nnx.Linear(32, 16, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.before(x))
        return x + self.down(nnx.gelu(self.up(self.between(x))))


def evaluated(kind):
    module = kind(nnx.Rngs(7))
    module.eval()
    return module


MODELS = {
    "mlp": (mlp, {"x": ("batch", 6)}, ["classes"], [1, 5]),
    "heads": (heads, {"x": ("batch", 4), "y": ("batch", 4)}, ["largest", "means", "soft"], [1, 3]),
    "cnn": (lambda: evaluated(Cnn), {"image": ("batch", 12, 12, 3)}, ["logits"], [1, 3]),
    "transformer": (lambda: evaluated(Block), {"x": ("batch", 6, 16)}, ["y"], [1, 3]),
}


def main():
    packages = ("jax", "flax", "jax2onnx", "onnx")
    fixtures = Fixtures("jax", {package: version(package) for package in packages})
    for name, (make, inputs, outputs, batches) in MODELS.items():
        forward = make()
        model = to_onnx(
            forward, list(inputs.values()), model_name=name, opset=OPSET,
            input_names=list(inputs), output_names=outputs,
        )
        random = np.random.default_rng(7)
        cases = []
        for batch in batches:
            arrays = {key: random.standard_normal((batch, *shape[1:]), dtype=np.float32) for key, shape in inputs.items()}
            answer = forward(*map(jnp.asarray, arrays.values()))
            cases.append((arrays, answer if isinstance(answer, tuple) else [answer]))
        fixtures.write(name, model, *cases)


if __name__ == "__main__":
    main()
