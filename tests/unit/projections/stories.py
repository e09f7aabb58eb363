"""Stories of a credential, told one event after the other, for tests of what projections make of them."""

from __future__ import annotations

from typing import Final, Self
from uuid import UUID

from engine import credential as credentials
from engine import events as e
from engine import rotation as rotations
from engine.credential import Credential, credential_id
from engine.facts import Fact
from engine.instances import Instance
from engine.machine import ENDED, TABLE, State
from engine.plan import Kind, Plan, Strategy
from engine.rollout import Wave
from engine.rotation import Rotation
from engine.values import SECOND, Deadline, Instant
from tests.histories import BEGAN

REFUSED: Final = e.Cause("verify", "refused", "the target refuses it", "Look.")


class Story:
    """Facts of credentials and their rotations; each event happens a second after the one before."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.rotation_id = UUID(int=0)
        self.plan = Plan(Strategy.SINGLE, overlap=False)
        """What the rotations begin with."""
        self._at = BEGAN
        self._credential = Credential(credential_id("app-db", "production"), "app-db", "production")
        self._rotations: dict[UUID, Rotation] = {}

    def turn_to(self, service: str, environment: str) -> Self:
        """Go on with another credential, which has no facts yet."""
        self._credential = Credential(credential_id(service, environment), service, environment)
        return self

    @property
    def rotation(self) -> Rotation:
        """The newest rotation."""
        return self._rotations[self.rotation_id]

    @property
    def credential(self) -> Credential:
        """The credential that the story is about."""
        return self._credential

    def at_of(self, kind: type) -> Instant:
        """Return when such an event happened last."""
        return next(fact.at for fact in reversed(self.facts) if isinstance(fact.body, kind))

    def start(self, version: str, *, held: str | None = None, kind: Kind = Kind.ROTATION, reason: str = "") -> Self:
        """Open a rotation to a version; the store may hold another one as current (`held`)."""
        self.rotation_id = self._fresh_id()
        return self._open(version, 1, held=held, kind=kind, reason=reason)

    def queue(self, *, reason: str = "") -> UUID:
        """Have a rotation wait for its turn; return its id. The story goes on with the one that is open."""
        rotation_id, credential = self._fresh_id(), self._credential
        asked = e.RotationRequested(credential.service, credential.environment, self.plan, "host:2", reason)
        fact = Fact(rotation_id, 1, self._tick(), "bob", asked, State.WAITING)
        self.facts.append(fact)
        self._rotations[rotation_id] = rotations.start(fact)
        self.note(e.RotationQueued(rotation_id, credential.service, credential.environment))
        return rotation_id

    def begin(self, rotation_id: UUID, version: str) -> Self:
        """Begin the rotation that waited, and go on with it."""
        self.rotation_id = rotation_id
        return self._open(version, self._rotations[rotation_id].version + 1)

    def end_waiting(self, event: e.RotationEvent) -> Self:
        """Have an event end the rotation that waits; the story goes on with the one before."""
        open_one, waiting = self.rotation_id, self._credential.queued
        assert waiting is not None
        self.rotation_id = waiting
        self.move(event)
        self.rotation_id = open_one
        return self

    def _fresh_id(self) -> UUID:
        return UUID(int=((len(self._rotations) + 1) << 96) + 0x4000_8000_0000_0000_0000_0000 % (1 << 96))

    def _open(
        self, version: str, place: int, *, held: str | None = None, kind: Kind = Kind.ROTATION, reason: str = ""
    ) -> Self:
        """Append the start of the rotation at its place, and what the credential takes down of it."""
        waited = self._rotations.get(self.rotation_id)
        number = len(self._rotations) if waited else len(self._rotations) + 1
        current = self._credential.current
        started = e.RotationStarted(
            service=self._credential.service,
            environment=self._credential.environment,
            kind=kind,
            plan=self.plan,
            version=version,
            login="app",
            owner="host:1",
            previous=held or (current.id if current else None),
            previous_login="app" if held or current else None,
            reason=reason,
        )
        fact = Fact(self.rotation_id, place, self._tick(), "ada", started, State.STAGING)
        self.facts.append(fact)
        self._rotations[self.rotation_id] = rotations.evolve(waited, fact) if waited else rotations.start(fact)
        if held is not None:
            self.note(e.VersionAdopted(held, "app"))
        credential = self._credential
        return self.note(
            e.RotationOpened(self.rotation_id, credential.service, credential.environment, version, number)
        )

    def move(self, *events: e.RotationEvent) -> Self:
        """Have events happen to the rotation; the machine says to which state they lead."""
        for event in events:
            rotation = self.rotation
            state = TABLE[rotation.state, type(event).__name__]
            fact = Fact(rotation.id, rotation.version + 1, self._tick(), "ada", event, state)
            self.facts.append(fact)
            self._rotations[rotation.id] = rotations.evolve(rotation, fact)
            if state in ENDED:
                self.note(e.RotationClosed(rotation.id, state))
        return self

    def note(self, *events: e.CredentialEvent) -> Self:
        """Have events happen to the credential."""
        for event in events:
            fact = Fact(self._credential.id, self._credential.version + 1, self._tick(), "ada", event)
            self.facts.append(fact)
            self._credential = credentials.evolve(self._credential, fact)
        return self

    def stage(self) -> Self:
        """Stage the candidate."""
        return self.move(e.CandidateStaged("00ff"))

    def promote(self) -> Self:
        """Make the candidate current."""
        self.stage().move(e.CandidateApplied(), e.CandidateVerified(), e.RolloutCompleted(), e.Promoted())
        return self.note(e.CurrentChanged(self.rotation_id, self.rotation.candidate, "app"))

    def roll_out(self, *waves: tuple[str, ...]) -> Self:
        """Verify the candidate, and plan its waves."""
        self.stage().move(e.CandidateApplied(), e.CandidateVerified())
        there = tuple(Instance(each) for wave in waves for each in wave)
        return self.move(e.RolloutPlanned(tuple(Wave(wave, 100) for wave in waves), there))

    def to_grace(self, until: int) -> Self:
        """Begin a grace period."""
        return self.promote().move(e.MonitoringPassed(Deadline(Instant(until))))

    def end_grace(self) -> Self:
        """Retire the old version, which completes the rotation."""
        return self.move(e.GraceEnded(), e.PreviousRetired())

    def rotate(self, version: str, *, kind: Kind = Kind.ROTATION) -> Self:
        """Rotate to a version, from beginning to end."""
        return self.start(version, kind=kind).to_grace(self._at).end_grace()

    def fail(self) -> Self:
        """Let the rotation fail, nothing being taken back."""
        return self.move(e.RotationFailed(REFUSED))

    def roll_back(self, *, automatic: bool) -> Self:
        """Take the rotation back."""
        promoted = self.rotation.promotable
        cause = REFUSED if automatic else None
        self.move(e.RollbackStarted(automatic=automatic, cause=cause, reason="" if automatic else "on a whim"))
        self.move(e.PreviousRestored())
        if promoted:
            self.note(e.CurrentChanged(self.rotation_id, self.rotation.previous, self.rotation.previous_login))
        return self.move(e.RollbackVerified())

    def fail_rollback(self) -> Self:
        """Try to take the rotation back, in vain."""
        return self.move(e.RollbackStarted(automatic=True, cause=REFUSED), e.RollbackFailed(REFUSED))

    def _tick(self) -> Instant:
        self._at = Instant(self._at + SECOND)
        return self._at
