"""What the tests of fibres share: groups, dtypes, and the error over elements and products."""

from __future__ import annotations

import itertools

import pytest
import torch

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error

F64 = torch.float64
C4, D4 = reps.cyclic(4), reps.dihedral(4)
SO2, O2 = reps.SO(2), reps.O(2)
GRID_GROUPS = [reps.cyclic(n) for n in (1, 2, 4)] + [reps.dihedral(n) for n in (1, 2, 4)]
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)


def elements_and_products(group: reps.Group) -> list[reps.Element]:
    found = group.elements()
    return [*found, *(g * h for g, h in itertools.product(found, repeat=2))]


def error(f, x: torch.Tensor, rho_in: reps.Representation, rho_out: reps.Representation) -> float:
    acts = groups.field_action(rho_in), groups.field_action(rho_out)
    return equivariance_error(f, x, *acts, elements_and_products(rho_in.group))
