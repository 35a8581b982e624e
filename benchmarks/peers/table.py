"""What was recorded of peers: benchmarks/peers/recorded.csv."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.cases import markdown

RECORDED = Path(__file__).with_name("recorded.csv")
COLUMNS = (
    "peer", "version", "task", "size", "maps", "residual", "repeats", "first s", "median s",
    "min s", "ratio to ours", "command",
)  # fmt: skip


def recorded(path: Path = RECORDED) -> str:
    """The recorded table, for the page of results."""
    title = "## Peers in environments of their own\n\n"
    if not path.exists():
        return title + "Nothing is recorded; `make bench-peers` does.\n"
    with path.open(encoding="utf-8", newline="") as lines:
        rows = [tuple(row[name] for name in COLUMNS[:-1]) for row in csv.DictReader(lines)]
    note = (
        "Written by `make bench-peers`. The first call compiles; the ratio is that of the least "
        "times,\nours taken right after the peer's, on one thread.\n\n"
    )
    return title + note + markdown(COLUMNS[:-1], rows)


def write(rows: list[dict[str, str]], path: Path = RECORDED) -> None:
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
