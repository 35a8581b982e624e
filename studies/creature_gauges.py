"""Parts of posed creatures, by networks with frames, without directions, and by diffusion.

"Creatures" of the chapter "gauges", over three seeds: the poses, the signatures and the recipe of
``studies.creatures``, whose bodies are turned by random rotations. Networks name the part of each
vertex from all times of the signature, from its four smallest, which tell of a neighbourhood only,
or name each leg by itself.

A creature is its own mirror image, poses and their mirror images are equally likely, and a
signature is the same on both. So what does not see the orientation of the surface names half of
the vertices of legs wrong, on average: "blind to the side".

The network without transport adds neighbours as if their frames were one. It is trained in the
frames of ``vertex_gauge``, which begin at an edge that is the same on all creatures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from gdl.gauges.frames import vertex_gauge
from gdl.gauges.graph import GaugedGraph
from gdl.gauges.network import GaugeMeshCNN
from gdl.geodesics import Creature, DiffusionNet, Mesh
from gdl.geodesics._bodies import SIDED_PARTS
from gdl.geodesics.creatures import PARTS, SPECIES
from gdl.training import count_parameters
from studies._runner import Measurements, run
from studies.creatures import (
    RECIPE,
    TEST_POSES,
    TIMES,
    TRAINING_POSES,
    Posed,
    learn,
    posed,
    share_right,
)

LAYERS = 4
# About as many numbers to learn.
HIDDEN, SCALARS, WIDTH = "12x0 + 6x1 + 3x2", "27x0", 64
SMALL_TIMES = 4
SWAPPED = {"left": "right", "right": "left"}
OTHER_SIDE = {
    name: " ".join(SWAPPED.get(word, word) for word in name.split()) for name in SIDED_PARTS
}
# Left and right are learned late.
LONG = ((1200, 5e-3), (400, 1e-3))


@dataclass(frozen=True, eq=False)
class Framed(Posed):
    """A creature in a pose, with frames."""

    graph: GaugedGraph
    legs: Tensor  # (n,), parts with each leg by itself


def framed(split: str, poses: int, seed: int, level: int = 0) -> list[Framed]:
    """The shapes of ``posed`` with frames from the rotated mesh."""
    shapes = []
    for shape in posed(split, poses, seed, level):
        mesh = Mesh(shape.rotated.double(), shape.surface.faces)
        legs = Creature(SPECIES[int(shape.species)], level).sided_labels
        graph = vertex_gauge(mesh).to(dtype=torch.float32)
        shapes.append(Framed(**vars(shape), graph=graph, legs=legs))
    return shapes


def reframed(shape: Framed, seed: int) -> Framed:
    """The same with a random frame at each vertex."""
    generator = torch.Generator().manual_seed(seed)
    by = 2 * math.pi * torch.rand(shape.graph.num_nodes, generator=generator)
    return replace(shape, graph=shape.graph.turned(by))


def upright_frames(shape: Framed) -> Framed:
    """The same with frames from the mesh before it was rotated."""
    mesh = Mesh(shape.upright.double(), shape.surface.faces)
    return replace(shape, graph=vertex_gauge(mesh).to(dtype=torch.float32))


class OnSignatures(nn.Module):
    """A network that is given some first times of the signature and what it reads of a shape."""

    def __init__(self, net: nn.Module, times: int, reads: Callable[[Framed], tuple]):
        super().__init__()
        self.net, self.times, self.reads = net, times, reads

    def forward(self, shape: Framed, positions: Tensor) -> Tensor:
        return self.net(shape.signature[:, : self.times], *self.reads(shape))


def convolutional(hidden: str, times: int, classes: int) -> OnSignatures:
    net = GaugeMeshCNN(f"{times}x0", f"{classes}x0", hidden=hidden, layers=LAYERS)
    return OnSignatures(net, times, lambda shape: (shape.graph,))


def without_transport(times: int, classes: int) -> OnSignatures:
    model = convolutional(HIDDEN, times, classes)
    model.reads = lambda shape: (
        replace(shape.graph, transports=torch.zeros_like(shape.graph.transports)),
    )
    return model


def diffusion(orientation: bool, times: int, classes: int) -> OnSignatures:
    net = DiffusionNet(times, classes, width=16, blocks=3, orientation=orientation)
    return OnSignatures(net, times, lambda shape: (shape.surface,))


def perceptron(times: int, classes: int) -> OnSignatures:
    net = nn.Sequential(
        nn.Linear(times, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
        nn.Linear(WIDTH, classes),
    )  # fmt: skip
    return OnSignatures(net, times, lambda shape: ())


def part(shape: Framed) -> Tensor:
    return shape.parts


def leg(shape: Framed) -> Tensor:
    return shape.legs


VARIANTS = {
    "gauge": partial(convolutional, HIDDEN),
    "isotropic": partial(convolutional, SCALARS),
    "DiffusionNet": partial(diffusion, True),
    "perceptron": perceptron,
}
WITHOUT_TRANSPORT = {"gauge, without transport": without_transport}
WITHOUT_ORIENTATION = {"DiffusionNet, without orientation": partial(diffusion, False)}
# Networks, what they name, how many names, of how many times, and the recipe.
TASKS = {
    "parts": (VARIANTS | WITHOUT_TRANSPORT, part, len(PARTS), len(TIMES), RECIPE),
    "parts, small times": (VARIANTS, part, len(PARTS), SMALL_TIMES, RECIPE),
    "each leg": (VARIANTS | WITHOUT_ORIENTATION, leg, len(SIDED_PARTS), len(TIMES), LONG),
}


@torch.no_grad()
def change(model: nn.Module, shapes: list[Framed], others: list[Framed]) -> float:
    """The largest difference of outputs, relative to the largest output."""
    before = torch.stack([model(shape, shape.rotated) for shape in shapes])
    after = torch.stack([model(shape, shape.rotated) for shape in others])
    return float((after - before).abs().max() / before.abs().max())


@torch.no_grad()
def side_right(model: nn.Module, shapes: list[Framed]) -> float:
    """The share of vertices of legs whose leg is preferred to the same leg of the other side."""
    right = []
    for shape in shapes:
        paired = torch.tensor([other != name for name, other in OTHER_SIDE.items()])[shape.legs]
        names = shape.legs[paired, None]
        others = torch.tensor([SIDED_PARTS.index(other) for other in OTHER_SIDE.values()])[names]
        output = model(shape, shape.rotated)[paired]
        right.append((output.gather(1, names) > output.gather(1, others)).float().mean())
    return float(torch.stack(right).mean())


def blind_to_the_side(shapes: list[Framed]) -> float:
    """The share of vertices that can be named right on average, if one leg is like the other."""
    paired = torch.tensor([other != name for name, other in OTHER_SIDE.items()])
    legs = torch.cat([paired[shape.legs] for shape in shapes])
    return 1 - float(legs.double().mean()) / 2


def measure(seed: int) -> Measurements:
    """Shares of vertices that each network names right, and changes with the frames."""
    train = framed("train", TRAINING_POSES, 1000 * seed)
    tests = {
        "small angles": framed("train", TEST_POSES, 1000 * seed + 500),
        "large angles": framed("held_out", TEST_POSES, 1000 * seed + 600),
        "large angles, finer mesh": framed("held_out", 1, 1000 * seed + 700, level=1),
    }
    large = tests["large angles"]
    other_frames = [reframed(shape, seed) for shape in large]
    upright = [upright_frames(shape) for shape in large]
    yield "blind to the side", "each leg, large angles", blind_to_the_side(large)
    for task, (variants, target, classes, times, recipe) in TASKS.items():
        for variant, make in variants.items():
            torch.manual_seed(seed)
            model = make(times, classes)
            yield variant, f"{task}, parameters", count_parameters(model)
            learn(model, train, target, classes, seed, augmented=False, recipe=recipe)
            for poses, shapes in tests.items():
                yield variant, f"{task}, {poses}", share_right(model, shapes, target, rotated=True)
            if target is leg:
                yield variant, "side of a leg, large angles", side_right(model, large)
            if variant.startswith("gauge"):
                value = share_right(model, other_frames, target, rotated=True)
                yield variant, f"{task}, large angles, random frames", value
                yield variant, f"{task}, change with the frames", change(model, large, other_frames)
                yield variant, f"{task}, change with a rotation", change(model, large, upright)


if __name__ == "__main__":
    run("creature_gauges", measure)
