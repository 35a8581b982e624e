"""What every study needs: the seeds, the table, and the models that two studies share."""

from __future__ import annotations

import csv
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from gdl.grids import CircularConv

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "gdl" / "results" / "studies.csv"
COLUMNS = ("study", "variant", "quantity", "seed", "value", "command", "commit")
SEEDS = (0, 1, 2)

# A study yields one (variant, quantity, value) for each number it measures.
Measurements = Iterator[tuple[str, str, float]]


def run(study: str, measure: Callable[[int], Measurements], table: Path = TABLE) -> None:
    """Run a study over the seeds, print it, and replace its rows of the table.

    One thread, because the order of a parallel sum, and with it the trained weights, depends on
    the number of threads.
    """
    if os.environ.get("GDL_MAX_STEPS"):
        raise SystemExit("GDL_MAX_STEPS is set: a shortened run is no study")
    torch.set_num_threads(1)
    origin = {"command": f"python -m studies.{study}", "commit": _commit()}
    rows = []
    for seed in SEEDS:
        for variant, quantity, value in measure(seed):
            print(f"{study}, seed {seed}: {variant}, {quantity}: {value:.4g}", flush=True)
            row = {"study": study, "variant": variant, "quantity": quantity, "seed": seed}
            rows.append({**row, "value": f"{value:.6g}", **origin})
    _replace(study, rows, table)


def convolutional() -> nn.Sequential:
    """The convolutional network of the chapter "grids", invariant to every shift."""
    return nn.Sequential(
        CircularConv(1, 16, 3), nn.ReLU(),
        CircularConv(16, 20, 3, dilation=2), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(20, 10),
    )


def _replace(study: str, rows: list[dict], table: Path) -> None:
    kept = []
    if table.exists():
        with table.open(encoding="utf-8", newline="") as lines:
            kept = [row for row in csv.DictReader(lines) if row["study"] != study]
    with table.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
        writer.writeheader()
        # Sorting is stable, so the order within a study stays that of its measurements.
        writer.writerows(sorted(kept + rows, key=lambda row: row["study"]))


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return ran.stdout.strip()

    # The table itself changes while the studies run.
    changed = git("status", "--porcelain", "--", ".", ":!gdl/results/studies.csv")
    return git("rev-parse", "--short", "HEAD") + ("+dirty" if changed else "")
