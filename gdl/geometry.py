r"""What several rooms need of mechanics and space.

Chapters: ``symmetry`` (the leapfrog integrator), ``rotations`` (random rotations, neighbours).
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

import gdl._motion as motion


def leapfrog(
    gradient: Callable[[Tensor], Tensor],
    position: Tensor,
    momentum: Tensor,
    *,
    mass: float | Tensor = 1.0,
    step: float,
    steps: int,
    every: int = 1,
) -> tuple[Tensor, Tensor]:
    r"""Integrate ``dq/dt = p / m``, ``dp/dt = -grad U(q)``: kick, drift, kick.

    ``p <- p - h/2 grad U(q)``, ``q <- q + h p / m``, ``p <- p - h/2 grad U(q)``.

    Args:
        gradient: maps positions to ``grad U`` of the same shape.
        position: q, any shape, floating-point and finite.
        momentum: p, the shape and dtype of q.
        mass: m, positive; a number or a tensor that broadcasts to q. It is used in the dtype of q.
        step: h, in the unit of time; negative runs backwards.
        steps: how many, at most a million.
        every: keep every so many-th state; it divides ``steps``.

    Returns:
        Positions and momenta, each ``(steps / every + 1, *q.shape)``, the start included.

    Raises:
        TypeError: arguments that are no tensors, functions or numbers.
        ValueError: shapes or dtypes that differ, entries that are not finite, a mass that is not
            positive, a number of steps out of range or no multiple of ``every``.
        FloatingPointError: the trajectory left the range of numbers; names the step.

    Law tested: reversible; of second order; symplectic (the Jacobian keeps Omega, which explicit
    Euler does not); conserves momentum and angular momentum of invariant potentials to rounding.
    Source: Hairer, Lubich and Wanner, Geometric Numerical Integration, section I.1.4.
    Chapter: ``symmetry``.

    >>> q, p = torch.tensor([1.0]), torch.tensor([0.0])
    >>> positions, momenta = leapfrog(lambda q: q, q, p, step=0.1, steps=1)
    >>> [round(float(v[1]), 4) for v in (positions, momenta)]
    [0.995, -0.0997]
    """
    motion.state(position, momentum)
    mass = motion.masses(mass, position)
    motion.clock(step, steps, every)
    motion.function("gradient", gradient)
    positions, momenta = [position], [momentum]
    slope = motion.slope("gradient", gradient, "position", position) if steps else None
    for index in range(1, steps + 1):
        momentum = momentum - step / 2 * slope
        position = position + step * momentum / mass
        slope = motion.slope("gradient", gradient, "position", position)
        momentum = momentum - step / 2 * slope
        motion.within_range(index, position, momentum)
        if index % every == 0:
            positions.append(position)
            momenta.append(momentum)
    return torch.stack(positions), torch.stack(momenta)


def random_rotations(
    count: int,
    *,
    seed: int | None = None,
    generator: torch.Generator | None = None,
    reflections: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    r"""Rotations of space, uniform on SO(3): the quaternions of Gaussian vectors.

        q = g / |g|,     g ~ N(0, 1)^4,     R = 1 + 2 (w [u]_x + [u]_x^2)     for q = (w, u)

    The length of g does not depend on its direction, so q is uniform on the 3-sphere, and q and -q
    are the same rotation.

    Args:
        count: how many, at least 1.
        seed: an integer that fixes them; None draws from ``generator``.
        generator: where to draw from; None is torch's default generator.
        reflections: draw from O(3) instead: each matrix is multiplied by 1 or -1.
        dtype: of the result; they are computed in float64.

    Returns:
        Matrices ``(count, 3, 3)``, orthogonal and of determinant 1.

    Raises:
        TypeError: a count or seed that is no integer, no generator, a dtype that is not real.
        ValueError: a count below 1; both a seed and a generator.

    Law tested: orthogonal, of determinant 1; characters of degree 1 to 4 and powers of the trace
    have the moments of Haar measure, angles the density ``(1 - cos t) / pi``; uniform Euler angles
    and a QR decomposition without signs fail. Source: Shoemake, Uniform random rotations, Graphics
    Gems III, 1992. Chapter: ``rotations``.

    >>> R = random_rotations(5, seed=0)
    >>> R.shape, torch.linalg.det(R).round(decimals=6).tolist()
    (torch.Size([5, 3, 3]), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    _require_integer("count", count)
    if count < 1:
        raise ValueError(f"count: expected at least 1, got {count}")
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype: expected a real floating-point type of torch, got {dtype!r}")
    if not isinstance(reflections, bool):
        raise TypeError(f"reflections: expected True or False, got {reflections!r}")
    generator = _generator(seed, generator)
    device = None if generator is None else generator.device
    options = {"generator": generator, "dtype": torch.float64, "device": device}
    g = torch.randn(count, 4, **options)
    w, x, y, z = (g / torch.linalg.vector_norm(g, dim=1, keepdim=True)).unbind(1)
    zero = torch.zeros_like(w)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).reshape(count, 3, 3)
    matrices = 2 * (w[:, None, None] * cross + cross @ cross)
    matrices.diagonal(dim1=1, dim2=2).add_(1)
    if reflections:
        matrices *= torch.randn(count, 1, 1, **options).sign()
    return matrices.to(dtype)


def complete_graph(
    counts: int | Sequence[int] | Tensor,
    *,
    loop: bool = False,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""All ordered pairs of points within each cloud of a batch.

    Args:
        counts: the number of points: one integer for one cloud, several for a batch of them
            (``torch.bincount(batch)`` of a vector of cloud numbers); each at least 1.
        loop: also join each point to itself.
        device: of the result, by default torch's.

    Returns:
        ``edge_index``, int64 ``(2, edges)``: sources in row 0, targets in row 1, sorted by target,
        then by source; a cloud of n points has ``n (n - 1)`` edges.

    Raises: TypeError or ValueError for counts that are no positive integers, or none.
    Law tested: equal to the pairs written out.
    Chapter: ``rotations``.

    >>> complete_graph([2, 3]).tolist()
    [[1, 0, 3, 4, 2, 4, 2, 3], [0, 1, 2, 2, 3, 3, 4, 4]]
    """
    if not isinstance(loop, bool):
        raise TypeError(f"loop: expected True or False, got {loop!r}")
    device = torch.get_default_device() if device is None else device
    with torch.device("cpu"):
        sizes = torch.tensor(_checked_counts(counts))
        of_target = sizes.repeat_interleave(sizes)
        first = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        target = torch.arange(len(of_target)).repeat_interleave(of_target)
        before = (of_target.cumsum(0) - of_target)[target]
        source = torch.arange(len(target)) - before + first[target]
        edges = torch.stack([source, target])
    return (edges if loop else edges[:, source != target]).to(device)


def _require_integer(argument: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{argument}: expected an integer, got {value!r}")


def _generator(seed: int | None, generator: torch.Generator | None) -> torch.Generator | None:
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: expected a torch.Generator, got {type(generator).__name__}")
    if seed is None:
        return generator
    _require_integer("seed", seed)
    if generator is not None:
        raise ValueError("seed: expected None beside a generator")
    return torch.Generator().manual_seed(int(seed))


def _checked_counts(counts: int | Sequence[int] | Tensor) -> list[int]:
    listed = counts.tolist() if isinstance(counts, Tensor) else counts
    sizes = list(listed) if isinstance(listed, (list, tuple)) else [listed]
    if not sizes:
        raise ValueError("counts: expected at least one cloud, got none")
    for size in sizes:
        _require_integer("counts", size)
        if size < 1:
            raise ValueError(f"counts: expected at least one point in each cloud, got {size}")
    return [int(size) for size in sizes]
