"""The rehearsal target: behaves like a real one in every strategy, and can be told to misbehave.

Rule 1: no network, no driver: engine tests and simulations use it in process, `type: memory` keeps it in a file.
Rule 2: it keeps the promises of `engine.ports.Target` to the letter; the conformance suite holds it to them.
"""

from __future__ import annotations

import os
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import quote

from adapters.targets.memory_accounts import Accounts, Held, InFile, InProcess, Keeping, Login, is_mark, mark_of
from adapters.targets.memory_options import Fault, MemoryOptions, capabilities_of
from engine.adapter import TargetAdapter, TargetContext
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.plan import Strategy
from engine.ports import Entropy, Finding, Probe, Severity, Sighting, TargetCapabilities, Verification
from engine.values import CredentialValue, Form, Instant, Secret


class _SystemEntropy:
    """Random bytes of the operating system."""

    def draw(self, count: int) -> bytes:
        return os.urandom(count)


def _wall_time() -> Instant:
    return Instant(time.time_ns() // 1_000)


class MemoryTarget:
    """A target in this process, or in a file with `keeping`.

    `now` is its own clock: it holds a change to its deadline, and counts lockouts. `entropy` gives salts, and the
    values and handles that it makes. Raises `StrategyImpossible` where strategy and options contradict.
    """

    def __init__(
        self,
        *,
        strategy: Strategy,
        username: str = "app",
        usernames: tuple[str, ...] = (),
        options: MemoryOptions | None = None,
        entropy: Entropy | None = None,
        now: Callable[[], Instant] = _wall_time,
        keeping: Keeping | None = None,
        name: str = "memory",
    ) -> None:
        self._options = options or MemoryOptions()
        self._capabilities = capabilities_of(strategy, self._options, name)
        self._strategy = strategy
        self._usernames = usernames or (username,)
        self._entropy = entropy or _SystemEntropy()
        self._now = now
        self._keeping = keeping or InProcess()
        self._name = name
        self._faults = frozenset(self._options.faults)

    @property
    def capabilities(self) -> TargetCapabilities:
        """What follows from the strategy and the options."""
        return self._capabilities

    def apply(self, value: CredentialValue, *, tag: str, deadline: Instant) -> CredentialValue:
        """Make the login accept `value`, or make a value where `value` has no secret.

        A second value under the same tag is `Rejected`: the first was shown once; revoke it with
        `retire(None, keep=…, tag=tag)` and ask again.
        """
        what = f"setting a value of {value.username!r}"
        self._enter(what, deadline, Fault.REJECT_APPLY)
        with self._keeping.opened() as accounts:
            login = self._login(accounts, value.username, what)
            if value.secret is None:
                value = self._make(accounts, login, value.username, tag, what)
            elif login.find(value) is None:
                self._put(login, value, tag, what)
        if Fault.LOSE_APPLY_REPLY in self._faults:
            raise Uncertain(what=what, why="the answer was lost, as the option `faults` asks")
        return value

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Try `value`, then the wrong `control` where it was accepted; the query fails only on request."""
        wrong = CredentialValue(value.username, control)
        try:
            if Fault.UNAVAILABLE in self._faults or value.secret is None or value.form is Form.VERIFIER:
                return Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False, detail="nothing to log in with")
            with self._keeping.opened() as accounts:
                login = accounts.logins.get(value.username, Login())
                view = self._view(login)
                candidate, control_seen = self._try(login, view, value), Probe.UNKNOWN
                if candidate is Probe.ACCEPTED:
                    control_seen = self._try(login, view, wrong)
                held = login.find(value)
                fails = Fault.FAIL_VERIFICATION in self._faults and held is not None and not held.is_settled
                query = candidate is Probe.ACCEPTED and not fails
                return Verification(candidate, control_seen, query, "the query failed, as asked" if fails else "")
        except PortError as error:
            return Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False, detail=error.message)

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Make `old`, or what the port says in its absence, unusable.

        Where `old` is also what is to be kept, nothing is done. `Rejected` where `keep` is not accepted, because
        then the login could be left without any value that works.
        """
        what = "retiring the old value"
        self._enter(what, deadline, None)
        if Fault.KEEP_RETIRED in self._faults:
            return
        with self._keeping.opened() as accounts:
            if old is None and self._capabilities.issues_value:
                for username, login in accounts.logins.items():
                    self._drop(login, username, lambda held: held.tag == tag, keep)
                return
            username = old.username if old else keep.username if keep else ""
            login = accounts.logins.get(username, Login())
            kept = accounts.find(keep) if keep else None
            if keep is not None and kept is None and (login.find(old) if old else login.values):
                raise Rejected(what=what, why=f"the value of {keep.username!r} that is to stay is not accepted")
            self._drop(login, username, lambda held: old is None or held.holds(old), keep)
            if kept:
                kept.is_settled = True

    def sessions(self, value: CredentialValue) -> int | None:
        """Return what the option `sessions` says; None as well where the target cannot be asked."""
        return None if Fault.UNAVAILABLE in self._faults else self._options.sessions

    def restore(
        self, previous: CredentialValue | None, *, candidate: CredentialValue | None, tag: str, deadline: Instant
    ) -> None:
        """Make `previous` accepted, then `candidate` and what carries `tag` not.

        `Rejected` where `previous` is not in force any more and cannot be set back.
        """
        what = "going back to the previous value"
        self._enter(what, deadline, Fault.REJECT_RESTORE)
        with self._keeping.opened() as accounts:
            if previous is not None:
                login = self._login(accounts, previous.username, what)
                if login.find(previous) is None:
                    self._put_back(login, previous, candidate, tag, what)
                for held in login.values:
                    held.is_settled = held.is_settled or held.holds(previous)
            for username, login in accounts.logins.items():
                if candidate is not None and username == candidate.username:
                    self._drop(login, username, lambda held: held.holds(candidate), previous)
                if self._capabilities.issues_value:
                    self._drop(login, username, lambda held: held.tag == tag, previous)

    def probe(self, value: CredentialValue) -> Sighting:
        """Try `value`; a verifier or a value without a secret cannot log in, and is UNKNOWN.

        Without a secret it is REFUSED where the login holds nothing, and ACCEPTED where it holds what is not shown.
        """
        if Fault.UNAVAILABLE in self._faults:
            return Sighting(Probe.UNKNOWN, "out of reach, as the option `faults` asks")
        try:
            with self._keeping.opened() as accounts:
                login = accounts.logins.get(value.username, Login())
                if value.secret is None and not login.values:
                    return Sighting(Probe.REFUSED, "the login holds no value")
                restorable = self._restorable(login, value)
                if value.secret is None and restorable is None:
                    return Sighting(Probe.ACCEPTED, "the login holds a value, which is not shown")
                if value.secret is None or value.form is Form.VERIFIER:
                    return Sighting(Probe.UNKNOWN, "nothing to log in with", restorable)
                seen = self._try(login, self._view(login), value)
                return Sighting(seen, "the login is locked" if seen is Probe.UNKNOWN else "", restorable)
        except PortError as error:
            return Sighting(Probe.UNKNOWN, error.message)

    def check(self) -> Sequence[Finding]:
        """Look at the file, the faults that are on, and locked logins."""
        try:
            with self._keeping.opened() as accounts:
                locked = [name for name, login in accounts.logins.items() if self._is_locked(login)]
        except PortError as error:
            return [Finding(self._name, Severity.FAIL, error.message, error.advice)]
        findings = [Finding(self._name, Severity.OK, "the rehearsal target is ready")]
        findings += [
            Finding(self._name, Severity.WARN, f"the fault {fault} is on", "Take it out of `faults` when done.")
            for fault in self._options.faults
        ]
        findings += [
            Finding(
                self._name, Severity.WARN, f"the login {name!r} is locked", "Wait until `lockout_window` has passed."
            )
            for name in locked
        ]
        return findings

    def url(self, value: CredentialValue) -> Secret:
        """Return `memory://USERNAME:PASSWORD@NAME`."""
        return Secret(
            f"memory://{quote(value.username, safe='')}:{quote(value.revealed(), safe='')}@{quote(self._name, safe='')}"
        )

    # --- what a test may look at, without logging in ---------------------------------------------------

    def accepts(self, value: CredentialValue) -> bool:
        """Tell whether `value` is in force, whatever logins see: no try is counted, no fault applies."""
        with self._keeping.opened() as accounts:
            return accounts.find(value) is not None

    def strangers(self, known: Iterable[CredentialValue]) -> Sequence[tuple[str, Held]]:
        """Return login and value of everything in force that is none of `known`."""
        values = tuple(known)
        with self._keeping.opened() as accounts:
            return [
                (username, held)
                for username, login in accounts.logins.items()
                for held in login.values
                if not any(value.username == username and held.holds(value) for value in values)
            ]

    def wrong_logins(self, username: str) -> int:
        """Return how many wrong logins of `username` the target counts at this moment."""
        with self._keeping.opened() as accounts:
            login = accounts.logins.get(username, Login())
            self._is_locked(login)
            return len(login.wrong)

    # --- inside ------------------------------------------------------------------------------------------

    def _enter(self, what: str, deadline: Instant | None, fault: Fault | None) -> None:
        if Fault.UNAVAILABLE in self._faults:
            raise Unavailable(what=what, why="out of reach, as the option `faults` asks")
        if deadline is not None and self._now() >= deadline:
            raise Unavailable(what=what, why="its deadline has passed")
        if fault in self._faults:
            raise Rejected(what=what, why=f"the option `faults` asks for {fault}")

    def _login(self, accounts: Accounts, username: str, what: str) -> Login:
        if username not in self._usernames:
            raise Rejected(what=what, why="there is no such login", advice="Name it in the service's credential.")
        return accounts.logins.setdefault(username, Login())

    def _make(self, accounts: Accounts, login: Login, username: str, tag: str, what: str) -> CredentialValue:
        if not self._capabilities.issues_value:
            raise Rejected(what=what, why="no value was given, and this target makes none")
        if any(held.tag == tag for other in accounts.logins.values() for held in other.values):
            raise Rejected(what=what, why="a value made under this tag exists, and was shown once")
        secret = Secret(urlsafe_b64encode(self._entropy.draw(24)).decode())
        value = CredentialValue(username, secret, handle=f"key-{self._entropy.draw(8).hex()}")
        self._add(login, value, tag, what)
        return value

    def _put(self, login: Login, value: CredentialValue, tag: str, what: str) -> None:
        if self._capabilities.issues_value:
            raise Rejected(what=what, why="this target makes its values itself, and does not take one")
        if any(Held(mark).holds(value) for mark in login.past):
            raise Rejected(what=what, why="the value was valid before, and may not be used again")
        self._add(login, value, tag, what)

    def _put_back(
        self, login: Login, value: CredentialValue, candidate: CredentialValue | None, tag: str, what: str
    ) -> None:
        if not self._capabilities.settable:
            raise Rejected(what=what, why="the value is not valid any more, and this target cannot set it back")
        self._add(login, value, tag, what, instead_of=login.find(candidate) if candidate else None)

    def _add(
        self, login: Login, value: CredentialValue, tag: str, what: str, *, instead_of: Held | None = None
    ) -> None:
        """Add a value; what it replaces goes in the same change where the login has no room for both."""
        most = self._capabilities.values_max
        is_full = most is not None and len(login.values) >= most
        if is_full and most != 1 and instead_of is None:
            why = f"the login holds {most} values already"
            raise Rejected(what=what, why=why, advice="Retire one that nobody uses.")
        held = Held(self._mark(value, what), tag, value.handle)
        if is_full:
            self._remove(login, login.values if most == 1 else [instead_of])
        else:
            self._changes(login)
        login.values = [*login.values, held]

    def _mark(self, value: CredentialValue, what: str) -> str:
        if value.form is Form.PLAIN:
            return mark_of(value.revealed(), self._entropy.draw(16))
        if not self._options.shows_restorable or not is_mark(value.revealed()):
            raise Rejected(what=what, why="this verifier is not one that the target takes")
        return value.revealed()

    def _drop(self, login: Login, username: str, goes: Callable[[Held], bool], keep: CredentialValue | None) -> None:
        """Take out the values that go, but `keep`."""
        kept = keep if keep is not None and keep.username == username else None
        self._remove(login, [held for held in login.values if goes(held) and not (kept and held.holds(kept))])

    def _remove(self, login: Login, going: Sequence[Held | None]) -> None:
        if not going:
            return
        self._changes(login)
        if not self._capabilities.settable:
            login.past = [*login.past, *(held.mark for held in login.values if held in going)]
        login.values = [held for held in login.values if held not in going]

    def _changes(self, login: Login) -> None:
        """Remember what logins go on seeing, where a change shows late."""
        if self._capabilities.propagation:
            login.shown = self._view(login)
            login.behind_until = self._now() + self._capabilities.propagation

    def _view(self, login: Login) -> list[Held]:
        """Return what a login attempt sees now."""
        return login.shown if self._now() < login.behind_until else login.values

    def _try(self, login: Login, view: list[Held], value: CredentialValue) -> Probe:
        if self._is_locked(login):
            return Probe.UNKNOWN
        if Fault.ACCEPT_ANYTHING in self._faults or any(held.holds(value) for held in view):
            return Probe.ACCEPTED
        if self._capabilities.login_budget is not None:
            login.wrong = [*login.wrong, self._now()]
        return Probe.REFUSED

    def _is_locked(self, login: Login) -> bool:
        budget = self._capabilities.login_budget
        if budget is None:
            return False
        login.wrong = [at for at in login.wrong if at > self._now() - budget.window]
        return len(login.wrong) > budget.tries

    def _restorable(self, login: Login, value: CredentialValue) -> CredentialValue | None:
        """Return the verifier of `value` if it is in force, else of the newest value in force."""
        if not self._options.shows_restorable or not login.values:
            return None
        held = login.find(value) or login.values[-1]
        return CredentialValue(value.username, Secret(held.mark), Form.VERIFIER, held.handle)


def _build(options: MemoryOptions, context: TargetContext) -> MemoryTarget:
    """Build the target of a service; its accounts are in the state folder."""
    name = f"{quote(context.environment, safe='')}.{quote(context.service, safe='')}"
    return MemoryTarget(
        strategy=context.strategy,
        username=context.username,
        usernames=context.usernames,
        options=options,
        keeping=InFile(context.state / "memory" / f"{name}.json"),
        name=context.service,
    )


ADAPTER: Final = TargetAdapter(
    name="memory",
    summary="a rehearsal target in the state folder: any strategy, and faults on request",
    options=MemoryOptions,
    strategies=frozenset(Strategy),
    build=_build,
)
