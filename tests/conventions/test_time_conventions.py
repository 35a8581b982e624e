"""Conventions of sequences and programs."""

from __future__ import annotations

import torch

from gdl import programs, sequences
from tests.conventions.common import N, close, convention, random


def busy_gated() -> sequences.GatedCell:
    cell = sequences.GatedCell(2, 3, dtype=torch.float64)
    with torch.no_grad():
        for k, p in enumerate(cell.parameters()):
            p.copy_(torch.sin(torch.arange(p.numel(), dtype=p.dtype) + k).reshape(p.shape))
    return cell


# --- sequences ----------------------------------------------------------------------------------


@convention("Sequences", "Axes")
def test_time_is_the_axis_before_the_last():
    x = random(3, N, 2)
    run = sequences.Recurrent(busy_gated())
    with torch.no_grad():
        together, alone = run(x)[0], torch.stack([run(part)[0] for part in x])
        assert close(together, alone)
        assert not close(together, run(x.transpose(0, 1))[0].transpose(0, 1)[:3])


@convention("Sequences", "Delay")
def test_a_delay_shifts_and_enters_a_zero():
    x = random(N)
    delayed = sequences.shift_matrix(N) @ x
    assert close(delayed, torch.cat([x.new_zeros(1), x[:-1]]))
    assert not close(delayed, torch.cat([x[1:], x.new_zeros(1)]))


@convention("Sequences", "Recurrence")
def test_a_recurrence_returns_the_states_after_its_start():
    cell, x = busy_gated(), random(N, 2)
    with torch.no_grad():
        states = sequences.Recurrent(cell)(x)[0]
        assert len(states) == N
        assert close(states[0], cell(x[0], torch.zeros(3, dtype=torch.float64)))
        assert not close(states[0], torch.zeros(3, dtype=torch.float64))


@convention("Sequences", "Gate")
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


@convention("Sequences", "Linear system")
def test_impulse_responses_and_hankel_matrices_count_from_zero():
    A, B, C = random(3, 3), random(3, 1), random(1, 3)
    k = sequences.LinearSystem(A, B, C).impulse_response(7)[:, 0, 0]
    assert close(k[:2], torch.stack([C @ B, C @ A @ B]).flatten())
    H = sequences.hankel(k, 3, 3)
    assert close(H, k[torch.arange(3)[:, None] + torch.arange(3)])
    assert not close(H, k[1 + torch.arange(3)[:, None] + torch.arange(3)])


@convention("Sequences", "Warp")
def test_rates_of_a_warp_look_back():
    times = torch.tensor([0.0, 1.0, 4.0, 8.0], dtype=torch.float64)
    assert close(sequences.rates(times)[1:], torch.tensor([1.0, 3.0, 4.0], dtype=torch.float64))
    assert not close(sequences.rates(times)[:-1], times.diff())


# --- programs -----------------------------------------------------------------------------------


@convention("Programs", "Derivative")
def test_a_jacobian_has_a_row_for_each_output():
    def f(x):
        return [x[0] * x[1], x[0] + 3 * x[2]]

    x = [2.0, 3.0, 5.0]
    jacobian = programs.record(f, x).jacobian()
    assert jacobian == [[3.0, 2.0, 0.0], [1.0, 0.0, 3.0]]
    assert jacobian != [list(column) for column in zip(*jacobian, strict=True)]
    assert programs.pushforward(f, x, [1.0, 0.0, 0.0])[1] == [3.0, 1.0]
    assert programs.pullback(f, x, [1.0, 0.0])[1] == [3.0, 2.0, 0.0]


@convention("Programs", "State")
def test_states_have_positions_first_and_the_form_turns_gradients_into_velocities():
    state, gradient = random(4), random(4)
    omega = programs.symplectic_form(2)
    assert close(omega @ gradient, torch.cat([gradient[2:], -gradient[:2]]))
    assert not close(omega.T @ gradient, torch.cat([gradient[2:], -gradient[:2]]))
    slope = torch.func.grad(lambda x: (x**4).sum())(state)
    field = programs.hamiltonian_field(lambda x: (x**4).sum(-1), state)
    assert close(field, omega @ slope)


@convention("Programs", "Implicit")
def test_the_start_of_a_search_has_no_gradient():
    theta, start = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (0.5, 0.1))
    z = programs.solve_fixed_point(lambda z, t: torch.cos(t * z), start, theta)
    by_theta, by_start = torch.autograd.grad(z, (theta, start), allow_unused=True)
    assert by_theta.abs() > 0.1
    assert by_start is None


@convention("Programs", "Soft order")
def test_rows_of_a_soft_order_are_places_and_the_largest_number_comes_first():
    x = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    cold = programs.soft_sort(x, 1e-3)
    assert close(cold, torch.eye(3, dtype=torch.float64)[[2, 0, 1]])
    assert not close(cold.T, torch.eye(3, dtype=torch.float64)[[2, 0, 1]])


@convention("Programs", "Rocket")
def test_a_rocket_that_tilts_to_the_left_flies_to_the_left():
    start = torch.tensor([0.0, 10.0, 0.0, 0.0, 0.3, 0.0, 1000.0], dtype=torch.float64)
    controls = torch.zeros(5, 2, dtype=torch.float64)
    assert programs.fly(controls, start)[-1, 0] < -1e-3  # counter-clockwise, to negative x
    upright = start * torch.tensor([1, 1, 1, 1, 0, 1, 1])
    controls[:, 1] = 1.0
    assert programs.fly(controls, upright)[-1, 5] > 1e-3  # the gimbal turns counter-clockwise
