"""Classical sparse coding against scikit-learn, optimality conditions, enumeration and rates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from gdl.sparse_coding.classical import (
    duality_gap,
    fista,
    iht,
    ista,
    lasso_objective,
    lipschitz,
    omp,
    solve_lasso,
)
from studies._sparse import coordinate_descent
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")
PENALTY = 0.1
ITERATIONS = [ista, fista]
iterations = pytest.mark.parametrize("iterate", ITERATIONS, ids=lambda f: f.__name__)


def by_count(signals: Tensor, dictionary: Tensor, steps: int, **more) -> Tensor:
    return iht(signals, dictionary, count=2, steps=steps, **more)


def by_price(signals: Tensor, dictionary: Tensor, steps: int, **more) -> Tensor:
    return iht(signals, dictionary, penalty=PENALTY, steps=steps, **more)


def problem(m: int = 6, n: int = 10, count: int = 8, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signals and a dictionary whose atoms have lengths from 0.3 to 2."""
    D = random(m, n, seed=seed)
    D = D / torch.linalg.vector_norm(D, dim=0) * torch.linspace(0.3, 2, n, dtype=F64)
    return random(count, m, seed=seed + 1), D


def lasso(y: Tensor, D: Tensor, penalty: float) -> Tensor:
    """The oracle: scikit-learn minimises F / m."""
    from sklearn.linear_model import Lasso

    model = Lasso(alpha=penalty / len(D), fit_intercept=False, tol=1e-14, max_iter=10**6)
    return torch.tensor(np.stack([model.fit(D.numpy(), row).coef_ for row in y.numpy()]))


# --- the objective and its certificate ------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (1, 1)], ids=str)
def test_the_lipschitz_constant(shape, dtype):
    D = random(*shape)
    for gram in (D.mT @ D, D @ D.mT):
        largest = np.linalg.eigvalsh(gram.numpy())[-1]
        assert lipschitz(D.to(dtype)) == pytest.approx(largest, rel=20 * torch.finfo(dtype).eps)
    assert lipschitz(3 * D) == pytest.approx(9 * lipschitz(D), rel=1e-12)


def test_the_objective_by_hand():
    y, D = problem()
    x = random(8, 10, seed=2)
    for i in range(8):
        rest = [float(y[i, k] - sum(D[k, j] * x[i, j] for j in range(10))) for k in range(6)]
        wanted = sum(r**2 for r in rest) / 2 + 0.7 * sum(abs(float(v)) for v in x[i])
        assert float(lasso_objective(x, y, D, 0.7)[i]) == pytest.approx(wanted, rel=1e-13)
    assert torch.autograd.gradcheck(
        lambda x, y, D: lasso_objective(x, y, D, 0.7),
        tuple(v.clone().requires_grad_() for v in (x, y, D)),
    )


@pytest.mark.parametrize("penalty", [0.05, 0.5, 100.0])
def test_the_gap_is_primal_minus_dual(penalty):
    y, D = problem()
    for x in (random(8, 10, seed=2), fista(y, D, penalty, 30), torch.zeros(8, 10, dtype=F64)):
        rest = y - x @ D.mT
        largest = (rest @ D).abs().amax(-1, keepdim=True)
        dual = rest * (penalty / largest).clamp_max(1)
        assert float((dual @ D).abs().max()) <= penalty * (1 + 1e-12)
        value = y.square().sum(-1) / 2 - (y - dual).square().sum(-1) / 2
        wanted = lasso_objective(x, y, D, penalty) - value
        found = duality_gap(x, y, D, penalty)
        assert gap(found, wanted) < 1e-12 * float(wanted.max().clamp_min(1))
        best = lasso_objective(solve_lasso(y, D, penalty), y, D, penalty)
        assert bool((lasso_objective(x, y, D, penalty) - best <= found + 1e-9).all())


# --- the exact code -------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("shape", [(6, 10), (10, 6), (20, 40)], ids=str)
def test_it_is_scikit_learns_lasso(shape, penalty):
    y, D = problem(*shape)
    assert gap(solve_lasso(y, D, penalty, tolerance=1e-12), lasso(y, D, penalty)) < 1e-8


def test_it_is_that_of_least_angle_regression():
    from sklearn.linear_model import LassoLars

    y, D = problem()
    model = LassoLars(alpha=PENALTY / len(D), fit_intercept=False)
    exact = torch.tensor(np.stack([model.fit(D.numpy(), row).coef_ for row in y.numpy()]))
    assert float(duality_gap(exact, y, D, PENALTY).max()) < 1e-12
    assert gap(solve_lasso(y, D, PENALTY, tolerance=1e-12), exact) < 1e-8


def test_optimality_conditions():
    """Where x is not 0 the gradient of the square is -penalty sign(x); elsewhere at most that."""
    y, D = problem(20, 40)
    x = solve_lasso(y, D, PENALTY, tolerance=1e-12)
    products = (y - x @ D.mT) @ D
    on = x != 0
    assert 0.05 < float(on.double().mean()) < 0.6
    assert float((products - PENALTY * x.sign())[on].abs().max()) < 1e-9
    assert float(products[~on].abs().max()) < PENALTY


def test_large_penalties_leave_nothing():
    y, D = problem(count=1)
    largest = float((y @ D).abs().max())
    assert int((solve_lasso(y, D, largest * (1 + 1e-9)) != 0).sum()) == 0
    assert int((solve_lasso(y, D, largest * (1 - 1e-3)) != 0).sum()) == 1


@both_dtypes
def test_tolerance_and_failure(dtype):
    y, D = (v.to(dtype) for v in problem())
    exact = lasso(y.double(), D.double(), PENALTY)
    for tolerance in (1e-2, 1e-6, 1e-10):
        x = solve_lasso(y, D, PENALTY, tolerance=tolerance)
        assert x.dtype == dtype
        F = lasso_objective(x.double(), y.double(), D.double(), PENALTY)
        least = lasso_objective(exact, y.double(), D.double(), PENALTY)
        assert bool((F - least <= (tolerance + 2 * torch.finfo(dtype).eps) * F).all())
    assert gap(x.double(), exact) < (1e-6 if dtype == torch.float32 else 1e-8)
    with pytest.raises(ArithmeticError, match="8 of 8 codes .* after 1 steps"):
        solve_lasso(y, D, PENALTY, most_steps=1)
    twins = torch.tensor([[1.0, 1.0], [0.0, 1e-4]], dtype=dtype)
    with pytest.raises(ArithmeticError, match="1 of 1 codes"):
        solve_lasso(torch.tensor([1.0, 1.0], dtype=dtype), twins, 1e-6, most_steps=500)


def test_sizes_of_signals_do_not_matter():
    y, D = problem()
    for scale in (1e-12, 1e12):
        found = solve_lasso(scale * y, D, scale * PENALTY) / scale
        assert gap(found, solve_lasso(y, D, PENALTY)) < 1e-7
    assert gap(solve_lasso(0 * y, D, PENALTY), torch.zeros(8, 10, dtype=F64)) == 0


# --- the iterations -------------------------------------------------------------------------------


@iterations
def test_the_limit_is_the_lasso_code(iterate):
    y, D = problem(10, 6)
    assert gap(iterate(y, D, PENALTY, 3000), lasso(y, D, PENALTY)) < 1e-8


@pytest.mark.parametrize("first", [False, True])
def test_rates(first):
    y, D = problem(20, 40)
    start = random(8, 40, seed=3) if first else None
    best = solve_lasso(y, D, PENALTY, tolerance=1e-12)
    away = (best if start is None else best - start).square().sum(-1)
    t = torch.arange(1, 201, dtype=F64)[:, None]

    def excess(path: Tensor) -> Tensor:
        F = lasso_objective(path, y.expand(len(path), 8, 20), D, PENALTY)
        return F - lasso_objective(best, y, D, PENALTY)

    slow = excess(ista(y, D, PENALTY, 200, start=start, path=True))
    fast = excess(fista(y, D, PENALTY, 200, start=start, path=True))
    assert bool((slow[1:] <= lipschitz(D) * away / (2 * t)).all())
    assert bool((fast[1:] <= 2 * lipschitz(D) * away / (t + 1) ** 2).all())
    assert bool((slow.diff(dim=0) <= 1e-12).all())
    assert bool((fast.diff(dim=0) > 1e-6).any()) and bool((fast[50] < slow[50]).all())


def test_a_step_of_ista_is_a_gradient_and_a_threshold():
    y, D = problem()
    x, L = random(8, 10, seed=2).requires_grad_(), np.linalg.norm(problem()[1].numpy(), 2) ** 2
    (gradient,) = torch.autograd.grad((y - x @ D.mT).square().sum() / 2, x)
    u = (x - gradient / L).detach()
    wanted = torch.where(u > PENALTY / L, u - PENALTY / L, 0)
    wanted = torch.where(u < -PENALTY / L, u + PENALTY / L, wanted)
    for iterate in (ista, fista):
        assert gap(iterate(y, D, PENALTY, 1, start=x.detach()), wanted) < 1e-14


def test_fista_by_hand():
    y, D = problem()
    wanted = ista(y, D, PENALTY, 1)
    last, t = torch.zeros_like(wanted), 1.0
    for k in range(2, 6):
        later = (1 + (1 + 4 * t**2) ** 0.5) / 2
        ahead = wanted + (t - 1) / later * (wanted - last)
        last, t = wanted, later
        wanted = ista(y, D, PENALTY, 1, start=ahead)
        assert gap(fista(y, D, PENALTY, k), wanted) < 1e-13


def test_a_step_of_coordinate_descent():
    from scipy.optimize import minimize_scalar

    y, D = problem(count=1)
    start = random(1, 10, seed=4)
    path = coordinate_descent(y, D, PENALTY, 3, start=start, path=True)

    def along(x: Tensor, j: int) -> float:
        def cost(value: float) -> float:
            moved = x.clone()
            moved[0, j] = value
            return float(lasso_objective(moved, y, D, PENALTY))

        return minimize_scalar(cost, bracket=(-1.0, 1.0), tol=1e-12).x

    end = coordinate_descent(y, D, PENALTY, 3000)
    assert float((end - solve_lasso(y, D, PENALTY)).abs().max()) < 1e-8
    for before, after in itertools.pairwise(path):
        best = [along(before, j) for j in range(10)]
        moves = [abs(b - float(v)) for b, v in zip(best, before[0], strict=True)]
        j = int(np.argmax(moves))
        assert (after - before)[0].nonzero().flatten().tolist() == [j]
        assert abs(float(after[0, j]) - best[j]) < 1e-6


METHODS = [
    *(lambda y, D, f=f, **more: f(y, D, PENALTY, 7, **more) for f in ITERATIONS),
    *(lambda y, D, f=f, **more: f(y, D, 7, **more) for f in (by_count, by_price)),
]
methods = pytest.mark.parametrize("method", METHODS, ids=["ista", "fista", "top", "l0"])


@methods
def test_a_batch_is_a_loop(method):
    y, D = problem()
    y, start = y.reshape(2, 4, 6), random(2, 4, 10, seed=2)
    found = method(y, D, start=start)
    for i, j in itertools.product(range(2), range(4)):
        assert gap(method(y[i, j], D, start=start[i, j]), found[i, j]) < 1e-13
        assert gap(method(y[i, j, None], D, start=start[i, j, None]), found[i, j, None]) < 1e-13
    path = method(y, D, start=start, path=True)
    assert path.shape == (8, 2, 4, 10)
    assert gap(path[0], start) == 0 and gap(path[-1], found) == 0
    assert method(y[:0], D).shape == (0, 4, 10)
    assert gap(method(y.float(), D.float()).double(), method(y, D)) < 1e-4


@pytest.mark.parametrize("iterate", [ista, fista], ids=["ista", "fista"])
def test_gradients_by_differences(iterate):
    y, D = problem(count=2)
    start = random(2, 10, seed=2)
    assert torch.autograd.gradcheck(
        lambda y, start: iterate(y, D, PENALTY, 3, start=start),
        (y.clone().requires_grad_(), start.clone().requires_grad_()),
    )


# --- few entries ----------------------------------------------------------------------------------


def test_hard_thresholding_descends():
    y, D = problem(20, 40)
    path = by_count(y, D, 60, path=True)
    squares = (y - path @ D.mT).square().sum(-1) / 2
    assert bool((squares.diff(dim=0) <= 1e-12).all()) and bool((squares[-1] < squares[0]).all())
    assert bool(((path[1:] != 0).sum(-1) == 2).all())
    path = by_price(y, D, 60, path=True)
    costs = (y - path @ D.mT).square().sum(-1) / 2 + PENALTY * (path != 0).sum(-1)
    assert bool((costs.diff(dim=0) <= 1e-12).all()) and bool((costs[-1] < costs[0]).all())


def best_of_all(y: Tensor, D: Tensor, count: int) -> Tensor:
    """Least squares on every choice of atoms."""
    best, code = INF, None
    for kept in map(list, itertools.combinations(range(D.shape[1]), count)):
        values = np.linalg.lstsq(D[:, kept].numpy(), y.numpy(), rcond=None)[0]
        cost = float(np.square(y.numpy() - D[:, kept].numpy() @ values).sum())
        if cost < best:
            best, code = cost, torch.zeros(D.shape[1], dtype=F64)
            code[kept] = torch.tensor(values)
    return code


def test_the_best_code_is_a_fixed_point():
    y, D = problem()
    for row in y:
        best = best_of_all(row, D, 2)
        assert gap(by_count(row, D, 5, start=best), best) < 1e-12
    # For atoms that are orthogonal one step is the proximal map.
    kept = iht(y, torch.eye(6, dtype=F64), penalty=PENALTY, steps=1)
    assert gap(kept, torch.where(y.square() / 2 > PENALTY, y, 0)) == 0
    nothing = iht(y, D, penalty=1e3, steps=3)
    assert not bool(nothing.any())


@pytest.mark.parametrize("count", [0, 1, 3, 6])
def test_pursuit_is_that_of_scikit_learn(count):
    from sklearn.linear_model import orthogonal_mp

    y, D = problem(12, 20)
    D = D / torch.linalg.vector_norm(D, dim=0)
    found = omp(y, D, count)
    assert bool(((found != 0).sum(-1) == count).all())
    if count:
        wanted = orthogonal_mp(D.numpy(), y.numpy().T, n_nonzero_coefs=count).T
        assert gap(found, torch.tensor(wanted)) < 1e-12


def test_lengths_of_atoms_do_not_matter_to_pursuit():
    y, D = problem(12, 20)
    scales = torch.linspace(0.1, 3, 20, dtype=F64) * random(20).sign()
    assert gap(omp(y, D * scales, 4) * scales, omp(y, D, 4)) < 1e-12
    Q = torch.linalg.qr(random(12, 12)).Q
    best = torch.stack([best_of_all(row, Q, 3) for row in y])
    assert gap(omp(y, Q, 3), best) < 1e-12


@both_dtypes
def test_pursuit_ends_when_nothing_is_left(dtype):
    _, D = problem(12, 20)
    D = D.to(dtype)
    x = torch.zeros(3, 20, dtype=dtype)
    x[1, 4], x[2, [3, 7]] = 2.0, torch.tensor([1.0, -1.5], dtype=dtype)
    found = omp(x @ D.mT, D, 6)
    assert gap(found, x) < 50 * torch.finfo(dtype).eps
    assert int((found[0] != 0).sum()) == 0 and int((found[1] != 0).sum()) == 1
    twins = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=dtype)
    assert omp(torch.tensor([2.0, 1.0], dtype=dtype), twins, 2).tolist() == [2, 0, 1]


# --- arguments ------------------------------------------------------------------------------------


CALLS = [
    *(lambda y, D, p=1.0, f=f: f(y, D, p, 3) for f in ITERATIONS),
    lambda y, D, p=1.0: solve_lasso(y, D, p),
    lambda y, D, p=1.0: iht(y, D, penalty=p, steps=3),
    lambda y, D, p=1.0: lasso_objective(torch.zeros(2, 4), y, D, p),
    lambda y, D, p=1.0: duality_gap(torch.zeros(2, 4), y, D, p),
]
NAMES = ["ista", "fista", "solve", "iht", "objective", "gap"]


@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_wrong_arguments(call):
    y, D = torch.ones(2, 3), torch.ones(3, 4)
    hole = D.clone()
    hole[:, 2] = 0
    for bad in (hole, 1e-30 * D, 1e30 * D, NAN * D, D[0], D[None], D[:, :0], D[:0]):
        with refuses(ValueError, "dictionary"):
            call(y, bad)
    for bad in (None, D.long(), D.half(), D + 0j, D.tolist()):
        with refuses(TypeError, "dictionary"):
            call(y, bad)
    for bad in (torch.ones(2, 4), torch.tensor(1.0), NAN * y, INF * y, y.to("meta")):
        with refuses(ValueError, "signals"):
            call(bad, D)
    for bad in (None, y.double(), y.long(), y.tolist()):
        with refuses(TypeError, "signals"):
            call(bad, D)
    for bad in (0.0, -1.0, NAN, INF, 1e39):
        with refuses(ValueError, "penalty"):
            call(y, D, bad)
    for bad in (True, "1", torch.tensor(1.0)):
        with refuses(TypeError, "penalty"):
            call(y, D, bad)
    assert call(y, D, 1) is not None


@pytest.mark.parametrize("call", CALLS, ids=NAMES)
def test_overflow_is_an_error(call):
    y, D = torch.full((2, 3), 3e38), torch.full((3, 4), 1e18)
    if call is CALLS[NAMES.index("solve")]:
        y, D = torch.full((2, 3), 1e300, dtype=F64), D.double()
    with refuses(ValueError, "signals"):
        call(y, D)


@methods
def test_wrong_starts_and_steps(method):
    y, D = problem()
    for bad in (random(10), random(8, 9), NAN * random(8, 10)):
        with refuses(ValueError, "start"):
            method(y, D, start=bad)
    with refuses(TypeError, "start"):
        method(y, D, start=torch.zeros(8, 10))
    with refuses(TypeError, "path"):
        method(y, D, path=1)
    for iterate in ITERATIONS:
        with refuses(ValueError, "steps"):
            iterate(y, D, PENALTY, -1)
        with refuses(TypeError, "steps"):
            iterate(y, D, PENALTY, 1.0)


def test_wrong_arguments_of_the_others():
    y, D = problem()
    for both in ({}, {"count": 2, "penalty": 1.0}):
        with refuses(TypeError, "count"):
            iht(y, D, steps=1, **both)
    for bad in (-1, 11):
        with refuses(ValueError, "count"):
            iht(y, D, count=bad, steps=1)
    for bad in (-1, 7):
        with refuses(ValueError, "count"):
            omp(y, D, bad)
    for function in (lasso_objective, duality_gap):
        with refuses(ValueError, "codes"):
            function(torch.zeros(10, dtype=F64), y, D, 1.0)
        with refuses(ValueError, "codes"):
            function(torch.zeros(8, 6, dtype=F64), y, D, 1.0)
    for bad in (0.0, 1e-14, 2.0):
        with refuses(ValueError, "tolerance"):
            solve_lasso(y, D, 1.0, tolerance=bad)
    with refuses(ValueError, "dictionary"):
        lipschitz(D.to("meta"))
