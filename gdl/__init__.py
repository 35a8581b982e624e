"""One Equation: geometric deep learning, derived, executed and tested.

Every layer of the book solves ``rho_out(g) W = W rho_in(g)``. The rooms of this package are named
after the chapters that derive them:

======================  ====================================================
room                    chapter
======================  ====================================================
``high_dimensions``     ``high_dimensions``: hulls, folds, margins, sorting
``representations``     ``symmetry``: groups, representations, orbits, irreps
``equivariance``        ``one_equation``: the solver, its oracles, the tests
``grids``               ``grids``: convolution, pooling, scattering
``groups``              ``groups``: group convolution, steerable CNNs
``rotations``           ``rotations``: spherical and tensor field networks, EGNN
``graphs``              ``graphs``: Deep Sets, fifteen maps, message passing
``attention``           ``attention``: Transformers, positions
``geodesics``           ``geodesics``: Laplacians, heat, DiffusionNet
``gauges``              ``gauges``: transport, fields of directions, GaugeConv
``sequences``           ``sequences``: recurrence, warps, gates, state spaces
``programs``            ``programs``: derivatives, implicit layers, mechanics
``sparse_coding``       ``sparse_coding``: thresholds, LISTA, SC2Net, l0 encoders
``factorization``       ``factorization``: k-means, NMF, robust PCA as networks
``inference``           ``inference``: CRF as RNN, Attend-Infer-Repeat
``diffusion``           ``diffusion``: learned equations, TNRD, deblurring
``zoo``                 ``zoo``: assumptions and their layers, averages, frames
======================  ====================================================

``chapter``, ``claims``, ``training``, ``data``, ``geometry``, ``results`` and ``plot`` are shared
by all chapters.
"""

__version__ = "0.1.0"
