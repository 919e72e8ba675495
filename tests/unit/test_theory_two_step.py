"""The two-step map's exact table: against rational iteration of the one-step map, and the printed series."""

from __future__ import annotations

import importlib.util
import math
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest

from trainphase.errors import RequestError
from trainphase.theory import two_step

SCRIPT = Path(__file__).parents[2] / "scripts" / "derive_two_step.py"


def one_step(z, T, e):
    """(14), (15) at E~ = 0 by way of the eigenvectors: c_i^2 -> c_i^2 (1 - w_i z)^2, z = (sum c_i^2/w_i)/2.

    Any number type; e != 0.
    """
    first, second = (T + 2 * e * z) / (1 + e), e * (T - 2 * z) / (1 + e)
    first, second = first * (1 - z) ** 2, second * (1 + e * z) ** 2
    return (first - second / e) / 2, first + second


def polynomial(name, z, x, e, order=99):
    """The stored table summed in exact arithmetic."""
    return sum(c * z**i * x**k * e**j for (i, k, j), c in two_step.exact(name).items() if i <= order)


RATIONAL = [(F(1, 7), F(9, 4), F(1, 5)), (F(-3, 2), F(11, 3), F(2, 9)), (F(5, 3), F(1, 6), F(-3, 7)), (F(2), F(3), F(1))]


@pytest.mark.parametrize("z, T, e", RATIONAL)
def test_two_steps_are_two_steps(z, T, e):
    z2, t2 = one_step(*one_step(z, T, e), e)
    assert polynomial("DELTA_Z", z, T, e) == z2 - z
    assert polynomial("DELTA_T", z, T, e) == t2 - T
    at = float(z), float(T), float(e)
    # sums of some 80 terms, each rounded to 1e-16 of at most about 1e4
    assert two_step.delta_z(*at) == pytest.approx(float(z2 - z), rel=1e-11, abs=1e-12)
    assert two_step.delta_T(*at) == pytest.approx(float(t2 - T), rel=1e-11, abs=1e-12)
    for part, total in ((two_step.p, z2 - z), (two_step.q, t2 - T)):
        cubic = sum(part(k, at[0], at[2]) * at[1] ** k for k in range(4))
        assert cubic == pytest.approx(float(total), rel=1e-11, abs=1e-12)


def test_degrees_and_the_two_short_polynomials():
    for name, top in (("DELTA_Z", (9, 3, 5)), ("DELTA_T", (9, 3, 6))):
        powers = two_step.exact(name)
        assert tuple(max(p[n] for p in powers) for n in range(3)) == top
    for z, e in ((F(1, 3), F(1, 8)), (F(-7, 5), F(2, 3)), (F(3), F(-1, 4))):
        r = 1 - (1 - e) * z
        p3 = -(z**2) / 8 * r * (1 + r) ** 2 * (e**2 * z + e + z - 1)
        inner = 3 * e**4 * z**5 - 4 * e**3 * z**5 + 8 * e**3 * z**4 + 2 * e**3 * z**3 + 4 * e**2 * z**5
        inner += -10 * e**2 * z**4 + 5 * e**2 * z**3 + 6 * e**2 * z**2 - 3 * e * z**5 + 8 * e * z**4
        inner += -5 * e * z**3 - 4 * e * z**2 + 6 * e * z - 2 * z**3 + 6 * z**2 - 6 * z + 2
        p2 = z / 4 * (1 + r) * inner
        table = two_step.exact("DELTA_Z")
        assert sum(c * z**i * e**j for (i, k, j), c in table.items() if k == 3) == p3
        assert sum(c * z**i * e**j for (i, k, j), c in table.items() if k == 2) == p2
        assert two_step.p(2, float(z), float(e)) == pytest.approx(float(p2), rel=1e-11)


def test_series_73_and_74():
    for e in (F(1, 9), F(2, 5)):
        for T in (F(2), F(1, 3), F(7, 2)):
            dz = [
                T * (T - 2),
                (1 - e) * T * (T - 1) * (T - 6) / 2,
                6 * e
                - (2 * e**2 + 5 * e + 2) * T
                + (9 * e**2 - 10 * e + 9) * T**2 / 2
                - (3 * e**2 - 4 * e + 3) * T**3 / 2,
            ]
            third = -12 * e + 4 * (e**2 + 4 * e + 1) * T - (9 * e**2 - e + 9) * T**2 + (3 * e**2 - e + 3) * T**3
            dt = [
                2 * (1 - e) * T * (T - 2),
                -8 * e + 2 * (3 * e**2 - e + 3) * T - (7 * e**2 - 8 * e + 7) * T**2 + (e**2 - e + 1) * T**3,
                (e - 1) * third,
            ]
            for name, want in (("DELTA_Z", dz), ("DELTA_T", dt)):
                rows = two_step.exact(name)
                for n, value in enumerate(want, start=1):
                    assert sum(c * T**k * e**j for (i, k, j), c in rows.items() if i == n) == value
            at = 0.01, float(T), float(e)
            # Horner's rounding of terms near 1e-2
            summed = sum(float(c) * 0.01**n for n, c in enumerate(dz, 1))
            assert two_step.delta_z(*at, order=3) == pytest.approx(summed, abs=1e-15)


def by_power(name, n, e, x=F(1)):
    return sum(c * x**k * e**j for (i, k, j), c in two_step.exact(name).items() if i == n)


@pytest.mark.parametrize("e", [F(1, 9), F(2, 5), F(-1, 3)])
def test_printed_nullcline_series(e):
    m = e**2 - e + 1
    f_z = [F(2), 2 * (1 - e), 2 * m, 2 * (1 - e) * m, (2 - 3 * e + 2 * e**2) ** 2 / 2]
    f_t = [
        F(2),
        (2 - 3 * e + 2 * e**2) / (1 - e),
        (4 - e + 4 * e**2) / 2,
        (8 * e**4 - 13 * e**3 + 18 * e**2 - 13 * e + 8) / (4 * (1 - e)),
    ]
    gap = [F(0), -e / (1 - e), -3 * e / 2, -e * (11 * e**2 - 14 * e + 11) / (4 * (1 - e))]
    for name, want in (("F_Z", f_z), ("F_T", f_t), ("F_GAP", gap)):
        for n, value in enumerate(want):
            assert by_power(name, n, e, 1 / (1 - e)) == value, (name, n)


@pytest.mark.parametrize("name, map_of", [("F_Z", two_step.delta_z), ("F_T", two_step.delta_T)])
def test_nullcline_series_solve_their_equation_to_their_order(name, map_of):
    series = {"F_Z": two_step.series_f_z, "F_T": two_step.series_f_T}[name]
    z, e = np.array([0.02, 0.04]), 0.1
    for order in range(two_step.NULLCLINE_ORDER):
        residue = np.abs(map_of(z, series(z, e, order), e))
        # Delta is z times the distance from the nullcline, so z^(order + 2); 0.1 for the next term
        assert math.log2(residue[1] / residue[0]) == pytest.approx(order + 2, abs=0.25)
    gap = two_step.series_f_z(z, e, 6) - two_step.series_f_T(z, e, 6)
    assert np.allclose(gap, two_step.series_f_gap(z, e, 6), rtol=0, atol=1e-14)  # a few roundings of 2
    # the sum at eps = 0 is 2/(1 - z): the rest of a geometric series after z^6
    assert np.allclose(two_step.series_f_z(z, 0.0, 6), 2 * (1 - z**7) / (1 - z), rtol=1e-15)


@pytest.mark.parametrize("e", [F(1, 9), F(2, 5)])
def test_printed_normal_form(e):
    z, y = two_step.exact("NORMAL_Z"), two_step.exact("NORMAL_Y")

    def at(table, i, k):
        return sum(c * e**j for (a, b, j), c in table.items() if (a, b) == (i, k))

    assert [at(z, 1, 1), at(z, 1, 2), at(z, 2, 1), at(z, 2, 2), at(z, 3, 1)] == [2, 1, -(1 - e), -(1 - e) / 2, -e]
    assert [at(y, 2, k) for k in range(3)] == [-4 * e, -2 * (4 - 3 * e + 4 * e**2), -12 * (1 - e + e**2)]
    assert [at(y, 3, k) for k in range(2)] == [-4 * e * (1 - e), -2 * (1 - e) * (4 - e + 4 * e**2)]
    assert min(i for i, _, _ in y) == 2  # y does not move to first order in z


@pytest.mark.parametrize("order", [1, 2, 3])
def test_normal_form_has_the_stated_order(order):
    """Against two exact steps, with the nullcline by Newton's method on them: error O(z^(order+1))."""
    mpmath = pytest.importorskip("mpmath")
    mp = mpmath.mp
    with mp.workdps(40):
        e, y = mp.mpf(1) / 10, mp.mpf(3) / 10

        def twice(z, T):
            return one_step(*one_step(z, T, e), e)

        def nullcline(z):
            return mp.findroot(lambda T: (twice(z, T)[0] - z) / z, 2 / (1 - z))

        errors = []
        for z in (mp.mpf(1) / 200, mp.mpf(1) / 400):
            z2, t2 = twice(z, nullcline(z) + y)
            dz, dy = two_step.normal_form(float(z), float(y), float(e), order)
            errors.append((abs(z2 - z - dz), abs(t2 - nullcline(z2) - y - dy)))
        for wide, narrow in zip(*errors, strict=True):
            # the house rule for orders; at z = 1/400 the next term changes the slope by about 0.02
            assert float(mp.log(wide / narrow, 2)) == pytest.approx(order + 1, abs=0.1)


def settle(e, z=0.5, T=3.8):
    """lim T of the map in doubles."""
    for _ in range(int(60 / e)):
        z, T = one_step(z, T, e)
    # near z = 0, |z| shrinks by 1 - e/2 or so a step: z is e^-30 and T has moved by less than rounding
    assert abs(z) < 1e-9
    return T


def test_final_curvature_by_iteration():
    assert two_step.exact("CURVE")[0, 0, 1] == F(-1, 2)
    assert two_step.exact("CURVE")[0, 0, 2] == F(-27, 32)
    assert two_step.exact("CURVE")[0, 0, 3] == F(-153, 128)
    eps = np.array([0.01, 0.02])
    found = np.array([settle(e) for e in eps])
    for order in range(1, 4):
        error = np.abs(found - two_step.final_curvature(eps, order))
        # the ratio of the next coefficients is 1.4 to 1.8 times eps, and log2(1 + 1.8 * 0.01) = 0.03
        assert math.log2(error[1] / error[0]) == pytest.approx(order + 1, abs=0.06)
    # the script run to weight 10 gives -(40051/8192) eps^5 next, and the term after it adds 2.7 eps; 1e-13 from 1e4 roundings
    assert np.all(np.abs(found - two_step.final_curvature(eps, 4)) < 1.1 * 40051 / 8192 * eps**5 + 1e-13)
    assert two_step.final_curvature(0.005) == pytest.approx(1.9974789, abs=5e-8)  # digits of the document


def test_arrival_curve_is_followed():
    e, (z, T), checked = 0.01, (0.5, 3.8), 0
    for n in range(600):
        z, T = one_step(z, T, e)
        if n > 100 and abs(z) < 0.2:  # the transient, exp(-4 * 0.5^2/eps), is over
            checked += 1
            y = T - two_step.series_f_z(z, e, 6)
            # terms of weight 9 and 10 with coefficients of order 1, and what follows z^6 in f_z, about 2 z^n
            bound = 3 * e * max(e, z * z) ** 3.5 + 2 * abs(z) ** 7 / (1 - abs(z))
            assert abs(y - two_step.arrival_curve(z, e)) < bound, (n, z)
    assert checked > 50 and abs(z) < 0.1


def test_y_star():
    e = 0.01
    _, dy = two_step.normal_form(1e-4, two_step.y_star(e), e, 2)
    # only the y^2 term is left, 12 y^2 z^2 = 12 (eps/2)^2 1e-8, where each linear term is 4 eps 1e-8
    assert abs(dy) < 1.1 * 12 * (e / 2) ** 2 * 1e-8
    assert two_step.y_star(e) == pytest.approx(-e / 2 - 3 * e**2 / 8, abs=e**3)  # the next term is 0.2 eps^3


def test_requests_are_refused():
    for call in (
        lambda: two_step.exact("DELTA"),
        lambda: two_step.p(4, 0.1, 0.1),
        lambda: two_step.series_f_T(0.1, 1.0),
        lambda: two_step.series_f_z(0.1, 0.1, order=7),
        lambda: two_step.normal_form(0.1, 0.1, 0.1, order=4),
        lambda: two_step.final_curvature(0.1, order=5),
    ):
        with pytest.raises(RequestError):
            call()


@pytest.mark.skipif(importlib.util.find_spec("sympy") is None, reason="sympy is a development dependency")
def test_the_committed_table_is_what_the_script_derives(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("derive_two_step", SCRIPT)
    assert spec is not None and spec.loader is not None
    derive = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(derive)
    assert derive.main(["--check"]) == 0
    spoilt = tmp_path / "table.py"
    source = derive.TABLE.read_text(encoding="utf-8")
    assert source.count("-6912") == 1  # -(27/32) * 8192
    spoilt.write_text(source.replace("-6912", "-6913"), encoding="utf-8")
    assert derive.main(["--check", "--out", str(spoilt)]) == 1
    assert "differs from a fresh derivation" in capsys.readouterr().err
