"""One HTML text of the page: its style, its scripts and the document inside, with a policy that allows nothing else.

``page/index.html`` has one ``<link rel="stylesheet" href="style.css">`` and one ``<script type="module"
src="js/main.js"></script>``; they are replaced by what they name. The modules that ``js/main.js`` imports are put behind
one another, each after those that it imports, so all share one scope: a name that two modules declare is an error. Imports
are named, exports stand at the declaration, and comments take lines of their own. A worker of the page runs the same text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from posixpath import dirname, join, normpath
from typing import Any

from trainphase.errors import TrainphaseError

PAGE = "js/main.js"
STYLE = '<link rel="stylesheet" href="style.css">'
SCRIPT = '<script type="module" src="js/main.js"></script>'
ICON = '<link rel="icon" href="data:,">'

_IMPORT = re.compile(r'^import\s*\{([^}]*)\}\s*from\s*"([^"]+)";[ \t]*$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class)\b)", re.MULTILINE)
_DECLARED = re.compile(r"^(export )?(?:(?:async )?function\*?|const|let|var|class) +([\w$]+)", re.MULTILINE)
# What must be gone once the imports and exports that are understood have been taken out.
_REST = re.compile(r"^(?:import|export|(?:const|let|var) *[{\[])|\bimport *\(|\bimport\.meta\b", re.MULTILINE)
_BLOCK = re.compile(r"^[ \t]*/\*.*?\*/[ \t]*\n?", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"/\*.*?\*/", re.DOTALL)
_LINE = re.compile(r"^[ \t]*//.*\n?", re.MULTILINE)
_TICK = re.compile(r"(?<!\\)`")
_BLANK = re.compile(r"^[ \t]*\n", re.MULTILINE)


class BundleError(TrainphaseError):
    """The files of the page do not fit together."""


@dataclass(frozen=True)
class Page:
    """The HTML text, and its content security policy, which is in the text too."""

    html: str
    policy: str


def files() -> Traversable:
    """The folder with the files of the page, wherever the package is installed."""
    return resources.files("trainphase.explorer") / "page"


def page(document: Mapping[str, Any], root: Traversable | None = None) -> Page:
    """The whole page with the document in it.

    The page may talk to the server that it came from when ``document["server"]`` is not None, and to nobody otherwise.
    Raises BundleError for files that do not fit together.
    """
    root = files() if root is None else root
    shell = _read(root, "index.html")
    style, main = flush(strip(_read(root, "style.css"))), flush(script(root, PAGE))
    rules = policy(main, style, bool(document.get("server")))
    for mark in (STYLE, SCRIPT):
        if shell.count(mark) != 1:
            raise BundleError(f"index.html has {shell.count(mark)} times the line {mark!r}; put it there once")
    head = f'<meta http-equiv="Content-Security-Policy" content="{html.escape(rules)}">\n{ICON}\n'
    scripts = [
        f'<script type="application/json" id="trainphase-document">{embedded(document)}</script>',
        f'<script type="module">{main}</script>',
    ]
    title = html.escape(str(document["title"]))
    # By functions, since a replacement text would have its backslashes read.
    shell = re.sub(r"<title>.*?</title>", lambda _: f"<title>{title}</title>", shell, count=1, flags=re.DOTALL)
    shell = re.sub(r"(?=<title>)", lambda _: head, shell, count=1)
    shell = shell.replace(STYLE, f"<style>{style}</style>").replace(SCRIPT, "\n".join(scripts))
    return Page(shell, rules)


def policy(main: str, style: str, server: bool) -> str:
    """The content security policy: this script, this style, workers and pictures that they make, and nothing else."""
    return "; ".join([
        "default-src 'none'", f"script-src '{_hash(main)}'", f"style-src '{_hash(style)}'", "worker-src blob:",
        "img-src data: blob:", f"connect-src {SELF if server else NONE}", "base-uri 'none'", "form-action 'none'",
    ])  # fmt: skip


SELF, NONE = "'self'", "'none'"


def embedded(document: Mapping[str, Any]) -> str:
    """The document as JSON that cannot end the element it stands in."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script(root: Traversable, entry: str) -> str:
    """The module ``entry`` and all that it imports, as one script without imports and exports.

    Raises BundleError for a module or a name that is not there, a name declared twice, and forms that are not understood.
    """
    modules: dict[str, _Module] = {}
    _collect(root, entry, modules, ())
    owner: dict[str, str] = {}
    for path, module in modules.items():
        for name in module.names:
            if name in owner:
                raise BundleError(f"{name} is declared in {owner[name]} and in {path}; rename one of them")
            owner[name] = path
    text = '"use strict";\n' + "".join(module.code for module in modules.values())
    # Either would end the element, or begin a comment, in the middle of the script.
    for mark in ("</script", "<!--"):
        if mark in text.lower():
            raise BundleError(f"{entry} or a module that it imports contains {mark!r}; write it in two pieces")
    return text


def strip(text: str) -> str:
    """The text without comments that begin a line, and without empty lines."""
    return _BLANK.sub("", _LINE.sub("", _BLOCK.sub("", text)))


def flush(text: str) -> str:
    """The text without the spaces that begin a line, where they are no part of a text between backticks."""
    lines, ticks = [], 0
    for line in text.splitlines(keepends=True):
        lines.append(line if ticks % 2 else line.lstrip(" "))
        ticks += len(_TICK.findall(line))
    return "".join(lines)


@dataclass(frozen=True)
class _Module:
    """A module without its imports: its code, the names it declares and those of them that it exports."""

    code: str
    names: tuple[str, ...]
    exports: frozenset[str]


def _collect(root: Traversable, path: str, found: dict[str, _Module], above: tuple[str, ...]) -> _Module:
    """Put the module into ``found``, after the modules that it imports."""
    if path in above:
        raise BundleError(f"{path} imports itself by way of {', '.join(above[above.index(path) + 1 :])}; break the circle")
    if path in found:
        return found[path]
    text = strip(_read(root, path))
    for names, source in _IMPORT.findall(text):
        if not source.startswith("."):
            raise BundleError(f"{path} imports {source!r}, which is no file of the page; give a path such as './state.js'")
        other = _collect(root, normpath(join(dirname(path), source)), found, (*above, path))
        for name in (n.strip() for n in names.split(",")):
            if name and name not in other.exports:
                raise BundleError(f"{path} imports {name!r} from {source}, which does not export it; correct the import")
    code = _IMPORT.sub("", text)
    declared = _DECLARED.findall(code)
    code = _EXPORT.sub("", code)
    plain = _INLINE.sub("", code)
    odd = _REST.search(plain)
    if odd:
        line = plain[plain.rfind("\n", 0, odd.start()) + 1 :].partition("\n")[0]
        raise BundleError(f"{path} has the line {line!r}; use named imports, and exports at a declaration of one name")
    code = _BLANK.sub("", code.rstrip() + "\n")
    found[path] = _Module(code, tuple(n for _, n in declared), frozenset(n for exported, n in declared if exported))
    return found[path]


def _read(root: Traversable, path: str) -> str:
    place = root
    for part in path.split("/"):
        if part == "..":
            raise BundleError(f"{path} is outside of the page's folder; give a path inside")
        place = place / part
    try:
        return place.read_text(encoding="utf-8").replace("\r\n", "\n")
    except OSError as why:
        raise BundleError(f"the file {path} of the page cannot be read ({why.strerror or why}); put it there") from why


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
