r"""Two estimators of one gradient: a count summed out, and a count drawn.

A guide that goes on with probability p_t stops after n steps with probability

    q(n) = p_1 ... p_n (1 - p_{n+1})    for n < T,        q(T) = p_1 ... p_T

The bound on the evidence is ``sum_n q(n) (v_n - log q(n))`` with values v_n. With few counts it is
a sum like any other; with many, one count is drawn and the score function repairs the gradient.

Chapter: ``inference``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import gdl._checks as check


def count_log_probabilities(logits: Tensor) -> Tensor:
    r"""The logarithms of the probabilities of each count, from the logits of going on.

        log q(n) = sum_{t <= n} log p_t + log(1 - p_{n+1}),    p = sigmoid(logits)

    Args:
        logits: (..., T), floating-point, finite, T at least 1.

    Returns:
        (..., T + 1), for the counts 0 to T.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the product of the probabilities, and they sum to 1. Chapter: ``inference``.

    >>> count_log_probabilities(torch.zeros(2)).exp()
    tensor([0.5000, 0.2500, 0.2500])
    """
    _row("logits", logits)
    none = torch.zeros_like(logits[..., :1])
    going_on = torch.cat([none, logsigmoid(logits).cumsum(-1)], -1)
    return going_on + torch.cat([logsigmoid(-logits), none], -1)


def mixed(log_probabilities: Tensor, mix: float) -> Tensor:
    r"""The logarithm of ``(1 - mix) q + mix u`` with u uniform: no count is out of reach.

    Args:
        log_probabilities: (..., counts), log q, floating-point, finite.
        mix: from 0 to 1.

    Returns:
        (..., counts).

    Raises: TypeError or ValueError for other arguments.

    Law tested: the formula; 0 changes nothing and 1 gives the uniform one. Chapter: ``inference``.

    >>> mixed(torch.tensor([0.5, 0.25, 0.25]).log(), 1.0).exp()
    tensor([0.3333, 0.3333, 0.3333])
    """
    _row("log_probabilities", log_probabilities)
    mix = check.number("mix", mix, 0.0, 1.0)
    uniform = torch.full_like(log_probabilities, -math.log(log_probabilities.shape[-1]))
    if mix == 0.0:
        return log_probabilities
    if mix == 1.0:
        return uniform
    return torch.logaddexp(log_probabilities + math.log1p(-mix), uniform + math.log(mix))


def enumerated(log_probabilities: Tensor, values: Tensor) -> Tensor:
    r"""The bound with the count summed out: ``sum_n q(n) (v_n - log q(n))``.

    Args:
        log_probabilities: (..., counts), log q, floating-point, finite.
        values: v, of the same shape and dtype, finite.

    Returns:
        (...), differentiable in both.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the sum; at most ``logsumexp(v)``, which it reaches at q = softmax(v). Chapter:
    ``inference``.

    >>> enumerated(torch.tensor([0.5, 0.5]).log(), torch.zeros(2))
    tensor(0.6931)
    """
    _pair(log_probabilities, values)
    return (log_probabilities.exp() * (values - log_probabilities)).sum(-1)


def sampled(
    log_probabilities: Tensor, values: Tensor, counts: Tensor, baseline: Tensor | float = 0.0
) -> Tensor:
    r"""The bound at drawn counts, with the gradient of the score function.

    Its value is ``f = v_n - log q(n)`` at the drawn n. Its gradient is
    ``grad f + (f - baseline) grad log q(n)``, whose mean over n is that of
    :func:`~gdl.inference.enumerated`. The baseline changes the variance and not the mean.

    Args:
        log_probabilities: (..., counts), log q, floating-point, finite.
        values: v, of the same shape and dtype, finite.
        counts: (...), int64, the drawn n.
        baseline: a number or (...); it receives no gradient here.

    Returns:
        (...).

    Raises: TypeError or ValueError for other arguments.

    Law tested: ``sum_n q(n)`` times its gradient at n is the gradient of the enumerated bound, for
    every baseline. Source: Mnih and Gregor, "Neural Variational Inference and Learning in Belief
    Networks", ICML 2014. Chapter: ``inference``.

    >>> log_q = torch.tensor([0.5, 0.5]).log()
    >>> sampled(log_q, torch.tensor([1.0, 2.0]), torch.tensor(1)) - math.log(2)
    tensor(2.)
    """
    _pair(log_probabilities, values)
    shape = log_probabilities.shape[:-1]
    if not isinstance(counts, Tensor) or counts.dtype != torch.int64:
        got = counts.dtype if isinstance(counts, Tensor) else type(counts).__name__
        raise TypeError(f"counts: expected an int64 tensor, got {got}")
    if counts.shape != shape:
        raise ValueError(f"counts: expected shape {tuple(shape)}, got {tuple(counts.shape)}")
    last = log_probabilities.shape[-1] - 1
    if check.readable(counts) and bool(((counts < 0) | (counts > last)).any()):
        raise ValueError(f"counts: expected 0 to {last}, got {counts.min()} to {counts.max()}")
    if isinstance(baseline, Tensor):
        if baseline.shape != shape:
            got = tuple(baseline.shape)
            raise ValueError(f"baseline: expected shape {tuple(shape)}, got {got}")
        check.finite("baseline", check.floating("baseline", baseline))
    else:
        baseline = log_probabilities.new_full(shape, check.number("baseline", baseline))
    log_q = log_probabilities.gather(-1, counts[..., None])[..., 0]
    f = values.gather(-1, counts[..., None])[..., 0] - log_q
    return f + without_value((f - baseline).detach() * log_q)


def without_value(x: Tensor) -> Tensor:
    """Zero with the gradient of ``x``: how an estimator adds a gradient and keeps its value.

    Raises: TypeError if ``x`` is no floating-point tensor.

    Law tested: value and gradient. Chapter: ``inference``.

    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> y = without_value(x**2)
    >>> y.backward(); y.item(), x.grad.item()
    (0.0, 6.0)
    """
    check.floating("x", x)
    return x - x.detach()


def score_gradients(logits: Tensor, values: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    r"""The gradients of :func:`~gdl.inference.sampled` at every count, in closed form.

        g_n = (v_n - log q(n) - 1 - baseline) s_n
        (s_n)_t = [t <= n] - p_t for t <= n + 1, else 0

    s_n is the gradient of log q(n) with respect to the logits. The 1 comes from the gradient of
    -log q(n) in the value.

    Args:
        logits: (..., T), floating-point, finite.
        values: (..., T + 1), of the same dtype, finite.
        baseline: a number or (...).

    Returns:
        (..., T + 1, T).

    Raises: TypeError or ValueError for other arguments.

    Law tested: autograd of :func:`~gdl.inference.sampled`; their mean is autograd of
    :func:`~gdl.inference.enumerated`. Chapter: ``inference``.

    >>> score_gradients(torch.zeros(1), torch.tensor([0.0, 1.0]), -1.0 + math.log(2))
    tensor([[-0.0000],
            [0.5000]])
    """
    log_q = count_log_probabilities(logits)
    _pair(log_q, values)
    advantage = values - log_q - 1 - _column(baseline, log_q)
    return advantage[..., None] * _scores(logits)


def gradient_variance(logits: Tensor, values: Tensor, baseline: Tensor | float = 0.0) -> Tensor:
    r"""The variance of the score-function gradient over the drawn count, by enumeration.

        sum_n q(n) |g_n|^2 - |sum_n q(n) g_n|^2

    The enumerated gradient is the mean and has none.

    Args: as in :func:`~gdl.inference.score_gradients`.

    Returns:
        (...), summed over the logits.

    Raises: TypeError or ValueError for other arguments.

    Law tested: drawn counts have this variance within its standard error; no baseline has less than
    :func:`~gdl.inference.best_baseline`. Chapter: ``inference``.

    >>> gradient_variance(torch.zeros(1), torch.tensor([0.0, 1.0]), -1.0 + math.log(2))
    tensor(0.0625)
    """
    g = score_gradients(logits, values, baseline)
    q = count_log_probabilities(logits).exp()[..., None]
    return (q * (g - (q * g).sum(-2, keepdim=True)) ** 2).sum((-2, -1))


def best_baseline(logits: Tensor, values: Tensor) -> Tensor:
    r"""The baseline of least variance.

        b = sum_n q(n) |s_n|^2 (v_n - log q(n) - 1) / sum_n q(n) |s_n|^2

    Args:
        logits: (..., T), floating-point, finite.
        values: (..., T + 1), of the same dtype, finite.

    Returns:
        (...). Where a count is certain to rounding no baseline matters, and it is 0.

    Raises: TypeError or ValueError for other arguments.

    Law tested: the derivative of the variance vanishes here, and it is a parabola. Chapter:
    ``inference``.

    >>> best_baseline(torch.zeros(1), torch.tensor([0.0, 1.0])) - math.log(2)
    tensor(-0.5000)
    """
    log_q = count_log_probabilities(logits)
    _pair(log_q, values)
    weights = log_q.exp() * (_scores(logits) ** 2).sum(-1)
    whole = weights.sum(-1)
    return (weights * (values - log_q - 1)).sum(-1) / torch.where(whole == 0, 1.0, whole)


def _scores(logits: Tensor) -> Tensor:
    """The gradient of each log q(n): (..., T + 1, T)."""
    steps = logits.shape[-1]
    asked = torch.ones(steps + 1, steps, dtype=logits.dtype, device=logits.device)
    # Row n: the guide went on at the first n steps and was asked at step n + 1 too.
    return asked.tril(-1) - asked.tril() * logits.sigmoid()[..., None, :]


def _column(baseline: Tensor | float, log_q: Tensor) -> Tensor | float:
    if not isinstance(baseline, Tensor):
        return check.number("baseline", baseline)
    if baseline.shape != log_q.shape[:-1]:
        wanted, got = tuple(log_q.shape[:-1]), tuple(baseline.shape)
        raise ValueError(f"baseline: expected shape {wanted}, got {got}")
    return check.finite("baseline", check.floating("baseline", baseline))[..., None]


def _row(name: str, x: Tensor) -> None:
    check.finite(name, check.floating(name, x))
    if x.ndim < 1 or not x.shape[-1]:
        raise ValueError(f"{name}: expected shape (..., n), n at least 1, got {tuple(x.shape)}")


def _pair(log_probabilities: Tensor, values: Tensor) -> None:
    _row("log_probabilities", log_probabilities)
    _row("values", values)
    if values.shape != log_probabilities.shape:
        wanted, got = tuple(log_probabilities.shape), tuple(values.shape)
        raise ValueError(f"values: expected shape {wanted}, got {got}")
    if values.dtype != log_probabilities.dtype:
        raise TypeError(f"values: expected {log_probabilities.dtype}, got {values.dtype}")
