"""A fixture: the exported file as it came, and what the framework itself answers to inputs of its own.

Owns the form of both, tests/fixtures/exporters/FRAMEWORK/NAME.onnx and NAME.json, which tests/suite/exporters.rs reads. It
knows no framework, and no other runtime of ONNX files answers here.
"""

import json
from pathlib import Path

import numpy as np
import onnx

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "exporters"
TYPES = {"float32": "FP32", "float64": "FP64", "int32": "I32", "int64": "I64", "bool": "BOOL", "uint8": "U8", "int8": "I8"}
# The largest that a file may become: fixtures are read by people's git for ever.
MOST_BYTES = 150_000


def tensor(name, array):
    """An array as it goes over the wire, its bytes in hexadecimal."""
    array = np.asarray(array)
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
    return {
        "name": name,
        "type": TYPES[array.dtype.name],
        "dimensions": list(array.shape),
        "data": little.tobytes().hex(),
    }


def bare(part):
    """Drops what exporters note about their caller: stack traces with the paths of this machine."""
    for field, value in part.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            part.ClearField(field.name)
        elif field.message_type and hasattr(value, "ListFields"):
            bare(value)
        elif field.message_type:
            for item in value:
                bare(item)


def rows(name, features, answers):
    """Two cases of a model on a table: its first row, and a batch from all over it.

    Labels become int64 and all else float32, values of a regressor a column: what converted models give.
    """
    for batch in (features[:1], features[:: len(features) // 6]):
        outputs = []
        for answer in map(np.asarray, answers(batch)):
            integers = answer.dtype.kind in "iu"
            outputs.append(answer.astype(np.int64 if integers else np.float32))
        if len(outputs) == 1:
            outputs = [outputs[0].reshape(-1, 1)]
        yield {name: batch}, outputs


class Fixtures:
    """Where the fixtures of one framework go. `versions` are those of the packages that had a part in them."""

    def __init__(self, framework, versions):
        self._folder = FIXTURES / framework
        self._folder.mkdir(parents=True, exist_ok=True)
        self._versions = versions

    def write(self, name, model, *cases):
        """Writes `model` (a ModelProto) with `cases`: pairs of inputs by name and of outputs in the graph's order.

        An axis whose length differs between the cases has to be dynamic in the file, and every other one fixed.
        """
        bare(model)
        names = [output.name for output in model.graph.output]
        described = []
        for inputs, outputs in cases:
            if len(outputs) != len(names):
                raise SystemExit(f"error: {name}: the graph has the outputs {names}, {len(outputs)} were computed")
            described.append({
                "inputs": [tensor(key, value) for key, value in inputs.items()],
                "outputs": [tensor(key, value) for key, value in zip(names, outputs)],
            })
        file = model.SerializeToString(deterministic=True)
        if len(file) > MOST_BYTES:
            raise SystemExit(f"error: {name}: {len(file)} bytes; make the model smaller, fixtures may have {MOST_BYTES}")
        onnx.checker.check_model(file)
        (self._folder / f"{name}.onnx").write_bytes(file)
        text = json.dumps({"versions": self._versions, "cases": described}, indent=1)
        (self._folder / f"{name}.json").write_text(text + "\n")
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
        print(f"{self._folder.name}/{name}: {len(file):,} bytes, operator sets {opsets}")
