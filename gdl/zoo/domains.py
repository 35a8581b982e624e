r"""The vocabulary of the map: domains, their groups in rising order, what lives on them.

A domain of points stores its groups as permutations of the points. What lives on it is a list of
*things* made of points: a point, a pair, an edge, a frame. A group that carries things to things
permutes them, and a group that tears one apart has no such representation. A domain of vectors
stores one image for each generator.

Chapter: ``zoo``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from gdl import representations as reps
from gdl.representations import Group, Representation

# A thing: a point, a tuple of things in order, or a frozenset of things without order.
Thing = int | tuple | frozenset
MOST_POSES = 128


@dataclass(frozen=True)
class Choice:
    """A group on a domain: how to build it, and its number of elements.

    Attributes:
        build: makes the group.
        order: number of elements, None for infinite groups.

    >>> choice = Choice(lambda: reps.cyclic(5), 5)
    >>> choice.build().order == choice.order
    True
    """

    build: Callable[[], Group]
    order: int | None = None


@dataclass(frozen=True)
class Space:
    """What a layer reads or writes: a representation, and where each of its entries sits.

    Attributes:
        rho: the representation.
        places: the points of the domain that each entry belongs to, or None where there are none.

    >>> space = DOMAINS["pairs"].space("edges", DOMAINS["pairs"].groups["cyclic"])
    >>> space.rho.dim, sorted(space.places[0])
    (6, [0, 1])
    """

    rho: Representation
    places: tuple[frozenset, ...] | None = None


class _Domain:
    """What both kinds of domains share."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the spaces that a layer may write."""
        return tuple(name for name in self.spaces if name not in self.only_read)


@dataclass(frozen=True)
class PointDomain(_Domain):
    """A domain of finitely many points, whose groups permute them.

    Attributes:
        what: the domain in words.
        groups: from the trivial one to the largest, each inside the next.
        things: name of a space -> the things that carry one number each.
        only_read: the spaces that serve as inputs alone.
        frame: an ordered tuple of points; its images under the group are the space "poses".
        supports: name -> whether two points are close.

    >>> DOMAINS["pairs"].spaces
    ('points', 'pairs', 'edges', 'edges x points', 'number')
    """

    what: str
    groups: Mapping[str, Choice]
    things: Mapping[str, tuple[Thing, ...]]
    only_read: tuple[str, ...] = ()
    frame: tuple[int, ...] = ()
    supports: Mapping[str, Callable[[int, int], bool]] = ()

    @property
    def spaces(self) -> tuple[str, ...]:
        """The names of all spaces, for some groups not all of them exist."""
        return (*self.things, *(("poses",) if self.frame else ()), "number")

    def space(self, name: str, choice: Choice) -> Space:
        """The space of that name; ValueError where the group does not keep it."""
        group = choice.build()
        if name == "number":
            return Space(reps.trivial(group))
        things = self._poses(group, choice.order) if name == "poses" else self.things[name]
        places = tuple(_points_of(thing, first=name == "poses") for thing in things)
        return Space(_on_things(group, things, name), places)

    def _poses(self, group: Group, order: int) -> tuple[Thing, ...]:
        """All images of the frame: one for each element of the group, several at each point."""
        points = group.defining.dim
        if not points < order <= MOST_POSES:
            raise ValueError(
                f"poses: expected a group of {points + 1} to {MOST_POSES} elements, "
                f"got {order} in {group.name}"
            )
        found, pending = {self.frame}, [self.frame]
        while pending:
            thing = pending.pop()
            new = {_moved(p.tolist(), thing) for p in group.defining.generators} - found
            found |= new
            pending += new
        return tuple(sorted(found))


@dataclass(frozen=True)
class VectorDomain(_Domain):
    """A domain without points: vectors, or more general tensors, that a group of rotations turns.

    Attributes:
        what: the domain in words.
        groups: from the trivial one to the largest, each inside the next.
        builders: name of a space -> its representation for a group.
        only_read: the spaces that serve as inputs alone.

    >>> plane = DOMAINS["plane"]
    >>> plane.space("order 2", plane.groups["SO(2)"]).rho.dim
    2
    """

    what: str
    groups: Mapping[str, Choice]
    builders: Mapping[str, Callable[[Group], Representation]]
    only_read: tuple[str, ...] = ()

    # Locality needs places.
    supports = ()

    @property
    def spaces(self) -> tuple[str, ...]:
        """The names of all spaces."""
        return tuple(self.builders)

    def space(self, name: str, choice: Choice) -> Space:
        """The space of that name."""
        return Space(self.builders[name](choice.build()))


def _moved(p: list[int], thing: Thing) -> Thing:
    return p[thing] if isinstance(thing, int) else type(thing)(_moved(p, part) for part in thing)


def _points_of(thing: Thing, first: bool = False) -> frozenset[int]:
    if isinstance(thing, int):
        return frozenset([thing])
    parts = thing[:1] if first else thing
    return frozenset().union(*(_points_of(part) for part in parts))


def _on_things(group: Group, things: tuple[Thing, ...], name: str) -> Representation:
    index = {thing: i for i, thing in enumerate(things)}
    images = []
    for p in group.defining.generators:
        moved = [_moved(p.tolist(), thing) for thing in things]
        if not index.keys() >= set(moved):
            raise ValueError(f"{name}: {group.name} carries one of them to something else")
        images.append(torch.tensor([index[thing] for thing in moved]))
    # Moving things is a homomorphism whatever the things are, so no relation needs a check.
    return Representation(group, images, name=name, check=False)


# --- groups ---------------------------------------------------------------------------------------


def _permutations(name: str, *images: Tensor | list[int]) -> Group:
    return Group(name, {f"g{k}": torch.as_tensor(p) for k, p in enumerate(images)})


def _chain(points: int, **between: tuple[Callable[[], Group], int | None]) -> dict[str, Choice]:
    """The trivial group, what lies between, and all permutations of the points."""
    inner = {
        name.replace("_", " "): Choice(cache(b), order) for name, (b, order) in between.items()
    }
    trivial = Choice(cache(lambda: _permutations("trivial group", list(range(points)))), 1)
    return {
        "trivial": trivial,
        **inner,
        "all permutations": Choice(cache(lambda: reps.symmetric(points)), math.factorial(points)),
    }


def _grid(rows: int, columns: int) -> Tensor:
    return torch.arange(rows * columns).reshape(rows, columns)


def _rows(order: list[int], columns: int) -> Tensor:
    """The permutation of a table that moves row i to ``order[i]``."""
    return _grid(len(order), columns)[order].reshape(-1)


def _columns(rows: int, order: list[int]) -> Tensor:
    return _grid(rows, len(order))[:, order].reshape(-1)


SWAP3, CYCLE3, SWAP4, CYCLE4 = [1, 0, 2], [1, 2, 0], [1, 0, 2, 3], [1, 2, 3, 0]
_ROWS = (_rows(SWAP3, 4), _rows(CYCLE3, 4))


def _on_bits(move: Callable[[int, int, int], tuple[int, int, int]]) -> list[int]:
    """A permutation of the corners of a cube from what it does to their three bits."""
    moved = [move(*bits) for bits in itertools.product(range(2), repeat=3)]
    return [4 * a + 2 * b + c for a, b, c in moved]


_FLIPS = (
    _on_bits(lambda a, b, c: (1 - a, b, c)),
    _on_bits(lambda a, b, c: (a, 1 - b, c)),
    _on_bits(lambda a, b, c: (a, b, 1 - c)),
)
_CUBE = (*_FLIPS, _on_bits(lambda a, b, c: (b, c, a)), _on_bits(lambda a, b, c: (b, a, c)))

# The corners of Petersen's graph are the pairs of five things, disjoint pairs are joined.
_PAIRS5 = list(itertools.combinations(range(5), 2))


def _on_pairs(p: list[int]) -> list[int]:
    return [_PAIRS5.index(tuple(sorted((p[a], p[b])))) for a, b in _PAIRS5]


def _joined_petersen(i: int, j: int) -> bool:
    return not set(_PAIRS5[i]) & set(_PAIRS5[j])


def _joined_cube(i: int, j: int) -> bool:
    return (i ^ j).bit_count() == 1


def _edges(points: int, joined: Callable[[int, int], bool]) -> tuple[frozenset, ...]:
    pairs = itertools.combinations(range(points), 2)
    return tuple(frozenset(pair) for pair in pairs if joined(*pair))


def _around(ring: Group) -> Group:
    """The same group, keeping one more point, the centre, which comes first."""
    moved = [torch.cat([torch.tensor([0]), p + 1]) for p in ring.defining.generators]
    return _permutations(ring.name, *moved)


# --- rotations ------------------------------------------------------------------------------------


def _plane_rotation(angle_by_quarters: int) -> Tensor:
    return torch.linalg.matrix_power(reps.SO(2).defining.algebra[0], angle_by_quarters % 4)


def _images(group: Group, name: str, by_generator: Mapping[str, Tensor]) -> Representation:
    """The images that the generators of this group have, found by their names."""
    generators = [by_generator[g] for g in group.generator_names]
    algebra = [by_generator[X] for X in group.algebra_names]
    return Representation(group, generators, algebra, name=name, check=False)


@cache
def _circular(m: int) -> Representation:
    return reps.circular_irrep(reps.O(2), m)


@cache
def _spherical(l: int, parity: int) -> Representation:
    return reps.spherical_irrep(reps.O(3), l, parity)


def _order(m: int) -> Callable[[Group], Representation]:
    """Frequency m of the plane, restricted to the group."""

    def build(group: Group) -> Representation:
        whole = _circular(m)
        images = {"e": torch.arange(whole.dim), "s": whole.generators[0], "J": whole.algebra[0]}
        turn = _plane_rotation(m) if m else torch.ones(1, 1, dtype=torch.float64)
        return _images(group, f"order {m}", images | {"r": turn})

    return build


def _degree(l: int, parity: int) -> Callable[[Group], Representation]:
    """Degree l of space, restricted to the group."""

    def build(group: Group) -> Representation:
        whole = _spherical(l, parity)
        images = {"e": torch.arange(whole.dim), "s": whole.generators[0]}
        images |= dict(zip(whole.group.algebra_names, whole.algebra, strict=True))
        return _images(group, f"degree {l}", images)

    return build


def _product(*factors: Callable[[Group], Representation]) -> Callable[[Group], Representation]:
    first, second = factors
    return lambda group: first(group) * second(group)


def _circle(top: int) -> Callable[[Group], Representation]:
    """Functions on the circle up to a frequency."""

    def build(group: Group) -> Representation:
        return sum((_order(m)(group) for m in range(1, top + 1)), _order(0)(group))

    return build


def _about_one_axis() -> Group:
    """Rotations about e3nn's polar axis y; the trapezoidal rule integrates over them exactly."""
    about_y = reps.SO(3).defining.algebra[1]

    def rule(group: Group, degree: int) -> list:
        count = degree + 1
        return [(1 / count, group.exp(2 * torch.pi * k / count)) for k in range(count)]

    return Group("SO(2) about one axis", {}, {"Y": about_y}, rule)


def _still(dim: int) -> Choice:
    return Choice(cache(lambda: Group("trivial group", {"e": torch.arange(dim)})), 1)


# --- the domains ----------------------------------------------------------------------------------


def _near_on_cycle(i: int, j: int) -> bool:
    return (i - j) % 8 in (0, 1, 7)


def _near_on_grid(i: int, j: int) -> bool:
    return all((a - b) % 4 in (0, 1, 3) for a, b in zip(divmod(i, 4), divmod(j, 4), strict=True))


def _same(i: int, j: int) -> bool:
    return i == j


DOMAINS: dict[str, PointDomain | VectorDomain] = {
    "cycle": PointDomain(
        "a cycle of 8 points",
        _chain(
            8,
            shifts_by_two=(lambda: _permutations("2 Z_8", (torch.arange(8) + 2) % 8), 4),
            shifts=(lambda: reps.cyclic(8), 8),
            shifts_and_mirrors=(lambda: reps.dihedral(8), 16),
        ),
        {"points": tuple(range(8)), "every second point": (0, 2, 4, 6)},
        frame=(0, 1),
        supports={"neighbours": _near_on_cycle},
    ),
    "grid": PointDomain(
        "a 4 x 4 grid that wraps around",
        _chain(
            16,
            shifts=(lambda: reps.translations(4, 4), 16),
            p4=(lambda: reps.plane_group("p4", 4), 64),
            p4m=(lambda: reps.plane_group("p4m", 4), 128),
        ),
        {"points": tuple(range(16))},
        frame=(0, 1, 4),
        supports={"neighbours": _near_on_grid},
    ),
    "set": PointDomain(
        "a set of 5 points",
        _chain(
            5,
            cyclic=(lambda: reps.cyclic(5), 5),
            even_permutations=(lambda: reps.alternating(5), 60),
        ),
        {"points": tuple(range(5))},
        supports={"same point": _same},
    ),
    "pairs": PointDomain(
        "4 points and their pairs",
        _chain(4, cyclic=(lambda: reps.cyclic(4), 4)),
        {
            "points": tuple(range(4)),
            "pairs": tuple(itertools.product(range(4), repeat=2)),
            "edges": tuple(map(frozenset, itertools.combinations(range(4), 2))),
            "edges x points": tuple(
                (frozenset(pair), k)
                for pair in itertools.combinations(range(4), 2)
                for k in range(4)
            ),
        },
        only_read=("edges x points",),
    ),
    "table": PointDomain(
        "a table of 3 rows and 4 columns",
        _chain(
            12,
            column_shifts=(lambda: _permutations("Z_4", _columns(3, CYCLE4)), 4),
            rows_and_column_shifts=(
                lambda: _permutations("S_3 x Z_4", *_ROWS, _columns(3, CYCLE4)),
                24,
            ),
            rows_and_columns=(
                lambda: _permutations("S_3 x S_4", *_ROWS, _columns(3, SWAP4), _columns(3, CYCLE4)),
                144,
            ),
            rows_and_each_row=(lambda: reps.wreath(3, 4), 82944),
        ),
        {
            "points": tuple(range(12)),
            "rows": tuple(frozenset(row.tolist()) for row in _grid(3, 4)),
        },
    ),
    "Petersen": PointDomain(
        "the graph of Petersen, 10 nodes",
        _chain(
            10,
            automorphisms=(
                lambda: _permutations(
                    "S_5", _on_pairs([1, 0, 2, 3, 4]), _on_pairs([1, 2, 3, 4, 0])
                ),
                120,
            ),
        ),
        {"points": tuple(range(10)), "edges": _edges(10, _joined_petersen)},
        supports={"neighbours": lambda i, j: i == j or _joined_petersen(i, j)},
    ),
    "cube": PointDomain(
        "the graph of the cube, 8 nodes",
        _chain(
            8,
            bit_flips=(lambda: _permutations("Z_2^3", *_FLIPS), 8),
            automorphisms=(lambda: _permutations("S_2 wr S_3", *_CUBE), 48),
        ),
        {"points": tuple(range(8)), "edges": _edges(8, _joined_cube)},
        supports={"neighbours": lambda i, j: i == j or _joined_cube(i, j)},
    ),
    "neighbourhood": PointDomain(
        "a point and its 6 neighbours",
        {
            "trivial": _still(7),
            "turns": Choice(cache(lambda: _around(reps.cyclic(6))), 6),
            "turns and mirrors": Choice(cache(lambda: _around(reps.dihedral(6))), 12),
            "permutations of neighbours": Choice(cache(lambda: _around(reps.symmetric(6))), 720),
        },
        {
            "points": tuple(range(7)),
            "directions": tuple(range(1, 7)),
            "points x directions": tuple(itertools.product(range(7), range(1, 7))),
        },
        only_read=("points x directions",),
    ),
    "plane": VectorDomain(
        "vectors of the plane",
        {
            "trivial": _still(2),
            "quarter turns": Choice(cache(lambda: Group("C_4", {"r": _plane_rotation(1)})), 4),
            "SO(2)": Choice(cache(lambda: reps.SO(2))),
            "O(2)": Choice(cache(lambda: reps.O(2))),
        },
        {
            "order 0": _order(0),
            "order 1": _order(1),
            "order 2": _order(2),
            "circle x order 0": _circle(3),
            "circle x order 1": _product(_circle(3), _order(1)),
        },
        only_read=("circle x order 0", "circle x order 1"),
    ),
    "space": VectorDomain(
        "vectors of space",
        {
            "trivial": _still(3),
            "one axis": Choice(cache(_about_one_axis)),
            "SO(3)": Choice(cache(lambda: reps.SO(3))),
            "O(3)": Choice(cache(lambda: reps.O(3))),
        },
        {
            "degree 0": _degree(0, 1),
            "degree 1": _degree(1, -1),
            "axial vector": _degree(1, 1),
            "degree 2": _degree(2, 1),
            "degrees 1 x 1": _product(_degree(1, -1), _degree(1, -1)),
        },
        only_read=("degrees 1 x 1",),
    ),
}
