"""How a solver is timed, ours and a peer's alike; needs the standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def times(solve: Callable[[], object], repeats: int, budget: float) -> dict[str, object]:
    """The first call in this process, then at most so many more as fit into the budget."""
    cold, warm = seconds(solve), []
    while len(warm) < repeats and sum(warm) < budget:
        warm.append(seconds(solve))
    return {"cold": cold, "warm": warm}


def in_turn(
    first: Callable[[], object], second: Callable[[], object], repeats: int
) -> tuple[list[float], list[float]]:
    """Two calls timed by turns, so that a slow moment meets both, after one of each."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(repeats)]
    return [a for a, _ in pairs], [b for _, b in pairs]
