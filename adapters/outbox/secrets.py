"""The secrets that must not leave in a message: what the stores hold of a service, and what it refers to.

Rule: what cannot be read now is passed over: a message that tells of a store which is gone must not wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from adapters.config.build import Wiring
from adapters.config.model import references
from adapters.outbox.gate import Known
from engine.errors import PortError
from engine.values import CURRENT, PENDING, PREVIOUS, Form, Secret

_NO_SECRETS: Final = ("username",)
"""What is given as a reference and stands in messages by right: an address that is a login as well."""


class Secrets:
    """Looks up secrets, each time anew: what is live changes while messages are on their way."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def known(self, service: str) -> Known:
        """Return what yields the secrets of a service: every value of it that the store holds, and its own logins.

        Every one: the value of a rotation that failed has no label any more, and may still be accepted somewhere.
        """
        return lambda: self._of(service) if service in self._wiring.configuration.services else iter(())

    def _of(self, name: str) -> Iterator[tuple[str, Secret]]:
        service = self._wiring.service(name)
        called = f"of {name} ({service.environment})"
        with suppress(PortError):
            store = self._wiring.store(service.credential.store)
            holdings = store.versions(service.credential.key)
            labels = {holdings.current: CURRENT, holdings.pending: PENDING, holdings.previous: PREVIOUS}
            for version in holdings.versions:
                with suppress(PortError):
                    value = store.read(service.credential.key, version)
                    if value is not None and value.secret is not None and value.form is Form.PLAIN:
                        yield f"the {labels.get(version, 'former')} value {called}", value.secret
        for options, path in (
            (service.options, ("services", name)),
            *((channel.options, channel.path) for channel in service.channels),
        ):
            read = self._wiring.reader(options, path)
            for where, reference in references(options, path):
                if where[-1] in _NO_SECRETS or reference.field in _NO_SECRETS:
                    continue
                with suppress(PortError):
                    yield f"{reference} {called}", read(reference)
