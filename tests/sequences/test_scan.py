"""The parallel scan: equal to the loop, exact where numbers are, differentiable, stable."""

from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from scipy.signal import lfilter
from torch import Tensor

from gdl.sequences.scan import compose, recurrence, scan
from tests.sequences.common import F64, gap, random
from tests.test_representations import refuses

# The room may hand on the function under the name of this module.
module = importlib.import_module("gdl.sequences.scan")

C128 = torch.complex128
BOUNDS = {torch.float32: 1e-5, F64: 1e-13, torch.complex64: 1e-5, C128: 1e-13}
all_dtypes = pytest.mark.parametrize("dtype", list(BOUNDS), ids=str)
wide_dtypes = pytest.mark.parametrize("dtype", [F64, C128], ids=str)
LENGTHS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 31, 64, 100, 257]
lengths = pytest.mark.parametrize("steps", LENGTHS, ids=str)
RUNS = pytest.mark.parametrize("run", [scan, recurrence])


def numbers(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    if dtype.is_complex:
        real, imaginary = (random(*shape, seed=seed + shift) for shift in (0, 100))
        return torch.complex(real, imaginary).to(dtype)
    return random(*shape, seed=seed, dtype=dtype)


def factors(*shape: int, dtype: torch.dtype = F64) -> Tensor:
    """Of magnitude at most 1, some of them 1 and some 0, of any sign or phase."""
    a = numbers(*shape, seed=7, dtype=dtype)
    size = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(a.real.dtype)
    size = torch.where(size < 0.1, 0, torch.where(size > 0.9, 1, size))
    return (a / a.abs() * size).to(dtype)


def case(*shape: int, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor, Tensor]:
    start = numbers(*shape[:-2], shape[-1], seed=3, dtype=dtype)
    return factors(*shape, dtype=dtype), numbers(*shape, seed=1, dtype=dtype), start


# --- equal to the loop ----------------------------------------------------------------------------


@all_dtypes
@lengths
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_the_scan_is_the_loop(batch, steps, dtype):
    a, b, start = case(*batch, steps, 4, dtype=dtype)
    for given in ((a, b), (a, b, start), (a[..., -1, :].reshape(-1, 4)[0], b, start)):
        z = scan(*given)
        assert z.dtype == dtype
        assert gap(z, recurrence(*given)) <= BOUNDS[dtype] * float(z.abs().max())


@wide_dtypes
@lengths
def test_gradients_are_those_of_the_loop(steps, dtype):
    a, b, start = (x.requires_grad_() for x in case(2, steps, 3, dtype=dtype))
    constant = numbers(3, seed=5, dtype=dtype).mul(0.5).requires_grad_()
    cotangent = numbers(2, steps, 3, seed=9, dtype=dtype)
    for given in ((a, b), (a, b, start), (constant, b, start)):
        found, wanted = (
            torch.autograd.grad(run(*given), given, cotangent) for run in (scan, recurrence)
        )
        for x, y in zip(found, wanted, strict=True):
            assert gap(x, y) <= 1e-12 * float(y.abs().max() + 1)
        assert found[1].abs().max() > 0.1


@wide_dtypes
@pytest.mark.parametrize("steps", [1, 2, 5], ids=str)
def test_first_and_second_derivatives_by_differences(steps, dtype):
    a, b, start = (x.requires_grad_() for x in case(2, steps, 2, dtype=dtype))
    constant = numbers(2, seed=5, dtype=dtype).requires_grad_()
    for given in ((a, b, start), (constant, b)):
        assert torch.autograd.gradcheck(scan, given)
        assert torch.autograd.gradgradcheck(scan, given)


def test_a_factor_alone_or_a_term_alone_may_want_a_gradient():
    a, b, _ = case(5, 3)
    for given in ((a.clone().requires_grad_(), b), (a, b.clone().requires_grad_())):
        (free,) = (x for x in given if x.requires_grad)
        wanted = torch.autograd.grad(recurrence(*given).sum(), free)[0]
        assert gap(torch.autograd.grad(scan(*given).sum(), free)[0], wanted) < 1e-13


def test_jacobians_of_torch_func():
    a, b, _ = case(5, 2)
    for k in (0, 1):
        found, wanted = (torch.func.jacrev(run, argnums=k)(a, b) for run in (scan, recurrence))
        assert gap(found, wanted) < 1e-13


def test_the_composition_in_the_wrong_order_is_noticed(monkeypatch):
    right = module._compose
    monkeypatch.setattr(module, "_compose", lambda a, b, c, d: right(c, d, a, b))
    given = case(2, 9, 3)
    assert gap(scan(*given), recurrence(*given)) > 0.1


# --- exact ----------------------------------------------------------------------------------------


@lengths
def test_integers_stay_exact(steps):
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(-1, 2, (2, steps, 3), generator=generator)
    b = torch.randint(-9, 10, (2, steps, 3), generator=generator)
    z, wanted = np.zeros((2, 3), dtype=int), []
    for t in range(steps):
        z = a[:, t].numpy() * z + b[:, t].numpy()
        wanted.append(z)
    for dtype in BOUNDS:
        found = scan(a.to(dtype), b.to(dtype))
        assert torch.equal(found, torch.from_numpy(np.stack(wanted, 1)).to(dtype))


@wide_dtypes
def test_a_factor_of_zero_forgets_to_the_last_bit(dtype):
    a, b, start = case(2, 40, 3, dtype=dtype)
    a[:, 17] = 0
    other, rest = b.clone(), 1e9 * start
    other[:, :17] = 1e9 * numbers(2, 17, 3, seed=4, dtype=dtype)
    z, changed = scan(a, b, start), scan(a, other, rest)
    assert torch.equal(z[:, 17], b[:, 17])
    assert torch.equal(z[:, 17:], changed[:, 17:])
    assert gap(z[:, :17], changed[:, :17]) > 1e6


def test_factors_of_one_sum():
    b = random(1000, 3)
    assert gap(scan(torch.ones(3, dtype=F64), b), b.cumsum(0)) < 1e-12


def test_the_start_is_one_more_step():
    a, b, start = case(2, 9, 3)
    longer = torch.cat([start[:, None], b], 1)
    led = torch.cat([torch.ones(2, 1, 3, dtype=F64), a], 1)
    assert gap(scan(a, b, start), scan(led, longer)[:, 1:]) < 1e-14


def test_halves_joined_by_the_state_between():
    a, b, start = case(2, 21, 3)
    z = scan(a, b, start)
    first = scan(a[:, :8], b[:, :8], start)
    second = scan(a[:, 8:], b[:, 8:], first[:, -1])
    assert gap(torch.cat([first, second], 1), z) < 1e-14


# --- long -----------------------------------------------------------------------------------------

LONG = {
    F64: [1.0, -1.0, 0.999, 0.5],
    C128: [1.0, 1j, 0.9999 * complex(math.cos(0.3), math.sin(0.3)), -0.5],
}


def filtered(a: Tensor, b: Tensor) -> Tensor:
    """SciPy's recursive filter along time, for constant factors (n,), in double precision."""
    columns = [
        lfilter([1.0], [1.0, -factor], column)
        for factor, column in zip(a.numpy(), b[0].mT.numpy(), strict=True)
    ]
    return torch.from_numpy(np.stack(columns, -1))[None]


@pytest.mark.parametrize("dtype", list(LONG), ids=str)
def test_a_hundred_thousand_steps_against_scipy(dtype):
    a, b = torch.tensor(LONG[dtype], dtype=dtype), numbers(1, 100_000, 4, dtype=dtype)
    oracle = filtered(a, b)
    error = (scan(a, b) - oracle).abs().amax((0, 1)) / oracle.abs().amax((0, 1))
    assert error.max() < 1e-12


@pytest.mark.parametrize("low", [torch.float32, torch.complex64], ids=str)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_error_does_not_grow_with_time_where_states_forget(seed, low):
    wide = {torch.float32: F64, torch.complex64: C128}[low]
    phase = 1 if low == torch.float32 else complex(math.cos(0.3), math.sin(0.3))
    a = torch.tensor([0.99 * phase, -0.9, 0.5 * phase], dtype=low)
    b = numbers(1, 100_000, 3, seed=seed, dtype=low)
    oracle = filtered(a.to(wide), b.to(wide))
    error = (scan(a, b).to(wide) - oracle).abs()[0]
    early, late = error[1000:11_000], error[-10_000:]
    assert (late.square().mean(0) < 2 * early.square().mean(0)).all()
    # A power of a factor is wrong by its exponent times the precision; 1 / (1 - |a|) of them count.
    reach = oracle.abs().amax((0, 1)) / (1 - a.abs())
    assert (error.amax(0) < torch.finfo(low).eps * reach).all()


@pytest.mark.parametrize("factor", [0.999, 0.9999])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_long_memories_have_larger_errors_than_those_of_the_loop(seed, factor):
    a = torch.tensor([factor])
    b = random(1, 30_000, 1, seed=seed, dtype=torch.float32)
    oracle = filtered(a.double(), b.double())
    errors = {run: gap(run(a, b).double(), oracle) for run in (scan, recurrence)}
    reach = float(oracle.abs().max()) / (1 - float(a))
    assert errors[recurrence] < errors[scan] < torch.finfo(torch.float32).eps * reach


def test_memory_of_the_gradient_is_that_of_two_sequences():
    kept = []

    def keep(x: Tensor) -> Tensor:
        kept.append(x.numel())
        return x

    a, b, _ = (x.requires_grad_() for x in case(1, 1000, 4))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        scan(a, b)
    assert sum(kept) == 2 * b.numel()


# --- composition ----------------------------------------------------------------------------------


def pair(seed: int, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    return tuple(numbers(2, 3, 4, seed=seed + k, dtype=dtype) for k in (0, 50))


@wide_dtypes
def test_composition_is_associative_and_has_an_order(dtype):
    f, g, h = (pair(seed, dtype) for seed in (0, 1, 2))
    left, right = compose(compose(f, g), h), compose(f, compose(g, h))
    assert all(gap(x, y) < 1e-13 for x, y in zip(left, right, strict=True))
    assert gap(compose(f, g)[1], compose(g, f)[1]) > 0.1
    neutral = torch.ones_like(f[0]), torch.zeros_like(f[0])
    for made in (compose(neutral, f), compose(f, neutral)):
        assert all(torch.equal(x, y) for x, y in zip(made, f, strict=True))


def test_a_composition_is_one_map_after_the_other():
    (a, b), (c, d), z = pair(0), pair(1), random(2, 3, 4, seed=8)
    slope, offset = compose((a, b), (c, d))
    assert gap(slope * z + offset, c * (a * z + b) + d) < 1e-13


def test_the_last_state_is_all_steps_composed():
    a, b, start = case(2, 6, 3)
    whole = a[:, :1], b[:, :1]
    for t in range(1, 6):
        whole = compose(whole, (a[:, t : t + 1], b[:, t : t + 1]))
    assert gap(whole[0][:, 0] * start + whole[1][:, 0], scan(a, b, start)[:, -1]) < 1e-14


# --- tensors of all kinds -------------------------------------------------------------------------


@RUNS
@wide_dtypes
def test_views_give_the_same_and_nothing_given_is_changed(run, dtype):
    a, b, start = case(6, 4, dtype=dtype)
    z = run(a, b, start)
    kept = [x.clone() for x in (a, b, start)]
    views = a.mT.contiguous().mT, b.repeat(1, 2)[:, ::2].copy_(b), start[:, None].repeat(1, 2)[:, 0]
    assert not any(x.is_contiguous() for x in views)
    assert gap(run(*views), z) < 1e-14
    assert gap(run(a.conj(), b.conj(), start.conj()), z.conj()) < 1e-14
    expanded = b[:1].expand(6, 4)
    assert gap(run(a, expanded), run(a, expanded.clone())) == 0
    assert all(torch.equal(x, y) for x, y in zip((a, b, start), kept, strict=True))


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning:torch")
def test_a_compiled_scan_is_the_same():
    torch._dynamo.reset()
    compiled = torch.compile(scan, backend="aot_eager", fullgraph=True)
    a, b, start = (x.requires_grad_() for x in case(2, 9, 3, dtype=torch.float32))
    z = compiled(a, b, start)
    assert gap(z, scan(a, b, start)) < 1e-6
    grads = [torch.autograd.grad(run(a, b, start).sum(), (a, b)) for run in (compiled, scan)]
    assert all(gap(x, y) < 1e-5 for x, y in zip(*grads, strict=True))


@RUNS
def test_the_meta_device_and_low_precision(run):
    a, b, start = case(2, 9, 3)
    z = run(*(x.to("meta") for x in (a, b, start)))
    assert z.is_meta and z.shape == b.shape
    low = run(*(x.bfloat16() for x in (a, b, start)))
    assert low.dtype == torch.bfloat16
    assert (low.double() - run(a, b, start)).norm() < 0.02 * run(a, b, start).norm()


# --- refused --------------------------------------------------------------------------------------

X = torch.ones(2, 5, 3)
SPOILT = X.clone()
SPOILT[0, 0, 0] = math.nan
NO_TENSOR = [
    (TypeError, None),
    (TypeError, [1.0]),
    (TypeError, X.long()),
    (TypeError, X.to_sparse()),
]
WRONG = {
    "a": [
        *NO_TENSOR, (TypeError, X.double()), (TypeError, X.to(torch.complex64)),
        (ValueError, X[:, :4]), (ValueError, X[:1]), (ValueError, X[0]), (ValueError, X[..., :1]),
        (ValueError, torch.ones(2)), (ValueError, torch.ones(1)), (ValueError, torch.ones(())),
        (ValueError, SPOILT), (ValueError, torch.full((3,), math.inf)), (TypeError, X.to("meta")),
    ],
    "b": [
        *NO_TENSOR, (ValueError, X[0, 0]), (ValueError, X[:, :0]), (ValueError, X[..., :0]),
        (ValueError, SPOILT), (ValueError, -math.inf * X),
    ],
    "start": [
        (TypeError, 0.0), (TypeError, torch.ones(2, 3).double()), (ValueError, torch.ones(3)),
        (ValueError, torch.ones(2, 1)), (ValueError, torch.full((2, 3), math.nan)),
        (ValueError, torch.ones(2, 1, 3)),
    ],
}  # fmt: skip


@RUNS
@pytest.mark.parametrize("argument", list(WRONG))
def test_wrong_arguments_of_a_recurrence(run, argument):
    fits = {"a": X, "b": X, "start": torch.ones(2, 3)}
    run(**fits)
    for error, value in WRONG[argument]:
        with refuses(error, argument):
            run(**{**fits, argument: value})


def test_an_overflow_is_refused_and_does_not_become_nan():
    huge = torch.full((400, 1), 1e10, dtype=F64)
    for run in (scan, recurrence):
        with refuses(ValueError, "b"):
            run(huge, torch.ones_like(huge))
    # The loop never multiplies factors with each other; the scan does, and says so.
    late = torch.zeros_like(huge)
    late[-1] = 1
    assert recurrence(huge, late)[-1] == 1
    with refuses(ValueError, "b"):
        scan(huge, late)


@RUNS
def test_large_numbers_are_no_overflow_though_their_sum_is(run):
    b = torch.full((400, 1), 1e38)
    assert b.sum().isinf()
    assert torch.equal(run(torch.zeros(1), b), b)


def test_wrong_pairs():
    fits = {"first": (X, X), "second": (X, X)}
    compose(**fits)
    for name in fits:
        for error, value in [
            (TypeError, X), (TypeError, (X,)), (TypeError, (X, X, X)), (TypeError, (X, None)),
            (TypeError, (X.double(), X)), (ValueError, (X, X[:1])), (ValueError, (SPOILT, X)),
            (ValueError, (X[:, :0], X[:, :0])),
        ]:  # fmt: skip
            with refuses(error, name):
                compose(**{**fits, name: value})
    with refuses(ValueError, "second"):
        compose((X, X), (X[:1], X[:1]))
    with refuses(ValueError, "second"):
        compose((1e30 * X, X), (1e30 * X, X))
