"""The PostgreSQL target when the connection, the server or the time ends in the middle of a change."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from adapters.demo import servers
from engine.errors import PortError, Unavailable, Uncertain
from engine.plan import Strategy
from engine.ports import Probe
from tests.conftest import Database, without_server
from tests.integration.postgresql_bench import Site, site, soon, value
from tests.integration.proxy import Fate, Happened, Proxy, running


@pytest.fixture
def here(database: Database) -> Site:
    """A database with the roles of one service."""
    return site(database)


@pytest.fixture
def fragile() -> Iterator[Site]:
    """A service on a server of its own that may be killed; by its configuration it acknowledges too early."""
    try:
        servers.find_postgres()
    except servers.ServerMissing as error:
        without_server(error)
    with servers.postgres_server(settings={"synchronous_commit": "off", "wal_writer_delay": "10s"}) as server:
        yield site(Database(server, "postgres", "_x"))


@contextmanager
def _misbehaving(
    here: Site, word: bytes, fate: Fate, *, seconds: float = 0.0, then: Callable[[], None] = lambda: None
) -> Iterator[Proxy]:
    """Stand in front of the server; the first request with `word` in it meets that fate, or the test fails."""
    with running(here.database.server.port) as line:
        line.plan(word, fate, seconds=seconds, then=then)
        yield line
    assert line.happened == [Happened(word, fate)]


# --- the answer to COMMIT -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.ALTERNATING])
def test_a_lost_answer_to_commit_is_uncertain_and_a_probe_settles_it(here: Site, strategy: Strategy) -> None:
    """The server committed, the answer did not come: nobody knows, until somebody looks."""
    new = value(here.pair[0] if strategy is Strategy.ALTERNATING else here.owner)
    with _misbehaving(here, b"COMMIT", Fate.LOSE_ANSWER) as line:
        target = here.target(strategy, port=line.port, statement_milliseconds=300)
        with pytest.raises(Uncertain) as caught:
            target.apply(new, tag="1", deadline=soon())
    assert new.revealed() not in str(caught.value)
    assert here.target(strategy).probe(new).probe is Probe.ACCEPTED


@pytest.mark.slow
def test_a_retirement_whose_answer_is_lost_is_uncertain_and_may_be_repeated(here: Site) -> None:
    """Retiring again is done once."""
    old, new = value(here.pair[0]), value(here.pair[1])
    direct = here.target(Strategy.ALTERNATING)
    direct.apply(old, tag="1", deadline=soon())
    direct.apply(new, tag="2", deadline=soon())
    with _misbehaving(here, b"COMMIT", Fate.LOSE_REQUEST) as line, pytest.raises(Uncertain):
        here.target(Strategy.ALTERNATING, port=line.port).retire(old, keep=new, tag="2", deadline=soon())
    assert direct.probe(old).probe is Probe.ACCEPTED
    direct.retire(old, keep=new, tag="2", deadline=soon())
    direct.retire(old, keep=new, tag="2", deadline=soon())
    assert (direct.probe(old).probe, direct.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)


@pytest.mark.slow
@pytest.mark.parametrize("word", [b"BEGIN", b"SAVEPOINT", b"ALTER ROLE"])
def test_a_connection_lost_before_commit_changed_nothing(here: Site, word: bytes) -> None:
    """PostgreSQL undoes what was not committed, so this is a plain `Unavailable`."""
    old, new = value(here.owner), value(here.owner)
    direct = here.target(Strategy.SINGLE)
    direct.apply(old, tag="1", deadline=soon())
    with _misbehaving(here, word, Fate.LOSE_REQUEST) as line, pytest.raises(Unavailable):
        here.target(Strategy.SINGLE, port=line.port).apply(new, tag="2", deadline=soon())
    assert (direct.probe(old).probe, direct.probe(new).probe) == (Probe.ACCEPTED, Probe.REFUSED)


# --- time ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_commit_that_the_network_holds_back_never_takes_effect(here: Site) -> None:
    """It arrives when the server has given the transaction up: what was promised by the deadline stays true."""
    old, new = value(here.owner), value(here.owner)
    direct = here.target(Strategy.SINGLE)
    direct.apply(old, tag="1", deadline=soon())
    # Longer than the third of 300 ms that the server waits for our next message.
    with _misbehaving(here, b"COMMIT", Fate.HOLD_REQUEST, seconds=0.5) as line:
        with pytest.raises(PortError) as caught:
            here.target(Strategy.SINGLE, port=line.port, statement_milliseconds=300).apply(
                new, tag="2", deadline=soon()
            )
        assert isinstance(caught.value, Uncertain | Unavailable)
    assert (direct.probe(old).probe, direct.probe(new).probe) == (Probe.ACCEPTED, Probe.REFUSED)


@pytest.mark.slow
def test_nothing_is_sent_when_the_time_left_is_less_than_the_server_may_take(here: Site) -> None:
    """With 3 s for the server and 2.9 s to the deadline, not even a connection is made."""
    with running(here.database.server.port) as line:
        target = here.target(Strategy.SINGLE, port=line.port)
        for deadline in (soon(2.9), soon(-60)):
            with pytest.raises(Unavailable, match="no time left"):
                target.apply(value(here.owner), tag="1", deadline=deadline)
        assert line.connections == 0


@pytest.mark.slow
def test_a_slow_way_uses_up_the_time_and_changes_nothing(here: Site) -> None:
    """The time is looked at before each message, not only at the start."""
    # Within what the server waits, but beyond what the deadline leaves.
    with _misbehaving(here, b"SAVEPOINT", Fate.HOLD_REQUEST, seconds=0.06) as line:
        target = here.target(Strategy.SINGLE, port=line.port, statement_milliseconds=300)
        new = value(here.owner)
        with pytest.raises(Unavailable):
            target.apply(new, tag="1", deadline=soon(0.35))
    assert here.verifier(here.owner) is None


@pytest.mark.slow
def test_a_server_that_is_frozen_holds_us_no_longer_than_the_deadline(here: Site) -> None:
    """It takes our statement and never answers; a second after the deadline we let go, and do not know."""
    with _misbehaving(here, b"COMMIT", Fate.HOLD_ANSWER, seconds=60) as line:
        target = here.target(Strategy.SINGLE, port=line.port, statement_milliseconds=300)
        begun = time.monotonic()
        with pytest.raises(Uncertain):
            target.apply(value(here.owner), tag="1", deadline=soon(0.8))
        assert time.monotonic() - begun < 2.5


@pytest.mark.slow
def test_a_lock_of_somebody_else_is_not_waited_for(here: Site) -> None:
    """A role that another transaction is changing is `Unavailable` within the server's time."""
    with here.database.connect() as other:
        other.execute("BEGIN")
        other.execute(psycopg.sql.SQL("ALTER ROLE {} CONNECTION LIMIT 5").format(psycopg.sql.Identifier(here.owner)))
        begun = time.monotonic()
        with pytest.raises(Unavailable, match="LockNotAvailable"):
            here.target(Strategy.SINGLE, statement_milliseconds=300).apply(value(here.owner), tag="1", deadline=soon())
        assert time.monotonic() - begun < 1
        other.execute("ROLLBACK")
    assert here.verifier(here.owner) is None


@pytest.mark.slow
def test_a_login_that_somebody_makes_at_the_same_moment_is_found_by_the_next_try(here: Site) -> None:
    """It may be a lost attempt of our own that lands late, so it is no reason to go back."""
    target, new = here.target(Strategy.ALTERNATING), value(here.pair[0])
    with here.database.connect() as other:
        other.execute("BEGIN")
        other.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN").format(psycopg.sql.Identifier(here.pair[0])))
        commit = threading.Timer(0.3, other.execute, ["COMMIT"])
        commit.start()
        with pytest.raises(Unavailable, match="UniqueViolation"):
            target.apply(new, tag="1", deadline=soon())
        commit.join()
    target.apply(new, tag="2", deadline=soon())
    assert target.probe(new).probe is Probe.ACCEPTED


# --- the server dies ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_crash_of_the_server(fragile: Site) -> None:
    """Also where the server is configured to acknowledge before it has written (synchronous_commit = off)."""
    server = fragile.database.server
    target = fragile.target(Strategy.ALTERNATING)
    old, new = value(fragile.pair[0]), value(fragile.pair[1])
    target.apply(old, tag="1", deadline=soon())
    target.apply(new, tag="2", deadline=soon())
    server.kill()
    assert target.probe(new).probe is Probe.UNKNOWN
    server.restart()
    assert (target.probe(old).probe, target.probe(new).probe) == (Probe.ACCEPTED, Probe.ACCEPTED)
    target.retire(old, keep=new, tag="2", deadline=soon())
    server.kill()
    server.restart()
    assert (target.probe(old).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)


@pytest.mark.slow
@pytest.mark.parametrize("word", [b"BEGIN", b"ALTER ROLE", b"COMMIT"])
def test_a_server_killed_in_the_middle_leaves_one_of_the_two_values(fragile: Site, word: bytes) -> None:
    """Whatever the answer, after the restart either the old value works or the new one, and the answer is true.

    A process of the server that has the request already may carry it out, and answer, before it sees the crash.
    """
    server = fragile.database.server
    old, new = value(fragile.owner), value(fragile.owner)
    direct = fragile.target(Strategy.SINGLE)
    direct.apply(old, tag="1", deadline=soon())
    told: PortError | None = None
    with _misbehaving(fragile, word, Fate.PASS, then=server.kill) as line:
        try:
            fragile.target(Strategy.SINGLE, port=line.port).apply(new, tag="2", deadline=soon())
        except PortError as error:
            told = error
    server.restart()
    seen = (direct.probe(old).probe, direct.probe(new).probe)
    if told is None:
        assert seen == (Probe.REFUSED, Probe.ACCEPTED)
    elif isinstance(told, Unavailable):
        assert seen == (Probe.ACCEPTED, Probe.REFUSED)
    else:
        assert isinstance(told, Uncertain)
        assert sorted(seen) == [Probe.ACCEPTED, Probe.REFUSED]


@pytest.mark.slow
def test_a_stopped_server_answers_no_probe_in_time(fragile: Site) -> None:
    """A server that accepts connections and says nothing is UNKNOWN after the connect timeout, not refused."""
    os.kill(fragile.database.server.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        sighting = fragile.target(Strategy.SINGLE).probe(value(fragile.owner))
        assert (sighting.probe, sighting.detail) == (Probe.UNKNOWN, "no answer in time")
        assert time.monotonic() - begun < 4
    finally:
        os.kill(fragile.database.server.pid, signal.SIGCONT)


def test_a_port_without_a_server_is_unavailable_and_unknown(here: Site) -> None:
    """A refused connection is no answer about the password."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = here.target(Strategy.SINGLE, port=unused.getsockname()[1])
        assert target.probe(value(here.owner)).probe is Probe.UNKNOWN
        with pytest.raises(Unavailable):
            target.apply(value(here.owner), tag="1", deadline=soon())
