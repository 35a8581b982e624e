"""One driver for every command of the book, on Linux, macOS and Windows.

    python make.py TARGET ... [NAME=VALUE ...]     or, where make is installed, make TARGET ...
    python make.py --dry-run TARGET ...            shows the commands and runs none of them
    python make.py help                            lists the targets and the variables

The first call sets up an environment in .venv; all it needs is Python 3.11 or newer. A variable is
read from the command line, else from the environment. The first command that fails ends the run,
with its exit status.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Up to the check below, this file keeps to what any Python 3 can read.
OLDEST = (3, 11)


def too_old(version):
    """What to say to a Python of this version, if it cannot run the book."""
    if tuple(version[:2]) >= OLDEST:
        return None
    needed = "Python {}.{} or newer is needed, and this is {}.{}".format(*OLDEST, *version[:2])
    return needed + ": make PYTHON=/path/to/python3.11, or /path/to/python3.11 make.py"


if too_old(sys.version_info):
    sys.exit(too_old(sys.version_info))

ROOT = Path(__file__).resolve().parent
EXTRAS = ".[book,test,bench]"
PDF = "_build/html/one-equation.pdf"
QUIET = ("-q", "--disable-pip-version-check")
NPM_FLAGS = ("--no-package-lock", "--no-fund", "--no-audit")
# Named so that the version of torch does not depend on the machine that resolves.
LOCKED_TORCH = "torch==2.13.0"
# The oldest matplotlib warns of what newer ones have renamed.
OLD_PYPARSING = "pyparsing<3.3"
VARIABLES = {
    "VENV": (".venv", "folder of the environment"),
    "SYSTEM": ("", "1: the environment sees the packages of its Python, as those of Colab"),
    "CONSTRAINTS": ("constraints.txt", "versions to install; empty: the newest allowed"),
    "JOBS": ("2", "tests that run at a time"),
    "CHAPTER": ("", "test: only what concerns these chapters"),
    "ARGS": ("", "test, colab: more arguments for pytest"),
    "NAME": ("", "full: the chapters"),
    "PORT": ("8000", "serve: the port"),
    "REPOSITORY": ("", "fork: the address of the repository"),
    "TAG": ("", "release: its tag"),
    "TITLE": ("", "issue: its title"),
    "BODY": ("", "issue: its text"),
}


class Step(NamedTuple):
    """One command, or one small action in this process, which its words describe."""

    words: tuple[str, ...]
    action: Callable[[], object] | None = None
    env: dict[str, str] = {}
    # What goes on without it where it fails; empty if nothing may.
    optional: str = ""


class Job(NamedTuple):
    """What a task's steps depend on."""

    variables: dict[str, str]
    root: Path = ROOT
    windows: bool = os.name == "nt"

    @property
    def venv(self) -> Path:
        return self.root / self.variables["VENV"]

    def script(self, name: str) -> str:
        folder, ending = ("Scripts", ".exe") if self.windows else ("bin", "")
        return str(self.venv / folder / (name + ending))

    def python(self, *words: str, **more) -> Step:
        return Step((self.script("python"), *words), **more)

    def pytest(self, *words: str) -> Step:
        # One thread per worker: NumPy would otherwise start a thread per core in each of them.
        command = ("-m", "pytest", "-n", self.variables["JOBS"], *words)
        more = shlex.split(self.variables["ARGS"])
        return self.python(*command, *more, env={"OMP_NUM_THREADS": "1"})

    def needed(self, variable: str) -> str:
        if not self.variables[variable]:
            raise ValueError(f"{variable} is empty: {VARIABLES[variable][1]}, {variable}=...")
        return self.variables[variable]


def set_up(job: Job) -> list[Step]:
    """The steps to the environment; none where it stands and is as new as what it is made from."""
    system = ["--system-site-packages", "--without-pip"] if job.variables["SYSTEM"] else []
    constraints = ["-c", job.variables["CONSTRAINTS"]] if job.variables["CONSTRAINTS"] else []
    sources = [job.root / name for name in ("pyproject.toml", *constraints[1:])]
    missing = [str(source) for source in sources if not source.exists()]
    if missing:
        raise ValueError(f"no such file: {missing[0]}")
    install = ("-m", "pip", "install", *QUIET, *constraints, "-e", EXTRAS)
    stamp, text = job.venv / ".ready", shlex.join([*system, *install])
    if is_ready(stamp, text, sources):
        return []
    return [
        # The stamp goes first and comes last, so that an interrupted set-up is done again.
        Step(("remove", str(stamp)), lambda: stamp.unlink(missing_ok=True)),
        Step((sys.executable, "-m", "venv", *system, str(job.venv))),
        job.python(*install),
        Step(("write", str(stamp)), lambda: stamp.write_text(text, encoding="utf-8")),
    ]


def is_ready(stamp: Path, text: str, sources: list[Path]) -> bool:
    """Whether the stamp was written for this text, after the last change of its sources."""
    written = stamp.read_text(encoding="utf-8") if stamp.exists() else None
    return written == text and all(is_newer(stamp, source) for source in sources)


def is_newer(made: Path, source: Path) -> bool:
    return made.exists() and made.stat().st_mtime >= source.stat().st_mtime


def node_packages(job: Job, optional: str = "") -> list[Step]:
    """The step that installs what the browser checks need; npm writes its record last."""
    tools = job.root / "tools"
    if is_newer(tools / "node_modules" / ".package-lock.json", tools / "package.json"):
        return []
    npm = shutil.which("npm") or "npm"  # on Windows the name of a script, which needs its ending
    return [Step((npm, "install", *NPM_FLAGS, "--prefix", "tools"), optional=optional)]


def packages_for_tests(job: Job) -> list[Step]:
    """The tests drive a browser where there is one, and say so where there is none."""
    from tools import browser

    if shutil.which("npm") is None or browser.chromium() is None:
        return []
    demanded = os.environ.get("GDL_BROWSER") == "required"
    return node_packages(job, optional="" if demanded else "the browser checks will be skipped")


def jupyter_book(job: Job, *how: str) -> Step:
    return Step((job.script("jupyter-book"), "build", ".", *how, "-W", "--keep-going"))


def book(job: Job) -> list[Step]:
    return [remove(job.root / "_build"), jupyter_book(job)]


def built(job: Job) -> list[Step]:
    return [] if (job.root / "_build/html/index.html").exists() else book(job)


def pdf(job: Job) -> list[Step]:
    printed = job.python("-m", "tools.pdf", "--site", "_build/html")
    return [*built(job), *node_packages(job), printed]


def site_check(job: Job) -> list[Step]:
    from tools import browser

    before = node_packages(job) if (job.root / PDF).exists() else pdf(job)
    found = {"CHROMIUM": str(browser.chromium())} if browser.chromium() else {}
    return [*before, Step(("node", "tools/site_check.mjs"), env=found)]


def test(job: Job) -> list[Step]:
    from tools import chapter_tests

    names = job.variables["CHAPTER"].replace(",", " ").split()
    chosen = chapter_tests.selection(names, job.root)
    return [*packages_for_tests(job), job.pytest(*chosen)]


def links(job: Job) -> list[Step]:
    return [jupyter_book(job, "--builder", "linkcheck")]


def serve(job: Job) -> list[Step]:
    address = (job.variables["PORT"], "--bind", "127.0.0.1", "--directory", "_build/html")
    return [*built(job), job.python("-m", "http.server", *address)]


def studies(job: Job) -> list[Step]:
    found = sorted((job.root / "studies").glob("[!_]*.py"))
    return [job.python("-m", f"studies.{path.stem}") for path in found]


def lock(job: Job) -> list[Step]:
    return [
        job.python("-m", "pip", "install", *QUIET, "uv"),
        *resolve(job, "constraints.txt", LOCKED_TORCH),
        # Without --upgrade, versions stay that an earlier lower bound asked for.
        *resolve(
            job,
            "constraints-oldest.txt",
            OLD_PYPARSING,
            "--upgrade",
            "--resolution",
            "lowest-direct",
        ),
    ]


def resolve(job: Job, output: str, bound: str, *how: str) -> list[Step]:
    """Reads metadata only; the same versions for every system."""
    named = job.venv / "lock.txt"
    wanted = ("--universal", "--python-version", "3.11", "--all-extras", "-c", str(named), *how)
    plain = ("--no-header", "--no-annotate", "-o", output, "pyproject.toml")
    return [
        Step(("write", str(named)), lambda: named.write_text(bound, encoding="utf-8")),
        job.python("-m", "uv", "pip", "compile", "-q", *wanted, *plain),
    ]


def dist(job: Job) -> list[Step]:
    wheel = ("-m", "pip", "wheel", ".", *QUIET, "--no-deps", "--wheel-dir", "dist")
    return [remove(job.root / "dist"), job.python(*wheel)]


def tool(name: str, *words: str) -> list[Step]:
    """A tool that needs the standard library only."""
    return [Step((sys.executable, "-m", f"tools.{name}", *words))]


def clean(job: Job) -> list[Step]:
    made = ("_build", "dist", ".venv-peers")
    return [*(remove(job.root / name) for name in made), remove(job.venv)]


def remove(folder: Path) -> Step:
    return Step(("remove", str(folder)), lambda: shutil.rmtree(folder) if folder.exists() else None)


class Task(NamedTuple):
    """What a target does; most need the environment first."""

    summary: str
    steps: Callable[[Job], list[Step]]
    environment: bool = True

    def all_steps(self, job: Job) -> list[Step]:
        return [*(set_up(job) if self.environment else []), *self.steps(job)]


def program(summary: str, *commands: str) -> Task:
    """A task of commands for Python that depend on nothing."""
    return Task(summary, lambda job: [job.python(*command.split()) for command in commands])


TASKS = {
    "book": Task("builds the site into _build/html", book),
    "pdf": Task("prints the site as one PDF; needs Node.js and Chromium", pdf),
    "test": Task("runs every test; CHAPTER=grids: those of one chapter", test),
    "site-check": Task("opens every page in a browser; needs Node.js and Chromium", site_check),
    "colab": Task("runs the chapters as in Colab", lambda job: [job.pytest("tests/colab")]),
    "lint": program("checks code and form of the chapters", "-m ruff check", "tools/nb.py check"),
    "notebooks": program("executes the chapters in place", "tools/nb.py run"),
    # The zoo shows the ledger, which lists the claims of the zoo too: after a change of claims,
    # run this and `tools/nb.py run zoo` in turn until this changes nothing.
    "ledger": program("lists the claims of the chapters' outputs", "-m tools.ledger"),
    "serve": Task("shows the site on this machine", serve),
    "links": Task("checks the links to other sites; needs a network", links),
    "bench": program("measures the layers", "-m benchmarks"),
    "bench-peers": program(
        "measures EMLP and escnn, in .venv-peers", "-m benchmarks.peers", "-m benchmarks --page"
    ),
    "bench-book": program("measures the chapters", "-m tools.bench_book", "-m benchmarks --page"),
    "full": Task(
        'NAME="graphs grids": runs chapters on real data',
        lambda job: [job.python("-m", "tools.full_scale", *job.variables["NAME"].split())],
    ),
    "studies": Task("repeats the studies over seeds", studies),
    "mutants": program("plants faults that the tests must see", "tools/mutants.py"),
    "lock": Task("resolves the versions in the constraints files", lock),
    "fork": Task(
        "REPOSITORY=...: gives the book another address",
        lambda job: tool("fork", "--repository", job.needed("REPOSITORY")),
        environment=False,
    ),
    "issue": Task(
        "TITLE=... BODY=...: opens an issue, or adds to it",
        lambda job: tool("github", "issue", job.needed("TITLE"), job.variables["BODY"]),
        environment=False,
    ),
    "release": Task(
        "TAG=...: publishes the PDF and the package",
        lambda job: tool("github", "release", job.needed("TAG"), PDF, "dist/*.whl"),
        environment=False,
    ),
    "dist": Task("builds the package into dist", dist),
    "clean": Task("removes what was built, and the environment", clean, environment=False),
    "help": Task(
        "lists the targets and the variables",
        lambda job: [Step(("help",), lambda: print(listing()))],
        environment=False,
    ),
}


def listing() -> str:
    """The targets and the variables, one a line."""
    targets = [f"  {name:<12} {task.summary}" for name, task in TASKS.items()]
    named = [f"  {name:<12} {text} [{default}]" for name, (default, text) in VARIABLES.items()]
    return "\n".join(["Targets:", *targets, "", "Variables, with their defaults:", *named])


def parsed(arguments: list[str], environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Targets and variables of a call, also of one that came through make."""
    targets = [word for word in arguments if "=" not in word]
    typed = dict(word.split("=", 1) for word in arguments if "=" in word)
    # make hands its variables on in the environment, and their names here; spaces are escaped.
    through_make = environment.get("MAKEFLAGS", "").partition("-- ")[2]
    names = {*typed, *re.findall(r"(?:^|(?<!\\) )(\w+)=", through_make)} - {"PYTHON"}
    unknown = sorted({*targets} - {*TASKS}) + sorted(names - {*VARIABLES})
    if unknown:
        raise ValueError(f"no such target or variable: {', '.join(unknown)}\n\n{listing()}")
    values = {name: environment.get(name, default) for name, (default, _) in VARIABLES.items()}
    return targets or ["book"], {**values, **typed}


def perform(step: Step, dry_run: bool = False) -> int:
    """Show a step and run it; the exit status, 0 also where an optional one fails."""
    print(shlex.join(step.words), flush=True)
    if step.action and not dry_run:
        step.action()
    if step.action or dry_run:
        return 0
    # On Windows, Python would otherwise read and print in the system's old encoding.
    environment = {**os.environ, "PYTHONUTF8": "1", **step.env}
    try:
        status = subprocess.run(step.words, cwd=ROOT, env=environment, check=False).returncode
    except FileNotFoundError:
        print(f"{step.words[0]} was not found: install it first", file=sys.stderr)
        status = 127
    if status and step.optional:
        print(f"This failed; {step.optional}.", file=sys.stderr)
    return 0 if step.optional else status


def main(arguments: list[str]) -> int:
    flags = {"-n", "--dry-run"}
    try:
        targets, variables = parsed([word for word in arguments if word not in flags], os.environ)
        for target in targets:
            for step in TASKS[target].all_steps(Job(variables)):
                status = perform(step, dry_run=not flags.isdisjoint(arguments))
                if status:
                    return status
    except ValueError as reason:
        print(reason, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
