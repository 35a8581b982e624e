"""The gradient of a function on a sphere, from its values at the vertices of a mesh.

"A gradient" of the chapter "gauges", over three seeds. Functions are bumps on the northern half of
a body that stands upright while networks learn; they are tested on other functions, on the body as
it stood (upright), or turned by a random rotation with a random frame at each vertex (turned).
Those that read positions learn upright, or on bodies that are turned anew at each step (augmented).

The error is |prediction - truth| / |truth| over all vertices of all test functions. Beside the
networks stands the best linear convolution from numbers to vectors, by least squares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, silu

from gdl.gauges.frames import tangent_frames, vertex_gauge
from gdl.gauges.graph import GaugedGraph
from gdl.gauges.network import GaugeMeshCNN
from gdl.gauges.orders import Orders
from gdl.geodesics import (
    DiffusionNet,
    Mesh,
    SurfaceOperators,
    cotan_laplacian,
    icosphere,
    vertex_areas,
)
from gdl.geometry import random_rotations
from gdl.rotations import GNN
from gdl.training import count_parameters, fit
from studies._runner import Measurements, run
from studies._sizes import width_for

LEVEL, MODES = 3, 64
BUMPS, WIDTH = 5, 0.6
TRAINING, TEST = 64, 32
# Steps and their size.
RECIPE = ((300, 1e-2), (150, 2e-3))
HIDDEN = "8x0 + 6x1 + 2x2"


@dataclass(frozen=True, eq=False)
class Scene:
    """A body and its frames: what networks may read."""

    graph: GaugedGraph  # two rings
    surface: SurfaceOperators
    positions: Tensor  # (n, 3)
    frames: Tensor  # (n, 2, 3)

    def turned(self, rotation: Tensor) -> Scene:
        """The body with its frames after a rotation in space."""
        positions, frames = self.positions @ rotation.T, self.frames @ rotation.T
        return replace(self, positions=positions, frames=frames)

    def reframed(self, by: Tensor) -> Scene:
        """The same body with the frame of each vertex turned by an angle (n,)."""
        across = torch.stack([-self.frames[:, 1], self.frames[:, 0]], 1)
        frames = by.cos()[:, None, None] * self.frames - by.sin()[:, None, None] * across
        return replace(self, graph=self.graph.turned(by), frames=frames)


def gradient_weights(mesh: Mesh, graph: GaugedGraph) -> Tensor:
    """Cotangent weights times lengths over areas, (E,), scaled to sum to 1 in the mean.

    Neighbours so weighed balance: in space they sum to the mean curvature vector, which has no
    tangential part. So a constant has next to no gradient, whatever the shape of the triangles.
    """
    laplacian = cotan_laplacian(mesh).toarray()
    sources, targets = graph.edge_index.tolist()
    cotangents = torch.from_numpy(-laplacian[targets, sources])
    weights = cotangents * graph.distances / vertex_areas(mesh)[graph.targets]
    return weights * graph.num_nodes / weights.sum()


def sphere() -> Scene:
    mesh = icosphere(LEVEL)
    graph = vertex_gauge(mesh)
    rings = torch.stack([graph.weights[:, 0], gradient_weights(mesh, graph)], 1)
    return Scene(
        graph.with_weights(rings).to(dtype=torch.float32),
        SurfaceOperators.from_mesh(mesh, MODES).to(dtype=torch.float32),
        mesh.vertices.float(),
        tangent_frames(mesh).float(),
    )


def bumps(x: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sums of bumps at points x (n, 3) of the sphere, (count, n), and gradients (count, n, 3)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(count, BUMPS, 3, generator=generator)
    centres = nn.functional.normalize(centres, dim=-1)
    centres[..., 2] = centres[..., 2].abs()
    heights = torch.randn(count, BUMPS, 1, generator=generator)
    values = heights * torch.exp((centres @ x.T - 1) / WIDTH**2)
    slopes = values.transpose(1, 2) @ centres / WIDTH**2
    radial = (slopes * x).sum(-1, keepdim=True) * x
    return values.sum(1), slopes - radial


class InFrames(nn.Module):
    """Numbers on a gauged graph in, two numbers in the frame of each vertex out."""

    def __init__(self, hidden: str, rings: int = 2):
        super().__init__()
        self.rings = rings
        out = "1x1" if Orders(hidden).top else "2x0"
        self.net = GaugeMeshCNN("1x0", out, hidden=hidden, layers=2, rings=rings, function=silu)

    def forward(self, f: Tensor, scene: Scene) -> Tensor:
        return self.net(f, scene.graph.with_weights(scene.graph.weights[:, : self.rings]))


class InSpace(nn.Module):
    """An isotropic network that reads positions and answers with arrows in space."""

    def __init__(self, width: int):
        super().__init__()
        hidden = f"{width}x0"
        self.net = GaugeMeshCNN("4x0", "3x0", hidden=hidden, layers=2, rings=2, function=silu)

    def forward(self, f: Tensor, scene: Scene) -> Tensor:
        return in_frames(self.net(with_positions(f, scene), scene.graph), scene)


class Messages(nn.Module):
    """A network whose messages read the positions at both ends, and answer with arrows."""

    def __init__(self, width: int):
        super().__init__()
        self.net = GNN(1, width, 2)

    def forward(self, f: Tensor, scene: Scene) -> Tensor:
        # A batch of functions is one graph of disjoint copies.
        n = f.shape[1]
        edges = torch.cat([scene.graph.edge_index + k * n for k in range(len(f))], 1)
        positions = scene.positions.repeat(len(f), 1)
        _, moved = self.net(f.flatten(0, 1), positions, edges)
        return in_frames((moved - positions).unflatten(0, (-1, n)), scene)


class Diffusion(nn.Module):
    """DiffusionNet, with positions and arrows in space, or without and in frames."""

    def __init__(self, width: int, positions: bool):
        super().__init__()
        self.positions = positions
        inputs, outputs = (4, 3) if positions else (1, 2)
        self.net = DiffusionNet(inputs, outputs, width=width, blocks=2)

    def forward(self, f: Tensor, scene: Scene) -> Tensor:
        if not self.positions:
            return torch.stack([self.net(one, scene.surface) for one in f])
        read = with_positions(f, scene)
        return in_frames(torch.stack([self.net(one, scene.surface) for one in read]), scene)


def with_positions(f: Tensor, scene: Scene) -> Tensor:
    return torch.cat([f, scene.positions.expand(len(f), -1, -1)], -1)


def in_frames(arrows: Tensor, scene: Scene) -> Tensor:
    """Components of the tangential part, (B, n, 2)."""
    return torch.einsum("nak,bnk->bna", scene.frames, arrows)


class OnScene(nn.Module):
    """A network on one body, upright or, while it learns, turned anew at each step."""

    def __init__(self, net: nn.Module, scene: Scene, augmented: bool):
        super().__init__()
        self.net, self.scene, self.augmented = net, scene, augmented

    def forward(self, f: Tensor) -> Tensor:
        scene = self.scene
        if self.augmented:
            scene = scene.turned(random_rotations(1)[0].float())
        return self.net(f, scene)


def error(prediction: Tensor, truth: Tensor) -> float:
    return float((prediction - truth).norm() / truth.norm())


def least_squares(scene: Scene, ring: int, train: tuple, test: tuple) -> float:
    """The error of the best linear map of one ring, whose kernel is one complex number."""

    def sums(f: Tensor) -> Tensor:
        arrows = torch.polar(scene.graph.weights[:, ring], scene.graph.angles)
        messages = arrows * f[:, scene.graph.sources]
        return torch.zeros(f.shape, dtype=arrows.dtype).index_add(1, scene.graph.targets, messages)

    def field(arrows: Tensor) -> Tensor:
        return torch.view_as_complex(in_frames(arrows, scene))

    given, wanted = sums(train[0]), field(train[1])
    kernel = torch.vdot(given.flatten(), wanted.flatten()) / given.abs().square().sum()
    return error(kernel * sums(test[0]), field(test[1]))


# With their rings: one has equal weights only.
GAUGE = {"gauge": 2, "gauge, equal weights": 1}
BUDGET = count_parameters(InFrames(HIDDEN))
# How to build them, whether they learn from turned bodies.
VARIANTS: dict[str, tuple[Callable[[int], nn.Module], bool]] = {
    "isotropic": (lambda width: InFrames(f"{width}x0"), False),
    "isotropic, positions": (InSpace, False),
    "isotropic, positions, augmented": (InSpace, True),
    "messages, positions": (Messages, False),
    "messages, positions, augmented": (Messages, True),
    "DiffusionNet": (lambda width: Diffusion(width, False), False),
    "DiffusionNet, positions": (lambda width: Diffusion(width, True), False),
    "DiffusionNet, positions, augmented": (lambda width: Diffusion(width, True), True),
}


def built(variant: str) -> tuple[nn.Module, bool]:
    """A network with the budget of parameters, and whether it learns from turned bodies."""
    if variant in GAUGE:
        return InFrames(HIDDEN, GAUGE[variant]), False
    build, augmented = VARIANTS[variant]
    return build(width_for(build, BUDGET)), augmented


@torch.no_grad()
def measured(net: nn.Module, scene: Scene, functions: tuple[Tensor, Tensor], seed: int) -> dict:
    """Errors on the body as it stood, and turned, each function by a rotation of its own."""
    f, arrows = functions
    upright = error(net(f[..., None], scene), in_frames(arrows, scene))
    rotations = random_rotations(len(f), seed=seed).float()
    generator = torch.Generator().manual_seed(seed)
    guesses, truths = [], []
    for one, arrow, rotation in zip(f, arrows, rotations, strict=True):
        by = 2 * math.pi * torch.rand(len(one), generator=generator)
        other = scene.turned(rotation).reframed(by)
        guesses.append(net(one[None, :, None], other))
        truths.append(in_frames((arrow @ rotation.T)[None], other))
    return {"upright": upright, "turned": error(torch.cat(guesses), torch.cat(truths))}


def measure(seed: int) -> Measurements:
    """Relative errors of each network, with its number of parameters."""
    scene = sphere()
    # Seeds of functions do not meet: a thousand for each seed of the study.
    train = bumps(scene.positions, TRAINING, 1000 * seed)
    test = bumps(scene.positions, TEST, 1000 * seed + 500)
    for ring, name in ((0, "equal weights"), (1, "cotangent weights")):
        yield "least squares", f"error, {name}", least_squares(scene, ring, train, test)
    for variant in (*GAUGE, *VARIANTS):
        torch.manual_seed(seed)
        net, augmented = built(variant)
        yield variant, "parameters", count_parameters(net)
        model = OnScene(net, scene, augmented)
        for steps, lr in RECIPE:
            fit(
                model, train[0][..., None], in_frames(train[1], scene), steps=steps, lr=lr,
                batch_size=4, seed=seed, loss=mse_loss,
            )  # fmt: skip
        for bodies, value in measured(net, scene, test, 1000 * seed + 600).items():
            yield variant, f"error, {bodies}", value


if __name__ == "__main__":
    run("gradient_field", measure)
