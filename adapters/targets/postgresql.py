"""PostgreSQL as a target: the password of a role (`single`), or of two roles in turn (`alternating`).

What a server is told goes through `postgresql_admin`, what a login shows comes from `postgresql_login`.

Rule 1: a password never reaches the server in a statement; its SCRAM verifier does, computed here.
Rule 2: what is asked of the catalog names roles as parameters, what is changed names them as quoted identifiers.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Final
from urllib.parse import quote

import msgspec

from adapters.targets.postgresql_admin import PAIR_QUERY, Limits, Transaction, connected, quoted, read, transaction
from adapters.targets.postgresql_checks import check_target
from adapters.targets.postgresql_login import Server, Tls, log_in
from adapters.targets.postgresql_scram import SALT_BYTES, verifier
from engine.adapter import Duration, Reference, TargetAdapter, TargetContext
from engine.errors import PortError, Rejected, Unavailable
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import Finding, Probe, Severity, Sighting, TargetCapabilities, Verification
from engine.values import SECOND, CredentialValue, Form, Instant, Microseconds, Secret

_NAME_BYTES_MAX: Final = 63
"""PostgreSQL cuts longer names without an error (NAMEDATALEN), and would change another role."""
_ROLE_QUERY: Final = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s"
_READABLE_QUERY: Final = "SELECT pg_catalog.has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT')"
_VERIFIER_QUERY: Final = "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = %s"
_VERIFIER: Final = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+|md5[0-9a-f]{32}")
"""Anything else would be taken for a password in the clear."""


class AdminCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keyturn's own login."""

    username: str
    password: Reference


class LoginBudgetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wrong logins that something in front of the server tolerates; PostgreSQL itself counts none."""

    tries: Annotated[int, msgspec.Meta(ge=1)]
    window: Duration


class PostgresqlOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a service of type `postgresql`."""

    host: str
    database: str
    admin_credentials: AdminCredentials
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5432
    tls: Tls = Tls.VERIFY_FULL
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else those of the system."""
    verification_query: str = "SELECT 1"
    """Runs as the new login before it counts as verified."""
    statement_timeout: Duration = Duration(3 * SECOND)
    """How long the server may take after our last message of a change, 100 ms to 4 s: an attempt may have 5 s."""
    connect_timeout: Duration = Duration(5 * SECOND)
    login_budget: LoginBudgetOptions | None = None

    def __post_init__(self) -> None:
        """Refuse times that leave nothing for sending; raises ValueError, reported with the key path."""
        if not SECOND // 10 <= self.statement_timeout.microseconds <= 4 * SECOND:
            raise ValueError("statement_timeout is 100ms to 4s, because an attempt may have no more than 5s")


_SESSIONS_QUERY: Final = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = %s AND application_name <> 'keyturn'"
)
"""Every role sees who is logged in and as what application; the kind of backend only some do."""


@dataclass(frozen=True, slots=True)
class PostgresqlTarget:
    """See `engine.ports.Target`; the strategy decides how many logins there are."""

    options: PostgresqlOptions
    context: TargetContext
    server: Server

    @property
    def capabilities(self) -> TargetCapabilities:
        """One value a login; setting the same one twice is harmless."""
        budget = self.options.login_budget
        return TargetCapabilities(
            values_max=1,
            retry=RetryClass.IDEMPOTENT,
            login_budget=LoginBudget(budget.tries, budget.window.microseconds) if budget else None,
        )

    def apply(self, value: CredentialValue, *, tag: str, deadline: Instant) -> CredentialValue:
        """Set the verifier of the value's login; `alternating` makes the login first where it is missing."""
        what = f"setting the password of {value.username}"
        stored = _stored_form(value, what)
        with self._transaction(what, end=deadline / SECOND) as opened:
            if self.context.strategy is Strategy.ALTERNATING:
                _ready_pair(opened, value.username, self.context.username, what)
            else:
                _ready_single(opened, value.username, what)
            _set_password(opened, value.username, stored)
        return value

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Log in twice, each time afresh and past any pool: with the value, then with what must be refused."""
        right = log_in(self.server, value.username, value.revealed(), query=self.options.verification_query)
        if right.probe is not Probe.ACCEPTED:
            return Verification(right.probe, Probe.UNKNOWN, query=False, detail=right.detail)
        wrong = log_in(self.server, value.username, control.reveal())
        detail = right.detail or wrong.detail
        if wrong.probe is Probe.ACCEPTED:
            detail = "a wrong password is accepted too: look for `trust` in pg_hba.conf, and for a pooler"
        return Verification(right.probe, wrong.probe, query=right.query, detail=detail)

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Take the old login its password; where the value to keep is on the same login, it replaced the old one.

        The value to keep is seen to work first, by a fresh login: `Rejected` where it does not.
        """
        if old is None:
            return
        what = f"taking the password of {old.username} away"
        if keep is not None:
            self._require_in_force(keep, what)
            if keep.username == old.username:
                return
        with self._transaction(what, end=deadline / SECOND) as opened:
            _take_password(opened, old.username)

    def restore(
        self,
        previous: CredentialValue | None,
        *,
        candidate: CredentialValue | None,
        tag: str,
        deadline: Instant,
    ) -> None:
        """Set the previous value back, and take the candidate's login its password, in one transaction.

        What is as it should be stays as it is, which at most two logins show: another value of a login is never
        taken away with the candidate, and a value in force keeps its salt, which pools may have learnt. Where
        wrong logins are counted, none is spent on that: what is set twice is set once.
        """
        is_counted = self.options.login_budget is not None
        login = previous or candidate
        if login is None:
            return
        what = f"going back on {login.username}"
        stored = None
        if previous is not None and (is_counted or not self._is_in_force(previous)):
            stored = _stored_form(previous, what)
        goes = None
        if candidate is not None and (previous is None or previous.username != candidate.username):
            seen = Sighting(Probe.ACCEPTED) if is_counted else self.probe(candidate)
            if seen.probe is Probe.UNKNOWN and previous is None:
                raise Unavailable(what=what, why=f"nobody knows whether the candidate is in force: {seen.detail}")
            goes = None if seen.probe is Probe.REFUSED else candidate.username
        if stored is None and goes is None:
            return
        with self._transaction(what, end=deadline / SECOND) as opened:
            if previous is not None and stored is not None:
                _set_password(opened, previous.username, stored)
            if goes is not None:
                _take_password(opened, goes)

    def probe(self, value: CredentialValue) -> Sighting:
        """Log in with the value. Without a secret, or with a verifier, show the verifier in force instead."""
        if value.secret is None or value.form is Form.VERIFIER:
            return self._probe_in_force(value.username)
        login = log_in(self.server, value.username, value.revealed())
        if login.probe is Probe.ACCEPTED and not login.is_asked:
            return Sighting(Probe.UNKNOWN, "the server let us in without asking for a password")
        return Sighting(login.probe, login.detail)

    def sessions(self, value: CredentialValue) -> int | None:
        """Count the sessions of the value's login, in any database and without our own; None where one login has both.

        A session keeps the name that it logged in with, whatever role it acts as since. None as well where the server
        could not be asked.
        """
        if self.context.strategy is not Strategy.ALTERNATING:
            return None
        what = f"counting the sessions of {value.username}"
        admin, seconds = self.options.admin_credentials, self.server.query_seconds
        try:
            password = self.context.secret(admin.password)
            with connected(self.server, admin.username, password, seconds=seconds, what=what) as connection:
                return int(read(connection, what, _SESSIONS_QUERY, (value.username,))[0][0])
        except PortError:
            return None

    def check(self) -> Sequence[Finding]:
        """Look at everything a rotation needs, changing nothing."""
        admin = self.options.admin_credentials
        try:
            password = self.context.secret(admin.password)
        except PortError as error:
            return [Finding(f"{self.context.service}: postgresql", Severity.FAIL, error.message, error.advice)]
        return check_target(self.server, self.context, admin.username, password)

    def url(self, value: CredentialValue) -> Secret:
        """Return `postgresql://user:password@host:port/database?sslmode=…`, every part percent-encoded."""
        host = f"[{self.server.host}]" if ":" in self.server.host else quote(self.server.host, safe="")
        login = f"{quote(value.username, safe='')}:{quote(value.revealed(), safe='')}"
        place = f"{host}:{self.server.port}/{quote(self.server.database, safe='')}"
        return Secret(f"postgresql://{login}@{place}?sslmode={self.server.tls.value}")

    def _transaction(self, what: str, *, end: float) -> AbstractContextManager[Transaction]:
        admin = self.options.admin_credentials
        limits = Limits(end, self.server.query_seconds)
        return transaction(self.server, admin.username, self.context.secret(admin.password), limits=limits, what=what)

    def _require_in_force(self, keep: CredentialValue, what: str) -> None:
        """Refuse to take away what may be the last that works."""
        seen = self.probe(keep)
        if seen.probe is Probe.ACCEPTED or (seen.restorable is not None and seen.restorable.secret == keep.secret):
            return
        why = f"the server does not accept the value of {keep.username} that is to stay"
        if seen.probe is Probe.UNKNOWN:
            raise Unavailable(what=what, why=f"nobody knows whether the value of {keep.username} works: {seen.detail}")
        raise Rejected(what=what, why=f"{why} ({seen.detail})" if seen.detail else why)

    def _is_in_force(self, value: CredentialValue) -> bool:
        seen = self.probe(value)
        if value.form is Form.VERIFIER:
            return seen.restorable is not None and seen.restorable.secret == value.secret
        return seen.probe is Probe.ACCEPTED

    def _probe_in_force(self, username: str) -> Sighting:
        """Show the verifier that the server keeps, where our login may read it; REFUSED where there is none."""
        what = f"reading the verifier of {username}"
        admin, seconds = self.options.admin_credentials, self.server.query_seconds
        try:
            password = self.context.secret(admin.password)
            with connected(self.server, admin.username, password, seconds=seconds, what=what) as connection:
                if not read(connection, what, _ROLE_QUERY, (username,)):
                    return Sighting(Probe.REFUSED, "there is no such role")
                if not read(connection, what, _READABLE_QUERY)[0][0]:
                    return Sighting(Probe.ACCEPTED, "our own login may not see whether the role has a password")
                rows = read(connection, what, _VERIFIER_QUERY, (username,))
        except PortError as error:
            return Sighting(Probe.UNKNOWN, error.why)
        if not rows or rows[0][0] is None:
            return Sighting(Probe.REFUSED, "the role has no password")
        shown = CredentialValue(username, Secret(rows[0][0]), Form.VERIFIER)
        return Sighting(Probe.UNKNOWN, "nothing to log in with", shown)


def _stored_form(value: CredentialValue, what: str) -> str:
    """Return what the server is to keep of a value; raises `Rejected` for what it could not."""
    if value.secret is None:
        raise Rejected(what=what, why="no value was given, and PostgreSQL makes none")
    text = value.revealed()
    if value.form is Form.VERIFIER:
        if not _VERIFIER.fullmatch(text):
            raise Rejected(what=what, why="this verifier is not one of PostgreSQL")
        return text
    if not text or "\0" in text or not _is_unicode(text):
        raise Rejected(what=what, why="PostgreSQL knows no password that is empty, has a zero byte or half a character")
    return verifier(text, salt=secrets.token_bytes(SALT_BYTES))


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _role(opened: Transaction, username: str, what: str) -> bool | None:
    """Return whether a role may log in, None where there is no such role; raises `Rejected` for an expired one."""
    if len(username.encode()) > _NAME_BYTES_MAX:
        raise Rejected(what=what, why=f"PostgreSQL cuts names after {_NAME_BYTES_MAX} bytes")
    rows = opened.execute(
        "SELECT rolcanlogin, rolvaliduntil IS NOT NULL AND rolvaliduntil <= now()"
        " FROM pg_catalog.pg_roles WHERE rolname = %s",
        (username,),
    )
    if not rows:
        return None
    can_log_in, is_expired = rows[0]
    if is_expired:
        advice = f"As an administrator: ALTER ROLE {quoted(username)} VALID UNTIL 'infinity'"
        raise Rejected(what=what, why="the passwords of this role have expired (VALID UNTIL)", advice=advice)
    return bool(can_log_in)


def _ready_single(opened: Transaction, username: str, what: str) -> None:
    """Refuse early what no login could use, while the old password still works."""
    can_log_in = _role(opened, username, what)
    if can_log_in is None:
        advice = f"As an administrator: CREATE ROLE {quoted(username)} LOGIN"
        raise Rejected(what=what, why="there is no such role", advice=advice)
    if not can_log_in:
        advice = f"As an administrator: ALTER ROLE {quoted(username)} LOGIN"
        raise Rejected(what=what, why="this role may not log in", advice=advice)


def _ready_pair(opened: Transaction, username: str, owner: str, what: str) -> None:
    """Let the login exist, be a member of the owner, and act as the owner.

    The last is what keeps a pair together: what either login creates belongs to the owner, so the other may
    alter and drop it. Membership alone gives only privileges on what the owner made.
    """
    if _role(opened, owner, what) is None:
        advice = f"As an administrator: CREATE ROLE {quoted(owner)} NOLOGIN, and make it the owner of the schema"
        raise Rejected(what=what, why=f"there is no role {owner}, which the two logins share", advice=advice)
    can_log_in = _role(opened, username, what)
    names = {"login": username, "owner": owner}
    if can_log_in is None:
        opened.change("CREATE ROLE {login} LOGIN", names=names)
    elif not can_log_in:
        opened.change("ALTER ROLE {login} LOGIN", names=names)
    is_member, is_acting = opened.execute(PAIR_QUERY, (owner, username, username, owner))[0]
    if not is_member:
        opened.change("GRANT {owner} TO {login}", names=names)
    if not is_acting:
        opened.change("ALTER ROLE {login} SET role = {acting}", names=names, texts={"acting": owner})


def _set_password(opened: Transaction, username: str, stored: str) -> None:
    opened.change("ALTER ROLE {login} PASSWORD {stored}", names={"login": username}, texts={"stored": stored})


def _take_password(opened: Transaction, username: str) -> None:
    """Leave the login without any password; a role that is gone has none."""
    if opened.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (username,)):
        opened.change("ALTER ROLE {login} PASSWORD NULL", names={"login": username})


def _build(options: PostgresqlOptions, context: TargetContext) -> PostgresqlTarget:
    # The driver is wanted where the target is made, so that what is missing is said before anything is done.
    try:
        import_module("psycopg")
    except ModuleNotFoundError:
        raise
    except ImportError as error:
        # psycopg is there and finds no libpq: what the extra brings is missing all the same.
        raise ModuleNotFoundError(str(error), name="psycopg_binary") from error
    connect = min(options.connect_timeout.microseconds, context.verification_timeout)
    server = Server(
        host=options.host,
        port=options.port,
        database=options.database,
        tls=options.tls,
        tls_root=context.base / options.tls_root if options.tls_root else None,
        connect_seconds=connect / SECOND,
        query_seconds=options.statement_timeout.microseconds / SECOND,
    )
    return PostgresqlTarget(options, context, server)


ADAPTER: Final = TargetAdapter(
    name="postgresql",
    summary="The password of a PostgreSQL role, or of two roles that take turns.",
    options=PostgresqlOptions,
    strategies=frozenset({Strategy.SINGLE, Strategy.ALTERNATING}),
    build=_build,
    extra="postgres",
    attempt_window_min=Microseconds(5 * SECOND),
)
