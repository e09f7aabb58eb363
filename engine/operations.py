"""What people and schedules can ask for: start, pause, go back, retry, give up; each a recorded decision.

Rule 1: an operation reads, decides (commands.py) and appends; driving what it decided is the runner's work.
Rule 2: of the ports only the log is written here; a store is asked what it holds, and nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from engine.commands import StartRotation, abandon, end_grace, go_back, let_go_on, opened, pause, refuse_second, retry
from engine.credential import Credential, Version
from engine.errors import Conflict, IllegalCommand, NoRestorePoint, NoSuchRotation, Rejected
from engine.events import CredentialEvent, RotationEvent
from engine.machine import State
from engine.performance import World, facts_of, noted_facts
from engine.plan import Plan
from engine.policies import unreachable
from engine.ports import Holdings, SecretStore
from engine.rotation import Rotation
from engine.values import CURRENT, Instant


class Decision(Protocol):
    """A decision on one rotation (commands.py): the facts to append; raises `IllegalCommand`."""

    def __call__(self, rotation: Rotation, *, reason: str) -> list[RotationEvent]:
        """Return the facts, none where nothing is to be done."""
        ...


class Operations:
    """The commands on rotations, in one process. `spell` writes a time for people."""

    def __init__(self, world: World, *, spell: Callable[[Instant], str] = str) -> None:
        self._world = world
        self._spell = spell

    def rotation(self, rotation_id: UUID) -> Rotation:
        """Return a rotation; raises `NoSuchRotation`."""
        rotation = self._world.load(rotation_id)
        if rotation is None:
            raise NoSuchRotation(rotation=str(rotation_id))
        return rotation

    def open_rotation(self, service: str, environment: str) -> Rotation | None:
        """Return the rotation of a credential that is open; None where there is none."""
        credential = self._world.credential(service, environment)
        return self.rotation(credential.open) if credential.open else None

    def start(
        self,
        service: str,
        environment: str,
        plan: Plan,
        *,
        logins: tuple[str, ...],
        reason: str = "",
        imported: bool = False,
        to: Version | None = None,
        alone: bool = False,
    ) -> UUID:
        """Record that a rotation begins, forward or back `to` an earlier version; return its id.

        `to` may be what the stores call current: it is then seen to work, or set again, and published again. `alone`
        where what they call current was seen not to work: then it is nothing to go back to.

        Raises `RotationOpen`, `InGrace`, `Conflict` where another process opened one at the same moment, and
        the three outcomes where the store cannot say what it holds.
        """
        world = self._world
        credential = world.credential(service, environment)
        open_rotation = self.rotation(credential.open) if credential.open else None
        store = world.bind(service, environment, plan).store
        holdings = store.versions(plan.path)
        old = None if alone else self._old(credential, plan, logins, store, holdings)
        if old is not None and to is not None and old.id == to.id:
            old = None  # It stays what consumers have: it is neither retired nor gone back to.
        command = StartRotation(
            service=service,
            environment=environment,
            plan=plan,
            logins=logins,
            owner=world.owner,
            reason=reason,
            imported=imported,
            to=to,
            label=holdings.current,
            old=old,
        )
        until = self._spell(open_rotation.grace.wall) if open_rotation and open_rotation.grace else ""
        rotation_id = world.ids.new()
        events, noted = opened(command, credential, rotation_id, open_rotation=open_rotation, until=until)
        try:
            self._append(rotation_id, 0, State.WAITING, events, credential, noted)
        except Conflict:
            self._refuse_if_open(service, environment)
            raise
        return rotation_id

    def _refuse_if_open(self, service: str, environment: str) -> None:
        """Turn a lost race into what it means: another process opened a rotation at the same moment."""
        rotation = self.open_rotation(service, environment)
        if rotation is not None:
            refuse_second(rotation, until=self._spell(rotation.grace.wall) if rotation.grace else "")

    def _old(
        self,
        credential: Credential,
        plan: Plan,
        logins: tuple[str, ...],
        store: SecretStore,
        holdings: Holdings,
    ) -> Version | None:
        """Return the version that is to be replaced: what the store calls current, since consumers have it.

        Without a label, what the log calls current, if the store holds it; a version that is lost cannot be gone
        back to, so that the login is taken over again. Raises `Rejected` where the store holds another login.
        """
        known = credential.current
        if holdings.current is None:
            return known if known is not None and known.id in holdings.versions else None
        if known is not None and known.id == holdings.current:
            return known
        value = store.read(plan.path, CURRENT)
        login = value.username if value is not None and value.username else logins[0]
        if login not in logins and len(logins) == 1:
            raise Rejected(
                what=f"taking over {credential.service}",
                why=f"the store holds a login {login!r} there, and the configuration says {logins[0]!r}",
                advice="Correct credential.username, or choose another key in the store.",
            )
        return Version(holdings.current, login)

    def roll_back_to(
        self,
        service: str,
        environment: str,
        plan: Plan,
        version: Version,
        *,
        logins: tuple[str, ...],
        reason: str = "",
        points: str = "",
    ) -> UUID:
        """Begin a rotation of kind `rollback` to `version`; return its id.

        Raises `NoRestorePoint` where no store holds a usable value of it any more, or the target cannot be
        set back to a known value; `points` names what could be reached.
        """
        store = self._world.bind(service, environment, plan).store
        value = store.read(plan.path, version.id)
        refusal = unreachable(value, settable=plan.settable)
        if refusal:
            raise NoRestorePoint(service=service, wanted=version.id, why=refusal, points=points or "none")
        return self.start(service, environment, plan, logins=logins, reason=reason, to=version)

    def go_back(self, rotation_id: UUID, *, command: str, reason: str = "") -> None:
        """Record that an open or failed rotation goes back; raises `IllegalCommand`."""
        rotation = self.rotation(rotation_id)
        credential = self._world.credential(rotation.service, rotation.environment)
        events, noted = go_back(rotation, credential, command=command, reason=reason)
        self._append(rotation_id, rotation.version, rotation.state, events, credential, noted)

    def retry(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a failed rollback is tried again; raises `IllegalCommand`."""
        self._decide(self.rotation(rotation_id), retry, reason=reason)

    def pause(self, rotation_id: UUID, *, reason: str = "") -> bool:
        """Record that a rotation is to rest before anybody is given the candidate; False where it is recorded already.

        Raises `IllegalCommand` where it is too late.
        """
        return self._decide(self.rotation(rotation_id), pause, reason=reason)

    def let_go_on(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a paused rotation goes on; raises `IllegalCommand` in any other state."""
        self._decide(self.rotation(rotation_id), let_go_on, reason=reason)

    def abandon(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a rotation is over whose going back failed, or whose retiring has had its tries.

        Nothing is changed outside, and its credential is free. Raises `IllegalCommand` in any other state.
        """
        rotation = self.rotation(rotation_id)
        credential = self._world.credential(rotation.service, rotation.environment)
        events, noted = abandon(rotation, reason=reason, now=self._world.clock.now())
        self._append(rotation_id, rotation.version, rotation.state, events, credential, noted)

    def end_grace(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a grace period ends now; raises `IllegalCommand` in any other state."""
        self._decide(self.rotation(rotation_id), end_grace, reason=reason)

    def _decide(self, rotation: Rotation, decision: Decision, *, reason: str) -> bool:
        """Append what is decided on a rotation alone; tell whether that is anything."""
        events = decision(rotation, reason=reason)
        if events:
            credential = self._world.credential(rotation.service, rotation.environment)
            self._append(rotation.id, rotation.version, rotation.state, events, credential, [])
        return bool(events)

    def _append(
        self,
        rotation_id: UUID,
        version: int,
        state: State,
        events: list[RotationEvent],
        credential: Credential,
        noted: list[CredentialEvent],
    ) -> None:
        at, actor = self._world.clock.now().wall, self._world.actor
        facts = facts_of(rotation_id, version, state, events, at=at, actor=actor)
        self._world.append([*facts, *noted_facts(credential, noted, at=at, actor=actor)])


def require_going_back(rotation: Rotation, wanted: Version | None) -> None:
    """Refuse to go to another version than the previous one while a rotation is open."""
    if wanted is not None and wanted.id != rotation.previous:
        raise IllegalCommand(
            command=f"going back to {wanted.id}",
            state=f"open ({rotation.state}): it can be taken back to {rotation.previous or 'nothing'} only",
            rotation_id=rotation.id,
        )
