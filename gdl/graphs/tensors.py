r"""All linear maps between tensors over n points that commute with their permutations.

A graph on n points is a tensor of order 2: its adjacency matrix, with features of the nodes on the
diagonal. The maps between such tensors are few, 15 of order 2 and 203 of order 3, whatever n is:
one for each partition of the axes. Each of them takes a diagonal, sums, and repeats what is left,
so a layer mixes its channels between the two, where the tensors are small.

Chapter: ``graphs``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

import gdl._checks as check
from gdl.equivariance import Constant
from gdl.graphs.partitions import (
    Partition,
    bell,
    canonical,
    count_blocks,
    partition_map,
    set_partitions,
)

AGGREGATIONS = ("sum", "mean")
MOST_ORDER = 3

# A partition of the axes of one tensor, and which of its blocks the other tensor shares.
Pattern = tuple[Partition, tuple[int, ...]]


class TensorLinear(nn.Module):
    r"""The most general permutation-equivariant affine map, from tensors of order k to order l.

        y_o = sum_p sum_c weight[p, o, c] D_p x_c + sum_q bias[q, o] D_q 1

    p runs over the partitions of the l + k axes and q over those of the l output axes, in the order
    of ``set_partitions``; ``D_p`` is ``partition_map(p, k, l, n)``. The number of weights does not
    depend on n, and the same layer takes any number of points.

    The channels are mixed first, where a tensor has been summed, and what results is repeated last:
    of the 15 maps between matrices only the identity and the transpose cost n^2 products.

    Args:
        in_order, out_order: k and l, from 0 to 3: scalars, vectors over points, matrices, cubes.
        in_channels, out_channels: numbers of tensors.
        bias: whether to add the equivariant bias.
        aggregation: ``"sum"``, or ``"mean"`` to divide by n for each index that is summed, so that
            the weights carry over to other numbers of points.
        device, dtype: of the weights.

    Shapes: ``(B, in_channels, n, ..., n) -> (B, out_channels, n, ..., n)`` with k and l axes of
    size n, or both without B. From order 0, say how many points there are: ``layer(x, n)``.
    ``weight`` is ``(Bell(k + l), out_channels, in_channels)`` and ``bias``
    ``(Bell(l), out_channels)``.

    Raises:
        TypeError: arguments of other types, an input of another dtype than the weights.
        ValueError: orders out of range, channels that are not positive, an input of another shape,
            without points or with entries that are not finite, a missing or contradicting n.

    Laws tested: ``f(P x) = P f(x)`` for all permutations and products; the maps span the space that
    the solver finds, of dimension ``sum_(j <= n) S(k + l, j)``; equal to :meth:`maps`; a forgotten
    transpose, or a weight of one position alone, breaks it. Source: Maron, Ben-Hamu, Shamir and
    Lipman, ICLR 2019. Chapter: ``graphs``.

    >>> layer = TensorLinear(2, 2, 3, 4)
    >>> layer.weight.shape, layer(torch.ones(5, 3, 6, 6)).shape
    (torch.Size([15, 4, 3]), torch.Size([5, 4, 6, 6]))
    """

    def __init__(
        self,
        in_order: int,
        out_order: int,
        in_channels: int,
        out_channels: int,
        *,
        bias: bool = True,
        aggregation: str = "sum",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.in_order = check.integer("in_order", in_order, 0, MOST_ORDER)
        self.out_order = check.integer("out_order", out_order, 0, MOST_ORDER)
        self.in_channels = check.integer("in_channels", in_channels, 1)
        self.out_channels = check.integer("out_channels", out_channels, 1)
        check.boolean("bias", bias)
        check.one_of("aggregation", aggregation, AGGREGATIONS)
        self.aggregation = aggregation
        made = {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}
        maps = bell(in_order + out_order)
        self.weight = nn.Parameter(torch.empty(maps, out_channels, in_channels, **made))
        self.bias = (
            nn.Parameter(torch.empty(bell(out_order), out_channels, **made)) if bias else None
        )
        # What is read, what is written, and by which weights, for tensors of rank 0, 1, ...
        ranks = range(min(in_order, out_order) + 1)
        self._partitions = set_partitions(in_order), set_partitions(out_order)
        self._sources = [_patterns(in_order, rank) for rank in ranks]
        self._targets = [_patterns(out_order, rank) for rank in ranks]
        self._chosen = nn.ModuleList(
            Constant(_weight_numbers(in_order, out_order, rank), device=device) for rank in ranks
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights of variance ``1 / (in_channels * Bell(k + l))``; the bias starts at zero."""
        maps, _, channels = self.weight.shape
        nn.init.normal_(self.weight, std=1 / math.sqrt(maps * channels))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def maps(self, n: int) -> Tensor:
        """The maps that ``weight`` multiplies, float64 ``(Bell(k + l), n^l, n^k)``: the reference.

        Raises: TypeError or ValueError as ``partition_map`` does.
        Law tested: the layer is their combination.
        """
        k, l = self.in_order, self.out_order
        found = []
        for partition in set_partitions(k + l):
            summed = count_blocks(partition) - count_blocks(partition[:l])
            scale = n**-summed if self.aggregation == "mean" else 1
            found.append(scale * partition_map(partition, k, l, n))
        return torch.stack(found)

    def forward(self, x: Tensor, n: int | None = None) -> Tensor:
        x, batched, n = self._validated(x, n)
        pooled = self._pooled(x)
        _require_finite(x, pooled)
        y = _spread(self._mixed(pooled), self._partitions[1], n)
        return y if batched else y.squeeze(0)

    def extra_repr(self) -> str:
        """What print(layer) shows."""
        return (
            f"order {self.in_order} -> {self.out_order}, channels {self.in_channels} -> "
            f"{self.out_channels}, maps={len(self.weight)}, bias={self.bias is not None}, "
            f"aggregation={self.aggregation}"
        )

    def _validated(self, x: Tensor, n: int | None) -> tuple[Tensor, bool, int]:
        """The input with a batch axis, whether it had one, and the number of points."""
        k = self.in_order
        check.floating("x", x)
        batched = x.ndim == k + 2
        sizes = tuple(x.shape[-k:]) if k else ()
        fits = x.ndim in (k + 1, k + 2) and x.shape[-k - 1] == self.in_channels
        if not fits or len(set(sizes)) > 1:
            expected = ", ".join(["B", str(self.in_channels), *["n"] * k])
            raise ValueError(f"x: expected shape ({expected}), or without B, got {tuple(x.shape)}")
        if 0 in sizes:
            raise ValueError(f"x: expected at least one point, got shape {tuple(x.shape)}")
        if n is None:
            if k == 0 < self.out_order:
                raise ValueError("n: expected the number of points for an input of order 0")
            n = sizes[0] if k else 1
        check.integer("n", n, 1)
        if k and n != sizes[0]:
            raise ValueError(f"n: expected {sizes[0]}, the size of x, got {n}")
        x = check.typed("x", x, self.weight.dtype)
        return x if batched else x.unsqueeze(0), batched, n

    def _pooled(self, x: Tensor) -> dict[Pattern, Tensor]:
        """Every diagonal of the input, summed over every set of its axes."""
        reduce = torch.sum if self.aggregation == "sum" else torch.mean
        pooled = {}
        for partition in self._partitions[0]:
            blocks = tuple(range(count_blocks(partition)))
            pooled[partition, blocks] = _diagonal(x, partition)
            for rank in reversed(blocks):
                for kept in itertools.combinations(blocks, rank):
                    larger, axis = _one_block_more(kept, max(set(blocks) - set(kept)))
                    pooled[partition, kept] = reduce(pooled[partition, larger], axis)
        return pooled

    def _mixed(self, pooled: dict[Pattern, Tensor]) -> dict[Pattern, Tensor]:
        """For every pattern of the output, what it repeats: channels mixed, then axes permuted."""
        mixed = {}
        plan = zip(self._sources, self._targets, self._chosen, strict=True)
        for sources, targets, chosen in plan:
            product = self._product([pooled[pattern] for pattern in sources], chosen())
            # Slices would fill the product with zeros in the backward pass, unbind does not.
            for pattern, parts in zip(targets, product.unbind(1), strict=True):
                mixed[pattern] = _permuted_sum(parts)
        if self.bias is not None:
            for row, partition in zip(self.bias, self._partitions[1], strict=True):
                mixed[partition, ()] = mixed[partition, ()] + row
        return mixed

    def _product(self, sources: list[Tensor], chosen: Tensor) -> Tensor:
        """One matrix for all sources (B, in, n, ...): (B, targets, permutations, out, n, ...)."""
        stacked = sources[0] if len(sources) == 1 else torch.cat(sources, dim=1)
        flat = stacked.flatten(2) if stacked.ndim > 2 else stacked.unsqueeze(2)
        weight = self.weight.index_select(0, chosen.flatten()).unflatten(0, chosen.shape)
        # From (targets, permutations, sources, out, in) to a matrix on the stacked channels.
        matrix = weight.transpose(2, 3).flatten(3, 4).flatten(0, 2)
        shape = (len(stacked), *chosen.shape[:2], self.out_channels, *stacked.shape[2:])
        return torch.bmm(matrix.expand(len(flat), -1, -1), flat).view(shape)


class InvariantGraphNetwork(nn.Module):
    r"""A network of graphs: equivariant layers with a ReLU after each, an invariant one, an MLP.

        x -> ReLU(L_1 x) -> ... -> ReLU(L_m ...) -> h = L(...) of order 0 -> MLP(h)

    The input has order 2: channels of edges off the diagonal, of nodes on it.

    Args:
        in_channels: of the input.
        widths: channels after each equivariant layer, at least one.
        out_features: scores.
        order: of the tensors between the layers, 1, 2 or 3; the first layer goes from order 2 to
            it. Networks of order 2 tell no graphs apart that colour refinement does not; order 3
            does, at a cost of n^3.
        hidden: width of the MLP, by default the last of ``widths``.
        aggregation: as in :class:`TensorLinear`.
        device, dtype: of the weights.

    Shapes: ``(B, in_channels, n, n) -> (B, out_features)``, or both without B.

    Raises: TypeError or ValueError for other arguments, and as :class:`TensorLinear` does.
    Laws tested: the scores do not change when the points are permuted; order 2 gives one hexagon
    and two triangles the same scores, order 3 does not. Source: Maron, Ben-Hamu, Shamir and
    Lipman, ICLR 2019. Chapter: ``graphs``.

    >>> InvariantGraphNetwork(1, (8, 8), 2)(torch.ones(3, 1, 5, 5)).shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        out_features: int,
        *,
        order: int = 2,
        hidden: int | None = None,
        aggregation: str = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if isinstance(widths, str) or not isinstance(widths, Sequence):
            raise TypeError(f"widths: expected a list of ints, got {widths!r}")
        if not widths:
            raise ValueError("widths: expected at least one layer, got none")
        for width in widths:
            check.integer("widths", width, 1)
        check.integer("order", order, 1, MOST_ORDER)
        hidden = widths[-1] if hidden is None else check.integer("hidden", hidden, 1)
        check.integer("out_features", out_features, 1)
        made = {"device": device, "dtype": dtype}
        orders, channels = [2, *[order] * len(widths)], [in_channels, *widths]
        self.layers = nn.ModuleList(
            TensorLinear(*orders[i : i + 2], *channels[i : i + 2], aggregation=aggregation, **made)
            for i in range(len(widths))
        )
        self.invariant = TensorLinear(order, 0, widths[-1], hidden, aggregation=aggregation, **made)
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Linear(hidden, hidden, **made),
            nn.ReLU(),
            nn.Linear(hidden, out_features, **made),
        )

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(self.invariant(x))


def _patterns(order: int, rank: int) -> list[Pattern]:
    """The ways to read a tensor of this rank out of one of an order, or to write it there."""
    return [
        (partition, kept)
        for partition in set_partitions(order)
        for kept in itertools.combinations(range(count_blocks(partition)), rank)
    ]


def _weight_numbers(in_order: int, out_order: int, rank: int) -> Tensor:
    """Which partition joins a target, a permutation of its axes, and a source; int64."""
    number = {p: i for i, p in enumerate(set_partitions(in_order + out_order))}
    axes = list(itertools.permutations(range(rank)))
    sources, targets = _patterns(in_order, rank), _patterns(out_order, rank)
    found = [[[number[_joined(t, p, s)] for s in sources] for p in axes] for t in targets]
    return torch.tensor(found, dtype=torch.int64, device="cpu")


def _joined(target: Pattern, permutation: tuple[int, ...], source: Pattern) -> Partition:
    """The partition of all axes: axis a of the target is axis ``permutation[a]`` of the source."""
    (out, written), (into, read) = target, source
    partner = {read[axis]: block for axis, block in zip(permutation, written, strict=True)}
    outputs = [("out", block) for block in out]
    return canonical(outputs + [("out", partner[b]) if b in partner else ("in", b) for b in into])


def _diagonal(x: Tensor, partition: Partition) -> Tensor:
    """The view of a tensor (B, C, n, ...) where the axes of each block have one index."""
    if count_blocks(partition) == len(partition):
        return x
    axes = [2 + block for block in partition]
    return torch.einsum(x, [0, 1, *axes], [0, 1, *sorted(set(axes))])


def _permuted_sum(parts: Tensor) -> Tensor:
    """The sum of parts (B, permutations, C, n, ...), each with permuted axes; no view of them."""
    total, *others = parts.unbind(1)
    if not others:
        return total.clone()
    _, *permutations = itertools.permutations(range(parts.ndim - 3))
    for part, axes in zip(others, permutations, strict=True):
        total = total + part.permute(0, 1, *(2 + axis for axis in axes))
    return total


def _spread(mixed: dict[Pattern, Tensor], partitions: tuple[Partition, ...], n: int) -> Tensor:
    """The sum of all that is repeated along the axes of the output: the transpose of pooling."""
    *coarser, finest = partitions
    y = _repeated(mixed, finest, n).contiguous()
    for partition in coarser:
        _diagonal(y, partition).add_(_repeated(mixed, partition, n))
    return y


def _repeated(mixed: dict[Pattern, Tensor], partition: Partition, n: int) -> Tensor:
    """What is written on the diagonal of a partition, repeated along the blocks it lacks.

    Small tensors are added to larger ones before those are repeated in turn.
    """
    blocks = tuple(range(count_blocks(partition)))
    found = {kept: t for (owner, kept), t in mixed.items() if owner == partition}
    for rank in blocks:
        for kept in itertools.combinations(blocks, rank):
            if kept not in found:
                continue
            larger, axis = _one_block_more(kept, min(set(blocks) - set(kept)))
            repeated = found[kept].unsqueeze(axis)
            if larger in found:
                found[larger] = found[larger] + repeated
            else:
                found[larger] = repeated.expand(*[-1] * axis, n, *[-1] * (rank + 2 - axis))
    return found[blocks]


def _one_block_more(kept: tuple[int, ...], block: int) -> tuple[tuple[int, ...], int]:
    """The blocks with one more, and the axis that it has in a tensor (B, C, one for each)."""
    larger = tuple(sorted((*kept, block)))
    return larger, 2 + larger.index(block)


def _require_finite(x: Tensor, pooled: dict[Pattern, Tensor]) -> None:
    """The sums of all entries show at once whether one of them is not finite."""
    order = x.ndim - 2
    total = pooled[tuple(range(order)), ()]
    if check.readable(total) and not bool(torch.isfinite(total.detach()).all()):
        check.finite("x", x)
