"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check


def sequence(name: str, x: Tensor, *sizes: int | None) -> Tensor:
    """Return ``x`` if it holds finite sequences (..., T, *sizes) of at least one step."""
    check.shaped(name, x, None, *sizes)
    if not x.numel():
        raise ValueError(f"{name}: expected at least one step, got shape {tuple(x.shape)}")
    return check.finite(name, x)


def state(name: str, h: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return a finite state of this shape in the dtype of the inputs, on their device.

    A state without leading axes is that of every sequence.
    """
    check.floating(name, h)
    if tuple(h.shape) not in (shape, shape[-1:]):
        wanted = " or ".join(str(each) for each in dict.fromkeys((shape, shape[-1:])))
        raise ValueError(f"{name}: expected shape {wanted}, got {tuple(h.shape)}")
    return check.finite(name, weighted(name, h, like)).expand(shape)


def weighted(name: str, x: Tensor, weight: Tensor) -> Tensor:
    """Return ``x`` in the dtype of the weight if ``gdl._checks.typed`` lets it, on its device."""
    x = check.typed(name, x, weight.dtype)
    if x.device != weight.device:
        raise ValueError(f"{name}: expected device {weight.device}, got {x.device}")
    return x


def sizes(**values: int) -> None:
    """Raise unless all are positive ints."""
    for name, value in values.items():
        check.integer(name, value, 1)


def made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    """Arguments of new weights."""
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}


def clock(name: str, times: Tensor) -> Tensor:
    """Return ``times`` if they are those of a warp: (T,), finite, never decreasing."""
    check.floating(name, times)
    if times.ndim != 1 or not len(times):
        raise ValueError(
            f"{name}: expected shape (T,) with at least one time, got {tuple(times.shape)}"
        )
    check.finite(name, times)
    falls = (times[1:] < times[:-1]).nonzero() if check.readable(times) else ()
    if len(falls):
        i = int(falls[0]) + 1
        raise ValueError(
            f"{name}: expected times that never decrease, "
            f"got {times[i].item()} at index {i} after {times[i - 1].item()}"
        )
    return times


def series(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it holds finite real or complex numbers ``(..., T, n)``, at least one."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"{name}: expected a floating-point or complex tensor, got {x.dtype}")
    if x.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {x.layout}")
    if x.ndim < 2 or not x.numel():
        raise ValueError(
            f"{name}: expected shape (..., T, n) of at least one step, got {tuple(x.shape)}"
        )
    return _finite(name, x)


def inputs(name: str, x: Tensor, weight: Tensor, size: int) -> Tensor:
    """Return ``x`` (..., T, size) in the dtype of the weights if it lies on their device."""
    check.shaped(name, x, None, size)
    if x.device != weight.device:
        raise ValueError(f"{name}: expected device {weight.device} as the layer, got {x.device}")
    return series(name, check.typed(name, x, weight.dtype))


def fitting(name: str, x: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return finite numbers of this shape, of the dtype and on the device of others."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if x.dtype != like.dtype or x.device != like.device or x.layout != torch.strided:
        raise TypeError(
            f"{name}: expected a dense {like.dtype} on {like.device}, "
            f"got {x.layout} {x.dtype} on {x.device}"
        )
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(x.shape)}")
    return _finite(name, x)


def durations(x: Tensor, series: Tensor) -> Tensor:
    """Return times of at least 0 for each step of a series ``(..., T, n)``, or ``(T,)`` for all."""
    x = check.typed("durations", x, series.dtype)
    steps = series.shape[:-1]
    if x.device != series.device:
        raise ValueError(f"durations: expected device {series.device}, got {x.device}")
    if x.shape not in (steps, steps[-1:]):
        raise ValueError(
            f"durations: expected shape {tuple(steps)} or {tuple(steps[-1:])}, got {tuple(x.shape)}"
        )
    return lapses(x)


def lapses(x: Tensor) -> Tensor:
    """Return durations if they are finite and none is negative."""
    _finite("durations", x)
    if check.readable(x) and bool((x < 0).any()):
        raise ValueError("durations: expected times of at least 0, got a negative one")
    return x


def unspoilt(name: str, made: Tensor) -> Tensor:
    """Return what was made of finite numbers if it has not overflowed."""
    if check.readable(made) and not _is_finite(made):
        raise ValueError(f"{name}: expected products and sums that stay finite, got an overflow")
    return made


def _finite(name: str, x: Tensor) -> Tensor:
    if check.readable(x) and not _is_finite(x):
        raise ValueError(f"{name}: expected finite entries, got NaN or infinity")
    return x


def _is_finite(x: Tensor) -> bool:
    # A finite sum has no other terms, and is found many times faster than the worst entry.
    return bool(x.detach().sum().isfinite()) or bool(torch.isfinite(x).all())
