"""Three neurons with the mean squares and products of the weights of a cell's neurons, within the directions of the cell.

The kernel of a net at its start, and its motion as long as no neuron flips, are sums of products of the weights over the
neurons of each active set. Nodes that keep these products and lie in the active set of their cell change nothing of that:
what remains of the error of bins is when neurons flip.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# In units of the cell's own size, what is below rounding is nothing.
ROUNDING = 1e-13
# An entry that should not be negative may be this part of its terms: coordinates in a narrow cell lose some digits.
SLIGHT = 1e-10
# The edges of a cell are apart by this angle at least, or coordinates along them would be rounding.
LEAST_ANGLE = 1e-6


class Moments(NamedTuple):
    """Squares and products of a > 0 and w = (x, y) over the neurons of cells, each (cells,)."""

    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    aa: np.ndarray
    ax: np.ndarray
    ay: np.ndarray


def three(m: Moments, least: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows a, x, y, (3, 3, cells), of three neurons with the products m; whether they are within the cell, (cells,).

    Some are nothing. ``least``, (cells,): what no ratio a / |w| is below. ``low``, ``high``, (cells,): the angles between which
    the directions of w are, less than half a turn apart; cells with a neuron outside of these do not keep their products.

    Take p, the part of w along the middle of the cell, the rise u = a - least p, and f and g, the coordinates of w along the
    two edges. Of no neuron is one of u, f and g negative, nor are they to be of the three.
    """
    middle, half = 0.5 * (low + high), 0.5 * np.maximum(high - low, LEAST_ANGLE)
    edges = np.array([middle - half, middle + half])
    cos, sin = np.cos(edges), np.sin(edges)
    # w = f (cos, sin)[0] + g (cos, sin)[1]; pairs (f, g) = px x + py y.
    flip = np.array([[1.0], [-1.0]]) / np.sin(2 * half)
    px, py = sin[::-1] * flip, -cos[::-1] * flip
    tx, ty = px * m.xx + py * m.xy, px * m.xy + py * m.yy
    squares = np.maximum(px * tx + py * ty, 0)
    fg = np.maximum(px[0] * tx[1] + py[0] * ty[1], 0)
    # The middle is the direction whose coordinates are the roots of the squares; so much of the edges is along it.
    roots = np.sqrt(squares)
    cosine = np.cos(2 * half)
    long = np.sqrt(squares[0] + squares[1] + 2 * cosine * roots[0] * roots[1])
    along = (roots + cosine * roots[::-1]) / long
    with_a, with_p = px * m.ax + py * m.ay, along * squares + along[::-1] * fg
    a_p, p_p = along * with_a, along * with_p
    uu = m.aa - least * (2 * (a_p[0] + a_p[1]) - least * (p_p[0] + p_p[1]))
    some = uu > ROUNDING * m.aa
    u = np.sqrt(np.where(some, uu, 0.0))
    far = np.where(some, np.maximum(with_a - least * with_p, 0), 0.0) / np.where(some, u, 1.0)
    found, inside = _split(u, far, squares, fg, roots)
    f, g = found[1], found[2]
    found[0] += least * (along[0] * f + along[1] * g)
    found[1], found[2] = f * cos[0] + g * cos[1], f * sin[0] + g * sin[1]
    return found, inside


def _split(
    u: np.ndarray, far: np.ndarray, whole: np.ndarray, fg: np.ndarray, middle: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Three vectors (u, f, g), (3, 3, cells), with the given products; whether none is negative, (cells,).

    ``u``, ``far``, (cells,) and (2, cells): a vector that has all of the rise, with the products of u. ``whole``, ``fg``: all
    squares and products of f and g. ``middle``, (2, cells): a direction f, g. Far ones have all of the rise, near ones none:
    a Gauss-Radau rule in the ratio. The longer one is two, apart by what is left across, or else the other one, if that keeps
    them inside.
    """
    squares = far * far
    # What is left for the near ones and across.
    left, cross = whole - squares, fg - far[0] * far[1]
    left *= left > ROUNDING * whole
    size = left[0] * left[1]
    det = size - cross * cross
    det *= det > ROUNDING * size
    # Near is one: in the middle, and as long as leaves the square of one vector.
    norm = left[1] * whole[0] + left[0] * whole[1] - 2 * cross * middle[0] * middle[1]
    near = np.sqrt(det / np.where(norm > 0, norm, 1.0)) * middle
    off = left - near * near
    off = np.sqrt(off * (off > ROUNDING * whole))
    inside = off <= far
    far_in, near_in = inside[0] & inside[1], cross >= -SLIGHT * fg
    off[1] = np.copysign(off[1], cross - near[0] * near[1])
    # Near is two: the columns of the root of what is left, or one if that is a square.
    root, single = np.sqrt(det), det == 0
    total = left[0] + left[1]
    scale = np.sqrt(total + 2 * root)
    scale[scale == 0] = 1.0
    columns, both = np.where(single, np.sqrt(left), (left + root) / scale), np.where(single, 0.0, cross / scale)
    # Two vectors of half the mass each are here two that are shorter.
    two_far = far_in & (~near_in | (total <= squares[0] + squares[1])) & ((off[0] != 0) | (off[1] != 0))
    found, h = np.zeros((3, 3, len(u))), np.where(two_far, np.sqrt(0.5), 1.0)
    found[0, 0] = h * u
    found[0, 1] = two_far * found[0, 0]
    found[1:, 0] = h * (far + two_far * off)
    found[1:, 1] = np.where(two_far, h * (far - off), [columns[0], np.where(single, columns[1], both)])
    found[1:, 2] = np.where(two_far, near, [both, ~single * columns[1]])
    return found, far_in | near_in
