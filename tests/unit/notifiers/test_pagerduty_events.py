"""What is rendered for PagerDuty is what PagerDuty takes: which notices make which events, and how they look."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.notifiers.pagerduty import ADAPTER, PagerDutyOptions
from adapters.notifiers.pagerduty_events import dedup_key
from engine.adapter import Duration, NotifierContext, Reference
from engine.credential_events import Cause
from engine.errors import Rejected
from engine.notices import Notice, NoticeKind, Urgency
from engine.notifier import Notifier
from engine.values import SECOND, Secret
from tests.sinks.pagerduty import EVENT_BYTES_MAX, ROUTING_KEY, problems_of_event
from tests.unit.notifiers import drawn

KEY = Reference.parse("env://PAGERDUTY_KEY")
CONTEXT = NotifierContext("pagerduty", "db", "production", Path(), lambda reference: Secret(ROUTING_KEY))
ALERTS = {
    NoticeKind.FAILED: "error",
    NoticeKind.ROLLBACK_STARTED: "error",
    NoticeKind.ROLLED_BACK: "warning",
    NoticeKind.ROLLBACK_FAILED: "critical",
    NoticeKind.OVERDUE: "warning",
    NoticeKind.UNDELIVERED: "error",
}
"""The kinds that open an alert or change it, and its severity, where failures are errors."""
SILENT = {
    NoticeKind.STARTED,
    NoticeKind.WAVE_COMPLETED,
    NoticeKind.PAUSED,
    NoticeKind.RESUMED,
    NoticeKind.WAITING,
}
COMPLETED = drawn.of(NoticeKind.COMPLETED)
FAILED = drawn.of(NoticeKind.FAILED)


def pagerduty(**options: Any) -> Notifier:
    """Return a channel."""
    return ADAPTER.build(PagerDutyOptions(integration_key=KEY, **options), CONTEXT)


CHANNEL = pagerduty()


def events(*notices: Notice, dropped: int = 0, channel: Notifier = CHANNEL) -> list[dict[str, Any]]:
    """Return the events of notices, decoded."""
    outgoing = channel.render(notices, key="key", dropped=dropped)
    return [msgspec.json.decode(content) for content in (outgoing.content, *outgoing.further)]


def check(content: bytes) -> None:
    """See that an event is one that PagerDuty takes."""
    event = {**msgspec.json.decode(content), "routing_key": ROUTING_KEY}
    assert problems_of_event(event, is_change="event_action" not in event) == []
    assert len(msgspec.json.encode(event)) <= EVENT_BYTES_MAX


@pytest.mark.slow
@given(drawn.notices, st.sampled_from(Urgency), st.booleans())
def test_an_event_is_always_one_that_pagerduty_takes(notice: Notice, severity: Urgency, resolves: bool) -> None:  # noqa: FBT001 - drawn
    """Within every limit, with everything that is required; and what is supported can be rendered."""
    channel = pagerduty(severity=severity, auto_resolve=resolves, client_url="https://keyturn.example/")
    if not channel.supports(notice, selected=True):
        with pytest.raises(Rejected):
            channel.render([notice], key="key")
        return
    outgoing = channel.render([notice], key="key")
    for content in (outgoing.content, *outgoing.further):
        check(content)
    assert channel.render([notice], key="key") == outgoing


@pytest.mark.slow
@given(st.lists(drawn.notices, min_size=2, max_size=40), st.integers(1, 10_000))
def test_a_digest_is_always_one_that_pagerduty_takes(notices: list[Notice], dropped: int) -> None:
    outgoing = CHANNEL.render(notices, key="key", dropped=dropped)
    for content in (outgoing.content, *outgoing.further):
        check(content)


@pytest.mark.slow
@given(drawn.notices)
def test_all_that_people_read_is_told(notice: Notice) -> None:
    """What searches for secrets must see the texts as they are, not as JSON writes them."""
    if not CHANNEL.supports(notice, selected=True):
        return
    shown = "\n".join(CHANNEL.render([notice], key="key").readable)
    for event in events(notice):
        payload = event.get("payload", {"summary": "", "custom_details": {}})
        assert payload["summary"] in shown
        told = payload["custom_details"].values()
        assert all(text in shown for value in told for text in (value if isinstance(value, list) else [value]))


@pytest.mark.parametrize(("kind", "severity"), ALERTS.items())
def test_a_problem_triggers_an_alert(kind: NoticeKind, severity: str) -> None:
    (event,) = events(drawn.of(kind))
    assert event["event_action"] == "trigger"
    assert event["payload"]["severity"] == severity
    assert event["payload"]["class"] == kind.value


@pytest.mark.parametrize("severity", Urgency)
def test_the_severity_of_a_failure_is_configured_and_that_of_a_failed_rollback_is_critical(severity: Urgency) -> None:
    channel = pagerduty(severity=severity)
    assert events(FAILED, channel=channel)[0]["payload"]["severity"] == severity.value
    failed = drawn.of(NoticeKind.ROLLBACK_FAILED)
    assert events(failed, channel=channel)[0]["payload"]["severity"] == "critical"


def test_a_rollback_updates_the_alert_of_the_failure() -> None:
    """All that goes wrong with a credential is one alert, whichever rotation it was."""
    keys = {
        event["dedup_key"]
        for number, kind in enumerate(ALERTS)
        if kind is not NoticeKind.UNDELIVERED
        for event in events(replace(drawn.of(kind), rotation_id=str(number)))
    }
    assert keys == {"keyturn/production/db"}


def test_a_channel_in_trouble_has_an_alert_of_its_own_which_no_rotation_resolves() -> None:
    notice = replace(drawn.of(NoticeKind.UNDELIVERED), service="", environment="", channel="slack")
    assert events(notice)[0]["dedup_key"] == "keyturn//slack"
    assert events(notice)[0]["payload"]["source"] == "keyturn"


def test_a_success_after_a_failure_resolves_the_alert_and_is_a_change() -> None:
    resolve, change = events(COMPLETED)
    assert resolve == {"event_action": "resolve", "dedup_key": "keyturn/production/db"}
    assert change["payload"]["summary"] == "production/db has a new credential"
    assert "severity" not in change["payload"]


def test_a_success_without_a_failure_before_is_a_change_alone() -> None:
    (change,) = events(replace(COMPLETED, ends_failure=False))
    assert "event_action" not in change


def test_without_auto_resolve_alerts_stay_open() -> None:
    channel = pagerduty(auto_resolve=False)
    (change,) = events(COMPLETED, channel=channel)
    assert "event_action" not in change
    assert not channel.supports(COMPLETED, selected=False)


def test_what_ends_a_failure_is_told_whatever_events_select() -> None:
    assert CHANNEL.supports(COMPLETED, selected=False)
    assert not CHANNEL.supports(replace(COMPLETED, ends_failure=False), selected=False)
    assert not any(CHANNEL.supports(drawn.of(kind), selected=False) for kind in ALERTS)


@pytest.mark.parametrize("kind", NoticeKind)
def test_problems_and_successes_are_told_where_they_are_selected(kind: NoticeKind) -> None:
    assert CHANNEL.supports(drawn.of(kind), selected=True) is (kind not in SILENT)


@pytest.mark.parametrize("kind", sorted(SILENT))
def test_what_nobody_is_woken_for_cannot_be_rendered(kind: NoticeKind) -> None:
    with pytest.raises(Rejected, match=kind.value):
        events(drawn.of(kind))


def test_a_rollback_that_a_person_asked_for_is_a_change_and_wakes_nobody() -> None:
    asked = {"automatic": False, "cause": None}
    began = replace(drawn.of(NoticeKind.ROLLBACK_STARTED), **asked)
    done = replace(drawn.of(NoticeKind.ROLLED_BACK), **asked)
    assert not CHANNEL.supports(began, selected=True)
    assert CHANNEL.supports(done, selected=True)
    assert "event_action" not in events(done)[0]


def test_a_rollback_that_a_person_began_after_a_failure_updates_its_alert() -> None:
    done = replace(drawn.of(NoticeKind.ROLLED_BACK), automatic=False)
    assert done.cause is not None
    assert events(done)[0]["payload"]["severity"] == "warning"


def test_an_alert_says_what_to_do() -> None:
    (event,) = events(FAILED)
    assert event["payload"] == {
        "summary": "Rotation of production/db failed: a test: the target refused the new value",
        "source": "production/db",
        "severity": "error",
        "timestamp": "2026-09-21T14:13:20.000000Z",
        "component": "db",
        "group": "production",
        "class": "failed",
        "custom_details": {
            "Step": "verify",
            "Cause": "a test: the target refused the new value",
            "Remedy": "This is a test; do nothing.",
            "Reason": "this is a test, nothing happened",
            "Version": "v00000000000000000000",
            "Previous version": "v00000000000000000001",
            "Strategy": "alternating",
            "Actor": "keyturn",
            "Duration": "5.0 s",
            "Not before": "2026-09-22T14:13:20.000000Z",
            "Rotation": "00000000-0000-4000-8000-000000000000",
            "At": "2026-09-21T14:13:20.000000Z",
            "Next": ["keyturn show 00000000-0000-4000-8000-000000000000 tells what happened"],
        },
    }


def test_names_and_links_are_configured() -> None:
    channel = pagerduty(service_name="billing", group="payments", client_url="https://keyturn.example/")
    (event,) = events(FAILED, channel=channel)
    assert (event["payload"]["component"], event["payload"]["group"]) == ("billing", "payments")
    assert (event["client"], event["client_url"]) == ("keyturn", "https://keyturn.example/")
    change = events(COMPLETED, channel=channel)[1]
    assert change["links"] == [{"href": "https://keyturn.example/", "text": "keyturn"}]


def test_the_summary_keeps_the_beginning_of_the_cause() -> None:
    cause = Cause("verify", "rejected", "refused: " + "🔑" * 5_000)
    summary = events(replace(FAILED, cause=cause))[0]["payload"]["summary"]
    assert summary.startswith("Rotation of production/db failed: refused: 🔑")
    assert summary.endswith("🔑…")
    assert len(summary.encode("utf-16-le")) // 2 in {1_023, 1_024}
    plain = events(replace(FAILED, cause=Cause("verify", "rejected", "x" * 5_000)))[0]["payload"]["summary"]
    assert len(plain) == 1_024


def test_the_key_is_not_in_what_is_rendered() -> None:
    outgoing = CHANNEL.render([FAILED], key="key")
    assert b"routing_key" not in outgoing.content
    assert ROUTING_KEY not in str(outgoing)


def test_of_each_alert_a_digest_has_the_last_event_and_of_changes_one() -> None:
    other = replace(FAILED, service="other")
    one_more = replace(COMPLETED, service="cache", ends_failure=False)
    told = events(FAILED, other, drawn.of(NoticeKind.ROLLED_BACK), COMPLETED, one_more, dropped=2)
    assert [(event.get("event_action"), event.get("dedup_key")) for event in told] == [
        ("trigger", "keyturn/production/other"),
        ("resolve", "keyturn/production/db"),
        (None, None),
    ]
    assert told[2]["payload"]["summary"] == "keyturn: 2 notifications, and 2 more that were not kept"
    assert [line.split(" ", 1)[1] for line in told[2]["payload"]["custom_details"]["Notifications"]] == [
        "production/db has a new credential",
        "production/cache has a new credential",
    ]


def test_alerts_of_a_digest_come_in_the_order_of_their_last_events() -> None:
    other = replace(FAILED, service="other")
    told = events(FAILED, other, COMPLETED)
    assert [event["event_action"] for event in told[:2]] == ["trigger", "resolve"]


def test_what_was_dropped_is_told_even_where_nothing_changed() -> None:
    trigger, change = events(FAILED, dropped=9)
    assert trigger["event_action"] == "trigger"
    assert "9 more" in change["payload"]["summary"]


def test_a_key_names_one_credential_however_long_or_strange() -> None:
    """A short one is readable; of others the hash is, and two credentials never share one."""
    assert dedup_key(FAILED) == "keyturn/production/db"
    strange = ["x" * 255, "x" * 256, "🔑" * 130, "a\nb", "a\x00b", "\ud800"]
    keys = [dedup_key(replace(FAILED, service=name)) for name in strange]
    assert all(key.isprintable() and len(key.encode("utf-16-le")) // 2 <= 255 for key in keys)
    assert all(one != another for one, another in itertools.combinations(keys, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://events.example"}, "`url`"),
        ({"client_url": "javascript:alert(1)"}, "`client_url`"),
        ({"timeout": Duration(0)}, "`timeout`"),
        ({"timeout": Duration(61 * SECOND)}, "`timeout`"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    assert said in "\n".join(pagerduty(**given).validate())


def test_what_can_be_meant_is_taken() -> None:
    assert not CHANNEL.validate()
    assert not pagerduty(region="eu", url="https://events.example", client_url="https://x.example").validate()


@pytest.mark.parametrize("given", [{"integration_key": ROUTING_KEY}, {"severity": "bad"}, {"region": "mars"}, {}])
def test_options_of_a_wrong_kind_are_refused(given: dict[str, Any]) -> None:
    """The key itself as well: a reference is expected in its place."""
    options = {"integration_key": "env://KEY", **given} if given else {}
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(options, PagerDutyOptions, dec_hook=lambda kind, value: kind.parse(value))
    assert ROUTING_KEY not in str(caught.value)


def test_a_sink_is_told_by_references() -> None:
    """Services with the same integration share a queue and its limit."""
    sinks = {
        ADAPTER.sink(PagerDutyOptions(**given))
        for given in (
            {"integration_key": KEY},
            {"integration_key": KEY, "severity": Urgency.INFO},
            {"integration_key": KEY, "region": "eu"},
            {"integration_key": Reference.parse("env://OTHER")},
        )
    }
    assert len(sinks) == 3


def test_the_pace_is_the_vendors() -> None:
    """120 calls a minute, and three more tries, 30 s apart."""
    pace = CHANNEL.pace
    assert pace.per_second * 60 == 120
    assert (pace.attempts, pace.first, pace.is_exponential) == (4, 30 * SECOND, False)
