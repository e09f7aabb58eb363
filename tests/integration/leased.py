"""An installation on the rehearsal target with the shortest lease, in one folder that can be copied; no tests here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.targets.memory import MemoryTarget
from engine import rotation as rotations
from engine.events import RotationOpened
from engine.facts import Fact
from engine.plan import Strategy
from engine.rotation import Rotation
from tests.integration.installations import Driver, Ended

SERVICE = "app"
KEY = "production/app"
LEASE_SECONDS = 2.0
"""The shortest lease that a configuration may have."""

_CONFIGURATION = """\
version: 1
lease: {lease:g}s
secretStores:
  local: {{type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}}
  dotenv: {{type: env-file, path: ./app.env}}
  json: {{type: env-file, path: ./app.json}}
services:
  {service}:
    type: memory
    environment: production
    faults: [{faults}]
    credential: {{username: app, store: local, key: {key}}}
    publish: [{{store: dotenv, key: PASSWORD}}, {{store: json, key: PASSWORD}}]
    rotation: {{strategy: {strategy}, attempt_window: 1s, verification: {{attempts: 1}}{grace}}}
"""


@dataclass(frozen=True)
class Leased:
    """A folder with a configuration of one service, its state, its store, two places and the target's own file."""

    folder: Path
    driver: Driver
    strategy: Strategy

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    def configure(self, *, faults: str = "", grace: str = "0s") -> None:
        """Write the configuration."""
        grace = "" if self.strategy is Strategy.SINGLE else f", grace_period: {grace}"
        text = _CONFIGURATION.format(
            lease=LEASE_SECONDS, service=SERVICE, key=KEY, strategy=self.strategy, grace=grace, faults=faults
        )
        (self.folder / "keyturn.yaml").write_text(text)

    def copy(self, folder: Path) -> Leased:
        """Return one that is the same, in another folder."""
        shutil.copytree(self.folder, folder)
        return Leased(folder, self.driver, self.strategy)

    def call(self, *arguments: str, **options: object) -> dict[str, Any]:
        """Return a call of the command line; `options` are what tests/integration/kill_driver.py may do."""
        where = ["--config", str(self.folder / "keyturn.yaml"), "--state", str(self.state)]
        return {"arguments": [*where, *arguments], **options}

    def done(self, *arguments: str) -> Ended:
        """Run the command line, which must succeed."""
        (ended,) = self.driver.run(self.call(*arguments))
        assert ended.code == 0, (arguments, ended)
        return ended

    def outside(self) -> dict[str, str]:
        """Return a digest of every byte of the target, the store and the places."""
        files = [
            *self.state.glob("memory/*.json"),
            *(self.folder / name for name in ("secrets.kt", "app.env", "app.json")),
        ]
        return {file.name: sha256(file.read_bytes()).hexdigest() for file in files}

    def facts(self) -> list[Fact]:
        """Return the whole log."""
        with SqliteEventLog(self.state / "events.db", must_exist=True) as log:
            return [recorded.fact for recorded in log.after(0, limit=10_000)]

    def last(self) -> Rotation:
        """Return the newest rotation."""
        facts = self.facts()
        newest = [fact.body.rotation_id for fact in facts if isinstance(fact.body, RotationOpened)][-1]
        rotation = rotations.fold(fact for fact in facts if fact.originator_id == newest)
        assert rotation is not None
        return rotation

    def assert_sound(self) -> None:
        """What the store calls current works, is at both places, and the target accepts nothing else."""
        wiring = Wiring(load(self.folder / "keyturn.yaml"), self.state)
        store, target = wiring.held_in(SERVICE), wiring.target(SERVICE)
        assert isinstance(target, MemoryTarget)
        current = store.read(KEY, "current")
        assert current is not None, "the store calls nothing current"
        assert target.accepts(current), "the target refuses what the store calls current"
        assert target.strangers([current]) == [], "the target accepts something else as well"
        for place in ("app.env", "app.json"):
            text = (self.folder / place).read_text()
            assert current.revealed() in text, f"{place} does not have the current value"


def leased(folder: Path, driver: Driver, strategy: Strategy) -> Leased:
    """Make one that was rotated twice."""
    folder.mkdir()
    made = Leased(folder, driver, strategy)
    made.done("init")
    made.configure()
    made.done("rotate", SERVICE)
    made.done("rotate", SERVICE)
    return made
