"""What `keyturn doctor` says about a MariaDB or MySQL target: findings, each with the statement that mends it.

Rule: it looks and changes nothing. What it finds is not relied upon later; a rotation asks the server itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.targets.mysql_admin import Session, administering
from adapters.targets.mysql_dialects import MOST, Account, Dialect
from adapters.targets.mysql_login import Server
from adapters.targets.mysql_options import Tls
from engine.adapter import TargetContext
from engine.errors import PortError
from engine.plan import Strategy
from engine.ports import Finding, Severity
from engine.values import Secret

_TRIES_MIN = 10
"""A server that blocks an account after fewer wrong logins in a row than this needs a `login_budget`."""


def check_target(
    server: Server, context: TargetContext, dialect: Dialect, admin: str, password: Secret, *, tries: int | None
) -> Sequence[Finding]:
    """Return the findings; `tries` is the login budget that is configured. Never raises the three outcomes."""
    subject = f"{context.service}: {dialect.kind}"
    findings = [_check_tls(subject, server)]
    try:
        with administering(server, admin, password, what=f"looking at {server.host}:{server.port}") as session:
            findings += _check_server(subject, session, dialect, tries)
            findings += _check_accounts(subject, session, context, dialect, server)
    except PortError as error:
        hint = error.advice or f"Keyturn's login needs CREATE USER ON *.* and SELECT ON mysql.*: GRANT … TO {admin}"
        findings.append(Finding(subject, Severity.FAIL, error.message, hint))
    return findings


def _check_tls(subject: str, server: Server) -> Finding:
    match server.tls:
        case Tls.DISABLE:
            message = "TLS is disabled: whoever sits on the way reads the queries and may change them"
            return Finding(subject, Severity.WARN, message, "Use tls: verify-full wherever a network is between.")
        case Tls.REQUIRE:
            message = "TLS does not prove who the server is: an impostor may answer"
            hint = "Use tls: verify-full, with tls_root if the CA is your own."
            return Finding(subject, Severity.WARN, message, hint)
        case Tls.VERIFY_FULL:
            return Finding(subject, Severity.OK, "TLS with a certificate that must name the host")


def _check_server(subject: str, session: Session, dialect: Dialect, tries: int | None) -> Iterator[Finding]:
    version, is_read_only = session.read("SELECT VERSION(), @@read_only")[0]
    yield Finding(subject, Severity.OK, f"connected to {version}")
    if ("mariadb" in version.lower()) != (dialect.kind == "mariadb"):
        other = "mysql" if dialect.kind == "mariadb" else "mariadb"
        yield Finding(subject, Severity.FAIL, f"this is no server of type {dialect.kind}", f"Use type: {other}.")
    if is_read_only:
        yield Finding(subject, Severity.FAIL, "this server is read only", "Let `host` name the primary.")
    granted = "\n".join(row[0] for row in session.read("SHOW GRANTS"))
    if "CREATE USER" not in granted and "ALL PRIVILEGES ON *.*" not in granted:
        hint = "As an administrator: GRANT CREATE USER ON *.* TO … and GRANT SELECT ON mysql.* TO …"
        yield Finding(subject, Severity.FAIL, "keyturn's login has no CREATE USER on *.*", hint)
    limits = session.read("SHOW GLOBAL VARIABLES LIKE 'max_password_errors'")
    most = int(limits[0][1]) if limits else None
    if most is not None and (tries if tries is not None else _TRIES_MIN) >= most:
        message = f"the server blocks an account after {most} wrong logins in a row, which a rotation may spend"
        hint = f"Set login_budget: {{tries: {max(most - 1, 1)}, window: 15m}}, or raise max_password_errors."
        yield Finding(subject, Severity.WARN, message, hint)
    is_logged = session.read("SELECT @@general_log, @@sql_log_off")[0] == (1, 0)
    if is_logged:
        message = "the general log gets hashes of passwords, and no passwords"
        hint = "SUPER (MariaDB) or SESSION_VARIABLES_ADMIN (MySQL) lets keyturn's login switch it off for its session."
        yield Finding(subject, Severity.WARN, message, hint)


def _check_accounts(
    subject: str, session: Session, context: TargetContext, dialect: Dialect, server: Server
) -> Iterator[Finding]:
    for username in context.usernames:
        account = dialect.account(session, username, server.account_host)
        name = f"{username}@{server.account_host}"
        hosts = session.read(
            f"SELECT Host FROM {dialect.table} WHERE User = %s AND Host <> %s", username, server.account_host
        )
        if hosts:
            others = ", ".join(sorted(host for (host,) in hosts))
            message = f"{username} has accounts for other hosts, whose passwords stay as they are: {others}"
            yield Finding(subject, Severity.WARN, message, "A service each, with account_host, rotates them.")
        if account is not None:
            yield _check_account(subject, name, account)
        elif context.strategy is Strategy.ALTERNATING:
            message = f"the account {name} will be made by the first rotation that needs it"
            yield Finding(subject, Severity.OK, message)
        else:
            hint = (
                f"As an administrator: CREATE USER {session.literal(username)}@{session.literal(server.account_host)}"
            )
            yield Finding(subject, Severity.FAIL, f"there is no account {name}", hint)
    if context.strategy is Strategy.ALTERNATING and not dialect.has_role(session, context.username):
        hint = f"As an administrator: CREATE ROLE {session.literal(context.username)}, and grant it what the two may do"
        yield Finding(subject, Severity.FAIL, f"there is no role {context.username}, which the two share", hint)


def _check_account(subject: str, name: str, account: Account) -> Finding:
    if account.is_locked:
        hint = "As an administrator: ALTER USER … ACCOUNT UNLOCK"
        return Finding(subject, Severity.FAIL, f"the account {name} is locked", hint)
    if account.tls not in ("", "REQUIRE SSL"):
        hint = "keyturn has no client certificates: it cannot log in to verify."
        return Finding(subject, Severity.FAIL, f"the account {name} has {account.tls}", hint)
    if account.others:
        ways = ", ".join(each.plugin for each in account.others)
        return Finding(subject, Severity.OK, f"the account {name} can also log in by {ways}, which stays")
    if len(account.passwords) >= MOST:
        return Finding(subject, Severity.WARN, f"the account {name} has {MOST} passwords, and room for no other")
    return Finding(subject, Severity.OK, f"the account {name} is there")
