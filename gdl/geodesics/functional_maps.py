r"""Functional maps: a map between surfaces as a small matrix between their eigenbases.

A map of points T: surface 2 -> surface 1 pulls functions back, f -> f o T, from surface 1 to
surface 2. That is linear in f, and in the two eigenbases it is a matrix C (k_2, k_1), which takes
coefficients of functions on surface 1 to coefficients on surface 2.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math

import torch
from scipy.spatial import cKDTree
from torch import Tensor

import gdl._checks as check
from gdl.geodesics.spectrum import Eigenbasis


def functional_map(basis_1: Eigenbasis, basis_2: Eigenbasis, correspondence: Tensor) -> Tensor:
    r"""The matrix of a map of points.

        C = Phi_2^+ Pi Phi_1,       (Pi f)(y) = f(T(y)),       Phi_2^+ = Phi_2^T M_2

    Args:
        basis_1, basis_2: of surfaces with n_1 and n_2 vertices, k_1 and k_2 functions.
        correspondence: T int64 ``(n_2,)``: for each vertex of surface 2, its vertex on surface 1.

    Returns:
        C ``(k_2, k_1)``, float64.

    Raises:
        TypeError: arguments of other types or dtypes, or not on the CPU.
        ValueError: another length, vertices that surface 1 does not have.

    Law tested: for an isometry, and bases that cut no eigenspace, C is orthogonal and commutes with
    the eigenvalues, C Lambda_1 = Lambda_2 C; coefficients of the function pulled back are C times
    those of the function. Source: Ovsjanikov, Ben-Chen, Solomon, Butscher and Guibas, Functional
    Maps, ACM Transactions on Graphics 2012. Chapter: ``geodesics``.

    >>> from gdl.geodesics.spectrum import eigenbasis
    >>> from gdl.geodesics.surfaces import icosphere
    >>> sphere = icosphere(1)
    >>> order = torch.arange(42).roll(1)
    >>> basis, other = eigenbasis(sphere, 9), eigenbasis(sphere.permuted(order), 9)
    >>> C = functional_map(basis, other, order.argsort())
    >>> (C.T @ C - torch.eye(9)).abs().max().item() < 1e-10
    True
    """
    _require_bases(basis_1, basis_2)
    n_1, n_2 = len(basis_1.vectors), len(basis_2.vectors)
    _require_indices(correspondence)
    if correspondence.shape != (n_2,):
        raise ValueError(
            f"correspondence: expected shape ({n_2},), a vertex of surface 1 for each of "
            f"surface 2, got {tuple(correspondence.shape)}"
        )
    low, high = int(correspondence.min()), int(correspondence.max())
    if low < 0 or high >= n_1:
        raise ValueError(
            f"correspondence: expected entries 0 to {n_1 - 1}, vertices of surface 1, "
            f"got {low} to {high}"
        )
    return basis_2.project(basis_1.vectors[correspondence])


def fit_functional_map(
    basis_1: Eigenbasis,
    basis_2: Eigenbasis,
    descriptors_1: Tensor,
    descriptors_2: Tensor,
    *,
    commute: float = 1e-2,
) -> Tensor:
    r"""The matrix that carries descriptors of one surface to those of another.

        minimise |C A - B|^2 + commute |C Lambda_1 - Lambda_2 C|^2 / lambda_max^2 |A|^2

    with A ``(k_1, d)`` and B ``(k_2, d)`` the coefficients of the descriptors, |.| Frobenius norms
    and lambda_max the largest of all eigenvalues. The rows of C separate, and each is a least
    squares problem with k_1 unknowns:

        minimise |A^T c_i - b_i|^2 + commute |A|^2 sum_j w_ij^2 c_ij^2
        w_ij = (lambda_1j - lambda_2i) / lambda_max

    Args:
        basis_1, basis_2: of the two surfaces.
        descriptors_1, descriptors_2: ``(n_1, d)`` and ``(n_2, d)``, float64: functions that the map
            should carry into each other, such as heat kernel signatures. Scale them alike.
        commute: weight of the penalty, at least 0.

    Returns:
        C ``(k_2, k_1)``, float64.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, entries that are not finite, a negative weight,
            descriptors that do not determine C (more of them, or a larger weight, would), numbers
            too large or too unlike for float64.

    Law tested: enough descriptors of an isometry give its map; rows satisfy the normal equations of
    the whole problem; a larger weight commutes better; the unit of the descriptors does not matter.
    Source: Ovsjanikov, Ben-Chen, Solomon,
    Butscher and Guibas, Functional Maps, ACM Transactions on Graphics 2012. Chapter: ``geodesics``.

    >>> from gdl.geodesics.spectrum import eigenbasis
    >>> from gdl.geodesics.surfaces import icosphere
    >>> basis = eigenbasis(icosphere(1), 4)
    >>> xyz = torch.cat([icosphere(1).vertices, torch.ones(42, 1)], dim=1).double()
    >>> fit_functional_map(basis, basis, xyz, -xyz, commute=0.0).diagonal().round().tolist()
    [-1.0, -1.0, -1.0, -1.0]
    """
    _require_bases(basis_1, basis_2)
    check.number("commute", commute, 0)
    A = basis_1.project(_functions("descriptors_1", descriptors_1, basis_1))
    B = basis_2.project(_functions("descriptors_2", descriptors_2, basis_2))
    if A.shape[1] != B.shape[1]:
        raise ValueError(
            f"descriptors_2: expected {A.shape[1]} of them as descriptors_1, got {B.shape[1]}"
        )
    A, size_1 = _scaled("descriptors_1", A)
    B, size_2 = _scaled("descriptors_2", B)
    largest = torch.cat([basis_1.values, basis_2.values]).max().clamp(min=1e-300)
    apart = (basis_1.values - basis_2.values[:, None]) / largest
    penalty = math.sqrt(commute) * A.norm() * torch.diag_embed(apart)
    k_1, k_2 = len(A), len(B)
    system = torch.cat([A.T.expand(k_2, -1, -1), penalty], dim=1)
    wanted = torch.cat([B, B.new_zeros(k_2, k_1)], dim=1)
    solved = torch.linalg.lstsq(system, wanted[..., None], driver="gelsy")
    if int(solved.rank.min()) < k_1:
        raise ValueError(
            f"descriptors_1: expected enough to determine {k_1} coefficients, "
            f"got {A.shape[1]} with commute={commute:g}, of rank {int(solved.rank.min())}"
        )
    return _not_overflown("descriptors_2", solved.solution[..., 0] * (size_2 / size_1))


def pointwise_map(C: Tensor, basis_1: Eigenbasis, basis_2: Eigenbasis) -> Tensor:
    r"""The map of points nearest to a functional map.

        T(y) = argmin_x | Phi_2(y) C - Phi_1(x) |

    If C comes from T, the rows of Phi_2 C are those of Phi_1 at T(y), up to what lies outside the
    basis of surface 2.

    Args:
        C: ``(k_2, k_1)``, float64; if it is smaller than the bases, their first functions are used.
        basis_1, basis_2: of the two surfaces.

    Returns:
        T int64 ``(n_2,)``: for each vertex of surface 2, its vertex on surface 1.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the inverse of :func:`functional_map` for a surface with its vertices renumbered.
    Source: Ovsjanikov, Ben-Chen, Solomon, Butscher and Guibas, Functional Maps, ACM Transactions on
    Graphics 2012. Chapter: ``geodesics``.

    >>> from gdl.geodesics.spectrum import eigenbasis
    >>> from gdl.geodesics.surfaces import icosphere
    >>> basis = eigenbasis(icosphere(1), 9)
    >>> T = pointwise_map(torch.eye(9, dtype=torch.float64), basis, basis)
    >>> torch.equal(T, torch.arange(42))
    True
    """
    _require_bases(basis_1, basis_2)
    _require_map(C, basis_1, basis_2)
    return _nearest(C, basis_1.vectors, basis_2.vectors)


def zoomout(
    C: Tensor,
    basis_1: Eigenbasis,
    basis_2: Eigenbasis,
    *,
    step: int = 1,
) -> Tensor:
    r"""Refine a small functional map into a large one.

        T = pointwise_map(C),    C = functional_map(T) with ``step`` functions more,    repeat

    until the bases are used up. The map of points is the best one for the matrix before it, and the
    matrix the best one for the map of points.

    Args:
        C: ``(k, l)``, float64, at most as large as the bases: where to begin.
        basis_1, basis_2: of the two surfaces, with the sizes at which to end.
        step: how many functions more in each round, at least 1.

    Returns:
        C ``(k_2, k_1)``, float64.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the exact map of a renumbered surface is reached from its first rows and columns,
    disturbed, and stays. Source: Melzi, Ren, Rodola, Sharma, Wonka and Ovsjanikov, ZoomOut, ACM
    Transactions on Graphics 2019. Chapter: ``geodesics``.

    >>> from gdl.geodesics.spectrum import eigenbasis
    >>> from gdl.geodesics.surfaces import icosphere
    >>> basis = eigenbasis(icosphere(1), 16)
    >>> C = zoomout(torch.eye(9, dtype=torch.float64), basis, basis)
    >>> (C - torch.eye(16)).abs().max().item() < 1e-10
    True
    """
    _require_bases(basis_1, basis_2)
    _require_map(C, basis_1, basis_2)
    check.integer("step", step, 1)
    k_1, k_2 = len(basis_1.values), len(basis_2.values)
    rows, columns = C.shape
    while True:
        T = _nearest(C, basis_1.vectors, basis_2.vectors)
        rows, columns = min(rows + step, k_2), min(columns + step, k_1)
        C = functional_map(basis_1, basis_2, T)[:rows, :columns]
        if (rows, columns) == (k_2, k_1):
            return C


def transfer(C: Tensor, basis_1: Eigenbasis, basis_2: Eigenbasis, f: Tensor) -> Tensor:
    r"""Carry functions from surface 1 to surface 2.

        f -> Phi_2 C Phi_1^T M_1 f

    Args:
        C: ``(k_2, k_1)``, float64; if it is smaller than the bases, their first functions are used.
        basis_1, basis_2: of the two surfaces.
        f: ``(n_1,)`` or ``(n_1, c)``, float64, on surface 1.

    Returns:
        ``(n_2,)`` or ``(n_2, c)``, on surface 2.

    Raises: TypeError or ValueError for other arguments.
    Law tested: for a map of points and complete bases it is f o T, so products go to products; for
    other matrices they do not, orthogonal ones included. Source: Ovsjanikov, Ben-Chen, Solomon,
    Butscher and Guibas, Functional Maps, ACM Transactions on Graphics 2012. Chapter: ``geodesics``.

    >>> from gdl.geodesics.spectrum import eigenbasis
    >>> from gdl.geodesics.surfaces import icosphere
    >>> basis = eigenbasis(icosphere(1), 4)
    >>> constant = torch.full((42,), 5.0, dtype=torch.float64)
    >>> transfer(torch.eye(4, dtype=torch.float64), basis, basis, constant)[:2].round(decimals=6)
    tensor([5., 5.], dtype=torch.float64)
    """
    _require_bases(basis_1, basis_2)
    _require_map(C, basis_1, basis_2)
    columns = _functions("f", f[:, None] if _is_vector(f) else f, basis_1)
    rows, used = C.shape
    carried = basis_2.vectors[:, :rows] @ (C @ basis_1.project(columns)[:used])
    _not_overflown("C", carried)
    return carried[:, 0] if _is_vector(f) else carried


def _nearest(C: Tensor, vectors_1: Tensor, vectors_2: Tensor) -> Tensor:
    rows, columns = C.shape
    points = cKDTree(vectors_1[:, :columns].numpy())
    return torch.from_numpy(points.query((vectors_2[:, :rows] @ C.detach()).numpy())[1])


def _require_bases(basis_1: Eigenbasis, basis_2: Eigenbasis) -> None:
    for name, basis in (("basis_1", basis_1), ("basis_2", basis_2)):
        if not isinstance(basis, Eigenbasis):
            raise TypeError(f"{name}: expected an Eigenbasis, got {type(basis).__name__}")


def _require_map(C: Tensor, basis_1: Eigenbasis, basis_2: Eigenbasis) -> None:
    _exact("C", C)
    most = (len(basis_2.values), len(basis_1.values))
    fits = C.ndim == 2 and all(0 < got <= k for got, k in zip(C.shape, most, strict=True))
    if not fits:
        raise ValueError(
            f"C: expected shape (k_2, k_1) up to {most}, from basis_1 to basis_2, "
            f"got {tuple(C.shape)}"
        )


def _require_indices(correspondence: Tensor) -> None:
    if not isinstance(correspondence, Tensor):
        got = type(correspondence).__name__
    elif correspondence.dtype != torch.int64 or correspondence.layout != torch.strided:
        got = f"{correspondence.dtype}, {correspondence.layout}"
    elif not correspondence.is_cpu:
        got = f"device {correspondence.device}"
    else:
        return
    raise TypeError(f"correspondence: expected a dense int64 tensor on the CPU, got {got}")


def _scaled(name: str, coefficients: Tensor) -> tuple[Tensor, float]:
    """The coefficients by their largest magnitude, whose squares stay in range, and that."""
    size = float(_not_overflown(name, coefficients).detach().abs().max()) or 1.0
    return coefficients / size, size


def _not_overflown(name: str, x: Tensor) -> Tensor:
    if not bool(x.isfinite().all()):
        raise ValueError(f"{name}: expected numbers whose products float64 can hold; scale them")
    return x


def _functions(name: str, f: Tensor, basis: Eigenbasis) -> Tensor:
    n = len(basis.vectors)
    _exact(name, f)
    if f.ndim != 2 or len(f) != n or not f.shape[1]:
        raise ValueError(f"{name}: expected shape ({n}, d), got {tuple(f.shape)}")
    return f


def _exact(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it is finite, in float64 and on the CPU as the bases are."""
    check.floating(name, x)
    if x.dtype != torch.float64 or x.device.type != "cpu":
        raise TypeError(f"{name}: expected float64 on the CPU, got {x.dtype} on {x.device}")
    return check.finite(name, x)


def _is_vector(f: Tensor) -> bool:
    return isinstance(f, Tensor) and f.ndim == 1
