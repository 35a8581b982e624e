"""A device that every machine has, and that is not the CPU: it computes there all the same.

Its tensors say that they are on "meta" and hold their values on the CPU. As on a GPU, an operation
on tensors of both devices is refused, unless it copies, takes a number, or indexes with a tensor
of the CPU. So a layer that leaves a tensor behind when it moves is found without a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"
aten = torch.ops.aten
COPIES = {aten._to_copy, aten.copy_, aten.copy}
# Views that conjugate or negate are read by a layer of the dispatcher above this one.
MATERIAL = {
    aten._conj.default: aten._conj_physical.default,
    aten._neg_view.default: aten.neg.default,
}
INDEXES = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Away(Tensor):
    """A tensor on the device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Away:
        return Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=DEVICE,
        )  # fmt: skip

    def __init__(self, held: Tensor):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return carried_out(func, args, kwargs or {})


def here(value: object) -> object:
    return value.held if isinstance(value, Away) else value


def away(value: object) -> object:
    return Away(value) if isinstance(value, Tensor) and not isinstance(value, Away) else value


def require_one_device(func, tensors: list[Tensor]) -> None:
    packet = func.overloadpacket
    if packet in COPIES or (packet in INDEXES and isinstance(tensors[0], Away)):
        return
    if any(not isinstance(t, Away) and t.ndim for t in tensors):
        raise RuntimeError(f"Expected all tensors to be on the same device, in {func}")


def carried_out(func, args: tuple, kwargs: dict) -> object:
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    stays_away = any(isinstance(t, Away) for t in tensors)
    if any(t.device.type == DEVICE and not isinstance(t, Away) for t in tensors):
        raise RuntimeError(f"a tensor without values, in {func}")
    if stays_away:
        require_one_device(func, tensors)
    target = kwargs.get("device")
    if target is not None:
        stays_away = torch.device(target).type == DEVICE
        kwargs = kwargs | {"device": torch.device("cpu")}
    found = MATERIAL.get(func, func)(*tree_map(here, args), **tree_map(here, kwargs))
    if torch.Tag.inplace_view in func.tags and isinstance(args[0], Away):
        with no_dispatch():
            func(*args, **kwargs)  # the shape that the tensor states
    return tree_map(away, found) if stays_away else found


class Computing(TorchDispatchMode):
    """Carries out all operations, those that make tensors too."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return carried_out(func, args, kwargs or {})


class Reading(TorchFunctionMode):
    """Numbers that become tensors, and tensors that become numbers, pass by the dispatcher."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func == Tensor.is_meta.__get__:
            return False  # the package asks nothing of tensors without values
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        if func is Tensor.new_tensor:
            first, *rest = args
            made = {"dtype": first.dtype, "device": first.device} | kwargs
            return self.__torch_function__(torch.tensor, types, tuple(rest), made)
        if func is Tensor.__getitem__:
            key = args[1] if isinstance(args[1], tuple) else (args[1],)
            key = tuple(torch.tensor(k) if isinstance(k, list) else k for k in key)
            return func(args[0], key)
        target = kwargs.get("device")
        if func in (torch.tensor, torch.as_tensor) and target is not None:
            rest = {name: value for name, value in kwargs.items() if name != "device"}
            return func(*args, **rest).to(target)
        return func(*args, **kwargs)


@contextmanager
def other_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of the device, while it is there."""

    def on_cpu(function: Callable) -> Callable:
        return lambda kind, *args, **named: function(
            "cpu" if kind == DEVICE else kind, *args, **named
        )

    with monkeypatch.context() as patched, Reading(), Computing():
        for name in ("autocast", "is_autocast_enabled"):
            patched.setattr(torch, name, on_cpu(getattr(torch, name)))
        yield DEVICE
