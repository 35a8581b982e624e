"""The directive ``ledger``: the table of all claims, written into its page when the site is built.

It reads what ``make ledger`` wrote, so that the page holds no number of its own: first one table
of counts, then for every chapter a section with its claims in a list that opens.
"""

from __future__ import annotations

import json
import re
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from gdl.results import Entry, ledger

MOST_CHARACTERS = 60


class Ledger(SphinxDirective):
    """All claims of the book, by chapter."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(files("gdl.results") / "ledger.csv"))
        chapters = [
            (name, list(rows)) for name, rows in groupby(ledger(), key=lambda row: row.chapter)
        ]
        folder = Path(self.env.doc2path(self.env.docname)).parent
        titles = {name: title(folder / f"{name}.ipynb") for name, _ in chapters}
        made: list[nodes.Node] = [_raw(counts(chapters, titles))]
        for name, rows in chapters:
            heading = nodes.title("", titles[name])
            section = nodes.section("", heading, _raw(claims(rows)), ids=[f"ledger-{name}"])
            self.state.document.note_explicit_target(section)
            made.append(section)
        return made


def _raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


def title(notebook: Path) -> str:
    """The title of a chapter."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if found := re.search(r"^# (.*\S)", "".join(cell["source"]), re.MULTILINE):
            return found[1]
    raise ValueError(f"{notebook.name} has no title")


def counts(chapters: list[tuple[str, list[Entry]]], titles: dict[str, str]) -> str:
    """One row for each chapter: how many claims, and how each of them could have failed."""
    heads = ("Chapter", "Claims", "Broken twin", "Second route", "Both", "Exact")
    lines = [(f'<a href="#ledger-{name}">{titles[name]}</a>', rows) for name, rows in chapters]
    lines.append(("All", [row for _, rows in chapters for row in rows]))
    body = []
    for label, rows in lines:
        twin, route = (
            [getattr(row, kind) is not None for row in rows] for kind in ("control", "oracle")
        )
        numbers = (
            len(rows),
            sum(twin),
            sum(route),
            sum(map(min, twin, route)),
            sum(row.relation == "equals" for row in rows),
        )
        body.append(f'<th scope="row">{label}</th>' + _cells(numbers))
    return _table("ledger-counts", heads, body)


def claims(rows: list[Entry]) -> str:
    """The claims of a chapter as a table that opens."""
    heads = ("Claim", "Bound", "Measured", "Broken twin", "Second route")
    body = []
    for row in rows:
        place = f"{row.chapter}.html#{row.anchor}"
        times = f" <small>{row.times} times</small>" if row.times > 1 else ""
        statement = f'<a href="{place}">{escape(row.statement)}</a>{times}'
        values = [row.bound, row.measured, row.control, row.oracle]
        shown = zip(heads[1:], map(_short, values), strict=True)
        body.append(
            f"<td>{statement}</td>"
            + "".join(
                f'<td data-label="{head}">{value}</td>' if value else "<td></td>"
                for head, value in shown
            )
        )
    table = _table("ledger", heads, body)
    return f"<details><summary>{len(rows)} claims</summary>{table}</details>"


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return escape(text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…")


def _cells(values: tuple[int, ...]) -> str:
    return "".join(f"<td>{value}</td>" for value in values)


def _table(kind: str, heads: tuple[str, ...], body: list[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    lines = "\n".join(f"<tr>{row}</tr>" for row in body)
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table>'


def setup(app: Sphinx) -> dict:
    """Make the directive known."""
    app.add_directive("ledger", Ledger)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
