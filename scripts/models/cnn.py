"""A small convolutional network in numpy: forward, backward, Adam. What it computes is what the exported graph must compute.

Images are [batch, height, width, channels] inside, the layout in which a convolution is one matrix product; `Network.weights`
hands convolutions out as ONNX has them, [out, in, 3, 3].
"""

import numpy as np

CHANNELS = (1, 16, 32, 32)
CLASSES = 10
FLAT = CHANNELS[-1] * 2 * 2


def patches(x):
    """The 3 x 3 neighbourhoods of [n, h, w, c], zero beyond the edge, as rows [n * h * w, c * 9]."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return windows.reshape(-1, x.shape[3] * 9)


def convolve(x, weight):
    """`x` [n, h, w, in] with `weight` [in * 9, out]; also returns the patches, which the gradient needs."""
    rows = patches(x)
    return (rows @ weight).reshape(*x.shape[:3], -1), rows


def pool(x):
    """The largest of each 2 x 2 block."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def unpool(gradient, x, pooled):
    """`gradient` of `pooled`, handed to those elements of `x` that are their block's largest."""
    def spread(array):
        return array.repeat(2, axis=1).repeat(2, axis=2)

    return spread(gradient) * (x == spread(pooled))


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


class Network:
    """Conv 16, Conv 32, MaxPool, Conv 32, MaxPool, Gemm 10, Softmax on 8 x 8 images, ReLU after each convolution."""

    def __init__(self, random):
        def normal(inputs, outputs):
            return (random.standard_normal((inputs, outputs)) * np.sqrt(2 / inputs)).astype(np.float32)

        self._parameters = []
        for inputs, outputs in zip(CHANNELS, CHANNELS[1:]):
            self._parameters += [normal(inputs * 9, outputs), np.zeros(outputs, np.float32)]
        self._parameters += [normal(FLAT, CLASSES), np.zeros(CLASSES, np.float32)]
        self._moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self._parameters]
        self._steps = 0

    def probabilities(self, images):
        """[n, 8, 8] in 0..1 to [n, 10]."""
        return self._forward(images)[0]

    def _forward(self, images):
        w1, b1, w2, b2, w3, b3, w4, b4 = self._parameters
        a1, rows1 = convolve(images[..., None], w1)
        a1 = np.maximum(a1 + b1, 0)
        a2, rows2 = convolve(a1, w2)
        a2 = np.maximum(a2 + b2, 0)
        p2 = pool(a2)
        a3, rows3 = convolve(p2, w3)
        a3 = np.maximum(a3 + b3, 0)
        p3 = pool(a3)
        # ONNX flattens channels first.
        flat = p3.transpose(0, 3, 1, 2).reshape(len(images), FLAT)
        return softmax(flat @ w4 + b4), (a1, a2, p2, a3, p3, flat, rows1, rows2, rows3)

    def train(self, images, targets, rate):
        """One Adam step down the cross entropy between the network's answers and `targets` [n, 10]."""
        answers, (a1, a2, p2, a3, p3, flat, rows1, rows2, rows3) = self._forward(images)
        w1, b1, w2, b2, w3, b3, w4, b4 = self._parameters

        def through_conv(gradient, rows, weight):
            """Gradients of the convolution's weight, bias and input."""
            outputs = weight.shape[1]
            flipped = weight.reshape(-1, 3, 3, outputs)[:, ::-1, ::-1].transpose(3, 1, 2, 0).reshape(outputs * 9, -1)
            columns = gradient.reshape(-1, outputs)
            return rows.T @ columns, columns.sum(axis=0), convolve(gradient, flipped)[0]

        g = (answers - targets) / len(images)
        g4 = [flat.T @ g, g.sum(axis=0)]
        n, h, w, c = p3.shape
        g = (g @ w4.T).reshape(n, c, h, w).transpose(0, 2, 3, 1)
        *g3, g = through_conv(unpool(g, a3, p3) * (a3 > 0), rows3, w3)
        *g2, g = through_conv(unpool(g, a2, p2) * (a2 > 0), rows2, w2)
        *g1, _ = through_conv(g * (a1 > 0), rows1, w1)
        self._adam([*g1, *g2, *g3, *g4], rate)

    def _adam(self, gradients, rate, decay=(0.9, 0.999)):
        self._steps += 1
        slow = [1 - beta**self._steps for beta in decay]
        for parameter, gradient, (mean, square) in zip(self._parameters, gradients, self._moments):
            mean += (1 - decay[0]) * (gradient - mean)
            square += (1 - decay[1]) * (gradient**2 - square)
            parameter -= rate * (mean / slow[0]) / (np.sqrt(square / slow[1]) + 1e-8)

    def weights(self):
        """(weight, bias) of each layer in ONNX's layout: convolutions [out, in, 3, 3], the last layer [out, in]."""
        pairs = list(zip(self._parameters[::2], self._parameters[1::2]))
        convolutions = [(w.T.reshape(w.shape[1], -1, 3, 3), b) for w, b in pairs[:-1]]
        return [*convolutions, (pairs[-1][0].T, pairs[-1][1])]
