r"""An element of a group is a word in its generators; a finite group is enumerated word by word.

Chapter: ``one_equation``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gdl.representations.images import _compose

if TYPE_CHECKING:
    from gdl.representations.core import Group

ENUMERATION_LIMIT = 50_000
MEMORY_LIMIT = 2**29

Letter = int | tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Element:
    r"""An element of a group, written as a word in the generators.

    A letter is ``i + 1`` for the i-th discrete generator, ``-(i + 1)`` for its inverse, or a tuple
    of coefficients ``c`` for ``exp(sum_a c_a X_a)``. The word ``(a, b)`` is the product ``a b``, so
    ``b`` acts first.

    Law tested: ``rho(g * h) = rho(g) rho(h)`` and ``rho(g.inverse()) = rho(g)^-1``.
    Chapter: ``one_equation``.

    >>> from gdl.representations import cyclic
    >>> r = cyclic(4).generator(0)
    >>> (r * r * r.inverse()).word
    (1, 1, -1)
    """

    group: Group
    word: tuple[int | tuple[float, ...], ...]

    def __mul__(self, other: Element) -> Element:
        if not isinstance(other, Element):
            return NotImplemented
        _require_same_group("other", self.group, other.group)
        return Element(self.group, self.word + other.word)

    def inverse(self) -> Element:
        """The inverse: the letters inverted, in reverse order."""
        return Element(self.group, tuple(_inverse_letter(a) for a in reversed(self.word)))

    def __repr__(self) -> str:
        return f"Element({self.group.name}, {self.word})"


def _inverse_letter(letter: Letter) -> Letter:
    return -letter if isinstance(letter, int) else tuple(-c for c in letter)


def _require_element(argument: str, group: Group, value: object) -> None:
    if not isinstance(value, Element):
        raise TypeError(f"{argument}: expected an Element, got {type(value).__name__}")
    _require_same_group(argument, group, value.group)


def _require_same_group(argument: str, expected: Group, got: Group) -> None:
    if expected != got:
        raise ValueError(f"{argument}: expected group {expected.name}, got {got.name}")


def _keys(images: Tensor) -> list[bytes]:
    """A hashable form of each image in a stack; adding 0.0 turns -0.0 into 0.0."""
    rows = images.numpy()
    if images.ndim == 3:
        rows = np.round(rows, 6) + 0.0
    return [row.tobytes() for row in rows]


def _breadth_first(
    group: Group, order: int | None = None, memory: int | None = None
) -> dict[bytes, Element]:
    """Shortest words of all elements by the keys of their images, the identity first."""
    order, memory = order or ENUMERATION_LIMIT, memory or MEMORY_LIMIT
    letters = [a for i in range(len(group.generator_names)) for a in (i + 1, -(i + 1))]
    frontier = [group.identity()]
    images = group.defining.image(frontier[0])[None]
    found = dict(zip(_keys(images), frontier, strict=True))
    while frontier:
        moved = [_compose(group.defining._letter_image(a), images) for a in letters]
        keys = [_keys(m) for m in moved]
        following, chosen = [], []
        for i, g in enumerate(frontier):
            for a, image, key in zip(letters, moved, keys, strict=True):
                if key[i] not in found:
                    found[key[i]] = Element(group, (a, *g.word))
                    following.append(found[key[i]])
                    chosen.append(image[i])
        if following:
            frontier, images = following, torch.stack(chosen)
            _require_small(group, len(found), frontier[0], images, order, memory)
        else:
            frontier = []
    return found


def _require_small(
    group: Group, count: int, longest: Element, images: Tensor, order: int, memory: int
) -> None:
    """Refuse an enumeration that grows without end, before it fills the memory."""
    bytes_each = images[0].numel() * 8 + len(longest.word) * 8
    if count > order or count * bytes_each > memory:
        raise ValueError(f"group: {group.name} is infinite or too large to enumerate")
    if images.ndim == 3 and float(images.abs().max()) > 1e9:
        raise ValueError(f"group: the elements of {group.name} grow without bound")


def _random_word(group: Group, rng: np.random.Generator) -> tuple[Letter, ...]:
    word: tuple[int | tuple[float, ...], ...] = ()
    if group.algebra_names:
        word += (tuple(float(c) for c in rng.normal(size=len(group.algebra_names))),)
    if group.generator_names:
        letters = rng.integers(1, len(group.generator_names) + 1, size=rng.integers(1, 33))
        word += tuple(int(a) for a in letters * rng.choice([-1, 1], size=len(letters)))
    return word
