"""What every check does alike: look, measure how long it took, and say it in one redacted line.

Rule 1: a check raises `Failed` or `Unseen`; `Check.look` makes a sample of it, and raises nothing.
Rule 2: no text of a check is returned before the values of the credential were taken out of it.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from importlib import import_module
from typing import Final

import msgspec

from adapters.spellings import spellings
from engine.errors import PortError
from engine.health import TEXT_BYTES_MAX, CheckResult, Sample, Subject
from engine.values import SECOND, CredentialValue, Form, Microseconds

TAKEN_OUT: Final = b"***"
"""What stands where a secret stood."""
_SPELLING_BYTES_MIN: Final = 4
"""A shorter encoding of a secret stands in any text by chance. The secret itself is taken out whatever its length."""


_GRACE_SECONDS: Final = 0.1
"""How much longer than its timeout a look is waited for: what it says itself is more than that it did not end."""


class Failed(Exception):
    """What was looked at does not work; the text says how."""


class Unseen(Exception):
    """It could not be looked at, so nothing is known; the text says why."""


class Check:
    """See `engine.health.HealthCheck`: `see` looks once, and may raise `Failed` and `Unseen`.

    `see` keeps to `timeout` itself as well as its library can, and is not waited for any longer than that. It returns a
    sample whose duration is measured here. `secrets` are texts that must not be shown besides those of the subject.
    """

    def __init__(
        self,
        name: str,
        see: Callable[[Subject], Sample],
        *,
        timeout: Microseconds,
        secrets: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._name = name
        self._see = see
        self._timeout = timeout
        self._secrets = secrets
        self._busy = threading.Lock()

    @property
    def name(self) -> str:
        """What it is called in its service."""
        return self._name

    def look(self, subject: Subject) -> Sample:
        """Look once; never raises."""
        begun = time.perf_counter_ns()
        seen = self._look_in_time(subject)
        duration = Microseconds((time.perf_counter_ns() - begun) // 1_000)
        hidden = [*secrets_of(subject), *self._secrets()]
        return msgspec.structs.replace(seen, duration=duration, text=shown(seen.text, hidden))

    def _look_in_time(self, subject: Subject) -> Sample:
        """Wait no longer than the timeout: a name that is not resolved is waited for by the system, in its own time."""
        if not self._busy.acquire(blocking=False):
            return Sample(CheckResult.UNKNOWN, text="an earlier look has not ended")
        answer: Future[Sample] = Future()
        try:
            threading.Thread(target=self._look_apart, args=(subject, answer), daemon=True).start()
        except RuntimeError:
            self._busy.release()
            return Sample(CheckResult.UNKNOWN, text="no thread could be started to look")
        try:
            return answer.result(self._timeout / SECOND + _GRACE_SECONDS)
        except TimeoutError:
            return Sample(CheckResult.FAIL, text=f"no answer within {self._timeout / SECOND:g} s")

    def _look_apart(self, subject: Subject, answer: Future[Sample]) -> None:
        try:
            answer.set_result(self._see(subject))
        except Failed as failure:
            answer.set_result(Sample(CheckResult.FAIL, text=str(failure)))
        except Unseen as reason:
            answer.set_result(Sample(CheckResult.UNKNOWN, text=str(reason)))
        except PortError as error:
            # Only a secret of the configuration is read through a port here, and that is keyturn's own trouble.
            answer.set_result(Sample(CheckResult.UNKNOWN, text=error.message))
        finally:
            self._busy.release()
            if not answer.done():
                answer.set_exception(RuntimeError("a check came to an end that it does not know"))


class TimeLeft:
    """How much of a timeout is left; the clock starts when it is made."""

    def __init__(self, timeout: Microseconds) -> None:
        self._end = time.monotonic() + timeout / SECOND
        self.whole = timeout / SECOND

    def seconds(self) -> float:
        """Return the seconds left; raises `Failed` where none are: what should have answered did not."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise Failed(f"no answer within {self.whole:g} s")
        return left


def plain(value: CredentialValue | None) -> tuple[str, str]:
    """Return login and password of a value; raises `Unseen` where it has none that one could log in with."""
    if value is None or value.secret is None or value.form is not Form.PLAIN:
        raise Unseen("there is no value yet to log in with")
    return value.username, value.secret.reveal()


def secrets_of(subject: Subject) -> list[str]:
    """Return the texts of a subject that must not be shown."""
    values = (subject.new, subject.old)
    return [value.secret.reveal() for value in values if value is not None and value.secret]


def without(raw: bytes, secrets: Iterable[str], *, is_cut: bool = False) -> bytes:
    """Return bytes with every spelling of the secrets replaced by stars.

    `is_cut` says that something stood behind: then the end, where half a secret could stand, goes as well.
    """
    forms = {
        form
        for secret in secrets
        for form in spellings(secret)
        if form and (form == secret.encode() or len(form) >= _SPELLING_BYTES_MIN)
    }
    for form in sorted(forms, key=len, reverse=True):
        raw = raw.replace(form, TAKEN_OUT)
    longest = max(map(len, forms), default=0)
    return raw[: len(raw) - longest] if is_cut and longest else raw


def shown(text: str, secrets: Iterable[str]) -> str:
    """Return a text as one printable line without the secrets, within `TEXT_BYTES_MAX`."""
    clean = without(text.encode(errors="replace"), secrets).decode(errors="replace")
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in clean).split())
    return line.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")


def reason(error: BaseException) -> str:
    """Say why there was no connection, in words of the operating system or of TLS."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted: {link.verify_message}"
        if isinstance(link, ssl.SSLError):
            return f"TLS failed: {link.reason or 'the other side does not speak it'}"
        if isinstance(link, TimeoutError):
            return "no answer in time"
        if isinstance(link, OSError) and link.strerror:
            return link.strerror.rstrip(".")
        link = link.__context__
    return str(error).strip() or type(error).__name__


def driver(module: str, *, extra: str) -> None:
    """Import a driver; raises `Unseen`, which says how to install it, where it is missing."""
    try:
        import_module(module)
    except ImportError:
        raise Unseen(f'the driver {module} is missing: pip install "keyturn[{extra}]"') from None
