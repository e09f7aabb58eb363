"""The catalogue of errors: what is wrong, the exit code, and what to do next, on the class.

Rule 1: the message is the docstring of the class, filled with the fields it is raised with.
Rule 2: no field ever holds a secret, nor text of a driver that was not redacted.
"""

from __future__ import annotations

import inspect
from enum import IntEnum
from functools import cache
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process tells its caller (docs/reference/cli.md)."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    ROLLED_BACK = 3
    LOGIN_REFUSED = 4
    PERSON_NEEDED = 5
    REFUSED = 6
    RESTING = 7
    STILL_RUNNING = 8
    INTERRUPTED = 130


@cache
def _first_paragraph(docstring: str) -> str:
    """Return the first paragraph in one line; kept, because to find it takes longer than to fill it."""
    return inspect.cleandoc(docstring).split("\n\n")[0].replace("\n", " ")


class KeyturnError(Exception):
    """Something that keyturn can name."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED
    hint: ClassVar[str] = ""
    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        cls.kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__).lstrip("_")

    def __init__(self, **fields: object) -> None:
        super().__init__(*fields.values())
        self.fields = fields

    @property
    def message(self) -> str:
        """One or two sentences: what is wrong, and where."""
        return _first_paragraph(type(self).__doc__ or type(self).__name__).format(**self.fields)

    @property
    def advice(self) -> str:
        """What to do next; empty where there is nothing to say."""
        given = self.fields.get("advice")
        return str(given) if given else type(self).hint.format(**self.fields)

    def __str__(self) -> str:
        return self.message


# --- what a port may answer ---------------------------------------------------------------------


class PortError(KeyturnError):
    """{what}: {why}."""

    exit_code = ExitCode.LOGIN_REFUSED

    def __init__(self, *, what: str, why: str, advice: str = "") -> None:
        super().__init__(what=what, why=why, advice=advice)
        self.what = what
        self.why = why


class Unavailable(PortError):
    """{what}: {why}.

    It did not happen, and may later.
    """


class Rejected(PortError):
    """{what}: {why}.

    It did not happen, and will not when it is only repeated.
    """


class NoWayBack(Rejected):
    """{what}: {why}.

    Trying again cannot help: what would be gone back to is lost for good, or there is nothing.
    """

    exit_code = ExitCode.PERSON_NEEDED


class OwnLoginRejected(Rejected):
    """{what}: {why}.

    The system does not accept keyturn's own login (the admin credentials, the token, the key).
    """

    hint = "Check the admin credentials of the service and what they may do: keyturn doctor."


class Throttled(Unavailable):
    """{what}: {why}.

    It did not happen; the system asks to wait for `after` microseconds (0: it did not say how long).
    """

    def __init__(self, *, what: str, why: str, after: int = 0, advice: str = "") -> None:
        super().__init__(what=what, why=why, advice=advice)
        self.after = after


class StillInUse(Unavailable):
    """{what}: {why}.

    An instance cannot be seen to use the new version, or the target has sessions of the old one.
    """


class SinkGone(Rejected):
    """{what}: {why}.

    The sink takes no message any more: it was archived, revoked or deleted.
    """

    hint = "Correct the channel in the configuration; keyturn notify test enables it again."


class Uncertain(PortError):
    """{what}: {why}.

    It may have happened; only looking can tell.
    """

    exit_code = ExitCode.PERSON_NEEDED


# --- refusals of the domain ----------------------------------------------------------------------


class IllegalCommand(KeyturnError):
    """{command} is not possible while the rotation is {state}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn show {rotation_id} tells how it came to be there."


class GroupIllegal(KeyturnError):
    """{command} is not possible while the group {group} is {state}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn group status {group} tells how each service stands."


class GroupOpen(KeyturnError):
    """The group {group} is already {state}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn resume drives it on; keyturn group status {group} tells how each service stands."


class RotationOpen(KeyturnError):
    """{service} ({environment}) already has an open rotation, {rotation_id}, which is {state}{details}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn resume {rotation_id} drives it on; keyturn show {rotation_id} tells what else is possible."


class InGrace(KeyturnError):
    """{service} ({environment}) is in the grace period of rotation {rotation_id} until {until}{details}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn retire {rotation_id} ends the grace period now; keyturn rollback {service} goes back."


class NoRoom(KeyturnError):
    """{service} ({environment}) has no room for another version: the target holds {held}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn rollback {service} takes away what rotation {rotation_id} left there; then rotate again."


class OwnedElsewhere(KeyturnError):
    """Rotation {rotation_id} is being driven by another process ({owner}; {lease})."""

    exit_code = ExitCode.REFUSED
    hint = "Wait for it, or end that process; keyturn resume {rotation_id} then drives it on."


class NoSuchGroup(KeyturnError):
    """The configuration has no group {group!r}.{suggestion}"""

    exit_code = ExitCode.USAGE
    hint = "keyturn config show lists the groups."


class NoSuchService(KeyturnError):
    """The configuration has no service {service!r}.{suggestion}"""

    exit_code = ExitCode.USAGE
    hint = "keyturn status lists the services."


class NoSuchRotation(KeyturnError):
    """There is no rotation {rotation!r} in the log."""

    exit_code = ExitCode.USAGE
    hint = "keyturn history lists the rotations with their ids."


class NoSuchPosition(KeyturnError):
    """The log has no event {position} for {service}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn history {service} lists the positions."


class NoRestorePoint(KeyturnError):
    """{service} cannot go back to {wanted}: {why}. Restore points: {points}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn rollback {service} --to VERSION takes one of them."


class StrategyImpossible(KeyturnError):
    """{service}: strategy {strategy} is not possible here: {why}."""

    exit_code = ExitCode.USAGE
    hint = "Use one of: {possible}."


class UnsupportedEvent(KeyturnError):
    """The log holds an event {tag!r} that this version of keyturn does not know."""

    exit_code = ExitCode.USAGE
    hint = "Use the version of keyturn that wrote the log, or a newer one."


class Conflict(KeyturnError):
    """Another process appended to {stream} first."""

    exit_code = ExitCode.REFUSED
    hint = "Run the command again: it starts from what the log holds now."


class Fenced(KeyturnError):
    """Rotation {rotation_id} was taken over by another process; this one stops."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn show {rotation_id} tells what became of it."
