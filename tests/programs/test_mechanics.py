"""Mechanics by differentiation: the equations of motion in closed form, and what is conserved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gdl.geometry import leapfrog, random_rotations
from gdl.programs.energy_networks import FreePotential, PairPotential
from gdl.programs.mechanics import (
    angular_momentum,
    euler_lagrange,
    forces,
    hamiltonian_field,
    momentum,
)
from gdl.programs.systems import (
    double_pendulum_acceleration,
    double_pendulum_lagrangian,
    morse_potential,
    pendulum_energy,
    triangle_strip,
)
from tests.sequences.common import F64, TOLERANCE, both_dtypes, busy, gap, random

PLANE_REFLECTION = torch.diag(torch.tensor([1.0, -1.0], dtype=F64))


def turn(angle: float) -> Tensor:
    """A rotation of the plane."""
    angle = torch.tensor(angle, dtype=F64)
    c, s = angle.cos(), angle.sin()
    return torch.stack([torch.stack([c, -s]), torch.stack([s, c])])


def rolled(potential, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Positions and momenta along 250 steps of leapfrog."""
    with torch.no_grad():
        return leapfrog(lambda q: -forces(potential, q), q, p, step=0.04, steps=250)


def drift(values: Tensor) -> float:
    return float((values - values[0]).abs().max())


# --- Hamilton -------------------------------------------------------------------------------------


@both_dtypes
def test_the_pendulum_and_the_oscillator_in_closed_form(dtype):
    state = random(7, 3, 2, dtype=dtype)
    q, p = state.unbind(-1)
    found = hamiltonian_field(pendulum_energy, state)
    assert gap(found, torch.stack([p, -q.sin()], -1)) < TOLERANCE[dtype]
    state = random(5, 6, dtype=dtype)
    stiff = torch.tensor([1.0, 2.0, 5.0, 0.5, 0.25, 0.1], dtype=dtype)
    found = hamiltonian_field(lambda s: 0.5 * (stiff * s.square()).sum(-1), state)
    wanted = torch.cat([stiff[3:] * state[:, 3:], -stiff[:3] * state[:, :3]], -1)
    assert gap(found, wanted) < TOLERANCE[dtype]
    assert gap(hamiltonian_field(pendulum_energy, state[0, :2]), pendulum(state[0, :2])) < 1e-6


def pendulum(state: Tensor) -> Tensor:
    return torch.stack([state[1], -state[0].sin()])


def test_a_charge_in_a_magnetic_field_goes_round():
    """H = |p - A(q)|^2 / 2 with A = B/2 (-y, x): velocities turn at the rate B."""
    B = 1.7

    def hamiltonian(state: Tensor) -> Tensor:
        x, y, px, py = state.unbind(-1)
        return 0.5 * ((px + B / 2 * y).square() + (py - B / 2 * x).square())

    state = random(9, 4)
    rates = hamiltonian_field(hamiltonian, state)
    x, y, px, py = state.unbind(-1)
    v = torch.stack([px + B / 2 * y, py - B / 2 * x], -1)
    assert gap(rates[:, :2], v) < 1e-14
    # dv/dt = dp/dt - dA/dt is v turned by a right angle, times B.
    acceleration = rates[:, 2:] - B / 2 * torch.stack([-v[:, 1], v[:, 0]], -1)
    assert gap(acceleration, B * torch.stack([v[:, 1], -v[:, 0]], -1)) < 1e-14


def test_the_field_is_differentiable_in_state_and_weights():
    weight = random(4, 4).requires_grad_()

    def field(state: Tensor, weight: Tensor) -> Tensor:
        return hamiltonian_field(lambda s: torch.tanh(s @ weight).square().sum(-1), state)

    state = random(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(field, (state, weight))
    with torch.no_grad():
        assert not field(state, weight).requires_grad
        assert gap(field(state, weight), field(state.detach(), weight)) == 0


# --- Lagrange -------------------------------------------------------------------------------------


def rods(q: Tensor, v: Tensor) -> Tensor:
    """Accelerations of the angles from Newton's law and the pulls of both rods, in x and y.

    The unknown pulls are those which keep the lengths: ``d.(a_2 - a_1) = -|d'|^2`` for each rod d.
    """
    first = torch.stack([q[0].sin(), -q[0].cos()])
    second = torch.stack([q[1].sin(), -q[1].cos()])
    gravity = torch.tensor([0.0, -1.0], dtype=F64)
    # a_1 = gravity - s first + t second, a_2 = gravity - t second.
    across = first @ second
    matrix = torch.stack(
        [torch.stack([-first @ first, across]), torch.stack([across, -2 * second @ second])]
    )
    right = torch.stack([-(v[0] ** 2) - gravity @ first, -(v[1] ** 2)])
    s, t = torch.linalg.solve(matrix, right)
    a1 = gravity - s * first + t * second
    apart = gravity - t * second - a1
    along = [torch.stack([angle.cos(), angle.sin()]) for angle in q]
    return torch.stack([a1 @ along[0], apart @ along[1]])


def test_the_double_pendulum_from_the_forces_in_its_rods():
    q, v = 2 * random(20, 2), 2 * random(20, 2, seed=1)
    wanted = torch.stack([rods(*motion) for motion in zip(q, v, strict=True)])
    assert wanted.abs().max() > 1
    assert gap(double_pendulum_acceleration(q, v), wanted) < 1e-12
    assert gap(euler_lagrange(double_pendulum_lagrangian, q, v), wanted) < 1e-12


@both_dtypes
def test_euler_lagrange_on_any_leading_axes(dtype):
    q, v = random(4, 3, 2, dtype=dtype), random(4, 3, 2, seed=1, dtype=dtype)
    found = euler_lagrange(double_pendulum_lagrangian, q, v)
    assert gap(found, double_pendulum_acceleration(q, v)) < 10 * TOLERANCE[dtype]
    assert gap(euler_lagrange(double_pendulum_lagrangian, q[1, 2], v[1, 2]), found[1, 2]) < 1e-5
    assert euler_lagrange(double_pendulum_lagrangian, q[:0], v[:0]).shape == (0, 3, 2)


def test_lagrange_and_hamilton_agree_on_the_double_pendulum():
    """With p = M v, the rate of M(q) v along Lagrange's motion is Hamilton's dp/dt."""

    def mass(q: Tensor) -> Tensor:
        c = (q[..., 0] - q[..., 1]).cos()
        one = torch.ones_like(c)
        return torch.stack([torch.stack([2 * one, c], -1), torch.stack([c, one], -1)], -2)

    def hamiltonian(state: Tensor) -> Tensor:
        q, p = state.chunk(2, -1)
        v = torch.linalg.solve(mass(q), p)
        return 0.5 * (p * v).sum(-1) - 2 * q[..., 0].cos() - q[..., 1].cos()

    q, v = random(10, 2), random(10, 2, seed=1)
    a = euler_lagrange(double_pendulum_lagrangian, q, v)

    def impulse(q: Tensor, v: Tensor) -> Tensor:
        return (mass(q) @ v[..., None])[..., 0]

    p, rate = torch.autograd.functional.jvp(impulse, (q, v), (v, a))
    kinetic = 0.5 * (v * impulse(q, v)).sum(-1)
    potential = kinetic - double_pendulum_lagrangian(q, v)
    wanted = hamiltonian_field(hamiltonian, torch.cat([q, p], -1))
    assert gap(torch.cat([v, rate], -1), wanted) < 1e-12
    assert gap(hamiltonian(torch.cat([q, p], -1)), kinetic + potential) < 1e-12


def test_a_total_derivative_changes_nothing():
    """L and L + d/dt F(q) = L + grad F . v have the same motions, for any F."""
    F = busy(
        torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    )
    q, v = random(10, 2), random(10, 2, seed=1)

    def slope(q: Tensor) -> Tensor:
        return torch.autograd.grad(F(q).sum(), q, create_graph=True)[0]

    def gauged(q: Tensor, v: Tensor) -> Tensor:
        return double_pendulum_lagrangian(q, v) + (slope(q) * v).sum(-1)

    def spoilt(q: Tensor, v: Tensor) -> Tensor:
        return double_pendulum_lagrangian(q, v) + (slope(q) * q[..., :1] * v).sum(-1)

    wanted = double_pendulum_acceleration(q, v)
    q.requires_grad_()
    assert gap(gauged(q, v), double_pendulum_lagrangian(q, v)) > 0.1
    assert gap(euler_lagrange(gauged, q, v), wanted) < 1e-11
    assert gap(euler_lagrange(spoilt, q, v), wanted) > 0.1


def test_coordinates_do_not_matter():
    """A free particle in polar coordinates goes straight on."""

    def lagrangian(q: Tensor, v: Tensor) -> Tensor:
        return 0.5 * (v[..., 0].square() + (q[..., 0] * v[..., 1]).square())

    q, v = 1 + random(10, 2).abs(), random(10, 2, seed=1)
    r, (dr, turning) = q[:, 0], v.unbind(-1)
    wanted = torch.stack([r * turning**2, -2 * dr * turning / r], -1)
    assert gap(euler_lagrange(lagrangian, q, v), wanted) < 1e-12


def test_a_velocity_in_the_potential_is_felt():
    """L = |v|^2 / 2 + A(q) . v is a charge in a magnetic field: d2L/dv dq is not symmetric."""
    B = 1.7

    def lagrangian(q: Tensor, v: Tensor) -> Tensor:
        return 0.5 * v.square().sum(-1) + B / 2 * (q[..., 0] * v[..., 1] - q[..., 1] * v[..., 0])

    q, v = random(10, 2), random(10, 2, seed=1)
    assert gap(euler_lagrange(lagrangian, q, v), B * torch.stack([v[:, 1], -v[:, 0]], -1)) < 1e-14


def test_the_acceleration_is_differentiable():
    q, v = random(3, 2).requires_grad_(), random(3, 2, seed=1).requires_grad_()
    weight = random(2, 2, seed=2).requires_grad_()

    def acceleration(q: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        def lagrangian(q: Tensor, v: Tensor) -> Tensor:
            return double_pendulum_lagrangian(q, v) + torch.cos(q @ weight).sum(-1)

        return euler_lagrange(lagrangian, q, v)

    assert torch.autograd.gradcheck(acceleration, (q, v, weight))


# --- forces and what they conserve ----------------------------------------------------------------


@both_dtypes
def test_forces_of_springs_in_closed_form(dtype):
    def springs(q: Tensor) -> Tensor:
        return 0.25 * (q[..., :, None, :] - q[..., None, :, :]).square().sum((-3, -2, -1))

    q = random(6, 4, 3, dtype=dtype)
    wanted = 4 * (q.mean(-2, keepdim=True) - q)
    assert gap(forces(springs, q), wanted) < 10 * TOLERANCE[dtype]


def test_momentum_and_angular_momentum_by_hand():
    q = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]], dtype=F64)
    p = torch.tensor([[[5.0, 6.0], [7.0, -8.0]]], dtype=F64)
    assert momentum(p).tolist() == [[12.0, -2.0]]
    assert angular_momentum(q, p).tolist() == [6.0 - 10.0 - 24.0 - 28.0]
    space_q, space_p = (torch.nn.functional.pad(x, (0, 1)) for x in (q, p))
    assert angular_momentum(space_q, space_p).tolist() == [[0.0, 0.0, -56.0]]


def test_angular_momentum_under_rotations_and_shifts():
    q, p = random(8, 5, 2), random(8, 5, 2, seed=1)
    J, R, b = angular_momentum(q, p), turn(0.8), torch.tensor([0.3, -2.0], dtype=F64)
    assert gap(angular_momentum(q @ R.mT, p @ R.mT), J) < 1e-13
    flipped = PLANE_REFLECTION
    assert gap(angular_momentum(q @ flipped, p @ flipped), -J) < 1e-13
    P = momentum(p)
    assert gap(angular_momentum(q + b, p), J + b[0] * P[:, 1] - b[1] * P[:, 0]) < 1e-12
    q, p, R = random(8, 5, 3), random(8, 5, 3, seed=1), random_rotations(1, seed=0)[0]
    J = angular_momentum(q, p)
    assert gap(angular_momentum(q @ R.mT, p @ R.mT), J @ R.mT) < 1e-13
    assert gap(angular_momentum(-q, -p), J) < 1e-13
    assert (
        gap(J, torch.stack([sum(torch.linalg.cross(a, b)) for a, b in zip(q, p, strict=True)]))
        < 1e-14
    )


@pytest.mark.parametrize(("particles", "seed"), [(3, 0), (4, 1), (3, 2)])
def test_noether_for_untrained_potentials(particles, seed):
    """Every invariant potential conserves what its symmetry gives; a free one neither."""
    torch.manual_seed(seed)
    pairs = busy(PairPotential(dtype=F64), 1.0, seed)
    free = busy(FreePotential(particles, 2, dtype=F64), 1.0, seed)
    q, p = triangle_strip(particles) + 1.0, 0.3 * random(particles, 2, seed=seed)
    for potential in (pairs, morse_potential):
        positions, momenta = rolled(potential, q, p)
        assert drift(positions) > 0.5
        assert drift(momentum(momenta)) < 1e-12
        assert drift(angular_momentum(positions, momenta)) < 1e-11
    positions, momenta = rolled(free, q, p)
    assert drift(momentum(momenta)) > 0.1
    assert drift(angular_momentum(positions, momenta)) > 0.1


def test_each_symmetry_conserves_its_own():
    """A central field has rotations only, a linear one shifts across it only."""
    q, p = triangle_strip(3), 0.3 * random(3, 2)

    def central(q: Tensor) -> Tensor:
        return q.square().sum((-2, -1)).sqrt()

    def linear(q: Tensor) -> Tensor:
        return morse_potential(q) + 0.3 * q[..., 0].sum(-1)

    positions, momenta = rolled(central, q, p)
    assert drift(angular_momentum(positions, momenta)) < 1e-12 and drift(momentum(momenta)) > 0.1
    positions, momenta = rolled(linear, q, p)
    P = momentum(momenta)
    assert drift(P[:, 1]) < 1e-12 and drift(P[:, 0]) > 0.1
    assert drift(angular_momentum(positions, momenta)) > 0.1
