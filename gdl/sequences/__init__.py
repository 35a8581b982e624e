"""Recurrence, its start, warps of time and gates, finite memory, scans and state spaces.

Chapter: ``sequences``.
"""

from gdl.sequences.causal import CausalConv1d, CausalConvStack
from gdl.sequences.cells import Cell, GatedCell, GRUCell, LSTMCell, PlainCell
from gdl.sequences.invariants import (
    iterated_sums,
    iterated_sums_path,
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
    ho_kalman,
    shift_matrix,
)
from gdl.sequences.tasks import (
    recall,
)
from gdl.sequences.warps import (
    hold,
    hold_matrix,
    pad,
    pad_matrix,
    rates,
    smooth_warp,
)

__all__ = [
    "CausalConv1d",
    "CausalConvStack",
    "Cell",
    "GRUCell",
    "GatedCell",
    "LSTMCell",
    "LinearSystem",
    "PlainCell",
    "Recurrent",
    "ScannedGate",
    "SequenceClassifier",
    "StateSpace",
    "causal_toeplitz",
    "chrono_",
    "clip_gradients_",
    "compose",
    "fixed_point",
    "forgetting_time",
    "gate_bias",
    "gradient_reach",
    "hankel",
    "ho_kalman",
    "hold",
    "hold_matrix",
    "iterated_sums",
    "iterated_sums_path",
    "lyapunov_exponents",
    "pad",
    "pad_matrix",
    "rates",
    "recall",
    "recurrence",
    "scan",
    "shift_matrix",
    "smooth_warp",
    "warped_recurrence",
]
