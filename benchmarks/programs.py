"""Programs that are differentiated: in one step's memory, implicitly, softly, and through a rocket.

Springs: 10,000 coordinates, n leapfrogs, the gradient by autograd, which stores each step, and by
the steps run backwards. Runge-Kutta: Kutta's 3/8 rule on 1,000 pendulums, written out, by ours and
by torchdiffeq. Fixed points: z = tanh(W z + x) with n numbers z for each of 16 inputs x, W of norm
1/2, and their gradient, through 60 steps and by the implicit function theorem with three solvers,
the dense one at small sizes. Sorting: n numbers at a temperature so low that torch.sort agrees.
Sinkhorn: n x n scores at temperature 1, through 300 rounds of rows and columns and implicitly. The
rocket flies n steps; its variants return the cost of the flight, after they have computed its
gradient by autograd, or by central differences with all flights in one batch. Times are taken in
float32; values are compared in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchdiffeq import odeint

from benchmarks.cases import Call, Case, disagreement, with_gradients
from gdl.geometry import leapfrog
from gdl.programs.implicit import solve_fixed_point
from gdl.programs.integrators import ButcherTableau, runge_kutta
from gdl.programs.linear import dense_solve, krylov_solve, neumann_solve
from gdl.programs.reversible import reversible_leapfrog
from gdl.programs.rocket import fly, landing_cost
from gdl.programs.soft import sinkhorn, soft_sort

COORDINATES, PENDULUMS, INPUTS = 10_000, 1_000, 16
CONTRACTION, UNROLLED, ROUNDS = 0.5, 60, 300
KUTTA = ButcherTableau(
    "Kutta's 3/8 rule",
    ((0, 0, 0, 0), (1 / 3, 0, 0, 0), (-1 / 3, 1, 0, 0), (1, -1, 1, 0)),
    (1 / 8, 3 / 8, 3 / 8, 1 / 8),
    4,
)


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def springs(steps: int, dtype: torch.dtype) -> dict[str, Call]:
    q = (0.5 * random(COORDINATES, dtype=dtype)).requires_grad_()
    p = torch.zeros_like(q)
    stiffness = torch.linspace(0.5, 2, COORDINATES, dtype=dtype).requires_grad_()
    clock = {"step": 0.1, "steps": steps}

    def energy(q: Tensor, stiffness: Tensor) -> Tensor:
        return (stiffness * (1 - torch.cos(q))).sum()

    def slope(q: Tensor) -> Tensor:
        return torch.autograd.grad(energy(q, stiffness), q, create_graph=True)[0]

    def stored() -> Tensor:
        return torch.cat([x[-1] for x in leapfrog(slope, q, p, **clock, every=steps)])

    def reversible() -> Tensor:
        return torch.cat(reversible_leapfrog(energy, q, p, stiffness, **clock))

    inputs = [q, stiffness]
    runs = {"every step stored": stored, "gdl": reversible}
    return {name: with_gradients(run, inputs) for name, run in runs.items()}


def swing(state: Tensor) -> Tensor:
    q, p = state
    return torch.stack([p, -torch.sin(q)])


def kutta(state: Tensor, step: float, steps: int) -> Tensor:
    """The 3/8 rule written out; all states."""
    states = [state]
    for _ in range(steps):
        a = swing(state)
        b = swing(state + step * a / 3)
        c = swing(state + step * (b - a / 3))
        d = swing(state + step * (a - b + c))
        state = state + step * (a + 3 * (b + c) + d) / 8
        states.append(state)
    return torch.stack(states)


def integrators(steps: int, dtype: torch.dtype) -> dict[str, Call]:
    state, step = random(2, PENDULUMS, dtype=dtype), 0.01
    times = step * torch.arange(steps + 1, dtype=dtype)
    return {
        "written out": lambda: [kutta(state, step, steps)],
        "torchdiffeq": lambda: [odeint(lambda t, y: swing(y), state, times, method="rk4")],
        "gdl": lambda: [runge_kutta(swing, state, step=step, steps=steps, tableau=KUTTA)],
    }


def fixed_points(size: int, dtype: torch.dtype) -> dict[str, Call]:
    weight = random(size, size, dtype=dtype)
    weight = (CONTRACTION * weight / torch.linalg.matrix_norm(weight, 2)).requires_grad_()
    x = random(INPUTS, size, dtype=dtype, seed=1).requires_grad_()
    start, inputs = torch.zeros_like(x), [weight, x]

    def step(z: Tensor, weight: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(z @ weight.mT + x)

    def unrolled() -> Tensor:
        z = start
        for _ in range(UNROLLED):
            z = step(z, weight, x)
        return z

    def implicit(solver: Callable) -> Callable[[], Tensor]:
        return lambda: solve_fixed_point(step, start, weight, x, solver=solver)

    runs = {"through 60 steps": unrolled}
    solvers = {"neumann_solve": neumann_solve, "krylov_solve": krylov_solve}
    # The dense matrix couples all inputs.
    if INPUTS * size <= 512:
        solvers["dense_solve"] = dense_solve
    runs |= {f"gdl, {name}": implicit(solver) for name, solver in solvers.items()}
    return {name: with_gradients(run, inputs) for name, run in runs.items()}


def sorting(size: int, dtype: torch.dtype) -> dict[str, Call]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randperm(size, generator=generator).to(dtype).requires_grad_()
    runs = {
        "torch.sort": lambda: x.sort(descending=True).values,
        "gdl": lambda: soft_sort(x, 0.02) @ x,
    }
    return {name: with_gradients(run, [x]) for name, run in runs.items()}


def assignments(size: int, dtype: torch.dtype) -> dict[str, Call]:
    scores = random(size, size, dtype=dtype).requires_grad_()

    def rounds() -> Tensor:
        logits = scores
        for _ in range(ROUNDS):
            logits = logits - logits.logsumexp(1, keepdim=True)
            logits = logits - logits.logsumexp(0, keepdim=True)
        return logits.exp()

    runs = {"through 300 rounds": rounds, "gdl": lambda: sinkhorn(scores)}
    return {name: with_gradients(run, [scores]) for name, run in runs.items()}


def flights(steps: int, dtype: torch.dtype) -> dict[str, Call]:
    start = torch.tensor([10.0, 30.0, -1.0, -2.0, 0.1, 0.0, 1000.0], dtype=dtype)
    controls = 0.1 * random(steps, 2, dtype=dtype)
    leaf = controls.clone().requires_grad_()
    nudges = 1e-3 * torch.eye(2 * steps, dtype=dtype).reshape(-1, steps, 2)

    def cost(controls: Tensor) -> Tensor:
        return landing_cost(fly(controls, start))

    def reverse() -> list[Tensor]:
        value = cost(leaf)
        torch.autograd.grad(value, leaf)
        return [value.detach()]

    def differences() -> list[Tensor]:
        (cost(controls + nudges) - cost(controls - nudges)).div_(2e-3)
        return [cost(controls)]

    return {
        "flight": lambda: [cost(controls)],
        "flight and gradient": reverse,
        "flight and central differences": differences,
    }


TASKS = {
    "springs, forward and backward, n steps": (springs, (10, 30, 100)),
    "Kutta's 3/8 rule, forward, n steps": (integrators, (10, 50, 250)),
    "fixed points, forward and backward, n numbers": (fixed_points, (16, 32, 64, 256)),
    "soft sorting, forward and backward, n numbers": (sorting, (10, 100, 1000)),
    "Sinkhorn, forward and backward, n x n scores": (assignments, (10, 30, 100)),
    "rocket, n steps": (flights, (50, 100, 200)),
}
SIZES = {task: sizes for task, (_, sizes) in TASKS.items()}
PACKAGES = dict.fromkeys(
    ("written out", "through 60 steps", "torch.sort", "through 300 rounds"), "torch"
) | {"torchdiffeq": "torchdiffeq"}


def case(task: str, size: int) -> Case:
    calls, _ = TASKS[task]
    return Case(
        task,
        size,
        size,
        calls(size, torch.float32),
        lambda: disagreement(calls(size, torch.float64)),
    )
