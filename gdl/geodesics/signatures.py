r"""What heat says about a point of a surface: functions of the eigenbasis.

Signatures square the eigenvectors and add them up over each eigenspace, so that neither signs nor
rotations inside an eigenspace matter, as long as the basis ends between two of them.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check
from gdl.geodesics.spectrum import Eigenbasis


def heat_kernel(basis: Eigenbasis, time: float, vertices: Tensor | None = None) -> Tensor:
    r"""How much of the heat of one vertex is found at another after a time.

        H_t(x, y) = sum_k exp(-lambda_k t) phi_k(x) phi_k(y)

    Heat f becomes H_t M f. Eigenvectors that the basis lacks count as 0: the sum is that of the
    whole surface when exp(-lambda t) is small at the last eigenvalue.

    Args:
        basis: k eigenvectors on n vertices.
        time: t, positive, in squared units of length.
        vertices: y, int64 (c,); None is all of them.

    Returns:
        (n, c) or (n, n), float64, in units of 1 / area.

    Raises:
        TypeError: arguments of other types.
        ValueError: a time that is not positive, vertices out of range, other shapes.

    Law tested: ``scipy.linalg.expm``; heat is kept, H_t M 1 = 1; H_s M H_t = H_(s + t). Chapter:
    ``geodesics``.

    >>> from gdl.geodesics import Mesh, eigenbasis
    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> basis = eigenbasis(triangle, 3)
    >>> heat_kernel(basis, 0.1) @ torch.from_numpy(basis.mass.sum(0))
    tensor([1.0000, 1.0000, 1.0000], dtype=torch.float64)
    """
    _require_basis(basis)
    check.positive("time", time)
    chosen = slice(None) if vertices is None else _vertices(vertices, len(basis.vectors))
    return (basis.vectors * torch.exp(-time * basis.values)) @ basis.vectors[chosen].T


def heat_kernel_signature(basis: Eigenbasis, times: Tensor | None = None) -> Tensor:
    r"""How much of its heat a vertex keeps, at several times.

        HKS(x, t) = H_t(x, x) = sum_k exp(-lambda_k t) phi_k(x)^2

    For short times it is (1 + K t / 3) / (4 pi t) with the Gaussian curvature K, as far as the
    eigenvectors of the basis reach.

    Args:
        basis: k eigenvectors on n vertices.
        times: (T,), floating-point, positive, in squared units of length; None is
            :func:`heat_times`.

    Returns:
        (n, T), float64, in units of 1 / area, differentiable in the times.

    Raises:
        TypeError: arguments of other types.
        ValueError: other shapes, times that are not positive and finite.

    Law tested: with a lumped mass, sum_x M_xx HKS(x, t) = sum_k exp(-lambda_k t); the same after
    rotating, renumbering or folding the surface, and after rotations inside the eigenspaces; the
    series of the round sphere, and its expansion for short times. Source: Sun, Ovsjanikov and
    Guibas, Computer Graphics Forum 28, 2009. Chapter: ``geodesics``.

    >>> from gdl.geodesics import Mesh, eigenbasis
    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> heat_kernel_signature(eigenbasis(triangle, 3), torch.tensor([0.01, 10.0])).shape
    torch.Size([3, 2])
    """
    _require_basis(basis)
    t = heat_times(basis) if times is None else _row("times", times)
    if not bool((t > 0).all()):
        raise ValueError(f"times: expected positive ones, got {float(t.min()):.3g}")
    return basis.vectors**2 @ torch.exp(-basis.values[:, None] * t)


def heat_times(basis: Eigenbasis, count: int = 100) -> Tensor:
    r"""Times for heat signatures, equally spaced in the logarithm.

    From 4 ln 10 / lambda_max to 4 ln 10 / lambda_min, over the eigenvalues other than 0: where the
    last and the first of their terms have fallen to 1e-4.

    Args:
        basis: with an eigenvalue other than 0.
        count: how many, at least 2.

    Returns:
        (count,), float64, ascending.

    Raises: TypeError or ValueError for anything else.
    Law tested: the ends; scaling a surface by s scales times by s^2. Chapter: ``geodesics``.

    >>> from gdl.geodesics import Mesh, eigenbasis
    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> heat_times(eigenbasis(triangle, 3), 2)
    tensor([1.0234, 3.0701], dtype=torch.float64)
    """
    positive = _positive_values(basis)
    check.integer("count", count, 2)
    ends = (4 * math.log(10) / positive[[-1, 0]]).log()
    return torch.linspace(*ends.tolist(), count, dtype=torch.float64).exp()


def _require_basis(basis: Eigenbasis) -> None:
    if not isinstance(basis, Eigenbasis):
        raise TypeError(f"basis: expected an Eigenbasis, got {type(basis).__name__}")


def _positive_values(basis: Eigenbasis) -> Tensor:
    """The eigenvalues other than 0, which come last."""
    _require_basis(basis)
    positive = basis.values[basis.values > 0]
    if not len(positive):
        raise ValueError("basis: expected an eigenvalue other than 0, got none")
    return positive


def _row(name: str, x: Tensor) -> Tensor:
    if not check.floating(name, x).is_cpu:
        raise TypeError(f"{name}: expected a tensor on the CPU, got one on {x.device}")
    check.finite(name, x)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"{name}: expected shape (c,) with c at least 1, got {tuple(x.shape)}")
    return x.double()


def _vertices(vertices: Tensor, n: int) -> Tensor:
    if not isinstance(vertices, Tensor) or vertices.dtype != torch.int64:
        got = vertices.dtype if isinstance(vertices, Tensor) else type(vertices).__name__
        raise TypeError(f"vertices: expected an int64 tensor, got {got}")
    if not vertices.is_cpu or vertices.layout != torch.strided:
        raise TypeError(
            "vertices: expected a dense tensor on the CPU, "
            f"got {vertices.layout} on {vertices.device}"
        )
    if vertices.ndim != 1:
        raise ValueError(f"vertices: expected shape (c,), got {tuple(vertices.shape)}")
    if not bool(((vertices >= 0) & (vertices < n)).all()):
        raise ValueError(
            f"vertices: expected entries 0 to {n - 1}, "
            f"got {int(vertices.min())} to {int(vertices.max())}"
        )
    return vertices
