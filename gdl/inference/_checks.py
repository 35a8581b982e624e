"""Argument checks that the modules of this room share."""

from __future__ import annotations


def instance(name: str, value: object, kind: type) -> None:
    """Raise unless ``value`` is of this class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: expected a {kind.__name__}, got {type(value).__name__}")
