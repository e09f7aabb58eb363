"""A connection is looked at by fresh logins: of the new version, and of the old one where something is owed to it."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.health.connection import ConnectionOptions, build
from adapters.targets.memory import MemoryTarget
from engine.health import CheckResult, Subject
from engine.ports import Probe, Sighting, TargetCapabilities
from engine.values import SECOND, CredentialValue, Form, Instant, Microseconds, Secret
from tests.unit.health.bench import canary, check, context, memory_target, options, subject

FAR = Instant(9_000_000_000 * SECOND)


@pytest.fixture
def target(tmp_path: Path) -> MemoryTarget:
    made = memory_target(tmp_path, values_max=4, lockout_after=6, lockout_window="60s")
    assert isinstance(made, MemoryTarget)
    return made


def holding(target: MemoryTarget, *values: CredentialValue) -> None:
    for number, value in enumerate(values):
        target.apply(value, tag=f"t{number}", deadline=FAR)


def look(target: MemoryTarget, given: Subject, **raw: object) -> tuple[CheckResult, str]:
    seen = check("connection", raw, target=target).look(given)
    return seen.result, seen.text


def test_a_new_version_that_is_accepted_passes(target: MemoryTarget) -> None:
    given = subject()
    assert given.new
    holding(target, given.new)
    assert look(target, given) == (CheckResult.PASS, "the new version is accepted")


def test_a_new_version_that_is_refused_fails(target: MemoryTarget) -> None:
    result, text = look(target, subject())
    assert result is CheckResult.FAIL
    assert text.startswith("the new version is refused")


def test_the_way_back_must_be_open_while_it_is_needed(target: MemoryTarget) -> None:
    given = subject(old_works=True)
    assert given.new
    assert given.old
    holding(target, given.new)
    result, text = look(target, given)
    assert result is CheckResult.FAIL
    assert "no way back" in text
    holding(target, given.old)
    assert look(target, given) == (CheckResult.PASS, "the new version is accepted, the old one too")


def test_a_retired_version_must_be_refused(target: MemoryTarget) -> None:
    given = subject(old_works=False)
    assert given.new
    assert given.old
    holding(target, given.new, given.old)
    assert look(target, given)[0] is CheckResult.FAIL
    target.retire(given.old, keep=given.new, tag="t9", deadline=FAR)
    assert look(target, given) == (CheckResult.PASS, "the new version is accepted, the old one is refused")


def test_nothing_is_owed_to_the_old_version_unless_the_subject_says_so(target: MemoryTarget) -> None:
    """No login is tried with it, so none can be refused."""
    given = subject(old_works=None)
    assert given.new
    holding(target, given.new)
    assert look(target, given)[0] is CheckResult.PASS
    assert target.wrong_logins("app") == 0


def test_the_old_version_is_left_alone_where_the_option_says_so(target: MemoryTarget) -> None:
    given = subject(old_works=True)
    assert given.new
    holding(target, given.new)
    assert look(target, given, old_version=False)[0] is CheckResult.PASS
    assert target.wrong_logins("app") == 0


def test_a_version_that_was_seen_retired_is_not_tried_again(target: MemoryTarget) -> None:
    """It would cost a wrong login each time, and could only lock out the one that works."""
    given = subject(old_works=False)
    assert given.new
    holding(target, given.new)
    checking = check("connection", target=target)
    results = [checking.look(given).result for _ in range(20)]
    assert set(results) == {CheckResult.PASS}
    assert target.wrong_logins("app") == 1


def test_refused_logins_keep_to_a_part_of_the_login_budget(target: MemoryTarget) -> None:
    """Looked at every second for a minute, in which six wrong logins lock: half of them are made."""
    holding(target, canary())
    clock = [0.0]
    checking = build(ConnectionOptions(), context(target=target), lambda: clock[0])
    given = subject()
    for _ in range(60):
        assert checking.look(given).result is CheckResult.FAIL
        clock[0] += 1
    assert target.wrong_logins("app") == 3
    other = subject(new_version="v3")
    checking.look(other)
    assert target.wrong_logins("app") == 4, "a version that was not tried yet is tried at once"


def test_a_value_that_cannot_log_in_is_unknown(target: MemoryTarget) -> None:
    nothing = subject(new=None)
    verifier = subject(new=CredentialValue("app", Secret("canary-verifier"), Form.VERIFIER))
    for given in (nothing, verifier):
        assert look(target, given) == (CheckResult.UNKNOWN, "there is no value yet to log in with")


class Answering:
    """A target of a plugin that answers a probe as it was told to, after a wait."""

    capabilities = TargetCapabilities(values_max=1)

    def __init__(self, sighting: Sighting, wait: threading.Event | None = None) -> None:
        self.sighting = sighting
        self.wait = wait

    def probe(self, value: CredentialValue) -> Sighting:
        """Answer."""
        if self.wait:
            self.wait.wait(10)
        return self.sighting


def test_a_target_that_cannot_tell_is_unknown() -> None:
    seen = check("connection", target=Answering(Sighting(Probe.UNKNOWN, "starting up"))).look(subject())
    assert (seen.result, seen.text) == (CheckResult.UNKNOWN, "nothing is known of the new version: starting up")


def test_a_service_that_nobody_listens_for_fails(tmp_path: Path) -> None:
    """Its address is told by its own options; what listens there and says nothing is unknown."""
    from adapters.targets.redis import RedisOptions

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        raw = {"host": "127.0.0.1", "port": port, "admin_credentials": {"password": "env://X"}}
        given: dict[str, Any] = {"service_options": options(RedisOptions, raw)}
        checking = check("connection", target=Answering(Sighting(Probe.UNKNOWN, "?")), **given)
        assert checking.look(subject()).result is CheckResult.UNKNOWN
    seen = checking.look(subject())
    assert (seen.result, seen.text) == (CheckResult.FAIL, f"no connection to 127.0.0.1:{port}: Connection refused")


def test_a_secret_that_is_right_although_it_was_retired_is_a_warning() -> None:
    """The login fails for another reason today, and would work again when that goes."""
    new = canary()

    class Half(Answering):
        def probe(self, value: CredentialValue) -> Sighting:
            """Answer for the new and the old one."""
            return Sighting(Probe.ACCEPTED if value is new else Probe.UNUSABLE, "SQLSTATE 53300")

    seen = check("connection", target=Half(Sighting(Probe.UNKNOWN))).look(subject(new=new, old_works=False))
    assert seen.result is CheckResult.WARN
    assert "still right" in seen.text


@pytest.mark.slow
def test_a_login_that_hangs_is_waited_for_no_longer_than_the_timeout() -> None:
    """And while it still hangs, no second one is begun."""
    release = threading.Event()
    target = Answering(Sighting(Probe.ACCEPTED), release)
    checking = check("connection", target=target, timeout=Microseconds(SECOND // 10))
    begun = time.monotonic()
    seen = checking.look(subject())
    assert (seen.result, seen.text) == (CheckResult.FAIL, "no answer within 0.1 s")
    assert time.monotonic() - begun < 0.5
    assert seen.duration >= SECOND // 10
    assert checking.look(subject()).text == "an earlier look has not ended"
    release.set()
    limit = time.monotonic() + 5
    while (seen := checking.look(subject())).result is CheckResult.UNKNOWN and time.monotonic() < limit:
        pass
    assert seen.result is CheckResult.PASS
