"""The fast layers of the room "grids" are the solutions of the equation for translations."""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch
from torch import nn

from gdl.equivariance import (
    dimension_by_characters,
    dimension_by_orbits,
    equivariance_error,
    equivariant_basis,
    span_residual,
)
from gdl.equivariance.diagnosis import diagnose
from gdl.grids import (
    CircularConv,
    LocallyConnected2d,
    PolyphaseDownsample,
    ResidualBlock,
    UNet,
    as_matrix,
    circulant,
    cnn,
    shift,
)
from gdl.representations import translations


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def conv_of_one_tap(size: tuple[int, ...], tap: tuple[int, ...]) -> torch.Tensor:
    conv = CircularConv(1, 1, size, dims=len(size), bias=False, dtype=torch.float64)
    nn.init.zeros_(conv.weight)
    conv.weight.data[(0, 0, *tap)] = 1
    return conv.as_matrix(size)


@pytest.mark.parametrize("size", [(6,), (7,), (4, 5), (6, 6)])
def test_convolutions_are_all_solutions(size):
    rho = translations(*size).defining
    basis = equivariant_basis(rho, rho)
    maps = torch.stack([conv_of_one_tap(size, tap) for tap in itertools.product(*map(range, size))])
    assert span_residual(maps, basis) < 1e-10
    rank = torch.linalg.matrix_rank(maps.flatten(1)).item()
    assert rank == len(basis) == dimension_by_characters(rho, rho) == dimension_by_orbits(rho, rho)


def test_circulants_are_all_solutions_on_a_cycle():
    rho = translations(6).defining
    basis = equivariant_basis(rho, rho)
    maps = torch.stack([circulant(theta) for theta in torch.eye(6, dtype=torch.float64)])
    assert len(basis) == 6 and span_residual(maps, basis) < 1e-10
    assert span_residual(maps + torch.diag(torch.arange(6.0)).double(), basis) > 0.1


@pytest.mark.parametrize("method", ["direct", "fft"])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((2, 4), 1), ((3, 2), 2)])
def test_layers_lie_in_the_span_of_their_support(method, kernel, dilation):
    rho = translations(6, 5).defining
    conv = CircularConv(1, 1, kernel, dilation=dilation, method=method, dtype=torch.float64)
    basis = equivariant_basis(rho, rho, support=CircularConv.as_matrix(ones(conv), (6, 5)) > 1e-9)
    assert len(basis) == kernel[0] * kernel[1]
    assert span_residual(conv.as_matrix((6, 5)), basis) < 1e-10


def ones(conv: CircularConv) -> CircularConv:
    mask = CircularConv(1, 1, conv.kernel_size, dilation=conv.dilation, dtype=torch.float64)
    nn.init.ones_(mask.weight)
    return mask


def test_channels_are_copies_of_the_representation():
    rho = translations(3, 4).defining
    basis = equivariant_basis(2 * rho, 3 * rho)
    conv = CircularConv(2, 3, 3, dtype=torch.float64)
    assert len(basis) == 2 * 3 * 12
    assert span_residual(conv.as_matrix((3, 4)), basis) < 1e-10


def test_what_lies_outside_the_span():
    rho = translations(6, 6).defining
    basis = equivariant_basis(rho, rho)
    padded = nn.Conv2d(1, 1, 3, padding=1, bias=False, dtype=torch.float64)
    local = LocallyConnected2d(1, 1, 3, size=(6, 6), bias=False, dtype=torch.float64)
    for layer in (padded, local):
        assert span_residual(as_matrix(layer, (1, 6, 6)), basis) > 0.1


def test_the_action_is_that_of_the_representation():
    rho = translations(4, 5).defining
    t0, t1 = rho.group.generator(0), rho.group.generator(1)
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    for element, g in [(t0, (1, 0)), (t1, (0, 1)), (t0 * t1.inverse(), (1, -1))]:
        assert torch.equal(rho.act(element, x.flatten(1)), shift(g, x).flatten(1))


def test_measured_by_the_shared_instrument():
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    every = list(itertools.product(range(8), range(8)))[1:]
    for net in (ResidualBlock(1), UNet(1, 2, width=4)):
        assert equivariance_error(net.double(), x, shift, shift, every) < 1e-13


def test_diagnosis_names_the_stride():
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    action = partial(shift, size=(8, 8))
    healthy = cnn(1, 3, (4, 4)).double()
    assert diagnose(healthy, x, action, elements=[(1, 0), (2, 3)]).ok
    pooled = cnn(1, 3, (4, 4), pool=lambda: nn.MaxPool2d(2)).double()
    report = diagnose(pooled, x, action, elements=[(1, 0), (2, 3)])
    assert not report.ok and "2" in report.culprit.layer
    adaptive = cnn(1, 3, (4, 4), pool=PolyphaseDownsample).double()
    assert equivariance_error(adaptive, x, shift, lambda g, y: y, [(1, 0), (2, 3)]) < 1e-12
