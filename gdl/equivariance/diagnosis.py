r"""Why does a model fail the equivariance test: which layer, by how much, for which g, and why.

:func:`diagnose` walks a model in call order and sees leaf modules (forward hooks) as well as the
functional steps between them (``torch.relu(x)``, ``x + y``, ``F.pad``). Each step is tested twice:
*alone* on the inputs it received, ``|m(g.in) - g.m(in)| / |m(in)|``, and *accumulated*: what it
returned for ``g.x`` against ``g`` acting on what it returned for ``x``. A step that fails alone is
put through experiments that change one thing at a time (periodic border, stride one, no bias,
float64, eval mode, the inverse element); the change that removes the error is the cause.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode, resolve_name

from gdl.representations import Representation

Action = Callable[[Any, Tensor], Tensor]
AnyAction = Representation | Action

# For every cause: why it breaks the symmetry, and the remedy.
_CAUSES = {
    "train mode": (
        "in train mode the output of one sample depends on the rest of the batch or on chance",
        "call model.eval() before the test"),
    "randomness": (
        "two calls on the same input differ",
        "remove the noise, or pass training=self.training to functional dropout"),
    "precision": (
        "the error disappears in float64, so it is rounding",
        "test in float64, or choose a tolerance that fits the precision"),
    "interpolating action": (
        "g followed by its inverse does not bring the features back, so the action interpolates "
        "or crops (or inverse= is not the inverse)",
        "test with elements that map the grid onto itself"),
    "resampled grid": (
        "the output lives on a grid of another size, where a shift by g is a shift by g scaled; "
        "with that action the layer passes",
        "let the action scale g with the size of the map, or pass layer_actions"),
    "interpolation": (
        "the layer computes values between grid points, by a rule that does not move with g",
        "use nearest-neighbour upsampling by a whole factor, or expect an approximate symmetry"),
    "pooling": (
        "g does not map the pooling windows onto each other; with stride one it does",
        "use shifts by multiples of the stride, sizes with (n + 2p - K) mod s = 0 for rotations, "
        "or pool densely and blur before subsampling"),
    "stride": (
        "g does not map the sampled points onto each other; with stride one it does",
        "use shifts by multiples of the stride, sizes with (n + 2p - K) mod s = 0 for rotations"),
    "zero padding": (
        "the zeros around the border do not move with g; a periodic border does",
        "use padding_mode='circular', or compare the interior only"),
    "border": (
        "the border does not move with g; a periodic border does",
        "use padding_mode='circular', or compare the interior only"),
    "bias": (
        "it adds a constant that g does not leave fixed; without the constant it passes",
        "allow a bias on the invariant components only"),
    "wrong direction": (
        "it passes when g acts through its inverse, so it transforms the wrong way round",
        "replace g by its inverse where the layer moves its kernel or its fibre"),
    "nonlinearity": (
        "a pointwise nonlinearity commutes with permutations of the entries, and g mixes entries",
        "use norm or gated nonlinearities, or a permutation (regular) representation"),
    "flattening": (
        "positions become features, and g moves features that count as invariant",
        "pool over all positions first, or say in layer_actions how the vector transforms"),
    "constraint": (
        "the layer is affine and its weights do not satisfy rho_out(g) W = W rho_in(g)",
        "project the weights onto the equivariant basis, or share them along orbits"),
    "actions disagree": (
        "the layer passes alone, but its input does not transform by its declared input action",
        "make the output action of the layer before equal to the input action of this one"),
    "untested step": (
        "the error appears here, in a step that cannot be tested alone",
        "say in layer_actions how its input and its output transform"),
    "unexplained": (
        "the layer does not commute with g, and no single change removes the error",
        "look into the layer, or say in layer_actions how its features transform"),
}

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
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError)


@dataclass(frozen=True)
class StepReport:
    """One step of the walk, in call order.

    Attributes:
        layer: module name; a functional step is written ``name()``, a second call ``name#2``.
        kind: class of the module, or ``"function"``.
        status: ``"ok"``, ``"FAILS"``, ``"untested"`` (no action is known for its input or output),
            or ``"healed"`` (it fails alone, but what follows undoes it on every path, as a valid
            convolution does after circular padding).
        own_error: relative error alone, worst element; None when untested.
        accumulated_error: relative error since the input; None when it cannot be measured.
        worst_element: the first element with the largest error, for a step that fails because of g.
        cause: why it fails, a key of the table in this module; empty unless the status is FAILS.
    """

    layer: str
    kind: str
    status: str
    own_error: float | None
    accumulated_error: float | None
    worst_element: Any = None
    cause: str = ""

    @property
    def why(self) -> str:
        """The cause in a clause."""
        return _CAUSES[self.cause][0] if self.cause else ""

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _CAUSES[self.cause][1] if self.cause else ""


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`diagnose` found; ``str()`` gives a table and a closing sentence.

    Attributes:
        rows: one :class:`StepReport` for each step.
        output_error: relative error of the whole model, worst element (infinite when the action
            does not apply to the output).
        tolerance: the bound between passing and failing.
        notes: checks that could not be made, one sentence each.
    """

    rows: tuple[StepReport, ...]
    output_error: float
    tolerance: float
    notes: tuple[str, ...] = ()

    @property
    def first_failure(self) -> StepReport | None:
        """The first step that fails, whether the model or the test is at fault."""
        return next((row for row in self.rows if row.status == "FAILS"), None)

    @property
    def test_at_fault(self) -> bool:
        """True when the first failure comes from the action and not from the model."""
        return self.first_failure is not None and self.first_failure.cause == "interpolating action"

    @property
    def culprit(self) -> StepReport | None:
        """The first layer of the model that breaks the symmetry, or None."""
        return None if self.test_at_fault else self.first_failure

    @property
    def ok(self) -> bool:
        """True when no step fails and the output commutes with every element."""
        return self.first_failure is None and self.output_error <= self.tolerance

    def to_text(self, digits: bool = True) -> str:
        """Table and closing sentence; ``digits=False`` leaves out the measured errors."""
        table = [["layer", "kind", "own error", "accumulated", "status", "worst g", "cause"]]
        table += [[row.layer, row.kind, _format(row.own_error), _format(row.accumulated_error),
                   row.status, _show(row.worst_element), row.cause] for row in self.rows]
        if not digits:
            table = [line[:2] + line[4:] for line in table]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in table]
        return "\n".join([*lines, *self.notes, self._sentence()])

    def _sentence(self) -> str:
        first = self.first_failure
        if self.ok:
            return "The model commutes with every element tested."
        if first is None:
            return "The output does not commute with g, and no step explains it: see out_action."
        if self.test_at_fault:
            return f"The test, not the model, is at fault: {first.why}; {first.remedy}."
        g = "" if first.worst_element is None else f" for g = {_show(first.worst_element)}"
        return f"{first.layer} fails first{g} ({first.cause}): {first.why}; {first.remedy}."

    def __str__(self) -> str:
        return self.to_text()


def _format(error: float | None) -> str:
    return "-" if error is None else f"{error:.1e}"


def _show(g: Any) -> str:
    text = "-" if g is None else str(g)
    return text if len(text) <= 24 and "\n" not in text else type(g).__name__


# Tensors in nested arguments.


def _map(function: Callable[[Tensor], Any], tree: Any) -> Any:
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, (tuple, list)):
        mapped = [_map(function, item) for item in tree]
        return mapped if isinstance(tree, list) else tuple(mapped)
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    return tree


def _tensors(tree: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _map(found.append, tree)
    return found


def _is_field(t: Tensor) -> bool:
    return t.is_floating_point() or t.is_complex()


def _double(t: Tensor) -> Tensor:
    return t.double() if t.is_floating_point() else t.cdouble() if t.is_complex() else t


def _relative(a: Tensor, b: Tensor, scale: Tensor) -> float:
    """|a - b| / |scale|, infinite when the shapes differ; equal infinities (masks) cancel."""
    if a.shape != b.shape:
        return math.inf
    a, b, scale = _double(a), _double(b), _double(scale)
    gap = torch.where(a == b, 0, a - b).norm().item()
    size = scale[scale.isfinite()].norm().item()
    error = gap / size if size > 0 else gap
    return error if math.isfinite(error) else math.inf


def _act(action: Action | None, g: Any, t: Tensor) -> Tensor | None:
    """g acting on t, or None when the action is unknown or does not apply to this shape."""
    try:
        return None if action is None else action(g, t.clone())
    except _REFUSALS:
        return None


def _compare(base: list[Tensor], moved: list[Tensor], actions: list, g: Any) -> float | None:
    """Largest relative error of `moved` against g acting on `base`; None when g cannot act."""
    if len(base) != len(moved):
        return math.inf
    errors = []
    for before, after, action in zip(base, moved, actions, strict=True):
        if _is_field(before):
            expected = _act(action, g, before)
            if expected is None:
                return None
            errors.append(_relative(after, expected, before))
    return max(errors, default=None)


# The walk.


@dataclass
class _Step:
    """One recorded call: enough to make it again on other data."""

    label: str
    name: str | None
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sources: list[tuple[int, int] | None]
    outputs: list[Tensor] = field(default_factory=list)

    def inputs(self) -> list[Tensor]:
        """The tensor arguments that depend on x; the others are constants of the step."""
        arguments = _tensors((self.args, self.kwargs))
        return [t for t, source in zip(arguments, self.sources, strict=True) if source is not None]

    def producers(self) -> list[tuple[int, int]]:
        """(step, slot) that made each input; step -1 is x itself."""
        return [source for source in self.sources if source is not None]


class _Recorder(TorchFunctionMode):
    """Records leaf modules, and the functional steps outside of them."""

    def __init__(self, model: nn.Module, opaque: Iterable[str]) -> None:
        super().__init__()
        self.steps: list[_Step] = []
        self.origin: dict[int, tuple[int, int]] = {}
        self._alive: list[Any] = []
        self._open: list[_Step | None] = []
        self._handles = []
        for name, module in model.named_modules():
            label = name or "(model)"
            # A root of one's own is walked even without children, or one row would be all.
            foreign = bool(name) or type(module).__module__.startswith("torch.")
            if label in opaque or (foreign and _is_leaf(module)):
                self._hook(label, module)

    def run(self, model: nn.Module, x: Tensor) -> Any:
        self._alive.append(x)
        self.origin[id(x)] = (-1, 0)
        try:
            with self:
                return model(x)
        finally:
            for handle in self._handles:
                handle.remove()

    def _hook(self, name: str, module: nn.Module) -> None:
        def enter(module: nn.Module, args: tuple, kwargs: dict) -> None:
            self._open.append(None)
            if len(self._open) == 1:
                self._open[0] = self._begin(name, name, module, args, kwargs)

        def leave(module: nn.Module, args: tuple, output: Any) -> None:
            if len(self._open) == 1 and self._open[0].producers():
                self._finish(self._open[0], output)
            self._open.pop()

        self._handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        self._handles.append(module.register_forward_hook(leave))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self._open or not any(id(t) in self.origin for t in _tensors((args, kwargs))):
            return func(*args, **kwargs)
        path = (resolve_name(func) or func.__name__).removesuffix(".__get__")
        label = path.rsplit(".", 1)[-1].strip("_") + "()"
        # An assignment y[i] = z returns nothing; its result is the tensor it wrote into.
        assigns = func is Tensor.__setitem__
        call = _assignment if assigns else func
        step = self._begin(label, None, call, args, kwargs)
        output = func(*args, **kwargs)
        self._finish(step, args[0] if assigns else output)
        return output

    def _begin(self, label, name, call, args, kwargs) -> _Step:
        sources = [self.origin.get(id(t)) for t in _tensors((args, kwargs))]
        return _Step(label, name, call, *_map(torch.clone, (args, kwargs)), sources)

    def _finish(self, step: _Step, result: Any) -> None:
        outputs = _tensors(result)
        if not outputs:
            return
        calls = sum(s.label.split("#")[0] == step.label for s in self.steps)
        step.label += f"#{calls + 1}" if calls else ""
        # Tensors are known by their id, so they must live as long as the walk.
        self._alive.append(result)
        for slot, t in enumerate(outputs):
            self.origin[id(t)] = (len(self.steps), slot)
            step.outputs.append(t.clone())
        self.steps.append(step)


def _assignment(target: Tensor, index: Any, value: Any) -> Tensor:
    target[index] = value
    return target


def _is_leaf(module: nn.Module) -> bool:
    childless = next(module.children(), None) is None
    return childless or is_parametrized(module) or isinstance(module, nn.MultiheadAttention)


def _walk(model: nn.Module, x: Tensor, opaque: Iterable[str]):
    """Steps, output, and the (step, slot) that made the output (None when it was not seen)."""
    torch.manual_seed(0)
    recorder = _Recorder(model, opaque)
    y = recorder.run(model, x.clone())
    if not isinstance(y, Tensor):
        raise TypeError(f"model: expected to return one tensor, got {type(y).__name__}")
    return recorder.steps, y, recorder.origin.get(id(y))


# Experiments: run a step with one thing changed.


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


# The diagnosis.


def _invariant(g: Any, t: Tensor) -> Tensor:
    return t


def _assign(steps, x, action, layer_actions, out_action, final):
    """The actions on the inputs and the outputs of every step."""
    made: dict[tuple[int, int], Action | None] = {(-1, 0): action}
    ins, outs = [], []
    for i, step in enumerate(steps):
        carried = [made[source] for source in step.producers()]
        pair = layer_actions.get(step.label, layer_actions.get(step.label.split("#")[0]))
        for slot, out in enumerate(step.outputs):
            if pair:
                made[i, slot] = pair[1]
            elif (i, slot) == final and out_action is not None:
                made[i, slot] = out_action
            else:
                made[i, slot] = _inherited(out, step.inputs(), carried, x.ndim, action)
        ins.append([pair[0]] * len(carried) if pair else carried)
        outs.append([made[i, slot] for slot in range(len(step.outputs))])
    return ins, outs, made


def _inherited(out, inputs, carried, ndim, action) -> Action | None:
    """The action of the input of the same shape, else of the same ndim, else the default."""
    known = [(t, act) for t, act in zip(inputs, carried, strict=True) if act is not None]
    alike = [act for t, act in known if t.shape == out.shape]
    alike += [act for t, act in known if t.ndim == out.ndim]
    if alike:
        return alike[0]
    return action if out.ndim == ndim else _invariant if out.ndim < ndim else None


def _accumulated(model, x, walk, opaque, action, outs, last, elements):
    """For every step, and for the output, the error since the input for every element."""
    steps, y, _ = walk
    columns: list[list[float | None]] = [[] for _ in steps]
    output = []
    for g in elements:
        try:
            moved, y_moved, _ = _walk(model, action(g, x), opaque)
        except RuntimeError as error:
            raise ValueError(f"model: it runs on x but not on g.x for g = {g}: {error}") from error
        alike = [step.label for step in moved] == [step.label for step in steps]
        output.append(_compare([y], [y_moved], [last], g))
        for i, column in enumerate(columns):
            error = _compare(steps[i].outputs, moved[i].outputs, outs[i], g) if alike else None
            column.append(error)
    return [None if None in column else column for column in columns], output


def _worst_element(errors: list[float], elements: list[Any]) -> Any:
    """The first of the elements that share the largest error up to rounding."""
    largest = max(errors)
    pairs = zip(elements, errors, strict=True)
    return next(g for g, error in pairs if error == largest or error >= 0.999 * largest)


def _healed(steps, accumulated, final, tolerance) -> list[bool]:
    """Whether the error since the input is gone at this step, or later on every path from it."""
    gone = [errors is not None and max(errors) <= tolerance for errors in accumulated]
    for i in reversed(range(len(steps))):
        after = [j for j in range(i + 1, len(steps))
                 if any(source == i for source, _ in steps[j].producers())]
        is_output = final is not None and i == final[0]
        gone[i] = gone[i] or (not is_output and all(gone[j] for j in after))
    return gone


def _starts(steps, accumulated, tolerance) -> list[bool]:
    """Whether the accumulated error passes the tolerance at this step and not before."""
    broken: list[bool] = []
    starts = []
    for step, errors in zip(steps, accumulated, strict=True):
        before = any(broken[source] for source, _ in step.producers() if source >= 0)
        broken.append(before if errors is None else max(errors) > tolerance)
        starts.append(broken[-1] and not before)
    return starts


def _stopped(trial: _Trial) -> list[Any]:
    """The elements that act on the inputs of the step but not on its outputs."""

    def acts(g: Any, actions: list[Action | None], tensors: list[Tensor]) -> bool:
        pairs = zip(actions, tensors, strict=True)
        return all(a is None or _act(a, g, t) is not None for a, t in pairs)

    step = trial.step
    return [g for g in trial.elements
            if acts(g, trial.ins, step.inputs()) and not acts(g, trial.outs, step.outputs)]


def _function(action: Any) -> Any:
    return action.act if isinstance(action, Representation) else action


def _known_inverse(g: Any) -> Any:
    """g^-1 where its type says how, else None."""
    if isinstance(g, Tensor):
        square = g.ndim == 2 and g.shape[0] == g.shape[1] and g.is_floating_point()
        return g.inverse() if square else None
    if hasattr(g, "inverse"):
        return g.inverse()
    if isinstance(g, (int, float)):
        return -g
    return tuple(-part for part in g) if _is_shift(g) else None


def _is_shift(g: Any) -> bool:
    return all(isinstance(part, int) for part in (g if isinstance(g, tuple) else (g,)))


def _working_inverse(inverse, action, elements, x, tolerance):
    """The inverse to use, or None. One that permutes x but does not bring it back is wrong."""
    find = inverse or _known_inverse
    for g in elements:
        back = find(g)
        restored = None if back is None else _act(action, back, action(g, x))
        if restored is None:
            return None
        exact = abs(_double(restored).norm() / _double(x).norm() - 1) < 1e-5
        if exact and _relative(restored, x, x) > max(tolerance, 1e-5):
            if inverse is None:
                return None
            raise ValueError(f"inverse: action(inverse(g), action(g, x)) is not x for g = {g}")
    return find


def _check_model(model, x, tolerance) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a torch module, got {type(model).__name__}")
    if not isinstance(x, Tensor):
        raise TypeError(f"x: expected a tensor, got {type(x).__name__}")
    if not _is_field(x):
        raise TypeError(f"x: expected floating point or complex values, got {x.dtype}")
    if x.ndim == 0 or x.numel() == 0:
        raise ValueError(f"x: expected a batch that is not empty, got shape {tuple(x.shape)}")
    if not torch.isfinite(x).all():
        raise ValueError("x: expected finite values, got NaN or infinity")
    if not tolerance > 0:
        raise ValueError(f"tolerance: expected a positive number, got {tolerance}")


def _check_action(action, x, elements) -> None:
    if not callable(action):
        raise TypeError(f"action: expected (g, x) -> g x, got {type(action).__name__}")
    if not elements:
        raise ValueError("elements: expected at least one group element, got none")
    moved = []
    for g in elements:
        try:
            moved.append(action(g, x.clone()))
        except _REFUSALS as error:
            raise ValueError(f"action: it does not apply to x for g = {g}: {error}") from error
        if not isinstance(moved[-1], Tensor):
            got = type(moved[-1]).__name__
            raise TypeError(f"action: expected to return a tensor, got {got} for g = {g}")
    if all(torch.equal(t, x) for t in moved):
        raise ValueError("elements: every element leaves x fixed, so no layer could fail")


def _pairs(layer_actions) -> dict[str, tuple[Action, Action]]:
    for label, pair in layer_actions.items():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(callable, pair)):
            raise ValueError(f"layer_actions: expected two actions for {label!r}, got {pair}")
    return {label: (_function(a), _function(b)) for label, (a, b) in layer_actions.items()}


def _check_labels(labels, steps) -> None:
    known = {step.label for step in steps} | {step.label.split("#")[0] for step in steps}
    for label in labels:
        if label not in known:
            raise ValueError(f"layer_actions: no step {label!r}, expected one of {sorted(known)}")


def diagnose(
    model: nn.Module,
    x: Tensor,
    action: AnyAction,
    *,
    elements: Iterable[Any],
    inverse: Callable[[Any], Any] | None = None,
    out_action: AnyAction | None = None,
    layer_actions: Mapping[str, tuple[AnyAction, AnyAction]] | None = None,
    tolerance: float = 1e-6,
) -> Diagnosis:
    r"""Which layer breaks the symmetry, by how much, for which element, why, and what to do.

        own error = max_g |m(g.in) - g.m(in)| / |m(in)|

    Features transform as follows unless told otherwise: the output of a step carries the action of
    its input of the same shape, else of the same ndim; otherwise a tensor with the ndim of x
    carries ``action``, one of smaller ndim (after pooling or flattening) is invariant, and one of
    larger ndim is not tested.

    Args:
        model: any module that maps one tensor to one tensor; it is copied and left as it was.
        x: a batch without symmetry of its own, samples on axis 0.
        action: ``(g, x) -> g x``, or a Representation (on the last axis). An action that raises
            does not apply to a map of that shape, and may look at the shape to scale a shift.
        elements: what the action takes as g; products and inverses, not only generators.
        inverse: ``g -> g^-1``. By default ``g.inverse()`` where it exists, and the negative of a
            number or of a tuple of integers (shifts, quarter turns).
        out_action: how the output of the model transforms.
        layer_actions: ``{layer: (action_in, action_out)}`` for layers that change how features
            transform (lifting, vectors); names as in the table, a block counts as one layer.
        tolerance: errors above it are failures.

    Raises:
        TypeError: model, x, action or the returned value has the wrong type.
        ValueError: x is empty or not finite, no elements, an unknown layer, every element fixes
            x, an action that does not apply to x, a wrong inverse.

    Law tested: on planted faults it names the layer and the cause, on an equivariant model it
    reports nothing, and the model is bit for bit the same afterwards. Chapter: ``one_equation``.

    >>> conv = nn.Conv1d(1, 2, 3, padding=1)
    >>> def shift(g, x): return x.roll(g, -1)
    >>> report = diagnose(conv, torch.randn(2, 1, 8), shift, elements=[1, 3])
    >>> report.culprit.cause
    'zero padding'
    """
    _check_model(model, x, tolerance)
    action, out_action, elements = _function(action), _function(out_action), list(elements)
    layer_actions = _pairs(layer_actions or {})
    opaque = {label.split("#")[0] for label in layer_actions}
    with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
        _check_action(action, x, elements)
        inverse = _working_inverse(inverse, action, elements, x, tolerance)
        copied = copy.deepcopy(model)
        walk = steps, y, final = _walk(copied, x, opaque)
        _check_labels(layer_actions, steps)
        ins, outs, made = _assign(steps, x, action, layer_actions, out_action, final)
        last = out_action or made.get(final, _inherited(y, [], [], x.ndim, action))
        measure = (opaque, action, outs, last, elements)
        accumulated, output = _accumulated(copied, x, walk, *measure)
        trials = [
            _Trial(step, step.call, _module(model, step.name), *acts, elements, tolerance)
            for step, *acts in zip(steps, ins, outs, strict=True)
        ]

        def is_rounding(i: int) -> bool:
            exact = copy.deepcopy(model).double()
            walk = _walk(exact, _double(x), opaque)
            errors = _accumulated(exact, _double(x), walk, *measure)[0][i]
            return max(errors) < 1e-5 * max(accumulated[i])

        healed = _healed(steps, accumulated, final, tolerance)
        starts = _starts(steps, accumulated, tolerance)
        rows = tuple(
            _report(trial, accumulated[i], healed[i], starts[i], action, inverse,
                    lambda i=i: is_rounding(i))
            for i, trial in enumerate(trials)
        )
    notes = []
    if inverse is None:
        notes.append("No inverse is known: wrong directions and interpolating actions go unseen.")
    if final is None:
        notes.append("The output was not made by these steps: the model leaves torch somewhere.")
    output_error = math.inf if None in output else max(output)
    return Diagnosis(rows, output_error, tolerance, tuple(notes))


def _module(model: nn.Module, name: str | None) -> nn.Module | None:
    return None if name is None else model.get_submodule(name.removeprefix("(model)"))


def _report(trial, accumulated, healed, starts, action, inverse, is_rounding) -> StepReport:
    """Judge one step: which cause, if any, and for which element."""
    errors, train = trial.errors(), _train_error(trial)
    own = None if errors is None else max(errors)
    cause, g, status = "", None, "ok" if errors else "untested"
    if train > trial.tolerance:
        cause, own = "train mode", max(train, own or 0.0)
    elif healed and own is not None and own > trial.tolerance:
        status = "healed"
    elif own is not None and own > trial.tolerance:
        cause = _explain(trial, action, inverse)
        g = _worst_element(errors, trial.elements)
    elif own is None and "stride" in trial.kinds() and _stopped(trial):
        cause = "pooling" if "pooling" in trial.kinds() else "stride"
        g = _stopped(trial)[0]
    elif starts and not healed:
        g = _worst_element(accumulated, trial.elements)
        cause = "untested step" if own is None else \
            "precision" if _holds(is_rounding) else "actions disagree"
    worst = None if accumulated is None else max(accumulated)
    name = trial.step.name
    kind = "function" if name is None else type(trial.step.call).__name__
    return StepReport(trial.step.label, kind, "FAILS" if cause else status, own, worst, g, cause)
