"""The last look: a secret is found in whatever form it would leave in, and harmless text is not taken for one."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.outbox.gate import LENGTH_MIN, TOKENS, found_in
from engine.notices import NoticeKind
from engine.notifier import Outgoing
from engine.values import Secret
from projections.notifications.documents import document
from projections.notifications.samples import samples
from projections.notifications.words import text as words
from tests.histories import BEGAN

SPELLINGS: dict[str, Callable[[str], bytes]] = {
    "plain": lambda value: value.encode(),
    "in a URL": lambda value: quote(value, safe="").encode(),
    "in a form": lambda value: quote_plus(value).encode(),
    "in JSON": lambda value: json.dumps({"a": value}).encode(),
    "in JSON with other letters as they are": lambda value: json.dumps([value], ensure_ascii=False).encode(),
    "in HTML": lambda value: html.escape(value).encode(),
    "hexadecimal": lambda value: value.encode().hex().encode(),
    "hexadecimal, large": lambda value: value.encode().hex().upper().encode(),
    "base64": lambda value: base64.b64encode(value.encode()),
    "base64, one byte before": lambda value: base64.b64encode(b"x" + value.encode() + b"and more"),
    "base64, two bytes before": lambda value: base64.b64encode(b"xy" + value.encode() + b"more"),
    "base64, three bytes before": lambda value: base64.b64encode(b"xyz" + value.encode() + b"m"),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(b"ab" + value.encode() + b"c"),
    "a login for HTTP": lambda value: b"Basic " + base64.b64encode(b"user:" + value.encode()),
}
values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=LENGTH_MIN, max_size=40)


def message(content: bytes) -> Outgoing:
    return Outgoing(b"before " + content + b" behind", "text/plain")


def known(value: str) -> list[tuple[str, Secret]]:
    return [("the current value", Secret(value))]


@pytest.mark.parametrize("form", SPELLINGS)
@given(value=values)
def test_a_known_value_is_found_in_every_form(form: str, value: str) -> None:
    assert found_in(message(SPELLINGS[form](value)), known(value)) == "the current value"


@pytest.mark.parametrize("form", SPELLINGS)
def test_a_canary_is_found_in_every_form(form: str) -> None:
    """With characters that each form spells differently."""
    value = "canary-<&\"'+/ %~ü"
    assert found_in(message(SPELLINGS[form](value)), known(value))


@pytest.mark.parametrize(
    "outgoing",
    [
        Outgoing(b"", "text/plain", further=(b"nothing", b"canary-0815")),
        Outgoing(b"", "text/plain", readable=("nothing", "canary-0815")),
    ],
    ids=["what goes with it", "what people read"],
)
def test_all_parts_of_a_message_are_looked_at(outgoing: Outgoing) -> None:
    assert found_in(outgoing, known("canary-0815"))


def test_what_is_found_is_named_and_not_shown() -> None:
    assert "canary" not in found_in(message(b"canary-0815"), known("canary-0815"))


@pytest.mark.parametrize("value", ["", "a", "admin", "12345"])
def test_a_value_that_stands_in_any_text_is_no_secret(value: str) -> None:
    assert not found_in(message(f"{value} is admin 12345".encode()), known(value))


@given(value=values, other=values)
def test_a_text_without_the_value_goes_out(value: str, other: str) -> None:
    """Two texts of which neither holds the other, in letters that no form changes."""
    value, other = value.encode().hex(), "z" + other.encode().hex().translate(str.maketrans("abcdef", "uvwxyz"))
    assert not found_in(Outgoing(other.encode(), "text/plain"), known("q" + value))


TOKEN_EXAMPLES = {
    "a private key": "-----BEGIN EC PRIVATE KEY-----",
    "an AWS access key": "AKIA" + "B2" * 8,
    "a GitHub token": "ghp_" + "a1" * 18,
    "a GitLab token": "glpat-" + "a1" * 10,
    "a Slack token": "xoxb-" + "123456789012",
    "a Slack webhook": "https://hooks.slack.com/services/" + "T00000000/B00000000/XXXXXXXX",
    "a Stripe key": "sk_live_" + "a1" * 8,
    "a Google API key": "AIza" + "a1" * 17 + "a",
    "a JSON Web Token": "eyJ" + "a" * 12 + ".eyJ" + "b" * 12 + "." + "c" * 12,
    "a signing secret": "whsec_" + "a1" * 12,
    "a Vault token": "hvs." + "a1" * 12,
    "a URL with a password": "postgres://app:hunter2@db/app",
}
"""One of each shape, put together here so that no scanner takes this file for a leak."""


def test_there_is_an_example_of_every_shape() -> None:
    assert set(TOKEN_EXAMPLES) == {name for name, _ in TOKENS}


@pytest.mark.parametrize("name", TOKEN_EXAMPLES)
def test_a_token_that_nobody_knows_is_found_by_its_shape(name: str) -> None:
    assert found_in(message(TOKEN_EXAMPLES[name].encode()), []) == name


@pytest.mark.parametrize("name", TOKEN_EXAMPLES)
def test_a_token_is_found_in_a_text_within_the_message(name: str) -> None:
    """Where the bytes are encoded, the texts are searched."""
    outgoing = Outgoing(base64.b64encode(TOKEN_EXAMPLES[name].encode()), "x", readable=(TOKEN_EXAMPLES[name],))
    assert found_in(outgoing, []) == name


@pytest.mark.parametrize("kind", NoticeKind)
def test_no_notice_of_our_own_looks_like_a_secret(kind: NoticeKind) -> None:
    every = samples(service="app-db", environment="production", at=BEGAN)
    notice = next(each for each in every if each.kind is kind)
    both = json.dumps(document(notice)) + words(notice)
    assert not found_in(message(both.encode()), [])


@pytest.mark.parametrize(
    "harmless",
    [
        "redis://***:***@host is not reached",
        "https://example.com:8443/a@b",
        "postgres://app@db/app",
        "mailto:ops@example.com",
        "eyJhbGciOiJIUzI1NiJ9 alone is half of one",
        "-----BEGIN CERTIFICATE-----",
        "task_live_and_well_and_long_enough",
    ],
)
def test_what_only_resembles_a_secret_goes_out(harmless: str) -> None:
    assert not found_in(message(harmless.encode()), [])
