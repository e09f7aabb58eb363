"""Redis for real: nodes that die, restart and disagree."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest

from adapters.demo import servers
from engine.errors import Rejected, Unavailable, Uncertain
from engine.ports import Probe, Verification
from engine.values import SECOND, CredentialValue, Form, Instant, Secret
from tests.contract.target_bench import canary, far
from tests.integration.redis_bench import digests, logs_in, run, started, target_on, value, wall

pytestmark = pytest.mark.slow


@pytest.fixture
def node() -> Iterator[servers.RedisServer]:
    """A node that keeps its users in an ACL file."""
    with started(aclfile=True) as server:
        yield server


@pytest.fixture
def other(node: servers.RedisServer) -> Iterator[servers.RedisServer]:
    """A second node, with the same admin password."""
    with started(aclfile=True, password=node.password) as server:
        yield server


# --- nodes -------------------------------------------------------------------------------------------


def test_a_password_is_on_every_node_and_goes_from_every_node(
    node: servers.RedisServer, other: servers.RedisServer
) -> None:
    """A consumer of either node logs in with both passwords during the overlap, and with one afterwards."""
    here = target_on(node, other, admin=node.password)
    old, new = value(), value()
    for given in (old, new):
        here.apply(given, tag="tag", deadline=far())
    assert all(logs_in(each, given) for each in (node, other) for given in (old, new))
    here.retire(old, keep=new, tag="tag", deadline=far())
    assert [logs_in(each, given) for each in (node, other) for given in (old, new)] == [False, True] * 2


def test_a_node_out_of_reach_leaves_the_others_as_they_are(
    node: servers.RedisServer, other: servers.RedisServer
) -> None:
    """Every node is looked at before the first is changed."""
    here = target_on(node, other, admin=node.password)
    old = here.apply(value(), tag="tag", deadline=far())
    before = digests(node)
    other.kill()
    for change in (
        lambda: here.apply(value(), tag="tag", deadline=far()),
        lambda: here.retire(None, keep=old, tag="tag", deadline=far()),
        lambda: here.restore(value(), candidate=old, tag="tag", deadline=far()),
    ):
        with pytest.raises(Unavailable, match=str(other.port)) as caught:
            change()
        assert caught.value.why == "Connection refused"
    assert digests(node) == before
    assert here.probe(old).probe is Probe.UNKNOWN


def test_a_node_killed_midway_is_uncertain_and_repeating_finishes_it(
    node: servers.RedisServer, other: servers.RedisServer
) -> None:
    """Half done is never "done" nor "not done": nodes that disagree are unknown until it is repeated."""
    looks = 0

    def now() -> Instant:
        nonlocal looks
        looks += 1
        if looks == 3:  # on entering, before the first node, before the second
            other.kill()
        return wall()

    wanted = value()
    with pytest.raises(Uncertain, match=str(other.port)):
        target_on(node, other, admin=node.password, now=now).apply(wanted, tag="tag", deadline=far())
    assert digests(node) == [sha256(wanted.revealed().encode()).hexdigest()]
    here = target_on(node, other, admin=node.password)
    assert here.probe(wanted).probe is Probe.UNKNOWN
    other.restart()
    seen = here.probe(wanted)
    assert (seen.probe, seen.detail) == (Probe.UNKNOWN, f"accepted by 1 of 2 nodes; 127.0.0.1:{other.port}: refused")
    assert here.verify(wanted, control=canary()).candidate is Probe.UNKNOWN
    here.apply(wanted, tag="tag", deadline=far())
    assert here.probe(wanted).probe is Probe.ACCEPTED


def test_what_is_half_done_can_be_taken_back(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """A rollback takes the candidate from the nodes that have it, and gives the previous to those that lack it."""
    here = target_on(node, other, admin=node.password)
    previous = here.apply(value(), tag="tag", deadline=far())
    candidate = target_on(node, admin=node.password).apply(value(), tag="tag", deadline=far())
    run(other, "ACL", "SETUSER", "app", "resetpass")
    here.restore(previous, candidate=candidate, tag="tag", deadline=far())
    assert here.probe(previous).probe is Probe.ACCEPTED
    assert here.probe(candidate).probe is Probe.REFUSED


def test_nothing_is_begun_that_may_be_under_way_at_the_deadline(
    node: servers.RedisServer, other: servers.RedisServer
) -> None:
    """Less time than one command may take is too little; once begun, the rest is uncertain."""
    here = target_on(node, other, admin=node.password)
    with pytest.raises(Unavailable, match="too little time"):
        here.apply(value(), tag="tag", deadline=Instant(wall() + SECOND))
    assert digests(node) == []
    times = iter([0, 0, 4 * SECOND])
    late = target_on(node, other, admin=node.password, now=lambda: Instant(next(times)))
    with pytest.raises(Uncertain, match="no time left"):
        late.apply(value(), tag="tag", deadline=Instant(5 * SECOND))
    assert (len(digests(node)), len(digests(other))) == (1, 0)


def test_nothing_is_removed_where_a_node_lacks_the_password_to_keep(
    node: servers.RedisServer, other: servers.RedisServer
) -> None:
    """One node that missed the new password would be left with none that works."""
    both = target_on(node, other, admin=node.password)
    old = both.apply(value(), tag="tag", deadline=far())
    new = target_on(node, admin=node.password).apply(value(), tag="tag", deadline=far())
    for gone in (old, None):
        with pytest.raises(Rejected, match=str(other.port)):
            both.retire(gone, keep=new, tag="tag", deadline=far())
    assert both.probe(old).probe is Probe.ACCEPTED


def test_a_verifier_is_shown_where_it_is_clear_which_one(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """One digest, the same on every node; with two, or with nodes that differ, nothing is guessed."""
    here = target_on(node, other, admin=node.password)
    blank = CredentialValue("app", None)
    assert here.probe(blank).restorable is None
    first = here.apply(value(), tag="tag", deadline=far())
    shown = here.probe(blank).restorable
    assert shown == CredentialValue("app", Secret(sha256(first.revealed().encode()).hexdigest()), Form.VERIFIER)
    target_on(node, admin=node.password).apply(value(), tag="tag", deadline=far())
    assert here.probe(blank).restorable is None
    assert here.probe(shown).restorable == shown
    for each in (node, other):
        run(each, "ACL", "SETUSER", "app", "resetpass", "#" + sha256(str(each.port).encode()).hexdigest())
    assert here.probe(blank).restorable is None
    assert here.probe(CredentialValue("app", Secret(digests(node)[0]), Form.VERIFIER)).restorable is None


_DIGESTS = [sha256(f"canary-{name}".encode()).hexdigest() for name in ("one", "two")]


@pytest.mark.parametrize(
    ("rules", "seen"),
    [
        (None, Probe.REFUSED),
        (["on", "resetpass"], Probe.REFUSED),
        (["off", "resetpass"], Probe.REFUSED),
        (["on", "nopass"], Probe.ACCEPTED),
        (["on", f"#{_DIGESTS[0]}"], Probe.UNKNOWN),
        (["off", f"#{_DIGESTS[0]}"], Probe.ACCEPTED),
        (["on", *(f"#{digest}" for digest in _DIGESTS)], Probe.ACCEPTED),
    ],
    ids=["absent", "no-password", "off", "nopass", "one-password", "one-password-off", "two-passwords"],
)
def test_a_login_is_empty_where_nobody_could_use_it(
    node: servers.RedisServer, rules: list[str] | None, seen: Probe
) -> None:
    """Who needs no password logs in all the same, and who is switched off may be switched on: neither is empty."""
    if rules is not None:
        run(node, "ACL", "SETUSER", "app", *rules)
    sighting = target_on(node, admin=node.password).probe(CredentialValue("app", None))
    assert sighting.probe is seen
    shown = sighting.restorable.revealed() if sighting.restorable else None
    assert shown == (_DIGESTS[0] if rules == ["on", f"#{_DIGESTS[0]}"] else None)


def test_a_login_is_empty_only_where_it_is_on_every_node(node: servers.RedisServer, other: servers.RedisServer) -> None:
    """A password on one node is in use there; a node out of reach may hold one."""
    here, blank = target_on(node, other, admin=node.password), CredentialValue("app", None)
    assert here.probe(blank).probe is Probe.REFUSED
    run(other, "ACL", "SETUSER", "app", "on", f"#{_DIGESTS[0]}")
    assert here.probe(blank).probe is Probe.ACCEPTED
    run(other, "ACL", "DELUSER", "app")
    other.kill()
    assert here.probe(blank).probe is Probe.UNKNOWN


# --- restarts ----------------------------------------------------------------------------------------


def test_acl_save_keeps_passwords_over_a_crash(node: servers.RedisServer) -> None:
    """What was applied is there, and what was retired is not, after SIGKILL; awkward names as well."""
    for username in ("app", "o'brien", 'say"so"', "back\\n", "größe"):
        here = target_on(node, admin=node.password)
        old, new = value(username), value(username)
        for given in (old, new):
            here.apply(given, tag="tag", deadline=far())
        here.retire(old, keep=new, tag="tag", deadline=far())
        node.kill()
        node.restart()
        assert (logs_in(node, old), logs_in(node, new)) == (False, True)


def test_config_rewrite_keeps_passwords_over_a_crash() -> None:
    """Where there is no ACL file, users stand in the configuration file."""
    with started(aclfile=False) as node:
        here = target_on(node, admin=node.password, persist="config-rewrite")
        new = here.apply(value(), tag="tag", deadline=far())
        node.kill()
        node.restart()
        assert logs_in(node, new)
        quoted = value("o'brien")
        with pytest.raises(Rejected, match="quote"):
            here.apply(quoted, tag="tag", deadline=far())


def test_without_saving_passwords_are_lost_in_a_crash(node: servers.RedisServer) -> None:
    """`persist: none` is what it says."""
    new = target_on(node, admin=node.password, persist="none").apply(value(), tag="tag", deadline=far())
    assert logs_in(node, new)
    node.kill()
    node.restart()
    assert not logs_in(node, new)


def test_verifying_saves_what_an_attempt_left_unsaved(node: servers.RedisServer) -> None:
    """An answer may be lost between the change and its saving; what was verified is kept all the same."""
    new = target_on(node, admin=node.password, persist="none").apply(value(), tag="tag", deadline=far())
    seen = target_on(node, admin=node.password).verify(new, control=canary())
    assert seen == Verification(Probe.ACCEPTED, Probe.REFUSED, query=True)
    node.kill()
    node.restart()
    assert logs_in(node, new)


@pytest.mark.parametrize(
    ("aclfile", "persist", "why"), [(False, "acl-save", "ACL file"), (True, "config-rewrite", "CONFIG REWRITE")]
)
def test_a_node_that_cannot_save_is_not_changed(*, aclfile: bool, persist: str, why: str) -> None:
    """Saving is tried first, so a wrong `persist` never leaves a password that a restart would take away."""
    with started(aclfile=aclfile) as node:
        here = target_on(node, admin=node.password, persist=persist)
        with pytest.raises(Rejected, match=why):
            here.apply(value(), tag="tag", deadline=far())
        assert digests(node) == []
        assert any(finding.severity == "fail" and why in finding.message for finding in here.check())
