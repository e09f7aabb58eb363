"""What a process of its own does to views, for the tests of them; no tests here.

`python -m tests.integration.views_process MODE FOLDER` says `ready`, waits for a line on stdin, so that many
begin at once, then folds the log of the folder and prints how far it got.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE, VIEWS_FILE
from adapters.views import SqlitePage, SqliteViews
from projections.feed import Projection, Tracking, catch_up
from projections.history import HISTORY
from projections.status import STATUS

BATCH = 10
DIES_AT = 100
"""The position at which a dying process is gone: rows written, tracking not."""


class _DyingPage(SqlitePage):
    def track(self, tracking: Tracking) -> None:
        if tracking.position >= DIES_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        super().track(tracking)


class _DyingViews(SqliteViews):
    @contextmanager
    def writing(self, projection: Projection) -> Iterator[SqlitePage]:
        with super().writing(projection) as page:
            yield _DyingPage(self._connection, projection, page.tracking)


def main(mode: str, folder: str) -> None:
    """Fold both views: to the head, or until the process dies."""
    print("ready", flush=True)
    sys.stdin.readline()
    kind = _DyingViews if mode == "die" else SqliteViews
    with SqliteEventLog(Path(folder, LOG_FILE), must_exist=True) as log, kind(Path(folder, VIEWS_FILE)) as views:
        for projection in (STATUS, HISTORY):
            print(catch_up(projection, log, views, batch=BATCH), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
