"""The explorer from a server on this machine: the page, the numbers of the stores it shows, and runs on request.

Everything lies below one random token in the address. A request is refused unless it names this server (Host) and comes
from its own page (Origin), so that a page of another site, or one whose name was made to point here, gets nothing. Paths
are compared with a few fixed ones and name no files. Starlette and uvicorn are imported here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hmac
import ipaddress
import json
import re
import secrets
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from trainphase.errors import RequestError, TrainphaseError
from trainphase.explorer import bundle
from trainphase.explorer.runs import Worker, asked
from trainphase.explorer.stored import Stored

try:
    import uvicorn
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response, StreamingResponse
except ImportError as missing:
    raise RequestError(
        f"the explorer's server needs {missing.name}, which is not installed; give pip install 'trainphase[explore]', or write "
        f"the page to a file with --export"
    ) from missing

LOOPBACK = "127.0.0.1"
MOST_BODY = 16 * 1024
# Seconds: to receive a body, for a run, between two looks at a run, between signs of life, and for the end.
BODY_WAIT, RUN_LIMIT, LOOK, BEAT, GRACE = 5.0, 600.0, 0.02, 0.5, 1
HEADERS = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip
NOTHING = "default-src 'none'; frame-ancestors 'none'"
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)


class Refused(Exception):
    """A request that is not answered: status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


class App:
    """The ASGI application.

    Parameters
    ----------
    document : what the page shows; its diagrams have the ids of ``diagrams``.
    token : the first part of every path. hosts : the values of Host that are this server.
    worker : where runs are computed. limit : seconds a run may take.
    """

    def __init__(
        self, document: Mapping[str, Any], diagrams: Mapping[str, Stored], token: str, hosts: Callable[[str], bool],
        worker: Worker, limit: float = RUN_LIMIT,
    ) -> None:  # fmt: skip
        page = bundle.page(document)
        self.policy = f"{page.policy}; frame-ancestors 'none'"
        self.page = page.html.encode()
        self.packed = gzip.compress(self.page, 9, mtime=0)
        self.diagrams, self.token, self.hosts, self.worker, self.limit = diagrams, token.encode(), hosts, worker, limit
        self.busy = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except Refused as why:
            response = _json({"error": why.sentence}, why.status)
        except ClientDisconnect:
            return
        except TrainphaseError as why:
            response = _json({"error": str(why)}, 500)
        except Exception:  # nothing of it is told to whoever asked
            response = _json({"error": "the server could not answer"}, 500)
        response.headers.setdefault("Content-Security-Policy", NOTHING)
        for name, value in HEADERS.items():
            response.headers[name] = value
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        self._check_source(request)
        parts = request.scope["path"].split("/")
        given = parts[1] if len(parts) > 1 else ""
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self.token):
            raise Refused(404, "there is nothing here; open the whole address that trainphase explore printed")
        place = parts[2:]
        if not place:
            return Response(status_code=308, headers={"Location": f"/{self.token.decode()}/"})
        if place == ["api", "run"]:
            _need(request, "POST")
            return await self._run(request)
        _need(request, "GET", "HEAD")
        if place == [""]:
            return _bytes(request, self.page, "text/html; charset=utf-8", self.packed, self.policy)
        if len(place) == 4 and place[:2] == ["api", "diagram"] and place[2] in self.diagrams:
            return await self._read(request, self.diagrams[place[2]], place[3])
        raise Refused(404, "there is nothing here")

    def _check_source(self, request: Request) -> None:
        """Refuse a request for another host, or from another origin."""
        named = request.headers.getlist("host")
        if len(named) != 1 or not self.hosts(named[0]):
            raise Refused(421, "this server does not go by that name")
        for origin in request.headers.getlist("origin"):
            if origin != f"http://{named[0]}":
                raise Refused(403, "requests from other pages are not answered")
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise Refused(403, "requests from other pages are not answered")

    async def _read(self, request: Request, stored: Stored, what: str) -> Response:
        """Labels of a level, a tile of them, or everything at a point."""
        wanted = {"labels": ("level",), "tile": ("level", "i", "j"), "point": ("i", "j")}.get(what)
        if wanted is None:
            raise Refused(404, "there is nothing here")
        numbers = _query(request, wanted)
        codes_of: Callable[..., np.ndarray] = stored.labels if what == "labels" else stored.tile
        try:
            if what == "point":
                return _json(await asyncio.to_thread(stored.point, *numbers))
            codes = await asyncio.to_thread(codes_of, *numbers)
        except IndexError:
            raise Refused(404, "the diagram has no such place") from None
        data = codes.tobytes()
        packed = await asyncio.to_thread(gzip.compress, data, 1)
        response = _bytes(request, data, "application/octet-stream", packed, NOTHING)
        response.headers["X-Shape"] = ",".join(str(n) for n in codes.shape)
        return response

    async def _run(self, request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "a run is asked for in JSON (Content-Type: application/json)")
        try:
            job = asked(_parsed(await _body(request)), self.diagrams)
        except RequestError as why:
            raise Refused(400, str(why)) from None
        except KeyError as why:
            raise Refused(404, str(why.args[0])) from None
        if self.busy:
            raise Refused(429, "another run is under way; wait for it to end, or cancel it")
        self.busy = True
        return StreamingResponse(self._lines(request, job), media_type="application/x-ndjson")

    async def _lines(self, request: Request, job: dict[str, Any]) -> AsyncIterator[bytes]:
        """Messages of the run, one a line; the process is killed unless it has answered."""
        begun = heard = time.monotonic()
        progress, over = 0.0, False
        try:
            await asyncio.to_thread(self.worker.start, job)
            while not over:
                message, now = self.worker.poll(), time.monotonic()
                if message is None:
                    if now - begun > self.limit:
                        yield _line({"error": f"the run was ended after {self.limit:g} s; ask for a shorter one"})
                        break
                    if now - heard > BEAT:
                        heard = now
                        yield _line({"progress": progress, "seconds": round(now - begun, 1)})
                    await asyncio.sleep(LOOK)
                    continue
                heard, over = now, "progress" not in message
                progress = message.get("progress", progress)
                yield _line(message if over else message | {"seconds": round(now - begun, 1)})
        finally:
            if not over:
                self.worker.stop()
            self.busy = False


def _need(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise Refused(405, f"only {' and '.join(methods)} will do here")


def _query(request: Request, names: Sequence[str]) -> list[int]:
    """Whole numbers of the query, each given once and no others."""
    try:
        pairs = parse_qsl(request.scope["query_string"].decode("ascii"), True, True, max_num_fields=len(names))
    except ValueError:
        pairs = []
    found = dict(pairs)
    if sorted(k for k, _ in pairs) != sorted(names) or not all(_NUMBER.fullmatch(v) for v in found.values()):
        raise Refused(400, f"give {', '.join(names)} as whole numbers")
    return [int(found[name]) for name in names]


async def _body(request: Request) -> bytes:
    """The body, unless it is announced or turns out to be too long."""
    too_long = Refused(413, f"the request is longer than {MOST_BODY} bytes")
    length = request.headers.get("content-length")
    if length is not None and (not length.isascii() or not length.isdecimal() or int(length[:20]) > MOST_BODY):
        raise too_long
    body = b""

    async def receive() -> None:
        nonlocal body
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY:
                raise too_long

    try:
        await asyncio.wait_for(receive(), BODY_WAIT)
    except TimeoutError:
        raise Refused(408, f"the request did not arrive within {BODY_WAIT:g} s") from None
    return body


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Refused(400, "the request is no JSON; send an object") from None


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, allow_nan=False).encode() + b"\n"


def _json(value: Any, status: int = 200) -> Response:
    return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")


def _bytes(request: Request, data: bytes, kind: str, packed: bytes, policy: str) -> Response:
    """Bytes, packed where the browser takes that."""
    offered = [part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")]
    headers = {"Content-Security-Policy": policy, "Vary": "Accept-Encoding"}
    if "gzip" in offered:
        return Response(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
    return Response(data, media_type=kind, headers=headers)


def known_as(host: str, port: int) -> Callable[[str], bool]:
    """Whether a Host header names the server at ``host``.

    A name is one only where it is the one given, or that of this machine where the server listens everywhere; then any
    number will do too, since only names can be made to point somewhere else.
    """
    names = {host, LOOPBACK, "localhost"} if host in (LOOPBACK, "localhost") else {host}
    everywhere = host in ("0.0.0.0", "::")
    if everywhere:
        names |= {"localhost", socket.gethostname().lower()}
    allowed = {f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names}

    def known(given: str) -> bool:
        name, _, end = given.rpartition(":")
        if given.lower() in allowed:
            return True
        return everywhere and end == str(port) and _is_number(name)

    return known


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def listen(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """A socket that listens; port 0 takes a free one. RequestError where that cannot be had."""
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(place)
        except OSError:
            sock.close()
            raise
    except OSError as why:
        raise RequestError(f"--host {host} --port {port} cannot be listened at ({why.strerror or why}); give another") from why
    return sock


def serve(
    document: Mapping[str, Any], diagrams: Mapping[str, Stored], ready: Callable[[str], Any], *, host: str = LOOPBACK,
    port: int = 0, worker: Worker | None = None, limit: float = RUN_LIMIT,
) -> None:  # fmt: skip
    """Serve until SIGINT or SIGTERM. ``ready`` is called with the address, token included, once it is listened at.

    Raises RequestError where the port is taken.
    """
    token, worker = secrets.token_urlsafe(24), worker or Worker()
    with listen(host, port) as sock:
        port = sock.getsockname()[1]
        app = App(document, diagrams, token, known_as(host.lower(), port), worker, limit)
        shown = f"[{host}]" if ":" in host else host
        try:
            asyncio.run(_until_told(uvicorn_of(app), sock, lambda: ready(f"http://{shown}:{port}/{token}/")))
        finally:
            worker.stop()


def uvicorn_of(app: App) -> uvicorn.Server:
    """A server for the application that trusts no header and says nothing of itself."""
    config = uvicorn.Config(
        app, http="h11", ws="none", loop="asyncio", lifespan="off", interface="asgi3", log_config=None, access_log=False,
        server_header=False, proxy_headers=False, h11_max_incomplete_event_size=MOST_BODY, timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    return _Server(config)


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: its own way raises them again when all is over."""

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return contextlib.nullcontext()


async def _until_told(server: uvicorn.Server, sock: socket.socket, ready: Callable[[], Any]) -> None:
    """Serve until a signal asks for the end; a second one does not wait for open connections."""

    def stop() -> None:
        server.force_exit = server.should_exit
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    serving = asyncio.ensure_future(server.serve([sock]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    if server.started:
        ready()
    await serving
