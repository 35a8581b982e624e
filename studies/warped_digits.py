"""Digits read row by row and pixel by pixel, warped when they are tested: gated against plain.

The section of that name of the chapter "sequences", over three seeds. A step is data, with a last
feature 1, the flag, or a blank, 0 in all features. One set of networks never sees a warp while
training; the other sees, in each batch, up to a quarter of the length in blanks and as many steps
held once more. Widths give all networks 4,600 to 5,600 parameters; gated ones start with
forgetting times up to the length.

Sizes, rates and steps were chosen by looking at seed 0 with 297 of the 1297 training digits held
out. For pixels one rate does not serve all: at 1e-2 plain networks come apart towards the end, of
which a first run on the test digits with seed 0 warned, and at half of that gated ones have not
learned the warped pixels yet. No setting tried, going on from a network trained without warps
among them, made a plain network read warped pixels well.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gdl import data
from gdl.sequences.cells import Cell, GatedCell, LSTMCell, PlainCell
from gdl.sequences.memory import chrono_
from gdl.sequences.recurrent import Recurrent, SequenceClassifier, warped_recurrence
from gdl.sequences.warps import hold, pad
from gdl.training import accuracy, fit, predict
from studies._leaky import LeakyCell
from studies._runner import Measurements, run

READINGS = {"rows": data.rows, "pixels": data.pixels}
CELLS = {
    "plain": (PlainCell, 64), "leaky": (LeakyCell, 64), "gated": (GatedCell, 45),
    "LSTM": (LSTMCell, 31), "gate is the flag": (PlainCell, 64),
}  # fmt: skip
GATED = (GatedCell, LSTMCell)


def measure(seed: int) -> Measurements:
    """Accuracy on test digits, warped in several ways, and how much blanks change the logits."""
    for reading, read in READINGS.items():
        (x, y), (unseen, labels) = (data.digits(split) for split in ("train", "test"))
        x, tests = flagged(read(x)), warped(flagged(read(unseen)), seed)
        for training, transform in {"never warped": None, "warped": mildly}.items():
            for variant, (kind, _) in CELLS.items():
                model = network(variant, x.shape[-1], x.shape[-2], seed)
                lr = 3e-3 if reading == "pixels" and kind not in GATED else 1e-2
                options = {"steps": 600, "lr": lr, "batch_size": 128, "seed": seed}
                fit(model, x, y, transform=transform, **options)
                task = f"{reading}, {training} in training"
                for name, test in tests.items():
                    yield variant, f"{task}: {name}", accuracy(model, test, labels)
                change = predict(model, tests["200 % blanks"]) - predict(model, tests["no warp"])
                largest = change.abs().max().item()
                yield variant, f"{task}: change of logits by 200 % blanks", largest


class FlagClock(nn.Module):
    """A cell whose gate is the flag: no blank moves it, by construction."""

    def __init__(self, cell: Cell):
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        return warped_recurrence(self.cell, x, x[..., -1])


def network(variant: str, features: int, longest: int, seed: int) -> SequenceClassifier:
    """A new network that reads sequences off at their end."""
    torch.manual_seed(seed)
    kind, width = CELLS[variant]
    cell = kind(features, width)
    if kind in GATED:
        chrono_(cell, longest, seed=100 + seed)
    body = FlagClock(cell) if variant == "gate is the flag" else Recurrent(cell)
    return SequenceClassifier(body, width, 10)


def flagged(steps: Tensor) -> Tensor:
    """The steps with one more feature, 1."""
    return torch.cat([steps, torch.ones_like(steps[..., :1])], -1)


def blanks(x: Tensor, count: int) -> Tensor:
    """Blanks at random places, the same for all these sequences."""
    return pad(x, torch.randint(x.shape[-2] + 1, (count,)).sort().values.tolist())


def holds(x: Tensor, count: int) -> Tensor:
    """Random steps once more, the same for all these sequences."""
    return hold(x, torch.randint(1, x.shape[-2] + 1, (count,)).sort().values.tolist())


def mildly(x: Tensor) -> Tensor:
    """A few random holds and blanks."""
    most = x.shape[-2] // 4
    held, blank = torch.randint(most + 1, (2,)).tolist()
    return blanks(holds(x, held), blank)


def warped(x: Tensor, seed: int) -> dict[str, Tensor]:
    """The sequences as they are and warped, where at random each in its own way."""
    torch.manual_seed(seed)
    length = x.shape[-2]

    def each(warp: Callable[[Tensor, int], Tensor], share: int) -> Tensor:
        return torch.cat([warp(one, share * length // 100) for one in x.split(1)])

    return {
        "no warp": x,
        **{f"{share} % blanks": each(blanks, share) for share in (25, 50, 100, 200)},
        "10 blanks at the end": pad(x, 10 * [length]),
        "every step twice": hold(x, range(1, length + 1)),
        **{f"{share} % holds": each(holds, share) for share in (50, 100)},
    }


if __name__ == "__main__":
    run("warped_digits", measure)
