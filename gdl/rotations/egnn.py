r"""The E(n)-equivariant graph network: vectors are sums of relative positions.

Their weights are invariant. Beside it stands its unconstrained twin, which takes coordinates for
features.

Chapter: ``rotations``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl.rotations._checks as check

AGGREGATIONS = ("mean", "sum")


class EGNNLayer(nn.Module):
    r"""One layer of the E(n)-equivariant graph network.

        m_ij = phi_e(h_i, h_j, |x_i - x_j|^2, a_ij)                  messages, invariant
        x_i' = x_i + C sum_j (x_i - x_j) phi_x(m_ij) + phi_v(h_i) v_i
        h_i' = h_i + phi_h(h_i, sum_j m_ij)

    The sums go over the edges j -> i. Squared distances have a derivative at coincident points,
    and a point without edges keeps its place, up to its own velocity.

    Args:
        features: F, of the scalars h.
        hidden: width of the perceptrons and of the messages.
        edge_attributes: A, numbers a_ij given with each edge.
        velocities: whether each point has a vector v_i as well.
        aggregation: ``"mean"`` for C = 1 / (number of neighbours), ``"sum"`` for C = 1.
        device, dtype: of the weights.

    Shapes: ``layer(h, x, edge_index, edge_attr, v)`` with h ``(n, F)``, x and v ``(n, d)`` for any
    d, edge_index int64 ``(2, E)`` of sources j and targets i, edge_attr ``(E, A)``; returns h' and
    x' with the shapes of h and x. A batch of clouds is their disjoint union.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes or devices that do not fit, no point, edges that leave the cloud,
            entries that are not finite, attributes or velocities missing or not asked for.

    Law tested: rotations, reflections and translations of x (and v) give those of x' and leave h'
    as it is; permutations of points permute, of edges change nothing; weights for each coordinate,
    or absolute positions, break it. Source: Satorras, Hoogeboom and Welling, ICML 2021, equations
    (3) to (7). Chapter: ``rotations``.

    >>> layer = EGNNLayer(4, 8)
    >>> h, x = layer(torch.ones(2, 4), torch.eye(2, 3), torch.tensor([[0, 1], [1, 0]]))
    >>> h.shape, x.shape
    (torch.Size([2, 4]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        edge_attributes: int = 0,
        velocities: bool = False,
        aggregation: str = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _require_sizes(features=features, hidden=hidden)
        check.integer("edge_attributes", edge_attributes)
        check.one_of("aggregation", aggregation, AGGREGATIONS)
        self.features, self.hidden = features, hidden
        self.edge_attributes, self.aggregation = edge_attributes, aggregation
        self.velocities = check.boolean("velocities", velocities)
        made = _made(device, dtype)
        self.phi_e = _perceptron(2 * features + 1 + edge_attributes, hidden, hidden, True, **made)
        self.phi_x = _perceptron(hidden, hidden, 1, **made)
        # Small steps at first: a network of unit weights throws the points far out.
        nn.init.xavier_uniform_(self.phi_x[-1].weight, gain=0.001)
        nn.init.zeros_(self.phi_x[-1].bias)
        self.phi_v = _perceptron(features, hidden, 1, **made) if velocities else None
        self.phi_h = _perceptron(features + hidden, hidden, features, **made)

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        v: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        _require_cloud(self, self.phi_e[0].weight, h, x, edge_index, edge_attr, v)
        return self._update(h, x, edge_index, edge_attr, v)

    def _update(
        self,
        h: Tensor,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None,
        v: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The layer without its checks, for a network that made them."""
        source, target = edge_index
        apart = x.index_select(0, target) - x.index_select(0, source)
        ends = [h.index_select(0, target), h.index_select(0, source)]
        squares = apart.square().sum(1, keepdim=True)
        messages = self.phi_e(torch.cat(_present(*ends, squares, edge_attr), dim=1))
        moved = _sum_at(target, apart * self.phi_x(messages), len(x))
        if self.aggregation == "mean":
            ones = torch.ones_like(target, dtype=x.dtype)
            moved = moved / _sum_at(target, ones, len(x)).clamp(min=1)[:, None]
        if self.phi_v is not None:
            moved = moved + self.phi_v(h) * v
        received = _sum_at(target, messages, len(x))
        return h + self.phi_h(torch.cat([h, received], dim=1)), x + moved


class EGNN(nn.Module):
    r"""The E(n)-equivariant graph network: an embedding of the scalars, then layers.

    Each layer moves the points; the velocities v are those of the input in every layer. The
    displacement ``x' - x`` is a field of vectors, h' of invariants; a sum or a mean over the points
    of a cloud reads them out.

    Args:
        in_features: of the scalars h, at least 1 (ones where the points have none).
        hidden: width of the scalars between the layers, of messages and perceptrons.
        layers: how many.
        out_features: of the scalars at the end, by a linear map; None leaves ``hidden``.
        edge_attributes, velocities, aggregation, device, dtype: as in :class:`EGNNLayer`.

    Shapes: ``network(h, x, edge_index, edge_attr, v)`` with h ``(n, in_features)`` and the rest as
    in :class:`EGNNLayer`; returns h' ``(n, out_features)`` and x' ``(n, d)``.

    Raises: TypeError or ValueError as :class:`EGNNLayer` does.
    Law tested: as for its layers; a batch of clouds gives its clouds one by one. Source: Satorras,
    Hoogeboom and Welling, ICML 2021. Chapter: ``rotations``.

    >>> network = EGNN(1, 8, 2, out_features=3, velocities=True)
    >>> x, alone = torch.zeros(1, 3), torch.empty(2, 0, dtype=torch.int64)
    >>> h, moved = network(torch.ones(1, 1), x, alone, v=torch.eye(1, 3))
    >>> h.shape, moved[:, 1:].tolist()
    (torch.Size([1, 3]), [[0.0, 0.0]])
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        layers: int,
        out_features: int | None = None,
        *,
        edge_attributes: int = 0,
        velocities: bool = False,
        aggregation: str = "mean",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _require_sizes(in_features=in_features, hidden=hidden, layers=layers)
        made = _made(device, dtype)
        options = {"edge_attributes": edge_attributes, "velocities": velocities}
        options["aggregation"] = aggregation
        self.features = in_features
        self.edge_attributes, self.velocities = edge_attributes, velocities
        self.embedding = nn.Linear(in_features, hidden, **made)
        self.layers = nn.ModuleList(
            EGNNLayer(hidden, hidden, **options, **made) for _ in range(layers)
        )
        self.head = nn.Identity()
        if out_features is not None:
            _require_sizes(out_features=out_features)
            self.head = nn.Linear(hidden, out_features, **made)

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        v: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        _require_cloud(self, self.embedding.weight, h, x, edge_index, edge_attr, v)
        h = self.embedding(h)
        for layer in self.layers:
            h, x = layer._update(h, x, edge_index, edge_attr, v)
        return self.head(h), x


class GNN(nn.Module):
    r"""The unconstrained twin of :class:`EGNN`: coordinates are features like any other.

        h_i  = embedding(h_i, x_i, v_i)
        m_ij = phi_e(h_i, h_j, a_ij),     h_i' = h_i + phi_h(h_i, sum_j m_ij)
        x_i' = x_i + head(h_i)

    Args:
        in_features, hidden, layers, edge_attributes, velocities, device, dtype: as in
            :class:`EGNN`.
        dimension: d, of the space, because the coordinates enter a linear map.

    Shapes: as :class:`EGNN` with ``out_features=None``.

    Raises: TypeError or ValueError as :class:`EGNN` does.
    Law tested: permutations of points permute, of edges change nothing; rotations and translations
    are broken, on purpose. Source: the baseline of Satorras, Hoogeboom and Welling, ICML 2021,
    with x' - x in place of x' as output. Chapter: ``rotations``.

    >>> h, x = GNN(1, 8, 2)(torch.ones(2, 1), torch.eye(2, 3), torch.tensor([[0, 1], [1, 0]]))
    >>> h.shape, x.shape
    (torch.Size([2, 8]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        layers: int,
        *,
        edge_attributes: int = 0,
        velocities: bool = False,
        dimension: int = 3,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _require_sizes(in_features=in_features, hidden=hidden, layers=layers, dimension=dimension)
        check.integer("edge_attributes", edge_attributes)
        self.features, self.edge_attributes = in_features, edge_attributes
        self.dimension, self.velocities = dimension, check.boolean("velocities", velocities)
        made = _made(device, dtype)
        coordinates = 2 * dimension if velocities else dimension
        self.embedding = nn.Linear(in_features + coordinates, hidden, **made)
        self.phi_e = nn.ModuleList(
            _perceptron(2 * hidden + edge_attributes, hidden, hidden, True, **made)
            for _ in range(layers)
        )
        self.phi_h = nn.ModuleList(
            _perceptron(2 * hidden, hidden, hidden, **made) for _ in range(layers)
        )
        self.head = _perceptron(hidden, hidden, dimension, **made)

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        v: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        _require_cloud(self, self.embedding.weight, h, x, edge_index, edge_attr, v)
        if x.shape[1] != self.dimension:
            raise ValueError(f"x: expected {self.dimension} coordinates, got {tuple(x.shape)}")
        source, target = edge_index
        h = self.embedding(torch.cat(_present(h, x, v), dim=1))
        for phi_e, phi_h in zip(self.phi_e, self.phi_h, strict=True):
            ends = [h.index_select(0, target), h.index_select(0, source)]
            messages = phi_e(torch.cat(_present(*ends, edge_attr), dim=1))
            received = _sum_at(target, messages, len(x))
            h = h + phi_h(torch.cat([h, received], dim=1))
        return h, x + self.head(h)


def _perceptron(
    inputs: int, hidden: int, outputs: int, active: bool = False, **made
) -> nn.Sequential:
    layers = [nn.Linear(inputs, hidden, **made), nn.SiLU(), nn.Linear(hidden, outputs, **made)]
    return nn.Sequential(*layers, *([nn.SiLU()] if active else []))


def _present(*tensors: Tensor | None) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]


def _sum_at(target: Tensor, values: Tensor, count: int) -> Tensor:
    """The sum of the values of the edges that end at each point."""
    return values.new_zeros(count, *values.shape[1:]).index_add(0, target, values)


def _require_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        check.integer(name, value, 1)


def _made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}


def _require_cloud(
    layer: nn.Module,
    weight: Tensor,
    h: Tensor,
    x: Tensor,
    edge_index: Tensor,
    edge_attr: Tensor | None,
    v: Tensor | None,
) -> None:
    """Refuse what torch would wrap, broadcast or spoil in silence."""
    check.floating("x", x)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x: expected shape (n, d) with at least one point, got {tuple(x.shape)}")
    n, d = x.shape
    check.edges("edge_index", edge_index, len(x), x.device)
    expected = {
        "h": (h, n, layer.features),
        "x": (x, n, d),
        "edge_attr": (edge_attr, edge_index.shape[1], layer.edge_attributes),
        "v": (v, n, d if layer.velocities else 0),
    }
    for name, (value, *shape) in expected.items():
        if value is None and not shape[1]:
            continue
        if value is not None and not shape[1]:
            raise ValueError(f"{name}: expected None, the network was made without it")
        check.floating(name, value)
        if list(value.shape) != shape:
            raise ValueError(f"{name}: expected shape {tuple(shape)}, got {tuple(value.shape)}")
        if value.dtype != weight.dtype or value.device != weight.device:
            raise ValueError(
                f"{name}: expected {weight.dtype} on {weight.device} like the weights, "
                f"got {value.dtype} on {value.device}"
            )
        check.finite(name, value)
