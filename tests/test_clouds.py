"""Random rotations follow Haar measure; neighbour graphs equal the comparison of all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gdl.geometry import complete_graph, radius_graph, random_rotations
from tests.test_representations import close, random, refuses, tensor

COUNT = 20000
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


# --- uniform rotations --------------------------------------------------------------------------


def kolmogorov_distance(R: Tensor) -> float:
    """From the angles of R to the law of Haar measure, whose distribution is (t - sin t) / pi."""
    trace = R.diagonal(dim1=1, dim2=2).sum(1)
    angle = torch.acos(((trace - 1) / 2).clamp(-1, 1)).sort().values
    law = (angle - torch.sin(angle)) / math.pi
    steps = torch.arange(len(R) + 1, dtype=torch.float64) / len(R)
    return float(torch.maximum((law - steps[:-1]).abs(), (law - steps[1:]).abs()).max())


def haar_deviations(R: Tensor) -> dict[str, float]:
    """Moments against those of Haar measure, in standard deviations of the mean of ``len(R)``.

    The means of tr R, (tr R)^2, ..., (tr R)^6 count the invariants of tensors: 0, 1, 1, 3, 6, 15.
    """
    trace = R.diagonal(dim1=1, dim2=2).sum(1)
    invariants = [1, 0, 1, 1, 3, 6, 15]
    found = {}
    for k in (1, 2, 3):
        spread = math.sqrt(invariants[2 * k] - invariants[k] ** 2)
        found[f"trace^{k}"] = (trace**k).mean() - invariants[k], spread
    half = torch.acos(((trace - 1) / 2).clamp(-1, 1)) / 2
    for l in range(1, 5):
        character = torch.sin((2 * l + 1) * half) / torch.sin(half)
        found[f"character {l}"] = character.mean(), 1.0
    return {k: float(abs(m)) * math.sqrt(len(R)) / s for k, (m, s) in found.items()}


def euler_angles(count: int, seed: int) -> Tensor:
    """The broken twin: all three Euler angles uniform, the second one as well."""
    generator = torch.Generator().manual_seed(seed)
    a, b, c = torch.rand(3, count, generator=generator, dtype=torch.float64).mul(2 * math.pi)

    def about(first: int, second: int, t: Tensor) -> Tensor:
        R = torch.eye(3, dtype=torch.float64).repeat(len(t), 1, 1)
        R[:, first, first] = R[:, second, second] = torch.cos(t)
        R[:, first, second], R[:, second, first] = -torch.sin(t), torch.sin(t)
        return R

    return about(0, 1, a) @ about(2, 0, b / 2) @ about(0, 1, c)


def unsigned_qr(count: int, seed: int) -> Tensor:
    """The broken twin: orthogonal factors whose columns have the signs that the routine gives."""
    generator = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)).Q
    return Q * torch.linalg.det(Q).sign()[:, None, None]


@seeds
@pytest.mark.parametrize("reflections", [False, True])
def test_random_rotations_are_orthogonal_of_determinant_one(seed, reflections):
    R = random_rotations(1000, seed=seed, reflections=reflections)
    assert close(R @ R.mT, torch.eye(3).double().expand(1000, 3, 3), 1e-14)
    signs = torch.linalg.det(R)
    assert close(signs.abs(), torch.ones(1000).double(), 1e-14)
    assert 400 < int((signs > 0).sum()) < 600 if reflections else bool((signs > 0).all())


@seeds
def test_random_rotations_are_uniform(seed):
    # Five standard deviations; a Kolmogorov distance that chance exceeds once in 10^9.
    R = random_rotations(COUNT, seed=seed)
    assert max(haar_deviations(R).values()) < 5
    assert kolmogorov_distance(R) < 3.3 / math.sqrt(COUNT)
    products = torch.einsum("nij,nkl->ijkl", R, R) / COUNT
    eye = torch.eye(3).double()
    assert close(products, torch.einsum("ik,jl->ijkl", eye, eye) / 3, 5 / math.sqrt(COUNT))


@seeds
@pytest.mark.parametrize("twin", [euler_angles, unsigned_qr])
def test_rotations_that_only_look_random_are_found(twin, seed):
    R = twin(COUNT, seed)
    assert close(R @ R.mT, torch.eye(3).double().expand(COUNT, 3, 3), 1e-13)
    assert close(torch.linalg.det(R), torch.ones(COUNT).double(), 1e-13)
    assert max(haar_deviations(R).values()) > 10
    assert kolmogorov_distance(R) > 6 / math.sqrt(COUNT)


def test_reflections_leave_the_rotations_as_they_are():
    R, M = random_rotations(50, seed=0), random_rotations(50, seed=0, reflections=True)
    assert close(M * torch.linalg.det(M).sign()[:, None, None], R)
    assert not torch.equal(R, M)


def test_rotations_are_reproducible():
    R = random_rotations(4, seed=1)
    assert torch.equal(R, random_rotations(4, generator=torch.Generator().manual_seed(1)))
    state = torch.get_rng_state()
    assert not torch.equal(random_rotations(4, seed=2), R)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(random_rotations(4), R)
    assert not torch.equal(random_rotations(4), R)
    single = random_rotations(4, seed=1, dtype=torch.float32)
    assert single.dtype == torch.float32 and torch.equal(single, R.float())


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "count", {"count": 1.5}),
        (TypeError, "count", {"count": True}),
        (ValueError, "count", {"count": 0}),
        (TypeError, "seed", {"seed": 0.5}),
        (ValueError, "seed", {"seed": 0, "generator": torch.Generator()}),
        (TypeError, "generator", {"generator": 0}),
        (TypeError, "reflections", {"reflections": 1}),
        (TypeError, "dtype", {"dtype": torch.int64}),
        (TypeError, "dtype", {"dtype": torch.complex64}),
        (TypeError, "dtype", {"dtype": None}),
    ],
)
def test_rotations_refuse(error, argument, change):
    with refuses(error, argument):
        random_rotations(**{"count": 2, **change})


# --- neighbours ---------------------------------------------------------------------------------


def all_pairs(positions: Tensor, radius: float, batch: Tensor, loop: bool) -> Tensor:
    """The pairs within the radius, from the table of all of them; sorted by target, source."""
    distance = (positions[:, None] - positions[None]).double().square().sum(-1).sqrt()
    joined = (distance <= radius) & (batch[:, None] == batch[None])
    if not loop:
        joined.fill_diagonal_(False)
    target, source = joined.nonzero().T
    return torch.stack([source, target])


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    d=st.integers(1, 4),
    radius=st.sampled_from([0.3, 1.0, 2.0, 100.0]),
    loop=st.booleans(),
    whole=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_radius_graph_is_the_comparison_of_all_pairs(sizes, d, radius, loop, whole, seed):
    x = torch.randn(sum(sizes), d, generator=torch.Generator().manual_seed(seed))
    x = x.round() if whole else x  # whole numbers: coincident points, distances at the radius
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    edges = radius_graph(x, radius, batch, loop=loop)
    assert edges.dtype == torch.int64
    assert torch.equal(edges, all_pairs(x, radius, batch, loop))


def test_radius_graph_by_hand():
    x = tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 4.0], [20.0, 0.0]])
    assert radius_graph(x, 5).tolist() == [[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]]
    assert radius_graph(x, 4.99).tolist() == [[1, 0], [0, 1]]
    assert radius_graph(x[2:], 5).shape == (2, 0)
    assert radius_graph(x[2:], 5, loop=True).tolist() == [[0, 1], [0, 1]]
    assert radius_graph(x, 5, torch.tensor([0, 1, 1, 1])).tolist() == [[2, 1], [1, 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_radius_graph_of_a_moved_and_of_a_permuted_cloud(dtype):
    x = random(40, 3, dtype=dtype)
    edges = radius_graph(x, 1.0)
    (R,) = random_rotations(1, seed=0, dtype=dtype)
    assert 100 < edges.shape[1] < 40 * 39
    assert torch.equal(radius_graph(x @ R.T + 7, 1.0), edges)
    p = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    moved = torch.empty_like(x)
    moved[p] = x
    assert set(zip(*p[edges].tolist(), strict=True)) == set(
        zip(*radius_graph(moved, 1.0).tolist(), strict=True)
    )


def test_radius_graph_of_positions_that_learn():
    x = random(5, 3).requires_grad_()
    assert not radius_graph(x, 1.0).requires_grad


@pytest.mark.parametrize(
    "counts", [1, 4, [1], [3, 1, 2], (2, 2), torch.tensor([1, 5]), np.int64(3)]
)
def test_complete_graph_is_a_graph_of_large_radius(counts):
    sizes = torch.atleast_1d(torch.as_tensor(counts))
    batch = torch.arange(len(sizes)).repeat_interleave(sizes)
    for loop in (False, True):
        edges = complete_graph(counts, loop=loop)
        assert edges.dtype == torch.int64
        assert torch.equal(edges, radius_graph(random(len(batch), 3), 1e6, batch, loop=loop))


def test_complete_graph_on_another_device():
    assert complete_graph([2, 3], device="meta").shape == (2, 8)
    with torch.device("meta"):
        assert complete_graph([2, 3]).device.type == "meta"


POINTS, BATCH = torch.zeros(3, 2), torch.tensor([0, 0, 1])


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "positions", {"positions": [[0.0]]}),
        (TypeError, "positions", {"positions": POINTS.long()}),
        (TypeError, "positions", {"positions": POINTS * 1j}),
        (ValueError, "positions", {"positions": POINTS[:0]}),
        (ValueError, "positions", {"positions": POINTS[:, :0]}),
        (ValueError, "positions", {"positions": POINTS[0]}),
        (ValueError, "positions", {"positions": POINTS[None]}),
        (ValueError, "positions", {"positions": POINTS * math.nan}),
        (ValueError, "positions", {"positions": POINTS + math.inf}),
        (TypeError, "radius", {"radius": "1"}),
        (TypeError, "radius", {"radius": True}),
        (TypeError, "radius", {"radius": torch.tensor(1.0)}),
        (ValueError, "radius", {"radius": 0.0}),
        (ValueError, "radius", {"radius": -1.0}),
        (ValueError, "radius", {"radius": math.nan}),
        (ValueError, "radius", {"radius": math.inf}),
        (TypeError, "batch", {"batch": [0, 0, 1]}),
        (TypeError, "batch", {"batch": BATCH.float()}),
        (TypeError, "batch", {"batch": BATCH.int()}),
        (ValueError, "batch", {"batch": BATCH[:2]}),
        (ValueError, "batch", {"batch": BATCH[None]}),
        (ValueError, "batch", {"batch": BATCH.flip(0)}),
        (ValueError, "batch", {"batch": BATCH * 2}),
        (ValueError, "batch", {"batch": BATCH + 1}),
        (ValueError, "batch", {"batch": BATCH - 1}),
        (TypeError, "loop", {"loop": 1}),
    ],
)
def test_radius_graph_refuses(error, argument, change):
    with refuses(error, argument):
        radius_graph(**{"positions": POINTS, "radius": 1.0, "batch": BATCH, **change})


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "counts", {"counts": 2.0}),
        (TypeError, "counts", {"counts": True}),
        (TypeError, "counts", {"counts": None}),
        (TypeError, "counts", {"counts": [2, 1.5]}),
        (TypeError, "counts", {"counts": [[2]]}),
        (TypeError, "counts", {"counts": torch.tensor([2.0])}),
        (TypeError, "counts", {"counts": torch.tensor([[2]])}),
        (ValueError, "counts", {"counts": 0}),
        (ValueError, "counts", {"counts": []}),
        (ValueError, "counts", {"counts": [2, 0]}),
        (ValueError, "counts", {"counts": torch.tensor([-1])}),
        (TypeError, "loop", {"loop": None}),
    ],
)
def test_complete_graph_refuses(error, argument, change):
    with refuses(error, argument):
        complete_graph(**{"counts": 2, **change})
