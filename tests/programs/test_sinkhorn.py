"""Doubly stochastic matrices: marginals, limits, symmetries, and the gradient without the steps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, minimize
from torch import Tensor

from gdl.programs import soft
from gdl.programs.linear import ConvergenceError
from gdl.programs.soft import sinkhorn
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")


def unrolled(scores: Tensor, temperature: float, steps: int) -> Tensor:
    """Sinkhorn's own iteration on the matrix itself, every step remembered."""
    P = (scores / temperature).exp()
    for _ in range(steps):
        P = P / P.sum(-1, keepdim=True)
        P = P / P.sum(-2, keepdim=True)
    return P


def gradient(P: Tensor, weights: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad((P * weights).sum(), leaf)[0]


# --- the matrix -----------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1, 0.01], ids=str)
@pytest.mark.parametrize("n", [1, 2, 5, 12], ids=str)
def test_marginals(n, temperature, dtype):
    P = sinkhorn(random(3, n, n, dtype=dtype), temperature, most_steps=200)
    tolerance = {torch.float32: 1e-4, F64: 1e-10}[dtype]
    assert P.dtype == dtype and bool((P >= 0).all())
    assert (P.sum(-1) - 1).abs().max() <= tolerance
    assert (P.sum(-2) - 1).abs().max() <= 1e-6 if dtype == torch.float32 else 1e-14


def test_two_by_two_in_closed_form():
    """``P_00 = 1 / (1 + exp(-s/2))`` with s the sum along the diagonal less that across it."""
    x = random(2, 2)
    s = x[0, 0] + x[1, 1] - x[0, 1] - x[1, 0]
    for temperature in (2.0, 0.5, 0.1):
        p = torch.sigmoid(s / temperature / 2)
        wanted = torch.stack([p, 1 - p, 1 - p, p]).reshape(2, 2)
        assert gap(sinkhorn(x, temperature), wanted) < 1e-10


def test_it_is_the_scaled_matrix():
    x = random(4, 4)
    assert gap(sinkhorn(x, 0.5), unrolled(x, 0.5, 2000)) < 1e-10


def test_it_maximises_scores_plus_entropy():
    """A search over all doubly stochastic matrices: 1/n and what has no row and column sums."""
    x, flat = random(3, 3).numpy(), np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])

    def doubly(c):
        return 1 / 3 + flat.T @ c.reshape(2, 2) @ flat

    def loss(c):
        P = doubly(c)
        return 0.4 * (P * np.log(P)).sum() - (P * x).sum() if (P > 0).all() else np.inf

    options = {"xatol": 1e-9, "fatol": 1e-15, "maxiter": 4000, "maxfev": 4000}
    best = minimize(loss, np.zeros(4), method="Nelder-Mead", options=options)
    assert np.abs(doubly(best.x) - sinkhorn(torch.from_numpy(x), 0.4).numpy()).max() < 1e-6


@pytest.mark.parametrize("n", [2, 3, 8], ids=str)
def test_the_limit_is_the_assignment(n):
    for seed in range(5):
        x = random(n, n, seed=seed)
        columns = torch.from_numpy(linear_sum_assignment(-x.numpy())[1])
        P = sinkhorn(x, 1e-4)
        assert torch.equal(P.argmax(-1), columns)
        assert gap(P, torch.eye(n, dtype=F64)[columns]) < 1e-8


def test_a_high_temperature_gives_the_centre():
    assert gap(sinkhorn(random(4, 4), 1e6), torch.full((4, 4), 0.25, dtype=F64)) < 1e-5


def test_equivariant_under_permutations_of_rows_and_of_columns():
    x = random(3, 3)
    P = sinkhorn(x, 0.3)
    for rows, columns in itertools.product(itertools.permutations(range(3)), repeat=2):
        wanted = P[list(rows)][:, list(columns)]
        assert gap(sinkhorn(x[list(rows)][:, list(columns)], 0.3), wanted) < 1e-10
    assert gap(sinkhorn(x.mT, 0.3), P.mT) < 1e-10


def test_constants_change_nothing():
    x, rows, columns = random(2, 4, 4), random(2, 4, 1, seed=1), random(2, 1, 4, seed=2)
    assert gap(sinkhorn(x + 5 * rows + 5 * columns, 0.3), sinkhorn(x, 0.3)) < 1e-10


def test_a_batch_is_its_members():
    x = random(2, 3, 4, 4) * torch.tensor([1.0, 5.0, 30.0], dtype=F64)[:, None, None]
    P = sinkhorn(x, 0.5)
    for i, j in itertools.product(range(2), range(3)):
        assert gap(P[i, j], sinkhorn(x[i, j], 0.5)) < 1e-9


# --- the gradient ---------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [1.0, 0.4], ids=str)
def test_first_and_second_derivatives_by_differences(temperature):
    x = random(3, 3).requires_grad_()

    def layer(x):
        return sinkhorn(x, temperature, tolerance=1e-13)

    assert torch.autograd.gradcheck(layer, (x,))
    assert torch.autograd.gradgradcheck(layer, (x,), fast_mode=True)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.3], ids=str)
def test_the_implicit_gradient_is_the_unrolled_one(temperature):
    x, weights = random(4, 4).requires_grad_(), random(4, 4, seed=1)
    wanted = gradient(unrolled(x, temperature, 3000), weights, x)
    found = gradient(sinkhorn(x, temperature, tolerance=1e-13), weights, x)
    assert gap(found, wanted) < 1e-10 and wanted.abs().max() > 0.01


def test_second_derivatives_are_the_unrolled_ones():
    x, weights, v = random(3, 3), random(3, 3, seed=1), random(3, 3, seed=2)

    def hessian(layer):
        H = torch.func.jacrev(torch.func.jacrev(lambda x: (layer(x) * weights).sum()))(x)
        return torch.einsum("ijkl,kl->ij", H, v)

    found, wanted = hessian(lambda x: sinkhorn(x, 0.5)), hessian(lambda x: unrolled(x, 0.5, 500))
    assert gap(found, wanted) < 1e-9 and wanted.abs().max() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.03, 0.01, 0.001], ids=str)
def test_what_constants_cannot_change_has_no_gradient(temperature):
    """Weights u_i + v_j only see the marginals; a pseudoinverse fails here by up to 1e-3."""
    for n, seed in itertools.product((3, 8), range(5)):
        x = random(n, n, seed=seed).requires_grad_()
        weights = random(n, 1, seed=1) + random(1, n, seed=2)
        found = gradient(sinkhorn(x, temperature), weights, x)
        assert found.abs().max() * temperature < 1e-7
        rows = gradient(sinkhorn(x, temperature), random(n, n, seed=3), x)
        assert max(rows.sum(0).abs().max(), rows.sum(1).abs().max()) * temperature < 1e-7


def test_the_derivative_is_its_own_transpose():
    J = torch.autograd.functional.jacobian(lambda x: sinkhorn(x, 1.0), random(3, 3)).reshape(9, 9)
    assert gap(J, J.T.contiguous()) < 1e-10
    assert torch.linalg.matrix_rank(J, tol=1e-8) == 4
    assert torch.linalg.eigvalsh(J).min() > -1e-10


def test_marginals_that_are_met_roughly_are_held_where_they_are():
    x = random(4, 4).requires_grad_()
    P = sinkhorn(x, 0.3, tolerance=0.05)
    assert 1e-4 < (P.sum(-1) - 1).abs().max() <= 0.05
    assert gradient(P, random(4, 1, seed=1) + random(1, 4, seed=2), x).abs().max() < 1e-12


def test_the_singular_system_is_solved_without_its_gauge():
    P, right = sinkhorn(random(5, 5)), random(5)
    right = right - right.mean()
    found = soft._solved(P, P.sum(-1), right)
    least = np.linalg.lstsq(np.eye(5) - (P @ P.T).numpy(), right.numpy(), rcond=1e-8)[0]
    assert gap(found, torch.from_numpy(least)) < 1e-9 and abs(found.sum()) < 1e-10


def test_the_gradient_at_a_permutation_is_zero():
    x = (1e4 * torch.eye(3, dtype=F64)).requires_grad_()
    assert gradient(sinkhorn(x), random(3, 3), x).abs().max() < 1e-12


def test_float32_gradient():
    x, weights = random(4, 4).requires_grad_(), random(4, 4, seed=1)
    wanted = gradient(sinkhorn(x, 0.3), weights, x)
    y = x.detach().float().requires_grad_()
    assert gap(gradient(sinkhorn(y, 0.3), weights.float(), y).double(), wanted) < 1e-3


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning:torch")
def test_forward_mode_is_refused():
    with pytest.raises((RuntimeError, NotImplementedError), match="jvp"):
        torch.func.jvp(sinkhorn, (random(3, 3),), (random(3, 3),))


def test_memory_does_not_grow_with_the_steps():
    for temperature in (1.0, 0.01):
        P = sinkhorn(random(4, 4).requires_grad_(), temperature)
        (kept,) = P.grad_fn.saved_tensors
        assert torch.equal(kept, P)


# --- failures -------------------------------------------------------------------------------------


def test_too_few_steps_are_reported():
    with pytest.raises(ConvergenceError, match="after 2 steps, got a deviation of"):
        sinkhorn(random(4, 4), 0.1, most_steps=2)
    with pytest.raises(ConvergenceError, match="sinkhorn"):
        sinkhorn(random(30, 30), 0.5, tolerance=1e-30, most_steps=20)


@pytest.mark.parametrize("size", [1e3, 1e8, 1e20, 1e200], ids=str)
def test_huge_scores_give_the_assignment_or_say_so(size):
    for seed in range(3):
        x = size * random(5, 5, seed=seed)
        columns = linear_sum_assignment(-x.numpy())[1]
        assert gap(sinkhorn(x), torch.eye(5, dtype=F64)[columns]) < 1e-8


def test_sinkhorn_alone_crawls_where_newton_does_not():
    x = random(5, 5, seed=3)
    left = (unrolled(x - x.amax(), 0.05, 300).sum(-1) - 1).abs().max()
    assert left > 1e-5
    assert (sinkhorn(x, 0.05, most_steps=60).sum(-1) - 1).abs().max() < 1e-10


def test_steps_of_sinkhorn_alone_reach_the_same_matrix(monkeypatch):
    x = random(4, 4)
    wanted = sinkhorn(x, 0.5)
    monkeypatch.setattr(soft, "_solved", lambda P, rows, right: torch.full_like(right, NAN))
    assert gap(sinkhorn(x, 0.5), wanted) < 1e-9


@pytest.mark.parametrize(
    ("scores", "given", "error", "argument"),
    [
        ([[1.0]], {}, TypeError, "scores"),
        (torch.ones(2, 2, dtype=torch.int64), {}, TypeError, "scores"),
        (torch.ones(2, 2, dtype=torch.float16), {}, TypeError, "scores"),
        (torch.ones(2, 3), {}, ValueError, "scores"),
        (torch.ones(3), {}, ValueError, "scores"),
        (torch.empty(0, 0), {}, ValueError, "scores"),
        (torch.empty(0, 2, 2), {}, ValueError, "scores"),
        (torch.tensor([[NAN, 0.0], [0.0, 0.0]]), {}, ValueError, "scores"),
        (torch.tensor([[-INF, 0.0], [0.0, 0.0]]), {}, ValueError, "scores"),
        (torch.tensor([[3e38, -3e38], [0.0, 0.0]]), {}, ValueError, "scores"),
        (torch.eye(2), {"temperature": 0}, ValueError, "temperature"),
        (torch.eye(2), {"temperature": "cold"}, TypeError, "temperature"),
        (torch.eye(2), {"tolerance": 0.0}, ValueError, "tolerance"),
        (torch.eye(2), {"tolerance": True}, TypeError, "tolerance"),
        (torch.eye(2), {"most_steps": 0}, ValueError, "most_steps"),
        (torch.eye(2), {"most_steps": 1.5}, TypeError, "most_steps"),
    ],
    ids=range(16),
)
def test_wrong_input(scores, given, error, argument):
    with refuses(error, argument):
        sinkhorn(scores, **given)


def test_overflow_by_the_temperature_is_refused():
    with refuses(ValueError, "scores"):
        sinkhorn(10 * torch.eye(2), 2e-38)


def test_meta():
    assert sinkhorn(torch.empty(2, 3, 3, device="meta")).shape == (2, 3, 3)


# --- the nearest permutation ----------------------------------------------------------------------
