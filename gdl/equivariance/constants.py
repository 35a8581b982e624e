"""Constants inside layers: exact whatever happens to the layer, and in full precision.

Chapter: ``one_equation``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


class Constant(nn.Module):
    r"""A tensor that a layer needs and does not learn, as a buffer that no cast can spoil.

    The buffer follows the layer to its device and dtype and is no part of the state dict. The exact
    values are kept beside it: a detour through float32, the meta device or ``to_empty`` loses
    nothing.

    Args:
        values: the tensor; integers and booleans keep their dtype.
        device: of the buffer, by default torch's.
        dtype: of the buffer if the values are floating-point, by default torch's.

    Shapes: ``constant()`` has the shape of ``values``.

    Raises: TypeError if ``values`` is no tensor.
    Law tested: equal to the exact values after any journey.

    Chapters: ``one_equation``, ``groups``, ``graphs``.

    >>> third = Constant(torch.tensor([1 / 3], dtype=torch.float64), dtype=torch.float64)
    >>> third.float().double()().item() == 1 / 3
    True
    """

    def __init__(
        self,
        values: Tensor,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if not isinstance(values, Tensor):
            raise TypeError(f"values: expected a torch.Tensor, got {type(values).__name__}")
        self._exact = values.detach().to("cpu", copy=True)
        device = torch.get_default_device() if device is None else device
        floating = self._exact.is_floating_point()
        cast = (dtype or torch.get_default_dtype()) if floating else values.dtype
        self.register_buffer("values", self._exact.to(device, cast, copy=True), persistent=False)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        dtype = self.values.dtype if self._exact.is_floating_point() else self._exact.dtype
        self.values = self._exact.to(self.values.device, dtype, copy=True)
        return self

    def forward(self) -> Tensor:
        return self.values


def full_precision(device: torch.device) -> AbstractContextManager:
    """Autocast switched off, on the devices that have it.

    Law tested: layers that expand kernels do so in the dtype of their weights under autocast.
    Chapter: ``groups``.

    >>> with full_precision(torch.device("cpu")):
    ...     torch.is_autocast_enabled("cpu")
    False
    """
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
