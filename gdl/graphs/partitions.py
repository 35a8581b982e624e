r"""Set partitions: the permutation-equivariant maps between tensors, one by one.

A linear map from tensors of order k to tensors of order l has a matrix ``W[i_1..i_l, j_1..j_k]``.
It commutes with all permutations of 0..n-1 exactly if its entries depend only on which of the k + l
indices are equal, that is on a partition of the k + l axes. Throughout, a partition is the tuple of
the blocks of its axes, first those of the output and then those of the input, with the blocks
numbered in the order in which they appear: a *restricted growth string*.

Chapter: ``graphs``.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable

import torch
from torch import Tensor

import gdl._checks as check

Partition = tuple[int, ...]

MOST_AXES = 10
MOST_ENTRIES = 10**8
MOST_ELEMENTS = 1000
BASES = ("diagram", "orbit")


def set_partitions(m: int) -> tuple[Partition, ...]:
    r"""All partitions of m things, as restricted growth strings in lexicographic order.

    ``a_0 = 0`` and ``a_p <= 1 + max(a_0, ..., a_(p-1))``: the block of each thing, blocks numbered
    as they appear. The one block comes first, all things apart come last, and a partition comes
    before those that it is coarser than.

    Args:
        m: 0 to 10; nothing has one partition, which is empty.

    Raises: TypeError or ValueError unless ``m`` is an integer from 0 to 10.
    Law tested: there are ``bell(m)``, all different; with j blocks, Stirling's number of them; the
    same partitions as sympy's. Chapter: ``graphs``.

    >>> set_partitions(3)
    ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (0, 1, 2))
    """
    partitions: tuple[Partition, ...] = ((),)
    for _ in range(check.integer("m", m, 0, MOST_AXES)):
        partitions = tuple(
            (*shorter, block)
            for shorter in partitions
            for block in range(count_blocks(shorter) + 1)
        )
    return partitions


def count_blocks(partition: Iterable[Hashable]) -> int:
    r"""The number of blocks of a partition.

    Raises: TypeError if ``partition`` is no sequence of labels.
    Law tested: the partitions of m things into j blocks are counted by Stirling's numbers.
    Chapter: ``graphs``.

    >>> count_blocks((0, 1, 0, 2))
    3
    """
    return len(set(_labels("partition", partition)))


def canonical(blocks: Iterable[Hashable]) -> Partition:
    r"""The restricted growth string of any labels: equal labels share a block.

    Raises: TypeError if ``blocks`` is no sequence of labels.
    Law tested: leaves ``set_partitions`` as they are, whatever their blocks are called.
    Chapter: ``graphs``.

    >>> canonical("abacb")
    (0, 1, 0, 2, 1)
    """
    numbers: dict[Hashable, int] = {}
    return tuple(numbers.setdefault(block, len(numbers)) for block in _labels("blocks", blocks))


def _labels(name: str, blocks: Iterable[Hashable]) -> tuple[Hashable, ...]:
    if not isinstance(blocks, Iterable):
        raise TypeError(f"{name}: expected a sequence of labels, got {type(blocks).__name__}")
    labels = tuple(blocks)
    for label in labels:
        if not isinstance(label, Hashable):
            raise TypeError(f"{name}: expected labels like 0, 1, ..., got {label!r}")
    return labels


def _stirling_row(m: int) -> list[int]:
    row = [1]
    for _ in range(m):
        pairs = zip([*row, 0], [0, *row], strict=True)
        row = [j * joins + opens for j, (joins, opens) in enumerate(pairs)]
    return row


def bell(m: int) -> int:
    r"""The Bell number: all partitions of m things, ``B(m) = sum_j S(m, j)``.

    Raises: TypeError or ValueError unless ``m`` is an integer from 0 to 1000.
    Law tested: ``B(m + 1) = sum_i binom(m, i) B(i)``. Chapter: ``graphs``.

    >>> [bell(m) for m in range(7)]
    [1, 1, 2, 5, 15, 52, 203]
    """
    return sum(_stirling_row(check.integer("m", m, 0, MOST_ELEMENTS)))


def dimension_by_partitions(in_order: int, out_order: int, n: int) -> int:
    r"""The number of independent permutation-equivariant maps between tensors over n points.

        dim Hom_(S_n)(R^(n^k), R^(n^l)) = sum_(j <= n) S(k + l, j),    Bell(k + l) if n >= k + l

    A partition with more than n blocks describes no index tuple and drops out.

    Args:
        in_order, out_order: k and l.
        n: number of points, at least 1.

    Raises: TypeError or ValueError for other arguments.
    Law tested: equals the number of orbits, the average of characters and the rank of the maps of
    a layer. Source: Maron, Ben-Hamu, Shamir and Lipman, ICLR 2019. Chapter: ``graphs``.

    >>> [dimension_by_partitions(2, 2, n) for n in (1, 2, 3, 4, 5)]
    [1, 8, 14, 15, 15]
    """
    check.integer("in_order", in_order, 0, MOST_ELEMENTS // 2)
    check.integer("out_order", out_order, 0, MOST_ELEMENTS // 2)
    return sum(_stirling_row(in_order + out_order)[: check.integer("n", n, 1) + 1])


def partition_map(
    partition: Partition, in_order: int, out_order: int, n: int, *, basis: str = "diagram"
) -> Tensor:
    r"""The equivariant map that belongs to a partition, a matrix of zeros and ones.

        diagram:  W[i, j] = 1 if indices are equal within each block
        orbit:    W[i, j] = 1 if indices are equal exactly within each block

    Diagrams are what a layer computes: take diagonals, sum, repeat. The orbit maps have disjoint
    supports, and those of more than n blocks vanish; then the diagrams are dependent.

    Args:
        partition: of the ``out_order + in_order`` axes, those of the output first.
        in_order, out_order: k and l.
        n: number of points, at least 1.
        basis: ``"diagram"`` or ``"orbit"``.

    Returns: float64 ``(n^l, n^k)``, indices in row-major order.

    Raises: TypeError or ValueError for other arguments, a tuple that is no restricted growth string
    of that length, or more than 10^8 entries.
    Law tested: the orbit maps are the orbits that the solver finds, in its order; the diagrams are
    their sums over coarser partitions. Source: the two bases of the
    partition algebra, Benkart and Halverson. Chapter: ``graphs``.

    >>> partition_map((0, 1), 1, 1, 2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    >>> partition_map((0, 1), 1, 1, 2, basis="orbit").tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    check.integer("in_order", in_order, 0, MOST_AXES)
    axes = check.integer("out_order", out_order, 0, MOST_AXES) + in_order
    check.integer("n", n, 1)
    check.one_of("basis", basis, BASES)
    _require_partition(partition, axes)
    if n**axes > MOST_ENTRIES:
        raise ValueError(f"n: expected at most {MOST_ENTRIES} entries, got {n} to the {axes}")
    index = [
        torch.arange(n).reshape([-1 if a == axis else 1 for a in range(axes)])
        for axis in range(axes)
    ]
    holds = torch.ones([n] * axes, dtype=torch.bool)
    first = [partition.index(block) for block in range(count_blocks(partition))]
    for axis, block in enumerate(partition):
        holds &= index[axis] == index[first[block]]
    if basis == "orbit":
        for a, b in itertools.combinations(first, 2):
            holds &= index[a] != index[b]
    return holds.reshape(n**out_order, n**in_order).to(torch.float64)


def _require_partition(partition: Partition, axes: int) -> None:
    if not isinstance(partition, tuple):
        raise TypeError(f"partition: expected a tuple, got {type(partition).__name__}")
    if len(partition) != axes or canonical(_labels("partition", partition)) != partition:
        raise ValueError(
            f"partition: expected a restricted growth string of {axes} axes, got {partition}"
        )
