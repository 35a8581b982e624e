"""Linear systems: causal convolution and the shift, Hankel ranks, realisations and their gauge."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv1d, pad

from gdl.equivariance import equivariant_basis, span_residual
from gdl.representations import Representation, one_parameter
from gdl.sequences.systems import (
    LinearSystem,
    causal_toeplitz,
    hankel,
    ho_kalman,
    shift_matrix,
)
from tests.sequences.common import F64, TOLERANCE, both_dtypes, gap, random

CHANNELS = [(1, 1), (2, 3), (3, 1)]
channels = pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
FAR = 300


def stable(n: int, c_in: int = 1, c_out: int = 1, seed: int = 0, dtype=F64) -> LinearSystem:
    """A random system of spectral radius 0.9, minimal with probability 1."""
    A = random(n, n, seed=seed)
    A = 0.9 * A / torch.linalg.eigvals(A).abs().max()
    B, C = random(n, c_in, seed=seed + 10), random(c_out, n, seed=seed + 20)
    return LinearSystem(A.to(dtype), B.to(dtype), C.to(dtype))


def scaled_gap(a: Tensor, b: Tensor) -> float:
    return gap(a, b) / float(b.abs().max())


def scalar(kernel: Tensor) -> Tensor:
    return kernel[:, 0, 0]


# --- the shift and what commutes with it ----------------------------------------------------------


@pytest.mark.parametrize("T", [1, 2, 5])
def test_the_shift_delays(T):
    N, x = shift_matrix(T), random(T)
    assert torch.equal(N @ x, torch.cat([torch.zeros(1, dtype=F64), x[:-1]]))
    assert not torch.matrix_power(N, T).any()
    assert T == 1 or torch.matrix_power(N, T - 1).any()
    assert torch.equal(N, torch.from_numpy(np.eye(T, k=-1)))
    assert shift_matrix(T, dtype=torch.float32).dtype == torch.float32


@both_dtypes
@pytest.mark.parametrize(("K", "T"), [(4, 4), (2, 5), (5, 3), (1, 1)])
def test_scalar_toeplitz_matrices_are_those_of_scipy(dtype, K, T):
    k = random(K, dtype=dtype)
    column = pad(k[:T], (0, T - len(k[:T])))
    expected = torch.from_numpy(scipy.linalg.toeplitz(column.numpy(), np.zeros(T)))
    assert torch.equal(causal_toeplitz(k, T), expected.to(dtype))
    assert torch.equal(causal_toeplitz(k), causal_toeplitz(k, K))


@both_dtypes
@pytest.mark.parametrize("T", [3, 4, 9])
def test_block_toeplitz_matrices_are_the_convolution_of_torch(dtype, T):
    k, x = random(4, 3, 2, dtype=dtype), random(T, 2, seed=1, dtype=dtype)
    expected = conv1d(pad(x.T[None], (3, 0)), k.movedim(0, 2).flip(2))[0].T
    y = (causal_toeplitz(k, T) @ x.flatten()).reshape(T, 3)
    assert gap(y, expected) < 10 * TOLERANCE[dtype]


@pytest.mark.parametrize(("c_out", "c_in"), [(1, 1), (2, 3)])
def test_toeplitz_matrices_commute_with_every_power_of_the_shift(c_out, c_in):
    W, N = causal_toeplitz(random(5, c_out, c_in), 6), shift_matrix(6)
    N_out, N_in = (torch.kron(N, torch.eye(c, dtype=F64)) for c in (c_out, c_in))
    for k in range(7):
        out_first, in_first = torch.matrix_power(N_out, k), torch.matrix_power(N_in, k)
        assert torch.equal(out_first @ W, W @ in_first)
    ahead = causal_toeplitz(random(5, c_in, c_out), 6).T
    assert gap(N_out @ ahead, ahead @ N_in) > 0.1


@pytest.mark.parametrize(("c_out", "c_in"), [(1, 1), (2, 1), (2, 3)])
def test_the_commutant_of_the_shift_is_the_toeplitz_matrices(c_out, c_in):
    T = 4
    N = shift_matrix(T)
    group = one_parameter("delays", N)
    rho_out, rho_in = (
        Representation(group, [], [torch.kron(N, torch.eye(c, dtype=F64))]) for c in (c_out, c_in)
    )
    commutant = equivariant_basis(rho_in, rho_out)
    units = torch.eye(T * c_out * c_in, dtype=F64).reshape(-1, T, c_out, c_in)
    toeplitz = torch.stack([causal_toeplitz(unit) for unit in units])
    assert len(commutant) == T * c_out * c_in == torch.linalg.matrix_rank(toeplitz.flatten(1))
    assert span_residual(toeplitz, commutant) < 1e-12
    assert span_residual(toeplitz[1:].flip(2), commutant) > 0.1


def test_gradients_reach_the_kernel():
    k = random(3, 2, 2).requires_grad_()
    causal_toeplitz(k, 5).sum().backward()
    repeats = torch.tensor([5.0, 4.0, 3.0], dtype=F64)[:, None, None]
    assert torch.equal(k.grad, repeats.expand(3, 2, 2))


# --- linear systems -------------------------------------------------------------------------------


@channels
@seeds
def test_a_run_is_that_of_scipy(c_in, c_out, seed):
    system, x = stable(3, c_in, c_out, seed), random(20, c_in)
    # The state of scipy waits one step: x_{t+1} = A x_t + B u_t, read as C (A x_t + B u_t).
    A, B, C = system.A.numpy(), system.B.numpy(), system.C.numpy()
    z = random(3, seed=5)
    _, expected, _ = scipy.signal.dlsim((A, B, C @ A, C @ B, 1), x.numpy(), x0=z.numpy())
    assert gap(system.run(x, z), torch.from_numpy(expected)) < 1e-12
    assert gap(system.run(x, z), system.run(x)) > 1e-2
    # A product of matrices of another size may add in another order.
    assert gap(system.run(x.expand(4, 20, c_in), z)[3], system.run(x, z)) < 1e-14


@seeds
def test_a_run_is_the_filter_with_these_coefficients(seed):
    system, x = stable(3, seed=seed), random(40)
    A, B, C = system.A.numpy(), system.B.numpy(), system.C.numpy()
    numerator, denominator = scipy.signal.ss2tf(A, B, C @ A, C @ B)
    expected = scipy.signal.lfilter(numerator[0], denominator, x.numpy())
    assert gap(system.run(x[:, None])[:, 0], torch.from_numpy(expected)) < 1e-11


@both_dtypes
@channels
def test_a_run_from_zero_is_the_convolution_with_the_impulse_response(dtype, c_in, c_out):
    system, x = stable(3, c_in, c_out, dtype=dtype), random(2, 5, 12, c_in, dtype=dtype)
    y = x.flatten(-2) @ causal_toeplitz(system.impulse_response(12)).T
    assert gap(system.run(x), y.unflatten(-1, (12, c_out))) < 10 * TOLERANCE[dtype]


@channels
def test_the_impulse_response_is_the_answer_to_impulses(c_in, c_out):
    system = stable(3, c_in, c_out)
    impulses = torch.zeros(c_in, 9, c_in, dtype=F64)
    impulses[torch.arange(c_in), 0, torch.arange(c_in)] = 1
    assert gap(system.impulse_response(9), system.run(impulses).movedim(0, 2)) < 1e-13
    for j, k in enumerate(system.impulse_response(4)):
        assert gap(k, system.C @ torch.matrix_power(system.A, j) @ system.B) < 1e-13


def test_runs_can_be_continued():
    system, x, z = stable(3, 2, 3), random(4, 10, 2), random(4, 3, seed=2)
    states = system.states(x, z)
    later = system.states(x[:, 6:], states[:, 5])
    assert gap(later, states[:, 6:]) < 1e-14
    assert gap(system.run(x, z), states @ system.C.T) < 1e-14
    alone = system.run(torch.zeros_like(x), z)
    powers = system.observability(11)[3:].unflatten(0, (10, 3))
    assert gap(alone, torch.einsum("tcn,bn->btc", powers, z)) < 1e-13


@channels
def test_the_hankel_matrix_is_observability_times_controllability(c_in, c_out):
    system = stable(3, c_in, c_out)
    H = hankel(system.impulse_response(9), 4, 6)
    assert gap(H, system.observability(4) @ system.controllability(6)) < 1e-13
    assert H.shape == (4 * c_out, 6 * c_in)
    assert gap(H[:c_out, :c_in], system.C @ system.B) < 1e-13


@both_dtypes
@channels
def test_other_coordinates_of_the_state_are_not_seen(dtype, c_in, c_out):
    system, x = stable(4, c_in, c_out, dtype=dtype), random(3, 8, c_in, dtype=dtype)
    G, z = random(4, 4, seed=7, dtype=dtype), random(3, 4, seed=8, dtype=dtype)
    other, bound = system.changed(G), 100 * TOLERANCE[dtype]
    assert gap(other.impulse_response(20), system.impulse_response(20)) < bound
    assert gap(other.run(x, z @ G.T), system.run(x, z)) < bound
    assert gap(other.states(x, z @ G.T), system.states(x, z) @ G.T) < bound
    assert gap(other.run(x, z), system.run(x, z)) > 0.1
    broken = LinearSystem(other.A, other.B, system.C @ G)
    assert gap(broken.impulse_response(20), system.impulse_response(20)) > 0.1
    G_too = random(4, 4, seed=9, dtype=dtype)
    twice, at_once = other.changed(G_too), system.changed(G_too @ G)
    for one, two in zip(*(((s.A, s.B, s.C)) for s in (twice, at_once)), strict=True):
        assert scaled_gap(one, two) < bound


@seeds
def test_gradients_are_those_of_differences(seed):
    system, x = stable(2, 2, 1, seed), random(5, 2)
    inputs = [m.clone().requires_grad_() for m in (system.A, system.B, system.C, random(2, 2), x)]

    def outputs(A, B, C, G, x):
        other = LinearSystem(A, B, C).changed(G)
        return other.run(x, G[0]), other.impulse_response(4)

    assert torch.autograd.gradcheck(outputs, inputs)


def test_kernels_that_are_trained_can_be_read():
    kernel = stable(2).impulse_response(6)
    trained = kernel.clone().requires_grad_()
    system = ho_kalman(trained, 2)
    assert torch.equal(system.A, ho_kalman(kernel, 2).A) and not system.A.requires_grad
    with pytest.raises(ValueError, match="^order: expected at most 2"):
        ho_kalman(trained, 3)


# --- Hankel matrices and their rank ---------------------------------------------------------------


@both_dtypes
def test_scalar_hankel_matrices_are_those_of_scipy(dtype):
    k = random(8, dtype=dtype)
    expected = scipy.linalg.hankel(k[:3].numpy(), k[2:7].numpy())
    assert torch.equal(hankel(k, 3, 5), torch.from_numpy(expected))


def test_blocks_of_hankel_matrices():
    k = random(6, 3, 2)
    H = hankel(k, 2, 5).reshape(2, 3, 5, 2)
    for i in range(2):
        for j in range(5):
            assert torch.equal(H[i, :, j], k[i + j])


def rank(kernel: Tensor, rows: int, columns: int) -> int:
    return int(torch.linalg.matrix_rank(hankel(kernel, rows, columns), rtol=1e-9))


@channels
@seeds
@pytest.mark.parametrize("n", [1, 2, 4])
def test_the_rank_of_a_minimal_system_is_its_order(c_in, c_out, seed, n):
    kernel = stable(n, c_in, c_out, seed).impulse_response(13)
    assert rank(kernel, 7, 7) == rank(kernel, 5, 9) == n


@seeds
def test_states_that_are_not_reached_or_not_seen_do_not_count(seed):
    small = stable(3, 2, 2, seed)
    A = torch.block_diag(small.A, 0.5 * torch.eye(2, dtype=F64))
    A[:3, 3:] = random(3, 2, seed=4)
    unreached = LinearSystem(
        A, torch.cat([small.B, torch.zeros(2, 2, dtype=F64)]), random(2, 5, seed=6)
    )
    unseen = LinearSystem(A.T, random(5, 2, seed=6), unreached.B.T)
    reached = LinearSystem(A, random(5, 2, seed=5), random(2, 5, seed=6))
    hidden = torch.linalg.qr(random(5, 5, seed=3)).Q
    for system, least in ((unreached, 3), (unseen, 3), (reached, 5)):
        assert rank(system.changed(hidden).impulse_response(15), 8, 8) == least <= system.order


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=6), st.integers(1, 4))
def test_a_kernel_of_k_delays_needs_k_states(taps, zeros):
    k = torch.tensor([*taps, *[0.0] * (len(taps) + zeros)], dtype=F64)
    half = (len(k) + 1) // 2
    assert rank(k, half, len(k) + 1 - half) == len(taps)


def exact_rank(rows: list[list[Fraction]]) -> int:
    """By elimination without rounding."""
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            factor = rows[i][column] / rows[rank][column]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


def test_a_power_law_needs_more_states_at_every_size():
    k = 1 / torch.arange(1, 31, dtype=F64)
    assert torch.equal(hankel(k, 9, 9), torch.from_numpy(scipy.linalg.hilbert(9)))
    assert [rank(k, n, n) for n in range(1, 8)] == list(range(1, 8))
    for n in (9, 15):
        assert exact_rank([[Fraction(1, i + j + 1) for j in range(n)] for i in range(n)]) == n


# --- realisations ---------------------------------------------------------------------------------


@channels
@seeds
def test_the_impulse_response_is_recovered_far_beyond_the_kernel(c_in, c_out, seed):
    kernel = stable(3, c_in, c_out, seed).impulse_response(FAR)
    system = ho_kalman(kernel[:10], 3)
    assert system.order == 3
    assert scaled_gap(system.impulse_response(FAR), kernel) < 1e-12
    assert kernel[10:].abs().max() > 1e-3 * kernel.abs().max()
    flawed = kernel[:10].clone()
    flawed[4] += 1e-3
    assert scaled_gap(ho_kalman(flawed, 3).impulse_response(FAR), kernel) > 1e-6


@seeds
def test_scalar_kernels_and_float32(seed):
    kernel = scalar(stable(3, seed=seed).impulse_response(FAR))
    from_scalar = ho_kalman(kernel[:8], 3)
    assert scaled_gap(scalar(from_scalar.impulse_response(FAR)), kernel) < 1e-12
    low = ho_kalman(kernel[:8].float(), 3)
    assert low.A.dtype == torch.float32
    assert scaled_gap(scalar(low.impulse_response(FAR)), kernel.float()) < 1e-4


@pytest.mark.parametrize("K", [6, 7])
def test_six_delays_are_enough_for_three_states_and_five_are_not(K):
    kernel = scalar(stable(3).impulse_response(FAR))
    assert scaled_gap(scalar(ho_kalman(kernel[:K], 3).impulse_response(FAR)), kernel) < 1e-12
    with pytest.raises(ValueError, match="^kernel: expected more delays for 3 states, got 5"):
        ho_kalman(kernel[:5], 3)


@channels
def test_the_coordinates_are_balanced(c_in, c_out):
    kernel = stable(3, c_in, c_out).impulse_response(11)
    system = ho_kalman(kernel, 3)
    S = torch.diag(torch.linalg.svdvals(hankel(kernel, 5, 6))[:3])
    O, R = system.observability(5), system.controllability(6)
    assert gap(O.T @ O, S) < 1e-12
    assert gap(R @ R.T, S) < 1e-12


def test_a_kernel_that_ends_has_a_nilpotent_state():
    k = torch.tensor([3.0, -1.0, 2.0], dtype=F64)
    system = ho_kalman(pad(k, (0, 5)), 3)
    assert gap(scalar(system.impulse_response(50)), pad(k, (0, 47))) < 1e-12
    assert torch.matrix_power(system.A, 3).abs().max() < 1e-12
    assert torch.matrix_power(system.A, 2).abs().max() > 0.1


def equations(one: LinearSystem, two: LinearSystem) -> Tensor:
    """The rows of ``G A_1 = A_2 G, G B_1 = B_2, C_1 = C_2 G`` that are linear in vec G."""
    I = torch.eye(one.order, dtype=F64)
    return torch.cat(
        [
            torch.kron(I, one.A.T.contiguous()) - torch.kron(two.A, I),
            torch.kron(I, one.B.T.contiguous()),
            torch.kron(two.C, I),
        ]
    )


@channels
@seeds
def test_two_minimal_systems_of_one_kernel_differ_by_one_change_of_coordinates(c_in, c_out, seed):
    one = stable(3, c_in, c_out, seed)
    two = ho_kalman(one.impulse_response(10), 3)
    G = torch.linalg.pinv(two.observability(6)) @ one.observability(6)
    other = one.changed(G)
    for ours, theirs in ((other.A, two.A), (other.B, two.B), (other.C, two.C)):
        assert scaled_gap(ours, theirs) < 1e-10
    G_too = two.controllability(6) @ torch.linalg.pinv(one.controllability(6))
    assert scaled_gap(G_too, G) < 1e-10
    assert torch.linalg.matrix_rank(equations(one, two)) == 9


def test_a_system_with_idle_states_has_many():
    small = stable(2)
    A = torch.block_diag(small.A, torch.tensor([[0.5]], dtype=F64))
    B = pad(small.B, (0, 0, 0, 1))
    idle = LinearSystem(A, B, pad(small.C, (0, 1)))
    assert torch.linalg.matrix_rank(equations(idle, idle)) == 8


@seeds
def test_fewer_states_approximate_the_kernel(seed):
    kernel = stable(4, seed=seed).impulse_response(2 * FAR)
    values = torch.linalg.svdvals(hankel(kernel, FAR, FAR))
    errors = []
    for n in (1, 2, 3):
        fewer = ho_kalman(kernel, n).impulse_response(2 * FAR)
        errors.append(gap(fewer, kernel))
        assert errors[-1] <= 2 * float(values[n:].sum())
    assert errors[-1] > 1e-6
