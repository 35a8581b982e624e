"""The leapfrog integrator: reversible, of second order, symplectic, and honest about bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gdl.geometry import leapfrog
from tests.test_representations import close, random, refuses, tensor


def spring(q: Tensor) -> Tensor:
    return q


def pendulum(q: Tensor) -> Tensor:
    return torch.sin(q)


def euler(gradient, q: Tensor, p: Tensor, *, step: float, steps: int):
    for _ in range(steps):
        q, p = q + step * p, p - step * gradient(q)
    return q, p


def oscillator_error(steps: int, mass: float = 1.0) -> float:
    q, p = leapfrog(spring, tensor([1.0]), tensor([0.0]), mass=mass, step=2.0 / steps, steps=steps)
    omega = 1 / math.sqrt(mass)
    exact = torch.tensor([math.cos(2 * omega), -mass * omega * math.sin(2 * omega)]).double()
    return float((torch.cat([q[-1], p[-1]]) - exact).norm())


@pytest.mark.parametrize("mass", [1.0, 2.5])
def test_second_order(mass):
    assert oscillator_error(40, mass) < 1e-2
    assert oscillator_error(40, mass) / oscillator_error(80, mass) == pytest.approx(4, rel=0.02)


def test_one_step_by_hand():
    q, p = leapfrog(spring, tensor([1.0]), tensor([0.5]), mass=2.0, step=0.2, steps=1)
    half = 0.5 - 0.1 * 1.0
    moved = 1.0 + 0.2 * half / 2.0
    assert q[:, 0].tolist() == pytest.approx([1.0, moved])
    assert p[:, 0].tolist() == pytest.approx([0.5, half - 0.1 * moved])


def test_reversible():
    q, p = leapfrog(pendulum, random(5), random(5), step=0.1, steps=200)
    back, slow = leapfrog(pendulum, q[-1], p[-1], step=-0.1, steps=200)
    assert close(back[-1], q[0], 1e-11) and close(slow[-1], p[0], 1e-11)
    assert q.shape == p.shape == (201, 5)


def test_symplectic_and_euler_is_not():
    omega = torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double()

    def flow(integrate):
        def ends(z: Tensor) -> Tensor:
            q, p = integrate(pendulum, z[:1], z[1:], step=0.1, steps=20)
            return torch.cat([q.reshape(-1)[-1:], p.reshape(-1)[-1:]])

        J = torch.autograd.functional.jacobian(ends, tensor([0.7, 0.4]))
        return (J.T @ omega @ J - omega).abs().max()

    assert flow(leapfrog) < 1e-12 and flow(euler) > 1e-2


def test_momentum_and_angular_momentum_of_an_invariant_force():
    def gradient(q: Tensor) -> Tensor:
        return 3 * (q - q.mean(0, keepdim=True)) * q.var()

    mass = tensor([[1.0], [2.0], [3.0], [4.0]])
    q, p = leapfrog(gradient, random(4, 3), random(4, 3), mass=mass, step=0.01, steps=500)
    P, L = p.sum(1), torch.linalg.cross(q, p).sum(1)
    assert (P - P[0]).abs().max() < 1e-11 and (L - L[0]).abs().max() < 1e-11
    assert (q[-1] - q[0]).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_shape_and_gradient(dtype):
    q0 = torch.ones(2, 3, dtype=dtype, requires_grad=True)
    q, p = leapfrog(spring, q0, torch.zeros(2, 3, dtype=dtype), step=0.1, steps=4)
    assert q.dtype == p.dtype == dtype and q.shape == (5, 2, 3)
    q[-1].sum().backward()
    assert torch.isfinite(q0.grad).all() and (q0.grad > 0.5).all()


@pytest.mark.parametrize("mass", [2.0, 2, torch.tensor(2), tensor([2.0, 2.0])])
def test_the_mass_takes_the_dtype_of_the_position(mass):
    q0, p0 = random(2, dtype=torch.float32), random(2, dtype=torch.float32)
    q, p = leapfrog(spring, q0, p0, mass=mass, step=0.1, steps=3)
    assert q.dtype == p.dtype == torch.float32
    expected = leapfrog(spring, q0.double(), p0.double(), mass=2.0, step=0.1, steps=3)[0]
    assert close(q.double(), expected, 1e-6)
    assert leapfrog(spring, ONE, ONE, mass=1e-60, step=1e-61, steps=1)[0].dtype == torch.float64


def test_the_mass_can_be_learned():
    mass = tensor([2.0]).requires_grad_()
    leapfrog(spring, ONE, ONE, mass=mass, step=0.1, steps=3)[0][-1].sum().backward()
    assert mass.grad.item() < 0


@pytest.mark.parametrize("every", [1, 2, 3, 12])
def test_every_so_many_states_are_kept(every):
    arguments = {"step": 0.1, "steps": 12}
    q, p = leapfrog(pendulum, random(5), random(5), **arguments)
    some, slow = leapfrog(pendulum, random(5), random(5), **arguments, every=every)
    assert torch.equal(some, q[::every]) and torch.equal(slow, p[::every])


def test_no_steps_ask_for_no_force():
    q, p = leapfrog(lambda q: pytest.fail("asked"), random(3), random(3), step=0.1, steps=0)
    assert q.shape == p.shape == (1, 3)


ONE = tensor([1.0])


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "gradient", {"gradient": 3}),
        (ValueError, "gradient", {"gradient": lambda q: q[None]}),
        (ValueError, "gradient", {"gradient": lambda q: q.float()}),
        (TypeError, "gradient", {"gradient": lambda q: 1.0}),
        (TypeError, "position", {"position": [1.0]}),
        (TypeError, "position", {"position": torch.tensor([1])}),
        (ValueError, "position", {"position": ONE * math.nan}),
        (ValueError, "momentum", {"momentum": torch.zeros(2).double()}),
        (ValueError, "momentum", {"momentum": torch.zeros(1)}),
        (TypeError, "momentum", {"momentum": None}),
        (TypeError, "mass", {"mass": "1"}),
        (TypeError, "mass", {"mass": True}),
        (ValueError, "mass", {"mass": 0.0}),
        (TypeError, "mass", {"mass": ONE * 1j}),
        (TypeError, "mass", {"mass": ONE > 0}),
        (ValueError, "mass", {"mass": ONE * math.nan}),
        (ValueError, "mass", {"mass": -ONE}),
        (ValueError, "mass", {"mass": math.inf}),
        (ValueError, "mass", {"mass": torch.ones(3)}),
        (ValueError, "mass", {"mass": torch.ones(2, 1)}),
        (
            ValueError,
            "mass",
            {"position": torch.ones(2), "momentum": torch.ones(2), "mass": torch.ones(3)},
        ),
        (TypeError, "step", {"step": "0.1"}),
        (TypeError, "step", {"step": True}),
        (ValueError, "step", {"step": 0.0}),
        (ValueError, "step", {"step": math.nan}),
        (TypeError, "steps", {"steps": 1.0}),
        (TypeError, "steps", {"steps": True}),
        (ValueError, "steps", {"steps": -1}),
        (ValueError, "steps", {"steps": 10**6 + 1}),
        (TypeError, "every", {"every": 1.0}),
        (TypeError, "every", {"every": True}),
        (ValueError, "every", {"every": 0}),
        (ValueError, "every", {"every": -1}),
        (ValueError, "every", {"every": 3}),
    ],
)
def test_bad_input_is_named(error, argument, change):
    arguments = {"gradient": spring, "position": ONE, "momentum": ONE, "step": 0.1, "steps": 2}
    arguments |= change
    with refuses(error, argument):
        leapfrog(**arguments)


def test_a_trajectory_that_explodes_is_stopped():
    with pytest.raises(FloatingPointError, match=r"^step: not finite after \d+ steps"):
        leapfrog(lambda q: q**3, 10 * ONE, ONE, step=1.0, steps=100)
    with pytest.raises(FloatingPointError, match=r"after 2 steps"):
        leapfrog(lambda q: torch.where(q > 2.5, math.inf, 0 * q), ONE, ONE, step=1.0, steps=5)
