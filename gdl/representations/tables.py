r"""Groups as multiplication tables: from words to a table, and from a table to a group.

Chapter: ``symmetry``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gdl.representations.cayley import _all_images
from gdl.representations.core import Element, Group, Representation, _require_group
from gdl.representations.images import _compose
from gdl.representations.words import _keys

TABLE_LIMIT = 2000
TRIPLES_LIMIT = 1000


def multiplication_table(group: Group) -> Tensor:
    r"""The table of a finite group: ``table[i, j]`` is the index of the product ``g_i g_j``.

    Row i is the permutation by which ``g_i`` acts on the elements of the group from the left.

    Returns:
        ``(n, n)``, int64; elements in the order of ``group.elements()``, the identity first.

    Raises:
        TypeError: ``group`` is no Group.
        ValueError: an infinite group, or one of more than 2000 elements.

    Law tested: agrees with products of words; every triple associates. Source: Cayley 1854.
    Chapter: ``symmetry``.

    >>> from gdl.representations import cyclic
    >>> multiplication_table(cyclic(2)).tolist()
    [[0, 1], [1, 0]]
    """
    _require_group("group", group)
    if group.order > TABLE_LIMIT:
        raise ValueError(
            f"group: expected at most {TABLE_LIMIT} elements, got {group.order} in {group.name}"
        )
    generators = [group.generator(i) for i in range(len(group.generator_names))]
    return _all_images(Representation(group, _left_products(group, generators), check=False))


def _left_products(group: Group, factors: Sequence[Element]) -> list[Tensor]:
    """For each factor h the permutation of indices ``g -> h g``."""
    images = _all_images(group.defining)
    index = {key: i for i, key in enumerate(_keys(images))}
    moved = (_compose(group.defining.image(h), images) for h in factors)
    return [torch.tensor([index[key] for key in _keys(stack)]) for stack in moved]


def associator_defects(table: Tensor) -> int:
    r"""The number of triples with ``(a b) c != a (b c)``: none in a group.

    Args:
        table: ``(n, n)``, integers in 0..n-1, n at most 1000; row a, column b holds ``a b``.

    Raises:
        TypeError: neither a tensor, nor an array, nor a list.
        ValueError: not square, no integers, entries out of range, or too large.

    Law tested: zero for groups; for subtraction modulo n, where ``(a - b) - c`` differs from
    ``a - (b - c)`` by 2c, every triple with ``2c != 0``; counted one by one. Chapter: ``symmetry``.

    >>> minus = (torch.arange(5)[:, None] - torch.arange(5)) % 5
    >>> associator_defects(minus), associator_defects((minus - minus.T) % 5)
    (100, 100)
    """
    table = _require_table(table)
    return sum(int((table[row] != row[table]).sum()) for row in table)


def from_table(table: Tensor, name: str = "G") -> Group:
    r"""The group of a multiplication table, as permutations of its own elements.

    The element a acts by left multiplication, ``e_b -> e_{ab}`` (Cayley's theorem), so the points
    keep the numbers of the table, and the element that moves the identity to point a is a itself.
    Generators, named ``g1, g2, ...`` after their rows, are chosen greedily: each is the first
    element that those before it do not generate, so that n elements need at most log2(n).

    Args:
        table: ``(n, n)``, integers in 0..n-1, n at most 1000; row a, column b holds ``a b``.
        name: shown to readers.

    Raises:
        TypeError: neither a tensor, nor an array, nor a list; a name that is no text.
        ValueError: not square, no integers, or too large; an axiom fails, which is named with the
            elements that show it: closure, identity, inverses, associativity.

    Law tested: its table is the given one, renumbered; a broken table is refused by name. Source:
    Cayley 1854. Chapter: ``symmetry``.

    >>> plus = (torch.arange(4)[:, None] + torch.arange(4)) % 4
    >>> from_table(plus, "Z_4").order
    4
    >>> from_table([[0, 1, 2], [1, 0, 1], [2, 2, 0]])
    Traceback (most recent call last):
    ValueError: table: expected inverses, got row 1 with 1 in columns 0 and 2
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected text, got {type(name).__name__}")
    table = _require_table(table)
    identity = _identity(table)
    _require_latin("row", "columns", table)
    _require_latin("column", "rows", table.T)
    _require_associative(table)
    generators = _greedy_generators(table, identity) or [identity]
    return Group(name, {f"g{a}": table[a] for a in generators})


def _greedy_generators(table: Tensor, identity: int) -> list[int]:
    generators: list[int] = []
    found = torch.tensor([identity])
    while len(found) < len(table):
        reached = torch.zeros(len(table), dtype=torch.bool)
        reached[found] = True
        generators.append(int((~reached).nonzero()[0]))
        found = _generated(table, torch.cat([found, torch.tensor(generators[-1:])]))
    return generators


def _generated(table: Tensor, found: Tensor) -> Tensor:
    """The subgroup that some elements, the identity among them, generate."""
    while len(products := table[found][:, found].unique()) > len(found):
        found = products
    return found


# --- axioms ---------------------------------------------------------------------------------------


def _require_table(table: object) -> Tensor:
    if not isinstance(table, (Tensor, np.ndarray, list, tuple)):
        raise TypeError(f"table: expected a tensor, got {type(table).__name__}")
    try:
        table = torch.as_tensor(table)
    except (TypeError, ValueError) as error:
        raise ValueError("table: expected rows of integers of one length") from error
    if table.is_floating_point() or table.is_complex() or table.dtype == torch.bool:
        raise ValueError(f"table: expected integers, got {table.dtype}")
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not len(table):
        raise ValueError(f"table: expected shape (n, n) with n >= 1, got {tuple(table.shape)}")
    count = len(table)
    if count > TRIPLES_LIMIT:
        raise ValueError(f"table: expected at most {TRIPLES_LIMIT} rows, got {count}")
    table = table.to(torch.int64)
    outside = ((table < 0) | (table >= count)).nonzero()
    if len(outside):
        a, b = outside[0].tolist()
        raise ValueError(
            f"table: expected closure, entries in 0..{count - 1}, got {a} {b} = {table[a, b]}"
        )
    return table


def _identity(table: Tensor) -> int:
    everything = torch.arange(len(table))
    from_left = (table == everything).all(1)
    from_right = (table == everything[:, None]).all(0)
    both = (from_left & from_right).nonzero()
    if len(both):
        return int(both[0])
    witness = "no row and no column reads 0 1 2 ..."
    if bool(from_right.any()):
        e = int(from_right.nonzero()[0])
        a = int((table[e] != everything).nonzero()[0])
        witness = f"a {e} = a for every a, but {e} {a} = {table[e, a]}"
    elif bool(from_left.any()):
        e = int(from_left.nonzero()[0])
        a = int((table[:, e] != everything).nonzero()[0])
        witness = f"{e} a = a for every a, but {a} {e} = {table[a, e]}"
    raise ValueError(f"table: expected an identity, got none: {witness}")


def _require_latin(line: str, across: str, table: Tensor) -> None:
    """No element twice in a row: where a has an inverse, ``a b = a c`` implies ``b = c``."""
    for a, row in enumerate(table):
        counts = row.bincount(minlength=len(table))
        if int(counts.max()) > 1:
            value = int((counts > 1).nonzero()[0])
            b, c = (row == value).nonzero().flatten()[:2].tolist()
            raise ValueError(
                f"table: expected inverses, got {line} {a} with {value} in {across} {b} and {c}"
            )


def _require_associative(table: Tensor) -> None:
    for a, row in enumerate(table):
        wrong = (table[row] != row[table]).nonzero()
        if len(wrong):
            b, c = wrong[0].tolist()
            left, right = table[table[a, b], c], table[a, table[b, c]]
            raise ValueError(
                f"table: expected associativity, got ({a} {b}) {c} = {left} "
                f"but {a} ({b} {c}) = {right}"
            )
