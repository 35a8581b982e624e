"""Sums of digits: deep sets on longer sets than they have seen, and two models that cannot count.

The section on sets of the chapter "graphs", over three seeds. All three learn the sums of 3, 4 or 5
digits, on sets that are padded to 5, and see no label of a single digit; the error is the mean
absolute one. The perceptron reads the five images at once and has nothing to say about longer sets.
The mean is the sum but for the number of elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from gdl.data import digit_sums
from gdl.graphs.sets import DeepSets
from gdl.training import count_parameters, fit, predict
from studies._runner import Measurements, run
from studies._sizes import width_for

TRAINED, LONGER = (3, 4, 5), (10, 20, 50)
LONGEST, SETS, TESTED, STEPS = max(TRAINED), 4000, 1000, 4000


class PaddedSets(nn.Module):
    """Deep sets of images, of which those without ink are padding."""

    def __init__(self, aggregation: str):
        super().__init__()
        phi = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()
        )
        self.sets = DeepSets(phi, nn.Linear(32, 1), aggregation)

    def forward(self, x: Tensor) -> Tensor:
        return self.sets(x, x.flatten(2).any(2))


def perceptron() -> nn.Module:
    """Two hidden layers on all the images of a set, with the budget of deep sets."""

    def build(width: int) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64 * LONGEST, width), nn.ReLU(),
            nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, 1),
        )

    return build(width_for(build, count_parameters(PaddedSets("sum"))))


VARIANTS = {
    "deep sets": lambda: PaddedSets("sum"),
    "mean": lambda: PaddedSets("mean"),
    "perceptron": perceptron,
}


def padded(seed: int) -> tuple[Tensor, Tensor]:
    """Sets of each size to learn from, with images without ink at their ends."""
    parts = [digit_sums(SETS, size, seed=seed) for size in TRAINED]
    x = [torch.cat([x, x.new_zeros(SETS, LONGEST - x.shape[1], 1, 8, 8)], 1) for x, _ in parts]
    return torch.cat(x), torch.cat([sums for _, sums in parts])[:, None]


def measure(seed: int) -> Measurements:
    """Mean absolute error of the sum of unseen digits, and single digits read from the sums."""
    x, sums = padded(seed)
    for variant, network in VARIANTS.items():
        torch.manual_seed(seed)
        model = network()
        fit(model, x, sums, steps=STEPS, lr=1e-3, batch_size=64, loss=l1_loss, seed=seed)
        sizes = (LONGEST,) if variant == "perceptron" else (LONGEST, *LONGER)
        for size in sizes:
            images, truth = digit_sums(TESTED, size, split="test", seed=seed)
            error = l1_loss(predict(model, images)[:, 0], truth).item()
            yield variant, f"error, {size} digits", error
        if variant != "perceptron":
            images, truth = digit_sums(TESTED, 1, split="test", seed=seed)
            right = predict(model, images)[:, 0].round() == truth
            yield variant, "single digits read", right.double().mean().item()


if __name__ == "__main__":
    run("digit_sums", measure)
