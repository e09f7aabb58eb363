"""Every form in which APIs tell of their rate limits, and what is read of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.health.rate_limit_fields import number, used_share, used_shares


@pytest.mark.parametrize(
    ("headers", "used"),
    [
        ({"ratelimit": '"default";r=25;t=30', "ratelimit-policy": '"default";q=100;w=60'}, [0.75]),
        (
            {"ratelimit": '"day";r=900, "burst";r=1', "ratelimit-policy": '"burst";q=10;w=1, "day";q=1000;w=86400'},
            [0.1, 0.9],
        ),
        ({"ratelimit": "burst;r=3", "ratelimit-policy": "burst;q=4"}, [0.25]),
        ({"ratelimit": "limit=100, remaining=25, reset=5", "ratelimit-policy": "100;w=60"}, [0.75]),
        ({"ratelimit-limit": "100", "ratelimit-remaining": "25", "ratelimit-reset": "5"}, [0.75]),
        ({"ratelimit-limit": "100, 100;w=60, 1000;w=3600", "ratelimit-remaining": "25"}, [0.75]),
        ({"ratelimit-limit": "100;w=60", "ratelimit-remaining": "25"}, [0.75]),
        (
            {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-ratelimit-used": "1"},
            [1 / 5000],
        ),
        ({"x-rate-limit-limit": "40", "x-rate-limit-remaining": "0"}, [1.0]),
        ({"x-ratelimit-limit": "5", "x-ratelimit-remaining": "6"}, [0.0]),
    ],
)
def test_a_share_is_read_of_every_form(headers: dict[str, str], used: list[float]) -> None:
    assert sorted(used_shares(headers)) == pytest.approx(used)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit": '"default";r=25'},
        {"ratelimit": '"default";r=25', "ratelimit-policy": '"other";q=100'},
        {"ratelimit-policy": '"default";q=100'},
        {"ratelimit": '"default";r=25', "ratelimit-policy": '"default";q="many"'},
        {"ratelimit": '"default";r', "ratelimit-policy": '"default";q=100'},
        {"ratelimit": '"default;r=', "ratelimit-policy": '"default";q=100'},
        {"ratelimit": "limit=100"},
        {"ratelimit": "limit=(1 2), remaining=3"},
        {"x-ratelimit-limit": "100"},
        {"x-ratelimit-remaining": "100"},
        {"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"},
        {"x-ratelimit-limit": "100", "x-ratelimit-remaining": "-1"},
        {"x-ratelimit-limit": "many", "x-ratelimit-remaining": "1"},
        {"x-ratelimit-limit": "nan", "x-ratelimit-remaining": "1"},
        {"x-ratelimit-limit": "inf", "x-ratelimit-remaining": "1"},
        {"x-ratelimit-limit-requests": "10", "x-ratelimit-remaining-requests": "1"},
    ],
)
def test_what_does_not_tell_both_says_nothing(headers: dict[str, str]) -> None:
    assert used_shares(headers) == []


@given(st.dictionaries(st.sampled_from(["ratelimit", "ratelimit-policy", "x-ratelimit-limit"]), st.text()))
def test_whatever_a_server_sends_is_read(headers: dict[str, str]) -> None:
    """What is no field at all says nothing, and breaks nothing."""
    assert all(0 <= share <= 1 for share in used_shares(headers))


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_a_share_is_between_nothing_and_all(limit: float, remaining: float) -> None:
    share = used_share(limit, remaining)
    assert share is None or 0 <= share <= 1
    assert share is None or limit > 0


def test_a_number_is_all_of_a_text() -> None:
    assert (number("12.5"), number("1, 2"), number("12 per hour"), number("")) == (12.5, 1.0, None, None)
