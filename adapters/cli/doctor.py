"""`keyturn doctor`: can everything do its work, and do log, stores and targets agree; with --repair, make them.

Rule 1: a look costs a wrong login only where there is drift already.
Rule 2: everything is looked at, whatever else is wrong; the exit code is that of the worst.
Rule 3: without --repair nothing is changed; what a repair does stands in repair.py.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec.structs import replace

from adapters.cli import channels, instances, lookup
from adapters.cli.driving import worst
from adapters.cli.refusals import BadInput
from adapters.cli.repair import Looked, Mode, document, finding, look, repair
from adapters.cli.shared import changing, shared_options
from adapters.quick_status import LOG_FILE
from adapters.registry import BrokenAdapter, MissingDriver
from engine.errors import ExitCode, PortError, StrategyImpossible
from engine.leaving import in_words, is_half_way, ways_out
from engine.ports import Checkable, Finding, Severity

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.composition import Installation
    from adapters.config.model import Service

Weighed = tuple[Finding, ExitCode]
"""A finding, and the exit code that it stands for when it fails."""

_READY: Final = ExitCode.LOGIN_REFUSED
_AGREE: Final = ExitCode.PERSON_NEEDED


@click.command()
@click.argument("services", nargs=-1, metavar="[SERVICE]...")
@click.option("--repair", "repairing", is_flag=True, help="Bring log, stores and target together again.")
@click.option("--yes", "confirmed", is_flag=True, help="Do not ask.")
@changing
@shared_options
@click.pass_obj
def doctor(
    session: Session, *, services: tuple[str, ...], repairing: bool, confirmed: bool, dry_run: bool, reason: str
) -> ExitCode:
    """Check stores, targets, log and state, and look for drift; with --repair, settle it.

    Drift is where the log, the store and the target do not agree about the current version. A repair is made of
    rotations and facts of its own; it asks first on a terminal, and is refused elsewhere without --yes. Without
    --repair nothing is changed.
    """
    if not repairing:
        for name, given in (("--yes", confirmed), ("--dry-run", dry_run), ("--reason", reason)):
            if given:
                raise BadInput(what=name, why="it goes with --repair; without it nothing is changed")
    chosen = lookup.services(session.wiring, services, every=not services)
    report = _Report(session)
    installation = session.installation
    for each in _state(installation):
        report.add((each, _AGREE))
    for name in installation.configuration.stores:
        report.extend(check(f"store {name}", partial(_store, installation, name)))
    for each in channels.findings(session):
        report.add((each, _AGREE))
    if repairing and not installation.log.verify().ok:
        return report.end()  # What is appended to a broken chain could not be told from what broke it.
    for service in chosen:
        ready = check(f"service {service.name}", partial(_target, installation, service))
        ready += check(f"service {service.name}", partial(_discovered, session, service))
        ready += check(f"service {service.name}", partial(instances.distribution, installation, service))
        report.extend(ready)
        if not _is_fine(ready):
            continue
        looked: list[Looked] = []
        act = partial(look, installation, service, looked)
        report.extend([] if repairing else [(each, _AGREE) for each in _besides(installation, service)])
        if repairing:
            act = partial(repair, session, service, looked, confirmed=confirmed, dry_run=dry_run, reason=reason)
        code = session.reported(partial(report.attempt, f"service {service.name}", act))
        report.conclude(service, looked, code, mode=Mode.of(repairing=repairing, dry_run=dry_run))
    return report.end()


@dataclass(slots=True)
class _Report:
    """What was found so far, printed as it is found."""

    session: Session
    entries: list[dict[str, Any]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def add(self, weighed: Weighed, **more: object) -> None:
        """Take a finding down; `more` is told of it with --json."""
        each, code = weighed
        entry = {"subject": each.subject, "severity": each.severity.value, "message": each.message, "hint": each.hint}
        self.entries.append({**entry, **more})
        if each.severity is Severity.FAIL:
            self.codes.append(code)
        if self.session.console.json:
            return
        self.session.console.out(f"{each.severity:<5} {each.subject}: {each.message}")
        if each.hint and each.severity is not Severity.OK:
            self.session.console.out(f"      next: {each.hint}")

    def extend(self, found: Sequence[Weighed]) -> None:
        """Take findings down."""
        for weighed in found:
            self.add(weighed)

    def attempt(self, subject: str, act: Callable[[], Sequence[Finding]]) -> ExitCode:
        """Do something for a service; where store or target are out of reach, that is a finding."""
        self.extend(check(subject, act))
        return ExitCode.DONE

    def conclude(self, service: Service, looked: Sequence[Looked], code: int, *, mode: Mode) -> None:
        """Take down how a service was seen last; `code` is not 0 where it was refused to go on."""
        before = list(self.codes)
        if looked:
            self.add(finding(service, looked[-1], mode=mode), **document(looked[-1]))
        if code:
            self.codes = [*before, code]

    def end(self) -> ExitCode:
        """Print the document, if that is asked for; return the exit code of the worst."""
        if self.session.console.json:
            self.session.console.document("keyturn.doctor/1", {"ok": not self.codes, "findings": self.entries})
        return worst(self.codes)


def check(subject: str, look: Callable[[], Sequence[Finding]], *, code: ExitCode = _READY) -> list[Weighed]:
    """Return what a look finds, weighed by `code`; where it is not possible at all, that is the finding."""
    try:
        return [(replace(each, subject=f"{subject}, {each.subject}"), code) for each in look()]
    except (PortError, MissingDriver, BrokenAdapter, StrategyImpossible) as error:
        return [(Finding(subject, Severity.FAIL, error.message, error.advice), _READY)]


def _is_fine(findings: Sequence[Weighed]) -> bool:
    return all(finding.severity is not Severity.FAIL for finding, _ in findings)


def _state(installation: Installation) -> Iterator[Finding]:
    """Look at the state folder, the log and the clock."""
    folder = installation.state
    for path in (folder, *sorted(folder.glob("*.db")), *sorted(folder.glob("*.key"))):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            hint = f"chmod {'700' if path.is_dir() else '600'} {path}"
            yield Finding("state", Severity.WARN, f"others may use {path} (mode {mode:04o})", hint)
    verdict = installation.log.verify()
    if verdict.ok:
        yield Finding("log", Severity.OK, f"{verdict.events} events in {folder / LOG_FILE}, all as they were written")
    else:
        message = f"event #{verdict.first_bad_position} is {verdict.reason}"
        yield Finding("log", Severity.FAIL, message, "keyturn audit verify; put the log back from a backup.")
    last = installation.log.after(max(installation.log.head() - 1, 0), limit=1)
    if last and last[0].fact.at > installation.world.clock.now().wall:
        hint = "Set the clock: what has a deadline waits for it."
        yield Finding("clock", Severity.WARN, "the last event of the log is in the future", hint)


def _store(installation: Installation, name: str) -> Sequence[Finding]:
    store = installation.wiring.store(name)
    if isinstance(store, Checkable):
        return store.check()
    return [Finding("store", Severity.OK, "it is configured; it cannot be looked at")]


def _target(installation: Installation, service: Service) -> Sequence[Finding]:
    installation.plan(service)
    target = installation.binding(service).target
    if isinstance(target, Checkable):
        return target.check()
    return [Finding("target", Severity.OK, "it is configured; it cannot be looked at")]


def _discovered(session: Session, service: Service) -> Sequence[Finding]:
    return list(instances.findings(session.installation, session, service))


def _besides(installation: Installation, service: Service) -> Iterator[Finding]:
    """Tell of a rotation that failed where something may still be to be taken back, and of one that waits."""
    subject = f"service {service.name}"
    credential = installation.world.credential(service.name, service.environment)
    last = installation.operations.rotation(credential.last) if credential.last is not None else None
    if last is not None and credential.open is None and is_half_way(last):
        text = f"rotation {last.id} failed, and the target may hold {last.candidate}"
        yield Finding(subject, Severity.WARN, text, in_words(ways_out(last)))
    if credential.queued is not None and credential.open is not None:
        yield Finding(subject, Severity.OK, f"rotation {credential.queued} waits for its turn")
    elif credential.queued is not None:
        text = f"rotation {credential.queued} waits for its turn, which has come"
        yield Finding(subject, Severity.WARN, text, f"keyturn resume {credential.queued}")
