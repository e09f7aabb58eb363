"""The reader of CloudEvents that judges ours refuses what the specification refuses."""

from __future__ import annotations

import json

import pytest

from tests.sinks import cloudevents

GOOD = {
    "specversion": "1.0",
    "id": "1",
    "source": "/a/b",
    "type": "io.keyturn.a.v1",
    "time": "2026-09-21T14:13:20Z",
    "subject": "x",
    "datacontenttype": "application/json",
    "data": {"A b": None},
    "extension1": 5,
}


def test_a_good_event_has_no_problem() -> None:
    assert cloudevents.problems(json.dumps(GOOD).encode()) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": ""}, "id is missing"),
        ({"source": None}, "source is missing"),
        ({"type": ""}, "type is missing"),
        ({"specversion": "0.3"}, "specversion is not 1.0"),
        ({"id": 5}, "id is no string"),
        ({"subject": ""}, "subject is empty"),
        ({"subject": "a\nb"}, "a character that no string has"),
        ({"subject": "a\ufffe"}, "a character that no string has"),
        ({"source": "/a b"}, "source does not have its form"),
        ({"source": "/é"}, "source does not have its form"),
        ({"type": "completed"}, "type does not have its form"),
        ({"time": "2026-09-21 14:13"}, "time does not have its form"),
        ({"datacontenttype": "json"}, "datacontenttype does not have its form"),
        ({"Extension": "x"}, "no name of an attribute"),
        ({"with_underscore": "x"}, "no name of an attribute"),
        ({"a" * 21: "x"}, "no name of an attribute"),
        ({"data_base64": "eA=="}, "both data and data_base64"),
    ],
)
def test_a_wrong_event_is_refused(change: dict[str, object], problem: str) -> None:
    assert any(problem in found for found in cloudevents.problems(json.dumps({**GOOD, **change}).encode()))


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"id": "1", "id": "2"}', b'{"id": NaN}'])
def test_what_is_no_object_of_json_is_refused(body: bytes) -> None:
    assert cloudevents.problems(body)[0].startswith("no JSON")
