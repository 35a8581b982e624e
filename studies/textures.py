"""Patches of brick, grass and gravel, upright and moved, with and without the eight moves.

"What a symmetry buys" of the chapter "symmetry", over three seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl import data
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

SIZE = 16


def network() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 32), nn.ReLU(), nn.Linear(32, 3))


def moved(x: Tensor, k: int) -> Tensor:
    """A picture turned by k quarters, for k >= 4 after a mirror image."""
    return torch.rot90(x.flip(-1) if k >= 4 else x, k % 4, (-2, -1))


class Averaged(nn.Module):
    """The mean of a network's answers over the eight moves of the square."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.net(moved(x, k)) for k in range(8)]).mean(0)


def random_moves(batch: Tensor) -> Tensor:
    """Each patch of a batch moved on its own."""
    moves = torch.randint(8, (len(batch),)).tolist()
    return torch.stack([moved(x, k) for x, k in zip(batch, moves, strict=True)])


# Wrapper, epochs, augmentation.
VARIANTS = {
    "MLP": (lambda net: net, 20, None),
    "augmented": (lambda net: net, 20, random_moves),
    "augmented x 8": (lambda net: net, 160, random_moves),
    "averaged": (Averaged, 20, None),
}


def measure(seed: int) -> Measurements:
    """Test accuracy on upright patches, and the mean over the eight moves."""
    train = data.textures("train", size=SIZE, seed=seed)
    test = data.textures("test", size=SIZE, seed=seed)
    for variant, (wrap, epochs, augment) in VARIANTS.items():
        torch.manual_seed(seed)
        model = wrap(network())
        fit(model, *train, epochs=epochs, lr=3e-3, seed=seed, transform=augment)
        scores = [accuracy(model, moved(test[0], k), test[1]) for k in range(8)]
        yield variant, "accuracy upright", scores[0]
        yield variant, "accuracy moved", sum(scores) / 8


if __name__ == "__main__":
    run("textures", measure)
