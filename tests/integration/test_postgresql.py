"""The PostgreSQL target on a real server: who may what, what the log sees, what sessions and owners keep."""

from __future__ import annotations

import psycopg
import pytest

from adapters.targets.postgresql import LoginBudgetOptions
from engine.adapter import Duration
from engine.errors import OwnLoginRejected, Rejected, Unavailable
from engine.plan import Strategy
from engine.ports import Finding, Probe, Severity
from engine.values import SECOND, CredentialValue, Form, Secret
from tests.conftest import Database
from tests.integration.postgresql_bench import Site, site, soon, value

BOTH = pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.ALTERNATING])


@pytest.fixture
def here(database: Database) -> Site:
    """A database with the roles of one service."""
    return site(database)


def _logins(here: Site, strategy: Strategy) -> tuple[str, str]:
    return here.pair if strategy is Strategy.ALTERNATING else (here.owner, here.owner)


def _whole_rotation(here: Site, strategy: Strategy, admin: tuple[str, Secret] | None = None) -> list[str]:
    """Apply, verify, apply, go back, apply again, retire; return every password and verifier that there was."""
    target = here.target(strategy, admin=admin)
    first, second = _logins(here, strategy)
    old, new = value(first), value(second)
    seen: list[str] = [old.revealed(), new.revealed()]

    def note() -> None:
        seen.extend(kept for login in {first, second} if (kept := here.verifier(login)))

    target.apply(old, tag="1", deadline=soon())
    note()
    control = value(first)
    seen.append(control.revealed())
    assert control.secret is not None
    assert target.verify(old, control=control.secret).candidate is Probe.ACCEPTED
    for _ in range(2):
        target.apply(new, tag="2", deadline=soon())
        note()
        target.restore(old, candidate=new, tag="2", deadline=soon())
        note()
    assert target.probe(old).probe is Probe.ACCEPTED
    target.apply(new, tag="3", deadline=soon())
    target.retire(old, keep=new, tag="3", deadline=soon())
    note()
    assert target.probe(new).probe is Probe.ACCEPTED
    assert target.probe(old).probe is Probe.REFUSED
    assert sum(text.startswith("SCRAM-SHA-256$") for text in seen) >= 5
    return seen


# --- what the server's log sees ------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_the_log_of_the_server_has_neither_password_nor_verifier(here: Site, strategy: Strategy) -> None:
    """With every statement logged, a whole rotation with going back leaves no secret in the log."""
    seen = _whole_rotation(here, strategy)
    here.database.run("SELECT 'canary-control'")
    log = here.log()
    assert "SELECT 'canary-control'" in log
    assert "SAVEPOINT guard" in log
    assert not [secret for secret in seen if secret in log]


@pytest.mark.slow
def test_a_change_that_fails_is_not_logged_with_its_verifier(here: Site) -> None:
    """PostgreSQL logs the statement of an error even where it logs no other; the guard stops that too."""
    target, before = here.target(Strategy.SINGLE, statement_milliseconds=300), len(here.log())
    with here.database.connect() as other:
        other.execute("BEGIN")
        other.execute(psycopg.sql.SQL("ALTER ROLE {} CONNECTION LIMIT 5").format(psycopg.sql.Identifier(here.owner)))
        with pytest.raises(Unavailable):
            target.apply(value(here.owner), tag="1", deadline=soon())
        other.execute("ROLLBACK")
    log = here.log()[before:]
    assert "canceling statement due to lock timeout" in log
    assert "SCRAM-SHA-256$" not in log


@BOTH
@pytest.mark.slow
def test_an_admin_without_superuser_rotates_and_shows_no_password(here: Site, strategy: Strategy) -> None:
    """CREATEROLE and the ADMIN option are enough; the log then gets verifiers, and no password."""
    admin = _ordinary_admin(here)
    seen = _whole_rotation(here, strategy, admin)
    log = here.log()
    assert not [secret for secret in seen if secret.startswith("canary-") and secret in log]
    warned = [finding for finding in here.target(strategy, admin=admin).check() if "log_statement" in finding.message]
    assert [finding.severity for finding in warned] == [Severity.WARN]


@pytest.mark.slow
def test_the_hint_about_the_log_is_true(here: Site) -> None:
    """With the settings granted that the hint names, an ordinary admin leaves no verifier in the log."""
    admin = _ordinary_admin(here)
    here.database.run(
        "GRANT SET ON PARAMETER log_statement, log_min_duration_statement, log_min_error_statement TO {}", admin[0]
    )
    before = len(here.log())
    _whole_rotation(here, Strategy.SINGLE, admin)
    assert "SCRAM-SHA-256$" not in here.log()[before:]
    assert not _of(here.target(Strategy.SINGLE, admin=admin).check(), Severity.FAIL)


def _ordinary_admin(here: Site) -> tuple[str, Secret]:
    password = value("admin").revealed()
    name = here.database.login("admin", password, attributes="LOGIN CREATEROLE")
    here.database.run("GRANT {} TO {} WITH ADMIN OPTION", here.owner, name)
    return name, Secret(password)


@pytest.mark.slow
def test_a_server_without_plpgsql_is_rotated_all_the_same(here: Site) -> None:
    """The guard of the log is a help and no condition."""
    here.database.run("DROP EXTENSION plpgsql")
    target, new = here.target(Strategy.SINGLE), value(here.owner)
    target.apply(new, tag="1", deadline=soon())
    assert target.probe(new).probe is Probe.ACCEPTED


# --- sessions and owners --------------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_sessions_survive(here: Site, strategy: Strategy) -> None:
    """A session of the old login goes on through apply and retire; only new logins need the new value."""
    target = here.target(strategy)
    first, second = _logins(here, strategy)
    old, new = value(first), value(second)
    target.apply(old, tag="1", deadline=soon())
    with here.database.connect(first, old.revealed()) as session:
        target.apply(new, tag="2", deadline=soon())
        target.retire(old, keep=new, tag="2", deadline=soon())
        with pytest.raises(psycopg.OperationalError):
            here.database.connect(first, old.revealed())
        assert session.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.slow
def test_what_one_login_creates_the_other_alters_and_drops(here: Site) -> None:
    """Both act as the owner, so a table of either belongs to the owner."""
    here.database.run("GRANT CREATE ON SCHEMA public TO {}", here.owner)
    target = here.target(Strategy.ALTERNATING)
    a, b = value(here.pair[0]), value(here.pair[1])
    target.apply(a, tag="1", deadline=soon())
    target.apply(b, tag="2", deadline=soon())
    for maker, other in ((a, b), (b, a)):
        with here.database.connect(maker.username, maker.revealed()) as session:
            session.execute("CREATE TABLE shared (id int); INSERT INTO shared VALUES (7)")
            assert session.execute("SELECT session_user::text, current_user::text").fetchone() == (
                maker.username,
                here.owner,
            )
        with here.database.connect(other.username, other.revealed()) as session:
            assert session.execute("SELECT id FROM shared").fetchone() == (7,)
            session.execute("ALTER TABLE shared ADD COLUMN more text; DROP TABLE shared")


@pytest.mark.slow
def test_a_login_that_was_locked_out_is_let_in_again(here: Site) -> None:
    """A login of the pair that exists without LOGIN and without membership is brought in order."""
    here.database.run("CREATE ROLE {} NOLOGIN", here.pair[0])
    target, a = here.target(Strategy.ALTERNATING), value(here.pair[0])
    target.apply(a, tag="1", deadline=soon())
    assert target.probe(a).probe is Probe.ACCEPTED
    assert here.database.run("SELECT current_user::text", user=a.username, password=a.revealed()) == [(here.owner,)]


# --- what is refused, and what to do ----------------------------------------------------------------------


@pytest.mark.slow
def test_without_the_owner_the_pair_is_rejected(here: Site) -> None:
    """The role that owns things is not made by guessing; the advice says how."""
    here.database.run("DROP ROLE {}", here.owner)
    target = here.target(Strategy.ALTERNATING)
    with pytest.raises(Rejected) as caught:
        target.apply(value(here.pair[0]), tag="1", deadline=soon())
    assert f'CREATE ROLE "{here.owner}" NOLOGIN' in caught.value.advice
    assert _of(target.check(), Severity.FAIL)
    assert here.verifier(here.pair[0]) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "advice"),
    [
        ("DROP ROLE {}", "CREATE ROLE"),
        ("ALTER ROLE {} NOLOGIN", "LOGIN"),
        ("ALTER ROLE {} VALID UNTIL '2001-01-01'", "VALID UNTIL 'infinity'"),
    ],
)
def test_a_login_that_nobody_could_use_is_rejected_before_it_is_changed(here: Site, spoil: str, advice: str) -> None:
    """The old password is not given up for one that would not work; `check` says the same."""
    here.database.run(spoil, here.owner)
    before = here.verifier(here.owner)
    target = here.target(Strategy.SINGLE)
    with pytest.raises(Rejected) as caught:
        target.apply(value(here.owner), tag="1", deadline=soon())
    assert advice in caught.value.advice
    assert here.verifier(here.owner) == before
    assert any(advice in finding.hint for finding in target.check())


@pytest.mark.slow
def test_our_own_login_refused_is_said_as_such(here: Site) -> None:
    """A wrong admin password, and an admin without rights, are told apart, and neither shows the password."""
    wrong = here.target(Strategy.SINGLE, admin=(here.database.server.superuser, Secret("canary-wrong")))
    for call in (
        lambda: wrong.apply(value(here.owner), tag="1", deadline=soon()),
        lambda: wrong.retire(value(here.owner), keep=None, tag="1", deadline=soon()),
    ):
        with pytest.raises(OwnLoginRejected) as refused:
            call()
        assert "canary" not in f"{refused.value!r} {refused.value.__cause__!r}"
    password = value("weak").revealed()
    weak = here.target(Strategy.SINGLE, admin=(here.database.login("weak", password), Secret(password)))
    with pytest.raises(Rejected, match="42501") as caught:
        weak.apply(value(here.owner), tag="1", deadline=soon())
    assert not isinstance(caught.value, OwnLoginRejected)
    assert "keyturn doctor" in caught.value.advice
    assert any("CREATEROLE" in finding.hint for finding in _of(weak.check(), Severity.FAIL))


@pytest.mark.parametrize("text", ["", "canary-\0", "canary-\ud800"])
def test_a_password_that_nobody_could_send_is_rejected(here: Site, text: str) -> None:
    """Empty, with a zero byte, or no Unicode: the server could keep it, and no client log in with it."""
    with pytest.raises(Rejected):
        here.target(Strategy.SINGLE).apply(CredentialValue(here.owner, Secret(text)), tag="1", deadline=soon())


def test_a_name_that_postgresql_would_cut_is_rejected(here: Site) -> None:
    """A name of 64 bytes would change the role whose name is its beginning."""
    with pytest.raises(Rejected, match="63 bytes"):
        here.target(Strategy.SINGLE).apply(value("x" * 64), tag="1", deadline=soon())


def test_what_is_no_verifier_is_not_taken_for_one(here: Site) -> None:
    """PostgreSQL would hash it as a password in the clear, after it stood in a statement."""
    fake = CredentialValue(here.owner, Secret("canary-not-a-verifier"), Form.VERIFIER)
    with pytest.raises(Rejected):
        here.target(Strategy.SINGLE).restore(fake, candidate=None, tag="1", deadline=soon())
    assert "canary-not-a-verifier" not in here.log()


# --- going back -----------------------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_going_back_to_nothing_leaves_an_unknown_password_alone(here: Site, strategy: Strategy) -> None:
    """A candidate that never arrived is not taken away together with the password that somebody else set."""
    target = here.target(strategy)
    login = _logins(here, strategy)[0]
    theirs = value(login)
    target.apply(theirs, tag="0", deadline=soon())
    target.restore(None, candidate=value(login), tag="1", deadline=soon())
    assert target.probe(theirs).probe is Probe.ACCEPTED


@pytest.mark.slow
def test_going_back_keeps_the_salt_of_a_value_in_force(here: Site) -> None:
    """The old login of a pair is not touched: a pool that passes SCRAM through has learnt its salt."""
    target = here.target(Strategy.ALTERNATING)
    a, b = value(here.pair[0]), value(here.pair[1])
    target.apply(a, tag="1", deadline=soon())
    before = here.verifier(a.username)
    target.apply(b, tag="2", deadline=soon())
    target.restore(a, candidate=b, tag="2", deadline=soon())
    assert here.verifier(a.username) == before
    assert here.verifier(b.username) is None


@pytest.mark.slow
def test_a_verifier_is_shown_to_a_superuser_only(here: Site) -> None:
    """Without the right to read pg_authid there is nothing to restore, and nothing is raised."""
    full, ordinary = here.target(Strategy.SINGLE), here.target(Strategy.SINGLE, admin=_ordinary_admin(here))
    blank = CredentialValue(here.owner, None)
    assert full.probe(blank).restorable is None
    full.apply(value(here.owner), tag="1", deadline=soon())
    shown = full.probe(blank).restorable
    assert shown is not None
    assert shown.revealed() == here.verifier(here.owner)
    assert ordinary.probe(blank).restorable is None


@pytest.mark.slow
def test_a_login_is_empty_where_the_server_shows_it(here: Site) -> None:
    """A role that is absent, or has no password; what our login may not look at is not known to be empty."""
    full, ordinary = here.target(Strategy.ALTERNATING), here.target(Strategy.ALTERNATING, admin=_ordinary_admin(here))
    absent, bare = CredentialValue(here.pair[0], None), CredentialValue(here.owner, None)
    assert [full.probe(each).probe for each in (absent, bare)] == [Probe.REFUSED, Probe.REFUSED]
    assert [ordinary.probe(each).probe for each in (absent, bare)] == [Probe.REFUSED, Probe.ACCEPTED]
    full.apply(value(here.pair[0]), tag="1", deadline=soon())
    held = full.probe(absent)
    assert (held.probe, held.restorable is not None) == (Probe.UNKNOWN, True)
    assert here.target(Strategy.ALTERNATING, port=1).probe(bare).probe is Probe.UNKNOWN


@BOTH
@pytest.mark.slow
def test_going_back_spends_no_login_where_they_are_counted(here: Site, strategy: Strategy) -> None:
    """With a login budget nothing is tried on the way back, and the way back is the same."""
    target = here.target(strategy, budget=LoginBudgetOptions(2, Duration(60 * SECOND)))
    names = here.pair if strategy is Strategy.ALTERNATING else (here.owner, here.owner)
    old, new = value(names[0]), value(names[1])
    for given in (old, new):
        target.apply(given, tag="1", deadline=soon())
    before = here.log().count("password authentication failed for user")
    target.restore(old, candidate=new, tag="2", deadline=soon())
    assert here.log().count("password authentication failed for user") == before
    assert [target.probe(each).probe for each in (old, new)] == [Probe.ACCEPTED, Probe.REFUSED]


@pytest.mark.slow
def test_a_retired_login_that_is_gone_counts_as_done(here: Site) -> None:
    """Somebody dropped the role: it has no password any more."""
    target, kept = here.target(Strategy.ALTERNATING), value(here.pair[1])
    target.apply(kept, tag="1", deadline=soon())
    target.retire(value(here.pair[0]), keep=kept, tag="1", deadline=soon())


# --- doctor ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
def test_doctor_is_content_with_a_sound_service(here: Site, strategy: Strategy) -> None:
    """Nothing fails; that TLS is off and that the throw-away server does not sync is said aloud."""
    findings = here.target(strategy).check()
    assert not _of(findings, Severity.FAIL)
    assert {"TLS", "fsync"} <= {finding.message.split()[0] for finding in _of(findings, Severity.WARN)}


def _of(findings: object, severity: Severity) -> list[Finding]:
    assert isinstance(findings, list)
    return [finding for finding in findings if finding.severity is severity]
