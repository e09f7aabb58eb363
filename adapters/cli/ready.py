"""Whether a rotation can be worked on from here at all, seen before anything is decided, recorded or done.

Rule: an error of this installation (a key that does not fit, a variable that is not set) must end the command. In the
middle of a rotation it would pass for a failure of the store or the target, and be recorded as one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.process import Wait, next_effect

if TYPE_CHECKING:
    from adapters.composition import Installation
    from engine.performance import Binding
    from engine.plan import Plan
    from engine.rotation import Rotation


def require_ready(installation: Installation, service: str, environment: str, plan: Plan) -> Binding:
    """Return what a plan is bound to, its store opened and every secret read that store and target refer to.

    Raises `NoSuchService`, `MissingSecret` where a reference leads to nothing, and what the store raises.
    """
    binding = installation.world.bind(service, environment, plan)
    installation.wiring.read_secrets(service, plan.store)
    binding.store.versions(plan.path)
    return binding


def require_drivable(installation: Installation, rotation: Rotation, *, wait_grace: bool) -> None:
    """Require the same of a rotation that is about to be driven, unless nothing would be done but to wait.

    A grace period that runs on is left alone, so that asking for nothing needs nothing.
    """
    due = next_effect(rotation, installation.world.clock.now())
    if due is None or (isinstance(due, Wait) and rotation.grace is not None and not wait_grace):
        return
    require_ready(installation, rotation.service, rotation.environment, rotation.plan)
