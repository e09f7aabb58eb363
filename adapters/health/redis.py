"""What is measured at a Redis: how fast it answers, its memory, and its clients; of several nodes, the worst counts.

Rule: every look logs in afresh at every node with the new version, and asks for nothing that its login may not see.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from adapters.health.latency import Latencies
from adapters.health.looking import FAIL, Found, See, declared, in_milliseconds, judged, seconds
from adapters.health.redis_session import EXTRA, KIND, Session, each_node
from engine.adapter import CheckContext
from engine.health import Subject


class CommandLatencyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Running a command as the new login, some times in a row; judged is the 95th percentile of the slowest node."""

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("PING",)
    """What is run, word for word; it is to change nothing."""
    threshold_ms: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    """The 95th percentile fails above this."""
    warning_ms: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """It warns above this."""
    commands: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """How often the command is run in a look, as far as its timeout lets it: of 20, one may be slow."""
    window: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 20
    """Of how many of a node's last answers the percentile is; more than `commands` reaches back to earlier looks."""


class MemoryUsageOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The memory in use against `maxmemory`, or the machine's where there is no `maxmemory`."""

    max_memory_pct: Annotated[float, msgspec.Meta(gt=0, le=100)] = 90.0
    """It fails above this."""
    warning_threshold_pct: Annotated[float, msgspec.Meta(gt=0, le=100)] = 80.0
    """It warns above this."""


class ConnectionCountOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The clients against `maxclients`; it fails where none is left."""

    max_connections: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """How many clients there may be; else `maxclients`."""
    warning_threshold_pct: Annotated[float, msgspec.Meta(gt=0, le=100)] = 80.0
    """It warns above this."""


def _worst(context: CheckContext, subject: Subject, see: Callable[[Session], Found]) -> Found:
    """Look at every node; one that cannot be seen is not made up for by the others."""
    found = each_node(context, subject, see)
    worst = max(found, key=lambda each: each.value or 0.0)
    return Found(worst.result, "; ".join(each.text for each in found), worst.value)


def _command_latency(options: CommandLatencyOptions, context: CheckContext) -> See:
    kept: dict[str, Latencies] = {}
    warn = None if options.warning_ms is None else options.warning_ms / 1000

    def see(subject: Subject) -> Found:
        # Half of the time is for the commands that are begun, so that the last of them can end.
        until = time.monotonic() + seconds(context.timeout) / 2

        def at(node: Session) -> Found:
            latencies = kept.setdefault(node.node, Latencies(options.window))
            latencies.take(lambda: node.ask(*options.command), count=options.commands, until=until)
            p50, p95, p99 = (latencies.percentile(rank) for rank in (50, 95, 99))
            text = f"p95 {in_milliseconds(p95)} (p50 {in_milliseconds(p50)}, p99 {in_milliseconds(p99)})"
            result = judged(p95, warn=warn, fail=options.threshold_ms / 1000)
            return Found(result, f"{node.node}: {text} of {len(latencies)} commands", p95)

        return _worst(context, subject, at)

    return see


def _memory_usage(options: MemoryUsageOptions, context: CheckContext) -> See:
    def at(node: Session) -> Found:
        memory = node.numbers("memory")
        used = memory("used_memory")
        most = memory("maxmemory")
        whose = "maxmemory" if most else "the machine's memory"
        most = most or memory("total_system_memory")
        value = used / most
        bounds = {"warn": options.warning_threshold_pct / 100, "fail": options.max_memory_pct / 100}
        return Found(judged(value, **bounds), f"{node.node}: {value:.1%} of {whose} ({used:.0f} bytes)", value)

    return lambda subject: _worst(context, subject, at)


def _connection_count(options: ConnectionCountOptions, context: CheckContext) -> See:
    def at(node: Session) -> Found:
        clients = node.numbers("clients")
        # Ours is not counted: it goes with the look.
        used = clients("connected_clients") - 1
        most = options.max_connections or clients("maxclients")
        value = used / most
        result = FAIL if value >= 1 else judged(value, warn=options.warning_threshold_pct / 100)
        return Found(result, f"{node.node}: {used:.0f} of {most:.0f} clients", value)

    return lambda subject: _worst(context, subject, at)


_FITS: Final = frozenset({KIND})

COMMAND_LATENCY: Final = declared(
    "command_latency",
    "times a command that runs as the new login, and judges the 95th percentile",
    CommandLatencyOptions,
    _command_latency,
    unit="s",
    kinds=_FITS,
    extra=EXTRA,
)
MEMORY_USAGE: Final = declared(
    "memory_usage",
    "holds the memory in use against maxmemory",
    MemoryUsageOptions,
    _memory_usage,
    unit="ratio",
    kinds=_FITS,
    extra=EXTRA,
)
CONNECTION_COUNT: Final = declared(
    "connection_count",
    "counts the clients against maxclients",
    ConnectionCountOptions,
    _connection_count,
    unit="ratio",
    kinds=_FITS,
    extra=EXTRA,
)
