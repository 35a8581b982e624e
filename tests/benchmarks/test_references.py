"""What stands beside our layers computes the same, and a fault in it is noticed."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import version

import pytest
import torch

from benchmarks import (
    attention,
    convolution,
    factorization,
    geodesics,
    rotations,
    sets,
    solver,
    sparse_coding,
)

SECTIONS = (
    "solver", "convolution", "groups", "rotations", "sets", "tensors", "graphs", "attention",
    "geodesics", "gauges", "sequences", "programs", "sparse_coding", "factorization", "inference",
    "diffusion",
)  # fmt: skip
MODULES = {name: importlib.import_module(f"benchmarks.{name}") for name in SECTIONS}
# Words in the name of a variant that speak of another library.
FOREIGN = re.compile(
    r"\b(e3nn|F\.|igl|libigl|PyG|pygeodesic|potpourri3d|robust-laplacian|scikit|scipy|SciPy|torch"
    r"|torchdiffeq|Linear)"
)
TASKS = [(name, task) for name, module in MODULES.items() for task in module.SIZES]

REFERENCES = [
    *((convolution, task) for task in (convolution.CIRCLE, convolution.CIRCLE_BACKWARD)),
    *((sets, task) for task in sets.SIZES),
    *((attention, task) for task in attention.SIZES),
    *(
        (rotations, task)
        for task in (
            rotations.FIELD, rotations.FIELD_GRADIENT, rotations.CLOUD, rotations.CLOUD_GRADIENT
        )
    ),
    (geodesics, geodesics.EXACT),
    (solver, solver.VECTORS),
]  # fmt: skip


def smallest(module, task):
    return module.case(task, module.SIZES[task][0])


@pytest.mark.parametrize(
    ("module", "task"), REFERENCES, ids=[f"{m.__name__}: {task}" for m, task in REFERENCES]
)
def test_every_reference_computes_the_layer(module, task):
    assert smallest(module, task).check() < 1e-10


@pytest.mark.parametrize("name", SECTIONS)
def test_the_packages_are_installed(name):
    assert all(version(package) for package in MODULES[name].PACKAGES.values())


@pytest.mark.parametrize(("name", "task"), TASKS, ids=[f"{name}: {task}" for name, task in TASKS])
def test_a_variant_of_another_library_names_its_package(name, task):
    variants = list(smallest(MODULES[name], task).variants)
    foreign = [variant for variant in variants if FOREIGN.search(variant)]
    assert set(foreign) <= set(MODULES[name].PACKAGES)
    assert set(variants) - set(MODULES[name].PACKAGES), "none of them is ours"


def test_every_package_is_that_of_a_variant():
    for module in MODULES.values():
        cases = [module.case(task, n) for task, sizes in module.SIZES.items() for n in sizes[:1]]
        assert set(module.PACKAGES) <= {name for case in cases for name in case.variants}


@pytest.mark.parametrize("reference", ["torch_conv", "torch_fft"])
@pytest.mark.parametrize("task", [convolution.CIRCLE, convolution.CIRCLE_BACKWARD])
def test_a_circulant_of_the_neighbour_is_noticed(task, reference, monkeypatch):
    right = getattr(convolution, reference)
    monkeypatch.setattr(convolution, reference, lambda layer, x: right(layer, x.roll(1, -1)))
    assert smallest(convolution, task).check() > 0.1


@pytest.mark.parametrize("task", sets.SIZES)
def test_a_sum_in_place_of_a_mean_is_noticed(task, monkeypatch):
    def summed(layer, x):
        return layer.own(x) + layer.whole(x.sum(-2, keepdim=True))

    monkeypatch.setattr(sets, "usual", summed)
    assert smallest(sets, task).check() > 0.1


@pytest.mark.parametrize("task", attention.SIZES)
@pytest.mark.parametrize("reference", ["by_module", "written_out"])
def test_attention_that_lost_a_head_is_noticed(task, reference, monkeypatch):
    right = getattr(attention, reference)

    def fewer(module, x):
        return right(module, torch.cat([torch.zeros_like(x[..., :16]), x[..., 16:]], -1))

    monkeypatch.setattr(attention, reference, fewer)
    assert smallest(attention, task).check() > 0.01


@pytest.mark.parametrize("task", [rotations.FIELD, rotations.FIELD_GRADIENT])
@pytest.mark.parametrize("layer", ["E3nnField", "CopiedField"])
def test_harmonics_of_the_opposite_edge_are_noticed(task, layer, monkeypatch):
    made = getattr(rotations, layer)
    right = made.message
    monkeypatch.setattr(
        made, "message", lambda self, x, vectors, factors: right(self, x, -vectors, factors)
    )
    assert smallest(rotations, task).check() > 0.1


@pytest.mark.parametrize("task", [rotations.CLOUD, rotations.CLOUD_GRADIENT])
def test_another_weight_of_the_vectors_is_noticed(task, monkeypatch):
    class Louder(rotations.E3nnEGNN):
        def __init__(self, layer):
            super().__init__(layer)
            self.one.mul_(1.1)

    monkeypatch.setattr(rotations, "E3nnEGNN", Louder)
    assert smallest(rotations, task).check() > 1e-3


def test_exact_distances_from_another_source_are_noticed(monkeypatch):
    right = geodesics.exact
    monkeypatch.setattr(geodesics, "exact", lambda mesh, source: right(mesh, source + 1))
    assert smallest(geodesics, geodesics.EXACT).check() > geodesics.HEAT_ERROR


def test_a_heat_distance_in_another_unit_is_noticed():
    calls = geodesics.beside_exact(160)
    ours = calls["gdl"]
    calls["gdl"] = lambda: [0.9 * ours()[0]]
    assert geodesics.excess(calls) > geodesics.HEAT_ERROR


def test_a_null_space_without_one_map_of_vectors_is_noticed(monkeypatch):
    found = solver.null_space
    monkeypatch.setattr(solver, "null_space", lambda C: found(C)[1:])
    assert solver.case(solver.VECTORS, 2).check() == float("inf")


def test_both_run_lloyds_algorithm_for_all_iterations():
    for dtype in (torch.float32, torch.float64):
        wanted, *made = factorization.iterations(1000, dtype).values()
        assert [call()[0] for call in made] == [wanted()[0]] * 2


def test_a_run_that_comes_to_rest_early_is_noticed(monkeypatch):
    monkeypatch.setattr(factorization, "ITERATIONS", 300)
    assert factorization.case("k-means, n points", 1000).check() > 0.1


def test_the_depth_that_is_judged_is_that_of_the_study(monkeypatch):
    depth = sparse_coding.depth_at_the_error_of_ista()
    assert f"LISTA, {depth} layers" in smallest(sparse_coding, sparse_coding.TASK).variants
    errors = sparse_coding.study("lista", "to the lasso, dB")
    worse = {name: [error + 1 for error in seeds] for name, seeds in errors.items()}
    worse[sparse_coding.REFERENCE] = errors[sparse_coding.REFERENCE]
    monkeypatch.setattr(sparse_coding, "study", lambda *names: worse)
    assert sparse_coding.depth_at_the_error_of_ista() > depth


def test_a_study_without_a_network_that_is_near_enough_is_refused(monkeypatch):
    errors = sparse_coding.study("lista", "to the lasso, dB")
    errors[sparse_coding.REFERENCE] = [-99.0, -99.0, -99.0]
    monkeypatch.setattr(sparse_coding, "study", lambda *names: errors)
    with pytest.raises(LookupError, match="no network of the study lista has the error of ISTA"):
        sparse_coding.depth_at_the_error_of_ista()
