"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

import torch
from torch import Tensor

from gdl.representations import Group, Representation


def integer(name: str, value: int, least: int) -> int:
    """Return ``value`` if it is an int of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name}: expected an int, got {type(value).__name__}")
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
    return value


def pair(name: str, value: int | tuple[int, int], least: int) -> tuple[int, int]:
    """Return ``value`` as (rows, columns); one int stands for both."""
    both = (value, value) if isinstance(value, int) else value
    if not isinstance(both, (tuple, list)):
        raise TypeError(f"{name}: expected an int or a pair of ints, got {type(value).__name__}")
    if len(both) != 2:
        raise ValueError(f"{name}: expected one or two ints, got {value}")
    return integer(name, both[0], least), integer(name, both[1], least)


def one_of(name: str, value: object, allowed: tuple) -> None:
    """Raise unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {allowed}, got {value!r}")


def real_dtype(dtype: torch.dtype | None) -> None:
    """Raise unless the dtype of a layer is a real floating-point type."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype: expected a real floating-point type of torch, got {dtype!r}")


def number(name: str, value: float, low: float, high: float) -> float:
    """Return ``value`` if it is a number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    if not low <= value <= high:
        raise ValueError(f"{name}: expected a number from {low} to {high}, got {value}")
    return value


def group(name: str, value: Group) -> Group:
    """Return ``value`` if it is a Group."""
    if not isinstance(value, Group):
        raise TypeError(f"{name}: expected a Group, got {type(value).__name__}")
    return value


def representation(name: str, rho: Representation, of: Group | None = None) -> Representation:
    """Return ``rho`` if it is a Representation, of the group ``of`` if that is given."""
    if not isinstance(rho, Representation):
        raise TypeError(f"{name}: expected a Representation, got {type(rho).__name__}")
    if of is not None and rho.group != of:
        raise ValueError(f"{name}: expected a representation of {of.name}, got {rho.group.name}")
    return rho


def permutation(name: str, rho: Representation, why: str) -> Representation:
    """Return ``rho`` if it permutes the basis of its fibre."""
    representation(name, rho)
    still = all(float(X.abs().max()) == 0 for X in rho.algebra)
    if not (still and all(_permutes(a) for a in rho.generators)):
        raise ValueError(f"{name}: expected a permutation representation, got {rho}: {why}")
    return rho


def _permutes(image: Tensor) -> bool:
    """Whether an image permutes the basis; those of a group with an algebra are matrices."""
    if image.ndim == 1:
        return True
    whole = bool(((image == 0) | (image == 1)).all())
    return whole and bool((image.sum(0) == 1).all()) and bool((image.sum(1) == 1).all())


def orthogonal(name: str, rho: Representation) -> Representation:
    """Return ``rho`` if its matrices are orthogonal, so that lengths are invariant."""
    representation(name, rho)
    if rho.is_permutation:
        return rho
    eye = torch.eye(rho.dim, dtype=torch.float64, device="cpu")
    defects = [(a.T @ a - eye).abs().max() for a in rho.generators]
    defects += [(X + X.T).abs().max() for X in rho.algebra]
    if max(float(d) for d in defects) > 1e-8:
        raise ValueError(
            f"{name}: expected orthogonal matrices, got {rho}; "
            "see gdl.representations.orthogonalise"
        )
    return rho


def field(name: str, x: Tensor, fibre: int, channels: int | None = None) -> int:
    """The number of fields in ``x``, which is (B, C * fibre, h, w) or (C * fibre, h, w)."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name}: expected a real floating-point tensor, got {x.dtype}")
    if x.ndim not in (3, 4):
        raise ValueError(f"{name}: expected shape (B, C, h, w) or (C, h, w), got {tuple(x.shape)}")
    got = x.shape[-3]
    if not (got and x.shape[-2] and x.shape[-1]):
        raise ValueError(
            f"{name}: expected at least one channel and one pixel, got shape {tuple(x.shape)}"
        )
    if channels is not None and got != channels * fibre:
        raise ValueError(
            f"{name}: expected {channels} fields of {fibre}, {channels * fibre} channels, "
            f"got {got} in shape {tuple(x.shape)}"
        )
    if got % fibre:
        raise ValueError(
            f"{name}: expected a multiple of the fibre {fibre}, got {got} channels in shape "
            f"{tuple(x.shape)}"
        )
    return got // fibre
