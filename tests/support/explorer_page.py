"""A small page for tests of what is done with pages: a style, and modules that import one another."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "index.html": (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>-</title>\n'
        '<link rel="stylesheet" href="style.css"></head>\n'
        '<body><main></main>\n<script type="module" src="js/main.js"></script></body></html>\n'
    ),
    "style.css": "/* what\n   it is */\nmain { color: red }\n",
    "js/main.js": (
        '/** Starts. */\nimport {\n  twice,\n  LIMIT,\n} from "./kernel/numbers.js";\nimport { sum } from "./kernel/sums.js";\n\n'
        '// A comment.\nconst TEXT = "http://x"; // stays\n/** @type {import("./a.js").A} */ (TEXT);\nsum(twice(LIMIT), 1);\n'
    ),
    "js/kernel/sums.js": (
        'import { twice } from "./numbers.js";\n\n/**\n * Adds.\n */\nexport function sum(a, b) {\n  return twice(a) + b;\n}\n'
    ),
    "js/kernel/numbers.js": "export const LIMIT = 3;\nexport function twice(x) {\n  // two\n  return 2 * x;\n}\n",
}


def folder(at: Path, **changed: str) -> Path:
    """The files above in a folder, some of them changed (the slashes and dots of a name as __ and _)."""
    files = FILES | {name.replace("__", "/").replace("_", "."): text for name, text in changed.items()}
    for name, text in files.items():
        (at / name).parent.mkdir(parents=True, exist_ok=True)
        (at / name).write_text(text, encoding="utf-8")
    return at
