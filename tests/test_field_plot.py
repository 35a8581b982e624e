"""Pictures of tangent fields: where arrows and zeros are drawn, and which are hidden."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.quiver import Quiver

from gdl import plot
from gdl.plot import arrows, field_on_surface, singular_points, surface
from gdl.plot.fields import NEGATIVE, POSITIVE, SHARE

# From +x, the right of the picture is +y and the top is +z.
FRONT = (0.0, 0.0)
SQUARE = np.array([[0, -1, -1], [0, 1, -1], [0, 1, 1], [0, -1, 1]], float)
HALVES = np.array([[0, 1, 2], [0, 2, 3]])


@pytest.fixture(autouse=True)
def fresh_style():
    with mpl.rc_context():
        mpl.use("agg")
        plot.use_style()
        yield
        plt.close("all")


def sphere(rings: int = 24, around: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """A closed sphere, counter-clockwise seen from outside."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1, None]
    turn = 2 * np.pi * np.arange(around) / around
    parts = np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn
    belt = np.stack(parts, -1).reshape(-1, 3)
    index = np.arange(len(belt)).reshape(rings - 1, around)
    a, b, top = index, np.roll(index, -1, 1), np.full(around, len(belt))
    corners = [(a[:-1], a[1:], b[:-1]), (b[:-1], a[1:], b[1:]), (a[0], b[0], top)]
    corners.append((b[-1], a[-1], top + 1))
    faces = np.concatenate([np.stack(part, -1).reshape(-1, 3) for part in corners])
    return np.concatenate([belt, [[0, 0, 1], [0, 0, -1]]]), faces


def drawn(ax) -> list[tuple[np.ndarray, np.ndarray]]:
    """Origins and arrows of each quiver, in the plane of the picture."""
    quivers = [part for part in ax.collections if isinstance(part, Quiver)]
    return [(np.asarray(q.XY), np.stack([q.U, q.V], 1)) for q in quivers]


def square(view=FRONT):
    return surface(SQUARE, HALVES, view=view)


# Arrows


def test_arrows_are_where_the_surface_is():
    origins, vectors = [[0, 0.5, 0.1], [0, -0.5, 0.3]], [[9, 0.2, 0], [0, 0.1, -0.4]]
    ax = square()
    assert arrows(ax, SQUARE, HALVES, origins, vectors, view=FRONT) is ax
    ((places, seen),) = drawn(ax)
    assert np.allclose(places, [[0.5, 0.1], [-0.5, 0.3]])
    assert np.allclose(seen, [[0.2, 0], [0.1, -0.4]])
    view = (30, 70)
    ax = square(view)
    tips = np.add(origins, vectors)
    arrows(ax, SQUARE, HALVES, origins, vectors, view=view)
    surface(SQUARE, HALVES, ax, view=view, points=tips[1:])
    ((places, seen),) = drawn(ax)
    assert np.allclose((places + seen)[1], ax.lines[0].get_xydata()[0])


def test_arrows_are_drawn_in_units_of_the_picture():
    ax = square()
    arrows(ax, SQUARE, HALVES, [[0, 0, 0]], [[0, 0.5, 0]], view=FRONT, color="#ff0000")
    ax.figure.canvas.draw()
    (quiver,) = [part for part in ax.collections if isinstance(part, Quiver)]
    assert quiver.angles == quiver.scale_units == "xy" and quiver.scale == 1
    points = quiver.get_paths()[0].vertices + 0
    pixels = quiver.get_transform().transform(points)
    width = np.ptp(ax.transData.transform([[0, 0], [0.5, 0]])[:, 0])
    assert np.ptp(pixels[:, 0]) == pytest.approx(width, rel=1e-6)
    assert to_rgb(quiver.get_facecolor()) == (1, 0, 0)


def test_the_longest_arrow_has_the_length_wished_for():
    ax, vectors = square(), [[0, 3, 4], [0, 0, -1]]
    origins = np.zeros((2, 3))
    arrows(ax, SQUARE, HALVES, origins, vectors, view=FRONT, length=0.25)
    ((_, seen),) = drawn(ax)
    assert np.allclose(seen, [[0.3, 0.4], [0, -0.1]])
    arrows(ax, SQUARE, HALVES, origins, np.zeros((2, 3)), view=FRONT, length=0.25)
    assert not drawn(ax)[1][1].any()


def test_hidden_arrows_are_left_out():
    vertices, faces = sphere()
    ax = surface(vertices, faces, view=FRONT)
    arrows(ax, vertices, faces, vertices, np.ones_like(vertices), view=FRONT)
    ((places, _),) = drawn(ax)
    front = vertices[vertices[:, 0] > 0.02]
    assert {tuple(p) for p in front[:, 1:].round(9)} <= {tuple(p) for p in places.round(9)}
    assert len(places) < (vertices[:, 0] > -0.1).sum()
    arrows(ax, vertices, faces, [[-1, 0, 0]], [[0, 1, 0]], view=FRONT)
    assert len(drawn(ax)[1][0]) == 0
    ax.figure.savefig(io.BytesIO(), format="png")


def test_lines_have_no_heads():
    ax = square()
    for heads in (True, False):
        arrows(ax, SQUARE, HALVES, [[0, 0, 0]], [[0, 1, 0]], view=FRONT, heads=heads)
    ax.figure.canvas.draw()
    thick, thin = (
        np.ptp(part.get_paths()[0].vertices[:, 1])
        for part in ax.collections
        if isinstance(part, Quiver)
    )
    assert thick > 3 * thin > 0


# Frames


# Zeros


@pytest.mark.parametrize(("order", "labels"), [
    (1, ["+1", "−1", "−2"]), (2, ["+1/2", "−1/2", "−1"]), (4, ["+1/4", "−1/4", "−1/2"]),
])  # fmt: skip
def test_zeros_differ_in_shape_colour_and_label(order, labels):
    points = np.array([[0, 0.1, 0], [0, 0.2, 0], [0, 0.3, 0], [0, 0.4, 0]])
    ax = square()
    singular_points(ax, SQUARE, HALVES, points, [1, -1, 0, -2], order=order, view=FRONT)
    assert [text.get_text() for text in ax.texts] == labels
    marks = [(m.get_marker(), m.get_color()) for m in ax.lines]
    assert marks == [POSITIVE, NEGATIVE, NEGATIVE]
    assert all(one != other for one, other in zip(POSITIVE, NEGATIVE, strict=True))
    places = np.concatenate([m.get_xydata() for m in ax.lines])
    assert np.allclose(places, [[0.1, 0], [0.2, 0], [0.4, 0]])


def test_hidden_zeros_are_left_out():
    vertices, faces = sphere()
    ax = surface(vertices, faces, view=FRONT)
    singular_points(ax, vertices, faces, [[-1, 0, 0], [1, 0, 0]], [3, 1], view=FRONT)
    assert [text.get_text() for text in ax.texts] == ["+1"]


# The whole picture


def rotation(vertices: np.ndarray) -> np.ndarray:
    return np.cross([0.0, 0.0, 1.0], vertices)


def test_a_field_is_thinned_out_evenly():
    vertices, faces = sphere(48, 64)
    ax = field_on_surface(vertices, faces, rotation(vertices), view=FRONT, count=60)
    ((places, seen),) = drawn(ax)
    assert 25 <= len(places) <= 40
    # Near the rim the picture does not tell the front from the back.
    inner = np.linalg.norm(places, axis=1) < 0.95
    places, seen = places[inner], seen[inner]
    origins = np.column_stack([np.sqrt(1 - (places**2).sum(1)), places])
    gaps = np.linalg.norm(origins[:, None] - origins, axis=-1) + 9 * np.eye(len(origins))
    factor = seen[:, 0] / origins[:, 0]
    assert np.allclose(factor, factor[0]) and np.allclose(seen[:, 1], 0)
    # The longest arrow, on the equator or near it, is not longer than the least gap.
    assert 0.3 < factor[0] / SHARE < 1.01 * gaps.min()


def test_arrows_of_one_length_and_of_none():
    vectors = np.array([[0, 3, 4], [0, 0, 0.1], [0, 0, 0], [0, -1, 0]], float)
    ax = field_on_surface(SQUARE, HALVES, vectors, view=FRONT, unit=True, length=0.1)
    ((places, seen),) = drawn(ax)
    found = {tuple(p): tuple(v) for p, v in zip(places.round(6), seen.round(6), strict=True)}
    assert found == {(-1, -1): (0.12, 0.16), (1, -1): (0, 0.2), (1, 1): (0, 0), (-1, 1): (-0.2, 0)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_fields_of_higher_order_are_lines_through_one_point(dtype):
    cross = torch.tensor([[0, 1, 0], [0, 0, 1], [0, -1, 0], [0, 0, -1]], dtype=dtype)
    ax = field_on_surface(SQUARE, HALVES, cross.expand(4, 4, 3), singular=[0, 1], view=FRONT)
    ((places, seen),) = drawn(ax)
    assert len(places) == 16 and len(np.unique(places, axis=0)) == 4
    for place in np.unique(places, axis=0):
        arms = seen[(places == place).all(1)]
        # The distance between vertices is 2.
        assert np.allclose(arms, cross[:, 1:].numpy() * SHARE)
    (quiver,) = [part for part in ax.collections if isinstance(part, Quiver)]
    assert quiver.headwidth == 0
    assert [text.get_text() for text in ax.texts] == ["+1/4"]
    assert np.allclose(ax.lines[0].get_xydata(), SQUARE[HALVES[1], 1:].mean(0))


def test_colours_and_titles_are_those_of_the_surface():
    vertices, faces = sphere(8, 8)
    _, ax = plt.subplots()
    field_on_surface(
        vertices, faces, rotation(vertices), ax, values=vertices[:, 2], cmap="viridis", title="spin"
    )
    alone = surface(vertices, faces, values=vertices[:, 2], cmap="viridis")
    painted, expected = (
        next(part for part in a.collections if isinstance(part, PolyCollection)).get_facecolor()
        for a in (ax, alone)
    )
    assert ax.get_title() == "spin" and np.array_equal(painted, expected)
    assert ax.get_xlim() == alone.get_xlim()


def test_frames_of_an_animation_show_a_vector_on_its_way():
    vertices, faces = sphere()
    turn = np.linspace(-0.5, 0.5, 5)
    path = np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)
    figures = []
    for k in (2, 4):
        ax = surface(vertices, faces, view=FRONT, curves=[path[:k]])
        arrows(ax, vertices, faces, path[k - 1 : k], [[0, 0, 0.3]], view=FRONT)
        ((places, seen),) = drawn(ax)
        curve = [part for part in ax.collections if isinstance(part, LineCollection)][0]
        assert np.allclose(places[0], curve.get_segments()[-1][-1], atol=0.02)
        assert np.allclose(seen, [[0, 0.3]])
        figures.append(ax.figure)
    assert len(plot.player(figures, alt="a vector on its way").frames) == 2


def test_nothing_at_all_may_be_drawn():
    ax, none = square(), np.zeros((0, 3))
    arrows(ax, SQUARE, HALVES, none, none, view=FRONT, length=0.1)
    index = np.zeros(2, dtype=np.int64)
    middles = SQUARE[HALVES].mean(1)
    singular_points(ax, SQUARE, HALVES, middles[index != 0], index[index != 0], view=FRONT)
    singular_points(ax, SQUARE, HALVES, none, [], view=FRONT)
    assert [len(places) for places, _ in drawn(ax)] == [0]
    assert not ax.texts and not ax.lines
    ax.figure.savefig(io.BytesIO(), format="png")


def test_numbers_of_numpy_are_numbers():
    ax = square()
    arrows(ax, *GOOD, view=FRONT, length=np.float32(0.25))
    singular_points(ax, *GOOD[:3], [1, 2], order=np.int64(2), view=FRONT)
    assert [text.get_text() for text in ax.texts] == ["+1/2", "+1"]
    ax = field_on_surface(SQUARE, HALVES, SQUARE, view=FRONT, count=np.int64(3))
    assert len(drawn(ax)[0][0]) == 3


# Input that does not fit

GOOD = (SQUARE, HALVES, np.zeros((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda ax: arrows(None, *GOOD), TypeError, "ax: expected Matplotlib's Axes, got NoneType"),
    (lambda ax: arrows(ax, SQUARE, HALVES + 9, *GOOD[2:]), ValueError, "faces: expected entries"),
    (lambda ax: arrows(ax, *GOOD[:3], np.ones((3, 3))), ValueError, "vectors: expected shape"),
    (lambda ax: arrows(ax, *GOOD[:3], np.ones((2, 2))), ValueError, "vectors: expected shape"),
    (lambda ax: arrows(ax, *GOOD[:3], np.full((2, 3), np.nan)), ValueError, "vectors: expected fi"),
    (lambda ax: arrows(ax, *GOOD, length=0.0), ValueError, "length: expected a positive finite"),
    (lambda ax: arrows(ax, *GOOD, length=True), TypeError, "length: expected a number, got bool"),
    (lambda ax: arrows(ax, *GOOD, length="1"), TypeError, "length: expected a number, got str"),
    (lambda ax: arrows(ax, *GOOD[:2], np.zeros((0, 2)), GOOD[3]), ValueError, "origins: expected"),
    (lambda ax: arrows(ax, *GOOD[:3], np.zeros((0, 3))), ValueError, "vectors: expected shape"),
    (lambda ax: arrows(ax, *GOOD, heads=1), TypeError, "heads: expected True or False"),
    (lambda ax: arrows(ax, *GOOD, view=(1, 2, 3)), ValueError, "view: expected elevation"),
    (lambda ax: singular_points(ax, *GOOD[:3], [1]), ValueError, r"indices: expected shape \(2,\)"),
    (lambda ax: singular_points(ax, *GOOD[:3], [1.0, 2.0]), ValueError, "indices: expected integ"),
    (lambda ax: singular_points(ax, *GOOD[:3], [1, 2], order=0), ValueError, "order: expected at"),
    (lambda ax: singular_points(ax, *GOOD[:3], [1, 2], order=1.0), TypeError, "order: expected an"),
    (lambda ax: singular_points(ax, *GOOD[:3], []), ValueError, r"indices: expected shape \(2,\)"),
    (lambda ax: field_on_surface(*GOOD[:3]), ValueError, r"vectors: expected shape \(4, 3\) or"),
    (lambda ax: field_on_surface(SQUARE, HALVES, SQUARE, ax, count=0), ValueError, "count: expec"),
    (lambda ax: field_on_surface(SQUARE, HALVES, SQUARE, ax, count=2.0), TypeError, "count: expec"),
    (lambda ax: field_on_surface(SQUARE, HALVES, SQUARE, singular=[]), ValueError,
     r"singular: expected 2 indices, one a face, got shape \(0,\)"),
    (lambda ax: field_on_surface(SQUARE, HALVES, SQUARE, unit=1), TypeError, "unit: expected True"),
    (lambda ax: field_on_surface(SQUARE, HALVES, SQUARE, singular=[1]), ValueError,
     "singular: expected 2 indices"),
])  # fmt: skip
def test_arguments_that_do_not_fit(call, error, text):
    with pytest.raises(error, match=text):
        call(square())
