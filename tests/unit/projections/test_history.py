"""History: a row for every event, and the rotations that they make up."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given

from adapters.views import SqliteViews
from engine import events as e
from engine import rotation as rotations
from engine.credential import credential_id
from engine.facts import Recorded
from engine.plan import Kind
from engine.values import SECOND, Instant
from projections import history
from projections.feed import Rows, catch_up
from projections.history import HISTORY, Query
from projections.restore import version_current_at
from projections.rotations import rotation_document
from projections.times import from_text, to_text
from tests.histories import BEGAN, CAUSE, ListedLog, histories, recorded
from tests.unit.projections.stories import REFUSED, Story


@contextmanager
def opened(facts: list[Recorded], *, batch: int = 3) -> Iterator[Rows]:
    """Fold facts in small batches, and open the view."""
    with tempfile.TemporaryDirectory() as folder, SqliteViews(Path(folder, "views.db")) as views:
        catch_up(HISTORY, ListedLog(facts), views, batch=batch)
        with views.reading(HISTORY) as rows:
            yield rows


def events(story: Story, **query: Any) -> list[dict[str, Any]]:
    """Return what is asked of a story."""
    with opened(recorded(story.facts)) as rows:
        return history.events(rows, Query(**query))


def test_an_event_is_told_whole() -> None:
    """Position, id and hash name it; the rest says who did what to which version."""
    story = Story().start("v1", reason="leaked")
    facts = recorded(story.facts)
    assert events(story)[0] == {
        "position": 1,
        "id": f"{story.rotation_id}/1",
        "at": to_text(facts[0].fact.at),
        "service": "app-db",
        "environment": "production",
        "rotation_id": str(story.rotation_id),
        "event": "rotation-started.2",
        "state": "staging",
        "version": "v1",
        "current": None,
        "actor": "ada",
        "reason": "leaked",
        "restorable": False,
        "hash": facts[0].hash.hex(),
    }


def test_a_fact_of_the_credential_belongs_to_the_open_rotation() -> None:
    """It has an id of its own, and no state."""
    story = Story().start("v1")
    opened_row = events(story)[1]
    assert opened_row["id"] == f"{story.credential.id}/1"
    assert (opened_row["rotation_id"], opened_row["state"]) == (str(story.rotation_id), None)


def test_the_facts_of_a_rotation_that_waits_are_its_own() -> None:
    """Also those that the credential takes down, while another one is open; it has no version yet."""
    story = Story().rotate("v1").start("v2")
    waiting = story.queue(reason="leaked")
    story.end_waiting(e.RotationCancelled("in vain"))
    asked, place, gone, closed = events(story)[-4:]
    assert [each["event"] for each in (asked, place, gone, closed)] == [
        "rotation-requested.1",
        "rotation-queued.1",
        "rotation-cancelled.1",
        "rotation-closed.1",
    ]
    assert {each["rotation_id"] for each in (asked, place, gone, closed)} == {str(waiting)}
    assert {each["version"] for each in (asked, place, gone, closed)} == {None}
    assert {each["current"] for each in (asked, place, gone, closed)} == {"v1"}
    assert [asked["state"], place["state"], gone["state"], closed["state"]] == ["waiting", None, "cancelled", None]
    assert [asked["reason"], gone["reason"]] == ["leaked", "in vain"]
    assert events(story.stage())[-1]["rotation_id"] == str(story.rotation_id)


def test_the_name_of_a_service_means_what_is_open_then_what_waits_then_the_newest() -> None:
    """The newest that began: what was withdrawn is named by its id alone."""
    story = Story().rotate("v1").start("v2")
    waiting = story.queue()

    def meant() -> UUID | None:
        with opened(recorded(story.facts)) as rows:
            return history.meant(rows, "app-db")

    assert meant() == story.rotation_id
    story.to_grace(BEGAN).end_grace()
    assert meant() == waiting
    newest = story.rotation_id
    story.end_waiting(e.RotationCancelled())
    assert meant() == newest
    with opened(recorded(story.facts)) as rows:
        assert history.meant(rows, "other") is None


def test_a_rotation_that_waits_has_neither_version_nor_outcome() -> None:
    """Who asked for it, and when, stays when its turn has come."""
    story = Story().rotate("v1").start("v2")
    waiting = story.queue(reason="leaked")
    with opened(recorded(story.facts)) as rows:
        seen = history.rotation(rows, waiting)
    assert seen is not None
    assert (seen["state"], seen["version"], seen["previous_version"], seen["outcome"]) == ("waiting", None, None, None)
    assert (seen["actor"], seen["reason"], seen["ended_at"], seen["error"]) == ("bob", "leaked", None, None)
    story.to_grace(BEGAN).end_grace().begin(waiting, "v3")
    with opened(recorded(story.facts)) as rows:
        begun = history.rotation(rows, waiting)
    assert begun is not None
    assert (begun["state"], begun["version"], begun["actor"], begun["events"]) == ("staging", "v3", "bob", 2)


def test_a_fact_of_the_credential_may_stand_alone() -> None:
    """A version that is taken over before a rotation has one that nobody opened yet."""
    story = Story().note(e.VersionAdopted("v0", "app")).start("v1")
    assert events(story)[0]["rotation_id"] is None
    assert events(story)[0]["service"] == "app-db"


def test_an_event_names_the_version_that_it_is_about_and_the_current_one() -> None:
    """Promotion itself happens while the old one is still called current."""
    story = Story().rotate("v1").start("v2").promote()
    seen = {each["event"]: (each["version"], each["current"]) for each in events(story)}
    assert seen["candidate-staged.1"] == ("v2", "v1")
    assert seen["promoted.1"] == ("v2", "v1")
    assert seen["current-changed.1"] == ("v2", "v2")


@pytest.mark.parametrize(
    ("event", "version"),
    [
        (e.AttemptStarted(1, "v1", "app", Instant(0)), "v1"),
        (e.AttemptStarted(1, "-v1", "app", Instant(0)), "v1"),
        (e.AttemptStarted(1, "", "app", Instant(0)), None),
        (e.LoginTried("app"), "v2"),
        (e.PreviousCaptured("v0", "app", "00"), "v0"),
    ],
)
def test_an_event_that_names_no_version_is_about_the_candidate(event: e.RotationEvent, version: str | None) -> None:
    """Going back to nothing is about no version."""
    story = Story().rotate("v1").start("v2").stage().move(event)
    assert events(story)[-1]["version"] == version


def test_that_nothing_is_current_any_more_is_about_no_version() -> None:
    story = Story().rotate("v1")
    story.note(e.CurrentChanged(story.rotation_id, None, None))
    assert (events(story)[-1]["version"], events(story)[-1]["current"]) == (None, None)


def test_the_reason_of_a_failure_is_what_went_wrong() -> None:
    """In the words of a person where one decided, else in those of the cause."""
    story = Story().rotate("v1").start("v2").stage().move(e.EffectPostponed(CAUSE, Instant(0)))
    assert events(story)[-1]["reason"] == "no answer in 5 s"
    story.roll_back(automatic=False)
    assert "on a whim" in [each["reason"] for each in events(story)]


def test_an_event_is_restorable_while_its_version_is_held() -> None:
    """What was destroyed since is not, however long ago the event was."""
    story = Story().rotate("v1").rotate("v2").rotate("v3").note(e.VersionDestroyed("v1"))
    restorable = {(each["current"], each["restorable"]) for each in events(story)}
    assert restorable == {(None, False), ("v1", False), ("v2", True), ("v3", True)}


@pytest.fixture(scope="module")
def two_services() -> Story:
    """A service that was rotated twice, and another one whose rotation failed."""
    story = Story().rotate("v1").rotate("v2")
    return story.turn_to("cache", "staging").start("v1").stage().fail()


def test_events_come_oldest_first(two_services: Story) -> None:
    positions = [each["position"] for each in events(two_services)]
    assert positions == list(range(1, len(two_services.facts) + 1))


def test_a_limit_takes_the_newest(two_services: Story) -> None:
    """And prints them in order all the same."""
    assert [each["position"] for each in events(two_services)[-3:]] == [
        each["position"] for each in events(two_services, limit=3)
    ]


def test_events_of_one_service(two_services: Story) -> None:
    assert {each["environment"] for each in events(two_services, service="cache")} == {"staging"}
    assert len(events(two_services, service="cache")) + len(events(two_services, service="app-db")) == len(
        two_services.facts
    )


def test_a_service_that_the_log_does_not_know_has_no_events(two_services: Story) -> None:
    assert events(two_services, service="nobody") == []


def test_events_within_a_time(two_services: Story) -> None:
    """Both ends belong to it."""
    since, until = Instant(BEGAN + 3 * SECOND), Instant(BEGAN + 6 * SECOND)
    seen = [from_text(each["at"]) for each in events(two_services, since=since, until=until)]
    assert seen == [BEGAN + number * SECOND for number in range(3, 7)]


def test_events_that_led_to_a_state(two_services: Story) -> None:
    assert [each["event"] for each in events(two_services, status="completed")] == ["previous-retired.1"] * 2
    assert events(two_services, status="cancelled") == []


def test_events_of_one_rotation(two_services: Story) -> None:
    """Those of its credential in that time among them; none for an id that the log does not have."""
    seen = events(two_services, rotation=two_services.rotation_id)
    assert [each["event"] for each in seen] == [
        "rotation-started.2",
        "rotation-opened.1",
        "candidate-staged.1",
        "rotation-failed.1",
        "rotation-closed.1",
    ]
    assert events(two_services, rotation=UUID(int=9)) == []


# --- rotations ------------------------------------------------------------------------------------------


def test_a_rotation_is_found_by_the_beginning_of_its_id(two_services: Story) -> None:
    """With dashes and without; an empty one is no beginning."""
    wanted = two_services.rotation_id
    with opened(recorded(two_services.facts)) as rows:
        assert history.find(rows, str(wanted)) == [wanted]
        assert history.find(rows, wanted.hex[:8].upper()) == [wanted]
        assert len(history.find(rows, "0")) == 3
        assert history.find(rows, "ff") == history.find(rows, "") == history.find(rows, "%") == []


def test_rotations_are_listed_oldest_first(two_services: Story) -> None:
    with opened(recorded(two_services.facts)) as rows:
        every = history.rotations_of(rows)
        assert [each["version"] for each in every] == ["v1", "v2", "v1"]
        assert history.rotations_of(rows, limit=1) == every[-1:]
        assert history.rotations_of(rows, limit=9) == every
        assert history.rotations_of(rows, service="cache") == every[2:]
        assert history.rotations_of(rows, states=["failed", "grace"]) == every[2:]
        assert history.rotations_of(rows, service="nobody") == []


def test_a_rotation_that_the_log_does_not_have_is_none(two_services: Story) -> None:
    with opened(recorded(two_services.facts)) as rows:
        assert history.rotation(rows, UUID(int=9)) is None


def test_a_completed_rotation_is_told_whole() -> None:
    story = Story().rotate("v1").rotate("v2", kind=Kind.ROLLBACK)
    with opened(recorded(story.facts)) as rows:
        seen = history.rotation(rows, story.rotation_id)
    assert seen == {
        "rotation_id": str(story.rotation_id),
        "service": "app-db",
        "environment": "production",
        "kind": "rollback",
        "strategy": "single",
        "state": "completed",
        "outcome": "completed",
        "version": "v2",
        "previous_version": "v1",
        "started_at": to_text(story.rotation.started_at),
        "ended_at": to_text(story.at_of(e.PreviousRetired)),
        "duration_seconds": 10.0,
        "actor": "ada",
        "reason": "",
        "error": None,
        "not_before": None,
        "events": 9,
        "waves": 0,
        "rollout": None,
        "health": [],
        "known": [],
    }


def test_an_open_rotation_has_no_outcome() -> None:
    """It says what it waits for: the next try, or the end of the grace period."""
    later = Instant(BEGAN + 90 * SECOND)
    story = Story().start("v1").stage().move(e.EffectPostponed(CAUSE, later))
    seen = rotation_document(story.rotation)
    assert (seen["outcome"], seen["ended_at"], seen["duration_seconds"]) == (None, None, None)
    assert seen["not_before"] == to_text(later)
    assert rotation_document(Story().start("v1").to_grace(later).rotation)["not_before"] == to_text(later)


def test_a_try_that_failed_is_an_error_until_a_later_one_succeeds() -> None:
    story = Story().start("v1").stage().move(e.EffectPostponed(CAUSE, Instant(0)))
    assert rotation_document(story.rotation)["error"] == {
        "step": "verify",
        "kind": "unavailable",
        "message": "no answer in 5 s",
        "hint": "Look at the target.",
    }
    assert rotation_document(story.move(e.CandidateApplied()).rotation)["error"] is None


def test_what_made_a_rotation_go_back_stays_its_error() -> None:
    """But not where a person took it back."""
    assert rotation_document(Story().start("v1").promote().roll_back(automatic=True).rotation)["error"] is not None
    story = Story().start("v1").stage().move(e.EffectPostponed(CAUSE, Instant(0)), e.CandidateApplied())
    assert rotation_document(story.roll_back(automatic=False).rotation)["error"] is None


def test_what_went_wrong_on_the_way_back_is_over_when_the_rotation_is_back() -> None:
    """The error names why the rotation went back, and what keeps it from going back only while that does."""
    story = Story().rotate("v1").start("v2").promote()
    story.move(e.RollbackStarted(automatic=True, cause=REFUSED), e.EffectPostponed(CAUSE, Instant(0)))
    assert rotation_document(story.rotation)["error"]["message"] == CAUSE.message
    assert rotation_document(story.move(e.PreviousRestored()).rotation)["error"]["message"] == REFUSED.message
    story.move(e.EffectPostponed(CAUSE, Instant(0)))
    assert rotation_document(story.rotation)["error"]["message"] == CAUSE.message
    assert rotation_document(story.move(e.RollbackVerified()).rotation)["error"]["message"] == REFUSED.message


def test_a_rollback_that_failed_is_an_outcome_although_it_may_go_on() -> None:
    seen = rotation_document(Story().rotate("v1").start("v2").promote().fail_rollback().rotation)
    assert (seen["state"], seen["outcome"], seen["ended_at"]) == ("rollback_failed", "rollback_failed", None)
    assert seen["error"] is not None


def test_a_failed_rotation_that_is_taken_back_later_is_open_again() -> None:
    """Its end is taken off, and comes again."""
    story = Story().rotate("v1").start("v2").promote().fail()
    story.move(e.RollbackStarted(automatic=False))
    assert rotation_document(story.rotation)["ended_at"] is None
    with opened(recorded(story.facts), batch=1) as rows:
        assert history.rotation(rows, story.rotation_id) == rotation_document(story.rotation)


@pytest.mark.slow
@given(histories(steps_max=40))
def test_history_says_what_the_log_says(facts: list[Recorded]) -> None:
    """Every fact has its row, and every rotation is the one that its facts fold to."""
    with opened(facts, batch=11) as rows:
        seen = history.events(rows, Query())
        assert [(each["position"], each["hash"]) for each in seen] == [(f.position, f.hash.hex()) for f in facts]
        for each, one in zip(seen, facts, strict=True):
            assert each["id"] == f"{one.fact.originator_id}/{one.fact.originator_version}"
            assert each["state"] == one.fact.state
        for one in [one for one in facts if isinstance(one.fact.body, e.RotationStarted)]:
            own = rotations.fold(f.fact for f in facts if f.fact.originator_id == one.fact.originator_id)
            assert own is not None
            assert history.rotation(rows, own.id) == rotation_document(own)


@pytest.mark.slow
@given(histories(steps_max=40))
def test_the_current_version_of_an_event_is_the_one_that_a_rollback_finds(facts: list[Recorded]) -> None:
    """`restorable` promises something about what `rollback --to #POSITION` computes by replay."""
    with opened(facts, batch=11) as rows:
        for each in history.events(rows, Query())[::5]:
            version = version_current_at(facts, credential_id(each["service"], each["environment"]), each["position"])
            assert each["current"] == (version.id if version else None)
