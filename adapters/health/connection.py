"""The check `connection`: fresh logins, with the new version and, as long as it is the way back, with the old one.

Rule: what the target did not answer clearly is unknown; that it is out of reach is a failure of what is looked at.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from engine.adapter import CheckAdapter, CheckContext
from engine.health import CheckResult, Sample, Subject
from engine.ports import Probe, Sighting, Target
from engine.values import CredentialValue, Form, Microseconds


class ConnectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Logging in afresh: an application that holds old sessions does not show that new logins fail."""

    old: bool = True
    """During a rotation, log in with the old version as well: while it is valid, it is the way back."""


class ConnectionCheck:
    """Logs in through the target; the port `HealthCheck`."""

    def __init__(self, name: str, options: ConnectionOptions, target: Target) -> None:
        self.name = name
        self._options = options
        self._target = target

    def look(self, subject: Subject) -> Sample:
        """Log in with what should work, and with what should not where that is asked for."""
        began = time.monotonic_ns()
        result, text = self._looked(subject)
        took = Microseconds((time.monotonic_ns() - began) // 1_000)
        return Sample(result, value=took / 1_000_000, unit="s", duration=took, text=text)

    def _looked(self, subject: Subject) -> tuple[CheckResult, str]:
        if not _is_usable(subject.new):
            return CheckResult.UNKNOWN, "there is no value that could be used to log in"
        assert subject.new is not None
        new = self._target.probe(subject.new)
        if new.probe is not Probe.ACCEPTED:
            return _result(new), f"{subject.new_version}: {_said(new)}"
        if not self._options.old or subject.old_works is None or not _is_usable(subject.old):
            return CheckResult.PASS, f"{subject.new_version} is accepted"
        assert subject.old is not None
        old = self._target.probe(subject.old)
        if subject.old_works:
            if old.probe is Probe.ACCEPTED:
                return CheckResult.PASS, f"{subject.new_version} and {subject.old_version} are accepted"
            return _result(old), f"{subject.old_version}, the way back: {_said(old)}"
        if old.probe is Probe.REFUSED:
            return CheckResult.PASS, f"{subject.new_version} is accepted, {subject.old_version} refused"
        found = CheckResult.UNKNOWN if old.probe is Probe.UNKNOWN else CheckResult.FAIL
        return found, f"{subject.old_version}, which should be refused: {_said(old)}"


def _is_usable(value: CredentialValue | None) -> bool:
    return value is not None and value.secret is not None and value.form is Form.PLAIN


def _result(seen: Sighting) -> CheckResult:
    """A login that got no answer failed for whoever depends on it."""
    return CheckResult.PASS if seen.probe is Probe.ACCEPTED else CheckResult.FAIL


def _said(seen: Sighting) -> str:
    words = {
        Probe.ACCEPTED: "accepted",
        Probe.UNUSABLE: "the secret is right, and the login is refused",
        Probe.REFUSED: "refused",
        Probe.UNKNOWN: "no clear answer",
    }
    return words[seen.probe] + (f" ({seen.detail})" if seen.detail else "")


def _build(options: ConnectionOptions, context: CheckContext) -> ConnectionCheck:
    return ConnectionCheck(context.name, options, context.target)


ADAPTER: Final = CheckAdapter(
    name="connection",
    summary="logs in afresh with the new version, and with the old one while it is the way back",
    options=ConnectionOptions,
    build=_build,
)
