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
from typing import Any

import torch
from torch import Tensor, nn

from gdl.equivariance.diagnosis.experiments import _explain, _holds, _is_shift, _train_error, _Trial
from gdl.equivariance.diagnosis.report import Diagnosis, StepReport
from gdl.equivariance.diagnosis.walk import (
    _REFUSALS,
    Action,
    AnyAction,
    _act,
    _compare,
    _double,
    _is_field,
    _relative,
    _walk,
)
from gdl.representations import Representation


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
