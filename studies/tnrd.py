"""Learned energies against classical denoisers that know the truth, noise of deviation 25/255.

"Energies that are learned" of the chapter "diffusion", over three seeds, each with crops, noise and
batches of its own, and for the networks with a symmetry first filters of their own. The pictures of
scikit-image are reduced to 160 x 160 pixels; networks see three photographs and are tested on four
other pictures. Classical methods take, for each picture, the parameter that is best for it. The
networks have 3 stages: of 12 free filters, of 12 filters in 3 orbits under quarter turns (as many
channels), and of 48 in 12 orbits (as many parameters in a stage). One free network is trained on
textures instead. "equivariance error" is how far a network is from commuting with quarter turns,
relative to the denoised pictures.

The number of steps, rate, batches, start of the functions, and photographs instead of all pictures
for training were chosen on seeds 10 to 12.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gdl import data
from gdl.diffusion.baselines import oracle_nlm, oracle_tv
from gdl.diffusion.filters import MOVES, move
from gdl.diffusion.quality import psnr
from gdl.diffusion.tnrd import TNRD, train_tnrd
from gdl.equivariance import equivariance_error
from studies._denoising import oracle_gaussian
from studies._runner import Measurements, run

PHOTOGRAPHS, TEXTURES = ("astronaut", "cat", "rocket"), ("brick", "grass", "gravel")
TEST = ("camera", "coffee", "clock", "cell")
SIDE, SIGMA = 160, 25 / 255
STAGES, FILTERS = 3, 12
TRAINING = {"steps": 800, "batch_size": 4, "lr": 3e-3}


def measure(seed: int) -> Measurements:
    """Ratios of each method, in decibels, and what turning the picture changes."""
    noisy, truth = test_pictures(seed)
    yield from ratios("noisy", noisy, truth)
    for oracle in (oracle_gaussian, oracle_tv, oracle_nlm):
        yield from ratios(oracle.__name__, oracle(noisy, truth).images, truth)
    variants = {
        "free": (PHOTOGRAPHS, {"filters": FILTERS}),
        "quarter turns, as wide": (PHOTOGRAPHS, {"filters": FILTERS // 4, "symmetry": "C4"}),
        "quarter turns, as many": (PHOTOGRAPHS, {"filters": FILTERS, "symmetry": "C4"}),
        "trained on textures": (TEXTURES, {"filters": FILTERS}),
    }
    for variant, (names, arguments) in variants.items():
        net = trained(seed, names, **arguments)
        yield from ratios(variant, net(noisy), truth)
        yield variant, "equivariance error", turning_error(net, noisy)


def test_pictures(seed: int) -> tuple[Tensor, Tensor]:
    """The pictures with noise, and without."""
    truth = data.images(TEST, SIDE)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1000 + seed))
    return truth + SIGMA * noise, truth


def trained(seed: int, names: tuple[str, ...], **arguments) -> TNRD:
    """A network that has seen noisy crops of these pictures."""
    net = TNRD(STAGES, seed=seed, **arguments)
    train_tnrd(net, data.images(names, SIDE), sigma=SIGMA, seed=seed, **TRAINING)
    return net.requires_grad_(False)


def ratios(variant: str, images: Tensor, truth: Tensor) -> Measurements:
    """The ratio of each picture, and their mean."""
    found = psnr(images, truth)
    for name, value in zip(TEST, found.tolist(), strict=True):
        yield variant, f"PSNR, {name}", value
    yield variant, "PSNR, mean", float(found.mean())


def turning_error(net: TNRD, noisy: Tensor) -> float:
    """How far the network is from commuting with quarter turns."""

    def turn(g: tuple[int, bool], x: Tensor) -> Tensor:
        return move(x, *g)

    return equivariance_error(net, noisy, turn, turn, MOVES["C4"])


if __name__ == "__main__":
    run("tnrd", measure)
