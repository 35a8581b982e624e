"""Irreps of SO(2), by their order."""

from __future__ import annotations


def size(order: int) -> int:
    """The dimension of the irrep of an order: 1 for order 0, and 2 for all others."""
    return 2 if order else 1
