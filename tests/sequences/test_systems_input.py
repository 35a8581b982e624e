"""What the room of sequences refuses of linear systems and kernels, by name."""

from __future__ import annotations

import math

import pytest
import torch

from gdl.sequences.systems import (
    LinearSystem,
    causal_toeplitz,
    hankel,
    ho_kalman,
    shift_matrix,
)
from tests.sequences.common import F64, random
from tests.sequences.test_systems import scalar, stable
from tests.test_representations import refuses

K3 = torch.tensor([1.0, 0.5, 0.25])
BAD_KERNELS = [
    (TypeError, None), (TypeError, [1.0, 0.5]), (TypeError, K3.long()), (TypeError, K3 * 1j),
    (ValueError, K3[:0]), (ValueError, K3[0]), (ValueError, K3[None]), (ValueError, K3 / 0),
    (ValueError, torch.ones(3, 0, 1)), (ValueError, torch.tensor([1.0, math.nan])),
]  # fmt: skip
NO_COUNT = [
    (ValueError, 0),
    (ValueError, -1),
    (TypeError, 1.0),
    (TypeError, True),
    (TypeError, "1"),
]


@pytest.mark.parametrize(
    "f",
    [causal_toeplitz, lambda k: hankel(k, 1, 1), lambda k: ho_kalman(k, 1)],
    ids=["toeplitz", "hankel", "ho_kalman"],
)
def test_kernels(f):
    f(K3)
    for error, kernel in BAD_KERNELS:
        with refuses(error, "kernel"):
            f(kernel)


def test_counts():
    calls = {
        "T": shift_matrix,
        "length": lambda n: causal_toeplitz(K3, n),
        "rows": lambda n: hankel(K3, n, 1),
        "columns": lambda n: hankel(K3, 1, n),
        "order": lambda n: ho_kalman(K3, n),
    }
    for name, f in calls.items():
        f(1)
        for error, value in NO_COUNT:
            with refuses(error, name):
                f(value)
    with refuses(TypeError, "dtype"):
        shift_matrix(3, dtype=torch.int64)
    for f in (stable(2).impulse_response, stable(2).controllability, stable(2).observability):
        with refuses(ValueError, "T"):
            f(0)


def test_kernels_that_are_too_short_or_have_no_values():
    hankel(K3, 2, 2)
    for rows, columns in ((3, 2), (1, 4), (4, 1)):
        with refuses(ValueError, "kernel"):
            hankel(K3, rows, columns)
    with refuses(ValueError, "kernel"):
        ho_kalman(K3.to("meta"), 1)
    with refuses(TypeError, "kernel"):
        ho_kalman(K3.bfloat16(), 1)
    for short, order in ((K3, 2), (K3[:1], 1)):
        with refuses(ValueError, "kernel"):
            ho_kalman(short, order)
    with pytest.raises(ValueError, match="^kernel: expected a kernel that is not zero"):
        ho_kalman(torch.zeros(6), 1)


def test_an_order_above_the_rank_shows_the_singular_values():
    kernel = scalar(stable(3).impulse_response(12))
    values = torch.linalg.svdvals(hankel(kernel, 6, 6))
    with pytest.raises(ValueError, match="^order: expected at most 3.* got 4; ") as caught:
        ho_kalman(kernel, 4)
    assert f"{float(values[2]):.3g}" in str(caught.value)


def test_matrices_of_a_system():
    A, B, C = torch.eye(2), torch.ones(2, 1), torch.ones(3, 2)
    fits = {"A": A, "B": B, "C": C}
    LinearSystem(**fits)
    bad = [
        ("A", A[:1]), ("A", A[None]), ("A", A / 0), ("A", A[0]), ("B", B[:1]), ("B", B[:, :0]),
        ("B", B[None]), ("B", B * math.nan), ("C", C[:, :1]), ("C", C[:0]), ("C", C[0]),
        ("C", C.to("meta")),
    ]  # fmt: skip
    for name, value in bad:
        with refuses(ValueError, name):
            LinearSystem(**{**fits, name: value})
    with refuses(ValueError, "A"):
        LinearSystem(A[:0, :0], B[:0], C[:, :0])
    for name, value in (("A", A.long()), ("B", B.double()), ("C", None)):
        with refuses(TypeError, name):
            LinearSystem(**{**fits, name: value})
    with pytest.raises(AttributeError):
        LinearSystem(**fits).A = A


def test_inputs_and_starts_of_a_run():
    system, x = stable(2, 3), random(4, 5, 3)
    bad = [
        (ValueError, x[..., :2]), (ValueError, x[:, :0]), (ValueError, x[0, 0]), (TypeError, None),
        (ValueError, x / 0), (ValueError, x.to("meta")), (TypeError, x.float()),
    ]  # fmt: skip
    for error, value in bad:
        with refuses(error, "x"):
            system.run(value)
    z = random(4, 2)
    for error, value in ((ValueError, z[:, :1]), (ValueError, z[:1]), (TypeError, z.float())):
        with refuses(error, "start"):
            system.run(x, value)


def test_changes_of_coordinates_that_lose_the_state():
    system, I = stable(2), torch.eye(2, dtype=F64)
    thin = torch.diag(torch.tensor([1.0, 1e-9], dtype=F64))
    for G in (
        I * 0,
        torch.ones_like(I),
        thin,
        thin.clone().requires_grad_(),
        I[:1],
        I[None],
        I / 0,
        I.to("meta"),
    ):
        with refuses(ValueError, "G"):
            system.changed(G)
    system.changed(1e-9 * I)
    system.changed(thin.clamp(min=1e-6).tril())
    for G in (I.float(), I.long(), I.tolist()):
        with refuses(TypeError, "G"):
            system.changed(G)
    half = LinearSystem(*(torch.ones(1, 1).bfloat16() for _ in range(3)))
    with refuses(TypeError, "G"):
        half.changed(torch.ones(1, 1).bfloat16())


def test_states_that_overflow():
    unit = torch.ones(1, 1, dtype=F64)
    growing = LinearSystem(1e10 * unit, unit, unit)
    assert growing.impulse_response(31).isfinite().all()
    for f in (growing.impulse_response, growing.controllability, growing.observability):
        with refuses(ValueError, "A"):
            f(40)
    with refuses(ValueError, "x"):
        growing.states(torch.ones(40, 1, dtype=F64))
    loud = LinearSystem(0 * unit, 1e200 * unit, 1e200 * unit)
    assert loud.states(unit).isfinite().all()
    with refuses(ValueError, "x"):
        loud.run(unit)
    with refuses(ValueError, "A"):
        loud.impulse_response(1)
