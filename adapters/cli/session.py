"""What one call of the program works with: the options that all commands share, and what is made of them on demand.

Rule: nothing of weight is imported before it is needed; `keyturn --help` pays for click alone.
"""

from __future__ import annotations

import os

from adapters.cli.console import Console

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from adapters.composition import Installation, Wrap
    from adapters.config.build import Wiring
    from adapters.config.model import Channel, Configuration
    from adapters.event_store.sqlite import SqliteEventLog
    from adapters.outbox.dispatcher import Dispatcher
    from adapters.outbox.outlets import Outlet
    from adapters.registry import MissingDriver
    from engine.errors import ExitCode, KeyturnError
    from engine.facts import Recorded
    from engine.values import Instant


class Session:
    """The shared options of one call, and the configuration and installation that they lead to."""

    def __init__(self, reported: Callable[[Callable[[], ExitCode]], int], *, wrap: Wrap | None = None) -> None:
        self.console = Console()
        self.given_config: str | None = None
        self.given_state: str | None = None
        self.given_actor: str | None = None
        self.where = ""
        """What is being worked on, for the second line of an error."""
        self.on_interrupt = ""
        """What to run when this is interrupted; empty while there is nothing to resume."""
        self.reported = reported
        """Run something, and report an error of it as the program would; returns the exit code either way."""
        self._wrap = wrap
        self.has_appended = False
        """This call added to the log, so that the views have to follow."""
        self._log: SqliteEventLog | None = None
        self._configuration: Configuration | None = None
        self.config_mark: tuple[str, int, int] | None = None
        """The configuration file as it was when it was read: name, time of change, size."""
        self._installation: Installation | None = None
        self._dispatcher: Dispatcher | None = None
        self._outlets: Mapping[str, Outlet] | None = None
        self._has_twin = False
        """Another session, of another thread, sends the notifications."""

    @property
    def given_config_path(self) -> str:
        """The configuration file as it was given: --config, KEYTURN_CONFIG, or keyturn.yaml here."""
        return self.given_config or os.environ.get("KEYTURN_CONFIG") or "keyturn.yaml"

    @property
    def config_path(self) -> Path:
        """The configuration file."""
        from pathlib import Path

        return Path(self.given_config_path)

    @property
    def configuration(self) -> Configuration:
        """The configuration, read once; raises `ConfigInvalid`."""
        if self._configuration is None:
            from contextlib import suppress

            from adapters.config.load import load
            from adapters.quick_status import stamp

            # Taken before the file is read: what is remembered of it must not pass for a later one.
            with suppress(OSError):
                self.config_mark = stamp(str(self.config_path))
            self._configuration = load(self.config_path)
        return self._configuration

    @property
    def known_since(self) -> Instant:
        """When the services came to be what they are now: the last change of the configuration file.

        From then on a service that was never rotated has its `schedule`. Unlike the time of a question it stays the
        same, so that what was due at one time is due still at the next.
        """
        from engine.values import Instant

        assert self.configuration is not None
        return Instant(0 if self.config_mark is None else self.config_mark[1] // 1_000)

    @property
    def state(self) -> Path:
        """The state folder: --state, KEYTURN_STATE, the configuration's, or the user's data folder."""
        from adapters.state import default_folder, given_folder

        # A state that is given needs no configuration, so that a log can be read without it.
        return given_folder(self.given_state) or self.configuration.state or default_folder()

    @property
    def wiring(self) -> Wiring:
        """The stores and targets of the configuration, without the log; nothing is built yet."""
        from adapters.config.build import Wiring

        return Wiring(self.configuration, self.state)

    @property
    def actor(self) -> str:
        """Who acts: --actor, or the login name."""
        if self.given_actor:
            return self.given_actor
        from adapters.system import login_name

        return login_name()

    @property
    def installation(self) -> Installation:
        """The installation, put together once; raises what `compose` raises."""
        if self._installation is None:
            from adapters.composition import compose, unwrapped
            from adapters.system import harden
            from projections.times import to_text

            harden()
            self._installation = compose(
                self.configuration,
                self.state,
                actor=self.actor,
                spell=to_text,
                wrap=self._wrap or unwrapped,
                before_append=self.start_notifying if self._has_channels else None,
                log=self._log,
            )
            self._installation.observers.append(self._note)
        return self._installation

    @property
    def outlets(self) -> Mapping[str, Outlet]:
        """The channels of the configuration, by id; nothing is opened yet."""
        if self._outlets is None:
            from adapters.outbox.outlets import outlets

            self._outlets = outlets(self.wiring)
        return self._outlets

    def usable_outlets(self, lacking: Callable[[Channel, MissingDriver], None]) -> Mapping[str, Outlet]:
        """The channels that can be used; `lacking` is told of those whose driver is not installed."""
        from adapters.outbox.outlets import outlets

        return outlets(self.wiring, lacking=lacking)

    @property
    def _has_channels(self) -> bool:
        if self._has_twin:
            return False
        return any(service.channels for service in self.configuration.services.values())

    def start_notifying(self) -> None:
        """Have notifications sent beside the work; what is new in the configuration is told from now on."""
        from adapters.outbox.dispatcher import Dispatcher, open_channels
        from engine.errors import KeyturnError

        if self._dispatcher is not None or not self._has_channels:
            return
        services = self.configuration.services.values()
        self.has_appended = True
        try:
            open_channels(self.log, [each.id for service in services for each in service.channels], self.actor)
            self._record_overdue()
            usable = self.usable_outlets(lambda _, error: self._tell_trouble(error))
        except KeyturnError as error:
            self._tell_trouble(error)  # what is about to be done goes on
            return
        lease, trouble, bug = self.configuration.lease, self._tell_trouble, self._tell_bug
        self._dispatcher = Dispatcher(self.state, self.wiring, usable, self.actor, lease, trouble, bug)
        self._dispatcher.start()
        self.installation.observers.append(self._dispatcher.observe)

    def observe(self, recorded: Sequence[Recorded]) -> None:
        """Have notifications of facts sent that another process or thread appended."""
        if self._dispatcher is not None:
            self._dispatcher.observe(recorded)

    def _record_overdue(self) -> None:
        """Record which credentials should have been rotated a while ago."""
        from adapters.cli.views import open_views
        from adapters.outbox.due import overdue, record
        from adapters.system import SystemClock
        from projections.feed import catch_up
        from projections.status import STATUS, documents

        services = [each for each in self.configuration.services.values() if each.channels]
        if not services:
            return
        now = SystemClock().now().wall
        with open_views(self) as views:
            catch_up(STATUS, self.log, views)
            with views.reading(STATUS) as rows:
                found = overdue(services, documents(rows), now)
        record(self.log, found, actor=self.actor, at=now)

    def _tell_trouble(self, error: KeyturnError) -> None:
        self.console.say(f"keyturn: notifications are not sent now: {error.message}")

    def _tell_bug(self, error: Exception) -> None:
        self.console.bug(error, advice="")

    def finish_notifying(self) -> None:
        """Wait a little for notifications that are on their way; what is left is sent by the next command."""
        dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None and not dispatcher.flush():
            self.console.say("keyturn: notifications are still on their way: keyturn notify outbox")

    def twin(self) -> Session:
        """Return a session of the same options for another thread; notifications stay with this one.

        Both append through one log, so that what they append at the same time is synced once.
        """
        other = Session(self.reported, wrap=self._wrap)
        other.console = self.console
        for name in ("given_config", "given_state", "given_actor"):
            setattr(other, name, getattr(self, name))
        other._configuration, other.config_mark, other._has_twin = self.configuration, self.config_mark, True
        other._log = self.log
        return other

    @property
    def log(self) -> SqliteEventLog:
        """The event log, for reading, without the rest of the installation; raises `NoLog` where there is none."""
        if self._installation is not None:
            return self._installation.log
        if self._log is None:
            from adapters.event_store.sqlite import SqliteEventLog
            from adapters.quick_status import LOG_FILE

            self._log = SqliteEventLog(self.state / LOG_FILE, must_exist=True)
        return self._log

    def follow(self) -> int:
        """Bring the views up to the log, if this call appended to it; raises what a broken view raises.

        Notifications are given a few seconds before, since what became of them is in the log as well.
        """
        self.finish_notifying()
        if self.has_appended:
            from adapters.cli.views import follow

            follow(self)
        return 0

    def _note(self, recorded: Sequence[Recorded]) -> None:
        self.has_appended = True
