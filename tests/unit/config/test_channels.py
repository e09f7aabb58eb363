"""The key `notifications` of a service: every key of a channel has an effect, and what is wrong is told where."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.config.model import Channel
from adapters.config.schema import ChannelKeys
from adapters.config.show import effective
from adapters.notifiers.file import Options
from tests.unit.config.reading import only, problems, reads, service


def channels(text: str) -> tuple[Channel, ...]:
    """Return the channels of the service, of what stands behind `notifications:`."""
    return reads(told(text)).services["app"].channels


def told(text: str) -> str:
    return service(rotation=f"notifications: {text}")


def test_a_service_without_the_key_tells_nobody() -> None:
    assert reads(service()).services["app"].channels == ()
    assert channels("{}") == ()


def test_a_channel_is_its_kind_and_its_options() -> None:
    (channel,) = channels("{file: {path: told.jsonl}}")
    assert (channel.adapter, channel.name, channel.events) == ("file", "file", ())
    assert channel.options == Options(path="told.jsonl")
    assert channel.path == ("services", "app", "rotation", "notifications", "file")


def test_the_keys_that_every_channel_has_are_these() -> None:
    """Each has a test below that fails where it is ignored."""
    assert set(ChannelKeys.__struct_fields__) == {"name", "events"}
    assert set(Options.__struct_fields__) == {"path"}


def test_events_choose_what_it_is_told_of() -> None:
    (channel,) = channels("{file: {path: x, events: [failed, rollback]}}")
    assert channel.events == ("failed", "rollback")


def test_a_name_is_what_it_is_called_in_place_of_its_kind() -> None:
    (channel,) = channels("{file: {path: x, name: audit}}")
    assert channel.name == "audit"
    assert channel.id.startswith("audit-")


def test_a_path_decides_which_sink_it_is() -> None:
    one, two = channels("{file: [{path: x, name: one}, {path: y, name: two}]}")
    assert (one.options, two.options) == (Options(path="x"), Options(path="y"))


@pytest.mark.parametrize("changed", ["path: y", "path: x, name: other"])
def test_the_id_changes_with_the_sink_and_the_name_and_with_nothing_else(changed: str) -> None:
    """A channel that leads elsewhere is a new one, and is told what comes from then on."""
    (before,) = channels("{file: {path: x}}")
    (same,) = channels("{file: {path: x, events: [failed]}}")
    (after,) = channels(f"{{file: {{{changed}}}}}")
    assert before.id == same.id != after.id


def test_two_services_that_lead_to_the_same_sink_share_the_channel() -> None:
    text = """
    version: 1
    secretStores: {held: {type: memory}}
    services:
      one: &one
        type: memory
        credential: {username: app, store: held, key: default/one}
        rotation: {strategy: dual, notifications: {file: {path: x}}}
      two:
        type: memory
        credential: {username: app, store: held, key: default/two}
        rotation: {strategy: dual, notifications: {file: {path: x, events: [failed]}}}
    """.replace("&one", "")
    one, two = (each.channels[0] for each in reads(text).services.values())
    assert one.id == two.id


def test_several_of_a_kind_stand_in_a_list_and_need_names() -> None:
    assert [each.name for each in channels("{file: [{path: x}, {path: y, name: two}]}")] == ["file", "two"]
    problem = only(told("{file: [{path: x}, {path: y}]}"))
    assert problem.key == "services.app.rotation.notifications.file[1]"
    assert "another channel of this service is called 'file'" in problem.message


def test_a_word_that_is_unknown_is_told_with_the_nearest() -> None:
    problem = only(told("{file: {path: x, events: [faild]}}"))
    assert problem.key == "services.app.rotation.notifications.file.events[0]"
    assert "'failed'" in problem.hint


def test_a_kind_that_is_unknown_is_told_with_the_nearest() -> None:
    problem = only(told("{fil: {path: x}}"))
    assert problem.key == "services.app.rotation.notifications.fil"
    assert problem.hint == "Did you mean 'file'?"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{file: {path: x, evnts: [failed]}}", "file.evnts"),
        ("{file: {}}", "file.path"),
        ("{file: {path: ''}}", "file.path"),
        ("{file: {path: 7}}", "file.path"),
        ("{file: x}", "file"),
        ("{file: [x]}", "file[0]"),
        ("{file: {path: x, name: ../x}}", "file.name"),
        ("{file: {path: x, name: 7}}", "file.name"),
        ("{file: {path: x, events: failed}}", "file.events"),
        ("{file: {path: x, type: file}}", "file.type"),
        ("{file: {path: x, enabled: false}}", "file.enabled"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(text: str, key: str) -> None:
    found = problems(told(text))
    assert f"services.app.rotation.notifications.{key}" in {problem.key for problem in found}
    assert all(problem.line > 1 for problem in found)


@pytest.mark.parametrize("text", ["[file]", "file", "7"])
def test_what_is_no_mapping_is_told(text: str) -> None:
    assert only(told(text)).key == "services.app.rotation.notifications"


def test_the_configuration_is_shown_with_its_channels(tmp_path: Path) -> None:
    shown = str(effective(reads(told("{file: {path: told.jsonl, events: [failed], name: audit}}"))))
    assert "told.jsonl" in shown
    assert "audit" in shown
    assert "failed" in shown
