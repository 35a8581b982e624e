"""The ratio of peak to noise, and classical denoisers that know the truth."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_tv_chambolle

from gdl.diffusion.baselines import oracle_nlm, oracle_tv
from gdl.diffusion.quality import psnr


def pictures(count=2, side=24, seed=0):
    """Bright discs on a dark ground, and the same with noise."""
    y, x = np.mgrid[:side, :side] / (side - 1) - 0.5
    truth = np.stack([0.2 + 0.6 * (np.hypot(y, x) < 0.2 + 0.1 * i) for i in range(count)])
    truth = torch.from_numpy(truth)[:, None]
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(seed))
    return truth + 0.1 * noise.double(), truth


@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_ratio_is_that_of_scikit_image(peak):
    images, truth = pictures()
    wanted = [
        peak_signal_noise_ratio(t.numpy(), u.numpy(), data_range=peak)
        for t, u in zip(peak * truth, peak * images, strict=True)
    ]
    assert psnr(peak * images, peak * truth, peak).tolist() == pytest.approx(wanted, abs=1e-12)


def test_a_constant_has_its_ratio_and_images_do_not_see_each_other():
    truth = torch.zeros(3, 2, 4, 5, dtype=torch.float64)
    offset = torch.tensor([0.1, 0.2, 0.5], dtype=torch.float64)
    found = psnr(truth + offset[:, None, None, None], truth)
    assert found.tolist() == pytest.approx([-20 * math.log10(c) for c in offset.tolist()])
    assert psnr(truth[:1], truth[:1]).item() == math.inf


def test_ratio_is_differentiable():
    images, truth = pictures(side=6)
    assert torch.autograd.gradcheck(lambda u: psnr(u, truth), images.requires_grad_())


BAD_IMAGES = {
    "no tensor": ([1.0], TypeError),
    "whole numbers": (torch.ones(1, 1, 4, 4, dtype=torch.int64), TypeError),
    "no channels": (torch.ones(4, 4), ValueError),
    "none": (torch.ones(0, 1, 4, 4), ValueError),
    "NaN": (torch.full((1, 1, 4, 4), math.nan), ValueError),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_ratio_refuses_what_is_no_image(kind):
    images, error = BAD_IMAGES[kind]
    with pytest.raises(error, match="images"):
        psnr(images, images)


BAD_TRUTH = {
    "shape": torch.ones(1, 1, 4, 1),
    "dtype": torch.ones(1, 1, 4, 4, dtype=torch.float64),
    "finite": torch.full((1, 1, 4, 4), math.inf),
}


@pytest.mark.parametrize("kind", BAD_TRUTH)
def test_ratio_refuses_another_truth(kind):
    with pytest.raises(ValueError, match=f"truth: expected .*{kind}"):
        psnr(torch.zeros(1, 1, 4, 4), BAD_TRUTH[kind])


@pytest.mark.parametrize("peak", [0.0, -1.0, math.nan, True])
def test_ratio_refuses_another_peak(peak):
    with pytest.raises((TypeError, ValueError), match="peak"):
        psnr(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), peak)


ORACLES = {
    "tv": (oracle_tv, "weights", (0.05, 0.1, 0.2)),
    "nlm": (oracle_nlm, "cuts", (0.05, 0.1, 0.2)),
}


@pytest.mark.parametrize("name", ORACLES)
def test_oracle_takes_the_best_parameter_of_each_image(name):
    oracle, argument, grid = ORACLES[name]
    noisy, truth = pictures(3)
    noisy[1] = truth[1] + 3 * (noisy[1] - truth[1])
    best = oracle(noisy, truth, **{argument: grid})
    single = torch.stack([oracle(noisy, truth, **{argument: (v,)}).psnr for v in grid])
    assert torch.equal(best.psnr, single.amax(0))
    assert best.parameters.tolist() == [grid[i] for i in single.argmax(0)]
    assert len(set(best.parameters.tolist())) > 1
    assert torch.equal(psnr(best.images, truth), best.psnr)
    assert bool((best.psnr > psnr(noisy, truth) + 2).all())


def test_total_variation_has_less_of_its_energy_than_noise_and_truth():
    noisy, truth = pictures(1)
    weight = 0.1

    def energy(u):
        # What scikit-image minimises: |grad u|_1 + |u - f|^2 / (2 weight), forward differences.
        rows, columns = np.zeros_like(u), np.zeros_like(u)
        rows[:-1], columns[:, :-1] = np.diff(u, axis=0), np.diff(u, axis=1)
        variation = np.hypot(rows, columns).sum()
        return variation + ((u - noisy[0, 0].numpy()) ** 2).sum() / (2 * weight)

    found = oracle_tv(noisy, truth, weights=(weight,)).images[0, 0].numpy()
    again = denoise_tv_chambolle(noisy[0, 0].numpy(), weight=weight, eps=1e-9, max_num_iter=5000)
    assert energy(found) < min(energy(noisy[0, 0].numpy()), energy(truth[0, 0].numpy()))
    assert energy(found) == pytest.approx(energy(again), rel=5e-3)


def test_oracles_keep_dtype_and_refuse_empty_grids():
    noisy, truth = pictures(1)
    assert oracle_tv(noisy.float(), truth.float()).images.dtype == torch.float32
    for name, (oracle, argument, _) in ORACLES.items():
        with pytest.raises(ValueError, match="at least one"):
            oracle(noisy, truth, **{argument: ()})
        with pytest.raises(ValueError, match="noisy"):
            oracle(noisy.repeat(1, 3, 1, 1), truth.repeat(1, 3, 1, 1), **{argument: (1.0,)})
        with pytest.raises(ValueError, match="positive"):
            oracle(noisy, truth, **{argument: (-1.0,)})
        assert name in oracle.__name__


def test_ratio_refuses_a_peak_that_the_pixels_cannot_hold():
    with pytest.raises(ValueError, match="^peak: "):
        psnr(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), 1e-50)
