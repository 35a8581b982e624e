"""Argument checks of this room: each raises an error that names the argument."""

from __future__ import annotations

from torch import Tensor

from gdl._checks import finite, floating, integer, one_of

__all__ = [
    "divisible",
    "field",
    "finite",
    "is_tensor",
    "not_empty",
    "one_of",
    "positive_int",
    "real_tensor",
    "size_tuple",
]


def positive_int(name: str, value: int) -> int:
    """Return ``value`` if it is an int of at least 1."""
    return integer(name, value, 1)


def size_tuple(name: str, size: int | tuple[int, ...], dims: tuple[int, ...] = (1, 2)) -> tuple:
    """Return ``size`` as a tuple of positive ints whose length is one of ``dims``."""
    sizes = (size,) if isinstance(size, int) else tuple(size)
    if len(sizes) not in dims:
        raise ValueError(f"{name}: expected {' or '.join(map(str, dims))} sizes, got {size}")
    return tuple(positive_int(name, n) for n in sizes)


def is_tensor(name: str, x: Tensor) -> None:
    """Raise unless ``x`` is a tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")


def real_tensor(name: str, x: Tensor, ndim: int | None = None) -> None:
    """Raise unless ``x`` is a real floating-point tensor, of ``ndim`` axes if that is given."""
    floating(name, x)
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"{name}: expected {ndim} axes, got shape {tuple(x.shape)}")


def not_empty(name: str, x: Tensor) -> None:
    """Raise if ``x`` has no entries: torch has no Fourier transform of nothing."""
    if x.numel() == 0:
        raise ValueError(f"{name}: expected at least one entry, got shape {tuple(x.shape)}")


def field(name: str, x: Tensor, dims: int, channels: int | None = None) -> None:
    """Raise unless ``x`` is a batch of ``dims``-dimensional fields of C = ``channels``."""
    real_tensor(name, x)
    if x.ndim != dims + 2:
        expected = "(N, C, n)" if dims == 1 else "(N, C, h, w)"
        raise ValueError(f"{name}: expected shape {expected}, got {tuple(x.shape)}")
    if channels is not None and x.shape[1] != channels:
        raise ValueError(
            f"{name}: expected {channels} channels on axis 1, got shape {tuple(x.shape)}"
        )


def divisible(name: str, x: Tensor, dims: int, factor: int) -> None:
    """Raise unless each of the last ``dims`` sizes of ``x`` is a multiple of ``factor``."""
    size = tuple(x.shape[-dims:])
    if any(n % factor for n in size):
        raise ValueError(f"{name}: expected sizes that are multiples of {factor}, got {size}")
