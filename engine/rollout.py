"""The plan of a rollout: which instances get the candidate when, decided once and frozen into the log.

Rule 1: pure; the same instances, policy and seed give the same plan, whatever order they are listed in.
Rule 2: percentages are of the whole fleet and cumulative, rounded up; the canary counts.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from engine.values import SECOND, Microseconds


class OnTrouble(StrEnum):
    """What follows when a wave fails its checks, or shows nothing."""

    PAUSE = "pause"
    ABORT = "abort"


class Stage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of the policy: how much of the fleet has the candidate at its end."""

    percentage: int
    """Of the whole fleet, cumulative, from 1 to 100."""
    soak: Microseconds = Microseconds(0)
    """How long the checks are to pass before the next step."""
    wait: Microseconds = Microseconds(0)
    """How long nothing happens after they passed."""


class RolloutPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a version is handed out; part of the plan of a rotation. Times are microseconds."""

    stages: tuple[Stage, ...]
    canary: bool = True
    """The first wave is a canary."""
    selector: str = ""
    """`key=value`: the instances with that label are the canary. Else those that are marked, else the first one."""
    canary_soak: Microseconds = Microseconds(300 * SECOND)
    failure_threshold: int = 2
    """Failures of one check in a row before a wave has failed."""
    inconclusive_threshold: int = 10
    """Looks of one check in a row that showed nothing, before a wave is inconclusive."""
    on_failure: OnTrouble = OnTrouble.ABORT
    on_inconclusive: OnTrouble = OnTrouble.PAUSE
    interval: Microseconds = Microseconds(30 * SECOND)
    """From one look of the checks to the next."""
    approval: bool = False
    """A person lets every wave after the first begin."""
    max_unverified: int | None = None
    """The most instances that may hold a candidate whose soak has not passed; None is as many as a wave has."""
    max_unverified_zone: int | None = None
    """The same for each failure domain."""
    parallelism: int = 10
    """Instances that are told at once."""
    instance_timeout: Microseconds = Microseconds(30 * SECOND)
    """From telling an instance to its proof."""
    progress_deadline: Microseconds = Microseconds(600 * SECOND)
    """How long no further instance may prove that it moved, while the rollout is not paused."""
    missed_looks: int = 3
    """Looks in a row that do not list an instance, before it counts as gone."""


class Wave(msgspec.Struct, frozen=True, omit_defaults=True):
    """Instances that get the candidate together, and soak together."""

    instances: tuple[str, ...]
    percentage: int
    """Of the whole fleet, with all waves before: what it is rounded up to."""
    soak: Microseconds = Microseconds(0)
    wait: Microseconds = Microseconds(0)
    canary: bool = False
