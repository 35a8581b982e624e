"""As-rigid-as-possible steps and the distortion of edges."""

from __future__ import annotations

import copy
import math
import pickle
import re

import pytest
import torch
from torch import Tensor

from gdl.geodesics.mesh import Mesh
from gdl.geodesics.posing import AsRigidAsPossible, edge_distortion
from gdl.geodesics.surfaces import flat_strip, icosphere, stretch, torus
from gdl.geometry import random_rotations

RESTS = {
    "torus": torus(1.0, 0.4, 16, 8),
    "strip": flat_strip(3.0, 1.0, 9, 3),
    "sphere": icosphere(2),
    "blade": stretch(icosphere(2), (3.0, 1.0, 0.3)),
}
all_rests = pytest.mark.parametrize("name", list(RESTS))


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}\b")


def bent(mesh: Mesh) -> Mesh:
    """Sheared, stretched and curved."""
    x, y, z = mesh.vertices.unbind(1)
    return mesh.with_vertices(torch.stack([x + 0.4 * y**2, 1.3 * y + 0.5 * z, z - 0.3 * x * y], 1))


def moved(mesh: Mesh, seed: int = 0) -> Mesh:
    shift = torch.tensor([3.0, -1.0, 2.0])
    return mesh.with_vertices(mesh.vertices @ random_rotations(1, seed=seed)[0].T + shift)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> bool:
    return float((a - b).abs().max()) <= tolerance


@all_rests
@pytest.mark.parametrize("hold", [0.1, 30.0])
def test_no_step_raises_the_energy(name, hold):
    rest, wanted = RESTS[name], bent(RESTS[name])
    rigid = AsRigidAsPossible(rest, hold)
    energies = [rigid.energy(rigid(wanted, steps).vertices, wanted) for steps in range(8)]
    assert all(later < sooner for sooner, later in zip(energies, energies[1:], strict=False))
    assert energies[-1] < 0.95 * energies[0]


@all_rests
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_rigid_motion_stays_as_it_is(name, seed):
    rest = RESTS[name]
    rigid, wanted = AsRigidAsPossible(rest, 1.0), moved(rest, seed)
    assert close(rigid(wanted, 5).vertices, wanted.vertices)
    assert close(rigid.rotations(wanted.vertices), random_rotations(1, seed=seed)[0])
    assert rigid.energy(wanted.vertices, wanted) < 1e-20


@all_rests
def test_moving_what_is_wanted_moves_the_result(name):
    rest, R = RESTS[name], random_rotations(1, seed=1)[0]
    rigid, wanted = AsRigidAsPossible(rest, 2.0), bent(RESTS[name])
    turned = wanted.with_vertices(wanted.vertices @ R.T + 1)
    assert close(rigid(turned, 3).vertices, rigid(wanted, 3).vertices @ R.T + 1)


@all_rests
def test_a_step_minimises_the_energy_of_its_rotations(name):
    rest, wanted = RESTS[name], bent(RESTS[name])
    hold = 3.0
    rigid = AsRigidAsPossible(rest, hold)
    R = rigid.rotations(wanted.vertices)
    p = rigid(wanted, 1).vertices.requires_grad_()

    corners = rest.vertices[rest.faces]
    weights = torch.zeros(len(rest.edges), dtype=torch.float64)
    for k in range(3):
        # Edge k of each face lies opposite to corner k and has half the cotangent as its weight.
        a, b = corners[:, k - 2] - corners[:, k], corners[:, k - 1] - corners[:, k]
        cotangent = (a * b).sum(1) / torch.linalg.cross(a, b).norm(dim=1)
        weights.index_add_(0, rest.face_edges[:, k], cotangent / 2)
    assert (weights.min() < -0.1) == (name == "blade")
    i, j = rest.edges.T
    energy = 0.0
    for end in (i, j):
        sides = R[end] @ (rest.vertices[i] - rest.vertices[j])[:, :, None]
        gaps = (p[i] - p[j] - sides[:, :, 0]).square().sum(1)
        energy = energy + weights.clamp(min=0) @ gaps / 2
    areas = torch.zeros(rest.num_vertices, dtype=torch.float64)
    areas.index_add_(0, rest.faces.flatten(), (rest.face_areas / 3).repeat_interleave(3))
    energy = energy + hold * (areas @ (p - wanted.vertices).square().sum(1))
    best = rigid.energy(p.detach(), wanted)
    assert 0 < best <= float(energy.detach()) + 1e-12
    energy.backward()
    assert close(p.grad, torch.zeros_like(p.grad))


def test_rotations_are_no_reflections():
    rest = RESTS["sphere"]
    mirrored = rest.vertices * torch.tensor([1.0, 1.0, -1.0])
    R = AsRigidAsPossible(rest, 1.0).rotations(mirrored)
    assert close(torch.linalg.det(R), torch.ones(len(R), dtype=torch.float64))
    assert close(R @ R.mT, torch.eye(3, dtype=torch.float64))


@all_rests
def test_lengths_come_closer_to_the_rest(name):
    rest, wanted = RESTS[name], bent(RESTS[name])
    after = AsRigidAsPossible(rest, 1.0)(wanted, 20)
    assert edge_distortion(rest, after).mean() < 0.5 * edge_distortion(rest, wanted).mean()
    assert torch.equal(AsRigidAsPossible(rest, 1.0)(wanted, 0).vertices, wanted.vertices)


@all_rests
def test_distortion_of_motions_and_dilations(name):
    rest = RESTS[name]
    assert float(edge_distortion(rest, moved(rest)).max()) < 1e-14
    for scale in (1.2, 0.5):
        found = edge_distortion(rest, rest.with_vertices(scale * rest.vertices))
        assert close(found, torch.full_like(found, abs(scale - 1)), 1e-14)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_and_pickles_pose_alike(copied):
    rigid = AsRigidAsPossible(SPHERE, 1.0)
    wanted = bent(SPHERE)
    assert torch.equal(copied(rigid)(wanted, 2).vertices, rigid(wanted, 2).vertices)


@pytest.mark.parametrize("hold", [1e-17, 1e-14, 1e-12])
def test_a_hold_lost_in_rounding_is_refused(hold):
    with refuses(ValueError, "hold"):
        AsRigidAsPossible(icosphere(1), hold)


def test_vertices_in_any_dtype():
    rigid, wanted = AsRigidAsPossible(SPHERE, 1.0), bent(SPHERE)
    single = wanted.vertices.float().requires_grad_()
    expected = rigid.energy(single.detach().double(), wanted)
    assert rigid.energy(single, wanted) == expected
    assert torch.equal(rigid.rotations(single), rigid.rotations(single.detach().double()))


SPHERE = RESTS["sphere"]
POINT = SPHERE.with_vertices(0 * SPHERE.vertices)
TURNED = Mesh(SPHERE.vertices, SPHERE.faces.flip(1))
LOOSE = Mesh(torch.cat([SPHERE.vertices, torch.zeros(1, 3)]), SPHERE.faces)

BAD_VERTICES = {
    "batch": (ValueError, SPHERE.vertices.expand(2, -1, -1)),
    "nan": (ValueError, math.nan * SPHERE.vertices),
    "inf": (ValueError, SPHERE.vertices / 0),
    "huge": (ValueError, SPHERE.vertices * 1e200),
    "meta": (TypeError, SPHERE.vertices.to("meta")),
}


@pytest.mark.parametrize("name", list(BAD_VERTICES))
def test_bad_vertices_are_named(name):
    error, vertices = BAD_VERTICES[name]
    rigid = AsRigidAsPossible(SPHERE, 1.0)
    with refuses(error, "vertices"):
        rigid.rotations(vertices)
    with refuses(error, "vertices"):
        rigid.energy(vertices, SPHERE)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (TypeError, "rest", lambda: AsRigidAsPossible(SPHERE.vertices, 1.0)),
        (ValueError, "rest", lambda: AsRigidAsPossible(POINT, 1.0)),
        (ValueError, "rest", lambda: AsRigidAsPossible(LOOSE, 1.0)),
        (TypeError, "hold", lambda: AsRigidAsPossible(SPHERE, "1")),
        (ValueError, "hold", lambda: AsRigidAsPossible(SPHERE, 0)),
        (ValueError, "hold", lambda: AsRigidAsPossible(SPHERE, math.nan)),
        (TypeError, "wanted", lambda: AsRigidAsPossible(SPHERE, 1.0)(SPHERE.vertices, 1)),
        (ValueError, "wanted", lambda: AsRigidAsPossible(SPHERE, 1.0)(icosphere(1), 1)),
        (ValueError, "wanted", lambda: AsRigidAsPossible(SPHERE, 1.0)(TURNED, 1)),
        (TypeError, "steps", lambda: AsRigidAsPossible(SPHERE, 1.0)(SPHERE, 1.0)),
        (ValueError, "steps", lambda: AsRigidAsPossible(SPHERE, 1.0)(SPHERE, -1)),
        (TypeError, "vertices", lambda: AsRigidAsPossible(SPHERE, 1.0).rotations(SPHERE)),
        (ValueError, "vertices", lambda: AsRigidAsPossible(SPHERE, 1.0).rotations(torch.ones(3))),
        (
            ValueError,
            "vertices",
            lambda: AsRigidAsPossible(SPHERE, 1.0).energy(torch.ones(3, 3).double(), SPHERE),
        ),
        (TypeError, "rest", lambda: edge_distortion(None, SPHERE)),
        (TypeError, "posed", lambda: edge_distortion(SPHERE, SPHERE.vertices)),
        (ValueError, "posed", lambda: edge_distortion(SPHERE, icosphere(1))),
        (ValueError, "rest", lambda: edge_distortion(POINT, SPHERE)),
    ],
)
def test_bad_arguments_are_named(error, argument, call):
    with refuses(error, argument):
        call()
