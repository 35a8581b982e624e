r"""Charged particles: Coulomb's force, softened, and the task to foresee where they will be.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.geometry import complete_graph, leapfrog, random_rotations

SOFTENING = 1.0

# The published generator: its seed, and the sizes of its parts in the order of drawing.
PUBLISHED_SEED = 43
PUBLISHED_SIZES = {"train": 10000, "valid": 2000, "test": 2000}
PUBLISHED_BODIES, PUBLISHED_FRAMES = 5, 49
PUBLISHED_STEP, PUBLISHED_LARGEST_FORCE = 1e-3, 100.0
PUBLISHED_INPUT, PUBLISHED_TARGET = 3100, 4100


def simulate(
    position: Tensor,
    velocity: Tensor,
    charges: Tensor,
    *,
    steps: int = 1000,
    step: float = 1e-3,
    every: int = 1,
    softening: float = SOFTENING,
    strength: float = 1.0,
) -> tuple[Tensor, Tensor]:
    r"""The motion of charged particles of mass 1, by leapfrog.

        U = k sum_{i < j} q_i q_j / sqrt(|x_i - x_j|^2 + s^2),      x'' = -grad U

    Args:
        position, velocity: at time 0, ``(..., n, d)``; leading axes are independent systems.
        charges: ``(..., n)``.
        steps, step, every: of :func:`gdl.geometry.leapfrog`.
        softening: s, a length of at least 0; where it is 0, no two particles may coincide.
        strength: k, positive.

    Returns:
        Positions and velocities, ``(steps / every + 1, ..., n, d)``, the start included.

    Raises:
        TypeError, ValueError: particles, a softening or a strength of other types or shapes, or out
            of range; as :func:`gdl.geometry.leapfrog`.
        FloatingPointError: the motion left the range of numbers.

    Law tested: momentum and angular momentum are conserved to rounding, energy to second order in
    the step; explicit Euler loses the energy, a force without reaction the momentum.
    Chapter: ``rotations``.

    >>> x, v = torch.tensor([[0.0], [1.0]]), torch.zeros(2, 1)
    >>> positions, velocities = simulate(x, v, torch.ones(2), steps=10, step=0.01, every=10)
    >>> positions.shape, bool(positions[-1, 1] > 1), velocities[-1].sum().item()
    (torch.Size([2, 2, 1]), True, 0.0)
    """
    _require_particles(position, charges, softening, strength)
    return leapfrog(
        lambda x: _gradient(x, charges, softening, strength),
        position,
        velocity,
        step=step,
        steps=steps,
        every=every,
    )


@dataclass(frozen=True, eq=False)
class NBody:
    r"""Systems of particles, and where the particles are later.

    Attributes:
        position, velocity: at time 0, ``(S, n, 3)``.
        charge: ``(S, n)``.
        target: positions at the later time, ``(S, n, 3)``.

    Law tested: ``states`` of the parts. Chapter: ``rotations``.

    >>> charged_particles(3, steps=10).states.shape
    torch.Size([3, 5, 7])
    """

    position: Tensor
    velocity: Tensor
    charge: Tensor
    target: Tensor

    @property
    def states(self) -> Tensor:
        """Position, velocity and charge of each particle in one tensor, ``(S, n, 7)``."""
        return torch.cat([self.position, self.velocity, self.charge[..., None]], dim=-1)


def charged_particles(
    count: int,
    *,
    bodies: int = 5,
    seed: int = 0,
    steps: int = 1000,
    step: float = 1e-3,
    softening: float = SOFTENING,
    strength: float = 1.0,
    dtype: torch.dtype = torch.float32,
) -> NBody:
    r"""Random systems of charged particles, and their positions after ``steps * step``.

    Positions are normal, velocities uniform on the sphere of radius 1/2, charges 1 or -1 with
    equal chance: all invariant to rotations.

    Args:
        count: systems.
        bodies: particles in each.
        seed: fixes everything.
        steps, step, softening, strength: as in :func:`simulate`.
        dtype: of the result; the motion is computed in float64.

    Raises: TypeError or ValueError for arguments of other types or out of range.
    Law tested: equal to :func:`simulate` from the same start; speeds and charges as said.
    Source: after Satorras, Hoogeboom and Welling, ICML 2021, there without softening:
    :func:`published_particles`. Chapter: ``rotations``.

    >>> data = charged_particles(2, steps=10)
    >>> data.target.shape, data.charge.abs().unique().tolist()
    (torch.Size([2, 5, 3]), [1.0])
    """
    check.integer("count", count, 1)
    check.integer("bodies", bodies, 1)
    check.integer("steps", steps, 1)
    check.real_dtype(dtype)
    generator = torch.Generator().manual_seed(check.integer("seed", seed))
    draws = torch.randn(count, bodies, 7, generator=generator, dtype=torch.float64)
    position, direction = draws[..., :3], draws[..., 3:6]
    velocity = direction / (2 * torch.linalg.vector_norm(direction, dim=-1, keepdim=True))
    charge = torch.where(draws[..., 6] < 0, -1.0, 1.0).double()
    options = {"step": step, "softening": softening, "strength": strength}
    positions, _ = simulate(position, velocity, charge, steps=steps, every=steps, **options)
    parts = (position, velocity, charge, positions[-1])
    return NBody(*(part.to(dtype) for part in parts))


def published_particles(
    split: str, count: int | None = None, *, dtype: torch.dtype = torch.float32
) -> NBody:
    r"""The data set ``nbody_small`` of the paper on EGNN, drawn again with its own generator.

    Five charges of 1 or -1, without softening; each component of a force is cut off at 100, so a
    close encounter breaks the symmetry. ``v <- v + h F(x)``, ``x <- x + h v`` with h = 0.001; the
    input is the state after 3100 steps, its frame 30, the target the positions after 4100, its
    frame 40. The first draws of NumPy's old generator with seed 43 make them, system after system.

    Args:
        split: ``"train"`` (10000 systems, of which the paper takes the first 3000), ``"valid"`` or
            ``"test"`` (2000 each). All of a split take 10 to 60 s.
        count: how many, the first ones; None takes all.
        dtype: of the result; the motion is computed in float64.

    Raises: TypeError or ValueError for arguments of other types or out of range.
    Law tested: equal to states recorded from the published program, up to rounding and what close
    encounters make of it. Source: Satorras, Hoogeboom and Welling, ICML 2021, and
    ``n_body_system`` of github.com/vgsatorras/egnn. Chapter: ``rotations``.

    >>> published_particles("train", 1).charge.tolist()
    [[-1.0, 1.0, -1.0, -1.0, -1.0]]
    """
    check.one_of("split", split, tuple(PUBLISHED_SIZES))
    check.real_dtype(dtype)
    size = PUBLISHED_SIZES[split]
    count = size if count is None else check.integer("count", count, 1, size)
    x, v, charge = _published_start(split, count)
    for index in range(1, PUBLISHED_TARGET + 1):
        force = -_gradient(x, charge, 0.0, 1.0)
        v = v + PUBLISHED_STEP * force.clamp(-PUBLISHED_LARGEST_FORCE, PUBLISHED_LARGEST_FORCE)
        x = x + PUBLISHED_STEP * v
        if index == PUBLISHED_INPUT:
            position, velocity = x, v
    return NBody(*(part.to(dtype) for part in (position, velocity, charge, x)))


class ParticleModel(nn.Module):
    r"""A network on point clouds as a map from states to later positions.

    Every particle sees every other one of its system; products of charges are the attributes of
    edges, squared speeds the scalars of points, so that nothing but x and v depends on the frame.

    Args:
        network: takes ``(h, x, edge_index, edge_attr, v)`` and returns ``(h', x')``, with one
            scalar, one edge attribute and velocities, such as :class:`EGNN` and :class:`GNN`.
        augment: turn each system by a random rotation before the network and back after it, in
            train mode only. As rotations keep distances, the squared error is that of a turned
            input with a turned target.

    Shapes: states ``(S, n, 7)`` to positions ``(S, n, 3)``.

    Raises: TypeError or ValueError for other types and shapes.
    Law tested: equal to the network on each system by itself; augmentation leaves an equivariant
    network as it is, and eval mode any. Chapter: ``rotations``.

    >>> from gdl.rotations.egnn import EGNN
    >>> model = ParticleModel(EGNN(1, 8, 2, edge_attributes=1, velocities=True))
    >>> model(charged_particles(4, steps=10).states).shape
    torch.Size([4, 5, 3])
    """

    def __init__(self, network: nn.Module, *, augment: bool = False):
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network: expected a module, got {type(network).__name__}")
        self.network, self.augment = network, check.boolean("augment", augment)

    def forward(self, states: Tensor) -> Tensor:
        _require_states(states)
        if not (self.augment and self.training):
            return self._moved(states)
        R = random_rotations(len(states), dtype=states.dtype).to(states.device)
        return self._moved(turned(states, R)) @ R

    def _moved(self, states: Tensor) -> Tensor:
        """What the network makes of the systems, as they are."""
        count, bodies = states.shape[:2]
        x, v, charge = states.flatten(0, 1).split([3, 3, 1], dim=1)
        edge_index = complete_graph([bodies] * count, device=states.device)
        source, target = edge_index
        speed = v.square().sum(1, keepdim=True)
        _, later = self.network(speed, x, edge_index, charge[source] * charge[target], v)
        return later.unflatten(0, (count, bodies))


def turned(states: Tensor, rotations: Tensor) -> Tensor:
    r"""Systems of particles in another frame: positions and velocities turned, charges kept.

    Args:
        states: ``(S, n, 7)``.
        rotations: orthogonal matrices, ``(S, 3, 3)`` or one ``(3, 3)`` for all.

    Raises: TypeError or ValueError for other types and shapes, or matrices not orthogonal.
    Law tested: a left action of O(3); the motion of turned particles is the turned motion.
    Chapter: ``rotations``.

    >>> R = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> turned(torch.tensor([[[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, -1.0]]]), R).flatten().tolist()
    [0.0, 1.0, 0.0, -2.0, 0.0, 0.0, -1.0]
    """
    _require_states(states)
    check.orthogonal("rotations", rotations)
    if rotations.shape not in ((3, 3), (len(states), 3, 3)) or rotations.dtype != states.dtype:
        raise ValueError(
            f"rotations: expected {states.dtype} of shape (3, 3) or ({len(states)}, 3, 3), "
            f"got {rotations.dtype} of shape {tuple(rotations.shape)}"
        )
    x, v, charge = states.split([3, 3, 1], dim=-1)
    return torch.cat([x @ rotations.mT, v @ rotations.mT, charge], dim=-1)


def _published_start(split: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Positions, velocities and charges at time 0; what comes before the split is drawn too."""
    draw = np.random.RandomState(PUBLISHED_SEED)
    splits = list(PUBLISHED_SIZES)
    skipped = sum(PUBLISHED_SIZES[name] for name in splits[: splits.index(split)])
    starts = []
    for _ in range(skipped + count):
        charge = draw.choice([-1.0, 0.0, 1.0], size=(PUBLISHED_BODIES, 1), p=[0.5, 0.0, 0.5])
        x, direction = draw.randn(3, PUBLISHED_BODIES), draw.randn(3, PUBLISHED_BODIES)
        # Noise of size 0 on the positions and velocities of the frames.
        draw.randn(2, PUBLISHED_FRAMES, 3, PUBLISHED_BODIES)
        v = direction / (2 * np.linalg.norm(direction, axis=0))
        starts.append(np.concatenate([x.T, v.T, charge], axis=1))
    states = torch.from_numpy(np.stack(starts[skipped:]))
    x, v, charge = states.split([3, 3, 1], dim=-1)
    return x, v, charge[..., 0]


def _gradient(x: Tensor, charges: Tensor, softening: float, strength: float) -> Tensor:
    apart, inverse, products = _pairs(x, charges, softening)
    # In this order only a force that is out of range itself overflows.
    size = products * inverse.square()
    return -strength * (size[..., None] * (apart * inverse[..., None])).sum(-2)


def _pairs(x: Tensor, charges: Tensor, softening: float) -> tuple[Tensor, Tensor, Tensor]:
    """Differences, inverse softened distances (0 for a particle with itself), charge products."""
    apart = x[..., :, None, :] - x[..., None, :, :]
    squares = apart.square().sum(-1) + softening**2
    alone = torch.eye(x.shape[-2], dtype=torch.bool, device=x.device)
    inverse = squares.masked_fill(alone, torch.inf).rsqrt()
    if softening == 0 and bool((squares.detach() == 0).logical_and(~alone).any()):
        raise ValueError("softening: expected a positive length, two particles coincide")
    return apart, inverse, charges[..., :, None] * charges[..., None, :]


def _require_particles(x: Tensor, charges: Tensor, softening: float, strength: float) -> None:
    check.finite("position", check.floating("position", x))
    if x.ndim < 2 or 0 in x.shape:
        got = tuple(x.shape)
        raise ValueError(f"position: expected shape (..., n, d), none of them 0, got {got}")
    check.finite("charges", check.floating("charges", charges))
    if charges.shape != x.shape[:-1] or charges.dtype != x.dtype:
        raise ValueError(
            f"charges: expected {x.dtype} of shape {tuple(x.shape[:-1])} like the positions, "
            f"got {charges.dtype} of shape {tuple(charges.shape)}"
        )
    if isinstance(softening, bool) or not isinstance(softening, numbers.Real):
        raise TypeError(f"softening: expected a number, got {softening!r}")
    if not (math.isfinite(softening) and softening >= 0):
        raise ValueError(f"softening: expected a finite number of at least 0, got {softening}")
    check.positive("strength", strength)


def _require_states(states: Tensor) -> None:
    check.finite("states", check.floating("states", states))
    if states.ndim != 3 or states.shape[-1] != 7 or 0 in states.shape:
        raise ValueError(f"states: expected shape (S, n, 7), got {tuple(states.shape)}")
