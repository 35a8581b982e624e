"""Solves one problem with gdl; arguments and output are those of emlp_solver.py.

    python -m benchmarks.peers.gdl_solver GROUP N ORDER_IN ORDER_OUT REPEATS BUDGET

The group is made anew in each solve, as there.
"""

from __future__ import annotations

import json
import sys

from benchmarks.peers.clock import times
from gdl.equivariance import Basis, equivariant_basis
from gdl.representations import (
    SO,
    O,
    Representation,
    cyclic,
    lorentz,
    symmetric,
    symplectic,
    tensor_power,
    translations,
)
from gdl.representations.images import _as_matrix

GROUPS = {
    "S": symmetric,
    "Z": cyclic,
    "torus": lambda n: translations(n, n),
    "SO": SO,
    "O": O,
    "Lorentz": lambda n: lorentz(),
    "Sp": symplectic,
}


def representations(
    group: str, n: int, order_in: int, order_out: int
) -> tuple[Representation, Representation]:
    acting = GROUPS[group](n).defining
    return tensor_power(acting, order_in), tensor_power(acting, order_out)


def solve(*problem) -> Basis:
    return equivariant_basis(*representations(*problem))


def residual(basis: Basis, rho_in: Representation, rho_out: Representation) -> float:
    """How far the maps are from solving the equation of any generator."""
    maps = basis.dense()
    images = zip(
        rho_in.generators + rho_in.algebra, rho_out.generators + rho_out.algebra, strict=True
    )
    errors = (_as_matrix(B) @ maps - maps @ _as_matrix(A) for A, B in images)
    return max(float(error.abs().max()) for error in errors)


def main(group: str, *numbers: str) -> None:
    n, order_in, order_out, repeats, budget = map(int, numbers)
    problem = (group, n, order_in, order_out)
    found = times(lambda: solve(*problem), repeats, budget)
    basis = solve(*problem)
    checked = {"maps": len(basis), "residual": residual(basis, *representations(*problem))}
    print(json.dumps(found | checked))


if __name__ == "__main__":
    main(*sys.argv[1:])
