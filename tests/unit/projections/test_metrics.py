"""Metrics: equal to an independent fold of the log, however it is cut, and the stories behind single numbers."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

import pytest
from msgspec.structs import replace

from adapters.views import SqliteViews
from engine import channel_events as c
from engine import events as e
from engine.channel_events import channel_id
from engine.facts import Fact, Recorded
from engine.plan import Kind
from engine.values import SECOND, Instant
from projections.feed import Row, catch_up, rebuild
from projections.metrics import aliases, catalogue
from projections.metrics.fold import METRICS
from projections.metrics.reading import Family, Values, families, read
from projections.status import STATUS, documents
from tests.histories import BEGAN, ListedLog, recorded
from tests.unit.projections.metrics_fold import OVERLAPPING, distribution, expected, varied
from tests.unit.projections.stories import REFUSED, Story

HISTORIES: Final = 1_000


@contextmanager
def kept() -> Iterator[SqliteViews]:
    """Open an empty file of views."""
    with tempfile.TemporaryDirectory() as folder, SqliteViews(Path(folder, "views.db")) as views:
        yield views


def contents(views: SqliteViews) -> dict[str, list[Row]]:
    """Return all rows of the view."""
    with views.reading(METRICS) as rows:
        return {table.name: rows.select(table) for table in METRICS.tables}


def values_of(facts: list[Recorded]) -> Values:
    """Return what the view holds after the facts."""
    with kept() as views:
        catch_up(METRICS, ListedLog(facts), views)
        with views.reading(METRICS) as rows:
            return read(rows)


def metrics_of(story: Story) -> dict[str, Family]:
    """Return the metrics after a story."""
    return families(values_of(recorded(story.facts)))


@pytest.mark.slow
def test_the_metrics_equal_an_independent_fold_of_a_thousand_histories() -> None:
    """Every counter, every bucket and sum, and every gauge, for each history; and none beside them."""
    seen = Counter[str]()
    with kept() as views:
        for seed in range(HISTORIES):
            facts = varied(Random(seed))
            catch_up(METRICS, ListedLog(facts), views)
            with views.reading(METRICS) as rows:
                found = families(read(rows))
            wanted = expected(facts)
            for metric in COUNTED:
                assert found[metric.name].values == dict(+wanted["counts"][metric.name]), (seed, metric.name)
                seen[metric.name] += len(found[metric.name].values)
            for metric in MEASURED:
                lengths = wanted["lengths"][metric.name]
                assert found[metric.name].distributions == {
                    labels: distribution(metric, each) for labels, each in lengths.items()
                }, (seed, metric.name)
                seen[metric.name] += len(lengths)
            is_open = {labels: count for labels, count in found[catalogue.IN_STATE.name].values.items() if count}
            assert is_open == dict(wanted["open"]), seed
            _assert_as_in_status(found, facts, views)
    assert not [metric.name for metric in (*COUNTED, *MEASURED) if seen[metric.name] < 500], seen


def _assert_as_in_status(found: dict[str, Family], facts: list[Recorded], views: SqliteViews) -> None:
    """Hold the gauges of credentials against another projection of the same log."""
    catch_up(STATUS, ListedLog(facts), views)
    with views.reading(STATUS) as rows:
        entries = {(each["service"], each["environment"]): each for each in documents(rows)}
    overlapping = found[catalogue.OVERLAP_SINCE.name].values
    assert found[catalogue.VALID.name].values == {
        who: int(each["version"] is not None) + int(who in overlapping) for who, each in entries.items()
    }
    assert found[catalogue.LAST_SUCCESS.name].values == {
        who: each["last_rotated_at"] / SECOND for who, each in entries.items() if each["last_rotated_at"] is not None
    }
    assert found[catalogue.GRACE_END.name].values == {
        who: each["grace_until"] / SECOND for who, each in entries.items() if each["grace_until"] is not None
    }


COUNTED: Final = (
    catalogue.EVENTS,
    catalogue.STARTED,
    catalogue.ROTATIONS,
    catalogue.ROLLBACKS,
    catalogue.NOTIFICATIONS,
    catalogue.DROPPED,
)
MEASURED: Final = (catalogue.DURATION, catalogue.ACTIVE, catalogue.PAUSED, catalogue.VERIFICATION)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(25))
def test_however_the_log_is_cut_the_rows_are_the_same(seed: int) -> None:
    """In one batch, in batches of one, and by commands that each fold a little with a fold of their own."""
    random = Random(seed)
    facts = varied(random)
    with kept() as whole, kept() as single, kept() as short:
        catch_up(METRICS, ListedLog(facts), whole)
        catch_up(METRICS, ListedLog(facts), single, batch=1)
        until = 0
        while until < len(facts):
            until += random.randrange(1, 12)
            catch_up(METRICS, ListedLog(facts[:until]), short, batch=random.randrange(1, 9))
        assert contents(whole) == contents(single) == contents(short)
        live = contents(short)
        rebuild(METRICS, ListedLog(facts), short)
        assert contents(short) == live


# --- single numbers --------------------------------------------------------------------------------------

APP: Final = ("app-db", "production")


def test_a_rotation_that_completed_is_one_outcome_with_its_lengths() -> None:
    """Its grace period is part of it, and no work."""
    story = Story().start("v1").to_grace(0)
    entered = story.at_of(e.MonitoringPassed)
    story.end_grace()
    found = metrics_of(story)
    how = ("single", "completed")
    assert found["keyturn_rotations_total"].values == {(*APP, *how): 1}
    lasted = (story.at_of(e.PreviousRetired) - story.at_of(e.RotationStarted)) / SECOND
    graced = (story.at_of(e.GraceEnded) - entered) / SECOND
    assert found["keyturn_rotation_duration_seconds"].distributions[how].sum == lasted
    assert found["keyturn_rotation_active_duration_seconds"].distributions[how].sum == lasted - graced
    assert found["keyturn_rotation_paused_duration_seconds"].distributions[how].sum == 0


def test_waiting_for_a_person_is_no_work() -> None:
    """From the pause to the word of a person."""
    story = Story().start("v1").stage().move(e.CandidateApplied(), e.CandidateVerified())
    story.move(e.RolloutPaused(), e.RolloutResumed(), e.RotationFailed(REFUSED))
    found = metrics_of(story)
    how = ("single", "failed")
    paused = (story.at_of(e.RolloutResumed) - story.at_of(e.RolloutPaused)) / SECOND
    assert found["keyturn_rotation_paused_duration_seconds"].distributions[how].sum == paused
    lasted = found["keyturn_rotation_duration_seconds"].distributions[how].sum
    assert found["keyturn_rotation_active_duration_seconds"].distributions[how].sum == lasted - paused


def test_a_rotation_that_never_began_is_an_outcome_without_length() -> None:
    story = Story().start("v1")
    story.queue()
    story.end_waiting(e.RotationCancelled())
    found = metrics_of(story)
    assert found["keyturn_rotations_total"].values == {(*APP, "single", "cancelled"): 1}
    assert not found["keyturn_rotation_duration_seconds"].distributions
    assert found["keyturn_rotations_started_total"].values == {(*APP, "single"): 1}


def test_who_decides_to_go_back_is_told() -> None:
    """By itself, by a person, and as a rotation of its own."""
    story = Story().rotate("v1").start("v2").promote().roll_back(automatic=True)
    story.start("v3").promote().roll_back(automatic=False).rotate("v1", kind=Kind.ROLLBACK)
    counted = metrics_of(story)["keyturn_rollbacks_total"].values
    assert counted == {(*APP, "automatic"): 1, (*APP, "manual"): 2}


def test_a_rollback_that_failed_is_told_before_it_is_over() -> None:
    """It rests, and is open."""
    found = metrics_of(Story().rotate("v1").start("v2").promote().fail_rollback())
    assert found["keyturn_rotations_total"].values[*APP, "single", "rollback_failed"] == 1
    assert found["keyturn_rotations_open"].values["rollback_failed",] == 1
    assert list(found["keyturn_rotation_state_entered_timestamp_seconds"].values) == [(*APP, "rollback_failed")]


def test_the_last_success_is_taken_back_with_the_version() -> None:
    story = Story().rotate("v1")
    before = story.at_of(e.Promoted)
    name = "keyturn_credential_last_success_timestamp_seconds"
    assert metrics_of(story)[name].values == {APP: before / SECOND}
    story.start("v2").promote()
    assert metrics_of(story)[name].values == {APP: story.at_of(e.Promoted) / SECOND}
    story.roll_back(automatic=True)
    assert metrics_of(story)[name].values == {APP: before / SECOND}


def test_two_versions_are_valid_from_apply_until_the_old_one_is_retired() -> None:
    """Or until the rotation is taken back; where one login holds one value there is no overlap."""
    story = Story()
    story.plan = OVERLAPPING
    valid, since = "keyturn_credential_versions_valid", "keyturn_credential_overlap_start_timestamp_seconds"
    assert metrics_of(story.start("v1").promote())[valid].values == {APP: 1}
    story.move(e.MonitoringPassed(e.Fence("", "", BEGAN).limit)).end_grace().start("v2").stage()
    assert metrics_of(story)[valid].values == {APP: 1}
    story.move(e.CandidateApplied())
    found = metrics_of(story)
    assert (found[valid].values, found[since].values) == (
        {APP: 2},
        {APP: story.at_of(e.CandidateApplied) / SECOND},
    )
    story.roll_back(automatic=True)
    assert metrics_of(story)[valid].values == {APP: 1}
    story.start("v3").to_grace(BEGAN + 99 * SECOND)
    found = metrics_of(story)
    assert found[valid].values == {APP: 2}
    assert found["keyturn_credential_grace_end_timestamp_seconds"].values == {APP: (BEGAN + 99 * SECOND) / SECOND}
    found = metrics_of(story.end_grace())
    assert found[valid].values == {APP: 1}
    assert not found[since].values
    assert not found["keyturn_credential_grace_end_timestamp_seconds"].values


def test_a_version_that_was_captured_overlaps_as_well() -> None:
    """The first rotation may find out on its way that there is an old version."""
    story = Story()
    story.plan = OVERLAPPING
    story.start("v1").move(e.PreviousCaptured("v0", "app", "00ff")).note(e.VersionAdopted("v0", "app"))
    found = metrics_of(story.stage().move(e.CandidateApplied()))
    assert found["keyturn_credential_versions_valid"].values == {APP: 2}


def test_a_credential_that_never_was_named_is_not_shown() -> None:
    """A version may be taken down for it before any rotation."""
    assert not metrics_of(Story().note(e.VersionAdopted("v0", "app")))["keyturn_credential_versions_valid"].values


def test_a_clock_that_is_set_back_measures_nothing() -> None:
    """A length below zero would make a sum go down, and look like a restart."""
    story = Story().start("v1")
    story._at = BEGAN
    story.move(e.RotationFailed(REFUSED))
    story.facts[-2] = replace(story.facts[-2], at=Instant(0))
    found = metrics_of(story)["keyturn_rotation_duration_seconds"].distributions["single", "failed"]
    assert (found.sum, found.buckets[0]) == (0, ("1.0", 1))


# --- the names of dsops ----------------------------------------------------------------------------------


def test_the_aliases_add_up_the_same_numbers() -> None:
    """A rotation ends once, with success or without; buckets are those of dsops."""
    story = Story().rotate("v1").start("v2").promote().roll_back(automatic=True).start("v3").fail()
    story.turn_to("app-db", "staging").rotate("w1")
    facts = recorded([*story.facts, Fact(channel_id("ops"), 1, BEGAN, "ada", c.NotificationsDropped("ops", (1, 2)))])
    values = values_of(facts)
    found, ours = aliases.aliases(values), families(values)
    assert found["dsops_rotation_started_total"].values == ours["keyturn_rotations_started_total"].values
    assert found["dsops_rotation_completed_total"].values == {
        (*APP, "success"): 1,
        (*APP, "failure"): 2,
        ("app-db", "staging", "success"): 1,
    }
    assert found["dsops_rollback_total"].values == {("app-db", "automatic"): 1}
    assert found["dsops_notifications_dropped_total"].values == {("ops",): 2}
    lasted = found["dsops_rotation_duration_seconds"].distributions["app-db",]
    assert [bound for bound, _ in lasted.buckets] == ["1.0", "5.0", "10.0", "30.0", "60.0", "120.0", "+Inf"]
    active = ours["keyturn_rotation_active_duration_seconds"].distributions.values()
    assert lasted.sum == pytest.approx(sum(each.sum for each in active))
    assert lasted.buckets[-1] == ("+Inf", 4)
    assert found["dsops_verification_duration_seconds"].distributions["app-db",].buckets[-1] == ("+Inf", 3)
    assert set(found) == {metric.name for metric in catalogue.ALIASES} - {"dsops_health_check_status"}


def test_every_name_that_dsops_documents_is_an_alias() -> None:
    """Its dashboards ask for these."""
    assert {(alias.name, alias.labels) for alias in catalogue.ALIASES} == {
        ("dsops_rotation_started_total", ("service", "environment", "strategy")),
        ("dsops_rotation_completed_total", ("service", "environment", "status")),
        ("dsops_rotation_duration_seconds", ("service",)),
        ("dsops_health_check_status", ("service", "check_type")),
        ("dsops_rollback_total", ("service", "type")),
        ("dsops_verification_duration_seconds", ("service",)),
        ("dsops_notifications_dropped_total", ("channel",)),
    }
