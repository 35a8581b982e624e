r"""Dictionaries: made, measured, transformed and learned; and sparse signals from them.

Chapter: ``sparse_coding``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

import gdl._checks as check
from gdl.sparse_coding.classical import fista, lasso_objective


def random_dictionary(
    m: int,
    n: int,
    seed: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""A dictionary of independent atoms, uniform on the unit sphere.

    Args:
        m: size of a signal.
        n: number of atoms.
        seed: of the draw, which is the same for every dtype and device.
        device, dtype: of the result; by default those of torch. float32 or float64.

    Returns:
        D, (m, n), columns of length 1.

    Raises: TypeError or ValueError for other arguments.

    Law tested: lengths are 1; the mean of ``D D^T`` is ``n/m`` times the identity; a seed gives
    one dictionary in both dtypes. Chapter: ``sparse_coding``.

    >>> random_dictionary(3, 5, seed=0).square().sum(0).round(decimals=4)
    tensor([1., 1., 1., 1., 1.])
    """
    check.integer("m", m, 1)
    check.integer("n", n, 1)
    generator = _generator(seed)
    D = torch.randn(m, n, generator=generator, dtype=torch.float64)
    return normalise_atoms(D).to(device=device, dtype=_dtype(dtype))


def sparse_signals(
    count: int, dictionary: Tensor, *, density: float = 0.1, noise: float = 0.0, seed: int
) -> tuple[Tensor, Tensor]:
    r"""Signals with sparse codes: each entry of a code is normal with some chance, else 0.

        y = D x + noise e,    e standard normal

    Args:
        count: number of signals, at least 0.
        dictionary: D, (m, n), float32 or float64, no zero columns.
        density: chance of an entry not to be 0, 0 to 1.
        noise: standard deviation of the noise, at least 0.
        seed: of the draw, which is the same for every dtype and device.

    Returns:
        x, (count, n), and y, (count, m), in the dtype and on the device of the dictionary.

    Raises: TypeError or ValueError for other arguments.

    Law tested: share and moments of the entries, correlation of the noise, each within five
    standard errors. Chapter: ``sparse_coding``.

    >>> x, y = sparse_signals(4, random_dictionary(3, 5, seed=0), density=0.4, seed=0)
    >>> x.shape, y.shape
    (torch.Size([4, 5]), torch.Size([4, 3]))
    """
    check.integer("count", count)
    D = check.dictionary("dictionary", dictionary)
    check.number("density", density, 0.0, 1.0)
    check.number("noise", noise, low=0.0)
    generator = _generator(seed)
    shape = (count, D.shape[1])
    present = torch.rand(shape, generator=generator, dtype=torch.float64) < density
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    errors = noise * torch.randn(count, len(D), generator=generator, dtype=torch.float64)
    x = torch.where(present, values, 0).to(D)
    return x, x @ D.mT + errors.to(D)


def normalise_atoms(dictionary: Tensor) -> Tensor:
    r"""The dictionary with its columns scaled to length 1.

    Args:
        dictionary: D, (m, n), float32 or float64, no zero columns.

    Returns:
        (m, n), differentiable.

    Raises: TypeError or ValueError for other arguments.

    Law tested: lengths 1, directions kept. Chapter: ``sparse_coding``.

    >>> normalise_atoms(torch.tensor([[3.0, 0.0], [4.0, 2.0]]))
    tensor([[0.6000, 0.0000],
            [0.8000, 1.0000]])
    """
    D = check.dictionary("dictionary", dictionary)
    return D / torch.linalg.vector_norm(D, dim=0)


def coherence(dictionary: Tensor, weights: Tensor | None = None) -> float:
    r"""The largest product of an atom with the weights of another: ``max |w_i . d_j|``, i not j.

    Args:
        dictionary: D, (m, n), float32 or float64, no zero columns.
        weights: W, (m, n), by default D, and for atoms of length 1 this is then the mutual
            coherence of the dictionary.

    Returns:
        A number, 0 for a single atom.

    Raises: TypeError or ValueError for other arguments.

    Law tested: by hand; unchanged by signed permutations and by rotations of the signals; at
    least Welch's bound ``sqrt((n - m) / (m (n - 1)))``. Chapter: ``sparse_coding``.

    >>> coherence(torch.tensor([[1.0, 0.6], [0.0, 0.8]])) == torch.tensor(0.6).item()
    True
    """
    D = check.dictionary("dictionary", dictionary)
    W = D if weights is None else check.dictionary("weights", weights)
    if W.shape != D.shape or W.dtype != D.dtype or W.device != D.device:
        raise ValueError(
            f"weights: expected {D.dtype} of shape {tuple(D.shape)} on {D.device}, got {W.dtype} "
            f"of shape {tuple(W.shape)} on {W.device}"
        )
    products = (W.mT @ D).detach().fill_diagonal_(0)
    return float(products.abs().max())


def analytic_weights(dictionary: Tensor) -> Tensor:
    r"""Weights of least joint coherence with the dictionary, in closed form.

        w_i = (D D^T)^{-1} d_i / (d_i^T (D D^T)^{-1} d_i)

    Among all W with ``w_i^T d_i = 1`` these make the Frobenius norm of ``W^T D`` least.

    Args:
        dictionary: D, (m, n), float32 or float64, of rank m.

    Returns:
        W, (m, n), differentiable.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: a dictionary of lower rank, or with zero columns.

    Law tested: SciPy's constrained minimum to 1e-6, the conditions of a minimum to 1e-10; follows
    signed permutations of the atoms and rotations of the signals. Chapter: ``sparse_coding``.

    >>> analytic_weights(torch.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    D = check.dictionary("dictionary", dictionary)
    if check.readable(D):
        rank = int(torch.linalg.matrix_rank(D.detach()))
        if rank < len(D):
            raise ValueError(
                f"dictionary: expected rank {len(D)}, the size of a signal, got rank {rank} of "
                f"shape {tuple(D.shape)}"
            )
    # The transposed pseudoinverse of D is (D D^T)^{-1} D.
    W = torch.linalg.pinv(D).mT
    return W / (W * D).sum(0)


def signed_permutation(
    n: int,
    seed: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    r"""A random permutation of n coordinates with random signs: a symmetry of the cube.

    Args:
        n: number of coordinates.
        seed: of the draw, which is the same for every dtype and device.
        device, dtype: of the result; by default those of torch. float32 or float64.

    Returns:
        P, (n, n), one entry of 1 or -1 in each row and column.

    Raises: TypeError or ValueError for other arguments.

    Law tested: orthogonal; all 48 of three coordinates occur in 2000 draws. Chapter:
    ``sparse_coding``.

    >>> signed_permutation(3, seed=0).abs().sum(0)
    tensor([1., 1., 1.])
    """
    check.integer("n", n, 1)
    generator = _generator(seed)
    order = torch.randperm(n, generator=generator)
    signs = 2.0 * torch.randint(2, (n, 1), generator=generator) - 1
    return (signs * torch.eye(n)[order]).to(device=device, dtype=_dtype(dtype))


@torch.no_grad()
def learn_dictionary(
    signals: Tensor, atoms: int, penalty: float, *, epochs: int, seed: int
) -> Tensor:
    r"""A dictionary for these signals, by turns: codes for the atoms, atoms for the codes.

    Codes are 50 more steps of FISTA, kept where they lower the objective. Atoms follow one after
    the other, each best while the others rest: on the unit sphere that is the direction of

        b_j = sum over signals of x_j (y - sum_{k != j} x_k d_k).

    An atom that no signal uses becomes the signal that the atoms explain worst. So the mean
    objective never rises.

    Args:
        signals: y, (N, m), float32 or float64, at least one not 0.
        atoms: n, how many; the first ones are signals drawn at random.
        penalty: positive.
        epochs: how many turns, at least 0.
        seed: of the draw.

    Returns:
        D, (m, n), columns of length 1, without gradient.

    Raises:
        TypeError: arguments of other types or dtypes.
        ValueError: shapes that do not fit, entries that are not finite, signals all 0.

    Law tested: the objective falls from turn to turn; an atom's update is the best of 1000 random
    directions; over three seeds it finds at least 26 of 30 planted atoms and comes within 5
    percent of the objective of scikit-learn's. Chapter: ``sparse_coding``.

    >>> signals = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    >>> learn_dictionary(signals, 2, 0.1, epochs=1, seed=0).sort().values
    tensor([[0., 1.],
            [0., 1.]])
    """
    check.finite("signals", check.floating("signals", signals))
    _precise("signals", signals.dtype)
    if signals.ndim != 2 or 0 in signals.shape:
        raise ValueError(f"signals: expected shape (N, m), not empty, got {tuple(signals.shape)}")
    check.integer("atoms", atoms, 1)
    check.integer("epochs", epochs)
    check.penalty("penalty", penalty)
    D = _first_atoms(signals, atoms, _generator(seed))
    codes = signals.new_zeros(len(signals), atoms)
    for _ in range(epochs):
        codes = _better_codes(codes, signals, D, penalty)
        D = _better_atoms(D, codes, signals)
    return D


def _first_atoms(signals: Tensor, atoms: int, generator: torch.Generator) -> Tensor:
    """Directions of signals drawn at random, all different as long as there are enough."""
    usable = signals[signals.square().sum(-1) >= torch.finfo(signals.dtype).tiny]
    if not len(usable):
        raise ValueError(
            f"signals: expected at least one that is not 0, got shape {tuple(signals.shape)}"
        )
    rounds = -(-atoms // len(usable))
    order = [torch.randperm(len(usable), generator=generator) for _ in range(rounds)]
    return normalise_atoms(usable[torch.cat(order)[:atoms].to(signals.device)].mT)


def _better_codes(codes: Tensor, signals: Tensor, D: Tensor, penalty: float) -> Tensor:
    new = fista(signals, D, penalty, 50, start=codes)
    before, after = (lasso_objective(x, signals, D, penalty) for x in (codes, new))
    return torch.where((after < before)[:, None], new, codes)


def _better_atoms(D: Tensor, codes: Tensor, signals: Tensor) -> Tensor:
    D = D.clone()
    # A power of two, which is exact, keeps the products below from overflowing.
    unit = 2.0 ** -math.frexp(float(signals.abs().amax()))[1]
    signals, codes = unit * signals, unit * codes
    residual = signals - codes @ D.mT
    for j in range(D.shape[1]):
        x = codes[:, j, None]
        others = residual + x * D[:, j]
        direction = (x * others).sum(0)
        if not bool(direction.square().sum() >= torch.finfo(D.dtype).tiny):
            direction = others[others.square().sum(-1).argmax()]
        D[:, j] = direction / torch.linalg.vector_norm(direction)
        residual = others - x * D[:, j]
    return D


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(check.integer("seed", seed, 0, 2**63 - 1))


def _dtype(dtype: torch.dtype | None) -> torch.dtype:
    """The dtype asked for, by default that of torch."""
    return _precise("dtype", check.real_dtype(dtype or torch.get_default_dtype()))


def _precise(name: str, dtype: torch.dtype) -> torch.dtype:
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {dtype}")
    return dtype
