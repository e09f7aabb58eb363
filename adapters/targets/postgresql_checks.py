"""What `keyturn doctor` says about a PostgreSQL target: findings, each with the statement that mends it.

Rule: it looks and changes nothing. What it finds is not relied upon later; a rotation asks the server itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from adapters.targets.postgresql_admin import PAIR_QUERY, connected, quoted, read
from adapters.targets.postgresql_login import Server, Tls
from engine.adapter import TargetContext
from engine.errors import PortError
from engine.plan import Strategy
from engine.ports import Finding, Severity
from engine.values import Secret

if TYPE_CHECKING:
    import psycopg

_ADMIN_OPTION_SINCE: Final = 160000
"""From PostgreSQL 16, CREATEROLE alone manages only roles that it has the ADMIN option on."""
_GUARDED: Final = "log_statement, log_min_duration_statement, log_min_error_statement"
_SERVER_QUERY: Final = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
       pg_backend_pid(), current_setting('fsync'), current_setting('synchronous_commit'),
       current_setting('log_statement'), current_setting('password_encryption')
"""
_ADMIN_QUERY: Final = "SELECT rolsuper, rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"
_ROLE_QUERY: Final = """
SELECT rolsuper, rolcanlogin, rolvaliduntil IS NOT NULL AND rolvaliduntil <= now(),
       pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION')
FROM pg_catalog.pg_roles WHERE rolname = %s
"""
_MAY_GUARD_QUERY: Final = "SELECT has_parameter_privilege('log_statement', 'SET')"


@dataclass(frozen=True, slots=True)
class _Admin:
    """Our own login at the server that is being looked at."""

    name: str
    version: int
    is_super: bool
    may_create: bool

    def may_manage(self, role: tuple[Any, ...]) -> bool:
        """Say whether we may change a role, a row of `_ROLE_QUERY`."""
        is_super, _, _, has_option = role
        if self.is_super:
            return True
        return not is_super and self.may_create and (has_option or self.version < _ADMIN_OPTION_SINCE)


def check_target(server: Server, context: TargetContext, admin: str, password: Secret) -> Sequence[Finding]:
    """Return the findings; never raises the three outcomes."""
    subject = f"{context.service}: postgresql"
    findings = [_check_tls(subject, server)]
    what = f"looking at {server.host}:{server.port}"
    seconds = server.connect_seconds + server.query_seconds
    try:
        with connected(server, admin, password, seconds=seconds, what=what) as connection:
            findings += _check_server(subject, connection, what)
            findings += _check_roles(subject, connection, context, admin, what)
    except PortError as error:
        findings.append(Finding(subject, Severity.FAIL, error.message, error.advice))
    return findings


def _check_tls(subject: str, server: Server) -> Finding:
    match server.tls:
        case Tls.DISABLE:
            message = "TLS is disabled: whoever sits on the way reads the queries and may change them"
            return Finding(subject, Severity.WARN, message, "Use tls: verify-full wherever a network is between.")
        case Tls.REQUIRE:
            message = "TLS does not prove who the server is: an impostor may answer"
            return Finding(
                subject, Severity.WARN, message, "Use tls: verify-full, with tls_root if the CA is your own."
            )
        case Tls.VERIFY_FULL:
            return Finding(subject, Severity.OK, "TLS with a certificate that must name the host")


def _check_server(subject: str, connection: psycopg.Connection[tuple[Any, ...]], what: str) -> Iterator[Finding]:
    number, version, is_standby, backend, fsync, durable, log, encryption = read(connection, what, _SERVER_QUERY)[0]
    yield Finding(subject, Severity.OK, f"connected to PostgreSQL {version}")
    if is_standby:
        yield Finding(subject, Severity.FAIL, "this is a standby", "Let `host` name the primary.")
    if backend != connection.pgconn.backend_pid:
        message = "a pooler is between: it may let a login in on a password that it remembers"
        yield Finding(subject, Severity.WARN, message, "Let `host` and `port` name the server itself.")
    if fsync == "off":
        message = "fsync is off: a crash of the server may take back a password change"
        yield Finding(subject, Severity.WARN, message, "Set fsync = on.")
    elif durable == "off":
        message = "synchronous_commit is off; keyturn turns it on for its own changes"
        yield Finding(subject, Severity.OK, message)
    if encryption != "scram-sha-256":
        message = f"password_encryption is {encryption}; keyturn sets SCRAM-SHA-256, which every client must speak"
        yield Finding(subject, Severity.WARN, message, "Set password_encryption = 'scram-sha-256'.")
    yield _check_log(subject, connection, what, number=number, log=log)


def _check_log(
    subject: str, connection: psycopg.Connection[tuple[Any, ...]], what: str, *, number: int, log: str
) -> Finding:
    """Tell whether the verifier stays out of the log; the password does in any case."""
    if number >= 150000:
        may_guard = bool(read(connection, what, _MAY_GUARD_QUERY)[0][0])
    else:
        may_guard = bool(read(connection, what, _ADMIN_QUERY)[0][0])
    if may_guard:
        return Finding(subject, Severity.OK, "the server's log gets neither passwords nor verifiers")
    if log == "none":
        return Finding(
            subject, Severity.OK, "the server's log gets no passwords, and verifiers only where a change fails"
        )
    hint = f"As an administrator: GRANT SET ON PARAMETER {_GUARDED} TO … (PostgreSQL 15 and later)"
    return Finding(subject, Severity.WARN, f"log_statement is {log}: the server's log gets SCRAM verifiers", hint)


def _check_roles(
    subject: str, connection: psycopg.Connection[tuple[Any, ...]], context: TargetContext, name: str, what: str
) -> Iterator[Finding]:
    is_super, may_create = read(connection, what, _ADMIN_QUERY)[0]
    admin = _Admin(name, connection.info.server_version, is_super, may_create)
    is_pair = context.strategy is Strategy.ALTERNATING
    if is_pair:
        owner = read(connection, what, _ROLE_QUERY, (context.username,))
        if not owner:
            hint = f"As an administrator: CREATE ROLE {quoted(context.username)} NOLOGIN"
            yield Finding(subject, Severity.FAIL, f"there is no role {context.username}, the owner", hint)
            return
        if not admin.may_manage(owner[0]):
            yield _may_not(subject, admin, context.username)
    for login in context.usernames:
        rows = read(connection, what, _ROLE_QUERY, (login,))
        if rows:
            yield _check_login(subject, admin, login, rows[0])
        elif not is_pair:
            hint = f"As an administrator: CREATE ROLE {quoted(login)} LOGIN"
            yield Finding(subject, Severity.FAIL, f"there is no role {login}", hint)
        elif admin.is_super or admin.may_create:
            yield Finding(subject, Severity.OK, f"the role {login} will be made by the first rotation that needs it")
        else:
            yield _may_not(subject, admin, login)
        if rows and is_pair:
            member, acting = read(connection, what, PAIR_QUERY, (context.username, login, login, context.username))[0]
            if not (member and acting):
                message = f"{login} does not act as {context.username} yet; the next rotation onto it sets that"
                yield Finding(subject, Severity.OK, message)


def _check_login(subject: str, admin: _Admin, login: str, role: tuple[Any, ...]) -> Finding:
    _, can_log_in, is_expired, _ = role
    if not admin.may_manage(role):
        return _may_not(subject, admin, login)
    if is_expired:
        hint = f"As an administrator: ALTER ROLE {quoted(login)} VALID UNTIL 'infinity'"
        return Finding(subject, Severity.FAIL, f"the passwords of {login} have expired (VALID UNTIL)", hint)
    if not can_log_in:
        hint = f"As an administrator: ALTER ROLE {quoted(login)} LOGIN"
        return Finding(subject, Severity.WARN, f"{login} may not log in", hint)
    return Finding(subject, Severity.OK, f"{admin.name} may change the password of {login}")


def _may_not(subject: str, admin: _Admin, role: str) -> Finding:
    create = f"ALTER ROLE {quoted(admin.name)} CREATEROLE"
    grant = f"GRANT {quoted(role)} TO {quoted(admin.name)} WITH ADMIN OPTION"
    statements = create if admin.version < _ADMIN_OPTION_SINCE else f"{create}; {grant}"
    hint = f"As an administrator: {statements}; a superuser's role only a superuser may change"
    return Finding(subject, Severity.FAIL, f"{admin.name} may not manage the role {role}", hint)
