"""References.bib and the lists at the ends of the chapters name the same works."""

from __future__ import annotations

import csv
import re
import unicodedata

import pytest

from tests.book.chapters import CHAPTERS, ROOT, prose
from tools import nb as nbtool

BIB = ROOT / "references.bib"
LITERATURE = ROOT / "gdl" / "results" / "literature.csv"
ENTRY = re.compile(r"^@\w+\{([^,\s]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
ARXIV = re.compile(r"arxiv\.org/abs/([\w.\-/]+?\d)(?:v\d+)?[)\]]")
ACCENTS = str.maketrans({"ø": "o", "Ø": "O", "ß": "ss", "ł": "l", "ı": "i"})


def plain(title: str) -> str:
    """A title as bare letters and digits, whatever the markup, accents and case."""
    without_commands = re.sub(r"\\[a-zA-Z]+\b|[$*`]", "", title)
    letters = unicodedata.normalize("NFD", without_commands.translate(ACCENTS))
    return re.sub(r"[^a-z0-9]", "", letters.lower())


def entries(bib: str) -> dict[str, dict[str, str]]:
    """The fields of each entry, by its key."""
    found = {}
    for key, body in ENTRY.findall(bib):
        fields = re.findall(r"^\s+(\w+)\s*=\s*\{(.*?)\},?$", body, re.MULTILINE | re.DOTALL)
        found[key] = {name: re.sub(r"\s+", " ", value) for name, value in fields}
    return found


def bullets(text: str) -> list[tuple[str, str]]:
    """Title and arXiv number, or nothing, of each work in a chapter's list."""
    listed = text.rpartition("\n## References\n")[2]
    works = [line for line in listed.split("\n") if line.startswith("- ")]
    titles = [re.search(r"\*(.+?)\*", work) for work in works]
    numbers = [ARXIV.search(work) for work in works]
    return [
        (title[1] if title else work, number[1] if number else "")
        for work, title, number in zip(works, titles, numbers, strict=True)
    ]


def match(work: tuple[str, str], bib: dict[str, dict[str, str]]) -> list[str]:
    """The keys of the entries with that number, else that title, else a title that begins so."""
    title, number = plain(work[0]), work[1]
    titles = {key: plain(fields["title"]) for key, fields in bib.items()}
    by_number = [key for key, fields in bib.items() if number and fields.get("eprint") == number]
    same = [key for key, there in titles.items() if there == title]
    longer = [k for k, there in titles.items() if len(title) > 9 and there.startswith(title)]
    return by_number or same or longer


def named(fields: dict[str, str], text: str) -> bool:
    """Whether a text names the first author and the year in one breath."""
    surname = re.split(r",| and ", fields["author"])[0]
    year = fields.get("year", "")
    first = re.sub(r"\\\W?|[{}]", "", surname).split()[-1]
    return bool(re.search(rf"\b{re.escape(first)}\b[^.;]{{0,60}}\b{year}\b", text))


def work_problems(work: tuple[str, str], bib: dict[str, dict[str, str]]) -> list[str]:
    """A work that is not in the bibliography, comes twice, or has another number there."""
    keys = match(work, bib)
    if len(keys) != 1:
        return [f"{work[0]!r} has the entries {keys}"]
    there = bib[keys[0]].get("eprint", "")
    if work[1] != there:
        return [
            f"{keys[0]}: arXiv {work[1] or 'none'} in the chapter, {there or 'none'} in the file"
        ]
    return []


def cited_by_key() -> set[str]:
    """Keys that pages, the package or the table of published numbers name."""
    pages = [*(ROOT / "chapters").glob("*.md"), ROOT / "intro.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    texts += [prose(nbtool.read(path)) for path in CHAPTERS]
    keys = {
        k
        for text in texts
        for names in re.findall(r"\{cite[^}]*\}`([^`]+)`", text)
        for k in re.split(r"\s*,\s*", names)
    }
    with LITERATURE.open(encoding="utf-8", newline="") as lines:
        return keys | {row["key"] for row in csv.DictReader(lines)}


@pytest.fixture(scope="module")
def bib():
    return entries(BIB.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_and_bibliography_agree(path, bib):
    works = bullets(prose(nbtool.read(path)))
    assert works
    assert [problem for work in works for problem in work_problems(work, bib)] == []


def test_no_citation_dangles(bib):
    assert cited_by_key() - set(bib) == set()


def test_no_entry_is_unused(bib):
    """Each is in a chapter's list, cited by its key, or named in the package as (Author year)."""
    chapters = [prose(nbtool.read(path)) for path in CHAPTERS]
    package = [path.read_text(encoding="utf-8") for path in (ROOT / "gdl").rglob("*.py")]
    listed = {key for text in chapters for work in bullets(text) for key in match(work, bib)}
    rest = set(bib) - listed - cited_by_key()
    assert sorted(key for key in rest if not named(bib[key], "\n".join(package + chapters))) == []


def test_keys_are_in_order_and_once(bib):
    keys = [key for key, _ in ENTRY.findall(BIB.read_text(encoding="utf-8"))]
    assert keys == sorted(set(keys))


def test_the_page_shows_every_entry():
    page = (ROOT / "chapters" / "bibliography.md").read_text(encoding="utf-8")
    assert ":all:" in page


SAMPLE = "@article{lee2020graphs,\n  title = {Gr{\\'a}phs of {Lie}},\n  eprint = {2001.00001},\n}\n"


@pytest.mark.parametrize(
    "line",
    [
        "- A. Lee (2020). *Gráphs of Lie.* [arXiv:2001.00002](https://arxiv.org/abs/2001.00002).",
        "- A. Lee (2020). *Gráphs of Lie.* Journal.",
        "- A. Lee (2020). *Other graphs.* Journal.",
    ],
)
def test_a_disagreement_is_found(line):
    good = "- A. Lee (2020). *Gráphs of Lie.* [arXiv:2001.00001](https://arxiv.org/abs/2001.00001)."
    (work,) = bullets("Text.\n## References\n\n" + good)
    assert work_problems(work, entries(SAMPLE)) == []
    (work,) = bullets("Text.\n## References\n\n" + line)
    assert work_problems(work, entries(SAMPLE)) != []
