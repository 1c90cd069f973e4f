"""An ONNX graph under construction: nodes, parameters, the shape of every value, and the multiply-accumulates they cost.

Owns how models are written: opset, IR version, producer, metadata, and bytes that depend on the graph alone. It knows no
architecture. A dimension is an integer, or a string for a symbolic one, which costs are counted at 1 for.
"""

import hashlib
import math
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8
PRODUCER = "ic-nn scripts/models"


def elements(shape):
    """The number of elements in `shape`, symbolic dimensions counted as 1."""
    return math.prod(dim for dim in shape if not isinstance(dim, str))


class Graph:
    """A graph built value by value. Every method that adds a node returns the name of the value the node makes."""

    def __init__(self, name):
        self.name = name
        self.macs = 0
        self.parameters = 0
        self.shapes = {}
        self._nodes = []
        self._initializers = []
        self._inputs = []
        self._outputs = []

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        self.shapes[name] = tuple(shape)
        return name

    def output(self, value, dtype=TensorProto.FLOAT):
        self._outputs.append(helper.make_tensor_value_info(value, dtype, self.shapes[value]))

    def parameter(self, name, array):
        """A trained tensor: counted in `parameters`."""
        self.parameters += array.size
        return self.constant(name, array)

    def constant(self, name, array):
        """A tensor that belongs to the graph's structure, such as a target shape: not counted in `parameters`."""
        if name not in self.shapes:
            self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
            self.shapes[name] = array.shape
        return name

    def op(self, kind, inputs, name, shape, **attributes):
        """Adds a node of operator `kind` whose one output is called `name` and has `shape`."""
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.shapes[name] = tuple(shape)
        return name

    def same(self, kind, inputs, name, **attributes):
        """An operator whose output has the shape of its first input."""
        return self.op(kind, inputs, name, self.shapes[inputs[0]], **attributes)

    def conv(self, x, name, weight, bias, stride=1, groups=1):
        """A square convolution that pads by half its kernel. `weight` is [out, in / groups, kernel, kernel]."""
        batch, _, height, width = self.shapes[x]
        kernel = weight.shape[2]
        out = (batch, weight.shape[0], -(-height // stride), -(-width // stride))
        self.macs += elements(out) * weight[0].size
        parameters = [self.parameter(f"{name}.weight", weight), self.parameter(f"{name}.bias", bias)]
        return self.op(
            "Conv",
            [x, *parameters],
            name,
            out,
            dilations=[1, 1],
            group=groups,
            kernel_shape=[kernel, kernel],
            pads=[kernel // 2] * 4,
            strides=[stride, stride],
        )

    def max_pool(self, x, name, kernel, stride, pad=0):
        batch, channels, height, width = self.shapes[x]
        out = [(size + 2 * pad - kernel) // stride + 1 for size in (height, width)]
        return self.op(
            "MaxPool",
            [x],
            name,
            (batch, channels, *out),
            kernel_shape=[kernel, kernel],
            pads=[pad] * 4,
            strides=[stride, stride],
        )

    def global_average_pool(self, x, name):
        return self.op("GlobalAveragePool", [x], name, (*self.shapes[x][:2], 1, 1))

    def flatten(self, x, name):
        batch, *rest = self.shapes[x]
        return self.op("Flatten", [x], name, (batch, elements(rest)), axis=1)

    def gemm(self, x, name, weight, bias, scope=None):
        """A fully connected layer as PyTorch exports it: `weight` is [out, in]. `scope` names the parameters."""
        scope = scope or name
        self.macs += weight.size
        parameters = [self.parameter(f"{scope}.weight", weight), self.parameter(f"{scope}.bias", bias)]
        return self.op("Gemm", [x, *parameters], name, (self.shapes[x][0], weight.shape[0]), transB=1)

    def matmul(self, a, b, name):
        shape = (*self.shapes[a][:-1], self.shapes[b][-1])
        self.macs += elements(shape) * self.shapes[a][-1]
        return self.op("MatMul", [a, b], name, shape)

    def reshape(self, x, name, shape):
        target = self.constant(f"{name}.shape", np.array(shape, np.int64))
        return self.op("Reshape", [x, target], name, shape)

    def transpose(self, x, name, perm):
        return self.op("Transpose", [x], name, [self.shapes[x][axis] for axis in perm], perm=perm)

    def write(self, path, doc, metadata):
        """Checks the model and writes it to `path`, whole or not at all. Returns its bytes' sha256 in hexadecimal."""
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._initializers)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name=PRODUCER,
            doc_string=doc,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        encoded = model.SerializeToString(deterministic=True)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(encoded)
        partial.replace(path)
        return hashlib.sha256(encoded).hexdigest()
