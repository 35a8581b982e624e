r"""Small systems whose motion is known in closed form: pendulums and bodies with Morse forces.

Units are such that masses, lengths, gravity and the depth of Morse's well are 1.

Chapter: ``programs``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check
from gdl.programs.mechanics import forces

# The pendulum swings below this energy, and turns over above it.
SEPARATRIX = 2.0


def pendulum_energy(state: Tensor) -> Tensor:
    r"""The energy of a pendulum, ``H = p^2 / 2 + 1 - cos q``.

    Args:
        state: angle q from the lowest point and momentum p, ``(..., 2)``.

    Returns:
        The energies ``(...)``; 0 at rest, 2 upside down.

    Raises: TypeError or ValueError for anything but finite floating-point ``(..., 2)``.
    Law tested: by hand; a first integral of :func:`~gdl.programs.pendulum_field`.
    Chapter: ``programs``.

    >>> pendulum_energy(torch.tensor([0.0, 2.0])).item()
    2.0
    """
    q, p = _entries("state", state, 2)
    # 1 - cos q without cancellation near the lowest point.
    return p.square() / 2 + 2 * torch.sin(q / 2).square()


def pendulum_field(state: Tensor) -> Tensor:
    r"""The rates of a pendulum, ``dq/dt = p`` and ``dp/dt = -sin q``.

    Args, Raises: as :func:`~gdl.programs.pendulum_energy`.

    Returns:
        The rates, ``(..., 2)``.

    Law tested: the Hamiltonian field of the energy. Chapter: ``programs``.

    >>> pendulum_field(torch.tensor([0.0, 2.0]))
    tensor([2., -0.])
    """
    q, p = _entries("state", state, 2)
    return torch.stack([p, -torch.sin(q)], dim=-1)


def pendulum_samples(
    count: int,
    *,
    highest: float = 1.5,
    noise: float = 0.1,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor]:
    r"""States of a swinging pendulum and their rates, observed with noise.

        q = 2 arcsin(sqrt(E / 2) cos phi),    p = sqrt(2 E) sin phi

    has the energy E exactly. E is uniform below ``highest`` and phi on the circle; Gaussian noise
    is added to the rates and not to the states.

    Args:
        count: how many.
        highest: energy, positive and below 2, where the pendulum would turn over.
        noise: standard deviation, at least 0.
        seed: fixes everything.
        dtype: of the result.

    Returns:
        States and rates, each ``(count, 2)``.

    Raises: TypeError or ValueError for arguments of other types or out of range.
    Law tested: energies and noise have these distributions; without noise the rates are
    :func:`~gdl.programs.pendulum_field`. Chapter: ``programs``.

    >>> states, rates = pendulum_samples(5)
    >>> states.shape, rates.shape
    (torch.Size([5, 2]), torch.Size([5, 2]))
    """
    check.integer("count", count, 1)
    check.number("noise", noise, 0.0)
    if not 0 < check.number("highest", highest) < SEPARATRIX:
        raise ValueError(
            f"highest: expected an energy between 0 and {SEPARATRIX}, exclusive, got {highest}"
        )
    check.real_dtype(dtype)
    generator = _generator(seed)
    uniform = torch.rand(2, count, generator=generator, dtype=torch.float64)
    energy, phase = highest * uniform[0], 2 * math.pi * uniform[1]
    q = 2 * torch.arcsin(torch.sqrt(energy / 2) * torch.cos(phase))
    states = torch.stack([q, torch.sqrt(2 * energy) * torch.sin(phase)], dim=-1)
    errors = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    return states.to(dtype), (pendulum_field(states) + noise * errors).to(dtype)


def double_pendulum_lagrangian(q: Tensor, v: Tensor) -> Tensor:
    r"""Kinetic minus potential energy of a pendulum that hangs from another.

        L = v_1^2 + v_2^2 / 2 + v_1 v_2 cos(q_1 - q_2) + 2 cos q_1 + cos q_2

    Args:
        q: angles of both rods from the vertical, ``(..., 2)``.
        v: their rates, the shape and dtype of q.

    Returns:
        L, ``(...)``.

    Raises: TypeError or ValueError for anything but finite floating-point ``(..., 2)``.
    Law tested: from the positions of both masses; its Euler-Lagrange equations are
    :func:`~gdl.programs.double_pendulum_acceleration`. Chapter: ``programs``.

    >>> double_pendulum_lagrangian(torch.zeros(2), torch.ones(2)).item()
    5.5
    """
    kinetic, potential = _double_pendulum(q, v)
    return kinetic - potential


def double_pendulum_acceleration(q: Tensor, v: Tensor) -> Tensor:
    r"""The acceleration of the double pendulum in closed form, no derivative taken.

        a_1 = (f_1 - c f_2) / (1 + s^2),    a_2 = (2 f_2 - c f_1) / (1 + s^2)
        f_1 = -s v_2^2 - 2 sin q_1,    f_2 = s v_1^2 - sin q_2

    with c and s the cosine and sine of ``q_1 - q_2``.

    Args, Raises: as :func:`~gdl.programs.double_pendulum_lagrangian`.

    Returns:
        The accelerations of the angles, ``(..., 2)``.

    Law tested: equal to what the forces in the rods give, and to
    :func:`~gdl.programs.euler_lagrange`. Chapter: ``programs``.

    >>> double_pendulum_acceleration(torch.zeros(2), torch.tensor([2.0, -2.0])).abs().tolist()
    [0.0, 0.0]
    """
    (q1, q2), (v1, v2) = _entries("q", q, 2), _entries("v", v, 2)
    _require_alike(q, v)
    c, s = torch.cos(q1 - q2), torch.sin(q1 - q2)
    f1 = -s * v2.square() - 2 * torch.sin(q1)
    f2 = s * v1.square() - torch.sin(q2)
    return torch.stack([f1 - c * f2, 2 * f2 - c * f1], dim=-1) / (1 + s.square())[..., None]


def morse_potential(positions: Tensor) -> Tensor:
    r"""The energy of particles that attract each other from afar and repel each other nearby.

        U = sum_{i < j} (1 - exp(1 - r_ij))^2

    with the distances ``r_ij``: each pair rests at distance 1, and parting it costs 1.

    Args:
        positions: ``(..., n, d)``, no two particles at the same place.

    Returns:
        The energies ``(...)``.

    Raises:
        TypeError: no floating-point tensor.
        ValueError: another shape, entries that are not finite, particles that coincide.

    Law tested: pairs by hand; its forces are central and their closed form; invariant to E(2) and
    permutations. Chapter: ``programs``.

    >>> morse_potential(torch.tensor([[0.0, 0.0], [0.6, 0.8]])).item() < 1e-12
    True
    """
    check.finite("positions", check.shaped("positions", positions, None, None))
    n = positions.shape[-2]
    i, j = torch.triu_indices(n, n, 1, device=positions.device)
    distances = torch.linalg.vector_norm(positions[..., i, :] - positions[..., j, :], dim=-1)
    if check.readable(positions) and bool((distances == 0).any()):
        raise ValueError("positions: expected particles at different places, two coincide")
    return torch.expm1(1 - distances).square().sum(-1)


def triangle_strip(particles: int, *, dtype: torch.dtype = torch.float64) -> Tensor:
    r"""Particles of the plane at the corners of a strip of equilateral triangles.

    Particle k is at ``(k / 2, sqrt(3) / 2 (k mod 2))``, seen from the centre: neighbours and next
    neighbours are at distance 1. Three of them are at rest under Morse forces.

    Args:
        particles: n, at least 2.
        dtype: of the result.

    Returns:
        Positions ``(n, 2)``, their mean at the origin.

    Raises: TypeError or ValueError for arguments of other types or out of range.
    Law tested: distances as said; three particles feel no force. Chapter: ``programs``.

    >>> triangle_strip(3).norm(dim=-1).round(decimals=4).tolist()
    [0.5774, 0.5774, 0.5774]
    """
    k = torch.arange(check.integer("particles", particles, 2), dtype=torch.float64)
    corners = torch.stack([k / 2, math.sqrt(3) / 2 * (k % 2)], dim=-1)
    return (corners - corners.mean(0)).to(check.real_dtype(dtype))


def body_samples(
    count: int,
    *,
    particles: int = 3,
    spread: float = 0.2,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Particles of the plane about one place in one pose, with their energies and Morse forces.

    Each is at its corner of :func:`~gdl.programs.triangle_strip`, displaced by Gaussian noise: the
    samples do not show that the law of force is the same elsewhere and turned.

    Args:
        count: how many sets of particles.
        particles: n in each, at least 2.
        spread: standard deviation of each coordinate, positive.
        seed: fixes everything.
        dtype: of the result; computed in float64.

    Returns:
        Positions ``(count, n, 2)``, energies ``(count,)`` and forces ``(count, n, 2)``.

    Raises: TypeError or ValueError for arguments of other types or out of range.
    Law tested: energies and forces are those of :func:`~gdl.programs.morse_potential`; positions
    have this mean and spread. Chapter: ``programs``.

    >>> [part.shape for part in body_samples(5)]
    [torch.Size([5, 3, 2]), torch.Size([5]), torch.Size([5, 3, 2])]
    """
    check.integer("count", count, 1)
    check.positive("spread", spread)
    corners = triangle_strip(particles)
    moved = torch.randn(count, *corners.shape, generator=_generator(seed), dtype=torch.float64)
    positions = corners + spread * moved
    parts = positions, morse_potential(positions), forces(morse_potential, positions)
    return tuple(part.to(check.real_dtype(dtype)) for part in parts)


def _double_pendulum(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Kinetic and potential energy."""
    (q1, q2), (v1, v2) = _entries("q", q, 2), _entries("v", v, 2)
    _require_alike(q, v)
    kinetic = v1.square() + v2.square() / 2 + v1 * v2 * torch.cos(q1 - q2)
    return kinetic, -2 * torch.cos(q1) - torch.cos(q2)


def _entries(name: str, x: Tensor, size: int) -> tuple[Tensor, ...]:
    """The entries along the last axis, checked."""
    return check.finite(name, check.shaped(name, x, size)).unbind(-1)


def _require_alike(q: Tensor, v: Tensor) -> None:
    if (v.shape, v.dtype) != (q.shape, q.dtype):
        raise ValueError(
            f"v: expected {q.dtype} of shape {tuple(q.shape)} like q, "
            f"got {v.dtype} of shape {tuple(v.shape)}"
        )


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(check.integer("seed", seed))
