"""Digits learned at one place of a canvas and tested at others, with and without weight sharing.

"What the symmetry buys" of the chapter "grids", over three seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl import data
from gdl.grids import CircularConv, LocallyConnected2d, shift
from gdl.training import accuracy, fit
from studies._runner import Measurements, convolutional, run

PLACE = (4, 4)
TESTS = {"in place": [PLACE], "one pixel off": [(4, 5)], "anywhere": None}


def fully_connected() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 12), nn.ReLU(), nn.Linear(12, 10))


def locally_connected() -> nn.Sequential:
    return nn.Sequential(
        LocallyConnected2d(1, 1, 3, size=(16, 16)), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(64, 10),
    )


def dense_head() -> nn.Sequential:
    return nn.Sequential(
        CircularConv(1, 5, 3), nn.ReLU(),
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(320, 10),
    )


def random_places(batch: Tensor) -> Tensor:
    """Each digit of a batch moved from the centre to a place of its own, uniform on the canvas."""
    steps = torch.randint(-4, 5, (len(batch), 2)).tolist()
    return torch.stack([shift(tuple(g), x) for g, x in zip(steps, batch, strict=True)])


# Builder, epochs, learning rate, augmentation.
VARIANTS = {
    "fully connected": (fully_connected, 40, 5e-3, None),
    "locally connected": (locally_connected, 40, 1e-2, None),
    "dense head": (dense_head, 40, 1e-2, None),
    "augmented": (fully_connected, 40, 5e-3, random_places),
    "convolutional": (convolutional, 20, 1e-2, None),
}


def measure(seed: int) -> Measurements:
    """Test accuracy at the place of training, one pixel to its right, and at random places."""
    x, y, _ = data.digits_on_canvas(16, [PLACE])
    tests = {
        name: data.digits_on_canvas(16, places, split="test")[:2]
        for name, places in TESTS.items()
    }
    for variant, (build, epochs, lr, augment) in VARIANTS.items():
        torch.manual_seed(seed)
        model = build()
        fit(model, x, y, epochs=epochs, lr=lr, seed=seed, transform=augment)
        for name, test in tests.items():
            yield variant, f"accuracy {name}", accuracy(model, *test)


if __name__ == "__main__":
    run("shifted_digits", measure)
