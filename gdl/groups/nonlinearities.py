r"""Nonlinearities of fields: what commutes with the representation on the fibre.

Pointwise functions commute with permutations only; a function of lengths, and a product with an
invariant, with every orthogonal representation.

Chapter: ``groups``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gdl.groups._checks as check
from gdl.equivariance import Constant
from gdl.groups.fibres import _block_of, _fibres, _lengths, blocks
from gdl.representations import Representation, trivial


class PointwiseNonlinearity(nn.Module):
    r"""A function of each number, for fibres on which the group permutes.

    Args:
        rho: a permutation representation: regular, cosets, trivial, and sums of them.
        function: maps tensors entry by entry, such as torch.relu.

    Shapes: as the input.

    Raises: TypeError or ValueError for other representations, with the cure.
    Law tested: equivariance; on a rotated vector relu breaks it. Source: Cohen and Welling 2016,
    equation (15). Chapter: ``groups``.

    >>> from gdl.representations import cyclic, regular
    >>> PointwiseNonlinearity(regular(cyclic(4)), torch.tanh)(torch.zeros(1, 4, 2, 2)).shape
    torch.Size([1, 4, 2, 2])
    """

    def __init__(self, rho: Representation, function: Callable[[Tensor], Tensor] = torch.relu):
        super().__init__()
        why = "a function of each entry does not commute with it, use a norm or a gate"
        self.rho, self.function = check.permutation("rho", rho, why), function
        if not callable(function):
            raise TypeError(f"function: expected a function, got {type(function).__name__}")

    def forward(self, x: Tensor) -> Tensor:
        check.field("x", x, self.rho.dim)
        y = self.function(x)
        if not isinstance(y, Tensor) or y.shape != x.shape:
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ValueError(f"function: expected to keep {tuple(x.shape)}, got {got}")
        return y


class NormNonlinearity(nn.Module):
    r"""The length of each block goes through a ReLU with a learned threshold, its direction stays.

        v -> relu(|v| + b) v / |v|,     and 0 -> 0

    Args:
        channels: fields.
        rho: an orthogonal representation, block by block.
        device, dtype: of the thresholds b, one for each channel and block.

    Shapes: as the input, ``(B, channels * d, h, w)``.

    Raises: TypeError or ValueError for other representations or inputs.
    Law tested: equivariance to every rotation of the fibre; gradients are finite at 0, and beside
    it those of the formula. Source: Worrall et al. 2017. Chapter: ``groups``.

    >>> from gdl.representations import SO, circular_irrep
    >>> NormNonlinearity(3, circular_irrep(SO(2), 1))(torch.zeros(1, 6, 2, 2)).shape
    torch.Size([1, 6, 2, 2])
    """

    def __init__(
        self,
        channels: int,
        rho: Representation,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        check.real_dtype(dtype)
        self.rho = check.orthogonal("rho", rho)
        self.sizes = blocks(rho)
        self.block = Constant(_block_of(self.sizes), device=device)
        thresholds = torch.zeros(channels, len(self.sizes), device=device, dtype=dtype)
        self.bias = nn.Parameter(thresholds)

    def forward(self, x: Tensor) -> Tensor:
        check.field("x", x, self.rho.dim, self.channels)
        fibres = _fibres(x, self.channels, self.rho.dim)
        lengths, threshold = _lengths(fibres, self.sizes), self.bias[..., None, None]
        # Below this the slope across, (|v| + b) / |v|, may be no finite number.
        zero = lengths < 4 * threshold.clamp(min=1) / torch.finfo(lengths.dtype).max
        block = self.block()
        units = fibres / torch.where(zero, 1, lengths).index_select(-3, block)
        scaled = F.relu(lengths + threshold).index_select(-3, block) * units
        # At 0 the output is 0; its derivative there is 0 below a threshold, and 1 without one.
        near_zero = (threshold >= 0).to(fibres).index_select(-3, block) * fibres
        return torch.where(zero.index_select(-3, block), near_zero, scaled).flatten(-4, -3)


class GatedNonlinearity(nn.Module):
    r"""Each block of a field is multiplied by an invariant number between 0 and 1.

        (s, v) -> sigmoid(s) v

    The layer before gives a field of ``rho_in = k * trivial + rho``: the gates first, one for each
    of the k blocks of rho.

    Args:
        rho: any representation.

    Attributes:
        rho_in: what the layer before must give.

    Shapes: ``(B, C (k + d), h, w) -> (B, C d, h, w)``.

    Raises: TypeError or ValueError for other types or inputs.
    Law tested: equivariance. Source: Weiler et al. 2018, 3D Steerable CNNs.
    Chapter: ``groups``.

    >>> from gdl.representations import SO, circular_irrep
    >>> gate = GatedNonlinearity(circular_irrep(SO(2), 1))
    >>> gate.rho_in.dim, gate(torch.zeros(1, 4 * 3, 2, 2)).shape
    (3, torch.Size([1, 8, 2, 2]))
    """

    def __init__(self, rho: Representation):
        super().__init__()
        self.rho = check.representation("rho", rho)
        sizes = blocks(rho)
        self.gates = len(sizes)
        self.block = Constant(_block_of(sizes))
        with torch.device("cpu"):
            self.rho_in = self.gates * trivial(rho.group) + rho

    def forward(self, x: Tensor) -> Tensor:
        channels = check.field("x", x, self.rho_in.dim)
        fibres = _fibres(x, channels, self.rho_in.dim)
        gates, values = fibres.split([self.gates, self.rho.dim], dim=-3)
        return (values * gates.sigmoid().index_select(-3, self.block())).flatten(-4, -3)
