"""The command explore: what it writes, where it listens, how it ends, and what it says when it cannot."""

from __future__ import annotations

import html
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explorer_page import folder

from trainphase import explorer
from trainphase.axes import Axis
from trainphase.cli.main import main
from trainphase.engine.store import Field, Store
from trainphase.explorer import bundle, entry

# The command as a user starts it, but with the small page of the tests.
CHILD = """
import sys
from pathlib import Path
from trainphase.explorer import bundle
page = Path(sys.argv[1])
bundle.files = lambda: page
from trainphase.cli.main import main
sys.argv[1:] = sys.argv[2:]
sys.exit(main())
"""


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    at = folder(tmp_path / "page")
    monkeypatch.setattr(bundle, "files", lambda: at)
    return at


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store of noise, so large a plane that its numbers do not fit into a file of a few kB."""
    codes = np.random.default_rng(0).integers(0, 5, (64, 48)).astype(np.uint8)
    fields = [Field(n, "uint8", 255, "1", n) for n in ("phase", "phase_half")] + [Field("loss", "float64", np.nan, "1", "loss")]
    recipe = {"system": "mine.py:Mine", "params": {}, "steps": 400, "starts": 1, "dtype": "float64", "vocabulary": "edge"}
    grid = [Axis("a", 0.0, 1.0, 64), Axis("b", 0.0, 1.0, 48)]
    with Store.create_or_resume(tmp_path / "store", grid, fields, recipe, {}, (64, 48)) as made:
        made.write((0, 0), {"phase": codes, "phase_half": codes, "loss": np.random.default_rng(1).random(codes.shape)})
    return str(tmp_path / "store")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a command."""
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.usefixtures("page")
def test_a_file_of_the_live_systems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = str(tmp_path / "live.html")
    code, out, err = asked(capsys, "explore", "--export", place, "--title", "Mine & <yours>")
    assert (code, out, err) == (0, "", f"trainphase: wrote {place}\n")
    text = Path(place).read_text()
    assert "<title>Mine &amp; &lt;yours&gt;</title>" in text and '"server":null' in text
    assert "connect-src 'none'" in html.unescape(text)


@pytest.mark.usefixtures("page")
def test_a_file_of_a_store_says_what_it_left_out(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry, "MOST_BYTES", 6000)
    monkeypatch.setattr(entry.Budget, "__init__", lambda self, left=6000: setattr(self, "left", left))
    place = str(tmp_path / "store.html")
    code, out, _ = asked(capsys, "explore", store, "--export", place, "--json")
    told = json.loads(out)
    assert code == 0 and told["diagrams"] == 1 and "phases are complete" in told["notes"][0]
    code, out, err = asked(capsys, "explore", store, "--export", place)
    assert (code, out) == (0, "") and f"trainphase: store: {told['notes'][0]}" in err


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "there is no store at nowhere"),
        (("--export", "page.png"), "has no known ending; give a name in .html or .htm"),
        (("--export", "none/page.html"), "there is no folder none"),
        (("--port", "70000"), "--port 70000 is not possible"),
        (("--port", "x"), "--port x is not possible"),
        (("--host", ""), "--host '' is no name"),
        (("--host", "no.such.host.invalid"), "cannot be listened at"),
        (("--brow",), "there is no option --brow"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = asked(capsys, "explore", "--no-browser", *words)
    assert (code, out) == (2, "") and err.count("\n") == 1 and said in err


@pytest.mark.usefixtures("page")
def test_without_the_extra_the_remedy_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] in ("uvicorn", "starlette")] + ["trainphase.explorer.server"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr(explorer, "server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, err = asked(capsys, "explore", "--no-browser")
    assert code == 2 and "needs uvicorn, which is not installed; give pip install 'trainphase[explore]'" in err


def test_diagram_writes_the_page(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "d.html"
    words = [
        "diagram",
        "linear-net",
        "z=-0.5:0.5:5",
        "T=2:5:4",
        "--vocabulary",
        "edge",
        "--steps",
        "400",
        "--json",
        "--quiet",
        "--html",
    ]
    code, out, err = asked(capsys, *words, str(place))
    assert code == 0 and f"wrote {place}" in err
    found = place.read_text().partition('id="trainphase-document">')[2].partition("</script>")[0]
    told: dict[str, Any] = json.loads(found)
    assert told["diagrams"][0]["axes"][0]["name"] == "z" and list(told["systems"]) == ["linear-net"]
    assert json.loads(out)["phases"]
    code, _, err = asked(capsys, *words, "d.txt")
    assert code == 2 and "--html d.txt has no known ending" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(number: signal.Signals, page: Path) -> None:
    pytest.importorskip("starlette", reason="the extra explore is not installed")
    command = [sys.executable, "-c", CHILD, str(page), "explore", "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stderr is not None
            address = json.loads(child.stdout.readline())["address"]
            assert f"the explorer is at {address} ; Ctrl-C ends it" in child.stderr.readline()
            # Of this machine alone, with a token that nobody guesses.
            assert address.startswith("http://127.0.0.1:") and len(address.split("/")[3]) >= 32
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert b"trainphase-document" in answer.read()
            child.send_signal(number)
            out, err = child.communicate(timeout=20)
            assert (child.returncode, out, err) == (0, "", "")
        finally:
            child.kill()
