"""Pictures of meshes: wrong input is refused by its name."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from gdl.plot import surface


@pytest.fixture(autouse=True)
def no_window():
    mpl.use("agg")
    yield
    plt.close("all")


TRIANGLE = np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 1]])
FACE = [[0, 1, 2]]


@pytest.mark.parametrize(
    ("vertices", "faces", "options", "error", "message"),
    [
        (TRIANGLE[:, :2], FACE, {}, ValueError, r"vertices: .*\(n, 3\).*got \(3, 2\)"),
        (TRIANGLE * np.nan, FACE, {}, ValueError, "vertices: .*finite"),
        (TRIANGLE * 1e101, FACE, {}, ValueError, "vertices: .*1e.100"),
        ([[0, 0, 0], [0, 1]], FACE, {}, ValueError, "vertices"),
        (torch.ones(3, 3, device="meta"), FACE, {}, ValueError, "vertices"),
        (torch.eye(3).to_sparse(), FACE, {}, ValueError, "vertices"),
        (TRIANGLE, torch.ones(1, 3, device="meta"), {}, ValueError, "faces"),
        (TRIANGLE, FACE, {"curves": None}, TypeError, "curves: .*NoneType"),
        (TRIANGLE, FACE, {"points": 1e101 * TRIANGLE}, ValueError, "points: .*1e.100"),
        (TRIANGLE, [[0, 1]], {}, ValueError, r"faces: .*\(m, 3\)"),
        (TRIANGLE, [[0.0, 1.0, 2.0]], {}, ValueError, "faces: expected integers"),
        (TRIANGLE, [[0, 1, 3]], {}, ValueError, "faces: expected entries 0 to 2"),
        (TRIANGLE, [[-1, 1, 2]], {}, ValueError, "faces: expected entries 0 to 2"),
        (TRIANGLE, np.zeros((0, 3), int), {}, ValueError, "faces"),
        (TRIANGLE, FACE, {"values": [1.0, 2.0]}, ValueError, r"values: .*\(3,\).*got \(2,\)"),
        (TRIANGLE, FACE, {"values": [1.0, np.nan, 0.0]}, ValueError, "values: .*finite"),
        (TRIANGLE, FACE, {"values": np.ones((3, 2))}, ValueError, "values"),
        (TRIANGLE, FACE, {"values": np.ones((3, 1, 3))}, ValueError, "values"),
        (TRIANGLE, FACE, {"values": 2 * np.ones((3, 3))}, ValueError, "values: .*0 to 1"),
        (TRIANGLE, FACE, {"values": -np.ones((3, 3))}, ValueError, "values: .*0 to 1"),
        (TRIANGLE, FACE, {"values": [0, 1, -2]}, ValueError, "values: .*-1"),
        (TRIANGLE, FACE, {"values": ["a", "b", "c"]}, ValueError, "values"),
        (TRIANGLE, FACE, {"values": [1j, 1j, 1j]}, ValueError, "values"),
        (TRIANGLE, FACE, {"cmap": "no such map"}, ValueError, "cmap"),
        (TRIANGLE, FACE, {"values": [1.0] * 3, "limit": 0.0}, ValueError, "limit"),
        (TRIANGLE, FACE, {"values": [1.0] * 3, "limit": (1, 1)}, ValueError, "limit"),
        (TRIANGLE, FACE, {"values": [1.0] * 3, "limit": np.ones(2)}, ValueError, "limit"),
        (TRIANGLE, FACE, {"values": [1.0] * 3, "limit": (0, 1, 2)}, ValueError, "limit"),
        (TRIANGLE, FACE, {"view": (1.0,)}, ValueError, "view"),
        (TRIANGLE, FACE, {"view": (np.inf, 0)}, ValueError, "view"),
        (TRIANGLE, FACE, {"light": 1}, TypeError, "light"),
        (TRIANGLE, FACE, {"edges": "yes"}, TypeError, "edges"),
        (TRIANGLE, FACE, {"curves": [TRIANGLE, TRIANGLE[:1]]}, ValueError, r"curves\[1\]"),
        (TRIANGLE, FACE, {"curves": [TRIANGLE + np.inf]}, ValueError, r"curves\[0\]"),
        (TRIANGLE, FACE, {"points": TRIANGLE[0]}, ValueError, "points"),
    ],
)  # fmt: skip
def test_wrong_input(vertices, faces, options, error, message):
    with pytest.raises(error, match=message):
        surface(vertices, faces, **options)
