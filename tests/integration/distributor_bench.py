"""What the tests of distributors share: one as the configuration builds it, beside a store with a credential.

No test lives here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.stores import encrypted_file
from adapters.stores.keys import create_key_file
from engine.adapter import DistributorAdapter, DistributorContext, Duration, Reference, StoreContext
from engine.instances import Distributor
from engine.ports import SecretStore
from engine.values import SECOND, Microseconds, Secret

HERE = "127.0.0.0/8"
CREDENTIAL = "production/app-db"


def _hook(_: type, raw: Any) -> Any:
    """Read what the configuration reads: a reference has a scheme, a duration none."""
    return Reference.parse(raw) if isinstance(raw, str) and "://" in raw else Duration.parse(raw)


def encrypted(path: str, folder: Path) -> SecretStore:
    """Return an encrypted file in a folder, whose key is beside it."""
    context = StoreContext("local", folder, folder, lambda _: Secret("canary-unused"))
    options = encrypted_file.Options(path=path, key_file="master.key")
    made: SecretStore = encrypted_file.ADAPTER.build(options, context)
    return made


@dataclass
class Bench:
    """A folder with an encrypted file in it, which holds the credential."""

    folder: Path
    stores: dict[str, SecretStore] = field(default_factory=dict)
    """Further stores of the configuration, by name."""

    @cached_property
    def store(self) -> SecretStore:
        """The store of the credential."""
        create_key_file(self.folder / "master.key")
        return encrypted("secrets.kt", self.folder)

    def store_settings(self, key: str = CREDENTIAL) -> dict[str, str]:
        """Return how an application finds a key of the store."""
        assert self.store is not None
        return {"path": str(self.folder / "secrets.kt"), "key_file": str(self.folder / "master.key"), "key": key}

    def distributor(
        self, adapter: DistributorAdapter, secrets: dict[str, str] | None = None, *, timeout: float = 5.0, **given: Any
    ) -> Distributor:
        """Return a distributor as the configuration would build it; `env://NAME` is one of `secrets`."""
        read: Callable[[Reference], Secret] = lambda reference: Secret((secrets or {})[reference.location])
        context = DistributorContext(
            service="app-db",
            environment="production",
            store=lambda name: {"local": self.store, **self.stores}[name],
            credential_store="local",
            credential_path=CREDENTIAL,
            base=self.folder,
            state=self.folder,
            secret=read,
            timeout=Microseconds(round(timeout * SECOND)),
        )
        made: Distributor = adapter.build(msgspec.convert(given, adapter.options, dec_hook=_hook), context)
        return made


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A bench of its own for each test."""
    return Bench(tmp_path)


_AGENT = """#!{python} -IS
import hashlib, hmac, json, os, sys
from pathlib import Path
task, instance = sys.argv[1], sys.argv[2].removeprefix("--instance=")
kept = Path({folder!r}) / f"{{hashlib.sha256(instance.encode('utf-8', 'surrogateescape')).hexdigest()}}.agent"
if instance == "gone":
    print("cannot be reached", file=sys.stderr)
    sys.exit(75)
given = os.environ.get("KEYTURN_CREDENTIAL_FILE")
if task == "hand":
    kept.write_text(Path(given).read_text() if given else sys.stdin.read())
    sys.exit(0)
if not kept.exists():
    sys.exit(1)
held = json.loads(kept.read_text())
if task == "exit-code":
    sys.exit(0 if held == json.loads(Path(given).read_text()) else 1)
challenge = os.environ["KEYTURN_CHALLENGE"]
proof = hmac.new(challenge.encode(), held["password"].encode(), hashlib.sha256).hexdigest()
print(json.dumps({{"version": held["version"], "proof": proof}}))
"""


def agent_program(folder: Path) -> Path:
    """Write a program that hands versions to instances, which are files beside it, and looks what they use."""
    program = folder / "agent"
    program.write_text(_AGENT.format(python=sys.executable, folder=str(folder)), encoding="utf-8")
    program.chmod(0o700)
    return program
