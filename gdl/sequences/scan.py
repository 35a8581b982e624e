r"""A linear recurrence in parallel: maps ``z -> a z + b`` compose, however they are bracketed.

Chapter: ``sequences``.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from gdl.sequences import _checks as require

Pair = tuple[Tensor, Tensor]


def scan(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    r"""All states of a linear recurrence, in O(log T) parallel sweeps and O(T) work.

        z_t = a_t z_{t-1} + b_t,    z_{-1} = start

    Neighbouring steps are composed to one, the recurrence of half the length is scanned, and the
    steps in between are filled in. Nothing is divided and no logarithm is taken, so that factors
    of 0 forget exactly and factors of any sign or phase are allowed. The gradient is the same scan
    run backwards in time, so it takes memory for O(T) states, and can be differentiated again:

        dz_t = g_t + conj(a_{t+1}) dz_{t+1},    db_t = dz_t,    da_t = conj(z_{t-1}) dz_t

    Args:
        a: factors ``(..., T, n)`` as b, or ``(n,)`` for all steps; real or complex.
        b: what is added, ``(..., T, n)``, of the dtype of a.
        start: ``(..., n)``; 0 by default.

    Returns:
        z, ``(..., T, n)``.

    Raises:
        TypeError: arguments of other types, or of different dtypes or devices.
        ValueError: shapes that do not fit, no step, entries that are not finite, an overflow.
            Factors are multiplied with each other, so growing ones may overflow where their
            products with small states do not.

    Law tested: equal to :func:`recurrence`, gradients too, and to SciPy's ``lfilter`` for
    constant factors; for a constant factor of magnitude below 1 the error is below
    ``eps max|z| / (1 - |a|)`` at any T, though often several times that of the loop. Composing in
    the wrong order breaks it. Source: Blelloch, Prefix sums and their applications, 1990. Chapter:
    ``sequences``.

    >>> scan(torch.tensor([0.5]), torch.ones(4, 1)).flatten().tolist()
    [1.0, 1.5, 1.75, 1.875]
    """
    a, b, start = _checked(a, b, start)
    if start is not None:
        first = torch.addcmul(b[..., :1, :], a[..., :1, :], start.unsqueeze(-2))
        b = torch.cat([first, b[..., 1:, :]], -2)
    return require.unspoilt("a, b", _Scan.apply(a, b))


def recurrence(a: Tensor, b: Tensor, start: Tensor | None = None) -> Tensor:
    r"""The reference of :func:`scan`: one step after another.

        z_t = a_t z_{t-1} + b_t

    Arguments, result and errors are those of :func:`scan`.

    Law tested: as for :func:`scan`. Chapter: ``sequences``.

    >>> recurrence(torch.tensor([0.5]), torch.ones(4, 1)).flatten().tolist()
    [1.0, 1.5, 1.75, 1.875]
    """
    a, b, start = _checked(a, b, start)
    z = torch.zeros_like(b[..., 0, :]) if start is None else start
    states = []
    for factor, added in zip(a.unbind(-2), b.unbind(-2), strict=True):
        z = torch.addcmul(added, factor, z)
        states.append(z)
    return require.unspoilt("a, b", torch.stack(states, -2))


def compose(first: Pair, second: Pair) -> Pair:
    r"""The map ``z -> a z + b`` that applies one such map after another.

        a = a_2 a_1,    b = a_2 b_1 + b_2

    Args:
        first: ``(a_1, b_1)``, two tensors of one shape ``(..., T, n)``.
        second: ``(a_2, b_2)`` of the same shape, applied to the result of the first.

    Returns:
        ``(a, b)``.

    Raises:
        TypeError: no pair, arguments of other types, or of different dtypes or devices.
        ValueError: shapes that do not fit, no step, entries that are not finite, an overflow.

    Law tested: associative, not commutative, and ``(1, 0)`` is neutral; gates merge, which means
    that the shares kept, ``1 - g``, are multiplied. Source: Blelloch, Prefix sums and their
    applications, 1990. Chapter: ``sequences``.

    >>> half, one = torch.full((1, 1), 0.5), torch.ones(1, 1)
    >>> [x.item() for x in compose((half, one), (half, one))]
    [0.25, 1.5]
    """
    (a, b), (c, d) = _pair("first", first), _pair("second", second)
    require.fitting("second", c, a.shape, a)
    made = _compose(a, b, c, d)
    return tuple(require.unspoilt("first, second", x) for x in made)


class _Scan(torch.autograd.Function):
    """A scan from 0 whose gradient is a scan."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return _sweep(a, b)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: Pair, output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> Pair:
        a, z = ctx.saved_tensors
        # Backwards in time, the factor of a step is that of the step after it; the factor that
        # comes first is multiplied by the start, which is 0.
        factors = a.conj().flip(-2).roll(1, -2)
        reached = _Scan.apply(factors, grad.flip(-2)).flip(-2)
        before = torch.cat([torch.zeros_like(z[..., :1, :]), z[..., :-1, :]], -2)
        return before.conj() * reached, reached


def _sweep(a: Tensor, b: Tensor) -> Tensor:
    """The states at odd times by half as many composed steps, those at even times from them."""
    z, steps = b.clone(), b.shape[-2]
    if steps > 1:
        even, odd = slice(0, steps // 2 * 2, 2), slice(1, None, 2)
        pairs = _compose(a[..., even, :], b[..., even, :], a[..., odd, :], b[..., odd, :])
        ends = _sweep(*pairs)
        z[..., odd, :] = ends
        before = ends[..., : (steps - 1) // 2, :]
        z[..., 2::2, :] += a[..., 2::2, :] * before
    return z


def _compose(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Pair:
    """The second step (c, d) after the first (a, b)."""
    return c * a, torch.addcmul(d, c, b)


def _checked(a: Tensor, b: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    require.series("b", b)
    constant = isinstance(a, Tensor) and a.ndim == 1
    a = require.fitting("a", a, b.shape[-1:] if constant else b.shape, b).expand(b.shape)
    if start is not None:
        require.fitting("start", start, (*b.shape[:-2], b.shape[-1]), b)
    return a, b, start


def _pair(name: str, pair: Pair) -> Pair:
    if not (isinstance(pair, tuple) and len(pair) == 2):
        raise TypeError(f"{name}: expected a pair of tensors, got {type(pair).__name__}")
    a = require.series(name, pair[0])
    return a, require.fitting(name, pair[1], a.shape, a)
