"""Graphs in a gauge: changes of gauge, transport, walks, holonomy, gauges along trees."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gdl.gauges._chains import summed
from gdl.gauges.graph import GaugedGraph, wrapped
from gdl.gauges.orders import Orders

F64 = torch.float64
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
NUMBERS = ("angles", "distances", "transports", "weights")


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def gauged(edge_index: Tensor, transports: Tensor, n: int, rings: int = 2) -> GaugedGraph:
    """A graph with these edges and transports, and random numbers for all else."""
    e = edge_index.shape[1]
    return GaugedGraph(
        edge_index=edge_index,
        angles=3 * random(e, seed=5).to(transports),
        distances=random(e, seed=6).abs().to(transports),
        transports=transports,
        weights=random(e, rings, seed=7).to(transports),
        num_nodes=n,
    )


def ladder(seed: int, rungs: int = 6, dtype: torch.dtype = F64) -> GaugedGraph:
    """Squares in a row, an edge in each direction, opposite ones with opposite transports."""
    i = torch.arange(rungs)
    rails = torch.cat([torch.stack([i[:-1], i[1:]]), torch.stack([i[:-1], i[1:]]) + rungs], 1)
    up = torch.cat([rails, torch.stack([i, i + rungs])], 1)
    g = 3 * random(up.shape[1], seed=seed, dtype=dtype)
    return gauged(torch.cat([up, up.flip(0)], 1), torch.cat([g, -g]), 2 * rungs)


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference of angles, multiples of 2 pi aside."""
    assert a.shape == b.shape
    return float(wrapped(a - b).abs().max())


# --- what a graph is ------------------------------------------------------------------------


def test_names():
    graph = ladder(0)
    assert (graph.num_nodes, graph.num_edges, graph.rings) == (12, 32, 2)
    assert torch.equal(torch.stack([graph.sources, graph.targets]), graph.edge_index)
    assert repr(graph) == "GaugedGraph(12 nodes, 32 edges)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        graph.num_nodes = 3


def test_a_graph_may_have_no_edges():
    graph = gauged(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0, dtype=F64), 3)
    assert graph.turned(random(3)).num_edges == 0
    assert graph.transport(random(4, 3, 1), "1x0").shape == (4, 0, 1)
    assert graph.tree_gauge().tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="^nodes: expected one edge from 0 to 1, got 0"):
        graph.walk([0, 1])


def test_copies_pickles_dtypes_and_devices():
    graph = ladder(0)
    for twin in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph)), graph.to()):
        assert all(torch.equal(getattr(twin, n), getattr(graph, n)) for n in NUMBERS)
    single = graph.to(dtype=torch.float32)
    assert {getattr(single, name).dtype for name in NUMBERS} == {torch.float32}
    assert single.edge_index.dtype == torch.int64
    assert graph.to(device="meta").edge_index.is_meta
    assert torch.equal(graph.with_weights(random(32, 5)).weights, random(32, 5))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_nodes": 11}, ValueError, r"^edge_index: expected entries 0 to 10 .*, got 0 to 11"),
        ({"num_nodes": 0}, ValueError, "^num_nodes: expected 1 to 2147483648, got 0"),
        ({"num_nodes": 2**62}, ValueError, "^num_nodes: expected 1 to 2147483648, got 46"),
        ({"angles": torch.full((32,), 3e15, dtype=F64)}, ValueError, "^angles: expected angles be"),
        (
            {"transports": torch.full((32,), -3e15, dtype=F64)},
            ValueError,
            "^transports: expected an",
        ),
        ({"num_nodes": 12.0}, TypeError, "^num_nodes: expected an int, got float"),
        ({"edge_index": [[0], [1]]}, TypeError, "^edge_index: expected an int64 tensor, got list"),
        ({"edge_index": torch.zeros(3, 32).long()}, ValueError, r"^edge_index: expected shape"),
        ({"edge_index": torch.zeros(2, 31).long()}, ValueError, r"^angles: .*\(31,\), got \(32,\)"),
        ({"angles": torch.zeros(32)}, TypeError, "^distances: expected torch.float32, as the ang"),
        ({"angles": None}, TypeError, "^angles: expected a torch.Tensor, got NoneType"),
        ({"angles": torch.zeros(32).half()}, TypeError, "^angles: expected float32 or float64"),
        ({"transports": torch.zeros(32)}, TypeError, "^transports: expected torch.float64"),
        ({"transports": torch.zeros(31, dtype=F64)}, ValueError, r"^transports: expected shape"),
        ({"transports": torch.full((32,), math.nan, dtype=F64)}, ValueError, "^transports: .*fini"),
        ({"angles": torch.full((32,), math.inf, dtype=F64)}, ValueError, "^angles: .*finite"),
        ({"distances": torch.full((32,), -1.0, dtype=F64)}, ValueError, "^distances: .*got -1"),
        ({"distances": torch.zeros(32, 1, dtype=F64)}, ValueError, r"^distances: .*\(32, 1\)"),
        (
            {"weights": torch.zeros(32, dtype=F64)},
            ValueError,
            r"^weights: .*\(32, R\), got",
        ),
        ({"weights": torch.zeros(32, 0, dtype=F64)}, ValueError, r"^weights: .*got \(32, 0\)"),
        ({"weights": torch.zeros(31, 1, dtype=F64)}, ValueError, r"^weights: .*got \(31, 1\)"),
        ({"weights": torch.zeros(32, 1)}, TypeError, "^weights: expected torch.float64"),
        ({"weights": torch.zeros(32, 1, dtype=F64, device="meta")}, ValueError, "^weights: .*meta"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_what_is_no_graph(change, error, message):
    with pytest.raises(error, match=message):
        dataclasses.replace(ladder(0), **change)


# --- changes of gauge -----------------------------------------------------------------------


@both_dtypes
def test_turning_frames_is_an_action(dtype):
    graph, eps = ladder(0, dtype=dtype), torch.finfo(dtype).eps
    a, b = (10 * random(12, seed=s, dtype=dtype) for s in (1, 2))
    twice, once = graph.turned(a).turned(b), graph.turned(a + b)
    assert distance(twice.angles, once.angles) < 100 * eps
    assert distance(twice.transports, once.transports) < 100 * eps
    assert twice.angles.dtype == dtype and torch.equal(twice.weights, graph.weights)
    back = graph.turned(a).turned(-a)
    assert distance(back.angles, graph.angles) < 100 * eps
    assert distance(graph.turned(a).angles, graph.angles) > 1


@seeds
def test_neighbours_are_seen_from_the_turned_frame(seed):
    graph, by = ladder(seed), 10 * random(12, seed=seed + 1)
    seen = torch.stack([graph.angles.cos(), graph.angles.sin()], 1)
    turned = graph.turned(by).angles
    expected = Orders("1x1").rotate(seen, -by[graph.targets])
    assert (torch.stack([turned.cos(), turned.sin()], 1) - expected).abs().max() < 1e-12
    assert graph.turned(torch.full((12,), 0.5, dtype=F64)).angles[0] == graph.angles[0] - 0.5


@pytest.mark.parametrize("text", ["1x0", "2x1", "1x0 + 1x2 + 2x4"])
@seeds
def test_transport_and_the_change_of_gauge_commute(text, seed):
    graph, orders, by = ladder(seed), Orders(text), 10 * random(12, seed=seed + 1)
    x = random(3, 12, orders.dim, seed=seed)
    after = orders.rotate(graph.transport(x, orders), -by[graph.targets])
    before = graph.turned(by).transport(orders.rotate(x, -by), text)
    assert (after - before).abs().max() < 1e-12
    wrong = graph.turned(-by).transport(orders.rotate(x, -by), text)
    assert text == "1x0" or (after - wrong).abs().max() > 0.1


def test_transport_turns_the_features_of_sources():
    graph = gauged(torch.tensor([[0], [1]]), torch.tensor([math.pi / 2], dtype=F64), 2)
    x = torch.tensor([[7.0, 1, 0], [8, 0, 0]], dtype=F64)
    assert (graph.transport(x, "1x0 + 1x1") - torch.tensor([7.0, 0, 1])).abs().max() < 1e-15


def test_other_features_and_turns_are_refused():
    graph = ladder(0)
    with pytest.raises(ValueError, match=r"^x: expected shape \(\.\.\., 12, 2\), got \(11, 2\)"):
        graph.transport(random(11, 2), "1x1")
    with pytest.raises(TypeError, match="^x: expected at most the precision of torch.float32"):
        graph.to(dtype=torch.float32).transport(random(12, 2), "1x1")
    with pytest.raises(ValueError, match="^x: expected device cpu, got meta"):
        graph.transport(random(12, 2).to("meta"), "1x1")
    for by, error, message in (
        (random(11), ValueError, r"^by: expected shape \(12,\), got \(11,\)"),
        (random(1), ValueError, r"^by: expected shape \(12,\), got \(1,\)"),
        (random(2, 12), ValueError, r"^by: expected shape \(12,\), got \(2, 12\)"),
        (random(12).float(), TypeError, "^by: expected torch.float64, as the angles"),
        (random(12) * math.nan, ValueError, "^by: expected finite entries"),
        (0.5, TypeError, "^by: expected a torch.Tensor, got float"),
    ):
        with pytest.raises(error, match=message):
            graph.turned(by)


# --- walks and holonomy ---------------------------------------------------------------------


def test_a_walk_names_its_edges():
    graph = ladder(0)
    nodes = [0, 1, 7, 6, 0]
    edges = graph.walk(nodes)
    assert graph.sources[edges].tolist() == nodes[:-1]
    assert graph.targets[edges].tolist() == nodes[1:]
    assert torch.equal(graph.walk(torch.tensor([nodes, nodes[::-1]]))[0], edges)
    assert graph.walk([3, 4]).shape == (1,)


@both_dtypes
def test_holonomy_is_the_sum_of_transports(dtype):
    graph = ladder(0, dtype=dtype)
    edges = graph.walk([[0, 1, 7, 6, 0], [2, 3, 9, 8, 2]])
    found = graph.holonomy(edges)
    assert found.shape == (2,) and found.dtype == dtype
    for turn, walk in zip(found, edges, strict=True):
        total = sum(float(graph.transports[edge]) for edge in walk)
        assert abs(math.remainder(float(turn) - total, 2 * math.pi)) < 30 * torch.finfo(dtype).eps
    assert distance(graph.holonomy(edges.roll(1, -1)), found) < 30 * torch.finfo(dtype).eps


@pytest.mark.parametrize("transport", [3.0, -3.0, math.pi / 2, -math.pi / 2])
def test_holonomy_is_less_than_a_turn(transport):
    graph = gauged(torch.tensor([[0, 1], [1, 0]]), torch.full((2,), transport, dtype=F64), 2)
    expected = {3.0: 6 - 2 * math.pi, -3.0: 2 * math.pi - 6}.get(transport, -math.pi)
    assert float(graph.holonomy([0, 1])) == pytest.approx(expected, abs=1e-14)


@seeds
def test_holonomy_does_not_see_the_gauge(seed):
    graph, by = ladder(seed), 10 * random(12, seed=seed + 1)
    edges = graph.walk([0, 1, 2, 8, 7, 6, 0])
    assert distance(graph.turned(by).holonomy(edges), graph.holonomy(edges)) < 1e-12
    back = graph.walk([0, 6, 7, 8, 2, 1, 0])
    assert distance(graph.holonomy(back), -graph.holonomy(edges)) < 1e-12
    assert abs(graph.holonomy(edges)) > 0.01
    single = graph.turned(by).transports[edges]
    assert distance(single, graph.transports[edges]) > 0.1


def test_transport_round_a_loop_is_its_holonomy():
    graph = ladder(0)
    edges = graph.walk([0, 1, 7, 6, 0])
    vector = random(2)
    carried = vector
    for edge in edges.tolist():
        x = torch.zeros(12, 2, dtype=F64).index_put((graph.sources[edge],), carried)
        carried = graph.transport(x, "1x1")[edge]
    expected = Orders("1x1").rotate(vector, graph.holonomy(edges))
    assert (carried - expected).abs().max() < 1e-14


@pytest.mark.parametrize(
    ("nodes", "error", "message"),
    [
        ([0, 2], ValueError, "^nodes: expected one edge from 0 to 2, got 0$"),
        ([[0, 1, 2], [0, 1, 8]], ValueError, "^nodes: expected one edge from 1 to 8, got 0$"),
        ([0], ValueError, r"^nodes: expected shape \(\.\.\., k\), k at least 2, got \(1,\)"),
        (3, ValueError, r"^nodes: expected shape \(\.\.\., k\), k at least 2, got \(\)"),
        ([0, 12], ValueError, "^nodes: expected indices 0 to 11, got 0 to 12"),
        ([-1, 0], ValueError, "^nodes: expected indices 0 to 11, got -1 to 0"),
        ([0.0, 1.0], TypeError, "^nodes: expected integers, got float64"),
        ([True, False], TypeError, "^nodes: expected integers, got bool"),
        ([[0, 1], [2]], ValueError, "^nodes: expected an array of numbers"),
        (None, ValueError, "^nodes: expected shape"),
    ],
    ids=str,
)
def test_what_is_no_walk(nodes, error, message):
    with pytest.raises(error, match=message):
        ladder(0).walk(nodes)


def test_the_keys_of_walks_hold_the_most_nodes():
    n = 2**31
    edges = torch.tensor([[n - 1, n - 2, 0], [n - 2, n - 1, 1]])
    graph = gauged(edges, torch.zeros(3, dtype=F64), n)
    assert graph.walk([n - 1, n - 2, n - 1]).tolist() == [0, 1]
    assert graph.walk([0, 1]).tolist() == [2]


def test_parallel_edges_have_to_be_named():
    graph = gauged(torch.tensor([[0, 0, 1], [1, 1, 0]]), torch.tensor([0.5, 0.7, 0.1]), 2)
    with pytest.raises(ValueError, match="^nodes: expected one edge from 0 to 1, got 2$"):
        graph.walk([0, 1, 0])
    assert graph.walk([1, 0]).tolist() == [2]
    loops = graph.holonomy([[0, 2], [1, 2]])
    assert loops.tolist() == pytest.approx([0.6, 0.8], abs=1e-6)


def test_walks_that_are_not_closed_are_refused():
    graph = ladder(0)
    closed, n = graph.walk([0, 1, 7, 6, 0]), graph.num_edges
    message = "^edges: expected a closed walk, .* got an edge from 0 after one to 6$"
    with pytest.raises(ValueError, match=message):
        graph.holonomy(closed[:-1])
    with pytest.raises(ValueError, match="^edges: expected a closed walk"):
        graph.holonomy(closed[[0, 2, 1, 3]])
    with pytest.raises(ValueError, match=f"^edges: expected indices 0 to {n - 1}, got {n} to {n}"):
        graph.holonomy([n])
    with pytest.raises(ValueError, match=r"^edges: expected shape .* k at least 1, got \(0,\)"):
        graph.holonomy([])
    with pytest.raises(TypeError, match="^edges: expected integers, got float32"):
        graph.holonomy(torch.zeros(3).numpy())


# --- trees ----------------------------------------------------------------------------------


def trivial(graph: GaugedGraph) -> Tensor:
    """Which transports are multiples of 2 pi."""
    return wrapped(graph.transports).abs() < 1e-12


@seeds
def test_a_tree_gauge_leaves_as_many_transports_as_there_are_loops(seed):
    graph = ladder(seed)
    assert not bool(trivial(graph).any())
    tree = graph.turned(graph.tree_gauge())
    loops = graph.num_edges // 2 - graph.num_nodes + 1
    assert int((~trivial(tree)).sum()) == 2 * loops
    edges = graph.walk([0, 1, 7, 6, 0])
    assert distance(tree.holonomy(edges), graph.holonomy(edges)) < 1e-12


@seeds
def test_without_holonomy_nothing_is_left(seed):
    flat = ladder(seed)
    flat = dataclasses.replace(flat, transports=0 * flat.transports)
    hidden = flat.turned(10 * random(12, seed=seed))
    assert not bool(trivial(hidden).any())
    assert bool(trivial(hidden.turned(hidden.tree_gauge())).all())


def test_trees_of_one_way_edges_parallel_edges_and_several_components():
    edge_index = torch.tensor([[1, 3, 0, 0, 4, 5], [0, 1, 3, 3, 5, 5]])
    graph = gauged(edge_index, random(6), 6)
    tree = graph.turned(graph.tree_gauge())
    joined = [set(tree.edge_index[:, e].tolist()) for e in trivial(tree).nonzero().flatten()]
    assert sorted(map(sorted, joined)) == [[0, 1], [0, 3], [4, 5]]
    assert graph.tree_gauge()[[0, 2, 4]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (F64, 1e-11)], ids=str)
def test_a_long_path_has_a_tree_gauge(dtype, tolerance):
    n = 20_000
    i = torch.arange(n - 1)
    graph = gauged(torch.stack([i, i + 1]), random(n - 1, dtype=dtype), n)
    by = graph.tree_gauge()
    assert by.dtype == dtype
    assert bool((wrapped(graph.turned(by).transports).abs() < tolerance).all())
    assert float(by.min()) >= -math.pi and float(by.max()) < math.pi


def test_sums_along_chains():
    before = torch.tensor([0, 0, 1, 2, 4, 4])
    steps = torch.tensor([0.0, 1, 2, 3, 0, 5])
    assert summed(steps, before).tolist() == [0, 1, 3, 6, 0, 5]


# --- wrapped angles -------------------------------------------------------------------------


@given(st.floats(-1e6, 1e6), st.integers(-3, 3))
@settings(deadline=None)
@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_wrapped_angles_are_in_range(dtype, angle, turns):
    angles = torch.tensor([angle, turns * math.pi, angle + turns * math.pi], dtype=dtype)
    found = wrapped(angles)
    assert found.dtype == dtype
    assert bool(((found >= -math.pi) & (found < math.pi)).all())
    loss = 4 * torch.finfo(dtype).eps * (angles.abs() + 1)
    assert bool(((found.sin() - angles.sin()).abs() <= loss).all())
    assert bool(((found.cos() - angles.cos()).abs() <= loss).all())


def test_the_ends_of_the_range():
    below = math.nextafter(math.pi, 0)
    angles = torch.tensor([-math.pi, below, 1e-300, -1e-17, 0.3], dtype=F64)
    assert torch.equal(wrapped(angles), angles)
    over = torch.tensor([math.pi, 3 * math.pi, math.nextafter(-math.pi, -4)], dtype=F64)
    assert wrapped(over).tolist()[:2] == [-math.pi, -math.pi]
    assert wrapped(over)[2] == below
    with pytest.raises(ValueError, match="^angles: expected finite entries"):
        wrapped(torch.tensor([math.nan]))
    with pytest.raises(TypeError, match="^angles: expected a torch.Tensor, got float"):
        wrapped(1.0)
