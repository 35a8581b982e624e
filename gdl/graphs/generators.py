r"""Small graphs that the chapter argues with, and random ones with planted classes.

All are dense adjacency matrices ``(n, n)`` of zeros and ones, symmetric, without self-loops.

Chapter: ``graphs``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

import gdl._checks as check

# The matrices are dense: beyond this a mistyped size would fill the memory.
MOST_NODES = 10_000


def cycle(n: int, *, dtype: torch.dtype | None = None) -> Tensor:
    r"""The cycle C_n: node i is joined to i + 1 modulo n.

    Args:
        n: at least 3.
        dtype: of the result; None is torch's default.

    Returns:
        A ``(n, n)``.

    Raises: TypeError or ValueError for another n or dtype.
    Law tested: connected and regular of degree 2. Chapter: ``graphs``.

    >>> cycle(4)[0]
    tensor([0., 1., 0., 1.])
    """
    import networkx

    return _matrix(networkx.cycle_graph(_size("n", n, 3)), dtype)


def circular_skip_link(n: int, skip: int, *, dtype: torch.dtype | None = None) -> Tensor:
    r"""The circular skip link graph CSL(n, k): node i is joined to i +- 1 and to i +- k.

    All of them are regular of degree 4, so that 1-WL takes those with the same n for equal. Two
    skips may give isomorphic graphs: k and n - k always do.

    Args:
        n: at least 5.
        skip: k from 2 to n - 2, not n / 2. (The source takes k coprime to n.)
        dtype: of the result; None is torch's default.

    Returns:
        A ``(n, n)``.

    Raises: TypeError or ValueError for other sizes or another dtype.
    Law tested: regular of degree 4; the ten classes of n = 41 are not isomorphic, 1-WL finds one.
    Source: Murphy, Srinivasan, Rao and Ribeiro, ICML 2019. Chapters: ``graphs``, ``attention``.

    >>> circular_skip_link(8, 3)[0]
    tensor([0., 1., 0., 1., 0., 1., 0., 1.])
    """
    import networkx

    _size("n", n, 5)
    check.integer("skip", skip, 2, n - 2)
    if 2 * skip == n:
        raise ValueError(f"skip: expected no half of n = {n}, got {skip}")
    return _matrix(networkx.circulant_graph(n, [1, skip]), dtype)


def rook(m: int = 4, *, dtype: torch.dtype | None = None) -> Tensor:
    r"""The rook's graph: squares of an m x m board, joined when they share a row or a column.

    Square (row, column) is node ``m row + column``. For m = 4 it is strongly regular with the
    parameters (16, 6, 2, 2) of :func:`shrikhande`.

    Args:
        m: at least 2.
        dtype: of the result; None is torch's default.

    Returns:
        A ``(m^2, m^2)``.

    Raises: TypeError or ValueError for another m or dtype.
    Law tested: strongly regular with parameters (m^2, 2m - 2, m - 2, 2). Chapter: ``graphs``.

    >>> rook(2)[0]
    tensor([0., 1., 1., 0.])
    """
    import networkx

    check.integer("m", m, 2, math.isqrt(MOST_NODES))
    row = networkx.complete_graph(m)
    return _matrix(networkx.cartesian_product(row, row), dtype)


def shrikhande(*, dtype: torch.dtype | None = None) -> Tensor:
    r"""The Shrikhande graph: Z_4 x Z_4, each point joined to the six at +-(1, 0), (0, 1), (1, 1).

    Strongly regular with parameters (16, 6, 2, 2), as ``rook(4)`` is: the two have one spectrum,
    and neither 1-WL nor folklore 2-WL tells them apart. It has no four nodes that are all joined.

    Args:
        dtype: of the result; None is torch's default.

    Returns:
        A ``(16, 16)``; point (a, b) is node ``4 a + b``.

    Raises: TypeError for another dtype.
    Law tested: its parameters; 0 complete subgraphs of four nodes, where the rook's graph has 8.
    Source: Shrikhande, Annals of Mathematical Statistics, 1959. Chapter: ``graphs``.

    >>> shrikhande().sum(0).unique()
    tensor([6.])
    """
    import networkx

    graph = networkx.Graph()
    points = [(a, b) for a in range(4) for b in range(4)]
    graph.add_nodes_from(points)
    for a, b in points:
        for step in ((1, 0), (0, 1), (1, 1)):
            graph.add_edge((a, b), ((a + step[0]) % 4, (b + step[1]) % 4))
    return _matrix(graph, dtype)


def barbell(n: int, path: int = 0, *, dtype: torch.dtype | None = None) -> Tensor:
    r"""Two complete graphs K_n, joined by a path.

    Nodes 0 to n - 1 are the first bell, the next ``path`` nodes the bar, the last n the second
    bell; n - 1 and n + path are the nodes where the bar ends.

    Args:
        n: nodes of a bell, at least 2.
        path: nodes between the bells; 0 joins them by an edge.
        dtype: of the result; None is torch's default.

    Returns:
        A ``(2 n + path, 2 n + path)``.

    Raises: TypeError or ValueError for other sizes or another dtype.
    Law tested: n (n - 1) + path + 1 edges; every edge of the bar is a bridge. Chapter: ``graphs``.

    >>> barbell(3).sum(0)
    tensor([2., 2., 3., 3., 2., 2.])
    """
    import networkx

    _size("n", n, 2)
    check.integer("path", path)
    _size("2 n + path", 2 * n + path, 4)
    return _matrix(networkx.barbell_graph(n, path), dtype)


def binary_tree(depth: int, *, dtype: torch.dtype | None = None) -> Tensor:
    r"""The complete binary tree: node 0 is the root, node i has the children 2i + 1 and 2i + 2.

    Args:
        depth: of the leaves, at least 0; depth 0 is the root alone.
        dtype: of the result; None is torch's default.

    Returns:
        A ``(2^(depth + 1) - 1, 2^(depth + 1) - 1)``; the last 2^depth nodes are the leaves.

    Raises: TypeError or ValueError for another depth or dtype.
    Law tested: a tree; the children of each node. Chapter: ``graphs``.

    >>> binary_tree(2)[1]
    tensor([1., 0., 0., 1., 1., 0., 0.])
    """
    import networkx

    check.integer("depth", depth, 0, MOST_NODES.bit_length() - 2)
    return _matrix(networkx.balanced_tree(2, depth), dtype)


def stochastic_block_model(
    sizes: Sequence[int],
    p_in: float | None = None,
    p_out: float | None = None,
    *,
    homophily: float | None = None,
    degree: float | None = None,
    seed: int,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    r"""A random graph of blocks: each pair is joined independently, by whether it shares a block.

        P(A_ij = 1) = p_in within a block, p_out between two

    Given a homophily h and a mean degree d instead, the two are such that the graph has n d / 2
    edges on average and h n d / 2 of them within blocks.

    Args:
        sizes: nodes of each block.
        p_in, p_out: probabilities, 0 to 1.
        homophily: h, 0 to 1; given with ``degree`` in place of the probabilities.
        degree: d, the expected mean degree, at least 0.
        seed: of torch's generator; the same one gives the same graph.
        dtype: of A; None is torch's default.

    Returns:
        A ``(n, n)``, and the block of each node, int64 ``(n,)``, in order.

    Raises:
        TypeError: arguments of other types; neither or both of the two descriptions.
        ValueError: an empty or negative block, probabilities out of range, a homophily and a degree
            that ask for more edges than there are pairs, more than ten thousand nodes.

    Law tested: numbers of edges within and between blocks against the binomial distribution;
    expected edges and homophily; torch's global generator stays as it was. Source: Holland, Laskey
    and Leinhardt, Social Networks, 1983. Chapter: ``graphs``.

    >>> A, labels = stochastic_block_model([2, 3], 1.0, 0.0, seed=0)
    >>> A.sum(0), labels
    (tensor([1., 1., 2., 2., 2.]), tensor([0, 0, 1, 1, 1]))
    """
    blocks = _require_sizes(sizes)
    check.integer("seed", seed, 0, 2**32 - 1)
    dtype = check.real_dtype(dtype or torch.get_default_dtype())
    by_rate, by_share = (p_in, p_out), (homophily, degree)
    if None not in by_rate and by_share == (None, None):
        p_in, p_out = check.number("p_in", p_in, 0, 1), check.number("p_out", p_out, 0, 1)
    elif None not in by_share and by_rate == (None, None):
        p_in, p_out = _probabilities(blocks, homophily, degree)
    else:
        raise TypeError(
            "p_in, p_out: expected both of them, or both of homophily and degree, "
            f"got {p_in}, {p_out} and {homophily}, {degree}"
        )
    labels = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor(blocks))
    chance = torch.where(labels[:, None] == labels, p_in, p_out)
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(len(labels), len(labels), dtype=torch.float64, generator=generator)
    upper = (draw < chance).triu(1)
    return (upper | upper.T).to(dtype), labels


def _probabilities(blocks: list[int], homophily: float, degree: float) -> tuple[float, float]:
    h = check.number("homophily", homophily, 0, 1)
    edges = sum(blocks) * check.number("degree", degree, 0) / 2
    within = sum(math.comb(size, 2) for size in blocks)
    between = math.comb(sum(blocks), 2) - within
    wanted_in, wanted_out = h * edges, (1 - h) * edges
    for name, wanted, pairs in (("within", wanted_in, within), ("between", wanted_out, between)):
        if wanted > pairs:
            raise ValueError(
                f"degree: expected at most {pairs} edges {name} blocks, got {wanted:g} "
                f"from degree {degree} and homophily {homophily}"
            )
    return wanted_in / max(within, 1), wanted_out / max(between, 1)


def _require_sizes(sizes: Sequence[int]) -> list[int]:
    if not isinstance(sizes, Sequence) or isinstance(sizes, str):
        raise TypeError(f"sizes: expected a list of integers, got {type(sizes).__name__}")
    if not sizes:
        raise ValueError("sizes: expected at least one block, got none")
    blocks = [check.integer("sizes", size, 1) for size in sizes]
    _size("sum of sizes", sum(blocks), 1)
    return blocks


def _size(name: str, n: int, least: int) -> int:
    return check.integer(name, n, least, MOST_NODES)


def _matrix(graph, dtype: torch.dtype | None) -> Tensor:
    """The adjacency matrix of a graph of NetworkX."""
    import networkx

    made = check.real_dtype(dtype or torch.get_default_dtype())
    # NetworkX lists nodes as they were added, in the barbell not by their numbers.
    return torch.from_numpy(networkx.to_numpy_array(graph, nodelist=sorted(graph))).to(made)
