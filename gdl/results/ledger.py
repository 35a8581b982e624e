"""The ledger: every claim that the book makes, with what was measured when its chapters ran.

``ledger.csv`` beside this file is written by ``make ledger`` from the outputs that the chapters
store, one row for each call of :func:`gdl.claims.claim` in their code. A call that ran several
times, in a loop, is one claim; its row shows the run that came nearest to its bound.
"""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import dataclass, fields
from importlib.resources import files

import gdl._checks as check
from gdl.results.tables import _require

Value = float | int | bool | str | tuple

_RELATIONS = {"<": "below", ">": "above", "=": "equals", "in": "within"}
_NUMBER = r"-?[\d.]+(e[+-]\d+)?"
_BOUND = re.compile(rf"= .*|[<>] {_NUMBER}|in \[{_NUMBER}, {_NUMBER}\]", re.DOTALL)
# What claim() keeps: a float with two digits, the ends of a bound with three.
_VALUE_DIGITS, _BOUND_DIGITS = 2, 3


@dataclass(frozen=True)
class Entry:
    """One claim of the book.

    Attributes:
        chapter: file name of the chapter, without its ending.
        number: position of the claim in its chapter, from 1.
        cell: id of the code cell.
        section: heading above the cell.
        anchor: where that heading stands on the page of the chapter.
        statement: the sentence; of a call in a loop, an ellipsis stands where its runs differ.
        bound: relation and bound as the chapter prints them, such as "< 1e-12" or "in [1, 2]".
        measured: the number measured, floats with two digits.
        control: the same measurement of a broken twin, which misses the bound, or None.
        oracle: the same quantity by another route, which meets the bound, or None.
        times: how often the call ran.

    Raises:
        TypeError: a bound that is no string.
        ValueError: a bound of another form.

    Law tested: no measured value and no oracle of the table misses its bound, and no control
    meets it, as far as two digits say; what surely holds has no ratio above 1, what surely misses
    none below 1. Chapter: ``zoo``.

    >>> entry = Entry("grids", 1, "a0", "Shifts", "shifts", "commutes", "< 1e-12", 1e-15, 0.5)
    >>> entry.relation, entry.holds(entry.measured), entry.holds(entry.control)
    ('below', True, False)
    >>> round(entry.margin, 6), entry.ratio(entry.control)
    (3.0, 500000000000.0)
    """

    chapter: str
    number: int
    cell: str
    section: str
    anchor: str
    statement: str
    bound: str
    measured: Value
    control: Value | None = None
    oracle: Value | None = None
    times: int = 1

    def __post_init__(self):
        if not isinstance(self.bound, str):
            raise TypeError(f"bound: expected a string, got {type(self.bound).__name__}")
        if not _BOUND.fullmatch(self.bound):
            raise ValueError(
                f"bound: expected one such as '< 1', '= 2' or 'in [1, 2]', got {self.bound!r}"
            )

    @property
    def relation(self) -> str:
        """The relation of the claim, one of "below", "above", "equals" and "within"."""
        return _RELATIONS[self._parts[0]]

    @property
    def ends(self) -> tuple[float, float]:
        """The lower and upper end of the bound, infinite where there is none.

        Raises:
            ValueError: the claim compares exactly.
        """
        relation, text = self.relation, self._parts[2]
        if relation == "equals":
            raise ValueError(f"bound: expected one with ends, got {self.bound!r}")
        if relation == "within":
            low, high = text.strip("[]").split(", ")
            return float(low), float(high)
        return (-math.inf, float(text)) if relation == "below" else (float(text), math.inf)

    def holds(self, value: Value) -> bool | None:
        """Whether a value meets the bound, as far as the rounding of both lets one say.

        Args:
            value: measured, control or oracle of a row, hence rounded.

        Returns:
            True if all numbers that round to the value do, False if none does, else None.

        Raises:
            TypeError, ValueError: no finite number where the bound is one.
        """
        if self.relation == "equals":
            return str(value) == self._parts[2]
        least, most = _unrounded(check.number("value", value), _VALUE_DIGITS)
        low, high = (_unrounded(end, _BOUND_DIGITS) for end in self.ends)
        if self.relation == "below":
            surely, never = most < high[0], least >= high[1]
        elif self.relation == "above":
            surely, never = least > low[1], most <= low[0]
        else:
            surely = low[1] <= least and most <= high[0]
            never = most < low[0] or least > high[1]
        return True if surely else False if never else None

    def ratio(self, value: Value) -> float | None:
        """By what factor a value lies from the bound: at most 1 if it holds, above 1 if it misses.

        value / bound for "below" and bound / value for "above", when both are positive; negative
        numbers turn a bound on a number into one on its size. What holds with the wrong sign has
        the ratio 0, what misses with the wrong sign an infinite one. "within" is "above" its low
        end and "below" its high end, and the larger of the two ratios counts.

        Args:
            value: measured, control or oracle.

        Returns:
            The ratio, as exact as the two digits are, or None where a bound has no scale: exact
            comparisons, and bounds of 0.

        Raises:
            TypeError, ValueError: no finite number where the bound is one.
        """
        if self.relation == "equals":
            return None
        value = check.number("value", value)
        low, high = self.ends
        # "above" is "below" with both signs changed.
        sides = {"below": [(high, value)], "above": [(-low, -value)]}
        pairs = sides.get(self.relation, [(high, value), (-low, -value)])
        if pairs[0][0] == 0 and len(pairs) == 1:
            return None
        return max(_ratio_below(bound, value) for bound, value in pairs)

    @property
    def margin(self) -> float | None:
        """How many powers of ten lie between what was measured and the bound.

        Minus the decimal logarithm of the ratio, infinite for a measured 0, and None where the
        bound has no scale.
        """
        ratio = self.ratio(self.measured)
        return None if ratio is None else -math.log10(ratio) if ratio else math.inf

    @property
    def _parts(self) -> tuple[str, str, str]:
        return self.bound.partition(" ")


def _ratio_below(bound: float, value: float) -> float:
    if value == bound:
        return 1.0
    if bound > 0:
        return max(value, 0.0) / bound
    return bound / value if value < 0 else math.inf


def _unrounded(value: float, digits: int) -> tuple[float, float]:
    """The least and the largest number that round to the value with so many digits."""
    if value == 0 or math.isinf(value):
        return value, value
    exponent = math.floor(math.log10(abs(value)))
    unit = 10.0 ** (exponent + 1 - digits)
    # Below a power of ten the digits are ten times finer.
    inward = unit / 10 if math.isclose(abs(value), 10.0**exponent) else unit
    smaller, larger = abs(value) - inward / 2, abs(value) + unit / 2
    return (smaller, larger) if value > 0 else (-larger, -smaller)


def ledger(chapter: str | None = None) -> tuple[Entry, ...]:
    """The claims of the book, or of one chapter, in the order in which a reader meets them.

    Args:
        chapter: file name of a chapter without its ending; None takes all of them.

    Raises:
        TypeError: a chapter that is no string.
        ValueError: a chapter without claims; names those that have some.

    Law tested: the table is what the stored outputs of the chapters say. Chapter: ``zoo``.

    >>> len(ledger()) > 150
    True
    >>> ledger("one_equation")[0].statement
    'The logits of the MLP change when the image is rolled'
    """
    if chapter is not None and not isinstance(chapter, str):
        raise TypeError(f"chapter: expected a string or None, got {chapter!r}")
    with (files("gdl.results") / "ledger.csv").open(encoding="utf-8", newline="") as lines:
        entries = tuple(map(_from_row, csv.DictReader(lines)))
    if chapter is None:
        return entries
    _require("chapter", chapter, {entry.chapter for entry in entries})
    return tuple(entry for entry in entries if entry.chapter == chapter)


_NUMBERS = ("number", "times")
_VALUES = ("measured", "control", "oracle")


def _from_row(row: dict[str, str]) -> Entry:
    values = {name: _tuples(json.loads(row[name])) for name in _VALUES if row[name]}
    numbers = {name: int(row[name]) for name in _NUMBERS}
    texts = {f.name: row[f.name] for f in fields(Entry) if f.name not in _VALUES + _NUMBERS}
    return Entry(**texts, **numbers, **values)


def _tuples(value: Value | list) -> Value:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
