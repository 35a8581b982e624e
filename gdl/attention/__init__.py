"""Attention: sets whose elements look at each other, with positions and without.

Chapter: ``attention``.
"""

from gdl.attention.attention import (
    EdgeAttention,
    Heads,
    MultiHeadAttention,
    attend,
    attend_along,
    attention_weights,
    causal_mask,
)
from gdl.attention.encodings import rotary, rotary_matrix, sinusoidal
from gdl.attention.graph_encodings import (
    BasisInvariantEncoder,
    Eigenspaces,
    SignInvariantEncoder,
    eigenspace_projectors,
    laplacian_encoding,
    random_walk_encoding,
)
from gdl.attention.linear import elu_plus_one, kernel_attend, linear_attend
from gdl.attention.tasks import (
    random_tokens,
    ranks,
    reversal,
    reversal_ceiling,
    token_accuracy,
    token_loss,
    token_targets,
)
from gdl.attention.transformer import EncoderLayer, TokenTransformer, TransformerEncoder

__all__ = [
    "BasisInvariantEncoder",
    "EdgeAttention",
    "Eigenspaces",
    "EncoderLayer",
    "Heads",
    "MultiHeadAttention",
    "SignInvariantEncoder",
    "TokenTransformer",
    "TransformerEncoder",
    "attend",
    "attend_along",
    "attention_weights",
    "causal_mask",
    "eigenspace_projectors",
    "elu_plus_one",
    "kernel_attend",
    "laplacian_encoding",
    "linear_attend",
    "random_tokens",
    "random_walk_encoding",
    "ranks",
    "reversal",
    "reversal_ceiling",
    "rotary",
    "rotary_matrix",
    "sinusoidal",
    "token_accuracy",
    "token_loss",
    "token_targets",
]
