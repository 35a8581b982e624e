r"""Tensor field networks: convolutions on point clouds whose features turn with the cloud.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.equivariance import full_precision
from gdl.rotations.irreps import Irreps, _named_irreps, paths
from gdl.rotations.tensor_product import TensorProduct, _filters


def radial_basis(distance: Tensor, count: int, radius: float) -> Tensor:
    r"""Bumps along the radius, the invariant half of a filter: Gaussians that end smoothly.

        b_k(r) = exp(-(r - c_k)^2 / (2 s^2)) exp(1 - 1 / (1 - (r / radius)^2)),  0 from radius on

    with ``count`` centres c_k from 0 to the radius and s their spacing. All derivatives exist.

    Args:
        distance: r, ``(...)``, not negative.
        count: number of functions.
        radius: where they end, in the unit of r.

    Returns:
        ``(..., count)``.

    Raises: TypeError or ValueError for other types, a count below 1, a radius that is not positive,
    distances that are negative or not finite.
    Law tested: zero with its derivatives at the radius; the formula. Chapter: ``rotations``.

    >>> radial_basis(torch.tensor([0.0, 2.0]), 2, 2.0)
    tensor([[1.0000, 0.6065],
            [0.0000, 0.0000]])
    """
    check.finite("distance", check.floating("distance", distance))
    check.integer("count", count, 1)
    radius = check.positive("radius", radius)
    if check.readable(distance) and bool((distance < 0).any()):
        raise ValueError(f"distance: expected none below 0, got {distance.min().item()}")
    spacing = radius / max(count - 1, 1)
    centres = spacing * torch.arange(count, dtype=distance.dtype, device=distance.device)
    gaussians = torch.exp(-((distance[..., None] - centres) / spacing).square() / 2)
    inside = 1 - (distance / radius).square()
    bump = torch.exp(1 - 1 / torch.where(inside > 0, inside, 1)) * (inside > 0)
    return gaussians * bump[..., None]


class TensorFieldConv(nn.Module):
    r"""Convolution on a point cloud: what each point receives from its neighbours.

        y_i = 1 / sqrt(neighbours)  sum over edges j -> i of  K(x_j - x_i) f_j
        K(r) = sum over paths, k of  w  b_k(|r|)  C Y(r / |r|)

    The kernel is the general solution of ``K(R r) = D_out(R) K(r) D_in(R)^-1`` on each sphere, for
    filters of the given degrees. Differences of positions make it commute with translations, and
    the sum with permutations.

    Args:
        irreps_in, irreps_out: ``Irreps`` or strings.
        harmonics: degrees of the filter, as in ``TensorProduct``.
        radius: where the filter ends, in the unit of the positions.
        radial: number of radial functions b_k.
        neighbours: the usual number of neighbours, so that outputs have the size of inputs.
        method: "aligned" or "paths", two forms of the same map.
        device, dtype: as in torch.nn.Linear.

    Shapes: features ``(N, dim_in)``, positions ``(N, 3)``, edge_index int64 ``(2, E)`` of sources
    and targets; the result is ``(N, dim_out)``. A batch of clouds is one cloud without edges
    between them.

    Raises:
        TypeError: features or positions that are no floating-point tensors of the dtype of the
            layer (under autocast others are cast), edges that are not int64.
        ValueError: what ``TensorProduct`` raises; no point; lengths that differ; edges that leave
            the cloud; an edge between two points at the same place, which has no direction.

    Laws tested: rotations, reflections, translations and permutations to 1e-10; both methods and
    e3nn agree; the kernels on a sphere are all that the solver finds. Source: Thomas et al. 2018;
    Weiler et al. 2018. Chapter: ``rotations``.

    >>> layer = TensorFieldConv("1x0e", "4x0e + 2x1o", 1, radius=2.0)
    >>> layer(torch.ones(2, 1), torch.eye(2, 3), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_out: Irreps | str,
        harmonics: Irreps | str | int = 2,
        *,
        radius: float,
        radial: int = 4,
        neighbours: float = 1.0,
        method: str = "aligned",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.radius = check.positive("radius", radius)
        self.neighbours = check.positive("neighbours", neighbours)
        made = {"radial": radial, "method": method, "device": device, "dtype": dtype}
        self.product = TensorProduct(irreps_in, irreps_out, harmonics, **made)

    def forward(self, x: Tensor, positions: Tensor, edge_index: Tensor) -> Tensor:
        dtype = self.product.weight.dtype
        x, positions = check.typed("x", x, dtype), check.typed("positions", positions, dtype)
        check.cloud("x", x, self.product.irreps_in.dim, positions)
        check.edges("edge_index", edge_index, len(positions), positions.device)
        with full_precision(x.device):
            source, target = edge_index
            vectors = positions[source] - positions[target]
            check.distinct("positions", vectors, edge_index)
            factors = radial_basis(vectors.norm(dim=-1), self.product.radial, self.radius)
            messages = self.product(x[source], vectors, factors)
            summed = messages.new_zeros(len(x), messages.shape[1])
            return summed.index_add(0, target, messages) / math.sqrt(self.neighbours)


class IrrepsLinear(nn.Module):
    r"""The most general equivariant linear map of features: it mixes copies of the same irrep.

        y_w = sum_u W_wu x_u    for each irrep that both sides have, and b_w for scalars 0e

    By Schur's lemma there is nothing else.

    Args:
        irreps_in, irreps_out: ``Irreps`` or strings.
        bias: add a number to each invariant output.
        device, dtype: as in torch.nn.Linear.

    Shapes: ``(..., dim_in) -> (..., dim_out)``.

    Raises: TypeError or ValueError for malformed irreps, an output that no input reaches, or inputs
    of another shape or dtype.
    Law tested: as many weights as the solver finds maps; equivariance. Source: Schur's lemma, Serre
    1977, section 2.2. Chapter: ``rotations``.

    >>> IrrepsLinear("4x0e + 2x1o", "3x1o", bias=False)(torch.randn(5, 10)).shape
    torch.Size([5, 9])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_out: Irreps | str,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.irreps_in = _named_irreps("irreps_in", irreps_in)
        self.irreps_out = _named_irreps("irreps_out", irreps_out)
        if dtype is not None:
            check.real_dtype(dtype)
        scalar = Irreps("0e")
        self._pairs = [(i, k) for i, _, k in paths(self.irreps_in, scalar, self.irreps_out)]
        unreached = set(range(len(self.irreps_out))) - {k for _, k in self._pairs}
        if unreached:
            raise ValueError(
                f"irreps_out: {self.irreps_out} holds irreps that {self.irreps_in} does not"
            )
        self.weights = nn.ParameterList(
            torch.empty(
                self.irreps_out.blocks[k][0],
                self.irreps_in.blocks[i][0],
                device=device,
                dtype=dtype,
            )
            for i, k in self._pairs
        )
        sizes = [copies for copies, irrep in self.irreps_out if str(irrep) == "0e"]
        sizes = sizes if check.boolean("bias", bias) else []
        self.biases = nn.ParameterList(
            torch.empty(copies, 1, device=device, dtype=dtype) for copies in sizes
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weights of variance 1 / fan-in; biases zero."""
        fan_in = [0] * len(self.irreps_out)
        for (_, k), weight in zip(self._pairs, self.weights, strict=True):
            fan_in[k] += weight.shape[1]
        for (_, k), weight in zip(self._pairs, self.weights, strict=True):
            nn.init.normal_(weight, std=fan_in[k] ** -0.5)
        for bias in self.biases:
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        check.shaped("x", check.typed("x", x, self.weights[0].dtype), self.irreps_in.dim)
        blocks, out = self.irreps_in.split(x), [0.0] * len(self.irreps_out)
        for (i, k), weight in zip(self._pairs, self.weights, strict=True):
            out[k] = out[k] + weight @ blocks[i]
        biases = iter(self.biases)
        for k, (_, irrep) in enumerate(self.irreps_out):
            if str(irrep) == "0e" and len(self.biases):
                out[k] = out[k] + next(biases)
        return self.irreps_out.join(out)


class Gate(nn.Module):
    r"""Nonlinearity of irreps: scalars through a function, all others times a learned gate.

        x -> silu(x) for 0e,    x -> tanh(x) for 0o,    v -> sigmoid(g) v for the rest

    The gates g are further scalars 0e of the input, one for each copy of the rest. An odd function
    keeps the sign of a pseudo-scalar.

    Args:
        irreps: of the output, of which the scalars come first, whatever the order.

    Attributes:
        irreps: the output in its order.
        irreps_in: scalars, then gates, then the rest: what the layer before must give.

    Shapes: ``(..., irreps_in.dim) -> (..., irreps.dim)``.

    Raises: TypeError or ValueError for malformed irreps or inputs.
    Law tested: rotations and reflections; silu on a pseudo-scalar breaks reflections. Source:
    Weiler et al. 2018. Chapter: ``rotations``.

    >>> gate = Gate("4x0e + 2x1o")
    >>> str(gate.irreps_in), gate(torch.randn(3, gate.irreps_in.dim)).shape
    ('4x0e + 2x0e + 2x1o', torch.Size([3, 10]))
    """

    def __init__(self, irreps: Irreps | str):
        super().__init__()
        blocks = _named_irreps("irreps", irreps).blocks
        scalars = [block for block in blocks if block[1].degree == 0]
        rest = [block for block in blocks if block[1].degree > 0]
        self._scalars, self._rest = Irreps.of(scalars), Irreps.of(rest)
        self._gates = sum(copies for copies, _ in rest)
        self.irreps = self._scalars + self._rest
        self.irreps_in = self._scalars + Irreps(f"{self._gates}x0e") + self._rest

    def forward(self, x: Tensor) -> Tensor:
        check.shaped("x", x, self.irreps_in.dim)
        scalars, gates, rest = x.split([self._scalars.dim, self._gates, self._rest.dim], -1)
        out = [
            nn.functional.silu(block) if irrep.parity == 1 else torch.tanh(block)
            for block, (_, irrep) in zip(self._scalars.split(scalars), self._scalars, strict=True)
        ]
        gates = gates.sigmoid().split([copies for copies, _ in self._rest], -1)
        out += [
            block * gate[..., None]
            for block, gate in zip(self._rest.split(rest), gates, strict=True)
        ]
        return self.irreps.join(out)


class TensorFieldNetwork(nn.Module):
    r"""Layers of convolution, self-interaction and gate, then a linear map at each point.

    The self-interaction mixes what a point received with what it had.

    Args:
        irreps_in, irreps_out: of the features given and returned.
        hidden: of the features between layers; in each layer the irreps that it cannot reach yet
            are left out.
        harmonics, radius, radial, neighbours, method: as in ``TensorFieldConv``.
        layers: number of convolutions.
        device, dtype: as in torch.nn.Linear.

    Shapes: as ``TensorFieldConv``. A sum or a mean over the points of a cloud reads it out.

    Raises: TypeError or ValueError as its layers do, and if a layer reaches nothing of ``hidden``.
    Law tested: rotations, reflections, translations, permutations to 1e-10; with harmonics that
    count as even reflections change the output. Source: Thomas et al. 2018.
    Chapter: ``rotations``.

    >>> network = TensorFieldNetwork("1x0e", "2x0e", "4x0e + 2x1o", harmonics=1, radius=2.0)
    >>> network(torch.ones(2, 1), torch.eye(2, 3), torch.tensor([[0, 1], [1, 0]])).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_out: Irreps | str,
        hidden: Irreps | str = "16x0e + 8x1o + 4x2e",
        *,
        harmonics: Irreps | str | int = 2,
        layers: int = 2,
        radius: float,
        radial: int = 4,
        neighbours: float = 1.0,
        method: str = "aligned",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        check.integer("layers", layers, 1)
        made = {"device": device, "dtype": dtype}
        filters, now = _filters(harmonics), _named_irreps("irreps_in", irreps_in)
        hidden = _named_irreps("hidden", hidden)
        self.convolutions, self.mixings = nn.ModuleList(), nn.ModuleList()
        self.gates = nn.ModuleList()
        for _ in range(layers):
            gate = Gate(_reached(now, filters, hidden))
            self.convolutions.append(
                TensorFieldConv(
                    now,
                    gate.irreps_in,
                    filters,
                    radius=radius,
                    radial=radial,
                    neighbours=neighbours,
                    method=method,
                    **made,
                )
            )
            self.mixings.append(IrrepsLinear(gate.irreps_in + now, gate.irreps_in, **made))
            self.gates.append(gate)
            now = gate.irreps
        self.readout = IrrepsLinear(now, irreps_out, **made)

    def forward(self, x: Tensor, positions: Tensor, edge_index: Tensor) -> Tensor:
        layers = zip(self.convolutions, self.mixings, self.gates, strict=True)
        for convolution, mixing, gate in layers:
            received = convolution(x, positions, edge_index)
            x = gate(mixing(torch.cat([received, x], -1)))
        return self.readout(x)


def _reached(irreps_in: Irreps, filters: Irreps, irreps_out: Irreps) -> Irreps:
    """The blocks of the output that some path reaches; the others would be 0."""
    reached = {k for _, _, k in paths(irreps_in, filters, irreps_out)}
    found = [block for k, block in enumerate(irreps_out) if k in reached]
    if not found:
        raise ValueError(f"hidden: no path from {irreps_in} with filters {filters} to {irreps_out}")
    return Irreps.of(found)
