"""Handing out by a key for each instance: every option does what it says, and nothing stale is taken for new."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from adapters.distributors import store
from adapters.stores.memory import MemoryStore
from engine.errors import Rejected, Unavailable
from engine.instances import Distributor, Instance, Usage
from engine.ports import Holdings, SecretStore, StoreCapabilities
from engine.values import CURRENT, CredentialValue, Secret
from tests.contract.distributors import NEW, OLD, VALUES, soon
from tests.integration.distributor_bench import CREDENTIAL, HERE, Bench, bench
from tests.sinks.instance import serving

__all__ = ["bench"]

WEB = Instance("web-1")
KEY = "fleet/web-1"
REPORT = {"allow_http": True, "allow_private": [HERE]}


def made(bench: Bench, **options: Any) -> Distributor:
    """Return a distributor over a store in memory, called `memory`."""
    bench.stores.setdefault("memory", MemoryStore())
    secrets = {"TOKEN": "canary-token"}
    return bench.distributor(store.ADAPTER, secrets, **{"key": "fleet/{instance}", "store": "memory", **options})


def hand(distributor: Distributor, version: str = NEW, instance: Instance = WEB) -> None:
    """Hand a version out."""
    distributor.hand(instance, VALUES[version], version=version, deadline=soon())


def write_back(held: SecretStore, report: dict[str, Any], key: str = "seen/web-1") -> None:
    """Acknowledge, as an instance would."""
    value = CredentialValue("", Secret(json.dumps(report)))
    held.promote(key, f"r{len(held.versions(key).versions)}-{report}", value, expected=held.versions(key).current)


def proof(version: str, challenge: str = "0123456789abcdef") -> dict[str, Any]:
    """Return a report that an instance leaves behind."""
    from adapters.distributors.reports import expected_proof

    return {"version": version, "challenge": challenge, "proof": expected_proof(VALUES[version], challenge)}


def test_key_and_store(bench: Bench) -> None:
    """Each instance has a key of its own in the store that is named, else in that of the credential."""
    hand(made(bench, proof="stored", key="{environment}/{service}/{instance}"))
    assert bench.stores["memory"].read("production/app-db/web-1", CURRENT) == VALUES[NEW]
    hand(made(bench, proof="stored", store=""))
    assert bench.store.read(KEY, CURRENT) == VALUES[NEW]


def test_the_key_of_the_credential_is_never_written(bench: Bench) -> None:
    distributor = made(bench, proof="stored", key="production/{instance}", store="")
    with pytest.raises(Rejected, match="the credential itself"):
        hand(distributor, instance=Instance("app-db"))
    assert bench.store.versions(CREDENTIAL) == Holdings()
    assert distributor.look(Instance("app-db"), VALUES[NEW], version=NEW).usage is Usage.UNKNOWN


@pytest.mark.parametrize("name", ["..", "a/../b", "a//b", "/a", "."])
def test_a_name_that_leads_elsewhere_is_refused(bench: Bench, name: str) -> None:
    with pytest.raises(Rejected, match="id of the instance"):
        hand(made(bench, proof="stored"), instance=Instance(name))


def test_proof_stored_says_that_nothing_more_is_known(bench: Bench) -> None:
    distributor = made(bench, proof="stored")
    hand(distributor)
    assert "not known" in distributor.look(WEB, VALUES[NEW], version=NEW).detail


def test_report(bench: Bench) -> None:
    """It is asked where the options of `report` say, and as they say."""
    with serving() as served:
        served.version, served.password = NEW, VALUES[NEW].revealed()
        auth = {"type": "bearer", "token": "env://TOKEN"}
        distributor = made(bench, report={**REPORT, "path": "/which", "auth": auth})
        assert distributor.look(served.instance, VALUES[NEW], version=NEW).usage is Usage.USED
        (asked,) = served.requests
        assert asked.path.startswith("/which?challenge=")
        assert asked.headers["authorization"] == "Bearer canary-token"
        for lacking in ({"allow_private": [HERE]}, {"allow_http": True}, {**REPORT, "ca_file": "nowhere.pem"}):
            refused = made(bench, report=lacking).look(served.instance, VALUES[NEW], version=NEW)
            assert refused.usage is Usage.UNKNOWN
        assert len(served.requests) == 1


def test_proof_version_takes_the_word_of_an_instance(bench: Bench) -> None:
    seen = {}
    for wanted in ("fingerprint", "version"):
        distributor = made(bench, acknowledge_key="seen/{instance}", proof=wanted)
        write_back(bench.stores["memory"], {"version": NEW})
        seen[wanted] = distributor.look(WEB, VALUES[NEW], version=NEW).usage
    assert seen == {"fingerprint": Usage.UNKNOWN, "version": Usage.USED}


class TestAcknowledgeKey:
    """What an instance writes back counts for the time that it was written for."""

    def test_an_instance_that_never_wrote_uses_nothing(self, bench: Bench) -> None:
        distributor = made(bench, acknowledge_key="seen/{instance}")
        hand(distributor)
        assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.OTHER

    def test_a_proof_needs_a_challenge(self, bench: Bench) -> None:
        distributor = made(bench, acknowledge_key="seen/{instance}")
        for challenge, usage in (("0123456789abcdef", Usage.USED), ("0123456789abcde", Usage.UNKNOWN)):
            write_back(bench.stores["memory"], proof(NEW, challenge))
            assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is usage

    def test_an_acknowledgement_from_before_is_forgotten_when_a_version_comes_back(self, bench: Bench) -> None:
        """The instance may have moved on in between without a word."""
        distributor = made(bench, acknowledge_key="seen/{instance}")
        hand(distributor, OLD)
        write_back(bench.stores["memory"], proof(OLD))
        bench.stores["memory"].promote(KEY, NEW, VALUES[NEW], expected=OLD)
        hand(distributor, OLD)
        assert distributor.look(WEB, VALUES[OLD], version=OLD).usage is Usage.OTHER

    def test_handing_out_the_same_again_forgets_nothing(self, bench: Bench) -> None:
        distributor = made(bench, acknowledge_key="seen/{instance}")
        hand(distributor)
        write_back(bench.stores["memory"], proof(NEW))
        hand(distributor)
        assert distributor.look(WEB, VALUES[NEW], version=NEW).usage is Usage.USED


def test_three_versions_stay_at_the_key_of_an_instance(bench: Bench) -> None:
    """What only repeats the credential does not grow with each rotation."""
    distributor = made(bench, proof="stored")
    for number in range(4):
        distributor.hand(WEB, CredentialValue("app", Secret(f"canary-{number}")), version=f"v{number}", deadline=soon())
    held = bench.stores["memory"].versions(KEY)
    assert held == Holdings(("v1", "v2", "v3"), "v3", None, "v2")


class _Plain(MemoryStore):
    """A store that keeps no versions."""

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(versioned=False, compare_and_set=False, label_switch=False, readable=True)

    def versions(self, path: str) -> Holdings:
        """Say nothing."""
        return Holdings()


def test_a_store_without_versions_holds_a_value(bench: Bench) -> None:
    bench.stores["memory"] = _Plain()
    distributor = made(bench, proof="stored")
    hand(distributor)
    seen = {version: distributor.look(WEB, VALUES[version], version=version).usage for version in VALUES}
    assert seen == {OLD: Usage.OTHER, NEW: Usage.USED}


def test_a_store_that_cannot_be_asked_is_unknown(bench: Bench) -> None:
    class Gone(MemoryStore):
        def read(self, path: str, version: str) -> CredentialValue | None:
            raise Unavailable(what="reading", why="it is away")

    bench.stores["memory"] = Gone()
    for options in ({"proof": "stored"}, {"acknowledge_key": "seen/{instance}"}):
        seen = made(bench, **options).look(WEB, VALUES[NEW], version=NEW)
        assert (seen.usage, seen.detail) == (Usage.UNKNOWN, "it is away")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"key": "fleet/all", "proof": "stored"}, "has no {instance}"),
        ({"key": "{instance}/{host}", "proof": "stored"}, "{host} is not known"),
        ({"acknowledge_key": "seen"}, "has no {instance}"),
        ({"acknowledge_key": "fleet/{instance}"}, "another key"),
        ({}, "`report` or `acknowledge_key`"),
        ({"report": REPORT, "acknowledge_key": "seen/{instance}"}, "one of them"),
        ({"report": REPORT, "proof": "stored"}, "asks nobody"),
        ({"report": {"path": "report"}}, "`path`: it begins with /"),
        ({"label": "web"}, "unknown field"),
    ],
)
def test_what_cannot_be_meant_is_refused(bench: Bench, given: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        made(bench, **given)
