r"""The solver of the equation ``rho_out(g) W = W rho_in(g)``, with three back ends that must agree.

It is enough to impose the equation on generators. Row-major ``vec`` turns it into a linear system,

    (rho_out(s) kron I - I kron rho_in(s)^T) vec W = 0        for each discrete generator s,
    (drho_out(X) kron I - I kron drho_in(X)^T) vec W = 0      for each X of the Lie algebra,

whose normal matrix ``N = sum C^T C`` has the wanted maps as its null space.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gdl.equivariance.basis import Basis
from gdl.representations import Representation
from gdl.representations.images import _as_matrix, _tensor_product
from gdl.representations.orbits import _joined

if TYPE_CHECKING:
    import scipy.sparse.linalg

# Unknowns: above the first, "auto" prefers "sparse", as all eigenvalues then take longer than a
# sparse factor and the import of SciPy; the others are the most that is accepted.
DENSE_LIMIT = 800
LIMITS = {"orbits": 10**8, "dense": 6000, "sparse": 10**4}

# Eigenvalues of N relative to its norm: rounding leaves the null space below NULL, and nothing that
# is honestly non-zero may fall between NULL and CLEAR.
NULL = 1e-12
CLEAR = 1e-8
# Where the terms of N cancel, as for two images of -1, its own norm is rounding and no measure.
CANCELLED = 1e-2
RESIDUAL = 1e-6

Pairs = list[tuple[Tensor, Tensor]]


def equivariant_basis(
    rho_in: Representation,
    rho_out: Representation,
    *,
    support: Tensor | None = None,
    method: str = "auto",
) -> Basis:
    r"""All linear maps W with ``rho_out(g) W = W rho_in(g)`` for every g of the group.

    Args:
        rho_in: representation on the inputs, dimension ``d_in``.
        rho_out: representation of the same group on the outputs, dimension ``d_out``.
        support: bool ``(d_out, d_in)``, where W may be non-zero (locality); default everywhere.
        method: ``"orbits"`` (every generator permutes: connected components of index pairs, exact,
            linear time), ``"dense"`` (all eigenvalues of the normal matrix, at most 6000 unknowns),
            ``"sparse"`` (inverse iteration, then Lanczos for the gap), or ``"auto"``.

    Returns:
        A ``Basis`` of r maps ``d_in -> d_out``, Frobenius-orthonormal and with reproducible signs,
        solved in float64.

    Raises:
        TypeError: ``rho_in`` or ``rho_out`` is no Representation.
        ValueError: different groups, a support of the wrong shape or dtype, an unknown method,
            orbits asked of matrices, too many unknowns for the method, or a gap that makes the
            dimension ambiguous.

    Law tested: every map commutes with random elements; the dimension equals the character average
    and the number of orbits; the back ends span the same space to 1e-10.
    Source: Finzi, Welling, Wilson 2021, section 4. Chapter: ``one_equation``.

    >>> from gdl.representations import symmetric
    >>> pairs = symmetric(5).defining * symmetric(5).defining
    >>> len(equivariant_basis(pairs, pairs))
    15
    """
    _require_one_group(rho_in, rho_out)
    permutes = rho_in.is_permutation and rho_out.is_permutation
    unknowns = rho_out.dim * rho_in.dim
    if method == "auto":
        method = "orbits" if permutes else "dense" if unknowns <= DENSE_LIMIT else "sparse"
    if method not in LIMITS:
        raise ValueError(
            f'method: expected "auto", "orbits", "dense" or "sparse", got {method!r}'
        )
    if unknowns > LIMITS[method]:
        raise ValueError(
            f"rho_in, rho_out: {rho_out.dim} x {rho_in.dim} unknowns are too many for the method "
            f'"{method}", at most {LIMITS[method]}'
        )
    support = _validated_support(support, (rho_out.dim, rho_in.dim))
    if method != "orbits":
        return solve_pairs(_pairs(rho_in, rho_out), support, method)
    if not permutes:
        raise ValueError('method: "orbits" needs generators that permute, got matrices')
    labels = _orbit_labels(rho_in.generators, rho_out.generators)
    return Basis(labels=_orbits_inside(labels, support), method="orbits")


def solve_pairs(pairs: Pairs, support: Tensor, method: str = "dense") -> Basis:
    r"""All W inside the support with ``A W = W B`` for every pair of matrices (A, B).

    Args:
        pairs: matrices ``A (d_out, d_out)`` and ``B (d_in, d_in)``, float64.
        support: bool ``(d_out, d_in)``.
        method: ``"dense"`` or ``"sparse"``.

    Raises: ValueError if the spectral gap makes the dimension ambiguous.
    Law tested: the residual ``A W - W B`` vanishes for every map found. Chapter: ``one_equation``.

    >>> J = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    >>> len(solve_pairs([(J, J)], torch.ones(2, 2, dtype=torch.bool)))
    2
    """
    null_space = _null_space_dense if method == "dense" else _null_space_sparse
    kept = support.reshape(-1)
    vectors, gap = null_space(pairs, kept)
    stack = torch.zeros(vectors.shape[1], kept.numel(), dtype=torch.float64)
    stack[:, kept] = _canonical(vectors).T
    stack = stack.reshape(-1, *support.shape)
    for A, B in pairs:
        _require_solved(stack, A, B)
    return Basis(stack=stack, gap=gap, method=method)


def _require_solved(maps: Tensor, A: Tensor, B: Tensor) -> None:
    """Eigenvalues are judged by the largest; badly scaled images would hide small equations."""
    left, right = A @ maps, maps @ B
    sizes = A.abs() @ maps.abs() + maps.abs() @ B.abs()
    if ((left - right).abs() > RESIDUAL * (1.0 + sizes)).any():
        raise ValueError(
            "rho_in, rho_out: the dimension is ambiguous, a null vector misses the equation; "
            "the images are too badly scaled"
        )


def _require_representation(argument: str, value: object) -> None:
    if not isinstance(value, Representation):
        raise TypeError(f"{argument}: expected a Representation, got {type(value).__name__}")


def _require_one_group(rho_in: Representation, rho_out: Representation) -> None:
    _require_representation("rho_in", rho_in)
    _require_representation("rho_out", rho_out)
    if rho_in.group != rho_out.group:
        raise ValueError(
            f"rho_out: expected a representation of {rho_in.group.name} like rho_in, "
            f"got one of {rho_out.group.name}"
        )


def _validated_support(support: Tensor | None, shape: tuple[int, int]) -> Tensor:
    if support is None:
        return torch.ones(shape, dtype=torch.bool)
    if not isinstance(support, Tensor) or support.dtype != torch.bool:
        got = getattr(support, "dtype", type(support).__name__)
        raise TypeError(f"support: expected a bool tensor, got {got}")
    if tuple(support.shape) != shape:
        raise ValueError(f"support: expected shape {shape}, got {tuple(support.shape)}")
    return support


def _pairs(rho_in: Representation, rho_out: Representation) -> Pairs:
    images_in = rho_in.generators + rho_in.algebra
    images_out = rho_out.generators + rho_out.algebra
    return [(_as_matrix(a), _as_matrix(b)) for a, b in zip(images_out, images_in, strict=True)]


# --- orbits -------------------------------------------------------------------------------------


def _orbit_labels(perms_in: Sequence[Tensor], perms_out: Sequence[Tensor]) -> Tensor:
    """Orbit of each index pair (out, in), numbered by first appearance in row-major order."""
    moves = [_tensor_product(p, q) for p, q in zip(perms_out, perms_in, strict=True)]
    return _joined(moves).reshape(len(perms_out[0]), len(perms_in[0]))


def _orbits_inside(labels: Tensor, support: Tensor) -> Tensor:
    """Drop the orbits that leave the support, where an equivariant map must vanish."""
    leaves = torch.zeros(int(labels.max()) + 1, dtype=torch.bool)
    leaves[labels[~support]] = True
    new = torch.where(leaves, -1, torch.cumsum(~leaves, 0) - 1)
    return new[labels]


# --- eigenvalues --------------------------------------------------------------------------------


def _null_space_dense(pairs: Pairs, kept: Tensor) -> tuple[Tensor, float]:
    eye_out = torch.eye(len(pairs[0][0]), dtype=torch.float64)
    eye_in = torch.eye(len(pairs[0][1]), dtype=torch.float64)
    normal = torch.zeros(len(kept), len(kept), dtype=torch.float64)
    for A, B in ((A.contiguous(), B.contiguous()) for A, B in pairs):
        normal += torch.kron(A.T @ A, eye_in) + torch.kron(eye_out, B @ B.T)
        normal -= torch.kron(A, B) + torch.kron(A.T, B.T)
    normal = normal[kept][:, kept]
    values, vectors = torch.linalg.eigh(normal)
    scale = _scale(float(normal.abs().sum(1).max()) if normal.numel() else 0.0, pairs)
    rank, gap = _judge(values, scale)
    return vectors[:, :rank], gap


def _null_space_sparse(pairs: Pairs, kept: Tensor) -> tuple[Tensor, float]:
    """Null space by inverse iteration on a block that is enlarged until it holds more than that.

    A block that is larger than the null space finds all of it, whatever the multiplicity. One
    Lanczos run on the complement then gives the gap, and is the proof that nothing was missed.
    """
    # Imported here, as SciPy takes longer than all of this package.
    from scipy.sparse import eye_array
    from scipy.sparse.linalg import splu

    normal = _sparse_normal(pairs)[kept.numpy()][:, kept.numpy()].tocsc()
    size = normal.shape[0]
    norm = float(abs(normal).sum(axis=1).max()) if size else 0.0
    scale = _scale(norm, pairs)
    if norm <= NULL * scale:
        return torch.eye(size, dtype=torch.float64), math.inf
    shift = CLEAR * scale
    factor = splu(normal + shift * eye_array(size, format="csc"))
    rng, rank, block = np.random.default_rng(0), 0, 0
    while rank == block < size:
        block = min(max(16, 4 * block), size)
        vectors = _inverse_iteration(factor, rng.normal(size=(size, block)))
        values, rotation = np.linalg.eigh(vectors.T @ (normal @ vectors))
        rank, gap = _judge(torch.from_numpy(values), scale)
    found = vectors @ rotation[:, :rank]
    if block < size:
        gap = _gap(factor, shift, found, rng.normal(size=size))
        _judge(torch.tensor([gap], dtype=torch.float64), scale)
    return torch.from_numpy(found), gap


def _inverse_iteration(factor: scipy.sparse.linalg.SuperLU, block: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the most amplified subspace; each step gains at least six digits."""
    for _ in range(4):
        block, _ = np.linalg.qr(factor.solve(block))
    return block


def _gap(
    factor: scipy.sparse.linalg.SuperLU, shift: float, found: np.ndarray, start: np.ndarray
) -> float:
    """The smallest eigenvalue of N on the complement of ``found``."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    size = len(found)

    def project(x: np.ndarray) -> np.ndarray:
        return x - found @ (found.T @ x)

    inverse = LinearOperator(
        (size, size), matvec=lambda x: project(factor.solve(project(x))), dtype=np.float64
    )
    amplified = eigsh(inverse, k=1, which="LA", v0=project(start), return_eigenvectors=False)
    return float(1.0 / amplified[0] - shift)


def _sparse_normal(pairs: Pairs) -> scipy.sparse.csr_array:
    from scipy.sparse import csr_array, eye_array, kron

    eye_out, eye_in = eye_array(len(pairs[0][0])), eye_array(len(pairs[0][1]))
    blocks = []
    for dense_a, dense_b in pairs:
        A, B = csr_array(dense_a.numpy()), csr_array(dense_b.numpy())
        blocks += [kron(A.T @ A, eye_in), kron(eye_out, B @ B.T)]
        blocks += [-kron(A, B), -kron(A.T, B.T)]
    return csr_array(sum(blocks))


def _scale(norm: float, pairs: Pairs) -> float:
    """The size of N by which its eigenvalues are judged, from its norm and those of its terms."""
    rows = [(float(A.abs().sum(1).max()), float(B.abs().sum(1).max())) for A, B in pairs]
    return max(norm, CANCELLED * sum((a + b) ** 2 for a, b in rows))


def _judge(values: Tensor, scale: float) -> tuple[int, float]:
    """How many of the ascending eigenvalues are null, and the first that is not."""
    if scale == 0.0 or not len(values):
        return len(values), math.inf
    relative = values / scale
    unclear = (relative > NULL) & (relative < CLEAR)
    if unclear.any():
        worst = float(relative[unclear][0])
        raise ValueError(
            f"rho_in, rho_out: the dimension is ambiguous, an eigenvalue of the normal matrix is "
            f"{worst:.1e} of its norm, neither below {NULL:.0e} nor above {CLEAR:.0e}; check that "
            "the images satisfy the relations of the group (relation_error)"
        )
    rank = int((relative <= NULL).sum())
    return rank, float(values[rank]) if rank < len(values) else math.inf


def _canonical(vectors: Tensor) -> Tensor:
    """The basis of the same span that depends on the span alone, with positive pivots.

    Gram-Schmidt on the columns of the projector; a pivot is the first column whose remainder is
    comparable to the largest, which keeps the result sparse and stable.
    """
    rows, columns = vectors.clone(), []
    for _ in range(vectors.shape[1]):
        weight = (rows * rows).sum(1)
        pivot = int((weight >= 0.618 * weight.max()).nonzero()[0])
        direction = rows[pivot] / rows[pivot].norm()
        columns.append(vectors @ direction)
        rows = rows - torch.outer(rows @ direction, direction)
    return torch.stack(columns, dim=1) if columns else vectors
