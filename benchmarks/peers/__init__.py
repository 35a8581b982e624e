"""Peers that cannot live in the book's environment, and what was recorded of them."""

from benchmarks.peers.table import recorded, rows

__all__ = ["recorded", "rows"]
