"""The sparse factorisation against dense solutions, and the fill of its ordering."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import block_diag, coo_array, csr_array, diags_array, eye_array

from gdl.geodesics import _factor as factor
from gdl.geodesics._factor import SymmetricFactor, nested_dissection
from gdl.geodesics.laplacian import cotan_laplacian
from gdl.geodesics.surfaces import flat_strip, icosphere


def grid(side: int) -> csr_array:
    """The five-point stencil plus the identity."""
    line = diags_array(
        [-np.ones(side - 1), 2 * np.ones(side), -np.ones(side - 1)], offsets=[-1, 0, 1]
    )
    one = eye_array(side)
    return csr_array(
        scipy.sparse.kron(line, one) + scipy.sparse.kron(one, line) + eye_array(side**2)
    )


def fill(matrix: csr_array, order: np.ndarray) -> int:
    """Entries of the Cholesky factor in this order."""
    lower = scipy.linalg.cholesky(matrix.toarray()[np.ix_(order, order)], lower=True)
    return int((np.abs(lower) > 1e-14).sum())


MATRICES = {
    "sphere": csr_array(cotan_laplacian(icosphere(2)) + 0.1 * eye_array(162)),
    "strip": csr_array(cotan_laplacian(flat_strip(9.0, 2.0, 30, 5)) + 0.1 * eye_array(186)),
    "grid": grid(20),
    "components": csr_array(block_diag([grid(9), 3 * eye_array(4), grid(6)])),
    "diagonal": csr_array(diags_array(np.arange(1.0, 41.0))),
    "one entry": csr_array([[2.0]]),
    "dense": csr_array(60 * np.eye(50) + 1.0),
}
all_matrices = pytest.mark.parametrize("name", list(MATRICES))


@all_matrices
def test_the_solution_is_the_dense_one(name):
    matrix = MATRICES[name]
    n = matrix.shape[0]
    b = np.random.default_rng(0).standard_normal((n, 3))
    solver = SymmetricFactor(matrix)
    expected = np.linalg.solve(matrix.toarray(), b)
    assert np.abs(solver.solve(b) - expected).max() < 1e-12
    assert np.abs(solver.solve(b[:, 1]) - expected[:, 1]).max() < 1e-12
    assert solver.solve(b[:, 1]).shape == (n,)


@all_matrices
def test_copies_and_pickles_solve_alike(name):
    matrix = MATRICES[name]
    b = np.random.default_rng(0).standard_normal(matrix.shape[0])
    solver = SymmetricFactor(matrix)
    for other in (copy.deepcopy(solver), pickle.loads(pickle.dumps(solver))):
        assert np.array_equal(other.order, solver.order)
        assert np.array_equal(other.solve(b), solver.solve(b))


@pytest.mark.parametrize("name", ["sphere", "strip", "grid", "components"])
def test_negative_eigenvalues_are_counted(name):
    matrix = MATRICES[name]
    values = np.linalg.eigvalsh(matrix.toarray())
    order = nested_dissection(matrix)
    for shift in (values[0] / 2, np.sqrt(2), values.mean() + 0.01, values[-1] + 1):
        shifted = matrix - shift * eye_array(len(values))
        assert factor.negative_eigenvalues(shifted, order) == (values < shift).sum()


@all_matrices
def test_an_order_names_each_node_once(name):
    order = nested_dissection(MATRICES[name])
    assert sorted(order.tolist()) == list(range(MATRICES[name].shape[0]))


@given(st.integers(1, 60), st.integers(0, 3), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_any_graph_is_ordered_and_solved(n, degree, seed):
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, n, (2, n * degree))
    half = coo_array((rng.random(n * degree), tuple(ends)), shape=(n, n)).tocsr()
    weights = half + half.T
    matrix = csr_array(diags_array(weights.sum(1) + 1) - weights)
    b = rng.standard_normal(n)
    order = nested_dissection(matrix)
    assert sorted(order.tolist()) == list(range(n))
    assert (
        np.abs(SymmetricFactor(matrix, order).solve(b) - np.linalg.solve(matrix.toarray(), b)).max()
        < 1e-12
    )


def test_the_order_saves_entries():
    matrix = grid(30)
    dissected = fill(matrix, nested_dissection(matrix))
    by_rows = fill(matrix, np.arange(900))
    at_random = fill(matrix, np.random.default_rng(0).permutation(900))
    assert dissected < 0.6 * by_rows and by_rows < at_random


def test_the_order_saves_entries_over_the_default_of_scipy():
    matrix = csr_array(cotan_laplacian(icosphere(4)) + eye_array(2562))
    default = scipy.sparse.linalg.splu(matrix.tocsc())
    assert SymmetricFactor(matrix)._factors.nnz < 0.9 * default.nnz


def test_the_order_does_not_need_a_good_numbering():
    matrix = grid(30)
    shuffle = np.random.default_rng(0).permutation(900)
    shuffled = csr_array(matrix[shuffle][:, shuffle])
    before, after = (fill(m, nested_dissection(m)) for m in (matrix, shuffled))
    assert abs(after / before - 1) < 0.15


def test_the_two_halves_touch_only_through_the_separator():
    matrix = grid(20)
    order = nested_dissection(matrix)
    # The separator of the first cut comes last: without it the grid falls apart into two halves.
    without = [order[: len(order) - cut] for cut in range(15, 35)]
    pieces = [
        np.bincount(scipy.sparse.csgraph.connected_components(matrix[kept][:, kept])[1])
        for kept in without
    ]
    assert any(len(p) == 2 and p.min() > 150 for p in pieces)


def test_smooth_cuts_save_entries(monkeypatch):
    matrix = csr_array(cotan_laplacian(icosphere(4)) + eye_array(2562))
    smooth = SymmetricFactor(matrix)._factors.nnz
    monkeypatch.setattr(factor, "ROUNDS", 0)
    assert smooth < 0.95 * SymmetricFactor(matrix)._factors.nnz


def test_the_side_with_fewer_nodes_is_the_separator():
    # Node 0 in the lower half, all others in the upper one and next to it.
    rows, columns = np.array([[0, 1], [0, 2], [0, 3], [1, 0], [2, 0], [3, 0]]).T
    found = factor._separators(np.array([0, 1, 1, 1, 1]), rows, columns)
    assert found.tolist() == [True, False, False, False, False]


def test_steps_are_counted_from_the_nearest_source():
    graph = factor._adjacency(grid(7))
    found = factor._steps(graph, np.array([0, 48]))
    row, column = np.divmod(np.arange(49), 7)
    assert found.tolist() == np.minimum(row + column, 12 - row - column).tolist()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (csr_array(np.ones((2, 3))), "expected shape (n, n) with n at least 1, got (2, 3)"),
        (csr_array([[1.0, np.nan], [np.nan, 1.0]]), "expected finite entries, got NaN or infinity"),
        (csr_array([[2.0, 1.0], [0.0, 2.0]]), "expected a symmetric one, got entries 1 apart"),
        (csr_array([[1.0, -1.0], [-1.0, 1.0]]), "expected a positive definite one, got"),
        (csr_array((3, 3)), "expected a positive definite one, got"),
        (csr_array(cotan_laplacian(icosphere(2))), "expected a positive definite one, got"),
    ],
    ids=["not square", "not finite", "not symmetric", "singular", "zero", "closed surface"],
)
def test_other_matrices_are_refused(matrix, message):
    with pytest.raises(ValueError, match=f"^matrix: {re.escape(message)}"):
        SymmetricFactor(matrix)


@pytest.mark.parametrize("gap", [1e-6, 1e-3])
def test_nearly_symmetric_matrices_are_refused(gap):
    dense = grid(4).toarray()
    dense[0, 1] += gap
    with pytest.raises(ValueError, match="matrix: expected a symmetric one"):
        SymmetricFactor(csr_array(dense))
