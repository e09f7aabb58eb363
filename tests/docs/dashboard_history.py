"""A history for the picture of the dashboard: a daemon at work on rehearsal targets, and what befalls it.

Nothing is made up: `keyturn serve` rotates, a real Prometheus scrapes it each second, and a person's commands are those
of the command line. Only the targets are the rehearsal ones, and the times are short: minutes stand for days.

No test lives here; tests/docs/dashboard_picture.py runs it.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.cli.program import Folder

SECONDS: Final = 180
"""How long it takes."""

CONFIGURATION: Final = """\
version: 1
secretStores:
  local: {{type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
metrics: {{prometheus: {{port: {port}}}}}
services:
  orders-db:
    type: memory
    environment: production
    credential: {{username: orders, store: local, key: production/orders}}
    rotation:
      strategy: dual
      ttl: 30s
      grace_period: 6s
      health_checks:
        monitoring_period: 8s
        interval: 1s
        failure_threshold: 3
        checks:
          - {{type: connection}}
          - {{type: http_endpoint, name: storefront, url: "http://127.0.0.1:{web}/healthz"}}
          - {{type: error_rate, name: errors, url: "http://127.0.0.1:{web}/api", window: 10s, requests: 5,
             min_requests: 5, max_error_rate_pct: 60, warning_rate_pct: 10}}
      notifications: &told
        webhook: {{url: "http://127.0.0.1:{web}/hook", allow_http: true, allow_private: [127.0.0.0/8],
                   retry: {{initial: 1s, max: 2s, max_attempts: 2}}}}
  billing-db:
    type: memory
    environment: production
    credential: {{username: billing, store: local, key: production/billing}}
    rotation: {{strategy: dual, ttl: 40s, grace_period: 10s, notifications: *told}}
  reports-db:
    type: memory
    environment: staging
    credential: {{username: reports, store: local, key: staging/reports}}
    rotation: {{strategy: single, ttl: 25s, notifications: *told}}
  search-cache:
    type: memory
    environment: production
    credential: {{username: search, store: local, key: production/search}}
    rotation: {{strategy: issue, ttl: 20s, grace_period: 5s, notifications: *told}}
"""


@dataclass
class Web:
    """An application that is looked at, and a receiver of notices."""

    port: int = 0
    status: int = 200
    """Of the application."""
    taken: int = 204
    """Of the receiver."""


@contextmanager
def web() -> Iterator[Web]:
    """Serve the application and the receiver until the end of the block."""
    found = Web()

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(found.status)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(found.taken)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        found.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(command: list[str], folder: Path, said: Path, ready: str) -> Iterator[None]:
    """Run a program for the length of the block, once it said that it is ready."""
    with said.open("w") as stream:
        started = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream)
    try:
        limit = time.monotonic() + 30
        while not re.search(ready, said.read_text()):
            if started.poll() is not None or time.monotonic() > limit:
                raise SystemExit(said.read_text())
            time.sleep(0.05)
        yield
    finally:
        started.terminate()
        started.wait(30)


class Prometheus:
    """A Prometheus of this machine."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1/"

    def ask(self, query: str, *, begin: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of a query over a time: `metric` and `values`, pairs of seconds and text."""
        asked = urllib.parse.urlencode({"query": query, "start": begin, "end": end, "step": step})
        with urllib.request.urlopen(f"{self._url}query_range?{asked}", timeout=30) as answer:  # noqa: S310 - http, here
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[Prometheus]:
    """Run Prometheus, which asks the daemon at a port each second."""
    program = shutil.which("prometheus")
    if program is None:
        raise SystemExit("prometheus is missing; it comes with the Debian package prometheus")
    folder.mkdir()
    at = free_port()
    scraped = f"{{job_name: keyturn, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}"
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs: [{scraped}]\n")
    options = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{at}")
    with process([program, *options], folder, folder / "said.txt", "Server is ready"):
        yield Prometheus(at)


def happen(folder: Folder, found: Web, began: float) -> list[tuple[float, str]]:
    """Let things happen, each at its second; return them, and what came of commands."""

    def turn(**state: int) -> Callable[[], object]:
        return lambda: vars(found).update(state)

    def command(*arguments: str) -> Callable[[], object]:
        return lambda: folder.run(*arguments)

    plan: list[tuple[int, str, Callable[[], object]]] = [
        (50, "the receiver of notices refuses for 25 s", turn(taken=503)),
        (62, "the storefront answers 503 for 15 s", turn(status=503)),
        (75, "", turn(taken=204)),
        (77, "", turn(status=200)),
        (95, "a person rotates orders-db", command("rotate", "orders-db", "--detach")),
        (110, "a person takes billing-db back", command("rollback", "billing-db", "--yes")),
    ]
    for second, _, act in plan:
        time.sleep(max(began + second - time.time(), 0))
        act()
    time.sleep(max(began + SECONDS - time.time(), 0))
    return [(second, text) for second, text, _ in plan if text]


def serve(folder: Folder) -> list[str]:
    """Return the command of the daemon."""
    given = ["--config", str(folder.config), "--state", str(folder.state)]
    return [sys.executable, "-m", "adapters.cli.main", "serve", *given]
