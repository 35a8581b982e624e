"""Diffusion: learned denoisers against classical ones, and seeds of a diffusion.

One photograph of n x n pixels with noise of standard deviation 25/255, denoised once: by total
variation and non-local means with a fixed parameter, both of scikit-image, and by networks of
learned energies with 3 stages of 12 filters and with 5 stages of 24 filters, 5 x 5 pixels each.
Networks are untrained, since the time of a stage does not depend on its weights; how well they do
once they are trained is measured by the study ``tnrd``. The second task takes s stages on 128 x 128
pixels, with 24 free filters, with 24 in 6 orbits of quarter turns, and with 24 in 3 orbits of turns
and flips. The third chooses 4 seeds of the diffusion on n x n pixels: by one linear system for each
question, by the same asked lazily, and by one inversion with updates of rank one. What is checked
in float64: a network gives the same in tiles, and the three ways choose the same seeds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.cases import Case, disagreement, worst
from gdl import data
from gdl.diffusion.baselines import oracle_nlm, oracle_tv
from gdl.diffusion.elliptic import grid_edges, similarity_weights
from gdl.diffusion.seeds import Choice, diffusion_seeds, diffusion_value, greedy_choice
from gdl.diffusion.tnrd import TNRD, denoise

SIGMA = 25 / 255
SEEDS, LAMBDA = 4, 0.1

Call = Callable[[], list[Tensor]]


def noisy_picture(side: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    truth = data.images("camera", side)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    return (truth + SIGMA * noise).to(dtype), truth.to(dtype)


def network(stages: int, dtype: torch.dtype, **arguments) -> TNRD:
    return TNRD(stages, dtype=dtype, **arguments).requires_grad_(False)


def denoisers(side: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    noisy, truth = noisy_picture(side, dtype)
    small, large = network(3, dtype, filters=12), network(5, dtype)
    calls = {
        "total variation": lambda: [oracle_tv(noisy, truth, weights=(0.08,)).images],
        "non-local means": lambda: [oracle_nlm(noisy, truth, cuts=(0.06,)).images],
        "3 stages, 12 filters": lambda: [small(noisy)],
        "5 stages, 24 filters": lambda: [large(noisy)],
    }
    tiles = {
        "whole": calls["3 stages, 12 filters"],
        "tiles": lambda: [denoise(small, noisy, tile=48)],
    }
    return calls, [tiles]


def stages(count: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    noisy, _ = noisy_picture(128, dtype)
    networks = {
        "free": network(count, dtype),
        "quarter turns": network(count, dtype, symmetry="C4", filters=6),
        "turns and flips": network(count, dtype, symmetry="D4", filters=3),
    }
    calls = {name: lambda net=net: [net(noisy)] for name, net in networks.items()}
    turned = {
        "turned after": lambda: [torch.rot90(networks["quarter turns"](noisy), 1, (2, 3))],
        "turned before": lambda: [networks["quarter turns"](torch.rot90(noisy, 1, (2, 3)))],
    }
    return calls, [turned]


def seeds(side: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    picture = data.images("camera", side)[0, 0].to(dtype)
    edges = grid_edges(side, side)
    weights = similarity_weights(picture.reshape(-1, 1), edges, 10.0)
    held = torch.zeros(side, side, dtype=torch.bool)
    held[0] = held[-1] = held[:, 0] = held[:, -1] = True
    held, zeros = held.flatten(), torch.zeros(side**2, dtype=dtype)
    system = (weights, edges, zeros, LAMBDA, held, zeros)
    inner = held.logical_not().nonzero().flatten().tolist()

    def greedy(lazy: bool) -> Choice:
        return greedy_choice(diffusion_value(*system), inner, SEEDS, lazy=lazy)

    def answer(choice: Choice) -> list[Tensor]:
        return [torch.tensor(choice.elements).double(), torch.tensor(choice.values).double()]

    calls = {
        "a system a question": lambda: answer(greedy(lazy=False)),
        "asked lazily": lambda: answer(greedy(lazy=True)),
        "updates of rank one": lambda: answer(diffusion_seeds(*system, SEEDS)),
    }
    return calls, [calls]


TASKS = {
    "denoising, n x n pixels": (denoisers, (32, 64, 128), lambda n: n**2),
    "stages of a denoiser, s stages": (stages, (1, 3, 5), lambda s: s),
    "seeds of a diffusion, n x n pixels": (seeds, (5, 7, 9), lambda n: n**2),
}
SIZES = {task: sizes for task, (_, sizes, _) in TASKS.items()}
PACKAGES = dict.fromkeys(("total variation", "non-local means"), "scikit-image")


def case(task: str, size: int) -> Case:
    calls, _, work = TASKS[task]

    def check() -> float:
        return worst(map(disagreement, calls(size, torch.float64)[1]))

    return Case(task, size, work(size), calls(size, torch.float32)[0], check)
