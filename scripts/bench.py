"""Writes docs/benchmarks.md from what `ic-nn profile --json` printed: bench.py FOLDER FILE. Rows of other models stay."""

import json
import re
import sys
from pathlib import Path

# Multiply-accumulates (scripts/models/README.md), and what stock tract 0.23.9 takes at opt-level 3, in millions, where no
# canister may hold it.
MODELS = {
    "mobilenetv2": (300_774_272, 1_137),
    "minilm-16": (171_048_960, 544),
    "minilm-128": (1_434_451_968, 4_590),
    "resnet50": (4_089_184_256, 13_500),
}

HEAD = """# Benchmarks

Instructions as the canister is metered on the embedded host, cost schedule `2025-10`, written by `scripts/bench`: the second
inference as an update, and loading from the file. Models are those of `scripts/models`, with random weights, so answers mean nothing and
counts do not depend on them. The suite `mobilenet` fails where the first row is stale by more than 0.5 %.

| model | multiply-adds | inference | a multiply-add | stock tract 0.23.9 | load | cycles, 13 nodes | XDR | heap | estimate |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""

TAIL = """
int8 is the property `quantize`: answers are near, not equal ([accuracy.md](accuracy.md)). The heap is what the canister holds after all of
this, the file's bytes included, which a load reads into it. Stock tract is built at opt-level 3, which no canister may hold (16.8 MB of code). Cycles are those of an inference as an update, its
message included; a query is free. The estimate is what shapes say that the nodes take, beside what they do ([prices.md](prices.md)).
"""


def row(name, profile):
    macs, stock = MODELS[name.removesuffix(" int8")]
    steps = {step["step"]: step for step in profile["steps"]}
    steady = steps["steady inference, as an update"]
    count, cycles = steady["instructions"], int(steady["cycles_13_nodes"])
    heap = profile["heap_bytes"] / 1e6
    # Of the nodes, against what the same nodes were counted to take.
    nodes = profile["profile"]["nodes"]
    estimate, counted = sum(node["estimate"] for node in nodes), sum(node["instructions"] for node in nodes)
    return (
        f"| {name} | {macs:,} | {count:,} | {count / macs:.2f} | {stock:,} M, {stock * 1e6 / count:.2f} times | "
        f"{steps['load']['instructions']:,} | {cycles:,} | {cycles / 1e12:.5f} | {heap:.0f} MB | "
        f"{100 * (estimate / counted - 1):+.1f} % |"
    )


def main():
    folder, path = Path(sys.argv[1]), Path(sys.argv[2])
    rows = {}
    if path.exists():
        rows = {m[1]: m[0] for m in re.finditer(r"^\| ([a-z0-9-]+(?: int8)?) \| [0-9,]+ \|.*$", path.read_text(), re.M)}
    for file in folder.glob("*.json"):
        name = file.stem.replace(".int8", " int8")
        rows[name] = row(name, json.loads(file.read_text()))
    names = [name + kind for kind in ("", " int8") for name in MODELS]
    path.write_text(HEAD + "\n".join(rows[name] for name in names if name in rows) + "\n" + TAIL)
    print(path.read_text())


main()
