r"""Two tasks about order: ranks, which need no positions, and reversal, which needs them.

And the exact share of a reversed sequence that a model without positions can get right.

Chapter: ``attention``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import comb, factorial, prod

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import gdl._checks as check
from gdl.attention import _checks as require
from gdl.training import predict

# Products of larger counts would leave int64.
MOST = 2**31
# The partitions of longer sequences are too many to go through.
LONGEST = 40


def random_tokens(count: int, length: int, values: int, *, seed: int) -> Tensor:
    r"""Sequences of independent, uniformly distributed tokens.

    Args:
        count, length: how many sequences, of how many tokens, at most 2**31 each.
        values: V, tokens are 0 to V - 1; at most 2**31.
        seed: an integer that fixes them, from 0 to 2**32 - 1.

    Returns:
        int64 ``(count, length)``, on the CPU.

    Raises: TypeError or ValueError for numbers that are no integers or out of range.
    Law tested: seeds fix them; all values occur equally often, up to chance. Chapter:
    ``attention``.

    >>> random_tokens(2, 3, 5, seed=0).shape
    torch.Size([2, 3])
    """
    sizes = {"count": count, "length": length, "values": values}
    count, length, values = (check.integer(name, value, 1, MOST) for name, value in sizes.items())
    generator = torch.Generator("cpu").manual_seed(check.integer("seed", seed, 0, 2**32 - 1))
    return torch.randint(values, (count, length), generator=generator, device="cpu")


def ranks(tokens: Tensor, classes: int | None = None) -> Tensor:
    r"""Where each token stands in its set: the number of smaller ones, or the quantile.

        y_i = floor(c r_i / n),    r_i = |{j : t_j < t_i}|

    Equal tokens have equal ranks, so that permuting tokens permutes the ranks.

    Args:
        tokens: t, int64 ``(..., n)``.
        classes: c, how many quantiles, at most 2**31; None is n, the ranks themselves.

    Returns:
        int64 ``(..., n)``, from 0 to c - 1.

    Raises: TypeError or ValueError for other arguments.
    Law tested: commutes with permutations; equal to sorting and searching. Chapter: ``attention``.

    >>> ranks(torch.tensor([7, 2, 9, 2])).tolist(), ranks(torch.tensor([7, 2, 9, 2]), 2).tolist()
    ([2, 0, 3, 0], [1, 0, 1, 0])
    """
    n = _required_tokens(tokens).shape[-1]
    classes = n if classes is None else check.integer("classes", classes, 1, MOST)
    smaller = (tokens[..., None, :] < tokens[..., :, None]).sum(-1)
    return classes * smaller // n


def reversal(tokens: Tensor) -> Tensor:
    r"""The tokens in reverse order, ``y_i = t_(n-1-i)``: not equivariant to permutations.

    Args:
        tokens: t, int64 ``(..., n)``.

    Returns:
        int64 ``(..., n)``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: its own inverse; a transposition of two places does not commute with it. Chapter:
    ``attention``.

    >>> reversal(torch.tensor([7, 2, 9])).tolist()
    [9, 2, 7]
    """
    return _required_tokens(tokens).flip(-1)


def reversal_ceiling(length: int, values: int) -> Fraction:
    r"""The best token accuracy on reversal without positions, exactly.

    A permutation-equivariant model gives equal answers at equal tokens: the answer is a function of
    the token a and of the multiplicities m of the sequence. Given these, all orders are equally
    likely, and the token in the opposite place is b with probability

        (m_b - [a = b]) / (n - 1)  for even n,    m_b / n  for odd n,

    where the middle token of an odd sequence is opposite itself. The best answer is the likeliest
    b, and the mean goes over a with weights ``m_a / n`` and over all sequences of independent,
    uniformly distributed tokens.

    Args:
        length: n, from 1 to 40; the time grows with the partitions of n.
        values: V, how many different tokens.

    Returns:
        The expected share of right tokens of the best equivariant model, whether it is random or
        not.

    Raises: TypeError or ValueError for numbers that are no integers or out of range.
    Law tested: equal to the best of all tables (token, multiset) -> answer over all sequences, for
    small n and V. Chapter: ``attention``.

    >>> reversal_ceiling(2, 4), reversal_ceiling(3, 2), reversal_ceiling(5, 1)
    (Fraction(1, 1), Fraction(3, 4), Fraction(1, 1))
    """
    n = check.integer("length", length, 1, LONGEST)
    check.integer("values", values, 1)
    patterns = _partitions(n, n, values)
    return sum(_sequences(m, values) * _best_share(m) for m in patterns) / Fraction(values) ** n


def token_targets(y: Tensor, classes: int) -> Tensor:
    r"""Labels of tokens as one-hot targets, in which form :func:`gdl.training.fit` takes them.

    Args:
        y: int64 ``(..., n)``, from 0 to classes - 1.
        classes: how many.

    Returns:
        ``(..., n, classes)`` in torch's default dtype.

    Raises: TypeError or ValueError for other arguments.
    Law tested: :func:`token_loss` of them is the cross-entropy of the labels. Chapter:
    ``attention``.

    >>> token_targets(torch.tensor([1, 0]), 2).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    _required_tokens(y, "y")
    check.integer("classes", classes, 1)
    if check.readable(y) and (int(y.min()) < 0 or int(y.max()) >= classes):
        raise ValueError(
            f"y: expected labels 0 to {classes - 1}, got {y.min().item()} to {y.max().item()}"
        )
    return one_hot(y, classes).to(torch.get_default_dtype())


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    r"""The cross-entropy, a mean over all tokens of all sequences.

        -(1 / N) sum_tokens sum_c y_c log softmax(logits)_c

    Args:
        logits, targets: ``(..., n, classes)``, finite, of one floating-point type; under autocast,
            which rounds logits, that of the targets is taken.

    Raises: TypeError or ValueError for other arguments, and for no token or no class.
    Law tested: equal to ``torch.nn.functional.cross_entropy`` of the labels. Chapter:
    ``attention``.

    >>> round(token_loss(torch.zeros(3, 4), token_targets(torch.tensor([0, 1, 2]), 4)).item(), 4)
    1.3863
    """
    require.tokens("logits", logits, None)
    require.tokens("targets", targets, None)
    if torch.is_autocast_enabled(logits.device.type):
        logits = logits.to(targets.dtype)
    require.alike(logits=logits, targets=targets)
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets: expected {tuple(logits.shape)} as logits, got {tuple(targets.shape)}"
        )
    return cross_entropy(logits.flatten(0, -2), targets.flatten(0, -2))


def token_accuracy(model: nn.Module, tokens: Tensor, y: Tensor) -> float:
    r"""The share of tokens whose largest logit is at the label, between 0 and 1.

    Args:
        model: maps tokens ``(B, n)`` to logits ``(B, n, classes)``.
        tokens: int64 ``(N, n)``.
        y: labels, int64 ``(N, n)``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: counted by hand. Chapter: ``attention``.

    >>> token_accuracy(nn.Embedding.from_pretrained(torch.eye(3)), *[torch.tensor([[0, 2]])] * 2)
    1.0
    """
    _required_tokens(tokens)
    if _required_tokens(y, "y").shape != tokens.shape:
        raise ValueError(f"y: expected {tuple(tokens.shape)} as tokens, got {tuple(y.shape)}")
    chosen = predict(model, tokens).argmax(-1)
    if chosen.shape != y.shape:
        raise ValueError(
            f"model: expected logits {(*y.shape, 'classes')}, got {tuple(chosen.shape)} and classes"
        )
    return (chosen == y.to(chosen.device)).double().mean().item()


def _required_tokens(tokens: Tensor, name: str = "tokens") -> Tensor:
    if not isinstance(tokens, Tensor) or tokens.dtype != torch.int64:
        got = tokens.dtype if isinstance(tokens, Tensor) else type(tokens).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    if not tokens.ndim or not tokens.numel():
        raise ValueError(f"{name}: expected shape (..., n), n >= 1, got {tuple(tokens.shape)}")
    return tokens


def _partitions(n: int, largest: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Falling multiplicities of at most so many different tokens that add up to n."""
    if n == 0:
        yield ()
    elif parts:
        for first in range(min(n, largest), 0, -1):
            for rest in _partitions(n - first, first, parts - 1):
                yield (first, *rest)


def _sequences(multiplicities: tuple[int, ...], values: int) -> int:
    """How many sequences have these multiplicities, of whichever tokens."""
    orders = factorial(sum(multiplicities)) // prod(map(factorial, multiplicities))
    repeated = prod(factorial(multiplicities.count(m)) for m in set(multiplicities))
    tokens = comb(values, len(multiplicities)) * factorial(len(multiplicities)) // repeated
    return orders * tokens


def _best_share(multiplicities: tuple[int, ...]) -> Fraction:
    """The expected share of right answers for sequences with these multiplicities."""
    n, most = sum(multiplicities), max(multiplicities)
    if n % 2:
        return Fraction(most, n)
    share = Fraction(0)
    for a, m in enumerate(multiplicities):
        others = max((m_b for b, m_b in enumerate(multiplicities) if b != a), default=0)
        share += Fraction(m, n) * Fraction(max(m - 1, others), n - 1)
    return share
