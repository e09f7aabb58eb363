"""A file for each instance on this machine, which its agent reads; the agent is told by a signal or a touched file.

Rule 1: a file is replaced whole, is for its owner, and keeps owner, group and mode of the one that it replaces.
Rule 2: a report counts that was written after the file, so that one from before proves nothing.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from adapters import files
from adapters.distributors import asking, reports, texts
from adapters.distributors.asking import ReportOptions
from adapters.distributors.reports import Wanted, unknown
from adapters.templates import TemplateFault, compile_template
from engine.adapter import DistributorAdapter, DistributorContext
from engine.errors import PortError, Rejected, Uncertain
from engine.instances import Instance, Proof
from engine.values import CredentialValue, Form, Instant

_TEMPLATE_NAMES: Final = ("service", "environment", "instance", "version", "username", "password")
_SLACK_SECONDS: Final = 2.0
"""What the kernel's time of boot, in whole seconds, and a file's time may differ by."""


class FileOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file for each instance, how its agent is told, and where the agent reports."""

    path: str
    """The file of an instance, with `{instance}` in it, and where it helps `{service}` and `{environment}`; relative to
    the configuration file. A new one is for its owner alone (0600)."""
    template: str = ""
    """What stands in it: `{{ username }}`, `{{ password }}`, `{{ version }}` and the like; by default these as JSON."""
    touch: str = ""
    """A file that is touched after the file was written, likewise."""
    pid_file: str = ""
    """A file with the number of the process that is sent `signal` after the file was written, likewise."""
    signal: Literal["HUP", "USR1", "USR2"] = "HUP"
    """What the process is sent."""
    proof: Wanted = "fingerprint"
    """`fingerprint`: an HMAC of the password. `version`: that the instance says so is enough."""
    report: ReportOptions | None = None
    """Where each instance reports the version that it uses, over HTTP; or `report_file`."""
    report_file: str = ""
    """The file that the agent of each instance writes its report to, likewise."""

    def __post_init__(self) -> None:
        for text in filter(None, (self.path, self.touch, self.pid_file, self.report_file)):
            texts.check(text, texts.PLACE, needed="instance")
        if not self.path:
            raise ValueError("`path` is empty")
        if self.template:
            try:
                compile_template(self.template, _TEMPLATE_NAMES, go_names={})
            except TemplateFault as fault:
                raise ValueError(f"`template`: {fault.message} {fault.hint}".strip()) from None
        others = [text for text in (self.touch, self.pid_file, self.report_file) if text]
        if self.path in others or len(set(others)) < len(others):
            raise ValueError("`path`, `touch`, `pid_file` and `report_file` are different files")
        if (self.report is not None) + bool(self.report_file) != 1:
            raise ValueError("`report` or `report_file` is expected, one of them: an agent proves what it uses")


class FileDistributor:
    """Instances whose agents read a file; the port `Distributor`."""

    def __init__(self, options: FileOptions, context: DistributorContext) -> None:
        self._options = options
        self._context = context

    def hand(self, instance: Instance, value: CredentialValue, *, version: str, deadline: Instant) -> None:
        """Replace the file where it says another thing, and tell the agent, even where it said this already.

        That the file is there and the agent could not be told is `Uncertain`.
        """
        what = f"handing version {version} to {instance.id}"
        path = self._path(self._options.path, instance, what=what)
        content = self._content(instance, value, version, what=what)
        asking.time_left(deadline, what=what)
        with files.locked(path, what=what):
            there = files.read(path, what=what)
            if there is not None and there.status.st_mode & stat.S_IROTH:
                raise Rejected(what=what, why=f"everybody may read {path}", advice=f"Run: chmod o-rwx {path}")
            if there is not None and there.content == content:
                files.confirm(path, what=what)
            else:
                like = None if there is None else there.status
                files.replace(path, content, what=what, like=like, deadline=deadline)
        self._tell(instance, what=what)

    def look(self, instance: Instance, value: CredentialValue, *, version: str) -> Proof:
        """Return what the instance reports, at its URL or in the file of its agent."""
        options, what = self._options, f"looking what {instance.id} uses"
        if options.report is not None:
            line = asking.line(options.report, self._context)
            return line.look(instance, value, path=options.report.path, version=version, wanted=options.proof)
        try:
            handed = files.read(self._path(options.path, instance, what=what), what=what)
            report = files.read(self._path(options.report_file, instance, what=what), what=what)
        except PortError as error:
            return unknown(error.why)
        if report is None:
            return unknown("its agent has reported nothing")
        if handed is not None and report.status.st_mtime_ns < handed.status.st_mtime_ns:
            return unknown("its agent has not reported since the file was written")
        return reports.judged_by_itself(report.content, value, version, options.proof)

    def _content(self, instance: Instance, value: CredentialValue, version: str, *, what: str) -> bytes:
        if value.secret is None or value.form is not Form.PLAIN:
            raise Rejected(what=what, why="the password of the version is not known, so it cannot be written")
        fields = texts.fields(instance, self._context)
        fields |= {"version": version, "username": value.username, "password": value.revealed()}
        if not self._options.template:
            return json.dumps(fields, indent=2).encode() + b"\n"
        template = compile_template(self._options.template, _TEMPLATE_NAMES, go_names={})
        text = template.render(fields, what=what).reveal()
        try:
            return text.encode()
        except UnicodeEncodeError:
            # The error itself carries the text, so it is not passed on.
            raise Rejected(what=what, why="the value is not Unicode text") from None

    def _path(self, text: str, instance: Instance, *, what: str) -> Path:
        """Return a path that was filled; raises `Rejected` where the id of the instance is no name of a file."""
        if "/" in instance.id or "\0" in instance.id or instance.id in (".", ".."):
            raise Rejected(what=what, why="the id of the instance cannot stand in the name of a file")
        filled = texts.fill(text, texts.fields(instance, self._context))
        return self._context.base / Path(filled).expanduser()

    def _tell(self, instance: Instance, *, what: str) -> None:
        options = self._options
        try:
            if options.touch:
                _touch(self._path(options.touch, instance, what=what))
            if options.pid_file:
                _send(self._path(options.pid_file, instance, what=what), getattr(signal, f"SIG{options.signal}"))
        except (OSError, ValueError) as error:
            why = os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)
            raise Uncertain(what=what, why=f"the file is written, and its agent could not be told: {why}") from None


def _touch(path: Path) -> None:
    """Make a file, or give it the time of now; what it leads to by a link is left alone. Raises OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o600)
    try:
        os.utime(descriptor)
    finally:
        os.close(descriptor)


def _send(pid_file: Path, number: signal.Signals) -> None:
    """Send a signal to the process that wrote a file; raises OSError, and ValueError where it is another process.

    A number in a file that its process left behind may belong to any other by now, which the signal could end.
    """
    if not hasattr(os, "pidfd_open"):
        raise ValueError("sending signals needs Linux")
    descriptor = os.open(pid_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status, said = os.fstat(descriptor), file.read(32).strip()
    if not said.isdigit() or int(said) < 2:
        raise ValueError("its file holds no number of a process")
    process = os.pidfd_open(int(said))
    try:
        if _began(int(said)) > status.st_mtime + _SLACK_SECONDS:
            raise ValueError("the process with its number began after the file with the number was written")
        if status.st_uid not in (0, Path(f"/proc/{int(said)}").stat().st_uid):
            raise ValueError("the process with its number is of another user than the file with the number")
        signal.pidfd_send_signal(process, number)
    finally:
        os.close(process)


def _began(pid: int) -> float:
    """Return when a process began, in seconds since 1970 (proc(5), field 22 of stat); raises OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + since_boot


def _build(options: FileOptions, context: DistributorContext) -> FileDistributor:
    return FileDistributor(options, context)


ADAPTER: Final = DistributorAdapter(
    name="file",
    summary="a file for each instance on this machine, which its agent reads",
    options=FileOptions,
    build=_build,
)
