"""The server answers its own page, and nobody else: hostile requests get nothing, and it is there after them."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from explorer_page import folder
from hostile import Hostile

pytest.importorskip("starlette", reason="the extra explore is not installed")

from trainphase.axes import Axis
from trainphase.engine.store import Field, Store
from trainphase.errors import RequestError
from trainphase.explorer import bundle, document, entry, runs, server, stored
from trainphase.phase import EDGE, Reading
from trainphase.trajectory import Trajectory

TOKEN = "a-token-of-tests_0123456789"
CANARY = "canary-5f1e0d9c-of-another-file"
CODES = np.arange(35, dtype=np.uint8).reshape(7, 5) % 6


class Scripted:
    """A worker that says what it is told to; ``stopped`` counts how often it was killed."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.jobs: list[Any] = []
        self.stopped = 0

    def start(self, job: Any) -> None:
        self.jobs.append(job)

    def poll(self) -> Any:
        return self.script.pop(0) if self.script else None

    def stop(self) -> None:
        self.stopped += 1


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Scripted, server.App]]:
    """A server on a free port, a store behind it and a canary beside that."""
    at = tmp_path_factory.mktemp("served")
    for name in ("canary.txt", "canary.csv", "store/canary.txt"):
        (at / name).parent.mkdir(exist_ok=True)
        (at / name).write_text(CANARY)
    (at / "store" / "canary.txt").rename(at / "canary")
    axes = [Axis("z", -1.0, 1.0, 7), Axis("T", 0.0, 4.0, 5)]
    recipe = {"system": "linear-net", "params": {"y": 0.1, "made": CANARY}, "steps": 400, "starts": 1, "dtype": "float64",
              "vocabulary": "edge"}  # fmt: skip
    fields = [Field(n, "uint8", 255, "1", n) for n in ("phase", "phase_half")] + [Field("loss", "float64", np.nan, "1", "loss")]
    with Store.create_or_resume(at / "store", axes, fields, recipe, {"command": CANARY}, (7, 5)) as store:
        store.write((0, 0), {"phase": CODES, "phase_half": CODES, "loss": CODES * 0.5})
    shown = stored.of_store(str(at / "store"))
    shown.params.pop("made")
    page = folder(at / "page")
    worker, sock = Scripted(), server.listen()
    port = sock.getsockname()[1]
    made = document.document(("linear-net",), entry.entries([shown], remote=True), server=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "files", lambda: page)
        app = server.App(made, {"0": shown}, TOKEN, server.known_as("127.0.0.1", port), worker, limit=1.0)  # pyright: ignore[reportArgumentType]
    running = server.uvicorn_of(app)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield port, worker, app
    running.should_exit = True
    thread.join(10)
    sock.close()
    assert not thread.is_alive()


def ask(port: int, target: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    """A request as the page makes it."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    data = json.dumps(body) if body is not None else None
    kind = {"Content-Type": "application/json"} if body is not None else {}
    link.request(method, f"/{TOKEN}/{target}", data, kind | {k.replace("_", "-"): v for k, v in headers.items()})
    answer = link.getresponse()
    text = answer.read()
    link.close()
    return answer, text


def raw(port: int, data: bytes) -> bytes:
    """What comes back for bytes on a socket; where nothing does for a while, the sending side is closed."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link, contextlib.suppress(OSError):  # it may close first
        link.sendall(data)
        # Seconds: a server that waits for the rest of a request is not waited for.
        if not select.select([link], [], [], 0.1)[0]:
            link.shutdown(socket.SHUT_WR)
        while part := link.recv(65536):
            got += part
            if not select.select([link], [], [], 0.1)[0]:
                link.shutdown(socket.SHUT_WR)
    return got


def test_the_page_and_its_headers(served: Any) -> None:
    port, _, app = served
    answer, text = ask(port, "")
    assert answer.status == 200 and text == app.page and CANARY.encode() not in text
    policy = answer.getheader("Content-Security-Policy")
    assert policy is not None and "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    for name, value in server.HEADERS.items():
        assert answer.getheader(name) == value
    assert answer.getheader("Server") is None and answer.getheader("Access-Control-Allow-Origin") is None
    packed, data = ask(port, "", Accept_Encoding="br, gzip;q=0.5")
    assert packed.getheader("Content-Encoding") == "gzip" and gzip.decompress(data) == app.page
    assert ask(port, "", "HEAD")[1] == b""
    assert ask(port, "", Origin=f"http://127.0.0.1:{port}", Sec_Fetch_Site="same-origin")[0].status == 200
    assert ask(port, "", Host=f"localhost:{port}")[0].status == 200


def test_labels_tiles_and_points(served: Any) -> None:
    port, _, _ = served
    answer, data = ask(port, "api/diagram/0/labels?level=0")
    assert (answer.status, answer.getheader("X-Shape"), data) == (200, "7,5", CODES.tobytes())
    answer, data = ask(port, "api/diagram/0/labels?level=2", Accept_Encoding="gzip")
    assert gzip.decompress(data) == CODES[np.ix_([0, 4, 6], [0, 4])].tobytes() and answer.getheader("X-Shape") == "3,2"
    assert ask(port, "api/diagram/0/tile?level=1&i=0&j=0")[1] == CODES[::2, ::2].tobytes()
    point = json.loads(ask(port, "api/diagram/0/point?i=3&j=2")[1])
    assert point["code"] == CODES[3, 2] and point["fields"] == {"loss": 0.5 * CODES[3, 2]} and point["at"] == {"z": 0.0, "T": 2.0}
    for target in ("labels?level=9", "tile?level=0&i=1&j=0", "point?i=7&j=0"):
        answer, data = ask(port, f"api/diagram/0/{target}")
        assert answer.status == 404 and "no such place" in json.loads(data)["error"]


def test_a_run_is_streamed(served: Any) -> None:
    port, worker, _ = served
    killed = worker.stopped
    worker.script[:] = [{"progress": 0.25}, None, {"result": {"times": [0, 1], "loss": [1.0, 0.5]}}]
    answer, data = ask(port, "api/run", "POST", {"diagram": "0", "params": {"z": 0.5, "T": 3, "y": 0.1}})
    lines = [json.loads(line) for line in data.splitlines()]
    assert answer.status == 200 and answer.getheader("Content-Type") == "application/x-ndjson"
    assert lines[0]["progress"] == 0.25 and lines[-1] == {"result": {"times": [0, 1], "loss": [1.0, 0.5]}}
    assert worker.jobs[-1] == {"system": "linear-net", "params": {"y": 0.1, "z": 0.5, "T": 3}, "steps": 400, "vocabulary": "edge",
                               "starts": 1, "dtype": "float64"}  # fmt: skip
    assert worker.stopped == killed


def test_a_run_that_takes_too_long_is_killed(served: Any) -> None:
    port, worker, _ = served
    killed = worker.stopped
    worker.script.clear()
    lines = [json.loads(line) for line in ask(port, "api/run", "POST", {"system": "cubic"})[1].splitlines()]
    assert lines[0] == {"progress": 0.0, "seconds": lines[0]["seconds"]} and lines[-1]["error"].startswith(
        "the run was ended after 1 s"
    )
    assert worker.stopped == killed + 1


def test_one_run_at_a_time_and_it_ends_with_whoever_asked(served: Any) -> None:
    port, worker, app = served
    killed, worker.script[:] = worker.stopped, []
    first = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    first.request("POST", f"/{TOKEN}/api/run", '{"system":"cubic"}', {"Content-Type": "application/json"})
    first.getresponse().fp.readline()
    answer, data = ask(port, "api/run", "POST", {"system": "cubic"})
    assert answer.status == 429 and "wait for it to end" in json.loads(data)["error"]
    begun = time.monotonic()
    assert first.sock is not None
    first.sock.close()
    first.close()
    while app.busy:
        # Sooner than the limit of a run, which would end it too.
        assert time.monotonic() - begun < 0.9
        time.sleep(0.01)
    assert worker.stopped == killed + 1


def test_a_thousand_hostile_requests_get_nothing(served: Any) -> None:
    port, worker, app = served
    asked = len(worker.jobs)
    refused = 0
    for kind, data in Hostile(port, TOKEN).requests(1000):
        got = raw(port, data)
        assert CANARY.encode() not in got, (kind, data)
        for line in got.split(b"\r\n"):
            if line.startswith(b"HTTP/1."):
                status = int(line.split()[1])
                assert status == 100 or 400 <= status < 500, (kind, data[:300], got[:300])
                refused += 1
        assert b"trainphase-document" not in got and TOKEN.encode() not in got, (kind, data[:300], got[:300])
    # Of bytes that are no HTTP some get no answer at all.
    assert refused > 900
    assert len(worker.jobs) == asked and not app.busy
    assert ask(port, "")[1] == app.page
    assert ask(port, "api/diagram/0/labels?level=0")[1] == CODES.tobytes()


def test_a_body_that_is_too_long_is_refused_before_it_is_read(served: Any) -> None:
    port, worker, _ = served
    asked, to = len(worker.jobs), f"POST /{TOKEN}/api/run HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
    head = f"{to}Content-Type: application/json\r\n"
    long = b'{"system":"cubic"}' + b" " * server.MOST_BODY
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(f"{head}Content-Length: {len(long)}\r\n\r\n".encode())
        assert link.recv(65536).startswith(b"HTTP/1.1 413 ")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (long[:9000], long[9000:]))
    assert raw(port, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 413 ")
    assert len(worker.jobs) == asked


def test_only_json_asks_for_a_run(served: Any) -> None:
    # What a form on another page could send without asking first.
    answer, _ = ask(served[0], "api/run", "POST", {"system": "cubic"}, Content_Type="text/plain")
    assert answer.status == 415


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"system": "mlp", "params": {"dataset": 5}}, "dataset is text and cannot be given here"),
        ({"system": "relu2", "params": {"data": "digits"}}, "data is text"),
        ({"system": "phase-retrieval", "params": {"data": "../x"}}, "data must be one of"),
        ({"system": "cubic", "params": {"a": float("nan")}}, "a must be a number"),
        ({"system": "cubic", "params": {"a": -1.0}}, "a=-1 is out of range"),
        ({"system": "quadratic", "params": {"D": 2.5}}, "D must be a whole number"),
        ({"system": "quadratic", "params": {"D": 1e300}}, "is out of range"),
        ({"system": "cubic", "steps": True}, "steps must be a whole number"),
        ({"system": "cubic", "steps": 2**21}, "steps must be a whole number"),
        ({"system": "cubic", "vocabulary": []}, "vocabulary must be one of"),
        ({"system": "cubic", "search": ["/"]}, "a run is asked for by"),
    ],
)
def test_what_may_not_be_asked(body: Any, said: str) -> None:
    with pytest.raises(RequestError, match=re.escape(said)):
        runs.asked(body, {})


def test_what_a_diagram_has_anyway_may_be_said_again(served: Any) -> None:
    shown = replace(served[2].diagrams["0"], system="mlp", params={"dataset": "digits", "width": 8})
    told = runs.asked({"diagram": "0", "params": {"dataset": "digits", "lr": 0.1}}, {"0": shown})
    assert told["params"] == {"dataset": "digits", "width": 8, "lr": 0.1}
    with pytest.raises(RequestError, match="dataset is text"):
        runs.asked({"diagram": "0", "params": {"dataset": "other.csv"}}, {"0": shown})


def test_a_fault_of_ours_is_one_sentence(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port, _, app = served

    def fail(*_: Any) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(type(app.diagrams["0"]), "point", fail)
    answer, data = ask(port, "api/diagram/0/point?i=0&j=0")
    assert answer.status == 500 and json.loads(data) == {"error": "the server could not answer"}


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:80", True), ("127.0.0.1", "LOCALHOST:80", True), ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "10.0.0.1:80", False), ("127.0.0.1", "evil.example:80", False), ("10.0.0.1", "10.0.0.1:80", True),
        ("10.0.0.1", "localhost:80", False), ("0.0.0.0", "10.1.2.3:80", True), ("0.0.0.0", "[fe80::1]:80", True),
        ("0.0.0.0", "evil.example:80", False), ("0.0.0.0", "10.1.2.3:81", False), ("0.0.0.0", ":80", False),
        ("::1", "[::1]:80", True),
    ],
)  # fmt: skip
def test_whose_name_it_goes_by(host: str, given: str, expected: bool) -> None:
    assert server.known_as(host, 80)(given) is expected


def test_a_port_that_is_taken_is_told() -> None:
    with server.listen() as sock, pytest.raises(RequestError, match="cannot be listened at"):
        sock.listen()
        server.listen(port=sock.getsockname()[1])


def answered(worker: runs.Worker) -> dict[str, Any]:
    """The last message of a run."""
    message = None
    while message is None or "progress" in message:
        message = worker.poll()
        time.sleep(0.01)
    return message


def test_a_run_in_the_process_beside() -> None:
    worker, job = runs.Worker(), runs.asked({"system": "linear-net", "params": {"z": 3, "T": 0.1}}, {})
    try:
        worker.start(job)
        # No start there: the sentence of the run itself, from a process that has loaded JAX.
        assert "raise T" in answered(worker)["error"]
        worker.start(runs.asked({"system": "cubic"}, {}))  # compiled for seconds
        worker._process.kill()
        assert "the process of the run ended" in answered(worker)["error"]
        assert worker._process is None
    finally:
        worker.stop()


class Pipe:
    """Where messages of a run go."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send_bytes(self, data: bytes) -> None:
        self.sent.append(json.loads(data))


def test_what_a_run_answers() -> None:
    pipe = Pipe()
    told = runs._Told(pipe)
    job = runs.asked({"system": "linear-net", "params": {"z": 0.3, "T": 5.0}, "vocabulary": "edge", "steps": 400}, {})
    got = runs._answered(job, (), told, runs._tick(told))["result"]
    assert got["run"]["phase"] == "divergent" and got["escapedAt"] == got["run"]["steps"]
    assert len(got["times"]) == len(got["loss"]) == len(got["curvature"]) == len(got["series"]["residual"])
    assert all(np.isfinite(got["loss"])) and got["loss"][0] == 0.045 and "progress" not in got["series"]
    assert pipe.sent and 0 < pipe.sent[0]["progress"] <= 1


def test_long_series_are_thinned_to_odd_steps() -> None:
    times = np.arange(9001.0)
    series, reading = {"loss": times, "big": np.zeros((9001, 2))}, Reading(EDGE, "flat", 0, "")
    run = Trajectory("x", {}, times, series, {}, "converged", reading, 9000, "float64", None)
    got = runs.shown(run)
    assert len(got["times"]) <= runs.MOST_POINTS and got["thinned"] % 2 == 1 and got["loss"][1] == got["thinned"]
    assert got["series"] == {} and got["curvature"] is None and got["escapedAt"] == -1
