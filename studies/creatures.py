"""Parts and species of posed creatures, by networks on surfaces and by networks of positions.

"Creatures" of the chapter "geodesics", over three seeds. Networks learn from small joint angles and
are tested on larger ones, which no training pose has, with the body as it stands (upright) or
turned by a random rotation (rotated). Those that read positions learn from upright bodies, or from
bodies that are turned anew at each step (augmented).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gdl.geodesics import (
    Creature,
    DiffusionNet,
    SurfaceOperators,
    eigenbasis,
    heat_kernel_signature,
    vertex_areas,
)
from gdl.geodesics.creatures import PARTS, SPECIES
from gdl.geometry import random_rotations
from gdl.training import fit
from studies._runner import Measurements, run

MODES = 64
# In units of the area of a creature, from the size of a few triangles to the whole body.
TIMES = torch.logspace(-3, -0.5, 16, dtype=torch.float64)
TRAINING_POSES, TEST_POSES = 4, 4
# Steps and their size.
RECIPE = ((600, 5e-3), (200, 1e-3))


@dataclass(frozen=True, eq=False)
class Posed:
    """One creature in one pose: what networks may read, and what they shall say."""

    surface: SurfaceOperators
    signature: Tensor  # (n, 16)
    upright: Tensor  # (n, 3), about the centre of mass
    rotated: Tensor  # (n, 3)
    parts: Tensor  # (n,)
    species: Tensor  # ()


def posed(split: str, poses: int, seed: int, level: int = 0) -> list[Posed]:
    """Each species in some random poses; a pose is given to one species only.

    Surface and signature are computed from the rotated mesh.
    """
    shapes = []
    for index, name in enumerate(SPECIES):
        creature = Creature(name, level)
        for pose in range(poses):
            number = seed + index * poses + pose
            mesh = creature.random_pose(number, split=split)
            areas = vertex_areas(mesh)
            upright = mesh.vertices - areas @ mesh.vertices / areas.sum()
            mesh = mesh.with_vertices(upright @ random_rotations(1, seed=number)[0].T)
            basis = eigenbasis(mesh, MODES)
            heat = heat_kernel_signature(basis, TIMES)
            shapes.append(
                Posed(
                    SurfaceOperators.from_basis(mesh, basis).to(dtype=torch.float32),
                    # 1 on the plane, where heat kernels are (4 pi t)^-1.
                    torch.log(4 * math.pi * TIMES * heat).float(),
                    upright.float(),
                    mesh.vertices.float(),
                    creature.labels,
                    torch.tensor(index),
                )
            )
    return shapes


class Intrinsic(nn.Module):
    """DiffusionNet on heat kernel signatures, which are functions of lengths."""

    def __init__(self, classes: int, readout: str = "vertices"):
        super().__init__()
        self.net = DiffusionNet(len(TIMES), classes, width=16, blocks=3, readout=readout)

    def forward(self, shape: Posed, positions: Tensor) -> Tensor:
        return self.net(shape.signature, shape.surface)


class Extrinsic(nn.Module):
    """DiffusionNet on positions."""

    def __init__(self, classes: int):
        super().__init__()
        self.net = DiffusionNet(3, classes, width=16, blocks=3)

    def forward(self, shape: Posed, positions: Tensor) -> Tensor:
        return self.net(positions, shape.surface)


class Pointwise(nn.Module):
    """A perceptron on the position of each vertex by itself."""

    def __init__(self, classes: int, width: int = 72):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, classes),
        )  # fmt: skip

    def forward(self, shape: Posed, positions: Tensor) -> Tensor:
        return self.net(positions)


class PointNet(nn.Module):
    """A perceptron on each position, the largest values of all vertices, and another perceptron.

    The second hears the vertex and the whole, or the whole alone, if the answer is one for all.
    """

    def __init__(self, classes: int, width: int = 43, per_vertex: bool = True):
        super().__init__()
        self.per_vertex = per_vertex
        self.each = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
        heard = 2 * width if per_vertex else width
        self.all = nn.Sequential(nn.Linear(heard, width), nn.ReLU(), nn.Linear(width, classes))

    def forward(self, shape: Posed, positions: Tensor) -> Tensor:
        each = self.each(positions)
        whole = each.max(0).values
        if not self.per_vertex:
            return self.all(whole)
        return self.all(torch.cat([each, whole.expand_as(each)], 1))


class OnShapes(nn.Module):
    """A network that is given numbers of shapes, upright or, while it learns, turned anew."""

    def __init__(self, net: nn.Module, shapes: list[Posed], augmented: bool):
        super().__init__()
        self.net, self.shapes, self.augmented = net, shapes, augmented

    def forward(self, numbers: Tensor) -> Tensor:
        turns = random_rotations(len(numbers)).float() if self.augmented else None
        outputs = []
        for k, number in enumerate(numbers.tolist()):
            shape = self.shapes[number]
            positions = shape.upright @ turns[k].T if self.augmented else shape.upright
            outputs.append(self.net(shape, positions))
        return torch.stack(outputs)


def part(shape: Posed) -> Tensor:
    return shape.parts


def species(shape: Posed) -> Tensor:
    return shape.species


def cross_entropy(output: Tensor, targets: Tensor) -> Tensor:
    """The mean over all vertices of a batch, or over its shapes; targets are zeros and ones."""
    return nn.functional.cross_entropy(output.flatten(0, -2), targets.flatten(0, -2))


def learn(
    net: nn.Module,
    shapes: list[Posed],
    target: Callable[[Posed], Tensor],
    classes: int,
    seed: int,
    augmented: bool,
    recipe: tuple[tuple[int, float], ...] = RECIPE,
) -> nn.Module:
    """One recipe for all: one shape a step, large steps first, then small ones."""
    y = nn.functional.one_hot(torch.stack([target(shape) for shape in shapes]), classes).float()
    model = OnShapes(net, shapes, augmented)
    for steps, lr in recipe:
        fit(
            model, torch.arange(len(shapes)), y, steps=steps, lr=lr, batch_size=1, seed=seed,
            loss=cross_entropy,
        )  # fmt: skip
    return net.eval()


@torch.no_grad()
def share_right(
    model: nn.Module, shapes: list[Posed], target: Callable[[Posed], Tensor], rotated: bool
) -> float:
    """The share of vertices, or of creatures, that are named right."""
    right = []
    for shape in shapes:
        positions = shape.rotated if rotated else shape.upright
        right.append((model(shape, positions).argmax(-1) == target(shape)).float().mean())
    return float(torch.stack(right).mean())


PART_VARIANTS = {
    "DiffusionNet, signatures": (Intrinsic, False),
    "DiffusionNet, positions, augmented": (Extrinsic, True),
    "DiffusionNet, positions": (Extrinsic, False),
    "perceptron, positions": (Pointwise, False),
    "perceptron, positions, augmented": (Pointwise, True),
    "PointNet, positions": (PointNet, False),
    "PointNet, positions, augmented": (PointNet, True),
}
SPECIES_VARIANTS = {
    "DiffusionNet, signatures": (lambda n: Intrinsic(n, "global"), False),
    "PointNet, positions": (lambda n: PointNet(n, 54, per_vertex=False), False),
    "PointNet, positions, augmented": (lambda n: PointNet(n, 54, per_vertex=False), True),
}
TASKS = {
    "parts": (PART_VARIANTS, part, len(PARTS)),
    "species": (SPECIES_VARIANTS, species, len(SPECIES)),
}


def measure(seed: int) -> Measurements:
    """Shares of vertices or creatures that each network names right."""
    # Seeds of poses do not meet: a thousand for each seed of the study.
    train = posed("train", TRAINING_POSES, 1000 * seed)
    tests = {
        "small angles": posed("train", TEST_POSES, 1000 * seed + 500),
        "large angles": posed("held_out", TEST_POSES, 1000 * seed + 600),
        "large angles, finer mesh": posed("held_out", 1, 1000 * seed + 700, level=1),
    }
    for task, (variants, target, classes) in TASKS.items():
        for variant, (make, augmented) in variants.items():
            torch.manual_seed(seed)
            model = learn(make(classes), train, target, classes, seed, augmented)
            for poses, shapes in tests.items():
                value = share_right(model, shapes, target, rotated=True)
                yield variant, f"{task}, {poses}, rotated", value
                # Signatures are those of the rotated mesh.
                if not isinstance(model, Intrinsic):
                    value = share_right(model, shapes, target, rotated=False)
                    yield variant, f"{task}, {poses}, upright", value


if __name__ == "__main__":
    run("creatures", measure)
