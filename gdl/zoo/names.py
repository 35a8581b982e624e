r"""What the field calls the layers that follow from assumptions: one table, as data.

Chapter: ``zoo``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from gdl.zoo.domains import DOMAINS

ANY = "*"
EVERYWHERE = "everywhere"
UNNAMED = "no name in the field that we know"
NOTHING = "nothing: only the zero map"
CHAPTERS = (
    "symmetry",
    "one_equation",
    "grids",
    "groups",
    "rotations",
    "graphs",
    "attention",
    "gauges",
)


@dataclass(frozen=True)
class Row:
    """One row of the table: a pattern of assumptions, the name of its layer, its chapter.

    Each of the five assumptions is a word, several words separated by commas, or "*" for all.

    Attributes:
        domain, group, input, output, support: the pattern.
        name: what the field calls the layer.
        chapter: the chapter that derives it, also the room of its code.

    >>> row = Row("set, pairs", "*", "points", "number", "everywhere", "sum pooling", "graphs")
    >>> row.fits(("pairs", "cyclic", "points", "number", "everywhere")), row.stars
    (True, 1)
    """

    domain: str
    group: str
    input: str
    output: str
    support: str
    name: str
    chapter: str

    @cached_property
    def pattern(self) -> tuple[frozenset[str] | None, ...]:
        """The words of each of the five, None for all."""
        five = (self.domain, self.group, self.input, self.output, self.support)
        return tuple(None if text == ANY else frozenset(text.split(", ")) for text in five)

    def fits(self, words: tuple[str, ...]) -> bool:
        """Whether five words fit the pattern."""
        pairs = zip(self.pattern, words, strict=True)
        return all(allowed is None or word in allowed for allowed, word in pairs)

    @property
    def stars(self) -> int:
        """How many of the five are left open."""
        return self.pattern.count(None)


@dataclass(frozen=True)
class NameTable:
    """Rows of which the one with the fewest stars names a layer.

    Raises: ValueError unless every word is in the vocabulary, every chapter exists, and rows that
    overlap differ in their stars, so that the name is unique.

    Law tested: unknown words, unknown chapters and ambiguous rows are refused; every row names at
    least one layer. Chapter: ``zoo``.

    >>> row = Row("set", "*", "points", "number", "everywhere", "sum pooling", "graphs")
    >>> NameTable((row, row))
    Traceback (most recent call last):
    ValueError: rows: 'sum pooling' and 'sum pooling' name the same layer
    """

    rows: tuple[Row, ...]

    def __post_init__(self):
        vocabulary = _vocabulary()
        for row in self.rows:
            if row.chapter not in CHAPTERS:
                raise ValueError(f"rows: expected a chapter of {CHAPTERS}, got {row.chapter!r}")
            for (field, known), words in zip(vocabulary.items(), row.pattern, strict=True):
                unknown = sorted((words or frozenset()) - known)
                if unknown:
                    raise ValueError(f"rows: {row.name!r} has unknown {field}: {unknown}")
        for k, first in enumerate(self.rows):
            for second in self.rows[:k]:
                if first.stars == second.stars and _overlap(first, second):
                    raise ValueError(
                        f"rows: {second.name!r} and {first.name!r} name the same layer"
                    )

    def find(self, *words: str) -> Row | None:
        """The row that fits domain, group, input, output and support best, or None."""
        fitting = [row for row in self.rows if row.fits(words)]
        return min(fitting, key=lambda row: row.stars, default=None)


def _vocabulary() -> Mapping[str, set[str]]:
    spaces = {name for domain in DOMAINS.values() for name in domain.spaces}
    return {
        "domain": set(DOMAINS),
        "group": {name for domain in DOMAINS.values() for name in domain.groups},
        "input": spaces,
        "output": {name for domain in DOMAINS.values() for name in domain.outputs},
        "support": {EVERYWHERE, *(name for d in DOMAINS.values() for name in d.supports)},
    }


def _overlap(first: Row, second: Row) -> bool:
    pairs = zip(first.pattern, second.pattern, strict=True)
    return all(a is None or b is None or a & b for a, b in pairs)


# domain | group | input | output | support | name | chapter; no support means everywhere.
_TABLE = """
* | trivial | * | * | dense layer | one_equation
* | trivial | * | * | neighbours | locally connected layer | grids
* | trivial | * | * | same point | elementwise scaling | one_equation
* | * | number | number | one scale | one_equation
* | * | order 0 | order 0 | one scale | one_equation
* | * | degree 0 | degree 0 | one scale | one_equation
* | all permutations | points | points | Deep Sets layer | graphs
* | all permutations | points | points | neighbours, same point | pointwise layer | graphs
* | all permutations | points | number | sum pooling of a set | graphs
* | all permutations | number | points | constant bias | one_equation

cycle | shifts by two | points | points | periodically time-varying filter | grids
cycle | shifts by two | points | every second point | convolution, stride 2 | grids
cycle | shifts by two | points | every second point | neighbours | 3 taps, stride 2 | grids
cycle | shifts by two | every second point | points | transposed convolution | grids
cycle | shifts by two | every second point | every second point | circular convolution | grids
cycle | shifts by two | every second point | number | global sum pooling | grids
cycle | shifts by two | number | every second point | constant bias | one_equation
cycle | shifts | points | points | circular convolution | grids
cycle | shifts | points | points | neighbours | circular convolution, 3 taps | grids
cycle | shifts and mirrors | points | points | symmetric convolution | grids
cycle | shifts and mirrors | points | points | neighbours | symmetric convolution, 3 taps | grids
cycle | shifts and mirrors | points | poses | * | lifting convolution, D_8 | groups
cycle | shifts and mirrors | poses | poses | * | group convolution, D_8 | groups
cycle | shifts, shifts and mirrors | points, poses | number | global sum pooling | grids
cycle | shifts, shifts and mirrors | number | points, poses | constant bias | one_equation

grid | shifts | points | points | 2-D circular convolution | grids
grid | shifts | points | points | neighbours | 3 x 3 convolution | grids
grid | p4 | points | points | * | p4 convolution of scalar fields | groups
grid | p4 | points | poses | * | p4 lifting convolution | groups
grid | p4 | poses | poses | * | p4 group convolution | groups
grid | p4m | points | points | * | p4m convolution of scalar fields | groups
grid | p4m | points | poses | * | p4m lifting convolution | groups
grid | p4m | poses | poses | * | p4m group convolution | groups
grid | shifts, p4, p4m | points, poses | number | global sum pooling | grids
grid | shifts, p4, p4m | number | points, poses | constant bias | one_equation

set, pairs | cyclic | points | points | circular convolution | grids
set | even permutations | points | points | Deep Sets layer | graphs
set | cyclic, even permutations | points | points | same point | pointwise layer | graphs
set, pairs | cyclic, even permutations | points | number | global sum pooling | graphs
set, pairs | cyclic, even permutations | number | points | constant bias | one_equation

pairs | all permutations | pairs | pairs | Maron's 15, graph to graph | graphs
pairs | all permutations | pairs | points | Maron's layer, graph to nodes | graphs
pairs | all permutations | points | pairs | Maron's layer, nodes to graph | graphs
pairs | all permutations | pairs | number | graph pooling, trace and sum | graphs
pairs | all permutations | number | pairs | graph bias, diagonal and rest | graphs
pairs | all permutations | edges | edges | Johnson scheme, edges to edges | graphs
pairs | all permutations | edges | number | sum pooling of edges | graphs
pairs | all permutations | edges x points | points | message passing, simple graph | graphs

table | column shifts | points | points | circular convolution, 3 channels | grids
table | rows and column shifts | points | points | sets of symmetric elements (DSS) | graphs
table | rows and columns | points | points | exchangeable matrix layer | graphs
table | rows and each row | points | points | layer for sets of sets | graphs
table | rows and columns, rows and each row | rows | rows | Deep Sets layer | graphs
table | rows and columns, rows and each row | points | number | global sum pooling | graphs
table | rows and columns, rows and each row | number | points | constant bias | one_equation

Petersen, cube | automorphisms | points | points | polynomial graph filter | graphs
Petersen, cube | automorphisms | points | points | neighbours | graph filter of degree one | graphs
Petersen, cube | automorphisms | points | number | sum pooling of nodes | graphs
Petersen, cube | automorphisms | number | points | constant bias | one_equation
Petersen, cube | automorphisms | edges | number | sum pooling of edges | graphs
cube | bit flips | points | points | dyadic convolution (Walsh) | graphs

neighbourhood | permutations of neighbours | points | number | message passing, own and sum | graphs
neighbourhood | permutations of neighbours | directions | number | sum over neighbours | graphs
neighbourhood | permutations of neighbours | directions | directions | Deep Sets layer | graphs
neighbourhood | turns | directions | directions | circular convolution | grids
neighbourhood | turns | points | directions | gauge-equivariant lifting | gauges
neighbourhood | turns | points x directions | directions | gauge-equivariant convolution | gauges

plane | SO(2) | order 1 | order 1 | self-interaction, complex weight | gauges
plane | SO(2) | order 2 | order 2 | self-interaction, complex weight | gauges
plane | O(2) | order 1 | order 1 | self-interaction, real weight | gauges
plane | O(2) | order 2 | order 2 | self-interaction, real weight | gauges
plane | quarter turns | circle x order 0, circle x order 1 | * | C_4-steerable kernel | groups
plane | SO(2) | circle x order 0, circle x order 1 | * | SO(2)-steerable kernel | groups
plane | O(2) | circle x order 0, circle x order 1 | * | O(2)-steerable kernel | groups

space | SO(3), O(3) | degrees 1 x 1 | degree 0 | dot product | rotations
space | SO(3) | degrees 1 x 1 | degree 1, axial vector | cross product | rotations
space | O(3) | degrees 1 x 1 | axial vector | cross product | rotations
space | SO(3), O(3) | degrees 1 x 1 | degree 2 | tensor product path 1 x 1 to 2 | rotations
space | SO(3), O(3) | degree 1 | degree 1 | self-interaction of vectors | rotations
space | SO(3), O(3) | degree 2 | degree 2 | self-interaction of degree 2 | rotations
"""


def _read(table: str) -> tuple[Row, ...]:
    return tuple(_row(line.split(" | ")) for line in table.splitlines() if line)


def _row(cells: list[str]) -> Row:
    *pattern, name, chapter = cells
    if len(pattern) == 4:
        pattern.append(EVERYWHERE)
    return Row(*pattern, name, chapter)


NAMES = NameTable(_read(_TABLE))
