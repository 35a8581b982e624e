r"""What insertions of blanks leave alone: iterated sums, the quasi-symmetric functions.

A word is a tuple of monomials, a monomial is a tuple of channels: ``((0,), (0, 1))`` stands for x^0
and then, later in time, x^0 x^1. Chapter: ``sequences``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement, product
from math import comb

import torch
from torch import Tensor
from torch.nn import functional

import gdl._checks as check
from gdl.sequences import _checks as require

Word = tuple[tuple[int, ...], ...]

_MOST_WORDS = 2**20
_LONGEST_PRODUCT = 16  # two words of 8 monomials have up to 265,729 terms


def compositions(n: int) -> list[tuple[int, ...]]:
    r"""The 2^(n-1) ways to write n as an ordered sum of positive ints.

    Args:
        n: from 1 to 21.

    Raises:
        TypeError: not an int.
        ValueError: out of range.

    Law tested: their number; each adds up to n; none occurs twice. Chapter: ``sequences``.

    >>> compositions(3)
    [(1, 1, 1), (1, 2), (2, 1), (3,)]
    """
    return _compositions(check.integer("n", n, 1, _MOST_WORDS.bit_length()))


def monomial_words(channels: int, degree: int) -> list[Word]:
    r"""All words of a degree, that is with so many letters in all their monomials together.

    For one channel they are the compositions of the degree, as powers of that channel.

    Args:
        channels: d, the words use 0 to d - 1.
        degree: at least 1.

    Returns:
        At most 2^20 words, each monomial sorted.

    Raises:
        TypeError: arguments that are not ints.
        ValueError: ints out of range, too many words.

    Law tested: their number is the coefficient of t^degree in ``1 / (2 - (1 - t)^-d)``. Chapter:
    ``sequences``.

    >>> monomial_words(1, 2)
    [((0,), (0,)), ((0, 0),)]
    >>> len(monomial_words(2, 2))
    7
    """
    require.sizes(channels=channels)
    check.integer("degree", degree, 1, _MOST_WORDS.bit_length())
    if _count(channels, degree) > _MOST_WORDS:
        raise ValueError(f"degree: expected at most {_MOST_WORDS} words, got more at {degree}")
    return [
        word
        for parts in _compositions(degree)
        for word in product(*(combinations_with_replacement(range(channels), p) for p in parts))
    ]


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
    of blanks, changed by permutations; products are sums by :func:`quasi_shuffle`; of degree n
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


def quasi_shuffle(a: Word, b: Word) -> Counter[Word]:
    r"""How a product of two iterated sums is one: ``S_a S_b = sum_w n_w S_w``.

    The steps of b come before, between and after those of a, or at the same time, where monomials
    multiply: with the last monomials split off, ``a = a' m`` and ``b = b' n``,

        a * b = (a' * b) m + (a * b') n + (a' * b') mn.

    Args:
        a: a word.
        b: a word; the two have at most 16 monomials together.

    Returns:
        The words w with their numbers n_w, monomials sorted.

    Raises:
        TypeError: arguments that are not words of ints.
        ValueError: an empty word or monomial, negative channels, words that are too long.

    Law tested: the identity, in integers; the sum of the numbers is Delannoy's. Source: as for
    :func:`iterated_sums`. Chapter: ``sequences``.

    >>> dict(quasi_shuffle(((0,),), ((0,),)))
    {((0,), (0,)): 2, ((0, 0),): 1}
    """
    a, b = _word("a", a), _word("b", b)
    if len(a) + len(b) > _LONGEST_PRODUCT:
        raise ValueError(
            f"b: expected at most {_LONGEST_PRODUCT} monomials with those of a, "
            f"got {len(a)} and {len(b)}"
        )
    table: dict[tuple[int, int], Counter[Word]] = {(0, 0): Counter({(): 1})}
    for i, j in product(range(len(a) + 1), range(len(b) + 1)):
        both = tuple(sorted(a[i - 1] + b[j - 1])) if i and j else ()
        ends = [((i - 1, j), a[i - 1 : i]), ((i, j - 1), b[j - 1 : j]), ((i - 1, j - 1), (both,))]
        terms = table.setdefault((i, j), Counter())
        for before, end in ends:
            for word, number in table.get(before, Counter()).items():
                terms[word + end] += number
    return table[len(a), len(b)]


def _compositions(n: int) -> list[tuple[int, ...]]:
    if n == 0:
        return [()]
    return [(first, *rest) for first in range(1, n + 1) for rest in _compositions(n - first)]


def _count(channels: int, degree: int) -> int:
    """How many words there are, by the degree of the first monomial."""
    counts = [1]
    for n in range(1, degree + 1):
        counts.append(sum(comb(channels + k - 1, k) * counts[n - k] for k in range(1, n + 1)))
    return counts[degree]


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
