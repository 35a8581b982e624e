"""Blind deconvolution: exact least squares, symmetries, gauges, and the network that is a loop."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from gdl.data.blurs import cartoons, motion_kernels
from gdl.diffusion.blurring import (
    align,
    blur,
    centre_kernel,
    estimate_kernels,
    gradients,
    sharpen,
    sparse_energy,
    whole_mean,
    wiener,
)
from gdl.diffusion.deblurring import BlindDeconvolution, train_deconvolution
from gdl.diffusion.quality import psnr
from gdl.diffusion.thresholding import generalized_soft_threshold
from studies._kernels import kernel_error
from tests.programs.test_soft_sorting import F64, both_dtypes, gap, random
from tests.test_representations import refuses

NAN, INF = float("nan"), float("inf")


def refused(error: type[Exception], argument: str, function, *given, **named) -> None:
    with refuses(error, argument):
        function(*given, **named)


def pair(count: int = 2, size: int = 10, window: int = 5, dtype: torch.dtype = F64) -> tuple:
    """Pictures and kernels that no symmetry leaves alone."""
    kernels = random(count, window, window, seed=1).abs().to(dtype)
    return random(count, 1, size, size + 2, dtype=dtype), kernels / kernels.sum((1, 2), True)


def blur_matrix(kernel: Tensor, rows: int, columns: int) -> Tensor:
    """The blur of one picture entry by entry, by rolls of the unit pictures."""
    units = torch.eye(rows * columns, dtype=kernel.dtype).reshape(-1, rows, columns)
    half = len(kernel) // 2
    images = sum(
        kernel[i, j] * units.roll((i - half, j - half), (1, 2))
        for i in range(len(kernel))
        for j in range(len(kernel))
    )
    return images.reshape(len(units), -1).T


def turns(x: Tensor) -> list[Tensor]:
    """The eight quarter turns and flips."""
    return [y.rot90(k, (-2, -1)) for y in (x, x.flip(-1)) for k in range(4)]


# --- the blur -------------------------------------------------------------------------------------


def test_the_blur_by_rolls():
    x, k = pair()
    for image, kernel, blurred in zip(x, k, blur(x, k), strict=True):
        wanted = blur_matrix(kernel, 10, 12) @ image.flatten()
        assert gap(blurred.flatten(), wanted) < 1e-12


def test_the_blur_commutes_with_shifts_and_gradients():
    x, k = pair()
    shifted = blur(x.roll((3, -2), (2, 3)), k)
    assert gap(shifted, blur(x, k).roll((3, -2), (2, 3))) < 1e-12
    assert gap(gradients(blur(x, k)), blur(gradients(x), k)) < 1e-12
    wrapped = x.roll((3, -2), (2, 3))
    wrapped[:, :, 0] = 0
    assert gap(blur(wrapped, k), shifted) > 0.1


def test_turned_pictures_have_turned_kernels():
    x, k = pair(size=10)
    x = x[..., :10]
    for image, kernel, wanted in zip(turns(x), turns(k), turns(blur(x, k)), strict=True):
        assert gap(blur(image, kernel), wanted) < 1e-12
    assert gap(blur(x.rot90(1, (2, 3)), k), blur(x, k).rot90(1, (2, 3))) > 0.1


def test_the_gauge_of_blind_deconvolution():
    """What is taken from the kernel can be given to the picture."""
    x, _ = pair()
    k = torch.zeros(2, 7, 7, dtype=F64)
    k[:, 2:5, 2:5] = random(2, 3, 3, seed=3).abs()
    by = (1, -2)
    moved, back = k.roll(by, (1, 2)), x.roll((-1, 2), (2, 3))
    assert gap(blur(back, moved), blur(x, k)) < 1e-12
    assert gap(blur(x / 3, 3 * k), blur(x, k)) < 1e-12
    assert gap(blur(x, moved), blur(x, k)) > 0.1
    assert gap(centre_kernel(3 * moved), centre_kernel(k)) < 1e-15


# --- least squares --------------------------------------------------------------------------------


def test_sharpening_by_a_dense_solution():
    x, k = pair()
    fields, guess = random(2, 2, 10, 12, seed=3), random(2, 2, 10, 12, seed=4)
    found = sharpen(fields, k, 0.3, guess)
    for i in range(2):
        A = blur_matrix(k[i], 10, 12)
        stacked = torch.cat([A, 0.3**0.5 * torch.eye(120, dtype=F64)])
        right = torch.cat([fields[i].flatten(1).T, 0.3**0.5 * guess[i].flatten(1).T])
        wanted = torch.linalg.lstsq(stacked, right).solution
        assert gap(found[i].flatten(1).T, wanted) < 1e-10


def test_kernels_by_a_dense_solution():
    """Columns are the pictures that the pixels of a kernel make."""
    sharp, fields = random(2, 2, 10, 12), random(2, 2, 10, 12, seed=1)
    guess = random(2, 5, 5, seed=2)
    found = estimate_kernels(sharp, fields, 0.2, guess)
    units = torch.eye(25, dtype=F64).reshape(25, 5, 5)
    for i in range(2):
        columns = [blur(sharp[i : i + 1], unit[None]).flatten() for unit in units]
        A = torch.stack(columns, 1) / 120**0.5
        stacked = torch.cat([A, 0.2**0.5 * torch.eye(25, dtype=F64)])
        right = torch.cat([fields[i].flatten() / 120**0.5, 0.2**0.5 * guess[i].flatten()])
        wanted = torch.linalg.lstsq(stacked, right[:, None]).solution
        assert gap(found[i].flatten(), wanted[:, 0]) < 1e-10


def test_the_true_kernel_explains():
    x, k = pair(size=20)
    found = estimate_kernels(x, blur(x, k), 1e-10, torch.zeros_like(k))
    assert gap(found, k) < 1e-6


def test_wiener_by_a_dense_solution():
    x, k = pair()
    found = wiener(x, k, 0.05)
    slopes = torch.eye(120, dtype=F64).reshape(120, 1, 10, 12)
    D = gradients(slopes).reshape(120, -1).T
    for i in range(2):
        stacked = torch.cat([blur_matrix(k[i], 10, 12), 0.05**0.5 * D])
        right = torch.cat([x[i].flatten(), torch.zeros(len(D), dtype=F64)])
        wanted = torch.linalg.lstsq(stacked, right[:, None]).solution
        assert gap(found[i].flatten(), wanted[:, 0]) < 1e-10
    assert gap(wiener(blur(x, k), k, 1e-14), x) < 1e-6


def test_wiener_and_the_group():
    x, k = pair()
    x = x[..., :10]
    shifted = wiener(x.roll((3, -2), (2, 3)), k)
    assert gap(shifted, wiener(x, k).roll((3, -2), (2, 3))) < 1e-10
    for image, kernel, wanted in zip(turns(x), turns(k), turns(wiener(x, k)), strict=True):
        assert gap(wiener(image, kernel), wanted) < 1e-10


# --- kernels up to shifts -------------------------------------------------------------------------


def test_centring():
    k = motion_kernels(20, size=15).double()
    k = k[:, 2:-2, 2:-2] / k[:, 2:-2, 2:-2].sum((1, 2), True)
    k = torch.nn.functional.pad(k, (3, 3, 3, 3))
    for by in ((0, 0), (2, -1), (-3, 3)):
        assert gap(centre_kernel(k.roll(by, (1, 2))), centre_kernel(k)) < 1e-15
    centred = centre_kernel(k.roll((2, -1), (1, 2)))
    line = torch.arange(17, dtype=F64) - 8
    for axis in (1, 2):
        assert (centred.sum(axis) @ line).abs().max() <= 0.5
    for turned, wanted in zip(turns(k), turns(centre_kernel(k)), strict=True):
        assert gap(centre_kernel(turned), wanted) < 1e-15


def test_errors_up_to_shifts():
    _, k = pair(window=7)
    k[:, :2] = k[:, -2:] = k[:, :, :2] = k[:, :, -2:] = 0
    moved = k.roll((1, -2), (1, 2))
    assert kernel_error(moved, k).max() < 1e-28 and kernel_error(moved, k, reach=1).min() > 0.01
    other = random(2, 7, 7, seed=9)
    plain = (other - k).square().sum((1, 2)) / k.square().sum((1, 2))
    assert gap(kernel_error(other, k, reach=0), plain) < 1e-12
    assert bool((kernel_error(other, k) <= plain).all())
    # Shifts do not wrap around the window.
    corner = torch.zeros(1, 5, 5)
    corner[0, 0, 0] = 1
    assert kernel_error(corner.roll(-1, 1), corner) > 1.5


def test_alignment():
    x, _ = pair(3)
    moved = torch.stack([x[0].roll(2, 1), x[1].roll((-1, 1), (1, 2)), x[2].roll(3, 1)])
    assert torch.equal(align(moved, x)[:2], x[:2])
    distance = (align(moved, x) - x).square().sum((1, 2, 3))
    assert bool((distance <= (moved - x).square().sum((1, 2, 3))).all()) and distance[2] > 1


def test_the_energy_of_a_step():
    x = torch.zeros(1, 1, 4, 8, dtype=F64)
    x[..., :4] = 9
    for power, wanted in ((0, 1.0), (0.5, 3.0), (1.0, 9.0)):
        assert abs(sparse_energy(x, power) - wanted * 8 / 64) < 1e-14


def test_the_slope_of_the_energy_where_nothing_is_flat():
    x = random(1, 1, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sparse_energy(x, 0.5), x)
    step = torch.zeros(1, 1, 4, 8)
    step[..., :4] = 9
    (slope,) = torch.autograd.grad(sparse_energy(step.requires_grad_(), 0.5).sum(), step)
    assert abs(slope[0, 0, 0].abs() - torch.tensor([1, 0, 0, 1] * 2) / 6 / 64).max() < 1e-7


# --- the network ----------------------------------------------------------------------------------


def network(iterations: int = 3, size: int = 5, **named) -> BlindDeconvolution:
    named = {"penalty": (1.0, 0.2), "dtype": F64, **named}
    return BlindDeconvolution(iterations, size, **named)


def blurred(count: int = 3, size: int = 16, window: int = 5) -> Tensor:
    x = cartoons(count, size=size, seed=1).double()
    noise = 0.003 * random(count, 1, size, size, seed=2)
    return blur(x, motion_kernels(count, size=window, seed=1).double()) + noise


@pytest.mark.parametrize("width", [0.0, 0.2])
def test_untrained_it_is_the_loop(width):
    """With dense solutions, one picture at a time."""
    images, layer = blurred(), network(width=width, power=(-0.5, 0.5), spread=(0.2, 0.4))
    paths = layer.path(images)
    assert paths.shape == (4, 3, 5, 5) and torch.equal(layer(images), paths[-1])
    units = torch.eye(25, dtype=F64).reshape(25, 5, 5)
    line = torch.arange(5) - 2
    for n in range(3):
        g = gradients(images[n : n + 1])[0]
        g = g / g.square().mean().sqrt()
        k, d = units[12], g
        for t in range(3):
            beta = 0.2 * 2 ** (t / 2)
            A = blur_matrix(k, 16, 16)
            normal = A.T @ A + beta * torch.eye(256, dtype=F64)
            d = torch.linalg.solve(normal, (g.flatten(1) @ A + beta * d.flatten(1)).T).T
            penalty = torch.tensor(0.2 ** (t / 2), dtype=F64)
            d = generalized_soft_threshold(d, penalty, -0.5 + t / 2, width=width)
            d = d.reshape(2, 16, 16)
            columns = torch.stack([blur(d[None], unit[None]).flatten() for unit in units], 1)
            normal = columns.T @ columns / 256 + 0.01 * torch.eye(25, dtype=F64)
            right = columns.T @ g.flatten() / 256 + 0.01 * k.flatten()
            k = torch.linalg.solve(normal, right).reshape(5, 5)
            k = torch.relu(k - 0.05 * k.max())
            mean = [round(float((k.sum(axis) * line).sum() / k.sum())) for axis in (1, 0)]
            wide = torch.nn.functional.pad(k, (2, 2, 2, 2)).roll((-mean[0], -mean[1]), (0, 1))
            k = wide[2:7, 2:7] / wide[2:7, 2:7].sum()
            d = d.roll((-mean[0], -mean[1]), (1, 2))
            assert gap(paths[t + 1, n], k) < 1e-10


def test_centring_moves_the_gradients_along():
    """From a kernel off the middle; the product of both moves, and that nobody sees."""
    images, layer = blurred(window=3), network(penalty=0.05)
    g = layer._edges(images)
    off = torch.zeros(3, 5, 5, dtype=F64)
    off[:, 3, 1] = 1
    kernel, sharp = layer._layer(0, off, g, g)
    before = generalized_soft_threshold(sharpen(g, off, 0.2, g), 0.05, 0.5)
    estimate = estimate_kernels(before, g, 0.01, off)
    estimate = torch.relu(estimate - 0.05 * estimate.amax((1, 2), keepdim=True))
    mean = whole_mean(estimate)
    assert bool((mean.abs().sum(1) > 0).all()) and bool((before != 0).any())
    for n in range(3):
        assert gap(sharp[n], before[n].roll(mean[n].tolist(), (1, 2))) < 1e-12
    assert gap(kernel, centre_kernel(estimate)) < 1e-12


def test_kernels_are_weights():
    found = network().path(blurred())
    assert found.min() >= 0 and (found.sum((2, 3)) - 1).abs().max() < 1e-12
    assert found[0, 0].max() == 1 and found[-1].max() < 0.99


def test_shifts_scales_and_constants_leave_the_kernel():
    images, layer = blurred(), network()
    found = layer(images)
    assert gap(layer(images.roll((5, -3), (2, 3))), found) < 1e-8
    for other in (100 * images, -0.2 * images, images + 3):
        assert gap(layer(other), found) < 1e-8
    assert gap(layer(images.square()), found) > 1e-3


def test_turned_pictures_have_turned_estimates():
    images, layer = blurred(), network()
    for image, wanted in zip(turns(images), turns(layer(images)), strict=True):
        assert gap(layer(image), wanted) < 1e-8
    assert gap(layer(images.rot90(1, (2, 3))), layer(images)) > 1e-2


def test_where_no_edge_survives_the_kernel_stays():
    """This is where a kernel divided by its sum, 0, would not be a number."""
    layer = network(penalty=1e6)
    found = layer(blurred())
    assert torch.equal(found, layer.path(blurred())[0])
    layer(blurred()).square().sum().backward()
    for values in (layer.log_penalty, layer.log_spread, layer.log_ridge):
        assert bool(torch.isfinite(values.grad).all())


def test_gradients_of_the_network_by_differences():
    images, layer = blurred(1), network(2, width=0.5, trim=0.0, learn_power=True)
    names = ("log_penalty", "log_spread", "log_ridge", "power")

    def error(*values: Tensor) -> Tensor:
        named = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, named, (images,)).square().sum()

    given = tuple(getattr(layer, name).detach().clone().requires_grad_() for name in names)
    # Entries at the border of the kernel's support have a kink.
    assert torch.autograd.gradcheck(error, given, eps=1e-7, atol=1e-5)


def test_training():
    x = cartoons(8, size=24, seed=1)
    k = motion_kernels(8, size=5, seed=1)
    layer = BlindDeconvolution(3, 5, width=0.2)
    restored = layer.restore(blur(x, k))
    assert gap(restored, wiener(blur(x, k), layer(blur(x, k)), 0.005)) < 1e-6
    first = -psnr(align(restored, x), x).mean()
    powers = layer.power.clone()
    history = train_deconvolution(layer, blur(x, k), x, steps=8, lr=0.05, batch_size=8, seed=0)
    assert abs(history.step_losses[0] - first) < 1e-4
    assert history.step_losses[-1] < history.step_losses[0] - 0.1
    assert torch.equal(layer.power, powers)


def test_what_the_network_is():
    layer = BlindDeconvolution(4, 7, penalty=(4.0, 0.5), power=(-0.5, 0.25), width=0.1)
    assert torch.allclose(layer.log_penalty.exp(), torch.tensor([4.0, 2.0, 1.0, 0.5]))
    assert torch.allclose(layer.power, torch.tensor([-0.5, -0.25, 0.0, 0.25]))
    assert repr(layer) == "BlindDeconvolution(iterations=4, size=7, trim=0.05, width=0.1)"
    assert not layer.power.requires_grad
    assert BlindDeconvolution(1, 3, learn_power=True).power.requires_grad
    other = BlindDeconvolution(4, 7, width=0.1)
    other.load_state_dict(layer.state_dict())
    images = blurred(2, 20).float()
    assert torch.equal(other(images), layer(images))
    assert torch.equal(copy.deepcopy(layer)(images), layer(images))
    with torch.no_grad():
        layer.power.zero_()
    layer.reset_parameters()
    assert torch.equal(layer.power, other.power)


@both_dtypes
def test_dtypes(dtype):
    x, k = pair(dtype=dtype)
    for found in (blur(x, k), gradients(x), wiener(x, k), centre_kernel(k), align(x, x)):
        assert found.dtype == dtype
    assert kernel_error(k, k).dtype == sparse_energy(x, 0.5).dtype == dtype
    images = blurred().to(dtype)
    assert network(dtype=dtype)(images).dtype == dtype


# --- wrong input ----------------------------------------------------------------------------------


def test_bad_pairs():
    x, k = pair()
    for function in (blur, wiener):
        refused(TypeError, "images", function, x.tolist(), k)
        refused(TypeError, "images", function, x.long(), k)
        refused(ValueError, "images", function, x[0], k)
        refused(ValueError, "images", function, x[:0], k[:0])
        refused(ValueError, "images", function, x * NAN, k)
        refused(ValueError, "images", function, x[:, :, :4], k)
        refused(ValueError, "kernels", function, x, k[:1])
        refused(ValueError, "kernels", function, x, k[:, :4, :4])
        refused(ValueError, "kernels", function, x, k[:, :3])
        refused(ValueError, "kernels", function, x, k * INF)
        refused(TypeError, "kernels", function, x, k.float())
    refused(ValueError, "kernels", wiener, x, 0 * k)
    refused(ValueError, "guess", sharpen, x, k, 1.0, x[:1])
    refused(ValueError, "weight", sharpen, x, k, torch.tensor(-1.0), x)
    refused(ValueError, "fields", estimate_kernels, x, x[:, :, 1:], 1.0, k)
    refused(ValueError, "guess", estimate_kernels, x, x, 1.0, pair(window=7)[1])
    refused(TypeError, "weight", estimate_kernels, x, x, "1", k)
    refused(ValueError, "images", gradients, x.repeat(1, 2, 1, 1))
    refused(ValueError, "power", sparse_energy, x, -1.0)


def test_bad_kernels():
    x, k = pair()
    refused(ValueError, "kernels", centre_kernel, -k)
    refused(ValueError, "kernels", centre_kernel, 0 * k)
    refused(ValueError, "kernels", centre_kernel, k[0])
    refused(TypeError, "truth", align, x, x.float())
    refused(TypeError, "reach", align, x, x, reach=True)


def test_numbers_too_large_or_too_small():
    x, k = pair(dtype=torch.float32)
    refused(ValueError, "kernels", blur, 1e30 * x, 1e30 * k)
    refused(ValueError, "kernels", wiener, x, 1e-30 * k)
    refused(ValueError, "kernels", sharpen, x, 0 * k, 1e-50, x)
    refused(ValueError, "weight", estimate_kernels, 0 * x, x, 1e-50, k)
    refused(ValueError, "smoothness", wiener, x, k, 0.0)
    refused(TypeError, "images", blur, x.half(), k.half())
    refused(ValueError, "images", BlindDeconvolution(1, 3), 1e30 * x)


def test_bad_networks():
    refused(TypeError, "model", train_deconvolution, torch.nn.Identity(), *pair()[:1] * 2, steps=1)
    refused(ValueError, "iterations", BlindDeconvolution, 0)
    refused(TypeError, "iterations", BlindDeconvolution, 2.0)
    refused(ValueError, "size", BlindDeconvolution, 2, 4)
    refused(ValueError, "penalty", BlindDeconvolution, 2, penalty=0.0)
    refused(ValueError, "penalty", BlindDeconvolution, 2, penalty=(1.0, 2.0, 3.0))
    refused(TypeError, "spread", BlindDeconvolution, 2, spread="1")
    refused(ValueError, "ridge", BlindDeconvolution, 2, ridge=(1.0, NAN))
    refused(ValueError, "power", BlindDeconvolution, 2, power=1.5)
    refused(ValueError, "smoothness", BlindDeconvolution, 2, smoothness=0.0)
    refused(ValueError, "trim", BlindDeconvolution, 2, trim=1)
    refused(ValueError, "width", BlindDeconvolution, 2, width=-0.1)
    refused(TypeError, "learn_power", BlindDeconvolution, 2, learn_power=1)
    refused(TypeError, "dtype", BlindDeconvolution, 2, dtype=torch.float16)
    images, layer = blurred(), network()
    refused(TypeError, "images", layer, images.float())
    refused(ValueError, "images", layer, torch.ones_like(images))
    refused(ValueError, "images", layer, images * NAN)
    refused(ValueError, "images", layer, images.repeat(1, 2, 1, 1))
    refused(ValueError, "guess", layer, images[..., :8])
    refused(ValueError, "images", layer, images[..., :4])
