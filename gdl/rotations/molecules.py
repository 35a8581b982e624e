r"""Energies of molecules, and the forces that follow from them.

A force is minus the gradient of an energy. If the energy does not change under rotations, the chain
rule turns the forces with the molecule; nothing else has to be built in.

Chapter: ``rotations``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl.rotations._checks as check
from gdl.geometry import complete_graph


def elastic_energy(positions: Tensor, rest: Tensor, stiffness: float = 1.5) -> Tensor:
    r"""The energy of a molecule whose pairs of atoms are held by springs that can tear.

        E = sum_{i<j} exp(1 - d_ij) (1 - exp(-a (r_ij - d_ij)))^2

    r_ij are distances, d_ij those at rest, where the energy is 0: Morse's law for each pair, weaker
    for distant ones. It stands in for quantum chemistry: invariant, smooth, not harmonic.

    Args:
        positions: ``(..., n, 3)``.
        rest: ``(n, 3)``, no two atoms at one place, in the unit of the positions.
        stiffness: a, in 1 / length.

    Returns:
        ``(...)``.

    Raises: TypeError or ValueError for other types and shapes, or atoms that coincide at rest.
    Law tested: 0 at rest and above 0 elsewhere; rotations, reflections, translations. Source: Morse
    1929; the springs between all pairs are those of an elastic network. Chapter: ``rotations``.

    >>> rest = torch.eye(3)
    >>> elastic_energy(torch.stack([rest, 2 * rest]), rest)
    tensor([0.0000, 1.5358])
    """
    check.vectors("rest", rest)
    check.vectors("positions", positions)
    if rest.ndim != 2 or positions.shape[-2:] != rest.shape:
        raise ValueError(
            f"positions: expected (..., n, 3) for rest {tuple(rest.shape)}, got "
            f"{tuple(positions.shape)}"
        )
    i, j = torch.triu_indices(len(rest), len(rest), 1, device=rest.device)
    at_rest = (rest[i] - rest[j]).norm(dim=-1)
    if not bool((at_rest > 0).all()):
        raise ValueError("rest: expected atoms at different places, two coincide")
    distance = (positions[..., i, :] - positions[..., j, :]).norm(dim=-1)
    torn = 1 - torch.exp(-check.positive("stiffness", stiffness) * (distance - at_rest))
    return (torch.exp(1 - at_rest) * torn.square()).sum(-1)


class CloudEnergy(nn.Module):
    r"""The sum of a scalar at each atom, for a molecule in many positions.

    Args:
        network: maps features ``(N, F)``, positions ``(N, 3)`` and ``edge_index`` to ``(N, 1)``,
            such as ``TensorFieldNetwork``.
        features: of the atoms of the molecule, ``(n, F)``.

    Shapes: positions ``(B, n, 3) -> (B,)``. All pairs of atoms are edges.

    Raises: TypeError or ValueError for other types and shapes.
    Law tested: invariant if the network is; each molecule of a batch by itself.
    Chapter: ``rotations``.

    >>> from gdl.rotations import TensorFieldNetwork
    >>> network = TensorFieldNetwork("2x0e", "1x0e", "4x0e + 2x1o", harmonics=1, radius=5.0)
    >>> CloudEnergy(network, torch.eye(2))(torch.randn(7, 2, 3)).shape
    torch.Size([7])
    """

    def __init__(self, network: nn.Module, features: Tensor):
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(f"network: expected a module, got {type(network).__name__}")
        if check.floating("features", features).ndim != 2:
            raise ValueError(f"features: expected (n, F), got {tuple(features.shape)}")
        self.network = network
        self.register_buffer("features", features)

    def forward(self, positions: Tensor) -> Tensor:
        n = len(self.features)
        if check.shaped("positions", positions, n, 3).ndim != 3:
            raise ValueError(f"positions: expected (B, {n}, 3), got {tuple(positions.shape)}")
        edges = complete_graph([n] * len(positions), device=positions.device)
        features = self.features.to(positions.dtype).repeat(len(positions), 1)
        scalars = self.network(features, positions.flatten(0, 1), edges)
        return scalars.view(len(positions), n).sum(1)


class EnergyAndForces(nn.Module):
    r"""An energy and minus its gradient, side by side, so that both can be fitted.

        x -> (E(x), -dE/dx)

    Args:
        energy: a module that maps positions ``(B, n, 3)`` to ``(B,)``.

    Shapes: ``(B, n, 3) -> (B, 1 + 3 n)``, the energy first.

    Raises: TypeError or ValueError for other types and shapes.
    Law tested: equal to finite differences; forces of an invariant energy turn with the molecule,
    and sum to zero. Chapter: ``rotations``.

    >>> class Spring(nn.Module):
    ...     def forward(self, x):
    ...         return x.square().sum((1, 2)) / 2
    >>> EnergyAndForces(Spring())(torch.ones(1, 1, 3)).detach()
    tensor([[ 1.5000, -1.0000, -1.0000, -1.0000]])
    """

    def __init__(self, energy: nn.Module):
        super().__init__()
        if not isinstance(energy, nn.Module):
            raise TypeError(f"energy: expected a module, got {type(energy).__name__}")
        self.energy = energy

    def forward(self, positions: Tensor) -> Tensor:
        check.shaped("positions", positions, None, 3)
        # The gradient is part of the output, also where nobody asks for that of the weights.
        keep = torch.is_grad_enabled()
        with torch.enable_grad():
            x = positions if positions.requires_grad else positions.detach().requires_grad_()
            energy = self.energy(x)
            if tuple(energy.shape) != tuple(positions.shape[:1]):
                raise ValueError(
                    f"energy: expected values of shape {tuple(positions.shape[:1])}, got "
                    f"{tuple(energy.shape)}"
                )
            (slope,) = torch.autograd.grad(energy.sum(), x, create_graph=keep)
        both = torch.cat([energy[:, None], -slope.flatten(1)], 1)
        return both if keep else both.detach()
