r"""Wigner matrices ``D_l(R)`` in batches, without angles.

The vectors are the degree 1. Degree l is the largest part of the product of degree 1 with degree
l - 1, so its matrix follows from theirs by the coefficients that the solver found:

    D_l = (2l + 1) C^T (R kron D_{l-1}) C

Every entry is a polynomial in the entries of R. Euler angles lose half of the digits near the
identity, and their derivatives do not exist at the poles; polynomials know no poles.

Chapter: ``rotations``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl.rotations._checks as check
from gdl.equivariance import full_precision
from gdl.rotations.coupling import MOST_COUPLED, clebsch_gordan


def wigner_d(degree: int, rotation: Tensor) -> Tensor:
    r"""The matrices ``D_l(R)`` with ``Y_l(R x) = D_l(R) Y_l(x)``.

    Args:
        degree: l, from 0 to 12.
        rotation: rotations ``(..., 3, 3)``, float32 or float64.

    Returns:
        ``(..., 2l + 1, 2l + 1)`` in the dtype of ``rotation``.

    Raises:
        TypeError: no int, no floating-point tensor.
        ValueError: a degree out of range, another shape, entries that are not finite, matrices
            that are not orthogonal (to 1e-6, in float32 to 2e-6), or of determinant -1.

    Law tested: ``Y(R x) = D(R) Y(x)`` and ``D(R S) = D(R) D(S)`` to 1e-12 for l <= 6, at the
    identity, at angles of 1e-8 and near the poles; against SciPy's matrix exponential; gradients
    are finite everywhere. Source: Ivanic and Ruedenberg 1996 derive a recursion of this kind.
    Chapter: ``rotations``.

    >>> turn = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> wigner_d(1, turn).equal(turn), wigner_d(2, turn).shape
    (True, torch.Size([5, 5]))
    """
    check.integer("degree", degree, 0, MOST_COUPLED)
    return wigner_tower(degree, check.rotations("rotation", rotation))[degree]


def wigner_tower(degree: int, rotation: Tensor) -> list[Tensor]:
    r"""All ``D_0, ..., D_l`` at once, for rotations that are known to be rotations.

    Args:
        degree: l, from 0 to 12.
        rotation: ``(..., 3, 3)``; whether they are rotations is not checked, since a layer that has
            built them calls this often.

    Returns:
        l + 1 tensors, ``(..., 2k + 1, 2k + 1)``.

    Raises: TypeError or ValueError for a degree that is no such integer, or another shape.
    Law tested: the last entry is ``wigner_d``. Chapter: ``rotations``.

    >>> [tuple(D.shape) for D in wigner_tower(2, torch.eye(3))]
    [(1, 1), (3, 3), (5, 5)]
    """
    check.integer("degree", degree, 0, MOST_COUPLED)
    check.shaped("rotation", rotation, 3, 3)
    # Points run along the last axis: each step is then two matrix products for all of them.
    points = rotation.reshape(-1, 9).T.clone(memory_format=torch.contiguous_format).view(3, 3, -1)
    entries = [row.unbind() for row in points.unbind()]
    tower = [points.new_ones(1, 1, points.shape[-1]), points][: degree + 1]
    with full_precision(rotation.device):
        for k in range(2, degree + 1):
            tower.append(_next(k, entries, tower[-1]))
    leading = rotation.shape[:-2]
    return [D.permute(2, 0, 1).contiguous().view(*leading, *D.shape[:2]) for D in tower]


def _next(degree: int, rotation: list[tuple[Tensor, ...]], previous: Tensor) -> Tensor:
    """``(2l + 1) C^T (R kron D_{l-1}) C``, contracted from the inside; the points are last.

    The rotation comes entry by entry: a slice fills the whole with zeros in the backward pass.
    """
    size, less = 2 * degree + 1, 2 * degree - 1
    C = clebsch_gordan(1, degree - 1, degree).to(previous)
    from_left = C.permute(0, 2, 1).reshape(3 * size, less)
    half = (from_left @ previous.reshape(less, -1)).view(3, size, less, -1).transpose(1, 2)
    rows = half.unbind()
    half = torch.stack([sum(rows[a] * rotation[a][b] for a in range(3)) for b in range(3)])
    turned = size * C.reshape(3 * less, size).T @ half.reshape(3 * less, -1)
    return turned.view(size, size, -1).transpose(0, 1).contiguous()
