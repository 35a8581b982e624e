"""A chapter, or a book, that takes too long or too much memory is red, stored and when measured."""

from __future__ import annotations

import pytest
from nbformat import v4

from tests.book.chapters import measured_times
from tools import bench_book
from tools import nb as nbtool
from tools.bench_book import AIM_SECONDS, LIMIT_BOOK_SECONDS, LIMIT_MB, LIMIT_SECONDS


def row(seconds: float, peak_mb: float = 1, name: str = "a") -> dict[str, str]:
    """What one run gives."""
    measured = {"chapter": name, "seconds": str(seconds), "peak_mb": str(peak_mb)}
    return dict.fromkeys(bench_book.COLUMNS, "") | measured


@pytest.fixture
def book(tmp_path, monkeypatch):
    """A book of its own; returns a function that measures it, given what the runs give."""
    monkeypatch.setattr(nbtool, "CHAPTERS", tmp_path)
    monkeypatch.setattr(bench_book, "TABLE", tmp_path / "chapters.csv")

    def measured(runs: list[dict[str, str]], *arguments: str) -> int:
        for name in {run["chapter"] for run in runs}:
            nb = v4.new_notebook(cells=[v4.new_markdown_cell("# Title\n\n**Time:** unknown")])
            (tmp_path / f"{name}.ipynb").write_text(nbtool.dumps(nb), encoding="utf-8")
        left = iter(runs)
        monkeypatch.setattr(bench_book, "measure", lambda name: next(left))
        status = bench_book.main(list(arguments))
        assert list(left) == [], "a run that was not asked for"
        return status

    return measured


# --- what is stored -----------------------------------------------------------------------------


def test_nothing_stored_takes_too_much():
    rows = measured_times().values()
    assert rows
    assert [sentence for measured in rows for sentence in bench_book.excess(measured)] == []
    assert bench_book.book_excess(rows) == []


def test_what_a_reader_was_promised():
    promised = (AIM_SECONDS, LIMIT_SECONDS, LIMIT_MB, LIMIT_BOOK_SECONDS)
    assert promised == (60, 120, 1500, 20 * 60)


def test_the_stored_table_has_its_columns():
    for measured in measured_times().values():
        assert tuple(measured) == bench_book.COLUMNS
        assert int(measured["runs"]) >= 1


# --- what is said when measured -----------------------------------------------------------------

SLOW = f"a takes {LIMIT_SECONDS + 1} s, and at most {LIMIT_SECONDS} are allowed: shorten it."
LARGE = f"a takes {LIMIT_MB + 1} MB of memory, and at most {LIMIT_MB} are allowed: shorten it."
AIM = f"a takes {AIM_SECONDS + 1} s, and the aim is {AIM_SECONDS}."
LATE = f"a takes {LIMIT_SECONDS} s, and the aim is {AIM_SECONDS}."
CASES = {
    "at the aim": (row(AIM_SECONDS, LIMIT_MB), [], []),
    "beyond the aim": (row(AIM_SECONDS + 1), [AIM], []),
    "at the limit": (row(LIMIT_SECONDS), [LATE], []),
    "beyond the limit": (row(LIMIT_SECONDS + 1), [], [SLOW]),
    "large": (row(1, LIMIT_MB + 1), [], [LARGE]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_chapter_that_takes_too_much_is_found(case, book, capsys):
    measured, named, wrong = CASES[case]
    assert book([measured], "a") == len(wrong)
    said = capsys.readouterr()
    card, *sentences = said.out.splitlines()
    assert card.startswith("a: **Time:** about")
    assert sentences == named
    assert said.err.splitlines() == wrong


BOOK = (
    f"All chapters together take {LIMIT_BOOK_SECONDS + 1} s, and at most {LIMIT_BOOK_SECONDS} are "
    "allowed: shorten a chapter."
)


@pytest.mark.parametrize(("beyond", "sentences"), [(0, []), (1, [BOOK])])
def test_a_book_that_takes_too_long_is_found(beyond, sentences, book, capsys):
    chapters = [row(100, name=f"c{k:02}") for k in range(LIMIT_BOOK_SECONDS // 100)]
    chapters[-1]["seconds"] = str(100 + beyond)
    assert book(chapters) == len(sentences)
    assert capsys.readouterr().err.splitlines() == sentences


def test_a_book_is_judged_by_the_whole_table(book, capsys):
    """Also when one chapter alone is measured anew."""
    assert book([row(LIMIT_BOOK_SECONDS, name="b"), row(0)], "b", "a") == 1
    assert "All chapters" not in capsys.readouterr().err
    assert book([row(1)], "a") == 1
    assert capsys.readouterr().err.splitlines() == [BOOK]


def test_a_chapter_that_is_gone_counts_no_more(book, tmp_path, capsys):
    book([row(LIMIT_BOOK_SECONDS, name="b"), row(1)], "b", "a")
    assert BOOK in capsys.readouterr().err
    (tmp_path / "b.ipynb").unlink()
    assert book([row(1)]) == 0


# --- several runs -------------------------------------------------------------------------------


def stored() -> dict[str, str]:
    (measured,) = bench_book.read_table().values()
    return measured


def test_of_several_runs_the_median_and_the_largest_peak_are_kept(book, tmp_path):
    assert book([row(50, 700), row(200, 600), row(40, 900)], "--repeats", "3", "a") == 0
    assert (stored()["seconds"], stored()["peak_mb"], stored()["runs"]) == ("50", "900", "3")
    card = nbtool.read(tmp_path / "a.ipynb").cells[0].source
    assert card.endswith(bench_book.time_line(50, 900))


def test_without_repeats_a_chapter_runs_once(book):
    book([row(50, 700)])
    assert (stored()["seconds"], stored()["peak_mb"], stored()["runs"]) == ("50", "700", "1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--repeats", "0"), "--repeats must be at least 1, not 0"),
        (("a", "missing"), "no such chapter: missing"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, said, book, capsys):
    with pytest.raises(SystemExit):
        book([row(1)], *arguments)
    assert said in capsys.readouterr().err
