"""Group convolution against the solver, the counting formula, loops over the group, and torch."""

from __future__ import annotations

import copy
import itertools
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gdl import groups
from gdl import representations as reps
from gdl.equivariance import equivariance_error, equivariant_basis, kernel_basis, span_residual

F64 = torch.float64
C4, D4 = reps.cyclic(4), reps.dihedral(4)
GRID_GROUPS = [reps.cyclic(n) for n in (2, 4)] + [reps.dihedral(n) for n in (1, 2, 4)]


def fibres(group: reps.Group) -> dict[str, reps.Representation]:
    """Every kind of fibre: trivial, sign, vector, regular, quotient, and a sum."""
    n = group.relations[0].power
    found = {
        "trivial": reps.trivial(group),
        "sign": reps.circular_irrep(group, n // 2),
        "plane": groups.plane(group),
        "regular": reps.regular(group),
        "quotient": reps.cosets(group, [group.elements()[-1]]),
    }
    found["sum"] = 2 * found["trivial"] + found["plane"] + found["quotient"]
    return found


def points(K: int) -> torch.Tensor:
    axis = torch.arange(K, dtype=F64) - (K - 1) / 2
    y, x = torch.meshgrid(axis.flip(0), axis, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)


def counted(rho_in: reps.Representation, rho_out: reps.Representation, K: int) -> int:
    """1/|H| sum_h Fix(h) chi_out(h) chi_in(h^-1), the fixed offsets counted one by one."""
    group, total = rho_in.group, 0.0
    for g in group.elements():
        moved = points(K) @ groups.plane(group)(g).T
        fixed = int(((moved - points(K)).abs().max(1).values < 1e-9).sum())
        total += fixed * rho_out.character(g) * rho_in.character(g.inverse())
    return round(total / group.order)


PAIRS = [
    (group, a, b, K)
    for group in (C4, D4)
    for a, b in itertools.product(("trivial", "sign", "plane", "regular", "quotient"), repeat=2)
    for K in (2, 3)
]


@pytest.mark.parametrize(("group", "a", "b", "K"), PAIRS, ids=str)
def test_the_kernels_are_counted_by_burnside_and_span_what_the_solver_finds(group, a, b, K):
    rho_in, rho_out = fibres(group)[a], fibres(group)[b]
    layer_space = groups.grid_kernels(rho_in, rho_out, K)
    solved = kernel_basis(rho_in, rho_out, points(K), groups.plane(group), method="transport")
    assert len(layer_space) == len(solved) == counted(rho_in, rho_out, K)
    if len(solved):
        assert span_residual(solved.flatten(2), layer_space) < 1e-12
        if len(solved) < solved[0].numel():
            any_kernel = torch.randn(1, *layer_space.shape, dtype=F64)
            assert span_residual(any_kernel, layer_space) > 1e-3


@pytest.mark.parametrize(("name", "group", "factor"), [("p4", C4, 4), ("p4m", D4, 8)])
@pytest.mark.parametrize("K", [1, 2, 3, 5])
def test_regular_fields_have_one_weight_for_each_tap_and_element(name, group, factor, K):
    layer = groups.GroupConv2d(1, 1, K, group)
    assert layer.weight.numel() == factor * K**2
    assert groups.LiftingConv2d(1, 1, K, group).weight.numel() == K**2


@pytest.mark.parametrize("name", ["p4", "p4m"])
def test_the_layer_solves_the_equation_of_the_whole_plane_group(name):
    """The commutant on a 5 x 5 torus, found without any kernel, holds every layer of that size."""
    n, group = 5, {"p4": C4, "p4m": D4}[name]
    whole = reps.plane_group(name, n)
    rho_in, rho_out = groups.plane(group), reps.circular_irrep(group, 0)
    # plane_group mirrors the columns; in D_4 that is the half turn times the mirror of the rows.
    r = group.generator(0)
    inside = [group.identity(), group.identity(), r]
    if name == "p4m":
        inside.append(r * r * group.generator(1))
    pairs = list(zip(inside, whole.defining.generators, strict=True))
    fields = [
        reps.Representation(whole, [torch.kron(rho(h), _matrix(p)) for h, p in pairs])
        for rho in (rho_in, rho_out)
    ]
    options = {"padding": 2, "padding_mode": "circular", "bias": False, "dtype": F64}
    layer = groups.GroupConv2d(1, 1, 5, group, rho_in, rho_out, **options)
    solution = equivariant_basis(*fields)
    assert len(solution) == layer.weight.numel()
    maps = []
    for k in range(len(solution)):
        with torch.no_grad():
            layer.weight.copy_(torch.eye(len(solution), dtype=F64)[k])
        units = torch.eye(2 * n * n, dtype=F64).reshape(-1, 2, n, n)
        maps.append(layer(units).detach().flatten(1).T)
    assert span_residual(torch.stack(maps), solution) < 1e-10
    assert torch.linalg.matrix_rank(torch.stack(maps).flatten(1)) == len(solution)
    assert span_residual(torch.stack(maps).roll(1, 1), solution) > 0.1


def _matrix(permutation: torch.Tensor) -> torch.Tensor:
    return torch.eye(len(permutation), dtype=F64)[:, permutation].contiguous()


@pytest.mark.parametrize("group", [C4, D4], ids=str)
@pytest.mark.parametrize("K", [2, 3])
def test_group_convolution_is_the_sum_over_the_group_of_cohen_and_welling(group, K):
    """(f * psi)(x, h) = sum_y sum_u psi(h^-1 (y - x), h^-1 u) f(y, u), as loops."""
    layer = groups.GroupConv2d(1, 1, K, group, bias=False, dtype=F64)
    elements, n = group.elements(), 4
    psi = layer.kernel()[0].reshape(len(elements), K, K).detach()
    f = torch.randn(1, len(elements), n, n, dtype=F64)
    expected = torch.zeros(1, len(elements), n - K + 1, n - K + 1, dtype=F64)
    taps = points(K)
    for i, h in enumerate(elements):
        turned = torch.zeros(len(elements), K * K, dtype=F64)
        back = groups.plane(group)(h.inverse())
        for j, u in enumerate(elements):
            source = group.index(h.inverse() * u)
            for t, x in enumerate(taps):
                at = int((taps - back @ x).norm(dim=1).argmin())
                turned[j, t] = psi[source].flatten()[at]
        expected[:, i] = F.conv2d(f, turned.reshape(1, -1, K, K))[:, 0]
    assert torch.allclose(layer(f), expected, atol=1e-13)
    assert torch.equal(layer.kernel()[:: group.order], layer.kernel()[:1])


def test_lifting_correlates_with_every_turned_filter():
    layer = groups.LiftingConv2d(1, 1, 3, C4, bias=False, dtype=F64)
    psi, f = layer.kernel()[:1].detach(), torch.randn(1, 1, 6, 6, dtype=F64)
    for i, h in enumerate(C4.elements()):
        quarter = sum(1 if a > 0 else -1 for a in h.word)
        turned = torch.rot90(psi, quarter, (-2, -1))
        assert torch.allclose(layer(f)[:, i], F.conv2d(f, turned)[:, 0], atol=1e-14)


def three_layers(group: reps.Group, **options) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        groups.LiftingConv2d(2, 3, 3, group, padding=1, **options),
        nn.ReLU(),
        groups.GroupConv2d(3, 4, 3, group, padding=1, **options),
        nn.ReLU(),
        groups.GroupConv2d(4, 2, 3, group, padding=1, **options),
    )
    for layer in net[::2]:
        nn.init.normal_(layer.bias)
    return net


def all_and_products(group: reps.Group) -> list[reps.Element]:
    return [g * h for g, h in itertools.product(group.elements(), repeat=2)]


@pytest.mark.parametrize("group", [C4, D4], ids=["p4", "p4m"])
@pytest.mark.parametrize("n", [8, 9])
def test_three_layers_with_biases_are_equivariant_to_rounding(group, n):
    net, x = three_layers(group, dtype=F64), torch.randn(2, 2, n, n, dtype=F64)
    pixels, act = groups.field_action(reps.trivial(group)), groups.field_action(reps.regular(group))
    error = equivariance_error(net, x, pixels, act, all_and_products(group))
    assert error < 1e-12
    assert float(net(x).detach().std()) > 0.1

    def other_way(g, f):
        return act(g.inverse(), f)

    assert equivariance_error(net, x, pixels, other_way, group.elements()) > 0.1


@pytest.mark.parametrize("group", [C4, D4], ids=["p4", "p4m"])
def test_a_layer_that_turns_its_filters_the_other_way_fails(group):
    """The broken twin: the points move clockwise, the fibres as before."""
    net, x = three_layers(group, dtype=F64), torch.randn(2, 2, 8, 8, dtype=F64)
    turned = groups.plane(group)
    other = reps.Representation(group, [a.T for a in turned.generators])
    rho = reps.regular(group)
    kernels = kernel_basis(rho, rho, points(3), other)
    twin = groups.FieldConv2d(3, 4, 3, rho, rho, kernels.flatten(2), padding=1, dtype=F64)
    assert (
        equivariance_error(
            nn.Sequential(net[0], twin),
            x,
            groups.field_action(reps.trivial(group)),
            groups.field_action(rho),
            group.elements(),
        )
        > 0.1
    )


@pytest.mark.parametrize("group", GRID_GROUPS, ids=str)
@pytest.mark.parametrize(("a", "b"), [("sum", "regular"), ("plane", "sum"), ("sum", "sum")])
def test_every_fibre_and_every_option_is_equivariant(group, a, b):
    torch.manual_seed(1)
    rho_in, rho_out = fibres(group)[a], fibres(group)[b]
    act_in, act_out = groups.field_action(rho_in), groups.field_action(rho_out)
    options = [
        {"kernel_size": 3, "padding": "same"},
        {"kernel_size": 2, "stride": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 3, "dilation": 2, "padding": 2, "padding_mode": "circular"},
        {"kernel_size": 4, "padding": 1, "padding_mode": "replicate", "groups": 2},
    ]
    for option in options:
        n = 8 if option["kernel_size"] % 2 == 0 else 9
        layer = groups.GroupConv2d(
            2, 4, group=group, rho_in=rho_in, rho_out=rho_out, dtype=F64, **option
        )
        x = torch.randn(2, 2 * rho_in.dim, n, n, dtype=F64)
        assert equivariance_error(layer, x, act_in, act_out, all_and_products(group)) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("mode", groups.convolution.PADDING_MODES)
def test_the_plain_convolution_has_the_same_values(mode, dtype):
    layer = groups.GroupConv2d(
        2, 4, 3, D4, stride=2, padding=1, groups=2, padding_mode=mode, dtype=dtype
    )
    plain = layer.to_conv2d()
    assert type(plain) is nn.Conv2d and plain.weight.dtype == dtype
    x = torch.randn(3, 16, 9, 9, dtype=dtype)
    assert torch.allclose(plain(x), layer(x), atol=1e-12 if dtype == F64 else 1e-5, rtol=0)
    with torch.no_grad():
        layer.weight.zero_()
    assert plain.weight.abs().max() > 0.01


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_torchs_convolution_with_the_expanded_kernel(bias):
    layer = groups.GroupConv2d(2, 3, 3, C4, padding=1, dilation=2, bias=bias, dtype=F64)
    x = torch.randn(2, 8, 9, 9, dtype=F64)
    constant = layer.bias.repeat_interleave(4, 0)[:, 0] / 2 if bias else None
    expected = F.conv2d(x, layer.kernel(), constant, padding=1, dilation=2)
    assert torch.allclose(layer(x), expected, atol=1e-14)
    assert layer(x[0]).shape == expected[0].shape
    assert torch.allclose(layer(x[0]), expected[0], atol=1e-14)


def test_words_for_paddings_are_numbers():
    for word, number in (("valid", 0), ("same", 2)):
        layer = groups.GroupConv2d(1, 1, 3, C4, padding=word, dilation=2)
        assert layer.padding == (number, number)


def test_fields_without_invariants_have_no_bias():
    layer = groups.GroupConv2d(1, 1, 3, C4, rho_out=groups.plane(C4))
    assert layer.bias is None and layer.to_conv2d().bias is None
    assert groups.GroupConv2d(1, 2, 3, C4, rho_out=fibres(C4)["sum"]).bias.shape == (2, 3)


def test_gradients_reach_the_weights():
    layer = groups.GroupConv2d(1, 1, 3, C4, dtype=F64)
    x = torch.randn(1, 4, 4, 4, dtype=F64, requires_grad=True)

    def value(weight, bias, x):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(value, (layer.weight, layer.bias, x))


def test_white_inputs_keep_their_variance():
    torch.manual_seed(0)
    layer = groups.GroupConv2d(32, 32, 5, C4, bias=False)
    with torch.no_grad():
        y = layer(torch.randn(4, 128, 12, 12))
    assert 0.9 < float(y.var()) < 1.1
    layer = groups.GroupConv2d(32, 32, 3, D4, groups.plane(D4), groups.plane(D4), bias=False)
    with torch.no_grad():
        y = layer(torch.randn(4, 64, 12, 12))
    assert 0.8 < float(y.var()) < 1.2


# --- caching, saving, casting, compiling ----------------------------------------------------------


def layer_and_input(dtype=F64):
    torch.manual_seed(0)
    layer = groups.GroupConv2d(1, 2, 3, C4, padding=1, dtype=dtype)
    return layer, torch.randn(1, 4, 5, 5, dtype=dtype)


def test_the_kernel_is_expanded_once_in_eval_mode_and_again_when_it_changes(monkeypatch):
    layer, x = layer_and_input()
    calls = []
    expand = layer._expand
    monkeypatch.setattr(layer, "_expand", lambda: calls.append(1) or expand())
    layer.eval()
    with torch.no_grad():
        before = layer(x)
        assert torch.equal(layer(x), before) and len(calls) == 1
        layer.weight.add_(1.0)
        assert not torch.equal(layer(x), before) and len(calls) == 2
        layer.load_state_dict({k: v + 1 for k, v in layer.state_dict().items()})
        layer(x)
        layer.bias.zero_()
        layer(x)
        assert len(calls) == 4
        layer.train()
        layer(x), layer(x)
        assert len(calls) == 6
    layer.eval()
    layer(x).sum().backward()
    assert layer.weight.grad is not None and len(calls) == 7


def test_the_kept_kernel_survives_inference_mode_and_copies():
    layer, x = layer_and_input()
    layer.eval().requires_grad_(False)
    with torch.inference_mode():
        kept = layer(x)
    x = x.clone().requires_grad_()
    layer(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x).detach(), kept)
        with torch.no_grad():
            twin.weight.mul_(2)
        assert not torch.equal(twin(x).detach(), kept)
    assert torch.equal(layer(x).detach(), kept)


def test_a_cast_after_use_forgets_the_kept_kernel():
    layer, x = layer_and_input(torch.float32)
    layer.eval()
    with torch.no_grad():
        layer(x)
        wide = layer.double()(x.double())
    assert wide.dtype == F64


def test_the_basis_is_exact_after_a_detour_through_float32():
    layer, x = layer_and_input()
    exact = layer.kernel().detach()
    rounded = {k: v.float().double() for k, v in layer.state_dict().items()}
    layer.load_state_dict(rounded)
    expected = layer.kernel().detach()
    assert torch.equal(layer.float().double().kernel(), expected)
    assert torch.allclose(expected, exact, atol=1e-6)


def test_the_state_dict_holds_coefficients_only_and_goes_round():
    layer, x = layer_and_input()
    state = layer.state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == {"weight": (2, 1, 36), "bias": (2, 1)}
    other = groups.GroupConv2d(1, 2, 3, C4, padding=1, dtype=F64)
    other.load_state_dict(state)
    assert torch.equal(other(x), layer(x))


def test_autocast_rounds_the_convolution_but_not_the_basis():
    layer, x = layer_and_input(torch.float32)
    layer.requires_grad_(False)
    exact = layer.kernel()
    with torch.autocast("cpu", torch.bfloat16):
        y, kernel = layer(x), layer.kernel()
    assert y.dtype == torch.bfloat16 and torch.equal(kernel, exact)
    assert float((y.float() - layer(x)).abs().max()) < 0.05 * float(layer(x).abs().max())


@pytest.mark.parametrize("training", [True, False])
def test_compile_changes_nothing(training):
    layer, x = layer_and_input()
    layer.train(training)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x), layer(x), atol=1e-13)
    with torch.no_grad():
        assert torch.allclose(compiled(x), layer(x), atol=1e-13)


# --- refusals -------------------------------------------------------------------------------------


def test_sizes_that_break_the_group_are_refused_with_reason_and_cure():
    layer = groups.GroupConv2d(1, 1, 3, C4, stride=2)
    with pytest.raises(ValueError, match="x: Z_4 .* 8 x 8 .* mod 2 = 1: .* 7 x 7 or 9 x 9, or say"):
        layer(torch.zeros(1, 4, 8, 8))
    with pytest.raises(ValueError, match=r"x: Z_4 .* a quarter turn makes 7 x 9 out of 9 x 7"):
        layer(torch.zeros(1, 4, 9, 7))
    loose = groups.GroupConv2d(1, 1, 3, C4, stride=2, exact=False)
    x = torch.randn(1, 4, 8, 8)
    act = groups.field_action(reps.regular(C4))
    assert equivariance_error(loose, x, act, act, C4.elements()) > 0.1
    assert loose(torch.zeros(1, 4, 9, 7)).shape == (1, 4, 4, 3)
    assert groups.GroupConv2d(1, 1, 3, reps.cyclic(2))(torch.zeros(1, 2, 9, 7)).shape[-1] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_size": (3, 5)}, "kernel_size: expected one value for both axes, a quarter turn"),
        ({"stride": (1, 2)}, "stride: expected one value for both axes"),
        ({"padding": (1, 2)}, "padding: expected one value for both axes"),
        ({"dilation": (1, 2)}, "dilation: expected one value for both axes"),
        ({"group": reps.cyclic(8)}, "group: Z_8 does not map the grid of pixels to itself"),
        ({"group": reps.symmetric(4)}, r"group: expected Z_n, D_n, SO\(2\) or O\(2\), got S_4"),
        ({"padding": "same", "kernel_size": 2}, 'padding: "same" cannot be centred around'),
        ({"padding": "same", "stride": 2}, 'padding: "same" needs stride 1'),
        ({"padding": -1}, "padding: expected at least 0, got -1"),
        ({"padding_mode": "wrap"}, "padding_mode: expected one of"),
        ({"groups": 2}, "groups: 2 does not divide 1 input and 3 output fields"),
        ({"rho_in": reps.trivial(D4)}, "rho_in: expected a representation of Z_4, got D_4"),
        ({"rho_out": reps.trivial(D4)}, "rho_out: expected a representation of Z_4, got D_4"),
        ({"in_channels": 0}, "in_channels: expected at least 1, got 0"),
        ({"stride": (1, 2, 3)}, "stride: expected one or two ints"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(arguments, message):
    good = {"in_channels": 1, "out_channels": 3, "kernel_size": 3, "group": C4}
    with pytest.raises(ValueError, match=message):
        groups.GroupConv2d(**{**good, **arguments})


def test_a_kernel_space_without_kernels_is_refused():
    one, sign = reps.circular_irrep(D4, 0), reps.circular_irrep(D4, 0, -1)
    with pytest.raises(ValueError, match=r"kernel_size: no kernel of size \(3, 3\) maps"):
        groups.GroupConv2d(1, 1, 3, D4, one, sign)
    assert [len(groups.grid_kernels(one, sign, K)) for K in (3, 5, 7)] == [0, 1, 3]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.zeros(1, 6, 5, 5), ValueError, "x: expected 2 fields of 4, 8 channels, got 6"),
        (torch.zeros(8, 5), ValueError, r"x: expected shape \(B, C, h, w\)"),
        (torch.zeros(1, 8, 5, 5).long(), TypeError, "x: expected a real floating-point tensor"),
        (torch.zeros(1, 8, 2, 2), ValueError, r"x: a kernel that reaches over \(3, 3\) pixels"),
        ("x", TypeError, "x: expected a torch.Tensor, got str"),
    ],
)
def test_wrong_inputs_are_named(x, error, message):
    with pytest.raises(error, match=message):
        groups.GroupConv2d(2, 1, 3, C4)(x)


@pytest.mark.parametrize(
    ("kernels", "error", "message"),
    [
        (None, TypeError, "kernels: expected a Basis or a tensor, got NoneType"),
        (torch.zeros(1, 9), ValueError, r"kernels: expected maps of shape \(1, 9\), got \(9,\)"),
        (torch.full((1, 1, 9), torch.nan), ValueError, "kernels: expected finite real numbers"),
        (torch.ones(1, 1, 9) * 1j, ValueError, "kernels: expected finite real numbers"),
        (torch.ones(0, 1, 9), ValueError, "kernel_size: no kernel of size"),
    ],
)
def test_wrong_kernels_are_named(kernels, error, message):
    one = reps.trivial(C4)
    with pytest.raises(error, match=message):
        groups.FieldConv2d(1, 1, 3, one, one, kernels)


@pytest.mark.parametrize(
    "call",
    [
        lambda rho: groups.FieldConv2d(1, 1, 1, rho, rho, torch.ones(1, 4, 4)),
        lambda rho: groups.FieldPool2d(rho, 2),
        lambda rho: groups.field_action(rho),
    ],
)
def test_the_argument_that_brings_a_group_without_a_plane_is_named(call):
    with pytest.raises(
        ValueError, match=r"rho(_in)?: expected Z_n, D_n, SO\(2\) or O\(2\), got S_4"
    ):
        call(reps.symmetric(4).defining)


def test_kernels_of_another_shape_are_refused():
    one = reps.trivial(C4)
    with pytest.raises(ValueError, match=r"kernels: expected maps of shape \(1, 9\), got \(1, 8\)"):
        groups.FieldConv2d(1, 1, 3, one, one, torch.zeros(1, 1, 8))
