"""Filters, their adjoints, and the moves of the square."""

import itertools

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from gdl.diffusion.filters import (
    MOVES,
    adjoint_responses,
    dct_filters,
    filter_responses,
    move,
    orbit,
)
from gdl.equivariance import equivariance_error, equivariant_basis
from gdl.representations import Representation, cyclic, dihedral

SHAPES = [(6, 6), (5, 8), (3, 4)]
BOUNDARIES = {"reflect": "reflect", "circular": "wrap"}


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def matrix(filters, height, width, mode):
    """The matrix of its definition: NumPy continues each basis image over the border."""
    n, size, _ = filters.shape
    reach = size // 2
    columns = []
    for pixel in range(height * width):
        image = np.zeros(height * width)
        image[pixel] = 1
        padded = np.pad(image.reshape(height, width), reach, mode=mode)
        seen = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
        columns.append(np.einsum("irs,hwrs->ihw", filters.numpy(), seen).ravel())
    return torch.from_numpy(np.stack(columns, 1))


@pytest.mark.parametrize("size", [2, 3, 5])
def test_cosines_are_orthonormal_without_mean_and_those_of_scipy(size):
    filters = dct_filters(size, dtype=torch.float64)
    rows = filters.flatten(1)
    assert torch.allclose(rows @ rows.T, torch.eye(size**2 - 1, dtype=torch.float64), atol=1e-12)
    assert rows.sum(1).abs().max() < 1e-12
    picture = random(size, size)
    wanted = dctn(picture.numpy(), norm="ortho").ravel()[1:]
    assert np.allclose((rows @ picture.flatten()).numpy(), wanted, atol=1e-12)
    assert dct_filters(size).dtype == torch.float32


@pytest.mark.parametrize("size", [2, 3, 5])
def test_moves_carry_cosines_to_cosines_up_to_sign(size):
    """A flip is (-1)^l, and a quarter turn exchanges k and l and is (-1)^l."""
    rows = dct_filters(size, dtype=torch.float64).flatten(1)
    index = {kl: i for i, kl in enumerate(list(itertools.product(range(size), repeat=2))[1:])}
    for turns, flip in MOVES["D4"]:
        moved = rows @ move(rows.reshape(-1, size, size), turns, flip).flatten(1).T
        assert torch.allclose(moved.abs().round(), moved.abs(), atol=1e-12)
        assert torch.equal(moved.abs().round().sum(0), torch.ones(size**2 - 1).double())
        for (k, l), i in index.items():
            target = (l, k) if turns % 2 else (k, l)
            assert abs(moved[index[target], i].abs() - 1) < 1e-12
    turned = move(rows.reshape(-1, size, size), 1).flatten(1)
    for (k, l), i in index.items():
        assert torch.allclose(turned[i], (-1) ** l * rows[index[l, k]], atol=1e-12)


def test_moves_are_numpy_s_and_make_the_dihedral_group():
    x = random(2, 3, 3)
    images = {g: move(x, *g) for g in MOVES["D4"]}
    for (turns, flip), y in images.items():
        wanted = np.rot90(x.numpy()[..., ::-1] if flip else x.numpy(), turns, (1, 2))
        assert np.array_equal(y.numpy(), wanted)
    for a, b in itertools.combinations(images.values(), 2):
        assert not torch.equal(a, b)
    for g, h in itertools.product(images, repeat=2):
        assert sum(torch.equal(move(images[h], *g), y) for y in images.values()) == 1
    assert move(torch.zeros(4, 7), 5).shape == (7, 4)
    assert torch.equal(move(x, -1), move(x, 3))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("size", [1, 3, 5])
def test_responses_are_their_matrix_and_the_adjoint_is_its_transpose(shape, boundary, size):
    filters = random(3, size, size, seed=1)
    A = matrix(filters, *shape, BOUNDARIES[boundary])
    u, v = random(2, 1, *shape), random(2, 3, *shape, seed=2)
    found = filter_responses(u, filters, boundary)
    assert found.shape == (2, 3, *shape)
    assert torch.allclose(found.flatten(1), u.flatten(1) @ A.T, atol=1e-12)
    back = adjoint_responses(v, filters, boundary)
    assert back.shape == u.shape
    assert torch.allclose(back.flatten(1), v.flatten(1) @ A, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_turned_filters_are_the_adjoint_on_a_torus_only(boundary):
    filters, v = random(3, 5, 5), random(1, 3, 9, 9, seed=1)
    naive = sum(
        filter_responses(v[:, i : i + 1], filters[i : i + 1].flip(1, 2), boundary) for i in range(3)
    )
    difference = (naive - adjoint_responses(v, filters, boundary)).abs()
    if boundary == "circular":
        assert difference.max() < 1e-12
    else:
        assert difference[..., 4:-4, 4:-4].max() < 1e-12 < 1e-2 < difference.max()


def test_not_turning_the_filters_is_no_adjoint():
    filters, u, v = random(3, 5, 5), random(1, 1, 9, 9), random(1, 3, 9, 9, seed=1)
    wanted = (filter_responses(u, filters) * v).sum()
    assert abs((adjoint_responses(v, filters) * u).sum() - wanted) < 1e-12
    assert abs((adjoint_responses(v, filters.flip(1, 2)) * u).sum() - wanted) > 1


@pytest.mark.parametrize("symmetry", MOVES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_moving_the_image_permutes_the_responses_of_an_orbit(symmetry, boundary):
    filters = orbit(random(2, 3, 3), symmetry)
    u = random(1, 1, 6, 7, seed=1)
    size = len(MOVES[symmetry])
    before = filter_responses(u, filters, boundary).unflatten(1, (2, size))
    for turns, flip in MOVES[symmetry]:
        after = filter_responses(move(u, turns, flip), filters, boundary).unflatten(1, (2, size))
        moved = move(before, turns, flip)
        for i in range(size):
            same = [(after[:, :, j] - moved[:, :, i]).abs().max() < 1e-12 for j in range(size)]
            assert sum(same) == 1
    plain = filter_responses(move(u, 1), filters[:1], boundary)
    assert (plain - move(before[:, 0, :1], 1)).abs().max() > 0.1


def moved_pixels(size, *g):
    """Where a move carries the pixels of a square, as the solver wants it."""
    return torch.argsort(move(torch.arange(size**2).reshape(size, size), *g).flatten())


def pixel_representation(symmetry, size):
    """Quarter turns, and for D4 the flip that makes s r s = r^-1, on the pixels of a square."""
    group = cyclic(4) if symmetry == "C4" else dihedral(4)
    generators = [(1, False), (0, True)][: len(group.generator_names)]
    return Representation(group, [moved_pixels(size, *g) for g in generators])


def regular_representation(symmetry):
    """How the positions of an orbit are permuted: found from the orbit of one-hot filters."""
    size = 3
    marked = torch.zeros(size, size)
    marked[0, 1], marked[0, 0] = 1, 2
    group = cyclic(4) if symmetry == "C4" else dihedral(4)
    copies = list(orbit(marked[None], symmetry))

    def permutation(*g):
        return torch.tensor(
            [next(j for j, c in enumerate(copies) if torch.equal(c, move(x, *g))) for x in copies]
        )

    generators = [(1, False), (0, True)][: len(group.generator_names)]
    return Representation(group, [permutation(*g) for g in generators])


@pytest.mark.parametrize("symmetry", MOVES)
@pytest.mark.parametrize("size", [3, 5])
def test_orbits_are_all_solutions_of_the_equation(symmetry, size):
    """rho_out(g) A = A rho_in(g): one free filter for each orbit, and nothing else."""
    rho_in, rho_out = pixel_representation(symmetry, size), regular_representation(symmetry)
    basis = equivariant_basis(rho_in, rho_out)
    assert len(basis) == size**2
    pixels = torch.eye(size**2, dtype=torch.float64).reshape(-1, size, size)
    ours = torch.stack([orbit(x[None], symmetry).flatten(1) for x in pixels]).flatten(1)
    both = torch.cat([ours, basis.dense().flatten(1)])
    assert torch.linalg.matrix_rank(ours) == torch.linalg.matrix_rank(both) == size**2
    for A in ours.reshape(size**2, -1, size**2)[:3]:
        error = equivariance_error(
            lambda x, A=A: x @ A.T, random(4, size**2), rho_in, rho_out, rho_in.group.elements()
        )
        assert error < 1e-12


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: dct_filters(1), ValueError),
        (lambda: dct_filters(True), TypeError),
        (lambda: dct_filters(3, dtype=torch.int64), TypeError),
        (lambda: move([1], 1), TypeError),
        (lambda: move(torch.zeros(3), 1), ValueError),
        (lambda: move(torch.zeros(3, 3), 1.0), TypeError),
        (lambda: move(torch.zeros(3, 3), 1, 1), TypeError),
        (lambda: orbit(torch.zeros(2, 3, 4), "C4"), ValueError),
        (lambda: orbit(torch.zeros(2, 3, 3), "C8"), ValueError),
    ],
    ids=range(9),
)
def test_filters_refuse_bad_arguments(call, error):
    with pytest.raises(error):
        call()


BAD = {
    "even filters": (torch.zeros(1, 1, 6, 6), torch.zeros(1, 4, 4), "odd"),
    "flat filters": (torch.zeros(1, 1, 6, 6), torch.zeros(3, 3), r"\(n, K, K\)"),
    "no filters": (torch.zeros(1, 1, 6, 6), torch.zeros(0, 3, 3), r"\(n, K, K\)"),
    "other channels": (torch.zeros(1, 2, 6, 6), torch.zeros(1, 3, 3), r"\(B, 1, H, W\)"),
    "small images": (torch.zeros(1, 1, 6, 2), torch.zeros(1, 5, 5), "sides above 2"),
    "NaN": (torch.full((1, 1, 6, 6), torch.nan), torch.zeros(1, 3, 3), "finite"),
    "infinite filters": (torch.zeros(1, 1, 6, 6), torch.full((1, 3, 3), torch.inf), "finite"),
    "mixed types": (torch.zeros(1, 1, 6, 6).double(), torch.zeros(1, 3, 3), "as the filters"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("apply", [filter_responses, adjoint_responses])
def test_responses_refuse_bad_arguments(kind, apply):
    images, filters, message = BAD[kind]
    with pytest.raises(ValueError, match=message):
        apply(images, filters)
    with pytest.raises(ValueError, match="boundary"):
        apply(torch.zeros(1, 1, 6, 6), torch.zeros(1, 3, 3), "zero")
