r"""Seeds of a diffusion: sets that are chosen one element at a time.

Chapter: ``diffusion``.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.diffusion.elliptic import diffusion_matrix, solve_diffusion

SetFunction = Callable[[Sequence[int]], float]
MOST_SETS = 2_000_000
MOST_EXAMINED = 16


@dataclass(frozen=True)
class Choice:
    """Elements in the order in which they were chosen, and what each step was worth.

    Attributes:
        elements: the chosen ones.
        values: of the empty set, of the first element, of the first two, and so on.
        evaluations: how often the set function was asked.

    Chapter: ``diffusion``.

    >>> Choice((4,), (0.0, 2.0), 7).values[-1]
    2.0
    """

    elements: tuple[int, ...]
    values: tuple[float, ...]
    evaluations: int


def greedy_choice(
    value: SetFunction, elements: Iterable[int], count: int, *, lazy: bool = False
) -> Choice:
    r"""Choose the element that adds most, again and again; of equals, the least.

    If F is monotone and submodular, that is, gains do not grow with the set, then

        F(greedy) - F(empty) >= (1 - (1 - 1/k)^k) (F(best) - F(empty)) >= (1 - 1/e) (...)

    for k elements. Then old gains are upper bounds of new ones: the lazy variant asks again only
    for the element on top, and stops when it stays there. For other F it may choose otherwise.

    Args:
        value: F, a function of a sequence of different elements that does not look at their order.
        elements: ints to choose from, each once.
        count: k, how many to choose, at most all.
        lazy: skip what cannot win.

    Returns:
        A :class:`~gdl.diffusion.Choice`.

    Raises:
        TypeError: arguments of other types, elements that are no ints.
        ValueError: elements that repeat, a count out of range, values that are not finite.

    Law tested: never below the bound on random diffusions, by brute force; lazy chooses the same
    with fewer evaluations; a set function that is not submodular breaks the bound. Source:
    Nemhauser, Wolsey and Fisher, 1978, for the bound. Chapter: ``diffusion``.

    >>> covered = {0: {1, 2}, 1: {2, 3, 4}, 2: {1}, 3: {4}}
    >>> area = lambda chosen: len(set().union(*(covered[i] for i in chosen)))
    >>> greedy_choice(area, covered, 2)
    Choice(elements=(1, 0), values=(0.0, 3.0, 4.0), evaluations=8)
    """
    left = _listed(elements)
    check.integer("count", count, 0, len(left))
    check.boolean("lazy", lazy)
    asked = _Counted(value)
    chosen, values = (), [asked(())]
    # Heap of (-gain, element, size of the set when the gain was measured); -1 was never measured.
    heap = [(-math.inf, element, -1) for element in left]
    for size in range(count):
        if not lazy:
            heap = [(-math.inf, element, -1) for _, element, _ in heap]
        heapq.heapify(heap)
        while heap[0][2] != size:
            _, element, _ = heap[0]
            gain = asked((*chosen, element)) - values[-1]
            heapq.heapreplace(heap, (-gain, element, size))
        gain, element, _ = heapq.heappop(heap)
        chosen, values = (*chosen, element), [*values, values[-1] - gain]
    return Choice(chosen, tuple(values), asked.count)


def best_choice(value: SetFunction, elements: Iterable[int], count: int) -> Choice:
    r"""The best set of this many elements, by trying all; of equals, the first.

    Args:
        value, elements, count: as in :func:`~gdl.diffusion.greedy_choice`; at most two million
            sets.

    Returns:
        A :class:`~gdl.diffusion.Choice` with two values: of the empty set and of the best.

    Raises:
        TypeError: arguments of other types.
        ValueError: elements that repeat, a count out of range, too many sets, values that are not
            finite.

    Law tested: greedy is never better; overlapping sets by hand. Chapter: ``diffusion``.

    >>> best_choice(lambda chosen: 1.0 * ({0, 2} <= set(chosen)), range(4), 2)
    Choice(elements=(0, 2), values=(0.0, 1.0), evaluations=7)
    """
    left = _listed(elements)
    check.integer("count", count, 0, len(left))
    if math.comb(len(left), count) > MOST_SETS:
        raise ValueError(
            f"elements, count: expected at most {MOST_SETS} sets, "
            f"got {count} of {len(left)} elements"
        )
    asked = _Counted(value)
    empty = asked(())
    best, top = max(
        ((chosen, asked(chosen)) for chosen in itertools.combinations(left, count)),
        key=lambda pair: pair[1],
    )
    return Choice(best, (empty, top), asked.count)


def least_gain_and_curvature(value: SetFunction, elements: Iterable[int]) -> tuple[float, float]:
    r"""How monotone and how submodular a set function is, by trying every set.

        gain       = min of F(A + x) - F(A)
        curvature  = min of F(A + x) + F(A + y) - F(A + x + y) - F(A)

    over all sets A and different x, y outside. F is monotone if the first is not negative, and
    submodular if the second is not.

    Args:
        value: as in :func:`~gdl.diffusion.greedy_choice`.
        elements: ints, at least two and at most 16.

    Returns:
        The two minima.

    Raises:
        TypeError: arguments of other types.
        ValueError: elements that repeat, too few or too many, values that are not finite.

    Law tested: the areas of unions have neither negative, the square of the size has a curvature
    of -2, and gains of nested sets agree with the definition of submodularity. Chapter:
    ``diffusion``.

    >>> least_gain_and_curvature(lambda chosen: len(chosen) ** 2, range(4))
    (1.0, -2.0)
    """
    left = _listed(elements)
    if not 2 <= len(left) <= MOST_EXAMINED:
        raise ValueError(f"elements: expected 2 to {MOST_EXAMINED}, got {len(left)}")
    asked = _Counted(value)
    sizes = range(len(left) + 1)
    F = {frozenset(A): asked(A) for k in sizes for A in itertools.combinations(left, k)}
    gain = min(F[A | {x}] - F[A] for A in F for x in left if x not in A)
    curvature = min(
        F[A | {x}] + F[A | {y}] - F[A | {x, y}] - F[A]
        for A in F
        for x, y in itertools.combinations([e for e in left if e not in A], 2)
    )
    return gain, curvature


def diffusion_value(
    weights: Tensor,
    edge_index: Tensor,
    guidance: Tensor,
    lam: Tensor | float,
    held: Tensor,
    values: Tensor,
) -> SetFunction:
    r"""The total of a diffusion as a function of its seeds: one system solved for each set.

        F(S) = sum_p f_p,    f the solution that is 1 on S and otherwise as without seeds

    If g and v are at most 1, F is monotone and submodular.

    Args:
        weights, edge_index, guidance, lam, held, values: as in
            :func:`~gdl.diffusion.solve_diffusion`, of one graph.

    Returns:
        F, a function of a sequence of vertices.

    Raises: when F is called, what :func:`~gdl.diffusion.solve_diffusion` raises; TypeError or
        ValueError for vertices that are none.

    Law tested: monotone and submodular on small random graphs, by every set; with g above 1 not
    monotone. Chapter: ``diffusion``.

    >>> edges, held = torch.tensor([[0, 1], [1, 2]]), torch.tensor([True, False, False])
    >>> F = diffusion_value(torch.ones(2), edges, torch.zeros(3), 0.0, held, torch.zeros(3))
    >>> F([]), F([1]), F([2])
    (0.0, 2.0, 1.5)
    """

    def total(chosen: Sequence[int]) -> float:
        for vertex in chosen:
            check.integer("chosen", vertex, 0, guidance.shape[-1] - 1)
        seeds = torch.zeros(guidance.shape[-1], dtype=torch.bool, device=guidance.device)
        seeds[list(chosen)] = True
        ones = torch.ones_like(guidance)
        boundary = torch.where(seeds, ones, values)
        f = solve_diffusion(weights, edge_index, guidance, lam, held | seeds, boundary)
        return float(f.detach().sum())

    return total


def diffusion_seeds(
    weights: Tensor,
    edge_index: Tensor,
    guidance: Tensor,
    lam: Tensor | float,
    held: Tensor,
    values: Tensor,
    count: int,
    *,
    allowed: Tensor | None = None,
) -> Choice:
    r"""Greedy seeds of a diffusion, by one inversion and one update of rank one for each seed.

    Let R be the inverse of the matrix of the system on the free vertices. A further seed p changes

        f  by  (1 - f_p) R e_p / R_pp,    R  by  - R e_p (R e_p)^T / R_pp

    so that all gains, ``(1 - f_p) (sum_q R_qp) / R_pp``, are known at once, without a solve.

    Args:
        weights, edge_index, guidance, lam, held, values: as in
            :func:`~gdl.diffusion.solve_diffusion`, of one graph.
        count: how many seeds.
        allowed: (n,), bool; vertices that may become seeds, by default all. Held ones never do.

    Returns:
        A :class:`~gdl.diffusion.Choice`, with one evaluation, the inversion. Of equal gains up to
        rounding, either may be chosen.

    Raises:
        TypeError: arguments of other types.
        ValueError: what :func:`~gdl.diffusion.solve_diffusion` refuses, more seeds than may be.

    Law tested: equal to :func:`~gdl.diffusion.greedy_choice` on
    :func:`~gdl.diffusion.diffusion_value`, seeds and values to 1e-10; renumbered vertices renumber
    the seeds. Chapter: ``diffusion``.

    >>> edges, held = torch.tensor([[0, 1], [1, 2]]), torch.tensor([True, False, False])
    >>> g, v = torch.zeros(3), torch.zeros(3)
    >>> diffusion_seeds(torch.ones(2), edges, g, 0.0, held, v, 1).elements
    (1,)
    """
    check.integer("count", count, 0)
    f = solve_diffusion(weights, edge_index, guidance, lam, held, values).detach()
    if f.ndim != 1:
        raise ValueError(f"guidance: expected shape (n,), got {tuple(guidance.shape)}")
    open_ = ~held if allowed is None else _mask("allowed", allowed, held) & ~held
    if count > int(open_.sum()):
        raise ValueError(f"count: expected at most {int(open_.sum())}, the open vertices: {count}")
    R = torch.linalg.inv(diffusion_matrix(weights.detach(), edge_index, lam, held).detach())
    # Held vertices are no part of the system: their row and column of the inverse is that of 1.
    R = R * (~held)[:, None] * (~held)
    chosen, totals = [], [float(f.sum())]
    for _ in range(count):
        gains = torch.where(open_, (1 - f) * R.sum(0) / R.diagonal(), -math.inf)
        p = int(gains.argmax())
        response = R[:, p] / R[p, p]
        f = f + (1 - f[p]) * response
        R = R - torch.outer(response, R[p])
        open_ = open_.clone()
        open_[p] = False
        chosen, totals = [*chosen, p], [*totals, float(f.sum())]
    return Choice(tuple(chosen), tuple(totals), 1)


class _Counted:
    """A set function that counts its calls and insists on finite numbers."""

    def __init__(self, value: SetFunction):
        if not callable(value):
            raise TypeError(f"value: expected a function of sets, got {type(value).__name__}")
        self.value, self.count = value, 0

    def __call__(self, chosen: tuple[int, ...]) -> float:
        self.count += 1
        return check.number("value", self.value(chosen))


def _listed(elements: Iterable[int]) -> list[int]:
    if not isinstance(elements, Iterable):
        raise TypeError(f"elements: expected several ints, got {type(elements).__name__}")
    listed = sorted(check.integer("elements", element) for element in elements)
    if len(set(listed)) < len(listed):
        raise ValueError("elements: expected each once, got repetitions")
    return listed


def _mask(name: str, mask: Tensor, like: Tensor) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{name}: expected a bool tensor, got {got}")
    if mask.shape != like.shape or mask.device != like.device:
        raise ValueError(f"{name}: expected shape {tuple(like.shape)}, got {tuple(mask.shape)}")
    return mask
