"""One small instance of every layer of the package, and what it is called with.

Layers and inputs are drawn on the CPU; `benchmarks.layers` moves them and compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from gdl import (
    attention,
    diffusion,
    equivariance,
    factorization,
    gauges,
    geodesics,
    graphs,
    grids,
    groups,
    high_dimensions,
    inference,
    programs,
    rotations,
    sequences,
    sparse_coding,
    zoo,
)
from gdl import representations as rep

F64 = torch.float64


@dataclass
class Sample:
    """A layer and what it is called with."""

    layer: nn.Module
    inputs: tuple = ()
    named: dict = field(default_factory=dict)
    method: str = "forward"

    def __call__(self) -> object:
        call = self.layer if self.method == "forward" else getattr(self.layer, self.method)
        return call(*self.inputs, **self.named)

    def on(self, device: str, dtype: torch.dtype) -> Sample:
        """This layer, moved, and its inputs as well, which ask for gradients."""
        named = {name: asking(moved(v, device, dtype)) for name, v in self.named.items()}
        inputs = tuple(asking(moved(v, device, dtype)) for v in self.inputs)
        return Sample(self.layer.to(device, dtype), inputs, named, self.method)

    def leaves(self) -> list[Tensor]:
        """What gradients are taken for."""
        given = [*self.inputs, *self.named.values(), *self.layer.parameters()]
        return [t for t in given if isinstance(t, Tensor) and t.requires_grad]


def moved(value: object, device: str, dtype: torch.dtype) -> object:
    """A tensor, a graph or a surface on the device; indices keep their dtype, words stay."""
    if isinstance(value, Tensor) and not value.is_floating_point():
        return value.to(device)
    return value if isinstance(value, str) else value.to(device=device, dtype=dtype)


def asking(value: object) -> object:
    decimals = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().requires_grad_() if decimals else value


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=F64)


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, dtype=F64)


NODES, EDGES = 12, 40


def edges() -> Tensor:
    pairs = torch.randperm(NODES**2)[:EDGES]
    return torch.stack([pairs // NODES, pairs % NODES])


def links() -> Tensor:
    """Without loops, for layers that divide by distances."""
    pairs = edges()
    return pairs[:, pairs[0] != pairs[1]]


def adjacency() -> graphs.Adjacency:
    return graphs.Adjacency(edges(), NODES, dtype=F64)


@cache
def surface() -> geodesics.SurfaceOperators:
    return geodesics.SurfaceOperators.from_mesh(geodesics.torus(1.0, 0.4, 8, 12), 16)


@cache
def gauged() -> gauges.GaugedGraph:
    return gauges.vertex_gauge(geodesics.torus(1.0, 0.4, 8, 12))


def perceptron(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, outputs))


def dictionary(rows: int = 6, columns: int = 10) -> Tensor:
    D = normal(rows, columns)
    return D / D.norm(dim=0)


def collection() -> list[tuple[Tensor, Tensor]]:
    return [(normal(NODES, 3), edges()) for _ in range(4)]


def cloud_energy() -> nn.Module:
    network = rotations.TensorFieldNetwork(
        "2x0e", "1x0e", "4x0e + 2x1o", harmonics=1, radius=5.0, dtype=F64
    )
    return rotations.CloudEnergy(network, torch.eye(4, 2, dtype=F64))


class Settling(nn.Module):
    """A cell with a weight, so that the equilibrium has a gradient for it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5, dtype=F64))

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.scale * (z.mean(-2, keepdim=True) + x).sin()


def corner(x: Tensor) -> Tensor:
    return x[..., :2, :2].sum((1, 2, 3))


def negative(k: Tensor | int) -> Tensor | int:
    return -k


def corners() -> zoo.ScoredFrame:
    return zoo.ScoredFrame(
        corner, torch.arange(4), zoo.quarter_turn, inverse=negative, temperature=0.7
    )


FIELD = (4, 2, 16, 16)
C4, D4 = rep.cyclic(4), rep.dihedral(4)
PAIRS = rep.symmetric(4).defining * rep.symmetric(4).defining
TORUS = rep.translations(4, 4).defining
TURNING = rep.circular_irrep(rep.SO(2), 0) + rep.circular_irrep(rep.SO(2), 1)
ORDERS = "3x0 + 2x1 + 1x2"

LAYERS: dict[str, Callable[[], Sample]] = {
    # grids
    "CircularConv, direct": lambda: Sample(grids.CircularConv(2, 3, 5), (normal(*FIELD),)),
    "CircularConv, fft": lambda: Sample(
        grids.CircularConv(2, 3, 5, method="fft"), (normal(*FIELD),)
    ),
    "LocallyConnected2d": lambda: Sample(
        grids.LocallyConnected2d(2, 3, 3, size=(16, 16)), (normal(*FIELD),)
    ),
    "BlurPool": lambda: Sample(grids.BlurPool(3), (normal(*FIELD),)),
    "PolyphaseDownsample": lambda: Sample(grids.PolyphaseDownsample(2), (normal(*FIELD),)),
    "PolyphaseUpsample": lambda: Sample(
        grids.PolyphaseUpsample(2), (normal(4, 2, 8, 8), torch.arange(4))
    ),
    "ResidualBlock": lambda: Sample(grids.ResidualBlock(2), (normal(*FIELD),)),
    "UNet, max": lambda: Sample(
        grids.UNet(2, 2, width=4, downsample="max"), (normal(*FIELD),)
    ),
    "UNet, polyphase": lambda: Sample(grids.UNet(2, 2, width=4), (normal(*FIELD),)),
    "UNetBlock": lambda: Sample(grids.UNetBlock(2, 3, nn.Identity()), (normal(*FIELD),)),
    "Scattering": lambda: Sample(grids.Scattering((16, 16), 3, angles=4), (normal(*FIELD),)),
    # equivariance
    "EquivariantLinear, tensors": lambda: Sample(
        equivariance.EquivariantLinear(PAIRS, PAIRS, 2, 3), (normal(4, 2, 16),)
    ),
    "EquivariantLinear, torus": lambda: Sample(
        equivariance.EquivariantLinear(TORUS, TORUS, 2, 3), (normal(4, 2, 16),)
    ),
    "Expansion": lambda: Sample(
        equivariance.Expansion(equivariance.equivariant_basis(PAIRS, PAIRS)), (normal(2, 15),)
    ),
    "Constant": lambda: Sample(equivariance.Constant(normal(5))),
    # groups
    "FieldConv2d": lambda: Sample(
        groups.FieldConv2d(2, 3, 3, rep.trivial(C4), rep.trivial(C4), normal(2, 1, 9)),
        (normal(2, 2, 9, 9),),
    ),
    "LiftingConv2d": lambda: Sample(groups.LiftingConv2d(1, 2, 3, D4), (normal(2, 1, 9, 9),)),
    "GroupConv2d": lambda: Sample(groups.GroupConv2d(2, 3, 3, C4), (normal(2, 8, 9, 9),)),
    "SteerableConv2d": lambda: Sample(
        groups.SteerableConv2d(2, 3, 5, TURNING, TURNING), (normal(2, 6, 9, 9),)
    ),
    "groups.GatedNonlinearity": lambda: Sample(
        groups.GatedNonlinearity(rep.circular_irrep(rep.SO(2), 1)), (normal(2, 12, 5, 5),)
    ),
    "groups.NormNonlinearity": lambda: Sample(
        groups.NormNonlinearity(3, rep.circular_irrep(rep.SO(2), 1)), (normal(2, 6, 5, 5),)
    ),
    "PointwiseNonlinearity": lambda: Sample(
        groups.PointwiseNonlinearity(rep.regular(C4), torch.tanh), (normal(2, 4, 5, 5),)
    ),
    "FieldBatchNorm2d": lambda: Sample(
        groups.FieldBatchNorm2d(3, rep.regular(C4)), (normal(2, 12, 5, 5),)
    ),
    "CosetPool": lambda: Sample(
        groups.CosetPool(D4, [D4.generator(1)]), (normal(2, 24, 5, 5),)
    ),
    "FieldPool2d": lambda: Sample(groups.FieldPool2d(rep.regular(C4), 2), (normal(2, 8, 8, 8),)),
    "GroupPool": lambda: Sample(groups.GroupPool(rep.regular(C4)), (normal(2, 12, 5, 5),)),
    "SpatialPool": lambda: Sample(groups.SpatialPool(), (normal(2, 3, 5, 5),)),
    # rotations
    "SphericalTransform": lambda: Sample(
        rotations.SphericalTransform(3, grid_degree=5), (normal(2, 6, 11),)
    ),
    "RotationTransform": lambda: Sample(
        rotations.RotationTransform(1, grid_degree=2), (normal(4, 75),)
    ),
    "ZonalConv": lambda: Sample(rotations.ZonalConv(2, 3, 4), (normal(3, 2, 25),)),
    "LiftingSphereConv": lambda: Sample(
        rotations.LiftingSphereConv(1, 2, 2), (normal(3, 1, 9),)
    ),
    "RotationConv": lambda: Sample(rotations.RotationConv(2, 3, 2), (normal(3, 2, 35),)),
    "GridNonlinearity": lambda: Sample(
        rotations.GridNonlinearity(rotations.RotationTransform(2)), (normal(3, 35),)
    ),
    "SignalBatchNorm": lambda: Sample(
        rotations.SignalBatchNorm(2, rotations.SphericalTransform(3)), (normal(5, 2, 16),)
    ),
    "SphericalCNN": lambda: Sample(
        rotations.SphericalCNN(1, 4, grid_degree=5, degrees=(3, 2), channels=(2, 3)),
        (normal(3, 1, 6, 11),),
    ),
    "ZonalCNN": lambda: Sample(
        rotations.ZonalCNN(1, 4, grid_degree=5, degrees=(3, 2), channels=(2, 3)),
        (normal(3, 1, 6, 11),),
    ),
    "TensorProduct, aligned": lambda: Sample(
        rotations.TensorProduct("4x0e + 4x1o", "2x0e + 2x1o", 2, dtype=F64),
        (normal(5, 16), normal(5, 3)),
    ),
    "TensorProduct, paths": lambda: Sample(
        rotations.TensorProduct("4x0e + 4x1o", "2x0e + 2x1o", 2, method="paths", dtype=F64),
        (normal(5, 16), normal(5, 3)),
    ),
    "E3nnTensorProduct": lambda: Sample(
        rotations.E3nnTensorProduct(
            rotations.TensorProduct("2x0e + 2x1o", "1x0e + 1x1o", 1, dtype=F64)
        ),
        (normal(5, 8), normal(5, 3)),
    ),
    "Gate": lambda: Sample(rotations.Gate("4x0e + 2x1o"), (normal(3, 12),)),
    "IrrepsLinear": lambda: Sample(rotations.IrrepsLinear("4x0e + 2x1o", "3x1o"), (normal(5, 10),)),
    "TensorFieldConv": lambda: Sample(
        rotations.TensorFieldConv("2x0e", "4x0e + 2x1o", 1, radius=2.0, dtype=F64),
        (normal(NODES, 2), normal(NODES, 3), links()),
    ),
    "TensorFieldNetwork": lambda: Sample(
        rotations.TensorFieldNetwork(
            "2x0e", "2x0e + 1x1o", "4x0e + 2x1o", harmonics=1, radius=2.0, dtype=F64
        ),
        (normal(NODES, 2), normal(NODES, 3), links()),
    ),
    "EGNNLayer": lambda: Sample(
        rotations.EGNNLayer(4, 8), (normal(NODES, 4), normal(NODES, 3), links())
    ),
    "EGNN": lambda: Sample(
        rotations.EGNN(2, 8, 2, out_features=3, velocities=True),
        (normal(NODES, 2), normal(NODES, 3), links()),
        {"v": normal(NODES, 3)},
    ),
    "GNN": lambda: Sample(
        rotations.GNN(2, 8, 2), (normal(NODES, 2), normal(NODES, 3), links())
    ),
    "CloudEnergy": lambda: Sample(cloud_energy(), (normal(3, 4, 3),)),
    "EnergyAndForces": lambda: Sample(
        rotations.EnergyAndForces(cloud_energy()), (normal(3, 4, 3),)
    ),
    "ParticleModel": lambda: Sample(
        rotations.ParticleModel(rotations.EGNN(1, 8, 2, edge_attributes=1, velocities=True)),
        (normal(4, 5, 7),),
    ),
    # graphs
    "GCNConv": lambda: Sample(graphs.GCNConv(3, 2), (normal(NODES, 3), adjacency())),
    "GCNConv, edge_index": lambda: Sample(graphs.GCNConv(3, 2), (normal(NODES, 3), edges())),
    "GINConv": lambda: Sample(
        graphs.GINConv(perceptron(3, 2), train_eps=True), (normal(NODES, 3), adjacency())
    ),
    "SAGEConv": lambda: Sample(graphs.SAGEConv(3, 2), (normal(NODES, 3), adjacency())),
    "SAGEConv, max": lambda: Sample(
        graphs.SAGEConv(3, 2, aggr="max"), (normal(NODES, 3), edges())
    ),
    "MPNNConv": lambda: Sample(
        graphs.MPNNConv(nn.Linear(7, 5), nn.Linear(8, 2)),
        (normal(NODES, 3), edges(), normal(EDGES, 1)),
    ),
    "GATConv": lambda: Sample(graphs.GATConv(3, 2, heads=4), (normal(NODES, 3), adjacency())),
    "GATConv, edge_index": lambda: Sample(
        graphs.GATConv(3, 2, heads=4), (normal(NODES, 3), edges())
    ),
    "GATv2Conv": lambda: Sample(
        graphs.GATv2Conv(3, 2, heads=4), (normal(NODES, 3), adjacency())
    ),
    "GraphNetwork": lambda: Sample(
        graphs.GraphNetwork([graphs.GCNConv(3, 8), graphs.GCNConv(8, 2)]),
        (normal(NODES, 3), adjacency()),
    ),
    "NodeClassifier": lambda: Sample(
        graphs.NodeClassifier(graphs.GATConv(3, 2), normal(NODES, 3), edges()),
        (torch.arange(5),),
    ),
    "GIN": lambda: Sample(
        graphs.GIN(3, 8, 2, layers=2, dropout=0.0),
        (normal(NODES, 3), edges(), torch.arange(NODES) // 4),
    ),
    "GraphClassifier": lambda: Sample(
        graphs.GraphClassifier(graphs.GIN(3, 8, 2, layers=2, dropout=0.0), collection()),
        (torch.tensor([2, 0, 3, 2]),),
    ),
    "DeepSetLayer": lambda: Sample(graphs.DeepSetLayer(3, 5), (normal(2, 7, 3),)),
    "DeepSetLayer, masked": lambda: Sample(
        graphs.DeepSetLayer(3, 5, aggregation="max"),
        (normal(2, 7, 3), torch.arange(7).expand(2, 7) < 4),
    ),
    "DeepSets": lambda: Sample(
        graphs.DeepSets(perceptron(3, 8), perceptron(8, 2)), (normal(2, 7, 3),)
    ),
    "TensorLinear": lambda: Sample(graphs.TensorLinear(2, 2, 3, 4), (normal(5, 3, 6, 6),)),
    "InvariantGraphNetwork": lambda: Sample(
        graphs.InvariantGraphNetwork(1, (8, 8), 2), (normal(3, 1, 5, 5),)
    ),
    # attention
    "EdgeAttention": lambda: Sample(attention.EdgeAttention(8, 2), (normal(NODES, 8), edges())),
    "MultiHeadAttention": lambda: Sample(attention.MultiHeadAttention(8, 2), (normal(3, 5, 8),)),
    "MultiHeadAttention, rotary": lambda: Sample(
        attention.MultiHeadAttention(8, 2, rotary=100.0), (normal(3, 5, 8),)
    ),
    "EncoderLayer": lambda: Sample(attention.EncoderLayer(8, 2, 16), (normal(3, 5, 8),)),
    "TransformerEncoder": lambda: Sample(
        attention.TransformerEncoder(2, 8, 2, positions="rotary"), (normal(3, 5, 8),)
    ),
    "TokenTransformer": lambda: Sample(
        attention.TokenTransformer(10, 4, layers=1, width=8, heads=2, positions="sinusoidal"),
        (torch.arange(15).view(3, 5) % 10,),
    ),
    "SignInvariantEncoder": lambda: Sample(
        attention.SignInvariantEncoder(3, 4, 8), (normal(NODES, 3),)
    ),
    "BasisInvariantEncoder": lambda: Sample(
        attention.BasisInvariantEncoder(4, 8), (normal(2), normal(2, 5, 5))
    ),
    # geodesics
    "LearnedDiffusion, spectral": lambda: Sample(
        geodesics.LearnedDiffusion(3), (normal(96, 3), surface())
    ),
    "LearnedDiffusion, implicit": lambda: Sample(
        geodesics.LearnedDiffusion(3, method="implicit"), (normal(96, 3), surface())
    ),
    "GradientFeatures": lambda: Sample(
        geodesics.GradientFeatures(3), (normal(96, 3), surface())
    ),
    "DiffusionBlock": lambda: Sample(geodesics.DiffusionBlock(3), (normal(96, 3), surface())),
    "DiffusionNet": lambda: Sample(
        geodesics.DiffusionNet(3, 4, width=8, blocks=2, readout="global"),
        (normal(96, 3), surface()),
    ),
    "ChebConv": lambda: Sample(geodesics.ChebConv(3, 4, order=3), (normal(96, 3), surface())),
    # gauges
    "GaugeConv": lambda: Sample(
        gauges.GaugeConv("3x0", ORDERS), (normal(96, 3), gauged())
    ),
    "GaugeBlock": lambda: Sample(gauges.GaugeBlock("3x0", ORDERS), (normal(96, 3), gauged())),
    "GaugeMeshCNN": lambda: Sample(
        gauges.GaugeMeshCNN("3x0", "1x1", hidden=ORDERS, layers=2), (normal(96, 3), gauged())
    ),
    "gauges.GatedNonlinearity": lambda: Sample(
        gauges.GatedNonlinearity("1x0 + 1x1"), (normal(NODES, 4),)
    ),
    "gauges.NormNonlinearity": lambda: Sample(
        gauges.NormNonlinearity("1x0 + 1x1"), (normal(NODES, 3),)
    ),
    "RegularNonlinearity": lambda: Sample(
        gauges.RegularNonlinearity("1x0 + 1x1", 7), (normal(NODES, 3),)
    ),
    "IcosahedralConv": lambda: Sample(
        gauges.IcosahedralConv(2, 3, gauges.IcosahedralGrid(1)), (normal(2, 2, 6, 42),)
    ),
    "IcosahedralPool": lambda: Sample(
        gauges.IcosahedralPool(gauges.IcosahedralGrid(2)), (normal(2, 2, 6, 162),)
    ),
    "IcosahedralBatchNorm": lambda: Sample(
        gauges.IcosahedralBatchNorm(2), (normal(2, 2, 6, 42),)
    ),
    "IcosahedralCNN": lambda: Sample(
        gauges.IcosahedralCNN(1, 4, gauges.IcosahedralGrid(2), channels=(2, 3), pool_after=(0,)),
        (normal(3, 1, 1, 162),),
    ),
    # sequences
    "PlainCell": lambda: Sample(sequences.PlainCell(3, 4), (normal(2, 3),)),
    "GatedCell": lambda: Sample(sequences.GatedCell(3, 4), (normal(2, 3), normal(2, 4))),
    "GRUCell": lambda: Sample(sequences.GRUCell(3, 4), (normal(2, 3), normal(2, 4))),
    "LSTMCell": lambda: Sample(sequences.LSTMCell(3, 4), (normal(2, 3),)),
    "Recurrent": lambda: Sample(
        sequences.Recurrent(sequences.LSTMCell(3, 4)), (normal(2, 7, 3),)
    ),
    "SequenceClassifier": lambda: Sample(
        sequences.SequenceClassifier(sequences.Recurrent(sequences.GRUCell(3, 4)), 4, 2),
        (normal(2, 7, 3),),
    ),
    "CausalConv1d": lambda: Sample(sequences.CausalConv1d(3, 4, 2), (normal(2, 7, 3),)),
    "CausalConvStack": lambda: Sample(sequences.CausalConvStack(3, 4, 2), (normal(2, 20, 3),)),
    "ScannedGate": lambda: Sample(sequences.ScannedGate(3, 4), (normal(2, 10, 3),)),
    "StateSpace, scan": lambda: Sample(sequences.StateSpace(3, 4, 8), (normal(2, 10, 3),)),
    "StateSpace, convolution": lambda: Sample(
        sequences.StateSpace(3, 4, 8), (normal(2, 10, 3),), {"mode": "convolution"}
    ),
    # programs
    "ForceField": lambda: Sample(programs.ForceField(programs.PairPotential()), (normal(5, 3, 2),)),
    "PairPotential": lambda: Sample(programs.PairPotential(), (normal(5, 3, 2),)),
    "FreePotential": lambda: Sample(programs.FreePotential(3, 2), (normal(5, 3, 2),)),
    "HamiltonianNetwork": lambda: Sample(programs.HamiltonianNetwork(2, 8), (normal(5, 4),)),
    "LagrangianNetwork": lambda: Sample(programs.LagrangianNetwork(2, 8), (normal(5, 4),)),
    "VectorFieldNetwork": lambda: Sample(programs.VectorFieldNetwork(2, 8), (normal(5, 4),)),
    "Equilibrium": lambda: Sample(programs.Equilibrium(Settling()), (normal(2, 4, 2),)),
    "EquilibriumLayer": lambda: Sample(programs.EquilibriumLayer(3, 8), (normal(2, 5, 3),)),
    "UnrolledDescent": lambda: Sample(
        programs.UnrolledDescent(5, 0.1), (torch.eye(4, dtype=F64) + 1, normal(4))
    ),
    # sparse_coding and factorization
    "LISTA": lambda: Sample(sparse_coding.LISTA(dictionary(), 0.1, 3), (normal(4, 6),)),
    "ALISTA": lambda: Sample(sparse_coding.ALISTA(dictionary(), 0.1, 3), (normal(4, 6),)),
    "SparseLSTM": lambda: Sample(sparse_coding.SparseLSTM(dictionary(), 0.1, 3), (normal(4, 6),)),
    "HardThresholdEncoder": lambda: Sample(
        sparse_coding.HardThresholdEncoder(dictionary(), 3, count=2), (normal(4, 6),)
    ),
    "SparseAutoencoder": lambda: Sample(
        sparse_coding.SparseAutoencoder(sparse_coding.LISTA(dictionary(), 0.1, 3), dictionary()),
        (normal(4, 6),),
    ),
    "KMeansLayer": lambda: Sample(
        factorization.KMeansLayer(normal(3, 6), temperature=1.0), (normal(8, 6),)
    ),
    "NMFEncoder": lambda: Sample(factorization.NMFEncoder(uniform(6, 4), 3), (uniform(5, 6),)),
    "LowRankSparseEncoder": lambda: Sample(
        factorization.LowRankSparseEncoder(
            dictionary(6, 3), low_rank_penalty=0.1, sparse_penalty=0.1, layers=3
        ),
        (normal(4, 6),),
    ),
    # inference and diffusion
    "PixelClassifier": lambda: Sample(inference.PixelClassifier(3, 4), (normal(2, 3, 5, 6),)),
    "MeanFieldCRF": lambda: Sample(
        inference.MeanFieldCRF(3, steps=2, learn_compatibility=True),
        (normal(2, 3, 4, 5), uniform(2, 1, 4, 5)),
    ),
    "SegmentationNet": lambda: Sample(
        inference.SegmentationNet(inference.PixelClassifier(3, 2), inference.MeanFieldCRF(2)),
        (uniform(2, 3, 4, 5),),
    ),
    "AttendInferRepeat": lambda: Sample(
        inference.AttendInferRepeat(12, 5, hidden=16),
        (uniform(2, 1, 12, 12),),
        {"noise": normal(2, 3, 11)},
        method="elbo",
    ),
    "TNRD": lambda: Sample(diffusion.TNRD(2, size=3), (uniform(2, 1, 8, 8),)),
    "EvolutionPDE": lambda: Sample(diffusion.EvolutionPDE(3, step=0.1), (uniform(2, 1, 8, 8),)),
    "LearningToDiffuse": lambda: Sample(diffusion.LearningToDiffuse(), (uniform(2, 3, 7, 7),)),
    "BlindDeconvolution": lambda: Sample(
        diffusion.BlindDeconvolution(2, 3, penalty=(1.0, 0.5)), (uniform(2, 1, 8, 8),)
    ),
    # high_dimensions and zoo
    "Fold": lambda: Sample(high_dimensions.Fold(normal(3), 0.1), (normal(8, 3),)),
    "GroupAverage": lambda: Sample(
        zoo.GroupAverage(perceptron(4, 4), C4.elements(), rep.regular(C4).act, rep.regular(C4).act),
        (normal(5, 4),),
    ),
    "ScoredFrame": lambda: Sample(corners(), (normal(5, 1, 4, 4),)),
    "FrameAverage": lambda: Sample(
        zoo.FrameAverage(
            nn.Sequential(nn.Flatten(), perceptron(16, 3)), corners(), zoo.quarter_turn,
            inverse=negative,
        ),
        (normal(5, 1, 4, 4),),
    ),
    "RelaxedLinear": lambda: Sample(
        zoo.RelaxedLinear(C4.defining, C4.defining, 1, 2), (normal(7, 1, 4),)
    ),
}  # fmt: skip
