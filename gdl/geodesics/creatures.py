r"""Four-legged creatures with joints: closed surfaces whose poses nearly keep all lengths.

All species and all poses have the same faces: vertex i is the same place on each of them.

Chapter: ``geodesics``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

import gdl._checks as check
from gdl.geodesics import _bodies as bodies
from gdl.geodesics import _checks as require
from gdl.geodesics._cages import SHAPES
from gdl.geodesics.mesh import Mesh
from gdl.geodesics.posing import AsRigidAsPossible
from gdl.geodesics.surfaces import vertex_permutation
from gdl.geometry import random_rotations

SPECIES = tuple(SHAPES)
PARTS = ("body", "head", "tail", "front legs", "hind legs")
LEGS = ("left front", "left hind", "right front", "right hind")
# The largest angles of random poses, in radians. A knee bends one way only.
LIMITS = {"neck lift": 0.6, "neck turn": 0.8, "head lift": 0.5, "head turn": 0.6}
LIMITS |= {"tail lift": 0.6, "tail turn": 1.0}
LEG_LIMITS = {"swing": 0.7, "spread": 0.12, "knee": 0.9}
LIMITS |= {f"{leg} {way}": limit for leg in LEGS for way, limit in LEG_LIMITS.items()}
JOINTS = tuple(LIMITS)
# The sizes of random angles, in their limits.
SPLITS = {"train": (0.0, 0.55), "held_out": (0.55, 1.0)}
HOLD, STEPS = 300.0, 4


class Creature:
    r"""A creature at rest, its parts, its mirror image and its poses.

    A closed surface of genus 0, rounded off from a cage of quadrilaterals by Catmull-Clark steps.
    x points forward, y to the left, z up; the finest level has area 1. Vertex i has the same place
    in every species and pose, and the vertices of one level are the first ones of the next, at
    rest at the same positions. At rest it is its own mirror image.

    Args:
        species: ``"horse"``, ``"dachshund"``, ``"giraffe"``, ``"elephant"`` or ``"lizard"``, which
            differ by their proportions.
        level: 0, 1 or 2, of 954, 3810 or 15234 vertices.

    Attributes:
        rest: the mesh at rest.
        labels: (n,), int64, the part of each vertex, an index of ``PARTS``; the neck belongs to
            the head.
        sided_labels: the same where each leg is a part by itself, left and right ones.
        mirror: (n,), int64, the vertex that the mirror image of each vertex is; no face keeps its
            orientation.

    Raises:
        TypeError: a level that is no integer.
        ValueError: another species or level.

    Law tested: closed, oriented, connected, V - E + F = 2, encloses a positive volume; each sided
    part is connected; the mirror is an automorphism; the smallest angle of a triangle. Source:
    Catmull and Clark, Recursively generated B-spline surfaces, 1978. Chapter: ``geodesics``.

    >>> horse = Creature("horse")
    >>> horse.rest, horse.rest.is_closed, horse.rest.euler_characteristic
    (Mesh(954 vertices, 1904 faces), True, 2)
    >>> [PARTS[k] for k in horse.labels.unique()]
    ['body', 'head', 'tail', 'front legs', 'hind legs']
    """

    def __init__(self, species: str, level: int = 0) -> None:
        check.one_of("species", species, SPECIES)
        self.species = species
        self.level = check.integer("level", level, 0, bodies.LEVELS - 1)
        self._body = bodies.body(species)
        pattern = bodies.levels()[level]
        n = pattern.matrix.shape[0]
        self.rest = Mesh(self._body.vertices[:n], pattern.faces)
        self.sided_labels = torch.from_numpy(self._body.parts[:n])
        self.labels = torch.tensor([0, 1, 2, 3, 3, 4, 4])[self.sided_labels]
        self.mirror = vertex_permutation(self.rest, torch.diag(torch.tensor([1.0, -1.0, 1.0])))
        self._rigid = AsRigidAsPossible(self.rest, HOLD)

    def __repr__(self) -> str:
        return f"Creature({self.species!r}, level={self.level})"

    def posed(self, angles: Mapping[str, float] | Tensor) -> Mesh:
        r"""The creature with its joints turned.

        What lies beyond a joint turns about it, the bend spread over a few rings of vertices; then
        four steps of :class:`AsRigidAsPossible` even out the lengths.

        Args:
            angles: radians by the names of ``JOINTS``, others 0, or all of them as (18,), from -pi
                to pi. Lifts turn about the axis to the left, turns and spreads sideways, swings and
                knees backwards. Beyond ``LIMITS`` parts may run into each other.

        Returns:
            A mesh with the faces of ``rest``.

        Raises:
            TypeError: angles that are no real numbers.
            ValueError: names that are no joints, another shape, angles out of range.

        Law tested: angles 0 give the rest; the mirror image of a pose is the pose with left and
        right exchanged; lengths change by less than 5 % in the mean. Chapter: ``geodesics``.

        >>> horse = Creature("horse")
        >>> grazing = horse.posed({"neck lift": 0.6, "head lift": 0.4})
        >>> nose = int(horse.rest.vertices[:, 0].argmax())
        >>> bool(grazing.vertices[nose, 2] < horse.rest.vertices[nose, 2])
        True
        """
        by_name = dict(zip(JOINTS, _read_angles(angles).tolist(), strict=True))
        rest = self.rest.vertices.numpy()
        limbs = dict.fromkeys(bend.limb for bend in self._body.bends)
        # Limbs share a few vertices where they begin. Sums do not depend on their order.
        moves = sum(self._turned(rest, limb, by_name) - rest for limb in limbs)
        return self._rigid(self.rest.with_vertices(rest + moves), STEPS)

    def _turned(self, x: np.ndarray, limb: str, angles: dict[str, float]) -> np.ndarray:
        # From the tip inwards, so that all pivots and axes are those at rest.
        for bend, weights in zip(self._body.bends[::-1], self._body.weights.T[::-1], strict=True):
            if bend.limb == limb:
                whole = bend.share * sum(angles[joint] * axis for joint, axis in bend.axes.items())
                turn = Rotation.from_rotvec(weights[: len(x), None] * whole)
                x = bend.pivot + turn.apply(x - bend.pivot)
        return x

    def random_pose(self, seed: int, *, split: str = "train", rotated: bool = False) -> Mesh:
        r"""A random pose, by :func:`random_angles`.

        Args:
            seed: of the angles and of the rotation.
            split: ``"train"`` or ``"held_out"``.
            rotated: turn the whole body by a rotation that is uniform on SO(3).

        Returns:
            A mesh with the faces of ``rest``.

        Raises: TypeError or ValueError for other arguments.
        Law tested: the seed; a rotation keeps all lengths. Chapter: ``geodesics``.

        >>> Creature("lizard").random_pose(0, split="held_out")
        Mesh(954 vertices, 1904 faces)
        """
        check.boolean("rotated", rotated)
        mesh = self.posed(random_angles(seed, split=split))
        if not rotated:
            return mesh
        return mesh.with_vertices(mesh.vertices @ random_rotations(1, seed=seed)[0].T)


def random_angles(seed: int, *, split: str = "train") -> Tensor:
    r"""Random angles of all joints.

        |angle| = limit u,    u uniform on (0, 0.55) for "train", on (0.55, 1) for "held_out"

    with random signs, except that front knees bend backwards and hind knees forwards, and that the
    two legs of one side swing the same way, or they would meet.

    Args:
        seed: at least 0.
        split: the range; no joint has an angle of both.

    Returns:
        (18,), float64, radians, in the order of ``JOINTS``.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the ranges, the signs, the seed. Chapter: ``geodesics``.

    >>> angles = random_angles(0, split="held_out")
    >>> limits = torch.tensor(list(LIMITS.values()))
    >>> bool((angles.abs() >= 0.55 * limits).all() and (angles.abs() <= limits).all())
    True
    """
    draw = torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**63 - 1))
    check.one_of("split", split, tuple(SPLITS))
    low, high = SPLITS[split]
    sizes = low + (high - low) * torch.rand(len(JOINTS), generator=draw, dtype=torch.float64)
    coins = torch.randint(0, 2, (len(JOINTS),), generator=draw).tolist()
    signs = {joint: 2 * coin - 1 for joint, coin in zip(JOINTS, coins, strict=True)}
    for side in ("left", "right"):
        signs[f"{side} hind swing"] = signs[f"{side} front swing"]
        signs |= {f"{side} front knee": 1, f"{side} hind knee": -1}
    return sizes * torch.tensor([signs[joint] * LIMITS[joint] for joint in JOINTS]).double()


def _read_angles(angles: Mapping[str, float] | Tensor) -> Tensor:
    if isinstance(angles, Mapping):
        unknown = [name for name in angles if name not in JOINTS]
        if unknown:
            raise ValueError(f"angles: expected names among {JOINTS}, got {unknown[0]!r}")
        angles = [angles.get(joint, 0.0) for joint in JOINTS]
    read = require.numbers("angles", angles, len(JOINTS))
    if bool((read.abs() > math.pi).any()):
        raise ValueError(f"angles: expected radians from -pi to pi, got {read.tolist()}")
    return read
