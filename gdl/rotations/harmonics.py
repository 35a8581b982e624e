r"""Real spherical harmonics: the functions on the sphere that the rotations mix by blocks.

``Y_l(R x) = D_l(R) Y_l(x)`` with a matrix of size 2l + 1. Order and signs are those of e3nn: the
polar axis is y, and ``Y_1 = (x, y, z)`` up to a factor.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

import gdl.rotations._checks as check

NORMALIZATIONS = ("component", "integral", "norm")


def spherical_harmonics(
    degrees: int | Iterable[int],
    x: Tensor,
    *,
    normalize: bool = True,
    normalization: str = "component",
) -> Tensor:
    r"""Real spherical harmonics of one or several degrees.

    With A_m + i B_m = (z + i x)^m and the associated Legendre functions without their sine,

        Y_{l, m} = Q_l^m(y) A_m,    Y_{l, 0} = Q_l^0(y),    Y_{l, -m} = Q_l^m(y) B_m.

    Args:
        degrees: l, or several; the results are concatenated.
        x: vectors ``(..., 3)``, finite.
        normalize: evaluate at ``x / |x|``; at the zero vector, which has no direction, every degree
            above 0 gives 0, the only value that a rotation keeps. With False the result is the
            polynomial ``|x|^l Y_l(x / |x|)``.
        normalization: "component": ``|Y_l|^2 = 2l + 1``; "integral": orthonormal on the sphere,
            ``(2l + 1) / (4 pi)``; "norm": 1.

    Returns:
        ``(..., sum of 2l + 1)``, in the dtype of x; m runs from -l to l.

    Raises:
        TypeError: degrees that are no integers, x that is no floating-point tensor.
        ValueError: degrees below 0 or above 64, none at all, another shape, entries that are not
            finite, or whose polynomial overflows, an unknown normalization.

    Law tested: ``Y(R x) = D(R) Y(x)``; equal to e3nn's and to SciPy's; orthonormal under exact
    quadrature; finite gradients at the poles and at 0. Source: Geiger and Smidt 2022.
    Chapter: ``rotations``.

    >>> spherical_harmonics([0, 1], torch.tensor([0.0, 2.0, 0.0]))
    tensor([1.0000, 0.0000, 1.7321, 0.0000])
    """
    several = isinstance(degrees, Iterable) and not isinstance(degrees, Tensor)
    degrees = list(degrees) if several else [degrees]
    if not degrees:
        raise ValueError("degrees: expected at least one, got none")
    top = max(check.degree("degrees", degree) for degree in degrees)
    check.vectors("x", x)
    check.boolean("normalize", normalize)
    check.one_of("normalization", normalization, NORMALIZATIONS)
    point = _unit(x) if normalize else x
    # A direction has length 1, and the zero vector none.
    square = (x != 0).any(-1).to(x.dtype) if normalize else x.square().sum(-1)
    legendre = _legendre(top, point[..., 1], square)
    cosines, sines = _circular(top, point[..., 2], point[..., 0])
    Y = torch.cat(
        [
            _of_degree(degree, legendre, cosines, sines) * _factor(degree, normalization)
            for degree in degrees
        ],
        -1,
    )
    if not normalize and check.readable(Y) and not bool(torch.isfinite(Y).all()):
        raise ValueError(f"x: expected vectors whose power {top} is finite in {x.dtype}")
    return Y


def unit(x: Tensor) -> Tensor:
    """Directions ``x / |x|`` without overflow; 0 stays 0, and has gradient 0.

    Args:
        x: vectors ``(..., 3)``, finite.

    Raises: TypeError or ValueError for other inputs.
    Law tested: length 1 from 1e-300 to 1e300. Chapter: ``rotations``.

    >>> unit(torch.tensor([[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]]))
    tensor([[0.0000, 0.6000, 0.8000],
            [0.0000, 0.0000, 0.0000]])
    """
    return _unit(check.vectors("x", x))


def _unit(x: Tensor) -> Tensor:
    largest = x.detach().abs().amax(-1, keepdim=True)
    zero = largest == 0
    scaled = x / torch.where(zero, 1, largest)
    length = torch.where(zero, 1, scaled.square().sum(-1, keepdim=True)).sqrt()
    return scaled / length * ~zero


def _factor(degree: int, normalization: str) -> float:
    factors = {"component": 1.0, "integral": 0.5 / math.sqrt(math.pi)}
    return factors.get(normalization, 1 / math.sqrt(2 * degree + 1))


def _legendre(top: int, y: Tensor, square: Tensor) -> dict[tuple[int, int], Tensor]:
    """``Q_l^m`` for l up to ``top``, so that the harmonics have squared length 2l + 1 at |x| = 1.

    The normalised recursion keeps every factor near 1, where factorials would overflow.
    """
    Q = {(0, 0): torch.ones_like(y)}
    for m in range(1, top + 1):
        # The functions of m > 0 come in pairs, whence the root of two at the first step.
        growth = math.sqrt(3) if m == 1 else math.sqrt((2 * m + 1) / (2 * m))
        Q[m, m] = growth * Q[m - 1, m - 1]
    for m in range(top):
        Q[m + 1, m] = math.sqrt(2 * m + 3) * y * Q[m, m]
        for n in range(m + 2, top + 1):
            scale = (2 * n + 1) / ((n - m) * (n + m))
            down = scale * (n + m - 1) * (n - m - 1) / (2 * n - 3)
            up = math.sqrt(scale * (2 * n - 1)) * y * Q[n - 1, m]
            Q[n, m] = up - math.sqrt(down) * square * Q[n - 2, m]
    return Q


def _circular(top: int, z: Tensor, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Real and imaginary parts of ``(z + i x)^m``."""
    cosines, sines = [torch.ones_like(z)], [torch.zeros_like(z)]
    for _ in range(top):
        c, s = cosines[-1], sines[-1]
        cosines.append(z * c - x * s)
        sines.append(z * s + x * c)
    return cosines, sines


def _of_degree(degree: int, legendre: dict, cosines: list, sines: list) -> Tensor:
    orders = range(1, degree + 1)
    left = [legendre[degree, m] * sines[m] for m in reversed(orders)]
    right = [legendre[degree, m] * cosines[m] for m in orders]
    return torch.stack([*left, legendre[degree, 0], *right], -1)
