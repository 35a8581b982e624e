"""The small systems: energies and motions by hand, from other coordinates, and as distributions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from gdl.programs.mechanics import euler_lagrange, forces, hamiltonian_field
from gdl.programs.systems import (
    body_samples,
    double_pendulum_acceleration,
    double_pendulum_lagrangian,
    morse_potential,
    pendulum_energy,
    pendulum_field,
    pendulum_samples,
    triangle_strip,
)
from tests.sequences.common import F64, TOLERANCE, both_dtypes, gap, random

# --- the pendulum ---------------------------------------------------------------------------------


@both_dtypes
def test_the_pendulum_by_hand_and_as_a_gradient(dtype):
    states = torch.tensor([[0.0, 0.0], [math.pi, 0.0], [math.pi / 3, 3.0]], dtype=dtype)
    assert gap(pendulum_energy(states), torch.tensor([0.0, 2.0, 5.0], dtype=dtype)) < 1e-6
    states = 3 * random(4, 5, 2, dtype=dtype)
    q, p = states.unbind(-1)
    assert gap(pendulum_energy(states), p.square() / 2 + 1 - q.cos()) < 10 * TOLERANCE[dtype]
    assert (
        gap(pendulum_field(states), hamiltonian_field(pendulum_energy, states)) < TOLERANCE[dtype]
    )


def test_small_swings_keep_their_digits():
    state = torch.tensor([1e-9, 0.0], dtype=F64)
    assert pendulum_energy(state).item() == pytest.approx(0.5e-18, rel=1e-12, abs=0)


def test_samples_of_the_pendulum_have_these_distributions():
    states, rates = pendulum_samples(4000, highest=1.2, noise=0.3, seed=5)
    q, p = states.unbind(-1)
    energy = p.square() / 2 + 1 - q.cos()
    assert kstest(energy / 1.2, "uniform").pvalue > 0.01
    phase = torch.atan2(p / 2, torch.sin(q / 2))
    assert kstest((phase / (2 * math.pi)) % 1, "uniform").pvalue > 0.01
    errors = rates - torch.stack([p, -q.sin()], -1)
    for error in errors.T:
        assert kstest(error / 0.3, "norm").pvalue > 0.01
    assert torch.corrcoef(torch.cat([errors.T, states.T]))[0, 1:].abs().max() < 0.06


def test_samples_without_noise_and_of_other_seeds():
    states, rates = pendulum_samples(10, noise=0.0)
    assert gap(rates, pendulum_field(states)) == 0
    assert gap(states, pendulum_samples(10)[0]) == 0
    assert gap(states, pendulum_samples(10, seed=1)[0]) > 0.1
    assert all(part.dtype == torch.float32 for part in pendulum_samples(10, dtype=torch.float32))


# --- the double pendulum --------------------------------------------------------------------------


def places(q: Tensor) -> Tensor:
    """Positions of both masses, (..., 4)."""
    x, y = q.sin().cumsum(-1), -q.cos().cumsum(-1)
    return torch.cat([x, y], -1)


def energies(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Kinetic and potential energy from the places of the masses."""
    where, speed = torch.autograd.functional.jvp(places, q, v, create_graph=True)
    return speed.square().sum(-1) / 2, where[:, 2:].sum(-1)


def test_the_lagrangian_of_the_double_pendulum_from_the_places_of_its_masses():
    q, v = 2 * random(20, 2), 2 * random(20, 2, seed=1)
    kinetic, potential = energies(q, v)
    assert gap(double_pendulum_lagrangian(q, v), kinetic - potential) < 1e-12


def test_the_acceleration_of_the_double_pendulum_keeps_its_energy():
    q, v = (2 * random(20, 2, seed=seed).requires_grad_() for seed in (0, 1))
    q, v = q.detach().requires_grad_(), v.detach().requires_grad_()
    by_q, by_v = torch.autograd.grad(sum(energies(q, v)).sum(), (q, v))
    a = double_pendulum_acceleration(q, v)
    assert a.abs().max() > 1
    assert float((by_q * v + by_v * a).sum(-1).detach().abs().max()) < 1e-12


@both_dtypes
def test_the_double_pendulum_in_closed_form(dtype):
    q, v = random(3, 4, 2, dtype=dtype), random(3, 4, 2, seed=1, dtype=dtype)
    wanted = euler_lagrange(double_pendulum_lagrangian, q, v)
    assert gap(double_pendulum_acceleration(q, v), wanted) < 10 * TOLERANCE[dtype]
    # Hanging straight and turned by the same small angle, both swing as one pendulum would not.
    q = torch.full((2,), 1e-3, dtype=F64)
    found = double_pendulum_acceleration(q, torch.zeros(2, dtype=F64))
    assert found.tolist() == pytest.approx([-1e-3, 0.0], abs=1e-8)


# --- bodies ---------------------------------------------------------------------------------------


def morse_forces(q: Tensor) -> Tensor:
    """-U'(r) along each pair, with U' = 2 (1 - e^(1-r)) e^(1-r)."""
    total = torch.zeros_like(q)
    for i, j in itertools.permutations(range(q.shape[-2]), 2):
        apart = q[..., i, :] - q[..., j, :]
        r = apart.square().sum(-1, keepdim=True).sqrt()
        total[..., i, :] -= 2 * (1 - (1 - r).exp()) * (1 - r).exp() * apart / r
    return total


@both_dtypes
@pytest.mark.parametrize("dimensions", [2, 3])
def test_morse_by_hand_and_its_central_forces(dimensions, dtype):
    pair = torch.zeros(2, dimensions, dtype=dtype)
    for r, energy in ((1.0, 0.0), (1 + math.log(2), 0.25), (1 - math.log(2), 1.0)):
        pair[1, 0] = r
        assert morse_potential(pair).item() == pytest.approx(energy, abs=1e-6)
    q = random(6, 4, dimensions, dtype=dtype)
    assert gap(forces(morse_potential, q), morse_forces(q)) < 100 * TOLERANCE[dtype]


def test_morse_is_invariant():
    q, mirror = random(6, 4, 2), torch.diag(torch.tensor([1.0, -1.0], dtype=F64))
    c, s = math.cos(0.7), math.sin(0.7)
    R = torch.tensor([[c, -s], [s, c]], dtype=F64)
    for moved in (q @ R.mT, q @ mirror, q + 3.0, q[:, [3, 1, 0, 2]]):
        assert gap(morse_potential(moved), morse_potential(q)) < 1e-12
    assert gap(morse_potential(1.1 * q), morse_potential(q)) > 0.1


def test_a_strip_of_triangles():
    q = triangle_strip(6)
    r = torch.cdist(q, q)
    for step in (1, 2):
        assert gap(r.diagonal(step), torch.ones(6 - step, dtype=F64)) < 1e-14
    assert r.diagonal(3).min() > 1.5
    assert q.mean(0).abs().max() < 1e-15
    assert forces(morse_potential, triangle_strip(3)).abs().max() < 1e-14
    assert morse_potential(triangle_strip(3)).item() < 1e-30


@pytest.mark.parametrize("particles", [2, 3, 4])
def test_samples_of_bodies(particles):
    positions, energies, wanted = body_samples(2000, particles=particles, spread=0.1, seed=3)
    assert positions.shape == wanted.shape == (2000, particles, 2)
    assert not (positions.requires_grad or energies.requires_grad or wanted.requires_grad)
    pairs = itertools.combinations(range(particles), 2)
    r = [(positions[:, i] - positions[:, j]).norm(dim=-1) for i, j in pairs]
    assert gap(energies, sum((1 - (1 - each).exp()).square() for each in r)) < 1e-12
    assert gap(wanted, morse_forces(positions)) < 1e-12
    moved = (positions - triangle_strip(particles)) / 0.1
    assert kstest(moved.flatten(), "norm").pvalue > 0.01


def test_samples_of_bodies_repeat():
    first = body_samples(5)
    assert all(gap(a, b) == 0 for a, b in zip(first, body_samples(5, seed=0), strict=True))
    assert gap(first[0], body_samples(5, seed=1)[0]) > 0.1
    assert all(part.dtype == torch.float32 for part in body_samples(5, dtype=torch.float32))
