"""Frames of clouds: sets of axes and directions that move along, and where they jump."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from gdl.zoo.roads import FrameAverage
from gdl.zoo.roads_frames import direction_frame, farthest_frame, principal_frame, rotate
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN = float("nan")


def orthogonal(d: int, special: bool, seed: int = 1) -> Tensor:
    q = torch.linalg.qr(random(d, d, seed=seed)).Q
    return torch.cat([q[:, :1] * (torch.linalg.det(q) if special else 1.0), q[:, 1:]], 1)


def same_set(a: list[Tensor], b: list[Tensor]) -> float:
    """The largest distance from an element of one set to the other, per cloud."""
    between = (torch.stack(a)[:, None] - torch.stack(b)[None]).abs().amax((-2, -1))
    return float(torch.stack([between.amin(0).amax(), between.amin(1).amax()]).amax())


def elements(frame: list) -> list[Tensor]:
    return [g for g, _ in frame]


@both_dtypes
@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_principal_axes(d, special, dtype):
    x = random(4, 6, d, dtype=dtype)
    frame = principal_frame(x, special=special)
    assert len(frame) == 2 ** (d - 1 if special else d)
    assert all(w == 1 / len(frame) for _, w in frame)
    tolerance = 100 * torch.finfo(dtype).eps
    one = torch.eye(d, dtype=dtype)
    for g in elements(frame):
        assert g.dtype == dtype and gap(g.mT @ g, one.expand_as(g)) < tolerance
        diagonal = g.mT @ x.mT @ x @ g
        assert gap(diagonal, torch.diag_embed(diagonal.diagonal(dim1=-2, dim2=-1))) < (
            100 * tolerance
        )
        if special:
            assert gap(torch.linalg.det(g), torch.ones(4, dtype=dtype)) < tolerance
    pairs = torch.stack(elements(frame))
    apart = (pairs[:, None] - pairs[None]).abs().amax((-2, -1)).amax(-1)
    assert bool((apart + torch.eye(len(frame)) > 0.1).all())


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("d", [2, 3])
def test_axes_move_along(d, special):
    x = random(4, 6, d)
    before = elements(principal_frame(x, special=special))
    for seed in range(5):
        h = orthogonal(d, special, seed)
        after = elements(principal_frame(rotate(h, x), special=special))
        assert same_set([h @ g for g in before], after) < 1e-10
        if seed == 0:
            assert same_set(before, after) > 0.1
            assert same_set([g @ h for g in before], after) > 0.1 or d == 2


def test_rotations_lose_mirrors():
    x = random(4, 6, 2)
    h = orthogonal(2, False, seed=0)
    h = h if torch.linalg.det(h) < 0 else h * torch.tensor([1.0, -1.0], dtype=F64)
    before = elements(principal_frame(x, special=True))
    after = elements(principal_frame(rotate(h, x), special=True))
    assert same_set([h @ g for g in before], after) > 0.1


def test_directions_move_along():
    x = random(4, 6, 2)
    h = orthogonal(2, True)
    order = torch.tensor([3, 1, 0, 5, 4, 2])
    frame, after = direction_frame(x), direction_frame(rotate(h, x)[:, order])
    for i, (g, w) in zip(order.tolist(), after, strict=True):
        assert gap(g, h @ frame[i][0]) < 1e-14 and gap(w, frame[i][1]) < 1e-14
    ((g, one),), ((far, _),) = farthest_frame(x), farthest_frame(rotate(h, x)[:, order])
    assert one == 1.0 and gap(far, h @ g) < 1e-14
    length = x.norm(dim=-1)
    first = torch.tensor([1.0, 0.0], dtype=F64)
    for i, (g, w) in enumerate(frame):
        assert gap(g @ first, x[:, i] / length[:, i, None]) < 1e-14
        assert gap(w, length[:, i] ** 2 / length.square().sum(1)) < 1e-14
    sharp = torch.stack([w for _, w in direction_frame(x, power=1e4)])
    assert torch.equal(sharp.argmax(0), length.argmax(1)) and bool(torch.isfinite(sharp).all())


class Nonlinear(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1) * torch.arange(1, x[0].numel() + 1) + 1).sin().sum(1)


def change(frame, before: Tensor, after: Tensor) -> float:
    road = FrameAverage(Nonlinear(), frame, rotate, inverse=lambda g: g.mT)
    return float((road(after[None]) - road(before[None])).abs())


def test_who_jumps():
    """Two points nearly equally far off: which is farther decides, or the axes, or nothing."""
    base = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=F64)
    more, less = (base * torch.tensor([[1 + e], [1.0]], dtype=F64) for e in (1e-6, -1e-6))
    assert change(farthest_frame, less, more) > 0.1
    assert change(direction_frame, less, more) < 1e-4
    # The axes stay where they are, but change their order.
    assert change(lambda x: principal_frame(x, special=True), less, more) > 0.1


def test_a_point_may_pass_the_origin():
    base = torch.tensor([[1.0, 0.3], [0.0, 0.0]], dtype=F64)
    step = torch.tensor([[0.0, 0.0], [0.3, -0.7]], dtype=F64)
    for size in (1e-3, 1e-6):
        assert change(direction_frame, base - size * step, base + size * step) < 100 * size
    x = base[None].clone().requires_grad_()
    FrameAverage(Nonlinear(), direction_frame, rotate, inverse=lambda g: g.mT)(x).sum().backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("power", [0.3, 1.0, 2.0, 50.0])
def test_gradients_at_ties_and_at_the_origin(power):
    x = random(2, 4, 2)
    origin, twins = x.clone(), x.clone()
    origin[:, 1], twins[:, 1] = 0.0, twins[:, 0]
    for case in (origin, twins, x / x.norm(dim=-1, keepdim=True)):
        case.requires_grad_()
        road = FrameAverage(
            Nonlinear(), lambda x: direction_frame(x, power=power), rotate, inverse=lambda g: g.mT
        )
        road(case).sum().backward()
        assert bool(torch.isfinite(case.grad).all()) and case.grad.abs().max() > 0.1


@pytest.mark.parametrize("size", [1e-300, 1e-200, 1e200, 1e300])
@pytest.mark.parametrize(
    "frame", [principal_frame, farthest_frame, direction_frame], ids=lambda f: f.__name__
)
def test_the_size_of_a_cloud_does_not_matter(frame, size):
    x = random(3, 5, 2)
    for (g, w), (h, v) in zip(frame(x), frame(size * x), strict=True):
        assert gap(g, h) < 1e-12 and gap(torch.as_tensor(w), torch.as_tensor(v)) < 1e-12


def test_a_point_very_near_the_origin():
    x = torch.tensor([[[1.0, 0.3], [3e-200, 4e-200]]], dtype=F64).requires_grad_()
    for g, w in direction_frame(x):
        assert gap(g.mT @ g, torch.eye(2, dtype=F64)[None]) < 1e-14 and bool(torch.isfinite(w))
    FrameAverage(Nonlinear(), direction_frame, rotate, inverse=lambda g: g.mT)(x).sum().backward()
    assert bool(torch.isfinite(x.grad).all())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_short_dtypes(dtype):
    x = random(3, 5, 2).to(dtype)
    for frame in (principal_frame, farthest_frame, direction_frame):
        for (g, _), (h, _) in zip(frame(x), frame(x.double()), strict=True):
            assert g.dtype == dtype and gap(g.double(), h) < 0.02


def test_axes_under_autocast_are_not_rounded():
    x = random(3, 5, 2).float()
    with torch.autocast("cpu", torch.bfloat16):
        found = elements(principal_frame(x))
    assert all(gap(g, h) == 0 for g, h in zip(found, elements(principal_frame(x)), strict=True))


def test_gradients_by_differences():
    x = random(2, 4, 2).requires_grad_()
    for frame in (direction_frame, lambda x: principal_frame(x, special=True), farthest_frame):
        road = FrameAverage(Nonlinear(), frame, rotate, inverse=lambda g: g.mT)
        assert torch.autograd.gradcheck(road, (x,))


def test_matrices_multiply():
    g, h, x = random(3, 2, 2), random(2, 2, seed=1), random(3, 4, 2, seed=2)
    assert gap(rotate(g, rotate(h, x)), rotate(g @ h, x)) < 1e-14
    assert gap(rotate(g, x)[1, 2], g[1] @ x[1, 2]) < 1e-15


# --- wrong input ----------------------------------------------------------------------------------

FRAMES = [principal_frame, farthest_frame, direction_frame]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("x", "error"),
    [
        ([[1.0]], TypeError),
        (torch.ones(1, 2, 2, dtype=torch.int64), TypeError),
        (torch.ones(2, 2), ValueError),
        (torch.ones(0, 2, 2), ValueError),
        (torch.ones(1, 0, 2), ValueError),
        (torch.full((1, 2, 2), NAN), ValueError),
        (torch.zeros(1, 2, 2), ValueError),
    ],
    ids=range(7),
)
def test_wrong_clouds(frame, x, error):
    with refuses(error, "x"):
        frame(x)


def test_clouds_without_axes():
    square = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]])
    turned = rotate(orthogonal(2, True).float(), square)
    for x in (square, turned, torch.cat([torch.randn(1, 4, 2), square])):
        with refuses(ValueError, "x"):
            principal_frame(x)


@pytest.mark.parametrize("frame", FRAMES[1:], ids=lambda f: f.__name__)
def test_clouds_in_space(frame):
    with refuses(ValueError, "x"):
        frame(torch.ones(1, 4, 3))


@pytest.mark.parametrize(
    ("power", "error"),
    [(0.0, ValueError), (-1.0, ValueError), (math.inf, ValueError), (True, TypeError)],
    ids=range(4),
)
def test_wrong_powers(power, error):
    with refuses(error, "power"):
        direction_frame(torch.ones(1, 2, 2), power=power)


def test_wrong_settings():
    with refuses(TypeError, "special"):
        principal_frame(random(1, 3, 2), special=1)
    x = random(3, 4, 2)
    for g, error in [
        (torch.eye(2), TypeError),
        ([[1.0]], TypeError),
        (torch.eye(3, dtype=F64), ValueError),
        (random(4, 2, 2), ValueError),
        (torch.full((2, 2), NAN, dtype=F64), ValueError),
    ]:
        with refuses(error, "g"):
            rotate(g, x)
