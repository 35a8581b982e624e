"""k-means from poor starts, by Lloyd, by gradients and annealed; and on the codes of a network.

"k-means is a linear layer" of the chapter "factorization", over three seeds, each with training
digits, starts and weights of its own. Poor starts are twelve, all centres near the mean of the
digits. Then annealed clusters of pixels, of the codes of a convolutional autoencoder, and of codes
that were trained together with the clusters.

The annealing schedule was chosen on poor starts of seeds 10 to 17 and all digits. Rates, epochs and
the weight of the joint loss were set once and looked at on seed 10 only.
"""

from __future__ import annotations

import statistics

import torch
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor, nn

from gdl import data
from gdl.factorization.kmeans import clustering_accuracy
from gdl.factorization.kmeans_net import KMeansLayer, KMeansNet
from studies._autoencoders import ConvAutoencoder, train_autoencoder
from studies._runner import Measurements, run

STARTS, SPREAD, CLASSES = 12, 0.1, 10
GRADIENTS = {"epochs": 20, "lr": 1e-2, "batch_size": 128}
CODE, TURNS, WEIGHT = 10, 4, 0.1
ALONE, TOGETHER = {"epochs": 60, "lr": 3e-3}, {"epochs": 10, "lr": 1e-3}


class Unchanged(nn.Module):
    """The autoencoder that leaves everything as it is."""

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, codes: Tensor) -> Tensor:
        return codes


def measure(seed: int) -> Measurements:
    """Digits of one training split."""
    images, labels = data.digits("train", seed=seed)
    yield from from_poor_starts(images.flatten(1), labels, seed)
    yield from on_codes(images, labels, seed)


def from_poor_starts(
    points: Tensor, labels: Tensor, seed: int, starts: int = STARTS
) -> Measurements:
    """Inertia and agreement with the classes, over the starts."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(starts, CLASSES, points.shape[1], generator=generator)
    poor = points.mean(0) + SPREAD * noise
    variants = {
        "Lloyd": [fitted(points, init=start) for start in poor],
        "k-means++": [fitted(points, seed=starts * seed + i) for i in range(starts)],
        "minibatch gradients": [by_gradients(points, start, seed) for start in poor],
        "annealed": [fitted(points, init=start, mode="annealed") for start in poor],
    }
    for variant, layers in variants.items():
        totals = [float(layer.objective(points).detach()) for layer in layers]
        shares = [clustering_accuracy(layer.predict(points), labels) for layer in layers]
        yield variant, "inertia, mean", statistics.mean(totals)
        yield variant, "inertia, deviation", statistics.stdev(totals)
        yield variant, "accuracy, mean", statistics.mean(shares)


def on_codes(images: Tensor, labels: Tensor, seed: int) -> Measurements:
    """Agreement of ten clusters with the classes: of pixels, of codes, and of codes made for it."""
    yield from agreement("pixels", KMeansNet(CLASSES, mode="annealed", seed=seed), images, labels)
    autoencoder = ConvAutoencoder(images.shape[-1], CODE, seed=seed)
    train_autoencoder(autoencoder, images, seed=seed, **ALONE)
    net = KMeansNet(CLASSES, mode="annealed", autoencoder=autoencoder, seed=seed)
    yield from agreement("codes", net, images, labels)
    for _ in range(TURNS):
        layer = net.fit(images).layer_
        train_autoencoder(autoencoder, images, layer=layer, weight=WEIGHT, seed=seed, **TOGETHER)
    yield from agreement("codes trained together", net, images, labels)


def agreement(variant: str, net: KMeansNet, images: Tensor, labels: Tensor) -> Measurements:
    """Fit, and compare with the classes."""
    points = images if net.autoencoder is not None else images.flatten(1)
    found = net.fit(points).labels_
    yield variant, "accuracy", clustering_accuracy(found, labels)
    yield variant, "mutual information", normalized_mutual_info_score(labels, found)


def fitted(points: Tensor, **arguments) -> KMeansLayer:
    """The layer of an estimator with these arguments."""
    return KMeansNet(CLASSES, **arguments).fit(points).layer_


def by_gradients(points: Tensor, start: Tensor, seed: int) -> KMeansLayer:
    """The hard layer, trained by Adam on batches of points."""
    layer = KMeansLayer(start)
    train_autoencoder(Unchanged(), points, layer=layer, weight=1.0, seed=seed, **GRADIENTS)
    return layer


if __name__ == "__main__":
    run("kmeans_net", measure)
