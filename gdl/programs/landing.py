r"""Two ways to land a rocket: one reads the simulator's gradient, the other can only try.

Chapter: ``programs``.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl._motion import MOST_STEPS
from gdl.programs._evolution import Strategy
from gdl.programs._matrices import precise
from gdl.programs._modes import outside_inference_mode
from gdl.programs.rocket import (
    CONTROLS,
    SOFT_MISS,
    SOFT_SPEED,
    SOFT_SPIN,
    STATE,
    Rocket,
    Touchdown,
    check_start,
    checked_rocket,
    fly,
    landing_cost,
    touchdown,
)

# A landing aims deeper than it must: at a tenth of a millimetre.
ENOUGH = 1e-8


@dataclass(frozen=True)
class Landing:
    r"""What a search for a landing found.

    Args:
        controls: ``(T, 2)``, the best plan, as :func:`~gdl.programs.fly` takes it.
        states: ``(T + 1, 7)``, its flight; whole turns of the tilt of the start are left out.
        costs: the cost of the best plan so far, after each simulation.
        simulations: flights that were simulated.
        landed: whether the flight stays above ground, up to 1 cm, and ends softly.
        reason: why, or why not.

    Chapter: ``programs``.

    >>> states = torch.zeros(2, 7)
    >>> Landing(torch.zeros(1, 2), states, (0.0,), 1, True, "it stood there").touchdown.soft
    True
    """

    controls: Tensor
    states: Tensor
    costs: tuple[float, ...]
    simulations: int
    landed: bool
    reason: str

    @property
    def touchdown(self) -> Touchdown:
        """Of the last state."""
        return touchdown(self.states[-1])


@outside_inference_mode
def land(
    start: Tensor,
    *,
    rocket: Rocket | None = None,
    steps: int = 100,
    step: float = 0.05,
    most_simulations: int = 500,
    controls: Tensor | None = None,
) -> Landing:
    r"""Land at the origin by L-BFGS on the controls, with gradients through the simulator.

    It minimises :func:`~gdl.programs.landing_cost` until a tenth of a millimetre is left. Each
    simulation is followed by one backward pass, which is not counted; central differences would
    need ``4 T`` simulations for the same gradient.

    Args:
        start: ``(7,)``, float32 or float64, as of :func:`~gdl.programs.fly`; its dtype and device
            are used.
        rocket: the constants; None is ``Rocket()``.
        steps: T.
        step: in s; the flight takes ``steps * step`` seconds.
        most_simulations: after so many it gives up.
        controls: ``(T, 2)`` to begin with; None is :func:`~gdl.programs.hover`.

    Returns:
        A landing, or the best flight found, with ``landed`` False and a reason. What
        :func:`~gdl.programs.unreachable` recognises is not attempted.

    Raises: TypeError or ValueError for other arguments, FloatingPointError for flights or costs
    beyond the range of numbers.

    Law tested: lands from random starts, and mirrored from mirrored ones; its landings hold when
    they are flown again; starts that no plan can save are reported, each with its reason.
    Chapter: ``programs``.

    >>> start = torch.tensor([10.0, 30.0, -2.0, -5.0, 0.2, 0.0, 1000.0])
    >>> land(start, rocket=Rocket(max_thrust=9e3)).landed
    False
    """
    trials = _Trials(start, rocket, steps, step, most_simulations)
    if controls is None:
        controls = hover(start, trials.rocket, steps)
    if check.shaped("controls", controls, steps, CONTROLS).ndim != 2:
        raise ValueError(f"controls: expected shape (T, 2), got {tuple(controls.shape)}")
    if not trials.obstacle:
        _descend(trials, controls.detach())
    return trials.landing(controls.detach())


def search_landing(
    start: Tensor,
    *,
    budget: int,
    seed: int,
    rocket: Rocket | None = None,
    steps: int = 100,
    step: float = 0.05,
    knots: int | None = None,
    population: int = 20,
    spread: float = 0.2,
) -> Landing:
    r"""Land at the origin without looking into the simulator: an evolution strategy, CMA-ES.

    It draws plans around a mean plan, at first :func:`~gdl.programs.hover`, simulates them, moves
    the mean to the better half and learns from them along which directions to draw next. The cost
    and the reports are those of :func:`~gdl.programs.land`.

    Args:
        start: ``(7,)``, float32 or float64, as of :func:`~gdl.programs.fly`; its dtype and device
            are used.
        budget: simulations, at least one population.
        seed: of the draws.
        rocket: the constants; None is ``Rocket()``.
        steps, step: T, and in s.
        knots: search only plans that are linear between so many equally spaced knots, the first
            and the last control among them; None searches all ``2 T`` controls.
        population: plans a generation, at least 4.
        spread: standard deviation of the first plans around the mean.

    Returns:
        A landing, or the best flight found, with ``landed`` False and a reason.

    Raises: TypeError or ValueError for other arguments, FloatingPointError for flights or costs
    beyond the range of numbers.

    Law tested: lands from a few knots; equal seeds search alike; never flies more than the budget;
    the strategy solves quadratics whose axes differ by a thousand, which it does not without their
    covariance. Source: Hansen, The CMA evolution strategy: a tutorial, arXiv 1604.00772.
    Chapter: ``programs``.

    >>> start = torch.tensor([0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 1000.0])
    >>> search_landing(start, budget=95, seed=0, steps=10, step=0.2).simulations
    80
    """
    check.integer("seed", seed)
    check.integer("population", population, 4)
    check.positive("spread", spread)
    trials = _Trials(start, rocket, steps, step, check.integer("budget", budget, population))
    mean = hover(start, trials.rocket, steps)
    weights = _linear(steps, steps if knots is None else check.integer("knots", knots, 2, steps))
    strategy = Strategy(CONTROLS * weights.shape[1], population, spread, seed)
    while not trials.obstacle and not trials.done and trials.left >= population:
        offsets = weights @ strategy.ask().unflatten(1, (-1, CONTROLS))
        with torch.no_grad():
            strategy.tell(trials.fly(mean + offsets.to(start)))
    return trials.landing(mean)


def _linear(steps: int, knots: int) -> Tensor:
    """Values at all steps from those at the knots, ``(steps, knots)``."""
    places = torch.linspace(0, knots - 1, steps, dtype=torch.float64)
    return (1 - (places[:, None] - torch.arange(knots)).abs()).clamp(min=0)


class _Trials:
    """The flights of one search: it simulates, counts, and remembers the best."""

    def __init__(
        self, start: Tensor, rocket: Rocket | None, steps: int, step: float, most: int
    ) -> None:
        # Fewer digits than a landing is judged by would judge their own rounding.
        precise("start", start)
        self.obstacle = unreachable(start, rocket=rocket, steps=steps, step=step)
        self.start, self.rocket, self.step = _unwound(start), checked_rocket(rocket), step
        self.most, self.costs = check.integer("most_simulations", most, 1), []
        self.best = None

    @property
    def left(self) -> int:
        return self.most - len(self.costs)

    @property
    def done(self) -> bool:
        return not self.left or bool(self.costs and self.costs[-1] <= ENOUGH)

    def fly(self, plans: Tensor) -> Tensor:
        """The costs of plans ``(n, T, 2)``, each a simulation."""
        flights = fly(plans, self.start, self.rocket, step=self.step)
        costs = landing_cost(flights)
        if not self.obstacle and not bool(torch.isfinite(costs).all()):
            raise FloatingPointError(
                "start, rocket: the cost of a flight left the range of numbers"
            )
        for index, cost in enumerate(costs.tolist()):
            if not self.costs or cost < self.costs[-1]:
                self.best = plans[index].detach(), flights[index].detach()
            self.costs.append(min([cost, *self.costs[-1:]]))
        return costs

    def landing(self, fallback: Tensor) -> Landing:
        """The best flight, or that of the fallback if there was none, and what is true of it."""
        if not self.costs:
            self.fly(fallback[None])
        controls, states = self.best
        end, lowest = touchdown(states[-1]), float(states[:, 1].min())
        landed = end.soft and lowest >= -SOFT_MISS
        below = f", after {-lowest:.3g} m below ground" if lowest < -SOFT_MISS else ""
        outcome = "landed" if landed else f"no landing in {len(self.costs)} simulations; the best"
        reason = self.obstacle or f"{outcome}: {end}{below}"
        return Landing(controls, states, tuple(self.costs), len(self.costs), landed, reason)


def _unwound(start: Tensor) -> Tensor:
    """The start without whole turns of its tilt, which a landing does not count."""
    turns = torch.round(start.detach()[4] / (2 * math.pi))
    return start.detach() - 2 * math.pi * turns * torch.eye(STATE).to(start)[4]


class _Enough(Exception):
    """A search has landed, or used its simulations."""


def _descend(trials: _Trials, controls: Tensor) -> None:
    """L-BFGS; SciPy counts its own evaluations only between line searches, so we end it."""
    from scipy.optimize import minimize

    def cost_and_slope(values):
        plan = controls.new_tensor(values).reshape(controls.shape).requires_grad_()
        with torch.enable_grad():
            cost = trials.fly(plan[None])[0]
            if trials.done:
                raise _Enough
            (slope,) = torch.autograd.grad(cost, plan)
        return cost.item(), slope.flatten().double().cpu().numpy()

    first = controls.flatten().double().cpu().numpy()
    settings = {"maxiter": trials.most, "maxfun": trials.most, "maxcor": 20, "ftol": 0, "gtol": 0}
    with contextlib.suppress(_Enough):
        minimize(cost_and_slope, first, jac=True, method="L-BFGS-B", options=settings)


def unreachable(
    start: Tensor, *, rocket: Rocket | None = None, steps: int = 100, step: float = 0.05
) -> str:
    r"""Why no plan at all can land from here, or an empty text where that is not known.

    Full thrust for a time t changes the velocity by g(t) and no plan does by more, whatever its
    directions. So after the flight the velocity is within g of that of free fall, the position
    within the sum of ``step g`` of that of free fall, the spin within what the gimbal can do. And
    full thrust straight up is at every time the highest flight there is: where it is below ground,
    all are. A text is a proof; an empty text is none.

    Args: those of :func:`~gdl.programs.land`.

    Raises: TypeError or ValueError for other arguments, FloatingPointError for flights beyond the
    range of numbers.

    Law tested: says nothing where a plan is known to land; full thrust and full gimbal reach the
    bounds, and beyond them it speaks. Chapter: ``programs``.

    >>> unreachable(torch.tensor([0.0, -3.0, 0.0, 0.0, 0.0, 0.0, 900.0]))
    'unreachable: the start is 3 m below ground'
    >>> unreachable(torch.tensor([0.0, 10.0, 0.0, -50.0, 0.0, 0.0, 900.0]))
    'unreachable: even at full thrust straight up it is below ground after 0.25 s'
    """
    rocket, step = checked_rocket(rocket), check.positive("step", step)
    check.integer("steps", steps, 1, MOST_STEPS)
    check_start(start, rocket)
    x, y, vx, vy, _, spin, mass = start.tolist()
    times = step * torch.arange(1, steps + 1, dtype=torch.float64)
    fuel, wanted = mass - rocket.dry_mass, times * (rocket.max_thrust / rocket.exhaust_speed)
    burnt = wanted.clamp(max=fuel)
    gained = -rocket.exhaust_speed * torch.log1p(-burnt / mass)
    highest = y + step * (vy + gained - rocket.gravity * times).cumsum(0)
    seconds, gain, reach = float(times[-1]), float(gained[-1]), step * float(gained.sum())
    fallen = rocket.gravity * step * step * steps * (steps + 1) / 2
    speed = math.hypot(vx, vy - rocket.gravity * seconds)
    away = math.hypot(x + vx * seconds, y + vy * seconds - fallen)
    leverage = rocket.lever / rocket.inertia * math.sin(rocket.max_gimbal)
    turn = leverage * rocket.exhaust_speed * float(burnt[-1])
    if not all(map(math.isfinite, (gain, reach, speed, away, turn, float(highest.sum())))):
        raise FloatingPointError("start, step: the bounds of the flight left the range of numbers")
    lack = "too little fuel" if float(wanted[-1]) > fuel else "too weak an engine"
    if y < -SOFT_MISS:
        reason = f"the start is {-y:.3g} m below ground"
    elif speed - gain > SOFT_SPEED:
        reason = f"{lack}, which changes the velocity by {gain:.3g} of {speed:.3g} m/s"
    elif float(highest.min()) < -SOFT_MISS:
        first = float(times[highest < -SOFT_MISS][0])
        reason = f"even at full thrust straight up it is below ground after {first:.3g} s"
    elif away - reach > SOFT_MISS:
        reason = f"too far, thrust moves it by {reach:.3g} of {away:.3g} m in {seconds:.3g} s"
    elif abs(spin) - turn > SOFT_SPIN:
        reason = f"it spins too fast, the gimbal takes {turn:.3g} of {abs(spin):.3g} rad/s"
    else:
        return ""
    return f"unreachable: {reason}"


def hover(start: Tensor, rocket: Rocket | None = None, steps: int = 100) -> Tensor:
    r"""Controls that carry the weight of the start, ``(steps, 2)``, with the engine straight.

    The throttle is kept from 1 to 99 percent, where it still has a gradient.

    Raises: TypeError or ValueError for other arguments.

    Law tested: an upright rocket that loses no mass stands still. Chapter: ``programs``.

    >>> hover(torch.tensor([0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 1000.0]), Rocket(gravity=10.0), 1)
    tensor([[0., 0.]])
    """
    rocket = checked_rocket(rocket)
    check_start(start, rocket)
    check.integer("steps", steps, 1, MOST_STEPS)
    throttle = start[-1].item() * rocket.gravity / rocket.max_thrust
    throttle = min(max(throttle, 0.01), 0.99)
    controls = start.detach().new_zeros(steps, CONTROLS)
    controls[:, 0] = math.log(throttle / (1 - throttle))
    return controls
