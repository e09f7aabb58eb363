"""Instances that are listed in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.config.build import Wiring
from engine.instances import Discovery, Instance
from tests.unit.config.reading import only, reads, service

LISTED = """
      discovery:
        type: explicit
        instances:
          - {id: web-2, zone: eu-b, endpoint: "http://10.0.0.6:8080", labels: {role: web, tier: "1"}}
          - {id: web-1, canary: true}
      distribution: {type: memory}"""


def listing(text: str) -> str:
    """Return a configuration whose service has this below its `rotation`."""
    return service().replace("rotation: {strategy: dual, }", f"rotation:\n      strategy: dual{text}")


def test_each_is_listed_as_it_is_written(tmp_path: Path) -> None:
    discovery = Wiring(reads(listing(LISTED)), tmp_path).discovery("app")
    assert isinstance(discovery, Discovery)
    assert list(discovery.instances()) == [
        Instance(
            "web-2", zone="eu-b", endpoint="http://10.0.0.6:8080", labels={"role": "web", "tier": "1"}, canary=False
        ),
        Instance("web-1", canary=True),
    ]


@pytest.mark.parametrize(
    ("old", "new", "key", "words"),
    [
        ("id: web-1", "id: web-2", "", "two instances are called 'web-2'"),
        ("id: web-1", "id: ''", ".instances[1].id", "this is empty"),
        ("id: web-1", f"id: {'x' * 254}", ".instances[1].id", "253 characters at most"),
        ("id: web-1, ", "", ".instances[1].id", "this key is missing"),
        ("canary: true", "canari: true", ".instances[1].canari", "there is no such key"),
        ('tier: "1"', "tier: 1", ".instances[0].labels.tier", "a number stands here"),
        ("canary: true", "role: canary", ".instances[1].role", "write it as a label"),
    ],
)
def test_what_is_no_instance_is_refused_at_its_key(old: str, new: str, key: str, words: str) -> None:
    problem = only(listing(LISTED.replace(old, new)))
    assert problem.key == f"services.app.rotation.discovery{key}"
    assert words in problem.message


def test_nobody_may_be_listed(tmp_path: Path) -> None:
    """Whether that is meant is told by `keyturn doctor`."""
    text = service(rotation="discovery: {type: explicit, instances: []}, distribution: {type: memory}")
    discovery = Wiring(reads(text), tmp_path).discovery("app")
    assert discovery is not None
    assert not discovery.instances()
