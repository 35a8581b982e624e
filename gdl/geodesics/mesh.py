r"""Triangle meshes, what is wrong with them, and what still works.

Chapter: ``geodesics``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gdl.geodesics import _topology as topology
from gdl.geodesics import _triangles as triangles
from gdl.geodesics._arrays import read_array

LARGEST = 1e100  # Squares of coordinates, and areas, stay finite.

OPERATORS = "Laplacian, mass, gradient, eigenbasis, heat distances, signatures"
NEEDS = {
    "edge distances": (),
    OPERATORS: ("areas", "compact"),
    "curvature": ("areas", "compact", "manifold"),
    "traced geodesics": ("areas", "compact", "manifold"),
    "normals, frames": ("areas", "compact", "manifold", "oriented"),
}


class Mesh:
    r"""A surface of flat triangles in space, or several.

    Vertex i lies at ``vertices[i]``; a face lists its three vertices, counter-clockwise seen from
    outside. Tensors are on the CPU, since what is done with a mesh is sparse linear algebra. A
    mesh is not changed once it is made: what follows from it is computed once and kept.

    A face whose longest side is below 1e-100, where squares of lengths lose digits, counts as one
    without area.

    Args:
        vertices: (n, 3), real and finite, at most 1e100 in size; copied to float64.
        faces: (m, 3), integers from 0 to n - 1, m at least 1; copied to int64.

    Raises:
        TypeError: vertices that are no real numbers, faces that are no integers.
        ValueError: other shapes, NaN or infinity, indices out of range, a face that names a
            vertex twice.

    Everything else is a mesh, though not every operator accepts it: see :meth:`report`.

    Law tested: counts, areas and lengths of trimesh; V - E + F is 2 on spheres, 0 on tori, 1 on
    disks; every planted defect is found, and no other. Chapter: ``geodesics``.

    >>> square = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]])
    >>> square
    Mesh(4 vertices, 2 faces)
    >>> square.area, square.euler_characteristic, len(square.boundary_edges)
    (1.0, 1, 4)
    """

    def __init__(self, vertices: ArrayLike | Tensor, faces: ArrayLike | Tensor) -> None:
        self.vertices = _read_vertices(vertices)
        self.faces = _read_faces(faces, len(self.vertices))

    def __repr__(self) -> str:
        return f"Mesh({self.num_vertices} vertices, {self.num_faces} faces)"

    @property
    def num_vertices(self) -> int:
        """The number of vertices n."""
        return len(self.vertices)

    @property
    def num_faces(self) -> int:
        """The number of faces m."""
        return len(self.faces)

    @cached_property
    def edges(self) -> Tensor:
        """The edges (e, 2), int64, smaller vertex first, in lexicographic order."""
        return self._edges[0]

    @cached_property
    def face_edges(self) -> Tensor:
        """The index of the edge opposite to each corner of each face, (m, 3), int64."""
        return self._edges[1]

    @cached_property
    def _edges(self) -> tuple[Tensor, Tensor]:
        return topology.edges_of(self.faces, self.num_vertices)

    @cached_property
    def edge_lengths(self) -> Tensor:
        """The length of each edge, (e,), float64."""
        start, end = self.vertices[self.edges].unbind(1)
        return (end - start).norm(dim=-1)

    @cached_property
    def lengths(self) -> Tensor:
        """The length of the side opposite to each corner of each face, (m, 3), float64."""
        return self.edge_lengths[self.face_edges]

    @cached_property
    def face_areas(self) -> Tensor:
        """From the lengths alone, so that isometric meshes share them; (m,), float64.

        The lengths hardly see a height below 1e-6 of the longest side: there areas are 1e-5 off,
        at 1e-7 they are 4e-4 off, and at about 4e-8 more than a percent.
        """
        return triangles.areas(self.lengths)

    @cached_property
    def face_normals(self) -> Tensor:
        """Unit normals, by the order of the corners; zero for a face without area; (m, 3)."""
        a, b, c = self.vertices[self.faces].unbind(1)
        longest = self.lengths.amax(1, keepdim=True)
        size = torch.where(longest > 0, longest, 1.0)
        cross = torch.linalg.cross((b - a) / size, (c - a) / size)
        length = cross.norm(dim=-1, keepdim=True)
        return cross / torch.where(length > 0, length, 1.0)

    @cached_property
    def area(self) -> float:
        """The sum of the areas of the faces."""
        return float(self.face_areas.sum())

    @cached_property
    def mean_edge_length(self) -> float:
        """The mean over the edges, each counted once."""
        return float(self.edge_lengths.mean())

    @cached_property
    def euler_characteristic(self) -> int:
        """V - E + F, over the vertices that some face names."""
        return len(self.faces.unique()) - len(self.edges) + self.num_faces

    @cached_property
    def boundary_edges(self) -> Tensor:
        """The edges of one face only, (b, 2), int64."""
        return self.edges[self._faces_at_edges == 1]

    @cached_property
    def boundary_vertices(self) -> Tensor:
        """The vertices of boundary edges, int64, ascending."""
        return self.boundary_edges.unique()

    @cached_property
    def component(self) -> Tensor:
        """The component of each vertex, (n,), int64; the ends of an edge are in one."""
        return topology.components(self.num_vertices, self.edges)

    @cached_property
    def num_components(self) -> int:
        """The number of components; an isolated vertex is one."""
        return int(self.component.max()) + 1

    @property
    def is_closed(self) -> bool:
        """Whether no edge is on a boundary."""
        return not len(self.boundary_edges)

    @cached_property
    def is_manifold(self) -> bool:
        """Whether edges have at most two faces, and the faces round a vertex form one fan."""
        found = self.report()
        return not (len(found.non_manifold_edges) or len(found.non_manifold_vertices))

    @cached_property
    def is_oriented(self) -> bool:
        """Whether no two faces run through an edge in the same direction."""
        return not len(self.report().inconsistent_edges)

    @cached_property
    def is_measurable(self) -> bool:
        """Whether every face has an area and every vertex a face; makes no report."""
        return not (len(self._zero_area_faces) or len(self._isolated_vertices))

    @cached_property
    def _zero_area_faces(self) -> Tensor:
        return triangles.degenerate(self.lengths).nonzero().flatten()

    @cached_property
    def _isolated_vertices(self) -> Tensor:
        corners = self.faces.flatten().bincount(minlength=self.num_vertices)
        return (corners == 0).nonzero().flatten()

    @cached_property
    def _faces_at_edges(self) -> Tensor:
        return topology.faces_at_edges(self.face_edges, len(self.edges))

    @cached_property
    def _report(self) -> MeshReport:
        fans = topology.fans_at_vertices(self.faces, self.face_edges, self.num_vertices)
        repeated = topology.repeated_directions(self.faces, self.face_edges, len(self.edges))
        order = self.component.argsort(stable=True)
        sizes = self.component.bincount().tolist()
        return MeshReport(
            summary=f"{self!r}, Euler characteristic {self.euler_characteristic}",
            non_manifold_edges=self.edges[self._faces_at_edges > 2],
            non_manifold_vertices=(fans > 1).nonzero().flatten(),
            zero_area_faces=self._zero_area_faces,
            isolated_vertices=self._isolated_vertices,
            inconsistent_edges=self.edges[repeated],
            boundary_edges=self.boundary_edges,
            components=order.split(sizes),
        )

    def report(self) -> MeshReport:
        """Every defect by index, and what works in spite of it: see :class:`MeshReport`."""
        return self._report

    def oriented(self) -> Mesh:
        """The same surface with faces turned so that neighbours agree.

        The first face of each piece joined through edges keeps the order of its corners; others
        swap their last two where they have to.

        Raises: ValueError where an edge has more than two faces, or on a one-sided surface such
        as a Möbius strip.
        """
        if len(self.report().non_manifold_edges):
            raise ValueError(f"mesh: {self.report().refusal('manifold')}")
        turned, both = topology.flips(self.faces, self.face_edges)
        if bool(both.any()):
            faces = both.nonzero().flatten()
            raise ValueError(f"mesh: expected two sides, got one-sided faces {_named(faces)}")
        faces = torch.where(turned[:, None], self.faces[:, [0, 2, 1]], self.faces)
        return Mesh(self.vertices, faces)

    def compact(self) -> Mesh:
        """The mesh without its isolated vertices; the others keep their order."""
        kept, faces = self.faces.unique(return_inverse=True)
        return Mesh(self.vertices[kept], faces)

    def permuted(self, permutation: ArrayLike | Tensor) -> Mesh:
        """The same mesh, renumbered: vertex i becomes ``permutation[i]``.

        Raises: TypeError or ValueError for anything but a permutation of 0, ..., n - 1.
        """
        p = _read_integers("permutation", permutation)
        if p.shape != (self.num_vertices,):
            raise ValueError(
                f"permutation: expected shape ({self.num_vertices},), got {tuple(p.shape)}"
            )
        if not torch.equal(p.sort().values, torch.arange(self.num_vertices)):
            raise ValueError(
                f"permutation: expected each of 0 to {self.num_vertices - 1} once, got otherwise"
            )
        return Mesh(self.vertices[p.argsort()], p[self.faces])

    def with_vertices(self, vertices: ArrayLike | Tensor) -> Mesh:
        """The same faces with vertices elsewhere, (n, 3).

        Raises: TypeError or ValueError for anything else.
        """
        moved = _read_vertices(vertices)
        if len(moved) != self.num_vertices:
            expected = tuple(self.vertices.shape)
            raise ValueError(f"vertices: expected shape {expected}, got {tuple(moved.shape)}")
        return Mesh(moved, self.faces)


@dataclass(frozen=True, eq=False)
class MeshReport:
    r"""The defects of a mesh, by index, and what works in spite of them.

    ``str(report)`` is a text for people. Boundaries and several components are no defects.

    Attributes:
        summary: the number of vertices and faces, the Euler characteristic.
        non_manifold_edges: (k, 2), the ends of edges with more than two faces.
        non_manifold_vertices: (k,), where the faces form more than one fan (a bow tie).
        zero_area_faces: (k,), two sides of which are together no longer than the third, up to
            rounding: heights under about 4e-8 of it; or smaller than 1e-100.
        isolated_vertices: (k,), which no face names.
        inconsistent_edges: (k, 2), which two faces run through in the same direction.
        boundary_edges: (k, 2), which have one face.
        components: a tensor of vertices for each.

    Law tested: each planted defect is found, alone, at its index. Chapter: ``geodesics``.

    >>> bow_tie = Mesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 0, 0], [-1, -1, 0]],
    ...                [[0, 1, 2], [0, 3, 4]])
    >>> bow_tie.report().non_manifold_vertices
    tensor([0])
    >>> bow_tie.report().missing["curvature"]
    ('manifold',)
    """

    summary: str
    non_manifold_edges: Tensor
    non_manifold_vertices: Tensor
    zero_area_faces: Tensor
    isolated_vertices: Tensor
    inconsistent_edges: Tensor
    boundary_edges: Tensor
    components: tuple[Tensor, ...]

    @property
    def missing(self) -> dict[str, tuple[str, ...]]:
        """For each kind of operator, the properties it needs and does not find; () if it works."""
        lacking = {defect.breaks for defect in _DEFECTS if len(getattr(self, defect.field))}
        return {
            what: tuple(name for name in needs if name in lacking) for what, needs in NEEDS.items()
        }

    def refusal(self, *properties: str) -> str | None:
        """What was expected and what came, if one of these properties is missing.

        They are "areas", "compact" (no isolated vertices), "manifold", "oriented", "closed".
        """
        for defect in _DEFECTS:
            indices = getattr(self, defect.field)
            if defect.breaks in properties and len(indices):
                return f"expected no {defect.name}, got {_named(indices)}; {defect.remedy}"
        return None

    def __str__(self) -> str:
        lines = [self.summary]
        for defect in _DEFECTS:
            indices = getattr(self, defect.field)
            if len(indices):
                lines.append(f"{defect.name} ({len(indices)}): {_named(indices)}; {defect.remedy}")
        if len(self.components) > 1:
            firsts = torch.stack([vertices[0] for vertices in self.components])
            lines.append(
                f"components ({len(firsts)}), with vertices {_named(firsts)}; the eigenvalue 0 "
                "occurs once for each, and distances between them are infinite"
            )
        for what, needs in self.missing.items():
            lines.append(f"{what}: " + ("works" if not needs else f"needs {', '.join(needs)}"))
        return "\n".join(lines)


class _Defect(NamedTuple):
    """A row of the table of defects: see :data:`_DEFECTS`."""

    breaks: str
    field: str
    name: str
    remedy: str


_DEFECTS = (
    _Defect("areas", "zero_area_faces", "zero-area faces", "remove them, or move a vertex"),
    _Defect("compact", "isolated_vertices", "isolated vertices", "mesh.compact() drops them"),
    _Defect(
        "manifold",
        "non_manifold_edges",
        "edges of more than two faces",
        "take faces away, or separate them",
    ),
    _Defect(
        "manifold",
        "non_manifold_vertices",
        "vertices with several fans of faces",
        "give each fan a vertex of its own",
    ),
    _Defect(
        "oriented",
        "inconsistent_edges",
        "edges run through twice in the same direction",
        "mesh.oriented() turns faces where that helps",
    ),
    _Defect(
        "closed",
        "boundary_edges",
        "boundary edges",
        "Laplacians have Neumann conditions there, and the boundary turns in Gauss-Bonnet",
    ),
)


def _named(indices: Tensor) -> str:
    """The first of some vertices, faces or edges, and how many more there are."""
    shown = [tuple(i) if isinstance(i, list) else i for i in indices[:5].tolist()]
    rest = f" and {len(indices) - len(shown)} more" if len(indices) > len(shown) else ""
    return ", ".join(map(str, shown)) + rest


def _read_vertices(vertices: ArrayLike | Tensor) -> Tensor:
    read = read_array("vertices", vertices)
    if read.dtype.kind not in "iuf":
        raise TypeError(f"vertices: expected real numbers, got {read.dtype}")
    if read.ndim != 2 or read.shape[1] != 3:
        raise ValueError(f"vertices: expected shape (n, 3), got {read.shape}")
    if not np.isfinite(read).all():
        row = int((~np.isfinite(read)).any(1).argmax())
        raise ValueError(f"vertices: expected finite entries, got {read[row]} for vertex {row}")
    if read.size and float(np.abs(read).max()) > LARGEST:
        raise ValueError(f"vertices: expected entries up to {LARGEST}, got {np.abs(read).max()}")
    return torch.from_numpy(read.astype(np.float64))


def _read_faces(faces: ArrayLike | Tensor, vertices: int) -> Tensor:
    read = _read_integers("faces", faces)
    if read.ndim != 2 or read.shape[1] != 3 or not len(read):
        raise ValueError(f"faces: expected shape (m, 3) with m at least 1, got {tuple(read.shape)}")
    outside = ((read < 0) | (read >= vertices)).any(1).nonzero().flatten()
    if len(outside):
        first = int(outside[0])
        raise ValueError(
            f"faces: expected indices 0 to {vertices - 1} for {vertices} vertices, "
            f"got {read[first].tolist()} in face {first}"
        )
    twice = (read == read.roll(1, 1)).any(1).nonzero().flatten()
    if len(twice):
        first = int(twice[0])
        raise ValueError(
            f"faces: expected three different vertices, got {read[first].tolist()} in face {first}"
        )
    return read


def _read_integers(name: str, value: ArrayLike | Tensor) -> Tensor:
    read = read_array(name, value)
    if read.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {read.dtype}")
    return torch.from_numpy(read.astype(np.int64))
