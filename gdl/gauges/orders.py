r"""Types of features in the tangent plane: numbers, vectors and what turns faster.

Chapter: ``gauges``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

import gdl._checks as check
import gdl.gauges._checks as require
from gdl.gauges._irreps import size
from gdl.representations import SO, Representation, circular_irrep

MOST_ORDERS = 64
BLOCK = r"\s*([0-9]{1,9})\s*x\s*([0-9]{1,9})\s*"


class Orders:
    r"""How features turn with the frame: a sum of irreps of SO(2), ``"8x0 + 4x1 + 2x2"``.

        order 0   a number, the same in every frame
        order m   a pair of numbers, which a rotation of vectors by a turns by m a

    A feature is stored flat, block by block in the order of the text, the two numbers of a pair
    next to each other. Orders may repeat and come in any sequence; the same blocks in another
    sequence, or a block in two parts, are other ``Orders``.

    Args:
        orders: text, or pairs (multiplicity, order), or another ``Orders``; multiplicities from 1,
            orders from 0 to 64.

    Attributes:
        blocks: pairs (multiplicity, order), which iteration goes through.
        dim: numbers in a feature.
        top: the highest order.
        scalars: how many numbers have order 0.

    Raises:
        TypeError: neither text nor pairs of integers.
        ValueError: other text, no block, numbers out of range.

    Law tested: ``rotate`` is the matrix of ``representation``, a homomorphism; text, pairs and
    ``str`` give equal orders. Chapter: ``gauges``.

    >>> orders = Orders("2x0 + 1x1")
    >>> orders.dim, orders.top, orders.scalars
    (4, 1, 2)
    >>> orders == Orders([(2, 0), (1, 1)]) == Orders(str(orders))
    True
    """

    def __init__(self, orders: str | Sequence[tuple[int, int]] | Orders):
        self.blocks: tuple[tuple[int, int], ...] = _parsed(orders)
        self.dim = sum(count * size(order) for count, order in self.blocks)
        self.top = max(order for _, order in self.blocks)
        self.scalars = sum(count for count, order in self.blocks if order == 0)

    def split(self, x: Tensor) -> list[Tensor]:
        """The blocks of features (..., dim), each (..., multiplicity, 1 or 2), without a copy.

        Raises: TypeError for no floating-point tensor; ValueError for another last axis.
        """
        check.shaped("x", x, self.dim)
        parts = x.split([count * size(order) for count, order in self.blocks], dim=-1)
        return [
            part.unflatten(-1, (count, size(order)))
            for part, (count, order) in zip(parts, self.blocks, strict=True)
        ]

    def join(self, blocks: Sequence[Tensor]) -> Tensor:
        """Features (..., dim) of the blocks of :meth:`split`.

        Raises: TypeError for no list, for blocks that are no floating-point tensors, and for
        different dtypes; ValueError for another number of blocks, and for shapes that are not
        theirs.
        """
        if not isinstance(blocks, Sequence):
            raise TypeError(f"blocks: expected a list of tensors, got {type(blocks).__name__}")
        if len(blocks) != len(self.blocks):
            raise ValueError(f"blocks: expected {len(self.blocks)} for {self}, got {len(blocks)}")
        for block, (count, order) in zip(blocks, self.blocks, strict=True):
            check.shaped("blocks", block, count, size(order))
            if block.shape[:-2] != blocks[0].shape[:-2]:
                shapes = [tuple(part.shape) for part in blocks]
                raise ValueError(f"blocks: expected the same leading axes, got shapes {shapes}")
            if block.dtype != blocks[0].dtype:
                dtypes = [part.dtype for part in blocks]
                raise TypeError(f"blocks: expected one dtype, got {dtypes}")
        return torch.cat([block.flatten(-2) for block in blocks], -1)

    def rotate(self, x: Tensor, angles: Tensor) -> Tensor:
        r"""Features turned by angles, each by its own.

            order m:  (u, v)  ->  (cos(m a) u - sin(m a) v,  sin(m a) u + cos(m a) v)

        Args:
            x: (..., dim).
            angles: a, in radians, one for each feature; without leading axes of x, the same ones
                along these, and () for one angle. At least as precise as x, so that bfloat16
                features take angles in float32. Below 1/eps of their dtype, where they have no
                digits left.

        Returns:
            The shape and dtype of x.

        Raises:
            TypeError: no floating-point tensors, angles less precise than x.
            ValueError: another last axis of x, angles of a shape that is no end of the other axes
                of x, on another device, not finite, or too large.

        >>> turned = Orders("1x0 + 1x2").rotate(torch.tensor([3.0, 1, 2]), torch.tensor(torch.pi))
        >>> [round(number, 6) for number in turned.tolist()]
        [3.0, 1.0, 2.0]
        """
        blocks = self.split(x)
        _require_angles(angles, x)
        waves = {order: _wave(order, angles) for _, order in self.blocks if order}
        turned = [
            _turned(block, *waves[order]).to(x.dtype) if order else block
            for block, (_, order) in zip(blocks, self.blocks, strict=True)
        ]
        return self.join(turned)

    def representation(self) -> Representation:
        """The representation of SO(2) by which :meth:`rotate` acts."""
        parts = [count * circular_irrep(SO(2), order) for count, order in self.blocks]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.blocks)

    def __len__(self) -> int:
        return len(self.blocks)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Orders) and self.blocks == other.blocks

    def __hash__(self) -> int:
        return hash(self.blocks)

    def __str__(self) -> str:
        return " + ".join(f"{count}x{order}" for count, order in self.blocks)

    def __repr__(self) -> str:
        return f"Orders({str(self)!r})"


def _wave(order: int, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of a multiple of the angles, with an axis for the pairs of a block."""
    turns = (order * angles)[..., None]
    return turns.cos(), turns.sin()


def _turned(pairs: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    u, v = pairs.unbind(-1)
    return torch.stack([cosine * u - sine * v, sine * u + cosine * v], -1)


def _require_angles(angles: Tensor, x: Tensor) -> None:
    check.floating("angles", angles)
    if torch.promote_types(angles.dtype, x.dtype) != angles.dtype:
        raise TypeError(f"angles: expected at least the precision of {x.dtype}, got {angles.dtype}")
    if angles.device != x.device:
        raise ValueError(f"angles: expected device {x.device}, got {angles.device}")
    axes = tuple(x.shape[:-1])
    if tuple(angles.shape) != axes[len(axes) - angles.ndim :]:
        raise ValueError(
            f"angles: expected one for each feature, shape {axes}, got {tuple(angles.shape)}"
        )
    require.moderate("angles", angles, 1)


def _parsed(orders: str | Sequence[tuple[int, int]] | Orders) -> tuple[tuple[int, int], ...]:
    if isinstance(orders, Orders):
        return orders.blocks
    pairs = _read(orders) if isinstance(orders, str) else _pairs(orders)
    if not pairs:
        raise ValueError("orders: expected at least one block, got none")
    return tuple(
        (check.integer("multiplicity", count, 1), check.integer("order", order, 0, MOST_ORDERS))
        for count, order in pairs
    )


def _read(text: str) -> list[tuple[int, int]]:
    matches = [re.fullmatch(BLOCK, part) for part in text.split("+")]
    if not all(matches):
        raise ValueError(f'orders: expected text like "8x0 + 4x1", got {text!r}')
    return [(int(match[1]), int(match[2])) for match in matches]


def _pairs(orders: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    try:
        return [(count, order) for count, order in orders]
    except (TypeError, ValueError):
        raise TypeError(
            f"orders: expected text or pairs (multiplicity, order), got {orders!r}"
        ) from None
