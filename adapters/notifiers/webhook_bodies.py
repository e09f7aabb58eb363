"""What a webhook carries: CloudEvents 1.0 in JSON, or the flat body of dsops; never more than a receiver must take.

Rule 1: pure; the same notices and key make the same bytes.
Rule 2: what is too long is cut within its texts, then events of a digest are left out and counted: it stays JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from engine.notices import Notice, NoticeKind
from engine.values import SECOND
from projections.notifications.documents import document
from projections.notifications.words import digest_headline, headline
from projections.times import to_text

BODY_BYTES_MAX: Final = 19_999
"""Standard Webhooks asks for less than 20 kB."""
CLOUDEVENTS_TYPE: Final = "application/cloudevents+json"
JSON_TYPE: Final = "application/json"

_LENGTHS: Final = (4_000, 1_000, 300, 100)
"""How long the texts of the outside may be, one after the other until the body fits."""
_SHORTEST: Final = 30
_NAME_LENGTH_MIN: Final = 100
"""Names (of a service, of a version) are cut no further than this: they tell what it is about."""
_NAMES: Final = frozenset({"service", "environment", "rotation_id", "version", "previous_version", "text", "channel"})
_LIST_MAX: Final = 10
_NOT_IN_ATTRIBUTES: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""What a string of CloudEvents may not hold (specification 1.0.2, type system)."""
_DSOPS_STATUS: Final = {
    NoticeKind.COMPLETED: "success",
    NoticeKind.FAILED: "failure",
    NoticeKind.ROLLBACK_FAILED: "failure",
    NoticeKind.ROLLED_BACK: "rolled_back",
}


def dsops_status(notice: Notice) -> str:
    """Return `success`, `failure` or `rolled_back`, as dsops has them; of what is not over, its kind."""
    return _DSOPS_STATUS.get(notice.kind, notice.kind.value)


def cloudevent(notices: Sequence[Notice], *, identifier: str, dropped: int) -> bytes:
    """Return one event: `io.keyturn.rotation.KIND.v1` with the notice as its data, or `io.keyturn.digest.v1`."""

    def made(kept: Sequence[Notice], longest: int) -> bytes:
        first = kept[0]
        if is_digest(notices, dropped):
            kind, subject = "digest", ""
            content = digest(notices, kept, dropped=dropped, longest=longest)
        else:
            kind, subject = f"rotation.{first.kind.value}", _attribute(first.rotation_id)
            content = cut(document(first), longest)
        event = {
            "specversion": "1.0",
            "id": identifier,
            "source": _source(notices, longest),
            "type": f"io.keyturn.{kind}.v1",
            "subject": subject[: max(longest, _NAME_LENGTH_MIN)],
            "time": to_text(max(notice.at for notice in notices)),
            "datacontenttype": JSON_TYPE,
            "data": content,
        }
        return encoded({name: value for name, value in event.items() if value != ""})

    return _of_ours(made, notices)


def dsops_body(notices: Sequence[Notice], *, dropped: int) -> bytes:
    """Return the flat body of the dsops plan: `event: rotation_completed`, `rotation_id` and the rest at the top."""

    def made(kept: Sequence[Notice], longest: int) -> bytes:
        if is_digest(notices, dropped):
            content = digest(notices, kept, dropped=dropped, longest=longest)
            return encoded({"event": "digest", **content, "events": [cut(_flat(each), longest) for each in kept]})
        return encoded(cut(_flat(kept[0]), longest))

    return _of_ours(made, notices)


def digest(all_of_them: Sequence[Notice], kept: Sequence[Notice], *, dropped: int, longest: int) -> dict[str, Any]:
    """Return several notices as one document; `omitted` are those that had no room, `dropped` those of before."""
    return {
        "text": digest_headline(len(all_of_them), dropped),
        "count": len(all_of_them),
        "dropped": dropped,
        "omitted": len(all_of_them) - len(kept),
        "events": [cut(_without_empty(document(notice)), longest) for notice in kept],
    }


def is_digest(notices: Sequence[Notice], dropped: int) -> bool:
    """Tell whether a message stands for more than one notice."""
    return len(notices) != 1 or dropped > 0


def fitted(made: Callable[[Sequence[Notice], int], bytes | None], notices: Sequence[Notice]) -> bytes | None:
    """Return the first body that is small enough, made of ever shorter texts, then of fewer notices.

    Of a digest failures are kept rather than others, and new ones rather than old. Returns None where no body is
    small enough, which only a template can bring about.
    """
    for kept, longest in _attempts(notices):
        body = made(kept, longest)
        if body is not None and len(body) <= BODY_BYTES_MAX:
            return body
    return None


def cut(value: Any, longest: int, *, name: str = "") -> Any:
    """Return JSON with every text in it cut to `longest` characters, and every list to ten entries."""
    match value:
        case str():
            limit = max(longest, _NAME_LENGTH_MIN) if name in _NAMES else longest
            return value if len(value) <= limit else value[: limit - 1] + "…"
        case dict():
            return {key: cut(member, longest, name=key) for key, member in value.items()}
        case list():
            return [cut(member, longest) for member in value[:_LIST_MAX]]
        case _:
            return value


def encoded(content: Mapping[str, Any]) -> bytes:
    """Return JSON in UTF-8; half a character becomes `?`."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def texts(value: Any) -> Iterator[str]:
    """Yield every text in JSON."""
    match value:
        case str():
            yield value.encode("utf-8", "replace").decode()
        case dict():
            for member in value.values():
                yield from texts(member)
        case list():
            for member in value:
                yield from texts(member)
        case _:
            pass


def shared(values: Sequence[str]) -> str:
    """Return what all of them are; empty where they differ."""
    return values[0] if len(set(values)) == 1 else ""


def _of_ours(made: Callable[[Sequence[Notice], int], bytes], notices: Sequence[Notice]) -> bytes:
    body = fitted(made, notices)
    assert body is not None, "with the shortest texts a notice has less than 20 kB"
    return body


def _attempts(notices: Sequence[Notice]) -> Iterator[tuple[Sequence[Notice], int]]:
    for longest in _LENGTHS:
        yield notices, longest
    ranked = sorted(range(len(notices)), key=lambda i: (notices[i].is_failure, notices[i].at, i), reverse=True)
    count = len(notices)
    while count > 1:
        count = count * 3 // 4
        yield [notices[i] for i in sorted(ranked[:count])], _LENGTHS[-1]
    yield [notices[ranked[0]]], _SHORTEST


def _flat(notice: Notice) -> dict[str, Any]:
    full = {
        "event": f"rotation_{notice.kind.value}",
        "service": notice.service,
        "environment": notice.environment,
        "status": dsops_status(notice),
        "strategy": notice.strategy,
        "duration_seconds": None if notice.duration is None else notice.duration / SECOND,
        "timestamp": to_text(notice.at),
        "rotation_id": notice.rotation_id,
        "error": "" if notice.cause is None else notice.cause.message,
        "initiated_by": notice.actor,
        "metadata": _without_empty(
            {
                "previous_version": notice.previous_version,
                "new_version": notice.version,
                "reason": notice.reason,
                "text": headline(notice),
            }
        ),
    }
    return _without_empty(full)


def _without_empty(content: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value not in (None, "", [])}


def _source(notices: Sequence[Notice], longest: int) -> str:
    """Return `/keyturn/ENVIRONMENT/SERVICE`, as far as all notices share it."""
    environment = shared([notice.environment for notice in notices])
    service = shared([notice.credential for notice in notices]) and notices[0].service
    limit = max(longest, _NAME_LENGTH_MIN)
    segments = [quote(part[:limit], safe="", errors="replace") for part in (environment, service) if part]
    return "/".join(["/keyturn", *segments])


def _attribute(text: str) -> str:
    return _NOT_IN_ATTRIBUTES.sub("\ufffd", text)
