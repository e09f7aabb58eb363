"""The options of the channel `email`: what the configuration takes, and what is wrong with it in sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec.inspect as mi
import pytest

from adapters.config.convert import BAD, convert
from adapters.config.problems import Report
from adapters.notifiers.mail_address import parse_address
from adapters.notifiers.smtp import ADAPTER, EmailOptions, Tls
from engine.adapter import NotifierContext, Reference
from engine.notices import NoticeKind
from engine.notifier import Notifier
from engine.values import SECOND, Instant, Secret
from projections.notifications.samples import sample

LOGIN = {"username": "env://SMTP_USER", "password": "env://SMTP_PASSWORD"}


def read(smtp: dict[str, Any] | None = None, **given: Any) -> Any:
    """Return the options as the configuration reads them, or `BAD` and what it says."""
    mapping = {"smtp": {"host": "smtp.test"} | (smtp or {}), "from": "a@b.test", "to": ["c@d.test"]} | given
    report = Report("keyturn.yaml", {})
    return convert(mapping, mi.type_info(EmailOptions), (), report, {}), [each.message for each in report.errors]


def built(smtp: dict[str, Any] | None = None, **given: Any) -> Notifier:
    """Return the channel of options that the configuration takes."""
    options, problems = read(smtp, **given)
    assert problems == []
    return ADAPTER.build(options, NotifierContext("email", "db", "test", Path("/nowhere"), lambda _: Secret("canary")))


def test_the_usual_options_are_enough() -> None:
    """A host, a sender and a recipient: with STARTTLS on the port of submission."""
    options, problems = read(LOGIN)
    assert problems == []
    assert (options.smtp.port, options.smtp.tls) == (587, Tls.STARTTLS)
    assert options.smtp.password == Reference("env", "SMTP_PASSWORD")
    assert isinstance(built(LOGIN), Notifier)
    assert built(LOGIN).validate() == []


@pytest.mark.parametrize(
    ("smtp", "given", "says"),
    [
        ({"username": "x"}, {}, "given together"),
        ({"password": "env://X"}, {}, "given together"),
        ({"username": "store://x", "password": "env://X"}, {}, "a store reference is written"),
        ({"username": "x", "password": "canary-plain"}, {}, "a reference to a secret is expected"),
        ({"timeout": "0s"}, {}, "100ms to 10m"),
        ({"tls": "disable"}, {}, "starttls, implicit, none-i-accept"),
        ({"port": 0}, {}, "at least 1"),
        ({}, {"to": []}, "empty"),
        ({}, {"batch_mode": "weekly"}, "immediate, hourly, daily"),
        ({}, {"events": ["failed"]}, "no such key"),
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_read(smtp: Any, given: Any, says: str) -> None:
    options, problems = read(smtp, **given)
    assert options is BAD
    assert says in " ".join(problems)
    assert "canary" not in " ".join(problems)


@pytest.mark.parametrize(
    ("smtp", "given", "says"),
    [
        ({"port": 465}, {}, "say `tls: implicit`"),
        ({"tls": "none-i-accept", **LOGIN}, {}, "to this machine only"),
        ({"ca_file": "missing.pem"}, {}, "`smtp.ca_file` is no file"),
        ({"host": "smtp.test:25"}, {}, "without a port"),
        ({"host": "smtp://x"}, {}, "`smtp.host`"),
        ({"host": "x\r\ny"}, {}, "`smtp.host`"),
        ({"helo": "me\r\nMAIL"}, {}, "`smtp.helo`"),
        ({}, {"from": "nobody"}, "`from`, address 1"),
        ({}, {"to": ["c@d.test", "x y@z.test"]}, "`to`, address 2"),
        ({}, {"cc": ["a@b.test\r\nBcc: x@y.test"]}, "`cc`, address 1"),
        ({}, {"bcc": ["ü@b.test"]}, "`bcc`, address 1"),
        ({}, {"reply_to": "a@-.test"}, "`reply_to`, address 1"),
        ({}, {"to": [f"a{number}@b.test" for number in range(101)]}, "More than 100"),
    ],
)
def test_what_is_wrong_with_right_types_is_told_in_a_sentence(smtp: Any, given: Any, says: str) -> None:
    (sentence,) = built(smtp, **given).validate()
    assert says in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_login_in_the_clear_is_for_this_machine_only(host: str) -> None:
    assert built({"host": host, "tls": "none-i-accept", **LOGIN}).validate() == []


@pytest.mark.parametrize(
    ("text", "spec", "name"),
    [
        ("a@b.test", "a@b.test", ""),
        (" Ops <a.b+c@b.test> ", "a.b+c@b.test", "Ops"),
        ('"Doe, John" <a@b.test>', "a@b.test", "Doe, John"),
        ("<a@b.test>", "a@b.test", ""),
        ("root@localhost", "root@localhost", ""),
        ("a@Bücher.example", "a@xn--bcher-kva.example", ""),
        ("a@straße.example", "a@xn--strae-oqa.example", ""),
    ],
)
def test_an_address_is_read(text: str, spec: str, name: str) -> None:
    """A domain of any script as DNS has it: by IDNA 2008, where `ß` is no `ss`."""
    address = parse_address(text)
    assert (address.spec, address.name) == (spec, name)


@pytest.mark.parametrize(
    "text",
    [
        *["", "a", "@", "a@", "@b.test", "a@b@c.test", "a b@c.test", "a@b.test, c@d.test", "a@b.test\n", "a\0@b.test"],
        *["Ops <a@b.test", "Ops <a@b.test> x", 'O"ps <a@b.test>', "a..b@c.test", ".a@c.test", "a@b..test"],
        *[
            "a@[127.0.0.1]",
            "a" * 65 + "@b.test",
            "x" * 101 + " <a@b.test>",
            "a@" + "b" * 64 + ".test",
            "\u202ea@b.test",
        ],
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_address(text)
    assert "b.test" not in str(caught.value)


def test_batches_are_told_to_whoever_sends() -> None:
    lengths = {mode: built(batch_mode=mode).pace.batch for mode in ("immediate", "hourly", "daily")}
    assert lengths == {"immediate": 0, "hourly": 3_600 * SECOND, "daily": 86_400 * SECOND}


def test_the_tries_outlast_greylisting() -> None:
    """Five minutes are what most servers let a first mail wait."""
    pace = built().pace
    assert sum(min(pace.first * 2**number, pace.longest) for number in range(pace.attempts - 1)) > 300 * SECOND


@pytest.mark.parametrize("is_selected", [True, False])
def test_what_is_selected_is_sent_and_nothing_else(is_selected: bool) -> None:  # noqa: FBT001 - what is tested
    notice = sample(NoticeKind.FAILED, service="db", environment="test", at=Instant(0))
    assert built().supports(notice, selected=is_selected) is is_selected


def test_sinks_with_other_recipients_are_others_and_show_no_secret() -> None:
    """What shares a sink shares a digest."""
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({}, {}),
        ({"host": "other.test"}, {}),
        ({"port": 25}, {}),
        (LOGIN, {}),
        ({}, {"from": "x@b.test"}),
        ({}, {"to": ["x@d.test"]}),
        ({}, {"cc": ["x@d.test"]}),
        ({}, {"bcc": ["x@d.test"]}),
        ({}, {"batch_mode": "daily"}),
    ]
    texts = [ADAPTER.sink(read(smtp, **given)[0]) for smtp, given in cases]
    assert len(set(texts)) == len(texts)
    assert texts[0] == "smtp://smtp.test:587?from=a@b.test&to=c@d.test&batch_mode=immediate"
    assert texts[3].startswith("smtp://env://SMTP_USER@smtp.test:587?")
    swapped = [ADAPTER.sink(read(to=to)[0]) for to in (["c@d.test", "e@f.test"], ["e@f.test", "c@d.test"])]
    assert swapped[0] == swapped[1]
