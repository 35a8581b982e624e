r"""What insertions of blanks leave alone: iterated sums, the quasi-symmetric functions.

A word is a tuple of monomials, a monomial is a tuple of channels: ``((0,), (0, 1))`` stands for x^0
and then, later in time, x^0 x^1. Chapter: ``sequences``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

import gdl._checks as check
from gdl.sequences import _checks as require

Word = tuple[tuple[int, ...], ...]


def iterated_sums(x: Tensor, words: Sequence[Word]) -> Tensor:
    r"""Products of a sequence with itself at later and later steps, summed over all of them.

        S_w(x) = sum over i_1 < ... < i_r of  x_{i_1}^{w_1} ... x_{i_r}^{w_r}

    where ``x_i^m`` is the product of the channels in the monomial m at step i. Blanks add nothing,
    so these are unchanged by insertions; a change of order changes them. For one channel they are
    the monomial quasi-symmetric functions of the steps. Taken of the differences of x they are
    unchanged where x is held, and these are the invariants of time warping of the source.

    Args:
        x: sequences ``(..., T, d)``, floating-point.
        words: of monomials, in order of time; the letters of a monomial may come in any order.

    Returns:
        ``(..., len(words))``, in time linear in T for every word, prefixes shared.

    Raises:
        TypeError: arguments of other types.
        ValueError: an empty sequence, word or monomial, entries that are not finite, channels out
            of range, sums that overflow.

    Law tested: equal to the sum over all tuples of steps, in integers; unchanged by insertions
    of blanks, changed by permutations; of degree n
    there is nothing else that insertions leave alone. Source: Diehl, Ebrahimi-Fard and Tapia,
    "Time-warping invariants of multidimensional time series", 2020. Chapter: ``sequences``.

    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> iterated_sums(x, [((0,),), ((0,), (0,)), ((0, 0),)]).tolist()
    [6.0, 11.0, 14.0]
    """
    return iterated_sums_path(x, words)[..., -1, :]


def iterated_sums_path(x: Tensor, words: Sequence[Word]) -> Tensor:
    r"""The iterated sums of every beginning of a sequence, by a recurrence.

        S_w(t) = S_w(t-1) + S_v(t-1) x_t^m    for the word w = v m

    It starts at 0, and at 1 for the empty v. Where x is padded, the path is held.

    Arguments and errors are those of :func:`iterated_sums`; the result is ``(..., T, len(words))``.

    Law tested: as for :func:`iterated_sums`, at every step; the path of ``pad(x)`` is the
    path of x under ``hold``. Chapter: ``sequences``.

    >>> x = torch.tensor([[1.0], [2.0], [3.0]])
    >>> iterated_sums_path(x, [((0,), (0,))]).flatten().tolist()
    [0.0, 2.0, 11.0]
    """
    require.sequence("x", x, None)
    checked = _words(words, x.shape[-1])
    paths: dict[Word, Tensor] = {}
    for word in checked:
        for size in range(1, len(word) + 1):
            if word[:size] not in paths:
                paths[word[:size]] = _running(x, word[size - 1], paths.get(word[: size - 1]))
    return require.unspoilt("x", torch.stack([paths[word] for word in checked], -1))


def _compositions(n: int) -> list[tuple[int, ...]]:
    if n == 0:
        return [()]
    return [(first, *rest) for first in range(1, n + 1) for rest in _compositions(n - first)]


def _running(x: Tensor, monomial: tuple[int, ...], earlier: Tensor | None) -> Tensor:
    """The path of a word (..., T) from that of the word without its last monomial."""
    driven = x[..., list(monomial)].prod(-1)
    if earlier is not None:
        driven = driven * functional.pad(earlier[..., :-1], (1, 0))
    return driven.cumsum(-1)


def _words(words: Sequence[Word], channels: int) -> list[Word]:
    _filled("words", words, "words")
    return [_word("words", word, channels - 1) for word in words]


def _word(name: str, word: Word, last: int | None = None) -> Word:
    """The word with sorted monomials, all channels at most ``last``."""
    _filled(name, word, "monomials")
    for monomial in word:
        _filled(name, monomial, "channels")
    return tuple(tuple(sorted(check.integer(name, c, 0, last) for c in m)) for m in word)


def _filled(name: str, values: Sequence, kind: str) -> None:
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name}: expected a tuple of {kind}, got {type(values).__name__}")
    if not values:
        raise ValueError(f"{name}: expected at least one of {kind}, got none")
