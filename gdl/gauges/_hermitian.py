"""The smallest eigenvalues of a sparse complex Hermitian pencil, copies of multiple ones included.

The Hermitian matrix A + i B of size n acts on real and imaginary parts as the real symmetric one
[[A, -B], [B, A]] of size 2n, which has each eigenvalue twice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.sparse import block_array, block_diag, csr_array

from gdl.geodesics._factor import negative_eigenvalues, nested_dissection
from gdl.geodesics._lanczos import smallest_eigenpairs

DENSE = 300  # nodes, up to which dense matrices are no slower
SHARE = 8  # Iterations need about four vectors for each that they find.
BLOCK = 16  # Sees multiplicities up to 8 at once.


def smallest_hermitian(
    matrix: csr_array, mass: csr_array, k: int
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """The k smallest solutions of A x = lambda M x, M real and positive on the diagonal.

    Returns:
        (k,) ascending, and (n, k), orthonormal in M.

    Raises:
        ValueError: a matrix that cannot be factorised.
        RuntimeError: no convergence.
    """
    n, total = mass.shape[0], mass.sum()
    # In units in which the mass is 1, eigenvalues of surfaces lie about 4 pi apart.
    unit = mass / total
    if n <= DENSE or k > n // SHARE:
        values, vectors = eigh(matrix.toarray(), unit.toarray(), subset_by_index=[0, k - 1])
    else:
        values, vectors = _ritz(matrix, unit, _real_vectors(matrix, unit, k), k)
    return values / total, vectors / total**0.5


def _real_vectors(matrix: csr_array, unit: csr_array, k: int) -> NDArray[np.complex128]:
    """The first 2k eigenvectors of the real matrix, read as complex ones: (n, 2k)."""
    real = csr_array(block_array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]]))
    weight = csr_array(block_diag([unit, unit]))
    raised = real + _shift(real, weight) * weight
    vectors = smallest_eigenpairs(raised, weight, 2 * k, BLOCK)[1]
    top, bottom = np.split(vectors, 2)
    return top + 1j * bottom


def _shift(real: csr_array, weight: csr_array) -> float:
    """What makes the matrix definite once 1 is added; 0 where it is semi-definite already."""
    order = nested_dissection(real)
    shift = 0.0
    while negative_eigenvalues(real + (shift + 1) * weight, order):
        shift = 2 * shift + 1
    return shift


def _ritz(
    matrix: csr_array, unit: csr_array, vectors: NDArray[np.complex128], k: int
) -> tuple[NDArray[np.float64], NDArray[np.complex128]]:
    """The k smallest eigenpairs in the span of complex vectors, 2k that depend on each other.

    Real parts of their inner products are those of an orthonormal basis, so that the eigenvalues
    of the Gram matrix come in pairs 1 + a and 1 - a: half of them are at least 1.
    """
    sizes, mixtures = np.linalg.eigh(vectors.conj().T @ (unit @ vectors))
    basis = vectors @ (mixtures[:, -k:] / sizes[-k:] ** 0.5)
    values, mixtures = np.linalg.eigh(basis.conj().T @ (matrix @ basis))
    return values, basis @ mixtures
