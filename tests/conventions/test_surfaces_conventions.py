"""Conventions of surfaces and their frames."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gdl import gauges, geodesics
from tests.conventions.common import TIGHT, close, convention, random

TURNED = torch.tensor([3, 1, 0, 2])


def tetrahedron() -> geodesics.Mesh:
    """Irregular, its faces counter-clockwise seen from outside."""
    corners = [[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3]]
    return geodesics.Mesh(corners, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def dense(matrix) -> Tensor:
    return torch.as_tensor(matrix.toarray(), dtype=torch.float64)


# --- surfaces -----------------------------------------------------------------------------------


@convention("Surfaces", "Faces")
def test_faces_are_counter_clockwise_seen_from_outside():
    mesh = tetrahedron()
    outwards = mesh.vertices[mesh.faces].mean(1) - mesh.vertices.mean(0)
    assert bool(((mesh.face_normals * outwards).sum(1) > 0).all())
    inside_out = geodesics.Mesh(mesh.vertices, mesh.faces.flip(1))
    assert not bool(((inside_out.face_normals * outwards).sum(1) > 0).any())


@convention("Surfaces", "Faces")
def test_lengths_belong_to_the_opposite_corner():
    mesh = tetrahedron()
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    assert close(mesh.lengths, torch.stack([(b - c).norm(dim=1), (c - a).norm(dim=1),
                                            (a - b).norm(dim=1)], 1))  # fmt: skip
    assert not close(mesh.lengths.roll(1, 1), mesh.lengths)


@convention("Surfaces", "Laplacian")
def test_surface_laplacians_are_positive_integrated_and_divided_by_a_third_of_the_area():
    mesh = tetrahedron()
    L, M = dense(geodesics.cotan_laplacian(mesh)), dense(geodesics.mass_matrix(mesh))
    assert torch.linalg.eigvalsh(L).min() > -TIGHT and torch.linalg.eigvalsh(-L).min() < -0.1
    assert close(L.sum(0), torch.zeros(4, dtype=torch.float64))
    areas = torch.zeros(4, dtype=torch.float64)
    for face, area in zip(mesh.faces, mesh.face_areas, strict=True):
        areas[face] += area / 3
    assert close(M, torch.diag(areas)) and not close(M, torch.diag(areas * 3))


@convention("Surfaces", "Gradient")
def test_divergence_is_the_negative_adjoint_of_the_gradient():
    mesh = tetrahedron()
    G, D = (dense(f(mesh)) for f in (geodesics.gradient, geodesics.divergence))
    assert close(D, -G.T @ torch.diag(mesh.face_areas.repeat_interleave(3)))
    L = dense(geodesics.cotan_laplacian(mesh))
    assert close(-D @ G, L) and not close(D @ G, L)


@convention("Surfaces", "Eigenvectors")
def test_eigenvectors_are_orthonormal_in_the_mass():
    mesh = tetrahedron()
    basis = geodesics.eigenbasis(mesh, 4)
    L, M = dense(geodesics.cotan_laplacian(mesh)), dense(geodesics.mass_matrix(mesh))
    eye = torch.eye(4, dtype=torch.float64)
    assert close(basis.vectors.T @ M @ basis.vectors, eye)
    assert not close(basis.vectors.T @ basis.vectors, eye)
    assert close(L @ basis.vectors, M @ basis.vectors * basis.values)


@convention("Surfaces", "Heat")
def test_heat_kernels_are_multiplied_by_the_mass():
    mesh = tetrahedron()
    basis = geodesics.eigenbasis(mesh, 4)
    M, f, t = dense(geodesics.mass_matrix(mesh)), random(4), 0.1
    L = dense(geodesics.cotan_laplacian(mesh))
    flowed = torch.linalg.matrix_exp(-t * torch.linalg.inv(M) @ L) @ f
    kernel = geodesics.heat_kernel(basis, t)
    assert close(kernel @ (M @ f), flowed) and not close(kernel @ f, flowed)
    # Twice as large: four times the area, and four times as long until it looks the same.
    large = geodesics.Mesh(2 * mesh.vertices, mesh.faces)
    wide = geodesics.eigenbasis(large, 4)
    assert close(geodesics.heat_kernel(wide, 4 * t) @ (4 * M @ f), flowed)
    assert not close(geodesics.heat_kernel(wide, 2 * t) @ (4 * M @ f), flowed)


@convention("Surfaces", "Renumbering")
def test_renumbering_moves_functions_and_operators():
    mesh = tetrahedron()
    P = torch.eye(4, dtype=torch.float64)[:, TURNED]
    assert P[TURNED[0], 0] == 1
    moved = mesh.permuted(TURNED)
    assert close(moved.vertices, P @ mesh.vertices)
    assert not close(moved.vertices, P.T @ mesh.vertices)
    L = dense(geodesics.cotan_laplacian(mesh))
    assert close(dense(geodesics.cotan_laplacian(moved)), P @ L @ P.T)


@convention("Surfaces", "Functional maps")
def test_a_functional_map_takes_coefficients_from_the_first_surface_to_the_second():
    mesh = tetrahedron()
    first, second = (geodesics.eigenbasis(m, 4) for m in (mesh, mesh.permuted(TURNED)))
    T = TURNED.argsort()  # the vertex of the first surface, for each of the second
    C, f = geodesics.functional_map(first, second, T), random(4)
    assert close(C @ first.project(f), second.project(f[T]))
    assert not close(C @ first.project(f), second.project(f[TURNED]))


# --- frames and gauges --------------------------------------------------------------------------


@convention("Frames and gauges", "Frames")
def test_frames_are_counter_clockwise_seen_from_outside():
    mesh = tetrahedron()
    first, second = gauges.tangent_frames(mesh).unbind(1)
    outwards = mesh.vertices - mesh.vertices.mean(0)
    assert bool(((torch.linalg.cross(first, second) * outwards).sum(1) > 0).all())
    assert not bool(((torch.linalg.cross(second, first) * outwards).sum(1) > 0).any())


@convention("Frames and gauges", "Frames")
def test_order_m_turns_by_m_times_the_angle():
    pair = torch.tensor([1.0, 0.0], dtype=torch.float64)
    quarter = torch.tensor(math.pi / 2, dtype=torch.float64)
    turned = gauges.Orders("1x3").rotate(pair, quarter)
    assert close(turned, torch.tensor([0.0, -1.0], dtype=torch.float64))
    assert not close(turned, gauges.Orders("1x1").rotate(pair, quarter.double()))


@convention("Frames and gauges", "Gauge change")
def test_turning_the_frames_changes_angles_and_transports():
    graph, by = gauges.vertex_gauge(tetrahedron()), random(4)
    turned = graph.turned(by)
    q, p = graph.edge_index
    assert close(turned.angles, graph.angles - by[p])
    assert close(turned.transports, graph.transports - by[p] + by[q])
    assert not close(turned.transports, graph.transports - by[q] + by[p])


@convention("Frames and gauges", "Gauge change")
def test_turned_frames_see_the_same_arrow_turned_back():
    mesh, by = tetrahedron(), random(4)
    z = torch.complex(random(4), torch.linspace(-1.0, 1.0, 4, dtype=torch.float64))
    arrows = gauges.to_space(mesh, z)
    assert close(arrows, gauges.to_space(mesh, torch.exp(-1j * by) * z, turned=by))
    assert not close(arrows, gauges.to_space(mesh, torch.exp(1j * by) * z, turned=by))


@convention("Frames and gauges", "Transport")
@convention("Frames and gauges", "Edges")
def test_an_edge_is_straight_and_its_angle_is_that_of_the_source_seen_from_the_target():
    mesh = tetrahedron()
    graph = gauges.vertex_gauge(mesh)
    seen = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.angles, strict=True))
    there = torch.stack([seen[p, q] for q, p in graph.edge_index.T.tolist()])
    straight = graph.angles + math.pi - there
    assert close(gauges.wrapped(graph.transports - straight), 0 * straight)
    assert not close(gauges.wrapped(graph.transports + straight), 0 * straight)
    # From corner 0 the faces go round as 2, 1, 3, and the file's first neighbour is 1.
    round_zero = [seen[q, 0] for q in (1, 3, 2)]
    assert round_zero[0] == 0 and round_zero[0] < round_zero[1] < round_zero[2]


@convention("Frames and gauges", "Holonomy")
def test_holonomy_is_positive_on_a_sphere():
    ball = geodesics.icosphere(1)
    faces = gauges.face_holonomies(ball, gauges.vertex_gauge(ball))
    vertices = gauges.vertex_holonomies(ball, gauges.face_gauge(ball))
    assert bool((faces > 0).all()) and bool((vertices > 0).all())
    assert close(vertices, geodesics.angle_defects(ball))
    assert not close(vertices, -geodesics.angle_defects(ball))
