r"""Warps of time: steps inserted into a sequence, and clocks that run at another rate.

A warp is a monotone map c of time, and a warped signal is ``x(c(t))``. Where time is discrete the
warps are insertions: :func:`pad` inserts blanks, :func:`hold` repeats the step before. Where it is
continuous a warp is a float64 tensor of the times ``c(0) <= c(1) <= ...``. Chapter: ``sequences``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sequences import _checks as require

_FREQUENCIES = 3
_LONGEST = 2**24  # whole numbers up to here are whole in float32 as well
_WIDEST = 2**13  # a matrix of this width takes half a gigabyte


def pad(x: Tensor, places: Sequence[int]) -> Tensor:
    r"""Insert a blank, that is zeros, before each of the places.

        pad(x)_t = r_t x_{c(t)},    c(t) = r_0 + ... + r_t - 1

    with the rates r, 1 at data and 0 at blanks, which are themselves ``pad(ones)``.

    Args:
        x: sequences ``(..., T, d)``, floating-point.
        places: sorted ints 0 to T, each an index of x before which a step goes in; T appends. A
            place named twice takes two steps.

    Returns:
        ``(..., T + len(places), d)``.

    Raises: TypeError for other arguments; ValueError for an empty sequence, entries that are not
    finite, places out of order or range.

    Law tested: equal to an insertion step by step; running sums turn it into :func:`hold`. Chapter:
    ``sequences``.

    >>> pad(torch.tensor([[1.0], [2.0]]), [1, 1, 2]).flatten().tolist()
    [1.0, 0.0, 0.0, 2.0, 0.0]
    """
    index, arrived = _insertion(x, places)
    return x.index_select(-2, index.clamp(min=0)).masked_fill(~arrived[:, None], 0)


def hold(x: Tensor, places: Sequence[int]) -> Tensor:
    r"""Insert, before each of the places, the step before it once more.

        hold(x)_t = x_{c(t)},    x_{-1} = 0

    with the c of :func:`pad`. Before place 0 there is no step, and what goes in is 0, the state in
    which a recurrence starts by default.

    Arguments, result and errors are those of :func:`pad`.

    Law tested: equal to an insertion step by step; with C the running sum and D the difference,
    ``hold(C x) = C pad(x)`` and ``pad(D x) = D hold(x)`` for all places. Chapter: ``sequences``.

    >>> hold(torch.tensor([[1.0], [2.0]]), [0, 1, 2]).flatten().tolist()
    [0.0, 1.0, 1.0, 2.0, 2.0]
    """
    index, _ = _insertion(x, places)
    return x.index_select(-2, index.clamp(min=0)).masked_fill(index[:, None] < 0, 0)


def pad_matrix(length: int, place: int) -> Tensor:
    r"""The matrix of :func:`pad` on a window: what the first T steps are after one insertion.

    What leaves the window is lost, so the matrix has no inverse. At place 0 it is the shift, at
    place T the identity. Writing P_k for the matrix, insertions compose by

        P_i P_j = P_{j+1} P_i    for i <= j,

    and their products are 2^T matrices, one for every choice of the rates 0 or 1.

    Args:
        length: T, from 1 to 8192.
        place: from 0 to T.

    Returns:
        ``(T, T)``, float64.

    Raises: TypeError for other arguments; ValueError for ints out of range.
    Law tested: the relation and the number of products, for this matrix and :func:`hold_matrix`.
    Chapter: ``sequences``.

    >>> pad_matrix(3, 1).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return pad(_window(length, place), [place])[:length]


def hold_matrix(length: int, place: int) -> Tensor:
    r"""The matrix of :func:`hold` on a window of T steps.

    It obeys the relations of :func:`pad_matrix`, those of the degeneracy maps of a simplicial set.
    With C the lower triangle of ones, ``hold_matrix(T, k) @ C = C @ pad_matrix(T, k)`` for every k,
    and the multiples of C are the only matrices that do this for all of them.

    Arguments, result and errors are those of :func:`pad_matrix`.

    Law tested: the relations; the identity with C, and that the solutions have dimension 1.
    Chapter: ``sequences``.

    >>> hold_matrix(3, 1).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return hold(_window(length, place), [place])[:length]


def smooth_warp(length: int, strength: float, *, seed: int) -> Tensor:
    r"""A random smooth warp of the interval from 0 to T - 1 onto itself.

        c'(t) ~ exp(strength f(t / (T - 1))),    c(0) = 0,    c(T - 1) = T - 1

    where f is a random Fourier series of the frequencies 1, 2, 3 with mean square 1, so that
    ``strength`` is the standard deviation of the logarithm of the rate. The integral is the
    midpoint rule's.

    Args:
        length: T, at least 2.
        strength: from 0, the identity, to 5.
        seed: of the series, which is the same at all lengths.

    Returns:
        ``(T,)``, float64, strictly increasing.

    Raises: TypeError for other arguments; ValueError for numbers out of range.
    Law tested: the ends; positive rates whose logarithms have this deviation; warps of two lengths
    differ at second order. Chapter: ``sequences``.

    >>> smooth_warp(4, 0.0, seed=0).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    steps = check.integer("length", length, 2, _LONGEST) - 1
    strength = check.number("strength", strength, 0, 5)
    coefficients = torch.randn(
        2 * _FREQUENCIES, generator=_generator(seed), dtype=torch.float64, device="cpu"
    )
    middle = (torch.arange(steps, dtype=torch.float64, device="cpu") + 0.5) / steps
    frequencies = torch.arange(1, _FREQUENCIES + 1, device="cpu")
    angles = 2 * math.pi * middle[:, None] * frequencies
    series = torch.cat([angles.cos(), angles.sin()], -1) @ coefficients
    rate = torch.exp(strength * math.sqrt(2) / coefficients.norm() * series)
    times = _from_zero(rate)
    times = times * steps / times[-1]
    times[-1] = steps  # which rounding may miss, and a signal ends there
    return times


def rates(times: Tensor, *, before: float = 0.0) -> Tensor:
    r"""How far the clock of a warp runs at every step: ``c(t) - c(t-1)``.

    These are the gates of a recurrence on that clock, ``h_t = h_{t-1} + rates_t (cell(x_t, h_{t-1})
    - h_{t-1})``, which is Euler's scheme: its step from t - 1 to t takes ``c(t) - c(t-1)``.

    Args:
        times: ``(T,)``, a warp.
        before: ``c(-1)``, the time of the start h_{-1}. With 0, where our warps begin, the first
            rate is 0 and h_0 is the start, as for a differential equation that starts at time 0.
            With -1 the times 0, 1, 2, ... have rates 1, those of the plain recurrence.

    Returns:
        ``(T,)`` in the dtype of the times, none negative.

    Raises: TypeError for other arguments; ValueError for times that are no warp, a start later than
    the first of them, differences that overflow.

    Law tested: running sums give the times back; Euler's scheme with these rates converges at
    first order. Chapter: ``sequences``.

    >>> rates(torch.tensor([0.0, 0.5, 2.0])).tolist()
    [0.0, 0.5, 1.5]
    >>> rates(torch.tensor([0.0, 1.0, 1.0]), before=-1).tolist()
    [1.0, 1.0, 0.0]
    """
    require.clock("times", times)
    start = check.number("before", before)
    if check.readable(times) and start > times[0]:
        raise ValueError(f"before: expected at most the first time {times[0].item()}, got {start}")
    return require.unspoilt("times", torch.diff(times, prepend=times.new_tensor([start])))


def _insertion(x: Tensor, places: Sequence[int]) -> tuple[Tensor, Tensor]:
    """For every step of the result: the last step of x so far, or -1, and whether it is new."""
    require.sequence("x", x, None)
    steps = x.shape[-2]
    if not isinstance(places, Sequence):
        raise TypeError(f"places: expected a list of ints, got {type(places).__name__}")
    sorted_ = [check.integer("places", place, 0, steps) for place in places]
    for i, (first, second) in enumerate(zip(sorted_, sorted_[1:], strict=False), 1):
        if second < first:
            raise ValueError(
                f"places: expected sorted places, got {second} at index {i} after {first}"
            )
    made = torch.tensor(sorted_, dtype=torch.int64, device=x.device)
    arrived = torch.ones(steps + len(made), dtype=torch.bool, device=x.device)
    arrived[made + torch.arange(len(made), device=x.device)] = False
    return arrived.cumsum(0) - 1, arrived


def _window(length: int, place: int) -> Tensor:
    check.integer("length", length, 1, _WIDEST)
    check.integer("place", place, 0, length)
    return torch.eye(length, dtype=torch.float64, device="cpu")


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(check.integer("seed", seed, 0, 2**32 - 1))


def _from_zero(rate: Tensor) -> Tensor:
    return torch.cat([rate.new_zeros(1), rate.cumsum(0)])
