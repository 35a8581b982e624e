r"""A sheet of paper, folded and unfolded: one crease is one ReLU with a skip connection.

Chapter: ``high_dimensions``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.high_dimensions._checks import _instances, _matrix, _seed, _vector

SHEET_SAMPLES = 4096
MOST_TILT = 1000
# The squares of smaller entries lose digits.
LEAST_LENGTH = 1e-100


class Fold(nn.Module):
    r"""One crease: the half space ``n.x > c`` is reflected to the other side of the plane.

    ``x -> x - 2 relu(n.x - c) n`` with the unit normal n: one ReLU neuron and a skip connection.

    Args:
        normal: (d,), not zero; it is normalised.
        offset: c, in the unit of the coordinates.

    Shapes: (..., d) to (..., d), in the dtype of the input, on the device of the module.

    Raises:
        TypeError: no tensor, or an offset that is no number.
        ValueError: a normal whose length is not finite or below 1e-100, entries that are not
            finite, an input of the wrong size.

    Law tested: continuous, 1-Lipschitz, keeps the length of curves, and a projection does not;
    ``unfold`` inverts it. Chapter: ``high_dimensions``.

    >>> fold = Fold(torch.tensor([1.0, 0.0]), 0.5)
    >>> fold(torch.tensor([[0.25, 3.0], [0.75, 3.0]])).tolist()
    [[0.25, 3.0], [0.25, 3.0]]
    """

    normal: Tensor
    offset: Tensor

    def __init__(self, normal: Tensor, offset: float):
        super().__init__()
        normal = _vector("normal", normal)
        length = float(normal.norm())
        if not LEAST_LENGTH < length < math.inf:
            raise ValueError(f"normal: expected a finite length above 1e-100, got {length}")
        if isinstance(offset, bool) or not isinstance(offset, numbers.Real):
            raise TypeError(f"offset: expected a number, got {offset!r}")
        if not math.isfinite(offset):
            raise ValueError(f"offset: expected a finite number, got {offset}")
        self.register_buffer("normal", normal / length)
        self.register_buffer("offset", torch.tensor(float(offset), dtype=torch.float64))

    def height(self, x: Tensor) -> Tensor:
        """``n.x - c``, positive on the side that moves; (...,)."""
        if not isinstance(x, Tensor) or not x.ndim or x.shape[-1] != len(self.normal):
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"x: expected a tensor of shape (..., {len(self.normal)}), got {got}")
        if not x.is_floating_point():
            raise TypeError(f"x: expected a floating-point tensor, got {x.dtype}")
        return x @ self.normal.to(x.dtype) - self.offset.to(x.dtype)

    def side(self, x: Tensor) -> Tensor:
        """Which points the fold moves, bool (...,): those with ``n.x > c``."""
        return self.height(x) > 0

    def forward(self, x: Tensor) -> Tensor:
        return x - 2 * torch.relu(self.height(x))[..., None] * self.normal.to(x.dtype)

    def unfold(self, y: Tensor, moved: Tensor) -> Tensor:
        """The points before the fold; ``moved`` (...,) tells which of them it has moved."""
        height = self.height(y)
        known = isinstance(moved, Tensor) and moved.dtype == torch.bool
        if not known or moved.shape != height.shape:
            raise ValueError(f"moved: expected a bool tensor of shape {tuple(height.shape)}")
        reflected = y - 2 * height[..., None] * self.normal.to(y.dtype)
        return torch.where(moved[..., None], reflected, y)


def sheet(count: int, *, seed: int = 0) -> Tensor:
    r"""Points drawn uniformly from a unit square of paper, flat in space and centred at the origin.

    Returns: (count, 3), float64, with ``z = 0``.
    Raises: TypeError or ValueError unless ``count`` is positive and ``seed`` is not negative.
    Law tested: range and determinism. Chapter: ``high_dimensions``.

    >>> paper = sheet(100)
    >>> paper.shape, float(paper[:, 2].abs().max()), bool(paper.abs().max() <= 0.5)
    (torch.Size([100, 3]), 0.0, True)
    """
    check.integer("count", count, 1)
    generator = torch.Generator().manual_seed(_seed(seed))
    flat = torch.rand(count, 2, generator=generator, dtype=torch.float64) - 0.5
    return torch.cat([flat, torch.zeros(count, 1, dtype=torch.float64)], 1)


def random_folds(count: int, *, tilt: float = 0.2, seed: int = 0) -> list[Fold]:
    r"""Creases that crumple the unit sheet: each goes through the centroid of what there is.

    The normal of each crease is ``(cos a, sin a, tilt)`` with a random angle a. With tilt 0 the
    paper would be folded flat onto itself and layers would coincide; the tilt leaves them a small
    angle apart, so that a point still knows its layer.

    Args:
        count: the number of folds.
        tilt: the third component of the normals, not zero and at most 1000 in size.
        seed: of the angles and of the sheet whose centroid is followed.

    Raises: TypeError or ValueError for a count or seed that is no such integer, or another tilt.
    Law tested: every crease cuts the sheet; determinism. Chapter: ``high_dimensions``.

    >>> _, moved = crumple(sheet(1000), random_folds(3))
    >>> [bool(0.1 < part < 0.9) for part in moved.double().mean(1)]
    [True, True, True]
    """
    check.integer("count", count)
    if isinstance(tilt, bool) or not isinstance(tilt, numbers.Real):
        raise TypeError(f"tilt: expected a number, got {tilt!r}")
    if not 0 < abs(tilt) <= MOST_TILT:
        raise ValueError(f"tilt: expected a size in (0, {MOST_TILT}], got {tilt}")
    paper = sheet(SHEET_SAMPLES, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    folds: list[Fold] = []
    for angle in (math.pi * torch.rand(count, generator=generator)).tolist():
        normal = torch.tensor([math.cos(angle), math.sin(angle), tilt], dtype=torch.float64)
        normal = normal / normal.norm()
        folds.append(Fold(normal, float(paper.mean(0) @ normal)))
        paper = folds[-1](paper)
    return folds


def crumple(x: Tensor, folds: Sequence[Fold]) -> tuple[Tensor, Tensor]:
    r"""Fold after fold, and which points each of them moved.

    Args:
        x: (N, d), finite, floating-point.
        folds: applied in this order.

    Returns:
        The folded points (N, d), and moved (len(folds), N), bool.

    Raises: TypeError or ValueError as ``Fold`` does.
    Law tested: ``uncrumple`` gives back the points. Chapter: ``high_dimensions``.

    >>> ball, moved = crumple(sheet(5), random_folds(2))
    >>> ball.shape, moved.shape
    (torch.Size([5, 3]), torch.Size([2, 5]))
    """
    _matrix("x", x, least=0)
    moved = torch.zeros(0, len(x), dtype=torch.bool, device=x.device)
    for fold in _instances("folds", folds, Fold):
        moved = torch.cat([moved, fold.side(x)[None]])
        x = fold(x)
    return x, moved


def uncrumple(y: Tensor, moved: Tensor, folds: Sequence[Fold]) -> Tensor:
    r"""The folds undone in reverse order; the inverse of ``crumple``.

    Args:
        y: (N, d), folded points, finite, floating-point.
        moved: (len(folds), N), bool, as ``crumple`` returned it.
        folds: in the order in which they were applied.

    Returns:
        (N, d), the flat points.

    Raises: TypeError or ValueError for shapes that do not fit.
    Law tested: ``uncrumple(*crumple(x, folds), folds) = x``. Chapter: ``high_dimensions``.

    >>> paper, folds = sheet(50), random_folds(4)
    >>> bool((uncrumple(*crumple(paper, folds), folds) - paper).abs().max() < 1e-12)
    True
    """
    _matrix("y", y, least=0)
    folds = _instances("folds", folds, Fold)
    if not isinstance(moved, Tensor) or moved.dtype != torch.bool:
        got = moved.dtype if isinstance(moved, Tensor) else type(moved).__name__
        raise TypeError(f"moved: expected a bool tensor, got {got}")
    if moved.shape != (len(folds), len(y)):
        raise ValueError(
            f"moved: expected shape ({len(folds)}, {len(y)}), got {tuple(moved.shape)}"
        )
    for fold, which in zip(reversed(folds), moved.flip(0), strict=True):
        y = fold.unfold(y, which)
    return y
