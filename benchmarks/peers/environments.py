"""Environments of peers, in .venv-peers, made when they are first needed."""

from __future__ import annotations

import os
import subprocess
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"
PROGRAM = "Scripts/python.exe" if os.name == "nt" else "bin/python"


class Failed(Exception):
    """Why a peer gives no result."""


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes:
        name: which is also that of its distribution, in small letters.
        beside: distributions whose versions are stated as well.
        installs: what pip is told, call by call.
    """

    name: str
    beside: tuple[str, ...]
    installs: tuple[tuple[str, ...], ...]

    @property
    def python(self) -> Path:
        return FOLDER / self.name.lower() / PROGRAM

    def install(self) -> None:
        """Make the environment, or complete it.

        Raises: Failed with the last line of pip.
        """
        if not self.python.exists():
            venv.create(self.python.parents[1], with_pip=True)
        for words in self.installs:
            run([self.python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *words])

    def version(self) -> str:
        """Such as "1.0.3 (jax 0.7.1, numpy 1.26.4)"."""
        names = (self.name.lower(), *self.beside)
        code = f"import importlib.metadata as m; print(*[m.version(n) for n in {names!r}])"
        own, *others = run([self.python, "-c", code]).split()
        return f"{own} ({', '.join(map(' '.join, zip(self.beside, others, strict=True)))})"


def run(command: list, limit: float | None = None) -> str:
    """What a program printed, run with all threads.

    Raises: Failed with its last line, or after the limit in seconds.
    """
    environment = {**os.environ, "PYTHONUTF8": "1"}
    environment.pop("OMP_NUM_THREADS", None)
    try:
        ran = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
            timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"more than {limit:g} s") from None
    if ran.returncode:
        lines = ran.stderr.strip().splitlines()
        raise Failed(lines[-1] if lines else f"exit status {ran.returncode}, no message")
    return ran.stdout


REQUIREMENTS = "benchmarks/peers/requirements-{}.txt"
EMLP = Peer("EMLP", ("jax", "numpy"), (("-r", REQUIREMENTS.format("emlp")),))
ESCNN = Peer(
    "escnn",
    ("torch", "numpy"),
    # It also names py3nj, which it can do without, and which needs a Fortran compiler.
    (("-r", REQUIREMENTS.format("escnn")), ("--no-deps", "escnn==1.0.11")),
)
