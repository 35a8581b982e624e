"""One table: ``python -m benchmarks [solver] [groups] ...``, all by default, or `make bench`.

Prints the table and writes it to benchmarks/results.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import scipy
import torch

from benchmarks.cases import (
    EXPONENTS,
    TIMES,
    exponents,
    markdown,
    peak_in_a_process,
    peak_of,
    rows,
    time_case,
)
from benchmarks.peers import recorded

MODULES = (
    "solver",
    "convolution",
    "groups",
    "rotations",
    "tensors",
    "graphs",
    "geodesics",
    "gauges",
    "sequences",
    "programs",
    "sparse_coding",
    "factorization",
    "inference",
    "diffusion",
)
RESULTS = Path(__file__).with_name("results.md")
MEMORY = ("task", "size", "variant", "peak MB")


def threads() -> list[int]:
    return sorted({1, torch.get_num_threads()})


def load(name: str) -> ModuleType:
    return importlib.import_module(f"benchmarks.{name}")


def largest(module: ModuleType) -> Iterable[tuple[str, int, str]]:
    """Each task and variant at the largest size that it reaches."""
    for task, sizes in module.SIZES.items():
        found = {variant: size for size in sizes for variant in module.case(task, size).variants}
        yield from ((task, size, variant) for variant, size in found.items())


def peak(module: ModuleType, task: str, size: int, variant: str) -> float:
    small = module.case(task, module.SIZES[task][0]).variants
    return peak_of(module.case(task, size).variants[variant], small[variant])


def report(names: Iterable[str]) -> str:
    """Measure, and return the page of results."""
    sections = [machine()]
    for name in names:
        module = load(name)
        timings = []
        for task, sizes in module.SIZES.items():
            for size in sizes:
                print(f"{name}: {task}, {size}", file=sys.stderr)
                timings += time_case(module.case(task, size), threads())
        memory = [
            (task, str(size), variant, f"{peak_in_a_process(name, task, size, variant):.0f}")
            for task, size, variant in largest(module)
        ]
        sections += [f"## {name.capitalize()}\n\n{module.__doc__}", markdown(TIMES, rows(timings))]
        sections += [markdown(EXPONENTS, exponents(timings)), markdown(MEMORY, memory)]
    return "\n".join([*sections, recorded()])


def machine() -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return (
        "# Benchmarks\n\n"
        "Written by `make bench`. A ratio is the median time of a variant over that of the first "
        "variant\nof the same task, size and threads; above 1 it is slower. Exponents are fitted "
        "to the least times\nof the three largest sizes. The peak is what one call adds to the "
        "memory of a process that has\nsolved the smallest size.\n\n"
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, SciPy {scipy.__version__}, "
        f"commit {commit.stdout.strip() or 'unknown'}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=MODULES, help=f"of {', '.join(MODULES)}")
    parser.add_argument("--peak", nargs=4, metavar=("MODULE", "TASK", "SIZE", "VARIANT"))
    chosen = parser.parse_args()
    if chosen.peak:
        name, task, size, variant = chosen.peak
        print(peak(load(name), task, int(size), variant))
        return
    page = report(chosen.names)
    print(page)
    RESULTS.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
