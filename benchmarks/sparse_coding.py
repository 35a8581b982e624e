"""Sparse codes of n signals of 50 numbers, by 100 atoms: networks against the algorithms.

The reference is 64 steps of ISTA. The networks are untrained, since the time of a layer does not
depend on its weights; their errors once they are trained are those of the study ``lista``, of which
sizes, penalty and depths are taken, and in which the first network that is as near the solution as
the reference is looked up. What is checked in float64: a network is as many steps of ISTA, and both
solvers of scikit-learn find the codes of the certified solver. The slower of the two, least angles,
takes signals one by one, and at the largest size it is compared, not timed. Times are taken in
float32.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.cases import Case, disagreement, worst
from gdl.results import study
from gdl.sparse_coding.classical import fista, ista, solve_lasso
from gdl.sparse_coding.dictionaries import random_dictionary, sparse_signals
from gdl.sparse_coding.lista import LISTA
from studies._sparse import coordinate_descent
from studies.lista import DEPTHS, PENALTY, M, N

REFERENCE = "ISTA, 64 steps"
TASK = "sparse codes, n signals"
SIZES = {TASK: (1, 20, 500)}
DESCENT, LEAST_ANGLES = "scikit-learn, coordinate descent", "scikit-learn, least angles"
PACKAGES = dict.fromkeys((DESCENT, LEAST_ANGLES), "scikit-learn")

Call = Callable[[], list[Tensor]]


def depth_at_the_error_of_ista() -> int:
    """The least depth in the study whose trained error is at most the reference's, on each seed."""
    errors = study("lista", "to the lasso, dB")
    for depth in DEPTHS:
        trained = zip(errors[f"LISTA, untied, {depth} layers"], errors[REFERENCE], strict=True)
        if all(error <= reference for error, reference in trained):
            return depth
    raise LookupError(f"no network of the study lista has the error of {REFERENCE}")


def network(layers: int, signals: Tensor, D: Tensor) -> Call:
    model = LISTA(D, PENALTY, layers).requires_grad_(False)
    return lambda: [model(signals)]


def peer(algorithm: str, signals: Tensor, D: Tensor, tolerance: float = 1e-4) -> Call:
    """A solver of scikit-learn, which takes atoms as rows."""
    from sklearn.decomposition import sparse_encode
    from sklearn.linear_model import Lasso

    y, atoms = signals.numpy(), D.mT.contiguous().numpy()
    if algorithm == "lars":
        return lambda: [
            torch.from_numpy(sparse_encode(y, atoms, algorithm="lasso_lars", alpha=PENALTY))
        ]
    # As sparse_encode calls it, which lets no tolerance be chosen.
    solver = Lasso(alpha=PENALTY / M, fit_intercept=False, tol=tolerance, max_iter=100_000)

    def call() -> list[Tensor]:
        return [torch.from_numpy(solver.fit(atoms.T, y.T).coef_.reshape(len(y), N))]

    return call


def variants(signals: Tensor, D: Tensor) -> dict[str, Call]:
    calls = {REFERENCE: lambda: [ista(signals, D, PENALTY, 64)]}
    calls |= {f"LISTA, {layers} layers": network(layers, signals, D) for layers in DEPTHS}
    for steps in (16, 32):
        calls[f"FISTA, {steps} steps"] = lambda steps=steps: [fista(signals, D, PENALTY, steps)]
    calls["coordinate descent, 64 steps"] = lambda: [coordinate_descent(signals, D, PENALTY, 64)]
    calls[DESCENT] = peer("cd", signals, D)
    if len(signals) < max(SIZES[TASK]):
        calls[LEAST_ANGLES] = peer("lars", signals, D)
    return calls


def problem(size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    D = random_dictionary(M, N, 0, dtype=dtype)
    return sparse_signals(size, D, seed=0)[1], D


def check(size: int) -> float:
    """The worst disagreement of those that should agree."""
    signals, D = problem(size, torch.float64)
    errors = [
        disagreement(
            {
                "ISTA": lambda t=t: [ista(signals, D, PENALTY, t)],
                "LISTA": network(t, signals, D),
            }
        )
        for t in DEPTHS
    ]
    exact = {
        "certified": lambda: [solve_lasso(signals, D, PENALTY, tolerance=1e-13)],
        "coordinate descent": peer("cd", signals, D, tolerance=1e-15),
        "least angles": peer("lars", signals, D),
    }
    return worst([*errors, disagreement(exact)])


def case(task: str, size: int) -> Case:
    return Case(task, size, size, variants(*problem(size, torch.float32)), lambda: check(size))
