"""The anatomy of a chapter, as rules over its notebook; each rule yields what it finds wrong."""

from __future__ import annotations

import ast
import base64
import re
import sys
from collections.abc import Callable, Iterator

from nbformat import NotebookNode

from tests.book.chapters import SETUP_CELL, calls, code_cells, opening, prose, tags
from tools import nb as nbtool
from tools.fork import Address, present

CARD = ("Domain", "Group", "Signals", "Result", "Time")
ENDING = ("does not (?:give|buy)", "Summary", "Exercises", "References")
IMPORTS = {
    "IPython", "e3nn", "gdl", "matplotlib", "networkx", "numpy", "scipy", "skimage", "sklearn",
    "torch", "torch_geometric", "tqdm", "trimesh",
}
GATE_SWITCHES = re.compile(r"nbval[-_]|raises[-_]exception|papermill|skip-execution", re.IGNORECASE)
MARKED = ("theorem", "proposition", "lemma", "corollary")
MIN_CLAIMS = 10
MAX_LINES, MAX_COLUMNS = 25, 76
MAX_PNG, MAX_NOTEBOOK = 150_000, 1_500_000
MIN_ALT = 15
MAX_RTOL = 0.1
ADDRESS = present()

Rule = Callable[[NotebookNode], Iterator[str]]


def title_and_question(nb: NotebookNode) -> Iterator[str]:
    if not re.match(r"(\([\w-]+\)=\n+)?# \S", opening(nb)):
        yield "the chapter does not open with its title"
    if len(re.findall(r"^# ", prose(nb), re.MULTILINE)) != 1:
        yield "there is not exactly one title"
    if "?" not in opening(nb):
        yield "the opening asks no question"


def badge(nb: NotebookNode, address: Address = ADDRESS) -> Iterator[str]:
    """Between question and card, a link that opens this very chapter, which its label names."""
    label = re.match(r"\(([\w-]+)\)=", opening(nb))
    if not label:
        yield "the chapter has no label"
        return
    line = f"[![Open in Colab](../_static/colab-badge.svg)]({address.colab(file_name(label[1]))})"
    if not re.search(rf"\?\n\n{re.escape(line)}\n\n.*\*\*Domain", opening(nb)):
        yield f"between question and card, no line {line}"
    if prose(nb).count("colab-badge.svg") != 1:
        yield "there is not exactly one badge"


def file_name(label: str) -> str:
    """The file of the chapter with that label."""
    return label.replace("-", "_")


def card(nb: NotebookNode) -> Iterator[str]:
    for key in CARD:
        if not re.search(rf"\*\*{key}[:.]?\*\*[\s|:]*\w", opening(nb)):
            yield f"the card has no **{key}:**"


def objectives(nb: NotebookNode) -> Iterator[str]:
    item = r"(?:[-*]|\d+\.) "
    listed = re.search(rf"Objectives[^\n]*\n+((?:{item}.*\n?(?:[ \t]+.*\n?)*)+)", opening(nb))
    items = re.findall(f"^{item}", listed[1], re.MULTILINE) if listed else []
    if not 3 <= len(items) <= 5:
        yield f"{len(items)} objectives, expected 3 to 5"


def prerequisites(nb: NotebookNode) -> Iterator[str]:
    if not re.search(r"Prerequisites(?:[^\n]|\n(?!\n))*\]\(", opening(nb)):
        yield "no prerequisites with a link"


def setup_cell(nb: NotebookNode) -> Iterator[str]:
    first = code_cells(nb)[0]
    if first.source != SETUP_CELL:
        yield "the first code cell is not tools/setup_cell.py"
    if "hide-input" not in tags(first):
        yield "the set-up cell is not tagged hide-input"
    if first.outputs:
        yield "the set-up cell prints something"


def parameters(nb: NotebookNode) -> Iterator[str]:
    tagged = [cell for cell in code_cells(nb) if "parameters" in tags(cell)]
    small = re.compile(r'^SCALE = "small"( +#.*)?$', re.MULTILINE)
    if len(tagged) != 1 or not small.search(tagged[0].source):
        yield 'there is not exactly one cell tagged parameters that holds SCALE = "small"'
    if not any("SCALE" in cell.source for cell in code_cells(nb) if "parameters" not in tags(cell)):
        yield "no cell reads SCALE"


def short_code(nb: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(nb), start=1):
        lines = cell.source.splitlines()
        if not lines:
            yield f"code cell {number} is empty"
        if len(lines) > MAX_LINES:
            yield f"code cell {number} has {len(lines)} lines, at most {MAX_LINES}"
        # The address of a fork may be of any length, and cannot be broken.
        widths = [len(line) for line in lines if ADDRESS.repository not in line]
        if (width := max(widths, default=0)) > MAX_COLUMNS:
            yield f"code cell {number} is {width} columns wide, at most {MAX_COLUMNS}"


def plain_python(nb: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(nb), start=1):
        try:
            ast.parse(cell.source)
        except SyntaxError:
            yield f"code cell {number} is not plain Python"


def imports(nb: NotebookNode) -> Iterator[str]:
    for cell in code_cells(nb):
        for node in ast.walk(ast.parse(cell.source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in {name.partition(".")[0] for name in names}:
                if name not in IMPORTS and name not in sys.stdlib_module_names:
                    yield f"imports {name}, which a reader's machine or Colab may not have"


def claims(nb: NotebookNode) -> Iterator[str]:
    made = [call for cell in code_cells(nb) for call in calls(cell.source, "claim")]
    if len(made) < MIN_CLAIMS:
        yield f"{len(made)} claims, at least {MIN_CLAIMS}"
    for call in made:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        checks = [ast.unparse(given[key]) for key in ("control", "oracle") if key in given]
        if not checks or "None" in checks:
            yield f"no control or oracle: {ast.unparse(call)[:60]}"


def ending(nb: NotebookNode) -> Iterator[str]:
    headings = re.findall(r"^##+ (.*)", prose(nb), re.MULTILINE)
    places = []
    for name in ENDING:
        found = [at for at, heading in enumerate(headings) if re.search(name, heading)]
        if not found:
            yield f"no section '{name}'"
        places += found[-1:]
    if places != sorted(places):
        yield f"the last sections are not in the order {', '.join(ENDING)}"


def theorems_are_executed(nb: NotebookNode) -> Iterator[str]:
    """A claim follows each box, before the next box and before the next section."""
    waiting: list[str] = []
    for cell in nb.cells:
        if cell.cell_type == "code":
            if any(calls(cell.source, "claim")):
                waiting.clear()
            continue
        for line in cell.source.splitlines():
            box = re.match(rf":::+\{{prf:({'|'.join(MARKED)})\}}\s*(.*)", line)
            if waiting and (box or re.match(r"##? ", line)):
                yield f"no claim executes the {waiting.pop()}"
            if box:
                waiting.append(f"{box[1]} '{box[2]}'")
    for name in waiting:
        yield f"no claim executes the {name}"


def figures(nb: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(nb), start=1):
        pictures = [png for output in cell.outputs for png in _pngs(output)]
        if not pictures:
            continue
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        if not figure.get("caption", "").strip():
            yield f"code cell {number} draws a picture without a caption"
        if not figure.get("name", "").startswith("fig-"):
            yield f"code cell {number} draws a picture without a name fig-..."
        if sum("data" in output for output in cell.outputs) != 1:
            yield f"code cell {number} shows more than its figure"
        yield from _alt_problems(number, cell)
        if (size := max(map(len, pictures)) * 3 // 4) > MAX_PNG:
            yield f"code cell {number} stores a picture of {size // 1000} kB"


def _pngs(output: NotebookNode) -> list[str]:
    data = output.get("data", {})
    embedded = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", data.get("text/html", ""))
    return [data["image/png"], *embedded] if "image/png" in data else embedded


def _alt_problems(number: int, cell: NotebookNode) -> Iterator[str]:
    html = "".join(output.get("data", {}).get("text/html", "") for output in cell.outputs)
    if html:
        alts = re.findall(r"<img[^>]*\balt=\"([^\"]*)\"", html)
        complete = len(alts) == len(re.findall(r"<img\b", html)) and alts
    else:
        alts = [cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")]
        complete = True
    if not complete or min(len(alt.strip()) for alt in alts) < MIN_ALT:
        yield f"code cell {number} draws a picture without alt text of {MIN_ALT} characters"


def raster_only(nb: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(nb), start=1):
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/svg+xml" in data or "<svg" in data.get("text/html", ""):
                yield f"code cell {number} stores an SVG picture"
            if any(base64.b64decode(png)[:4] != b"\x89PNG" for png in _pngs(output)):
                yield f"code cell {number} stores a picture that is not a PNG"


def fences(nb: NotebookNode) -> Iterator[str]:
    for line in prose(nb).splitlines():
        if re.match(r"\s*(`{3,}|~{3,})", line):
            yield f"not a colon fence: {line}"


def exercises(nb: NotebookNode) -> Iterator[str]:
    """Box, code cell with a stub and a checker; solution box, hidden cell, the same checker."""
    boxes = [(at, cell) for at, cell in enumerate(nb.cells) if _opens(cell, "exercise")]
    if len(boxes) < 3:
        yield f"{len(boxes)} exercises, at least 3"
    for at, box in boxes:
        name = _directive(box, "exercise")
        after = nb.cells[at + 1 :]
        stub = next((cell for cell in after if cell.cell_type == "code"), None)
        checkers = _checkers(stub)
        if not checkers or not _has_stub(stub):
            yield f"exercise '{name}' is not followed by an unanswered stub and a call of check_..."
            continue
        if "unanswered" not in _printed(stub):
            yield f"the checker of exercise '{name}' does not print 'unanswered' for the stub"
        yield from _solution_problems(name, after, checkers)
    yield from _checker_problems(nb)


def _solution_problems(
    name: str, after: list[NotebookNode], checkers: set[str]
) -> Iterator[str]:
    at = next((k for k, cell in enumerate(after) if _opens(cell, "solution")), None)
    rivals = [k for k, cell in enumerate(after) if _opens(cell, "exercise")]
    if at is None or (rivals and rivals[0] < at):
        yield f"exercise '{name}' has no solution"
        return
    if not re.search(r":class:.*\bdropdown\b", after[at].source):
        yield f"the solution of exercise '{name}' is not a dropdown"
    solved = next((cell for cell in after[at:] if cell.cell_type == "code"), None)
    if not checkers & _checkers(solved):
        yield f"the solution of exercise '{name}' is not given to its checker"
    elif "hide-input" not in tags(solved):
        yield f"the solution of exercise '{name}' is not tagged hide-input"
    elif not _printed(solved).rstrip().endswith(": correct"):
        yield f"the solution of exercise '{name}' is not found correct"


def _checker_problems(nb: NotebookNode) -> Iterator[str]:
    used = {name for cell in code_cells(nb) for name in _checkers(cell)}
    made: dict[str, ast.Call] = {}
    for cell in code_cells(nb):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                target = getattr(node.targets[0], "id", "")
                if getattr(node.value.func, "id", "") == "exercise":
                    made[target] = node.value
    for name in sorted(used):
        wrong = [k.value for k in getattr(made.get(name), "keywords", []) if k.arg == "wrong"]
        if not wrong or not isinstance(wrong[0], ast.List) or len(wrong[0].elts) < 2:
            yield f"{name} is not made by exercise(..., wrong=[two typical wrong answers])"


def _opens(cell: NotebookNode, kind: str) -> bool:
    return cell.cell_type == "markdown" and _directive(cell, kind) is not None


def _directive(cell: NotebookNode, kind: str) -> str | None:
    found = re.search(rf"^:::+\{{{kind}(?:-start)?\}}[ \t]*(.*)$", cell.source, re.MULTILINE)
    return found[1] if found else None


def _checkers(cell: NotebookNode | None) -> set[str]:
    nodes = ast.walk(ast.parse(cell.source)) if cell else ()
    names = {getattr(node.func, "id", "") for node in nodes if isinstance(node, ast.Call)}
    return {name for name in names if name.startswith("check_")}


def _has_stub(cell: NotebookNode) -> bool:
    values = [node.value for node in ast.parse(cell.source).body if isinstance(node, ast.Assign)]
    return any(isinstance(v, ast.Constant) and v.value in (None, ...) for v in values)


def _printed(cell: NotebookNode) -> str:
    return "".join(
        output.get("text", "") + output.get("data", {}).get("text/plain", "")
        for output in cell.outputs
    )


def gate_is_on(nb: NotebookNode) -> Iterator[str]:
    for number, cell in enumerate(code_cells(nb), start=1):
        comments = [line for line in cell.source.splitlines() if line.strip().startswith("#")]
        for text in [*tags(cell), *comments]:
            if GATE_SWITCHES.search(text):
                yield f"code cell {number} switches a check off: {text.strip()}"
        if cell.metadata.get("gdl", {}).get("rtol", 0.0) > MAX_RTOL:
            yield f"code cell {number} asks for a tolerance above {MAX_RTOL}"


def clean_outputs(nb: NotebookNode) -> Iterator[str]:
    yield from nbtool.problems(nb)


def small_file(nb: NotebookNode) -> Iterator[str]:
    if (size := len(nbtool.dumps(nb).encode())) > MAX_NOTEBOOK:
        yield f"the notebook has {size // 1000} kB, at most {MAX_NOTEBOOK // 1000}"


RULES: tuple[Rule, ...] = (
    title_and_question,
    badge,
    card,
    objectives,
    prerequisites,
    plain_python,
    setup_cell,
    parameters,
    short_code,
    imports,
    claims,
    ending,
    theorems_are_executed,
    figures,
    raster_only,
    fences,
    exercises,
    gate_is_on,
    clean_outputs,
    small_file,
)
