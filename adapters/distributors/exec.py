"""A program of the user's own that hands a version to an instance, and another one that looks which it uses.

How programs are run, and ended, stands in adapters/programs.py.

Rule 1: there is no shell, and a value is never an argument nor in the environment.
Rule 2: what an exit code does not say for certain may have happened.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from adapters.distributors import asking, reports, texts
from adapters.distributors.reports import unknown
from adapters.programs import TEXT_BYTES_MAX, CannotRun, Ended, Limits, Order, Passing, run
from engine.adapter import DistributorAdapter, DistributorContext
from engine.errors import PortError, Rejected, Unavailable, Uncertain
from engine.instances import Instance, Proof, Usage
from engine.values import SECOND, CredentialValue, Form, Instant

_NAMES: Final = texts.PLACE | {"endpoint", "version", "zone"}
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_OURS: Final = "KEYTURN_"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BY_CODE: Final[dict[str, tuple[type[PortError], str]]] = {
    "65": (Rejected, "it says that this can never be handed out (exit code 65)"),
    "75": (Unavailable, "it says that it did nothing, and may be tried again (exit code 75)"),
    "78": (Rejected, "it says that its configuration is wrong (exit code 78)"),
}
"""EX_DATAERR, EX_TEMPFAIL and EX_CONFIG of sysexits.h."""


class PassValue(StrEnum):
    """How a program gets the value."""

    STDIN = "stdin"
    """On its standard input."""
    DESCRIPTOR = "descriptor"
    """In an open descriptor, of no file; `KEYTURN_CREDENTIAL_FILE` names it (`/dev/fd/N`)."""
    FILE = "file"
    """In a file that only this user can read, which goes with the program; `KEYTURN_CREDENTIAL_FILE` names it."""
    NONE = "none"
    """Not at all: it reads the version from the store itself."""


class LimitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a program may use at most, as limits of the operating system (setrlimit(2))."""

    cpu_seconds: Annotated[int, msgspec.Meta(ge=1)] = 30
    memory_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024)] = 2 * 1024**3
    """Address space of each of its processes."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    """Processes that there may be at a time, the program included; with more of them it is ended."""
    file_bytes: Annotated[int, msgspec.Meta(ge=0)] = 16 * 1024**2
    """The size of any file that it writes."""


class ExecOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two programs, run for each instance. Both end with what they began when their time is over."""

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Hands the version over: a program, relative to the configuration file or found in the usual folders, and its
    arguments. In them `{instance}` and its like are filled in: endpoint, zone, version, service, environment. It ends
    with 0 (done), 65 (never), 75 (not done, try again), 78 (wrong configuration); anything else may have happened."""
    look: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Looks which version the instance uses, likewise; `{challenge}` is filled in here as well."""
    proof: Literal["fingerprint", "version", "exit-code"] = "fingerprint"
    """What `look` proves: it prints the report of the instance and ends with 0 (`fingerprint`, or `version` where that
    the instance says so is enough); or it judges by itself and ends with 0 (used), 1 (another one) or anything else
    (unknown), and is given the value for that (`exit-code`)."""
    pass_value: PassValue = PassValue.STDIN
    """How a program gets the value: `stdin`, `descriptor`, `file` or `none`. It is JSON: username, password,
    version."""
    environment: dict[str, str] = {}
    """Further variables; a program gets PATH, LANG and `KEYTURN_…` alone. The same is filled in as in arguments."""
    limits: LimitOptions = LimitOptions()

    def __post_init__(self) -> None:
        """Refuse what could not be run; raises ValueError."""
        for text in (*self.command, *self.look, *self.environment.values()):
            if "\0" in text:
                raise ValueError("no argument and no variable can hold a zero byte")
        for text in (*self.command[1:], *self.environment.values()):
            texts.check(text, _NAMES)
        for text in self.look[1:]:
            texts.check(text, _NAMES | {"challenge"})
        for program in (self.command[0], self.look[0]):
            if not program or "{" in program:
                raise ValueError("the first part of a command is a program, the same for all instances")
        for name in self.environment:
            if not _VARIABLE.fullmatch(name) or name.startswith(_OURS):
                raise ValueError(f"{name!r} cannot be set: letters, digits and _ are, and not {_OURS}…")


class ExecDistributor:
    """Instances that are reached by programs; the port `Distributor`. The guardian of a program keeps the time."""

    def __init__(self, options: ExecOptions, context: DistributorContext) -> None:
        self._options = options
        self._context = context

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Run `command` to its end, or until the deadline."""
        what = f"handing version {version} to {instance.id}"
        secret = self._secret(value, version, what=what)
        order = self._order(self._options.command, instance, version, secret, what=what)
        seconds = min(asking.time_left(deadline, what=what), self._context.timeout) / SECOND
        try:
            ended = run(order, end=time.monotonic() + seconds, secrets=[])
        except CannotRun as error:
            raise Unavailable(what=what, why=str(error)) from None
        refused = _refusal(ended, value, what=what)
        if refused is not None:
            raise refused

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Run `look` to its end, or until its time is over."""
        what = f"looking what {instance.id} uses"
        challenge = reports.new_challenge()
        is_judging = self._options.proof == "exit-code"
        try:
            secret = self._secret(value, version, what=what) if is_judging else None
            order = self._order(self._options.look, instance, version, secret, what=what, challenge=challenge)
            ended = run(order, end=time.monotonic() + self._context.timeout / SECOND, secrets=[])
        except PortError as error:
            return unknown(error.why)
        except CannotRun as error:
            return unknown(str(error))
        if is_judging:
            return _judged_by_code(ended, value)
        if ended.how != "exit 0":
            return unknown(_told(_how(ended.how), ended, value))
        wanted: reports.Wanted = "version" if self._options.proof == "version" else "fingerprint"
        return reports.judged(ended.output.encode(), value, version=version, challenge=challenge, wanted=wanted)

    def _secret(self, value: CredentialValue, version: str, *, what: str) -> str | None:
        """Return what a program reads of the value, as JSON; None where it gets nothing."""
        if self._options.pass_value is PassValue.NONE:
            return None
        if value.secret is None or value.form is not Form.PLAIN:
            raise Rejected(what=what, why="the password of the version is not known, so it cannot be passed on")
        return json.dumps({"username": value.username, "password": value.revealed(), "version": version})

    def _order(
        self,
        command: tuple[str, ...],
        instance: Instance,
        version: str,
        secret: str | None,
        *,
        what: str,
        challenge: str = "",
    ) -> Order:
        fields = texts.fields(instance, self._context)
        fields |= {"endpoint": instance.endpoint, "version": version, "zone": instance.zone}
        if any("\0" in text for text in fields.values()):
            raise Rejected(what=what, why="a zero byte stands in what discovery says of the instance")
        environment = {"PATH": _PATH, "LANG": "C.UTF-8"}
        environment |= {f"{_OURS}{name.upper()}": text for name, text in fields.items()}
        environment |= {name: texts.fill(text, fields) for name, text in self._options.environment.items()}
        fields["challenge"] = challenge
        if challenge:
            environment[f"{_OURS}CHALLENGE"] = challenge
        limits = self._options.limits
        return Order(
            command=(self._program(command[0], what=what), *(_argument(text, fields, what) for text in command[1:])),
            environment=environment,
            folder=self._context.base,
            limits=Limits(limits.cpu_seconds, limits.memory_bytes, limits.file_bytes, limits.processes),
            secret=secret,
            passing=Passing[self._options.pass_value.name] if secret is not None else Passing.STDIN,
            naming=(f"{_OURS}CREDENTIAL_FILE",),
        )

    def _program(self, name: str, *, what: str) -> str:
        """Return the path of a program; raises `Rejected` where there is none that can be run."""
        if "/" in name:
            path = self._context.base / Path(name).expanduser()
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
            raise Rejected(what=what, why=f"there is no {path}, or it is not executable", advice=f"chmod +x {path}")
        found = shutil.which(name, path=_PATH)
        if found is None:
            raise Rejected(what=what, why=f"there is no program {name} in {_PATH}")
        return found


def _argument(text: str, fields: dict[str, str], what: str) -> str:
    """Return an argument; raises `Rejected` where what was filled in would make an option of it."""
    filled = texts.fill(text, fields)
    if text.startswith("{") and filled.startswith("-") and filled != text:
        raise Rejected(what=what, why="what discovery says of the instance begins with -, as an option would")
    return filled


def _refusal(ended: Ended, value: CredentialValue, *, what: str) -> PortError | None:
    match ended.how.split():
        case ["exit", "0"]:
            return None
        case ["exit", code] if code in _BY_CODE:
            kind, why = _BY_CODE[code]
            return kind(what=what, why=_told(why, ended, value))
        case ["error", *why]:
            return Rejected(what=what, why=f"it could not be run: {' '.join(why).lower()}")
        case _:
            return Uncertain(what=what, why=_told(f"{_how(ended.how)}, and may have done it", ended, value))


def _judged_by_code(ended: Ended, value: CredentialValue) -> Proof:
    match ended.how.split():
        case ["exit", "0"]:
            return Proof(Usage.USED, _told("it says that the version is used", ended, value))
        case ["exit", "1"]:
            return Proof(Usage.OTHER, _told("it says that another version is used", ended, value))
        case _:
            return unknown(_told(_how(ended.how), ended, value))


def _how(how: str) -> str:
    match how.split():
        case ["exit", code]:
            return f"it ended with exit code {code}"
        case ["signal", number]:
            return f"it was ended by signal {number}"
        case ["timeout"]:
            return "it did not end in time"
        case ["processes"]:
            return "it was ended for its many processes"
        case _:
            return "it could not be run"


def _told(why: str, ended: Ended, value: CredentialValue) -> str:
    secret = value.secret.reveal() if value.secret is not None else ""
    said = texts.one_line(ended.output, secret, is_cut=len(ended.output.encode()) >= TEXT_BYTES_MAX)
    return f"{why}: {said}" if said else why


def _build(options: ExecOptions, context: DistributorContext) -> ExecDistributor:
    return ExecDistributor(options, context)


ADAPTER: Final = DistributorAdapter(
    name="exec",
    summary="a program of yours for each instance, and another one that looks",
    options=ExecOptions,
    build=_build,
)
