"""Experiments that run a step with one thing changed, and the cause they point to."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gdl.equivariance.diagnosis.walk import (
    _REFUSALS,
    Action,
    _act,
    _compare,
    _double,
    _is_field,
    _map,
    _relative,
    _Step,
    _tensors,
)

_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_POOL = ("input", "kernel_size", "stride", "padding")
_AVG_POOL = _POOL + ("ceil_mode", "count_include_pad", "divisor_override")
_ARGUMENTS = {
    **{f"conv{d}d": _CONV for d in (1, 2, 3)},
    **{f"max_pool{d}d": _POOL + ("dilation", "ceil_mode", "return_indices") for d in (1, 2, 3)},
    **{f"avg_pool{d}d": _AVG_POOL for d in (1, 2, 3)},
    "pad": ("input", "pad", "mode", "value"),
    "linear": ("input", "weight", "bias"),
}
_ADDITIONS = {"add", "radd", "iadd", "sub", "rsub", "isub"}


class _Rewrite(TorchFunctionMode):
    """Changes the windows, borders or biases of the calls made inside, and notes their kinds."""

    def __init__(self, *, dense=False, periodic=False, nearest=False, no_bias=False) -> None:
        super().__init__()
        self.dense, self.periodic, self.nearest, self.no_bias = dense, periodic, nearest, no_bias
        self.seen: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name, names = func.__name__, _ARGUMENTS.get(func.__name__, ())
        call = dict(zip(names, args, strict=False)) | (kwargs or {})
        if name.startswith(("conv", "max_pool", "avg_pool")) and names:
            self._window(name, call)
        elif name == "pad":
            zeros = call.get("mode", "constant") == "constant"
            self.seen |= {"pad", "zero padding"} if zeros else {"pad"}
            if self.periodic:
                return _wrap(call["input"], call["pad"])
        elif name in ("interpolate", "grid_sample"):
            self.seen.add("interpolation")
            if self.nearest:
                call |= {"mode": "nearest", "align_corners": None}
        if self.no_bias and "bias" in call:
            call["bias"] = None
        return func(*args[len(names):], **call)

    def _window(self, name: str, call: dict[str, Any]) -> None:
        d = int(name[-2])
        conv = name.startswith("conv")
        kernel = tuple(call["weight"].shape[2:]) if conv else _spread(call["kernel_size"], d)
        stride = _spread(call.get("stride") or (1 if conv else kernel), d)
        padding = call.get("padding", 0)
        padded = padding == "same" or padding != "valid" and any(_spread(padding, d))
        self.seen |= {"window"} if conv else {"window", "pooling"}
        self.seen |= {"zero padding"} if padded and not name.startswith("max") else set()
        self.seen |= {"stride"} if max(stride) > 1 else set()
        call["stride"] = (1,) * d if self.dense else stride
        # A window without padding that follows an explicit pad has its border already.
        if self.periodic and (padded or "pad" not in self.seen):
            dilation = _spread(call.get("dilation", 1), d)
            reach = [b * (k - 1) for k, b in zip(kernel, dilation, strict=True)]
            pads = [amount for r in reversed(reach) for amount in (r // 2, r - r // 2)]
            call |= {"padding": 0, "input": _wrap(call["input"], pads)}


def _spread(value: int | tuple[int, ...], d: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * d if len(values) == 1 else values


def _wrap(x: Tensor, pads: Iterable[int]) -> Tensor:
    """Periodic padding; `pads` as in F.pad: last axis first, before and after."""
    pads = list(pads)
    for axis, (before, after) in enumerate(zip(pads[::2], pads[1::2], strict=True), start=1):
        n = x.shape[-axis]
        x = x.index_select(-axis, torch.arange(-before, n + after, device=x.device) % n)
    return x


def _same(t: Tensor) -> Tensor:
    return t


@dataclass(frozen=True)
class _Trial:
    """A step with the actions on its inputs and outputs, ready to be tested and varied."""

    step: _Step
    call: Callable[..., Any]
    original: nn.Module | None
    ins: list[Action | None]
    outs: list[Action | None]
    elements: list[Any]
    tolerance: float
    cast: Callable[[Tensor], Tensor] = _same
    constant: Callable[[Tensor], Tensor] = _same

    @property
    def training(self) -> bool:
        return self.original is not None and any(m.training for m in self.original.modules())

    @property
    def has_weights(self) -> bool:
        return None in self.step.sources or bool(self.original and self.original.state_dict())

    def data(self) -> list[Tensor]:
        return [self.cast(t) for t in self.step.inputs()]

    def run(self, data: list[Tensor]) -> list[Tensor]:
        """Make the call again with other data in the place of its inputs."""
        supply, sources = iter(data), iter(self.step.sources)

        def place(t: Tensor) -> Tensor:
            return (self.constant(t) if next(sources) is None else next(supply)).clone()

        args, kwargs = _map(place, (self.step.args, self.step.kwargs))
        return _tensors(self.call(*args, **kwargs))

    def errors(self) -> list[float] | None:
        """Relative error for each element; None when an action or the step does not apply."""
        errors = []
        try:
            base = self.run(self.data())
            for g in self.elements:
                pairs = zip(self.ins, self.data(), strict=True)
                moved = [_act(action, g, t) for action, t in pairs]
                if any(t is None for t in moved):
                    return None
                errors.append(_compare(base, self.run(moved), self.outs, g))
        except _REFUSALS:
            return None
        return None if None in errors else errors

    def passes(self) -> bool:
        errors = self.errors()
        return errors is not None and max(errors) <= self.tolerance

    def twin(self, change: Callable[[nn.Module], Any]) -> _Trial:
        """The trial on a changed copy of the module; a function has nothing to change."""
        if self.original is None:
            return self
        module = copy.deepcopy(self.original)
        change(module)
        return replace(self, call=module)

    def under(self, **change: bool) -> _Trial:
        def call(*args: Any, **kwargs: Any) -> Any:
            with _Rewrite(**change):
                return self.call(*args, **kwargs)

        return replace(self, call=call)

    def kinds(self) -> set[str]:
        """Which kinds of calls the step makes."""
        with _Rewrite() as probe:
            self.run(self.data())
        return probe.seen


def _exact(trial: _Trial) -> _Trial:
    """The trial in float64, or as it is when the step cannot run there."""
    exact = replace(trial.twin(nn.Module.double), cast=_double, constant=_double)
    return trial if exact.errors() is None else exact


def _explain(trial: _Trial, action: Action, inverse: Callable[[Any], Any] | None) -> str:
    """The first cause whose experiment removes the error."""
    exact = _exact(trial)
    kinds = trial.kinds()

    def passes(**change: bool) -> bool:
        return exact.under(**change).passes()

    def stride() -> bool:
        apart = passes(dense=True)
        return apart or (not passes(periodic=True) and passes(dense=True, periodic=True))

    experiments = {
        "train mode": lambda: trial.training and trial.twin(nn.Module.eval).passes(),
        "randomness": lambda: _is_random(trial),
        "precision": lambda: max(exact.errors()) < 1e-5 * max(trial.errors()),
        "interpolating action": lambda: inverse is not None and _loses(exact, inverse),
        "resampled grid": lambda: _passes_scaled(exact),
        "interpolation": lambda: "interpolation" in kinds
        and (not trial.has_weights or passes(nearest=True)),
        "pooling": lambda: {"stride", "pooling"} <= kinds and stride(),
        "stride": lambda: "stride" in kinds and stride(),
        "zero padding": lambda: "zero padding" in kinds
        and ("window" not in kinds or passes(periodic=True)),
        "border": lambda: kinds & {"window", "pad"} and passes(periodic=True),
        "bias": lambda: _passes_without_bias(exact),
        "wrong direction": lambda: inverse is not None and _passes_reversed(exact, action, inverse),
        "nonlinearity": lambda: _is_pointwise(exact),
        "flattening": lambda: _is_reshape(exact),
        "constraint": lambda: trial.has_weights and _is_affine(exact),
        "unexplained": lambda: True,
    }
    return next(cause for cause, experiment in experiments.items() if _holds(experiment))


def _holds(experiment: Callable[[], Any]) -> bool:
    """Whether it succeeds; an experiment that the step cannot run (integer input) does not."""
    try:
        return bool(experiment())
    except _REFUSALS:
        return False


def _is_random(trial: _Trial) -> bool:
    first, second = trial.run(trial.data()), trial.run(trial.data())
    return any(_relative(a, b, b) > 0 for a, b in zip(first, second, strict=True))


def _loses(trial: _Trial, inverse: Callable[[Any], Any]) -> bool:
    data = trial.data()
    fields = list(zip(trial.ins + trial.outs, data + trial.run(data), strict=True))
    return any(
        _undo_error(action, g, inverse, t) > max(trial.tolerance, 1e-6)
        for g in trial.elements for action, t in fields if _is_field(t)
    )


def _undo_error(action: Action, g: Any, inverse: Callable[[Any], Any], t: Tensor) -> float:
    return _relative(action(inverse(g), action(g, t)), t, t)


def _is_shift(g: Any) -> bool:
    return all(isinstance(part, int) for part in (g if isinstance(g, tuple) else (g,)))


def _passes_scaled(trial: _Trial) -> bool:
    """The grid was resized from n to m, and g on it is g m / n: a shift by 2 becomes one by 1."""
    n, m = trial.data()[0].shape[-1:], trial.run(trial.data())[0].shape[-1:]
    if not n or not m or n == m or not all(_is_shift(g) for g in trial.elements):
        return False
    if any(part * m[0] % n[0] for g in trial.elements for part in _spread(g, 1)):
        return False

    def scale(g: Any) -> Any:
        return g * m[0] // n[0] if isinstance(g, int) else tuple(p * m[0] // n[0] for p in g)

    def scaled(action: Action) -> Action:
        return lambda g, t: action(scale(g), t)

    return replace(trial, outs=[scaled(action) for action in trial.outs]).passes()


def _passes_without_bias(trial: _Trial) -> bool:
    def zero(module: nn.Module) -> None:
        for name, parameter in module.named_parameters():
            if "bias" in name:
                parameter.zero_()

    if trial.step.label.split("()")[0] in _ADDITIONS:
        return replace(trial, constant=torch.zeros_like).passes()
    if trial.original is None:
        return trial.under(no_bias=True).passes()
    return replace(trial, original=trial.call).twin(zero).passes()


def _passes_reversed(trial: _Trial, action: Action, inverse: Callable[[Any], Any]) -> bool:
    """g acts through its inverse on the input or output: on everything, or on the fibre only."""

    def all_of(act: Action) -> Action:
        return lambda g, t: act(inverse(g), t)

    # The inverse turns positions back too; the plain action, twice, returns them to g.
    def fibre_of(act: Action) -> Action:
        return lambda g, t: action(g, action(g, act(inverse(g), t)))

    ways = (_same, fibre_of, all_of)
    return any(
        replace(trial, ins=list(map(a, trial.ins)), outs=list(map(b, trial.outs))).passes()
        for a in ways for b in ways if a is not b
    )


def _is_pointwise(trial: _Trial) -> bool:
    """Shuffling all entries of the input shuffles the entries of the output."""
    data, base = trial.data(), trial.run(trial.data())
    if len(data) != 1 or len(base) != 1 or data[0].shape != base[0].shape:
        return False
    order = torch.randperm(data[0].numel(), device=data[0].device)

    def shuffle(t: Tensor) -> Tensor:
        return t.flatten()[order].view_as(t)

    return _relative(trial.run([shuffle(data[0])])[0], shuffle(base[0]), base[0]) < 1e-5


def _is_reshape(trial: _Trial) -> bool:
    before, after = trial.data()[0], trial.run(trial.data())[0]
    return before.ndim != after.ndim and torch.equal(before.flatten(), after.flatten())


def _is_affine(trial: _Trial) -> bool:
    """f(a) + f(b) = f(a + b) + f(0)."""
    a = trial.data()
    b = [0.5 * t.flip(0) + 1 for t in a]
    both, none = [s + t for s, t in zip(a, b, strict=True)], [torch.zeros_like(t) for t in a]
    fa, fb, fab, f0 = (trial.run(data)[0] for data in (a, b, both, none))
    return _relative(fa + fb, fab + f0, fab) < 1e-5


def _batch_error(trial: _Trial) -> float:
    """How much the output for a batch changes when other samples join it."""
    data = trial.data()
    if len(data) != 1:
        return 0.0
    try:
        alone = trial.run(data)[0]
        together = trial.run([torch.cat([data[0], 2 * data[0] + 1])])[0]
        return _relative(together[: len(alone)], alone, alone)
    except _REFUSALS:
        return 0.0


def _train_error(trial: _Trial) -> float:
    """The dependence on the rest of the batch, or on chance, that eval mode removes."""
    if not trial.training or _batch_error(trial.twin(nn.Module.eval)) > trial.tolerance:
        return 0.0
    return _batch_error(trial)
