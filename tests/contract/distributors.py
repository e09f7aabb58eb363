"""What every distributor has to keep; whoever writes one proves it with these.

Subclass `DistributorContract` in a class called `Test…`, and give it the fixtures `distributor`, `instance` (one that
is there, and that proves what it uses), `unreachable` (a distributor of the same kind, and an instance that it cannot
reach) and `prepare`, which is told each version before it is handed out: where consumers read a version from the
store, it puts it there. What is handed out are canaries, which no text may hold.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import pytest

from engine.errors import PortError, Rejected, Unavailable
from engine.instances import Distributor, Instance, Proof, Usage
from engine.values import SECOND, CredentialValue, Form, Instant, Secret

Prepare: TypeAlias = Callable[[str, CredentialValue], None]

OLD = "00000000-0000-4000-8000-00000000000a"
NEW = "00000000-0000-4000-8000-00000000000b"
VALUES = {
    OLD: CredentialValue("app_a", Secret("canary-old-Zx81-pässword\"'<&>")),
    NEW: CredentialValue("app_b", Secret("canary-new-Qm47-passwörd\\n%41")),
}
SECONDS_MAX = 8.0
"""How long a consumer is waited for."""


def soon(seconds: float = 5.0) -> Instant:
    """Return a deadline so many seconds from now."""
    return Instant(round((time.time() + seconds) * SECOND))


class DistributorContract:
    """A distributor: it hands a version to an instance, and sees which one the instance uses."""

    kind = ""
    """The kind, as the configuration calls it."""
    unreached: tuple[type[PortError], ...] = (Unavailable,)
    """What handing to an instance that cannot be reached raises; either says that it did not happen."""

    @pytest.fixture(autouse=True)
    def _watch_the_logs(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)

    def test_it_is_a_distributor(self, distributor: Distributor) -> None:
        """It has what the port asks for."""
        assert isinstance(distributor, Distributor)

    def test_what_was_never_handed_out_is_not_used(self, distributor: Distributor, instance: Instance) -> None:
        """Silence is no proof."""
        assert distributor.look(instance, VALUES[OLD], version=OLD).usage is not Usage.USED

    def test_a_version_that_is_handed_out_is_used(
        self, distributor: Distributor, instance: Instance, prepare: Prepare, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And another one is not; nobody is told a password."""
        self.hand(distributor, instance, OLD, prepare)
        self.expect(distributor, instance, OLD, Usage.USED)
        self.expect(distributor, instance, NEW, Usage.OTHER)
        assert "canary" not in caplog.text

    def test_the_next_version_takes_its_place_and_the_old_one_comes_back(
        self, distributor: Distributor, instance: Instance, prepare: Prepare
    ) -> None:
        """A rollback hands out a version that was handed out before."""
        for version in (OLD, NEW, OLD):
            self.hand(distributor, instance, version, prepare)
            self.expect(distributor, instance, version, Usage.USED)
            self.expect(distributor, instance, NEW if version == OLD else OLD, Usage.OTHER)

    def test_the_same_version_may_be_handed_out_again(
        self, distributor: Distributor, instance: Instance, prepare: Prepare
    ) -> None:
        """A process that dies between the answer and its record hands it out again."""
        for _ in range(3):
            self.hand(distributor, instance, NEW, prepare)
        self.expect(distributor, instance, NEW, Usage.USED)

    def test_after_the_deadline_nothing_is_handed_out(
        self, distributor: Distributor, instance: Instance, prepare: Prepare
    ) -> None:
        """Another version may have been handed out since."""
        self.hand(distributor, instance, OLD, prepare)
        self.expect(distributor, instance, OLD, Usage.USED)
        prepare(NEW, VALUES[NEW])
        with pytest.raises(Unavailable, match="deadline"):
            distributor.hand(instance, VALUES[NEW], version=NEW, deadline=soon(-1))
        self.expect(distributor, instance, OLD, Usage.USED)

    def test_an_instance_that_cannot_be_reached_gets_nothing(
        self, unreachable: tuple[Distributor, Instance], caplog: pytest.LogCaptureFixture
    ) -> None:
        """It did not happen, and nobody is told a password because of it."""
        distributor, instance = unreachable
        with pytest.raises(PortError) as raised:
            distributor.hand(instance, VALUES[NEW], version=NEW, deadline=soon())
        error = raised.value
        assert isinstance(error, self.unreached)
        shown = "".join(traceback.format_exception(error))
        assert "canary" not in f"{error.message} {error.advice} {error.fields} {shown} {caplog.text}"

    def test_an_instance_that_cannot_be_reached_is_unknown(self, unreachable: tuple[Distributor, Instance]) -> None:
        """Looking never raises, and says in one line why nothing was seen."""
        distributor, instance = unreachable
        self.unknown(distributor.look(instance, VALUES[NEW], version=NEW))

    def test_a_name_leads_nowhere_else(self, distributor: Distributor, instance: Instance) -> None:
        """Names come from outside. What cannot be handed to such an instance is refused, and another gets nothing."""
        for name in ("../../etc/passwd", "web-1; rm -rf /\n", "{instance}", "ü" * 253, "-n"):
            strange = Instance(name, endpoint="http://127.0.0.1:1")
            with suppress(Rejected, Unavailable):
                distributor.hand(strange, VALUES[NEW], version=NEW, deadline=soon())
            assert "canary" not in distributor.look(strange, VALUES[NEW], version=NEW).detail
            assert distributor.look(instance, VALUES[NEW], version=NEW).usage is not Usage.USED

    def test_a_value_that_nobody_knows_proves_nothing(
        self, distributor: Distributor, instance: Instance, prepare: Prepare
    ) -> None:
        """A verifier is no password."""
        self.hand(distributor, instance, OLD, prepare)
        self.expect(distributor, instance, OLD, Usage.USED)
        for value in (CredentialValue("app_a", None), CredentialValue("app_a", Secret("canary"), Form.VERIFIER)):
            assert distributor.look(instance, value, version=NEW).usage is not Usage.USED

    @staticmethod
    def hand(distributor: Distributor, instance: Instance, version: str, prepare: Prepare) -> None:
        """Hand a version out."""
        prepare(version, VALUES[version])
        distributor.hand(instance, VALUES[version], version=version, deadline=soon())

    @staticmethod
    def expect(distributor: Distributor, instance: Instance, version: str, usage: Usage) -> None:
        """Look until a usage is seen; a consumer may take a moment."""
        limit = time.monotonic() + SECONDS_MAX
        while True:
            proof = distributor.look(instance, VALUES[version], version=version)
            assert "canary" not in proof.detail
            assert proof.detail.isprintable()
            if proof.usage is usage:
                return
            assert time.monotonic() < limit, proof
            time.sleep(0.02)

    @staticmethod
    def unknown(proof: Proof) -> None:
        """Expect that nothing is known, with a reason."""
        assert proof.usage is Usage.UNKNOWN
        assert proof.detail
        assert proof.detail.isprintable()
        assert "canary" not in proof.detail
