r"""Matrices of a graph: adjacency, Laplacians, propagation, effective resistance, homophily.

A dense adjacency matrix A is ``(n, n)`` and floating-point, ``A[i, j]`` the weight of the edge
j -> i; an undirected graph has a symmetric one.

Chapter: ``graphs``.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

import gdl._checks as check

NORMALISATIONS = (None, "symmetric", "random_walk")


def adjacency_matrix(
    edge_index: Tensor,
    num_nodes: int,
    weight: Tensor | None = None,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""The dense adjacency matrix of a list of edges: ``A[i, j] = sum of w_e over e: j -> i``.

    Duplicated edges count twice; self-loops stand on the diagonal. An undirected graph lists each
    edge in both directions.

    Args:
        edge_index: int64 ``(2, E)``, row 0 the sources j, row 1 the targets i.
        num_nodes: n, at least 1.
        weight: of the edges, floating-point ``(E,)``, finite; None is 1 for each.
        dtype: of the result; None is that of the weights, or torch's default.

    Returns:
        A ``(n, n)`` on the device of the edges, differentiable in the weights.

    Raises:
        TypeError: arguments of other types.
        ValueError: nodes out of range, shapes or devices that do not fit, weights not finite.

    Law tested: ``A @ x`` is the weighted sum over incoming edges; as NetworkX's for undirected
    graphs and PyG's ``to_dense_adj``, transposed, for directed ones. Chapter: ``graphs``.

    >>> adjacency_matrix(torch.tensor([[0, 0, 2], [1, 1, 0]]), 3)
    tensor([[0., 0., 1.],
            [2., 0., 0.],
            [0., 0., 0.]])
    """
    n = check.integer("num_nodes", num_nodes, 1)
    if not isinstance(edge_index, Tensor):
        raise TypeError(f"edge_index: expected a torch.Tensor, got {type(edge_index).__name__}")
    check.edges("edge_index", edge_index, n, edge_index.device)
    if weight is None:
        made = check.real_dtype(dtype or torch.get_default_dtype())
        weight = torch.ones(edge_index.shape[1], dtype=made, device=edge_index.device)
    else:
        _require_weight(weight, edge_index)
        weight = weight.to(weight.dtype if dtype is None else check.real_dtype(dtype))
    source, target = edge_index
    return weight.new_zeros(n, n).index_put((target, source), weight, accumulate=True)


def edge_list(adjacency: Tensor) -> Tensor:
    r"""The edges of a dense adjacency matrix, sorted by target, then by source.

    The weights are ``adjacency[edge_index[1], edge_index[0]]``.

    Args:
        adjacency: A ``(n, n)``, floating-point and finite, symmetric or not.

    Returns:
        edge_index int64 ``(2, E)`` of sources j and targets i, one for each ``A[i, j] != 0``.

    Raises: TypeError or ValueError for anything else, or without nodes.
    Law tested: the inverse of :func:`adjacency_matrix` on edges without duplicates.
    Chapter: ``graphs``.

    >>> edge_list(torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])).tolist()
    [[2, 0], [0, 1]]
    """
    return _require_adjacency("adjacency", adjacency).nonzero().T.flip(0).contiguous()


def laplacian(adjacency: Tensor, normalisation: str | None = None) -> Tensor:
    r"""The graph Laplacian, positive semi-definite.

        None             L = D - A,    x^T L x = 1/2 sum_ij A_ij (x_i - x_j)^2
        "symmetric"      D^-1/2 L D^-1/2
        "random_walk"    D^-1 L        similar to the symmetric one, not symmetric itself

    D is the diagonal of the row sums of A, and 1/0 counts as 0: an isolated node has a row of
    zeros, so that the kernel has one dimension for each component, in all three. (PyG's
    ``get_laplacian`` puts 1 on the diagonal there when it normalises, NetworkX and SciPy put 0.) A
    self-loop counts once in D and cancels in L.

    Args:
        adjacency: A ``(n, n)``, symmetric, non-negative, floating-point.
        normalisation: None, ``"symmetric"`` or ``"random_walk"``.

    Returns:
        ``(n, n)`` in the dtype of A, differentiable.

    Raises:
        TypeError: no floating-point tensor.
        ValueError: another shape or name, no node, an asymmetric, negative or infinite A.

    Law tested: ``laplacian_matrix`` and ``normalized_laplacian_matrix`` of NetworkX; the quadratic
    form; eigenvalues from 0 to 2 when normalised; as many zeros as components.

    Chapters: ``graphs``, ``attention``.

    >>> laplacian(torch.tensor([[0.0, 2.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    tensor([[ 2., -2.,  0.],
            [-2.,  2.,  0.],
            [ 0.,  0.,  0.]])
    """
    check.one_of("normalisation", normalisation, NORMALISATIONS)
    A = _require_non_negative("adjacency", _require_symmetric("adjacency", adjacency))
    degree = A.sum(1)
    L = torch.diag(degree) - A
    if normalisation is None:
        return L
    # Rows of isolated nodes are zero; 1 in place of their degree keeps values and slopes finite.
    scale = torch.where(degree > 0, degree, 1.0)
    if normalisation == "random_walk":
        return L / scale[:, None]
    return scale.rsqrt()[:, None] * L * scale.rsqrt()


def propagation(adjacency: Tensor) -> Tensor:
    r"""The propagation matrix of a graph convolution.

        S = D~^-1/2 (A + I) D~^-1/2,    D~_ii = 1 + sum_j A_ij

    For a symmetric A the eigenvalues lie in (-1, 1], and 1 occurs once for each component, with the
    eigenvector D~^1/2 1 on it. An isolated node keeps its features; a self-loop of A adds to that
    of I. For a directed graph D~ counts incoming edges.

    Args:
        adjacency: A ``(n, n)``, non-negative, floating-point, symmetric or not.

    Returns:
        S ``(n, n)`` in the dtype of A, differentiable.

    Raises: TypeError or ValueError as :func:`laplacian` does.
    Law tested: PyG's ``gcn_norm``; the eigenvectors of 1. Source: Kipf and Welling, ICLR 2017, the
    renormalisation trick. Chapter: ``graphs``.

    >>> propagation(torch.tensor([[0.0, 1.0], [1.0, 0.0]])).round(decimals=4)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    A = _require_non_negative("adjacency", _require_adjacency("adjacency", adjacency))
    scale = (1 + A.sum(1)).rsqrt()
    return scale[:, None] * (A + torch.eye(len(A), dtype=A.dtype, device=A.device)) * scale


def effective_resistance(adjacency: Tensor) -> Tensor:
    r"""Resistance between the nodes of an electrical network with conductances A.

        R_ij = L+_ii + L+_jj - 2 L+_ij        L+ the pseudo-inverse of the Laplacian L = D - A

    It is infinite between components and 0 on the diagonal; self-loops carry no current. R is
    the same for any other generalised inverse of L: here one node of each component is grounded,
    its potential set to 0, so that no threshold for small eigenvalues enters.

    Args:
        adjacency: A ``(n, n)``, symmetric, non-negative, floating-point.

    Returns:
        R ``(n, n)`` in the dtype of A, computed in float64, differentiable where it is finite.

    Raises: TypeError or ValueError as :func:`laplacian` does, and ValueError for weights so far
    apart that rounding spoils the result.
    Law tested: ``resistance_distance`` of NetworkX; paths, cycles and complete graphs in closed
    form; Foster: the sum of A_ij R_ij over edges is n minus the number of components; Rayleigh: a
    new edge raises no resistance; a metric. Chapter: ``graphs``.

    >>> cycle = torch.eye(4).roll(1, 0) + torch.eye(4).roll(-1, 0)
    >>> effective_resistance(cycle)[0]
    tensor([0.0000, 0.7500, 1.0000, 0.7500])
    """
    A = _require_non_negative("adjacency", _require_symmetric("adjacency", adjacency))
    component, first = _components(A)
    wide = A.double() - torch.diag(A.double().diagonal())
    grounded = torch.zeros(len(A), dtype=torch.bool, device=A.device)
    grounded[first] = True
    L = torch.diag(wide.sum(1)) - wide
    held = torch.diag(grounded.double())
    G = torch.linalg.inv_ex(L.masked_fill(grounded | grounded[:, None], 0) + held)[0] - held
    own = G.diagonal()
    R = own[:, None] + own - (G + G.T)
    _require_foster(wide, R, len(A) - len(first))
    return R.masked_fill(component[:, None] != component, torch.inf).to(A.dtype)


def homophily(adjacency: Tensor, labels: Tensor) -> float:
    r"""The share of edges, by weight, that join nodes of the same label.

        h = sum_ij A_ij [y_i = y_j] / sum_ij A_ij

    An undirected edge counts in both directions; a self-loop counts as joining equals.

    Args:
        adjacency: A ``(n, n)``, non-negative, floating-point, symmetric or not, with an edge.
        labels: y int64 ``(n,)``.

    Returns:
        h, from 0 to 1.

    Raises:
        TypeError: no floating-point matrix, labels that are no int64 tensor.
        ValueError: shapes that do not fit, negative or infinite weights, no node, no edge.

    Law tested: PyG's ``homophily(method="edge")``; 1 and 0 for labels by component and for a
    bipartition. Chapter: ``graphs``.

    >>> path = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> homophily(path, torch.tensor([0, 0, 1]))
    0.5
    """
    A = _require_non_negative("adjacency", _require_adjacency("adjacency", adjacency))
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels: expected an int64 tensor, got {got}")
    if labels.shape != A.shape[:1]:
        raise ValueError(f"labels: expected shape ({len(A)},), got {tuple(labels.shape)}")
    if labels.device != A.device:
        raise ValueError(f"labels: expected device {A.device}, got {labels.device}")
    wide = A.detach().double()
    total = wide.sum()
    if total == 0:
        raise ValueError("adjacency: expected at least one edge, got none")
    return float(wide[labels[:, None] == labels].sum() / total)


def _components(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """The number of the component of each node, and one node of each component."""
    # Only where the entries are: SciPy takes small weights of a dense matrix for none.
    _, labels = connected_components((adjacency != 0).cpu().numpy(), directed=False)
    _, first = np.unique(labels, return_index=True)
    return torch.from_numpy(labels).to(adjacency.device), torch.from_numpy(first)


def _require_foster(A: Tensor, R: Tensor, expected: int) -> None:
    """Refuse a result that rounding has spoilt: it breaks Foster's theorem."""
    found = float((A * R).detach().sum() / 2)
    if not abs(found - expected) <= 1e-8 * len(A):
        raise ValueError(
            "adjacency: expected weights of comparable size, got ones so far apart that float64 "
            f"loses the small: Foster's sum is off by {found - expected:.2g}"
        )


def _require_weight(weight: Tensor, edge_index: Tensor) -> None:
    check.finite("weight", check.floating("weight", weight))
    if weight.shape != edge_index.shape[1:]:
        expected = tuple(edge_index.shape[1:])
        raise ValueError(f"weight: expected shape {expected}, got {tuple(weight.shape)}")
    if weight.device != edge_index.device:
        raise ValueError(f"weight: expected device {edge_index.device}, got {weight.device}")


def _require_adjacency(name: str, A: Tensor) -> Tensor:
    check.floating(name, A)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not len(A):
        raise ValueError(f"{name}: expected shape (n, n) with n at least 1, got {tuple(A.shape)}")
    return check.finite(name, A)


def _require_symmetric(name: str, A: Tensor) -> Tensor:
    """Symmetric up to rounding, which products of floating-point matrices leave behind."""
    _require_adjacency(name, A)
    if check.readable(A):
        gaps = (A - A.T).detach().abs()
        # An entry of a product is as exact as the largest ones of its row and column allow.
        sizes = torch.maximum(A.detach().abs(), A.detach().T.abs()).amax(1).sqrt()
        rounding = max(16, len(A)) * torch.finfo(A.dtype).eps
        if bool((gaps > rounding * sizes[:, None] * sizes).any()):
            raise ValueError(
                f"{name}: expected a symmetric matrix, got entries {float(gaps.max()):.3g} apart"
            )
    return A


def _require_non_negative(name: str, A: Tensor) -> Tensor:
    if check.readable(A) and bool((A < 0).any()):
        raise ValueError(f"{name}: expected no negative entries, got {float(A.min()):.3g}")
    check.finite(f"{name}, row sums", A.sum(1))
    return A
