"""What is done to the passwords of a Redis user: on every node, by digest, and saved before it counts.

Rule 1: a node learns the SHA-256 of a password (`#…`), never the password; only AUTH carries one.
Rule 2: every node is looked at, and seen to save, before the first is changed; what is done on some nodes only is
`Uncertain`, and repeating it finishes it.
Rule 3: nodes that disagree prove nothing: a value that some accept and some refuse is UNKNOWN. As "refused" it would
let a half-retired password count as gone, as "accepted" a half-applied one as usable.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import quote

from adapters.targets.redis import Persist, RedisOptions, Tls
from adapters.targets.redis_checks import examine
from adapters.targets.redis_node import Login, Session, User, Wiring, administering, log_in
from engine.adapter import TargetContext
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.plan import LoginBudget
from engine.ports import Finding, Probe, Sighting, TargetCapabilities, Verification
from engine.values import SECOND, CredentialValue, Form, Instant, Secret

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SAVING: Final = {Persist.ACL_SAVE: ("ACL", "SAVE"), Persist.CONFIG_REWRITE: ("CONFIG", "REWRITE")}


def _wall_time() -> Instant:
    return Instant(time.time_ns() // 1_000)


@dataclass(frozen=True, slots=True)
class _Place:
    """A node in a change: its session and the users concerned, by name, as it has them."""

    session: Session
    users: dict[str, User | None]


@dataclass(frozen=True, slots=True)
class _Step:
    """The rules that one user of one node gets; none where only saving is left to do."""

    session: Session
    username: str
    rules: tuple[str, ...]


class RedisTarget:
    """See `engine.ports.Target`. `now` is the clock that a change is held to its deadline by."""

    def __init__(
        self, options: RedisOptions, context: TargetContext, *, now: Callable[[], Instant] = _wall_time
    ) -> None:
        self._options = options
        self._context = context
        self._now = now
        self._nodes = options.servers()
        self._wiring = Wiring(
            is_encrypted=options.tls is Tls.VERIFY_FULL,
            tls_root=context.base / options.tls_root if options.tls_root else None,
            connect_seconds=options.connect_timeout.microseconds / SECOND,
            command_seconds=options.command_timeout.microseconds / SECOND,
        )

    @property
    def capabilities(self) -> TargetCapabilities:
        """A user holds many passwords, each can be set again, and setting one twice is setting it once."""
        budget = self._options.login_budget
        return TargetCapabilities(
            values_max=None,
            login_budget=LoginBudget(budget.tries, budget.window.microseconds) if budget else None,
        )

    def apply(self, value: CredentialValue, *, tag: str, deadline: Instant) -> CredentialValue:
        """Add the password on every node; a user that is not there is made where the option `acl` says how."""
        what = f"adding a password of {value.username!r}"
        if value.secret is None:
            raise Rejected(what=what, why="no value was given, and Redis makes none")
        digest = _digest(value, what)
        with self._places(what, value.username, deadline=deadline) as places:
            steps = [
                _Step(place.session, value.username, self._adding(place, value.username, digest, what))
                for place in places
            ]
            self._perform(steps, what, deadline)
        return value

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Log in on every node and run the command, then try the wrong `control` on every node.

        Has every node save first: an attempt whose answer was lost may have ended between change and saving. Raises
        what `apply` raises where that is not possible.
        """
        with self._places("saving the users"):
            pass
        if value.secret is None or value.form is not Form.PLAIN:
            return Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False, detail="nothing to log in with")
        command = self._options.verification_command
        seen = [log_in(node, self._wiring, value.username, value.secret, command) for node in self._nodes]
        candidate, detail = _together(seen)
        if candidate is not Probe.ACCEPTED:
            return Verification(candidate, Probe.UNKNOWN, query=False, detail=detail)
        controls = [log_in(node, self._wiring, value.username, control) for node in self._nodes]
        wrong, wrong_detail = _together(controls)
        if any(login.probe is Probe.ACCEPTED for login in controls):
            # One node that takes anything is enough to make every login worthless as a proof.
            wrong, wrong_detail = Probe.ACCEPTED, "a node accepts any password (nopass)"
        told = detail or (wrong_detail if wrong is not Probe.REFUSED else "")
        return Verification(candidate, wrong, query=all(login.ran for login in seen), detail=told)

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Remove `old`, or every password of the user but `keep`, on every node.

        `Rejected` where a node that is to lose a password does not have the one to keep.
        """
        what = "retiring the old password"
        username = old.username if old else keep.username if keep else None
        if username is None:
            return
        kept = _digest(keep, what) if keep else None
        gone = _digest(old, what) if old and old.secret else None
        names = {username, keep.username} if keep else {username}
        with self._places(what, *names, deadline=deadline) as places:
            steps = []
            for place in places:
                user = place.users[username]
                is_kept_here = keep is not None and keep.username == username
                going = [
                    digest
                    for digest in (user.digests if user else ())
                    if (old is None or digest == gone) and not (is_kept_here and digest == kept)
                ]
                if going and keep:
                    _require(place, keep, kept, what)
                steps.append(_Step(place.session, username, tuple(f"!{digest}" for digest in going)))
            self._perform(steps, what, deadline)

    def restore(
        self, previous: CredentialValue | None, *, candidate: CredentialValue | None, tag: str, deadline: Instant
    ) -> None:
        """Add `previous` and remove `candidate` on every node, in one command where it is the same user."""
        what = "going back to the previous password"
        back = _digest(previous, what) if previous else None
        out = _digest(candidate, what) if candidate and candidate.secret else None
        names = [value.username for value in (previous, candidate) if value]
        with self._places(what, *names, deadline=deadline) as places:
            steps = []
            for place in places:
                rules: dict[str, tuple[str, ...]] = {}
                if previous and back:
                    rules[previous.username] = self._adding(place, previous.username, back, what)
                if candidate and out and (candidate.username, out) != (previous.username if previous else "", back):
                    user = place.users[candidate.username]
                    if user and out in user.digests:
                        rules[candidate.username] = (*rules.get(candidate.username, ()), f"!{out}")
                steps += [_Step(place.session, username, each) for username, each in rules.items()]
            self._perform(steps, what, deadline)

    def probe(self, value: CredentialValue) -> Sighting:
        """Log in on every node; a digest, or a value without a secret, is looked up by the administrator instead."""
        if value.secret is None or value.form is not Form.PLAIN:
            try:
                return self._probe_in_force(value)
            except PortError as error:
                return Sighting(Probe.UNKNOWN, error.message)
        seen = [log_in(node, self._wiring, value.username, value.secret) for node in self._nodes]
        return Sighting(*_together(seen))

    def check(self) -> Sequence[Finding]:
        """Look at every node: our login, the user, how users are kept, and servers that are not listed."""
        return examine(self._options, self._context, self._wiring)

    def url(self, value: CredentialValue) -> Secret:
        """Return `redis://` or, with TLS, `rediss://` of the first node."""
        scheme = "rediss" if self._wiring.is_encrypted else "redis"
        login = f"{quote(value.username, safe='')}:{quote(value.revealed(), safe='')}"
        return Secret(f"{scheme}://{login}@{self._nodes[0]}")

    # --- inside ------------------------------------------------------------------------------------------

    @contextmanager
    def _places(self, what: str, *usernames: str, deadline: Instant | None = None) -> Iterator[list[_Place]]:
        """Log in to every node, see that it can save, and read the users; changes nothing."""
        self._in_time(deadline, what, is_begun=False)
        for username in usernames:
            self._refuse_name(username, what)
        admin = self._options.admin_credentials
        password = self._context.secret(admin.password)
        with ExitStack() as stack:
            places = []
            for node in self._nodes:
                opened = administering(node, self._wiring, admin.username, password, what=what)
                session = stack.enter_context(opened)
                self._see_saving(session, what)
                places.append(_Place(session, {name: session.user(name, what=what) for name in usernames}))
            yield places

    def _see_saving(self, session: Session, what: str) -> None:
        """Have the node save what it has: a save that changes nothing shows that the real one will work."""
        persist = self._options.persist
        if persist is Persist.NONE:
            return
        if persist is Persist.CONFIG_REWRITE:
            # With an ACL file Redis answers OK to CONFIG REWRITE, and leaves the users out.
            settings = session.ask("CONFIG", "GET", "aclfile", what=what)
            if len(settings) == 2 and settings[1]:
                raise Rejected(
                    what=f"{what} on {session.node}",
                    why="it keeps its users in an ACL file, which CONFIG REWRITE does not write",
                    advice="Use `persist: acl-save`.",
                )
        session.ask(*_SAVING[persist], what=f"saving the users, before {what}")

    def _perform(self, steps: Sequence[_Step], what: str, deadline: Instant | None) -> None:
        """Change node after node, each saved at once."""
        is_begun = False
        for step in steps:
            self._in_time(deadline, what, is_begun=is_begun)
            if step.rules:
                step.session.change("ACL", "SETUSER", step.username, *step.rules, what=what, is_begun=is_begun)
                is_begun = True
            if self._options.persist is not Persist.NONE:
                step.session.change(*_SAVING[self._options.persist], what=what, is_begun=is_begun)

    def _in_time(self, deadline: Instant | None, what: str, *, is_begun: bool) -> None:
        """Begin nothing that may be under way when the deadline passes."""
        if deadline is None or self._now() + self._options.command_timeout.microseconds <= deadline:
            return
        if is_begun:
            raise Uncertain(what=what, why="it is done on some nodes, and there is no time left for the others")
        raise Unavailable(what=what, why="too little time is left before its deadline")

    def _refuse_name(self, username: str, what: str) -> None:
        if not username or any(sign.isspace() or sign == "\0" for sign in username):
            raise Rejected(what=what, why=f"Redis has no users without a name or with spaces in it: {username!r}")
        if self._options.persist is Persist.CONFIG_REWRITE and any(sign in username for sign in "\"'"):
            raise Rejected(
                what=what,
                why=f"CONFIG REWRITE does not quote {username!r}, so the node would not read it back",
                advice="Use an ACL file and `persist: acl-save`, or a name without quotes.",
            )

    def _adding(self, place: _Place, username: str, digest: str, what: str) -> tuple[str, ...]:
        """Return the rules that make a node accept a digest; none where it does."""
        user, where = place.users[username], f"{what} on {place.session.node}"
        if user is None:
            if self._options.acl:
                return ("on", *self._options.acl, f"#{digest}")
            advice = "Create the user, or say with the option `acl` what a new one may do."
            raise Rejected(what=where, why=f"there is no user {username!r}", advice=advice)
        if "nopass" in user.flags:
            advice = "Give it a first password yourself, when every client has it: ACL SETUSER NAME #SHA256."
            raise Rejected(
                what=where, why=f"{username!r} needs no password, and all others would lose access", advice=advice
            )
        if "off" in user.flags:
            raise Rejected(what=where, why=f"the user {username!r} is switched off", advice="ACL SETUSER NAME on")
        return () if digest in user.digests else (f"#{digest}",)

    def _probe_in_force(self, value: CredentialValue) -> Sighting:
        """Show the digest in force on all nodes: that of `value`, else the only one there is.

        Without a secret, it is REFUSED where no node has a password of the user, nor lets it in without one.
        """
        what = f"reading the user {value.username!r}"
        admin = self._options.admin_credentials
        password = self._context.secret(admin.password)
        users = []
        for node in self._nodes:
            with administering(node, self._wiring, admin.username, password, what=what) as session:
                users.append(session.user(value.username, what=what))
        if value.secret is None and not any(user and (user.digests or "nopass" in user.flags) for user in users):
            return Sighting(Probe.REFUSED, "the user has no password")
        held = [set(user.digests) if user and "off" not in user.flags else set() for user in users]
        common = set.intersection(*held)
        shown = None
        if value.secret is not None and value.revealed() in common:
            shown = value
        elif common and all(len(digests) == 1 for digests in held):
            shown = CredentialValue(value.username, Secret(common.pop()), Form.VERIFIER)
        if value.secret is None and shown is None:
            return Sighting(Probe.ACCEPTED, "the user has passwords, and not one that is the same on every node")
        return Sighting(Probe.UNKNOWN, "nothing to log in with", shown)


def _digest(value: CredentialValue, what: str) -> str:
    """Return the SHA-256 that Redis keeps of a value; `Rejected` for a verifier that is none."""
    if value.form is Form.PLAIN:
        return sha256(value.revealed().encode()).hexdigest()
    if not _DIGEST.fullmatch(value.revealed()):
        raise Rejected(what=what, why="the stored verifier is not the SHA-256 of a password")
    return value.revealed()


def _require(place: _Place, keep: CredentialValue, digest: str | None, what: str) -> None:
    """Raise where a node would be left without the password that is to stay."""
    user = place.users[keep.username]
    if user is None or digest not in user.digests:
        raise Rejected(
            what=f"{what} on {place.session.node}",
            why=f"it does not have the password of {keep.username!r} that is to stay",
        )


def _together(logins: Sequence[Login]) -> tuple[Probe, str]:
    """Return what all nodes say with one voice, and the words of those who say otherwise."""
    probes = {login.probe for login in logins}
    detail = "; ".join(login.detail for login in logins if login.detail)
    if len(probes) == 1:
        return probes.pop(), detail
    if probes == {Probe.ACCEPTED, Probe.UNUSABLE}:
        return Probe.UNUSABLE, detail
    accepting = sum(login.probe is Probe.ACCEPTED for login in logins)
    return Probe.UNKNOWN, f"accepted by {accepting} of {len(logins)} nodes; {detail}"
