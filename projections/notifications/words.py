"""The words of a notice: a headline, and lines of name and value. A channel gives them its form, never other words.

Rule: plain text without markup, which channels escape; a text of the outside stands between them as it is.
"""

from __future__ import annotations

from typing import Final

from engine.notices import Notice, NoticeKind
from engine.values import SECOND
from projections.times import to_text

_HEADLINES: Final = {
    NoticeKind.STARTED: "Rotation of {credential} started",
    NoticeKind.COMPLETED: "{credential} has a new credential",
    NoticeKind.FAILED: "Rotation of {credential} failed",
    NoticeKind.ROLLBACK_STARTED: "Rollback of {credential} started",
    NoticeKind.ROLLED_BACK: "{credential} is back on its previous credential",
    NoticeKind.ROLLBACK_FAILED: "Rollback of {credential} FAILED: a person is needed",
    NoticeKind.WAVE_COMPLETED: "Wave {wave} of {credential} passed",
    NoticeKind.PAUSED: "Rotation of {credential} is paused",
    NoticeKind.RESUMED: "Rotation of {credential} goes on",
    NoticeKind.WAITING: "Rotation of {credential} waits",
    NoticeKind.OVERDUE: "Rotation of {credential} is overdue",
    NoticeKind.UNDELIVERED: "The channel {channel} does not deliver",
}


def headline(notice: Notice) -> str:
    """Return one line that says what happened."""
    if notice.kind is NoticeKind.ROLLBACK_STARTED and notice.automatic:
        return f"Rotation of {notice.credential} failed and is going back"
    wave = 0 if notice.wave is None else notice.wave + 1
    return _HEADLINES[notice.kind].format(credential=notice.credential, wave=wave, channel=notice.channel)


def details(notice: Notice) -> list[tuple[str, str]]:
    """Return the rest as lines of name and value, what went wrong first; next steps are not among them."""
    lines: list[tuple[str, str]] = []

    def line(name: str, value: object) -> None:
        if value:
            lines.append((name, str(value)))

    if notice.cause is not None:
        line("Step", notice.cause.step)
        line("Cause", notice.cause.message)
        line("Remedy", notice.cause.hint)
    line("Reason", notice.reason)
    line("Version", notice.version)
    line("Previous version", notice.previous_version)
    line("Strategy", notice.strategy)
    line("Actor", notice.actor)
    line("Duration", in_words(notice.duration) if notice.duration is not None else "")
    line(_until_name(notice), to_text(notice.until) if notice.until else "")
    line("Rotation", notice.rotation_id)
    line("At", to_text(notice.at))
    return lines


def _until_name(notice: Notice) -> str:
    match notice.kind:
        case NoticeKind.COMPLETED:
            return "Previous valid until"
        case NoticeKind.OVERDUE:
            return "Due at"
        case _:
            return "Not before"


def text(notice: Notice) -> str:
    """Return the whole notice as plain text: headline, lines, next steps."""
    lines = [headline(notice), "", *(f"{name}: {value}" for name, value in details(notice))]
    if notice.next_steps:
        lines += ["", "Next:", *(f"  {step}" for step in notice.next_steps)]
    return "\n".join(lines)


def digest_headline(count: int, dropped: int) -> str:
    """Return one line over a digest of `count` notices that stands for `dropped` more."""
    more = f", and {dropped} more that were not kept" if dropped else ""
    return f"keyturn: {count} notification{'' if count == 1 else 's'}{more}"


def in_words(duration: int) -> str:
    """Return a duration in microseconds as people read it: `0.4 s`, `38 s`, `12 min 5 s`, `26 h 10 min`."""
    seconds = duration / SECOND
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
