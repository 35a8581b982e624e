"""Tangent fields: connection Laplacian, indices, smoothest fields, gradients, arrows in space."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gdl.gauges._hermitian import smallest_hermitian
from gdl.gauges.fields import (
    connection_laplacian,
    field_indices,
    smoothest_fields,
    to_space,
    vertex_gradient,
)
from gdl.gauges.frames import projected_gauge, tangent_frames, vertex_gauge
from gdl.gauges.graph import GaugedGraph, wrapped
from gdl.geodesics import (
    Creature,
    Mesh,
    angle_defects,
    bumpy_sphere,
    cotan_laplacian,
    flat_strip,
    icosphere,
    mass_matrix,
    random_angles,
    roughen,
    torus,
)
from tests.geodesics.sample_meshes import strip, terrain, together

F64, C128 = torch.float64, torch.complex128
MESHES = {
    "sphere": icosphere(2),
    "torus": torus(2.0, 0.7, 16, 8),
    "creature": Creature("horse").posed(random_angles(0)),
    "terrain": terrain(40, 0),
    "annulus": strip(9, 0),
    "two": together(icosphere(1), strip(7, 0)),
}
CLOSED = ["sphere", "torus", "creature"]
everywhere = pytest.mark.parametrize("name", list(MESHES))
orders = pytest.mark.parametrize("order", [0, 1, 2, 3, 4])


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = C128) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def dense_values(L, mesh: Mesh) -> np.ndarray:
    return scipy.linalg.eigh(L.toarray(), mass_matrix(mesh).toarray(), eigvals_only=True)


@cache
def sphere_values(level: int, order: int) -> Tensor:
    return smoothest_fields(icosphere(level), 6 * order + 9, order=order).values


class FlatTorus(Mesh):
    """A torus of right triangles, all of the same lengths, which lies in no space."""

    def __init__(self, columns: int, rows: int):
        solid, index = torus(2.0, 0.7, columns, rows), torch.arange(columns * rows)
        super().__init__(solid.vertices, solid.faces)
        place = torch.stack([index // rows, index % rows])
        step = (place[:, self.edges[:, 0]] - place[:, self.edges[:, 1]]).abs()
        size = torch.tensor([[columns], [rows]])
        self.__dict__["edge_lengths"] = torch.minimum(step, size - step).double().norm(dim=0)


# The connection Laplacian


@everywhere
@orders
def test_the_form_is_a_sum_over_edges(name, order):
    mesh = MESHES[name]
    graph, u = vertex_gauge(mesh), normal(MESHES[name].num_vertices)
    weights = -torch.from_numpy(cotan_laplacian(mesh).toarray())[graph.targets, graph.sources]
    carried = torch.exp(1j * order * graph.transports) * u[graph.sources]
    expected = (weights * (u[graph.targets] - carried).abs() ** 2).sum() / 2
    L = connection_laplacian(mesh, order=order)
    assert L.dtype == np.complex128 and abs(L - L.conj().T).max() == 0
    assert np.vdot(u.numpy(), L @ u.numpy()) == pytest.approx(float(expected), rel=1e-10)


@everywhere
def test_order_zero_is_the_laplacian_of_functions(name):
    L = connection_laplacian(MESHES[name], order=0)
    assert np.array_equal(L.toarray(), cotan_laplacian(MESHES[name]).toarray())


@everywhere
@orders
def test_turning_the_frames_changes_it_by_phases(name, order):
    mesh = MESHES[name]
    graph, by = vertex_gauge(mesh), 9 * normal(mesh.num_vertices, dtype=F64)
    before = connection_laplacian(mesh, graph, order=order).toarray()
    after = connection_laplacian(mesh, graph.turned(by), order=order).toarray()
    phase = torch.exp(1j * order * by).numpy()
    scale = np.abs(before).max()
    assert np.abs(after - phase.conj()[:, None] * before * phase).max() < 1e-12 * scale
    # The other sign is another law, unless the field is a function.
    gap = np.abs(after - phase[:, None] * before * phase.conj()).max()
    assert (gap > 0.1 * scale) == (order > 0)
    assert np.allclose(np.linalg.eigvalsh(before), np.linalg.eigvalsh(after), atol=1e-10 * scale)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_on_the_sphere_the_spectrum_is_known(order):
    degrees = torch.cat([torch.full((2 * d + 1,), float(d)) for d in range(order, order + 3)])
    exact = degrees * (degrees + 1) - order**2
    errors = [(sphere_values(level, order) - exact).abs() / exact for level in (2, 3, 4)]
    first = 2 * order + 1
    assert exact[:first].tolist() == [order] * first
    assert errors[-1].max() < 0.012
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 3.5 < float(coarse.max() / fine.max()) < 4.5
    gap = sphere_values(4, order)[[first - 1, first]]
    assert float(gap[0]) < order + 0.01 < order + 1 < float(gap[1])


def test_a_half_turn_too_few_at_each_edge_is_seen_in_the_spectrum():
    graph = vertex_gauge(icosphere(2))
    broken = replace(graph, transports=graph.transports + math.pi)
    assert smoothest_fields(icosphere(2), 1, graph=broken).values[0] > 10
    values = smoothest_fields(icosphere(2), 1, graph=broken, order=2).values
    assert values.tolist() == pytest.approx([2], rel=0.02)


@orders
def test_no_field_of_the_sphere_is_parallel_and_with_trivial_transport_one_is(order):
    mesh = icosphere(1)
    trivial = replace(vertex_gauge(mesh), transports=torch.zeros(2 * len(mesh.edges), dtype=F64))
    turned = trivial.turned(normal(mesh.num_vertices, dtype=F64))
    for graph in (trivial, turned):
        values = dense_values(connection_laplacian(mesh, graph, order=order), mesh)
        assert abs(values[0]) < 1e-12 < 0.1 < values[1]
    if order:
        assert dense_values(connection_laplacian(mesh, order=order), mesh)[0] > 0.8 * order


@pytest.mark.parametrize("order", [1, 4])
def test_on_a_flat_torus_fields_are_two_functions(order):
    mesh = FlatTorus(8, 6)
    found = dense_values(connection_laplacian(mesh, order=order), mesh)
    assert np.allclose(found, dense_values(cotan_laplacian(mesh), mesh), atol=1e-12)
    assert abs(found[0]) < 1e-12 < 0.1 < found[1]
    # A twist along one edge of every ring, which no frames undo.
    graph = vertex_gauge(mesh)
    column = torch.arange(mesh.num_vertices) // 6
    across = (column[graph.sources] == 7).double() * (column[graph.targets] == 0)
    back = (column[graph.sources] == 0).double() * (column[graph.targets] == 7)
    twisted = replace(graph, transports=graph.transports + 0.3 * (across - back))
    assert dense_values(connection_laplacian(mesh, twisted, order=order), mesh)[0] > 1e-3


def test_bad_triangles_can_make_it_indefinite():
    mesh = terrain(60, 1)
    assert dense_values(cotan_laplacian(mesh), mesh)[0] > -1e-10
    assert dense_values(connection_laplacian(mesh), mesh)[0] < -100


# Indices


@everywhere
@orders
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_indices_of_random_fields_add_up_to_the_euler_characteristic(name, order, seed):
    mesh = MESHES[name]
    u = normal(mesh.num_vertices, seed=seed)
    found = field_indices(mesh, None, u, order=order)
    assert found.dtype == torch.int64 and found.shape == (mesh.num_faces,)
    assert found.abs().sum() > 0
    expected = order * mesh.euler_characteristic + turns_against_the_boundary(mesh, u, order)
    assert int(found.sum()) == expected
    assert name not in CLOSED or expected == order * mesh.euler_characteristic


def turns_against_the_boundary(mesh: Mesh, u: Tensor, order: int) -> int:
    """Of a field whose frames begin along the boundary, with the surface on the left."""
    turning = order * angle_defects(mesh)
    on_boundary = {tuple(edge) for edge in mesh.boundary_edges.tolist()}
    sides = [
        (f[k], f[(k + 1) % 3])
        for f in mesh.faces.tolist()
        for k in range(3)
        if tuple(sorted((f[k], f[(k + 1) % 3]))) in on_boundary
    ]
    steps = [float(wrapped((u[b] / u[a]).angle() + turning[b]) - turning[b]) for a, b in sides]
    total = sum(steps) / (2 * math.pi)
    assert total == pytest.approx(round(total), abs=1e-9)
    return round(total)


@everywhere
@orders
def test_indices_do_not_see_the_frames(name, order):
    mesh = MESHES[name]
    graph, u = vertex_gauge(mesh), normal(mesh.num_vertices)
    by = 9 * normal(mesh.num_vertices, seed=1, dtype=F64)
    before = field_indices(mesh, graph, u, order=order)
    after = field_indices(mesh, graph.turned(by), u * torch.exp(-1j * order * by), order=order)
    assert torch.equal(before, after)
    wrong = field_indices(mesh, graph.turned(by), u * torch.exp(1j * order * by), order=order)
    assert torch.equal(before, wrong) == (order == 0)


@given(st.integers(0, 10**6), st.integers(1, 5))
@settings(deadline=None, max_examples=25)
def test_hairy_ball(seed, order):
    mesh = icosphere(1)
    u = normal(mesh.num_vertices, seed=seed)
    assert int(field_indices(mesh, None, u, order=order).sum()) == 2 * order
    noisy = roughen(mesh, 0.2, 0)
    assert int(field_indices(noisy, None, u, order=order).sum()) == 2 * order


def test_zeros_of_known_fields_lie_where_they_should():
    mesh = icosphere(3)
    axis = torch.tensor([0.3, -0.5, 0.7], dtype=F64)
    centres = mesh.vertices[mesh.faces].mean(1) @ (axis / axis.norm())
    arrows = torch.linalg.cross(axis.expand_as(mesh.vertices), mesh.vertices)
    turning = torch.view_as_complex(torch.einsum("nx,nkx->nk", arrows, tangent_frames(mesh)))
    saddles = mesh.vertices.prod(1) + 0.1 * mesh.vertices @ axis
    for u in (turning, vertex_gradient(mesh, mesh.vertices @ axis)):
        found = field_indices(mesh, None, u)
        assert found[found != 0].tolist() == [1, 1]
        assert centres[found != 0].abs().min() > 0.99
    # Eight hills and valleys, less six saddles.
    found = field_indices(mesh, None, vertex_gradient(mesh, saddles))
    assert sorted(found[found != 0].tolist()) == [-1] * 6 + [1] * 8


def test_a_constant_field_of_a_flat_torus_has_no_zeros():
    mesh = FlatTorus(8, 6)
    u = smoothest_fields(mesh, 1).fields[:, 0]
    assert not field_indices(mesh, None, u).any()
    assert field_indices(mesh, None, normal(48)).any()


@pytest.mark.parametrize("name", CLOSED)
def test_the_connection_of_the_surface_in_space_has_the_same_sum(name):
    mesh = MESHES[name]
    graph, u = projected_gauge(mesh), normal(mesh.num_vertices)
    for order in (1, 2, 4):
        found = field_indices(mesh, graph, u, order=order)
        assert int(found.sum()) == order * mesh.euler_characteristic


@pytest.mark.parametrize("order", [1, 8, 64])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_connection_of_other_curvature_has_the_same_sum(order, seed):
    mesh = icosphere(2)
    graph = vertex_gauge(mesh)
    forward = graph.sources < graph.targets
    small = 0.1 * normal(len(mesh.edges), dtype=F64)
    extra = torch.zeros(graph.num_edges, dtype=F64)
    extra[forward] = small
    back = graph.walk(torch.stack([graph.targets, graph.sources], 1)[forward])[:, 0]
    extra[back] = -small
    other = replace(graph, transports=graph.transports + extra)
    field = normal(mesh.num_vertices, seed=seed)
    assert int(field_indices(mesh, other, field, order=order).sum()) == 2 * order


PILLOW = Mesh([[0, 0, 0], [1, 0, 0], [0.3, 1, 0]], [[0, 1, 2], [0, 2, 1]])


@orders
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_face_may_be_curved_by_a_turn(order, seed):
    """As an angle, the curvature of each side of a pillow is 0."""
    field = normal(3, seed=seed)
    assert int(field_indices(PILLOW, None, field, order=order).sum()) == 2 * order


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_trivial_transport_the_sum_is_that_of_a_parallel_field(seed, order):
    mesh = icosphere(2)
    graph = vertex_gauge(mesh)
    flat = replace(graph, transports=0 * graph.transports)
    parallel = torch.ones(mesh.num_vertices, dtype=C128)
    assert not field_indices(mesh, flat, parallel, order=order).any()
    random = normal(mesh.num_vertices, seed=seed)
    assert int(field_indices(mesh, flat, random, order=order).sum()) == 0


# Smoothest fields


@pytest.mark.parametrize("order", [0, 1, 2, 4])
@pytest.mark.parametrize("name", ["torus", "creature", "rough", "two"])
def test_they_are_the_first_eigenvectors(name, order):
    mesh = {"rough": terrain(400, 1), "two": together(icosphere(2), icosphere(2))}.get(name)
    mesh = MESHES[name] if mesh is None else mesh
    found = smoothest_fields(mesh, 12, order=order)
    L, M = connection_laplacian(mesh, order=order), mass_matrix(mesh)
    U, exact = found.fields.numpy(), dense_values(L, mesh)[:12]
    assert np.abs(U.conj().T @ (M @ U) - np.eye(12)).max() < 1e-10
    assert np.allclose(found.values, exact, atol=1e-8 * np.abs(exact).max(), rtol=0)
    residual = L @ U - M @ U * found.values.numpy()
    assert np.abs(residual).max() < 1e-8 * abs(L).max() * np.abs(U).max()


@pytest.mark.parametrize("k", [1, 2, 3, 8, 20])
def test_multiple_values_are_found_as_often_as_they_occur(k):
    mesh = icosphere(3)
    L, M = connection_laplacian(mesh, order=2), mass_matrix(mesh)
    found = smallest_hermitian(L, M, k)[0]
    assert np.allclose(found, dense_values(L, mesh)[:k], atol=1e-8)


def test_they_are_the_same_again_and_in_other_frames():
    mesh = icosphere(3)
    first, again = (smoothest_fields(mesh, 3) for _ in range(2))
    assert torch.equal(first.fields, again.fields)
    by = normal(mesh.num_vertices, dtype=F64)
    other = smoothest_fields(mesh, 3, graph=vertex_gauge(mesh).turned(by))
    # The three span the same space.
    mass = torch.from_numpy(mass_matrix(mesh).diagonal())[:, None]
    back = other.fields * torch.exp(1j * by)[:, None]
    inner = first.fields.mH @ (mass * back)
    assert torch.allclose(inner @ inner.mH, torch.eye(3, dtype=C128), atol=1e-9)


@pytest.mark.parametrize(("order", "name", "zeros"), [
    (1, "sphere", [1, 1]), (2, "sphere", [1] * 4), (4, "sphere", [1] * 8), (1, "torus", []),
])  # fmt: skip
def test_smoothest_fields_have_no_more_zeros_than_they_must(order, name, zeros):
    mesh = {"sphere": bumpy_sphere(3, 0.2, 0), "torus": torus(2.0, 0.7, 24, 12)}[name]
    u = smoothest_fields(mesh, 1, order=order).fields[:, 0]
    found = field_indices(mesh, None, u, order=order)
    assert found[found != 0].tolist() == zeros


# Gradients and arrows


def sphere_gradients(points: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Polynomials and their gradients along the unit sphere."""
    x, y, z = points.unbind(1)
    zero = torch.zeros_like(x)
    found = {
        "z": (z, torch.stack([zero, zero, zero + 1], 1)),
        "xy": (x * y, torch.stack([y, x, zero], 1)),
        "xyz": (x * y * z, torch.stack([y * z, x * z, x * y], 1)),
    }
    along = {k: (g * points).sum(1, keepdim=True) * points for k, (_, g) in found.items()}
    return {k: (f, g - along[k]) for k, (f, g) in found.items()}


@pytest.mark.parametrize("name", ["z", "xy", "xyz"])
def test_gradients_converge_on_the_sphere(name):
    errors = []
    for level in (2, 3, 4):
        mesh = icosphere(level)
        f, exact = sphere_gradients(mesh.vertices)[name]
        found = to_space(mesh, vertex_gradient(mesh, f))
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[2] < 0.012
    assert all(coarse / fine > 2 for coarse, fine in zip(errors, errors[1:], strict=False))


def test_the_gradient_of_a_height_has_the_least_energy_of_all_fields():
    mesh = icosphere(4)
    u = vertex_gradient(mesh, mesh.vertices[:, 2]).numpy()
    mass = mass_matrix(mesh)
    for f, expected in ((u, 1.0), (1j * u, 1.0)):
        energy = (f.conj() @ (connection_laplacian(mesh) @ f)).real
        assert energy / (f.conj() @ (mass @ f)).real == pytest.approx(expected, rel=0.02)
    mirrored = u.conj()
    energy = (mirrored.conj() @ (connection_laplacian(mesh) @ mirrored)).real
    assert energy / (u.conj() @ (mass @ u)).real > 10


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_gradients_of_linear_functions_are_exact_where_the_surface_is_flat(dtype):
    flat = flat_strip(2.0, 1.0, 7, 5)
    order = torch.randperm(flat.num_vertices, generator=torch.Generator().manual_seed(0))
    mesh, slopes = flat.permuted(order), normal(3, 2, dtype=F64)
    found = to_space(mesh, vertex_gradient(mesh, (mesh.vertices @ slopes).to(dtype)))
    axis = mesh.face_normals[0]
    exact = (slopes - axis[:, None] * (axis @ slopes)).T
    gap = (found - exact).norm(dim=-1)
    assert gap.max() < (1e-12 if dtype == F64 else 1e-5)
    assert (found + exact).norm(dim=-1).min() > 0.1


@pytest.mark.parametrize("name", [name for name in MESHES if name != "two"])
def test_gradients_turn_with_the_frames(name):
    mesh = MESHES[name]
    by, f = (
        9 * normal(mesh.num_vertices, dtype=F64),
        normal(mesh.num_vertices, 2, seed=1, dtype=F64),
    )
    graph = vertex_gauge(mesh)
    before, after = (vertex_gradient(mesh, f, g) for g in (graph, graph.turned(by)))
    assert before.shape == f.shape and before.dtype == C128
    turned = before * torch.exp(-1j * by)[:, None]
    assert torch.allclose(after, turned, atol=1e-11 * float(before.abs().max()), rtol=0)
    assert torch.equal(vertex_gradient(mesh, f[:, 0]), vertex_gradient(mesh, f)[:, 0])
    assert vertex_gradient(mesh, torch.ones_like(f)).abs().max() < 1e-10


@pytest.mark.parametrize("slopes", [(1.0, 0.0), (0.0, 1.0), (2.0, -0.7)], ids=str)
def test_gradients_at_a_vertex_of_two_faces(slopes):
    """Their wedges are half a turn wide; across the edges, the two faces cancel."""
    first, second = slopes
    lengths, corner = PILLOW.vertices[1:].norm(dim=1), math.atan2(1, 0.3)
    f = torch.tensor([0.0, first * lengths[0], second * lengths[1]], dtype=F64)
    expected = (first - second) / (2 * math.sin(corner / 2))
    assert complex(vertex_gradient(PILLOW, f)[0]) == pytest.approx(expected, abs=1e-12)


def test_functions_may_need_gradients():
    f = normal(42, dtype=F64)
    found = vertex_gradient(SPHERE, f.clone().requires_grad_())
    assert not found.requires_grad
    assert torch.equal(found, vertex_gradient(SPHERE, f))


def test_gradients_in_the_frames_of_space_are_nearly_the_same():
    gaps = []
    for level in (2, 3, 4):
        mesh = icosphere(level)
        graphs = (vertex_gauge(mesh), projected_gauge(mesh))
        flat, bent = (vertex_gradient(mesh, mesh.vertices[:, 0], graph) for graph in graphs)
        gaps.append(float((flat - bent).abs().max()))
    assert gaps[0] < 1e-3
    assert all(coarse / fine > 2 for coarse, fine in zip(gaps, gaps[1:], strict=False))


@everywhere
@pytest.mark.parametrize("dtype", [torch.complex64, C128], ids=str)
def test_arrows_are_tangent_and_come_back(name, dtype):
    mesh = MESHES[name]
    u = normal(mesh.num_vertices, dtype=dtype)
    arrows = to_space(mesh, u)
    assert arrows.shape == (mesh.num_vertices, 3) and arrows.dtype == F64
    frames = tangent_frames(mesh)
    normals = torch.linalg.cross(*frames.unbind(1))
    assert torch.allclose(arrows.norm(dim=1), u.abs().double(), atol=1e-6)
    assert (arrows * normals).sum(1).abs().max() < 1e-12
    parts = torch.einsum("nx,nkx->nk", arrows, frames)
    assert torch.allclose(torch.view_as_complex(parts), u.to(C128), atol=1e-12)
    # A quarter turn is counter-clockwise about the normal.
    quarter = torch.linalg.cross(normals, arrows)
    assert torch.allclose(to_space(mesh, 1j * u), quarter, atol=1e-12)


def test_arrows_do_not_see_the_frames():
    mesh = MESHES["creature"]
    by, u = normal(mesh.num_vertices, dtype=F64), normal(mesh.num_vertices, 2)
    turned = u * torch.exp(-1j * by)[:, None]
    arrows = to_space(mesh, turned, turned=by)
    assert torch.allclose(arrows, to_space(mesh, u), atol=1e-12)
    assert not torch.allclose(arrows, to_space(mesh, turned), atol=0.1)


# Input that does not fit

SPHERE = icosphere(1)
GRAPH = vertex_gauge(SPHERE)
FIELD = normal(42)


@pytest.mark.parametrize("call", [
    lambda mesh, graph: connection_laplacian(mesh, graph),
    lambda mesh, graph: field_indices(mesh, graph, FIELD),
    lambda mesh, graph: smoothest_fields(mesh, 2, graph=graph),
    lambda mesh, graph: vertex_gradient(mesh, FIELD.real, graph),
], ids=["laplacian", "indices", "smoothest", "gradient"])  # fmt: skip
def test_meshes_and_graphs_that_do_not_fit(call):
    with pytest.raises(TypeError, match="mesh: expected a Mesh"):
        call(SPHERE.vertices, None)
    with pytest.raises(ValueError, match="mesh: expected no edges run through twice"):
        call(Mesh(SPHERE.vertices, torch.cat([SPHERE.faces[:1].flip(1), SPHERE.faces[1:]])), None)
    with pytest.raises(TypeError, match="graph: expected a GaugedGraph, got list"):
        call(SPHERE, [1])
    with pytest.raises(TypeError, match="graph: expected transports in float64"):
        call(SPHERE, GRAPH.to(dtype=torch.float32))
    names = ("angles", "distances", "transports", "weights")
    fewer = replace(
        GRAPH, edge_index=GRAPH.edge_index[:, 1:], **{x: getattr(GRAPH, x)[1:] for x in names}
    )
    for graph in (fewer, vertex_gauge(icosphere(0)), replace(GRAPH, num_nodes=43)):
        with pytest.raises(ValueError, match="graph: expected both directions of the 120 edges"):
            call(SPHERE, graph)
    for transports in (GRAPH.transports + 1, GRAPH.angles):
        with pytest.raises(ValueError, match="graph: expected transports that undo each other"):
            call(SPHERE, replace(GRAPH, transports=transports))


def test_graphs_may_list_their_edges_in_any_order():
    shuffle = torch.randperm(GRAPH.num_edges, generator=torch.Generator().manual_seed(0))
    names = ("angles", "distances", "transports", "weights")
    other = GaugedGraph(
        GRAPH.edge_index[:, shuffle], **{x: getattr(GRAPH, x)[shuffle] for x in names}, num_nodes=42
    )
    same = connection_laplacian(SPHERE, other) - connection_laplacian(SPHERE, GRAPH)
    assert abs(same).max() == 0
    assert torch.equal(field_indices(SPHERE, other, FIELD), field_indices(SPHERE, None, FIELD))


def one_zero(share: float = 0.0) -> Tensor:
    """Of the largest entry."""
    field = FIELD.clone()
    field[7] = share * FIELD.abs().max()
    return field


def opposite() -> Tensor:
    """Of two neighbours, one points exactly against the other, carried along."""
    edge, field = 3, FIELD.clone()
    p, q = int(GRAPH.targets[edge]), int(GRAPH.sources[edge])
    field[p] = -field[q] * torch.exp(1j * GRAPH.transports[edge])
    return field


@pytest.mark.parametrize(("field", "error", "text"), [
    (FIELD.real, TypeError, "field: expected a complex tensor, got torch.float64"),
    ([1j] * 42, TypeError, "field: expected a complex tensor, got list"),
    (FIELD[:9], ValueError, r"field: expected shape \(42,\).*got \(9,\)"),
    (FIELD[:, None], ValueError, r"field: expected shape \(42,\), got \(42, 1\)"),
    (FIELD * math.inf, ValueError, "field: expected finite"),
    (one_zero(), ValueError, "field: expected a direction everywhere, got 0 at vertex 7"),
    (one_zero(1e-13), ValueError, "field: expected a direction everywhere, got 0 at vertex 7"),
    (0 * FIELD, ValueError, "field: expected a direction everywhere, got 0 at vertex 0"),
    (opposite(), ValueError, "field: expected neighbours less than half a turn apart"),
], ids=["real", "list", "short", "column", "infinite", "zero", "tiny", "zeros", "tie"])  # fmt: skip
def test_fields_without_indices(field, error, text):
    with pytest.raises(error, match=text):
        field_indices(SPHERE, None, field)


def test_short_entries_have_a_direction():
    short, long = (field_indices(SPHERE, None, one_zero(share)) for share in (1e-11, 1.0))
    assert torch.equal(short, long)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: connection_laplacian(SPHERE, order=-1), ValueError, "order: expected 0 to 64"),
    (lambda: connection_laplacian(SPHERE, order=1.0), TypeError, "order: expected an int"),
    (lambda: field_indices(SPHERE, None, FIELD, order=65), ValueError, "order: expected 0 to 64"),
    (lambda: smoothest_fields(SPHERE, 0), ValueError, "k: expected 1 to 42, got 0"),
    (lambda: smoothest_fields(SPHERE, 43), ValueError, "k: expected 1 to 42, got 43"),
    (lambda: smoothest_fields(icosphere(4), 400), ValueError, "k: expected 1 to 320"),
    (lambda: smoothest_fields(SPHERE, True), TypeError, "k: expected an int"),
    (lambda: vertex_gradient(SPHERE, FIELD), TypeError, "f: expected a real"),
    (lambda: vertex_gradient(SPHERE, torch.ones(41)), ValueError, r"f: expected shape \(42,\)"),
    (lambda: vertex_gradient(SPHERE, torch.ones(42, 1, 1)), ValueError, "f: expected shape"),
    (lambda: vertex_gradient(SPHERE, torch.full((42,), math.nan)), ValueError, "f: expected fini"),
    (lambda: to_space(SPHERE, FIELD.real), TypeError, "field: expected a complex"),
    (lambda: to_space(SPHERE, FIELD[:3]), ValueError, r"field: expected shape \(42,\) or"),
    (lambda: to_space(SPHERE, FIELD, turned=torch.ones(3)), ValueError, r"turned: .*\(42,\)"),
    (lambda: to_space(SPHERE, FIELD, turned=3.0), TypeError, "turned: expected a torch.Tensor"),
])  # fmt: skip
def test_arguments_that_do_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(("call", "name"), [
    (lambda: to_space(SPHERE, FIELD.to("meta")), "field"),
    (lambda: to_space(SPHERE, FIELD, turned=torch.ones(42, device="meta")), "turned"),
    (lambda: vertex_gradient(SPHERE, torch.ones(42, device="meta")), "f"),
    (lambda: field_indices(SPHERE, None, FIELD.to("meta")), "field"),
    (lambda: connection_laplacian(SPHERE, GRAPH.to(device="meta")), "graph"),
], ids=["to_space", "turned", "gradient", "indices", "graph"])  # fmt: skip
def test_other_devices_are_refused(call, name):
    with pytest.raises(ValueError, match=f"^{name}: expected one on the CPU, got meta"):
        call()


def test_sparse_fields_are_refused():
    for call in (lambda x: to_space(SPHERE, x), lambda x: field_indices(SPHERE, None, x)):
        with pytest.raises(TypeError, match="^field: expected a dense tensor, got layout torch.sp"):
            call(FIELD.to_sparse())


def test_transports_may_need_gradients():
    graph = replace(GRAPH, transports=GRAPH.transports.clone().requires_grad_())
    same = connection_laplacian(SPHERE, graph) - connection_laplacian(SPHERE, GRAPH)
    assert abs(same).max() == 0
    assert torch.equal(field_indices(SPHERE, graph, FIELD), field_indices(SPHERE, GRAPH, FIELD))
    assert torch.equal(
        smoothest_fields(SPHERE, 3, graph=graph).values, smoothest_fields(SPHERE, 3).values
    )


def test_a_single_triangle_works():
    mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    assert smoothest_fields(mesh, 3).values.isfinite().all()
    assert vertex_gradient(mesh, mesh.vertices[:, 0]).abs().tolist() == pytest.approx([1] * 3)
    assert field_indices(mesh, None, torch.ones(3, dtype=C128)).tolist() == [1]
    slope = vertex_gradient(mesh, mesh.vertices[:, 0] + 2 * mesh.vertices[:, 1])[0]
    assert complex(slope) == pytest.approx(1 + 2j, abs=1e-12)
