"""A CRF between pixels, trained end to end, against the evidence of each pixel by itself.

"Trained end to end" of the chapter "inference", over three seeds, each with training scenes, test
scenes and first weights of its own. A classifier of single pixels is trained alone. Then the CRF is
set by hand on top of it, trained on top of it with the classifier frozen, and trained together with
it, with 1, 2, 5 and 10 steps; one such network sees positions only, and no colours. Three
convolutions, which see 13 by 13 pixels, are the rival.

Widths, weights, rates and numbers of steps were set on seed 10. What else is measured: the least
eigenvalue of the trained fields, and whether a parallel step raises their free energy.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from gdl.data.scenes import colour_scenes
from gdl.inference.crf import (
    MeanFieldCRF,
    PixelClassifier,
    SegmentationNet,
    mean_iou,
    train_segmentation,
)
from gdl.inference.updates import mean_field
from gdl.training import count_parameters, predict
from studies._runner import Measurements, run

CLASSES, SIZE = 3, 20
TRAINING, TESTING = 48, 64
UNARY = {"steps": 200, "lr": 1e-2, "batch_size": 8}
JOINT = {"steps": 60, "lr": 3e-2, "batch_size": 6}
CONVOLUTIONS = {"steps": 400, "lr": 3e-3, "batch_size": 8}
BLIND = 1e6


def scenes(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images and labels to train and to test."""
    return (
        colour_scenes(TRAINING, size=SIZE, classes=CLASSES, seed=seed),
        colour_scenes(TESTING, size=SIZE, classes=CLASSES, seed=1000 + seed),
    )


def measure(seed: int) -> Measurements:
    """Scenes and weights of one seed."""
    learned, tested = scenes(seed)
    pixels = PixelClassifier(3, CLASSES, seed=seed)
    train_segmentation(pixels, *learned, classes=CLASSES, seed=seed, **UNARY)
    yield from scores("pixels alone", SegmentationNet(pixels), tested)
    by_hand = SegmentationNet(pixels, MeanFieldCRF(CLASSES))
    yield from scores("CRF set by hand", by_hand, tested)
    frozen = together(copy.deepcopy(pixels).requires_grad_(False), learned, seed)
    yield from scores("CRF, pixels frozen", frozen, tested)
    for steps in (1, 2, 5, 10):
        net = together(pixels, learned, seed, steps=steps)
        yield from scores(f"CRF, {steps} steps", net, tested)
        if steps == 5:
            yield from descent("CRF, 5 steps", net, tested[0])
            net.crf.steps = 10
            yield from scores("CRF, trained with 5 steps, run with 10", net, tested)
    blind = together(pixels, learned, seed, colour_width=BLIND)
    yield from scores("CRF, blind to colour", blind, tested)
    rival = convolutions(seed)
    train_segmentation(rival, *learned, classes=CLASSES, seed=seed, **CONVOLUTIONS)
    yield from scores("three convolutions", rival, tested)


def together(
    pixels: nn.Module, learned: tuple[Tensor, Tensor], seed: int, **arguments
) -> SegmentationNet:
    """A copy of the classifier with a CRF on top, trained as one network."""
    net = SegmentationNet(copy.deepcopy(pixels), MeanFieldCRF(CLASSES, **arguments))
    train_segmentation(net, *learned, classes=CLASSES, seed=seed, **JOINT)
    return net


def convolutions(seed: int) -> nn.Sequential:
    """Three layers that see 13 by 13 pixels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2), nn.ReLU(),
            nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(),
            nn.Conv2d(16, CLASSES, 5, padding=2),
        )


def scores(variant: str, net: nn.Module, tested: tuple[Tensor, Tensor]) -> Measurements:
    """How well the labels of new scenes are found."""
    images, labels = tested
    found = predict(net, images, batch_size=8).argmax(1)
    yield variant, "mean IoU", mean_iou(found, labels, CLASSES)
    yield variant, "accuracy", float((found == labels).double().mean())
    yield variant, "parameters", count_parameters(net)


def descent(
    variant: str, net: SegmentationNet, images: Tensor, pictures: int = 8, steps: int = 20
) -> Measurements:
    """The least eigenvalue of the fields, and the largest rise of F in a parallel step."""
    net = copy.deepcopy(net).double().requires_grad_(False)
    x = images[:pictures].double()
    field = net.crf.field(net.unary(x), x)
    rises = mean_field(field, steps).free_energies.diff(dim=0)
    yield variant, "least eigenvalue", float(field.zero_sum_spectrum()[..., 0].min())
    yield variant, "largest rise", float(rises.max())


if __name__ == "__main__":
    run("crf", measure)
