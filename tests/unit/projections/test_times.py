"""Times as people and other programs read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.times import from_text, to_text

YEAR_9000 = 221_000_000_000_000_000


def test_a_time_is_utc_to_the_microsecond() -> None:
    """Texts sort as the times do."""
    assert to_text(0) == "1970-01-01T00:00:00.000000Z"
    assert to_text(1_767_225_600_000_001) == "2026-01-01T00:00:00.000001Z"


@given(st.integers(0, YEAR_9000))
def test_a_text_is_read_as_the_time_that_it_was_made_of(instant: int) -> None:
    assert from_text(to_text(instant)) == instant


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01", 1_000_000),
        ("1970-01-01 01:00:00+01:00", 0),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_a_text_without_an_offset_is_utc(text: str, instant: int) -> None:
    assert from_text(text) == instant


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "v3"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_text(text)
