"""Logging in: the new version is accepted, and the old one is what the rotation needs it to be.

Rule 1: every login is a fresh one, made by the service's own target; a session that is open proves nothing.
Rule 2: a login that is expected to be refused costs a wrong try. It is made only where the subject asks for it, never
again once it was refused, and no refused login is repeated sooner than the target's login budget can bear.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from adapters.health.catalog import CONNECTION, declare
from adapters.health.looking import Check, Failed, Unseen, plain
from engine.adapter import CheckContext
from engine.health import CheckResult, Sample, Subject
from engine.ports import Probe, Sighting, Target
from engine.values import SECOND, CredentialValue

_SHARE: Final = 2
"""A check takes one of so many parts of a login budget; the others are for the rotation itself."""


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `type: connection`."""

    old_version: bool = True
    """Look at the old version as well: accepted while it is the way back, refused once it is retired."""


class _Logins:
    """Fresh logins of one service, none of them repeated after a refusal sooner than the login budget can bear."""

    def __init__(self, target: Target, now: Callable[[], float]) -> None:
        self._target = target
        self._now = now
        self._refused: dict[str, tuple[str, float, Sighting]] = {}

    def probe(self, place: str, version: str, value: CredentialValue) -> Sighting:
        """Return what a login shows; the last refusal of this version where another try would come too soon."""
        budget = self._target.capabilities.login_budget
        refused, at, last = self._refused.get(place, ("", 0.0, None))
        if budget is not None and last is not None and refused == version:
            pause = _SHARE * len(self._refused) * budget.window / budget.tries / SECOND
            if self._now() < at + pause:
                return last
        seen = self._target.probe(value)
        if seen.probe is Probe.REFUSED:
            self._refused[place] = version, self._now(), seen
        else:
            self._refused.pop(place, None)
        return seen


class _Connection:
    """What one service's logins are looked at with."""

    def __init__(self, options: ConnectionOptions, context: CheckContext, now: Callable[[], float]) -> None:
        self._options = options
        self._context = context
        self._logins = _Logins(context.target, now)
        self._gone = ""
        """The old version that was seen refused; a retired value does not come back by itself."""

    def see(self, subject: Subject) -> Sample:
        plain(subject.new)
        assert subject.new is not None, "`plain` refuses a subject without a new version"
        self._judge_new(self._logins.probe("new", subject.new_version, subject.new))
        told = "the new version is accepted"
        if not self._options.old_version or subject.old is None or subject.old_works is None:
            return Sample(CheckResult.PASS, text=told)
        if subject.old_works:
            self._judge_way_back(subject, subject.old)
            return Sample(CheckResult.PASS, text=f"{told}, the old one too")
        return self._judge_retired(subject, subject.old, told)

    def _judge_new(self, seen: Sighting) -> None:
        match seen.probe:
            case Probe.ACCEPTED:
                return
            case Probe.UNKNOWN:
                self._unknown("the new version", seen)
            case Probe.REFUSED | Probe.UNUSABLE:
                raise Failed(f"the new version is {seen.probe}{_detail(seen)}")

    def _judge_way_back(self, subject: Subject, old: CredentialValue) -> None:
        plain(old)
        seen = self._logins.probe("old", subject.old_version, old)
        if seen.probe is Probe.UNKNOWN:
            self._unknown("the old version", seen)
        if seen.probe is not Probe.ACCEPTED:
            raise Failed(f"the old version is {seen.probe}, so there is no way back{_detail(seen)}")

    def _judge_retired(self, subject: Subject, old: CredentialValue, told: str) -> Sample:
        if self._gone == subject.old_version:
            return Sample(CheckResult.PASS, text=f"{told}, the old one was refused at an earlier look")
        plain(old)
        seen = self._logins.probe("old", subject.old_version, old)
        match seen.probe:
            case Probe.UNKNOWN:
                self._unknown("the old version", seen)
            case Probe.ACCEPTED:
                raise Failed("the old version is still accepted, although it was retired")
            case Probe.UNUSABLE:
                text = f"the secret of the old version is still right, although its login is refused{_detail(seen)}"
                return Sample(CheckResult.WARN, text=text)
            case Probe.REFUSED:
                self._gone = subject.old_version
        return Sample(CheckResult.PASS, text=f"{told}, the old one is refused")

    def _unknown(self, version: str, seen: Sighting) -> NoReturn:
        """Tell a service that nobody can reach from a login that says nothing."""
        refusals = [text for text in map(_no_connection, addresses(self._context.service_options)) if text]
        if refusals:
            raise Failed(refusals[0])
        raise Unseen(f"nothing is known of {version}{_detail(seen)}")


def addresses(options: msgspec.Struct) -> list[tuple[str, int]]:
    """Return where a service is, as its own options tell: hosts and ports; nothing where they tell none."""
    servers = getattr(options, "servers", None)
    if callable(servers):
        return [(server.host, server.port) for server in servers()]
    host, port = getattr(options, "host", ""), getattr(options, "port", 0)
    return [(host, port)] if host and port else []


def _no_connection(address: tuple[str, int]) -> str:
    try:
        socket.create_connection(address, timeout=1).close()
    except TimeoutError:
        return ""
    except OSError as error:
        return f"no connection to {address[0]}:{address[1]}: {error.strerror or 'it is not known'}"
    return ""


def _detail(seen: Sighting) -> str:
    return f": {seen.detail}" if seen.detail else ""


def build(options: ConnectionOptions, context: CheckContext, now: Callable[[], float] = time.monotonic) -> Check:
    """Return the check; `now` is in seconds and never goes back."""
    return Check(context.name, _Connection(options, context, now).see, timeout=context.timeout)


ADAPTER: Final = declare(CONNECTION, ConnectionOptions, build)
