"""Jets by differences, the polynomials that do not turn with the image, and symmetric stencils."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gdl.diffusion.invariants import (
    INVARIANTS,
    JET,
    differential_invariants,
    jet_invariants,
    jet_representation,
    laplacian_eigenvalues,
    laplacian_stencil,
    stencil_jet,
)
from gdl.equivariance import (
    dimension_by_characters,
    equivariance_error,
    equivariant_basis,
)
from gdl.groups import grid_kernels
from gdl.representations import (
    SO,
    O,
    circular_irrep,
    cyclic,
    dihedral,
    symmetric,
    symmetric_power,
    trivial,
)
from tests.programs.test_soft_sorting import F64, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")
boundaries = pytest.mark.parametrize("boundary", ["replicate", "circular"])
# Turns and flips of an image: how often it is turned, and whether it is flipped first.
SYMMETRIES = [(turns, flip) for turns in range(4) for flip in (False, True)]
STENCILS = {
    "u": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "u_r": [[0, -0.5, 0], [0, 0, 0], [0, 0.5, 0]],
    "u_c": [[0, 0, 0], [-0.5, 0, 0.5], [0, 0, 0]],
    "u_rr": [[0, 1, 0], [0, -2, 0], [0, 1, 0]],
    "u_rc": [[0.25, 0, -0.25], [0, 0, 0], [-0.25, 0, 0.25]],
    "u_cc": [[0, 0, 0], [1, -2, 1], [0, 0, 0]],
}


def moved(g: tuple[int, bool], x: Tensor) -> Tensor:
    turns, flip = g
    return torch.rot90(x.flip(-1) if flip else x, turns, (-2, -1))


def padded(images: Tensor, boundary: str) -> Tensor:
    """By index: -1 is pixel 0 where the border is a mirror, else the last one."""
    for axis in (2, 3):
        n = images.shape[axis]
        around = torch.arange(-1, n + 1)
        index = around.clamp(0, n - 1) if boundary == "replicate" else around % n
        images = images.index_select(axis, index)
    return images


def quadratic(points: Tensor, weights: Tensor) -> Tensor:
    r, c = points[..., 0], points[..., 1]
    terms = torch.stack([torch.ones_like(r), r, c, r * r, r * c, c * c], -1)
    return terms @ weights


def exact_jet(f, at: Tensor) -> Tensor:
    """Derivatives by torch, with u_rc scaled as in the representation."""
    gradient = torch.autograd.functional.jacobian(f, at)
    H = torch.autograd.functional.hessian(f, at)
    second = torch.stack([H[0, 0], math.sqrt(2) * H[0, 1], H[1, 1]])
    return torch.cat([f(at)[None], gradient, second])


# --- differences ----------------------------------------------------------------------------------


@boundaries
@pytest.mark.parametrize("size", [(3, 3), (5, 8)], ids=str)
def test_the_jet_is_a_convolution(size, boundary):
    images = random(2, 1, *size)
    kernels = torch.tensor([STENCILS[name] for name in JET], dtype=F64)[:, None]
    assert gap(stencil_jet(images, boundary), F.conv2d(padded(images, boundary), kernels)) < 1e-14


def test_exact_for_quadratic_polynomials():
    weights = random(6)
    grid = torch.stack(torch.meshgrid(*[torch.arange(7, dtype=F64)] * 2, indexing="ij"), -1)
    jet = stencil_jet(quadratic(grid, weights)[None, None])[0, :, 1:-1, 1:-1]
    for i, j in itertools.product(range(1, 6), repeat=2):
        found = jet[:, i - 1, j - 1].clone()
        found[4] *= math.sqrt(2)
        at = torch.tensor([i, j], dtype=F64)
        assert gap(found, exact_jet(lambda x: quadratic(x, weights), at)) < 1e-12


def test_symbols_of_plane_waves():
    a, b = 2 * math.pi * 2 / 8, 2 * math.pi * 3 / 8
    i, j = torch.meshgrid(*[torch.arange(8, dtype=F64)] * 2, indexing="ij")
    phase = (a * i + b * j)[None, None]
    jet = torch.complex(*(stencil_jet(f(phase), "circular") for f in (torch.cos, torch.sin)))
    symbols = [1, 1j * math.sin(a), 1j * math.sin(b), -4 * math.sin(a / 2) ** 2]
    symbols += [-math.sin(a) * math.sin(b), -4 * math.sin(b / 2) ** 2]
    wave = torch.polar(torch.ones_like(phase), phase)
    expected = wave * torch.tensor(symbols, dtype=torch.complex128)[:, None, None]
    assert float((jet - expected).abs().max()) < 1e-13


@boundaries
@pytest.mark.parametrize("size", [(3, 4), (4, 5)], ids=str)
def test_eigenvalues_of_the_laplacian(size, boundary):
    one = torch.eye(math.prod(size), dtype=F64).reshape(-1, 1, *size)
    matrix = differential_invariants(one, boundary)[:, 3].flatten(1)
    assert gap(matrix, matrix.T.clone()) == 0
    found = laplacian_eigenvalues(*size, boundary).flatten().sort().values
    assert gap(torch.linalg.eigvalsh(matrix), found) < 1e-12
    assert found.min() >= -8 and found.max() == 0


# --- invariants -----------------------------------------------------------------------------------


def test_the_representation_moves_jets():
    """The jet at 0 of f(R^-1 x) is rho(R) times that of f."""
    weights, at = random(6), torch.zeros(2, dtype=F64)
    for group in (O(2), SO(2), dihedral(4)):
        rho, plane = jet_representation(group), circular_irrep(group, 1)
        jet = exact_jet(lambda x: quadratic(x, weights), at)
        for g in group.random(4, seed=1):
            back = torch.linalg.inv(plane(g))
            turned = exact_jet(lambda x, R=back: quadratic(R @ x, weights), at)
            assert gap(rho(g) @ jet, turned) < 1e-12
            assert gap(rho(g) @ rho(g).T, torch.eye(6, dtype=F64)) < 1e-12
    assert jet_representation(O(2), fields=2).dim == 12


def changed_by(group, values, count: int = 5) -> float:
    """How much functions of jets change under a group, at the most."""
    rho = jet_representation(group)
    scale = torch.tensor([1, 1, 1, 1, math.sqrt(2), 1], dtype=F64)
    jets = random(20, 6)
    differences = [
        values((jets * scale) @ rho(g).T / scale) - values(jets) for g in group.random(count)
    ]
    return max(float(d.abs().max()) for d in differences)


def test_the_invariants_do_not_turn():
    assert changed_by(O(2), jet_invariants) < 1e-12
    assert changed_by(O(2), lambda jet: jet[:, 3]) > 0.1
    # Invariant under quarter turns and flips, but not under others.
    split = {"bias": lambda jet: (jet[:, 3] - jet[:, 5]) ** 2, "mixed": lambda jet: jet[:, 4] ** 2}
    for values in split.values():
        assert changed_by(dihedral(4), values) < 1e-12
        assert changed_by(O(2), values) > 0.1


def series(generators: list[int], degree: int) -> list[int]:
    """How many monomials there are in generators of these degrees."""
    counts = [1] + [0] * degree
    for size in generators:
        for k in range(size, degree + 1):
            counts[k] += counts[k - size]
    return counts


def count(rho, degree: int) -> int:
    power, one = symmetric_power(rho, degree), trivial(rho.group)
    found = len(equivariant_basis(power, one))
    assert found == dimension_by_characters(power, one)
    return found


def rank_of_products(values: Tensor, degrees: list[int], degree: int) -> int:
    """Of all products of this degree, by their values at random points, (points, generators)."""
    products = []
    for powers in itertools.product(*(range(degree // d + 1) for d in degrees)):
        if sum(p * d for p, d in zip(powers, degrees, strict=True)) == degree:
            products.append(math.prod(values[:, k] ** p for k, p in enumerate(powers)))
    return int(torch.linalg.matrix_rank(torch.stack([p / p.norm() for p in products])))


@pytest.mark.parametrize("degree", range(5))
def test_five_generators_give_all_invariants(degree):
    """Counted by the solver, by characters, as monomials, and as independent products."""
    degrees = [1, 2, 1, 3, 2]
    values = jet_invariants(random(200, 6))[:, 1:]
    wanted = series(degrees, degree)[degree]
    assert count(jet_representation(O(2)), degree) == wanted
    assert rank_of_products(values, degrees, degree) == wanted
    fewer = series(degrees[:4], degree)[degree]
    assert rank_of_products(values[:, :4], degrees[:4], degree) == fewer
    assert (fewer < wanted) == (degree >= 2)


def test_generators_of_degree_five():
    degrees, wanted = [1, 2, 1, 3, 2], 25
    power = symmetric_power(jet_representation(O(2)), 5)
    assert dimension_by_characters(power, trivial(O(2))) == wanted == series(degrees, 5)[5]
    assert rank_of_products(jet_invariants(random(400, 6))[:, 1:], degrees, 5) == wanted


def twist(jet: Tensor) -> Tensor:
    """grad^T J H grad: unchanged by turns, reversed by flips."""
    _, r, c, rr, rc, cc = jet.unbind(-1)
    return r * (r * rc + c * cc) - c * (r * rr + c * rc)


def test_without_flips_there_is_one_more():
    base = series([1, 2, 1, 3, 2], 4)
    for degree in range(5):
        more = base[degree - 3] if degree >= 3 else 0
        assert count(jet_representation(SO(2)), degree) == base[degree] + more
    assert changed_by(SO(2), twist) < 1e-12
    assert changed_by(O(2), twist) > 0.1
    assert changed_by(O(2), lambda jet: twist(jet) ** 2) < 1e-11
    # Its square is a polynomial in the five: |grad|^4 |H0|^2 / 2 = (grad^T H0 grad)^2 + twist^2.
    jet = random(50, 6)
    _, _, p, t, q, s = jet_invariants(jet).unbind(1)
    traceless = s - t * t / 2
    assert gap(twist(jet) ** 2, p * p * traceless / 2 - (q - p * t / 2) ** 2) < 1e-11


def test_the_grid_allows_more_than_the_plane():
    found = [count(jet_representation(dihedral(4)), k) for k in range(4)]
    assert found == [1, 2, 6, 12]


def two_fields(z: Tensor, w: Tensor) -> Tensor:
    """Gradients z and traceless Hessians w as complex numbers, (N, 2): the twelve invariants."""
    pairs = [(0, 0), (0, 1), (1, 1)]
    values = [(z[:, i] * z[:, j].conj()).real for i, j in pairs]
    values += [(w[:, i] * w[:, j].conj()).real for i, j in pairs]
    values += [(z[:, i] * z[:, j] * w[:, k].conj()).real for i, j in pairs for k in range(2)]
    return torch.stack(values, 1)


def test_for_two_fields_the_list_misses_one():
    """Sixteen generators: four numbers and these twelve. At degree 4 one polynomial is missing."""
    group = O(2)
    rho = 2 * circular_irrep(group, 1) + 2 * circular_irrep(group, 2)
    z, w = (torch.complex(random(300, 2, seed=s), random(300, 2, seed=s + 1)) for s in (0, 2))
    degrees = [2] * 6 + [3] * 6
    values = two_fields(z, w)
    for degree, wanted in ((2, 6), (3, 6)):
        assert count(rho, degree) == rank_of_products(values, degrees, degree) == wanted
    wanted = len(equivariant_basis(symmetric_power(rho, 4), trivial(group)))
    assert (wanted, rank_of_products(values, degrees, 4)) == (22, 21)
    missing = (z[:, 0] * z[:, 1].conj()).imag * (w[:, 0] * w[:, 1].conj()).imag
    more = torch.cat([values, missing[:, None]], 1)
    assert rank_of_products(more, [*degrees, 4], 4) == 22


@boundaries
@pytest.mark.parametrize("size", [(6, 6), (4, 7)], ids=str)
def test_turned_images_have_turned_invariants(size, boundary):
    def invariants(x):
        return differential_invariants(x, boundary)

    images = random(2, 1, *size)
    assert equivariance_error(invariants, images, moved, moved, SYMMETRIES) < 1e-12
    assert equivariance_error(stencil_jet, images[:, :, :4, :4], moved, moved, SYMMETRIES) > 0.1


def test_shifts():
    def shifted(g, x):
        return torch.roll(x, g, (-2, -1))

    images, shifts = random(1, 1, 5, 6), [(1, 0), (2, 3)]
    for boundary, low, high in (("circular", -1, 1e-14), ("replicate", 0.1, INF)):
        error = equivariance_error(
            lambda x, b=boundary: differential_invariants(x, b), images, shifted, shifted, shifts
        )
        assert low < error < high


# --- stencils -------------------------------------------------------------------------------------


def symbol(stencil: Tensor, size: float, angle: float) -> float:
    """What the stencil does to a plane wave, divided by what the Laplacian does."""
    k = size * torch.tensor([math.cos(angle), math.sin(angle)], dtype=F64)
    at = torch.arange(-1, 2, dtype=F64)
    waves = torch.cos(k[0] * at[:, None] + k[1] * at)
    return float((stencil * waves).sum()) / -(size**2)


def anisotropy(corners: float, size: float) -> float:
    values = [symbol(laplacian_stencil(corners), size, a) for a in torch.linspace(0, 1.6, 33)]
    return max(values) - min(values)


def test_symmetric_stencils():
    group = dihedral(4)
    kernels = grid_kernels(trivial(group), trivial(group), 3).dense().reshape(-1, 9)
    assert len(kernels) == 3
    sums = kernels.sum(1)
    assert torch.linalg.matrix_rank(sums[:, None]) == 1  # so two combinations kill constants
    spanned = torch.stack([laplacian_stencil(g).flatten() for g in (0.0, 1.0)])
    assert torch.linalg.matrix_rank(torch.cat([kernels, spanned])) == 3
    assert torch.linalg.matrix_rank(spanned) == 2 and spanned.sum(1).abs().max() < 1e-14
    five = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=F64)
    nine = torch.tensor([[1, 4, 1], [4, -20, 4], [1, 4, 1]], dtype=F64) / 6
    assert gap(laplacian_stencil(), five) == 0 and gap(laplacian_stencil(1 / 3), nine) < 1e-15


@pytest.mark.parametrize(("corners", "order"), [(0, 2), (0.2, 2), (1 / 3, 4), (0.5, 2), (1, 2)])
def test_orders(corners, order):
    errors = [anisotropy(corners, h) for h in (0.2, 0.1)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.05)
    distances = [abs(symbol(laplacian_stencil(corners), h, 0.3) - 1) for h in (0.2, 0.1)]
    assert math.log2(distances[0] / distances[1]) == pytest.approx(2, abs=0.05)


# --- types and wrong input ------------------------------------------------------------------------


def test_dtypes_and_devices():
    images = random(2, 1, 4, 5)
    single = differential_invariants(images.float())
    assert single.dtype == torch.float32
    assert gap(single.double(), differential_invariants(images)) < 1e-4
    assert differential_invariants(images.to("meta")).shape == (2, 6, 4, 5)
    assert len(INVARIANTS) == len(JET) == 6
    jets = random(3, 6, 2).requires_grad_()
    assert torch.autograd.gradcheck(jet_invariants, (jets,))
    assert torch.autograd.gradcheck(stencil_jet, (random(1, 1, 3, 4).requires_grad_(),))


def with_entry(value: float) -> Tensor:
    x = random(1, 1, 4, 4)
    x[0, 0, 1, 2] = value
    return x


@pytest.mark.parametrize(
    ("images", "error"),
    [
        ([[1.0]], TypeError),
        (torch.zeros(1, 1, 4, 4, dtype=torch.int64), TypeError),
        (torch.zeros(1, 1, 4, 4, dtype=torch.complex64), TypeError),
        (random(4, 4), ValueError),
        (random(1, 3, 4, 4), ValueError),
        (random(0, 1, 4, 4), ValueError),
        (random(1, 1, 2, 4), ValueError),
        (random(1, 1, 4, 0), ValueError),
        (with_entry(NAN), ValueError),
        (with_entry(INF), ValueError),
    ],
    ids=["list", "int", "complex", "matrix", "colours", "empty", "small", "none", "nan", "inf"],
)
def test_wrong_images(images, error):
    for function in (stencil_jet, differential_invariants):
        with refuses(error, "images"):
            function(images)


def test_wrong_arguments():
    for boundary in ("mirror", None, 1):
        with refuses(ValueError, "boundary"):
            stencil_jet(random(1, 1, 4, 4), boundary)
        with refuses(ValueError, "boundary"):
            laplacian_eigenvalues(4, 4, boundary)
    for jet, error in ((random(6), ValueError), (random(2, 5), ValueError), ("jet", TypeError)):
        with refuses(error, "jet"):
            jet_invariants(jet)
    for group, error in (("D4", TypeError), (symmetric(3), ValueError), (cyclic(2), ValueError)):
        with refuses(error, "group"):
            jet_representation(group)
    for fields, error in ((0, ValueError), (True, TypeError), (1.0, TypeError)):
        with refuses(error, "fields"):
            jet_representation(O(2), fields)
    for corners, error in ((NAN, ValueError), (True, TypeError), ("1", TypeError)):
        with refuses(error, "corners"):
            laplacian_stencil(corners)
    with refuses(ValueError, "height"):
        laplacian_eigenvalues(2, 4)
    with refuses(TypeError, "width"):
        laplacian_eigenvalues(4, 4.0)
