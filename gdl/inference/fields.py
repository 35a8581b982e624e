r"""Pairwise random fields: labels that depend on one another, and sums over all labellings.

Chapter: ``inference``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

import gdl._checks as check
from gdl.inference._checks import instance

MOST_LABELLINGS = 2_000_000
CHUNK = 2**15


@dataclass(frozen=True, eq=False)
class PairwiseField:
    r"""A probability for each way of giving one of L labels to each of n points.

        p(x) = exp(score(x)) / Z,    score(x) = sum_i u_i(x_i) + sum_{i<j} K_ij M(x_i, x_j)

    Beliefs are a table Q (n, L), one distribution for each point. With ``W Q = K Q M`` the mean
    score of independent labels is ``<u, Q> + <Q, W Q> / 2``. Axes before the last two are a batch.

    Attributes:
        unary: u, (..., n, L), the evidence of each point by itself, logits.
        coupling: K, (..., n, n), symmetric, zero diagonal.
        compatibility: M, (L, L), symmetric; the identity rewards equal labels.

    Raises:
        TypeError: tensors that are not floating-point or of several dtypes.
        ValueError: shapes or devices that do not fit, entries that are not finite, a coupling or
            a compatibility that is not symmetric, a diagonal that is not 0.

    Law tested: scores by loops over the formula; sums over all labellings against them; relabelling
    points or labels changes nothing. Chapter: ``inference``.

    >>> field = PairwiseField(torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
    ...                       torch.eye(2))
    >>> field.score(torch.tensor([[0, 0], [0, 1]]))
    tensor([1., 0.])
    """

    unary: Tensor
    coupling: Tensor
    compatibility: Tensor

    def __post_init__(self):
        u, K, M = self.unary, self.coupling, self.compatibility
        check.finite("unary", check.shaped("unary", u, None, None))
        n, labels = u.shape[-2:]
        if n < 1 or labels < 1:
            raise ValueError(f"unary: expected points and labels, got shape {tuple(u.shape)}")
        check.finite("coupling", check.shaped("coupling", K, n, n))
        check.finite("compatibility", check.shaped("compatibility", M, labels, labels))
        if M.ndim != 2:
            raise ValueError(f"compatibility: expected shape (L, L), got {tuple(M.shape)}")
        for name, other in (("coupling", K), ("compatibility", M)):
            if other.dtype != u.dtype:
                raise TypeError(
                    f"{name}: expected {u.dtype}, the dtype of unary, got {other.dtype}"
                )
            if other.device != u.device:
                raise ValueError(f"{name}: expected device {u.device}, got {other.device}")
            _check_symmetric(name, other)
        if K.ndim > 2 and K.shape[:-2] != u.shape[:-2]:
            raise ValueError(
                f"coupling: expected shape {(*u.shape[:-2], n, n)}, got {tuple(K.shape)}"
            )
        if check.readable(K) and bool(K.diagonal(dim1=-2, dim2=-1).any()):
            raise ValueError("coupling: expected a diagonal of zeros")

    @property
    def points(self) -> int:
        """How many points, n."""
        return self.unary.shape[-2]

    @property
    def labels(self) -> int:
        """How many labels, L."""
        return self.unary.shape[-1]

    def couple(self, beliefs: Tensor) -> Tensor:
        """W Q = K Q M, the messages that arrive at each point: ``(..., n, L)``."""
        return self.coupling @ beliefs @ self.compatibility

    def score(self, labels: Tensor) -> Tensor:
        r"""The score of labellings ``(..., n)``, int64; the field itself has no batch: ``(...)``.

        Raises: TypeError or ValueError for other arguments.
        """
        self._check_single()
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
            got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
            raise TypeError(f"labels: expected an int64 tensor, got {got}")
        if labels.shape[-1:] != (self.points,):
            raise ValueError(
                f"labels: expected shape (..., {self.points}), got {tuple(labels.shape)}"
            )
        if check.readable(labels) and labels.numel():
            low, high = int(labels.min()), int(labels.max())
            if low < 0 or high >= self.labels:
                raise ValueError(f"labels: expected 0 to {self.labels - 1}, got {low} to {high}")
        return self.mean_score(self._indicators(labels))

    def mean_score(self, beliefs: Tensor) -> Tensor:
        """The mean score of independent labels, ``<u, Q> + <Q, W Q> / 2``: ``(...)``."""
        return (beliefs * (self.unary + self.couple(beliefs) / 2)).sum((-2, -1))

    def free_energy(self, beliefs: Tensor) -> Tensor:
        r"""How far independent labels are from the field: ``F(Q) = -<score>_Q - H(Q)``.

        It is ``KL(Q || p) - log Z``, so never below ``-log Z``.

        Args:
            beliefs: Q, (..., n, L), in the dtype of the field; rows are distributions.

        Returns:
            F, (...).

        Raises: TypeError or ValueError for other arguments.
        """
        check.finite("beliefs", check.shaped("beliefs", beliefs, self.points, self.labels))
        if beliefs.dtype != self.unary.dtype:
            raise TypeError(f"beliefs: expected {self.unary.dtype}, got {beliefs.dtype}")
        if self.unary.ndim > 2 and beliefs.shape != self.unary.shape:
            wanted, got = tuple(self.unary.shape), tuple(beliefs.shape)
            raise ValueError(f"beliefs: expected shape {wanted}, got {got}")
        if check.readable(beliefs):
            slack = 100 * torch.finfo(beliefs.dtype).eps * self.labels
            sums = beliefs.detach().sum(-1)
            if bool((beliefs < 0).any()) or bool(((sums - 1).abs() > slack).any()):
                raise ValueError("beliefs: expected rows that are distributions")
        return -self.mean_score(beliefs) - torch.special.entr(beliefs).sum((-2, -1))

    def enumerate(self) -> Enumeration:
        r"""The exact sums, over every labelling, one after the other.

        Returns:
            An :class:`~gdl.inference.Enumeration`; differentiable.

        Raises:
            ValueError: a batch, more than 2 million labellings, or scores that overflow.
        """
        self._check_single()
        total = self.labels**self.points
        if total > MOST_LABELLINGS:
            raise ValueError(
                f"unary: expected at most {MOST_LABELLINGS} labellings, "
                f"got {self.labels}^{self.points}"
            )
        device = self.unary.device
        place = self.labels ** torch.arange(self.points, device=device)
        sums, marginals, best = [], [], []
        for first in range(0, total, CHUNK):
            number = torch.arange(first, min(first + CHUNK, total), device=device)
            labels = number[:, None] // place % self.labels
            indicators = self._indicators(labels)
            scores = check.finite("unary, coupling", self.mean_score(indicators))
            sums.append(scores.logsumexp(0))
            marginals.append(torch.einsum("s,snl->nl", scores.softmax(0), indicators))
            top = scores.argmax()
            best.append((float(scores[top].detach()), labels[top]))
        sums = torch.stack(sums)
        mixed = torch.einsum("c,cnl->nl", sums.softmax(0), torch.stack(marginals))
        return Enumeration(sums.logsumexp(0), mixed, max(best, key=lambda found: found[0])[1])

    def zero_sum_spectrum(self) -> Tensor:
        r"""The eigenvalues of W on differences of beliefs, sorted: ``(..., n (L - 1))``.

        Differences of distributions have rows of sum 0. On these W has the products of an
        eigenvalue of K and one of M, M being restricted to vectors of sum 0.

        Raises: ValueError for a single label, which leaves no differences.
        """
        if self.labels < 2:
            raise ValueError(f"unary: expected at least 2 labels, got {self.labels}")
        one = torch.eye(self.labels, dtype=self.unary.dtype, device=self.unary.device)
        basis = torch.linalg.qr(one[:, :-1] - one[:, -1:]).Q
        inner = torch.linalg.eigvalsh(basis.T @ self.compatibility @ basis)
        outer = torch.linalg.eigvalsh(self.coupling)
        return (outer[..., :, None] * inner).flatten(-2).sort(-1).values

    def _indicators(self, labels: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(labels, self.labels).to(self.unary.dtype)

    def _check_single(self) -> None:
        if self.unary.ndim != 2:
            raise ValueError(f"unary: expected shape (n, L), got {tuple(self.unary.shape)}")


@dataclass(frozen=True, eq=False)
class Enumeration:
    r"""What sums over all labellings of a field give.

    Attributes:
        log_partition: log Z, a scalar.
        marginals: (n, L), the probability of each label of each point.
        best: (n,), int64, a most likely labelling.

    Chapter: ``inference``.

    >>> field = PairwiseField(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1), torch.eye(2))
    >>> exact = field.enumerate()
    >>> exact.marginals, exact.best
    (tensor([[0.7311, 0.2689]]), tensor([0]))
    """

    log_partition: Tensor
    marginals: Tensor
    best: Tensor


def doubled(field: PairwiseField) -> PairwiseField:
    r"""Two copies of the points; each point is coupled to the neighbours' other copies.

        K becomes [[0, K], [K, 0]],    u becomes [u; u]

    Within one copy nothing is coupled. So updating one copy after the other is the same as
    updating all points of the field at once, twice.

    Args:
        field: without or with a batch.

    Returns:
        A field of ``2 n`` points.

    Raises: TypeError for anything but a field.

    Law tested: a sweep over its points is two parallel steps on the field, to 1e-12; the
    eigenvalues are those of K with both signs. Chapter: ``inference``.

    >>> one = PairwiseField(torch.zeros(1, 2), torch.zeros(1, 1), torch.eye(2))
    >>> doubled(one).points
    2
    """
    instance("field", field, PairwiseField)
    K = field.coupling
    nothing = torch.zeros_like(K)
    rows = [torch.cat([nothing, K], -1), torch.cat([K, nothing], -1)]
    return PairwiseField(
        torch.cat([field.unary, field.unary], -2), torch.cat(rows, -2), field.compatibility
    )


def _check_symmetric(name: str, matrix: Tensor) -> None:
    if not check.readable(matrix) or not matrix.numel():
        return
    allowed = 100 * torch.finfo(matrix.dtype).eps * float(matrix.detach().abs().amax())
    if float((matrix - matrix.mT).detach().abs().amax()) > allowed:
        raise ValueError(f"{name}: expected a symmetric matrix")
