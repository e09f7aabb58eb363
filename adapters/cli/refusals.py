"""What the command line itself refuses, beside what the engine and the adapters do.

Rule: a refusal here comes before anything was recorded or changed.
"""

from __future__ import annotations

from engine.errors import ExitCode, KeyturnError


class WrongUsage(KeyturnError):
    """{what}"""

    exit_code = ExitCode.USAGE


class NotReady(KeyturnError):
    """{service} ({environment}) was not touched: {why}."""

    exit_code = ExitCode.LOGIN_REFUSED
    hint = "keyturn doctor looks at every store and target."


class NotConfirmed(KeyturnError):
    """Not confirmed: {what}. Nothing was changed."""

    exit_code = ExitCode.REFUSED
    hint = "Repeat it with --yes, or answer on a terminal."


class SameCredential(KeyturnError):
    """--on-conflict concurrent is refused: rotation {rotation_id} is {state}, and a credential has one at a time."""

    exit_code = ExitCode.REFUSED
    hint = "Rotations of other credentials run beside it; --on-conflict queue waits for it."


class ValueCannotWait(KeyturnError):
    """--new-value-file is refused: rotation {rotation_id} is {state}, and the value is in this process only."""

    exit_code = ExitCode.REFUSED
    hint = "Give it again when keyturn show {rotation_id} tells that it is over."


class NoInstances(KeyturnError):
    """{service} has no instances that could be listed: it has no `rotation.discovery`."""

    exit_code = ExitCode.USAGE
    hint = "docs/how-to/roll-out-in-waves.md tells how instances are found and given a version."


class NothingNamed(KeyturnError):
    """No service is named."""

    exit_code = ExitCode.USAGE
    hint = "Name services, or give --all."


class NothingToSimulate(NothingNamed):
    """Neither a service nor a strategy is named."""

    hint = "Name services, give --all, or --strategy, which needs no configuration."


class ServiceGone(KeyturnError):
    """Rotation {rotation_id} is {state}, and its service {service} ({environment}) is not in the configuration."""

    exit_code = ExitCode.USAGE
    hint = "Put the service back under that name and environment; then: keyturn resume {rotation_id}."


class CarriedOutElsewhere(KeyturnError):
    """It is recorded that rotation {rotation_id} is to {what}; the process that drives it ({owner}) carries it out."""

    exit_code = ExitCode.STILL_RUNNING
    hint = "keyturn show {rotation_id} tells how it comes out."


class BadInput(KeyturnError):
    """{what}: {why}."""

    exit_code = ExitCode.USAGE


class AlreadyThere(KeyturnError):
    """{path} is already there; it was left as it is."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn init --force writes the starter over it; a key file is never written over."


class NothingHeld(KeyturnError):
    """The store holds no {wanted} version of {service} ({environment})."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn rotate {service} makes one; keyturn status shows what there is."


class OutsideWindow(KeyturnError):
    """A rotation of {service} ({environment}) may not begin now: a window opens {opens}."""

    exit_code = ExitCode.REFUSED
    hint = "Wait for it, or give --outside-window with a --reason."


class NoSuchChannel(KeyturnError):
    """The configuration has no channel {channel!r}. Channels: {known}."""

    exit_code = ExitCode.USAGE
    hint = "keyturn notify route lists who hears what."


class NoNotice(KeyturnError):
    """Nobody is told of event #{position}."""

    exit_code = ExitCode.REFUSED
    hint = "keyturn notify outbox --all lists the events that people are told of."
