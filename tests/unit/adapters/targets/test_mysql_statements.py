"""How MySQL 8 is told which passwords an account shall have; the server is a fake that does what the manual says."""

from __future__ import annotations

import time
from itertools import product
from typing import Any

import pytest

from adapters.targets.mysql_admin import Limits, Session
from adapters.targets.mysql_dialects import Account, Mysql
from adapters.targets.mysql_hashes import CACHING_SHA2, NATIVE, PLUGINS, Entry
from engine.errors import Rejected, Unavailable
from tests.unit.adapters.targets.fake_mysql import FakeMysql, Row

DIALECT = Mysql()
NAMES = ("app o'brien\\", "10.%")
OLD, NEW, OTHER = (PLUGINS[CACHING_SHA2].stored(f"canary-{name}".encode()) for name in ("old", "new", "other"))
NOTHING = PLUGINS[CACHING_SHA2].nothing


def session(server: FakeMysql, seconds: float = 60.0) -> Session:
    connection: Any = server
    return Session(connection, "a test", Limits(time.time() + seconds, 3.0))


def entries(*stored: str) -> tuple[Entry, ...]:
    return tuple(Entry(CACHING_SHA2, each) for each in stored)


def read(server: FakeMysql) -> Account:
    account = DIALECT.account(session(server), *NAMES)
    assert account is not None
    return account


def _possible() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return what an account may have and is to have: a second password is always one that it has."""
    held: list[tuple[str, ...]] = [
        (),
        (OLD,),
        (NEW,),
        (OTHER, OLD),
        (OLD, OTHER),
        (NEW, NEW),
        (OLD, NEW),
        (NOTHING, OLD),
    ]
    wanted: list[tuple[str, ...]] = [(), (OLD,), (NEW,), (NEW, OLD), (OLD, NEW)]
    return [(had, want) for had, want in product(held, wanted) if want != had and (len(want) < 2 or want[1] in had)]


@pytest.mark.parametrize(("had", "wanted"), _possible())
def test_an_account_gets_what_it_shall_have(had: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    """From whatever it had; and what it had and keeps is accepted after every statement."""
    first, *second = had or (NOTHING,)
    server = FakeMysql({NAMES: Row(CACHING_SHA2, first, *second)})
    account = read(server)
    assert account.passwords == entries(*had)
    DIALECT.set_passwords(session(server), account, entries(*wanted))
    assert read(server).passwords == entries(*wanted)
    for accepted in server.held:
        assert accepted >= set(had) & set(wanted)


def test_a_death_between_two_statements_leaves_what_the_next_try_ends() -> None:
    """Taking both passwords of an account away, as going back from one to another, takes two."""
    for wanted in ((), (NEW,), (OTHER,)):
        whole = FakeMysql({NAMES: Row(CACHING_SHA2, OLD, OTHER)})
        DIALECT.set_passwords(session(whole), read(whole), entries(*wanted))
        first, second = (each for each in whole.said if each.startswith("ALTER USER"))
        server = FakeMysql({NAMES: Row(CACHING_SHA2, OLD, OTHER)})
        server.run(first, ())
        if tuple(entries(*wanted)) != read(server).passwords:
            DIALECT.set_passwords(session(server), read(server), entries(*wanted))
        assert server.users[NAMES].accepted - {NOTHING} == set(wanted)
        assert second in whole.said


def test_a_new_password_stands_beside_the_old_one() -> None:
    """`RETAIN CURRENT PASSWORD` is said where the account was just seen to have one password."""
    server = FakeMysql({NAMES: Row(CACHING_SHA2, OLD)})
    DIALECT.set_passwords(session(server), read(server), entries(NEW, OLD))
    assert server.said[-1].endswith(f"IDENTIFIED WITH caching_sha2_password AS '{NEW}' RETAIN CURRENT PASSWORD")
    assert server.users[NAMES].accepted == {OLD, NEW}


def test_a_repetition_would_push_the_old_password_out() -> None:
    """Why an account is read first: said again, RETAIN keeps the new password twice."""
    server = FakeMysql({NAMES: Row(CACHING_SHA2, OLD)})
    DIALECT.set_passwords(session(server), read(server), entries(NEW, OLD))
    server.run(server.said[-1], ())
    assert server.users[NAMES].accepted == {NEW}


def test_an_account_that_rests_keeps_its_plugin() -> None:
    """What nobody logs in with is of the plugin that the account has."""
    server = FakeMysql({NAMES: Row(NATIVE, PLUGINS[NATIVE].stored(b"canary"))})
    DIALECT.set_passwords(session(server), read(server), ())
    assert server.users[NAMES] == Row(NATIVE, PLUGINS[NATIVE].nothing)
    resting = read(server)
    assert (resting.passwords, resting.plugin) == ((), NATIVE)


def test_what_else_a_row_tells_is_read() -> None:
    """A lock, what the account wants of TLS, and a way to log in that is no password."""
    server = FakeMysql({NAMES: Row(CACHING_SHA2, OLD, locked="Y", ssl_type="X509")})
    assert (read(server).is_locked, read(server).tls) == (True, "REQUIRE X509")
    server.users[NAMES] = Row("auth_socket", "")
    found = read(server)
    assert (found.passwords, found.others, found.plugin) == ((), (Entry("auth_socket", ""),), None)
    assert DIALECT.account(session(server), "nobody", "%") is None


def test_the_server_is_told_to_hang_up_before_the_deadline() -> None:
    """MySQL has no condition around a statement, so times of the session bound when it can take effect."""
    server = FakeMysql()
    DIALECT.prepare(session(server), 3.0)
    assert server.said == [
        "SET SESSION wait_timeout = 1, lock_wait_timeout = 1, innodb_lock_wait_timeout = 1",
    ]


def test_late_or_refused_changes_leave_everything() -> None:
    """Without time nothing is sent; a server that knows no RETAIN changes nothing."""
    server = FakeMysql({NAMES: Row(CACHING_SHA2, OLD)})
    with pytest.raises(Unavailable):
        DIALECT.set_passwords(session(server, seconds=2.9), read(server), entries(NEW, OLD))
    account = read(server)
    server.users[NAMES].plugin = NATIVE
    with pytest.raises(Rejected):
        DIALECT.set_passwords(session(server), account, entries(NEW, OLD))
    assert server.users[NAMES].accepted == {OLD}


def test_no_statement_has_a_password_in_it() -> None:
    """All the way through: set, add, take away."""
    server = FakeMysql({NAMES: Row(CACHING_SHA2, OLD)})
    for wanted in ((NEW, OLD), (NEW,), (OTHER, NEW), (OTHER,), ()):
        DIALECT.set_passwords(session(server), read(server), entries(*wanted))
    assert not [each for each in server.said if "canary" in each]
