"""Landings: with gradients, by trials, and those that no plan can make."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from gdl.programs._evolution import Strategy
from gdl.programs.landing import (
    _linear,
    hover,
    land,
    search_landing,
    unreachable,
)
from gdl.programs.rocket import Rocket, fly, touchdown
from studies._landing import random_starts
from tests.programs.test_rocket import F64, MIRROR, MIRROR_CONTROLS, at, both_dtypes, gap, random
from tests.test_representations import refuses

ASIDE = at(10.0, 30.0, -2.0, -5.0, 0.2)
NEAR = at(y=5.0)
SHORT = {"steps": 10, "step": 0.2}


def flown_again(found, start: Tensor, rocket: Rocket | None = None, step: float = 0.05) -> float:
    return gap(fly(found.controls, start, rocket, step=step), found.states)


# --- with gradients -------------------------------------------------------------------------------


@both_dtypes
def test_lands_within_a_centimetre(dtype):
    start = ASIDE.to(dtype)
    found = land(start)
    end = touchdown(found.states[-1])
    assert found.landed and found.reason.startswith("landed: ") and found.touchdown == end
    assert end.miss < 0.01 and end.speed < 0.05 and end.tilt < math.pi / 180 and end.soft
    assert found.states.shape == (101, 7) and found.controls.shape == (100, 2)
    assert found.states.dtype == found.controls.dtype == dtype
    assert found.states[:, 1].min() > -0.01 and not found.controls.requires_grad
    assert flown_again(found, start) < 1e4 * torch.finfo(dtype).eps
    assert found.simulations == len(found.costs) < 200
    assert list(found.costs) == sorted(found.costs, reverse=True)
    assert found.costs[-1] <= 1e-8 < found.costs[-2]


def test_lands_from_random_starts():
    landings = [land(start) for start in random_starts(6, seed=0)]
    assert [found.landed for found in landings] == [True] * 6
    with torch.no_grad():
        assert land(random_starts(1, seed=0)[0]).costs == landings[0].costs


def test_a_mirrored_start_is_landed_by_the_mirrored_plan():
    found, mirrored = land(ASIDE), land(ASIDE * MIRROR)
    assert found.simulations == mirrored.simulations
    assert gap(mirrored.controls, found.controls * MIRROR_CONTROLS) < 1e-6
    assert found.controls[:, 1].abs().max() > 0.1
    upright = land(at(y=20.0, vy=-3.0))
    assert upright.landed and upright.controls[:, 1].abs().max() == 0


def test_a_search_begins_where_it_is_told():
    found = land(ASIDE)
    again = land(ASIDE, controls=found.controls)
    assert again.landed and again.simulations == 1
    assert gap(again.controls, found.controls) == 0


def test_the_budget_ends_it():
    found = land(ASIDE, most_simulations=7)
    assert found.simulations == 7 and not found.landed
    assert found.reason.startswith("no landing in 7 simulations; the best: ")
    assert flown_again(found, ASIDE) < 1e-10


def test_a_start_that_wants_a_gradient_is_no_obstacle():
    start = NEAR.clone().requires_grad_()
    found = land(start, **SHORT)
    assert found.landed and not found.states.requires_grad and start.grad is None
    assert search_landing(start, budget=20, seed=0, **SHORT).simulations == 20


def test_costs_out_of_range_are_an_error():
    with pytest.raises(FloatingPointError, match="cost"):
        land(at(y=1e160), rocket=Rocket(max_thrust=1e165, exhaust_speed=1e170))


def test_a_flight_through_the_ground_is_no_landing():
    # It falls for too long, then shoots up, and coasts to its highest point, the origin.
    rocket, controls = Rocket(gravity=5.0), torch.zeros(80, 2, dtype=F64)
    controls[:, 0], controls[32:52, 0] = -40.0, 40.0
    start = ending_at_rest(controls, at(), rocket)
    assert start[1] > 1 and unreachable(start, rocket=rocket, steps=80) == ""
    assert fly(controls, start, rocket)[:, 1].min() < -1
    found = land(start, rocket=rocket, steps=80, controls=controls, most_simulations=1)
    assert found.touchdown.soft and not found.landed
    assert re.fullmatch(r"no landing .* after [\d.]+ m below ground", found.reason)


# --- what no plan can do --------------------------------------------------------------------------

IMPOSSIBLE = {
    "below ground": (at(y=-2.0), Rocket(), "the start is 2 m below ground"),
    "weak engine": (at(y=30.0), Rocket(max_thrust=9e3), "too weak an engine, .* 45.. of 49.. m/s"),
    "no fuel": (at(y=30.0, mass=800.0), Rocket(), "too little fuel, .* by 0 of 49"),
    "little fuel": (at(y=30.0, mass=810.0), Rocket(), "too little fuel, .* by 37"),
    "too fast": (at(y=10.0, vy=-20.0), Rocket(), "full thrust straight up .* after 0.6. s"),
    "too far": (at(x=500.0, y=30.0), Rocket(), "too far, .* by 25. of 509 m in 5 s"),
    "spins": (at(y=30.0, spin=20.0), Rocket(), "spins too fast, .* 12.4 of 20 rad/s"),
}


@pytest.mark.parametrize("case", list(IMPOSSIBLE))
def test_impossible_landings_are_reported(case):
    start, rocket, reason = IMPOSSIBLE[case]
    for found in (
        land(start, rocket=rocket),
        search_landing(start, rocket=rocket, budget=20, seed=0),
    ):
        assert not found.landed and found.simulations == 1
        assert found.reason == unreachable(start, rocket=rocket)
        assert flown_again(found, start, rocket) < 1e-10
        assert re.search(reason, found.reason), found.reason


def ending_at_rest(controls: Tensor, start: Tensor, rocket: Rocket) -> Tensor:
    """The start as seen by an observer for whom the flight ends at rest at the origin."""
    moved = start.clone()
    moved[2:4] -= fly(controls, moved, rocket)[-1, 2:4]
    moved[:2] -= fly(controls, moved, rocket)[-1, :2]
    return moved


PLANNED = [(tilt, gravity, exhaust) for tilt in range(6) for gravity in (0.0, 9.81)
           for exhaust in (300.0, 3000.0)]  # fmt: skip


@pytest.mark.parametrize(("tilt", "gravity", "exhaust"), PLANNED, ids=str)
def test_no_landing_that_exists_is_called_impossible(tilt, gravity, exhaust):
    rocket = Rocket(max_thrust=4e4, gravity=gravity, exhaust_speed=exhaust)
    controls = 2 * random(40, 2, seed=tilt)
    spin = float(fly(controls, at(mass=850.0), rocket)[-1, 5])
    start = ending_at_rest(controls, at(tilt=0.2 * tilt, spin=-spin, mass=850.0), rocket)
    flight = fly(controls, start, rocket)
    end, above = touchdown(flight[-1]), float(flight[:, 1].min())
    assert end.miss < 1e-9 and end.speed < 1e-9 and end.spin < 1e-9
    found = unreachable(start, rocket=rocket, steps=40)
    assert found == "" or above < -0.01 and "ground" in found


@pytest.mark.parametrize("tilt", [0.0, 0.5, -0.8], ids=str)
def test_full_thrust_reaches_the_bounds(tilt):
    steps, seconds = 40, 2.0
    full = torch.tensor([[40.0, 0.0]], dtype=F64).expand(steps, 2)
    start = ending_at_rest(full, at(tilt=tilt), Rocket())
    assert fly(full, start)[:, 1].min() > -1e-9 and unreachable(start, steps=steps) == ""
    landing = land(start, steps=steps, controls=full, most_simulations=1)
    assert landing.touchdown.miss < 1e-9 and landing.touchdown.speed < 1e-9
    assert landing.landed == (tilt == 0)
    away = torch.zeros(7, dtype=F64)
    away[:2] = torch.tensor([math.sin(tilt), -math.cos(tilt)])
    # Faster, but so placed that free fall does not end farther away.
    faster = start + 0.06 * (away.roll(2) - seconds * away)
    assert "changes the velocity" in unreachable(faster, steps=steps)
    wanted = "too far" if tilt else "full thrust straight up"
    assert wanted in unreachable(start + 0.02 * away, steps=steps)


@pytest.mark.parametrize("side", [-1, 1])
def test_full_gimbal_reaches_its_bound(side):
    full = torch.tensor([[40.0, 20.0 * side]], dtype=F64).expand(40, 2)
    turned = float(fly(full, at())[-1, 5])
    for excess, reason in ((0.99, ""), (1.01, "spins too fast")):
        limit = math.copysign(abs(turned) + excess * math.pi / 180, turned)
        assert reason in unreachable(at(y=40.0, spin=-limit), steps=40)
        assert bool(reason) == bool(unreachable(at(y=40.0, spin=-limit), steps=40))


# --- by trials ------------------------------------------------------------------------------------


def test_trials_land_from_a_few_knots_and_not_from_all_controls():
    few = search_landing(ASIDE, budget=10_000, seed=0, knots=4)
    assert few.landed and few.touchdown.soft and few.simulations < 10_000
    assert flown_again(few, ASIDE) < 1e-10
    second = few.controls.diff(n=2, dim=0).abs().amax(1)
    assert int((second > 1e-9).sum()) <= 4  # two bends, each seen by at most two differences
    every = search_landing(ASIDE, budget=1000, seed=0)
    assert not every.landed and every.simulations == 1000
    assert every.costs[-1] < 0.1 * every.costs[0]


def test_equal_seeds_search_alike_and_within_the_budget():
    one, two = (search_landing(ASIDE, budget=95, seed=3) for _ in range(2))
    assert one.simulations == 80 and one.costs == two.costs
    assert gap(one.controls, two.controls) == 0
    other = search_landing(ASIDE, budget=95, seed=4)
    assert other.costs[0] != one.costs[0]


def test_trials_begin_around_hovering():
    rocket = Rocket(max_thrust=1e5)
    found = search_landing(ASIDE, budget=20, seed=0, rocket=rocket, spread=1e-6)
    apart = found.controls - hover(ASIDE, rocket)
    assert hover(ASIDE, rocket)[0, 0] < -1 and 1e-7 < apart.abs().max() < 1e-5


def test_knots_are_joined_by_lines():
    values = random(5)
    wanted = np.interp(np.linspace(0, 4, 17), np.arange(5), values.numpy())
    assert np.abs((_linear(17, 5) @ values).numpy() - wanted).max() < 1e-14


def test_trials_in_single_precision():
    found = search_landing(NEAR.float(), budget=2000, seed=0, knots=2, **SHORT)
    assert found.states.dtype == torch.float32 and found.landed


@pytest.mark.parametrize("turned", [False, True], ids=["axes", "turned"])
def test_the_strategy_learns_the_covariance(turned):
    size = 6
    axes = torch.linalg.qr(random(size, size))[0] if turned else torch.eye(size, dtype=F64)
    scales = torch.logspace(0, 3, size, dtype=F64)

    def best(population: int, learning: bool) -> float:
        strategy, least = Strategy(size, population, 0.5, seed=0), math.inf
        for _ in range(3000 // population):
            trials = strategy.ask()
            costs = (((trials - 1) @ axes) * scales).square().sum(1)
            strategy.tell(costs)
            if not learning:
                strategy.covariance = torch.eye(size, dtype=F64)
            least = min(least, float(costs.min()))
        return least

    assert best(12, learning=True) < 1e-7
    assert best(12, learning=False) > 0.1


# --- beginnings, and what is refused --------------------------------------------------------------


def test_hovering_carries_the_weight():
    start, light = at(2.0, 9.0, mass=1200.0), Rocket(exhaust_speed=1e15)
    assert gap(fly(hover(start, light), start, light), start.expand(101, 7)) < 1e-10
    weak, strong = Rocket(max_thrust=1.0), Rocket(max_thrust=1e9)
    throttles = [float(hover(start, rocket, 1)[0, 0].sigmoid()) for rocket in (weak, strong)]
    assert throttles == pytest.approx([0.99, 0.01])


def test_random_starts_fill_their_box():
    starts = random_starts(500, seed=0)
    centre, extent = at(0.0, 30.0, 0.0, -5.0), at(20.0, 10.0, 5.0, 5.0, 0.3, 0.1, 0.0)
    reached = ((starts - centre).abs() / extent.clamp(min=1e-9)).amax(0)
    assert (reached[:6] > 0.98).all() and (reached <= 1).all()
    assert gap(random_starts(500, seed=0), starts) == 0
    assert random_starts(2, seed=1, dtype=torch.float32).dtype == torch.float32
    assert not torch.equal(random_starts(500, seed=1), starts)


@pytest.mark.parametrize(
    ("call", "error", "argument"),
    [
        (lambda: land(ASIDE[None]), ValueError, "start"),
        (lambda: land(ASIDE.tolist()), TypeError, "start"),
        (lambda: land(ASIDE.long()), TypeError, "start"),
        (lambda: land(ASIDE * math.inf), ValueError, "start"),
        (lambda: land(at(mass=10.0)), ValueError, "start"),
        (lambda: land(ASIDE.to("meta")), ValueError, "start"),
        (lambda: land(ASIDE, steps=0), ValueError, "steps"),
        (lambda: land(ASIDE, steps=2.0), TypeError, "steps"),
        (lambda: land(ASIDE, step=-1.0), ValueError, "step"),
        (lambda: land(ASIDE, rocket="big"), TypeError, "rocket"),
        (lambda: land(ASIDE, most_simulations=0), ValueError, "most_simulations"),
        (lambda: land(ASIDE, most_simulations=True), TypeError, "most_simulations"),
        (lambda: land(ASIDE, controls=random(99, 2)), ValueError, "controls"),
        (lambda: land(ASIDE, controls=random(1, 100, 2)), ValueError, "controls"),
        (lambda: land(ASIDE, controls=random(100, 2).float()), TypeError, "controls"),
        (lambda: land(ASIDE, controls=random(100, 2) * math.nan), ValueError, "controls"),
        (lambda: search_landing(ASIDE, budget=19, seed=0), ValueError, "budget"),
        (lambda: search_landing(ASIDE, budget=1e4, seed=0), TypeError, "budget"),
        (lambda: search_landing(ASIDE, budget=40, seed=-1), ValueError, "seed"),
        (lambda: search_landing(ASIDE, budget=40, seed=0, knots=1), ValueError, "knots"),
        (lambda: search_landing(ASIDE, budget=40, seed=0, knots=101), ValueError, "knots"),
        (lambda: search_landing(ASIDE, budget=40, seed=0, population=3), ValueError, "population"),
        (lambda: search_landing(ASIDE, budget=40, seed=0, spread=0.0), ValueError, "spread"),
        (lambda: search_landing(ASIDE[:3], budget=40, seed=0), ValueError, "start"),
        (lambda: unreachable(ASIDE, steps=0), ValueError, "steps"),
        (lambda: hover(ASIDE, steps=0), ValueError, "steps"),
        (lambda: random_starts(0, seed=0), ValueError, "count"),
        (lambda: random_starts(2, seed=0.5), TypeError, "seed"),
        (lambda: random_starts(2, seed=0, dtype=torch.int64), TypeError, "dtype"),
    ],
)
def test_arguments_that_are_refused(call, error, argument):
    with refuses(error, argument):
        call()
