"""The event log in an SQLite file: the log of an installation.

Rule: what is appended was synced to the disk when `append` returns; what was refused changed nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Self, cast

from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.utils import Environment

from adapters.event_store.application import FactApplication
from adapters.event_store.recorder import LogFactory, SqliteChainedRecorder
from adapters.event_store.schema import create
from adapters.event_store.subscription import Subscription
from engine.chain import Anchor, Verdict

BUSY_SECONDS_MAX: Final = 10.0
"""How long one process waits for another to finish its append, which takes milliseconds."""

POLL_SECONDS: Final = 0.05
"""A subscription that looks this often costs 0.3 % of one core while nothing happens."""


class SqliteEventLog(FactApplication):
    """The `EventLog` port on a file, for any number of processes and threads at once.

    Every method raises the errors of adapters/event_store/errors.py where the file is not usable.
    """

    recorder: SqliteChainedRecorder

    def __init__(self, path: Path, *, must_exist: bool = False, busy_seconds_max: float = BUSY_SECONDS_MAX) -> None:
        """Open the log at `path`; make it where there is none, unless it `must_exist`."""
        if not must_exist:
            create(path)
        self.path = path
        self._busy_seconds_max = busy_seconds_max
        super().__init__()
        self.head()  # A file that is not usable is told of now, not at the first append.

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the log where there is none, folder (0700) and file (0600) included, and open it."""
        return cls(path)

    def construct_factory(self, env: Environment) -> InfrastructureFactory:
        """Return the factory for this file."""
        # The type of the tracking recorder, which is not used here, sets the two classes apart.
        return cast("InfrastructureFactory", LogFactory(self.path, busy_seconds_max=self._busy_seconds_max))

    def construct_recorder(self) -> SqliteChainedRecorder:
        """Return the recorder on this file."""
        return cast("LogFactory", self.factory).application_recorder()

    def verify(self, *, anchor: Anchor | None = None) -> Verdict:
        """Check the hash chain over the bytes that are stored, then the file under it.

        Raises `LogDamaged` where the chain holds but the file does not: an index that disagrees with the
        table would hide events from a stream.
        """
        verdict = super().verify(anchor=anchor)
        if verdict.ok:
            self.recorder.assert_sound()
        return verdict

    def subscribe(self, after: int, *, poll_seconds: float = POLL_SECONDS) -> Subscription:
        """Return all facts behind position `after`, those to come included, from whatever process they come."""
        return Subscription(self, self.path, after=after, poll_seconds=poll_seconds)
