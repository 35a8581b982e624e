"""Insertions and their relations, warps of the clock, and what resampling keeps exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gdl.equivariance.solver import solve_pairs
from gdl.sequences.warps import (
    hold,
    hold_matrix,
    pad,
    pad_matrix,
    rates,
    smooth_warp,
)

F64 = torch.float64
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
windows = pytest.mark.parametrize("length", [4, 6, 8])


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def whole(*shape: int, seed: int = 0) -> Tensor:
    """Whole numbers other than 0, whose sums and products are exact."""
    return (9 * torch.rand(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))).ceil()


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape and a.dtype == b.dtype
    return float((a - b).abs().max())


def line(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=F64)


insertions = st.lists(st.integers(0, 5), max_size=6).map(sorted)


# --- insertions ---------------------------------------------------------------------------------


def by_steps(x: list, places: list[int], step) -> list:
    """Insertions from the last to the first, so that earlier places stay where they are."""
    x = list(x)
    for place in reversed(places):
        x.insert(place, step(x, place))
    return x


@given(insertions)
def test_insertions_step_by_step(places):
    x = whole(5, 1)
    steps = x.flatten().tolist()
    assert pad(x, places).flatten().tolist() == by_steps(steps, places, lambda x, k: 0.0)
    held = by_steps(steps, places, lambda x, k: x[k - 1] if k else 0.0)
    assert hold(x, places).flatten().tolist() == held


@both_dtypes
@pytest.mark.parametrize("insert", [pad, hold])
def test_insertions_along_batches(insert, dtype):
    x = random(3, 2, 5, 4, dtype=dtype)
    y = insert(x, [0, 2, 2, 5])
    assert y.shape == (3, 2, 9, 4) and y.dtype == dtype
    assert torch.equal(y[1, 0, :, 3:], insert(x[1, 0, :, 3:], [0, 2, 2, 5]))
    assert torch.equal(insert(x, []), x)


@pytest.mark.parametrize("insert", [pad, hold])
def test_insertions_are_differentiable(insert):
    x = random(2, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: insert(x, [0, 1, 1, 4]), x)


@given(insertions)
def test_running_sums_turn_blanks_into_holds(places):
    x = whole(2, 5, 3)
    assert torch.equal(hold(x.cumsum(-2), places), pad(x, places).cumsum(-2))

    def difference(x: Tensor) -> Tensor:
        return x.diff(dim=-2, prepend=torch.zeros_like(x[..., :1, :]))

    assert torch.equal(pad(difference(x), places), difference(hold(x, places)))
    if any(place > 0 for place in places):
        assert not torch.equal(pad(x.cumsum(-2), places), pad(x, places).cumsum(-2))


@given(insertions)
def test_blanks_have_rate_zero(places):
    """Padding is the rates times the signal at the times that these rates add up to."""
    x, places = whole(5, 2), [place for place in places if place > 0]
    rate = pad(torch.ones(5, 1, dtype=F64), places)
    times = rate.flatten().cumsum(0) - 1
    assert torch.equal(x[times.long()], hold(x, places))
    assert torch.equal(rate * x[times.long()], pad(x, places))
    assert torch.equal(rates(times, before=-1.0), rate.flatten())


# --- the monoid ---------------------------------------------------------------------------------

matrices = pytest.mark.parametrize("matrix", [pad_matrix, hold_matrix])


@windows
@pytest.mark.parametrize(("matrix", "insert"), [(pad_matrix, pad), (hold_matrix, hold)])
def test_matrices_are_windows_of_insertions(matrix, insert, length):
    x = whole(length, 2)
    for place in range(length + 1):
        P = matrix(length, place)
        assert P.dtype == F64 and torch.equal(P @ x, insert(x, [place])[:length])
    assert torch.equal(matrix(length, 0), torch.diag(torch.ones(length - 1, dtype=F64), -1))
    assert torch.equal(matrix(length, length), torch.eye(length, dtype=F64))


@windows
@matrices
def test_simplicial_relations(matrix, length):
    s = [matrix(length, place) for place in range(length + 1)]
    for j in range(length):
        for i in range(length):
            assert torch.equal(s[i] @ s[j], s[j + 1] @ s[i]) == (i <= j)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6])
@matrices
def test_a_window_has_two_to_the_length_warps(matrix, length):
    generators = [matrix(length, place) for place in range(length)]
    found = {tuple(torch.eye(length).flatten().tolist()): torch.eye(length, dtype=F64)}
    fresh = list(found.values())
    while fresh:
        made = [g @ w for w in fresh for g in generators]
        fresh = []
        for product in made:
            key = tuple(product.flatten().tolist())
            if key not in found:
                found[key] = product
                fresh.append(product)
    assert len(found) == 2**length
    if matrix is pad_matrix:
        gates = {tuple(w.sum(1).tolist()) for w in found.values()}
        assert len(gates) == 2**length


def null_space(left: list[Tensor], right: list[Tensor]) -> Tensor:
    """All W with A W = W B for these pairs, (r, rows, columns), from all equations at once."""
    rows, columns = len(left[0]), len(right[0])
    normal = torch.zeros(rows * columns, rows * columns, dtype=F64)
    for A, B in zip(left, right, strict=True):
        equations = torch.kron(A, torch.eye(columns, dtype=F64))
        equations -= torch.kron(torch.eye(rows, dtype=F64), B.T.contiguous())
        normal += equations.T @ equations
    values, vectors = torch.linalg.eigh(normal)
    found = values < 1e-10
    assert values[~found].min() > 1e-3
    return vectors.T[found].reshape(-1, rows, columns)


def nullity(left: list[Tensor], right: list[Tensor]) -> int:
    return len(null_space(left, right))


@windows
def test_the_running_sum_is_the_only_map_from_blanks_to_holds(length):
    pads = [pad_matrix(length, place) for place in range(length)]
    holds = [hold_matrix(length, place) for place in range(length)]
    C = torch.ones(length, length, dtype=F64).tril()
    for P, H in zip(pads, holds, strict=True):
        assert torch.equal(H @ C, C @ P)
    assert nullity(holds, pads) == 1
    support = torch.ones(length, length, dtype=torch.bool)
    basis = solve_pairs(list(zip(holds, pads, strict=True)), support)
    assert len(basis) == 1
    assert gap(basis[0] / basis[0][0, 0], C) < 1e-12
    assert nullity(pads, holds) == 1
    D = torch.linalg.inv(C)
    assert all(torch.equal(P @ D, D @ H) for P, H in zip(pads, holds, strict=True))


@windows
def test_without_the_shift_there_are_more(length):
    """Place 0 is what ties a recurrence to its start."""
    pads = [pad_matrix(length, place) for place in range(1, length)]
    holds = [hold_matrix(length, place) for place in range(1, length)]
    assert nullity(holds, pads) == nullity(pads, holds) == 2
    assert nullity(holds, holds) == nullity(pads, pads) == 2


# --- clocks -------------------------------------------------------------------------------------


@seeds
@pytest.mark.parametrize("strength", [0.5, 2.0, 5.0])
def test_smooth_warps(strength, seed):
    times = smooth_warp(200, strength, seed=seed)
    assert times.dtype == F64 and times[0] == 0 and times[-1] == 199
    logs = torch.diff(times).log()
    assert abs(float(logs.std(correction=0)) - strength) < 1e-9 * strength
    spectrum = torch.fft.rfft(logs - logs.mean()).abs()
    assert spectrum[4:].max() < 1e-9 * spectrum.max()
    assert spectrum[3] > 1e-3 * spectrum.max()
    assert torch.equal(times, smooth_warp(200, strength, seed=seed))


@seeds
def test_smooth_warps_of_two_lengths(seed):
    finest = smooth_warp(1601, 1.0, seed=seed) / 1600
    errors = [
        gap(smooth_warp(steps + 1, 1.0, seed=seed) / steps, finest[:: 1600 // steps])
        for steps in (50, 100, 200)
    ]
    assert all(3.6 < a / b < 4.4 for a, b in zip(errors, errors[1:], strict=False))


def test_smooth_warps_differ_by_seed_and_shrink_to_the_identity():
    assert gap(smooth_warp(50, 1.0, seed=0), smooth_warp(50, 1.0, seed=1)) > 1
    assert torch.equal(smooth_warp(50, 0.0, seed=0), torch.arange(50, dtype=F64))


@both_dtypes
def test_rates_add_up_to_the_times(dtype):
    times = smooth_warp(30, 2.0, seed=0).to(dtype)
    for before in (0.0, -1.0):
        steps = rates(times, before=before)
        assert steps.dtype == dtype and (steps >= 0).all()
        assert gap(before + steps.cumsum(0), times) < (1e-12 if dtype == F64 else 1e-4)
    assert torch.equal(rates(torch.arange(4.0), before=-1), torch.ones(4))


def gated_euler(times: Tensor, steps: Tensor) -> float:
    """Error of the scheme for h' = sin(s) - h from h(0) = 1, on a clock."""
    h, states = 1.0, []
    for x, rate in zip(times.sin().tolist(), steps.tolist(), strict=True):
        h += rate * (x - h)
        states.append(h)
    exact = (times.sin() - times.cos()) / 2 + 1.5 * torch.exp(-times)
    return gap(torch.tensor(states, dtype=F64), exact)


@seeds
def test_rates_are_the_gates_of_eulers_scheme(seed):
    sizes = (200, 400, 800)
    clocks = [smooth_warp(n + 1, 1.0, seed=seed) * (6 / n) for n in sizes]
    errors = [gated_euler(c, rates(c)) for c in clocks]
    assert errors[0] < 0.1
    assert all(1.9 < a / b < 2.1 for a, b in zip(errors, errors[1:], strict=False))
    ungated = [
        gated_euler(c, torch.full_like(c, 6 / n)) for c, n in zip(clocks, sizes, strict=True)
    ]
    assert ungated[-1] > 0.9 * ungated[0] > 0.05


def test_smooth_warps_are_on_the_cpu_whatever_the_default_device_is():
    with torch.device("meta"):
        times = smooth_warp(5, 1.0, seed=0)
    assert torch.equal(times, smooth_warp(5, 1.0, seed=0))
