"""Sums along chains of predecessors, all chains at once."""

from __future__ import annotations

from torch import Tensor


def summed(steps: Tensor, before: Tensor) -> Tensor:
    """The sum of the steps of each element and of all before it.

    The first element of a chain is its own predecessor, with step 0. Each round doubles the
    distance that is seen, so that a chain of 20,000 takes 15 rounds.
    """
    while True:
        further = before[before]
        if bool((further == before).all()):
            return steps
        steps, before = steps + steps[before], further
