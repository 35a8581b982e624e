"""Recurrence, its start, warps of time and gates, finite memory, scans and state spaces.

Chapter: ``sequences``.
"""

from gdl.sequences.causal import CausalConv1d, CausalConvStack
from gdl.sequences.cells import Cell, GatedCell, GRUCell, LeakyCell, LSTMCell, PlainCell
from gdl.sequences.invariants import (
    compositions,
    iterated_sums,
    iterated_sums_path,
    monomial_words,
    quasi_shuffle,
)
from gdl.sequences.memory import (
    chrono_,
    clip_gradients_,
    forgetting_time,
    gate_bias,
    gradient_reach,
    lyapunov_exponents,
)
from gdl.sequences.recurrent import Recurrent, SequenceClassifier, fixed_point, warped_recurrence
from gdl.sequences.scan import compose, recurrence, scan
from gdl.sequences.state_space import ScannedGate, StateSpace
from gdl.sequences.systems import (
    LinearSystem,
    causal_toeplitz,
    hankel,
    hankel_rank,
    ho_kalman,
    shift_matrix,
)
from gdl.sequences.tasks import (
    answer_accuracy,
    answer_loss,
    answer_targets,
    copying,
    recall,
    sorting,
    sorting_baseline,
)
from gdl.sequences.warps import (
    hold,
    hold_matrix,
    inverse,
    pad,
    pad_matrix,
    random_warp,
    rates,
    resample,
    smooth_warp,
    uniform_warp,
)

__all__ = [
    "CausalConv1d",
    "CausalConvStack",
    "Cell",
    "GRUCell",
    "GatedCell",
    "LSTMCell",
    "LeakyCell",
    "LinearSystem",
    "PlainCell",
    "Recurrent",
    "ScannedGate",
    "SequenceClassifier",
    "StateSpace",
    "answer_accuracy",
    "answer_loss",
    "answer_targets",
    "causal_toeplitz",
    "chrono_",
    "clip_gradients_",
    "compose",
    "compositions",
    "copying",
    "fixed_point",
    "forgetting_time",
    "gate_bias",
    "gradient_reach",
    "hankel",
    "hankel_rank",
    "ho_kalman",
    "hold",
    "hold_matrix",
    "inverse",
    "iterated_sums",
    "iterated_sums_path",
    "lyapunov_exponents",
    "monomial_words",
    "pad",
    "pad_matrix",
    "quasi_shuffle",
    "random_warp",
    "rates",
    "recall",
    "recurrence",
    "resample",
    "scan",
    "shift_matrix",
    "smooth_warp",
    "sorting",
    "sorting_baseline",
    "uniform_warp",
    "warped_recurrence",
]
