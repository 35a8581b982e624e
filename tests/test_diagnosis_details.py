"""What the diagnosis says and what it must not say, case by case."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gdl.equivariance.diagnosis import Diagnosis, StepReport, diagnose
from gdl.equivariance.diagnosis.diagnose import _known_inverse
from gdl.equivariance.diagnosis.report import _CAUSES
from gdl.equivariance.diagnosis.walk import _double
from gdl.representations import cyclic
from tests.test_diagnosis import (
    ANGLES,
    SHIFTS,
    TURNS,
    ComplexLinear,
    Steps,
    circular,
    image,
    rotate,
    shift,
    shift_with_size,
    turn,
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def cause_of(model, x, action, elements, **options):
    report = diagnose(model.double(), x, action, elements=elements, **options)
    return report.culprit.layer, report.culprit.cause


def vectors():
    return torch.randn(4, 5, 2, dtype=torch.float64)


# --- the report ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", _CAUSES)
def test_a_cause_has_its_own_reason_and_remedy(cause):
    row = StepReport("conv", "Conv2d", "FAILS", 0.5, 0.5, None, cause)
    assert (row.why, row.remedy) == _CAUSES[cause]


def test_reason_and_remedy_by_hand():
    row = StepReport("conv", "Conv2d", "FAILS", 0.5, 0.5, None, "randomness")
    assert row.why == "two calls on the same input differ"
    assert row.remedy.startswith("remove the noise")
    passing = StepReport("conv", "Conv2d", "ok", 0.0, 0.0)
    assert passing.why == passing.remedy == ""


def sentence(element):
    row = StepReport("conv", "Conv2d", "FAILS", 0.5, 0.5, element, "randomness")
    return str(Diagnosis((row,), 0.5, 1e-6)).splitlines()[-1]


def test_the_sentence_names_the_element_if_there_is_one():
    assert sentence((0, 1)).startswith("conv fails first for g = (0, 1) (randomness): two calls")
    assert sentence(None).startswith("conv fails first (randomness): two calls")


def test_an_element_with_a_long_text_is_shown_by_its_type():
    assert "for g = 123456789012345678901234 (" in sentence(int("1234567890" * 2 + "1234"))
    assert "for g = int (" in sentence(int("1234567890" * 3))
    assert "for g = Tensor (" in sentence(torch.eye(1).repeat(2, 1))


# --- inverses -----------------------------------------------------------------------------------


def test_inverses_that_are_known_from_the_type():
    g = torch.tensor([[2.0, 1.0], [0.0, 4.0]], dtype=torch.float64)
    assert torch.allclose(_known_inverse(g) @ g, torch.eye(2, dtype=torch.float64))
    assert _known_inverse(3) == -3 and _known_inverse(0.5) == -0.5
    assert _known_inverse((1, -2)) == (-1, 2)
    r = cyclic(5).generator(0)
    assert _known_inverse(r).word == (-1,)


@pytest.mark.parametrize(
    "g", [torch.ones(2, 3), torch.ones(2), torch.ones(2, 2, 2), torch.ones(2, 2).long(),
          "q", (0.5, 1), ("a", "b")], ids=str)
def test_inverses_that_are_not_known(g):
    assert _known_inverse(g) is None


@pytest.mark.parametrize(("model", "x", "action", "elements"), [
    (circular(2, 2), image(), shift, SHIFTS),
    (ComplexLinear(bias=False), vectors(), lambda g, t: t @ g.T,
     [torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)]),
])
def test_nothing_is_noted_where_the_inverse_is_known(model, x, action, elements):
    report = diagnose(model.double(), x, action, elements=elements)
    assert report.ok and report.notes == ()


def test_a_map_that_reverses_the_rotation_goes_the_wrong_way():
    mirror = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        mirror.weight.copy_(torch.diag(torch.tensor([1.0, -1.0])))
    assert cause_of(mirror, vectors(), rotate, ANGLES) == ("(model)", "wrong direction")


# --- rounding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_small_fault_is_not_rounding(dtype):
    layer = ComplexLinear(bias=False)
    with torch.no_grad():
        layer.weight[0, 0] += 1e-4
    report = diagnose(layer.to(dtype), vectors().to(dtype), rotate, elements=ANGLES)
    assert report.culprit.cause == "constraint"
    assert 1e-6 < report.culprit.own_error < 1e-3


def test_actions_that_differ_a_little_are_not_rounding():
    def rotate_further(angle, t):
        return rotate(angle + 1e-4, t)

    model = nn.Sequential(ComplexLinear(bias=False), ComplexLinear(bias=False))
    actions = {"0": (rotate, rotate), "1": (rotate_further, rotate_further)}
    assert cause_of(model, vectors(), rotate, ANGLES, layer_actions=actions) == (
        "1", "actions disagree")


def test_errors_are_measured_in_double_precision():
    assert _double(torch.ones(2, dtype=torch.complex64)).dtype == torch.complex128
    assert _double(torch.ones(2, dtype=torch.float32)).dtype == torch.float64
    assert _double(torch.ones(2, dtype=torch.int32)).dtype == torch.int32


# --- windows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize(("kind", "cause"), [("MaxPool", "pooling"), ("AvgPool", "pooling"),
                                             ("Conv", "stride")])
def test_windows_in_every_dimension(kind, cause, d):
    make = getattr(nn, f"{kind}{d}d")
    options = {"bias": False, "padding_mode": "circular", "stride": 2, "padding": 1}
    layer = make(1, 1, 3, **options) if kind == "Conv" else make(2)
    x = torch.randn(2, 1, *(4,) * d, dtype=torch.float64)
    assert cause_of(nn.Sequential(layer), x, lambda g, t: t.roll(g, -1), [1]) == ("0", cause)


@pytest.mark.parametrize("function", [
    lambda m, x: F.avg_pool2d(x, 3, 1), lambda m, x: F.conv2d(x, m.weight),
    lambda m, x: F.max_pool2d(x, 3, 1)])
def test_windows_without_padding_have_a_border_and_no_zeros(function):
    assert cause_of(Steps(function), image(), shift, SHIFTS)[1] == "border"


def test_a_stride_is_not_blamed_for_a_free_kernel():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2))
    assert cause_of(model, image(9), turn, TURNS) == ("0", "constraint")


def test_a_smaller_map_without_a_stride_is_untested():
    report = diagnose(nn.Sequential(nn.Conv2d(2, 4, 3)).double(), image(), shift_with_size,
                      elements=SHIFTS)
    assert [row.status for row in report.rows] == ["untested"]
    assert not report.ok and report.output_error == math.inf


def test_shifts_scale_with_the_last_axis():
    model = nn.Sequential(circular(2, 4, stride=2))
    x = torch.randn(2, 2, 8, 4, dtype=torch.float64)
    assert cause_of(model, x, shift, [(2, 2), (4, 2)]) == ("0", "resampled grid")


def test_shifts_given_by_one_number_scale_too():
    model = nn.Sequential(
        nn.Conv1d(2, 4, 3, stride=2, padding=1, padding_mode="circular"))
    x = torch.randn(2, 2, 8, dtype=torch.float64)
    assert cause_of(model, x, lambda g, t: t.roll(g, -1), [2, 4]) == ("0", "resampled grid")


class Grow(nn.Module):
    """One layer that convolves and then upsamples between the grid points."""

    def __init__(self, mode):
        super().__init__()
        self.weight, self.mode = nn.Parameter(torch.randn(2, 2, 3, 3)), mode

    def forward(self, x):
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=self.mode), self.weight)
        return F.interpolate(x, scale_factor=2, mode="bilinear")


def test_a_layer_with_weights_that_interpolates():
    model = nn.Sequential(Grow("circular"))
    assert cause_of(model, image(), shift_with_size, SHIFTS) == ("0", "interpolation")


def test_neither_of_two_faults_in_one_layer_is_named_alone():
    _, cause = cause_of(nn.Sequential(Grow("constant")), image(), shift_with_size, SHIFTS)
    assert cause == "constraint"


# --- kinds of layers ----------------------------------------------------------------------------


def test_the_bias_of_a_function():
    layer = ComplexLinear()
    model = Steps(lambda m, x: F.linear(x, layer.weight.to(x), layer.bias.to(x)))
    assert cause_of(model, vectors(), rotate, ANGLES) == ("linear()", "bias")


def test_a_nonlinearity_that_mixes_entries_is_not_pointwise():
    model = Steps(lambda m, x: torch.softmax(x, -1))
    assert cause_of(model, vectors(), rotate, ANGLES) == ("softmax()", "unexplained")


def test_weights_behind_a_nonlinearity_are_no_constraint():
    class Bent(nn.Linear):
        def forward(self, x):
            y = super().forward(x)
            return y + 0.1 * torch.sin(y)

    assert cause_of(nn.Sequential(Bent(2, 2)), vectors(), rotate, ANGLES) == ("0", "unexplained")


def test_reading_one_position_is_not_flattening():
    model = Steps(lambda m, x: x[:, :, 0, 0])
    assert cause_of(model, image(), shift, SHIFTS) == ("getitem()", "unexplained")


def test_an_attribute_is_a_step_with_its_own_name():
    assert cause_of(Steps(lambda m, x: x.mT), image(), shift, SHIFTS)[0] == "mT()"


def test_a_layer_that_needs_its_batch_in_eval_mode_too_is_not_blamed_on_train_mode():
    model = nn.Sequential(circular(2, 4), nn.BatchNorm2d(4, track_running_stats=False))
    report = diagnose(model.double(), image(), shift, elements=SHIFTS)
    assert model.training and report.ok, str(report)


def test_both_walks_draw_the_same_random_numbers():
    model = Steps(lambda m, x: x * torch.rand((), dtype=x.dtype))
    report = diagnose(model.double(), image(), shift, elements=SHIFTS)
    assert report.ok, str(report)
