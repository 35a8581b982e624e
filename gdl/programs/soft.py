r"""Sorting and matching, softened: matrices with positive entries in place of permutations.

Chapter: ``programs``.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

import gdl._checks as check
from gdl.programs._matrices import square
from gdl.programs._modes import unrounded
from gdl.programs.linear import ConvergenceError

MARGINALS = {torch.float32: 1e-4, torch.float64: 1e-10}
RIDGE = 16


def soft_sort(x: Tensor, temperature: float = 1.0, *, descending: bool = True) -> Tensor:
    r"""The permutation matrix that sorts x, with each row softened into a distribution.

        P_ij = exp(-|s_i - x_j| / temperature) / sum_k exp(-|s_i - x_k| / temperature)

    where s is x, sorted. So ``P @ x`` is nearly s, and P nears the permutation matrix of argsort as
    the temperature nears 0. Reordering x reorders the columns of P.

    The gradient is exact where the entries of x differ. At ties P has a kink in general, and the
    gradient is that of one side of it: where the earlier of two equal entries is the larger one
    (with ``descending=False`` the smaller one).

    Args:
        x: (..., n), floating-point, finite.
        temperature: positive, and a normal number of the dtype of x.
        descending: whether s begins with the largest entry.

    Returns:
        P, (..., n, n), in the dtype of x; rows sum to 1.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: no entry, entries that are not finite or whose differences are not, a
            temperature out of range.

    Law tested: rows sum to 1; ``P(pi x) = P(x) pi^T`` for every permutation of 3 and of 4 entries;
    the limit is the matrix of argsort; the gradient agrees with differences, and at ties with
    differences to one side. Source: Prillo and Eisenschlos, SoftSort: a continuous relaxation for
    the argsort operator, ICML 2020. Chapter: ``programs``.

    >>> x = torch.tensor([1.0, 3.0, 2.0])
    >>> soft_sort(x, 0.01) @ x
    tensor([3., 2., 1.])
    """
    check.finite("x", check.shaped("x", x, None))
    if not x.numel():
        raise ValueError(f"x: expected at least one entry, got shape {tuple(x.shape)}")
    range_ = torch.finfo(x.dtype)
    temperature = check.number("temperature", temperature, range_.tiny, range_.max)
    check.boolean("descending", descending)
    order = x.detach().argsort(dim=-1, descending=descending, stable=True)
    difference = x.gather(-1, order)[..., :, None] - x[..., None, :]
    if check.readable(x) and not bool(torch.isfinite(difference.detach()).all()):
        raise ValueError("x: expected differences that stay finite, got an overflow")
    # abs() has slope 0 at 0, which is wrong at ties; the sign of two ranks never is.
    rank = order.argsort(dim=-1)
    ahead = rank[..., None, :] - torch.arange(x.shape[-1], device=x.device)[:, None]
    distance = difference * (ahead.sign() if descending else -ahead.sign())
    return (-distance / temperature).softmax(-1)


def sinkhorn(
    scores: Tensor,
    temperature: float = 1.0,
    *,
    tolerance: float | None = None,
    most_steps: int = 10_000,
) -> Tensor:
    r"""The doubly stochastic matrix with the scores for logarithms, up to rows and columns.

        P_ij = exp(scores_ij / temperature - u_i - v_j),    all rows and columns of P sum to 1

    Of all doubly stochastic matrices P, it makes ``sum_ij P_ij (scores_ij - temperature log P_ij)``
    largest; it nears the best permutation as the temperature nears 0. Constants added to rows or
    columns of the scores change nothing: u and v absorb them.

    Scaling rows and columns in turn, as Sinkhorn did, takes more steps than one has when the
    temperature is low. So the temperature falls from the spread of the scores by halves, and each
    step is Sinkhorn's or Newton's, whichever meets the marginals better. The gradient is implicit:
    no step is remembered. With ``a`` and ``b`` the row and column sums of ``P * d``,

        dP = P * (d - y 1^T - 1 z^T),    (1 - P P^T) y = a - P b,    z = b - P^T y

    for scores / temperature that move by d. The map from d to dP is symmetric, hence its own
    transpose. Constants y are in the kernel of ``1 - P P^T``, since u and v are known up to one
    constant only; the y whose sum is 0 is taken. The same formula, written in P, is differentiated
    again by torch, in reverse mode; forward mode is refused.

    Args:
        scores: (..., n, n), float32 or float64.
        temperature: positive.
        tolerance: how far a row may sum from 1; None is 1e-10 in float64, 1e-4 in float32.
        most_steps: bound on the number of steps, those of all temperatures together.

    Returns:
        P, (..., n, n), in the dtype of the scores. Columns sum to 1 up to rounding.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: no square matrices, entries that are not finite or whose differences over the
            temperature are not, numbers out of range.
        ConvergenceError: the marginals are not met after ``most_steps`` steps.

    Law tested: marginals; the limit is SciPy's assignment; equivariant under permutations of the
    rows and of the columns; constants change nothing; first and second derivatives agree with
    differences and with those through all steps of Sinkhorn's own iteration. Chapter:
    ``programs``.

    >>> P = sinkhorn(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    >>> bool((P.sum(0) - 1).abs().max() < 1e-4), bool((P.sum(1) - 1).abs().max() < 1e-4)
    (True, True)
    >>> round(float(2 * (P[0, 0] / P[0, 1]).log()), 4)
    2.0
    """
    square("scores", scores)
    range_ = torch.finfo(scores.dtype)
    temperature = check.number("temperature", temperature, range_.tiny, range_.max)
    tolerance = MARGINALS[scores.dtype] if tolerance is None else tolerance
    tolerance = check.positive("tolerance", tolerance)
    check.integer("most_steps", most_steps, 1)
    logits = scores / temperature
    if check.readable(logits) and not bool(torch.isfinite(_spread(logits.detach())).all()):
        raise ValueError(
            "scores: expected differences over the temperature that stay finite, got an overflow"
        )
    with unrounded(logits):
        return _Sinkhorn.apply(logits, tolerance, most_steps)


class _Sinkhorn(torch.autograd.Function):
    """The limit of Sinkhorn's iteration, differentiated without it."""

    @staticmethod
    def forward(logits: Tensor, tolerance: float, most_steps: int) -> Tensor:
        if logits.is_meta:
            return torch.empty_like(logits)
        return _scaled(logits, tolerance, most_steps)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, pulled: Tensor) -> tuple[Tensor, None, None]:
        (P,) = ctx.saved_tensors
        with unrounded(P):
            return _moved(P, pulled), None, None


def _moved(P: Tensor, d: Tensor) -> Tensor:
    """How P moves when the logits move by d; symmetric in the two."""
    flow = P * d
    a, b = flow.sum(-1), flow.sum(-2)
    y = _solved(P, P.sum(-1), a - _times(P, b))
    z = b - _times(P.mT, y)
    return flow - P * (y[..., :, None] + z[..., None, :])


def _solved(P: Tensor, rows: Tensor, right: Tensor) -> Tensor:
    """The y of ``(diag(rows) - P P^T) y = right`` whose sum is 0; columns of P sum to 1.

    The kernel is the gauge, which 1/n in every entry fills. Where P falls apart into blocks to
    working precision, each block has a kernel of its own; what flows between blocks is then below
    rounding, so that a ridge of some rounding errors makes the matrix regular and spoils nothing.
    It must not grow with n: slow flows are real, down to 1e-4 and less.
    """
    n = P.shape[-1]
    ridge = RIDGE * torch.finfo(P.dtype).eps
    return torch.linalg.solve(torch.diag_embed(rows + ridge) - P @ P.mT + 1 / n, right)


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    return (matrix @ x[..., None])[..., 0]


def _scaled(logits: Tensor, tolerance: float, most_steps: int) -> Tensor:
    """P of logits, down a path of temperatures in units of the last one."""
    heat = max(1.0, float(_spread(logits).max()))
    u = torch.zeros_like(logits[..., 0])
    steps = itertools.count()
    while True:
        wanted = tolerance if heat == 1 else max(tolerance, tolerance**0.5)
        while True:
            P, surplus = _columns_scaled(logits / heat, u)
            error = float(surplus.expm1().abs().max())
            if error <= wanted:
                break
            if next(steps) >= most_steps:
                raise ConvergenceError(
                    f"sinkhorn: expected rows that sum to 1 within {tolerance:.3g} after "
                    f"{most_steps} steps, got a deviation of {error:.3g}; "
                    "raise the temperature, the tolerance or most_steps"
                )
            u = _stepped(logits / heat, u, P, surplus)
        if heat == 1:
            return P
        cooler = max(1.0, heat / 2)
        u, heat = u * (heat / cooler), cooler


def _columns_scaled(logits: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """P with columns that sum to 1, and the logarithms of what its rows sum to."""
    log_P = (logits - u[..., :, None]).log_softmax(-2)
    return log_P.exp(), log_P.logsumexp(-1)


def _stepped(logits: Tensor, u: Tensor, P: Tensor, surplus: Tensor) -> Tensor:
    """u after a step of Sinkhorn's or of Newton's, whichever leaves the rows nearer to 1."""
    plain = u + surplus
    newton = u + _solved(P, surplus.exp(), surplus.expm1())
    left = [_columns_scaled(logits, u)[1].abs().amax(-1, keepdim=True) for u in (plain, newton)]
    return torch.where(left[1] < left[0], newton, plain)


def _spread(x: Tensor) -> Tensor:
    return x.amax((-2, -1)) - x.amin((-2, -1))
