"""The tables beside this file, which ship with the package, and how a chapter reads them.

``studies.csv`` is written by the scripts in ``studies/`` (``make studies``), ``literature.csv`` by
hand: every published number that the book prints, with its source and how it was checked.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One published number and where it stands.

    Attributes:
        value: the number, in the unit that its quantity names.
        dataset: on which it was measured.
        where: table, section or page of the source.
        checked: how it was compared with the source.

    Chapters: ``grids``, ``groups``, ``rotations`` and others.

    >>> Published(69.74, "ImageNet", "table 1", "read in the paper").value
    69.74
    """

    value: float
    dataset: str
    where: str
    checked: str


def study(name: str, quantity: str) -> dict[str, list[float]]:
    """What a study measured: for each variant one value for each seed, in the order 0, 1, 2.

    Args:
        name: of the study, a file of ``studies/``.
        quantity: what was measured, as the table spells it.

    Returns:
        Variant -> values, the variants in the order of the study.

    Raises:
        ValueError: no such study, or no such quantity in it; names those that there are.

    Law tested: every study holds the seeds 0, 1, 2 of every variant. Used in the chapters
    ``one_equation`` and ``grids``.

    Chapters: all of them.

    >>> list(study("rolled_digits", "accuracy rolled"))
    ['MLP', 'augmented', 'blueprint']
    >>> all(len(values) == 3 for values in study("rolled_digits", "accuracy rolled").values())
    True
    """
    rows = _rows("studies.csv", "name", name, "study")
    known = {row["quantity"] for row in rows}
    _require("quantity", quantity, known)
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["quantity"] == quantity:
            values.setdefault(row["variant"], {})[int(row["seed"])] = float(row["value"])
    return {variant: [runs[seed] for seed in sorted(runs)] for variant, runs in values.items()}


def literature(key: str) -> dict[str, Published]:
    """The published numbers of one source.

    Args:
        key: citation key, as in ``references.bib``.

    Returns:
        Quantity (with its unit) -> number, in the order of the table.

    Raises:
        ValueError: no number is quoted from this source; names the sources that there are.

    Law tested: every key stands in the bibliography, no quantity of a source occurs twice. Used in
    the chapter ``grids``.

    Chapters: ``grids``, ``groups``, ``rotations`` and others.

    >>> literature("zhang2019making")["accuracy in %, ResNet18"].value
    69.74
    """
    return {
        row["quantity"]: Published(
            float(row["value"]), row["dataset"], row["where"], row["checked"]
        )
        for row in _rows("literature.csv", "key", key, "key")
    }


def _rows(table: str, argument: str, wanted: str, column: str) -> list[dict[str, str]]:
    """The rows of a table with the wanted entry in a column."""
    with (files("gdl.results") / table).open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    _require(argument, wanted, {row[column] for row in rows})
    return [row for row in rows if row[column] == wanted]


def _require(argument: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{argument}: expected one of {', '.join(sorted(known))}, got {value!r}")
