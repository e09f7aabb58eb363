"""What a webhook carries: valid, small enough and the same each time, whatever stands in a notice."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.notifiers.webhook_templates import GO_NAMES, NAMES
from engine.credential_events import Cause
from engine.errors import Rejected
from engine.notices import Notice, NoticeKind
from engine.notifier import Outgoing
from projections.notifications.documents import document
from projections.notifications.samples import samples
from tests.sinks import cloudevents
from tests.unit.notifiers.drawn import AT, notices, of
from tests.unit.notifiers.webhook_bench import KEY, webhook

BYTES_MAX: Final = 20_000
COPIES: Final = 600
ALL = samples(service="db", environment="production", at=AT)

DSOPS_TEMPLATE = """{
  "event_type": "{{.EventType}}",
  "service": "{{.ServiceName}}",
  "environment": "{{.Environment}}",
  "status": "{{.Status}}",
  "duration_seconds": {{.Duration}},
  "timestamp": "{{.Timestamp}}",
  "error": "{{.Error}}",
  "rotation_id": "{{.RotationID}}"
}
"""
"""The example of the documentation of dsops."""
EVERYTHING = "{" + ", ".join(f'"{name}": {{{{ {name}|tojson }}}}' for name in NAMES) + "}"


def rendered(*given: Notice, dropped: int = 0, **options: Any) -> Outgoing:
    """Return the message of these notices."""
    return webhook(**options).render(given, key=KEY, dropped=dropped)


def content(*given: Notice, dropped: int = 0, **options: Any) -> Any:
    """Return the body of the message of these notices, read as JSON."""
    return json.loads(rendered(*given, dropped=dropped, **options).content)


@pytest.mark.parametrize("notice", ALL, ids=lambda notice: notice.kind)
def test_a_notice_is_an_event_with_its_document(notice: Notice) -> None:
    outgoing = rendered(notice)
    assert outgoing.content_type == "application/cloudevents+json"
    assert cloudevents.problems(outgoing.content) == []
    event = json.loads(outgoing.content)
    assert event == {
        "specversion": "1.0",
        "id": KEY,
        "source": "/keyturn/production/db",
        "type": f"io.keyturn.rotation.{notice.kind.value}.v1",
        "subject": notice.rotation_id,
        "time": "2026-09-21T14:13:20.000000Z",
        "datacontenttype": "application/json",
        "data": document(notice),
    }
    assert event["data"]["kind"] == notice.kind.value


def test_several_notices_are_one_digest() -> None:
    outgoing = rendered(*ALL, dropped=3)
    assert cloudevents.problems(outgoing.content) == []
    event = json.loads(outgoing.content)
    assert event["type"] == "io.keyturn.digest.v1"
    assert "subject" not in event
    assert (event["data"]["count"], event["data"]["dropped"], event["data"]["omitted"]) == (len(ALL), 3, 0)
    assert [each["kind"] for each in event["data"]["events"]] == [notice.kind.value for notice in ALL]


def test_a_notice_that_stands_for_more_is_a_digest() -> None:
    assert content(ALL[0], dropped=1)["type"] == "io.keyturn.digest.v1"


def test_the_source_of_a_digest_is_what_its_notices_share() -> None:
    here = of(NoticeKind.COMPLETED)
    beside, elsewhere = replace(here, service="cache"), replace(here, environment="staging")
    assert content(here, here)["source"] == "/keyturn/production/db"
    assert content(here, beside)["source"] == "/keyturn/production"
    assert content(here, elsewhere)["source"] == "/keyturn"
    assert content(replace(here, service="a/b c"), dropped=0)["source"] == "/keyturn/production/a%2Fb%20c"


def test_a_digest_keeps_failures_rather_than_others_and_new_ones_rather_than_old() -> None:
    many = [replace(of(NoticeKind.COMPLETED), position=i, at=AT + i) for i in range(1, 500)]
    failed = replace(of(NoticeKind.FAILED), position=0)
    outgoing = rendered(failed, *many)
    assert len(outgoing.content) < BYTES_MAX
    data = json.loads(outgoing.content)["data"]
    positions = [each["position"] for each in data["events"]]
    assert positions[0] == 0
    assert positions[1:] == list(range(500 - len(positions) + 1, 500))
    assert data["count"] == 500
    assert data["omitted"] == 500 - len(positions)
    assert len(positions) > 15


def test_the_flat_body_of_dsops() -> None:
    notice = of(NoticeKind.COMPLETED)
    outgoing = rendered(notice, format="dsops")
    assert outgoing.content_type == "application/json"
    assert json.loads(outgoing.content) == {
        "event": "rotation_completed",
        "service": "db",
        "environment": "production",
        "status": "success",
        "strategy": "alternating",
        "duration_seconds": 5.0,
        "timestamp": "2026-09-21T14:13:20.000000Z",
        "rotation_id": notice.rotation_id,
        "initiated_by": "keyturn",
        "metadata": {
            "previous_version": "v00000000000000000001",
            "new_version": "v00000000000000000000",
            "reason": "this is a test, nothing happened",
            "text": "production/db has a new credential",
        },
    }


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (NoticeKind.STARTED, "started"),
        (NoticeKind.COMPLETED, "success"),
        (NoticeKind.FAILED, "failure"),
        (NoticeKind.ROLLED_BACK, "rolled_back"),
        (NoticeKind.ROLLBACK_FAILED, "failure"),
        (NoticeKind.PAUSED, "paused"),
    ],
)
def test_dsops_has_three_words_for_how_it_came_out(kind: NoticeKind, status: str) -> None:
    body = content(of(kind), format="dsops")
    assert body["status"] == status
    assert ("error" in body) == (of(kind).cause is not None)


def test_the_digest_of_dsops_has_its_events_flat() -> None:
    body = content(*ALL, format="dsops")
    assert body["event"] == "digest"
    assert [each["event"] for each in body["events"]] == [f"rotation_{notice.kind.value}" for notice in ALL]


@pytest.mark.parametrize("notice", ALL, ids=lambda notice: notice.kind)
def test_the_template_of_the_dsops_documentation_works_as_it_is(notice: Notice) -> None:
    body = content(notice, payload_template=DSOPS_TEMPLATE)
    assert body["event_type"] == notice.kind.value
    assert body["service"] == "db"
    assert body["duration_seconds"] == 5
    assert body["rotation_id"] == notice.rotation_id
    assert body["error"] == ("" if notice.cause is None else "a test: the target refused the new value")


@pytest.mark.parametrize("notice", ALL, ids=lambda notice: notice.kind)
def test_every_name_is_filled_for_every_notice(notice: Notice) -> None:
    body = content(notice, payload_template=EVERYTHING)
    assert set(body) == set(NAMES)
    assert body["events"] == [document(notice)]
    assert (body["text"], body["count"], body["dropped"]) == (document(notice)["text"], 1, 0)


def test_the_names_of_go_stand_for_names_of_ours() -> None:
    assert set(GO_NAMES.values()) <= set(NAMES)
    template = "|".join(f"{{{{.{go}}}}}={{{{ {ours} }}}}" for go, ours in GO_NAMES.items())
    filled = rendered(of(NoticeKind.FAILED), payload_template=template, content_type="text/plain").content.decode()
    pairs = [pair.split("=", 1) for pair in filled.split("|")]
    assert all(go == ours for go, ours in pairs)
    assert all(go for go, _ in pairs)


def test_a_digest_fills_a_template_with_what_its_notices_share() -> None:
    here = of(NoticeKind.COMPLETED)
    body = content(here, replace(here, service="cache"), dropped=2, payload_template=EVERYTHING)
    assert (body["kind"], body["status"], body["environment"], body["service"]) == (
        "digest",
        "digest",
        "production",
        "",
    )
    assert (body["count"], body["dropped"], body["duration_seconds"]) == (2, 2, None)
    assert [each["service"] for each in body["events"]] == ["db", "cache"]


def test_what_is_filled_in_cannot_leave_its_string() -> None:
    evil = '", "admin": true, "x": "\\'
    notice = replace(of(NoticeKind.FAILED), cause=Cause("verify", "rejected", evil, ""))
    body = content(notice, payload_template='{"error": "{{ .Error }}", "again": {{ error|tojson }}}')
    assert body == {"error": evil, "again": evil}


def test_a_template_that_is_no_json_is_filled_as_it_is() -> None:
    outgoing = rendered(
        of(NoticeKind.FAILED),
        payload_template="service={{ service|urlencode }}&text={{ text|urlencode }}&s={{ duration_seconds }}",
        content_type="application/x-www-form-urlencoded",
    )
    assert outgoing.content == b"service=db&text=Rotation%20of%20production%2Fdb%20failed&s=5.0"
    assert outgoing.content_type == "application/x-www-form-urlencoded"


def test_a_content_type_of_its_own_is_kept() -> None:
    assert rendered(ALL[0], content_type="application/json").content_type == "application/json"
    assert rendered(ALL[0], payload_template="{}").content_type == "application/json"


@pytest.mark.parametrize("template", ["{{ nothing }}", "{{ service }}", '{"a": {{ error }}}'])
def test_a_template_that_cannot_be_filled_rejects_the_message(template: str) -> None:
    """It is never replaced by something else silently."""
    with pytest.raises(Rejected):
        rendered(of(NoticeKind.STARTED), payload_template=template)


def test_headers_are_filled_from_the_notice() -> None:
    headers = {"X-Service": "{{ ServiceName }}", "X-Static": "one", "X-Kind": "{{ kind }}/{{ urgency }}"}
    outgoing = rendered(of(NoticeKind.FAILED), headers=headers)
    assert json.loads(outgoing.further[0]) == {"X-Service": "db", "X-Static": "one", "X-Kind": "failed/error"}


def test_a_header_is_cut_however_it_is_put_together() -> None:
    notice = replace(of(NoticeKind.FAILED), reason="x" * 5_000)
    outgoing = rendered(notice, headers={"X-Reason": "{{ reason }}{{ reason }}"})
    assert len(json.loads(outgoing.further[0])["X-Reason"]) == 1_000


@pytest.mark.parametrize("options", [{}, {"format": "dsops"}, {"payload_template": EVERYTHING}])
def test_half_a_character_becomes_a_question_mark(options: dict[str, Any]) -> None:
    outgoing = rendered(replace(of(NoticeKind.FAILED), reason="a\ud800b"), **options)
    assert b'"a?b"' in outgoing.content
    assert "a?b" in outgoing.readable


def test_a_message_without_such_headers_is_its_body_alone() -> None:
    assert rendered(of(NoticeKind.FAILED)).further == ()


def test_the_texts_of_a_notice_are_readable() -> None:
    """Also those that were escaped or cut in the body, so that secrets are found in them."""
    long = "x" * 30_000 + " canary-secret"
    notice = replace(of(NoticeKind.FAILED), reason=long)
    assert "canary-secret" not in rendered(notice).content.decode()
    assert long in rendered(notice).readable


def test_a_key_that_cannot_stand_in_a_header_is_replaced_in_the_body_as_well() -> None:
    event = json.loads(webhook().render([ALL[0]], key="a.b\r\nc").content)
    assert event["id"].startswith("sha256_")


messages = st.lists(notices, min_size=1, max_size=12)


@pytest.mark.slow
@given(messages, st.integers(0, 10**6), st.text(max_size=40))
def test_every_event_is_valid_small_and_the_same_each_time(given: list[Notice], dropped: int, key: str) -> None:
    first = webhook().render(given, key=key, dropped=dropped)
    assert first == webhook().render(given, key=key, dropped=dropped)
    assert len(first.content) < BYTES_MAX
    assert cloudevents.problems(first.content) == []


@pytest.mark.slow
@given(messages, st.integers(0, 10**6))
def test_every_flat_body_is_valid_and_small(given: list[Notice], dropped: int) -> None:
    body = rendered(*given, dropped=dropped, format="dsops").content
    assert len(body) < BYTES_MAX
    assert json.loads(body)["event"]


@pytest.mark.slow
@given(messages, st.sampled_from([DSOPS_TEMPLATE, EVERYTHING]))
def test_every_filled_template_is_valid_and_small(given: list[Notice], template: str) -> None:
    body = rendered(*given, payload_template=template).content
    assert len(body) < BYTES_MAX
    assert len(json.loads(body)) == template.count("{{")


@pytest.mark.slow
@given(messages)
def test_no_header_has_more_than_one_line_of_visible_ascii(given: list[Notice]) -> None:
    names = [name for name in NAMES if name not in {"events", "count", "dropped"}]
    outgoing = rendered(*given, headers={f"X-{name}": f"{{{{ {name} }}}}" for name in names})
    filled = json.loads(outgoing.further[0])
    assert len(filled) == len(names)
    for value in filled.values():
        assert value.isascii()
        assert value == "" or value.isprintable()
        assert len(value) <= 1_000


def test_a_body_that_no_shortening_makes_small_is_refused() -> None:
    template = '{"a": "' + "{{ reason }}" * (COPIES + 80) + '"}'
    with pytest.raises(Rejected, match="20 kB"):
        rendered(replace(of(NoticeKind.FAILED), reason="x" * 40), payload_template=template)


def test_a_body_that_shortening_makes_small_is_shortened() -> None:
    template = '{"a": "' + "{{ reason }}" * COPIES + '"}'
    body = content(replace(of(NoticeKind.FAILED), reason="x" * 5_000), payload_template=template)
    assert body == {"a": ("x" * 29 + "…") * COPIES}
