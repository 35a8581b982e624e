"""Figures: what is drawn, on which scale, in which colours; and the player's HTML."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from PIL import Image

from gdl import plot


@pytest.fixture(autouse=True)
def fresh_style():
    with mpl.rc_context():
        mpl.use("agg")
        plot.use_style()
        yield
        plt.close("all")


def drawn(figure) -> np.ndarray:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return np.asarray(Image.open(buffer))


# Style


def test_figures_are_white_and_opaque_even_after_a_dark_style():
    plt.style.use("dark_background")
    plot.use_style()
    pixels = drawn(plot.matrix(np.eye(3)).figure)
    assert pixels[0, 0].tolist() == [255, 255, 255, 255]
    assert (pixels[..., 3] == 255).all()


def test_the_style_is_readable_when_a_figure_is_380_px_wide():
    width, _ = mpl.rcParams["figure.figsize"]
    points_per_inch = 72
    letters = mpl.rcParams["font.size"] / points_per_inch / width * 380
    assert letters >= 11
    assert mpl.rcParams["figure.dpi"] == mpl.rcParams["savefig.dpi"] == 110
    assert mpl.rcParams["toolbar"] == "None" and mpl.rcParams["svg.hashsalt"]


def test_a_default_figure_stays_below_its_budget():
    figure = plot.curves(range(50), {n: np.random.default_rng(0).random((3, 50)) for n in "abcd"})
    buffer = io.BytesIO()
    figure.figure.savefig(buffer, format="png")
    assert len(buffer.getvalue()) < 150_000


def test_svg_does_not_change_from_run_to_run():
    texts = []
    for _ in range(2):
        buffer = io.StringIO()
        plot.bars({"a": [1.0, 2.0]}).figure.savefig(buffer, format="svg", metadata={"Date": None})
        texts.append(buffer.getvalue())
    assert texts[0] == texts[1]


# Vienot, Brettel and Mollon 1999: what linear RGB becomes without red or without green cones.
DICHROMATS = {
    "protan": [[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]],
    "deutan": [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]],
}


def lab(color: str, matrix: list[list[float]] | None = None) -> np.ndarray:
    from skimage.color import rgb2lab

    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear if matrix is None else np.array(matrix) @ linear, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return rgb2lab(srgb)


def closest(colors: Sequence[str], matrix: list[list[float]] | None) -> float:
    points = [lab(color, matrix) for color in colors]
    return min(np.linalg.norm(p - q) for i, p in enumerate(points) for q in points[:i])


@pytest.mark.parametrize("kind", DICHROMATS)
def test_the_palette_can_be_told_apart_without_one_kind_of_cone(kind):
    usual = mpl.rcParamsDefault["axes.prop_cycle"].by_key()["color"]
    assert closest(plot.PALETTE, DICHROMATS[kind]) > 15
    assert closest(usual, DICHROMATS[kind]) < 6
    signed = tuple(mpl.colors.to_hex(mpl.colormaps[plot.SIGNED](v)) for v in (0.1, 0.9))
    assert closest(signed, DICHROMATS[kind]) > 40


def test_the_palette_is_the_default_colour_cycle():
    lines = [plt.plot([0, 1])[0].get_color() for _ in plot.PALETTE]
    assert tuple(lines) == plot.PALETTE and len(set(lines)) == 8


# Matrices


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_matrix_is_symmetric_around_white(dtype):
    values = torch.tensor([[0, 3], [-1, 2]], dtype=dtype)
    image = plot.matrix(values, title="W").images[0]
    assert image.get_clim() == (-3, 3)
    assert np.array_equal(image.get_array(), values.numpy())
    zero, positive, negative = (image.cmap(image.norm(v)) for v in (0, 3, -3))
    assert min(zero[:3]) > 0.95
    assert positive[0] > positive[2] + 0.2 and negative[2] > negative[0] + 0.2


def test_matrix_draws_rows_downwards():
    ax = plot.matrix([[0.0, 1.0], [0.0, 0.0]])
    pixels = drawn(ax.figure)
    x, y = ax.transData.transform((1, 0))
    red, _, blue, _ = pixels[pixels.shape[0] - int(y), int(x)]
    assert int(red) > int(blue) and y > ax.transData.transform((1, 1))[1]


def test_matrix_of_parameters_zeros_and_a_given_limit():
    assert plot.matrix(torch.nn.Parameter(torch.ones(2, 2))).images[0].get_clim() == (-1, 1)
    assert plot.matrix(np.zeros((2, 2))).images[0].get_clim() == (-1, 1)
    assert plot.matrix(np.eye(2), limit=5).images[0].get_clim() == (-5, 5)


def test_matrix_writes_numbers_where_they_belong():
    texts = plot.matrix([[1.0, -2.0], [0.25, 0.0]], numbers=True).texts
    found = {t.get_position(): t.get_text() for t in texts}
    assert found == {(0, 0): "1", (1, 0): "-2", (0, 1): "0.25", (1, 1): "0"}
    colors = {t.get_text(): t.get_color() for t in texts}
    assert colors["-2"] == "white" and colors["0"] == "black"


def test_matrix_draws_into_given_axes_with_a_scale():
    figure, ax = plt.subplots()
    assert plot.matrix(np.eye(2), ax, colorbar=True, title="T") is ax
    assert len(figure.axes) == 2 and ax.get_title() == "T"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 2.0], r"values: expected real numbers in 2 dimension.* shape \(2,\)"),
        (np.zeros((0, 3)), r"values: .* shape \(0, 3\)"),
        ([[1.0, float("nan")]], "values: expected finite values"),
        ([[1j]], "values: expected real numbers .* got complex128"),
        ([["a"]], "values: expected real numbers"),
    ],
)
def test_matrix_names_what_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        plot.matrix(values)


@pytest.mark.parametrize("limit", [0, -1, float("inf")])
def test_a_bad_limit_is_named(limit):
    with pytest.raises(ValueError, match=f"limit: expected a positive number, got {limit}"):
        plot.matrix(np.eye(2), limit=limit)


@pytest.mark.parametrize("orbits", [3, 8, 9, 30])
def test_weight_sharing_gives_each_orbit_its_colour_and_number(orbits):
    labels = np.arange(-1, orbits)[None].repeat(2, 0)
    ax = plot.weight_sharing(labels)
    image = ax.images[0]
    colors = image.cmap(image.norm(image.get_array()))
    assert np.array_equal(colors[0], colors[1])
    assert len(np.unique(colors[0], axis=0)) == orbits + 1
    assert colors[0, 0].tolist() == [1, 1, 1, 1]
    if orbits + 1 <= 16:
        found = {t.get_position(): t.get_text() for t in ax.texts}
        assert found == {(k + 1, row): str(k) for row in range(2) for k in range(orbits)}
    else:
        assert not ax.texts


def test_weight_sharing_writes_in_legible_ink():
    ax = plot.weight_sharing(np.arange(8).reshape(2, 4))
    for text in ax.texts:
        ink = 1.0 if text.get_color() == "white" else 0.0
        paper = np.dot(to_rgb(plot.PALETTE[int(text.get_text())]), (0.2126, 0.7152, 0.0722))
        assert abs(ink - paper) > 0.4


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0.0, 1.0]], "labels: expected integers of at least -1, got float64"),
        ([[0, -2]], "labels: expected integers of at least -1, got int64 from -2"),
        ([0, 1], r"labels: .* shape \(2,\)"),
    ],
)
def test_weight_sharing_names_what_is_wrong(labels, message):
    with pytest.raises(ValueError, match=message):
        plot.weight_sharing(labels)


# Images, bars, curves


def test_image_row_shares_one_scale():
    images = torch.stack([torch.full((1, 4, 4), 0.5), torch.full((1, 4, 4), 2.0)])
    axes = plot.image_row(images, ["a", "b"]).axes
    assert [ax.images[0].get_clim() for ax in axes] == [(0, 2), (0, 2)]
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    assert axes[0].images[0].cmap.name == "gray"
    assert axes[0].get_position().x0 < axes[1].get_position().x0


def test_image_row_of_signed_images_and_of_different_sizes():
    axes = plot.image_row([np.full((2, 2), -3.0), np.ones((4, 4))], signed=True).axes
    assert [ax.images[0].get_clim() for ax in axes] == [(-3, 3), (-3, 3)]
    assert axes[0].images[0].cmap.name == plot.SIGNED


@pytest.mark.parametrize(
    ("images", "titles", "message"),
    [
        ([], None, "images: expected at least one"),
        (np.zeros((2, 3, 4, 4)), None, r"images: .* shape \(3, 4, 4\)"),
        (-np.ones((1, 4, 4)), None, r"images: expected no negative value unless signed=True"),
        (np.zeros((2, 4, 4)), ["a"], "titles: expected 2, got 1"),
    ],
)
def test_image_row_names_what_is_wrong(images, titles, message):
    with pytest.raises(ValueError, match=message):
        plot.image_row(images, titles)


def test_bars_show_mean_and_range():
    ax = plot.bars({"MLP": [0.2, 0.3, 0.7], "CNN": [0.9]}, ylabel="share")
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([0.4, 0.9])
    ends = [c.lines[2][0].get_segments()[0][:, 1] for c in ax.containers if hasattr(c, "lines")]
    assert np.allclose(ends, [[0.2, 0.7], [0.9, 0.9]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["MLP", "CNN"]
    assert ax.get_ylabel() == "share"
    assert ax.patches[0].get_facecolor() != ax.patches[1].get_facecolor()


def test_curves_show_mean_and_range():
    seeds = torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 4.0]])
    ax = plot.curves([10, 20], {"CNN": seeds, "one": torch.tensor([5.0, 6.0])}, ylabel="loss")
    assert np.allclose([line.get_ydata() for line in ax.lines], [[1, 2], [5, 6]])
    low, high = ax.collections[0].get_datalim(ax.transData).intervaly
    assert (low, high) == (0, 4)
    vertices = {tuple(v) for v in ax.collections[0].get_paths()[0].vertices.tolist()}
    assert {(10, 0), (10, 2), (20, 1), (20, 4)} <= vertices
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["CNN", "one"]
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot.bars({}), "results: expected at least one model"),
        (lambda: plot.bars({"a": []}), r"results\['a'\]: .* shape \(0,\)"),
        (lambda: plot.bars({"a": [float("nan")]}), r"results\['a'\]: expected finite"),
        (lambda: plot.curves([0, 1], {}), "results: expected at least one model"),
        (lambda: plot.curves([0, 1], {"a": [1.0]}), r"\(seeds, 2\), got \(1, 1\)"),
        (lambda: plot.curves([[0, 1]], {"a": [1.0]}), r"x: .* shape \(1, 2\)"),
    ],
)
def test_bars_and_curves_name_what_is_wrong(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


# The player


class Elements(HTMLParser):
    """The elements of a piece of HTML that must be well formed, with their attributes."""

    VOID = {"img", "input"}

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def one(self, tag: str) -> dict[str, str | None]:
        (attributes,) = [a for t, a in self.found if t == tag]
        return attributes


ALT = 'a "sliding" <square> & more'


@pytest.fixture
def slide() -> plot.Player:
    return plot.player([np.eye(4)[[k]].repeat(4, 0) for k in range(4)], fps=5, alt=ALT)


def pixels(uri: str) -> np.ndarray:
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data, validate=True))))


def test_the_player_holds_every_frame_in_order(slide):
    elements = Elements(slide._repr_html_())
    rest = elements.found[0][1]["data-frames"].split(" ")
    frames = [pixels(uri) for uri in [elements.one("img")["src"], *rest]]
    assert len(frames) == 4
    for k, frame in enumerate(frames):
        expected = np.kron(np.eye(4)[[k]].repeat(4, 0), np.ones((60, 60)))
        assert np.array_equal(frame[..., 0], 255 * expected)


def test_the_player_shows_its_first_frame_where_html_is_stripped(slide):
    assert slide._repr_png_() == slide.frames[0]
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(slide._repr_png_()))),
        pixels(Elements(slide._repr_html_()).one("img")["src"]),
    )
    (controls,) = [a for _, a in Elements(slide._repr_html_()).found if "hidden" in a]
    assert controls["class"] == "gdl-controls"


def test_the_player_can_be_read_and_driven_without_eyes_or_mouse(slide):
    elements = Elements(slide._repr_html_())
    tag, outer = elements.found[0]
    assert (tag, outer["role"], outer["aria-label"]) == ("div", "group", f"Animation: {ALT}")
    assert elements.one("img")["alt"] == ALT
    slider, button = elements.one("input"), elements.one("button")
    expected = {"type": "range", "min": "0", "max": "3", "value": "0", "step": "1"}
    assert {name: slider[name] for name in expected} == expected
    assert slider["aria-label"] and slider["aria-valuetext"] == "frame 1 of 4"
    assert button["type"] == "button" and elements.text.strip() == "Play"
    assert not any("tabindex" in attributes for _, attributes in elements.found)


def test_the_player_moves_only_when_asked_and_respects_reduced_motion(slide):
    elements = Elements(slide._repr_html_())
    starts = [(t, n) for t, a in elements.found for n, v in a.items() if v and "setInterval" in v]
    assert starts == [("button", "onclick")]
    play = elements.one("button")["onclick"]
    assert play.index("prefers-reduced-motion: reduce") < play.index("setInterval")


def test_the_player_needs_nothing_from_outside_and_has_no_ids(slide):
    text = slide._repr_html_()
    elements = Elements(text)
    assert {tag for tag, _ in elements.found} == {"div", "img", "button", "input"}
    assert not any("id" in attributes for _, attributes in elements.found)
    assert not re.search(r"https?:|//|url\(|@import|fetch\(|Math\.random|Date", text)


def test_the_player_is_the_same_every_time(slide):
    again = plot.player([np.eye(4)[[k]].repeat(4, 0) for k in range(4)], fps=5, alt=ALT)
    assert again._repr_html_() == slide._repr_html_()
    assert repr(slide) == f"Player(4 frames, 5 fps): {ALT}"


def test_the_player_draws_figures_one_by_one_and_closes_them():
    open_figures = []

    def figures():
        for k in range(3):
            open_figures.append(len(plt.get_fignums()))
            yield plot.matrix(np.eye(3) * (k + 1), limit=3).figure

    shown = plot.player(figures(), alt="a growing identity")
    assert open_figures == [0, 0, 0] and plt.get_fignums() == []
    images = [np.asarray(Image.open(io.BytesIO(frame))) for frame in shown.frames]
    assert images[0].shape == (357, 330, 4) and not np.array_equal(images[0], images[2])


def test_ipython_offers_the_player_as_html_and_picture(slide):
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    bundle, _ = shell.display_formatter.format(slide)
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert bundle["text/plain"] == repr(slide)


@pytest.mark.parametrize(
    ("frames", "arguments", "message"),
    [
        ([np.eye(2)], {}, "frames: expected at least two, all of one size, got 1"),
        ([], {}, "frames: expected at least two, all of one size, got 0"),
        ([np.eye(2), np.eye(250)], {}, r"got 2 of sizes \[\(240, 240\), \(250, 250\)\]"),
        ([np.eye(2), 2 * np.eye(2)], {}, r"frames: expected grey values in \[0, 1\]"),
        ([np.eye(2), -np.eye(2)], {}, r"frames: expected grey values in \[0, 1\]"),
        ([np.eye(2), np.zeros(2)], {}, r"frames: .* shape \(2,\)"),
        ([b"GIF89a", b"GIF89a"], {}, "frames: expected PNG bytes, got b'GIF89a'"),
        ([np.eye(2)] * 2, {"fps": 0}, "fps: expected above 0 and at most 30, got 0"),
        ([np.eye(2)] * 2, {"fps": float("nan")}, "fps: .* got nan"),
        ([np.eye(2)] * 2, {"alt": " "}, "alt: expected a text that describes"),
    ],
)
def test_the_player_names_what_is_wrong(frames, arguments, message):
    with pytest.raises(ValueError, match=message):
        plot.player(frames, **{"alt": "noise"} | arguments)


def test_the_player_has_a_size_budget(monkeypatch):
    assert plot.PLAYER_BYTES == 1_000_000
    frames = [np.eye(8), np.ones((8, 8))]
    size = len(plot.player(frames, alt="x")._repr_html_())
    monkeypatch.setattr("gdl.plot.animation.PLAYER_BYTES", size)
    plot.player(frames, alt="x")
    monkeypatch.setattr("gdl.plot.animation.PLAYER_BYTES", size - 1)
    with pytest.raises(ValueError, match=f"frames: expected at most {size - 1} bytes.* got {size}"):
        plot.player(frames, alt="x")
