"""Score the reading of recorded runs on labelled ones, and write docs/diagnose-scores.md.

Usage: python scripts/score_labelled_runs.py [--seeds 0,1,2]      about four minutes of one core for the six seeds

The runs are trained here (tests/support/labelled_cases.py says what makes each label true). Seeds 2 and 5 are held out: no
rule or threshold was chosen by looking at them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from labelled_cases import Case, build, views  # noqa: E402

from trainphase import training_log  # noqa: E402
from trainphase.phase import EDGE, TRAINING, Vocabulary  # noqa: E402
from trainphase.training_log import LogReading  # noqa: E402

PAGE = ROOT / "docs" / "diagnose-scores.md"
SEEDS, HELD_OUT = (0, 1, 2, 3, 4, 5), (2, 5)
Scored = list[tuple[Case, LogReading]]

HEAD = """# How often is `diagnose` right? Scores on labelled runs

`python scripts/score_labelled_runs.py` trains the runs, reads each record, and writes this page. No number is typed in.

**The runs.** Real training of small nets in double precision: tanh nets with one and two hidden layers on digits
(scikit-learn), deep linear nets, wide nets on one datum, linear regression, a product of two numbers. Optimisers: gradient
descent, heavy ball, Nesterov, Adam, RMSProp, SGD. The sharpness is a dense eigenvalue at every step or every fifth.

**The labels** come from what a reader of the record does not see: the gradient flow from the same start, the same run
continued to five times its length, the exact tangent map. A run enters only when its label is beyond doubt by these; the
builders in `tests/support/labelled_cases.py` say which condition makes which label true. Where a construction does not
decide a vocabulary, the run is not scored in it.

**The views.** Each run is read as it is, with the sharpness every 25 steps, with both every 10 and every 50 steps, and cut
after 12 steps, where the right answer is `undecided`; as a log printed with four digits; and some with a NaN in them. *Told*
says that the reading was told whether the loss is that of a minibatch; it had to judge that by itself in the other views.

**Held out.** No reading of seeds {held} was looked at while rules and thresholds were chosen. They are runs of the same families,
so they say that the rules were not fitted to single runs, and nothing about other kinds of nets. And since only runs with a
clear label enter, the score is that on clear cases.
"""

NOTES = """
## What the reading cannot know

- A spike shorter than the gap between two records is not seen. If the sharpness fell from beyond the edge to below it in the
  gap, the reading is `undecided` and says that a catapult may have passed.
- A cycle of two steps recorded at even steps stands still. Record the loss at every step, or at an odd stride.
- Minibatch noise and full-batch chaos look alike in the loss alone. Say `minibatch=False` where you know it.
- Within a tenth of the edge a flow that comes to rest without having met it has the label `edge-of-stability` all the same:
  that is the vocabulary's definition. `distance.met` tells the two apart.
- Nets are small and records at most {steps} steps long. Labels of large nets are not scored, since they cannot be known.
"""


def score(cases: Iterable[Case]) -> Scored:
    """Every view of every case with its reading."""
    return [(view, training_log.read(**view.record)) for case in cases for view in views(case)]


def confusion(scored: Scored, vocabulary: Vocabulary) -> str:
    """The confusion matrix as a table: rows are truths, columns readings."""
    pairs = Counter(
        (truth, getattr(reading, vocabulary.name).phase)
        for case, reading in scored
        if (truth := getattr(case, vocabulary.name)) is not None
    )
    rows = [t for t in vocabulary.labels if any(a == t for a, _ in pairs)]
    lines = ["| truth | " + " | ".join(vocabulary.labels) + " |", "|---" * (len(vocabulary.labels) + 1) + "|"]
    for truth in rows:
        cells = [f"**{pairs[truth, c]}**" if c == truth else str(pairs[truth, c] or "") for c in vocabulary.labels]
        lines.append(f"| {truth} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdicts(scored: Scored, name: str) -> tuple[int, int, int]:
    """How many readings are right, withheld (``undecided``, or a catapult that may have passed unseen) and wrong."""
    right = withheld = wrong = 0
    for case, reading in scored:
        truth = getattr(case, name)
        if truth is None:
            continue
        said = bool(reading.catapults) if name == "catapult" else getattr(reading, name).phase
        unseen = name == "catapult" and any(not s.seen for s in reading.spikes)
        if said == truth:
            right += 1
        elif said == "undecided" or unseen:
            withheld += 1
        else:
            wrong += 1
    return right, withheld, wrong


def totals(scored: Scored) -> str:
    """Right, withheld, wrong by question, for the seeds used and those held out."""
    lines = ["| seeds | question | right | withheld | wrong |", "|---|---|---|---|---|"]
    for title, held in (("used for tuning", False), ("held out", True)):
        part = [s for s in scored if (s[0].seed in HELD_OUT) is held]
        for name in ("edge", "training", "catapult"):
            lines.append(f"| {title} | {name} | " + " | ".join(map(str, verdicts(part, name))) + " |")
    return "\n".join(lines)


def by(scored: Scored, key: str) -> str:
    """Right / withheld / wrong of the three questions, by family or by view."""
    lines = [f"| {key} | runs | edge | training | catapult |", "|---|---|---|---|---|"]
    for value in dict.fromkeys(getattr(case, key) for case, _ in scored):
        part = [s for s in scored if getattr(s[0], key) == value]
        cells = [" / ".join(map(str, verdicts(part, name))) for name in ("edge", "training", "catapult")]
        lines.append(f"| {value} | {len({(c.family, c.seed) for c, _ in part})} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plain_rule(case: Case) -> tuple[str, bool]:
    """What a common rule of thumb says: the edge is within 20 %, a catapult is a 10 % rise of the loss averaged over 20."""
    loss = np.asarray(case.record["loss"])
    if not np.all(np.isfinite(loss)):
        return "divergent", False
    ratio = np.asarray(case.record["sharpness"]) / case.record["threshold"]
    late = float(np.mean(ratio[-max(ratio.size // 4, 1) :]))
    width = min(20, loss.size)
    smooth = np.convolve(loss, np.ones(width) / width, "valid")
    rose = bool(np.any(smooth > 1.1 * np.minimum.accumulate(smooth)))
    edge = (
        "edge-of-stability"
        if abs(late - 1) < 0.2
        else "bounded"
        if late > 1
        else "sharpening"
        if late > 1.05 * ratio[0]
        else "flat"
    )
    return edge, rose


def plain_scores(scored: Scored) -> str:
    """The sentence on the rule of thumb, for comparison."""
    edges = [plain_rule(c)[0] == c.edge for c, _ in scored if c.edge not in (None, "undecided")]
    spikes = [plain_rule(c)[1] == c.catapult for c, _ in scored if c.catapult is not None]
    return (
        "For comparison, a rule of thumb (at the edge within 20 % of it over the last quarter; a catapult where the loss,\n"
        f"averaged over 20 records, rises by a tenth) is wrong on {edges.count(False)} of {len(edges)} records "
        f"for the edge\n(records too short to say left out) and on {spikes.count(False)} of {len(spikes)} for catapults."
    )


def page(scored: Scored, seconds: float) -> str:
    """The whole page."""
    held = [s for s in scored if s[0].seed in HELD_OUT]
    runs = len({(c.family, c.seed) for c, _ in scored})
    parts = [
        HEAD.format(held=" and ".join(map(str, HELD_OUT))),
        f"## Score\n\n{runs} runs, {len(scored)} records, {seconds / 60:.0f} minutes of one core. *Withheld* is `undecided` "
        f"where the truth is known, or for\ncatapults the warning that one may have passed unseen.\n\n{totals(scored)}\n",
        plain_scores(scored) + "\n",
        "## Confusion matrices\n\nRows are truths, columns what the reading says.\n",
        f"### edge, all seeds\n\n{confusion(scored, EDGE)}\n",
        f"### edge, held-out seeds\n\n{confusion(held, EDGE)}\n",
        f"### training, all seeds\n\n{confusion(scored, TRAINING)}\n",
        f"### training, held-out seeds\n\n{confusion(held, TRAINING)}\n",
        f"## By family\n\nRight / withheld / wrong.\n\n{by(scored, 'family')}\n",
        f"## By view\n\n{by(scored, 'view')}\n",
    ]
    return "\n".join(parts) + NOTES.format(steps=1200)


def main() -> None:
    """Train, read, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="seeds, separated by commas")
    seeds = [int(s) for s in parser.parse_args().seeds.split(",")]
    start = time.process_time()
    scored: Scored = []
    for seed in seeds:
        scored += score(build(seed))
        print(f"seed {seed}: {len(scored)} records, {time.process_time() - start:.0f} s", flush=True)
    for case, reading in scored:
        for name in ("edge", "training"):
            truth, said = getattr(case, name), getattr(reading, name)
            if truth not in (None, said.phase) and said.phase != "undecided":
                print(f"wrong: {case.family}, seed {case.seed}, {case.view}: {truth}, said {said.phase}: {said.rule}")
    PAGE.write_text(page(scored, time.process_time() - start), encoding="utf-8")


if __name__ == "__main__":
    main()
