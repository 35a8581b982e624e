"""Conventions of sparse coding, factorization, inference and the zoo."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gdl import factorization, inference, sparse_coding, zoo
from gdl import representations as reps
from tests.conventions.common import TIGHT, J, close, convention, random

# --- sparse coding ------------------------------------------------------------------------------


@convention("Sparse coding", "Dictionary")
def test_codes_are_rows_and_atoms_are_columns():
    D = random(3, 5)
    codes = sparse_coding.omp(2.0 * D[:, 3][None], D, 1)
    assert close(codes, 2.0 * torch.eye(5, dtype=torch.float64)[3:4])
    assert close(codes @ D.T, 2.0 * D[:, 3][None])
    with pytest.raises(ValueError, match="signals"):
        sparse_coding.omp(2.0 * D[:, 3][None], D.T.contiguous(), 1)


@convention("Sparse coding", "Objective")
def test_the_lasso_has_a_half_and_its_price_is_not_divided():
    D, y = torch.eye(2, dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64)
    code = sparse_coding.solve_lasso(y, D, 1.0)
    assert close(code, torch.tensor([2.0, 0.0], dtype=torch.float64))
    assert not close(code, torch.tensor([2.5, 0.0], dtype=torch.float64))
    objective = sparse_coding.lasso_objective(code, y, D, 1.0)
    assert close(objective, torch.tensor(0.625 + 2.0, dtype=torch.float64))
    from sklearn.linear_model import Lasso

    theirs = Lasso(alpha=1.0 / 2, fit_intercept=False).fit(D.numpy(), y.numpy()).coef_
    assert np.allclose(theirs, code.numpy())


@convention("Sparse coding", "Step")
def test_a_step_has_the_length_of_one_over_the_largest_eigenvalue():
    D, y = random(3, 5), random(3)
    L = torch.linalg.eigvalsh(D.T @ D)[-1]
    step = sparse_coding.ista(y, D, 0.1, 1)
    assert close(step, sparse_coding.soft_threshold(y @ D / L, 0.1 / float(L)))
    assert not close(step, sparse_coding.soft_threshold(y @ D, 0.1))
    hard = sparse_coding.iht(y, D, penalty=0.1, steps=1)
    assert close(hard, sparse_coding.hard_threshold(y @ D / L, (0.2 / float(L)) ** 0.5))


@convention("Sparse coding", "Depth")
def test_the_path_of_a_network_starts_with_silence():
    path = sparse_coding.LISTA(random(3, 5), 0.1, 4).path(random(3))
    assert len(path) == 5
    assert not path[0].any()
    assert path[1].any()


@convention("Sparse coding", "Decibels")
def test_decibels_are_relative_to_the_squares_and_negative_for_good_codes():
    truth = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    found = sparse_coding.nmse_db(truth + torch.tensor([[0.0, 0.5]]), truth)
    assert math.isclose(found, -20.0, rel_tol=TIGHT) and not found > 0


# --- factorization ------------------------------------------------------------------------------


@convention("Factorization", "Factors")
def test_samples_are_rows_and_atoms_are_columns():
    D, Z = random(6, 3), random(7, 3)
    kind = factorization.LOW_RANK
    lengths = float(Z.square().sum() + D.square().sum()) / 2
    found = factorization.factorization_objective(Z @ D.T, D, Z, kind, 1.0)
    assert math.isclose(found, lengths, rel_tol=TIGHT)
    assert found != factorization.factorization_objective(2 * Z @ D.T, D, Z, kind, 1.0)
    with pytest.raises(ValueError, match="dictionary: expected shape"):
        factorization.factorization_objective((Z @ D.T).T, D, Z, kind, 1.0)


@convention("Factorization", "Gauge")
def test_a_change_of_gauge_leaves_the_product():
    D, Z, R = random(6, 3), random(7, 3), random(3, 3)
    atoms, codes = factorization.change_gauge(D, Z, R)
    assert close(codes, Z @ R)
    assert close(atoms, D @ torch.linalg.inv(R).T) and not close(atoms, D @ R)
    assert close(codes @ atoms.T, Z @ D.T)


@convention("Factorization", "Centres")
def test_inertia_has_no_half_and_centres_are_rows():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    centre = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    inertia = float(factorization.inertia(points, centre))
    assert inertia == 2.0 != inertia / 2
    with pytest.raises(ValueError, match="centres: expected shape"):
        factorization.inertia(points, centre.T)


@convention("Factorization", "Temperature")
def test_temperatures_divide_squared_distances():
    centres = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    layer = factorization.KMeansLayer(centres, temperature=2.0)
    weights = layer(torch.tensor([[0.25]], dtype=torch.float64)).detach()
    squares = torch.tensor([[0.0625, 3.0625]], dtype=torch.float64)
    assert close(weights, torch.softmax(-squares / 2.0, -1))
    assert not close(weights, torch.softmax(-squares.sqrt() / 2.0, -1))
    assert not close(weights, torch.softmax(-squares * 2.0, -1))


# --- inference ----------------------------------------------------------------------------------


@convention("Inference", "Fields")
def test_scores_are_logits_and_a_pair_counts_once():
    swap = torch.eye(2, dtype=torch.float64).flip(0)
    field = inference.PairwiseField(random(2, 2), swap, torch.eye(2, dtype=torch.float64))
    score = field.score(torch.tensor([1, 1]))
    evidence = field.unary[0, 1] + field.unary[1, 1]
    assert close(score, evidence + 1.0) and not close(score, evidence + 2.0)
    total = sum(float(field.score(torch.tensor(x)).exp()) for x in ((0, 0), (0, 1), (1, 0), (1, 1)))
    assert math.isclose(float(field.enumerate().log_partition.exp()), total, rel_tol=TIGHT)


@convention("Inference", "Beliefs")
def test_free_energies_are_minus_score_minus_entropy():
    field = inference.PairwiseField(
        random(3, 2), torch.zeros(3, 3, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    )
    beliefs = field.unary.softmax(-1)
    least = -field.unary.logsumexp(-1).sum()
    found = field.free_energy(beliefs)
    assert close(found, least) and not close(-found, least)
    assert field.free_energy(beliefs.flip(0)) > least


@convention("Inference", "Damping")
def test_damping_keeps_a_share_of_the_old_beliefs():
    field = inference.PairwiseField(
        random(3, 2), torch.zeros(3, 3, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    )
    start = torch.full((3, 2), 0.5, dtype=torch.float64)
    step = inference.mean_field(field, 1, order="damped", damping=0.9, start=start)
    new = field.unary.softmax(-1)
    assert close(step.marginals, 0.9 * start + 0.1 * new)
    assert not close(step.marginals, 0.1 * start + 0.9 * new)


@convention("Inference", "Windows")
def test_a_place_is_scale_row_and_column_of_the_centre():
    canvas = torch.zeros(1, 9, 9, dtype=torch.float64)
    canvas[0, 2, 6] = 1.0
    window = inference.glimpse(canvas, torch.tensor([2.0, 2.0, 6.0], dtype=torch.float64), 3)
    assert window[0, 1, 1] == 1.0
    window = inference.glimpse(canvas, torch.tensor([2.0, 6.0, 2.0], dtype=torch.float64), 3)
    assert window[0, 1, 1] != 1.0
    canvas[0, 2, 8] = 0.5
    window = inference.glimpse(canvas, torch.tensor([2.0, 2.0, 6.0], dtype=torch.float64), 3)
    assert window[0, 1, 2] == 0.5


@convention("Inference", "Counts")
def test_a_guide_stops_after_exactly_n_steps():
    going_on = torch.tensor([0.9, 0.2], dtype=torch.float64)
    q = inference.count_log_probabilities(going_on.logit()).exp()
    assert close(q, torch.tensor([0.1, 0.9 * 0.8, 0.9 * 0.2], dtype=torch.float64))
    assert not close(q, torch.tensor([0.9, 0.1 * 0.2, 0.1 * 0.8], dtype=torch.float64))


# --- the zoo --------------------------------------------------------------------------------------


@convention("The zoo", "Averages")
def test_a_move_is_undone_before_the_model_and_done_after_it():
    rho, W, x = reps.cyclic(3).defining, random(3, 3), random(1, 3)
    frame = [(g, w) for g, w in zip(rho.group.elements(), (0.5, 0.3, 0.2), strict=True)]
    model = torch.nn.Linear(3, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(W)
        found = zoo.FrameAverage(model, lambda x: frame, rho.act, rho.act)(x)[0]
    there, back = (
        sum(w * rho(a) @ W @ rho(b) @ x[0] for a, b, w in parts)
        for parts in (
            [(g, g.inverse(), w) for g, w in frame],
            [(g.inverse(), g, w) for g, w in frame],
        )
    )
    assert close(found, there) and not close(found, back)


@convention("The zoo", "Clouds")
def test_a_cloud_has_its_points_as_rows():
    x = random(1, 4, 2)
    assert close(zoo.rotate(J, x)[0, 1], J @ x[0, 1])
    assert not close(zoo.rotate(J, x)[0, 1], J.T @ x[0, 1])


@convention("The zoo", "Frames")
def test_an_element_of_a_frame_takes_the_standard_position_to_the_input():
    x, h = random(1, 4, 2), torch.linalg.matrix_exp(0.7 * J)
    (g, _), (moved, _) = (zoo.farthest_frame(y)[0] for y in (x, zoo.rotate(h, x)))
    assert close(moved[0], h @ g[0]) and not close(moved[0], g[0] @ h.T)
    far = int(x.norm(dim=-1).argmax())
    assert close(g[0, :, 0], x[0, far] / x[0, far].norm())
    assert zoo.rotate(g.mT, x)[0, far, 0] > 0.1
    assert close(zoo.rotate(g.mT, x)[0, far, 1], torch.tensor(0.0, dtype=torch.float64))


@convention("The zoo", "Pattern")
def test_weights_are_numbered_as_one_reads_and_positive_where_they_first_stand():
    layer = zoo.solve(zoo.Assumptions("plane", "SO(2)", "order 1", "order 1"))
    assert layer.pattern.tolist() == [[1, 2], [-2, 1]]
    assert layer.pattern.tolist() != [[1, -2], [2, 1]]
    filled = layer.pattern.sign() * random(2)[layer.pattern.abs() - 1]
    g = layer.rho_in.group.exp(0.7)
    assert close(layer.rho_out(g) @ filled, filled @ layer.rho_in(g))
    mean = zoo.solve(zoo.Assumptions("cycle", "shifts", "points", "number"))
    assert mean.pattern.tolist() == [[1] * mean.rho_in.dim]
