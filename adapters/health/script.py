"""A program of the user's own as a check: what it is given, and what its exit code and its first line mean.

How it is run, and ended, stands in adapters/programs.py.

Rule 1: there is no shell; a credential is never an argument, and in the environment only where that is asked for.
Rule 2: what the program printed is shown only without the credential's values.

Exit codes and performance data are those of Nagios plugins ("Nagios Plugin API", Nagios Core 3): 0 is ok, 1 a
warning, 2 critical, 3 unknown; behind `|` in the first line stands `'label'=value[unit];…`.
"""

from __future__ import annotations

import json
import os
import re
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec.structs import replace

from adapters.health.looking import NotSeen, OutOfReach, in_one_line, usable
from adapters.programs import CannotRun, Ended, Limits, Order, Passing, run
from engine.adapter import CheckAdapter, CheckContext, Duration
from engine.health import CheckResult, Sample, Subject
from engine.values import SECOND, CredentialValue, Microseconds

_CODES: Final = dict(enumerate((CheckResult.PASS, CheckResult.WARN, CheckResult.FAIL, CheckResult.UNKNOWN)))
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_FIELD: Final = re.compile(r"\{\{\s*(.*?)\s*\}\}")
_OURS: Final = ("KEYTURN_", "DSOPS_")
_PLAIN_FIELDS: Final = frozenset(
    {"service", "environment", "rotation_id", "new_version", "old_version", "strategy", "username"}
)
_SECRET_FIELDS: Final = frozenset({"password", "old_password"})
_METRIC: Final = re.compile(
    r"(?P<label>'[^'=]+'|[^\s'=;]+)=(?P<value>-?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?P<unit>[A-Za-z%]*)(?:;\S*)?"
)
_UNITS: Final[dict[str, tuple[float, str]]] = {
    "": (1, ""),
    "c": (1, ""),
    "s": (1, "s"),
    "ms": (1e-3, "s"),
    "us": (1e-6, "s"),
    "%": (1e-2, "ratio"),
    "B": (1, "bytes"),
    "KB": (1024, "bytes"),
    "MB": (1024**2, "bytes"),
    "GB": (1024**3, "bytes"),
    "TB": (1024**4, "bytes"),
}
_FIRST_LINE_MAX: Final = 256
"""So much of a first line is read by Linux (BINPRM_BUF_SIZE)."""
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class PassSecret(StrEnum):
    """How a script gets the credential; the environment of a process can be read by others of the same user."""

    FILE = "file"
    """In a file that only this user can read, which goes with the script; `KEYTURN_CREDENTIAL_FILE` names it."""
    DESCRIPTOR = "descriptor"
    """In an open descriptor, of no file; `KEYTURN_CREDENTIAL_FILE` names it as well (`/dev/fd/N`)."""
    ENVIRONMENT = "environment"
    """In `KEYTURN_USERNAME` and `KEYTURN_PASSWORD`."""


class Retry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often a script is run that fails or says nothing."""

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    """Runs in one look, all of them within its timeout."""
    backoff: Duration = Duration(SECOND)
    """The wait before the second run; it doubles from run to run."""


class LimitOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a script may use at most, as limits of the operating system (setrlimit(2))."""

    cpu_seconds: Annotated[int, msgspec.Meta(ge=1)] = 30
    memory_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024)] = 2 * 1024**3
    """Address space of each of its processes."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    """Processes that there may be at a time, the script included; with more of them it is ended."""
    file_bytes: Annotated[int, msgspec.Meta(ge=0)] = 16 * 1024**2
    """The size of any file that it writes."""


class ScriptOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of an entry of `custom_scripts`."""

    script: Annotated[str, msgspec.Meta(min_length=1)]
    """The program, relative to the configuration file: executable, and with a `#!` line if it is a script."""
    args: tuple[str, ...] = ()
    """Its arguments. In them as in `environment`, `{{ service }}` and its like are filled in: environment, rotation_id,
    new_version, old_version, strategy, username."""
    environment: dict[str, str] = {}
    """Further variables; the script gets PATH, LANG and `KEYTURN_…` alone. With `pass_secret: environment` also
    `{{ password }}` and `{{ old_password }}` are filled in here."""
    pass_secret: PassSecret = PassSecret.FILE
    """How it gets the credential: `file`, `descriptor` or `environment`. A file is JSON: username, password, version,
    and the same of the version before as `old`."""
    retry: Retry = Retry()
    limits: LimitOptions = LimitOptions()
    timeout_is: Literal["unknown", "fail"] = "unknown"
    """What it means that the script did not end in time."""
    metric: str = ""
    """The label in its performance data that is the value of the check; the first one where none is given."""

    def __post_init__(self) -> None:
        """Refuse what could not be run, or would put a secret where others see it; raises ValueError."""
        for text in (self.script, *self.args, *self.environment.values()):
            if "\0" in text:
                raise ValueError("no argument and no variable can hold a zero byte")
        for name in self.environment:
            if not _NAME.fullmatch(name) or name.startswith(_OURS):
                raise ValueError(f"{name!r} cannot be set: letters, digits and _ are, and not {' or '.join(_OURS)}…")
        for text in self.args:
            _refuse(text, _PLAIN_FIELDS)
        is_asked = self.pass_secret is PassSecret.ENVIRONMENT
        for text in self.environment.values():
            _refuse(text, _PLAIN_FIELDS | _SECRET_FIELDS if is_asked else _PLAIN_FIELDS)


def _refuse(text: str, known: frozenset[str]) -> None:
    for name in _FIELD.findall(text):
        if name in _SECRET_FIELDS - known:
            raise ValueError(f"{{{{ {name} }}}} is for `environment` alone, and with `pass_secret: environment`")
        if name not in known:
            raise ValueError(f"{{{{ {name} }}}} is not known; {', '.join(sorted(known))} are")


class ScriptCheck:
    """A script as a check of a service; the port `HealthCheck`. Its guardian keeps the time."""

    def __init__(self, options: ScriptOptions, context: CheckContext) -> None:
        self.name = context.name
        self._options = options
        self._context = context
        self._script = context.base / Path(options.script).expanduser()

    def look(self, subject: Subject) -> Sample:
        """Run the script, again where it fails or says nothing and that is asked for."""
        began = time.monotonic_ns()
        try:
            seen = self._see(subject)
        except OutOfReach as error:
            seen = Sample(CheckResult.FAIL, text=str(error))
        except NotSeen as error:
            seen = Sample(CheckResult.UNKNOWN, text=str(error))
        took = Microseconds((time.monotonic_ns() - began) // 1_000)
        return replace(seen, duration=took, text=in_one_line(seen.text, subject))

    def validate(self) -> dict[str, str]:
        """Return what keeps the script from being run: it is not there, no program, or not executable."""
        problem = _problem(self._script)
        return {"script": problem} if problem else {}

    def _see(self, subject: Subject) -> Sample:
        problem = _problem(self._script)
        if problem:
            raise NotSeen(problem)
        username = usable(subject).username
        end = time.monotonic() + self._context.timeout / SECOND
        wait = self._options.retry.backoff.microseconds / SECOND
        order = self._order(subject, username)
        seen = Sample(CheckResult.UNKNOWN)
        for attempt in range(1, self._options.retry.max_attempts + 1):
            seen = self._meaning(_ran(order, end, _secrets(subject)))
            last = attempt == self._options.retry.max_attempts or time.monotonic() + wait >= end
            if last or seen.result in (CheckResult.PASS, CheckResult.WARN):
                break
            time.sleep(wait)
            wait *= 2
        return seen

    def _order(self, subject: Subject, username: str) -> Order:
        fields = {
            "service": subject.service,
            "environment": subject.environment,
            "rotation_id": subject.rotation_id,
            "new_version": subject.new_version,
            "old_version": subject.old_version,
            "strategy": subject.strategy,
        }
        variables = {"PATH": _PATH, "LANG": "C.UTF-8"}
        for name, text in fields.items():
            key = "SERVICE_NAME" if name == "service" else name.upper()
            variables |= {f"{prefix}{key}": text for prefix in _OURS}
        fields["username"] = username
        way = self._options.pass_secret
        if way is PassSecret.ENVIRONMENT:
            fields |= {"password": _secret(subject.new), "old_password": _secret(subject.old)}
            variables |= {"KEYTURN_USERNAME": username, "KEYTURN_PASSWORD": fields["password"]}
        if any("\0" in text for text in variables.values()):
            raise NotSeen("a value holds a zero byte, which no variable can")
        limits = self._options.limits
        return Order(
            command=(str(self._script), *(_filled(text, fields) for text in self._options.args)),
            environment=variables | {name: _filled(text, fields) for name, text in self._options.environment.items()},
            folder=self._context.base,
            limits=Limits(limits.cpu_seconds, limits.memory_bytes, limits.file_bytes, limits.processes),
            secret=None if way is PassSecret.ENVIRONMENT else _credential(subject),
            passing=Passing.FILE if way is PassSecret.FILE else Passing.DESCRIPTOR,
            naming=tuple(f"{prefix}CREDENTIAL_FILE" for prefix in _OURS),
        )

    def _meaning(self, ended: Ended) -> Sample:
        text, value, unit = _read(ended.output, self._options.metric)
        match ended.how.split():
            case ["exit", code] if int(code) in _CODES:
                return Sample(_CODES[int(code)], value=value, unit=unit, text=text or f"exit code {code}")
            case ["exit", code]:
                return Sample(CheckResult.UNKNOWN, text=_told(f"exit code {code} means nothing", text))
            case ["signal", number]:
                return Sample(CheckResult.UNKNOWN, text=_told(f"ended by signal {number}", text))
            case ["timeout"] if self._options.timeout_is == "fail":
                raise OutOfReach(_told("it did not end in time", text))
            case ["timeout"]:
                raise NotSeen(_told("it did not end in time", text))
            case ["processes"]:
                raise NotSeen(_told(f"it was ended with more than {self._options.limits.processes} processes", text))
            case _:
                raise NotSeen(_told("it could not be run", " ".join(ended.how.split()[1:]).lower()))


def _ran(order: Order, end: float, secrets: list[str]) -> Ended:
    try:
        return run(order, end=end, secrets=secrets)
    except CannotRun as error:
        raise NotSeen(str(error)) from None


def _problem(path: Path) -> str:
    """Say what keeps a file from being run; empty where nothing does, or where that only shows when it is."""
    if not path.exists():
        return f"there is no {path}"
    if not path.is_file():
        return f"{path} is no file"
    if not os.access(path, os.X_OK):
        return f"{path} is not executable: chmod +x {path}"
    try:
        with path.open("rb") as file:
            first = file.readline(_FIRST_LINE_MAX)
    except OSError:
        return ""
    if not first.startswith(b"#!"):
        # A program for the machine has zero bytes in its head; a text needs somebody to read it.
        return "" if b"\0" in first else f"{path} begins with no #! line, which says what runs it"
    interpreter = Path(os.fsdecode((first[2:].split() or [b""])[0]))
    return (
        ""
        if os.access(interpreter, os.X_OK) and interpreter.is_file()
        else f"{path} is for {interpreter}, \
which is no program"
    )


def _credential(subject: Subject) -> str:
    """Return what a script reads of the credential, as JSON."""
    value = usable(subject)
    username, password = value.username, value.revealed()
    old = None
    if subject.old is not None:
        old = {"username": subject.old.username, "password": _secret(subject.old), "version": subject.old_version}
    told = {"username": username, "password": password, "version": subject.new_version, "old": old}
    return json.dumps(told, ensure_ascii=False)


def _secrets(subject: Subject) -> list[str]:
    """Return the texts of a subject that must not be shown."""
    return [text for text in (_secret(subject.new), _secret(subject.old)) if text]


def _secret(value: CredentialValue | None) -> str:
    return value.secret.reveal() if value is not None and value.secret is not None else ""


def _filled(text: str, fields: dict[str, str]) -> str:
    return _FIELD.sub(lambda match: fields[match[1]], text)


def _told(what: str, text: str) -> str:
    return f"{what}: {text}" if text else what


def _read(output: str, metric: str) -> tuple[str, float | None, str]:
    """Return the text of an output, and the value and unit of its performance data."""
    first = output.strip().split("\n", 1)[0]
    text, _, performance = first.partition("|")
    for match in _METRIC.finditer(performance):
        label = match["label"].strip("'")
        if match["unit"] in _UNITS and metric in ("", label):
            factor, unit = _UNITS[match["unit"]]
            return text.strip(), float(match["value"]) * factor, unit
    return text.strip(), None, ""


def _build(options: ScriptOptions, context: CheckContext) -> ScriptCheck:
    return ScriptCheck(options, context)


ADAPTER: Final = CheckAdapter(
    name="script",
    summary="what a program of yours says, by its exit code, as Nagios plugins do",
    options=ScriptOptions,
    build=_build,
)
