r"""A task for recurrences that needs nothing but memory.

Chapter: ``sequences``.
"""

from __future__ import annotations

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sequences import _checks as require


def recall(count: int, delay: int, *, noise: float = 0.1, seed: int) -> tuple[Tensor, Tensor]:
    r"""One symbol, then noise: the answer is the symbol.

        x_0 = +1 or -1,    x_t = noise * a normal number for t = 1 ... delay,    y = [x_0 > 0]

    Args:
        count: N, how many sequences.
        delay: how many steps of noise, at least 1.
        noise: their standard deviation, at least 0.
        seed: an integer that fixes them, from 0 to 2**32 - 1.

    Returns:
        x, float32 ``(N, delay + 1, 1)``, and y, int64 ``(N,)``, on the CPU.

    Raises: TypeError or ValueError for other arguments.
    Law tested: the first step alone gives the answer, all others nothing. Chapter: ``sequences``.

    >>> x, y = recall(3, 5, seed=0)
    >>> x.shape, bool((y == (x[:, 0, 0] > 0)).all())
    (torch.Size([3, 6, 1]), True)
    """
    require.sizes(count=count, delay=delay)
    noise = check.number("noise", noise, 0)
    generator = _generator(seed)
    y = torch.randint(2, (count,), generator=generator, device="cpu")
    normal = {"generator": generator, "dtype": torch.float32, "device": "cpu"}
    x = noise * torch.randn(count, delay + 1, 1, **normal)
    x[:, 0, 0] = 2 * y.float() - 1
    return require.unspoilt("noise", x), y


def _generator(seed: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(check.integer("seed", seed, 0, 2**32 - 1))
