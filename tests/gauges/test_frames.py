"""Frames on meshes: directions, transport along edges and across them, holonomy, curvature."""

from __future__ import annotations

import dataclasses
import functools
import math

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor

from gdl.gauges.frames import (
    face_gauge,
    face_holonomies,
    interior_vertices,
    projected_gauge,
    rescaled_angles,
    tangent_frames,
    vertex_gauge,
    vertex_holonomies,
)
from gdl.gauges.graph import GaugedGraph, wrapped
from gdl.geodesics import (
    Creature,
    Mesh,
    angle_defects,
    bumpy_sphere,
    flat_strip,
    fold_strip,
    icosphere,
    intrinsic_gradient,
    torus,
)
from gdl.geometry import random_rotations
from tests.geodesics.sample_meshes import regular_terrains, strip, terrain, together

F64 = torch.float64
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
both_dtypes = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
FOLDS = [0.7, -1.1, 0.3, 2.0, -0.4, 1.3, -0.9]


def cut_creature() -> Mesh:
    """The front of a creature, open where it was cut."""
    mesh = Creature("horse", 0).rest
    front = mesh.vertices[mesh.faces].mean(1)[:, 0] > 0
    return Mesh(mesh.vertices, mesh.faces[front]).compact()


CLOSED = {
    "pillow": lambda: Mesh([[0, 0, 0], [2, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 1]]),
    "tetrahedron": lambda: Mesh(
        [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.5]],
        [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]],
    ),
    "sphere": lambda: icosphere(2),
    "bumpy": lambda: bumpy_sphere(2, 0.4, seed=0),
    "torus": lambda: torus(2.0, 0.7, 14, 9),
    "creature": lambda: Creature("horse", 0).rest,
}
OPEN = {
    "triangle": lambda: Mesh([[0, 0, 0], [2, 0, 0], [0, 1, 0]], [[0, 1, 2]]),
    "cut creature": cut_creature,
    "strip": lambda: flat_strip(2.0, 1.3, 8, 5),
    "annulus": lambda: strip(9, 0),
    "terrain": lambda: terrain(40, 0),
    "two": lambda: together(icosphere(1), terrain(10, 1)),
}
closed_meshes = pytest.mark.parametrize("name", list(CLOSED))
all_meshes = pytest.mark.parametrize("name", [*CLOSED, *OPEN])
GAUGES = {"vertices": vertex_gauge, "projected": projected_gauge, "faces": face_gauge}
all_gauges = pytest.mark.parametrize("gauge", list(GAUGES))


@functools.cache
def mesh_of(name: str) -> Mesh:
    return (CLOSED | OPEN)[name]()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def shaken(graph: GaugedGraph, seed: int = 0) -> GaugedGraph:
    """The graph with a random frame at each node."""
    return graph.turned(10 * random(graph.num_nodes, seed=seed))


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference of angles, multiples of 2 pi aside."""
    assert a.shape == b.shape and a.numel()
    return float(wrapped(a - b).abs().max())


def same(a: GaugedGraph, b: GaugedGraph, tolerance: float = 1e-12) -> bool:
    return (
        torch.equal(a.edge_index, b.edge_index)
        and torch.equal(a.weights, b.weights)
        and distance(a.angles, b.angles) < tolerance
        and distance(a.transports, b.transports) < tolerance
        and bool(((a.distances - b.distances).abs() <= tolerance * b.distances).all())
    )


def sorted_by_ends(graph: GaugedGraph) -> GaugedGraph:
    """The same graph, its edges in the order of targets and sources."""
    order = (graph.targets * graph.num_nodes + graph.sources).argsort()
    parts = {n: getattr(graph, n)[order] for n in ("angles", "distances", "transports", "weights")}
    return dataclasses.replace(graph, edge_index=graph.edge_index[:, order], **parts)


def aligned(graph: GaugedGraph) -> GaugedGraph:
    """In frames that see the first edge of each node at angle 0."""
    degree = graph.targets.bincount(minlength=graph.num_nodes)
    return graph.turned(graph.angles[degree.cumsum(0) - degree])


# --- directions -----------------------------------------------------------------------------


@all_meshes
def test_neighbours_are_seen_counter_clockwise_in_one_turn(name):
    mesh, graph = mesh_of(name), vertex_gauge(mesh_of(name))
    assert graph.num_edges == 2 * len(mesh.edges) and graph.rings == 1
    boundary, defects = set(mesh.boundary_vertices.tolist()), angle_defects(mesh)
    faces = {tuple(face[k:] + face[:k]) for face in mesh.faces.tolist() for k in range(3)}
    for p in range(mesh.num_vertices):
        at = (graph.targets == p).nonzero().flatten()
        assert at.tolist() == list(range(int(at[0]), int(at[-1]) + 1))
        theta, neighbours = graph.angles[at], graph.sources[at]
        assert theta[0] == 0 and bool((theta.diff() > 0).all())
        assert bool((graph.weights[at, 0] == 1 / len(at)).all())
        if p in boundary:
            # What the corners lack of half a turn is the turning of the boundary.
            assert theta[-1] == pytest.approx(math.pi - float(defects[p]), abs=1e-12)
            pairs = list(zip(neighbours[:-1].tolist(), neighbours[1:].tolist(), strict=True))
        else:
            assert theta[-1] < 2 * math.pi and neighbours[0] == neighbours.min()
            following = neighbours.roll(-1).tolist()
            pairs = list(zip(neighbours.tolist(), following, strict=True))
        assert all((p, a, b) in faces for a, b in pairs)


def test_angles_are_shares_of_the_turn():
    mesh = mesh_of("bumpy")
    graph = vertex_gauge(mesh)
    at = (graph.targets == 20).nonzero().flatten()
    arrows = mesh.vertices[graph.sources[at]] - mesh.vertices[20]
    arrows = arrows / arrows.norm(dim=1, keepdim=True)
    between = (arrows * arrows.roll(-1, 0)).sum(1).acos()
    shares = torch.cat([graph.angles[at].diff(), 2 * math.pi - graph.angles[at][-1:]])
    assert (shares - 2 * math.pi * between / between.sum()).abs().max() < 1e-12
    assert torch.allclose(
        graph.distances[at],
        (mesh.vertices[graph.sources[at]] - mesh.vertices[20]).norm(dim=1),
        rtol=1e-14,
    )


def test_corners_and_vertices_of_two_faces():
    triangle = vertex_gauge(mesh_of("triangle"))
    corners = [0, math.pi / 2, 0, math.atan(0.5), 0, math.atan(2)]
    assert triangle.angles.tolist() == pytest.approx(corners, abs=1e-15)
    pillow = vertex_gauge(mesh_of("pillow"))
    assert pillow.angles.tolist() == pytest.approx([0, math.pi] * 3, abs=1e-15)
    assert pillow.weights.tolist() == [[0.5]] * 6
    hat = Mesh(
        [[0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0]],
        [[0, 1, 2], [0, 2, 1], [1, 3, 2], [2, 4, 1]],
    )
    with pytest.raises(ValueError, match=r"^mesh: expected no edges of more than two faces"):
        vertex_gauge(hat)


@all_meshes
def test_both_ends_of_an_edge_agree(name):
    for gauge in (vertex_gauge, projected_gauge):
        if gauge is projected_gauge and name == "pillow":
            continue
        graph = shaken(sorted_by_ends(gauge(mesh_of(name))))
        n = graph.num_nodes
        back = (graph.sources * n + graph.targets).argsort()
        assert torch.equal(graph.sources[back], graph.targets)
        assert distance(graph.transports[back], -graph.transports) < 1e-12


@all_meshes
def test_a_vector_along_an_edge_stays_along_it(name):
    graph = shaken(sorted_by_ends(vertex_gauge(mesh_of(name))))
    back = (graph.sources * graph.num_nodes + graph.targets).argsort()
    away = graph.angles[back]
    assert distance(graph.transports + away, graph.angles + math.pi) < 1e-12
    assert distance(graph.transports - away, graph.angles + math.pi) > 0.1


# --- what changes nothing -------------------------------------------------------------------


@pytest.mark.parametrize("gauge", ["vertices", "faces"])
def test_folding_changes_nothing(gauge):
    flat, folded = flat_strip(2.0, 1.3, 8, 5), fold_strip(2.0, 1.3, 8, 5, FOLDS)
    assert same(GAUGES[gauge](folded), GAUGES[gauge](flat))
    wider = flat.with_vertices(flat.vertices * torch.tensor([1.2, 1, 1]))
    assert not same(GAUGES[gauge](wider), GAUGES[gauge](flat))


def test_the_projection_sees_the_fold():
    flat, folded = flat_strip(2.0, 1.3, 8, 5), fold_strip(2.0, 1.3, 8, 5, FOLDS)
    assert distance(projected_gauge(folded).angles, projected_gauge(flat).angles) > 0.1


@all_gauges
@seeds
def test_rotations_and_translations_change_nothing(gauge, seed):
    mesh = mesh_of("bumpy")
    turn = random_rotations(1, seed=seed)[0].double()
    moved = mesh.with_vertices(3.0 * mesh.vertices @ turn.T + torch.tensor([1.0, -2.0, 0.5]))
    here, there = GAUGES[gauge](mesh), GAUGES[gauge](moved)
    there = dataclasses.replace(there, distances=there.distances / 3)
    assert same(there, here, 1e-11)
    stretched = mesh.with_vertices(mesh.vertices * torch.tensor([1.2, 1, 1]))
    assert not same(GAUGES[gauge](stretched), here)


@pytest.mark.parametrize("gauge", ["vertices", "projected"])
@pytest.mark.parametrize("name", ["bumpy", "cut creature"])
@seeds
def test_renumbering_turns_frames_and_nothing_else(gauge, name, seed):
    mesh = mesh_of(name)
    p = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(seed))
    graph, renumbered = GAUGES[gauge](mesh), GAUGES[gauge](mesh.permuted(p))
    here = dataclasses.replace(graph, edge_index=p[graph.edge_index])
    here, there = (aligned(sorted_by_ends(g)) for g in (here, renumbered))
    assert same(there, here)
    assert distance(renumbered.transports, graph.transports) > 0.1
    a, b = face_holonomies(mesh, graph), face_holonomies(mesh.permuted(p), renumbered)
    assert distance(a, b) < 1e-12


@seeds
def test_faces_that_begin_elsewhere_turn_frames_and_nothing_else(seed):
    mesh = mesh_of("bumpy")
    shift = torch.randint(3, (mesh.num_faces, 1), generator=torch.Generator().manual_seed(seed))
    other = Mesh(mesh.vertices, mesh.faces.gather(1, (torch.arange(3) + shift) % 3))
    here, there = (aligned(sorted_by_ends(face_gauge(m))) for m in (mesh, other))
    assert same(there, here)
    assert same(vertex_gauge(other), vertex_gauge(mesh))


# --- holonomy -------------------------------------------------------------------------------


@all_meshes
@seeds
def test_round_a_face_it_is_the_rescaled_angle_sum_less_pi(name, seed):
    mesh = mesh_of(name)
    expected = rescaled_angles(mesh).sum(1) - math.pi
    found = face_holonomies(mesh, shaken(vertex_gauge(mesh), seed))
    assert distance(found, expected) < 1e-12
    flat = name in ("pillow", "triangle", "tetrahedron", "strip", "annulus")
    assert flat or distance(found, -expected) > 1e-3


@all_meshes
def test_rescaled_angles_add_up_to_topology(name):
    mesh = mesh_of(name)
    rescaled = rescaled_angles(mesh)
    turn = torch.full((mesh.num_vertices,), 2 * math.pi, dtype=F64)
    defects = angle_defects(mesh)[mesh.boundary_vertices]
    turn[mesh.boundary_vertices] = math.pi - defects
    sums = torch.zeros_like(turn).index_add(0, mesh.faces.flatten(), rescaled.flatten())
    assert (sums - turn).abs().max() < 1e-13
    total = float((rescaled.sum(1) - math.pi).sum() + defects.sum())
    assert abs(total - 2 * math.pi * mesh.euler_characteristic) < 1e-11


@all_meshes
@seeds
def test_round_a_vertex_it_is_the_angle_defect(name, seed):
    mesh = mesh_of(name)
    inside = interior_vertices(mesh)
    found = vertex_holonomies(mesh, shaken(face_gauge(mesh), seed))
    expected = angle_defects(mesh)[inside]
    assert found.shape == inside.shape
    if len(inside):
        assert distance(found, expected) < 1e-12
    if name in ("bumpy", "torus", "creature", "cut creature", "terrain"):
        assert distance(found, -expected) > 0.1


@closed_meshes
def test_defects_add_up_to_topology(name):
    mesh = mesh_of(name)
    total = vertex_holonomies(mesh, shaken(face_gauge(mesh))).sum()
    assert abs(math.remainder(float(total), 2 * math.pi)) < 1e-11
    if name in ("sphere", "bumpy", "torus", "creature"):
        assert abs(float(total) - 2 * math.pi * mesh.euler_characteristic) < 1e-11


@given(regular_terrains)
@settings(deadline=None, max_examples=30)
def test_both_holonomies_on_random_terrains(mesh):
    faces = face_holonomies(mesh, shaken(vertex_gauge(mesh)))
    assert distance(faces, rescaled_angles(mesh).sum(1) - math.pi) < 1e-11
    vertices = vertex_holonomies(mesh, shaken(face_gauge(mesh)))
    missing = wrapped(vertices - angle_defects(mesh)[interior_vertices(mesh)])
    assert bool((missing.abs() < 1e-11).all())


@both_dtypes
def test_holonomies_take_the_dtype_of_the_graph(dtype):
    mesh = mesh_of("bumpy")
    bound = 100 * torch.finfo(dtype).eps
    faces = face_holonomies(mesh, vertex_gauge(mesh).to(dtype=dtype))
    vertices = vertex_holonomies(mesh, face_gauge(mesh).to(dtype=dtype))
    assert faces.dtype == vertices.dtype == dtype
    assert distance(faces.double(), face_holonomies(mesh, vertex_gauge(mesh))) < bound
    assert distance(vertices.double(), angle_defects(mesh)) < bound


def test_a_flat_sheet_has_a_frame_for_all():
    mesh = flat_strip(4.0, 3.0, 8, 6)
    graph = shaken(vertex_gauge(mesh))
    assert wrapped(graph.transports).abs().max() > 1
    trivial = graph.turned(graph.tree_gauge())
    assert wrapped(trivial.transports).abs().max() < 1e-12
    arrows = mesh.vertices[graph.sources] - mesh.vertices[graph.targets]
    compass = torch.atan2(arrows[:, 1], arrows[:, 0])
    offset = wrapped(trivial.angles - compass)
    assert wrapped(offset - offset[0]).abs().max() < 1e-12
    whole = shaken(face_gauge(mesh))
    assert wrapped(whole.turned(whole.tree_gauge()).transports).abs().max() < 1e-12


@pytest.mark.parametrize("height", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("level", [2, 3, 4])
def test_round_a_cap_it_is_the_area(height, level):
    """Angles inside cancel: O(h^2) is missing at each vertex of the rim, which is jagged."""
    mesh = icosphere(level)
    cap = mesh.faces[(mesh.vertices[mesh.faces][:, :, 2] > height).all(1)]
    walk = rim(cap)
    graph = shaken(vertex_gauge(mesh))
    turn = graph.holonomy(graph.walk(walk))[None]
    area = spherical_areas(mesh.vertices[cap]).sum()[None]
    assert distance(turn, area) < 0.015 * (len(walk) - 1) * 4.0**-level
    assert distance(turn, -area) > 0.2 and area > 1


def rim(faces: Tensor) -> list[int]:
    """The walk round a disk of faces, which lies to its left."""
    corners = [(face[k], face[(k + 1) % 3]) for face in faces.tolist() for k in range(3)]
    sides = set(corners)
    following = {a: b for a, b in corners if (b, a) not in sides}
    walk = [min(following)]
    while len(walk) <= len(following):
        walk.append(following[walk[-1]])
    return walk


def spherical_areas(triangles: Tensor) -> Tensor:
    a, b, c = triangles.unbind(1)
    volume = torch.linalg.det(triangles)
    return 2 * torch.atan2(volume, 1 + (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1))


# --- space ----------------------------------------------------------------------------------


def test_the_projection_agrees_up_to_the_square_of_the_edges():
    gaps = []
    for level in (2, 3, 4):
        mesh = icosphere(level)
        intrinsic, projected = vertex_gauge(mesh), projected_gauge(mesh)
        assert torch.equal(intrinsic.edge_index, projected.edge_index)
        assert torch.equal(intrinsic.distances, projected.distances)
        pairs = ((g.angles, g.transports) for g in (intrinsic, projected))
        gaps.append([distance(a, b) for a, b in zip(*pairs, strict=True)])
    for coarse, fine in zip(gaps, gaps[1:], strict=False):
        assert fine[0] < coarse[0] / 3.5 and fine[1] < coarse[1] / 3.2
    assert gaps[2][0] < 1e-4 and gaps[2][1] < 1e-4


def test_transport_is_the_smallest_rotation_of_normals():
    mesh = mesh_of("bumpy")
    graph, frames = projected_gauge(mesh), tangent_frames(mesh)
    normals = torch.linalg.cross(frames[:, 0], frames[:, 1])
    for edge in range(0, graph.num_edges, 37):
        q, p = graph.edge_index[:, edge]
        axis = torch.linalg.cross(normals[q], normals[p])
        generator = torch.linalg.cross(axis.expand(3, 3), torch.eye(3, dtype=F64), dim=1).T
        angle = torch.atan2(axis.norm(), normals[q] @ normals[p])
        turn = torch.linalg.matrix_exp(angle / axis.norm() * generator)
        assert (turn @ normals[q] - normals[p]).abs().max() < 1e-12
        carried = frames[p] @ turn @ frames[q].T
        c, s = graph.transports[edge].cos(), graph.transports[edge].sin()
        expected = torch.stack([torch.stack([c, -s]), torch.stack([s, c])])
        assert (carried - expected).abs().max() < 1e-12


def face_frames(mesh: Mesh) -> Tensor:
    """The frames of the faces in space: e1 from corner 0 to corner 1, e2 = normal x e1."""
    side = mesh.vertices[mesh.faces[:, 1]] - mesh.vertices[mesh.faces[:, 0]]
    first = side / side.norm(dim=1, keepdim=True)
    return torch.stack([first, torch.linalg.cross(mesh.face_normals, first)], 1)


@all_meshes
def test_frames_are_orthonormal_and_counter_clockwise(name):
    mesh = mesh_of(name)
    if name == "pillow":
        return
    frames = tangent_frames(mesh)
    assert (frames @ frames.mT - torch.eye(2)).abs().max() < 1e-12
    if name in ("sphere", "bumpy"):
        outward = torch.linalg.cross(*frames.unbind(1))
        assert bool(((outward * mesh.vertices).sum(1) > 0.5).all())


@seeds
def test_frames_turn_with_the_surface(seed):
    mesh, turn = mesh_of("creature"), random_rotations(1, seed=seed)[0].double()
    turned = mesh.with_vertices(mesh.vertices @ turn.T)
    assert (tangent_frames(turned) - tangent_frames(mesh) @ turn.T).abs().max() < 1e-11


def test_the_first_axis_points_along_the_first_edge_where_the_surface_is_flat():
    mesh = flat_strip(4.0, 3.0, 8, 6)
    graph, first = vertex_gauge(mesh), vertex_gauge(mesh).angles == 0
    arrows = (mesh.vertices[graph.sources] - mesh.vertices[graph.targets])[first]
    seen = torch.einsum("nix,nx->ni", tangent_frames(mesh)[graph.targets[first]], arrows)
    assert int(first.sum()) == mesh.num_vertices
    assert seen[:, 1].abs().max() < 1e-14 and bool((seen[:, 0] > 0).all())


def test_no_other_axis_brings_edges_nearer_to_their_angles():
    mesh, graph = mesh_of("bumpy"), vertex_gauge(mesh_of("bumpy"))
    arrows = mesh.vertices[graph.sources] - mesh.vertices[graph.targets]
    arrows = arrows / arrows.norm(dim=1, keepdim=True)
    frames = tangent_frames(mesh)[graph.targets]

    def miss(turn: float) -> Tensor:
        angles = graph.angles + turn
        near = angles.cos()[:, None] * frames[:, 0] + angles.sin()[:, None] * frames[:, 1]
        away = (arrows - near).square().sum(1)
        return torch.zeros(mesh.num_vertices, dtype=F64).index_add(0, graph.targets, away)

    best = miss(0.0)
    assert all(bool((miss(turn) > best + 1e-8).all()) for turn in (-0.1, -1e-3, 1e-3, 0.1))


@seeds
def test_renumbered_vertices_have_the_same_arrows(seed):
    """The frames begin at other edges; the turn between them is that between their angles."""
    mesh, generator = mesh_of("bumpy"), torch.Generator().manual_seed(seed)
    p = torch.randperm(mesh.num_vertices, generator=generator)
    moved = mesh.permuted(p)
    graph, other = vertex_gauge(mesh), vertex_gauge(moved)
    seen = {(p[q].item(), p[t].item()): a for (q, t), a in
            zip(graph.edge_index.T.tolist(), graph.angles, strict=True)}  # fmt: skip
    turns = torch.zeros(mesh.num_vertices, dtype=F64)
    for (q, t), a in zip(other.edge_index.T.tolist(), other.angles, strict=True):
        turns[t] = seen[q, t] - a
    one, two = tangent_frames(mesh)[p.argsort()], tangent_frames(moved)
    first = turns.cos()[:, None] * one[:, 0] + turns.sin()[:, None] * one[:, 1]
    assert (two[:, 0] - first).abs().max() < 1e-12
    assert (two[:, 0] - one[:, 0]).abs().max() > 0.1


@pytest.mark.parametrize("height", [1e-3, 1e-6])
def test_sharp_corners_have_frames(height):
    frames = tangent_frames(Mesh([[0, 0, 0], [1, 0, 0], [1, height, 0]], [[0, 1, 2]]))
    assert (frames[0] - torch.eye(3, dtype=F64)[:2]).abs().max() < 1e-9


def test_normals_are_weighted_by_angles():
    """A cube, seen from a corner where one of three squares is split: areas would tilt it."""
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [0, 1, 1]]
    faces = [[0, 2, 1], [0, 3, 2], [0, 1, 5], [1, 4, 5], [0, 5, 3], [5, 6, 3]]
    normal = torch.linalg.cross(*tangent_frames(Mesh(points, faces))[0])
    assert (normal + torch.ones(3, dtype=F64) / math.sqrt(3)).abs().max() < 1e-14


def test_neighbouring_faces_are_unfolded():
    """A hinge that is opened flat: where the centroids lie then, in the plane."""
    vertices = torch.tensor([[0.0, 0, 0], [3, 1, 0], [1, 2, 0], [4, 4, 0]], dtype=F64)
    faces = [[0, 1, 2], [3, 2, 1]]
    flat = Mesh(vertices, faces)
    axis = (vertices[2] - vertices[1]) / (vertices[2] - vertices[1]).norm()
    arm = vertices[3] - vertices[1]
    along = (arm @ axis) * axis
    bent = vertices.clone()
    bent[3] = vertices[1] + along + torch.tensor([0.0, 0, 1], dtype=F64) * (arm - along).norm()
    graph = face_gauge(flat)
    assert same(face_gauge(Mesh(bent, faces)), graph)
    assert graph.edge_index.tolist() == [[1, 0], [0, 1]] and graph.weights.tolist() == [[1], [1]]
    frames, centres = face_frames(flat), vertices[flat.faces].mean(1)
    for q, p, angle, length, transport in zip(
        *graph.edge_index, graph.angles, graph.distances, graph.transports, strict=True
    ):
        seen = frames[p] @ (centres[q] - centres[p])
        assert (length * torch.stack([angle.cos(), angle.sin()]) - seen).abs().max() < 1e-14
        x, y = frames[p] @ frames[q, 0]
        assert distance(transport[None], torch.atan2(y, x)[None]) < 1e-14


@all_meshes
def test_the_neighbours_of_a_face_share_a_weight_of_one(name):
    graph = face_gauge(mesh_of(name))
    neighbours = graph.targets.bincount(minlength=graph.num_nodes)
    assert torch.equal(graph.weights[:, 0], 1 / neighbours[graph.targets].double())


def test_frames_of_faces_are_those_of_gradients():
    mesh = flat_strip(2.0, 1.3, 4, 3)
    u = mesh.vertices @ torch.tensor([0.6, 0.8, 0.0], dtype=F64)
    components = face_frames(mesh) @ torch.tensor([0.6, 0.8, 0.0], dtype=F64)
    gradients = torch.from_numpy(intrinsic_gradient(mesh) @ u.numpy())
    assert (torch.view_as_real(gradients) - components).abs().max() < 1e-12
    graph = face_gauge(mesh)
    assert (graph.transport(components, "1x1") - components[graph.targets]).abs().max() < 1e-12


# --- size and scale -------------------------------------------------------------------------


def fan(n: int) -> Mesh:
    t = 2 * math.pi * torch.arange(n, dtype=F64) / n
    rim = torch.stack([t.cos(), t.sin(), 0 * t], 1)
    i = torch.arange(n)
    faces = torch.stack([torch.zeros_like(i), 1 + i, 1 + (i + 1) % n], 1)
    return Mesh(torch.cat([torch.tensor([[0.0, 0, 0.5]]), rim]), faces)


def test_a_vertex_of_many_faces():
    mesh = fan(20_000)
    graph = vertex_gauge(mesh)
    centre = graph.angles[graph.targets == 0]
    expected = 2 * math.pi * torch.arange(20_000, dtype=F64) / 20_000
    assert (centre - expected).abs().max() < 1e-11
    assert distance(vertex_holonomies(mesh, face_gauge(mesh)), angle_defects(mesh)[:1]) < 1e-11


@pytest.mark.parametrize("scale", [1e-40, 1e40], ids=str)
def test_units_of_length_do_not_matter(scale):
    mesh = mesh_of("bumpy")
    scaled = mesh.with_vertices(scale * mesh.vertices)
    for gauge in GAUGES.values():
        graph = gauge(scaled)
        graph = dataclasses.replace(graph, distances=graph.distances / scale)
        assert same(graph, gauge(mesh), 1e-11)
    assert (tangent_frames(scaled) - tangent_frames(mesh)).abs().max() < 1e-11


# --- bad input ------------------------------------------------------------------------------


POINTS = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]
ON_MESHES = {
    **GAUGES,
    "tangent_frames": tangent_frames,
    "rescaled_angles": rescaled_angles,
    "face_holonomies": lambda mesh: face_holonomies(mesh, vertex_gauge(mesh)),
    "vertex_holonomies": lambda mesh: vertex_holonomies(mesh, face_gauge(mesh)),
}


@pytest.mark.parametrize("function", list(ON_MESHES))
def test_meshes_without_a_gauge(function):
    for points, faces, text in (
        (POINTS, [[0, 1, 2], [0, 3, 4]], "vertices with several fans of faces, got 0;"),
        (POINTS, [[0, 1, 2]], "isolated vertices, got 3, 4;"),
        (POINTS[:4], [[0, 1, 2], [0, 1, 3]], "zero-area faces, got 1;"),
        (POINTS[:4], [[0, 1, 2], [0, 3, 2]], r"edges run .* same direction, got \(0, 2\);"),
        (POINTS, [[0, 1, 2], [1, 0, 4], [0, 1, 3]], "zero-area faces, got 2;"),
    ):
        with pytest.raises(ValueError, match=rf"^mesh: expected no {text}"):
            ON_MESHES[function](Mesh(points, faces))
    with pytest.raises(ValueError, match="^mesh: expected no edges run through twice"):
        ON_MESHES[function](strip(9, 1))
    with pytest.raises(TypeError, match="^mesh: expected a Mesh, got NoneType"):
        ON_MESHES[function](None)


def test_interior_vertices_need_a_mesh():
    with pytest.raises(TypeError, match="^mesh: expected a Mesh, got NoneType"):
        interior_vertices(None)


CANCEL = "^mesh: expected no normals of faces that cancel, got some at vertices"


@pytest.mark.parametrize("function", [tangent_frames, projected_gauge])
def test_normals_that_cancel(function):
    with pytest.raises(ValueError, match=f"{CANCEL} 0, 1, 2$"):
        function(mesh_of("pillow"))
    with pytest.raises(ValueError, match=f"{CANCEL} 7, 8, 9, 10, 11 and 2 more$"):
        function(fold_strip(2.0, 1.0, 2, 6, [math.pi]))


def finned() -> Mesh:
    """A disk that is slit and sewn to a fin, whose edge from 0 to 1 stands on the disk."""
    t = 2 * math.pi / 3 * torch.arange(3, dtype=F64)
    rim = torch.stack([t.cos(), t.sin(), 0 * t], 1)
    low = torch.tensor([[0.0, 0, 0], [0, 0, 1]], dtype=F64)
    faces = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 1]]
    return Mesh(torch.cat([low, rim, 2 * rim[:1]]), faces)


def test_edges_along_the_normal():
    last = finned()
    assert torch.isfinite(tangent_frames(last)).all()
    message = "^mesh: expected no edges along the normal of a vertex, got some at vertices 0$"
    with pytest.raises(ValueError, match=message):
        projected_gauge(last)
    assert distance(vertex_holonomies(last, face_gauge(last)), angle_defects(last)[:1]) < 1e-12


def spiral_stair() -> Mesh:
    """Five faces round half a turn, up and down, each by a sixth of a turn wider than it looks."""
    seen = torch.arange(6, dtype=F64) * math.pi / 5
    narrow, wide = math.cos(math.pi / 5), math.cos(math.pi / 5 + math.pi / 3)
    up_and_down = torch.tensor([1, -1], dtype=F64).repeat(3)
    height = math.sqrt((narrow - wide) / (1 + wide)) * up_and_down
    rim = torch.stack([seen.cos(), seen.sin(), height], 1)
    faces = [[0, i, i + 1] for i in range(1, 6)]
    return Mesh(torch.cat([torch.zeros(1, 3, dtype=F64), rim]), faces)


@pytest.mark.parametrize("function", [tangent_frames, projected_gauge])
def test_edges_that_fix_no_axis(function):
    """The six axes that put one edge where it is seen point to the corners of a hexagon."""
    stair = spiral_stair()
    seen = torch.arange(6, dtype=F64) * math.pi / 5
    graph = vertex_gauge(stair)
    turned = graph.angles[graph.targets == 0] - seen
    assert distance(turned, torch.arange(6, dtype=F64) * math.pi / 3) < 1e-12
    message = "^mesh: expected no vertices whose edges fix no axis, got some at vertices 0$"
    with pytest.raises(ValueError, match=message):
        function(stair)


def test_neighbours_with_opposite_normals():
    points = [[0, 0, 0], [1, 0, 0], [0.2, 1, 0], [0.8, 1, 0]]
    folded = Mesh(points, [[0, 1, 2], [1, 0, 3]])
    message = "^mesh: expected no neighbours with opposite normals, got some at vertices 0, 1"
    with pytest.raises(ValueError, match=message):
        projected_gauge(folded)
    assert torch.isfinite(tangent_frames(folded)).all()


def test_graphs_of_other_meshes():
    mesh, other = mesh_of("bumpy"), mesh_of("torus")
    with pytest.raises(ValueError, match="^graph: expected 162 nodes, .*, got 126$"):
        face_holonomies(mesh, vertex_gauge(other))
    with pytest.raises(ValueError, match="^nodes: expected one edge from .* got 0$"):
        face_holonomies(
            Mesh(mesh.vertices, mesh.faces).permuted(range(161, -1, -1)), vertex_gauge(mesh)
        )
    message = r"^graph: expected the edges of face_gauge\(mesh\), 960 between 320 faces"
    backwards = face_gauge(Mesh(mesh.vertices, mesh.faces.flip(0)))
    graph = face_gauge(mesh)
    reordered = dataclasses.replace(graph, edge_index=graph.edge_index.flip(1))
    larger = dataclasses.replace(graph, num_nodes=321)
    for wrong in (face_gauge(other), vertex_gauge(mesh), backwards, reordered, larger):
        with pytest.raises(ValueError, match=message):
            vertex_holonomies(mesh, wrong)
    for function in (face_holonomies, vertex_holonomies):
        with pytest.raises(TypeError, match="^graph: expected a GaugedGraph, got NoneType"):
            function(mesh, None)
