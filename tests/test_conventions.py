"""Each line of chapters/conventions.md, with the opposite convention seen to fail."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from e3nn import o3
from torch import Tensor

from gdl import (
    attention,
    diffusion,
    factorization,
    gauges,
    geodesics,
    graphs,
    grids,
    groups,
    inference,
    programs,
    rotations,
    sequences,
    sparse_coding,
)
from gdl import representations as reps
from gdl.equivariance import equivariance_error, equivariant_basis

ROOT = Path(__file__).parents[1]
TIGHT = 1e-12
J = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
N = 5


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) < TIGHT


def pair(group: reps.Group) -> tuple[reps.Element, reps.Element]:
    """Two elements that do not commute."""
    g, h = (group.generator(0), group.generator(1)) if group.is_finite else group.random(2, seed=0)
    assert not close(group.defining(g * h), group.defining(h * g))
    return g, h


# --- groups and representations -----------------------------------------------------------------


@pytest.mark.parametrize(
    "rho",
    [
        reps.symmetric(4).defining,
        reps.regular(reps.dihedral(5)),
        reps.SO(3).defining,
        reps.quaternion().defining,
    ],
    ids=str,
)
def test_left_action(rho):
    g, h = pair(rho.group)
    assert close(rho(g * h), rho(g) @ rho(h))
    assert not close(rho(g * h), rho(h) @ rho(g))


def test_functions_are_carried_along():
    shift = reps.translations(N)
    t, f = shift.generator(0), random(N)
    moved = shift.defining.act(t, f)
    assert close(moved, torch.roll(f, 1))
    assert close(moved, torch.stack([f[(i - 1) % N] for i in range(N)]))
    assert not close(moved, torch.stack([f[(i + 1) % N] for i in range(N)]))


def test_permutation_moves_basis_vectors():
    p = torch.tensor([1, 2, 0, 3])
    rho = reps.Group("one cycle", {"p": p}).defining
    g, x = rho.group.generator(0), random(4)
    assert all(rho(g)[p[i], i] == 1 for i in range(4))
    assert close(rho.act(g, x)[p], x)
    assert not close(rho.act(g, x), x[p])


def test_words():
    group = reps.symmetric(4)
    a, b = group.generator(0), group.generator(1)
    assert (a * b).word == a.word + b.word
    assert close(group.defining(a * b), group.defining(a) @ group.defining(b))


def test_action_on_the_last_axis():
    rho = reps.SO(3).defining
    g, x = rho.group.random(1, seed=0)[0], random(2, 7, 3)
    assert close(rho.act(g, x), x @ rho(g).T)
    assert close(rho.act(g, x)[1, 4], rho(g) @ x[1, 4])
    assert not close(rho.act(g, x), x @ rho(g))


def test_dual():
    rho = reps.lorentz().defining
    g = rho.group.random(1, seed=0)[0]
    assert close(rho.dual(g), rho(g.inverse()).T)
    assert not close(rho.dual(g), rho(g))


def test_regular():
    group = reps.dihedral(4)
    rho, elements = reps.regular(group), group.elements()
    g, h = pair(group)
    e_h = torch.eye(len(elements), dtype=torch.float64)[group.index(h)]
    assert int(rho.act(g, e_h).argmax()) == group.index(g * h) != group.index(h * g)


# --- matrices and the equation ------------------------------------------------------------------


def test_vec_is_row_major():
    A, W, B = random(3, 4), random(4, 5), random(5, 2)
    assert close((A @ W @ B).reshape(-1), torch.kron(A, B.T.contiguous()) @ W.reshape(-1))
    column_major = torch.kron(B.T.contiguous(), A) @ W.reshape(-1)
    assert not close((A @ W @ B).reshape(-1), column_major)


def test_tensor_product():
    group = reps.SO(3)
    rho, g, a, b = group.defining, group.random(1, seed=0)[0], random(3), random(3).flip(0)
    both = rho * rho
    assert close(both(g), torch.kron(rho(g), rho(g)))
    moved = both.act(g, torch.outer(a, b).reshape(-1))
    assert close(moved, torch.outer(rho(g) @ a, rho(g) @ b).reshape(-1))
    assert not close(moved, torch.outer(rho(g) @ b, rho(g) @ a).reshape(-1))


def test_equation_is_invariance_under_out_times_dual_in():
    group = reps.dihedral(5)
    rho_in, rho_out = reps.regular(group), group.defining
    basis = equivariant_basis(rho_in, rho_out)
    W, (g, _) = basis.combine(random(len(basis))), pair(group)
    assert close(rho_out(g) @ W, W @ rho_in(g))
    assert close((rho_out * rho_in.dual).act(g, W.reshape(-1)), W.reshape(-1))
    assert not close((rho_in.dual * rho_out).act(g, W.reshape(-1)), W.reshape(-1))


@pytest.mark.parametrize("group", [reps.dihedral(5), reps.SO(3)], ids=str)
def test_bases_are_orthonormal_and_in_double_precision(group):
    rho = group.defining * group.defining
    maps = equivariant_basis(rho, rho).dense()
    gram = torch.einsum("aij,bij->ab", maps, maps)
    assert maps.dtype == torch.float64
    assert close(gram, torch.eye(len(maps), dtype=torch.float64))


def test_error_is_relative_and_takes_the_worst_element():
    rho = reps.cyclic(N).defining
    W, x, elements = random(N, N), random(N), rho.group.elements()
    expected = max(
        float((W @ rho(g) @ x - rho(g) @ W @ x).norm() / (rho(g) @ W @ x).norm()) for g in elements
    )
    measured = equivariance_error(lambda v: v @ W.T, x, rho, rho, elements)
    assert measured == pytest.approx(expected, rel=1e-12)
    assert measured > 0.1


# --- Lie algebras -------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [reps.SO(2), reps.SO(3), reps.lorentz()], ids=str)
def test_algebra_is_the_derivative(group):
    rho, step = group.defining * group.defining.dual, 1e-5
    for a in range(len(group.algebra_names)):
        unit = [step * (b == a) for b in range(len(group.algebra_names))]
        plus, minus = rho(group.exp(*unit)), rho(group.exp(*unit).inverse())
        derivative = (plus - minus) / (2 * step)
        assert float((derivative - rho.algebra[a]).abs().max()) < 1e-8
        assert float((derivative + rho.algebra[a]).abs().max()) > 0.1


def test_algebra_of_products_and_duals():
    rho, eye = reps.lorentz().defining, torch.eye(4, dtype=torch.float64)
    for X, product, dual in zip(rho.algebra, (rho * rho).algebra, rho.dual.algebra, strict=True):
        assert close(product, torch.kron(X, eye) + torch.kron(eye, X))
        assert close(dual, -X.T)
        assert not close(product, torch.kron(X, X))


def test_rotations_of_the_plane_are_counter_clockwise():
    group = reps.SO(2)
    assert close(group.defining.algebra[0], J)
    t = 0.3
    turned = group.defining(group.exp(t)) @ torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert close(turned, torch.tensor([math.cos(t), math.sin(t)], dtype=torch.float64))


def test_rotations_of_space():
    group = reps.SO(3)
    X, Y, Z = group.defining.algebra
    assert group.algebra_names == ("X", "Y", "Z")
    assert all(close(A, -A.T) for A in (X, Y, Z))
    for A, B, C in ((X, Y, Z), (Y, Z, X), (Z, X, Y)):
        assert close(A @ B - B @ A, C)
    quarter = group.defining(group.exp(0.0, 0.0, math.pi / 2))
    assert close(quarter @ torch.eye(3, dtype=torch.float64)[0], torch.eye(3).double()[1])
    for g in group.random(20, seed=0):
        assert float(torch.linalg.det(group.defining(g))) == pytest.approx(1.0, abs=1e-12)


def test_inversion_and_lorentz_metric():
    inversion = reps.O(3).defining(reps.O(3).generator(0))
    assert close(inversion, -torch.eye(3, dtype=torch.float64))
    eta = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    group = reps.lorentz()
    for X in group.defining.algebra:
        assert close(X.T @ eta + eta @ X, torch.zeros(4, 4, dtype=torch.float64))
    boost = group.defining(group.exp(0.0, 0.0, 0.0, 0.5, 0.0, 0.0))
    assert boost[0, 0] == pytest.approx(math.cosh(0.5)) and boost[0, 1] != 0


# --- images -------------------------------------------------------------------------------------


def dot(row: int, column: int) -> Tensor:
    image = torch.zeros(N, N, dtype=torch.float64)
    image[row, column] = 1.0
    return image


def where(image: Tensor) -> tuple[int, int]:
    row, column = divmod(int(image.argmax()), N)
    return row, column


def centred_xy(row: int, column: int) -> Tensor:
    return torch.tensor([column - N // 2, N // 2 - row], dtype=torch.float64)


def centred_row_column(row: int, column: int) -> Tensor:
    return torch.tensor([row - N // 2, column - N // 2], dtype=torch.float64)


def test_shifts_of_images():
    down, right = reps.translations(N, N + 1).generator(0), reps.translations(N, N + 1).generator(1)
    image, act = random(N, N + 1), reps.translations(N, N + 1).defining.act
    assert close(act(down, image.reshape(-1)), torch.roll(image, (1, 0), (0, 1)).reshape(-1))
    assert close(act(right, image.reshape(-1)), torch.roll(image, (0, 1), (0, 1)).reshape(-1))
    assert where(torch.roll(dot(1, 3), (1, 0), (0, 1))) == (2, 3)
    assert where(torch.roll(dot(1, 3), (0, 1), (0, 1))) == (1, 4)
    assert close(grids.shift((1, 2), image), torch.roll(image, (1, 2), (0, 1)))


def test_rot90_is_counter_clockwise_for_the_reader():
    start, end = (0, 3), where(torch.rot90(dot(0, 3)))
    assert close(centred_xy(*end), J @ centred_xy(*start))
    assert not close(centred_xy(*end), J.T @ centred_xy(*start))
    assert close(centred_row_column(*end), J @ centred_row_column(*start))
    group, image = reps.plane_group("p4", N), random(N, N)
    turned = group.defining.act(group.generator(2), image.reshape(-1))
    assert close(turned, torch.rot90(image).reshape(-1))


def test_flip_exchanges_left_and_right():
    start, end = (0, 3), where(dot(0, 3).flip(1))
    mirror = torch.diag(torch.tensor([-1.0, 1.0], dtype=torch.float64))
    assert close(centred_xy(*end), mirror @ centred_xy(*start))
    assert close(centred_row_column(*end), -mirror @ centred_row_column(*start))
    group, image = reps.plane_group("p4m", N), random(N, N)
    mirrored = group.defining.act(group.generator(3), image.reshape(-1))
    assert close(mirrored, image.flip(1).reshape(-1))


# --- convolution and Fourier transform ----------------------------------------------------------


def test_convolution_is_cross_correlation():
    x, w = random(1, 1, 6, 6), random(1, 1, 3, 2)
    y = F.conv2d(x, w)
    expected = (w[0, 0] * x[0, 0, 2:5, 1:3]).sum()
    mirrored = (w[0, 0].flip(0, 1) * x[0, 0, 2:5, 1:3]).sum()
    assert close(y[0, 0, 2, 1], expected)
    assert not close(y[0, 0, 2, 1], mirrored)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_centre_of_a_kernel(size):
    x, w, left = random(1, 1, 7), random(1, 1, size), (size - 1) // 2
    y = grids.circular_conv(x, w)
    near = [[x[0, 0, (p + k - left) % 7] for k in range(size)] for p in range(7)]
    assert close(y[0, 0], torch.tensor(near, dtype=torch.float64) @ w[0, 0])


def test_circulants():
    theta, x = random(N), random(N).flip(0)
    C, S = grids.circulant(theta), grids.shift_matrix(N)
    powers = sum(theta[k] * torch.linalg.matrix_power(S, k) for k in range(N))
    assert S[1, 0] == 1 and close(C, powers) and close(C[:, 0], theta)
    textbook = [sum(theta[k] * x[(p - k) % N] for k in range(N)) for p in range(N)]
    correlation = [sum(theta[k] * x[(p + k) % N] for k in range(N)) for p in range(N)]
    assert close(C @ x, torch.stack(textbook))
    assert not close(C @ x, torch.stack(correlation))


def test_fourier_transform():
    x, n = random(6), 6
    k = torch.arange(n, dtype=torch.float64)
    wave = torch.polar(torch.ones(n, n, dtype=torch.float64), -2 * math.pi * torch.outer(k, k) / n)
    transform = wave @ x.to(wave)
    assert close(torch.fft.fft(x), transform)
    assert not close(torch.fft.fft(x), wave.conj() @ x.to(wave))
    assert close(grids.dft_matrix(n) @ x.to(wave), transform / math.sqrt(n))
    assert close(grids.fold_spectrum(transform, 2), torch.fft.fft(x[::2]))
    assert close(torch.fft.fft(x[::2]), (transform[:3] + transform[3:]) / 2)


# --- the first page -----------------------------------------------------------------------------


def numbers(picture: str, name: str) -> list[int]:
    row = re.search(rf'<g id="{name}".*?</g>', picture, re.DOTALL)[0]
    return [int(v) for v in re.findall(r">(\d+)</text>", row)]


def test_the_square_of_the_first_page_commutes():
    picture = (ROOT / "_static" / "commuting_square.svg").read_text(encoding="utf-8")
    x = torch.tensor(numbers(picture, "x"))
    assert len(x) == N
    layer = lambda v: v + torch.roll(v, -1)  # noqa: E731 - each number and its right neighbour
    assert numbers(picture, "shifted") == torch.roll(x, 1).tolist()
    assert numbers(picture, "mapped") == layer(x).tolist()
    assert numbers(picture, "both") == layer(torch.roll(x, 1)).tolist()
    assert numbers(picture, "both") == torch.roll(layer(x), 1).tolist()


def test_fields_turn_counter_clockwise_and_their_fibres_with_them():
    D4 = reps.dihedral(4)
    r, s = D4.generator(0), D4.generator(1)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    pixels = groups.field_action(reps.trivial(D4))
    assert torch.equal(pixels(r, x), torch.rot90(x, 1, (-2, -1)))
    assert not torch.equal(pixels(r, x), torch.rot90(x, -1, (-2, -1)))
    assert torch.equal(pixels(s, x), x.flip(-2)) and not torch.equal(pixels(s, x), x.flip(-1))
    regular = groups.field_action(reps.regular(D4))
    f = torch.zeros(1, 3 * 8, 3, 3)
    f[0, 2 * 8 + D4.index(s), 0, 1] = 1.0
    assert regular(r, f)[0, 2 * 8 + D4.index(r * s), 1, 0] == 1.0
    assert regular(r, f)[0, 2 * 8 + D4.index(s * r), 1, 0] == 0.0


# --- sphere and space ---------------------------------------------------------------------------


TURN = o3.matrix_x(torch.tensor(0.7, dtype=torch.float64)) @ o3.matrix_y(
    torch.tensor(0.4, dtype=torch.float64)
)


def test_degree_one_is_the_vector_and_the_polar_axis_is_y():
    x = random(4, 3)
    first = rotations.spherical_harmonics(1, x, normalize=False)
    assert close(first, math.sqrt(3) * x)
    assert not close(first, math.sqrt(3) * x[:, [1, 2, 0]])
    assert close(rotations.wigner_d(1, TURN), TURN)
    pole = rotations.spherical_harmonics(3, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert (pole.abs() > 1e-12).tolist() == [False, False, False, True, False, False, False]


def test_wigner_matrices_move_harmonics():
    x, D = random(4, 3), rotations.wigner_d(2, TURN)
    moved = rotations.spherical_harmonics(2, x @ TURN.T)
    assert close(moved, rotations.spherical_harmonics(2, x) @ D.T)
    assert not close(moved, rotations.spherical_harmonics(2, x) @ D)


def test_signals_on_the_sphere_move_by_the_inverse():
    c, x = random(9), random(4, 3)
    Y = rotations.spherical_harmonics(range(3), x, normalization="integral")
    turned = Y @ rotations.rotate_coefficients(c, TURN)
    back, forth = (
        rotations.spherical_harmonics(range(3), x @ R, normalization="integral") @ c
        for R in (TURN, TURN.T)
    )
    assert close(turned, back)
    assert not close(turned, forth)


def test_clebsch_gordan_has_the_sign_of_e3nn():
    for degrees in [(1, 1, 1), (1, 2, 3), (2, 2, 1), (3, 1, 2)]:
        C = rotations.clebsch_gordan(*degrees)
        assert close(C, o3.wigner_3j(*degrees, dtype=torch.float64))
    assert rotations.clebsch_gordan(1, 1, 1)[0, 1, 2] > 0


def test_the_letter_is_what_the_inversion_does():
    inversion = -torch.eye(3, dtype=torch.float64)
    signs = {
        text: float(rotations.Irreps(text).matrix(inversion)[0, 0])
        for text in ("0e", "0o", "1e", "1o")
    }
    assert signs == {"0e": 1.0, "0o": -1.0, "1e": 1.0, "1o": -1.0}


def test_euler_angles_are_about_y_x_y():
    angles = torch.tensor([0.3, 1.1, -0.7], dtype=torch.float64)
    a, b, c = angles
    R = o3.angles_to_matrix(*angles)
    assert close(R, o3.matrix_y(a) @ o3.matrix_x(b) @ o3.matrix_y(c))
    assert not close(R, o3.matrix_z(a) @ o3.matrix_y(b) @ o3.matrix_z(c))


def test_a_tensor_field_looks_from_the_target_to_the_source():
    layer = rotations.TensorFieldConv("0e", "1o", 1, radius=3.0, dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        layer.product.weight.fill_(1.0)
        out = layer(torch.ones(2, 1, dtype=torch.float64), x, torch.tensor([[1], [0]]))
    assert out[0, 2] > 0.1
    assert close(out[1], torch.zeros(3, dtype=torch.float64))


# --- sets and graphs ----------------------------------------------------------------------------

ARROWS = torch.tensor([[0, 0, 2, 3], [1, 1, 1, 0]])
ORDER = torch.tensor([2, 0, 3, 1])


def test_an_adjacency_matrix_sums_over_the_sources():
    A, x = graphs.adjacency_matrix(ARROWS, 4, dtype=torch.float64), random(4)
    assert A[1, 0] == 2 and A[0, 1] == 0
    assert close((A @ x)[1], 2 * x[0] + x[2])
    assert close(graphs.Adjacency(ARROWS, 4, dtype=torch.float64) @ x, A @ x)
    assert not close(A.T @ x, A @ x)


def test_renumbering_moves_features_matrices_and_edges_alike():
    A, x = graphs.adjacency_matrix(ARROWS, 4, dtype=torch.float64), random(4)
    P = torch.eye(4, dtype=torch.float64)[:, ORDER]
    assert P[ORDER[0], 0] == 1 and close((P @ x)[ORDER], x)
    moved = graphs.adjacency_matrix(ORDER[ARROWS], 4, dtype=torch.float64)
    assert close(moved, P @ A @ P.T)
    assert not close(moved, P.T @ A @ P)
    weights = random(4)
    heard = graphs.adjacency_matrix(ARROWS, 4, weights) @ x
    assert close(graphs.adjacency_matrix(ORDER[ARROWS], 4, weights) @ (P @ x), P @ heard)


def test_laplacians_are_positive_semi_definite():
    A = graphs.barbell(3, dtype=torch.float64)
    L = graphs.laplacian(A)
    assert close(L, torch.diag(A.sum(1)) - A)
    assert not close(L, A - torch.diag(A.sum(1)))
    for kind in (None, "symmetric"):
        assert torch.linalg.eigvalsh(graphs.laplacian(A, kind)).min() > -TIGHT
    root = A.sum(1).sqrt()
    assert close(graphs.laplacian(A, "symmetric"),
                 torch.eye(6, dtype=torch.float64) - A / root / root[:, None])  # fmt: skip


def test_partitions_name_the_output_first():
    X = random(3, 3)
    transpose = graphs.partition_map((0, 1, 1, 0), 2, 2, 3, basis="diagram")
    assert close((transpose @ X.flatten()).reshape(3, 3), X.T)
    assert not close((transpose @ X.flatten()).reshape(3, 3), X)
    rows = graphs.partition_map((0, 0, 1), 2, 1, 3)
    assert close(rows @ X.flatten(), X.sum(1))
    assert not close(rows @ X.flatten(), X.sum(0))


def test_axes_of_tensors_and_sets():
    assert graphs.TensorLinear(2, 1, 3, 4)(torch.ones(5, 3, 6, 6)).shape == (5, 4, 6)
    assert graphs.DeepSetLayer(3, 4)(torch.ones(5, 6, 3)).shape == (5, 6, 4)
    with pytest.raises(ValueError, match="x"):
        graphs.DeepSetLayer(3, 4)(torch.ones(5, 3, 6))


def test_rows_of_attention_are_queries_and_a_mask_lets_look():
    q, k, v = random(3, 4), random(3, 4).flip(0), random(3, 2)
    A = torch.softmax(q @ k.T / 4**0.5, 1)
    assert close(attention.attend(q, k, v), A @ v)
    assert not close(attention.attend(k, q, v), A @ v)
    sees_first = torch.tensor([[True, False, False]] * 3)
    assert close(attention.attend(q, k, v, mask=sees_first), v[:1].expand(3, 2))
    assert not close(attention.attend(q, k, v, mask=~sees_first), v[:1].expand(3, 2))


def test_rotary_positions_turn_neighbouring_channels_counter_clockwise():
    x = torch.eye(4, dtype=torch.float64)[[0]]
    turned = attention.rotary(x, torch.tensor([0.5], dtype=torch.float64))
    expected = torch.tensor([[math.cos(0.5), math.sin(0.5), 0.0, 0.0]], dtype=torch.float64)
    assert close(turned, expected)
    assert not close(turned, expected * torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    third = torch.eye(4, dtype=torch.float64)[[2]]
    slow = attention.rotary(third, torch.tensor([50.0], dtype=torch.float64))[0, 2]
    assert close(slow, torch.tensor(math.cos(50.0 * 10000 ** (-0.5)), dtype=torch.float64))


# --- surfaces ------------------------------------------------------------------------------------

TURNED = torch.tensor([3, 1, 0, 2])


def tetrahedron() -> geodesics.Mesh:
    """Irregular, its faces counter-clockwise seen from outside."""
    corners = [[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 3]]
    return geodesics.Mesh(corners, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def dense(matrix) -> Tensor:
    return torch.as_tensor(matrix.toarray(), dtype=torch.float64)


def test_faces_are_counter_clockwise_seen_from_outside():
    mesh = tetrahedron()
    outwards = mesh.vertices[mesh.faces].mean(1) - mesh.vertices.mean(0)
    assert bool(((mesh.face_normals * outwards).sum(1) > 0).all())
    inside_out = geodesics.Mesh(mesh.vertices, mesh.faces.flip(1))
    assert not bool(((inside_out.face_normals * outwards).sum(1) > 0).any())


def test_lengths_belong_to_the_opposite_corner():
    mesh = tetrahedron()
    a, b, c = mesh.vertices[mesh.faces].unbind(1)
    assert close(mesh.lengths, torch.stack([(b - c).norm(dim=1), (c - a).norm(dim=1),
                                            (a - b).norm(dim=1)], 1))  # fmt: skip
    assert not close(mesh.lengths.roll(1, 1), mesh.lengths)


def test_surface_laplacians_are_positive_integrated_and_divided_by_a_third_of_the_area():
    mesh = tetrahedron()
    L, M = dense(geodesics.cotan_laplacian(mesh)), dense(geodesics.mass_matrix(mesh))
    assert torch.linalg.eigvalsh(L).min() > -TIGHT and torch.linalg.eigvalsh(-L).min() < -0.1
    assert close(L.sum(0), torch.zeros(4, dtype=torch.float64))
    areas = torch.zeros(4, dtype=torch.float64)
    for face, area in zip(mesh.faces, mesh.face_areas, strict=True):
        areas[face] += area / 3
    assert close(M, torch.diag(areas)) and not close(M, torch.diag(areas * 3))


def test_divergence_is_the_negative_adjoint_of_the_gradient():
    mesh = tetrahedron()
    G, D = (dense(f(mesh)) for f in (geodesics.gradient, geodesics.divergence))
    assert close(D, -G.T @ torch.diag(mesh.face_areas.repeat_interleave(3)))
    L = dense(geodesics.cotan_laplacian(mesh))
    assert close(-D @ G, L) and not close(D @ G, L)


def test_eigenvectors_are_orthonormal_in_the_mass():
    mesh = tetrahedron()
    basis = geodesics.eigenbasis(mesh, 4)
    L, M = dense(geodesics.cotan_laplacian(mesh)), dense(geodesics.mass_matrix(mesh))
    eye = torch.eye(4, dtype=torch.float64)
    assert close(basis.vectors.T @ M @ basis.vectors, eye)
    assert not close(basis.vectors.T @ basis.vectors, eye)
    assert close(L @ basis.vectors, M @ basis.vectors * basis.values)


def test_heat_kernels_are_multiplied_by_the_mass():
    mesh = tetrahedron()
    basis = geodesics.eigenbasis(mesh, 4)
    M, f, t = dense(geodesics.mass_matrix(mesh)), random(4), 0.1
    L = dense(geodesics.cotan_laplacian(mesh))
    flowed = torch.linalg.matrix_exp(-t * torch.linalg.inv(M) @ L) @ f
    kernel = geodesics.heat_kernel(basis, t)
    assert close(kernel @ (M @ f), flowed) and not close(kernel @ f, flowed)


def test_renumbering_moves_functions_and_operators():
    mesh = tetrahedron()
    P = torch.eye(4, dtype=torch.float64)[:, TURNED]
    assert P[TURNED[0], 0] == 1
    moved = mesh.permuted(TURNED)
    assert close(moved.vertices, P @ mesh.vertices)
    assert not close(moved.vertices, P.T @ mesh.vertices)
    L = dense(geodesics.cotan_laplacian(mesh))
    assert close(dense(geodesics.cotan_laplacian(moved)), P @ L @ P.T)


def test_a_functional_map_takes_coefficients_from_the_first_surface_to_the_second():
    mesh = tetrahedron()
    first, second = (geodesics.eigenbasis(m, 4) for m in (mesh, mesh.permuted(TURNED)))
    T = TURNED.argsort()  # the vertex of the first surface, for each of the second
    C, f = geodesics.functional_map(first, second, T), random(4)
    assert close(C @ first.project(f), second.project(f[T]))
    assert not close(C @ first.project(f), second.project(f[TURNED]))


# --- frames and gauges ---------------------------------------------------------------------------


def test_frames_are_counter_clockwise_seen_from_outside():
    mesh = tetrahedron()
    first, second = gauges.tangent_frames(mesh).unbind(1)
    outwards = mesh.vertices - mesh.vertices.mean(0)
    assert bool(((torch.linalg.cross(first, second) * outwards).sum(1) > 0).all())
    assert not bool(((torch.linalg.cross(second, first) * outwards).sum(1) > 0).any())


def test_order_m_turns_by_m_times_the_angle():
    pair = torch.tensor([1.0, 0.0], dtype=torch.float64)
    quarter = torch.tensor(math.pi / 2, dtype=torch.float64)
    turned = gauges.Orders("1x3").rotate(pair, quarter)
    assert close(turned, torch.tensor([0.0, -1.0], dtype=torch.float64))
    assert not close(turned, gauges.Orders("1x1").rotate(pair, quarter.double()))


def test_turning_the_frames_changes_angles_and_transports():
    graph, by = gauges.vertex_gauge(tetrahedron()), random(4)
    turned = graph.turned(by)
    q, p = graph.edge_index
    assert close(turned.angles, graph.angles - by[p])
    assert close(turned.transports, graph.transports - by[p] + by[q])
    assert not close(turned.transports, graph.transports - by[q] + by[p])


def test_turned_frames_see_the_same_arrow_turned_back():
    mesh, by = tetrahedron(), random(4)
    z = torch.complex(random(4), torch.linspace(-1.0, 1.0, 4, dtype=torch.float64))
    arrows = gauges.to_space(mesh, z)
    assert close(arrows, gauges.to_space(mesh, torch.exp(-1j * by) * z, turned=by))
    assert not close(arrows, gauges.to_space(mesh, torch.exp(1j * by) * z, turned=by))


def test_an_edge_is_straight_and_its_angle_is_that_of_the_source_seen_from_the_target():
    mesh = tetrahedron()
    graph = gauges.vertex_gauge(mesh)
    seen = dict(zip(map(tuple, graph.edge_index.T.tolist()), graph.angles, strict=True))
    there = torch.stack([seen[p, q] for q, p in graph.edge_index.T.tolist()])
    straight = graph.angles + math.pi - there
    assert close(gauges.wrapped(graph.transports - straight), 0 * straight)
    assert not close(gauges.wrapped(graph.transports + straight), 0 * straight)
    # From corner 0 the faces go round as 2, 1, 3, and the file's first neighbour is 1.
    round_zero = [seen[q, 0] for q in (1, 3, 2)]
    assert round_zero[0] == 0 and round_zero[0] < round_zero[1] < round_zero[2]


def test_holonomy_is_positive_on_a_sphere():
    ball = geodesics.icosphere(1)
    faces = gauges.face_holonomies(ball, gauges.vertex_gauge(ball))
    vertices = gauges.vertex_holonomies(ball, gauges.face_gauge(ball))
    assert bool((faces > 0).all()) and bool((vertices > 0).all())
    assert close(vertices, geodesics.angle_defects(ball))
    assert not close(vertices, -geodesics.angle_defects(ball))


# --- sequences -----------------------------------------------------------------------------------


def busy_gated() -> sequences.GatedCell:
    cell = sequences.GatedCell(2, 3, dtype=torch.float64)
    with torch.no_grad():
        for k, p in enumerate(cell.parameters()):
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=p.dtype) + k).reshape(p.shape))
    return cell


def test_time_is_the_axis_before_the_last():
    x = random(3, N, 2)
    run = sequences.Recurrent(busy_gated())
    with torch.no_grad():
        together, alone = run(x)[0], torch.stack([run(part)[0] for part in x])
        assert close(together, alone)
        assert not close(together, run(x.transpose(0, 1))[0].transpose(0, 1)[:3])


def test_a_delay_shifts_and_enters_a_zero():
    x = random(N)
    delayed = sequences.shift_matrix(N) @ x
    assert close(delayed, torch.cat([x.new_zeros(1), x[:-1]]))
    assert not close(delayed, torch.cat([x[1:], x.new_zeros(1)]))


def test_a_recurrence_returns_the_states_after_its_start():
    cell, x = busy_gated(), random(N, 2)
    with torch.no_grad():
        states = sequences.Recurrent(cell)(x)[0]
        assert len(states) == N
        assert close(states[0], cell(x[0], torch.zeros(3, dtype=torch.float64)))
        assert not close(states[0], torch.zeros(3, dtype=torch.float64))


def test_a_gate_of_one_takes_the_new_value():
    cell, x, h = busy_gated(), random(2), random(3)
    with torch.no_grad():
        cell.bias_ih[3:] = 100.0
        candidate = torch.tanh(cell.drive(x)[:3] + cell.recur(h)[:3])
        assert close(cell(x, h), candidate)
        assert not close(cell(x, h), h)
        gru = sequences.GRUCell(2, 3, dtype=torch.float64)
        gru.bias_ih[3:6] = 100.0  # the update gate keeps
        assert close(gru(x, h), h)


def test_impulse_responses_and_hankel_matrices_count_from_zero():
    A, B, C = random(3, 3), random(3, 1), random(1, 3)
    k = sequences.LinearSystem(A, B, C).impulse_response(7)[:, 0, 0]
    assert close(k[:2], torch.stack([C @ B, C @ A @ B]).flatten())
    H = sequences.hankel(k, 3, 3)
    assert close(H, k[torch.arange(3)[:, None] + torch.arange(3)])
    assert not close(H, k[1 + torch.arange(3)[:, None] + torch.arange(3)])


def test_a_warp_says_which_time_is_heard_and_rates_look_back():
    x = torch.linspace(0.0, 1.0, 9, dtype=torch.float64)[:, None] ** 2
    times = torch.tensor([0.0, 1.0, 4.0, 8.0], dtype=torch.float64)
    assert close(sequences.resample(x, times), x[[0, 1, 4, 8]])
    assert close(sequences.rates(times)[1:], torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64))
    assert not close(sequences.rates(times)[:-1], times.diff())


# --- programs ------------------------------------------------------------------------------------


def test_a_jacobian_has_a_row_for_each_output():
    def f(x):
        return [x[0] * x[1], x[0] + 3 * x[2]]

    x = [2.0, 3.0, 5.0]
    assert programs.record(f, x).jacobian() == [[3.0, 2.0, 0.0], [1.0, 0.0, 3.0]]
    assert programs.pushforward(f, x, [1.0, 0.0, 0.0])[1] == [3.0, 1.0]
    assert programs.pullback(f, x, [1.0, 0.0])[1] == [3.0, 2.0, 0.0]


def test_states_have_positions_first_and_the_form_turns_gradients_into_velocities():
    state, gradient = random(4), random(4)
    omega = programs.symplectic_form(2)
    assert close(omega @ gradient, torch.cat([gradient[2:], -gradient[:2]]))
    assert not close(omega.T @ gradient, torch.cat([gradient[2:], -gradient[:2]]))
    slope = torch.func.grad(lambda x: (x**4).sum())(state)
    field = programs.hamiltonian_field(lambda x: (x**4).sum(-1), state)
    assert close(field, omega @ slope)


def test_the_start_of_a_search_has_no_gradient():
    theta, start = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (0.5, 0.1))
    z = programs.solve_fixed_point(lambda z, t: torch.cos(t * z), start, theta)
    by_theta, by_start = torch.autograd.grad(z, (theta, start), allow_unused=True)
    assert by_theta.abs() > 0.1
    assert by_start is None


def test_rows_of_a_soft_order_are_places_and_the_largest_number_comes_first():
    x = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    cold = programs.soft_sort(x, 1e-3)
    assert close(cold, torch.eye(3, dtype=torch.float64)[[2, 0, 1]])
    assert not close(cold.T, torch.eye(3, dtype=torch.float64)[[2, 0, 1]])


def test_a_rocket_that_tilts_to_the_left_flies_to_the_left():
    start = torch.tensor([0.0, 10.0, 0.0, 0.0, 0.3, 0.0, 1000.0], dtype=torch.float64)
    controls = torch.zeros(5, 2, dtype=torch.float64)
    assert programs.fly(controls, start)[-1, 0] < -1e-3  # counter-clockwise, to negative x
    upright = start * torch.tensor([1, 1, 1, 1, 0, 1, 1])
    controls[:, 1] = 1.0
    assert programs.fly(controls, upright)[-1, 5] > 1e-3  # the gimbal turns counter-clockwise


# --- sparse coding -------------------------------------------------------------------------------


def test_codes_are_rows_and_atoms_are_columns():
    D = random(3, 5)
    codes = sparse_coding.omp(2.0 * D[:, 3][None], D, 1)
    assert close(codes, 2.0 * torch.eye(5, dtype=torch.float64)[3:4])
    assert close(codes @ D.T, 2.0 * D[:, 3][None])


def test_the_lasso_has_a_half_and_its_price_is_not_divided():
    D, y = torch.eye(2, dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64)
    code = sparse_coding.solve_lasso(y, D, 1.0)
    assert close(code, torch.tensor([2.0, 0.0], dtype=torch.float64))
    assert close(
        sparse_coding.lasso_objective(code, y, D, 1.0), torch.tensor(0.625 + 2.0).double()
    )


def test_a_step_has_the_length_of_one_over_the_largest_eigenvalue():
    D, y = random(3, 5), random(3)
    L = torch.linalg.eigvalsh(D.T @ D)[-1]
    step = sparse_coding.ista(y, D, 0.1, 1)
    assert close(step, sparse_coding.soft_threshold(y @ D / L, 0.1 / float(L)))
    hard = sparse_coding.iht(y, D, penalty=0.1, steps=1)
    assert close(hard, sparse_coding.hard_threshold(y @ D / L, (0.2 / float(L)) ** 0.5))


def test_the_path_of_a_network_starts_with_silence():
    path = sparse_coding.LISTA(random(3, 5), 0.1, 4).path(random(3))
    assert len(path) == 5
    assert not path[0].any()
    assert path[1].any()


# --- factorization -------------------------------------------------------------------------------


def test_a_change_of_gauge_leaves_the_product():
    D, Z, R = random(6, 3), random(7, 3), random(3, 3)
    atoms, codes = factorization.change_gauge(D, Z, R)
    assert close(codes, Z @ R)
    assert close(atoms, D @ torch.linalg.inv(R).T)
    assert close(codes @ atoms.T, Z @ D.T)


def test_inertia_has_no_half_and_centres_are_rows():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    assert float(factorization.inertia(points, torch.tensor([[1.0, 0.0]]).double())) == 2.0


def test_temperatures_divide_squared_distances():
    centres = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    layer = factorization.KMeansLayer(centres, temperature=2.0)
    weights = layer(torch.tensor([[0.25]], dtype=torch.float64)).detach()
    expected = torch.softmax(-torch.tensor([[0.0625, 0.5625]], dtype=torch.float64) / 2.0, -1)
    assert close(weights, expected)


# --- inference -----------------------------------------------------------------------------------


def test_scores_are_logits_and_a_pair_counts_once():
    swap = torch.eye(2, dtype=torch.float64).flip(0)
    field = inference.PairwiseField(random(2, 2), swap, torch.eye(2, dtype=torch.float64))
    score = field.score(torch.tensor([1, 1]))
    assert close(score, field.unary[0, 1] + field.unary[1, 1] + 1.0)
    total = sum(float(field.score(torch.tensor(x)).exp()) for x in ((0, 0), (0, 1), (1, 0), (1, 1)))
    assert math.isclose(float(field.enumerate().log_partition.exp()), total, rel_tol=TIGHT)


def test_free_energies_are_minus_score_minus_entropy():
    field = inference.PairwiseField(
        random(3, 2), torch.zeros(3, 3, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    )
    beliefs = field.unary.softmax(-1)
    assert close(field.free_energy(beliefs), -field.unary.logsumexp(-1).sum())


def test_damping_keeps_a_share_of_the_old_beliefs():
    field = inference.PairwiseField(
        random(3, 2), torch.zeros(3, 3, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    )
    start = torch.full((3, 2), 0.5, dtype=torch.float64)
    step = inference.mean_field(field, 1, order="damped", damping=0.9, start=start)
    assert close(step.marginals, 0.9 * start + 0.1 * field.unary.softmax(-1))


def test_a_place_is_scale_row_and_column_of_the_centre():
    canvas = torch.zeros(1, 9, 9, dtype=torch.float64)
    canvas[0, 2, 6] = 1.0
    window = inference.glimpse(canvas, torch.tensor([2.0, 2.0, 6.0], dtype=torch.float64), 3)
    assert window[0, 1, 1] == 1.0
    canvas[0, 2, 8] = 0.5
    window = inference.glimpse(canvas, torch.tensor([2.0, 2.0, 6.0], dtype=torch.float64), 3)
    assert window[0, 1, 2] == 0.5


def test_a_guide_stops_after_exactly_n_steps():
    going_on = torch.tensor([0.9, 0.2], dtype=torch.float64)
    q = inference.count_log_probabilities(going_on.logit()).exp()
    assert close(q, torch.tensor([0.1, 0.9 * 0.8, 0.9 * 0.2], dtype=torch.float64))


# --- diffusion -----------------------------------------------------------------------------------


def test_the_laplacian_of_a_picture_is_negative():
    bowl = torch.arange(5, dtype=torch.float64)[:, None] ** 2 + torch.zeros(5)
    invariants = diffusion.differential_invariants(bowl[None, None])
    assert float(invariants[0, diffusion.INVARIANTS.index("lap u"), 2, 2]) == 2.0
    assert float(diffusion.laplacian_eigenvalues(4, 4).max()) < TIGHT


def test_borders_are_called_as_torch_calls_them():
    image, k = random(1, 1, 5, 6), random(1, 3, 3)
    mirrored = F.conv2d(F.pad(image, (1, 1, 1, 1), mode="reflect"), k[:, None])
    assert close(diffusion.filter_responses(image, k, "reflect"), mirrored)
    around = F.pad(image, (1, 1, 1, 1), mode="replicate")
    slope = (around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]) / 2
    assert close(diffusion.stencil_jet(image, "replicate")[:, 2:3], slope)


def test_the_adjoint_of_responses_folds_the_border_back():
    image, k, forces = random(1, 1, 5, 6), random(2, 3, 3), random(1, 2, 5, 6)
    there = (diffusion.filter_responses(image, k, "reflect") * forces).sum()
    back = (diffusion.adjoint_responses(forces, k, "reflect") * image).sum()
    assert close(there, back)


def test_blur_convolves_and_its_middle_does_not_move():
    image = random(1, 1, 5, 6)
    kernel = torch.zeros(1, 3, 3, dtype=torch.float64)
    kernel[0, 1, 2] = 1.0
    assert close(diffusion.blur(image, kernel), image.roll(1, 3))


def test_thresholds_of_powers_have_a_half_and_zero_is_free():
    y = torch.tensor([3.0], dtype=torch.float64)
    assert close(diffusion.generalized_soft_threshold(y, 1.0, 1.0), y - 1.0)
    half = torch.tensor(0.5, dtype=torch.float64)
    assert math.isclose(float(diffusion.gst_threshold(half, 0.0)), 1.0, rel_tol=TIGHT)


def test_decibels_are_for_grey_values_up_to_one():
    image = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    assert close(diffusion.psnr(image + 0.01, image), torch.tensor([40.0], dtype=torch.float64))
