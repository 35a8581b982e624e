"""Networks asked about what they have not seen: a sine beyond its interval, larger numbers to sort,
bumps in a cube of twelve dimensions.

"The curse of dimensionality" and "Outside the data" of the chapter "high_dimensions".
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gdl.training import fit
from studies._runner import Measurements, run


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)
    ).double()


def sine_errors(seed: int) -> tuple[float, float]:
    """Mean squared error on [-3, 3], where the network was trained, and on [3, 6]."""
    torch.manual_seed(seed)
    model = network(1, 1)
    x = torch.linspace(-3, 3, 400, dtype=torch.float64)[:, None]
    fit(model, x, torch.sin(2 * x), epochs=300, lr=3e-3, loss=mse_loss, seed=seed)

    def error(low: float, high: float) -> float:
        z = torch.linspace(low, high, 500, dtype=torch.float64)[:, None]
        with torch.no_grad():
            return mse_loss(model(z), torch.sin(2 * z)).item()

    return error(-3, 3), error(3, 6)


def sorting_errors(seed: int) -> tuple[float, float]:
    """Mean error of an entry, as a part of the range, on [0, 1] (trained) and on [10, 11]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1000, 4, generator=generator, dtype=torch.float64)
    torch.manual_seed(seed)
    model = network(4, 4)
    fit(model, x, x.sort(dim=1).values, epochs=100, lr=3e-3, loss=mse_loss, seed=seed)

    def error(shift: float) -> float:
        z = shift + torch.rand(2000, 4, generator=generator, dtype=torch.float64)
        with torch.no_grad():
            return (model(z) - z.sort(dim=1).values).abs().mean().item()

    return error(0), error(10)


def bumps(x: Tensor, signs: Tensor) -> Tensor:
    """One bump in each quadrant, up or down."""
    height = (1 - 2 * (x.abs() - 0.5).abs()).clamp(min=0).prod(1)
    quadrant = ((x > 0).long() * 2 ** torch.arange(x.shape[1])).sum(1)
    return height ** (1 / x.shape[1]) * signs[quadrant]


def bumps_error(dim: int, seed: int) -> float:
    """Error after 256 samples, relative to answering zero."""
    torch.manual_seed(seed)
    signs = 2.0 * torch.randint(2, (2**dim,)) - 1
    x, new = (2 * torch.rand(n, dim) - 1 for n in (256, 4000))
    model = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, 1))
    fit(model, x, bumps(x, signs)[:, None], epochs=150, batch_size=32, loss=mse_loss, seed=seed)
    truth = bumps(new, signs)
    with torch.no_grad():
        return ((model(new)[:, 0] - truth).square().mean() / truth.square().mean()).item()


def measure(seed: int) -> Measurements:
    """Errors where the networks were trained, and elsewhere."""
    for name, errors in (("sine", sine_errors(seed)), ("sorting", sorting_errors(seed))):
        yield name, "error on the data", errors[0]
        yield name, "error outside", errors[1]
    for dim in (2, 12):
        yield f"{dim} dimensions", "error of bumps", bumps_error(dim, seed)


if __name__ == "__main__":
    run("outside_the_data", measure)
