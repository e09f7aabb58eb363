"""What the tests of health checks share: a subject with canaries, a context, how options are read.

No test lives here.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from adapters.registry import check_adapter
from adapters.targets.memory import ADAPTER as MEMORY
from adapters.targets.memory_options import MemoryOptions
from engine.adapter import CheckContext, Duration, Reference, TargetContext
from engine.health import HealthCheck, Subject
from engine.plan import Strategy
from engine.ports import Target
from engine.values import SECOND, CredentialValue, Microseconds, Secret


def canary(username: str = "app") -> CredentialValue:
    """Return a value whose secret must not turn up anywhere."""
    return CredentialValue(username, Secret(f"canary-{secrets.token_hex(16)}"))


def subject(**given: Any) -> Subject:
    """Return a subject in the middle of a rotation; `given` says what is different."""
    usual: dict[str, Any] = {
        "service": "app-db",
        "environment": "production",
        "strategy": "dual",
        "rotation_id": "r-1",
        "new_version": "v2",
        "old_version": "v1",
        "new": canary(),
        "old": canary(),
    }
    return Subject(**(usual | given))


def options(kind: type[msgspec.Struct], raw: Mapping[str, object]) -> Any:
    """Read options as the configuration does; raises `msgspec.ValidationError`."""
    hooks: dict[Any, Any] = {Duration: Duration.parse, Reference: Reference.parse}
    return msgspec.convert(raw, kind, dec_hook=lambda wanted, value: hooks[wanted](value))


def memory_target(state: Path, **given: object) -> Target:
    """Return a rehearsal target with one login, `app`."""
    context = TargetContext(
        service="app-db",
        environment="production",
        strategy=Strategy.DUAL,
        username="app",
        usernames=("app",),
        base=state,
        state=state,
        secret=lambda reference: Secret("canary-unused"),
    )
    target: Target = MEMORY.build(options(MemoryOptions, given), context)
    return target


def context(**given: Any) -> CheckContext:
    """Return what a check is told; `given` says what is different."""
    base = given.pop("base", Path("/nowhere"))
    usual: dict[str, Any] = {
        "name": "check",
        "service": "app-db",
        "environment": "production",
        "kind": "memory",
        "service_options": MemoryOptions(),
        "target": None,
        "base": base,
        "state": base,
        "secret": lambda reference: Secret("canary-configured"),
        "timeout": Microseconds(5 * SECOND),
    }
    return CheckContext(**(usual | given))


def check(name: str, raw: Mapping[str, object] | None = None, **given: Any) -> HealthCheck:
    """Build a check as the configuration does, from its type and its options."""
    adapter = check_adapter(name)
    built: HealthCheck = adapter.build(options(adapter.options, raw or {}), context(**given))
    return built
