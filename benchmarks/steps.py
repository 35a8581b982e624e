"""One training step of the networks that the chapters train, at the size of SCALE = "full".

Loss, gradients and a step of Adam on one batch of random data of the true shapes. n is what the
task names: a batch, the papers of Cora, the vertices of a mesh. Dropout is off, because its draws
depend on the device; TF32 is off. Before they are timed, the loss and the weights after one step in
float64 on the GPU are compared with those on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.cases import Case, worst
from benchmarks.layers import available, difference, finished, full_precision
from benchmarks.samples import F64, moved
from gdl import (
    attention,
    data,
    diffusion,
    gauges,
    geodesics,
    graphs,
    grids,
    groups,
    inference,
    programs,
    rotations,
    sequences,
    sparse_coding,
)
from gdl.inference.attend_infer_repeat import MIXING

__all__ = ["PACKAGES", "SIZES", "available", "case"]

PACKAGES: dict[str, str] = {}
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Training:
    """A network, what it is called with, and what it should have said."""

    network: nn.Module
    inputs: tuple
    target: Tensor
    loss: Loss = F.cross_entropy
    lr: float = 1e-2

    def on(self, device: str, dtype: torch.dtype) -> Training:
        inputs = tuple(moved(value, device, dtype) for value in self.inputs)
        network, target = self.network.to(device, dtype), moved(self.target, device, dtype)
        return Training(network, inputs, target, self.loss, self.lr)


class Judged(nn.Module):
    """A network whose loss is one of its methods."""

    def __init__(self, network: nn.Module, loss: Callable[..., Tensor]):
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.loss(self.network, *inputs)


class Ear(nn.Module):
    """The chapter's listener: a state space layer, and what it has in mind in the end."""

    def __init__(self, width: int, length: int):
        super().__init__()
        self.memory = sequences.StateSpace(1, width, width, longest=length)
        self.say = nn.Sequential(
            nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
        )

    def forward(self, told: Tensor) -> Tensor:
        return self.say(self.memory(told, mode="convolution")[..., -1, :])


def labels(count: int, classes: int = 10) -> Tensor:
    return torch.randint(classes, (count,))


def itself(loss: Tensor, target: Tensor) -> Tensor:
    return loss


def code_error(found: Tensor, codes: Tensor) -> Tensor:
    return (found - codes).square().sum(1).mean()


def random_graph(nodes: int, links: int) -> Tensor:
    """Both directions of each link, as in Cora and PROTEINS."""
    one_way = torch.randint(nodes, (2, links))
    return torch.cat([one_way, one_way.flip(0)], 1)


def convolutional(n: int) -> Training:
    network = nn.Sequential(
        grids.CircularConv(1, 32, 3), nn.ReLU(),
        grids.CircularConv(32, 64, 3, dilation=2), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return Training(network, (torch.rand(n, 1, 40, 40),), labels(n))


def rotated_digits(n: int) -> Training:
    return Training(groups.p4cnn(), (torch.rand(n, 1, 28, 28),), labels(n), lr=1e-3)


def spherical_digits(n: int) -> Training:
    network = rotations.SphericalCNN(1, 10, grid_degree=29, degrees=(10, 6), channels=(20, 40))
    rows, columns, _ = rotations.sphere_grid(29)[0].shape
    return Training(network, (torch.rand(n, 1, rows, columns),), labels(n), lr=5e-3)


def particles(n: int) -> Training:
    network = rotations.EGNN(1, 64, 4, edge_attributes=1, velocities=True)
    systems = rotations.charged_particles(n, steps=10, seed=0)
    model = rotations.ParticleModel(network)
    return Training(model, (systems.states,), systems.target, F.mse_loss, lr=5e-4)


def ethanol(n: int) -> Training:
    numbers, rest = data.molecules()["ethanol"]
    kinds = F.one_hot(numbers.unique(return_inverse=True)[1]).double()
    fields = rotations.TensorFieldNetwork(
        "3x0e", "1x0e", "16x0e + 8x1o",
        harmonics=1, layers=2, radius=5.0, radial=8, neighbours=8,
    )  # fmt: skip
    network = rotations.EnergyAndForces(rotations.CloudEnergy(fields.double(), kinds))
    shaken = rest + 0.1 * torch.randn(n, *rest.shape, dtype=F64)
    return Training(network, (shaken,), torch.randn(n, 1 + rest.numel()), F.mse_loss, lr=2e-3)


def papers(layer: type[nn.Module]) -> Callable[[int], Training]:
    """Of n papers with 1433 words in 7 fields, and two links a paper, 140 are labelled."""

    def made(n: int) -> Training:
        network = graphs.GraphNetwork([layer(*pair) for pair in pairwise((1433, 16, 7))])
        words = (torch.rand(n, 1433) < 0.0127).double()
        model = graphs.NodeClassifier(network.double(), words, random_graph(n, 2 * n))
        seen = torch.arange(min(n, 140))
        return Training(model, (seen,), labels(len(seen), 7))

    return made


def proteins(n: int) -> Training:
    collection = [(torch.rand(39, 3, dtype=F64), random_graph(39, 73)) for _ in range(n)]
    network = graphs.GIN(3, 16, 2, 3, dropout=0.0, dtype=F64)
    model = graphs.GraphClassifier(network, collection)
    return Training(model, (torch.arange(n),), labels(n, 2))


def reversed_tokens(n: int) -> Training:
    network = attention.TokenTransformer(
        32, 32, layers=2, width=128, heads=4, hidden=256, positions="sinusoidal"
    )
    tokens = attention.random_tokens(n, 16, 32, seed=0)
    answers = attention.token_targets(attention.reversal(tokens), 32)
    return Training(network, (tokens,), answers, attention.token_loss, lr=3e-3)


def bent_shapes(n: int) -> Training:
    """A mesh of the size of those in SHREC 2011, with 64 eigenpairs and 16 signatures."""
    surface = geodesics.SurfaceOperators.from_mesh(geodesics.torus(1.0, 0.4, 12, n // 12), 64)
    network = geodesics.DiffusionNet(16, 30, width=16, blocks=3, readout="global")
    return Training(network, (torch.randn(n, 16), surface), torch.tensor(3), lr=5e-3)


def icosahedral_digits(n: int) -> Training:
    grid = gauges.IcosahedralGrid(4)
    network = gauges.IcosahedralCNN(1, 10, grid, channels=(8, 16, 16, 32), pool_after=())
    return Training(network, (torch.rand(n, 1, 1, grid.num_vertices),), labels(n))


def landscapes(n: int) -> Training:
    ball = geodesics.icosphere(3)
    network = gauges.GaugeMeshCNN("1x0", "1x1", hidden="6x0 + 6x1 + 3x2", layers=2)
    heights, slopes = (torch.randn(n, ball.num_vertices, k) for k in (1, 2))
    return Training(network, (heights, gauges.vertex_gauge(ball)), slopes, F.mse_loss)


def pixel_by_pixel(n: int) -> Training:
    return Training(Ear(128, 784), (torch.rand(n, 784, 1),), labels(n), lr=5e-3)


def recalled(n: int) -> Training:
    body = sequences.Recurrent(sequences.LSTMCell(1, 24))
    heard, said = sequences.recall(n, 100, seed=0)
    return Training(sequences.SequenceClassifier(body, 24, 2), (heard,), said)


def equilibrium(n: int) -> Training:
    network = nn.Sequential(
        nn.Flatten(), programs.EquilibriumLayer(784, 200, contraction=0.9), nn.Linear(200, 10)
    )
    return Training(network, (torch.rand(n, 1, 28, 28),), labels(n), lr=3e-3)


def unrolled(n: int) -> Training:
    D = sparse_coding.random_dictionary(50, 100, seed=0, dtype=F64)
    codes, signals = sparse_coding.sparse_signals(n, D, density=0.1, seed=0)
    return Training(sparse_coding.LISTA(D, 0.1, 8), (signals,), codes, code_error, lr=2e-3)


def drawn_digits(n: int) -> Training:
    pen = sparse_coding.random_dictionary(784, 196, seed=0, dtype=F64)
    encoder = sparse_coding.SparseLSTM(pen, 0.1, 5)
    drawer = sparse_coding.SparseAutoencoder(encoder, pen)
    model = Judged(drawer, lambda drawer, ink: drawer.objective(ink, 0.1))
    # Signals that no atom resembles would have no code, and nothing to learn from.
    _, ink = sparse_coding.sparse_signals(n, pen, density=0.1, seed=0)
    return Training(model, (F.normalize(ink),), torch.zeros(()), itself, lr=2e-3)


def canvases(n: int) -> Training:
    def loss(air: inference.AttendInferRepeat, images: Tensor, noise: Tensor) -> Tensor:
        return -air.elbo(images, mix=MIXING[0][1], noise=noise).mean()

    model = Judged(inference.AttendInferRepeat(64, 28), loss)
    shown = torch.rand(n, 1, 64, 64), torch.randn(n, 3, 11)
    return Training(model, shown, torch.zeros(()), itself, lr=1e-3)


def scenes(n: int) -> Training:
    network = inference.SegmentationNet(inference.PixelClassifier(3, 3), inference.MeanFieldCRF(3))
    truth = torch.randint(3, (n, 16, 16))
    return Training(network, (torch.rand(n, 3, 16, 16),), truth, lr=3e-2)


def denoised(n: int) -> Training:
    clean = torch.rand(n, 1, 48, 48)
    noisy = clean + 25 / 255 * torch.randn_like(clean)
    return Training(diffusion.TNRD(5), (noisy,), clean, F.mse_loss, lr=3e-3)


STEPS: dict[str, tuple[Callable[[int], Training], int]] = {
    "CircularConv, MNIST, batch n": (convolutional, 64),
    "P4CNN, rotated MNIST, batch n": (rotated_digits, 128),
    "SphericalCNN, spherical MNIST, batch n": (spherical_digits, 32),
    "EGNN, charged particles, n systems": (particles, 100),
    "TensorFieldNetwork, forces of ethanol, batch n": (ethanol, 20),
    "GCN, Cora, n papers": (papers(graphs.GCNConv), 2708),
    "GAT, Cora, n papers": (papers(graphs.GATConv), 2708),
    "GraphSAGE, Cora, n papers": (papers(graphs.SAGEConv), 2708),
    "GIN, PROTEINS, n graphs": (proteins, 32),
    "TokenTransformer, 16 tokens, batch n": (reversed_tokens, 100),
    "DiffusionNet, SHREC 2011, n vertices": (bent_shapes, 252),
    "IcosahedralCNN, spherical MNIST, batch n": (icosahedral_digits, 32),
    "GaugeMeshCNN, 642 vertices, batch n": (landscapes, 8),
    "StateSpace, MNIST pixel by pixel, batch n": (pixel_by_pixel, 64),
    "LSTM, 101 steps, batch n": (recalled, 64),
    "EquilibriumLayer, MNIST, batch n": (equilibrium, 64),
    "LISTA, 100 keys, batch n": (unrolled, 128),
    "SparseLSTM, MNIST, batch n": (drawn_digits, 64),
    "AttendInferRepeat, 64 x 64, batch n": (canvases, 64),
    "SegmentationNet, 16 x 16, batch n": (scenes, 8),
    "TNRD, 48 x 48, batch n": (denoised, 8),
}
TASKS = {f"training step, {name}": make for name, (make, _) in STEPS.items()}
SIZES = {f"training step, {name}": (size,) for name, (_, size) in STEPS.items()}


def drawn(task: str, n: int) -> Training:
    """On the CPU, and equal each time."""
    torch.manual_seed(0)
    training = TASKS[task](n)
    training.network.double()
    return training


def started(training: Training, device: str, dtype: torch.dtype) -> tuple[nn.Module, Callable]:
    """A network on the device, and the call that trains it by one step."""
    training = training.on(device, dtype)
    optimiser = torch.optim.Adam(training.network.parameters(), lr=training.lr)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = training.loss(training.network(*training.inputs), training.target)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return training.network, step


def after_a_step(training: Training, device: str) -> tuple[list[Tensor], list[Tensor]]:
    """The loss, and the weights that it leads to, in float64."""
    network, step = started(training, device, F64)
    with full_precision():
        return [step()], [p.detach() for p in network.parameters()]


def agreement(task: str, n: int, device: str) -> float:
    """The larger difference, of the loss or of the weights."""
    here, there = (after_a_step(drawn(task, n), place) for place in ("cpu", device))
    return worst(difference(a, b) for a, b in zip(there, here, strict=True))


def timed(task: str, n: int, device: str) -> Callable[[], object]:
    """One step in float32; the first call makes the network, so that a failure is that call's."""
    made = cache(lambda: started(drawn(task, n), device, torch.float32))

    def call() -> None:
        _, step = made()
        with full_precision():
            step()
            finished(device)

    return call


def case(task: str, n: int, device: str = "cuda") -> Case:
    variants = {"CPU, float32": timed(task, n, "cpu"), "CUDA, float32": timed(task, n, device)}
    return Case(task, n, n, variants, lambda: agreement(task, n, device))
