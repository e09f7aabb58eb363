"""Ports that go wrong as planned: the memory adapters are wrapped, never replaced, and a call fails when it is told.

Rule: a port knows its watcher, which is the world; it decides nothing, and looks at no rotation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Protocol

from adapters.simulation.faults import CALLS, JUMPS, PEOPLE, SLOW, Crash, Disk, Fault
from adapters.simulation.surroundings import Process, SimulatedClock
from adapters.stores.shelf import Shelf
from engine.errors import OwnLoginRejected, PortError, Rejected, Unavailable, Uncertain
from engine.ports import Probe, Sighting, Verification
from engine.values import CredentialValue


class Watcher(Protocol):
    """The simulation, as a port sees it."""

    clock: SimulatedClock

    def enter(self, call: str, args: tuple[Any, ...], kwargs: dict[str, Any], process: Process) -> Fault | None:
        """Count the call, check what must hold before it, and return the fault planned for it."""

    def leave(self, call: str) -> None:
        """Check what must hold between any two calls."""

    def later(self, fault: Fault, effect: Callable[[], Any]) -> None:
        """Let an effect land later."""

    def linger(self, seconds: int, process: Process) -> None:
        """Let an answer take its time."""

    def command(self, kind: str) -> None:
        """Be the operator who decides something at this moment."""

    def come_first(self) -> None:
        """Be the other process that appends first."""

    def observe(self, recorded: Any) -> None:
        """Take note of facts that were appended."""

    def stale_store(self) -> Shelf | None:
        """Return what the store held before the last write; None where nothing was written."""

    def stale_probe(self, value: CredentialValue) -> Sighting | None:
        """Return what a probe showed before the last write to the target; None where nothing was written."""

    def on_some_nodes(self, effect: Callable[[], Any]) -> None:
        """Have an effect reach some nodes of the target only."""


class Faulty:
    """A port whose calls fail as planned; everything else goes through to the real adapter."""

    def __init__(self, watcher: Watcher, name: str, real: Callable[[], Any], process: Process) -> None:
        self._watcher = watcher
        self._name = name
        self._real = real
        self._process = process

    def __getattr__(self, method: str) -> Any:
        call = f"{self._name}.{method}"
        if call not in CALLS:
            return getattr(self._real(), method)

        asked = partial(self._call, call, method)
        setattr(self, method, asked)
        return asked

    def _call(self, call: str, method: str, /, *args: Any, **kwargs: Any) -> Any:
        watcher = self._watcher
        fault = watcher.enter(call, args, kwargs, self._process)
        if watcher.clock.offset and kwargs.get("deadline") is not None:
            kwargs["deadline"] = watcher.clock.true_time_of(kwargs["deadline"])
        real = getattr(self._real(), method)
        try:
            return real(*args, **kwargs) if fault is None else self._fail(fault, partial(real, *args, **kwargs), args)
        finally:
            watcher.leave(call)

    def _fail(self, fault: Fault, effect: Callable[[], Any], args: tuple[Any, ...]) -> Any:
        watcher, kind = self._watcher, fault.kind
        if kind in JUMPS:
            watcher.clock.jump(JUMPS[kind])
        elif kind in PEOPLE:
            watcher.command(kind)
        elif kind == "other_first":
            watcher.come_first()
        elif kind in SLOW and fault.call == "log.append":
            watcher.linger(SLOW[kind], self._process)  # what takes so long is the disk: nobody sees the facts before
        elif fault.call in UNCLEAR and kind in UNCLEAR[fault.call]:
            return UNCLEAR[fault.call][kind]
        elif kind in REFUSALS:
            raise REFUSALS[kind](fault)
        elif kind == "stale":
            return _stale(watcher, fault.call, args, effect)
        elif kind == "forgotten":
            return effect() if fault.call == "target.apply" and args[0].secret is None else args[0]
        elif kind == "late":
            watcher.later(fault, effect)
            raise _uncertain(fault)
        elif kind == "partial":
            watcher.on_some_nodes(effect)
            raise _uncertain(fault)
        else:
            return self._after(fault, effect)
        return effect()

    def _after(self, fault: Fault, effect: Callable[[], Any]) -> Any:
        """Let it happen, and then go wrong."""
        result = effect()
        match fault.kind:
            case "error_after":
                raise _uncertain(fault)
            case "crash_after":
                if fault.call == "log.append":
                    self._watcher.observe(result)
                raise Crash
            case "twice":
                with suppress(PortError):  # what is delivered again may be refused; the first one is answered
                    effect()
            case "slow" | "very_slow":
                self._watcher.linger(SLOW[fault.kind], self._process)
            case _:
                raise AssertionError(f"no port knows how to fail so: {fault}")
        return result


def _planned(fault: Fault) -> dict[str, str]:
    return {"what": fault.call, "why": f"as planned ({fault.kind})"}


def _uncertain(fault: Fault) -> Uncertain:
    return Uncertain(**_planned(fault))


REFUSALS: Final[dict[str, Callable[[Fault], BaseException]]] = {
    "crash_before": lambda fault: Crash(),
    "disk_full": lambda fault: Disk(),
    "error_before": lambda fault: Unavailable(**_planned(fault)),
    "rate_limited": lambda fault: Unavailable(**_planned(fault)),
    "rejected": lambda fault: Rejected(**_planned(fault)),
    "own_login_rejected": lambda fault: OwnLoginRejected(**_planned(fault)),
    "lost": _uncertain,
}
"""What is raised of a call that does not happen."""

_NOTHING_CLEAR: Final = Sighting(Probe.UNKNOWN, "as planned")
UNCLEAR: Final[dict[str, dict[str, Verification | Sighting]]] = {
    "target.probe": {"unknown": _NOTHING_CLEAR, "rate_limited": _NOTHING_CLEAR},
    "target.verify": {
        "unknown": Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False),
        "refused": Verification(Probe.REFUSED, Probe.UNKNOWN, query=False),
        "query": Verification(Probe.ACCEPTED, Probe.REFUSED, query=False),
    },
}
"""What is answered in place of the truth. A probe never raises, whatever it meets."""


def _stale(watcher: Watcher, call: str, args: tuple[Any, ...], effect: Callable[[], Any]) -> Any:
    """Return what was there before the last write; what is there, where nothing was written yet."""
    if call == "target.probe":
        return watcher.stale_probe(args[0]) or effect()
    shelf = watcher.stale_store()
    if shelf is None:
        return effect()
    return shelf.read(args[1]) if call == "store.read" else shelf.holdings()
