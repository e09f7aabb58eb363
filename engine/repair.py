"""Repairing drift: look, decide (drift.py), and have the decision recorded; one step at a time.

Rule 1: a repair is made of new facts: what is current is taken down, or a rotation is begun, ended or driven like
every other. Nothing outside changes but through a rotation.
Rule 2: a look costs a login two refusals at most in one repair, and none while a rotation is only to be driven on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, assert_never
from uuid import UUID

from msgspec.structs import replace

from engine import events as e
from engine.credential import Credential, Version
from engine.drift import RESTING, UNCLEAR, Decision, Observed, PlaceSeen, Step, decide, worth_asking
from engine.events import Cause
from engine.machine import State
from engine.operations import Operations
from engine.performance import Binding, Performance, World, noted_facts
from engine.plan import Plan, Strategy
from engine.ports import Holdings, Inspectable
from engine.rotation import Rotation
from engine.sightings import WRONG_LOGINS_MAX, Acceptance, Seen, look_around
from engine.values import CURRENT, Form, Moment

PREFIX: Final = "doctor --repair"
"""What the reason of everything that a repair records begins with."""


class Repair:
    """One repair of one credential. It remembers what its looks have cost."""

    def __init__(
        self,
        world: World,
        service: str,
        environment: str,
        plan: Plan,
        *,
        logins: tuple[str, ...],
        lightly: bool = False,
    ) -> None:
        self._world = world
        self._operations = Operations(world)
        self._service = service
        self._environment = environment
        self._plan = plan
        self._logins = logins
        self._lightly = lightly
        """Nothing is going to be repaired: a login with what log and stores call current is recorded when it fails."""
        self._refused: Counter[str] = Counter()
        """The wrong logins that the looks of this repair have cost, by login."""
        self._refusals: dict[str, Seen] = {}
        """The versions that were refused, and nothing was done about it since."""
        self._begun: UUID | None = None
        """The rotation that this repair began last."""

    def look(self) -> Observed:
        """Return what log, stores, places and, where it matters, the target say.

        Raises what the store raises, and what `World.bind` raises.
        """
        world = self._world
        binding = world.bind(self._service, self._environment, self._plan)
        credential = world.credential(self._service, self._environment)
        rotation = self._operations.rotation(credential.open) if credential.open else None
        held = binding.store.versions(self._plan.path)
        observed = Observed(
            logged=credential.current,
            rotation=rotation,
            grace_over=_is_grace_over(rotation, world.clock.now()),
            begun=credential.last is not None,
            label=held.current,
            held=self._usable(binding, _likeliest_first(credential, rotation, held)),
            settable=self._plan.settable,
            places=self._places(binding),
            left_over=self._left_over(credential, held),
            failed=None if rotation else self._ended(State.FAILED, State.ROLLED_BACK),
        )
        return replace(observed, looks=self._ask(observed))

    def _usable(self, binding: Binding, ids: Sequence[str]) -> tuple[Version, ...]:
        """Return those of the versions that one of the logins can be used with."""
        found: list[Version] = []
        for version in ids:
            value = binding.store.read(self._plan.path, version)
            if value is None or value.form is not Form.PLAIN:
                continue
            login = value.username or self._logins[0]
            if login in self._logins:
                found.append(Version(version, login))
        return tuple(found)

    def _ask(self, observed: Observed) -> tuple[Seen, ...]:
        """Try the versions in turn until one is accepted, or the target gives no clear answer.

        What was refused is not tried again before a rotation was driven.
        """
        looks: list[Seen] = []
        proven = self._ended(State.COMPLETED, State.GRACE)
        for version in worth_asking(observed):
            expected = self._lightly and version.id == observed.label and version == observed.logged
            seen = Seen(version.id, Acceptance.NOT_TRIED, None, f"{WRONG_LOGINS_MAX} wrong logins were spent already")
            if version.id in self._refusals:
                seen = self._refusals[version.id]
            elif self._refused[version.login] < WRONG_LOGINS_MAX:
                where = (self._world, self._service, self._environment, self._plan)
                (seen,) = look_around(*where, [version], expected=expected)
            if seen.accepted is Acceptance.NOT_TRIED and proven and version.id == proven.candidate:
                seen = Seen(version.id, Acceptance.ACCEPTED, None, "as the rotation saw")
            looks.append(seen)
            if seen.accepted is Acceptance.REFUSED and version.id not in self._refusals:
                self._refused[version.login] += 1
                self._refusals[version.id] = seen
            if seen.accepted is Acceptance.ACCEPTED or seen.accepted in UNCLEAR:
                break
        return tuple(looks)

    def _left_over(self, credential: Credential, held: Holdings) -> str | None:
        """Return what the last rotation may have left in the second place of a `dual` login, and nobody holds."""
        if self._plan.strategy is not Strategy.DUAL or credential.open or credential.last is None:
            return None
        last = self._operations.rotation(credential.last)
        is_left = last.state is State.FAILED and last.attempted and last.candidate not in held.versions
        return last.candidate if is_left else None

    def _ended(self, *states: State) -> Rotation | None:
        """Return the rotation that this repair began last, if it ended so."""
        rotation = self._world.load(self._begun) if self._begun else None
        return rotation if rotation and rotation.state in states else None

    def _places(self, binding: Binding) -> tuple[PlaceSeen, ...]:
        """Look which of the further places have what the stores call current."""
        value = binding.store.read(self._plan.path, CURRENT)
        version = binding.store.versions(self._plan.path).current
        if value is None or version is None or value.form is not Form.PLAIN:
            return ()
        return tuple(
            PlaceSeen(each.name, each.has(value, version=version) if isinstance(each, Inspectable) else None)
            for each in binding.places
        )

    def begin(self, decision: Decision, *, reason: str = "") -> UUID | None:
        """Record a decision; return the rotation that is to be driven then, if any.

        Raises what `Operations.start` and `retry` raise, `OwnedElsewhere` where a live process drives a rotation
        that is to be ended, and `Conflict` where another process appended first.
        """
        said = f"{PREFIX}: {reason or decision.why}"
        if decision.step not in (Step.ADOPT, Step.ABANDON, Step.END):
            self._refusals.clear()
        rotation = self._operations.open_rotation(self._service, self._environment)
        match decision.step:
            case Step.ADOPT:
                self._adopt(decision.version, said)
                return None
            case Step.PUBLISH | Step.CLEAR | Step.GO_TO | Step.SET_AGAIN | Step.ROTATE:
                self._begun = self._operations.start(
                    self._service,
                    self._environment,
                    self._plan,
                    logins=self._logins,
                    reason=said,
                    to=decision.version,
                    alone=True,
                )
                return self._begun
            case Step.RESUME | Step.RETRY | Step.ABANDON | Step.END:
                return self._move(rotation, decision, said) if rotation else None
            case Step.NOTHING | Step.WAIT | Step.ASK:
                return None
            case _:
                assert_never(decision.step)

    def _adopt(self, version: Version | None, said: str) -> None:
        assert version is not None, "what is adopted is named"
        world = self._world
        credential = world.credential(self._service, self._environment)
        adopted = e.VersionAdopted(version.id, version.login, said)
        world.append(noted_facts(credential, [adopted], at=world.clock.now().wall, actor=world.actor))

    def _move(self, rotation: Rotation, decision: Decision, said: str) -> UUID | None:
        step, why = decision.step, decision.why
        if step is Step.RETRY:
            self._operations.retry(rotation.id, reason=said)
        if step in (Step.RESUME, Step.RETRY):
            return rotation.id
        if step is Step.ABANDON:
            self._operations.abandon(rotation.id, reason=said)
        if step is Step.END:
            with self._world.hold(rotation.id) as held:  # nobody's work is ended under their hands
                cause = Cause("repair", "ended", why)
                Performance(self._world, rotation, held=held).record(e.RotationFailed(cause, said))
        return None


def _is_grace_over(rotation: Rotation | None, now: Moment) -> bool:
    if rotation is None or rotation.state is not State.GRACE:
        return False
    return rotation.grace is None or not rotation.grace.remaining(now)


def settle(
    repair: Repair,
    *,
    approve: Callable[[Observed, Decision], None],
    drive: Callable[[UUID], object],
    reason: str = "",
) -> tuple[Observed, Decision]:
    """Look and repair until nothing more is to be done; return what is true then, and what is left to say.

    `approve` is asked before each step, and raises where it may not be done; `drive` drives a rotation.
    """
    done: list[Decision] = []
    while True:
        observed = repair.look()
        decision = decide(observed, done)
        if decision.step in RESTING:
            return observed, decision
        approve(observed, decision)
        rotation_id = repair.begin(decision, reason=reason)
        done.append(decision)
        if rotation_id is not None:
            drive(rotation_id)


def _likeliest_first(credential: Credential, rotation: Rotation | None, held: Holdings) -> list[str]:
    """Return the versions that the store holds: what it calls current, what the log does, then from new to old."""
    logged = [credential.current.id] if credential.current else []
    moving = [rotation.candidate, rotation.previous] if rotation else []
    lineage = [version.id for version in reversed(credential.lineage)]
    wanted = [held.current, *logged, *moving, held.previous, *lineage, *reversed(held.versions)]
    return [version for version in dict.fromkeys(wanted) if version in held.versions]
