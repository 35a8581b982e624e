"""How long each chapter takes and how much memory it needs, on two CPU cores.

    python -m tools.bench_book [--repeats N] [NAME ...]

Each chapter runs alone in a fresh kernel. The measurements go to gdl/results/chapters.csv and, as
one line, into the chapter's card; of several runs these are the median of the seconds and the
largest peak. The exit status is 1 when a chapter takes more time or memory than a reader was
promised, or the whole book more time. A chapter that misses the aim alone is only named.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Iterable

import torch
from nbformat import NotebookNode, v4

from tools import nb as nbtool

TABLE = nbtool.ROOT / "gdl" / "results" / "chapters.csv"
COLUMNS = ("chapter", "seconds", "peak_mb", "runs", "cores", "python", "torch", "date")
CORES = 2
AIM_SECONDS = 60
LIMIT_SECONDS = 120
LIMIT_MB = 1500
LIMIT_BOOK_SECONDS = 1200
TIME_LINE = re.compile(r"\*\*Time:\*\*[^\n]*")
# On Linux a process inherits ru_maxrss from its parent, so VmHWM is read; on macOS ru_maxrss counts
# bytes; Windows has no such call, but psutil, which comes with the kernel, knows its own.
PEAK = """import pathlib, re, sys
status = pathlib.Path("/proc/self/status")
if status.exists():
    print(int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1]) / 1e3)
elif sys.platform == "win32":
    import psutil
    print(psutil.Process().memory_info().peak_wset / 1e6)
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"""


def time_line(seconds: float, peak_mb: float) -> str:
    """The line of a chapter's card."""
    return (
        f"**Time:** about {seconds:.0f} s on {CORES} CPU cores, {peak_mb / 1000:.1f} GB of memory"
    )


def measure(name: str) -> dict[str, str]:
    """Run one chapter and return its row of the table, but for the number of runs."""
    nb = nbtool.read(nbtool.CHAPTERS / f"{name}.ipynb")
    nb.cells.append(v4.new_code_cell(PEAK))
    start = time.perf_counter()
    ran = nbtool.execute(nb, env={**os.environ, "OMP_NUM_THREADS": str(CORES)})
    seconds = time.perf_counter() - start
    return {
        "chapter": name,
        "seconds": f"{seconds:.0f}",
        "peak_mb": f"{float(ran.cells[-1].outputs[0].text):.0f}",
        "cores": str(CORES),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }


def combined(runs: list[dict[str, str]]) -> dict[str, str]:
    """One row of several runs: the median of the seconds, and the largest peak."""
    return runs[-1] | {
        "seconds": f"{statistics.median(float(run['seconds']) for run in runs):.0f}",
        "peak_mb": f"{max(float(run['peak_mb']) for run in runs):.0f}",
        "runs": str(len(runs)),
    }


def excess(row: dict[str, str]) -> list[str]:
    """What a chapter takes too much of, each in one sentence."""
    measured = (
        (float(row["seconds"]), LIMIT_SECONDS, "s"),
        (float(row["peak_mb"]), LIMIT_MB, "MB of memory"),
    )
    return [
        f"{row['chapter']} takes {value:.0f} {unit}, and at most {limit} are allowed: shorten it."
        for value, limit, unit in measured
        if value > limit
    ]


def book_seconds(rows: Iterable[dict[str, str]]) -> float:
    """The seconds of all chapters, one after the other."""
    return sum(float(row["seconds"]) for row in rows)


def book_excess(rows: Iterable[dict[str, str]]) -> list[str]:
    """The sentence on a whole book that takes too long."""
    total = book_seconds(rows)
    limit = f"at most {LIMIT_BOOK_SECONDS} are allowed: shorten a chapter."
    too_long = total > LIMIT_BOOK_SECONDS
    return [f"All chapters together take {total:.0f} s, and {limit}"] if too_long else []


def misses_aim(row: dict[str, str]) -> bool:
    """Whether a chapter takes longer than it should, though perhaps not too long."""
    return float(row["seconds"]) > AIM_SECONDS


def write_line(nb: NotebookNode, line: str) -> None:
    """Put the line into the chapter's card, which must have a place for it."""
    places = [cell for cell in nb.cells if TIME_LINE.search(cell.source)]
    if len(places) != 1:
        raise ValueError(f"expected one card with a **Time:** line, found {len(places)}")
    places[0].source = TIME_LINE.sub(line, places[0].source, count=1)


def read_table() -> dict[str, dict[str, str]]:
    if not TABLE.exists():
        return {}
    with TABLE.open(encoding="utf-8", newline="") as lines:
        return {row["chapter"]: row for row in csv.DictReader(lines)}


def write_table(rows: dict[str, dict[str, str]]) -> None:
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in sorted(rows))


def use_few_cores() -> None:
    """Keep this process, and the kernels that it starts, to the cores that the card names."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def record(name: str, row: dict[str, str], rows: dict[str, dict[str, str]]) -> None:
    """Put a measured row into the table, and its line into the card."""
    rows[name] = row
    write_table(rows)
    path = nbtool.CHAPTERS / f"{name}.ipynb"
    nb = nbtool.read(path)
    line = time_line(float(row["seconds"]), float(row["peak_mb"]))
    write_line(nb, line)
    nbtool.write(path, nb)
    print(f"{name}: {line}", flush=True)


def judge(names: list[str], rows: dict[str, dict[str, str]]) -> int:
    """Say which of these chapters take too much, and whether the whole book does; the status."""
    too_much = book_excess(rows.values())
    for name in names:
        found = excess(rows[name])
        if misses_aim(rows[name]) and not found:
            print(f"{name} takes {rows[name]['seconds']} s, and the aim is {AIM_SECONDS}.")
        too_much += found
    for sentence in too_much:
        print(sentence, file=sys.stderr)
    return 1 if too_much else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a chapter; all by default")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="runs of each chapter")
    options = parser.parse_args(arguments)
    present = sorted(path.stem for path in nbtool.CHAPTERS.glob("*.ipynb"))
    if unknown := sorted({*options.names} - {*present}):
        parser.error(f"no such chapter: {', '.join(unknown)}")
    if options.repeats < 1:
        parser.error(f"--repeats must be at least 1, not {options.repeats}")
    names = options.names or present
    rows = {name: row for name, row in read_table().items() if name in present}
    for name in names:
        record(name, combined([measure(name) for _ in range(options.repeats)]), rows)
    return judge(names, rows)


if __name__ == "__main__":
    use_few_cores()
    sys.exit(main())
