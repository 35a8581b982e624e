"""Every public name of the package is on one page, and says which chapter derives or uses it."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.book.chapters import CHAPTERS, ROOT, prose
from tests.book.test_reached import code, unreached_in_package
from tools import nb as nbtool

PAGES = sorted((ROOT / "chapters" / "api").glob("*.md"))
MODULE = re.compile(r"^\.\. automodule:: (\S+)$", re.MULTILINE)
STATED = re.compile(r"Chapters?:\s+(all of them|``\w+``(?:,?\s+(?:and\s+)?``\w+``)*)")
# Rooms that carry another name than the chapter that derives them.
OWN_CHAPTER = {"representations": "symmetry", "equivariance": "one_equation"}
SHARED = {"chapter", "claims", "data", "geometry", "plot", "results", "training"}


def rooms() -> list[str]:
    """The public modules and folders of the package."""
    names = [path.parent.name for path in (ROOT / "gdl").glob("*/__init__.py")]
    names += [path.stem for path in (ROOT / "gdl").glob("*.py")]
    return sorted(name for name in names if not name.startswith("_"))


@cache
def public(room: str) -> dict[str, object]:
    """What a room hands on: its ``__all__``, or what it defines."""
    module = importlib.import_module(f"gdl.{room}")
    own = [n for n, o in vars(module).items() if getattr(o, "__module__", "") == module.__name__]
    names = getattr(module, "__all__", own)
    return {name: getattr(module, name) for name in names if not name.startswith("_")}


def page_problems(pages: dict[str, str], wanted: list[str]) -> list[str]:
    """Rooms without a page or with several, pages that the index leaves out, unlinked chapters."""
    shown = Counter(name for text in pages.values() for name in MODULE.findall(text))
    found = [
        f"gdl.{room} is on {shown[f'gdl.{room}']} pages"
        for room in wanted
        if shown[f"gdl.{room}"] != 1
    ]
    found += [f"{name} is no room" for name in shown if name.removeprefix("gdl.") not in wanted]
    found += [
        f"the index leaves out {page}"
        for page in pages
        if page != "index" and f"({page}.md)" not in pages["index"]
    ]
    for room in set(wanted) - SHARED:
        if f"(../{OWN_CHAPTER.get(room, room)}.ipynb)" not in pages.get(room, ""):
            found.append(f"the page of {room} does not link its chapter")
    return found


def stated(thing: object) -> list[str]:
    """The chapters that a docstring names."""
    match = STATED.search(inspect.getdoc(thing) or "")
    return re.findall(r"all of them|(?<=``)\w+(?=``)", match[1]) if match else []


def chapter_problems(room: str, name: str, thing: object, uses: dict[str, set[str]]) -> list[str]:
    """An object that names no chapter, one that does not exist, or only ones that never use it."""
    said = stated(thing)
    if not said:
        return [f"gdl.{room}.{name} names no chapter"]
    if said == ["all of them"]:
        return []
    found = [f"gdl.{room}.{name}: there is no chapter {s}" for s in said if s not in uses]
    dotted = f"{thing.__module__}.{thing.__qualname__}"
    users = [chapter for chapter in said if dotted in uses.get(chapter, ())]
    idle = set(said) & set(uses) - set(users) - {OWN_CHAPTER.get(room, room)}
    found += [f"gdl.{room}.{name}: {chapter} does not use it" for chapter in sorted(idle)]
    return found if users or found else [f"gdl.{room}.{name}: no named chapter uses it"]


@cache
def uses() -> dict[str, set[str]]:
    """The names of the package that the code of each chapter comes to."""
    unreached = unreached_in_package()
    every = set(unreached([]))
    reached = {}
    for path in CHAPTERS:
        reached[path.stem] = every - set(unreached([code(path)]))
    return reached


def test_every_room_is_on_one_page():
    pages = {path.stem: path.read_text(encoding="utf-8") for path in PAGES}
    assert page_problems(pages, rooms()) == []


@pytest.mark.slow
@pytest.mark.parametrize("room", rooms())
def test_public_names_say_their_chapter(room):
    things = {n: o for n, o in public(room).items() if inspect.isclass(o) or inspect.isfunction(o)}
    problems = [p for n, o in things.items() for p in chapter_problems(room, n, o, uses())]
    assert problems == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_links_its_page(path: Path):
    room = {chapter: room for room, chapter in OWN_CHAPTER.items()}.get(path.stem, path.stem)
    assert f"](api/{room}.md)" in prose(nbtool.read(path))


PAGE = "Derived in [A](../a.ipynb).\n\n.. automodule:: gdl.a\n"
GOOD = {"index": "[a](a.md)", "a": PAGE}


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        ({"index": "", "a": PAGE}, "the index leaves out a"),
        ({"index": "[a](a.md)", "a": "[A](../a.ipynb)"}, "gdl.a is on 0 pages"),
        (GOOD | {"b": PAGE}, "gdl.a is on 2 pages"),
        (GOOD | {"b": ".. automodule:: gdl.b\n"}, "gdl.b is no room"),
        (GOOD | {"a": ".. automodule:: gdl.a\n"}, "the page of a does not link its chapter"),
    ],
)
def test_a_gap_in_the_pages_is_found(pages, problem):
    assert page_problems(GOOD, ["a"]) == []
    assert problem in page_problems(pages, ["a"])


@pytest.mark.parametrize(
    ("doc", "problem"),
    [
        ("Without.", "gdl.a.f names no chapter"),
        ("Chapter: ``z``.", "gdl.a.f: there is no chapter z"),
        ("Chapters: ``a``, ``b``.", "gdl.a.f: b does not use it"),
        ("Chapter: ``c``.", "gdl.a.f: c does not use it"),
    ],
)
def test_a_wrong_chapter_is_found(doc, problem):
    def f():
        pass

    reached = {"a": {f"{f.__module__}.{f.__qualname__}"}, "b": set(), "c": set()}
    for good in ("Chapter: ``a``.", "Chapters: all of them.", "Law tested: no. Chapter:\n``a``."):
        f.__doc__ = good
        assert chapter_problems("a", "f", f, reached) == []
    f.__doc__ = doc
    assert chapter_problems("a", "f", f, reached) == [problem]


def test_a_chapter_that_only_derives_is_not_enough():
    def f():
        """Chapter: ``a``."""

    assert chapter_problems("a", "f", f, {"a": set()}) == ["gdl.a.f: no named chapter uses it"]
