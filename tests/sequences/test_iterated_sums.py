"""Iterated sums against all tuples of steps, and that insertions leave nothing else alone."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import reduce
from itertools import combinations, combinations_with_replacement

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gdl.sequences.invariants import (
    Word,
    iterated_sums,
    iterated_sums_path,
)
from gdl.sequences.warps import hold, hold_matrix, pad, pad_matrix
from tests.sequences.test_warps import null_space
from tests.test_representations import refuses

F64 = torch.float64
WORDS: list[Word] = [
    ((0,),), ((1,),), ((0,), (1,)), ((1,), (0,)), ((0, 1),), ((0, 0), (1,)), ((1,), (0, 0)),
    ((0,), (0, 1), (1,)), ((1,), (1,), (1,)), ((0, 0, 1), (0,), (1, 1)),
]  # fmt: skip


def integers(*shape: int, seed: int = 0) -> Tensor:
    """Whole numbers from -4 to 5, whose sums and products are exact."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 6, shape, generator=generator).double()


def over_all_tuples(x: list[list], word: Word):
    """The definition, in the numbers that x holds."""
    return sum(
        math.prod(x[i][c] for i, monomial in zip(steps, word, strict=True) for c in monomial)
        for steps in combinations(range(len(x)), len(word))
    )


def monomial_words(channels: int, degree: int) -> list[Word]:
    """The words of a degree, that is of so many letters: a monomial, and then another word."""
    if degree == 0:
        return [()]
    return [
        (monomial, *word)
        for size in range(1, degree + 1)
        for monomial in combinations_with_replacement(range(channels), size)
        for word in monomial_words(channels, degree - size)
    ]


insertions = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(sorted)


# --- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_against_all_tuples_in_integers(steps, seed):
    x = integers(steps, 2, seed=seed)
    oracle = [over_all_tuples(x.int().tolist(), word) for word in WORDS]
    assert iterated_sums(x, WORDS).tolist() == oracle
    path = iterated_sums_path(x, WORDS)
    for t in range(steps):
        assert path[t].tolist() == [over_all_tuples(x[: t + 1].int().tolist(), w) for w in WORDS]


def test_against_all_tuples_in_fractions():
    x = integers(6, 2, seed=3) / 8
    exact = [[Fraction(entry) for entry in row] for row in x.tolist()]
    oracle = [float(over_all_tuples(exact, word)) for word in WORDS]
    assert iterated_sums(x, WORDS).tolist() == oracle


def test_batches_dtypes_and_order_of_words():
    x = torch.randn(2, 3, 7, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    sums = iterated_sums(x, WORDS)
    assert sums.shape == (2, 3, len(WORDS)) and sums.dtype == F64
    assert iterated_sums_path(x, WORDS).shape == (2, 3, 7, len(WORDS))
    assert torch.equal(sums[1, 2], iterated_sums(x[1, 2], WORDS))
    for k, word in enumerate(WORDS):
        assert torch.equal(iterated_sums(x, [word])[..., 0], sums[..., k])
    single = iterated_sums(x.float(), WORDS)
    assert single.dtype == torch.float32 and torch.allclose(single.double(), sums, atol=1e-4)


def test_letters_of_a_monomial_commute():
    x = integers(6, 2)
    assert torch.equal(iterated_sums(x, [[(1, 0, 0), [1]]]), iterated_sums(x, [((0, 0, 1), (1,))]))


def test_sums_are_differentiable():
    x = torch.randn(2, 4, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    x[0, 1] = 0
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: iterated_sums_path(x, WORDS), x)


def test_many_steps_and_long_words():
    n = 20_000
    ones = torch.ones(n, 1, dtype=F64)
    words = [((0,),) * r for r in (1, 2, 3)]
    assert iterated_sums(ones, words).tolist() == [math.comb(n, r) for r in (1, 2, 3)]
    assert iterated_sums(ones[:1500], [((0,),) * 1500]).tolist() == [1.0]


# --- what insertions do -------------------------------------------------------------------------


@given(insertions, st.integers(0, 2))
def test_blanks_change_no_sum(places, seed):
    x = integers(5, 2, seed=seed)
    assert torch.equal(iterated_sums(pad(x, places), WORDS), iterated_sums(x, WORDS))
    path = iterated_sums_path(x, WORDS)
    assert torch.equal(iterated_sums_path(pad(x, places), WORDS), hold(path, places))


@given(insertions, st.integers(0, 2))
def test_holds_change_no_sum_of_differences(places, seed):
    """Time warping in the sense of the source."""
    x = integers(5, 2, seed=seed)

    def steps(x: Tensor) -> Tensor:
        return x.diff(dim=-2, prepend=torch.zeros_like(x[:1]))

    assert torch.equal(iterated_sums(steps(hold(x, places)), WORDS), iterated_sums(steps(x), WORDS))


def test_sums_of_neighbours_and_of_held_steps_change():
    x = integers(5, 1).abs() + 1

    def neighbours(x: Tensor) -> float:
        return float((x[1:] * x[:-1]).sum())

    assert neighbours(pad(x, [2])) != neighbours(x)
    words = monomial_words(1, 2)
    assert (iterated_sums(hold(x, [2]), words) != iterated_sums(x, words)).all()


def test_a_change_of_order_changes_them():
    x = integers(5, 2)
    swapped = x[[0, 2, 1, 3, 4]]
    ordered = [((0,), (1,)), ((1,), (0,)), ((0, 0), (1,)), ((0,), (1, 1))]
    assert (iterated_sums(swapped, ordered) != iterated_sums(x, ordered)).all()
    both = iterated_sums(x, ordered[:2]).sum()
    assert both == iterated_sums(swapped, ordered[:2]).sum()
    assert torch.equal(iterated_sums(swapped, [((0, 1),)]), iterated_sums(x, [((0, 1),)]))


# --- nothing else -------------------------------------------------------------------------------


def tensor_power(P: Tensor, n: int) -> Tensor:
    return reduce(torch.kron, [P] * n)


def symmetric_power(length: int, n: int, place: int) -> Tensor:
    """What padding does to the monomials of degree n in the steps."""
    monomials = list(combinations_with_replacement(range(length), n))
    number = {monomial: k for k, monomial in enumerate(monomials)}
    power = torch.zeros(len(monomials), len(monomials), dtype=F64)
    for k, monomial in enumerate(monomials):
        if place not in monomial:
            power[k, number[tuple(i - (i > place) for i in monomial)]] = 1
    return power


def to_holds(length: int, powers: list[Tensor]) -> Tensor:
    holds = [hold_matrix(length, place) for place in range(length)]
    return null_space(holds, powers)


def spans_agree(a: Tensor, b: Tensor) -> bool:
    """Whether the columns of two matrices of full rank span the same space."""
    both = torch.linalg.matrix_rank(torch.cat([a, b], 1))
    return torch.linalg.matrix_rank(a) == torch.linalg.matrix_rank(b) == both == a.shape[1]


@pytest.mark.parametrize(("length", "n"), [(4, 1), (5, 2), (6, 2), (4, 3), (5, 3), (4, 4), (2, 3)])
def test_polynomial_invariants_are_the_iterated_sums(length, n):
    """2^(n-1) of degree n, or those with at most as many parts as the window has steps."""
    powers = [symmetric_power(length, n, place) for place in range(length)]
    x = torch.randn(60, length, 1, dtype=F64, generator=torch.Generator().manual_seed(0))
    choices = list(combinations_with_replacement(range(length), n))
    monomials = torch.stack([x[:, list(m), 0].prod(-1) for m in choices], -1)
    P = pad_matrix(length, 1)
    padded = torch.stack([(P @ x)[:, list(m), 0].prod(-1) for m in choices], -1)
    assert torch.allclose(padded, monomials @ powers[1].T, atol=1e-12)

    found = to_holds(length, powers)
    words = [word for word in monomial_words(1, n) if len(word) <= length]
    assert len(found) == len(words) == sum(math.comb(n - 1, r - 1) for r in range(1, length + 1))
    assert len(found) == 2 ** (n - 1) or length < n
    values = torch.einsum("rtm,bm->btr", found, monomials).flatten(0, 1)
    assert spans_agree(values, iterated_sums_path(x, words).flatten(0, 1))


@pytest.mark.parametrize(("length", "n", "fubini"), [(5, 1, 1), (5, 2, 3), (6, 2, 3), (4, 3, 13)])
def test_multilinear_invariants_are_ordered_set_partitions(length, n, fubini):
    found = to_holds(length, [tensor_power(pad_matrix(length, k), n) for k in range(length)])
    every = [w for w in monomial_words(n, n) if sorted(c for m in w for c in m) == list(range(n))]
    assert len(found) == len(every) == fubini
    x = torch.randn(60, length, n, dtype=F64, generator=torch.Generator().manual_seed(0))
    tensors = reduce(lambda a, b: (a[:, :, None] * b[:, None]).flatten(1), x.unbind(-1))
    values = torch.einsum("rtm,bm->btr", found, tensors).flatten(0, 1)
    assert spans_agree(values, iterated_sums_path(x, every).flatten(0, 1))


# --- what is refused ----------------------------------------------------------------------------

X = torch.ones(3, 2)
BAD_X = [
    (TypeError, None), (TypeError, [[1.0]]), (TypeError, X.long()), (ValueError, X[0]),
    (ValueError, X[:0]), (ValueError, X[:, :0]), (ValueError, X / 0), (ValueError, X * math.nan),
]  # fmt: skip
BAD_WORDS = [
    (TypeError, 0), (TypeError, "00"), (TypeError, (0,)), (TypeError, ((0.0,),)),
    (TypeError, ((True,),)), (ValueError, ()), (ValueError, ((0,), ())), (ValueError, ((-1,),)),
]  # fmt: skip


@pytest.mark.parametrize("f", [iterated_sums, iterated_sums_path])
def test_bad_sequences_and_words(f):
    f(X, WORDS)
    for error, x in BAD_X:
        with refuses(error, "x"):
            f(x, WORDS)
    words = [(error, [word]) for error, word in [*BAD_WORDS, (ValueError, ((2,),))]]
    for error, value in [*words, (TypeError, 2), (TypeError, WORDS[0][0]), (ValueError, [])]:
        with refuses(error, "words"):
            f(X, value)


@pytest.mark.parametrize("f", [iterated_sums, iterated_sums_path])
def test_sums_that_overflow(f):
    for words in ([((0, 0),)], [((0,), (0,))]):
        with refuses(ValueError, "x"):
            f(torch.full((3, 1), 1e30), words)
    large = torch.tensor([[3e38], [3e38], [-3e38], [-3e38]])
    with refuses(ValueError, "x"):
        f(large, [((0,),)])
