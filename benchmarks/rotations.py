"""Products of features with harmonics, Wigner matrices, and layers on point clouds, beside e3nn.

Products: 16 copies of each degree up to L in and out, filters up to L, natural parity, weights
shared by all 2000 edges. "edge-aligned" includes the Wigner matrices. e3nn's product gets its
harmonics for nothing in the forward pass; in the backward pass, which needs them for the gradients
of positions, they are part of the call. Sizes are L.

Layers: n points, each with the 15 nearest as neighbours. A tensor field layer has 16 copies of the
degrees 0, 1 and 2 in and out, filters up to 2 and 4 radial functions. By e3nn it is the same sum
over neighbours of a fully connected tensor product with harmonics, either with weights of each
edge, a product of the radial functions and a matrix, or with shared weights and a copy of the
harmonics for each radial function. A layer of EGNN has 64 scalars and 64 hidden numbers; by e3nn
the vector of a message is the tensor product of its scalar with the difference of positions, and
the perceptrons are the same. The backward pass is that of features, positions and all weights.

Times are taken in float32; values are compared in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from e3nn import o3
from torch import Tensor, nn

from benchmarks.cases import Call, Case, beside_cpu, with_gradients, without_gradients
from gdl.geometry import random_rotations
from gdl.rotations import (
    E3nnTensorProduct,
    EGNNLayer,
    Irreps,
    TensorFieldConv,
    TensorProduct,
    radial_basis,
    wigner_tower,
)

EDGES, COPIES = 2000, 16
PRODUCT = "tensor product, 2000 edges, 16 copies, L = n"
GRADIENT = "tensor product, forward and backward, L = n"
WIGNER = "Wigner matrices up to degree n, 2000 rotations"
FIELD, FIELD_GRADIENT, CLOUD, CLOUD_GRADIENT = (
    f"{layer}, forward{more}, n points"
    for layer in ("tensor field layer", "EGNN layer")
    for more in ("", " and backward")
)
POINTS = (16, 48, 144)
SIZES = {
    PRODUCT: (2, 3, 4),
    GRADIENT: (2, 3, 4),
    WIGNER: (2, 3, 4),
    **dict.fromkeys((FIELD, FIELD_GRADIENT, CLOUD, CLOUD_GRADIENT), POINTS),
}
BY_PRODUCT = "e3nn, FullyConnectedTensorProduct"
BY_EDGES, BY_COPIES = "e3nn, weights of each edge", "e3nn, copied harmonics"
BY_E3NN = "e3nn, D_from_matrix"
PACKAGES = dict.fromkeys((BY_PRODUCT, BY_EDGES, BY_COPIES, BY_E3NN), "e3nn")
NEIGHBOURS, RADIUS, RADIAL, DEGREE, HIDDEN = 15, 2.0, 4, 2, 64

Calls = dict[str, Call]


@contextmanager
def float64_constants() -> Iterator[None]:
    """e3nn makes its constants in the default dtype, and a later cast keeps the rounding."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(default)


def copies(L: int) -> Irreps:
    return Irreps.of((COPIES, irrep) for _, irrep in Irreps.harmonics(L))


def random(*shape: int, dtype: torch.dtype, device: str, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return x.to(device, dtype).requires_grad_()


def products(L: int, dtype: torch.dtype, device: str) -> dict[str, nn.Module]:
    """e3nn first, then ours, with the same weights."""
    torch.manual_seed(0)
    aligned = TensorProduct(copies(L), copies(L), L, dtype=torch.float64).to(device, dtype)
    return {BY_PRODUCT: E3nnTensorProduct(aligned).to(device), "edge-aligned": aligned}


def product_call(task: str, module: nn.Module, x: Tensor, r: Tensor) -> Call:
    if task == GRADIENT:
        # Gradients of the weights have another order, and are not asked for.
        return with_gradients(partial(module, x, r), [x, r])
    if isinstance(module, E3nnTensorProduct):
        return without_gradients(partial(module.tensor_product, x, module.second_input(r).detach()))
    return without_gradients(partial(module, x, r))


def product_calls(task: str, L: int, dtype: torch.dtype, device: str) -> Calls:
    x = random(EDGES, copies(L).dim, dtype=dtype, device=device)
    r = random(EDGES, 3, dtype=dtype, device=device, seed=1)
    found = products(L, dtype, device)
    return {name: product_call(task, module, x, r) for name, module in found.items()}


def wigner_calls(task: str, L: int, dtype: torch.dtype, device: str) -> Calls:
    R = random_rotations(EDGES, seed=0).to(device, dtype)
    irreps = [o3.Irrep(degree, 1) for degree in range(L + 1)]
    return {
        BY_E3NN: lambda: [irrep.D_from_matrix(R) for irrep in irreps],
        "gdl, wigner_tower": lambda: wigner_tower(L, R),
    }


class E3nnField(nn.Module):
    """The tensor field layer of e3nn: weights of each edge, linear in the radial functions."""

    def __init__(self, layer: TensorFieldConv):
        super().__init__()
        product = layer.product
        self.harmonics = o3.Irreps(str(product.filters))
        sums = str(product.irreps_in), self.harmonics, str(product.irreps_out)
        with float64_constants():
            made = o3.FullyConnectedTensorProduct(*sums, shared_weights=False)
        self.tensor_product = made.to(product.weight)
        shapes = [(u, RADIAL, w) for u, _, w in (i.path_shape for i in made.instructions)]
        parts = product.e3nn_weight().detach().split([math.prod(shape) for shape in shapes])
        sized = zip(parts, shapes, strict=True)
        rows = [part.view(shape).transpose(0, 1).flatten(1) for part, shape in sized]
        # e3nn divides by the root of the number of terms, among which the radial functions were.
        self.weight = nn.Parameter(torch.cat(rows, 1) / math.sqrt(RADIAL))

    def message(self, x: Tensor, vectors: Tensor, factors: Tensor) -> Tensor:
        Y = o3.spherical_harmonics(self.harmonics, vectors, True, normalization="component")
        return self.tensor_product(x, Y, factors @ self.weight)

    def forward(self, x: Tensor, positions: Tensor, edge_index: Tensor) -> Tensor:
        return by_messages(self.message, x, positions, edge_index)


class CopiedField(nn.Module):
    """The tensor field layer of e3nn: shared weights, harmonics for each radial function."""

    def __init__(self, layer: TensorFieldConv):
        super().__init__()
        self.twin = E3nnTensorProduct(layer.product)

    def message(self, x: Tensor, vectors: Tensor, factors: Tensor) -> Tensor:
        return self.twin.tensor_product(x, self.twin.second_input(vectors, factors))

    def forward(self, x: Tensor, positions: Tensor, edge_index: Tensor) -> Tensor:
        return by_messages(self.message, x, positions, edge_index)


def by_messages(message: Callable, x: Tensor, positions: Tensor, edge_index: Tensor) -> Tensor:
    """The sum of what the neighbours send, in the size of one of them."""
    source, target = edge_index
    vectors = positions[source] - positions[target]
    sent = message(x[source], vectors, radial_basis(vectors.norm(dim=-1), RADIAL, RADIUS))
    received = sent.new_zeros(len(x), sent.shape[1]).index_add(0, target, sent)
    return received / math.sqrt(NEIGHBOURS)


class E3nnEGNN(nn.Module):
    """The layer of EGNN with vectors made by e3nn: a scalar times a difference of positions."""

    def __init__(self, layer: EGNNLayer):
        super().__init__()
        self.layer = layer
        weight = layer.phi_x[0].weight
        with float64_constants():
            vector = o3.FullyConnectedTensorProduct("1x0e", "1x1o", "1x1o", internal_weights=False)
        self.vector = vector.to(weight)
        self.register_buffer("one", torch.ones(1).to(weight))

    def forward(self, h: Tensor, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        source, target = edge_index
        apart = x[target] - x[source]
        ends = [h[target], h[source], apart.square().sum(1, keepdim=True)]
        messages = self.layer.phi_e(torch.cat(ends, 1))
        sent = torch.cat([messages, self.vector(self.layer.phi_x(messages), apart, self.one)], 1)
        received = sent.new_zeros(len(x), sent.shape[1]).index_add(0, target, sent)
        scalars, moved = received.split([messages.shape[1], 3], 1)
        return h + self.layer.phi_h(torch.cat([h, scalars], 1)), x + moved / NEIGHBOURS


def neighbours(positions: Tensor) -> Tensor:
    """Edges from the nearest points to each, (2, E)."""
    nearest = torch.cdist(positions, positions).topk(NEIGHBOURS + 1, largest=False).indices[:, 1:]
    target = torch.arange(len(positions), device=positions.device).repeat_interleave(NEIGHBOURS)
    return torch.stack([nearest.flatten(), target])


def cloud_layers(task: str, dtype: torch.dtype, device: str) -> tuple[int, dict[str, nn.Module]]:
    """The number of features, and layers with the same weights, e3nn's first."""
    torch.manual_seed(0)
    if task in (CLOUD, CLOUD_GRADIENT):
        ours = EGNNLayer(HIDDEN, HIDDEN, dtype=torch.float64)
        # As they are made, the steps are too small to be seen beside the positions.
        nn.init.normal_(ours.phi_x[-1].weight)
        return HIDDEN, {BY_PRODUCT: E3nnEGNN(ours).to(device, dtype), "EGNNLayer": ours}
    sums = copies(DEGREE), copies(DEGREE), DEGREE
    settings = {"radius": RADIUS, "radial": RADIAL, "neighbours": NEIGHBOURS}
    ours = TensorFieldConv(*sums, **settings, dtype=torch.float64)
    layers = {BY_EDGES: E3nnField(ours), BY_COPIES: CopiedField(ours), "TensorFieldConv": ours}
    return copies(DEGREE).dim, {name: made.to(device, dtype) for name, made in layers.items()}


def cloud_calls(task: str, n: int, dtype: torch.dtype, device: str) -> Calls:
    size, layers = cloud_layers(task, dtype, device)
    h = random(n, size, dtype=dtype, device=device)
    x = random(n, 3, dtype=dtype, device=device, seed=1)
    edges = neighbours(x.detach())

    def compute(layer: nn.Module) -> Call:
        run = partial(layer, h, x, edges)
        if task in (CLOUD_GRADIENT, FIELD_GRADIENT):
            # Those of the weights are computed, and have several shapes.
            return with_gradients(run, [h, x, *layer.parameters()], shown=2)
        return without_gradients(run)

    return {name: compute(layer) for name, layer in layers.items()}


def case(task: str, n: int, device: str = "cpu") -> Case:
    make = {WIGNER: wigner_calls, PRODUCT: product_calls, GRADIENT: product_calls}
    calls = make.get(task, cloud_calls)

    def check() -> float:
        # e3nn's generators have the precision of the default dtype.
        with float64_constants():
            return beside_cpu(partial(calls, task, n), device)

    return Case(task, n, n, calls(task, n, torch.float32, device), check)
