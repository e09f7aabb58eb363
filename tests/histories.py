"""Histories that could have happened: facts of credentials and their rotations, made by walking the machine.

`histories()` is for hypothesis; `walk` is what it draws from, for benchmarks that need many facts at once.
"""

from __future__ import annotations

from bisect import bisect_right
from random import Random
from typing import Final, get_args
from uuid import UUID

from hypothesis import strategies as st

from engine import credential as credentials
from engine import events as e
from engine import rotation as rotations
from engine.chain import GENESIS, Content, chained
from engine.commands import closing
from engine.credential import Credential, Version, credential_id
from engine.facts import Fact, Recorded, encode, tag_of
from engine.health import CheckResult
from engine.instances import Instance
from engine.machine import ENDED, TABLE, State
from engine.plan import Kind, Plan, Strategy
from engine.rollout import Wave
from engine.rollout_events import Joiner
from engine.rotation import Rotation
from engine.values import SECOND, Deadline, Instant, Moment

BEGAN: Final = Instant(1_767_225_600_000_000)
"""2026-01-01T00:00:00Z."""

POSSIBLE: Final = {state: sorted(event for (source, event) in TABLE if source is state) for state in State}
FORWARD: Final = {
    State.STAGING: "CandidateStaged",
    State.APPLYING: "CandidateApplied",
    State.VERIFYING: "CandidateVerified",
    State.DISTRIBUTING: "RolloutCompleted",
    State.PROMOTING: "Promoted",
    State.MONITORING: "MonitoringPassed",
    State.GRACE: "GraceEnded",
    State.RETIRING: "PreviousRetired",
    State.ROLLING_BACK: "PreviousRestored",
    State.VERIFYING_ROLLBACK: "RollbackVerified",
}
"""What most rotations do next; without a lean to it few would ever be completed."""

_FLEET: Final = ("web-1", "web-2", "web-3")
_OF_FLEET: Final = {event.__name__ for event in get_args(e.RolloutRemark)}

_SPREAD: Final = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835
"""An odd number near 2**128 divided by the golden ratio: its multiples lie far from each other."""

CAUSE: Final = e.Cause("verify", "unavailable", "no answer in 5 s", "Look at the target.")


class Walk:
    """Credentials and their rotations on the way, and the facts so far."""

    def __init__(self, random: Random, *, services: int = 3, lean: float = 0.6) -> None:
        self.random = random
        self.lean = lean
        self.facts: list[Fact] = []
        self.credentials = [
            Credential(credential_id(name, "production"), name, "production")
            for name in (f"service-{number}" for number in range(services))
        ]
        self.rotations: dict[UUID, Rotation] = {}
        self._at = BEGAN
        self._near = range(services)

    def near(self, count: int) -> None:
        """Let the next steps be those of `count` services that lie beside each other."""
        first = self.random.randrange(len(self.credentials) - count + 1)
        self._near = range(first, first + count)

    def step(self) -> None:
        """Append what happens next to one credential: an event, and what is appended together with it."""
        number = self.random.choice(self._near)
        credential = self.credentials[number]
        self._at = Instant(self._at + self.random.randrange(10 * SECOND))
        waiting, open_one = credential.queued, credential.open
        if waiting is not None and self.random.random() < 0.1:
            credential = self._end_waiting(credential, self.rotations[waiting])
        elif open_one is None:
            credential = self._start(credential)
        elif waiting is None and self.random.random() < 0.1 * (1 - self.lean):
            credential = self._queue(credential)
        else:
            credential = self._move(credential, self.rotations[open_one])
        self.credentials[number] = credential

    def _queue(self, credential: Credential) -> Credential:
        """Have a rotation wait for its turn."""
        rotation_id = self._fresh_id()
        plan = Plan(Strategy.SINGLE, overlap=False)
        asked = e.RotationRequested(credential.service, credential.environment, plan, "host:3", "it leaked")
        first = Fact(rotation_id, 1, self._at, "eve", asked, State.WAITING)
        self.facts.append(first)
        self.rotations[rotation_id] = rotations.start(first)
        return self._note(credential, e.RotationQueued(rotation_id, credential.service, credential.environment))

    def _end_waiting(self, credential: Credential, waiting: Rotation) -> Credential:
        """Withdraw what waits, or refuse it when its turn has come."""
        withdrawn = credential.open is not None or self.random.random() < 0.5
        after = self._of_rotation(waiting, e.RotationCancelled("in vain") if withdrawn else e.RotationFailed(CAUSE))
        return self._note(credential, closing(after, after.state, now=Moment(self._at)))

    def _fresh_id(self) -> UUID:
        # Spread like random ones, and never the same: hypothesis likes to draw a number twice.
        return UUID(int=(len(self.rotations) + 1) * _SPREAD % 2**128, version=4)

    def _start(self, credential: Credential) -> Credential:
        """Open a rotation: the one that waits, or another; or take back the last one where it failed."""
        last = self.rotations.get(credential.last) if credential.last else None
        if last is not None and last.state is State.FAILED and self.random.random() < 0.5:
            opened = e.RotationOpened(last.id, last.service, last.environment, last.candidate, credential.ordinal)
            self._of_rotation(last, e.RollbackStarted(automatic=False, reason="it failed"))
            return self._note(credential, opened)
        rotation_id = credential.queued or self._fresh_id()
        ordinal = credential.ordinal + 1
        held = [version for version in credential.known if version != credential.current]
        back = self.random.choice(held) if held and not credential.queued and self.random.random() < 0.2 else None
        candidate = back or Version(f"v{ordinal}-{rotation_id.hex[:6]}", "app")
        current = credential.current
        if current is None and self.random.random() < 0.5:
            current = Version("v0-imported", "app")
            noted: list[e.CredentialEvent] = [e.VersionAdopted(current.id, current.login)]
        else:
            noted = []
        started = e.RotationStarted(
            service=credential.service,
            environment=credential.environment,
            kind=Kind.ROLLBACK if back else Kind.ROTATION,
            plan=Plan(Strategy.SINGLE, overlap=False),
            version=candidate.id,
            login=candidate.login,
            owner="host:1",
            previous=current.id if current else None,
            previous_login=current.login if current else None,
            reason=self.random.choice(["", "leaked"]),
            fences=credential.fences,
            tries=credential.tries,
        )
        waited = self.rotations.get(rotation_id)
        first = Fact(rotation_id, waited.version + 1 if waited else 1, self._at, "ada", started, State.STAGING)
        self.facts.append(first)
        self.rotations[rotation_id] = rotations.evolve(waited, first) if waited else rotations.start(first)
        noted.append(e.RotationOpened(rotation_id, credential.service, credential.environment, candidate.id, ordinal))
        return self._note(credential, *noted)

    def _move(self, credential: Credential, rotation: Rotation) -> Credential:
        """Append one legal event of an open rotation, and what the credential takes down of it."""
        usual = FORWARD.get(rotation.state)
        name = usual if usual and self.random.random() < self.lean else self.random.choice(POSSIBLE[rotation.state])
        after = self._of_rotation(rotation, self._event(name, rotation))
        noted: list[e.CredentialEvent] = []
        if name == "Promoted":
            noted.append(e.CurrentChanged(rotation.id, rotation.candidate, rotation.login))
        if name == "PreviousCaptured":
            noted.append(e.VersionAdopted(after.previous or "", after.previous_login or ""))
        if name == "PreviousRestored" and rotation.promotable:
            noted.append(e.CurrentChanged(rotation.id, rotation.previous, rotation.previous_login))
        if name == "PreviousRetired":
            noted += [e.VersionRetired(version.id) for version in credential.strays]
            noted += [e.VersionDestroyed(version.id) for version in credential.known[:-3]]
        if after.state in ENDED:
            noted.append(closing(after, after.state, now=Moment(self._at)))
        return self._note(credential, *noted)

    def _of_rotation(self, rotation: Rotation, event: e.RotationEvent) -> Rotation:
        state = TABLE[rotation.state, type(event).__name__]
        fact = Fact(rotation.id, rotation.version + 1, self._at, "bob", event, state)
        self.facts.append(fact)
        self.rotations[rotation.id] = rotations.evolve(rotation, fact)
        return self.rotations[rotation.id]

    def _note(self, credential: Credential, *events: e.CredentialEvent) -> Credential:
        for event in events:
            fact = Fact(credential.id, credential.version + 1, self._at, "bob", event)
            self.facts.append(fact)
            credential = credentials.evolve(credential, fact)
        return credential

    def _event(self, name: str, rotation: Rotation) -> e.RotationEvent:
        """Return an event of this name that fits the rotation."""
        later = Instant(self._at + 5 * SECOND)
        number = len(rotation.attempts)
        made: dict[str, e.RotationEvent] = {
            "CandidateStaged": e.CandidateStaged("00ff"),
            "RotationRequested": e.RotationRequested(rotation.service, rotation.environment, rotation.plan, "host:1"),
            "CandidateApplied": e.CandidateApplied(attempt=number),
            "WaveDistributed": e.WaveDistributed(rotation.waves),
            "WavePassed": e.WavePassed(rotation.waves),
            "MonitoringPassed": e.MonitoringPassed(Deadline(later)),
            "RollbackStarted": e.RollbackStarted(automatic=True, cause=CAUSE),
            "RollbackFailed": e.RollbackFailed(CAUSE),
            "RotationFailed": e.RotationFailed(CAUSE),
            "MonitoringStarted": e.MonitoringStarted(Deadline(later)),
            "HealthSampled": e.HealthSampled("connection", self.random.choice(list(CheckResult)), Deadline(later)),
            "OwnerChanged": e.OwnerChanged("host:2", rotation.epoch + 1),
            "EffectPostponed": e.EffectPostponed(CAUSE, later),
            "PreviousCaptured": e.PreviousCaptured(f"v0-{rotation.id.hex[:6]}", rotation.login, "00ff"),
            "AttemptStarted": e.AttemptStarted(number + 1, rotation.candidate, rotation.login, later),
            "AttemptClosed": e.AttemptClosed(number, done=True),
            "AttemptSettled": e.AttemptSettled(number),
            "OrphanRevoked": e.OrphanRevoked(number),
            "VerificationFailed": e.VerificationFailed(CAUSE, refused=False, not_before=later),
            "LoginTried": e.LoginTried(rotation.login),
            "Published": e.Published("dotenv:APP", rotation.candidate),
            **(self._of_fleet(rotation, Deadline(later)) if name in _OF_FLEET else {}),
        }
        event: e.RotationEvent = made[name] if name in made else getattr(e, name)()
        return event

    def _of_fleet(self, rotation: Rotation, later: Deadline) -> dict[str, e.RotationEvent]:
        """Return an event of each kind about the instances of a rotation."""
        some = _FLEET[: self.random.randrange(1, len(_FLEET) + 1)]
        there = tuple(Instance(each, zone="a") for each in some)
        return {
            "RolloutPlanned": e.RolloutPlanned((Wave(some, 100),), there),
            "InstancesJoined": e.InstancesJoined(tuple(Joiner(each, rotation.waves) for each in there)),
            "InstancesMissed": e.InstancesMissed(some, later),
            "InstancesLeft": e.InstancesLeft(some),
            "InstancesTold": e.InstancesTold(some, rotation.candidate, later),
            "InstancesFailed": e.InstancesFailed(some, CAUSE, certain=self.random.random() < 0.5),
            "InstancesUnproved": e.InstancesUnproved(some, later),
            "InstancesMoved": e.InstancesMoved(some),
            "InstancesLapsed": e.InstancesLapsed(some),
            "InstancesReturned": e.InstancesReturned(some),
            "WaveHeld": e.WaveHeld(rotation.waves, later, "the window opens"),
            "SoakStarted": e.SoakStarted(rotation.waves, later),
            "OverlapWarned": e.OverlapWarned(50, later.wall),
        }


def recorded(facts: list[Fact]) -> list[Recorded]:
    """Return the facts as the log has them: with positions from 1 and chained hashes."""
    found: list[Recorded] = []
    link = GENESIS
    for position, fact in enumerate(facts, start=1):
        content = Content(fact.originator_id.bytes, fact.originator_version, tag_of(fact.body).encode(), encode(fact))
        link = chained(link, position, content)
        found.append(Recorded(position, fact, link))
    return found


def walk(random: Random, *, steps: int, services: int = 3, lean: float = 0.6) -> list[Recorded]:
    """Return the facts of so many steps: at least one fact a step.

    `lean` is how often a rotation does what is usual in its state; at 1 all are completed.
    """
    path = Walk(random, services=services, lean=lean)
    for _ in range(steps):
        path.step()
    return recorded(path.facts)


def histories(*, steps_max: int = 80) -> st.SearchStrategy[list[Recorded]]:
    """Return histories of one to three services, shrinking to few steps."""
    return st.builds(
        walk,
        st.randoms(use_true_random=False),
        steps=st.integers(0, steps_max),
        services=st.integers(1, 3),
    )


class ListedLog:
    """A log that is a list: the reading half of the port `EventLog`."""

    def __init__(self, facts: list[Recorded]) -> None:
        self.facts = facts

    def after(self, position: int, *, limit: int = 500) -> list[Recorded]:
        """Return at most `limit` facts behind `position`."""
        first = bisect_right(self.facts, position, key=lambda each: each.position)
        return self.facts[first : first + limit]
