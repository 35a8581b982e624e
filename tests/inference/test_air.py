"""Attend, infer, repeat: one bound and two estimators, and what is symmetric in it."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from gdl.data.canvases import digit_canvases
from gdl.inference.attend_infer_repeat import (
    PLACE,
    AttendInferRepeat,
    train_air,
    window_errors,
)
from gdl.inference.estimators import count_log_probabilities
from gdl.inference.spatial_transformer import glimpse
from tests.programs.test_soft_sorting import F64, gap, random
from tests.test_representations import refuses

STEPS, WHAT, CANVAS, WINDOW = 3, 4, 12, 5


def model(seed: int = 0, **sizes) -> AttendInferRepeat:
    torch.manual_seed(seed)
    sizes = {"steps": STEPS, "what": WHAT, "hidden": 16, "dtype": F64, **sizes}
    return AttendInferRepeat(CANVAS, WINDOW, **sizes)


def pictures(count: int = 3) -> tuple[Tensor, Tensor]:
    return random(count, 1, CANVAS, CANVAS).sigmoid(), random(count, STEPS, PLACE + WHAT, seed=1)


def gradient(layer: AttendInferRepeat, bound: Tensor) -> Tensor:
    """With respect to everything but the baseline, as one vector."""
    used = [p for name, p in layer.named_parameters() if not name.startswith("baseline")]
    return torch.cat([g.flatten() for g in torch.autograd.grad(bound, used)])


# --- one bound, two estimators --------------------------------------------------------------------


def test_the_sum_over_counts_of_the_sampled_gradient_is_the_enumerated_one():
    layer = model()
    x, noise = pictures(1)
    q = count_log_probabilities(layer.unfold(x, noise).logits).exp().detach()[0]
    value, mean = 0.0, 0.0
    for n in range(STEPS + 1):
        bound = layer.nvil(x, noise=noise, counts=torch.tensor([n])).sum()
        value = value + q[n] * bound.detach()
        mean = mean + q[n] * gradient(layer, bound)
    bound = layer.elbo(x, noise=noise).sum()
    exact = gradient(layer, bound)
    assert gap(value, bound.detach()) < 1e-10
    assert float((mean - exact).norm() / exact.norm()) < 1e-10


def test_the_mean_of_the_sampled_bound_over_all_noise():
    layer = model()
    x = pictures(1)[0].expand(20_000, -1, -1, -1)
    torch.manual_seed(1)
    with torch.no_grad():
        summed, drawn = layer.elbo(x), layer.nvil(x)
    error = math.hypot(float(summed.std()), float(drawn.std())) / len(x) ** 0.5
    assert abs(float(summed.mean() - drawn.mean())) < 4 * error
    assert float(summed.std()) < float(drawn.std())


def test_the_bound_by_hand():
    """One step after another, with torch's distributions, for every count."""
    layer, (x, noise) = model(cap=2.0), pictures(2)
    found = layer.unfold(x, noise)
    state, latent = None, torch.zeros(2, PLACE + WHAT, dtype=F64)
    drawing, cost = torch.zeros_like(x), torch.zeros(2, dtype=F64)
    going_on, prior = torch.zeros(2, dtype=F64), 0.01 ** torch.arange(STEPS + 1.0, dtype=F64)
    total = torch.zeros(2, dtype=F64)
    for n in range(STEPS + 1):
        fit = Normal(drawing, 0.3).log_prob(x).sum((1, 2, 3))
        value = fit - cost + (prior[n] / prior.sum()).log()
        if n < STEPS:
            seen = layer.eye(x.flatten(1)).relu()
            state = layer.memory(torch.cat([seen, latent], 1), state)
            p = (2 * (layer.going_on(state[0])[:, 0] / 2).tanh()).sigmoid()
        log_q = going_on + ((1 - p).log() if n < STEPS else 0)
        total = total + log_q.exp() * (value - log_q)
        if n == STEPS:
            break
        going_on = going_on + p.log()
        guesses = []
        for head, part in ((layer.place(state[0]), noise[:, n, :3]), (None, noise[:, n, 3:])):
            if head is None:
                where = layer.place_of(guesses[0])
                head = layer.content(found.glimpses[:, n].flatten(1))
                assert gap(where, found.where[:, n]) < 1e-12
            mean, raw = head.chunk(2, -1)
            q = Normal(mean, torch.nn.functional.softplus(raw))
            cost = cost + kl_divergence(q, Normal(torch.zeros_like(mean), 1.0)).sum(-1)
            guesses.append(q.mean + q.stddev * part)
        latent = torch.cat(guesses, 1)
        drawing = drawing + layer.draw(guesses[1][:, None], where[:, None])
    assert gap(layer.elbo(x, noise=noise), total) < 1e-10
    assert gap(found.canvases[:, -1], drawing) < 1e-12


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0], ids=str)
def test_the_bound_is_below_the_evidence(mix):
    """The evidence of a model of one object and loud noise, by drawing from its prior."""
    layer = model(steps=1, what=1, noise=2.0, prior=0.5)
    with torch.no_grad():
        layer.decoder[-1].bias.fill_(1.0)
        x = random(1, 1, CANVAS, CANVAS)
        latent = random(20_000, 1, PLACE + 1, seed=3)
        drawn = layer.draw(latent[..., PLACE:], layer.place_of(latent[..., :PLACE]))
        fits = [Normal(d, 2.0).log_prob(x).sum((1, 2, 3)).exp() for d in (drawn, 0 * drawn)]
        chances = fits[0] / 3 + 2 * fits[1] / 3
        torch.manual_seed(0)
        bounds = layer.elbo(x.expand(20_000, -1, -1, -1), mix=mix)
    error = float(chances.std() / chances.mean() + bounds.std()) / 20_000**0.5
    gap_to_evidence = float(chances.mean().log() - bounds.mean())
    assert 0 < gap_to_evidence < 50 and error < 0.05 * gap_to_evidence


# --- symmetry -------------------------------------------------------------------------------------


def test_objects_are_in_no_order_for_the_model_but_for_the_guide():
    layer, order = model(), [2, 0, 1]
    contents, where = random(2, 3, WHAT), layer.place_of(random(2, 3, PLACE, seed=1))
    drawn = layer.draw(contents, where)
    assert gap(layer.draw(contents[:, order], where[:, order]), drawn) < 1e-12
    assert gap(layer.draw(contents[:, order], where), drawn) > 1e-3
    x, noise = pictures()
    one, other = layer.unfold(x, noise), layer.unfold(x, noise[:, order])
    assert gap(one.where[:, order], other.where) > 1e-3


def test_the_drawing_shifts_with_its_places_and_the_guide_does_not_shift_them():
    layer = model()
    contents = random(1, 2, WHAT)
    where = torch.tensor([[[1.0, 4.5, 5.0], [0.9, 5.0, 6.2]]], dtype=F64)
    drawn = layer.draw(contents, where)
    moved = layer.draw(contents, where + torch.tensor([0.0, 2.0, -1.0], dtype=F64))
    assert gap(moved, torch.roll(drawn, (2, -1), (2, 3))) < 1e-12
    found = layer.infer(drawn).where + torch.tensor([0.0, 2.0, -1.0], dtype=F64)
    assert gap(layer.infer(moved).where, found) > 0.1


def test_the_places_of_the_prior():
    layer = model()
    where = layer.place_of(random(100_000, 3))
    assert abs(float(where[:, 0].log().std()) - 0.1) < 1e-3
    assert gap(where[:, 1:].mean(0), torch.full((2,), 5.5, dtype=F64)) < 0.05
    assert gap(where[:, 1:].std(0), torch.full((2,), 7 / 3, dtype=F64)) < 0.05


# --- the layer ------------------------------------------------------------------------------------


def test_what_the_guide_believes():
    layer, (x, _) = model(), pictures(5)
    found = layer.infer(x)
    assert gap(found.probabilities.sum(1), torch.ones(5, dtype=F64)) < 1e-12
    assert torch.equal(found.counts, found.probabilities.argmax(1))
    for b, n in enumerate(found.counts.tolist()):
        where, windows = found.where[b, :n], found.windows[b, :n]
        drawn = sum(
            (_paste(w, p) for w, p in zip(windows, where, strict=True)), torch.zeros_like(x[0])
        )
        assert gap(found.reconstruction[b], drawn) < 1e-12
    assert gap(layer.infer(x[2:3]).where, found.where[2:3]) < 1e-12


def _paste(window: Tensor, where: Tensor) -> Tensor:
    from gdl.inference.spatial_transformer import paste

    return paste(window, where, CANVAS)


def test_the_cap_bounds_the_belief():
    x, noise = pictures()
    for cap in (1.0, 4.0, math.inf):
        layer = model(cap=cap)
        with torch.no_grad():
            layer.going_on.bias.fill_(50.0)
        logits = layer.unfold(x, noise).logits.detach()
        assert bool((logits <= cap).all()) and float(logits.min()) > min(cap - 0.01, 40.0)


def test_what_a_layer_does():
    layer, (x, noise) = model(dtype=torch.float32), pictures()
    x, noise = x.float(), noise.float()
    assert repr(layer).startswith("AttendInferRepeat(\n  canvas=12, window=5, steps=3, what=4,")
    other = model(seed=1, dtype=torch.float32)
    assert not torch.equal(other.elbo(x, noise=noise), layer.elbo(x, noise=noise))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.elbo(x, noise=noise), layer.elbo(x, noise=noise))
    double = copy.deepcopy(layer).double()
    exact = double.elbo(x.double(), noise=noise.double())
    assert gap(exact.float(), layer.elbo(x, noise=noise)) < 1e-2
    torch.manual_seed(0)
    layer.reset_parameters()
    assert gap(layer.decoder[-1].bias, torch.full((25,), -2.0)) == 0
    assert layer(x).shape == (3,)
    meta = model(device="meta", dtype=torch.float32)
    assert meta.elbo(x.to("meta")).shape == (3,)


def test_errors_of_windows():
    layer, images = model(), pictures(2)[0]
    found = dataclasses.replace(
        layer.infer(images),
        counts=torch.tensor([1, 2]),
        where=torch.tensor(
            [
                [[1.0, 3.0, 4.0], [1.0, 9.0, 9.0], [1.0, 0.0, 0.0]],
                [[1.0, 8.0, 5.0], [1.0, 2.0, 2.5], [1.0, 8.0, 6.0]],
            ],
            dtype=F64,
        ),
    )
    centres = torch.tensor([[[3.0, 7.0], [0.0, 0.0]], [[2.0, 2.0], [8.0, 9.0]]], dtype=F64)
    assert window_errors(found, centres, torch.tensor([1, 2])).tolist() == [3.0, 0.5, 4.0]
    # Canvases with a wrong count have no errors of place.
    assert window_errors(found, centres, torch.tensor([2, 2])).tolist() == [0.5, 4.0]
    for error, argument, call in [
        (TypeError, "found", lambda: window_errors(images, centres, found.counts)),
        (ValueError, "centres", lambda: window_errors(found, centres[:1], found.counts)),
        (TypeError, "centres", lambda: window_errors(found, centres.long(), found.counts)),
        (ValueError, "counts", lambda: window_errors(found, centres, found.counts[:1])),
        (ValueError, "counts", lambda: window_errors(found, centres, found.counts + 1)),
        (TypeError, "counts", lambda: window_errors(found, centres, centres)),
    ]:
        with refuses(error, argument):
            call()


# --- training -------------------------------------------------------------------------------------


def test_training_follows_its_schedule_and_repeats(monkeypatch):
    images = digit_canvases(32, seed=0).images
    mixes, elbo = [], AttendInferRepeat.elbo

    def spy(self, x, **arguments):
        mixes.append(arguments["mix"])
        return elbo(self, x, **arguments)

    monkeypatch.setattr(AttendInferRepeat, "elbo", spy)
    torch.manual_seed(0)
    start = AttendInferRepeat(20, 8, hidden=8)
    runs = []
    for _ in range(2):
        layer = copy.deepcopy(start)
        losses = train_air(layer, images, steps=10, batch_size=16, seed=3).step_losses
        runs.append((losses, layer.state_dict()))
    assert mixes == 2 * ([1.0] + 6 * [0.2] + 3 * [0.0])
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])
    assert not layer.training and next(iter(layer.parameters())).grad is not None


@pytest.mark.parametrize("objective", ["enumerated", "sampled"])
def test_training_raises_the_bound(objective):
    images = digit_canvases(64, seed=0).images
    torch.manual_seed(0)
    layer = AttendInferRepeat(20, 8, hidden=32)
    before = float(layer(images).detach().mean())
    train_air(layer, images, steps=60, lr=3e-3, objective=objective)
    assert float(layer(images).detach().mean()) > before + 5


def test_the_baseline_learns_the_bound():
    layer = model(dtype=torch.float32)
    x = pictures()[0].float()
    optimizer = torch.optim.Adam(layer.baseline.parameters(), 3e-2)
    torch.manual_seed(0)
    for _ in range(60):
        optimizer.zero_grad()
        (-layer.nvil(x).sum()).backward()
        optimizer.step()
    with torch.no_grad():
        guess = CANVAS**2 * layer.baseline(x.flatten(1)).mean()
        bound = torch.stack([layer.nvil(x).mean() for _ in range(50)]).mean()
    assert abs(float(guess - bound)) < 0.1 * abs(float(bound))


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "argument", "value"),
    [
        (ValueError, "canvas", 4),
        (TypeError, "canvas", 12.0),
        (ValueError, "window", 0),
        (ValueError, "steps", 0),
        (TypeError, "steps", True),
        (ValueError, "what", 0),
        (ValueError, "hidden", -1),
        (ValueError, "noise", 0.0),
        (ValueError, "prior", 0.0),
        (ValueError, "prior", 1.5),
        (ValueError, "cap", 0.0),
        (ValueError, "cap", float("nan")),
        (TypeError, "dtype", torch.int64),
    ],
)
def test_wrong_sizes(error, argument, value):
    with refuses(error, argument):
        AttendInferRepeat(**{"canvas": CANVAS, "window": WINDOW, argument: value})


def test_wrong_pictures_and_wrong_training():
    layer, (x, noise) = model(), pictures()
    spoiled = x.clone()
    spoiled[0, 0, 0, 0] = float("nan")
    for error, argument, call in [
        (TypeError, "images", lambda: layer(x.float())),
        (TypeError, "images", lambda: layer(x.int())),
        (ValueError, "images", lambda: layer(x[:, 0])),
        (ValueError, "images", lambda: layer(x[..., 1:])),
        (ValueError, "images", lambda: layer(x[:0])),
        (ValueError, "images", lambda: layer(spoiled)),
        (ValueError, "images", lambda: layer.infer(spoiled)),
        (ValueError, "noise", lambda: layer.elbo(x, noise=noise[:, 1:])),
        (ValueError, "noise", lambda: layer.elbo(x, noise=noise[:1])),
        (ValueError, "mix", lambda: layer.elbo(x, mix=2.0)),
        (ValueError, "counts", lambda: layer.nvil(x, counts=torch.tensor([4, 0, 0]))),
        (ValueError, "contents", lambda: layer.draw(noise[..., :2], noise[..., :3])),
        (ValueError, "where", lambda: layer.draw(noise[..., :WHAT], noise[:, :2, :3])),
        (ValueError, "latent", lambda: layer.place_of(noise)),
        (TypeError, "model", lambda: train_air(torch.nn.Linear(1, 1), x)),
        (ValueError, "objective", lambda: train_air(layer, x, objective="exact")),
        (ValueError, "mixing", lambda: train_air(layer, x, mixing=())),
        (ValueError, "mixing", lambda: train_air(layer, x, mixing=((0.5, 1.0),))),
        (ValueError, "mixing", lambda: train_air(layer, x, mixing=((1.0, 2.0),))),
        (TypeError, "mixing", lambda: train_air(layer, x, mixing=(1.0,))),
        (ValueError, "images", lambda: train_air(layer, spoiled)),
        (ValueError, "steps", lambda: train_air(layer, x, steps=0)),
    ]:
        with refuses(error, argument):
            call()


def test_a_guide_of_the_rest_looks_at_what_the_steps_before_have_left():
    layer = model(rest=True)
    images, noise = pictures()
    found = layer.unfold(images, noise)
    for t in range(layer.steps):
        left = images - found.canvases[:, t]
        read = glimpse(left, found.where[:, t], layer.window)
        torch.testing.assert_close(found.glimpses[:, t], read, rtol=0, atol=1e-12)
    whole = glimpse(images, found.where[:, 1], layer.window)
    assert not torch.allclose(found.glimpses[:, 1], whole)


def test_the_first_step_is_the_same_with_and_without_the_rest():
    images, noise = pictures()
    with_rest, without = (model(rest=rest).unfold(images, noise) for rest in (True, False))
    assert torch.equal(with_rest.where[:, 0], without.where[:, 0])
    assert not torch.allclose(with_rest.where[:, 1], without.where[:, 1])


def test_under_autocast_it_computes_in_the_dtype_of_its_weights():
    layer, images = AttendInferRepeat(CANVAS, WINDOW, hidden=8), torch.rand(2, 1, CANVAS, CANVAS)
    noise = torch.randn(2, 3, 3 + 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer.elbo(images, noise=noise)
    assert torch.equal(rounded, layer.elbo(images, noise=noise))
