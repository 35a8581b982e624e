"""Digits on the icosphere, upright or rotated: frames and transport, no directions, no transport.

"The icosahedral network" of the chapter "gauges", over three seeds: regular fields with transport,
scalar fields with isotropic kernels, regular fields that are read across charts as if all frames
agreed, and a planar network on the five charts, each of about 7,000 weights. NR is not rotated, R
is rotated by any rotation, I by one of the sixty of the icosahedron; NR/R is trained on the one and
tested on the other, as in Cohen et al. 2018. Data, recipe and sizes are those of the study
"spherical_digits", on 642 vertices instead of 17 x 33 points.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl.data import digits, project_on_sphere, spherical_digits
from gdl.gauges.icosahedral import IcosahedralCNN
from gdl.gauges.icosahedral_grid import IcosahedralGrid
from gdl.geodesics import icosahedral_rotations
from gdl.geometry import random_rotations
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

GRID = IcosahedralGrid(3)
POINTS = GRID.mesh.vertices[None]
TRAINING_DIGITS = 500


class ChartsAsPictures(nn.Module):
    """A planar network that takes each of the five charts for a picture."""

    def __init__(self):
        super().__init__()
        self.register_buffer("charts", GRID.charts)
        self.each = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 20, 3, padding=1), nn.BatchNorm2d(20), nn.ReLU(),
            nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(5 * 80, 10)

    def forward(self, x: Tensor) -> Tensor:
        pictures = x[:, 0, 0][:, self.charts].flatten(0, 1)[:, None]
        return self.head(self.each(pictures).unflatten(0, (-1, 5)).flatten(1))


def icosahedral(*channels: int, **options) -> IcosahedralCNN:
    return IcosahedralCNN(1, 10, GRID, channels=channels, pool_after=(0, 2), **options)


VARIANTS = {
    "icosahedral": lambda: icosahedral(5, 8, 8, 8),
    "isotropic": lambda: icosahedral(20, 32, 36, 36, fibre="scalar"),
    "without transport": lambda: icosahedral(5, 8, 8, 8, transport=False),
    "charts as pictures": ChartsAsPictures,
}


def learn(model: nn.Module, x: Tensor, y: Tensor, seed: int, transform=None) -> nn.Module:
    """One recipe for all: a large step first, then a small one, which the batch norms need."""
    for steps, lr in ((200, 1e-2), (100, 1e-3)):
        fit(model, x, y, steps=steps, lr=lr, seed=seed, transform=transform)
    return model


def measure(seed: int) -> Measurements:
    """Test accuracy of each network in each of the settings."""
    generator = torch.Generator().manual_seed(seed)
    test = {r: spherical_digits("test", POINTS, rotated=r, seed=seed) for r in (False, True)}
    train = {r: spherical_digits("train", POINTS, rotated=r, seed=seed) for r in (False, True)}
    chosen = torch.randperm(len(train[True][1]), generator=generator)[:TRAINING_DIGITS]
    images, labels = digits("test")
    sixty = icosahedral_rotations()[torch.randint(60, (len(images),), generator=generator)]
    turned = project_on_sphere(images, POINTS, sixty), labels
    for variant, make in VARIANTS.items():
        for rotated, name in ((False, "NR"), (True, "R")):
            torch.manual_seed(seed)
            x, y = train[rotated]
            model = learn(make(), x[chosen], y[chosen], seed)
            if not rotated:
                yield variant, "accuracy NR/NR", accuracy(model, *test[False])
                yield variant, "accuracy NR/I", accuracy(model, *turned)
            yield variant, f"accuracy {name}/R", accuracy(model, *test[True])
    torch.manual_seed(seed)
    images, labels = digits("train")

    def anyhow(pictures: Tensor) -> Tensor:
        return project_on_sphere(pictures, POINTS, random_rotations(len(pictures)))

    model = learn(ChartsAsPictures(), images[chosen], labels[chosen], seed, anyhow)
    yield "charts as pictures, augmented", "accuracy R/R", accuracy(model, *test[True])


if __name__ == "__main__":
    run("icosahedral_digits", measure)
