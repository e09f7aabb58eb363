"""Notices: what people are told of a story, and in which words of `events` it is."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from adapters.config.schema import EventWord
from engine import channel_events as c
from engine import events as e
from engine.facts import Fact
from engine.notices import EVENT_WORDS, FAMILIES, Notice, NoticeKind, Urgency, selects
from engine.plan import Kind, Plan, Strategy
from engine.rollout import RolloutPolicy, Stage
from engine.rollout_events import PauseKind
from engine.values import SECOND, Deadline, Instant, Microseconds
from projections.notifications.samples import samples
from projections.notifications.words import headline
from tests.histories import BEGAN
from tests.unit.projections.stories import REFUSED, Story
from tests.unit.projections.told import Told, kinds, of

K = NoticeKind
LATER = Instant(BEGAN + 86_400 * SECOND)


def with_grace() -> Story:
    """Begin a story whose rotations keep the old version for an hour."""
    story = Story()
    story.plan = replace(story.plan, grace=Microseconds(3_600 * SECOND))
    return story


def last(story: Story) -> Notice:
    return of(story)[-1]


def test_a_rotation_is_told_when_it_starts_and_when_it_is_completed() -> None:
    """Each with who, why, the versions, and how long it took."""
    story = Story().rotate("v1").start("v2", reason="it leaked").to_grace(LATER).end_grace()
    started, completed = of(story)[2:]
    assert (started.kind, completed.kind) == (K.STARTED, K.COMPLETED)
    assert (started.version, started.previous_version) == ("v2", "v1")
    assert (completed.version, completed.previous_version) == ("v2", "v1")
    assert (started.actor, started.reason, completed.reason) == ("ada", "it leaked", "it leaked")
    assert started.rotation_id == completed.rotation_id == str(story.rotation_id)
    assert completed.duration == completed.at - started.at > 0
    assert (started.urgency, completed.urgency) == (Urgency.INFO, Urgency.INFO)


def test_without_a_grace_period_completed_is_told_when_the_old_version_is_gone() -> None:
    story = Story().start("v1").to_grace(LATER)
    assert kinds(story) == [K.STARTED]
    story.end_grace()
    assert kinds(story) == [K.STARTED, K.COMPLETED]
    assert last(story).until is None


def test_with_a_grace_period_completed_is_told_when_that_begins_and_not_again() -> None:
    """It says until when the old version is valid: an hour later nobody wants to hear of it."""
    story = with_grace().start("v1").to_grace(LATER)
    assert kinds(story) == [K.STARTED, K.COMPLETED]
    assert last(story).until == LATER
    assert last(story).next_steps
    assert kinds(story.end_grace()) == [K.STARTED, K.COMPLETED]


def test_where_nobody_had_a_value_there_is_no_grace_period_to_tell() -> None:
    story = with_grace().start("v1").move(e.CandidateStaged("00ff", vacant=True))
    story.move(e.CandidateApplied(), e.CandidateVerified(), e.RolloutCompleted(), e.Promoted())
    story.move(e.MonitoringPassed(Deadline(LATER)))
    assert kinds(story) == [K.STARTED]
    assert kinds(story.end_grace()) == [K.STARTED, K.COMPLETED]


def test_a_rotation_that_goes_back_by_itself_tells_why() -> None:
    """That it failed is told at once, as a failure; that it is back, when that is verified."""
    story = Story().rotate("v1").start("v2").stage().roll_back(automatic=True)
    began, back = of(story)[-2:]
    assert (began.kind, back.kind) == (K.ROLLBACK_STARTED, K.ROLLED_BACK)
    assert began.automatic
    assert began.is_failure
    assert (began.urgency, back.urgency) == (Urgency.ERROR, Urgency.WARNING)
    assert began.cause == back.cause == REFUSED
    assert headline(began) == "Rotation of production/app-db failed and is going back"
    assert back.next_steps == (
        "keyturn rotate app-db tries again, once the cause is gone",
        f"keyturn show {story.rotation_id} tells how it came to be there",
    )


def test_a_rollback_that_a_person_asks_for_within_a_rotation_is_no_failure() -> None:
    story = Story().rotate("v1").start("v2").stage().roll_back(automatic=False)
    began, back = of(story)[-2:]
    assert (began.kind, back.kind) == (K.ROLLBACK_STARTED, K.ROLLED_BACK)
    assert not began.is_failure
    assert (began.reason, began.cause, began.urgency) == ("on a whim", None, Urgency.WARNING)
    assert headline(began) == "Rollback of production/app-db started"
    assert back.next_steps == ()


@pytest.mark.parametrize("story", [Story(), with_grace()], ids=["no grace", "grace"])
def test_a_rotation_to_an_earlier_version_is_told_as_a_rollback(story: Story) -> None:
    """It starts and ends as one, whenever its end is told."""
    story.rotate("v1").rotate("v2")
    before = len(of(story))
    story.rotate("v1", kind=Kind.ROLLBACK)
    began, back = of(story)[before:]
    assert (began.kind, back.kind) == (K.ROLLBACK_STARTED, K.ROLLED_BACK)
    assert began.is_rollback
    assert back.is_rollback
    assert (began.version, began.previous_version) == ("v1", "v2")


def test_a_rollback_that_fails_needs_a_person() -> None:
    """What leads on is told; another try and giving up are told as well."""
    story = Story().rotate("v1").start("v2").stage().fail_rollback()
    failed = last(story)
    assert (failed.kind, failed.urgency, failed.is_critical) == (K.ROLLBACK_FAILED, Urgency.CRITICAL, True)
    assert failed.cause == REFUSED
    assert any(f"keyturn retry {story.rotation_id}" in step for step in failed.next_steps)
    story.move(e.RollbackRetried("mended"))
    assert (last(story).kind, last(story).reason) == (K.ROLLBACK_STARTED, "mended")
    story.move(e.RollbackFailed(REFUSED), e.RollbackAbandoned("enough"))
    assert [notice.kind for notice in of(story)[-2:]] == [K.ROLLBACK_FAILED, K.FAILED]
    assert last(story).reason == "enough"


def test_a_rotation_that_fails_tells_step_cause_and_remedy() -> None:
    failed = last(Story().start("v1").fail())
    assert (failed.kind, failed.urgency, failed.cause, failed.state) == (K.FAILED, Urgency.ERROR, REFUSED, "failed")


def test_waves_a_pause_and_going_on_are_told() -> None:
    story = Story().start("v1").stage().move(e.CandidateApplied(), e.CandidateVerified())
    story.move(e.WaveDistributed(0), e.WavePassed(0), e.RolloutPaused("lunch"), e.RolloutResumed("fed"))
    wave, paused, resumed = of(story)[1:]
    assert (wave.kind, wave.wave, headline(wave)) == (K.WAVE_COMPLETED, 0, "Wave 1 of production/app-db passed")
    assert (paused.kind, paused.reason, resumed.kind, resumed.reason) == (K.PAUSED, "lunch", K.RESUMED, "fed")
    assert any("keyturn continue" in step for step in paused.next_steps)


def rolling_out() -> Story:
    """Begin a story whose second rotation has instances."""
    story = Story()
    story.plan = Plan(Strategy.DUAL, overlap=True, rollout=RolloutPolicy((Stage(100),)), grace=Microseconds(SECOND))
    return story.start("v1").roll_out(("web-1",), ("web-2", "web-3"))


def test_a_rollout_that_rests_tells_why_where_and_what_leads_on() -> None:
    """The command is complete, and the wave counts from 0."""
    story = rolling_out().move(e.WaveDistributed(0), e.WavePassed(0))
    paused = last(story.move(e.RolloutPaused(kind=PauseKind.INCONCLUSIVE, cause=REFUSED)))
    assert (paused.kind, paused.cause, paused.wave) == (K.PAUSED, REFUSED, 1)
    assert any(f"keyturn accept-inconclusive {story.rotation_id}" in step for step in paused.next_steps)
    story.move(e.RolloutResumed(accept=True))
    assert "keyturn continue" in last(story.move(e.RolloutPaused(kind=PauseKind.APPROVAL))).next_steps[0]


def test_an_old_version_that_is_still_used_is_told_once_and_when_its_time_runs_out() -> None:
    """The first time that its end is put off, and at each part of its time that is over."""
    story = rolling_out().move(e.RolloutCompleted(2), e.Promoted(), e.MonitoringPassed(Deadline(LATER)))
    told = len(of(story))
    story.move(e.EffectPostponed(REFUSED, LATER), e.EffectPostponed(REFUSED, LATER), e.OverlapWarned(80, LATER))
    first, warned = of(story)[told:]
    assert (first.kind, first.cause, first.until) == (K.WAITING, REFUSED, LATER)
    assert (warned.kind, warned.cause, warned.until) == (K.WAITING, REFUSED, LATER)
    assert any("keyturn abort" in step for step in warned.next_steps)


def test_a_rotation_that_waits_for_its_turn_is_told() -> None:
    """That it is withdrawn is not: nothing happened."""
    story = Story().start("v1")
    waiting = story.queue(reason="it leaked")
    notice = last(story)
    assert (notice.kind, notice.rotation_id, notice.reason) == (K.WAITING, str(waiting), "it leaked")
    assert (notice.actor, notice.version) == ("bob", None)
    assert kinds(story.end_waiting(e.RotationCancelled("in vain"))) == [K.STARTED, K.WAITING]


def test_retiring_that_does_not_succeed_is_told_once() -> None:
    """When its tries are used up; it goes on, and is not told again."""
    story = Story().start("v1").to_grace(LATER).move(e.GraceEnded())
    tries = story.plan.effect_attempts
    for _ in range(tries - 1):
        story.move(e.EffectPostponed(REFUSED, LATER))
    assert K.WAITING not in kinds(story)
    story.move(e.EffectPostponed(REFUSED, LATER))
    stuck = last(story)
    assert (stuck.kind, stuck.cause, stuck.until) == (K.WAITING, REFUSED, LATER)
    assert any("keyturn resume" in step for step in stuck.next_steps)
    assert kinds(story.move(e.EffectPostponed(REFUSED, LATER))).count(K.WAITING) == 1


def test_an_effect_that_is_postponed_elsewhere_is_not_told() -> None:
    story = Story().start("v1")
    for _ in range(10):
        story.move(e.EffectPostponed(REFUSED, LATER))
    assert kinds(story) == [K.STARTED]


def test_a_version_that_is_overdue_is_told() -> None:
    told = Told()
    told.tell(Story().rotate("v1"))
    told.facts.append(_overdue())
    notice = told.notices()[-1]
    assert (notice.kind, notice.version, notice.until) == (K.OVERDUE, "v1", LATER)
    assert (notice.urgency, notice.is_critical) == (Urgency.WARNING, False)
    assert notice.next_steps == ("keyturn rotate app-db rotates it now",)


def _overdue() -> Fact:
    stream = c.due_date_id("app-db", "production", "v1")
    return Fact(stream, 1, LATER, "keyturn", c.CredentialOverdue("app-db", "production", "v1", LATER))


@pytest.mark.parametrize("trouble", ["failed", "went back", "rollback failed"])
def test_the_success_after_trouble_ends_it_once(trouble: str) -> None:
    """Going back does not: the credential is not what was wanted."""
    story = Story().rotate("v1").start("v2").stage()
    match trouble:
        case "failed":
            story.fail()
        case "went back":
            story.roll_back(automatic=True)
        case _:
            story.fail_rollback().move(e.RollbackAbandoned())
    assert not any(notice.ends_failure for notice in of(story))
    story.rotate("v3").rotate("v4")
    completed = [notice for notice in of(story) if notice.kind is K.COMPLETED]
    assert [notice.ends_failure for notice in completed] == [False, True, False]


def test_the_success_after_a_due_date_ends_that_as_well() -> None:
    told, story = Told(), Story().rotate("v1")
    told.tell(story)
    told.facts.append(_overdue())
    told.tell(story.rotate("v2"))
    assert told.notices()[-1].ends_failure


def test_trouble_of_one_credential_is_not_ended_by_another() -> None:
    story = Story().start("v1").fail().turn_to("app-db", "staging").rotate("v1")
    assert not last(story).ends_failure


@pytest.mark.parametrize("word", EVENT_WORDS)
def test_a_word_selects_its_kind_and_its_family(word: str) -> None:
    """`failed` also selects what says that something failed, under whatever name."""
    every = samples(service="app", environment="production", at=BEGAN)
    wanted = FAMILIES[word] if word in FAMILIES else {NoticeKind(word)}
    if word == "failed":
        wanted = {*wanted, K.ROLLBACK_STARTED}  # the sample is of one that is automatic
    assert {notice.kind for notice in every if selects((word,), notice)} == wanted


def test_a_rollback_that_a_person_begins_is_not_selected_as_a_failure() -> None:
    every = samples(service="app", environment="production", at=BEGAN)
    began = next(notice for notice in every if notice.kind is K.ROLLBACK_STARTED)
    assert not selects(("failed",), replace(began, automatic=False))


def test_no_words_select_everything_and_several_select_what_any_does() -> None:
    every = samples(service="app", environment="production", at=BEGAN)
    assert all(selects((), notice) for notice in every)
    chosen = {notice.kind for notice in every if selects(("started", "overdue"), notice)}
    assert chosen == {K.STARTED, K.OVERDUE}


def test_the_configuration_takes_the_words_that_there_are() -> None:
    assert tuple(sorted(get_args(EventWord))) == EVENT_WORDS


def test_there_is_a_sample_of_every_kind() -> None:
    assert {notice.kind for notice in samples(service="app", environment="production", at=BEGAN)} == set(NoticeKind)
