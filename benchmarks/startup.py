"""Starting Python and importing the equivariance room beside importing torch alone.

Each call starts a fresh interpreter, so its own start is included in every variant; what the room
adds is the difference of the two. Files that the system has read before come from its cache. An
import needs one thread. The peak is that of the process that waits for it, not its own.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys

import torch

from benchmarks.cases import Case

IMPORT = "import in a fresh interpreter"
SIZES = {IMPORT: (1,)}
THREADS = (1,)
TORCH, ROOM = "import torch", "import torch, gdl.equivariance"
PACKAGES = {TORCH: "torch"}
SOLVES = f"{ROOM}; assert callable(gdl.equivariance.equivariant_basis)"


def run(code: str) -> subprocess.CompletedProcess:
    """Run code in an interpreter of its own; its errors are in the result's ``stderr``."""
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **threads}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def start(code: str) -> None:
    """Run code that must not fail: an import that breaks off early would look fast."""
    ran = run(code)
    if ran.returncode:
        raise RuntimeError(f"{code!r} failed: {ran.stderr.strip()}")


def case(task: str, n: int) -> Case:
    variants = {code: lambda code=code: start(code) for code in (ROOM, TORCH)}
    return Case(task, n, 1, variants, works)


def works() -> float:
    """Zero if the room can be imported alone and offers its solver, else infinite."""
    return math.inf if run(SOLVES).returncode else 0.0
