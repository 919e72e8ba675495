"""A program in another interpreter, on the same CPU, that answers one request at a time: lines of JSON both ways."""

from __future__ import annotations

import atexit
import json
import subprocess
from pathlib import Path
from typing import Any


class Interpreter:
    """``script``, beside this file, run by ``python``; ``about`` is what it says of itself when it begins."""

    def __init__(self, python: str, script: str) -> None:
        self.script = script
        command = [python, str(Path(__file__).resolve().parent / script)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        # Its CPU seconds are counted with this process's only when it has been waited for.
        atexit.register(self.close)
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.script} in its own interpreter ended with {self.process.wait()}: see its message above")
        return json.loads(line)

    def close(self) -> None:
        """End the program: its input ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def ask(self, **job: Any) -> dict[str, Any]:
        """The answer to one request."""
        assert self.process.stdin is not None
        print(json.dumps(job), file=self.process.stdin, flush=True)
        return self._answer()
