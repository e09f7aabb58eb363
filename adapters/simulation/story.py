"""A run in words, for people on call: what each process asked, what was answered, what was recorded, and when.

Rule: a story is told from outside of the ports, by what the engine itself saw; telling it changes nothing in the run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

from adapters.simulation.faults import CALLS, KINDS, Crash
from adapters.simulation.scenario import Played, Scenario, build, play_in
from adapters.simulation.world import Simulation
from engine import events as e
from engine.errors import Conflict, KeyturnError, Rejected, Unavailable, Uncertain
from engine.facts import Fact, Recorded, tag_of
from engine.performance import Binding, World
from engine.plan import Plan
from engine.ports import Sighting, Verification
from engine.values import CredentialValue

INVARIANTS: Final = {
    "I1": "some version that a store holds works on the target, at every moment",
    "I2": "nothing the target accepts for a managed login is missing from the store",
    "I3": "where two versions can be valid, what consumers are given is accepted at every instant",
    "I4": "one open rotation a credential, over any number of processes",
    "I5": "an event says only what was observed",
    "I6": "nothing happens out of its order",
    "I7": "a version's value never changes, and none leaves the store while the target may accept it",
    "I8": "no write while another may still land; wrong logins stay within the budget",
    "I9": "no secret stands in the log",
    "I10": "nothing passes on silence, and few hold a version whose soak has not passed",
    "I11": "the hash chain of the log is whole",
    "L1": "once faults stop, every rotation ends or names what a person must run",
    "L2": "whatever happened, one more rotation completes",
    "L3": "a rotation that fails leaves nobody locked out until a person acts",
}
"""What must hold, in words; the table in ARCHITECTURE.md says the same at more length."""

_ANSWERS: Final[dict[type[Exception], str]] = {
    Unavailable: "not now",
    Rejected: "refused",
    Uncertain: "no answer; it may have happened",
    Conflict: "another process was first",
}
_READS: Final = ("store.read", "store.versions", "log.append")
"""Told only where they fail; what is appended is told as the facts themselves."""
_QUIET: Final = (e.OwnerChanged, e.LoginTried, e.AttemptClosed, e.Published, *e.CredentialEvent.__args__)


class Line(NamedTuple):
    """One step of a story: when, in microseconds from its begin, what, and whether a short story has it."""

    at: int
    text: str
    is_short: bool

    def __str__(self) -> str:
        seconds, millis = divmod(self.at // 1000, 1000)
        minutes, seconds = divmod(seconds, 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}.{millis:03}  {self.text}"


class Story(NamedTuple):
    """What a run did, step by step, and how it came out."""

    played: Played
    lines: Sequence[Line]

    def steps(self, *, full: bool = False) -> list[str]:
        """Return the steps that matter; with `full`, every call and every fact."""
        return [str(line) for line in self.lines if full or line.is_short]


def tell(scenario: Scenario) -> Story:
    """Play a scenario once more, and return its story."""
    world = build(scenario)
    teller = _Teller(world)
    world.world = teller.heard(world.world)  # type: ignore[method-assign]  # every process sees the world through it
    played = play_in(world, scenario)
    teller.catch_up()
    if played.invariant:
        teller.say(f"{played.invariant} is violated: {played.message}", is_short=True)
    return Story(played, teller.lines)


class _Teller:
    """Takes down what one world does."""

    def __init__(self, world: Simulation) -> None:
        self.lines: list[Line] = []
        self._world = world
        self._began = world.clock.at
        self._told = 0
        self._fault = ""
        self._is_calm = False

    def say(self, text: str, *, is_short: bool) -> None:
        self.lines.append(Line(self._world.clock.at - self._began, text, is_short))

    def catch_up(self) -> None:
        """Tell what the world took down since."""
        new, self._told = self._world.story[self._told :], len(self._world.story)
        for text in new:
            call, _, kind = text.partition(": ")
            if call in CALLS:
                self._fault = kind
                if call == "log.append":
                    self.say(f"when this is to be recorded, {KINDS[kind]}", is_short=True)
                    self._fault = ""
            elif " -> " not in text:  # facts are told as they are observed
                self.say(text, is_short=True)

    def heard(self, world: Callable[[], World]) -> Callable[[], World]:
        """Return what makes a process's world, with every port heard."""

        def made() -> World:
            fresh = world()
            self.catch_up()
            self.say(f"{fresh.owner} begins", is_short=False)
            return replace(
                fresh, log=_Heard(self, "log", fresh.log), bind=self._bound(fresh), observe=self._facts(fresh)
            )

        return made

    def _bound(self, world: World) -> Callable[[str, str, Plan | None], Binding]:
        def bind(service: str, environment: str, plan: Plan | None) -> Binding:
            bound = world.bind(service, environment, plan)
            target: Any = _Heard(self, "target", bound.target)
            store: Any = _Heard(self, "store", bound.store)
            places: list[Any] = [_Heard(self, "place", place) for place in bound.places]
            return Binding(target, store, places)

        return bind

    def _facts(self, world: World) -> Callable[[Sequence[Recorded]], None]:
        def observe(recorded: Sequence[Recorded]) -> None:
            for each in recorded:
                self._fact(each.fact)
            world.observe(recorded)

        return observe

    def _fact(self, fact: Fact) -> None:
        cause: e.Cause | None = getattr(fact.body, "cause", None)
        why = f": {cause.message}" if cause else ""
        name = tag_of(fact.body).rpartition(".")[0].replace("-", " ")
        state = f", now {fact.state.replace('_', ' ')}" if fact.state else ""
        changes = isinstance(fact.body, e.StateChange)
        if changes or not isinstance(fact.body, _QUIET):
            self.say(f"recorded: {name}{state}{why}", is_short=changes or cause is not None)

    def answered(self, call: str, args: tuple[Any, ...], answer: object) -> None:
        """Tell what was asked and answered; `answer` is an error where one was raised."""
        self.catch_up()
        fault, self._fault = self._fault, ""
        failed = isinstance(answer, BaseException)
        if call in _READS and not failed:
            return
        text = f"{self._asked(call, args)}: {_said(answer)}" + (f" [{KINDS[fault]}]" if fault else "")
        self.say(text, is_short=bool(fault) or failed)

    def _asked(self, call: str, args: tuple[Any, ...]) -> str:
        match call:
            case "target.apply":
                return f"the target is asked to accept {self._name(args[0])}"
            case "target.retire":
                return f"the target is asked to refuse {self._name(args[0]) if args[0] else 'every other value'}"
            case "target.restore":
                return f"the target is asked to go back to {self._name(args[0])}"
            case "target.verify":
                return f"a fresh login with {self._name(args[0])}"
            case "target.probe":
                return f"a look at {self._name(args[0])}"
            case "store.stage":
                return f"the store is given {args[1]}"
            case "store.promote":
                return f"the store is asked to call {args[1]} current"
            case "store.discard":
                return f"the store is asked to put {args[1]} aside"
            case "place.publish":
                return f"{self._name(args[0])} is published"
            case "log.append":
                return "the log is asked to record it"
            case _:
                return "the store is read"

    def _name(self, value: CredentialValue | None) -> str:
        """Return the version that a value is of, never the value."""
        if value is None:
            return "nothing else"
        known = {**self._world.seen_values, **dict(self._staged())}
        for version, held in known.items():
            if held.username == value.username and held.secret == value.secret:
                return version
        return f"what {value.username} has" if value.secret is None else "a value that no store holds"

    def _staged(self) -> list[tuple[str, CredentialValue]]:
        held = self._world.store.versions(self._world.path).versions
        found = [(version, self._world.value(version)) for version in held]
        return [(version, value) for version, value in found if value is not None]


def _said(answer: object) -> str:
    match answer:
        case Crash():
            return "the process dies"
        case KeyturnError():
            return next((words for kind, words in _ANSWERS.items() if isinstance(answer, kind)), answer.message)
        case BaseException():
            return type(answer).__name__
        case Verification():
            query = "the query works" if answer.query else "the query does not work"
            return f"{answer.candidate}; with a wrong value: {answer.control}; {query}"
        case Sighting():
            return str(answer.probe)
        case _:
            return "done"


class _Heard:
    """A port whose calls and answers are told; nothing else about it changes."""

    def __init__(self, teller: _Teller, name: str, port: Any) -> None:
        self._teller = teller
        self._name = name
        self._port = port

    def __getattr__(self, method: str) -> Any:
        attribute, call = getattr(self._port, method), f"{self._name}.{method}"
        return partial(self._call, call, attribute) if call in CALLS else attribute

    def _call(self, call: str, attribute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            answer = attribute(*args, **kwargs)
        except BaseException as error:
            self._teller.answered(call, args, error)
            raise
        self._teller.answered(call, args, answer)
        return answer
