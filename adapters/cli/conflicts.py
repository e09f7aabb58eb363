"""What becomes of a rotation that is asked for while another one of its credential is open (`rotate --on-conflict`).

Rule 1: what is decided is recorded by engine/operations.py, at once; here it is waited, driven and told.
Rule 2: who waits holds nothing: whatever is asked for stands in the log, and whoever comes next carries it on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from uuid import UUID

from adapters.cli.driving import Patience, drive, driven
from adapters.cli.outcome import exit_code, report, show_document, trouble
from adapters.cli.ready import require_drivable, require_ready
from adapters.cli.refusals import SameCredential, ValueCannotWait
from adapters.cli.starting import Asked, begin, finish, ready, start
from engine.commands import making_room
from engine.errors import Conflict, ExitCode, Fenced, InGrace, OwnedElsewhere, RotationOpen
from engine.machine import ENDED, State, rests
from engine.operations import Request
from engine.ports import Clock
from engine.rotation import Rotation
from engine.values import SECOND, Deadline, Microseconds, deadline_after
from projections.times import to_text

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.model import Service

POLICIES: Final = ("reject", "queue", "replace", "concurrent")
_LOOK_AGAIN: Final = Microseconds(SECOND // 2)
"""How often somebody who waits looks whether the process that drives the open rotation is done."""


@dataclass(slots=True)
class _Watch:
    """How long the caller waits in all, and what was said of that already."""

    clock: Clock
    patience: Patience
    _ends: Deadline | None = None
    _said: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.patience.timeout is not None:
            self._ends = deadline_after(self.clock.now(), self.patience.timeout)

    def left(self, *, grace: bool) -> Patience:
        """Return the patience that is left, and whether it is for a grace period as well."""
        return Patience(None if self._ends is None else self._ends.left(self.clock.now()), grace)

    @property
    def is_over(self) -> bool:
        """Tell whether the caller waits no longer."""
        return self._ends is not None and not self._ends.left(self.clock.now())

    def look_again(self) -> None:
        """Wait until it is worth looking again."""
        left = self.left(grace=False).timeout
        self.clock.wait(_LOOK_AGAIN if left is None else min(_LOOK_AGAIN, left))

    def says(self, text: str) -> bool:
        """Tell whether a text was not said yet."""
        is_new = text not in self._said
        self._said.add(text)
        return is_new


def rotate(session: Session, asked: Asked, policy: str) -> ExitCode:
    """Rotate as the policy says where another rotation of the credential is in the way.

    `reject` raises `RotationOpen` and `InGrace`, `concurrent` raises `SameCredential`.
    """
    match policy:
        case "queue":
            return queue(session, asked)
        case "replace":
            return replace(session, asked)
        case "concurrent":
            try:
                return begin(session, asked)
            except (RotationOpen, InGrace) as refused:
                state = refused.fields.get("state", State.GRACE)
                raise SameCredential(rotation_id=refused.fields["rotation_id"], state=state) from refused
        case _:
            return begin(session, asked)


def foresee(session: Session, service: Service, policy: str) -> ExitCode:
    """Say what would become of what is in the way, and record nothing; raises what would be refused."""
    operations = session.installation.operations
    holder = operations.open_rotation(service.name, service.environment)
    waiting = operations.waiting_rotation(service.name, service.environment)
    say = session.console.say if session.console.json else session.console.out
    found = [each for each in (holder, waiting) if each is not None]
    if policy == "concurrent" and found:
        raise SameCredential(rotation_id=found[0].id, state=found[0].state)
    if policy == "queue" and waiting is not None:
        say(f"{service.name}: would join rotation {waiting.id}, which waits for its turn")
    elif policy == "queue" and holder is not None:
        say(f"{service.name}: would wait for rotation {holder.id}, which is {holder.state}")
    if policy != "replace" or not found:
        return ExitCode.DONE
    world = session.installation.world
    credential = world.credential(service.name, service.environment)
    changes, _ = making_room(holder, waiting, credential, reason="")
    if holder is not None and rests(holder.state) and not changes:
        return report(session, holder)
    for each, _ in changes:
        what = f"take rotation {each.id} back from {each.state} to {each.previous or 'what was there before'}"
        say(f"{service.name}: would {f'withdraw rotation {each.id}, which waits' if each is waiting else what}")
    if holder is not None and holder not in [each for each, _ in changes]:
        say(f"{service.name}: would drive rotation {holder.id}, which is {holder.state}, to its end")
    return ExitCode.DONE


# --- waiting for one's turn ---------------------------------------------------------------------------------


def queue(session: Session, asked: Asked) -> ExitCode:
    """Rotate now where nothing is in the way, else when its turn has come; raises `ValueCannotWait`."""
    service, operations = asked.service, session.installation.operations
    watch = _Watch(session.installation.world.clock, asked.patience)
    request: Request | None = None
    while request is None:
        holder = operations.holder(service.name, service.environment)
        if holder is None:
            rotation_id = _started(session, asked)
            if rotation_id is not None:
                return finish(session, asked, rotation_id)
        elif asked.given is not None:
            raise ValueCannotWait(rotation_id=holder.id, state=holder.state)
        else:
            request = _requested(session, asked)
    rotation = request.rotation
    does = "waits for its turn" if request.is_new else "waits already, and is what this call waits for as well"
    session.console.say(f"{service.name}: rotation {rotation.id} {does}")
    if asked.detach:
        return _still_waiting(session, rotation)
    return _take_turn(session, rotation, watch)


def _started(session: Session, asked: Asked) -> UUID | None:
    """Start a rotation; None where another process was first."""
    try:
        return start(session, asked)
    except (RotationOpen, InGrace, Conflict):
        return None


def _requested(session: Session, asked: Asked) -> Request | None:
    """Record that a rotation waits, if it could begin at all; None where nothing is in its way any more."""
    service, installation = asked.service, session.installation
    plan = installation.plan(service)
    require_ready(installation, service.name, service.environment, plan)
    return installation.operations.request(service.name, service.environment, plan, reason=asked.reason)


def resume(session: Session, rotation: Rotation, patience: Patience) -> ExitCode:
    """Start a rotation that waits, if its turn has come, and drive it; else tell what it waits for.

    Raises `OwnedElsewhere` where a live process does so already.
    """
    operations = session.installation.operations
    now = operations.rotation(rotation.id)
    if now.state is State.WAITING and operations.open_rotation(now.service, now.environment) is None:
        now = _begun(session, now)
    return _still_waiting(session, now) if now.state is State.WAITING else drive(session, now.id, patience)


def foreseen(session: Session, rotation: Rotation) -> str:
    """Tell what `resume` would do about a rotation that waits."""
    holder = session.installation.operations.open_rotation(rotation.service, rotation.environment)
    return "next: start" if holder is None else f"waits for rotation {holder.id}, which is {holder.state}"


def _take_turn(session: Session, waiting: Rotation, watch: _Watch) -> ExitCode:
    """Wait until nothing is in the way, start the rotation that waits, and drive it; whoever else does so is let."""
    operations = session.installation.operations
    interrupted = f"keyturn resume starts it when its turn has come; keyturn abort {waiting.id} withdraws it."
    while (rotation := operations.rotation(waiting.id)).state is State.WAITING:
        session.on_interrupt = interrupted
        holder = operations.open_rotation(rotation.service, rotation.environment)
        if holder is None:
            try:
                _begun(session, rotation)
            except (OwnedElsewhere, RotationOpen, InGrace, Conflict):
                watch.look_again()  # another process is about to start it, or another rotation was quicker
            else:
                continue
        elif _is_stuck(holder) or not _driven_on(session, holder, watch, interrupted=interrupted):
            break
        if watch.is_over:
            break
    rotation = operations.rotation(waiting.id)
    return _still_waiting(session, rotation) if rotation.state is State.WAITING else _followed(session, rotation, watch)


def _begun(session: Session, rotation: Rotation) -> Rotation:
    """Start a rotation that waits, nothing being in its way; return it as it is then.

    One process does so at a time: a look at the target while another one changes it would see a wrong login.
    """
    installation = session.installation
    service = installation.service(rotation.service)
    where = f"service {rotation.service} ({rotation.environment}), rotation {rotation.id}"
    session.where = f"{where}, which waits on"
    with installation.world.hold(rotation.id):
        installation.operations.refuse_if_open(rotation.service, rotation.environment, rotation_id=rotation.id)
        now = installation.operations.rotation(rotation.id)
        if now.state is not State.WAITING:
            return now
        ready(session, service, rotation.plan)
        began = installation.operations.start_queued(rotation.id, logins=service.usernames)
    session.where = where
    return began


def _followed(session: Session, rotation: Rotation, watch: _Watch) -> ExitCode:
    """Drive a rotation to its end, or wait until the process has that drives it; report how it came out."""
    grace = watch.patience.grace
    while not rests(rotation.state) and (grace or rotation.state is not State.GRACE):
        try:
            require_drivable(session.installation, rotation, wait_grace=grace)
            return drive(session, rotation.id, watch.left(grace=grace))
        except (OwnedElsewhere, Fenced):
            if watch.is_over:
                break
            watch.look_again()
        rotation = session.installation.operations.rotation(rotation.id)
    session.on_interrupt = ""
    code = report(session, rotation)
    return ExitCode.STILL_RUNNING if grace and rotation.state is State.GRACE else code


def _is_stuck(rotation: Rotation) -> bool:
    """Tell whether nothing happens to an open rotation until a person decides."""
    return rests(rotation.state) and rotation.state not in ENDED


def _driven_on(session: Session, holder: Rotation, watch: _Watch, *, interrupted: str) -> bool:
    """Drive what is in the way, or let the process go on that does; False where that led nowhere within the time."""
    began = watch.clock.now().wall - holder.entered_at
    if holder.state is State.STAGING and 0 <= began < _LOOK_AGAIN:
        watch.look_again()  # whoever has just recorded the start is about to drive it, and may have the value as well
        return True
    try:
        require_drivable(session.installation, holder, wait_grace=True)
        after = driven(session, holder.id, watch.left(grace=True), interrupted=interrupted)
    except (OwnedElsewhere, Fenced):
        text = f"waits for rotation {holder.id}, which another process drives"
        if holder.state is State.GRACE and holder.grace is not None:
            text += f"; it is in grace until {to_text(holder.grace.wall)}"
        if watch.says(text):
            session.console.say(text)
        watch.look_again()
        return True
    return rests(after.state)


def _still_waiting(session: Session, rotation: Rotation) -> ExitCode:
    """Show a rotation whose turn has not come, and say what it waits for; the request stays."""
    session.on_interrupt = ""
    holder = session.installation.operations.open_rotation(rotation.service, rotation.environment)
    code, message, advice = ExitCode.STILL_RUNNING, *trouble(rotation, ExitCode.STILL_RUNNING)
    withdraws = f"keyturn abort {rotation.id} withdraws it."
    if holder is not None and exit_code(holder) in (ExitCode.PERSON_NEEDED, ExitCode.RESTING):
        code = exit_code(holder)
        message = f"it waits for rotation {holder.id}, which is {holder.state} and needs you{_why(holder)}."
        advice = f"{trouble(holder, code)[1].strip()} {withdraws}"
    elif holder is not None and holder.grace is not None and holder.state is State.GRACE:
        message = f"it waits for rotation {holder.id}, which is in grace until {to_text(holder.grace.wall)}."
        advice = f"keyturn resume starts it then; keyturn retire {holder.id} ends the grace period now; {withdraws}"
    elif holder is not None:
        message = f"it waits for rotation {holder.id}, which is {holder.state}{_why(holder)}."
        advice = f"keyturn resume drives both on; {withdraws}"
    if session.console.json:
        show_document(session, rotation)
    where = f"{rotation.service} ({rotation.environment}), rotation {rotation.id}"
    session.console.trouble(message, where=where, advice=advice)
    return code


def _why(holder: Rotation) -> str:
    return f": {holder.cause.message.rstrip('.')}" if holder.cause and holder.failures else ""


# --- replacing what is open ---------------------------------------------------------------------------------


def replace(session: Session, asked: Asked) -> ExitCode:
    """Take the open rotation back, or drive it to its end where there is no way back any more; then rotate.

    Raises `IllegalCommand` where it has nothing to go back to, before anything is recorded.
    """
    service, installation = asked.service, session.installation
    operations = installation.operations
    watch = _Watch(installation.world.clock, asked.patience)
    require_ready(installation, service.name, service.environment, installation.plan(service))
    while True:
        holder = operations.open_rotation(service.name, service.environment)
        if holder is not None:
            require_ready(installation, holder.service, holder.environment, holder.plan)
        try:
            reason = asked.reason or "replaced by another rotation"
            holder = operations.make_room(service.name, service.environment, reason=reason)
        except Conflict:
            continue
        if holder is None:
            rotation_id = _started(session, asked)
            if rotation_id is not None:
                return drive(session, rotation_id, watch.left(grace=asked.patience.grace), given=asked.given)
        elif _is_stuck(holder):
            session.console.say(f"{service.name}: no new rotation was started")
            return report(session, holder)
        else:
            interrupted = f"keyturn resume {holder.id} ends what is replaced; no new rotation was started yet."
            led_on = _driven_on(session, holder, watch, interrupted=interrupted)
            after = operations.rotation(holder.id)
            if after.state not in ENDED and (watch.is_over or not led_on):
                session.console.say(f"{service.name}: no new rotation was started")
                return report(session, after)
