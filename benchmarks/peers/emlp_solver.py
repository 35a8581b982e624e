"""Times EMLP on the tasks of benchmarks/solver.py; runs in an environment of its own.

    python benchmarks/peers/emlp_solver.py TASK N

TASK is "tensors" or "torus". Prints one line: maps, residual of the equation, repeats, and seconds:
of the first call, which compiles, then the median and the least of the repeats.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
from emlp.groups import S, Z
from emlp.reps import Rep, T, V

REPEATS = 30
BUDGET = 30.0  # seconds after which no further call is begun


def representation(task: str, n: int):
    return T(2)(S(n)) if task == "tensors" else V(Z(n) * Z(n))


def solve(task: str, n: int) -> tuple[float, np.ndarray, object]:
    """Seconds, the maps as columns, and their representation."""
    # EMLP keeps its solutions, so that a second call would only look them up.
    Rep.solcache.clear()
    start = time.perf_counter()
    maps = representation(task, n) >> representation(task, n)
    basis = np.asarray(maps.equivariant_basis())
    return time.perf_counter() - start, basis, maps


def residual(basis: np.ndarray, maps) -> float:
    """How far the maps are from being fixed by random elements of the group."""
    moved = [maps.rho(maps.G.sample()) @ basis for _ in range(3)]
    return max(float(np.abs(np.asarray(m) - basis).max()) for m in moved)


def main(task: str, n: int) -> None:
    first, basis, maps = solve(task, n)
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < BUDGET:
        seconds.append(solve(task, n)[0])
    found = (basis.shape[1], f"{residual(basis, maps):.1e}", len(seconds))
    print(*found, first, statistics.median(seconds), min(seconds))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
