"""The outbox as a view: what became of each notice on each channel, and who was told; a rebuild changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import channel_events as c
from engine.facts import Recorded
from engine.notices import NoticeKind
from engine.values import SECOND, Instant
from projections.feed import Rows
from projections.notifications import queries
from projections.notifications.outbox import OUTBOX
from projections.notifications.tables import CHANNELS, DeliveryState
from tests.histories import BEGAN, Walk, recorded
from tests.unit.projections.stories import Story
from tests.unit.projections.told import NOT_THERE, REFUSES, Told, folded

CREDENTIAL = "production/app-db"


def failed(*channels: str) -> tuple[Told, int]:
    """Return a log in which a rotation failed, and the position of that."""
    told = Told(*channels)
    return told, told.tell(Story().start("v1").fail()) - 1  # behind it the credential takes it down


def failure(told: Told) -> int:
    return next(notice.position for notice in told.notices() if notice.kind is NoticeKind.FAILED)


def lost(kind: type, position: int) -> c.ChannelEvent:
    if kind is c.NotificationGivenUp:
        return c.NotificationGivenUp("a", (position,), 1, REFUSES)
    return c.NotificationBlocked("a", (position,), REFUSES)


# --- how a channel stands -------------------------------------------------------------------------------


def test_a_channel_begins_where_it_was_opened() -> None:
    told = Told()
    story = Story().rotate("v1")
    before = told.tell(story)
    told.note(c.ChannelOpened("a", before))
    told.tell(story.rotate("v2"))
    with told.rows() as rows:
        channel = queries.channel(rows, "a")
        assert channel is not None
        waiting = queries.behind(rows, channel.position, services=["app-db"])
    assert [each.notice.version for each in waiting] == ["v2", "v2"]


def test_what_was_delivered_is_behind_the_channel() -> None:
    told, at = failed("a")
    told.note(c.NotificationDelivered("a", (at - 2,)), c.NotificationDelivered("a", (at,), receipt="x"), at=BEGAN)
    channel = told.channel("a")
    assert (channel.position, channel.delivered, channel.delivered_at) == (at, 2, BEGAN)


def test_a_sink_that_is_not_there_is_counted_until_it_is_again() -> None:
    told, at = failed("a")
    later = Instant(BEGAN + SECOND)
    told.note(*[c.NotificationPostponed("a", (at,), 3, NOT_THERE, later)] * 2)
    channel = told.channel("a")
    assert (channel.failures, channel.not_before, channel.cause, channel.position) == (2, later, NOT_THERE, 0)
    told.note(c.NotificationDelivered("a", (at,)))
    channel = told.channel("a")
    assert (channel.failures, channel.not_before, channel.cause) == (0, 0, None)


def test_a_sink_that_refuses_a_message_is_there() -> None:
    told, at = failed("a")
    told.note(c.NotificationPostponed("a", (at,), 3, NOT_THERE, Instant(BEGAN)))
    told.note(c.NotificationGivenUp("a", (at,), 1, REFUSES))
    channel = told.channel("a")
    assert (channel.failures, channel.given_up, channel.position) == (0, 1, at)


def test_a_message_that_was_never_tried_says_nothing_of_the_sink() -> None:
    told, at = failed("a")
    told.note(c.NotificationPostponed("a", (at,), 3, NOT_THERE, Instant(BEGAN)))
    told.note(c.NotificationGivenUp("a", (at,), 0, REFUSES))
    assert told.channel("a").failures == 1


def test_a_channel_that_was_disabled_is_as_new_when_it_is_enabled() -> None:
    told, at = failed("a")
    told.note(c.NotificationPostponed("a", (at,), 3, NOT_THERE, Instant(BEGAN)), c.ChannelDisabled("a", REFUSES))
    assert told.channel("a").disabled == REFUSES
    told.note(c.ChannelEnabled("a"))
    channel = told.channel("a")
    assert (channel.disabled, channel.failures, channel.not_before, channel.position) == (None, 0, 0, 0)


def test_a_digest_tells_what_was_dropped_before_it_and_the_next_one_what_was_dropped_since() -> None:
    told, at = failed("a")
    told.note(c.NotificationsDropped("a", (1, 2)), c.DigestGathered("a", (at,), 2), c.NotificationsDropped("a", (3,)))
    channel = told.channel("a")
    assert (channel.digest, channel.said, channel.unsaid, channel.dropped) == ((at,), 2, 1, 3)
    told.note(c.NotificationDelivered("a", (at,)))
    channel = told.channel("a")
    assert (channel.digest, channel.said, channel.unsaid) == ((), 0, 1)


@pytest.mark.parametrize("kind", [c.NotificationGivenUp, c.NotificationBlocked])
def test_what_a_digest_did_not_tell_is_told_by_the_next(kind: type) -> None:
    told, at = failed("a")
    told.note(c.NotificationsDropped("a", (1, 2)), c.DigestGathered("a", (at,), 2), lost(kind, at))
    channel = told.channel("a")
    assert (channel.digest, channel.said, channel.unsaid) == ((), 0, 2)


def test_what_was_dropped_is_remembered_with_the_time_of_its_first_notice() -> None:
    told, at = failed("a")
    told.note(c.NotificationsDropped("a", (at,)), at=BEGAN + 999 * SECOND)
    happened = next(notice.at for notice in told.notices() if notice.position == at)
    assert told.channel("a").unsaid_since == happened < BEGAN + 999 * SECOND


def test_a_digest_in_flight_is_not_lost_behind_what_was_dropped_after_it() -> None:
    """Its notices are older than where the channel is."""
    told = Told("a")
    told.tell(Story().rotate("v1").rotate("v2"))
    first, second, third = (notice.position for notice in told.notices()[:3])
    told.note(c.DigestGathered("a", (first, second)), c.NotificationsDropped("a", (third,)))
    with told.rows() as rows:
        channel = queries.channel(rows, "a")
        assert channel is not None
        assert channel.position == third
        assert [each.notice.position for each in queries.before(rows, channel)] == [first, second]


def test_what_was_requeued_waits_until_it_is_settled() -> None:
    """Postponed it waits as well."""
    told, at = failed("a")
    told.note(c.NotificationGivenUp("a", (at,), 1, REFUSES))
    for event, waits in (
        (c.NotificationsRequeued("a", (at,)), [at]),
        (c.NotificationPostponed("a", (at,), 3, NOT_THERE, Instant(BEGAN)), [at]),
        (c.NotificationDelivered("a", (at,)), []),
    ):
        told.note(event)
        with told.rows() as rows:
            channel = queries.channel(rows, "a")
            assert channel is not None
            assert [each.notice.position for each in queries.before(rows, channel)] == waits


def test_what_a_person_asks_for_is_tried_at_once() -> None:
    told, at = failed("a")
    told.note(c.NotificationPostponed("a", (at,), 3, NOT_THERE, Instant(BEGAN + SECOND)))
    told.note(c.NotificationsRequeued("a", ()))
    assert told.channel("a").not_before == 0


def test_each_delivery_is_listed_with_its_state() -> None:
    told, at = failed("a", "b")
    told.note(c.NotificationDelivered("a", (at,), 2), c.NotificationBlocked("b", (at,), REFUSES))
    with told.rows() as rows:
        (one,) = queries.deliveries(rows, channel="a")
        (two,) = queries.deliveries(rows, states=[DeliveryState.BLOCKED])
    assert (one.state, one.attempts, one.cause) == (DeliveryState.DELIVERED, 2, None)
    assert (two.channel, two.position, two.cause) == ("b", at, REFUSES)


def test_what_joins_a_thread_is_the_first_receipt_of_the_rotation() -> None:
    told, story = Told("a"), Story().rotate("v1")
    told.tell(story)
    rotation = str(story.rotation_id)
    first, second = (notice.position for notice in told.notices())
    told.note(c.NotificationDelivered("a", (first,), receipt="ts-1"))
    told.note(c.NotificationDelivered("a", (second,), receipt="ts-2"))
    with told.rows() as rows:
        assert queries.thread(rows, "a", rotation) == "ts-1"
        assert queries.thread(rows, "b", rotation) == ""


def test_a_digest_begins_no_thread() -> None:
    """It tells of many rotations; what comes later of one of them must not change it."""
    told, story = Told("a"), Story().rotate("v1").rotate("v2")
    told.tell(story)
    *digest, last = (notice.position for notice in told.notices())
    told.note(c.NotificationDelivered("a", tuple(digest), receipt="ts-1"))
    with told.rows() as rows:
        assert queries.thread(rows, "a", str(story.rotation_id)) == ""
    told.note(c.NotificationDelivered("a", (last,), receipt="ts-2"))
    with told.rows() as rows:
        assert queries.thread(rows, "a", str(story.rotation_id)) == "ts-2"


# --- what a channel could not tell ----------------------------------------------------------------------


def undelivered(told: Told) -> list[tuple[str, str]]:
    return [(notice.channel, notice.service) for notice in told.notices() if notice.kind is NoticeKind.UNDELIVERED]


@pytest.mark.parametrize("kind", [c.NotificationGivenUp, c.NotificationBlocked])
def test_the_others_are_told_what_a_channel_could_not_tell(kind: type) -> None:
    told, at = failed("a")
    told.note(lost(kind, at))
    notice = told.notices()[-1]
    assert (notice.kind, notice.channel, notice.cause) == (NoticeKind.UNDELIVERED, "a", REFUSES)
    assert (notice.service, notice.environment) == ("app-db", "production")
    assert notice.next_steps


def test_a_channel_that_is_disabled_is_told_to_all_services() -> None:
    told, _ = failed("a")
    told.note(c.ChannelDisabled("a", REFUSES))
    notice = told.notices()[-1]
    assert (notice.kind, notice.channel, notice.service) == (NoticeKind.UNDELIVERED, "a", "")


def test_two_broken_channels_do_not_tell_of_each_other_for_ever() -> None:
    told, at = failed("a", "b")
    trouble = told.note(c.NotificationGivenUp("a", (at,), 1, REFUSES))
    told.note(c.NotificationGivenUp("b", (trouble,), 1, REFUSES))
    assert undelivered(told) == [("a", "app-db")]


def test_a_digest_that_was_not_delivered_is_told_for_what_else_was_in_it() -> None:
    """Though it begins with the trouble of another channel."""
    told, story = Told("a", "b"), Story().start("v1").fail()
    told.tell(story)
    trouble = told.note(c.NotificationGivenUp("a", (failure(told),), 1, REFUSES))
    after = told.tell(story.turn_to("other", "production").start("v1").fail())
    other = next(notice.position for notice in told.notices() if notice.service == "other")
    assert trouble < other <= after
    told.note(c.NotificationGivenUp("b", (trouble, other), 1, REFUSES))
    assert undelivered(told) == [("a", "app-db"), ("b", "other")]


# --- who was told ---------------------------------------------------------------------------------------


def test_a_failure_that_no_channel_delivered_was_heard_by_nobody() -> None:
    told, at = failed("a", "b")
    assert told.unheard() == {CREDENTIAL: at}
    told.note(c.NotificationDelivered("b", (at,)))
    assert told.unheard() == {}


def test_that_a_channel_is_in_trouble_is_no_word_of_the_failure() -> None:
    """Whoever hears of that heard nothing of the credential."""
    told, at = failed("a", "b")
    trouble = told.note(c.NotificationGivenUp("a", (at,), 1, REFUSES))
    told.note(c.NotificationDelivered("b", (trouble,)))
    assert told.unheard() == {CREDENTIAL: at}


def test_what_was_given_up_is_heard_when_it_is_sent_again() -> None:
    """The only channel cannot tell of its own trouble; what it should have told is enough."""
    told, at = failed("a")
    told.note(c.NotificationGivenUp("a", (at,), 1, REFUSES), c.NotificationsRequeued("a", (at,)))
    told.note(c.NotificationDelivered("a", (at,)))
    assert told.unheard() == {}


def test_that_the_next_rotation_started_is_no_word_of_the_failure() -> None:
    told, at = failed("a")
    story = Story().start("v1").fail().start("v2")
    told.tell(story)
    started = told.notices()[-1]
    assert started.kind is NoticeKind.STARTED
    told.note(c.NotificationDelivered("a", (started.position,)))
    assert told.unheard() == {CREDENTIAL: at}


def test_who_hears_that_it_is_back_knows_that_it_failed() -> None:
    told = Told("a")
    told.tell(Story().rotate("v1").start("v2").stage().roll_back(automatic=True))
    back = told.notices()[-1]
    assert told.unheard() != {}
    told.note(c.NotificationDelivered("a", (back.position,)))
    assert told.unheard() == {}


def test_a_success_makes_up_for_what_nobody_heard() -> None:
    told = Told("a")
    told.tell(Story().start("v1").fail().rotate("v2"))
    assert told.unheard() == {}


def test_a_channel_in_trouble_is_no_concern_about_a_credential() -> None:
    told = Told("a")
    told.note(c.ChannelDisabled("a", REFUSES))
    assert told.unheard() == {}


def test_where_there_was_no_channel_nobody_was_to_be_told() -> None:
    """Whoever configures the first one hears of what comes from then on."""
    told = Told()
    told.tell(Story().start("v1").fail())
    told.note(c.ChannelOpened("a", len(told.facts)))
    assert told.unheard() == {}


def test_what_happened_a_moment_ago_may_still_be_on_its_way() -> None:
    told, at = failed("a")
    happened = next(notice.at for notice in told.notices() if notice.position == at)
    with told.rows() as rows:
        assert queries.unheard(rows, before=happened) == []
        assert len(queries.unheard(rows, before=Instant(happened + 1))) == 1


# --- a rebuild changes nothing --------------------------------------------------------------------------


def _crossed(seed: int, steps: int) -> list[Recorded]:
    """Return a history with facts of two channels between the others, about whatever stands there."""
    random = Random(seed)
    walk = Walk(random, services=2)
    told = Told("a", "b")
    for _ in range(steps):
        walk.step()
        told.facts += walk.facts
        walk.facts.clear()
        while random.random() < 0.4:
            told.note(_something(random, random.choice("ab"), len(told.facts)))
    return recorded(told.facts)


def _something(random: Random, channel: str, last: int) -> c.ChannelEvent:
    positions = tuple(sorted(random.sample(range(1, last + 1), min(last, random.randint(1, 4)))))
    made: list[c.ChannelEvent] = [
        c.NotificationDelivered(channel, positions, random.randint(1, 3), random.choice(["", "r1", "r2"])),
        c.NotificationPostponed(channel, positions, 3, NOT_THERE, Instant(BEGAN + last * SECOND)),
        c.NotificationGivenUp(channel, positions, random.randint(0, 3), random.choice([NOT_THERE, REFUSES])),
        c.NotificationBlocked(channel, positions, REFUSES),
        c.NotificationsDropped(channel, positions),
        c.NotificationsRequeued(channel, positions),
        c.DigestGathered(channel, positions, random.randint(0, 2)),
        c.ChannelDisabled(channel, REFUSES),
        c.ChannelEnabled(channel),
    ]
    return random.choice(made)


def _content(rows: Rows) -> list[object]:
    return [(table.name, rows.select(table)) for table in OUTBOX.tables]


@pytest.mark.slow
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), steps=st.integers(1, 60), cuts=st.lists(st.floats(0, 1), max_size=6))
def test_a_rebuilt_view_equals_the_one_that_was_kept(seed: int, steps: int, cuts: Sequence[float]) -> None:
    """However the log was cut into batches, and whichever process folded each."""
    facts = _crossed(seed, steps)
    with folded(facts) as whole, folded(facts, [int(cut * len(facts)) for cut in cuts]) as pieces:
        assert _content(whole) == _content(pieces)
        assert len(whole.select(CHANNELS)) == 2
