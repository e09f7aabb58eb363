"""What is in the log is read for ever: tags, retired tags, and the events that the machine knows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

import msgspec
import pytest

from engine import facts
from engine.events import ChannelEvent, CredentialEvent, CredentialOverdue, Event, GroupEvent, RotationEvent
from engine.machine import EVENTS

TAG = re.compile(r"([a-z]+(?:-[a-z]+)*)\.([1-9][0-9]*)")


def _by_tag(classes: Iterable[type[msgspec.Struct]]) -> dict[str, type[msgspec.Struct]]:
    return {str(each.__struct_config__.tag): each for each in classes}


CURRENT = _by_tag(get_args(Event))
RETIRED = _by_tag(facts.UPCASTERS)


def _name(tag: str) -> tuple[str, int]:
    match = TAG.fullmatch(tag)
    assert match, f"{tag!r} is not of the form what-happened.1"
    return match[1], int(match[2])


def test_an_event_belongs_to_one_aggregate() -> None:
    """An event is of a rotation, a credential, a channel, a due date or a group, and has a tag that no other has."""
    kinds = [*get_args(RotationEvent), *get_args(CredentialEvent), *get_args(ChannelEvent), CredentialOverdue]
    kinds += get_args(GroupEvent)
    assert len(CURRENT) == len(set(kinds)) == len(kinds)
    assert set(kinds) == set(get_args(Event))


@pytest.mark.parametrize("tag", sorted(CURRENT))
def test_a_tag_says_the_name_of_its_event_and_a_version(tag: str) -> None:
    """`rotation-started.2` is RotationStarted: people meet the same word in the log and in the code."""
    name, _ = _name(tag)
    assert name.replace("-", "") == CURRENT[tag].__name__.lower()


@pytest.mark.parametrize("tag", sorted(CURRENT))
def test_every_earlier_version_of_a_tag_is_still_read(tag: str) -> None:
    """The versions before the one of today are retired, each with an upcaster."""
    name, version = _name(tag)
    assert [number for number in range(1, version) if f"{name}.{number}" not in RETIRED] == []


def test_a_retired_tag_is_not_written_any_more() -> None:
    """A class of the past is never an event of today, and nothing retired lacks its successor."""
    assert not set(RETIRED) & set(CURRENT)
    assert {_name(tag)[0] for tag in RETIRED} <= {_name(tag)[0] for tag in CURRENT}


def test_every_retired_class_has_an_upcaster() -> None:
    """A tagged class beside the envelope is there to be read, so it must become an event of today."""
    tagged = {
        each
        for each in vars(facts).values()
        if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__struct_config__.tag
    }
    assert tagged - set(get_args(Event)) == set(facts.UPCASTERS)


def test_the_machine_knows_every_event_of_a_rotation() -> None:
    """And no other: an event without a row in the table could never be recorded."""
    assert {event.__name__ for event in get_args(RotationEvent)} == set(EVENTS)
