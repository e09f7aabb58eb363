"""An installation on the rehearsal target, which keeps its logins in a file: for proofs that need no server.

No tests live here. What must hold is read from the log, the store and the target directly.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from adapters.composition import establish
from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.stores.keys import create_key_file
from engine import events as e
from engine import rotation as rotations
from engine.credential import Credential, credential_id
from engine.credential import fold as fold_credential
from engine.facts import Fact
from engine.machine import ENDED, State
from engine.ports import Probe
from engine.rotation import Rotation
from tests.integration.installations import Driver, Ended

SERVICE, ENVIRONMENT = "app", "production"
KEY = f"{ENVIRONMENT}/{SERVICE}"

_CONFIGURATION = """version: 1
secretStores:
  local: {{type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
services:
  app:
    type: memory
    environment: production
    faults: [{faults}]
    credential: {{username: app, store: local, key: production/app}}
    rotation:
      strategy: {strategy}
      {timing}
      verification: {{attempts: 1}}
      rollback: {{{rollback}}}
      retry: {{first: 1ms, longest: 2ms, attempts: 2}}
      attempt_window: 1s
"""


@dataclass
class Rehearsal:
    """A configuration with one service, its state and its store."""

    folder: Path
    driver: Driver
    strategy: str = "dual"
    grace: str = "400ms"

    @property
    def work(self) -> Path:
        """The folder that is kept and put back."""
        return self.folder / "work"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.work / "keyturn.yaml"

    def configure(self, faults: str = "", *, automatic: bool = True) -> None:
        """Write the configuration, with what is wrong with the target."""
        rollback = "max_retries: 0" if automatic else "automatic: false"
        timing = "" if self.strategy == "single" else f"grace_period: {self.grace}"
        written = _CONFIGURATION.format(faults=faults, strategy=self.strategy, timing=timing, rollback=rollback)
        self.config.write_text(written)

    def call(self, *arguments: str, **options: object) -> dict[str, Any]:
        """Return a call of the command line on this installation."""
        shared = ["--config", str(self.config), "--state", str(self.work / "state")]
        return {"arguments": [*shared, *arguments], **options}

    def run(self, *arguments: str, **options: object) -> Ended:
        """Run the command line in a fresh process."""
        return self.driver.run(self.call(*arguments, **options))[0]

    def done(self, *arguments: str) -> Ended:
        """Run the command line, which must succeed."""
        ended = self.run(*arguments)
        assert ended.code == 0, (arguments, ended)
        return ended

    def killed(self, *arguments: str, **where: object) -> None:
        """Run the command line, which must be killed where it is said."""
        ended = self.run(*arguments, **where)
        assert ended.code == -9, (arguments, where, ended)

    def keep(self) -> None:
        """Remember how everything is, the target included: it is a file of the state folder."""
        shutil.copytree(self.work, self.folder / "kept")

    def put_back(self) -> None:
        """Make everything as it was when it was kept."""
        shutil.rmtree(self.work)
        shutil.copytree(self.folder / "kept", self.work)

    def forget(self) -> None:
        """Lose the log and the store; what the target accepts stays as it is."""
        (self.work / "secrets.kt").unlink()
        for file in (self.work / "state").glob("*.db*"):
            file.unlink()
        establish(self.work / "state")

    # --- the log ----------------------------------------------------------------------------------------

    def facts(self) -> list[Fact]:
        """Return the whole log."""
        with SqliteEventLog(self.work / "state" / "events.db", must_exist=True) as log:
            return [recorded.fact for recorded in log.after(0, limit=100_000)]

    def append(self, *facts: Fact) -> None:
        """Append facts, as a process would."""
        with SqliteEventLog(self.work / "state" / "events.db", must_exist=True) as log:
            log.append(facts)

    def credential(self) -> Credential:
        """Return the credential as the log has it."""
        mine = credential_id(SERVICE, ENVIRONMENT)
        return fold_credential(SERVICE, ENVIRONMENT, [f for f in self.facts() if f.originator_id == mine])

    def rotations(self) -> list[Rotation]:
        """Return all rotations, in the order in which they were asked for."""
        facts = [fact for fact in self.facts() if fact.state is not None]
        ids = dict.fromkeys(fact.originator_id for fact in facts)
        found = [rotations.fold([f for f in facts if f.originator_id == each]) for each in ids]
        return [each for each in found if each is not None]

    def states(self) -> list[str]:
        """Return the states of all rotations, in the order in which they were asked for."""
        return [each.state.value for each in self.rotations()]

    # --- what must hold ---------------------------------------------------------------------------------

    def assert_one_at_a_time(self) -> None:
        """Never two open; a request begins once or never, and no rotation ends twice but one that failed."""
        open_now: set[UUID] = set()
        began: Counter[UUID] = Counter()
        queued: UUID | None = None
        for fact in self.facts():
            match fact.body:
                case e.RotationOpened() as body:
                    open_now.add(body.rotation_id)
                    queued = None if queued == body.rotation_id else queued
                case e.RotationQueued() as body:
                    assert queued is None, "two rotations wait at once"
                    assert open_now, "a rotation waits for nothing"
                    queued = body.rotation_id
                case e.RotationClosed() as body:
                    open_now.discard(body.rotation_id)
                    queued = None if queued == body.rotation_id else queued
                case e.RotationStarted():
                    began[fact.originator_id] += 1
                case _:
                    pass
            assert len(open_now) <= 1, "two rotations are open at once"
        assert set(began.values()) <= {1}, "a rotation began twice"

    def assert_sound(self) -> None:
        """Everything is over, log and store agree on what is current, and the target accepts it and nothing unknown."""
        self.assert_one_at_a_time()
        credential = self.credential()
        assert (credential.open, credential.queued) == (None, None)
        assert all(each.state in ENDED for each in self.rotations()), self.states()
        wiring = Wiring(load(self.config), self.work / "state")
        store, target = wiring.held_in(SERVICE), wiring.target(SERVICE)
        held = store.versions(KEY)
        assert credential.current is not None
        assert held.current == credential.current.id
        for version in held.versions:
            value = store.read(KEY, version)
            assert value is not None
            wanted = Probe.ACCEPTED if version == held.current else Probe.REFUSED
            assert target.probe(value).probe is wanted, (
                f"{version} is {target.probe(value).probe}, {held.current} current"
            )
        ended = [each for each in self.rotations() if each.state is not State.CANCELLED]
        assert ended, "nothing was done"


def rehearse(folder: Path, driver: Driver, *, strategy: str = "dual", grace: str = "400ms") -> Rehearsal:
    """Make an installation whose service was rotated once, and keep it so."""
    made = Rehearsal(folder, driver, strategy, grace)
    made.work.mkdir(parents=True)
    made.configure()
    create_key_file(made.work / "master.key")
    establish(made.work / "state")
    made.done("rotate", SERVICE)
    made.keep()
    return made
