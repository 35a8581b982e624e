"""Surfaces against closed forms, their symmetries and their isometries."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from gdl.geodesics._patterns import vertex_normals
from gdl.geodesics.curvature import angle_defects
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.surfaces import (
    bumpy_sphere,
    flat_strip,
    fold_strip,
    icosahedral_rotations,
    icosphere,
    roll_strip,
    roughen,
    stretch,
    torus,
    vertex_permutation,
)

PI = math.pi


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}\b")


def volume(mesh: Mesh) -> float:
    """By the divergence theorem; positive when the faces of a closed mesh look outwards."""
    return float(torch.linalg.det(mesh.vertices[mesh.faces]).sum() / 6)


def angles(mesh: Mesh) -> Tensor:
    """(m, 3), in degrees, from the vectors along the sides."""
    corners = mesh.vertices[mesh.faces]
    after, before = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    cross = torch.linalg.cross(after, before).norm(dim=2)
    return torch.atan2(cross, (after * before).sum(2)).rad2deg()


def close(a, b, tolerance: float = 1e-12) -> bool:
    a, b = (torch.as_tensor(x, dtype=torch.float64) for x in (a, b))
    return float((a - b).abs().max()) <= tolerance


def distances(a: Tensor, b: Tensor) -> Tensor:
    # The faster way, by squares, is exact to 1e-8 only.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


CLOSED = {
    "icosahedron": (lambda: icosphere(0), 2, 30),
    "icosphere": (lambda: icosphere(3, 2.0), 2, 50),
    "torus": (lambda: torus(2.0, 0.7, 31, 17), 0, 25),
    "least torus": (lambda: torus(1.0, 0.5, 3, 3), 0, 15),
    "bumpy": (lambda: bumpy_sphere(3, 0.4, 0), 2, 10),
    "rough": (lambda: roughen(icosphere(3), 0.01, 0), 2, 30),
}
OPEN = {
    "flat": lambda: flat_strip(3.0, 2.0, 6, 4),
    "folded": lambda: fold_strip(3.0, 2.0, 6, 4, [0.3, -0.5, 1.0, 0.2, -0.1]),
    "rolled": lambda: roll_strip(3.0, 2.0, 6, 4, 2.0),
}


@pytest.mark.parametrize("name", list(CLOSED))
def test_closed_surfaces(name):
    make, chi, smallest_angle = CLOSED[name]
    mesh = make()
    assert mesh.is_closed and mesh.is_manifold and mesh.is_oriented and mesh.num_components == 1
    assert mesh.euler_characteristic == chi
    assert volume(mesh) > 0
    assert float(angles(mesh).min()) > smallest_angle


@pytest.mark.parametrize("name", list(OPEN))
def test_strips(name):
    mesh = OPEN[name]()
    assert mesh.is_manifold and mesh.is_oriented and not mesh.is_closed
    assert mesh.num_components == mesh.euler_characteristic == 1
    assert len(mesh.boundary_edges) == 2 * (6 + 4)
    assert torch.equal(mesh.faces, OPEN["flat"]().faces)
    assert float(angles(mesh).min()) > 40


@pytest.mark.parametrize("name", list(CLOSED) + list(OPEN))
def test_the_same_call_gives_the_same_mesh(name):
    make = OPEN[name] if name in OPEN else CLOSED[name][0]
    assert torch.equal(make().vertices, make().vertices)
    assert torch.equal(make().faces, make().faces)


# --- the sphere ---------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_icospheres_have_the_counts_of_four_to_one_splits(level):
    mesh = icosphere(level)
    counts = (mesh.num_vertices, len(mesh.edges), mesh.num_faces)
    assert counts == (10 * 4**level + 2, 30 * 4**level, 20 * 4**level)
    valence = mesh.edges.flatten().bincount()
    assert valence.bincount().tolist() == [0] * 5 + [12] + [counts[0] - 12] * (level > 0)
    assert close(mesh.vertices.norm(dim=1), 1, 1e-15)


@pytest.mark.parametrize("radius", [1.0, 0.3, 7])
def test_vertices_of_one_level_begin_the_next(radius):
    for level in (0, 1, 2):
        coarse, fine = icosphere(level, radius), icosphere(level + 1, radius)
        assert torch.equal(fine.vertices[: coarse.num_vertices], coarse.vertices)


def test_the_icosahedron_is_regular():
    mesh = icosphere(0, 2.0)
    # The edge of an icosahedron with circumradius 2: 4 / sqrt(g sqrt(5)), g the golden ratio.
    edge = 4 / math.sqrt((1 + math.sqrt(5)) / 2 * math.sqrt(5))
    assert close(mesh.edge_lengths, edge)


def test_the_area_of_spheres_converges_at_second_order():
    missing = [4 * PI * 9 - icosphere(level, 3.0).area for level in (2, 3, 4)]
    assert all(m > 0 for m in missing)
    assert all(3.8 < a / b < 4.1 for a, b in zip(missing, missing[1:], strict=False))


def test_the_sixty_rotations_are_a_group():
    R = icosahedral_rotations()
    assert R.shape == (60, 3, 3) and close(R[0], torch.eye(3), 1e-14)
    assert close(R @ R.mT, torch.eye(3), 1e-14) and close(torch.linalg.det(R), 1, 1e-14)
    products = (R[:, None] @ R).reshape(-1, 9)
    distance = distances(products, R.reshape(-1, 9))
    assert distance.amin(1).max() < 1e-13 and (distance < 0.1).sum(1).eq(1).all()


def test_traces_of_the_rotations_are_those_of_the_classes():
    trace = icosahedral_rotations().diagonal(dim1=1, dim2=2).sum(1)
    g = (1 + math.sqrt(5)) / 2
    counts = {3.0: 1, -1.0: 15, 0.0: 20, g: 12, 1 - g: 12}
    assert {value: int(((trace - value).abs() < 1e-12).sum()) for value in counts} == counts


def test_rotations_permute_the_vertices_of_an_icosphere():
    mesh, R = icosphere(2), icosahedral_rotations()
    p = torch.stack([vertex_permutation(mesh, rotation) for rotation in R])
    assert len(p.unique(dim=0)) == 60
    for rotation, permutation in zip(R, p, strict=True):
        assert close(mesh.vertices @ rotation.T, mesh.vertices[permutation], 1e-14)
    for i, j in ((3, 17), (17, 3), (40, 59)):
        assert torch.equal(vertex_permutation(mesh, R[i] @ R[j]), p[i][p[j]])


def test_a_rotation_keeps_the_orientation_of_faces_and_a_reflection_does_not():
    mesh = icosphere(1)
    oriented = {tuple(np.roll(face, -np.argmin(face))) for face in mesh.faces.tolist()}

    def kept(matrix):
        images = vertex_permutation(mesh, matrix)[mesh.faces].tolist()
        return sum(tuple(np.roll(face, -np.argmin(face))) in oriented for face in images)

    assert kept(icosahedral_rotations()[7]) == 80
    assert kept(-torch.eye(3)) == 0


def test_another_rotation_is_refused():
    turn = torch.from_numpy(Rotation.from_rotvec([0, 0, 0.3]).as_matrix())
    with refuses(ValueError, "matrix"):
        vertex_permutation(icosphere(1), turn)
    with refuses(ValueError, "matrix"):
        vertex_permutation(icosphere(1), 2 * torch.eye(3))
    with refuses(ValueError, "matrix"):
        vertex_permutation(icosphere(1), torch.zeros(3, 3))


def test_vertices_on_each_other_are_not_enough():
    flat = flat_strip(1.0, 1.0, 1, 1)
    centred = flat.with_vertices(flat.vertices - flat.vertices.mean(0))
    # A quarter turn keeps the four vertices and moves the diagonal.
    quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    with refuses(ValueError, "matrix"):
        vertex_permutation(centred, quarter)
    assert vertex_permutation(centred, quarter @ quarter).tolist() == [3, 2, 1, 0]


# --- other closed surfaces ----------------------------------------------------------------------


def test_a_torus_is_round_and_its_area_converges():
    missing = [4 * PI**2 * 2 * 0.5 - torus(2.0, 0.5, n, n // 2).area for n in (40, 80)]
    assert 3.9 < missing[0] / missing[1] < 4.1 and missing[1] > 0
    x, y, z = torus(2.0, 0.5, 12, 9).vertices.unbind(1)
    assert close((torch.hypot(x, y) - 2) ** 2 + z**2, 0.25)


def test_a_torus_turns_into_itself():
    mesh = torus(1.0, 0.3, 8, 5)
    turn = torch.from_numpy(Rotation.from_rotvec([0, 0, 2 * PI / 8]).as_matrix())
    assert torch.equal(vertex_permutation(mesh, turn), (torch.arange(40) + 5) % 40)


def test_curvature_of_a_torus_is_positive_outside_and_negative_inside():
    mesh = torus(1.0, 0.4, 60, 24)
    defects = angle_defects(mesh)
    outside = mesh.vertices[:, :2].norm(dim=1)
    assert defects[outside > 1.01].min() > 0 > defects[outside < 0.99].max()
    # The integral of the curvature over the outer half is 4 pi.
    assert math.isclose(float(defects[outside > 1.001].sum()), 4 * PI, rel_tol=0.01)


def test_stretching():
    mesh = icosphere(2)
    double = stretch(mesh, torch.tensor([2, 2, 2]))
    assert close(double.edge_lengths, 2 * mesh.edge_lengths)
    assert math.isclose(volume(stretch(mesh, [1.0, 2.0, 5.0])), 10 * volume(mesh))
    assert close(stretch(mesh, (1, 2, 5)).vertices[:, 1], 2 * mesh.vertices[:, 1])


def test_factors_in_any_array():
    mesh, axes = icosphere(0), np.array([1.0, 2.0, 3.0])
    expected = stretch(mesh, (1, 2, 3)).vertices
    frozen = axes.copy()
    frozen.setflags(write=False)
    others = [axes.astype(dtype) for dtype in (">f8", np.longdouble, np.float16, np.uint8)]
    tensors = [
        torch.from_numpy(axes).to(torch.bfloat16),
        torch.tensor([1.0, 2, 3]).requires_grad_(),
    ]
    for factors in (frozen, axes[::-1].copy()[::-1], *others, *tensors):
        assert torch.equal(stretch(mesh, factors).vertices, expected)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bumps_keep_within_their_amplitude_and_do_not_depend_on_the_level(seed):
    mesh = bumpy_sphere(3, 0.4, seed)
    radius = mesh.vertices.norm(dim=1)
    assert 0.6 < radius.min() < 0.95 and 1.05 < radius.max() < 1.4
    assert close(mesh.vertices / radius[:, None], icosphere(3).vertices)
    finer = bumpy_sphere(4, 0.4, seed).vertices[: mesh.num_vertices]
    assert close(finer, mesh.vertices)
    assert not close(mesh.vertices, bumpy_sphere(3, 0.4, seed + 1).vertices, 0.1)
    assert close(bumpy_sphere(2, 0, seed).vertices, icosphere(2).vertices)


def test_noise_is_normal_and_of_its_size():
    mesh = icosphere(4)
    moved = roughen(mesh, 0.01, 0).vertices - mesh.vertices
    along = (moved * mesh.vertices).sum(1)
    assert abs(float(along.std()) / 0.01 - 1) < 0.05 and abs(float(along.mean())) < 1e-3
    # The normals of the mesh are not quite those of the sphere.
    assert float((moved - along[:, None] * mesh.vertices).norm(dim=1).max()) < 1e-3
    assert math.isclose(float(angle_defects(roughen(mesh, 0.01, 1)).sum()), 4 * PI)
    assert not torch.equal(roughen(mesh, 0.01, 1).vertices, roughen(mesh, 0.01, 0).vertices)
    assert torch.equal(roughen(mesh, 0, 0).vertices, mesh.vertices)


# --- strips -------------------------------------------------------------------------------------


def test_a_flat_strip_is_flat():
    mesh = flat_strip(3.0, 2.0, 6, 4)
    assert math.isclose(mesh.area, 6) and close(mesh.face_normals, torch.tensor([0.0, 0.0, 1.0]))
    assert close(mesh.vertices[2 * 5 + 3], torch.tensor([1.0, 1.5, 0.0]))
    assert close(flat_strip(1, 1, 1, 1).area, 1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folding_keeps_all_lengths(seed):
    generator = torch.Generator().manual_seed(seed)
    turns = PI * (2 * torch.rand(19, generator=generator, dtype=torch.float64) - 1)
    flat, folded = flat_strip(2.0, 1.0, 20, 10), fold_strip(2.0, 1.0, 20, 10, turns)
    assert close(folded.edge_lengths, flat.edge_lengths, 1e-15)
    assert not close(folded.vertices, flat.vertices, 0.1)


def test_folds_turn_by_their_angles():
    turns = torch.tensor([0.3, -0.5, 1.0, 0.2, -0.1], dtype=torch.float64)
    normals = fold_strip(3.0, 2.0, 6, 4, turns).face_normals.reshape(6, 8, 3)
    assert close(normals, normals[:, :1])
    found = torch.atan2(-normals[:, 0, 0], normals[:, 0, 2])
    assert close(found, torch.cat([torch.zeros(1), turns.cumsum(0)]))
    assert close(fold_strip(3.0, 2.0, 6, 4, [0] * 5).vertices, flat_strip(3.0, 2.0, 6, 4).vertices)


def test_one_column_has_no_fold():
    assert close(fold_strip(1.0, 1.0, 1, 2, []).vertices, flat_strip(1.0, 1.0, 1, 2).vertices)


def test_rolling_shrinks_by_the_chord():
    flat, rolled = flat_strip(3.0, 2.0, 12, 8), roll_strip(3.0, 2.0, 12, 8, 4.0)
    half = 4 / 12 / 2
    assert math.isclose(rolled.area / flat.area, math.sin(half) / half)
    x, _, z = rolled.vertices.unbind(1)
    assert close(x**2 + (z - 0.75) ** 2, 0.75**2)
    error = [1 - roll_strip(3.0, 2.0, n, 1, 4.0).area / 6 for n in (20, 40)]
    assert 3.99 < error[0] / error[1] < 4.01


def test_small_angles_keep_their_digits():
    z = float(roll_strip(1.0, 1.0, 2, 1, 1e-7).vertices[-1, 2])
    assert math.isclose(z, 5e-8, rel_tol=1e-12)


# --- what they refuse ---------------------------------------------------------------------------

SPHERE, STRIP = icosphere(0), {"width": 1.0, "height": 1.0, "columns": 3, "rows": 1}
FITS = {
    icosphere: {"level": 1, "radius": 1.0},
    torus: {"major": 1.0, "minor": 0.5, "around": 4, "along": 4},
    flat_strip: STRIP,
    fold_strip: STRIP | {"angles": [0.1, 0.2]},
    roll_strip: STRIP | {"angle": 1.0},
    stretch: {"mesh": SPHERE, "factors": (1, 1, 1)},
    bumpy_sphere: {"level": 1, "amplitude": 0.1, "seed": 0},
    roughen: {"mesh": SPHERE, "amount": 0.1, "seed": 0},
    vertex_permutation: {"mesh": SPHERE, "matrix": torch.eye(3)},
}
NUMBERS = [(TypeError, "a"), (TypeError, True), (TypeError, None), (ValueError, math.nan)]
POSITIVE = [*NUMBERS, (ValueError, 0), (ValueError, -1.0), (ValueError, math.inf)]
INTEGERS = [(TypeError, 2.0), (TypeError, True), (TypeError, "2"), (ValueError, -1)]
THREE = [
    (ValueError, (1, 2)),
    (ValueError, 1.0),
    (ValueError, (1, 2, 0)),
    (ValueError, (1, 2, -3)),
    (ValueError, (1, 2, math.nan)),
    (TypeError, "abc"),
    (TypeError, (1, 2, 3j)),
    (TypeError, (True, True, True)),
    (TypeError, None),
    (ValueError, ([1], [1, 2], 3)),
    (TypeError, torch.ones(3).to_sparse()),
    (TypeError, torch.ones(3, device="meta")),
]
NO_MESH = [(TypeError, None), (TypeError, SPHERE.vertices)]
BAD = {
    (icosphere, "level"): [*INTEGERS, (ValueError, 10)],
    (icosphere, "radius"): POSITIVE,
    (torus, "major"): POSITIVE,
    (torus, "minor"): [*POSITIVE, (ValueError, 1.0), (ValueError, 2.0)],
    (torus, "around"): [*INTEGERS, (ValueError, 2), (ValueError, 10**6)],
    (torus, "along"): [*INTEGERS, (ValueError, 2), (ValueError, 10**6)],
    (flat_strip, "width"): POSITIVE,
    (flat_strip, "height"): POSITIVE,
    (flat_strip, "columns"): [*INTEGERS, (ValueError, 0), (ValueError, 10**7)],
    (flat_strip, "rows"): [*INTEGERS, (ValueError, 0), (ValueError, 10**6)],
    (fold_strip, "width"): POSITIVE,
    (fold_strip, "angles"): [
        (ValueError, [0.1]),
        (ValueError, [0.1, 4.0]),
        (ValueError, [0.1, math.nan]),
        (ValueError, torch.zeros(2, 1)),
        (TypeError, ["a", "b"]),
        (TypeError, torch.zeros(2, device="meta")),
        (TypeError, None),
    ],
    (roll_strip, "rows"): [(ValueError, 0)],
    (roll_strip, "angle"): [*POSITIVE, (ValueError, 2 * PI)],
    (stretch, "mesh"): NO_MESH,
    (stretch, "factors"): THREE,
    (bumpy_sphere, "amplitude"): [*NUMBERS, (ValueError, 1.0), (ValueError, -0.1)],
    (bumpy_sphere, "seed"): [*INTEGERS, (ValueError, 2**64)],
    (roughen, "mesh"): NO_MESH,
    (roughen, "amount"): [*NUMBERS, (ValueError, -1.0)],
    (roughen, "seed"): [*INTEGERS, (ValueError, 2**64)],
    (vertex_permutation, "mesh"): NO_MESH,
    (vertex_permutation, "matrix"): [
        (TypeError, np.eye(3)),
        (TypeError, torch.eye(3).long()),
        (ValueError, torch.eye(2)),
        (ValueError, torch.eye(3)[None]),
        (ValueError, math.nan * torch.eye(3)),
        (ValueError, 1.7e308 * torch.eye(3).double()),
        (TypeError, torch.eye(3, device="meta")),
    ],
}


@pytest.mark.parametrize(
    ("make", "argument"), list(BAD), ids=[f"{f.__name__}-{name}" for f, name in BAD]
)
def test_bad_arguments_are_named(make, argument):
    make(**FITS[make])
    for error, value in BAD[make, argument]:
        with refuses(error, argument):
            make(**FITS[make] | {argument: value})


def test_a_matrix_with_a_gradient_is_read():
    matrix = torch.diag(torch.tensor([-1.0, -1.0, 1.0])).requires_grad_()
    expected = vertex_permutation(SPHERE, matrix.detach())
    assert torch.equal(vertex_permutation(SPHERE, matrix), expected)


def test_symmetries_are_told_from_near_ones():
    mesh, turn = icosphere(1), icosahedral_rotations()[1]
    for angle, accepted in ((1e-12, True), (1e-6, False)):
        off = torch.from_numpy(Rotation.from_rotvec([angle, 0, 0]).as_matrix())
        if accepted:
            assert torch.equal(vertex_permutation(mesh, off @ turn), vertex_permutation(mesh, turn))
        else:
            with pytest.raises(ValueError, match="matrix"):
                vertex_permutation(mesh, off @ turn)


def test_normals_at_vertices_are_weighted_by_area():
    corner = [[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]]
    box = Mesh(corner, [[0, 2, 1], [0, 1, 3], [0, 3, 2]])
    # Areas 3/2, 3/2 and 1/2 of faces that look along -z, -y and -x.
    expected = -torch.tensor([1.0, 3.0, 3.0], dtype=torch.float64) / math.sqrt(19)
    assert (vertex_normals(box)[0] - expected).abs().max() < 1e-14
