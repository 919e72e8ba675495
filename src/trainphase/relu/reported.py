"""What a run over a ladder of widths reports, with units and meaning. No JAX here: the catalogue lists these, too."""

from __future__ import annotations

# Name -> (unit, meaning).
REPORTED: dict[str, tuple[str, str]] = {
    "loss": ("target units squared", "mean squared residual"),
    "relative_distance": ("1", "|w(t) - w(0)| / |w(0)| of the input weights (relu3: of the layer), the largest over time"),
    "relative_distance_a": ("1", "the same of the output weights"),
    "slope": ("1", "S_w, slope of ln(relative distance) over ln(width), from all widths and seeds"),
    "slope_se": ("1", "standard error of the slope, of the scatter about the line"),
    "slope_other": ("1", "slope of the other hidden layer"),
    "slope_other_se": ("1", "standard error of the other layer's slope"),
    "error": ("1", "largest estimated relative error of a relative distance of the ladder"),
    "condensation": ("1", "chance that two units of amplitude |a||w| point the same way within 0.1 rad, of the widest net"),
    "directions": ("1", "directions of input weights that carry more than 1 % of the amplitude"),
    "linearisation": ("1", "rms distance of the function from its linearisation at the start, over the rms of the function"),
    "kappa": ("1", "product of the initial scales over alpha, of the widest net"),
    "kappa_prime": ("1", "beta1 / beta2 of the widest net"),
}
