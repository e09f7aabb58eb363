"""`keyturn serve`: the daemon that begins what is due, drives what is open, tells people, and shows metrics.

Rule: it does what the commands do, through the same operations; whatever it was doing when it ends stands in the log.
"""

from __future__ import annotations

import signal
from functools import partial
from threading import Event, Thread
from typing import TYPE_CHECKING, Final
from uuid import UUID

import click

from adapters.cli import conflicts, lookup
from adapters.cli.driving import Patience
from adapters.cli.ready import require_ready
from adapters.cli.shared import shared_options
from adapters.cli.starting import Asked, start
from adapters.cli.views import follow, open_views
from adapters.event_store.sqlite import SqliteEventLog
from adapters.quick_status import LOG_FILE
from adapters.schedule import due_at, opens_at
from adapters.serve.daemon import Daemon, Task
from adapters.serve.http import LOCAL, Endpoint, parse_address
from adapters.system import SystemClock
from engine.credential import Credential
from engine.errors import ExitCode, InGrace, KeyturnError, OwnedElsewhere, RotationOpen
from engine.leaving import is_half_way
from engine.machine import ENDED, State, rests
from engine.policies import is_inconclusive, is_stuck
from engine.process import Wait, next_effect
from engine.rotation import Rotation
from engine.values import SECOND, Instant, Microseconds
from projections.feed import catch_up
from projections.status import CREDENTIALS, STATUS, entry, identity
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service

_BUSY_ELSEWHERE: Final = Microseconds(5 * SECOND)
_STUCK: Final = Microseconds(300 * SECOND)
"""How soon something is tried again that a person should see to."""
_AFTER_FAILURE: Final = Microseconds(3_600 * SECOND)
"""How long a service is left alone after a rotation that failed or went back by itself."""
_REASON: Final = "due"


@click.command()
@click.option("--listen", default="", metavar="HOST:PORT", help="Where /metrics and /healthz are; 127.0.0.1:9090.")
@click.option("--workers", type=click.IntRange(1, 64), default=8, show_default=True, help="Rotations at work at once.")
@shared_options
@click.pass_obj
def serve(session: Session, *, listen: str, workers: int) -> ExitCode:
    """Run until stopped: begin rotations that are due, drive open ones, watch their health, and tell people.

    SIGTERM or Ctrl-C ends it when what is being done has come to its next record; started again, it goes on from
    there. Any number of them may run on one state: each rotation is driven by one.
    """
    shown = session.configuration.metrics.prometheus
    address = parse_address(listen) if listen else (LOCAL, shown.port)
    unfinished = [rotation.id for rotation in lookup.unfinished(session)]
    position = session.log.head()
    session.start_notifying()
    daemon = Daemon(
        session.log,
        SystemClock(),
        lambda: Worker(session.twin()),
        workers=workers,
        services=[(service.name, service.environment) for service in session.configuration.services.values()],
        told=lambda task, error: _tell(session, task, error),
        observe=session.observe,
    )
    ended = Event()
    endpoint = Endpoint(
        address,
        metrics=partial(_metrics, session) if shown.enabled else None,
        ticked=lambda: daemon.ticked,
        now=lambda: SystemClock().now().wall,
        late=daemon.late.percentile,
        path=shown.path,
    )
    views = Thread(target=_follow_views, args=(session, ended), name="views", daemon=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: Thread(target=daemon.stop).start())
    with endpoint.serving() as at:
        session.console.say(f"serving {len(session.configuration.services)} services; http://{at}{shown.path}")
        views.start()
        daemon.run(unfinished, position=position)
    ended.set()
    views.join()
    session.console.say("stopped; keyturn serve goes on from here")
    return ExitCode.DONE


def _metrics(session: Session, accept: str) -> tuple[bytes, str]:
    """Return the metrics as of now: each request has the log and the views open for itself."""
    from adapters.metrics import MetricsCollector, exposition

    log = SqliteEventLog(session.state / LOG_FILE, must_exist=True)
    with log, open_views(session) as views:
        collector = MetricsCollector(
            log,
            views,
            session.configuration,
            session.outlets,
            lambda: SystemClock().now().wall,
        )
        return exposition(collector, accept=accept)


def _tell(session: Session, task: Task, error: Exception) -> None:
    if not isinstance(error, KeyturnError):
        session.console.bug(error, advice=f"keyturn serve goes on; {task} is tried again.")
        return
    session.console.say(f"{to_text(SystemClock().now().wall)} {task}: {error.message} {error.advice}".rstrip())


def _follow_views(session: Session, ended: Event) -> None:
    """Bring the views up to the log every second, so that other commands find them there."""
    while not ended.wait(1.0):
        session.reported(lambda: _followed(session))


def _followed(session: Session) -> ExitCode:
    follow(session)
    return ExitCode.DONE


class Worker:
    """What one thread of the daemon works with: a session, and so an installation, of its own."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def advance(self, rotation_id: UUID) -> Instant | None:
        """Drive a rotation as far as it goes now; return when there is more to do."""
        installation = self._session.installation
        clock = installation.world.clock
        rotation = installation.operations.rotation(rotation_id)
        if rotation.state is State.WAITING:
            return self._take_turn(rotation)
        if rests(rotation.state) or rotation.state in ENDED:
            return None
        before = rotation.state
        try:
            if not isinstance(next_effect(rotation, clock.now()), Wait):
                require_ready(installation, rotation.service, rotation.environment, rotation.plan)
                rotation = installation.runner.drive(rotation_id, enough=_needs_a_rest)
        except OwnedElsewhere:
            return Instant(clock.now().wall + _BUSY_ELSEWHERE)
        if rotation.state is not before:
            self._say(rotation)
        if _needs_a_rest(rotation):
            pause = rotation.plan.monitoring_interval if is_inconclusive(rotation) else _STUCK
            return Instant(clock.now().wall + pause)
        due = next_effect(rotation, clock.now())
        return due.until if isinstance(due, Wait) else None if due is None else clock.now().wall

    def begin(self, service: str) -> Instant | None:
        """Begin a rotation of a service if it is due; return when to look again."""
        installation = self._session.installation
        found, now = installation.service(service), installation.world.clock.now().wall
        credential = installation.world.credential(found.name, found.environment)
        if credential.open is not None:
            return None  # when that is over, it is looked again
        rests_until = self._rests_until(credential)
        if rests_until is None:
            return None  # a person decides what comes of the last one
        last, since = self._last_rotated(found), min(self._session.known_since, now)
        due = due_at(found.timetable, last_rotated_at=last, since=since)
        at = None if due is None else opens_at(found.timetable, Instant(max(due, now, rests_until)))
        if at is None or at > now:
            return at
        self._session.where = f"service {found.name} ({found.environment})"
        try:
            rotation_id = start(self._session, Asked(found, Patience(), _REASON))
        except (RotationOpen, InGrace):
            return None
        self._say(installation.operations.rotation(rotation_id))
        return None

    def _rests_until(self, credential: Credential) -> Instant | None:
        """Return until when a service is left alone since its last rotation came to nothing; None: until a person acts.

        What failed a minute ago fails again, and each time costs logins and calls people.
        """
        last = None if credential.last is None else self._session.installation.operations.rotation(credential.last)
        if last is None or last.state not in (State.FAILED, State.ROLLED_BACK) or last.ended_at is None:
            return Instant(0)
        return None if is_half_way(last) else Instant(last.ended_at + _AFTER_FAILURE)

    def _take_turn(self, rotation: Rotation) -> Instant | None:
        """Begin a rotation that waited, if its turn has come; else its turn is told by the end of the other."""
        operations = self._session.installation.operations
        if operations.open_rotation(rotation.service, rotation.environment) is not None:
            return Instant(self._session.installation.world.clock.now().wall + _BUSY_ELSEWHERE)
        conflicts.resume(self._session, rotation, Patience(timeout=Microseconds(0)))
        return self._session.installation.world.clock.now().wall

    def _last_rotated(self, service: Service) -> Instant | None:
        with open_views(self._session) as views:
            catch_up(STATUS, self._session.log, views)
            with views.reading(STATUS) as rows:
                row = rows.get(CREDENTIALS, identity(service.name, service.environment).bytes)
        at = None if row is None else entry(row)["last_rotated_at"]
        return None if at is None else Instant(at)

    def _say(self, rotation: Rotation) -> None:
        at = to_text(self._session.installation.world.clock.now().wall)
        self._session.console.say(
            f"{at} {rotation.service} ({rotation.environment}): rotation {rotation.id} {rotation.state}"
        )


def _needs_a_rest(rotation: Rotation) -> bool:
    return is_stuck(rotation) or is_inconclusive(rotation)
