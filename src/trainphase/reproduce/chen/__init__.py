"""Chen, Balasubramanian, Ghosal and Agrawalla 2023: the cubic map of quadratic regression and its five phases.

Our document of this paper is its abstract. It names the phases, says that their boundaries are located, and what was seen on
orthogonal and on generic data and of the test error; figures and theorems have no numbers there. The map, the values of a at
the boundaries and the sizes of the experiment (d = 100, n = 80, step sizes 36, 48, 60) are those of the published paper.
"""

from __future__ import annotations

from trainphase.reproduce.chen import averaging, cubic_map, phases
from trainphase.reproduce.runner import Figure

FIGURES: tuple[Figure, ...] = (*cubic_map.FIGURES, *phases.FIGURES, *averaging.FIGURES)
