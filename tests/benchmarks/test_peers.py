"""Peers in environments of their own, by stand-ins: nothing here needs these environments."""

from __future__ import annotations

import csv
import json
import os
import sys

import pytest

from benchmarks import groups
from benchmarks.peers import __main__ as peers
from benchmarks.peers import clock, environments, gdl_solver, recorded, rows, table
from benchmarks.peers.environments import EMLP, ESCNN, Failed, Peer, run

SHELL = pytest.mark.skipif(os.name == "nt", reason="the stand-in for a Python is a shell script")
SMALL = peers.Problem("maps", "permutation", "S", 4, 2, 2)
SOLVED = {"maps": 15, "residual": 1e-7, "cold": 9.0, "warm": [0.5, 0.4]}
LAYER = {"size": 8, "warm": [0.3, 0.2], "plain": [0.1, 0.1], "residual": 0.0, "turned": 1e-7}


def stand_in(folder, peer: Peer, script: str) -> None:
    python = folder / peer.name.lower() / environments.PROGRAM
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A place for environments, and for the table, so that neither of the real ones is touched."""
    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    path = tmp_path / "recorded.csv"
    monkeypatch.setattr(peers, "rows", lambda: table.rows(path))
    monkeypatch.setattr(peers, "write", lambda lines: table.write(lines, path))
    return tmp_path


def answers(monkeypatch, **changes):
    """EMLP answers as planted; our process is not started, and finds what there is."""

    def run(command, limit=None):
        ours = "benchmarks.peers.gdl_solver" in command
        found = SOLVED | {"cold": 0.01, "warm": [0.001]} if ours else SOLVED | changes
        return json.dumps(found)

    monkeypatch.setattr(peers, "run", run)


@SHELL
def test_a_peer_that_cannot_be_installed_is_skipped_by_name(folder, capsys):
    for peer in (EMLP, ESCNN):
        stand_in(folder, peer, "echo 'no such release' >&2\nexit 1")
    assert peers.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name} skipped, it could not be installed: no such release" for name in ("EMLP", "escnn")
    ]
    assert not (folder / "recorded.csv").exists()


@SHELL
def test_a_peer_that_cannot_be_installed_does_not_stop_the_other(folder, capsys, monkeypatch):
    stand_in(folder, EMLP, "exit 1")
    stand_in(folder, ESCNN, "echo 1.0 2.0 3.0")
    monkeypatch.setitem(peers.PEERS, "escnn", (ESCNN, lambda: iter([peers.escnn_row(LAYER)])))
    peers.main([])
    assert "EMLP skipped, it could not be installed: exit status 1" in capsys.readouterr().out
    written = table.rows(folder / "recorded.csv")
    assert [row["version"] for row in written] == ["1.0 (torch 2.0, numpy 3.0)"]
    assert float(written[0]["warm ratio"]) == pytest.approx(2.5)


@SHELL
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 3", "exit status 3, no message"),
        ("echo first >&2; echo 'out of memory' >&2; exit 1", "out of memory"),
        ("exec sleep 9", "more than 0.2 s"),
    ],
    ids=["silent", "message", "slow"],
)
def test_a_problem_on_which_a_peer_fails_is_skipped(script, reason, folder, monkeypatch):
    stand_in(folder, EMLP, script)
    monkeypatch.setattr(peers, "LIMIT", 0.2 if "sleep" in script else 60)
    row = peers.emlp_row(SMALL)
    assert row["skipped"] == reason
    assert "cold ratio" not in row


@SHELL
def test_a_convolution_on_which_a_peer_fails_is_skipped(folder):
    stand_in(folder, ESCNN, "exit 3")
    found = list(peers.escnn_rows())
    assert {row["skipped"] for row in found} == {"exit status 3, no message"}
    assert {row["task"] for row in found} == set(groups.SIZES)


def test_ratios_are_those_of_the_median_times(monkeypatch):
    answers(monkeypatch)
    row = peers.emlp_row(SMALL)
    assert (row["maps"], row["repeats"], row["processes"]) == ("15", "2", "3 and 5")
    assert (row["cold ratio"], row["warm ratio"]) == ("900", "450")
    assert "skipped" not in row


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        ({"maps": 14}, "found [14] maps, gdl [15]"),
        ({"residual": 0.1}, "the residual is 1.0e-01"),
        ({"residual": float("nan")}, "the residual is nan"),
    ],
    ids=["count", "residual", "nan"],
)
def test_another_solution_is_noticed(planted, reason, monkeypatch):
    answers(monkeypatch, **planted)
    row = peers.emlp_row(SMALL)
    assert row["skipped"] == reason
    assert "cold ratio" not in row
    assert "warm ratio" not in row


@pytest.mark.parametrize("planted", [{"residual": 0.1}, {"turned": 0.1}], ids=["filter", "turn"])
def test_a_layer_that_is_another_convolution_is_noticed(planted):
    assert "warm ratio" in peers.escnn_row(LAYER)
    row = peers.escnn_row(LAYER | planted)
    assert row["skipped"] == "the residual is 1.0e-01"
    assert "warm ratio" not in row


@pytest.mark.parametrize(
    ("problem", "count"),
    [
        (("S", 4, 2, 2), 15),
        (("Z", 5, 1, 1), 5),
        (("torus", 3, 1, 1), 9),
        (("SO", 3, 0, 3), 1),
        (("SO", 2, 2, 2), 6),
        (("O", 3, 2, 2), 3),
        (("Lorentz", 4, 2, 2), 4),
        (("Sp", 4, 2, 2), 3),
    ],
    ids=["S", "Z", "torus", "invariants", "SO", "O", "Lorentz", "Sp"],
)
def test_our_solver_answers_every_kind_of_problem(problem, count, capsys):
    gdl_solver.main(*map(str, problem), "1", "60")
    found = json.loads(capsys.readouterr().out)
    assert found["maps"] == count
    assert found["residual"] < 1e-10
    assert len(found["warm"]) == 1


def test_every_problem_names_a_group_of_our_solver():
    assert {problem.group for problem in peers.PROBLEMS} == set(gdl_solver.GROUPS)
    assert {problem.kind for problem in peers.PROBLEMS} == {"permutation", "Lie"}
    named = [(problem.task, problem.n) for problem in peers.PROBLEMS]
    assert len(set(named)) == len(named)


def test_a_residual_of_other_maps_is_large():
    rho_in, rho_out = gdl_solver.representations("Z", 4, 1, 1)
    other = gdl_solver.solve("S", 4, 1, 1)
    assert gdl_solver.residual(other, rho_in, rho_out) < 1e-12
    circulant = gdl_solver.solve("Z", 4, 1, 1)
    assert gdl_solver.residual(circulant, *gdl_solver.representations("S", 4, 1, 1)) > 0.1


def test_repeats_end_with_the_budget():
    calls = []
    assert len(clock.times(lambda: calls.append(1), 5, 60)["warm"]) == 5
    assert len(calls) == 6
    assert clock.times(lambda: None, 5, 0)["warm"] == []


def test_two_calls_are_timed_in_turn():
    order = []
    first, second = clock.in_turn(lambda: order.append(1), lambda: order.append(2), 2)
    assert (len(first), len(second)) == (2, 2)
    assert order == [1, 2] * 3


def test_a_program_runs_with_all_threads(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code = "import os; print(os.environ.get('OMP_NUM_THREADS'))"
    assert run([sys.executable, "-c", code]).strip() == "None"
    with pytest.raises(Failed, match="more than 0.01 s"):
        run([sys.executable, "-c", "while True: pass"], limit=0.01)


def test_new_lines_replace_those_of_the_same_peer():
    old = [{"peer": "EMLP", "size": "1"}, {"peer": "escnn", "size": "2"}]
    new = [{"peer": "EMLP", "size": "3"}]
    assert table.replaced(old, new) == [*new, old[1]]


def test_what_is_written_is_shown(tmp_path):
    path = tmp_path / "recorded.csv"
    table.write([{"peer": "EMLP", "skipped": "more than 90 s"}], path)
    assert table.rows(path)[0]["skipped"] == "more than 90 s"
    assert "| more than 90 s |" in recorded(path)


def test_nothing_recorded_is_said(tmp_path):
    assert table.rows(tmp_path / "recorded.csv") == []
    assert "Nothing is recorded" in recorded(tmp_path / "recorded.csv")


def test_a_line_that_is_recorded_has_a_ratio_or_a_reason():
    for row in rows():
        assert bool(row["warm ratio"]) != bool(row["skipped"]), row
    if table.RECORDED.exists():
        with table.RECORDED.open(encoding="utf-8", newline="") as lines:
            assert tuple(next(csv.reader(lines))) == table.COLUMNS
