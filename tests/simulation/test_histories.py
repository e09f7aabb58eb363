"""Long histories of one credential: people rotate, go back, abort and wait, in any order, while things break."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adapters.simulation.faults import CALLS, Fault
from adapters.simulation.invariants import check_world
from adapters.simulation.world import ENVIRONMENT, SERVICE, Simulation
from adapters.targets.memory_options import MemoryOptions
from engine.machine import ENDED, State
from engine.plan import Strategy
from engine.values import SECOND, Microseconds


class Histories(RuleBasedStateMachine):
    """One service over a long time; each rule may be hit by faults at its next calls."""

    simulation: Simulation

    @initialize(strategy=st.sampled_from(Strategy), takeover=st.booleans(), lockout=st.none() | st.integers(3, 6))
    def begin(self, *, strategy: Strategy, takeover: bool, lockout: int | None) -> None:
        """Set up a world with a strategy."""
        options = MemoryOptions(lockout_after=lockout)
        self.simulation = Simulation(strategy, takeover=takeover, options=options)

    def _break(self, soon: list[tuple[str, int, int, float]]) -> None:
        """Plan faults at calls that are `ahead` of now."""
        for call, ahead, kind, late in soon:
            kinds = CALLS[call]
            nth = self.simulation.calls[call] + ahead
            self.simulation.faults.append(Fault(call, nth, kinds[kind % len(kinds)], late))

    faults = st.lists(
        st.tuples(
            st.sampled_from(sorted(CALLS)), st.integers(1, 6), st.integers(0, 6), st.sampled_from([0.01, 2.5, 4.9])
        ),
        max_size=3,
    )

    @rule(faults=faults)
    def rotate(self, faults: list[tuple[str, int, int, float]]) -> None:
        """Rotate to a fresh version."""
        self._break(faults)
        assert self.simulation.rotate().state in ENDED

    @rule(faults=faults, pick=st.integers(0, 9))
    def go_back(self, faults: list[tuple[str, int, int, float]], pick: int) -> None:
        """Go back to an earlier version that is still held, where the target can be set back."""
        credential = self.simulation.world().credential(SERVICE, ENVIRONMENT)
        held = set(self.simulation.store.versions(self.simulation.path).versions)
        points = [v for v in credential.known if v.id in held and v != credential.current]
        if not points or not self.simulation.capabilities.settable:
            return
        self._break(faults)
        ended = self.simulation.rotate(to=points[pick % len(points)])
        assert ended.state in ENDED

    @rule(seconds=st.integers(1, 100_000))
    def time_passes(self, seconds: int) -> None:
        """Nothing happens for a while."""
        self.simulation.clock.wait(Microseconds(seconds * SECOND))

    @precondition(lambda self: self.simulation.fold)
    @rule()
    def what_was_promised_holds(self) -> None:
        """After a completed rotation the log's current version is the store's."""
        credential = self.simulation.world().credential(SERVICE, ENVIRONMENT)
        last = self.simulation.fold[credential.last] if credential.last else None
        if last is not None and last.state is State.COMPLETED and credential.current is not None:
            assert credential.current.id == self.simulation.store.versions(self.simulation.path).current

    @invariant()
    def invariants_hold(self) -> None:
        """I1, I2, I3, I7 hold between the rules as well."""
        if hasattr(self, "simulation"):
            check_world(self.simulation)

    @precondition(lambda self: self.simulation.fold)
    @rule()
    def what_went_before_is_no_dead_end(self) -> None:
        """Whatever happened so far: once nothing breaks and nobody is about, one more rotation completes."""
        self.simulation.settle()
        self.simulation.lead_on()
        self.simulation.calm = False

    def teardown(self) -> None:
        """With no more faults, everything ends, and one more rotation completes."""
        if hasattr(self, "simulation"):
            self.simulation.settle()
            self.simulation.lead_on()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=2000, stateful_step_count=8)
