"""Credentials that are overdue: which are told of, and each once."""

from __future__ import annotations

from typing import Any

from adapters.event_store.memory import MemoryEventLog
from adapters.outbox.due import PATIENCE, overdue, record
from engine.channel_events import CredentialOverdue
from engine.values import SECOND, Instant
from tests.unit.config.reading import reads, service

NOW = Instant(1_767_225_600_000_000)
HOUR = 3_600 * SECOND
TOLD = "notifications: {file: {path: told.jsonl}}"


def found(rotation: str, **entry: Any) -> list[CredentialOverdue]:
    """Return what is overdue of a service that was rotated two days ago."""
    services = reads(service(rotation=rotation)).services.values()
    usual = {"service": "app", "environment": "default", "version": "v1", "last_rotated_at": NOW - 48 * HOUR}
    return overdue(services, [usual | entry], NOW)


def test_what_was_due_long_ago_is_overdue() -> None:
    assert found(f"ttl: 1d, {TOLD}") == [CredentialOverdue("app", "default", "v1", Instant(NOW - 24 * HOUR))]


def test_a_schedule_counts_as_well() -> None:
    """Every day at noon: yesterday's noon, or the one before, is long over."""
    (event,) = found(f"schedule: 0 12 * * *, {TOLD}")
    assert event.due_at == NOW - 36 * HOUR


def test_what_is_due_since_a_moment_is_left_to_whoever_rotates_it() -> None:
    assert PATIENCE == HOUR
    assert found(f"ttl: 1d, {TOLD}", last_rotated_at=NOW - 24 * HOUR - HOUR // 2) == []


def test_without_a_channel_or_a_time_or_a_version_nobody_is_told() -> None:
    assert found("ttl: 1d") == []
    assert found(TOLD) == []
    assert found(f"ttl: 1d, {TOLD}", version=None) == []
    assert found(f"ttl: 1d, {TOLD}", last_rotated_at=None) == []
    assert found(f"ttl: 1d, {TOLD}", service="other") == []


def test_it_is_recorded_once_a_version() -> None:
    """Whoever looks, and however often."""
    log = MemoryEventLog()
    (event,) = found(f"ttl: 1d, {TOLD}")
    assert record(log, [event], actor="ada", at=NOW) == 1
    assert record(log, [event], actor="bob", at=NOW) == 0
    assert [each.fact.body for each in log.after(0)] == [event]
    (again,) = found(f"ttl: 1d, {TOLD}", version="v2")
    assert record(log, [again], actor="ada", at=NOW) == 1
