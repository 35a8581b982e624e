"""The E(n)-equivariant network: its symmetries, its broken twins, its input, its life."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from torch import Tensor, nn

from gdl.geometry import complete_graph, random_rotations
from gdl.rotations.egnn import EGNN, GNN, EGNNLayer
from gdl.training import count_parameters
from studies._sizes import width_for
from tests.test_representations import refuses

F64 = torch.float64
TOLERANCE = {torch.float32: 1e-5, F64: 1e-12}
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
kinds = pytest.mark.parametrize("full", [False, True], ids=["plain", "attributes and velocities"])


def relative(got: Tensor, expected: Tensor) -> float:
    return ((got - expected).norm() / expected.norm()).item()


def cloud(full: bool, n: int = 9, d: int = 3, dtype: torch.dtype = F64, seed: int = 0) -> dict:
    """An input of two features, on a graph that is neither complete nor regular."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    x = draw(n, d)
    near = torch.cdist(x, x) <= 1.7
    edge_index = (near & ~torch.eye(n, dtype=torch.bool)).nonzero().T
    given = {"h": draw(n, 2), "x": x, "edge_index": edge_index}
    if full:
        given |= {"edge_attr": draw(edge_index.shape[1], 3), "v": draw(n, d)}
    return given


def busy(model: nn.Module, scale: float = 0.3) -> nn.Module:
    """The model with random weights everywhere, also where it starts with small ones and zeros."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(scale * torch.randn(p.shape, dtype=p.dtype, generator=generator))
    return model.eval()


def network(full: bool, dtype: torch.dtype = F64, **options) -> EGNN:
    if full:
        options |= {"edge_attributes": 3, "velocities": True}
    return busy(EGNN(2, 8, 3, 4, dtype=dtype, **options))


def moved(given: dict, R: Tensor, shift: float = 0.0) -> dict:
    turned = {name: given[name] @ R.T for name in ("x", "v") if name in given}
    turned["x"] = turned["x"] + shift * torch.arange(1, 1 + len(R), dtype=R.dtype)
    return given | turned


def motion_error(model: nn.Module, given: dict, *, shift: float = 0.0) -> float:
    """The worst relative error over rotations and reflections, and products of them."""
    R, S, T = random_rotations(3, seed=0)
    M = -T
    dtype = given["x"].dtype
    with torch.no_grad():
        h, x = model(**given)
        errors = []
        for g in (R, M, R @ S, S @ M @ R):
            move = g.to(dtype)
            h_moved, x_moved = model(**moved(given, move, shift))
            target = moved({"x": x}, move, shift)["x"]
            # The motion itself is compared, which a large shift would hide.
            start = moved(given, move, shift)["x"]
            errors += [relative(h_moved, h), relative(x_moved - start, target - start)]
    return max(errors)


# --- symmetries ---------------------------------------------------------------------------------


@both_dtypes
@kinds
@pytest.mark.parametrize("aggregation", ["mean", "sum"])
def test_the_network_turns_with_its_cloud(dtype, full, aggregation):
    model, given = network(full, dtype, aggregation=aggregation), cloud(full, dtype=dtype)
    assert motion_error(model, given) < TOLERANCE[dtype]
    assert motion_error(model, given, shift=10.0) < 100 * TOLERANCE[dtype]


@kinds
@torch.no_grad()
def test_the_output_depends_on_the_input(full):
    model, given = network(full), cloud(full)
    h, x = model(**given)
    assert h.std(0).min() > 1e-3 and relative(x, given["x"]) > 1e-2
    for name in set(given) - {"edge_index"}:
        other_h, other_x = model(**given | {name: 1.1 * given[name]})
        assert relative(other_x, x) > 1e-4
        assert name == "v" or relative(other_h, h) > 1e-4


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_the_network_lives_in_any_dimension(d):
    R, _ = torch.linalg.qr(torch.randn(d, d, dtype=F64, generator=torch.Generator().manual_seed(2)))
    model, given = network(True), cloud(True, d=d)
    h, x = model(**given)
    h_moved, x_moved = model(**moved(given, R, 0.5))
    assert relative(h_moved, h) < 1e-12
    assert relative(x_moved, moved({"x": x}, R, 0.5)["x"]) < 1e-12


@pytest.mark.parametrize(
    "model",
    [network(True), busy(EGNNLayer(2, 8, edge_attributes=3, velocities=True, dtype=F64)),
     busy(GNN(2, 8, 2, edge_attributes=3, velocities=True, dtype=F64))],
    ids=["EGNN", "EGNNLayer", "GNN"],
)  # fmt: skip
def test_points_and_edges_can_be_renumbered(model):
    given = cloud(True)
    h, x = model(**given)
    generator = torch.Generator().manual_seed(0)
    p = torch.randperm(len(x), generator=generator)  # point i becomes point p[i]
    q = torch.randperm(given["edge_index"].shape[1], generator=generator)
    old = p.argsort()
    other = {name: given[name][old] for name in ("h", "x", "v")}
    other |= {"edge_index": p[given["edge_index"][:, q]], "edge_attr": given["edge_attr"][q]}
    h_other, x_other = model(**other)
    assert relative(h_other, h[old]) < 1e-13 and relative(x_other, x[old]) < 1e-13
    kept = model(**other | {"edge_attr": given["edge_attr"]})
    assert relative(kept[1], x[old]) > 1e-3


class Weighted(EGNNLayer):
    """The broken twin: a weight for each coordinate."""

    def __init__(self, *sizes: int, **options):
        super().__init__(*sizes, **options)
        self.phi_x[-1] = nn.Linear(self.hidden, 3, dtype=F64)


class Unrelated(EGNNLayer):
    """The broken twin: positions of the neighbours, not relative ones, are added up."""

    def _update(self, h, x, edge_index, edge_attr, v):
        h_new, _ = super()._update(h, x, edge_index, edge_attr, v)
        weights = torch.tanh(h_new.sum(1, keepdim=True))
        received = (weights * x)[edge_index[0]]
        return h_new, x + torch.zeros_like(x).index_add(0, edge_index[1], received)


class Absolute(EGNNLayer):
    """The broken twin: scalars that know where the point is."""

    def _update(self, h, x, edge_index, edge_attr, v):
        return super()._update(h + torch.sin(x[:, :1]), x, edge_index, edge_attr, v)


class Cross(EGNNLayer):
    """The broken twin: turns with rotations, but not with reflections."""

    def _update(self, h, x, edge_index, edge_attr, v):
        h_new, x_new = super()._update(h, x, edge_index, edge_attr, v)
        return h_new, x_new + torch.linalg.cross(x_new - x, v)


@pytest.mark.parametrize("twin", [Weighted, Unrelated, Absolute, Cross, GNN])
def test_broken_twins_fail(twin):
    sizes = (2, 8, 2) if twin is GNN else (2, 8)
    model = busy(twin(*sizes, edge_attributes=3, velocities=True, dtype=F64))
    assert motion_error(model, cloud(True), shift=1.0) > 1e-3


def test_the_unbroken_layer_passes():
    layer = busy(EGNNLayer(2, 8, edge_attributes=3, velocities=True, dtype=F64))
    assert motion_error(layer, cloud(True), shift=1.0) < 1e-12


# --- the layer is its formula -------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", ["mean", "sum"])
def test_the_layer_is_the_formula_written_out(aggregation):
    layer = busy(
        EGNNLayer(2, 8, edge_attributes=3, velocities=True, aggregation=aggregation, dtype=F64)
    )
    given = cloud(True)
    h, x, a, v = (given[name] for name in ("h", "x", "edge_attr", "v"))
    h_new, x_new = layer(**given)
    for i in range(len(x)):
        edges = [(k, j) for k, (j, t) in enumerate(given["edge_index"].T.tolist()) if t == i]
        received, shift = torch.zeros(8, dtype=F64), torch.zeros(3, dtype=F64)
        for k, j in edges:
            square = ((x[i] - x[j]) ** 2).sum()[None]
            message = layer.phi_e(torch.cat([h[i], h[j], square, a[k]]))
            received = received + message
            shift = shift + (x[i] - x[j]) * layer.phi_x(message)
        if aggregation == "mean" and edges:
            shift = shift / len(edges)
        assert torch.allclose(x_new[i], x[i] + shift + layer.phi_v(h[i]) * v[i], atol=1e-13)
        assert torch.allclose(h_new[i], h[i] + layer.phi_h(torch.cat([h[i], received])), atol=1e-13)


def test_edges_point_from_source_to_target():
    layer = busy(EGNNLayer(2, 8, dtype=F64))
    given = cloud(False, n=2)
    _, x = layer(**given | {"edge_index": torch.tensor([[0], [1]])})
    assert torch.equal(x[0], given["x"][0]) and not torch.equal(x[1], given["x"][1])


@both_dtypes
@kinds
def test_a_batch_of_clouds_gives_its_clouds_one_by_one(dtype, full):
    model = network(full, dtype)
    parts = [cloud(full, n, dtype=dtype, seed=n) for n in (1, 4, 7)]
    starts = [0, 1, 5]
    batch = {name: torch.cat([p[name] for p in parts]) for name in parts[0] if name != "edge_index"}
    batch["edge_index"] = torch.cat(
        [p["edge_index"] + s for p, s in zip(parts, starts, strict=True)], dim=1
    )
    h, x = model(**batch)
    alone = [model(**p) for p in parts]
    assert relative(h, torch.cat([a[0] for a in alone])) < TOLERANCE[dtype]
    assert relative(x, torch.cat([a[1] for a in alone])) < TOLERANCE[dtype]


@kinds
def test_single_atoms_move_by_their_velocity_only(full):
    given = cloud(full, n=1)
    assert given["edge_index"].shape == (2, 0)
    h, x = network(full)(**given)
    shift = x - given["x"]
    assert torch.isfinite(h).all()
    if full:
        assert torch.linalg.matrix_rank(torch.cat([shift, given["v"]])) == 1
    else:
        assert torch.equal(shift, torch.zeros_like(shift))


@both_dtypes
@pytest.mark.parametrize("aggregation", ["mean", "sum"])
def test_coincident_points_have_values_and_gradients(dtype, aggregation):
    model = network(True, dtype, aggregation=aggregation)
    given = cloud(True, n=4, dtype=dtype)
    given["x"] = given["x"][[0, 0, 0, 3]].requires_grad_()
    given["edge_index"] = complete_graph(4)
    given["edge_attr"] = torch.ones(12, 3, dtype=dtype)
    h, x = model(**given)
    (h.sum() + x.square().sum()).backward()
    assert torch.isfinite(h).all() and torch.isfinite(x).all()
    gradients = [given["x"].grad, *(p.grad for p in model.parameters() if p.grad is not None)]
    assert all(torch.isfinite(g).all() for g in gradients) and given["x"].grad.abs().min() > 0


def test_derivatives_are_those_of_differences():
    model, given = network(True), cloud(True, n=4)
    inputs = [given[name].requires_grad_() for name in ("h", "x", "edge_attr", "v")]

    def f(h, x, a, v):
        return model(h, x, given["edge_index"], a, v)

    assert torch.autograd.gradcheck(f, inputs)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_steps_of_a_fresh_network_are_small(seed):
    torch.manual_seed(seed)
    given = cloud(False)
    _, x = EGNN(2, 16, 4, dtype=F64)(**given)
    assert 0 < relative(x.detach(), given["x"]) < 5e-4


def test_the_twin_is_its_formula_written_out():
    model, given = busy(GNN(2, 8, 1, velocities=True, dtype=F64)), cloud(True)
    h = model.embedding(torch.cat([given["h"], given["x"], given["v"]], dim=1))
    expected = []
    for i in range(len(h)):
        received = torch.zeros(8, dtype=F64)
        for j, t in given["edge_index"].T.tolist():
            if t == i:
                received = received + model.phi_e[0](torch.cat([h[i], h[j]]))
        expected.append(h[i] + model.phi_h[0](torch.cat([h[i], received])))
    h_new, x_new = model(**{name: given[name] for name in ("h", "x", "edge_index", "v")})
    assert torch.allclose(h_new, torch.stack(expected), atol=1e-13)
    assert torch.allclose(x_new, given["x"] + model.head(h_new), atol=1e-13)


# --- as modules ---------------------------------------------------------------------------------

MODELS = {
    "EGNNLayer": lambda **made: EGNNLayer(2, 8, edge_attributes=3, velocities=True, **made),
    "EGNN": lambda **made: EGNN(2, 8, 2, 4, edge_attributes=3, velocities=True, **made),
    "GNN": lambda **made: GNN(2, 8, 2, edge_attributes=3, velocities=True, **made),
}
models = pytest.mark.parametrize("name", sorted(MODELS))


@models
def test_copies_compute_the_same(name):
    model, given = busy(MODELS[name](dtype=F64)), cloud(True)
    h, x = model(**given)
    loaded = MODELS[name](dtype=F64)
    loaded.load_state_dict(model.state_dict())
    emptied = MODELS[name](device="meta", dtype=F64).to_empty(device="cpu")
    emptied.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded, emptied):
        h_twin, x_twin = twin(**given)
        assert torch.equal(h_twin, h) and torch.equal(x_twin, x)


@models
def test_dtype_device_and_cast(name):
    model = busy(MODELS[name]())
    assert all(p.dtype == torch.float32 for p in model.parameters())
    given = cloud(True)
    single = {k: v.float() if v.is_floating_point() else v for k, v in given.items()}
    h, x = model(**single)
    assert h.dtype == x.dtype == torch.float32
    h_double, x_double = model.double()(**given)
    assert relative(h.double(), h_double) < 1e-5 and relative(x.double(), x_double) < 1e-5
    meta = MODELS[name](device="meta")
    given = {k: v.to("meta") for k, v in single.items()}
    assert meta(**given)[1].shape == x.shape


@models
def test_training_reaches_every_weight(name):
    torch.manual_seed(0)
    model, given = MODELS[name](), cloud(True, dtype=torch.float32)
    h, x = model(**given)
    (h.square().mean() + (x - 1).square().mean()).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())


@models
def test_compiled_and_under_autocast(name):
    model, given = busy(MODELS[name]()), cloud(True, dtype=torch.float32)
    h, x = model(**given)
    h_compiled, x_compiled = torch.compile(model, backend="aot_eager")(**given)
    assert relative(h_compiled, h) < 1e-5 and relative(x_compiled, x) < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        h_low, x_low = model(**given)
    assert x_low.dtype == torch.float32
    assert relative(h_low, h) < 0.05 and relative(x_low, x) < 0.05


def test_positions_keep_their_precision_under_autocast():
    model, given = network(True, torch.float32), cloud(True, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        here = model(**given)[1] - given["x"]
        far = given["x"] + 1000
        there = model(**given | {"x": far})[1] - far
    assert relative(there, here) < 0.05


# --- what they refuse ---------------------------------------------------------------------------

EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])
FITS = {
    "h": torch.ones(3, 2), "x": torch.eye(3), "edge_index": EDGES,
    "edge_attr": torch.ones(3, 3), "v": torch.ones(3, 3),
}  # fmt: skip


@models
@pytest.mark.parametrize(
    ("error", "argument", "value"),
    [
        (ValueError, "edge_index", EDGES - 1),
        (ValueError, "edge_index", EDGES + 1),
        (ValueError, "edge_index", EDGES.T.repeat(1, 2)),
        (ValueError, "edge_index", EDGES[0]),
        (ValueError, "edge_index", EDGES.to("meta")),
        (TypeError, "edge_index", EDGES.float()),
        (TypeError, "edge_index", EDGES.int()),
        (TypeError, "edge_index", EDGES.tolist()),
        (ValueError, "x", torch.eye(3) * math.nan),
        (ValueError, "x", torch.eye(3) + math.inf),
        (ValueError, "x", torch.eye(3)[:0]),
        (ValueError, "x", torch.eye(3)[None]),
        (ValueError, "x", torch.eye(3).double()),
        (TypeError, "x", torch.eye(3).long()),
        (TypeError, "x", None),
        (ValueError, "h", torch.ones(3, 1)),
        (ValueError, "h", torch.ones(1, 2)),
        (ValueError, "h", torch.ones(2)),
        (ValueError, "h", torch.ones(3, 2) * math.nan),
        (ValueError, "h", torch.ones(3, 2).double()),
        (ValueError, "h", torch.ones(3, 2, device="meta")),
        (TypeError, "h", torch.ones(3, 2).long()),
        (ValueError, "edge_attr", torch.ones(3, 1)),
        (ValueError, "edge_attr", torch.ones(1, 3)),
        (ValueError, "edge_attr", torch.ones(3)),
        (ValueError, "edge_attr", torch.ones(3, 3) * math.inf),
        (TypeError, "edge_attr", None),
        (ValueError, "v", torch.ones(3, 1)),
        (ValueError, "v", torch.ones(1, 3)),
        (ValueError, "v", torch.ones(3, 3) * math.nan),
        (TypeError, "v", None),
    ],
)
def test_bad_input_is_named(name, error, argument, value):
    model = MODELS[name]()
    model(**FITS)
    with refuses(error, argument):
        model(**FITS | {argument: value})


@pytest.mark.parametrize(
    "model", [EGNNLayer(2, 8), EGNN(2, 8, 1), GNN(2, 8, 1)], ids=lambda model: type(model).__name__
)
@pytest.mark.parametrize("argument", ["edge_attr", "v"])
def test_what_was_not_asked_for_is_refused(model, argument):
    given = {name: FITS[name] for name in ("h", "x", "edge_index")}
    model(**given)
    with refuses(ValueError, argument):
        model(**given | {argument: FITS[argument]})


def test_a_cloud_of_another_dimension_is_refused_by_the_twin_only():
    given = {"h": torch.ones(3, 2), "x": torch.ones(3, 2), "edge_index": EDGES}
    EGNN(2, 8, 1)(**given)
    GNN(2, 8, 1, dimension=2)(**given)
    with refuses(ValueError, "x"):
        GNN(2, 8, 1)(**given)


NO_COUNT = [0, -1, True, 1.5, None, "3"]
SIZES = {
    EGNNLayer: {"features": 2, "hidden": 8},
    EGNN: {"in_features": 2, "hidden": 8, "layers": 1},
    GNN: {"in_features": 2, "hidden": 8, "layers": 1},
}
BAD_OPTIONS = {
    "edge_attributes": [-1, True, 1.5, None],
    "velocities": [1, None, "yes"],
    "dtype": [torch.int64, "float32"],
    "aggregation": ["max", None, True],
    "out_features": [0, -1, 1.5, True],
    "dimension": NO_COUNT,
}
ABSENT = {EGNNLayer: {"out_features", "dimension"}, EGNN: {"dimension"},
          GNN: {"out_features", "aggregation"}}  # fmt: skip


@pytest.mark.parametrize("kind", list(SIZES), ids=lambda kind: kind.__name__)
def test_bad_options_are_named(kind):
    options = {name: bad for name, bad in BAD_OPTIONS.items() if name not in ABSENT[kind]}
    for name, bad in {**dict.fromkeys(SIZES[kind], NO_COUNT), **options}.items():
        for value in bad:
            with refuses((TypeError, ValueError), name):
                kind(**SIZES[kind] | {name: value})


# --- equal budgets ------------------------------------------------------------------------------


def test_the_twin_gets_the_budget_of_the_network():
    options = {"edge_attributes": 1, "velocities": True}
    budget = count_parameters(EGNN(1, 32, 3, **options))
    state = torch.get_rng_state()
    width = width_for(lambda k: GNN(1, k, 3, **options), budget)
    assert torch.equal(torch.get_rng_state(), state)
    gaps = [
        abs(count_parameters(GNN(1, k, 3, **options)) - budget)
        for k in (width - 1, width, width + 1)
    ]
    assert gaps[1] == min(gaps) and gaps[1] < 0.04 * budget


@pytest.mark.parametrize(
    ("parameters", "width"), [(1, 1), (4, 1), (5, 1), (6, 1), (7, 2), (8, 2), (10, 2), (11, 3)]
)
def test_the_nearest_width(parameters, width):
    # 4 parameters for each unit of width.
    assert width_for(lambda k: nn.Linear(3, k), parameters) == width


@pytest.mark.parametrize(
    ("error", "argument", "change"),
    [
        (TypeError, "build", {"build": 3}),
        (ValueError, "build", {"build": lambda width: nn.Linear(2, 1)}),
        (TypeError, "parameters", {"parameters": 1.5}),
        (ValueError, "parameters", {"parameters": 0}),
    ],
)
def test_a_bad_budget_is_named(error, argument, change):
    with refuses(error, argument):
        width_for(**{"build": lambda k: nn.Linear(k, k), "parameters": 10, **change})
