"""Recall of one symbol after a delay: what the start of the gates decides.

"How long a unit remembers" of the chapter "sequences", over three seeds: an LSTM as torch starts
it, without biases but a forget gate of 1, and without biases but chrono initialisation; the gated
cell as torch would start it and with chrono; the plain cell; and chrono initialisation for a wrong
longest time. The reach is that of gradients before training: the first step's share of the last
step's.

Sizes, rate and steps were chosen on seeds 10 to 16, a delay of 200 and the LSTM with chrono.
Gradients are clipped everywhere: without it, a single exploded gradient ended the learning in 2 of
these 7 runs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from gdl.sequences.cells import Cell, GatedCell, LSTMCell, PlainCell
from gdl.sequences.memory import chrono_, clip_gradients_, gradient_reach
from gdl.sequences.recurrent import Recurrent, SequenceClassifier
from gdl.sequences.tasks import recall
from gdl.training import accuracy, fit
from studies._runner import Measurements, run

DELAYS, UNITS, STEPS, BATCH, TESTED = (50, 100, 200), 24, 300, 64, 1000

Start = Callable[[Cell, int, int], Cell]


def standard(cell: Cell, delay: int, seed: int) -> Cell:
    """As torch starts it."""
    return cell


def forget_bias(cell: Cell, delay: int, seed: int) -> Cell:
    """No biases but a forget gate of 1."""
    cleared(cell).bias_ih.data.unflatten(0, (4, -1))[1] = 1
    return cell


def chrono(cell: Cell, delay: int, seed: int) -> Cell:
    """Forgetting times up to the delay, no other biases."""
    return chrono_(cleared(cell), delay, seed=seed)


def short_chrono(cell: Cell, delay: int, seed: int) -> Cell:
    """Forgetting times up to a tenth of the delay."""
    return chrono_(cleared(cell), delay / 10, seed=seed)


def long_chrono(cell: Cell, delay: int, seed: int) -> Cell:
    """Forgetting times up to ten times the delay."""
    return chrono_(cleared(cell), delay * 10, seed=seed)


def cleared(cell: Cell) -> Cell:
    """The cell without biases."""
    nn.init.zeros_(cell.bias_ih)
    nn.init.zeros_(cell.bias_hh)
    return cell


VARIANTS = {
    "LSTM, torch's start": (LSTMCell, standard, DELAYS),
    "LSTM, forget bias 1": (LSTMCell, forget_bias, DELAYS),
    "LSTM, chrono": (LSTMCell, chrono, DELAYS),
    "LSTM, chrono for a tenth": (LSTMCell, short_chrono, DELAYS[-1:]),
    "LSTM, chrono for ten times": (LSTMCell, long_chrono, DELAYS[-1:]),
    "gated, torch's start": (GatedCell, standard, DELAYS),
    "gated, chrono": (GatedCell, chrono, DELAYS),
    "plain": (PlainCell, standard, DELAYS),
}


def measure(seed: int) -> Measurements:
    """Accuracy on unseen sequences, and how far gradients reach at the start."""
    for variant, (kind, start, delays) in VARIANTS.items():
        for delay in delays:
            model = classifier(kind, start, delay, seed)
            x, y = recall(TESTED, delay, seed=100 + seed)
            # In float32 the smallest of them would be 0.
            reach = gradient_reach(copy.deepcopy(model.body).double(), x[0].double())
            yield variant, f"T = {delay}: reach", float(reach[0] / reach[-1])
            train = recall(STEPS * BATCH, delay, seed=seed)
            fit(model, *train, epochs=1, lr=1e-2, batch_size=BATCH, seed=seed)
            yield variant, f"T = {delay}: accuracy", accuracy(model, x, y)


def classifier(kind: type[Cell], start: Start, delay: int, seed: int) -> SequenceClassifier:
    """A recurrent layer with these gates, read off at its last step."""
    torch.manual_seed(seed)
    cell = start(kind(1, UNITS), delay, seed)
    return clip_gradients_(SequenceClassifier(Recurrent(cell), UNITS, 2), 1.0)


if __name__ == "__main__":
    run("recall", measure)
