"""Paths into JSON leave nothing out unseen."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.discovery.paths import JsonPath, Missing

ANSWER: dict[str, Any] = {
    "fleet": [{"names": ["a", "b"]}, {"names": []}, {"names": ["c"]}],
    "node name": {"of-it": 7},
    "none": None,
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.fleet", ANSWER["fleet"]),
        ("$.fleet[*]", ANSWER["fleet"]),
        ("$.fleet[*].names", ["a", "b", "c"]),
        ("$.fleet[*].names[*]", ["a", "b", "c"]),
        ("$.fleet[1].names", []),
        ("$['fleet'][0][\"names\"]", ["a", "b"]),
    ],
)
def test_a_path_names_the_members_of_lists(path: str, expected: list[Any]) -> None:
    assert JsonPath(path).all(ANSWER) == expected


@pytest.mark.parametrize(("path", "expected"), [("$['node name']['of-it']", 7), ("$.none", None), ("$", ANSWER)])
def test_a_path_names_one_value(path: str, expected: object) -> None:
    assert JsonPath(path).is_single
    assert JsonPath(path).one(ANSWER) == expected


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("$.flet[*]", "$.flet is not there"),
        ("$.fleet[*].name", "$.fleet[*].name is not there"),
        ("$.fleet[3].names", "$.fleet[3] is not there"),
        ("$.none.more", "$.none.more is not there"),
        ("$['node name'][*]", "$['node name'] is no list"),
        ("$.none", "$.none is no list"),
        ("$", "$ is no list"),
    ],
)
def test_what_is_not_there_is_an_error_and_not_an_empty_list(path: str, part: str) -> None:
    """One of the members without it is enough: the others are not all."""
    with pytest.raises(ValueError) as caught:
        JsonPath(path).all(ANSWER)
    assert str(caught.value) == part


def test_only_the_last_name_may_be_missing() -> None:
    """So that a next page is not missed because the answer has another form."""
    assert JsonPath("$.next").one_or(ANSWER, "nothing") == "nothing"
    assert JsonPath("$.fleet").one_or(ANSWER, "nothing") == ANSWER["fleet"]
    for path in ("$.page.next", "$.none.next", "$.fleet.next"):
        with pytest.raises(Missing):
            JsonPath(path).one_or(ANSWER, "nothing")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "instances",
        "$instances",
        "$..id",
        "$.a[?@.b]",
        "$.a[1:2]",
        "$.a[-1]",
        "$.a[01]",
        "$['a','b']",
        "$.a.",
        "$.*",
        "$.a b",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(ValueError):
        JsonPath(path)


def test_names_are_not_empty_and_end() -> None:
    for path in ("$['']", "$['a]", "$." + "a" * 500):
        with pytest.raises(ValueError):
            JsonPath(path)


def test_a_path_of_many_is_told_from_one_of_a_single_value() -> None:
    assert not JsonPath("$.fleet[*].id").is_single
