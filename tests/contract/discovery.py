"""The contract of discoveries, as tests to inherit: whoever writes one proves it with these.

Subclass `DiscoveryContract` in a class called `Test…`, with a fixture `bench`; where lists come in pages
`PagedContract` as well, where keyturn logs in `LoginContract`. A bench is a world of which a discovery lists a part.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from engine.adapter import DiscoveryAdapter, DiscoveryContext, Duration, Reference
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable
from engine.instances import Discovery
from engine.ports import Checkable, Severity
from engine.values import SECOND, Microseconds, Secret
from tests.contract.stores import shown

RIGHT = "canary-right-login"
WRONG = "canary-wrong-login"
LONG = Microseconds(20 * SECOND)
"""A timeout that a test does not meet."""
SHORT = Microseconds(SECOND * 3 // 10)
PAGES = 3


class Trouble(Enum):
    """What may become of the last page of a list."""

    FAILURE = "the server answers that it failed"
    CUT = "the connection is cut before the answer"
    HALF = "the connection is cut in the middle of the answer"
    NONSENSE = "something else is answered, with success"
    SILENCE = "nothing is answered"


class DiscoveryBench(Protocol):
    """A world with instances, and a discovery of them."""

    @property
    def troubles(self) -> Sequence[Trouble]:
        """What can be had done to an answer here."""
        ...

    def discovery(self, *, timeout: Microseconds = LONG, login: str = RIGHT) -> Discovery:
        """Return a discovery, which logs in with `login` where it logs in."""
        ...

    def populate(self, count: int) -> Sequence[str]:
        """Have so many instances, beside things that are to be left out; return their ids."""
        ...

    def spoil(self, trouble: Trouble, *, request: int) -> None:
        """Have the request of this number, counted from 1, meet trouble."""
        ...

    def requests(self) -> int:
        """Return how many requests there were."""
        ...

    def stop(self) -> None:
        """End the server."""
        ...


def built(
    adapter: DiscoveryAdapter,
    folder: Path,
    *,
    timeout: Microseconds = LONG,
    secrets: dict[str, str] | None = None,
    **options: Any,
) -> Any:
    """Return a discovery as the configuration would build it; `secrets` are told by the name in `env://NAME`."""
    context = DiscoveryContext(
        service="app-db",
        environment="production",
        base=folder,
        secret=lambda reference: Secret((secrets or {})[reference.location]),
        timeout=timeout,
    )
    return adapter.build(msgspec.convert(options, adapter.options, dec_hook=_decoded), context)


def _decoded(expected: type, raw: Any) -> Any:
    return Reference.parse(raw) if expected is Reference else Duration.parse(raw)


def ids(discovery: Discovery) -> list[str]:
    """Return whom it lists."""
    return [each.id for each in discovery.instances()]


class DiscoveryContract:
    """Anything that lists instances."""

    def test_it_is_a_discovery_that_can_be_checked(self, bench: DiscoveryBench) -> None:
        """`keyturn doctor` asks each."""
        assert isinstance(bench.discovery(), Discovery)
        assert isinstance(bench.discovery(), Checkable)

    def test_it_lists_those_who_are_there_and_nobody_else(self, bench: DiscoveryBench) -> None:
        """Each once, always in the same order."""
        expected = sorted(bench.populate(2))
        assert len(expected) == 2
        assert ids(bench.discovery()) == expected
        assert ids(bench.discovery()) == expected

    def test_ids_stay_when_others_join(self, bench: DiscoveryBench) -> None:
        """The log knows an instance by its id alone."""
        before = set(bench.populate(2))
        discovery = bench.discovery()
        assert set(ids(discovery)) == before
        after = set(bench.populate(3))
        assert before < after
        assert set(ids(discovery)) == after

    def test_nobody_is_an_empty_list_and_no_error(self, bench: DiscoveryBench) -> None:
        """A service without instances has none."""
        bench.populate(0)
        assert list(bench.discovery().instances()) == []

    @pytest.mark.slow
    def test_trouble_is_an_error_and_never_a_shorter_list(self, bench: DiscoveryBench) -> None:
        """Whatever goes wrong with the first answer."""
        bench.populate(2)
        for trouble in bench.troubles:
            timeout = SHORT if trouble is Trouble.SILENCE else LONG
            bench.spoil(trouble, request=1)
            expected = (Unavailable, Rejected) if trouble is Trouble.NONSENSE else (Unavailable,)
            with pytest.raises(expected) as caught:
                bench.discovery(timeout=timeout).instances()
            assert RIGHT not in shown(caught.value)

    @pytest.mark.slow
    def test_silence_ends_with_the_timeout(self, bench: DiscoveryBench) -> None:
        """Not before, and not long after."""
        bench.populate(1)
        bench.spoil(Trouble.SILENCE, request=1)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            bench.discovery(timeout=SHORT).instances()
        assert SHORT / SECOND * 0.9 < time.monotonic() - began < 5

    def test_a_server_that_is_gone_is_unavailable(self, bench: DiscoveryBench) -> None:
        """It may come back."""
        bench.populate(1)
        bench.stop()
        with pytest.raises(Unavailable) as caught:
            bench.discovery(timeout=Microseconds(2 * SECOND)).instances()
        assert RIGHT not in shown(caught.value)

    def test_a_check_says_how_many_there_are(self, bench: DiscoveryBench) -> None:
        """So that a wrong selector is seen."""
        bench.populate(2)
        [finding] = checked(bench.discovery())
        assert (finding.severity, "2 instances" in finding.message) == (Severity.OK, True)

    def test_a_check_wonders_about_nobody(self, bench: DiscoveryBench) -> None:
        """It may be right."""
        bench.populate(0)
        [finding] = checked(bench.discovery())
        assert (finding.severity, bool(finding.hint)) == (Severity.WARN, True)

    def test_a_check_tells_trouble_and_does_not_raise_it(self, bench: DiscoveryBench) -> None:
        """With the service that it is of."""
        bench.populate(1)
        bench.spoil(bench.troubles[0], request=1)
        [finding] = checked(bench.discovery())
        assert finding.severity is Severity.FAIL
        assert "app-db" in finding.message


class PagedContract:
    """A list that comes in pages; a bench has `PAGES` of them for so many instances."""

    paged = 7

    def test_a_list_of_many_pages_is_whole(self, bench: DiscoveryBench) -> None:
        """It took several requests."""
        expected = sorted(bench.populate(self.paged))
        assert ids(bench.discovery()) == expected
        assert len(set(expected)) == self.paged
        assert bench.requests() >= PAGES

    @pytest.mark.slow
    def test_a_page_in_trouble_leaves_no_part(self, bench: DiscoveryBench) -> None:
        """The pages before it are not the list."""
        bench.populate(self.paged)
        for trouble in bench.troubles:
            bench.spoil(trouble, request=PAGES)
            timeout = Microseconds(SECOND // 2) if trouble is Trouble.SILENCE else LONG
            with pytest.raises((Unavailable, Rejected)):
                bench.discovery(timeout=timeout).instances()


class LoginContract:
    """A list that keyturn logs in for."""

    def test_a_wrong_login_is_told_as_its_own_and_not_shown(self, bench: DiscoveryBench) -> None:
        """With advice."""
        bench.populate(1)
        with pytest.raises(OwnLoginRejected) as caught:
            bench.discovery(login=WRONG).instances()
        assert WRONG not in shown(caught.value)
        assert caught.value.advice

    def test_a_check_tells_a_wrong_login_and_does_not_show_it(self, bench: DiscoveryBench) -> None:
        """With a hint."""
        bench.populate(1)
        [finding] = checked(bench.discovery(login=WRONG))
        assert finding.severity is Severity.FAIL
        assert WRONG not in finding.message + finding.hint
        assert finding.hint


def checked(discovery: Discovery) -> Sequence[Any]:
    """Return what its check finds."""
    assert isinstance(discovery, Checkable)
    return discovery.check()


def rejected(discovery: Discovery) -> PortError:
    """Return the `Rejected` that listing ends with."""
    with pytest.raises(Rejected) as caught:
        discovery.instances()
    return caught.value
