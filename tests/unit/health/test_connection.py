"""Fresh logins with both versions, against the rehearsal target."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.health import CheckResult, Subject
from engine.values import SECOND, CredentialValue, Instant
from tests.unit.health.bench import canary, check, memory_target, subject

PASS, FAIL, UNKNOWN = CheckResult.PASS, CheckResult.FAIL, CheckResult.UNKNOWN
LATER = Instant(4_000_000_000 * SECOND)


def looked(folder: Path, given: Subject, *accepted: CredentialValue | None, old: bool | None = None) -> CheckResult:
    """Return what is seen of a target that accepts these values; no text holds one of them."""
    target = memory_target(folder)
    for number, value in enumerate(each for each in accepted if each is not None):
        target.apply(value, tag=str(number), deadline=LATER)
    raw = {} if old is None else {"old": old}
    sample = check("connection", raw, target=target).look(given)
    assert "canary" not in sample.text
    assert sample.unit == "s"
    return sample.result


def test_the_new_version_is_logged_in_with(tmp_path: Path) -> None:
    given = subject()
    assert looked(tmp_path / "a", given, given.new) is PASS
    assert looked(tmp_path / "b", given, canary()) is FAIL
    assert looked(tmp_path / "c", subject(new=None), given.new) is UNKNOWN


@pytest.mark.parametrize(
    ("works", "is_accepted", "result"),
    [(True, True, PASS), (True, False, FAIL), (False, True, FAIL), (False, False, PASS), (None, False, PASS)],
)
def test_the_old_version_is_what_it_should_be(
    tmp_path: Path, *, works: bool | None, is_accepted: bool, result: CheckResult
) -> None:
    """Accepted as long as it is the way back, refused after that; where either will do, nobody asks."""
    given = subject(old_works=works)
    assert looked(tmp_path, given, given.new, given.old if is_accepted else None) is result


def test_the_old_version_is_left_alone_where_that_is_said(tmp_path: Path) -> None:
    given = subject(old_works=True)
    assert looked(tmp_path / "a", given, given.new, old=False) is PASS
    assert looked(tmp_path / "b", given, given.new, old=True) is FAIL
