r"""Frames on meshes: directions round a vertex, transport along edges and across them.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from gdl.gauges._chains import summed
from gdl.gauges._checks import instance
from gdl.gauges.graph import GaugedGraph, wrapped
from gdl.geodesics import Mesh
from gdl.geodesics import _topology as topology
from gdl.geodesics import _triangles as triangles
from gdl.geodesics._checks import require, typed

NEEDS = ("areas", "compact", "manifold", "oriented")
NEXT, PREVIOUS = topology.NEXT, topology.PREVIOUS
SMALLEST_SINE = 1e-6  # Of directions that keep digits when they are projected.


def vertex_gauge(mesh: Mesh) -> GaugedGraph:
    r"""The vertices of a mesh, their neighbours in polar coordinates, and transport along edges.

        theta_pq = (angles of faces from the first edge of p to the edge to q) * scale_p
        scale_p  = 2 pi / (sum of the angles at p)      inside, 1 on the boundary
        g_qp     = theta_pq + pi - theta_qp

    A geodesic keeps its angle with what is transported along it; so an edge, which leaves q in the
    direction theta_qp, arrives at p in the direction theta_pq + pi. The first edge of a vertex, at
    angle 0, leads to the neighbour of the smallest index; on the boundary it is the one with no
    face to its right. All is a function of faces and ``mesh.lengths``: bending changes nothing.

    The faces at a boundary vertex fit into the plane as they are, and their angles are kept. If
    they go round by more than a turn, so do the angles. An inner vertex may have two faces only,
    and then sees its neighbours in opposite directions.

    Args:
        mesh: an oriented manifold with areas and without isolated vertices, closed or not.

    Returns:
        A graph in float64 with an edge in each direction, sorted by target p and counter-clockwise
        from the first edge, angles from 0 (inside to less than 2 pi), weights (E, 1) of one over
        the number of neighbours of p.

    Raises:
        TypeError: no mesh.
        ValueError: zero-area faces, isolated vertices, non-manifold or inconsistently oriented
            edges, by index.

    Law tested: the same on isometric surfaces; renumbered vertices turn frames only; holonomy of
    faces, see :func:`face_holonomies`; :func:`projected_gauge` up to O(h^2). Source: the rescaled
    angles of Knöppel, Crane, Pinkall and Schröder, Globally optimal direction fields, ACM
    Transactions on Graphics 2013. Chapter: ``gauges``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> graph = vertex_gauge(square)
    >>> graph.sources[graph.targets == 0].tolist()
    [1, 2, 3]
    >>> (graph.angles[graph.targets == 0] / math.pi).round(decimals=6).tolist()
    [0.0, 0.25, 0.5]
    """
    require(mesh, *NEEDS)
    tails, heads = _half_edges(mesh)
    theta = _directions(mesh) * _scales(mesh)[tails]
    opposite = theta.roll(len(mesh.edges))
    order = torch.argsort(theta, stable=True)
    order = order[torch.argsort(tails[order], stable=True)]
    degree = tails.bincount().double()
    return GaugedGraph(
        edge_index=torch.stack([heads, tails])[:, order],
        angles=theta[order],
        distances=mesh.edge_lengths.repeat(2)[order],
        transports=wrapped(theta + math.pi - opposite)[order],
        weights=(1 / degree)[tails[order], None],
        num_nodes=mesh.num_vertices,
    )


def projected_gauge(mesh: Mesh) -> GaugedGraph:
    r"""The same graph from the surface in space: neighbours projected on tangent planes.

        theta_pq   direction of x_q - x_p, projected along the normal of p, in the frame of p
        g_qp       turn of the smallest rotation that carries the normal of q to that of p

    Frames are those of :func:`tangent_frames`. On a smooth surface it agrees with
    :func:`vertex_gauge` up to O(h^2) inside; it changes when the surface is bent.

    Args:
        mesh: as for :func:`vertex_gauge`.

    Returns:
        A graph in float64; edges, distances and weights are those of :func:`vertex_gauge`, angles
        go from -pi to pi.

    Raises:
        TypeError: no mesh.
        ValueError: as :func:`tangent_frames`; edges along the normal at an end, neighbours with
            opposite normals.

    Law tested: rotations in space change nothing; within O(h^2) of :func:`vertex_gauge`. Source: de
    Haan, Weiler, Cohen and Welling, Gauge equivariant mesh CNNs, ICLR 2021. Chapter: ``gauges``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> graph = projected_gauge(square)
    >>> (graph.angles[graph.targets == 0] / math.pi).round(decimals=6).abs().tolist()
    [0.0, 0.25, 0.5]
    """
    graph = vertex_gauge(mesh)
    normals = _vertex_normals(mesh)
    frames = _frames_from(mesh, graph, normals)
    q, p = graph.sources, graph.targets
    arrows = _arrows(mesh, graph)
    seen = torch.einsum("eix,ex->ei", frames[p], arrows)
    _refuse(seen.norm(dim=1) < SMALLEST_SINE, p, "edges along the normal of a vertex")
    both = 1 + (normals[p] * normals[q]).sum(1)
    _refuse(both < SMALLEST_SINE**2, p, "neighbours with opposite normals")
    first = frames[q, 0]
    tilt = (first * normals[p]).sum(1) / both
    carried = first - tilt[:, None] * (normals[p] + normals[q])
    turned = torch.einsum("eix,ex->ei", frames[p], carried)
    return replace(graph, angles=_argument(seen), transports=_argument(turned))


def face_gauge(mesh: Mesh) -> GaugedGraph:
    r"""The faces of a mesh, their neighbours unfolded into their plane, and transport across edges.

    The first axis of a face runs from its corner 0 to its corner 1, as in
    :func:`gdl.geodesics.intrinsic_gradient`. A neighbour q, turned about the common edge into the
    plane of p, has its centroid at ``theta_pq`` and at the distance of the graph; ``g_qp`` is the
    direction of that edge in the frame of p less that in the frame of q. All is a function of faces
    and ``mesh.lengths``.

    Args:
        mesh: as for :func:`vertex_gauge`.

    Returns:
        A graph in float64 of m nodes with up to three edges to each, sorted by target p and by the
        corner opposite to the side that they cross; boundary sides have none. Faces that share two
        sides have parallel edges. Weights (E, 1) are one over the number of neighbours.

    Raises: TypeError or ValueError as :func:`vertex_gauge` does.
    Law tested: :func:`vertex_holonomies`; the unfolded centroids in space; the same on isometric
    surfaces. Source: Crane, Desbrun and Schröder, Trivial connections on discrete surfaces,
    Computer Graphics Forum 2010. Chapter: ``gauges``.

    >>> square = Mesh([[0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0]], [[0, 1, 2], [2, 3, 0]])
    >>> graph = face_gauge(square)
    >>> graph.distances.round(decimals=6).tolist()
    [1.414214, 1.414214]
    >>> (graph.transports.abs() / math.pi).round(decimals=6).tolist()
    [1.0, 1.0]
    """
    require(mesh, *NEEDS)
    here, across = _crossed_sides(mesh)
    p, q = here // 3, across // 3
    corners = _flat_corners(mesh)
    centres, starts, ends = corners.mean(1), corners[:, NEXT], corners[:, PREVIOUS]
    sides = (ends - starts).flatten()
    turn = -sides[here] / sides[across]
    turn = turn / turn.abs()
    to_start = starts.flatten()[here] - centres[p]
    arrow = to_start + turn * (centres[q] - ends.flatten()[across])
    degree = p.bincount(minlength=mesh.num_faces).double()
    return GaugedGraph(
        edge_index=torch.stack([q, p]),
        angles=arrow.angle(),
        distances=arrow.abs(),
        transports=wrapped(turn.angle()),
        weights=(1 / degree[p])[:, None],
        num_nodes=mesh.num_faces,
    )


def tangent_frames(mesh: Mesh) -> Tensor:
    r"""The frames of :func:`vertex_gauge` in space.

    The normal of a vertex is the mean of those of its faces, by angle, and e2 = normal x e1. The
    vectors cos(theta) e1 + sin(theta) e2 are as near as can be, in the sum of squares, to the edges
    as they are seen along the normal. So the arrow of a field in space does not depend on the gauge
    or the numbering.

    Args:
        mesh: as for :func:`vertex_gauge`.

    Returns:
        Unit vectors e1, e2, (n, 2, 3), float64.

    Raises:
        TypeError: no mesh.
        ValueError: as :func:`vertex_gauge`; vertices whose faces have no mean normal, as at the rim
            of a folded sheet, or whose edges fix no axis, by index.

    Law tested: orthonormal; counter-clockwise seen from outside; rotations in space rotate them;
    renumbered vertices have the same arrows; on flat surfaces e1 is the first edge.
    Chapter: ``gauges``.

    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 2, 0]], [[0, 1, 2]])
    >>> tangent_frames(triangle)[0].round().abs().tolist()
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """
    return _frames_from(mesh, vertex_gauge(mesh), _vertex_normals(mesh))


def rescaled_angles(mesh: Mesh) -> Tensor:
    r"""The angles of the faces, in units in which a turn round their vertex is 2 pi.

    At a boundary vertex they are kept.

    Args:
        mesh: as for :func:`vertex_gauge`.

    Returns:
        (m, 3), float64.

    Raises: TypeError or ValueError as :func:`vertex_gauge` does.
    Law tested: the sum, less pi for each face, is 2 pi (V - E + F), less the turning of the
    boundary (the angle defects there).
    Chapter: ``gauges``.

    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 2, 0]], [[0, 1, 2]])
    >>> float(rescaled_angles(triangle).sum()) == math.pi
    True
    """
    require(mesh, *NEEDS)
    return triangles.angles(mesh.lengths) * _scales(mesh)[mesh.faces]


def face_holonomies(mesh: Mesh, graph: GaugedGraph) -> Tensor:
    r"""The turn of a vector that goes round each face counter-clockwise, from vertex to vertex.

        g_ba + g_cb + g_ac = (sum of the rescaled angles) - pi      up to multiples of 2 pi

    Positive where the surface is curved like a sphere.

    Args:
        mesh: as for :func:`vertex_gauge`.
        graph: of its vertices, in any gauge: :func:`vertex_gauge`, :func:`projected_gauge`.

    Returns:
        (m,), in [-pi, pi), in the dtype of the graph.

    Raises: TypeError or ValueError as :func:`vertex_gauge` does, and for a graph of another number
    of nodes, or without an edge of the mesh.

    Law tested: the formula to 1e-12 in random gauges. Chapter: ``gauges``.

    >>> tent = Mesh([[0, 0, 1], [1, 0, 0], [-1, 1, 0], [-1, -1, 0]],
    ...             [[0, 1, 2], [0, 2, 3], [0, 3, 1]])
    >>> bool((face_holonomies(tent, vertex_gauge(tent)) > 0).all())
    True
    """
    require(mesh, *NEEDS)
    instance("graph", graph, GaugedGraph)
    if graph.num_nodes != mesh.num_vertices:
        raise ValueError(
            f"graph: expected {mesh.num_vertices} nodes, one for each vertex, got {graph.num_nodes}"
        )
    return graph.holonomy(graph.walk(mesh.faces[:, [0, 1, 2, 0]]))


def vertex_holonomies(mesh: Mesh, graph: GaugedGraph) -> Tensor:
    r"""The turn of a vector that goes round each inner vertex counter-clockwise, face by face.

        sum of g over the edges that leave the vertex = angle defect      up to multiples of 2 pi

    No loop of faces goes round a vertex on the boundary.

    Args:
        mesh: as for :func:`vertex_gauge`.
        graph: :func:`face_gauge` of this mesh, in any gauge; its edges stand for sides of faces,
            and several may join two faces.

    Returns:
        (i,), in [-pi, pi), in the dtype of the graph, in the order of :func:`interior_vertices`: of
        a closed mesh, all vertices.

    Raises: TypeError or ValueError as :func:`vertex_gauge` does, and for a graph with other edges.
    Law tested: :func:`gdl.geodesics.angle_defects` to 1e-12 in random gauges. Chapter: ``gauges``.

    >>> corners = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1], [0, 0, 1]]
    >>> solid = Mesh(corners[:4], [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    >>> wrapped(vertex_holonomies(solid, face_gauge(solid)) - math.pi).abs().max() < 1e-12
    tensor(True)
    """
    require(mesh, *NEEDS)
    instance("graph", graph, GaugedGraph)
    here, across = _crossed_sides(mesh)
    expected = torch.stack([across, here]) // 3
    if graph.num_nodes != mesh.num_faces or not torch.equal(graph.edge_index.cpu(), expected):
        raise ValueError(
            f"graph: expected the edges of face_gauge(mesh), {expected.shape[1]} between "
            f"{mesh.num_faces} faces, in their order, got another {graph!r}"
        )
    # A side leaves its vertex with its own face to the left: entering it is counter-clockwise.
    around = mesh.faces[:, NEXT].flatten()[here].to(graph.transports.device)
    sums = graph.transports.new_zeros(mesh.num_vertices)
    return wrapped(sums.index_add(0, around, graph.transports)[interior_vertices(mesh)])


def interior_vertices(mesh: Mesh) -> Tensor:
    r"""The vertices that are on no boundary edge, ascending.

    Returns:
        (i,), int64.

    Raises: TypeError for no mesh. Law tested: the rest is ``mesh.boundary_vertices``.
    Chapter: ``gauges``.

    >>> tent = Mesh([[0, 0, 1], [1, 0, 0], [-1, 1, 0], [-1, -1, 0]],
    ...             [[0, 1, 2], [0, 2, 3], [0, 3, 1]])
    >>> interior_vertices(tent).tolist()
    [0]
    """
    typed(mesh)
    inside = torch.ones(mesh.num_vertices, dtype=torch.bool)
    inside[mesh.boundary_vertices] = False
    return inside.nonzero().flatten()


def _half_edges(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Tails and heads (2 e,): each edge upwards, then each edge downwards."""
    low, high = mesh.edges.unbind(1)
    return torch.cat([low, high]), torch.cat([high, low])


def _directions(mesh: Mesh) -> Tensor:
    """The angle of each half-edge from the first one of its vertex, (2 e,), not rescaled."""
    n, e = mesh.num_vertices, len(mesh.edges)
    tails, heads = _half_edges(mesh)
    first, last = (
        (edge + e * (mesh.edges[edge, 0] != mesh.faces)).flatten()
        for edge in (mesh.face_edges[:, PREVIOUS], mesh.face_edges[:, NEXT])
    )
    before, step = torch.arange(2 * e), torch.zeros(2 * e, dtype=torch.float64)
    before[last], step[last] = first, triangles.angles(mesh.lengths).flatten()
    rank = heads.clone()
    rank[last] += n
    lowest = torch.full((n,), 2 * n).scatter_reduce(0, tails, rank, "amin")
    begins = (rank == lowest[tails]).nonzero().flatten()
    before[begins], step[begins] = begins, 0.0
    return summed(step, before)


def _scales(mesh: Mesh) -> Tensor:
    """What rescales the angles at each vertex, (n,)."""
    angles = triangles.angles(mesh.lengths).flatten()
    total = torch.zeros(mesh.num_vertices, dtype=torch.float64)
    scales = 2 * math.pi / total.index_add(0, mesh.faces.flatten(), angles)
    scales[mesh.boundary_vertices] = 1.0
    return scales


def _crossed_sides(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Sides with a face beyond, by their opposite corners 3 f + k, and what they are there."""
    first, second = topology.opposite_corners(mesh.face_edges)
    here, across = torch.cat([first, second]), torch.cat([second, first])
    order = here.argsort()
    return here[order], across[order]


def _flat_corners(mesh: Mesh) -> Tensor:
    """The corners of each face in its frame, (m, 3), complex128, corner 0 at 0."""
    angle = triangles.angles(mesh.lengths)[:, 0]
    ends = torch.polar(mesh.lengths[:, [2, 1]], torch.stack([torch.zeros_like(angle), angle], 1))
    return torch.cat([torch.zeros_like(ends[:, :1]), ends], 1)


def _vertex_normals(mesh: Mesh) -> Tensor:
    """The means of the normals of the faces, by angle, of unit length, (n, 3)."""
    angles, corners = triangles.angles(mesh.lengths).flatten(), mesh.faces.flatten()
    weighted = angles[:, None] * mesh.face_normals.repeat_interleave(3, 0)
    sums = torch.zeros_like(mesh.vertices).index_add(0, corners, weighted)
    total = torch.zeros_like(mesh.vertices[:, 0]).index_add(0, corners, angles)
    length = sums.norm(dim=1)
    vertices = torch.arange(mesh.num_vertices)
    _refuse(length < SMALLEST_SINE * total, vertices, "normals of faces that cancel")
    return sums / length[:, None]


def _frames_from(mesh: Mesh, graph: GaugedGraph, normals: Tensor) -> Tensor:
    """Frames (n, 2, 3) in which edges, seen along the normals, come nearest to their angles."""
    normal, theta = normals[graph.targets], graph.angles[:, None]
    across = torch.linalg.cross(normal, _arrows(mesh, graph))
    along = torch.linalg.cross(across, normal)
    first = torch.zeros_like(normals).index_add(
        0, graph.targets, theta.cos() * along - theta.sin() * across
    )
    length = first.norm(dim=1, keepdim=True)
    vertices = torch.arange(mesh.num_vertices)
    _refuse(length[:, 0] < SMALLEST_SINE, vertices, "vertices whose edges fix no axis")
    first = first / length
    return torch.stack([first, torch.linalg.cross(normals, first)], 1)


def _arrows(mesh: Mesh, graph: GaugedGraph) -> Tensor:
    """Unit vectors from p to q, (E, 3)."""
    arrows = mesh.vertices[graph.sources] - mesh.vertices[graph.targets]
    return arrows / graph.distances[:, None]


def _argument(pairs: Tensor) -> Tensor:
    return torch.atan2(pairs[:, 1], pairs[:, 0])


def _refuse(bad: Tensor, vertices: Tensor, unwanted: str) -> None:
    if bool(bad.any()):
        found = vertices[bad].unique().tolist()
        more = f" and {len(found) - 5} more" if len(found) > 5 else ""
        shown = ", ".join(map(str, found[:5])) + more
        raise ValueError(f"mesh: expected no {unwanted}, got some at vertices {shown}")
