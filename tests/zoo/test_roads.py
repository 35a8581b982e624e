"""Averages over groups and frames: equivariant for every model, and only if the frame moves."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from gdl.equivariance import equivariance_error
from gdl.representations import circular_irrep, cyclic, dihedral, regular, reynolds, symmetric
from gdl.zoo.roads import (
    FrameAverage,
    GroupAverage,
    ScoredFrame,
    nothing,
    quarter_turn,
)
from gdl.zoo.roads_frames import direction_frame, principal_frame, rotate
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

TURNS = range(4)


def negative(k: Tensor | int) -> Tensor | int:
    return -k


def transposed(g: Tensor) -> Tensor:
    return g.mT


def network(inputs: int, outputs: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, outputs)
    return nn.Sequential(nn.Flatten(), *layers).double()


def pictures_to_pictures(seed: int = 0) -> nn.Module:
    return nn.Sequential(network(16, 16, seed), nn.Unflatten(1, (1, 4, 4)))


def corner(x: Tensor) -> Tensor:
    return x[..., :2, :2].sum((1, 2, 3))


def corner_frame(temperature: float = 0.0) -> ScoredFrame:
    elements = torch.arange(4)
    return ScoredFrame(corner, elements, quarter_turn, inverse=negative, temperature=temperature)


# --- averages over a group ------------------------------------------------------------------------


@pytest.mark.parametrize("group", [cyclic(4), dihedral(3), symmetric(3)], ids=str)
def test_averaging_makes_any_model_equivariant(group):
    rho_in, rho_out = regular(group), group.defining
    model = network(rho_in.dim, rho_out.dim)
    mean = GroupAverage(model, group.elements(), rho_in.act, rho_out.act)
    x = random(3, rho_in.dim)
    assert equivariance_error(mean, x, rho_in, rho_out, group.elements()) < 1e-12
    assert equivariance_error(model, x, rho_in, rho_out, group.elements()) > 0.1
    by_hand = sum(rho_out.act(g, model(rho_in.act(g.inverse(), x))) for g in group.elements())
    assert gap(mean(x), by_hand / group.order) < 1e-14
    invariant = GroupAverage(model, group.elements(), rho_in.act)
    assert equivariance_error(invariant, x, rho_in, nothing, group.elements()) < 1e-12


def test_without_the_inverse_it_is_not():
    group = dihedral(3)
    rho_in, rho_out = regular(group), group.defining
    wrong = GroupAverage(
        network(6, 3), group.elements(), rho_in.act, rho_out.act, inverse=lambda g: g
    )
    assert equivariance_error(wrong, random(3, 6), rho_in, rho_out, group.elements()) > 0.1


def test_averaging_is_a_projection():
    group = dihedral(3)
    rho_in, rho_out = regular(group), group.defining

    def mean(model, elements):
        return GroupAverage(model, elements, rho_in.act, rho_out.act)

    model, x, every = network(6, 3), random(3, 6), group.elements()
    once = mean(model, every)
    assert gap(mean(once, every)(x), once(x)) < 1e-14
    some = every[:4]
    assert gap(mean(mean(model, some), some)(x), mean(model, some)(x)) > 1e-2


def test_on_linear_maps_it_is_reynolds():
    group = dihedral(4)
    rho_in, rho_out = regular(group), group.defining
    layer = nn.Linear(8, 4, bias=False, dtype=F64)
    mean = GroupAverage(layer, group.elements(), rho_in.act, rho_out.act)
    x = random(5, 8)
    assert gap(mean(x), x @ reynolds(layer.weight.detach(), rho_in, rho_out).T) < 1e-14


class Harmonic(nn.Module):
    """``Re (x + i y)^degree + 2`` of the first point: its mean over all turns is 2."""

    def __init__(self, degree: int):
        super().__init__()
        self.degree = degree

    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(x[:, 0, 0], x[:, 0, 1]).pow(self.degree).real + 2


def turns(count: int, dtype: torch.dtype = F64) -> list[Tensor]:
    angles = 2 * math.pi * torch.arange(count, dtype=F64) / count
    c, s = angles.cos(), angles.sin()
    return list(torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2).to(dtype))


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_samples_alias_from_the_degree_on(degree):
    x = random(3, 1, 2)
    mean = GroupAverage(Harmonic(degree), turns(degree + 1), rotate, inverse=transposed)
    assert gap(mean(x), torch.full((3,), 2.0, dtype=F64)) < 1e-13
    few = GroupAverage(Harmonic(degree), turns(degree), rotate, inverse=transposed)
    assert gap(few(x), Harmonic(degree)(x)) < 1e-13


# --- averages over frames -------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.3], ids=["one", "weighted"])
@pytest.mark.parametrize("act_out", [nothing, quarter_turn], ids=["invariant", "equivariant"])
def test_scored_frames(act_out, temperature):
    model = network(16, 3) if act_out is nothing else pictures_to_pictures()
    x = random(5, 1, 4, 4)
    road = FrameAverage(model, corner_frame(temperature), quarter_turn, act_out, inverse=negative)
    assert equivariance_error(road, x, quarter_turn, act_out, TURNS) < 1e-12
    still = FrameAverage(model, lambda x: [(1, 1.0)], quarter_turn, act_out, inverse=negative)
    assert equivariance_error(still, x, quarter_turn, act_out, TURNS) > 0.1


def test_weights_of_a_score_move_along():
    x = random(5, 1, 4, 4)
    frame = corner_frame(0.7)
    weights = torch.stack([w for _, w in frame(x)])
    assert gap(weights.sum(0), torch.ones(5, dtype=F64)) < 1e-14
    for h in TURNS:
        moved = torch.stack([w for _, w in frame(quarter_turn(h, x))])
        assert gap(moved, weights.roll(h, 0)) < 1e-14
    by_hand = torch.stack([corner(torch.rot90(x, -k, (-2, -1))) for k in TURNS]) / 0.7
    assert gap(weights, by_hand.exp() / by_hand.exp().sum(0)) < 1e-14
    ((best, one),) = corner_frame()(x)
    assert one == 1.0 and torch.equal(best, by_hand.argmax(0))
    sharp = torch.stack([w for _, w in corner_frame(1e-4)(x)])
    assert torch.equal(sharp.argmax(0), best) and float(sharp.amax(0).min()) > 1 - 1e-12


def test_each_example_has_its_own_frame():
    x = random(6, 1, 4, 4)
    road = FrameAverage(
        pictures_to_pictures(), corner_frame(), quarter_turn, quarter_turn, inverse=negative
    )
    assert gap(road(x), torch.cat([road(each[None]) for each in x])) < 1e-14


@pytest.mark.parametrize("act_out", [nothing, rotate], ids=["invariant", "equivariant"])
@pytest.mark.parametrize(
    "frame",
    [direction_frame, lambda x: principal_frame(x, special=True)],
    ids=["directions", "axes"],
)
def test_clouds(frame, act_out):
    model = network(10, 10)
    if act_out is rotate:
        model = nn.Sequential(model, nn.Unflatten(1, (5, 2)))
    road = FrameAverage(model, frame, rotate, act_out, inverse=transposed)
    x = random(3, 5, 2)
    assert equivariance_error(road, x, rotate, act_out, turns(7)) < 1e-11
    assert equivariance_error(model, x, rotate, act_out, turns(7)) > 0.1


def test_one_sign_of_the_axes_is_not_enough():
    def one_sign(x):
        return [(principal_frame(x, special=True)[0][0], 1.0)]

    road = FrameAverage(network(10, 3), one_sign, rotate, inverse=transposed)
    assert equivariance_error(road, random(3, 5, 2), rotate, nothing, turns(7)) > 0.1


# --- as modules -----------------------------------------------------------------------------------


@both_dtypes
def test_modules(dtype):
    model = network(16, 3).to(dtype)
    frame = corner_frame(0.5)
    road = FrameAverage(model, frame, quarter_turn, inverse=negative)
    x = random(4, 1, 4, 4, dtype=dtype).requires_grad_()
    y = road(x)
    assert y.dtype == dtype and y.shape == (4, 3)
    y.sum().backward()
    assert x.grad.abs().max() > 0 and all(p.grad is not None for p in road.parameters())
    assert gap(copy.deepcopy(road)(x), y) == 0
    other = FrameAverage(
        network(16, 3, 1).to(dtype), corner_frame(0.5), quarter_turn, inverse=negative
    )
    other.load_state_dict(road.state_dict())
    assert gap(other(x), y) == 0
    assert "temperature=0.5" in repr(road)
    assert "elements=4" in repr(GroupAverage(model, TURNS, quarter_turn, inverse=negative))
    meta = copy.deepcopy(road).to("meta")
    assert meta(x.detach().to("meta")).shape == (4, 3)


def test_lowest_temperatures_and_largest_scores():
    """No NaN: the best element has all the weight; a temperature that rounds to 0 is refused."""
    x = random(5, 1, 4, 4)
    ((best, _),) = corner_frame()(x)
    for temperature, size in ((1e-300, 1.0), (1e-3, 1e300)):
        weights = torch.stack([w for _, w in corner_frame(temperature)(size * x)])
        assert torch.equal(weights, nn.functional.one_hot(best, 4).T.double())
    with refuses(ValueError, "temperature"):
        corner_frame(1e-300)(x.float())


@pytest.mark.parametrize("act_out", [nothing, rotate], ids=["invariant", "equivariant"])
def test_under_autocast(act_out):
    x = random(3, 5, 2, dtype=torch.float32)
    model = network(10, 10).float()
    if act_out is rotate:
        model = nn.Sequential(model, nn.Unflatten(1, (5, 2)))
    for frame in (direction_frame, principal_frame):
        road = FrameAverage(model, frame, rotate, act_out, inverse=transposed)
        exact = road(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert gap(road(x).float(), exact) < 0.05


def test_a_learned_score_under_autocast():
    score = nn.Sequential(nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))
    frame = ScoredFrame(score, torch.arange(4), quarter_turn, inverse=negative, temperature=0.5)
    x = random(4, 1, 4, 4, dtype=torch.float32)
    exact = torch.stack([w for _, w in frame(x)])
    with torch.autocast("cpu", torch.bfloat16):
        rounded = torch.stack([w for _, w in frame(x)])
    assert gap(rounded.sum(0), torch.ones(4)) < 1e-6 and 0 < gap(rounded, exact) < 0.05


def test_compiled_and_copied():
    x = random(4, 1, 4, 4)
    for frame in (corner_frame(), corner_frame(0.5)):
        road = FrameAverage(network(16, 3), frame, quarter_turn, inverse=negative)
        assert gap(torch.compile(road, backend="eager", fullgraph=True)(x), road(x)) == 0
    mean = GroupAverage(network(16, 3), TURNS, quarter_turn, inverse=negative)
    assert gap(torch.compile(mean, backend="eager", fullgraph=True)(x), mean(x)) == 0
    twin = copy.deepcopy(mean)
    twin.elements = (0,)
    assert gap(twin(x), mean.model(x)) < 1e-14 and gap(mean(x), mean.model(x)) > 0.1


def test_an_action_that_is_not_orthogonal():
    """The average needs no invariant inner product: shears of the outputs do as well."""
    group = dihedral(3)
    rho_in, plane = regular(group), circular_irrep(group, 1)
    shear = torch.tensor([[1.0, 3.0], [0.0, 0.5]], dtype=F64)

    def sheared(g, y):
        return plane.act(g, y @ torch.linalg.inv(shear).T) @ shear.T

    mean = GroupAverage(network(6, 2), group.elements(), rho_in.act, sheared)
    assert equivariance_error(mean, random(3, 6), rho_in, sheared, group.elements()) < 1e-12


def test_one_pass_of_the_model():
    calls = []
    model = network(16, 3)
    model.register_forward_hook(lambda _, given, out: calls.append(len(out)))
    x = random(5, 1, 4, 4)
    for frame in (corner_frame(), corner_frame(0.5)):
        FrameAverage(model, frame, quarter_turn, inverse=negative)(x)
    GroupAverage(model, TURNS, quarter_turn, inverse=negative)(x)
    assert calls == [5, 20, 20]


def test_quarter_turns():
    x, k = random(6, 2, 3, 3), torch.tensor([0, 1, 2, 3, 4, -1])
    found = quarter_turn(k, x)
    for each, turned, quarters in zip(x, found, k.tolist(), strict=True):
        assert torch.equal(turned, torch.rot90(each, quarters, (-2, -1)))
    assert torch.equal(quarter_turn(torch.tensor(5), x), torch.rot90(x, 1, (-2, -1)))
    assert torch.equal(quarter_turn(7, x), torch.rot90(x, 3, (-2, -1)))
    assert torch.equal(quarter_turn(-k, found), x)


# --- wrong input ----------------------------------------------------------------------------------

PICTURES = torch.zeros(2, 1, 4, 4)


@pytest.mark.parametrize(
    ("changed", "error", "argument"),
    [
        ({"model": torch.relu}, TypeError, "model"),
        ({"frame": 3}, TypeError, "frame"),
        ({"act_in": None}, TypeError, "act_in"),
        ({"act_out": 1}, TypeError, "act_out"),
        ({"inverse": "no"}, TypeError, "inverse"),
    ],
    ids=range(5),
)
def test_wrong_parts(changed, error, argument):
    parts = {"model": nn.Flatten(), "frame": list, "act_in": quarter_turn} | changed
    with refuses(error, argument):
        FrameAverage(**parts)


@pytest.mark.parametrize(
    ("changed", "argument"),
    [
        ({"frame": lambda x: []}, "frame"),
        ({"frame": lambda x: [(0, 0.7)]}, "frame"),
        ({"frame": lambda x: [(0, float("nan"))]}, "frame"),
        ({"frame": lambda x: [(0, torch.ones(3))]}, "frame"),
        ({"act_in": lambda g, x: x[:1]}, "act_in"),
        ({"act_in": lambda g, x: 3}, "act_in"),
        ({"act_out": lambda g, y: y[..., :1]}, "act_out"),
        ({"model": nn.Flatten(0)}, "model"),
    ],
    ids=range(8),
)
def test_wrong_answers(changed, argument):
    parts = {"model": nn.Flatten(), "frame": lambda x: [(0, 1.0)], "act_in": quarter_turn}
    with refuses(ValueError, argument):
        FrameAverage(**(parts | changed), inverse=negative)(PICTURES)


@pytest.mark.parametrize(
    ("x", "error"),
    [
        ([1.0], TypeError),
        (PICTURES.long(), TypeError),
        (PICTURES[:0], ValueError),
        (torch.tensor(1.0), ValueError),
    ],
    ids=range(4),
)
def test_wrong_batches(x, error):
    with refuses(error, "x"):
        GroupAverage(nn.Flatten(), TURNS, quarter_turn, inverse=negative)(x)
    with refuses(error, "x"):
        corner_frame()(x)


def test_wrong_elements():
    with refuses(TypeError, "elements"):
        GroupAverage(nn.Flatten(), 3, quarter_turn)
    with refuses(TypeError, "elements"):
        GroupAverage(nn.Flatten(), torch.tensor(4), quarter_turn)
    with refuses(ValueError, "elements"):
        GroupAverage(nn.Flatten(), [], quarter_turn)
    with refuses(TypeError, "elements"):
        ScoredFrame(corner, [0, 1], quarter_turn, inverse=negative)
    for elements in (torch.tensor(1), torch.empty(0)):
        with refuses(ValueError, "elements"):
            ScoredFrame(corner, elements, quarter_turn, inverse=negative)


@pytest.mark.parametrize(
    ("temperature", "error"),
    [(-1.0, ValueError), (float("nan"), ValueError), (True, TypeError), ("hot", TypeError)],
    ids=range(4),
)
def test_wrong_temperatures(temperature, error):
    with refuses(error, "temperature"):
        corner_frame(temperature)


@pytest.mark.parametrize(
    ("score", "error"),
    [
        (lambda x: x, ValueError),
        (lambda x: x.sum((1, 2, 3)) * float("inf"), ValueError),
        (lambda x: 1.0, TypeError),
        (lambda x: x[:, 0, 0, 0] > 0, TypeError),
        (lambda x: x[:, 0, 0, 0] + 0j, TypeError),
    ],
    ids=range(5),
)
def test_wrong_scores(score, error):
    frame = ScoredFrame(score, torch.arange(4), quarter_turn, inverse=negative)
    with refuses(error, "score"):
        frame(PICTURES)


def test_wrong_actions_of_a_score():
    for act_in in (lambda g, x: 3, lambda g, x: x[:1]):
        with refuses(ValueError, "act_in"):
            ScoredFrame(corner, torch.arange(4), act_in, inverse=negative)(PICTURES)


@pytest.mark.parametrize(
    "found",
    [None, 3, [1, 2], [(0,)], [(0, None)], [(0, "a")], [(0, 1j)], [(0, True)]],
    ids=range(8),
)
def test_what_is_no_frame(found):
    with refuses(TypeError, "frame"):
        FrameAverage(nn.Flatten(), lambda x: found, quarter_turn, inverse=negative)(PICTURES)


class Labels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1).argmax(1)


def test_labels_cannot_be_averaged():
    with refuses(TypeError, "model"):
        GroupAverage(Labels(), TURNS, quarter_turn, inverse=negative)(PICTURES)


def test_the_inverse_of_numbers_must_be_given():
    with refuses(TypeError, "inverse"):
        GroupAverage(nn.Flatten(), TURNS, quarter_turn)(PICTURES)


@pytest.mark.parametrize(
    ("k", "x", "error", "argument"),
    [
        (1.0, PICTURES, TypeError, "k"),
        (True, PICTURES, TypeError, "k"),
        (torch.ones(2), PICTURES, TypeError, "k"),
        (torch.arange(3), PICTURES, ValueError, "k"),
        (1, PICTURES[..., :3], ValueError, "x"),
        (1, PICTURES[0], ValueError, "x"),
        (1, [[1.0]], ValueError, "x"),
    ],
    ids=range(7),
)
def test_wrong_turns(k, x, error, argument):
    with refuses(error, argument):
        quarter_turn(k, x)
