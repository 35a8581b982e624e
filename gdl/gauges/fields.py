r"""Tangent fields: one complex number per vertex, differentiated, counted and drawn.

A field of order s turns s times as fast as the frames: vectors have the order 1, line fields 2,
crosses 4. Turning the frame of p by a_p turns u_p into e^{-i s a_p} u_p.

Chapter: ``gauges``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.sparse import coo_array, csr_array
from torch import Tensor

import gdl._checks as check
from gdl.gauges._checks import instance
from gdl.gauges._hermitian import SHARE, smallest_hermitian
from gdl.gauges.frames import face_holonomies, rescaled_angles, tangent_frames, vertex_gauge
from gdl.gauges.graph import GaugedGraph, wrapped
from gdl.gauges.orders import MOST_ORDERS
from gdl.geodesics import Mesh, cotan_laplacian, intrinsic_gradient, mass_matrix
from gdl.geodesics import _triangles as triangles
from gdl.geodesics._checks import require
from gdl.geodesics._topology import NEXT, PREVIOUS

MOST_DENSE = 1000  # vertices, for which dense complex matrices take seconds
ANTISYMMETRIC = 1e-9  # radians, by which two directions of an edge may disagree
VANISHING = 1e-12  # share of the largest entry, below which a direction is rounding
TIE = 1e-12  # radians from half a turn, which is as short one way as the other


@dataclass(frozen=True, eq=False)
class TangentFields:
    r"""The smoothest fields of a surface, orthonormal in its areas: see :func:`smoothest_fields`.

    The phase of each is free, and so is a unitary mixture of fields of one value.

    Attributes:
        values: (k,), float64, ascending: the energies of the fields.
        fields: (n, k), complex128.

    Law tested: L u = lambda M u and U^H M U = I. Chapter: ``gauges``.

    >>> TangentFields(torch.tensor([1.0]), torch.ones(5, 1, dtype=torch.complex128)).fields.shape
    torch.Size([5, 1])
    """

    values: Tensor
    fields: Tensor


def connection_laplacian(
    mesh: Mesh, graph: GaugedGraph | None = None, *, order: int = 1
) -> csr_array:
    r"""The Laplacian of tangent fields, which compares neighbours after transport.

        u^H L u = sum over edges of w_pq |u_p - e^{i s g} u_q|^2,    g from q to p
        L_pp = sum_q w_pq,    L_pq = -w_pq e^{i s g},    w = (cot a + cot b) / 2

    Where the angles opposite to an edge add up to more than pi, its weight is negative, and with
    strong curvature there L need not be positive.

    Args:
        mesh: an oriented manifold, with areas and without isolated vertices.
        graph: transports along its edges, in float64, on the CPU; None for :func:`vertex_gauge`.
        order: s, from 0 to 64; 0 is :func:`gdl.geodesics.cotan_laplacian`.

    Returns:
        L (n, n), complex128, Hermitian to the last bit. Computed without gradients.

    Raises:
        TypeError: no mesh, no graph, transports in float32.
        ValueError: a mesh as above it is not; a graph that has other edges than both directions of
            each edge of the mesh, or transports that do not undo each other.

    Law tested: l (l + 1) - s^2, 2 l + 1 times, on the unit sphere with errors of order h^2; the
    value 0 once on a flat torus; D^H L D in frames turned by D. Chapter: ``gauges``.

    >>> tetrahedron = Mesh([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
    ...                    [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    >>> L = connection_laplacian(tetrahedron)
    >>> L.diagonal().real.round(6).tolist()
    [1.732051, 1.732051, 1.732051, 1.732051]
    >>> bool(abs(L - L.conj().T).max() == 0)
    True
    """
    graph = _gauge(mesh, graph)
    check.integer("order", order, 0, MOST_ORDERS)
    entries = cotan_laplacian(mesh).tocoo()
    row, column = (torch.from_numpy(index).long() for index in entries.coords)
    low, high = torch.minimum(row, column), torch.maximum(row, column)
    apart = row != column
    turn = torch.zeros(len(row), dtype=torch.float64)
    down = _edges_between(graph, high[apart], low[apart])
    turn[apart] = order * graph.transports.detach()[down]
    # One angle an edge, with both signs: the result is Hermitian to the last bit.
    turn = torch.where(row > column, -turn, turn)
    phases = torch.polar(torch.ones_like(turn), turn)
    values = torch.from_numpy(entries.data) * phases
    places = (row.numpy(), column.numpy())
    return coo_array((values.numpy(), places), shape=entries.shape).tocsr()


def field_indices(
    mesh: Mesh, graph: GaugedGraph | None, field: Tensor, *, order: int = 1
) -> Tensor:
    r"""How often a field turns on the way round each face: its zeros, counted with sign.

        index = 1/2pi (sum over sides a -> b of wrap(phi_b - phi_a - s g_ab) + s holonomy)

    phi is the angle of the field, and wrap takes the shortest way, -pi to pi. The holonomy is the
    rescaled angle sum of the face minus pi, its curvature as a number and not as an angle. Each
    side is run through once in each direction, so that on a closed surface the indices of every
    field, even a random one, add up to s (V - E + F); with transports far from those of the
    surface, to another number, but the same for all fields. At a boundary, the number of turns of
    the field against it adds to that: 0 for a field that keeps its angle to the boundary.

    An index k of a field of order s is k / s of a full turn.

    Args:
        mesh: as for :func:`connection_laplacian`.
        graph: as there.
        field: u (n,), complex, on the CPU, zero nowhere.
        order: s, from 0 to 64.

    Returns:
        (m,), int64. Computed without gradients.

    Raises:
        TypeError: no mesh, no graph, a field that is not complex.
        ValueError: a mesh or a graph as there; another shape; NaN or infinity; a zero at a vertex,
            by index (below 1e-12 of the largest entry); neighbours that point in opposite
            directions to 1e-12, where neither way is shorter. Both happen to symmetric fields
            whose zeros lie at vertices or on sides: turn them a little.

    Law tested: the sum, on spheres, tori, creatures and surfaces with boundary, of random and of
    smooth fields; indices do not see the frames; two zeros of index 1 of a rotation of the sphere.
    Source: the theorem of Poincaré and Hopf. Chapter: ``gauges``.

    >>> tetrahedron = Mesh([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]],
    ...                    [[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    >>> field = torch.tensor([1, 2j, 3 + 1j, 1 - 2j])
    >>> field_indices(tetrahedron, None, field).sum()
    tensor(2)
    """
    graph = _gauge(mesh, graph)
    check.integer("order", order, 0, MOST_ORDERS)
    phase = _directed(field, mesh.num_vertices).angle()
    along = graph.transports[_half_edges(mesh, graph, back=True)[:, NEXT]]
    steps = wrapped(phase[mesh.faces[:, NEXT]] - phase[mesh.faces] - order * along)
    tied = ((steps.abs() - math.pi).abs() <= TIE).any(1).nonzero().flatten()
    if len(tied):
        raise ValueError(
            "field: expected neighbours less than half a turn apart, "
            f"got exactly half at a side of face {int(tied[0])}"
        )
    turns = (steps.sum(1) + order * _curvatures(mesh, graph)) / (2 * math.pi)
    return turns.round().long()


def smoothest_fields(
    mesh: Mesh, k: int, *, order: int = 1, graph: GaugedGraph | None = None
) -> TangentFields:
    r"""The fields that change least from vertex to vertex: L u = lambda M u, smallest first.

    M is the lumped mass, so that lambda is the mean of |grad u|^2 over that of |u|^2.

    Block Lanczos iterations on the real matrix of twice the size, with the number of eigenvalues
    verified by inertia, or dense matrices for up to 300 vertices: equal values are found as often
    as they occur. The start is fixed: the same mesh gives the same fields.

    Args:
        mesh: as for :func:`connection_laplacian`.
        k: from 1 to the number of vertices n; at most n / 8 if there are more than 1000.
        order: s, from 0 to 64.
        graph: as for :func:`connection_laplacian`.

    Returns:
        The values and the fields. Computed without gradients.

    Raises:
        TypeError: no mesh, no graph, k or order that is no int.
        ValueError: a mesh or a graph as there, k or order out of range, faces so different in size
            that no matrix made of them can be factorised.
        RuntimeError: the iterations did not converge.

    Law tested: dense matrices; s, 2 s + 1 times, on the unit sphere. Source: Knöppel, Crane,
    Pinkall, Schröder, Globally optimal direction fields, ACM Transactions on Graphics 32(4), 2013,
    with other mass and weights. Chapter: ``gauges``.

    >>> from gdl.geodesics import icosphere
    >>> smoothest_fields(icosphere(2), 4).values.round(decimals=2)
    tensor([1.0000, 1.0000, 1.0000, 4.9100], dtype=torch.float64)
    """
    L = connection_laplacian(mesh, graph, order=order)
    n = mesh.num_vertices
    check.integer("k", k, 1, n if n <= MOST_DENSE else n // SHARE)
    try:
        values, fields = smallest_hermitian(L, mass_matrix(mesh), k)
    except ValueError as error:
        raise ValueError(
            f"mesh: expected faces of more similar sizes and shapes, got {error}"
        ) from error
    return TangentFields(torch.from_numpy(values), torch.from_numpy(fields))


def vertex_gradient(mesh: Mesh, f: Tensor, graph: GaugedGraph | None = None) -> Tensor:
    r"""The gradient at each vertex: the mean of those on its faces, weighted by their areas.

    A face is turned into the frame of the vertex so that the middles of its wedge, there and among
    the directions round the vertex, coincide.

    Args:
        mesh: as for :func:`connection_laplacian`.
        f: (n,) or (n, C), floating-point, on the CPU.
        graph: as there; also its angles enter.

    Returns:
        (n,) or (n, C), complex128, of order 1. Computed without gradients.

    Raises:
        TypeError: no mesh, no graph, f of another type.
        ValueError: a mesh or a graph as there, another shape, NaN or infinity.

    Law tested: exact for linear functions wherever the surface is flat, boundary sides included;
    converges to the gradient of polynomials on the sphere. Chapter: ``gauges``.

    >>> mesh = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]],
    ...             [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    >>> round(float(vertex_gradient(mesh, 3 * mesh.vertices[:, 0])[0].abs()), 9)
    3.0
    """
    graph = _gauge(mesh, graph)
    check.finite("f", _on_cpu("f", check.floating("f", f)))
    if f.ndim not in (1, 2) or len(f) != mesh.num_vertices:
        raise ValueError(
            f"f: expected shape ({mesh.num_vertices},) or ({mesh.num_vertices}, C), "
            f"got {tuple(f.shape)}"
        )
    columns = f.detach().double().reshape(mesh.num_vertices, -1)
    slopes = torch.from_numpy(intrinsic_gradient(mesh) @ columns.numpy())
    turns = _middles_at_vertices(mesh, graph) - _middles_in_faces(mesh)
    shares = torch.polar(mesh.face_areas[:, None].expand_as(turns), turns)
    total = torch.zeros(columns.shape, dtype=slopes.dtype)
    area = torch.zeros(mesh.num_vertices, dtype=torch.float64)
    for k in range(3):
        total.index_add_(0, mesh.faces[:, k], shares[:, k, None] * slopes)
        area.index_add_(0, mesh.faces[:, k], mesh.face_areas)
    return (total / area[:, None]).reshape(f.shape)


def to_space(mesh: Mesh, field: Tensor, *, turned: Tensor | None = None) -> Tensor:
    r"""Tangent vectors as arrows in space, Re u e1 + Im u e2.

    Args:
        mesh: as for :func:`tangent_frames`.
        field: (n,) or (n, C), complex, of order 1, in the frames of :func:`vertex_gauge`; on the
            CPU, as all arguments here.
        turned: (n,), by which angles those frames were turned before; None for none.

    Returns:
        (n, 3) or (n, C, 3), float64.

    Raises: TypeError or ValueError for anything else.
    Law tested: orthogonal to the normal, as long as u, tangent to the frames; a field and
    its frames turned together are the same arrows. Chapter: ``gauges``.

    >>> triangle = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    >>> to_space(triangle, torch.tensor([2 + 1j, 0, 0])).round(decimals=3)[0].norm()
    tensor(2.2361, dtype=torch.float64)
    """
    frames = tangent_frames(mesh)
    _on_cpu("field", _complex("field", field, mesh.num_vertices))
    columns = field.to(torch.complex128).reshape(mesh.num_vertices, -1)
    columns = columns * _phases(turned, mesh.num_vertices)[:, None]
    arrows = torch.einsum("nck,nkx->ncx", torch.view_as_real(columns.contiguous()), frames)
    return arrows.reshape(*field.shape, 3)


def _gauge(mesh: Mesh, graph: GaugedGraph | None) -> GaugedGraph:
    """The graph if its edges are those of the mesh, and :func:`vertex_gauge` for None."""
    require(mesh, "areas", "compact", "manifold", "oriented")
    if graph is None:
        return vertex_gauge(mesh)
    instance("graph", graph, GaugedGraph)
    if graph.transports.dtype != torch.float64:
        raise TypeError(f"graph: expected transports in float64, got {graph.transports.dtype}")
    _on_cpu("graph", graph.transports)
    n = mesh.num_vertices
    both = torch.cat([mesh.edges, mesh.edges.flip(1)]) @ torch.tensor([n, 1])
    keys = graph.targets * n + graph.sources
    if graph.num_nodes != n or not torch.equal(keys.sort().values, both.sort().values):
        raise ValueError(
            f"graph: expected both directions of the {len(mesh.edges)} edges of the mesh, "
            f"got {graph.num_edges} edges of {graph.num_nodes} nodes"
        )
    back = graph.transports[_edges_between(graph, graph.targets, graph.sources)]
    gap = float(wrapped(graph.transports + back).detach().abs().max())
    if not gap <= ANTISYMMETRIC:
        raise ValueError(
            f"graph: expected transports that undo each other, got a gap of {gap:.3g} radians"
        )
    return graph


def _edges_between(graph: GaugedGraph, sources: Tensor, targets: Tensor) -> Tensor:
    """The number of the edge from each source to its target."""
    return graph.walk(torch.stack([sources, targets], -1))[..., 0]


def _half_edges(mesh: Mesh, graph: GaugedGraph, *, back: bool = False) -> Tensor:
    """(m, 3): the edge to each corner from the one after it in its face, or from the one before."""
    sources = mesh.faces[:, PREVIOUS if back else NEXT]
    return _edges_between(graph, sources, mesh.faces)


def _curvatures(mesh: Mesh, graph: GaugedGraph) -> Tensor:
    """(m,): holonomies without the multiples of a turn that an angle does not know."""
    excess = rescaled_angles(mesh).sum(1) - math.pi
    return excess + wrapped(face_holonomies(mesh, graph) - excess)


def _middles_in_faces(mesh: Mesh) -> Tensor:
    """(m, 3): the direction that halves each corner, from the side between corners 0 and 1."""
    corners = triangles.angles(mesh.lengths)
    outer = (math.pi - corners[:, 1:]).cumsum(1)
    starts = torch.cat([torch.zeros_like(outer[:, :1]), outer], 1)
    return starts + corners / 2


def _middles_at_vertices(mesh: Mesh, graph: GaugedGraph) -> Tensor:
    """(m, 3): the direction that halves the wedge of a face in the frame of each corner."""
    start = graph.angles[_half_edges(mesh, graph)]
    end = graph.angles[_half_edges(mesh, graph, back=True)]
    width = rescaled_angles(mesh)
    return start + (width + wrapped(end - start - width)) / 2


def _directed(field: Tensor, n: int) -> Tensor:
    """The field if it has one entry a vertex, which is not zero."""
    if _complex("field", field, n).ndim != 1:
        raise ValueError(f"field: expected shape ({n},), got {tuple(field.shape)}")
    sizes = _on_cpu("field", field).abs()
    bare = (sizes <= VANISHING * sizes.max()).nonzero().flatten()
    if len(bare):
        raise ValueError(f"field: expected a direction everywhere, got 0 at vertex {int(bare[0])}")
    return field.to(torch.complex128)


def _complex(name: str, field: Tensor, n: int | None) -> Tensor:
    """Return ``field`` if it is a finite complex tensor (n,) or (n, C)."""
    if not isinstance(field, Tensor) or not field.is_complex():
        got = field.dtype if isinstance(field, Tensor) else type(field).__name__
        raise TypeError(f"{name}: expected a complex tensor, got {got}")
    if n is None:
        shaped, wanted = field.ndim == 1, "(n,)"
    else:
        shaped, wanted = field.ndim in (1, 2) and len(field) == n, f"({n},) or ({n}, C)"
    if not shaped:
        raise ValueError(f"{name}: expected shape {wanted}, got {tuple(field.shape)}")
    if field.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got layout {field.layout}")
    return check.finite(name, field)


def _on_cpu(name: str, x: Tensor) -> Tensor:
    """Return ``x`` if it is where meshes are."""
    if not x.is_cpu:
        raise ValueError(f"{name}: expected one on the CPU, got {x.device}")
    return x


def _phases(turned: Tensor | None, n: int) -> Tensor:
    """e^{i a} (n,), and 1 for None."""
    if turned is None:
        return torch.ones(n, dtype=torch.complex128)
    check.finite("turned", _on_cpu("turned", check.floating("turned", turned)))
    if tuple(turned.shape) != (n,):
        raise ValueError(f"turned: expected shape ({n},), got {tuple(turned.shape)}")
    angles = turned.double()
    return torch.polar(torch.ones_like(angles), angles)
