"""Deep sets: order, number and padding of the elements, their input, their life."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from gdl.equivariance import equivariance_error, equivariant_basis, span_residual
from gdl.graphs.sets import DeepSetLayer, DeepSets
from gdl.representations import Element, symmetric
from tests.test_representations import refuses

F32, F64 = torch.float32, torch.float64
TOLERANCE = {F32: 1e-5, F64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", [F32, F64], ids=str)
aggregations = pytest.mark.parametrize("aggregation", ["sum", "mean", "max"])
partial = pytest.mark.parametrize("aggregation", ["mean", "max"])
REDUCE = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def layer(aggregation: str = "sum", dtype: torch.dtype = F64, **options) -> DeepSetLayer:
    torch.manual_seed(0)
    return DeepSetLayer(3, 4, aggregation=aggregation, dtype=dtype, **options)


def model(aggregation: str = "sum", dtype: torch.dtype = F64) -> DeepSets:
    torch.manual_seed(0)
    phi = nn.Sequential(nn.Linear(3, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 5, dtype=dtype))
    rho = nn.Sequential(nn.Linear(5, 8, dtype=dtype), nn.Tanh(), nn.Linear(8, 2, dtype=dtype))
    return DeepSets(phi, rho, aggregation)


def padded(junk: float = math.nan, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Sets of 4, 1 and 6 elements in one batch, at scattered places, and the sets alone."""
    mask = torch.zeros(3, 6, dtype=torch.bool)
    mask[0, [0, 2, 3, 5]] = mask[1, 4] = mask[2] = True
    x = random(3, 6, 3, dtype=dtype)
    sets = [x[b, mask[b]] for b in range(3)]
    return torch.where(mask[..., None], x, junk), mask, sets


def elements(n: int) -> list[Element]:
    swap, cycle = (symmetric(n).generator(i) for i in (0, 1))
    return [swap, cycle, cycle.inverse(), swap * cycle, *symmetric(n).random(3, seed=0)]


def act(g: Element, x: Tensor) -> Tensor:
    """A permutation of the elements of sets (B, n, C)."""
    return x[:, g.group.defining.image(g).argsort()]


def gap(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).detach().abs().max())


# --- the layer ----------------------------------------------------------------------------------


@both_dtypes
@aggregations
def test_the_layer_commutes_with_permutations(aggregation, dtype):
    f, x = layer(aggregation, dtype), random(2, 7, 3, dtype=dtype)
    assert equivariance_error(f, x, act, act, elements(7)) < TOLERANCE[dtype]
    assert gap(f(x)[:, 0], f(x)[:, 1]) > 1e-2


@aggregations
def test_a_weight_of_one_position_breaks_the_symmetry(aggregation):
    f, x = layer(aggregation), random(2, 7, 3)
    place = torch.tensor([0.1, 0, 0, 0, 0, 0, 0], dtype=F64)[:, None]
    assert equivariance_error(lambda x: f(x) + place * x[..., :1], x, act, act, elements(7)) > 1e-3


@aggregations
def test_the_layer_is_its_formula(aggregation):
    f, x = layer(aggregation), random(2, 7, 3)
    A, B, c = f.own.weight, f.whole.weight, f.own.bias
    expected = torch.stack(
        [torch.stack([A @ x_i + B @ REDUCE[aggregation](one, 0) + c for x_i in one]) for one in x]
    )
    assert gap(f(x), expected) < 1e-12
    plain = layer(aggregation, bias=False)
    plain.load_state_dict({"own.weight": A, "whole.weight": B})
    assert gap(plain(x), expected - c) < 1e-12
    assert gap(f(x[0]), f(x)[0]) < 1e-12


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("aggregation", ["sum", "mean"])
def test_the_layer_is_complete(aggregation, n):
    """Both weights of a single channel, as matrices: they span the commutant of S_n."""
    maps = []
    for own, whole in ((1.0, 0.0), (0.0, 1.0)):
        f = DeepSetLayer(1, 1, aggregation=aggregation, bias=False, dtype=F64)
        f.load_state_dict({"own.weight": torch.full((1, 1), own),
                           "whole.weight": torch.full((1, 1), whole)})  # fmt: skip
        maps.append(f(torch.eye(n, dtype=F64)[..., None])[..., 0].detach().T)
    rho = symmetric(n).defining
    basis = equivariant_basis(rho, rho)
    assert span_residual(torch.stack(maps), basis) < 1e-12
    assert torch.linalg.matrix_rank(torch.stack(maps).flatten(1)) == len(basis) == min(n, 2)
    weights = sum(p.numel() for p in layer(bias=False).parameters())
    assert n == 1 or weights == len(equivariant_basis(3 * rho, 4 * rho))


def test_the_maximum_is_not_linear():
    f, (x, y) = layer("max", bias=False), random(2, 5, 3)
    assert gap(f(x + y), f(x) + f(y)) > 0.1
    assert (
        gap(layer("mean", bias=False)(x + y), sum(map(layer("mean", bias=False), (x, y)))) < 1e-12
    )


# --- sets of different sizes --------------------------------------------------------------------


@both_dtypes
@aggregations
@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 1e30, 0.0])
def test_a_batch_of_sets_gives_what_each_gives_alone(aggregation, junk, dtype):
    x, mask, sets = padded(junk, dtype)
    f, g = layer(aggregation, dtype), model(aggregation, dtype)
    y, answers = f(x, mask), g(x, mask)
    for b, one in enumerate(sets):
        assert gap(y[b, mask[b]], f(one)) < TOLERANCE[dtype]
        assert gap(answers[b], g(one[None])[0]) < TOLERANCE[dtype]
        assert gap(f(x[b], mask[b]), y[b]) < TOLERANCE[dtype]
    assert not y[~mask].any()


@aggregations
def test_a_mask_that_is_forgotten_is_noticed(aggregation):
    x, mask, _ = padded(0.0)
    for f in (layer(aggregation), model(aggregation)):
        assert gap(f(x)[1], f(x, mask)[1]) > 1e-3


@aggregations
def test_padding_gets_no_gradient_and_gives_none(aggregation):
    x, mask, _ = padded()
    x.requires_grad_()
    for f in (layer(aggregation), model(aggregation)):
        f.zero_grad()
        grad = torch.autograd.grad(f(x, mask).square().sum(), [x, *f.parameters()])
        assert all(torch.isfinite(g).all() for g in grad)
        assert not grad[0][~mask].any() and grad[0][mask].any()


def test_padding_does_not_reach_batch_norm():
    x, mask, sets = padded()
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3, dtype=F64)
    DeepSets(norm, nn.Identity())(x, mask)
    assert gap(norm.running_mean, 0.1 * torch.cat(sets).mean(0)) < 1e-12


@both_dtypes
def test_the_sum_over_an_empty_set_is_zero(dtype):
    x, mask, _ = padded(dtype=dtype)
    mask = mask & (torch.arange(3) != 1)[:, None]
    f, g = layer(dtype=dtype), model(dtype=dtype)
    nothing = g.rho(torch.zeros(1, 5, dtype=dtype))[0]
    assert gap(g(x, mask)[1], nothing) < TOLERANCE[dtype]
    assert gap(g(x[:, :0]), nothing.expand(3, 2)) < TOLERANCE[dtype]
    assert gap(g(x, torch.zeros_like(mask)), nothing.expand(3, 2)) < TOLERANCE[dtype]
    assert not f(x, mask)[1].any() and f(x, mask)[0].any()
    assert f(x[:, :0]).shape == (3, 0, 4)


@partial
def test_other_aggregates_of_an_empty_set_are_refused(aggregation):
    x, mask, _ = padded(0.0)
    mask = mask & (torch.arange(3) != 1)[:, None]
    for f in (layer(aggregation), model(aggregation)):
        for given in ((x, mask), (x[:, :0],), (x[:, :0], mask[:, :0])):
            with refuses(ValueError, "x"):
                f(*given)
        assert len(f(x[:0])) == len(f(x[:0], mask[:0])) == 0


@partial
def test_compiled_code_takes_zero_for_an_empty_set(aggregation):
    x, mask, _ = padded(0.0)
    f, full = layer(aggregation), mask
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    assert gap(compiled(x, full), f(x, full)) < 1e-12
    mask = mask & (torch.arange(3) != 1)[:, None]
    x = x.requires_grad_()
    y = compiled(x, mask)
    assert not y[1].any() and gap(y[0], f(x, full)[0]) < 1e-12
    y.sum().backward()
    assert all(torch.isfinite(t.grad).all() for t in (x, *f.parameters()))


# --- functions of sets --------------------------------------------------------------------------


@both_dtypes
@aggregations
def test_the_order_does_not_matter(aggregation, dtype):
    f, x = model(aggregation, dtype), random(2, 7, 3, dtype=dtype)
    assert equivariance_error(f, x, act, lambda g, y: y, elements(7)) < TOLERANCE[dtype]
    assert gap(f(x)[0], f(x)[1]) > 1e-3


@aggregations
def test_features_that_depend_on_the_place_break_it(aggregation):
    f, x = model(aggregation), random(2, 7, 3)
    place = torch.arange(7, dtype=F64)[:, None] / 7
    error = equivariance_error(lambda x: f(x + place), x, act, lambda g, y: y, elements(7))
    assert error > 1e-4


@aggregations
def test_the_function_is_its_formula(aggregation):
    f, x = model(aggregation), random(2, 7, 3)
    expected = [f.rho(REDUCE[aggregation](torch.stack([*map(f.phi, one)]), 0)) for one in x]
    assert gap(f(x), torch.stack(expected)) < 1e-12


def test_elements_can_be_images_or_integers():
    torch.manual_seed(0)
    phi = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 4))
    f, x = DeepSets(phi, nn.Linear(4, 1)), random(2, 5, 1, 8, 8).float()
    assert f(x).shape == (2, 1)
    assert gap(f(x.flip(1)), f(x)) < 1e-5
    words = torch.tensor([[1, 2, 9], [3, 9, 9]])
    bag = DeepSets(nn.Embedding(4, 5), nn.Identity())
    expected = torch.stack([bag.phi(torch.tensor(word)).sum(0) for word in ([1, 2], [3])])
    assert gap(bag(words, words < 9), expected) < 1e-6


def test_a_sum_of_numbers_is_learnt_and_carries_over_to_longer_sets():
    """With linear parts it is exact: the sum generalises, whatever the length."""
    torch.manual_seed(0)
    f = DeepSets(nn.Linear(1, 1, bias=False, dtype=F64), nn.Linear(1, 1, bias=False, dtype=F64))
    optimizer, x = torch.optim.Adam(f.parameters(), lr=0.05), random(64, 3, 1)
    for _ in range(300):
        loss = (f(x) - x.sum(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    longer = random(8, 50, 1, seed=1)
    assert gap(f(longer), longer.sum(1)) < 1e-2


# --- input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "argument"),
    [
        ({"in_channels": 0}, ValueError, "in_channels"),
        ({"out_channels": 1.5}, TypeError, "out_channels"),
        ({"aggregation": "min"}, ValueError, "aggregation"),
        ({"bias": None}, TypeError, "bias"),
        ({"dtype": torch.int64}, TypeError, "dtype"),
    ],
)
def test_the_layer_refuses_bad_arguments(arguments, error, argument):
    with refuses(error, argument):
        DeepSetLayer(**{"in_channels": 1, "out_channels": 1} | arguments)


def test_functions_of_sets_refuse_bad_arguments():
    with refuses(TypeError, "phi"):
        DeepSets(torch.relu, nn.Identity())
    with refuses(TypeError, "rho"):
        DeepSets(nn.Identity(), None)
    with refuses(ValueError, "aggregation"):
        DeepSets(nn.Identity(), nn.Identity(), "median")


def poisoned(value: float) -> Tensor:
    x = random(3, 6, 3)
    x[2, 5, 1] = value
    return x


@pytest.mark.parametrize("f", [layer(), model()], ids=["layer", "model"])
def test_bad_input_is_refused(f):
    x, mask = random(3, 6, 3), torch.ones(3, 6, dtype=torch.bool)
    for bad, error in (
        (mask.float(), TypeError), (mask.tolist(), TypeError), (mask[:, :5], ValueError),
        (mask[0], ValueError), (mask[..., None], ValueError),
    ):  # fmt: skip
        with refuses(error, "mask"):
            f(x, bad)
    for bad, error in (
        (x.tolist(), TypeError), (x[0, 0], ValueError), (poisoned(math.nan), ValueError),
        (poisoned(math.inf), ValueError),
    ):  # fmt: skip
        with refuses(error, "x"):
            f(bad)
    with refuses(ValueError, "x"):
        f(poisoned(math.nan), mask)


def test_the_layer_refuses_other_shapes_and_dtypes():
    for bad, error in (
        (random(3, 6, 4), ValueError), (random(1, 3, 6, 3), ValueError),
        (random(3, 6, 3).float(), TypeError), (torch.ones(3, 6, 3).long(), TypeError),
    ):  # fmt: skip
        with refuses(error, "x"):
            layer()(bad)


@pytest.mark.parametrize("phi", [nn.Flatten(0), nn.Unflatten(1, (3, 1))])
def test_features_of_another_shape_are_refused(phi):
    for mask in (None, torch.ones(2, 6, dtype=torch.bool)):
        with refuses(ValueError, "phi"):
            DeepSets(phi, nn.Identity())(random(2, 6, 3), mask)


# --- life ---------------------------------------------------------------------------------------

both = pytest.mark.parametrize("make", [layer, model], ids=["layer", "model"])


@both
@aggregations
def test_copies_compute_the_same_and_share_nothing(make, aggregation):
    f, x = make(aggregation), random(2, 5, 3)
    expected = f(x)
    for twin in (copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert torch.equal(twin(x), expected)
        with torch.no_grad():
            next(twin.parameters()).add_(1)
        assert torch.equal(f(x), expected) and gap(twin(x), expected) > 1e-3
    other = make(aggregation)
    with torch.no_grad():
        next(other.parameters()).zero_()
    other.load_state_dict(f.state_dict())
    assert torch.equal(other(x), expected)


@both
def test_the_meta_device_and_casts(make):
    f, x = make(), random(2, 5, 3)
    expected = f(x)
    emptied = copy.deepcopy(f).to("meta")
    assert emptied(x.to("meta")).shape == expected.shape
    emptied = emptied.to_empty(device="cpu")
    emptied.load_state_dict(f.state_dict())
    assert torch.equal(emptied(x), expected)
    assert gap(copy.deepcopy(f).float()(x.float()).double(), expected) < 1e-5
    assert {p.device.type for p in DeepSetLayer(1, 1, device="meta").parameters()} == {"meta"}


@both
@aggregations
def test_compiled_code_computes_the_same(make, aggregation):
    f, x = make(aggregation), random(2, 5, 3)
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    assert gap(compiled(x), f(x)) < 1e-12


@both
@aggregations
def test_gradients_are_those_of_differences(make, aggregation):
    x, mask, _ = padded(0.0)
    f = make(aggregation)
    assert torch.autograd.gradcheck(lambda x: f(x, mask), x.requires_grad_())
    assert torch.autograd.gradcheck(f, random(2, 5, 3).requires_grad_())


@both
@aggregations
def test_autocast(make, aggregation):
    f, (x, mask, _) = make(aggregation, F32), padded(dtype=F32)
    expected = f(x, mask)
    with torch.autocast("cpu", torch.bfloat16):
        got = f(x, mask)
        got.float().square().sum().backward()
    assert 0 < gap(got.float(), expected) < 0.1
    assert all(torch.isfinite(p.grad).all() for p in f.parameters())


def test_what_is_printed():
    for f in (layer("mean"), model("mean")):
        assert f.extra_repr() == "aggregation=mean"
