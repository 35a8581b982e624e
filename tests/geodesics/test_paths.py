"""Paths against straight lines of unfolded strips, great circles, and their way back."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pygeodesic.geodesic import PyGeodesicAlgorithmExact
from torch import Tensor

from gdl.geodesics.distances import HeatMethod, great_circle
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.paths import Path, shoot, trace_path
from gdl.geodesics.surfaces import bumpy_sphere, flat_strip, fold_strip, icosphere, torus

F64 = torch.float64
FOLDS = [0.5, -1.0, 0.3, 1.2, 1.0, -1.5, 2.0]
FLAT, FOLDED = flat_strip(2.0, 1.0, 8, 6), fold_strip(2.0, 1.0, 8, 6, FOLDS)
BODIES = {
    "sphere": icosphere(3),
    "bumpy": bumpy_sphere(3, 0.2, 0),
    "torus": torus(1.0, 0.4, 30, 12),
}
all_bodies = pytest.mark.parametrize("name", list(BODIES))


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}: ")


def vector(*entries: float) -> Tensor:
    return torch.tensor(entries, dtype=F64)


def at(mesh: Mesh, face: int, barycentric: Tensor) -> Tensor:
    return barycentric @ mesh.vertices[mesh.faces[face]]


def tangent(mesh: Mesh, face: int, angle: float) -> Tensor:
    """The unit direction of a face at an angle from its first side."""
    a, b, _ = mesh.vertices[mesh.faces[face]]
    first = (b - a) / (b - a).norm()
    second = torch.linalg.cross(mesh.face_normals[face], first)
    return math.cos(angle) * first + math.sin(angle) * second


def heading(path: Path) -> Tensor:
    """The direction of the last segment that is long enough to have one."""
    long = (path.lengths > 1e-6).nonzero().flatten()[-1]
    step = path.points[long + 1] - path.points[long]
    return step / step.norm()


def require_joined(path: Path) -> None:
    """Each segment lies in its face and starts where the one before ended, in a shared side."""
    mesh = path.mesh
    b = path.barycentric
    assert b.shape == (len(path.faces), 2, 3) and b.dtype == F64
    assert float(b.min()) >= 0 and float((b.sum(-1) - 1).abs().max()) < 1e-14
    corners = mesh.vertices[mesh.faces[path.faces]]
    ends = torch.einsum("pek,pkd->ped", b, corners)
    assert float((ends[:, 0] - path.points[:-1]).norm(dim=1).max()) < 1e-13
    assert float((ends[:, 1] - path.points[1:]).norm(dim=1).max()) < 1e-13
    assert float((path.lengths - (ends[:, 1] - ends[:, 0]).norm(dim=1)).abs().max()) < 1e-7
    for s in range(len(b) - 1):
        after, before = (dict(zip(mesh.faces[path.faces[i]].tolist(), w.tolist(), strict=True))
                         for i, w in ((s, b[s, 1]), (s + 1, b[s + 1, 0])))  # fmt: skip
        assert all(abs(after.get(v, 0) - before.get(v, 0)) < 1e-12 for v in after | before)


# --- straightest geodesics ----------------------------------------------------------------------


@given(st.integers(0, 95), st.floats(0, 2 * math.pi), st.floats(0.05, 0.6), st.floats(0.05, 0.3))
@settings(max_examples=60, deadline=None)
def test_on_a_folded_strip_it_is_the_straight_line_of_the_flat_one(face, angle, first, second):
    barycentric = vector(first, second, 1 - first - second)
    direction = tangent(FLAT, face, angle)
    flat = shoot(FLAT, face, barycentric, direction, 0.7)
    folded = shoot(FOLDED, face, barycentric, tangent(FOLDED, face, angle), 0.7)
    start = at(FLAT, face, barycentric)
    # Unfolded: the same face and weights, on the flat strip.
    unfolded = Path(FLAT, folded.faces, folded.barycentric).points
    away = unfolded - start
    assert float(torch.linalg.cross(away, direction.expand_as(away)).norm(dim=1).max()) < 1e-12
    assert float((away[-1] - folded.length * direction).norm()) < 1e-12
    assert float((flat.points[-1] - start - flat.length * direction).norm()) < 1e-12
    assert abs(flat.length - folded.length) < 1e-12
    end = unfolded[-1]
    inside = 1e-9 < end[0] < 2 - 1e-9 and 1e-9 < end[1] < 1 - 1e-9
    assert abs(folded.length - 0.7) < 1e-12 if inside else folded.length <= 0.7 + 1e-12
    require_joined(folded)


def test_a_folded_path_is_not_straight_in_space():
    path = shoot(FOLDED, 0, [0.3, 0.3, 0.4], tangent(FOLDED, 0, 0.3), 1.5)
    chord = float((path.points[-1] - path.points[0]).norm())
    assert abs(path.length - 1.5) < 1e-12 and chord < 1.2 and len(path.faces) > 10


@pytest.mark.parametrize("angle", [0.0, math.pi / 2, 1.1, 4.0])
def test_at_a_boundary_it_stops(angle):
    path = shoot(FLAT, 50, [0.2, 0.3, 0.5], tangent(FLAT, 50, angle), 10.0)
    x, y, _ = path.points[-1].tolist()
    assert min(abs(x), abs(2 - x), abs(y), abs(1 - y)) < 1e-12
    assert 0.05 < path.length < 3
    assert float(((path.points[-1] - path.points[0]).norm() - path.length).abs()) < 1e-12


def test_at_a_corner_of_the_boundary_it_stops():
    square = flat_strip(1.0, 1.0, 2, 2)
    face, corner = (square.faces == 4).nonzero()[0].tolist()
    start = torch.zeros(3, dtype=F64)
    start[corner] = 1
    inside = square.vertices[square.faces[face]].mean(0) - square.vertices[4]
    target = square.vertices[square.faces[face]][corner - 1]
    path = shoot(square, face, start, target - square.vertices[4], 5.0)
    assert torch.equal(path.points[-1], target) and inside.norm() > 0


@all_bodies
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_way_back_leads_to_the_start(name, seed):
    mesh = BODIES[name]
    generator = torch.Generator().manual_seed(seed)
    face = int(torch.randint(mesh.num_faces, (), generator=generator))
    barycentric = vector(0.2, 0.3, 0.5)
    towards = tangent(mesh, face, float(torch.rand((), generator=generator)) * 6)
    path = shoot(mesh, face, barycentric, towards, 2.0)
    require_joined(path)
    assert abs(path.length - 2) < 1e-12
    back = shoot(mesh, int(path.faces[-1]), path.barycentric[-1, 1], -heading(path), 2.0)
    assert float((back.points[-1] - at(mesh, face, barycentric)).norm()) < 1e-10
    assert float((heading(back) + towards).norm()) < 1e-9


def test_on_fine_spheres_it_tends_to_a_great_circle():
    gaps = []
    for level in (2, 3, 4):
        mesh = icosphere(level)
        # The same point and direction of the sphere, on every mesh.
        face = int(
            (mesh.vertices[mesh.faces].mean(1) - vector(0.31, 0.52, 0.79)).norm(dim=1).argmin()
        )
        path = shoot(mesh, face, [1 / 3, 1 / 3, 1 / 3], vector(0.9, -0.3, 0.1), 2 * math.pi)
        points = torch.nn.functional.normalize(path.points, dim=1)
        normal = torch.linalg.cross(
            path.points[0], tangent_part(mesh, face, vector(0.9, -0.3, 0.1))
        )
        gaps.append(float((points @ normal / normal.norm()).abs().max()))
    assert gaps[0] < 0.2 and gaps[1] < 0.6 * gaps[0] and gaps[2] < 0.6 * gaps[1]


def tangent_part(mesh: Mesh, face: int, direction: Tensor) -> Tensor:
    normal = mesh.face_normals[face]
    return direction - (direction @ normal) * normal


def test_only_the_part_along_the_face_counts_and_not_its_size():
    mesh = BODIES["bumpy"]
    direction = tangent(mesh, 17, 0.7)
    expected = shoot(mesh, 17, [0.2, 0.3, 0.5], direction, 1.0).points
    for scale in (1e-150, 1e150):
        other = scale * (direction + 2 * mesh.face_normals[17])
        found = shoot(mesh, 17, [0.2, 0.3, 0.5], other, 1.0).points
        assert float((found - expected).norm(dim=1).max()) < 1e-12


def cone(faces: int, slant: float) -> Mesh:
    """A pyramid round vertex 0: its total angle falls with the slant."""
    turn = torch.arange(faces, dtype=F64) * (2 * math.pi / faces)
    rim = torch.stack([turn.cos(), turn.sin(), torch.full_like(turn, -slant)], 1)
    vertices = torch.cat([torch.zeros(1, 3, dtype=F64), rim])
    return Mesh(vertices, [[0, 1 + i, 1 + (i + 1) % faces] for i in range(faces)])


@pytest.mark.parametrize(("faces", "slant"), [(3, 0.0), (5, 0.8), (6, 0.0), (4, 3.0), (3, 9.0)])
@pytest.mark.parametrize("share", [0.5, 0.3, 0.9])
@pytest.mark.parametrize("turned", [False, True], ids=["oriented", "not oriented"])
def test_through_a_vertex_it_leaves_equal_angles_on_both_sides(faces, slant, share, turned):
    mesh = cone(faces, slant)
    if turned:
        mesh = Mesh(mesh.vertices, torch.cat([mesh.faces[:1], mesh.faces[1:].flip(1)]))
    rim = share * mesh.vertices[1] + (1 - share) * mesh.vertices[2]
    path = shoot(mesh, 0, [0.0, share, 1 - share], -rim, 1.5 * float(rim.norm()))
    require_joined(path)
    assert abs(path.length - 1.5 * float(rim.norm())) < 1e-12
    assert float(path.points[1].norm()) < 1e-12
    place = [angle_round(cone(faces, slant), p, f) for p, f in
             ((path.points[0], 0), (path.points[-1], int(path.faces[-1])))]  # fmt: skip
    total = angle_round(cone(faces, slant), mesh.vertices[1], faces - 1)
    assert abs((place[1] - place[0]) - total / 2) < 1e-9


def angle_round(mesh: Mesh, point: Tensor, face: int) -> float:
    """The angle at vertex 0 of a cone from vertex 1 to a point of a face."""
    before = sum(between(mesh.vertices[f[1]], mesh.vertices[f[2]]) for f in mesh.faces[:face])
    return before + between(mesh.vertices[mesh.faces[face, 1]], point)


def between(a: Tensor, b: Tensor) -> float:
    return float(great_circle(a, b))


def test_along_a_line_of_edges_it_goes_through_every_vertex():
    mesh = icosphere(0)
    # Two opposite edges of the icosahedron and the heights of four faces form a closed line.
    a, b = mesh.vertices[mesh.faces[0, 0]], mesh.vertices[mesh.faces[0, 1]]
    edge, height = float((b - a).norm()), float((b - a).norm()) * 0.75**0.5
    path = shoot(mesh, 0, [0.5, 0.5, 0.0], b - a, 2 * edge + 4 * height)
    require_joined(path)
    assert float((path.points[-1] - path.points[0]).norm()) < 1e-12
    assert abs(path.length - 2 * edge - 4 * height) < 1e-12


@pytest.mark.parametrize("k", [0, 1, 2])
def test_along_a_side_it_reaches_the_vertex_at_its_end(k):
    mesh = BODIES["bumpy"]
    for face in range(0, mesh.num_faces, 9):
        start, end = mesh.faces[face][[(k + 1) % 3, (k + 2) % 3]]
        middle = torch.full((3,), 0.5, dtype=F64)
        middle[k] = 0
        side = mesh.vertices[end] - mesh.vertices[start]
        path = shoot(mesh, face, middle, side, 0.75 * float(side.norm()))
        reached = (path.points - mesh.vertices[end]).norm(dim=1)
        assert float(reached.min()) < 1e-13 and abs(path.length / float(side.norm()) - 0.75) < 1e-12


def test_tensors_with_a_gradient_are_read():
    start = torch.tensor([0.25, 0.25, 0.5], requires_grad=True)
    direction = torch.tensor([1.0, 0.2, 0.0], requires_grad=True)
    found = shoot(FOLDED, 40, start, direction, 0.5)
    expected = shoot(FOLDED, 40, start.detach(), direction.detach(), 0.5)
    assert torch.equal(found.points, expected.points)


def test_no_orientation_is_needed():
    turned = FOLDED.faces.clone()
    turned[::3] = turned[::3][:, [1, 0, 2]]
    other = Mesh(FOLDED.vertices, turned)
    direction = tangent(FOLDED, 1, 0.4)
    expected = shoot(FOLDED, 1, [0.2, 0.3, 0.5], direction, 1.2)
    found = shoot(other, 1, [0.2, 0.3, 0.5], direction, 1.2)
    assert not other.is_oriented and len(set(found.faces.tolist())) > 8
    assert float((found.points - expected.points).norm(dim=1).max()) < 1e-12


def moebius(n: int) -> Mesh:
    """A strip with half a turn, the seam between its last faces and its first."""
    turn = torch.arange(n, dtype=F64) * (2 * math.pi / n)
    core = torch.stack([turn.cos(), turn.sin(), 0 * turn], 1)
    side = (turn / 2).cos()[:, None] * core
    side[:, 2] = (turn / 2).sin()
    faces = []
    for i in range(n):
        low, high = ((i + 1) % n, n + (i + 1) % n) if i < n - 1 else (n, 0)
        faces += [[i, low, n + i], [low, high, n + i]]
    return Mesh(torch.cat([3 * core + side, 3 * core - side]), faces)


def test_a_one_sided_surface_will_do():
    mesh = moebius(24)
    start, middle = vector(0.4, 0.2, 0.4), mesh.vertices[[0, 24]].mean(0)
    path = shoot(mesh, 0, start, middle - at(mesh, 0, start), 3.0)
    require_joined(path)
    assert path.faces.tolist()[:2] == [0, 47] and len(path.faces) > 6
    back = shoot(mesh, int(path.faces[-1]), path.barycentric[-1, 1], -heading(path), path.length)
    assert float((back.points[-1] - at(mesh, 0, start)).norm()) < 1e-10
    with pytest.raises(ValueError, match="one-sided"):
        mesh.oriented()


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("face", -1, ValueError),
        ("face", 96, ValueError),
        ("face", 0.0, TypeError),
        ("barycentric", [0.5, 0.5], ValueError),
        ("barycentric", [0.5, 0.6, -0.1], ValueError),
        ("barycentric", [0.5, 0.5, 0.5], ValueError),
        ("barycentric", [0.5, 0.5, math.nan], ValueError),
        ("barycentric", ["a", "b", "c"], TypeError),
        ("direction", [1.0, 0.0], ValueError),
        ("direction", [0.0, 0.0, 0.0], ValueError),
        ("direction", [0.0, 0.0, 1.0], ValueError),
        ("direction", [math.inf, 0.0, 0.0], ValueError),
        ("direction", [True, False, False], TypeError),
        ("direction", torch.ones(3, device="meta"), TypeError),
        ("barycentric", torch.ones(3).to_sparse(), TypeError),
        ("length", 0.0, ValueError),
        ("length", math.inf, ValueError),
        ("length", "1", TypeError),
        ("max_faces", 0, ValueError),
        ("max_faces", 2, ValueError),
        ("max_faces", 1.5, TypeError),
    ],
)
def test_other_arguments_of_a_shot_are_refused(argument, value, error):
    good = {
        "face": 40,
        "barycentric": [0.2, 0.3, 0.5],
        "direction": [1.0, 0.2, 0.0],
        "length": 0.5,
    }
    assert shoot(FLAT, **good, max_faces=9).length > 0.4
    with refuses(error, argument):
        shoot(FLAT, **(good | {argument: value}))


def test_from_a_corner_it_has_to_point_into_the_face():
    inwards = FLAT.vertices[FLAT.faces[40]].mean(0) - FLAT.vertices[FLAT.faces[40, 0]]
    assert abs(shoot(FLAT, 40, [1, 0, 0], inwards, 0.1).length - 0.1) < 1e-12
    with refuses(ValueError, "direction"):
        shoot(FLAT, 40, [1, 0, 0], -inwards, 0.1)


def test_from_a_side_it_may_leave_the_face_at_once():
    a, b, c = FLAT.vertices[FLAT.faces[40]]
    outwards = (a + b) / 2 - c
    path = shoot(FLAT, 40, [0.5, 0.5, 0.0], outwards, 0.05)
    expected = (a + b) / 2 + 0.05 * outwards / outwards.norm()
    assert 40 not in path.faces.tolist()
    assert float((path.points[-1] - expected).norm()) < 1e-12


def bow_tie() -> Mesh:
    return Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 0, 0], [-1, -1, 0]], [[0, 1, 2], [0, 3, 4]])


def book() -> Mesh:
    return Mesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1]],
        [[0, 1, 2], [0, 1, 3], [0, 1, 4]],
    )


def needle() -> Mesh:
    return Mesh([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 1, 3]])


@pytest.mark.parametrize("mesh", [bow_tie(), book(), needle()], ids=["fans", "edge", "area"])
def test_other_meshes_are_refused(mesh):
    with refuses(ValueError, "mesh"):
        shoot(mesh, 0, [0.2, 0.3, 0.5], [1.0, 1.0, 1.0], 1.0)
    with refuses(ValueError, "mesh"):
        trace_path(mesh, torch.arange(5.0)[: mesh.num_vertices], 0)


def test_something_else_than_a_mesh_is_refused():
    with refuses(TypeError, "mesh"):
        shoot(None, 0, [0.2, 0.3, 0.5], [1.0, 1.0, 1.0], 1.0)
    with refuses(TypeError, "mesh"):
        trace_path("mesh", torch.zeros(3), 0)


# --- descent ------------------------------------------------------------------------------------


@all_bodies
@pytest.mark.parametrize("source", [0, 100])
def test_descent_ends_at_the_source_and_falls_all_the_way(name, source):
    mesh = BODIES[name]
    distance = HeatMethod(mesh).distance(source)
    solver = PyGeodesicAlgorithmExact(mesh.vertices.numpy(), mesh.faces.numpy())
    exact = solver.geodesicDistances(np.array([source]), None)[0]
    for start in (3, 55, 200, int(distance.argmax())):
        path = trace_path(mesh, distance, start)
        require_joined(path)
        assert torch.equal(path.points[0], mesh.vertices[start])
        assert torch.equal(path.points[-1], mesh.vertices[source])
        values = torch.einsum("pek,pk->pe", path.barycentric, distance[mesh.faces[path.faces]])
        assert bool((values[:, 1] < values[:, 0]).all())
        assert -1e-9 < path.length / float(exact[start]) - 1 < 0.03


def test_on_fine_spheres_its_length_tends_to_the_great_circle():
    errors = []
    for level in (2, 3, 4):
        mesh = icosphere(level)
        distance = HeatMethod(mesh).distance(0)
        exact = great_circle(mesh.vertices, mesh.vertices[0])
        starts = [5, 17, 41, 100, int(exact.argmax())]
        lengths = torch.tensor([trace_path(mesh, distance, s).length for s in starts], dtype=F64)
        errors.append(float((lengths / exact[starts] - 1).abs().mean()))
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.5 * errors[1] and errors[0] < 0.01


@given(st.integers(0, 62), st.floats(0, 2 * math.pi))
@settings(max_examples=60, deadline=None)
def test_down_a_linear_function_it_is_a_straight_line(start, angle):
    down = vector(math.cos(angle), math.sin(angle), 0.0)
    path = trace_path(FOLDED, -FLAT.vertices @ down, start)
    points = Path(FLAT, path.faces, path.barycentric).points
    away = points - FLAT.vertices[start]
    inside = ((points[:, :2] > 1e-9) & (points[:, :2] < vector(2, 1) - 1e-9)).all(1)
    straight = torch.cat([inside.new_ones(1), inside[1:].cumprod(0).bool()])
    across = torch.linalg.cross(away, down.expand_as(away)).norm(dim=1)
    assert float(across[straight].max()) < 1e-12
    # From the boundary on it slides, to the lowest corner of the strip.
    heights = -points @ down
    assert bool((heights.diff() < 1e-15).all())
    assert float(heights[-1] - (-FLAT.vertices @ down).min()) < 1e-9


@pytest.mark.parametrize("angle", [1e-9, 2e-9, 3e-9, 5e-9, 7e-9, 1e-8, 1.3e-8, 2e-8])
def test_next_to_an_edge_it_is_straight_too(angle):
    down = vector(-math.cos(angle), math.sin(angle), 0.0)
    for start in (57, 58, 59, 60, 61):
        path = trace_path(FLAT, -FLAT.vertices @ down, start)
        before = path.points[path.points[:, 0] > 0.1]
        away = before - FLAT.vertices[start]
        assert float(torch.linalg.cross(away, down.expand_as(away)).norm(dim=1).max()) < 1e-12


def test_where_both_faces_lead_to_an_edge_it_follows_the_edge():
    vertices = [[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0], [1, -1, 0]]
    valley = Mesh(vertices, [[0, 1, 3], [1, 2, 3], [1, 0, 4], [2, 1, 4]])
    values = torch.tensor([0.0, 0.2, 0.4, 2.0, 2.0])
    path = trace_path(valley, values, 2)
    assert path.points.tolist() == [[2, 0, 0], [1, 0, 0], [0, 0, 0]]
    from_above = trace_path(valley, values, 3)
    assert from_above.points[-1].tolist() == [0, 0, 0]
    assert from_above.points[:, 1].tolist()[0] == 1 and from_above.points[:, 1].tolist()[1] == 0


def test_a_level_valley_is_a_local_minimum():
    square = Mesh([[0, 0, 0], [2, 0, 0], [1, 1, 0], [1, -1, 0]], [[0, 1, 2], [1, 0, 3]])
    path = trace_path(square, torch.tensor([0.0, 0.0, 1.0, 1.0]), 2)
    assert torch.allclose(path.points, torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=F64))


def test_at_a_minimum_it_stays():
    path = trace_path(FLAT, FLAT.vertices[:, 0], 3)
    assert path.length == 0 and path.points.tolist() == [FLAT.vertices[3].tolist()] * 2
    flat = trace_path(FLAT, torch.zeros(63), 30)
    assert flat.length == 0 and len(flat.faces) == 1


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**1023])
def test_the_size_of_the_function_does_not_matter(scale):
    values = FLAT.vertices @ vector(0.3, 0.7, 0.0)
    found, expected = (trace_path(FLAT, c * values, 57) for c in (scale, 1.0))
    assert torch.equal(found.faces, expected.faces)
    assert torch.equal(found.barycentric, expected.barycentric)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_the_dtype_of_the_function_does_not_matter(dtype):
    path = trace_path(FLAT, FLAT.vertices[:, 0].to(dtype), 57)
    assert path.barycentric.dtype == F64
    assert float((path.points[:, 1] - FLAT.vertices[57, 1]).abs().max()) < 1e-6
    assert float(path.points[-1, 0]) == 0


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("distance", [0.0] * 63, TypeError),
        ("distance", torch.zeros(63, dtype=torch.int64), TypeError),
        ("distance", torch.zeros(62), ValueError),
        ("distance", torch.zeros(63, 1), ValueError),
        ("distance", torch.full((63,), torch.inf), ValueError),
        ("distance", torch.zeros(63, device="meta"), TypeError),
        ("start", 63, ValueError),
        ("start", -1, ValueError),
        ("start", 1.0, TypeError),
        ("max_faces", 0, ValueError),
        ("max_faces", 3, ValueError),
    ],
)
def test_other_arguments_of_a_descent_are_refused(argument, value, error):
    good = {"distance": FLAT.vertices[:, 0], "start": 57}
    assert trace_path(FLAT, **good, max_faces=99).length > 1.9
    with refuses(error, argument):
        trace_path(FLAT, **(good | {argument: value}))


def test_an_isolated_vertex_is_no_start():
    mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], [[0, 1, 2]])
    with refuses(ValueError, "start"):
        trace_path(mesh, torch.zeros(4), 3)
