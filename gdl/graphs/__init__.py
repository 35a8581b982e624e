"""Sets and graphs: layers that do not depend on how things are numbered.

Chapter: ``graphs``.
"""

from gdl.graphs.adjacency import Adjacency, aggregate, neighbour_softmax
from gdl.graphs.attentional import GATConv, GATv2Conv
from gdl.graphs.generators import (
    barbell,
    binary_tree,
    circular_skip_link,
    cycle,
    rook,
    shrikhande,
    stochastic_block_model,
)
from gdl.graphs.matrices import (
    adjacency_matrix,
    edge_list,
    effective_resistance,
    homophily,
    laplacian,
    propagation,
)
from gdl.graphs.message_passing import (
    GCNConv,
    GINConv,
    MessagePassing,
    MPNNConv,
    SAGEConv,
)
from gdl.graphs.networks import (
    GIN,
    GraphClassifier,
    GraphNetwork,
    NodeClassifier,
    disjoint_union,
    pool,
)
from gdl.graphs.partitions import (
    bell,
    dimension_by_partitions,
    partition_map,
    set_partitions,
)
from gdl.graphs.refinement import refine, wl_classes
from gdl.graphs.sets import DeepSetLayer, DeepSets
from gdl.graphs.tensors import InvariantGraphNetwork, TensorLinear

__all__ = [
    "Adjacency",
    "DeepSetLayer",
    "DeepSets",
    "GATConv",
    "GATv2Conv",
    "GCNConv",
    "GIN",
    "GINConv",
    "GraphClassifier",
    "GraphNetwork",
    "InvariantGraphNetwork",
    "MPNNConv",
    "MessagePassing",
    "NodeClassifier",
    "SAGEConv",
    "TensorLinear",
    "adjacency_matrix",
    "aggregate",
    "barbell",
    "bell",
    "binary_tree",
    "circular_skip_link",
    "cycle",
    "dimension_by_partitions",
    "disjoint_union",
    "edge_list",
    "effective_resistance",
    "homophily",
    "laplacian",
    "neighbour_softmax",
    "partition_map",
    "pool",
    "propagation",
    "refine",
    "rook",
    "set_partitions",
    "shrikhande",
    "stochastic_block_model",
    "wl_classes",
]
