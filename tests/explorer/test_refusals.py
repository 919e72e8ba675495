"""What the server refuses, the page says in the server's own words."""

from __future__ import annotations

from pathlib import Path

import page
import pytest

pytestmark = pytest.mark.skipif(page.node_program() is None, reason="node is not installed")

PAGE = {"StoredLabels": "stored.js", "runOnServer": "points.js"}
# Each answer of the server in turn, and the time that the page lets pass between two of them.
STUB = """
  const answers = [...given.answers], told = [];
  globalThis.setTimeout = (next) => queueMicrotask(next);
  globalThis.fetch = async () => {
    const [status, text] = answers.shift();
    return new Response(text, { status });
  };
  const axes = [{ name: "z", lo: 0, hi: 1, n: 3, scale: "linear" }];
  const diagram = { id: "d", axes, labels: { remote: true } };
  const labels = new StoredLabels(diagram, () => told.push("arrived"), (why) => told.push(why));
"""
LATER = '{"error": "another run is under way; wait for it to end, or cancel it"}'
WORDS = "another run is under way; wait for it to end, or cancel it"


@pytest.mark.parametrize(
    ("answer", "words"),
    [([429, LATER], WORDS), ([500, '{"error": "the server could not answer"}'], "the server could not answer"),
     ([502, "<html>"], "the server answered 502"), ([404, "{}"], "the server answered 404")],
)  # fmt: skip
def test_every_refusal_is_told_in_the_words_of_the_server(tmp_path: Path, answer: list[object], words: str) -> None:
    body = (
        STUB
        + """
      const run = () => runOnServer({}, () => {}, new AbortController().signal, () => {});
      return (async () => {
        await labels.load();
        await labels.fetchTile("0 0 0", 0, 0, 0);
        for (const ask of [() => labels.everything(0, 0, true), given.run ? run : null])
          if (ask) await ask().catch((error) => told.push(error.message));
        return told;
      })();"""
    )
    asked = 4 if answer[0] != 429 else 3  # a run is asked for again
    got = page.in_node(tmp_path, PAGE, body, {"answers": [answer] * asked, "run": asked == 4})
    assert len(got) == asked and all(words in sentence for sentence in got), got
    assert not any("429" in sentence for sentence in got)


def test_a_run_that_has_to_wait_says_why_once(tmp_path: Path) -> None:
    body = (
        STUB
        + """
      const path = runOnServer({}, () => {}, new AbortController().signal, (why) => told.push(why));
      return path.then((run) => [told, [...run.loss]]);"""
    )
    result = '{"result": {"times": [0], "loss": [0.5], "curvature": [1.0]}}'
    told, loss = page.in_node(tmp_path, PAGE, body, {"answers": [[429, LATER]] * 3 + [[200, result]]})
    assert told == [WORDS] and loss == [0.5]
