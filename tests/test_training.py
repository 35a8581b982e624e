"""The training loop: it learns, repeats bit for bit, leaves no trace, and refuses bad input."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from gdl import training
from gdl.training import accuracy, count_parameters, fit, pick_device, predict

SEEDS = [0, 1, 2]


def blobs(n: int = 90, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    """Three well separated classes in the plane."""
    y = torch.arange(n) % 3
    centres = torch.tensor([[0.0, 4.0], [4.0, 0.0], [-4.0, -4.0]], dtype=dtype)
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return centres[y] + noise, y


def classifier(seed: int = 0, dtype: torch.dtype = torch.float32, dropout: float = 0.0):
    torch.manual_seed(seed)
    layers = nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3)
    return nn.Sequential(*layers).to(dtype)


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.state_dict().values()]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(left, right) for left, right in zip(a, b, strict=True))


# What fit does


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", SEEDS)
def test_fit_learns_to_classify(dtype, seed):
    x, y = blobs(dtype=dtype)
    model = classifier(seed, dtype)
    before = accuracy(model, x, y)
    history = fit(model, x, y, epochs=20, seed=seed)
    assert accuracy(model, x, y) >= 0.98 > before
    assert history.epoch_losses[-1] < 0.2 * history.epoch_losses[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_fit_finds_the_least_squares_line(seed):
    x = torch.linspace(-1, 1, 50, dtype=torch.float64)[:, None]
    torch.manual_seed(seed)
    model = nn.Linear(1, 1).double()
    fit(model, x, 3 * x - 2, epochs=2000, lr=0.01, batch_size=50, loss=mse_loss)
    assert abs(model.weight.item() - 3) < 1e-6 and abs(model.bias.item() + 2) < 1e-6


def test_one_step_is_one_step_of_adam():
    x, y = blobs(8)
    model, twin = classifier(), classifier()
    fit(model, x, y, epochs=1, batch_size=8, lr=0.03, weight_decay=0.1)
    optimizer = torch.optim.Adam(twin.parameters(), lr=0.03, weight_decay=0.1)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    cross_entropy(twin(x[order]), y[order]).backward()
    optimizer.step()
    assert same(weights(model), weights(twin))


def test_history_counts_steps_and_averages_epochs():
    x, y = blobs(90)
    history = fit(classifier(), x, y, epochs=3, batch_size=32)
    losses = history.step_losses
    assert len(losses) == 9
    assert history.epoch_losses == [sum(losses[i : i + 3]) / 3 for i in (0, 3, 6)]
    assert len(repr(history)) < 200


def test_steps_take_the_place_of_epochs():
    x, y = blobs(90)
    history = fit(classifier(), x, y, epochs=100, batch_size=32, steps=5)
    assert len(history.step_losses) == 5 and len(history.epoch_losses) == 2
    assert history.epoch_losses[1] == sum(history.step_losses[3:]) / 2


def test_every_epoch_sees_every_example_once_in_a_new_order():
    x = torch.arange(10.0)[:, None]
    seen = []
    fit(
        nn.Linear(1, 1),
        x,
        x,
        epochs=2,
        batch_size=4,
        loss=mse_loss,
        lr=1e-9,
        transform=lambda batch: seen.append(batch[:, 0].tolist()) or batch,
    )
    assert [len(batch) for batch in seen] == [4, 4, 2, 4, 4, 2]
    first, second = sum(seen[:3], []), sum(seen[3:], [])
    assert sorted(first) == sorted(second) == x[:, 0].tolist()
    assert first != second and first != sorted(first)


def test_examples_keep_their_targets():
    x = torch.arange(20.0)[:, None]
    pairs = []

    def recording(output, target):
        pairs.append((x_seen[-1], target))
        return mse_loss(output, target)

    x_seen = []
    fit(
        nn.Linear(1, 1),
        x,
        2 * x + 1,
        epochs=1,
        batch_size=8,
        loss=recording,
        transform=lambda batch: x_seen.append(batch.clone()) or batch,
    )
    assert len(pairs) == 3 and all(torch.equal(2 * a + 1, b) for a, b in pairs)


@pytest.mark.parametrize("training_before", [True, False])
def test_fit_trains_in_train_mode_and_leaves_eval_mode(training_before):
    x, y = blobs()
    model = classifier().train(training_before)
    modes = []
    model[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    fit(model, x, y, epochs=1)
    assert modes == [True, True]
    assert not any(module.training for module in model.modules())


def test_frozen_parameters_stay():
    x, y = blobs()
    model = classifier()
    model[0].weight.requires_grad_(False)
    frozen, free = model[0].weight.clone(), model[4].weight.clone()
    fit(model, x, y, epochs=1, weight_decay=0.1)
    assert torch.equal(model[0].weight, frozen) and not torch.equal(model[4].weight, free)


# It repeats


def noisy(batch: torch.Tensor) -> torch.Tensor:
    return batch + 0.1 * torch.randn_like(batch)


@pytest.mark.parametrize("transform", [None, noisy])
def test_fit_repeats_bit_for_bit_whatever_the_global_state(transform):
    x, y = blobs()
    runs = []
    for state in (7, 8):
        model = classifier(dropout=0.3)
        torch.manual_seed(state)
        runs.append((fit(model, x, y, epochs=2, transform=transform), weights(model)))
    assert runs[0][0] == runs[1][0] and same(runs[0][1], runs[1][1])


def test_another_seed_gives_another_order():
    x, y = blobs()
    runs = []
    for seed in SEEDS:
        model = classifier()
        fit(model, x, y, epochs=1, seed=seed)
        runs.append(weights(model))
    assert not same(runs[0], runs[1]) and not same(runs[1], runs[2])


def test_fit_gives_the_global_generators_back():
    x, y = blobs()
    torch.manual_seed(3)
    model = classifier(dropout=0.5)
    state = torch.random.get_rng_state()
    fit(model, x, y, epochs=1, transform=noisy)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_transform_does_not_change_the_batches():
    x, y = blobs()
    plain, augmented = [], []
    fit(classifier(), x, y, transform=lambda batch: plain.append(batch) or batch)
    fit(classifier(), x, y, transform=lambda batch: augmented.append(batch) or noisy(batch))
    assert len(plain) == 20 and same(plain, augmented)


def test_data_and_labels_are_left_alone():
    x, y = blobs()
    copies = x.clone(), y.clone()
    fit(classifier(), x, y, epochs=2)
    assert torch.equal(x, copies[0]) and torch.equal(y, copies[1])


# It refuses


X, Y = blobs(6)
NAN = torch.tensor([[float("nan"), 0.0]] * 6)
BAD = {
    "lengths": ({"y": Y[:5]}, ValueError, r"x and y: .* got shapes \(6, 2\) and \(5,\)"),
    "empty": ({"x": X[:0], "y": Y[:0]}, ValueError, r"at least one.* got shapes \(0, 2\)"),
    "scalar": ({"x": torch.tensor(1.0)}, ValueError, r"got shapes \(\) and \(6,\)"),
    "nan in x": ({"x": NAN}, ValueError, "x: expected finite values, got 6 that are not"),
    "inf in y": (
        {"y": Y.float() / 0, "loss": mse_loss},
        ValueError,
        "y: expected finite values",
    ),
    "x is a list": ({"x": X.tolist()}, TypeError, "x: expected a tensor, got list"),
    "y is numpy": ({"y": Y.numpy()}, TypeError, "y: expected a tensor, got ndarray"),
    "int32 labels": ({"y": Y.int()}, TypeError, "y: .* got torch.int32"),
    "bool labels": ({"y": Y > 1}, TypeError, "y: .* got torch.bool"),
    "column of labels": ({"y": Y[:, None]}, ValueError, r"y: .* got \(6, 1\)"),
    "float labels": ({"y": Y.float()}, ValueError, r"shape of y, \(6,\), got \(6, 3\)"),
    "label too large": ({"y": Y + 1}, ValueError, r"y: expected labels in 0\.\.2.* got 1\.\.3"),
    "negative label": ({"y": Y - 1}, ValueError, r"y: expected labels in 0\.\.2.* got -1\.\.1"),
    "epochs": ({"epochs": 0}, ValueError, "epochs: expected an integer of at least 1, got 0"),
    "epochs 1.5": ({"epochs": 1.5}, ValueError, "epochs: expected an integer .* got 1.5"),
    "epochs True": ({"epochs": True}, ValueError, "epochs: expected an integer .* got True"),
    "batch_size": ({"batch_size": 0}, ValueError, "batch_size: .* got 0"),
    "steps": ({"steps": 0}, ValueError, "steps: expected an integer of at least 1, got 0"),
    "lr 0": ({"lr": 0.0}, ValueError, "lr: expected a positive number, got 0.0"),
    "lr nan": ({"lr": float("nan")}, ValueError, "lr: expected a positive number, got nan"),
    "lr text": ({"lr": "0.1"}, ValueError, "lr: expected a positive number, got '0.1'"),
    "decay": ({"weight_decay": -1.0}, ValueError, "weight_decay: .* got -1.0"),
    "decay inf": ({"weight_decay": float("inf")}, ValueError, "weight_decay: .* got inf"),
    "no parameters": ({"model": nn.Identity()}, ValueError, "model: expected at least one train"),
    "vector loss": (
        {"loss": lambda o, t: (o - o).sum(1)},
        ValueError,
        r"loss: expected a scalar.* \(6,\)",
    ),
    "shorter batch": (
        {"transform": lambda b: b[:4]},
        ValueError,
        r"model: expected .* \(6, classes\), got \(4",
    ),
    "flat output": (
        {"model": nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))},
        ValueError,
        r"model: .* \(6,\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_fit_names_what_is_wrong_and_changes_nothing(case):
    changes, error, message = BAD[case]
    torch.manual_seed(0)
    arguments = {"model": nn.Linear(2, 3), "x": X, "y": Y, "epochs": 1} | changes
    model = arguments["model"]
    before = weights(model)
    with pytest.raises(error, match=message):
        fit(**arguments)
    assert same(before, weights(model)) and model.training


def test_an_output_that_would_broadcast_is_refused():
    x = torch.ones(4, 1)
    with pytest.raises(ValueError, match=r"shape of y, \(4,\), got \(4, 1\)"):
        fit(nn.Linear(1, 1), x, torch.ones(4), loss=mse_loss)


def test_a_loss_that_diverges_names_the_step():
    count = iter(range(100))

    def explode(output, target):
        value = cross_entropy(output, target)
        return value * float("nan") if next(count) == 4 else value

    with pytest.raises(FloatingPointError, match=r"loss is nan at step 4 of 10 \(lr=0.01\)"):
        fit(classifier(), *blobs(20), epochs=5, batch_size=10, loss=explode)


# Smoke runs and progress


def test_the_environment_caps_the_steps(monkeypatch):
    x, y = blobs()
    monkeypatch.setenv("GDL_MAX_STEPS", "2")
    assert len(fit(classifier(), x, y, epochs=50, batch_size=8).step_losses) == 2
    assert len(fit(classifier(), x, y, steps=1).step_losses) == 1
    monkeypatch.setenv("GDL_MAX_STEPS", "")
    assert len(fit(classifier(), x, y, steps=3).step_losses) == 3


@pytest.mark.parametrize("cap", ["0", "-1", "two", "1.5"])
def test_a_bad_cap_is_named(monkeypatch, cap):
    monkeypatch.setenv("GDL_MAX_STEPS", cap)
    with pytest.raises(ValueError, match=f"GDL_MAX_STEPS: .* got '{cap}'"):
        fit(classifier(), *blobs())


class Terminal:
    """A stderr that a person watches."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.fixture
def unwatched(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)


def test_no_output_when_nobody_watches(capfd, unwatched):
    fit(classifier(), *blobs(), epochs=2)
    assert capfd.readouterr() == ("", "")


def test_a_bar_for_a_person_is_wiped_at_the_end(monkeypatch, unwatched):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    fit(classifier(), *blobs(), epochs=2, progress=False)
    assert terminal.text == ""
    fit(classifier(), *blobs(), epochs=2)
    assert "0/4" in terminal.text and terminal.text.endswith("\r")
    assert terminal.text.split("\r")[-2].strip() == ""


def test_a_notebook_front_end_counts_as_watched(monkeypatch, unwatched):
    assert not training._is_watched()
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert training._is_watched()
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.setitem(sys.modules, "google.colab", training)
    assert training._is_watched()


def test_an_executed_notebook_stores_no_progress(unwatched, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    source = (
        "import torch\nfrom torch import nn\nfrom gdl.training import fit\n"
        "x = torch.rand(8, 2)\n"
        "print(len(fit(nn.Linear(2, 2), x, (x[:, 0] > 0.5).long(), epochs=3).step_losses))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert [dict(output) for output in notebook.cells[0].outputs] == [
        {"output_type": "stream", "name": "stdout", "text": "3\n"}
    ]


# Around fit


def test_predict_is_the_model_in_eval_mode_and_restores_every_mode():
    x, _ = blobs(50)
    model = classifier(dropout=0.5)
    model[1].eval()
    modes = [module.training for module in model.modules()]
    output = predict(model, x, batch_size=7)
    assert [module.training for module in model.modules()] == modes
    assert not output.requires_grad
    running = model[1].running_mean.clone()
    expected = model.eval()(x)
    assert torch.equal(model[1].running_mean, running)
    assert output.shape == (50, 3) and (output - expected).abs().max() < 1e-6


def test_predict_restores_the_modes_after_an_error():
    model = classifier()
    with pytest.raises(RuntimeError):
        predict(model, torch.ones(3, 5))
    assert model.training and model[1].training


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_accuracy_is_the_share_of_hits(batch_size):
    x = torch.eye(4)
    y = torch.tensor([0, 1, 2, 0])
    assert accuracy(nn.Identity(), x, y, batch_size) == 0.75


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (torch.eye(3), torch.tensor([0, 1]), ValueError, r"shapes \(3, 3\) and \(2,\)"),
        (torch.eye(3), torch.tensor([0.0, 1, 2]), TypeError, "y: expected int64 labels, got"),
        (torch.eye(3), torch.tensor([0, 1, 3]), ValueError, r"labels in 0\.\.2"),
        (torch.ones(3), torch.tensor([0, 0, 0]), ValueError, r"\(3, classes\), got \(3,\)"),
        (torch.ones(0, 3), torch.tensor([], dtype=torch.int64), ValueError, "at least one"),
    ],
)
def test_accuracy_names_what_is_wrong(x, y, error, message):
    with pytest.raises(error, match=message):
        accuracy(nn.Identity(), x, y)


def test_predict_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"x: expected at least one example, got shape \(0, 2\)"):
        predict(classifier(), torch.ones(0, 2))
    with pytest.raises(ValueError, match="batch_size: expected an integer of at least 1, got 0"):
        predict(classifier(), torch.ones(1, 2), 0)


def test_count_parameters_counts_shared_once_and_frozen_never():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.Sequential(first, second)
    assert count_parameters(model) == 9 + 3 + 3
    first.bias.requires_grad_(False)
    assert count_parameters(model) == 9 + 3


def test_pick_device_follows_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device().type == "cpu"


def test_shared_rooms_import_no_data_library():
    code = (
        "import sys, gdl.training, gdl.data, gdl.plot; "
        "sys.exit(bool({'sklearn', 'skimage', 'scipy', 'IPython'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
