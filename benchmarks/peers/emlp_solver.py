"""Solves one problem with EMLP, in an environment of its own.

    python benchmarks/peers/emlp_solver.py GROUP N ORDER_IN ORDER_OUT REPEATS BUDGET

Prints one line of JSON: how many maps there are, the residual of the equation, and seconds: of the
first call, which compiles, and of the repeats.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from clock import times
from emlp.groups import SO, O, S, SO13p, Sp, Z
from emlp.reps import Rep, T

GROUPS = {
    "S": S,
    "Z": Z,
    "torus": lambda n: Z(n) * Z(n),
    "SO": SO,
    "O": O,
    "Lorentz": lambda n: SO13p(),
    "Sp": lambda n: Sp(n // 2),
}


def maps(group: str, n: int, order_in: int, order_out: int) -> Rep:
    acting = GROUPS[group](n)
    return T(order_in)(acting) >> T(order_out)(acting)


def solve(*problem) -> np.ndarray:
    """The maps as columns."""
    # EMLP keeps its solutions, so that a second call would only look them up.
    Rep.solcache.clear()
    return np.asarray(maps(*problem).equivariant_basis())


def residual(basis: np.ndarray, rep: Rep) -> float:
    """How far the maps are from solving the equation of any generator."""
    return float(np.abs(np.asarray(rep.constraint_matrix() @ basis)).max())


def main(group: str, *numbers: str) -> None:
    n, order_in, order_out, repeats, budget = map(int, numbers)
    problem = (group, n, order_in, order_out)
    found = times(lambda: solve(*problem), repeats, budget)
    basis = solve(*problem)
    checked = {"maps": basis.shape[1], "residual": residual(basis, maps(*problem))}
    print(json.dumps(found | checked))


if __name__ == "__main__":
    main(*sys.argv[1:])
