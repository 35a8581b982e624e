"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check

# How many epsilons of their dtype two weights of one edge may differ by.
ROUNDING = 16


def tokens(name: str, x: Tensor, *sizes: int | None) -> Tensor:
    """Return ``x`` if it holds finite sequences (..., n, *sizes) of at least one token."""
    check.shaped(name, x, None, *sizes)
    if not x.numel():
        raise ValueError(f"{name}: expected at least one token, got shape {tuple(x.shape)}")
    return check.finite(name, x)


def alike(**tensors: Tensor) -> None:
    """Raise unless the tensors share dtype, device and all axes but the last two."""
    (first, model), *rest = tensors.items()
    for name, x in rest:
        if x.dtype != model.dtype or x.device != model.device:
            raise TypeError(
                f"{name}: expected {model.dtype} on {model.device} as {first}, got {x.dtype} on "
                f"{x.device}"
            )
        if x.shape[:-2] != model.shape[:-2]:
            raise ValueError(
                f"{name}: expected shape ({_listed(model.shape[:-2])}n, d) as {first}, got "
                f"{tuple(x.shape)}"
            )


def queries(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raise unless these are queries (..., n, d), keys (..., m, d) and values (..., m, e)."""
    tokens("q", q, None)
    tokens("k", k, q.shape[-1])
    tokens("v", v, None)
    alike(q=q, k=k, v=v)
    if v.shape[-2] != k.shape[-2]:
        raise ValueError(
            f"v: expected one value for each of the {k.shape[-2]} keys, got {tuple(v.shape)}"
        )


def unspoilt(names: str, products: Tensor) -> Tensor:
    """Return the products of the named arguments if none of them overflows."""
    if check.readable(products) and not bool(torch.isfinite(products).all()):
        raise ValueError(
            f"{names}: expected smaller entries, their products overflow {products.dtype}"
        )
    return products


def kept_finite(name: str, given: Tensor, rounded: Tensor) -> Tensor:
    """Return ``rounded`` if what was finite in ``given`` still is."""
    if check.readable(given) and bool((given.isfinite() & ~rounded.isfinite()).any()):
        raise ValueError(f"{name}: expected entries within the range of {rounded.dtype}")
    return rounded


def mask(name: str, given: Tensor, scores: tuple[int, ...], device: torch.device) -> Tensor:
    """Return a mask of scores if it is boolean or real and fits without stretching n or m."""
    if not isinstance(given, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(given).__name__}")
    if given.dtype != torch.bool and not given.is_floating_point():
        raise TypeError(f"{name}: expected a boolean or a real tensor, got {given.dtype}")
    axes_fit = given.ndim == 2 or _spreads(given.shape[:-2], scores[:-2])
    if not axes_fit or tuple(given.shape[-2:]) != tuple(scores[-2:]):
        raise ValueError(
            f"{name}: expected shape {tuple(scores[-2:])} or {tuple(scores)}, got "
            f"{tuple(given.shape)}"
        )
    if given.device != device:
        raise ValueError(f"{name}: expected device {device}, got {given.device}")
    barred_or_finite = given.dtype == torch.bool or not check.readable(given)
    if not barred_or_finite and not bool((torch.isfinite(given) | torch.isneginf(given)).all()):
        raise ValueError(f"{name}: expected finite entries or -inf, got NaN or infinity")
    return given


def positions(given: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return ``positions`` if these are finite numbers, (n,) or one for each of the tokens."""
    if not isinstance(given, Tensor):
        raise TypeError(f"positions: expected a torch.Tensor, got {type(given).__name__}")
    if given.dtype == torch.bool or given.is_complex():
        raise TypeError(f"positions: expected real numbers or integers, got {given.dtype}")
    if shape is not None:
        fits = tuple(given.shape) == tuple(shape[-1:]) or (
            given.shape[-1:] == shape[-1:] and _spreads(given.shape[:-1], shape[:-1])
        )
        if not fits:
            raise ValueError(
                f"positions: expected shape {tuple(shape[-1:])} or {tuple(shape)}, got "
                f"{tuple(given.shape)}"
            )
    return check.finite("positions", given)


def even(name: str, value: int) -> int:
    """Return ``value`` if it is an even positive int: channels come in pairs."""
    check.integer(name, value, 2)
    if value % 2:
        raise ValueError(f"{name}: expected an even number, got {value}")
    return int(value)


def weighted_graph(adjacency: Tensor, *, symmetric: bool) -> Tensor:
    """Return ``adjacency`` in float64 if it is (n, n), finite, without negative weights.

    Symmetric is what is so up to the rounding of each weight; the result is exactly.
    """
    check.shaped("adjacency", adjacency, None, None)
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1] or not len(adjacency):
        raise ValueError(
            f"adjacency: expected shape (n, n) with n >= 1, got {tuple(adjacency.shape)}"
        )
    if adjacency.is_meta:
        raise ValueError("adjacency: expected values, got a tensor on the meta device")
    check.finite("adjacency", adjacency)
    if bool((adjacency < 0).any()):
        raise ValueError(
            f"adjacency: expected weights of at least 0, got {adjacency.min().item():.3g}"
        )
    weights = adjacency.detach().double()
    if not symmetric:
        return weights
    larger, gaps = torch.maximum(weights, weights.T), (weights - weights.T).abs()
    if bool((gaps > ROUNDING * torch.finfo(adjacency.dtype).eps * larger).any()):
        raise ValueError(
            f"adjacency: expected a symmetric matrix, A - A^T reaches {gaps.max().item():.3g}"
        )
    return larger


def _spreads(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether the axes are the wanted ones, or 1 in their place."""
    return len(given) == len(wanted) and all(
        a in (1, b) for a, b in zip(given, wanted, strict=True)
    )


def _listed(sizes: tuple[int, ...]) -> str:
    return "".join(f"{size}, " for size in sizes)
