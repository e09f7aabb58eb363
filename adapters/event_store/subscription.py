"""Following the log as it grows, in whatever process it is appended to.

SQLite tells nobody of a commit, but `PRAGMA data_version` shows a connection, in some microseconds and without
reading a page, whether another one has committed (https://www.sqlite.org/pragma.html#pragma_data_version).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from types import TracebackType
from typing import Final, Self

from adapters.event_store.errors import named_errors
from adapters.event_store.schema import connect
from engine.facts import Recorded
from engine.ports import EventLog

_BATCH: Final = 500


class Subscription(Iterator[Recorded]):
    """All facts behind a position, in order, none twice and none left out, until it is closed.

    Iterating waits for what is yet to come. `close` may be called from another thread, and ends the iteration.
    """

    def __init__(self, log: EventLog, path: Path, *, after: int, poll_seconds: float) -> None:
        self._log = log
        self._path = path
        self._position = after
        self._poll_seconds = poll_seconds
        self._waiting: deque[Recorded] = deque()
        self._closed = Event()
        self._turn = Lock()
        # A connection of its own: a connection never sees its own commits in data_version.
        self._connection = connect(path, busy_seconds_max=poll_seconds)

    def batch(self, *, seconds_max: float | None = None) -> Sequence[Recorded]:
        """Return the facts that come next, 500 at most, as soon as there are any.

        Empty where there were none for `seconds_max` (None waits for ever), or where the subscription is closed.
        """
        if self._waiting:
            waiting = list(self._waiting)
            self._waiting.clear()
            return waiting
        return self._fetch(None if seconds_max is None else monotonic() + seconds_max)

    def close(self) -> None:
        """End the subscription; closing it again changes nothing."""
        self._closed.set()
        with self._turn:
            self._connection.close()

    def __next__(self) -> Recorded:
        if not self._waiting:
            self._waiting.extend(self._fetch(None))
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _fetch(self, until: float | None) -> Sequence[Recorded]:
        with self._turn:
            while not self._closed.is_set():
                # Asked before reading: what is committed in between shows as a change the next time.
                seen = self._data_version()
                facts = self._log.after(self._position, limit=_BATCH)
                if facts:
                    self._position = facts[-1].position
                    return facts
                if not self._wait_for_commit(seen, until):
                    break
        return []

    def _wait_for_commit(self, seen: int, until: float | None) -> bool:
        """Return True when something was committed; False when time is up or the subscription closed."""
        while until is None or monotonic() < until:
            pause = self._poll_seconds if until is None else min(self._poll_seconds, until - monotonic())
            if self._closed.wait(max(pause, 0)):
                return False
            if self._data_version() != seen:
                return True
        return False

    def _data_version(self) -> int:
        with named_errors(self._path):
            row: tuple[int] = self._connection.execute("PRAGMA data_version").fetchone()
            return row[0]
