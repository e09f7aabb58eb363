"""Every option of the rehearsal target does something, and its file keeps what it must and no more."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_accounts import InFile
from adapters.targets.memory_options import Fault
from engine.errors import Rejected, StrategyImpossible, Unavailable, Uncertain
from engine.plan import LoginBudget, RetryClass, Strategy
from engine.ports import Probe, Severity
from engine.values import SECOND, CredentialValue, Form, Instant, Microseconds, Secret
from tests.contract.target_bench import canary, far
from tests.contract.test_targets_memory import options

MINUTE = Microseconds(60 * SECOND)


class Watch:
    """A clock that jumps."""

    def __init__(self) -> None:
        self.at = 1_000 * SECOND

    def __call__(self) -> Instant:
        """Return the time it was set to."""
        return Instant(self.at)


def value(text: str | None = None, username: str = "app") -> CredentialValue:
    return CredentialValue(username, Secret(text) if text else canary())


def applied(target: MemoryTarget, given: CredentialValue, tag: str = "tag") -> CredentialValue:
    return target.apply(given, tag=tag, deadline=far())


# --- every option does something ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "given"),
    [
        (Strategy.SINGLE, {"values_max": 2}),
        (Strategy.ALTERNATING, {"values_max": 2}),
        (Strategy.DUAL, {"mode": "set"}),
        (Strategy.ISSUE, {"settable": True}),
        (Strategy.ISSUE, {"shows_restorable": True}),
        (Strategy.SCRIPT, {"mode": "issue", "shows_restorable": True}),
    ],
)
def test_an_option_that_would_say_nothing_is_refused(strategy: Strategy, given: dict[str, object]) -> None:
    """No option is ignored: a combination without meaning is named."""
    with pytest.raises(StrategyImpossible, match=next(reversed(given))):
        MemoryTarget(strategy=strategy, options=options(**given))


@pytest.mark.parametrize(
    "given",
    [{"lockout_window": "1m"}, {"valuesmax": 2}, {"values_max": 1}, {"faults": ["explode"]}, {"lockout_after": 1}],
)
def test_a_wrong_option_is_refused_when_it_is_read(given: dict[str, object]) -> None:
    """Unknown names, values out of range, and a window without a limit."""
    with pytest.raises(msgspec.ValidationError):
        options(**given)


@pytest.mark.parametrize(
    ("strategy", "given", "retry"),
    [
        (Strategy.SINGLE, {}, RetryClass.IDEMPOTENT),
        (Strategy.DUAL, {"retry": "never_repeat"}, RetryClass.NEVER_REPEAT),
        (Strategy.SCRIPT, {}, RetryClass.PROBE_FIRST),
        (Strategy.ISSUE, {}, RetryClass.PROBE_FIRST),
        (Strategy.SCRIPT, {"retry": "never_repeat"}, RetryClass.NEVER_REPEAT),
    ],
)
def test_retry_is_the_class_that_the_target_declares(
    strategy: Strategy, given: dict[str, object], retry: RetryClass
) -> None:
    assert MemoryTarget(strategy=strategy, options=options(**given)).capabilities.retry is retry


def test_a_login_locks_after_wrong_tries_and_opens_when_they_are_past() -> None:
    """While it is locked the right secret is unknown, not refused; the declared budget stays below the lock."""
    watch = Watch()
    target = MemoryTarget(strategy=Strategy.SINGLE, options=options(lockout_after=3, lockout_window="1m"), now=watch)
    assert target.capabilities.login_budget == LoginBudget(2, MINUTE)
    right = target.apply(value(), tag="tag", deadline=Instant(watch.at + SECOND))
    for _ in range(2):
        assert target.probe(value()).probe is Probe.REFUSED
    assert target.probe(right).probe is Probe.ACCEPTED
    assert target.verify(right, control=canary()).control is Probe.REFUSED
    assert target.probe(right).probe is Probe.UNKNOWN
    assert target.verify(right, control=canary()).candidate is Probe.UNKNOWN
    assert [finding.severity for finding in target.check()] == [Severity.OK, Severity.WARN]
    watch.at += 60 * SECOND
    assert target.probe(right).probe is Probe.ACCEPTED


def test_the_lockout_window_is_fifteen_minutes_where_it_is_not_given() -> None:
    target = MemoryTarget(strategy=Strategy.SINGLE, options=options(lockout_after=5))
    assert target.capabilities.login_budget == LoginBudget(4, Microseconds(15 * MINUTE))


def test_without_lockout_any_number_of_wrong_tries_is_refused() -> None:
    target = MemoryTarget(strategy=Strategy.SINGLE)
    right = applied(target, value())
    assert {target.probe(value()).probe for _ in range(100)} == {Probe.REFUSED}
    assert target.probe(right).probe is Probe.ACCEPTED


def test_a_change_shows_when_it_has_spread() -> None:
    """Until then the old value logs in and the new one does not, and what changes meanwhile shows later still."""
    watch = Watch()
    target = MemoryTarget(strategy=Strategy.SINGLE, options=options(propagation="2s"), now=watch)
    assert target.capabilities.propagation == 2 * SECOND
    first = applied(target, value())
    assert target.probe(first).probe is Probe.REFUSED
    watch.at += 2 * SECOND
    assert target.probe(first).probe is Probe.ACCEPTED
    second = applied(target, value())
    watch.at += 2 * SECOND - 1
    assert target.probe(first).probe is Probe.ACCEPTED
    assert target.probe(second).probe is Probe.REFUSED
    watch.at += 1
    assert target.verify(second, control=canary()).candidate is Probe.ACCEPTED


def test_a_retirement_shows_late_as_well() -> None:
    watch = Watch()
    target = MemoryTarget(strategy=Strategy.DUAL, options=options(propagation="2s"), now=watch)
    old, new = applied(target, value()), applied(target, value())
    watch.at += 2 * SECOND
    target.retire(old, keep=new, tag="tag", deadline=far())
    assert target.probe(old).probe is Probe.ACCEPTED
    watch.at += 2 * SECOND
    assert target.probe(old).probe is Probe.REFUSED


def test_a_value_that_cannot_be_set_back_is_not_taken_again_either() -> None:
    """`settable: false` is a target that remembers what was used: neither apply nor restore brings it back."""
    target = MemoryTarget(strategy=Strategy.SINGLE, options=options(settable=False))
    old, new = applied(target, value()), applied(target, value())
    with pytest.raises(Rejected, match="valid before"):
        applied(target, old)
    with pytest.raises(Rejected, match="cannot set it back"):
        target.restore(old, candidate=new, tag="tag", deadline=far())
    assert target.probe(new).probe is Probe.ACCEPTED


def test_a_verifier_is_taken_only_where_it_is_shown() -> None:
    """Without `shows_restorable`, or made up, it is `Rejected`, and the value in force stays."""
    showing = MemoryTarget(strategy=Strategy.SINGLE, options=options(shows_restorable=True))
    applied(showing, value())
    shown = showing.probe(CredentialValue("app", None)).restorable
    assert shown is not None
    silent = MemoryTarget(strategy=Strategy.SINGLE)
    right = applied(silent, value())
    for target, verifier in (
        (silent, shown),
        (showing, CredentialValue("app", Secret("canary-made-up"), Form.VERIFIER)),
    ):
        with pytest.raises(Rejected, match="verifier"):
            applied(target, verifier)
    assert silent.probe(right).probe is Probe.ACCEPTED


def test_of_two_values_the_one_that_is_asked_for_is_shown() -> None:
    """Without a value it is the newest one in force."""
    target = MemoryTarget(strategy=Strategy.DUAL, options=options(shows_restorable=True))
    blank = CredentialValue("app", None)
    applied(target, value())
    first = target.probe(blank).restorable
    applied(target, value())
    second = target.probe(blank).restorable
    assert first is not None
    assert second not in (None, first)
    assert target.probe(first).restorable == first


def test_a_script_that_issues_replaces_the_one_value() -> None:
    """`mode: issue` makes the value; the one before is gone, as with a key that is rolled."""
    target = MemoryTarget(strategy=Strategy.SCRIPT, options=options(mode="issue"))
    first = applied(target, CredentialValue("app", None), tag="one")
    second = applied(target, CredentialValue("app", None), tag="two")
    assert (target.probe(first).probe, target.probe(second).probe) == (Probe.REFUSED, Probe.ACCEPTED)
    assert first.handle != second.handle


def test_a_made_value_is_retired_by_its_handle() -> None:
    """Who knows the target's own id of a value needs no secret to end it."""
    target = MemoryTarget(strategy=Strategy.ISSUE)
    old = applied(target, CredentialValue("app", None), tag="one")
    new = applied(target, CredentialValue("app", None), tag="two")
    target.retire(CredentialValue("app", None, handle=old.handle), keep=new, tag="two", deadline=far())
    assert (target.probe(old).probe, target.probe(new).probe) == (Probe.REFUSED, Probe.ACCEPTED)


class Bytes:
    """Entropy that counts."""

    def __init__(self) -> None:
        self.count = 0

    def draw(self, count: int) -> bytes:
        """Return how many draws there were, as bytes."""
        self.count += 1
        return self.count.to_bytes(count, "big")


def test_what_is_made_comes_from_the_entropy_that_is_given() -> None:
    """Two simulations of one seed make the same values."""
    made = [
        applied(MemoryTarget(strategy=Strategy.ISSUE, entropy=Bytes()), CredentialValue("app", None)) for _ in range(2)
    ]
    assert made[0] == made[1]
    assert len(made[0].revealed()) == 32


# --- faults ------------------------------------------------------------------------------------------


def faulty(strategy: Strategy, fault: Fault, keeping: InFile | None = None) -> MemoryTarget:
    return MemoryTarget(strategy=strategy, options=options(faults=[fault.value]), keeping=keeping)


def test_fail_verification_fails_what_was_applied_and_not_what_was_restored(tmp_path: Path) -> None:
    """So a rehearsed rotation fails at the verification and goes back for good."""
    keeping = InFile(tmp_path / "target.json")
    previous = applied(MemoryTarget(strategy=Strategy.DUAL, keeping=keeping), value())
    target = faulty(Strategy.DUAL, Fault.FAIL_VERIFICATION, keeping)
    candidate = applied(target, value())
    seen = target.verify(candidate, control=canary())
    assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, False)
    target.restore(previous, candidate=candidate, tag="tag", deadline=far())
    assert target.verify(previous, control=canary()).query


def test_fail_verification_passes_a_value_that_was_kept_when_another_was_retired(tmp_path: Path) -> None:
    """The result of the rotation before is not put in question."""
    keeping = InFile(tmp_path / "target.json")
    calm = MemoryTarget(strategy=Strategy.DUAL, keeping=keeping)
    old, kept = applied(calm, value()), applied(calm, value())
    calm.retire(old, keep=kept, tag="tag", deadline=far())
    assert faulty(Strategy.DUAL, Fault.FAIL_VERIFICATION, keeping).verify(kept, control=canary()).query


def test_reject_apply_changes_nothing() -> None:
    target, wanted = faulty(Strategy.SINGLE, Fault.REJECT_APPLY), value()
    with pytest.raises(Rejected, match="reject_apply"):
        applied(target, wanted)
    assert not target.accepts(wanted)


def test_lose_apply_reply_changes_and_does_not_say_so() -> None:
    target, wanted = faulty(Strategy.SINGLE, Fault.LOSE_APPLY_REPLY), value()
    with pytest.raises(Uncertain):
        applied(target, wanted)
    assert target.probe(wanted).probe is Probe.ACCEPTED


def test_reject_restore_leaves_the_candidate() -> None:
    target = faulty(Strategy.DUAL, Fault.REJECT_RESTORE)
    previous, candidate = applied(target, value()), applied(target, value())
    with pytest.raises(Rejected, match="reject_restore"):
        target.restore(previous, candidate=candidate, tag="tag", deadline=far())
    assert target.probe(candidate).probe is Probe.ACCEPTED


def test_keep_retired_says_done_and_is_found_out_by_a_probe() -> None:
    target = faulty(Strategy.DUAL, Fault.KEEP_RETIRED)
    old, new = applied(target, value()), applied(target, value())
    target.retire(old, keep=new, tag="tag", deadline=far())
    assert target.probe(old).probe is Probe.ACCEPTED


def test_accept_anything_is_found_out_by_the_control() -> None:
    target = faulty(Strategy.SINGLE, Fault.ACCEPT_ANYTHING)
    assert target.verify(applied(target, value()), control=canary()).control is Probe.ACCEPTED


def test_unavailable_answers_nothing() -> None:
    target = faulty(Strategy.SINGLE, Fault.UNAVAILABLE)
    with pytest.raises(Unavailable):
        applied(target, value())
    assert target.probe(value()).probe is Probe.UNKNOWN


def test_a_fault_that_is_on_is_named_by_the_check() -> None:
    """Nobody wonders afterwards why it failed."""
    target = faulty(Strategy.SINGLE, Fault.KEEP_RETIRED)
    assert any(f.severity is Severity.WARN and "keep_retired" in f.message for f in target.check())


# --- what it refuses, and what a test may look at ------------------------------------------------------


def test_a_login_that_the_service_does_not_have_is_rejected() -> None:
    target = MemoryTarget(strategy=Strategy.ALTERNATING, usernames=("app_a", "app_b"))
    with pytest.raises(Rejected, match="no such login"):
        applied(target, value(username="app"))
    assert target.probe(value(username="app")).probe is Probe.REFUSED


def test_nothing_is_retired_while_the_value_to_keep_is_not_accepted() -> None:
    """Otherwise the login could be left without any value that works."""
    target = MemoryTarget(strategy=Strategy.DUAL)
    old, never = applied(target, value()), value()
    for gone in (old, None):
        with pytest.raises(Rejected, match="not accepted"):
            target.retire(gone, keep=never, tag="tag", deadline=far())
    assert target.probe(old).probe is Probe.ACCEPTED


def test_a_full_login_takes_the_previous_value_back_in_the_place_of_the_candidate() -> None:
    """Going back works where there is no room for both, and touches no third value."""
    target = MemoryTarget(strategy=Strategy.DUAL, options=options(values_max=2))
    previous, third, candidate = applied(target, value()), applied(target, value()), value()
    target.retire(previous, keep=third, tag="tag", deadline=far())
    applied(target, candidate)
    with pytest.raises(Rejected, match="2 values"):
        target.restore(previous, candidate=None, tag="tag", deadline=far())
    target.restore(previous, candidate=candidate, tag="tag", deadline=far())
    assert [target.accepts(v) for v in (previous, third, candidate)] == [True, True, False]


def test_strangers_are_what_is_in_force_and_nobody_knows() -> None:
    """The check behind "no unknown secret"; it sees through every fault, and counts no login."""
    target = MemoryTarget(
        strategy=Strategy.DUAL, options=options(lockout_after=2, propagation="5s", faults=["accept_anything"])
    )
    known, unknown = applied(target, value()), applied(target, value(), tag="lost")
    assert [(login, held.tag) for login, held in target.strangers([known])] == [("app", "lost")]
    assert list(target.strangers([known, unknown])) == []
    assert not target.accepts(value())
