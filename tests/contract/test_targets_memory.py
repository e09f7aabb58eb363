"""The rehearsal target keeps the contract of targets, in process and in its file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from adapters.simulation.nodes import Nodes, SameSalt
from adapters.targets.memory import ADAPTER, MemoryTarget
from adapters.targets.memory_options import MemoryOptions
from engine.adapter import Duration, Reference, TargetContext
from engine.plan import Strategy
from engine.ports import Probe, Target
from engine.values import CredentialValue, Secret
from tests.contract.target_bench import Bench, MakeBench
from tests.contract.targets import TargetContract

SHOWING = {Strategy.SINGLE, Strategy.ALTERNATING, Strategy.DUAL, Strategy.SCRIPT}


def options(**given: object) -> MemoryOptions:
    """Return options as the configuration would read them."""
    hook = {Duration: Duration.parse, Reference: Reference.parse}
    return msgspec.convert(given, MemoryOptions, dec_hook=lambda kind, raw: hook[kind](raw))


def logins(strategy: Strategy, username: str = "app") -> tuple[str, ...]:
    """Return the logins of a service of that strategy."""
    return (f"{username}_a", f"{username}_b") if strategy is Strategy.ALTERNATING else (username,)


CASES = [
    *[(strategy, {}) for strategy in Strategy],
    *[(strategy, {"shows_restorable": True}) for strategy in sorted(SHOWING)],
    (Strategy.SCRIPT, {"mode": "issue"}),
    (Strategy.DUAL, {"values_max": 3}),
    (Strategy.ISSUE, {"values_max": 2}),
    (Strategy.SINGLE, {"settable": False}),
    (Strategy.DUAL, {"settable": False}),
]


class TestMemory(TargetContract):
    """Every strategy, in process and in a file."""

    @pytest.fixture(params=["process", "file"])
    def where(self, request: pytest.FixtureRequest) -> str:
        """Where the accounts are."""
        return str(request.param)

    @pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *case[1]]))
    def case(self, request: pytest.FixtureRequest) -> tuple[Strategy, dict[str, object]]:
        """A strategy with its options."""
        return request.param  # type: ignore[no-any-return]

    @pytest.fixture
    def make_bench(self, where: str, case: tuple[Strategy, dict[str, object]], tmp_path: Path) -> MakeBench:
        """Build the target directly in process, and as the command line does for the file."""
        strategy, given = case

        def make(username: str = "app") -> Bench:
            usernames = logins(strategy, username)
            context = memory_context(tmp_path, strategy, usernames)

            def build() -> Target:
                return ADAPTER.build(options(**given), context)

            inside = MemoryTarget(strategy=strategy, usernames=usernames, options=options(**given))
            lost = options(**given, faults=["unavailable"])
            return Bench(
                target=inside if where == "process" else build(),
                usernames=usernames,
                again=(lambda: inside) if where == "process" else build,
                unreachable=MemoryTarget(strategy=strategy, usernames=usernames, options=lost),
                shows_restorable=bool(given.get("shows_restorable")),
            )

        return make


NODES = [case for case in CASES if case[0] is not Strategy.ISSUE and case[1] != {"mode": "issue"}]


class TestSeveralNodes(TargetContract):
    """The nodes of the simulated world are one target, and keep its promises; they make no values."""

    @pytest.fixture(params=NODES, ids=lambda case: "-".join([case[0], *case[1]]))
    def case(self, request: pytest.FixtureRequest) -> tuple[Strategy, dict[str, object]]:
        """A strategy with its options."""
        return request.param  # type: ignore[no-any-return]

    @pytest.fixture
    def make_bench(self, case: tuple[Strategy, dict[str, object]]) -> MakeBench:
        """Build two nodes."""
        strategy, given = case

        def make(username: str = "app") -> Bench:
            usernames = logins(strategy, username)

            def nodes(**more: object) -> Nodes:
                build = partial(MemoryTarget, strategy=strategy, usernames=usernames, options=options(**given, **more))
                return Nodes([build(entropy=SameSalt()) for _ in range(2)])

            target = nodes()
            return Bench(
                target=target,
                usernames=usernames,
                again=lambda: target,
                unreachable=nodes(faults=["unavailable"]),
                shows_restorable=bool(given.get("shows_restorable")),
            )

        return make

    def test_a_value_of_one_node_only_is_a_value_that_the_login_holds(self, bench: Bench) -> None:
        """And not one that could not be looked at: with it the login holds something, which nobody can go back to."""
        assert isinstance(bench.target, Nodes)
        bench.target.reach = 1
        value = bench.put()
        assert bench.target.probe(value).probe is Probe.UNKNOWN
        seen = bench.target.probe(CredentialValue(value.username, None))
        assert (seen.probe, seen.restorable) == (Probe.ACCEPTED, None)


def memory_context(
    folder: Path, strategy: Strategy, usernames: tuple[str, ...], service: str = "app-db"
) -> TargetContext:
    """Return what the command line tells the target; its state folder is `folder`."""

    def secret(reference: Reference) -> Secret:
        raise AssertionError("the rehearsal target reads no secret")

    return TargetContext(
        service=service,
        environment="production",
        strategy=strategy,
        username=usernames[0],
        usernames=usernames,
        base=folder,
        state=folder,
        secret=secret,
    )
