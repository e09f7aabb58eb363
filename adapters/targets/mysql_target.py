"""MariaDB and MySQL as a target: which passwords an account shall have. How they get there is the dialect's.

Rule 1: a password never reaches the server in a statement; what the server keeps of it does, computed here.
Rule 2: an account is read in the session that changes it, right before. What is as it shall be is not touched, since
a change that is repeated blindly can push the last password that works out (`RETAIN CURRENT PASSWORD`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

from adapters.targets.mysql_admin import Limits, Session, administering
from adapters.targets.mysql_checks import check_target
from adapters.targets.mysql_dialects import MOST, Account, Dialect, Names
from adapters.targets.mysql_hashes import ED25519, PLUGINS, Entry
from adapters.targets.mysql_login import Login, Server, log_in
from adapters.targets.mysql_options import MysqlFamilyOptions, Tls
from engine.adapter import TargetContext
from engine.errors import PortError, Rejected
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import Finding, Probe, Severity, Sighting, TargetCapabilities, Verification
from engine.values import SECOND, CredentialValue, Form, Instant, Secret


@dataclass(frozen=True, slots=True)
class Ways:
    """How new passwords are kept: by the plugin `wanted`, else by the account's own."""

    wanted: str | None
    may_switch_twice: bool = False
    """Clients follow a server that asks them twice for another plugin."""


class MysqlTarget:
    """See `engine.ports.Target`; the strategy decides how many accounts there are, and how many passwords of one."""

    def __init__(self, options: MysqlFamilyOptions, context: TargetContext, dialect: Dialect, ways: Ways) -> None:
        self._options = options
        self._context = context
        self._dialect = dialect
        self._ways = ways
        connect = min(options.connect_timeout.microseconds, context.verification_timeout)
        self._statement_seconds = options.statement_timeout.microseconds / SECOND
        self._server = Server(
            host=options.host,
            port=options.port,
            database=options.database,
            account_host=options.account_host,
            tls=options.tls,
            tls_root=context.base / options.tls_root if options.tls_root else None,
            connect_seconds=connect / SECOND,
            query_seconds=self._statement_seconds,
            query_limit=dialect.query_limit(self._statement_seconds),
        )

    @property
    def capabilities(self) -> TargetCapabilities:
        """With `dual` two values an account, else one. It is read before it is changed, so repeating is harmless."""
        budget = self._options.login_budget
        is_retaining = self._is_dual and not self._dialect.is_chain
        return TargetCapabilities(
            values_max=MOST if self._is_dual else 1,
            retry=RetryClass.PROBE_FIRST if is_retaining else RetryClass.IDEMPOTENT,
            login_budget=LoginBudget(budget.tries, budget.window.microseconds) if budget else None,
        )

    def apply(self, value: CredentialValue, *, tag: str, deadline: Instant) -> CredentialValue:
        """Give the account the value, with `dual` beside the one that it has; `alternating` makes the account first."""
        what = f"setting the password of {value.username}"
        self._refuse(value, what)
        with self._session(what, deadline) as session:
            account = self._ready(session, value.username)
            found = self._find(account, value)
            if found is None:
                entry = self._entry(account, value, what)
                if self._is_dual:
                    self._refuse_a_third(account, entry, what)
                self._set(session, account, [entry, *account.passwords] if self._is_dual else [entry])
            elif not self._is_dual:
                self._set(session, account, [found])
        return value

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Log in twice, each time afresh: with the value, running the query, then with what must be refused."""
        right = self._probe_refusal(value, self._log_in(value, query=self._options.verification_query))
        if right.probe is not Probe.ACCEPTED:
            return Verification(right.probe, Probe.UNKNOWN, query=False, detail=right.detail)
        wrong = self._log_in(CredentialValue(value.username, control))
        detail = right.detail or (wrong.detail if wrong.probe is not Probe.REFUSED else "")
        if wrong.probe is Probe.ACCEPTED:
            detail = "a wrong password is accepted too: look for skip_grant_tables, and for a proxy"
        return Verification(right.probe, wrong.probe, query=right.query, detail=detail)

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Take `old` away; another account than that of `keep` is left without any password.

        `Rejected` where the value to keep is not in force.
        """
        login = old or keep
        if login is None:
            return
        what = f"taking a password of {login.username} away"
        with self._session(what, deadline) as session:
            if keep is not None:
                kept = self._dialect.account(session, keep.username, self._server.account_host)
                if kept is None or self._find(kept, keep) is None:
                    raise Rejected(what=what, why=f"{keep.username} does not have the password that is to stay")
            account = self._dialect.account(session, login.username, self._server.account_host)
            if account is None:
                return
            if keep is None or keep.username != login.username:
                staying = []
            else:
                stays = self._find(account, keep)
                goes = self._find(account, old) if old else None
                staying = [each for each in account.passwords if each == stays or (old and each != goes)]
            self._set(session, account, staying)

    def restore(
        self,
        previous: CredentialValue | None,
        *,
        candidate: CredentialValue | None,
        tag: str,
        deadline: Instant,
    ) -> None:
        """Put `previous` back, then take `candidate` away; with one account that is one change where it can be."""
        login = previous or candidate
        if login is None:
            return
        what = f"going back on {login.username}"
        with self._session(what, deadline) as session:
            if previous is not None:
                self._put_back(session, previous, candidate, what)
            if candidate is None or (previous is not None and previous.username == candidate.username):
                return
            account = self._dialect.account(session, candidate.username, self._server.account_host)
            goes = self._find(account, candidate) if account else None
            if account is not None and goes is not None:
                self._set(session, account, [each for each in account.passwords if each != goes])

    def probe(self, value: CredentialValue) -> Sighting:
        """Log in with the value. Without a secret, or with a verifier, show what the server keeps instead."""
        if value.secret is None or value.form is Form.VERIFIER:
            try:
                return self._probe_in_force(value)
            except PortError as error:
                return Sighting(Probe.UNKNOWN, error.why)
        login = self._probe_refusal(value, self._log_in(value))
        return Sighting(login.probe, login.detail)

    def check(self) -> Sequence[Finding]:
        """Look at everything a rotation needs, changing nothing."""
        admin = self._options.admin_credentials
        subject = f"{self._context.service}: {self._dialect.kind}"
        try:
            password = self._context.secret(admin.password)
        except PortError as error:
            return [Finding(subject, Severity.FAIL, error.message, error.advice)]
        budget = self._options.login_budget
        return check_target(
            self._server, self._context, self._dialect, admin.username, password, tries=budget.tries if budget else None
        )

    def url(self, value: CredentialValue) -> Secret:
        """Return `mysql://user:password@host:port/database`, every part percent-encoded."""
        host = f"[{self._server.host}]" if ":" in self._server.host else quote(self._server.host, safe="")
        login = f"{quote(value.username, safe='')}:{quote(value.revealed(), safe='')}"
        return Secret(f"mysql://{login}@{host}:{self._server.port}/{quote(self._server.database, safe='')}")

    # --- inside ------------------------------------------------------------------------------------------

    @property
    def _is_dual(self) -> bool:
        return self._context.strategy is Strategy.DUAL

    @contextmanager
    def _session(self, what: str, deadline: Instant | None = None) -> Iterator[Session]:
        admin = self._options.admin_credentials
        limits = None if deadline is None else Limits(deadline / SECOND, self._statement_seconds)
        password = self._context.secret(admin.password)
        with administering(self._server, admin.username, password, what=what, limits=limits) as session:
            if limits is not None:
                self._dialect.prepare(session, self._statement_seconds)
            yield session

    def _log_in(self, value: CredentialValue, *, query: str | None = None) -> Login:
        return log_in(self._server, value.username, value.revealed(), query=query)

    def _probe_refusal(self, value: CredentialValue, login: Login) -> Login:
        """Look behind a refusal: servers give the same one where the password is right and TLS is missing.

        It also comes from another account of that name, on another host, which the server prefers.
        """
        if login.probe is not Probe.REFUSED:
            return login
        try:
            with self._session(f"looking why {value.username} was refused") as session:
                account = self._dialect.account(session, value.username, self._server.account_host)
        except PortError as error:
            return Login(Probe.UNKNOWN, detail=f"{login.detail}, and nobody knows why: {error.why}")
        if account is None or self._find(account, value) is None:
            return login
        name = f"{account.username}@{account.host}"
        is_enough = account.tls == "REQUIRE SSL" and self._server.tls is not Tls.DISABLE
        if account.tls and not is_enough:
            return Login(Probe.UNUSABLE, detail=f"the password is right, and {name} wants more: {account.tls}")
        return Login(Probe.UNKNOWN, detail=f"the password of {name} is right; another account must have answered")

    def _ready(self, session: Session, username: str) -> Account:
        """Return the account; refuses early what nobody could log in to, while the old password still works."""
        host, read = self._server.account_host, self._dialect.account
        account = read(session, username, host)
        if self._context.strategy is Strategy.ALTERNATING:
            role = self._context.username
            if not self._dialect.has_role(session, role):
                advice = f"As an administrator: CREATE ROLE {session.literal(role)}, and grant it what the two may do"
                why = f"there is no role {role}, which the two accounts share"
                raise Rejected(what=session.what, why=why, advice=advice)
            self._dialect.pair_up(session, account, Names(username, host, role))
            account = read(session, username, host)
        login = f"{session.literal(username)}@{session.literal(host)}"
        if account is None:
            advice = f"As an administrator: CREATE USER {login}; or name its host with account_host."
            raise Rejected(what=session.what, why=f"there is no account {username}@{host}", advice=advice)
        if account.is_locked:
            advice = f"As an administrator: ALTER USER {login} ACCOUNT UNLOCK"
            raise Rejected(what=session.what, why=f"the account {username}@{host} is locked", advice=advice)
        return account

    def _put_back(
        self, session: Session, previous: CredentialValue, candidate: CredentialValue | None, what: str
    ) -> None:
        account = self._dialect.account(session, previous.username, self._server.account_host)
        if account is None:
            raise Rejected(what=what, why=f"there is no account {previous.username}@{self._server.account_host}")
        back = self._find(account, previous)
        same = candidate is not None and candidate.username == previous.username
        goes = self._find(account, candidate) if candidate and same else None
        staying = [each for each in account.passwords if each != goes or each == back]
        if back is None:
            entry = self._entry(account, previous, what)
            if self._is_dual:
                self._refuse_a_third(replace(account, passwords=tuple(staying)), entry, what)
            staying = [entry, *staying] if self._is_dual else [entry]
        self._set(session, account, staying)

    def _set(self, session: Session, account: Account, wanted: Sequence[Entry]) -> None:
        if tuple(wanted) != account.passwords:
            self._dialect.set_passwords(session, account, wanted)

    def _refuse(self, value: CredentialValue, what: str) -> None:
        if value.secret is None:
            raise Rejected(what=what, why="no value was given, and the server makes none")

    def _refuse_a_third(self, account: Account, entry: Entry, what: str) -> None:
        if len(account.passwords) >= MOST:
            why = f"{account.username}@{account.host} has {MOST} passwords already"
            raise Rejected(what=what, why=why, advice="Take one away that nobody uses; keyturn doctor shows more.")
        plugins = [each.plugin for each in (entry, *account.passwords)]
        if plugins.count(ED25519) > 1 and not self._ways.may_switch_twice:
            raise Rejected(
                what=what,
                why=f"with two passwords of {ED25519} the server asks clients twice to change the plugin, "
                "and many of them, as PyMySQL and others, give up then",
                advice="Use strategy: alternating; or, if all clients can, clients_switch_twice: true.",
            )

    def _entry(self, account: Account, value: CredentialValue, what: str) -> Entry:
        """Return what the server is to keep of a value; raises `Rejected` for what it could not."""
        if value.form is Form.VERIFIER:
            plugin, _, stored = value.revealed().partition(":")
            if plugin not in PLUGINS or not PLUGINS[plugin].is_password(stored):
                raise Rejected(what=what, why="this verifier is not one of the server's")
            return Entry(plugin, stored)
        own = account.plugin
        plugin = self._ways.wanted or own or self._dialect.plugin
        if self._is_dual and own and plugin != own and not self._dialect.is_chain:
            why = f"MySQL keeps two passwords only where both are of {own}"
            raise Rejected(what=what, why=why, advice="Change the plugin once with strategy: single.")
        try:
            password = value.revealed().encode()
            if not password or b"\0" in password:
                raise Rejected(what=what, why="no client can log in with a password that is empty or has a zero byte")
            return Entry(plugin, PLUGINS[plugin].stored(password))
        except UnicodeEncodeError:
            raise Rejected(what=what, why="half a character cannot be sent") from None
        except ValueError as error:
            raise Rejected(what=what, why=str(error)) from None

    def _find(self, account: Account, value: CredentialValue | None) -> Entry | None:
        """Return the password of an account that a value is; None where it has no such."""
        if value is None or value.secret is None:
            return None
        for each in account.passwords:
            if value.form is Form.VERIFIER and each.text() == value.revealed():
                return each
            if value.form is Form.PLAIN and PLUGINS[each.plugin].fits(
                each.stored, value.revealed().encode(errors="surrogatepass")
            ):
                return each
        return None

    def _probe_in_force(self, value: CredentialValue) -> Sighting:
        """Show what the server keeps: of the verifier asked for, else of the only password there is."""
        with self._session(f"reading the account {value.username}") as session:
            account = self._dialect.account(session, value.username, self._server.account_host)
        if account is None:
            return Sighting(Probe.REFUSED, "there is no such account")
        if not account.passwords:
            return Sighting(Probe.REFUSED, "the account has no password")
        shown = self._find(account, value)
        if shown is None and len(account.passwords) == 1:
            shown = account.passwords[0]
        if shown is None:
            seen = Probe.ACCEPTED if value.secret is None else Probe.UNKNOWN
            return Sighting(seen, "the account has more than one password")
        in_force = CredentialValue(value.username, Secret(shown.text()), Form.VERIFIER)
        return Sighting(Probe.UNKNOWN, "nothing to log in with", in_force)
