"""The collector: what it adds to the log, the labels, the formats, and that the series stay few."""

from __future__ import annotations

import os
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from adapters.metrics import OPENMETRICS, exposition, write_textfile
from engine import channel_events as c
from engine import events as e
from engine.facts import Fact
from engine.health import CheckResult
from engine.values import SECOND, Deadline, Instant, Microseconds
from projections.metrics import catalogue
from tests.histories import BEGAN, CAUSE
from tests.promtool import promtool
from tests.unit.adapters.metrics_bench import CONFIGURATION, DAY, Told, channel_of, installed, samples, value
from tests.unit.projections.stories import Story

APP = {"service": "app-db", "env": "production"}


# --- what the log cannot say alone -----------------------------------------------------------------------


def test_a_service_is_due_its_ttl_after_the_last_success(tmp_path: Path) -> None:
    story = Story().rotate("v1")
    with installed(tmp_path, story.facts) as collector:
        due = value(collector, "keyturn_credential_due_timestamp_seconds", **APP)
        assert due == story.at_of(e.Promoted) / SECOND + 30 * DAY
        names = {name: labels for name, labels in samples(collector) if "due" in name}
        assert names == {"keyturn_credential_due_timestamp_seconds": tuple(sorted(APP.items()))}


def test_a_service_without_ttl_is_never_due(tmp_path: Path) -> None:
    text = CONFIGURATION.replace("ttl: 30d, notifications", "notifications")
    with installed(tmp_path, Story().rotate("v1").facts, text=text) as collector:
        assert value(collector, "keyturn_credential_due_timestamp_seconds", **APP) is None


def test_counters_of_what_is_configured_begin_at_zero(tmp_path: Path) -> None:
    """Or the first failure of a service would not be seen as an increase."""
    with installed(tmp_path, []) as collector:
        channel = channel_of(collector)
        for outcome in ("completed", "failed", "rolled_back", "rollback_failed", "cancelled"):
            labels = {"service": "never", "env": "default", "strategy": "dual", "outcome": outcome}
            assert value(collector, "keyturn_rotations_total", **labels) == 0
        assert value(collector, "keyturn_rollbacks_total", **APP, type="automatic") == 0
        assert value(collector, "keyturn_notifications_total", channel=channel, result="given_up") == 0
        assert value(collector, "keyturn_notifications_dropped_total", channel=channel) == 0


def test_what_waits_for_a_channel_is_told_with_the_age_of_the_oldest(tmp_path: Path) -> None:
    """Only what stands behind the opening of the channel waits for it."""
    story = Story().rotate("v1")
    with installed(tmp_path, story.facts) as collector:
        channel = channel_of(collector)
        assert value(collector, "keyturn_outbox_depth", channel=channel) == 0
    told = Told(channel)
    opened = told.fact(c.ChannelOpened(channel, 0), at=BEGAN)
    at = story.at_of(e.PreviousRetired) + 600 * SECOND
    with installed(tmp_path, [*story.facts, opened], at=at) as collector:
        assert value(collector, "keyturn_outbox_depth", channel=channel) == 2
        age = (at - story.at_of(e.RotationStarted)) / SECOND
        assert value(collector, "keyturn_outbox_oldest_seconds", channel=channel) == age
    delivered = told.fact(c.NotificationDelivered(channel, (1,)), at=BEGAN)
    with installed(tmp_path, [*story.facts, opened, delivered], at=at) as collector:
        assert value(collector, "keyturn_outbox_depth", channel=channel) == 1
        assert value(collector, "keyturn_notifications_total", channel=channel, result="delivered") == 1


def test_what_was_given_up_is_a_dead_letter_until_it_is_sent_again(tmp_path: Path) -> None:
    story = Story().rotate("v1")
    with installed(tmp_path, story.facts) as collector:
        channel = channel_of(collector)
    told = Told(channel)
    facts: list[Fact] = [*story.facts, told.fact(c.ChannelOpened(channel, 0), at=BEGAN)]
    facts.append(told.fact(c.NotificationGivenUp(channel, (1,), 9, CAUSE), at=BEGAN))
    facts.append(told.fact(c.NotificationsDropped(channel, (2, 3)), at=BEGAN))
    with installed(tmp_path, facts) as collector:
        assert value(collector, "keyturn_dead_letters", channel=channel) == 3
    facts.append(told.fact(c.NotificationsRequeued(channel, (1, 2, 3)), at=BEGAN))
    with installed(tmp_path, facts) as collector:
        assert value(collector, "keyturn_dead_letters", channel=channel) == 0


def test_a_channel_that_is_configured_no_more_has_no_dead_letters(tmp_path: Path) -> None:
    """Nobody could send them again, so an alert on them would never end; that they were given up is still counted."""
    told = Told("gone-1234")
    facts = [*Story().rotate("v1").facts, told.fact(c.ChannelOpened("gone-1234", 0), at=BEGAN)]
    facts.append(told.fact(c.NotificationGivenUp("gone-1234", (1,), 9, CAUSE), at=BEGAN))
    with installed(tmp_path, facts) as collector:
        assert value(collector, "keyturn_dead_letters", channel="gone-1234") is None
        assert value(collector, "keyturn_notifications_total", channel="gone-1234", result="given_up") == 1


def test_a_channel_that_rests_or_is_disabled_is_open(tmp_path: Path) -> None:
    """Until the time of its next try, or until a person enables it."""
    with installed(tmp_path, []) as collector:
        channel = channel_of(collector)
    told = Told(channel)
    until = Instant(BEGAN + 60 * SECOND)
    facts = [
        told.fact(c.ChannelOpened(channel, 0), at=BEGAN),
        told.fact(c.NotificationPostponed(channel, (1,), 1, CAUSE, until), at=BEGAN),
    ]
    for at, is_open in ((until - 1, 1), (until, 0)):
        with installed(tmp_path, facts, at=at) as collector:
            assert value(collector, "keyturn_breaker_open", channel=channel) == is_open
    facts.append(told.fact(c.ChannelDisabled(channel, CAUSE), at=BEGAN))
    with installed(tmp_path, facts, at=until) as collector:
        assert value(collector, "keyturn_breaker_open", channel=channel) == 1


# --- health checks ---------------------------------------------------------------------------------------

CHECKED = CONFIGURATION.replace(
    "strategy: single,",
    "strategy: single, health_checks: {checks: "
    "[{type: connection}, {type: tcp, host: a, port: 1, name: near}, {type: tcp, host: b, port: 1, name: far}]},",
)
DUE = Deadline(Instant(BEGAN + DAY * SECOND))


def saw(story: Story, check: str, result: CheckResult) -> Story:
    """Have a check see this, for a quarter of a second."""
    return story.move(e.HealthSampled(check, result, DUE, duration=Microseconds(SECOND // 4)))


def monitored() -> Story:
    """Return a rotation whose new version is looked at."""
    return Story().start("v1").promote().move(e.MonitoringStarted(DUE))


@pytest.mark.parametrize(("result", "number"), list(zip(CheckResult, range(4), strict=True)))
def test_what_a_check_saw_last_is_a_number(tmp_path: Path, result: CheckResult, number: int) -> None:
    """The exit codes of Nagios, in the order in which the results stand."""
    story = saw(saw(monitored(), "connection", CheckResult.WARN), "connection", result)
    with installed(tmp_path, saw(story, "removed", result).facts, text=CHECKED) as collector:
        assert value(collector, "keyturn_check_status", **APP, check="connection") == number
        assert value(collector, "keyturn_check_duration_seconds", **APP, check="connection") == 0.25
        for absent in ("near", "removed"):
            assert value(collector, "keyturn_check_status", **APP, check=absent) is None


@pytest.mark.parametrize(
    ("near", "far", "status"),
    [("pass", "warn", 1), ("fail", "pass", 0), ("pass", "unknown", 0), ("warn", None, 1), (None, None, None)],
)
def test_dsops_knows_healthy_and_unhealthy_by_type(
    tmp_path: Path, near: str | None, far: str | None, status: int | None
) -> None:
    """Where there are several checks of one type, one that is not well is enough; what is not seen is not healthy."""
    story = monitored()
    for check, result in (("near", near), ("far", far)):
        if result:
            saw(story, check, CheckResult(result))
    for compat in (True, False):
        more = "metrics: {compat: dsops}\n" if compat else ""
        (tmp_path / str(compat)).mkdir()
        with installed(tmp_path / str(compat), story.facts, text=CHECKED, more=more) as collector:
            told = value(collector, "dsops_health_check_status", service="app-db", check_type="tcp")
            assert told == (status if compat else None)
            assert value(collector, "dsops_health_check_status", service="app-db", check_type="connection") is None


# --- the configuration -----------------------------------------------------------------------------------


def test_every_series_has_the_configured_labels(tmp_path: Path) -> None:
    """Those of dsops as well."""
    more = "metrics: {prometheus: {labels: {team: platform}}, compat: dsops}\n"
    with installed(tmp_path, Story().rotate("v1").facts, more=more) as collector:
        found = samples(collector)
        assert found
        assert not [name for name, labels in found if ("team", "platform") not in labels]


@pytest.mark.parametrize("compat", [True, False])
def test_the_names_of_dsops_are_there_where_they_are_asked_for(tmp_path: Path, *, compat: bool) -> None:
    more = "metrics: {compat: dsops}\n" if compat else ""
    with installed(tmp_path, Story().rotate("v1").facts, more=more) as collector:
        names = [metric.name for metric in catalogue.METRICS]
        names += [metric.name for metric in catalogue.ALIASES] if compat else []
        assert [family.metric.name for family in collector.families()] == names
        labels = {"service": "app-db", "environment": "production", "status": "success"}
        assert value(collector, "dsops_rotation_completed_total", **labels) == (1 if compat else None)


# --- the formats -----------------------------------------------------------------------------------------


def busy() -> list[Fact]:
    """Return facts that give every metric a value, a channel's aside."""
    return Story().rotate("v1").start("v2").promote().fail_rollback().facts


def test_both_formats_say_the_same(tmp_path: Path) -> None:
    """OpenMetrics is read by the strict parser, which refuses what is not in order."""
    with installed(tmp_path, busy(), more="metrics: {compat: dsops}\n") as collector:
        text, content_type = exposition(collector)
        assert content_type.startswith("text/plain; version=0.0.4")
        opened, content_type = exposition(collector, accept=f"{OPENMETRICS};q=0.8,text/plain;q=0.5")
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        wanted = samples(collector)
    for found in (plain_text(text.decode()), open_metrics(opened.decode())):  # type: ignore[no-untyped-call]  # as it comes
        seen = {(s.name, tuple(sorted(s.labels.items()))): s.value for metric in found for s in metric.samples}
        assert seen == wanted


def test_the_tool_of_prometheus_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    """Names, units, help and types."""
    with installed(tmp_path, busy(), more="metrics: {compat: dsops}\n") as collector:
        assert not promtool("check", "metrics", stdin=exposition(collector)[0].decode())


def test_a_file_is_put_there_as_a_whole(tmp_path: Path) -> None:
    """A reader that has the old file open keeps it; the new one is another file, and nothing else is left."""
    path = tmp_path / "out" / "keyturn.prom"
    path.parent.mkdir()
    path.write_text("before\n")
    with path.open() as held, installed(tmp_path, busy()) as collector:
        write_textfile(collector, path)
        assert held.read() == "before\n"
        assert path.read_bytes() == exposition(collector)[0]
        assert os.fstat(held.fileno()).st_ino != path.stat().st_ino
    assert list(path.parent.iterdir()) == [path]


def test_the_series_do_not_grow_with_the_rotations(tmp_path: Path) -> None:
    """No id of a rotation or a version is a label."""
    story = Story().rotate("v1").rotate("v2")
    with installed(tmp_path, story.facts) as collector:
        before = set(samples(collector))
    for number in range(3, 9):
        story.rotate(f"v{number}")
    with installed(tmp_path, story.facts) as collector:
        assert set(samples(collector)) == before
    told = {text for _, labels in before for _, text in labels}
    assert not told & {"v1", "v2", *(str(UUID(bytes=fact.originator_id.bytes)) for fact in story.facts)}
