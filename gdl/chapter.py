r"""What every chapter starts with, and how its exercises are checked.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from gdl import plot


def setup(seed: int = 0) -> None:
    r"""Make a chapter reproducible: seeds, one thread, four printed digits, the figure style.

    One thread, because sums in another order round differently, and the stored outputs are compared
    with fresh ones.

    Args:
        seed: for Python, NumPy and torch.

    Raises: ValueError or TypeError unless ``seed`` is an integer from 0 to 2**32 - 1.
    Law tested: the same random numbers after every call. Chapter: all of them, in the first cell.

    >>> setup(seed=0)
    >>> first = torch.rand(1)
    >>> setup(seed=0)
    >>> bool(torch.rand(1) == first)
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed: expected an integer, got {seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: expected 0 <= seed < 2**32, got {seed}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.set_printoptions(precision=4, sci_mode=False)
    np.set_printoptions(precision=4, suppress=True)
    # What importing tqdm and PyTorch Geometric warns of is no matter of the reader.
    warnings.filterwarnings("ignore", message="IProgress not found")
    warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
    plot.use_style()


def exercise(
    name: str, passes: Callable[[Any], bool], *, wrong: Sequence[Any]
) -> Callable[[Any], bool]:
    r"""A checker for an exercise, itself checked against typical wrong answers.

    Args:
        name: shown before the verdict.
        passes: whether an answer is right.
        wrong: at least two typical wrong answers, which ``passes`` must reject.

    Returns:
        ``check(answer)``, which prints "unanswered" for None, and otherwise the verdict; it returns
        whether the answer is right. An answer that raises is not right, and the error is shown.

    Raises:
        TypeError: ``passes`` cannot be called.
        ValueError: fewer than two wrong answers.
        AssertionError: a wrong answer passes, so the checker is no check.

    Law tested: None, right and wrong answers get three different verdicts. Chapter: all of them.

    >>> check = exercise("Order of D_5", lambda n: n == 10, wrong=[5, 120])
    >>> check(None)
    Order of D_5: unanswered
    False
    >>> check(10)
    Order of D_5: correct
    True
    """
    if not callable(passes):
        raise TypeError(f"passes: expected a function, got {type(passes).__name__}")
    if len(wrong) < 2:
        raise ValueError(f"wrong: expected at least two wrong answers, got {len(wrong)}")
    for answer in wrong:
        if _verdict(passes, answer) == "correct":
            raise AssertionError(f"{name}: the checker accepts the wrong answer {answer!r}")

    def check(answer: Any) -> bool:
        verdict = "unanswered" if answer is None else _verdict(passes, answer)
        print(f"{name}: {verdict}")
        return verdict == "correct"

    return check


def _verdict(passes: Callable[[Any], bool], answer: Any) -> str:
    try:
        return "correct" if passes(answer) else "not yet"
    except Exception as error:  # the reader's code may raise anything
        return f"not yet ({type(error).__name__}: {error})"
