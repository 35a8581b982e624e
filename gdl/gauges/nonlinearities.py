r"""Nonlinearities of features in the tangent plane: what commutes with turning the frame.

A function of each number commutes with no rotation of a pair. Lengths do not see the frame, nor do
numbers of order 0, and a turn of the frame shifts functions on the circle of directions: three
ways out, the last of them up to an error that falls with the number of samples.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

import gdl._checks as check
import gdl.gauges._checks as require
from gdl.equivariance import Constant, full_precision
from gdl.gauges._irreps import size
from gdl.gauges.orders import Orders

Function = Callable[[Tensor], Tensor]


class NormNonlinearity(nn.Module):
    r"""The length of each pair goes through a ReLU with a learned threshold, its direction stays.

        order 0   x -> function(x)
        order m   v -> relu(|v| + b) v / |v|,     and 0 -> 0

    At b = 0, where it starts, pairs pass as they are. For b > 0 the map jumps at v = 0. Lengths
    below 4 over the largest number of the dtype count as 0, but pass if b is not negative.

    Args:
        orders: of the features, as :class:`Orders` reads them.
        function: of the numbers of order 0, entry by entry, not in place.
        device, dtype: of the thresholds b.

    Attributes:
        bias: b, one for each pair, in the order of the features; none for numbers of order 0.

    Shapes: as the input, ``(..., dim)``.

    Raises: TypeError or ValueError for other orders, functions or inputs, in shape, dtype or
        device, and for entries that are not finite.

    Law tested: equivariance to every angle; derivatives are finite at 0 and beside it. Source:
    Worrall et al., Harmonic Networks, CVPR 2017. Chapter: ``gauges``.

    >>> NormNonlinearity("1x0 + 1x1")(torch.tensor([-2.0, 3.0, 4.0])).tolist()
    [0.0, 3.0, 4.0]
    """

    def __init__(
        self,
        orders: str | Orders,
        *,
        function: Function = torch.relu,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.orders, self.function = Orders(orders), _callable(function)
        thresholds = torch.zeros(_pairs(self.orders), **require.made(device, dtype))
        self.bias = nn.Parameter(thresholds)

    def forward(self, x: Tensor) -> Tensor:
        x = _features(x, self.orders, self.bias)
        counts = [count for count, order in self.orders if order]
        thresholds = iter(self.bias.split(counts))
        blocks = zip(self.orders, self.orders.split(x), strict=True)
        return self.orders.join(
            [
                _lengthened(block, next(thresholds)) if order else _applied(self.function, block)
                for (_, order), block in blocks
            ]
        )


class GatedNonlinearity(nn.Module):
    r"""Each pair is multiplied by a number between 0 and 1, which no frame enters.

        order 0   x -> function(x)
        order m   (s, v) -> sigmoid(s) v

    The layer before gives the gates s as well, as numbers of order 0.

    Args:
        orders: of the features that come out, as :class:`Orders` reads them.
        function: of the numbers of order 0, entry by entry.

    Attributes:
        orders_in: what the layer before must give: one gate for each pair, in the order of the
            features, and then the features. Without pairs there are no gates.

    Shapes: ``(..., orders_in.dim) -> (..., orders.dim)``.

    Raises: TypeError or ValueError for other orders, functions or inputs, in shape or dtype, and
        for entries that are not finite.

    Law tested: equivariance to every angle. Source: Weiler et al., 3D Steerable CNNs, NeurIPS 2018.
    Chapter: ``gauges``.

    >>> gate = GatedNonlinearity("1x0 + 1x1")
    >>> gate.orders_in, gate(torch.tensor([0.0, -2.0, 3.0, 4.0])).tolist()
    (Orders('1x0 + 1x0 + 1x1'), [0.0, 1.5, 2.0])
    """

    def __init__(self, orders: str | Orders, *, function: Function = torch.relu):
        super().__init__()
        self.orders, self.function = Orders(orders), _callable(function)
        self.gates = _pairs(self.orders)
        gates = ((self.gates, 0),) if self.gates else ()
        self.orders_in = Orders((*gates, *self.orders))

    def forward(self, x: Tensor) -> Tensor:
        x = _features(x, self.orders_in)
        gates, values = x.split([self.gates, self.orders.dim], -1)
        counts = [count for count, order in self.orders if order]
        factors = iter(gates.sigmoid()[..., None].split(counts, -2))
        blocks = zip(self.orders, self.orders.split(values), strict=True)
        return self.orders.join(
            [
                next(factors) * block if order else _applied(self.function, block)
                for (_, order), block in blocks
            ]
        )


class RegularNonlinearity(nn.Module):
    r"""A function of the values of functions on the circle of directions.

        f(phi) = x_0 + sqrt(2) sum_{m=1}^B <x_m, (cos m phi, sin m phi)>      for each channel
        y_m    = the coefficients up to order B of function(f), from N equidistant samples

    To turn the frame is to shift f. Turns by multiples of 2 pi / N permute the samples, so that the
    layer is exact there; at other angles it is off by what function(f) has beyond order N - B - 1,
    which folds back on to lower orders. For a polynomial of degree p that is nothing from
    N = (p + 1) B + 1 on. For smooth functions it falls faster than any power of N, for a ReLU,
    which leaves kinks, as N^-2.

    Args:
        orders: the orders 0 to B, each in one block and all of one multiplicity, the channels.
        samples: N, at least 2 B + 1, so that a linear function changes nothing.
        function: of the samples, entry by entry.
        device, dtype: of the harmonics.

    Shapes: as the input, ``(..., dim)``.

    Raises: TypeError or ValueError for other orders, too few samples, other functions or inputs, in
        shape, dtype or device, and for entries that are not finite.

    Law tested: turns by 2 pi / N are exact, and all turns for a polynomial from that N on; the
    error falls as N^-2 for a ReLU, as N^-3 for an ELU and faster than N^-3 for SiLU. Source: de
    Haan, Weiler, Cohen and Welling, Gauge Equivariant Mesh CNNs, ICLR 2021. Chapter: ``gauges``.

    >>> x = torch.tensor([0.5, 1.0, -2.0])
    >>> RegularNonlinearity("1x0 + 1x1", 7, torch.square)(x).round(decimals=3).tolist()
    [5.25, 1.0, -2.0]
    """

    def __init__(
        self,
        orders: str | Orders,
        samples: int,
        function: Function = torch.relu,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.orders, self.function = _band(Orders(orders)), _callable(function)
        self.samples = check.integer("samples", samples)
        least = 2 * self.orders.top + 1
        if samples < least:
            raise ValueError(
                f"samples: expected at least {least} for orders up to {self.orders.top}, "
                f"got {samples}"
            )
        self.harmonics = Constant(_harmonics(self.orders, samples), **require.made(device, dtype))

    def forward(self, x: Tensor) -> Tensor:
        harmonics = self.harmonics()
        x = _features(x, self.orders, harmonics)
        with full_precision(x.device):
            values = torch.cat(self.orders.split(x), -1) @ harmonics
            analysed = _applied(self.function, values) @ (harmonics.T / self.samples)
        sizes = [size(order) for _, order in self.orders]
        return self.orders.join(analysed.split(sizes, -1))


def _lengthened(pairs: Tensor, thresholds: Tensor) -> Tensor:
    """Pairs (..., C, 2) along their directions."""
    first, second = pairs.unbind(-1)
    # Below this, the derivative of a direction is no finite number.
    zero = torch.hypot(*pairs.detach().unbind(-1)) < 4 / torch.finfo(pairs.dtype).max
    lengths = torch.hypot(torch.where(zero, 1, first), second)[..., None]
    thresholds = thresholds[:, None]
    moved = torch.relu(lengths + thresholds) * (pairs / lengths)
    # At 0 the output is 0; its derivative there is 0 below a threshold, and 1 without one.
    return torch.where(zero[..., None], (thresholds >= 0) * pairs, moved)


def _harmonics(orders: Orders, samples: int) -> Tensor:
    """The value of each coefficient at each sample, (2 B + 1, N), in the order of the blocks."""
    angles = 2 * math.pi * torch.arange(samples, dtype=torch.float64, device="cpu") / samples
    rows = []
    for _, order in orders:
        if order:
            rows += [math.sqrt(2) * torch.cos(order * angles)]
            rows += [math.sqrt(2) * torch.sin(order * angles)]
        else:
            rows.append(torch.ones_like(angles))
    return torch.stack(rows)


def _band(orders: Orders) -> Orders:
    """The orders, if they are the coefficients of functions on the circle."""
    multiplicities = {count for count, _ in orders}
    complete = sorted(order for _, order in orders) == list(range(orders.top + 1))
    if not complete or len(multiplicities) > 1:
        raise ValueError(
            "orders: expected each order from 0 to the highest in one block, all of one "
            f'multiplicity, as in "4x0 + 4x1 + 4x2", got "{orders}"'
        )
    return orders


def _pairs(orders: Orders) -> int:
    return sum(count for count, order in orders if order)


def _features(x: Tensor, orders: Orders, like: Tensor | None = None) -> Tensor:
    """Return ``x``, in the dtype of ``like``, if it is finite features of these orders."""
    check.shaped("x", x, orders.dim)
    if like is not None:
        if x.device != like.device:
            raise ValueError(f"x: expected device {like.device} as the layer, got {x.device}")
        x = check.typed("x", x, like.dtype)
    return check.finite("x", x)


def _callable(function: Function) -> Function:
    if not callable(function):
        raise TypeError(f"function: expected a function, got {type(function).__name__}")
    return function


def _applied(function: Function, x: Tensor) -> Tensor:
    y = function(x)
    if not isinstance(y, Tensor) or y.shape != x.shape:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ValueError(f"function: expected to keep the shape {tuple(x.shape)}, got {got}")
    # Autocast may widen what a function returns.
    return check.floating("function", y).to(x.dtype)
