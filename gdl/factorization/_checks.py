"""Argument checks of factorization: each raises an error that names the argument."""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check

PRECISE = (torch.float32, torch.float64)


def matrices(name: str, X: Tensor) -> Tensor:
    """Return ``X`` if it holds finite matrices (..., m, n) of float32 or float64, not empty."""
    check.shaped(name, X, None, None)
    if X.dtype not in PRECISE:
        raise TypeError(f"{name}: expected float32 or float64, got {X.dtype}")
    if not X.numel():
        raise ValueError(f"{name}: expected shape (..., m, n), not empty, got {tuple(X.shape)}")
    return check.finite(name, X)


def matrix(name: str, X: Tensor) -> Tensor:
    """Return ``X`` if it is one finite matrix (m, n) of float32 or float64, not empty."""
    if matrices(name, X).ndim != 2:
        raise ValueError(f"{name}: expected shape (m, n), got {tuple(X.shape)}")
    return X


def constant(name: str, X: Tensor) -> Tensor:
    """Return ``X`` if no gradient is asked for."""
    if torch.is_grad_enabled() and X.requires_grad:
        raise ValueError(f"{name}: expected a tensor without gradient, got one that requires it")
    return X


def without_overflow(name: str, result: Tensor) -> Tensor:
    """Return ``result`` if it is finite, computed from the argument of this name."""
    if check.readable(result) and not check.all_finite(result):
        raise ValueError(f"{name}: expected a result that stays finite, got an overflow")
    return result


def samples(name: str, X: Tensor) -> Tensor:
    """Return ``X`` if it is a finite (N, m) of float32 or float64 whose square can be summed."""
    check.floating(name, X)
    if X.dtype not in PRECISE:
        raise TypeError(f"{name}: expected float32 or float64, got {X.dtype}")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"{name}: expected shape (N, m), not empty, got {tuple(X.shape)}")
    check.finite(name, X)
    square = float(X.square().sum())
    if not torch.finfo(X.dtype).tiny <= square <= torch.finfo(X.dtype).max:
        raise ValueError(f"{name}: expected a positive finite sum of squares, got {square}")
    return X


def nonnegative(name: str, X: Tensor) -> Tensor:
    """Return ``X`` if it has no negative entry."""
    if bool((X < 0).any()):
        raise ValueError(f"{name}: expected no negative entries, got {float(X.min())}")
    return X


def factor(name: str, F: Tensor, X: Tensor, length: int, rank: int | None) -> Tensor:
    """Return ``F`` if it is a finite (length, rank) that fits ``X``, None being any rank."""
    check.shaped(name, F, length, rank)
    if F.ndim != 2 or not F.numel():
        raise ValueError(f"{name}: expected shape ({length}, q), not empty, got {tuple(F.shape)}")
    if F.dtype != X.dtype:
        raise TypeError(f"{name}: expected {X.dtype}, the dtype of X, got {F.dtype}")
    if F.device != X.device:
        raise ValueError(f"{name}: expected device {X.device}, got {F.device}")
    return check.finite(name, F)


def checked_points(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it is finite, float32 or float64, of shape (n, d), neither of them 0."""
    check.floating(name, x)
    if x.dtype not in PRECISE:
        raise TypeError(f"{name}: expected float32 or float64, got {x.dtype}")
    if x.ndim != 2 or not x.numel():
        raise ValueError(f"{name}: expected shape (n, d), neither 0, got {tuple(x.shape)}")
    return check.finite(name, x)


def checked_centres(name: str, centres: Tensor, points: Tensor) -> Tensor:
    """Return ``centres`` if they fit these points, which are at least as many."""
    checked_points(name, centres)
    if centres.dtype != points.dtype:
        raise TypeError(f"{name}: expected {points.dtype}, as the points, got {centres.dtype}")
    if centres.device != points.device:
        raise ValueError(f"{name}: expected device {points.device}, got {centres.device}")
    if centres.shape[1] != points.shape[1]:
        raise ValueError(
            f"{name}: expected shape (k, {points.shape[1]}), got {tuple(centres.shape)}"
        )
    if len(centres) > len(points):
        raise ValueError(
            f"{name}: expected at most {len(points)} for these points, got more: {len(centres)}"
        )
    return centres
