"""Writes docs/benchmarks.md from what `ic-nn profile --json` printed: bench.py FOLDER FILE. Rows of other models stay."""

import json
import re
import sys
from pathlib import Path

# Multiply-accumulates (scripts/models/README.md).
MODELS = {
    "mobilenetv2": 300_774_272,
    "minilm-16": 171_048_960,
    "minilm-128": 1_434_451_968,
    "resnet50": 4_089_184_256,
}

HEAD = """# Benchmarks

Instructions as the canister is metered on the embedded host, written by `scripts/bench`: the second inference as an update under both cost
schedules, loading from the file, and from the image (with instructions for each byte of the file). Models are those of `scripts/models`, with
random weights, so answers mean nothing and counts do not depend on them. The suite `mobilenet` fails where a count of an inference is stale by more
than 0.5 %.

| model | multiply-adds | inference, `2025-10` | a multiply-add | stock tract 0.23.9 | wall: stock in wasm | wall: native tract | `2026-07` | bytes touched | arena | load | from its image | cycles, 13 nodes | XDR | heap | estimate |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

TAIL = """
The schedule `2026-07` charges 64 KiB units of heap and stable memory when they are first read and first written in a message. Bytes touched are
those of every node's operands and outputs, constants that are packed into a node not counted. int8 is the property `quantize`: answers are near, not equal ([accuracy.md](accuracy.md)). The heap is what the canister holds after all of
this, the file's bytes included, which a load reads into it. The arena is the block that a run's activations and buffers lie in, and how much of it is alive
at the worst moment. Stock tract is a canister of tract alone (`scripts/stock`), its kernels at opt-level 3, metered by the same host. Wall times are ratios
of the fastest of some runs on one machine: how many times as long stock tract takes in wasm on the same host, in turns with this; and how many times
as long this takes as tract does natively, with its own kernels for that processor. Cycles are those of an inference as an update, its
message included; a query is free. The estimate is what shapes say that the nodes take, beside what they do ([prices.md](prices.md)).
"""


def steady_of(profile):
    return next(s for s in profile["steps"] if s["step"] == "steady inference, as an update")


def row(name, profile, later, ratio, native):
    macs = MODELS[name.removesuffix(" int8")]
    stock, ours = ratio["stock"], ratio["int8" if name.endswith(" int8") else "f32"]
    steps = {step["step"]: step for step in profile["steps"]}
    steady = steady_of(profile)
    count, cycles = steady["instructions"], int(steady["cycles_13_nodes"])
    heap = profile["heap_bytes"] / 1e6
    image = steps["load, from its image"]["instructions"]
    touched = sum(node["bytes"] for node in profile["profile"]["nodes"])
    arena, alive = profile["profile"]["arena_bytes"], profile["profile"]["alive_bytes"]
    # Of the nodes, against what the same nodes were counted to take.
    nodes = profile["profile"]["nodes"]
    estimate, counted = sum(node["estimate"] for node in nodes), sum(node["instructions"] for node in nodes)
    return (
        f"| {name} | {macs:,} | {count:,} | {count / macs:.2f} | {stock['instructions'] / 1e6:,.0f} M, {stock['instructions'] / count:.2f} times | "
        f"{stock['nanos'] / ours['nanos']:.1f} times | {ours['nanos'] / native['nanos']:.1f} times | "
        f"{steady_of(later)['instructions']:,} | {touched / 1e6:.0f} MB | "
        f"{arena / 1e6:.1f} MB, {arena / alive:.2f} | "
        f"{steps['load, from its file']['instructions']:,} | {image:,}, {image / profile['bytes']:.1f} | {cycles:,} | {cycles / 1e12:.5f} | {heap:.0f} MB | "
        f"{100 * (estimate / counted - 1):+.1f} % |"
    )


def main():
    folder, path = Path(sys.argv[1]), Path(sys.argv[2])
    rows = {}
    if path.exists():
        rows = {m[1]: m[0] for m in re.finditer(r"^\| ([a-z0-9-]+(?: int8)?) \| [0-9,]+ \|.*$", path.read_text(), re.M)}
    for file in folder.glob("*.json"):
        if file.stem.endswith(".later"):
            continue
        name = file.stem.replace(".int8", " int8")
        later = json.loads(file.with_suffix(".later.json").read_text())
        model = folder / name.removesuffix(" int8")
        [ratio] = json.loads(model.with_suffix(".ratio").read_text())
        native = json.loads(model.with_suffix(".native").read_text())
        rows[name] = row(name, json.loads(file.read_text()), later, ratio, native)
    names = [name + kind for kind in ("", " int8") for name in MODELS]
    path.write_text(HEAD + "\n".join(rows[name] for name in names if name in rows) + "\n" + TAIL)
    print(path.read_text())


main()
