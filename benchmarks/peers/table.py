"""What was recorded of peers: benchmarks/peers/recorded.csv."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.table import markdown

RECORDED = Path(__file__).with_name("recorded.csv")
COLUMNS = (
    "peer", "version", "task", "group", "size", "threads", "reference", "maps", "residual",
    "reference residual", "repeats", "processes", "cold median s", "cold least s",
    "reference cold median s", "reference cold least s", "cold ratio", "warm median s",
    "warm least s", "reference warm median s", "reference warm least s", "warm ratio", "skipped",
)  # fmt: skip
SHOWN = (
    "peer", "version", "task", "size", "threads", "reference", "maps", "residual", "cold median s",
    "reference cold median s", "cold ratio", "warm median s", "reference warm median s",
    "warm ratio", "skipped",
)  # fmt: skip
NOTE = """\
Written by `make bench-peers`. A ratio is that of the median times of the peer and of its
reference, taken in turn. EMLP's reference is our solver of the same problem. Cold is the first
solve of a fresh process after its imports, with all that is compiled in it; warm is a later one,
without EMLP's stored solutions. The reference of escnn is torch's convolution of the expanded
size in escnn's environment, to be compared with the ratio of `GroupConv2d` above.
"""


def rows(path: Path = RECORDED) -> list[dict[str, str]]:
    """The recorded lines; empty where there is nothing to say."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def recorded(path: Path = RECORDED) -> str:
    """The recorded table, for the page of results."""
    title, found = "## Peers in environments of their own\n", rows(path)
    if not found:
        return title + "\nNothing is recorded; `make bench-peers` does.\n"
    lines = [tuple(row[name] for name in SHOWN) for row in found]
    return "\n".join([title, NOTE, markdown(SHOWN, lines)])


def replaced(old: list[dict[str, str]], new: list[dict[str, str]]) -> list[dict[str, str]]:
    """The old lines with the new ones of the same peers in their place."""
    peers = {row["peer"] for row in new}
    kept = [row for row in old if row["peer"] not in peers]
    return sorted([*kept, *new], key=lambda row: row["peer"])


def write(lines: list[dict[str, str]], path: Path = RECORDED) -> None:
    with path.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
