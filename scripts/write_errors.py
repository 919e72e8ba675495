"""The page of every sentence with which a request ends, from the code that says them.

Usage: python scripts/write_errors.py           writes docs/errors.md
       python scripts/write_errors.py --check   exit code 1 when the page is not what the code says

Only the syntax trees are read. What the code fills in stands in angle brackets: <system>, <len(points)>.
"""

from __future__ import annotations

import argparse
import ast
import functools
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SRC, PAGE = ROOT / "src" / "trainphase", ROOT / "docs" / "errors.md"
BASE = "TrainphaseError"
LONGEST = 40  # characters of a placeholder; a longer expression is "..."
HEAD = """# Every error and its exit code

<!-- Written by scripts/write_errors.py from the code; `python scripts/write_errors.py` after a change. -->

A failure is one sentence on standard error: what is wrong, the value that is, and what to do. What stands in angle brackets
is filled in, `...` is a longer text put together on the spot. From Python the same sentence is the message of the exception.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted. An exit code 1 with "unexpected error" is a
fault of ours; please report it with the output of `--debug`.

"""


@dataclass(frozen=True)
class Maker:
    """A function that makes the error for its callers: ``return RequestError(f"{token} is not possible: {why}")``."""

    error: str
    params: tuple[str, ...]
    sentence: ast.expr


@dataclass(frozen=True, order=True)
class Sentence:
    """One sentence of the catalogue."""

    module: str
    error: str
    text: str


@functools.cache
def modules(src: Path = SRC) -> dict[str, ast.Module]:
    """Syntax tree of every module, by its name without the package."""
    files = sorted(src.rglob("*.py"))
    return {".".join(p.relative_to(src).with_suffix("").parts): ast.parse(p.read_text(encoding="utf-8")) for p in files}


def exit_codes(trees: Mapping[str, ast.Module]) -> dict[str, tuple[int, str]]:
    """Exit code and first line of the docstring of every error of the package, inherited codes followed."""
    classes = {n.name: n for tree in trees.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}

    def code(name: str) -> int | None:
        node = classes.get(name)
        if node is None:
            return None
        for line in node.body:
            if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "exit_code":
                return ast.literal_eval(line.value)
        found = [code(base.id) for base in node.bases if isinstance(base, ast.Name)]
        return next((c for c in found if c is not None), None)

    known = {name: code(name) for name in classes}
    return {n: (c, (ast.get_docstring(classes[n]) or "").partition("\n")[0]) for n, c in known.items() if c is not None}


def makers(tree: ast.Module, errors: Mapping[str, object]) -> dict[str, Maker]:
    """The functions of a module that return an error of the package with a sentence in it."""
    found = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef) or not isinstance(node.returns, ast.Name) or node.returns.id not in errors:
            continue
        last = node.body[-1]
        if isinstance(last, ast.Return) and isinstance(last.value, ast.Call) and last.value.args:
            params = tuple(a.arg for a in node.args.args if a.arg != "self")
            found[node.name] = Maker(node.returns.id, params, last.value.args[0])
    return found


def spelled(node: ast.expr, given: Mapping[str, ast.expr] | None = None) -> str:
    """The text of an expression, with what is known only at run time in angle brackets."""
    given = given or {}
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(spelled(piece, given) for piece in node.values)
    if isinstance(node, ast.FormattedValue):
        return spelled(node.value, given)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return spelled(node.left, given) + spelled(node.right, given)
    if isinstance(node, ast.IfExp):
        either = [spelled(node.body, given), spelled(node.orelse, given)]
        if all("<" not in text for text in either):
            return "<" + " | ".join(text.strip() or "nothing" for text in either) + ">"
    if isinstance(node, ast.Name) and node.id in given:
        return spelled(given[node.id])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("shown", "str", "repr") and node.args:
        return spelled(node.args[0], given)
    text = ast.unparse(node)
    return f"<{text}>" if len(text) <= LONGEST and '"' not in text and "'" not in text else "<...>"


def sentences(trees: Mapping[str, ast.Module], errors: Mapping[str, object]) -> Iterator[Sentence]:
    """Every sentence that is made in the code, except those that a maker makes of its arguments: these once per call."""
    shared = {name: maker for tree in trees.values() for name, maker in makers(tree, errors).items()}
    counts: dict[str, int] = {}
    for tree in trees.values():
        for name in makers(tree, errors):
            counts[name] = counts.get(name, 0) + 1
    for module, tree in trees.items():
        own = makers(tree, errors)
        inside = {id(m.sentence) for m in own.values()}
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name | ast.Attribute):
                continue
            name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr
            if name in errors and call.args and id(call.args[0]) not in inside:
                yield Sentence(module, name, _tidy(spelled(call.args[0])))
                continue
            maker = own.get(name) or (shared.get(name) if counts.get(name) == 1 else None)
            if maker is not None:
                values = dict(zip(maker.params, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
                yield Sentence(module, maker.error, _tidy(spelled(maker.sentence, values)))


def _tidy(text: str) -> str:
    return " ".join(text.split()).replace("><", "> <").replace("|", r"\|")


def page(src: Path = SRC) -> str:
    """The whole page."""
    trees = modules(src)
    errors = exit_codes(trees)
    found = sorted(set(sentences(trees, errors)))
    lines = [HEAD + "| error | exit code | what it says | sentences |", "|---|---|---|---|"]
    for name, (code, about) in sorted(errors.items(), key=lambda item: (item[1][0], item[0])):
        lines.append(f"| `{name}` | {code} | {about} | {sum(s.error == name for s in found)} |")
    for module in dict.fromkeys(s.module for s in found):
        lines += ["", f"## {module}", "", "| exit code | error | sentence |", "|---|---|---|"]
        rows = [s for s in found if s.module == module]
        lines += [f"| {errors[s.error][0]} | `{s.error}` | `` {s.text} `` |" for s in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with --check compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare only")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/errors.md is not what the code says; run: python scripts/write_errors.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
