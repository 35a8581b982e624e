r"""The same tensor product by e3nn, an implementation that shares nothing with ours.

Chapter: ``rotations``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gdl.equivariance import full_precision
from gdl.rotations.irreps import Irreps
from gdl.rotations.tensor_product import TensorProduct, _checked_features, _checked_vectors


class E3nnTensorProduct(nn.Module):
    r"""``e3nn.o3.FullyConnectedTensorProduct`` with the weights of a ``TensorProduct``.

    Radial functions become copies of the harmonics: the second input of e3nn is
    ``b_k(r) Y_l(r / |r|)`` for all k and l.

    Args:
        product: whose map to compute; the weights are copied.

    Attributes:
        tensor_product: e3nn's module.

    Shapes: as ``TensorProduct``.

    Raises: TypeError unless ``product`` is a ``TensorProduct``; ImportError without e3nn; when
    called, what ``TensorProduct`` raises.
    Law tested: equal to both methods of ``TensorProduct`` to 1e-10; the normalisation of paths is
    the same. Source: Geiger and Smidt 2022. Chapter: ``rotations``.

    >>> product = TensorProduct("2x0e + 2x1o", "1x0e + 1x1o", 1)
    >>> E3nnTensorProduct(product)(torch.randn(4, 8), torch.randn(4, 3)).shape
    torch.Size([4, 4])
    """

    def __init__(self, product: TensorProduct):
        super().__init__()
        if not isinstance(product, TensorProduct):
            raise TypeError(f"product: expected a TensorProduct, got {type(product).__name__}")
        from e3nn import o3

        self._features = product.irreps_in, product.radial
        self._degrees = [irrep.degree for _, irrep in product.filters]
        filters = Irreps.of((product.radial, irrep) for _, irrep in product.filters)
        sums = (str(product.irreps_in), str(filters), str(product.irreps_out))
        # e3nn makes its constants in torch's default dtype, and a later cast keeps the rounding.
        default = torch.get_default_dtype()
        torch.set_default_dtype(product.weight.dtype)
        try:
            self.tensor_product = o3.FullyConnectedTensorProduct(*sums).to(product.weight)
        finally:
            torch.set_default_dtype(default)
        with torch.no_grad():
            self.tensor_product.weight.copy_(product.e3nn_weight())

    def forward(self, x: Tensor, vectors: Tensor, radial: Tensor | None = None) -> Tensor:
        x, radial = _checked_features(*self._features, x, radial, self.tensor_product.weight.dtype)
        vectors = _checked_vectors(vectors, x)
        with full_precision(x.device):
            return self.tensor_product(x, self.second_input(vectors, radial))

    def second_input(self, vectors: Tensor, radial: Tensor | None = None) -> Tensor:
        """The harmonics times the radial factors, as e3nn's module takes them."""
        from e3nn import o3

        factors = vectors.new_ones(len(vectors), 1) if radial is None else radial
        harmonics = [
            o3.spherical_harmonics(degree, vectors, True, normalization="component")
            for degree in self._degrees
        ]
        second = [(factors[:, :, None] * Y[:, None, :]).flatten(1) for Y in harmonics]
        return torch.cat(second, 1)
