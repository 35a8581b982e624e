"""Random rotations follow Haar measure; neighbour graphs equal the comparison of all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gdl.geometry import complete_graph, random_rotations
from tests.test_representations import close, refuses

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


def all_pairs(batch: Tensor, loop: bool) -> Tensor:
    """The pairs within one cloud, from the table of all of them; sorted by target, source."""
    joined = batch[:, None] == batch[None]
    if not loop:
        joined.fill_diagonal_(False)
    target, source = joined.nonzero().T
    return torch.stack([source, target])


@pytest.mark.parametrize(
    "counts", [1, 4, [1], [3, 1, 2], (2, 2), torch.tensor([1, 5]), np.int64(3)]
)
def test_complete_graph_is_the_comparison_of_all_pairs(counts):
    sizes = torch.atleast_1d(torch.as_tensor(counts))
    batch = torch.arange(len(sizes)).repeat_interleave(sizes)
    for loop in (False, True):
        edges = complete_graph(counts, loop=loop)
        assert edges.dtype == torch.int64
        assert torch.equal(edges, all_pairs(batch, loop))


def test_complete_graph_on_another_device():
    assert complete_graph([2, 3], device="meta").shape == (2, 8)
    with torch.device("meta"):
        assert complete_graph([2, 3]).device.type == "meta"


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
