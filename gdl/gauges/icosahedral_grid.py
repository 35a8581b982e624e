r"""The icosphere as a hexagonal grid: charts, frames in Z_6, transport, and the sixty rotations.

All vertices but twelve have six neighbours. A frame is the choice of the neighbour that is called
direction 0; the others follow counter-clockwise, a sixth of a turn from one to the next. All angles
here are whole sixths of a turn, and everything is exact.

Chapter: ``gauges``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor

import gdl._checks as check
from gdl.gauges._fibres import fibre_index, read_fibres
from gdl.geodesics import Mesh, icosphere, vertex_permutation

SIXTHS = 6
CORNERS = 12
MOST_LEVELS = 7
# Row and column steps of the directions 0 to 5: columns run along direction 0, rows along 1.
STEPS = ((0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1))


class IcosahedralGrid:
    r"""The vertices of an icosphere on five charts, with neighbours and transport in Z_6.

        charts         5 parallelograms of n x 2 n vertices, n = 2^level: all but the two poles
        direction d    of (row, column): (0, 1), (1, 0), (1, -1), (0, -1), (-1, 0), (-1, 1)
        transport      g = d + 3 - d',  if q lies in direction d of p, and p in direction d' of q

    What points in direction u at q points in direction u + g at p, after transport along the edge:
    a straight line stays straight. The vertices and their order are those of ``icosphere(level)``.
    Its first twelve, the corners, have five neighbours, and Z_6 cannot act there: every layer makes
    them zero. Ten of them lie on charts, and two are the poles, vertex 0 and its antipode. One walk
    round a corner turns by a sixth, and all other small walks do not turn.

    A field is a tensor ``(..., d, N)``: scalar with d = 1, regular with d = 6, the function
    u -> f(u) of the direction at each vertex.

    Args:
        level: of the icosphere, from 1 to 7; on level 0 every vertex is a corner.

    Attributes:
        level: as given.
        mesh: ``icosphere(level)``.
        charts: vertices (5, n, 2 n), int64.
        neighbours: (N, 6), int64: the vertex in each direction; a corner stands as its own.
        transports: (N, 6), int64 from 0 to 5: g from this neighbour, and 0 to or from a corner.
        padding_index: (5, n + 2, 2 n + 2), int64: the charts with a ring of vertices around.
        padding_shift: (5, n + 2, 2 n + 2): by how much fields at these turn into the frame of the
            chart. The two acute ends of the ring, and what is seen from corners alone, have no
            meaning.
        gauge: (N,), by how much each frame is turned against that of its chart.

    Raises: TypeError or ValueError for a level that is no int or out of range.

    Law tested: p is in direction d + 3 - g of q; neighbours are the edges of the mesh; what two
    vertices see in one place of the ring agrees; transport round a corner is 1, round a face
    without corner 0; on the next level twice the distance goes the same way. Source: Cohen,
    Weiler, Kicanaoglu and Welling, ICML 2019. Chapter: ``gauges``.

    >>> grid = IcosahedralGrid(2)
    >>> grid, grid.charts.shape
    (IcosahedralGrid(level 2, 162 vertices), torch.Size([5, 4, 8]))
    """

    def __init__(self, level: int):
        self.level = check.integer("level", level, 1, MOST_LEVELS)
        with torch.device("cpu"):
            self.mesh = icosphere(level)
            third = _third_corners(self.mesh)
            wider = _walked(self.mesh, third)
            self.charts = wider[:, :, 1:]
            self.neighbours = _rings(self.charts, wider[:, :, :-1], third)
            self.transports = _transports(self.neighbours)
            self.padding_index, self.padding_shift = self._padding()
            self.gauge = torch.zeros(self.num_vertices, dtype=torch.int64)

    @property
    def num_vertices(self) -> int:
        """N = 10 4^level + 2."""
        return self.mesh.num_vertices

    def __repr__(self) -> str:
        return f"IcosahedralGrid(level {self.level}, {self.num_vertices} vertices)"

    def turned(self, by: Tensor) -> IcosahedralGrid:
        """The same grid, each frame turned counter-clockwise by its own number of sixths.

        Args:
            by: a (N,), int64; taken modulo 6, and as 0 at the corners.

        Raises: TypeError for another dtype, ValueError for another shape.
        Law tested: an action of Z_6^N; transport round walks, and layers, do not see it.

        >>> grid = IcosahedralGrid(1)
        >>> turned = grid.turned(torch.ones(42, dtype=torch.int64))
        >>> bool((turned.neighbours[30] == grid.neighbours[30].roll(-1)).all())
        True
        """
        by = _sixths(by, self.num_vertices)
        old = (torch.arange(SIXTHS, device="cpu") + by[:, None]) % SIXTHS
        grid = copy.copy(self)
        grid.neighbours = self.neighbours.gather(1, old)
        carried = self.transports.gather(1, old) - by[:, None] + by[grid.neighbours]
        grid.transports = _masked(carried % SIXTHS, grid.neighbours)
        grid.padding_shift = (self.padding_shift + by[self.padding_index]) % SIXTHS
        grid.gauge = (self.gauge + by) % SIXTHS
        return grid

    def coarser(self) -> IcosahedralGrid:
        """The grid of the level below, whose vertices are the first ones here, in their frames.

        Raises: ValueError on level 1.
        Law tested: the neighbour in direction d there is the second one in direction d here, and
        transport on the way the same.

        >>> IcosahedralGrid(2).coarser()
        IcosahedralGrid(level 1, 42 vertices)
        """
        if self.level == 1:
            raise ValueError("grid: expected level 2 or more, on level 0 all are corners, got 1")
        grid = IcosahedralGrid(self.level - 1)
        return grid.turned(self.gauge[: grid.num_vertices])

    def ring(self, vertex: int) -> Tensor:
        """The five or six neighbours of a vertex, counter-clockwise, the smallest number first.

        Raises: TypeError or ValueError for a number of no vertex.
        Law tested: round a corner five, else six, as ``neighbours`` lists them.

        >>> len(IcosahedralGrid(1).ring(0)), len(IcosahedralGrid(1).ring(12))
        (5, 6)
        """
        check.integer("vertex", vertex, 0, self.num_vertices - 1)
        return _ring(self.mesh, vertex, _third_corners(self.mesh))

    def holonomy(self, walk: Tensor) -> int:
        """By how many sixths of a turn, 0 to 5, a closed walk turns what it carries.

        Args:
            walk: vertices (L,), int64, each a neighbour of the one before, the first of the last.

        Raises: TypeError for another dtype; ValueError for another shape, for vertices that are
        corners or no neighbours.
        Law tested: 1 counter-clockwise round a corner, independent of frames.

        >>> grid = IcosahedralGrid(1)
        >>> grid.holonomy(grid.ring(0)), grid.holonomy(grid.ring(0).flip(0))
        (1, 5)
        """
        walk = _integers("walk", walk)
        if walk.ndim != 1 or not len(walk):
            raise ValueError(f"walk: expected shape (L,) with L >= 1, got {tuple(walk.shape)}")
        if int(walk.min()) < CORNERS or int(walk.max()) >= self.num_vertices:
            raise ValueError(
                f"walk: expected vertices from {CORNERS} to {self.num_vertices - 1}, got "
                f"{int(walk.min())} to {int(walk.max())}"
            )
        step = self.neighbours[walk.roll(-1)] == walk[:, None]
        if not bool(step.any(1).all()):
            k = int((~step.any(1)).nonzero()[0])
            pair = walk[[k, (k + 1) % len(walk)]].tolist()
            raise ValueError(f"walk: expected neighbours one after another, got {pair}")
        return int(self.transports[walk.roll(-1)][step].sum()) % SIXTHS

    def action(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        r"""What a rotation of the icosahedron does to vertices and to directions.

            R v_i = v_p[i],    direction u at v_i goes to direction u + k_i at v_p[i]

        Args:
            matrix: R (3, 3), floating-point, one of ``icosahedral_rotations()``.

        Returns:
            p (N,) and k (N,), int64; k is 0 at the corners.

        Raises: TypeError or ValueError for anything else, reflections too.
        Law tested: of a product R S, p is p_R[p_S] and k is k_S + k_R[p_S].

        >>> p, k = IcosahedralGrid(1).action(torch.eye(3))
        >>> bool((p == torch.arange(42)).all()), k.any().item()
        (True, False)
        """
        permutation = vertex_permutation(self.mesh, matrix)
        if torch.linalg.det(matrix.detach().cpu().double()) < 0:
            raise ValueError("matrix: expected a rotation, got a reflection")
        # A corner is its own neighbour in each direction, so that the first is found: 0.
        ahead = permutation[self.neighbours[:, :1]]
        shift = (self.neighbours[permutation] == ahead).int().argmax(1)
        return permutation, shift

    def act(self, matrix: Tensor, x: Tensor) -> Tensor:
        r"""Rotate a field: (R f)(R v, u + k) = f(v, u).

        Args:
            matrix: as in :meth:`action`.
            x: ``(..., 1, N)`` scalar or ``(..., 6, N)`` regular, floating-point.

        Returns:
            The same shape and dtype.

        Raises: TypeError or ValueError as :meth:`action`, and for other fields.
        Law tested: a homomorphism, exactly; the identity is the only one that moves nothing.

        >>> grid = IcosahedralGrid(1)
        >>> half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))
        >>> x = torch.rand(6, 42)
        >>> bool((grid.act(half_turn, grid.act(half_turn, x)) == x).all())
        True
        """
        x = _field(x, self.num_vertices)
        permutation, shift = self.action(matrix)
        back = permutation.argsort()
        return read_fibres(x, fibre_index(back, shift[back], x.shape[-2], self.num_vertices))

    def in_frames(self, x: Tensor, by: Tensor) -> Tensor:
        r"""The components of a field when frames turn: f_p(u) -> f_p(u + a_p).

        Args:
            x: ``(..., 1, N)`` scalar or ``(..., 6, N)`` regular, floating-point.
            by: a (N,), as in :meth:`turned`.

        Raises: TypeError or ValueError for anything else.
        Law tested: an action of Z_6^N that layers on :meth:`turned` grids commute with.

        >>> grid = IcosahedralGrid(1)
        >>> x = torch.arange(6.0)[:, None].expand(6, 42)
        >>> grid.in_frames(x, torch.full((42,), 2))[:, 20].tolist()
        [2.0, 3.0, 4.0, 5.0, 0.0, 1.0]
        """
        x = _field(x, self.num_vertices)
        by, here = _sixths(by, self.num_vertices), torch.arange(self.num_vertices, device="cpu")
        return read_fibres(x, fibre_index(here, -by, x.shape[-2], self.num_vertices))

    def _padding(self) -> tuple[Tensor, Tensor]:
        """What the vertices of each chart see around them: numbers, and shifts into their frame."""
        rows, columns = self.charts.shape[1:]
        index = torch.zeros(len(self.charts), rows + 2, columns + 2, dtype=torch.int64)
        shift = torch.zeros_like(index)
        sees = self.charts >= CORNERS
        for d, (down, right) in enumerate(STEPS):
            window = (..., slice(1 + down, 1 + down + rows), slice(1 + right, 1 + right + columns))
            index[window][sees] = self.neighbours[self.charts, d][sees]
            shift[window][sees] = self.transports[self.charts, d][sees]
        index[:, 1:-1, 1:-1], shift[:, 1:-1, 1:-1] = self.charts, 0
        return index, shift


def _third_corners(mesh: Mesh) -> Callable[[Tensor, Tensor], Tensor]:
    """The function (a, b) -> c of the faces (a, b, c): c lies to the left of the edge a -> b."""
    a, b, c = (mesh.faces.roll(-k, 1).flatten() for k in range(3))
    keys, order = (a * mesh.num_vertices + b).sort()
    c = c[order]
    return lambda a, b: c[torch.searchsorted(keys, a * mesh.num_vertices + b)]


def _walked(mesh: Mesh, third: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Charts (5, n, 2 n + 1) with one column more, which the pole and the chart before lend."""
    n = math.isqrt(mesh.num_vertices // 10)
    # Midpoints are numbered in the order of edges, so that each level begins in one direction.
    first = _ring(mesh, 0, third)
    row = [torch.zeros_like(first), first]
    for _ in range(2 * n - 1):
        a, b = row[-2:]
        # Three faces on the left: straight on at six neighbours, flat on this side at five.
        for _ in range(3):
            a = third(a, b)
        row.append(a)
    rows = [torch.stack(row, 1)]
    for _ in range(n - 1):
        row = rows[-1]
        following = third(row[:, :-1], row[:, 1:])
        end = third(following[:, -1], row[:, -1])
        rows.append(torch.cat([following, end[:, None]], 1))
    return torch.stack(rows, 1)


def _ring(mesh: Mesh, vertex: int, third: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    centre = torch.tensor([vertex], device="cpu")
    edges = mesh.edges[(mesh.edges == vertex).any(1)]
    ring = [(edges.sum(1) - vertex).amin(0, keepdim=True)]
    while len(ring) < len(edges):
        ring.append(third(centre, ring[-1]))
    return torch.cat(ring)


def _rings(charts: Tensor, behind: Tensor, third: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Neighbours (N, 6), counter-clockwise from direction 0; ``behind`` lies in direction 3."""
    p, q = charts.flatten(), behind.flatten()
    neighbours = torch.arange(len(p) + 2)[:, None].repeat(1, SIXTHS)
    for d in (3, 4, 5, 0, 1, 2):
        neighbours[p, d] = q
        q = third(p, q)
    neighbours[:CORNERS] = torch.arange(CORNERS)[:, None]
    return neighbours


def _transports(neighbours: Tensor) -> Tensor:
    """g = d + 3 - d' (N, 6), and 0 where one of the two is a corner."""
    here = torch.arange(len(neighbours))[:, None, None]
    back = (neighbours[neighbours] == here).int().argmax(2)
    return _masked((torch.arange(SIXTHS) + 3 - back) % SIXTHS, neighbours)


def _masked(transports: Tensor, neighbours: Tensor) -> Tensor:
    """0 where the neighbour is a corner; corners are their own neighbours."""
    return torch.where(neighbours < CORNERS, 0, transports)


def _integers(name: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype != torch.int64:
        got = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name}: expected an int64 tensor, got {got}")
    return value.cpu()


def _sixths(by: Tensor, count: int) -> Tensor:
    by = _integers("by", by) % SIXTHS
    if by.shape != (count,):
        raise ValueError(f"by: expected shape ({count},), got {tuple(by.shape)}")
    return torch.cat([torch.zeros_like(by[:CORNERS]), by[CORNERS:]])


def _field(x: Tensor, count: int) -> Tensor:
    check.floating("x", x)
    if x.ndim < 2 or x.shape[-2] not in (1, SIXTHS) or x.shape[-1] != count:
        raise ValueError(
            f"x: expected shape (..., 1, {count}) or (..., 6, {count}), got {tuple(x.shape)}"
        )
    return x
