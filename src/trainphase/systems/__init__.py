"""The model systems."""

from trainphase.systems.cubic import Cubic
from trainphase.systems.phase_retrieval import PhaseRetrieval, phase_retrieval
from trainphase.systems.quadratic_net import QuadraticNet, quadratic_net

__all__ = ["Cubic", "PhaseRetrieval", "QuadraticNet", "phase_retrieval", "quadratic_net"]
