"""Restore points: what `--to` may name, and what it leads to."""

from __future__ import annotations

import pytest
from hypothesis import given
from msgspec.structs import replace

from engine import credential as credentials
from engine import events as e
from engine.errors import NoRestorePoint, NoSuchPosition
from engine.facts import Recorded
from engine.policies import unreachable
from engine.ports import Holdings
from engine.values import SECOND, CredentialValue, Form, Instant, Secret
from projections.restore import (
    AtPosition,
    AtTime,
    ByVersion,
    parse,
    position_at,
    resolve,
    restore_points,
    version_current_at,
)
from projections.times import to_text
from tests.histories import BEGAN, histories, recorded
from tests.unit.projections.stories import Story

STORY = Story().rotate("v1-aaaaaa").rotate("v2-bbbbbb").rotate("v12-cccccc").rotate("v3-dddddd")
FACTS = recorded(STORY.facts)
HELD = Holdings(("v1-aaaaaa", "v12-cccccc", "v3-dddddd"), current="v3-dddddd")
POINTS = restore_points(STORY.credential, HELD)
VERIFIER = CredentialValue("app", Secret("canary-verifier"), Form.VERIFIER)


def restored(text: str) -> str:
    """Return the id of the version that `--to` leads to."""
    return resolve(parse(text), facts=FACTS, credential=STORY.credential, points=POINTS).id


def promoted(version: str) -> Recorded:
    """Return the fact that made a version current."""
    changes = (each for each in FACTS if isinstance(each.fact.body, e.CurrentChanged))
    return next(each for each in changes if getattr(each.fact.body, "version", None) == version)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("v3", ByVersion("v3")),
        ("v3-9c1f2a", ByVersion("v3-9c1f2a")),
        ("#41", AtPosition(41)),
        ("#4x", ByVersion("#4x")),
        ("1970-01-01T00:00:01Z", AtTime(Instant(SECOND))),
        ("1970-01-02", AtTime(Instant(86_400 * SECOND))),
        ("1970-13-02", ByVersion("1970-13-02")),
        ("20260101", ByVersion("20260101")),
        ("", ByVersion("")),
    ],
)
def test_a_target_is_a_position_a_time_or_a_version(text: str, wanted: object) -> None:
    """What looks like no position and no time is left to be found among the versions."""
    assert parse(text) == wanted


def test_restore_points_are_held_and_not_current() -> None:
    """The store lost v2, and the service is at v3."""
    assert [point.id for point in POINTS] == ["v1-aaaaaa", "v12-cccccc"]


def test_a_destroyed_version_is_no_restore_point() -> None:
    """Even where the store still holds it: its deletion is already decided."""
    story = Story().rotate("v1").rotate("v2").note(e.VersionDestroyed("v1"))
    assert restore_points(story.credential, Holdings(("v1", "v2"))) == ()


def test_a_version_that_never_was_current_is_no_restore_point() -> None:
    """A quarantined candidate is held, but nobody knows that it ever worked."""
    story = Story().rotate("v1").start("v2").stage().fail()
    assert restore_points(story.credential, Holdings(("v1", "v2"), current="v1")) == ()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1-aaaaaa", "v1-aaaaaa"),
        ("v1", "v1-aaaaaa"),
        ("v12", "v12-cccccc"),
        ("v12-c", "v12-cccccc"),
    ],
)
def test_a_version_is_found_by_its_number_or_its_beginning(text: str, version: str) -> None:
    """v1 is number one, although v12 begins with it too."""
    assert restored(text) == version


def test_an_event_leads_to_what_was_current_after_it() -> None:
    before = promoted("v2-bbbbbb").position - 1
    assert restored(f"#{before}") == "v1-aaaaaa"


def test_a_time_leads_to_what_was_current_then() -> None:
    """The moment of the change itself belongs to the new version."""
    at = promoted("v12-cccccc").fact.at
    assert restored(to_text(at)) == "v12-cccccc"
    assert restored(to_text(at + SECOND // 2)) == "v12-cccccc"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("v", "that may be v1-aaaaaa or v12-cccccc"),
        ("v9", "no version that is still held is called so"),
        ("", "no version that is still held is called so"),
        ("v3", "it is the current version"),
        ("v2-bbbbbb", "the store does not hold it any more"),
        ("v2", "the store does not hold it any more"),
        ("2025-01-01", "no version was current then"),
        ("#1", "no version was current then"),
        (f"#{len(FACTS)}", "v3-dddddd was current then, and it is the current version"),
        (f"#{promoted('v2-bbbbbb').position}", "v2-bbbbbb was current then, and the store does not hold it any more"),
    ],
)
def test_what_cannot_be_reached_is_refused_with_the_reason(text: str, why: str) -> None:
    """And with what can be reached, the newest first."""
    with pytest.raises(NoRestorePoint) as caught:
        restored(text)
    assert caught.value.fields["why"] == why
    assert caught.value.fields["points"] == "v12-cccccc, v1-aaaaaa"


def test_a_version_that_is_held_and_no_use_is_refused_with_the_reason() -> None:
    """By its name and by an event; the points that are listed are those that can be reached."""
    points = [point for point in POINTS if point.id != "v1-aaaaaa"]
    before = promoted("v2-bbbbbb").position - 1
    for text in ("v1", f"#{before}"):
        with pytest.raises(NoRestorePoint, match=r"only its verifier is held.* Restore points: v12-cccccc"):
            resolve(
                parse(text),
                facts=FACTS,
                credential=STORY.credential,
                points=points,
                refused={"v1-aaaaaa": unreachable(VERIFIER, settable=True)},
            )


def test_only_a_secret_that_can_be_set_again_is_reachable() -> None:
    plain = CredentialValue("app", Secret("canary-1"))
    assert unreachable(plain, settable=True) == ""
    assert "cannot be set back" in unreachable(plain, settable=False)
    assert "no store holds" in unreachable(None, settable=True)
    assert "only its verifier" in unreachable(VERIFIER, settable=True)


def test_an_event_of_another_credential_is_refused() -> None:
    with pytest.raises(NoSuchPosition, match=r"#4000"):
        restored("#4000")


def test_without_restore_points_the_refusal_says_none() -> None:
    story = Story().rotate("v1")
    with pytest.raises(NoRestorePoint, match="Restore points: none"):
        resolve(parse("v0"), facts=recorded(story.facts), credential=story.credential, points=())


def test_after_a_jump_of_the_clock_the_last_event_of_the_time_counts() -> None:
    """Positions never go back, times may."""
    first, second, third = FACTS[:3]
    jumped = [first, Recorded(2, replace(second.fact, at=Instant(BEGAN + 10**12))), third]
    assert position_at(jumped, third.fact.at) == 3
    assert position_at(jumped, Instant(BEGAN - 1)) == 0


@given(histories())
def test_what_was_current_is_what_the_aggregate_says(facts: list[Recorded]) -> None:
    """At every position, over the whole log, whatever other credentials do in between."""
    for each in facts[::7]:
        for key in {other.fact.originator_id for other in facts if isinstance(other.fact.body, e.RotationOpened)}:
            own = [o.fact for o in facts if o.fact.originator_id == key and o.position <= each.position]
            assert version_current_at(facts, key, each.position) == credentials.fold("", "", own).current
