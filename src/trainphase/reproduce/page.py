"""A report as one file of HTML: every figure beside its claims, filters by verdict and paper, readable without script.

Figures are embedded, so that the file can be moved and sent. A content security policy allows its one style sheet and one
script, by their digests, and embedded images: nothing is loaded from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING

from trainphase._version import __version__
from trainphase.engine import _files
from trainphase.errors import TrainphaseError
from trainphase.reproduce import tables
from trainphase.reproduce.claims import Result, Verdict

if TYPE_CHECKING:
    from trainphase.reproduce.runner import Picture, Report

NAME = "report.html"

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --soft: #5c5c5c; --line: #d5d5d5; --band: #f4f4f1;
  --agree: #1b6e3c; --differ: #a3261c; --not-testable: #7a5a00; --mark: #1f4e79; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e4; --paper: #16181b; --soft: #a9aba6; --line: #3a3d42;
  --band: #1e2125; --agree: #7fce9c; --differ: #f2958c; --not-testable: #e0bf63; --mark: #8fbce6; } }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
a { color: var(--mark); } p { margin: .3rem 0; } .soft { color: var(--soft); }
section { border-top: 1px solid var(--line); padding: 1.4rem 0; }
img { max-width: 100%; height: auto; background: #ffffff; padding: .5rem; box-sizing: border-box; border-radius: .2rem; }
figure { margin: 0 0 1rem; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .7rem .4rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.number { font-variant-numeric: tabular-nums; } td.statement { min-width: 16rem; }
.agree { color: var(--agree); } .differ { color: var(--differ); } .not-testable { color: var(--not-testable); }
.verdict { font-weight: 600; white-space: nowrap; } .note { color: var(--soft); font-size: .85rem; }
form { position: sticky; top: 0; background: var(--band); padding: .6rem .8rem; margin: 1rem 0; display: flex; flex-wrap: wrap;
  gap: .4rem 1.4rem; border-radius: .2rem; } fieldset { border: 0; margin: 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .2rem .9rem; } legend { float: left; margin-right: .9rem; color: var(--soft); } [hidden] { display: none !important; }
@media print { form { display: none; } section { break-inside: avoid-page; } }
"""

SCRIPT = """
const form = document.querySelector("form"), shown = document.querySelector("output");
const rows = [...document.querySelectorAll("tr[data-verdict]")], items = [...document.querySelectorAll("section[data-paper]")];
const chosen = (name) => new Set([...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value));
function apply() {
  const verdicts = chosen("verdict"), papers = chosen("paper");
  let count = 0;
  for (const row of rows) {
    row.hidden = !verdicts.has(row.dataset.verdict) || !papers.has(row.dataset.paper);
    count += row.hidden ? 0 : 1;
  }
  const every = verdicts.size === form.querySelectorAll("input[name=verdict]").length;
  for (const item of items) {
    const here = [...item.querySelectorAll("tr[data-verdict]")];
    item.hidden = !papers.has(item.dataset.paper) || (here.every((row) => row.hidden) && !(every && here.length === 0));
  }
  shown.textContent = `${count} of ${rows.length} claims`;
}
form.hidden = false;
form.addEventListener("change", apply);
form.addEventListener("submit", (event) => event.preventDefault());
apply();
"""


def write(report: Report) -> None:
    """Write OUT/report.html, whole or not at all; TrainphaseError when the disk refuses."""
    path = report.out / NAME
    try:
        _files.write_file(path, html(report).encode())
    except OSError as why:
        raise TrainphaseError(f"the report {path} cannot be written ({why.strerror or why}); make room") from why


def html(report: Report) -> str:
    """The whole page. A picture whose file has gone is said to be missing."""
    policy = f"default-src 'none'; img-src data:; style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; base-uri 'none'"
    names = dict.fromkeys([f"{r.claim.paper}:{r.item}" for r in report.results])
    names |= dict.fromkeys(f"{p.paper}:{p.figure}" for p in report.pictures)
    size = "quick sizes" if report.quick else "full sizes"
    order = [name for name in report.titles if name in names] + [name for name in names if name not in report.titles]
    body = [
        "<h1>Papers against measurements</h1>",
        f"<p class=soft>Trainphase {escape(__version__)}, {size}, seed {report.seed}, {report.seconds:.0f} s.</p>",
        f"<p>{_counts(report)}</p>", _filters(report), *(_item(report, name) for name in order), _failures(report),
    ]  # fmt: skip
    return "\n".join([
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">', "<title>Papers against measurements</title>",
        f"<style>{STYLE}</style>", "</head>", "<body>", *(part for part in body if part), f"<script>{SCRIPT}</script>",
        "</body>", "</html>", "",
    ])  # fmt: skip


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _counts(report: Report) -> str:
    counts = ", ".join(f'<span class="{v}">{report.count(v)} {v}</span>' for v in Verdict if report.count(v))
    return f"{len(report.results)} claims{': ' if counts else ''}{counts}; {len(report.pictures)} figures."


def _filters(report: Report) -> str:
    """Two groups of boxes. Hidden until the script has run, since they do nothing without it."""
    groups = []
    values = {
        "verdict": [str(v) for v in Verdict if report.count(v)],
        "paper": list(dict.fromkeys(r.claim.paper for r in report.results)),
    }
    for name, found in values.items():
        boxes = "".join(
            f'<label><input type="checkbox" name="{name}" value="{escape(v)}" checked> {escape(v)}</label>' for v in found
        )
        groups.append(f"<fieldset><legend>{name}</legend>{boxes}</fieldset>")
    return f"<form hidden autocomplete=off>{''.join(groups)}<output></output></form>"


def _item(report: Report, name: str) -> str:
    """A section: the title, the figure, and the claims of one item."""
    paper = name.partition(":")[0]
    pictures = [p for p in report.pictures if f"{p.paper}:{p.figure}" == name]
    results = [r for r in report.results if f"{r.claim.paper}:{r.item}" == name]
    title = report.titles.get(name) or next((p.title for p in pictures), "")
    parts = [f"<h2>{escape(name)}{': ' if title else ''}{escape(title)}</h2>", *(_figure(p) for p in pictures)]
    if results:
        header = "".join(f"<th>{word}</th>" for word in ("claim", "statement", "paper", "measured", "tolerance", "verdict"))
        rows = "\n".join(_row(r) for r in results)
        parts.append(f'<div class="wide"><table><thead><tr>{header}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>')
    return f'<section id="{escape(name)}" data-paper="{escape(paper)}">\n' + "\n".join(parts) + "\n</section>"


def _figure(picture: Picture) -> str:
    try:
        image = base64.b64encode(picture.file.read_bytes()).decode()
    except OSError:
        return f'<p class="differ">The figure {escape(picture.file.name)} is missing.</p>'
    return f'<figure><img src="data:image/png;base64,{image}" alt="{escape(picture.title)}"></figure>'


def _row(result: Result) -> str:
    claim, verdict = result.claim, result.comparison.verdict
    notes = [("", result.measured.note), ("Correction: ", claim.correction)]
    notes += [("", "No explanation is recorded.")] if unexplained(result) else []
    below = "".join(f'<div class="note">{word}{escape(text)}</div>' for word, text in notes if text)
    cells = (
        f"<td>{escape(claim.locator)}</td>",
        f'<td class="statement">{escape(claim.statement)}{below}</td>',
        f'<td class="number">{escape(tables.stated(result))}</td>',
        f'<td class="number">{escape(tables.measurement(result))}</td>',
        f'<td>{escape(str(claim.tolerance))}<div class="note">{escape(claim.reason)}</div></td>',
        f'<td class="verdict {verdict}">{escape(tables.verdict(result))}</td>',
    )
    return f'<tr data-verdict="{verdict}" data-paper="{escape(claim.paper)}">{"".join(cells)}</tr>'


def unexplained(result: Result) -> bool:
    """True for a claim that differs from the paper, or from our own value, of which neither note nor correction says why."""
    differs = any(found is not None and found.verdict == Verdict.DIFFER for found in (result.paper, result.expected))
    return differs and not (result.claim.correction or result.measured.note)


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    lines = "".join(f"<li>{escape(failure.sentence)}</li>" for failure in report.failures)
    return f"<section><h2>Failed</h2><ul>{lines}</ul></section>"
