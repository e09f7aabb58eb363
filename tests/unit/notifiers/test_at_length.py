"""Some hundred drawn notices through every form of messages; by hand there may be more (at_length.py)."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

import msgspec
import pytest

from adapters.registry import NOTIFIER_GROUP, SHIPPED
from engine.notices import NoticeKind
from engine.notifier import Outgoing
from tests.unit.notifiers import at_length
from tests.unit.notifiers.at_length import Figures, judge, notices, play
from tests.unit.notifiers.drawn import of
from tests.unit.notifiers.renderers import HEADER, INVALID, KEY, LIMIT, MARKUP, Renderer, renderers

FORMS = {renderer.name: renderer for renderer in renderers()}


def test_every_channel_that_ships_is_among_them() -> None:
    assert {name.split()[0] for name in FORMS} == set(SHIPPED[NOTIFIER_GROUP])


@pytest.mark.slow
def test_every_message_is_valid_and_within_the_limits_of_its_sink() -> None:
    """None has unescaped markup, or a header that was not meant."""
    played, figures, problems = play(300, seed=20)
    assert (played, problems) == (300, [])
    assert {name for name, each in figures.items() if each.messages >= 150} == set(FORMS)


def test_a_seed_draws_the_same_notices_of_every_kind() -> None:
    drawn = list(islice(notices(3), 200))
    assert drawn == list(islice(notices(3), 200))
    assert {each.kind for each in drawn} == set(NoticeKind)


def test_a_problem_is_told_counted_and_ends_the_program_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    form = FORMS["file"]
    broken = Renderer("file", form.notifier, lambda outgoing: iter([(LIMIT, "too much")]))
    figures = Figures()
    assert judge(broken, [of(NoticeKind.FAILED)], 0, figures) == ["file: over a limit: too much"]
    assert (figures.messages, figures.found[LIMIT]) == (1, 1)
    monkeypatch.setattr(at_length, "renderers", lambda: [broken])
    assert at_length.main(["3"]) == 1
    assert "3 messages, 3 problems" in capsys.readouterr().out


def test_it_stops_when_its_time_is_over() -> None:
    played, figures, _ = play(10**9, seed=0, seconds=0)
    assert played == sum(each.messages for each in figures.values()) == 0


# --- that it would see what is wrong --------------------------------------------------------------------------------


def slack(**changes: Any) -> Outgoing:
    """Return a message of Slack with changes."""
    message = {"text": "x", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}], **changes}
    return Outgoing(msgspec.json.encode(message), "application/json")


def section(text: str) -> list[dict[str, Any]]:
    return [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]


def good(name: str) -> Outgoing:
    """Return the message of a failure."""
    return FORMS[name].notifier.render([of(NoticeKind.FAILED)], key=KEY)


def mail(old: bytes, new: bytes) -> Outgoing:
    """Return a mail in which something was replaced."""
    outgoing = good("email")
    assert old in outgoing.content
    return msgspec.structs.replace(outgoing, content=outgoing.content.replace(old, new, 1))


def event(**changes: Any) -> Outgoing:
    """Return an event of PagerDuty whose payload has changes."""
    found = msgspec.json.decode(good("pagerduty").content)
    found["payload"] |= changes
    return Outgoing(msgspec.json.encode(found), "application/json")


def templated(**headers: str) -> Outgoing:
    """Return a message of a template whose headers have changes."""
    outgoing = good("webhook template")
    changed = json.loads(outgoing.further[0]) | headers
    return msgspec.structs.replace(outgoing, further=(json.dumps(changed).encode(),))


def apprise(**changes: str) -> Outgoing:
    """Return a message of Apprise with changes."""
    changed = json.loads(good("apprise").content) | changes
    return Outgoing(json.dumps(changed).encode(), "application/json")


WRONG: list[tuple[str, Outgoing, str]] = [
    ("slack webhook", slack(text="<x>"), MARKUP),
    ("slack webhook", slack(blocks=section("<!channel>")), MARKUP),
    ("slack webhook", slack(blocks=section("x" * 3_001)), LIMIT),
    ("slack bot", slack(blocks=section("x") * 51), LIMIT),
    ("slack bot", slack(blocks=[]), LIMIT),
    ("slack bot", slack(text=""), INVALID),
    ("email", mail(b"Subject:", b"Bcc: x@evil.test\r\nSubject:"), HEADER),
    ("email", mail(b"Subject: [", b"Subject: x["), HEADER),
    ("email", mail(b"\r\n\r\n", b"\r\n\r\n" + b"x" * 999), LIMIT),
    ("email", mail(b"\r\n\r\n", b"\n\n"), INVALID),
    ("pagerduty", event(summary="x" * 1_025), LIMIT),
    ("pagerduty", event(severity="bad"), INVALID),
    ("pagerduty", event(custom_details={"x": "y" * 512_000}), LIMIT),
    ("webhook cloudevents", Outgoing(b'{"specversion": "1.0"}', ""), INVALID),
    ("webhook cloudevents", Outgoing(b'{"x": "' + b"x" * 20_000 + b'"}', ""), LIMIT),
    ("webhook dsops", Outgoing(b"[]", ""), INVALID),
    ("webhook dsops", Outgoing(b'{"x": "\n"}', ""), INVALID),
    ("webhook template", templated(**{"X-text": "a\r\nb"}), HEADER),
    ("webhook template", templated(**{"X-more": "a"}), HEADER),
    ("webhook template", templated(**{"X-text": "a" * 1_001}), LIMIT),
    ("apprise", apprise(title="x" * 251), LIMIT),
    ("apprise", apprise(title="x\ny"), MARKUP),
    ("apprise", apprise(type="bad"), INVALID),
    ("file", Outgoing(b'{"key": "x"}\n', ""), INVALID),
    ("file", Outgoing(b"{}", ""), INVALID),
    ("file", Outgoing(b"{\n}\n", ""), INVALID),
]


@pytest.mark.parametrize("name", FORMS)
def test_a_good_message_has_no_problem(name: str) -> None:
    assert list(FORMS[name].problems(good(name))) == []


@pytest.mark.parametrize(("name", "outgoing", "kind"), WRONG)
def test_a_wrong_message_is_seen_for_what_it_is(name: str, outgoing: Outgoing, kind: str) -> None:
    assert kind in {found for found, _ in FORMS[name].problems(outgoing)}
