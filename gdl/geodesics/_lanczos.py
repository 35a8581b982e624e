"""The smallest eigenvalues of a sparse pencil, with every copy of a multiple one.

Dense products are torch's: NumPy and SciPy bring a pool of threads each, and the two wait for each
other on matrices as small as these.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import sparray
from torch import Tensor

from gdl.geodesics._factor import SymmetricFactor, negative_eigenvalues

BLOCK = 8  # vectors at a time; the symmetries of a body have multiplicities up to 5
CHECK = 32  # vectors between two looks at the residuals
RESIDUAL = 1e-12
CLUSTER = 1e-5  # Eigenvalues that are closer, relatively, may be copies of one.


def smallest_eigenpairs(
    stiffness: sparray, mass: sparray, k: int, block_size: int = BLOCK
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The k smallest solutions of L x = lambda M x, by block Lanczos on (L + M)^-1 M.

    L is positive semi-definite, M positive definite, and their scales are such that eigenvalues
    are not small against 1. A Krylov space of one start sees one eigenvector of each eigenvalue,
    and rounding brings in the others too late; one of eight starts sees eight. Whether some were
    missed is known from the number of eigenvalues below the last cluster found; if so, it all
    begins again with twice as many starts.

    Every block is made orthogonal to all before it, so that no eigenvalue is found twice.

    Returns:
        (k,) ascending, and (n, k), orthonormal in M.

    Raises:
        RuntimeError: no convergence before the vectors span all.
    """
    factor = SymmetricFactor(stiffness + mass)
    n = mass.shape[0]
    generator = np.random.default_rng(0)
    basis = torch.empty(0, n, dtype=torch.float64).T
    projected = torch.empty(0, 0, dtype=torch.float64)
    image = torch.from_numpy(generator.standard_normal((n, block_size)))
    found = 0
    while found + block_size <= n:
        if found == basis.shape[1]:
            rooms = -(-max(2 * k, 8 * block_size) // block_size)
            basis = _wider(basis, rooms * block_size)
        block = _normalised(image, basis[:, :found], mass)
        basis[:, found : found + block_size] = block
        found += block_size
        image = torch.from_numpy(factor.solve(mass @ block.numpy()))
        # What was mapped before lies in the space already: only two blocks see this image.
        recent = basis[:, max(found - 2 * block_size, 0) : found]
        entries = recent.T @ _times(mass, image)
        image -= recent @ entries
        projected = _bordered(projected, entries)
        if found >= k and found % max(CHECK, block_size) == 0:
            inverse, combinations = (x.flip(-1)[..., :k] for x in torch.linalg.eigh(projected))
            # Only the last block has an image that leaves the space.
            left = image @ combinations[-block_size:]
            residuals = (left * _times(mass, left)).sum(0).clamp(min=0).sqrt()
            if bool((residuals <= RESIDUAL * inverse).all()):
                values = (1 / inverse - 1).numpy()
                if _some_missed(stiffness, mass, values, factor.order):
                    return smallest_eigenpairs(stiffness, mass, k, 2 * block_size)
                return values, (basis[:, :found] @ combinations).numpy()
    raise RuntimeError(f"eigenbasis: {k} eigenvalues did not converge in {found} steps")


def _some_missed(
    stiffness: sparray, mass: sparray, values: NDArray[np.float64], order: NDArray[np.int64]
) -> bool:
    """Whether more eigenvalues lie below the last cluster than were found there."""
    apart = np.flatnonzero(np.diff(values) > CLUSTER * values[1:])
    below = int(apart[-1]) + 1 if len(apart) else 0
    shift = values[below] - CLUSTER / 10 * (1 + values[below])
    return negative_eigenvalues(stiffness - shift * mass, order) > below


def _times(matrix: sparray, block: Tensor) -> Tensor:
    return torch.from_numpy(matrix @ block.numpy())


def _normalised(block: Tensor, basis: Tensor, mass: sparray) -> Tensor:
    """The block made orthonormal in the mass, and orthogonal to the basis."""
    # First in the plain product: where a space is exhausted, columns that are but rounding
    # become unit vectors in directions as good as random.
    block = torch.linalg.qr(block)[0]
    block = block - basis @ (basis.T @ _times(mass, block))
    triangle = torch.linalg.cholesky(block.T @ _times(mass, block))
    return torch.linalg.solve_triangular(triangle, block.T, upper=False).T


def _wider(basis: Tensor, columns: int) -> Tensor:
    """The basis with room for more columns."""
    wider = basis.new_empty(basis.shape[1] + columns, len(basis)).T
    wider[:, : basis.shape[1]] = basis
    return wider


def _bordered(projected: Tensor, entries: Tensor) -> Tensor:
    """The symmetric matrix with new columns on the right, zero but for these last entries."""
    size, known = len(projected) + entries.shape[1], len(projected)
    wider = projected.new_zeros(size, size)
    wider[:known, :known] = projected
    wider[-len(entries) :, known:] = entries
    wider[known:, -len(entries) :] = entries.T
    return wider
