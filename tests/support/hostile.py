"""Requests that a server on a user's machine may meet and must not answer: bytes for a socket, by a seeded generator."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable, Iterator
from urllib.parse import quote

ANYWHERE = ("etc/passwd", "canary.txt", "store/zarr.json", "store/ledger/manifest.json", "pyproject.toml", ".ssh/id_rsa")
UPWARDS = (
    "../",
    "..\\",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%2f",
    "%252e%252e%252f",
    "..%5c",
    "%c0%ae%c0%ae/",
    "....//",
    "..;/",
    "/",
    "//",
)
BAD_BODIES = (
    b"", b"{", b"null", b"[]", b"1", b'"x"', b"{}", b"\xff\xfe{}", b"[" * 5000, b'{"a":' * 3000, b"NaN",
    b'{"system":"cubic","params":{"a":NaN}}', b'{"system":"cubic","params":{"a":Infinity}}',
    b'{"system":"cubic","params":{"a":1e999}}',
    b'{"system":"cubic","params":{"a":"1.1"}}', b'{"system":"cubic","params":{"a":true}}', b'{"system":"cubic","params":[1]}',
    b'{"system":"cubic","params":{"a":-1}}', b'{"system":"cubic","params":{"b":1}}', b'{"system":"cubic","steps":0}',
    b'{"system":"cubic","steps":1e9}', b'{"system":"cubic","vocabulary":"all"}', b'{"system":"cubic","diagram":"0"}',
    b'{"system":"none"}', b'{"system":["cubic"]}', b'{"system":{"a":1}}', b'{"diagram":"1"}', b'{"diagram":0}',
    b'{"diagram":null}',
    b'{"diagram":"../../canary.txt"}', b'{"diagram":"__class__"}', b'{"system":"cubic","params":{"__proto__":1}}',
    b'{"system":"cubic","store":"canary.txt"}', b'{"system":"mine.py:Mine"}', b'{"system":"cubic","params":{},"command":"id"}',
    b'{"system":"mlp","params":{"dataset":"canary.csv"}}', b'{"system":"mlp","params":{"data_dir":"/"}}',
    b'{"system":"relu2","params":{"data":"../canary.csv"}}', b'{"system":"phase-retrieval","params":{"search":["/"]}}',
    b'{"system":"quadratic","params":{"D":1.5}}', b'{"system":"quadratic","params":{"D":1e300}}',
)  # fmt: skip


class Hostile:
    """The generator: ``requests(n)`` gives n of them, each with the name of what it tries."""

    def __init__(self, port: int, token: str, seed: int = 0) -> None:
        self.port, self.token, self.random = port, token, random.Random(seed)
        self.host = f"127.0.0.1:{port}"

    def requests(self, n: int) -> Iterator[tuple[str, bytes]]:
        """Every kind in turn."""
        kinds: list[Callable[[], bytes]] = [
            self.traversal, self.no_token, self.other_host, self.other_origin, self.odd_method, self.too_long, self.bad_body,
            self.header_tricks, self.bad_numbers, self.no_http,
        ]  # fmt: skip
        for k in range(n):
            kind = kinds[k % len(kinds)]
            yield kind.__name__, kind()

    def ask(self, target: str, method: str = "GET", host: str | None = None, more: str = "", body: bytes = b"") -> bytes:
        """A request as it should be, but for what is given."""
        lines = f"{method} {target} HTTP/1.1\r\nHost: {self.host if host is None else host}\r\n{more}"
        if body:
            lines += f"Content-Length: {len(body)}\r\n"
        return f"{lines}Connection: close\r\n\r\n".encode("latin-1", "replace") + body

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def letters(self, most: int = 40) -> str:
        return "".join(self.random.choices(string.ascii_letters + string.digits + "-_", k=self.random.randint(1, most)))

    def traversal(self) -> bytes:
        up = self.pick(*UPWARDS) * self.random.randint(1, 8)
        below = self.pick(
            "", "api/", "api/diagram/", "api/diagram/0/", "api/diagram/0/tile/", "api/diagram/..%2f0/", "js/", "static/"
        )
        end = self.pick("", "", "%00", "?", "#", "%00.html", "/", "?level=0", "?level=0&i=0&j=0")
        file = self.pick(*ANYWHERE)
        target = f"/{self.token}/{below}{up}{self.pick(file, quote(file, safe=''), file.upper())}{end}"
        return self.ask(self.pick(target, target, f"http://{self.host}{target}", f"file:///{file}"))

    def no_token(self) -> bytes:
        token, low = self.token, self.token.swapcase()
        wrong = self.pick(
            "",
            self.letters(),
            token[:-1],
            token + "x",
            low,
            token[::-1],
            f"%00{token}",
            f"{token}%00",
            f"x/{token}",
            f"./{token}",
        )
        rest = self.pick(
            "", "/", "/api/diagram/0/labels?level=0", "/api/run", "/index.html", f"/?token={token}", "/favicon.ico", "/robots.txt"
        )
        more = self.pick(
            "", f"Authorization: Bearer {token}\r\n", f"Cookie: token={token}\r\n", f"Referer: http://{self.host}/{token}/\r\n"
        )
        return self.ask(f"/{wrong}{rest}" if wrong != token else "/", more=more)

    def other_host(self) -> bytes:
        port, p = (
            self.port,
            self.pick(
                "evil.example", "127.0.0.1", "localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0", "[::1]", "2130706433"
            ),
        )
        host = self.pick(
            p, f"{p}:{port + 1}", f"evil.example:{port}", f"{self.host}.evil.example",
            f"evil.example#{self.host}", f"user@{self.host}",
            f"{self.host}, evil.example", f"{self.host}\r\nHost: evil.example", f" {self.host}:", "",
            f"localhost:{port}0", "127.0.0.1:",
        )  # fmt: skip
        return self.ask(
            f"/{self.token}/" + self.pick("", "api/diagram/0/labels?level=0", "api/diagram/0/point?i=0&j=0"), host=host
        )

    def other_origin(self) -> bytes:
        origin = self.pick(
            "null", "http://evil.example", f"https://{self.host}", f"http://localhost:{self.port}", f"http://{self.host}.evil.example",
            f"http://127.0.0.1:{self.port + 1}", f"http://evil.example/{self.host}", "file://", "", f"http://{self.host}/",
        )  # fmt: skip
        more = self.pick(f"Origin: {origin}\r\n", "Sec-Fetch-Site: cross-site\r\n", "Sec-Fetch-Site: same-site\r\n")
        if self.random.random() < 0.5:
            return self.ask(f"/{self.token}/api/diagram/0/labels?level=0", more=more)
        kind = self.pick("Content-Type: application/json\r\n", "Content-Type: text/plain\r\n", "")
        return self.ask(f"/{self.token}/api/run", "POST", more=more + kind, body=b'{"diagram":"0","params":{}}')

    def odd_method(self) -> bytes:
        method = self.pick(
            "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "CONNECT", "PROPFIND", "get", "G%45T", self.letters(8), "POST"
        )
        place = self.pick("", "api/diagram/0/labels?level=0", "api/diagram/0/point?i=0&j=0", f"../{ANYWHERE[1]}")
        return self.ask(f"/{self.token}/{place}", method, body=b"{}" if self.random.random() < 0.3 else b"")

    def too_long(self) -> bytes:
        json_ = "Content-Type: application/json\r\n"
        size = self.random.choice((16_385, 20_000, 100_000))
        body = b'{"diagram":"0","params":{"x":"' + b"x" * size + b'"}}'
        kind = self.random.randrange(4)
        target = f"/{self.token}/api/run"
        if kind == 0:
            return self.ask(target, "POST", more=json_, body=body)
        if kind == 1:  # announced and never sent
            return self.ask(target, "POST", more=json_ + f"Content-Length: {self.pick('99999999999', '1' * 50, '16385')}\r\n")
        if kind == 2:
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[k : k + 4000]), body[k : k + 4000]) for k in range(0, len(body), 4000))
            return self.ask(target, "POST", more=json_ + "Transfer-Encoding: chunked\r\n") + chunks + b"0\r\n\r\n"
        return self.ask(f"/{self.token}/{'x' * size}")

    def bad_body(self) -> bytes:
        body = self.random.choice(BAD_BODIES)
        if self.random.random() < 0.2:
            body = json.dumps({"diagram": self.letters(), "params": {self.letters(): self.random.random()}}).encode()
        return self.ask(f"/{self.token}/api/run", "POST", more="Content-Type: application/json\r\n", body=body)

    def header_tricks(self) -> bytes:
        evil = f"{self.letters()}.example"
        more = self.pick(
            f"X-Forwarded-Host: {self.host}\r\nX-Forwarded-For: 127.0.0.1\r\n", f"X-Original-URL: /{self.token}/\r\n",
            f"X-Rewrite-URL: /{self.token}/\r\n", f"Forwarded: host={self.host}\r\n", "X: " + "y" * 30_000 + "\r\n",
            "".join(f"X{k}: y\r\n" for k in range(3000)), "X: a\r\n b\r\n", "X\0: y\r\n", "X : y\r\n", ": y\r\n",
            "X: \x00\x01\r\n",
            "Content-Length: -1\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n", "Expect: 100-continue\r\n",
            "Upgrade: websocket\r\nConnection: Upgrade\r\n",
            "Upgrade: h2c\r\n", f"Host: {evil}\r\n", "Range: bytes=0-99\r\n", "Accept-Encoding: " + "gzip," * 2000 + "\r\n",
        )  # fmt: skip
        # Beside the trick, a host or a token that is not ours.
        return (
            self.ask(f"/{self.letters()}/", more=more)
            if self.random.random() < 0.5
            else self.ask(f"/{self.token}/", host=evil, more=more)
        )

    def bad_numbers(self) -> bytes:
        number = self.pick(
            "-1", "99999999", "1e3", "0x1", "", "%00", "1.0", "\u0661", "9" * 400, "0;0", " 0", "+0", "true", "../0"
        )
        other = self.pick("level=0&i=0&j=0", "i=0&j=0", "level=0")
        query = self.pick(
            f"level={number}", f"level={number}&i=0&j=0", f"i={number}&j=0", f"i=0&j={number}", "", "level=0&level=0",
            f"{other}&x=1", "&" * 500, "level", f"level=0&i=0&j={number}", "level[]=0",
        )  # fmt: skip
        what = self.pick("labels", "tile", "point", "canary.txt", "labels/", "labels/..", "Labels", "zarr.json")
        if {"labels": "level=0", "tile": "level=0&i=0&j=0", "point": "i=0&j=0"}.get(what) == query:
            return self.ask("/")  # that would be answered
        key = self.pick("0", "0", "1", "00", "-1", "store")
        return self.ask(f"/{self.token}/api/diagram/{key}/{what}?{quote(query, safe='=&%;+[] /')}")

    def no_http(self) -> bytes:
        noise = bytes(self.random.randrange(256) for _ in range(self.random.randint(1, 400)))
        page = f"/{self.token}/"
        return self.random.choice((
            noise, b"GET /\r\n\r\n", b"GET\r\n\r\n", b"\r\n" * 200, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00" + noise, b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
            f"GET {page} HTTP/1.1\r\n\r\n".encode(), f"GET {page} HTTP/1.1".encode(), f"GET {page} HTTP/1.0\r\n\r\n".encode(),
            f"GET  {page}  HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode(),
        ))  # fmt: skip
