"""Pictures of meshes: which faces are painted, in which order and colour, and what is hidden."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb

from gdl import plot
from gdl.plot import surface
from gdl.plot.mesh import AMBIENT, DEPTH_TOLERANCE, LIGHT, PLAIN

# From +x, the right of the picture is +y and the top is +z.
FRONT = (0.0, 0.0)


@pytest.fixture(autouse=True)
def fresh_style():
    with mpl.rc_context():
        mpl.use("agg")
        plot.use_style()
        yield
        plt.close("all")


def cube() -> tuple[np.ndarray, np.ndarray]:
    """The cube [0, 1]^3, two faces a side, sides in the order -x, +x, -y, +y, -z, +z."""
    bits = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)])
    squares = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in squares for face in ((a, b, c), (a, c, d))]
    return bits.astype(float), np.array(faces)


def sphere(rings: int = 24, around: int = 32, radius: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed sphere of 2 around (rings - 1) faces, counter-clockwise seen from outside."""
    polar = np.linspace(0, np.pi, rings + 1)[1:-1, None]
    turn = 2 * np.pi * np.arange(around) / around
    belt = np.stack(
        np.broadcast_arrays(
            np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)
        ),
        -1,
    ).reshape(-1, 3)
    vertices = np.concatenate([belt, [[0, 0, 1], [0, 0, -1]]])
    top, bottom = len(belt), len(belt) + 1
    index = np.arange(len(belt)).reshape(rings - 1, around)
    a, b = index, np.roll(index, -1, 1)
    upper, lower = (a[:-1], a[1:], b[:-1]), (b[:-1], a[1:], b[1:])
    parts = [np.stack(part, -1).reshape(-1, 3) for part in (upper, lower)]
    parts += [np.stack([a[0], b[0], np.full(around, top)], -1)]
    parts += [np.stack([b[-1], a[-1], np.full(around, bottom)], -1)]
    return radius * vertices, np.concatenate(parts)


def squares(*depths: float) -> tuple[np.ndarray, np.ndarray]:
    """Squares [0, 1]^2 across the line of sight of ``FRONT``, one at each x."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    vertices = [[x, y, z] for x in depths for y, z in corners]
    faces = [np.array([[0, 1, 2], [0, 2, 3]]) + 4 * k for k in range(len(depths))]
    return np.array(vertices), np.concatenate(faces)


def painted(ax) -> np.ndarray:
    """(faces, 3): the colours of the painted faces, the first one painted first."""
    return ax.collections[0].get_facecolor()[:, :3]


def outlines(ax) -> list[np.ndarray]:
    return [path.vertices[:3] for path in ax.collections[0].get_paths()]


def lines(ax) -> list[np.ndarray]:
    """The visible parts of the curves."""
    return [path.vertices for part in ax.collections[1:] for path in part.get_paths()]


# Which faces, and where


def test_of_a_closed_surface_only_faces_towards_the_eye_are_painted():
    vertices, faces = cube()
    ax = surface(vertices, faces, view=FRONT)
    assert len(outlines(ax)) == 2
    seen = {tuple(corner) for path in outlines(ax) for corner in path}
    assert seen == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert len(outlines(surface(vertices, faces, view=(20, 30)))) == 6
    # From -x the right of the picture is -y.
    behind = outlines(surface(vertices, faces, view=(0, 180)))
    assert np.allclose(sorted(p[0] for path in behind for p in path), [-1] * 3 + [0] * 3)


def test_the_axes_of_the_picture():
    corners = np.array([[0, 0, 0], [0, 2, 0], [0, 0, 1]], float)
    (path,) = outlines(surface(corners, [[0, 1, 2]], view=FRONT))
    assert np.allclose(path, [[0, 0], [2, 0], [0, 1]])
    (path,) = outlines(surface(corners[:, [1, 0, 2]], [[0, 1, 2]], view=(0, 90)))
    assert np.allclose(path, [[0, 0], [-2, 0], [0, 1]])
    (path,) = outlines(surface(corners[:, [2, 1, 0]], [[0, 1, 2]], view=(90, 0)))
    assert np.allclose(path, [[0, 0], [2, 0], [0, -1]])
    (path,) = outlines(surface(corners, [[0, 1, 2]], view=(60, 0)))
    assert np.allclose(path, [[0, 0], [2, 0], [0, 0.5]])


def test_a_closed_surface_turned_inside_out_looks_the_same():
    vertices, faces = sphere()
    values = vertices[:, 2]
    usual, flipped = (surface(vertices, f, values=values) for f in (faces, faces[:, ::-1]))
    assert np.allclose(painted(usual), painted(flipped))


def test_one_of_two_closed_surfaces_is_inside_out():
    vertices, faces = sphere()
    places = np.concatenate([vertices, 0.5 * vertices + [0, 3, 0]])
    both = np.concatenate([faces, faces[:, ::-1] + len(vertices)])
    colors = painted(surface(places, both, values=places[:, 0], view=FRONT, light=False))
    assert len(colors) == len(faces)
    # Red, which is the half towards +x.
    assert (colors[:, 0] >= colors[:, 2]).all()


@pytest.mark.parametrize("damage", ["a hole", "a flipped face", "a doubled face"])
def test_other_surfaces_are_painted_on_both_sides(damage):
    vertices, faces = cube()
    changed = {
        "a hole": faces[1:],
        "a flipped face": np.concatenate([faces[:1, ::-1], faces[1:]]),
        "a doubled face": np.concatenate([faces[:1], faces]),
    }[damage]
    assert len(outlines(surface(vertices, changed, view=FRONT))) == len(changed)


def test_what_is_nearer_is_painted_later():
    vertices, faces = squares(0.3, 0.9, -0.5, 0.1)
    labels = np.repeat(range(4), 2)
    colors = painted(surface(vertices, faces, values=labels, view=FRONT, light=False))
    order = [2, 3, 0, 1]
    assert np.allclose(colors, [to_rgb(plot.PALETTE[k]) for k in order for _ in range(2)])
    colors = painted(surface(vertices, faces, values=labels, view=(0, 180), light=False))
    assert np.allclose(colors[:2], to_rgb(plot.PALETTE[1]))
    assert np.allclose(colors[-2:], to_rgb(plot.PALETTE[2]))


@given(st.floats(-90, 90), st.floats(-360, 360))
@settings(max_examples=20, deadline=None)
def test_of_a_sphere_half_is_seen_from_anywhere(elevation, azimuth):
    vertices, faces = sphere()
    ax = surface(vertices, faces, view=(elevation, azimuth))
    places = np.concatenate(outlines(ax))
    plt.close(ax.figure)
    assert np.linalg.norm(places, axis=1).max() <= 1 + 1e-12
    assert abs(len(places) / 3 - len(faces) / 2) <= 2 * 32


# Colours


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_numbers_of_vertices_and_of_faces(dtype):
    vertices, faces = squares(0.0)
    values = torch.tensor([-1.0, 0.5, 2.0, 0.0], dtype=dtype, requires_grad=True)
    colors = painted(surface(vertices, faces, values=values, light=False, view=FRONT))
    expected = mpl.colormaps[plot.SIGNED]((np.array([0.5, 1 / 3]) / 2 + 1) / 2)[:, :3]
    assert np.allclose(colors, expected)
    colors = painted(surface(vertices, faces, values=[-3.0, 1.0], light=False, view=FRONT))
    assert np.allclose(colors, mpl.colormaps[plot.SIGNED]([0.0, 2 / 3])[:, :3])


@pytest.mark.parametrize(
    ("cmap", "limit", "ends"),
    [
        (plot.SIGNED, None, (-4, 4)),
        (plot.SIGNED, 8.0, (-8, 8)),
        ("viridis", None, (1, 4)),
        ("viridis", 8, (0, 8)),
        ("viridis", (-1.0, 9.0), (-1, 9)),
        (plot.SIGNED, (0, 5), (0, 5)),
        (plot.SIGNED, np.array([0.0, 5.0]), (0, 5)),
    ],
)
def test_the_scale_of_colour(cmap, limit, ends):
    vertices, faces = squares(0.0, 1.0)
    values = np.array([1.0, 4.0, 2.0, 3.0])
    ax = surface(vertices, faces, values=values, cmap=cmap, limit=limit, light=False, view=FRONT)
    share = (values - ends[0]) / (ends[1] - ends[0])
    assert np.allclose(painted(ax), mpl.colormaps[cmap](share)[:, :3])


def test_equal_numbers_have_a_scale():
    vertices, faces = squares(0.0)
    for cmap in (plot.SIGNED, "viridis"):
        colors = painted(
            surface(vertices, faces, values=[0.0, 0.0], cmap=cmap, light=False, view=FRONT)
        )
        assert np.allclose(colors, mpl.colormaps[cmap](0.5)[:3])


def test_large_equal_numbers_have_a_scale():
    vertices, faces = squares(0.0)
    for value in (1e300, -1e300):
        ax = surface(vertices, faces, values=[value] * 4, cmap="viridis", light=False, view=FRONT)
        assert np.allclose(painted(ax), mpl.colormaps["viridis"](0.5)[:3])


def test_labels_of_vertices_and_of_faces():
    vertices, faces = squares(0.0)
    colors = painted(surface(vertices, faces, values=[0, 2, 2, 2], light=False, view=FRONT))
    assert np.allclose(colors, to_rgb(plot.PALETTE[2]))
    colors = painted(
        surface(vertices, faces, values=torch.tensor([-1, 1]), light=False, view=FRONT)
    )
    assert np.allclose(colors, [to_rgb(PLAIN), to_rgb(plot.PALETTE[1])])
    colors = painted(surface(vertices, faces, values=[True, False], light=False, view=FRONT))
    assert np.allclose(colors, [to_rgb(plot.PALETTE[1]), to_rgb(plot.PALETTE[0])])


def test_large_labels_take_no_colours_but_their_own():
    vertices, faces = squares(0.0, 1.0, 2.0)
    labels = np.array([-1, -1, 3, 3, 2 * 10**12, 2 * 10**12])
    colors = painted(surface(vertices, faces, values=labels, light=False, view=FRONT))
    assert np.allclose(colors[:2], to_rgb(PLAIN)) and len(np.unique(colors, axis=0)) == 3
    # One colour a label in both kinds of picture.
    twelve = painted(surface(*squares(*range(12)), values=np.repeat(range(12), 2), light=False,
                             view=FRONT))  # fmt: skip
    matrix = plot.weight_sharing(np.arange(12)[None])
    assert np.allclose(twelve[::2], matrix.images[0].cmap(np.arange(1, 13))[:, :3])


def test_twelve_labels_have_twelve_colours():
    vertices, faces = squares(*range(12))
    ax = surface(vertices, faces, values=np.repeat(range(12), 2), light=False, view=FRONT)
    assert len(np.unique(painted(ax), axis=0)) == 12


def test_colours_are_shown_as_they_are():
    vertices, faces = squares(0.0)
    rgb = np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]])
    assert np.allclose(painted(surface(vertices, faces, values=rgb, light=False, view=FRONT)), rgb)
    corners = np.random.default_rng(0).random((4, 3))
    mean = corners[faces].mean(1)
    assert np.allclose(
        painted(surface(vertices, faces, values=corners, light=False, view=FRONT)), mean
    )
    assert np.allclose(painted(surface(vertices, faces, light=False, view=FRONT)), to_rgb(PLAIN))


def test_light_darkens_by_the_angle():
    vertices, faces = squares(0.0)
    expected = np.array(to_rgb(PLAIN)) * (AMBIENT + (1 - AMBIENT) * LIGHT[2])
    assert np.allclose(painted(surface(vertices, faces, view=FRONT)), expected)
    assert np.allclose(painted(surface(vertices, faces, view=(0, 180))), expected)
    vertices, faces = cube()
    ax = surface(vertices, faces, view=(35, 45))
    brightness, places = painted(ax).sum(1), np.array([path.mean(0) for path in outlines(ax)])
    top = places[:, 1] > np.sort(places[:, 1])[3]
    left, right = ~top & (places[:, 0] < 0), ~top & (places[:, 0] > 0)
    assert brightness[top].min() > brightness[left].max() > brightness[right].max()


def test_edges_are_drawn_on_request():
    vertices, faces = squares(0.0)
    own = surface(vertices, faces).collections[0]
    dark = surface(vertices, faces, edges=True).collections[0]
    assert np.allclose(own.get_edgecolor(), own.get_facecolor())
    assert np.allclose(dark.get_edgecolor(), (0, 0, 0, 0.5))


# Curves and points


def test_the_hidden_half_of_a_curve_is_not_drawn():
    vertices, faces = sphere()
    turn = np.linspace(0, 2 * np.pi, 100)
    equator = np.stack([np.cos(turn), np.sin(turn), 0 * turn], 1)
    drawn = np.concatenate(lines(surface(vertices, faces, view=FRONT, curves=[equator])))
    assert np.abs(drawn[:, 1]).max() < 1e-12
    assert drawn[:, 0].min() == pytest.approx(-1, abs=0.01)
    length = sum(np.abs(np.diff(p[:, 0])).sum() for p in lines(plt.gca()))
    assert length == pytest.approx(2, abs=0.1)
    assert all(
        (np.diff(p[:, 0]) > 0).all() or (np.diff(p[:, 0]) < 0).all() for p in lines(plt.gca())
    )


def test_a_curve_comes_out_from_behind():
    vertices, faces = squares(1.0)
    behind = np.array([[0, -1, 0.4], [0, 2, 0.4]])
    before = behind + [2, 0, 0]
    for curve, expected in ((behind, [(-1, 0), (1, 2)]), (before, [(-1, 2)])):
        parts = lines(surface(vertices, faces, view=FRONT, curves=[curve]))
        ends = sorted((part[0, 0], part[-1, 0]) for part in parts)
        assert np.allclose(ends, expected, atol=0.03)
        assert all(np.allclose(part[:, 1], 0.4) for part in parts)


def test_a_hidden_curve_leaves_nothing():
    vertices, faces = squares(1.0)
    ax = surface(vertices, faces, view=FRONT, curves=[[[0, 0.2, 0.4], [0, 0.8, 0.4]]])
    assert lines(ax) == []


def test_hidden_points_are_left_out():
    vertices, faces = sphere()
    points = [[1, 0, 0], [-1, 0, 0], [0.6, 0.8, 0], [-0.6, 0.8, 0], [0, 0, 1.5]]
    marks = surface(vertices, faces, view=FRONT, points=points).lines[0]
    assert np.allclose(marks.get_xydata(), [[0, 0], [0.8, 0], [0, 1.5]], atol=1e-12)


def test_many_places_are_compared_in_parts(monkeypatch):
    vertices, faces = sphere()
    points = sphere(12, 16)[0]
    whole = surface(vertices, faces, points=points).lines[0].get_xydata()
    monkeypatch.setattr("gdl.plot.mesh.MOST_PAIRS", 1000)
    assert np.array_equal(surface(vertices, faces, points=points).lines[0].get_xydata(), whole)
    assert 0 < len(whole) < len(points)


def test_a_curve_far_from_the_surface_is_drawn_soon():
    vertices, faces = squares(0.0)
    ax = surface(vertices, faces, view=FRONT, curves=[[[0, -1e15, 5], [0, 1e15, 5]]])
    assert len(np.concatenate(lines(ax))) < 5000


# The whole picture


def test_axes_title_and_frame():
    _, ax = plt.subplots()
    vertices, faces = cube()
    assert surface(vertices, faces, ax, title="cube") is ax
    assert ax.get_title() == "cube" and not ax.axison and ax.get_aspect() == 1
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    places = np.concatenate(outlines(ax))
    assert right - left == pytest.approx(high - low)
    assert (places > [left, low]).all() and (places < [right, high]).all()


def test_a_surface_seen_edge_on_or_shrunk_to_a_point_is_drawn():
    surface([[0, 0, 0], [1, 0, 0], [1, 0, 0]], [[0, 1, 2]], view=FRONT, curves=[np.zeros((2, 3))])
    flat, _ = squares(0.0)
    both = [[0, 1, 2], [0, 2, 1]]
    assert outlines(surface(flat, both, view=(0, 90), edges=True, points=flat)) == []
    ax = surface(np.ones((3, 3)), [[0, 1, 2]], points=np.ones((1, 3)))
    assert np.isfinite(painted(ax)).all()
    assert np.isfinite(ax.get_xlim()).all() and len(ax.lines[0].get_xydata()) == 1


@pytest.mark.parametrize("scale", [1e-150, 1e-90, 1e99])
def test_the_unit_of_length_does_not_matter(scale):
    vertices, faces = sphere(12, 16)
    points = sphere(4, 6)[0]
    usual = surface(vertices, faces, points=points)
    # Inside out, which the signs of volumes tell.
    scaled = surface(scale * vertices, faces[:, ::-1], points=scale * points)
    assert len(painted(usual)) > 100 and np.allclose(painted(scaled), painted(usual))
    if scale > 1e-100:
        assert len(scaled.lines[0].get_xydata()) == len(usual.lines[0].get_xydata())
    scaled.figure.savefig(io.BytesIO(), format="png")


def test_five_thousand_faces_stay_below_60_kilobytes():
    vertices, faces = sphere(50, 51)
    assert len(faces) == 4998
    buffer = io.BytesIO()
    ax = surface(vertices, faces, values=np.sin(3 * vertices[:, 0]))
    ax.figure.savefig(buffer, format="png")
    assert len(buffer.getvalue()) < 60_000


@pytest.mark.parametrize("inside_out", [False, True])
def test_faces_far_from_the_origin_are_culled_alike(inside_out):
    vertices, faces = cube()
    faces = faces[:, ::-1] if inside_out else faces
    near = surface(vertices, faces, view=(20.0, 30.0))
    far = surface(vertices + 1e8, faces, view=(20.0, 30.0))
    counts = [len(ax.collections[0].get_paths()) for ax in (near, far)]
    assert counts == [6, 6]


def test_points_are_hidden_only_below_the_tolerance():
    vertices, faces = cube()
    depth = DEPTH_TOLERANCE * np.ptp(vertices, axis=0).max()
    for below, drawn in ((0.5 * depth, 1), (2 * depth, 0)):
        ax = surface(vertices, faces, view=FRONT, points=[[1 - below, 0.6, 0.5]])
        assert sum(len(line.get_xdata()) for line in ax.lines) == drawn
