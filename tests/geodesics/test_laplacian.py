"""Laplacian, mass, gradient and divergence against libigl, robust_laplacian and closed forms."""

from __future__ import annotations

import igl
import numpy as np
import pytest
import robust_laplacian
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, diags_array

from gdl.geodesics.laplacian import (
    cotan_laplacian,
    divergence,
    gradient,
    intrinsic_gradient,
    mass_matrix,
    vertex_areas,
)
from gdl.geodesics.mesh import Mesh
from tests.geodesics.sample_meshes import (
    F64,
    MESHES,
    is_regular,
    regular_terrains,
    sphere,
    strip,
    terrain,
    tetrahedron,
    torus,
)


def cap() -> Mesh:
    """A part of a sphere; its triangles are acute, at the boundary too."""
    mesh = sphere(3)
    above = mesh.vertices[mesh.faces][..., 2].mean(1) > 0.3
    return Mesh(mesh.vertices, mesh.faces[above]).compact()


all_meshes = pytest.mark.parametrize("name", list(MESHES))
DELAUNAY = {
    "sphere": sphere(3),
    "torus": torus(),
    "cap": cap(),
    "tetrahedron": tetrahedron(),
}
FROM_MESH = [cotan_laplacian, mass_matrix, vertex_areas, gradient, divergence, intrinsic_gradient]


def arrays(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    return mesh.vertices.numpy(), mesh.faces.numpy()


def gap(a, b) -> float:
    """The largest difference of two matrices."""
    return float(abs(a - b).max())


def areas_of(mesh: Mesh, times: int = 1) -> csr_array:
    return diags_array(np.repeat(mesh.face_areas.numpy(), times))


# --- against peers ------------------------------------------------------------------------------


@all_meshes
def test_the_laplacian_is_that_of_libigl(name):
    mesh = MESHES[name]
    L = cotan_laplacian(mesh)
    assert isinstance(L, csr_array) and L.dtype == np.float64
    assert gap(L, -igl.cotmatrix(*arrays(mesh))) < 1e-12
    assert gap(L, L.T) == 0
    assert L.diagonal().min() > 0.1


@pytest.mark.parametrize("name", list(DELAUNAY))
def test_the_laplacian_is_the_robust_one_on_delaunay_meshes(name):
    L, M = robust_laplacian.mesh_laplacian(*arrays(DELAUNAY[name]), mollify_factor=0)
    assert gap(cotan_laplacian(DELAUNAY[name]), L) < 1e-12
    assert gap(mass_matrix(DELAUNAY[name]), M) < 1e-12


def test_the_robust_laplacian_turns_edges_that_are_not_delaunay():
    mesh = terrain(40, 0)
    theirs = robust_laplacian.mesh_laplacian(*arrays(mesh), mollify_factor=0)[0]
    assert gap(cotan_laplacian(mesh), theirs) > 0.1


@all_meshes
def test_the_mass_is_that_of_libigl(name):
    mesh = MESHES[name]
    for lumped, kind in (
        (True, igl.MASSMATRIX_TYPE_BARYCENTRIC),
        (False, igl.MASSMATRIX_TYPE_FULL),
    ):
        M = mass_matrix(mesh, lumped=lumped)
        assert isinstance(M, csr_array)
        assert gap(M, igl.massmatrix(*arrays(mesh), kind)) < 1e-14
        assert M.sum() == pytest.approx(mesh.area, rel=1e-13)
    assert np.array_equal(vertex_areas(mesh), mass_matrix(mesh).diagonal())


@all_meshes
def test_the_gradient_is_that_of_libigl(name):
    mesh = MESHES[name]
    by_axis = np.arange(3 * mesh.num_faces).reshape(-1, 3).T.flatten()
    assert gap(gradient(mesh)[by_axis], igl.grad(*arrays(mesh))) < 1e-12


# --- laws ---------------------------------------------------------------------------------------


@given(regular_terrains, st.floats(1e-3, 1e3))
@settings(deadline=None, max_examples=40)
def test_the_operators_fit_together(mesh, scale):
    mesh = mesh.with_vertices(mesh.vertices * scale)
    L, G, D, J = (
        operator(mesh) for operator in (cotan_laplacian, gradient, divergence, intrinsic_gradient)
    )
    size = abs(L).max()
    assert gap(-D @ G, L) < 1e-10 * size
    assert gap((J.conj().T @ areas_of(mesh) @ J).real, L) < 1e-10 * size
    assert gap(D, -(areas_of(mesh, 3) @ G).T) < 1e-12 * size * scale
    assert abs(L.sum(1)).max() < 1e-12 * size
    assert np.linalg.eigvalsh(L.toarray()).min() > -1e-12 * size


@all_meshes
def test_the_gradient_of_a_linear_function(name):
    mesh = MESHES[name]
    slope = torch.tensor([0.3, -1.1, 0.7], dtype=F64)
    found = (gradient(mesh) @ (mesh.vertices @ slope).numpy()).reshape(-1, 3)
    normals = mesh.face_normals
    expected = slope - (normals @ slope)[:, None] * normals
    np.testing.assert_allclose(found, expected, atol=1e-12)


@all_meshes
def test_a_field_flows_out_as_much_as_in(name):
    mesh = MESHES[name]
    X = np.random.default_rng(0).standard_normal(3 * mesh.num_faces)
    flow = divergence(mesh) @ X
    assert abs(flow.sum()) < 1e-11 and abs(flow).max() > 0.1


@all_meshes
def test_the_intrinsic_gradient_is_the_gradient_in_a_frame(name):
    mesh = MESHES[name]
    u = np.random.default_rng(0).standard_normal(mesh.num_vertices)
    found = torch.from_numpy(intrinsic_gradient(mesh) @ u)
    spatial = torch.from_numpy(gradient(mesh) @ u).reshape(-1, 3)
    start, end = mesh.vertices[mesh.faces[:, :2]].unbind(1)
    real = torch.nn.functional.normalize(end - start, dim=1)
    imaginary = torch.linalg.cross(mesh.face_normals, real)
    torch.testing.assert_close(found.real, (spatial * real).sum(1), rtol=0, atol=1e-11)
    torch.testing.assert_close(found.imag, (spatial * imaginary).sum(1), rtol=0, atol=1e-11)


def test_a_turned_face_mirrors_its_frame_only():
    mesh = tetrahedron()
    faces = mesh.faces.clone()
    faces[1] = faces[1][[1, 0, 2]]
    other = Mesh(mesh.vertices, faces)
    assert gap(cotan_laplacian(mesh), cotan_laplacian(other)) < 1e-15
    assert gap(gradient(mesh), gradient(other)) < 1e-15
    u = np.array([1.0, 2.0, 4.0, 8.0])
    here, there = intrinsic_gradient(mesh) @ u, intrinsic_gradient(other) @ u
    np.testing.assert_allclose(there[1], -here[1].conj(), atol=1e-14)
    np.testing.assert_allclose(there[[0, 2, 3]], here[[0, 2, 3]], atol=1e-14)


def test_the_full_mass_integrates_products_of_linear_functions():
    mesh = Mesh([[0, 0, 0], [2, 0, 0], [0, 3, 0]], [[0, 1, 2]])
    M = mass_matrix(mesh, lumped=False)
    x, y = mesh.vertices[:, 0].numpy(), mesh.vertices[:, 1].numpy()
    assert x @ M @ x == pytest.approx(2**3 * 3 / 12, rel=1e-14)
    assert x @ M @ y == pytest.approx((2 * 3) ** 2 / 24, rel=1e-14)
    assert x @ mass_matrix(mesh) @ y == 0


def test_isometric_surfaces_share_every_intrinsic_operator():
    flat = Mesh(
        [[0, 0, 0], [3, 0, 0], [0, 4, 0], [3, 4, 0], [0, 8, 0], [3, 8, 0]],
        [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]],
    )
    # The last two rows turn up by a right angle about the line between them and the rest.
    bent = flat.with_vertices([[0, 0, 0], [3, 0, 0], [0, 4, 0], [3, 4, 0], [0, 4, 4], [3, 4, 4]])
    for operator in (cotan_laplacian, mass_matrix, intrinsic_gradient):
        assert gap(operator(flat), operator(bent)) == 0
    assert gap(gradient(flat), gradient(bent)) > 0.1
    stretched = flat.with_vertices(flat.vertices * torch.tensor([1.0, 1.2, 1.0]))
    assert gap(cotan_laplacian(flat), cotan_laplacian(stretched)) > 0.1


@all_meshes
def test_renumbering_permutes_the_operators(name):
    mesh = MESHES[name]
    p = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(0))
    other = mesh.permuted(p)
    for operator in (cotan_laplacian, mass_matrix):
        assert gap(operator(other)[p.numpy()][:, p.numpy()], operator(mesh)) < 1e-13
    for operator in (gradient, intrinsic_gradient):
        assert gap(operator(other)[:, p.numpy()], operator(mesh)) < 1e-11


@pytest.mark.parametrize("scale", [1e-90, 1e90])
def test_sizes_far_from_one(scale):
    mesh = terrain(20, 0)
    scaled = mesh.with_vertices(mesh.vertices * scale)
    assert gap(cotan_laplacian(scaled), cotan_laplacian(mesh)) < 1e-11
    assert gap(mass_matrix(scaled) / scale**2, mass_matrix(mesh)) < 1e-13
    assert gap(gradient(scaled) * scale, gradient(mesh)) < 1e-10
    assert gap(intrinsic_gradient(scaled) * scale, intrinsic_gradient(mesh)) < 1e-10


def test_needles_are_exact():
    base = 1e-9
    needle = Mesh([[0, 0, 0], [1, base / 2, 0], [1, -base / 2, 0]], [[0, 1, 2]])
    L = cotan_laplacian(needle).toarray()
    assert L[1, 2] == pytest.approx(-1 / (2 * base), rel=1e-9, abs=0)
    assert L[0, 1:].tolist() == pytest.approx([-base / 4] * 2, rel=1e-9, abs=0)


# --- lengths without a surface in space ---------------------------------------------------------


# --- defects and bad input ----------------------------------------------------------------------


def test_neither_manifold_nor_orientation_is_needed():
    # Three triangles at one edge, one of them turned over.
    vertices = torch.tensor([[0, 0, 0], [0, 0, 2], [1, 0, 1], [-1, 1, 1], [-1, -1, 1]], dtype=F64)
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [1, 0, 4]])
    mesh = Mesh(vertices, faces)
    expected = np.zeros((5, 5))
    for face in faces:
        own = np.ix_(face, face)
        expected[own] += cotan_laplacian(Mesh(vertices[face], [[0, 1, 2]])).toarray()
    np.testing.assert_allclose(cotan_laplacian(mesh).toarray(), expected, atol=1e-14)
    assert gap(-divergence(mesh) @ gradient(mesh), expected) < 1e-14
    assert not mesh.is_manifold and not mesh.is_oriented
    assert not strip(9, 1).is_oriented and cotan_laplacian(strip(9, 1)).shape == (18, 18)


@pytest.mark.parametrize("operator", FROM_MESH)
def test_defects_are_named(operator):
    points = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]]
    with pytest.raises(ValueError, match=r"^mesh: expected no zero-area faces, got 1; remove"):
        operator(Mesh(points, [[0, 1, 2], [0, 1, 3]]))
    with pytest.raises(ValueError, match=r"^mesh: expected no isolated vertices, got 3; mesh.comp"):
        operator(Mesh(points, [[0, 1, 2]]))
    with pytest.raises(TypeError, match=r"^mesh: expected a Mesh, got ndarray"):
        operator(np.zeros((3, 3)))


@pytest.mark.parametrize("lumped", [1, None, "full"])
def test_lumped_is_a_bool(lumped):
    with pytest.raises(TypeError, match=r"^lumped: expected True or False"):
        mass_matrix(tetrahedron(), lumped=lumped)


def test_thick_triangles_are_told_from_thin_ones():
    assert is_regular(tetrahedron())
    assert not is_regular(Mesh([[0, 0, 0], [1, 0, 0], [0.5, 1e-3, 0]], [[0, 1, 2]]))
