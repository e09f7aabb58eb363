"""The channel `file`: a line for every notice, complete or absent, whatever was there before."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.notifiers.file import ADAPTER, FileNotifier, Options
from engine.adapter import NotifierContext, Reference
from engine.errors import Unavailable
from engine.notices import Notice, NoticeKind
from engine.notifier import Notifier
from engine.values import Instant, Secret
from projections.notifications.samples import sample, samples

AT = Instant(1_767_225_600_000_000)
EVERY = samples(service="app", environment="production", at=AT)


def no_secret(reference: Reference) -> Secret:
    raise AssertionError(f"{reference} was read")


@pytest.fixture
def notifier(tmp_path: Path) -> FileNotifier:
    context = NotifierContext("file", "app", "production", tmp_path, no_secret)
    built = ADAPTER.build(Options(path="told.jsonl"), context)
    assert isinstance(built, FileNotifier)
    return built


def deliver(notifier: FileNotifier, notices: Sequence[Notice], key: str = "kt_1", dropped: int = 0) -> None:
    assert notifier.send(notifier.render(notices, key=key, dropped=dropped), key=key) == ""


def lines(notifier: FileNotifier) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in notifier.path.read_bytes().splitlines() if line]


def test_it_is_a_notifier_of_a_path_beside_the_configuration(notifier: FileNotifier, tmp_path: Path) -> None:
    assert isinstance(notifier, Notifier)
    assert notifier.path == tmp_path / "told.jsonl"
    context = NotifierContext("file", "app", "production", tmp_path, no_secret)
    assert ADAPTER.build(Options(path="/elsewhere/x"), context) == FileNotifier(Path("/elsewhere/x"))


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_notice_is_a_line_with_its_key(notifier: FileNotifier, kind: NoticeKind) -> None:
    notice = next(each for each in EVERY if each.kind is kind)
    deliver(notifier, [notice], "kt_7")
    (line,) = lines(notifier)
    assert (line["schema"], line["kind"], line["key"]) == ("keyturn.notice/1", kind.value, "kt_7")
    assert (line["service"], line["urgency"]) == ("app", notice.urgency.value)
    assert line["error"] is None or line["error"]["message"] == "a test: the target refused the new value"


def test_a_digest_is_a_line_for_every_notice_and_one_for_those_that_were_dropped(notifier: FileNotifier) -> None:
    deliver(notifier, EVERY, "kt_7", dropped=12)
    *told, last = lines(notifier)
    assert [line["kind"] for line in told] == [notice.kind.value for notice in EVERY]
    assert last == {"kind": "dropped", "count": 12, "key": "kt_7"}


def test_a_line_is_one_line_whatever_stands_in_it(notifier: FileNotifier) -> None:
    text = 'a\nb\r\nc\u2028d"e\x00f'
    notice = msgspec.structs.replace(EVERY[0], reason=text)
    deliver(notifier, [notice])
    assert notifier.path.read_bytes().count(b"\n") == 1
    assert lines(notifier)[0]["reason"] == text


def test_the_same_notice_and_key_make_the_same_bytes(notifier: FileNotifier) -> None:
    assert notifier.render(EVERY, key="k", dropped=1) == notifier.render(EVERY, key="k", dropped=1)


def test_lines_are_appended_to_what_is_there(notifier: FileNotifier) -> None:
    notifier.path.write_bytes(b'{"mine": true}\n')
    deliver(notifier, EVERY[:1])
    assert lines(notifier)[0] == {"mine": True}
    assert len(lines(notifier)) == 2


@pytest.mark.parametrize("cut", [1, 7, -1])
def test_a_line_that_was_cut_short_spoils_no_other(notifier: FileNotifier, cut: int) -> None:
    """A crash in the middle of a write; the try that follows writes it whole."""
    content = notifier.render(EVERY[:1], key="k").content
    notifier.path.write_bytes(content[:cut])
    deliver(notifier, EVERY[:2])
    whole = notifier.path.read_bytes().splitlines()[1:]
    assert [msgspec.json.decode(line)["kind"] for line in whole] == [notice.kind.value for notice in EVERY[:2]]


def test_the_file_is_made_for_its_owner_alone(notifier: FileNotifier) -> None:
    old = os.umask(0)
    try:
        deliver(notifier, EVERY[:1])
    finally:
        os.umask(old)
    assert notifier.path.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_said_and_may_be_made(tmp_path: Path) -> None:
    notifier = FileNotifier(tmp_path / "gone" / "told.jsonl")
    assert notifier.validate() == [f"the folder {tmp_path / 'gone'} does not exist"]
    with pytest.raises(Unavailable) as raised:
        deliver(notifier, EVERY[:1])
    assert "No such file or directory" in raised.value.message
    notifier.path.parent.mkdir()
    assert notifier.validate() == []
    deliver(notifier, EVERY[:1])


def test_a_link_is_not_followed(notifier: FileNotifier, tmp_path: Path) -> None:
    """Whoever may write in the folder must not have another file written to."""
    (tmp_path / "precious").write_text("x")
    notifier.path.symlink_to(tmp_path / "precious")
    with pytest.raises(Unavailable):
        deliver(notifier, EVERY[:1])
    assert (tmp_path / "precious").read_text() == "x"


def test_a_disk_that_is_full_takes_nothing() -> None:
    with pytest.raises(Unavailable) as raised:
        deliver(FileNotifier(Path("/dev/full")), EVERY[:1])
    assert "No space left" in raised.value.message


def test_it_takes_what_is_selected(notifier: FileNotifier) -> None:
    notice = sample(NoticeKind.FAILED, service="app", environment="production", at=AT)
    assert notifier.supports(notice, selected=True)
    assert not notifier.supports(notice, selected=False)


def test_two_services_with_one_path_share_a_sink() -> None:
    assert ADAPTER.sink(Options(path="a")) == ADAPTER.sink(Options(path="a")) != ADAPTER.sink(Options(path="b"))
