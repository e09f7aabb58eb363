"""The contract of channels, as tests to inherit: whoever writes a notifier proves it with these.

Subclass `NotifierContract` in a class called `Test…`, and give it the fixtures `notifier` (a notifier whose sink takes
messages now), `taken` (a function that returns how many messages the sink has taken so far) and `unreachable` (a
notifier of the same kind whose sink is not there). `secrets` are texts that no message and no error may hold.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeAlias

import pytest

from engine.errors import PortError, Unavailable, Uncertain
from engine.notices import Notice, NoticeKind
from engine.notifier import Notifier, Outgoing
from engine.values import Instant
from projections.notifications.samples import samples

Taken: TypeAlias = Callable[[], int]

AT = Instant(1_767_225_600_000_000)
KEY = "kt_0123456789abcdef0123456789abcdef"


def every_kind() -> list[Notice]:
    """Return a notice of each kind."""
    return samples(service="app-db", environment="production", at=AT)


def whole(outgoing: Outgoing) -> bytes:
    """Return all bytes of a message."""
    return b"\0".join((outgoing.content, *outgoing.further, *(text.encode() for text in outgoing.readable)))


class NotifierContract:
    """A channel: it renders every notice, sends it under a key, and says what became of it in three ways."""

    kind = ""
    """The kind of channel, as the configuration calls it."""
    secrets: tuple[str, ...] = ("canary-",)

    def test_it_is_a_notifier(self, notifier: Notifier) -> None:
        """It has what the port asks for."""
        assert isinstance(notifier, Notifier)

    def test_its_options_are_right(self, notifier: Notifier) -> None:
        """What the suite gave it can be used."""
        assert list(notifier.validate()) == []

    def test_its_pace_can_be_kept(self, notifier: Notifier) -> None:
        """A courier that waited for ever, or never, would be wrong."""
        pace = notifier.pace
        assert pace.per_second > 0
        assert pace.burst >= 1
        assert pace.attempts >= 1
        assert 0 < pace.first <= pace.longest
        assert pace.batch >= 0

    def test_it_takes_what_is_selected_or_says_for_good_that_it_does_not(self, notifier: Notifier) -> None:
        """Whether a notice goes there is decided by the notice alone, and something does."""
        takes = [notifier.supports(each, selected=True) for each in every_kind()]
        assert takes == [notifier.supports(each, selected=True) for each in every_kind()]
        assert any(takes)

    @pytest.mark.parametrize("kind", NoticeKind)
    def test_a_notice_of_every_kind_can_be_rendered(self, notifier: Notifier, kind: NoticeKind) -> None:
        """Twice the same, since a message that is repeated must be the same message; with no secret in it."""
        notice = next(each for each in every_kind() if each.kind is kind)
        if not notifier.supports(notice, selected=True):
            return
        first, second = notifier.render([notice], key=KEY), notifier.render([notice], key=KEY)
        assert first == second
        assert first.content
        assert first.content_type
        assert not [secret for secret in self.secrets if secret.encode() in whole(first)]

    def test_a_digest_can_be_rendered(self, notifier: Notifier) -> None:
        """It says how many more there were."""
        outgoing = notifier.render(every_kind(), key=KEY, dropped=9_871)
        assert b"9871" in whole(outgoing).replace(b",", b"").replace(b"\xe2\x80\xaf", b"")
        assert outgoing == notifier.render(every_kind(), key=KEY, dropped=9_871)

    def test_a_message_is_taken(self, notifier: Notifier, taken: Taken) -> None:
        """And a second one of the same rotation, which may join the first."""
        before = taken()
        receipt = self._send(notifier, NoticeKind.FAILED, KEY)
        assert taken() > before
        between = taken()
        self._send(notifier, NoticeKind.ROLLBACK_FAILED, f"{KEY[:-1]}0", thread=receipt)
        assert taken() > between

    def test_the_same_message_may_be_sent_again(self, notifier: Notifier) -> None:
        """A process that dies between the answer and its record sends it again, under the same key."""
        receipt = self._send(notifier, NoticeKind.FAILED, KEY)
        assert isinstance(receipt, str)
        assert isinstance(self._send(notifier, NoticeKind.FAILED, KEY), str)

    def test_a_sink_that_is_not_there_says_so_without_a_secret(self, unreachable: Notifier) -> None:
        """It is tried again later, and what people read of it holds nothing that must not be read."""
        with pytest.raises((Unavailable, Uncertain)) as raised:
            self._send(unreachable, NoticeKind.FAILED, KEY)
        assert isinstance(raised.value, PortError)
        shown = "".join(traceback.format_exception(raised.value))
        told = f"{raised.value.message} {raised.value.advice} {raised.value.fields}"
        assert not [secret for secret in self.secrets if secret in told]
        behind = raised.value.__cause__ or raised.value.__context__
        assert raised.value.__suppress_context__ or behind is None or not [s for s in self.secrets if s in shown]

    @staticmethod
    def _send(notifier: Notifier, kind: NoticeKind, key: str, *, thread: str = "") -> str:
        notice = next(each for each in every_kind() if each.kind is kind)
        return notifier.send(notifier.render([notice], key=key), key=key, thread=thread)
