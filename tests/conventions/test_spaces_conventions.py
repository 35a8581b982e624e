"""Conventions of the sphere, of space, and of sets and graphs."""

from __future__ import annotations

import math

import pytest
import torch
from e3nn import o3

from gdl import attention, graphs, rotations
from tests.conventions.common import TIGHT, close, convention, random

TURN = o3.matrix_x(torch.tensor(0.7, dtype=torch.float64)) @ o3.matrix_y(
    torch.tensor(0.4, dtype=torch.float64)
)
ARROWS = torch.tensor([[0, 0, 2, 3], [1, 1, 1, 0]])
ORDER = torch.tensor([2, 0, 3, 1])


# --- sphere and space ---------------------------------------------------------------------------


@convention("Sphere and space", "Harmonics")
def test_degree_one_is_the_vector_and_the_polar_axis_is_y():
    x = random(4, 3)
    first = rotations.spherical_harmonics(1, x, normalize=False)
    assert close(first, math.sqrt(3) * x)
    assert not close(first, math.sqrt(3) * x[:, [1, 2, 0]])
    assert close(rotations.wigner_d(1, TURN), TURN)
    pole = rotations.spherical_harmonics(3, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert (pole.abs() > 1e-12).tolist() == [False, False, False, True, False, False, False]


@convention("Sphere and space", "Wigner matrices")
def test_wigner_matrices_move_harmonics():
    x, D = random(4, 3), rotations.wigner_d(2, TURN)
    moved = rotations.spherical_harmonics(2, x @ TURN.T)
    assert close(moved, rotations.spherical_harmonics(2, x) @ D.T)
    assert not close(moved, rotations.spherical_harmonics(2, x) @ D)


@convention("Sphere and space", "Signals")
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


@convention("Sphere and space", "Clebsch-Gordan")
def test_clebsch_gordan_has_the_sign_of_e3nn():
    for degrees in [(1, 1, 1), (1, 2, 3), (2, 2, 1), (3, 1, 2)]:
        C = rotations.clebsch_gordan(*degrees)
        assert close(C, o3.wigner_3j(*degrees, dtype=torch.float64))
        assert not close(C, -o3.wigner_3j(*degrees, dtype=torch.float64))
    assert rotations.clebsch_gordan(1, 1, 1)[0, 1, 2] > 0


@convention("Sphere and space", "Parity")
def test_the_letter_is_what_the_inversion_does():
    inversion = -torch.eye(3, dtype=torch.float64)
    signs = {
        text: float(rotations.Irreps(text).matrix(inversion)[0, 0])
        for text in ("0e", "0o", "1e", "1o")
    }
    assert signs["1o"] != signs["1e"] and signs["0o"] != signs["0e"]
    assert signs == {"0e": 1.0, "0o": -1.0, "1e": 1.0, "1o": -1.0}


@convention("Sphere and space", "Euler angles")
def test_euler_angles_are_about_y_x_y():
    angles = torch.tensor([0.3, 1.1, -0.7], dtype=torch.float64)
    a, b, c = angles
    R = o3.angles_to_matrix(*angles)
    assert close(R, o3.matrix_y(a) @ o3.matrix_x(b) @ o3.matrix_y(c))
    assert not close(R, o3.matrix_z(a) @ o3.matrix_y(b) @ o3.matrix_z(c))


@convention("Sphere and space", "Edges")
def test_a_tensor_field_looks_from_the_target_to_the_source():
    layer = rotations.TensorFieldConv("0e", "1o", 1, radius=3.0, dtype=torch.float64)
    x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    with torch.no_grad():
        layer.product.weight.fill_(1.0)
        ones = torch.ones(2, 1, dtype=torch.float64)
        out, back = (layer(ones, x, torch.tensor(edge)) for edge in ([[1], [0]], [[0], [1]]))
    assert out[0, 2] > 0.1
    assert close(back[1], -out[0]) and not close(back[1], out[0])
    assert close(out[1], torch.zeros(3, dtype=torch.float64))


# --- sets and graphs ----------------------------------------------------------------------------


@convention("Sets and graphs", "Adjacency")
def test_an_adjacency_matrix_sums_over_the_sources():
    A, x = graphs.adjacency_matrix(ARROWS, 4, dtype=torch.float64), random(4)
    assert A[1, 0] == 2 and A[0, 1] == 0
    assert close((A @ x)[1], 2 * x[0] + x[2])
    assert close(graphs.Adjacency(ARROWS, 4, dtype=torch.float64) @ x, A @ x)
    assert not close(A.T @ x, A @ x)


@convention("Sets and graphs", "Renumbering")
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


@convention("Sets and graphs", "Laplacian")
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


@convention("Sets and graphs", "Partitions")
def test_partitions_name_the_output_first():
    X = random(3, 3)
    transpose = graphs.partition_map((0, 1, 1, 0), 2, 2, 3, basis="diagram")
    assert close((transpose @ X.flatten()).reshape(3, 3), X.T)
    assert not close((transpose @ X.flatten()).reshape(3, 3), X)
    rows = graphs.partition_map((0, 0, 1), 2, 1, 3)
    assert close(rows @ X.flatten(), X.sum(1))
    assert not close(rows @ X.flatten(), X.sum(0))


@convention("Sets and graphs", "Tensors")
def test_axes_of_tensors_and_sets():
    assert graphs.TensorLinear(2, 1, 3, 4)(torch.ones(5, 3, 6, 6)).shape == (5, 4, 6)
    assert graphs.DeepSetLayer(3, 4)(torch.ones(5, 6, 3)).shape == (5, 6, 4)
    with pytest.raises(ValueError, match="x"):
        graphs.DeepSetLayer(3, 4)(torch.ones(5, 3, 6))


@convention("Sets and graphs", "Attention")
def test_rows_of_attention_are_queries_and_a_mask_lets_look():
    q, k, v = random(3, 4), random(3, 4).flip(0), random(3, 2)
    A = torch.softmax(q @ k.T / 4**0.5, 1)
    assert close(attention.attend(q, k, v), A @ v)
    assert not close(attention.attend(k, q, v), A @ v)
    sees_first = torch.tensor([[True, False, False]] * 3)
    assert close(attention.attend(q, k, v, mask=sees_first), v[:1].expand(3, 2))
    assert not close(attention.attend(q, k, v, mask=~sees_first), v[:1].expand(3, 2))


@convention("Sets and graphs", "Rotary")
def test_rotary_positions_turn_neighbouring_channels_counter_clockwise():
    x = torch.eye(4, dtype=torch.float64)[[0]]
    turned = attention.rotary(x, torch.tensor([0.5], dtype=torch.float64))
    expected = torch.tensor([[math.cos(0.5), math.sin(0.5), 0.0, 0.0]], dtype=torch.float64)
    assert close(turned, expected)
    assert not close(turned, expected * torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    third = torch.eye(4, dtype=torch.float64)[[2]]
    slow = attention.rotary(third, torch.tensor([50.0], dtype=torch.float64))[0, 2]
    assert close(slow, torch.tensor(math.cos(50.0 * 10000 ** (-0.5)), dtype=torch.float64))
