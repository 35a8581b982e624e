"""A training that was interrupted and resumed ends where an undisturbed one ends, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from gdl.training import fit


class Interrupted(Exception):
    pass


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 4, generator=generator), torch.arange(30) % 3


def network(width=5, act=nn.ReLU):
    torch.manual_seed(0)
    layers = nn.BatchNorm1d(width), act(), nn.Dropout(0.3), nn.Linear(width, 3)
    return nn.Sequential(nn.Linear(4, width), *layers)


def frozen():
    model = network()
    model[0].bias.requires_grad_(False)
    return model


def noisy(batch):
    return batch + 0.1 * torch.randn(batch.shape)


def fails_at(step):
    calls = []

    def transform(batch):
        calls.append(1)
        if len(calls) > step:
            raise Interrupted
        return noisy(batch)

    return transform


def trained(path, transform=noisy, steps=20, model=None, **options):
    model = network() if model is None else model
    options = {"seed": 3, "batch_size": 8, "checkpoint_every": 4} | options
    history = fit(model, *data(), steps=steps, transform=transform, checkpoint=path, **options)
    return model, history


def same(a, b):
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("step", [1, 4, 5, 11, 19])
def test_a_resumed_training_is_the_undisturbed_one(tmp_path, step):
    whole, expected = trained(None)
    path = tmp_path / "sub" / "training.pt"
    with pytest.raises(Interrupted):
        trained(path, fails_at(step))
    assert path.exists() == (step >= 4)
    resumed, history = trained(path)
    assert same(whole, resumed)
    assert history.step_losses == expected.step_losses
    assert history.epoch_losses == expected.epoch_losses
    assert sorted(p.name for p in path.parent.iterdir()) == ["training.pt"]


def test_a_finished_training_is_only_read(tmp_path):
    path = tmp_path / "training.pt"
    first, history = trained(path)
    again, read = trained(path, fails_at(0))
    assert same(first, again) and read == history


def test_more_steps_go_on_from_the_end(tmp_path, monkeypatch):
    whole, _ = trained(None, steps=20)
    path = tmp_path / "training.pt"
    monkeypatch.setenv("GDL_MAX_STEPS", "7")
    trained(path, steps=20)
    monkeypatch.delenv("GDL_MAX_STEPS")
    longer, history = trained(path, steps=20)
    assert same(whole, longer) and len(history.step_losses) == 20


def test_the_generators_of_the_caller_are_left_alone(tmp_path):
    trained(tmp_path / "training.pt")
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    trained(tmp_path / "training.pt", steps=25, model=model)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 4}, "checkpoint: .* belongs to another training, seed was 3, is 4"),
        ({"lr": 0.5}, "checkpoint: .* another training, lr was 0.01, is 0.5"),
        ({"batch_size": 9}, "checkpoint: .* another training, batch_size was 8"),
        ({"weight_decay": 0.1}, "checkpoint: .* another training, weight_decay was 0.0"),
        ({"steps": 5}, "checkpoint: .* has 20 steps, expected at most 5"),
        ({"model": network(6)}, "checkpoint: .* another training, layers was"),
        ({"model": network(act=nn.Tanh)}, "checkpoint: .* another training, layers was"),
        ({"model": network().double()}, "checkpoint: .* another training, tensors was"),
        ({"model": frozen()}, "checkpoint: .* another training, trainable was"),
        ({"checkpoint_every": 0}, "checkpoint_every: expected an integer of at least 1"),
    ],
)
def test_another_training_is_refused(tmp_path, options, message):
    path = tmp_path / "training.pt"
    trained(path)
    with pytest.raises(ValueError, match=message):
        trained(path, **options)


def test_other_data_are_refused(tmp_path):
    path = tmp_path / "training.pt"
    trained(path)
    x, y = data()
    options = {"steps": 20, "seed": 3, "batch_size": 8, "checkpoint": path}
    with pytest.raises(ValueError, match="checkpoint: .* another training, data was"):
        fit(network(), x + 1e-6, y, **options)
    with pytest.raises(ValueError, match="checkpoint: .* another training, shape of x was"):
        fit(network(), x[:20], y[:20], **options)


@pytest.mark.parametrize("keep", [0, 1, 31, 32, 100, 1000])
def test_a_damaged_file_is_named(tmp_path, keep):
    path = tmp_path / "training.pt"
    trained(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="checkpoint: .*training.pt is damaged"):
        trained(path)


def test_a_file_of_something_else_is_named(tmp_path):
    path = tmp_path / "training.pt"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="checkpoint: .* is damaged or no checkpoint"):
        trained(path)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_single_flipped_bit_is_named(tmp_path, seed):
    path = tmp_path / "training.pt"
    trained(path)
    content = bytearray(path.read_bytes())
    places = torch.randint(len(content), (10,), generator=torch.Generator().manual_seed(seed))
    for place in places.tolist():
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match="checkpoint: .* is damaged"):
            trained(path)
        content[place] ^= 1


def test_a_refused_file_leaves_the_model_alone(tmp_path):
    path = tmp_path / "training.pt"
    trained(path)
    model = network(act=nn.Tanh)
    with pytest.raises(ValueError, match="another training"):
        trained(path, model=model)
    assert same(model, network(act=nn.Tanh))


def test_the_end_is_written_between_two_intervals(tmp_path):
    path = tmp_path / "training.pt"
    trained(path, steps=7, checkpoint_every=500)
    again, _ = trained(path, fails_at(0), steps=7)
    assert same(again, trained(None, steps=7)[0])


def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "training.pt"
    trained(path, steps=4)
    before = path.read_bytes()

    def crash(part, target):
        assert target.read_bytes() == before
        raise Interrupted

    monkeypatch.setattr("gdl.training.os.replace", crash)
    with pytest.raises(Interrupted):
        trained(path, steps=8)
    assert path.read_bytes() == before


def test_nothing_but_weights_is_unpickled(tmp_path, monkeypatch):
    path, load, seen = tmp_path / "training.pt", torch.load, []
    trained(path)
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k) or load(*a, **k))
    trained(path)
    assert [options["weights_only"] for options in seen] == [True]


def test_numbers_of_numpy_and_short_floats_are_stored(tmp_path):
    path = tmp_path / "training.pt"
    trained(path, lr=np.float64(0.01))
    assert len(trained(path, fails_at(0), lr=0.01)[1].step_losses) == 20
    x, y = data()
    fit(network().bfloat16(), x.bfloat16(), y, steps=1, checkpoint=tmp_path / "short.pt")
    assert (tmp_path / "short.pt").exists()


def test_a_path_that_is_none_is_named(tmp_path):
    with pytest.raises(TypeError, match="checkpoint: expected a path or None, got 5"):
        trained(5)
    with pytest.raises(ValueError, match="checkpoint: expected a file, got the folder"):
        trained(tmp_path)
