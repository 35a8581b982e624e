"""What networks read from a surface: products, means, gradients, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from scipy.linalg import eigvals
from scipy.sparse import csr_array

from gdl.geodesics._sparse import SparseMatrix
from gdl.geodesics.laplacian import cotan_laplacian, vertex_areas
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.operators import SurfaceOperators
from gdl.geodesics.spectrum import eigenbasis
from gdl.geodesics.surfaces import icosphere
from tests.geodesics.network_samples import (
    F64,
    both_dtypes,
    mesh_of,
    random,
    refuses,
    relative,
    surface_of,
)

every_surface = pytest.mark.parametrize("name", ["bumpy", "sphere", "torus", "flat", "folded"])
TOLERANCE = {torch.float32: 1e-5, F64: 1e-12}


def sparse(rows: int, columns: int, dtype: torch.dtype = F64) -> tuple[SparseMatrix, torch.Tensor]:
    """A matrix with an empty row and an empty column, and the same dense."""
    dense = random(rows, columns) * (random(rows, columns, seed=1) > 0.5)
    dense[1], dense[:, 2] = 0, 0
    return SparseMatrix(csr_array(dense.numpy()), dtype, torch.device("cpu")), dense.to(dtype)


@both_dtypes
def test_the_sparse_product_is_the_dense_one(dtype):
    matrix, dense = sparse(6, 9, dtype)
    x = random(9, 4, dtype=dtype)
    assert relative(matrix.times(x), dense @ x) < TOLERANCE[dtype]
    assert relative(matrix.times(x.T.contiguous().T), dense @ x) < TOLERANCE[dtype]


def test_the_sparse_product_has_derivatives():
    matrix, _ = sparse(6, 9)
    x = random(9, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: matrix.times(x), x)
    assert torch.autograd.gradgradcheck(lambda x: (matrix.times(x)) ** 3, x)


@every_surface
def test_the_fields_are_those_of_the_mesh(name):
    mesh, surface = mesh_of(name), surface_of(name)
    assert relative(surface.areas, vertex_areas(mesh)) < 1e-14
    f = random(surface.num_vertices, 3)
    applied = torch.from_numpy(cotan_laplacian(mesh) @ f.numpy()) / vertex_areas(mesh)[:, None]
    assert relative(surface.apply_laplacian(f), applied) < 1e-12
    assert relative(surface.synthesise(surface.project(surface.vectors)), surface.vectors) < 1e-12
    mean = (vertex_areas(mesh)[:, None] * f).sum(0) / mesh.area
    assert relative(surface.mean(f), mean) < 1e-12


@every_surface
def test_gradients_are_those_in_space(name):
    mesh, surface = mesh_of(name), surface_of(name)
    slope = random(3, 4)
    z = surface.gradient(mesh.vertices @ slope)
    normals = mesh.face_normals
    tangent = slope - normals[:, :, None] * (normals @ slope)[:, None]
    assert z.is_complex() and z.shape == (mesh.num_faces, 4)
    assert relative(z.abs(), tangent.norm(dim=1)) < 1e-12
    # The angle from one gradient to another is counter-clockwise about the normal.
    turn = torch.linalg.cross(tangent[..., 0], tangent[..., 1])
    assert relative((z[:, 0].conj() * z[:, 1]).imag, (turn * normals).sum(1)) < 1e-12


@every_surface
def test_the_energy_of_the_gradients_is_that_of_the_laplacian(name):
    surface = surface_of(name)
    f = random(surface.num_vertices, 1)
    density = surface.gradient(f).abs().square()
    energy = (f * surface.areas[:, None] * surface.apply_laplacian(f)).sum()
    assert abs((surface.face_areas[:, None] * density).sum() / energy - 1) < 1e-12
    # Averages at the vertices keep the integral.
    assert abs(surface.areas @ surface.to_vertices(density) / energy - 1) < 1e-12


def test_averages_by_hand():
    square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 3, 0]], [[0, 1, 2], [0, 2, 3]])
    surface = SurfaceOperators.from_mesh(square, 2)
    on_faces = torch.tensor([[1.0], [5.0]], dtype=F64)
    # Areas 1/2 and 3/2.
    expected = torch.tensor([[4.0], [1.0], [4.0], [5.0]], dtype=F64)
    assert relative(surface.to_vertices(on_faces), expected) < 1e-14
    at_vertices = torch.tensor([[3.0], [6.0], [0.0], [9.0]], dtype=F64)
    assert surface.to_faces(at_vertices).flatten().tolist() == pytest.approx([3, 4])


@every_surface
def test_the_bound_bounds_the_spectrum(name):
    surface, mesh = surface_of(name), mesh_of(name)
    dense = cotan_laplacian(mesh).toarray() / vertex_areas(mesh).numpy()[:, None]
    top = eigvals(dense).real.max()
    assert top <= surface.spectral_bound < 3 * top


@both_dtypes
def test_casts_and_copies(dtype):
    surface = surface_of("torus", dtype=dtype)
    f = random(surface.num_vertices, 2, dtype=dtype)
    assert surface.dtype == dtype and surface.areas.dtype == dtype
    out = surface.apply_laplacian(f)
    assert out.dtype == dtype
    for twin in (copy.deepcopy(surface), pickle.loads(pickle.dumps(surface)), surface.to()):
        assert torch.equal(twin.apply_laplacian(f), out)
    exact = surface_of("torus").apply_laplacian(f.double())
    assert relative(surface.to(dtype=F64).apply_laplacian(f.double()), exact) < 1e-14


def test_a_surface_on_the_meta_device():
    surface = surface_of("torus").to(device="meta")
    f = torch.empty(surface.num_vertices, 3, dtype=F64, device="meta")
    assert surface.project(f).shape == (20, 3) and surface.areas.is_meta


@pytest.mark.parametrize(
    ("radius", "dtype"),
    [
        (1e20, torch.float32),
        (1e-20, torch.float32),
        (1e3, torch.float16),
        (1e-2, torch.float16),
        (1e20, torch.bfloat16),
    ],
    ids=str,
)
def test_a_surface_out_of_the_range_of_the_dtype_is_refused(radius, dtype):
    exact = SurfaceOperators.from_mesh(icosphere(1, radius), 4)
    f = random(42, 2)
    assert relative(exact.mean(f), SurfaceOperators.from_mesh(icosphere(1), 4).mean(f)) < 1e-12
    with refuses(ValueError, "face_areas"):
        exact.to(dtype=dtype)
    with refuses(ValueError, "face_areas"):
        exact.to(dtype=dtype, device="meta")
    near = SurfaceOperators.from_mesh(icosphere(1, radius**0.5), 4).to(dtype=dtype)
    assert relative(near.mean(f.to(dtype)).double(), exact.mean(f)) < 0.05
    assert near.apply_laplacian(f.to(dtype)).isfinite().all()


@pytest.mark.parametrize(("name", "size"), [("laplacian", 1e39), ("gradients", 1e39)])
def test_entries_out_of_the_range_of_the_dtype_are_refused(name, size):
    small = SurfaceOperators.from_mesh(mesh_of("torus"), 1)
    # Constants stay in the kernel of a multiple of the Laplacian.
    large = dataclasses.replace(small, **{name: size * getattr(small, name)})
    with refuses(ValueError, name):
        large.to(dtype=torch.float32)


def test_half_precision_has_gradients_in_parts():
    surface, f = S.to(dtype=torch.bfloat16), random(N, 2)
    assert relative(surface.gradient_parts(f.bfloat16()).double(), S.gradient_parts(f)) < 0.02
    with refuses(TypeError, "f"):
        surface.gradient(f.bfloat16())


def test_another_basis_may_be_given():
    mesh = mesh_of("bumpy")
    surface = SurfaceOperators.from_basis(mesh, eigenbasis(mesh, 7))
    assert surface.num_modes == 7
    assert repr(surface) == "SurfaceOperators(162 vertices, 320 faces, 7 modes, torch.float64)"


def test_the_basis_of_another_surface_is_refused():
    mesh = mesh_of("bumpy")
    with refuses(ValueError, "vectors"):
        SurfaceOperators.from_basis(mesh, eigenbasis(mesh_of("sphere"), 7))
    with refuses(ValueError, "vectors"):
        SurfaceOperators.from_basis(mesh, eigenbasis(mesh, 7, lumped=False))
    with refuses(ValueError, "faces"):
        SurfaceOperators.from_basis(mesh, eigenbasis(mesh_of("torus"), 7))
    order = torch.randperm(162, generator=torch.Generator().manual_seed(0))
    with refuses(ValueError, "vectors"):
        SurfaceOperators.from_basis(mesh, eigenbasis(mesh.permuted(order), 7))


def fields(surface: SurfaceOperators) -> dict:
    return {
        field.name: getattr(surface, field.name)
        for field in dataclasses.fields(surface)
        if field.init
    }


S = surface_of("torus", 5)
N, M = S.num_vertices, S.num_faces
BAD_FIELDS = [
    ("values", S.values[:4], ValueError),
    ("values", S.values.float(), TypeError),
    ("values", S.values.numpy(), TypeError),
    ("values", S.values.clone().fill_(torch.nan), ValueError),
    ("vectors", S.vectors.numpy(), TypeError),
    ("vectors", S.vectors[:, 0], ValueError),
    ("vectors", S.vectors[None], ValueError),
    ("vectors", S.vectors * torch.nan, ValueError),
    ("vectors", S.vectors * 1.01, ValueError),
    ("vectors", S.vectors.flip(1), ValueError),
    ("faces", S.faces.float(), TypeError),
    ("faces", S.faces[:, :2], ValueError),
    ("faces", S.faces + 1, ValueError),
    ("faces", S.faces - 1, ValueError),
    ("face_areas", S.face_areas.float(), TypeError),
    ("face_areas", S.face_areas[1:], ValueError),
    ("face_areas", -S.face_areas, ValueError),
    ("face_areas", S.face_areas * torch.nan, ValueError),
    ("laplacian", S.laplacian.toarray(), TypeError),
    ("laplacian", S.laplacian[1:], ValueError),
    ("laplacian", S.laplacian * np.nan, ValueError),
    ("gradients", S.gradients.toarray(), TypeError),
    ("gradients", S.gradients[:, 1:], ValueError),
]


@pytest.mark.parametrize(
    ("name", "value", "error"), BAD_FIELDS, ids=[f"{b[0]}{i}" for i, b in enumerate(BAD_FIELDS)]
)
def test_bad_fields_are_refused(name, value, error):
    with refuses(error, name):
        SurfaceOperators(**fields(S) | {name: value})


def test_a_vertex_without_a_face_is_refused():
    loose = fields(S) | {"faces": S.faces.where(S.faces != 3, S.faces.roll(1, 1))}
    with refuses(ValueError, "faces"):
        SurfaceOperators(**loose)


def test_no_modes_are_refused():
    with refuses(ValueError, "values"):
        SurfaceOperators(**fields(S) | {"values": S.values[:0], "vectors": S.vectors[:, :0]})


@pytest.mark.parametrize(
    ("call", "argument", "error"),
    [
        (lambda: SurfaceOperators.from_mesh(S, 3), "mesh", TypeError),
        (
            lambda: SurfaceOperators.from_basis(S, eigenbasis(mesh_of("torus"), 3)),
            "mesh",
            TypeError,
        ),
        (lambda: SurfaceOperators.from_basis(mesh_of("torus"), S), "basis", TypeError),
        (lambda: SurfaceOperators.from_mesh(mesh_of("torus"), N + 1), "k", ValueError),
        (lambda: SurfaceOperators.from_mesh(mesh_of("torus"), 2.0), "k", TypeError),
        (lambda: S.to(dtype=torch.int64), "dtype", TypeError),
        (lambda: S.project(random(N)), "f", ValueError),
        (lambda: S.project(random(N + 1, 2)), "f", ValueError),
        (lambda: S.project(random(N, 2).float()), "f", TypeError),
        (lambda: S.project(random(N, 2).numpy()), "f", TypeError),
        (lambda: S.mean(random(N, 2).to("meta")), "f", ValueError),
        (lambda: S.synthesise(random(4, 2)), "coefficients", ValueError),
        (lambda: S.to_vertices(random(N, 2)), "values", ValueError),
        (lambda: S.to_faces(random(M, 2)), "f", ValueError),
        (lambda: S.gradient(random(M, 2)), "f", ValueError),
    ],
)
def test_bad_calls_are_refused(call, argument, error):
    with refuses(error, argument):
        call()
