"""Claims: a true statement prints, a false one raises, and so does one that cannot fail."""

from __future__ import annotations

import math
import sys
import types
from fractions import Fraction

import numpy as np
import pytest
import torch

from gdl.claims import claim
from tests.test_representations import refuses


def test_printed_text(capsys):
    claim("small", 0.123456, below=1e-1 * 2, control=0.5)
    claim("large", 7, above=2, control=1)
    claim("exact", 15, equals=15, oracle=15)
    claim("range", 0.5, within=(0.25, 1), oracle=0.75, control=2)
    claim("names", ("a", 1, True), equals=("a", 1, True), control=("b",))
    assert capsys.readouterr().out.splitlines() == [
        "✓ small  [< 0.2; the broken twin fails]",
        "✓ large  [> 2; the broken twin fails]",
        "✓ exact  [= 15; the oracle agrees]",
        "✓ range  [in [0.25, 1]; the oracle agrees, the broken twin fails]",
        "✓ names  [= ('a', 1, True); the broken twin fails]",
    ]


@pytest.mark.parametrize(
    ("measured", "relation"),
    [
        (1.0, {"below": 1.0}),
        (2.0, {"below": 1.0}),
        (1.0, {"above": 1.0}),
        (0.0, {"above": 1.0}),
        (0.999, {"within": (1, 2)}),
        (2.001, {"within": (1, 2)}),
        (3, {"equals": 4}),
        ("a", {"equals": "b"}),
        ((1, 2), {"equals": (2, 1)}),
        ((1,), {"equals": 1}),
    ],
    ids=str,
)
def test_a_false_statement_raises(measured, relation, capsys):
    with pytest.raises(AssertionError, match=r"^wrong: measured .*, expected "):
        claim("wrong", measured, **relation, control=-1 if "above" in relation else 99)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("measured", "relation"),
    [
        (0.999, {"below": 1.0}),
        (1.001, {"above": 1.0}),
        (1.0, {"within": (1, 2)}),
        (2.0, {"within": (1, 2)}),
        (3, {"equals": 3}),
        ([1, 2], {"equals": (1, 2)}),
        (-1, {"below": 0}),
    ],
    ids=str,
)
def test_a_control_that_also_holds_raises(measured, relation, capsys):
    with pytest.raises(AssertionError, match=r"^toothless: the negative control .* cannot fail"):
        claim("toothless", measured, **relation, control=measured)
    assert capsys.readouterr().out == ""
    claim(
        "fine",
        measured,
        **relation,
        control=-1e6 if "above" in relation else 1e6 if "equals" not in relation else 0,
    )


@pytest.mark.parametrize(
    ("relation", "measured", "oracle"),
    [
        ({"equals": 3}, 3, 4),
        ({"within": (1, 2)}, 1.5, 2.5),
        ({"within": (1, 2)}, 1.5, 0.5),
    ],
    ids=str,
)
def test_an_oracle_that_disagrees_raises(relation, measured, oracle):
    with pytest.raises(AssertionError, match=r"^disputed: the oracle gives"):
        claim("disputed", measured, **relation, oracle=oracle)
    with pytest.raises(AssertionError, match="the negative control"):
        claim("both", measured, **relation, oracle=measured, control=measured)
    with pytest.raises(AssertionError, match="the oracle gives"):
        claim("both", measured, **relation, oracle=oracle, control=-9)


def test_relations_and_witnesses():
    expected = "exactly one of below, above, equals, within; got "
    for given, got in (
        ({}, "none$"),
        ({"below": 1, "above": 0}, r"\['below', 'above'\]$"),
        ({"equals": 1, "within": (0, 2)}, r"\['equals', 'within'\]$"),
    ):
        with pytest.raises(ValueError, match=expected + got):
            claim("s", 1, **given, control=2)
    with refuses(ValueError, "control, oracle"):
        claim("s", 0, below=1)
    for relation in ({"below": 1}, {"above": -1}):
        with refuses(ValueError, "oracle"):
            claim("s", 0, **relation, oracle=0)
        with refuses(ValueError, "oracle"):
            claim("s", 0, **relation, oracle=0, control=5)
    with refuses(ValueError, "measured"):
        claim("s", None, below=1, control=2)
    # Zero and False are values, not missing ones.
    claim("zero", 0, below=1, control=1)
    claim("zero", 1, above=0, control=0)
    claim("false", False, equals=False, control=True)
    claim("zero", 0, equals=0, oracle=0)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, torch.tensor(math.nan), np.float32("nan")], ids=str
)
@pytest.mark.parametrize("argument", ["measured", "below", "control"])
def test_values_must_be_finite(value, argument):
    with refuses(ValueError, argument):
        claim("s", **{"measured": 0.0, "below": 1.0, "control": 2.0, argument: value})


@pytest.mark.parametrize(
    "value",
    [
        "0.5",
        [0.5],
        (0.5, 0.5),
        torch.ones(2),
        np.ones((1, 1)),
        1j,
        True,
        np.bool_(True),
        torch.tensor(True),
        {},
        object(),
    ],
)
@pytest.mark.parametrize("argument", ["measured", "above", "control"])
def test_inequalities_compare_numbers(value, argument):
    with refuses(TypeError, argument):
        claim("s", **{"measured": 2.0, "above": 1.0, "control": 0.0, argument: value})


@pytest.mark.parametrize(
    "value",
    [1.0, math.nan, torch.tensor(1.0), np.float64(1), (1, 2.0), 1j, {}, object(), [[0.5]]],
)
@pytest.mark.parametrize("argument", ["measured", "equals", "control", "oracle"])
def test_equality_compares_exact_values(value, argument):
    with refuses(TypeError, argument):
        claim("s", **{"measured": 1, "equals": 1, "control": 2, "oracle": 1, argument: value})


@pytest.mark.parametrize("within", [(1, 0), (0,), (0, 1, 2), 3, "01", None, {0: 1, 1: 2}], ids=str)
def test_ranges(within):
    with pytest.raises(ValueError, match="within"):
        claim("s", 0, within=within, control=9)
    for bound, error in ((math.nan, ValueError), ("a", TypeError), (math.inf, ValueError)):
        with refuses(error, "within"):
            claim("s", 0, within=(-1, bound), control=9)
    claim("one point", 1, within=(1, 1), control=2)
    claim("a list", 1, within=[0, 1], control=2)


@pytest.mark.parametrize(
    "one",
    [
        1,
        np.int64(1),
        np.float32(1),
        torch.tensor(1.0),
        torch.tensor(1),
        torch.tensor(1.0, requires_grad=True),
        torch.tensor(1.0).bfloat16(),
        Fraction(1),
        np.array(1),
    ],
    ids=repr,
)
def test_scalars_of_other_libraries(one):
    claim("s", one, below=1.5, control=2 * one)
    with pytest.raises(AssertionError):
        claim("s", one, below=1.0, control=2)


@pytest.mark.parametrize(
    "three", [[1, 2, 3], (1, 2, 3), np.array([1, 2, 3]), torch.tensor([1, 2, 3])], ids=repr
)
def test_sequences_compare_as_tuples(three):
    claim("s", three, equals=(1, 2, 3), control=(1, 2))
    claim("s", (1, 2, 3), equals=three, oracle=three)
    with pytest.raises(AssertionError):
        claim("s", three, equals=(1, 2, 4), control=())
    claim("nested", [[1], [2, (3,)]], equals=((1,), (2, (3,))), control=0)


def test_metadata_in_a_notebook(monkeypatch, capsys):
    published = []
    fake = types.ModuleType("IPython")
    fake.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    fake.display = types.ModuleType("IPython.display")
    fake.display.publish_display_data = lambda data, metadata: published.append((data, metadata))
    monkeypatch.setitem(sys.modules, "IPython", fake)
    monkeypatch.setitem(sys.modules, "IPython.display", fake.display)
    claim("small", 1.23456e-15, below=1e-12, control=0.98765)
    claim("exact", 12345, equals=12345, oracle=12345)
    assert capsys.readouterr().out == ""
    assert published == [
        (
            {"text/plain": "✓ small  [< 1e-12; the broken twin fails]"},
            {
                "gdl": {
                    "claim": {
                        "statement": "small",
                        "bound": "< 1e-12",
                        "measured": 1.2e-15,
                        "control": 0.99,
                    }
                }
            },
        ),
        (
            {"text/plain": "✓ exact  [= 12345; the oracle agrees]"},
            {
                "gdl": {
                    "claim": {
                        "statement": "exact",
                        "bound": "= 12345",
                        "measured": 12345,
                        "oracle": 12345,
                    }
                }
            },
        ),
    ]
    for shell in (None, types.SimpleNamespace()):
        fake.get_ipython = lambda shell=shell: shell
        claim("small", 0, below=1, control=2)
    assert len(published) == 2 and capsys.readouterr().out.count("✓") == 2
