"""Drift: what log, stores and target say of one credential, and what brings them together again.

Rule 1: pure. What was seen is given; what is decided is carried out in engine/repair.py, by new facts alone.
Rule 2: consumers first: what the stores call current is what they have, so it is what everything else is brought to,
as long as the target accepts it or can be made to.
Rule 3: what was not seen clearly is not repaired.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import msgspec

from engine.credential import Version
from engine.leaving import in_words, ways_out
from engine.machine import LEAVING, State, following
from engine.rotation import Rotation
from engine.sightings import Acceptance, Seen


class Step(StrEnum):
    """What is done next."""

    NOTHING = "nothing"
    """Log, stores and target agree."""
    WAIT = "wait"
    """The target gave no clear answer, so nothing is repaired."""
    ASK = "ask"
    """A person decides."""
    RESUME = "resume"
    """An interrupted rotation is driven on."""
    RETRY = "retry"
    """Going back is tried once more."""
    ABANDON = "abandon"
    """Going back is given up, so that what is in force can be settled."""
    END = "end"
    """An open rotation that cannot lead to its candidate any more is ended as failed."""
    ADOPT = "adopt"
    """The log takes down what the stores call current; nothing outside changes."""
    PUBLISH = "publish"
    """What is current is written to the further places again."""
    CLEAR = "clear"
    """What is current is seen to work, and the target is rid of what no store holds any more."""
    GO_TO = "go_to"
    """The stores go to another version."""
    SET_AGAIN = "set_again"
    """The target is set to what the stores call current."""
    ROTATE = "rotate"
    """A fresh version leads forward."""


RESTING: Final = frozenset({Step.NOTHING, Step.WAIT, Step.ASK})
"""The steps that change nothing: a repair ends with one of them."""


class Decision(msgspec.Struct, frozen=True):
    """What is to be done, and why; `version` is the one that it is done with."""

    step: Step
    why: str
    version: Version | None = None
    advice: str = ""
    """What a person may run; empty where there is nothing to be done."""

    @property
    def words(self) -> str:
        """Say what is done, for people."""
        return _WORDS[self.step].format(version=self.version.id if self.version else "")


_WORDS: Final = {
    Step.NOTHING: "nothing",
    Step.WAIT: "nothing: what was not seen clearly is not repaired",
    Step.ASK: "nothing: a person decides",
    Step.RESUME: "drive the open rotation on",
    Step.RETRY: "try once more to go back",
    Step.ABANDON: "give going back up; what is in force is settled next",
    Step.END: "end the open rotation as failed; what is in force is settled next",
    Step.ADOPT: "take {version} down in the log as the current version; nothing outside changes",
    Step.PUBLISH: "see that {version} works, and write it to the further places again",
    Step.CLEAR: "see that {version} works, and take away at the target what no store holds any more",
    Step.GO_TO: "take the stores to {version}, as a recorded rotation",
    Step.SET_AGAIN: "set {version} again at the target; whatever else its login holds there gives way",
    Step.ROTATE: "rotate to a fresh version",
}


class PlaceSeen(msgspec.Struct, frozen=True):
    """Whether a further place has what the stores call current; None where that cannot be seen."""

    place: str
    current: bool | None


class Observed(msgspec.Struct, frozen=True):
    """What was seen of one credential: in the log, in its store, at its further places and on its target."""

    logged: Version | None = None
    """What the log calls current."""
    rotation: Rotation | None = None
    """The rotation that is open."""
    grace_over: bool = False
    """It is in a grace period that has run out."""
    begun: bool = True
    """The log knows a rotation of it."""
    label: str | None = None
    """What the stores call current."""
    held: tuple[Version, ...] = ()
    """The versions that a store holds and one can log in with, the likeliest first."""
    looks: tuple[Seen, ...] = ()
    """What the target says of those that were looked at."""
    settable: bool = True
    """The target can be set back to a value that is known."""
    places: tuple[PlaceSeen, ...] = ()
    left_over: str | None = None
    """What the last rotation, which failed, left in the one place that a login has besides, and no store holds."""
    failed: Rotation | None = None
    """The rotation that this repair began last, where it came to nothing."""

    def holds(self, version: str | None) -> Version | None:
        """Return a version that a store holds and one can log in with; None where it does not."""
        return next((each for each in self.held if each.id == version), None)

    def acceptance(self, version: Version | None) -> Acceptance:
        """Return whether the target accepts a version, as far as it was looked at."""
        wanted = version.id if version else None
        return next((each.accepted for each in self.looks if each.version == wanted), Acceptance.NOT_TRIED)

    def detail(self, version: Version) -> str:
        """Return what else the target said of a version, in brackets."""
        return next((f" ({each.detail})" for each in self.looks if each.version == version.id and each.detail), "")

    @property
    def lagging(self) -> tuple[str, ...]:
        """The places that were seen not to have what the stores call current."""
        return tuple(each.place for each in self.places if each.current is False)


UNCLEAR: Final = frozenset({Acceptance.UNKNOWN, Acceptance.UNUSABLE})
"""The target was asked, and did not say whether the secret opens the login."""


def worth_asking(observed: Observed) -> tuple[Version, ...]:
    """Return the versions of which it may decide something whether the target accepts them, the first one most."""
    rotation = observed.rotation
    if rotation is None:
        is_known = observed.begun and (observed.label is not None or observed.logged is not None)
        return observed.held if is_known else ()
    if rotation.state not in (State.GRACE, State.RETIRING, State.ROLLBACK_FAILED) or _is_overtaken(observed):
        return ()
    current = observed.holds(observed.label)
    return (current,) if current is not None else ()


def decide(observed: Observed, done: Sequence[Decision] = ()) -> Decision:
    """Return what comes next; `done` is what this repair did already: nothing is done twice."""
    decision = _of_open(observed, observed.rotation, done) if observed.rotation else _of_free(observed)
    again = any((each.step, each.version) == (decision.step, decision.version) for each in done)
    unasked = observed.failed and decision.step is Step.WAIT and not any(s.accepted in UNCLEAR for s in observed.looks)
    if not again and not unasked:
        return decision
    rotation = observed.rotation or observed.failed
    if rotation is None:
        return Decision(Step.ASK, f"it was repaired just now, and again {decision.why}", advice="Look who changes it.")
    cause = f"{rotation.cause.step}: {rotation.cause.message}" if rotation.cause else decision.why
    hint = rotation.cause.hint if rotation.cause else ""
    advice = hint or f"keyturn show {rotation.id} tells how it came to be there."
    return Decision(Step.ASK, f"rotation {rotation.id} is {rotation.state}: {cause}", advice=advice)


# --- a rotation is open ---------------------------------------------------------------------------------------------


def _of_open(observed: Observed, rotation: Rotation, done: Sequence[Decision]) -> Decision:
    name = f"rotation {rotation.id}"
    if rotation.state is State.ROLLBACK_FAILED:
        return _of_failed_rollback(observed, name, done)
    if rotation.state in LEAVING:
        return Decision(Step.ASK, f"{name} is {rotation.state}", advice=in_words(ways_out(rotation)))
    if _is_overtaken(observed):
        return Decision(Step.END, f"{name} is {standing(rotation)}, and the stores call {_called(observed)} current")
    if rotation.state in (State.GRACE, State.RETIRING):
        return _of_promoted(observed, rotation, name)
    return Decision(Step.RESUME, f"{name} is {standing(rotation)}", advice=in_words(ways_out(rotation)))


def _is_overtaken(observed: Observed) -> bool:
    """Tell whether the stores call current what an open rotation does not lead to: the log may be an older one.

    Once its candidate was promoted, it must be that; before, it may be what was current when it began.
    """
    rotation, label = observed.rotation, observed.label
    if rotation is None or following(rotation.state, "RotationFailed") is None:
        return False
    if rotation.state in (State.GRACE, State.RETIRING):
        return label != rotation.candidate
    return label not in (None, rotation.label, rotation.candidate, rotation.previous)


def _of_failed_rollback(observed: Observed, name: str, done: Sequence[Decision]) -> Decision:
    why = f"{name} is rollback_failed"
    current = observed.holds(observed.label)
    if current is not None and observed.acceptance(current) in UNCLEAR:
        return _unclear(observed, current, f"; {why}")
    if any(each.step is Step.RETRY for each in done):
        return Decision(Step.ABANDON, f"{why}, also after it was tried again")
    advice = in_words(ways_out(observed.rotation)) if observed.rotation else ""
    return Decision(Step.RETRY, why, advice=advice)


def _of_promoted(observed: Observed, rotation: Rotation, name: str) -> Decision:
    """Decide where consumers have the candidate, and the old version is still to be retired."""
    current = Version(rotation.candidate, rotation.login)
    seen = observed.acceptance(current)
    retires = rotation.state is State.RETIRING or observed.grace_over
    if seen is Acceptance.REFUSED:
        why = f"{name} is {standing(rotation)}, and the target refuses {current.id}, which it made current"
        return Decision(Step.END, why)
    if seen is not Acceptance.ACCEPTED and not (seen is Acceptance.NOT_TRIED and retires):
        return _unclear(observed, current, f"; {name} is {standing(rotation)}")
    if retires:
        why = f"{name} is to retire the old version"
        return Decision(Step.RESUME, why, advice=in_words(ways_out(rotation)))
    if observed.lagging:
        advice = f"keyturn retire {rotation.id} ends the grace period; then repair again."
        return Decision(Step.ASK, f"{name} is in grace, and {_lag(observed)} does not have {current.id}", advice=advice)
    return Decision(Step.NOTHING, f"{name} is in grace; the target accepts {current.id}, which is current")


# --- no rotation is open ----------------------------------------------------------------------------------------------


def _of_free(observed: Observed) -> Decision:
    if not observed.begun:
        return Decision(Step.NOTHING, "never rotated")
    current = observed.holds(observed.label)
    if observed.label is None and observed.logged is None:
        return Decision(Step.NOTHING, "neither log nor stores call a version current")
    if current is None:
        return _of_lost(observed)
    seen = observed.acceptance(current)
    if seen is Acceptance.ACCEPTED:
        return _of_working(observed, current)
    if seen is not Acceptance.REFUSED:
        return _unclear(observed, current)
    return _of_refused(observed, current)


def _of_working(observed: Observed, current: Version) -> Decision:
    """Consumers are fine: the rest is brought to what they have."""
    accepts = f"the target accepts {current.id}, which the stores call current"
    logs = f"the log calls {_name(observed.logged)} current"
    agrees = observed.logged is not None and observed.logged.id == current.id
    if observed.left_over is not None:
        why = f"{accepts}, and may accept {observed.left_over}, which a failed rotation left and no store holds"
        return Decision(Step.CLEAR, why, current)
    if observed.lagging:
        why = f"{accepts}, and {_lag(observed)} does not have it" + ("" if agrees else f"; {logs}")
        return Decision(Step.PUBLISH, why, current)
    if agrees:
        return Decision(Step.NOTHING, f"the target accepts {current.id}, which log and store call current")
    return Decision(Step.ADOPT, f"{accepts}, and {logs}", current)


def _of_refused(observed: Observed, current: Version) -> Decision:
    """Consumers are locked out."""
    refuses = f"the target refuses {current.id}, which the stores call current"
    logged = observed.holds(observed.logged.id) if observed.logged else None
    if logged is not None and logged.id != current.id:
        seen = observed.acceptance(logged)
        if seen is Acceptance.ACCEPTED:
            return Decision(Step.GO_TO, f"{refuses}, and accepts {logged.id}, which the log calls current", logged)
        if seen in UNCLEAR:
            return _unclear(observed, logged, f"; {refuses}")
    other = _accepted(observed)
    if other is not None:
        why = f"{refuses}, and accepts {other.id}, which they hold as well"
        return Decision(Step.SET_AGAIN, why, current) if observed.settable else Decision(Step.GO_TO, why, other)
    if observed.settable:
        return Decision(Step.SET_AGAIN, f"{refuses}, and accepts nothing else that was tried", current)
    why = f"{refuses}, accepts nothing else that was tried, and cannot be set back to a known value"
    return Decision(Step.ROTATE, why)


def _of_lost(observed: Observed) -> Decision:
    """The stores call nothing current that one could log in with."""
    lost = "the stores call nothing current"
    if observed.label is not None:
        lost = f"the stores call {observed.label} current, and hold nothing of it that one could log in with"
    logged = observed.holds(observed.logged.id) if observed.logged else None
    if logged is not None:
        seen = observed.acceptance(logged)
        if seen in UNCLEAR:
            return _unclear(observed, logged, f"; {lost}")
        if seen is not Acceptance.REFUSED or observed.settable:
            return Decision(Step.GO_TO, f"{lost}; they hold {logged.id}, which the log calls current", logged)
    other = _accepted(observed)
    if other is not None:
        return Decision(Step.GO_TO, f"{lost}; they hold {other.id}, which the target accepts", other)
    advice = "A backup of the store that holds it would settle this without a new version."
    return Decision(Step.ROTATE, f"{lost}; they hold nothing that was seen to work", advice=advice)


def _accepted(observed: Observed) -> Version | None:
    return next((each for each in observed.held if observed.acceptance(each) is Acceptance.ACCEPTED), None)


def _unclear(observed: Observed, version: Version, besides: str = "") -> Decision:
    """Decide where the target did not say whether it accepts a version that matters."""
    seen, detail = observed.acceptance(version), f"{observed.detail(version)}{besides}"
    if seen is Acceptance.UNUSABLE:
        why = f"the secret of {version.id} is right, and the login is refused{detail}"
        return Decision(Step.ASK, why, advice="Look at the login: its limits, its database, its permission to log in.")
    if seen is Acceptance.NOT_TRIED:
        return Decision(Step.WAIT, f"the target was not asked whether it accepts {version.id}{detail}")
    why = f"the target gives no clear answer to {version.id}{detail}"
    return Decision(Step.WAIT, why, advice="Look at the target, and repair again.")


def standing(rotation: Rotation) -> str:
    """Return how a rotation stands, as it is said behind "is"."""
    return f"in {rotation.state}" if rotation.state is State.GRACE else rotation.state.value


def _called(observed: Observed) -> str:
    return observed.label or "nothing"


def _name(version: Version | None) -> str:
    return version.id if version else "nothing"


def _lag(observed: Observed) -> str:
    return " and ".join(observed.lagging)
