"""Digits turned by quarter turns: a CNN, augmented or not, against p4 and p4m.

"What the symmetry buys" of the chapter "groups", over three seeds and three sizes of the training
set. Parameter counts agree to 4 %.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl import data
from gdl.groups import group_cnn
from gdl.representations import Group, cyclic, dihedral
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

SIZES = (100, 300, 1000)


def network(group: Group, widths: tuple[int, ...], classes: int = 10) -> nn.Sequential:
    return group_cnn(group, 1, classes, widths, pool_after=(0,))


def quarter_turns(images: Tensor) -> Tensor:
    """Each image of a batch turned by a multiple of 90 degrees of its own."""
    turns = torch.randint(4, (len(images),)).tolist()
    return torch.stack([x.rot90(k, (-2, -1)) for k, x in zip(turns, images, strict=True)])


def turned(split: str, seed: int) -> tuple[Tensor, Tensor]:
    """The digits, each turned once and for all."""
    x, y = data.digits(split)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2 * seed + (split == "test"))
        return quarter_turns(x), y


# Group, fields after each convolution, augmentation.
VARIANTS = {
    "plain": (cyclic(1), (16, 20, 20), None),
    "augmented": (cyclic(1), (16, 20, 20), quarter_turns),
    "p4": (cyclic(4), (8, 10, 10), None),
    "p4m": (dihedral(4), (6, 7, 7), None),
}


def compare(variants: dict[str, tuple], train: tuple, test: tuple, seed: int) -> Measurements:
    """Test accuracy of each variant for each size of the training set."""
    x, y = train
    for n in SIZES:
        chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]
        for variant, (group, widths, augment) in variants.items():
            torch.manual_seed(seed)
            model = network(group, widths)
            fit(model, x[chosen], y[chosen], steps=400, lr=1e-2, seed=seed, transform=augment)
            yield variant, f"accuracy with {n} digits", accuracy(model, *test)


def measure(seed: int) -> Measurements:
    """Accuracy on test digits at random quarter turns."""
    yield from compare(VARIANTS, turned("train", seed), turned("test", seed), seed)


if __name__ == "__main__":
    run("turned_digits", measure)
