"""What may go wrong, as data, and ports that go wrong as planned.

Nothing here is a fake of the engine or of an adapter: the memory adapters are wrapped, never replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from engine.errors import ExitCode, KeyturnError, Rejected, Unavailable, Uncertain
from engine.ports import Probe, Sighting, Verification


class Crash(BaseException):
    """The process dies here; nothing of the engine may catch it."""


class Disk(KeyturnError):
    """The log refuses the append: no space is left."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True)
class Fault:
    """At the `nth` call (from 1) of `call`, `kind` happens; a late effect lands after `late` seconds."""

    call: str
    nth: int
    kind: str
    late: float = 1.0


_ERRORS = ("error_before", "error_after", "lost", "rejected", "crash_before", "crash_after")
CALLS: dict[str, tuple[str, ...]] = {
    "target.apply": (*_ERRORS, "late", "forgotten"),
    "target.restore": (*_ERRORS, "late", "forgotten"),
    "target.retire": (*_ERRORS, "late", "forgotten"),
    "target.verify": ("unknown", "refused", "query", "crash_before", "crash_after"),
    "target.probe": ("unknown", "crash_before", "crash_after"),
    "store.stage": _ERRORS,
    "store.promote": _ERRORS,
    "store.read": ("error_before", "crash_before"),
    "store.versions": ("error_before", "crash_before"),
    "store.discard": _ERRORS,
    "place.publish": _ERRORS,
    "log.append": ("crash_before", "crash_after", "disk_full", "abort"),
}
"""What may go wrong at each call. `abort` is an operator who takes the rotation back at that moment; with
`forgotten` the target answers that it is done, and has lost it (a restart before it was on disk)."""

WRITES = {"target.apply", "target.restore", "target.retire"}


class Watcher(Protocol):
    """The simulation, as a port sees it."""

    def enter(self, call: str, args: tuple[Any, ...]) -> Fault | None:
        """Count the call, check what must hold before it, and return the fault planned for it."""

    def leave(self) -> None:
        """Check what must hold between any two calls."""

    def later(self, after: float, effect: Callable[[], Any]) -> None:
        """Let an effect land later."""

    def abort(self) -> None:
        """Be the operator who takes the open rotation back."""

    def observe(self, recorded: Any) -> None:
        """Take note of facts that were appended."""


def _is_forgotten(fault: Fault, args: tuple[Any, ...]) -> bool:
    """Tell whether the call is answered without being done; a value that the target made cannot be unmade."""
    return fault.kind == "forgotten" and not (fault.call == "target.apply" and args[0].secret is None)


class Faulty:
    """A port whose calls fail as planned; everything else goes through to the real adapter."""

    def __init__(self, watcher: Watcher, name: str, port: Any) -> None:
        self._watcher = watcher
        self._name = name
        self._port = port

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self._port, method)
        call = f"{self._name}.{method}"
        if call not in CALLS:
            return attribute
        return lambda *args, **kwargs: self._call(call, partial(attribute, *args, **kwargs), args)

    def _call(self, call: str, effect: Callable[[], Any], args: tuple[Any, ...]) -> Any:
        fault = self._watcher.enter(call, args)
        try:
            if fault is None:
                return effect()
            return args[0] if _is_forgotten(fault, args) else self._before(call, fault, effect)
        finally:
            self._watcher.leave()

    def _before(self, call: str, fault: Fault, effect: Callable[[], Any]) -> Any:
        planned = {"what": call, "why": f"as planned ({fault.kind})"}
        match fault.kind:
            case "crash_before":
                raise Crash
            case "error_before":
                raise Unavailable(**planned)
            case "rejected":
                raise Rejected(**planned)
            case "lost":
                raise Uncertain(**planned)
            case "disk_full":
                raise Disk
            case "unknown" if call == "target.probe":
                return Sighting(Probe.UNKNOWN, "as planned")
            case "unknown":
                return Verification(Probe.UNKNOWN, Probe.UNKNOWN, query=False)
            case "refused":
                return Verification(Probe.REFUSED, Probe.UNKNOWN, query=False)
            case "query":
                return Verification(Probe.ACCEPTED, Probe.REFUSED, query=False)
            case "late":
                self._watcher.later(fault.late, effect)
                raise Uncertain(**planned)
            case "abort":
                self._watcher.abort()
                return effect()
        return self._after(call, fault, effect)

    def _after(self, call: str, fault: Fault, effect: Callable[[], Any]) -> Any:
        result = effect()
        if fault.kind == "forgotten":
            return result
        if fault.kind == "error_after":
            raise Uncertain(what=call, why="as planned (error_after)")
        assert fault.kind == "crash_after", fault
        if call == "log.append":
            self._watcher.observe(result)
        raise Crash
