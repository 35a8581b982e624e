"""Time of one layer of 256 neurons for each input, in a loop and as one product of matrices.

"What a network computes" of the chapter "high_dimensions"; the three "seeds" are three runs on one
machine. Timings are shown in the book and asserted nowhere.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from studies._runner import Measurements, run

SIZES = (1, 4, 16, 64, 256, 1024)
WIDTH = 256
REPEATS = 30


def loop(W: Tensor, X: Tensor) -> Tensor:
    return torch.stack([W @ x for x in X])


def one_product(W: Tensor, X: Tensor) -> Tensor:
    return X @ W.T


def microseconds(f, W: Tensor, X: Tensor) -> float:
    """The least of the running times, for each input."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        f(W, X)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / len(X)


def measure(seed: int) -> Measurements:
    torch.manual_seed(seed)
    W = torch.randn(WIDTH, WIDTH)
    for size in SIZES:
        X = torch.randn(size, WIDTH)
        yield "loop", f"microseconds, {size} inputs", microseconds(loop, W, X)
        yield "one product", f"microseconds, {size} inputs", microseconds(one_product, W, X)


if __name__ == "__main__":
    run("batched_products", measure)
