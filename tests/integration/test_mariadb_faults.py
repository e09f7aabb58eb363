"""The MariaDB target when the connection, the server or the time ends in the middle of a change."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.plan import Strategy
from engine.ports import Probe
from engine.values import CredentialValue
from tests.integration.mariadb_bench import Accounts, accounts, soon, value
from tests.integration.proxy import Fate, Happened, Proxy, running
from tests.mariadb_server import MariadbServer
from tests.mariadb_server import mariadb_server as run_mariadb

CHANGE = b"ALTER USER"


@pytest.fixture
def here(mariadb_server: MariadbServer) -> Accounts:
    """The accounts of one service."""
    return accounts(mariadb_server)


@contextmanager
def _misbehaving(
    here: Accounts, fate: Fate, *, seconds: float = 0.0, then: Callable[[], None] = lambda: None
) -> Iterator[Proxy]:
    """Stand in front of the server; the first change meets that fate, or the test fails."""
    with running(here.server.port) as line:
        line.plan(CHANGE, fate, seconds=seconds, then=then)
        yield line
    assert line.happened == [Happened(CHANGE, fate)]


def _with_one(here: Accounts, strategy: Strategy) -> CredentialValue:
    return here.target(strategy).apply(value(here.name), tag="1", deadline=soon())


BOTH = pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.DUAL])


@BOTH
@pytest.mark.parametrize("fate", [Fate.LOSE_ANSWER, Fate.LOSE_REQUEST])
def test_a_lost_answer_is_uncertain_and_a_probe_settles_it(here: Accounts, strategy: Strategy, fate: Fate) -> None:
    """Whether the server made the change cannot be told from here; repeating it is doing it once."""
    old, new, direct = _with_one(here, strategy), value(here.name), here.target(strategy)
    with _misbehaving(here, fate) as line, pytest.raises(Uncertain) as caught:
        here.target(strategy, port=line.port).apply(new, tag="2", deadline=soon())
    assert new.revealed() not in str(caught.value)
    assert direct.probe(new).probe is (Probe.ACCEPTED if fate is Fate.LOSE_ANSWER else Probe.REFUSED)
    direct.apply(new, tag="2", deadline=soon())
    assert direct.probe(new).probe is Probe.ACCEPTED
    assert direct.probe(old).probe is (Probe.ACCEPTED if strategy is Strategy.DUAL else Probe.REFUSED)


@BOTH
def test_a_change_that_is_delivered_twice_is_made_once(here: Accounts, strategy: Strategy) -> None:
    """The copy finds the account changed, and the server leaves it alone."""
    old, new = _with_one(here, strategy), value(here.name)
    with _misbehaving(here, Fate.TWICE) as line:
        here.target(strategy, port=line.port).apply(new, tag="2", deadline=soon())
    assert here.target(strategy).probe(new).probe is Probe.ACCEPTED
    assert here.target(strategy).probe(old).probe is (Probe.ACCEPTED if strategy is Strategy.DUAL else Probe.REFUSED)


def test_a_change_between_reading_and_changing_is_not_overwritten(here: Accounts) -> None:
    """Somebody else added a password meanwhile: the server refuses, and the next try sees it."""
    old, new, direct = _with_one(here, Strategy.DUAL), value(here.name), here.target(Strategy.DUAL)
    other = value(here.name)

    def meanwhile() -> None:
        direct.apply(other, tag="x", deadline=soon())

    with _misbehaving(here, Fate.PASS, then=meanwhile) as line, pytest.raises(Unavailable, match="1644"):
        here.target(Strategy.DUAL, port=line.port).apply(new, tag="2", deadline=soon())
    seen = [direct.probe(each).probe for each in (old, other, new)]
    assert seen == [Probe.ACCEPTED, Probe.ACCEPTED, Probe.REFUSED]
    with pytest.raises(Rejected, match="2 passwords"):
        direct.apply(new, tag="2", deadline=soon())


@BOTH
def test_a_change_that_the_network_holds_back_never_takes_effect_late(here: Accounts, strategy: Strategy) -> None:
    """The server looks at its own clock before it begins: what was promised by the deadline stays true."""
    old, new = _with_one(here, strategy), value(here.name)
    with _misbehaving(here, Fate.HOLD_REQUEST, seconds=0.7) as line:
        with pytest.raises(PortError) as caught:
            here.target(strategy, port=line.port, statement_timeout="500ms").apply(new, tag="2", deadline=soon(1.1))
        assert isinstance(caught.value, Uncertain | Unavailable)
        line.wait()
    assert here.target(strategy).probe(old).probe is Probe.ACCEPTED
    assert here.target(strategy).probe(new).probe is Probe.REFUSED


@pytest.mark.slow
def test_a_change_that_waits_for_a_lock_is_given_up_by_the_server(here: Accounts) -> None:
    """A backup holds the tables: the change ends within the time that it has, and is not made when they are free."""
    old, new = _with_one(here, Strategy.SINGLE), value(here.name)
    with here.server.connect() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES mysql.global_priv WRITE")
        began = time.monotonic()
        with pytest.raises(PortError) as caught:
            here.target(Strategy.SINGLE, statement_timeout="500ms").apply(new, tag="2", deadline=soon(2))
        assert isinstance(caught.value, Uncertain | Unavailable)
        assert time.monotonic() - began < 2
        cursor.execute("UNLOCK TABLES")
    assert here.target(Strategy.SINGLE).probe(old).probe is Probe.ACCEPTED


def test_nothing_is_sent_when_the_time_left_is_less_than_the_server_may_take(here: Accounts) -> None:
    """With 3 s for the server and 2.9 s to the deadline, not even a connection is made."""
    with running(here.server.port) as line:
        target = here.target(Strategy.SINGLE, port=line.port)
        for deadline in (soon(2.9), soon(-60)):
            with pytest.raises(Unavailable, match="no time left"):
                target.apply(value(here.name), tag="1", deadline=deadline)
        assert line.connections == 0


@pytest.fixture
def fragile(mariadb_server: MariadbServer) -> Iterator[Accounts]:
    """A service on a server of its own that may be killed."""
    with run_mariadb() as server:
        yield accounts(server)


@pytest.mark.slow
def test_a_server_that_is_frozen_or_killed_is_never_a_refusal(fragile: Accounts) -> None:
    """Frozen, it answers nobody, and what it was sent is not done late; killed, it comes back with what it said."""
    old, new = _with_one(fragile, Strategy.DUAL), value(fragile.name)
    target = fragile.target(Strategy.DUAL, connect_timeout="1s", statement_timeout="500ms")
    pid = fragile.server.pid
    with running(fragile.server.port) as line:
        line.plan(CHANGE, Fate.PASS, then=lambda: os.kill(pid, signal.SIGSTOP))
        behind = fragile.target(Strategy.DUAL, port=line.port, statement_timeout="500ms")
        try:
            with pytest.raises(Uncertain):
                behind.apply(new, tag="2", deadline=soon(1))
            begun = time.monotonic()
            sighting = target.probe(old)
            assert (sighting.probe, sighting.detail) == (Probe.UNKNOWN, "no answer in time")
            assert time.monotonic() - begun < 2
        finally:
            os.kill(pid, signal.SIGCONT)
    assert (target.probe(old).probe, target.probe(new).probe) == (Probe.ACCEPTED, Probe.REFUSED)
    target.apply(new, tag="2", deadline=soon())
    fragile.server.kill()
    assert target.probe(new).probe is Probe.UNKNOWN
    with pytest.raises(Unavailable):
        target.retire(old, keep=new, tag="2", deadline=soon())
    fragile.server.restart()
    assert (target.probe(old).probe, target.probe(new).probe) == (Probe.ACCEPTED, Probe.ACCEPTED)


def test_many_at_once_lose_nothing(here: Accounts) -> None:
    """Threads that set and take away at the same moment leave one or two passwords, all of them known."""
    made = [value(here.name) for _ in range(4)]
    errors: list[Exception] = []

    def work(mine: CredentialValue) -> None:
        target = here.target(Strategy.DUAL)
        for _ in range(3):
            for call in (
                lambda: target.apply(mine, tag="x", deadline=soon()),
                lambda: target.restore(None, candidate=mine, tag="x", deadline=soon()),
            ):
                try:
                    call()
                except (Unavailable, Rejected):
                    pass
                except Exception as error:  # noqa: BLE001 - told by the test
                    errors.append(error)

    first = _with_one(here, Strategy.DUAL)
    threads = [threading.Thread(target=work, args=(each,)) for each in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert here.target(Strategy.DUAL).probe(first).probe is Probe.ACCEPTED
    assert here.kept().count('"plugin"') <= 2
