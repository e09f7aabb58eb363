"""Each channel from `keyturn rotate` on a real PostgreSQL to a sink that checks what it gets: what arrives, in order.

Every course here runs the command line in processes of their own. The sinks refuse what their vendors refuse, so a
sink that refused nothing was told nothing that is invalid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from engine.facts import Fact
from engine.machine import ENDED, State
from engine.plan import Strategy
from engine.values import SECOND
from tests.integration.installations import Ended, Installation
from tests.integration.listeners import EVERY, HOOK_TOKEN, REMOTE, Listeners, listening
from tests.integration.proxy import Fate
from tests.integration.sites import SERVICE, PostgresSite
from tests.integration.stories import DONE, PERSON_NEEDED, QUICK, ROLLED_BACK, Begin, Story
from tests.sinks.vendor_server import Reply
from tests.sinks.webhook import Answer

pytestmark = pytest.mark.slow

SETTINGS = QUICK + ", rollback: {max_retries: 0}"
COMPLETES = ["started", "completed"]
GOES_BACK = ["started", "rollback_started", "rolled_back"]
BREAKS = ["started", "rollback_started", "rollback_failed"]
RETRIED = ["rollback_started", "rolled_back"]
ALL = [*COMPLETES, *GOES_BACK, *BREAKS, *RETRIED, *COMPLETES]
LOUD = [kind in ("rollback_started", "rollback_failed") for kind in (*COMPLETES, *GOES_BACK, *BREAKS)]
LOUD += [False for kind in (*RETRIED, *COMPLETES)]
"""Which of them call people: that one of them tries again does not."""
CAUSE = "the login works, but the verification query does not (the query failed with SQLSTATE 42501)"
STILL_ON_THEIR_WAY = "notifications are still on their way"


@dataclass
class Course:
    """An installation on a PostgreSQL behind a proxy, and who listens to it."""

    story: Story
    listeners: Listeners

    @property
    def installation(self) -> Installation:
        """What is rotated."""
        return self.story.installation

    @property
    def site(self) -> PostgresSite:
        """The server that it is rotated on."""
        assert isinstance(self.installation.site, PostgresSite)
        return self.installation.site

    def tell(self, *names: str, **options: object) -> None:
        """Have these channels told from now on."""
        self.listeners.tell(self.installation, *names, **options)

    def run(self, *arguments: str) -> Ended:
        """Run the command line."""
        return self.listeners.run(self.installation, *arguments)

    def completes(self, *arguments: str) -> Ended:
        """Rotate, without any trouble."""
        return self._ends(DONE, "rotate", SERVICE, *arguments)

    def goes_back(self, *arguments: str) -> Ended:
        """Rotate, with a verification that fails; keyturn goes back by itself."""
        self.site.spoil()
        ended = self._ends(ROLLED_BACK, "rotate", SERVICE, *arguments)
        self.site.mend()
        return ended

    def breaks(self) -> None:
        """Rotate, with a verification that fails and a login that does not work any more when keyturn goes back."""
        previous = self.installation.current().username

        def expire() -> None:
            self.site.database.run("ALTER ROLE {} VALID UNTIL '2000-01-01'", previous)

        self.site.spoil()
        self.story.proxy.plan(b"SELECT 1 FROM gate", Fate.PASS, then=expire)
        self._ends(PERSON_NEEDED, "rotate", SERVICE)
        self.site.mend()
        self.site.database.run("ALTER ROLE {} VALID UNTIL 'infinity'", previous)

    def all_of_it(self) -> None:
        """Rotate, fail and go back, fail for good, try again, and rotate."""
        self.completes()
        self.goes_back("--reason", "quarterly", "--actor", "ada")
        self.breaks()
        self._ends(DONE, "retry", SERVICE)
        self.completes()
        self.catches_up()

    def catches_up(self) -> None:
        """Have what still waits sent: a machine that is busy may need more than the seconds that a command waits."""
        self._ends(DONE, "notify", "outbox", "--replay")

    def _ends(self, code: int, *arguments: str) -> Ended:
        ended = self.run(*arguments)
        assert ended.code == code, ended
        return ended


@pytest.fixture
def course(begin: Begin) -> Iterator[Course]:
    """An installation that was rotated once, before anybody listened."""
    story = begin(Strategy.ALTERNATING, settings=SETTINGS)
    with listening(story.installation) as listeners:
        yield Course(story, listeners)


# --- each channel ---------------------------------------------------------------------------------------------------


def _slack_hook(course: Course) -> None:
    words = course.listeners.words("slack-hook")
    assert ["<!here>" in each for each in words] == LOUD


def _slack_bot(course: Course) -> None:
    """One thread a rotation; its first message shows how it came out, and failures are shown in the channel."""
    messages = course.listeners.bot_workspace.messages
    roots = [each for each in messages if not each.thread]
    assert [(each.body["text"].partition(": ")[0], each.edits) for each in roots] == [
        ("production/app has a new credential", 1),
        ("production/app is back on its previous credential", 2),
        ("production/app is back on its previous credential", 4),
        ("production/app has a new credential", 1),
    ]
    assert [sum(each.thread == root.ts for each in messages) for root in roots] == [1, 2, 4, 1]
    shown = [bool(each.body.get("reply_broadcast")) for each in messages if each.thread]
    assert shown == [loud for kind, loud in zip(ALL, LOUD, strict=True) if kind != "started"]


def _email(course: Course) -> None:
    """Over TLS, with a login, to everybody, each rotation in a thread of its own."""
    mail = course.listeners.mail
    assert all(session.ssl is not None and session.authenticated for session in mail.sessions)
    assert {tuple(each.rcpt_tos) for each in mail.taken} == {("ops@example.test", "log@example.test")}
    assert all(b"log@example.test" not in (each.original_content or b"") for each in mail.taken)
    urgent = [b"X-Priority: 1" in (each.original_content or b"") for each in mail.taken]
    assert urgent == LOUD


def _webhook(course: Course) -> None:
    """Each is signed with both secrets, which the receiver verified."""
    received = course.listeners.receiver.received
    assert {each.headers["authorization"] for each in received} == {f"Bearer {HOOK_TOKEN}"}
    assert [event["type"] for event in course.listeners.events] == [f"io.keyturn.rotation.{kind}.v1" for kind in ALL]


def _file(course: Course) -> None:
    assert (course.listeners.folder / "told.jsonl").stat().st_mode & 0o777 == 0o600


CHANNELS: dict[str, Callable[[Course], None]] = {
    "slack-hook": _slack_hook,
    "slack-bot": _slack_bot,
    "email": _email,
    "webhook": _webhook,
    "file": _file,
}
"""The channels that are told everything, and what is special to each."""


def _each_key_came_once(listeners: Listeners, name: str) -> None:
    if name != "slack-hook":  # which has no place for a key
        keys = listeners.keys(name)
        assert len(set(keys)) == len(keys)


def _failures_tell_everything(course: Course, name: str) -> None:
    """Who, which versions, how long, at which step and why; and what to do, where there is something."""
    words = course.listeners.words(name)
    rotation = course.installation.rotations()[2]
    began, back = (words[ALL.index(kind)] for kind in ("rollback_started", "rolled_back"))
    for word in (CAUSE, "verify", "ada", str(rotation.candidate), str(rotation.previous), str(rotation.id)):
        assert word in began, word
        assert word in back, word
    assert re.search(r"Duration(?:: |\*\n`)\d+\.\d s|\"duration_seconds\": \d", began), began
    assert f"keyturn rotate {SERVICE} tries again, once the cause is gone" in back
    assert "quarterly" in words[2]
    broken = words[ALL.index("rollback_failed")]
    third = course.installation.rotations()[3]
    assert "verify_rollback" in broken
    assert f"keyturn retry {third.id}" in broken
    assert f"keyturn abort {third.id}" in broken


@pytest.mark.parametrize("name", CHANNELS)
def test_a_channel_is_told_of_every_turn_of_rotations(course: Course, name: str) -> None:
    """Once each, in order, in valid messages, and with everything that a person needs."""
    course.tell(name)
    assert course.run("config", "check").code == DONE
    course.all_of_it()
    assert course.listeners.told(name) == ALL
    assert course.listeners.refused == []
    _each_key_came_once(course.listeners, name)
    _failures_tell_everything(course, name)
    CHANNELS[name](course)


def test_pagerduty_is_told_of_trouble_and_that_it_is_over(course: Course) -> None:
    """One alert, which the next success resolves although `events` selects failures alone; and that is a change."""
    course.tell("pagerduty")
    assert course.run("config", "check").code == DONE
    course.completes()
    assert course.listeners.told("pagerduty") == []
    course.goes_back()
    course.breaks()
    pagerduty = course.listeners.pagerduty
    (alert,) = pagerduty.alerts
    assert set(pagerduty.open) == {f"keyturn/production/{SERVICE}"}
    assert [payload["severity"] for payload in alert.payloads] == ["error", "error", "critical"]
    assert CAUSE in alert.payloads[0]["summary"]
    assert "keyturn retry" in alert.payloads[2]["custom_details"]["Next"][0]
    assert course.run("retry", SERVICE).code == DONE
    assert pagerduty.open
    course.completes()
    assert not pagerduty.open
    assert [each["summary"] for each in pagerduty.changes] == ["production/app has a new credential"]
    course.completes()
    assert (len(pagerduty.alerts), len(pagerduty.changes), pagerduty.dropped) == (1, 1, [])
    assert course.listeners.refused == []


def test_an_alert_follows_a_rotation_that_goes_back_where_that_is_selected(course: Course) -> None:
    course.tell("pagerduty", events=["failed", "rollback", "completed"])
    course.goes_back()
    (alert,) = course.listeners.pagerduty.alerts
    assert [payload["severity"] for payload in alert.payloads] == ["error", "warning"]
    course.completes()
    assert course.listeners.told("pagerduty") == ["trigger", "trigger", "resolve", "change"]
    assert course.listeners.refused == []


def test_all_channels_of_one_configuration_are_told_alike(course: Course) -> None:
    course.tell(*EVERY)
    course.all_of_it()
    assert {name: course.listeners.told(name) for name in CHANNELS} == dict.fromkeys(CHANNELS, ALL)
    assert course.listeners.told("pagerduty") == ["trigger", "trigger", "trigger", "resolve", "change"]
    assert course.listeners.refused == []
    assert course.installation.done("audit", "verify", "--json").document["ok"]


# --- sinks in trouble -----------------------------------------------------------------------------------------------


def test_a_sink_that_asks_to_wait_is_given_the_time(course: Course) -> None:
    """Each answers 429 once, with a second to wait: within the command, everything arrives."""
    names = ("slack-hook", "slack-bot", "webhook")
    course.tell(*names)
    limited = Reply(429, b"rate_limited", {"Retry-After": "1"})
    course.listeners.hook_workspace.server.order(limited)
    course.listeners.bot_workspace.server.order(limited)
    course.listeners.receiver.order(Answer(429, {"Retry-After": "1"}))
    course.completes()
    assert course.listeners.told("slack-hook") == course.listeners.told("slack-bot") == COMPLETES
    assert course.listeners.told("webhook") == ["started", *COMPLETES]  # the receiver lists what it refused as well
    first, second, _ = course.listeners.receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    waited = int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"])
    assert waited >= 1


def test_what_pagerduty_did_not_take_is_told_by_the_next_command(course: Course) -> None:
    """Its vendor says to try again after 30 s, which is longer than a command waits."""
    course.tell("pagerduty")
    pagerduty = course.listeners.pagerduty
    pagerduty.server.order(Reply(429, b"Request Limit Exceeded"))
    assert STILL_ON_THEIR_WAY in course.goes_back().err
    assert pagerduty.alerts == []
    course.completes()
    (alert,) = pagerduty.alerts
    assert (len(alert.payloads), alert.is_open, len(pagerduty.changes)) == (1, False, 1)


def test_pagerduty_is_left_alone_for_as_long_as_it_asks(course: Course) -> None:
    """By the next command as well, until a person wants it otherwise."""
    course.tell("pagerduty")
    pagerduty = course.listeners.pagerduty
    pagerduty.server.order(Reply(429, b"", {"Retry-After": "30"}))
    course.goes_back()
    course.completes()
    assert len(pagerduty.server.requests) == 1
    course.catches_up()
    assert course.listeners.told("pagerduty") == ["trigger", "trigger", "resolve", "change"]


@pytest.mark.parametrize("name", REMOTE)
def test_what_a_sink_missed_while_it_was_down_is_told_by_the_next_command(course: Course, name: str) -> None:
    """In order, before what is new, and once for each key; the rotation did not mind."""
    course.tell(name)
    course.listeners.proxies[name].refuse()
    course.goes_back()
    assert course.listeners.told(name) == []
    course.listeners.proxies[name].clear()
    course.catches_up()
    course.completes()
    course.catches_up()
    if name == "pagerduty":
        assert course.listeners.told(name) == ["trigger", "resolve", "change"]
    else:
        assert course.listeners.told(name) == [*GOES_BACK, *COMPLETES]
        _each_key_came_once(course.listeners, name)
    assert course.listeners.refused == []


# --- a rotation is not held up --------------------------------------------------------------------------------------


def _duration(facts: list[Fact]) -> float:
    """Return how long the newest rotation took by the log, in seconds, from its start to its end."""
    newest = next(fact.originator_id for fact in reversed(facts) if fact.state is not None)
    mine = [fact for fact in facts if fact.originator_id == newest]
    ended = next(fact.at for fact in mine if fact.state in {*ENDED, State.GRACE})
    return (ended - mine[0].at) / SECOND


def test_sinks_that_hang_hold_no_rotation_up(course: Course) -> None:
    """The command waits the few seconds that it gives notifications, after the rotation was over; nothing is lost."""
    course.tell(*EVERY)
    for proxy in course.listeners.proxies.values():
        proxy.silence()
    ended = course.completes()
    assert STILL_ON_THEIR_WAY in ended.err
    assert _duration(course.installation.facts()) < 5, "a rotation that had waited for a sink would have taken longer"
    assert [course.listeners.told(name) for name in REMOTE] == [[]] * len(REMOTE)
    assert course.listeners.told("file") == COMPLETES
    course.installation.assert_sound()
    for proxy in course.listeners.proxies.values():
        proxy.clear()
    course.catches_up()
    told = {name: course.listeners.told(name) for name in REMOTE if name != "pagerduty"}
    assert told == dict.fromkeys(told, COMPLETES)
