r"""Eigenvalues and eigenvectors of the Laplacian: the Fourier basis of a surface.

Chapter: ``geodesics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import csr_array
from torch import Tensor

import gdl._checks as check
from gdl.geodesics._checks import measurable
from gdl.geodesics._lanczos import smallest_eigenpairs
from gdl.geodesics.laplacian import cotan_laplacian, mass_matrix
from gdl.geodesics.mesh import Mesh

DENSE = 500  # vertices, up to which dense matrices are no slower
MOST_DENSE = 4000  # vertices, for which they take a minute
SHARE = 8  # Iterations need about four vectors for each that they find.


@dataclass(frozen=True, eq=False)
class Eigenbasis:
    r"""Functions that the Laplacian only scales, orthonormal in the mass of the surface.

        L Phi = M Phi diag(values),      Phi^T M Phi = I

    Made by :func:`eigenbasis`. The sign of an eigenvector is free, and so is a rotation among
    eigenvectors of one eigenvalue: nothing may depend on them.

    Attributes:
        values: (k,), float64, ascending; exactly 0 once for each component of the surface.
        vectors: Phi (n, k), float64.
        mass: M (n, n), lumped or full.

    Law tested: both equations to 1e-10, inside clusters of equal values too. Chapter:
    ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> basis = eigenbasis(square, 4)
    >>> basis.values.tolist()[0], basis.project(torch.ones(4))[1:].abs().max() < 1e-6
    (0.0, tensor(True))
    """

    values: Tensor
    vectors: Tensor
    mass: csr_array

    @cached_property
    def _weighted(self) -> Tensor:
        """M Phi (n, k)."""
        return torch.from_numpy(self.mass @ self.vectors.numpy())

    def project(self, f: Tensor) -> Tensor:
        r"""The coefficients Phi^T M f of functions on the vertices.

        Args:
            f: (n,) or (n, c), floating-point.

        Returns:
            (k,) or (k, c) in the dtype of f, computed in float64; differentiable.

        Raises: TypeError or ValueError for anything else, NaN and infinity included.
        """
        wide = _columns("f", f, len(self.vectors))
        return (self._weighted.T @ wide).to(f.dtype)

    def synthesise(self, c: Tensor) -> Tensor:
        r"""The functions Phi c that have these coefficients.

        Args:
            c: (k,) or (k, channels), floating-point.

        Returns:
            (n,) or (n, channels) in the dtype of c, computed in float64; differentiable.

        Raises: TypeError or ValueError for anything else, NaN and infinity included.
        """
        return (self.vectors @ _columns("c", c, len(self.values))).to(c.dtype)

    def clusters(self, tolerance: float) -> list[int]:
        r"""How many eigenvalues in turn are equal, up to ``tolerance`` times the larger one.

        A value begins a cluster when it lies further than that above the one before it. The last
        cluster ends with the basis, not with the spectrum.

        Raises: TypeError or ValueError unless tolerance is a number from 0 to 1.

        >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]], [[0, 1, 2]])
        >>> eigenbasis(triangle, 3).clusters(1e-9)
        [1, 2]
        """
        check.number("tolerance", tolerance, 0, 1)
        apart = self.values.diff() > tolerance * self.values[1:]
        starts = [0, *(apart.nonzero().flatten() + 1).tolist(), len(self.values)]
        return np.diff(starts).tolist()


def eigenbasis(mesh: Mesh, k: int, *, lumped: bool = True) -> Eigenbasis:
    r"""The k smallest eigenvalues of the Laplacian and their eigenvectors, L phi = lambda M phi.

    Block Lanczos iterations on (L + s M)^-1, whose largest eigenvalues 1 / (lambda + s) come
    first; s is 1 over the area, so that the matrix can be factorised although L is singular.
    Multiplicities up to 8 are found whole at once; larger ones, which the inertia of L - s M shows,
    with larger blocks. The start is fixed: the same mesh gives the same vectors. Each component is
    solved by itself, with dense matrices up to 500 vertices or for more than an eighth of its
    eigenvalues.

    Args:
        mesh: as for :func:`cotan_laplacian`.
        k: from 1 to the number of vertices n; at most an eighth
            of those of the largest component if that has more than 4000.
        lumped: which mass, see :func:`mass_matrix`.

    Returns:
        The basis, in float64.

    Raises:
        TypeError: no mesh, k that is no int, lumped that is no bool.
        ValueError: k out of range, zero-area faces or isolated vertices, faces so different in size
            that no matrix made of them can be factorised in float64.
        RuntimeError: the iterations did not converge.

    Law tested: ``scipy.linalg.eigh``; l (l + 1) on the unit sphere with errors of order h^2; the
    multiplicities of the icosahedral group; the value 0 once for each component. Chapter:
    ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> eigenbasis(square, 2).values.round(decimals=6)
    tensor([0., 3.], dtype=torch.float64)
    """
    measurable(mesh)
    largest = int(mesh.component.bincount().max())
    check.integer("k", k, 1, mesh.num_vertices if largest <= MOST_DENSE else largest // SHARE)
    mass = mass_matrix(mesh, lumped=lumped)
    values, vectors = _merged(cotan_laplacian(mesh), mass, k, mesh.report().components)
    return Eigenbasis(torch.from_numpy(values), torch.from_numpy(vectors), mass)


def _merged(
    stiffness: csr_array, mass: csr_array, k: int, components: tuple[Tensor, ...]
) -> tuple[NDArray, NDArray]:
    """The k smallest eigenpairs of several components, each with eigenvectors of its own."""
    members = [vertices.numpy() for vertices in components]
    bases = [
        _component_basis(stiffness[own][:, own], mass[own][:, own], min(k, len(own)))
        for own in members
    ]
    where = np.repeat(np.arange(len(bases)), [len(values) for values, _ in bases])
    column = np.concatenate([np.arange(len(values)) for values, _ in bases])
    values = np.concatenate([values for values, _ in bases])
    order = np.argsort(values, kind="stable")[:k]
    vectors = np.zeros((mass.shape[0], k))
    for j, index in enumerate(order):
        vectors[members[where[index]], j] = bases[where[index]][1][:, column[index]]
    return values[order], vectors


def _component_basis(stiffness: csr_array, mass: csr_array, k: int) -> tuple[NDArray, NDArray]:
    """The k smallest eigenpairs of a connected surface."""
    n, area = mass.shape[0], mass.sum()
    # In units in which the area is 1, eigenvalues lie about 4 pi apart whatever the surface.
    unit = mass / area
    if n <= DENSE or k > n // SHARE:
        values, vectors = eigh(stiffness.toarray(), unit.toarray(), subset_by_index=[0, k - 1])
    else:
        try:
            values, vectors = smallest_eigenpairs(stiffness, unit, k)
        except ValueError as error:
            raise ValueError(
                f"mesh: expected faces of more similar sizes and shapes, got {error}"
            ) from error
    # Of a connected surface the kernel is known: constant functions.
    values[0] = 0
    return values / area, vectors / area**0.5


def _columns(name: str, x: Tensor, rows: int) -> Tensor:
    check.finite(name, check.floating(name, x))
    if x.ndim not in (1, 2) or len(x) != rows:
        raise ValueError(f"{name}: expected shape ({rows},) or ({rows}, c), got {tuple(x.shape)}")
    if x.device.type != "cpu":
        raise ValueError(f"{name}: expected a tensor on the CPU, got one on {x.device}")
    return x.double()
