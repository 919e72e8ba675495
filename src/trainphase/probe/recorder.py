"""The record that a probe keeps: losses at every step, curvature now and then, and what that has cost.

NumPy only; what is measured on is a :class:`Point`, which the JAX and the PyTorch probe make. A measurement is made every
so many steps if the budget allows it: the time spent measuring stays below ``budget`` per cent of the time spent training,
and what the budget leaves decides how many matrix-vector products a measurement may take. Setting up (the check of the
products, the first search, compilation) is counted apart.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from trainphase.errors import RequestError
from trainphase.probe.settings import Setting
from trainphase.spectrum import krylov

OBSERVABLES = ("sharpness", "second", "gradient_norm", "batch_sharpness")
# The first search has no vector to begin from; the spectra of real networks need 10 to 25 products.
COLD = 40
# A warm measurement takes at least this many products for one pair, for two, and at most.
FEWEST, FEWEST_OF_TWO, MOST = 1, 4, 24
# With this many products there is room for more than the last vector in the start.
AMPLE = 6
# Of the budget, what is spent by the probe's own clock. The rest is for what it does not see: steps after a measurement meet
# emptied caches (0.2 % of 50 steps), prices rise, and two loops alike differ by up to 2 % by where their arrays lie.
SHARE = 0.8
# What a call takes that measures nothing, 0.5 to 1 % of a step of 5 ms, is clocked in one of so many steps.
CLOCKED = 8
# Every so many measurements the start has the gradient, or a random direction too: a mode from elsewhere is found.
FRESH = 5
# Its share in the start of a measurement with one product, which cannot part the two, and with more.
LEAN, LEANER = 0.3, 0.1


@dataclass(frozen=True, eq=False)
class Point:
    """A loss at one place. product : v -> H v, (P,). gradient : (P,). parts : of minibatches, (gradient, product) each."""

    product: Callable[[np.ndarray], np.ndarray]
    gradient: np.ndarray
    loss: float
    setting: Setting
    parts: Sequence[Callable[[], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]] = ()


@dataclass(frozen=True)
class Cost:
    """Seconds of training, of measuring, and of setting up; measurements made, and matrix-vector products.

    every : steps between measurements, as asked for. steps : steps of training.
    """

    training: float
    measuring: float
    setup: float
    measurements: int
    products: int
    budget: float | None
    every: int
    steps: int

    @property
    def overhead(self) -> float:
        """Measuring in per cent of training, without the setup; NaN before the first step."""
        return 100 * self.measuring / self.training if self.training > 0 else float("nan")

    @property
    def overhead_with_setup(self) -> float:
        """As above, with the setup."""
        return 100 * (self.measuring + self.setup) / self.training if self.training > 0 else float("nan")

    def advice(self, wanted: int) -> str:
        """How to get ``wanted`` measurements, evenly apart, out of so many steps."""
        every, made = max(self.steps // wanted, 1), max(self.measurements - 1, 0)
        lower = f"lower every from {self.every} to {every}" if every < self.every else ""
        if self.budget is None:
            return lower or "train for longer"
        need = self.overhead * wanted / made / SHARE if made else math.inf
        if need <= self.budget:
            return lower or "train for longer"
        digit = 10 ** math.floor(math.log10(need)) if made else 1.0
        to = f" to some {math.ceil(need / digit) * digit:g}" if made else ""
        raised = f"raise budget from {self.budget:g}{to} per cent (None: no limit)"
        return f"{lower} and {raised}" if lower else raised

    @property
    def sentence(self) -> str:
        """In words."""
        limit = "" if self.budget is None else f" of the {self.budget:g} % allowed"
        counted = f"{self.measurements} measurement{'' if self.measurements == 1 else 's'}"
        share = f"{self.overhead:.2g}" if not self.overhead >= 10 else f"{self.overhead:.0f}"
        return (
            f"measuring took {share} %{limit} of the training time, {counted} with "
            f"{self.products} products, and the setup {self.setup:.2g} s"
        )


@dataclass(eq=False, repr=False)
class Recorder:
    """What a probe has seen so far. It changes as training goes on; adapters call ``begin``, ``tick`` and ``look``.

    every : steps between measurements. budget : per cent of the training time, or None for no limit. tol : relative error
    at which a measurement stops. regime : of the initialisation, and place : its Location, or None.
    """

    every: int
    budget: float | None
    tol: float = 1e-3
    observables: tuple[str, ...] = ("sharpness",)
    seed: int = 0
    minibatch: bool | None = None
    clock: Callable[[], float] = time.perf_counter
    step: int = 0
    rows: dict[str, list[Any]] = field(default_factory=dict)
    losses: list[tuple[int, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    setting: Setting | None = None
    regime: str = ""
    place: Any = None
    training: float = 0.0
    measuring: float = 0.0
    setup: float = 0.0
    products: int = 0
    _resumed: float | None = None
    _pairs: krylov.Pairs | None = None
    _price: tuple[float, float] = (0.0, 0.0)
    _due: bool = False
    _read: int = 0
    _gone: bool = False
    _failures: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.every, bool) or not isinstance(cast(object, self.every), int | np.integer) or self.every < 1:
            raise RequestError(f"every = {self.every} is no number of steps; give a whole number of at least 1")
        number = isinstance(self.budget, int | float | np.number)
        if self.budget is not None and not (number and np.isfinite(self.budget) and self.budget > 0):
            raise RequestError(f"budget = {self.budget} is no share of the training time; give per cent above 0, or None")
        unknown = [name for name in self.observables if name not in OBSERVABLES]
        if unknown:
            raise RequestError(f"there is no observable {unknown[0]!r} for a probe; they are {', '.join(OBSERVABLES)}")

    def __repr__(self) -> str:
        return f"<{len(self.losses)} losses and {len(self.rows.get('step', ()))} measurements in {self.step} steps>"

    def note(self, sentence: str) -> None:
        """Keep a sentence for the report, once."""
        if sentence and sentence not in self.notes:
            self.notes.append(sentence)

    def begin(self, check: Callable[[], str], look: Callable[[], Point | None]) -> str:
        """Check the products and measure for the first time, at step 0; returns what the check says."""
        began = self.clock()
        told = check()
        self.note(told)
        self._look(look, COLD, self.clock())
        self.setup += self.clock() - began
        self._resumed = self.clock()
        return told

    def entered(self) -> float | None:
        """The time, where what a step's call takes is clocked; adapters ask first of all and hand it to ``tick``."""
        return None if self._resumed is None or self.step % CLOCKED else self.clock()

    def tick(
        self,
        loss: Any,
        look: Callable[[], Point | None],
        ready: Callable[[], Any] = lambda: None,
        entered: float | None = None,
        steps: int = 1,
    ) -> bool:
        """A step of training is done, which began with this loss; measures where it is time. Returns whether it did.

        steps : how many are done, if several at once; ``loss`` then holds theirs, (steps,).

        ready : waits until the work that the device still has to do is done, so that it is not counted as measuring.
        entered : of :meth:`entered`; what this call takes is then counted as measuring, for all calls like it.
        """
        if self._resumed is None:
            raise RequestError("a step came before the probe was started; put the loop in its with block, or call start()")
        if loss is not None:
            values = [loss] if np.shape(loss) == () else np.asarray(loss)
            self.losses += [(self.step + k, value) for k, value in enumerate(values)]
        before, self.step = self.step, self.step + steps
        self._due = self._due or self.step // self.every > before // self.every
        measured = self._due and self._measured(look, ready)
        if entered is not None and not measured:
            spent = CLOCKED * (self.clock() - entered)
            self.measuring, self.training = self.measuring + spent, self.training - spent
        return measured

    def _measured(self, look: Callable[[], Point | None], ready: Callable[[], Any]) -> bool:
        self.finish()
        first, most = self._pairs is None, self._afforded()
        if most < (FEWEST_OF_TWO if "second" in self.observables else FEWEST) and not first:
            return False
        self._due = False
        ready()
        if self.diverged:
            return False
        self.finish()
        began = self._resumed = self.clock()
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # of a run that is about to diverge
                self._look(look, COLD if first else most, began)
        except RequestError as why:  # a run that diverges must not end in the probe
            self._failed(str(why))
        self._resumed = self.clock()
        if first:
            self.setup += self._resumed - began
        else:
            self.measuring += self._resumed - began
        return True

    def finish(self) -> None:
        """Count the time since the last measurement as training."""
        if self._resumed is not None:
            now = self.clock()
            self.training += now - self._resumed
            self._resumed = now

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite; turns those that are new into numbers, which waits for the device."""
        for k in range(self._read, len(self.losses)):
            self.losses[k] = (self.losses[k][0], _number(self.losses[k][1]))
            self._gone = self._gone or not np.isfinite(self.losses[k][1])
        self._read = len(self.losses)
        return self._gone

    @property
    def cost(self) -> Cost:
        """What it has cost."""
        made = len(self.rows.get("sharpness", []))
        return Cost(self.training, self.measuring, self.setup, made, self.products, self.budget, self.every, self.step)

    def _afforded(self) -> int:
        """Products that the budget leaves for a measurement now."""
        if self.budget is None:
            return 200
        build, product = self._price
        left = SHARE * self.budget / 100 * self.training - self.measuring - build
        return MOST if product <= 0 else int(np.clip(left / product, 0, MOST))

    def _look(self, look: Callable[[], Point | None], most: int, began: float) -> None:
        # A point holds the graph of the gradient, which takes time to let go: that is done when this returns.
        point = look()
        if point is not None:
            self._measure(point, most, began)

    def _measure(self, point: Point, most: int, began: float) -> None:
        setting = self.setting = point.setting
        before, count = 0 if self._pairs is None else self._pairs.rows.shape[1], point.gradient.size
        if before not in (0, count):  # others are trained now, and the last vector is not one of theirs
            self._pairs = None
            self.note(f"from step {self.step} on {count} parameters are trained, not {before}")
        for sentence in setting.notes:
            self.note(sentence)
        built = self.clock()
        apply = setting.product(point.product)
        k = 2 if "second" in self.observables else 1
        if self._pairs is not None and k == 1 and most < AMPLE:
            pairs = krylov.follow(apply, self._onward(self._pairs.rows[0], point, most), most, self.tol)
        else:
            slope = setting.rescaled(point.gradient)
            pairs = krylov.top(apply, slope.size, k, self.tol, self._start(slope, most), most, seed=self.seed)
        done = self.clock()
        self._pairs, self.products = pairs, self.products + pairs.products
        self._price = (built - began, (done - built) / max(pairs.products, 1))
        row = {"sharpness": pairs.values[0], "error": pairs.errors[0], "products": pairs.products, "probe_loss": point.loss}
        if "second" in self.observables:
            row["second"] = pairs.values[1] if len(pairs.values) > 1 else np.nan
        if "gradient_norm" in self.observables:
            row["gradient_norm"] = np.linalg.norm(point.gradient)
        if "batch_sharpness" in self.observables:
            row["batch_sharpness"] = _batch_sharpness(point)
            self._price = (built - began + self.clock() - done, self._price[1])
        self._row(row | {"threshold": setting.threshold, "lr": setting.lr})

    def _onward(self, row: np.ndarray, point: Point, most: int) -> np.ndarray:
        """The last vector alone, (P,), so that each product turns it further to the top; now and then with the gradient in it.

        Measured on a tanh net, 50 steps apart, 3 products: median error 7e-4, against 2e-2 with the gradient as a second row.
        """
        if len(self.rows["step"]) % FRESH:
            return row
        slope = point.setting.rescaled(point.gradient)
        size = float(np.linalg.norm(slope))
        if not 0 < size < np.inf:
            return row
        side = -1.0 if slope @ row < 0 else 1.0
        return (row + side * (LEAN if most > 1 else LEANER) * float(np.linalg.norm(row)) / size * slope).astype(row.dtype)

    def _start(self, slope: np.ndarray, most: int) -> np.ndarray | None:
        """None for a first search; else the last vectors and, where there is room, the gradient: it leans to unstable modes."""
        if self._pairs is None:
            return None
        k, leaning = len(self._pairs.values), np.isfinite(slope).all() and slope.any()
        fresh = len(self.rows["step"]) % FRESH == 0
        rows = list(self._pairs.rows if most >= AMPLE else self._pairs.rows[:k])
        if leaning and (fresh or most >= AMPLE):
            rows.append(slope)
        if fresh and most >= AMPLE:
            rows.append(np.random.default_rng([self.seed, self.step]).standard_normal(slope.size))
        return np.stack(rows)

    def _failed(self, why: str) -> None:
        steps = self._failures.setdefault(why, [])
        old = _of_failures(steps, why)
        steps.append(self.step)
        self.notes = [*(n for n in self.notes if n != old), _of_failures(steps, why)]
        if self.setting is not None:
            self._row({"threshold": self.setting.threshold, "lr": self.setting.lr})

    def _row(self, values: dict[str, Any]) -> None:
        names = {"step", "sharpness", "error", "products", "probe_loss", "threshold", "lr", *self.observables}
        values["step"] = self.step
        for name in names:
            self.rows.setdefault(name, []).append(float(values.get(name, np.nan)))


def names_of(observables: str | Sequence[str]) -> tuple[str, ...]:
    """Of one name or several."""
    return (observables,) if isinstance(observables, str) else tuple(observables)


def _of_failures(steps: Sequence[int], why: str) -> str:
    """A sentence for measurements that failed alike."""
    if len(steps) < 2:
        return f"the measurement after step {steps[0] if steps else 0} failed: {why}"
    return f"{len(steps)} measurements failed, after steps {steps[0]} to {steps[-1]}: {why}"


def _number(loss: Any) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError):
        raise RequestError(
            f"the loss of a step is a {type(loss).__name__} and no number; give the one that it began with"
        ) from None


def minibatches(count: int, size: int | None, step: int) -> list[np.ndarray]:
    """Rows of up to eight minibatches of a probe batch of ``count`` samples, of an eighth of it where no size is given.

    Raises RequestError for a size that the probe batch does not hold.
    """
    if size is not None and not 1 <= size <= count:
        raise RequestError(f"minibatch = {size} does not fit a probe batch of {count} samples; give from 1 to that many")
    size = size or max(count // 8, 1)
    order = np.random.default_rng(step).permutation(count)
    return [order[k : k + size] for k in range(0, count - size + 1, size)][:8]


def _batch_sharpness(point: Point) -> float:
    """E_B[g_B . H_B g_B / |g_B|^2] over the minibatches, in the optimiser's metric (Andreyev and Beneventano 2024)."""
    found = []
    for part in point.parts:
        gradient, product = part()
        slope = point.setting.rescaled(gradient)
        size = float(slope @ slope)
        if size > 0:
            found.append(float(slope @ np.asarray(point.setting.product(product)(slope), np.float64)) / size)
    return float(np.mean(found)) if found else float("nan")
