"""``python -m benchmarks.peers [emlp] [escnn]``, both by default, or `make bench-peers`.

Each peer has an environment of its own in .venv-peers, made on the first call. A peer that cannot
be installed is skipped by name, and so is a problem on which it fails, takes too long or finds
something else than gdl.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks import groups
from benchmarks.peers.environments import EMLP, ESCNN, Failed, Peer, run
from benchmarks.peers.table import replaced, rows, write

LIMIT = 150  # seconds for one process of EMLP
PROCESSES, OUR_PROCESSES = 3, 5
REPEATS = 30
BUDGET, OUR_BUDGET = 4, 60  # seconds after which no further repeat is begun
RESIDUAL = 1e-3  # peers compute in float32

Row = dict[str, str]


class Problem(NamedTuple):
    """Maps of tensors, from one order to another, over R^n; group is a name of GROUPS."""

    task: str
    kind: str
    group: str
    n: int
    order_in: int
    order_out: int

    def arguments(self, repeats: int, budget: int) -> list[str]:
        return [self.group, *map(str, (*self[3:], repeats, budget))]


PROBLEMS = (
    *(
        Problem("maps of order-2 tensors over n points", "permutation", "S", n, 2, 2)
        for n in (4, 5, 6, 8)
    ),
    *(Problem("maps of signals on n points of a circle", "permutation", "Z", n, 1, 1)
      for n in (16, 64)),
    *(Problem("maps of images on an n x n torus", "permutation", "torus", n, 1, 1)
      for n in (4, 8)),
    Problem("invariant tensors of order 3, SO(n)", "Lie", "SO", 3, 0, 3),
    Problem("maps of vectors to order-2 tensors, SO(n)", "Lie", "SO", 3, 1, 2),
    *(Problem("maps of order-2 tensors, SO(n)", "Lie", "SO", n, 2, 2) for n in (2, 3, 4)),
    Problem("maps of order-3 tensors, SO(n)", "Lie", "SO", 3, 3, 3),
    Problem("maps of order-2 tensors, O(n)", "Lie", "O", 3, 2, 2),
    Problem("maps of order-2 tensors, SO(1, n - 1)", "Lie", "Lorentz", 4, 2, 2),
    Problem("maps of order-2 tensors, Sp(n)", "Lie", "Sp", 4, 2, 2),
)  # fmt: skip


def spread(name: str, seconds: Sequence[float]) -> Row:
    """Columns of several times of one thing."""
    return {
        f"{name} median s": f"{statistics.median(seconds):.4g}",
        f"{name} least s": f"{min(seconds):.4g}",
    }


def ratio(a: Sequence[float], b: Sequence[float]) -> str:
    return f"{statistics.median(a) / statistics.median(b):.4g}"


def solved(command: list, problem: Problem, first: bool, budget: int, limit: float | None) -> dict:
    """One process; only the first of a problem repeats the solve."""
    arguments = problem.arguments(REPEATS if first else 0, budget)
    return json.loads(run([*command, *arguments], limit).splitlines()[-1])


def in_turn(problem: Problem) -> tuple[list[dict], list[dict]]:
    """Results of EMLP's processes and of ours, so that a slow moment meets both."""
    theirs, ours = [], []
    for k in range(OUR_PROCESSES):
        if k < PROCESSES:
            command = [EMLP.python, "benchmarks/peers/emlp_solver.py"]
            theirs.append(solved(command, problem, k == 0, BUDGET, LIMIT))
        command = [sys.executable, "-m", "benchmarks.peers.gdl_solver"]
        ours.append(solved(command, problem, k == 0, OUR_BUDGET, None))
    return theirs, ours


def emlp_row(problem: Problem) -> Row:
    """Both times of one problem, or why there are none."""
    row = {"task": problem.task, "group": problem.kind, "size": str(problem.n)}
    row |= {"threads": str(os.cpu_count()), "reference": "gdl"}
    try:
        theirs, ours = in_turn(problem)
    except Failed as why:
        return row | {"skipped": str(why)}
    row |= {
        "maps": str(theirs[0]["maps"]),
        "residual": f"{max(found['residual'] for found in theirs):.1e}",
        "reference residual": f"{max(found['residual'] for found in ours):.1e}",
        "repeats": str(len(theirs[0]["warm"])),
        "processes": f"{len(theirs)} and {len(ours)}",
    }
    wrong = disagreement(theirs, ours)
    return row | ({"skipped": wrong} if wrong else times(theirs, ours))


def times(theirs: list[dict], ours: list[dict]) -> Row:
    cold, our_cold = ([found["cold"] for found in side] for side in (theirs, ours))
    warm, our_warm = theirs[0]["warm"], ours[0]["warm"]
    return {
        **spread("cold", cold),
        **spread("reference cold", our_cold),
        "cold ratio": ratio(cold, our_cold),
        **spread("warm", warm),
        **spread("reference warm", our_warm),
        "warm ratio": ratio(warm, our_warm),
    }


def disagreement(theirs: list[dict], ours: list[dict]) -> str | None:
    """What makes times incomparable."""
    counts, expected = ({found["maps"] for found in side} for side in (theirs, ours))
    if counts != expected or len(expected) != 1:
        return f"found {sorted(counts)} maps, gdl {sorted(expected)}"
    worst = max(found["residual"] for found in [*theirs, *ours])
    # Not "> RESIDUAL": what is no number is not small either.
    return None if worst <= RESIDUAL else f"the residual is {worst:.1e}"


def emlp_rows() -> Iterator[Row]:
    yield from (emlp_row(problem) for problem in PROBLEMS)


def escnn_rows() -> Iterator[Row]:
    for task, sizes in groups.SIZES.items():
        for threads in sorted({1, os.cpu_count() or 1}):
            row = {"task": task, "group": "convolution", "threads": str(threads)}
            row |= {"reference": "F.conv2d"}
            command = [ESCNN.python, "benchmarks/peers/escnn_convolution.py", task]
            command += [str(number) for number in (threads, REPEATS, *sizes)]
            try:
                lines = run(command).splitlines()
            except Failed as why:
                yield row | {"skipped": str(why)}
                continue
            yield from (row | escnn_row(json.loads(line)) for line in lines)


def escnn_row(found: dict) -> Row:
    worst = max(found["residual"], found["turned"])
    row = {"size": str(found["size"]), "residual": f"{worst:.1e}"}
    row |= {"repeats": str(len(found["warm"])), "processes": "1"}
    if not worst <= RESIDUAL:
        return row | {"skipped": f"the residual is {worst:.1e}"}
    return row | {
        **spread("warm", found["warm"]),
        **spread("reference warm", found["plain"]),
        "warm ratio": ratio(found["warm"], found["plain"]),
    }


PEERS: dict[str, tuple[Peer, Callable[[], Iterator[Row]]]] = {
    "emlp": (EMLP, emlp_rows),
    "escnn": (ESCNN, escnn_rows),
}


def measure(name: str) -> None:
    """Replace the recorded rows of a peer, which stay where it cannot be installed."""
    peer, measured = PEERS[name]
    try:
        peer.install()
        stated = {"peer": peer.name, "version": peer.version()}
    except Failed as why:
        print(f"{peer.name} skipped, it could not be installed: {why}")
        return
    new = []
    for row in measured():
        new.append(stated | row)
        print(new[-1], flush=True)
        write(replaced(rows(), new))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("peers", nargs="*", choices=[*PEERS, []], metavar="PEER",
                        help=f"of {', '.join(PEERS)}")  # fmt: skip
    for name in parser.parse_args(arguments).peers or PEERS:
        measure(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
