"""Which secrets are looked for in a message: what the stores hold of a service, and what its options refer to."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.config.build import Wiring
from adapters.config.load import parse
from adapters.outbox.secrets import Secrets
from engine.values import CredentialValue, Secret

CONFIGURATION = """
version: 1
secretStores:
  held: {type: memory}
  broken: {type: encrypted-file, path: ./nowhere/secrets.kt, key_file: ./nowhere/master.key}
services:
  app:
    type: redis
    host: localhost
    admin_credentials: {username: admin, password: "file://FOLDER/admin"}
    credential: {username: app, store: held, key: default/app}
    rotation: {strategy: dual}
  lost:
    type: memory
    credential: {username: app, store: broken, key: default/lost}
    rotation: {strategy: dual}
"""


@pytest.fixture
def wiring(tmp_path: Path) -> Wiring:
    (tmp_path / "admin").write_text("canary-admin")
    (tmp_path / "admin").chmod(0o600)
    text = CONFIGURATION.replace("FOLDER", str(tmp_path))
    configuration = parse(text.encode(), path=tmp_path / "keyturn.yaml", shown="keyturn.yaml")
    made = Wiring(configuration, tmp_path / "state")
    store = made.store("held")
    before = None
    for version in ("v1", "v2", "v3"):
        value = CredentialValue("app", Secret(f"canary-{version}"))
        store.stage("default/app", version, value)
        if version != "v3":
            store.promote("default/app", version, value, expected=before)
            before = version
    return made


def known(wiring: Wiring, service: str) -> dict[str, str]:
    return {secret.reveal(): name for name, secret in Secrets(wiring).known(service)()}


def test_the_live_the_pending_and_the_previous_value_are_known(wiring: Wiring) -> None:
    found = known(wiring, "app")
    assert found["canary-v2"] == "the current value of app (default)"
    assert found["canary-v3"] == "the pending value of app (default)"
    assert found["canary-v1"] == "the previous value of app (default)"


def test_what_its_options_refer_to_is_known_by_the_reference(wiring: Wiring, tmp_path: Path) -> None:
    assert known(wiring, "app")["canary-admin"] == f"file://{tmp_path}/admin of app (default)"


def test_what_cannot_be_read_is_passed_over(wiring: Wiring, tmp_path: Path) -> None:
    """A message that tells of a store which is gone must not wait for it."""
    (tmp_path / "admin").unlink()
    assert set(known(wiring, "app")) == {"canary-v1", "canary-v2", "canary-v3"}
    assert known(wiring, "lost") == {}


def test_of_a_service_that_is_configured_no_more_nothing_is_known(wiring: Wiring) -> None:
    assert known(wiring, "gone") == {}


def test_a_value_that_was_made_since_is_known(wiring: Wiring) -> None:
    """They are looked up for every message."""
    secrets = Secrets(wiring).known("app")
    wiring.store("held").stage("default/app", "v4", CredentialValue("app", Secret("canary-v4")))
    assert "canary-v4" in {secret.reveal() for _, secret in secrets()}
