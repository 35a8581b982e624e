"""Integrators: what a step keeps, gradients, the leapfrog, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.functional import jacobian

from gdl.geometry import leapfrog
from gdl.programs.integrators import (
    LEAPFROG,
    RK4,
    ButcherTableau,
    Splitting,
    runge_kutta,
    split,
    symplectic_error,
    symplectic_form,
)
from tests.programs.test_integrator_orders import (
    KUTTA3,
    MIDPOINT,
    SYMPLECTIC_EULER,
    YOSHIDA4,
    pendulum,
    splittings,
    tableaux,
)
from tests.sequences.common import random
from tests.test_representations import close, refuses, tensor

Q0, P0 = tensor([1.3]), tensor([0.4])
ONE = tensor([1.0])


def pull(q: Tensor) -> Tensor:
    """A force without any symmetry."""
    return q**3 - 0.7 * q.roll(1) * q.sum() - 0.35 * q.square().roll(-1).sum()


def flow(method: ButcherTableau | Splitting, step: float, steps: int = 1):
    """The map of (q, p) that a method makes of a pendulum."""
    clock = {"step": step, "steps": steps}
    if isinstance(method, ButcherTableau):
        return lambda z: runge_kutta(pendulum, z, tableau=method, **clock)[-1]
    return lambda z: torch.cat(
        [x[-1] for x in split(torch.sin, *z.chunk(2), scheme=method, **clock)]
    )


# --- what a step keeps ----------------------------------------------------------------------------


@splittings
def test_a_splitting_is_symplectic_whatever_its_step(scheme):
    for step in (0.1, 1.5):
        for steps in (1, 7):
            J = jacobian(flow(scheme, step, steps), random(4))
            assert symplectic_error(J) < 1e-12 * float(J.square().sum())


@tableaux
def test_runge_kutta_is_not_symplectic(tableau):
    errors = [symplectic_error(jacobian(flow(tableau, h), random(4))) for h in (0.4, 0.2)]
    # det J misses 1 at the order of the step, p + 1, or at the next even one.
    assert errors[1] > 1e-6 and tableau.order + 0.7 < math.log2(errors[0] / errors[1])


@splittings
def test_turned_round_a_symmetric_splitting_returns(scheme):
    q0, p0 = random(3), random(3, seed=1)
    q, p = (x[-1] for x in split(pull, q0, p0, scheme=scheme, step=0.02, steps=50))
    back, push = (x[-1] for x in split(pull, q, -p, scheme=scheme, step=0.02, steps=50))
    error = float(torch.maximum((back - q0).abs(), (push + p0).abs()).max())
    assert (error < 1e-11) == scheme.symmetric and error < 0.5
    assert not close(q, q0, 1)


@splittings
def test_a_step_of_minus_h_undoes_one_of_h_if_symmetric(scheme):
    there = flow(scheme, 0.3)(random(2))
    assert (float((flow(scheme, -0.3)(there) - random(2)).abs().max()) < 1e-14) == scheme.symmetric


def energy(state: Tensor) -> Tensor:
    q, p = state.unbind(-1)
    return p.square() / 2 - torch.cos(q)


def errors_of_energy(method: ButcherTableau | Splitting) -> tuple[float, float]:
    """The largest errors of the energy in the first tenth of a long run and in the last."""
    clock = {"step": 0.3, "steps": 2000}
    if isinstance(method, ButcherTableau):
        states = runge_kutta(pendulum, torch.cat([Q0, P0]), tableau=method, **clock)
    else:
        states = torch.cat(split(torch.sin, Q0, P0, scheme=method, **clock), -1)
    error = (energy(states) - energy(states[0])).abs()
    return float(error[:200].max()), float(error[-200:].max())


@pytest.mark.parametrize("scheme", [SYMPLECTIC_EULER, LEAPFROG, YOSHIDA4], ids=lambda t: t.name)
def test_the_error_of_the_energy_stays_where_it_was(scheme):
    first, last = errors_of_energy(scheme)
    assert 1e-5 < first < 0.3 and last < 1.1 * first


def test_the_error_of_the_energy_grows_by_runge_kutta():
    first, last = errors_of_energy(RK4)
    assert last > 5 * first


def attraction(q: Tensor) -> Tensor:
    """The gradient of an invariant potential of bodies in the plane, (n, 2)."""
    apart = q[:, None] - q
    return (apart * (1 - 1 / (1 + apart.square().sum(-1, keepdim=True)))).sum(1)


def bodies(method: ButcherTableau | Splitting) -> tuple[float, float]:
    """Drifts of momentum and angular momentum of four bodies."""
    clock = {"step": 0.1, "steps": 300}
    q0, p0, mass = random(4, 2), random(4, 2, seed=1), tensor([[1.0], [2.0], [3.0], [0.5]])
    if isinstance(method, ButcherTableau):

        def field(z: Tensor) -> Tensor:
            return torch.stack([z[1] / mass, -attraction(z[0])])

        q, p = runge_kutta(field, torch.stack([q0, p0]), tableau=method, **clock).unbind(1)
    else:
        q, p = split(attraction, q0, p0, mass=mass, scheme=method, **clock)
    assert (q[-1] - q[0]).abs().max() > 0.3
    P, L = p.sum(1), (q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0]).sum(1)
    return float((P - P[0]).abs().max()), float((L - L[0]).abs().max())


@splittings
def test_splittings_keep_momentum_and_angular_momentum(scheme):
    linear, quadratic = bodies(scheme)
    assert linear < 1e-12 and quadratic < 1e-11


@pytest.mark.parametrize("tableau", [MIDPOINT, KUTTA3, RK4], ids=lambda t: t.name)
def test_runge_kutta_keeps_momentum_and_not_angular_momentum(tableau):
    linear, quadratic = bodies(tableau)
    assert linear < 1e-12 and quadratic > 1e-4


# --- running --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("every", [1, 3])
def test_leapfrog_is_that_of_geometry_to_the_bit(every, dtype):
    start = random(3, 2, dtype=dtype), random(3, 2, seed=1, dtype=dtype)
    given = {"mass": tensor([1.0, 3.0]), "step": -0.07, "steps": 12, "every": every}
    ours, theirs = (run(pull, *start, **given) for run in (split, leapfrog))
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == dtype and a.shape == (12 // every + 1, 3, 2) and torch.equal(a, b)


def test_one_gradient_a_drift():
    calls = []
    split(lambda q: calls.append(1) or q, ONE, ONE, step=0.1, steps=10)
    assert len(calls) == 11
    split(lambda q: calls.append(1) or q, ONE, ONE, step=0.1, steps=10, scheme=YOSHIDA4)
    assert len(calls) == 11 + 31


@tableaux
def test_a_linear_field_gives_the_series_of_the_exponential(tableau):
    A, y = random(3, 3), random(5, 3, seed=1)
    states = runge_kutta(lambda y: y @ A.mT, y, step=0.2, steps=4, tableau=tableau, every=2)
    series = sum(
        torch.linalg.matrix_power(0.2 * A, k) / math.factorial(k) for k in range(tableau.order + 1)
    )
    for state, power in zip(states, (0, 2, 4), strict=True):
        assert close(state, y @ torch.linalg.matrix_power(series, power).mT, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_shapes_dtypes_and_gradients(dtype):
    y = random(2, 3, dtype=dtype).requires_grad_()
    states = runge_kutta(lambda y: -y, y, step=0.5, steps=6, every=3)
    assert states.shape == (3, 2, 3) and states.dtype == dtype
    states[-1].sum().backward()
    assert close(y.grad.double(), torch.full((2, 3), math.exp(-3)).double(), 5e-3)
    assert torch.autograd.gradcheck(
        lambda q, p: split(pull, q, p, step=0.3, steps=3, scheme=YOSHIDA4),
        (random(3).requires_grad_(), random(3, seed=1).requires_grad_()),
    )


def test_no_steps_ask_for_nothing_and_meta_has_shapes():
    none = {"step": 0.1, "steps": 0}
    assert runge_kutta(lambda y: pytest.fail("asked"), ONE, **none).shape == (1, 1)
    assert split(lambda y: pytest.fail("asked"), ONE, ONE, **none)[0].shape == (1, 1)
    y = torch.ones(4, device="meta")
    assert runge_kutta(pendulum, y, step=0.1, steps=3).shape == (4, 4)
    assert split(torch.sin, y, y, step=0.1, steps=3)[1].shape == (4, 4)


def test_the_symplectic_form():
    for n in (1, 3):
        omega = symplectic_form(n)
        assert torch.equal(omega.mT, -omega) and torch.equal(omega @ omega, -torch.eye(2 * n))
        assert omega[0, n] == 1 and symplectic_form(n, dtype=torch.float32).dtype == torch.float32
    J = random(2, 2)
    assert abs(symplectic_error(J) - abs(torch.linalg.det(J).item() - 1)) < 1e-14
    shear = torch.eye(6, dtype=torch.float64)
    shear[:3, 3:] = random(3, 3)
    assert symplectic_error(shear) > 0.1
    shear[:3, 3:] += shear[:3, 3:].mT.clone()
    assert symplectic_error(shear) < 1e-15


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "field", {"field": 3}),
        (TypeError, "field", {"field": lambda y: 1.0}),
        (ValueError, "field", {"field": lambda y: y[None]}),
        (ValueError, "field", {"field": lambda y: y.float()}),
        (TypeError, "state", {"state": [1.0]}),
        (TypeError, "state", {"state": torch.tensor([1])}),
        (ValueError, "state", {"state": ONE * math.inf}),
        (TypeError, "tableau", {"tableau": "RK4"}),
        (TypeError, "tableau", {"tableau": LEAPFROG}),
        (TypeError, "step", {"step": True}),
        (ValueError, "step", {"step": 0.0}),
        (ValueError, "steps", {"steps": 10**6 + 1}),
        (ValueError, "every", {"every": 3}),
    ],
)
def test_bad_input_of_runge_kutta_is_named(error, argument, change):
    with refuses(error, argument):
        runge_kutta(**{"field": torch.sin, "state": ONE, "step": 0.1, "steps": 2} | change)


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "gradient", {"gradient": 3}),
        (ValueError, "gradient", {"gradient": lambda q: q[None]}),
        (ValueError, "position", {"position": ONE * math.nan}),
        (ValueError, "momentum", {"momentum": torch.ones(2).double()}),
        (ValueError, "mass", {"mass": -1.0}),
        (TypeError, "scheme", {"scheme": RK4}),
        (TypeError, "steps", {"steps": 1.0}),
        (ValueError, "every", {"every": 0}),
    ],
)
def test_bad_input_of_a_split_is_named(error, argument, change):
    given = {"gradient": torch.sin, "position": ONE, "momentum": ONE, "step": 0.1, "steps": 2}
    with refuses(error, argument):
        split(**given | change)


@pytest.mark.parametrize("bad", [[[1.0]], torch.eye(2).long(), None])
def test_a_jacobian_that_is_no_tensor_is_named(bad):
    with refuses(TypeError, "jacobian"):
        symplectic_error(bad)


@pytest.mark.parametrize("shape", [(), (2,), (3, 3), (2, 4), (0, 0), (1, 2, 2)], ids=str)
def test_a_jacobian_of_another_shape_is_named(shape):
    with refuses(ValueError, "jacobian"):
        symplectic_error(torch.zeros(shape))
    with refuses(ValueError, "jacobian"):
        symplectic_error(torch.full((2, 2), math.nan))
    for n in (0, -1):
        with refuses(ValueError, "n"):
            symplectic_form(n)


def test_a_trajectory_that_explodes_is_stopped():
    with pytest.raises(FloatingPointError, match=r"^step: not finite after \d+ steps"):
        runge_kutta(lambda y: y**3, 10 * ONE, step=1.0, steps=100)
    with pytest.raises(FloatingPointError, match=r"^step: not finite after \d+ steps"):
        split(lambda q: q**3, 10 * ONE, ONE, step=1.0, steps=100, scheme=YOSHIDA4)
