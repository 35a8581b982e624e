"""The repository and its chapters as the book tests see them."""

from __future__ import annotations

import ast
import csv
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
TIMES = ROOT / "gdl" / "results" / "chapters.csv"
SETUP_CELL = (ROOT / "tools" / "setup_cell.py").read_text(encoding="utf-8").strip("\n")


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def prose(nb: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")


def opening(nb: NotebookNode) -> str:
    """The prose before the first code cell."""
    texts = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            break
        texts.append(cell.source)
    return "\n\n".join(texts)


def calls(source: str, name: str) -> Iterator[ast.Call]:
    """Calls of a plain name or of an attribute of that name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            if name == getattr(called, "id", None) or name == getattr(called, "attr", None):
                yield node


@cache
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def measured_times() -> dict[str, dict[str, str]]:
    """The rows that `make bench-book` wrote, by chapter."""
    if not TIMES.exists():
        return {}
    with TIMES.open(encoding="utf-8", newline="") as lines:
        return {row["chapter"]: row for row in csv.DictReader(lines)}


@cache
def files() -> frozenset[str]:
    """The repository's files, relative to its root: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return frozenset(name for name in listed.split("\0") if name and (ROOT / name).exists())
