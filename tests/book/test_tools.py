"""tools/nb.py and tools/bench_book.py: text and back, canonical form, what they refuse."""

from __future__ import annotations

import csv
import json

import pytest
from nbformat import v4

from tests.book import sample
from tools import bench_book
from tools import nb as nbtool

SOURCE = """import os
from IPython.display import publish_display_data
print("threads", os.environ["OMP_NUM_THREADS"])
publish_display_data({"text/plain": "holds"}, metadata={"gdl": {"claim": 1}, "other": 2})
print("a"); print("b", flush=True); print("c")
4"""


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of its own, with one chapter that has not run yet."""
    for name in ("chapters", "drafts"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(nbtool, "CHAPTERS", tmp_path / "chapters")
    monkeypatch.setattr(nbtool, "DRAFTS", tmp_path / "drafts")
    monkeypatch.setattr(bench_book, "TABLE", tmp_path / "chapters.csv")
    cells = [v4.new_markdown_cell("# Title\n\n**Time:** unknown"), v4.new_code_cell(SOURCE)]
    write(v4.new_notebook(cells=cells))
    return tmp_path


def path():
    return nbtool.CHAPTERS / "a.ipynb"


def write(nb):
    path().write_text(nbtool.dumps(nb), encoding="utf-8")


def stored():
    return nbtool.read(path())


def bytes_after(*command):
    assert nbtool.main(list(command)) == 0
    return path().read_bytes()


@pytest.mark.slow
def test_running_twice_changes_nothing(book):
    once = bytes_after("run")
    assert once == bytes_after("run", "a")
    assert nbtool.main(["check"]) == 0
    cell = stored().cells[1]
    assert [output.output_type for output in cell.outputs] == [
        "stream",
        "display_data",
        "stream",
        "execute_result",
    ]
    assert cell.outputs[0].text == "threads 1\n"
    assert cell.outputs[1].metadata == {"gdl": {"claim": 1}}
    assert cell.outputs[2].text == "a\nb\nc\n"
    assert cell.execution_count == 1


@pytest.mark.slow
def test_text_and_back(book):
    ran = bytes_after("run")
    assert nbtool.main(["text", "a"]) == 0
    assert bytes_after("build", "a") == ran
    draft = nbtool.DRAFTS / "a.md"
    draft.write_text(draft.read_text("utf-8").replace('print("c")', 'print("d")'), "utf-8")
    assert nbtool.main(["text", "a"]) == 1
    old = [cell.id for cell in stored().cells]
    edited = bytes_after("build", "a")
    assert stored().cells[1].outputs[2].text == "a\nb\nd\n"
    assert [cell.id for cell in stored().cells] == old
    assert bytes_after("build", "a") == edited


def test_new_cells_get_lasting_ids(book):
    assert nbtool.main(["text"]) == 0
    draft = nbtool.DRAFTS / "a.md"
    draft.write_text(draft.read_text("utf-8") + "\n```{code-cell}\nx = 1\n```\n", "utf-8")
    first, second = (nbtool.normalise(nbtool.from_draft("a")) for _ in range(2))
    assert [cell.id for cell in first.cells] == [cell.id for cell in second.cells]
    assert len({cell.id for cell in first.cells}) == 3
    assert [cell.id for cell in first.cells][:2] == [cell.id for cell in stored().cells]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ValueError('broken')", "ValueError: broken"),
        ("import sys; print('careful', file=sys.stderr)", "stderr: careful"),
        ("object()", "a memory address"),
        ("import os; print(os.path.join('/home', 'reader'))", "a path of this machine"),
        ("display({'image/svg+xml': '<svg/>'}, raw=True)", "SVG"),
    ],
)
def test_a_failure_leaves_the_chapter_alone(book, capsys, source, reason):
    before = path().read_bytes()
    nb = v4.new_notebook(cells=[v4.new_code_cell(source)])
    assert nbtool.store("a", nb) is False
    assert reason in capsys.readouterr().err
    assert path().read_bytes() == before


def test_canonical_form_drops_what_changes():
    nb = sample.chapter()
    before = nbtool.dumps(nb)
    nb.metadata["widgets"] = {"state": {}}
    nb.metadata.kernelspec.name = "conda-env"
    nb.cells[1].metadata["ExecuteTime"] = {"start": "now"}
    nb.cells[1].source += "\n"
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.execution_count += 7
    assert nbtool.dumps(nb) == before


def test_canonical_form_merges_streams():
    nb = v4.new_notebook(cells=[sample.code("f()", *map(sample.printed, "ab"))])
    assert [output.text for output in nbtool.normalise(nb).cells[0].outputs] == ["ab"]
    assert [output.text for output in nb.cells[0].outputs] == ["a", "b"]


def test_ids_are_filled_in_and_kept_apart():
    nb = v4.new_notebook(cells=[v4.new_markdown_cell("a"), v4.new_markdown_cell("b")])
    for cell in nb.cells:
        cell.id = "one"
    first, second = nbtool.normalise(nb), nbtool.normalise(nb)
    assert [cell.id for cell in first.cells] == [cell.id for cell in second.cells]
    assert first.cells[0].id == "one" != first.cells[1].id


def test_check_reports_a_chapter_that_is_not_canonical(book, capsys):
    loose = json.loads(path().read_text("utf-8"))
    path().write_text(json.dumps(loose), "utf-8")
    assert nbtool.main(["check"]) == 1
    assert "not in canonical form" in capsys.readouterr().err


def test_an_unknown_chapter_is_named(book, capsys):
    with pytest.raises(SystemExit):
        nbtool.main(["run", "missing"])
    assert "chapters/missing.ipynb" in capsys.readouterr().err


@pytest.mark.slow
def test_bench_book_writes_the_table_and_the_card(book):
    assert bench_book.main(["a"]) == 0
    with bench_book.TABLE.open(encoding="utf-8", newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert row["chapter"] == "a"
    assert float(row["peak_mb"]) > 10
    line = bench_book.time_line(float(row["seconds"]), float(row["peak_mb"]))
    assert stored().cells[0].source == f"# Title\n\n{line}"
    assert stored().cells[1].outputs == []


def test_bench_book_needs_one_card():
    nb = v4.new_notebook(cells=[v4.new_markdown_cell("# Title")])
    with pytest.raises(ValueError, match="expected one card"):
        bench_book.write_line(nb, "**Time:** about 1 s")
