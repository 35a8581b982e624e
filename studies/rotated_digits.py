"""Digits at any angle: the symmetry of the quarter turns, augmentation, and both.

"What this does not give" of the chapter "groups", over three seeds and three sizes of the training
set.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gdl import data
from gdl.representations import cyclic
from studies._runner import Measurements, run
from studies.turned_digits import compare, quarter_turns

# The digits fill their 8 x 8 pixels; a margin of two keeps their corners when they turn.
MARGIN = 2


def any_angle(images: Tensor) -> Tensor:
    """Each image of a batch turned by an angle of its own, uniform over the circle."""
    return data.rotate(images, 2 * math.pi * torch.rand(len(images)))


def rotated(split: str, seed: int) -> tuple[Tensor, Tensor]:
    """The digits on a larger canvas, each turned once and for all."""
    x, y = data.digits(split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2 * seed + (split == "test"))
        return any_angle(F.pad(x, (MARGIN,) * 4)), y


PLAIN, P4 = (cyclic(1), (16, 20, 20)), (cyclic(4), (8, 10, 10))
VARIANTS = {
    "plain": (*PLAIN, None),
    "quarter turns": (*PLAIN, quarter_turns),
    "all angles": (*PLAIN, any_angle),
    "p4": (*P4, None),
    "p4, all angles": (*P4, any_angle),
}


def measure(seed: int) -> Measurements:
    """Accuracy on test digits at random angles."""
    yield from compare(VARIANTS, rotated("train", seed), rotated("test", seed), seed)


if __name__ == "__main__":
    run("rotated_digits", measure)
