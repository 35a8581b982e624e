"""The ledger: every claim of the book, as the stored outputs of its chapters give it.

    python -m tools.ledger      writes gdl/results/ledger.csv

One row for each call of ``claim`` in the code of a chapter, in the order of the book. An output is
matched with the call that made it by its statement: a constant string must be equal, an f-string
must fit. The calls of its own cell come first, then those in functions that earlier cells define.
"""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path

from docutils.nodes import make_id
from nbformat import NotebookNode

from gdl.results.ledger import Entry, _tuples
from tools import nb as nbtool

TABLE = nbtool.ROOT / "gdl" / "results" / "ledger.csv"
TOC = nbtool.ROOT / "_toc.yml"
HEADING = re.compile(r"^#{1,6} +(.*\S)", re.MULTILINE)


@dataclass
class Call:
    """A call of ``claim``: where it stands, what it may state, and the outputs that it made."""

    cell: str
    section: str
    statement: ast.expr
    in_function: bool
    records: list[dict] = field(default_factory=list)

    def fits(self, statement: str) -> bool:
        return _pattern(self.statement).fullmatch(statement) is not None


def _pattern(statement: ast.expr) -> re.Pattern:
    """What the statement of a call may read; each value put into an f-string is a group."""
    if isinstance(statement, ast.JoinedStr):
        parts = statement.values
    else:
        parts = [statement]
    texts = [re.escape(p.value) if isinstance(p, ast.Constant) else "(.*?)" for p in parts]
    return re.compile("".join(texts), re.DOTALL)


def calls(nb: NotebookNode) -> list[Call]:
    """Every call of ``claim`` in the notebook, with its outputs.

    Raises:
        ValueError: an output that no call of the notebook can have made.
    """
    found: list[Call] = []
    section = ""
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            section = (HEADING.findall(cell.source) or [section])[-1]
        elif cell.cell_type == "code":
            own = list(_calls(cell, section))
            elsewhere = [call for call in found if call.in_function]
            for record in _records(cell):
                _maker(record["statement"], own, elsewhere).records.append(record)
            found += own
    return found


def _calls(cell: NotebookNode, section: str) -> Iterator[Call]:
    tree = ast.parse(cell.source)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_claim(node.func)]
    for node in sorted(made, key=lambda node: (node.lineno, node.col_offset)):
        named = [keyword.value for keyword in node.keywords if keyword.arg == "statement"]
        yield Call(cell.id, section, (node.args + named)[0], id(node) in inside)


def _is_claim(function: ast.expr) -> bool:
    return "claim" in (getattr(function, "id", None), getattr(function, "attr", None))


def _records(cell: NotebookNode) -> Iterator[dict]:
    for output in cell.outputs:
        if claim := output.get("metadata", {}).get("gdl", {}).get("claim"):
            yield claim


def _maker(statement: str, *groups: list[Call]) -> Call:
    """The call that made an output: of several that fit, one whose statement is constant, else
    the first of those that have made the fewest so far, as in two calls taking turns in a loop."""
    for group in groups:
        if fitting := [call for call in group if call.fits(statement)]:
            return min(
                fitting,
                key=lambda c: (not isinstance(c.statement, ast.Constant), len(c.records)),
            )
    raise ValueError(f"no call of the chapter states {statement!r}")


def entries(chapter: str, nb: NotebookNode) -> list[Entry]:
    """The rows of a chapter; a call that left no output has none."""
    made = [call for call in calls(nb) if call.records]
    return [_entry(chapter, number, call) for number, call in enumerate(made, start=1)]


def _entry(chapter: str, number: int, call: Call) -> Entry:
    anchor = make_id(call.section)
    place = (chapter, number, call.cell, call.section, anchor, _shared_statement(call))
    runs = [
        Entry(*place, record["bound"], **_values(record), times=len(call.records))
        for record in call.records
    ]
    worst = max(runs, key=lambda run: run.ratio(run.measured) or 0.0)
    weakest = min(
        (run for run in runs if run.bound == worst.bound),
        key=lambda run: (run.control is not None and run.ratio(run.control)) or 0.0,
    )
    return Entry(*place, worst.bound, worst.measured, weakest.control, worst.oracle, worst.times)


def _values(record: dict) -> dict:
    names = ("measured", "control", "oracle")
    return {name: _tuples(record[name]) for name in names if name in record}


def _shared_statement(call: Call) -> str:
    """The statement, with an ellipsis for each inserted value in which the runs differ."""
    statements = [record["statement"] for record in call.records]
    pattern = _pattern(call.statement)
    matches = [pattern.fullmatch(statement) for statement in statements]
    shared, end = "", 0
    for group, values in enumerate(zip(*(m.groups() for m in matches), strict=True), start=1):
        start, stop = matches[0].span(group)
        shared += statements[0][end:start] + (values[0] if len(set(values)) == 1 else "…")
        end = stop
    return shared + statements[0][end:]


def chapters() -> list[str]:
    """The chapters in the order of the table of contents."""
    listed = re.findall(r"^ *- file: chapters/(\w+) *$", TOC.read_text("utf-8"), re.MULTILINE)
    return [name for name in listed if (nbtool.CHAPTERS / f"{name}.ipynb").exists()]


def collect() -> list[Entry]:
    """The rows of the whole book."""
    return [
        entry
        for name in chapters()
        for entry in entries(name, nbtool.read(nbtool.CHAPTERS / f"{name}.ipynb"))
    ]


def write(rows: list[Entry], path: Path) -> None:
    """Write the table; the same rows always give the same bytes."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        names = [f.name for f in fields(Entry)]
        writer.writerow(names)
        writer.writerows([_cell(name, getattr(row, name)) for name in names] for row in rows)


def _cell(name: str, value) -> str:
    if name not in ("measured", "control", "oracle"):
        return str(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def main() -> None:
    rows = collect()
    write(rows, TABLE)
    outputs = sum(row.times for row in rows)
    print(f"{len(rows)} claims of {len(chapters())} chapters, from {outputs} outputs")


if __name__ == "__main__":
    main()
