"""What a script is given and what it says, as far as that is decided without running one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from adapters.health.script import ScriptOptions, _read
from tests.unit.health.bench import options


@pytest.mark.parametrize(
    ("output", "metric", "read"),
    [
        ("all is well", "", ("all is well", None, "")),
        ("", "", ("", None, "")),
        ("ok | load=0.5;1;2;0;", "", ("ok", 0.5, "")),
        ("ok|'free space'=20%;10;5 used=3GB", "", ("ok", 0.2, "ratio")),
        ("ok|'free space'=20%;10;5 used=3GB", "used", ("ok", 3 * 1024**3, "bytes")),
        ("ok | time=250ms", "", ("ok", 0.25, "s")),
        ("ok | time=12us", "", ("ok", 1.2e-05, "s")),
        ("ok | hits=17c", "", ("ok", 17.0, "")),
        ("ok | t=1e-3s;;;0", "", ("ok", 1e-3, "s")),
        ("ok | speed=3furlongs time=2s", "", ("ok", 2.0, "s")),
        ("ok | a=1", "b", ("ok", None, "")),
        ("ok | a=U", "", ("ok", None, "")),
        ("first\nsecond | a=1", "", ("first", None, "")),
    ],
)
def test_performance_data_is_read_as_nagios_writes_it(output: str, metric: str, read: tuple[Any, ...]) -> None:
    text, value, unit = _read(output, metric)
    assert (text, value if value is None else pytest.approx(value), unit) == read


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"script": "x", "args": ["{{ password }}"]}, "for `environment` alone"),
        ({"script": "x", "environment": {"P": "{{ password }}"}}, "with `pass_secret: environment`"),
        ({"script": "x", "args": ["{{ host }}"]}, "{{ host }} is not known"),
        ({"script": "x", "environment": {"KEYTURN_X": "1"}}, "cannot be set"),
        ({"script": "x", "environment": {"A-B": "1"}}, "cannot be set"),
        ({"script": "x", "args": ["a\0b"]}, "zero byte"),
        ({"script": ""}, "length >= 1"),
        ({"script": "x", "retry": {"max_attempts": 0}}, ">= 1"),
        ({"script": "x", "pass_secret": "argument"}, "Invalid enum value"),
        ({"script": "x", "timeout_is": "pass"}, "Invalid enum value"),
        ({"script": "x", "shell": True}, "unknown field"),
    ],
)
def test_options_that_could_not_be_run_or_would_show_a_secret_are_refused(raw: dict[str, object], why: str) -> None:
    with pytest.raises(msgspec.ValidationError) as raised:
        options(ScriptOptions, raw)
    assert why in str(raised.value)
