"""The tests of repairs have teeth: a repair with one deliberate bug is caught by the test that is about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from adapters.simulation.hands import Hand
from engine import drift, policies, sightings
from engine.operations import Operations
from engine.plan import Kind, Strategy
from tests.simulation import test_repair as repairs

LOCKS = repairs.LOCKS
any_single_fault = repairs.test_any_single_fault_in_a_repair
back_from_a_backup = repairs.back_from_a_backup
seeds = repairs.test_seeds_of_repairs_under_faults
unverified = repairs.test_what_was_set_again_and_cannot_be_verified_stays


def _goes_back(patch: pytest.MonkeyPatch) -> None:
    """Begin a repair with what was seen not to work as the version to go back to."""
    start = Operations.start

    def begin(self: Operations, *what: Any, alone: bool = False, **more: Any) -> Any:
        return start(self, *what, **more)

    patch.setattr(Operations, "start", begin)


def _takes_away(patch: pytest.MonkeyPatch) -> None:
    """Take what was set again away where it cannot be verified."""
    can_go_back = policies.can_go_back
    patch.setattr(
        policies, "can_go_back", lambda rotation: can_go_back(structs.replace(rotation, kind=Kind.ROTATION, label=None))
    )


def _resumes_what_is_overtaken(patch: pytest.MonkeyPatch) -> None:
    """Drive on whatever is open, also from a log that is older than the stores."""
    patch.setattr(drift, "_is_overtaken", lambda observed: False)


def _forgets_what_it_spent(patch: pytest.MonkeyPatch) -> None:
    """Try every version that is held, recording nothing."""
    patch.setattr(sightings, "_spend", lambda *what, **how: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutate", "caught_by"),
    [
        (_goes_back, partial(any_single_fault, Strategy.DUAL, Hand.MOVE_LABEL)),
        (_takes_away, unverified),
        (_resumes_what_is_overtaken, partial(back_from_a_backup, Strategy.SINGLE, "log")),
        (_forgets_what_it_spent, partial(seeds, LOCKS)),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_a_repair_with_a_bug_is_caught(
    mutate: Callable[[pytest.MonkeyPatch], None], caught_by: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the test that is about it."""
    mutate(monkeypatch)
    with pytest.raises(AssertionError) as caught:
        caught_by()
    print(f"{mutate.__name__}: {str(caught.value)[:120]}")
