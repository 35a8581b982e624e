r"""Deep sets: functions of the elements of a set, whatever their order and their number.

The linear maps of n numbers that commute with all permutations are ``a I + b 1 1^T`` and no others:
an element sees itself, and the sum over all of them.

Chapter: ``graphs``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl._checks as check

AGGREGATIONS = ("sum", "mean", "max")


class DeepSetLayer(nn.Module):
    r"""The permutation-equivariant layer of sets: each element beside the whole.

        x_i' = A x_i + B agg_j x_j + c

    With the sum or the mean these are all affine maps that commute with permutations; the maximum,
    taken in each channel, is none of them and commutes as well.

    Args:
        in_channels, out_channels: features of an element.
        aggregation: ``"sum"``, ``"mean"`` or ``"max"``.
        bias: whether to add c.
        device, dtype: of the weights.

    Shapes: ``layer(x, mask)`` with x ``(B, n, in_channels)`` and an optional bool mask ``(B, n)``,
    True where there is an element; returns ``(B, n, out_channels)``, zero where there is none. Or
    all without B. What stands in x outside the mask is not looked at, NaN included.

    Raises:
        TypeError: arguments of other types, an input of another dtype than the weights.
        ValueError: an input or a mask of another shape, elements that are not finite, and the mean
            or the maximum of an empty set; its sum is 0. Compiled code does not look at the mask,
            and takes 0 for all three.

    Laws tested: ``f(P x) = P f(x)`` for all permutations and products; for the sum the two maps
    span what the solver finds; sets of different sizes in one batch give what each gives alone; a
    weight for one position breaks it. Source: Zaheer et al., NeurIPS 2017. Chapter: ``graphs``.

    >>> layer = DeepSetLayer(3, 5)
    >>> layer(torch.ones(2, 7, 3)).shape, sum(w.numel() for w in layer.parameters()) == 2 * 15 + 5
    (torch.Size([2, 7, 5]), True)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        aggregation: str = "sum",
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        check.one_of("aggregation", aggregation, AGGREGATIONS)
        self.aggregation = aggregation
        made = {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}
        check.boolean("bias", bias)
        self.own = nn.Linear(in_channels, out_channels, bias=bias, **made)
        self.whole = nn.Linear(in_channels, out_channels, bias=False, **made)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        check.shaped("x", x, None, self.in_channels)
        if x.ndim not in (2, 3):
            raise ValueError(
                f"x: expected shape (B, n, {self.in_channels}), or without B, got {tuple(x.shape)}"
            )
        x = check.typed("x", x, self.own.weight.dtype)
        if mask is not None:
            _require_mask(mask, x, x.ndim - 1)
            x = torch.where(mask.unsqueeze(-1), x, 0)
        check.finite("x", x)
        y = self.own(x) + self.whole(_aggregated(x, mask, self.aggregation)).unsqueeze(-2)
        return y if mask is None else torch.where(mask.unsqueeze(-1), y, 0)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return f"aggregation={self.aggregation}"


class DeepSets(nn.Module):
    r"""A function of sets: elements one by one, their sum, and the answer.

        f({x_1, ..., x_n}) = rho(agg_i phi(x_i))

    Args:
        phi: any module that maps elements ``(N, ...)`` to features ``(N, F)``: a perceptron, a
            network of images, an embedding of integers.
        rho: any module that maps ``(B, F)`` to answers.
        aggregation: ``"sum"``, ``"mean"`` or ``"max"``.

    Shapes: ``model(x, mask)`` with x ``(B, n, ...)`` of any dtype that phi takes and an optional
    bool mask ``(B, n)``, True where there is an element; returns what rho does of ``(B, F)``.
    With a mask phi sees the elements only, so that padding changes nothing, batch norm included.

    Raises:
        TypeError: ``phi`` or ``rho`` is no module, another input or mask.
        ValueError: an input or a mask of another shape, elements that are not finite, features of
            another shape, and the mean or the maximum of an empty set; its sum is 0, so that the
            answer is ``rho(0)``.

    Laws tested: the order of the elements does not matter; sets of different sizes in one batch
    give what each gives alone; features that depend on the place break it. Source: Zaheer et al.,
    NeurIPS 2017. Chapter: ``graphs``.

    >>> model = DeepSets(nn.Flatten(), nn.Linear(64, 1))
    >>> model(torch.ones(2, 5, 1, 8, 8)).shape
    torch.Size([2, 1])
    """

    def __init__(self, phi: nn.Module, rho: nn.Module, aggregation: str = "sum"):
        super().__init__()
        for name, module in (("phi", phi), ("rho", rho)):
            if not isinstance(module, nn.Module):
                raise TypeError(f"{name}: expected a torch.nn.Module, got {type(module).__name__}")
        check.one_of("aggregation", aggregation, AGGREGATIONS)
        self.phi, self.rho, self.aggregation = phi, rho, aggregation

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if not isinstance(x, Tensor):
            raise TypeError(f"x: expected a torch.Tensor, got {type(x).__name__}")
        if x.ndim < 2:
            raise ValueError(f"x: expected shape (B, n, ...), got {tuple(x.shape)}")
        if mask is not None:
            _require_mask(mask, x, 2)
        elements = x.flatten(0, 1) if mask is None else x[mask]
        if elements.is_floating_point():
            check.finite("x", elements)
        features = self.phi(elements)
        if features.ndim != 2 or len(features) != len(elements):
            raise ValueError(
                f"phi: expected features ({len(elements)}, F), got shape {tuple(features.shape)}"
            )
        if mask is None:
            sets = features.reshape(*x.shape[:2], features.shape[1])
        else:
            sets = features.new_zeros(*x.shape[:2], features.shape[1])
            sets = sets.index_put((mask,), features)
        return self.rho(_aggregated(sets, mask, self.aggregation))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"aggregation={self.aggregation}"


def _require_mask(mask: Tensor, x: Tensor, axes: int) -> None:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask: expected a bool tensor, got {got}")
    if mask.shape != x.shape[:axes] or mask.device != x.device:
        raise ValueError(
            f"mask: expected shape {tuple(x.shape[:axes])} on {x.device}, got {tuple(mask.shape)} "
            f"on {mask.device}"
        )


def _aggregated(x: Tensor, mask: Tensor | None, aggregation: str) -> Tensor:
    """From (..., n, C) to (..., C), over the elements of the mask; x is zero outside of it."""
    if aggregation == "sum":
        return x.sum(-2)
    _require_elements(x, mask, aggregation)
    if mask is None:
        return x.mean(-2) if aggregation == "mean" else x.amax(-2)
    if aggregation == "mean":
        return x.sum(-2) / mask.sum(-1, keepdim=True).clamp(min=1)
    largest = torch.where(mask.unsqueeze(-1), x, -math.inf).amax(-2)
    return torch.where(mask.any(-1, keepdim=True), largest, 0)


def _require_elements(x: Tensor, mask: Tensor | None, aggregation: str) -> None:
    empty = x.shape[-2] == 0
    if mask is not None and check.readable(mask):
        empty = empty or not bool(mask.any(-1).all())
    if empty:
        raise ValueError(f'x: expected no empty set, because the aggregation is "{aggregation}"')
