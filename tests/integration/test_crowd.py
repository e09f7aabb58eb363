"""Eight processes, two hundred services, somebody who kills and stops them for half a minute; then `keyturn resume`.

Every service has its target and its store, all share one log. A lease is 2 s, and most stops are longer than that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from adapters.composition import establish
from adapters.config.build import Wiring
from adapters.config.load import load
from adapters.event_store.sqlite import SqliteEventLog
from adapters.stores.keys import create_key_file
from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_accounts import Held
from engine import credential as credentials
from engine import events as e
from engine.credential import Credential, credential_id
from engine.facts import Fact
from engine.machine import ENDED
from engine.plan import Strategy
from engine.values import SECOND, CredentialValue
from tests.architecture.source import ROOT
from tests.integration.crowd import digest

pytestmark = pytest.mark.slow

SEED = os.environ.get("KEYTURN_CROWD_SEED", "crowd")
PROCESSES, SERVICES, SECONDS = 8, 200, 30.0
STRATEGIES = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
SETTINGS = "keep_versions: 1000, retry: {first: 10ms, longest: 100ms}"
ENVIRONMENT, KEY = "default", "default/app"


def _configuration() -> str:
    lines = ["version: 1", "lease: 2s", "secretStores:"]
    lines += [
        f"  store-{number}: {{type: encrypted-file, path: ./stores/{number}.kt, key_file: ./master.key}}"
        for number in range(SERVICES)
    ]
    lines.append("services:")
    for number in range(SERVICES):
        strategy = STRATEGIES[number % len(STRATEGIES)]
        logins = ", usernames: [app_a, app_b]" if strategy is Strategy.ALTERNATING else ""
        grace = "" if strategy is Strategy.SINGLE else ", grace_period: 0s"
        window = "1s" if number % 3 else "3s"  # Shorter than the lease, and longer.
        lines += [
            f"  app-{number}:",
            "    type: memory",
            f"    credential: {{username: app, store: store-{number}, key: {KEY}}}",
            "    rotation:",
            f"      {{strategy: {strategy}{logins}{grace}, attempt_window: {window}, {SETTINGS}}}",
        ]
    return "\n".join(lines) + "\n"


@dataclass
class Aftermath:
    """What a crowd left behind, read without it."""

    folder: Path
    facts: list[Fact]
    wiring: Wiring
    seen: list[dict[str, Any]]

    def of(self, aggregate: UUID) -> list[Fact]:
        """Return the facts of a rotation or a credential."""
        return [fact for fact in self.facts if fact.originator_id == aggregate]

    @property
    def rotations(self) -> set[UUID]:
        """The rotations that began."""
        return {fact.originator_id for fact in self.facts if isinstance(fact.body, e.RotationStarted)}

    def changes(self, service: str) -> list[list[list[str]]]:
        """Return login, mark and tag of what came into force at a target, change by change.

        A change is noted before it is made. One that was not, because the process died in between, is not what the
        next one found.
        """
        journal = self.folder / "journals" / f"{service}.jsonl"
        if not journal.exists():
            return []
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        with self.target(service)._keeping.opened() as accounts:
            now = digest(accounts)
        following = [line["before"] for line in lines[1:]] + [now]
        return [line["came"] for line, found in zip(lines, following, strict=True) if line["after"] == found]

    def target(self, service: str) -> MemoryTarget:
        """Return the target of a service."""
        target = self.wiring.target(service)
        assert isinstance(target, MemoryTarget)
        return target

    def values(self, service: str) -> dict[str, CredentialValue]:
        """Return every value that the store of a service holds, by version."""
        store = self.wiring.held_in(service)
        found = {version: store.read(KEY, version) for version in store.versions(KEY).versions}
        return {version: value for version, value in found.items() if value is not None}


def in_folder(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tests/integration/crowd.py."""
    command = [sys.executable, "-m", "tests.integration.crowd", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS + 90)


def read(folder: Path) -> Aftermath:
    """Read what is there now."""
    with SqliteEventLog(folder / "state" / "events.db", must_exist=True) as log:
        verdict = log.verify()
        assert verdict.ok, f"event {verdict.first_bad_position} is {verdict.reason}"
        facts = [recorded.fact for recorded in log.after(0, limit=10_000_000)]
    seen = [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]
    return Aftermath(folder, facts, Wiring(load(folder / "keyturn.yaml"), folder / "state"), seen)


def assert_nobody_at_work_was_taken_over(after: Aftermath) -> Counter[str]:
    """Whoever had a rotation when another one took it over was dead, or had stood still for a lease; count which.

    Nobody has one yet whose start alone is recorded: another process may resume it before it is held.
    """
    fates: dict[str, list[tuple[str, int]]] = {}
    for line in (after.folder / "fates.jsonl").read_text().splitlines():
        fate = json.loads(line)
        fates.setdefault(str(fate["pid"]), []).append((fate["signal"], fate["at"]))
    counted: Counter[str] = Counter()
    for rotation in after.rotations:
        owner = ""
        for fact in after.of(rotation):
            if isinstance(fact.body, e.OwnerChanged) and fact.originator_version > 2:
                before = [fate for fate in fates.get(owner.split(":")[1], []) if fate[1] <= fact.at]
                counted[_fate(before, fact.at, owner)] += 1
            if isinstance(fact.body, e.OwnerChanged | e.RotationStarted):
                owner = fact.body.owner
    return counted


def _fate(before: list[tuple[str, int]], at: int, owner: str) -> str:
    """Return what had become of an owner: it is dead, or was stopped for a lease not long before.

    Not right before: whoever took over may itself have been stopped until it could record that it did.
    """
    if any(signal == "SIGKILL" for signal, _ in before):
        return "dead"
    stopped = 0
    for signal, moment in [*before, ("SIGCONT", at)]:
        if signal == "SIGSTOP":
            stopped = moment
        # The last renewal may be a quarter of the lease before the stop.
        elif stopped and moment - stopped >= 1.4 * SECOND and at - moment < 15 * SECOND:
            return "stopped"
    raise AssertionError(f"{owner} was taken over while it was at work: {before}, {at}")


def assert_each_ended_once(after: Aftermath) -> None:
    """Every rotation that began is over, and was over once."""
    for rotation in after.rotations:
        ends = [fact for fact in after.of(rotation) if fact.state in ENDED and isinstance(fact.body, e.StateChange)]
        assert len(ends) == 1, f"{rotation} ended {len(ends)} times"
        assert after.of(rotation)[-1] is ends[0], f"{rotation} goes on behind its end"


def assert_never_two_open(facts: list[Fact], service: str) -> Credential:
    """No rotation of a credential was opened while another was; return how the credential stands."""
    credential = Credential(credential_id(service, ENVIRONMENT), service, ENVIRONMENT)
    for fact in facts:
        if isinstance(fact.body, e.RotationOpened):
            assert credential.open is None, f"{service} had two open rotations at {fact.body.rotation_id}"
        credential = credentials.evolve(credential, fact)
    assert credential.open is None, f"{service} has an open rotation"
    return credential


def assert_works(after: Aftermath, credential: Credential) -> None:
    """What is current works, what was retired is refused, and the target accepts nothing that no store holds."""
    service = credential.service
    target, values = after.target(service), after.values(service)
    if credential.current is None:
        return
    store = after.wiring.held_in(service)
    assert store.versions(KEY).current == credential.current.id, f"{service}: log and store disagree"
    assert target.accepts(values[credential.current.id]), f"{service}: what is current is refused"
    retired = {fact.body.version for fact in after.of(credential.id) if isinstance(fact.body, e.VersionRetired)}
    for version in retired - {credential.current.id}:
        assert not target.accepts(values[version]), f"{service}: {version} was retired and is accepted"
    assert target.strangers(values.values()) == [], f"{service}: the target accepts what no store holds"


def applied(after: Aftermath, service: str) -> Counter[str]:
    """Return how often each version came into force by being applied (tags of attempts), not by being set back."""
    values = after.values(service)
    counted: Counter[str] = Counter()
    for came in after.changes(service):
        for login, mark, tag in came:
            if "-a" in tag:
                counted.update(
                    version
                    for version, value in values.items()
                    if value.username == login and Held(mark).opens_with(value.revealed())
                )
    return counted


def test_a_crowd_that_is_killed_and_stopped_leaves_everything_in_order(tmp_path: Path) -> None:
    """Every rotation ends exactly once, no value is applied twice, and whoever was taken over did nothing more."""
    (tmp_path / "keyturn.yaml").write_text(_configuration())
    create_key_file(tmp_path / "master.key")
    establish(tmp_path / "state")
    done = in_folder(tmp_path, SEED, str(PROCESSES), str(SECONDS))
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    first = in_folder(tmp_path)
    head = len(read(tmp_path).facts)
    second = in_folder(tmp_path)
    after = read(tmp_path)

    ended = Counter(line["ended"] for line in after.seen if "ended" in line)
    refused = sum("refused" in line for line in after.seen)
    taken = sum(isinstance(fact.body, e.OwnerChanged) for fact in after.facts)
    print(f"seed {SEED!r}: {json.dumps(counts)}; rotations {len(after.rotations)}, facts {len(after.facts)}")
    fates = assert_nobody_at_work_was_taken_over(after)
    print(f"owners changed {taken}: of {dict(fates)}; noticed by {ended['fenced']}, appends refused {refused}")
    causes = [fact.body.cause for fact in after.facts if isinstance(fact.body, e.RotationFailed | e.RollbackStarted)]
    print(f"went wrong: {[(cause.step, cause.message) for cause in causes if cause]}")
    print(f"outcomes {dict(ended)}; unexpected {[line for line in after.seen if 'unexpected' in line][:5]}")

    assert first.returncode == 0, first.stderr
    assert second.returncode == 0, second.stderr
    assert len(after.facts) == head, "a second resume appended"
    assert_each_ended_once(after)
    double: dict[str, int] = {}
    for service in after.wiring.configuration.services:
        credential = assert_never_two_open(after.of(credential_id(service, ENVIRONMENT)), service)
        assert_works(after, credential)
        double |= {f"{service} {version}": n for version, n in applied(after, service).items() if n > 1}
    assert not double, f"applied more than once: {double}"
    assert counts["killed"] > 0
    assert fates["dead"] > 0, "nothing was taken over from the dead, so that nothing was shown"
    assert fates["stopped"] > 0, "nothing was taken over from the stopped, so that nothing was shown"
    assert ended["fenced"] > 0, "no stopped process was taken over, so that nothing was shown"
    assert refused > 0, "no append of one that was taken over was refused, so that nothing was shown"
