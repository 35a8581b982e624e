"""Creatures are surfaces, their parts are parts, and their poses nearly keep lengths."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import re

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from gdl.geodesics._bodies import SIDED_PARTS
from gdl.geodesics.creatures import (
    JOINTS,
    LIMITS,
    PARTS,
    SPECIES,
    SPLITS,
    Creature,
    random_angles,
)
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.posing import edge_distortion

SEEDS = (0, 1, 2)
REFLECTION = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
creature = functools.cache(Creature)
all_species = pytest.mark.parametrize("species", list(SPECIES))
all_splits = pytest.mark.parametrize("split", list(SPLITS))


def refuses(error, argument: str):
    return pytest.raises(error, match=rf"^{re.escape(argument)}\b")


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> bool:
    return float((a - b).abs().max()) <= tolerance


def least_angle(mesh: Mesh) -> float:
    """In degrees."""
    corners = mesh.vertices[mesh.faces]
    after, before = corners.roll(-1, 1) - corners, corners.roll(1, 1) - corners
    cross = torch.linalg.cross(after, before).norm(dim=2)
    return float(torch.atan2(cross, (after * before).sum(2)).min().rad2deg())


def mean_distortion(rest: Mesh, posed: Mesh) -> float:
    weights = rest.edge_lengths
    return float((edge_distortion(rest, posed) @ weights) / weights.sum())


def crossings(mesh: Mesh) -> int:
    """How many pairs of an edge and a face that have no vertex in common cross."""
    corners, ends = mesh.vertices[mesh.faces].numpy(), mesh.vertices[mesh.edges].numpy()
    meet = np.ones((len(ends), len(corners)), dtype=bool)
    for axis in range(3):
        f, e = corners[:, :, axis], ends[:, :, axis]
        meet &= (e.min(1)[:, None] <= f.max(1)) & (e.max(1)[:, None] >= f.min(1))
    i, j = meet.nonzero()
    joined = (mesh.edges[i][:, :, None] == mesh.faces[j][:, None]).any(2).any(1).numpy()
    (s, t), (a, b, c) = ends[i[~joined]].swapaxes(0, 1), corners[j[~joined]].swapaxes(0, 1)

    def side(u, v, w):
        return np.sign(np.linalg.det(np.stack([u, v, w], 1)))

    apart = side(b - a, c - a, s - a) * side(b - a, c - a, t - a) < 0
    around = [side(t - s, x - s, y - s) for x, y in ((a, b), (b, c), (c, a))]
    return int((apart & (around[0] == around[1]) & (around[1] == around[2])).sum())


# --- at rest ------------------------------------------------------------------------------------


@all_species
@pytest.mark.parametrize("level", [0, 1])
def test_creatures_are_closed_surfaces(species, level):
    mesh = creature(species, level).rest
    assert mesh.is_closed and mesh.is_manifold and mesh.is_oriented and mesh.num_components == 1
    assert mesh.euler_characteristic == 2
    assert float(torch.linalg.det(mesh.vertices[mesh.faces]).sum()) > 0
    assert mesh.num_vertices == [954, 3810][level]
    assert least_angle(mesh) > 9
    assert 0.97 < mesh.area < 1


def test_there_are_four_species_and_more():
    assert len(SPECIES) >= 4
    assert creature("lizard", 0).rest.area != creature("horse", 0).rest.area


@all_species
def test_the_finest_level_has_area_1(species):
    mesh = Creature(species, 2).rest
    assert mesh.num_vertices == 15234 and math.isclose(mesh.area, 1)


@all_species
def test_all_species_have_the_same_faces_and_parts(species):
    a, b = creature(species, 0), creature("horse", 0)
    assert torch.equal(a.rest.faces, b.rest.faces)
    assert torch.equal(a.sided_labels, b.sided_labels) and torch.equal(a.mirror, b.mirror)
    assert a.species == species and repr(a) == f"Creature({species!r}, level=0)"
    assert species == "horse" or not close(a.rest.vertices, b.rest.vertices, 0.1)


@all_species
def test_the_vertices_of_one_level_begin_the_next(species):
    coarse, fine = creature(species, 0), creature(species, 1)
    n = coarse.rest.num_vertices
    assert torch.equal(fine.rest.vertices[:n], coarse.rest.vertices)
    assert torch.equal(fine.labels[:n], coarse.labels)


@pytest.mark.parametrize("level", [0, 1])
def test_each_part_of_a_side_is_connected(level):
    body = creature("horse", level)
    assert len(SIDED_PARTS) == 7
    for k in range(7):
        i, j = body.rest.edges[(body.sided_labels[body.rest.edges] == k).all(1)].T.numpy()
        inside = (body.sided_labels == k).numpy()
        graph = coo_array((np.ones(len(i)), (i, j)), shape=(len(inside), len(inside)))
        _, component = connected_components(graph, directed=False)
        assert inside.sum() > 50 and len(np.unique(component[inside])) == 1


def test_parts_lie_where_their_names_say():
    body = creature("giraffe", 0)
    centre = [body.rest.vertices[body.sided_labels == k].mean(0) for k in range(7)]
    at = dict(zip(SIDED_PARTS, centre, strict=True))
    assert at["tail"][0] < at["body"][0] < at["head"][0] and at["head"][2] > at["body"][2]
    for name in SIDED_PARTS[3:]:
        leg = at[name]
        assert leg[2] < at["body"][2]
        assert (leg[1] > 0) == name.startswith("left") and abs(leg[1]) > 0.02
        assert (leg[0] > 0) == ("front" in name)


def test_labels_join_the_legs_of_a_pair():
    body = creature("horse", 1)
    names = [SIDED_PARTS[k] for k in body.sided_labels]
    expected = [re.sub(r"(left|right) (\w+) leg", r"\2 legs", name) for name in names]
    assert [PARTS[k] for k in body.labels] == expected
    assert body.labels.dtype == body.sided_labels.dtype == torch.int64


@all_species
@pytest.mark.parametrize("level", [0, 1])
def test_the_mirror_is_a_symmetry(species, level):
    body = creature(species, level)
    mesh, mirror = body.rest, body.mirror
    assert torch.equal(mirror[mirror], torch.arange(mesh.num_vertices))
    assert close(mesh.vertices[mirror], mesh.vertices * REFLECTION, 1e-12)
    faces = {tuple(sorted(face)) for face in mesh.faces.tolist()}
    assert {tuple(sorted(face)) for face in mirror[mesh.faces].tolist()} == faces
    assert torch.equal(body.labels[mirror], body.labels)
    assert torch.equal(body.sided_labels[mirror], exchanged(body.sided_labels))


def exchanged(labels: Tensor) -> Tensor:
    swap = [name.replace("left", "RIGHT").replace("right", "left").lower() for name in SIDED_PARTS]
    return torch.tensor([SIDED_PARTS.index(name) for name in swap])[labels]


# --- poses --------------------------------------------------------------------------------------


@all_species
@all_splits
@pytest.mark.parametrize("level", [0, 1])
def test_poses_nearly_keep_lengths(species, split, level):
    body = creature(species, level)
    for seed in SEEDS[: 3 - 2 * level]:
        posed = body.random_pose(seed, split=split)
        assert torch.equal(posed.faces, body.rest.faces)
        assert mean_distortion(body.rest, posed) < (0.015 if split == "train" else 0.032)
        changes = edge_distortion(body.rest, posed)
        assert float(changes.quantile(0.95)) < 0.17 and float(changes.max()) < 0.6
        assert least_angle(posed) > 7
        far = (posed.vertices - body.rest.vertices).norm(dim=1).max()
        assert far > (0.05 if split == "train" else 0.15)


@all_species
def test_nothing_crosses_at_rest_or_in_training_poses(species):
    body = creature(species, 0)
    for mesh in (body.rest, *(body.random_pose(seed) for seed in SEEDS)):
        assert crossings(mesh) == 0


def test_crossings_are_found():
    body = creature("horse", 0)
    assert crossings(body.posed({"left front spread": -1.0, "right front spread": -1.0})) > 0


@all_species
def test_angles_0_give_the_rest(species):
    body = creature(species, 0)
    assert close(body.posed({}).vertices, body.rest.vertices)


@all_species
@pytest.mark.parametrize("seed", SEEDS[:2])
def test_the_mirror_image_of_a_pose_is_a_pose(species, seed):
    body, angles = creature(species, 0), random_angles(seed)
    by_name = dict(zip(JOINTS, angles.tolist(), strict=True))
    image = {}
    for name, angle in by_name.items():
        other = name.replace("left", "RIGHT").replace("right", "left").lower()
        image[other] = -angle if name.endswith("turn") else angle
    expected = body.posed(angles).vertices * REFLECTION
    assert close(body.posed(image).vertices[body.mirror], expected)
    assert not close(body.posed(by_name).vertices[body.mirror], expected, 0.01)


@all_species
@pytest.mark.parametrize("joint", list(JOINTS))
def test_a_joint_moves_its_part_and_leaves_others(species, joint):
    body = creature(species, 0)
    moved = (body.posed({joint: 0.5}).vertices - body.rest.vertices).norm(dim=1)
    part = joint.rsplit(" ", 1)[0].replace("neck", "head")
    label = SIDED_PARTS.index(part if part in SIDED_PARTS else f"{part} leg")
    assert float(moved[body.sided_labels == label].max()) > 0.03
    others = (body.sided_labels != label) & (body.sided_labels != 0)
    assert float(moved[others].max()) < 0.01


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("species", ["horse", "lizard"])
def test_legs_swing_backwards_and_knees_bend_backwards_and_spread_outwards(species, side):
    body = creature(species, 0)
    leg = body.sided_labels == SIDED_PARTS.index(f"{side} front leg")
    foot = int(torch.where(leg, body.rest.vertices[:, 2], torch.inf).argmin())
    for way, axis, sign in (("swing", 0, -1), ("knee", 0, -1), ("spread", 1, 1)):
        moved = body.posed({f"{side} front {way}": 0.4}).vertices[foot] - body.rest.vertices[foot]
        assert sign * float(moved[axis]) * (-1 if axis == 1 and side == "right" else 1) > 0.02


def test_a_knee_turns_the_foot_by_its_angle():
    body = creature("giraffe", 0)
    rest = body.rest.vertices
    leg = body.sided_labels == SIDED_PARTS.index("left front leg")
    foot = leg & (rest[:, 2] < rest[leg, 2].min() + 0.15)
    posed = body.posed({"left front knee": 0.9}).vertices
    a, b = (x[foot] - x[foot].mean(0) for x in (rest, posed))
    U, _, Vh = torch.linalg.svd(b.T @ a)
    R = U @ torch.diag(torch.tensor([1.0, 1.0, torch.linalg.det(U @ Vh)]).double()) @ Vh
    assert abs(math.acos((float(R.trace()) - 1) / 2) - 0.9) < 0.06


@all_splits
def test_random_angles_keep_to_their_range(split):
    limits = torch.tensor([LIMITS[joint] for joint in JOINTS])
    low, high = SPLITS[split]
    angles = torch.stack([random_angles(seed, split=split) for seed in range(200)])
    assert angles.shape == (200, 18) and angles.dtype == torch.float64
    share = angles.abs() / limits
    assert low <= share.min() < low + 0.02 and high - 0.02 < share.max() <= high
    signs = dict(zip(JOINTS, angles.sign().T, strict=True))
    for side in ("left", "right"):
        assert signs[f"{side} front knee"].eq(1).all() and signs[f"{side} hind knee"].eq(-1).all()
        assert torch.equal(signs[f"{side} front swing"], signs[f"{side} hind swing"])
    free = [joint for joint in JOINTS if not joint.endswith("knee")]
    assert max(abs(float(signs[joint].mean())) for joint in free) < 0.25


def test_the_ranges_do_not_overlap():
    assert SPLITS["train"][1] == SPLITS["held_out"][0]


def test_poses_depend_on_the_seed_alone():
    body = creature("dachshund", 0)
    a, b, c = (body.random_pose(seed).vertices for seed in (3, 3, 4))
    assert torch.equal(a, b) and not close(a, c, 0.01)
    assert torch.equal(Creature("dachshund").random_pose(3).vertices, a)


def test_copies_and_pickles_pose_alike():
    body = creature("lizard", 0)
    for other in (copy.deepcopy(body), pickle.loads(pickle.dumps(body))):
        assert torch.equal(other.random_pose(0).vertices, body.random_pose(0).vertices)


def test_a_rotation_of_the_whole_body_keeps_lengths():
    body = creature("horse", 0)
    plain = body.random_pose(1, split="held_out")
    turned = body.random_pose(1, split="held_out", rotated=True)
    assert close(plain.edge_lengths, turned.edge_lengths, 1e-13)
    assert not close(plain.vertices, turned.vertices, 0.1)
    other = body.random_pose(2, split="held_out", rotated=True)
    assert not close(other.vertices, turned.vertices, 0.1)


# --- what they refuse ---------------------------------------------------------------------------

ZERO = torch.zeros(18)


@pytest.mark.parametrize(
    ("error", "argument", "call"),
    [
        (ValueError, "species", lambda body: Creature("cat")),
        (ValueError, "species", lambda body: Creature(None)),
        (ValueError, "species", lambda body: Creature(np.array(["horse", "cat"]))),
        (TypeError, "level", lambda body: Creature("horse", 1.0)),
        (TypeError, "level", lambda body: Creature("horse", True)),
        (ValueError, "level", lambda body: Creature("horse", 3)),
        (ValueError, "level", lambda body: Creature("horse", -1)),
        (ValueError, "angles", lambda body: body.posed({"wing lift": 0.1})),
        (TypeError, "angles", lambda body: body.posed({"neck lift": "up"})),
        (ValueError, "angles", lambda body: body.posed({"neck lift": math.nan})),
        (ValueError, "angles", lambda body: body.posed({"neck lift": 4.0})),
        (ValueError, "angles", lambda body: body.posed(ZERO[1:])),
        (ValueError, "angles", lambda body: body.posed(ZERO[None])),
        (ValueError, "angles", lambda body: body.posed(ZERO + math.inf)),
        (TypeError, "angles", lambda body: body.posed(ZERO.bool())),
        (TypeError, "angles", lambda body: body.posed(None)),
        (TypeError, "seed", lambda body: body.random_pose(0.5)),
        (ValueError, "seed", lambda body: body.random_pose(-1)),
        (ValueError, "split", lambda body: body.random_pose(0, split="test")),
        (TypeError, "rotated", lambda body: body.random_pose(0, rotated=1)),
        (TypeError, "seed", lambda body: random_angles("0")),
        (ValueError, "seed", lambda body: random_angles(2**63)),
        (ValueError, "split", lambda body: random_angles(0, split=None)),
        (ValueError, "split", lambda body: random_angles(0, split=np.array(["train", "x"]))),
    ],
)
def test_bad_arguments_are_named(error, argument, call):
    with refuses(error, argument):
        call(creature("horse", 0))
