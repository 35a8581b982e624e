"""Meshes: what they are made of, every planted defect, and their repairs."""

from __future__ import annotations

import copy
import pickle
import re

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from gdl.geodesics._checks import measurable, require
from gdl.geodesics.mesh import NEEDS, OPERATORS, Mesh, MeshReport
from tests.geodesics.sample_meshes import (
    EULER,
    F64,
    MESHES,
    regular_terrains,
    sphere,
    strip,
    terrain,
    tetrahedron,
    together,
    torus,
)

TRIANGLE = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]
DEFECTS = [
    "non_manifold_edges",
    "non_manifold_vertices",
    "zero_area_faces",
    "isolated_vertices",
    "inconsistent_edges",
]
all_meshes = pytest.mark.parametrize("name", list(MESHES))


def refuses(error, argument: str, text: str = ""):
    return pytest.raises(error, match=rf"^{argument}: expected .*{re.escape(text)}")


def found(report: MeshReport) -> dict[str, list]:
    """The defects that a report lists."""
    lists = {name: getattr(report, name).tolist() for name in DEFECTS}
    return {name: indices for name, indices in lists.items() if indices}


def flipped(mesh: Mesh, *faces: int) -> Mesh:
    turned = mesh.faces.clone()
    for face in faces:
        turned[face] = turned[face][[0, 2, 1]]
    return Mesh(mesh.vertices, turned)


# --- what a mesh is made of ---------------------------------------------------------------------


@all_meshes
def test_counts_and_sizes_are_those_of_trimesh(name):
    mesh = MESHES[name]
    theirs = trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)
    assert mesh.edges.tolist() == sorted(theirs.edges_unique.tolist())
    assert mesh.euler_characteristic == theirs.euler_number == EULER[name]
    assert mesh.area == pytest.approx(theirs.area, rel=1e-13)
    np.testing.assert_allclose(mesh.face_areas, theirs.area_faces, rtol=1e-12)
    np.testing.assert_allclose(mesh.face_normals, theirs.face_normals, atol=1e-13)
    assert mesh.mean_edge_length == pytest.approx(theirs.edges_unique_length.mean(), rel=1e-13)
    assert mesh.is_closed == theirs.is_watertight
    assert mesh.num_components == theirs.body_count == 1 + (name == "two")
    assert repr(mesh) == f"Mesh({mesh.num_vertices} vertices, {mesh.num_faces} faces)"


@all_meshes
def test_sides_lie_opposite_to_corners(name):
    mesh = MESHES[name]
    for k in range(3):
        ends = mesh.faces[:, [(k + 1) % 3, (k + 2) % 3]]
        assert torch.equal(mesh.edges[mesh.face_edges[:, k]], ends.sort(1).values)
        a, b = mesh.vertices[ends].unbind(1)
        assert torch.equal(mesh.lengths[:, k], mesh.edge_lengths[mesh.face_edges[:, k]])
        torch.testing.assert_close(mesh.lengths[:, k], (a - b).norm(dim=1), rtol=1e-15, atol=0)


@all_meshes
def test_a_clean_mesh_has_no_defect(name):
    mesh = MESHES[name]
    expected = {"inconsistent_edges"} if name == "Möbius" else set()
    assert set(found(mesh.report())) == expected
    assert mesh.is_manifold and mesh.is_oriented == (name != "Möbius")
    assert mesh.report() is mesh.report()


def test_boundaries():
    square = Mesh([*TRIANGLE, [1, 1, 0]], [[0, 1, 2], [1, 3, 2]])
    assert square.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]
    assert square.boundary_edges.tolist() == [[0, 1], [0, 2], [1, 3], [2, 3]]
    assert square.boundary_vertices.tolist() == [0, 1, 2, 3]
    assert not square.is_closed and "boundary edges (4): (0, 1)" in str(square.report())
    inner = torch.ones(len(MESHES["terrain"].vertices), dtype=torch.bool)
    inner[MESHES["terrain"].boundary_vertices] = False
    x, y, _ = MESHES["terrain"].vertices[inner].unbind(1)
    assert inner.any() and ((x > 0) & (x < 1) & (y > 0) & (y < 1)).all()


def test_components_are_listed():
    mesh = together(tetrahedron(), strip(5, 0))
    assert mesh.component.tolist() == [0] * 4 + [1] * 10
    assert [part.tolist() for part in mesh.report().components] == [
        list(range(4)),
        list(range(4, 14)),
    ]
    assert "components (2), with vertices 0, 4" in str(mesh.report())
    assert "components" not in str(tetrahedron().report())
    mixed = mesh.permuted(torch.randperm(14, generator=torch.Generator().manual_seed(0)))
    assert mixed.num_components == 2
    first, second = (mixed.component[mixed.faces[i]].unique() for i in (0, -1))
    assert len(first) == len(second) == 1 and first != second
    for number, part in enumerate(mixed.report().components):
        assert torch.equal(part, (mixed.component == number).nonzero().flatten())


@pytest.mark.parametrize("scale", [1e-90, 1e-6, 1e90])
def test_scale_changes_no_judgement(scale):
    mesh = terrain(20, 0)
    scaled = mesh.with_vertices(mesh.vertices * scale)
    assert found(scaled.report()) == {}
    torch.testing.assert_close(scaled.face_areas, mesh.face_areas * scale**2, rtol=1e-12, atol=0)
    torch.testing.assert_close(scaled.face_normals, mesh.face_normals, rtol=0, atol=1e-12)


def test_needles_keep_their_area():
    needle = Mesh([[0, 0, 0], [1, 0, 0], [1, 1e-12, 0]], [[0, 1, 2]])
    assert found(needle.report()) == {}
    assert float(needle.face_areas) == pytest.approx(5e-13, rel=1e-12, abs=0)


def test_a_mesh_keeps_copies():
    vertices, faces = torch.rand(3, 3, dtype=F64), torch.tensor([[0, 1, 2]])
    mesh = Mesh(vertices, faces)
    vertices.zero_()
    faces.zero_()
    assert mesh.vertices.abs().sum() > 0 and mesh.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, F64, torch.int32])
def test_vertices_of_any_real_type(dtype):
    given_ = torch.tensor(TRIANGLE, dtype=dtype).requires_grad_(dtype.is_floating_point)
    mesh = Mesh(given_, torch.tensor([[0, 1, 2]], dtype=torch.int16))
    assert mesh.vertices.dtype == F64 and mesh.faces.dtype == torch.int64
    assert mesh.vertices.tolist() == TRIANGLE and not mesh.vertices.requires_grad


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_meshes_can_be_copied(copied):
    mesh = torus()
    assert str(copied(mesh).report()) == str(mesh.report())
    assert torch.equal(copied(mesh).vertices, mesh.vertices)


# --- planted defects ----------------------------------------------------------------------------


def test_an_edge_of_three_faces():
    body = tetrahedron()
    mesh = Mesh([*body.vertices.tolist(), [3, 3, 3]], [*body.faces.tolist(), [0, 1, 4]])
    assert mesh.report().non_manifold_edges.tolist() == [[0, 1]]
    assert not len(mesh.report().non_manifold_vertices)
    assert not mesh.is_manifold
    with refuses(ValueError, "mesh", "edges of more than two faces, got (0, 1);"):
        mesh.oriented()


def test_a_bow_tie():
    two = together(tetrahedron(), tetrahedron())
    joined = Mesh(two.vertices, torch.where(two.faces == 6, 2, two.faces)).compact()
    assert found(joined.report()) == {"non_manifold_vertices": [2]}
    assert joined.is_oriented and not joined.is_manifold and joined.num_components == 1


def test_two_fans_that_share_a_rim_vertex_only():
    # Two triangles with a common corner, and two with a common side.
    apart = Mesh([*TRIANGLE, [-1, 0, 0], [0, -1, 0]], [[0, 1, 2], [0, 3, 4]])
    assert found(apart.report()) == {"non_manifold_vertices": [0]}
    closed = Mesh([*TRIANGLE, [-1, 0, 0]], [[0, 1, 2], [0, 2, 3]])
    assert found(closed.report()) == {}


@pytest.mark.parametrize(
    "corner",
    [[2, 0, 0], [0.5, 0, 0], [0, 0, 0], [1, 1e-9, 0], [0.5, 1e-9, 0]],
    ids=["beyond", "between", "coincident", "nearly coincident", "cap"],
)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_faces_without_area(corner, scale):
    vertices = torch.tensor([*TRIANGLE, corner], dtype=F64) * scale
    mesh = Mesh(vertices, [[0, 1, 2], [1, 0, 3]])
    needle = corner == [1, 1e-9, 0]
    assert found(mesh.report()) == ({} if needle else {"zero_area_faces": [1]})
    assert torch.isfinite(mesh.face_normals).all() and torch.isfinite(mesh.face_areas).all()


@pytest.mark.parametrize("scale", [1e-160, 1e-101])
def test_faces_too_small_for_squares_of_lengths_have_no_area(scale):
    mesh = Mesh(torch.tensor(TRIANGLE, dtype=F64) * scale, [[0, 1, 2]])
    assert found(mesh.report()) == {"zero_area_faces": [0]}
    assert found(Mesh(mesh.vertices / scale * 1e-99, mesh.faces).report()) == {}


def test_segments_along_any_line_have_no_area():
    generator = torch.Generator().manual_seed(0)
    start, along = torch.randn(2, 500, 1, 3, dtype=F64, generator=generator)
    steps = torch.randn(500, 3, 1, dtype=F64, generator=generator)
    vertices = (start + steps * along).reshape(-1, 3)
    mesh = Mesh(vertices, torch.arange(1500).reshape(-1, 3))
    assert mesh.report().zero_area_faces.tolist() == list(range(500))


def test_isolated_vertices():
    mesh = Mesh([[9, 9, 9], *TRIANGLE, [5, 5, 5]], [[1, 2, 3]])
    assert found(mesh.report()) == {"isolated_vertices": [0, 4]}
    assert mesh.num_components == 3 and mesh.euler_characteristic == 1
    assert mesh.compact().vertices.tolist() == TRIANGLE
    assert mesh.compact().faces.tolist() == [[0, 1, 2]]
    assert found(mesh.compact().report()) == {}


@pytest.mark.parametrize("face", [0, 7])
def test_a_turned_face(face):
    body = sphere(1)
    mesh = flipped(body, face)
    sides = body.edges[body.face_edges[face]].tolist()
    assert found(mesh.report()) == {"inconsistent_edges": sorted(sides)}
    assert mesh.is_manifold and not mesh.is_oriented


def test_faces_round_an_edge_of_four():
    # Two sheets through one edge: every direction occurs twice.
    wings = [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]
    faces = [[0, 1, 2], [1, 0, 3], [0, 1, 4], [1, 0, 5]]
    report = Mesh([[0, 0, 0], [0, 0, 1], *wings], faces).report()
    assert found(report) == {"non_manifold_edges": [[0, 1]], "inconsistent_edges": [[0, 1]]}


def test_many_defects_are_cut_short_in_messages():
    mesh = Mesh([*TRIANGLE, *[[5, 5, 5]] * 9], [[0, 1, 2]])
    assert "isolated vertices (9): 3, 4, 5, 6, 7 and 4 more; mesh.compact()" in str(mesh.report())


@given(regular_terrains, st.data())
@settings(deadline=None, max_examples=30)
def test_turned_faces_are_found_and_turned_back(mesh, data):
    assert found(mesh.report()) == {} and mesh.euler_characteristic == 1
    chosen = data.draw(st.sets(st.integers(1, mesh.num_faces - 1), max_size=5))
    broken = flipped(mesh, *chosen)
    sides = mesh.face_edges[sorted(chosen)].flatten().bincount(minlength=len(mesh.edges))
    inner = mesh.face_edges.flatten().bincount() == 2
    expected = mesh.edges[(sides % 2 == 1) & inner]
    assert torch.equal(broken.report().inconsistent_edges, expected)
    assert torch.equal(broken.oriented().faces, mesh.faces)


@given(regular_terrains, st.floats(1e-8, 1e8), st.integers(0, 3))
@settings(deadline=None, max_examples=30)
def test_renumbered_and_scaled_meshes_are_alike(mesh, scale, seed):
    p = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(seed))
    other = mesh.with_vertices(mesh.vertices * scale).permuted(p)
    assert found(other.report()) == {}
    assert torch.equal(other.vertices[p], mesh.vertices * scale)
    assert torch.equal(other.faces, p[mesh.faces])
    assert torch.equal(other.boundary_vertices, p[mesh.boundary_vertices].sort().values)
    torch.testing.assert_close(other.face_areas, mesh.face_areas * scale**2, rtol=1e-9, atol=0)


# --- repairs ------------------------------------------------------------------------------------


def test_each_piece_keeps_its_first_face():
    two = together(tetrahedron(), tetrahedron())
    mesh = flipped(two, 0, 5, 6)
    mended = mesh.oriented()
    assert mended.is_oriented
    assert torch.equal(mended.faces[[0, 4]], mesh.faces[[0, 4]])
    turned = (mended.faces != mesh.faces).any(1).nonzero().flatten()
    assert turned.tolist() == [1, 2, 3, 5, 6]


def test_a_one_sided_surface_has_no_orientation():
    with refuses(ValueError, "mesh", "one-sided faces 0, 1, 2"):
        strip(9, 1).oriented()
    assert strip(9, 2).oriented().is_oriented
    beside = together(tetrahedron(), strip(9, 1))
    with refuses(ValueError, "mesh", "one-sided faces 4, 5, 6"):
        beside.oriented()


def test_bad_repairs():
    mesh = tetrahedron()
    for p in ([0, 1, 2, 2], [0, 1, 2, 4], [-1, 0, 1, 2]):
        with refuses(ValueError, "permutation", "each of 0 to 3 once"):
            mesh.permuted(p)
    with refuses(ValueError, "permutation", "shape (4,), got (3,)"):
        mesh.permuted([0, 1, 2])
    with refuses(ValueError, "permutation", "an array of numbers"):
        mesh.permuted([[0], [1, 2]])
    with refuses(TypeError, "permutation"):
        mesh.permuted([0.0, 1.0, 2.0, 3.0])
    with refuses(ValueError, "vertices", "shape (4, 3), got (3, 3)"):
        mesh.with_vertices(TRIANGLE)


# --- what works in spite of defects -------------------------------------------------------------


def test_what_is_missing():
    def missing(mesh):
        return {what: names for what, names in mesh.report().missing.items() if names}

    traced, frames = "traced geodesics", "normals, frames"
    assert missing(tetrahedron()) == missing(strip(9, 0)) == {}
    assert set(tetrahedron().report().missing) == set(NEEDS)
    assert missing(strip(9, 1)) == {frames: ("oriented",)}
    isolated = Mesh([*TRIANGLE, [5, 5, 5]], [[0, 1, 2]])
    lacking = ("compact",)
    everything = (OPERATORS, "curvature", traced, frames)
    assert missing(isolated) == dict.fromkeys(everything, lacking)
    bow_tie = Mesh([*TRIANGLE, [-1, 0, 0], [0, -1, 0]], [[0, 1, 2], [0, 3, 4]])
    assert missing(bow_tie) == dict.fromkeys(("curvature", traced, frames), ("manifold",))
    text = str(bow_tie.report())
    assert "edge distances: works" in text and "curvature: needs manifold" in text


ISOLATED = Mesh([*TRIANGLE, [5, 5, 5]], [[0, 1, 2]])
FLAT = Mesh([*TRIANGLE, [0.5, 0, 0]], [[0, 1, 2], [0, 3, 1]])


@pytest.mark.parametrize(
    "mesh", [ISOLATED, FLAT, *MESHES.values(), strip(9, 1), flipped(sphere(1), 0)]
)
def test_a_mesh_is_measurable_if_its_report_finds_areas_and_no_isolated_vertices(mesh):
    assert mesh.is_measurable == (mesh.report().refusal("areas", "compact") is None)
    assert mesh.is_measurable == (mesh not in (ISOLATED, FLAT))


def test_what_cannot_be_measured_is_refused_by_name():
    for body, defect in ((ISOLATED, "no isolated vertices, got 3"), (FLAT, "no zero-area faces")):
        with refuses(ValueError, "body", defect):
            measurable(body, name="body")
    assert measurable(strip(9, 1)).num_faces == 18


def test_requirements_name_the_defect_and_the_remedy():
    isolated = Mesh([*TRIANGLE, [5, 5, 5]], [[0, 1, 2]])
    assert require(isolated, "areas", "manifold", "oriented") is isolated
    with refuses(ValueError, "mesh", "no isolated vertices, got 3; mesh.compact()"):
        require(isolated, "areas", "compact")
    with refuses(ValueError, "target", "no boundary edges, got (0, 1), (0, 2), (1, 2);"):
        require(isolated, "closed", name="target")
    with refuses(ValueError, "mesh", "twice in the same direction"):
        require(strip(9, 1), "oriented")
    with refuses(TypeError, "mesh", "a Mesh, got list"):
        require([], "areas")


# --- bad input ----------------------------------------------------------------------------------


def test_a_view_with_a_negative_bit_is_read():
    vertices = tetrahedron().vertices
    view = torch.complex(vertices, vertices).conj().imag
    assert view.is_neg() and torch.equal(Mesh(view, [[0, 1, 2]]).vertices, -vertices)


@pytest.mark.parametrize(
    ("vertices", "error", "text"),
    [
        ([[0.0, 0.0]], ValueError, "(n, 3)"),
        (torch.zeros(3), ValueError, "got (3,)"),
        (np.zeros((2, 3, 3)), ValueError, "(2, 3, 3)"),
        ([[0, 0, 0], [1, 0]], ValueError, "an array of numbers"),
        ([torch.zeros(3, requires_grad=True)] * 3, TypeError, "an array of numbers"),
        ([torch.zeros(3, device="meta")] * 3, TypeError, "an array of numbers"),
        ([[0, 0, 0], [1, float("nan"), 0], [0, 1, 0]], ValueError, "for vertex 1"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, float("inf")]], ValueError, "for vertex 2"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 1e101]], ValueError, "up to 1e+100"),
        (torch.zeros(3, 3, dtype=torch.complex128), TypeError, "complex128"),
        (torch.zeros(3, 3, dtype=torch.bool), TypeError, "bool"),
        (torch.zeros(3, 3, device="meta"), TypeError, "meta"),
        (torch.zeros(3, 3).to_sparse(), TypeError, "sparse"),
        ("vertices", TypeError, "real numbers"),
        (None, TypeError, "real numbers"),
    ],
)
def test_bad_vertices(vertices, error, text):
    with refuses(error, "vertices", text):
        Mesh(vertices, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("faces", "error", "text"),
    [
        ([[0, 1, 3]], ValueError, "0 to 2 for 3 vertices, got [0, 1, 3] in face 0"),
        ([[0, 1, 2], [0, -1, 2]], ValueError, "got [0, -1, 2] in face 1"),
        ([[0, 1, 2], [0, 1, 0]], ValueError, "three different vertices, got [0, 1, 0] in face 1"),
        ([[1, 1, 2]], ValueError, "got [1, 1, 2] in face 0"),
        ([[0, 1]], ValueError, "got (1, 2)"),
        ([0, 1, 2], ValueError, "got (3,)"),
        (torch.empty(0, 3, dtype=torch.int64), ValueError, "got (0, 3)"),
        ([[0, 1, 2], [0]], ValueError, "an array of numbers"),
        ([[0.0, 1.0, 2.0]], TypeError, "integers"),
        ([[True, False, True]], TypeError, "integers"),
        (np.array([[0, 1, 2**64 - 1]], dtype=np.uint64), ValueError, "in face 0"),
        (None, TypeError, "integers"),
    ],
)
def test_bad_faces(faces, error, text):
    with refuses(error, "faces", text):
        Mesh(TRIANGLE, faces)
