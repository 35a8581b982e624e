"""Corners of the room: lost precision, modes of torch, captured tensors, numbers out of range."""

import math

import pytest
import torch
from torch.autograd import forward_ad

from gdl.programs import (
    Equilibrium,
    EquilibriumLayer,
    ForceField,
    HamiltonianNetwork,
    LagrangianNetwork,
    PairPotential,
    chebyshev_rates,
    dense_solve,
    double_pendulum_lagrangian,
    euler_lagrange,
    krylov_solve,
    land,
    reversible_leapfrog,
    search_landing,
    sinkhorn,
    solve_fixed_point,
    solve_optimum,
    solve_root,
    spectral_projector,
    unreachable,
)
from studies._landing import random_starts


def _sinkhorn_gradient(scores, dtype, temperature):
    x = scores.to(dtype).requires_grad_()
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    P = sinkhorn(x, temperature, tolerance=1e-5 if dtype == torch.float32 else 1e-12)
    return torch.autograd.grad((P * weights.to(dtype)).sum(), x)[0].double()


def test_the_ridge_does_not_damp_slow_flows_in_float32():
    n = 50
    i = torch.arange(n, dtype=torch.float64)
    noise = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = 0.3 * noise - (i[:, None] - i).square() / 8
    coarse, fine = (_sinkhorn_gradient(scores, d, 0.3) for d in (torch.float32, torch.float64))
    assert (coarse - fine).abs().max() <= 1e-3 * fine.abs().max()  # a ridge of 64 n eps: 7e-3


def test_autocast_changes_neither_the_matrix_nor_its_gradient():
    scores = 8 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    expected = _sinkhorn_gradient(scores, torch.float32, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _sinkhorn_gradient(scores, torch.float32, 1.0)
    assert torch.equal(found, expected)


def test_autocast_does_not_round_a_projector():
    A = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    A = A + A.mT
    expected = spectral_projector(A, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(spectral_projector(A, 2), expected)  # was bfloat16


@pytest.mark.parametrize("dtype, gap", [(torch.float64, 1e-310), (torch.float32, 1e-40)])
def test_gaps_whose_inverse_overflows_are_refused(dtype, gap):
    with pytest.raises(torch.linalg.LinAlgError, match="gap"):  # the gradient was NaN
        spectral_projector(torch.diag(torch.tensor([0.0, gap], dtype=dtype)), 1)


def test_tensors_captured_by_a_branch_away_from_the_start_are_refused():
    a, w = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (1.0, 0.5))

    def step(z, a):
        return a * torch.cos(z if z.item() == 0 else w * z)

    with pytest.raises(ValueError, match="step: expected every tensor that has a gradient"):
        solve_fixed_point(step, torch.zeros((), dtype=torch.float64), a)


@pytest.mark.parametrize("lost", [lambda z: z.detach(), lambda z: torch.tensor(z.item()).double()])
def test_steps_that_lose_the_gradient_by_z_are_refused(lost):
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="step: expected differentiable operations on its first"):
        solve_fixed_point(
            lambda z, a: a * torch.cos(lost(z)), torch.zeros((), dtype=torch.float64), a
        )


def test_steps_that_do_not_depend_on_z_are_not_refused():
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    z = solve_fixed_point(lambda z, a: 3 * a, torch.zeros((), dtype=torch.float64), a)
    assert torch.autograd.grad(z, a)[0] == 3


def test_sparse_parameters_are_refused():
    sparse = torch.eye(2, dtype=torch.float64).to_sparse()
    with pytest.raises(TypeError, match=r"parameters\[0\]: expected a dense tensor"):
        solve_root(lambda z, a: z, torch.ones(2, dtype=torch.float64), sparse)


def test_roots_and_optima_are_found_in_inference_mode():
    with torch.inference_mode():
        a, start = torch.tensor(2.0).double(), torch.ones(()).double()
        root = solve_root(lambda z, a: z * z - a, start, a)
        least = solve_optimum(lambda z, a: z.exp() - a * z, start, a)
    assert abs(root.item() - math.sqrt(2)) <= 1e-12
    assert abs(least.item() - math.log(2)) <= 1e-12


def test_solutions_that_overflow_are_refused():
    right = torch.full((2,), 1e308, dtype=torch.float64)
    with pytest.raises(torch.linalg.LinAlgError, match="overflow"):  # was [nan, inf]
        dense_solve(lambda u: u / 2, right)


@pytest.mark.parametrize("dtype, size", [(torch.float32, 1e-25), (torch.float64, 1e200)])
def test_krylov_does_not_square_the_right_hand_side(dtype, size):
    right = torch.full((3,), size, dtype=dtype)
    found = krylov_solve(lambda u: u / 2, right)  # was a ConvergenceError of nan
    assert torch.allclose(found / right, torch.full_like(right, 2.0))


@pytest.mark.parametrize("dtype, size", [(torch.float32, 3e38), (torch.float64, 1e308)])
def test_the_largest_weights_contract_by_the_contraction(dtype, size):
    layer = EquilibriumLayer(2, 3, dtype=dtype)
    torch.nn.init.constant_(layer.recurrent, size)
    norm = torch.linalg.matrix_norm(layer.contracted(), 2).item()
    assert norm == pytest.approx(0.9, rel=1e-6)  # was 0


def test_inputs_of_other_dtypes_are_named():
    class Cell(torch.nn.Module):
        def forward(self, z, x):
            return (z + x) / 2

    with pytest.raises(TypeError, match="x: expected float32 or float64"):  # named start
        Equilibrium(Cell())(torch.ones(2, dtype=torch.float16))
    with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
        EquilibriumLayer(2, 3, dtype=torch.float16)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")
def test_captured_tensors_with_a_tangent_are_refused():
    with forward_ad.dual_level():
        w = forward_ad.make_dual(torch.ones(()), torch.ones(()))
        with pytest.raises(ValueError, match="parameters: expected all tensors"):
            reversible_leapfrog(
                lambda q: w * (q**2).sum(), torch.ones(1), torch.zeros(1), step=0.1, steps=2
            )


def test_modes_of_torch_do_not_change_the_end():
    M = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    settings = {"step": 0.1, "steps": 5}

    def potential(q, M):
        return (M @ q).square().sum()

    state = torch.ones(3), torch.zeros(3), M
    expected = reversible_leapfrog(potential, *state, **settings)
    with torch.inference_mode():
        inferred = reversible_leapfrog(potential, *state, **settings)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = reversible_leapfrog(potential, *state, **settings)
    for found in (inferred, cast):
        assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    "model, shape",
    [
        (HamiltonianNetwork(2), (5, 4)),
        (LagrangianNetwork(2), (5, 4)),
        (ForceField(PairPotential()), (5, 3, 2)),
    ],
    ids=["Hamiltonian", "Lagrangian", "forces"],
)
def test_derivatives_are_not_rounded_under_autocast(model, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = model(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(x), expected)  # was a ValueError


def test_lagrangian_networks_in_half_precision_are_refused_when_built():
    with pytest.raises(TypeError, match="dtype: expected float32 or float64"):
        LagrangianNetwork(2, dtype=torch.float16)


def test_accelerations_are_not_rounded_under_autocast():
    q, v = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
    expected = euler_lagrange(double_pendulum_lagrangian, q, v)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(euler_lagrange(double_pendulum_lagrangian, q, v), expected)


def test_whole_turns_of_the_start_make_no_difference():
    start = random_starts(1, seed=3)[0]
    turned = start.clone()
    turned[4] += 2 * math.pi
    assert land(turned).landed  # flew against a cost of 10 (2 pi)^2


def test_landings_in_inference_mode():
    start = random_starts(1, seed=3)[0]
    with torch.inference_mode():
        assert land(start.clone()).landed


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("search", [land, lambda s: search_landing(s, budget=20, seed=0)])
def test_starts_in_half_precision_are_refused(search, dtype):
    with pytest.raises(TypeError, match="start: expected float32 or float64"):
        search(random_starts(1, seed=3)[0].to(dtype))


def test_clocks_beyond_all_bounds_are_refused():
    start = random_starts(1, seed=3)[0]
    with pytest.raises(FloatingPointError, match="start, step"):  # was a bare OverflowError
        unreachable(start, step=1e200)
    with pytest.raises(ValueError, match="steps: expected 1 to 1000000"):  # 8 TB were asked for
        land(start, steps=10**12)


def test_rates_of_the_largest_bounds():
    rates = chebyshev_rates(1e308, 1.7e308, 3)
    assert torch.allclose(rates, chebyshev_rates(1.0, 1.7, 3) / 1e308, rtol=1e-12, atol=0)  # was 0
