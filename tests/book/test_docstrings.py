"""Every public function and class of the package explains itself by an example that runs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.book.chapters import ROOT

MODULES = sorted(path for path in (ROOT / "gdl").rglob("*.py") if path.name != "__init__.py")


def docstring_problems(source: str) -> list[str]:
    """Public names without a docstring or a doctest; a class may show its use in a method."""
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else ["the module has no docstring"]
    for node in _public(tree):
        texts = [ast.get_docstring(node) or ""]
        if not texts[0]:
            found.append(f"{node.name} has no docstring")
        if isinstance(node, ast.ClassDef):
            methods = list(_public(node))
            found += [f"{node.name}.{m.name} has no docstring" for m in methods if _bare(m)]
            texts += [ast.get_docstring(method) or "" for method in methods]
        if ">>> " not in "".join(texts):
            found.append(f"{node.name} has no doctest")
    return found


def _public(parent: ast.AST) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in ast.iter_child_nodes(parent):
        named = isinstance(node, (ast.FunctionDef, ast.ClassDef))
        if named and not node.name.startswith("_"):
            yield node


def _bare(method: ast.FunctionDef | ast.ClassDef) -> bool:
    """Without a docstring; forward is described by its class, an overload by its function."""
    return method.name != "forward" and not ast.get_docstring(method)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_are_documented(path):
    if not path.name.startswith("_"):
        assert docstring_problems(path.read_text(encoding="utf-8")) == []


CLASS = '"""M."""\nclass C:\n    """C."""\n'


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1", "the module has no docstring"),
        ('"""M."""\ndef f():\n    return 1', "f has no docstring"),
        ('"""M."""\ndef f():\n    """F."""', "f has no doctest"),
        (CLASS, "C has no doctest"),
        (CLASS + "    def g(self):\n        return 1", "C.g has no docstring"),
    ],
)
def test_a_bare_name_is_found(source, problem):
    assert problem in docstring_problems(source)


def test_private_names_need_no_example():
    assert docstring_problems('"""M."""\ndef _f():\n    return 1') == []
