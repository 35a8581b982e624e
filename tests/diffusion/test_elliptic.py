"""Diffusion at rest: dense oracles, the adjoint, walks, energy, time steps and symmetry."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from torch import Tensor

from gdl.diffusion.elliptic import (
    diffusion_matrix,
    grid_edges,
    random_walks,
    similarity_weights,
    solve_diffusion,
)
from gdl.equivariance import equivariant_basis, span_residual
from gdl.representations import Representation, dihedral
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")


def problem(height: int = 4, width: int = 5, batch: tuple[int, ...] = (), seed: int = 0) -> dict:
    """A random system: weights in (0, 1), g and v normal, some vertices held."""
    edges, n = grid_edges(height, width), height * width
    draw = torch.Generator().manual_seed(seed)
    held = torch.rand(*batch, n, generator=draw) < 0.25
    held[..., 0] = True
    return {
        "weights": torch.rand(*batch, edges.shape[1], dtype=F64, generator=draw),
        "edge_index": edges,
        "guidance": random(*batch, n, seed=seed + 1),
        "lam": torch.tensor(0.3, dtype=F64),
        "held": held,
        "values": random(*batch, n, seed=seed + 2),
    }


def dense(weights, edge_index, guidance, lam, held, values) -> Tensor:
    """The same system row by row, not symmetric, by LU: an oracle without our matrix."""
    n, (source, target) = guidance.shape[-1], edge_index
    K = weights.new_zeros(*weights.shape[:-1], n, n)
    K[..., source, target] = weights
    K = K + K.mT
    A = torch.diag_embed(K.sum(-1) + lam) - K
    A = torch.where(held[..., None], torch.eye(n, dtype=A.dtype), A)
    right = torch.where(held, values, lam * guidance)
    return torch.linalg.solve(A, right[..., None])[..., 0]


LEARNED = ("weights", "guidance", "lam", "values")


def gradients(solve, parts: dict, cotangent: Tensor) -> list[Tensor]:
    leaves = [parts[name].clone().requires_grad_() for name in LEARNED]
    f = solve(**{**parts, **dict(zip(LEARNED, leaves, strict=True))})
    return list(torch.autograd.grad(f, leaves, cotangent))


# --- the graph and its weights --------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (4, 5)], ids=str)
def test_the_edges_of_a_grid(size):
    edges = grid_edges(*size)
    graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(*size), ordering="sorted")
    assert {frozenset(e) for e in edges.T.tolist()} == {frozenset(e) for e in graph.edges}
    assert edges.shape == (2, graph.number_of_edges()) and edges.dtype == torch.int64


def test_turned_images_have_turned_edges():
    vertices = torch.arange(12).reshape(3, 4)
    turned = torch.rot90(vertices).flatten()
    ours = {frozenset(e) for e in grid_edges(3, 4).T.tolist()}
    theirs = {frozenset(turned[list(e)].tolist()) for e in grid_edges(4, 3).T.tolist()}
    assert ours == theirs


def test_weights_edge_by_edge():
    h, edges = random(2, 6, 3), grid_edges(2, 3)
    found = similarity_weights(h, edges, 0.7)
    for b in range(2):
        for e, (p, q) in enumerate(edges.T.tolist()):
            jump = float(np.square(h[b, p].numpy() - h[b, q].numpy()).sum())
            assert float(found[b, e]) == pytest.approx(np.exp(-0.7 * jump), rel=1e-12)
    turn = torch.linalg.qr(random(3, 3, seed=1)).Q
    assert gap(similarity_weights(h @ turn + 2, edges, 0.7), found) < 1e-12
    assert gap(similarity_weights(2 * h, edges, 0.7), found) > 0.1
    assert bool((similarity_weights(h, edges, 0) == 1).all())


def test_the_matrix_is_a_laplacian():
    parts = problem()
    n, (source, target) = 20, parts["edge_index"]
    graph = nx.Graph()
    graph.add_nodes_from(range(n))
    for p, q, w in zip(source.tolist(), target.tolist(), parts["weights"].tolist(), strict=True):
        graph.add_edge(p, q, weight=w)
    L = torch.from_numpy(nx.laplacian_matrix(graph, range(n)).toarray())
    free = ~parts["held"]
    M = diffusion_matrix(parts["weights"], parts["edge_index"], 0.3, parts["held"])
    wanted = L[free][:, free] + 0.3 * torch.eye(int(free.sum()), dtype=F64)
    assert gap(M[free][:, free], wanted) < 1e-14
    assert gap(M[~free], torch.eye(n, dtype=F64)[~free]) == 0 and gap(M, M.mT) == 0


# --- the solution and its adjoint -----------------------------------------------------------------


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_the_solution_and_its_gradients_are_those_of_a_dense_solve(batch):
    parts = problem(batch=batch)
    f = solve_diffusion(**parts)
    assert gap(f, dense(**parts)) < 1e-12
    assert gap(f[parts["held"]], parts["values"][parts["held"]]) < 1e-15
    cotangent = random(*f.shape, seed=5)
    ours, theirs = (gradients(solve, parts, cotangent) for solve in (solve_diffusion, dense))
    for name, a, b in zip(LEARNED, ours, theirs, strict=True):
        assert gap(a, b) < 1e-12, name
        assert float(b.abs().max()) > 0.01, name


def test_gradients_by_differences():
    parts = problem(3, 3)
    leaves = [parts[name].clone().requires_grad_() for name in LEARNED]

    def solve(*given):
        return solve_diffusion(**{**parts, **dict(zip(LEARNED, given, strict=True))})

    assert torch.autograd.gradcheck(solve, leaves)
    f = solve(*leaves).square().sum()
    (slope,) = torch.autograd.grad(f, leaves[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_values_are_read_where_they_are_held():
    parts = problem()
    moved = {**parts, "values": torch.where(parts["held"], parts["values"], 99.0)}
    assert gap(solve_diffusion(**moved), solve_diffusion(**parts)) == 0
    shared = {**problem(batch=(2,)), "held": parts["held"], "values": parts["values"]}
    one = {**shared, "weights": shared["weights"][1], "guidance": shared["guidance"][1]}
    assert gap(solve_diffusion(**shared)[1], solve_diffusion(**one)) < 1e-13


@both_dtypes
def test_dtypes(dtype):
    parts = {k: v.to(dtype) if v.is_floating_point() else v for k, v in problem().items()}
    f = solve_diffusion(**parts)
    assert f.dtype == dtype
    assert (f.double() - dense(**problem())).abs().max() < 100 * torch.finfo(dtype).eps


# --- what the solution is -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_the_maximum_principle(seed):
    parts = problem(seed=10 * seed)
    f, held = solve_diffusion(**parts), parts["held"]
    reachable = torch.where(held, parts["values"], parts["guidance"])
    assert f.min() >= reachable.min() - 1e-12 and f.max() <= reachable.max() + 1e-12
    ones = torch.ones_like(f)
    assert gap(solve_diffusion(**{**parts, "guidance": ones, "values": ones}), ones) < 1e-12
    higher = {**parts, "guidance": parts["guidance"] + torch.rand(len(f), dtype=F64)}
    assert bool((solve_diffusion(**higher) >= f - 1e-12).all())


def test_the_maximum_principle_needs_weights_that_are_not_negative():
    """Between 0 and 1, with weights 1 and -1/2, rests -1."""
    held = torch.tensor([True, False, True])
    parts = {
        "weights": torch.tensor([1.0, -0.5], dtype=F64),
        "edge_index": torch.tensor([[0, 1], [1, 2]]),
        "guidance": torch.zeros(3, dtype=F64),
        "lam": torch.tensor(0.0, dtype=F64),
        "held": held,
        "values": torch.tensor([0.0, 0.0, 1.0], dtype=F64),
    }
    assert float(dense(**parts)[1]) == pytest.approx(-1, abs=1e-12)
    with refuses(ValueError, "weights"):
        solve_diffusion(**parts)


def energy(f: Tensor, parts: dict) -> Tensor:
    source, target = parts["edge_index"]
    rough = (parts["weights"] * (f[source] - f[target]).square()).sum() / 2
    free = ~parts["held"]
    return rough + parts["lam"] / 2 * (f - parts["guidance"])[free].square().sum()


def test_it_is_the_minimum_of_the_energy():
    parts = problem()
    f = solve_diffusion(**parts).requires_grad_()
    (slope,) = torch.autograd.grad(energy(f, parts), f)
    assert slope[~parts["held"]].abs().max() < 1e-12 < slope[parts["held"]].abs().max()
    for seed in range(3):
        moved = torch.where(parts["held"], f, f + 0.01 * random(len(f), seed=seed))
        assert energy(moved, parts) > energy(f, parts)


def test_it_is_the_limit_of_time_steps():
    parts = problem()
    source, target = parts["edge_index"]
    f = torch.where(parts["held"], parts["values"], 0.0)
    for _ in range(400):
        flow = parts["weights"] * (f[target] - f[source])
        rate = torch.zeros_like(f).index_add(0, source, flow).index_add(0, target, -flow)
        rate = rate + parts["lam"] * (parts["guidance"] - f)
        f = torch.where(parts["held"], f, f + 0.2 * rate)
    assert gap(f, solve_diffusion(**parts)) < 1e-10


def test_without_guidance_it_is_the_harmonic_extension():
    """On a path the voltage falls by current times resistance."""
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=F64)
    held = torch.tensor([True, False, False, True])
    ends = torch.tensor([0.0, 0.0, 0.0, 7.0], dtype=F64)
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    zero = torch.zeros(4, dtype=F64)
    f = solve_diffusion(weights, edges, zero, 0.0, held, ends)
    assert gap(f, torch.tensor([0, 2.0, 6.0, 7.0], dtype=F64)) < 1e-13
    near = solve_diffusion(weights, edges, zero + 1, 1e-9, held, ends)
    assert 0 < gap(near, f) < 1e-7
    parts = {**problem(), "lam": torch.tensor(1e12, dtype=F64)}
    strong = torch.where(parts["held"], parts["values"], parts["guidance"])
    assert gap(solve_diffusion(**parts), strong) < 1e-10


def test_it_is_what_an_absorbed_walk_collects():
    """The chain with one more state, to which walks stop, by its fundamental matrix in numpy."""
    parts = problem()
    n, held = 20, parts["held"].numpy()
    K = np.zeros((n, n))
    K[tuple(parts["edge_index"].numpy())] = parts["weights"].numpy()
    K += K.T
    lam = float(parts["lam"])
    steps, stops = K / (K.sum(1) + lam)[:, None], lam / (K.sum(1) + lam)
    visits = np.linalg.inv(np.eye((~held).sum()) - steps[~held][:, ~held])
    collected = visits @ (
        stops[~held] * parts["guidance"].numpy()[~held]
        + steps[~held][:, held] @ parts["values"].numpy()[held]
    )
    f = solve_diffusion(**parts).numpy()
    assert np.abs(f[~held] - collected).max() < 1e-12


@pytest.mark.parametrize("start", [1, 7, 13])
def test_random_walks_agree(start):
    parts = {**problem(seed=3), "lam": 0.1}
    f = float(solve_diffusion(**parts)[start])
    paid = random_walks(**parts, start=start, walks=4000, seed=1)
    error = float(paid.std() / 4000**0.5)
    assert paid.shape == (4000,) and abs(float(paid.mean()) - f) < 4 * error + 1e-12
    assert torch.equal(paid, random_walks(**parts, start=start, walks=4000, seed=1))
    if not parts["held"][start]:
        other = {**parts, "lam": 3.0}
        drawn = random_walks(**other, start=start, walks=4000, seed=1)
        assert abs(float(drawn.mean()) - f) > 4 * error


# --- symmetry -------------------------------------------------------------------------------------


def test_renumbered_vertices_renumber_the_solution():
    parts = problem()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    moved = {**parts, "edge_index": order[parts["edge_index"]].flip(0)}
    for name in ("guidance", "held", "values"):
        moved[name] = torch.empty_like(parts[name])
        moved[name][order] = parts[name]
    f = solve_diffusion(**parts)
    assert gap(solve_diffusion(**moved)[order], f) < 1e-12
    half_moved = {**moved, "edge_index": parts["edge_index"]}
    assert gap(solve_diffusion(**half_moved)[order], f) > 0.1


def test_for_equal_weights_it_solves_the_equation_of_the_book():
    """On a square with equal weights, g to f commutes with turns and flips; else it does not."""
    vertices = torch.arange(16).reshape(4, 4)
    turns = [torch.rot90(vertices).flatten(), vertices.flip(0).flatten()]
    rho = Representation(dihedral(4), [turn.argsort() for turn in turns])
    basis = equivariant_basis(rho, rho)
    # Burnside: pairs that stay are those of fixed pixels, 16 of the unit, 4 of each diagonal flip.
    assert len(basis) == (16**2 + 2 * 4**2) // 8
    edges = grid_edges(4, 4)
    none = torch.zeros(16, dtype=torch.bool)
    K = torch.ones(edges.shape[1], dtype=F64)

    def response(weights: Tensor) -> Tensor:
        one, zero = torch.eye(16, dtype=F64), torch.zeros(16, 16, dtype=F64)
        return solve_diffusion(weights.expand(16, -1), edges, one, 0.3, none, zero).mT

    assert span_residual(response(K), basis) < 1e-12
    K[0] = 0.5
    assert span_residual(response(K), basis) > 1e-3


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("weights", [1.0], TypeError),
        ("weights", torch.ones(31), TypeError),
        ("weights", torch.ones(30, dtype=F64), ValueError),
        ("weights", torch.full((31,), NAN, dtype=F64), ValueError),
        ("weights", -torch.ones(31, dtype=F64), ValueError),
        ("edge_index", torch.zeros(2, 31), TypeError),
        ("edge_index", torch.zeros(31, 2, dtype=torch.int64), ValueError),
        ("edge_index", torch.full((2, 31), 20), ValueError),
        ("edge_index", torch.zeros(2, 31, dtype=torch.int64), ValueError),
        ("guidance", torch.ones(20, dtype=torch.int64), TypeError),
        ("guidance", torch.ones(20, dtype=torch.float16), TypeError),
        ("guidance", torch.ones(0, dtype=F64), ValueError),
        ("guidance", torch.tensor(1.0, dtype=F64), ValueError),
        ("guidance", torch.full((20,), INF, dtype=F64), ValueError),
        ("guidance", torch.empty(6401, dtype=F64).fill_(0), ValueError),
        ("lam", -1.0, ValueError),
        ("lam", NAN, ValueError),
        ("lam", True, TypeError),
        ("lam", torch.ones(2, dtype=F64), ValueError),
        ("lam", torch.tensor(-1.0, dtype=F64), ValueError),
        ("lam", torch.tensor(1.0), ValueError),
        ("held", torch.ones(20), TypeError),
        ("held", [True], TypeError),
        ("held", torch.ones(19, dtype=torch.bool), ValueError),
        ("values", torch.ones(20), TypeError),
        ("values", torch.ones(1, dtype=F64), ValueError),
        ("values", torch.full((20,), NAN, dtype=F64), ValueError),
    ],
)
def test_systems_that_do_not_fit(name, value, error):
    with refuses(error, name):
        solve_diffusion(**{**problem(), name: value})


@both_dtypes
def test_a_singular_system_is_refused(dtype):
    nowhere = torch.zeros(4, dtype=torch.bool)
    zero, edges = torch.zeros(4, dtype=dtype), torch.tensor([[0, 2], [1, 3]])
    weights = torch.tensor([0.7, 0.3], dtype=dtype)
    with refuses(ValueError, "lam"):
        solve_diffusion(weights, edges, zero, 0.0, nowhere, zero)
    half = nowhere.clone()
    half[0] = True
    with refuses(ValueError, "held"):
        solve_diffusion(weights, edges, zero, 0.0, half, zero)
    half[3] = True
    assert gap(solve_diffusion(weights, edges, zero, 0.0, half, zero + 1), zero + 1) < 1e-6
    with refuses(ValueError, "held"):
        solve_diffusion(weights, edges, zero, 1e-20, nowhere, zero)


@both_dtypes
def test_singular_up_to_rounding_is_refused_too(dtype):
    """Without walls and lam the last pivot is 0 up to rounding, of either sign."""
    edges, nowhere = grid_edges(10, 12), torch.zeros(120, dtype=torch.bool)
    zero = torch.zeros(120, dtype=dtype)
    positive = 0
    for seed in range(30):
        weights = random(edges.shape[1], seed=seed).exp().to(dtype)
        M = diffusion_matrix(weights, edges, 0.0, nowhere)
        positive += int(torch.linalg.cholesky_ex(M).info == 0)
        with refuses(ValueError, "held"):
            solve_diffusion(weights, edges, zero, 0.0, nowhere, zero)
    assert positive > 0


def test_huge_numbers():
    h, edges = torch.tensor([[0.0], [1e200]], dtype=F64), torch.tensor([[0], [1]])
    assert similarity_weights(h, edges, 0.0).tolist() == [1.0]
    assert similarity_weights(h, edges, 1.0).tolist() == [0.0]
    parts = problem()
    for name, scale in (("lam", 1e308), ("weights", 1e308)):
        with pytest.raises(ValueError, match="overflow|singular"):
            solve_diffusion(
                **{
                    **parts,
                    "guidance": 9 * parts["guidance"],
                    name: scale * torch.ones_like(parts[name]),
                }
            )
    large = {**parts, "values": 1e150 * parts["values"], "guidance": 1e150 * parts["guidance"]}
    assert gap(solve_diffusion(**large) / 1e150, solve_diffusion(**parts)) < 1e-12


def test_other_wrong_input():
    for size in ((0, 3), (3, -1)):
        with pytest.raises(ValueError, match=r"^(height|width): "):
            grid_edges(*size)
    with refuses(TypeError, "height"):
        grid_edges(True, 3)
    h, edges = random(6, 3), grid_edges(2, 3)
    with refuses(ValueError, "contrast"):
        similarity_weights(h, edges, -1.0)
    with refuses(ValueError, "features"):
        similarity_weights(h[0], edges)
    with refuses(ValueError, "features"):
        similarity_weights(h * NAN, edges)
    with refuses(ValueError, "edge_index"):
        similarity_weights(h, grid_edges(3, 3))
    parts = problem()
    for name, value in (("start", 20), ("walks", 0), ("seed", -1)):
        with refuses(ValueError, name):
            random_walks(**parts, **{"start": 0, "walks": 1, name: value})
    with refuses(ValueError, "guidance"):
        random_walks(**problem(batch=(2,)), start=0, walks=1)
    lonely = torch.zeros(1, dtype=torch.bool)
    one, none = torch.ones(1), torch.zeros(2, 0, dtype=torch.int64)
    with refuses(ValueError, "lam"):
        random_walks(one[:0], none, one, 0.0, lonely, one, start=0, walks=1)
    assert random_walks(one[:0], none, one, 1.0, lonely, one, start=0, walks=2).tolist() == [1, 1]
