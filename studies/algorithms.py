"""Copying and sorting: an LSTM learns them at one length and not at another.

"What gates do not give" of the chapter "sequences", over three seeds: an LSTM, with a forget gate
of 1 and with chrono initialisation, trained at one length, tested at it and at twice the length,
share of right tokens on unseen sequences. Beside it the best guess of who has read nothing, and two
programs that copy: a fixed shift and a queue. Sizes, rate and steps were chosen by looking at
seed 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl.sequences.cells import LSTMCell
from gdl.sequences.memory import chrono_, clip_gradients_
from gdl.sequences.recurrent import Recurrent
from gdl.training import fit
from studies._runner import Measurements, run
from studies._writing import (
    answer_accuracy,
    answer_loss,
    answer_targets,
    copying,
    sorting,
    sorting_baseline,
)

LENGTH, VALUES, UNITS, STEPS, BATCH, TRAINED, TESTED = 6, 8, 64, 2000, 64, 20_000, 1000
Task = tuple[Tensor, Tensor]


class Writer(nn.Module):
    """Logits from each output of a recurrent LSTM."""

    def __init__(self, cell: LSTMCell, classes: int):
        super().__init__()
        self.body = Recurrent(cell)
        self.head = nn.Linear(cell.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0])


def copies(count: int, length: int, seed: int) -> Task:
    return copying(count, VALUES, length, 1, seed=seed)


def sorts(count: int, length: int, seed: int) -> Task:
    return sorting(count, length, values=VALUES, seed=seed)


TASKS = {"copying": copies, "sorting": sorts}
TESTS = (("accuracy", LENGTH), ("twice as long", 2 * LENGTH))


def measure(seed: int) -> Measurements:
    """Token accuracy at the trained length and at twice the length, and what it is worth."""
    for name, task in TASKS.items():
        tests = [(kind, *task(TESTED, length, 100 + seed)) for kind, length in TESTS]
        x, y = task(TRAINED, LENGTH, seed)
        for start in ("forget bias 1", "chrono"):
            model = writer(start, seed)
            options = {"lr": 3e-3, "batch_size": BATCH, "loss": answer_loss, "seed": seed}
            fit(model, x, answer_targets(y, VALUES), steps=STEPS, **options)
            for kind, *test in tests:
                yield f"LSTM, {start}", f"{name}: {kind}", answer_accuracy(model, *test)
    for kind, length in TESTS:
        yield "best guess, exact", f"copying: {kind}", 1 / VALUES
        yield "best guess, exact", f"sorting: {kind}", float(sorting_baseline(length, VALUES))
        x, y = copies(TESTED, length, 100 + seed)
        yield "a fixed shift", f"copying: {kind}", share(shift(x.argmax(-1)), y)
        yield "a queue", f"copying: {kind}", share(queue(x.argmax(-1)), y)


def writer(start: str, seed: int) -> nn.Module:
    """An LSTM that reads values, blanks and go marks and writes values."""
    torch.manual_seed(seed)
    cell = LSTMCell(VALUES + 2, UNITS)
    if start == "chrono":
        chrono_(cell, 2 * LENGTH + 1, seed=seed)
    else:
        with torch.no_grad():
            cell.bias_ih.unflatten(0, (4, -1))[1] = 1
            cell.bias_hh.unflatten(0, (4, -1))[1] = 0
    return clip_gradients_(Writer(cell, VALUES), 1.0)


def shift(tokens: Tensor) -> Tensor:
    """What came as many steps ago as the trained length asks for: a causal convolution."""
    return tokens.roll(LENGTH + 1, -1)


def queue(tokens: Tensor) -> Tensor:
    """First in, first out, from the go mark on."""
    written = torch.full_like(tokens, -1)
    for row, sequence in enumerate(tokens.tolist()):
        waiting, going = [], False
        for step, token in enumerate(sequence):
            if token < VALUES:
                waiting.append(token)
            elif going:
                written[row, step] = waiting.pop(0)
            going = going or token > VALUES
    return written


def share(written: Tensor, y: Tensor) -> float:
    """The share of answers that are right."""
    return (written == y)[y >= 0].double().mean().item()


if __name__ == "__main__":
    run("algorithms", measure)
