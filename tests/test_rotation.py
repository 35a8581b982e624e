"""The element of a rotation matrix: the inverse of the defining representation."""

from __future__ import annotations

import math

import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from gdl import representations as reps
from gdl.representations import rotation
from tests.test_representations import close, refuses, tensor


def random_rotation(n: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return q if torch.linalg.det(q) > 0 else q[:, [1, 0, *range(2, n)]]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(2, 7), st.integers(0, 1000))
def test_rotation_inverts_the_defining_representation(n, seed):
    R, group = random_rotation(n, seed), reps.SO(n)
    assert close(group.defining(rotation(group, R)), R, 1e-12)
    for matrix in (R, R @ reps.O(n).defining(reps.O(n).generator(0))):
        assert close(reps.O(n).defining(rotation(reps.O(n), matrix)), matrix, 1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-4, 1.0, math.pi - 1e-8, math.pi])
@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 0, 1), (1, 2, 3), (-1, 1, 0)])
def test_tiny_angles_and_half_turns(angle, axis):
    SO3 = reps.SO(3)
    unit = tensor(list(axis)) / tensor(list(axis)).norm()
    R = SO3.defining(SO3.exp(*(angle * unit).tolist()))
    g = rotation(SO3, R)
    assert close(SO3.defining(g), R, 1e-14 if angle < 1e-3 else 1e-12)
    found = tensor(list(g.word[0]))
    assert abs(found.norm() - angle) < max(1e-15, 1e-7 * angle)
    if 0 < angle < 3:
        assert (found - angle * unit).abs().max() < 1e-12


@pytest.mark.parametrize("n", [2, 4, 5, 6])
def test_half_turns_in_more_dimensions(n):
    turn = torch.diag(tensor([-1.0] * (n - n % 2) + [1.0] * (n % 2)))
    Q = random_rotation(n, 0)
    for matrix in (turn, Q @ turn @ Q.T):
        assert close(reps.SO(n).defining(rotation(reps.SO(n), matrix)), matrix, 1e-12)


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_wigner_matrices_against_e3nn(degree):
    rho = reps.spherical_irrep(reps.SO(3), degree)
    for seed in range(5):
        R = random_rotation(3, seed)
        expected = o3.Irrep(degree, 1).D_from_matrix(R)
        # e3nn itself goes through angles, which costs it half of its digits here and there.
        own_error = (o3.Irrep(1, 1).D_from_matrix(R) - R).abs().max()
        assert own_error < 1e-6
        assert close(rho(rotation(reps.SO(3), R)), expected, degree**2 * 1e-6)
        assert not close(rho(rotation(reps.SO(3), R.T)), expected, 1e-2)


def test_single_precision_is_accepted():
    R = random_rotation(3, 0).float()
    assert (reps.SO(3).defining(rotation(reps.SO(3), R)) - R).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("error", "argument", "group", "matrix"),
    [
        (ValueError, "matrix", reps.SO(3), torch.eye(3) * 1.001),
        (ValueError, "matrix", reps.SO(3), torch.eye(3) + 1e-5),
        (ValueError, "matrix", reps.SO(3), -torch.eye(3)),
        (ValueError, "matrix", reps.SO(2), torch.diag(tensor([1.0, -1.0]))),
        (ValueError, "matrix", reps.SO(3), torch.zeros(3, 3)),
        (ValueError, "matrix", reps.SO(3), torch.full((3, 3), math.nan)),
        (ValueError, "matrix", reps.SO(3), torch.eye(2)),
        (ValueError, "matrix", reps.O(2), torch.ones(2)),
        (ValueError, "matrix", reps.O(2), torch.tensor([[1.0, 0.5], [0.0, 1.0]])),
        (TypeError, "matrix", reps.SO(2), [[1.0, 0.0], [0.0, 1.0]]),
        (TypeError, "matrix", reps.SO(2), torch.eye(2, dtype=torch.complex64)),
        (ValueError, "group", reps.lorentz(), torch.eye(4)),
        (ValueError, "group", reps.symmetric(3), torch.eye(3)),
        (TypeError, "group", "SO(3)", torch.eye(3)),
    ],
)
def test_bad_input_is_named(error, argument, group, matrix):
    with refuses(error, argument):
        rotation(group, matrix)


def test_the_message_says_how_far_from_orthogonal():
    with pytest.raises(ValueError, match="orthogonal matrix, but M\\^T M differs from 1 by 0.21"):
        rotation(reps.SO(2), 1.1 * torch.eye(2))
