"""The onnx package's light models with weights.

As the package has them, every weight is 0.02, and every input gets one answer. Here they get seeded weights, of which every
convolution's and every product's are scaled on one picture, so that signals neither grow nor fade and answers follow the input.
"""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from architectures import Weights

# A matrix of more elements is a quarter of it four times side by side, so that VGG19 is no larger than a file may be (512 MiB).
LARGEST = 64 << 20
PARTS = 4

# (operator, which input) -> the mean that its values are drawn about. Kernels are drawn by their shape.
VECTORS = {
    ("Conv", 2): 0,
    ("Gemm", 2): 0,
    ("BatchNormalization", 1): 1,
    ("BatchNormalization", 2): 0,
    ("BatchNormalization", 3): 0,
    ("BatchNormalization", 4): 1,
    ("Mul", 1): 1,
    ("Add", 1): 0,
}
KERNELS = {("Conv", 1), ("Gemm", 1)}


def parameters(graph, constants):
    """Name -> (shape, role) of every weight, the shape from what the package has in its place."""
    shapes = {name: value.shape for name, value in constants.items()}
    for node in graph.node:
        if node.op_type == "ConstantOfShape":
            shapes[node.output[0]] = tuple(constants[node.input[0]])
        elif node.op_type == "Reshape" and node.input[0] in shapes:
            shapes[node.output[0]] = tuple(constants[node.input[1]])
    users = {name: (node, index) for node in graph.node for index, name in enumerate(node.input)}
    found = {}
    for name, shape in shapes.items():
        node, index = users.get(name, (None, 0))
        while node is not None and node.op_type == "Unsqueeze":
            node, index = users[node.output[0]]
        if node is not None and ((node.op_type, index) in KERNELS or (node.op_type, index) in VECTORS):
            found[name] = (shape, (node.op_type, index))
    return found


def draw(weights, shape, role):
    if role in VECTORS:
        return weights.around(VECTORS[role], 0.1, *shape)
    if np.prod(shape) > LARGEST:
        return np.tile(weights.kernel(1, shape[0], shape[1] // PARTS), PARTS)
    return weights.kernel(1, *shape)


def run(node, values, opset):
    """What a node makes of `values`, by onnxruntime."""
    given = {name: values[name] for name in node.input if name}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in given.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(node.output[0])]
    model = helper.make_model(helper.make_graph([node], "node", inputs, outputs), opset_imports=opset, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)[0]


def scale(node, values, opset):
    """Scales the weight of a convolution or a product so that what it gives, without its bias, has unit variance."""
    product = run(node, values, opset)
    if len(node.input) > 2:
        product = product - values[node.input[2]].reshape(1, -1, *[1] * (product.ndim - 2))
    values[node.input[1]] = values[node.input[1]] / product.std()


def write(source, path, picture, seed):
    """Writes the model at `source` with weights to `path`."""
    model = onnx.load(source)
    graph, opset = model.graph, model.opset_import
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = Weights(seed)
    found = parameters(graph, constants)
    values = constants | {name: draw(weights, shape, role) for name, (shape, role) in found.items()}
    inputs = [i for i in graph.input if i.name not in values]
    values[inputs[0].name] = picture

    nodes = [node for node in graph.node if node.output[0] not in values]
    for node in nodes:
        if node.op_type in ("Conv", "Gemm"):
            scale(node, values, opset)
        values[node.output[0]] = run(node, values, opset)

    used = {name for node in nodes for name in node.input}
    initializers, joins = [], []
    for name in sorted(used & (found.keys() | constants.keys())):
        value = values[name]
        if value.size > LARGEST:
            part = f"{name}.part"
            joins.append(helper.make_node("Concat", [part] * PARTS, [name], axis=1))
            name, value = part, np.ascontiguousarray(value[:, : value.shape[1] // PARTS])
        initializers.append(numpy_helper.from_array(value, name))
    graph = helper.make_graph([*joins, *nodes], graph.name, inputs, graph.output, initializers)
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="ic-nn scripts/accuracy"), path)
