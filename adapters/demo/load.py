"""Clients of the demo: they log in all the time, and count what came of it.

Rule 1: a client behaves as an application should: it reads the published file for every login, opens a fresh
connection, runs a query, and where it is refused reads the file once more before it gives up.
Rule 2: what is counted happened at the server; nothing is assumed, and no error text is kept, for it could hold a
connection URL.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Final, Self

from adapters.stores import dotenv_text
from engine.errors import ExitCode, KeyturnError

VARIABLE: Final = {"app-db": "DATABASE_URL", "cache": "CACHE_URL"}
"""Where in the file each service is published."""

_PAUSE_SECONDS: Final = 0.01
"""Between two logins of one client, so that the rotations get their share of a small machine."""
_CONNECT_SECONDS_MAX: Final = 5
_PATIENCE_SECONDS: Final = 15.0
"""How long `Load.wait_for` waits for logins that do not come."""


class Refused(Exception):
    """The login, or the query after it, did not succeed. Holds no text."""


class ClientsStuck(KeyturnError):
    """The clients of the demo do not get to log in any more."""

    exit_code = ExitCode.UNEXPECTED
    hint = "Run it again on a machine that is less busy; please report it where that does not help."


@dataclass(frozen=True, slots=True)
class Tally:
    """What clients did: logins that succeeded, those that were refused at first, and those that failed for good."""

    logins: int = 0
    refused: int = 0
    """Refused with what was read first; a login with what was read then counts by itself."""
    failed: int = 0

    def __sub__(self, earlier: Tally) -> Tally:
        return Tally(self.logins - earlier.logins, self.refused - earlier.refused, self.failed - earlier.failed)


def log_in_database(url: str) -> str:
    """Log in to PostgreSQL afresh, read and write; return the login. Raises `Refused`."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS_MAX) as connection:
            row = connection.execute("SELECT session_user::text, count(*) FROM orders").fetchone()
    except psycopg.Error:
        raise Refused from None
    assert row is not None, "an aggregate has a row"
    return str(row[0])


def log_in_cache(url: str) -> str:
    """Log in to Redis afresh and count a visit; return the login. Raises `Refused`."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with redis.Redis.from_url(
            url, socket_timeout=_CONNECT_SECONDS_MAX, retry=Retry(NoBackoff(), 0), decode_responses=True
        ) as connection:
            connection.incr("shop:visits")
            return str(connection.acl_whoami())
    except redis.exceptions.RedisError:
        raise Refused from None


LOG_IN: Final[dict[str, Callable[[str], str]]] = {"app-db": log_in_database, "cache": log_in_cache}
"""How a client of each service logs in."""


def published(env_file: Path, variable: str) -> str:
    """Return what an application reads there now."""
    value = dotenv_text.read(env_file.read_text(encoding="utf-8"), variable)
    assert value is not None, f"{variable} was published before the clients began"
    return value


class _Client(Thread):
    """Logs in until it is told to stop."""

    def __init__(self, env_file: Path, variable: str, log_in: Callable[[str], str], stop: Event) -> None:
        super().__init__(name=f"client-{variable}", daemon=True)
        self._env_file = env_file
        self._variable = variable
        self._log_in = log_in
        self._stop_asked = stop
        self.tally = Tally()

    def run(self) -> None:
        """Log in, count, pause, and again."""
        while not self._stop_asked.is_set():
            seen = self.tally
            try:
                self._log_in(self._read())
                self.tally = Tally(seen.logins + 1, seen.refused, seen.failed)
            except Refused:
                self.tally = self._second_try(Tally(seen.logins, seen.refused + 1, seen.failed))
            self._stop_asked.wait(_PAUSE_SECONDS)

    def _second_try(self, seen: Tally) -> Tally:
        try:
            self._log_in(self._read())
        except Refused:
            return Tally(seen.logins, seen.refused, seen.failed + 1)
        return Tally(seen.logins + 1, seen.refused, seen.failed)

    def _read(self) -> str:
        return published(self._env_file, self._variable)


class Load:
    """Two clients of the database and two of the cache, for the length of a `with` block."""

    def __init__(self, env_file: Path) -> None:
        self._stop_asked = Event()
        self.clients: Sequence[_Client] = [
            _Client(env_file, VARIABLE[service], log_in, self._stop_asked)
            for service, log_in in LOG_IN.items()
            for _ in range(2)
        ]

    def __enter__(self) -> Self:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_asked.set()
        for client in self.clients:
            client.join()

    def tally(self) -> Tally:
        """Return what all clients have counted so far."""
        counted = [client.tally for client in self.clients]
        return Tally(*(sum(getattr(each, name) for each in counted) for name in ("logins", "refused", "failed")))

    def wait_for(self, logins: int) -> None:
        """Wait until every client has tried that many more logins, begun after this call; raises `ClientsStuck`."""
        limit = time.monotonic() + _PATIENCE_SECONDS
        # The one more may have begun before.
        wanted = {client: _tries(client) + logins + 1 for client in self.clients}
        while any(_tries(client) < tries for client, tries in wanted.items()):
            if time.monotonic() > limit:
                raise ClientsStuck
            time.sleep(_PAUSE_SECONDS)


def _tries(client: _Client) -> int:
    return client.tally.logins + client.tally.failed
