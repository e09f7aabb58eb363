"""The contract of stores, as tests to inherit: whoever writes a store proves it with these.

Subclass `VersionedStoreContract` or `PublishingStoreContract` in a class called `Test…`, and give it a fixture
`open_store` that returns a function: each call opens the same store anew. A store whose content ends with the
process sets `persistent = False`.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from engine.errors import PortError, Rejected, Unavailable
from engine.ports import Holdings, SecretStore
from engine.values import CURRENT, LABELS, PENDING, PREVIOUS, SECOND, CredentialValue, Form, Instant, Secret
from tests.contract.awkward import AWKWARD, STRANGE_PATHS

OpenStore: TypeAlias = Callable[[], SecretStore]

PATH = "production/app-db"
KEY = "DATABASE_URL"


def credential(secret: str, username: str = "app") -> CredentialValue:
    """Return a plain value."""
    return CredentialValue(username, Secret(secret))


def soon() -> Instant:
    """Return a deadline that a test does not miss."""
    return Instant(time.time_ns() // 1_000 + 60 * SECOND)


def just_now() -> Instant:
    """Return a deadline that has passed."""
    return Instant(time.time_ns() // 1_000)


def shown(error: BaseException) -> str:
    """Return what a person could see of an error and of all that stand behind it: texts and fields."""
    texts = [*traceback.format_exception_only(error), repr(error), repr(getattr(error, "fields", {}))]
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(texts) + (shown(behind) if behind else "")


class VersionedStoreContract:
    """A store that keeps versions, labels them, and promotes by compare-and-set."""

    persistent = True

    @pytest.fixture
    def store(self, open_store: OpenStore) -> SecretStore:
        """A store that holds nothing yet."""
        return open_store()

    def test_it_is_a_store_and_declares_what_follows(self, store: SecretStore) -> None:
        """The capabilities are those that the rest of this contract proves."""
        assert isinstance(store, SecretStore)
        can = store.capabilities
        assert (can.versioned, can.compare_and_set, can.label_switch, can.readable) == (True,) * 4

    def test_an_unknown_path_holds_nothing(self, store: SecretStore) -> None:
        """Reading and discarding what was never written is no error."""
        assert store.versions(PATH) == Holdings()
        assert [store.read(PATH, version) for version in ("v1", *LABELS)] == [None] * 4
        store.discard(PATH, "v1", destroy=True)
        assert store.versions(PATH) == Holdings()

    def test_staging_holds_a_value_as_pending(self, store: SecretStore) -> None:
        """A staged value can be read by version and by label, and is not current."""
        store.stage(PATH, "v1", credential("canary-1"))
        assert store.versions(PATH) == Holdings(("v1",), pending="v1")
        assert store.read(PATH, "v1") == store.read(PATH, PENDING) == credential("canary-1")
        assert store.read(PATH, CURRENT) is None

    def test_a_change_whose_deadline_has_passed_is_not_made(self, store: SecretStore) -> None:
        """A process that stood still for too long changes nothing when it goes on; one in time does."""
        store.stage(PATH, "v1", credential("canary-1"), deadline=soon())
        store.promote(PATH, "v1", credential("canary-1"), expected=None, deadline=soon())
        before = store.versions(PATH)
        with pytest.raises(Unavailable, match="deadline"):
            store.stage(PATH, "v2", credential("canary-2"), deadline=just_now())
        with pytest.raises(Unavailable, match="deadline"):
            store.promote(PATH, "v2", credential("canary-2"), expected="v1", deadline=just_now())
        assert store.versions(PATH) == before

    def test_staging_the_same_twice_is_done_once(self, store: SecretStore) -> None:
        """A repeat of a lost answer makes no second version."""
        store.stage(PATH, "v1", credential("canary-1"))
        store.stage(PATH, "v1", credential("canary-1"))
        assert store.versions(PATH) == Holdings(("v1",), pending="v1")

    @pytest.mark.parametrize(
        "other",
        [
            credential("canary-2"),
            credential("canary-1", "other"),
            CredentialValue("app", Secret("canary-1"), Form.VERIFIER),
        ],
        ids=["secret", "username", "form"],
    )
    def test_a_version_never_changes_its_value(self, store: SecretStore, other: CredentialValue) -> None:
        """Another value under a version that is held is refused, by staging and by promoting, and nothing is lost."""
        store.stage(PATH, "v1", credential("canary-1"))
        with pytest.raises(Rejected):
            store.stage(PATH, "v1", other)
        with pytest.raises(Rejected):
            store.promote(PATH, "v1", other, expected=None)
        assert store.read(PATH, "v1") == credential("canary-1")
        assert store.versions(PATH) == Holdings(("v1",), pending="v1")

    def test_another_candidate_takes_the_label(self, store: SecretStore) -> None:
        """Pending is what was staged last; the one before is kept without a label."""
        store.stage(PATH, "v1", credential("canary-1"))
        store.stage(PATH, "v2", credential("canary-2"))
        assert store.versions(PATH) == Holdings(("v1", "v2"), pending="v2")

    def test_promoting_moves_the_labels(self, store: SecretStore) -> None:
        """The candidate becomes current, what it replaces becomes previous, and nothing is pending."""
        self._two(store)
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v2", previous="v1")
        assert store.read(PATH, CURRENT) == credential("canary-2")
        assert store.read(PATH, PREVIOUS) == credential("canary-1")
        assert store.read(PATH, PENDING) is None

    def test_promoting_compares_and_sets(self, store: SecretStore) -> None:
        """Where another version is current than was expected, nothing changes."""
        self._two(store)
        store.stage(PATH, "v3", credential("canary-3"))
        before = store.versions(PATH)
        for expected in ("v1", None, "v0"):
            with pytest.raises(Rejected):
                store.promote(PATH, "v3", credential("canary-3"), expected=expected)
        assert store.versions(PATH) == before

    def test_promoting_twice_is_done_once(self, store: SecretStore) -> None:
        """A repeat finds the version current and keeps what was previous."""
        self._two(store)
        store.promote(PATH, "v2", credential("canary-2"), expected="v1")
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v2", previous="v1")

    def test_promoting_what_was_never_staged_holds_it(self, store: SecretStore) -> None:
        """A further place is given its value when the version becomes current."""
        store.promote(PATH, "v1", credential("canary-1"), expected=None)
        assert store.versions(PATH) == Holdings(("v1",), current="v1")
        assert store.read(PATH, "v1") == credential("canary-1")

    def test_going_back_is_a_promotion(self, store: SecretStore) -> None:
        """The previous version is made current again, and the other one is previous."""
        self._two(store)
        store.promote(PATH, "v1", credential("canary-1"), expected="v2")
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v1", previous="v2")

    def test_a_held_version_can_be_a_candidate_again(self, store: SecretStore) -> None:
        """Going back later stages a version that is there: it becomes pending and stays what it was."""
        self._two(store)
        store.stage(PATH, "v1", credential("canary-1"))
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v2", pending="v1", previous="v1")

    def test_a_late_repeat_of_staging_leaves_the_current_one_alone(self, store: SecretStore) -> None:
        """What is current is not made pending by a message that comes late."""
        self._two(store)
        store.stage(PATH, "v2", credential("canary-2"))
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v2", previous="v1")

    def test_discarding_quarantines(self, store: SecretStore) -> None:
        """Without `destroy` only the label goes: a late reply may yet make the value live."""
        store.stage(PATH, "v1", credential("canary-1"))
        for _ in range(2):
            store.discard(PATH, "v1", destroy=False)
            assert store.versions(PATH) == Holdings(("v1",))
        assert store.read(PATH, "v1") == credential("canary-1")

    def test_discarding_destroys(self, store: SecretStore) -> None:
        """With `destroy` the value is gone, and a repeat is no error."""
        store.stage(PATH, "v1", credential("canary-1"))
        for _ in range(2):
            store.discard(PATH, "v1", destroy=True)
            assert store.versions(PATH) == Holdings()
        assert store.read(PATH, "v1") is None

    def test_discarding_another_version_leaves_the_pending_one(self, store: SecretStore) -> None:
        """The label is taken off the named version only."""
        store.stage(PATH, "v1", credential("canary-1"))
        store.stage(PATH, "v2", credential("canary-2"))
        store.discard(PATH, "v1", destroy=True)
        assert store.versions(PATH) == Holdings(("v2",), pending="v2")

    @pytest.mark.parametrize("version", ["v1", "v2"])
    def test_current_and_previous_are_never_destroyed(self, store: SecretStore, version: str) -> None:
        """The last values that worked stay, whoever asks."""
        self._two(store)
        with pytest.raises(Rejected):
            store.discard(PATH, version, destroy=True)
        store.discard(PATH, version, destroy=False)
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v2", previous="v1")
        assert store.read(PATH, version) is not None

    @pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
    def test_every_text_comes_back_as_it_was(self, open_store: OpenStore, text: str) -> None:
        """Secret, username and handle are text of any kind."""
        value = CredentialValue(text, Secret(text), handle=text)
        store = open_store()
        store.stage(PATH, "v1", value)
        assert (open_store() if self.persistent else store).read(PATH, "v1") == value

    def test_verifier_and_handle_are_kept(self, store: SecretStore) -> None:
        """A value that nobody can log in with is not mistaken for one that can."""
        value = CredentialValue("", Secret("SCRAM-SHA-256$4096:canary"), Form.VERIFIER, "AKIA0")
        store.stage(PATH, "v1", value)
        assert store.read(PATH, PENDING) == value

    def test_a_value_without_a_secret_is_refused(self, store: SecretStore) -> None:
        """What the target is still to make cannot be held."""
        with pytest.raises(Rejected):
            store.stage(PATH, "v1", CredentialValue("app", None))
        assert store.versions(PATH) == Holdings()

    def test_text_that_is_not_unicode_is_refused_without_showing_it(self, store: SecretStore) -> None:
        """A lone surrogate cannot be written, and the error does not tell the value."""
        with pytest.raises(Rejected) as refused:
            store.stage(PATH, "v1", credential("canary-\ud800"))
        assert "canary" not in shown(refused.value)
        assert store.versions(PATH) == Holdings()

    @pytest.mark.parametrize("version", [*LABELS, "", "v" * 5_000, "v\n1", "v\0"])
    def test_a_version_is_a_name_and_no_label(self, store: SecretStore, version: str) -> None:
        """A version called like a label could never be read."""
        with pytest.raises(Rejected):
            store.stage(PATH, version, credential("canary-1"))
        with pytest.raises(Rejected):
            store.promote(PATH, version, credential("canary-1"), expected=None)
        assert store.versions(PATH) == Holdings()

    @pytest.mark.parametrize("path", ["", "p" * 5_000, "a\nb", "a\0b", "\ud800"])
    def test_a_path_that_is_no_name_is_refused(self, store: SecretStore, path: str) -> None:
        """Empty, endless and unprintable paths are mistakes; reading there finds nothing."""
        with pytest.raises(Rejected):
            store.stage(path, "v1", credential("canary-1"))
        assert store.versions(path) == Holdings()

    def test_a_path_is_a_name_and_leads_nowhere(self, store: SecretStore, tmp_path: Path) -> None:
        """Dots and slashes mean nothing: no file appears beside, and no two paths are the same."""
        store.stage(PATH, "v1", credential("canary-0"))
        before = sorted(tmp_path.rglob("*"))
        for number, path in enumerate(STRANGE_PATHS):
            store.stage(path, "v1", credential(f"canary-{number}"))
        for number, path in enumerate(STRANGE_PATHS):
            assert store.read(path, "v1") == credential(f"canary-{number}")
        assert sorted(tmp_path.rglob("*")) == before

    def test_paths_do_not_touch_each_other(self, store: SecretStore) -> None:
        """One credential's rotation leaves all others alone."""
        self._two(store)
        store.stage("production/other", "v1", credential("canary-other"))
        assert store.versions(PATH) == Holdings(("v1", "v2"), current="v2", previous="v1")
        assert store.versions("production/other") == Holdings(("v1",), pending="v1")

    def test_opening_again_finds_the_same(self, open_store: OpenStore) -> None:
        """Values, their order and the labels outlive the process, unless the store says that they do not."""
        store = open_store()
        self._two(store)
        store.stage(PATH, "v0", credential("canary-0"))
        if not self.persistent:
            assert open_store().versions(PATH) == Holdings()
            return
        again = open_store()
        assert again.versions(PATH) == Holdings(("v1", "v2", "v0"), current="v2", pending="v0", previous="v1")
        assert again.read(PATH, PREVIOUS) == credential("canary-1")

    def test_nothing_shows_a_secret(self, store: SecretStore) -> None:
        """Neither the store, nor a value, nor a refusal tells a secret."""
        self._two(store)
        with pytest.raises(Rejected) as refused:
            store.promote(PATH, "v2", credential("canary-3"), expected="v2")
        everything = shown(refused.value) + repr(store) + repr(vars(store)) + repr(store.read(PATH, CURRENT))
        assert "canary" not in everything

    @staticmethod
    def _two(store: SecretStore) -> None:
        """Make v2 current and v1 previous, as two rotations do."""
        for version, expected in (("v1", None), ("v2", "v1")):
            value = credential(f"canary-{version[1:]}")
            store.stage(PATH, version, value)
            store.promote(PATH, version, value, expected=expected)


class PublishingStoreContract:
    """A store that has a current value only, which others read."""

    @pytest.fixture
    def store(self, open_store: OpenStore) -> SecretStore:
        """A store that holds nothing yet."""
        return open_store()

    def test_it_is_a_store_and_declares_what_follows(self, store: SecretStore) -> None:
        """The capabilities are those that the rest of this contract proves."""
        assert isinstance(store, SecretStore)
        can = store.capabilities
        assert (can.versioned, can.compare_and_set, can.label_switch) == (False,) * 3

    def test_staging_and_discarding_do_nothing(self, store: SecretStore) -> None:
        """A candidate is not shown to consumers before it is current."""
        store.promote(KEY, "v1", credential("canary-1"), expected=None)
        store.stage(KEY, "v2", credential("canary-2"))
        store.discard(KEY, "v1", destroy=True)
        assert self._current(store) == "canary-1"
        assert store.versions(KEY) == Holdings()

    def test_a_change_whose_deadline_has_passed_is_not_made(self, store: SecretStore) -> None:
        """A process that stood still for too long does not take consumers back to what it held."""
        store.promote(KEY, "v1", credential("canary-1"), expected=None, deadline=soon())
        with pytest.raises(Unavailable, match="deadline"):
            store.promote(KEY, "v2", credential("canary-2"), expected=None, deadline=just_now())
        assert self._current(store) == "canary-1"

    def test_promoting_writes_whatever_was_expected(self, store: SecretStore) -> None:
        """Without versions there is nothing to compare with."""
        for number, expected in enumerate((None, "v0", "anything")):
            store.promote(KEY, f"v{number}", credential(f"canary-{number}"), expected=expected)
            assert self._current(store) == f"canary-{number}"

    def test_only_the_current_value_is_known(self, store: SecretStore) -> None:
        """Other labels and version ids name nothing."""
        store.promote(KEY, "v1", credential("canary-1"), expected=None)
        assert [store.read(KEY, version) for version in ("v1", PENDING, PREVIOUS)] == [None] * 3
        assert store.read("OTHER", CURRENT) is None

    @pytest.mark.parametrize("text", AWKWARD.values(), ids=AWKWARD)
    def test_a_value_comes_back_as_it_was_or_is_clearly_refused(self, open_store: OpenStore, text: str) -> None:
        """What the format cannot carry changes nothing, and the refusal does not tell the value."""
        store = open_store()
        store.promote(KEY, "v1", credential("canary-before"), expected=None)
        try:
            store.promote(KEY, "v2", credential(text), expected=None)
        except Rejected as refused:
            assert text not in shown(refused)  # noqa: PT017, a store may refuse or not
            assert self._current(open_store()) == "canary-before"
        else:
            assert self._current(open_store()) == text

    @pytest.mark.parametrize("path", ["", "p" * 5_000, "a\nb", "a\0b"])
    def test_a_path_that_is_no_name_is_refused(self, store: SecretStore, path: str) -> None:
        """Empty, endless and unprintable paths are mistakes."""
        with pytest.raises(Rejected):
            store.promote(path, "v1", credential("canary-1"), expected=None)

    def test_a_path_leads_nowhere(self, store: SecretStore, tmp_path: Path) -> None:
        """A path is a key in the one place, or refused; no file appears beside."""
        store.promote(KEY, "v1", credential("canary-0"), expected=None)
        before = sorted(tmp_path.rglob("*"))
        for path in STRANGE_PATHS:
            try:
                store.promote(path, "v1", credential("canary-1"), expected=None)
            except Rejected as refused:
                assert "canary" not in shown(refused)  # noqa: PT017, a store may refuse or not
        assert sorted(tmp_path.rglob("*")) == before
        assert self._current(store) == "canary-0"

    def test_nothing_shows_a_secret(self, store: SecretStore) -> None:
        """Neither the store, nor what it returns, nor a refusal tells a secret."""
        store.promote(KEY, "v1", credential("canary-1"), expected=None)
        with pytest.raises(PortError) as refused:
            store.promote(KEY, "v2", credential("canary-\ud800"), expected=None)
        assert "canary" not in shown(refused.value) + repr(store) + repr(vars(store)) + repr(store.read(KEY, CURRENT))

    @staticmethod
    def _current(store: SecretStore) -> str:
        value = store.read(KEY, CURRENT)
        assert value is not None
        assert value.username == ""
        return value.revealed()
