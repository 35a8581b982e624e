"""No dead code: every public name of the package serves a chapter, directly or through others.

Names are followed as Python binds them, through imports and what the rooms hand on: a definition
reaches every name that its text mentions, decorators, annotations and defaults included.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.book.chapters import CHAPTERS, ROOT

# What torch or scikit-learn call by name.
CALLED_BY_OTHERS = {"forward", "backward", "jvp", "vmap", "extra_repr", "reset_parameters"}
CALLED_BY_OTHERS |= {"fit_predict", "set_params"}
# What a reader will ask an object that is not a chapter's question, and a test's answer.
FOR_READERS = {
    "ChebConv.response",  # its multipliers, for a plot
    "CircularConv.to_conv",  # the same layer without us, as GroupConv2d.to_conv2d
    "LinearSystem.controllability",  # the twin of observability
    "Mesh.is_closed",
    "Mesh.is_manifold",
    "StateSpace.forgetting_times",  # what training made of its memory
}
DEFINITION = (ast.FunctionDef, ast.ClassDef)


@cache
def package() -> dict[str, ast.Module]:
    """The modules of gdl by their dotted names."""
    paths = sorted((ROOT / "gdl").rglob("*.py"))
    return {_dotted(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@cache
def code(path: Path) -> ast.Module:
    """The code of a chapter; read as JSON, since to validate all notebooks takes long."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return ast.parse("\n".join(sources))


def chapters() -> tuple[ast.Module, ...]:
    return tuple(map(code, CHAPTERS))


@cache
def programs() -> tuple[ast.Module, ...]:
    """Studies and benchmarks."""
    folders = (ROOT / "studies", ROOT / "benchmarks")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return tuple(ast.parse(path.read_text(encoding="utf-8")) for path in paths)


@cache
def unreached_in_package() -> Callable[[Iterable[ast.Module]], list[str]]:
    return follower(package())


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def bindings(tree: ast.Module, module: str = "") -> dict[str, str]:
    """What the names of a module stand for: imported, at any depth, or defined at its top."""
    bound = {name: f"{module}.{name}" for name, _ in definitions(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            bound |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            bound |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return bound


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """The functions, classes and values of a module, each with the statement that makes it."""
    for node in tree.body:
        if isinstance(node, DEFINITION):
            yield node.name, node
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                names = [n.id for n in ast.walk(target) if isinstance(n, ast.Name)]
                yield from ((name, node) for name in names)


def mentioned(node: ast.AST, bound: Mapping[str, str]) -> Iterator[str]:
    """The dotted names that a piece of code uses: `Mesh`, or `plot.surface`."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id in bound:
            yield bound[part.id]
        elif isinstance(part, ast.Attribute) and (owner := spelled(part.value)) in bound:
            yield f"{bound[owner]}.{part.attr}"


def spelled(node: ast.AST) -> str:
    """The dotted name that a piece of code is, or nothing."""
    if isinstance(node, ast.Name):
        return node.id
    owner = spelled(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{owner}.{node.attr}" if owner else ""


def follower(modules: Mapping[str, ast.Module]) -> Callable[[Iterable[ast.Module]], list[str]]:
    """A function from readers' code to the public names of public modules it does not come to."""
    bound = {module: bindings(tree, module) for module, tree in modules.items()}
    uses: dict[str, set[str]] = {}
    for module, tree in modules.items():
        for name, node in definitions(tree):
            uses.setdefault(f"{module}.{name}", set()).update(mentioned(node, bound[module]))

    def origin(dotted: str) -> str:
        """Where a name is defined that a room hands on."""
        module, _, name = dotted.rpartition(".")
        while dotted not in uses and name in bound.get(module, {}):
            dotted = bound[module][name]
            module, _, name = dotted.rpartition(".")
        return dotted

    def unreached(readers: Iterable[ast.Module]) -> list[str]:
        todo = [name for tree in readers for name in mentioned(tree, bindings(tree))]
        seen = set()
        while todo:
            name = origin(todo.pop())
            if name in uses and name not in seen:
                seen.add(name)
                todo += uses[name]
        return sorted(name for name in uses if name not in seen and "._" not in name)

    return unreached


def unused_methods(modules: Mapping[str, ast.Module], readers: Iterable[ast.Module]) -> list[str]:
    """The public methods and properties whose names nobody reads off an object.

    Types are not followed: one name that is read serves all methods of this name.
    """
    methods = {
        f"{module}.{owner.name}.{method.name}": method
        for module, tree in modules.items()
        for owner in tree.body
        if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_")
        for method in owner.body
        if isinstance(method, ast.FunctionDef)
    }
    read: dict[str, set[ast.AST]] = {}
    for tree in (*modules.values(), *readers):
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                read.setdefault(node.attr, set()).add(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.setdefault(node.value, set()).add(node)
    return sorted(
        name
        for name, method in methods.items()
        if not method.name.startswith("_")
        and method.name not in CALLED_BY_OTHERS
        and not read.get(method.name, set()) - set(ast.walk(method))
    )


def test_every_public_name_serves_a_chapter():
    assert unreached_in_package()(chapters()) == []


def test_every_public_method_is_called():
    unused = unused_methods(package(), chapters() + programs())
    assert {".".join(name.split(".")[-2:]) for name in unused} == FOR_READERS


# --- planted examples -----------------------------------------------------------------------------

ROOM = "from gdl.room.layers import Layer, spare as kept\n"
LAYERS = """
from gdl.room import tables
LIMIT = 3
class Layer:
    def forward(self, x, most=LIMIT):
        return tables.rows(x)
def spare():
    return spare()
"""
TABLES = """
from gdl.room._parts import part
SHAPES = {"one": part}
SHAPES |= {"more": 2}
def checked(f):
    return f
@checked
def rows(x: Kind) -> int:
    return SHAPES
Kind = int
LOST, _hidden = 1, 2
"""
PARTS = "def part(): ...\ndef rest(): ..."


def planted(reader: str) -> list[str]:
    sources = {"gdl.room": ROOM, "gdl.room.layers": LAYERS, "gdl.room.tables": TABLES,
               "gdl.room._parts": PARTS}  # fmt: skip
    modules = {name: ast.parse(source) for name, source in sources.items()}
    return [name.removeprefix("gdl.room.") for name in follower(modules)([ast.parse(reader)])]


LIVE = "from gdl import room\nlayer = room.Layer()"


@pytest.mark.parametrize(
    ("reader", "dead"),
    [
        (LIVE, ["layers.spare", "tables.LOST"]),
        ("from gdl.room import Layer as A, kept\nA, kept", ["tables.LOST"]),
        ("from gdl.room.layers import Layer", ["layers.LIMIT", "layers.Layer", "layers.spare"]),
        ("import gdl.room.tables as t\nt.LOST", ["layers.LIMIT", "layers.Layer", "layers.spare"]),
    ],
)
def test_a_dead_name_is_found_and_a_live_chain_let_through(reader, dead):
    found = planted(reader)
    assert set(dead) <= set(found)
    assert ("tables.rows" in found) == ("layers.Layer" in found)
    assert not {"tables._hidden", "_parts.rest"} & set(found)
    assert ("tables.checked" in found) == ("tables.Kind" in found) == ("tables.rows" in found)


def test_a_method_that_only_calls_itself_is_found():
    source = """
class Layer:
    def forward(self, x): ...
    def used(self): ...
    def dead(self): return self.dead()
    @property
    def lost(self): ...
class _Hidden:
    def free(self): ...
"""
    modules = {"gdl.room": ast.parse(source)}
    found = unused_methods(modules, [ast.parse("layer.used()")])
    assert found == ["gdl.room.Layer.dead", "gdl.room.Layer.lost"]
