"""The file of the rehearsal target is private, holds no value, and is shared by processes."""

from __future__ import annotations

import json
import multiprocessing
import stat
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from adapters.targets.memory import ADAPTER, MemoryTarget
from adapters.targets.memory_accounts import InFile
from engine.errors import Rejected, Unavailable
from engine.plan import Strategy
from engine.ports import Checkable, Probe, Severity
from engine.values import CredentialValue
from tests.contract.target_bench import canary, far
from tests.contract.test_targets_memory import memory_context, options


def value() -> CredentialValue:
    return CredentialValue("app", canary())


def test_the_file_is_private_and_holds_no_value(tmp_path: Path) -> None:
    """Only a salted hash is kept, in files that nobody else may read."""
    target = ADAPTER.build(options(), memory_context(tmp_path, Strategy.DUAL, ("app",)))
    values = [target.apply(value(), tag=str(turn), deadline=far()) for turn in range(2)]
    target.verify(values[0], control=canary())
    for path in (tmp_path / "memory").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"canary" not in path.read_bytes()
    assert stat.S_IMODE((tmp_path / "memory").stat().st_mode) == 0o700
    held = json.loads((tmp_path / "memory" / "production.app-db.json").read_bytes())["logins"]["app"]["values"]
    assert len({entry["mark"].split("$")[1] for entry in held}) == 2


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    """The name of a service is text, not a path."""
    target = ADAPTER.build(options(), memory_context(tmp_path, Strategy.SINGLE, ("app",), service="../../x/y"))
    target.apply(value(), tag="tag", deadline=far())
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "memory"]


def test_a_damaged_file_is_named_and_nothing_is_thrown_away(tmp_path: Path) -> None:
    """A change is `Rejected` with the path; looking is unknown; the check fails."""
    target = ADAPTER.build(options(), memory_context(tmp_path, Strategy.SINGLE, ("app",)))
    file = tmp_path / "memory" / "production.app-db.json"
    file.parent.mkdir()
    file.write_text("{no json")
    with pytest.raises(Rejected, match=r"production\.app-db\.json") as caught:
        target.apply(value(), tag="tag", deadline=far())
    assert "Move the file away" in caught.value.advice
    assert target.probe(value()).probe is Probe.UNKNOWN
    assert isinstance(target, Checkable)
    assert [finding.severity for finding in target.check()] == [Severity.FAIL]
    assert file.read_text() == "{no json"


def test_a_state_folder_that_cannot_be_used_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text("in the way")
    target = ADAPTER.build(options(), memory_context(tmp_path, Strategy.SINGLE, ("app",)))
    with pytest.raises(Unavailable):
        target.apply(value(), tag="tag", deadline=far())
    assert target.probe(value()).probe is Probe.UNKNOWN


def _apply_many(path: Path, start: Barrier, worker: int, count: int) -> None:
    target = MemoryTarget(strategy=Strategy.ISSUE, keeping=InFile(path))
    start.wait()
    for turn in range(count):
        target.apply(CredentialValue("app", None), tag=f"{worker}-{turn}", deadline=far())


@pytest.mark.slow
def test_processes_do_not_lose_each_others_changes(tmp_path: Path) -> None:
    """Three processes at once: every value of each is there afterwards."""
    path = tmp_path / "target.json"
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    workers = [context.Process(target=_apply_many, args=(path, start, worker, 30)) for worker in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3
    tags = {held.tag for _, held in MemoryTarget(strategy=Strategy.ISSUE, keeping=InFile(path)).strangers([])}
    assert tags == {f"{worker}-{turn}" for worker in range(3) for turn in range(30)}
