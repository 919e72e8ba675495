"""The entries of the built-in systems, family by family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainphase.catalog.entry import Param, SystemInfo

# Rows of the data matrix of a regression.
DATA = (
    "orthogonal", "gaussian", "digits", "digits-orthogonal", "mnist", "mnist-orthogonal",
    "fashion-mnist", "fashion-mnist-orthogonal",
)  # fmt: skip

_REGRESSION = (
    Param("data", "choice", "orthogonal", "rows of the data matrix X; -orthogonal: the images made orthogonal", choices=DATA),
    Param("n", "int", 20, "training samples", "samples", 1, 1e6),
    Param("d", "int", None, "input dimension; default 100, or the number of pixels", "inputs", 1, 1e6),
    Param("norm", "text", "sqrt-d", "length of every row x: sqrt-d, unit, keep (an image's own) or a number"),
    Param("noise", "float", 0.0, "standard deviation of the noise on the training targets", "target units", 0.0),
    Param("init_scale", "float", 1.0, "size of the random initialisation, relative to the teacher's", "1", 0.0, open_lo=True),
    Param("start", "choice", "random", "random: one run; leading: the phase over all starts on the leading kernel mode",
          choices=("random", "leading")),
    Param("reach", "float", 1.0, "start=leading: how far the starts reach, as a share of the interval from saddle to z = 2",
          "1", 0.0, 1.0, open_lo=True),
    Param("seed", "int", 0, "seed of data, teacher, noise and initialisation", "1", 0, 2**31 - 1),
    Param("n_test", "int", 256, "test samples", "samples", 1, 1e6),
)  # fmt: skip

_LR = Param("lr", "float", None, "step size of gradient descent on (1/2n) sum (g - y)^2; default: that of a = 1.1", "step size",
            0.0, open_lo=True)  # fmt: skip
_A = Param("a", "float", None, "instead of lr: half of step size times top kernel eigenvalue at the solution", lo=0.0,
           open_lo=True)  # fmt: skip
_SCALE = Param("scale", "float", 1.0, "factor on the teacher's outputs: the size of the targets", "target units", 0.0,
               open_lo=True)  # fmt: skip


def _with(params: tuple[Param, ...], **defaults: Any) -> tuple[Param, ...]:
    return tuple(replace(p, default=defaults[p.name]) if p.name in defaults else p for p in params)


_CHEN = "Chen, Balasubramanian, Ghosal, Agrawalla 2023"

_CUBIC_FAMILY = (
    SystemInfo(
        "cubic",
        "the cubic map of quadratic regression, over all starts or from z0",
        "trainphase.systems.cubic:Cubic",
        (
            Param("a", "float", 1.1, "step size times the kernel eigenvalue at the solution, halved; 1 is the edge of stability",
                  "1", 0.0),
            Param("z0", "float", None, "start of the scaled residual; left out: the phase over all starts in (-a, 2)"),
        ),
        ("loss", "residual", "curvature", "lyapunov", "lyapunov_se", "period", "multiplier", "increases", "lower", "upper"),
        paper=_CHEN,
    ),
    SystemInfo(
        "phase-retrieval",
        "gradient descent on generalised phase retrieval g = (gamma/2)(x.w)^2 + c x.w",
        "trainphase.systems.phase_retrieval:phase_retrieval",
        (
            _LR,
            _A,
            _SCALE,
            Param("gamma", "float", 1.0, "weight of the quadratic term", "1", 0.0, open_lo=True),
            Param("c", "float", 0.0, "weight of the linear term"),
            Param("teacher", "choice", "normal", "normal: random teacher; equal: the same target for all samples",
                  choices=("normal", "equal")),
            *_REGRESSION,
        ),
        ("loss", "test_loss", "averaged_test_loss", "residual", "curvature", "lyapunov", "lyapunov_se", "period", "increases",
         "lower", "upper"),
        paper=_CHEN,
    ),
    SystemInfo(
        "quadratic-net",
        "gradient descent on a two-layer net with quadratic activation, f = (1/(sqrt(m) d)) sum (x.u)^2",
        "trainphase.systems.quadratic_net:quadratic_net",
        (
            _LR,
            _A,
            _SCALE,
            Param("m", "int", 400, "hidden units", "units", 1, 1e6),
            *_with(_REGRESSION, n=80),
        ),
        ("loss", "test_loss", "averaged_test_loss", "residual", "curvature", "lyapunov", "lyapunov_se", "period", "increases",
         "lower", "upper"),
        paper=_CHEN,
    ),
)  # fmt: skip

_AGARWALA = "Agarwala, Pedregosa, Pennington 2022"
_YES_NO = ("false", "true")

_QUADRATIC_MODELS = (
    SystemInfo(
        "quadratic-1d",
        "quadratic regression on one datum: progressive sharpening and the edge of stability",
        "trainphase.systems.quadratic_1d:quadratic_1d",
        (
            Param("eps", "float", 0.005, "the second derivative has eigenvalues 1 and -eps", "1", 0.0, open_lo=True),
            Param("E", "float", 0.0, "conserved quantity E~ (with theta: the model's E, not rescaled)"),
            Param("z", "float", 0.05, "rescaled residual z~ at the start"),
            Param("T", "float", 2.2, "curvature T(0) at the start: step size times kernel eigenvalue", "1", 0.0),
            Param("theta", "text", None, "instead of z and T: parameters in the eigenbasis, such as 1.0,-4.32"),
            Param("eigenvalues", "text", None, "with theta: eigenvalues of the second derivative, default 1,-eps"),
            Param("lr", "float", None, "with theta: step size, default 1", "step size", 0.0, open_lo=True),
            Param("coordinates", "choice", "modes", "modes: any number of parameters; plane: (z~, T) itself; parameters: theta",
                  choices=("modes", "plane", "parameters")),
            Param("flow", "choice", "false", "gradient flow instead of gradient descent", choices=_YES_NO),
        ),
        ("loss", "residual", "curvature", "sharpness", "conserved", "curvature_start", "curvature_max", "increases",
         "lower", "upper"),
        ("edge",),
        _AGARWALA,
    ),
    SystemInfo(
        "linear-net",
        "one-hidden-layer linear net on one datum: the catapult model",
        "trainphase.systems.linear_net:LinearNet",
        (
            Param("T", "float", 2.5, "curvature at the start: step size times kernel eigenvalue", "1", 0.0),
            Param("z", "float", 0.01, "rescaled residual at the start, step size times |x| (f - y)"),
            Param("y", "float", 0.0, "rescaled label, step size times |x| y"),
        ),
        ("loss", "residual", "curvature", "sharpness", "lyapunov", "lyapunov_se", "period", "increases", "lower", "upper"),
        ("training", "edge"),
        "Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020",
    ),
    SystemInfo(
        "quadratic",
        "the (D, P) quadratic regression model from a random start",
        "trainphase.systems.quadratic:quadratic",
        (
            Param("sigma_z", "float", 0.3, "width of the residuals at the start, times step size and D", "1", 0.0),
            Param("sigma_J", "float", 0.35, "width of the Jacobian at the start, times sqrt(step size) (D P)^(1/4)", "1", 0.0),
            Param("D", "int", 20, "outputs (data points)", "1", 1, 1e4),
            Param("P", "int", 40, "parameters", "1", 1, 1e4),
            Param("lr", "float", 1.0, "step size; the widths are rescaled with it", "step size", 0.0, open_lo=True),
            Param("symmetry", "choice", "sym1", "of the second derivative: symmetric with variance 1, symmetrised halves, none",
                  choices=("sym1", "symh", "iid")),
            Param("space", "choice", "parameters", "where it runs: parameters, or function space (z, J)",
                  choices=("parameters", "function")),
            Param("flow", "choice", "false", "gradient flow instead of gradient descent", choices=_YES_NO),
            Param("truncated", "choice", "false", "with flow: the tangent hierarchy cut at the third order", choices=_YES_NO),
            Param("seed", "int", 0, "seed of the second derivative and of the standard draws of the start", "1", 0, 2**31 - 1),
        ),
        ("loss", "residual", "curvature", "sharpness", "leading_curvatures", "nonlinearity", "projected_q", "top_mode",
         "top_residual", "curvature_start", "curvature_max", "increases", "lower", "upper"),
        ("edge",),
        _AGARWALA,
    ),
)  # fmt: skip

_LUO, _ZHOU = "Luo, Xu, Ma, Zhang 2021", "Zhou, Zhou, Jin, Luo, Zhang, Xu 2022"
_LADDER = (
    Param("data", "text", "points", "points (4 points of x^2), gaussian, digits, mnist, fashion-mnist, or a file .csv or .npz"),
    Param("n", "int", None, "training samples; default: 4, 10, 45 images, or all rows of a file", "samples", 1, 1e6),
    Param("d", "int", None, "input dimension of gaussian data, default 10", "inputs", 1, 1e6),
    Param("bias", "choice", "true", "append a 1 to every input", choices=("true", "false")),
)
_RELU = (
    SystemInfo(
        "relu2",
        "a two-layer ReLU net over a ladder of widths: linear, critical or condensed",
        "trainphase.systems.relu2:relu2",
        (
            Param("gamma", "float", None, "-ln(beta1 beta2 / alpha) / ln(width), default 1"),
            Param("gamma_prime", "float", None, "-ln(beta1 / beta2) / ln(width), default 0"),
            Param("width", "text", "1000,5000,10000,20000,40000", "hidden neurons: a ladder of two or more", "neurons"),
            *_LADDER,
            Param("targets", "choice", "label", "of classes: the label as one number, or an output for each",
                  choices=("label", "onehot")),
            Param("antisymmetric", "choice", None, "second copy (-a, w): a start at zero; default true but for images, files",
                  choices=("true", "false")),
            Param("beta1", "text", None, "instead of gamma: std of output weights, a number or a power such as m^-0.5"),
            Param("beta2", "text", None, "with beta1: std of input weights"),
            Param("alpha", "text", None, "with beta1: f = (1/alpha) sum a relu(w.x)"),
            Param("flow", "choice", "true", "gradient flow; false: gradient descent", choices=("true", "false")),
            Param("lr0", "float", 1.0, "flow=false: step size over sqrt(beta1 beta2) alpha, halved when the loss rises",
                  "step size", 0.0, open_lo=True),
            Param("target", "float", None, "mean squared residual to train to, default 1e-6, 1e-4 for images and files",
                  "target units squared", 0.0, open_lo=True),
            Param("accuracy", "float", 0.05, "relative error allowed in each relative distance", "1", 0.0, open_lo=True),
            Param("seed", "text", "0,1,2", "seeds of the ladder"),
        ),
        ("loss", "relative_distance", "relative_distance_a", "slope", "slope_se", "error", "kappa", "kappa_prime", "condensation",
         "directions", "linearisation"),
        ("regime",),
        _LUO,
    ),
    SystemInfo(
        "relu3",
        "a three-layer ReLU net over a ladder of widths, one regime for each layer",
        "trainphase.systems.relu3_ladder:relu3_ladder",
        (
            Param("gamma3", "float", 1.5, "-ln(beta1 beta2 beta3 / alpha) / ln(width)"),
            Param("gamma2", "float", 0.0, "-ln(beta3 / beta1) / ln(width)"),
            Param("width", "text", "125,250,500,1000", "neurons of each hidden layer: a ladder of two or more", "neurons"),
            Param("layer", "choice", "w1", "whose slope decides the regime", choices=("w1", "w2")),
            *_LADDER,
            Param("antisymmetric", "choice", "false", "a second copy with -a: a start at zero; bad for narrow condensed nets",
                  choices=("true", "false")),
            Param("target", "float", 1e-6, "mean squared residual to train to", "target units squared", 0.0, open_lo=True),
            Param("seed", "text", "0,1,2", "seeds of the ladder"),
        ),
        ("loss", "relative_distance", "relative_distance_a", "slope", "slope_se", "slope_other", "slope_other_se", "kappa"),
        ("regime",),
        _ZHOU,
    ),
)  # fmt: skip

_NETWORKS = (
    SystemInfo(
        "mlp",
        "a fully connected network on images or a file, or its Taylor expansion, under full-batch gradient descent",
        "trainphase.systems.mlp:mlp",
        (
            Param("lr", "float", 0.1, "step size", "step size", 0.0, open_lo=True),
            Param("width", "int", 32, "neurons of each hidden layer", "neurons", 1, 1e5),
            Param("depth", "int", 2, "hidden layers", "layers", 0, 100),
            Param("activation", "choice", "tanh", "of the hidden layers",
                  choices=("tanh", "relu", "erf", "gelu", "silu", "elu", "softplus", "sigmoid", "linear")),
            Param("init", "choice", "pytorch", "pytorch: uniform within 1/sqrt(inputs); else normal weights of variance 1/inputs "
                  "(lecun), 2/inputs (he), 2/(inputs + outputs) (glorot); ntk: lecun in the ntk parameterisation",
                  choices=("pytorch", "lecun", "he", "glorot", "ntk")),
            Param("parameterisation", "choice", None, "ntk: weights are divided by sqrt(inputs) in use and not at the start; "
                  "default standard, with init=ntk ntk", choices=("standard", "ntk")),
            Param("bias", "choice", "true", "every unit has a bias", choices=_YES_NO[::-1]),
            Param("gain", "float", 1.0, "factor on all weights at the start", "1", 0.0, open_lo=True),
            Param("dataset", "text", "digits", "cifar10, mnist, fashion-mnist, digits, or a file .csv or .npz"),
            Param("n", "int", 256, "training samples, the first ones", "samples", 1, 1e6),
            Param("classes", "int", None, "only samples of the first so many classes", "classes", 2, 1000),
            Param("targets", "choice", None, "of squared loss: 0 or 1 for each class; +1 and -1 (two classes); numbers; "
                  "default: what fits the data", choices=("onehot", "sign", "label")),
            Param("standardise", "choice", None, "inputs less mean over deviation, each its own (pixel) or all the same (set); "
                  "default pixel for cifar10 and files, else set", choices=("pixel", "set", "none")),
            Param("loss", "choice", "squared", "half the squared residual, or cross-entropy, in nats",
                  choices=("squared", "cross-entropy")),
            Param("reduction", "choice", "mean", "over samples; outputs are summed", choices=("sum", "mean")),
            Param("momentum", "float", None, "of gradient descent, or beta1 of adam (0.9); default none", "1", 0.0, 1.0),
            Param("method", "choice", "polyak", "gradient descent with Polyak's or Nesterov's momentum, or by optax",
                  choices=("polyak", "nesterov", "adam", "rmsprop")),
            Param("taylor", "int", 0, "order of the expansion at the start that is trained instead; 0: the network", "1", 0, 3),
            Param("seed", "int", 0, "seed of the initialisation", "1", 0, 2**31 - 1),
        ),
        ("loss", "residual", "curvature", "sharpness", "curvature_start", "curvature_max", "increases", "lower", "upper"),
        ("edge", "training"),
        "Cohen, Kaur, Li, Kolter, Talwalkar 2021",
    ),
)  # fmt: skip

SYSTEMS = _CUBIC_FAMILY + _QUADRATIC_MODELS + _RELU + _NETWORKS
