"""The icosphere as a hexagonal grid: charts, transport in sixths, the sixty rotations, exactly."""

from __future__ import annotations

import copy
import functools
import math
import pickle

import pytest
import torch
from torch import Tensor

from gdl.gauges._fibres import fibre_index
from gdl.gauges.frames import vertex_gauge
from gdl.gauges.graph import wrapped
from gdl.gauges.icosahedral_grid import STEPS, IcosahedralGrid
from gdl.geodesics import Mesh, icosahedral_rotations, icosphere
from gdl.geometry import random_rotations
from tests.geodesics.network_samples import random, refuses

F64 = torch.float64
levels = pytest.mark.parametrize("level", [1, 2, 3, 4])
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
SIXTY = icosahedral_rotations()


@functools.cache
def grid_of(level: int) -> IcosahedralGrid:
    return IcosahedralGrid(level)


def turns(grid: IcosahedralGrid, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(6, (grid.num_vertices,), generator=generator)


def six_valent(vertices: Tensor) -> Tensor:
    return vertices >= 12


# --- charts and neighbours ----------------------------------------------------------------------


@levels
def test_charts_hold_every_vertex_but_two_poles(level):
    grid, n = grid_of(level), 2**level
    assert grid.charts.shape == (5, n, 2 * n)
    missing = set(range(grid.num_vertices)) - set(grid.charts.flatten().tolist())
    assert len(missing) == 2 and grid.charts.unique().numel() == 10 * n**2
    north, south = grid.mesh.vertices[sorted(missing)]
    assert 0 in missing and torch.equal(north, -south)
    assert grid.num_vertices == icosphere(level).num_vertices == 10 * 4**level + 2


@levels
def test_neighbours_are_the_edges_counter_clockwise(level):
    grid = grid_of(level)
    here = torch.arange(12, grid.num_vertices)[:, None].expand(-1, 6)
    there = grid.neighbours[12:]
    edges = {tuple(edge) for edge in grid.mesh.edges.tolist()}
    pairs = torch.stack([here.flatten(), there.flatten()], 1).sort(1).values.tolist()
    reached = {tuple(pair) for pair in pairs}
    assert reached == {(a, b) for a, b in edges if b >= 12}
    v = grid.mesh.vertices
    turning = torch.linalg.det(torch.stack([v[here], v[there], v[there.roll(-1, 1)]], -1))
    assert (turning > 0).all()
    assert torch.equal(grid.neighbours[:12], torch.arange(12)[:, None].expand(12, 6))


@levels
def test_charts_are_hexagonal(level):
    charts, neighbours = grid_of(level).charts, grid_of(level).neighbours
    for d, (down, right) in enumerate(STEPS):
        rows, columns = charts.shape[1:]
        row, column = torch.arange(rows)[:, None] + down, torch.arange(columns) + right
        stays = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        here = six_valent(charts) & stays
        moved = charts[:, row % rows, column % columns]
        assert torch.equal(neighbours[charts, d][here], moved[here])


@levels
@pytest.mark.parametrize("gauged", [False, True])
def test_neighbourhood_is_symmetric(level, gauged):
    grid = grid_of(level)
    grid = grid.turned(turns(grid, 0)) if gauged else grid
    p = torch.arange(grid.num_vertices)
    for d in range(6):
        q, g = grid.neighbours[:, d], grid.transports[:, d]
        both = six_valent(p) & six_valent(q)
        assert torch.equal(grid.neighbours[q, (d + 3 - g) % 6][both], p[both])
        assert not g[~both].any()


@functools.cache
def flat_icosahedron(level: int) -> Mesh:
    """The faces of the icosahedron split in equal triangles, vertices in the order of icosphere."""
    vertices = icosphere(0).vertices
    for k in range(level):
        middles = vertices[icosphere(k).edges].mean(1)
        vertices = torch.cat([vertices, middles])
    return Mesh(vertices, icosphere(level).faces)


@pytest.mark.parametrize("level", [1, 2, 3])
@seeds
def test_transport_is_that_of_levi_civita_on_the_flat_faces(level, seed):
    grid, graph = grid_of(level), vertex_gauge(flat_icosahedron(level))
    grid = grid.turned(turns(grid, seed))
    inner = six_valent(graph.sources) & six_valent(graph.targets)
    q, p = graph.edge_index[:, inner]
    theta, carried = graph.angles[inner], graph.transports[inner]
    direction = (grid.neighbours[p] == q[:, None]).int().argmax(1)
    offset = wrapped(theta - direction.double() * math.pi / 3)
    frame = torch.zeros(grid.num_vertices, dtype=F64).index_copy(0, p, offset)
    assert wrapped(offset - frame[p]).abs().max() < 1e-9
    expected = grid.transports[p, direction].double() * math.pi / 3 + frame[p] - frame[q]
    assert wrapped(carried - expected).abs().max() < 1e-9


# --- holonomy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [1, 2, 3])
@seeds
def test_holonomy_is_a_sixth_at_corners_and_adds_up_to_two_turns(level, seed):
    grid = grid_of(level)
    turned = grid.turned(turns(grid, seed))
    total = 0
    for vertex in range(grid.num_vertices):
        walk = grid.ring(vertex)
        assert len(walk) == (5 if vertex < 12 else 6)
        if (walk >= 12).all():
            found = grid.holonomy(walk)
            assert found == turned.holonomy(walk) == int(vertex < 12)
            assert grid.holonomy(walk.flip(0)) == (-found) % 6
            total += found
    assert total / 6 == grid.mesh.euler_characteristic == 2


@levels
def test_faces_without_corner_are_flat(level):
    grid = grid_of(level)
    faces = grid.mesh.faces[six_valent(grid.mesh.faces).all(1)]
    assert len(faces) == 20 * 4**level - 60
    assert all(grid.holonomy(face) == 0 for face in faces)


# --- padding and levels -------------------------------------------------------------------------


@levels
@pytest.mark.parametrize("gauged", [False, True])
def test_padding_shows_each_vertex_its_neighbours_in_its_frame(level, gauged):
    """Two or three vertices look at one place of the ring: they must see the same."""
    flat = grid_of(level)
    by = turns(flat, 1) * int(gauged)
    by[:12] = 0
    grid = flat.turned(by)
    rows, columns = grid.charts.shape[1:]
    here = six_valent(grid.charts)
    assert torch.equal(grid.padding_index[:, 1:-1, 1:-1], grid.charts)
    assert torch.equal(grid.padding_shift[:, 1:-1, 1:-1], by[grid.charts])
    for d, (down, right) in enumerate(STEPS):
        window = (..., slice(1 + down, 1 + down + rows), slice(1 + right, 1 + right + columns))
        q = flat.neighbours[grid.charts, d]
        assert torch.equal(grid.padding_index[window][here], q[here])
        seen = here & six_valent(q)
        expected = (flat.transports[grid.charts, d] + by[q]) % 6
        assert torch.equal(grid.padding_shift[window][seen], expected[seen])
    assert grid.padding_shift.unique().numel() > (3 if gauged else 2)


@pytest.mark.parametrize("level", [2, 3, 4])
@pytest.mark.parametrize("gauged", [False, True])
def test_twice_as_far_on_the_next_level(level, gauged):
    fine = grid_of(level)
    fine = fine.turned(turns(fine, 2)) if gauged else fine
    coarse = fine.coarser()
    assert coarse.level == level - 1
    p = torch.arange(12, coarse.num_vertices)
    assert torch.equal(coarse.gauge, fine.gauge[: coarse.num_vertices])
    for d in range(6):
        middle, g = fine.neighbours[p, d], fine.transports[p, d]
        onward = (d - g) % 6
        far = fine.neighbours[middle, onward]
        assert torch.equal(far, coarse.neighbours[p, d])
        there = six_valent(far)
        carried = (g + fine.transports[middle, onward]) % 6
        assert torch.equal(carried[there], coarse.transports[p, d][there])


# --- the sixty rotations ------------------------------------------------------------------------


@seeds
def test_the_action_is_a_homomorphism_of_order_sixty(seed):
    """All sixty times sixty, in whole numbers."""
    grid = grid_of(1)
    grid = grid.turned(turns(grid, seed)) if seed else grid
    pairs = [grid.action(R) for R in SIXTY]
    p, k = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    assert len(torch.cat([p, k], 1).unique(dim=0)) == 60
    number = {tuple(row): i for i, row in enumerate(p.tolist())}
    for s in range(60):
        after_p, after_k = p[:, p[s]], (k[s] + k[:, p[s]]) % 6
        product = torch.tensor([number[tuple(row)] for row in after_p.tolist()])
        assert product.unique().numel() == 60
        assert torch.equal(after_k, k[product])
        expected = [number[tuple(grid.action(R @ SIXTY[s])[0].tolist())] for R in SIXTY[:2]]
        assert product[:2].tolist() == expected


@levels
@pytest.mark.parametrize("gauged", [False, True])
def test_rotations_carry_directions(level, gauged):
    """What points from one vertex to a neighbour points from image to image."""
    grid = grid_of(level)
    grid = grid.turned(turns(grid, 0)) if gauged else grid
    v, here = grid.mesh.vertices, torch.arange(12, grid.num_vertices)
    for R in SIXTY[::7]:
        p, k = grid.action(R)
        assert (v @ R.T - v[p]).abs().max() < 1e-12
        for u in range(6):
            image = grid.neighbours[p[here], (u + k[here]) % 6]
            assert torch.equal(image, p[grid.neighbours[here, u]])
        assert gauged or not k[:12].any()


@pytest.mark.parametrize("fibre", [1, 6])
@seeds
def test_the_action_on_fields(fibre, seed):
    grid = grid_of(1)
    grid = grid.turned(turns(grid, seed))
    x = random(2, 3, fibre, 42, seed=seed)
    for i in range(0, 60, 7):
        R, S = SIXTY[i], SIXTY[(11 * i + 5) % 60]
        assert torch.equal(grid.act(R, grid.act(S, x)), grid.act(R @ S, x))
        p, k = grid.action(R)
        moved = grid.act(R, x)
        for vertex in (3, 20, 41):
            fibre_there = moved[..., (torch.arange(fibre) + k[vertex]) % fibre, p[vertex]]
            assert torch.equal(fibre_there, x[..., vertex])
    assert torch.equal(grid.act(SIXTY[0], x), x)
    assert not torch.equal(grid.act(SIXTY[1], x), x)


@seeds
def test_frames_act_on_fields(seed):
    grid = grid_of(2)
    a, b, x = turns(grid, seed), turns(grid, seed + 10), random(6, 162, seed=seed)
    twice = grid.turned(a).turned(b)
    for name in ("neighbours", "transports", "padding_shift", "gauge"):
        assert torch.equal(getattr(twice, name), getattr(grid.turned(a + b), name))
        assert not torch.equal(getattr(twice, name), getattr(grid, name))
    once = grid.in_frames(x, a)
    assert torch.equal(grid.turned(a).in_frames(once, b), grid.in_frames(x, a + b))
    for vertex in (0, 12, 161):
        shift = int(a[vertex]) if vertex >= 12 else 0
        assert torch.equal(once[:, vertex], x[:, vertex].roll(-shift))
    R, turned = SIXTY[17], grid.turned(a)
    assert torch.equal(turned.act(R, once), grid.in_frames(grid.act(R, x), a))


def test_the_index_by_hand():
    index = fibre_index(torch.tensor([[2, 0]]), torch.tensor([[5, -1]]), 6, 3)
    assert index.shape == (6, 1, 2)
    assert index[:, 0, 0].tolist() == [5, 8, 11, 14, 17, 2]
    assert index[:, 0, 1].tolist() == [3, 6, 9, 12, 15, 0]
    assert fibre_index(torch.tensor([2]), torch.tensor([4]), 1, 3).tolist() == [[2]]


def test_grids_are_copied_and_pickled_and_made_on_any_default_device():
    grid = grid_of(1)
    by = turns(grid, 0)
    with torch.device("meta"):
        made = IcosahedralGrid(1).turned(by)
        assert len(made.ring(0)) == 5 and made.holonomy(made.ring(0)) == 1
    expected = grid.turned(by)
    for other in (made, copy.deepcopy(expected), pickle.loads(pickle.dumps(expected))):
        assert torch.equal(other.transports, expected.transports)
        assert torch.equal(other.padding_shift, expected.padding_shift)


# --- wrong input --------------------------------------------------------------------------------


def test_wrong_input_is_named():
    grid = grid_of(1)
    for error, level in ((ValueError, 0), (ValueError, 8), (TypeError, 1.0), (TypeError, True)):
        with refuses(error, "level"):
            IcosahedralGrid(level)
    for error, by in (
        (TypeError, torch.zeros(42)),
        (TypeError, [0] * 42),
        (ValueError, torch.zeros(41, dtype=torch.int64)),
        (ValueError, torch.zeros(1, 42, dtype=torch.int64)),
    ):
        with refuses(error, "by"):
            grid.turned(by)
        with refuses(error, "by"):
            grid.in_frames(torch.zeros(6, 42), by)
    for error, walk in (
        (TypeError, [12, 13]),
        (TypeError, torch.tensor([12.0])),
        (ValueError, torch.tensor([], dtype=torch.int64)),
        (ValueError, torch.tensor([[12, 13]])),
        (ValueError, torch.tensor([11, 12])),
        (ValueError, torch.tensor([12, 42])),
        (ValueError, torch.tensor([-1, 12])),
        (ValueError, torch.tensor([12])),
        (ValueError, grid.ring(0)[[0, 2, 4]]),
    ):
        with refuses(error, "walk"):
            grid.holonomy(walk)
    for error, vertex in ((ValueError, -1), (ValueError, 42), (TypeError, 0.0)):
        with refuses(error, "vertex"):
            grid.ring(vertex)
    mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))
    for error, matrix in (
        (ValueError, mirror),
        (ValueError, random_rotations(1, seed=0)[0]),
        (ValueError, torch.eye(2)),
        (ValueError, torch.full((3, 3), math.nan)),
        (TypeError, [[1.0]]),
    ):
        with refuses(error, "matrix"):
            grid.action(matrix)
    for error, x in (
        (ValueError, torch.zeros(42)),
        (ValueError, torch.zeros(2, 42)),
        (ValueError, torch.zeros(6, 41)),
        (TypeError, torch.zeros(6, 42, dtype=torch.int64)),
        (TypeError, None),
    ):
        with refuses(error, "x"):
            grid.act(SIXTY[1], x)
        with refuses(error, "x"):
            grid.in_frames(x, grid.gauge)
    with refuses(ValueError, "grid"):
        grid.coarser()
