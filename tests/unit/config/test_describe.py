"""What the configuration says about itself: JSON Schema, reference page, effective configuration, starter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.config import describe, schema
from adapters.config.build import Wiring
from adapters.config.convert import structure
from adapters.config.json_schema import json_schema, schema_for
from adapters.config.load import load
from adapters.config.reference import markdown
from adapters.config.refused import REFUSED
from adapters.config.show import effective
from adapters.config.starter import COMMENTED, starter
from adapters.registry import store_adapter, target_adapter
from engine.plan import Strategy
from tests.unit.config.reading import reads, service

SECTIONS = [schema.FileKeys, schema.StoreKeys, schema.ServiceKeys]


def sections(cls: type) -> Iterator[type]:
    """Yield a section and all sections in it."""
    yield cls
    for field in structure(cls).fields:
        for inner in describe.nested(field.type):
            yield from sections(inner)


@pytest.mark.parametrize("section", [each for top in SECTIONS for each in sections(top)])
def test_every_key_is_described(section: type) -> None:
    described = describe.descriptions(section)
    assert {field.name for field in structure(section).fields} == set(described)
    assert all(text.endswith(".") for text in described.values())


def test_the_schema_has_every_key_with_form_default_and_description() -> None:
    service_kinds = json_schema()["properties"]["services"]["additionalProperties"]["oneOf"]
    memory = next(kind for kind in service_kinds if kind["title"] == "memory")
    assert memory["additionalProperties"] is False
    assert {"type", "credential", "rotation"} <= set(memory["required"])
    assert {"environment", "publish", "faults"} <= set(memory["properties"])
    rotation = memory["properties"]["rotation"]
    assert rotation["required"] == ["strategy"]
    assert rotation["properties"]["attempt_window"] == {
        "type": "string",
        "pattern": describe.DURATION_PATTERN,
        "description": rotation["properties"]["attempt_window"]["description"],
        "default": "5s",
    }
    assert rotation["properties"]["keep_versions"]["minimum"] == 3
    assert memory["properties"]["environment"]["pattern"] == "^[a-z0-9][a-z0-9._-]{0,63}$"


def test_the_schema_is_json_of_the_dialect_that_editors_know() -> None:
    made = json.loads(json.dumps(json_schema()))
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    patterns = re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(made))
    assert patterns
    assert not [pattern for pattern in patterns if r"\\A" in pattern or r"\\Z" in pattern]


def test_the_schema_takes_a_reference_in_both_forms(plugin: Path) -> None:
    made = schema_for([store_adapter("drawer")], [target_adapter("widget")], [], [], [], [])
    widget = made["properties"]["services"]["additionalProperties"]["oneOf"][0]
    assert "host" in widget["required"]
    login = widget["properties"]["admin_credentials"]["anyOf"][0]
    text, mapping = login["properties"]["password"]["anyOf"]
    assert re.search(text["pattern"], "store://held/x#username")
    assert not re.search(text["pattern"], "canary-1")
    assert mapping["required"] == ["from"]


def test_the_effective_configuration_writes_defaults_out() -> None:
    shown = effective(reads(service(strategy="overlap", rotation="ttl: 720h")))
    app = shown["services"]["app"]
    assert app["rotation"]["strategy"] == Strategy.DUAL
    assert app["rotation"]["grace_period"] == "1d"
    assert app["rotation"]["ttl"] == "30d"
    assert app["rotation"]["verification"] == {"timeout": "30s", "attempts": 3}
    assert app["environment"] == "default"
    assert app["credential"] == {"username": "app", "store": "held", "key": "default/app"}
    assert app["faults"] == []
    assert shown["secretStores"]["plain"]["path"] == "./app.env"


def test_the_effective_configuration_is_a_configuration() -> None:
    """It can be read again, and is the same then."""
    configuration = reads(service(keys="publish: [{store: other, key: x}]"))
    shown = effective(configuration)
    again = reads(json.dumps(shown))
    assert effective(again) == shown


def test_the_effective_configuration_shows_references_and_no_secret(
    plugin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WIDGET", "canary-token")
    keys = "host: x\n    token: env://WIDGET"
    shown: Any = effective(reads(service(target="widget", strategy="single", keys=keys)))
    assert shown["services"]["app"]["token"] == "env://WIDGET"
    assert "canary-" not in json.dumps(shown)


def test_the_reference_page_has_every_key_every_refusal_and_every_type() -> None:
    page = markdown()
    for top in SECTIONS:
        for section in sections(top):
            for field in structure(section).fields:
                assert f"| `{field.encode_name}` |" in page
    for keys in REFUSED.values():
        for key, reason in keys.items():
            assert f"| `{key}` |" in page
            assert reason.replace("|", "\\|") in page
    for adapter in ("memory", "postgresql", "redis", "mariadb", "mysql", "encrypted-file", "env-file"):
        assert f"type: {adapter}" in page
    assert "None" not in page
    assert "NODEFAULT" not in page


def test_the_starter_runs_as_it_is(tmp_path: Path) -> None:
    """Nothing to put right, nothing to know, a service that can be rotated."""
    (tmp_path / "keyturn.yaml").write_text(starter())
    configuration = load(tmp_path / "keyturn.yaml")
    assert configuration.problems == ()
    wiring = Wiring(configuration, tmp_path / "state")
    plan = wiring.plan_for("rehearsal", wiring.target("rehearsal").capabilities)
    assert plan.strategy is Strategy.DUAL
    assert [place.name for place in wiring.places("rehearsal")] == ["dotenv:REHEARSAL_PASSWORD"]


def test_the_part_of_the_starter_in_comments_is_right_as_well(tmp_path: Path) -> None:
    """With what its lines begin with removed, as it says."""
    lines = [line.replace("  # ", "  ", 1) for line in COMMENTED.splitlines() if line.startswith("  # ")]
    service_lines = lines[next(index for index, line in enumerate(lines) if "app-db:" in line) :]
    (tmp_path / "keyturn.yaml").write_text(starter().replace(COMMENTED, "\n".join(service_lines)))
    found = load(tmp_path / "keyturn.yaml").services["app-db"]
    assert (found.type, found.strategy) == ("postgresql", Strategy.ALTERNATING)


SMALLEST = """\
version: 1
secretStores:
  local: {type: encrypted-file, path: ./secrets.kt, key_file: ./master.key}
  dotenv: {type: env-file, path: ./app.env}
services:
  app-db:
    type: postgresql
    environment: production
    host: db.internal
    port: 5432
    database: app
    tls: verify-full
    admin_credentials: {username: keyturn, password: store://local/admin/app-db}
    credential: {username: app, store: local, key: production/app-db}
    publish:
      - {store: dotenv, key: DATABASE_URL,
         template: "postgresql://{{ username|urlencode }}:{{ password|urlencode }}@{{ host }}/{{ database }}"}
    rotation: {strategy: alternating, usernames: [app_a, app_b], ttl: 30d}
"""


def test_the_smallest_useful_configuration_is_wired(tmp_path: Path) -> None:
    """PostgreSQL with two logins, an encrypted file, and a URL for the application."""
    (tmp_path / "keyturn.yaml").write_text(SMALLEST)
    wiring = Wiring(load(tmp_path / "keyturn.yaml"), tmp_path / "state")
    target = wiring.target("app-db")
    plan = wiring.plan_for("app-db", target.capabilities)
    assert plan.overlap
    assert plan.places == ("dotenv:DATABASE_URL",)
    assert wiring.held_in("app-db").capabilities.versioned


def test_a_redis_with_nodes_is_read() -> None:
    keys = "nodes: ['127.0.0.1:6379']\n    admin_credentials: {username: default, password: env://REDIS}"
    assert reads(service(target="redis", keys=keys)).services["app"].strategy is Strategy.DUAL
