"""Writes docs/scaling.md from what scripts/scaling counted: what is measured, and what follows from it by the rules stated there."""

import json
import math
import sys
from pathlib import Path

# What the Internet Computer does, in rounds and instructions a round (stated in the document).
SLICE = 2_000_000_000
THREADS = 4
HOPS = {"one subnet": 1, "a subnet each": 4}
IN_PIPELINE = 32
# Fees on 13 nodes.
UPDATE = 5_000_000


def read(path):
    return json.loads(path.read_text())


def steady(profile):
    """The single canister's further inference: instructions and cycles."""
    step = next(s for s in profile["steps"] if s["step"] == "steady inference, as an update")
    return step["instructions"], step["cycles_13_nodes"]


def groups(stages):
    """Stages that run one behind the other; the parts of a product run side by side."""
    rows = []
    for ix, stage in enumerate(stages):
        part = stage["part"]
        if part and part["part"] > 1:
            rows[-1].append(ix)
        else:
            rows.append([ix])
    return rows


def model(name, folder):
    profile = read(folder / f"{name}.1.json")
    instructions, cycles = steady(profile)
    rows = [
        {
            "stages": 1,
            "weights": profile["bytes"],
            "slowest": instructions,
            "front": 0,
            "all": instructions,
            "cycles": cycles,
            "crossing": 0,
            "latency": {kind: math.ceil(instructions / SLICE) for kind in HOPS},
            "throughput": {kind: SLICE / instructions for kind in HOPS},
        }
    ]
    for path in sorted(folder.glob(f"{name}.*.plan.json"), key=lambda p: int(p.name.split(".")[-3])):
        count = int(path.name.split(".")[-3])
        plan, deployed = read(path), read(folder / f"{name}.{count}.json")
        front_cycles, *stage_cycles = deployed["cycles_13_nodes"]
        # What only puts parts together is the front's.
        places = zip(deployed["stages"], stage_cycles)
        own = [0 if stage["canister"] == deployed["front"] else cycles - UPDATE for stage, cycles in places]
        bytes_moved = sum(s["bytes_in"] + s["bytes_out"] for s in plan["stages"])
        # The front is charged for each call, each byte of it and of its reply; what is left are its instructions and its caller's message.
        first, last = plan["stages"][0], plan["stages"][-1]
        fees = count * 260_000 + 1_000 * bytes_moved + 1_200_000 + 2_000 * first["bytes_in"] + UPDATE
        front = max(front_cycles - fees, 0)
        rounds = {}
        for kind, hop in HOPS.items():
            taken = 1
            for group in groups(plan["stages"]):
                taken += 2 * hop + max(math.ceil(own[ix] / SLICE) for ix in group) - 1
            rounds[kind] = taken
        total = sum(own) + front
        throughput = {}
        for kind in HOPS:
            # The slowest canister; how many requests may be under way; and on one subnet the threads that all share.
            bounds = [SLICE / max(own), IN_PIPELINE / rounds[kind], SLICE / max(front, 1)]
            if kind == "one subnet":
                bounds.append(THREADS * SLICE / total)
            throughput[kind] = min(bounds)
        rows.append(
            {
                "stages": count,
                "weights": max(s["weight_bytes"] for s in plan["stages"]),
                "slowest": max(own),
                "front": front,
                "all": total,
                "cycles": front_cycles + sum(c + UPDATE for c in own if c),
                "crossing": bytes_moved - first["bytes_in"] - last["bytes_out"],
                "latency": rounds,
                "throughput": throughput,
            }
        )
    return rows


def number(value):
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def table(rows):
    lines = [
        "| stages | weights, largest | measured: instructions of the slowest | of the front | of all | cycles | bytes between | "
        "modelled: rounds, one subnet | a subnet each | requests a round, one subnet | a subnet each |",
        "| ---: | " + " ---: |" * 10,
    ]
    for row in rows:
        cells = [
            row["stages"],
            f"{row['weights'] / 1e6:.1f} MB",
            number(row["slowest"]),
            number(row["front"]) if row["front"] else "–",
            number(row["all"]),
            number(row["cycles"]),
            number(row["crossing"]) if row["crossing"] else "–",
            *(row["latency"][kind] for kind in HOPS),
            *(f"{row['throughput'][kind]:.2f}" for kind in HOPS),
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines)


TITLES = {
    "minilm-128": "MiniLM of 128 tokens",
    "resnet50": "ResNet-50",
    "mobilenetv2": "MobileNetV2 1.0/224",
}

HEAD = """# What stages cost and bring

Written by `scripts/scaling`. A model in stages ([INTERFACE.md](../INTERFACE.md#pipelines)) has three reasons: weights that one canister has no
room for; requests that many canisters answer together faster than one; products that one message after the other is too slow
for. It has one price: what crosses is paid by the byte, by the front, there and back.

**Measured**, on the embedded host (schedule `2025-10`), for the second request of a shape: the cycles that every canister's balance
lost, and from them, less the fees of [costs.md](costs.md), instructions. One stage is the model by itself in one canister,
without a front. `bytes between` leaves out what the first stage takes and the last gives. The bits of all answers are those
of the whole model.

**Modelled**, by these rules, of which the first two are the Internet Computer's and the others assumptions:

- a canister does {slice} instructions a round, one message at a time; a subnet runs {threads} canisters at a time;
- the front has {pipeline} requests under way at most;
- a call, and its reply, take {one} round within a subnet and {each} between two; nobody else keeps a canister waiting;
- a request takes a round to come in; then each stage in turn its call, its instructions and its reply. Parts of a product run side by side.
- requests a round are what the slowest canister lets through, or the front, the subnet's threads or the requests under way, whichever is least.

A round is about a second.
"""

TAIL = """
## What to read from it
- Stages make a request no faster: each adds two hops. They make many requests faster, until the front's messages or the number that is under
  way bound them; on one subnet its threads do before, so that more than some {threads} stages of equal cost need further subnets to be faster.
- The front pays 1,000 cycles for a byte that it sends and as much for one that comes back, twenty times what a stage takes to
  read it. Models that are narrow where they are cut (transformers, the late half of an image network) cost little more in
  stages; those of large early images cost a multiple.
- `ic-nn shard` balances instructions first, each byte counted as what its stage takes to read or write it, and then has few cross;
  the last column of `weights` says what a canister has to hold at least.
"""


def main():
    folder, document, names = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    head = HEAD.format(
        slice=number(SLICE), threads=THREADS, pipeline=IN_PIPELINE, one=HOPS["one subnet"], each=HOPS["a subnet each"]
    )
    parts = [head]
    for name in names:
        parts.append(f"\n## {TITLES.get(name, name)}\n{table(model(name, folder))}\n")
    parts.append(TAIL.format(threads=THREADS))
    document.write_text("".join(parts))


main()
