"""onnxruntime's own operators, of the domain com.microsoft, each by itself, and networks as its quantisers write them."""

import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from fixture import Fixtures

OPSET = 17
TYPES = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8,
         np.dtype(np.int8): TensorProto.INT8, np.dtype(np.int32): TensorProto.INT32,
         np.dtype(np.float16): TensorProto.FLOAT16}
random = np.random.default_rng(7)


def answers(model, feeds):
    """What onnxruntime says, without its graph optimisations: the operators as they stand in the file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def model_of(nodes, inputs, outputs, constants):
    """A model; axes are lengths or names."""
    value = lambda name, ty, axes: helper.make_tensor_value_info(name, ty, axes)
    graph = helper.make_graph(
        nodes, "graph",
        [value(*described) for described in inputs], [value(*described) for described in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def one(operator, given, constants, shapes, output=None, rank=None, **attributes):
    """A model of one node. `given` are names in order: of constants, of the inputs in `shapes`, or empty.

    `shapes` is by input name a type and two shapes, one a case; gives the model and its cases.
    """
    inputs, cases = [], [{}, {}]
    for name, (dtype, *both) in shapes.items():
        axes = [a if a == b else f"{name}{ix}" for ix, (a, b) in enumerate(zip(*both))]
        inputs.append((name, TYPES[np.dtype(dtype)], axes))
        for case, shape in zip(cases, both):
            case[name] = array(dtype, shape)
    node = helper.make_node(operator, given, ["y"], domain="com.microsoft", name="node", **attributes)
    output = TYPES[np.dtype(output or np.float32)]
    model = model_of([node], inputs, [("y", output, [f"d{ix}" for ix in range(rank)])], constants)
    return model, [(case, answers(model, case)) for case in cases]


def array(dtype, shape):
    if np.dtype(dtype).kind == "f":
        return random.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype)
    return random.integers(info.min, info.max + 1, shape).astype(dtype)


def weights(shape):
    """int8 of seven bits: with all eight, onnxruntime's sums saturate on processors without VNNI."""
    return random.integers(-63, 64, shape).astype(np.int8)


def by_blocks(bits, block, k, n, zeros=None, bias=False):
    """MatMulNBits of random weights: zero points packed, real, or none."""
    blocks = -(-k // block)
    constants = {
        "b": array(np.uint8, (n, blocks, block * bits // 8)),
        # Outputs are about as large as 1.
        "scales": ((random.random((n * blocks,)) + 0.1) / (k ** 0.5 * 2 ** (bits - 1))).astype(np.float32),
    }
    given = ["x", "b", "scales"]
    if zeros == "packed":
        constants["zeros"] = array(np.uint8, (n * -(-blocks * bits // 8),))
        if bits == 4 and blocks % 2 == 1:
            # What is left of a byte is 0.
            constants["zeros"].reshape(n, -1)[:, -1] &= 15
    elif zeros == "real":
        constants["zeros"] = (random.random((n, blocks)) * 15).astype(np.float32)
    if zeros:
        given.append("zeros")
    if bias:
        given += [""] * (5 - len(given)) + ["bias"]
        constants["bias"] = array(np.float32, (n,))
    return one("MatMulNBits", given, constants, {"x": (np.float32, (1, 1, k), (1, 6, k))}, rank=3,
               K=k, N=n, bits=bits, block_size=block)


def sides(dtype, *names):
    """Scales and zero points of operands, as constants."""
    constants = {}
    for name in names:
        constants[f"{name}s"] = np.float32(random.random() * 0.1 + 0.01)
        constants[f"{name}z"] = array(dtype, ())
    return constants


def two(operator, dtype, a, b):
    given = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    constants = sides(dtype, "a", "b", "y")
    constants["ys"] = np.float32(constants["ys"] * 4 + 0.1)
    return one(operator, given, constants, {"a": (dtype, *a), "b": (dtype, *b)}, dtype, len(a[0]))


def function(operator, dtype, shapes, **attributes):
    constants = sides(dtype, "x", "y")
    return one(operator, ["x", "xs", "xz", "ys", "yz"], constants, {"x": (dtype, *shapes)}, dtype, len(shapes[0]),
               **attributes)


def concat(dtype):
    given = ["ys", "yz", "a", "as", "az", "b", "bs", "bz", "c", "ys", "yz"]
    shapes = {name: (dtype, (1, c, 3), (2, c, 3)) for name, c in (("a", 2), ("b", 5), ("c", 1))}
    return one("QLinearConcat", given, sides(dtype, "a", "b", "y"), shapes, dtype, 3, axis=1)


def gemm(dtype, real, turned):
    k, n = 37, 10
    constants = sides(dtype, "a", "y") | {
        "b": weights((n, k) if turned else (k, n)),
        "bs": (random.random((n,)) * 0.1 + 0.01).astype(np.float32),
        "bz": np.zeros((n,), np.int8),
        "c": random.integers(-3000, 3000, (n,)).astype(np.int32),
    }
    constants["ys"] = np.float32(30)
    given = ["a", "as", "az", "b", "bs", "bz", "c"] + ([] if real else ["ys", "yz"])
    shapes = {"a": (dtype, (1, k), (5, k))}
    return one("QGemm", given, constants, shapes, np.float32 if real else dtype, 2, transB=int(turned), alpha=1.0)


def to_float(dynamic):
    k, n = 40, 9
    constants = sides(np.uint8, "a") | {
        "b": weights((k, n)),
        "bs": (random.random((n,)) * 0.01 + 0.01).astype(np.float32),
        "bz": np.zeros((n,), np.int8),
        "bias": array(np.float32, (n,)),
    }
    if dynamic:
        given, shapes = ["a", "b", "bs", "bz", "bias"], {"a": (np.float32, (1, 3, k), (2, 3, k))}
        return one("DynamicQuantizeMatMul", given, constants, shapes, rank=3)
    given, shapes = ["a", "b", "as", "bs", "az", "bz", "bias"], {"a": (np.uint8, (1, 3, k), (2, 3, k))}
    return one("MatMulIntegerToFloat", given, constants, shapes, rank=3)


def fused_conv(activation, *parameters):
    constants = {"w": array(np.float32, (4, 3, 3, 3)), "b": array(np.float32, (4,))}
    more = {"activation_params": list(parameters)} if parameters else {}
    return one("FusedConv", ["x", "w", "b"], constants, {"x": (np.float32, (1, 3, 8, 8), (2, 3, 8, 8))}, rank=4,
               activation=activation, pads=[1, 1, 1, 1], **more)


class Samples(CalibrationDataReader):
    def __init__(self, shape, count=8):
        self._left = iter([{"x": array(np.float32, shape)} for _ in range(count)])

    def get_next(self):
        return next(self._left, None)


def network(signed):
    """A network of everything that a static quantisation of images meets, quantised to operators of their own."""
    constants = {
        "w1": array(np.float32, (8, 3, 3, 3)) * 0.3, "b1": array(np.float32, (8,)),
        "w2": array(np.float32, (8, 1, 3, 3)) * 0.3, "w3": array(np.float32, (8, 8, 1, 1)) * 0.3,
        "w4": array(np.float32, (16, 10)) * 0.3, "b4": array(np.float32, (10,)),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        node("LeakyRelu", ["c1"], ["l1"], alpha=0.1),
        node("Conv", ["l1", "w2"], ["c2"], pads=[1, 1, 1, 1], group=8),
        node("Add", ["l1", "c2"], ["a"]),
        node("Conv", ["a", "w3"], ["c3"]),
        node("Sigmoid", ["c3"], ["s"]),
        node("Mul", ["a", "s"], ["m"]),
        node("Concat", ["a", "m"], ["t"], axis=1),
        node("AveragePool", ["t"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", ["p"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "w4", "b4"], ["z"]),
        node("Softmax", ["z"], ["y"], axis=-1),
    ]
    real = model_of(nodes, [("x", TensorProto.FLOAT, ["batch", 3, 12, 12])], [("y", TensorProto.FLOAT, ["batch", 10])],
                    constants)
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "real.onnx", Path(folder) / "quantised.onnx"
        onnx.save(real, before)
        ty = QuantType.QInt8 if signed else QuantType.QUInt8
        quantize_static(before, after, Samples((1, 3, 12, 12)), quant_format=QuantFormat.QOperator,
                        activation_type=ty, weight_type=QuantType.QInt8, reduce_range=True)
        model = onnx.load(after)
    cases = [{"x": array(np.float32, (n, 3, 12, 12))} for n in (1, 2)]
    return model, [(case, answers(model, case)) for case in cases]


PLANES = ((1, 3, 7, 6), (2, 3, 7, 6))
MODELS = {
    "nbits-4": lambda: by_blocks(4, 32, 96, 40),
    "nbits-4-long": lambda: by_blocks(4, 128, 300, 32),
    "nbits-4-zeros": lambda: by_blocks(4, 16, 100, 33, "packed"),
    "nbits-4-real-zeros": lambda: by_blocks(4, 32, 64, 40, "real"),
    "nbits-4-bias": lambda: by_blocks(4, 64, 128, 64, bias=True),
    "nbits-8": lambda: by_blocks(8, 32, 64, 20),
    "nbits-8-zeros": lambda: by_blocks(8, 64, 100, 35, "packed", True),
    "nbits-2": lambda: by_blocks(2, 32, 64, 20),
    "nbits-2-zeros": lambda: by_blocks(2, 32, 128, 20, "packed"),
    "add-u8": lambda: two("QLinearAdd", np.uint8, ((1, 3, 17), (2, 3, 17)), ((1, 3, 17), (2, 3, 17))),
    "add-i8": lambda: two("QLinearAdd", np.int8, ((1, 3, 17), (2, 3, 17)), ((1, 1, 17), (1, 1, 17))),
    "mul-u8": lambda: two("QLinearMul", np.uint8, ((1, 3, 17), (2, 3, 17)), ((1, 3, 1), (1, 3, 1))),
    "mul-i8": lambda: two("QLinearMul", np.int8, ((1, 3, 17), (2, 3, 17)), ((1, 3, 17), (2, 3, 17))),
    "leaky-u8": lambda: function("QLinearLeakyRelu", np.uint8, PLANES, alpha=0.2),
    "leaky-i8": lambda: function("QLinearLeakyRelu", np.int8, PLANES),
    "sigmoid-u8": lambda: function("QLinearSigmoid", np.uint8, PLANES),
    "sigmoid-i8": lambda: function("QLinearSigmoid", np.int8, PLANES),
    "softmax-u8": lambda: function("QLinearSoftmax", np.uint8, ((1, 3, 17), (2, 3, 17)), axis=-1, opset=13),
    "softmax-i8": lambda: function("QLinearSoftmax", np.int8, ((1, 3, 5), (2, 3, 5)), axis=1, opset=11),
    "global-u8": lambda: function("QLinearGlobalAveragePool", np.uint8, PLANES),
    "global-i8-last": lambda: function("QLinearGlobalAveragePool", np.int8, ((1, 7, 6, 3), (2, 7, 6, 3)), channels_last=1),
    "average-u8": lambda: function("QLinearAveragePool", np.uint8, PLANES, kernel_shape=[3, 2], strides=[2, 1]),
    "average-i8": lambda: function("QLinearAveragePool", np.int8, PLANES, kernel_shape=[3, 3], pads=[1, 1, 1, 1],
                                   count_include_pad=1),
    "concat-u8": lambda: concat(np.uint8),
    "concat-i8": lambda: concat(np.int8),
    "gemm-u8": lambda: gemm(np.uint8, False, True),
    "gemm-i8-real": lambda: gemm(np.int8, True, False),
    "to-float": lambda: to_float(False),
    "dynamic": lambda: to_float(True),
    "fused-matmul": lambda: one("FusedMatMul", ["a", "b"], {"b": array(np.float32, (2, 9, 5))},
                                {"a": (np.float32, (2, 5, 3), (2, 5, 4))}, rank=3, alpha=0.5, transA=1, transB=1),
    "fused-conv": lambda: fused_conv("Relu"),
    "fused-conv-clip": lambda: fused_conv("Clip", -0.5, 1.5),
    "network-u8": lambda: network(False),
    "network-i8": lambda: network(True),
}

fixtures = Fixtures("onnxruntime", {name: version(name) for name in ("onnxruntime", "onnx", "numpy")})
for name, make in MODELS.items():
    model, cases = make()
    fixtures.write(name, model, *cases)
