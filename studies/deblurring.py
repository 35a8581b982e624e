"""Blind deblurring: schedules by hand and learned, on cartoons and on photographs.

"Two unknowns" of the chapter "diffusion", over three seeds, each with cartoons, paths of the
camera, noise and batches of its own; kernels and noise are new for the held-out pictures, too.
PSNR is that of :func:`gdl.diffusion.wiener` with the kernel found, after shifts by whole pixels.
The photographs are crops of four pictures, blurred around the border like the cartoons.

Both schedules by hand are the best with such powers of 140 drawn at random, by the mean PSNR over
32 cartoons of seed 2010. The networks start from constant penalties, spreads and ridges, with
powers that rise from -0.5 to 0. An earlier design started from the second schedule by hand; it was
given up because on seed 2 it ended below its start, so the seeds of this study are not untouched.
The values of the start, rates, width and steps were then chosen on seeds 10 and 11.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gdl import data
from gdl.data.blurs import cartoons, motion_kernels
from gdl.diffusion.blurring import align, blur, wiener
from gdl.diffusion.deblurring import BlindDeconvolution, train_deconvolution
from gdl.diffusion.quality import psnr
from studies._kernels import kernel_error
from studies._runner import Measurements, run

TRAINED, TESTED, NOISE, ITERATIONS = 200, 60, 0.005, 10
PHOTOGRAPHS, SIDE = ("camera", "coffee", "cat", "astronaut"), 64
POSITIVE = {
    "power": 0.5,
    "penalty": (13.0, 2.4),
    "spread": (0.2, 0.02),
    "ridge": (0.03, 0.006),
    "trim": 0.1,
}
NEGATIVE = {
    "power": (-0.5, 0.0),
    "penalty": (40.0, 0.25),
    "spread": (0.16, 0.23),
    "ridge": (0.001, 0.005),
    "trim": 0.05,
}
CONSTANT = {"power": (-0.5, 0.0), "penalty": 8.0, "spread": 0.15, "ridge": 0.005}
STAGES, BATCH, WIDTH = ((32, 0.1), (16, 0.05)), 8, 0.1


def measure(seed: int) -> Measurements:
    """Train on cartoons; measure on others, and on photographs."""
    sharp, _, blurred = blurred_pictures(cartoons(TRAINED, seed=seed), seed)
    exam = blurred_pictures(cartoons(TESTED, seed=1000 + seed), 1000 + seed)
    photographs = blurred_pictures(crops(TESTED, 1000 + seed), 1000 + seed)
    yield from given("cartoons", *exam)
    yield from given("photographs", *photographs)
    models = {
        "constant": BlindDeconvolution(ITERATIONS, **CONSTANT),
        "learned, p fixed": BlindDeconvolution(ITERATIONS, width=WIDTH, **CONSTANT),
        "learned, p learned": BlindDeconvolution(
            ITERATIONS, width=WIDTH, learn_power=True, **CONSTANT
        ),
        "by hand, p = 0.5": BlindDeconvolution(ITERATIONS, **POSITIVE),
        "by hand, p from -0.5 to 0": BlindDeconvolution(ITERATIONS, **NEGATIVE),
    }
    for variant, model in models.items():
        if variant.startswith("learned"):
            for steps, lr in STAGES:
                arguments = {"steps": steps, "lr": lr, "batch_size": BATCH, "seed": seed}
                train_deconvolution(model, blurred, sharp, **arguments)
        yield from found(f"{variant}, cartoons", model, *exam)
        yield from found(f"{variant}, photographs", model, *photographs)


def blurred_pictures(pictures: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures, kernels, and the pictures blurred and with noise."""
    kernels = motion_kernels(len(pictures), seed=5000 + seed)
    generator = torch.Generator().manual_seed(9000 + seed)
    noise = NOISE * torch.randn(pictures.shape, generator=generator)
    return pictures, kernels, blur(pictures, kernels) + noise


def crops(count: int, seed: int) -> Tensor:
    """Squares cut out of photographs at random places."""
    photographs = data.images(PHOTOGRAPHS, size=256)[:, 0]
    generator = torch.Generator().manual_seed(seed)
    which = torch.arange(count) % len(photographs)
    row, column = torch.randint(256 - SIDE, (2, count, 1), generator=generator)
    line = torch.arange(SIDE)
    places = (which[:, None, None], (row + line)[:, :, None], (column + line)[:, None])
    return photographs[places][:, None]


def given(kind: str, sharp: Tensor, kernels: Tensor, blurred: Tensor) -> Measurements:
    """What is there before, and what the true kernel would give."""
    yield f"blurred, {kind}", "PSNR", float(psnr(blurred, sharp).mean())
    best = psnr(wiener(blurred, kernels), sharp)
    yield f"Wiener with the true kernel, {kind}", "PSNR", float(best.mean())


@torch.no_grad()
def found(
    variant: str, model: BlindDeconvolution, sharp: Tensor, kernels: Tensor, blurred: Tensor
) -> Measurements:
    """Quality of pictures and kernels."""
    estimates = model(blurred)
    restored = wiener(blurred, estimates, model.log_smoothness.exp())
    after, before = psnr(align(restored, sharp), sharp), psnr(blurred, sharp)
    errors = kernel_error(estimates, kernels)
    yield variant, "PSNR", float(after.mean())
    yield variant, "gain", float((after - before).mean())
    yield variant, "share made worse", float((after < before).float().mean())
    yield variant, "kernel error, mean", float(errors.mean())
    yield variant, "kernel error, median", float(errors.median())


if __name__ == "__main__":
    run("deblurring", measure)
