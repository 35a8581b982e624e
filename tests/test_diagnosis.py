"""diagnose names the layer and the cause of planted faults, and says nothing of a clean model."""

from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gdl.equivariance.diagnosis import diagnose
from gdl.representations import cyclic, regular

SHIFTS = [(0, 1), (1, 0), (2, 3)]
TURNS = [1, 2, 3]
ANGLES = [0.3, 1.1, -2.0]
DTYPES = [torch.float32, torch.float64]


def shift(g, t):
    return t.roll(g, (-2, -1))


def shift_with_size(g, t):
    """A shift of the 8 x 8 input, on a map of any size."""
    rows, columns = g
    if rows * t.shape[-2] % 8 or columns * t.shape[-1] % 8:
        raise ValueError("the shift leaves the grid")
    return t.roll((rows * t.shape[-2] // 8, columns * t.shape[-1] // 8), (-2, -1))


def turn(g, t):
    return t.rot90(g, (-2, -1))


def regular_turn(g, t):
    """Turn the positions, and permute the four orientations of every field."""
    fields = t.unflatten(1, (-1, 4)).rot90(g, (-2, -1)).roll(g, 2)
    return fields.flatten(1, 2)


def rotate(angle, t):
    c, s = math.cos(angle), math.sin(angle)
    return t @ torch.tensor([[c, s], [-s, c]], dtype=t.dtype)


def turn_by_sampling(angle, t):
    c, s = math.cos(angle), math.sin(angle)
    matrix = torch.tensor([[c, -s, 0.0], [s, c, 0.0]], dtype=t.dtype).expand(len(t), 2, 3)
    grid = F.affine_grid(matrix, t.shape, align_corners=False)
    return F.grid_sample(t, grid, align_corners=False)


def image(n=8, dtype=torch.float64, channels=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, channels, n, n, generator=generator, dtype=dtype)


def circular(c_in, c_out, **options):
    return nn.Conv2d(c_in, c_out, 3, padding=1, padding_mode="circular", **options)


def symmetric(c_in, c_out, **options):
    """A convolution whose kernel is its own quarter turn."""
    conv = nn.Conv2d(c_in, c_out, 3, **options)
    with torch.no_grad():
        conv.weight.copy_(sum(conv.weight.rot90(k, (-2, -1)) for k in range(4)) / 4)
    return conv


class Lift(nn.Module):
    """Correlate with the four turns of a kernel; `direction` -1 turns it the wrong way."""

    def __init__(self, c_in, c_out, direction=1, bias=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, 3, 3))
        self.bias = nn.Parameter(torch.randn(4 * c_out)) if bias else None
        self.direction = direction

    def forward(self, x):
        turns = [self.weight.rot90(self.direction * k, (-2, -1)) for k in range(4)]
        return F.conv2d(x, torch.stack(turns, 1).flatten(0, 1), self.bias, padding=1)


class OrientationMax(nn.Module):
    def forward(self, x):
        return x.unflatten(1, (-1, 4)).amax(2)


class ComplexLinear(nn.Linear):
    """The 2 x 2 maps that commute with rotations, and a bias that does not."""

    def __init__(self, bias=True):
        super().__init__(2, 2, bias=bias)
        with torch.no_grad():
            self.weight.copy_(torch.tensor([[0.6, -0.9], [0.9, 0.6]]))


class Variance(nn.Module):
    """E[x^2] - E[x]^2: the textbook loss of digits."""

    def forward(self, x):
        x = x + 1e3
        return (x * x).mean((-2, -1)) - x.mean((-2, -1)) ** 2


class Residual(nn.Module):
    def __init__(self, channels, mode="circular"):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3)
        self.mode = mode

    def forward(self, x):
        return x + torch.relu(self.conv(F.pad(x, (1, 1, 1, 1), mode=self.mode)))


def clean_model():
    return nn.Sequential(
        circular(2, 4), nn.ReLU(inplace=True), Residual(4), nn.BatchNorm2d(4), nn.Dropout(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()


def planted():
    """name, model, size of x, action, elements, options, (layer, cause)."""
    lifted = {"0": (turn, regular_turn), "2": (regular_turn, turn)}
    shifts, turns = (shift, SHIFTS), (turn, TURNS)
    return [
        ("zero padding", nn.Sequential(circular(2, 4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)),
         8, *shifts, {}, ("2", "zero padding")),
        ("valid convolution", nn.Sequential(circular(2, 4), nn.Conv2d(4, 4, 3)),
         8, *shifts, {}, ("1", "border")),
        ("stride, turned", nn.Sequential(symmetric(2, 4, padding=1), symmetric(4, 4, stride=2)),
         8, *turns, {}, ("1", "stride")),
        ("stride, shifted", nn.Sequential(circular(2, 4), circular(4, 4, stride=2)),
         8, *shifts, {}, ("1", "stride")),
        ("stride, action refuses", nn.Sequential(circular(2, 4), circular(4, 4, stride=2)),
         8, shift_with_size, SHIFTS, {}, ("1", "stride")),
        ("stride and zeros", nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1)),
         8, *shifts, {}, ("0", "stride")),
        ("shift scaled by the stride", nn.Sequential(circular(2, 4), circular(4, 4, stride=2)),
         8, shift, [(2, 0), (4, 2)], {}, ("1", "resampled grid")),
        ("max-pool, shifted", nn.Sequential(circular(2, 4), nn.MaxPool2d(2), nn.ReLU()),
         8, *shifts, {}, ("1", "pooling")),
        ("max-pool, turned, odd size", nn.Sequential(symmetric(2, 4, padding=1), nn.MaxPool2d(2)),
         9, *turns, {}, ("1", "pooling")),
        ("mean-pool", nn.Sequential(circular(2, 4), nn.AvgPool2d(2)),
         8, *shifts, {}, ("1", "pooling")),
        ("bias on a regular field", nn.Sequential(
            Lift(2, 3, bias=True), nn.ReLU(), OrientationMax()),
         8, *turns, {"layer_actions": lifted}, ("0", "bias")),
        ("wrong direction", nn.Sequential(Lift(2, 3, -1), nn.ReLU(), nn.Conv2d(12, 4, 1)),
         8, *turns, {"layer_actions": lifted}, ("0", "wrong direction")),
        ("batch norm", nn.Sequential(circular(2, 4).eval(), nn.BatchNorm2d(4), nn.ReLU()),
         8, *shifts, {}, ("1", "train mode")),
        ("dropout", nn.Sequential(circular(2, 4), nn.ReLU(), nn.Dropout()),
         8, *shifts, {}, ("2", "train mode")),
        ("bilinear upsampling", nn.Sequential(
            circular(2, 4), nn.Upsample(scale_factor=2, mode="bilinear")),
         8, shift_with_size, SHIFTS, {}, ("1", "interpolation")),
        ("free kernel", nn.Sequential(symmetric(2, 4, padding=1), nn.Conv2d(4, 4, 3, padding=1)),
         8, *turns, {}, ("1", "constraint")),
        ("flattening", nn.Sequential(circular(2, 4), nn.Flatten(), nn.Linear(256, 3)),
         8, *shifts, {}, ("1", "flattening")),
    ]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("number", range(17))
def test_planted_faults_on_images(number, dtype):
    name, model, size, action, elements, options, expected = planted()[number]
    report = diagnose(model.to(dtype), image(size, dtype), action, elements=elements, **options)
    assert report.culprit is not None, name
    assert (report.culprit.layer, report.culprit.cause) == expected, f"{name}\n{report}"
    assert not report.ok and not report.test_at_fault
    assert report.culprit.own_error is None or report.culprit.own_error > 1e-3
    assert all(row.status != "FAILS" for row in report.rows[: report.rows.index(report.culprit)])


def test_every_planted_fault_is_run():
    assert len(planted()) == 17


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("layer", "cause"), [(ComplexLinear(), "bias"), (nn.ReLU(), "nonlinearity"),
                         (nn.Linear(2, 2), "constraint")])
def test_planted_faults_on_vectors(layer, cause, dtype):
    model = nn.Sequential(ComplexLinear(bias=False), copy.deepcopy(layer)).to(dtype)
    x = torch.randn(4, 5, 2, dtype=dtype)
    report = diagnose(model, x, rotate, elements=ANGLES)
    assert (report.culprit.layer, report.culprit.cause) == ("1", cause)
    assert diagnose(model[:1], x, rotate, elements=ANGLES).ok


@pytest.mark.parametrize("dtype", DTYPES)
def test_clean_models_pass(dtype):
    lifted = {"0": (turn, regular_turn), "2": (regular_turn, turn)}
    cases = [
        (clean_model(), 8, shift, SHIFTS, {}),
        (nn.Sequential(symmetric(2, 4, padding=1), symmetric(4, 4, stride=2)), 9, turn, TURNS, {}),
        (nn.Sequential(symmetric(2, 4, padding=1), nn.MaxPool2d(2)), 8, turn, TURNS, {}),
        (nn.Sequential(circular(2, 4, stride=2), nn.ReLU()), 8, shift_with_size, [(2, 4)], {}),
        (nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU()), 8, shift_with_size, SHIFTS, {}),
        (nn.Sequential(Lift(2, 3), nn.ReLU(), OrientationMax()), 8, turn, TURNS,
         {"layer_actions": lifted}),
        (nn.Sequential(Lift(2, 3), nn.ReLU()), 8, turn, TURNS, {"out_action": regular_turn}),
    ]
    for model, size, action, elements, options in cases:
        report = diagnose(
            model.to(dtype), image(size, dtype), action, elements=elements, **options)
        assert report.ok and report.culprit is None, str(report)
        assert report.output_error <= 1e-6
        assert str(report).endswith("The model commutes with every element tested.")


def test_the_output_action_is_needed_after_lifting():
    model = nn.Sequential(Lift(2, 3), nn.ReLU()).double()
    report = diagnose(model, image(), turn, elements=TURNS)
    assert report.culprit.layer == "0"


@pytest.mark.parametrize("direction", [1, -1])
def test_direction_needs_an_inverse(direction):
    model = nn.Sequential(Lift(2, 3, direction)).double()

    def by_name(g, t):
        return turn("eqh".index(g) + 1, t)

    def regular_by_name(g, t):
        return regular_turn("eqh".index(g) + 1, t)

    options = {"elements": ["e", "q", "h"], "out_action": regular_by_name}
    report = diagnose(model, image(), by_name, **options)
    assert report.ok == (direction == 1)
    assert "No inverse is known" in str(report)
    opposite = {"e": "h", "q": "q", "h": "e"}.get
    report = diagnose(model, image(), by_name, inverse=opposite, **options)
    assert report.ok == (direction == 1)
    assert "No inverse is known" not in str(report)
    if direction == -1:
        assert report.culprit.cause == "wrong direction"


def test_the_worst_element_is_named():
    report = diagnose(nn.Conv2d(2, 2, 3, padding=1), image(dtype=torch.float32), shift,
                      elements=[(0, 0), (0, 1)])
    assert report.culprit.worst_element == (0, 1)
    model = nn.Sequential(circular(2, 4, stride=2)).double()
    report = diagnose(model, image(), shift_with_size, elements=[(2, 0), (4, 4), (2, 1)])
    assert report.culprit.worst_element == (2, 1)


def test_precision_is_told_from_a_fault():
    x = image(dtype=torch.float32)
    report = diagnose(nn.Sequential(circular(2, 2), Variance()), x, shift, elements=SHIFTS)
    assert report.culprit.cause == "precision"
    assert 1e-6 < report.culprit.own_error < 0.5
    assert diagnose(nn.Sequential(circular(2, 2), Variance()).double(), x.double(), shift,
                    elements=SHIFTS).ok
    model = nn.Sequential(*(ComplexLinear(bias=False) for _ in range(3)))
    report = diagnose(model, torch.randn(4, 2), rotate, elements=ANGLES, tolerance=1e-10)
    assert (report.culprit.layer, report.culprit.cause) == ("0", "precision")


def test_rounding_that_accumulates_is_precision():
    model = nn.Sequential(*(ComplexLinear(bias=False) for _ in range(40)))
    x = torch.randn(64, 2)
    single = diagnose(model[:1], x, rotate, elements=ANGLES, tolerance=1e-10).rows[0].own_error
    report = diagnose(model, x, rotate, elements=ANGLES, tolerance=2 * single)
    assert report.culprit.cause == "precision"
    assert report.culprit.own_error <= 2 * single < report.culprit.accumulated_error


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_interpolating_action_is_the_fault_of_the_test(dtype):
    model = nn.Sequential(symmetric(2, 4, padding=1), nn.ReLU()).to(dtype)
    report = diagnose(model, image(dtype=dtype), turn_by_sampling, elements=[0.5, 1.0])
    assert report.test_at_fault and report.culprit is None and not report.ok
    assert report.first_failure.cause == "interpolating action"
    assert "The test, not the model, is at fault" in str(report)


class Steps(nn.Module):
    """A model given by a function, so that only functional steps are seen."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.randn(2, 2, 3, 3))
        self.offset = nn.Parameter(torch.randn(8, 8))

    def forward(self, x):
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "layer", "cause"),
    [
        (lambda m, x: F.conv2d(x, m.weight, padding=1), "conv2d()", "zero padding"),
        (lambda m, x: F.conv2d(F.pad(x, (1, 1, 1, 1)), m.weight), "pad()", "zero padding"),
        (lambda m, x: F.max_pool2d(torch.relu(x), 2), "max_pool2d()", "pooling"),
        (lambda m, x: x + torch.relu(x) + m.offset, "add()#2", "bias"),
        (lambda m, x: F.dropout(x), "dropout()", "randomness"),
        (lambda m, x: F.interpolate(x, size=(11, 11), mode="bilinear"), "interpolate()",
         "interpolation"),
        (lambda m, x: x.flatten(1), "flatten()", "flattening"),
        (lambda m, x: torch.flip(x, (-1,)), "flip()", "unexplained"),
    ],
)
def test_functional_steps_are_seen(function, layer, cause):
    report = diagnose(Steps(function).double(), image(), shift, elements=SHIFTS)
    assert (report.culprit.layer, report.culprit.cause) == (layer, cause), str(report)
    assert report.culprit.kind == "function"


def test_an_assignment_in_place_is_a_step():
    def first_row(module, x):
        y = x.clone()
        y[..., 0, :] = 0 * x[..., 0, :]
        return y

    report = diagnose(Steps(first_row).double(), image(), shift, elements=SHIFTS)
    assert report.culprit.layer == "setitem()"


def test_errors_that_are_undone_are_no_fault():
    report = diagnose(Residual(2).double(), image(), shift, elements=SHIFTS)
    status = {row.layer: row.status for row in report.rows}
    assert report.ok and status["pad()"] == "healed"
    broken = diagnose(Residual(2, "reflect").double(), image(), shift, elements=SHIFTS)
    assert broken.culprit.layer == "pad()"


def test_a_step_that_cannot_be_tested_alone():
    def through_five_axes(module, x):
        windows = x.unsqueeze(2) * module.offset
        return windows.sum(2)

    report = diagnose(Steps(through_five_axes).double(), image(), shift, elements=SHIFTS)
    assert (report.culprit.layer, report.culprit.cause) == ("sum()", "untested step")
    assert report.culprit.own_error is None and report.culprit.accumulated_error > 0.1


def test_declared_actions_that_do_not_meet():
    model = nn.Sequential(Lift(2, 3), nn.ReLU()).double()
    actions = {"1": (turn, turn), "0": (turn, regular_turn)}
    report = diagnose(model, image(), turn, elements=TURNS, layer_actions=actions)
    assert (report.culprit.layer, report.culprit.cause) == ("1", "actions disagree")


def test_a_block_can_count_as_one_layer():
    model = nn.Sequential(nn.Sequential(circular(2, 4), nn.Conv2d(4, 2, 3, padding=1)), nn.ReLU())
    report = diagnose(model.double(), image(), shift, elements=SHIFTS,
                      layer_actions={"0": (shift, shift)})
    assert [row.layer for row in report.rows] == ["0", "1"]
    assert (report.culprit.layer, report.culprit.cause) == ("0", "zero padding")


def test_a_shared_module_has_one_row_for_each_call():
    relu = nn.ReLU(inplace=True)
    model = nn.Sequential(circular(2, 2), relu, nn.Conv2d(2, 2, 3, padding=1), relu).double()
    report = diagnose(model, image(), shift, elements=SHIFTS)
    assert [row.layer for row in report.rows] == ["0", "1", "2", "1#2"]
    assert [row.status for row in report.rows] == ["ok", "ok", "FAILS", "ok"]


def test_a_module_with_two_inputs():
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right, self.mix = circular(2, 3), circular(2, 3), nn.Bilinear(8, 8, 8)

        def forward(self, x):
            return self.mix(self.left(x), self.right(x))

    report = diagnose(Product().double(), image(), shift, elements=SHIFTS)
    assert [row.status for row in report.rows] == ["ok", "ok", "FAILS"]


def test_attention_is_one_layer():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)

    class Attend(nn.Module):
        def __init__(self, positions):
            super().__init__()
            self.attention = attention
            self.positions = nn.Embedding(6, 4) if positions else None

        def forward(self, x):
            if self.positions is not None:
                x = x + self.positions(torch.arange(6))
            return self.attention(x, x, x, need_weights=False)[0]

    def permute(g, t):
        return t.roll(g, 1)

    x = torch.randn(2, 6, 4, dtype=torch.float64)
    clean = diagnose(Attend(False).double(), x, permute, elements=[1, 2])
    assert clean.ok and [row.layer for row in clean.rows] == ["attention"]
    report = diagnose(Attend(True).double(), x, permute, elements=[1, 2])
    assert (report.culprit.layer, report.culprit.cause) == ("add()", "bias")


def test_dropout_in_a_layer_with_several_inputs():
    class Attend(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)

        def forward(self, x):
            return self.attention(x, x + 1, x, need_weights=False)[0]

    x = torch.randn(2, 6, 4, dtype=torch.float64)
    report = diagnose(Attend().double(), x, lambda g, t: t.roll(g, 1), elements=[1, 2])
    assert (report.culprit.layer, report.culprit.cause) == ("attention", "train mode")


def test_the_output_carries_the_action_of_the_input_of_its_shape():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift = Lift(2, 3)

        def forward(self, x):
            return x.sum(1, keepdim=True) * self.lift(x)

    report = diagnose(Masked().double(), image(), turn, elements=TURNS,
                      layer_actions={"lift": (turn, regular_turn)})
    assert report.ok, str(report)


def test_the_output_action_has_the_last_word():
    report = diagnose(nn.Sequential(Lift(2, 3)).double(), image(), turn, elements=TURNS,
                      layer_actions={"0": (turn, regular_turn)}, out_action=turn)
    assert not report.ok and report.culprit is None and report.output_error > 0.1
    assert "see out_action" in str(report)


def test_a_guessed_inverse_is_verified():
    def permute(g, t):
        return t[:, list(g)]

    report = diagnose(nn.Linear(3, 3).double(), torch.randn(4, 3, dtype=torch.float64), permute,
                      elements=[(1, 2, 0)])
    assert "No inverse is known" in str(report) and report.culprit.cause == "constraint"


def test_steps_in_place_are_judged_on_what_they_received():
    def in_place(module, x):
        y = 1 * x
        y += module.offset
        return y

    torch.manual_seed(0)
    inner = diagnose(Steps(in_place).double(), image(), shift, elements=SHIFTS)
    torch.manual_seed(0)
    outer = diagnose(Steps(lambda m, x: 1 * x + m.offset).double(), image(), shift,
                     elements=SHIFTS)
    assert inner.culprit.cause == outer.culprit.cause == "bias"
    assert inner.culprit.own_error == outer.culprit.own_error > 0.1


def test_a_representation_is_an_action():
    rho = regular(cyclic(6))
    elements = rho.group.elements()[1:]
    x = torch.randn(3, 6, dtype=torch.float64)
    report = diagnose(nn.Linear(6, 6).double(), x, rho, elements=elements)
    assert (report.culprit.layer, report.culprit.cause) == ("(model)", "constraint")
    assert diagnose(nn.Softmax(-1), x, rho, elements=elements, out_action=rho).ok


def test_the_model_is_left_as_it_was():
    def hook(module, args, output):
        return None

    model = nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm2d(2), nn.Dropout(), nn.MaxPool2d(2))
    model[0].eval()
    handle = model[3].register_forward_hook(hook)
    before = copy.deepcopy(model.state_dict())
    x = image(dtype=torch.float32)
    kept, state = x.clone(), torch.get_rng_state()
    diagnose(model, x, shift, elements=SHIFTS)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [m.training for m in model] == [False, True, True, True] and model.training
    assert all(not m._forward_pre_hooks for m in model.modules())
    assert [len(m._forward_hooks) for m in model] == [0, 0, 0, 1]
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(x, kept)
    assert all(p.grad is None for p in model.parameters()) and torch.is_grad_enabled()
    handle.remove()


def test_text_has_no_measured_digits_on_request():
    model = nn.Sequential(circular(2, 4), nn.ReLU(), nn.MaxPool2d(2)).double()
    report = diagnose(model, image(), shift, elements=SHIFTS[:1])
    assert report.to_text(digits=False).splitlines()[:4] == [
        "layer  kind       status  worst g  cause",
        "0      Conv2d     ok      -",
        "1      ReLU       ok      -",
        "2      MaxPool2d  FAILS   (0, 1)   pooling",
    ]
    assert "e-" not in report.to_text(digits=False)
    header, *_ = str(report).splitlines()
    assert "own error" in header and "accumulated" in header
    assert report.culprit.remedy in str(report) and report.culprit.why in str(report)


def test_an_output_made_outside_torch_is_reported():
    def detour(module, x):
        return torch.from_numpy(x.detach().numpy()[..., ::-1].copy())

    report = diagnose(Steps(detour).double(), image(), shift, elements=SHIFTS)
    assert not report.ok and report.culprit is None
    assert "leaves torch" in str(report)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"model": torch.relu}, TypeError, "model: expected a torch module"),
        ({"model": nn.LSTM(8, 8), "x": torch.randn(3, 8, 8)}, TypeError,
         "model: expected to return one tensor, got tuple"),
        ({"x": [1.0]}, TypeError, "x: expected a tensor, got list"),
        ({"x": torch.ones(2, 2, 8, 8, dtype=torch.long)}, TypeError, "x: expected floating"),
        ({"x": torch.full((1, 2, 8, 8), math.nan)}, ValueError, "x: expected finite"),
        ({"x": torch.ones(0, 2, 8, 8)}, ValueError, r"x: .* shape \(0, 2, 8, 8\)"),
        ({"x": torch.ones(2, 2, 8, 8)}, ValueError, "elements: every element leaves x fixed"),
        ({"x": torch.ones(())}, ValueError, "x: expected a batch"),
        ({"elements": []}, ValueError, "elements: expected at least one"),
        ({"elements": [(1, 1, 1)]}, ValueError, "action: it does not apply to x"),
        ({"action": "shift"}, TypeError, "action: expected"),
        ({"action": lambda g, t: None}, TypeError, "action: expected to return a tensor"),
        ({"inverse": lambda g: g}, ValueError, "inverse: action"),
        ({"tolerance": 0.0}, ValueError, "tolerance: expected a positive"),
        ({"layer_actions": {"a": (shift, shift)}}, ValueError, "layer_actions: no step 'a'"),
        ({"layer_actions": {"0": (shift,)}}, ValueError, "layer_actions: expected two"),
        ({"action": lambda g, t: t[..., :5], "model": nn.Linear(8, 8)}, ValueError,
         "model: it runs on x but not on g.x"),
    ],
)
def test_wrong_input(change, error, match):
    arguments = {"model": nn.Sequential(circular(2, 2)), "x": image(dtype=torch.float32),
                 "action": shift, "elements": SHIFTS} | change
    with pytest.raises(error, match=match):
        diagnose(arguments.pop("model"), arguments.pop("x"), arguments.pop("action"), **arguments)
