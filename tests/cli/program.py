"""Runs the program as a user does, in a folder of its own, and keeps what it printed to search it for secrets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.stores.keys import create_key_file
from tests.architecture.source import ROOT
from tests.cli.forking import Forking

SERVICE = """
  {name}:
    type: memory
    faults: [{faults}]
    credential: {{username: app, store: local, key: default/{name}}}
    publish: [{{store: dotenv, key: {variable}}}]
    rotation:
      strategy: {strategy}
      ttl: {ttl}
      verification: {{attempts: 1}}
      rollback: {{max_retries: 0}}
      retry: {{first: 1ms, longest: 2ms, attempts: 2}}
      attempt_window: {window}
{more}"""

HEAD = """version: 1
secretStores:
  local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}
  dotenv: {type: env-file, path: ./app.env}
services:"""


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def document(self) -> dict[str, Any]:
        """The only JSON document on stdout."""
        (only,) = self.documents
        return only

    def refused(self, code: int, *parts: str) -> None:
        """Assert that it failed with a code, in three lines at most, with each part among them."""
        assert self.code == code, self
        errors = self.err[self.err.rindex("keyturn: ") :].splitlines()
        assert 1 <= len(errors) <= 3, self
        for part in parts:
            assert part in self.err, self


@dataclass
class Folder:
    """A folder with a configuration, a key and a state."""

    path: Path
    forking: Forking
    printed: list[str] = field(default_factory=list)

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.path / "state"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.path / "keyturn.yaml"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment that the program is run in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KEYTURN_", "NO_COLOR"))}
        return {**kept, "PYTHONPATH": str(ROOT), "KEYTURN_STATE": str(self.state), "HOME": str(self.path), **more}

    def configure(
        self,
        *names: str,
        strategy: str = "dual",
        faults: str = "",
        ttl: str = "30d",
        window: str = "1s",
        more: str = "",
    ) -> None:
        """Write a configuration with services of the rehearsal target."""
        services = [
            SERVICE.format(
                name=name,
                variable=name.upper().replace("-", "_"),
                strategy=strategy,
                faults=faults,
                ttl=ttl,
                window=window,
                more=more,
            )
            for name in names
        ]
        self.config.write_text(HEAD + "".join(services))

    def command(self, *arguments: str) -> list[str]:
        """Return the command that runs the program."""
        return [sys.executable, "-m", "adapters.cli.main", *arguments]

    def run(self, *arguments: str, stdin: str | None = None, **environment: str) -> Done:
        """Run the program to its end, without a terminal."""
        full = self.environment(**environment)
        if "PYTHONPATH" in environment:
            done = self._fresh(arguments, full, stdin or "")
        else:
            done = Done(*self.forking.run(arguments, self.path, full, stdin or ""))
        assert "Traceback" not in done.out + done.err, done.err
        if "--reveal" not in arguments and "exec" not in arguments:
            self.printed += [done.out, done.err]
        return done

    def _fresh(self, arguments: Sequence[str], environment: Mapping[str, str], stdin: str) -> Done:
        """Run the program in an interpreter that has nothing loaded yet."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, stdin: str | None = None) -> Done:
        """Run the program, which must succeed."""
        done = self.run(*arguments, stdin=stdin)
        assert done.code == 0, done
        return done

    def settled(self, name: str) -> dict[str, Any]:
        """Rotate a service for the first time and return the rotation: from here on an old version has a grace period.

        The first has none: there is no value that anybody could be using.
        """
        first = self.ok("rotate", name, "--json").document
        assert first["state"] == "completed", first
        return first

    def wiring(self) -> Wiring:
        """Return the stores and targets, to look at them past the program."""
        return Wiring(load(self.config), self.state)

    def secrets(self) -> set[str]:
        """Return every value that the store holds for the services."""
        wiring, found = self.wiring(), set()
        for service in wiring.configuration.services.values():
            store, key = wiring.held_in(service.name), service.credential.key
            for version in store.versions(key).versions:
                value = store.read(key, version)
                assert value is not None
                found.add(value.revealed())
        return found

    def head(self) -> int:
        """Return how many events the log holds."""
        events: int = self.ok("audit", "verify", "--json").document["events"]
        return events


def make(path: Path, forking: Forking) -> Folder:
    """Make a folder with a key and one service, `app-db`, and an empty state."""
    folder = Folder(path, forking)
    folder.configure("app-db")
    create_key_file(path / "master.key")
    from adapters.composition import establish

    establish(folder.state)
    return folder
