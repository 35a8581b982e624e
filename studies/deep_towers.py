"""Thirty layers on digits: sigmoid, ReLU, ReLU with scaled weights, ReLU with skip connections.

"Depth has a price" of the chapter "high_dimensions", over three seeds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl import data
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

KINDS = ("sigmoid", "ReLU", "scaled", "skip")


class Skip(nn.Module):
    """x + f(x)."""

    def __init__(self, f: nn.Module):
        super().__init__()
        self.f = f

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


def tower(kind: str, depth: int = 30, width: int = 64) -> nn.Sequential:
    """A deep network of one kind, from pixels to ten classes."""

    def block() -> nn.Module:
        linear = nn.Linear(width, width)
        if kind == "scaled":
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        bend = nn.Sigmoid() if kind == "sigmoid" else nn.ReLU()
        step = nn.Sequential(linear, bend)
        return Skip(step) if kind == "skip" else step

    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, width), *(block() for _ in range(depth)),
        nn.LayerNorm(width), nn.Linear(width, 10),
    )


def measure(seed: int) -> Measurements:
    """Test accuracy after ten epochs."""
    for kind in KINDS:
        torch.manual_seed(seed)
        model = tower(kind)
        fit(model, *data.digits("train"), epochs=10, lr=1e-3, seed=seed)
        yield kind, "test accuracy", accuracy(model, *data.digits("test"))


if __name__ == "__main__":
    run("deep_towers", measure)
