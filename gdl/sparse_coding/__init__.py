"""Iterative thresholding and the networks that it unrolls into, from the classical weights on.

Chapter: ``sparse_coding``.
"""

from gdl.sparse_coding.anomalies import roc_auc
from gdl.sparse_coding.autoencoder import SparseAutoencoder, train_autoencoder
from gdl.sparse_coding.classical import (
    duality_gap,
    fista,
    iht,
    ista,
    lasso_objective,
    lipschitz,
    omp,
    solve_lasso,
)
from gdl.sparse_coding.dictionaries import (
    analytic_weights,
    coherence,
    learn_dictionary,
    normalise_atoms,
    random_dictionary,
    signed_permutation,
    sparse_signals,
)
from gdl.sparse_coding.hard import HardThresholdEncoder, support_recovery
from gdl.sparse_coding.lista import ALISTA, LISTA
from gdl.sparse_coding.operators import (
    hard_threshold,
    helu,
    soft_threshold,
    top_m,
)
from gdl.sparse_coding.sparse_lstm import SparseLSTM
from gdl.sparse_coding.training import nmse_db, train_codes

__all__ = [
    "ALISTA",
    "HardThresholdEncoder",
    "LISTA",
    "SparseAutoencoder",
    "SparseLSTM",
    "analytic_weights",
    "coherence",
    "duality_gap",
    "fista",
    "hard_threshold",
    "helu",
    "iht",
    "ista",
    "lasso_objective",
    "learn_dictionary",
    "lipschitz",
    "nmse_db",
    "normalise_atoms",
    "omp",
    "random_dictionary",
    "roc_auc",
    "signed_permutation",
    "soft_threshold",
    "solve_lasso",
    "sparse_signals",
    "support_recovery",
    "top_m",
    "train_autoencoder",
    "train_codes",
]
