r"""Images of generators: validated, combined and inverted, as permutations or as matrices.

Chapter: ``one_equation``.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

DIMENSION_LIMIT = 6000


def _positive(argument: str, value: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{argument}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{argument}: expected an integer >= {least}, got {value}")
    return value


def _validated_images(
    generators: Sequence[Tensor], algebra: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    generators = tuple(_validated_image("generators", a) for a in generators)
    algebra = tuple(_validated_image("algebra", X, may_be_singular=True) for X in algebra)
    algebra = tuple(_as_matrix(X) for X in algebra)
    sizes = {image.shape[0] for image in generators + algebra}
    if len(sizes) != 1:
        raise ValueError(f"generators, algebra: expected images of one size, got sizes {sizes}")
    if algebra or any(image.ndim == 2 for image in generators):
        generators = tuple(_as_matrix(image) for image in generators)
    return generators, algebra


def _validated_image(argument: str, image: Tensor, may_be_singular: bool = False) -> Tensor:
    if not isinstance(image, (Tensor, np.ndarray, list, tuple)):
        raise TypeError(f"{argument}: expected tensors, got {type(image).__name__}")
    image = torch.as_tensor(image).detach().cpu().clone()
    if image.is_complex():
        raise TypeError(f"{argument}: expected real images, got {image.dtype}")
    if image.ndim == 1 and not image.is_floating_point() and image.dtype != torch.bool:
        if not torch.equal(image.sort().values, torch.arange(len(image))):
            raise ValueError(f"{argument}: expected a permutation of 0..{len(image) - 1}")
        if len(image):
            return image.to(torch.int64)
    if image.ndim != 2 or image.shape[0] != image.shape[1] or not image.numel():
        raise ValueError(
            f"{argument}: expected a permutation (d,) or a matrix (d, d), got {tuple(image.shape)}"
        )
    # torch.kron refuses a transposed factor, so images are stored contiguous.
    image = image.to(torch.float64).contiguous()
    if not torch.isfinite(image).all():
        raise ValueError(f"{argument}: expected finite entries, got NaN or infinity")
    # The condition number may be NaN, which is not small either.
    if not (may_be_singular or torch.linalg.cond(image, p=1) <= 1e12):
        raise ValueError(f"{argument}: expected an invertible matrix, got a singular one")
    return image


def _require_moderate(dim: int) -> None:
    if dim > DIMENSION_LIMIT:
        raise ValueError(f"rho: a matrix of {dim} x {dim} is too large, at most {DIMENSION_LIMIT}")


def _as_matrix(image: Tensor) -> Tensor:
    if image.ndim == 2:
        return image
    _require_moderate(len(image))
    return torch.eye(len(image), dtype=torch.float64)[:, image].contiguous()


def _inverse_image(image: Tensor) -> Tensor:
    return torch.argsort(image) if image.ndim == 1 else torch.linalg.inv(image)


def _exponential(X: Tensor) -> Tensor:
    # Imported here, as SciPy takes longer than all of this package.
    from scipy.linalg import expm

    # torch's own exponential is off by 1e-11 where the exponent has a norm of about 0.03.
    return torch.from_numpy(expm(X.numpy()))


def _direct_sum(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == b.ndim == 1:
        return torch.cat([a, b + len(a)])
    return torch.block_diag(_as_matrix(a), _as_matrix(b))


def _tensor_product(a: Tensor, b: Tensor) -> Tensor:
    if a.ndim == b.ndim == 1:
        return (a[:, None] * len(b) + b[None, :]).reshape(-1)
    _require_moderate(len(a) * len(b))
    return torch.kron(_as_matrix(a), _as_matrix(b))


def _tensor_derivative(a: Tensor, b: Tensor) -> Tensor:
    _require_moderate(len(a) * len(b))
    return torch.kron(a, torch.eye(len(b), dtype=a.dtype)) + torch.kron(
        torch.eye(len(a), dtype=a.dtype), b
    )


def _compose(a: Tensor, b: Tensor) -> Tensor:
    return a[b] if a.ndim == 1 else a @ b
