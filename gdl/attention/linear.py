r"""Linear attention: a kernel that factors makes the sum over keys independent of the query.

Chapter: ``attention``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import gdl._checks as check
from gdl.attention import _checks as require
from gdl.attention.attention import causal_mask

FeatureMap = Callable[[Tensor], Tensor]


def elu_plus_one(x: Tensor) -> Tensor:
    r"""The positive feature map ``elu(x) + 1``: ``x + 1`` above zero and ``exp(x)`` below.

    Args:
        x: any shape, floating-point.

    Raises: TypeError for other arguments.
    Law tested: equal to its two branches, to all digits of the exponential. Source: Katharopoulos
    et al., ICML 2020. Chapter: ``attention``.

    >>> elu_plus_one(torch.tensor([0.0, 2.0])).tolist()
    [1.0, 3.0]
    """
    check.floating("x", x)
    # Not elu(x) + 1, which cancels: exp(x) - 1 + 1 has no digit left at -17 in float32.
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def linear_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: FeatureMap = elu_plus_one,
    causal: bool = False,
    normalise: bool = True,
) -> Tensor:
    r"""Attention with the kernel ``phi(q) . phi(k)``, in time linear in the number of tokens.

        y_i = (sum_j v_j phi(k_j)^T) phi(q_i) / (sum_j phi(k_j) . phi(q_i))

    The sums over j are taken once for all queries; with ``causal`` they go over j <= i and are
    prefix sums, which take memory ``n f e`` for f features.

    Args:
        q: queries, ``(..., n, d)``.
        k: keys, ``(..., m, d)``; m is n with ``causal``.
        v: values, ``(..., m, e)``, with the leading axes of q and k.
        feature_map: phi, maps ``(..., d)`` to ``(..., f)``; non-negative where it is normalised.
        causal: sum over j <= i only.
        normalise: divide by the sum of the weights. Without it, and with the identity for phi,
            ``linear_attend(X, X, X)`` is the cubic map ``(X X^T) X``.

    Returns:
        ``(..., n, e)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, no token, entries that are not finite, a feature map
            with negative or no features, queries whose weights are all zero.

    Law tested: equal to :func:`kernel_attend`, which makes all pairs; permuting tokens permutes
    the result, which ``causal`` breaks. Source: Katharopoulos et al., ICML 2020. Chapter:
    ``attention``.

    >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    >>> linear_attend(x, x, x, feature_map=torch.clone, normalise=False).tolist()
    [[5.0, 0.0], [10.0, 0.0]]
    """
    queries, keys = _features(q, k, v, feature_map, causal, normalise)
    if causal:
        pairs = (keys[..., :, None] * v[..., None, :]).cumsum(-3)
        summed = (queries[..., None, :] @ pairs).squeeze(-2)
        total = (queries * keys.cumsum(-2)).sum(-1, keepdim=True)
    else:
        summed = queries @ (keys.transpose(-1, -2) @ v)
        total = queries @ keys.sum(-2, keepdim=True).transpose(-1, -2)
    return _divided(summed, total if normalise else None)


def kernel_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    feature_map: FeatureMap = elu_plus_one,
    causal: bool = False,
    normalise: bool = True,
) -> Tensor:
    r"""The reference of :func:`linear_attend`: the same kernel for every pair of tokens.

        y_i = sum_j w_ij v_j / sum_j w_ij,    w_ij = phi(q_i) . phi(k_j)

    Arguments, result and errors are those of :func:`linear_attend`.

    Law tested: as for :func:`linear_attend`. Source: Katharopoulos et al., ICML 2020. Chapter:
    ``attention``.

    >>> x = torch.eye(2)
    >>> torch.allclose(kernel_attend(x, x, x), linear_attend(x, x, x))
    True
    """
    queries, keys = _features(q, k, v, feature_map, causal, normalise)
    weights = queries @ keys.transpose(-1, -2)
    if causal:
        weights = weights * causal_mask(q.shape[-2], device=q.device)
    return _divided(weights @ v, weights.sum(-1, keepdim=True) if normalise else None)


def _features(
    q: Tensor, k: Tensor, v: Tensor, feature_map: FeatureMap, causal: bool, normalise: bool
) -> tuple[Tensor, Tensor]:
    """The features of checked queries and keys."""
    require.queries(q, k, v)
    check.boolean("causal", causal)
    check.boolean("normalise", normalise)
    if causal and q.shape[-2] != k.shape[-2]:
        raise ValueError(
            f"causal: expected as many keys as queries, got {k.shape[-2]} and {q.shape[-2]}"
        )
    _required_map(feature_map)
    features = feature_map(q), feature_map(k)
    for made, given in zip(features, (q, k), strict=True):
        fits = isinstance(made, Tensor) and made.shape[:-1] == given.shape[:-1]
        if not (fits and made.dtype == given.dtype and made.shape[-1]):
            raise ValueError(
                f"feature_map: expected {given.dtype} (..., f) for {tuple(given.shape)}, got "
                + (f"{made.dtype} {tuple(made.shape)}" if isinstance(made, Tensor) else f"{made!r}")
            )
        check.finite("feature_map", made)
        if normalise and check.readable(made) and bool((made < 0).any()):
            raise ValueError("feature_map: expected features of at least 0 with normalise")
    return features


def _required_map(feature_map: FeatureMap) -> FeatureMap:
    if not callable(feature_map):
        raise TypeError(f"feature_map: expected a function, got {type(feature_map).__name__}")
    return feature_map


def _divided(summed: Tensor, total: Tensor | None) -> Tensor:
    """The weighted sums of values, divided by the sums of weights where they are given."""
    require.unspoilt("q, k, v", summed)
    if total is None:
        return summed
    if check.readable(total) and bool((total == 0).any()):
        raise ValueError(
            "feature_map: expected a positive weight for every query, got a sum of weights of 0"
        )
    return summed / require.unspoilt("q, k, v", total)
