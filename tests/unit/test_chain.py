"""The hash chain: whatever is done to a log, the first bad position is named, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.chain import GENESIS, Anchor, Content, Link, Reason, Verdict, chained, verify

LENGTH = 12


def _chain(contents: Sequence[Content]) -> list[Link]:
    links: list[Link] = []
    previous = GENESIS
    for position, content in enumerate(contents, start=1):
        previous = chained(previous, position, content)
        links.append(Link(position, content, previous))
    return links


def _content(number: int) -> Content:
    return Content(bytes([number % 3]) * 16, number, b"candidate-staged.1", b"state %d" % number)


def _log(length: int = LENGTH) -> list[Link]:
    return _chain([_content(number) for number in range(1, length + 1)])


def _renumbered(links: Sequence[Link]) -> list[Link]:
    return [link._replace(position=position) for position, link in enumerate(links, start=1)]


def _flaw(verdict: Verdict) -> tuple[int | None, Reason | None]:
    return verdict.first_bad_position, verdict.reason


def test_the_bytes_under_a_hash_are_fixed_for_ever() -> None:
    """Anybody can check a log with SHA-256 alone: here is the first link, written out."""
    content = Content(bytes(range(16)), 1, b"candidate-staged.1", b"abc")
    written_out = (
        b"\x00" + GENESIS
        + b"\x00\x00\x00\x08" + b"\x00\x00\x00\x00\x00\x00\x00\x01"
        + b"\x00\x00\x00\x10" + bytes(range(16))
        + b"\x00\x00\x00\x08" + b"\x00\x00\x00\x00\x00\x00\x00\x01"
        + b"\x00\x00\x00\x12" + b"candidate-staged.1"
        + b"\x00\x00\x00\x03" + b"abc"
    )  # fmt: skip
    assert sha256(b"keyturn event log 1").digest() == GENESIS
    assert chained(GENESIS, 1, content) == sha256(written_out).digest()
    assert chained(GENESIS, 1, content).hex() == "56ab7de4f35448c642f9832de39e552b6cc3eeae310b7ce1fb66a605d7b252a1"


def test_an_untouched_log_is_good() -> None:
    """Every event counts, and the head is the hash of the last."""
    log = _log()
    assert verify(log) == Verdict(LENGTH, log[-1].hash or b"")
    assert verify(log).ok


def test_an_empty_log_is_good_and_begins_at_genesis() -> None:
    assert verify([]) == Verdict(0, GENESIS)


@pytest.mark.parametrize("position", [1, 5, LENGTH])
@pytest.mark.parametrize(
    "change",
    [
        lambda link: link._replace(content=link.content._replace(originator_id=b"\xff" * 16)),
        lambda link: link._replace(content=link.content._replace(version=99)),
        lambda link: link._replace(content=link.content._replace(tag=b"candidate-staged.2")),
        lambda link: link._replace(content=link.content._replace(state=b"another state")),
        lambda link: link._replace(hash=bytes(32)),
        lambda link: link._replace(content=None),
        lambda link: link._replace(hash=None),
    ],
    ids=["id", "version", "tag", "state", "hash", "content of another type", "hash of another type"],
)
def test_a_changed_event_is_named(position: int, change: Callable[[Link], Link]) -> None:
    """Whichever of its values was touched, the event itself is named, and not the one behind it."""
    log = _log()
    log[position - 1] = change(log[position - 1])
    assert _flaw(verify(log)) == (position, Reason.CHANGED)


@pytest.mark.parametrize("position", [1, 5, LENGTH - 1])
def test_a_removed_event_leaves_a_gap(position: int) -> None:
    log = _log()
    del log[position - 1]
    assert _flaw(verify(log)) == (position, Reason.MISSING)


@pytest.mark.parametrize("removed", [1, 3])
@pytest.mark.parametrize("position", [1, 5])
def test_a_removed_event_is_missed_even_if_the_rest_is_renumbered(position: int, removed: int) -> None:
    """Closing the gap hides nothing: what was written behind it is chained to other positions."""
    log = _log()
    del log[position - 1 : position - 1 + removed]
    assert _flaw(verify(_renumbered(log))) == (position, Reason.MISSING)


@pytest.mark.parametrize("position", [1, 5, LENGTH])
@pytest.mark.parametrize("added", [1, 2])
def test_an_added_event_is_named(position: int, added: int) -> None:
    """An event that was put in between, with all behind it renumbered, is told from a changed one."""
    log = _log()
    log[position - 1 : position - 1] = [Link(0, _content(77), bytes(32))] * added
    assert _flaw(verify(_renumbered(log))) == (position, Reason.ADDED)


def test_an_event_that_is_there_twice_was_added() -> None:
    log = _log()
    assert _flaw(verify([*log[:5], log[4], *log[5:]])) == (6, Reason.ADDED)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (5, 6), (5, 9), (LENGTH - 1, LENGTH), (1, LENGTH)])
def test_swapped_events_are_named(one: int, other: int) -> None:
    """Two events that changed places are told from two that were changed."""
    log = _log()
    log[one - 1], log[other - 1] = log[other - 1], log[one - 1]
    assert _flaw(verify(_renumbered(log))) == (one, Reason.REORDERED)


def test_a_log_that_is_cut_off_is_told_by_the_positions_that_were_given_out() -> None:
    """The rest of such a chain is good in itself; only the store knows that there was more."""
    log = _log()[: LENGTH - 3]
    assert verify(log).ok
    assert _flaw(verify(log, issued=LENGTH)) == (LENGTH - 2, Reason.MISSING)


def test_a_log_that_is_cut_off_is_told_by_an_anchor() -> None:
    """Even where the store was made to forget how many positions it gave out."""
    log = _log()
    anchor = Anchor(LENGTH, log[-1].hash or b"")
    assert verify(log, anchor=anchor).ok
    assert _flaw(verify(log[:4], anchor=anchor)) == (5, Reason.MISSING)


def test_a_log_that_was_written_anew_is_told_by_an_anchor() -> None:
    """Who can write the whole file can also chain it anew, but cannot meet a hash kept elsewhere."""
    log = _log()
    anchor = Anchor(7, log[6].hash or b"")
    forged = _chain([_content(number + (number == 3)) for number in range(1, LENGTH + 1)])
    assert verify(forged).ok
    assert _flaw(verify(forged, anchor=anchor)) == (7, Reason.CHANGED)
    assert verify(_log(LENGTH + 5), anchor=anchor).ok, "a log may grow past its anchor"


def test_a_bad_log_is_counted_whole_and_its_good_part_has_a_head() -> None:
    log = _log()
    log[4] = log[4]._replace(hash=bytes(32))
    verdict = verify(log)
    assert (verdict.events, verdict.head_hash, verdict.ok) == (LENGTH, log[3].hash, False)


def test_links_are_taken_one_by_one() -> None:
    """A log of any length is checked in the memory of one event."""
    taken = 0

    def links() -> object:
        nonlocal taken
        for link in _log():
            taken += 1
            yield link

    iterator = links()
    assert verify(iterator).ok  # type: ignore[arg-type]  # a generator of links
    assert taken == LENGTH


@given(data=st.data())
def test_no_single_bit_can_be_flipped(data: st.DataObject) -> None:
    """Any bit of any value of any event: the position is named."""
    log = _log()
    index = data.draw(st.integers(0, LENGTH - 1))
    link = log[index]
    assert link.content is not None
    assert link.hash is not None
    values = [link.content.originator_id, link.content.tag, link.content.state, link.hash]
    which = data.draw(st.integers(0, 3))
    bit = data.draw(st.integers(0, len(values[which]) * 8 - 1))
    flipped = bytearray(values[which])
    flipped[bit // 8] ^= 1 << bit % 8
    values[which] = bytes(flipped)
    content = Content(values[0], link.content.version, values[1], values[2])
    log[index] = Link(link.position, content, values[3])
    assert verify(log).first_bad_position == index + 1


@given(
    st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2), st.binary(max_size=3), st.binary(max_size=3))),
    st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 2), st.binary(max_size=3), st.binary(max_size=3))),
)
def test_two_logs_share_a_head_only_if_they_are_the_same(
    one: list[tuple[bytes, int, bytes, bytes]], other: list[tuple[bytes, int, bytes, bytes]]
) -> None:
    """No value can be moved over to its neighbour: each is hashed behind its length."""
    chains = [_chain([Content(*values) for values in log]) for log in (one, other)]
    heads = [verify(chain).head_hash for chain in chains]
    assert (heads[0] == heads[1]) == (one == other)
