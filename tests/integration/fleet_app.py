"""An application of a fleet, for tests: a process with a pool of connections, which changes its credential when told.

`python fleet_app.py` reads its settings as one line of JSON (see `Settings`), writes its port as one line, and serves
until its input ends:

    POST /keyturn/version   use a version (Standard Webhooks); it is read from the store, or comes along
    GET  /keyturn/report    docs/reference/instance-report.md
    GET  /stats             what it counted

Rule 1: standard library only until a credential is used, so that it starts fast; nothing is printed but the port.
Rule 2: a version is reported once a login with it has worked; one that is refused leaves the pool as it was.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import sys
import threading
import time
from contextlib import suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Settings:
    """What the application is given; the names are those of the JSON."""

    id: str = "web-1"
    signing_secret: str = ""
    """`whsec_…`; without it nobody is refused."""
    database: dict[str, Any] | None = None
    """host, port and dbname of PostgreSQL; without it there is no pool, and every credential works."""
    connections: int = 2
    """How many connections the pool has."""
    store: dict[str, str] | None = None
    """path and key_file of an encrypted file, and `key`: where versions are read."""
    is_watching: bool = False
    """It looks by itself for what is current at `key`, twenty times a second."""
    file: str = ""
    """A file of JSON (version, username, password) that it watches; it reports to the same name with `.report`."""
    acknowledge: str = ""
    """A key in the store to which it writes back what it uses."""
    query_seconds: float = 0.0
    """How often it runs a query over the pool, and how often over a fresh connection; 0: never."""
    reported: str = ""
    """What it reports as its version in place of the truth."""
    answers: int = 204
    """How it answers a version that it took."""
    delay_seconds: float = 0.0
    """How long it takes to use a version, after it has answered 202."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.__dict__.update(given)


class Application:
    """What the process holds: a version, a pool, and counters."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.version: str | None = None
        self.username = ""
        self.password = ""
        self.pool: list[Any] = []
        self.counts = dict.fromkeys(("told", "refused", "changes", "failed_logins", "queries", "failed_queries"), 0)
        self.lock = threading.RLock()

    def use(self, version: str, username: str, password: str) -> bool:
        """Connect the pool anew with a credential; tell whether that worked."""
        with self.lock:
            if (version, username, password) == (self.version, self.username, self.password):
                return True
            fresh: list[Any] = []
            if self.settings.database is not None:
                for _ in range(self.settings.connections):
                    connection = self.login(username, password)
                    if connection is None:
                        for each in fresh:
                            each.close()
                        return False
                    fresh.append(connection)
            old, self.pool = self.pool, fresh
            self.version, self.username, self.password = version, username, password
            self.counts["changes"] += 1
        for each in old:
            each.close()
        return True

    def login(self, username: str, password: str) -> Any:
        """Return a fresh connection; None, counted, where it is refused."""
        import psycopg

        try:
            return psycopg.connect(
                **(self.settings.database or {}), user=username, password=password, autocommit=True, connect_timeout=5
            )
        except psycopg.Error:
            self.counts["failed_logins"] += 1
            return None

    def take(self, told: dict[str, Any]) -> bool:
        """Use the version of a message."""
        if "password" in told:
            return self.use(told["version"], told["username"], told["password"])
        value = self.store().read(told["key"], told["version"])
        return value is not None and self.use(told["version"], value.username, value.revealed())

    def store(self) -> Any:
        """Open the store, as keyturn does."""
        from adapters.stores import encrypted_file
        from engine.adapter import StoreContext

        given = self.settings.store or {}
        options = encrypted_file.Options(path=given["path"], key_file=given["key_file"])
        context = StoreContext("local", Path("/"), Path("/"), lambda _: None)  # type: ignore[arg-type, return-value]
        return encrypted_file.ADAPTER.build(options, context)

    def report(self, challenge: str) -> dict[str, str | None]:
        """Return what is reported."""
        with self.lock:
            if self.version is None:
                return {"version": None, "proof": None}
            proof = hmac.new(challenge.encode(), self.password.encode(), sha256).hexdigest()
            return {"version": self.settings.reported or self.version, "proof": proof}

    def watch(self) -> None:
        """Follow the store, or the file, for ever."""
        store = self.store() if self.settings.is_watching else None
        seen: object = None
        while True:
            # What is written at this moment is read the next time.
            with suppress(OSError, ValueError, KeyError):
                if store is not None:
                    self._follow_store(store)
                else:
                    seen = self._follow_file(seen)
            time.sleep(0.05)

    def _follow_store(self, store: Any) -> None:
        key = (self.settings.store or {})["key"]
        current = store.versions(key).current
        value = store.read(key, current) if current else None
        if value is not None and self.use(current, value.username, value.revealed()) and self.settings.acknowledge:
            self._acknowledge(store)

    def _acknowledge(self, store: Any) -> None:
        from engine.values import CredentialValue, Secret

        key, challenge = self.settings.acknowledge, os.urandom(32).hex()
        report = json.dumps({"challenge": challenge, **self.report(challenge)})
        current, there = store.versions(key).current, store.read(key, "current")
        if there is not None and json.loads(there.revealed())["version"] == self.version:
            return
        store.promote(key, f"report-{challenge}", CredentialValue("", Secret(report)), expected=current)

    def _follow_file(self, seen: object) -> object:
        file = Path(self.settings.file)
        status = file.stat()
        if (status.st_ino, status.st_mtime_ns) == seen:
            return seen
        given = json.loads(file.read_text(encoding="utf-8"))
        if self.use(given["version"], given["username"], given["password"]):
            challenge = os.urandom(32).hex()
            report = json.dumps({"challenge": challenge, **self.report(challenge)})
            part = file.with_suffix(".part")
            part.write_text(report, encoding="utf-8")
            part.rename(f"{file}.report")
        return status.st_ino, status.st_mtime_ns

    def query(self) -> None:
        """Query over the pool, and log in afresh, again and again."""
        while True:
            time.sleep(self.settings.query_seconds)
            with self.lock:
                pool, username, password = list(self.pool), self.username, self.password
                for connection in pool:
                    self._count(connection)
            fresh = self.login(username, password) if pool else None
            if fresh is not None:
                self._count(fresh)
                fresh.close()

    def _count(self, connection: Any) -> None:
        import psycopg

        try:
            connection.execute("SELECT 1")
            self.counts["queries"] += 1
        except psycopg.Error:
            self.counts["failed_queries"] += 1

    def is_ours(self, headers: Any, body: bytes) -> bool:
        """Verify a signature as Standard Webhooks has it."""
        if not self.settings.signing_secret:
            return True
        key = base64.b64decode(self.settings.signing_secret.removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        wanted = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
        given = (headers["webhook-signature"] or "").split()
        return any(hmac.compare_digest(each, wanted) for each in given)


def conversation(application: Application) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests."""

    class Conversation(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            if not application.is_ours(self.headers, body):
                application.counts["refused"] += 1
                return self._answer(401)
            application.counts["told"] += 1
            told, settings = json.loads(body), application.settings
            if settings.delay_seconds:
                threading.Timer(settings.delay_seconds, application.take, [told]).start()
                return self._answer(202)
            return self._answer(settings.answers if application.take(told) else 503)

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/stats":
                answer: dict[str, Any] = {"version": application.version, **application.counts}
            else:
                answer = application.report(parse_qs(parts.query)["challenge"][0])
            self._answer(200, json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            """Keep quiet."""

    return Conversation


def main() -> None:
    """Serve until the input ends."""
    application = Application(Settings(json.loads(sys.stdin.readline())))
    server = ThreadingHTTPServer(("127.0.0.1", 0), conversation(application))
    server.daemon_threads = True
    settings = application.settings
    for is_wanted, work in (
        (True, server.serve_forever),
        (settings.is_watching or settings.file, application.watch),
        (settings.query_seconds, application.query),
    ):
        if is_wanted:
            threading.Thread(target=work, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
