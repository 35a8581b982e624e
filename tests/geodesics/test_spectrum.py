"""Eigenbases against dense solvers, the sphere, and the symmetries of the icosahedron."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from scipy.sparse import csr_array

from gdl.geodesics import _lanczos, spectrum
from gdl.geodesics._lanczos import smallest_eigenpairs
from gdl.geodesics.laplacian import cotan_laplacian, mass_matrix
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.spectrum import Eigenbasis, eigenbasis
from gdl.geometry import random_rotations
from tests.geodesics.sample_meshes import (
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

ICOSAHEDRAL = [1, 3, 5, 4, 3, 4, 5, 5, 3, 3]
both_masses = pytest.mark.parametrize("lumped", [True, False])


def errors(mesh: Mesh, basis: Eigenbasis) -> tuple[float, float]:
    """How far the vectors are from orthonormal, and from eigenvectors, relatively."""
    Phi, values = basis.vectors.numpy(), basis.values.numpy()
    weighted = basis.mass @ Phi
    off = np.abs(Phi.T @ weighted - np.eye(len(values))).max()
    L = cotan_laplacian(mesh)
    left = np.linalg.norm(L @ Phi - weighted * values, axis=0) / np.linalg.norm(weighted, axis=0)
    return off, float(left.max() / (values.max() + 1 / mesh.area))


def dense(mesh: Mesh, lumped: bool = True) -> np.ndarray:
    """All eigenvalues, by LAPACK."""
    matrices = cotan_laplacian(mesh).toarray(), mass_matrix(mesh, lumped=lumped).toarray()
    return eigh(*matrices, eigvals_only=True)


@pytest.fixture(scope="module")
def big() -> dict[str, tuple[Mesh, np.ndarray]]:
    """Meshes of more vertices than the dense route takes by itself, and their spectra."""
    stretched = sphere(3)
    stretched = stretched.with_vertices(stretched.vertices * torch.tensor([1.0, 2.0, 5.0]))
    meshes = {"sphere": sphere(3), "ellipsoid": stretched, "terrain": terrain(700, 0, height=0.02)}
    return {name: (mesh, dense(mesh)) for name, mesh in meshes.items()}


# --- against dense matrices ---------------------------------------------------------------------


@both_masses
@pytest.mark.parametrize("name", list(MESHES))
def test_small_meshes_are_solved_whole(name, lumped):
    mesh = MESHES[name]
    for k in (1, 4, mesh.num_vertices):
        basis = eigenbasis(mesh, k, lumped=lumped)
        assert basis.values.shape == (k,) and basis.vectors.shape == (mesh.num_vertices, k)
        assert basis.values.dtype == basis.vectors.dtype == F64
        assert abs(basis.mass - mass_matrix(mesh, lumped=lumped)).max() == 0
        all_values = dense(mesh, lumped)
        np.testing.assert_allclose(basis.values, all_values[:k], atol=1e-11 * all_values[-1])
        assert max(errors(mesh, basis)) < 1e-11


@pytest.mark.parametrize("name", ["sphere", "ellipsoid", "terrain"])
@pytest.mark.parametrize("k", [1, 2, 3, 13, 14, 20, 31, 36, 80])
def test_iterations_miss_no_eigenvalue(big, name, k):
    mesh, all_values = big[name]
    assert k <= mesh.num_vertices // spectrum.SHARE and mesh.num_vertices > spectrum.DENSE
    basis = eigenbasis(mesh, k)
    np.testing.assert_allclose(basis.values, all_values[:k], rtol=1e-10, atol=1e-10)
    assert max(errors(mesh, basis)) < 1e-10


def test_iterations_in_the_full_mass(big):
    mesh, _ = big["sphere"]
    basis = eigenbasis(mesh, 40, lumped=False)
    np.testing.assert_allclose(basis.values, dense(mesh, lumped=False)[:40], rtol=1e-10, atol=1e-10)
    assert max(errors(mesh, basis)) < 1e-10


def test_both_routes_agree(big, monkeypatch):
    mesh, all_values = big["sphere"]
    first = eigenbasis(mesh, 36)
    monkeypatch.setattr(spectrum, "DENSE", mesh.num_vertices)
    monkeypatch.setattr(spectrum, "smallest_eigenpairs", None)
    second = eigenbasis(mesh, 36)
    np.testing.assert_allclose(first.values, second.values, rtol=1e-11, atol=1e-12)
    # 36 eigenvalues end with a cluster, so that the spaces are the same, and not only the values.
    overlap = second.project(first.vectors)
    torch.testing.assert_close(overlap.T @ overlap, torch.eye(36, dtype=F64), rtol=0, atol=1e-10)


def test_nearly_all_eigenvalues(big):
    mesh, all_values = big["sphere"]
    n = mesh.num_vertices
    basis = eigenbasis(mesh, n - 1)
    np.testing.assert_allclose(basis.values, all_values[:-1], atol=1e-11 * all_values[-1])
    assert max(errors(mesh, basis)) < 1e-11


@given(regular_terrains, st.floats(1e-6, 1e6), st.booleans())
@settings(deadline=None, max_examples=30)
def test_scale_divides_eigenvalues_by_its_square(mesh, scale, lumped):
    k = mesh.num_vertices
    here = eigenbasis(mesh, k, lumped=lumped)
    there = eigenbasis(mesh.with_vertices(mesh.vertices * scale), k, lumped=lumped)
    top = float(here.values[-1])
    torch.testing.assert_close(there.values * scale**2, here.values, rtol=0, atol=1e-9 * top)
    assert max(errors(mesh, here)) < 1e-10
    assert float(here.values[0]) == 0 and bool((here.values[1:] > 0).all())


@pytest.mark.parametrize("scale", [1e-80, 1e80])
def test_sizes_far_from_one(big, scale):
    mesh, all_values = big["sphere"]
    basis = eigenbasis(mesh.with_vertices(mesh.vertices * scale), 20)
    np.testing.assert_allclose(basis.values * scale**2, all_values[:20], rtol=1e-9, atol=1e-9)


def test_the_same_mesh_gives_the_same_vectors(big):
    mesh, _ = big["sphere"]
    first, second = eigenbasis(mesh, 20), eigenbasis(mesh, 20)
    assert torch.equal(first.vectors, second.vectors)


def test_renumbering_permutes_eigenspaces(big):
    mesh, _ = big["ellipsoid"]
    p = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(0))
    here, there = eigenbasis(mesh, 30), eigenbasis(mesh.permuted(p), 30)
    torch.testing.assert_close(here.values, there.values, rtol=1e-10, atol=1e-12)
    f = torch.randn(mesh.num_vertices, dtype=F64, generator=torch.Generator().manual_seed(1))
    moved = torch.empty_like(f)
    moved[p] = f
    smoothed = here.synthesise(torch.exp(-here.values) * here.project(f))
    elsewhere = there.synthesise(torch.exp(-there.values) * there.project(moved))
    torch.testing.assert_close(elsewhere[p], smoothed, rtol=0, atol=1e-9)


# --- the sphere ---------------------------------------------------------------------------------


def sphere_errors(level: int) -> np.ndarray:
    """Relative errors of the eigenvalues l (l + 1), l = 1 to 5, with their multiplicities."""
    exact = np.repeat([l * (l + 1) for l in range(6)], [2 * l + 1 for l in range(6)])
    return np.abs(eigenbasis(sphere(level), 36).values.numpy() - exact)[1:] / exact[1:]


def test_the_spectrum_of_the_sphere_converges_quadratically():
    coarse, middle, fine = (sphere_errors(level).max() for level in (2, 3, 4))
    sizes = [sphere(level).mean_edge_length for level in (2, 3, 4)]
    assert fine < 0.012
    assert 1.8 < math.log(coarse / middle) / math.log(sizes[0] / sizes[1]) < 2.2
    assert 1.8 < math.log(middle / fine) / math.log(sizes[1] / sizes[2]) < 2.2


@pytest.mark.parametrize("level", [3, 4])
def test_the_icosahedron_splits_the_eigenvalues_of_the_sphere(level):
    basis = eigenbasis(sphere(level), 36)
    assert basis.clusters(1e-8) == ICOSAHEDRAL
    assert basis.clusters(0.05) == [1, 3, 5, 7, 9, 11]


def test_noise_splits_every_cluster():
    mesh = sphere(2)
    noise = torch.randn(mesh.num_vertices, 1, dtype=F64, generator=torch.Generator().manual_seed(0))
    basis = eigenbasis(mesh.with_vertices(mesh.vertices * (1 + 0.01 * noise)), 36)
    assert basis.clusters(1e-8) == [1] * 36


# --- boundaries and components ------------------------------------------------------------------


def test_a_flat_rectangle_has_cosines():
    rows, columns, sides = 31, 21, (1.5, 1.0)
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    points = np.stack([i * sides[0] / (rows - 1), j * sides[1] / (columns - 1), 0.0 * i], -1)
    corner = (i * columns + j)[:-1, :-1].flatten()
    below, beside, across = corner + columns, corner + 1, corner + columns + 1
    faces = np.concatenate(
        [np.stack([corner, below, across], 1), np.stack([corner, across, beside], 1)]
    )
    values = eigenbasis(Mesh(points.reshape(-1, 3), faces), 10).values
    a, b = np.meshgrid(np.arange(9), np.arange(9))
    exact = np.sort((math.pi**2 * ((a / sides[0]) ** 2 + (b / sides[1]) ** 2)).flatten())[:10]
    np.testing.assert_allclose(values, exact, rtol=0.01, atol=1e-12)


@pytest.mark.parametrize(
    "parts",
    [
        [tetrahedron()] * 3,
        [sphere(3), sphere(3)],
        [sphere(3), tetrahedron(), torus(), strip(9, 1)],
        [sphere(1)] * 40,
    ],
    ids=["small", "two", "mixed", "forty"],
)
def test_components_have_spectra_of_their_own(parts):
    mesh = together(*parts)
    each = np.sort(np.concatenate([dense(part) for part in parts]))
    for k in (1, len(parts), min(60, mesh.num_vertices)):
        basis = eigenbasis(mesh, k)
        np.testing.assert_allclose(basis.values, each[:k], rtol=1e-9, atol=1e-9)
        assert int((basis.values == 0).sum()) == min(k, len(parts))
        assert max(errors(mesh, basis)) < 1e-10
        on = (basis.vectors.abs() > 1e-9).double()
        touched = torch.zeros(len(parts), k, dtype=F64).index_add(0, mesh.component, on) > 0
        assert bool((touched.sum(0) == 1).all())


def test_components_in_any_order():
    mesh = together(sphere(1), tetrahedron())
    p = torch.randperm(mesh.num_vertices, generator=torch.Generator().manual_seed(0))
    expected = eigenbasis(mesh, 20).values
    torch.testing.assert_close(
        eigenbasis(mesh.permuted(p), 20).values, expected, rtol=1e-10, atol=1e-10
    )


def test_a_surface_without_sides_or_manifold():
    crowded = Mesh(
        [[0, 0, 0], [0, 0, 2], [1, 0, 1], [-1, 1, 1], [-1, -1, 1]],
        [[0, 1, 2], [0, 1, 3], [1, 0, 4]],
    )
    for mesh in (crowded, strip(9, 1)):
        assert max(errors(mesh, eigenbasis(mesh, 5))) < 1e-12


def star(copies: int) -> Mesh:
    """Rotated spheres that share one vertex: eigenvalues are copied as often as that."""
    body = sphere(2)
    n, R = body.num_vertices, random_rotations(copies, seed=0)
    arms = (body.vertices[1:] - body.vertices[0]) @ R.mT
    faces = [torch.where(body.faces > 0, body.faces + i * (n - 1), 0) for i in range(copies)]
    return Mesh(torch.cat([torch.zeros(1, 3), arms.flatten(0, 1)]), torch.cat(faces))


@pytest.mark.parametrize("k", [10, 20, 40, 41])
def test_spheres_that_share_a_vertex(k):
    mesh = star(5)
    basis = eigenbasis(mesh, k)
    np.testing.assert_allclose(basis.values, dense(mesh)[:k], rtol=1e-9, atol=1e-9)
    assert max(errors(mesh, basis)) < 1e-10


# --- block Lanczos ------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 7, 8, 9, 17, 33])
def test_copies_of_an_eigenvalue_are_all_found(copies):
    n, k = 600, 40
    values = np.repeat(np.arange(n // copies + 1) ** 2.0, copies)[:n]
    identity = csr_array(np.eye(n))
    shuffled = np.random.default_rng(0).permutation(n)
    found, vectors = smallest_eigenpairs(csr_array(np.diag(values[shuffled])), identity, k)
    np.testing.assert_allclose(found, values[:k], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(k), atol=1e-12)


def test_a_space_that_is_exhausted_goes_on():
    # Three different eigenvalues: the blocks after the third are made of rounding.
    n = 100
    values = np.repeat([1.0, 2.0, 5.0], [8, 8, n - 16])
    found, vectors = smallest_eigenpairs(csr_array(np.diag(values)), csr_array(np.eye(n)), 30)
    np.testing.assert_allclose(found, values[:30], rtol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(30), atol=1e-12)


def test_no_convergence_is_an_error(big, monkeypatch):
    monkeypatch.setattr(_lanczos, "RESIDUAL", -1.0)
    with pytest.raises(RuntimeError, match=r"^eigenbasis: 5 eigenvalues did not converge"):
        eigenbasis(big["sphere"][0], 5)


# --- projections and clusters -------------------------------------------------------------------


@both_masses
def test_a_whole_basis_gives_functions_back(lumped):
    mesh = sphere(1)
    basis = eigenbasis(mesh, mesh.num_vertices, lumped=lumped)
    f = torch.randn(mesh.num_vertices, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    c = basis.project(f)
    torch.testing.assert_close(basis.synthesise(c), f, rtol=0, atol=1e-12)
    torch.testing.assert_close(basis.project(f[:, 0]), c[:, 0], rtol=0, atol=1e-14)
    torch.testing.assert_close(basis.synthesise(c[:, 0]), f[:, 0], rtol=0, atol=1e-12)
    energy = torch.from_numpy(f.numpy().T @ (basis.mass @ f.numpy()))
    torch.testing.assert_close(c.T @ c, energy, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_projections_keep_the_dtype_and_have_gradients(dtype):
    basis = eigenbasis(sphere(1), 6)
    f = torch.randn(42, 2, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    c = basis.project(f)
    g = basis.synthesise(c)
    assert c.dtype == g.dtype == dtype and c.shape == (6, 2)
    (g**2).sum().backward()
    weighted = torch.from_numpy(basis.mass @ basis.vectors.numpy())
    projector = basis.vectors @ weighted.T
    expected = 2 * projector.T @ projector @ f.detach().double()
    torch.testing.assert_close(f.grad.double(), expected, rtol=0, atol=1e-5)


def test_clusters_of_given_values():
    def clusters(values, tolerance):
        values = torch.tensor(values, dtype=F64)
        return Eigenbasis(values, torch.eye(len(values), dtype=F64), None).clusters(tolerance)

    assert clusters([0.0, 0.0, 1.0, 1.05, 2.0], 0.1) == [2, 2, 1]
    assert clusters([0.0, 0.0, 1.0, 1.05, 2.0], 0.01) == [2, 1, 1, 1]
    assert clusters([0.0, 1e-9, 1.0], 0.5) == [1, 1, 1]
    assert clusters([0.0], 0) == [1] and clusters([1.0, 1.0], 0) == [2]


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"k": 0}, ValueError, "k: expected 1 to 4, got 0"),
        ({"k": 5}, ValueError, "k: expected 1 to 4, got 5"),
        ({"k": 2.0}, TypeError, "k: expected an int"),
        ({"lumped": 1}, TypeError, "lumped: expected True or False"),
        ({"mesh": "sphere"}, TypeError, "mesh: expected a Mesh, got str"),
    ],
)
def test_bad_arguments(arguments, error, text):
    with pytest.raises(error, match=f"^{text}"):
        eigenbasis(**{"mesh": tetrahedron(), "k": 2} | arguments)


def test_dense_matrices_are_refused_when_they_are_large(monkeypatch):
    monkeypatch.setattr(spectrum, "MOST_DENSE", 600)
    with pytest.raises(ValueError, match=r"^k: expected 1 to 80, got 81"):
        eigenbasis(sphere(3), 81)
    assert len(eigenbasis(together(sphere(2), sphere(2)), 324).values) == 324


def test_a_mesh_that_cannot_be_factorised_is_named():
    mesh = sphere(3)
    start, end = mesh.edges[0]
    vertices = mesh.vertices.clone()
    vertices[end] = vertices[start] + 1e-11 * (vertices[end] - vertices[start])
    with pytest.raises(ValueError, match=r"^mesh: expected faces of more similar sizes"):
        eigenbasis(mesh.with_vertices(vertices), 9)


def test_defects_are_named():
    points = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0]]
    with pytest.raises(ValueError, match=r"^mesh: expected no zero-area faces, got 1;"):
        eigenbasis(Mesh(points, [[0, 1, 2], [0, 1, 3]]), 2)
    with pytest.raises(ValueError, match=r"^mesh: expected no isolated vertices, got 3;"):
        eigenbasis(Mesh(points, [[0, 1, 2]]), 2)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (torch.zeros(5), ValueError, r"shape \({0},\) or \({0}, c\), got \(5,\)"),
        (torch.zeros(4, 2, 3), ValueError, r"got \(4, 2, 3\)"),
        (torch.zeros(3, dtype=torch.int64), TypeError, "int64"),
        (np.zeros(3), TypeError, "ndarray"),
        (torch.full((4,), float("nan")), ValueError, "finite"),
        (torch.zeros(4, device="meta"), ValueError, "on the CPU, got one on meta"),
    ],
)
def test_bad_functions(value, error, text):
    basis = eigenbasis(tetrahedron(), 4)
    for name, method in (("f", basis.project), ("c", basis.synthesise)):
        with pytest.raises(error, match=rf"^{name}: expected .*{text.format(4)}"):
            method(value)


@pytest.mark.parametrize(
    ("tolerance", "error"), [(-1.0, ValueError), (2.0, ValueError), ("0", TypeError)]
)
def test_bad_tolerances(tolerance, error):
    with pytest.raises(error, match="^tolerance: expected"):
        eigenbasis(tetrahedron(), 2).clusters(tolerance)
