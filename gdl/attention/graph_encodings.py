r"""Positions on a graph: eigenvectors of its Laplacian, their projectors, random walks.

An eigenvector is fixed up to its sign, and a basis of an eigenspace of dimension m up to O(m). What
is fixed is the projector ``V V^T``, so a network may use functions of projectors only, or make
itself invariant to the signs.

Chapter: ``attention``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

import gdl._checks as check
from gdl.attention import _checks as require
from gdl.graphs.sets import DeepSetLayer

# Relative to the largest eigenvalue: closer ones are equal, those farther apart are different.
EQUAL, APART = 1e-10, 1e-7
# Where the eigenvalue 0 is moved to: above all others, which are at most 2.
LIFT = 3.0


@dataclass(frozen=True, eq=False)
class Eigenspaces:
    """Eigenspaces of a graph, by rising eigenvalue.

    Attributes:
        values: the s different eigenvalues, ``(s,)``.
        multiplicities: dimensions of their eigenspaces, int64 ``(s,)``.
        projectors: ``V V^T`` of each, ``(s, n, n)``.

    Chapter: ``attention``.

    >>> eigenspace_projectors(torch.ones(3, 3) - torch.eye(3)).multiplicities.tolist()
    [2]
    """

    values: Tensor
    multiplicities: Tensor
    projectors: Tensor


def laplacian_encoding(adjacency: Tensor, k: int) -> Tensor:
    r"""Eigenvectors of the normalised Laplacian as positions of the nodes: LapPE.

        L = 1 - D^(-1/2) A D^(-1/2),    L v_i = lambda_i v_i,    0 < lambda_1 <= ... <= lambda_k

    The eigenvalue 0, as often as the graph has components, is left out: it says at most which
    component a node is in. Signs, and bases inside eigenspaces, are whatever the eigensolver finds.

    Args:
        adjacency: A, ``(n, n)``, symmetric up to the rounding of each weight, weights of at least
            0. Isolated nodes are components of their own.
        k: how many eigenvectors, at most n minus the number of components.

    Returns:
        Orthonormal columns ``(n, k)`` in the dtype of A, computed in float64.

    Raises:
        TypeError: arguments of other types.
        ValueError: a matrix that is not square or not symmetric, negative or infinite weights, more
            eigenvectors than there are.

    Law tested: the eigenvalue equation; orthogonal to the kernel, however weak an edge is;
    projectors of simple eigenvalues follow a renumbering of the nodes, eigenvectors themselves only
    up to sign. Source: Dwivedi and Bresson, arXiv 2012.09699. Chapter: ``attention``.

    >>> path = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> laplacian_encoding(path, 1).square().round(decimals=4).flatten().tolist()
    [0.5, 0.0, 0.5]
    """
    _, vectors = _positive_spectrum(adjacency)
    check.integer("k", k, 1)
    if k > vectors.shape[1]:
        raise ValueError(f"k: expected at most {_available(vectors)}, got {k}")
    return vectors[:, :k].to(adjacency.dtype)


def eigenspace_projectors(adjacency: Tensor, k: int | None = None) -> Eigenspaces:
    r"""Eigenspaces of the normalised Laplacian: what its eigenvectors say without a choice.

        P_lambda = sum_(lambda_i = lambda) v_i v_i^T

    Eigenvalues belong to one space when they differ by at most 1e-10 of the largest, to different
    ones when by at least 1e-7; what lies between is refused.

    Args:
        adjacency: A, as in :func:`laplacian_encoding`.
        k: how many eigenvectors, by rising eigenvalue above 0; None is all. It may not cut an
            eigenspace in two.

    Returns:
        The spaces, in the dtype of A, computed in float64; none at all for a graph without edges
        and with k None.

    Raises:
        TypeError, ValueError: as :func:`laplacian_encoding`, and if k cuts an eigenspace or
            eigenvalues are neither equal nor apart.

    Law tested: symmetric, idempotent, orthogonal to each other, of trace m, and with the null space
    they add up to 1; a renumbering of nodes permutes rows and columns; other bases of the spaces
    change nothing; equal to the projectors of known graphs. Source: Lim et al., ICLR 2023.
    Chapter: ``attention``.

    >>> square = torch.tensor([[0.0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    >>> spaces = eigenspace_projectors(square)
    >>> spaces.values.round(decimals=4).tolist(), spaces.multiplicities.tolist()
    ([1.0, 2.0], [2, 1])
    """
    values, vectors = _positive_spectrum(adjacency)
    n, available = vectors.shape
    count = available if k is None else check.integer("k", k, 1)
    if count > available:
        raise ValueError(f"k: expected at most {_available(vectors)}, got {k}")
    ends = _ends_of_clusters(values)
    if count and count not in ends:
        start = max((end for end in ends if end < count), default=0)
        end = min(end for end in ends if end > count)
        raise ValueError(
            f"k: {count} cuts the eigenspace of eigenvectors {start + 1} to {end}; take "
            + (f"{start} or {end}" if start else f"{end}")
        )
    spans = [(a, b) for a, b in pairwise([0, *ends]) if b <= count]
    projectors = [vectors[:, a:b] @ vectors[:, a:b].T for a, b in spans]
    means = [values[a:b].mean() for a, b in spans]
    empty = vectors.new_zeros(0, n, n)
    return Eigenspaces(
        torch.stack(means).to(adjacency.dtype) if means else empty[:, 0, 0].to(adjacency.dtype),
        torch.tensor([b - a for a, b in spans], dtype=torch.int64, device=adjacency.device),
        torch.stack(projectors).to(adjacency.dtype) if means else empty.to(adjacency.dtype),
    )


def random_walk_encoding(adjacency: Tensor, steps: int) -> Tensor:
    r"""How likely a random walk is back where it began, after 1, 2, ... steps: RWSE.

        p_t(i) = ((A D^-1)^t)_ii,    D_jj = sum_i A_ij

    Args:
        adjacency: A, ``(n, n)``, weights of at least 0, ``A[i, j]`` of the step j -> i; it need not
            be symmetric. A walk ends at a node without edges, so that all its entries are 0.
        steps: T, at least 1.

    Returns:
        ``(n, T)`` in the dtype of A, computed in float64, between 0 and 1.

    Raises:
        TypeError: arguments of other types.
        ValueError: a matrix that is not square, negative or infinite weights, steps below 1.

    Law tested: renumbering nodes renumbers the rows; equal to walks counted one by one; zero at odd
    steps on bipartite graphs. Source: Dwivedi et al., ICLR 2022. Chapter: ``attention``.

    >>> random_walk_encoding(torch.ones(3, 3) - torch.eye(3), 3).tolist()[0]
    [0.0, 0.5, 0.25]
    """
    weights = require.weighted_graph(adjacency, symmetric=False)
    check.integer("steps", steps, 1)
    degrees = require.unspoilt("adjacency", weights.sum(0))
    walk = weights / torch.where(degrees > 0, degrees, 1)
    power, found = walk, [walk.diagonal()]
    for _ in range(steps - 1):
        power = power @ walk
        found.append(power.diagonal())
    return torch.stack(found, dim=1).to(adjacency.dtype)


class SignInvariantEncoder(nn.Module):
    r"""Features of nodes from eigenvectors, whatever their signs: SignNet.

        f(v_1, ..., v_k) = rho([phi(sqrt(n) v_i) + phi(-sqrt(n) v_i)]_i)

    phi is a network of sets, two permutation-equivariant layers over the nodes, the same for every
    eigenvector; rho is a perceptron at each node. Other bases of an eigenspace of dimension 2 or
    more still change the result.

    Args:
        k: how many eigenvectors.
        out_channels: features of a node.
        hidden: width of phi and rho.
        device, dtype: of the weights.

    Shapes: ``encoder(vectors)`` with vectors ``(n, k)`` returns ``(n, out_channels)``.

    Raises:
        TypeError: arguments of other types, vectors of another dtype than the weights.
        ValueError: counts below 1, vectors of another shape, entries that are not finite.

    Law tested: invariant to the sign of each eigenvector; renumbering nodes renumbers the rows;
    without ``phi(-v)`` signs matter. Source: Lim et al., ICLR 2023. Chapter: ``attention``.

    >>> encoder, v = SignInvariantEncoder(2, 4, 8), torch.eye(3, 2)
    >>> torch.allclose(encoder(v), encoder(v * torch.tensor([1.0, -1.0])), atol=1e-6)
    True
    """

    def __init__(
        self,
        k: int,
        out_channels: int,
        hidden: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        made = _made(device, dtype)
        self.k = check.integer("k", k, 1)
        check.integer("out_channels", out_channels, 1)
        check.integer("hidden", hidden, 1)
        self.phi = nn.Sequential(
            DeepSetLayer(1, hidden, aggregation="mean", **made), nn.ReLU(),
            DeepSetLayer(hidden, hidden, aggregation="mean", **made), nn.ReLU(),
        )  # fmt: skip
        self.rho = _perceptron(k * hidden, hidden, out_channels, **made)

    def forward(self, vectors: Tensor) -> Tensor:
        require.tokens("vectors", vectors, self.k)
        if vectors.ndim != 2:
            raise ValueError(f"vectors: expected shape (n, {self.k}), got {tuple(vectors.shape)}")
        vectors = check.typed("vectors", vectors, self.rho[0].weight.dtype)
        v = len(vectors) ** 0.5 * vectors.T.unsqueeze(-1)
        even = self.phi(v) + self.phi(-v)
        return self.rho(even.transpose(0, 1).flatten(1))


class BasisInvariantEncoder(nn.Module):
    r"""Features of nodes from eigenspaces, whatever bases they are given in: functions of P.

        f_a = rho(sum_lambda (1/n) sum_b phi(lambda, n P_aa, n P_bb, n P_ab))

    phi and rho are perceptrons; P is the projector of lambda. The sums make graphs of any size and
    any number of eigenspaces fit.

    Args:
        out_channels: features of a node.
        hidden: width of phi and rho.
        device, dtype: of the weights.

    Shapes: ``encoder(values, projectors)`` with values ``(s,)`` and projectors ``(s, n, n)`` as
    :func:`eigenspace_projectors` gives them; returns ``(n, out_channels)``.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: counts below 1, other shapes, no node, entries that are not finite.

    Law tested: another basis of each eigenspace changes nothing; renumbering nodes renumbers the
    rows; graphs with the same eigenvalues but other eigenspaces are told apart. Source: after the
    BasisNet of Lim et al., ICLR 2023, with phi over pairs of nodes in place of their graph
    network. Chapter: ``attention``.

    >>> spaces = eigenspace_projectors(torch.ones(3, 3) - torch.eye(3))
    >>> BasisInvariantEncoder(4, 8)(spaces.values, spaces.projectors).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        out_channels: int,
        hidden: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        made = _made(device, dtype)
        check.integer("out_channels", out_channels, 1)
        check.integer("hidden", hidden, 1)
        self.phi = nn.Sequential(_perceptron(4, hidden, hidden, **made), nn.ReLU())
        self.rho = _perceptron(hidden, hidden, out_channels, **made)

    def forward(self, values: Tensor, projectors: Tensor) -> Tensor:
        dtype = self.rho[0].weight.dtype
        values = check.typed("values", values, dtype)
        projectors = check.typed("projectors", projectors, dtype)
        n = projectors.shape[-1] if projectors.ndim else 0
        if projectors.ndim != 3 or projectors.shape[1] != n or not n:
            raise ValueError(
                f"projectors: expected shape (s, n, n) with n >= 1, got {tuple(projectors.shape)}"
            )
        if values.shape != projectors.shape[:1]:
            raise ValueError(
                f"values: expected shape ({len(projectors)},) as projectors, got "
                f"{tuple(values.shape)}"
            )
        check.finite("values", values)
        check.finite("projectors", projectors)
        diagonal = projectors.diagonal(dim1=1, dim2=2)
        pairs = [
            values[:, None, None].expand_as(projectors),
            n * diagonal[:, :, None].expand_as(projectors),
            n * diagonal[:, None, :].expand_as(projectors),
            n * projectors,
        ]
        return self.rho(self.phi(torch.stack(pairs, dim=-1)).mean(2).sum(0))


def _positive_spectrum(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues above 0 of the normalised Laplacian and their eigenvectors, in float64."""
    # SciPy's graph routines are slow to import, and few of those who attend need them.
    from scipy.sparse.csgraph import connected_components

    weights = require.weighted_graph(adjacency, symmetric=True)
    degrees = require.unspoilt("adjacency", weights.sum(1))
    connected = degrees > 0
    roots = torch.where(connected, degrees, 1).rsqrt()
    laplacian = torch.diag(connected.double()) - roots[:, None] * weights * roots
    # The kernel is known from the components, and is not read off small eigenvalues: weak edges
    # make those as well, and the eigensolver would mix their vectors with it.
    count, labels = connected_components(np.asarray(weights.cpu()) > 0, directed=False)
    members = one_hot(torch.from_numpy(labels).long().to(weights.device), count)
    kernel = members * torch.where(connected, degrees, 1).sqrt()[:, None]
    # The squares of large or small degrees must not leave float64.
    kernel = normalize(kernel / kernel.amax(0), dim=0)
    values, vectors = torch.linalg.eigh(laplacian + LIFT * kernel @ kernel.T)
    positive = len(weights) - count
    return values[:positive], vectors[:, :positive]


def _ends_of_clusters(values: Tensor) -> list[int]:
    """How many eigenvalues there are up to the end of each cluster of equal ones."""
    if not len(values):
        return []
    if values[0] < APART * values[-1]:
        raise ValueError(
            f"adjacency: expected stronger edges, an eigenvalue of {values[0].item():.1e} cannot "
            "be told from 0"
        )
    steps = values.diff() / values[-1]
    unclear = ((steps > EQUAL) & (steps < APART)).nonzero()
    if len(unclear):
        i = int(unclear[0, 0])
        raise ValueError(
            f"adjacency: expected eigenvalues that are equal or apart, but {i + 1} and {i + 2} "
            f"above 0 differ by {steps[i].item():.1e} of the largest"
        )
    return [*((steps >= APART).nonzero()[:, 0] + 1).tolist(), len(values)]


def _available(vectors: Tensor) -> str:
    n, available = vectors.shape
    return f"{available}, the eigenvalues above 0 of {n} nodes in {n - available} components"


def _perceptron(inputs: int, hidden: int, outputs: int, **made) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden, **made), nn.ReLU(), nn.Linear(hidden, outputs, **made)
    )


def _made(device: torch.device | str | None, dtype: torch.dtype | None) -> dict:
    return {"device": device, "dtype": None if dtype is None else check.real_dtype(dtype)}
