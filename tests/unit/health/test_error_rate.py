"""Which requests count for an error rate, and what is refused of its options."""

from __future__ import annotations

import pytest

from adapters.health.error_rate import ErrorRateOptions, Tries
from adapters.health.http_session import UseCredential
from engine.adapter import Duration

URL = "https://app.example/"


def test_only_the_window_counts() -> None:
    """A request that is as old as the window is long counts; one that is older does not."""
    times = iter([0.0, 5.0, 6.0, 15.0, 15.1])
    tries = Tries(10.0, lambda: next(times))
    for is_error in (True, False, True):
        tries.add(is_error=is_error)
    assert tries.counted() == (1, 2)
    assert tries.counted() == (1, 1)


def test_without_codes_everything_but_success_is_an_error() -> None:
    options = ErrorRateOptions(url=URL)
    assert [status for status in (199, 200, 299, 300, 404, 500) if options.is_error(status)] == [199, 300, 404, 500]
    options = ErrorRateOptions(url=URL, error_codes=(500, 503))
    assert [status for status in (200, 404, 500, 503) if options.is_error(status)] == [500, 503]


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="not be more than"):
        ErrorRateOptions(url=URL, max_error_rate_pct=1, warning_rate_pct=2)
    with pytest.raises(ValueError, match="longer than nothing"):
        ErrorRateOptions(url=URL, window=Duration(0))
    with pytest.raises(ValueError, match="begins with"):
        ErrorRateOptions(url="app.example")
    with pytest.raises(ValueError, match="https:// alone"):
        ErrorRateOptions(url="http://app.example", use_credential=UseCredential.BASIC)
