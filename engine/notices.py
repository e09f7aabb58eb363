"""A notice: what people are told of one fact, as data, before any channel gives it a form.

Rule 1: a notice is computed from the log alone, so that the same fact makes the same notice, today and after a rebuild.
Rule 2: no field holds a secret; texts of adapters were redacted at their edge.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from engine.credential_events import Cause
from engine.values import Instant, Microseconds


class NoticeKind(StrEnum):
    """What happened, in the words that `events` of a channel takes."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    ROLLBACK_STARTED = "rollback_started"
    ROLLED_BACK = "rolled_back"
    ROLLBACK_FAILED = "rollback_failed"
    WAVE_COMPLETED = "wave_completed"
    PAUSED = "paused"
    RESUMED = "resumed"
    WAITING = "waiting"
    OVERDUE = "overdue"
    UNDELIVERED = "undelivered"
    """A channel was disabled, or a message was blocked or given up: the others are told."""


class Urgency(StrEnum):
    """How much a notice matters; PagerDuty has the same words for it."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


_URGENCY: Final = {
    NoticeKind.FAILED: Urgency.ERROR,
    NoticeKind.ROLLBACK_STARTED: Urgency.WARNING,
    NoticeKind.ROLLED_BACK: Urgency.WARNING,
    NoticeKind.ROLLBACK_FAILED: Urgency.CRITICAL,
    NoticeKind.PAUSED: Urgency.WARNING,
    NoticeKind.WAITING: Urgency.WARNING,
    NoticeKind.OVERDUE: Urgency.WARNING,
    NoticeKind.UNDELIVERED: Urgency.ERROR,
}

FAMILIES: Final[dict[str, frozenset[NoticeKind]]] = {
    "rollback": frozenset({NoticeKind.ROLLBACK_STARTED, NoticeKind.ROLLED_BACK, NoticeKind.ROLLBACK_FAILED}),
    "failed": frozenset({NoticeKind.FAILED, NoticeKind.ROLLBACK_FAILED, NoticeKind.UNDELIVERED}),
}
"""Words of `events` that select more than the kind of the same name. `failed` also selects that a failed rotation
began to go back by itself (`Notice.is_failure`)."""


class Notice(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What people are told of one fact."""

    position: int
    """Where the fact stands in the log; what `#EVENT` takes. 0 for a test message."""
    kind: NoticeKind
    at: Instant
    service: str
    environment: str
    rotation_id: str = ""
    """Empty where no rotation is meant."""
    is_rollback: bool = False
    """The rotation is one that a person asked for to go back."""
    strategy: str = ""
    state: str = ""
    version: str | None = None
    """The version that the rotation moves to; of an overdue credential, the current one."""
    previous_version: str | None = None
    actor: str = ""
    reason: str = ""
    """Why, in the words of the person who decided."""
    automatic: bool = False
    """keyturn decided it by itself, after a failure."""
    started_at: Instant | None = None
    duration: Microseconds | None = None
    """From the start of the rotation to the fact."""
    cause: Cause | None = None
    """What went wrong: the step, the redacted message, and a remedy."""
    next_steps: tuple[str, ...] = ()
    """Commands, each with what it does, the one that is wanted most often first."""
    wave: int | None = None
    """The number of the wave, from 0."""
    until: Instant | None = None
    """The end of the grace period, the due date, or the time of the next try."""
    ends_failure: bool = False
    """The credential was in trouble before, and is well again with this."""
    channel: str = ""
    """The channel that is in trouble, of `undelivered`."""

    @property
    def is_failure(self) -> bool:
        """Tell whether it says that something failed."""
        began_to_go_back = self.kind is NoticeKind.ROLLBACK_STARTED and self.automatic
        return self.kind in FAMILIES["failed"] or began_to_go_back

    @property
    def is_critical(self) -> bool:
        """Tell whether it must reach somebody: it says that something failed."""
        return self.is_failure

    @property
    def urgency(self) -> Urgency:
        """How much it matters."""
        if self.kind is NoticeKind.ROLLBACK_STARTED and self.automatic:
            return Urgency.ERROR
        return _URGENCY.get(self.kind, Urgency.INFO)

    @property
    def credential(self) -> str:
        """Name the credential: `ENVIRONMENT/SERVICE`."""
        return f"{self.environment}/{self.service}"


def selects(words: tuple[str, ...], notice: Notice) -> bool:
    """Tell whether the words of `events` select a notice; no words select all."""
    if not words:
        return True
    kinds: set[NoticeKind] = set()
    for word in words:
        kinds |= FAMILIES[word] if word in FAMILIES else {NoticeKind(word)}
    return notice.kind in kinds or ("failed" in words and notice.is_failure)


EVENT_WORDS: Final = tuple(sorted({*FAMILIES, *NoticeKind}))
"""The words that `events` takes."""
