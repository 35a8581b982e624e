r"""A walk along the Cayley graph: the images of all elements of a finite group.

Every element is one letter times a shorter word, so its image costs one product; asking for the
image of each word anew would cost as many products as the word has letters.

Chapter: ``symmetry``.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from gdl.representations.core import Representation
from gdl.representations.images import _compose


def _walk(rho: Representation) -> Iterator[tuple[int, Tensor]]:
    """The index in ``elements()`` and the image of each element, none of them kept."""
    elements = rho.group.elements()
    letters = {a: rho._letter_image(a) for a in {g.word[0] for g in elements[1:]}}
    index = {g.word: i for i, g in enumerate(elements)}
    followers: list[list[int]] = [[] for _ in elements]
    for i, g in enumerate(elements[1:], start=1):
        followers[index[g.word[1:]]].append(i)
    pending = [(0, rho.image(elements[0]))]
    while pending:
        i, image = pending.pop()
        yield i, image
        for j in followers[i]:
            pending.append((j, _compose(letters[elements[j].word[0]], image)))


def _all_images(rho: Representation) -> Tensor:
    """The images of all elements, stacked in the order of ``elements()``."""
    count = rho.group.order
    first = rho.image(rho.group.identity())
    images = first.new_empty(count, *first.shape)
    for i, image in _walk(rho):
        images[i] = image
    return images


def _require_representation(argument: str, value: object) -> None:
    if not isinstance(value, Representation):
        raise TypeError(f"{argument}: expected a Representation, got {type(value).__name__}")


def _require_permutation(argument: str, rho: object) -> None:
    _require_representation(argument, rho)
    if not rho.is_permutation:
        raise ValueError(f"{argument}: expected generators that permute, got matrices")
