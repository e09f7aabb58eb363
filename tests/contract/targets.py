"""What every target must do, whatever it is: the conformance suite of `engine.ports.Target`.

A test module subclasses `TargetContract` and gives the fixture `make_bench`, which returns a
`tests.contract.target_bench.Bench`. Nothing here knows an adapter.

    class TestMine(TargetContract):
        @pytest.fixture
        def make_bench(self) -> MakeBench: ...
"""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from engine.errors import Rejected, Unavailable
from engine.instances import Witness
from engine.ports import Addressable, Checkable, Probe, Severity, Target
from engine.values import SECOND, CredentialValue, Form, Instant, Secret
from tests.contract.target_bench import AWKWARD_SECRETS, AWKWARD_USERNAMES, Bench, MakeBench, canary, errors_of


class TargetContract:
    """The tests. Class attributes say where an adapter may differ."""

    refused_usernames: ClassVar[frozenset[str]] = frozenset()
    """Of `AWKWARD_USERNAMES`, those that the system cannot have; the adapter must reject them."""
    refused_secrets: ClassVar[frozenset[str]] = frozenset()
    """Of `AWKWARD_SECRETS`, likewise."""

    @pytest.fixture
    def make_bench(self) -> MakeBench:
        """Give the adapter under test."""
        raise NotImplementedError

    @pytest.fixture
    def bench(self, make_bench: MakeBench) -> Bench:
        """A fresh target."""
        return make_bench()

    # --- a value becomes valid -------------------------------------------------------------------------

    def test_is_a_target(self, bench: Bench) -> None:
        """The object has the methods of the port."""
        assert isinstance(bench.target, Target)

    def test_an_applied_value_logs_in(self, bench: Bench) -> None:
        """After `apply` a fresh login is accepted, also for another process."""
        value = bench.put()
        assert bench.target.probe(value).probe is Probe.ACCEPTED
        assert bench.sees(value) is Probe.ACCEPTED

    def test_apply_returns_the_value_in_force(self, bench: Bench) -> None:
        """A given value comes back as it is; a made one has the login that was asked for."""
        wanted = bench.wanted()
        value = bench.target.apply(wanted, tag="tag-0", deadline=bench.deadline())
        assert value.username == wanted.username
        assert wanted.secret is None or value.secret == wanted.secret

    def test_a_wrong_value_is_refused(self, bench: Bench) -> None:
        """A value that was never set is an authenticated refusal, not an unknown."""
        value = bench.put()
        assert bench.target.probe(CredentialValue(value.username, canary())).probe is Probe.REFUSED

    def test_a_value_is_not_valid_before_it_is_applied(self, bench: Bench) -> None:
        """A value that waits in the store cannot be logged in with."""
        bench.put()
        assert bench.target.probe(CredentialValue(bench.usernames[0], canary())).probe is Probe.REFUSED

    def test_the_same_value_again_is_the_same_once(self, bench: Bench) -> None:
        """Repeating `apply` changes nothing: the value works, and there is no second one to retire."""
        value = bench.put()
        if bench.target.capabilities.issues_value:
            with pytest.raises(Rejected):
                bench.target.apply(bench.wanted(), tag="tag-0", deadline=bench.deadline())
            bench.target.retire(None, keep=None, tag="tag-0", deadline=bench.deadline())
            assert bench.sees(value) is Probe.REFUSED
            return
        bench.again().apply(value, tag="tag-0", deadline=bench.deadline())
        assert bench.sees(value) is Probe.ACCEPTED
        if (bench.target.capabilities.values_max or 1) > 1:
            assert bench.sees(bench.put(1)) is Probe.ACCEPTED, "the repetition took up a place"
        bench.target.restore(None, candidate=value, tag="tag-0", deadline=bench.deadline())
        assert bench.sees(value) is Probe.REFUSED

    def test_after_its_deadline_a_change_does_not_happen(self, bench: Bench) -> None:
        """An attempt that comes late is `Unavailable`, and what was valid stays the only valid value."""
        value = bench.put()
        late = bench.wanted(1)
        with pytest.raises(Unavailable):
            bench.target.apply(late, tag="tag-1", deadline=Instant(bench.deadline() - 3_600 * SECOND))
        with pytest.raises(Unavailable):
            bench.target.restore(None, candidate=value, tag="tag-0", deadline=Instant(1))
        assert bench.sees(value) is Probe.ACCEPTED
        if late.secret is not None:
            assert bench.sees(late) is Probe.REFUSED

    # --- verifying -------------------------------------------------------------------------------------

    def test_verify_accepts_the_candidate_and_refuses_the_control(self, bench: Bench) -> None:
        """A verification is a login, a query and a wrong value that must not be accepted."""
        seen = bench.target.verify(bench.put(), control=canary())
        assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, True)

    def test_verify_of_a_wrong_candidate_spends_one_login(self, bench: Bench) -> None:
        """Where the candidate is refused, the control is not tried."""
        bench.put()
        seen = bench.target.verify(CredentialValue(bench.usernames[0], canary()), control=canary())
        assert (seen.candidate, seen.control, seen.query) == (Probe.REFUSED, Probe.UNKNOWN, False)

    def test_verify_with_the_candidate_as_control_shows_that_the_control_is_tried(self, bench: Bench) -> None:
        """The answer to the control is the system's, not a constant."""
        value = bench.put()
        assert value.secret is not None
        assert bench.target.verify(value, control=value.secret).control is Probe.ACCEPTED

    # --- who uses a value -------------------------------------------------------------------------------

    def test_a_witness_counts_sessions_and_never_raises(self, bench: Bench) -> None:
        """Nobody has a session of a value that was just set, and who cannot be asked knows nothing."""
        if not isinstance(bench.target, Witness):
            return
        value = bench.put()
        assert bench.target.sessions(value) in (0, None)
        assert isinstance(bench.unreachable, Witness)
        assert bench.unreachable.sessions(value) is None

    # --- the old value goes ----------------------------------------------------------------------------

    def test_both_are_valid_before_the_old_one_is_retired(self, bench: Bench) -> None:
        """Where versions overlap, the old one works until it is retired; elsewhere it is refused at once."""
        old = bench.put(0)
        new = bench.put(1)
        assert bench.sees(new) is Probe.ACCEPTED
        assert bench.sees(old) is (Probe.ACCEPTED if bench.overlaps else Probe.REFUSED)

    def test_a_retired_value_is_refused_and_the_kept_one_accepted(self, bench: Bench) -> None:
        """Retiring ends the old value and nothing else."""
        old, new = bench.put(0), bench.put(1)
        bench.target.retire(old, keep=new, tag="tag-1", deadline=bench.deadline())
        assert (bench.sees(old), bench.sees(new)) == (Probe.REFUSED, Probe.ACCEPTED)

    def test_what_is_gone_already_counts_as_retired(self, bench: Bench) -> None:
        """Retiring twice, or what was never there, is done."""
        old, new = bench.put(0), bench.put(1)
        never = CredentialValue(old.username, canary())
        for gone in (old, old, never):
            bench.again().retire(gone, keep=new, tag="tag-1", deadline=bench.deadline())
        assert (bench.sees(old), bench.sees(new)) == (Probe.REFUSED, Probe.ACCEPTED)

    def test_the_kept_value_stays_even_if_it_is_named_as_old(self, bench: Bench) -> None:
        """An imported value may be the one in force; it is not thrown away."""
        value = bench.put()
        bench.target.retire(value, keep=value, tag="tag-0", deadline=bench.deadline())
        assert bench.sees(value) is Probe.ACCEPTED

    def test_a_third_value_is_left_alone(self, bench: Bench) -> None:
        """Retiring and going back concern the values that they name, and no other."""
        most = bench.target.capabilities.values_max
        if most is not None and most < 3:
            pytest.skip("a login has no room for a third value")
        turns = [turn * len(bench.usernames) for turn in range(3)]
        third, old, new = (bench.put(turn) for turn in turns)
        bench.target.retire(old, keep=new, tag="tag-x", deadline=bench.deadline())
        assert [bench.sees(value) for value in (third, old, new)] == [Probe.ACCEPTED, Probe.REFUSED, Probe.ACCEPTED]
        bench.target.restore(third, candidate=new, tag="tag-x", deadline=bench.deadline())
        assert [bench.sees(value) for value in (third, old, new)] == [Probe.ACCEPTED, Probe.REFUSED, Probe.REFUSED]

    def test_takeover_leaves_only_the_kept_value(self, bench: Bench) -> None:
        """Where nobody knows the old value, everything on the login but the kept one goes."""
        if bench.target.capabilities.issues_value:
            pytest.skip("a made value is found by its tag")
        found = bench.put(0)
        mine = bench.put(len(bench.usernames))
        bench.target.retire(None, keep=mine, tag="tag-mine", deadline=bench.deadline())
        assert (bench.sees(found), bench.sees(mine)) == (Probe.REFUSED, Probe.ACCEPTED)

    def test_orphans_are_found_by_their_tag(self, bench: Bench) -> None:
        """What was made under a lost attempt is revoked by tag; other values stay."""
        if not bench.target.capabilities.issues_value or not bench.overlaps:
            pytest.skip("the target makes no values beside others")
        kept, orphan = bench.put(0), bench.put(1)
        for _ in range(2):
            bench.again().retire(None, keep=kept, tag="tag-1", deadline=bench.deadline())
        assert (bench.sees(kept), bench.sees(orphan)) == (Probe.ACCEPTED, Probe.REFUSED)
        assert bench.sees(bench.put(1)) is Probe.ACCEPTED

    def test_orphans_do_not_take_the_kept_value_with_them(self, bench: Bench) -> None:
        """The value to keep stays though it carries the tag."""
        if not bench.target.capabilities.issues_value:
            pytest.skip("the target makes no values")
        kept = bench.put(0)
        bench.target.retire(None, keep=kept, tag="tag-0", deadline=bench.deadline())
        assert bench.sees(kept) is Probe.ACCEPTED

    # --- going back ------------------------------------------------------------------------------------

    def test_restore_puts_the_previous_value_back_and_the_candidate_out(self, bench: Bench) -> None:
        """After `restore` the previous value logs in and the candidate does not; twice is the same."""
        previous, candidate = bench.put(0), bench.put(1)
        if not bench.overlaps and not bench.target.capabilities.settable:
            with pytest.raises(Rejected):
                bench.target.restore(previous, candidate=candidate, tag="tag-1", deadline=bench.deadline())
            assert bench.sees(candidate) is Probe.ACCEPTED
            return
        for _ in range(2):
            bench.again().restore(previous, candidate=candidate, tag="tag-1", deadline=bench.deadline())
            assert (bench.sees(previous), bench.sees(candidate)) == (Probe.ACCEPTED, Probe.REFUSED)

    def test_restore_reaches_back_behind_a_retirement_or_says_that_it_cannot(self, bench: Bench) -> None:
        """`settable` is proven: a retired value comes back where it is declared, and is `Rejected` where not."""
        previous, candidate = bench.put(0), bench.put(1)
        bench.target.retire(previous, keep=candidate, tag="tag-1", deadline=bench.deadline())
        if bench.target.capabilities.settable:
            bench.target.restore(previous, candidate=candidate, tag="tag-2", deadline=bench.deadline())
            assert (bench.sees(previous), bench.sees(candidate)) == (Probe.ACCEPTED, Probe.REFUSED)
        else:
            with pytest.raises(Rejected):
                bench.target.restore(previous, candidate=candidate, tag="tag-2", deadline=bench.deadline())
            assert (bench.sees(previous), bench.sees(candidate)) == (Probe.REFUSED, Probe.ACCEPTED)

    def test_restore_of_a_candidate_that_never_arrived_changes_nothing(self, bench: Bench) -> None:
        """Going back is done where nothing had changed."""
        previous = bench.put(0)
        candidate = None if bench.target.capabilities.issues_value else bench.wanted(1)
        bench.target.restore(previous, candidate=candidate, tag="tag-1", deadline=bench.deadline())
        assert bench.sees(previous) is Probe.ACCEPTED

    def test_restore_to_the_candidate_itself_keeps_it(self, bench: Bench) -> None:
        """A value that was rotated to itself is the one to go back to."""
        value = bench.put(0)
        bench.target.restore(value, candidate=value, tag="tag-0", deadline=bench.deadline())
        assert bench.sees(value) is Probe.ACCEPTED

    def test_restore_to_nothing_takes_the_candidate_out(self, bench: Bench) -> None:
        """A first rotation that fails leaves no value behind."""
        candidate = bench.put(0)
        bench.target.restore(None, candidate=candidate, tag="tag-0", deadline=bench.deadline())
        assert bench.sees(candidate) is Probe.REFUSED

    def test_nothing_is_retired_for_a_value_that_is_not_in_force(self, bench: Bench) -> None:
        """What may be the last that works stays, whatever was true when the retirement was decided."""
        old, new = bench.put(0), bench.put(1)
        if not bench.target.capabilities.settable and not bench.overlaps:
            pytest.skip("the target cannot go back")
        bench.target.restore(old, candidate=new, tag="tag-1", deadline=bench.deadline())
        with pytest.raises(Rejected) as caught:
            bench.target.retire(old, keep=new, tag="tag-1", deadline=bench.deadline())
        assert bench.sees(old) is Probe.ACCEPTED
        assert new.revealed() not in caught.value.message

    def test_restore_revokes_what_carries_the_tag(self, bench: Bench) -> None:
        """A made value whose answer was lost goes with the rollback."""
        if not bench.target.capabilities.issues_value or not bench.overlaps:
            pytest.skip("the target makes no values beside others")
        previous, orphan = bench.put(0), bench.put(1)
        bench.target.restore(previous, candidate=None, tag="tag-1", deadline=bench.deadline())
        assert (bench.sees(previous), bench.sees(orphan)) == (Probe.ACCEPTED, Probe.REFUSED)

    def test_a_shown_verifier_can_be_set_back(self, bench: Bench) -> None:
        """Where the target shows what it keeps of a value, that is enough to go back to it."""
        old = bench.put(0)
        shown = bench.target.probe(CredentialValue(old.username, None)).restorable
        if not bench.shows_restorable:
            assert shown is None
            return
        assert shown is not None
        assert shown.form is Form.VERIFIER
        candidate = bench.put(0)
        bench.target.restore(shown, candidate=candidate, tag="tag-0", deadline=bench.deadline())
        assert (bench.sees(old), bench.sees(candidate)) == (Probe.ACCEPTED, Probe.REFUSED)
        assert bench.target.probe(shown).restorable == shown

    def test_a_verifier_cannot_log_in(self, bench: Bench) -> None:
        """Nothing is tried with a verifier, nor without a secret: then only what the login holds is told."""
        value = bench.put(0)
        blank = CredentialValue(value.username, None)
        seen = bench.target.probe(blank)
        if seen.restorable is None:
            assert seen.probe is Probe.ACCEPTED, "it holds a value, which is not shown"
            return
        assert seen.probe is Probe.UNKNOWN
        assert bench.target.probe(seen.restorable).probe is Probe.UNKNOWN

    # --- capabilities ----------------------------------------------------------------------------------

    def test_a_login_holds_as_many_values_as_declared(self, bench: Bench) -> None:
        """Up to `values_max` values of one login are valid; one more replaces the one, or is `Rejected`."""
        most = bench.target.capabilities.values_max
        turns = [turn * len(bench.usernames) for turn in range(most or 4)]
        values = [bench.put(turn) for turn in turns]
        assert {bench.sees(value) for value in values} == {Probe.ACCEPTED}
        if most == 1:
            newer = bench.put(len(bench.usernames))
            assert (bench.sees(values[0]), bench.sees(newer)) == (Probe.REFUSED, Probe.ACCEPTED)
        elif most is not None:
            with pytest.raises(Rejected):
                bench.put(len(bench.usernames) * most)
            assert {bench.sees(value) for value in values} == {Probe.ACCEPTED}

    def test_who_makes_the_value_is_as_declared(self, bench: Bench) -> None:
        """A target that makes values takes none; one that does not cannot be asked for one."""
        issues = bench.target.capabilities.issues_value
        value = CredentialValue(bench.usernames[0], canary() if issues else None)
        with pytest.raises(Rejected):
            bench.target.apply(value, tag="tag-0", deadline=bench.deadline())

    # --- awkward texts ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("text", AWKWARD_SECRETS, ids=range(len(AWKWARD_SECRETS)))
    def test_an_awkward_secret_works_or_is_refused_by_name(self, bench: Bench, text: str) -> None:
        """Quotes, spaces, other alphabets and the signs of shells and formats are only text."""
        if bench.target.capabilities.issues_value:
            pytest.skip("the target makes its values")
        if text in self.refused_secrets:
            with pytest.raises(Rejected) as caught:
                bench.put(0, text)
            assert text not in caught.value.message
            return
        value = bench.put(0, text)
        seen = bench.target.verify(value, control=Secret(f"{text}x"))
        assert (seen.candidate, seen.control, seen.query) == (Probe.ACCEPTED, Probe.REFUSED, True)

    @pytest.mark.parametrize("username", AWKWARD_USERNAMES)
    def test_an_awkward_login_works_or_is_refused_by_name(self, make_bench: MakeBench, username: str) -> None:
        """The name of a login is only text; one that the system cannot have is `Rejected`."""
        bench = make_bench(username)
        if username in self.refused_usernames:
            with pytest.raises(Rejected):
                bench.put(0)
            return
        old, new = bench.put(0), bench.put(1)
        bench.target.retire(old, keep=new, tag="tag-1", deadline=bench.deadline())
        assert (bench.sees(old), bench.sees(new)) == (Probe.REFUSED, Probe.ACCEPTED)

    def test_the_url_leads_back_to_login_and_secret(self, make_bench: MakeBench) -> None:
        """Every sign of login and secret that means something in a URL is percent-encoded."""
        bench = make_bench()
        if not isinstance(bench.target, Addressable):
            pytest.skip("the target has no URL")
        value = CredentialValue("app@host:1/x?y#z", Secret("canary-:/?#[]@% ü"))
        url = bench.target.url(value)
        parts = urlsplit(url.reveal())
        assert unquote(parts.username or "") == value.username
        assert unquote(parts.password or "") == value.revealed()
        assert "canary" not in repr(url)

    # --- when nobody answers, and what is never said -----------------------------------------------------

    def test_an_unreachable_target_is_unknown_and_unavailable(self, bench: Bench) -> None:
        """Looking never raises; a change says that it did not happen."""
        lost, value = bench.unreachable, CredentialValue(bench.usernames[0], canary())
        assert lost.probe(value).probe is Probe.UNKNOWN
        assert lost.probe(CredentialValue(bench.usernames[0], None)).probe is Probe.UNKNOWN
        with pytest.raises(Unavailable):
            lost.apply(bench.wanted(), tag="tag-0", deadline=bench.deadline())
        with pytest.raises(Unavailable):
            lost.retire(value, keep=None, tag="tag-0", deadline=bench.deadline())
        with pytest.raises(Unavailable):
            lost.restore(value, candidate=None, tag="tag-0", deadline=bench.deadline())

    def test_verify_of_an_unreachable_target_is_not_a_success(self, bench: Bench) -> None:
        """Verification answers unknown, or says that it could not look."""
        try:
            seen = bench.unreachable.verify(CredentialValue(bench.usernames[0], canary()), control=canary())
        except Unavailable:
            return
        assert (seen.candidate, seen.query) == (Probe.UNKNOWN, False)

    def test_a_check_finds_out_and_changes_nothing(self, bench: Bench) -> None:
        """`check` never raises, fails for a target nobody answers for, and leaves every value as it is."""
        if not isinstance(bench.target, Checkable) or not isinstance(bench.unreachable, Checkable):
            pytest.skip("the target has no check")
        value = bench.put()
        findings = bench.target.check()
        assert findings
        assert all(finding.severity is not Severity.FAIL for finding in findings)
        assert any(finding.severity is not Severity.OK for finding in bench.unreachable.check())
        assert bench.sees(value) is Probe.ACCEPTED

    def test_no_secret_shows_anywhere(self, bench: Bench) -> None:
        """Neither in what objects print, nor in sightings and findings, nor in errors."""
        old, new = bench.put(0), bench.put(1)
        control = canary()
        said = [repr(bench.target), str(bench.target), repr(old), repr(bench.target.verify(new, control=control))]
        said += [repr(bench.target.probe(value)) for value in (old, new, CredentialValue(old.username, None))]
        for target in (bench.target, bench.unreachable):
            said += [repr(target.check())] if isinstance(target, Checkable) else []
            said += errors_of(target, new)
        text = "\n".join(said)
        for secret in (*bench.made, control):
            assert secret.reveal() not in text
