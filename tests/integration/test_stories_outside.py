"""Stories of servers, people and disks that get in the way of a rotation, each told in the simulation as well.

What is done by hand here is done past keyturn, as in adapters/simulation/hands.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
import redis

from adapters.demo import servers
from adapters.simulation.faults import Fault
from adapters.simulation.hands import Hand, act
from adapters.simulation.world import GRACE
from engine.credential import Version
from engine.machine import State
from engine.plan import Strategy
from tests.integration.proxy import Fate, Happened
from tests.integration.redis_bench import run, started
from tests.integration.sites import SERVICE, PostgresSite
from tests.integration.stories import (
    DONE,
    EVERY,
    OVERLAPPING,
    PERSON_NEEDED,
    ROLLED_BACK,
    Begin,
    Story,
    assert_same_end,
    side_by_side,
    simulated,
    simulated_grace,
    simulated_rollback,
)

pytestmark = pytest.mark.slow

THREE_TRIES: Final = ", retry: {attempts: 3, first: 100ms, longest: 200ms}"
ORDINARY_USER: Final = 65_534


# --- Redis ------------------------------------------------------------------------------------------------


@pytest.fixture
def two_nodes() -> Iterator[tuple[servers.RedisServer, servers.RedisServer]]:
    """Two nodes with the same login of ours, each with users of its own."""
    with ExitStack() as stack:
        first = stack.enter_context(started(aclfile=True))
        yield first, stack.enter_context(started(aclfile=True, password=first.password))


def _as_root(node: servers.RedisServer, *words: str) -> None:
    """Run a command as a login that keyturn does not have."""
    with redis.Redis(host=node.host, port=node.port, username="root", password="canary-root") as client:
        client.execute_command(*words)


def test_one_of_two_nodes_refuses_the_change(
    begin: Begin, two_nodes: tuple[servers.RedisServer, servers.RedisServer]
) -> None:
    """One node has the new password and the other may not be changed: nobody is told of it, and it is taken back."""
    first, second = two_nodes
    story = begin(Strategy.DUAL, server=first, others=(second,), settings=THREE_TRIES)
    run(second, "ACL", "SETUSER", "root", "on", ">canary-root", "+@all")
    _as_root(second, "ACL", "SETUSER", "default", "-acl", "+acl|getuser", "+acl|save")
    ended = story.rotate()
    assert ended.code == ROLLED_BACK, ended
    assert "keyturn's login may not ACL SETUSER" in ended.err
    assert "accepted by 1 of 2 nodes" in ended.err, "the first node was never changed"
    simulation = simulated(Strategy.DUAL, *(Fault("target.apply", nth, "partial") for nth in (1, 2, 3)))
    _as_root(second, "ACL", "SETUSER", "default", "+acl")
    assert_same_end(story, simulation)


def _restarting(server: servers.RedisServer) -> Callable[[], None]:
    def restart() -> None:
        server.kill()
        server.restart()

    return restart


def test_a_node_is_killed_after_it_saved_the_change(begin: Begin) -> None:
    """It comes back with the new password, and the rotation goes on as if nothing had been."""
    with started(aclfile=True) as server:
        story = begin(Strategy.DUAL, server=server)
        story.proxy.plan(b"SAVE", Fate.HOLD_ANSWER, nth=2, then=_restarting(server))  # the first is to see that it can
        ended = story.rotate()
        story.happened(Happened(b"SAVE", Fate.HOLD_ANSWER))
        assert ended.code == DONE, ended
        assert_same_end(story, simulated(Strategy.DUAL))


def test_a_node_is_killed_between_the_change_and_its_saving(begin: Begin) -> None:
    """It comes back without the new password, which a login tells; it is set again, and saved."""
    with started(aclfile=True) as server:
        story = begin(Strategy.DUAL, server=server)
        story.proxy.plan(b"SAVE", Fate.LOSE_REQUEST, nth=2, then=_restarting(server))
        ended = story.rotate()
        story.happened(Happened(b"SAVE", Fate.LOSE_REQUEST))
        assert ended.code == DONE, ended
        assert_same_end(story, simulated(Strategy.DUAL, Fault("target.apply", 1, "lost")))


def test_a_node_that_saves_nothing_forgets_the_change(begin: Begin) -> None:
    """With `persist: none` a restart loses what was acknowledged; the verification finds out, and it goes back."""
    with started(aclfile=True) as server:
        story = begin(Strategy.DUAL, server=server, options="persist: none\n", verification="attempts: 3")
        run(server, "ACL", "SAVE")  # by hand: the password before is in the file of the node
        story.proxy.plan(b"SETUSER", Fate.HOLD_ANSWER, then=_restarting(server))
        ended = story.rotate()
        story.happened(Happened(b"SETUSER", Fate.HOLD_ANSWER))
        assert ended.code == ROLLED_BACK, ended
        assert "the target refuses the new version" in ended.err
        assert_same_end(story, simulated(Strategy.DUAL, Fault("target.apply", 1, "forgotten")))


# --- people -----------------------------------------------------------------------------------------------


def _set_by_hand(story: Story, username: str, password: str) -> None:
    site = story.installation.site
    assert isinstance(site, PostgresSite)
    site.database.run(f"ALTER ROLE {{}} PASSWORD '{password}'", username)


def _assert_told(story: Story) -> None:
    """The doctor says that the current version does not work, and what settles it."""
    looked = story.run("doctor")
    assert looked.code == PERSON_NEEDED, looked
    assert "the target refuses" in looked.out
    assert f"keyturn doctor --repair {SERVICE} settles it" in looked.out


def _changed_by_hand(begin: Begin) -> Story:
    """In the grace period of a rotation, somebody sets another password where the current version was in force."""
    story = begin(Strategy.ALTERNATING, grace="1h", settings=THREE_TRIES)
    assert story.rotate().code == DONE
    assert story.rotation().state is State.GRACE
    current = story.installation.current()
    _set_by_hand(story, current.username, "canary-by-hand")
    assert not story.installation.site.logs_in(current)
    _assert_told(story)
    return story


def test_a_password_is_changed_by_hand_in_the_grace_period(begin: Begin) -> None:
    """The old one may be the last that works, so it stays; put right by hand, the rotation completes."""
    story = _changed_by_hand(begin)
    refused = story.run("retire", SERVICE)
    assert refused.code == PERSON_NEEDED, refused
    assert "proving that the current version is accepted" in refused.err
    assert story.works(story.old)
    _assert_told(story)
    shown = story.run("secret", "get", SERVICE, "--reveal", "--json").document
    _set_by_hand(story, shown["username"], shown["password"])
    ended = story.run("resume")
    assert ended.code == DONE, ended
    simulation = simulated_grace(Strategy.ALTERNATING)
    act(simulation, Hand.CHANGE)
    simulation.clock.wait(GRACE)
    assert simulation.rotate().state is State.COMPLETED
    assert_same_end(story, simulation)


def test_a_password_is_changed_by_hand_and_the_rotation_taken_back(begin: Begin) -> None:
    """Consumers go back to what works; what was set by hand is nobody's to take away until the next rotation."""
    story = _changed_by_hand(begin)
    ended = story.run("rollback", SERVICE, "--yes")
    assert ended.code == DONE, ended
    simulation = simulated_grace(Strategy.ALTERNATING)
    act(simulation, Hand.CHANGE)
    simulated_rollback(simulation)
    assert_same_end(story, simulation, by_hand=True)


def test_the_server_is_restored_from_a_backup_in_the_grace_period(begin: Begin) -> None:
    """It knows the old password and not the new one: the look says so, and going back is one command."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy, grace="1h")
        backup = story.installation.site.in_force()
        assert story.rotate().code == DONE
        story.installation.site.put_back(backup)
        _assert_told(story)
        ended = story.run("rollback", SERVICE, "--yes")
        assert ended.code == DONE, ended
        simulation = simulated_grace(strategy)
        act(simulation, Hand.RESTORE_TARGET)
        simulated_rollback(simulation)
        assert_same_end(story, simulation)

    side_by_side(OVERLAPPING, tell)


def test_the_server_is_restored_from_a_backup_after_the_rotation(begin: Begin) -> None:
    """In place there is no grace period: nobody can log in until the store goes back as well, by one command."""
    story = begin(Strategy.SINGLE)
    backup = story.installation.site.in_force()
    assert story.rotate().code == DONE
    story.installation.site.put_back(backup)
    _assert_told(story)
    ended = story.run("rollback", SERVICE, "--yes")
    assert ended.code == DONE, ended
    simulation = simulated(Strategy.SINGLE)
    simulation.touched = True
    act(simulation, Hand.RESTORE_TARGET)
    simulation.rotate(to=Version("v0-initial", "app"))
    assert_same_end(story, simulation)


# --- disks ------------------------------------------------------------------------------------------------


def test_the_disk_is_full_while_the_new_version_is_promoted(begin: Begin) -> None:
    """No store can be written: the server goes back, the store cannot yet, and a person is told (exit 5)."""

    def tell(strategy: Strategy) -> None:
        story = begin(strategy, settings=f"{THREE_TRIES}, rollback: {{max_retries: 1}}")
        ended = story.rotate(no_room_from="before store.promote")
        assert ended.code == PERSON_NEEDED, ended
        assert "File too large" in ended.err, "what the kernel says where a file may not grow"
        assert story.rotation().state is State.ROLLBACK_FAILED
        assert story.works(story.old)
        story.installation.assert_safe()
        retried = story.run("retry", SERVICE)
        assert retried.code == DONE, retried
        full = (Fault("store.promote", nth, "error_before") for nth in range(1, 9))
        assert_same_end(story, simulated(strategy, *full))

    side_by_side(EVERY, tell)


def _give(folder: Path, user: int) -> None:
    """Have everything belong to a user; an ordinary one owns it already, and may give nothing away."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user)


def test_the_store_becomes_read_only_while_the_new_version_is_promoted(begin: Begin, folder: Path) -> None:
    """Trying again would not help, so a person is called at once; once it is writable, `keyturn retry` goes back."""
    story = begin(Strategy.ALTERNATING, folder=folder)
    work = story.installation.config.parent
    _give(story.installation.folder, ORDINARY_USER)
    story.proxy.plan(b"FROM gate", Fate.PASS, then=lambda: work.chmod(0o500))
    ended = story.rotate(user=ORDINARY_USER)
    story.happened(Happened(b"FROM gate", Fate.PASS))
    work.chmod(0o700)
    _give(story.installation.folder, os.geteuid())
    assert ended.code == PERSON_NEEDED, ended
    assert "Permission denied" in ended.err
    assert story.works(story.old)
    story.installation.assert_safe()
    retried = story.run("retry", SERVICE)
    assert retried.code == DONE, retried
    refused = (Fault("store.promote", 1, "rejected"), Fault("store.discard", 1, "rejected"))
    assert_same_end(story, simulated(Strategy.ALTERNATING, *refused))
