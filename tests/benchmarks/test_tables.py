"""From the report of pytest-benchmark to the tables: ratios, exponents, targets, the page."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from benchmarks import __main__ as command
from benchmarks import page as pages
from benchmarks import table, targets
from benchmarks.table import Timing
from benchmarks.targets import Measured, Results, Target
from tests.book.chapters import ROOT

README = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
STAMP = {"python": "3", "torch": "2", "commit": "c", "date": "d"}


def timing(variant: str, least: float, size: int = 1, **other) -> Timing:
    values = {
        "section": "solver", "task": "t", "size": size, "work": size, "device": "cpu",
        "threads": 1, "variant": variant, "package": "gdl", "version": "1", "rounds": 30,
        "median": 2 * least, "least": least, "difference": 0.0, "peak_mb": None, "place": "p",
    }  # fmt: skip
    return Timing(**values | STAMP | other)


def results(*timings: Timing, peers=(), chapters=()) -> Results:
    return Results(list(timings), list(peers), list(chapters))


def test_ratios_are_to_the_first_variant_of_the_case():
    rows = table.times([timing("ours", 1e-3), timing("theirs", 4e-3), timing("ours", 1.0, 2)])
    assert [row[6:9] for row in rows] == [("1", "1", "2"), ("4", "4", "8"), ("1", "1", "2e+03")]


def test_exponents_are_fitted_to_the_three_largest_sizes():
    powers = {"linear": 1, "quadratic": 2}
    timings = [timing(name, 9.0, 1) for name in powers]
    timings += [timing(name, n**power, n) for n in (2, 4, 8) for name, power in powers.items()]
    assert table.exponents(timings) == [
        ("t", "cpu", "1", "linear", "1.00", "2, 4, 8"),
        ("t", "cpu", "1", "quadratic", "2.00", "2, 4, 8"),
    ]


def test_what_is_written_is_read(tmp_path):
    kept = [timing("a", 0.25, peak_mb=3.0), timing("b", 0.5, difference=1e-12)]
    table.write(kept, tmp_path / "results.csv")
    assert table.read(tmp_path / "results.csv") == kept
    assert table.memory(kept) == [("t", "1", "cpu", "a", "3")]


def test_nothing_was_measured_yet(tmp_path):
    assert table.read(tmp_path / "results.csv") == []


def test_turns_are_joined_in_the_report_of_pytest_benchmark(tmp_path):
    wanted = timing("a", 0.25, rounds=4, median=0.45, peak_mb=7.0)
    info = dataclasses.asdict(wanted)
    for name in ("rounds", "median", "least", *STAMP):
        del info[name]
    before = {"peak_mb": None}
    turns = [([0.5], before), ([0.6], before), ([0.25, 0.4], {"measures_memory": True})]
    entries = [{"extra_info": info | other, "stats": {"data": seconds}} for seconds, other in turns]
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"benchmarks": entries}), encoding="utf-8")
    assert table.from_benchmark(report, STAMP) == [wanted]


def test_new_lines_replace_those_of_their_section():
    old = [timing("a", 1.0, section="graphs"), timing("b", 1.0), timing("c", 1.0)]
    new = [timing("d", 1.0)]
    assert [t.variant for t in command.replaced(old, new)] == ["d", "a"]


@pytest.mark.slow
def test_a_section_is_measured(monkeypatch):
    # A worker of pytest-xdist hands this to its children, which then measure nothing.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    found, passed = command.measure("convolution", "-k", "16 and fft and not backward")
    assert passed
    assert {t.variant for t in found} == {"torch.fft", "CircularConv, fft"}
    assert all(t.rounds >= 30 and 0 < t.least <= t.median for t in found)


@pytest.mark.slow
def test_a_section_that_fails_gives_nothing(capfd):
    assert command.measure("convolution", "-k", "no such variant") == ([], False)


def test_what_failed_is_said_and_the_rest_is_kept(monkeypatch, tmp_path, capsys):
    kept = []
    monkeypatch.setattr(table, "read", list)
    monkeypatch.setattr(table, "write", kept.extend)
    monkeypatch.setattr(command, "measure", lambda section: ([timing("a", 1.0)], False))
    monkeypatch.setattr(command, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(command, "page", lambda: "page")
    assert command.main(["solver"]) == 1
    assert kept == [timing("a", 1.0)]
    assert capsys.readouterr().err == "solver: a variant failed, see above\n"
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == "page"


def test_a_section_that_needs_another_machine_is_skipped_by_name(monkeypatch, capsys):
    monkeypatch.setattr(command, "skipped", lambda section: "skipped: torch sees no GPU")
    monkeypatch.setattr(command, "measure", lambda section: pytest.fail("measured"))
    assert command.run(["layers"]) == []
    assert capsys.readouterr().out == "layers skipped: torch sees no GPU\n"


def test_an_unknown_section_is_refused(capsys):
    with pytest.raises(SystemExit):
        command.main(["solvers"])
    assert "solvers" in capsys.readouterr().err


NAN = float("nan")
BOUNDS = [(False, 1.0, True), (False, 1.01, False), (True, 1.0, True), (True, 0.99, False)]
BOUNDS += [(False, NAN, False), (True, NAN, False)]


@pytest.mark.parametrize(("at_least", "value", "met"), BOUNDS)
def test_a_target_is_judged_by_its_worst_value(at_least, value, met):
    best = 9.0 if at_least else 0.1
    values = [Measured(best, "best"), Measured(value, "worst"), Measured(best, "best")]
    target = Target("t", "s", 1.0, lambda found: values, at_least)
    assert target.met(results()) is met
    assert target.worst(results()).where == "worst"


def test_a_target_without_values_is_not_met():
    target = Target("t", "s", 1.0, lambda found: [])
    assert not target.met(results())


def test_the_ratio_is_to_the_fastest_peer():
    group = [timing("PyG, CSR", 4.0), timing("PyG, CSC", 2.0), timing("gdl", 3.0)]
    (found,) = targets.ratios("solver", "t", "gdl", "PyG, CS[RC]")(results(*group))
    assert found.value == 1.5
    (found,) = targets.ratios("solver", "t", "gdl", "PyG, CSR", faster=True)(results(*group))
    assert found.value == pytest.approx(4 / 3)
    assert not list(targets.ratios("solver", "t", "gdl", "PyG", (7,))(results(*group)))
    assert not list(targets.ratios("solver", "t", "gdl", "DGL")(results(*group)))
    assert not list(targets.ratios("solver", "t", "ours", "PyG, CSR")(results(*group)))


def test_what_an_import_adds():
    fresh = {"section": "startup"}
    group = [timing("import torch", 1.0, **fresh)]
    group += [timing("import torch, gdl.equivariance", 1.25, **fresh)]
    (found,) = targets.added_by_import(results(*group))
    assert found.value == 0.5


def test_all_chapters_together():
    rows = [{"chapter": name, "seconds": "700", "peak_mb": "1"} for name in "ab"]
    (found,) = targets.book(results(chapters=rows))
    assert found.value == 1400


def test_slower_than_a_peer_at_the_largest_size_only():
    peer = {"package": "torch", "version": "2"}
    small = [timing("ours", 3.0, 1), timing("theirs", 1.0, 1, **peer)]
    even = [timing("ours", 1.05, 2), timing("theirs", 1.0, 2, **peer)]
    slow = [timing("ours", 3.0, 2), timing("theirs", 2.0, 2, **peer)]
    assert targets.slower(small + even) == []
    assert targets.slower(small + slow) == [("t", "2", "1", "ours", "theirs", "torch 2", "1.5")]
    assert targets.slower([timing("ours", 3.0)]) == []


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.name)
def test_every_target_was_measured(target):
    assert target.worst(targets.results()) is not None


def test_the_page_is_made_of_the_tables():
    written = pages.PAGE.read_text(encoding="utf-8")
    assert written == pages.page(), "run `python -m benchmarks --page`"


def section_of_readme(title: str) -> str:
    return re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", README, re.M | re.S)[1]


def test_the_readme_names_each_shortfall_and_no_other():
    short = {target.name for target in targets.TARGETS if not target.met(targets.results())}
    named = re.findall(r"^- \*\*(.*?)\.\*\*", section_of_readme("Shortfalls"), re.M)
    assert set(named) == short
    assert len(named) == len(short)


def test_the_readme_names_what_is_slower_than_a_peer():
    named = section_of_readme("Slower than a peer, without a bound")
    missing = {row[0] for row in targets.slower(table.read()) if f"`{row[0]}`" not in named}
    assert missing == set()
