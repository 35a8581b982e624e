r"""Batch normalisation of fields.

Chapter: ``groups``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import gdl.groups._checks as check
from gdl.equivariance import Constant, Expansion, equivariant_basis, full_precision
from gdl.groups.fibres import _block_of, _fibres, _squares, blocks
from gdl.representations import Representation, trivial


class FieldBatchNorm2d(nn.Module):
    r"""Batch normalisation of fields: one variance for each block, a mean for the invariant part.

        y = (x - P mean(x)) / sqrt(var + eps) * weight + bias

    P projects a fibre onto the vectors that the group leaves alone, and var is the mean square of
    ``x - P mean(x)`` over the batch, the pixels and the block. On a regular fibre this is the
    batch norm over batch, pixels and group together. ``nn.BatchNorm2d`` has a scale, an offset and
    running statistics for each element of the group, and is not equivariant once they differ.

    Args:
        channels: fields.
        rho: an orthogonal representation.
        eps, momentum, affine, track_running_stats: as in ``torch.nn.BatchNorm2d``; the momentum is
            a number.
        device, dtype: of the parameters and statistics.

    Shapes: as the input, ``(B, channels * d, h, w)``.

    Raises: TypeError or ValueError for other representations or inputs, and, in train mode, for a
    batch with a single value per block.
    Law tested: equivariance in train and in eval mode; equal to ``nn.BatchNorm2d`` on the trivial
    fibre and to ``nn.BatchNorm3d`` on the regular one. Source: Ioffe and Szegedy 2015.
    Chapter: ``groups``.

    >>> from gdl.representations import cyclic, regular
    >>> FieldBatchNorm2d(3, regular(cyclic(4)))(torch.randn(2, 12, 5, 5)).shape
    torch.Size([2, 12, 5, 5])
    """

    def __init__(
        self,
        channels: int,
        rho: Representation,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.channels = check.integer("channels", channels, 1)
        check.real_dtype(dtype)
        self.rho, self.eps = check.orthogonal("rho", rho), check.number("eps", eps, 0, 1e6)
        self.momentum = check.number("momentum", momentum, 0, 1)
        self.track_running_stats = track_running_stats
        factory = {"device": device, "dtype": dtype}
        with torch.device("cpu"):
            invariants = equivariant_basis(trivial(rho.group), rho)
        self.invariants = Expansion(invariants, **factory)
        self.sizes = blocks(rho)
        self.block = Constant(_block_of(self.sizes), device=device)
        means, variances = (channels, len(invariants)), (channels, len(self.sizes))
        if affine:
            self.weight = nn.Parameter(torch.ones(variances, **factory))
            self.bias = nn.Parameter(torch.zeros(means, **factory))
        else:
            self.register_parameter("weight", None)
            self.register_parameter("bias", None)
        if track_running_stats:
            self.register_buffer("running_mean", torch.zeros(means, **factory))
            self.register_buffer("running_var", torch.ones(variances, **factory))

    def forward(self, x: Tensor) -> Tensor:
        check.field("x", x, self.rho.dim, self.channels)
        fibres = _fibres(x, self.channels, self.rho.dim)
        # Means and variances of half-precision numbers need more digits than these have.
        with full_precision(x.device):
            wide = fibres.to(torch.promote_types(x.dtype, torch.float32))
            return self._normalised(wide).flatten(-4, -3).to(x.dtype)

    def _normalised(self, fibres: Tensor) -> Tensor:
        invariants = self.invariants.maps()[..., 0].to(fibres.dtype)
        if self.training or not self.track_running_stats:
            mean, var = self._statistics(fibres, invariants)
        else:
            mean, var = self.running_mean, self.running_var
        scale = (var + self.eps).rsqrt()
        scale = scale if self.weight is None else scale * self.weight
        y = fibres - _constant(mean, invariants)
        y = y * scale.index_select(-1, self.block())[..., None, None]
        return y if self.bias is None else y + _constant(self.bias, invariants)

    def _statistics(self, fibres: Tensor, invariants: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of the mean in the invariants, (C, k), and variances, (C, blocks)."""
        fibres = fibres if fibres.ndim == 5 else fibres[None]
        samples = fibres.shape[0] * fibres.shape[-2] * fibres.shape[-1]
        if samples * min(self.sizes) < 2:
            raise ValueError(
                "x: expected more than one value per block in train mode, got a batch of "
                f"{fibres.shape[0]} fields of {fibres.shape[-2]} x {fibres.shape[-1]} pixels"
            )
        values = samples * torch.tensor(self.sizes, device=fibres.device, dtype=fibres.dtype)
        mean = fibres.mean((0, -2, -1)) @ invariants.T
        centred = fibres - _constant(mean, invariants)
        var = _squares(centred, self.sizes).sum((0, -2, -1)) / values
        if self.training and self.track_running_stats:
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
                unbiased = var * values / (values - 1)
                self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)
        return mean, var


def _constant(coefficients: Tensor, invariants: Tensor) -> Tensor:
    """The invariant fibres (C, d, 1, 1) with coefficients (C, k) in the invariants (k, d)."""
    return (coefficients.to(invariants) @ invariants)[..., None, None]
