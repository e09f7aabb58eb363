"""What the proofs on real servers share: an installation with one service, worked through the command line.

No tests live here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from engine import rotation as rotations
from engine.credential import Credential, credential_id
from engine.credential import fold as fold_credential
from engine.events import RotationOpened
from engine.facts import Fact
from engine.machine import State
from engine.plan import Strategy
from engine.ports import SecretStore
from engine.rotation import Rotation
from engine.values import CredentialValue
from tests.integration.sites import KEY, SERVICE, InForce, Site

ENVIRONMENT = "production"


@dataclass
class Ended:
    """How calls of the command line ended: exit code (negative: the signal), stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Return the one JSON document on stdout."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


class Driver:
    """A process that runs the command line in forked children (tests/integration/kill_driver.py)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.kill_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def run(self, *calls: dict[str, Any]) -> list[Ended]:
        """Run calls at the same moment; each is `arguments` and what tests/integration/kill_driver.py may do."""
        assert self._process.stdin
        assert self._process.stdout
        files = [(self._folder / f"out-{number}", self._folder / f"err-{number}") for number in range(len(calls))]
        order = [{**call, "out": str(out), "err": str(err)} for call, (out, err) in zip(calls, files, strict=True)]
        for pair in files:
            for file in pair:
                file.write_text("")
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        codes = json.loads(self._process.stdout.readline())
        texts = [(out.read_text(), err.read_text()) for out, err in files]
        return [Ended(code, *text) for code, text in zip(codes, texts, strict=True)]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclass
class Installation:
    """A configuration with one service, its state, its store and the two files it is published to."""

    folder: Path
    site: Site
    driver: Driver
    _kept: InForce = field(default_factory=dict)
    _store: SecretStore | None = None

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "work" / "state"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "work" / "keyturn.yaml"

    def call(self, *arguments: str, **options: object) -> dict[str, Any]:
        """Return a call of the command line on this installation."""
        return {"arguments": ["--config", str(self.config), "--state", str(self.state), *arguments], **options}

    def run(self, *arguments: str, **options: object) -> Ended:
        """Run the command line in a fresh process."""
        return self.driver.run(self.call(*arguments, **options))[0]

    def done(self, *arguments: str) -> Ended:
        """Run the command line, which must succeed."""
        ended = self.run(*arguments)
        assert ended.code == 0, (arguments, ended)
        return ended

    # --- the store, the places and the log, read directly ----------------------------------------------

    @property
    def store(self) -> SecretStore:
        """The store that holds the credential; it reads its file at each call."""
        if self._store is None:
            self._store = Wiring(load(self.config), self.state).held_in(SERVICE)
        return self._store

    def values(self) -> dict[str, CredentialValue]:
        """Return every value that the store holds, by version."""
        store = self.store
        found = {version: store.read(KEY, version) for version in store.versions(KEY).versions}
        return {version: value for version, value in found.items() if value is not None}

    def current(self) -> CredentialValue:
        """Return what the store calls current."""
        value = self.store.read(KEY, "current")
        assert value is not None, "the store calls nothing current"
        return value

    def published(self) -> list[str]:
        """Return what stands at the two places."""
        env = (self.folder / "work" / "app.env").read_text().partition("=")[2].strip().strip("'\"")
        return [env, json.loads((self.folder / "work" / "app.json").read_text())["PASSWORD"]]

    @contextmanager
    def log(self) -> Iterator[SqliteEventLog]:
        """Open the log."""
        with SqliteEventLog(self.state / "events.db", must_exist=True) as log:
            yield log

    def head(self) -> int:
        """Return the last position of the log."""
        with self.log() as log:
            return log.head()

    def facts(self) -> list[Fact]:
        """Return the whole log."""
        with self.log() as log:
            return [recorded.fact for recorded in log.after(0, limit=100_000)]

    def credential(self) -> Credential:
        """Return the credential as the log has it."""
        mine = credential_id(SERVICE, ENVIRONMENT)
        return fold_credential(SERVICE, ENVIRONMENT, [f for f in self.facts() if f.originator_id == mine])

    def rotations(self) -> list[Rotation]:
        """Return all rotations, oldest first."""
        facts = self.facts()
        opened = [fact.body.rotation_id for fact in facts if isinstance(fact.body, RotationOpened)]
        found = [rotations.fold([f for f in facts if f.originator_id == each]) for each in dict.fromkeys(opened)]
        return [each for each in found if each is not None]

    # --- snapshots --------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Remember how everything is, the server included."""
        self._kept = self.site.in_force()
        shutil.copytree(self.folder / "work", self.folder / "kept")

    def put_back(self) -> None:
        """Make everything as it was when it was kept."""
        shutil.rmtree(self.folder / "work")
        shutil.copytree(self.folder / "kept", self.folder / "work")
        self.site.put_back(self._kept)

    # --- what must hold ---------------------------------------------------------------------------------

    def assert_safe(self) -> None:
        """Nothing is lost: what is current works, is published, and nothing else that works is unknown (I1, I2)."""
        values = self.values()
        assert self.site.logs_in(self.current()), "what the store calls current does not log in"
        for login, kept in self.site.in_force().items():
            for each in kept:
                known = self.site.is_known(login, each, list(values.values()))
                assert known, f"the server accepts a value of {login} that the store does not hold"
        text = self.current().revealed()
        assert self.published() == [text, text], "a place does not have the current value"
        current = self.credential().current
        assert current is not None
        assert self.store.versions(KEY).current == current.id, "log and store disagree on what is current"

    def assert_sound(self) -> None:
        """Nothing is lost, and the last rotation is over."""
        self.assert_safe()
        assert self.credential().open is None
        assert self.rotations()[-1].state in (State.COMPLETED, State.ROLLED_BACK), self.rotations()[-1].state


def install(
    folder: Path,
    site: Site,
    driver: Driver,
    *,
    grace: str = "0s",
    settings: str = "",
    verification: str = "attempts: 1",
    template: str = "{{ password }}",
) -> Installation:
    """Make an installation with `init`, with the admin's password in its store; nothing is rotated yet.

    `settings` are further settings of the rotation; `template` is what is published.
    """
    installation = Installation(folder, site, driver)
    installation.config.parent.mkdir(parents=True)
    installation.done("init")
    given = folder / "given"
    given.write_text(site.password)
    service = "".join(f"    {line}\n" for line in site.options().splitlines())
    timing = "" if site.strategy is Strategy.SINGLE else f", grace_period: {grace}"
    installation.config.write_text(
        "version: 1\n"
        "secretStores:\n"
        "  local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}\n"
        "  dotenv: {type: env-file, path: ./app.env}\n"
        "  json: {type: env-file, path: ./app.json}\n"
        "services:\n"
        f"  {SERVICE}:\n"
        f"    environment: {ENVIRONMENT}\n"
        f"{service}"
        f"    publish: [{{store: dotenv, key: PASSWORD, template: '{template}'}}, "
        f"{{store: json, key: PASSWORD, template: '{template}'}}]\n"
        f"    rotation: {{{site.rotation()}{timing}, verification: {{{verification}}}{settings}}}\n"
    )
    installation.done("secret", "put", "local", f"admin/{SERVICE}", "--value-file", str(given))
    given.unlink()
    return installation
