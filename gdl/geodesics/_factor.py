"""A sparse symmetric positive definite matrix, factorised once and solved with many times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, sparray
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import splu

LANDMARKS = 4
ROUNDS = 20
LEAF = 16
RESIDUAL = 1e-3


class SymmetricFactor:
    """The factors of a symmetric positive definite matrix A, and solutions of A x = b.

    SuperLU in symmetric mode keeps an ordering as it is given and takes its pivots from the
    diagonal; after its own minimum degree ordering it finds few supernodes on some meshes, and
    takes a hundred times as long. Nested dissection numbers supernodes one after the other.

    Copies and pickles factorise anew, since factors of SuperLU cannot be stored.

    Args:
        matrix: (n, n), real, symmetric and finite.
        order: the elimination order (n,); None computes it by :func:`nested_dissection`.

    Raises:
        ValueError: a matrix that is not square, symmetric and finite, or that is singular.
    """

    def __init__(self, matrix: sparray, order: NDArray[np.int64] | None = None) -> None:
        _require_symmetric(matrix)
        self._matrix = matrix
        self.order = nested_dissection(matrix) if order is None else order
        self._factors = _factorised(_renumbered(matrix, self.order))
        self._require_residual()

    def __reduce__(self) -> tuple:
        return SymmetricFactor, (self._matrix, self.order)

    def solve(self, b: NDArray[np.float64]) -> NDArray[np.float64]:
        """A^-1 b for b (n,) or (n, k)."""
        x = np.empty(b.shape)
        x[self.order] = self._factors.solve(np.asfortranarray(b[self.order]))
        return x

    def _require_residual(self) -> None:
        b = 1 + np.cos(np.arange(self._matrix.shape[0]))
        if not np.abs(self._matrix @ self.solve(b) - b).max() <= RESIDUAL:
            raise ValueError("matrix: expected a positive definite one, got one nearly singular")


def negative_eigenvalues(matrix: sparray, order: NDArray[np.int64]) -> int:
    """How many there are of a symmetric matrix: as many as negative pivots, by Sylvester's law."""
    return int((_factorised(_renumbered(matrix, order)).U.diagonal() < 0).sum())


def nested_dissection(matrix: sparray) -> NDArray[np.int64]:
    """An elimination order for a symmetric matrix whose graph is a surface: few new entries.

    Each part is halved, the nodes on the side of the cut with fewer of them come after both halves,
    and the halves are treated likewise, all parts of a level at once. Where to cut is read from
    the distances, in steps, to a few landmarks, so that no coordinates are needed; smoothed, since
    steps are whole numbers and their level sets have jags.

    Returns:
        (n,): the nodes, first to be eliminated first.

    Source: George, SIAM J. Numer. Anal. 10, 1973.
    """
    graph = _adjacency(matrix)
    part = connected_components(graph, directed=False)[1].astype(np.int64)
    positions = _smoothed(graph, _landmark_steps(graph, part))
    rows, columns = graph.nonzero()
    key = part.copy()
    while len(members := np.flatnonzero(part >= 0)):
        local, counts = np.unique(part[members], return_inverse=True, return_counts=True)[1:]
        upper = _upper_halves(positions[members], local, counts)
        half = np.full(len(part), -1)
        half[members] = 2 * local + upper
        separator = _separators(half, rows, columns)[members] | (counts[local] <= LEAF)
        # Two bits a level: the lower half, the upper half, and behind both of them the separator.
        key *= 4
        key[members] += np.where(separator, 2, upper)
        part = half
        part[members[separator]] = -1
        inside = (part[rows] == part[columns]) & (part[rows] >= 0)
        rows, columns = rows[inside], columns[inside]
    return np.argsort(key, kind="stable")


def _upper_halves(
    positions: NDArray[np.float64], part: NDArray[np.int64], counts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether a node is in the upper half of its part, along the widest axis of the part."""
    by_part = np.argsort(part, kind="stable")
    starts = np.cumsum(counts) - counts
    grouped = positions[by_part]
    widths = np.maximum.reduceat(grouped, starts) - np.minimum.reduceat(grouped, starts)
    values = np.take_along_axis(positions, widths.argmax(1)[part][:, None], 1)[:, 0]
    rank = np.empty(len(part), dtype=np.int64)
    rank[np.lexsort((values, part))] = np.arange(len(part)) - np.repeat(starts, counts)
    return rank >= counts[part] // 2


def _separators(
    half: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The nodes next to the other half of their part, on the side that has fewer of them."""
    here, there = half[rows], half[columns]
    border = np.zeros(len(half), dtype=bool)
    border[rows[here == there ^ 1]] = True
    sizes = np.bincount(half[border], minlength=2 * (half.max() // 2 + 1)).reshape(-1, 2)
    return border & (half % 2 == sizes.argmin(1)[half // 2])


def _smoothed(graph: csr_array, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over a node and its neighbours, several times."""
    smooth = positions.astype(np.float64)
    share = 1 / (1 + np.diff(graph.indptr))[:, None]
    for _ in range(ROUNDS):
        smooth = share * (smooth + graph @ smooth)
    return smooth


def _landmark_steps(graph: csr_array, component: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n, LANDMARKS): steps to landmarks of the own component, each far from those before."""
    count = component.max() + 1
    ends = np.unique(component, return_index=True)[1]
    nearest = _steps(graph, _farthest(_steps(graph, ends), component, count))
    found = [nearest]
    while len(found) < LANDMARKS:
        found.append(_steps(graph, _farthest(nearest, component, count)))
        nearest = np.minimum(nearest, found[-1])
    return np.stack(found, axis=1)


def _farthest(
    steps: NDArray[np.int64], component: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """The node of each component that has the most steps."""
    by_steps = np.lexsort((steps, component))
    return by_steps[np.cumsum(np.bincount(component, minlength=count)) - 1]


def _steps(graph: csr_array, sources: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of edges from the nearest source, by a search from a root joined to them all."""
    n = graph.shape[0]
    indices = np.concatenate([graph.indices, sources])
    indptr = np.append(graph.indptr, len(indices))
    rooted = csr_array((np.ones(len(indices)), indices, indptr), shape=(n + 1, n + 1))
    before = breadth_first_order(rooted, n)[1]
    before[n] = n
    steps = (before != np.arange(n + 1)).astype(np.int64)
    # Each round doubles how far up the tree a node looks.
    while (before != n).any():
        steps += steps[before]
        before = before[before]
    return steps[:n] - 1


def _adjacency(matrix: sparray) -> csr_array:
    entries = matrix.tocoo()
    rows, columns = entries.coords
    apart = rows != columns
    ones = np.ones(int(apart.sum()))
    return csr_array((ones, (rows[apart], columns[apart])), shape=matrix.shape)


def _renumbered(matrix: sparray, order: NDArray[np.int64]) -> csc_array:
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    entries = matrix.tocoo()
    rows, columns = entries.coords
    data = entries.data.astype(np.float64)
    return csc_array((data, (rank[rows], rank[columns])), shape=matrix.shape)


def _factorised(matrix: csc_array):
    try:
        return splu(
            matrix,
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError as error:
        raise ValueError(f"matrix: expected a positive definite one, got: {error}") from error


def _require_symmetric(matrix: sparray) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.shape[0]:
        raise ValueError(f"matrix: expected shape (n, n) with n at least 1, got {matrix.shape}")
    if not np.isfinite(matrix.data).all():
        raise ValueError("matrix: expected finite entries, got NaN or infinity")
    gap = abs(matrix - matrix.T).max()
    if gap > 1e-12 * abs(matrix).max():
        raise ValueError(f"matrix: expected a symmetric one, got entries {gap:.3g} apart")
