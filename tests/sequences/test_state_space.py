"""The layers that are scanned: exact on any clock, the same in every mode, copied and cast."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.stats import kstest
from torch import Tensor, nn

from gdl.sequences.scan import compose, recurrence
from gdl.sequences.state_space import ScannedGate, StateSpace
from tests.sequences.common import F64, TOLERANCE, both_dtypes, busy, delayed, gap, random
from tests.test_representations import refuses

C_IN, C_OUT, STATES, STEPS = 2, 3, 5, 11
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
modes = pytest.mark.parametrize("mode", ["scan", "recurrence"])


def space(dtype: torch.dtype = F64, seed: int = 1) -> StateSpace:
    return busy(StateSpace(C_IN, C_OUT, STATES, dtype=dtype), seed=seed)


def gated(dtype: torch.dtype = F64, seed: int = 1) -> ScannedGate:
    return busy(ScannedGate(C_IN, STATES, dtype=dtype), 1.0, seed=seed)


LAYERS = {"state space": space, "gate": gated}
layers = pytest.mark.parametrize("name", list(LAYERS))


def times(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    """Durations between 0.1 and 3, and one of them 0."""
    d = 0.1 + 2.9 * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)
    d[..., 2] = 0
    return d.to(dtype)


def start(layer: nn.Module, *batch: int, seed: int = 5) -> Tensor:
    dtype = next(layer.parameters()).dtype
    z = random(*batch, STATES, 2, seed=seed, dtype=dtype)
    return torch.view_as_complex(z) if isinstance(layer, StateSpace) else z[..., 0]


def states(layer: nn.Module, x: Tensor, *clock: Tensor, mode: str = "scan", **given) -> Tensor:
    run = layer.states if isinstance(layer, StateSpace) else layer
    return run(x, *clock, mode=mode, **given)


def matrices(layer: StateSpace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lambda, B and C in NumPy, for a step of 1."""
    nu, theta, B, C = (p.detach().numpy() for p in (layer.nu, layer.theta, layer.B, layer.C))
    return np.diag(-np.exp(nu) + 1j * theta), B[0] + 1j * B[1], C[0] + 1j * C[1]


# --- the modes ------------------------------------------------------------------------------------


@both_dtypes
@pytest.mark.parametrize("steps", [1, 2, 11, 64], ids=str)
@pytest.mark.parametrize("duration", [None, 0.3, 0.0], ids=str)
def test_three_modes_are_one_map(duration, steps, dtype):
    layer, x = space(dtype), random(4, steps, C_IN, dtype=dtype)
    for given in ({}, {"state": start(layer, 4)}):
        y = layer(x, duration, "recurrence", **given)
        assert y.shape == (4, steps, C_OUT) and y.dtype == dtype
        assert y.std() > 0.1
        for mode in ("scan", "convolution"):
            assert gap(layer(x, duration, mode, **given), y) < 10 * TOLERANCE[dtype]


@both_dtypes
@layers
def test_scan_and_recurrence_on_an_irregular_clock(name, dtype):
    layer, x = LAYERS[name](dtype), random(4, STEPS, C_IN, dtype=dtype)
    d = times(4, STEPS, dtype=dtype)
    for given in ({}, {"state": start(layer, 4)}):
        found, wanted = (layer(x, d, mode, **given) for mode in ("scan", "recurrence"))
        assert gap(found, wanted) < 10 * TOLERANCE[dtype]
    assert gap(layer(x, d[0]), layer(x, d[:1].repeat(4, 1))) < TOLERANCE[dtype]
    for one in (1.0, torch.ones_like(d)):
        assert gap(layer(x, one), layer(x)) < TOLERANCE[dtype]
    assert gap(layer(x[0], d[0]), layer(x, d)[0]) < TOLERANCE[dtype]


@layers
def test_gradients_of_the_modes(name):
    layer, x, d = LAYERS[name](), random(2, STEPS, C_IN), times(2, STEPS)
    given = [x.requires_grad_(), d.requires_grad_(), *layer.parameters()]
    found, wanted = (
        torch.autograd.grad(layer(x, d, mode).square().sum(), given)
        for mode in ("scan", "recurrence")
    )
    for a, b in zip(found, wanted, strict=True):
        assert b.abs().max() > 1e-3 and gap(a, b) < 1e-11


def test_gradients_of_the_convolution():
    layer, x = space(), random(2, STEPS, C_IN).requires_grad_()
    found, wanted = (
        torch.autograd.grad(layer(x, 0.7, mode).square().sum(), [x, *layer.parameters()])
        for mode in ("convolution", "recurrence")
    )
    assert all(gap(a, b) < 1e-11 for a, b in zip(found, wanted, strict=True))


@layers
def test_gradients_by_differences(name):
    layer, x, d = LAYERS[name](), random(4, C_IN), times(4)
    d[2] = 0.4
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(), d.requires_grad_()))


def test_the_convolution_does_not_come_round():
    layer, x = space(), random(STEPS, C_IN)
    later = x.clone()
    later[-1] += 1
    y, changed = (layer(z, mode="convolution") for z in (x, later))
    assert gap(y[:-1], changed[:-1]) < 1e-13
    spectra = (torch.fft.rfft(z, dim=0) for z in (layer.impulse_response(STEPS), x))
    circular = torch.fft.irfft(torch.einsum("foi,fi->fo", *spectra), STEPS, 0)
    assert gap(circular, y) > 0.1


# --- the equation ---------------------------------------------------------------------------------


def test_every_step_is_the_matrix_exponential():
    layer, x, d = space(), random(STEPS, C_IN), times(STEPS)
    rates, B, C = matrices(layer)
    z = start(layer)
    found, y = layer.states(x, d, state=z), layer(x, d, state=z)
    z = z.numpy()
    for t in range(STEPS):
        held = np.zeros((STATES + 1, STATES + 1), dtype=complex)
        held[:STATES, :STATES], held[:STATES, -1] = rates, B @ x[t].numpy()
        z = (expm(held * (d[t].item() * math.exp(layer.log_step.item()))) @ np.append(z, 1))[:-1]
        out = (C @ z).real + layer.D.detach().numpy() @ x[t].numpy()
        assert np.abs(found[t].detach().numpy() - z).max() < 1e-12
        assert np.abs(y[t].detach().numpy() - out).max() < 1e-12


def test_the_gate_solves_its_equation():
    layer, x, d = gated(), random(4, C_IN), times(4)
    h = start(layer)
    found = layer(x, d, state=h).detach()
    rates = nn.functional.softplus(layer.gate(x)).detach().numpy()
    held, h = layer.candidate(x).detach().numpy(), h.numpy()
    for t in range(4):
        solved = solve_ivp(
            lambda _, h, t=t: rates[t] * (held[t] - h), (0, d[t]), h, rtol=1e-12, atol=1e-13
        )
        h = solved.y[:, -1]
        assert np.abs(found[t].numpy() - h).max() < 1e-9


def test_the_gate_is_the_gate():
    layer, x = gated(), random(2, STEPS, C_IN)
    g, c, h = torch.sigmoid(layer.gate(x)), layer.candidate(x), start(layer, 2)
    found = layer(x, state=h)
    for t in range(STEPS):
        h = g[:, t] * c[:, t] + (1 - g[:, t]) * h
        assert gap(found[:, t], h) < 1e-14


def test_gates_merge_by_multiplying_what_is_kept():
    g, c = torch.rand(2, 3, 1, 4, dtype=F64), random(2, 3, 1, 4)
    kept, added = compose((1 - g[0], g[0] * c[0]), (1 - g[1], g[1] * c[1]))
    assert gap(kept, (1 - g[0]) * (1 - g[1])) < 1e-15
    layer, x = gated(), random(1, C_IN)
    both = torch.sigmoid(layer.gate(x))
    merged = 1 - (1 - both) ** 2
    assert gap(layer(x, 2.0), merged * layer.candidate(x)) < 1e-14
    assert gap(added, g[1] * c[1] + (1 - g[1]) * g[0] * c[0]) < 1e-15


@both_dtypes
def test_gates_that_are_nearly_shut_or_open_keep_their_digits(dtype):
    layer = ScannedGate(1, 2, dtype=dtype)
    with torch.no_grad():
        layer.gate.weight.zero_()
        layer.gate.bias.copy_(torch.tensor([-30.0, 30.0]))
        layer.candidate.weight.zero_()
        layer.candidate.bias.fill_(1.0)
        h = layer(torch.zeros(1, 1, dtype=dtype))[0].double()
        left = layer(torch.zeros(1, 1, dtype=dtype), state=torch.ones(2, dtype=dtype))
    wanted = torch.tensor([-30.0, 30.0], dtype=F64).sigmoid()
    assert ((h - wanted).abs() < 4 * torch.finfo(dtype).eps * wanted).all()
    assert gap(left, torch.ones_like(left)) <= torch.finfo(dtype).eps


def test_the_impulse_response_in_closed_form():
    layer = space()
    rates, B, C = matrices(layer)
    for duration in (1.0, 0.3):
        lapse = duration * math.exp(layer.log_step.item())
        gain = np.linalg.solve(rates, expm(rates * lapse) - np.eye(STATES))
        wanted = [(C @ expm(rates * j * lapse) @ gain @ B).real for j in range(9)]
        wanted[0] = wanted[0] + layer.D.detach().numpy()
        found = layer.impulse_response(9, duration).detach().numpy()
        assert np.abs(found - np.stack(wanted)).max() < 1e-13
        for channel in range(C_IN):
            impulse = torch.zeros(9, C_IN, dtype=F64)
            impulse[0, channel] = 1
            y = layer(impulse, duration, "recurrence").detach().numpy()
            assert np.abs(y - found[..., channel]).max() < 1e-13


@both_dtypes
def test_short_durations_lose_no_digits(dtype):
    layer = space(dtype)
    d = torch.logspace(-18, 2, 41, dtype=F64).to(dtype)
    factor, gain = (x.detach().to(torch.complex128) for x in layer.discretise(d))
    wide = copy.deepcopy(layer).double()
    rates = torch.complex(-wide.nu.exp(), wide.theta).detach()
    w = d.double()[:, None] * wide.log_step.exp().detach() * rates
    # The series where it converges fast, and the formula where it does not cancel.
    series = sum(w**k / float(math.factorial(k + 1)) for k in range(25)) * (w / rates)
    wanted = torch.where(w.abs() < 1, series, (w.exp() - 1) / rates)
    eps = torch.finfo(dtype).eps
    assert ((gain - wanted).abs() < 20 * eps * wanted.abs()).all()
    assert ((factor - w.exp()).abs() < 20 * eps * (1 + w.abs())).all()
    naive = (factor.to(gain.dtype) - 1) / rates
    assert ((naive - wanted).abs() > 0.5 * wanted.abs()).any()


# --- warps ----------------------------------------------------------------------------------------


def cut(x: Tensor, d: Tensor, counts: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Samples held in pieces of random durations that add up, and where the last pieces are."""
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for duration, count in zip(d, counts, strict=True):
        share = torch.rand(count, generator=generator, dtype=d.dtype)
        pieces.append(duration * share / share.sum())
    counts = torch.tensor(counts)
    return x.repeat_interleave(counts, -2), torch.cat(pieces), counts.cumsum(0) - 1


@seeds
@modes
@layers
def test_how_samples_are_cut_does_not_matter(name, mode, seed):
    layer, x, d = LAYERS[name](), random(4, STEPS, C_IN, seed=seed), times(STEPS, seed=seed)
    counts = torch.randint(1, 7, (STEPS,), generator=torch.Generator().manual_seed(seed)).tolist()
    held, pieces, ends = cut(x, d, counts, seed)
    for given in ({}, {"state": start(layer, 4)}):
        whole = states(layer, x, d, mode=mode, **given)
        fine = states(layer, held, pieces, mode=mode, **given)
        assert gap(fine[:, ends], whole) < 1e-12
        if name == "state space":
            assert (
                gap(layer(held, pieces, mode, **given)[:, ends], layer(x, d, mode, **given)) < 1e-12
            )
    # Pieces that are as long as the sample are another signal.
    assert gap(states(layer, held, mode=mode)[:, ends], states(layer, x, mode=mode)) > 0.1


def euler(layer: StateSpace, x: Tensor, d: Tensor) -> Tensor:
    """The same equation in steps ``z + d (Lambda z + B u)``."""
    rates = torch.complex(-layer.nu.exp(), layer.theta)
    lapse = (d * layer.log_step.exp())[:, None]
    driven = x.to(torch.complex128) @ torch.complex(*layer.B).mT
    return recurrence(1 + lapse * rates, lapse * driven)


@torch.no_grad()
def test_steps_of_euler_depend_on_how_samples_are_cut_at_first_order():
    layer, x, d = space(), random(STEPS, C_IN), times(STEPS) / 3
    exact, errors = layer.states(x, d), []
    for pieces in (1, 16, 32, 64, 128):
        held, fine = (y.repeat_interleave(pieces, 0) for y in (x, d / pieces))
        assert gap(layer.states(held, fine)[pieces - 1 :: pieces], exact) < 1e-12
        errors.append(gap(euler(layer, held, fine)[pieces - 1 :: pieces], exact))
    assert errors[0] > 0.05
    orders = np.log2(np.array(errors[1:-1]) / np.array(errors[2:]))
    assert np.abs(orders - 1).max() < 0.05


@layers
def test_where_no_time_passes_nothing_happens(name):
    layer, x, d = LAYERS[name](), random(4, STEPS, C_IN), times(STEPS)
    z = states(layer, x, d, mode="recurrence")
    assert torch.equal(z[:, 2], z[:, 1])
    scanned = states(layer, x, d)
    assert gap(scanned[:, 2], scanned[:, 1]) < 1e-15
    shouted = x.clone()
    shouted[:, 2] = 1e6
    assert gap(states(layer, shouted, d), scanned) < 1e-12
    assert gap(states(layer, shouted), states(layer, x)) > 1
    rest = states(layer, x, 0.0, mode="recurrence", state=start(layer, 4))
    assert torch.equal(rest, start(layer, 4)[:, None].expand_as(rest))


@layers
def test_gradients_where_no_time_passes(name):
    layer, x = LAYERS[name](), random(STEPS, C_IN).requires_grad_()
    d = torch.zeros(STEPS, dtype=F64).requires_grad_()
    y = layer(x, d, state=start(layer))
    grads = torch.autograd.grad(y.square().sum(), [x, d, *layer.parameters()])
    assert all(torch.isfinite(g).all() for g in grads)
    assert grads[1].abs().max() > 0.1


@seeds
@layers
def test_the_same_signal_at_another_rate(name, seed):
    layer, x, k = LAYERS[name](seed=seed), random(4, STEPS, C_IN, seed=seed), 3
    y, fine = layer(x), x.repeat_interleave(k, -2)
    assert gap(layer(fine, 1 / k)[:, k - 1 :: k], y) < 1e-12
    assert gap(layer(fine)[:, k - 1 :: k], y) > 0.1


def test_one_number_tells_a_state_space_the_rate():
    layer, x, k = space(), random(4, STEPS, C_IN), 3
    y, fine = layer(x), x.repeat_interleave(k, -2)
    with torch.no_grad():
        layer.log_step -= math.log(k)
    for mode in ("scan", "recurrence", "convolution"):
        assert gap(layer(fine, mode=mode)[:, k - 1 :: k], y) < 1e-12


# --- shifts, sums ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["scan", "recurrence", "convolution"])
def test_shifts_and_sums(mode):
    layer, x, other = space(), random(4, STEPS, C_IN), random(4, STEPS, C_IN, seed=2)
    y = layer(x, mode=mode)
    for k in (1, 5):
        assert gap(layer(delayed(x, k), mode=mode), delayed(y, k)) < 1e-13
    z = start(layer, 4)
    moved = layer(delayed(x, 1), mode=mode, state=z)
    assert gap(moved, delayed(layer(x, mode=mode, state=z), 1)) > 0.1
    total = layer(2 * x - other, mode=mode)
    assert gap(total, 2 * y - layer(other, mode=mode)) < 1e-13


def test_a_gate_that_is_driven_by_its_bias_is_not_at_rest():
    layer, x = gated(), random(4, STEPS, C_IN)
    assert gap(layer(delayed(x, 1)), delayed(layer(x), 1)) > 0.1
    with torch.no_grad():
        layer.candidate.bias.zero_()
    assert gap(layer(delayed(x, 1)), delayed(layer(x), 1)) < 1e-14


@layers
def test_a_sequence_in_two_parts(name):
    layer, x, d = LAYERS[name](), random(4, STEPS, C_IN), times(4, STEPS)
    whole = states(layer, x, d)
    first = states(layer, x[:, :4], d[:, :4])
    second = states(layer, x[:, 4:], d[:, 4:], state=first[:, -1])
    assert gap(torch.cat([first, second], 1), whole) < 1e-13


# --- the start ------------------------------------------------------------------------------------


@seeds
def test_forgetting_times_are_log_uniform_and_phases_uniform(seed):
    torch.manual_seed(seed)
    layer = StateSpace(1, 1, 4000, shortest=2.0, longest=50.0, dtype=F64)
    found = layer.forgetting_times.detach()
    assert found.min() >= 2 and found.max() <= 50
    spread = (found.log() - math.log(2)) / math.log(25)
    assert kstest(spread.numpy(), "uniform").pvalue > 1e-3
    assert kstest((layer.theta.detach() / math.pi).numpy(), "uniform").pvalue > 1e-3
    # After that many samples 1/e is left, whatever the step is.
    for step in (0.0, 0.7):
        nn.init.constant_(layer.log_step, step)
        factor, _ = layer.discretise(layer.forgetting_times[:50])
        assert (factor.diagonal().abs() - math.exp(-1)).abs().max() < 1e-14


def test_equal_bounds_give_one_forgetting_time():
    layer = StateSpace(1, 1, 7, shortest=9.0, longest=9.0, dtype=F64)
    assert gap(layer.forgetting_times, torch.full((7,), 9.0, dtype=F64)) < 1e-14


@seeds
@torch.no_grad()
def test_white_noise_keeps_its_variance(seed):
    torch.manual_seed(seed)
    layer = StateSpace(16, 16, 256, longest=20.0, dtype=F64)
    x = random(32, 300, 16, seed=seed)
    z = layer.states(x)[:, 100:]
    assert abs(z.abs().square().mean() - 1) < 0.1
    assert abs(layer(x)[:, 100:].square().mean() - 1) < 0.2


def test_every_state_forgets_whatever_the_weights_are():
    layer = busy(StateSpace(C_IN, C_OUT, 500, dtype=F64), 3.0)
    factor, _ = layer.discretise(0.01)
    assert (factor.abs() < 1).all()
    assert layer.log_step.abs() > 0.1


# --- after they are made --------------------------------------------------------------------------

BUILDS = {
    "state space": lambda **made: StateSpace(C_IN, C_OUT, STATES, **made),
    "gate": lambda **made: ScannedGate(C_IN, STATES, **made),
}


def made(name: str, dtype: torch.dtype = F64) -> tuple[nn.Module, Tensor, Tensor]:
    return LAYERS[name](dtype), random(4, STEPS, C_IN, dtype=dtype), times(4, STEPS, dtype=dtype)


@layers
@torch.no_grad()
def test_copies_compute_the_same(name):
    layer, *given = made(name)
    y = layer(*given)
    loaded = BUILDS[name](dtype=F64)
    loaded.load_state_dict(layer.state_dict())
    emptied = BUILDS[name](device="meta", dtype=F64).to_empty(device="cpu")
    emptied.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded, emptied):
        assert torch.equal(twin(*given), y)


@layers
@torch.no_grad()
def test_dtypes_casts_and_the_meta_device(name):
    layer, x, d = made(name, torch.float32)
    y = layer(x, d)
    assert y.dtype == torch.float32
    double = copy.deepcopy(layer).double()(x.double(), d.double())
    assert double.dtype == F64 and gap(double.float(), y) < 1e-5
    shapes = BUILDS[name](device="meta")(x.to("meta"), d.to("meta"))
    assert shapes.is_meta and shapes.shape == y.shape
    assert {p.dtype for p in BUILDS[name]().parameters()} == {torch.float32}


@layers
def test_training_reaches_every_weight(name):
    torch.manual_seed(0)
    layer, _, d = BUILDS[name](), *made(name, torch.float32)[1:]
    layer(random(4, STEPS, C_IN, dtype=torch.float32), d).square().sum().backward()
    for p in layer.parameters():
        assert torch.isfinite(p.grad).all() and p.grad.abs().max() > 0


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning:torch")
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("state space", "scan"),
        ("state space", "recurrence"),
        ("state space", "convolution"),
        ("gate", "scan"),
        ("gate", "recurrence"),
    ],
)
def test_compiled_layers_compute_the_same(name, mode):
    layer, x, d = made(name, torch.float32)
    clock = 0.5 if mode == "convolution" else d
    torch._dynamo.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    y = compiled(x, clock, mode)
    assert gap(y, layer(x, clock, mode)) < 1e-5
    found = torch.autograd.grad(y.sum(), layer.parameters())
    wanted = torch.autograd.grad(layer(x, clock, mode).sum(), layer.parameters())
    assert all(gap(a, b) < 1e-3 for a, b in zip(found, wanted, strict=True))


@layers
def test_autocast_rounds_and_no_more(name):
    layer, x, d = made(name, torch.float32)
    y = layer(x, d)
    with torch.autocast("cpu", torch.bfloat16):
        low = layer(x, d)
        rounded = layer(x.bfloat16(), d)
    low.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters())
    for found in (low, rounded):
        assert (found.float() - y).norm() < 0.05 * y.norm()
        assert gap(found.float(), y) > 0


def test_sixteen_bits():
    layer, x, d = made("gate", torch.float32)
    y = copy.deepcopy(layer).bfloat16()(x.bfloat16(), d.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - layer(x, d)).norm() < 0.1 * y.float().norm()
    # There are no complex numbers of 16 bits to go with these.
    with refuses(TypeError, "dtype"):
        StateSpace(C_IN, C_OUT, STATES, dtype=torch.bfloat16)
    with refuses(TypeError, "dtype"):
        space(torch.float32).bfloat16()(x.bfloat16())


def test_the_printed_form():
    assert repr(space()) == "StateSpace(c_in=2, c_out=3, states=5)"


# --- refused --------------------------------------------------------------------------------------

X = torch.ones(4, STEPS, C_IN)
D = torch.ones(4, STEPS)
SPOILT = X.clone()
SPOILT[0, 0, 0] = math.nan
NEGATIVE = D.clone()
NEGATIVE[1, 1] = -1e-3
WRONG = {
    "x": [
        (TypeError, None), (TypeError, X.tolist()), (TypeError, X.double()), (TypeError, X.long()),
        (TypeError, X.to(torch.complex64)), (ValueError, X[..., :1]), (ValueError, X[:, :0]),
        (ValueError, X[:0]), (ValueError, X[0, 0]), (ValueError, SPOILT),
        (ValueError, math.inf * X), (ValueError, X.to("meta")),
    ],
    "durations": [
        (TypeError, "1"), (TypeError, D.tolist()), (TypeError, True), (ValueError, -1.0),
        (ValueError, math.inf), (ValueError, math.nan), (TypeError, D.double()),
        (TypeError, D.long()), (ValueError, D[:1]), (ValueError, D[:, :1]), (ValueError, D[0, :1]),
        (ValueError, D[0, 0]), (ValueError, D[..., None]), (ValueError, NEGATIVE),
        (ValueError, SPOILT[..., 0]), (ValueError, math.inf * D), (ValueError, D.to("meta")),
    ],
    "mode": [(ValueError, "fft"), (ValueError, None), (ValueError, 1)],
}  # fmt: skip


@layers
@pytest.mark.parametrize("argument", list(WRONG))
def test_wrong_arguments_of_a_layer(name, argument):
    layer, fits = LAYERS[name](torch.float32), {"x": X, "durations": D, "mode": "scan"}
    layer(**fits)
    for error, value in WRONG[argument]:
        with refuses(error, argument):
            layer(**{**fits, argument: value})


@layers
def test_wrong_states(name):
    layer = LAYERS[name](torch.float32)
    good = start(layer, 4)
    wide = good.to(torch.complex128) if good.is_complex() else good.double()
    other = good.real.clone() if good.is_complex() else good.to(torch.complex64)
    bad = [
        (TypeError, 0.0), (TypeError, wide), (TypeError, other), (ValueError, good[:1]),
        (ValueError, good[0]), (ValueError, good[:, :1]), (ValueError, good * math.nan),
    ]  # fmt: skip
    for mode in ("scan", "convolution") if name == "state space" else ("scan",):
        layer(X, state=good, mode=mode)
        for error, value in bad:
            with refuses(error, "state"):
                layer(X, state=value, mode=mode)


def test_what_a_convolution_cannot_do():
    layer = space(torch.float32)
    for clock in (D, D[0]):
        with refuses(ValueError, "durations"):
            layer(X, clock, "convolution")
    with refuses(ValueError, "mode"):
        gated(torch.float32)(X, mode="convolution")
    with refuses(ValueError, "mode"):
        layer.states(X, mode="convolution")
    with refuses(ValueError, "x"):
        layer(1e38 * X, 100.0, "convolution")


def test_wrong_states_to_read_and_lengths():
    layer = space(torch.float32)
    z = layer.states(X)
    for error, value in [
        (TypeError, None), (TypeError, z.real.clone()), (ValueError, z[:, :1]), (ValueError, z[0]),
        (ValueError, z * math.nan),
    ]:  # fmt: skip
        with refuses(error, "z"):
            layer.read(value, X)
    for error, value in [(ValueError, 0), (TypeError, 2.0), (TypeError, True), (ValueError, -1)]:
        with refuses(error, "length"):
            layer.impulse_response(value)
    for error, value in [(ValueError, -1.0), (TypeError, D), (ValueError, math.inf)]:
        with refuses(error, "duration"):
            layer.impulse_response(3, value)
    for error, value in [(ValueError, NEGATIVE), (TypeError, D.double()), (TypeError, None)]:
        with refuses(error, "durations"):
            layer.discretise(value)


def test_wrong_sizes_and_bounds():
    fits = {"c_in": 2, "c_out": 3, "states": 4, "shortest": 1.0, "longest": 9.0}
    StateSpace(**fits)
    for name in ("c_in", "c_out", "states"):
        for error, value in [
            (ValueError, 0),
            (TypeError, 2.0),
            (TypeError, True),
            (ValueError, -1),
        ]:
            with refuses(error, name):
                StateSpace(**{**fits, name: value})
    for name in ("shortest", "longest"):
        for error, value in [(ValueError, 0.0), (ValueError, math.inf), (TypeError, "1")]:
            with refuses(error, name):
                StateSpace(**{**fits, name: value})
    with refuses(ValueError, "longest"):
        StateSpace(**{**fits, "longest": 0.5})
    for name in ("c_in", "hidden"):
        with refuses(ValueError, name):
            ScannedGate(**{"c_in": 2, "hidden": 3, name: 0})
    with refuses(TypeError, "dtype"):
        ScannedGate(2, 3, dtype=torch.complex64)
