"""Status: what one row says of a credential, by the stories that lead to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from engine import credential as credentials
from engine import events as e
from engine.machine import State
from engine.values import SECOND
from projections.feed import Row, Rows, Table, Value
from projections.status import STATUS, documents
from tests.histories import BEGAN, histories, recorded
from tests.unit.projections.stories import REFUSED, Story


class Held(Rows):
    """Rows in a dictionary, to see what a fold returns without a database."""

    def __init__(self) -> None:
        self.tables: dict[Table, dict[Value, Row]] = {}

    def put(self, changes: Any) -> None:
        """Keep what a fold returned."""
        for table, rows in changes.items():
            self.tables.setdefault(table, {}).update({row[0]: row for row in rows})

    def get(self, table: Table, key: Value) -> Row | None:
        """Return the row with this key."""
        return self.tables.get(table, {}).get(key)

    def select(
        self, table: Table, conditions: Any = (), *, last_first: bool = False, limit: int | None = None
    ) -> list[Row]:
        """Return all rows."""
        assert conditions == (), "status asks for all"
        return list(self.tables.get(table, {}).values())


def entries(story: Story) -> list[dict[str, Any]]:
    """Return the entries after a story, each fact folded by a fresh fold."""
    rows = Held()
    for each in recorded(story.facts):
        rows.put(STATUS.begin().fold([each], rows))
    return documents(rows)


def entry(story: Story) -> dict[str, Any]:
    (only,) = entries(story)
    return only


def test_a_service_that_was_rotated_is_ok() -> None:
    """Its version is the new one; the one before can be gone back to."""
    story = Story().rotate("v1").rotate("v2")
    assert entry(story) == {
        "service": "app-db",
        "environment": "production",
        "state": "ok",
        "open": False,
        "version": "v2",
        "rotation_id": str(story.rotation_id),
        "waiting": None,
        "last_rotated_at": story.at_of(e.Promoted),
        "last_outcome": "completed",
        "restore_points": ["v1"],
        "grace_until": None,
        "error": None,
        "rollout": None,
        "next": [],
    }


def test_an_open_rotation_shows_its_state() -> None:
    """The current version is still the old one until promotion."""
    seen = entry(Story().rotate("v1").start("v2").stage())
    assert (seen["state"], seen["open"], seen["version"], seen["last_outcome"]) == ("applying", True, "v1", "completed")


def test_a_grace_period_shows_its_end() -> None:
    story = Story().rotate("v1").start("v2").to_grace(BEGAN + 3_600 * SECOND)
    seen = entry(story)
    assert (seen["state"], seen["grace_until"], seen["version"]) == ("grace", BEGAN + 3_600 * SECOND, "v2")
    assert entry(story.end_grace())["grace_until"] is None


def test_a_rotation_that_waits_is_named_beside_the_one_that_is_open() -> None:
    """Nothing else changes by it: not the state, not what can be gone back to, not when it was rotated."""
    story = Story().rotate("v1").start("v2").to_grace(BEGAN + 3_600 * SECOND)
    before = entry(story)
    waiting = str(story.queue())
    assert entry(story) == {**before, "waiting": waiting}
    free = entry(story.end_grace())
    assert (free["state"], free["rotation_id"], free["waiting"]) == ("waiting", waiting, waiting)
    assert (free["version"], free["last_outcome"], free["restore_points"]) == ("v2", "completed", ["v1"])


@pytest.mark.parametrize(
    "end", [e.RotationCancelled("in vain"), e.RotationFailed(REFUSED)], ids=["withdrawn", "refused"]
)
def test_a_rotation_that_never_began_leaves_no_trace_in_the_status(end: e.RotationEvent) -> None:
    """It changed nothing; the last outcome is that of the last one that began."""
    story = Story().rotate("v1")
    before = entry(story)
    story.start("v2").roll_back(automatic=False)
    settled = entry(story)
    story.start("v3").queue()
    story.end_waiting(end).roll_back(automatic=False)
    assert entry(story) == {**settled, "rotation_id": str(story.rotation_id)}
    assert before["version"] == settled["version"]


def test_a_rotation_whose_turn_has_come_is_the_newest_one() -> None:
    """And goes on like any other."""
    story = Story().rotate("v1").start("v2")
    waiting = story.queue()
    story.to_grace(BEGAN).end_grace().begin(waiting, "v3").stage()
    seen = entry(story)
    assert (seen["state"], seen["rotation_id"], seen["waiting"]) == ("applying", str(waiting), None)
    assert entry(story.move(e.RotationFailed(REFUSED)))["last_outcome"] == "failed"


def test_a_failed_rotation_is_told_with_its_cause() -> None:
    """It may still be taken back, so the service is not ok."""
    seen = entry(Story().rotate("v1").start("v2").fail())
    assert (seen["state"], seen["open"], seen["last_outcome"], seen["version"]) == ("failed", False, "failed", "v1")
    assert seen["error"] == {"step": "verify", "kind": "refused", "message": "the target refuses it", "hint": "Look."}


def test_a_rotation_that_went_back_leaves_the_service_ok() -> None:
    """The old version is in force again, and counts from when it was promoted itself."""
    story = Story().rotate("v1")
    promoted = story.at_of(e.Promoted)
    seen = entry(story.start("v2").promote().roll_back(automatic=True))
    assert (seen["state"], seen["last_outcome"], seen["version"]) == ("ok", "rolled_back", "v1")
    assert seen["last_rotated_at"] == promoted
    assert seen["restore_points"] == ["v2"]
    assert seen["error"] is not None


def test_a_service_whose_first_rotation_went_back_was_never_rotated() -> None:
    """It has no version, as before; how the rotation ended is told all the same."""
    seen = entry(Story().start("v1").stage().roll_back(automatic=True))
    assert (seen["state"], seen["version"], seen["last_rotated_at"]) == ("never_rotated", None, None)
    assert (seen["last_outcome"], seen["error"]["step"]) == ("rolled_back", "verify")


def test_a_rollback_that_failed_needs_a_person() -> None:
    """It is still open, and its outcome is not hidden by the one before."""
    seen = entry(Story().rotate("v1").start("v2").promote().fail_rollback())
    assert (seen["state"], seen["open"], seen["last_outcome"]) == ("rollback_failed", True, "rollback_failed")


def test_a_destroyed_version_is_no_restore_point() -> None:
    story = Story().rotate("v1").rotate("v2").rotate("v3").note(e.VersionDestroyed("v1"))
    assert entry(story)["restore_points"] == ["v2"]


def test_a_version_taken_over_from_the_store_is_the_current_one() -> None:
    """It was never promoted by us, so there is no time of a last rotation."""
    seen = entry(Story().start("v1", held="imported"))
    assert (seen["version"], seen["last_rotated_at"], seen["last_outcome"]) == ("imported", None, None)


def test_credentials_come_in_the_order_of_their_names() -> None:
    """By service, then by environment, whichever was rotated first."""
    story = Story()
    for service, environment in (("b", "staging"), ("a", "staging"), ("b", "production")):
        story.turn_to(service, environment).rotate("v1")
    named = [(each["service"], each["environment"]) for each in entries(story)]
    assert named == [("a", "staging"), ("b", "production"), ("b", "staging")]


def test_a_credential_without_a_name_is_not_shown_yet() -> None:
    """An adoption does not name its service; the rotation behind it does."""
    story = Story()
    rows = Held()
    rows.put(STATUS.begin().fold(recorded(story.note(e.VersionAdopted("v1", "app")).facts), rows))
    assert documents(rows) == []
    assert entry(story.start("v2"))["version"] == "v1"


def test_facts_of_a_rotation_that_another_has_followed_are_refused() -> None:
    """The engine never moves an old rotation when a newer one exists."""
    old = Story().start("v1").fail()
    late = old.facts[0].originator_id
    old.start("v2")
    old.rotation_id = late
    with pytest.raises(LookupError, match="not the newest"):
        entries(old.move(e.RollbackStarted(automatic=False)))


@given(histories())
def test_status_says_what_the_aggregates_say(facts: list[Any]) -> None:
    """Version, open rotation and state are those that a replay of the streams gives."""
    rows = Held()
    rows.put(STATUS.begin().fold(facts, rows))
    seen = {(each["service"], each["environment"]): each for each in documents(rows)}
    services = {
        (f.fact.body.service, f.fact.body.environment) for f in facts if isinstance(f.fact.body, e.RotationOpened)
    }
    assert set(seen) == services
    for service, environment in services:
        key = credentials.credential_id(service, environment)
        credential = credentials.fold(service, environment, [f.fact for f in facts if f.fact.originator_id == key])
        shown = seen[service, environment]
        assert shown["version"] == (credential.current.id if credential.current else None)
        assert shown["open"] == (credential.open is not None or credential.queued is not None)
        assert shown["waiting"] == (str(credential.queued) if credential.queued else None)
        states = [f.fact.state for f in facts if f.fact.originator_id == credential.last]
        if credential.open is None and credential.queued is not None:
            assert (shown["state"], shown["rotation_id"]) == ("waiting", shown["waiting"])
        elif credential.open is not None:
            assert shown["state"] == states[-1]
            assert State(shown["state"]) is not State.COMPLETED
        else:
            rested = "ok" if credential.current else "never_rotated"
            assert shown["state"] == ("failed" if states[-1] is State.FAILED else rested)


def test_a_version_of_which_only_a_verifier_is_held_is_no_restore_point() -> None:
    """It undoes the rotation that found it, and can be gone back to by no later one."""
    story = Story().start("v1").move(e.PreviousCaptured("v0", "app", "")).note(e.VersionAdopted("v0", "app"))
    story.to_grace(BEGAN).end_grace().rotate("v2")
    assert entry(story)["restore_points"] == ["v1"]


def test_where_the_target_cannot_be_set_back_only_a_grace_period_can_be_taken_back() -> None:
    story = Story()
    story.plan = replace(story.plan, settable=False)
    story.rotate("v1").rotate("v2").start("v3").to_grace(BEGAN)
    assert entry(story)["restore_points"] == ["v2"]
    assert entry(story.end_grace())["restore_points"] == []
