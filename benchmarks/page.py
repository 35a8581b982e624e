"""The page of results, benchmarks/results.md, made of the recorded tables alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peers, table, targets
from benchmarks.cases import load
from benchmarks.table import Timing, markdown
from benchmarks.targets import Results
from tools import bench_book

PAGE = Path(__file__).with_name("results.md")
INTRODUCTION = """\
# Benchmarks

Written by `make bench`, `make bench-peers` and `make bench-book` from the tables that they record.
A ratio is the median time of a variant over that of the first variant of the same task, size,
device and threads; above 1 it is slower. Exponents are fitted to the least times of the three
largest sizes. The peak is what one call adds to the memory of a process that has solved the
smallest size. Variants were compared in float64 before they were timed. Shortfalls and their causes
are named in README.md, beside this page.
"""
TARGETS = ("target", "bound", "worst", "where", "verdict")
SLOWER = ("task", "size", "threads", "ours", "peer", "version", "ratio")


def page(found: Results | None = None) -> str:
    """The whole page."""
    found = found or targets.results()
    sections: dict[str, list[Timing]] = {}
    for timing in found.timings:
        sections.setdefault(timing.section, []).append(timing)
    parts = [
        INTRODUCTION,
        "## Targets\n\nBy the medians; the worst case counts.\n",
        markdown(TARGETS, targets.verdicts(found)),
        "## Slower than a peer\n\nAt the largest size of each task, by the medians.\n",
        markdown(SLOWER, targets.slower(found.timings)),
        *(section(name, timings) for name, timings in sections.items()),
        "## Chapters\n",
        markdown(bench_book.COLUMNS, [list(row.values()) for row in found.chapters]),
        peers.recorded(),
    ]
    return "\n".join(parts)


def section(name: str, timings: list[Timing]) -> str:
    """The tables of one section, under what its module says of them."""
    title = name.replace("_", " ").capitalize()
    tables = [
        markdown(table.TIMES, table.times(timings)),
        markdown(table.EXPONENTS, table.exponents(timings)),
        markdown(table.MEMORY, table.memory(timings)),
    ]
    return "\n".join([f"## {title}\n\n{load(name).__doc__}", made(timings), *tables])


def made(timings: list[Timing]) -> str:
    """When, where and with what."""
    stamps = {(t.place, t.python, t.torch, t.commit, t.date) for t in timings}
    lines = [
        f"{place}, Python {python}, torch {torch}, commit {commit}, {date}."
        for place, python, torch, commit, date in sorted(stamps)
    ]
    return "\n".join(lines) + "\n"
