r"""Projectors on eigenspaces, whose gradients do not see how eigenvectors were chosen.

An eigenvector is free up to its sign, and up to a rotation where eigenvalues are equal; its
gradient grows like one over the gap between eigenvalues. The projector on a group of them is not
free, and its gradient sees only the gap to the other group.

Chapter: ``programs``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import gdl._checks as check
from gdl.programs._matrices import symmetric
from gdl.programs._modes import unrounded

Function = Callable[[Tensor], Tensor]


def spectral_projector(matrix: Tensor, count: int) -> Tensor:
    r"""The projector on the eigenvectors of the lowest eigenvalues of a symmetric matrix.

        P = sum_{i <= count} v_i v_i^T
        dP = sum_{i <= count < j} (v_i v_i^T dA v_j v_j^T + v_j v_j^T dA v_i v_i^T) / (l_i - l_j)

    Only differences between the two groups occur: eigenvalues may be equal within each of them.

    Args:
        matrix: A, (..., n, n), symmetric up to rounding, float32 or float64.
        count: how many eigenvectors, 1 to n.

    Returns:
        P, (..., n, n). The gradient, a symmetric matrix, is differentiable no further.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: no symmetric matrices, entries that are not finite, a count out of range.
        torch.linalg.LinAlgError: the two groups share an eigenvalue to working precision.
        NotImplementedError: a second derivative is asked for.

    Law tested: the gradient agrees with torch's where all eigenvalues differ, and with differences
    where they are equal within the groups, where torch's is not finite;
    ``P(g A g^T) = g P(A) g^T`` for orthogonal g. Chapter: ``programs``.

    >>> spectral_projector(torch.diag(torch.tensor([3.0, 1.0, 1.0])), 2)
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    A = symmetric("matrix", matrix)
    check.integer("count", count, 1, A.shape[-1])

    def weights(values: Tensor) -> Tensor:
        _check_gap(values, count)
        kept = torch.arange(values.shape[-1], device=values.device) < count
        return kept.to(values.dtype).expand(values.shape)

    def loewner(values: Tensor) -> Tensor:
        between = values.new_zeros(*values.shape, values.shape[-1])
        low, high = values[..., :count, None], values[..., None, count:]
        between[..., :count, count:] = 1 / (low - high)
        return between + between.mT

    return _Spectral.apply(A, weights, loewner)[0]


def _check_gap(values: Tensor, count: int) -> None:
    n = values.shape[-1]
    if count == n or not check.readable(values):
        return
    gap = values[..., count] - values[..., count - 1]
    range_ = torch.finfo(values.dtype)
    # One over a gap below the normal numbers may overflow.
    rounding = (n * range_.eps * values.abs().amax(-1)).clamp(min=range_.tiny)
    if bool((gap <= rounding).any()):
        raise torch.linalg.LinAlgError(
            f"matrix: expected a gap between eigenvalues {count} and {count + 1}, "
            f"got {float(gap.min()):.3g}"
        )


class _Spectral(torch.autograd.Function):
    """V diag(weights(l)) V^T, with l and V; its derivative is that of Daleckii and Krein."""

    generate_vmap_rule = True

    @staticmethod
    def forward(A: Tensor, weights: Function, loewner: Function) -> tuple[Tensor, Tensor, Tensor]:
        values, V = torch.linalg.eigh(A)
        with unrounded(A):
            return (V * weights(values)[..., None, :]) @ V.mT, values, V

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
        A, _, ctx.loewner = inputs
        _, values, V = output
        ctx.mark_non_differentiable(values, V)
        ctx.save_for_backward(A, values, V)
        ctx.save_for_forward(A, values, V)

    @staticmethod
    def backward(ctx, pulled: Tensor, *_: None) -> tuple[Tensor, None, None]:
        A, values, V = ctx.saved_tensors
        return _Derivative.apply(A, pulled, V, ctx.loewner(values)), None, None

    @staticmethod
    def jvp(ctx, pushed: Tensor, *_: None) -> tuple[Tensor, None, None]:
        A, values, V = ctx.saved_tensors
        return _Derivative.apply(A, pushed, V, ctx.loewner(values)), None, None


class _Derivative(torch.autograd.Function):
    """V (D * (V^T d V)) V^T, which is symmetric in d: pushed forwards or pulled back alike.

    It takes A only to refuse its derivative, which V and D alone would not show.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(A: Tensor, d: Tensor, V: Tensor, D: Tensor) -> Tensor:
        with unrounded(V):
            return V @ (D * (V.mT @ d @ V)) @ V.mT

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx, *_: Tensor) -> tuple:
        raise NotImplementedError(ONCE)

    @staticmethod
    def jvp(ctx, *_: Tensor | None) -> Tensor:
        raise NotImplementedError(ONCE)


ONCE = "matrix: a projector of its spectrum is differentiated once, not twice"
