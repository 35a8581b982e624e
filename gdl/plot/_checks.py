"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike


def as_numpy(name: str, values: ArrayLike) -> np.ndarray:
    """Return ``values`` as an array; a tensor may require gradients or live on a GPU."""
    try:
        if not isinstance(values, torch.Tensor):
            return np.asarray(values)
        values = values.detach().cpu().resolve_neg()
        # NumPy has no such type.
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: expected a dense array of numbers ({error})") from None


def listed(name: str, values: Iterable) -> list:
    """Return the items of ``values``."""
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name}: expected a sequence, got {type(values).__name__}") from None


def real_array(name: str, values: ArrayLike, ndim: int) -> np.ndarray:
    """Return ``values`` as a finite real array of ``ndim`` dimensions that is not empty."""
    array = as_numpy(name, values)
    if array.ndim != ndim or array.size == 0 or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}: expected real numbers in {ndim} dimension(s) and at least one, "
            f"got {array.dtype} of shape {array.shape}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values, got nan or infinity")
    return array


def boolean(name: str, value: bool) -> None:
    """Raise unless ``value`` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}: expected True or False, got {value!r}")


def scale_limit(values: np.ndarray, limit: float | None) -> float:
    """Return ``limit`` if it is positive, or the largest magnitude of ``values`` for None."""
    if limit is None:
        # An all-zero picture still needs a scale of positive length.
        return float(abs(values).max()) or 1.0
    if not (math.isfinite(limit) and limit > 0):
        raise ValueError(f"limit: expected a positive number, got {limit!r}")
    return float(limit)


def one_title_each(titles: Sequence[str] | None, default: list[str]) -> Sequence[str]:
    """Return ``titles`` if there are as many as in ``default``, and that for None."""
    if titles is not None and len(titles) != len(default):
        raise ValueError(f"titles: expected {len(default)}, got {len(titles)}")
    return default if titles is None else titles
