"""Sinusoidal and rotary encodings: one representation of the shifts."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gdl.attention.encodings import rotary, rotary_matrix, sinusoidal
from tests.attention.common import F64, TOLERANCE, both_dtypes, gap, random

shifts = st.floats(-50, 50)
channels = st.sampled_from([2, 4, 6, 10])
bases = st.sampled_from([1.0, 2.0, 100.0, 10000.0])


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=F64)


# --- sinusoidal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [100, 10000.0])
def test_sinusoidal_is_the_formula(base):
    d, positions = 6, [0, 1, 5, -2]
    got = sinusoidal(torch.tensor(positions), d, base, dtype=F64)
    for row, p in zip(got.tolist(), positions, strict=True):
        for k in range(d // 2):
            angle = p * base ** (-2 * k / d)
            assert abs(row[2 * k] - math.sin(angle)) < 1e-14
            assert abs(row[2 * k + 1] - math.cos(angle)) < 1e-14


@given(p=shifts, s=shifts, d=channels, base=bases)
def test_a_shift_rotates_the_sinusoidal_encoding(p, s, d, base):
    moved = sinusoidal(number(p) + number(s), d, base)
    R = rotary_matrix(number(s), d, base)
    assert gap(moved, R.T @ sinusoidal(number(p), d, base)) < 1e-11


def test_the_transposed_rotation_is_another_shift():
    e, R = sinusoidal(number(2.0), 4), rotary_matrix(number(1.0), 4)
    assert gap(R @ e, sinusoidal(number(1.0), 4)) < 1e-14
    assert gap(R @ e, sinusoidal(number(3.0), 4)) > 1e-1


def test_products_of_encodings_depend_on_differences():
    e = sinusoidal(torch.arange(9), 6, dtype=F64)
    gram = e @ e.T
    for lag in range(9):
        diagonal = gram.diagonal(lag)
        assert gap(diagonal, diagonal[:1].expand_as(diagonal)) < 1e-13
    assert gap(gram[0, :1], gram[0, 1:2]) > 1e-1


def test_dtypes_of_sinusoidal():
    integers = torch.tensor([3, 40000])
    assert sinusoidal(integers, 4).dtype == torch.float32
    assert sinusoidal(integers.double(), 4).dtype == F64
    assert sinusoidal(integers.float(), 4, dtype=F64).dtype == F64
    # Angles are exact before they are rounded.
    exact = sinusoidal(integers, 4, dtype=F64).float()
    assert torch.equal(sinusoidal(integers, 4), exact)
    assert sinusoidal(torch.ones(2, 3), 4).shape == (2, 3, 4)


# --- rotary ---------------------------------------------------------------------------------------


@given(a=shifts, b=shifts, d=channels, base=bases)
def test_rotary_is_a_representation_of_shifts(a, b, d, base):
    A, B = (rotary_matrix(number(s), d, base) for s in (a, b))
    identity = torch.eye(d, dtype=F64)
    assert gap(A @ B, rotary_matrix(number(a) + number(b), d, base)) < 1e-11
    assert gap(A.T, rotary_matrix(number(-a), d, base)) < 1e-14
    assert gap(A @ A.T, identity) < 1e-14
    assert torch.equal(rotary_matrix(number(0.0), d, base), identity)


def test_rotary_matrices_are_the_formula():
    d, base, p = 6, 100.0, 3.0
    expected = torch.zeros(d, d, dtype=F64)
    for k in range(d // 2):
        angle = p * base ** (-2 * k / d)
        cos, sin = math.cos(angle), math.sin(angle)
        block = torch.tensor([[cos, -sin], [sin, cos]], dtype=F64)
        expected[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = block
    assert gap(rotary_matrix(number(p), d, base), expected) < 1e-14


@both_dtypes
@pytest.mark.parametrize("d", [2, 4, 6])
def test_rotary_is_its_matrix(dtype, d):
    x = random(3, 5, d, dtype=dtype)
    positions = torch.tensor([0, 1, 2, 7, -4])
    R = rotary_matrix(positions, d, 100)
    expected = (R @ x.double()[..., None]).squeeze(-1).to(dtype)
    got = rotary(x, positions, 100)
    assert gap(got, expected) < TOLERANCE[dtype]
    assert gap(got.norm(dim=-1), x.norm(dim=-1)) < TOLERANCE[dtype]
    assert gap(rotary(rotary(x, positions), -positions), x) < TOLERANCE[dtype]
    assert torch.equal(rotary(x), rotary(x, torch.arange(5)))


@given(i=shifts, j=shifts, s=shifts, d=channels)
def test_logits_depend_on_differences_only(i, j, s, d):
    q, k = random(1, d), random(1, d, seed=1)

    def logit(a: float, b: float) -> Tensor:
        return (rotary(q, number(a)[None]) * rotary(k, number(b)[None])).sum()

    assert gap(logit(i, j), logit(i + s, j + s)) < 1e-11
    assert gap(logit(i, j), logit(0.0, j - i)) < 1e-11


def test_an_added_encoding_depends_on_more():
    q, k = random(1, 4), random(1, 4, seed=1)

    def logit(a: int, b: int) -> Tensor:
        return ((q + sinusoidal(number(a), 4)) * (k + sinusoidal(number(b), 4))).sum()

    assert gap(logit(1, 3), logit(2, 4)) > 1e-2


def test_logits_of_different_distances_differ():
    q, k = random(1, 4), random(1, 4, seed=1)
    logits = [(q * rotary(k, torch.tensor([s]))).sum().item() for s in range(-3, 4)]
    assert min(abs(a - b) for a in logits for b in logits if a != b) > 1e-3
    assert len(set(logits)) == 7


def halves(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """The rotary encoding of libraries that pair channel k with channel k + d / 2."""
    d = x.shape[-1]
    angles = positions[:, None] * base ** (-torch.arange(0, d, 2, dtype=F64) / d)
    cos, sin = (f(torch.cat([angles, angles], dim=-1)) for f in (torch.cos, torch.sin))
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def test_the_other_pairing_is_a_permutation_of_channels():
    x, positions = random(5, 6), torch.arange(5)

    def interleaved(x: Tensor) -> Tensor:
        return x.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)

    other = interleaved(halves(x, positions, 100))
    assert gap(rotary(interleaved(x), positions, 100), other) < 1e-14
    assert gap(rotary(x, positions, 100), halves(x, positions, 100)) > 1e-1


def test_positions_for_each_sequence_and_shared_over_axes():
    x = random(2, 3, 5, 4)
    positions = torch.randint(9, (2, 3, 5), generator=torch.Generator().manual_seed(0))
    whole = rotary(x, positions)
    for a in range(2):
        for b in range(3):
            assert torch.equal(whole[a, b], rotary(x[a, b], positions[a, b]))
    shared = positions[:, :1]
    assert torch.equal(rotary(x, shared), rotary(x, shared.expand(2, 3, 5)))


def test_far_tokens_keep_their_distance_in_half_precision():
    q, k = (random(1, 8, seed=i).to(torch.bfloat16) for i in (0, 1))

    def logit(a: int, b: int) -> float:
        turned = rotary(q, torch.tensor([a])), rotary(k, torch.tensor([b]))
        assert turned[0].dtype == torch.bfloat16
        return (turned[0].double() * turned[1].double()).sum().item()

    assert abs(logit(0, 3) - logit(100_000, 100_003)) < 0.05
    assert abs(logit(0, 3) - logit(0, 4)) > 0.1
    # Rounded once, at the end.
    for x in (q, k):
        assert torch.equal(rotary(x), rotary(x.float()).to(x.dtype))
        far = torch.tensor([100_000])
        assert torch.equal(rotary(x, far), rotary(x.float(), far).to(x.dtype))


def test_rotary_passes_gradients_back():
    x = random(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: rotary(x, base=10), x)
