"""What the four documents contain, and which item and claims reproduce it: figures, tables, theorems, statements with numbers.

A row with an item is reproduced by it: the claims are those whose locator contains ``locator``, and a figure is drawn by the
item too. A row without an item says why nothing is reproduced. Equations that only define what others use have no row.

The documents: agarwala, a copy of "Second-order regression models ..."; notes and slides, two introductions to phase diagrams
after Luo et al. and Zhou et al.; chen, the abstract of "From stability to chaos ...".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One thing that a document contains. ``drawn``: it is a figure, and the item draws one."""

    document: str
    what: str
    item: str = ""
    locator: str = ""
    drawn: bool = False
    why_not: str = ""


def _figure(document: str, what: str, item: str, locator: str) -> Row:
    return Row(document, what, item, locator, drawn=True)


def _without(document: str, what: str, why: str) -> Row:
    return Row(document, what, why_not=why)


_AGARWALA = (
    *(_figure("agarwala", f"Figure {k}", f"agarwala:{k}", f"Fig. {k}") for k in range(1, 17)),
    Row("agarwala", "Theorem 3.1, (20): final curvature (2 - eps/2)/eta + O(eps^(3/2))", "agarwala:theorem3.1", "Theorem 3.1"),
    Row("agarwala", "Theorem 4.1, (23): sharpening at the start", "agarwala:theorem4.1", "Theorem 4.1"),
    Row("agarwala", "Lemma B.1, (18), (19): two-step changes in (z~, y)", "agarwala:normal-form", "(18)"),
    Row("agarwala", "Lemma B.1, (96), (97): what its remainders are", "agarwala:normal-form", "Lemma B.1"),
    Row("agarwala", "(19): two-step change of y", "agarwala:normal-form", "(19)"),
    Row("agarwala", "appendix B.6.1, (109) to (116): the first phase of the proof", "agarwala:B.6", "(109)-(116)"),
    Row("agarwala", "appendix B.6.2, (117) to (122): its second phase", "agarwala:B.6", "(117)-(122)"),
    _without("agarwala", "Lemma B.2, (101) to (103)",
             "bounds with constants that the proof does not give; the phases that follow from them are measured"),
    Row("agarwala", "(6), (8), (49): gradient flow of one datum", "agarwala:B.2", "(6), (8)"),
    Row("agarwala", "(10), (53), (56): a step of z~", "agarwala:B.2", "(10), (53)"),
    Row("agarwala", "(11), (55), (57): a step of T(k)", "agarwala:B.2", "(11), (55)"),
    Row("agarwala", "(60), (62): E~ is conserved", "agarwala:B.2", "(60)"),
    Row("agarwala", "(12), (13): a step of the symmetric model", "agarwala:B.2", "(13)"),
    Row("agarwala", "(14), (65): a step of z~ with two eigenvalues", "agarwala:B.2", "(14), (65)"),
    Row("agarwala", "(15), (66): a step of T with two eigenvalues", "agarwala:B.2", "(15), (66)"),
    Row("agarwala", "(61) to (64): T(-1), T(1) and T(2) of two eigenvalues", "agarwala:B.2", "(64)"),
    Row("agarwala", "section 3.1, (8): when curvature rises under gradient flow", "agarwala:gradient-flow", "(8)"),
    Row("agarwala", "appendix B.1: progressive sharpening under gradient flow", "agarwala:gradient-flow", "App. B.1"),
    Row("agarwala", "section 3.2.1, (12), (13): the symmetric model", "agarwala:symmetric", "section 3.2.1"),
    Row("agarwala", "appendix B.3: which starts of the symmetric model converge", "agarwala:symmetric", "App. B.3"),
    Row("agarwala", "(16): one and two steps of linear least squares", "agarwala:equalities", "(16)"),
    Row("agarwala", "section 4.2: without Q the edge is eta lambda_max = 2", "agarwala:equalities", "section 4.2"),
    Row("agarwala", "appendix B.3, (67), (68): the allowed cone", "agarwala:8", "(67), (68)"),
    Row("agarwala", "appendix B.3, (69): nullcline of z~", "agarwala:8", "(69)"),
    Row("agarwala", "appendix B.3, (70): nullcline of T", "agarwala:8", "(70)"),
    Row("agarwala", "appendix B.4, (71), (72): degrees of the two-step map", "agarwala:two-step", "(71), (72)"),
    Row("agarwala", "appendix B.4, (73) to (76): the two-step map to z~^3", "agarwala:two-step", "(73)"),
    Row("agarwala", "appendix B.4, (77): slopes in T at the edge", "agarwala:two-step", "(77)"),
    Row("agarwala", "appendix B.4, (78): the powers of eps in f_z", "agarwala:two-step", "(78)"),
    Row("agarwala", "appendix B.4, (83), (84): a step at eps = 0", "agarwala:two-step", "(83), (84)"),
    Row("agarwala", "appendix B.4, (80) to (82): two-step nullclines and their distance", "agarwala:two-step", "(82)"),
    Row("agarwala", "appendix B.6, (130), (132): the ODE beside the map", "agarwala:theorem3.1", "(130), (132)"),
    Row("agarwala", "appendix B.7: parameters at several step sizes", "agarwala:11", "Fig. 11"),
    Row("agarwala", "(21), (22): gradient flow in function space", "agarwala:equalities", "(21), (22)"),
    Row("agarwala", "(25), (26): dynamics in function space", "agarwala:equalities", "(25), (26)"),
    Row("agarwala", "(28), (29): rescaled widths", "agarwala:equalities", "(28), (29)"),
    Row("agarwala", "(27), (158): the nonlinearity ratio", "agarwala:nonlinearity", "(27)"),
    Row("agarwala", "appendix C.2, (149) to (151): its denominator", "agarwala:nonlinearity", "(151)"),
    Row("agarwala", "appendix C.1, (137) to (146): constants of Theorem 4.1", "agarwala:theorem4.1", "(146)"),
    Row("agarwala", "appendix C.2, (152) to (157): its numerator", "agarwala:nonlinearity", "(157)"),
    Row("agarwala", "appendix C.1, (138), (139): the speed of a singular value", "agarwala:C.1", "(139)"),
    Row("agarwala", "appendix C.1, (140) to (144): its acceleration by the diagonal", "agarwala:C.1", "(142)-(144)"),
    Row("agarwala", "appendix C.3: where P > D the edge is met more tightly", "agarwala:14", "App. C.3"),
    Row("agarwala", "appendix A.1: Hessian and kernel", "agarwala:A.1", "App. A.1"),
    Row("agarwala", "appendix A.1: Theorem 3.1 for the Hessian", "agarwala:theorem3.1", "App. A.1"),
    Row("agarwala", "appendix A.2, (33) to (41): eigenvectors of Q", "agarwala:linear-net", "(40), (41)"),
    Row("agarwala", "appendix A.2, (42), (43): J has no part in the zero modes", "agarwala:linear-net", "(42), (43)"),
    Row("agarwala", "appendix A.2, (44): the one-hidden-layer linear net", "agarwala:linear-net", "(44)"),
    Row("agarwala", "appendix A.3, (45): the model of Bordelon and Pehlevan", "agarwala:linear-net", "(45)"),
    Row("agarwala", "appendix A.4, (46), (47): the tangent hierarchy", "agarwala:A.4", "(46), (47)"),
    Row("agarwala", "section 5: correlation of the changes of y with z_1^2", "agarwala:15", "Sec. 5"),
    Row("agarwala", "appendix D.2: the drift b", "agarwala:15", "D.2"),
    Row("agarwala", "section 6.1: where an expansion of second order ends", "agarwala:16", "Section 6.1"),
    Row("agarwala", "section 6.2: how far from the edge it settles in general", "agarwala:deviation", "Section 6.2"),
)  # fmt: skip

_NOTES = (
    _without("notes", "Figure 1.1: implicit regularisation by regime", "a drawing without data, of what Fig. 1.3 shows"),
    _figure("notes", "Figure 1.2: the diagram with named initialisations", "luo:theory", "Fig. 1.2"),
    _figure("notes", "Table 1.1 and the marks of Figure 1.2", "luo:table", "Table 1.1"),
    _figure("notes", "Figure 1.3: fits of four points at three gamma", "luo:fits", "Fig. 1.3"),
    _figure("notes", "Figure 1.4 (a-c): RD against the width", "luo:distance", "Fig. 1.4 (a-c)"),
    _figure("notes", "Figure 1.4 (d): three pairs of scales", "luo:scales", "Fig. 1.4 (d)"),
    _figure("notes", "Figure 1.5: S_w over the plane, one dimension", "luo:map", "Fig. 1.5"),
    _figure("notes", "Figure 1.6: S_w over the plane, MNIST", "luo:mnist", "Fig. 1.6"),
    Row("notes", "(1.8), (1.9): runs of one kappa and kappa' are one", "luo:scales", "(1.8), (1.9)"),
    Row("notes", "section 1.5: nearness to the linear model", "luo:fits", "Section 1.5"),
    Row("notes", "Theorem 1*: RD goes to 0", "luo:theorem6", "Theorem 6"),
    Row("notes", "Theorem 2*: RD grows without bound", "luo:theorem8", "Theorem 8"),
    Row("notes", "section 1.7: the lines gamma = 1 and gamma' = gamma - 1", "luo:theory", "Theorems 6 and 8"),
    Row("notes", "section 1.7, (1.13), (1.14): how far output weights grow", "luo:capacity", "(1.13), (1.14)"),
    Row("notes", "remark 2: the order parameter across the boundary", "luo:exponents", "exponents"),
)  # fmt: skip

_SLIDES = (
    _without("slides", "phase diagrams of water and of a student", "no neural network: the first is physics, the second a joke"),
    _figure("slides", "initial scales and what four points are fitted by", "luo:fits", "Fig. 1.3"),
    _figure("slides", "RD against the width at three initial scales", "luo:distance", "Fig. 1.4 (a-c)"),
    _figure("slides", "the diagram, regimes and named initialisations", "luo:theory", "Fig. 1.2"),
    _figure("slides", "the measured diagram", "luo:map", "Fig. 1.5"),
    _figure("slides", "theoretical diagram of three layers", "zhou:diagram", "theoretical diagram of three layers"),
    _figure("slides", "features at places of the diagram, synthetic data", "luo:condensation", "JMLR Fig. 6"),
    _figure("slides", "features at places of the diagram, MNIST", "luo:condensation-mnist", "JMLR Fig. 7"),
)  # fmt: skip

_CHEN = (
    Row("chen", "training is a cubic map, parameterised by the step size", "chen:map", "abstract"),
    _figure("chen", "five phases, orbit diagram", "chen:orbit", "abstract"),
    Row("chen", "the boundaries of the phases", "chen:boundaries", "abstract"),
    Row("chen", "periodic and chaotic: signs of the Lyapunov exponent", "chen:lyapunov", "abstract"),
    _figure("chen", "phase retrieval and two-layer nets on orthogonal data", "chen:orthogonal", "abstract"),
    _figure("chen", "the phases on data that are not orthogonal", "chen:general", "abstract"),
    _figure("chen", "test error at step sizes 36, 48 and 60, d = 100, n = 80", "chen:averaging", "step sizes 36, 48, 60"),
    Row("chen", "trajectory averaging stabilises the test error", "chen:averaging", "abstract"),
    _without("chen", "figures and theorems by their numbers", "our document is the abstract, which numbers nothing"),
)  # fmt: skip

ROWS: tuple[Row, ...] = (*_AGARWALA, *_NOTES, *_SLIDES, *_CHEN)

# Items that belong to no place of a document: of the published paper on three layers, of which the slides show one diagram, and
# a check of how others are computed.
OURS = {"zhou:distance", "zhou:slopes", "zhou:norms", "zhou:fits", "luo:binned"}
