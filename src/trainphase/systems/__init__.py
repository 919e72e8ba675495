"""The model systems."""

from trainphase.systems.cubic import Cubic
from trainphase.systems.descent import Descent, descent
from trainphase.systems.linear_net import LinearNet
from trainphase.systems.mlp import mlp
from trainphase.systems.phase_retrieval import PhaseRetrieval, phase_retrieval
from trainphase.systems.quadratic import Quadratic, QuadraticFlow, QuadraticFunction, TangentHierarchy, quadratic
from trainphase.systems.quadratic_1d import (
    Quadratic1D,
    Quadratic1DFlow,
    Quadratic1DParameters,
    Quadratic1DPlane,
    quadratic_1d,
)
from trainphase.systems.quadratic_net import QuadraticNet, quadratic_net
from trainphase.systems.taylor import Taylor, taylor

__all__ = [
    "Cubic",
    "Descent",
    "LinearNet",
    "PhaseRetrieval",
    "Quadratic",
    "Quadratic1D",
    "Quadratic1DFlow",
    "Quadratic1DParameters",
    "Quadratic1DPlane",
    "QuadraticFlow",
    "QuadraticFunction",
    "QuadraticNet",
    "TangentHierarchy",
    "Taylor",
    "descent",
    "mlp",
    "phase_retrieval",
    "quadratic",
    "quadratic_1d",
    "quadratic_net",
    "taylor",
]
