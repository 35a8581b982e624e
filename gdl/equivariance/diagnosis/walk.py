"""The walk through a model: recorded steps, and the error of their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode, resolve_name

from gdl.representations import Representation

Action = Callable[[Any, Tensor], Tensor]
AnyAction = Representation | Action

_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError)


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
