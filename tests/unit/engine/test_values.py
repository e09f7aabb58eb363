"""Values: a secret is told by `reveal` alone, and no jump of the wall clock brings a deadline nearer."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.values import (
    SECOND,
    CredentialValue,
    Deadline,
    Form,
    Instant,
    Microseconds,
    Moment,
    Secret,
    deadline_after,
    fingerprint,
)

CANARY = "canary-5f0c"


def test_a_secret_is_told_by_reveal_alone() -> None:
    """Whatever formats it, on its own or inside of something, shows stars."""
    secret = Secret(CANARY)
    value = CredentialValue("app", secret)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", repr([secret]), repr(value)]
    assert not [text for text in shown if CANARY in text]
    assert secret.reveal() == value.revealed() == CANARY


def test_a_secret_cannot_be_pickled_copied_or_hashed() -> None:
    """Each would let it out by the side door, and none is needed."""
    for leak in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError) as caught:
            leak(Secret(CANARY))
        assert CANARY not in str(caught.value)


def test_secrets_are_equal_by_what_they_hide() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret("canary-other")
    assert Secret(CANARY) != CANARY
    assert [bool(Secret("")), bool(Secret("x"))] == [False, True]


def test_a_value_without_a_secret_has_nothing_to_reveal() -> None:
    """The target is still to make it; asking is a mistake of ours."""
    with pytest.raises(AssertionError, match="no secret yet"):
        CredentialValue("app", None).revealed()


def test_a_value_is_plain_unless_it_is_said_to_be_a_verifier() -> None:
    assert CredentialValue("app", Secret(CANARY)).form is Form.PLAIN


# --- fingerprints ----------------------------------------------------------------------------------------------


def test_a_fingerprint_is_128_bits_that_do_not_tell_the_value() -> None:
    mark = fingerprint(CredentialValue("app", Secret(CANARY)), credential="production/db", key=b"key")
    assert len(bytes.fromhex(mark)) == 16
    assert mark == fingerprint(CredentialValue("app", Secret(CANARY)), credential="production/db", key=b"key")


@pytest.mark.parametrize(
    ("username", "text", "credential", "key"),
    [
        ("app", "canary-other", "production/db", b"key"),
        ("other", CANARY, "production/db", b"key"),
        ("app", CANARY, "staging/db", b"key"),
        ("app", CANARY, "production/db", b"other"),
    ],
    ids=["value", "login", "credential", "key"],
)
def test_a_fingerprint_changes_with_all_that_goes_into_it(
    username: str, text: str, credential: str, key: bytes
) -> None:
    """Equal values do not show across credentials, logins or installations."""
    first = fingerprint(CredentialValue("app", Secret(CANARY)), credential="production/db", key=b"key")
    assert first != fingerprint(CredentialValue(username, Secret(text)), credential=credential, key=key)


# --- deadlines ---------------------------------------------------------------------------------------------------

NOW = Moment(Instant(1_000 * SECOND), "boot-1", Microseconds(50 * SECOND))


def test_a_deadline_is_over_when_its_time_has_passed() -> None:
    deadline = deadline_after(NOW, Microseconds(10))
    assert deadline.remaining(NOW) == 10
    assert deadline.remaining(Moment(Instant(NOW.wall + 9), "boot-1", Microseconds(NOW.uptime + 9))) == 1
    assert deadline.remaining(Moment(Instant(NOW.wall + 10), "boot-1", Microseconds(NOW.uptime + 10))) == 0
    assert deadline.remaining(Moment(Instant(NOW.wall + 99), "boot-1", Microseconds(NOW.uptime + 99))) == 0


@given(jump=st.integers(-(10**9), 10**12), passed=st.integers(0, 10**6))
def test_within_one_boot_no_jump_of_the_wall_clock_shortens_it(jump: int, passed: int) -> None:
    """Set forward by a year, an hour of grace stays an hour; set back, it takes longer and never less."""
    duration = Microseconds(10**6)
    now = Moment(Instant(NOW.wall + passed + jump), "boot-1", Microseconds(NOW.uptime + passed))
    assert deadline_after(NOW, duration).remaining(now) >= duration - passed


@pytest.mark.parametrize("boot", ["boot-2", ""])
def test_after_another_boot_the_wall_clock_alone_decides(boot: str) -> None:
    """The time since that boot says nothing about this one."""
    deadline = deadline_after(NOW, Microseconds(10))
    assert deadline.remaining(Moment(Instant(NOW.wall + 10), boot, Microseconds(0))) == 0


def test_without_a_name_of_the_boot_the_wall_clock_alone_decides() -> None:
    """Two empty names are not the same boot."""
    deadline = Deadline(Instant(100), "", Microseconds(10**9))
    assert deadline.remaining(Moment(Instant(100), "", Microseconds(0))) == 0
