"""What happens to layers after they are made: optimised, pruned, copied, moved, emptied."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector, prune, vector_to_parameters

from gdl import groups
from gdl import representations as reps

C4 = reps.cyclic(4)


def used(bias=True):
    """A layer in eval mode that keeps its expanded kernel, and an input."""
    torch.manual_seed(0)
    layer = groups.GroupConv2d(2, 2, 3, C4, padding=1, bias=bias).eval()
    x = torch.randn(2, 8, 7, 7)
    with torch.no_grad():
        layer(x)
    assert layer._cached is not None
    return layer, x


def fresh(layer, x):
    """What the layer computes in train mode, where nothing is kept."""
    twin = copy.deepcopy(layer).train()
    with torch.no_grad():
        return twin(x)


def write_data(layer):
    layer.weight.data.mul_(2)


def write_vector(layer):
    vector_to_parameters(2 * parameters_to_vector(layer.parameters()), layer.parameters())


def new_parameter(layer):
    del layer.weight
    layer.weight = nn.Parameter(torch.ones(2, 2, 36))


def late_step(layer):
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True)
    layer(torch.ones(1, 8, 7, 7)).square().mean().backward()
    with torch.no_grad():
        layer(torch.ones(1, 8, 7, 7))
    optimizer.step()


def only_bias(layer):
    layer.bias.data.add_(1)


@pytest.mark.parametrize("change", [write_data, write_vector, new_parameter, late_step, only_bias])
def test_every_change_of_the_weights_is_noticed(change):
    layer, x = used()
    with torch.no_grad():
        before = layer(x)
    change(layer)
    with torch.no_grad():
        assert torch.equal(layer(x), fresh(layer, x))
        assert not torch.equal(layer(x), before)


def test_a_pruned_layer_follows_its_mask():
    layer, x = used()
    prune.random_unstructured(layer, "weight", 0.5)
    with torch.no_grad():
        layer(x)
        layer.weight_mask.zero_()
        assert torch.equal(layer(x), layer.train()(x))


def test_weights_that_another_network_makes_get_a_gradient():
    layer, x = used(bias=False)
    source = layer.weight.detach().clone().requires_grad_()
    del layer.weight
    layer.weight = source * 1
    y = layer(x)
    y.sum().backward()
    assert source.grad.abs().sum() > 0
    layer.weight = source * 2
    assert torch.allclose(layer(x), 2 * y, atol=1e-5)


def test_calls_with_other_weights_do_not_meet_in_the_kept_kernel():
    layer, x = used(bias=False)
    layer.requires_grad_(False)
    scales = torch.arange(1.0, 6.0)

    def scaled(scale):
        return torch.func.functional_call(layer, {"weight": layer.weight * scale}, (x,))

    y = torch.func.vmap(scaled)(scales)
    assert torch.allclose(y, scales[:, None, None, None, None] * layer(x), atol=1e-4)
    copy.deepcopy(layer)


def test_the_kept_kernel_is_neither_copied_nor_lent():
    layer, x = used()
    assert copy.deepcopy(layer)._cached is None
    assert pickle.loads(pickle.dumps(layer))._cached is None
    with torch.no_grad():
        before = layer(x)
        layer.kernel().zero_()
        assert torch.equal(layer(x), before)


def test_a_layer_made_in_inference_mode_works():
    with torch.inference_mode():
        layer = groups.GroupConv2d(1, 1, 3, C4).eval()
        x = torch.randn(1, 4, 5, 5)
        assert torch.equal(layer(x), layer(x))
        plain = layer.to_conv2d()
    x = torch.randn(1, 4, 5, 5, requires_grad=True)
    plain.requires_grad_(False)(x).sum().backward()
    assert x.grad is not None


RHO = reps.trivial(C4) + groups.plane(C4)


def make_network():
    gate = groups.GatedNonlinearity(RHO)
    return nn.Sequential(
        groups.LiftingConv2d(1, 2, 3, C4, gate.rho_in), gate,
        groups.FieldBatchNorm2d(2, RHO), groups.NormNonlinearity(2, RHO),
        groups.GroupConv2d(2, 2, 3, C4, RHO),
        groups.CosetPool(C4, [C4.generator(0) * C4.generator(0)]),
    )  # fmt: skip


def test_an_emptied_network_is_whole_again_once_it_is_loaded():
    network, x = make_network().eval(), torch.randn(1, 1, 9, 9)
    expected, state = network(x), network.state_dict()
    emptied = copy.deepcopy(network).to("meta").to_empty(device="cpu")
    for index in (emptied[1].block, emptied[2].block, emptied[3].block, emptied[5].members):
        assert torch.equal(index(), index._exact)
    emptied.load_state_dict(state)
    assert torch.equal(emptied(x), expected)


def test_networks_can_be_planned_on_the_meta_device():
    one, regular = reps.trivial(C4), reps.regular(C4)
    with torch.device("meta"):
        network = make_network()
        steerable = groups.SteerableConv2d(1, 1, 3, one, regular)
    assert {p.device.type for p in network.parameters()} == {"meta"}
    assert network(torch.empty(2, 1, 9, 9, device="meta")).shape == (2, 4, 5, 5)
    assert steerable(torch.empty(1, 1, 5, 5, device="meta")).shape == (1, 4, 3, 3)


def test_faint_rings_keep_the_symmetry():
    one, turn = reps.trivial(C4), groups.field_action(reps.trivial(C4))
    options = {"rings": [1.0], "width": 0.22, "frequencies": 8, "dtype": torch.float64}
    layer = groups.SteerableConv2d(1, 1, 5, one, one, **options)
    x = torch.randn(1, 1, 9, 9, dtype=torch.float64)
    with torch.no_grad():
        difference = layer(turn(C4.generator(0), x)) - turn(C4.generator(0), layer(x))
    assert float(difference.abs().max()) < 1e-12


def test_a_rectangle_is_offered_where_no_turn_needs_a_square():
    layer = groups.GroupConv2d(1, 1, (3, 4), reps.cyclic(2), stride=2)
    with pytest.raises(ValueError, match="Pad or crop to 7 x [68], or say exact=False"):
        layer(torch.zeros(1, 2, 7, 7))
    for width in (6, 8):
        assert layer(torch.zeros(1, 2, 7, width)).shape[-2] == 3
