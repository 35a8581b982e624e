"""Landing a rocket: a gradient through the simulator against trials, ten starts for each seed.

"A simulator with a gradient" of the chapter "programs": L-BFGS on all 200 controls; an evolution
strategy on all of them; and the same strategy on plans that are linear between four knots, 8
numbers, which is a guess about the answer that the gradient does not need. The cost of the best
plan after so many simulations is the median over the starts. A gradient takes a backward pass after
each simulation, which is not counted.

Population, spread and number of knots were chosen on the starts of seeds 11 to 14, from populations
of 10 to 100, spreads of 0.1 to 1 and 3 to 20 knots; the cross-entropy method was tried as well, and
was worse with knots and no better without.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import mean, median

from torch import Tensor

from gdl.programs.landing import Landing, land, search_landing
from studies._landing import random_starts
from studies._runner import Measurements, run

STARTS, BUDGETS = 10, (100, 1000, 10_000)


def by_gradient(start: Tensor, seed: int, budget: int) -> Landing:
    return land(start, most_simulations=min(budget, 500))


def by_trials(start: Tensor, seed: int, budget: int) -> Landing:
    return search_landing(start, budget=budget, seed=seed)


def by_trials_of_knots(start: Tensor, seed: int, budget: int) -> Landing:
    return search_landing(start, budget=budget, seed=seed, knots=4)


Search = Callable[[Tensor, int, int], Landing]
VARIANTS: dict[str, Search] = {
    "gradient, 200 controls": by_gradient,
    "trials, 200 controls": by_trials,
    "trials, 4 knots": by_trials_of_knots,
}


def measure(seed: int) -> Measurements:
    """How many starts are landed from, in how many simulations, and how good plans are when."""
    # A smoke run, which the runner refuses to store.
    count, most = (1, 40) if os.environ.get("GDL_MAX_STEPS") else (STARTS, BUDGETS[-1])
    starts = random_starts(count, seed=seed)
    for variant, search in VARIANTS.items():
        landings = [search(start, seed, most) for start in starts]
        yield variant, "share landed", mean(float(found.landed) for found in landings)
        yield variant, "simulations", mean(found.simulations for found in landings)
        for budget in BUDGETS:
            yield variant, f"cost after {budget}", median(cost(f, budget) for f in landings)
        yield variant, "miss", median(found.touchdown.miss for found in landings)


def cost(found: Landing, budget: int) -> float:
    """Of the best plan after so many simulations, or when it stopped."""
    return found.costs[min(budget, found.simulations) - 1]


if __name__ == "__main__":
    run("landing", measure)
