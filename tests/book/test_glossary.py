"""The glossary: in order, each term with its chapter, and every link to a term ends at one."""

from __future__ import annotations

import re

import pytest

from tests.book.chapters import CHAPTERS, ROOT, prose
from tools import nb as nbtool

GLOSSARY = ROOT / "chapters" / "glossary.md"
ENTRY = re.compile(r"^\*\*(.+)\*\*\n  (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?:\w+/)?glossary\.md#([^)]*)\)")
FEWEST = 3


def anchor(term: str) -> str:
    """The target that Sphinx gives to a term."""
    return "term-" + re.sub(r"[^a-zA-Z0-9._]+", "-", term).strip("-")


def entry_problems(text: str) -> list[str]:
    """Terms twice or out of order, not said in one to three sentences, or without a chapter."""
    entries = ENTRY.findall(text)
    names = [term.lower() for term, _ in entries]
    found = [f"{name} comes twice" for name in sorted(set(names)) if names.count(name) > 1]
    found += [f"{b} stands after {a}" for a, b in zip(names, names[1:], strict=False) if b < a]
    for term, said in entries:
        definition = said.partition(" See [")[0]
        if not 1 <= len(re.findall(r"[.?!](?= |$)", definition)) <= 3:
            found.append(f"{term} is not said in one to three sentences")
        if not re.search(r"\]\(\w+\.ipynb\)|\]\(glossary\.md#", said):
            found.append(f"{term} names no chapter")
    return found


def link_problems(text: str, glossary: str) -> list[str]:
    """Links to no term, and terms that a chapter links to more than once."""
    anchors = {anchor(term) for term, _ in ENTRY.findall(glossary)}
    used = LINK.findall(text)
    lost = [f"no term {target}" for target in used if target not in anchors]
    return lost + [f"{target} is linked twice" for target in set(used) if used.count(target) > 1]


def test_entries_are_in_order_and_name_their_chapters():
    text = GLOSSARY.read_text(encoding="utf-8")
    assert 80 <= len(ENTRY.findall(text)) <= 160
    assert entry_problems(text) == []


def test_entries_refer_to_one_another_by_links_that_end():
    text = GLOSSARY.read_text(encoding="utf-8")
    anchors = {anchor(term) for term, _ in ENTRY.findall(text)}
    assert set(LINK.findall(text)) <= anchors


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_links_its_terms(path):
    text, glossary = prose(nbtool.read(path)), GLOSSARY.read_text(encoding="utf-8")
    assert link_problems(text, glossary) == []
    assert len(LINK.findall(text)) >= FEWEST


SAMPLE = "**gate**\n  A number. See [A](a.ipynb).\n\n**group**\n  A set. See [A](a.ipynb).\n"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("**gate**", "**group**", "group comes twice"),
        ("**gate**", "**warp**", "group stands after warp"),
        ("A number.", "A number", "gate is not said in one to three sentences"),
        ("A set.", "A. B. C. D.", "group is not said in one to three sentences"),
        (" A number. See [A](a.ipynb).", " A number.", "gate names no chapter"),
    ],
)
def test_a_fault_in_an_entry_is_found(old, new, problem):
    assert entry_problems(SAMPLE) == []
    assert problem in entry_problems(SAMPLE.replace(old, new))


def test_a_fault_in_a_link_is_found():
    good = "A [gate](glossary.md#term-gate) and a [group](glossary.md#term-group)."
    assert link_problems(good, SAMPLE) == []
    assert link_problems(good.replace("-gate", "-Gate"), SAMPLE) == ["no term term-Gate"]
    assert link_problems(good + good, SAMPLE) != []
