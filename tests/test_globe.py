"""The picture of a function on the sphere: directions, scale, wrong input."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from gdl.plot import globe


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def picture(function, **options) -> np.ma.MaskedArray:
    return globe(function, pixels=41, **options).images[0].get_array()


def coordinate(axis: int):
    return lambda points: points[:, axis]


def test_without_tilt_and_turn_x_is_right_and_y_up():
    x, y, z = (picture(coordinate(axis), tilt=0.0, turn=0.0) for axis in range(3))
    assert x[20, 38] > 0.8 and x[20, 2] < -0.8
    assert y[2, 20] > 0.8 and y[38, 20] < -0.8
    assert z[20, 20] == pytest.approx(1.0)


def test_the_pole_is_tilted_towards_the_eye():
    tilt = 0.6
    y = picture(coordinate(1), tilt=tilt, turn=0.0)
    row = np.unravel_index(np.nanargmax(np.ma.filled(y, -9)), y.shape)[0]
    assert (20 - row) / 20.5 == pytest.approx(np.cos(tilt), abs=0.05)
    assert y[20, 20] == pytest.approx(np.sin(tilt), abs=1e-6)


def test_the_turn_is_about_the_pole():
    turn = 0.4
    x = picture(coordinate(0), tilt=0.0, turn=turn)
    assert x[20, 20] == pytest.approx(-np.sin(turn), abs=1e-6)


def test_points_lie_on_the_sphere_and_outside_is_empty():
    seen = []

    def function(points):
        seen.append(points)
        return points[:, 0]

    values = picture(function)
    assert torch.allclose(seen[0].norm(dim=1), torch.ones(1, dtype=torch.float64), atol=1e-12)
    assert np.ma.getmaskarray(np.ma.masked_invalid(values))[0, 0]


def test_the_scale_is_symmetric():
    ax = globe(lambda points: points[:, 1] + 3, pixels=11)
    low, high = ax.images[0].get_clim()
    assert low == -high and high > 3
    assert globe(coordinate(0), pixels=11, limit=2.0).images[0].get_clim() == (-2.0, 2.0)


def test_title_and_axes():
    _, ax = plt.subplots()
    assert globe(coordinate(0), ax, pixels=11, title="x") is ax
    assert ax.get_title() == "x"


@pytest.mark.parametrize(
    ("function", "options", "error", "message"),
    [
        (3, {}, TypeError, "function"),
        (lambda points: points, {}, ValueError, "function"),
        (lambda points: 0.0, {}, ValueError, "function"),
        (lambda points: points[:, 0] / 0, {}, ValueError, "finite"),
        (coordinate(0), {"pixels": 1}, ValueError, "pixels"),
        (coordinate(0), {"limit": -1.0}, ValueError, "limit"),
    ],
    ids=["no function", "vectors", "a number", "infinite", "one pixel", "negative limit"],
)
def test_wrong_input(function, options, error, message):
    with pytest.raises(error, match=message):
        globe(function, **{"pixels": 11, **options})
