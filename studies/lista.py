"""Unrolled soft thresholding: how near the codes of few layers come, against more classical steps.

Of the chapter "sparse_coding", over three seeds: a random dictionary of 100 atoms for 50 numbers,
codes a tenth of whose entries are normal, the others 0. First the distance to the lasso's solution,
on unseen signals: networks of 2 to 16 layers beside ISTA, FISTA and coordinate descent. Then the
distance to the codes that made the signals: networks of 12 layers that learn these, beside ISTA and
FISTA at the penalty of a grid that is best on the same signals, which favours the classical side.

Rates and steps were chosen by looking at seed 10. Rates fall with the depth, because two to three
times the rate spoiled untied networks of 12 and 16 layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl.sparse_coding.classical import fista, ista, solve_lasso
from gdl.sparse_coding.dictionaries import random_dictionary, sparse_signals
from gdl.sparse_coding.lista import ALISTA, LISTA
from gdl.sparse_coding.training import nmse_db, train_codes
from studies._runner import Measurements, run
from studies._sparse import coordinate_descent

M, N, PENALTY = 50, 100, 0.1
TESTED, TRAINED = 500, 20_000
DEPTHS, DEEP = (2, 4, 6, 8, 16), 12
ISTA_STEPS, FISTA_STEPS = (8, 16, 32, 64, 100, 200), (8, 16, 32, 64)
COORDINATE_STEPS = (8, 16, 32, 64, 128)
GRID = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
# Two scalars a layer bear higher rates than matrices.
MATRIX_RATE, SCALAR_RATE = 1.5e-2, 0.12
LONG, SHORT = 700, 300


def learned(network: nn.Module, rate: float, signals: Tensor, codes: Tensor, seed: int) -> float:
    """The error on the first signals of a network that learned from the others."""
    rate = rate / network.layers
    stages = ((rate, LONG), (rate / 5, SHORT))
    train_codes(network, signals[TESTED:], codes[TESTED:], stages=stages, seed=seed)
    with torch.no_grad():
        return nmse_db(network(signals[:TESTED]), codes[:TESTED])


def measure(seed: int) -> Measurements:
    """Errors in decibels."""
    D = random_dictionary(M, N, seed)
    codes, signals = sparse_signals(TESTED + TRAINED, D, seed=seed)
    yield from to_the_lasso(D, signals, seed)
    yield from to_the_truth(D, signals, codes, seed)


def to_the_lasso(D: Tensor, signals: Tensor, seed: int) -> Measurements:
    """The error to the solution of the lasso."""
    best = solve_lasso(signals, D, PENALTY, tolerance=1e-6)
    tested, quantity = signals[:TESTED], "to the lasso, dB"
    classical = {
        "ISTA": (ista, ISTA_STEPS),
        "FISTA": (fista, FISTA_STEPS),
        "coordinate descent": (coordinate_descent, COORDINATE_STEPS),
    }
    for name, (solve, steps) in classical.items():
        path = solve(tested, D, PENALTY, max(steps), path=True)
        for t in steps:
            yield f"{name}, {t} steps", quantity, nmse_db(path[t], best[:TESTED])
    for tying in ("tied", "untied"):
        for layers in DEPTHS:
            network = LISTA(D, PENALTY, layers, tying=tying)
            error = learned(network, MATRIX_RATE, signals, best, seed)
            yield f"LISTA, {tying}, {layers} layers", quantity, error


def to_the_truth(D: Tensor, signals: Tensor, codes: Tensor, seed: int) -> Measurements:
    """The error to the codes that made the signals."""
    quantity = "to the true codes, dB"
    for name, solve in (("ISTA", ista), ("FISTA", fista)):
        found = (solve(signals[:TESTED], D, penalty, 100) for penalty in GRID)
        error = min(nmse_db(x, codes[:TESTED]) for x in found)
        yield f"{name}, 100 steps, best penalty", quantity, error
    networks = {
        "steps": (LISTA(D, PENALTY, DEEP, tying="steps"), SCALAR_RATE),
        "ALISTA": (ALISTA(D, PENALTY, DEEP), SCALAR_RATE),
        "coupled": (LISTA(D, PENALTY, DEEP, tying="coupled"), MATRIX_RATE),
        "untied": (LISTA(D, PENALTY, DEEP), MATRIX_RATE),
    }
    for name, (network, rate) in networks.items():
        error = learned(network, rate, signals, codes, seed)
        yield f"{name}, {DEEP} layers", quantity, error


if __name__ == "__main__":
    run("lista", measure)
