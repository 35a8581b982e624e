"""What was measured: benchmarks/results.csv, one line a variant, and the tables made of it."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from benchmarks.cases import OURS

RESULTS = Path(__file__).with_name("results.csv")

TIMES = (
    "task", "size", "device", "threads", "variant", "version", "ratio", "ratio of minima",
    "median ms", "rounds",
)  # fmt: skip
EXPONENTS = ("task", "device", "threads", "variant", "exponent", "fitted at")
MEMORY = ("task", "size", "device", "variant", "peak MB")


@dataclass(frozen=True)
class Timing:
    """The times of one variant, in seconds per call.

    Attributes:
        section, task, size, device, threads, variant: what was run, as in `benchmarks.cases.Run`.
        work: the amount that exponents are fitted against.
        package, version: who did the work.
        rounds: how many times were taken.
        median, least: of these times.
        difference: the worst disagreement of the variants of this case, relative, in float64.
        peak_mb: what a call adds to the memory of a process; None where it was not measured.
        place: the processor.
        python, torch, commit, date: when and with what.
    """

    section: str
    task: str
    size: int
    work: int
    device: str
    threads: int
    variant: str
    package: str
    version: str
    rounds: int
    median: float
    least: float
    difference: float
    peak_mb: float | None
    place: str
    python: str
    torch: str
    commit: str
    date: str

    @property
    def case(self) -> tuple[str, str, int, str, int]:
        """What the variants that are compared have in common."""
        return self.section, self.task, self.size, self.device, self.threads

    @property
    def ours(self) -> bool:
        return self.package == OURS

    @property
    def release(self) -> str:
        return f"{self.package} {self.version}"


COLUMNS = tuple(field.name for field in fields(Timing))
NUMBERS = {"size": int, "work": int, "threads": int, "rounds": int}
NUMBERS |= {"median": float, "least": float, "difference": float}


def from_benchmark(report: Path, stamp: dict[str, str]) -> list[Timing]:
    """The timings in a report of pytest-benchmark, which is empty where nothing ran."""
    text = report.read_text(encoding="utf-8") if report.exists() else ""
    turns: dict[tuple, list[dict]] = {}
    for entry in json.loads(text)["benchmarks"] if text else []:
        info = entry["extra_info"]
        name = tuple(info[key] for key in ("task", "size", "device", "threads", "variant"))
        turns.setdefault(name, []).append(entry)
    return [_joined(entries, stamp) for entries in turns.values()]


def _joined(turns: Sequence[dict], stamp: dict[str, str]) -> Timing:
    """The timing of a variant from its turns, the last of which may have measured the peak."""
    seconds = [second for turn in turns for second in turn["stats"]["data"]]
    last = turns[-1]["extra_info"]
    return Timing(
        **{name: value for name, value in last.items() if name in COLUMNS},
        rounds=len(seconds),
        median=statistics.median(seconds),
        least=min(seconds),
        **stamp,
    )


def write(timings: Iterable[Timing], path: Path = RESULTS) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for timing in timings:
            row = asdict(timing)
            row |= {name: f"{row[name]:.4g}" for name in ("median", "least", "difference")}
            row["peak_mb"] = "" if timing.peak_mb is None else f"{timing.peak_mb:.0f}"
            writer.writerow(row)


def read(path: Path = RESULTS) -> list[Timing]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        return [_timing(row) for row in csv.DictReader(lines)]


def _timing(row: dict[str, str]) -> Timing:
    numbers = {name: kind(row[name]) for name, kind in NUMBERS.items()}
    peak = float(row["peak_mb"]) if row["peak_mb"] else None
    return Timing(**row | numbers | {"peak_mb": peak})


def by_case(timings: Iterable[Timing]) -> dict[tuple, list[Timing]]:
    """The variants of each case, in the order in which they were measured."""
    found: dict[tuple, list[Timing]] = {}
    for timing in timings:
        found.setdefault(timing.case, []).append(timing)
    return found


def times(timings: Iterable[Timing]) -> list[tuple[str, ...]]:
    """Lines of the table; each ratio is to the first variant of the case."""
    return [
        (
            t.task, str(t.size), t.device, str(t.threads), t.variant, t.release,
            f"{t.median / group[0].median:.3g}", f"{t.least / group[0].least:.3g}",
            f"{1e3 * t.median:.3g}", str(t.rounds),
        )
        for group in by_case(timings).values()
        for t in group
    ]  # fmt: skip


def exponents(timings: Iterable[Timing]) -> list[tuple[str, ...]]:
    """Slope of log(least time) against log(work), for each variant, device and number of threads.

    Fitted to the three largest sizes, since the smallest measure the overhead of a call.
    """
    series: dict[tuple[str, ...], list[Timing]] = {}
    for t in timings:
        series.setdefault((t.task, t.device, str(t.threads), t.variant), []).append(t)
    return [
        (*name, f"{_slope(group[-3:]):.2f}", ", ".join(str(t.work) for t in group[-3:]))
        for name, group in series.items()
        if len(group) > 1
    ]


def _slope(group: list[Timing]) -> float:
    work, seconds = [t.work for t in group], [t.least for t in group]
    return float(np.polyfit(np.log(work), np.log(seconds), 1)[0])


def memory(timings: Iterable[Timing]) -> list[tuple[str, ...]]:
    return [
        (t.task, str(t.size), t.device, t.variant, f"{t.peak_mb:.0f}")
        for t in timings
        if t.peak_mb is not None
    ]


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of columns of equal width, which reads well as plain text too."""
    lines = [tuple(header), *map(tuple, lines)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(text) + "\n"
