"""Factors of matrices: a network or an algorithm of ours against the solver that is at hand.

Low rank plus sparse: n frames of 16 x 16 pixels with 4 lamps and 2 boxes, by principal component
pursuit of all frames at once, and for a dictionary of 4 pictures by 50 steps of proximal gradient
descent and by an encoder of 5 layers. Nonnegative codes: n signals of 64 numbers by 16 atoms,
exactly by SciPy, one by one, and by the certified solver, and by an encoder of 5 layers. k-means: n
normal points of 16 numbers, 10 clusters, 8 iterations of Lloyd's algorithm from the same centres.
Encoders are untrained, since the time of a layer does not depend on its weights; their errors once
they are trained are those of the studies ``robust_pca`` and ``nmf_encoder``. What is checked in
float64: an encoder is as many steps of its algorithm, the solvers agree, and so do centres after as
many iterations, which are counted in float32 too. Times are taken in float32, but for SciPy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import Case, disagreement, worst
from gdl.data.videos import background_video
from gdl.factorization.encoder import LowRankSparseEncoder
from gdl.factorization.kmeans_net import KMeansNet
from gdl.factorization.low_rank import factored_rpca, proximal_codes
from gdl.factorization.nonnegative import nonnegative_codes, solve_nonnegative
from gdl.factorization.nonnegative_encoder import NMFEncoder
from gdl.factorization.robust_pca import robust_pca

PENALTIES = {"low_rank_penalty": 0.1, "sparse_penalty": 0.1}
LAYERS, STEPS = 5, 50
ENTRIES, ATOMS = 64, 16
CLUSTERS, COORDINATES, ITERATIONS = 10, 16, 8

Call = Callable[[], list[Tensor]]


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def layers_of_frames(frames: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    x = background_video(frames, seed=0).frames.flatten(1).to(dtype)
    D = factored_rpca(x, 4, rounds=20, **PENALTIES).dictionary
    network = LowRankSparseEncoder(D, layers=LAYERS, **PENALTIES).requires_grad_(False)

    def descent(steps: int) -> Call:
        return lambda: [proximal_codes(x, D, steps=steps, **PENALTIES)]

    encoder = {"encoder, 5 layers": lambda: [network(x)]}
    calls = {
        "principal component pursuit": lambda: [robust_pca(x).low_rank],
        "proximal gradient, 50 steps": descent(STEPS),
    }
    return calls | encoder, [{"descent": descent(LAYERS)} | encoder]


def nonnegative(signals: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    from scipy.optimize import nnls

    D = random(ENTRIES, ATOMS, dtype=dtype).abs()
    y = random(signals, ENTRIES, dtype=dtype, seed=1).abs()
    network = NMFEncoder(D, LAYERS).requires_grad_(False)
    rows, atoms = y.double().numpy(), D.double().numpy()

    def scipy_codes() -> list[Tensor]:
        return [torch.stack([torch.from_numpy(nnls(atoms, row)[0]) for row in rows])]

    solvers = {
        "SciPy's nnls": scipy_codes,
        "solve_nonnegative": lambda: [solve_nonnegative(y, D, tolerance=1e-12)],
    }
    encoder = {"encoder, 5 layers": lambda: [network(y)]}
    descent = {"descent": lambda: [nonnegative_codes(y, D, steps=LAYERS)]}
    return solvers | encoder, [solvers, descent | encoder]


def estimators(points: int, dtype: torch.dtype) -> tuple[Tensor, Any, KMeansNet]:
    """Points, and scikit-learn's estimator and ours with the same first centres."""
    from sklearn.cluster import KMeans

    # Without clusters to find, neither comes to rest before its last iteration.
    x = random(points, COORDINATES, dtype=dtype)
    start, settings = x[:CLUSTERS], {"n_init": 1, "tol": 0, "max_iter": ITERATIONS}
    peer = KMeans(CLUSTERS, init=start.numpy(), algorithm="lloyd", **settings)
    return x, peer, KMeansNet(CLUSTERS, init=start, max_steps=ITERATIONS)


def iterations(points: int, dtype: torch.dtype) -> dict[str, Call]:
    """How many are wanted, and how many each makes."""
    x, peer, ours = estimators(points, dtype)
    counts = {
        "wanted": lambda: ITERATIONS,
        "scikit-learn": lambda: peer.fit(x.numpy()).n_iter_,
        "KMeansNet": lambda: ours.fit(x).n_iter_,
    }
    return {
        name: lambda count=count: [torch.tensor([float(count())])] for name, count in counts.items()
    }


def clusters(points: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    x, peer, ours = estimators(points, dtype)
    runs = {
        "scikit-learn": lambda: [torch.from_numpy(peer.fit(x.numpy()).cluster_centers_)],
        "KMeansNet": lambda: [ours.fit(x).cluster_centers_],
    }
    counts = [iterations(points, kind) for kind in (torch.float32, torch.float64)]
    return runs, [runs, *counts]


TASKS = {
    "low rank plus sparse, n frames": (layers_of_frames, (9, 18, 36)),
    "nonnegative codes, n signals": (nonnegative, (10, 50, 250)),
    "k-means, n points": (clusters, (1000, 10_000, 100_000)),
}
SIZES = {task: sizes for task, (_, sizes) in TASKS.items()}
PACKAGES = {"SciPy's nnls": "scipy", "scikit-learn": "scikit-learn"}


def case(task: str, size: int) -> Case:
    calls, _ = TASKS[task]

    def check() -> float:
        return worst(map(disagreement, calls(size, torch.float64)[1]))

    return Case(task, size, size, calls(size, torch.float32)[0], check)
