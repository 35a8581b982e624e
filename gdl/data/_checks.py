"""Arguments that several loaders share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{argument}: expected one of {', '.join(choices)}, got {value!r}")


def _pairs(argument: str, values: Sequence[tuple[int, int]]) -> Tensor:
    pairs = torch.as_tensor(values)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or len(pairs) == 0 or pairs.is_floating_point():
        raise ValueError(
            f"{argument}: expected at least one (row, column) pair of integers, "
            f"got {pairs.dtype} of shape {tuple(pairs.shape)}"
        )
    return pairs.to(torch.int64)


def _check_corners(argument: str, corners: Tensor, last_row: int, last_column: int) -> None:
    outside = (corners < 0) | (corners > torch.tensor([last_row, last_column]))
    if outside.any():
        worst = tuple(corners[outside.any(1)][0].tolist())
        raise ValueError(
            f"{argument}: expected rows in 0..{last_row} and columns in 0..{last_column}, "
            f"got {worst}"
        )
