r"""What several rooms need of mechanics and space.

Chapter: ``symmetry`` (the leapfrog integrator).
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable

import torch
from torch import Tensor

MOST_STEPS = 10**6


def leapfrog(
    gradient: Callable[[Tensor], Tensor],
    position: Tensor,
    momentum: Tensor,
    *,
    mass: float | Tensor = 1.0,
    step: float,
    steps: int,
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

    Returns:
        Positions and momenta, each ``(steps + 1, *q.shape)``, the start included.

    Raises:
        TypeError: arguments that are no tensors, functions or numbers.
        ValueError: shapes or dtypes that differ, entries that are not finite, a mass that is not
            positive, a number of steps out of range.
        FloatingPointError: the trajectory left the range of numbers; names the step.

    Law tested: reversible; of second order; symplectic (the Jacobian keeps Omega, which explicit
    Euler does not); conserves momentum and angular momentum of invariant potentials to rounding.
    Source: Hairer, Lubich and
    Wanner, Geometric Numerical Integration, section I.1.4. Chapter: ``symmetry``.

    >>> q, p = torch.tensor([1.0]), torch.tensor([0.0])
    >>> positions, momenta = leapfrog(lambda q: q, q, p, step=0.1, steps=1)
    >>> [round(float(v[1]), 4) for v in (positions, momenta)]
    [0.995, -0.0997]
    """
    _require_state(position, momentum)
    mass = _checked_mass(mass, position)
    _require_step(step, steps)
    if not callable(gradient):
        raise TypeError(f"gradient: expected a function, got {type(gradient).__name__}")
    positions, momenta = [position], [momentum]
    slope = _slope(gradient, position) if steps else None
    for index in range(1, steps + 1):
        momentum = momentum - step / 2 * slope
        position = position + step * momentum / mass
        slope = _slope(gradient, position)
        momentum = momentum - step / 2 * slope
        if not (torch.isfinite(position).all() and torch.isfinite(momentum).all()):
            raise FloatingPointError(f"step: not finite after {index} steps; take a smaller one")
        positions.append(position)
        momenta.append(momentum)
    return torch.stack(positions), torch.stack(momenta)


def _slope(gradient: Callable[[Tensor], Tensor], position: Tensor) -> Tensor:
    slope = gradient(position)
    if not isinstance(slope, Tensor):
        raise TypeError(f"gradient: expected a tensor as value, got {type(slope).__name__}")
    if slope.shape != position.shape or slope.dtype != position.dtype:
        raise ValueError(
            f"gradient: expected {position.dtype} of shape {tuple(position.shape)} like position, "
            f"got {slope.dtype} of shape {tuple(slope.shape)}"
        )
    return slope


def _require_state(position: Tensor, momentum: Tensor) -> None:
    for argument, value in (("position", position), ("momentum", momentum)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            got = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(f"{argument}: expected a floating-point tensor, got {got}")
        if not torch.isfinite(value).all():
            raise ValueError(f"{argument}: expected finite entries, got NaN or infinity")
    if momentum.shape != position.shape or momentum.dtype != position.dtype:
        raise ValueError(
            f"momentum: expected {position.dtype} of shape {tuple(position.shape)} like position, "
            f"got {momentum.dtype} of shape {tuple(momentum.shape)}"
        )


def _checked_mass(mass: float | Tensor, position: Tensor) -> Tensor:
    if isinstance(mass, bool) or not isinstance(mass, (numbers.Real, Tensor)):
        raise TypeError(f"mass: expected a number or a tensor, got {type(mass).__name__}")
    if isinstance(mass, Tensor) and (mass.is_complex() or mass.dtype == torch.bool):
        raise TypeError(f"mass: expected real numbers, got {mass.dtype}")
    values = torch.as_tensor(mass, dtype=position.dtype, device=position.device)
    if not bool((torch.isfinite(values) & (values > 0)).all()):
        raise ValueError("mass: expected positive finite numbers")
    try:
        fits = torch.broadcast_shapes(values.shape, position.shape) == position.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"mass: expected a shape that broadcasts to {tuple(position.shape)}, "
            f"got {tuple(values.shape)}"
        )
    return values


def _require_step(step: float, steps: int) -> None:
    if isinstance(step, bool) or not isinstance(step, numbers.Real):
        raise TypeError(f"step: expected a number, got {step!r}")
    if not math.isfinite(step) or step == 0:
        raise ValueError(f"step: expected a finite number other than zero, got {step}")
    if isinstance(steps, bool) or not isinstance(steps, numbers.Integral):
        raise TypeError(f"steps: expected an integer, got {steps!r}")
    if not 0 <= steps <= MOST_STEPS:
        raise ValueError(f"steps: expected 0 to {MOST_STEPS}, got {steps}")
