"""Which faces of a triangulation meet, and how: incidence alone, without coordinates."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

NEXT, PREVIOUS = [1, 2, 0], [2, 0, 1]


def edges_of(faces: Tensor, vertices: int) -> tuple[Tensor, Tensor]:
    """The edges (e, 2), smaller vertex first, sorted, and (m, 3) the one opposite each corner."""
    a, b = faces[:, NEXT], faces[:, PREVIOUS]
    keys = torch.minimum(a, b) * vertices + torch.maximum(a, b)
    found, index = keys.unique(return_inverse=True)
    return torch.stack([found // vertices, found % vertices], 1), index


def faces_at_edges(face_edges: Tensor, edges: int) -> Tensor:
    """How many faces have each edge."""
    return face_edges.flatten().bincount(minlength=edges)


def repeated_directions(faces: Tensor, face_edges: Tensor, edges: int) -> Tensor:
    """Whether two faces run through each edge in the same direction."""
    upward = faces[:, NEXT] < faces[:, PREVIOUS]
    up = face_edges[upward].bincount(minlength=edges)
    down = face_edges[~upward].bincount(minlength=edges)
    return torch.maximum(up, down) > 1


def fans_at_vertices(faces: Tensor, face_edges: Tensor, vertices: int) -> Tensor:
    """How many fans the faces round each vertex form, joined through shared edges."""
    first, second = opposite_corners(face_edges)
    pairs = zip(_ends(faces, first), _ends(faces, second), strict=True)
    links = torch.cat([torch.stack(pair) for pair in pairs], 1)
    labels = _labels(faces.numel(), links)
    _, corner = np.unique(labels, return_index=True)
    return faces.flatten()[torch.from_numpy(corner)].bincount(minlength=vertices)


def components(vertices: int, edges: Tensor) -> Tensor:
    """(n,): a number for each vertex, the same where a path of edges joins two."""
    return torch.from_numpy(_labels(vertices, edges.T)).to(torch.int64)


def flips(faces: Tensor, face_edges: Tensor) -> tuple[Tensor, Tensor]:
    """Which faces to turn so that neighbours agree, and which faces lie where that cannot be.

    A face has two sides. Across an edge, each side of one face meets a side of the other; the
    surface has an orientation where the two sides of a face lie in different components. Every
    edge has at most two faces.
    """
    m = len(faces)
    first, second = opposite_corners(face_edges)
    upward = (faces[:, NEXT] < faces[:, PREVIOUS]).flatten()
    opposed = upward[first] == upward[second]
    f, g = first // 3, second // 3
    links = torch.cat(
        [torch.stack([f, g + m * opposed]), torch.stack([f + m, g + m * ~opposed])], 1
    )
    labels = torch.from_numpy(_labels(2 * m, links)).reshape(2, m)
    piece = torch.from_numpy(_labels(m, torch.stack([f, g])))
    _, leader = np.unique(piece, return_index=True)
    kept = labels[0][torch.from_numpy(leader)][piece.long()]
    return labels[0] != kept, labels[0] == labels[1]


def opposite_corners(face_edges: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs of corners, numbered 3 f + k, that are opposite to one edge of two faces."""
    order = face_edges.flatten().argsort(stable=True)
    edge = face_edges.flatten()[order]
    same = edge[1:] == edge[:-1]
    return order[:-1][same], order[1:][same]


def _ends(faces: Tensor, corner: Tensor) -> tuple[Tensor, Tensor]:
    """The corners of the same face at the smaller and at the larger end of the opposite edge."""
    face, k = corner // 3, corner % 3
    after, before = 3 * face + (k + 1) % 3, 3 * face + (k + 2) % 3
    flat = faces.flatten()
    ascending = flat[after] < flat[before]
    return torch.where(ascending, after, before), torch.where(ascending, before, after)


def _labels(nodes: int, links: Tensor) -> np.ndarray:
    ones = np.ones(links.shape[1], dtype=np.int64)
    graph = coo_array((ones, (links[0].numpy(), links[1].numpy())), shape=(nodes, nodes))
    return connected_components(graph, directed=False)[1]
