"""What a login at a real MariaDB shows: accepted, unusable, refused, or nobody knows; and what accounts keep."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from engine.errors import OwnLoginRejected, Rejected
from engine.plan import Strategy
from engine.ports import Finding, Probe, Severity
from engine.values import CredentialValue, Secret
from tests.integration.installations import Driver, install
from tests.integration.mariadb_bench import Accounts, accounts, soon, value
from tests.integration.mariadb_sites import mariadb_site
from tests.integration.sites import SERVICE, Way
from tests.mariadb_server import MariadbServer


@pytest.fixture
def here(mariadb_server: MariadbServer) -> Accounts:
    """The accounts of one service."""
    return accounts(mariadb_server)


def _failures(findings: object) -> list[str]:
    assert isinstance(findings, list)
    return [each.message for each in findings if isinstance(each, Finding) and each.severity is Severity.FAIL]


# --- the table of answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "seen", "detail"),
    [
        ("WITH MAX_USER_CONNECTIONS 0", Probe.ACCEPTED, ""),
        ("ACCOUNT LOCK", Probe.UNUSABLE, "error 4151"),
        ("PASSWORD EXPIRE", Probe.UNUSABLE, "error 1820"),
        ("REQUIRE SSL", Probe.UNUSABLE, "REQUIRE SSL"),
        ("REQUIRE X509", Probe.UNUSABLE, "REQUIRE X509"),
        ("REQUIRE SUBJECT '/CN=x'", Probe.UNUSABLE, "REQUIRE SUBJECT"),
        ("WITH MAX_CONNECTIONS_PER_HOUR 1", Probe.UNUSABLE, "error 1226"),
    ],
)
def test_what_a_login_with_the_right_password_shows(here: Accounts, spoil: str, seen: Probe, detail: str) -> None:
    """A refusal after the password was found right is not a refusal of the password, though MariaDB may say so."""
    target, right = here.target(Strategy.SINGLE), value(here.name)
    target.apply(right, tag="1", deadline=soon())
    here.alter(spoil)
    if "PER_HOUR" in spoil:
        here.server.connect(here.name, right.revealed()).close()
    sighting = target.probe(right)
    assert (sighting.probe, detail in sighting.detail) == (seen, True)
    assert target.verify(right, control=Secret("canary")).candidate is seen
    assert target.probe(value(here.name)).probe is Probe.REFUSED


def test_a_login_without_room_is_unusable(here: Accounts) -> None:
    target, right = here.target(Strategy.SINGLE), value(here.name)
    target.apply(right, tag="1", deadline=soon())
    here.alter("WITH MAX_USER_CONNECTIONS 1")
    with here.server.connect(here.name, right.revealed()):
        assert target.probe(right).probe is Probe.UNUSABLE


def test_a_database_that_is_closed_makes_a_login_unusable(here: Accounts) -> None:
    """The password was right; a wrong one is refused first."""
    target, right = here.target(Strategy.SINGLE, database="mysql"), value(here.name)
    target.apply(right, tag="1", deadline=soon())
    assert (target.probe(right).probe, target.probe(right).detail) == (Probe.UNUSABLE, "error 1044")
    assert target.probe(value(here.name)).probe is Probe.REFUSED


@pytest.mark.parametrize("setting", ["max_connections", "max_password_errors"])
def test_what_the_server_is_short_of_says_nothing_of_a_password(here: Accounts, setting: str) -> None:
    """Without room for anybody, or with the account blocked, right and wrong passwords get the same answer."""
    target, right = here.target(Strategy.SINGLE), value(here.name)
    target.apply(right, tag="1", deadline=soon())
    before = here.server.run(f"SELECT @@{setting}")[0][0]
    held: list[pymysql.Connection[Any]] = []
    try:
        if setting == "max_connections":
            here.server.run("SET GLOBAL max_connections = 10")
            # One more is kept for administrators.
            with suppress(pymysql.OperationalError):
                held.extend(here.server.connect() for _ in range(20))
        else:
            here.server.run("SET GLOBAL max_password_errors = 1")
            assert target.probe(value(here.name)).probe is Probe.REFUSED
        assert target.probe(right).probe is Probe.UNKNOWN
        assert target.probe(value(here.name)).probe is Probe.UNKNOWN
    finally:
        for each in held:
            each.close()
        here.server.run(f"SET GLOBAL {setting} = {before}")
        here.server.run("FLUSH PRIVILEGES")
    assert target.probe(right).probe is Probe.ACCEPTED


def test_another_account_of_the_name_is_not_mistaken_for_ours(here: Accounts) -> None:
    """The server prefers the account whose host fits better; what it says of that one says nothing of ours."""
    target, right, other = here.target(Strategy.SINGLE), value(here.name), value(here.name)
    target.apply(right, tag="1", deadline=soon())
    here.server.run(f"CREATE USER {here.name}@127.0.0.1 IDENTIFIED BY '{other.revealed()}'")
    assert (target.probe(right).probe, target.probe(other).probe) == (Probe.UNKNOWN, Probe.UNKNOWN)
    assert "another account" in target.probe(right).detail
    assert any("127.0.0.1" in finding.message for finding in target.check() if finding.severity is Severity.WARN)
    nearer = here.target(Strategy.SINGLE, account_host="127.0.0.1")
    assert (nearer.probe(other).probe, nearer.probe(right).probe) == (Probe.ACCEPTED, Probe.REFUSED)


def test_a_query_that_fails_is_no_failed_login(here: Accounts) -> None:
    """The value is right, and the verification says that the query did not run."""
    right = value(here.name)
    target = here.target(Strategy.SINGLE, verification_query="SELECT * FROM canary_nowhere.t")
    target.apply(right, tag="1", deadline=soon())
    seen = target.verify(right, control=Secret("canary-control"))
    assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, False)
    assert seen.detail == "the query failed: error 1142"
    slow = here.target(Strategy.SINGLE, verification_query="SELECT SLEEP(9)", statement_timeout="500ms")
    assert slow.verify(right, control=Secret("canary-control")).detail == "the query failed: error 1969"


def test_wrong_logins_stay_within_the_budget(
    mariadb_server: MariadbServer, tmp_path: Path, drivers: list[Driver]
) -> None:
    """A server that blocks an account at the fifth wrong login in a row blocks none, and the doctor warns of less."""
    site = mariadb_site(mariadb_server, Strategy.DUAL, Way(options="login_budget: {tries: 4, window: 1s}\n"))
    mariadb_server.run("SET GLOBAL max_password_errors = 5")
    try:
        installation = install(tmp_path, site, drivers[0])
        installation.done("rotate", SERVICE)
        assert site.logs_in(installation.current())
        assert "blocks an account" not in installation.run("doctor").out
        mariadb_server.run("SET GLOBAL max_password_errors = 4")
        assert "blocks an account" in installation.run("doctor").out
    finally:
        mariadb_server.run("SET GLOBAL max_password_errors = 4294967295")


# --- two passwords, and clients that take one change of the plugin -------------------------------------


def test_two_passwords_of_ed25519_are_refused_unless_all_clients_can(here: Accounts) -> None:
    """The server would ask for another plugin twice, and PyMySQL by itself then gives up."""
    old, new = value(here.name), value(here.name)
    careful = here.target(Strategy.DUAL, authentication="ed25519")
    careful.apply(old, tag="1", deadline=soon())
    before = here.kept()
    with pytest.raises(Rejected, match="twice") as caught:
        careful.apply(new, tag="2", deadline=soon())
    assert "clients_switch_twice" in caught.value.advice
    assert here.kept() == before
    knowing = here.target(Strategy.DUAL, authentication="ed25519", clients_switch_twice=True)
    knowing.apply(new, tag="2", deadline=soon())
    assert (knowing.probe(old).probe, knowing.probe(new).probe) == (Probe.ACCEPTED, Probe.ACCEPTED)
    here.server.connect(here.name, new.revealed()).close()
    with pytest.raises(pymysql.OperationalError, match="multiple auth switch"):
        here.server.connect(here.name, old.revealed())


@pytest.mark.parametrize("old_way", ["mysql_native_password", "ed25519"])
def test_any_client_finds_either_of_two_passwords(here: Accounts, old_way: str) -> None:
    """With one at most of ed25519, whichever is older, a plain driver logs in with both."""
    old, new = value(here.name), value(here.name)
    here.target(Strategy.DUAL, authentication=old_way).apply(old, tag="1", deadline=soon())
    here.target(Strategy.DUAL, authentication="mysql_native_password").apply(new, tag="2", deadline=soon())
    for each in (old, new):
        here.server.connect(here.name, each.revealed()).close()


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.DUAL, Strategy.ALTERNATING])
def test_the_way_a_password_is_kept_is_not_changed_unasked(here: Accounts, strategy: Strategy) -> None:
    """An account of ed25519 stays one, also after it rested without a password; the option changes it."""
    first, second = (f"{here.role}_a", f"{here.role}_b") if strategy is Strategy.ALTERNATING else (here.name,) * 2
    old, new, newer = value(first), value(second), value(first)
    here.target(strategy, authentication="ed25519").apply(old, tag="1", deadline=soon())
    plain = here.target(strategy, clients_switch_twice=True)
    plain.apply(new, tag="2", deadline=soon())
    plain.retire(old, keep=new, tag="2", deadline=soon())
    plain.apply(newer, tag="3", deadline=soon())
    plain.retire(new, keep=newer, tag="3", deadline=soon())
    assert '"plugin":"ed25519"' in here.kept(first)
    here.target(strategy, authentication="mysql_native_password").apply(value(first), tag="4", deadline=soon())
    assert '"mysql_native_password"' in here.kept(first)


def test_other_ways_to_log_in_stay(here: Accounts) -> None:
    """An account that the machine's own users enter by its socket keeps that."""
    here.alter("IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('canary-found')")
    target, new = here.target(Strategy.DUAL), value(here.name)
    found = CredentialValue(here.name, Secret("canary-found"))
    target.apply(new, tag="1", deadline=soon())
    target.retire(found, keep=new, tag="1", deadline=soon())
    assert (target.probe(found).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)
    assert "unix_socket" in here.kept()
    target.restore(None, candidate=new, tag="1", deadline=soon())
    assert "unix_socket" in here.kept()
    assert any("unix_socket" in finding.message for finding in target.check())


def test_a_pair_acts_as_its_role(here: Accounts) -> None:
    """What the role may do, either of the two accounts may at once, without asking for the role."""
    here.server.run(f"CREATE DATABASE {here.name}")
    here.server.run(f"CREATE TABLE {here.name}.t (id INT)")
    here.server.run(f"GRANT SELECT ON {here.name}.* TO {here.role}")
    target = here.target(Strategy.ALTERNATING)
    for turn, username in enumerate((f"{here.role}_a", f"{here.role}_b")):
        given = target.apply(value(username), tag=str(turn), deadline=soon())
        with here.server.connect(username, given.revealed()) as session, session.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {here.name}.t")
    here.server.run(f"DROP ROLE {here.role}")
    with pytest.raises(Rejected) as caught:
        target.apply(value(f"{here.role}_a"), tag="3", deadline=soon())
    assert "CREATE ROLE" in caught.value.advice
    assert any("no role" in message for message in _failures(target.check()))


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.DUAL, Strategy.ALTERNATING])
def test_sessions_survive(here: Accounts, strategy: Strategy) -> None:
    """A session of the old value goes on through apply and retire; only new logins need the new value."""
    first, second = (f"{here.role}_a", f"{here.role}_b") if strategy is Strategy.ALTERNATING else (here.name,) * 2
    target, old, new = here.target(strategy), value(first), value(second)
    target.apply(old, tag="1", deadline=soon())
    with here.server.connect(first, old.revealed()) as session, session.cursor() as cursor:
        target.apply(new, tag="2", deadline=soon())
        target.retire(old, keep=new, tag="2", deadline=soon())
        assert target.probe(old).probe is Probe.REFUSED
        assert cursor.execute("SELECT 1") == 1


# --- our own login -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", ["ACCOUNT LOCK", "IDENTIFIED VIA unix_socket"])
def test_an_account_that_nobody_could_use_is_said(here: Accounts, spoil: str) -> None:
    """The old password is not given up for one that would not work; one that had none is given one."""
    here.alter(spoil)
    target = here.target(Strategy.SINGLE)
    if "LOCK" not in spoil:
        new = target.apply(value(here.name), tag="1", deadline=soon())
        assert target.probe(new).probe is Probe.ACCEPTED
        return
    before = here.kept()
    with pytest.raises(Rejected) as caught:
        target.apply(value(here.name), tag="1", deadline=soon())
    assert "ACCOUNT UNLOCK" in caught.value.advice
    assert here.kept() == before
    assert any("locked" in message for message in _failures(target.check()))


def test_a_server_that_judges_passwords_refuses_hashes(here: Accounts) -> None:
    """What to do about it is said, and is enough."""
    target, new = here.target(Strategy.SINGLE), value(here.name)
    here.server.run("INSTALL SONAME 'simple_password_check'")
    try:
        with pytest.raises(Rejected, match="1396") as caught:
            target.apply(new, tag="1", deadline=soon())
        assert "SET GLOBAL strict_password_validation = OFF" in caught.value.advice
        here.server.run("SET GLOBAL strict_password_validation = OFF")
        target.apply(new, tag="1", deadline=soon())
    finally:
        here.server.run("SET GLOBAL strict_password_validation = ON")
        here.server.run("UNINSTALL SONAME 'simple_password_check'")
    assert target.probe(new).probe is Probe.ACCEPTED


def test_our_own_login_refused_is_said_as_such(here: Accounts) -> None:
    """A wrong admin password, and an admin without rights, are told apart, and neither shows the password."""
    wrong = here.target(Strategy.SINGLE, admin=Secret("canary-wrong"))
    with pytest.raises(OwnLoginRejected) as refused:
        wrong.apply(value(here.name), tag="1", deadline=soon())
    assert "canary" not in f"{refused.value!r} {refused.value.__cause__!r}"
    weak = value(f"{here.name}_weak")
    here.server.run(f"CREATE USER {weak.username}@'%' IDENTIFIED BY '{weak.revealed()}'")
    assert weak.secret is not None
    given: dict[str, Any] = {"admin_credentials": {"username": weak.username, "password": "env://ADMIN"}}
    target = here.target(Strategy.SINGLE, admin=weak.secret, **given)
    with pytest.raises(Rejected):
        target.apply(value(here.name), tag="1", deadline=soon())
    assert _failures(target.check())
    assert target.probe(value(here.name)).probe is Probe.UNKNOWN, "a refusal that nobody can explain is none"
