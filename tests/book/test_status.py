"""The status page and what fills it: tables of every chapter, runs at full scale."""

from __future__ import annotations

import csv
import re
from dataclasses import astuple
from types import SimpleNamespace

import pytest
from nbformat import NotebookNode, v4

from _ext import gdl_tables
from gdl import claims
from tests.book import sample
from tests.book.chapters import CHAPTERS, ROOT, project
from tools import bench_book, full_scale
from tools import nb as nbtool

STATUS = (ROOT / "chapters" / "status.md").read_text(encoding="utf-8")
NAMES = [path.stem for path in CHAPTERS]


# --- the tables ---------------------------------------------------------------------------------


def missing(table: str, names: list[str]) -> list[str]:
    return [name for name in names if f"](/chapters/{name}.ipynb)" not in table]


def test_every_chapter_has_a_running_time():
    assert missing(gdl_tables.running_times(), NAMES) == []
    assert missing(gdl_tables.running_times(), ["tori"]) == ["tori"]


def test_the_page_shows_every_table():
    assert set(re.findall(r"^:::\{([\w-]+)\}$", STATUS, re.MULTILINE)) == set(gdl_tables.TABLES)


def test_no_version_and_no_measurement_is_typed():
    assert not re.search(r"\d+\.\d|\d+ (s|MB|GB)\b", STATUS)


def test_every_requirement_has_its_tested_version():
    table = gdl_tables.versions()
    for name in ("torch", "numpy", "scipy", "e3nn", "torch-geometric", "jupyter-book"):
        assert re.search(rf"^\| {name} \| [><=.,\d]+ \| \d[\w.]*", table, re.MULTILINE), name
    lines = len(project()["project"]["dependencies"]) + len(
        project()["project"]["optional-dependencies"]["book"]
    )
    assert table.count("\n") == lines + 2


def test_every_study_is_shown_with_mean_and_range():
    table = gdl_tables.studies()
    studies = {row["study"] for row in gdl_tables.rows("studies")}
    assert table.count(":::{dropdown}") == len(studies)
    runs = [
        {
            "study": "a",
            "variant": "b|c",
            "quantity": "q",
            "value": value,
            "command": "python -m studies.a",
            "commit": "0a1b2c3",
        }
        for value in "123"
    ]
    fold = gdl_tables.study("a", runs, ["grids"])
    assert "| q | b\\|c | 2 | 1 to 3 |" in fold
    assert fold.startswith(":::{dropdown} a (Grids)\nRead by [Grids](/chapters/grids.ipynb). ")


def test_a_study_names_the_chapters_that_read_it():
    assert gdl_tables.study_users("rolled_digits") == ["one_equation"]
    assert gdl_tables.study_users("no_such_study") == []


def test_runs_at_full_scale_are_of_chapters_and_add_up():
    runs = gdl_tables.rows("full_scale")
    assert {row["chapter"] for row in runs} <= set(NAMES)
    failed = [row for row in gdl_tables.rows("full_scale_claims") if row["held"] == "False"]
    for row in runs:
        assert int(row["failed"]) == sum(claim["chapter"] == row["chapter"] for claim in failed)
        assert re.fullmatch(r"[0-9a-f]{7,}", row["commit"]), "a run of a changed tree"
    assert missing(gdl_tables.full_scale_runs(), [row["chapter"] for row in runs]) == []


def test_what_the_tables_say(monkeypatch):
    claim = {
        "chapter": "grids",
        "statement": "it grows",
        "bound": "< 1",
        "measured": "2",
        "control": "",
        "small": "0.5",
        "held": "False",
    }
    monkeypatch.setattr(gdl_tables, "rows", lambda name: [claim, claim | {"held": "True"}])
    failed, held = gdl_tables.full_scale_claims().splitlines()[2:]
    assert failed.endswith("| it grows | < 1 | 0.5 | 2 | – | **no** |")
    assert held.endswith("| it grows | < 1 | 0.5 | 2 | – | yes |")
    run = dict.fromkeys(full_scale.Run.__dataclass_fields__, "x")
    run |= {"chapter": "grids", "held": "3", "failed": "1"}
    monkeypatch.setattr(gdl_tables, "rows", lambda name: [run])
    assert "| 3 of 4 |" in gdl_tables.full_scale_runs()


SUM = "All of them, one after the other:"
AIM = f"Chapters beyond the aim of {bench_book.AIM_SECONDS} seconds:"
NAMED = {name: f"[{title}](/chapters/{name}.ipynb)" for name, title in
         {"grids": "Grids", "graphs": "Sets and graphs"}.items()}  # fmt: skip
ALL = bench_book.LIMIT_BOOK_SECONDS


@pytest.mark.parametrize(
    ("seconds", "said", "beyond"),
    [
        ((60, 0), "1.0 minutes, within the limit of 20.", "none."),
        ((61, 30), "1.5 minutes, within the limit of 20.", f"{NAMED['grids']}."),
        ((61, 119), "3.0 minutes, within", f"{NAMED['grids']}, {NAMED['graphs']}."),
        ((1, ALL - 1), "20.0 minutes, within the limit of 20.", f"{NAMED['graphs']}."),
        ((1, ALL), "20.0 minutes, **beyond** the limit of 20.", f"{NAMED['graphs']}."),
    ],
)
def test_the_page_says_which_times_are_too_long(seconds, said, beyond, monkeypatch):
    row = dict.fromkeys(bench_book.COLUMNS, "x")
    times = dict(zip(NAMED, map(str, seconds), strict=True))
    measured = [row | {"chapter": name, "seconds": taken} for name, taken in times.items()]
    monkeypatch.setattr(gdl_tables, "rows", lambda name: measured)
    *_, total, named = gdl_tables.running_times().splitlines()
    assert total.startswith(f"{SUM} {said}")
    assert named == f"{AIM} {beyond}"


def test_a_running_time_stands_under_its_column(monkeypatch):
    row = dict(zip(bench_book.COLUMNS, ("grids", "2", "3", "5", "c", "p", "t", "d"), strict=True))
    monkeypatch.setattr(gdl_tables, "rows", lambda name: [row])
    header, _, line, *_ = gdl_tables.running_times().splitlines()
    assert header == "| Chapter | Seconds | Peak MB | Runs | Python | PyTorch | Measured on |"
    assert line == f"| {NAMED['grids']} | 2 | 3 | 5 | p | t | d |"


def test_counts():
    assert gdl_tables.COUNTS["chapters"]() == len(NAMES)
    assert gdl_tables.COUNTS["claims"]() == len(gdl_tables.rows("ledger")) >= 150


# --- runs at full scale -------------------------------------------------------------------------

IMPORT = "from gdl.claims import claim"
SCALE = 'SCALE = "small"  # "full" counts to nine'
CLAIMS = """n = 9 if SCALE == "full" else 4
claim("n is odd", n % 2, equals=1, control=2)
claim("n is four", n, within=(4, 4), oracle=4)
claim("it grows", n, above=3, control=1)
claim("it is exact", 1e-15 * n, below=1e-12, control=1.0)"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of its own; returns a function that stores a chapter in it."""
    for name in ("CHAPTERS", "ROOT"):
        monkeypatch.setattr(nbtool, name, tmp_path)
    for name in ("TABLE", "CLAIMS"):
        monkeypatch.setattr(full_scale, name, tmp_path / f"{name}.csv")
    monkeypatch.setattr(full_scale, "commit", lambda: "0a1b2c3")
    monkeypatch.delenv("GDL_MAX_STEPS", raising=False)

    def write(*sources: str, name: str = "a") -> None:
        nb = v4.new_notebook(cells=[sample.code(source) for source in (IMPORT, SCALE, *sources)])
        nb.cells[-1].outputs = [stored("it grows", "> 3", 4.0), stored("n is odd", "= 1", 1)]
        (tmp_path / f"{name}.ipynb").write_text(nbtool.dumps(nb), encoding="utf-8")

    return write


def stored(statement: str, bound: str, measured: float) -> NotebookNode:
    record = {"statement": statement, "bound": bound, "measured": measured}
    data = {"text/plain": statement}
    return v4.new_output("display_data", data, metadata={"gdl": {"claim": record}})


def read(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_a_run_records_what_held_and_what_failed(book):
    book(CLAIMS)
    full_scale.main(["a"])
    (run,) = read(full_scale.TABLE)
    assert run["outcome"] == "complete" and run["full_means"] == "counts to nine"
    assert (run["held"], run["failed"], run["commit"]) == ("3", "1", "0a1b2c3")
    failed, grown = read(full_scale.CLAIMS)
    assert failed == {
        "chapter": "a",
        "statement": "n is four",
        "bound": "in [4, 4]",
        "measured": "9",
        "control": "",
        "small": "",
        "held": "False",
    }
    assert (grown["statement"], grown["small"], grown["measured"], grown["control"]) == (
        "it grows",
        "4",
        "9",
        "1",
    )
    assert claims.claim.__module__ == "gdl.claims"


def test_a_claim_that_fails_once_has_failed(book):
    book('for k in (1, 5, 1):\n    claim("small", k, below=3, control=9)')
    run, (record,) = full_scale.full_scale("a", 10)
    assert (run.held, run.failed, record.held, record.measured) == (0, 1, False, "5")


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("raise ValueError('no MUTAG\\nhere')", "ended in code cell 3 of 4, ValueError: no MUTAG"),
        ("while True: pass", "out of time in code cell 3 of 4, after 1 s"),
    ],
)
def test_a_run_that_does_not_finish_is_recorded_as_such(book, source, outcome):
    book(source, CLAIMS)
    run, records = full_scale.full_scale("a", 1)
    assert run.outcome == outcome and records == [] and (run.held, run.failed) == (0, 0)


def test_a_second_run_replaces_the_first(book):
    for name in ("b", "a"):
        book(CLAIMS, name=name)
    full_scale.main(["b", "a"])
    book('claim("one", 1, equals=1, oracle=1)', name="b")
    full_scale.main(["b"])
    assert [(run["chapter"], run["held"]) for run in read(full_scale.TABLE)] == [
        ("a", "3"),
        ("b", "1"),
    ]
    assert {row["chapter"] for row in read(full_scale.CLAIMS)} == {"a", "b"}


def test_a_shortened_run_and_an_unknown_chapter_are_refused(book, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        full_scale.main(["missing"])
    assert "no such chapter: missing" in capsys.readouterr().err
    monkeypatch.setenv("GDL_MAX_STEPS", "2")
    with pytest.raises(SystemExit):
        full_scale.main(["missing"])
    assert "GDL_MAX_STEPS is set" in capsys.readouterr().err


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_chapter_says_what_full_means(path):
    assert len(full_scale.meaning(nbtool.read(path))) > 10


@pytest.mark.parametrize(("changes", "shown"), [("", "0a1b2c3"), (" M gdl/x.py", "0a1b2c3+dirty")])
def test_a_run_of_a_changed_tree_is_marked(changes, shown, monkeypatch):
    answers = {"rev-parse": "0a1b2c3\n", "status": changes}

    def run(command, **_):
        return SimpleNamespace(stdout=answers[command[1]])

    monkeypatch.setattr(full_scale.subprocess, "run", run)
    assert full_scale.commit() == shown


def test_rows_have_the_columns_of_the_tables(monkeypatch):
    monkeypatch.setattr(full_scale, "commit", lambda: "0a1b2c3")
    run = full_scale.Run("a", "b", "complete", 1, 2, 3, *full_scale.origin())
    assert len(astuple(run)) == len(gdl_tables.rows("full_scale")[0])
