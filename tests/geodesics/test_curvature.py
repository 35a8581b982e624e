"""Angle defects and the theorem of Gauss and Bonnet."""

from __future__ import annotations

import math

import igl
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gdl.geodesics.curvature import angle_defects, gauss_bonnet
from gdl.geodesics.mesh import Mesh
from tests.geodesics.sample_meshes import (
    CLOSED,
    EULER,
    F64,
    MESHES,
    regular_terrains,
    sphere,
    strip,
    terrain,
    tetrahedron,
)

all_meshes = pytest.mark.parametrize("name", list(MESHES))
TRIANGLE = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("name", list(CLOSED))
def test_defects_are_those_of_libigl(name):
    mesh = CLOSED[name]
    theirs = igl.gaussian_curvature(mesh.vertices.numpy(), mesh.faces.numpy())
    np.testing.assert_allclose(angle_defects(mesh), theirs, atol=1e-13)


def test_solids_in_closed_form():
    assert angle_defects(tetrahedron()).tolist() == pytest.approx([math.pi] * 4, abs=1e-14)
    axes = torch.eye(3, dtype=F64)
    octahedron = Mesh(
        torch.cat([axes, -axes]),
        [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]],
    )
    expected = [2 * math.pi / 3] * 6
    assert angle_defects(octahedron).tolist() == pytest.approx(expected, abs=1e-14)


def test_a_boundary_turns_by_its_angles():
    square = Mesh([*TRIANGLE, [1, 1, 0]], [[0, 1, 2], [1, 3, 2]])
    assert angle_defects(square).tolist() == pytest.approx([math.pi / 2] * 4, abs=1e-14)
    flat = angle_defects(terrain(40, 0, height=0.0))
    corners, rest = flat[-4:], flat[:-4]
    assert corners.tolist() == pytest.approx([math.pi / 2] * 4, abs=1e-11)
    assert rest.abs().max() < 1e-11


@all_meshes
def test_the_total_counts_vertices_edges_and_faces(name):
    found = gauss_bonnet(MESHES[name])
    assert found.topology == 2 * math.pi * EULER[name]
    assert abs(found.curvature + found.turning - found.topology) < 1e-11
    assert found.turning == 0 or name not in CLOSED
    assert isinstance(found.curvature, float) and isinstance(found.turning, float)


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_noise_moves_curvature_but_not_its_total(level, noise):
    mesh = sphere(level)
    generator = torch.Generator().manual_seed(0)
    radii = 1 + noise * torch.randn(mesh.num_vertices, 1, dtype=F64, generator=generator)
    rough = mesh.with_vertices(mesh.vertices * radii)
    assert abs(gauss_bonnet(rough).curvature - 4 * math.pi) < 1e-10
    moved = (angle_defects(rough) - angle_defects(mesh)).abs().max()
    assert moved > noise / 10


@given(regular_terrains)
@settings(deadline=None, max_examples=40)
def test_disks_turn_once(mesh):
    found = gauss_bonnet(mesh)
    assert found.topology == 2 * math.pi
    assert abs(found.curvature + found.turning - found.topology) < 1e-10


def test_curvature_and_turning_are_told_apart():
    height = 0.5
    rim = [[math.cos(t), math.sin(t), 0] for t in np.arange(6) * math.pi / 3]
    cone = Mesh([[0, 0, height], *rim], [[0, 1 + i, 1 + (i + 1) % 6] for i in range(6)])
    side = math.hypot(1, height)
    apex = 2 * math.pi - 12 * math.asin(0.5 / side)
    found = gauss_bonnet(cone)
    assert found.curvature == pytest.approx(apex, abs=1e-13)
    assert found.turning == pytest.approx(2 * math.pi - apex, abs=1e-13)


def test_needles_keep_their_angles():
    base = 1e-9
    needle = Mesh([[0, 0, 0], [1, base / 2, 0], [1, -base / 2, 0]], [[0, 1, 2]])
    found = math.pi - angle_defects(needle)
    assert float(found[0]) == pytest.approx(base, rel=1e-6, abs=0)
    assert found[1:].tolist() == pytest.approx([(math.pi - base) / 2] * 2, abs=1e-15)


def test_folding_leaves_the_defects():
    flat = Mesh(
        [[0, 0, 0], [3, 0, 0], [0, 4, 0], [3, 4, 0], [0, 8, 0], [3, 8, 0]],
        [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]],
    )
    bent = flat.with_vertices([[0, 0, 0], [3, 0, 0], [0, 4, 0], [3, 4, 0], [0, 4, 4], [3, 4, 4]])
    assert torch.equal(angle_defects(flat), angle_defects(bent))


@pytest.mark.parametrize("function", [angle_defects, gauss_bonnet])
def test_bad_meshes(function):
    assert not strip(9, 1).is_oriented and function(strip(9, 1)) is not None
    points = [*TRIANGLE, [-1, 0, 0], [0, -1, 0]]
    for faces, text in (
        ([[0, 1, 2], [0, 3, 4]], "several fans of faces, got 0;"),
        ([[0, 1, 2], [0, 1, 3], [0, 1, 4]], "got 1; remove"),
        ([[0, 2, 1], [0, 2, 3], [2, 0, 4]], "got 2; remove"),
        ([[0, 1, 2]], "isolated vertices, got 3, 4;"),
    ):
        with pytest.raises(ValueError, match=rf"^mesh: expected no .*{text}"):
            function(Mesh(points, faces))
    crowded = [[0, 1, 2], [1, 0, 3], [0, 1, 4]]
    with pytest.raises(ValueError, match=r"more than two faces, got \(0, 1\);"):
        function(Mesh([*TRIANGLE, [0, -1, 0], [0, 0, 1]], crowded))
    with pytest.raises(TypeError, match=r"^mesh: expected a Mesh, got NoneType"):
        function(None)
