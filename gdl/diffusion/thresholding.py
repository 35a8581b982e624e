r"""Thresholds between soft and hard, and beyond: the minimiser of a square and a power.

Chapter: ``diffusion``.
"""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

import gdl._checks as check

NEWTON = 60


def generalized_soft_threshold(
    y: Tensor, penalty: float | Tensor, power: float | Tensor, *, width: float = 0.0
) -> Tensor:
    r"""The number x of least ``(x - y)^2 / 2 + penalty |x|^power``, entry by entry.

        x = 0 if |y| <= threshold, else sign(y) S with S + penalty power S^(power - 1) = |y|

    ``|0|^power`` counts as 0 for every power: nothing is paid for nothing. With power 1 this is the
    soft threshold, with power 0 the hard one, and with negative powers small numbers are the dear
    ones: what is kept is moved *away* from 0. S is the larger of the two solutions. At the
    threshold, where 0 and S cost the same, the value is 0.

    The jump at the threshold has no derivative, so that training does not learn where it should
    be. With a width it becomes a gate: S, held at its least value below the threshold, times

        |y|^(1 / width) / (|y|^(1 / width) + threshold^(1 / width))

    Args:
        y: (...), float32 or float64.
        penalty: a number >= 0, or a tensor in the dtype of y that broadcasts to its shape.
        power: a number <= 1, or a tensor likewise.
        width: of the gate, at least 0; 0 is the minimiser, with its jump.

    Returns:
        x, the shape and dtype of y. Differentiable, also twice, in all three, by the implicit
        function theorem; without width, the derivative knows nothing of the jump, and with one,
        that in a power of exactly 1 is infinite.

    Raises:
        TypeError: no tensor, or other dtypes.
        ValueError: entries that are not finite, penalties below 0, powers above 1, tensors that do
            not broadcast to the shape of y.

    Law tested: a minimiser by brute force for powers from -2 to 1; power 1 is soft, power 0 hard;
    commutes with signed permutations; ``x(c y; c^(2 - power) penalty) = c x(y; penalty)``;
    ``|x| > |y|`` for negative powers; gradients and second gradients by finite differences.
    Source: Zuo et al., "A generalized iterated shrinkage algorithm for non-convex sparse coding",
    ICCV 2013, for powers from 0 to 1. Chapter: ``diffusion``.

    >>> y = torch.tensor([-3.0, 0.5, 1.5])
    >>> generalized_soft_threshold(y, 1.0, 1.0)
    tensor([-2.0000,  0.0000,  0.5000])
    >>> generalized_soft_threshold(y, 1.0, -1.0)
    tensor([-3.1038,  0.0000,  1.8064])
    """
    y = _entries(y)
    penalty, power = _price(y, penalty, power)
    check.number("width", width, 0)
    # Where nothing is paid the threshold is 0, whose root and logarithm have no derivative.
    paid = penalty > 0
    threshold = _threshold(torch.where(paid, penalty, 1.0), power)
    kept = y.abs() > torch.where(paid, threshold, 0.0)
    x = _Threshold.apply(y, penalty.expand_as(y), power.expand_as(y), kept)
    if width == 0:
        return x
    # Zeros stay zeros, whatever the threshold, and have no logarithm.
    size = torch.where(y == 0, 1.0, y.abs())
    gate = torch.where(paid, ((size.log() - threshold.log()) / width).sigmoid(), 1.0)
    jump = _jump(torch.where(paid, penalty, 1.0), power)
    return torch.where(kept, x, jump * y.sign()) * gate


def gst_threshold(penalty: float | Tensor, power: float | Tensor) -> Tensor:
    r"""The size up to which :func:`~gdl.diffusion.generalized_soft_threshold` returns 0.

        (2 - power) / (2 - 2 power) * (2 (1 - power) penalty)^(1 / (2 - power)),

    which tends to the penalty for power 1.

    Args:
        penalty: a number >= 0 or a tensor.
        power: a number <= 1 or a tensor that broadcasts with it.

    Returns:
        A tensor of their common shape and dtype.

    Raises: TypeError or ValueError for other arguments.

    Law tested: at the threshold 0 and the jump cost the same, to 1e-12; brute force. Source: Zuo et
    al. (ICCV 2013), in another form. Chapter: ``diffusion``.

    >>> gst_threshold(0.5, 1.0), gst_threshold(2.0, 0.0).round(decimals=5)
    (tensor(0.5000), tensor(2.))
    """
    penalty, power = _pair(penalty, power)
    return _threshold(penalty, power)


def gst_jump(penalty: float | Tensor, power: float | Tensor) -> Tensor:
    r"""The least size other than 0 that :func:`~gdl.diffusion.generalized_soft_threshold` returns.

        (2 (1 - power) penalty)^(1 / (2 - power))

    Arguments and errors are those of :func:`~gdl.diffusion.gst_threshold`.

    Law tested: the limit of the operator from above the threshold; 0 for power 1 only. Chapter:
    ``diffusion``.

    >>> gst_jump(0.5, 1.0), gst_jump(0.5, 0.0)
    (tensor(0.), tensor(1.))
    """
    penalty, power = _pair(penalty, power)
    return _jump(penalty, power)


class _Threshold(torch.autograd.Function):
    """The operator for three tensors of one shape, given which entries are beyond the threshold."""

    @staticmethod
    def forward(ctx, y: Tensor, penalty: Tensor, power: Tensor, kept: Tensor) -> Tensor:
        x = torch.zeros_like(y)
        if not y.is_meta:
            x[kept] = _larger_root(y[kept].abs(), penalty[kept], power[kept]).copysign(y[kept])
        ctx.save_for_backward(x, penalty, power, kept)
        return x

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, penalty, power, kept = ctx.saved_tensors
        size = torch.where(kept, x.abs(), 1.0)
        # Only where nothing is paid can it overflow, and infinity times this nothing would be NaN.
        most = torch.finfo(size.dtype).max
        fall = (size ** (power - 1)).clamp(max=most)
        slope = 1 + power * (power - 1) * penalty * fall / size
        by_y = torch.where(kept, gradient / slope, 0.0)
        along = (by_y * x.sign() * fall).clamp(-most, most)
        return by_y, -power * along, -penalty * (1 + power * size.log()) * along, None


def _larger_root(size: Tensor, penalty: Tensor, power: Tensor) -> Tensor:
    """S + penalty power S^(power - 1) = size for sizes beyond the threshold, by Newton's method.

    The left side is convex in S for positive powers and concave for negative ones. The start lies
    to the right of S or to the left of it, accordingly, and every step stays on its side.
    """
    low = _jump(penalty, power).clamp_min(torch.finfo(size.dtype).tiny)
    root = torch.maximum(size, low)
    for _ in range(NEWTON):
        pull = (penalty.log() + (power - 1) * root.log()).exp()
        slope = 1 + power * ((power - 1) * pull) / root
        following = torch.maximum(root - (root - size + power * pull) / slope, low)
        moved = (following - root).abs() > 4 * torch.finfo(size.dtype).eps * root
        root = following
        if not bool(moved.any()):
            break
    return root


def _jump(penalty: Tensor, power: Tensor) -> Tensor:
    return (2 * (1 - power) * penalty) ** (1 / (2 - power))


def _threshold(penalty: Tensor, power: Tensor) -> Tensor:
    # (2 - p) penalty^(1 / (2 - p)) (2 q)^(-q / (2 - p)) with q = 1 - p, and 0^0 = 1.
    rest = 1 - power
    shrink = torch.special.xlogy(rest, 2 * rest) / (2 - power)
    return (2 - power) * penalty ** (1 / (2 - power)) * (-shrink).exp()


def _entries(y: Tensor) -> Tensor:
    check.floating("y", y)
    if y.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"y: expected float32 or float64, got {y.dtype}")
    return check.finite("y", y)


def _price(y: Tensor, penalty: float | Tensor, power: float | Tensor) -> tuple[Tensor, Tensor]:
    """Both as tensors in the dtype of y, that broadcast to its shape."""
    tensors = []
    for name, value in (("penalty", penalty), ("power", power)):
        tensor = _tensor(name, value, y)
        if tensor.dtype != y.dtype or tensor.device != y.device:
            wanted, got = (f"{t.dtype} on {t.device}" for t in (y, tensor))
            raise TypeError(f"{name}: expected {wanted} as y, got {got}")
        if not _fits(tensor.shape, y.shape):
            wanted, got = tuple(y.shape), tuple(tensor.shape)
            raise ValueError(f"{name}: expected a shape that broadcasts to {wanted}, got {got}")
        tensors.append(tensor)
    return _in_range(*tensors)


def _pair(penalty: float | Tensor, power: float | Tensor) -> tuple[Tensor, Tensor]:
    """Both as tensors of one dtype and shape."""
    like = next((x for x in (penalty, power) if isinstance(x, Tensor)), torch.zeros(()))
    check.floating("penalty, power", like)
    penalty, power = _tensor("penalty", penalty, like), _tensor("power", power, like)
    if penalty.dtype != power.dtype or penalty.device != power.device:
        got = f"{penalty.dtype} on {penalty.device} and {power.dtype} on {power.device}"
        raise TypeError(f"penalty, power: expected one dtype and device, got {got}")
    if not (_fits(penalty.shape, power.shape) or _fits(power.shape, penalty.shape)):
        got = f"{tuple(penalty.shape)} and {tuple(power.shape)}"
        raise ValueError(f"penalty, power: expected shapes that broadcast, got {got}")
    return _in_range(*torch.broadcast_tensors(penalty, power))


def _tensor(name: str, value: float | Tensor, like: Tensor) -> Tensor:
    if isinstance(value, Tensor):
        return check.finite(name, check.floating(name, value))
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number or a tensor, got {type(value).__name__}")
    return torch.tensor(check.number(name, value), dtype=like.dtype, device=like.device)


def _in_range(penalty: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    if check.readable(penalty) and bool((penalty < 0).any()):
        raise ValueError(f"penalty: expected numbers >= 0, got {float(penalty.detach().min())}")
    if check.readable(power) and bool((power > 1).any()):
        raise ValueError(f"power: expected numbers <= 1, got {float(power.detach().max())}")
    return penalty, power


def _fits(shape: torch.Size, target: torch.Size) -> bool:
    """Whether a shape broadcasts to the other one."""
    if len(shape) > len(target):
        return False
    pairs = zip(reversed(shape), reversed(target), strict=False)
    return all(size in (1, wanted) for size, wanted in pairs)
