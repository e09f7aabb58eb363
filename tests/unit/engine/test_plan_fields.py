"""Every field of a plan decides something: two values of it, and what each leads to.

A field that the engine ignored would lead to the same twice, and a field that stands in no row fails the last test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from msgspec.structs import replace

from adapters.discovery.memory import numbered
from adapters.distributors.memory import Fault
from adapters.targets.memory_options import MemoryOptions
from engine import events as e
from engine.adapter import Duration
from engine.commands import StartRotation, opened
from engine.credential import Version
from engine.errors import NoRestorePoint, Rejected, Uncertain
from engine.health import CheckResult
from engine.machine import State
from engine.performance import facts_of, noted_facts
from engine.plan import LoginBudget, Plan, RetryClass, Strategy
from engine.policies import can_go_back, delay, is_inconclusive
from engine.ports import Probe, Verification
from engine.rollout import RolloutPolicy, Stage
from engine.rotation import Rotation
from engine.values import SECOND, Microseconds
from tests.unit.engine.bench import ENVIRONMENT, FIRST, PATH, SERVICE, Bench, after, answers, fails
from tests.unit.engine.looks import Look
from tests.unit.engine.rotations import attempt, plan, rotation

S: Final = SECOND
UNKNOWN = Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False)
REFUSED = Verification(Probe.REFUSED, Probe.UNKNOWN, query=False)


def strategy(value: Strategy) -> bool:
    """Whether a first version that was applied can be taken away again."""
    return can_go_back(rotation(State.VERIFYING, plan(value), previous=None, attempts=(attempt(done=True),)))


def overlap(value: Any) -> list[str]:
    """Who goes back first after promotion."""
    bench = Bench(Strategy.DUAL)
    credential = bench.credential
    held = Version(FIRST, "app")
    command = StartRotation(SERVICE, ENVIRONMENT, bench.plan(), bench.logins, "process-1", old=held, label=FIRST)
    rotation_id = UUID(int=9)
    (started,), noted = opened(command, credential, rotation_id, holder=None, now=bench.clock.now().wall, until="")
    assert isinstance(started, e.RotationStarted)
    frozen = replace(started, plan=replace(started.plan, overlap=value))
    at = bench.clock.now().wall
    facts = facts_of(rotation_id, 0, State.WAITING, [frozen], at=at, actor="ada")
    bench.log.append([*facts, *noted_facts(credential, noted, at=at, actor="ada")])
    bench.until("monitoring", rotation_id)
    before = len(bench.asked("store.promote", "target.restore"))
    bench.operations().go_back(rotation_id, command="abort")
    bench.drive(rotation_id)
    return bench.asked("store.promote", "target.restore")[before:]


def store(value: str) -> bool:
    """Whether the store is named where it lost a version."""
    bench = Bench(store=value)
    with pytest.raises(Rejected) as caught:
        bench.performance(bench.start()).candidate()
    return f"{value!r}" in caught.value.message and value == "vault"


def path(value: str) -> bool:
    """Whether a version is held at the path where the first one was."""
    bench = Bench(path=value)
    return bench.rotate().candidate in bench.held.versions


def places(value: tuple[str, ...]) -> list[int]:
    """How often each of the places that the service has was written."""
    bench = Bench(places=("dotenv:A", "dotenv:B"))
    bench.rotate(places=value)
    return [len(place.published) for place in bench.places]


def retry(value: RetryClass) -> State:
    """How it ends where an answer was lost and the target refuses the value."""
    bench = Bench(retry=value)
    bench.at("target.apply", fails(Uncertain))
    return bench.rotate().state


def issues_value(value: Any) -> str:
    """What is recorded of staging."""
    bench = Bench(Strategy.SCRIPT, options=MemoryOptions(mode="issue"), issues_value=value)
    return bench.names(bench.rotate().id)[1]


def settable(value: Any) -> bool:
    """Whether it can be gone back to an earlier version."""
    bench = Bench(settable=value)
    bench.rotate()
    version = Version(FIRST, "app")
    try:
        bench.operations().roll_back_to(SERVICE, ENVIRONMENT, bench.plan(), version, logins=bench.logins)
    except NoRestorePoint:
        return False
    return True


def login_budget(value: LoginBudget | None) -> int:
    """How many waits there are for wrong logins of the window."""
    bench = Bench(login_budget=value)
    bench.rotate()
    return len([waited for waited in bench.clock.waits if waited > 60 * S])


def propagation(value: Microseconds) -> State:
    """How it ends where a change shows after twenty seconds."""
    late = Duration(20 * S)
    bench = Bench(options=MemoryOptions(propagation=late), propagation=value)
    bench.clock.wait(late.microseconds)
    return bench.rotate().state


def grace(value: Microseconds) -> list[int]:
    """How long is waited before the old version is retired."""
    bench = Bench(Strategy.DUAL, grace=value)
    bench.rotate()
    return bench.clock.waits


def attempt_window(value: Microseconds) -> int:
    """How long the target has to answer."""
    bench = Bench(attempt_window=value)
    bench.rotate()
    call = bench.call("target.apply")
    return int(call.kwargs["deadline"] - call.at)


def effect_attempts(value: int) -> int:
    """How often the store is asked to promote."""
    bench = Bench(effect_attempts=value)
    rotation_id = bench.start()
    bench.at("store.promote", *[fails()] * 20)
    bench.until("rolling_back", rotation_id)
    return len(bench.asked("store.promote"))


def verification_timeout(value: Microseconds) -> State:
    """How it ends where every verification takes three seconds."""
    bench = Bench(verification_timeout=value)
    bench.at("target.verify", *[after(lambda: bench.clock.wait(Microseconds(3 * S)))] * 9)
    return bench.rotate().state


def verification_attempts(value: int) -> int:
    """How often it is verified where there is no answer."""
    bench = Bench(verification_attempts=value)
    bench.at("target.verify", *[answers(UNKNOWN)] * 9)
    bench.rotate()
    return len(bench.asked("target.verify"))


def refusals(value: int) -> int:
    """How often it is verified where the value is refused."""
    bench = Bench(refusals=value, verification_attempts=9)
    bench.at("target.verify", *[answers(REFUSED)] * 9)
    bench.rotate()
    return len(bench.asked("target.verify"))


def retry_first(value: Microseconds) -> int:
    """The longest first delay."""
    return delay(plan(retry_first=value), 1, jitter=1.0)


def retry_longest(value: Microseconds) -> int:
    """The longest delay of all."""
    return delay(plan(retry_longest=value), 30, jitter=1.0)


def _gives_up(bench: Bench, call: str, *steps: Any) -> State:
    bench.at(call, *steps)
    return bench.rotate().state


def rollback_automatic(value: Any) -> State:
    """How it ends where the store does not promote."""
    return _gives_up(Bench(rollback_automatic=value), "store.promote", fails(Rejected))


def rollback_on_verification_failure(value: Any) -> tuple[State, State]:
    """How it ends where it is not verified, and where the store does not promote."""
    verified = _gives_up(Bench(rollback_on_verification_failure=value), "target.verify", *[answers(UNKNOWN)] * 3)
    return verified, _gives_up(Bench(rollback_on_verification_failure=value), "store.promote", fails(Rejected))


def rollback_timeout(value: Microseconds) -> tuple[int, State]:
    """How long the target has to go back, and how it ends where every look after that takes three seconds."""
    bench = Bench(rollback_timeout=value)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.probe", *[after(lambda: bench.clock.wait(Microseconds(3 * S)))] * 9)
    ended = bench.drive(rotation_id)
    call = bench.call("target.restore", 0)
    return int(call.kwargs["deadline"] - call.at), ended.state


def rollback_retries(value: int) -> int:
    """How often it is tried to go back before a person is needed."""
    bench = Bench(rollback_retries=value)
    rotation_id = bench.start()
    bench.until("verifying", rotation_id)
    bench.operations().go_back(rotation_id, command="abort")
    bench.at("target.restore", *[fails()] * 20)
    assert bench.drive(rotation_id).state is State.ROLLBACK_FAILED
    return len(bench.asked("target.restore"))


def password_length(value: int) -> int:
    """How long the new value is."""
    bench = Bench(password_length=value)
    bench.rotate()
    return len(bench.value("current").revealed())


def password_alphabet(value: str) -> set[str]:
    """Which characters the new value has."""
    bench = Bench(password_alphabet=value)
    bench.rotate()
    return set(bench.value("current").revealed())


def versions_kept(value: int) -> int:
    """How many versions are held after eight rotations."""
    bench = Bench(versions_kept=value)
    for _ in range(8):
        bench.rotate()
    return len(bench.held.versions)


def _watched(*results: CheckResult, **plan: Any) -> tuple[Bench, Rotation]:
    """Rotate a service with one health check that sees these."""
    bench = Bench(Strategy.DUAL, **{"checks": ("connection",), "grace": Microseconds(0), **plan})
    bench.checks.append(Look(*results))
    return bench, bench.drive(bench.start(), patience=lambda rotation, wait: not is_inconclusive(rotation))


def checks(value: tuple[str, ...]) -> int:
    """How many samples there are."""
    bench, rotation = _watched(CheckResult.PASS, checks=value, monitoring_period=Microseconds(60 * S))
    return len(bench.bodies(rotation.id, e.HealthSampled))


def monitoring_period(value: Microseconds) -> int:
    """How many samples there are."""
    bench, rotation = _watched(CheckResult.PASS, monitoring_period=value)
    return len(bench.bodies(rotation.id, e.HealthSampled))


def monitoring_interval(value: Microseconds) -> int:
    """How many samples there are."""
    bench, rotation = _watched(CheckResult.PASS, monitoring_interval=value)
    return len(bench.bodies(rotation.id, e.HealthSampled))


def monitoring_failures(value: int) -> int:
    """How many failures it takes."""
    bench, rotation = _watched(CheckResult.FAIL, monitoring_failures=value)
    return len(bench.bodies(rotation.id, e.HealthSampled))


def monitoring_unknowns(value: int) -> int:
    """How many looks that show nothing it takes until a person is waited for."""
    bench, rotation = _watched(CheckResult.UNKNOWN, monitoring_unknowns=value)
    return len(bench.bodies(rotation.id, e.HealthSampled))


def rollback_on_health_failure(value: Any) -> State:
    """How it ends where a check fails."""
    return _watched(CheckResult.FAIL, rollback_on_health_failure=value)[1].state


def rollout(value: RolloutPolicy | None) -> list[int]:
    """How many instances are told at once."""
    bench = Bench(Strategy.DUAL, instances=numbered(3), rollout=value)
    return [len(each.instances) for each in bench.bodies(bench.rotate().id, e.InstancesTold)]


def lifetime(value: Microseconds) -> list[int]:
    """At how many per cent of that time people are told that the old version is still used."""
    policy = RolloutPolicy((Stage(100),), canary=False)
    bench = Bench(Strategy.DUAL, instances=numbered(1), rollout=policy, grace=Microseconds(0))
    rotation_id = bench.start(lifetime=value)
    bench.until("grace", rotation_id)
    bench.distributor.faults["instance-0001"] = frozenset({Fault.UNKNOWN})
    bench.drive(rotation_id, patience=lambda rotation, wait: bench.clock.uptime < 2_400 * S)
    return [each.percent for each in bench.bodies(rotation_id, e.OverlapWarned)]


class Field(NamedTuple):
    """A field, and two values of it with what each leads to."""

    leads_to: Callable[[Any], Any]
    cases: tuple[tuple[Any, Any], tuple[Any, Any]]


STORE_FIRST, TARGET_FIRST = ["store.promote", "target.restore"], ["target.restore", "store.promote"]
BUDGET = LoginBudget(2, Microseconds(900 * S))

FIELDS: Final = [
    Field(strategy, ((Strategy.SINGLE, False), (Strategy.DUAL, True))),
    Field(overlap, ((True, STORE_FIRST), (False, TARGET_FIRST))),
    Field(store, (("vault", True), ("local", False))),
    Field(path, ((PATH, True), ("production/other", False))),
    Field(places, ((("dotenv:A", "dotenv:B"), [1, 1]), (("dotenv:B",), [0, 1]))),
    Field(retry, ((RetryClass.IDEMPOTENT, State.COMPLETED), (RetryClass.NEVER_REPEAT, State.ROLLED_BACK))),
    Field(issues_value, ((True, "CandidateReserved"), (False, "CandidateStaged"))),
    Field(settable, ((True, True), (False, False))),
    Field(login_budget, ((None, 0), (BUDGET, 1))),
    Field(propagation, ((Microseconds(0), State.ROLLED_BACK), (Microseconds(20 * S), State.COMPLETED))),
    Field(grace, ((Microseconds(0), []), (Microseconds(60 * S), [60 * S]))),
    Field(attempt_window, ((Microseconds(5 * S), 5 * S), (Microseconds(9 * S), 9 * S))),
    Field(effect_attempts, ((1, 1), (4, 4))),
    Field(verification_timeout, ((Microseconds(4 * S), State.COMPLETED), (Microseconds(2 * S), State.ROLLED_BACK))),
    Field(verification_attempts, ((1, 1), (4, 4))),
    Field(refusals, ((1, 1), (3, 3))),
    Field(retry_first, ((Microseconds(S), S), (Microseconds(5 * S), 5 * S))),
    Field(retry_longest, ((Microseconds(60 * S), 60 * S), (Microseconds(9 * S), 9 * S))),
    Field(rollback_automatic, ((True, State.ROLLED_BACK), (False, State.FAILED))),
    Field(
        rollback_on_verification_failure,
        ((True, (State.ROLLED_BACK, State.ROLLED_BACK)), (False, (State.FAILED, State.ROLLED_BACK))),
    ),
    Field(
        rollback_timeout,
        ((Microseconds(30 * S), (5 * S, State.ROLLED_BACK)), (Microseconds(2 * S), (2 * S, State.ROLLBACK_FAILED))),
    ),
    Field(rollback_retries, ((0, 1), (2, 3))),
    Field(password_length, ((32, 32), (48, 48))),
    Field(password_alphabet, (("ab", {"a", "b"}), ("xyz", {"x", "y", "z"}))),
    Field(versions_kept, ((3, 3), (5, 5))),
    Field(checks, ((("connection",), 3), ((), 0))),
    Field(monitoring_period, ((Microseconds(60 * S), 3), (Microseconds(300 * S), 11))),
    Field(monitoring_interval, ((Microseconds(30 * S), 21), (Microseconds(60 * S), 11))),
    Field(monitoring_failures, ((1, 1), (4, 4))),
    Field(monitoring_unknowns, ((2, 2), (5, 5))),
    Field(rollback_on_health_failure, ((True, State.ROLLED_BACK), (False, State.FAILED))),
    Field(rollout, ((None, []), (RolloutPolicy((Stage(100),), parallelism=2, canary=False), [2, 1]))),
    Field(lifetime, ((Microseconds(0), []), (Microseconds(1_200 * S), [50, 80, 95]))),
]
NAMES = [field.leads_to.__name__ for field in FIELDS]


@pytest.mark.parametrize("field", FIELDS, ids=NAMES)
def test_a_field_decides_what_it_says(field: Field) -> None:
    """Both values lead to what they should, and that is not the same."""
    (first, one), (second, other) = field.cases
    assert one != other
    assert field.leads_to(first) == one
    assert field.leads_to(second) == other


def test_the_table_holds_every_field() -> None:
    assert list(Plan.__struct_fields__) == NAMES
