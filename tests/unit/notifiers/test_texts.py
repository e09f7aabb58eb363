"""Texts of the outside are made fit: nothing hidden in them stays, and what is too long is cut at a whole character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notifiers.texts import on_one_line, shortened, shown, utf16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (" around \n", "around"),
        ("a\r\nb\rc\x85d\u2028e", "a\nb\nc\nd\ne"),
        ("a\tb", "a\tb"),
        ("a\x00b\x1b[31mc\x7f", "a\ufffdb\ufffd[31mc\ufffd"),
        ("a\ud800b", "a\ufffdb"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("👩‍👩‍👧", "👩‍👩‍👧"),
        ("עברית", "עברית"),
    ],
)
def test_what_nobody_sees_is_gone_and_what_is_read_stays(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_text_is_put_on_one_line() -> None:
    assert on_one_line(" a\n\tb\r\n  c ") == "a b c"


@pytest.mark.parametrize(
    ("text", "longest", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("a bcd", 3, "a…"),
        ("🔑🔑", 3, "🔑…"),
        ("🔑🔑", 2, "…"),
        ("ab", 1, "…"),
        ("ab", 0, ""),
        ("", 0, ""),
    ],
)
def test_a_long_text_loses_its_end(text: str, longest: int, expected: str) -> None:
    assert shortened(text, longest, size=utf16) == expected


def test_what_is_escaped_is_not_cut_in_two() -> None:
    assert shortened("<<<", 9, form=lambda text: text.replace("<", "&lt;")) == "&lt;&lt;…"
    assert shortened("<<<", 8, form=lambda text: text.replace("<", "&lt;")) == "&lt;…"


@given(st.text(), st.integers(0, 30))
def test_it_is_never_longer_than_allowed(text: str, longest: int) -> None:
    assert utf16(shortened(shown(text), longest, size=utf16)) <= longest
