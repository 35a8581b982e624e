"""Tasks of the study "algorithms": what was read is written, as it was or sorted.

Inputs are ``(N, T, features)``, ready for a layer of sequences, and answers int64.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import comb

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot

import gdl._checks as check
from gdl.sequences import _checks as require
from gdl.training import predict

# The label of a step that asks for no answer, as in torch's cross-entropy.
IGNORED = -100


def copying(
    count: int, symbols: int, length: int, delay: int, *, seed: int
) -> tuple[Tensor, Tensor]:
    r"""Read symbols, wait, and when the go mark has come, write them in the same order.

    The input is ``s_0 ... s_{L-1}``, then ``delay - 1`` blanks, the go mark and L blanks; the
    answer, ``s_0 ... s_{L-1}``, is due at the last L steps.

    Args:
        count: N, how many sequences.
        symbols: K, how many different ones; each is drawn independently and uniformly.
        length: L, how many are to be copied.
        delay: how many steps lie between the last symbol and the first answer, at least 1; the go
            mark is the last of them.
        seed: an integer that fixes them, from 0 to 2**32 - 1.

    Returns:
        x, float32 ``(N, 2 L + delay, K + 2)``, one-hot: the symbols, blank, go; and y, int64
        ``(N, 2 L + delay)``, -100 where no answer is due. On the CPU.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the answer is the input ``L + delay`` steps earlier. Without memory the best guess
    is right once in K times. The task of Hochreiter and Schmidhuber in the form of Arjovsky, Shah
    and Bengio, arXiv:1511.06464, except that there blanks are answers too. Chapter: ``sequences``.

    >>> x, y = copying(1, 4, 3, 2, seed=0)
    >>> x.argmax(-1).tolist(), y.tolist()  # doctest: +NORMALIZE_WHITESPACE
    ([[0, 3, 1, 4, 5, 4, 4, 4]], [[-100, -100, -100, -100, -100, 0, 3, 1]])
    """
    require.sizes(count=count, symbols=symbols, length=length, delay=delay)
    tokens = torch.randint(symbols, (count, length), generator=_generator(seed), device="cpu")
    return _read_then_write(tokens, tokens, symbols, delay)


def sorting(count: int, length: int, *, values: int, seed: int) -> tuple[Tensor, Tensor]:
    r"""Read tokens, and when the go mark has come, write them in ascending order.

    The form of :func:`copying` with a delay of 1: L tokens, go, L blanks.

    Args:
        count: N, how many sequences.
        length: L, how many tokens are to be sorted.
        values: V, tokens are 0 to V - 1, independent and uniform; they may repeat.
        seed: an integer that fixes them, from 0 to 2**32 - 1.

    Returns:
        x, float32 ``(N, 2 L + 1, V + 2)``, one-hot: the tokens, blank, go; and y, int64
        ``(N, 2 L + 1)``, -100 where no answer is due. On the CPU.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the answers ascend and are the tokens. Without memory the best guess is right as
    often as :func:`sorting_baseline` says. Chapter: ``sequences``.

    >>> x, y = sorting(1, 3, values=8, seed=0)
    >>> x.argmax(-1).tolist(), y.tolist()
    ([[4, 7, 5, 9, 8, 8, 8]], [[-100, -100, -100, -100, 4, 5, 7]])
    """
    require.sizes(count=count, length=length, values=values)
    tokens = torch.randint(values, (count, length), generator=_generator(seed), device="cpu")
    return _read_then_write(tokens, tokens.sort(-1).values, values, 1)


def sorting_baseline(length: int, values: int) -> Fraction:
    r"""The best share of right answers in :func:`sorting` of who has seen no token, exactly.

    The i-th smallest of L uniform tokens is at most v when at least i of them are:

        P(t_(i) <= v) = sum_{k >= i} C(L, k) p^k (1 - p)^(L - k),    p = (v + 1) / V

    and the best guess at place i is the likeliest value, a mean over the places.

    Args:
        length: L, at least 1.
        values: V, at least 1.

    Raises: TypeError or ValueError for other arguments.
    Law tested: equal to counting all V^L sequences. Chapter: ``sequences``.

    >>> sorting_baseline(1, 4), sorting_baseline(2, 2), float(sorting_baseline(3, 1))
    (Fraction(1, 4), Fraction(3, 4), 1.0)
    """
    require.sizes(length=length, values=values)
    total = Fraction(0)
    for place in range(1, length + 1):
        shares = (Fraction(v, values) for v in range(values + 1))
        at_most = [_at_least(place, length, share) for share in shares]
        total += max(high - low for low, high in pairwise(at_most))
    return total / length


def answer_targets(y: Tensor, classes: int) -> Tensor:
    r"""Answers as one-hot targets, 0 where none is due: the form :func:`gdl.training.fit` takes.

    Args:
        y: int64 ``(..., T)``, from 0 to classes - 1, or -100.
        classes: how many.

    Returns:
        float32 ``(..., T, classes)``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: :func:`answer_loss` of them is torch's cross-entropy of y. Chapter: ``sequences``.

    >>> answer_targets(torch.tensor([-100, 1, 0]), 2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
    """
    check.integer("classes", classes, 1)
    due = _due(y, classes)
    return (one_hot(y.clamp(0, classes - 1), classes) * due[..., None]).float()


def answer_loss(logits: Tensor, targets: Tensor) -> Tensor:
    r"""The cross-entropy, a mean over all steps that ask for an answer.

        -(1 / number of answers) sum_steps sum_c y_c log softmax(logits)_c

    Args:
        logits: ``(..., T, classes)``, finite.
        targets: of the same shape, from :func:`answer_targets`: rows of one 1, or of zeros only.

    Returns:
        A scalar in the wider of both dtypes, at least float32.

    Raises: TypeError or ValueError for other arguments, where no answer is due, and for logits
    whose differences overflow.

    Law tested: equal to ``torch.nn.functional.cross_entropy`` of the labels. Chapter:
    ``sequences``.

    >>> targets = answer_targets(torch.tensor([-100, 3]), 4)
    >>> round(answer_loss(torch.zeros(2, 4), targets).item(), 4)
    1.3863
    """
    require.sequence("logits", logits, None)
    require.sequence("targets", targets, None)
    if targets.shape != logits.shape:
        raise ValueError(
            f"targets: expected {tuple(logits.shape)} as logits, got {tuple(targets.shape)}"
        )
    # In half precision there are no numbers of many answers.
    wider = torch.promote_types(torch.promote_types(logits.dtype, targets.dtype), torch.float32)
    answers = targets.sum(dtype=wider)
    if check.readable(targets):
        _check_one_hot(targets)
        if not answers > 0:
            raise ValueError("targets: expected at least one answer, got none")
    loss = -(targets * log_softmax(logits, -1, dtype=wider)).sum() / answers
    return require.unspoilt("logits", loss)


def answer_accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    r"""The share of answers whose largest logit is at the label, between 0 and 1.

    Args:
        model: maps ``(B, T, features)`` to logits ``(B, T, classes)``.
        x: inputs ``(N, T, features)``, finite.
        y: int64 ``(N, T)``, from 0 to classes - 1, or -100 where no answer is due.

    Raises: TypeError or ValueError for other arguments, where no answer is due, and for logits that
    are not finite.

    Law tested: counted by hand. Chapter: ``sequences``.

    >>> answer_accuracy(nn.Identity(), torch.eye(3)[None], torch.tensor([[-100, 1, 0]]))
    0.5
    """
    require.sequence("x", x, None)
    due = _due(y)
    if y.shape != x.shape[:-1] or y.ndim != 2:
        raise ValueError(f"y: expected shape (N, T) for x {tuple(x.shape)}, got {tuple(y.shape)}")
    if not bool(due.any()):
        raise ValueError("y: expected at least one answer, got none")
    logits = predict(model, x)
    if logits.ndim != 3 or logits.shape[:-1] != y.shape:
        raise ValueError(
            f"model: expected logits {(*y.shape, 'classes')}, got {tuple(logits.shape)}"
        )
    check.finite("model", logits)
    _due(y, logits.shape[-1])
    chosen = logits.argmax(-1).to(y.device)
    return (chosen == y)[due].double().mean().item()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(check.integer("seed", seed, 0, 2**32 - 1))


def _read_then_write(
    tokens: Tensor, answers: Tensor, values: int, delay: int
) -> tuple[Tensor, Tensor]:
    """Inputs with blanks and a go mark, and the answers after it."""
    count, length = tokens.shape
    shown = tokens.new_full((count, 2 * length + delay), values)
    shown[:, :length] = tokens
    shown[:, length + delay - 1] = values + 1
    y = torch.full_like(shown, IGNORED)
    y[:, length + delay :] = answers
    return one_hot(shown, values + 2).float(), y


def _at_least(least: int, count: int, p: Fraction) -> Fraction:
    """The probability that of so many independent events at least some happen."""
    return sum(comb(count, k) * p**k * (1 - p) ** (count - k) for k in range(least, count + 1))


def _due(y: Tensor, classes: int | None = None) -> Tensor:
    """Where answers are due, labels of so many classes; None is any number."""
    if not isinstance(y, Tensor) or y.dtype != torch.int64:
        got = y.dtype if isinstance(y, Tensor) else type(y).__name__
        raise TypeError(f"y: expected an int64 tensor, got {got}")
    if not y.ndim or not y.numel():
        raise ValueError(f"y: expected shape (..., T), T >= 1, got {tuple(y.shape)}")
    due = y != IGNORED
    if classes is not None and check.readable(y):
        wrong = due & ((y < 0) | (y >= classes))
        if bool(wrong.any()):
            raise ValueError(
                f"y: expected labels 0 to {classes - 1}, or {IGNORED}, got {y[wrong][0].item()}"
            )
    return due


def _check_one_hot(targets: Tensor) -> None:
    of_zeros_and_ones = bool(((targets == 0) | (targets == 1)).all())
    if not of_zeros_and_ones or bool((targets.count_nonzero(-1) > 1).any()):
        raise ValueError("targets: expected rows of one 1, or of zeros only, got others")
