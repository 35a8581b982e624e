"""Digits on the sphere, learned upright or rotated, tested upright or rotated.

"Learning on the sphere" of the chapter "rotations", over three seeds: lifted filters, zonal ones,
and a planar network on the map of rows and columns, each of about 7,000 weights, and a zonal
network of more layers and higher degrees, of 9,900. NR is not rotated, R is rotated; NR/R is
trained on the one and tested on the other, as in Cohen et al. 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl.data import digits, project_on_sphere, spherical_digits
from gdl.geometry import random_rotations
from gdl.rotations.sphere import sphere_grid
from gdl.rotations.spherical_cnn import SphericalCNN, ZonalCNN
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

GRID_DEGREE = 16
TRAINING_DIGITS = 500


def planar() -> nn.Sequential:
    """A convolutional network that takes rows and columns of the grid for a picture."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(12, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(),
        nn.AdaptiveAvgPool2d((4, 6)), nn.Flatten(), nn.Linear(480, 10),
    )  # fmt: skip


def deep_zonal() -> ZonalCNN:
    degrees, channels = (10, 8, 6), (24, 24, 24)
    return ZonalCNN(1, 10, grid_degree=GRID_DEGREE, degrees=degrees, channels=channels)


VARIANTS = {
    "lifted": lambda: SphericalCNN(1, 10, grid_degree=GRID_DEGREE),
    "zonal": lambda: ZonalCNN(1, 10, grid_degree=GRID_DEGREE),
    "zonal, deeper": deep_zonal,
    "planar": planar,
}


def learn(model: nn.Module, x: Tensor, y: Tensor, seed: int, transform=None) -> nn.Module:
    """One recipe for all: a large step first, then a small one, which the batch norms need."""
    for steps, lr in ((200, 1e-2), (100, 1e-3)):
        fit(model, x, y, steps=steps, lr=lr, seed=seed, transform=transform)
    return model


def measure(seed: int) -> Measurements:
    """Test accuracy of each network in each of the three settings."""
    points, _ = sphere_grid(GRID_DEGREE)
    test = {r: spherical_digits("test", points, rotated=r, seed=seed) for r in (False, True)}
    train = {r: spherical_digits("train", points, rotated=r, seed=seed) for r in (False, True)}
    chosen = torch.randperm(len(train[True][1]), generator=torch.Generator().manual_seed(seed))
    chosen = chosen[:TRAINING_DIGITS]
    for variant, make in VARIANTS.items():
        for rotated, name in ((False, "NR"), (True, "R")):
            torch.manual_seed(seed)
            x, y = train[rotated]
            model = learn(make(), x[chosen], y[chosen], seed)
            if not rotated:
                yield variant, "accuracy NR/NR", accuracy(model, *test[False])
            yield variant, f"accuracy {name}/R", accuracy(model, *test[True])
    torch.manual_seed(seed)
    images, labels = digits("train")

    def anyhow(pictures: Tensor) -> Tensor:
        return project_on_sphere(pictures, points, random_rotations(len(pictures)))

    model = learn(planar(), images[chosen], labels[chosen], seed, anyhow)
    yield "planar, augmented", "accuracy R/R", accuracy(model, *test[True])


if __name__ == "__main__":
    run("spherical_digits", measure)
