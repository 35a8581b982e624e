"""Mean field between all pixels of a picture: its time and memory against the number of pixels.

n pixels with 3 labels, coupled to one another by a bilateral kernel, 5 steps. In parallel a step is
one product with a matrix of n^2 numbers. A sequential sweep reads the same numbers row by row, n
calls instead of one. The kernel is built once and is timed by itself; so is the layer, which builds
its kernel for every picture. Checked in float64: the layer is the loop on its field; a parallel
step is half a sweep of the doubled field; the kernel is that of SciPy's distances. Every n^2 table
must be held: 1024 pixels take 8 MB in float64, 65536 pixels would take 34 GB. Times are taken in
float32, but for SciPy.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.cases import Case, disagreement, worst
from gdl.inference.crf import MeanFieldCRF
from gdl.inference.fields import PairwiseField, doubled
from gdl.inference.kernels import gaussian_kernel, pixel_colours, pixel_positions
from gdl.inference.updates import mean_field

LABELS, STEPS = 3, 5

Call = Callable[[], list[Tensor]]


def random(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def picture(side: int, dtype: torch.dtype) -> tuple[MeanFieldCRF, Tensor, Tensor]:
    layer = MeanFieldCRF(LABELS, steps=STEPS, dtype=dtype).requires_grad_(False)
    unary = random(1, LABELS, side, side, dtype=dtype)
    return layer, unary, random(1, 3, side, side, dtype=dtype, seed=1)


def mean_fields(side: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    layer, unary, images = picture(side, dtype)
    field = layer.field(unary, images)
    one = PairwiseField(field.unary[0], field.coupling[0], field.compatibility)

    def steps(order: str) -> Call:
        return lambda: [mean_field(one, STEPS, order=order).marginals]

    calls = {
        "parallel, 5 steps": steps("parallel"),
        "sequential, 5 sweeps": steps("sequential"),
        "layer, 5 steps": lambda: [layer(unary, images)],
    }
    loop = {
        "loop": lambda: [mean_field(one, STEPS).marginals],
        "layer": lambda: [layer(unary, images).exp().flatten(2).mT[0]],
    }

    def sweep() -> list[Tensor]:
        return [mean_field(doubled(one), 2, order="sequential").marginals[side**2 :]]

    return calls, [loop, {"parallel": lambda: [mean_field(one, 4).marginals], "sweeps": sweep}]


def kernels(side: int, dtype: torch.dtype) -> tuple[dict[str, Call], list[dict]]:
    from scipy.spatial.distance import cdist

    _, _, images = picture(side, dtype)
    features = torch.cat(
        [pixel_positions(side, side, dtype=dtype) / 3, pixel_colours(images)[0]], 1
    )
    rows = features.double().numpy()

    def by_scipy() -> list[Tensor]:
        kernel = torch.from_numpy(cdist(rows, rows, "sqeuclidean")).mul_(-0.5).exp_()
        return [kernel.fill_diagonal_(0)]

    runs = {"SciPy": by_scipy, "gaussian_kernel": lambda: [gaussian_kernel(features, 1.0)]}
    return runs, [runs]


TASKS = {
    "mean field, side x side pixels": (mean_fields, (8, 16, 24)),
    "bilateral kernel, side x side pixels": (kernels, (12, 24, 48)),
}
SIZES = {task: sizes for task, (_, sizes) in TASKS.items()}
PACKAGES = {"SciPy": "scipy"}


def case(task: str, size: int) -> Case:
    calls, _ = TASKS[task]

    def check() -> float:
        return worst(map(disagreement, calls(size, torch.float64)[1]))

    return Case(task, size, size**2, calls(size, torch.float32)[0], check)
