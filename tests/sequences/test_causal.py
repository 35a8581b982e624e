"""Causal convolutions: the past only, how far, in pieces, and where a stack has to start."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import product

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, pad

from gdl.sequences.causal import CausalConv1d, CausalConvStack
from gdl.sequences.systems import causal_toeplitz, hankel, ho_kalman
from tests.sequences.common import F64, TOLERANCE, both_dtypes, busy, delayed, gap, random
from tests.test_representations import refuses

KERNELS = [(1, 1), (2, 1), (3, 2), (2, 4)]
kernels = pytest.mark.parametrize(("taps", "dilation"), KERNELS)
seeds = pytest.mark.parametrize("seed", [0, 1, 2])
STACKS = [(2, (1, 2, 4)), (3, (1, 2)), (2, (3,)), (1, (1, 1)), (4, (1, 1))]
stacks = pytest.mark.parametrize(("taps", "dilations"), STACKS)
T, C_IN, C_OUT = 14, 2, 3


def layer(taps: int, dilation: int, dtype=F64, **options) -> CausalConv1d:
    return busy(CausalConv1d(C_IN, C_OUT, taps, dilation=dilation, dtype=dtype, **options))


def stack(taps: int = 2, dilations=(1, 2, 4), dtype=F64, seed: int = 1, **options):
    model = CausalConvStack(
        C_IN, 8, C_OUT, kernel_size=taps, dilations=dilations, dtype=dtype, **options
    )
    return busy(model, seed=seed)


def later(x: Tensor, k: int) -> Tensor:
    """The sequence k steps later on the same window, where its end is lost."""
    return delayed(x, k)[..., : x.shape[-2], :]


def delay_gaps(model: nn.Module, x: Tensor) -> Tensor:
    """How far the output of the delayed input is from the delayed output, at each step."""
    return (model(later(x, 1))[:, 1:] - model(x)[:, :-1]).abs().amax((0, 2))


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """The largest derivative of the outputs at t (rows) by the inputs at s (columns)."""
    J = torch.func.jacrev(model)(x)
    return J.abs().amax((1, 3))


class Centred(nn.Module):
    """The broken twin: as many zeros behind as before, so that outputs see the future."""

    def __init__(self, causal: CausalConv1d):
        super().__init__()
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        before, twin = self.causal.memory // 2, self.causal
        padded = pad(x.transpose(-1, -2), (before, twin.memory - before))
        return conv1d(padded, twin.weight, twin.bias, dilation=twin.dilation).transpose(-1, -2)


# --- one layer ------------------------------------------------------------------------------------


@both_dtypes
@kernels
@torch.no_grad()
def test_a_layer_is_that_of_torch_with_zeros_on_the_left(dtype, taps, dilation):
    ours = layer(taps, dilation, dtype)
    theirs = nn.Conv1d(C_IN, C_OUT, taps, dilation=dilation, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    x = random(4, 5, T, C_IN, dtype=dtype)
    padded = pad(x.flatten(0, 1).transpose(1, 2), ((taps - 1) * dilation, 0))
    expected = theirs(padded).transpose(1, 2).unflatten(0, (4, 5))
    assert gap(ours(x), expected) < TOLERANCE[dtype]
    assert gap(ours(x[1, 2]), expected[1, 2]) < 10 * TOLERANCE[dtype]
    assert ours.memory == (taps - 1) * dilation


@kernels
@torch.no_grad()
def test_a_layer_is_a_toeplitz_matrix(taps, dilation):
    model, x = layer(taps, dilation, bias=False), random(5, T, C_IN)
    kernel = model.impulse_response()
    assert kernel.shape == (model.memory + 1, C_OUT, C_IN)
    y = (x.flatten(1) @ causal_toeplitz(kernel, T).T).unflatten(1, (T, C_OUT))
    assert gap(model(x), y) < 1e-13
    with_bias = layer(taps, dilation)
    with_bias.weight.copy_(model.weight)
    assert gap(with_bias(x), y + with_bias.bias) < 1e-13


@kernels
@torch.no_grad()
def test_a_scalar_layer_is_a_filter(taps, dilation):
    model, x = busy(CausalConv1d(1, 1, taps, dilation=dilation, bias=False, dtype=F64)), random(T)
    response = np.zeros(model.memory + 1)
    response[::dilation] = model.weight.flatten().numpy()[::-1]
    expected = scipy.signal.lfilter(response, 1.0, x.numpy())
    assert gap(model(x[:, None])[:, 0], torch.from_numpy(expected)) < 1e-13


@seeds
@torch.no_grad()
def test_a_layer_is_a_linear_system_of_as_many_states_as_delays(seed):
    model = busy(CausalConv1d(1, 1, 4, bias=False, dtype=F64), seed=seed)
    kernel = pad(model.impulse_response(), (0, 0, 0, 0, 0, 4))
    assert torch.linalg.matrix_rank(hankel(kernel, 4, 4)) == model.memory + 1 == 4
    x = random(3, T, 1)
    assert gap(ho_kalman(kernel, 4).run(x), model(x)) < 1e-11


@kernels
def test_a_layer_looks_back_and_not_ahead(taps, dilation):
    model, x = layer(taps, dilation), random(T, C_IN)
    lag = torch.arange(T)[:, None] - torch.arange(T)
    read = (lag >= 0) & (lag <= model.memory) & (lag % dilation == 0)
    assert torch.equal(jacobian(model, x) > 0, read)
    assert taps == 1 or jacobian(Centred(model), x).triu(1).max() > 0.1


@kernels
@torch.no_grad()
def test_delays_of_the_input_delay_the_output(taps, dilation):
    model, x = layer(taps, dilation), random(2, T, C_IN)
    for k in (1, 3):
        y = model(later(x, k))
        assert gap(y[:, k:], model(x)[:, :-k]) < 1e-13
        assert gap(y[:, :k], model.bias.expand(2, k, C_OUT)) < 1e-13
    assert taps == 1 or delay_gaps(Centred(model), x).max() > 0.1


@kernels
@torch.no_grad()
def test_a_layer_goes_on_from_its_past(taps, dilation):
    model, x = layer(taps, dilation), random(2, T, C_IN)
    known = delayed(x, model.memory)
    for cut in (1, 5, T - 1):
        past = known[:, cut : cut + model.memory]
        assert gap(model(x[:, cut:], past), model(x)[:, cut:]) < 1e-13
    value = random(C_IN, seed=3)
    constant = value.expand(2, model.memory, C_IN)
    assert torch.equal(model(x, value), model(x, constant))
    assert taps == 1 or gap(model(x, value), model(x)) > 0.1


def test_the_start_is_that_of_torch():
    for bias in (True, False):
        torch.manual_seed(0)
        ours = CausalConv1d(3, 4, 5, bias=bias)
        torch.manual_seed(0)
        theirs = nn.Conv1d(3, 4, 5, bias=bias)
        assert list(ours.state_dict()) == list(theirs.state_dict())
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert gap(a, b) < 1e-6


# --- the stack ------------------------------------------------------------------------------------


@stacks
@torch.no_grad()
def test_a_stack_is_its_formula(taps, dilations):
    model, x = stack(taps, dilations), random(T, C_IN)
    h = model.entry(x)
    for block in model.blocks:
        W = causal_toeplitz(block.conv.impulse_response(), T)
        convolved = (W @ h.flatten()).unflatten(0, (T, 8)) + block.conv.bias
        h = h + convolved.relu() @ block.mix.weight.T + block.mix.bias
    assert gap(model(x), h @ model.exit.weight.T + model.exit.bias) < 1e-12


@both_dtypes
@stacks
@seeds
@pytest.mark.parametrize("rest", [False, True])
def test_the_receptive_field_is_exact(dtype, taps, dilations, seed, rest):
    model = stack(taps, dilations, dtype, seed, rest=rest)
    J = jacobian(model, random(20, C_IN, dtype=dtype))
    steps = [[d * tap for tap in range(taps)] for d in dilations]
    reached = {sum(path) for path in product(*steps)}
    assert model.receptive_field == 1 + max(reached) <= 20
    for lag in range(-19, 20):
        assert bool(J.diagonal(-lag).any()) == (lag in reached)


def test_a_centred_stack_sees_the_future():
    model, x = stack(3, (1, 2), bias=False), random(1, T, C_IN)
    assert delay_gaps(model, x).max() < 1e-12
    for block in model.blocks:
        centred = Centred(block.conv)
        block.forward = lambda h, past, b=block, c=centred: h + b.mix(torch.relu(c(h)))
    assert jacobian(model, x[0]).triu(1).max() > 1e-2
    assert delay_gaps(model, x).max() > 1e-2


@both_dtypes
@stacks
@pytest.mark.parametrize("rest", [False, True])
@torch.no_grad()
def test_a_stack_runs_in_pieces_and_step_by_step(dtype, taps, dilations, rest):
    model, x = stack(taps, dilations, dtype, rest=rest), random(2, 5, T, C_IN, dtype=dtype)
    y, last = model.stream(x)
    assert torch.equal(model(x), y)
    for sizes in ([1] * T, [3, 1, T - 4]):
        pieces, state = [], None
        for piece in x.split(sizes, -2):
            part, state = model.stream(piece, state)
            pieces.append(part)
        assert gap(torch.cat(pieces, -2), y) < 10 * TOLERANCE[dtype]
        for ours, theirs, d in zip(state, last, dilations, strict=True):
            assert ours.shape == theirs.shape == (2, 5, (taps - 1) * d, 8)
            assert not ours.numel() or gap(ours, theirs) < 10 * TOLERANCE[dtype]


# --- where a stack starts -------------------------------------------------------------------------


@stacks
@seeds
@torch.no_grad()
def test_without_biases_delays_of_the_input_delay_the_output(taps, dilations, seed):
    model, x = stack(taps, dilations, seed=seed, bias=False), random(3, 20, C_IN)
    assert delay_gaps(model, x).max() < 1e-12
    assert not model(later(x, 1))[:, 0].any()
    assert model(x).std() > 1e-2
    for part in model.resting_state():
        assert not part.any()


@pytest.mark.parametrize(("taps", "dilations"), [s for s in STACKS if s[0] > 1])
@seeds
@torch.no_grad()
def test_with_biases_a_start_at_zero_is_forgotten_after_the_receptive_field(taps, dilations, seed):
    model, x = stack(taps, dilations, seed=seed), random(3, 20, C_IN)
    gaps, last = delay_gaps(model, x), model.receptive_field - 1
    assert gaps[last:].max() < 1e-12
    assert gaps[last - 1] > 1e-4 and gaps.max() > 1e-2
    quiet = model(torch.zeros(20, C_IN, dtype=F64))
    resting = at_rest(model)(torch.zeros(1, C_IN, dtype=F64))
    off = (quiet - resting).abs().amax(1)
    assert off[last:].max() < 1e-12 and off.max() > 1e-2


def at_rest(model: CausalConvStack) -> CausalConvStack:
    """The same weights, started at rest."""
    twin = copy.deepcopy(model)
    twin.rest = True
    return twin


@both_dtypes
@stacks
@seeds
@torch.no_grad()
def test_at_rest_delays_of_the_input_delay_the_output(dtype, taps, dilations, seed):
    model = stack(taps, dilations, dtype, seed, rest=True)
    x = random(3, 20, C_IN, dtype=dtype)
    resting = model(torch.zeros(1, C_IN, dtype=dtype))
    for k in (1, 4):
        y = model(later(x, k))
        assert gap(y[:, k:], model(x)[:, :-k]) < 10 * TOLERANCE[dtype]
        assert gap(y[:, :k], resting.expand(3, k, C_OUT)) < 10 * TOLERANCE[dtype]
    assert resting.abs().max() > 1e-2


@stacks
@torch.no_grad()
def test_the_rest_is_the_fixed_point_and_zeros_lead_there(taps, dilations):
    model, quiet = stack(taps, dilations), torch.zeros(1, C_IN, dtype=F64)
    rest = model.resting_state()
    _, after = model.stream(quiet, rest)
    for part, constant in zip(after, rest, strict=True):
        assert not part.numel() or gap(part, constant.expand(part.shape)) < 1e-13
    state = tuple(random(part.shape[0], 8, seed=4) for part in after)
    for step in range(model.receptive_field):
        y, state = model.stream(quiet, state)
        for part, constant in zip(state, rest, strict=True):
            distance = (part - constant).abs()
            assert (
                step < model.receptive_field - 2 or distance.numel() == 0 or distance.max() < 1e-12
            )
    assert gap(y, model.stream(quiet, rest)[0]) < 1e-12


@torch.no_grad()
def test_biases_do_no_harm_where_the_rest_is_zero():
    model, x = stack(), random(3, 20, C_IN)
    assert delay_gaps(model, x).max() > 1e-2
    model.entry.bias.zero_()
    for block in model.blocks:
        block.conv.bias.copy_(-block.conv.bias.abs())
        block.mix.bias.zero_()
    assert delay_gaps(model, x).max() < 1e-12
    assert gap(model(x), at_rest(model)(x)) < 1e-12


@torch.no_grad()
def test_the_padding_of_the_first_block_is_harmless_without_a_bias_before_it():
    model, x = stack(), random(3, 20, C_IN)
    model.entry.bias.zero_()
    gaps, last = delay_gaps(model, x), model.receptive_field - 1 - model.blocks[0].conv.memory
    assert gaps[last:].max() < 1e-12 and gaps[last - 1] > 1e-4


# --- lifetime -------------------------------------------------------------------------------------

MODELS = {
    "layer": lambda **made: CausalConv1d(C_IN, C_OUT, 3, dilation=2, **made),
    "stack": lambda **made: CausalConvStack(C_IN, 8, C_OUT, **made),
    "stack at rest": lambda **made: CausalConvStack(C_IN, 8, C_OUT, rest=True, **made),
}
models = pytest.mark.parametrize("name", list(MODELS))


def make(name: str, dtype=torch.float32) -> tuple[nn.Module, Tensor]:
    return busy(MODELS[name](dtype=dtype)), random(2, T, C_IN, dtype=dtype)


@models
@torch.no_grad()
def test_copies_compute_the_same(name):
    model, x = make(name)
    loaded = MODELS[name]()
    loaded.load_state_dict(model.state_dict())
    emptied = copy.deepcopy(model).to("meta").to_empty(device="cpu")
    emptied.load_state_dict(model.state_dict())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded, emptied):
        assert torch.equal(twin(x), model(x))


@models
@torch.no_grad()
def test_dtypes_and_the_meta_device(name):
    model, x = make(name)
    y, double = model(x), copy.deepcopy(model).double()(x.double())
    assert y.dtype == torch.float32 and double.dtype == F64
    assert gap(double.float(), y) < 1e-5
    low = copy.deepcopy(model).bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16 and (low.float() - y).norm() < 0.1 * y.norm()
    shapes = MODELS[name](device="meta")(x.to("meta"))
    assert shapes.is_meta and shapes.shape == y.shape
    assert {p.dtype for p in MODELS[name]().parameters()} == {torch.float32}


@models
def test_training_reaches_every_weight(name):
    model, x = make(name)
    x.requires_grad_()
    model(x).pow(2).sum().backward()
    for tensor in (x, *model.parameters()):
        assert torch.isfinite(tensor.grad).all() and tensor.grad.abs().max() > 0


@models
def test_gradients_are_those_of_differences(name):
    model, _ = make(name, F64)
    assert torch.autograd.gradcheck(model, random(3, C_IN).requires_grad_())


@models
@torch.no_grad()
def test_compiled_models_compute_the_same(name):
    model, x = make(name)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert gap(compiled(x), model(x)) < 1e-5


@models
def test_autocast_rounds_and_no_more(name):
    model, x = make(name)
    y = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(x)
    low.float().pow(2).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert 0 < (low.float() - y).norm() < 0.05 * y.norm()


@torch.no_grad()
def test_pieces_under_autocast():
    model, x = make("stack")
    with torch.autocast("cpu", torch.bfloat16):
        first, state = model.stream(x[:, :5])
        second, _ = model.stream(x[:, 5:], state)
        low = torch.cat([first, second], 1).float()
    assert (low - model(x)).norm() < 0.05 * model(x).norm()


def test_printed_forms():
    assert "2, 3, 3, dilation=2, bias=False" in repr(CausalConv1d(2, 3, 3, dilation=2, bias=False))


# --- input ----------------------------------------------------------------------------------------

NO_COUNT = [
    (ValueError, 0),
    (ValueError, -1),
    (TypeError, 1.0),
    (TypeError, True),
    (TypeError, "1"),
]


def refused_each(build, fits: dict, bad: list[tuple]) -> None:
    build(**fits)
    for error, name, value in bad:
        with refuses(error, name):
            build(**{**fits, name: value})


def test_sizes_and_options():
    fits = {"c_in": 1, "c_out": 2, "kernel_size": 3, "dilation": 4}
    bad = [(error, name, value) for name in fits for error, value in NO_COUNT]
    options = [(TypeError, "bias", 1), (TypeError, "dtype", torch.int64)]
    refused_each(CausalConv1d, fits, bad + options)
    fits = {"c_in": 1, "width": 2, "c_out": 2, "kernel_size": 3}
    bad = [(error, name, value) for name in fits for error, value in NO_COUNT]
    options += [(TypeError, "rest", 0), (TypeError, "dilations", 4), (TypeError, "dilations", "12")]
    options += [(ValueError, "dilations", ()), (ValueError, "dilations", [1, 0])]
    options += [(TypeError, "dilations", [1.0]), (TypeError, "dilations", None)]
    refused_each(CausalConvStack, fits, bad + options)


@models
def test_sequences(name):
    model, x = make(name)
    bad = [
        (TypeError, None), (TypeError, x.tolist()), (TypeError, x.double()), (TypeError, x.long()),
        (ValueError, x[:, :0]), (ValueError, x[:0]), (ValueError, x[..., :1]), (ValueError, x / 0),
        (ValueError, x[0, 0]), (ValueError, x * math.nan), (ValueError, x.to("meta")),
    ]  # fmt: skip
    refused_each(model, {"x": x}, [(error, "x", value) for error, value in bad])


def test_pasts_and_states():
    model, x = make("layer")
    past = torch.ones(2, 4, C_IN)
    bad = [
        (TypeError, past.tolist()), (TypeError, past.double()), (ValueError, past[:, 1:]),
        (ValueError, past[0]), (ValueError, past[:1]), (ValueError, past[..., :1]),
        (ValueError, past / 0), (ValueError, past.to("meta")), (ValueError, torch.ones(1)),
    ]  # fmt: skip
    refused_each(model, {"x": x, "past": past}, [(error, "past", value) for error, value in bad])
    model, x = make("stack")
    _, state = model.stream(x)
    bad = [
        (TypeError, state[0]), (TypeError, list(state)), (ValueError, state[1:]), (ValueError, ()),
        (ValueError, state[::-1]), (TypeError, (None, *state[1:])),
        (ValueError, tuple(p[:1] for p in state)), (TypeError, tuple(p.double() for p in state)),
        (ValueError, tuple(part * math.nan for part in state)),
    ]  # fmt: skip
    fits = {"x": x, "state": state}
    refused_each(model.stream, fits, [(error, "state", value) for error, value in bad])
