"""What the daemon shows of itself over HTTP: `/metrics` and `/healthz`.

Rule: reads only; nothing that is asked here changes anything, and no answer holds more than metrics and states do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

from engine.errors import ExitCode, KeyturnError
from engine.values import SECOND, Instant

HANGING_SECONDS: Final = 30.0
"""How long ago the loop may have looked around last: a process that is alive does so every second."""

SHARES: Final = {"p50": 0.5, "p99": 0.99}
"""Which lateness of tasks is told: what half of them, and 99 of 100, were begun within."""

_PORT: Final = 9090
LOCAL: Final = "127.0.0.1"


class CannotListen(KeyturnError):
    """{address} cannot be listened at: {why}."""

    exit_code = ExitCode.USAGE
    hint = "Give another address: keyturn serve --listen 127.0.0.1:9091."


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, `:PORT` or nothing (127.0.0.1:9090); raises `CannotListen`."""
    host, _, port = text.rpartition(":")
    if not text:
        return LOCAL, _PORT
    if not port.isascii() or not port.isdecimal() or int(port) > 65_535:
        raise CannotListen(address=text, why="HOST:PORT is expected")
    return host.strip("[]") or LOCAL, int(port)


class Endpoint:
    """Answers requests in threads of its own, until its block ends."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        metrics: Callable[[str], tuple[bytes, str]] | None,
        ticked: Callable[[], Instant],
        now: Callable[[], Instant],
        late: Callable[[float], float],
        path: str = "/metrics",
    ) -> None:
        """`metrics` returns body and content type for an Accept header; without it, none are shown.

        `ticked` is when the loop looked around last, `late` the seconds that a share of its tasks was begun within.
        """
        self._address = address
        self._metrics = metrics
        self._ticked = ticked
        self._now = now
        self._late = late
        self._path = path

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve while the block runs; yields `HOST:PORT`. Raises `CannotListen`."""
        endpoint = self

        class Exchange(BaseHTTPRequestHandler):
            """One request."""

            server_version = "keyturn"
            sys_version = ""
            timeout = 10

            def do_GET(self) -> None:
                status, body, kind = endpoint.answer(self.path, self.headers.get("Accept", ""))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: scrapes are many."""

        try:
            server = ThreadingHTTPServer(self._address, Exchange)
        except OSError as error:
            raise CannotListen(address=f"{self._address[0]}:{self._address[1]}", why=error.strerror) from error
        thread = Thread(target=server.serve_forever, name="http", daemon=True)
        thread.start()
        try:
            yield f"{self._address[0]}:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, path: str, accept: str) -> tuple[int, bytes, str]:
        """Return status, body and content type."""
        path = path.partition("?")[0]
        if path == self._path and self._metrics is not None:
            body, kind = self._metrics(accept)
            return 200, body, kind
        if path == "/healthz":
            ago = (self._now() - self._ticked()) / SECOND
            ok = ago < HANGING_SECONDS
            document = {
                "schema": "keyturn.healthz/1",
                "ok": ok,
                "seconds_since_tick": round(ago, 3),
                "late_seconds": {name: round(self._late(share), 3) for name, share in SHARES.items()},
            }
            return 200 if ok else 503, json.dumps(document).encode() + b"\n", "application/json"
        return 404, b"there are /metrics and /healthz\n", "text/plain; charset=utf-8"
