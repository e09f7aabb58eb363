"""Decisions on commands: refused by name, or the facts to append; nothing outside is touched."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from engine import events as e
from engine.commands import (
    StartRotation,
    closing,
    end_grace,
    go_back,
    in_the_way,
    making_room,
    opened,
    refuse_second,
    refused,
    retry,
    step_of,
    withdrawn,
)
from engine.credential import Credential, Version, credential_id
from engine.credential_events import LATENESS_MAX
from engine.errors import IllegalCommand, InGrace, Rejected, RotationOpen
from engine.machine import ENDED, State, following
from engine.plan import Kind, LoginBudget, Strategy
from engine.rotation import Rotation
from engine.values import SECOND, Microseconds
from tests.unit.engine.rotations import ROTATION, attempt, moment, plan, rotation, seconds

NEW = UUID("aabbccdd-0000-4000-8000-000000000000")


def credential(*lineage: Version, **changes: Any) -> Credential:
    """Return a credential with these versions, the last one current."""
    fresh = Credential(credential_id("app-db", "production"), "app-db", "production", lineage=lineage, known=lineage)
    return replace(fresh, **changes)


def command(strategy: Strategy = Strategy.SINGLE, *logins: str, grace: int = 60, **changes: Any) -> StartRotation:
    the_plan = plan(strategy, overlap=True, grace=grace)
    fields = {"service": "app-db", "environment": "production", "plan": the_plan, "owner": "host:1", **changes}
    return StartRotation(logins=logins or ("app",), **fields)


def begin(
    wanted: StartRotation, on: Credential, *, holder: Rotation | None = None
) -> tuple[e.RotationStarted, list[e.CredentialEvent]]:
    """Decide, and return the start and what the credential takes down."""
    events, noted = opened(wanted, on, NEW, holder=holder, now=seconds(190), until="tomorrow")
    (started,) = events
    assert isinstance(started, e.RotationStarted)
    return started, noted


# --- starting ---------------------------------------------------------------------------------------------------


def test_a_start_names_the_next_version_and_what_it_replaces() -> None:
    old = Version("v4", "app")
    started, noted = begin(command(reason="leaked", old=old, label="v4"), credential(old, ordinal=4))
    assert (started.version, started.login) == ("v5-aabbcc", "app")
    assert (started.previous, started.previous_login, started.label) == ("v4", "app", "v4")
    assert (started.kind, started.reason, started.owner, started.imported) == (Kind.ROTATION, "leaked", "host:1", False)
    assert noted == [e.RotationOpened(NEW, "app-db", "production", "v5-aabbcc", 5, "app")]


def test_the_first_rotation_replaces_nothing_that_is_known() -> None:
    started, _ = begin(command(), credential())
    assert (started.version, started.previous, started.previous_login) == ("v1-aabbcc", None, None)
    assert started.label is None


def test_what_no_store_holds_any_more_is_not_replaced() -> None:
    """Whatever the log says: it could not be gone back to. The version is numbered on."""
    started, noted = begin(command(), credential(Version("v4", "app"), ordinal=4))
    assert (started.version, started.previous, started.previous_login) == ("v5-aabbcc", None, None)
    assert [type(event) for event in noted] == [e.RotationOpened]


def test_what_promotion_is_to_find_is_what_the_store_said_and_not_what_is_replaced() -> None:
    """An old version may be known that no label points at, and a label may point at what nobody knows."""
    old = Version("v4", "app")
    unlabelled, _ = begin(command(old=old), credential(old, ordinal=4))
    assert (unlabelled.previous, unlabelled.label) == ("v4", None)
    strange, _ = begin(command(label="gone"), credential(ordinal=4))
    assert (strange.previous, strange.label) == (None, "gone")


def test_a_given_value_is_told_as_imported() -> None:
    assert begin(command(imported=True), credential())[0].imported


def test_what_the_store_calls_current_is_taken_over_before_what_the_log_says() -> None:
    """Consumers read the store, so that is the version which must go on working."""
    held = Version("from-outside", "app")
    started, noted = begin(command(old=held, label="from-outside"), credential(Version("v4", "app"), ordinal=4))
    assert (started.previous, started.label) == ("from-outside", "from-outside")
    assert noted[0] == e.VersionAdopted("from-outside", "app")
    assert isinstance(noted[1], e.RotationOpened)


def test_what_earlier_rotations_left_is_carried_into_this_one() -> None:
    fences, tries = (e.Fence("app", "v3", seconds(4)),), (e.LoginUse("app", seconds(0)),)
    started, _ = begin(command(), credential(fences=fences, tries=tries))
    assert (started.fences, started.tries) == (fences, tries)


@pytest.mark.parametrize(
    ("current", "login"), [(None, "app_a"), ("app_a", "app_b"), ("app_b", "app_a"), ("app", "app_a")]
)
def test_of_two_logins_the_one_that_is_not_in_use_gets_the_new_version(current: str | None, login: str) -> None:
    old = Version("v1", current) if current else None
    started, noted = begin(command(Strategy.ALTERNATING, "app_a", "app_b", old=old), credential())
    assert started.login == login
    assert isinstance(noted[-1], e.RotationOpened)
    assert noted[-1].login == login


@pytest.mark.parametrize(
    ("strategy", "logins", "current", "overlap"),
    [
        (Strategy.SINGLE, ("app",), "app", False),
        (Strategy.SCRIPT, ("app",), "app", False),
        (Strategy.DUAL, ("app",), "app", True),
        (Strategy.ISSUE, ("app",), "app", True),
        (Strategy.DUAL, ("app",), None, True),
        (Strategy.ALTERNATING, ("app_a", "app_b"), "app_a", True),
        (Strategy.ALTERNATING, ("app_a", "app_b"), None, False),
        (Strategy.ALTERNATING, ("app_a",), "app_a", False),
        (Strategy.SINGLE, ("app",), "other", False),
    ],
)
def test_grace_is_for_where_both_versions_can_be_valid(
    strategy: Strategy, logins: tuple[str, ...], current: str | None, *, overlap: bool
) -> None:
    """Decided by what is there, whatever the configuration hoped for."""
    old = Version("v1", current) if current else None
    started, _ = begin(command(strategy, *logins, old=old), credential())
    assert (started.plan.overlap, started.plan.grace) == (overlap, 60 if overlap else 0)


def test_going_back_to_a_version_is_a_rotation_of_its_own_without_grace() -> None:
    """It has the version's own id and login; the target may accept it already, so it counts as imported."""
    old = Version("v3", "app_a")
    wanted = command(Strategy.ALTERNATING, "app_a", "app_b", to=Version("v2", "app_b"), old=old, label="v3")
    started, noted = begin(wanted, credential(old, ordinal=3))
    assert (started.kind, started.version, started.login, started.imported) == (Kind.ROLLBACK, "v2", "app_b", True)
    assert (started.plan.overlap, started.plan.grace) == (True, 0)
    assert noted == [e.RotationOpened(NEW, "app-db", "production", "v2", 4, "app_b")]


@pytest.mark.parametrize("state", [State.STAGING, State.MONITORING, State.RETIRING, State.ROLLBACK_FAILED])
def test_a_second_rotation_of_a_credential_is_refused(state: State) -> None:
    """By the name of the one that is open, and its state."""
    with pytest.raises(RotationOpen) as caught:
        begin(command(), credential(), holder=rotation(state))
    assert str(ROTATION) in caught.value.message
    assert caught.value.fields["state"] == state


def test_in_grace_the_refusal_says_until_when() -> None:
    """And how to end it now."""
    with pytest.raises(InGrace) as caught:
        refuse_second(rotation(State.GRACE), now=seconds(0), until="tomorrow")
    assert "until tomorrow" in caught.value.message
    assert f"keyturn retire {ROTATION}" in caught.value.advice


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (7_199, "119m"),
        (7_200, "2h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (-5, "0s"),
    ],
)
def test_a_refusal_says_since_when_at_which_step_and_who_drives(passed: float, told: str) -> None:
    """As people say a length of time; a clock that was set back makes it no riddle."""
    with pytest.raises(RotationOpen) as caught:
        refuse_second(rotation(State.APPLYING), now=seconds(passed), until="")
    assert f"which is applying (step apply, begun {told} ago, driven by host:1)." in caught.value.message


def test_a_rotation_that_nobody_drives_yet_is_refused_as_that() -> None:
    """The first logs did not name the owner."""
    with pytest.raises(RotationOpen, match="driven by nobody"):
        refuse_second(rotation(State.APPLYING, owner=""), now=seconds(1), until="")


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (State.WAITING, "start"),
        (State.STAGING, "stage"),
        (State.GRACE, "end_grace"),
        (State.ROLLING_BACK, "restore"),
        (State.PAUSED, "paused"),
        (State.ROLLBACK_FAILED, "rollback_failed"),
    ],
)
def test_the_step_is_the_effect_that_is_outstanding(state: State, step: str) -> None:
    """Where nothing happens until a person decides, it is that."""
    assert step_of(rotation(state)) == step


@pytest.mark.parametrize(
    ("changes", "asks", "found"),
    [
        ({}, {}, None),
        ({"open": ROTATION}, {}, ROTATION),
        ({"open": ROTATION, "queued": NEW}, {}, ROTATION),
        ({"open": ROTATION, "queued": NEW}, {"rotation_id": NEW}, ROTATION),
        ({"open": ROTATION}, {"urgent": True}, ROTATION),
        ({"queued": NEW}, {}, NEW),
        ({"queued": NEW}, {"rotation_id": NEW}, None),
        ({"queued": NEW}, {"urgent": True}, None),
    ],
)
def test_the_open_one_is_in_the_way_of_all_and_the_one_that_waits_of_those_behind_it(
    changes: dict[str, UUID], asks: dict[str, Any], found: UUID | None
) -> None:
    assert in_the_way(credential(**changes), **asks) == found


# --- going back ------------------------------------------------------------------------------------------------


def test_an_open_rotation_is_taken_back_by_a_person() -> None:
    events, noted = go_back(rotation(State.APPLYING), credential(open=ROTATION), command="abort", reason="late")
    assert events == [e.RollbackStarted(automatic=False, reason="late")]
    assert noted == []


@pytest.mark.parametrize("state", [State.RETIRING, State.COMPLETED, State.ROLLED_BACK, State.ROLLING_BACK])
def test_past_the_point_of_no_return_there_is_no_way_back(state: State) -> None:
    with pytest.raises(IllegalCommand, match="abort is not possible while the rotation is"):
        go_back(rotation(state), credential(open=ROTATION), command="abort", reason="")


def test_a_rotation_with_nothing_to_go_back_to_stays() -> None:
    asked = attempt(login="", closed=True, done=True)
    alone = rotation(State.GRACE, previous=None, promotable=True, attempts=(asked,))
    with pytest.raises(IllegalCommand, match="with no earlier version"):
        go_back(alone, credential(open=ROTATION), command="rollback", reason="")


def test_a_failed_rotation_is_opened_again_to_be_taken_back() -> None:
    """So that no other one begins meanwhile."""
    events, noted = go_back(
        rotation(State.FAILED), credential(last=ROTATION, ordinal=2), command="rollback", reason="x"
    )
    assert [type(event) for event in events] == [e.RollbackStarted]
    assert noted == [e.RotationOpened(ROTATION, "app-db", "production", "v2", 2, "app")]


@pytest.mark.parametrize("changes", [{"last": NEW}, {"open": NEW, "last": ROTATION}], ids=["ended", "open"])
def test_a_failed_rotation_that_others_followed_stays_as_it_is(changes: dict[str, UUID]) -> None:
    """Going back would undo what came after it."""
    with pytest.raises(IllegalCommand, match="a later one exists"):
        go_back(rotation(State.FAILED), credential(**changes), command="rollback", reason="")


# --- waiting for one's turn, making room -------------------------------------------------------------------------


@pytest.mark.parametrize("state", [each for each in State if each is not State.WAITING])
def test_only_what_waits_is_withdrawn(state: State) -> None:
    with pytest.raises(IllegalCommand, match="abort is not possible"):
        withdrawn(rotation(state), command="abort", reason="")


def test_a_request_that_is_refused_has_failed_with_what_was_wrong() -> None:
    error = Rejected(what="taking over app-db", why="a login is there", advice="Correct it.")
    events, noted = refused(rotation(State.WAITING), error)
    assert events == [
        e.RotationFailed(e.Cause("start", "rejected", "taking over app-db: a login is there.", "Correct it."))
    ]
    assert noted == [e.RotationClosed(ROTATION, State.FAILED)]


@pytest.mark.parametrize(
    "state", [state for state in State if following(state, "RollbackStarted") and state not in ENDED]
)
def test_whatever_can_go_back_goes_back_to_make_room(state: State) -> None:
    open_one = rotation(state)
    changes, noted = making_room(open_one, None, credential(open=ROTATION), reason="leaked")
    assert changes == [(open_one, [e.RollbackStarted(automatic=False, reason="leaked")])]
    assert noted == []


# --- retrying, ending grace, closing ----------------------------------------------------------------------------


def test_only_a_failed_rollback_is_retried() -> None:
    assert retry(rotation(State.ROLLBACK_FAILED), reason="fixed") == [e.RollbackRetried("fixed")]
    for state in set(State) - {State.ROLLBACK_FAILED}:
        with pytest.raises(IllegalCommand):
            retry(rotation(state), reason="")


def test_only_a_grace_period_is_ended() -> None:
    assert end_grace(rotation(State.GRACE), reason="urgent") == [e.GraceEnded(early=True, reason="urgent")]
    for state in set(State) - {State.GRACE}:
        with pytest.raises(IllegalCommand):
            end_grace(rotation(state), reason="")


def test_closing_leaves_the_attempts_that_can_still_take_effect() -> None:
    """Those of before as well; what had its answer, or is past its deadline, is done with."""
    ended = rotation(
        attempts=(
            attempt(1, "v2", until=9),
            attempt(2, "v2", until=10, settled=True),
            attempt(3, "v1", until=11),
            attempt(4, "v2", until=12, closed=True),
        ),
        fences=(e.Fence("app", "v0", seconds(9)), e.Fence("app", "v1", seconds(10))),
    )
    left = closing(ended, State.FAILED, now=moment(9))
    assert (left.rotation_id, left.outcome) == (ROTATION, State.FAILED)
    assert left.fences == (
        e.Fence("app", "v1", seconds(10)),
        e.Fence("app", "v2", seconds(10)),
        e.Fence("app", "v1", seconds(11)),
    )


LATE = LATENESS_MAX / SECOND
"""A login counts from when it may have been tried at the latest."""


@pytest.mark.parametrize(("budget", "kept"), [(LoginBudget(3, Microseconds(10 * SECOND)), [6, 7]), (None, [])])
def test_closing_leaves_the_logins_that_still_count(budget: LoginBudget | None, kept: list[int]) -> None:
    tries = tuple(e.LoginUse("app", seconds(at)) for at in (1, 5, 6, 7))
    ended = rotation(the_plan=plan(login_budget=budget), tries=tries)
    assert [use.at for use in closing(ended, State.FAILED, now=moment(15 + LATE)).tries] == [seconds(at) for at in kept]
