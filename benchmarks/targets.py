"""The bounds that the package and the book are held to, and what was measured of each.

A ratio compares the median times of two variants of the same task, size, device and threads, and
the worst case counts. A least time would be that of a lucky moment, which one of the two may have
had. Nothing here measures: everything is read from the recorded tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from benchmarks import peers, table
from benchmarks.sparse_coding import depth_at_the_error_of_ista
from benchmarks.table import Timing
from tools import bench_book

TOLERATED = 1.1  # beyond this a variant of ours is reported as slower than its peer


@dataclass(frozen=True)
class Results:
    """All recorded tables."""

    timings: list[Timing]
    peers: list[dict[str, str]]
    chapters: list[dict[str, str]]


@dataclass(frozen=True)
class Measured:
    value: float
    where: str


@dataclass(frozen=True)
class Target:
    """A bound.

    Attributes:
        name: by which the README speaks of it.
        unit: of the bound, such as "times the time of conv2d" or "s".
        bound: what is allowed.
        measure: every value that the bound is about.
        at_least: whether values must be above the bound instead of below.
    """

    name: str
    unit: str
    bound: float
    measure: Callable[[Results], Iterable[Measured]]
    at_least: bool = False

    def worst(self, results: Results) -> Measured | None:
        """The value that is furthest on the wrong side; None where nothing is recorded."""
        return max(self.measure(results), key=self._wrongness, default=None)

    def _wrongness(self, found: Measured) -> tuple[bool, float]:
        # What is not a number is further off than any number.
        return math.isnan(found.value), -found.value if self.at_least else found.value

    def met(self, results: Results) -> bool:
        found = self.worst(results)
        if found is None:
            return False
        return found.value >= self.bound if self.at_least else found.value <= self.bound

    @property
    def stated(self) -> str:
        return f"{'at least' if self.at_least else 'at most'} {self.bound:g} {self.unit}"


def ratios(
    section: str, task: str, ours: str, theirs: str, sizes: Iterable[int] = (), faster: bool = False
) -> Callable[[Results], Iterator[Measured]]:
    """Our median time over the fastest of theirs, or the inverse; names are regular expressions."""

    def measure(results: Results) -> Iterator[Measured]:
        for (name, what, size, _, threads), group in table.by_case(results.timings).items():
            if name != section or not re.search(task, what) or (sizes and size not in sizes):
                continue
            mine = [t.median for t in group if re.fullmatch(ours, t.variant)]
            other = [t.median for t in group if re.fullmatch(theirs, t.variant)]
            if mine and other:
                ratio = min(mine) / min(other)
                where = f"{what}; {size}; {threads} threads"
                yield Measured(1 / ratio if faster else ratio, where)

    return measure


def seconds(section: str, task: str, size: int, variant: str) -> Callable:
    """The median time of one variant."""

    def measure(results: Results) -> Iterator[Measured]:
        for t in results.timings:
            if (t.section, t.size, t.variant) == (section, size, variant) and t.task == task:
                yield Measured(t.median, f"{t.task}; {size}; {t.threads} threads")

    return measure


def emlp(group: str) -> Callable[[Results], Iterator[Measured]]:
    """EMLP's time of a first solve in a fresh interpreter over ours."""

    def measure(results: Results) -> Iterator[Measured]:
        for row in results.peers:
            if row["peer"] == "EMLP" and row["group"] == group and row["cold ratio"]:
                yield Measured(float(row["cold ratio"]), f"{row['task']}; {row['size']}")

    return measure


def added_by_import(results: Results) -> Iterator[Measured]:
    """What `import gdl.equivariance` takes after `import torch`."""
    for group in table.by_case(results.timings).values():
        median = {t.variant: t.median for t in group if t.section == "startup"}
        if "import torch, gdl.equivariance" in median:
            added = median["import torch, gdl.equivariance"] - median["import torch"]
            yield Measured(added, f"{group[0].threads} threads")


def chapters(column: str) -> Callable[[Results], Iterator[Measured]]:
    def measure(results: Results) -> Iterator[Measured]:
        for row in results.chapters:
            yield Measured(float(row[column]), row["chapter"])

    return measure


def book(results: Results) -> Iterator[Measured]:
    if results.chapters:
        total = sum(float(row["seconds"]) for row in results.chapters)
        yield Measured(total, f"{len(results.chapters)} chapters")


FASTER, TIME = "times as fast", "times the time"

TARGETS = (
    Target("Solver beside EMLP, permutations", FASTER, 100, emlp("permutation"), at_least=True),
    Target("Solver beside EMLP, Lie groups", FASTER, 10, emlp("Lie"), at_least=True),
    Target(
        "Fifteen maps at n = 40", "s", 2,
        seconds("solver", "maps of order-2 tensors over n points", 40, "orbits"),
    ),
    Target(
        "Translations of a 40 x 40 grid", "s", 1,
        seconds("solver", "maps of images on an n x n torus", 40, "orbits"),
    ),
    Target("Import", "s", 0.2, added_by_import),
    Target(
        "GroupConv2d beside conv2d", TIME, 1.1,
        ratios("groups", "p4", "GroupConv2d", "F.conv2d, expanded size", (64,)),
    ),
    Target(
        "GCN, GIN and SAGE beside PyG's fast path", TIME, 1,
        ratios("graphs", "^(GCN|GIN|SAGE),", "gdl, Adjacency", "PyG, CS[RC]"),
    ),
    Target(
        "GAT beside PyG", TIME, 1,
        ratios("graphs", "^GAT", "gdl, Adjacency", "PyG, edge_index"),
    ),
    *(
        Target(
            f"Edge-aligned product beside e3nn, L = {L}", FASTER, bound,
            ratios("rotations", "tensor product", "edge-aligned", "e3nn.*", (L,), faster=True),
            at_least=True,
        )
        for L, bound in ((3, 3), (4, 5))
    ),
    Target(
        "Fifteen maps beside stack + einsum", FASTER, 2,
        ratios("tensors", "15 maps", "TensorLinear", r"stack \+ einsum", faster=True),
        at_least=True,
    ),
    Target(
        "Heat distance, one source", TIME, 1.5,
        ratios("geodesics", "heat distance, 1 source", "gdl", "potpourri3d"),
    ),
    Target(
        "Heat distance, 32 sources at 10,000 vertices", TIME, 1,
        ratios("geodesics", "heat distance, 32 sources", "gdl", "potpourri3d", (10000,)),
    ),
    Target(
        "LISTA at the error of 64 steps of ISTA", TIME, 0.2,
        ratios(
            "sparse_coding", "sparse codes", f"LISTA, {depth_at_the_error_of_ista()} layers",
            "ISTA, 64 steps",
        ),
    ),
    Target(
        "KMeansNet, an iteration", TIME, 2,
        ratios("factorization", "k-means", "KMeansNet", "scikit-learn"),
    ),
    Target("Longest chapter", "s", 120, chapters("seconds")),
    Target("Largest chapter", "MB", 1500, chapters("peak_mb")),
    Target("All chapters", "s", 1200, book),
)  # fmt: skip


def results() -> Results:
    """What is recorded now."""
    return Results(table.read(), peers.rows(), list(bench_book.read_table().values()))


def verdicts(found: Results) -> list[tuple[str, ...]]:
    """Lines of the table of targets."""
    lines = []
    for target in TARGETS:
        worst = target.worst(found)
        values = (f"{worst.value:.3g}", worst.where) if worst else ("nothing recorded", "")
        met = "met" if target.met(found) else "short"
        lines.append((target.name, target.stated, *values, met))
    return lines


def slower(timings: Iterable[Timing]) -> list[tuple[str, ...]]:
    """Cases at the largest size where the fastest of ours is slower than the fastest peer."""
    last = {}
    for (section, task, _, device, threads), group in table.by_case(timings).items():
        last[section, task, device, threads] = group
    lines = []
    for group in last.values():
        mine = min((t for t in group if t.ours), key=lambda t: t.median, default=None)
        peer = min((t for t in group if not t.ours), key=lambda t: t.median, default=None)
        if mine and peer and mine.median > TOLERATED * peer.median:
            names = (mine.task, str(mine.size), str(mine.threads), mine.variant)
            lines.append((*names, peer.variant, peer.release, f"{mine.median / peer.median:.3g}"))
    return lines
