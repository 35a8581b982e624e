r"""Products of features with the harmonics of a direction: the message of a tensor field network.

Two forms of the same map. ``"paths"`` couples by Clebsch-Gordan tensors, as the formula says, and
costs the sixth power of the degree. ``"aligned"`` turns each edge to the polar axis, where only
the harmonics of order 0 are not zero: the product falls apart into small matrices that mix the
orders m and -m, which the rotations about the edge (an SO(2)) allow; then it turns back. It costs
the third power.

Chapter: ``rotations``.
"""

from __future__ import annotations

import math
import numbers
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.equivariance import Constant, full_precision
from gdl.rotations.coupling import MOST_COUPLED, clebsch_gordan
from gdl.rotations.harmonics import _unit, spherical_harmonics
from gdl.rotations.irreps import Irrep, Irreps, _named_irreps, paths
from gdl.rotations.wigner import wigner_tower

METHODS = ("aligned", "paths")


def align(vectors: Tensor) -> Tensor:
    r"""A rotation R that turns each vector to the polar axis: ``R v = |v| (0, 1, 0)``.

    Such an R is not unique, and on the sphere no choice of it is continuous everywhere; a product
    that is equivariant does not depend on the choice. This one is smooth around every vector whose
    two smallest coordinates differ in size.

    Args:
        vectors: ``(..., 3)``, none of them zero.

    Returns:
        Rotations ``(..., 3, 3)``.

    Raises: TypeError or ValueError for another shape or dtype, entries that are not finite, or a
    vector that is zero.
    Law tested: orthogonal, determinant 1, ``R v`` on the axis, also near the poles. Source: Passaro
    and Zitnick 2023. Chapter: ``rotations``.

    >>> align(torch.tensor([0.0, 0.0, 2.0])) @ torch.tensor([0.0, 0.0, 2.0])
    tensor([0., 2., 0.])
    """
    return _aligned(check.directions("vectors", vectors))


def _aligned(vectors: Tensor) -> Tensor:
    up = _unit(vectors)
    smallest = up.detach().abs().argmin(-1)
    other = nn.functional.one_hot(smallest, 3).to(up)
    right = _unit(torch.linalg.cross(other, up))
    return torch.stack([right, up, torch.linalg.cross(right, up)], -2)


class TensorProduct(nn.Module):
    r"""All products of a feature with the harmonics of a direction that symmetry allows.

        y_w = sum over paths of  sum_{u, k} w_ukw  b_k  C (x_u, Y(r))

    C is the Clebsch-Gordan tensor of the path, u and w number the copies in a block, and b_k are
    invariant factors, the radial functions of an edge.

    Args:
        irreps_in, irreps_out: ``Irreps`` or strings.
        harmonics: the degrees of the filter: an int l for all up to l, with the parity of the
            harmonics; or ``Irreps`` without repetition. ``Irreps.harmonics(l, parity=1)`` counts
            them as even, which keeps rotations and gives up reflections.
        radial: number of factors b_k.
        method: "aligned" or "paths".
        device, dtype: as in torch.nn.Linear.

    Shapes: features ``(E, dim_in)``, vectors ``(E, 3)``, radial factors ``(E, radial)``, or None
    where ``radial`` is 1, which counts as ones; the result is ``(E, dim_out)``.

    Raises:
        TypeError: a dtype that is not real; inputs that are no floating-point tensors of the dtype
            of the layer (under autocast others are cast).
        ValueError: malformed irreps, no path at all, an output without any path, filters with
            copies, an unknown method; when called, other shapes, entries of the vectors that are
            not finite, or a vector that is zero and so has no direction.

    Laws tested: ``f(D(R) x, R r) = D(R) f(x, r)``; both methods agree, and agree with
    ``e3nn.o3.FullyConnectedTensorProduct`` with the same weights (see ``e3nn_weight``), to 1e-10.
    Sources: Thomas et al. 2018; Passaro and Zitnick 2023. Chapter: ``rotations``.

    >>> product = TensorProduct("4x0e + 4x1o", "2x0e + 2x1o", 2)
    >>> product(torch.randn(5, 16), torch.randn(5, 3)).shape
    torch.Size([5, 8])
    """

    def __init__(
        self,
        irreps_in: Irreps | str,
        irreps_out: Irreps | str,
        harmonics: Irreps | str | int = 2,
        *,
        radial: int = 1,
        method: str = "aligned",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.irreps_in = _named_irreps("irreps_in", irreps_in)
        self.irreps_out = _named_irreps("irreps_out", irreps_out)
        self.filters = _filters(harmonics)
        self.radial = check.integer("radial", radial, 1)
        check.one_of("method", method, METHODS)
        self.method = method
        if dtype is not None:
            check.real_dtype(dtype)
        self.paths = paths(self.irreps_in, self.filters, self.irreps_out)
        self._require_outputs()
        self._top = max(self.irreps_in.degree, self.irreps_out.degree)
        factory = {"device": device, "dtype": dtype}
        self.filters_of = _grouped(self.paths)
        self._shapes = {
            (i, k): (len(js), self.irreps_in.blocks[i][0], radial, self.irreps_out.blocks[k][0])
            for (i, k), js in self.filters_of.items()
        }
        total = sum(map(math.prod, self._shapes.values()))
        self.weight = nn.Parameter(torch.empty(total, **factory))
        found = self._couplings() if method == "paths" else self._axial_couplings()
        self.couplings = nn.ModuleDict({name: Constant(C, **factory) for name, C in found.items()})
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Standard normal weights; the normalisation is part of the formula, as in e3nn."""
        nn.init.normal_(self.weight)

    def extra_repr(self) -> str:
        """What print(product) shows."""
        return (
            f"{self.irreps_in} -> {self.irreps_out}, filters {self.filters}, "
            f"paths={len(self.paths)}, method={self.method}"
        )

    def forward(self, x: Tensor, vectors: Tensor, radial: Tensor | None = None) -> Tensor:
        x, radial = _checked_features(self.irreps_in, self.radial, x, radial, self.weight.dtype)
        vectors = _checked_vectors(vectors, x)
        with full_precision(x.device):
            if self.method == "paths":
                return self._by_paths(x, vectors, radial)
            return self._by_frames(x, wigner_tower(self._top, _aligned(vectors)), radial)

    def in_frames(self, x: Tensor, tower: list[Tensor], radial: Tensor | None = None) -> Tensor:
        """The aligned form, given ``wigner_tower(l, align(vectors))``; layers may share it.

        Here l is the largest degree of input and output. Raises as the call does, and for frames
        of other degrees or of another number of edges.
        """
        x, radial = _checked_features(self.irreps_in, self.radial, x, radial, self.weight.dtype)
        self._require_frames(tower, len(x))
        with full_precision(x.device):
            return self._by_frames(x, tower, radial)

    def _by_frames(self, x: Tensor, tower: list[Tensor], radial: Tensor | None) -> Tensor:
        orders = [
            tower[irrep.degree] @ block.transpose(-1, -2)
            for block, (_, irrep) in zip(self.irreps_in.split(x), self.irreps_in, strict=True)
        ]
        mixed = self._mix(orders, radial)
        turned = [
            (tower[irrep.degree].transpose(-1, -2) @ block).transpose(-1, -2)
            for block, (_, irrep) in zip(mixed, self.irreps_out, strict=True)
        ]
        return self.irreps_out.join(turned)

    def e3nn_weight(self) -> Tensor:
        """The weights in the order of e3nn, which lets the filter run before the output.

        e3nn's ``FullyConnectedTensorProduct`` of ``irreps_in``, ``radial`` copies of each filter,
        and ``irreps_out`` computes the same map from them.
        """
        found = {
            (i, j, k): weight
            for (i, k), weights in self._weights().items()
            for j, weight in zip(self.filters_of[i, k], weights, strict=True)
        }
        return torch.cat([found[path].flatten() for path in sorted(found)])

    def _by_paths(self, x: Tensor, vectors: Tensor, radial: Tensor | None) -> Tensor:
        blocks, weights = self.irreps_in.split(x), self._weights()
        factors = x.new_ones(len(x), 1) if radial is None else radial
        out = [0.0] * len(self.irreps_out)
        for i, j, k in self.paths:
            Y = spherical_harmonics(self.filters.blocks[j][1].degree, vectors)
            outer = torch.einsum("eua,eb->euab", blocks[i], Y).flatten(2)
            product = outer @ self.couplings[f"{i} {j} {k}"]().flatten(0, 1)
            weight = weights[i, k][self.filters_of[i, k].index(j)]
            mixing = torch.einsum("ukw,ek->euw", weight, factors)
            out[k] = out[k] + torch.einsum("euc,euw->ewc", product, mixing)
        return self.irreps_out.join(out)

    def _mix(self, orders: list[Tensor], radial: Tensor | None) -> list[Tensor]:
        """Mix the orders m and -m of all blocks, for m = 0, 1, ...; blocks are (E, 2l + 1, u)."""
        # Slices would fill a block with zeros for each order in the backward pass, unbind does not.
        lines = [block.unbind(1) for block in orders]
        rows: list[dict[int, Tensor]] = [{} for _ in self.irreps_out]
        for m, (same, *crossed) in enumerate(self._matrices()):
            signs = (-m, m) if m else (0,)
            found = [_of_order(lines, order, radial) for order in signs]
            mixed = [features @ same for features in found]
            if m and crossed:
                # What commutes with the turns of the plane of m and -m is a + b i.
                mixed[0] = mixed[0] + found[1] @ crossed[0]
                mixed[1] = mixed[1] - found[0] @ crossed[0]
            outputs = self._reaching(self.irreps_out, m)
            sizes = [self.irreps_out.blocks[k][0] for k in outputs]
            for order, line in zip(signs, mixed, strict=True):
                for k, part in zip(outputs, line.split(sizes, -1), strict=True):
                    rows[k][self.irreps_out.blocks[k][1].degree + order] = part
        return [
            _stacked(found, irrep.dim, orders[0].new_zeros(len(orders[0]), copies))
            for found, (copies, irrep) in zip(rows, self.irreps_out, strict=True)
        ]

    def _matrices(self) -> Iterator[Tensor]:
        """For each order ``(kinds, inputs, outputs)``: what keeps m, and what swaps m and -m."""
        parts = {
            (i, k): (self.couplings[f"{i} {k}"]() @ weight.flatten(1))
            .unflatten(-1, (-1, weight.shape[-1]))
            .unbind(1)
            for (i, k), weight in self._weights().items()
        }
        for m in range(min(self.irreps_in.degree, self.irreps_out.degree) + 1):
            outputs = self._reaching(self.irreps_out, m)
            yield torch.cat(
                [
                    torch.cat([self._part(parts, i, k, m) for k in outputs], -1)
                    for i in self._reaching(self.irreps_in, m)
                ],
                -2,
            )

    def _part(
        self, parts: dict[tuple[int, int], tuple[Tensor, ...]], i: int, k: int, m: int
    ) -> Tensor:
        if (i, k) in parts:
            return parts[i, k][m]
        rows = self.irreps_in.blocks[i][0] * self.radial
        return self.weight.new_zeros(self._kinds(), rows, self.irreps_out.blocks[k][0])

    def _weights(self) -> dict[tuple[int, int], Tensor]:
        """Weights ``(paths, u, radial, w)`` of each pair of an input and an output block."""
        flat = self.weight.split([math.prod(shape) for shape in self._shapes.values()])
        shapes = self._shapes.items()
        return {pair: part.view(shape) for part, (pair, shape) in zip(flat, shapes, strict=True)}

    def _couplings(self) -> dict[str, Tensor]:
        """The normalised Clebsch-Gordan tensor of each path."""
        return {
            f"{i} {j} {k}": self._scale(k)
            * clebsch_gordan(*(irrep.degree for irrep in self._irreps(i, j, k)))
            for i, j, k in self.paths
        }

    def _axial_couplings(self) -> dict[str, Tensor]:
        """For each pair of blocks ``(kinds, orders, paths)``: C with the harmonics at the pole."""
        found = {}
        for (i, k), js in self.filters_of.items():
            kept, swapped = zip(*(self._at_the_pole(i, j, k) for j in js), strict=True)
            kinds = [kept, swapped][: self._kinds()]
            found[f"{i} {k}"] = torch.stack([torch.stack(kind, -1) for kind in kinds])
        return found

    def _at_the_pole(self, i: int, j: int, k: int) -> tuple[Tensor, Tensor]:
        """The entries (m, m) and (m, -m) of ``sum_b C[a, b, c] Y_b(pole)``, for m = 0, 1, ..."""
        first, second, out = (irrep.degree for irrep in self._irreps(i, j, k))
        # Of the harmonics only that of order 0 is not zero at the pole.
        plane = clebsch_gordan(first, second, out)[:, second] * math.sqrt(2 * second + 1)
        m = torch.arange(min(first, out) + 1, device="cpu")
        scaled = self._scale(k) * plane
        return scaled[first + m, out + m], scaled[first + m, out - m]

    def _irreps(self, i: int, j: int, k: int) -> tuple[Irrep, Irrep, Irrep]:
        sums = (self.irreps_in, self.filters, self.irreps_out)
        return tuple(irreps.blocks[at][1] for irreps, at in zip(sums, (i, j, k), strict=True))

    def _kinds(self) -> int:
        """2 if some path has an odd sum of degrees, as the cross product: these swap m and -m."""
        odd = (sum(irrep.degree for irrep in self._irreps(*path)) % 2 for path in self.paths)
        return 1 + any(odd)

    def _scale(self, k: int) -> float:
        """Unit variance for unit inputs and weights: by size and fan-in, as in e3nn."""
        fan_in = sum(math.prod(shape[:3]) for (_, to), shape in self._shapes.items() if to == k)
        return math.sqrt(self.irreps_out.blocks[k][1].dim / fan_in)

    def _reaching(self, irreps: Irreps, order: int) -> list[int]:
        """The blocks whose degree is at least m."""
        return [at for at, (_, irrep) in enumerate(irreps) if irrep.degree >= order]

    def _require_outputs(self) -> None:
        reached = {k for _, _, k in self.paths}
        missing = [str(b[1]) for k, b in enumerate(self.irreps_out) if k not in reached]
        if missing or not self.paths:
            raise ValueError(
                f"irreps_out: no path from {self.irreps_in} with filters {self.filters} to "
                f"{', '.join(missing) or 'an empty sum'}"
            )

    def _require_frames(self, tower: list[Tensor], edges: int) -> None:
        if self.method != "aligned":
            raise ValueError(f'method: in_frames expects "aligned", got {self.method!r}')
        wanted = [(edges, 2 * l + 1, 2 * l + 1) for l in range(self._top + 1)]
        got = [tuple(D.shape) for D in tower]
        if got[: self._top + 1] != wanted:
            raise ValueError(f"tower: expected matrices of shapes {wanted}, got {got}")


def _checked_features(
    irreps: Irreps, factors: int, x: Tensor, radial: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Features and radial factors in the dtype of the layer, if they fit it."""
    if check.shaped("x", x, irreps.dim).ndim != 2:
        raise ValueError(f"x: expected (E, {irreps.dim}), got {tuple(x.shape)}")
    x = check.typed("x", x, dtype)
    if radial is None and factors != 1:
        raise ValueError(f"radial: expected ({len(x)}, {factors}), got None")
    if radial is not None:
        radial = check.typed("radial", radial, dtype)
        if tuple(radial.shape) != (len(x), factors):
            raise ValueError(f"radial: expected ({len(x)}, {factors}), got {tuple(radial.shape)}")
    return x, radial


def _checked_vectors(vectors: Tensor, x: Tensor) -> Tensor:
    check.directions("vectors", vectors)
    if tuple(vectors.shape) != (len(x), 3):
        raise ValueError(f"vectors: expected ({len(x)}, 3), got {tuple(vectors.shape)}")
    return check.typed("vectors", vectors, x.dtype)


def _filters(harmonics: Irreps | str | int) -> Irreps:
    if isinstance(harmonics, numbers.Integral):
        return Irreps.harmonics(check.integer("harmonics", harmonics, 0, MOST_COUPLED))
    filters = _named_irreps("harmonics", harmonics)
    if any(copies != 1 for copies, _ in filters) or len(set(filters)) < len(filters):
        raise ValueError(
            f"harmonics: expected each irrep once, got {filters}; see the argument radial"
        )
    return filters


def _grouped(found: list[tuple[int, int, int]]) -> dict[tuple[int, int], list[int]]:
    """For each pair of an input and an output block the filters between them."""
    groups = defaultdict(list)
    for i, j, k in found:
        groups[i, k].append(j)
    return dict(groups)


def _of_order(lines: list[tuple[Tensor, ...]], order: int, radial: Tensor | None) -> Tensor:
    """The lines of one order of all blocks, times the radial factors: ``(E, u radial)``."""
    features = torch.cat(
        [block[len(block) // 2 + order] for block in lines if len(block) > 2 * abs(order)], -1
    )
    return features if radial is None else (features[..., None] * radial[:, None, :]).flatten(-2)


def _stacked(rows: dict[int, Tensor], size: int, zero: Tensor) -> Tensor:
    """Rows as ``(E, size, w)``; orders that no input reaches are 0."""
    return torch.stack([rows.get(at, zero) for at in range(size)], 1)
