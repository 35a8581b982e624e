"""One training loop for every chapter, and what goes with it: seeds, device, accuracy."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm


@dataclass
class History:
    """What :func:`fit` saw.

    Attributes:
        step_losses: the loss of every step, before the step.
        epoch_losses: their mean over each epoch; the last epoch may only have begun.

    Chapters: all of them.

    >>> History([3.0, 1.0], [2.0])
    History(epoch_losses=[2.0])
    """

    step_losses: list[float] = field(default_factory=list, repr=False)
    epoch_losses: list[float] = field(default_factory=list)


def fit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    epochs: int = 10,
    lr: float = 1e-2,
    batch_size: int = 64,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
    seed: int = 0,
    weight_decay: float = 0.0,
    device: torch.device | str | None = None,
    transform: Callable[[Tensor], Tensor] | None = None,
    progress: bool = True,
    steps: int | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 500,
) -> History:
    """Train ``model`` in place with Adam on shuffled batches and leave it in eval mode.

    The result depends on the model's weights, the data and the arguments, not on the state of any
    global generator, which is the same after the call as before. The batches depend on ``seed``
    alone, so two models, or one model with and without ``transform``, see the same ones.

    Args:
        model: maps a batch (B, ...) to (B, classes) for int64 labels, or to the shape of ``y``.
        x: inputs, (N, ...), finite.
        y: int64 labels (N,), or finite floating targets (N, ...) with a ``loss`` made for them.
        epochs: passes over the data; not used when ``steps`` is given.
        lr: Adam's learning rate, positive.
        batch_size: examples a step; the last batch of an epoch may be smaller.
        loss: maps (output, target) to a scalar tensor.
        seed: seeds the order of the examples, and dropout and ``transform`` during the call.
        weight_decay: Adam's L2 penalty.
        device: where to train; None stays where the model is.
        transform: augmentation, maps a batch (B, ...) to a batch; may draw from torch's default
            generator.
        progress: show a bar when a person is watching; nothing is shown in stored outputs.
        steps: number of optimisation steps; None means ``epochs`` passes. The environment
            variable ``GDL_MAX_STEPS`` caps it, for smoke runs.
        checkpoint: a file that keeps the training, to be resumed. Where it exists, an equal call
            goes on from it, or from its end if it asks for more steps. Data, rates, layers and
            trainable tensors are compared; ``loss``, ``transform`` and the weights at the start
            are not, and must be the same.
        checkpoint_every: steps between two writings of the file; it is also written at the end.

    Returns:
        The losses, of every step and of every epoch.

    Raises:
        ValueError: empty data, lengths that differ, a value that is not finite, a number out of
            range, a model without parameters, an output whose shape does not fit ``y``, a loss
            that is no scalar, a checkpoint that is damaged or of another training.
        TypeError: ``x`` or ``y`` is no tensor, ``y`` has a dtype that is neither, or ``checkpoint``
            is no path.
        FloatingPointError: the loss is not finite; names the step.

    Tested: equal calls give equal weights, bit for bit, also when one of them was interrupted and
    resumed; and one step is one step of Adam. Source:
    Kingma and Ba, Adam, ICLR 2015, algorithm 1. Used in every chapter that learns.

    Chapters: all of them.

    >>> x = torch.tensor([[-1.0], [1.0]])
    >>> history = fit(nn.Linear(1, 2), x, torch.tensor([0, 1]), epochs=3, lr=0.1)
    >>> len(history.step_losses), history.step_losses[-1] < history.step_losses[0]
    (3, True)
    """
    _check_data(x, y)
    _check_counts(epochs=epochs, batch_size=batch_size, checkpoint_every=checkpoint_every)
    _check_rates(lr, weight_decay)
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("model: expected at least one trainable parameter, got none")
    device = torch.device(device) if device is not None else parameters[0].device
    model.to(device)
    x, y = x.to(device), y.to(device)
    optimizer = torch.optim.Adam(parameters, lr=float(lr), weight_decay=float(weight_decay))
    per_epoch = math.ceil(len(x) / batch_size)
    total = _step_count(epochs * per_epoch if steps is None else steps)
    bar = tqdm(total=total, disable=not (progress and _is_watched()), leave=False)
    history = History()
    rates = {"lr": float(lr), "weight_decay": float(weight_decay)}
    identity = {"seed": seed, "batch_size": batch_size, **rates}
    identity |= _summary(model, x, y) if checkpoint is not None else {}
    kept = _Checkpoint(checkpoint, model, optimizer, history, identity)
    with bar, _seeded(seed), _mode(model, training=True):
        start = kept.restore(total)
        bar.update(start)
        batches = itertools.islice(_batches(len(x), batch_size, seed), start, total)
        for step, batch in enumerate(batches, start):
            inputs, targets = x[batch.to(device)], y[batch.to(device)]
            output = model(inputs if transform is None else transform(inputs))
            _check_output(output, targets, loss)
            value = loss(output, targets)
            if value.ndim:
                raise ValueError(f"loss: expected a scalar, got shape {tuple(value.shape)}")
            history.step_losses.append(value.item())
            if not math.isfinite(history.step_losses[-1]):
                raise FloatingPointError(
                    f"loss is {value.item()} at step {step} of {total} (lr={lr}): try a smaller lr"
                )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            bar.update()
            if (step + 1) % checkpoint_every == 0 or step + 1 == total:
                kept.store()
    model.eval()
    losses = history.step_losses
    epochs_begun = [losses[i : i + per_epoch] for i in range(0, total, per_epoch)]
    history.epoch_losses = [sum(part) / len(part) for part in epochs_begun]
    return history


def predict(model: nn.Module, x: Tensor, batch_size: int = 512) -> Tensor:
    """``model(x)`` in eval mode, without gradients, batch by batch; every mode is restored.

    Args:
        model: maps (B, ...) to (B, ...), each example by itself.
        x: inputs, (N, ...), on any device.
        batch_size: examples at a time; does not change the result beyond rounding.

    Returns:
        The outputs (N, ...), on the model's device.

    Raises:
        ValueError: no examples, or a batch size below 1.

    Tested: equal to ``model.eval()(x)``, and every mode is restored, after an error too.

    Chapters: ``rotations``, ``graphs``, ``geodesics`` and others.

    >>> predict(nn.Identity(), torch.tensor([[1.0], [2.0]]), batch_size=1).tolist()
    [[1.0], [2.0]]
    """
    if len(x) == 0:
        raise ValueError(f"x: expected at least one example, got shape {tuple(x.shape)}")
    _check_counts(batch_size=batch_size)
    device = next((p.device for p in model.parameters()), x.device)
    with torch.no_grad(), _mode(model, training=False):
        return torch.cat([model(part.to(device)) for part in x.split(batch_size)])


def accuracy(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 512) -> float:
    """The share of examples whose largest output is at the label, between 0 and 1.

    (1/N) sum_n [argmax_c model(x_n)_c = y_n].

    Args:
        model: maps (B, ...) to (B, classes).
        x: inputs, (N, ...).
        y: labels, (N,), int64.
        batch_size: examples at a time.

    Raises:
        ValueError: empty data, lengths that differ, a value that is not finite, a batch size below
            1, outputs that are not (N, classes), labels outside the classes.
        TypeError: ``x`` or ``y`` is no tensor, or ``y`` is not int64.

    Tested: the share does not depend on the batch size. Used in every chapter that learns.

    Chapters: ``high_dimensions``, ``symmetry``, ``one_equation`` and others.

    >>> accuracy(nn.Identity(), torch.eye(3), torch.tensor([0, 1, 1]))  # doctest: +ELLIPSIS
    0.666...
    """
    _check_data(x, y)
    if y.dtype != torch.int64:
        raise TypeError(f"y: expected int64 labels, got {y.dtype}")
    output = predict(model, x, batch_size)
    _check_output(output, y, cross_entropy)
    return (output.argmax(1) == y.to(output.device)).double().mean().item()


def count_parameters(model: nn.Module) -> int:
    """The number of trainable entries; a tensor shared by two layers counts once.

    Tested: shared tensors count once, frozen ones never. Used in every chapter that learns.

    Chapters: ``symmetry``, ``one_equation``, ``grids`` and others.

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def pick_device() -> torch.device:
    """The CUDA device where there is one, else the CPU.

    Apple's MPS is left out because it has no float64, in which the book states its identities.
    Tested: it follows ``torch.cuda.is_available``.

    Chapters: ``grids``, ``groups``, ``rotations`` and others.

    >>> pick_device().type in {"cpu", "cuda"}
    True
    """
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class _Checkpoint:
    """A training on disc: weights, optimiser, losses and the state of the generators."""

    def __init__(
        self,
        path: str | os.PathLike | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        history: History,
        identity: dict,
    ):
        if path is not None and not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"checkpoint: expected a path or None, got {path!r}")
        self.path = None if path is None else Path(path)
        self.model, self.optimizer, self.history = model, optimizer, history
        self.identity = identity

    def restore(self, total: int) -> int:
        """Go back to where the file ends; the number of steps that were made by then."""
        if self.path is None or not self.path.exists():
            return 0
        state = self._read()
        for name, value in self.identity.items():
            if state["identity"].get(name) != value:
                raise ValueError(
                    f"checkpoint: {self.path} belongs to another training, {name} was "
                    f"{state['identity'].get(name)}, is {value}; delete it to start again"
                )
        if len(state["losses"]) > total:
            raise ValueError(
                f"checkpoint: {self.path} has {len(state['losses'])} steps, expected at most "
                f"{total}; delete it to start again"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history.step_losses.extend(state["losses"])
        torch.set_rng_state(state["generators"][0])
        if torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["generators"][1:])
        return len(state["losses"])

    def store(self) -> None:
        """Write the file in one step, so that a crash leaves the old one or the new one."""
        if self.path is None:
            return
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        state = {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": self.history.step_losses,
            "generators": [torch.get_rng_state(), *cuda],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.part")
        content = io.BytesIO()
        torch.save(state, content)
        # torch.load takes flipped bits in a tensor for values, so the file begins with a checksum.
        part.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
        os.replace(part, self.path)

    def _read(self) -> dict:
        """The content of the file, on the CPU, refused before it is parsed if it is damaged."""
        if not self.path.is_file():
            raise ValueError(f"checkpoint: expected a file, got the folder {self.path}")
        stored = self.path.read_bytes()
        checksum, content = stored[:32], stored[32:]
        if hashlib.sha256(content).digest() != checksum:
            raise ValueError(
                f"checkpoint: {self.path} is damaged or no checkpoint; delete it to start again"
            )
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _summary(model: nn.Module, x: Tensor, y: Tensor) -> dict:
    """What tells one model and set of data from another."""
    digest = hashlib.sha256()
    for tensor in (x, y):
        entries = tensor.detach().cpu().contiguous().flatten()
        digest.update(entries.view(torch.uint8).numpy().tobytes())
    tensors = {n: t for n, t in model.state_dict().items() if isinstance(t, Tensor)}
    return {
        "layers": repr(model),
        "tensors": {name: f"{t.dtype} {list(t.shape)}" for name, t in tensors.items()},
        "trainable": [name for name, p in model.named_parameters() if p.requires_grad],
        "shape of x": list(x.shape),
        "shape of y": list(y.shape),
        "dtypes": [str(x.dtype), str(y.dtype)],
        "data": digest.hexdigest(),
    }


def _check_data(x: Tensor, y: Tensor) -> None:
    for name, value in (("x", x), ("y", y)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(value).__name__}")
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or len(x) == 0:
        raise ValueError(
            "x and y: expected equally many examples and at least one, "
            f"got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if y.dtype == torch.int64 and y.ndim != 1:
        raise ValueError(f"y: expected int64 labels of shape (N,), got {tuple(y.shape)}")
    if y.dtype != torch.int64 and not y.is_floating_point():
        raise TypeError(f"y: expected int64 labels or floating targets, got {y.dtype}")
    for name, value in (("x", x), ("y", y)):
        if not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise ValueError(f"{name}: expected finite values, got {bad} that are not")


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")


def _check_rates(lr: float, weight_decay: float) -> None:
    if not isinstance(lr, Real) or not math.isfinite(lr) or lr <= 0:
        raise ValueError(f"lr: expected a positive number, got {lr!r}")
    if not isinstance(weight_decay, Real) or not math.isfinite(weight_decay) or weight_decay < 0:
        raise ValueError(f"weight_decay: expected a number of at least 0, got {weight_decay!r}")


def _check_output(output: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Refuse shapes that torch would broadcast, and labels that crash a GPU beyond repair."""
    if y.is_floating_point():
        if output.shape != y.shape:
            raise ValueError(
                f"model: expected output of the shape of y, {tuple(y.shape)}, "
                f"got {tuple(output.shape)}"
            )
    elif loss is cross_entropy:
        if output.ndim != 2 or len(output) != len(y):
            raise ValueError(
                f"model: expected output of shape ({len(y)}, classes), got {tuple(output.shape)}"
            )
        if y.min() < 0 or y.max() >= output.shape[1]:
            raise ValueError(
                f"y: expected labels in 0..{output.shape[1] - 1}, the model's classes, "
                f"got {y.min().item()}..{y.max().item()}"
            )


def _step_count(steps: int) -> int:
    _check_counts(steps=steps)
    cap = os.environ.get("GDL_MAX_STEPS")
    if not cap:
        return steps
    if not cap.isdecimal() or int(cap) < 1:
        raise ValueError(f"GDL_MAX_STEPS: expected an integer of at least 1, got {cap!r}")
    return min(steps, int(cap))


def _batches(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Indices of one batch after another, a new order in each epoch, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(n, generator=generator).split(batch_size)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Dropout and transforms draw from the default generators; give them back as they were."""
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def _mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Put the model into train or eval mode and every module back into its own afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def _is_watched() -> bool:
    """True in a terminal and in a notebook front end, false when a program runs the notebook.

    Jupyter Server names the session in the environment of the kernels that a person opens;
    nbclient, nbconvert and nbval start theirs without it.
    """
    return sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ or "google.colab" in sys.modules
