"""Numbers in any form that numpy or torch knows, read as an array."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


def read_array(name: str, value: ArrayLike | Tensor) -> np.ndarray:
    """The value as an array on the CPU; no dtype of numpy is lost, and bfloat16 becomes float64."""
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_meta):
        raise TypeError(f"{name}: expected a dense tensor, got {value.layout}, {value.device}")
    try:
        if isinstance(value, Tensor):
            wide = value.double() if value.is_floating_point() else value
            return wide.detach().cpu().resolve_neg().numpy()
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of numbers, got {error}") from error
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name}: expected an array of numbers, got {error}") from error
