"""What people and schedules can ask for: start, wait for a turn, pause, go back, retry, give up, end a grace period.

Rule 1: an operation reads, decides (commands.py) and appends; driving what it decided is the runner's work.
Rule 2: of the ports only the log is written here; a store is asked what it holds, and nothing more. Where it refuses
that when the turn of a rotation has come, the rotation has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Protocol, TypeAlias
from uuid import UUID

from msgspec.structs import replace

from engine.commands import (
    StartRotation,
    abandon,
    accept_inconclusive,
    end_grace,
    go_back,
    in_the_way,
    let_go_on,
    making_room,
    opened,
    pause,
    promote,
    refuse_second,
    refused,
    retry,
    withdrawn,
)
from engine.credential import Credential, Version
from engine.errors import Conflict, IllegalCommand, NoRestorePoint, NoSuchRotation, Rejected
from engine.events import CredentialEvent, RotationEvent, RotationQueued, RotationRequested
from engine.machine import State
from engine.performance import World, facts_of, noted_facts
from engine.plan import Plan
from engine.policies import unreachable
from engine.ports import Holdings, SecretStore
from engine.rotation import Rotation
from engine.values import CURRENT, Instant

_Change: TypeAlias = tuple[UUID, int, State, list[RotationEvent]]
"""What happens to a rotation: its id, how many facts it has, the state they led to, and the events."""


class Request(NamedTuple):
    """A rotation that waits for its turn, and whether it was asked for just now or waited already."""

    rotation: Rotation
    is_new: bool


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

    def waiting_rotation(self, service: str, environment: str) -> Rotation | None:
        """Return the rotation of a credential that waits for its turn; None where there is none."""
        credential = self._world.credential(service, environment)
        return self.rotation(credential.queued) if credential.queued else None

    def holder(self, service: str, environment: str) -> Rotation | None:
        """Return the rotation of a credential that a new one would find in its way; None where it could begin."""
        return self._holder(self._world.credential(service, environment))

    def _holder(
        self, credential: Credential, *, rotation_id: UUID | None = None, urgent: bool = False
    ) -> Rotation | None:
        found = in_the_way(credential, rotation_id=rotation_id, urgent=urgent)
        return self.rotation(found) if found else None

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
        rotation_id: UUID | None = None,
    ) -> UUID:
        """Record that a rotation begins, forward or back `to` an earlier version; return its id: the one given, if any.

        `to` may be what the stores call current: it is then seen to work, or set again, and published again. `alone`
        where what they call current was seen not to work: then it is nothing to go back to.

        Raises `RotationOpen`, `InGrace`, `Conflict` where another process opened one at the same moment, and
        the three outcomes where the store cannot say what it holds.
        """
        credential = self._world.credential(service, environment)
        command = StartRotation(
            service=service,
            environment=environment,
            plan=plan,
            logins=logins,
            owner=self._world.owner,
            reason=reason,
            imported=imported,
            to=to,
        )
        rotation_id = rotation_id or self._world.ids.new()
        self._open(command, credential, rotation_id, 0, alone=alone)
        return rotation_id

    def _open(
        self, command: StartRotation, credential: Credential, rotation_id: UUID, version: int, *, alone: bool = False
    ) -> None:
        """Record that a rotation begins, at the next place of its stream; raises what `start` does."""
        world, plan = self._world, command.plan
        holder = self._holder(credential, rotation_id=rotation_id, urgent=command.to is not None)
        store = world.bind(command.service, command.environment, plan).store
        holdings = store.versions(plan.path)
        old = None if alone else self._old(credential, plan, command.logins, store, holdings)
        if old is not None and command.to is not None and old.id == command.to.id:
            old = None  # It stays what consumers have: it is neither retired nor gone back to.
        events, noted = opened(
            replace(command, label=holdings.current, old=old),
            credential,
            rotation_id,
            holder=holder,
            now=world.clock.now().wall,
            until=self._until(holder),
        )
        try:
            self._append([(rotation_id, version, State.WAITING, events)], credential, noted)
        except Conflict:
            self.refuse_if_open(command.service, command.environment, rotation_id=rotation_id)
            raise

    def refuse_if_open(self, service: str, environment: str, *, rotation_id: UUID | None = None) -> None:
        """Raise `RotationOpen` or `InGrace` where a rotation of the credential is open, or another one waits."""
        holder = self._holder(self._world.credential(service, environment), rotation_id=rotation_id)
        if holder is not None:
            refuse_second(holder, now=self._world.clock.now().wall, until=self._until(holder))

    def _until(self, holder: Rotation | None) -> str:
        return self._spell(holder.grace.wall) if holder is not None and holder.grace else ""

    def request(self, service: str, environment: str, plan: Plan, *, reason: str = "") -> Request | None:
        """Have a rotation wait for its turn, or join the one that waits already; None where nothing is in its way.

        The queue holds one: whoever asks for a fresh version gets it from the next rotation.
        """
        world = self._world
        while True:
            credential = world.credential(service, environment)
            if credential.queued is not None:
                return Request(self.rotation(credential.queued), is_new=False)
            if credential.open is None:
                return None
            rotation_id = world.ids.new()
            asked = RotationRequested(service, environment, plan, world.owner, reason)
            queued = RotationQueued(rotation_id, service, environment)
            try:
                self._append([(rotation_id, 0, State.WAITING, [asked])], credential, [queued])
            except Conflict:
                continue  # whatever the credential took down meanwhile may have changed the answer
            return Request(self.rotation(rotation_id), is_new=True)

    def start_queued(self, rotation_id: UUID, *, logins: tuple[str, ...]) -> Rotation:
        """Record that a rotation which waited begins, as its request says; return it as it is then.

        Where it has begun or was withdrawn meanwhile, by whoever, nothing is recorded; where it is refused
        (`Rejected`), it has failed. Raises `RotationOpen` and `InGrace` while its turn has not come, `Conflict` where
        another process appended first, and `Unavailable` and `Uncertain` where the store cannot say what it holds.
        """
        rotation = self.rotation(rotation_id)
        if rotation.state is not State.WAITING:
            return rotation
        credential = self._world.credential(rotation.service, rotation.environment)
        command = StartRotation(
            service=rotation.service,
            environment=rotation.environment,
            plan=rotation.plan,
            logins=logins,
            owner=self._world.owner,
            reason=rotation.reason,
        )
        try:
            self._open(command, credential, rotation_id, rotation.version)
        except Rejected as error:
            events, noted = refused(rotation, error)
            self._append([(rotation_id, rotation.version, rotation.state, events)], credential, noted)
        return self.rotation(rotation_id)

    def withdraw(self, rotation_id: UUID, *, command: str, reason: str = "") -> None:
        """Record that a rotation which waits is not wanted any more; raises `IllegalCommand` where it has begun."""
        while True:
            rotation = self.rotation(rotation_id)
            credential = self._world.credential(rotation.service, rotation.environment)
            events, noted = withdrawn(rotation, command=command, reason=reason)
            try:
                self._append([(rotation_id, rotation.version, rotation.state, events)], credential, noted)
            except Conflict:
                continue  # the credential took something down meanwhile, or the rotation has begun
            return

    def make_room(self, service: str, environment: str, *, reason: str = "") -> Rotation | None:
        """Record, at once, that the open rotation of a credential goes back and that the one that waits is withdrawn.

        Returns the open one as it is then: it has to be over before another one can start; None where nothing is in the
        way any more. One that could not go back stays as it is, and so does what waits behind it. Raises
        `IllegalCommand` where there is no way back, and `Conflict` where another process appended first.
        """
        credential = self._world.credential(service, environment)
        holder = self.rotation(credential.open) if credential.open else None
        waiting = self.rotation(credential.queued) if credential.queued else None
        changes, noted = making_room(holder, waiting, credential, reason=reason)
        if changes:
            self._append([(each.id, each.version, each.state, events) for each, events in changes], credential, noted)
        return self.rotation(holder.id) if holder is not None else None

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
        rotation_id: UUID | None = None,
    ) -> UUID:
        """Begin a rotation of kind `rollback` to `version`; return its id: the one given, if any.

        Raises `NoRestorePoint` where no store holds a usable value of it any more, or the target cannot be
        set back to a known value; `points` names what could be reached.
        """
        store = self._world.bind(service, environment, plan).store
        value = store.read(plan.path, version.id)
        refusal = unreachable(value, settable=plan.settable)
        if refusal:
            raise NoRestorePoint(service=service, wanted=version.id, why=refusal, points=points or "none")
        return self.start(service, environment, plan, logins=logins, reason=reason, to=version, rotation_id=rotation_id)

    def go_back(self, rotation_id: UUID, *, command: str, reason: str = "") -> None:
        """Record that an open or failed rotation goes back; raises `IllegalCommand`."""
        rotation = self.rotation(rotation_id)
        credential = self._world.credential(rotation.service, rotation.environment)
        events, noted = go_back(rotation, credential, command=command, reason=reason)
        self._append([(rotation_id, rotation.version, rotation.state, events)], credential, noted)

    def retry(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that going back, or the wave of a rollout, is tried again that failed; raises `IllegalCommand`."""
        self._decide(self.rotation(rotation_id), retry, reason=reason)

    def pause(self, rotation_id: UUID, *, reason: str = "") -> bool:
        """Record that a rotation is to rest before anybody is given the candidate; False where it is recorded already.

        Raises `IllegalCommand` where it is too late.
        """
        return self._decide(self.rotation(rotation_id), pause, reason=reason)

    def let_go_on(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a paused rotation goes on; raises `IllegalCommand` in any other state."""
        self._decide(self.rotation(rotation_id), let_go_on, reason=reason)

    def promote(self, rotation_id: UUID, *, reason: str = "", full: bool = False) -> None:
        """Record that a rollout passes what it waits for; with `full`, all that it would. Raises `IllegalCommand`."""
        self._decide(self.rotation(rotation_id), partial(promote, full=full), reason=reason)

    def accept_inconclusive(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a rollout goes on although its checks see nothing; raises `IllegalCommand`."""
        self._decide(self.rotation(rotation_id), accept_inconclusive, reason=reason)

    def abandon(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a rotation is over whose going back failed, or whose retiring has had its tries.

        Nothing is changed outside, and its credential is free. Raises `IllegalCommand` in any other state.
        """
        rotation = self.rotation(rotation_id)
        credential = self._world.credential(rotation.service, rotation.environment)
        events, noted = abandon(rotation, reason=reason, now=self._world.clock.now())
        self._append([(rotation_id, rotation.version, rotation.state, events)], credential, noted)

    def end_grace(self, rotation_id: UUID, *, reason: str = "") -> None:
        """Record that a grace period ends now; raises `IllegalCommand` in any other state."""
        self._decide(self.rotation(rotation_id), end_grace, reason=reason)

    def _decide(self, rotation: Rotation, decision: Decision, *, reason: str) -> bool:
        """Append what is decided on a rotation alone; tell whether that is anything."""
        events = decision(rotation, reason=reason)
        if events:
            self._append([(rotation.id, rotation.version, rotation.state, events)])
        return bool(events)

    def _append(
        self, changes: list[_Change], credential: Credential | None = None, noted: Sequence[CredentialEvent] = ()
    ) -> None:
        at, actor = self._world.clock.now().wall, self._world.actor
        facts = [
            fact
            for rotation_id, version, state, events in changes
            for fact in facts_of(rotation_id, version, state, events, at=at, actor=actor)
        ]
        said = noted_facts(credential, noted, at=at, actor=actor) if credential is not None else []
        self._world.append([*facts, *said])


def require_going_back(rotation: Rotation, wanted: Version | None) -> None:
    """Refuse to go to another version than the previous one while a rotation is open."""
    if wanted is not None and wanted.id != rotation.previous:
        raise IllegalCommand(
            command=f"going back to {wanted.id}",
            state=f"open ({rotation.state}): it can be taken back to {rotation.previous or 'nothing'} only",
            rotation_id=rotation.id,
        )
