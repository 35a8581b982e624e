"""Hard thresholding unrolled: untrained the classical iteration, always exactly sparse."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gdl.sparse_coding.classical import iht, lipschitz
from gdl.sparse_coding.hard import HardThresholdEncoder, support_recovery
from gdl.sparse_coding.operators import hard_threshold, helu, top_m
from gdl.training import fit
from studies._sparse import anneal
from tests.test_representations import refuses

F64, NAN, INF = torch.float64, float("nan"), float("inf")
M, N = 6, 10

TIED = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
KINDS = pytest.mark.parametrize(
    "kind", [{"count": 3}, {"penalty": 0.05}, {"penalty": 0.05, "sharpness": 0.4}], ids=str
)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=draw, dtype=F64).to(dtype)


def problem(dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    """A dictionary whose atoms have other lengths than 1, and signals."""
    return random(M, N, dtype=dtype), random(7, M, seed=1, dtype=dtype)


def shaken(network: nn.Module, size: float = 0.1) -> nn.Module:
    """The network with other weights."""
    with torch.no_grad():
        for k, weight in enumerate(network.parameters()):
            weight += size * random(*weight.shape, seed=10 + k).to(weight.dtype)
    return network


def gap(x: Tensor, y: Tensor) -> float:
    assert x.shape == y.shape
    return float((x - y).detach().abs().max())


def signed_permutation() -> Tensor:
    draw = torch.Generator().manual_seed(3)
    signs = torch.randint(2, (N, 1), generator=draw).to(F64) * 2 - 1
    return signs * torch.eye(N, dtype=F64)[torch.randperm(N, generator=draw)]


# --- the classical weights ------------------------------------------------------------------------


@TIED
@pytest.mark.parametrize("layers", [1, 2, 5, 40])
@pytest.mark.parametrize("kind", [{"count": 3}, {"count": N}, {"penalty": 0.05}], ids=str)
def test_untrained_it_is_iterative_hard_thresholding(kind, layers, tied):
    D, y = problem()
    network = HardThresholdEncoder(D, layers, tied=tied, **kind)
    path = network.path(y)
    assert path.shape == (layers + 1, 7, N)
    for steps in range(1, layers + 1):
        assert gap(path[steps], iht(y, D, steps=steps, **kind)) < 1e-12
    assert not path[0].any() and torch.equal(network(y), path[-1])


@TIED
def test_untrained_by_hand(tied):
    """Steps written out, signal by signal, the ramp included."""
    D, y = problem()
    L = float(torch.linalg.eigvalsh(D.T @ D)[-1])
    level, s = math.sqrt(2 * 0.05 / L), 0.4
    found = HardThresholdEncoder(D, 3, penalty=0.05, sharpness=s, tied=tied)(y)
    for signal, wanted in zip(y, found, strict=True):
        x = torch.zeros(N, dtype=F64)
        for _ in range(3):
            u = x - D.T @ (D @ x - signal) / L
            x = torch.zeros(N, dtype=F64)
            for i in range(N):
                size = abs(float(u[i]))
                if size >= level:
                    x[i] = u[i]
                elif size > (1 - s) * level:
                    x[i] = math.copysign((size - (1 - s) * level) / s, float(u[i]))
        assert gap(x, wanted) < 1e-12


@KINDS
def test_each_layer_has_its_weights(kind):
    D, y = problem()
    network = shaken(HardThresholdEncoder(D, 3, tied=False, **kind))
    x = torch.zeros(7, N, dtype=F64)
    for t in range(3):
        u = y @ network.encoder[t].T
        if t:
            u = u + x @ network.recurrence[t - 1].T
        if network.penalty is None:
            x = top_m(u, network.count)
        else:
            level = network.threshold[t].abs()
            s = network.sharpness
            x = level * helu(u / level, s) if s else hard_threshold(u, level)
    assert gap(network(y), x) < 1e-12


@TIED
@pytest.mark.parametrize("count", [1, 3, 9])
def test_exactly_so_many_codes(count, tied):
    """Whatever the weights, and at every depth."""
    D, y = problem()
    network = shaken(HardThresholdEncoder(D, 4, count=count, tied=tied), 1.0)
    assert bool(((network.path(y)[1:] != 0).sum(-1) == count).all())


def test_the_ramp_tends_to_the_jump():
    """As s falls to 0 no code is left in a ramp, and codes are those of the hard threshold."""
    D, y = problem()
    network = shaken(HardThresholdEncoder(D, 5, penalty=0.05))
    wanted = network(y)
    gaps = []
    for s in (1.0, 0.5, 0.1, 1e-8):
        network.set_sharpness(s)
        gaps.append(gap(network(y), wanted))
    assert gaps[0] > 0.1 and gaps[-1] < 1e-12
    assert 0 < int((wanted != 0).sum()) < wanted.numel()


def test_full_ramps_are_linear_below_the_threshold():
    """At s = 1 nothing is 0: the layers are linear, whatever the signals."""
    D, y = problem()
    network = HardThresholdEncoder(D, 4, penalty=0.05, sharpness=1.0)
    assert gap(network(2 * y - y.flip(0)), 2 * network(y) - network(y.flip(0))) < 1e-12


# --- symmetries -----------------------------------------------------------------------------------


@TIED
@KINDS
def test_signed_permutations_act_on_codes(kind, tied):
    """P on the codes, Q in O(m) on the signals: W -> P W Q^T, S -> P S P^T, th -> |P| th."""
    D, y = problem()
    P, Q = signed_permutation(), torch.linalg.qr(random(M, M, seed=4)).Q
    network = shaken(HardThresholdEncoder(D, 4, tied=tied, **kind))
    other = HardThresholdEncoder(Q @ D @ P.T, 4, tied=tied, **kind)
    fresh = HardThresholdEncoder(D, 4, tied=tied, **kind)
    assert gap(other(y @ Q.T), fresh(y) @ P.T) < 1e-10
    with torch.no_grad():
        other.encoder.copy_(P @ network.encoder @ Q.T)
        other.recurrence.copy_(P @ network.recurrence @ P.T)
        if network.penalty is not None:
            other.threshold.copy_(network.threshold @ P.abs().T)
    assert gap(other(y @ Q.T), network(y) @ P.T) < 1e-10


def test_rotations_do_not_act_on_codes():
    """The twin of the test above: a rotation for P is refuted."""
    D, y = problem()
    P = torch.linalg.qr(random(N, N, seed=5)).Q
    one, other = (HardThresholdEncoder(E, 4, count=3) for E in (D, D @ P.T))
    assert gap(other(y), one(y) @ P.T) > 0.1


@KINDS
def test_signs_of_signals_and_of_thresholds(kind):
    D, y = problem()
    network = shaken(HardThresholdEncoder(D, 4, tied=False, **kind))
    assert gap(network(-y), -network(y)) < 1e-12
    if network.penalty is not None:
        wanted = network(y).detach()
        with torch.no_grad():
            network.threshold.neg_()
        assert torch.equal(network(y), wanted)
        with torch.no_grad():
            network.threshold.zero_()
        assert bool(network(y).isfinite().all())


# --- what learns ----------------------------------------------------------------------------------


@TIED
@pytest.mark.parametrize("kind", [{"count": 2}, {"penalty": 0.2, "sharpness": 0.6}], ids=str)
def test_gradients_by_differences(kind, tied):
    D, y = random(3, 4), random(2, 3, seed=1)
    network = shaken(HardThresholdEncoder(D, 3, tied=tied, **kind))
    names = [name for name, _ in network.named_parameters()]

    def codes(y, *weights):
        return torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (y,))

    given = [weight.detach().clone().requires_grad_() for weight in network.parameters()]
    assert torch.autograd.gradcheck(codes, (y.requires_grad_(), *given))


def test_thresholds_learn_in_ramps_and_not_at_a_jump():
    D, y = problem()
    network = HardThresholdEncoder(D, 3, penalty=0.05, sharpness=0.5)
    network(y).square().sum().backward()
    assert network.threshold.grad.abs().max() > 1e-3
    network.zero_grad()
    network.set_sharpness(0.0)
    network(y).square().sum().backward()
    assert network.threshold.grad is None or not network.threshold.grad.any()
    assert network.recurrence.grad.abs().max() > 1e-3


def test_annealing_is_fit_at_falling_sharpness():
    D, y = problem(torch.float32)
    x = HardThresholdEncoder(D, 40, penalty=0.05)(y).detach()
    network = HardThresholdEncoder(D, 2, penalty=0.05)
    other = copy.deepcopy(network)
    histories = anneal(network, y, x, schedule=[0.5, 0.1, 0.0], steps=4, batch_size=3, seed=5)
    for k, level in enumerate([0.5, 0.1, 0.0]):
        other.set_sharpness(level)
        wanted = fit(other, y, x, steps=4, lr=1e-3, batch_size=3, loss=mse_loss, seed=5 + k)
        assert histories[k] == wanted and len(wanted.step_losses) == 4
    assert network.sharpness == 0 and torch.equal(network(y), other(y))
    assert not torch.equal(network.encoder, HardThresholdEncoder(D, 2, penalty=0.05).encoder)


def test_annealing_reaches_encoders_inside_a_model():
    D, y = problem(torch.float32)
    inside = HardThresholdEncoder(D, 2, penalty=0.05)
    counted = HardThresholdEncoder(torch.eye(N), 1, count=2)
    model = nn.Sequential(inside, counted, nn.Linear(N, 2))
    labels = torch.arange(7) % 2
    histories = anneal(
        model, y, labels, schedule=(1.0, 0.25), steps=2, loss=nn.functional.cross_entropy
    )
    assert inside.sharpness == 0.25 and counted.sharpness == 0 and len(histories) == 2


def test_learning_finds_more_supports():
    """Four layers, learned, against four steps; the settings were chosen on seed 10."""
    draw = torch.Generator().manual_seed(0)
    D = nn.functional.normalize(random(12, 20, dtype=torch.float32), dim=0)
    order = torch.rand(1500, 20, generator=draw)
    on = order >= order.topk(2).values[:, -1:]
    x = on * torch.randn(1500, 20, generator=draw)
    y = x @ D.T
    network = HardThresholdEncoder(D, 4, count=2)
    before = support_recovery(network(y[:500]).detach(), x[:500])
    assert before == support_recovery(iht(y[:500], D, count=2, steps=4), x[:500])
    fit(network, y[500:], x[500:], steps=200, lr=1e-2, loss=mse_loss)
    assert support_recovery(network(y[:500]).detach(), x[:500]) > before + 0.15


# --- a module of torch ----------------------------------------------------------------------------


@KINDS
@TIED
def test_what_a_network_does(kind, tied):
    D, y = problem(torch.float32)
    network = shaken(HardThresholdEncoder(D, 3, tied=tied, **kind))
    copies, between = (1, 1) if tied else (3, 2)
    assert network.encoder.shape == (copies, N, M)
    assert network.recurrence.shape == (between, N, N)
    assert len(list(network.parameters())) == 2 + ("penalty" in kind)
    other = HardThresholdEncoder(2 * D, 3, tied=tied, **kind)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(y), network(y))
    assert torch.equal(copy.deepcopy(network)(y), network(y))
    assert gap(copy.deepcopy(network).double()(y.double()).float(), network(y)) < 1e-4
    network.reset_parameters()
    assert torch.equal(network(y), HardThresholdEncoder(D, 3, tied=tied, **kind)(y))
    assert not network.dictionary.requires_grad and network.dictionary is not D
    assert gap(network(y.reshape(1, 7, 1, M))[0, :, 0], network(y)) < 1e-6
    assert network(y[:0]).shape == (0, N) and network(y[0]).shape == (N,)


def test_one_layer_has_no_recurrence():
    network = HardThresholdEncoder(random(M, N), 1, count=2)
    assert network.recurrence.shape == (0, N, N)
    assert gap(network.encoder[0], random(M, N).T / lipschitz(random(M, N))) < 1e-15


def test_printed_forms():
    D = torch.eye(2)
    assert repr(HardThresholdEncoder(D, 3, count=1)) == (
        "HardThresholdEncoder(m=2, n=2, layers=3, count=1, tied=True)"
    )
    assert repr(HardThresholdEncoder(D, 3, penalty=0.5, tied=False)) == (
        "HardThresholdEncoder(m=2, n=2, layers=3, penalty=0.5, sharpness=0.0, tied=False)"
    )


# --- supports -------------------------------------------------------------------------------------


def test_supports_one_by_one():
    codes, truth = random(300, 5, seed=1), random(300, 5, seed=2)
    truth = truth * (random(300, 5, seed=3) > 0.4)
    codes = codes + 2 * truth
    found = 0
    for x, wanted in zip(codes.tolist(), truth.tolist(), strict=True):
        support = {i for i in range(5) if wanted[i]}
        order = sorted(range(5), key=lambda i, x=x: -abs(x[i]))
        found += set(order[: len(support)]) == support
    assert 0.2 < found / 300 < 0.9
    assert support_recovery(codes, truth) == pytest.approx(found / 300, abs=1e-12)
    order, signs = torch.tensor([2, 0, 4, 1, 3]), torch.tensor([1, -1, -1, 1, -1])
    turned = support_recovery(7 * codes[:, order] * signs, truth[:, order])
    assert turned == support_recovery(codes, truth)


@pytest.mark.parametrize(
    ("codes", "truth", "share"),
    [
        ([0.0, 0.0], [1.0, 0.0], 0),
        ([0.1, 0.0], [-9.0, 0.0], 1),
        ([0.1, 0.1], [1.0, 0.0], 0),
        ([0.1, -0.2], [1.0, 2.0], 1),
        ([0.1, 0.0], [1.0, 2.0], 0),
        ([3.0, 1.0], [0.0, 0.0], 1),
    ],
    ids=range(6),
)
def test_supports_by_hand(codes, truth, share):
    assert support_recovery(torch.tensor(codes), torch.tensor(truth)) == share


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "argument"),
    [
        ({"layers": 0}, ValueError, "layers"),
        ({"layers": 2.0}, TypeError, "layers"),
        ({"layers": True}, TypeError, "layers"),
        ({}, TypeError, "count"),
        ({"count": 2, "penalty": 0.1}, TypeError, "count"),
        ({"count": 0}, ValueError, "count"),
        ({"count": N + 1}, ValueError, "count"),
        ({"count": 2.0}, TypeError, "count"),
        ({"penalty": 0.0}, ValueError, "penalty"),
        ({"penalty": -1}, ValueError, "penalty"),
        ({"penalty": NAN}, ValueError, "penalty"),
        ({"penalty": "small"}, TypeError, "penalty"),
        ({"penalty": 1, "sharpness": -0.1}, ValueError, "sharpness"),
        ({"penalty": 1, "sharpness": 1.1}, ValueError, "sharpness"),
        ({"penalty": 1, "sharpness": None}, TypeError, "sharpness"),
        ({"count": 2, "tied": 1}, TypeError, "tied"),
        ({"count": 2, "dictionary": [[1.0]]}, TypeError, "dictionary"),
        ({"count": 2, "dictionary": torch.ones(3, 4, dtype=torch.int64)}, TypeError, "dictionary"),
        ({"count": 2, "dictionary": torch.ones(4)}, ValueError, "dictionary"),
        ({"count": 2, "dictionary": torch.ones(0, 4)}, ValueError, "dictionary"),
        ({"count": 2, "dictionary": torch.zeros(3, 4)}, ValueError, "dictionary"),
        ({"count": 2, "dictionary": torch.full((3, 4), INF)}, ValueError, "dictionary"),
    ],
    ids=range(22),
)
def test_wrong_networks(given, error, argument):
    with refuses(error, argument):
        HardThresholdEncoder(**{"dictionary": random(M, N), "layers": 2, **given})


@pytest.mark.parametrize(
    ("y", "error"),
    [
        ([1.0] * M, TypeError),
        (torch.ones(M), TypeError),
        (torch.ones(M, dtype=torch.int64), TypeError),
        (torch.ones(M - 1, dtype=F64), ValueError),
        (torch.ones(M, 1, dtype=F64), ValueError),
        (torch.tensor(1.0, dtype=F64), ValueError),
        (torch.full((M,), NAN, dtype=F64), ValueError),
        (torch.ones(M, dtype=F64, device="meta"), ValueError),
    ],
    ids=range(8),
)
def test_wrong_signals(y, error):
    network = HardThresholdEncoder(random(M, N), 2, count=2)
    for call in (network, network.path):
        with refuses(error, "signals"):
            call(y)


def test_codes_that_overflow():
    network = HardThresholdEncoder(random(M, N), 4, count=2)
    with torch.no_grad():
        network.recurrence.fill_(1e200)
    with refuses(ValueError, "signals"):
        network(random(2, M))
    with refuses(ValueError, "signals"):
        network.path(random(2, M))


@pytest.mark.parametrize(
    ("given", "error", "argument"),
    [
        ({"schedule": []}, ValueError, "schedule"),
        ({"schedule": [0.1, 0.2]}, ValueError, "schedule"),
        ({"schedule": [2.0]}, ValueError, "schedule"),
        ({"schedule": ["0"]}, TypeError, "schedule"),
        ({"schedule": 0.5}, TypeError, "schedule"),
        ({"seed": 0.5}, TypeError, "seed"),
        ({"model": nn.Linear(M, N)}, ValueError, "model"),
        ({"model": HardThresholdEncoder(torch.ones(M, N), 1, count=1)}, ValueError, "model"),
        ({"steps": 0}, ValueError, "steps"),
        ({"lr": -1.0}, ValueError, "lr"),
    ],
    ids=range(10),
)
def test_wrong_annealing(given, error, argument):
    D, y = problem(torch.float32)
    given = {"model": HardThresholdEncoder(D, 1, penalty=1), "x": y, "y": torch.ones(7, N), **given}
    with refuses(error, argument):
        anneal(**given)


@pytest.mark.parametrize(
    ("codes", "truth", "error", "argument"),
    [
        ([1.0], torch.ones(1), TypeError, "codes"),
        (torch.ones(1, dtype=torch.int64), torch.ones(1), TypeError, "codes"),
        (torch.tensor([NAN]), torch.ones(1), ValueError, "codes"),
        (torch.tensor(1.0), torch.tensor(1.0), ValueError, "codes"),
        (torch.ones(0, 3), torch.ones(0, 3), ValueError, "codes"),
        (torch.ones(3, 0), torch.ones(3, 0), ValueError, "codes"),
        (torch.ones(3), torch.ones(3, dtype=torch.bool), TypeError, "truth"),
        (torch.ones(3), torch.ones(1, 3), ValueError, "truth"),
        (torch.ones(3), torch.full((3,), INF), ValueError, "truth"),
    ],
    ids=range(9),
)
def test_wrong_supports(codes, truth, error, argument):
    with refuses(error, argument):
        support_recovery(codes, truth)
