"""How adapters are configured: durations with their unit, secrets by reference and never by value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.adapter import Duration, Reference


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("7us", 7),
        ("500ms", 500_000),
        ("30s", 30_000_000),
        ("10m", 600_000_000),
        ("24h", 86_400_000_000),
        ("30d", 2_592_000_000_000),
        ("0s", 0),
        ("007s", 7_000_000),
    ],
)
def test_a_duration_is_written_with_its_unit(text: str, microseconds: int) -> None:
    assert Duration.parse(text).microseconds == microseconds


@pytest.mark.parametrize(
    "given_text", ["30", "30 s", "-1s", "1.5h", "1h30m", "s", "", "30S", "٣s", "1000000000s", " 1s", "1s\n", 30, None]
)
def test_anything_else_is_refused_with_what_is_expected(given_text: object) -> None:
    """A bare number above all: nobody knows whether it means seconds."""
    with pytest.raises(ValueError, match="a duration with its unit"):
        Duration.parse(given_text)


@given(st.integers(0, 10**12))
def test_a_duration_is_shown_as_it_is_read(microseconds: int) -> None:
    shown = str(Duration(microseconds))
    if microseconds < 10**9:
        assert Duration.parse(shown) == Duration(microseconds)
    assert repr(Duration(microseconds)) == f"Duration({shown})"


def test_the_largest_unit_that_fits_is_shown() -> None:
    shown = [str(Duration(each)) for each in (0, 1, 1_500, 90_000_000, 7_200_000_000, 172_800_000_000)]
    assert shown == ["0s", "1us", "1500us", "90s", "2h", "2d"]


def test_equal_durations_are_equal_however_they_are_written() -> None:
    assert {Duration.parse("60s"), Duration.parse("1m")} == {Duration.parse("60000ms")}
    assert Duration.parse("1m") != 60_000_000


# --- references -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "parts"),
    [
        ("store://local/admin/app-db", ("store", "local", "admin/app-db", "password")),
        ("store://local/admin/app-db#username", ("store", "local", "admin/app-db", "username")),
        ("store://local/admin#", ("store", "local", "admin", "password")),
        ({"from": {"store": "local", "key": "a/b"}}, ("store", "local", "a/b", "password")),
        ({"from": {"store": "local", "key": "a", "field": "url"}}, ("store", "local", "a", "url")),
        ("env://DB_PASSWORD", ("env", "", "DB_PASSWORD", "password")),
        ("file:///run/secret", ("file", "", "/run/secret", "password")),
    ],
)
def test_a_reference_says_where_a_secret_is_read_from(raw: object, parts: tuple[str, str, str, str]) -> None:
    reference = Reference.parse(raw)
    assert (reference.scheme, reference.store, reference.location, reference.field) == parts


@pytest.mark.parametrize(
    "raw",
    [
        "canary-literal",
        "canary://local/x",
        "store://canary",
        "store:///canary",
        "store://canary/",
        "env://",
        "file://",
        "",
        7,
        None,
        {"from": "canary"},
        {"from": {"store": "local", "key": "canary"}, "more": 1},
        {"from": {"store": "canary"}},
        {"from": {"store": "local", "key": 7}},
        {"from": {"store": "local", "key": "canary", "more": "x"}},
    ],
)
def test_a_secret_itself_is_refused_and_never_echoed(raw: object) -> None:
    """It may be a password that somebody typed where a reference belongs."""
    with pytest.raises(ValueError) as caught:
        Reference.parse(raw)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["store://local/a/b", "store://local/a#username", "env://NAME", "file:///run/secret"])
def test_a_reference_is_shown_as_it_is_written(text: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == text
    assert repr(reference) == f"Reference({text})"
    assert {reference} == {Reference.parse(text)}
    assert reference != text


def test_the_field_password_goes_without_saying() -> None:
    assert Reference.parse("store://local/a#password") == Reference.parse({"from": {"store": "local", "key": "a"}})
