"""Telling an instance over HTTP which version to use, and asking it for its report.

Rule 1: an instance is told where to read the version; the value itself goes along only where that is asked for, and
over TLS.
Rule 2: what is sent has an id of its own each time: a version that was handed out before is news when it comes back.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Final

import msgspec

from adapters import signing
from adapters.distributors import asking
from adapters.distributors.reports import Wanted
from adapters.http_auth import Auth
from engine.adapter import DistributorAdapter, DistributorContext, Reference
from engine.errors import Rejected, Uncertain
from engine.instances import Instance, Proof, Usage
from engine.values import SECOND, CredentialValue, Form, Instant, Microseconds

if TYPE_CHECKING:
    from adapters.distributors.asking import Line

_MOMENT_SECONDS: Final = 2.0
"""How long a report is asked for after an instance was told: many need less, and whoever told it looks again later."""
_ACCEPTED: Final = 202
"""Taken, and not yet acted on (RFC 9110, 15.3.3)."""


class HttpOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A signed request to each instance, which then shows the version in its report."""

    path: str = "/keyturn/version"
    """Where an instance is told, behind its endpoint."""
    report_path: str = "/keyturn/report"
    """Where an instance reports the version that it uses, behind its endpoint."""
    proof: Wanted = "fingerprint"
    """`fingerprint`: an HMAC of the password with a fresh challenge. `version`: that the instance says so is enough."""
    send_value: bool = False
    """Send user name and password along, to https alone. Otherwise an instance reads them from the store itself."""
    signing_secret: Reference | None = None
    """Signs each message (Standard Webhooks): `whsec_` and the base64 of 24 to 64 bytes."""
    previous_signing_secret: Reference | None = None
    """While the signing secret is replaced: messages have a signature of each, the one of `signing_secret` first."""
    auth: Auth | None = None
    """How keyturn shows an instance who it is, for both paths; all secrets are references."""
    allow_http: bool = False
    """Also talk in the clear, without TLS."""
    allow_private: tuple[str, ...] = ()
    """Networks inside of the own one that endpoints may be in, such as 10.0.0.0/8; else only public addresses."""
    ca_file: str = ""
    """Certificates (PEM) that are trusted in place of the public ones; relative to the folder of the configuration."""

    def __post_init__(self) -> None:
        asking.refuse(asking.problems(self, path=self.path, report_path=self.report_path))
        if self.signing_secret is None and self.auth is None:
            raise ValueError("`signing_secret` or `auth` is expected: an instance must know who tells it")
        if self.previous_signing_secret is not None and self.signing_secret is None:
            raise ValueError("`previous_signing_secret` is for replacing a `signing_secret`, which is missing")
        if self.send_value and self.allow_http:
            raise ValueError("`send_value` goes over TLS alone, which `allow_http` gives up")


class HttpDistributor:
    """Instances that are told over HTTP; the port `Distributor`."""

    def __init__(self, options: HttpOptions, context: DistributorContext, line: Line) -> None:
        self._options = options
        self._context = context
        self._line = line

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Tell the instance, and wait a moment until its report shows the version.

        That it is not shown in time is `Uncertain` where the instance answered 202, since it may still act on it.
        """
        what = f"handing version {version} to {instance.id}"
        url = self._line.url(instance, self._options.path, what=what)
        content = self._content(instance, value, version, what=what)
        headers = self._headers(content, what=what)
        time_left = min(asking.time_left(deadline, what=what), self._context.timeout)
        end = time.monotonic() + time_left / SECOND
        answer = self._line.ask("POST", url, what=what, timeout=time_left, content=content, headers=headers)
        refused = asking.refusal(answer, what=what)
        if refused is not None:
            raise refused
        until = min(end, time.monotonic() + _MOMENT_SECONDS)
        seen = asking.wait_for(lambda left: self._look(instance, value, version, left), until=until)
        if answer.status == _ACCEPTED and seen.usage is not Usage.USED:
            raise Uncertain(what=what, why="it took the version for later, and has not shown in time that it uses it")

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Ask the instance for its report."""
        return self._look(instance, value, version, self._context.timeout)

    def _look(self, instance: Instance, value: CredentialValue, version: str, timeout: Microseconds) -> Proof:
        options = self._options
        return self._line.look(
            instance, value, path=options.report_path, version=version, wanted=options.proof, timeout=timeout
        )

    def _content(self, instance: Instance, value: CredentialValue, version: str, *, what: str) -> bytes:
        told = {
            "type": "credential.version",
            "service": self._context.service,
            "environment": self._context.environment,
            "instance": instance.id,
            "version": version,
            "store": self._context.credential_store,
            "key": self._context.credential_path,
        }
        if self._options.send_value:
            if value.secret is None or value.form is not Form.PLAIN:
                raise Rejected(what=what, why="the password of the version is not known, so it cannot be sent")
            told |= {"username": value.username, "password": value.revealed()}
        return json.dumps(told).encode()

    def _headers(self, content: bytes, *, what: str) -> dict[str, str]:
        identifier, moment = f"kt_{secrets.token_hex(16)}", int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": identifier,
            "webhook-timestamp": str(moment),
        }
        references = (self._options.signing_secret, self._options.previous_signing_secret)
        keys = [signing.key_of(self._context.secret(each), what=what) for each in references if each]
        if keys:
            headers["webhook-signature"] = signing.signatures(
                keys, identifier=identifier, timestamp=moment, content=content
            )
        return headers


def _build(options: HttpOptions, context: DistributorContext) -> HttpDistributor:
    return HttpDistributor(options, context, asking.line(options, context))


ADAPTER: Final = DistributorAdapter(
    name="http",
    summary="a signed request to each instance, which reports what it uses",
    options=HttpOptions,
    build=_build,
)
