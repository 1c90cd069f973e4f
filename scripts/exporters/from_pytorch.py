"""PyTorch by both of its exporters: TorchScript's (`dynamo=False`) and the one on torch.export (`dynamo=True`).

Weights are random, from a seed: what is held is that the export computes what the module computes.
"""

import logging
import tempfile
import warnings
from importlib.metadata import version

import onnx
import torch
from torch import nn

from fixture import Fixtures

OPSETS = {"torchscript": 17, "dynamo": 18}


class Residual(nn.Module):
    """A small image classifier: convolutions with batch normalisation, a residual, dropout, both poolings."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 1),
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(8, 5))

    def forward(self, image):
        x = self.stem(image)
        x = nn.functional.max_pool2d(torch.relu(x + self.block(x)), 2)
        return self.head(x).softmax(-1)


class Classifier(nn.Module):
    """Text as token numbers: an embedding, the mean over those that are no padding, an MLP with layer normalisation."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 12, padding_idx=0)
        self.norm = nn.LayerNorm(12)
        self.out = nn.Linear(12, 4)

    def forward(self, tokens):
        mask = (tokens != 0).unsqueeze(-1).float()
        mean = (self.embedding(tokens) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.out(nn.functional.gelu(self.norm(mean)))


class Bag(nn.Module):
    """nn.EmbeddingBag over rows of one length."""

    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(50, 12, mode="mean")
        self.out = nn.Linear(12, 4)

    def forward(self, tokens):
        return self.out(self.bag(tokens))


class Recurrent(nn.Module):
    """Two layers of nn.LSTM, nn.GRU or nn.RNN, batch first; every step and the last state."""

    def __init__(self, kind, **settings):
        super().__init__()
        self.cells = kind(6, 10, num_layers=2, batch_first=True, **settings)
        self.out = nn.Linear(20 if settings.get("bidirectional") else 10, 3)

    def forward(self, series):
        steps, state = self.cells(series)
        last = state[0] if isinstance(state, tuple) else state
        return self.out(steps), last


class Encoder(nn.Module):
    """A transformer's encoder over embedded tokens: positions, a padding mask, the mean of what is no padding."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(40, 16)
        self.positions = nn.Embedding(32, 16)
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, activation="gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, tokens, mask):
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        x = self.layers(x, src_key_padding_mask=mask == 0)
        mask = mask.unsqueeze(-1).float()
        return (x * mask).sum(1) / mask.sum(1)


class Attention(nn.Module):
    """nn.MultiheadAttention of one sequence over another, with its weights."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, query, memory):
        return self.attention(query, memory, memory)


class Causal(nn.Module):
    """A decoder's block: causal scaled dot product attention, pre-normalised."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(40, 16)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.out = nn.Linear(16, 40)

    def forward(self, tokens):
        x = self.tokens(tokens)
        batch, length, _ = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(x + y.transpose(1, 2).reshape(batch, length, 16))


def segmentation():
    """Down and up again: strided convolution, transposed convolution, instance and group normalisation, upsampling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.InstanceNorm2d(6, affine=True), nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1), nn.GroupNorm(2, 4), nn.Hardswish(),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.PixelUnshuffle(2),
        nn.Conv2d(16, 2, 1), nn.Upsample(scale_factor=2, mode="nearest"), nn.Sigmoid(),
    )


def mlp():
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ELU(), nn.Linear(16, 3), nn.LogSoftmax(-1))


def normal(*shape):
    return torch.randn(*shape)


def tokens(*shape):
    """Token numbers without padding, 1 to 39."""
    return torch.randint(1, 40, shape)


def padded(*shape):
    """The same with some padding at the ends of rows."""
    rows = tokens(*shape)
    rows[-1, shape[1] // 2 + 1 :] = 0
    return rows


# Name: module, inputs with what draws them, outputs, which axes are dynamic, and shapes to ask for: the first is exported.
BATCH = {0: "batch"}
SEQUENCE = {0: "batch", 1: "tokens"}
MODELS = {
    "mlp": (mlp, {"x": normal}, ["scores"], {"x": BATCH}, [[(4, 5)], [(1, 5)], [(7, 5)]]),
    "cnn": (Residual, {"image": normal}, ["classes"], {"image": BATCH}, [[(2, 3, 16, 16)], [(1, 3, 16, 16)]]),
    "segmentation": (
        segmentation, {"image": normal}, ["mask"], {"image": {0: "batch", 2: "height", 3: "width"}},
        [[(2, 1, 8, 12)], [(1, 1, 16, 8)]],
    ),
    "text": (Classifier, {"tokens": padded}, ["classes"], {"tokens": SEQUENCE}, [[(2, 9)], [(3, 5)]]),
    "bag": (Bag, {"tokens": tokens}, ["classes"], {"tokens": BATCH}, [[(2, 6)], [(3, 6)]]),
    "lstm": (
        lambda: Recurrent(nn.LSTM), {"series": normal}, ["steps", "last"], {"series": {0: "batch", 1: "time"}},
        [[(2, 7, 6)], [(1, 4, 6)]],
    ),
    "gru": (
        lambda: Recurrent(nn.GRU, bidirectional=True), {"series": normal}, ["steps", "last"], {"series": BATCH},
        [[(2, 5, 6)], [(1, 5, 6)]],
    ),
    "rnn": (
        lambda: Recurrent(nn.RNN, nonlinearity="relu"), {"series": normal}, ["steps", "last"], {"series": BATCH},
        [[(2, 5, 6)], [(1, 5, 6)]],
    ),
    "encoder": (
        Encoder, {"tokens": tokens, "mask": lambda *s: (padded(*s) != 0).long()}, ["sentence"],
        {"tokens": SEQUENCE, "mask": SEQUENCE}, [[(2, 7), (2, 7)], [(3, 7), (3, 7)], [(3, 12), (3, 12)]],
    ),
    "attention": (
        Attention, {"query": normal, "memory": normal}, ["attended", "weights"],
        {"query": {0: "batch", 1: "queries"}, "memory": {0: "batch", 1: "tokens"}},
        [[(2, 3, 16), (2, 6, 16)], [(1, 3, 16), (1, 6, 16)], [(1, 5, 16), (1, 4, 16)]],
    ),
    "causal": (Causal, {"tokens": tokens}, ["logits"], {"tokens": SEQUENCE}, [[(2, 6)], [(1, 11)]]),
}

# nn.MultiheadAttention is exported by TorchScript with the lengths of the example: only the batch is dynamic, which leaves
# the first two cases.
BAKED_LENGTHS = ("encoder", "attention")


def torchscript(module, example, inputs, outputs, axes):
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.onnx"
        torch.onnx.export(
            module, example, file, dynamo=False, opset_version=OPSETS["torchscript"],
            input_names=inputs, output_names=outputs, dynamic_axes=axes,
        )
        return onnx.load(file)


def dynamo(module, example, inputs, outputs, axes):
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/model.onnx"
        torch.onnx.export(
            module, example, file, dynamo=True, external_data=False, opset_version=OPSETS["dynamo"],
            input_names=inputs, output_names=outputs, dynamic_shapes=tuple(axes.values()), verbose=False,
        )
        return onnx.load(file, load_external_data=False)


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    packages = ("torch", "onnx", "onnxscript")
    fixtures = Fixtures("pytorch", {package: version(package) for package in packages})
    for name, (make, draw, outputs, axes, shapes) in MODELS.items():
        torch.manual_seed(7)
        module = make().eval()
        for part in module.modules():
            # As after training: statistics that are not 0 and 1.
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.running_mean.normal_(0, 0.5)
                part.running_var.uniform_(0.5, 2)
        asked = [tuple(d(*shape) for d, shape in zip(draw.values(), row)) for row in shapes]
        cases = []
        for row in asked:
            with torch.no_grad():
                answer = module(*row)
            answer = answer if isinstance(answer, tuple) else (answer,)
            cases.append(({key: value.numpy() for key, value in zip(draw, row)}, [a.numpy() for a in answer]))
        fixtures.write(f"{name}-dynamo", dynamo(module, asked[0], list(draw), outputs, axes), *cases)
        if name in BAKED_LENGTHS:
            axes, cases = {key: BATCH for key in axes}, cases[:2]
        fixtures.write(f"{name}-torchscript", torchscript(module, asked[0], list(draw), outputs, axes), *cases)


if __name__ == "__main__":
    main()
