"""Derivatives forwards and backwards, implicit layers, soft programs, mechanics, a rocket, search.

Chapter: ``programs``.
"""

from gdl.programs.counted import Counted, Counter, count
from gdl.programs.dual import Dual, derivative, pushforward
from gdl.programs.elementary import Elementary, Number, cos, exp, log, sin, tanh
from gdl.programs.energy_networks import (
    ForceField,
    FreePotential,
    HamiltonianNetwork,
    LagrangianNetwork,
    PairPotential,
    VectorFieldNetwork,
)
from gdl.programs.equilibrium import Equilibrium, EquilibriumLayer
from gdl.programs.implicit import solve_fixed_point, solve_optimum, solve_root
from gdl.programs.integrators import (
    LEAPFROG,
    RK4,
    ButcherTableau,
    Splitting,
    rooted_trees,
    runge_kutta,
    split,
    symplectic_error,
    symplectic_form,
)
from gdl.programs.landing import Landing, hover, land, search_landing, unreachable
from gdl.programs.language import OPERATORS, Expression, Found, search_program
from gdl.programs.linear import ConvergenceError, dense_solve, krylov_solve, neumann_solve
from gdl.programs.mechanics import (
    angular_momentum,
    euler_lagrange,
    forces,
    hamiltonian_field,
    momentum,
)
from gdl.programs.reversible import reversible_leapfrog
from gdl.programs.rocket import Rocket, Touchdown, fly, landing_cost, touchdown
from gdl.programs.soft import sinkhorn, soft_sort
from gdl.programs.spectral import spectral_projector
from gdl.programs.systems import (
    body_samples,
    double_pendulum_acceleration,
    double_pendulum_lagrangian,
    morse_potential,
    pendulum_energy,
    pendulum_field,
    pendulum_samples,
    triangle_strip,
)
from gdl.programs.tape import Tape, Variable, pullback, record
from gdl.programs.unrolled import (
    UnrolledDescent,
    chebyshev_contraction,
    chebyshev_rates,
    worst_contraction,
)

__all__ = [
    "LEAPFROG",
    "OPERATORS",
    "RK4",
    "ButcherTableau",
    "ConvergenceError",
    "Counted",
    "Counter",
    "Dual",
    "Elementary",
    "Equilibrium",
    "EquilibriumLayer",
    "Expression",
    "ForceField",
    "Found",
    "FreePotential",
    "HamiltonianNetwork",
    "LagrangianNetwork",
    "Landing",
    "Number",
    "PairPotential",
    "Rocket",
    "Splitting",
    "Tape",
    "Touchdown",
    "UnrolledDescent",
    "Variable",
    "VectorFieldNetwork",
    "angular_momentum",
    "body_samples",
    "chebyshev_contraction",
    "chebyshev_rates",
    "cos",
    "count",
    "dense_solve",
    "derivative",
    "double_pendulum_acceleration",
    "double_pendulum_lagrangian",
    "euler_lagrange",
    "exp",
    "fly",
    "forces",
    "hamiltonian_field",
    "hover",
    "krylov_solve",
    "land",
    "landing_cost",
    "log",
    "momentum",
    "morse_potential",
    "neumann_solve",
    "pendulum_energy",
    "pendulum_field",
    "pendulum_samples",
    "pullback",
    "pushforward",
    "record",
    "reversible_leapfrog",
    "rooted_trees",
    "runge_kutta",
    "search_landing",
    "search_program",
    "sin",
    "sinkhorn",
    "soft_sort",
    "solve_fixed_point",
    "solve_optimum",
    "solve_root",
    "spectral_projector",
    "split",
    "symplectic_error",
    "symplectic_form",
    "tanh",
    "touchdown",
    "triangle_strip",
    "unreachable",
    "worst_contraction",
]
