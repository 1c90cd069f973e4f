"""Writes the onnx package's own backend cases where a test that knows no protobuf and no Python can read them.

One folder a case, `KIND/NAME`:

- `model.onnx`, the bytes that the package's runner would prepare;
- `case.json`: operator, tolerances, and for each data set the inputs and outputs as
  `{"name", "type" (TensorProto.DataType), "dims", "offset", "bytes"}`;
- `data.bin`: the tensors' little-endian, row-major bytes, where `offset` says.

A case that takes or gives what is no tensor of plain numbers (a sequence, an optional, a map, strings, 4- and 8-bit
floats) is written without data and with `beyond`, which says what it is. What cannot be written at all is listed in
`exported.json` with the reason, and told.

The package draws inputs from numpy's global generator while its modules are imported, so the seed here and the pinned
versions decide what the cases are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np

import onnx
from onnx import numpy_helper
from onnx.backend.test import loader
from onnx.backend.test.runner import Runner

SEED = 20_211
OUT = Path(__file__).resolve().parents[2] / "target" / "onnx-backend"
PACKAGE = Path(onnx.__file__).resolve().parent
KINDS = ["node", "simple", "pytorch-operator", "pytorch-converted", "light"]

TYPES = onnx.TensorProto.DataType
PLAIN = {
    TYPES.Value(name)
    for name in (
        "FLOAT UINT8 INT8 UINT16 INT16 INT32 INT64 BOOL FLOAT16 DOUBLE UINT32 UINT64 BFLOAT16".split()
    )
}


class Beyond(Exception):
    """A value that is no tensor of plain numbers."""


def describe(info: onnx.ValueInfoProto) -> str | None:
    """What a graph's input or output is, if it is no tensor of plain numbers."""
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        return (kind or "untyped").removesuffix("_type")
    if info.type.tensor_type.elem_type not in PLAIN:
        return TYPES.Name(info.type.tensor_type.elem_type).lower()
    return None


class Data:
    """The tensors of a case, one behind the other."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def put(self, info: onnx.ValueInfoProto, value: object) -> dict:
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        if not isinstance(value, (np.ndarray, np.generic)):
            raise Beyond(type(value).__name__)
        array = np.asarray(value)
        element = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        if element not in PLAIN:
            raise Beyond(TYPES.Name(element).lower())
        data = array.astype(array.dtype.newbyteorder("<"), order="C").tobytes()
        entry = {
            "name": info.name,
            "type": element,
            "dims": list(array.shape),
            "offset": len(self.bytes),
            "bytes": len(data),
        }
        self.bytes += data
        return entry


def operator_of(case, originals: dict[str, onnx.NodeProto]) -> str:
    """The operator that a node case is about; of the others, what they are called."""
    if case.kind != "node":
        return case.name.removeprefix("test_")
    node = originals[re.sub(r"_expanded(_ver\d+)?$", "", case.name)]
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def read(file: Path, info: onnx.ValueInfoProto) -> object:
    """A value as the package's runner reads it."""
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        raise Beyond((kind or "untyped").removesuffix("_type"))
    return numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes()))


def sets_of(case, model: onnx.ModelProto):
    """Pairs of inputs and expected outputs, as the package's runner makes them."""
    if case.data_sets is not None:
        return case.data_sets
    if case.url is not None:  # a light model: counted numbers in, what the package recorded out
        source = PACKAGE.parent / case.url
        initialised = {i.name for i in model.graph.initializer}
        infos = [i for i in model.graph.input if i.name not in initialised]
        inputs = [Runner.generate_dummy_data(i, name=case.model_name) for i in infos]
        outputs = [
            numpy_helper.to_array(
                onnx.TensorProto.FromString(
                    source.with_name(f"{source.stem}_output_{i}.pb").read_bytes()
                )
            )
            for i in range(len(model.graph.output))
        ]
        return [(inputs, outputs)]
    sets = []
    for folder in sorted(Path(case.model_dir).glob("test_data_set*")):
        count = lambda what: len(list(folder.glob(f"{what}_*.pb")))
        sets.append(
            (
                [read(folder / f"input_{i}.pb", model.graph.input[i]) for i in range(count("input"))],
                [read(folder / f"output_{i}.pb", model.graph.output[i]) for i in range(count("output"))],
            )
        )
    return sets


def export(case, kind: str, originals, out: Path) -> None:
    if case.model is not None:
        model = case.model
        bytes_ = model.SerializeToString(deterministic=True)
    else:
        file = PACKAGE.parent / case.url if case.url else Path(case.model_dir) / "model.onnx"
        bytes_ = file.read_bytes()
        model = onnx.ModelProto.FromString(bytes_)
    initialised = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in initialised]
    if case.data_sets is None and case.url is None:
        inputs = list(model.graph.input)
    written = {
        "name": case.name,
        "kind": kind,
        "operator": operator_of(case, originals),
        "rtol": case.rtol,
        "atol": case.atol,
        "beyond": None,
        "sets": [],
    }
    data = Data()
    try:
        for info in [*model.graph.input, *model.graph.output]:
            if (what := describe(info)) is not None:
                raise Beyond(what)
        for given, expected in sets_of(case, model):
            written["sets"].append(
                {
                    "inputs": [data.put(i, v) for i, v in zip(inputs, given)],
                    "outputs": [data.put(o, v) for o, v in zip(model.graph.output, expected, strict=True)],
                }
            )
    except Beyond as what:
        written |= {"beyond": str(what), "sets": []}
        data = Data()
    folder = out / kind / case.name
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(bytes_)
    (folder / "data.bin").write_bytes(data.bytes)
    (folder / "case.json").write_text(json.dumps(written, indent=1) + "\n")


def cases(kind: str):
    if kind == "light":
        return [c for c in loader.load_model_tests(kind="real") if "/light/" in (c.url or "")]
    return loader.load_model_tests(kind=kind)


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--again", action="store_true", help="write everything anew")
    arguments.add_argument("--out", type=Path, default=OUT, metavar="DIR")
    arguments = arguments.parse_args()
    exporter = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    what = {"onnx": onnx.__version__, "numpy": np.__version__, "exporter": exporter}
    stamp = arguments.out / "exported.json"
    if not arguments.again and stamp.exists():
        there = json.loads(stamp.read_text())
        if all(there.get(key) == value for key, value in what.items()):
            print(f"{sum(there['cases'].values())} cases of onnx {there['onnx']} are in {stamp.parent}")
            return 0
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    warnings.simplefilter("ignore", RuntimeWarning)  # the package overflows and divides by zero on purpose
    np.random.seed(SEED)
    random.seed(SEED)
    unwritten, counts = {}, {}
    for kind in KINDS:
        originals = {}
        loaded = cases(kind)
        if kind == "node":
            from onnx.backend.test.case.node import _existing_names as originals
        for case in loaded:
            try:
                export(case, kind, originals, arguments.out)
                counts[kind] = counts.get(kind, 0) + 1
            except Exception as e:  # told below, and counted by whoever reads the list
                shutil.rmtree(arguments.out / kind / case.name, ignore_errors=True)
                unwritten[f"{kind}/{case.name}"] = f"{type(e).__name__}: {e}"
    for name, reason in unwritten.items():
        print(f"not exported: {name}: {reason}", file=sys.stderr)
    stamp.write_text(json.dumps(what | {"cases": counts, "unwritten": unwritten}, indent=1) + "\n")
    told = ", ".join(f"{n} {kind}" for kind, n in counts.items())
    print(f"wrote {told} of onnx {onnx.__version__} to {stamp.parent}; {len(unwritten)} could not be written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
