"""Trains the digits classifier and writes it with its labels, sample pictures, held-out images and expected answers.

Owns models/digits.onnx and models/digits/, and the terms they are accepted on: accuracy on the held-out fifth, onnxruntime
agreeing with the network that was trained, and pictures that survive the resizing filters programs use. Fails rather than
write a model that breaks them.
"""

import os

# One BLAS thread and one BLAS kernel: sums in the same order on every x86-64 machine with AVX2.
os.environ.update(OPENBLAS_NUM_THREADS="1", OPENBLAS_CORETYPE="Haswell")

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from cnn import CLASSES, Network
from graph import Graph

MODELS = Path(__file__).resolve().parents[2] / "models"
MODEL = MODELS / "digits.onnx"
FOLDER = MODELS / "digits"

SEED = 7
EPOCHS = 60
BATCH = 32
RATE = 2e-3
# Shares what the right class is asked for with the others, so that answers are not all ones and noughts.
SMOOTHING = 0.05

SIZE = 8
ENLARGE = 7
SAMPLES = 12
FILTERS = {"box": Image.BOX, "triangle": Image.BILINEAR, "cubic": Image.BICUBIC, "lanczos": Image.LANCZOS}

REQUIRED_ACCURACY = 0.97
EXPORT_TOLERANCE = 1e-5


def unit(images):
    """Images with values 0..16 as the network's input, float32 in 0..1."""
    return (images / 16).astype(np.float32)


def resized(image, size, kernel):
    return np.asarray(Image.fromarray(image.astype(np.float32)).resize((size, size), kernel))


def picture(image):
    """Enlarges an image of 0..16 to 8-bit grey, smooth to the eye, whose blocks' means are the image's pixels.

    Plain interpolation blurs the means. So what they lack is enlarged and added, until they are right.
    """
    target = image * (255 / 16)
    large = np.zeros((SIZE * ENLARGE, SIZE * ENLARGE), np.float32)
    for _ in range(30):
        lacking = target - resized(large, SIZE, Image.BOX)
        large = np.clip(large + resized(lacking, SIZE * ENLARGE, Image.BICUBIC), 0, 255)
    return np.rint(large).astype(np.uint8)


def block_means(large):
    """The network's input from a picture: the mean of each block of 7 x 7 pixels, divided by 255."""
    blocks = large.reshape(SIZE, ENLARGE, SIZE, ENLARGE)
    return (blocks.mean(axis=(1, 3)) / 255).astype(np.float32)


def blurred(images):
    """What a triangle filter makes of the pictures: half of the training sees this, so that either resizing will do."""
    return np.stack([np.asarray(Image.fromarray(picture(i)).resize((SIZE, SIZE), Image.BILINEAR)) / 255 for i in images])


def trained(images, labels):
    """A network trained on images of 0..16."""
    random = np.random.default_rng(SEED)
    network = Network(random)
    sharp, soft = unit(images), blurred(images).astype(np.float32)
    targets = np.eye(CLASSES, dtype=np.float32)[labels] * np.float32(1 - SMOOTHING) + np.float32(SMOOTHING / CLASSES)
    for epoch in range(EPOCHS):
        rate = np.float32(RATE * (1 + np.cos(np.pi * epoch / EPOCHS)) / 2)
        order = random.permutation(len(images))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            share = random.random((len(chosen), 1, 1), dtype=np.float32)
            network.train(share * sharp[chosen] + (1 - share) * soft[chosen], targets[chosen], rate)
    return network


def export(network, accuracy):
    """Writes the network to models/digits.onnx."""
    g = Graph("digits")
    (w1, b1), (w2, b2), (w3, b3), (w4, b4) = network.weights()
    x = g.input("image", ("batch", 1, SIZE, SIZE))
    x = g.same("Relu", [g.conv(x, "conv1", w1, b1)], "relu1")
    x = g.same("Relu", [g.conv(x, "conv2", w2, b2)], "relu2")
    x = g.max_pool(x, "pool2", kernel=2, stride=2)
    x = g.same("Relu", [g.conv(x, "conv3", w3, b3)], "relu3")
    x = g.max_pool(x, "pool3", kernel=2, stride=2)
    x = g.gemm(g.flatten(x, "flatten"), "logits", w4, b4, scope="classifier")
    g.output(g.same("Softmax", [x], "probabilities", axis=1))
    digest = g.write(
        MODEL,
        "Tells handwritten digits apart. Input: 8 x 8 grey, 0 paper to 1 ink. Output: a probability for each digit.",
        {
            "task": "image-classification",
            "source": "UCI Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), as scikit-learn bundles it",
            "licence": "MIT OR Apache-2.0",
            "labels": ",".join(map(str, range(CLASSES))),
            "held_out_accuracy": f"{accuracy:.4f}",
        },
    )
    print(f"{MODEL.name}: {MODEL.stat().st_size:,} bytes, {g.parameters:,} parameters, {g.macs:,} MACs, sha256 {digest}")


def chosen(images, labels):
    """Which images become samples, as (label, turn, index): of each digit the most typical, then the next, up to SAMPLES."""

    def likeness(digit, index):
        """The cosine between an image and the mean of its class: high for digits that people read easily."""
        mean = images[labels == digit].mean(axis=0)
        return (images[index] * mean).sum() / (np.linalg.norm(images[index]) * np.linalg.norm(mean))

    queues = [sorted(np.flatnonzero(labels == digit), key=lambda i: -likeness(digit, i)) for digit in range(CLASSES)]
    order = [(digit, turn, queues[digit][turn]) for turn in range(2) for digit in range(CLASSES)]
    return sorted(order[:SAMPLES])


def main():
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, SIZE, SIZE).astype(np.uint8)
    seen, held, seen_labels, held_labels = train_test_split(
        images, labels.astype(np.uint8), test_size=0.2, stratify=labels, random_state=SEED
    )
    network = trained(seen, seen_labels)
    ours = network.probabilities(unit(held))
    accuracy = (ours.argmax(axis=1) == held_labels).mean()
    print(f"held-out accuracy {accuracy:.2%} ({len(held)} images; {len(seen)} trained on)")
    if accuracy < REQUIRED_ACCURACY:
        sys.exit(f"error: below {REQUIRED_ACCURACY:.0%}, nothing written")

    export(network, accuracy)
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])

    def infer(inputs):
        """The exported model's answers for [n, 8, 8] in 0..1."""
        return session.run(["probabilities"], {"image": inputs[:, None].astype(np.float32)})[0]

    theirs = infer(unit(held))
    difference = np.abs(ours - theirs).max()
    print(f"onnxruntime differs from the trained network by at most {difference:.1e}")
    if difference > EXPORT_TOLERANCE:
        sys.exit(f"error: more than {EXPORT_TOLERANCE:.0e}")

    pictures = [picture(image) for image in held]
    means = np.stack([block_means(large) for large in pictures])
    print(f"pictures' block means are off by at most {np.abs(means - unit(held)).max():.4f} of full scale")
    certainty = np.ones(len(held))
    for name, kernel in FILTERS.items():
        small = np.stack([np.asarray(Image.fromarray(large).resize((SIZE, SIZE), kernel)) for large in pictures])
        answers = infer(small / 255)
        correct = answers.argmax(axis=1) == held_labels
        print(f"  held-out accuracy from pictures resized with the {name} filter: {correct.mean():.2%}")
        certainty = np.minimum(certainty, answers.max(axis=1) * correct)

    FOLDER.mkdir(parents=True, exist_ok=True)
    for stale in FOLDER.glob("digit-*.png"):
        stale.unlink()
    samples = []
    for label, turn, index in chosen(held, held_labels):
        name = f"digit-{label}-{turn}.png"
        Image.fromarray(pictures[index]).save(FOLDER / name, optimize=True)
        answer = [round(float(share), 6) for share in infer(means[index][None])[0]]
        samples.append({"file": name, "label": int(label), "held_out": int(index), "probabilities": answer})
    (FOLDER / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(CLASSES)))
    np.savez(FOLDER / "heldout.npz", images=held, labels=held_labels)
    expected = {
        "held_out": {"images": len(held), "correct": int((theirs.argmax(axis=1) == held_labels).sum())},
        "samples": samples,
    }
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    least = min(certainty[sample["held_out"]] for sample in samples)
    print(f"{len(samples)} samples in {FOLDER}, each told rightly through every filter, with {least:.0%} certainty or more")
    if least < 0.5:
        sys.exit("error: that is too little for a sample")


if __name__ == "__main__":
    main()
