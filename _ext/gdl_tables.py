"""Tables and numbers of the book's own pages, read from files that commands write.

Directives without content, which become tables: ``running-times``, ``versions``,
``full-scale-runs``, ``full-scale-claims``, ``studies``. ``stored-claim`` shows a claim with what a
chapter stores of it. The role ``{count}`` becomes a number: of ``claims`` or ``chapters``.
"""

from __future__ import annotations

import csv
import re
import tomllib
from functools import cache
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from tools import bench_book

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "gdl" / "results"
LOCK = re.compile(r"^([\w-]+)==(\S+)(?: ; (.*))?$", re.MULTILINE)
OF_PYTHON = re.compile(r"python_full_version (\S+) '([\d.]+)'")
SECONDS_PER_MINUTE = 60


def rows(name: str) -> list[dict[str, str]]:
    """The rows of a table in gdl/results."""
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@cache
def notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(ROOT / "chapters" / f"{name}.ipynb", as_version=4)


def title(name: str) -> str:
    """The title of a chapter, up to a colon."""
    return re.search(r"^# (.*)$", notebook(name).cells[0].source, re.MULTILINE)[1].split(":")[0]


def chapters() -> list[str]:
    """The chapters in the order of the table of contents."""
    listed = re.findall(r"file: chapters/(\w+)$", (ROOT / "_toc.yml").read_text("utf-8"), re.M)
    return [name for name in listed if (ROOT / "chapters" / f"{name}.ipynb").exists()]


def link(name: str) -> str:
    return f"[{title(name)}](/chapters/{name}.ipynb)"


def table(header: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
    """A Markdown table; a first header of numbers would be aligned to the right, words are not."""
    lines = [header, tuple("---" for _ in header), *body]
    cells = [" | ".join(str(cell).replace("|", r"\|") for cell in line) for line in lines]
    return "\n".join(f"| {line} |" for line in cells)


def running_times() -> str:
    """Seconds and memory of each chapter, their sum, and who misses the aim."""
    measured = {row["chapter"]: row for row in rows("chapters")}
    shown = [measured[name] for name in chapters() if name in measured]
    columns = ("seconds", "peak_mb", "runs", "python", "torch", "date")
    body = [(link(row["chapter"]), *(row[column] for column in columns)) for row in shown]
    header = ("Chapter", "Seconds", "Peak MB", "Runs", "Python", "PyTorch", "Measured on")
    return f"{table(header, body)}\n\n{sum_of_times(shown)}\n{beyond_the_aim(shown)}"


def sum_of_times(shown: list[dict[str, str]]) -> str:
    minutes = bench_book.book_seconds(shown) / SECONDS_PER_MINUTE
    limit = bench_book.LIMIT_BOOK_SECONDS / SECONDS_PER_MINUTE
    where = "**beyond**" if bench_book.book_excess(shown) else "within"
    total = f"All of them, one after the other: {minutes:.1f} minutes"
    return f"{total}, {where} the limit of {limit:.0f}."


def beyond_the_aim(shown: list[dict[str, str]]) -> str:
    names = [link(row["chapter"]) for row in shown if bench_book.misses_aim(row)]
    found = ", ".join(names) or "none"
    return f"Chapters beyond the aim of {bench_book.AIM_SECONDS} seconds: {found}."


def versions() -> str:
    """What pyproject.toml asks for, and what constraints.txt says was tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock: dict[str, list[str]] = {}
    for name, version, marker in LOCK.findall((ROOT / "constraints.txt").read_text("utf-8")):
        where = OF_PYTHON.sub(r"Python \1 \2", marker)
        lock.setdefault(name, []).append(f"{version} ({where})" if where else version)
    asked = [*project["dependencies"], *project["optional-dependencies"]["book"]]
    body = [("Python", project["requires-python"], tested_python())]
    for line in asked:
        name, bound = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        body.append((name, bound, "; ".join(lock[name])))
    return table(("Package", "Asked for", "Tested"), body)


def tested_python() -> str:
    return ", ".join(sorted({row["python"] for row in rows("chapters")}))


def full_scale_runs() -> str:
    """One row for each chapter that was run at full scale: how far, how long, on what."""
    body = [
        (
            link(row["chapter"]),
            row["full_means"],
            row["outcome"],
            row["seconds"],
            f"{row['held']} of {int(row['held']) + int(row['failed'])}",
            row["device"],
            row["date"],
            row["commit"],
        )
        for row in rows("full_scale")
    ]
    header = (
        "Chapter",
        "Full scale",
        "Outcome",
        "Seconds",
        "Claims that held",
        "Device",
        "Date",
        "Commit",
    )
    return table(header, body)


def full_scale_claims() -> str:
    """The claims whose value the scale changes, with both values; failures are named."""
    body = [
        (
            link(row["chapter"]),
            row["statement"],
            row["bound"],
            row["small"] or "–",
            row["measured"],
            row["control"] or "–",
            "yes" if row["held"] == "True" else "**no**",
        )
        for row in rows("full_scale_claims")
    ]
    header = ("Chapter", "Claim", "Bound", "Stored", "Full scale", "Its control", "Held")
    return table(header, body)


def studies() -> str:
    """A fold for each study: mean and range over the seeds, for each variant and quantity."""
    runs: dict[str, list[dict[str, str]]] = {}
    for row in rows("studies"):
        runs.setdefault(row["study"], []).append(row)
    users = {name: study_users(name) for name in runs}
    return "\n\n".join(study(name, runs[name], users[name]) for name in sorted(runs))


def study_users(name: str) -> list[str]:
    call = f'study("{name}"'
    return [c for c in chapters() if any(call in cell.source for cell in notebook(c).cells)]


def study(name: str, runs: list[dict[str, str]], users: list[str]) -> str:
    values: dict[tuple[str, str], list[float]] = {}
    for row in runs:
        values.setdefault((row["quantity"], row["variant"]), []).append(float(row["value"]))
    body = [
        (quantity, variant, f"{sum(v) / len(v):.4g}", f"{min(v):.4g} to {max(v):.4g}")
        for (quantity, variant), v in values.items()
    ]
    shown_in = ", ".join(map(link, users)) or "no chapter"
    origin = f"Read by {shown_in}. Written by `{runs[0]['command']}`, commit {runs[0]['commit']}."
    shown = table(("Quantity", "Variant", "Mean", "Range over the seeds"), body)
    titles = ", ".join(map(title, users)) or "no chapter"
    return f":::{{dropdown}} {name.replace('_', ' ')} ({titles})\n{origin}\n\n{shown}\n:::"


TABLES = {
    "running-times": running_times,
    "versions": versions,
    "full-scale-runs": full_scale_runs,
    "full-scale-claims": full_scale_claims,
    "studies": studies,
}
COUNTS = {"claims": lambda: len(rows("ledger")), "chapters": lambda: len(chapters())}


class Table(SphinxDirective):
    """One of the tables above, by the name of the directive."""

    def run(self) -> list[nodes.Node]:
        for name in [*RESULTS.glob("*.csv"), ROOT / "constraints.txt", ROOT / "_toc.yml"]:
            self.env.note_dependency(str(name))
        return parsed(self, TABLES[self.name]())


class StoredClaim(SphinxDirective):
    """A claim as a chapter prints it, and what it measured: ``chapter: statement``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        chapter, _, statement = self.arguments[0].partition(": ")
        printed, record = stored_claim(chapter, statement)
        line = nodes.literal_block(printed, printed, language="none", classes=["output"])
        return [
            nodes.container("", line, classes=["cell_output"]),
            nodes.paragraph("", both_values(record)),
        ]


def both_values(record: dict) -> str:
    """What was measured, and what the broken twin gave."""
    return f"Measured: {record['measured']:.2g}. The broken twin: {record['control']:.2g}."


def stored_claim(chapter: str, statement: str) -> tuple[str, dict]:
    """The printed line of a claim and its record."""
    if statement not in (stored := stored_records(chapter)):
        raise ValueError(f"chapters/{chapter}.ipynb stores no claim {statement!r}")
    return stored[statement]


def stored_records(chapter: str) -> dict[str, tuple[str, dict]]:
    """Statement -> printed line and record, the last of equal statements."""
    return {
        output.metadata.gdl.claim.statement: (output.data["text/plain"], output.metadata.gdl.claim)
        for cell in notebook(chapter).cells
        for output in cell.get("outputs", [])
        if "claim" in output.get("metadata", {}).get("gdl", {})
    }


class Count(SphinxRole):
    """A number that a file holds."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [nodes.Text(str(COUNTS[self.text]()))], []


def parsed(directive: SphinxDirective, markdown: str) -> list[nodes.Node]:
    """The nodes of a piece of Markdown."""
    holder = nodes.container()
    lines = StringList(markdown.splitlines(), source=directive.get_source_info()[0])
    directive.state.nested_parse(lines, directive.content_offset, holder)
    return holder.children


def setup(app: Sphinx) -> dict:
    """Add the directives and the role."""
    for name in TABLES:
        app.add_directive(name, Table)
    app.add_directive("stored-claim", StoredClaim)
    app.add_role("count", Count())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
