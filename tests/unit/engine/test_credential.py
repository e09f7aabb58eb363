"""Folding a credential: what is current, what led to it, and what the target may accept besides."""

from __future__ import annotations

from uuid import UUID, uuid5

import pytest

from engine import credential as credentials
from engine import events as e
from engine.credential import Credential, Version, credential_id
from engine.facts import Fact
from engine.machine import State
from engine.values import Microseconds
from tests.unit.engine.rotations import AT, ROTATION, seconds

OTHER = UUID(int=7)


def fold(*bodies: e.Event) -> Credential:
    """Return the credential after these events."""
    facts = [Fact(OTHER, number, AT, "ada", body) for number, body in enumerate(bodies, start=1)]
    return credentials.fold("app-db", "production", facts)


def opened(version: str, ordinal: int = 1, rotation_id: UUID = ROTATION) -> e.RotationOpened:
    return e.RotationOpened(rotation_id, "app-db", "production", version, ordinal, "app")


def current(version: str | None) -> e.CurrentChanged:
    return e.CurrentChanged(ROTATION, version, "app" if version else None)


def ids(versions: tuple[Version, ...]) -> list[str]:
    return [version.id for version in versions]


def test_a_credential_without_facts_is_fresh() -> None:
    fresh = fold()
    assert (fresh.version, fresh.ordinal, fresh.open, fresh.last) == (0, 0, None, None)
    assert (fresh.current, fresh.previous, fresh.lineage, fresh.strays) == (None, None, (), ())


def test_its_id_follows_from_its_name() -> None:
    """On every machine, in every release: the namespace below was made once."""
    assert fold().id == credential_id("app-db", "production")
    assert credential_id("app-db", "production") == uuid5(
        UUID("5f7b6a86-2d0c-4a57-9a55-0f2f6a9d3c11"), "credential/production/app-db"
    )
    assert credential_id("app-db", "staging") != credential_id("app-db", "production")


def test_the_version_number_counts_every_fact() -> None:
    """It is the lock: also what changes nothing here moves it."""
    assert fold(opened("v1"), e.VersionRetired("v9"), e.Promoted()).version == 3


def test_an_open_rotation_is_open_until_it_is_closed() -> None:
    assert fold(opened("v1")).open == ROTATION
    closed = fold(opened("v1"), e.RotationClosed(ROTATION, State.COMPLETED))
    assert (closed.open, closed.last) == (None, ROTATION)


def test_closing_leaves_what_the_next_rotation_has_to_mind() -> None:
    fences, tries = (e.Fence("app", "v1", seconds(5)),), (e.LoginUse("app", AT),)
    closed = fold(opened("v1"), e.RotationClosed(ROTATION, State.FAILED, fences, tries))
    assert (closed.fences, closed.tries) == (fences, tries)
    assert fold(opened("v1"), e.RotationClosed(ROTATION, State.FAILED)).fences == ()


def test_what_waits_for_its_turn_waits_until_it_is_opened_or_closed() -> None:
    """A request that is withdrawn leaves the open rotation, and what it will leave behind, as they are."""
    fences = (e.Fence("app", "v1", seconds(5)),)
    other = UUID(int=7)
    waiting = fold(opened("v1"), e.RotationQueued(other, "app-db", "production"))
    assert (waiting.open, waiting.queued) == (ROTATION, other)
    withdrawn = fold(
        opened("v1"),
        e.RotationQueued(other, "app-db", "production"),
        e.RotationClosed(other, State.CANCELLED, fences),
    )
    assert (withdrawn.open, withdrawn.queued, withdrawn.fences) == (ROTATION, None, ())
    begun = fold(
        opened("v1"),
        e.RotationQueued(other, "app-db", "production"),
        e.RotationClosed(ROTATION, State.COMPLETED),
        e.RotationOpened(other, "app-db", "production", "v2", 2),
    )
    assert (begun.open, begun.queued) == (other, None)


def test_a_login_that_is_spent_on_a_look_counts() -> None:
    spent = fold(opened("v1"), e.LoginSpent("app", "boot-1", Microseconds(3)))
    assert [(use.login, use.boot, use.uptime) for use in spent.tries] == [("app", "boot-1", 3)]


def test_ordinals_never_go_down() -> None:
    """Opening the same rotation again, to take it back, does not use up a number."""
    assert fold(opened("v1", 4), opened("v1", 2)).ordinal == 4


def test_what_becomes_current_follows_what_was() -> None:
    after = fold(opened("v1"), current("v1"), opened("v2", 2), current("v2"))
    assert (after.current, after.previous) == (Version("v2", "app"), Version("v1", "app"))
    assert ids(after.known) == ["v1", "v2"]


def test_the_same_version_again_changes_nothing() -> None:
    once = fold(current("v1"), current("v2"))
    twice = fold(current("v1"), current("v2"), current("v2"))
    assert (once.lineage, once.known, once.strays) == (twice.lineage, twice.known, twice.strays)


def test_going_back_shortens_the_lineage_and_forgets_no_version() -> None:
    after = fold(current("v1"), current("v2"), current("v3"), current("v1"))
    assert ids(after.lineage) == ["v1"]
    assert ids(after.known) == ["v1", "v2", "v3"]
    assert after.previous is None


def test_without_a_current_version_there_is_no_lineage() -> None:
    after = fold(current("v1"), current(None))
    assert (after.current, ids(after.known)) == (None, ["v1"])


def test_a_version_that_the_log_did_not_know_is_adopted_as_current() -> None:
    after = fold(e.VersionAdopted("v0", "app"))
    assert after.current == Version("v0", "app")
    assert ids(after.known) == ["v0"]


@pytest.mark.parametrize(
    ("bodies", "strays"),
    [
        ([opened("v1")], ["v1"]),
        ([opened("v1"), current("v1")], []),
        ([opened("v1"), opened("v1")], ["v1"]),
        ([current("v1"), current("v2")], ["v1"]),
        ([current("v1"), current("v2"), e.VersionRetired("v1")], []),
        ([current("v1"), current("v2"), current("v1")], ["v2"]),
        ([current("v1"), opened("v2"), e.RotationClosed(ROTATION, State.ROLLED_BACK)], ["v2"]),
        ([current("v1"), e.VersionAdopted("v9", "app")], ["v1"]),
    ],
    ids=["open", "promoted", "opened again", "replaced", "retired", "gone back", "given up", "overtaken"],
)
def test_strays_are_what_the_target_may_accept_besides_the_current_one(
    bodies: list[e.Event], strays: list[str]
) -> None:
    """From the moment that somebody may send it until somebody sees it refused."""
    assert ids(fold(*bodies).strays) == strays


def test_a_destroyed_version_is_forgotten_and_cannot_be_gone_back_to() -> None:
    after = fold(current("v1"), current("v2"), current("v3"), e.VersionDestroyed("v1"))
    assert [v.id for v in after.known] == ["v2", "v3"]
    assert ids(after.lineage) == ["v2", "v3"]


def test_a_rotation_that_passes_the_one_that_waits_leaves_it_in_its_place() -> None:
    """Going back is urgent; the turn of the other comes after it."""
    assert fold(e.RotationQueued(OTHER, "app-db", "production"), opened("v1")).queued == OTHER


def test_what_may_be_in_force_is_known_with_its_login() -> None:
    assert fold(opened("v1")).strays == (Version("v1", "app"),)
    assert fold(e.CurrentChanged(ROTATION, "v1", None)).current == Version("v1", "")
    assert fold().environment == "production"
