"""How long sparse codes take: the times that belong to the errors of the study "lista".

Of the chapter "sparse_coding", for three seeds on one thread: the least of thirty runs, in
milliseconds, for 500 signals at once and for one alone. The networks are not trained, since the
time of a layer does not depend on its weights. scikit-learn's ``sparse_encode`` runs in float64;
its distance to the lasso's solution stands beside. No test repeats times, only that there are some.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from gdl.sparse_coding.classical import fista, ista, solve_lasso
from gdl.sparse_coding.dictionaries import random_dictionary, sparse_signals
from gdl.sparse_coding.lista import LISTA
from gdl.sparse_coding.training import nmse_db
from studies._runner import Measurements, run
from studies._sparse import coordinate_descent
from studies.lista import COORDINATE_STEPS, DEPTHS, FISTA_STEPS, ISTA_STEPS, PENALTY, M, N

SIZES, REPEATS = {"ms, 500 signals": 500, "ms, 1 signal": 1}, 30
PEERS = {"scikit-learn, coordinate descent": "lasso_cd", "scikit-learn, least angles": "lasso_lars"}

Encode = Callable[[Tensor], Tensor]


def measure(seed: int) -> Measurements:
    """Times of networks and algorithms, and errors of scikit-learn's."""
    D = random_dictionary(M, N, seed)
    _, signals = sparse_signals(500, D, seed=seed)
    ways = encoders(D)
    for quantity, size in SIZES.items():
        for variant, seconds in least_times(ways, signals[:size]).items():
            yield variant, quantity, 1000 * seconds
    best = solve_lasso(signals, D, PENALTY, tolerance=1e-6)
    for variant in PEERS:
        yield variant, "to the lasso, dB", nmse_db(ways[variant](signals), best)


def encoders(D: Tensor) -> dict[str, Encode]:
    """What is timed, by the names of the study "lista"."""
    ways: dict[str, Encode] = {}
    for layers in DEPTHS:
        ways[f"LISTA, untied, {layers} layers"] = LISTA(D, PENALTY, layers).requires_grad_(False)
    classical = {
        "ISTA": (ista, ISTA_STEPS),
        "FISTA": (fista, FISTA_STEPS),
        "coordinate descent": (coordinate_descent, COORDINATE_STEPS),
    }
    for name, (solve, counts) in classical.items():
        for steps in counts:
            ways[f"{name}, {steps} steps"] = lambda y, f=solve, t=steps: f(y, D, PENALTY, t)
    for name, algorithm in PEERS.items():
        ways[name] = lambda y, a=algorithm: peer(y, D, a)
    return ways


def peer(signals: Tensor, D: Tensor, algorithm: str) -> Tensor:
    """Codes by scikit-learn, which takes atoms as rows, and does not converge in float32."""
    from sklearn.decomposition import sparse_encode

    y, atoms = signals.double().numpy(), D.mT.double().contiguous().numpy()
    found = sparse_encode(y, atoms, algorithm=algorithm, alpha=PENALTY, max_iter=100_000)
    return torch.from_numpy(found).to(D.dtype)


def least_times(ways: dict[str, Encode], signals: Tensor) -> dict[str, float]:
    """Seconds of each; all take turns, so that what else the machine does meets them alike."""
    times = {variant: [] for variant in ways}
    for _ in range(REPEATS):
        for variant, encode in ways.items():
            # Least angles take a second, and a tenth of the runs tells as much.
            if "least angles" in variant and len(times[variant]) >= REPEATS // 10:
                continue
            start = time.perf_counter()
            encode(signals)
            times[variant].append(time.perf_counter() - start)
    return {variant: min(runs) for variant, runs in times.items()}


if __name__ == "__main__":
    run("sparse_code_times", measure)
