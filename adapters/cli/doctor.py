"""`keyturn doctor`: can everything do its work, and do log, stores and targets agree; changes nothing.

Rule 1: a look costs a wrong login only where there is drift already.
Rule 2: everything is looked at, whatever else is wrong; the exit code is that of the worst.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import click
from msgspec.structs import replace

from adapters.cli.driving import worst
from adapters.cli.outcome import exit_code
from adapters.cli.shared import shared_options
from adapters.quick_status import LOG_FILE
from adapters.registry import BrokenAdapter, MissingDriver
from engine.credential import Credential
from engine.errors import ExitCode, PortError, StrategyImpossible
from engine.leaving import in_words, is_half_way, ways_out
from engine.machine import State
from engine.ports import Checkable, Finding, Probe, Severity
from engine.rotation import Rotation
from engine.values import CURRENT, Form
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.composition import Installation
    from adapters.config.model import Service

Weighed = tuple[Finding, ExitCode]
"""A finding, and the exit code that it stands for when it fails."""

_READY: Final = ExitCode.LOGIN_REFUSED
_AGREE: Final = ExitCode.PERSON_NEEDED


@click.command()
@shared_options
@click.pass_obj
def doctor(session: Session) -> ExitCode:
    """Check stores, targets, log and state, and look for drift; changes nothing.

    Drift is where the log, the store and the target do not agree about the current version.
    """
    console = session.console
    installation = session.installation
    found: list[Weighed] = []
    for finding, code in _findings(installation):
        found.append((finding, code))
        if not console.json:
            _print(session, finding)
    failed = [code for finding, code in found if finding.severity is Severity.FAIL]
    if console.json:
        documents = [
            {"subject": each.subject, "severity": each.severity.value, "message": each.message, "hint": each.hint}
            for each, _ in found
        ]
        console.document("keyturn.doctor/1", {"ok": not failed, "findings": documents})
    return worst(failed)


def _print(session: Session, finding: Finding) -> None:
    session.console.out(f"{finding.severity:<5} {finding.subject}: {finding.message}")
    if finding.hint and finding.severity is not Severity.OK:
        session.console.out(f"      next: {finding.hint}")


def _findings(installation: Installation) -> Iterator[Weighed]:
    yield from ((finding, _AGREE) for finding in _state(installation))
    for name in installation.configuration.stores:
        yield from check(f"store {name}", partial(_store, installation, name))
    for service in installation.configuration.services.values():
        ready = check(f"service {service.name}", partial(_target, installation, service))
        yield from ready
        if _is_fine(ready):
            yield from drift(installation, service)


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


def drift(installation: Installation, service: Service) -> list[Weighed]:
    """Compare what the log, the store and the target say about the current version of a service."""
    subject = f"service {service.name}"
    found: list[Weighed] = []

    def say(severity: Severity, message: str, hint: str = "", code: ExitCode = _AGREE) -> None:
        found.append((Finding(subject, severity, message, hint), code))

    credential = installation.world.credential(service.name, service.environment)
    found += [(replace(each, subject=subject), _AGREE) for each in _rotations(installation, credential)]
    rotation = installation.operations.rotation(credential.open) if credential.open is not None else None
    if credential.current is None:
        say(Severity.OK, "never rotated", "")
        return found
    store, path = installation.binding(service).store, service.credential.key
    current = credential.current.id
    held = check(subject, partial(_held, installation, service, current), code=_AGREE)
    found += held
    value = store.read(path, CURRENT) if _is_fine(held) else None
    if value is None or value.form is not Form.PLAIN:
        return found
    sighting = installation.binding(service).target.probe(value)
    detail = f" ({sighting.detail})" if sighting.detail else ""
    match sighting.probe:
        case Probe.ACCEPTED:
            say(Severity.OK, f"the target accepts {current}, which log and store call current")
        case Probe.REFUSED:
            hint = f"Somebody changed it there: {_way_out(service.name, rotation)}."
            say(Severity.FAIL, f"the target refuses {current}, the current version{detail}", hint)
        case Probe.UNUSABLE:
            say(Severity.FAIL, f"the current secret is right, and the login is refused{detail}", "Look at the login.")
        case Probe.UNKNOWN:
            say(Severity.FAIL, f"the target gives no clear answer{detail}", "Look at the target.", _READY)
    return found


def _rotations(installation: Installation, credential: Credential) -> Iterator[Finding]:
    """Tell which rotation is open, and which one waits."""
    last = installation.operations.rotation(credential.last) if credential.last is not None else None
    if last is not None and credential.open == last.id:
        text = f"rotation {last.id} is {last.state}"
        if last.grace is not None and last.state is State.GRACE:
            text = f"rotation {last.id} is in grace until {to_text(last.grace.wall)}"
            yield Finding("", Severity.OK, text)
        else:
            needed = exit_code(last) is ExitCode.PERSON_NEEDED
            yield Finding("", Severity.FAIL if needed else Severity.WARN, text, in_words(ways_out(last)))
    elif last is not None and is_half_way(last):
        text = f"rotation {last.id} failed, and the target may hold {last.candidate}"
        yield Finding("", Severity.WARN, text, in_words(ways_out(last)))
    if credential.queued is not None:
        text = f"rotation {credential.queued} waits for its turn"
        if credential.open is not None:
            yield Finding("", Severity.OK, text)
        else:
            yield Finding("", Severity.WARN, f"{text}, which has come", f"keyturn resume {credential.queued}")


def _way_out(service: str, rotation: Rotation | None) -> str:
    """Return what a person can do where the target refuses the current version; `rotation` is the open one."""
    if rotation is None:
        return f"keyturn rotate {service} sets a new one"
    if rotation.state is State.GRACE:
        return f"keyturn rollback {service} goes back to the version before"
    if rotation.state is State.RETIRING:
        return f"set it there again (keyturn secret get {service} --reveal shows it), then keyturn resume {rotation.id}"
    return "the open rotation has to end first"


def _held(installation: Installation, service: Service, current: str | None) -> Sequence[Finding]:
    """Compare what the log and the store call current."""
    held = installation.binding(service).store.versions(service.credential.key)
    if held.current == current:
        return []
    message = f"the log calls {current} current, and the store {held.current or 'nothing'}"
    return [
        Finding("drift", Severity.FAIL, message, "keyturn resume, where a rotation is open; else restore the store.")
    ]
