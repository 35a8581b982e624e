"""Projectors and functions of symmetric matrices: gradients that degeneracy does not spoil."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gdl.programs.spectral import spectral_projector
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")
forward_mode = pytest.mark.filterwarnings(
    "ignore:.torch.jit.script. is deprecated:DeprecationWarning:torch"
)


def symmetric(*shape: int, seed: int = 0) -> Tensor:
    A = random(*shape, seed=seed)
    return A + A.mT


def rotation(n: int, seed: int = 7) -> Tensor:
    return torch.linalg.qr(random(n, n, seed=seed)).Q


def with_spectrum(*values: float, seed: int = 7) -> Tensor:
    g = rotation(len(values), seed)
    A = g @ torch.diag(torch.tensor(values, dtype=F64)) @ g.T
    return (A + A.T) / 2


def slope(function, A: Tensor, weights: Tensor) -> Tensor:
    """The gradient of ``<weights, function(A)>`` on symmetric matrices."""
    leaf = A.clone().requires_grad_()
    (found,) = torch.autograd.grad((function(leaf) * weights).sum(), leaf)
    return (found + found.mT) / 2


def slope_by_differences(function, A: Tensor, weights: Tensor, h: float = 1e-3) -> Tensor:
    """Central differences of sixth order along all symmetric directions."""
    result = torch.zeros_like(A)
    for i in range(len(A)):
        for j in range(i + 1):
            step = torch.zeros_like(A)
            step[i, j] = step[j, i] = h
            terms = [
                weight * ((function(A + k * step) - function(A - k * step)) * weights).sum()
                for k, weight in ((1, 45), (2, -9), (3, 1))
            ]
            result[i, j] = result[j, i] = sum(terms) / (60 * h) / (1 if i == j else 2)
    return result


def torch_projector(A: Tensor, count: int) -> Tensor:
    V = torch.linalg.eigh(A).eigenvectors[..., :count]
    return V @ V.mT


# --- the projector --------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("count", [1, 2, 4])
def test_it_projects_on_the_lowest_eigenvectors(count, dtype):
    A = symmetric(2, 3, 4, 4).to(dtype)
    P = spectral_projector(A, count)
    assert P.dtype == dtype and P.shape == A.shape
    wanted = np.linalg.eigh(A.double().numpy())[1][..., :count]
    assert gap(P.double(), torch.from_numpy(wanted @ wanted.swapaxes(-1, -2))) < (
        1e-5 if dtype == torch.float32 else 1e-13
    )
    assert gap(P @ P, P) < 1e-5 and gap(P @ A, A @ P) < 1e-5


def test_a_projector_by_hand():
    turn = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=F64)
    wanted = torch.tensor([[0.5, -0.5], [-0.5, 0.5]], dtype=F64)
    assert gap(spectral_projector(turn, 1), wanted) < 1e-15


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_gradient_is_that_of_torch_where_eigenvalues_differ(count):
    A, weights = symmetric(2, 4, 4), random(2, 4, 4, seed=1)
    found = slope(lambda A: spectral_projector(A, count), A, weights)
    wanted = slope(lambda A: torch_projector(A, count), A, weights)
    assert gap(found, wanted) < 1e-12 and wanted.abs().max() > 0.1


@pytest.mark.parametrize(
    ("values", "count"),
    [([1, 1, 3, 4], 2), ([1, 2, 4, 4], 2), ([1, 1, 1, 3, 3, 3], 3), ([0, 0, 5], 2)],
    ids=str,
)
def test_the_gradient_where_eigenvalues_are_equal(values, count):
    """Equal by construction: diagonal matrices, whose eigenvalues LAPACK finds without rounding."""
    A = torch.diag(torch.tensor(values, dtype=F64))
    weights = random(*A.shape, seed=1)
    found = slope(lambda A: spectral_projector(A, count), A, weights)
    wanted = slope_by_differences(lambda A: spectral_projector(A, count), A, weights)
    assert gap(found, wanted) < 1e-10 and wanted.abs().max() > 0.1
    assert not torch.isfinite(slope(lambda A: torch_projector(A, count), A, weights)).all()
    turned = with_spectrum(*values)
    found = slope(lambda A: spectral_projector(A, count), turned, weights)
    wanted = slope_by_differences(lambda A: spectral_projector(A, count), turned, weights)
    assert gap(found, wanted) < 1e-10


@pytest.mark.parametrize("order", range(1, 8))
def test_one_eigenvector_blows_up_and_the_projector_does_not(order):
    """The gradient of one eigenvector grows like 1/gap, that of the pair does not see the gap."""
    size = 10.0**-order
    A, w = torch.diag(torch.tensor([0.0, size, 2.0], dtype=F64)), random(3, seed=1)
    leaf = A.clone().requires_grad_()
    single = torch.linalg.eigh(leaf).eigenvectors[:, 0]
    (blown,) = torch.autograd.grad(w @ single, leaf)
    closed = math.hypot(w[1] / size, w[2] / 2) / math.sqrt(2)
    assert abs(torch.linalg.norm(blown) / closed - 1) < 1e-8
    pair = slope(lambda A: spectral_projector(A, 2), A, torch.outer(w, w))
    assert abs(torch.linalg.norm(pair) - math.sqrt(2) * _pair_slope(w, size)) < 1e-12


def _pair_slope(w: Tensor, size: float) -> float:
    """``|dP|`` in closed form: the entries ``w_0 w_2 / (0 - 2)`` and ``w_1 w_2 / (size - 2)``."""
    return float(abs(w[2])) * math.hypot(w[0] / 2, w[1] / (2 - size))


@pytest.mark.parametrize("count", [1, 2])
def test_equivariant_under_rotations(count):
    A, g = symmetric(4, 4), rotation(4)
    B = g @ A @ g.T
    wanted = g @ spectral_projector(A, count) @ g.T
    assert gap(spectral_projector((B + B.T) / 2, count), wanted) < 1e-13
    weights = random(4, 4, seed=1)
    found = slope(lambda A: spectral_projector(A, count), (B + B.T) / 2, g @ weights @ g.T)
    wanted = slope(lambda A: spectral_projector(A, count), A, weights)
    assert gap(found, g @ wanted @ g.T) < 1e-12


@forward_mode
def test_gradients_by_differences():
    def layer(A):
        return spectral_projector(A + A.mT, 2)

    A = random(3, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, (A,), check_forward_ad=True)


def test_all_eigenvectors_are_the_identity():
    A = symmetric(3, 3)
    assert gap(spectral_projector(A, 3), torch.eye(3, dtype=F64)) < 1e-14
    assert slope(lambda A: spectral_projector(A, 3), A, random(3, 3)).abs().max() == 0


@pytest.mark.parametrize(
    "values", [[1, 1, 3], [0, 1e-17, 1], [0, 0, 0], [5, 5 + 1e-15, 9]], ids=str
)
def test_no_gap_is_refused(values):
    with pytest.raises(torch.linalg.LinAlgError, match="^matrix: expected a gap between"):
        spectral_projector(torch.diag(torch.tensor(values, dtype=F64)), 1)


def test_a_projector_is_made_of_the_sign_of_a_matrix():
    """Newton's and Schulz' iteration has the sign in the limit, and needs no eigenvectors."""
    A, weights = with_spectrum(-3, -2, 2, 3), random(4, 4, seed=1)

    def negative(A):
        X = A / 4
        for _ in range(20):
            X = 1.5 * X - 0.5 * X @ X @ X
        return (torch.eye(4, dtype=F64) - X) / 2

    assert gap(negative(A), spectral_projector(A, 2)) < 1e-12
    found = slope(lambda A: spectral_projector(A, 2), A, weights)
    assert gap(found, slope(negative, A, weights)) < 1e-12


@forward_mode
def test_second_derivatives_are_refused_in_every_mode():
    A, weights = random(3, 3), random(3, 3, seed=1)

    def value(A):
        return (spectral_projector(A + A.T, 1) * weights).sum()

    once, twice = torch.func.jacrev, torch.func.jacfwd
    assert gap(once(value)(A), twice(value)(A)) < 1e-13
    for outer in (once, twice):
        for inner in (once, twice):
            with pytest.raises(NotImplementedError, match="^matrix: .* once"):
                outer(inner(value))(A)
    with pytest.raises(NotImplementedError, match="^matrix: .* once"):
        torch.autograd.functional.hessian(value, A)


# --- wrong input ----------------------------------------------------------------------------------

WRONG_MATRICES = [
    ([[1.0]], TypeError),
    (torch.eye(2, dtype=torch.int64), TypeError),
    (torch.eye(2, dtype=torch.complex64), TypeError),
    (torch.eye(2, dtype=torch.float16), TypeError),
    (torch.ones(2, 3), ValueError),
    (torch.ones(3), ValueError),
    (torch.empty(0, 0), ValueError),
    (torch.tensor([[1.0, 2.0], [0.0, 1.0]]), ValueError),
    (torch.tensor([[1.0, 1.001], [1.0, 1.0]], dtype=F64), ValueError),
    (torch.tensor([[NAN, 0.0], [0.0, 1.0]]), ValueError),
    (torch.tensor([[INF, 0.0], [0.0, 1.0]]), ValueError),
]


@pytest.mark.parametrize(("matrix", "error"), WRONG_MATRICES, ids=range(len(WRONG_MATRICES)))
def test_wrong_matrices(matrix, error):
    with refuses(error, "matrix"):
        spectral_projector(matrix, 1)


@pytest.mark.parametrize(
    ("count", "error"),
    [(0, ValueError), (3, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)],
    ids=str,
)
def test_wrong_counts(count, error):
    with refuses(error, "count"):
        spectral_projector(torch.eye(2), count)


def test_rounding_of_the_input_is_forgiven():
    A = symmetric(4, 4)
    A[0, 1] *= 1 + 1e-15
    assert gap(spectral_projector(A, 2), spectral_projector((A + A.T) / 2, 2)) < 1e-14
    leaf = A.requires_grad_()
    (found,) = torch.autograd.grad((spectral_projector(leaf, 2) * random(4, 4)).sum(), leaf)
    assert torch.equal(found, found.T)


def test_huge_and_tiny_matrices():
    A = symmetric(3, 3)
    largest = torch.finfo(F64).max / (1.5 * float(A.abs().max()))
    for scale in (largest, 1e-300):
        assert gap(spectral_projector(scale * A, 1), spectral_projector(A, 1)) < 1e-13


def test_meta():
    assert spectral_projector(torch.empty(2, 3, 3, device="meta"), 1).shape == (2, 3, 3)
