"""Message passing beside PyTorch Geometric: n nodes, 10 n edges, 64 channels.

The graph is directed and random, without duplicates or loops. "CSR" and "CSC" are torch's sparse
matrices in place of an edge_index, the fast path of PyTorch Geometric where neither torch-sparse
nor pyg-lib is installed; GCN gets the normalised matrix, made once, as its cache would. The
attentional layers have 8 heads of 8 channels and gain nothing from a matrix. "Adjacency" is made
once too; what it keeps is there after the first call. The backward pass is that of the features and
of all weights. Times are taken in float32; values are compared in float64.
"""

from __future__ import annotations

import warnings
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.cases import Call, Case, beside_cpu, with_gradients, without_gradients
from gdl.graphs import Adjacency, GATConv, GATv2Conv, GCNConv, GINConv, SAGEConv

with warnings.catch_warnings():
    # PyTorch Geometric compiles some of its classes by torch.jit when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric import nn as pyg
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

CHANNELS, HEADS = 64, 8
KINDS = ("GCN", "GIN", "SAGE", "GAT", "GATv2")
ATTENTION = ("GAT", "GATv2")
PACKAGES = dict.fromkeys(("PyG, CSR", "PyG, CSC", "PyG, edge_index"), "torch-geometric")


def named(kind: str, gradient: bool) -> str:
    return f"{kind}, forward{' and backward' if gradient else ''}, n nodes"


TASKS = {named(kind, gradient): (kind, gradient) for kind in KINDS for gradient in (False, True)}
SIZES = {
    task: (500, 2000, 8000) if kind in ATTENTION else (1000, 5000, 20000)
    for task, (kind, _) in TASKS.items()
}


def random_edges(n: int) -> Tensor:
    """Sorted by target, as PyTorch Geometric advises."""
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randint(n * n, (10 * n,), generator=generator).unique()
    target, source = pairs // n, pairs % n
    return torch.stack([source, target])[:, source != target]


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(CHANNELS, CHANNELS), nn.ReLU(), nn.Linear(CHANNELS, CHANNELS))


def layers(kind: str, dtype: torch.dtype) -> tuple[nn.Module, nn.Module]:
    """Theirs and ours, with the same weights; their GCN takes the normalised matrix."""
    size, heads = (CHANNELS, CHANNELS), (CHANNELS, CHANNELS // HEADS, HEADS)
    made = {
        "GCN": lambda: (pyg.GCNConv(*size), GCNConv(*size)),
        "GIN": lambda: (pyg.GINConv(perceptron()), GINConv(perceptron())),
        "SAGE": lambda: (pyg.SAGEConv(*size), SAGEConv(*size)),
        "GAT": lambda: (pyg.GATConv(*heads), GATConv(*heads)),
        "GATv2": lambda: (pyg.GATv2Conv(*heads), GATv2Conv(*heads)),
    }
    torch.manual_seed(0)
    theirs, ours = (layer.to(dtype) for layer in made[kind]())
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def matrix(edge_index: Tensor, n: int, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Rows are targets."""
    values = torch.ones(edge_index.shape[1], dtype=dtype) if weight is None else weight
    with warnings.catch_warnings():
        # Torch says once in a process that these are new, and that it does not check them.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_coo_tensor(edge_index.flip(0), values, (n, n)).to_sparse_csr()


def variants(kind: str, n: int, dtype: torch.dtype, gradient: bool) -> dict[str, tuple]:
    """Layers and the graphs that they get; the first is the reference of the ratios."""
    theirs, ours = layers(kind, dtype)
    edge_index = random_edges(n)
    found = {}
    if kind not in ATTENTION:
        csr, layer = matrix(edge_index, n, None, dtype), theirs
        if kind == "GCN":
            looped, weight = gcn_norm(edge_index, None, n, dtype=dtype)
            csr = matrix(looped, n, weight, dtype)
            layer = pyg.GCNConv(CHANNELS, CHANNELS, normalize=False).to(dtype)
            layer.load_state_dict(theirs.state_dict())
        found["PyG, CSR"] = (layer, csr)
        # Without gradients PyTorch Geometric turns it into CSR at each call, and warns.
        if gradient:
            found["PyG, CSC"] = (layer, csr.to_sparse_csc())
    found["PyG, edge_index"] = (theirs, edge_index)
    found["gdl, Adjacency"] = (ours, Adjacency(edge_index, n, dtype=dtype))
    found["gdl, edge_index"] = (ours, edge_index)
    return found


def call_of(layer: nn.Module, x: Tensor, graph: Tensor | Adjacency, gradient: bool) -> Call:
    run = partial(layer, x, graph)
    if not gradient:
        return without_gradients(run)
    return with_gradients(run, [x, *(p for _, p in sorted(layer.named_parameters()))])


def case(task: str, n: int, device: str = "cpu") -> Case:
    kind, gradient = TASKS[task]

    def calls(dtype: torch.dtype, device: str) -> dict[str, Call]:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(n, CHANNELS, generator=generator, dtype=dtype).to(device).requires_grad_()
        return {
            name: call_of(layer.to(device), x, graph.to(device), gradient)
            for name, (layer, graph) in variants(kind, n, dtype, gradient).items()
        }

    return Case(task, n, n, calls(torch.float32, device), lambda: beside_cpu(calls, device))
