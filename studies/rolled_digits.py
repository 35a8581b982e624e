"""Digits rolled around the torus: an MLP, plain and augmented, against the blueprint.

The learning sections of the chapter "one_equation", over three seeds.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from gdl import data
from gdl.grids import BlurPool, CircularConv, shift
from gdl.training import accuracy, fit
from studies._runner import Measurements, run


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def blueprint() -> nn.Sequential:
    return nn.Sequential(
        CircularConv(1, 10, 3), nn.ReLU(),
        BlurPool(2, stride=1),
        CircularConv(10, 22, 3, dilation=2), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(22, 10),
    )


def random_rolls(batch: Tensor) -> Tensor:
    """Each image of a batch rolled by a shift of its own, uniform on the torus."""
    steps = torch.randint(8, (len(batch), 2)).tolist()
    return torch.stack([shift(tuple(g), x) for g, x in zip(steps, batch, strict=True)])


VARIANTS = {"MLP": (mlp, None), "augmented": (mlp, random_rolls), "blueprint": (blueprint, None)}


def measure(seed: int) -> Measurements:
    """Test accuracy on upright digits, and its mean over the 64 shifts of the torus."""
    train, (images, labels) = data.digits("train"), data.digits("test")
    for variant, (build, augment) in VARIANTS.items():
        torch.manual_seed(seed)
        model = build()
        fit(model, *train, epochs=30, seed=seed, transform=augment)
        rolled = [
            accuracy(model, shift(g, images), labels)
            for g in itertools.product(range(8), repeat=2)
        ]
        yield variant, "accuracy upright", rolled[0]
        yield variant, "accuracy rolled", sum(rolled) / len(rolled)


if __name__ == "__main__":
    run("rolled_digits", measure)
