"""One table: ``python -m benchmarks [solver] [groups] ...``, all by default, or `make bench`.

Times every variant of every section by pytest-benchmark, replaces the lines of these sections in
benchmarks/results.csv, and writes benchmarks/results.md from that. ``--page`` only writes the page.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import table
from benchmarks.cases import load
from benchmarks.page import PAGE, page

SECTIONS = (
    "solver",
    "startup",
    "convolution",
    "groups",
    "rotations",
    "sets",
    "tensors",
    "graphs",
    "attention",
    "geodesics",
    "gauges",
    "sequences",
    "programs",
    "sparse_coding",
    "factorization",
    "inference",
    "diffusion",
    "layers",
    "steps",
)
HERE = Path(__file__).parent


def stamp() -> dict[str, str]:
    """When and with what a section was measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "unknown",
        "date": datetime.date.today().isoformat(),
    }


def measure(section: str, *options: str) -> tuple[list[table.Timing], bool]:
    """The timings of a section, and whether none of its variants failed; pytest shows failures.

    Options are pytest's own, such as ``-k`` to choose variants.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable, "-m", "pytest", str(HERE / "bench_cases.py"),
            f"--config-file={HERE / 'pytest.ini'}", f"--confcutdir={HERE}",
            f"--section={section}", f"--benchmark-json={report}", "--benchmark-quiet", *options,
        ]  # fmt: skip
        ran = subprocess.run(command, cwd=HERE.parent, check=False)
        return table.from_benchmark(report, stamp()), ran.returncode == 0


def skipped(section: str) -> str | None:
    """Why a section cannot be measured on this machine, or None."""
    available = getattr(load(section), "available", lambda: None)
    return available()


def replaced(old: list[table.Timing], new: list[table.Timing]) -> list[table.Timing]:
    """The old lines with those of the new sections in their place, in the order of SECTIONS."""
    fresh = {timing.section for timing in new}
    kept = [timing for timing in old if timing.section not in fresh]
    return sorted([*kept, *new], key=lambda timing: SECTIONS.index(timing.section))


def run(sections: Sequence[str]) -> list[str]:
    """Measure each section and keep its lines; the names of those where a variant failed."""
    failed = []
    for section in sections:
        if why := skipped(section):
            print(f"{section} {why}", flush=True)
            continue
        timings, passed = measure(section)
        table.write(replaced(table.read(), timings))
        if not passed:
            failed.append(section)
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION",
                        help=f"of {', '.join(SECTIONS)}")  # fmt: skip
    parser.add_argument("--page", action="store_true", help="measure nothing")
    chosen = parser.parse_args(arguments)
    failed = [] if chosen.page else run(chosen.sections or SECTIONS)
    PAGE.write_text(page(), encoding="utf-8")
    for section in failed:
        print(f"{section}: a variant failed, see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
