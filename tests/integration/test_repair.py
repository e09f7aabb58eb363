"""`keyturn doctor --repair` on the real thing: what people and backups do to target, store and log is settled."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from signal import SIGKILL

import pytest

from engine.events import VersionAdopted
from engine.facts import Fact
from engine.machine import State
from engine.plan import Strategy
from engine.values import CredentialValue
from tests.integration.installations import Driver, Ended, Installation, install
from tests.integration.redis_bench import run as redis_run
from tests.integration.sites import KEY, SERVICE, InForce, PostgresSite, RedisSite, Site

pytestmark = pytest.mark.slow

STRATEGIES = (Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL, Strategy.ISSUE)
ROTATIONS = 3
PERSON, REFUSED = 5, 6
CHANGED = "canary-changed-by-hand"


@dataclass(frozen=True)
class MemorySite:
    """The rehearsal target of one service, which makes the values itself; read from its file."""

    folder: Path
    strategy: Strategy = Strategy.ISSUE
    password: str = "unused"

    @property
    def file(self) -> Path:
        """Where the accounts are."""
        return self.folder / "work" / "state" / "memory" / f"production.{SERVICE}.json"

    def options(self) -> str:
        """Return the type and the login."""
        return f"type: memory\ncredential: {{username: app, store: local, key: {KEY}}}\n"

    def rotation(self) -> str:
        """Return the strategy."""
        return "strategy: issue"

    def in_force(self) -> InForce:
        """Return what is kept of each value."""
        if not self.file.exists():
            return {}
        logins = json.loads(self.file.read_text())["logins"]
        return {name: tuple(held["mark"] for held in login.get("values", [])) for name, login in logins.items()}

    def put_back(self, kept: InForce) -> None:
        """Have it accept what it accepted once; a value that was made stays as it was."""
        accounts = json.loads(self.file.read_text())
        for name, login in accounts["logins"].items():
            login["values"] = [{"mark": mark} for mark in kept.get(name, ())]
        self.file.write_text(json.dumps(accounts))

    def is_known(self, login: str, kept: str, values: Sequence[CredentialValue]) -> bool:
        """Compute what would be kept of each value."""
        _, salt, digest = kept.split("$")
        mine = (value.revealed().encode() for value in values if value.username == login)
        return any(sha256(bytes.fromhex(salt) + text).hexdigest() == digest for text in mine)

    def logs_in(self, value: CredentialValue) -> bool:
        """Tell whether a value is in force."""
        return any(self.is_known(value.username, mark, [value]) for mark in self.in_force().get(value.username, ()))

    def spoil(self) -> None:
        """Nothing is verified by a query here."""

    def mend(self) -> None:
        """Nothing was spoilt."""


@dataclass(frozen=True)
class Moment:
    """How things were after a rotation."""

    store: bytes
    in_force: InForce
    log: Path


@dataclass
class Scene:
    """An installation with a past, of which every moment was kept: first with nothing rotated, then after each."""

    installation: Installation
    moments: list[Moment]

    def steps(self, *arguments: str) -> tuple[Ended, list[str]]:
        """Repair, or look; return how that ended, and the steps that were done or would be."""
        ended = self.installation.run("doctor", "--repair", "--json", *arguments)
        told = [finding["repair"] for finding in ended.document["findings"] if "repair" in finding]
        assert len(told) == 1, ended
        return ended, told[0]["done"] or [told[0]["step"]]

    @property
    def bytes(self) -> list[object]:
        """What log, store and places are made of, and what the target keeps."""
        work = self.installation.folder / "work"
        files = (
            self.installation.state / "events.db",
            *(work / name for name in ("secrets.kt", "app.env", "app.json")),
        )
        return [*(file.read_bytes() for file in files), self.installation.site.in_force()]


def _moment(installation: Installation, number: int) -> Moment:
    log = installation.folder / f"events-{number}.db"
    with sqlite3.connect(installation.state / "events.db") as source, sqlite3.connect(log) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    return Moment((installation.folder / "work" / "secrets.kt").read_bytes(), installation.site.in_force(), log)


@pytest.fixture
def make_scene(
    tmp_path: Path, drivers: list[Driver], make_site: Callable[[Strategy], Site]
) -> Callable[[Strategy], Scene]:
    """Make a service that was rotated three times, without grace periods."""

    def make(strategy: Strategy) -> Scene:
        site: Site = MemorySite(tmp_path) if strategy is Strategy.ISSUE else make_site(strategy)
        installation = install(tmp_path, site, drivers[0])
        moments = [_moment(installation, 0)]
        for number in range(1, ROTATIONS + 1):
            installation.done("rotate", SERVICE)
            moments.append(_moment(installation, number))
        return Scene(installation, moments)

    return make


# --- what is done past keyturn ---------------------------------------------------------------------------------------


def change_the_password(scene: Scene) -> None:
    """At the target; where it makes the values, what it made is revoked."""
    site, current = scene.installation.site, scene.installation.current()
    if isinstance(site, PostgresSite):
        site.database.run(f"ALTER ROLE {{}} PASSWORD '{CHANGED}'", current.username)
    elif isinstance(site, RedisSite):
        redis_run(site.server, "ACL", "SETUSER", site.user, "resetpass", f">{CHANGED}")
    else:
        site.put_back({})
    assert not site.logs_in(current)


def put_the_target_back(scene: Scene) -> None:
    """It accepts what it accepted before the last rotation."""
    scene.installation.site.put_back(scene.moments[-2].in_force)


def put_the_store_back(scene: Scene) -> None:
    """Its file is that of two rotations ago."""
    (scene.installation.folder / "work" / "secrets.kt").write_bytes(scene.moments[1].store)


def move_the_label(scene: Scene) -> None:
    """The store calls the version before current."""
    store = scene.installation.store
    held = store.versions(KEY)
    assert held.previous
    before = store.read(KEY, held.previous)
    assert before
    store.promote(KEY, held.previous, before, expected=held.current)


def empty_the_store(scene: Scene) -> None:
    """Of the service it holds nothing any more; keyturn's own login is still there."""
    (scene.installation.folder / "work" / "secrets.kt").write_bytes(scene.moments[0].store)


def edit_a_place(scene: Scene) -> None:
    """One of the two files has another value."""
    (scene.installation.folder / "work" / "app.env").write_text(f"PASSWORD={CHANGED}\n")


def put_the_log_back(scene: Scene) -> None:
    """As docs/how-to/back-up-the-state.md says; the copy is of two rotations ago."""
    state = scene.installation.state
    for name in ("events.db-wal", "events.db-shm", "views.db", "views.db-wal", "views.db-shm"):
        (state / name).unlink(missing_ok=True)
    shutil.copyfile(scene.moments[1].log, state / "events.db")
    (state / "events.db").chmod(0o600)


def works(scene: Scene) -> None:
    """What is current logs in, and stands where it is published; log and store agree."""
    installation = scene.installation
    current = installation.current()
    assert installation.site.logs_in(current)
    assert installation.published() == [current.revealed()] * 2
    logged = installation.credential().current
    assert logged is not None
    assert logged.id == installation.store.versions(KEY).current


def is_safe(scene: Scene) -> None:
    """And nothing else is in force that the store does not hold."""
    scene.installation.assert_safe()


AGAIN, GO, FRESH = ["set_again"], ["go_to"], ["rotate"]
DRIFTS: dict[Callable[[Scene], None], list[list[str]]] = {
    change_the_password: [AGAIN, AGAIN, AGAIN, FRESH],
    put_the_target_back: [AGAIN, AGAIN, AGAIN, GO],
    put_the_store_back: [AGAIN, AGAIN, AGAIN, FRESH],
    move_the_label: [GO, GO, GO, GO],
    empty_the_store: [FRESH, FRESH, FRESH, FRESH],
    edit_a_place: [["publish"]] * 4,
    put_the_log_back: [["adopt"]] * 4,
}
"""What is done by hand, and how it is settled where a target is single, alternating, dual, or makes the values."""


def _adopted(facts: Sequence[Fact]) -> list[str]:
    return [fact.body.reason for fact in facts if isinstance(fact.body, VersionAdopted)]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("drift", DRIFTS, ids=lambda drift: drift.__name__)
def test_what_was_done_past_keyturn_is_settled(
    drift: Callable[[Scene], None], strategy: Strategy, make_scene: Callable[[Strategy], Scene]
) -> None:
    """A dry run changes nothing, a repair settles it, a second one finds nothing, and a rotation completes."""
    scene = make_scene(strategy)
    installation, wanted = scene.installation, DRIFTS[drift][STRATEGIES.index(strategy)]
    # A key that the target made is revoked by its own id, which is gone with the store that held it.
    holds = works if strategy is Strategy.ISSUE and drift in (put_the_store_back, empty_the_store) else is_safe
    drift(scene)
    before = scene.bytes
    dry, would = scene.steps("--dry-run")
    assert (dry.code, would) == (0, wanted), dry
    unasked, _ = scene.steps()
    assert unasked.code == REFUSED
    assert "Repeat it with --yes" in unasked.err
    assert installation.run("doctor").code == PERSON
    assert scene.bytes == before, "something was changed before anybody agreed"

    repaired, done = scene.steps("--yes", "--reason", "drill", "--actor", "ada")
    assert (repaired.code, done) == (0, wanted), repaired
    holds(scene)
    assert installation.credential().open is None
    reasons = [rotation.reason for rotation in installation.rotations()] + _adopted(installation.facts())
    assert "doctor --repair: drill" in reasons
    assert [fact.actor for fact in installation.facts()][-1] == "ada"
    settled = scene.bytes
    again, nothing = scene.steps("--yes")
    assert (again.code, nothing, scene.bytes) == (0, ["nothing"], settled), again
    assert installation.done("audit", "verify", "--json").document["ok"]
    installation.done("doctor")
    installation.done("rotate", SERVICE)
    holds(scene)
    assert installation.rotations()[-1].state is State.COMPLETED


def test_a_value_set_by_hand_can_be_set_back_where_setting_the_old_one_fails(
    make_scene: Callable[[Strategy], Scene],
) -> None:
    """What the server shows of it is kept, so that a repair that fails leaves things as they were."""
    scene = make_scene(Strategy.SINGLE)
    installation = scene.installation
    change_the_password(scene)
    installation.site.spoil()
    kept = installation.site.in_force()
    failed, done = scene.steps("--yes")
    assert (failed.code, done) == (PERSON, ["set_again"]), failed
    assert installation.site.in_force() == kept
    assert installation.rotations()[-1].state is State.ROLLED_BACK
    installation.site.mend()
    repaired, done = scene.steps("--yes")
    assert (repaired.code, done) == (0, ["set_again"]), repaired
    installation.assert_safe()


@pytest.mark.parametrize("strategy", [Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL])
@pytest.mark.parametrize("drift", [change_the_password, move_the_label, edit_a_place], ids=lambda drift: drift.__name__)
def test_a_repair_that_is_killed_is_repaired(
    drift: Callable[[Scene], None], strategy: Strategy, make_scene: Callable[[Strategy], Scene]
) -> None:
    """`kill -9` in gaps between two calls; repairing again settles it, whatever the first one left."""
    scene = make_scene(strategy)
    installation = scene.installation
    drift(scene)
    installation.keep()
    trace = installation.folder / "trace"
    repairing = ("doctor", "--repair", "--yes")
    assert installation.run(*repairing, trace=str(trace)).code == 0
    boundaries = [line.partition(" ")[2] for line in trace.read_text().splitlines()]
    writing = [
        number
        for number, name in enumerate(boundaries, 1)
        if name.startswith("after") and name.split(".")[1] in ("append", "apply", "promote", "publish", "retire")
    ]
    assert len(writing) >= 8
    for point in writing[:: max(len(writing) // 8, 1)]:
        installation.put_back()
        killed = installation.run(*repairing, die_at=point)
        assert killed.code == -SIGKILL, (boundaries[point - 1], killed)
        repaired, _ = scene.steps("--yes")
        assert repaired.code == 0, (boundaries[point - 1], repaired)
        print(boundaries[point - 1], _, [(type(f.body).__name__) for f in installation.facts()[-16:]])
        installation.assert_safe()
        assert scene.steps("--yes")[1] == ["nothing"]
        assert installation.done("audit", "verify", "--json").document["ok"]
    installation.done("rotate", SERVICE)
    installation.assert_sound()
